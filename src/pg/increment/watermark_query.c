/*
 * watermark_query.c
 *		Increments: the registered query, and the origin of its column.
 *
 * src/pg/increment/watermark_query.c
 *
 * The query is analysed once for each increment.  Its tables and policies are
 * read from the result (watermark_origin.c), and so are the expressions of
 * which the watermark's column is made, through subqueries, views, CTEs and
 * joins down to tables.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "pg/base/compat.h"
#include "pg/base/query.h"
#include "pg/increment/watermark_intern.h"

/* ---- what is read ---- */

static bool walk_relations(Node *node, void *context);

static Query *
query_of_view(Oid relid)
{
	Relation relation = table_open(relid, AccessShareLock);
	Query *query = copyObject(get_view_query(relation));

	table_close(relation, NoLock);
	return query;
}

static void
add_relation(ObWatermarkQuery *query, const RangeTblEntry *entry)
{
	Query *view = NULL;

	if (list_member_oid(query->relations, entry->relid))
		return;
	if (entry->relkind == RELKIND_VIEW)
		view = query_of_view(entry->relid);
	query->relations = lappend_oid(query->relations, entry->relid);
	query->views = lappend(query->views, view);
	(void) walk_relations((Node *) view, query);
}

static bool
walk_relations(Node *node, void *context)
{
	if (!node)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		const RangeTblEntry *entry = (RangeTblEntry *) node;

		if (entry->rtekind == RTE_RELATION)
			add_relation(context, entry);
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, walk_relations, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, walk_relations, context);
}

void
ob_watermark_analyse(ObWatermarkQuery *query, const char *text)
{
	ErrorContextCallback context;

	memset(query, 0, sizeof(*query));
	ob_query_context(&context, text);
	query->parsed = ob_query_parse(text);
	query->rewritten = ob_query_rewrite(query->parsed);
	error_context_stack = context.previous;
	(void) walk_relations((Node *) query->parsed, query);
}

/* ---- tracing ---- */

typedef struct Tracing
{
	ObWatermarkColumn *column;
	List *seen; /* a list of Visit; a recursive CTE leads back to itself */
} Tracing;

typedef struct Visit
{
	const Query *query;
	AttrNumber number;
} Visit;

/* A query, and the queries around it. */
typedef struct Scope
{
	const Query *query;
	const struct Scope *outer;
	bool lateral; /* it is run for each row of others */
} Scope;

/* A walk over the Vars in an expression of the scope. */
typedef struct Walk
{
	Tracing *tracing;
	const Scope *scope;
	Index depth; /* number of subqueries around the node */
	bool plain;  /* nothing but columns so far */
} Walk;

static void trace_column(Tracing *tracing, const Scope *scope,
						 AttrNumber number, bool plain);

static bool
is_seen(Tracing *tracing, const Query *query, AttrNumber number)
{
	Visit *visit;
	ListCell *cell;

	foreach (cell, tracing->seen)
	{
		visit = lfirst(cell);
		if (visit->query == query && visit->number == number)
			return true;
	}
	visit = palloc(sizeof(Visit));
	*visit = (Visit){query, number};
	tracing->seen = lappend(tracing->seen, visit);
	return false;
}

static const Scope *
outer_scope(const Scope *scope, Index levels)
{
	while (levels-- > 0 && scope)
		scope = scope->outer;
	return scope;
}

/* A whole-row Var, which has number 0, is made of all columns. */
static void
trace_subquery(const Walk *walk, const Scope *outer, const Query *query,
			   AttrNumber number, bool lateral)
{
	const Scope scope = {query, outer, outer->lateral || lateral};

	if (number > 0)
		trace_column(walk->tracing, &scope, number, walk->plain);
	for (int i = 1; number == 0 && i <= list_length(query->targetList); i++)
		trace_column(walk->tracing, &scope, (AttrNumber) i, false);
}

static void
trace_cte(const Walk *walk, const RangeTblEntry *entry, AttrNumber number)
{
	const Scope *scope = outer_scope(walk->scope, entry->ctelevelsup);
	ListCell *cell;

	foreach (cell, scope ? scope->query->cteList : NIL)
	{
		const CommonTableExpr *cte = lfirst_node(CommonTableExpr, cell);

		if (strcmp(cte->ctename, entry->ctename) == 0 &&
			IsA(cte->ctequery, Query))
			trace_subquery(walk, scope, (const Query *) cte->ctequery, number,
						   false);
	}
}

static void
note_table(const Walk *walk, const RangeTblEntry *entry, AttrNumber number)
{
	ObWatermarkColumn *column = walk->tracing->column;

	if (entry->tablesample && !entry->tablesample->repeatable)
		column->sampled = true;
	if (!walk->plain || number <= 0 || OidIsValid(column->relation))
		return;
	column->relation = entry->relid;
	column->attribute = number;
}

