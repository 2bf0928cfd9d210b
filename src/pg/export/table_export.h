/*
 * table_export.h
 *		One table of a run: its export and its outcome.
 *
 * src/pg/export/table_export.h
 *
 * task.h prepares and runs the export; manifest.h reports it.
 */
#ifndef OB_TABLE_EXPORT_H
#define OB_TABLE_EXPORT_H

#include "pg/catalog/history.h"
#include "pg/export/export.h"
#include "pg/increment/watermark.h"

typedef struct ObTableExport
{
	Oid schema; /* the extension's schema */
	ObExportSpec export;
	char *uri;              /* in the database's encoding */
	ObFate fate;            /* fate of the object, if the export has failed */
	ObWatermark *watermark; /* NULL: all rows */
	const ObHistoryRow *earlier; /* row of an attempt with an object */
	const ObHistoryRow *landed; /* the same row, if nothing more is exported */
	bool alone;                 /* not part of a run of several tables */
	bool given_id; /* the caller gave the id, so the run may be a retry */
	const char *details; /* ob_manifest_details(); or NULL */
	ObExportResult result;
	ObHistoryRow row; /* the outcome that is reported, even after a failure */
} ObTableExport;

#endif
