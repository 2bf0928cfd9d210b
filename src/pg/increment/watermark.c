/*
 * watermark.c
 *		Increments: the table onboard_watermarks.
 *
 * src/pg/increment/watermark.c
 *
 * A watermark belongs to a table and a role, because the role's privileges and
 * row security decide which rows it stands for: a role that sees fewer rows
 * must not move the watermark of a role that sees more.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "pg/base/subtransaction.h"
#include "pg/base/own_query.h"
#include "pg/base/query.h"
#include "pg/catalog/registry.h"
#include "pg/base/errors.h"
#include "pg/increment/watermark_intern.h"

#define TABLE "onboard_watermarks"
#define REGISTRY "onboard_tables"
#define RESETS "onboard_resets"
#define PARAMETERS 16

/* Executes sql, which has one or two %s for the schema. */
static uint64
execute(Oid schema, const char *sql, const ObParameters *parameters,
		bool read_only, int result)
{
	const ObOwnQuery query = {
		.sql = sql,
		.parameters = parameters,
		.writes = !read_only,
		.result = result,
	};

	return ob_own_query(schema, &query);
}

/* ---- reading ---- */

typedef struct Reading
{
	ObParameters row;
	MemoryContext context; /* context of the result */
	ObWatermarkKept *kept;
	char *resets;
} Reading;

static void
read_kept(Oid schema, void *arg)
{
	Reading *reading = arg;
	MemoryContext before;
	bool isnull;

	if (execute(
			schema,
			"SELECT column_name, type, value, run_id, table_id::text, "
			"query, relations, destination, row_security, system_identifier, "
			"ordering FROM %s." TABLE " WHERE name = $1 AND role_id = $2",
			&reading->row, true, SPI_OK_SELECT) == 0)
		return;
	before = MemoryContextSwitchTo(reading->context);
	reading->kept = palloc0(sizeof(ObWatermarkKept));
	reading->kept->column = ob_own_text(0, 1);
	reading->kept->type = ob_own_text(0, 2);
	reading->kept->value = ob_own_text(0, 3);
	reading->kept->run_id = *DatumGetUUIDP(ob_own_column(0, 4, &isnull));
	reading->kept->table_id = ob_own_text(0, 5);
	reading->kept->query = ob_own_text(0, 6);
	reading->kept->relations = ob_own_text(0, 7);
	reading->kept->destination = ob_own_text(0, 8);
	reading->kept->row_security = ob_own_text(0, 9);
	reading->kept->system = ob_own_text(0, 10);
	reading->kept->ordering = ob_own_text(0, 11);
	MemoryContextSwitchTo(before);
}

/* Only resets by roles that may delete the current role's watermark count. */
static void
read_resets(Oid schema, void *arg)
{
	Reading *reading = arg;
	MemoryContext before;

	execute(schema,
			"SELECT string_agg(reset_id::text, ',' ORDER BY role_id) "
			"FROM %s." RESETS
			" WHERE name = $1 AND pg_has_role(role_id, $2, 'MEMBER')",
			&reading->row, true, SPI_OK_SELECT);
	before = MemoryContextSwitchTo(reading->context);
	reading->resets = ob_own_text(0, 1);
	MemoryContextSwitchTo(before);
}

static Reading
begin_reading(const char *name)
{
	Reading reading;

	memset(&reading, 0, sizeof(reading));
	reading.context = CurrentMemoryContext;
	ob_parameter_text(&reading.row, name);
	ob_parameter_oid(&reading.row, GetUserId());
	return reading;
}

static void
check_writable(const char *name)
{
	if (RecoveryInProgress() || XactReadOnly)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("the watermark of \"%s\" cannot be kept", name),
				 errdetail(RecoveryInProgress()
							   ? "Nothing can be written on a standby."
							   : "The transaction is read-only."),
				 errhint("Land increments from a session that can write, or "
						 "export the table under another name, as a "
						 "whole.")));
}

