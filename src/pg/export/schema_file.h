/*
 * schema_file.h
 *		The file _schema.json, beside an object.
 *
 * src/pg/export/schema_file.h
 */
#ifndef OB_SCHEMA_FILE_H
#define OB_SCHEMA_FILE_H

#include "pg/export/table_export.h"

/* Returns the file's key, in UTF-8; palloc'd. */
extern char *ob_schema_file_key(const ObExportSpec *export);

/* Raises if the file cannot stand beside the object. */
extern void ob_schema_file_check(const ObExportSpec *export);

/* Writes the file of an export that has landed, or replaces it; raises on
 * failure.  details are ob_manifest_details(), or NULL if there was no memory
 * for them. */
extern void ob_schema_file_write(const ObTableExport *task,
								 const char *details);

#endif
