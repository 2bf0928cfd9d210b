/*
 * part.h
 *		The parts of an upload: their buffers, checksums and memory.
 *
 * src/core/s3/part.h
 *
 * A part is a buffer and the call that sends it.  A pool has one part more
 * than may be in flight, so that one can be filled in the meantime; the memory
 * allowed limits how many of them have a buffer.  Their states:
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
	size_t size;  /* the size of the part that the buffer is for */
	size_t start; /* the part's offset in the buffer, behind room for a head */
	size_t len;
	/* the sum of its pieces: see ob_upload_end_piece() */
	size_t first; /* the first piece's length; 0: there is none */
	ObRaw raw;    /* of all */
	int number;   /* the part's number, once it is full */
	/* computed while it fills */
	ObSha256 *sha; /* NULL: not wanted */
	uint32_t crc32;
	size_t hashed; /* bytes that the checksums cover so far */
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

/* Makes n empty parts for an upload to s3 with that checksum (not AUTO). Their
 * calls report to "done"; call.arg is the part. */
extern bool ob_parts_init(ObParts *parts, int n, ObS3 *s3, ObChecksum checksum,
						  void (*done)(ObS3Call *call), void *owner);

/* Cancels all calls. */
extern void ob_parts_free(ObParts *parts);
extern void ob_parts_cancel(ObParts *parts);

/* Returns whether ob_parts_begin() would find a buffer. */
extern bool ob_parts_has_room(const ObParts *parts, size_t size,
							  size_t head_len);

/* Begins a part of that size, with room for a head before it; returns NULL if
 * out of memory. */
extern ObPart *ob_parts_begin(ObParts *parts, size_t size, size_t head_len);

/* Returns the full part with the lowest number, or NULL. */
extern ObPart *ob_parts_next_full(const ObParts *parts);

/* Returns where to write; with "grow", the window has at least
 * OB_SINK_WINDOW_MIN bytes.  Returns NULL if out of memory. */
extern char *ob_part_window(ObParts *parts, ObPart *part, bool grow,
							size_t *avail);

/* Extends the part's checksums to its first len bytes; returns false if
 * OpenSSL fails. */
extern bool ob_part_hash(ObPart *part, size_t len);

/* Puts the head into the room before the part's bytes, and removes the bytes
 * of the first piece that the head replaces. */
extern bool ob_part_add_head(ObPart *part, const ObHead *head);

/* Finishes the checksums of a part before it is sent: writes its SHA-256, or
 * "" if it has none, and sets crc32. */
extern bool ob_part_seal(ObPart *part, char *sha256);

#endif
