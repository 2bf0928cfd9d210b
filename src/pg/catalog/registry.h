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

/* A row, palloc'd; fields that are NULL there are NULL here. */
typedef struct ObEntry
{
	char *name;
	char *query;
	char *bucket;
	Jsonb *options;
	pg_uuid_t id; /* distinguishes it from later rows of the name */
} ObEntry;

/*
 * The row of that name, or NULL: also for a caller who may not read the
 * registry.  Disabled rows count: they are out of onboard_all() only.
 */
extern ObEntry *ob_registry_find(Oid schema, const char *name);

/* The enabled rows whose name is LIKE the pattern (NULL: all), by name. */
extern List *ob_registry_list(Oid schema, const char *pattern);

/*
 * Inserts or updates rows from {"Tables": [{"table_name": ..., "sql_query":
 * ...}]}; an entry may also have bucket, options and enabled.  What an entry
 * does not mention keeps its value.  All of it is checked before the first row
 * is written.  Returns the number of rows.
 */
extern int ob_registry_load(Oid schema, Jsonb *config);

#endif
