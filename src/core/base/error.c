/*
 * error.c
 *		Filling an ObError.
 *
 * src/core/base/error.c
 *
 * The texts end up in logs and on terminals, and parts of them come from
 * servers, files and environment variables.  So control characters are
 * replaced, and so are bytes that are not UTF-8, which would make a host's
 * encoding conversion fail while it reports the error.  For the same reason a
 * text that must be cut is cut between two characters.
 */
#include "core/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Drops an incomplete UTF-8 character from the end of a text of len bytes. */
static void
drop_partial_character(char *text, size_t len)
{
	size_t lead = len;
	size_t want;
	unsigned char c;

	while (lead > 0 && len - lead < 3 &&
		   ((unsigned char) text[lead - 1] & 0xC0) == 0x80)
		lead--;
	if (lead == 0)
		return;
	c = (unsigned char) text[lead - 1];
	want = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
	if (want > len - lead + 1)
		text[lead - 1] = '\0';
}

/* Returns the length of the UTF-8 character at c, or 0 if the bytes are not
 * UTF-8.  See RFC 3629, "UTF8-octets". */
static int
character_length(const unsigned char *c)
{
	unsigned char low = 0x80; /* bounds of the second byte */
	unsigned char high = 0xBF;
	int len = c[0] >= 0xF0 ? 4 : c[0] >= 0xE0 ? 3 : 2;

	if (c[0] < 0x80)
		return 1;
	if (c[0] < 0xC2 || c[0] > 0xF4)
		return 0;
	if (c[0] == 0xE0)
		low = 0xA0;
	else if (c[0] == 0xED)
		high = 0x9F;
	else if (c[0] == 0xF0)
		low = 0x90;
	else if (c[0] == 0xF4)
		high = 0x8F;
	if (c[1] < low || c[1] > high)
		return 0;
	for (int i = 2; i < len; i++)
		if ((c[i] & 0xC0) != 0x80)
			return 0;
	return len;
}

/* U+0080 to U+009F are control characters, too: xterm obeys U+009B. */
static void
mask(char *text)
{
	unsigned char *c = (unsigned char *) text;

	while (*c != '\0')
	{
		int len = character_length(c);

		if (len == 0 || *c < 0x20 || *c == 0x7F)
		{
			*c = '?';
			len = 1;
		}
		else if (c[0] == 0xC2 && c[1] <= 0x9F)
			c[0] = c[1] = '?';
		c += len;
	}
}

static void OB_PRINTF(3, 0)
	format_text(char *field, size_t size, const char *format, va_list args)
{
	int len = vsnprintf(field, size, format, args);

	if (len < 0)
		field[0] = '\0';
	else if ((size_t) len >= size)
		drop_partial_character(field, size - 1);
	mask(field);
}

void
ob_error_text(char *field, size_t size, const char *text)
{
	size_t len = strlen(text);
	bool cut = len >= size;

	if (cut)
		len = size - 1;
	memcpy(field, text, len);
	field[len] = '\0';
	if (cut)
		drop_partial_character(field, len);
	mask(field);
}

void
ob_error_clear(ObError *error)
{
	memset(error, 0, sizeof(*error));
}

ObCode
ob_error_set(ObError *error, ObCode code, const char *format, ...)
{
	va_list args;

	if (error->code != OB_OK)
		return error->code;
	error->code = code;
	va_start(args, format);
	format_text(error->cause, sizeof(error->cause), format, args);
	va_end(args);
	return code;
}

void
ob_error_what(ObError *error, const char *format, ...)
{
	va_list args;

	if (error->what[0] != '\0')
		return;
	va_start(args, format);
	format_text(error->what, sizeof(error->what), format, args);
	va_end(args);
}

void
ob_error_copy(char *field, size_t size, const char *text, size_t len)
{
	if (size == 0)
		return;
	if (len > size - 1)
		len = size - 1;
	for (size_t i = 0; i < len; i++)
		field[i] = text[i] >= 0x20 && text[i] <= 0x7E ? text[i] : '?';
	field[len] = '\0';
}

const char *
ob_code_name(ObCode code)
{
	switch (code)
	{
		case OB_OK:
			return "ok";
		case OB_EINVAL:
			return "invalid";
		case OB_ENOMEM:
			return "memory";
		case OB_ECREDS:
			return "credentials";
		case OB_EDENIED:
			return "denied";
		case OB_EMISSING:
			return "missing";
		case OB_EEXISTS:
			return "exists";
		case OB_EREGION:
			return "region";
		case OB_ESKEW:
			return "clock";
		case OB_ECONNECT:
			return "connection";
		case OB_ETLS:
			return "tls";
		case OB_ETIMEOUT:
			return "timeout";
		case OB_ETHROTTLE:
			return "throttled";
		case OB_ESERVER:
			return "server";
		case OB_EREQUEST:
			return "refused";
		case OB_ELIMIT:
			return "limit";
		case OB_EPROTO:
			return "protocol";
		case OB_EUNKNOWN:
			return "unclear";
		case OB_EIO:
			return "file";
	}
	return "undefined"; /* no such code: a damaged value */
}
