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

typedef struct ObOwnQuery
{
	const char *sql; /* each %s, of two at most: the extension's schema */
	int n;           /* of parameters */
	const Oid *types;
	const Datum *values;
	const char *nulls; /* 'n' for those that are null; NULL: none is */
	bool writes;
	int result; /* what SPI must return, such as SPI_OK_SELECT */
} ObOwnQuery;

/*
 * Runs it by SPI, to which the caller is connected and which has the rows
 * afterwards.  Raises, before anything of it is planned, if it is about a
 * relation outside of that schema and pg_catalog, or calls a function, by an
 * operator or otherwise, that pg_catalog does not have.
 */
extern void ob_own_query(Oid schema, const ObOwnQuery *query);

extern void ob_own_query_init(void);

#endif
