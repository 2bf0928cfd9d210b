/*
 * watermark_warn.c
 *		Increments: warnings of rows that may come below the watermark later.
 *
 * src/pg/increment/watermark_warn.c
 *
 * No catalog says how late transactions commit.  But PostgreSQL knows of
 * sequences that give their numbers out of order, of prepared transactions,
 * and of time zones in which an hour occurs twice.
 */
#include "postgres.h"

#include "access/twophase.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "pg/base/subtransaction.h"
#include "pg/base/own_query.h"
#include "pg/base/errors.h"
#include "pg/increment/watermark_intern.h"

#define SECONDS_PER_YEAR (366 * SECS_PER_DAY)

typedef struct Looking
{
	Oid schema; /* the extension's */
	const ObWatermark *mark;
	const ObWatermarkColumn *column;
	ArrayType *relations; /* all relations that the query reads */
} Looking;

static const char *
shown(const char *text)
{
	return ob_report_client_text(text);
}

static ArrayType *
array_of(const List *relations)
{
	Datum *values = palloc(sizeof(Datum) * (list_length(relations) + 1));
	const ListCell *cell;
	int n = 0;

	foreach (cell, relations)
		values[n++] = ObjectIdGetDatum(lfirst_oid(cell));
	return construct_array(values, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT);
}

/* ---- queries on catalogs ---- */

