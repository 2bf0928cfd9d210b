/*
 * leak.h
 *		Detecting secrets in texts of a server that was sent them.
 *
 * src/core/base/leak.h
 *
 * Our errors quote servers, and requests send secrets to them: a session
 * token, a signature.  A text that contains a piece of one must not be shown,
 * whether plain or truncated, percent-encoded, escaped for XML or JSON, in
 * base64 or in hexadecimal.  This protects from servers that echo and proxies
 * that explain; a server that disguises a secret on purpose succeeds.
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
	bool failed; /* out of memory: every text then counts as a leak */
} ObLeaks;

/* Wipes the secrets, and makes the struct empty. */
extern void ob_leaks_free(ObLeaks *leaks);

/* Adds a secret.  NULL is ignored, and so is a secret shorter than a piece,
 * which ordinary words would match. */
extern void ob_leaks_add(ObLeaks *leaks, const char *secret);

/* Returns whether the text repeats a piece of one of the secrets. */
extern bool ob_leaks_found(ObLeaks *leaks, const char *text);

/* Does the same for a single secret; a short one only counts as a whole. */
extern bool ob_secret_leaks(const char *text, const char *secret);

#endif
