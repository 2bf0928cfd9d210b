/*
 * test_part.c
 *		Buffers of parts: their memory and their checksums.
 *
 * test/core/test_part.c
 */
#include "testing.h"

#include "core/s3/part.h"

#include <zlib.h>

#define SIZE ((size_t) 1000000)
#define CAP (SIZE + OB_PART_SLACK)

typedef struct Fixture
{
	ObS3 *s3;
	ObParts parts;
} Fixture;

static void
never_done(ObS3Call *call)
{
	fail_msg("a part was sent");
}

static void
make(Fixture *fixture, const char *url, int n, size_t memory,
	 ObChecksum checksum)
{
	ObS3Options options = {
		.region = "us-east-1",
		.credentials = {.keys = {"AKIATEST", "secret", NULL}},
		.http = {.user_agent = "test",
				 .connect_timeout_ms = 1000,
				 .stall_timeout_ms = 1000,
				 .max_connections = 1},
	};
	ObError error;

	ob_error_clear(&error);
	assert_int_equal(ob_endpoint_parse(&options.endpoint, url, &error), OB_OK);
	fixture->s3 = ob_s3_new(&options, &error);
	assert_non_null(fixture->s3);
	fixture->parts.memory = memory;
	assert_true(ob_parts_init(&fixture->parts, n, fixture->s3, checksum,
							  never_done, fixture));
}

static void
make_plain(Fixture *fixture, int n, size_t memory)
{
	make(fixture, "http://127.0.0.1:1", n, memory, OB_CHECKSUM_SHA256);
}

static void
drop(Fixture *fixture)
{
	ob_parts_free(&fixture->parts);
	ob_s3_free(fixture->s3);
}

/* ---- memory ---- */

/* However little memory is allowed, one part can be filled while one is
 * sent. */
static void
two_buffers_always(void **state)
{
	Fixture fixture;
	ObPart *first;
	ObPart *second;

	make_plain(&fixture, 5, 1);
	assert_true(ob_parts_has_room(&fixture.parts, SIZE, 0));
	first = ob_parts_begin(&fixture.parts, SIZE, 0);
	assert_non_null(first);
	assert_int_equal(first->state, OB_PART_FILLING);
	assert_ptr_equal(first->owner, &fixture);
	assert_ptr_equal(first->call.arg, first);
	assert_true(ob_parts_has_room(&fixture.parts, SIZE, 0));
	second = ob_parts_begin(&fixture.parts, SIZE, 0);
	assert_non_null(second);
	assert_ptr_not_equal(second, first);
	assert_int_equal(fixture.parts.used, 2 * CAP);
	assert_false(ob_parts_has_room(&fixture.parts, SIZE, 0));
	assert_null(ob_parts_begin(&fixture.parts, SIZE, 0));

	/* a landed part releases its buffer */
	first->state = OB_PART_EMPTY;
	assert_true(ob_parts_has_room(&fixture.parts, SIZE, 0));
	first->data[0] = 'x';
	assert_ptr_equal(ob_parts_begin(&fixture.parts, SIZE, 0), first);
	assert_int_equal(first->len, 0);
	assert_int_equal(first->data[0], 'x');
	assert_int_equal(fixture.parts.used, 2 * CAP);
	drop(&fixture);
}

static void
as_many_as_memory_allows(void **state)
{
	static const struct
	{
		size_t memory;
		int n;
		int buffers;
	} rows[] = {{2 * CAP, 5, 2},     {3 * CAP - 1, 5, 2}, {3 * CAP, 5, 3},
				{5 * CAP - 1, 5, 4}, {99 * CAP, 5, 5},    {99 * CAP, 2, 2}};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Fixture fixture;
		int got = 0;

		make_plain(&fixture, rows[i].n, rows[i].memory);
		while (ob_parts_has_room(&fixture.parts, SIZE, 0))
		{
			assert_non_null(ob_parts_begin(&fixture.parts, SIZE, 0));
			got++;
		}
		assert_int_equal(got, rows[i].buffers);
		drop(&fixture);
	}
}

/* For larger parts, idle buffers are released first. */
static void
buffers_are_exchanged(void **state)
{
	Fixture fixture;
	ObPart *parts[3];

	make_plain(&fixture, 4, 4 * CAP);
	for (int i = 0; i < 3; i++)
		parts[i] = ob_parts_begin(&fixture.parts, SIZE, 0);
	assert_int_equal(fixture.parts.used, 3 * CAP);
	assert_false(ob_parts_has_room(&fixture.parts, 2 * SIZE, 0));
	parts[0]->state = parts[1]->state = OB_PART_EMPTY;
	assert_true(ob_parts_has_room(&fixture.parts, 2 * SIZE, 0));
	assert_non_null(ob_parts_begin(&fixture.parts, 2 * SIZE, 0));
	assert_int_equal(fixture.parts.used, CAP + 2 * SIZE + OB_PART_SLACK);
	/* there is still room for one of the old size */
	assert_true(ob_parts_has_room(&fixture.parts, SIZE, 0));
	assert_int_equal(parts[2]->cap, CAP);
	drop(&fixture);
}

