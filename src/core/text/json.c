/*
 * json.c
 *		Reading texts out of a JSON object.
 *
 * src/core/text/json.c
 *
 * A recursive descent of limited depth, over a text that needs no NUL at its
 * end.  The first fault is kept, and makes every later step fail.
 */
#include "core/text/json.h"

#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct Json
{
	const char *at;
	const char *end;
	int depth;
	ObError *error;
} Json;

static bool
fail(Json *json, const char *what)
{
	ob_error_set(json->error, OB_EPROTO, "the JSON answer %s", what);
	return false;
}

/* The next character; NUL at the end, where no valid text has one. */
static char
peek(const Json *json)
{
	return json->at < json->end ? *json->at : '\0';
}

static void
skip_blanks(Json *json)
{
	while (json->at < json->end && strchr(" \t\r\n", *json->at) != NULL &&
		   *json->at != '\0')
		json->at++;
}

/* Skips blanks and that character. */
static bool
expect(Json *json, char c)
{
	skip_blanks(json);
	if (peek(json) != c)
		return fail(json, "is malformed, or cut off");
	json->at++;
	return true;
}

/* The four digits after "\u". */
static bool
read_unit(Json *json, unsigned *unit)
{
	*unit = 0;
	for (int i = 0; i < 4; i++)
	{
		int digit = OPENSSL_hexchar2int((unsigned char) peek(json));

		if (digit < 0)
			return fail(json, "has a wrong escape in a text");
		*unit = *unit * 16 + (unsigned) digit;
		json->at++;
	}
	return true;
}

static char *
put_utf8(char *to, unsigned c)
{
	if (c < 0x80)
		*to++ = (char) c;
	else if (c < 0x800)
		*to++ = (char) (0xC0 | c >> 6);
	else if (c < 0x10000)
		*to++ = (char) (0xE0 | c >> 12);
	else
		*to++ = (char) (0xF0 | c >> 18);
	if (c >= 0x10000)
		*to++ = (char) (0x80 | (c >> 12 & 0x3F));
	if (c >= 0x800)
		*to++ = (char) (0x80 | (c >> 6 & 0x3F));
	if (c >= 0x80)
		*to++ = (char) (0x80 | (c & 0x3F));
	return to;
}

/* After "\u"; the digits of two halves make one character. */
static bool
read_character(Json *json, char **to)
{
	unsigned high;
	unsigned low;

	if (!read_unit(json, &high))
		return false;
	if (high >= 0xD800 && high <= 0xDBFF)
	{
		if (json->end - json->at < 2 || json->at[0] != '\\' ||
			json->at[1] != 'u')
			return fail(json, "has half a character in a text");
		json->at += 2;
		if (!read_unit(json, &low))
			return false;
		if (low < 0xDC00 || low > 0xDFFF)
			return fail(json, "has half a character in a text");
		high = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
	}
	else if (high >= 0xDC00 && high <= 0xDFFF)
		return fail(json, "has half a character in a text");
	if (high == 0)
		return fail(json, "has a NUL in a text");
	*to = put_utf8(*to, high);
	return true;
}

static bool
read_escape(Json *json, char **to)
{
	static const char names[] = "\"\\/bfnrt";
	static const char values[] = "\"\\/\b\f\n\r\t";
	char c = peek(json);
	const char *name = c != '\0' ? strchr(names, c) : NULL;

	if (json->at < json->end)
		json->at++;
	if (c == 'u')
		return read_character(json, to);
	if (name == NULL)
		return fail(json, "has a wrong escape in a text");
	*(*to)++ = values[name - names];
	return true;
}

/* Decodes a text, which never gets longer, and ends it with a NUL.  "to" has
 * room for what is left of the document. */
static bool
read_text(Json *json, char *to)
{
	if (!expect(json, '"'))
		return false;
	for (;;)
	{
		char c = peek(json);

		if ((unsigned char) c < 0x20)
			return fail(json, "is cut off in a text, or has a control "
							  "character in it");
		json->at++;
		if (c == '"')
			break;
		if (c != '\\')
			*to++ = c;
		else if (!read_escape(json, &to))
			return false;
	}
	*to = '\0';
	return true;
}

