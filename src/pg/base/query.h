/*
 * query.h
 *		The queries that may be exported: one statement that only reads.
 *
 * src/pg/base/query.h
 */
#ifndef OB_QUERY_H
#define OB_QUERY_H

#include "access/tupdesc.h"
#include "nodes/params.h"
#include "nodes/parsenodes.h"

/* Raises unless the text is one SELECT, VALUES, TABLE or WITH that modifies no
 * data; syntax errors keep their position.  Reads no catalogs. */
extern void ob_query_check(const char *query);

/* Returns "TABLE name" for a name that may be qualified, quoted again;
 * palloc'd. */
extern char *ob_query_of_table(const char *name);

/* Returns the text without what may end a statement, for "SELECT ... FROM
 * (text\n)", since it may end in a comment; palloc'd. */
extern char *ob_query_as_subquery(const char *query);

/* Adds the text to the context of errors, until error_context_stack is set to
 * context->previous. */
extern void ob_query_context(ErrorContextCallback *context, const char *query);

/* Returns the result of parse analysis alone, in which views are still
 * relations. */
extern Query *ob_query_parse(const char *query);

/* Returns such a result after rewriting: views are subqueries, and policies
 * are conditions. */
extern Query *ob_query_rewrite(const Query *query);

/* Parses and rewrites the query.  parameters may be NULL. */
extern Query *ob_query_analyse(const char *query, ParamListInfo parameters);

/* A column of the result by which its rows are sorted. */
typedef struct ObSortKey
{
	int column; /* from 0 on */
	Oid operator;
	bool nulls_first;
} ObSortKey;

/* Returns the keys of an analysed query's ORDER BY, of ObSortKey *, up to the
 * first that is no column of the result. */
extern List *ob_query_order(const Query *query);

/* Returns the columns of the query's result, palloc'd.  Raises if the query is
 * not valid, or has parameters; holds the locks that parsing takes. */
extern TupleDesc ob_query_describe(const char *query);

/* Returns the planner's estimate of the result's size, in bytes.  Raises if
 * the query cannot be planned; holds the locks that planning takes. */
extern double ob_query_size(const char *query);

#endif
