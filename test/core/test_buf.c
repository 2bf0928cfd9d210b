/*
 * test_buf.c
 *		The growable buffer: its maximum, its failures, its wiping.
 *
 * test/core/test_buf.c
 *
 * link: -Wl,--wrap=malloc
 */
#define TESTING_MALLOC
#include "testing.h"

#include <wchar.h>

#include "core/base/buf.h"

static int
teardown(void **state)
{
	malloc_budget = -1;
	return 0;
}

static void
assert_content(const ObBuf *buf, const char *data, size_t len)
{
	assert_int_equal(buf->len, len);
	assert_memory_equal(buf->data, data, len);
	assert_int_equal(buf->data[len], '\0');
}

static void
empty_buffer_is_a_string(void **state)
{
	ObBuf buf;

	ob_buf_init(&buf, 10);
	assert_content(&buf, "", 0);
	ob_buf_add(&buf, NULL, 0);
	ob_buf_adds(&buf, "");
	ob_buf_addf(&buf, "%s", "");
	ob_buf_reset(&buf);
	assert_content(&buf, "", 0);
	assert_int_equal(buf.cap, 0); /* an empty buffer needs no memory */
	ob_buf_free(&buf);
	ob_buf_wipe(&buf);
	assert_content(&buf, "", 0);
}

static void
all_ways_of_appending(void **state)
{
	ObBuf buf;
	ObError error = {0};

	ob_buf_init(&buf, 1000);
	ob_buf_adds(&buf, "one");
	ob_buf_addc(&buf, '\0');
	ob_buf_add(&buf, "t\0o", 3);
	ob_buf_addf(&buf, " %d%%", 3);
	ob_buf_addc(&buf, '!');
	assert_content(&buf, "one\0t\0o 3%!", 11);
	assert_int_equal(ob_buf_check(&buf, &error), OB_OK);
	assert_int_equal(error.code, OB_OK);
	ob_buf_free(&buf);
}

static void
grows_to_its_maximum_exactly(void **state)
{
	for (size_t max = 0; max < 600; max += max < 260 ? 1 : 67)
	{
		ObBuf buf;
		ObError error = {0};

		ob_buf_init(&buf, max);
		for (size_t i = 0; i < max; i++)
			ob_buf_addc(&buf, (char) i);
		assert_int_equal(ob_buf_check(&buf, &error), OB_OK);
		assert_int_equal(buf.len, max);
		for (size_t i = 0; i < max; i++)
			assert_int_equal(buf.data[i], (char) i);
		assert_true(buf.cap <= max + 1);

		ob_buf_addc(&buf, 'x');
		assert_int_equal(ob_buf_check(&buf, &error), OB_ELIMIT);
		assert_error(&error, OB_ELIMIT, "limit of");
		assert_true(buf.failed && buf.full);
		assert_int_equal(buf.len, max);
		assert_int_equal(buf.data[max], '\0');
		ob_buf_free(&buf);
	}
}

static void
an_append_is_dropped_whole(void **state)
{
	ObBuf buf;
	ObError error = {0};

	ob_buf_init(&buf, 8);
	ob_buf_adds(&buf, "12345");
	ob_buf_adds(&buf, "6789");
	assert_content(&buf, "12345", 5);

	/* later appends fail, too, even if they would fit */
	ob_buf_addc(&buf, '6');
	ob_buf_addf(&buf, "%d", 7);
	ob_buf_adds(&buf, "");
	assert_content(&buf, "12345", 5);
	assert_int_equal(ob_buf_check(&buf, &error), OB_ELIMIT);

	ob_buf_reset(&buf);
	assert_content(&buf, "", 0);
	ob_buf_addf(&buf, "%s", "12345678");
	assert_content(&buf, "12345678", 8);
	ob_error_clear(&error);
	assert_int_equal(ob_buf_check(&buf, &error), OB_OK);
	ob_buf_free(&buf);
}

static void
formatted_text_at_the_maximum(void **state)
{
	for (int len = 0; len <= 12; len++)
	{
		ObBuf buf;

		ob_buf_init(&buf, 10);
		ob_buf_addf(&buf, "%*s", len, "");
		assert_int_equal(buf.failed, len > 10);
		assert_int_equal(buf.len, len > 10 ? 0 : len);
		ob_buf_free(&buf);
	}
}