static bool
skip_digits(Json *json)
{
	const char *begin = json->at;

	while (peek(json) >= '0' && peek(json) <= '9')
		json->at++;
	return json->at > begin;
}

static bool
skip_number(Json *json)
{
	bool valid;

	if (peek(json) == '-')
		json->at++;
	if (peek(json) == '0')
	{
		json->at++;
		valid = true;
	}
	else
		valid = skip_digits(json);
	if (valid && peek(json) == '.')
	{
		json->at++;
		valid = skip_digits(json);
	}
	if (valid && (peek(json) == 'e' || peek(json) == 'E'))
	{
		json->at++;
		if (peek(json) == '+' || peek(json) == '-')
			json->at++;
		valid = skip_digits(json);
	}
	return valid || fail(json, "is malformed, or cut off");
}

static bool
skip_word(Json *json, const char *word)
{
	size_t len = strlen(word);

	if ((size_t) (json->end - json->at) < len ||
		memcmp(json->at, word, len) != 0)
		return fail(json, "is malformed, or cut off");
	json->at += len;
	return true;
}

static bool skip_value(Json *json, char *scratch);

/* The members of an object, or the elements of an array. */
static bool
skip_members(Json *json, char close, char *scratch)
{
	json->at++;
	if (json->depth++ == OB_JSON_DEPTH_MAX)
		return fail(json, "is nested too deeply");
	skip_blanks(json);
	if (peek(json) != close)
		for (;;)
		{
			if (close == '}' &&
				(!read_text(json, scratch) || !expect(json, ':')))
				return false;
			if (!skip_value(json, scratch))
				return false;
			skip_blanks(json);
			if (peek(json) != ',')
				break;
			json->at++;
		}
	json->depth--;
	return expect(json, close);
}

static bool
skip_value(Json *json, char *scratch)
{
	skip_blanks(json);
	switch (peek(json))
	{
		case '{':
			return skip_members(json, '}', scratch);
		case '[':
			return skip_members(json, ']', scratch);
		case '"':
			return read_text(json, scratch);
		case 't':
			return skip_word(json, "true");
		case 'f':
			return skip_word(json, "false");
		case 'n':
			return skip_word(json, "null");
		default:
			return skip_number(json);
	}
}

/* A member that was asked for: a text, or null. */
static bool
read_field(Json *json, ObJsonField *field, char *scratch)
{
	size_t len;

	skip_blanks(json);
	if (peek(json) == 'n')
		return skip_word(json, "null");
	if (peek(json) != '"')
	{
		ob_error_set(json->error, OB_EPROTO,
					 "the JSON answer's %s is not a text", field->name);
		return false;
	}
	if (field->value != NULL)
	{
		ob_error_set(json->error, OB_EPROTO,
					 "the JSON answer has %s more than once", field->name);
		return false;
	}
	if (!read_text(json, scratch))
		return false;
	len = strlen(scratch);
	field->value = malloc(len + 1);
	if (field->value == NULL)
	{
		ob_error_set(json->error, OB_ENOMEM, "out of memory");
		return false;
	}
	memcpy(field->value, scratch, len + 1);
	return true;
}

static bool
expect_end(Json *json)
{
	skip_blanks(json);
	return json->at == json->end || fail(json, "goes on after its end");
}

static bool
read_member(Json *json, ObJsonField *fields, int nfields, char *scratch)
{
	if (!read_text(json, scratch) || !expect(json, ':'))
		return false;
	for (int i = 0; i < nfields; i++)
		if (strcmp(fields[i].name, scratch) == 0)
			return read_field(json, &fields[i], scratch);
	return skip_value(json, scratch);
}

