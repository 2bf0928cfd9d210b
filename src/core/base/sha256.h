/*
 * sha256.h
 *		SHA-256 of bytes that come piece by piece.
 *
 * src/core/base/sha256.h
 *
 * A part is hashed while it is filled, a window at a time, when its bytes are
 * still in the processor's cache; at its end there is no pause for it.
 */
#ifndef OB_SHA256_H
#define OB_SHA256_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ObSha256 ObSha256;

/* NULL if out of memory. */
extern ObSha256 *ob_sha256_new(void);
extern void ob_sha256_free(ObSha256 *sha);

/* To be called before the first byte, and to begin anew. */
extern bool ob_sha256_begin(ObSha256 *sha);
extern bool ob_sha256_add(ObSha256 *sha, const void *data, size_t len);

/* Lower-case hexadecimal, OB_SHA256_HEX (sigv4.h) bytes with its NUL. */
extern bool ob_sha256_end(ObSha256 *sha, char *hex);

#endif