/* The C locale has no such character. */
static void
a_text_that_cannot_be_formatted_fails(void **state)
{
	ObBuf buf;
	ObError error = {0};

	ob_buf_init(&buf, 10);
	ob_buf_adds(&buf, "kept");
	ob_buf_addf(&buf, "a%lc", (wint_t) 0x1F600);
	assert_content(&buf, "kept", 4);
	assert_int_equal(ob_buf_check(&buf, &error), OB_ENOMEM);
	ob_buf_free(&buf);
}

static void
huge_lengths_do_not_overflow(void **state)
{
	ObBuf buf;

	ob_buf_init(&buf, SIZE_MAX);
	ob_buf_adds(&buf, "x");
	ob_buf_add(&buf, "", SIZE_MAX);
	assert_true(buf.failed && buf.full);
	assert_content(&buf, "x", 1);
	ob_buf_reset(&buf);
	ob_buf_add(&buf, "", SIZE_MAX - 1);
	assert_true(buf.failed && buf.full);
	ob_buf_free(&buf);
}

static void
lack_of_memory_is_sticky_and_distinct(void **state)
{
	ObBuf buf;
	ObError error = {0};
	char text[1000];

	memset(text, 'x', sizeof(text));
	ob_buf_init(&buf, 10000);
	malloc_budget = 0;
	ob_buf_addc(&buf, 'x');
	assert_true(buf.failed && !buf.full);
	assert_content(&buf, "", 0);
	malloc_budget = -1;
	ob_buf_addc(&buf, 'x');
	assert_content(&buf, "", 0);
	assert_int_equal(ob_buf_check(&buf, &error), OB_ENOMEM);
	assert_error(&error, OB_ENOMEM, "out of memory");

	/* failing to grow keeps the content */
	ob_buf_reset(&buf);
	ob_buf_adds(&buf, "kept");
	malloc_budget = 0;
	ob_buf_add(&buf, text, sizeof(text));
	ob_buf_addf(&buf, "%.*s", (int) sizeof(text), text);
	assert_true(buf.failed && !buf.full);
	assert_content(&buf, "kept", 4);

	/* resetting needs no memory, and there is room for a few bytes */
	ob_buf_reset(&buf);
	ob_buf_adds(&buf, "again");
	assert_false(buf.failed);
	assert_content(&buf, "again", 5);
	ob_buf_free(&buf);
}

static void
freeing_makes_it_usable_again(void **state)
{
	ObBuf buf;

	ob_buf_init(&buf, 4);
	ob_buf_adds(&buf, "12345");
	assert_true(buf.failed);
	ob_buf_free(&buf);
	assert_false(buf.failed || buf.full);
	assert_content(&buf, "", 0);
	assert_int_equal(buf.max, 4);
	ob_buf_adds(&buf, "1234");
	assert_content(&buf, "1234", 4);
	ob_buf_wipe(&buf);
	assert_content(&buf, "", 0);
	ob_buf_adds(&buf, "1234");
	assert_content(&buf, "1234", 4);
	ob_buf_free(&buf);
	ob_buf_free(&buf);
}

static void
reset_keeps_the_memory(void **state)
{
	ObBuf buf;
	const char *data;

	ob_buf_init(&buf, 1000);
	ob_buf_addf(&buf, "%500s", "");
	data = buf.data;
	ob_buf_reset(&buf);
	malloc_budget = 0;
	ob_buf_addf(&buf, "%500s", "");
	assert_false(buf.failed);
	assert_ptr_equal(buf.data, data);
	ob_buf_free(&buf);
}

static void
a_message_that_is_set_is_kept(void **state)
{
	ObBuf buf;
	ObError error = {0};

	ob_buf_init(&buf, 0);
	ob_buf_addc(&buf, 'x');
	ob_error_set(&error, OB_EIO, "first");
	assert_int_equal(ob_buf_check(&buf, &error), OB_EIO);
	assert_error(&error, OB_EIO, "first");
	ob_buf_free(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_buffer_is_a_string),
		cmocka_unit_test(all_ways_of_appending),
		cmocka_unit_test(grows_to_its_maximum_exactly),
		cmocka_unit_test(an_append_is_dropped_whole),
		cmocka_unit_test(formatted_text_at_the_maximum),
		cmocka_unit_test(a_text_that_cannot_be_formatted_fails),
		cmocka_unit_test(huge_lengths_do_not_overflow),
		cmocka_unit_test_teardown(lack_of_memory_is_sticky_and_distinct,
								  teardown),
		cmocka_unit_test(freeing_makes_it_usable_again),
		cmocka_unit_test_teardown(reset_keeps_the_memory, teardown),
		cmocka_unit_test(a_message_that_is_set_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
