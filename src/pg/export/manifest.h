/*
 * manifest.h
 *		The manifest of a run: a list of its objects, for their readers.
 *
 * src/pg/export/manifest.h
 *
 * Two objects stand beside those of a run:
 * {prefix}_onboard/{run_id}/manifest.json, and an empty _SUCCESS once all went
 * well.
 */
#ifndef OB_MANIFEST_H
#define OB_MANIFEST_H

#include "pg/export/export.h"
#include "pg/export/table_export.h"

/*
 * Returns the details of a table that only the exporting process knows: its
 * schema (ob_schema_members()), the object's checksum, the bounds of an
 * increment.  It is a JSON object, palloc'd, for task->details.
 */
extern char *ob_manifest_details(const ObTableExport *task, const char *schema,
								 const ObExportResult *result);

/* Returns the size of what the format of a table's object may say of it in the
 * manifest of a run of so many tables; 0: nothing. */
extern Size ob_manifest_share(int tables);

typedef struct ObManifest
{
	pg_uuid_t run_id;
	TimestampTz started; /* beginning of the run */
	bool together;       /* how its objects were published */
	bool success;        /* a _SUCCESS is written, too */
	/* An export of the run.  The files go to its server and bucket, with its
	 * options of requests and its encryption. */
	const ObExportSpec *where;
} ObManifest;

#define OB_MANIFEST_FILE "manifest.json"
#define OB_SUCCESS_FILE "_SUCCESS"

/* Returns the key of such a file of the run of where, in UTF-8. */
extern char *ob_manifest_key(const ObExportSpec *where, const char *file);

/* Returns the id of a run as a text; palloc'd. */
extern char *ob_manifest_run_text(const pg_uuid_t *run_id);

/* Writes the files; raises on failure. */
extern void ob_manifest_write(const ObManifest *manifest,
							  const ObTableExport *const *tasks, int n);

/* Writes the files of a run of one table, which has landed. */
extern void ob_manifest_write_one(const ObTableExport *task);

#endif
