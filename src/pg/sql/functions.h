/*
 * functions.h
 *		Declarations that the functions*.c files share.
 *
 * src/pg/sql/functions.h
 */
#ifndef OB_FUNCTIONS_H
#define OB_FUNCTIONS_H

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "pg/catalog/history.h"

/* The number of columns in the result row of one export, as onboard_table()
 * and onboard_all() return it. */
#define OB_RESULT_COLUMNS 9

static inline char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

static inline Jsonb *
jsonb_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_JSONB_P(n);
}

/* Returns the extension's schema, for functions that users call: the tables
 * are in the same one. */
static inline Oid
own_schema(FunctionCallInfo fcinfo)
{
	return get_func_namespace(fcinfo->flinfo->fn_oid);
}

/* Does the same for functions of the schema onboard_internal. */
extern Oid ob_extension_schema(void);

/* Returns the argument that names an export.  Raises if it is NULL or empty.
 */
extern char *ob_export_name_argument(FunctionCallInfo fcinfo, int n);

/* Raises in a parallel query, before anything is sent, because no row of the
 * history could be written there. */
extern void ob_require_no_parallel(const char *function);

/* Sets *run_id to the argument and returns true, or to a new id.  Raises if
 * the given id is that of another role's run. */
extern bool ob_run_id_argument(FunctionCallInfo fcinfo, int n,
							   pg_uuid_t *run_id);

/* Fills run_id, name, status, uri, files, rows, bytes, elapsed, increment. */
extern void ob_result_values(const ObHistoryRow *row, Datum *values,
							 bool *nulls);

#endif
