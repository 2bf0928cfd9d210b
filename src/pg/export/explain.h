/*
 * explain.h
 *		The plan of an export, and the place of its sink.
 *
 * src/pg/export/explain.h
 */
#ifndef OB_EXPLAIN_H
#define OB_EXPLAIN_H

#include "nodes/pg_list.h"

#include "pg/config/options.h"

/* Returns lines of text, palloc'd.  The query is planned, but not run.
 * Raises. */
extern List *ob_explain(const char *query, const ObOptions *options);

#endif
