/*
 * leak.h
 *		Whether a server's text repeats a secret that it was told.
 *
 * src/core/base/leak.h
 *
 * Servers write parts of our errors, and requests tell them secrets: a session
 * token, a signature.  A text that holds a piece of one must not be shown, nor
 * one that holds it percent-encoded, escaped for XML or JSON, in base64 or
 * hexadecimal, or cut.  This is against servers that echo and proxies that
 * explain; a server that means to hide what it passes on can.
 */
#ifndef OB_LEAK_H
#define OB_LEAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What must not be shown: all its pieces of eight letters and digits, sorted.
 * One of zeros is empty. */
typedef struct ObLeaks
{
	uint64_t *pieces;
	size_t n;
	size_t cap;
	bool sorted;
	bool failed; /* no memory: then each text counts as one that leaks */
} ObLeaks;

/* Wipes it, and makes it empty. */
extern void ob_leaks_free(ObLeaks *leaks);

/* Adds a secret.  NULL is none, nor is what has no such piece: words would
 * look like it. */
extern void ob_leaks_add(ObLeaks *leaks, const char *secret);

/* Whether the text repeats a piece of one of them. */
extern bool ob_leaks_found(ObLeaks *leaks, const char *text);

/* The same for a single secret, which counts as a whole if it is short. */
extern bool ob_secret_leaks(const char *text, const char *secret);

#endif
