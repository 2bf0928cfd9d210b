/*
 * own_query.h
 *		Queries of the extension's own, and whose rights they have.
 *
 * src/pg/base/own_query.h
 *
 * SQL names a schema by its name, and the name of the extension's is its
 * owner's to change: another schema may have it when the query is analysed,
 * with tables and functions that run as the caller.  So what a query of our
 * own has become is compared with what was meant.
 *
 * Some of the extension's tables may be written by their owner only, so that
 * they can be trusted.  Such writes are done under the owner's id, as those of
 * foreign key triggers are; there is no SECURITY DEFINER function that a role
 * could call with rows of its own.
 */
#ifndef OB_OWN_QUERY_H
#define OB_OWN_QUERY_H

#include "utils/uuid.h"

#define OB_PARAMETERS_MAX 24

/* The parameters of a query, from $1 on.  A struct of zeros has none. */
typedef struct ObParameters
{
	int n;
	Oid types[OB_PARAMETERS_MAX];
	Datum values[OB_PARAMETERS_MAX];
	bool nulls[OB_PARAMETERS_MAX];
} ObParameters;

/* Each of these adds a parameter.  It is null if given is false or the pointer
 * is NULL; texts are copied. */
extern void ob_parameter_add(ObParameters *parameters, Oid type, Datum value,
							 bool given);
extern void ob_parameter_text(ObParameters *parameters, const char *text);
extern void ob_parameter_uuid(ObParameters *parameters, const pg_uuid_t *uuid);
extern void ob_parameter_oid(ObParameters *parameters, Oid oid);

typedef struct ObOwnQuery
{
	const char *sql; /* each %s, of two at most: the extension's schema */
	const ObParameters *parameters;
	int n; /* number of parameters that the query has; 0: all */
	bool writes;
	int result; /* the result that SPI must return, such as SPI_OK_SELECT */
} ObOwnQuery;

/*
 * Runs the query by SPI, to which the caller is connected and which has the
 * rows afterwards; returns their number.  Raises, before anything is planned,
 * if the query is about a relation outside of that schema and pg_catalog, or
 * calls a function, by an operator or otherwise, that pg_catalog does not
 * have.
 */
extern uint64 ob_own_query(Oid schema, const ObOwnQuery *query);

/* Returns column number (from 1) of a row (from 0) of the result.  The text is
 * palloc'd, and NULL for a null. */
extern Datum ob_own_column(uint64 row, int number, bool *isnull);
extern char *ob_own_text(uint64 row, int number);

/* ---- whose rights they have ---- */

/*
 * Calls step(schema, arg) under the id of the owner of that table in the
 * extension's schema, connected to SPI, with a search_path of pg_catalog alone
 * and row_security on, as a security-restricted operation.  Raises if the
 * table does not exist, or if a trigger or constraint of it is deferrable,
 * since the owner's code would then run at the transaction's end as the
 * caller.  After an error in between, the abort of the (sub)transaction
 * restores the caller's id and settings.
 */
extern void ob_as_owner(Oid schema, const char *table,
						void (*step)(Oid schema, void *arg), void *arg);

/* Whether the caller has the owner's rights anyway, as superusers do. */
extern bool ob_owner_is_caller(Oid schema, const char *table);

/* Raises what ob_as_owner() would raise, before it is too late. */
extern void ob_owner_require(Oid schema, const char *table);

/* Calls step(schema, arg) as ob_as_owner() does, but with the caller's rights.
 */
extern void ob_as_caller(Oid schema, void (*step)(Oid schema, void *arg),
						 void *arg);

/* Installs the hook that checks the queries; called by _PG_init. */
extern void ob_own_query_init(void);

#endif
