/*
 * export.h
 *		One export, from its query to the landed object.
 *
 * src/pg/export.h
 */
#ifndef OB_EXPORT_H
#define OB_EXPORT_H

#include "datatype/timestamp.h"
#include "nodes/params.h"
#include "utils/uuid.h"

#include "pg/options.h"
#include "pg/server.h"
#include "pg/stream.h"

/* Set by the caller; all borrowed. */
typedef struct ObExport
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
	void (*held)(void *arg, const ObUpload *upload);
	void *held_arg;
	/* NULL, or is set if it fails: what there is of the object then.  When a
	 * backend exits, memory of queries may be gone: only a fate that is shared
	 * is set then. */
	ObFate *fate;
	bool fate_shared;
} ObExport;

typedef struct ObExportResult
{
	bool empty; /* no rows, and nothing landed */
	uint64 rows;
	uint64 raw_bytes; /* before compression */
	uint64 bytes;     /* of the object */
	int parts;        /* of the upload; 1 for a single request */
	int retries;
	uint32 crc32; /* of the object, if options->manifest */
} ObExportResult;

/*
 * Runs it.  Raises on failure, after the upload was aborted (for which it may
 * take five seconds; everything else answers interrupts at once).
 */
extern void ob_export_run(const ObExport *export, ObExportResult *result);

/*
 * Begins its upload, with all that it would say, and aborts it: whether it
 * may. No object is written.  Raises as ob_export_run() does.
 */
extern void ob_export_rehearse(const ObExport *export);

/* The stream that it would write into, in the current memory context. */
extern ObStream *ob_export_open(const ObExport *export);

#endif
