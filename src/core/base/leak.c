/*
 * leak.c
 *		Detecting secrets in texts of a server that was sent them.
 *
 * src/core/base/leak.c
 *
 * The text and the secret are both reduced to letters and digits, so that
 * encodings of other characters make no difference, and compared in pieces of
 * eight characters, as 64-bit numbers.
 */
#include "core/base/leak.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

/* Shorter pieces of a secret reveal nothing about it. */
#define PIECE sizeof(uint64_t)
#define TEXT_MAX ((size_t) 16 * 1024 * 1024)
/* The number of nested encodings that are undone; each round makes the text
 * shorter. */
#define ROUNDS 3

void
ob_leaks_free(ObLeaks *leaks)
{
	if (leaks->pieces)
		OPENSSL_cleanse(leaks->pieces, leaks->cap * sizeof(uint64_t));
	free(leaks->pieces);
	memset(leaks, 0, sizeof(*leaks));
}

/* ---- texts ---- */

/* Reads two hexadecimal digits; returns -1 if they are not there. */
static int
read_hex(const char *text)
{
	int high = OPENSSL_hexchar2int((unsigned char) text[0]);
	int low = high < 0 ? -1 : OPENSSL_hexchar2int((unsigned char) text[1]);

	return low < 0 ? -1 : high * 16 + low;
}

/* Reads a backslash and three octal digits of an ASCII character; returns -1
 * if they are not there. */
static int
read_octal(const char *text)
{
	for (int i = 1; i <= 3; i++)
	{
		if (text[i] < '0' || text[i] > (i == 1 ? '1' : '7'))
			return -1;
	}
	return (text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0');
}

/* Reads an escape sequence: returns its length, and sets the character that it
 * stands for; returns 0 if there is none. */
static size_t
read_escape(const char *text, char *c)
{
	static const char *const names[] = {"&amp;&", "&lt;<", "&gt;>", "&quot;\"",
										"&apos;'"};
	char *end;
	long number;

	if (text[0] == '%' && (number = read_hex(text + 1)) >= 0)
		return *c = (char) number, 3;
	if ((text[0] == '\\' || text[0] == '%') && text[1] == 'u' &&
		read_hex(text + 2) == 0 && (number = read_hex(text + 4)) >= 0)
		return *c = (char) number, 6;
	if (text[0] == '\\' && text[1] == 'x' &&
		(number = read_hex(text + 2)) >= 0)
		return *c = (char) number, 4;
	if (text[0] == '\\' && (number = read_octal(text)) >= 0)
		return *c = (char) number, 4;
	if (text[0] != '&')
		return 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		size_t len = strlen(names[i]) - 1;

		if (strncmp(text, names[i], len) == 0)
			return *c = names[i][len], len;
	}
	if (text[1] != '#')
		return 0;
	number = text[2] == 'x' || text[2] == 'X' ? strtol(text + 3, &end, 16)
											  : strtol(text + 2, &end, 10);
	if (*end != ';' || number <= 0 || number > 0x7F)
		return 0;
	return *c = (char) number, (size_t) (end - text) + 1;
}

/* Decodes in place; returns whether there was an escape. */
static bool
decode(char *text)
{
	const char *from = text;
	char *to = text;
	bool found = false;

	while (*from != '\0')
	{
		char c = *from;
		size_t len = read_escape(from, &c);

		found = found || len > 0;
		from += len > 0 ? len : 1;
		if (c != '\0')
			*to++ = c;
	}
	*to = '\0';
	return found;
}

/* Reduces a text in place to its letters and digits; returns their number. */
static size_t
reduce(char *text)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; from++)
	{
		unsigned char c = (unsigned char) *from;

		if (c < 0x80 && isalnum(c))
			*to++ = (char) c;
	}
	*to = '\0';
	return (size_t) (to - text);
}

static void
wipe_text(char *text, size_t size)
{
	if (text)
		OPENSSL_cleanse(text, size);
	free(text);
}

/* ---- secrets ---- */

static void
add_pieces(ObLeaks *leaks, const char *text, size_t len)
{
	if (len < PIECE || leaks->failed)
		return;
	if (leaks->cap - leaks->n < len)
	{
		size_t cap = (leaks->n + len) * 2;
		uint64_t *pieces = malloc(cap * sizeof(uint64_t));

		if (!pieces)
		{
			leaks->failed = true;
			return;
		}
		if (leaks->n > 0)
			memcpy(pieces, leaks->pieces, leaks->n * sizeof(uint64_t));
		if (leaks->pieces)
			OPENSSL_cleanse(leaks->pieces, leaks->cap * sizeof(uint64_t));
		free(leaks->pieces);
		leaks->pieces = pieces;
		leaks->cap = cap;
	}
	for (size_t i = 0; i + PIECE <= len; i++)
		memcpy(&leaks->pieces[leaks->n++], text + i, PIECE);
	leaks->sorted = false;
}