static void
check_run(const ObWatermark *mark, const pg_uuid_t *run_id)
{
	if (mark->kept &&
		memcmp(&mark->kept->run_id, run_id, sizeof(pg_uuid_t)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("the run has landed an increment of \"%s\" before",
						mark->name),
				 errdetail("The history does not say how many rows it had."),
				 errhint("Give another run_id, or none.")));
}

ObWatermark *
ob_watermark_get(Oid schema, const ObWatermarkRequest *request)
{
	ObWatermark *mark = palloc0(sizeof(ObWatermark));
	Reading reading = begin_reading(request->name);

	if (!request->in_worker)
		check_writable(request->name);
	mark->name = request->name;
	mark->column = request->options->watermark;
	mark->overlap = request->options->overlap;
	mark->origin = request->origin;
	mark->in_worker = request->in_worker;
	ob_as_owner(schema, TABLE, read_kept, &reading);
	ob_as_owner(schema, RESETS, read_resets, &reading);
	mark->kept = reading.kept;
	mark->resets = reading.resets;
	check_run(mark, &request->run_id);
	ob_watermark_check_origin(mark);
	return mark;
}

static char *
copy_text(const char *text)
{
	return text ? pstrdup(text) : NULL;
}

static ObWatermarkKept *
copy_kept(const ObWatermarkKept *kept)
{
	ObWatermarkKept *copy = palloc0(sizeof(ObWatermarkKept));

	copy->column = copy_text(kept->column);
	copy->type = copy_text(kept->type);
	copy->value = copy_text(kept->value);
	copy->run_id = kept->run_id;
	copy->table_id = copy_text(kept->table_id);
	copy->query = copy_text(kept->query);
	copy->relations = copy_text(kept->relations);
	copy->destination = copy_text(kept->destination);
	copy->row_security = copy_text(kept->row_security);
	copy->system = copy_text(kept->system);
	copy->ordering = copy_text(kept->ordering);
	return copy;
}

ObWatermark *
ob_watermark_copy(const ObWatermark *mark)
{
	ObWatermark *copy = palloc0(sizeof(ObWatermark));

	*copy = *mark;
	copy->name = copy_text(mark->name);
	copy->column = copy_text(mark->column);
	copy->overlap = copy_text(mark->overlap);
	copy->origin.query = copy_text(mark->origin.query);
	copy->origin.destination = copy_text(mark->origin.destination);
	copy->origin.relations = copy_text(mark->origin.relations);
	copy->origin.row_security = copy_text(mark->origin.row_security);
	copy->origin.system = copy_text(mark->origin.system);
	copy->origin.ordering = copy_text(mark->origin.ordering);
	copy->resets = copy_text(mark->resets);
	copy->type = copy_text(mark->type);
	copy->from = copy_text(mark->from);
	copy->to = copy_text(mark->to);
	if (mark->kept)
		copy->kept = copy_kept(mark->kept);
	return copy;
}

/* ---- writing ---- */

/*
 * The parameters are: name, role's id, role's name, column_name, type, value,
 * uri, run_id, the run_id that was found (for a first increment: its own), and
 * then the columns of the origin.
 */
static void
write_kept(Oid schema, void *arg)
{
	const ObParameters *row = arg;

	execute(
		schema,
		"UPDATE %s." TABLE " SET role = $3, column_name = $4, type = $5, "
		"value = $6, uri = $7, run_id = $8, "
		"landed = pg_catalog.clock_timestamp(), table_id = $10, "
		"query = $11, relations = $12, destination = $13, row_security = $14, "
		"system_identifier = $15, ordering = $16 "
		"WHERE name = $1 AND role_id = $2 AND run_id = $9 "
		"RETURNING role_id",
		row, false, SPI_OK_UPDATE_RETURNING);
}

