/*
 * history.c
 *		The table onboard_history: what was exported, and how it ended.
 *
 * src/pg/catalog/history.c
 *
 * Nobody but its owner may write the history, so that it can be trusted: see
 * as_owner.h.
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
#include "pg/base/as_owner.h"
#include "pg/catalog/run_lock.h"
#include "pg/catalog/notify.h"

#define TABLE "onboard_history"
#define PARAMS 22

/* Parameters that are set later, from 0. */
#define ROLE_NAME 4
#define URI 8
#define ERROR_TEXT 19

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
	int n;
	Oid types[PARAMS];
	Datum values[PARAMS];
	char nulls[PARAMS + 1];
	Oid role;
	bool done; /* it says that the table has landed */
	bool well; /* it says that, or that there was nothing to land */
	bool written;
} Row;

static void
add(Row *row, Oid type, Datum value, bool given)
{
	row->types[row->n] = type;
	row->values[row->n] = value;
	row->nulls[row->n++] = given ? ' ' : 'n';
}

static void
add_text(Row *row, const char *text)
{
	add(row, TEXTOID, text ? CStringGetTextDatum(text) : (Datum) 0,
		text != NULL);
}

static void
add_time(Row *row, TimestampTz time)
{
	add(row, TIMESTAMPTZOID, TimestampTzGetDatum(time), time != 0);
}

static void
add_number(Row *row, uint64 number)
{
	add(row, INT8OID, Int64GetDatum((int64) number), true);
}

/* What names the row comes first, then the columns in the order of insert().
 */
static void
make_row(Row *row, const ObRun *run)
{
	pg_uuid_t *key = palloc(sizeof(pg_uuid_t));

	memset(row, 0, sizeof(*row));
	row->role = GetUserId();
	*key = ob_run_key(row->role, &run->run_id, run->name);
	add(row, UUIDOID, UUIDPGetDatum(&run->run_id), true);
	add(row, OIDOID, ObjectIdGetDatum(row->role), true);
	add_text(row, run->name);
	add(row, UUIDOID, UUIDPGetDatum(key), true);
	Assert(row->n == ROLE_NAME);
	add_text(row, "");
	add_text(row, run->source ? run->source : ob_history_source());
	add_text(row, run->query);
	add_text(row, run->status);
	Assert(row->n == URI);
	add_text(row, run->uri);
	add_number(row, run->files);
	add_number(row, run->rows);
	add_number(row, run->raw_bytes);
	add_number(row, run->bytes);
	add_number(row, run->parts);
	add_number(row, run->retries);
	add_time(row, run->started);
	add_time(row, run->ended);
	add(row, LSNOID, LSNGetDatum(run->lsn), run->lsn != 0);
	add_number(row, MyProcPid);
	Assert(row->n == ERROR_TEXT);
	add_text(row, run->error);
	add_text(row, run->error ? unpack_sql_state(run->sqlstate) : NULL);
	add(row, BOOLOID, BoolGetDatum(run->increment), true);
	row->done = strcmp(run->status, OB_STATUS_DONE) == 0;
	row->well = row->done || strcmp(run->status, OB_STATUS_EMPTY) == 0;
	Assert(row->n == PARAMS);
}

/* sql has one or two %s for the schema. */
static uint64
execute(Oid schema, const char *sql, int n, const Row *row, int result)
{
	const ObOwnQuery query = {
		.sql = sql,
		.n = n,
		.types = row->types,
		.values = row->values,
		.nulls = row->nulls,
		.writes = true,
		.result = result,
	};

	ob_own_query(schema, &query);
	return SPI_processed;
}

/* As the index onboard_history_run_id has it. */
#define ROW_OF_TABLE                                                       \
	"%s.onboard_history WHERE run_id = $1 AND role_id = $2 AND name = $3 " \
	"AND hashtext(name) = hashtext($3)"

/*
 * PostgreSQL makes the column role_id of the name, as it does when a dump is
 * restored.  So the result is looked at: the role may just have been renamed,
 * and another one have its name.  A role that was dropped meanwhile has no id
 * any more, and the column is 0.
 */
static void
check_role(const Row *row)
{
	bool isnull = true;
	Oid found = InvalidOid;

	if (SPI_processed == 1)
		found = DatumGetObjectId(SPI_getbinval(
			SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (isnull)
		ereport(ERROR, (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
						errmsg("a row of onboard_history was not written"),
						errhint("Look at the table's triggers and rules.")));
	if (found != row->role &&
		(OidIsValid(found) ||
		 SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(row->role))))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("the role was renamed meanwhile")));
}

