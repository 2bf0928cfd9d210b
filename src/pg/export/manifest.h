/*
 * manifest.h
 *		What a run has landed, for those who read it.
 *
 * src/pg/export/manifest.h
 *
 * Beside the objects of a run: {prefix}_onboard/{run_id}/manifest.json, and
 * an empty _SUCCESS once all went well.
 */
#ifndef OB_MANIFEST_H
#define OB_MANIFEST_H

#include "pg/export/export.h"
#include "pg/export/table_export.h"

/*
 * What only the process knows that has exported a table: the columns of its
 * query, the format, the object's checksum, the bounds of an increment.
 * Returns a JSON object, palloc'd, for task->details.
 */
extern char *ob_manifest_details(const ObTableExport *task, TupleDesc columns,
								 const ObExportResult *result);

typedef struct ObManifest
{
	pg_uuid_t run_id;
	TimestampTz started; /* the run */
	bool together;       /* how its objects were published */
	bool success;        /* with _SUCCESS */
	/* An export of the run: the files go to its server and bucket, with its
	 * options of requests and its encryption. */
	const ObExportSpec *where;
} ObManifest;

#define OB_MANIFEST_FILE "manifest.json"
#define OB_SUCCESS_FILE "_SUCCESS"

/* Where such a file of where's run stands; UTF-8. */
extern char *ob_manifest_key(const ObExportSpec *where, const char *file);

/* A run's id as a text; palloc'd. */
extern char *ob_manifest_run_text(const pg_uuid_t *run_id);

/* Writes the files; raises if it cannot. */
extern void ob_manifest_write(const ObManifest *manifest,
							  const ObTableExport *const *tasks, int n);

/* Writes that of a run of one table, which has landed. */
extern void ob_manifest_write_one(const ObTableExport *task);

#endif
