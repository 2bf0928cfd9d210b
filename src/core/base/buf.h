/*
 * buf.h
 *		A growable byte buffer with a mandatory maximum.
 *
 * src/core/base/buf.h
 *
 * Appending past the maximum, or when malloc fails, marks the buffer failed
 * and drops the append; later appends do nothing.  So a caller appends freely
 * and checks once, with ob_buf_check(), before it uses the content.  The
 * content is always followed by a NUL that "len" does not count.
 */
#ifndef OB_BUF_H
#define OB_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

typedef struct ObBuf
{
	char *data; /* never NULL after ob_buf_init; "" while empty */
	size_t len;
	size_t cap; /* allocated bytes, 0 while data is the static "" */
	size_t max; /* len never exceeds it */
	bool failed;
	bool full; /* failed because of max, not of malloc */
} ObBuf;

extern void ob_buf_init(ObBuf *buf, size_t max);

/* Frees the memory and makes the buffer empty and usable again. */
extern void ob_buf_free(ObBuf *buf);

/* Does the same, but wipes the memory first: for buffers that held a
 * secret. */
extern void ob_buf_wipe(ObBuf *buf);

/* Empties the buffer, but keeps its memory; clears "failed". */
extern void ob_buf_reset(ObBuf *buf);

extern void ob_buf_add(ObBuf *buf, const void *data, size_t len);
extern void ob_buf_adds(ObBuf *buf, const char *text);
extern void ob_buf_addc(ObBuf *buf, char c);
extern void ob_buf_addf(ObBuf *buf, const char *format, ...) OB_PRINTF(2, 3);

/* Returns OB_OK, or OB_ENOMEM (malloc failed) or OB_ELIMIT (the maximum was
 * reached), with the cause set. */
extern ObCode ob_buf_check(const ObBuf *buf, ObError *error) OB_MUST_CHECK;

#endif