static void
full_parts_in_their_order(void **state)
{
	static const int numbers[] = {7, 3, 9, 5};
	Fixture fixture;

	make_plain(&fixture, 4, 9 * CAP);
	assert_null(ob_parts_next_full(&fixture.parts));
	for (int i = 0; i < 4; i++)
	{
		ObPart *part = ob_parts_begin(&fixture.parts, SIZE, 0);

		assert_int_equal(part->number, 0);
		part->number = numbers[i];
		part->state = OB_PART_FULL;
	}
	for (int want = 3; want <= 9; want += 2)
	{
		ObPart *part = ob_parts_next_full(&fixture.parts);

		assert_int_equal(part->number, want);
		part->state = OB_PART_SENDING;
	}
	assert_null(ob_parts_next_full(&fixture.parts));
	drop(&fixture);
}

/* ---- windows ---- */

static void
windows_end_with_the_slack(void **state)
{
	Fixture fixture;
	ObPart *part;
	size_t avail;

	make_plain(&fixture, 2, 2 * CAP);
	part = ob_parts_begin(&fixture.parts, SIZE, 100);
	assert_int_equal(part->start, 100);
	assert_ptr_equal(ob_part_window(&fixture.parts, part, false, &avail),
					 part->data + 100);
	assert_int_equal(avail, OB_SINK_WINDOW_MAX);
	part->len = SIZE + 1000;
	assert_ptr_equal(ob_part_window(&fixture.parts, part, false, &avail),
					 part->data + 100 + SIZE + 1000);
	assert_int_equal(avail, OB_PART_SLACK - 1000);
	part->len = SIZE + OB_PART_SLACK;
	ob_part_window(&fixture.parts, part, false, &avail);
	assert_int_equal(avail, 0);
	drop(&fixture);
}

/* A row is longer than the rest of the buffer: its bytes stay in place in the
 * part. */
static void
windows_that_grow(void **state)
{
	Fixture fixture;
	ObPart *part;
	char *window;
	size_t avail;
	size_t before;

	make_plain(&fixture, 2, 2 * CAP);
	part = ob_parts_begin(&fixture.parts, SIZE, 5);
	memset(part->data + part->start, 'a', CAP);
	before = part->cap;
	part->len = CAP - OB_SINK_WINDOW_MIN;
	assert_non_null(ob_part_window(&fixture.parts, part, true, &avail));
	assert_int_equal(avail, OB_SINK_WINDOW_MIN);
	assert_int_equal(part->cap, before);
	part->len++;
	for (int i = 0; i < 3; i++)
	{
		window = ob_part_window(&fixture.parts, part, true, &avail);
		assert_in_range(avail, OB_SINK_WINDOW_MIN, OB_SINK_WINDOW_MAX);
		assert_true(part->cap > before);
		assert_int_equal(fixture.parts.used, part->cap);
		assert_ptr_equal(window, part->data + part->start + part->len);
		assert_int_equal(window[-1], 'a');
		before = part->cap - 1;
		memset(window, 'a', avail);
		part->len += avail;
	}
	drop(&fixture);
}

/* A buffer that has grown beyond the limit is not kept. */
static void
grown_buffers_are_given_back(void **state)
{
	Fixture fixture;
	ObPart *grown;
	ObPart *plain;
	size_t avail;

	make_plain(&fixture, 3, 2 * CAP);
	grown = ob_parts_begin(&fixture.parts, SIZE, 0);
	plain = ob_parts_begin(&fixture.parts, SIZE, 0);
	grown->len = CAP;
	assert_non_null(ob_part_window(&fixture.parts, grown, true, &avail));
	assert_true(grown->cap > CAP);
	grown->state = plain->state = OB_PART_EMPTY;
	assert_ptr_equal(ob_parts_begin(&fixture.parts, SIZE, 0), plain);
	assert_int_equal(grown->cap, 0);
	assert_int_equal(fixture.parts.used, CAP);
	drop(&fixture);
}

/* ---- checksums ---- */

static const char text[] = "The quick brown fox jumps over the lazy dog";

static void
write_text(ObParts *parts, ObPart *part, const char *from, size_t len)
{
	size_t avail;
	char *window = ob_part_window(parts, part, false, &avail);

	assert_true(avail >= len);
	memcpy(window, from, len);
	part->len += len;
}

