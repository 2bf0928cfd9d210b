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

#include "core/base/text.h"

typedef struct Json
{
	const char *at;
	const char *end;
	int depth;
	char *scratch; /* room for the longest text */
	ObError *error;
} Json;

static bool
fail(Json *json, const char *what)
{
	ob_error_set(json->error, OB_EPROTO, "the JSON response %s", what);
	return false;
}

/* Returns the next character; NUL at the end, since no valid text contains
 * one. */
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

/* Skips blanks and the character c. */
static bool
expect(Json *json, char c)
{
	skip_blanks(json);
	if (peek(json) != c)
		return fail(json, "is malformed or truncated");
	json->at++;
	return true;
}

/* Reads the four digits after "\u". */
static bool
read_unit(Json *json, unsigned *unit)
{
	*unit = 0;
	for (int i = 0; i < 4; i++)
	{
		int digit = OPENSSL_hexchar2int((unsigned char) peek(json));

		if (digit < 0)
			return fail(json, "has an invalid escape in a string");
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

/* Reads the digits after "\u"; those of two surrogates make one character. */
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
			return fail(json, "has an incomplete surrogate pair in a string");
		json->at += 2;
		if (!read_unit(json, &low))
			return false;
		if (low < 0xDC00 || low > 0xDFFF)
			return fail(json, "has an incomplete surrogate pair in a string");
		high = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
	}
	else if (high >= 0xDC00 && high <= 0xDFFF)
		return fail(json, "has an incomplete surrogate pair in a string");
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
		return fail(json, "has an invalid escape in a string");
	*(*to)++ = values[name - names];
	return true;
}

/* Decodes a text, which never gets longer by that, and adds a NUL.  "to" has
 * room for the rest of the document. */
static bool
read_text(Json *json, char *to)
{
	if (!expect(json, '"'))
		return false;
	for (;;)
	{
		char c = peek(json);

		if ((unsigned char) c < 0x20)
			return fail(json, "has a truncated string, or a control "
							  "character in one");
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
	return valid || fail(json, "is malformed or truncated");
}

static bool
skip_word(Json *json, const char *word)
{
	size_t len = strlen(word);

	if ((size_t) (json->end - json->at) < len ||
		memcmp(json->at, word, len) != 0)
		return fail(json, "is malformed or truncated");
	json->at += len;
	return true;
}

/*
 * Reads an object or an array: "one" reads each member or element, and this
 * function reads the brackets and commas.
 */
static bool
read_between(Json *json, char open, char close,
			 bool (*one)(Json *json, void *arg), void *arg)
{
	if (!expect(json, open))
		return false;
	if (json->depth++ == OB_JSON_DEPTH_MAX)
		return fail(json, "is nested too deeply");
	skip_blanks(json);
	if (peek(json) != close)
		for (;;)
		{
			if (!one(json, arg))
				return false;
			skip_blanks(json);
			if (peek(json) != ',')
				break;
			json->at++;
		}
	json->depth--;
	return expect(json, close);
}

/* Reads the name of a member, its colon and the blanks after it. */
static bool
read_name(Json *json)
{
	if (!read_text(json, json->scratch) || !expect(json, ':'))
		return false;
	skip_blanks(json);
	return true;
}

static bool skip_value(Json *json);

static bool
skip_member(Json *json, void *arg)
{
	return read_name(json) && skip_value(json);
}

static bool
skip_element(Json *json, void *arg)
{
	return skip_value(json);
}

static bool
skip_value(Json *json)
{
	skip_blanks(json);
	switch (peek(json))
	{
		case '{':
			return read_between(json, '{', '}', skip_member, NULL);
		case '[':
			return read_between(json, '[', ']', skip_element, NULL);
		case '"':
			return read_text(json, json->scratch);
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

static bool
expect_end(Json *json)
{
	skip_blanks(json);
	return json->at == json->end || fail(json, "has text after its end");
}

/* Reads a document that is an object, whose members "one" reads. */
static ObCode
read_document(const char *data, size_t len, bool (*one)(Json *json, void *arg),
			  void *arg, ObError *error)
{
	Json json = {data, data + len, 0, malloc(len + 1), error};
	bool read;

	if (json.scratch == NULL)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	read = read_between(&json, '{', '}', one, arg) && expect_end(&json);
	OPENSSL_cleanse(json.scratch, len + 1);
	free(json.scratch);
	return read ? OB_OK : error->code;
}

/* ---- texts ---- */

typedef struct Fields
{
	ObJsonField *fields;
	int n;
} Fields;

/* Reads the value of a field: a text, or null. */
static bool
read_field(Json *json, ObJsonField *field)
{
	if (peek(json) == 'n')
		return skip_word(json, "null");
	if (peek(json) != '"')
	{
		ob_error_set(json->error, OB_EPROTO,
					 "the JSON response's %s is not a text", field->name);
		return false;
	}
	if (field->value != NULL)
	{
		ob_error_set(json->error, OB_EPROTO,
					 "the JSON response has %s more than once", field->name);
		return false;
	}
	return read_text(json, json->scratch) &&
		   ob_text_copy(&field->value, json->scratch, json->error) == OB_OK;
}

static bool
read_fields_member(Json *json, void *arg)
{
	const Fields *fields = arg;

	if (!read_name(json))
		return false;
	for (int i = 0; i < fields->n; i++)
		if (strcmp(fields->fields[i].name, json->scratch) == 0)
			return read_field(json, &fields->fields[i]);
	return skip_value(json);
}

ObCode
ob_json_read(const char *data, size_t len, ObJsonField *fields, int nfields,
			 ObError *error)
{
	Fields arg = {fields, nfields};
	ObCode code;

	for (int i = 0; i < nfields; i++)
		fields[i].value = NULL;
	code = read_document(data, len, read_fields_member, &arg, error);
	if (code != OB_OK)
		ob_json_free(fields, nfields);
	return code;
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

/* ---- a list of names ---- */

typedef struct Names
{
	ObJsonList *list;
	bool enough;
} Names;

static bool
read_entry_member(Json *json, void *arg)
{
	Names *names = arg;
	ObJsonList *list = names->list;
	bool named;

	if (!read_name(json))
		return false;
	named = strcmp(json->scratch, list->name) == 0 && peek(json) == '"';
	if (!skip_value(json))
		return false;
	if (named && !names->enough)
		names->enough = !list->found(list->arg, json->scratch);
	return true;
}

static bool
read_entry(Json *json, void *arg)
{
	skip_blanks(json);
	if (peek(json) == '{')
		return read_between(json, '{', '}', read_entry_member, arg);
	return skip_value(json);
}

static bool
read_list_member(Json *json, void *arg)
{
	ObJsonList *list = ((Names *) arg)->list;
	char c;

	if (!read_name(json))
		return false;
	c = peek(json);
	if (strcmp(json->scratch, list->list) == 0 && c == '[')
		return read_between(json, '[', ']', read_entry, arg);
	if (strcmp(json->scratch, list->flag) == 0 && (c == 't' || c == 'f'))
	{
		list->has_flag = true;
		list->flag_value = c == 't';
	}
	return skip_value(json);
}

ObCode
ob_json_read_list(const char *data, size_t len, ObJsonList *list,
				  ObError *error)
{
	Names names = {list, false};

	list->has_flag = list->flag_value = false;
	return read_document(data, len, read_list_member, &names, error);
}
