/*
 * query.c
 *		The queries that may be exported: one statement that only reads.
 *
 * src/pg/base/query.c
 *
 * The executor enforces the same (SPI's read_only), so this file is for clear
 * errors, not for safety.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "optimizer/optimizer.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/plancache.h"
#include "utils/varlena.h"

#include "core/text/uri.h"
#include "pg/base/query.h"

/* Positions in the query must not be taken for positions in the caller's
 * statement.  SPI does the same. */
static bool
move_position(const char *query)
{
	int position = geterrposition();

	if (position <= 0)
		return false;
	errposition(0);
	internalerrposition(position);
	internalerrquery(query);
	return true;
}

/* A caller that leaves the query out has the bucket in its place. */
static void
tell_position(void *arg)
{
	ObError error;

	move_position(arg);
	ob_error_clear(&error);
	if (ob_bucket_check(arg, &error) == OB_OK)
		errhint("If \"%s\" is the bucket, give it after the query.",
				(const char *) arg);
}

static void
tell_query(void *arg)
{
	if (!move_position(arg))
		errcontext("SQL statement \"%s\"", (const char *) arg);
}

static void
push_context(ErrorContextCallback *context, void (*callback)(void *arg),
			 const char *query)
{
	context->callback = callback;
	context->arg = unconstify(char *, query);
	context->previous = error_context_stack;
	error_context_stack = context;
}

void
ob_query_context(ErrorContextCallback *context, const char *query)
{
	push_context(context, tell_query, query);
}

static List *
parse(const char *query)
{
	ErrorContextCallback context;
	List *statements;

	push_context(&context, tell_position, query);
	statements = raw_parser(query, RAW_PARSE_DEFAULT);
	error_context_stack = context.previous;
	return statements;
}

static void
refuse(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", why),
			 errhint("The query must be one SELECT, VALUES, TABLE or "
					 "WITH that only reads.")));
}

static void
check_select(const SelectStmt *select)
{
	const SelectStmt *first = select;
	ListCell *cell;

	/* the first SELECT of a UNION has the INTO */
	while (first->op != SETOP_NONE)
		first = first->larg;
	if (first->intoClause)
		refuse("query must not be a SELECT INTO");
	if (select->lockingClause)
		refuse("query must not lock rows (FOR UPDATE or FOR SHARE)");
	if (!select->withClause)
		return;
	foreach (cell, select->withClause->ctes)
	{
		const CommonTableExpr *cte = lfirst_node(CommonTableExpr, cell);

		if (!IsA(cte->ctequery, SelectStmt))
			refuse("query must not modify data in WITH");
	}
}

void
ob_query_check(const char *query)
{
	List *statements = parse(query);
	const RawStmt *raw;

	if (statements == NIL)
		refuse("query is empty");
	if (list_length(statements) > 1)
		refuse("query has more than one statement");
	raw = linitial_node(RawStmt, statements);
	if (!IsA(raw->stmt, SelectStmt))
		refuse("query is not a SELECT");
	check_select((const SelectStmt *) raw->stmt);
}

char *
ob_query_of_table(const char *name)
{
	StringInfoData query;
	List *names;
	ListCell *cell;

	if (!SplitIdentifierString(pstrdup(name), '.', &names) || names == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid table name \"%s\"", name),
				 errhint("Write it as in SQL, such as sales.\"Order Items\", "
						 "or give a query.")));
	initStringInfo(&query);
	foreach (cell, names)
		appendStringInfo(&query, "%s%s", query.len ? "." : "TABLE ",
						 quote_identifier(lfirst(cell)));
	return query.data;
}

/* Rows that are locked may be other ones than those that were sorted. */
List *
ob_query_order(const Query *query)
{
	List *order = NIL;
	ListCell *cell;

	if (query->rowMarks != NIL)
		return NIL;
	foreach (cell, query->sortClause)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, cell);
		const TargetEntry *entry =
			get_sortgroupclause_tle(clause, query->targetList);
		ObSortKey *key;

		if (entry->resjunk)
			break;
		key = palloc(sizeof(ObSortKey));
		*key =
			(ObSortKey){entry->resno - 1, clause->sortop, clause->nulls_first};
		order = lappend(order, key);
	}
	return order;
}

double
ob_query_size(const char *query)
{
	SPIPlanPtr plan;
	CachedPlan *cached;
	double size = 0;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	plan = SPI_prepare(query, 0, NULL);
	cached = plan ? SPI_plan_get_cached_plan(plan) : NULL;
	if (cached)
	{
		const Plan *top =
			linitial_node(PlannedStmt, cached->stmt_list)->planTree;

		size = top->plan_rows * top->plan_width;
		ReleaseCachedPlan(cached, NULL);
	}
	SPI_finish();
	return size;
}

char *
ob_query_as_subquery(const char *query)
{
	const RawStmt *raw = linitial_node(RawStmt, parse(query));
	const char *start = query + raw->stmt_location;

	return pnstrdup(start, raw->stmt_len > 0 ? raw->stmt_len : strlen(start));
}

Query *
ob_query_parse(const char *query)
{
	return parse_analyze_fixedparams(linitial_node(RawStmt, parse(query)),
									 query, NULL, 0, NULL);
}

/* a SELECT has no other rules than views */
static Query *
only_select(List *queries)
{
	if (list_length(queries) != 1 ||
		linitial_node(Query, queries)->commandType != CMD_SELECT)
		refuse("query is not a SELECT");
	return linitial_node(Query, queries);
}

Query *
ob_query_rewrite(const Query *query)
{
	return only_select(
		pg_rewrite_query(copyObject(unconstify(Query *, query))));
}

Query *
ob_query_analyse(const char *query, ParamListInfo parameters)
{
	RawStmt *raw = linitial_node(RawStmt, parse(query));
	List *queries;

	if (parameters)
		queries =
			pg_analyze_and_rewrite_withcb(raw, query, parameters->parserSetup,
										  parameters->parserSetupArg, NULL);
	else
		queries =
			pg_analyze_and_rewrite_fixedparams(raw, query, NULL, 0, NULL);
	return only_select(queries);
}

TupleDesc
ob_query_describe(const char *query)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext before;
	SPIPlanPtr plan;
	const CachedPlanSource *source;
	TupleDesc desc;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	plan = SPI_prepare(query, 0, NULL);
	if (!plan)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	source = linitial(SPI_plan_get_plan_sources(plan));
	before = MemoryContextSwitchTo(context);
	desc = CreateTupleDescCopy(source->resultDesc);
	MemoryContextSwitchTo(before);
	SPI_finish();
	return desc;
}
