/*
 * history.c
 *		The table onboard_history: what was exported, and how it ended.
 *
 * src/pg/catalog/history.c
 *
 * Only its owner may write the history, so that it can be trusted: see
 * own_query.h.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "pg/catalog/fate.h"
#include "pg/catalog/history.h"
#include "pg/base/own_query.h"
#include "pg/catalog/run_lock.h"

#define TABLE "onboard_history"
#define PARAMETERS 24

/* Numbers of the parameters that are set later, from 0. */
#define ROLE_NAME 4
#define URI 8
#define ERROR_TEXT 19
#define OBJECTS 23

char *
ob_history_source(void)
{
	LOCAL_FCINFO(call, 0);
	Datum address;
	const char *host = "local";

	InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
	address = inet_client_addr(call);
	if (!call->isnull)
		host = TextDatumGetCString(DirectFunctionCall1(network_host, address));
	if (application_name && application_name[0])
		return psprintf("%s %s", host, application_name);
	return pstrdup(host);
}

static const char *
role_name(Oid role)
{
	const char *name = GetUserNameFromId(role, true);

	return name ? name : psprintf("unknown (OID=%u)", role);
}

const char *
ob_history_role(void)
{
	return role_name(GetUserId());
}

typedef struct Row
{
	ObParameters parameters;
	Oid role;
	bool done; /* the row says that the table has landed */
	bool well; /* the row says that, or that there was nothing to land */
	bool written;
} Row;

static void
add_time(ObParameters *parameters, TimestampTz time)
{
	ob_parameter_add(parameters, TIMESTAMPTZOID, TimestampTzGetDatum(time),
					 time != 0);
}

static void
add_number(ObParameters *parameters, uint64 number)
{
	ob_parameter_add(parameters, INT8OID, Int64GetDatum((int64) number), true);
}

static void
add_figures(ObParameters *parameters, const ObFigures *figures)
{
	add_number(parameters, figures->files);
	add_number(parameters, figures->rows);
	add_number(parameters, figures->raw_bytes);
	add_number(parameters, figures->bytes);
	add_number(parameters, figures->parts);
	add_number(parameters, figures->retries);
}

static void
add_json(ObParameters *parameters, const char *text)
{
	Datum value = (Datum) 0;

	if (text)
		value = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
	ob_parameter_add(parameters, JSONBOID, value, text != NULL);
}

/* The key of the row comes first, then the columns in the order of insert().
 */
static void
make_row(Row *row, const ObHistoryRow *from)
{
	ObParameters *parameters = &row->parameters;
	pg_uuid_t *key = palloc(sizeof(pg_uuid_t));

	memset(row, 0, sizeof(*row));
	row->role = GetUserId();
	*key = ob_run_key(row->role, &from->run_id, from->name);
	ob_parameter_uuid(parameters, &from->run_id);
	ob_parameter_oid(parameters, row->role);
	ob_parameter_text(parameters, from->name);
	ob_parameter_uuid(parameters, key);
	Assert(parameters->n == ROLE_NAME);
	ob_parameter_text(parameters, "");
	ob_parameter_text(parameters,
					  from->source ? from->source : ob_history_source());
	ob_parameter_text(parameters, from->query);
	ob_parameter_text(parameters, from->status);
	Assert(parameters->n == URI);
	ob_parameter_text(parameters, from->uri);
	add_figures(parameters, &from->figures);
	add_time(parameters, from->started);
	add_time(parameters, from->ended);
	ob_parameter_add(parameters, LSNOID, LSNGetDatum(from->lsn),
					 from->lsn != 0);
	add_number(parameters, MyProcPid);
	Assert(parameters->n == ERROR_TEXT);
	ob_parameter_text(parameters, from->error);
	ob_parameter_text(parameters, from->error ? from->detail : NULL);
	ob_parameter_text(parameters,
					  from->error ? unpack_sql_state(from->sqlstate) : NULL);
	ob_parameter_add(parameters, BOOLOID, BoolGetDatum(from->increment), true);
	Assert(parameters->n == OBJECTS);
	add_json(parameters, from->objects);
	row->done = strcmp(from->status, OB_STATUS_DONE) == 0;
	row->well = row->done || strcmp(from->status, OB_STATUS_EMPTY) == 0;
	Assert(parameters->n == PARAMETERS);
}

