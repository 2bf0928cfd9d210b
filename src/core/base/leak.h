/*
 * leak.h
 *		Whether a server's text repeats a secret that it was sent.
 *
 * src/core/base/leak.h
 *
 * Servers write parts of our errors, and requests send them secrets: a session
 * token, a signature.  A text that holds a piece of one must not be shown, nor
 * one that holds it percent-encoded, escaped for XML or JSON, in base64 or
 * hexadecimal, or cut.  This protects from servers that echo and proxies that
 * explain; a server that disguises a secret on purpose succeeds.
 */
#ifndef OB_LEAK_H
#define OB_LEAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The secrets that must not be shown, as sorted pieces of eight letters and
 * digits.  A struct of zeros is empty. */
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

/* Adds a secret.  NULL is ignored, and so is a secret without such a piece,
 * which words would look like. */
extern void ob_leaks_add(ObLeaks *leaks, const char *secret);

/* Whether the text repeats a piece of one of them. */
extern bool ob_leaks_found(ObLeaks *leaks, const char *text);

/* The same for a single secret, which counts as a whole if it is short. */
extern bool ob_secret_leaks(const char *text, const char *secret);

#endif
