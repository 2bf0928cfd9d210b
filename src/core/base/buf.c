/*
 * buf.c
 *		A growable byte buffer with a mandatory maximum.
 *
 * src/core/base/buf.c
 *
 * A buffer may hold a secret (a header with a session token), and the caller
 * that wipes it relies on its being the only copy.  So growing never uses
 * realloc, which may leave the old bytes behind: it copies, wipes and frees.
 */
#include "core/base/buf.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAP_MIN 128

/* Far above any real maximum, and low enough that no sum here overflows. */
#define MAX_MAX (SIZE_MAX / 4)

void
ob_buf_init(ObBuf *buf, size_t max)
{
	memset(buf, 0, sizeof(*buf));
	buf->data = "";
	buf->max = max < MAX_MAX ? max : MAX_MAX;
}

void
ob_buf_free(ObBuf *buf)
{
	if (buf->cap > 0)
		free(buf->data);
	ob_buf_init(buf, buf->max);
}

void
ob_buf_wipe(ObBuf *buf)
{
	if (buf->cap > 0)
		OPENSSL_cleanse(buf->data, buf->cap);
	ob_buf_free(buf);
}

void
ob_buf_reset(ObBuf *buf)
{
	if (buf->cap > 0)
		buf->data[0] = '\0';
	buf->len = 0;
	buf->failed = false;
	buf->full = false;
}

/* Moves the content into new memory of "cap" bytes; returns false on
 * failure. */
static bool
move_to(ObBuf *buf, size_t cap)
{
	char *data = malloc(cap);

	if (data == NULL)
	{
		buf->failed = true;
		return false;
	}
	memcpy(data, buf->data, buf->len);
	data[buf->len] = '\0';
	if (buf->cap > 0)
	{
		OPENSSL_cleanse(buf->data, buf->cap);
		free(buf->data);
	}
	buf->data = data;
	buf->cap = cap;
	return true;
}

/* Makes room for "extra" more bytes and a NUL, or marks the buffer failed. */
static bool
reserve(ObBuf *buf, size_t extra)
{
	size_t need;
	size_t cap;

	if (buf->failed)
		return false;
	if (extra > buf->max - buf->len)
	{
		buf->failed = true;
		buf->full = true;
		return false;
	}
	need = buf->len + extra + 1;
	if (need <= buf->cap)
		return true;
	cap = buf->cap > CAP_MIN ? buf->cap : CAP_MIN;
	while (cap < need)
		cap *= 2;
	if (cap > buf->max + 1)
		cap = buf->max + 1;
	return move_to(buf, cap);
}

void
ob_buf_add(ObBuf *buf, const void *data, size_t len)
{
	if (len == 0 || !reserve(buf, len))
		return;
	memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void
ob_buf_adds(ObBuf *buf, const char *text)
{
	ob_buf_add(buf, text, strlen(text));
}

void
ob_buf_addc(ObBuf *buf, char c)
{
	ob_buf_add(buf, &c, 1);
}

void
ob_buf_addf(ObBuf *buf, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		buf->failed = true; /* vsnprintf() itself ran out of memory */
	if (len <= 0 || !reserve(buf, (size_t) len))
		return;
	va_start(args, format);
	vsnprintf(buf->data + buf->len, (size_t) len + 1, format, args);
	va_end(args);
	buf->len += (size_t) len;
}

ObCode
ob_buf_check(const ObBuf *buf, ObError *error)
{
	if (!buf->failed)
		return OB_OK;
	if (buf->full)
		return ob_error_set(error, OB_ELIMIT,
							"a text would exceed its limit of %zu bytes",
							buf->max);
	return ob_error_set(error, OB_ENOMEM, "out of memory");
}
