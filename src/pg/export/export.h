/*
 * export.h
 *		One export, from its query to the landed object.
 *
 * src/pg/export/export.h
 */
#ifndef OB_EXPORT_H
#define OB_EXPORT_H

#include "pg/base/figures.h"
#include "pg/store/export_spec.h"

typedef struct ObExportResult
{
	ObFigures figures; /* no files: no rows, and nothing landed */
	uint32 crc32;      /* of the object, if options->manifest */
} ObExportResult;

/*
 * Runs it.  Raises on failure, after the upload was aborted (for which it may
 * take five seconds; everything else answers interrupts at once).
 */
extern void ob_export_run(const ObExportSpec *export, ObExportResult *result);

/*
 * Begins its upload, with all that it would say, and aborts it: whether it
 * may. No object is written.  Raises as ob_export_run() does.
 */
extern void ob_export_rehearse(const ObExportSpec *export);

#endif