static void
write_first(Oid schema, void *arg)
{
	const ObParameters *row = arg;

	execute(
		schema,
		"INSERT INTO %s." TABLE " (name, role, column_name, type, value, "
		"uri, run_id, landed, table_id, query, relations, destination, "
		"row_security, system_identifier, ordering) SELECT $1, $3, $4, $5, "
		"$6, $7, $8, pg_catalog.clock_timestamp(), $10, $11, $12, $13, "
		"$14, $15, $16 WHERE $2 IS NOT NULL AND $8 = $9 "
		"ON CONFLICT DO NOTHING RETURNING role_id",
		row, false, SPI_OK_INSERT_RETURNING);
}

typedef struct Registered
{
	ObParameters row;
	bool found;
} Registered;

/* If $2 is null, any row of that name counts. */
static void
find_registered(Oid schema, void *arg)
{
	Registered *registered = arg;

	registered->found = execute(schema,
								"SELECT FROM %s." REGISTRY
								" WHERE name = $1 AND ($2 IS NULL OR id = $2)",
								&registered->row, true, SPI_OK_SELECT) > 0;
}

/* Whether the registry has that row.  The check is made as the registry's
 * owner, which need not be that of the watermarks. */
static bool
is_registered(Oid schema, const char *name, const pg_uuid_t *id)
{
	Registered registered;

	memset(&registered, 0, sizeof(registered));
	ob_parameter_text(&registered.row, name);
	ob_parameter_uuid(&registered.row, id);
	ob_as_owner(schema, REGISTRY, find_registered, &registered);
	return registered.found;
}

/*
 * Whether a first increment was not reset since it began.  It has no row yet
 * whose deletion would show a reset, so the registry and the table of resets
 * are compared with their state at the beginning.  Their latest state counts,
 * since the transaction's own snapshot may be older.
 */
static bool
is_still_wanted(Oid schema, const ObWatermark *mark)
{
	Reading reading = begin_reading(mark->name);
	bool registered;

	PushActiveSnapshot(GetLatestSnapshot());
	registered = is_registered(schema, mark->name, &mark->origin.table_id);
	ob_as_owner(schema, RESETS, read_resets, &reading);
	PopActiveSnapshot();
	return registered && strcmp(reading.resets ? reading.resets : "",
								mark->resets ? mark->resets : "") == 0;
}

typedef struct Writing
{
	Oid schema;
	const ObWatermark *mark;
	const ObHistoryRow *landed;
	ObParameters row;
	bool written;
} Writing;

static void
write_mark(Oid schema, void *arg)
{
	Writing *writing = arg;
	bool isnull;

	(writing->mark->kept ? write_kept : write_first)(schema, &writing->row);
	writing->written = SPI_processed > 0;
	/* the column is made from the name: see check_role() of history.c */
	if (writing->written && DatumGetObjectId(ob_own_column(0, 1, &isnull)) !=
								DatumGetObjectId(writing->row.values[1]))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("the role was renamed during the export")));
}

static void
make_row(ObParameters *row, const ObWatermark *mark,
		 const ObHistoryRow *landed)
{
	const ObWatermarkOrigin *origin = &mark->origin;

	memset(row, 0, sizeof(*row));
	/* the role may have another name since the query began */
	AcceptInvalidationMessages();
	ob_parameter_text(row, mark->name);
	ob_parameter_oid(row, GetUserId());
	ob_parameter_text(row, GetUserNameFromId(GetUserId(), false));
	ob_parameter_text(row, mark->column);
	ob_parameter_text(row, mark->type);
	ob_parameter_text(row, mark->to);
	ob_parameter_text(row, landed->uri);
	ob_parameter_uuid(row, &landed->run_id);
	ob_parameter_uuid(row, mark->kept ? &mark->kept->run_id : &landed->run_id);
	ob_parameter_uuid(row, &origin->table_id);
	ob_parameter_text(row, origin->query);
	ob_parameter_text(row, origin->relations);
	ob_parameter_text(row, origin->destination);
	ob_parameter_text(row, origin->row_security);
	ob_parameter_text(row, origin->system);
	ob_parameter_text(row, origin->ordering);
	Assert(row->n == PARAMETERS);
}