static Node *
without_coercions(Node *node)
{
	while (node && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

static bool walk_vars(Node *node, void *context);

static void
trace_expression(const Walk *from, Node *node)
{
	Walk walk = *from;

	if (contain_volatile_functions(node))
		from->tracing->column->changing = true;
	node = without_coercions(node);
	walk.depth = 0;
	walk.plain = from->plain && node && IsA(node, Var);
	(void) walk_vars(node, &walk);
}

static void
trace_nth(const Walk *walk, const List *expressions, AttrNumber number)
{
	if (number > 0 && number <= list_length(expressions))
		trace_expression(walk, list_nth(expressions, number - 1));
}

/* A function that returns a set is like a table about which nothing is known:
 * most of them are volatile, because that is the default. */
static void
trace_function(const Walk *walk, const RangeTblEntry *entry)
{
	ListCell *cell;

	foreach (cell, entry->functions)
	{
		Node *function = lfirst_node(RangeTblFunction, cell)->funcexpr;

		if (!expression_returns_set(function))
			trace_expression(walk, function);
	}
}

static void
trace_entry(const Walk *walk, const RangeTblEntry *entry, AttrNumber number)
{
	ListCell *cell;

	switch (entry->rtekind)
	{
		case RTE_RELATION:
			note_table(walk, entry, number);
			break;
		case RTE_SUBQUERY:
			trace_subquery(walk, walk->scope, entry->subquery, number,
						   entry->lateral);
			break;
		case RTE_CTE:
			trace_cte(walk, entry, number);
			break;
		case RTE_JOIN:
			trace_nth(walk, entry->joinaliasvars, number);
			break;
		case RTE_VALUES:
			foreach (cell, entry->values_lists)
				trace_nth(walk, lfirst_node(List, cell), number);
			break;
		case RTE_FUNCTION:
			trace_function(walk, entry);
			break;
		default:
			trace_nth(walk, ob_rte_group_expressions(entry), number);
			break;
	}
}

static bool
walk_vars(Node *node, void *context)
{
	Walk *walk = context;
	bool found;

	if (!node)
		return false;
	if (IsA(node, Var))
	{
		const Var *var = (const Var *) node;
		Walk there = *walk;

		if (var->varlevelsup < walk->depth)
			return false;
		there.scope = outer_scope(walk->scope, var->varlevelsup - walk->depth);
		if (there.scope)
			trace_entry(&there,
						rt_fetch(var->varno, there.scope->query->rtable),
						var->varattno);
		return false;
	}
	if (!IsA(node, Query))
		return expression_tree_walker(node, walk_vars, context);
	walk->depth++;
	found = query_tree_walker((Query *) node, walk_vars, context, 0);
	walk->depth--;
	return found;
}

/* Column n of a UNION is that column of each of its parts.  The part after
 * EXCEPT contributes nothing. */
static void
trace_parts(const Walk *walk, const Node *node, AttrNumber number)
{
	if (IsA(node, RangeTblRef))
	{
		const RangeTblEntry *entry = rt_fetch(
			((const RangeTblRef *) node)->rtindex, walk->scope->query->rtable);

		trace_subquery(walk, walk->scope, entry->subquery, number, false);
	}
	else
	{
		const SetOperationStmt *operation =
			castNode(SetOperationStmt, (Node *) node);

		trace_parts(walk, operation->larg, number);
		if (operation->op != SETOP_EXCEPT)
			trace_parts(walk, operation->rarg, number);
	}
}

/* LIMIT ALL and LIMIT NULL do not count, nor OFFSET 0, which only keeps the
 * planner from flattening a subquery. */
static bool
has_limit(const Query *query)
{
	const Const *count =
		(Const *) eval_const_expressions(NULL, query->limitCount);
	const Const *offset =
		(Const *) eval_const_expressions(NULL, query->limitOffset);

	if (count && !(IsA(count, Const) && count->constisnull))
		return true;
	return offset &&
		   !(IsA(offset, Const) &&
			 (offset->constisnull || DatumGetInt64(offset->constvalue) == 0));
}

/* A subquery that is run for each row of others, for instance for the price of
 * each order, may well take one row of many. */
static void
trace_column(Tracing *tracing, const Scope *scope, AttrNumber number,
			 bool plain)
{
	const Query *query = scope->query;
	const Walk walk = {tracing, scope, 0, plain};
	const TargetEntry *entry;

	check_stack_depth();
	if (is_seen(tracing, query, number))
		return;
	if (!scope->lateral && has_limit(query))
		tracing->column->limited = true;
	entry = get_tle_by_resno(query->targetList, number);
	if (query->setOperations)
		trace_parts(&walk, query->setOperations, number);
	else if (entry && !entry->resjunk)
		trace_expression(&walk, (Node *) entry->expr);
}

/* ---- the column ---- */

int
ob_watermark_find_column(const ObWatermarkQuery *query, const char *name,
						 ObWatermarkColumn *column)
{
	const Scope scope = {query->rewritten, NULL, false};
	Tracing tracing = {column, NIL};
	int n = 0;
	ListCell *cell;

	memset(column, 0, sizeof(*column));
	foreach (cell, query->rewritten->targetList)
	{
		const TargetEntry *entry = lfirst_node(TargetEntry, cell);
		Node *node = (Node *) entry->expr;

		if (entry->resjunk || !entry->resname ||
			strcmp(entry->resname, name) != 0 || n++ > 0)
			continue;
		column->typmod = exprTypmod(node);
		column->type = getBaseTypeAndTypmod(exprType(node), &column->typmod);
		column->is_domain = column->type != exprType(node);
		column->collation = exprCollation(node);
		trace_column(&tracing, &scope, entry->resno, true);
	}
	return n;
}
