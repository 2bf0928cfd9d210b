/*
 * part.h
 *		The parts of an upload: their buffers, checksums and memory.
 *
 * src/core/s3/part.h
 *
 * A part is a buffer and the call that sends it.  A pool has one part more
 * than may be in flight, so that one can be filled in the meantime; how many
 * of them get a buffer is bounded by the memory allowed.  They go around:
 *
 *	   EMPTY -> FILLING -> FULL (waits for the upload id, or for its turn)
 *	     ^                   |
 *	     \---- SENDING <-----/
 *
 * A buffer has OB_PART_SLACK bytes beyond the part's size, into which upstream
 * may write; see upload.c.
 */
#ifndef OB_PART_H
#define OB_PART_H

#include "core/s3/s3.h"
#include "core/base/hash.h"
#include "core/sink/sink.h"

#define OB_PART_SLACK ((size_t) OB_SINK_WINDOW_MAX)

typedef enum ObPartState
{
	OB_PART_EMPTY,
	OB_PART_FILLING,
	OB_PART_FULL,
	OB_PART_SENDING
} ObPartState;

typedef struct ObPart
{
	void *owner;
	ObPartState state;
	char *data;
	size_t cap;   /* allocated; 0: no buffer */
	size_t size;  /* of the part that it is for */
	size_t start; /* where the part begins: room for a head is before it */
	size_t len;
	/* of the pieces in it: see ob_upload_end_piece() */
	size_t first; /* the first one's length; 0: there is none */
	ObRaw raw;    /* of all */
	int number;   /* of the part, once it is full */
	/* computed while it fills, each if it is wanted */
	ObSha256 *sha; /* NULL: not wanted */
	bool has_crc32;
	uint32_t crc32;
	size_t hashed; /* bytes of the part that went into them */
	ObS3Call call;
} ObPart;

typedef struct ObParts
{
	ObPart *parts;
	int n;
	size_t memory; /* for all buffers, set by the owner; two are always
					* allowed */
	size_t used;
} ObParts;

/* n empty parts for uploads to s3 with that checksum (not AUTO), whose calls
 * end with "done"; call.arg is the part. */
extern bool ob_parts_init(ObParts *parts, int n, ObS3 *s3, ObChecksum checksum,
						  void (*done)(ObS3Call *call), void *owner);

/* Cancels all calls. */
extern void ob_parts_free(ObParts *parts);
extern void ob_parts_cancel(ObParts *parts);

/* Whether ob_parts_begin() would have a buffer to give. */
extern bool ob_parts_has_room(const ObParts *parts, size_t size,
							  size_t head_len);

/* A part to fill, of that size behind room for a head; NULL: no memory. */
extern ObPart *ob_parts_begin(ObParts *parts, size_t size, size_t head_len);

/* The full part with the lowest number, or NULL. */
extern ObPart *ob_parts_next_full(const ObParts *parts);

/* Where to write; if grow, it is OB_SINK_WINDOW_MIN bytes at least.  NULL: no
 * memory. */
extern char *ob_part_window(ObParts *parts, ObPart *part, bool grow,
							size_t *avail);

/* Takes the part's bytes up to that many into its checksums; false if OpenSSL
 * fails. */
extern bool ob_part_hash(ObPart *part, size_t len);

/* Puts the head before the part's own bytes, where room was kept for it, and
 * takes from the first piece what that replaces. */
extern bool ob_part_add_head(ObPart *part, const ObHead *head);

/* The part is to be sent: writes its hash, "" if none is wanted; its crc32
 * holds from now on. */
extern bool ob_part_seal(ObPart *part, char *sha256);

#endif
