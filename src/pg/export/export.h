/*
 * export.h
 *		One export, from its query to the object.
 *
 * src/pg/export/export.h
 */
#ifndef OB_EXPORT_H
#define OB_EXPORT_H

#include "pg/base/figures.h"
#include "pg/store/export_spec.h"

typedef struct ObExportResult
{
	ObFigures figures; /* no files: no object has landed */
	/* Whether the object and figures.rows are known: also if the export has
	 * failed, and the object was written nevertheless. */
	bool described;
	ObUploadObject object; /* without an ETag while it is held */
	/* NULL, or a JSON object with what its format says of it: at most
	 * ObExportSpec.summary_max bytes; palloc'd */
	const char *summary;
} ObExportResult;

/* Runs the export.  The result is filled as far as it is known even if this
 * raises, and so must outlive the error.  Raises on failure, after the upload
 * was aborted, which may take five seconds; everything else answers interrupts
 * at once. */
extern void ob_export_run(const ObExportSpec *export, ObExportResult *result);

/*
 * Begins the export's upload, with all headers that it would send, and aborts
 * it, to find out whether it is allowed.  No object is written.  Raises as
 * ob_export_run() does.
 */
extern void ob_export_rehearse(const ObExportSpec *export);

#endif
