/*
 * explain.c
 *		The plan of an export, and the place of its sink.
 *
 * src/pg/export/explain.c
 */
#include "postgres.h"

#include "commands/explain.h"
#include "lib/stringinfo.h"

#include "pg/base/compat.h"
#include "pg/export/explain.h"
#include "pg/parallel/parallel.h"
#include "pg/base/query.h"

static char *
say_where(const ObOptions *options, const ObParallel *parallel)
{
	if (ob_parallel_is_pushed_down(parallel))
		return psprintf("Sink: below Gather, in up to %d workers and in the "
						"session",
						ob_parallel_workers(parallel));
	if (options->parallel == 0)
		return pstrdup("Sink: in the session (parallel is off)");
	if (ob_parallel_unsupported(&options->copy))
		return psprintf("Sink: in the session (format %s%s)",
						options->copy.format->name,
						options->copy.format->kind == OB_FORMAT_BINARY
							? ", in another encoding than the database's"
							: "");
	if (ob_parallel_equal(parallel))
		return pstrdup("Sink: in the session (the server wants parts of one "
					   "size)");
	if (ob_parallel_crowded(parallel))
		return pstrdup("Sink: in the session (onboard.upload_memory is less "
					   "than two parts for each process)");
	return pstrdup("Sink: in the session (the plan's top is not a Gather of "
				   "plain columns)");
}

static List *
split_lines(char *text)
{
	List *lines = NIL;

	for (char *end; (end = strchr(text, '\n')) != NULL; text = end + 1)
	{
		*end = '\0';
		lines = lappend(lines, text);
	}
	return *text ? lappend(lines, text) : lines;
}

/* Returns the output of EXPLAIN for the plan that an export would run. */
List *
ob_explain(const char *query, const ObOptions *options)
{
	ObParallel *parallel = ob_parallel_new(options, NULL, NULL);
	ExplainState *state = NewExplainState();
	ErrorContextCallback context;
	PlannedStmt *plan;

	ob_query_check(query);
	ob_query_context(&context, query);
	plan = ob_parallel_plan(parallel, query, NULL);
	ExplainBeginOutput(state);
	ob_explain_plan(plan, state, query);
	ExplainEndOutput(state);
	error_context_stack = context.previous;
	return lcons(say_where(options, parallel), split_lines(state->str->data));
}
