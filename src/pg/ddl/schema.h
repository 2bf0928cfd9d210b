/*
 * schema.h
 *		The schema of an object: its format and columns, as JSON.
 *
 * src/pg/ddl/schema.h
 */
#ifndef OB_SCHEMA_H
#define OB_SCHEMA_H

#include "access/tupdesc.h"

#include "pg/config/options.h"

/*
 * Returns a JSON object with the members "format", which has the options that
 * a reader needs, and "columns"; palloc'd.  With option "schema", a column has
 * more than a name and a type.  Raises, in that case, for columns that the
 * format cannot have.
 */
extern char *ob_schema_members(const char *query, TupleDesc columns,
							   const ObOptions *options);

#endif
