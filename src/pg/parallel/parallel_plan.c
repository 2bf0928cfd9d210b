/*
 * parallel_plan.c
 *		Planning the export's query, with the sink below Gather.
 *
 * src/pg/parallel/parallel_plan.c
 *
 * No hook is needed, so no other query can be mistaken for the export's: what
 * is changed here is a copy of what the planner has returned for it.  It is
 * planned as if handing rows to the leader cost nothing, because with the sink
 * in the workers they hand up next to none.  If the plan's top is then not a
 * Gather that can be used, the query is planned again with the real costs: a
 * Gather that does hand up its rows must be paid for.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "pg/base/compat.h"
#include "pg/parallel/parallel_intern.h"
#include "pg/base/query.h"

static void
set_here(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Plans the query with a cost of zero for handing rows on, and with as many
 * workers as the option says.  The settings are made like those of a
 * function's SET clause: an error undoes them, and a function that changes
 * them while the query is planned does not make them stay.
 */
static PlannedStmt *
plan_for_sink(const ObParallel *parallel, Query *query, const char *text,
			  ParamListInfo parameters)
{
	int level = NewGUCNestLevel();
	int workers = parallel->options->parallel;
	PlannedStmt *statement;

	set_here("parallel_tuple_cost", "0");
	if (workers > max_parallel_workers_per_gather)
		set_here("max_parallel_workers_per_gather", psprintf("%d", workers));
	statement = ob_plan_query(query, text, CURSOR_OPT_PARALLEL_OK, parameters);
	AtEOXact_GUC(true, level);
	return statement;
}

/* Returns the numbers of the child's columns that make up the result, or NIL
 * if the leader would have to compute more than that. */
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

/* Limits the workers so that two parts of each process fit into the export's
 * memory. */
static int
choose_workers(const ObParallel *parallel, const Gather *gather)
{
	int64 memory = (int64) onboard_upload_memory * 1024 -
				   parallel->options->copy.parquet.memory;
	int fitting = (int) (memory / (2 * parallel->options->part_size)) - 1;
	int workers = parallel->options->parallel > 0 ? parallel->options->parallel
												  : gather->num_workers;

	return Min(workers, fitting);
}

/* Moves the sink.  Returns the statement, or NULL if that is not possible. */
static PlannedStmt *
push_sink(ObParallel *parallel, PlannedStmt *statement)
{
	Gather *gather = (Gather *) statement->planTree;
	MemoryContext before;
	List *columns;
	bool plain;
	int workers;

	if (!IsA(gather, Gather) || gather->single_copy ||
		gather->plan.qual != NIL || statement->rowMarks != NIL)
		return NULL;
	columns = plain_columns(gather, &plain);
	workers = choose_workers(parallel, gather);
	parallel->crowded = plain && workers < 1;
	if (!plain || workers < 1)
		return NULL;
	before = MemoryContextSwitchTo(parallel->context);
	parallel->desc = ExecCleanTypeFromTL(gather->plan.targetlist);
	MemoryContextSwitchTo(before);
	parallel->workers = workers;
	/* a hook of another extension may have kept the statement */
	statement = copyObject(statement);
	gather = (Gather *) statement->planTree;
	gather->num_workers = workers;
	outerPlan(gather) = ob_sink_scan_plan(
		outerPlan(gather), columns, parallel->desc,
		psprintf("%s, %s", parallel->options->copy.format->name,
				 parallel->options->codec->name));
	gather->plan.targetlist = list_make1(makeTargetEntry(
		(Expr *) makeVar(OUTER_VAR, 1, BYTEAOID, -1, InvalidOid, 0), 1, "tail",
		false));
	parallel->scan = outerPlan(gather);
	return statement;
}

static void
check_read_only(PlannedStmt *statement)
{
	/* SPI uses the same words for all other queries */
	if (!CommandIsReadOnly(statement))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("%s is not allowed in a non-volatile function",
							   CreateCommandName((Node *) statement))));
}

/* Of a query before it is planned.  Processes that share the rows do not keep
 * their order. */
static List *
find_order(const ObParallel *parallel, const Query *query)
{
	MemoryContext before = MemoryContextSwitchTo(parallel->context);
	List *order = ob_query_order(query);

	MemoryContextSwitchTo(before);
	return order;
}

PlannedStmt *
ob_parallel_plan(ObParallel *parallel, const char *text,
				 ParamListInfo parameters)
{
	const ObOptions *options = parallel->options;
	Query *query = ob_query_analyse(text, parameters);
	PlannedStmt *statement;
	PlannedStmt *pushed = NULL;
	List *order = find_order(parallel, query);

	if (options->parallel == 0)
		statement = ob_plan_query(query, text, 0, parameters);
	else if (ob_parallel_unsupported(&options->copy) || parallel->equal)
		statement =
			ob_plan_query(query, text, CURSOR_OPT_PARALLEL_OK, parameters);
	else
	{
		/* the planner changes the query */
		Query *copy = copyObject(query);

		statement = plan_for_sink(parallel, query, text, parameters);
		pushed = push_sink(parallel, statement);
		if (!pushed)
			statement =
				ob_plan_query(copy, text, CURSOR_OPT_PARALLEL_OK, parameters);
	}
	check_read_only(statement);
	if (!pushed)
		parallel->origin.order = order;
	parallel->estimate = statement->planTree->plan_rows *
						 (double) statement->planTree->plan_width;
	return pushed ? pushed : statement;
}
