/*
 * fate.h
 *		What there is of an object whose export was given up.
 *
 * src/pg/catalog/fate.h
 *
 * S3 may be completing it in that very moment.  Then the client, the history
 * and the manifest all report the same.
 */
#ifndef OB_FATE_H
#define OB_FATE_H

#include "core/s3/upload.h"

typedef enum ObFate
{
	OB_FATE_NONE,    /* the export has not written it */
	OB_FATE_EARLIER, /* nor has it touched that of an earlier attempt */
	OB_FATE_UNKNOWN, /* it may have been written, or may yet be */
	OB_FATE_WRITTEN
} ObFate;

/* How long an answer to the request that makes an object is waited for when it
 * is given up, of the bounded time for that. */
#define OB_FATE_PATIENCE_MS 2000

/* The fate of an upload that is aborted, or that is waited for no longer. */
extern ObFate ob_fate_of(const ObUpload *upload);

/* The error of the export, with what there is of the object; palloc'd, unless
 * there is nothing to add. */
extern const char *ob_fate_error(ObFate fate, const char *error);

/*
 * Says in a WARNING that the object is, or may be, there.  place is
 * "s3://bucket/key", in the database's encoding.  Does not raise it, nor look
 * into catalogs.
 */
extern void ob_fate_warn(ObFate fate, const char *place);

#endif
