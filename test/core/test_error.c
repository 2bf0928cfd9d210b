/*
 * test_error.c
 *		Filling an ObError: the first one wins, and its texts are clean.
 *
 * test/core/test_error.c
 */
#include "testing.h"

#include <wchar.h>

static void
clear_resets_everything(void **state)
{
	ObError error;

	memset(&error, 0xAA, sizeof(error));
	ob_error_clear(&error);
	assert_int_equal(error.code, OB_OK);
	assert_int_equal(error.http_status, 0);
	assert_int_equal(error.attempts, 0);
	assert_string_equal(error.what, "");
	assert_string_equal(error.cause, "");
	assert_string_equal(error.s3_code, "");
	assert_string_equal(error.request_id, "");
	assert_string_equal(error.region, "");
}

static void
first_error_wins(void **state)
{
	ObError error = {0};

	assert_int_equal(ob_error_set(&error, OB_EIO, "disk %d", 1), OB_EIO);
	assert_int_equal(ob_error_set(&error, OB_ETLS, "other"), OB_EIO);
	assert_int_equal(error.code, OB_EIO);
	assert_string_equal(error.cause, "disk 1");

	ob_error_what(&error, "could not write \"%s\"", "a");
	ob_error_what(&error, "could not write \"%s\"", "b");
	assert_string_equal(error.what, "could not write \"a\"");
}

static void
what_and_cause_are_independent(void **state)
{
	ObError error = {0};

	ob_error_what(&error, "could not read");
	assert_int_equal(error.code, OB_OK);
	assert_int_equal(ob_error_set(&error, OB_EPROTO, "%s", ""), OB_EPROTO);
	assert_string_equal(error.what, "could not read");
	assert_string_equal(error.cause, "");

	/* a text that is missing is set, too */
	assert_int_equal(ob_error_set(&error, OB_EIO, "late"), OB_EPROTO);
	assert_int_equal(error.code, OB_EPROTO);
	assert_string_equal(error.cause, "");
}