static void
assert_sums(ObPart *part, bool sha256, const char *bytes)
{
	char got[OB_SHA256_HEX];
	char want[OB_SHA256_HEX];
	ObError error;

	ob_error_clear(&error);
	assert_true(ob_part_seal(part, got));
	assert_int_equal(ob_sha256_hex(bytes, strlen(bytes), want, &error), OB_OK);
	assert_string_equal(got, sha256 ? want : "");
	assert_int_equal(part->crc32,
					 crc32_z(0, (const unsigned char *) bytes, strlen(bytes)));
}

/* The hash for each checksum and scheme, which is not computed without need;
 * and the CRC, which always is. */
static void
checksums_of_parts(void **state)
{
	static const struct
	{
		const char *url;
		ObChecksum checksum;
		bool sha256;
	} rows[] = {
		{"http://h", OB_CHECKSUM_SHA256, true},
		{"http://h", OB_CHECKSUM_CRC32, true},
		{"http://h", OB_CHECKSUM_NONE, true},
		{"https://h", OB_CHECKSUM_SHA256, true},
		{"https://h", OB_CHECKSUM_CRC32, false},
		{"https://h", OB_CHECKSUM_NONE, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Fixture fixture;
		ObPart *part;

		make(&fixture, rows[i].url, 2, 2 * CAP, rows[i].checksum);
		for (int round = 0; round < 2; round++)
		{
			part = ob_parts_begin(&fixture.parts, SIZE, 10);
			assert_int_equal(part->sha != NULL, rows[i].sha256);
			assert_int_equal(part->call.checksum, rows[i].checksum);
			write_text(&fixture.parts, part, text, 10);
			assert_true(ob_part_hash(part, 4));
			assert_true(ob_part_hash(part, 4));
			assert_true(ob_part_hash(part, 2));
			assert_true(ob_part_hash(part, 10));
			/* the rest is computed when the part is sealed */
			write_text(&fixture.parts, part, text + 10, strlen(text) - 10);
			assert_sums(part, rows[i].sha256, text);
			part->state = OB_PART_EMPTY;
		}
		drop(&fixture);
	}
}

/* The head comes before bytes that were hashed already. */
static void
head_of_a_part(void **state)
{
	Fixture fixture;
	ObPart *part;
	ObHead head = {"head\n", 5, 0, 0};
	char whole[200];

	make(&fixture, "http://h", 2, 2 * CAP, OB_CHECKSUM_CRC32);
	part = ob_parts_begin(&fixture.parts, SIZE, 5);
	write_text(&fixture.parts, part, text, strlen(text));
	assert_true(ob_part_hash(part, part->len));
	assert_true(ob_part_add_head(part, &head));
	assert_int_equal(part->start, 0);
	assert_int_equal(part->len, strlen(text) + 5);
	snprintf(whole, sizeof(whole), "head\n%s", text);
	assert_memory_equal(part->data, whole, strlen(whole));
	assert_sums(part, true, whole);

	/* a head without a part */
	part = ob_parts_begin(&fixture.parts, SIZE, 5);
	assert_true(ob_part_add_head(part, &head));
	assert_sums(part, true, "head\n");
	drop(&fixture);
}

/* The head replaces the first piece's beginning and end. */
static void
head_in_a_piece(void **state)
{
	Fixture fixture;
	ObPart *part;
	ObHead head = {"HEAD\n", 5, 3, 2};

	make(&fixture, "http://h", 2, 2 * CAP, OB_CHECKSUM_CRC32);
	part = ob_parts_begin(&fixture.parts, SIZE, 5);
	write_text(&fixture.parts, part, "abcdefghijklmno", 15);
	part->first = 10;
	assert_true(ob_part_hash(part, part->len));
	assert_true(ob_part_add_head(part, &head));
	assert_int_equal(part->start, 3);
	assert_int_equal(part->len, 15);
	assert_memory_equal(part->data + part->start, "HEAD\ndefghklmno", 15);
	assert_sums(part, true, "HEAD\ndefghklmno");

	/* a piece that consists only of these */
	part = ob_parts_begin(&fixture.parts, SIZE, 5);
	assert_int_equal(part->first, 0);
	write_text(&fixture.parts, part, "abcde", 5);
	part->first = 5;
	assert_true(ob_part_add_head(part, &head));
	assert_sums(part, true, "HEAD\n");
	drop(&fixture);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_buffers_always),
		cmocka_unit_test(as_many_as_memory_allows),
		cmocka_unit_test(buffers_are_exchanged),
		cmocka_unit_test(full_parts_in_their_order),
		cmocka_unit_test(windows_end_with_the_slack),
		cmocka_unit_test(windows_that_grow),
		cmocka_unit_test(grown_buffers_are_given_back),
		cmocka_unit_test(checksums_of_parts),
		cmocka_unit_test(head_of_a_part),
		cmocka_unit_test(head_in_a_piece),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
