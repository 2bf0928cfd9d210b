/*
 * test_json.c
 *		Reading texts from JSON, compared with jansson.
 *
 * test/core/test_json.c
 *
 * link: -Wl,--wrap=malloc
 */
#define TESTING_MALLOC
#include "testing.h"

#include <jansson.h>

#include "core/text/json.h"

static ObCode
read_fields(const char *data, size_t len, ObJsonField *fields, int n,
			ObError *error)
{
	/* a copy of exactly this size, so that ASan detects reads beyond it */
	char *copy = malloc(len > 0 ? len : 1);
	ObCode code;

	memcpy(copy, data, len);
	ob_error_clear(error);
	code = ob_json_read(copy, len, fields, n, error);
	free(copy);
	assert_int_equal(code, error->code);
	for (int i = 0; i < n && code != OB_OK; i++)
		assert_null(fields[i].value);
	return code;
}

/* Returns whether it is, for jansson, an object of at most that depth with
 * texts or nothing as "a" and "b". */
static bool
jansson_accepts(const char *data, size_t len, char values[2][300])
{
	static const char *const names[] = {"a", "b"};
	json_error_t error;
	json_t *root = json_loadb(data, len, 0, &error);
	bool good = json_is_object(root);

	for (int i = 0; i < 2 && good; i++)
	{
		const json_t *value = json_object_get(root, names[i]);

		values[i][0] = '\0';
		if (json_is_string(value))
			snprintf(values[i], 300, "%s", json_string_value(value));
		else if (value && !json_is_null(value))
			good = false;
	}
	json_decref(root);
	return good;
}

static void
compare(const char *data, size_t len)
{
	ObJsonField fields[] = {{"a", NULL}, {"b", NULL}};
	char values[2][300] = {"", ""};
	bool accepted = jansson_accepts(data, len, values);
	ObError error;
	ObCode code = read_fields(data, len, fields, 2, &error);

	if ((code == OB_OK) != accepted)
		fail_msg("%.*s: jansson %s it, we: %s", (int) len, data,
				 accepted ? "accepts" : "refuses", error.cause);
	for (int i = 0; i < 2 && accepted; i++)
		assert_string_equal(fields[i].value ? fields[i].value : "", values[i]);
	if (!accepted)
		assert_int_equal(code, OB_EPROTO);
	ob_json_free(fields, 2);
}

static const char *const documents[] = {
	"{}",
	" { } \r\n\t",
	"{\"a\":\"1\"}",
	"{\"a\" : \"1\" , \"b\":\"2\"}",
	"{\"b\":null,\"a\":\"\"}",
	"{\"a\":\"x\\\"\\\\\\/\\b\\f\\n\\r\\ty\"}",
	"{\"a\":\"\\u0041\\u00e4\\u20AC\\uD83D\\ude00\"}",
	"{\"a\":\"\\ud83d\"}",
	"{\"a\":\"\\ud83dx\"}",
	"{\"a\":\"\\ud83d\\n\"}",
	"{\"a\":\"\\ud83d\\u0041\"}",
	"{\"a\":\"\\ude00\"}",
	"{\"a\":\"\\u0000\"}",
	"{\"a\":\"\\u00\"}",
	"{\"a\":\"\\u00zz\"}",
	"{\"a\":\"\\x\"}",
	"{\"a\":\"\\\"}",
	"{\"\\u0061\":\"1\"}",
	"{\"a\":\"tab\there\"}",
	"{\"a\":\"line\nbreak\"}",
	"{\"a\":\"1\",}",
	"{,}",
	"{\"a\"}",
	"{\"a\":}",
	"{\"a\":1}",
	"{\"a\":true}",
	"{\"a\":{}}",
	"{\"a\":[]}",
	"{\"a\":[\"1\"]}",
	"{a:\"1\"}",
	"{'a':'1'}",
	"{\"a\":\"1\" \"b\":\"2\"}",
	"{\"a\":\"1\"",
	"{\"a\":\"1",
	"{\"a\":\"1\"}}",
	"{\"a\":\"1\"}x",
	"{\"a\":\"1\"} {}",
	"{\"c\":[1,2,{\"a\":3}],\"a\":\"4\"}",
	"{\"c\":[],\"d\":{},\"e\":[[],[{}]],\"a\":\"1\"}",
	"{\"c\":[1,]}",
	"{\"c\":[,]}",
	"{\"c\":[1 2]}",
	"{\"c\":[1}",
	"{\"c\":{\"a\":1]}",
	"{\"c\":true,\"d\":false,\"e\":null}",
	"{\"c\":tru}",
	"{\"c\":truex}",
	"{\"c\":True}",
	"{\"c\":0}",
	"{\"c\":-0}",
	"{\"c\":12.5e3}",
	"{\"c\":1E-2}",
	"{\"c\":1e+2}",
	"{\"c\":01}",
	"{\"c\":1.}",
	"{\"c\":.5}",
	"{\"c\":+1}",
	"{\"c\":-}",
	"{\"c\":1e}",
	"{\"c\":0x1}",
	"{\"c\":NaN}",
	"[]",
	"\"a\"",
	"null",
	"1",
	"",
	"   ",
	"{",
	"}",
	"\xEF\xBB\xBF{}",
	"<html>not found</html>",
};