/* Executes sql, which has one or two %s for the schema. */
static uint64
execute(Oid schema, const char *sql, int n, const Row *row, int result)
{
	const ObOwnQuery query = {
		.sql = sql,
		.parameters = &row->parameters,
		.n = n,
		.writes = true,
		.result = result,
	};

	return ob_own_query(schema, &query);
}

/* The condition for the row of a table, with the expression of the index
 * onboard_history_run_id. */
#define ROW_OF_TABLE                                                       \
	"%s.onboard_history WHERE run_id = $1 AND role_id = $2 AND name = $3 " \
	"AND hashtext(name) = hashtext($3)"

/*
 * PostgreSQL makes the column role_id from the name, as it does when a dump is
 * restored.  So the result is checked: the role may just have been renamed,
 * and another one may have its name.  A role that was dropped meanwhile has no
 * id any more, and the column is 0.
 */
static void
check_role(const Row *row)
{
	bool isnull = true;
	Oid found = InvalidOid;

	if (SPI_processed == 1)
		found = DatumGetObjectId(ob_own_column(0, 1, &isnull));
	if (isnull)
		ereport(ERROR, (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
						errmsg("a row of onboard_history was not written"),
						errhint("Check the table's triggers and rules.")));
	if (found != row->role &&
		(OidIsValid(found) ||
		 SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(row->role))))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("the role was renamed during the export")));
}

static void
insert(Oid schema, void *arg)
{
	Row *row = arg;

	/* the role may have another name since the query began */
	AcceptInvalidationMessages();
	row->parameters.values[ROLE_NAME] =
		CStringGetTextDatum(role_name(row->role));
	/* the key may be that of a restored row, of another role by now */
	execute(schema,
			"INSERT INTO %s.onboard_history (run_id, name, key, role, source, "
			"query, status, uri, files, rows, raw_bytes, bytes, parts, "
			"retries, started, ended, lsn, pid, error, detail, sqlstate, "
			"increment, objects) VALUES ($1, "
			"$3, COALESCE((SELECT pg_catalog.gen_random_uuid() FROM "
			"%s.onboard_history WHERE key = $4), $4), $5, $6, $7, $8, $9, "
			"$10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, "
			"$23, $24) "
			"RETURNING role_id",
			PARAMETERS, row, SPI_OK_INSERT_RETURNING);
	check_role(row);
	row->written = true;
}

/* Sets a parameter to a column of the result, until the transaction ends. */
static void
keep_column(Row *row, int number, int column)
{
	bool isnull;
	Datum value = ob_own_column(0, column, &isnull);

	row->parameters.nulls[number] = isnull;
	if (!isnull)
		row->parameters.values[number] =
			PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
}

static void
set_text(Row *row, int number, const char *text)
{
	row->parameters.values[number] = CStringGetTextDatum(text);
	row->parameters.nulls[number] = false;
}

static const char *
text_of(const Row *row, int number)
{
	return TextDatumGetCString(row->parameters.values[number]);
}

/*
 * An attempt that has not ended well, or not yet, and has no object itself has
 * left an earlier attempt's alone.  Usually the row has that object's URI
 * already (see ob_task_recall()), but not what is known of it.
 */
static void
keep_object(Oid schema, Row *row)
{
	bool named = !row->parameters.nulls[URI];

	if (row->well || !row->parameters.nulls[OBJECTS] ||
		execute(schema,
				"SELECT uri, objects FROM " ROW_OF_TABLE
				" AND uri IS NOT NULL LIMIT 1",
				3, row, SPI_OK_SELECT) == 0)
		return;
	if (named && strcmp(text_of(row, URI), ob_own_text(0, 1)) != 0)
		return;
	keep_column(row, OBJECTS, 2);
	if (named)
		return;
	keep_column(row, URI, 1);
	if (!row->parameters.nulls[ERROR_TEXT])
		set_text(row, ERROR_TEXT,
				 ob_fate_error(OB_FATE_EARLIER, text_of(row, ERROR_TEXT)));
}

/*
 * Writes the row over the one of the same table, which usually says that the
 * table has begun.  An increment that has landed keeps its row when a
 * repetition of its run fails: the watermark counts on its object, and no
 * other row names that.
 */
