/*
 * fate.h
 *		The fate of an object whose export was given up.
 *
 * src/pg/catalog/fate.h
 *
 * S3 may be completing the object at that very moment.  Then the client, the
 * history and the manifest all report the same.
 */
#ifndef OB_FATE_H
#define OB_FATE_H

#include "core/s3/upload.h"

typedef enum ObFate
{
	OB_FATE_NONE,    /* the export has not written it */
	OB_FATE_EARLIER, /* an earlier attempt may have */
	OB_FATE_UNKNOWN, /* it may have been written, or may yet be */
	OB_FATE_WRITTEN
} ObFate;

/* The part of the bounded time for giving up in which a response to the
 * request that makes the object is waited for. */
#define OB_FATE_PATIENCE_MS 2000

/* Returns the fate of an upload that was aborted, or is waited for no longer.
 */
extern ObFate ob_fate_of(const ObUpload *upload);

/* Returns the error of the export with the fate of the object added; palloc'd,
 * unless there is nothing to add. */
extern const char *ob_fate_error(ObFate fate, const char *error);

/*
 * Says in a WARNING that the object exists, or may exist.  place is
 * "s3://bucket/key", in the database's encoding.  Does not raise it, and reads
 * no catalogs.
 */
extern void ob_fate_warn(ObFate fate, const char *place);

#endif