static bool
read_object(Json *json, ObJsonField *fields, int nfields, char *scratch)
{
	if (!expect(json, '{'))
		return false;
	json->depth++;
	skip_blanks(json);
	if (peek(json) != '}')
		for (;;)
		{
			if (!read_member(json, fields, nfields, scratch))
				return false;
			skip_blanks(json);
			if (peek(json) != ',')
				break;
			json->at++;
		}
	return expect(json, '}') && expect_end(json);
}

/* ---- a list of names ---- */

typedef struct Walk
{
	Json json;
	ObJsonList *list;
	char *scratch;
	bool enough;
} Walk;

/* What stands between the brackets, each by "one". */
static bool
walk(Walk *walk, char open, char close, bool (*one)(Walk *walk))
{
	Json *json = &walk->json;

	if (!expect(json, open))
		return false;
	if (json->depth++ == OB_JSON_DEPTH_MAX)
		return fail(json, "is nested too deeply");
	skip_blanks(json);
	if (peek(json) != close)
		for (;;)
		{
			if (!one(walk))
				return false;
			skip_blanks(json);
			if (peek(json) != ',')
				break;
			json->at++;
		}
	json->depth--;
	return expect(json, close);
}

/* A member's name, its colon and the blanks behind it. */
static bool
read_key(Walk *walk)
{
	if (!read_text(&walk->json, walk->scratch) || !expect(&walk->json, ':'))
		return false;
	skip_blanks(&walk->json);
	return true;
}

static bool
read_element_member(Walk *walk)
{
	ObJsonList *list = walk->list;
	bool named;

	if (!read_key(walk))
		return false;
	named = strcmp(walk->scratch, list->name) == 0 && peek(&walk->json) == '"';
	if (!skip_value(&walk->json, walk->scratch))
		return false;
	if (named && !walk->enough)
		walk->enough = !list->found(list->arg, walk->scratch);
	return true;
}

static bool
read_element(Walk *this)
{
	skip_blanks(&this->json);
	if (peek(&this->json) == '{')
		return walk(this, '{', '}', read_element_member);
	return skip_value(&this->json, this->scratch);
}

static bool
read_top_member(Walk *this)
{
	ObJsonList *list = this->list;
	char c;

	if (!read_key(this))
		return false;
	c = peek(&this->json);
	if (strcmp(this->scratch, list->list) == 0 && c == '[')
		return walk(this, '[', ']', read_element);
	if (strcmp(this->scratch, list->flag) == 0 && (c == 't' || c == 'f'))
	{
		list->has_flag = true;
		list->flag_value = c == 't';
	}
	return skip_value(&this->json, this->scratch);
}

ObCode
ob_json_read_list(const char *data, size_t len, ObJsonList *list,
				  ObError *error)
{
	Walk this = {{data, data + len, 0, error}, list, malloc(len + 1), false};
	bool read;

	list->has_flag = list->flag_value = false;
	if (this.scratch == NULL)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	read = walk(&this, '{', '}', read_top_member) && expect_end(&this.json);
	OPENSSL_cleanse(this.scratch, len + 1);
	free(this.scratch);
	return read ? OB_OK : error->code;
}

ObCode
ob_json_read(const char *data, size_t len, ObJsonField *fields, int nfields,
			 ObError *error)
{
	Json json = {data, data + len, 0, error};
	char *scratch = malloc(len + 1);
	bool read;

	for (int i = 0; i < nfields; i++)
		fields[i].value = NULL;
	if (scratch == NULL)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	read = read_object(&json, fields, nfields, scratch);
	if (!read)
		ob_json_free(fields, nfields);
	OPENSSL_cleanse(scratch, len + 1);
	free(scratch);
	return read ? OB_OK : error->code;
}

void
ob_json_free(ObJsonField *fields, int nfields)
{
	for (int i = 0; i < nfields; i++)
	{
		if (fields[i].value != NULL)
			OPENSSL_cleanse(fields[i].value, strlen(fields[i].value));
		free(fields[i].value);
		fields[i].value = NULL;
	}
}