static void
replace(Oid schema, void *arg)
{
	Row *row = arg;

	if (!row->done &&
		execute(schema,
				"SELECT FROM " ROW_OF_TABLE
				" AND increment AND status = '" OB_STATUS_DONE "'",
				3, row, SPI_OK_SELECT) > 0)
		return;
	keep_object(schema, row);
	execute(schema, "DELETE FROM " ROW_OF_TABLE, 3, row, SPI_OK_DELETE);
	insert(schema, row);
}

static void
replace_if_open(Oid schema, void *arg)
{
	keep_object(schema, arg);
	if (execute(schema, "DELETE FROM " ROW_OF_TABLE " AND ended IS NULL", 3,
				arg, SPI_OK_DELETE) > 0)
		insert(schema, arg);
}

static bool background;

void
ob_history_set_background(void)
{
	background = true;
}

static bool
can_write(void)
{
	return !RecoveryInProgress() && (!XactReadOnly || background);
}

/* Whether step() has written.  (An error ends the transaction, and with it the
 * value of XactReadOnly.) */
static bool
write_row(Oid schema, const ObHistoryRow *from,
		  void (*step)(Oid schema, void *arg))
{
	bool read_only = XactReadOnly;
	Row row;

	make_row(&row, from);
	if (background)
		XactReadOnly = false;
	ob_as_owner(schema, TABLE, step, &row);
	XactReadOnly = read_only;
	return row.written;
}

void
ob_history_write(Oid schema, const ObHistoryRow *row)
{
	if (can_write())
		(void) write_row(schema, row, replace);
}

void
ob_history_require(Oid schema)
{
	if (can_write())
		ob_owner_require(schema, TABLE);
}

bool
ob_history_write_if_open(Oid schema, const ObHistoryRow *row)
{
	return write_row(schema, row, replace_if_open);
}

/* ---- forgetting ---- */

typedef struct Pruning
{
	Row row;
	uint64 n;
} Pruning;

/* Returns an array with the keys of those rows whose run a process works on.
 */
static Datum
read_open_keys(void)
{
	Datum *keys = palloc(sizeof(Datum) * (SPI_processed + 1));
	int n = 0;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc columns = SPI_tuptable->tupdesc;
		bool isnull;
		Datum run_id = SPI_getbinval(row, columns, 2, &isnull);
		Datum role = SPI_getbinval(row, columns, 3, &isnull);

		if (ob_run_pid(DatumGetObjectId(role), DatumGetUUIDP(run_id)) != 0)
			keys[n++] = SPI_getbinval(row, columns, 1, &isnull);
	}
	return PointerGetDatum(
		construct_array(keys, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* SQL does not see which process works on a run, so the rows of such runs are
 * looked up first, and left out of the DELETE. */
static void
prune(Oid schema, void *arg)
{
	Pruning *pruning = arg;

	execute(schema,
			"SELECT key, run_id, role_id FROM %s.onboard_history "
			"WHERE ended IS NULL AND started < $1",
			1, &pruning->row, SPI_OK_SELECT);
	ob_parameter_add(&pruning->row.parameters, UUIDARRAYOID, read_open_keys(),
					 true);
	pruning->n = execute(
		schema,
		"DELETE FROM %s.onboard_history WHERE ended < $1 OR (ended IS NULL "
		"AND started < $1 AND key <> ALL ($2))",
		2, &pruning->row, SPI_OK_DELETE);
}

uint64
ob_history_prune(Oid schema, TimestampTz before)
{
	Pruning pruning;

	memset(&pruning, 0, sizeof(pruning));
	add_time(&pruning.row.parameters, before);
	/* an owner's triggers must not run as a superuser */
	if (ob_owner_is_caller(schema, TABLE))
		ob_as_owner(schema, TABLE, prune, &pruning);
	else
		ob_as_caller(schema, prune, &pruning);
	return pruning.n;
}

/* ---- asking ---- */

typedef struct Question
{
	Row row;
	bool own;
	bool landed; /* another role has landed it */
} Question;

static bool
bool_column(int number)
{
	bool isnull;
	Datum value = ob_own_column(0, number, &isnull);

	return !isnull && DatumGetBool(value);
}

static void
find_run(Oid schema, void *arg)
{
	Question *question = arg;

	execute(schema,
			"SELECT bool_or(role_id = $2), bool_or(role_id <> $2 AND "
			"(uri IS NOT NULL OR status IN ('" OB_STATUS_DONE
			"', '" OB_STATUS_EMPTY "', '" OB_STATUS_WITHHELD "'))) "
			"FROM %s.onboard_history WHERE run_id = $1",
			2, &question->row, SPI_OK_SELECT);
	question->own = bool_column(1);
	question->landed = bool_column(2);
}

static void
add_run(Row *row, const pg_uuid_t *run_id)
{
	ob_parameter_uuid(&row->parameters, run_id);
	ob_parameter_oid(&row->parameters, GetUserId());
}

static Question
ask(Oid schema, const pg_uuid_t *run_id)
{
	Question question;

	memset(&question, 0, sizeof(question));
	add_run(&question.row, run_id);
	ob_as_owner(schema, TABLE, find_run, &question);
	return question;
}

bool
ob_history_knows(Oid schema, const pg_uuid_t *run_id)
{
	return ask(schema, run_id).own;
}

void
ob_history_require_own(Oid schema, const pg_uuid_t *run_id)
{
	Question question = ask(schema, run_id);

	if (question.landed && !question.own)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("the run of that id is another role's"),
						errhint("Give another run_id, or none.")));
}

