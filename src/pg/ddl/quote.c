/*
 * quote.c
 *		Identifiers and literals of other engines.
 *
 * src/pg/ddl/quote.c
 *
 * All texts are in the database's encoding, in which no byte of a character
 * beyond ASCII is an ASCII character.
 */
#include "postgres.h"

#include "pg/ddl/ddl_intern.h"

const ObQuoting ob_quoting_standard = {.quote = '"', .twice = true};
const ObQuoting ob_quoting_redshift = {
	.quote = '"',
	.backslash = true,
	.twice = true,
	.control = "\\%03o",
};
const ObQuoting ob_quoting_hive = {
	.quote = '`',
	.backslash = true,
	.control = "\\u%04x",
};
const ObQuoting ob_quoting_c = {
	.quote = '`',
	.backslash_identifiers = true,
	.backslash = true,
	.control = "\\x%02x",
};

void
ob_ddl_identifier(StringInfo to, const ObQuoting *quoting, const char *name)
{
	appendStringInfoChar(to, quoting->quote);
	for (const char *p = name; *p; p++)
	{
		if (quoting->backslash_identifiers &&
			(*p == quoting->quote || *p == '\\'))
			appendStringInfoChar(to, '\\');
		else if (*p == quoting->quote)
			appendStringInfoChar(to, quoting->quote);
		appendStringInfoChar(to, *p);
	}
	appendStringInfoChar(to, quoting->quote);
}

static void
put_literal_char(StringInfo to, const ObQuoting *quoting, char c)
{
	unsigned char byte = (unsigned char) c;

	if (quoting->control && (byte < ' ' || byte == 0x7f))
	{
		char escape[16];

		snprintf(escape, sizeof(escape), quoting->control, byte);
		appendStringInfoString(to, escape);
		return;
	}
	if (c == '\'')
		appendStringInfoChar(to, quoting->twice ? '\'' : '\\');
	else if (c == '\\' && quoting->backslash)
		appendStringInfoChar(to, '\\');
	appendStringInfoChar(to, c);
}

void
ob_ddl_literal(StringInfo to, const ObQuoting *quoting, const char *text)
{
	appendStringInfoChar(to, '\'');
	for (const char *p = text; *p; p++)
		put_literal_char(to, quoting, *p);
	appendStringInfoChar(to, '\'');
}