/* Base64 encodes a secret in three ways, depending on its offset in the
 * encoded text.  The first and last characters also depend on the bytes around
 * it. */
static void
add_base64(ObLeaks *leaks, const char *secret, size_t len)
{
	size_t size = (len + 2) / 3 * 4 + 8;
	char *in = calloc(1, len + 3);
	char *out = malloc(size);

	if (!in || !out)
		leaks->failed = true;
	for (size_t before = 0; before < 3 && !leaks->failed; before++)
	{
		size_t used;

		memset(in, 0, before);
		memcpy(in + before, secret, len);
		used = (size_t) EVP_EncodeBlock((unsigned char *) out,
										(const unsigned char *) in,
										(int) (before + len));
		if (used < 8)
			continue;
		out[used - 4] = '\0';
		memmove(out, out + (before > 0 ? 4 : 0), used);
		add_pieces(leaks, out, reduce(out));
	}
	wipe_text(in, in ? len + 3 : 0);
	wipe_text(out, out ? size : 0);
}

void
ob_leaks_add(ObLeaks *leaks, const char *secret)
{
	size_t len = secret ? strlen(secret) : 0;
	char *copy;
	size_t reduced;

	if (len == 0 || leaks->failed)
		return;
	copy = len < TEXT_MAX ? strdup(secret) : NULL;
	if (!copy)
	{
		leaks->failed = true;
		return;
	}
	reduced = reduce(copy);
	add_pieces(leaks, copy, reduced);
	wipe_text(copy, len);
	if (reduced < PIECE)
		return;
	add_base64(leaks, secret, len);
}

/* ---- comparing ---- */

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *) a;
	uint64_t y = *(const uint64_t *) b;

	return x < y ? -1 : x > y;
}

/* Modifies the text. */
static bool
has_any(const ObLeaks *leaks, char *text)
{
	size_t len = reduce(text);
	uint64_t piece;

	for (size_t i = 0; i + PIECE <= len && leaks->n > 0; i++)
	{
		memcpy(&piece, text + i, PIECE);
		if (bsearch(&piece, leaks->pieces, leaks->n, sizeof(piece), compare))
			return true;
	}
	return false;
}

/* Returns a copy decoded from hexadecimal, whose pairs of digits begin at the
 * first or the second digit; NULL if out of memory. */
static char *
copy_unhexed(const char *text, size_t from)
{
	char *copy = strdup(text);
	char *to = copy;
	size_t len = copy ? reduce(copy) : 0;

	for (; from + 1 < len; from += 2)
	{
		int c = read_hex(copy + from);

		if (c > 0)
			*to++ = (char) c;
	}
	if (copy)
		*to = '\0';
	return copy;
}

/* Returns a copy with its escapes decoded; NULL if out of memory. */
static char *
copy_decoded(const char *text)
{
	char *copy = strdup(text);

	for (int i = 0; copy && i < ROUNDS && decode(copy); i++)
		;
	return copy;
}

bool
ob_leaks_found(ObLeaks *leaks, const char *text)
{
	char *forms[] = {strdup(text), copy_decoded(text), copy_unhexed(text, 0),
					 copy_unhexed(text, 1)};
	bool found = leaks->failed;

	if (!leaks->sorted && leaks->n > 0)
		qsort(leaks->pieces, leaks->n, sizeof(uint64_t), compare);
	leaks->sorted = true;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
	{
		found = found || !forms[i] || has_any(leaks, forms[i]);
		free(forms[i]);
	}
	return found;
}

static bool
has_whole(const char *text, const char *secret)
{
	char *decoded = copy_decoded(text);
	bool found = !decoded || strstr(text, secret) || strstr(decoded, secret);

	free(decoded);
	return found;
}

bool
ob_secret_leaks(const char *text, const char *secret)
{
	ObLeaks leaks = {0};
	bool found;

	if (!secret || secret[0] == '\0')
		return false;
	ob_leaks_add(&leaks, secret);
	if (leaks.n == 0 && !leaks.failed)
		return has_whole(text, secret);
	found = ob_leaks_found(&leaks, text);
	ob_leaks_free(&leaks);
	return found;
}