/* The columns that read_figures() reads. */
#define FIGURES "files, rows, raw_bytes, bytes, parts, retries"
#define SUMS                                                          \
	"sum(files)::bigint, sum(rows)::bigint, sum(raw_bytes)::bigint, " \
	"sum(bytes)::bigint, sum(parts)::bigint, sum(retries)::bigint"

static Datum
column(int number)
{
	bool isnull;
	Datum value = ob_own_column(0, number, &isnull);

	return isnull ? (Datum) 0 : value;
}

/* Reads the columns from that number on; a null is 0. */
static void
read_figures(int first, ObFigures *figures)
{
	figures->files = DatumGetInt64(column(first));
	figures->rows = DatumGetInt64(column(first + 1));
	figures->raw_bytes = DatumGetInt64(column(first + 2));
	figures->bytes = DatumGetInt64(column(first + 3));
	figures->parts = DatumGetInt64(column(first + 4));
	figures->retries = DatumGetInt64(column(first + 5));
}

typedef struct Recall
{
	Row row;
	MemoryContext context;
	ObHistoryRow *wanted;
	bool found;
} Recall;

static void
recall(Oid schema, void *arg)
{
	Recall *recall = arg;
	ObHistoryRow *row = recall->wanted;
	MemoryContext before;

	execute(schema,
			"SELECT " FIGURES ", uri, query, source, started, ended, lsn, "
			"status, increment, objects::text "
			"FROM " ROW_OF_TABLE " AND uri IS NOT NULL LIMIT 1",
			3, &recall->row, SPI_OK_SELECT);
	recall->found = SPI_processed > 0;
	if (!recall->found)
		return;
	before = MemoryContextSwitchTo(recall->context);
	read_figures(1, &row->figures);
	row->uri = ob_own_text(0, 7);
	row->query = ob_own_text(0, 8);
	row->source = ob_own_text(0, 9);
	row->started = DatumGetTimestampTz(column(10));
	row->ended = DatumGetTimestampTz(column(11));
	row->lsn = DatumGetLSN(column(12));
	row->status = ob_own_text(0, 13);
	row->increment = DatumGetBool(column(14));
	row->objects = ob_own_text(0, 15);
	MemoryContextSwitchTo(before);
}

bool
ob_history_recall(Oid schema, ObHistoryRow *row)
{
	Recall question;

	memset(&question, 0, sizeof(question));
	question.context = CurrentMemoryContext;
	question.wanted = row;
	add_run(&question.row, &row->run_id);
	ob_parameter_text(&question.row.parameters, row->name);
	ob_as_owner(schema, TABLE, recall, &question);
	return question.found;
}

/* ---- what else a run has landed ---- */

typedef struct Search
{
	Row row;
	MemoryContext context;
	const char *sql;
	char *name; /* name in the first row that is found; NULL: none is */
} Search;

