/*
 * ddl.h
 *		Statements that make landed objects readable in other engines.
 *
 * src/pg/ddl/ddl.h
 */
#ifndef OB_DDL_H
#define OB_DDL_H

#include "access/tupdesc.h"
#include "nodes/pg_list.h"

#include "pg/config/options.h"
#include "pg/config/server.h"

/* An export, as far as its readers need to know it.  All is borrowed. */
typedef struct ObLanding
{
	const char *name;
	const ObOptions *options; /* finished */
	const ObServer *server;
	const char *bucket;
	const List *key; /* of ObKeyPiece * */
	TupleDesc columns;
} ObLanding;

/*
 * Returns the statement for the dialect of that name, in the database's
 * encoding; palloc'd.  It has no credentials.  Raises for a dialect that is
 * NULL or unknown, and for what it could not read as it was written.
 */
extern char *ob_ddl(const ObLanding *landing, const char *dialect);

#endif
