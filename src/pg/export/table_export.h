/*
 * table_export.h
 *		One table of a run: how it is exported, and what has come of it.
 *
 * src/pg/export/table_export.h
 *
 * task.h prepares and runs it; manifest.h reports it.
 */
#ifndef OB_TABLE_EXPORT_H
#define OB_TABLE_EXPORT_H

#include "pg/catalog/history.h"
#include "pg/increment/watermark.h"
#include "pg/store/export_spec.h"

typedef struct ObTableExport
{
	Oid schema; /* the extension's */
	ObExportSpec export;
	char *uri;                   /* in the database's encoding */
	ObFate fate;                 /* of the object, if it has failed */
	ObWatermark *watermark;      /* NULL: all rows */
	const ObHistoryRow *earlier; /* what the run has of an object; or NULL */
	const ObHistoryRow *landed;  /* the same, if it shall have no more */
	bool alone;                  /* no part of a run of several tables */
	bool given_id;               /* the run may have been tried before */
	const char *details; /* for the manifest: ob_manifest_details(); or NULL */
	ObHistoryRow row;    /* what is reported, even after a failure */
} ObTableExport;

#endif