static void
as_jansson_reads_it(void **state)
{
	for (size_t i = 0; i < COUNT_OF(documents); i++)
		compare(documents[i], strlen(documents[i]));
}

static bool
is_twice(const char *text, const char *part)
{
	const char *first = strstr(text, part);

	return first && strstr(first + 1, part);
}

/* Each document is cut at every place, and any ASCII character is put at every
 * place. */
static void
damaged_documents(void **state)
{
	for (size_t i = 0; i < COUNT_OF(documents); i++)
	{
		size_t len = strlen(documents[i]);
		char copy[200];

		for (size_t cut = 0; cut < len; cut++)
			compare(documents[i], cut);
		for (size_t at = 0; at < len; at++)
			for (int c = 1; c < 0x80; c += c < 0x20 ? 4 : 1)
			{
				memcpy(copy, documents[i], len);
				copy[at] = (char) c;
				copy[len] = '\0';
				/* of two members, jansson returns the last one */
				if (!is_twice(copy, "\"a\"") && !is_twice(copy, "\"b\""))
					compare(copy, len);
			}
	}
}

/* Callers check whether it is valid UTF-8. */
static void
bytes_above_ascii(void **state)
{
	static const char text[] = "{\"a\":\"\xC3\xA4\x80\"}";
	ObJsonField field = {"a", NULL};
	ObError error;

	assert_int_equal(read_fields(text, strlen(text), &field, 1, &error),
					 OB_OK);
	assert_string_equal(field.value, "\xC3\xA4\x80");
	ob_json_free(&field, 1);
}

static void
nul_bytes(void **state)
{
	static const char documents_[][12] = {"{\"a\":\"1\0\"}", "{\"a\":\"1\"}\0",
										  "{\0\"a\":\"\"}"};

	for (size_t i = 0; i < COUNT_OF(documents_); i++)
		compare(documents_[i], 10);
}

static void
a_field_twice(void **state)
{
	ObJsonField field = {"a", NULL};
	const char *text = "{\"a\":\"canary\",\"a\":\"canary\"}";
	ObError error;

	read_fields(text, strlen(text), &field, 1, &error);
	assert_error(&error, OB_EPROTO, "has a more than once");
	assert_null(strstr(error.cause, "canary"));
}

static void
depth_is_limited(void **state)
{
	for (int depth = 1; depth < 5000; depth += depth < 20 ? 1 : 979)
		for (int kind = 0; kind < 2; kind++)
		{
			ObJsonField field = {"a", NULL};
			char *text = calloc(10, (size_t) depth + 10);
			ObError error;

			strcpy(text, "{\"a\":\"1\",\"x\":");
			for (int i = 1; i < depth; i++)
				strcat(text, kind ? "[" : "{\"x\":");
			strcat(text, "0");
			for (int i = 1; i < depth; i++)
				strcat(text, kind ? "]" : "}");
			strcat(text, "}");
			read_fields(text, strlen(text), &field, 1, &error);
			if (depth <= OB_JSON_DEPTH_MAX)
				assert_int_equal(error.code, OB_OK);
			else
				assert_error(&error, OB_EPROTO, "nested too deeply");
			ob_json_free(&field, 1);
			free(text);
		}
}

static void
lack_of_memory(void **state)
{
	ObJsonField fields[] = {{"a", NULL}, {"b", NULL}};
	const char *text = "{\"a\":\"1\",\"b\":\"2\"}";

	for (long budget = 0; budget < 3; budget++)
	{
		ObError error;

		ob_error_clear(&error);
		malloc_budget = budget;
		assert_int_equal(ob_json_read(text, strlen(text), fields, 2, &error),
						 OB_ENOMEM);
		malloc_budget = -1;
		assert_null(fields[0].value);
		assert_null(fields[1].value);
	}
}

