/*
 * own_query.h
 *		Queries of the extension's own.
 *
 * src/pg/base/own_query.h
 *
 * SQL names a schema by its name, and the name of the extension's is its
 * owner's to change: another schema may have it when the query is analysed,
 * with tables and functions that run as the caller.  So what a query of our
 * own has become is compared with what was meant.
 */
#ifndef OB_OWN_QUERY_H
#define OB_OWN_QUERY_H

#include "utils/uuid.h"

#define OB_PARAMETERS_MAX 24

/* Those of a query, from $1 on.  A struct of zeros has none. */
typedef struct ObParameters
{
	int n;
	Oid types[OB_PARAMETERS_MAX];
	Datum values[OB_PARAMETERS_MAX];
	bool nulls[OB_PARAMETERS_MAX];
} ObParameters;

/* Adds one.  It is null if it is not given, or the pointer is NULL; texts are
 * copied. */
extern void ob_parameter_add(ObParameters *parameters, Oid type, Datum value,
							 bool given);
extern void ob_parameter_text(ObParameters *parameters, const char *text);
extern void ob_parameter_uuid(ObParameters *parameters, const pg_uuid_t *uuid);
extern void ob_parameter_oid(ObParameters *parameters, Oid oid);

typedef struct ObOwnQuery
{
	const char *sql; /* each %s, of two at most: the extension's schema */
	const ObParameters *parameters;
	int n; /* of the parameters that the query has; 0: all */
	bool writes;
	int result; /* what SPI must return, such as SPI_OK_SELECT */
} ObOwnQuery;

/*
 * Runs it by SPI, to which the caller is connected and which has the rows
 * afterwards; returns how many.  Raises, before anything of it is planned, if
 * it is about a relation outside of that schema and pg_catalog, or calls a
 * function, by an operator or otherwise, that pg_catalog does not have.
 */
extern uint64 ob_own_query(Oid schema, const ObOwnQuery *query);

/* A column, from 1 on, of one of these rows, from 0 on; a text is palloc'd,
 * and NULL for a null. */
extern Datum ob_own_column(uint64 row, int number, bool *isnull);
extern char *ob_own_text(uint64 row, int number);

extern void ob_own_query_init(void);

#endif
