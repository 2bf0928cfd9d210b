/*
 * export_spec.h
 *		What is exported, and where to: the input of an export.
 *
 * src/pg/store/export_spec.h
 */
#ifndef OB_EXPORT_SPEC_H
#define OB_EXPORT_SPEC_H

#include "nodes/params.h"
#include "utils/uuid.h"

#include "core/s3/upload.h"
#include "pg/catalog/fate.h"
#include "pg/config/options.h"
#include "pg/config/server.h"

/* Set by the caller; all borrowed. */
typedef struct ObExportSpec
{
	pg_uuid_t run_id;
	const char *name;
	const char *query;
	ParamListInfo parameters; /* of the query; NULL: none */
	const ObOptions *options; /* finished */
	const ObServer *server;
	const char *bucket; /* checked by ob_server_bucket() */
	const char *key;    /* expanded, UTF-8 */
	/*
	 * NULL, or: the object is held, not completed, and this is called when it
	 * is.  If it returns, who gets that to see has it to complete or abort;
	 * if it raises, the upload is aborted.  Not for one that is empty.
	 */
	void (*held)(void *arg, const ObUploadHeld *held);
	void *held_arg;
	/* NULL, or is set if it fails: what there is of the object then.  When a
	 * backend exits, memory of queries may be gone: only a fate that is shared
	 * is set then. */
	ObFate *fate;
	bool fate_shared;
} ObExportSpec;

#endif