/* ---- a list of names ---- */

typedef struct Names
{
	char text[200];
	int until; /* -1: all */
} Names;

static bool
note_name(void *arg, const char *name)
{
	Names *names = arg;

	strcat(names->text, name);
	strcat(names->text, "|");
	return names->until < 0 || --names->until > 0;
}

static void
lists_of_names(void **state)
{
	static const struct
	{
		const char *text;
		ObCode code;
		const char *names;
		int flag; /* -1: none */
	} rows[] = {
		{"{}", OB_OK, "", -1},
		{"{\"success\": true}", OB_OK, "", 1},
		{" {\"tables\" : [ ] ,\n\"success\": false } ", OB_OK, "", 0},
		{"{\"tables\":[{\"name\":\"a\"},{\"x\":{\"name\":\"no\"},"
		 "\"name\":\"b\",\"y\":[{\"name\":\"no\"}]}],\"success\":true}",
		 OB_OK, "a|b|", 1},
		{"{\"tables\":[{\"name\":\"\\u00e4\\\"\"}]}", OB_OK, "\xc3\xa4\"|",
		 -1},
		{"{\"tables\":[{\"name\":\"\"}]}", OB_OK, "|", -1},
		/* a member of another type, or in another place */
		{"{\"tables\":[1,[{\"name\":\"no\"}],\"name\",{\"name\":1},{}]}",
		 OB_OK, "", -1},
		{"{\"tables\":{\"name\":\"no\"},\"success\":\"true\"}", OB_OK, "", -1},
		{"{\"name\":\"no\",\"x\":{\"success\":true,\"tables\":[{\"name\":"
		 "\"no\"}]}}",
		 OB_OK, "", -1},
		{"", OB_EPROTO, "", -1},
		{"[]", OB_EPROTO, "", -1},
		{"{\"tables\":[{\"name\":\"a\"}", OB_EPROTO, "a|", -1},
		{"{\"success\":true}x", OB_EPROTO, "", 1},
		{"{\"success\":truth}", OB_EPROTO, "", -2},
		{"{\"tables\":[{\"name\":\"a\\u0000\"}]}", OB_EPROTO, "", -1},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Names names = {"", -1};
		ObJsonList list = {.flag = "success",
						   .list = "tables",
						   .name = "name",
						   .found = note_name,
						   .arg = &names};
		ObError error;

		ob_error_clear(&error);
		assert_row(rows[i].text,
				   ob_json_read_list(rows[i].text, strlen(rows[i].text), &list,
									 &error) == rows[i].code);
		assert_row(rows[i].text, error.code == rows[i].code);
		assert_string_equal(names.text, rows[i].names);
		if (rows[i].flag >= -1)
			assert_row(rows[i].text,
					   (list.has_flag ? list.flag_value : -1) == rows[i].flag);
	}
}

static void
enough_names(void **state)
{
	static const char text[] = "{\"tables\":[{\"name\":\"a\"},{\"name\":"
							   "\"b\"},{\"name\":\"c\"}]}";
	Names names = {"", 2};
	ObJsonList list = {"success", "tables", "name", note_name,
					   &names,    false,    false};
	ObError error;

	ob_error_clear(&error);
	assert_int_equal(ob_json_read_list(text, strlen(text), &list, &error),
					 OB_OK);
	assert_string_equal(names.text, "a|b|");
	malloc_budget = 0;
	assert_int_equal(ob_json_read_list(text, strlen(text), &list, &error),
					 OB_ENOMEM);
	malloc_budget = -1;
}

static void
depth_of_lists(void **state)
{
	Names names = {"", -1};
	ObJsonList list = {"success", "tables", "name", note_name,
					   &names,    false,    false};
	char *text = calloc(1, 100100);
	ObError error;

	strcpy(text, "{\"tables\":");
	memset(text + strlen(text), '[', 100000);
	ob_error_clear(&error);
	assert_int_equal(ob_json_read_list(text, strlen(text), &list, &error),
					 OB_EPROTO);
	assert_error(&error, OB_EPROTO, "nested too deeply");
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_jansson_reads_it),
		cmocka_unit_test(damaged_documents),
		cmocka_unit_test(bytes_above_ascii),
		cmocka_unit_test(nul_bytes),
		cmocka_unit_test(a_field_twice),
		cmocka_unit_test(depth_is_limited),
		cmocka_unit_test(lack_of_memory),
		cmocka_unit_test(lists_of_names),
		cmocka_unit_test(enough_names),
		cmocka_unit_test(depth_of_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
