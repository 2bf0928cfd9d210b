/*
 * registry.h
 *		The table onboard_tables: what onboard_all() exports.
 *
 * src/pg/catalog/registry.h
 */
#ifndef OB_REGISTRY_H
#define OB_REGISTRY_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

/* A row, palloc'd.  A field is NULL if the column is null. */
typedef struct ObEntry
{
	char *name;
	char *query;
	char *bucket;
	Jsonb *options;
	pg_uuid_t id; /* distinguishes the row from later ones of that name */
} ObEntry;

/* Returns the row of that name, or NULL, also if the caller may not read the
 * registry.  Disabled rows count: only onboard_all() leaves them out. */
extern ObEntry *ob_registry_find(Oid schema, const char *name);

/* Returns the enabled rows whose name is LIKE the pattern (NULL: all), ordered
 * by name. */
extern List *ob_registry_list(Oid schema, const char *pattern);

/*
 * Inserts or updates rows from {"Tables": [{"table_name": ..., "sql_query":
 * ...}]}; an entry may also have bucket, options and enabled.  Columns that an
 * entry does not mention keep their values.  All entries are checked before
 * the first row is written.  Returns the number of rows.
 */
extern int ob_registry_load(Oid schema, Jsonb *config);

#endif
