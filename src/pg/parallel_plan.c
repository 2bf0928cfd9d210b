/*
 * parallel_plan.c
 *		The planner hook that moves the sink below Gather.
 *
 * src/pg/parallel_plan.c
 *
 * The hook acts on one planning only, the one that was asked for; everything
 * else in the session passes through.  It has the query planned as if handing
 * rows to the leader cost nothing, because with the sink in the workers they
 * hand up next to none.  If the plan's top is then not a Gather that can be
 * used, the query is planned again with the real costs: a Gather that does
 * hand up its rows must be paid for.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/planner.h"
#include "catalog/pg_type.h"
#include "utils/memutils.h"

#include "pg/parallel_intern.h"

static planner_hook_type previous_hook = NULL;

static PlannedStmt *
plan_on(Query *query, const char *text, int options, ParamListInfo params)
{
	if (previous_hook)
		return previous_hook(query, text, options, params);
	return standard_planner(query, text, options, params);
}

/* With rows for free, and as many workers as were asked for. */
static PlannedStmt *
plan_for_sink(const ObParallel *parallel, Query *query, const char *text,
			  int options, ParamListInfo params)
{
	double tuple_cost = parallel_tuple_cost;
	int max_workers = max_parallel_workers_per_gather;
	PlannedStmt *statement;

	PG_TRY();
	{
		parallel_tuple_cost = 0;
		if (parallel->options->parallel > max_workers)
			max_parallel_workers_per_gather = parallel->options->parallel;
		statement = plan_on(query, text, options, params);
	}
	PG_FINALLY();
	{
		parallel_tuple_cost = tuple_cost;
		max_parallel_workers_per_gather = max_workers;
	}
	PG_END_TRY();
	return statement;
}

/*
 * The numbers of the child's columns that make up the result; NIL if it is
 * more than a choice of columns, which the leader would have to compute.
 */
static List *
plain_columns(const Gather *gather, bool *plain)
{
	List *columns = NIL;
	ListCell *cell;

	*plain = true;
	foreach (cell, gather->plan.targetlist)
	{
		const TargetEntry *entry = lfirst_node(TargetEntry, cell);
		const Var *var = (const Var *) entry->expr;

		if (entry->resjunk || !IsA(var, Var) || var->varno != OUTER_VAR ||
			var->varattno <= 0)
		{
			*plain = false;
			return NIL;
		}
		columns = lappend_int(columns, var->varattno);
	}
	return columns;
}

/* Two parts for each process must fit into the export's memory. */
static int
choose_workers(const ObParallel *parallel, const Gather *gather)
{
	int64 memory = (int64) onboard_upload_memory * 1024;
	int fitting = (int) (memory / (2 * parallel->options->part_size)) - 1;
	int workers = parallel->options->parallel > 0 ? parallel->options->parallel
												  : gather->num_workers;

	return Min(workers, fitting);
}

static bool
push_sink(ObParallel *parallel, PlannedStmt *statement)
{
	Gather *gather = (Gather *) statement->planTree;
	MemoryContext before;
	List *columns;
	bool plain;
	int workers;

	if (!IsA(gather, Gather) || gather->single_copy ||
		gather->plan.qual != NIL || statement->rowMarks != NIL)
		return false;
	columns = plain_columns(gather, &plain);
	workers = choose_workers(parallel, gather);
	if (!plain || workers < 1)
		return false;
	before = MemoryContextSwitchTo(parallel->context);
	parallel->desc = ExecCleanTypeFromTL(gather->plan.targetlist);
	MemoryContextSwitchTo(before);
	parallel->workers = workers;
	parallel->estimate = gather->plan.plan_rows * gather->plan.plan_width;
	gather->num_workers = workers;
	outerPlan(gather) = ob_sink_scan_plan(
		outerPlan(gather), columns, parallel->desc,
		psprintf("%s, %s", parallel->options->copy.format->name,
				 parallel->options->codec->name));
	gather->plan.targetlist = list_make1(makeTargetEntry(
		(Expr *) makeVar(OUTER_VAR, 1, BYTEAOID, -1, InvalidOid, 0), 1, "tail",
		false));
	return true;
}

static PlannedStmt *
plan_here(ObParallel *parallel, Query *query, const char *text, int options,
		  ParamListInfo params)
{
	PlannedStmt *statement = plan_on(query, text, options, params);
	const Plan *top = statement->planTree;

	parallel->estimate = top->plan_rows * top->plan_width;
	return statement;
}

static PlannedStmt *
plan_export(Query *query, const char *text, int options, ParamListInfo params)
{
	ObParallel *parallel = ob_parallel_requested();
	PlannedStmt *statement;
	Query *copy;

	if (!parallel || parallel->planned ||
		(options & CURSOR_OPT_PARALLEL_OK) == 0)
		return plan_on(query, text, options, params);
	/* functions that are planned meanwhile are not ours */
	parallel->planned = true;
	if (parallel->options->parallel == 0)
		return plan_here(parallel, query, text,
						 options & ~CURSOR_OPT_PARALLEL_OK, params);
	if (ob_parallel_for_one(&parallel->options->copy))
		return plan_here(parallel, query, text, options, params);
	copy = copyObject(query); /* planning scribbles on it */
	statement = plan_for_sink(parallel, query, text, options, params);
	parallel->pushed = push_sink(parallel, statement);
	if (parallel->pushed)
		return statement;
	return plan_here(parallel, copy, text, options, params);
}

void
ob_parallel_init(void)
{
	ob_sink_scan_init();
	previous_hook = planner_hook;
	planner_hook = plan_export;
}
