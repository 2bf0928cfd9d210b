/*
 * landed.h
 *		What is known of objects that have landed: by the history, or by a
 *		manifest.
 *
 * src/pg/verify/landed.h
 */
#ifndef OB_LANDED_H
#define OB_LANDED_H

#include "utils/uuid.h"

#include "pg/store/client.h"

typedef struct ObLanded
{
	const char *name;
	const char *uri;
	int64 bytes;      /* -1: not known */
	const char *etag; /* NULL: not known */
	bool has_crc32;
	uint32 crc32;
} ObLanded;

typedef struct ObLandedList
{
	ObLanded *objects;
	int n;
} ObLandedList;

/* Returns the objects of a run, as far as the current user sees the run.
 * Raises if that is no run. */
extern ObLandedList ob_landed_of_run(Oid schema, const pg_uuid_t *run_id);

/* A manifest that names more objects is not read. */
#define OB_LANDED_MAX 100000

/*
 * Returns the objects that a manifest names, which the call reads.  A manifest
 * may have been written by anybody who may write to the bucket, so nothing of
 * it is believed; what is not valid in it is not known.  Raises if the object
 * is no manifest, and shows nothing of it then.  key is in UTF-8.
 */
extern ObLandedList ob_landed_of_manifest(Oid schema, ObCall *call,
										  const char *bucket, const char *key);

#endif
