/*
 * watermark.c
 *		Increments: where the last one ended.
 *
 * src/pg/watermark.c
 *
 * A watermark belongs to a table and a role, because the role's privileges and
 * row security decide which rows it stands for: whoever sees less must not
 * move that of whoever sees more.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/own_query.h"
#include "pg/owner.h"
#include "pg/watermark_intern.h"

#define TABLE "onboard_watermarks"
#define REGISTRY "onboard_tables"
#define PARAMS 9

typedef struct Row
{
	int n;
	Oid types[PARAMS];
	Datum values[PARAMS];
} Row;

static void
add(Row *row, Oid type, Datum value)
{
	row->types[row->n] = type;
	row->values[row->n++] = value;
}

static void
add_text(Row *row, const char *text)
{
	add(row, TEXTOID, CStringGetTextDatum(text));
}

/* sql has one or two %s for the schema. */
static uint64
execute(Oid schema, const char *sql, const Row *row, bool read_only,
		int result)
{
	const ObOwnQuery query = {
		.sql = sql,
		.n = row->n,
		.types = row->types,
		.values = row->values,
		.writes = !read_only,
		.result = result,
	};

	ob_own_query(schema, &query);
	return SPI_processed;
}

/* ---- reading ---- */

typedef struct Reading
{
	Row row;
	MemoryContext context; /* for what is found */
	ObWatermarkKept *kept;
} Reading;

static char *
text_column(int number)
{
	bool isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
								number, &isnull);

	return TextDatumGetCString(value);
}

static void
read_kept(Oid schema, void *arg)
{
	Reading *reading = arg;
	MemoryContext before;
	bool isnull;

	if (execute(schema,
				"SELECT column_name, type, value, uri, run_id FROM %s." TABLE
				" WHERE name = $1 AND role_id = $2",
				&reading->row, true, SPI_OK_SELECT) == 0)
		return;
	before = MemoryContextSwitchTo(reading->context);
	reading->kept = palloc0(sizeof(ObWatermarkKept));
	reading->kept->column = text_column(1);
	reading->kept->type = text_column(2);
	reading->kept->value = text_column(3);
	reading->kept->uri = text_column(4);
	reading->kept->run_id = *DatumGetUUIDP(SPI_getbinval(
		SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 5, &isnull));
	MemoryContextSwitchTo(before);
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

ObWatermark *
ob_watermark_get(Oid schema, const char *name, const ObOptions *options,
				 const char *uri, bool in_worker)
{
	ObWatermark *mark = palloc0(sizeof(ObWatermark));
	Reading reading;

	if (!in_worker)
		check_writable(name);
	mark->name = name;
	mark->column = options->watermark;
	mark->overlap = options->overlap;
	memset(&reading, 0, sizeof(reading));
	reading.context = CurrentMemoryContext;
	add_text(&reading.row, name);
	add(&reading.row, OIDOID, ObjectIdGetDatum(GetUserId()));
	ob_as_owner(schema, TABLE, read_kept, &reading);
	mark->kept = reading.kept;
	if (mark->kept && strcmp(mark->kept->uri, uri) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("this increment of \"%s\" would replace the one "
						"before, at \"%s\"",
						name, uri),
				 errhint("Use {run_id} in option \"key\"; with {date} there "
						 "can be one increment a day.")));
	return mark;
}

static char *
copy_text(const char *text)
{
	return text ? pstrdup(text) : NULL;
}

ObWatermark *
ob_watermark_copy(const ObWatermark *mark)
{
	ObWatermark *copy = palloc0(sizeof(ObWatermark));

	copy->name = copy_text(mark->name);
	copy->column = copy_text(mark->column);
	copy->overlap = copy_text(mark->overlap);
	copy->type = copy_text(mark->type);
	copy->from = copy_text(mark->from);
	copy->to = copy_text(mark->to);
	if (mark->kept)
	{
		copy->kept = palloc0(sizeof(ObWatermarkKept));
		copy->kept->column = copy_text(mark->kept->column);
		copy->kept->type = copy_text(mark->kept->type);
		copy->kept->value = copy_text(mark->kept->value);
		copy->kept->uri = copy_text(mark->kept->uri);
		copy->kept->run_id = mark->kept->run_id;
	}
	return copy;
}

/* ---- writing ---- */

/*
 * $1 to $9: name, role's id, role's name, column_name, type, value, uri,
 * run_id, the run_id that was found, or the same one again.
 */