static void
search(Oid schema, void *arg)
{
	Search *wanted = arg;
	MemoryContext before;

	if (execute(schema, wanted->sql, wanted->row.parameters.n, &wanted->row,
				SPI_OK_SELECT) == 0)
		return;
	before = MemoryContextSwitchTo(wanted->context);
	wanted->name = ob_own_text(0, 1);
	MemoryContextSwitchTo(before);
}

static Search
new_search(const pg_uuid_t *run_id, const char *sql)
{
	Search wanted;

	memset(&wanted, 0, sizeof(wanted));
	wanted.context = CurrentMemoryContext;
	wanted.sql = sql;
	add_run(&wanted.row, run_id);
	return wanted;
}

static void
add_texts(Row *row, const char *const *texts, int n)
{
	Datum *values = palloc(sizeof(Datum) * n);
	ArrayType *array;

	for (int i = 0; i < n; i++)
		values[i] = CStringGetTextDatum(texts[i]);
	array = construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT);
	ob_parameter_add(&row->parameters, TEXTARRAYOID, PointerGetDatum(array),
					 true);
}

char *
ob_history_increment(Oid schema, const pg_uuid_t *run_id,
					 const char *const *uris, int n)
{
	Search wanted = new_search(
		run_id, "SELECT name FROM %s.onboard_history WHERE run_id = $1 AND "
				"role_id = $2 AND uri = ANY ($3) AND increment AND "
				"status = '" OB_STATUS_DONE "' ORDER BY name LIMIT 1");

	add_texts(&wanted.row, uris, n);
	ob_as_owner(schema, TABLE, search, &wanted);
	return wanted.name;
}

char *
ob_history_other(Oid schema, const pg_uuid_t *run_id, const char *const *names,
				 int n)
{
	/* a row without a name is the run's own */
	Search wanted = new_search(
		run_id, "SELECT name FROM %s.onboard_history WHERE run_id = $1 AND "
				"role_id = $2 AND name <> '' AND (uri IS NOT NULL OR status "
				"IN ('" OB_STATUS_DONE "', '" OB_STATUS_EMPTY "')) AND "
				"name <> ALL ($3) ORDER BY name LIMIT 1");

	add_texts(&wanted.row, names, n);
	ob_as_owner(schema, TABLE, search, &wanted);
	return wanted.name;
}

/* ---- sums ---- */

void
ob_totals_add(ObTotals *totals, const ObHistoryRow *row)
{
	totals->run_id = row->run_id;
	totals->tables++;
	if (strcmp(row->status, OB_STATUS_DONE) == 0)
		totals->done++;
	else if (strcmp(row->status, OB_STATUS_EMPTY) == 0)
		totals->empty++;
	else
		totals->failed++;
	ob_figures_add(&totals->figures, &row->figures);
	if (totals->started == 0 || row->started < totals->started)
		totals->started = row->started;
	if (row->ended > totals->ended)
		totals->ended = row->ended;
}

typedef struct Sum
{
	Row row;
	ObTotals *totals;
} Sum;

static void
sum_up(Oid schema, void *arg)
{
	Sum *sum = arg;
	ObTotals *totals = sum->totals;

	execute(schema,
			"SELECT count(*), count(*) FILTER (WHERE status = 'done'), "
			"count(*) FILTER (WHERE status = 'empty'), min(started), "
			"max(ended), " SUMS " "
			"FROM %s.onboard_history WHERE run_id = $1 AND role_id = $2 "
			"AND name <> ''",
			2, &sum->row, SPI_OK_SELECT);
	totals->tables = DatumGetInt64(column(1));
	totals->done = DatumGetInt64(column(2));
	totals->empty = DatumGetInt64(column(3));
	totals->failed = totals->tables - totals->done - totals->empty;
	totals->started = DatumGetTimestampTz(column(4));
	totals->ended = DatumGetTimestampTz(column(5));
	read_figures(6, &totals->figures);
}

void
ob_history_sum(Oid schema, ObTotals *totals)
{
	Sum sum;

	memset(&sum, 0, sizeof(sum));
	sum.totals = totals;
	add_run(&sum.row, &totals->run_id);
	ob_as_owner(schema, TABLE, sum_up, &sum);
}
