/*
 * query.h
 *		What may be exported: one statement that only reads.
 *
 * src/pg/base/query.h
 */
#ifndef OB_QUERY_H
#define OB_QUERY_H

#include "access/tupdesc.h"
#include "nodes/params.h"
#include "nodes/parsenodes.h"

/*
 * Raises unless the text is one SELECT, VALUES, TABLE or WITH that modifies
 * no data; syntax errors keep their position.  Nothing is looked up yet.
 */
extern void ob_query_check(const char *query);

/* "TABLE name" for a possibly qualified name, quoted again; palloc'd. */
extern char *ob_query_of_table(const char *name);

/* The text without what may end a statement, for "SELECT ... FROM (text\n)":
 * it may end in a comment.  palloc'd. */
extern char *ob_query_as_subquery(const char *query);

/* Errors say that they are about this text from now on, until
 * error_context_stack is set to context->previous. */
extern void ob_query_context(ErrorContextCallback *context, const char *query);

/* The result of parse analysis alone, in which views are still relations. */
extern Query *ob_query_parse(const char *query);

/* What rewriting makes of such a result: views are subqueries, and policies
 * are conditions. */
extern Query *ob_query_rewrite(const Query *query);

/* What parse analysis and rewriting make of it.  parameters may be NULL. */
extern Query *ob_query_analyse(const char *query, ParamListInfo parameters);

/* The columns of its result, palloc'd.  Raises if it is not valid, which
 * parameters make it; holds the locks that parsing takes. */
extern TupleDesc ob_query_describe(const char *query);

/* The planner's guess of what it returns, in bytes.  Raises if it cannot be
 * planned, and holds the locks that planning takes. */
extern double ob_query_size(const char *query);

#endif
