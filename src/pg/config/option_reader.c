/*
 * option_reader.c
 *		The value of one option, and the errors about it.
 *
 * src/pg/config/option_reader.c
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "pg/config/options_intern.h"
#include "pg/base/errors.h"

/* ---- errors of one value ---- */

static const char *
type_name(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return "null";
		case jbvString:
			return "a string";
		case jbvNumeric:
			return "a number";
		case jbvBool:
			return "a boolean";
		default:
			return JsonContainerIsArray(value->val.binary.data) ? "an array"
																: "an object";
	}
}

void
ob_option_fail_type(const ObOptionReader *reader, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("option \"%s\" must be %s", reader->name, what),
					errhint("It is %s here.", type_name(reader->value))));
}

void
ob_option_fail_value(const ObOptionReader *reader, const char *value,
					 const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid value \"%s\" for option \"%s\"",
						   ob_report_clip(value), reader->name),
					errhint("%s", hint)));
}

void
ob_option_check_length(const ObOptionReader *reader, size_t len, size_t max)
{
	if (len > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("value for option \"%s\" has %zu bytes",
							   reader->name, len),
						errhint("It may have at most %zu.", max)));
}

/* ---- JSON types ---- */

bool
ob_option_is_boolean(const ObOptionReader *reader, bool value)
{
	return reader->value->type == jbvBool &&
		   reader->value->val.boolean == value;
}

bool
ob_option_boolean(const ObOptionReader *reader)
{
	if (reader->value->type != jbvBool)
		ob_option_fail_type(reader, "a boolean");
	return reader->value->val.boolean;
}

char *
ob_option_copy(const JsonbValue *value)
{
	return pnstrdup(value->val.string.val, value->val.string.len);
}

char *
ob_option_item(const ObOptionReader *reader, const JsonbValue *value,
			   size_t max)
{
	ob_option_check_length(reader, value->val.string.len, max);
	return ob_option_copy(value);
}

char *
ob_option_string(const ObOptionReader *reader)
{
	if (reader->value->type != jbvString)
		ob_option_fail_type(reader, "a string");
	return ob_option_copy(reader->value);
}

char *
ob_option_nonempty(const ObOptionReader *reader, size_t max)
{
	char *text = ob_option_string(reader);

	ob_option_check_length(reader, strlen(text), max);
	if (text[0] == '\0')
		ob_option_fail_value(reader, text, "It must not be empty.");
	return text;
}

static char *
number_text(const ObOptionReader *reader)
{
	return DatumGetCString(DirectFunctionCall1(
		numeric_out, NumericGetDatum(reader->value->val.numeric)));
}

/* Reads a whole number.  hint lists what is allowed. */
int64
ob_option_integer(const ObOptionReader *reader, int64 min, int64 max,
				  const char *hint)
{
	char *text;
	char *end;
	int64 number;

	if (reader->value->type != jbvNumeric)
		ob_option_fail_type(reader, "an integer");
	text = number_text(reader);
	errno = 0;
	number = strtoll(text, &end, 10);
	if (*end != '\0' || errno != 0 || number < min || number > max)
		ob_option_fail_value(reader, text, hint);
	return number;
}

/* Reads one of two words, and returns whether it is the second. */
bool
ob_option_either(const ObOptionReader *reader, const char *no, const char *yes)
{
	char *text = ob_option_string(reader);

	if (strcmp(text, no) != 0 && strcmp(text, yes) != 0)
		ob_option_fail_value(reader, text,
							 psprintf("Allowed values: %s, %s.", no, yes));
	return strcmp(text, yes) == 0;
}

char
ob_option_character(const ObOptionReader *reader)
{
	char *text = ob_option_string(reader);

	if (strlen(text) != 1)
		ob_option_fail_value(reader, text,
							 "It must be a single one-byte character.");
	return text[0];
}
