/*
 * export_spec.h
 *		The input of an export: its query and its destination.
 *
 * src/pg/store/export_spec.h
 */
#ifndef OB_EXPORT_SPEC_H
#define OB_EXPORT_SPEC_H

#include "access/xlogdefs.h"
#include "nodes/params.h"
#include "utils/uuid.h"

#include "core/s3/upload.h"
#include "pg/catalog/fate.h"
#include "pg/config/options.h"
#include "pg/config/server.h"

/* Set by the caller.  All pointers are borrowed. */
typedef struct ObExportSpec
{
	pg_uuid_t run_id;
	XLogRecPtr lsn; /* LSN of the snapshot */
	const char *name;
	const char *query;
	ParamListInfo parameters; /* parameters of the query; NULL: none */
	const ObOptions *options; /* finished */
	const ObServer *server;
	const char *bucket; /* checked by ob_server_bucket() */
	const char *key;    /* expanded, UTF-8 */
	Size summary_max;   /* of what a manifest says of the object; 0: nothing */
	/*
	 * NULL, or: the object is held instead of completed, and this function is
	 * called then.  If it returns, it has passed the upload on to a process
	 * that completes or aborts it; if it raises, the upload is aborted.  It is
	 * not called for an export without an object.
	 */
	void (*held)(void *arg, const ObUploadHeld *held);
	void *held_arg;
	/* NULL, or set if the export fails: the fate of the object.  When a
	 * backend exits, memory of queries may be gone: only a fate that is shared
	 * is set then. */
	ObFate *fate;
	bool fate_shared;
} ObExportSpec;

#endif