static void
control_characters_are_masked(void **state)
{
	static const struct
	{
		const char *text;
		const char *clean;
	} rows[] = {
		{"plain ~ text", "plain ~ text"},
		{"a\nb\rc\td", "a?b?c?d"},
		{"\x1b[2J\x7f\x01", "?[2J??"},
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{"\xe1\x88\xb4\xf0\x9f\x98\x80", "\xe1\x88\xb4\xf0\x9f\x98\x80"},
		{"c1 \xc2\x9b"
		 "31m",
		 "c1 ??31m"},
		{"\xc2\x80\xc2\x9f\xc2\xa0", "????\xc2\xa0"},
		/* not UTF-8 */
		{"ends in \xc2", "ends in ?"},
		{"M\xfcller", "M?ller"},
		{"\xc3,\xe2\x82,\xf0\x9f\x98,", "?,??,???,"},
		{"\x80\xbf\xc0\x80\xc1\xbf\xf5\x80\x80\x80\xff", "???????????"},
		{"\xe0\x9f\xbf\xe0\xa0\x80", "???\xe0\xa0\x80"},
		{"\xed\x9f\xbf\xed\xa0\x80", "\xed\x9f\xbf???"},
		{"\xf0\x8f\xbf\xbf\xf0\x90\x80\x80", "????\xf0\x90\x80\x80"},
		{"\xf4\x8f\xbf\xbf\xf4\x90\x80\x80", "\xf4\x8f\xbf\xbf????"},
		{"100% %s %n", "100% %s %n"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObError error = {0};

		ob_error_set(&error, OB_EPROTO, "%s", rows[i].text);
		ob_error_what(&error, "%s", rows[i].text);
		assert_string_equal(error.cause, rows[i].clean);
		assert_string_equal(error.what, rows[i].clean);
	}
}

/* A text that is too long, with its last character at every offset. */
static void
long_texts_are_cut_between_characters(void **state)
{
	static const char *const characters[] = {"x", "\xc3\xbc", "\xe1\x88\xb4",
											 "\xf0\x9f\x98\x80"};
	char text[2 * sizeof(((ObError *) 0)->cause)];

	for (size_t c = 0; c < COUNT_OF(characters); c++)
		for (size_t shift = 0; shift < 5; shift++)
		{
			size_t width = strlen(characters[c]);
			size_t room = sizeof(((ObError *) 0)->cause) - 1 - shift;
			size_t len = shift;
			ObError error = {0};

			memset(text, '-', shift);
			while (len + width < sizeof(text))
			{
				memcpy(text + len, characters[c], width);
				len += width;
			}
			text[len] = '\0';
			ob_error_set(&error, OB_EPROTO, "%s", text);
			assert_int_equal(strlen(error.cause), shift + room - room % width);
			assert_memory_equal(error.cause, text, strlen(error.cause));
		}
}

static void
texts_that_fit_are_kept_whole(void **state)
{
	ObError error = {0};
	char text[sizeof(error.cause)];

	/* the last character would not fit if the text were one byte longer */
	memset(text, 'x', sizeof(text) - 3);
	memcpy(text + sizeof(text) - 3, "\xc3\xbc", 3);
	ob_error_set(&error, OB_EPROTO, "%s", text);
	assert_string_equal(error.cause, text);
}

static void
cutting_survives_invalid_utf8(void **state)
{
	static const unsigned char bytes[] = {0x80, 0xBF, 0xC3, 0xE1,
										  0xF0, 0xF8, 0xFF};
	char text[2000];

	for (size_t i = 0; i < COUNT_OF(bytes); i++)
	{
		ObError error = {0};

		memset(text, bytes[i], sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
		ob_error_set(&error, OB_EPROTO, "%s", text);
		ob_error_what(&error, "%s", text);
		assert_in_range(strlen(error.cause), sizeof(error.cause) - 5,
						sizeof(error.cause) - 1);
		assert_in_range(strlen(error.what), sizeof(error.what) - 5,
						sizeof(error.what) - 1);
	}
}

/* The C locale has no such character. */
static void
a_text_that_cannot_be_formatted_is_empty(void **state)
{
	ObError error = {0};

	assert_int_equal(ob_error_set(&error, OB_EPROTO, "a%lc", (wint_t) 0x1F600),
					 OB_EPROTO);
	assert_int_equal(error.code, OB_EPROTO);
	assert_string_equal(error.cause, "");
}

static void
texts_for_other_fields_are_cut_alike(void **state)
{
	static const char *const characters[] = {"\xc3\xbc", "\xe8\xa1\xa8",
											 "\xf0\x9f\x98\x80"};
	char text[64];
	char field[16 + 1];

	for (size_t c = 0; c < COUNT_OF(characters); c++)
		for (size_t shift = 0; shift < 5; shift++)
		{
			size_t width = strlen(characters[c]);
			size_t room = sizeof(field) - 2 - shift;
			size_t len = shift;

			memset(text, 'x', shift);
			for (; len + width < sizeof(text); len += width)
				memcpy(text + len, characters[c], width);
			text[len] = '\0';
			field[sizeof(field) - 1] = '#';
			ob_error_text(field, sizeof(field) - 1, text);
			assert_int_equal(field[sizeof(field) - 1], '#');
			assert_int_equal(strlen(field), shift + room - room % width);
			assert_memory_equal(field, text, strlen(field));
		}
	ob_error_text(field, sizeof(field), "\xe8\xa1\xa8\n\xe8");
	assert_string_equal(field, "\xe8\xa1\xa8??");
	ob_error_text(field, sizeof(field), "");
	assert_string_equal(field, "");
}

static void
copy_cuts_and_masks(void **state)
{
	char field[8];

	memset(field, '#', sizeof(field));
	ob_error_copy(field, 0, "abc", 3);
	assert_memory_equal(field, "########", 8);
	ob_error_copy(field, 1, "abc", 3);
	assert_memory_equal(field, "\0#######", 8);
	ob_error_copy(field, sizeof(field), NULL, 0);
	assert_string_equal(field, "");
	ob_error_copy(field, sizeof(field), "abcdefg", 7);
	assert_string_equal(field, "abcdefg");
	ob_error_copy(field, sizeof(field), "abcdefgh", 8);
	assert_string_equal(field, "abcdefg");
	ob_error_copy(field, sizeof(field), "a\0b\n~ ", 6);
	assert_string_equal(field, "a?b?~ ");
	ob_error_copy(field, sizeof(field), "\x7f\xc3\xbc\x1f\x80\xff", 6);
	assert_string_equal(field, "??????");
	/* the length counts, not a NUL */
	ob_error_copy(field, sizeof(field), "abc", 2);
	assert_string_equal(field, "ab");
}

static void
names_are_distinct_and_lower_case(void **state)
{
	for (int i = OB_OK; i <= OB_EIO; i++)
	{
		const char *name = ob_code_name((ObCode) i);

		assert_true(strlen(name) > 0);
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"),
						 strlen(name));
		assert_string_not_equal(name, "undefined");
		for (int j = OB_OK; j < i; j++)
			assert_string_not_equal(name, ob_code_name((ObCode) j));
	}
	assert_string_equal(ob_code_name(OB_ETHROTTLE), "throttled");
	assert_string_equal(ob_code_name((ObCode) (OB_EIO + 1)), "undefined");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clear_resets_everything),
		cmocka_unit_test(first_error_wins),
		cmocka_unit_test(what_and_cause_are_independent),
		cmocka_unit_test(control_characters_are_masked),
		cmocka_unit_test(long_texts_are_cut_between_characters),
		cmocka_unit_test(texts_that_fit_are_kept_whole),
		cmocka_unit_test(cutting_survives_invalid_utf8),
		cmocka_unit_test(a_text_that_cannot_be_formatted_is_empty),
		cmocka_unit_test(texts_for_other_fields_are_cut_alike),
		cmocka_unit_test(copy_cuts_and_masks),
		cmocka_unit_test(names_are_distinct_and_lower_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