static int64
number_column(int number)
{
	bool isnull;
	Datum value = ob_own_column(0, number, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* ---- sequences ---- */

#define INTEGERS(type) \
	((type) == INT8OID || (type) == INT4OID || (type) == INT2OID)

/* Finds the sequence of the column's default, or of its identity. */
#define SEQUENCE_OF_COLUMN                                                 \
	"SELECT s.seqrelid::regclass::text, s.seqcache, "                      \
	"CASE WHEN has_sequence_privilege(s.seqrelid, 'SELECT, USAGE') AND "   \
	"s.seqincrement > 0 AND NOT s.seqcycle "                               \
	"THEN coalesce(pg_sequence_last_value(s.seqrelid), s.seqstart - 1) "   \
	"ELSE 9223372036854775807 END FROM pg_sequence s WHERE s.seqrelid IN " \
	"(SELECT d.refobjid FROM pg_attrdef a JOIN pg_depend d "               \
	"ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid AND "       \
	"d.refclassid = 'pg_class'::regclass "                                 \
	"WHERE a.adrelid = $1 AND a.adnum = $2 "                               \
	"UNION ALL SELECT d.objid FROM pg_depend d "                           \
	"WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'i' AND "      \
	"d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND "         \
	"d.refobjsubid = $2) LIMIT 1"

static void
warn_of_cache(const Looking *looking, const char *sequence, int64 cache)
{
	ereport(WARNING,
			(errmsg("column \"%s\" of \"%s\" takes its numbers from a "
					"sequence with a cache",
					shown(looking->mark->column), shown(looking->mark->name)),
			 errdetail("Each session takes %lld numbers of %s at a time, so "
					   "rows with lower numbers come after higher ones have "
					   "landed, and are never landed.",
					   (long long) cache, shown(sequence)),
			 errhint("Use ALTER SEQUENCE %s CACHE 1, or a column of type "
					 "xid8.",
					 shown(sequence))));
}

static void
warn_of_restart(const Looking *looking, const char *sequence, int64 last)
{
	ereport(WARNING,
			(errmsg("the sequence of column \"%s\" of \"%s\" is below the "
					"watermark",
					shown(looking->mark->column), shown(looking->mark->name)),
			 errdetail("%s is at %lld, the watermark at %s: rows with the "
					   "numbers in between are never landed.",
					   shown(sequence), (long long) last,
					   looking->mark->kept->value),
			 errhint("If the sequence was restarted, "
					 "onboard_reset_watermark(%s) lets the next increment "
					 "have all rows.",
					 quote_literal_cstr(shown(looking->mark->name)))));
}

static void
look_at_sequence(Oid schema, void *arg)
{
	const Looking *looking = arg;
	const ObWatermarkKept *kept = looking->mark->kept;
	ObParameters parameters = {0};
	const ObOwnQuery query = {
		.sql = SEQUENCE_OF_COLUMN,
		.parameters = &parameters,
		.result = SPI_OK_SELECT,
	};
	int64 cache;
	int64 last;

	ob_parameter_oid(&parameters, looking->column->relation);
	ob_parameter_add(&parameters, INT2OID,
					 Int16GetDatum(looking->column->attribute), true);
	if (ob_own_query(schema, &query) == 0)
		return;
	cache = number_column(2);
	last = number_column(3);
	if (cache > 1)
		warn_of_cache(looking, ob_own_text(0, 1), cache);
	if (kept && INTEGERS(looking->column->type) && last < atoll(kept->value))
		warn_of_restart(looking, ob_own_text(0, 1), last);
}

/* ---- prepared transactions ---- */

/* Finds a prepared transaction of this database that holds a lock for writing
 * on a table that the query reads, or on a partition or child of one.  Locks
 * of prepared transactions have no pid. */
#define PREPARED_TRANSACTION                                                \
	"WITH RECURSIVE part (oid) AS (SELECT unnest($1) UNION "                \
	"SELECT i.inhrelid FROM pg_inherits i JOIN part "                       \
	"ON i.inhparent = part.oid) "                                           \
	"SELECT p.gid, p.prepared::text FROM pg_prepared_xacts p "              \
	"JOIN pg_locks x ON x.locktype = 'transactionid' AND x.pid IS NULL "    \
	"AND x.transactionid = p.transaction "                                  \
	"JOIN pg_locks l ON l.virtualtransaction = x.virtualtransaction "       \
	"AND l.pid IS NULL AND l.locktype = 'relation' "                        \
	"WHERE p.database = current_database() AND l.mode IN "                  \
	"('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', "       \
	"'AccessExclusiveLock') AND l.relation IN (SELECT part.oid FROM part) " \
	"ORDER BY p.prepared LIMIT 1"

static void
look_at_prepared(Oid schema, void *arg)
{
	const Looking *looking = arg;
	ObParameters parameters = {0};
	const ObOwnQuery query = {
		.sql = PREPARED_TRANSACTION,
		.parameters = &parameters,
		.result = SPI_OK_SELECT,
	};

	ob_parameter_add(&parameters, OIDARRAYOID,
					 PointerGetDatum(looking->relations), true);
	if (ob_own_query(schema, &query) == 0)
		return;
	ereport(WARNING,
			(errmsg("a prepared transaction may have written rows of \"%s\"",
					shown(looking->mark->name)),
			 errdetail("It is \"%s\", prepared at %s. If it is committed, its "
					   "rows below the watermark are not landed, unless the "
					   "overlap covers them.",
					   shown(ob_own_text(0, 1)), ob_own_text(0, 2)),
			 errhint("See pg_prepared_xacts. With a column of type xid8, "
					 "increments wait for such transactions.")));
}

/* ---- the hour that comes twice ---- */

/* Returns by how many seconds the clocks of the session's time zone go back
 * within the next year; 0 if they do not. */
static long
clocks_go_back(void)
{
	pg_time_t now = (pg_time_t) time(NULL);
	pg_time_t at = now;
	long back = 0;

	while (at < now + SECONDS_PER_YEAR)
	{
		long before;
		long after;
		int before_is_dst;
		int after_is_dst;
		pg_time_t boundary;

		if (pg_next_dst_boundary(&at, &before, &before_is_dst, &boundary,
								 &after, &after_is_dst, session_timezone) != 1)
			break;
		back = Max(back, before - after);
		at = boundary;
	}
	return back;
}

static void
look_at_clocks(const Looking *looking)
{
	const char *overlap = looking->mark->overlap;
	long back = clocks_go_back();
	Interval least = {.time = back * USECS_PER_SEC};

	if (back == 0)
		return;
	if (overlap &&
		DatumGetBool(DirectFunctionCall2(
			interval_ge, ob_watermark_overlap(TIMESTAMPOID, overlap),
			IntervalPGetDatum(&least))))
		return;
	ereport(
		WARNING,
		(errmsg("column \"%s\" of \"%s\" is a local time, which comes "
				"twice when the clocks go back",
				shown(looking->mark->column), shown(looking->mark->name)),
		 errdetail("The clocks of time zone \"%s\" go back by %ld minutes. "
				   "Rows of the repeated time are below the watermark, "
				   "and are not landed, unless the overlap covers them.",
				   pg_get_timezone_name(session_timezone),
				   back / SECS_PER_MINUTE),
		 errhint("Use a column of type timestamp with time zone, or a "
				 "longer overlap.")));
}

/* ---- all of them ---- */

static void
look(void *arg)
{
	const Looking *looking = arg;

	if (OidIsValid(looking->column->relation))
		ob_as_caller(looking->schema, look_at_sequence, arg);
	if (max_prepared_xacts > 0)
		ob_as_caller(looking->schema, look_at_prepared, arg);
	if (looking->column->type == TIMESTAMPOID)
		look_at_clocks(looking);
}

void
ob_watermark_look(Oid schema, ObWatermark *mark, const ObWatermarkQuery *query,
				  const ObWatermarkColumn *column)
{
	Looking looking = {.schema = schema, .mark = mark, .column = column};
	const ErrorData *error;

	if (mark->in_worker || mark->warned)
		return;
	mark->warned = true;
	if (column->type == XID8OID)
		return;
	looking.relations = array_of(query->relations);
	/* A DBA may have revoked SELECT on a catalog.  The export goes on. */
	error = ob_attempt(look, &looking);
	if (error)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("could not check whether rows of \"%s\" may come "
						"late: %s",
						shown(mark->name), shown(error->message))));
}

void
ob_watermark_warn(Oid schema, ObWatermark *mark, const char *text)
{
	ObWatermarkQuery query;
	ObWatermarkColumn column;

	ob_watermark_analyse(&query, text);
	if (ob_watermark_find_column(&query, mark->column, &column) > 0)
		ob_watermark_look(schema, mark, &query, &column);
}