static void
insert(Oid schema, void *arg)
{
	Row *row = arg;

	/* the role may have another name since the query began */
	AcceptInvalidationMessages();
	row->values[ROLE_NAME] = CStringGetTextDatum(role_name(row->role));
	/* the key may be that of a restored row, of another role by now */
	execute(schema,
			"INSERT INTO %s.onboard_history (run_id, name, key, role, source, "
			"query, status, uri, files, rows, raw_bytes, bytes, parts, "
			"retries, started, ended, lsn, pid, error, sqlstate, increment) "
			"VALUES ($1, "
			"$3, COALESCE((SELECT pg_catalog.gen_random_uuid() FROM "
			"%s.onboard_history WHERE key = $4), $4), $5, $6, $7, $8, $9, "
			"$10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) "
			"RETURNING role_id",
			PARAMS, row, SPI_OK_INSERT_RETURNING);
	check_role(row);
	row->written = true;
}

static void
set_text(Row *row, int number, const char *text)
{
	row->values[number] = CStringGetTextDatum(text);
	row->nulls[number] = ' ';
}

/*
 * An attempt that has not ended well, or not yet, and has no object itself has
 * not touched that of an earlier attempt, either.  Mostly the row says so
 * already: see ob_task_recall().
 */
static void
keep_uri(Oid schema, Row *row)
{
	if (row->well || row->nulls[URI] == ' ' ||
		execute(schema,
				"SELECT uri FROM " ROW_OF_TABLE " AND uri IS NOT NULL LIMIT 1",
				3, row, SPI_OK_SELECT) == 0)
		return;
	set_text(row, URI,
			 SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	if (row->nulls[ERROR_TEXT] == ' ')
		set_text(row, ERROR_TEXT,
				 ob_fate_error(OB_FATE_EARLIER,
							   TextDatumGetCString(row->values[ERROR_TEXT])));
}

/*
 * Writes the row over the one of the same table, mostly that which says that
 * it has begun.  An increment that has landed keeps its row when a repetition
 * of its run fails: the watermark counts on its object, and nothing else may
 * name that.
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
	keep_uri(schema, row);
	execute(schema, "DELETE FROM " ROW_OF_TABLE, 3, row, SPI_OK_DELETE);
	insert(schema, row);
}

static void
replace_if_open(Oid schema, void *arg)
{
	keep_uri(schema, arg);
	if (execute(schema, "DELETE FROM " ROW_OF_TABLE " AND ended IS NULL", 3,
				arg, SPI_OK_DELETE) > 0)
		insert(schema, arg);
}

static bool of_job;

void
ob_history_is_of_job(void)
{
	of_job = true;
}

static bool
can_write(void)
{
	return !RecoveryInProgress() && (!XactReadOnly || of_job);
}

/* Whether step() has.  (An error ends the transaction, and with it what
 * XactReadOnly says.) */
static bool
write_row(Oid schema, const ObRun *run, void (*step)(Oid schema, void *arg))
{
	bool read_only = XactReadOnly;
	Row row;

	make_row(&row, run);
	if (of_job)
		XactReadOnly = false;
	ob_as_owner(schema, TABLE, step, &row);
	XactReadOnly = read_only;
	return row.written;
}

void
ob_history_begin(Oid schema, const ObRun *run)
{
	if (can_write())
		(void) write_row(schema, run, replace);
}

void
ob_history_require(Oid schema)
{
	if (can_write())
		ob_owner_require(schema, TABLE);
}

void
ob_history_write_end(Oid schema, const ObRun *run)
{
	ob_history_begin(schema, run);
}

void
ob_history_end(Oid schema, const ObRun *run)
{
	ob_tell_log(run);
	ob_history_write_end(schema, run);
	ob_tell_table(run);
}

void
ob_history_end_if_open(Oid schema, const ObRun *run)
{
	if (!write_row(schema, run, replace_if_open))
		return;
	ob_tell_log(run);
	ob_tell_table(run);
}

/* ---- forgetting ---- */

typedef struct Pruning
{
	Row row;
	uint64 n;
} Pruning;

/* An array of the keys of those rows whose run a process works on. */
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
	add(&pruning->row, UUIDARRAYOID, read_open_keys(), true);
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
	add(&pruning.row, TIMESTAMPTZOID, TimestampTzGetDatum(before), true);
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
	bool landed; /* by another role */
} Question;