static void
write_kept(Oid schema, void *arg)
{
	Row *row = arg;

	execute(schema,
			"UPDATE %s." TABLE " SET role = $3, column_name = $4, type = $5, "
			"value = $6, uri = $7, run_id = $8, "
			"landed = pg_catalog.clock_timestamp() "
			"WHERE name = $1 AND role_id = $2 AND run_id = $9 "
			"RETURNING role_id",
			row, false, SPI_OK_UPDATE_RETURNING);
}

static void
write_first(Oid schema, void *arg)
{
	Row *row = arg;

	execute(schema,
			"INSERT INTO %s." TABLE " (name, role, column_name, type, value, "
			"uri, run_id, landed) SELECT $1, $3, $4, $5, $6, $7, $8, "
			"pg_catalog.clock_timestamp() WHERE $2 IS NOT NULL AND $8 = $9 "
			"ON CONFLICT DO NOTHING RETURNING role_id",
			row, false, SPI_OK_INSERT_RETURNING);
}

typedef struct Registered
{
	Row row;
	bool found;
} Registered;

static void
find_registered(Oid schema, void *arg)
{
	Registered *registered = arg;

	registered->found =
		execute(schema, "SELECT FROM %s." REGISTRY " WHERE name = $1",
				&registered->row, false, SPI_OK_SELECT) > 0;
}

/* The registry's owner looks, who may be another one than the watermarks'. */
static bool
is_registered(Oid schema, const char *name)
{
	Registered registered;

	memset(&registered, 0, sizeof(registered));
	add_text(&registered.row, name);
	ob_as_owner(schema, REGISTRY, find_registered, &registered);
	return registered.found;
}

typedef struct Writing
{
	Row row;
	bool first;
	bool written;
} Writing;

static void
write_mark(Oid schema, void *arg)
{
	Writing *writing = arg;

	bool isnull;

	(writing->first ? write_first : write_kept)(schema, &writing->row);
	writing->written = SPI_processed > 0;
	/* the column is made of the name: see check_role() of history.c */
	if (writing->written &&
		DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0],
									   SPI_tuptable->tupdesc, 1, &isnull)) !=
			DatumGetObjectId(writing->row.values[1]))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("the role was renamed meanwhile")));
}

void
ob_watermark_keep(Oid schema, const ObWatermark *mark, const ObRun *run)
{
	const ObWatermarkKept *kept = mark->kept;
	Writing writing;

	if (!mark->to || strcmp(run->status, OB_STATUS_DONE) != 0 ||
		run->rows == 0)
		return;
	memset(&writing, 0, sizeof(writing));
	writing.first = kept == NULL;
	/* the role may have another name since the query began */
	AcceptInvalidationMessages();
	add_text(&writing.row, mark->name);
	add(&writing.row, OIDOID, ObjectIdGetDatum(GetUserId()));
	add_text(&writing.row, GetUserNameFromId(GetUserId(), false));
	add_text(&writing.row, mark->column);
	add_text(&writing.row, mark->type);
	add_text(&writing.row, mark->to);
	add_text(&writing.row, run->uri);
	add(&writing.row, UUIDOID, UUIDPGetDatum(&run->run_id));
	add(&writing.row, UUIDOID,
		UUIDPGetDatum(kept ? &kept->run_id : &run->run_id));
	if (kept || is_registered(schema, mark->name))
		ob_as_owner(schema, TABLE, write_mark, &writing);
	if (!writing.written)
		ereport(
			WARNING,
			(errmsg("the watermark of \"%s\" is left as it is", mark->name),
			 errdetail("It was changed or reset while the increment "
					   "landed.")));
}

/* ---- forgetting ---- */

typedef struct Reset
{
	Row row;
	uint64 n;
} Reset;

static void
reset(Oid schema, void *arg)
{
	Reset *request = arg;

	request->n = execute(schema,
						 "DELETE FROM %s." TABLE
						 " WHERE name = $1 AND pg_has_role($2, role_id, "
						 "'MEMBER')",
						 &request->row, false, SPI_OK_DELETE);
}

int
ob_watermark_reset(Oid schema, const char *name)
{
	Reset request;

	memset(&request, 0, sizeof(request));
	add_text(&request.row, name);
	/* the caller's id: in the query, the owner is the current user */
	add(&request.row, OIDOID, ObjectIdGetDatum(GetUserId()));
	ob_as_owner(schema, TABLE, reset, &request);
	return (int) request.n;
}
