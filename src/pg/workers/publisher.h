/*
 * publisher.h
 *		The publication of objects that become visible together.
 *
 * src/pg/workers/publisher.h
 *
 * Each export of such a run ends with all of its parts landed, and its upload
 * is held (core/s3/upload.h).  The leader of the run collects the held
 * uploads, its own and those of its workers, and in the end publishes or
 * discards all of them.
 */
#ifndef OB_PUBLISHER_H
#define OB_PUBLISHER_H

#include "core/s3/upload.h"
#include "pg/store/export_spec.h"

/* A held upload, in a form for shared memory. */
typedef struct ObHeld
{
	bool valid;
	uint64 bytes;
	int nparts;
	char id[OB_UPLOAD_ID_MAX];
	char marker[OB_UPLOAD_MARKER];
	char bucket[OB_BUCKET_MAX + 1];
	char key[OB_KEY_MAX + 1];
} ObHeld;

/* Notes an export's upload, and copies its parts.  "valid" is set last, so
 * that a process that dies before leaves nothing that could be taken. */
extern void ob_held_note(ObHeld *held, ObUploadPart *parts,
						 const ObExportSpec *export,
						 const ObUploadHeld *upload);

typedef enum ObPublished
{
	OB_PUBLISHED_NOT, /* held, or there was nothing to hold */
	OB_PUBLISHED_DONE,
	OB_PUBLISHED_UNKNOWN,  /* may be visible */
	OB_PUBLISHED_DISCARDED /* not visible; its parts may be left behind */
} ObPublished;

/* One object of a run. */
typedef struct ObPublication
{
	/* as the leader has prepared it; borrowed */
	const ObExportSpec *export;
	const char *place; /* s3://bucket/key, in the database's encoding */
	ObHeld held;
	ObUploadPart *parts; /* NULL: the upload can only be discarded */
	ObPublished state;
	ObUploadObject object; /* once it is done */
	bool failed;           /* error says why it could not be published */
	ObError error;
} ObPublication;

typedef struct ObPublisher ObPublisher;

/* Makes a publisher for n objects, which all go to one server, in the current
 * memory context.  It allocates all that ob_publisher_discard() needs. */
extern ObPublisher *ob_publisher_new(const ObExportSpec *any, int n);
extern ObPublication *ob_publisher_item(ObPublisher *publisher, int i);

/* Reads the keys of the user mapping again, since held uploads may have waited
 * for hours. */
extern void ob_publisher_renew(ObPublisher *publisher);

/*
 * Completes all held uploads, several at a time.  After the first failure it
 * begins no other one.  Returns true if all objects are visible; the others
 * stay held.  Answers interrupts, so it may raise.
 */
extern bool ob_publish(ObPublisher *publisher);

/*
 * Aborts the uploads that are held while nothing is to be published, for as
 * long as the store answers.  ob_publisher_discard() must follow.  Processes
 * interrupts, so it may raise.
 */
extern void ob_publisher_drain(ObPublisher *publisher);

/* Aborts all uploads that are still held, in bounded time.  Raises nothing,
 * but warns of what may be left behind.  May be called again. */
extern void ob_publisher_discard(ObPublisher *publisher);

#endif