static bool
bool_column(int number)
{
	bool isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
								number, &isnull);

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
	add(row, UUIDOID, UUIDPGetDatum(run_id), true);
	add(row, OIDOID, ObjectIdGetDatum(GetUserId()), true);
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

typedef struct Recall
{
	Row row;
	MemoryContext context;
	ObRun *run;
	bool found;
} Recall;

static Datum
column(int number)
{
	bool isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
								number, &isnull);

	return isnull ? (Datum) 0 : value;
}

static char *
text_column(int number)
{
	Datum value = column(number);

	return value ? TextDatumGetCString(value) : NULL;
}

static void
recall(Oid schema, void *arg)
{
	Recall *recall = arg;
	ObRun *run = recall->run;
	MemoryContext before;

	execute(schema,
			"SELECT uri, rows, raw_bytes, bytes, parts, retries, query, "
			"source, started, ended, lsn, status, files, increment "
			"FROM " ROW_OF_TABLE " AND uri IS NOT NULL LIMIT 1",
			3, &recall->row, SPI_OK_SELECT);
	recall->found = SPI_processed > 0;
	if (!recall->found)
		return;
	before = MemoryContextSwitchTo(recall->context);
	run->uri = text_column(1);
	run->rows = DatumGetInt64(column(2));
	run->raw_bytes = DatumGetInt64(column(3));
	run->bytes = DatumGetInt64(column(4));
	run->parts = (int) DatumGetInt64(column(5));
	run->retries = (int) DatumGetInt64(column(6));
	run->query = text_column(7);
	run->source = text_column(8);
	run->started = DatumGetTimestampTz(column(9));
	run->ended = DatumGetTimestampTz(column(10));
	run->lsn = DatumGetLSN(column(11));
	run->status = text_column(12);
	run->files = (int) DatumGetInt64(column(13));
	run->increment = DatumGetBool(column(14));
	MemoryContextSwitchTo(before);
}

bool
ob_history_recall(Oid schema, ObRun *run)
{
	Recall question;

	memset(&question, 0, sizeof(question));
	question.context = CurrentMemoryContext;
	question.run = run;
	add_run(&question.row, &run->run_id);
	add_text(&question.row, run->name);
	ob_as_owner(schema, TABLE, recall, &question);
	return question.found;
}

/* ---- what else a run has landed ---- */

typedef struct Search
{
	Row row;
	MemoryContext context;
	const char *sql;
	char *name; /* of the first row that is found; NULL: none is */
} Search;

static void
search(Oid schema, void *arg)
{
	Search *wanted = arg;
	MemoryContext before;

	if (execute(schema, wanted->sql, wanted->row.n, &wanted->row,
				SPI_OK_SELECT) == 0)
		return;
	before = MemoryContextSwitchTo(wanted->context);
	wanted->name = text_column(1);
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
	add(row, TEXTARRAYOID, PointerGetDatum(array), true);
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

typedef struct Sum
{
	Row row;
	int64 columns[9];
} Sum;

static void
sum_up(Oid schema, void *arg)
{
	Sum *sum = arg;

	execute(schema,
			"SELECT count(*), count(*) FILTER (WHERE status = 'done'), "
			"count(*) FILTER (WHERE status = 'empty'), "
			"sum(files)::bigint, sum(rows)::bigint, sum(raw_bytes)::bigint, "
			"sum(bytes)::bigint, min(started), max(ended) "
			"FROM %s.onboard_history WHERE run_id = $1 AND role_id = $2 "
			"AND name <> ''",
			2, &sum->row, SPI_OK_SELECT);
	for (int i = 0; i < lengthof(sum->columns); i++)
	{
		bool isnull;
		Datum value = SPI_getbinval(SPI_tuptable->vals[0],
									SPI_tuptable->tupdesc, i + 1, &isnull);

		sum->columns[i] = isnull ? 0 : DatumGetInt64(value);
	}
}

void
ob_history_sum(Oid schema, ObTotals *totals)
{
	Sum sum;

	memset(&sum, 0, sizeof(sum));
	add_run(&sum.row, &totals->run_id);
	ob_as_owner(schema, TABLE, sum_up, &sum);
	totals->tables = sum.columns[0];
	totals->done = sum.columns[1];
	totals->empty = sum.columns[2];
	totals->failed = totals->tables - totals->done - totals->empty;
	totals->files = sum.columns[3];
	totals->rows = sum.columns[4];
	totals->raw_bytes = sum.columns[5];
	totals->bytes = sum.columns[6];
	totals->started = sum.columns[7];
	totals->ended = sum.columns[8];
}