static void
write_if_wanted(void *arg)
{
	Writing *writing = arg;

	make_row(&writing->row, writing->mark, writing->landed);
	if (writing->mark->kept || is_still_wanted(writing->schema, writing->mark))
		ob_as_owner(writing->schema, TABLE, write_mark, writing);
}

const char *
ob_watermark_keep(Oid schema, const ObWatermark *mark, const ObHistoryRow *row)
{
	Writing writing = {.schema = schema, .mark = mark, .landed = row};
	const ErrorData *error;

	if (!mark->to || strcmp(row->status, OB_STATUS_DONE) != 0 ||
		row->figures.rows == 0)
		return NULL;
	/* The object has landed, so a failure here must not undo its row of the
	 * history.  A REPEATABLE READ transaction fails if another run has moved
	 * the watermark. */
	error = ob_attempt(write_if_wanted, &writing);
	if (!error && writing.written)
		return NULL;
	if (error && error->sqlerrcode != ERRCODE_T_R_SERIALIZATION_FAILURE)
		return error->message;
	return pstrdup("It was changed or reset while the increment landed.");
}

void
ob_watermark_warn_left(const char *name, const char *why)
{
	ereport(WARNING,
			(errmsg("the watermark of \"%s\" is left as it is", name),
			 errdetail_internal("%s", why),
			 errhint("The next increment will export the same rows.")));
}

/* ---- forgetting ---- */

typedef struct Reset
{
	ObParameters row;
	bool keep;
	uint64 n;
} Reset;

#define ROWS_TO_RESET " WHERE name = $1 AND pg_has_role($2, role_id, 'MEMBER')"

static void
reset(Oid schema, void *arg)
{
	Reset *request = arg;

	if (request->keep)
		request->n = execute(
			schema,
			"UPDATE %s." TABLE " SET table_id = $3, query = $4, "
			"relations = NULL, destination = NULL, row_security = NULL, "
			"system_identifier = NULL, ordering = NULL" ROWS_TO_RESET,
			&request->row, false, SPI_OK_UPDATE);
	else
		request->n = execute(schema, "DELETE FROM %s." TABLE ROWS_TO_RESET,
							 &request->row, false, SPI_OK_DELETE);
}

static void
note_reset(Oid schema, void *arg)
{
	Reset *request = arg;

	execute(schema,
			"INSERT INTO %s." RESETS " (name, role_id) VALUES ($1, $2) "
			"ON CONFLICT (name, role_id) DO UPDATE "
			"SET reset_id = pg_catalog.gen_random_uuid()",
			&request->row, false, SPI_OK_INSERT);
}

/*
 * Attaches the watermarks to the registered row and query, as far as the
 * caller may read the registry.  The rest of their origin depends on the role
 * that lands them, on its search_path and on its call.
 */
static void
add_registered(ObParameters *row, Oid schema, const char *name)
{
	const ObEntry *entry = ob_registry_find(schema, name);
	const char *query = entry ? entry->query : NULL;

	if (entry && !query)
		query = ob_query_of_table(name);
	ob_parameter_uuid(row, entry ? &entry->id : NULL);
	ob_parameter_text(row, query);
}

int
ob_watermark_reset(Oid schema, const char *name, bool keep)
{
	Reset request;

	memset(&request, 0, sizeof(request));
	request.keep = keep;
	ob_parameter_text(&request.row, name);
	/* The caller's id is read before ob_as_owner() changes it. */
	ob_parameter_oid(&request.row, GetUserId());
	if (keep)
		add_registered(&request.row, schema, name);
	ob_as_owner(schema, TABLE, reset, &request);
	if (!keep && is_registered(schema, name, NULL))
		ob_as_owner(schema, RESETS, note_reset, &request);
	return (int) request.n;
}
