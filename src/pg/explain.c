/*
 * explain.c
 *		The plan that an export would run, and where its sink sits.
 *
 * src/pg/explain.c
 */
#include "postgres.h"

#include "executor/spi.h"

#include "pg/explain.h"
#include "pg/parallel.h"
#include "pg/query.h"

static char *
say_where(const ObOptions *options, const ObParallel *parallel)
{
	if (ob_parallel_pushed(parallel))
		return psprintf("Sink: below Gather, in up to %d workers and in the "
						"session",
						ob_parallel_workers(parallel));
	if (options->parallel == 0)
		return pstrdup("Sink: in the session (parallel is off)");
	if (ob_parallel_for_one(&options->copy))
		return psprintf("Sink: in the session (format %s%s)",
						options->copy.format->name,
						options->copy.format->kind == OB_FORMAT_BINARY
							? ", in another encoding than the database's"
							: "");
	return pstrdup("Sink: in the session (the plan's top is not a Gather of "
				   "plain columns)");
}

/* What EXPLAIN says, copied out of SPI's memory. */
static List *
explain(const char *query, MemoryContext context)
{
	List *lines = NIL;

	/* (SPI counts EXPLAIN among what does not only read) */
	if (SPI_execute(psprintf("EXPLAIN %s", query), false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "EXPLAIN failed");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char *line =
			SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext before = MemoryContextSwitchTo(context);

		lines = lappend(lines, pstrdup(line));
		MemoryContextSwitchTo(before);
	}
	return lines;
}

List *
ob_explain(const char *query, const ObOptions *options)
{
	ObParallel *parallel = ob_parallel_new(options, NULL, NULL);
	MemoryContext context = CurrentMemoryContext;
	ObParallel *outer;
	List *volatile lines = NIL;

	ob_query_check(query);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	outer = ob_parallel_request(parallel);
	PG_TRY();
	{
		lines = explain(query, context);
	}
	PG_FINALLY();
	{
		ob_parallel_request(outer);
	}
	PG_END_TRY();
	SPI_finish();
	return lcons(say_where(options, parallel), lines);
}
