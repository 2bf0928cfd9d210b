/*
 * test_upload_shared.c
 *		One upload to which several processes contribute.
 *
 * test/core/test_upload_shared.c
 *
 * The "processes" are uploads of this process, which share a struct as they
 * would share memory.
 */
#include "uploads.h"

#define PARTS_MAX 20
#define HEAD "id,name\n"

typedef struct Shared
{
	int taken;
	ObUploadPart parts[PARTS_MAX];
	int landed;
	ObCode refusal; /* returned by landed() */
	ObRaw raw[PARTS_MAX];
} Shared;

static int
take_number(void *arg, const ObRaw *raw)
{
	Shared *shared = arg;

	if (shared->taken < PARTS_MAX)
		shared->raw[shared->taken] = *raw;
	return ++shared->taken;
}

static ObCode
landed(void *arg, int number, const ObUploadPart *part, ObError *error)
{
	Shared *shared = arg;

	if (shared->refusal != OB_OK)
		return ob_error_set(error, shared->refusal, "no place for a part");
	assert_in_range(number, 1, PARTS_MAX);
	/* each number only once */
	assert_string_equal(shared->parts[number - 1].etag, "");
	shared->parts[number - 1] = *part;
	shared->landed++;
	return OB_OK;
}

static ObUploadShare
share_of(Shared *shared)
{
	return (ObUploadShare){.take_number = take_number,
						   .landed = landed,
						   .arg = shared,
						   .head = {HEAD, strlen(HEAD), 0, 0}};
}

/* ---- processes ---- */

static ObUpload *
new_process(Fixture *fixture, ObChecksum checksum)
{
	ObUploadOptions options = usual_options(fixture);
	ObUpload *upload;
	ObError error;

	ob_error_clear(&error);
	options.checksum = checksum;
	upload = ob_upload_new(&options, &error);
	assert_non_null(upload);
	return upload;
}

static void
begin_shared(ObUpload *upload, const ObUploadShare *share, const char *id)
{
	ObError error;

	ob_error_clear(&error);
	assert_int_equal(ob_upload_begin_shared(upload, share, id,
											4 * (PART + SLACK), 3, &error),
					 OB_OK);
}

static bool
has_room(void *arg)
{
	return ob_upload_has_room(arg) || ob_upload_error(arg);
}

static bool
has_id(void *arg)
{
	return ob_upload_id(arg)[0] != '\0' || ob_upload_error(arg);
}

static bool
is_idle(void *arg)
{
	return ob_upload_idle(arg) || ob_upload_error(arg);
}

static bool
has_ended(void *arg)
{
	return ob_upload_done(arg) || ob_upload_error(arg);
}

static bool
has_aborted(void *arg)
{
	return ob_upload_aborted(arg);
}

/* Writes bytes of the data. */
static void
write_rows(Fixture *fixture, ObUpload *upload, size_t from, size_t len)
{
	ObError error;

	while (len > 0)
	{
		size_t avail;
		char *window;

		host_drive(fixture->http, has_room, upload);
		ob_error_clear(&error);
		window = ob_upload_window(upload, &avail, &error);
		assert_non_null(window);
		assert_in_range(avail, OB_SINK_WINDOW_MIN, OB_SINK_WINDOW_MAX);
		if (avail > len)
			avail = len;
		memcpy(window, data + from, avail);
		assert_int_equal(ob_upload_advance(upload, avail, &error), OB_OK);
		from += avail;
		len -= avail;
	}
}

static void
end_part(ObUpload *upload)
{
	ObError error;

	ob_error_clear(&error);
	assert_int_equal(ob_upload_end_part(upload, &error), OB_OK);
}

static uint64_t
bytes_of(const ObUpload *upload)
{
	ObUploadStats stats;

	ob_upload_stats(upload, &stats);
	return stats.bytes;
}

static void
finish_shared(Fixture *fixture, ObUpload *upload, Shared *shared,
			  uint64_t bytes)
{
	ObError error;

	ob_error_clear(&error);
	assert_int_equal(ob_upload_finish_shared(upload, shared->parts,
											 shared->taken, bytes, &error),
					 OB_OK);
	host_drive(fixture->http, has_ended, upload);
}

static void
start_first(Fixture *fixture, ObUpload *upload, const ObUploadShare *share)
{
	begin_shared(upload, share, NULL);
	host_drive(fixture->http, has_id, upload);
	assert_string_not_equal(ob_upload_id(upload), "");
}

/* The object begins with the head, followed by these pieces of the data. */
static void
assert_object(Fixture *fixture, const size_t (*pieces)[2], int n)
{
	size_t at = strlen(HEAD);
	const char *object;
	size_t len;

	object = server_object(fixture->server, "dir/key", &len);
	assert_non_null(object);
	assert_memory_equal(object, HEAD, at);
	for (int i = 0; i < n; i++)
	{
		assert_true(at + pieces[i][1] <= len);
		assert_memory_equal(object + at, data + pieces[i][0], pieces[i][1]);
		at += pieces[i][1];
	}
	assert_int_equal(at, len);
	assert_int_equal(server_uploads(fixture->server), 0);
	assert_int_equal(server_unexpected(fixture->server), 0);
}

/* ---- two processes ---- */

/* The head goes with the process that takes number 1, the tail with the first
 * process, and the CRCs match for any number of parts. */
static void
two_processes(void **state)
{
	static const ObChecksum checksums[] = {OB_CHECKSUM_SHA256,
										   OB_CHECKSUM_CRC32};
	Fixture *fixture = *state;

	/* the process that ends its part first, and the checksum */
	for (int i = 0; i < 4; i++)
	{
		Shared shared = {0};
		ObUploadShare share = share_of(&shared);
		bool second_first = i % 2;
		ObUpload *a;
		ObUpload *b;
		const char *tail;
		size_t tail_len;
		uint64_t sum;

		renew(fixture);
		a = new_process(fixture, checksums[i / 2]);
		b = new_process(fixture, checksums[i / 2]);
		/* Create is sent at once, before any byte */
		start_first(fixture, a, &share);
		assert_int_equal(count(fixture, "POST", "uploads="), 1);
		begin_shared(b, &share, ob_upload_id(a));
		assert_string_equal(ob_upload_id(b), ob_upload_id(a));
		assert_int_equal(ob_upload_pending(a), 0);
		assert_true(ob_upload_idle(a));

		write_rows(fixture, a, 0, PART + 10);
		write_rows(fixture, b, 20 * MIB, PART + 70000);
		assert_int_equal(ob_upload_pending(a), PART + 10);
		assert_true(ob_upload_part_full(a));
		end_part(second_first ? b : a);
		end_part(second_first ? a : b);
		assert_int_equal(ob_upload_pending(a), 0);
		assert_false(ob_upload_part_full(a));

		write_rows(fixture, b, 30 * MIB, 1000);
		assert_false(ob_upload_part_full(b));
		tail = ob_upload_take_tail(b, &tail_len);
		assert_int_equal(tail_len, 1000);
		assert_memory_equal(tail, data + 30 * MIB, 1000);
		host_drive(fixture->http, is_idle, b);
		/* the other process's rows go through this one */
		write_rows(fixture, a, 30 * MIB, 1000);
		write_rows(fixture, a, 10 * MIB, 2000);
		end_part(a);
		host_drive(fixture->http, is_idle, a);
		assert_int_equal(shared.landed, 3);

		sum = bytes_of(a) + bytes_of(b);
		assert_int_equal(sum, 2 * PART + 70010 + 3000 + strlen(HEAD));
		assert_int_not_equal(shared.parts[0].crc32, 0);
		finish_shared(fixture, a, &shared, sum);
		assert_true(ob_upload_done(a));
		assert_false(ob_upload_done(b));
		assert_object(fixture,
					  second_first
						  ? (const size_t[][2]){{20 * MIB, PART + 70000},
												{0, PART + 10},
												{30 * MIB, 1000},
												{10 * MIB, 2000}}
						  : (const size_t[][2]){{0, PART + 10},
												{20 * MIB, PART + 70000},
												{30 * MIB, 1000},
												{10 * MIB, 2000}},
					  4);
		assert_int_equal(count(fixture, "PUT", NULL), 3);
		ob_upload_free(b);
		ob_upload_free(a);
	}
}

/* The data of a part's pieces is reported with its number, and a head replaces
 * bytes of the first piece, in the part and in all sums. */
static void
pieces(void **state)
{
	Fixture *fixture = *state;
	Shared shared = {0};
	ObUploadShare share = share_of(&shared);
	ObUpload *a = new_process(fixture, OB_CHECKSUM_CRC32);
	ObRaw first = {3, ob_crc32(0, "abc", 3)};
	ObRaw second = {2, ob_crc32(0, "de", 2)};
	ObRaw raw;

	share.head.skip = 6;
	share.head.drop = 4;
	start_first(fixture, a, &share);
	ob_upload_end_piece(a, &first); /* an empty piece */
	assert_int_equal(ob_upload_pending_raw(a).len, 0);
	write_rows(fixture, a, 0, 1000);
	ob_upload_end_piece(a, &first);
	write_rows(fixture, a, 2000, PART);
	ob_upload_end_piece(a, &second);
	raw = ob_upload_pending_raw(a);
	assert_int_equal(raw.len, 5);
	assert_int_equal(raw.crc32, ob_crc32(0, "abcde", 5));
	end_part(a);
	assert_int_equal(shared.raw[0].len, 5);
	assert_int_equal(shared.raw[0].crc32, raw.crc32);
	assert_int_equal(ob_upload_pending_raw(a).len, 0);

	/* the second part keeps its own */
	write_rows(fixture, a, 0, 100);
	ob_upload_end_piece(a, &second);
	end_part(a);
	assert_int_equal(shared.raw[1].len, 2);
	host_drive(fixture->http, is_idle, a);
	assert_int_equal(bytes_of(a), strlen(HEAD) + 1000 - 10 + PART + 100);
	finish_shared(fixture, a, &shared, bytes_of(a));
	assert_true(ob_upload_done(a));
	assert_object(fixture,
				  (const size_t[][2]){{6, 990}, {2000, PART}, {0, 100}}, 3);
	ob_upload_free(a);
}

/* There are no rows, or only those of other processes. */
static void
only_a_head(void **state)
{
	Fixture *fixture = *state;
	Shared shared = {0};
	ObUploadShare share = share_of(&shared);
	ObUpload *a = new_process(fixture, OB_CHECKSUM_CRC32);
	ObError error;
	size_t len;

	start_first(fixture, a, &share);
	ob_error_clear(&error);
	assert_null(ob_upload_take_tail(a, &len));
	assert_int_equal(len, 0);
	assert_non_null(ob_upload_window(a, &len, &error));
	end_part(a);
	host_drive(fixture->http, is_idle, a);
	assert_int_equal(bytes_of(a), strlen(HEAD));
	finish_shared(fixture, a, &shared, bytes_of(a));
	assert_true(ob_upload_done(a));
	assert_object(fixture, NULL, 0);
	ob_upload_free(a);
}

/* A row is longer than any part: the buffer grows, and the part with it. */
static void
long_row(void **state)
{
	Fixture *fixture = *state;
	Shared shared = {0};
	ObUploadShare share = share_of(&shared);
	ObUpload *a = new_process(fixture, OB_CHECKSUM_CRC32);

	start_first(fixture, a, &share);
	write_rows(fixture, a, 0, 3 * PART + 12345);
	assert_true(ob_upload_part_full(a));
	assert_true(ob_upload_has_room(a));
	assert_int_equal(ob_upload_pending(a), 3 * PART + 12345);
	end_part(a);
	write_rows(fixture, a, 16 * MIB, 100);
	end_part(a);
	host_drive(fixture->http, is_idle, a);
	finish_shared(fixture, a, &shared, bytes_of(a));
	assert_true(ob_upload_done(a));
	assert_object(fixture,
				  (const size_t[][2]){{0, 3 * PART + 12345}, {16 * MIB, 100}},
				  2);
	assert_int_equal(
		server_request(fixture->server, "PUT", "partNumber=1&", 0)->body_len,
		3 * PART + 12345 + strlen(HEAD));
	ob_upload_free(a);
}

/* Parts are kept until they have landed, within this process's memory. */
static void
idle_and_room(void **state)
{
	Fixture *fixture = *state;
	Shared shared = {0};
	ObUploadShare share = share_of(&shared);
	ObUpload *a = new_process(fixture, OB_CHECKSUM_AUTO);
	ObUpload *b = new_process(fixture, OB_CHECKSUM_AUTO);
	ObUploadStats stats;
	ObError error;

	server_rule(fixture->server, (ServerRule){.target = "partNumber",
											  .act = SERVER_HOLD,
											  .store = true});
	start_first(fixture, a, &share);
	ob_error_clear(&error);
	/* a share of memory for two parts, and one connection */
	assert_int_equal(ob_upload_begin_shared(b, &share, ob_upload_id(a),
											2 * (PART + SLACK + 8), 1, &error),
					 OB_OK);
	for (int i = 0; i < 2; i++)
	{
		assert_true(ob_upload_has_room(b));
		write_rows(fixture, b, i * PART, PART);
		assert_true(ob_upload_has_room(b));
		end_part(b);
		assert_false(ob_upload_idle(b));
	}
	assert_false(ob_upload_has_room(b));
	ob_upload_want_room(b);
	wait_for_request(fixture, "PUT", NULL, 1);
	host_drive_for(fixture->http, 20);
	ob_upload_stats(b, &stats);
	assert_int_equal(stats.in_flight, 1);
	assert_int_equal(stats.parts, 0);
	assert_int_equal(count(fixture, "PUT", NULL), 1);
	assert_int_equal(shared.landed, 0);
	assert_true(ob_upload_idle(a));
	server_release(fixture->server);
	host_drive(fixture->http, is_idle, b);
	assert_int_equal(shared.landed, 2);
	ob_upload_stats(b, &stats);
	assert_int_equal(stats.parts, 2);
	assert_true(ob_upload_has_room(b));

	finish_shared(fixture, a, &shared, bytes_of(a) + bytes_of(b));
	assert_object(fixture, (const size_t[][2]){{0, 2 * PART}}, 1);
	ob_upload_free(b);
	ob_upload_free(a);
}

/* ---- failures ---- */

static void
abort_first(Fixture *fixture, ObUpload *upload)
{
	size_t len;

	ob_upload_abort(upload, 0);
	host_drive(fixture->http, has_aborted, upload);
	assert_false(ob_upload_may_exist(upload));
	assert_null(server_object(fixture->server, "dir/key", &len));
	assert_int_equal(server_uploads(fixture->server), 0);
}

/* A process has written bytes that none has sent. */
static void
bytes_are_missing(void **state)
{
	Fixture *fixture = *state;

	for (int i = 0; i < 2; i++)
	{
		Shared shared = {0};
		ObUploadShare share = share_of(&shared);
		ObUpload *a;
		const ObError *error;

		renew(fixture);
		a = new_process(fixture, OB_CHECKSUM_SHA256);
		start_first(fixture, a, &share);
		write_rows(fixture, a, 0, PART);
		end_part(a);
		host_drive(fixture->http, is_idle, a);
		finish_shared(fixture, a, &shared, bytes_of(a) + (i ? 1 : -1));
		error = ob_upload_error(a);
		assert_error(error, OB_EPROTO, "bytes were produced, but");
		assert_string_equal(error->what, "could not complete the upload of "
										 "\"s3://b/dir/key\"");
		assert_int_equal(count(fixture, "POST", "uploadId"), 0);
		abort_first(fixture, a);
		ob_upload_free(a);
	}
}

/* The store's checksum of the whole does not match the parts. */
static void
crc_is_wrong(void **state)
{
	Fixture *fixture = *state;
	Shared shared = {0};
	ObUploadShare share = share_of(&shared);
	ObUpload *a = new_process(fixture, OB_CHECKSUM_CRC32);

	start_first(fixture, a, &share);
	write_rows(fixture, a, 0, PART);
	end_part(a);
	write_rows(fixture, a, PART, 1000);
	end_part(a);
	host_drive(fixture->http, is_idle, a);
	shared.parts[1].crc32 ^= 1;
	finish_shared(fixture, a, &shared, bytes_of(a));
	assert_error(ob_upload_error(a), OB_EREQUEST, "BadDigest");
	abort_first(fixture, a);
	ob_upload_free(a);
}

static void
part_has_no_place(void **state)
{
	Fixture *fixture = *state;
	Shared shared = {.refusal = OB_EPROTO};
	ObUploadShare share = share_of(&shared);
	ObUpload *a = new_process(fixture, OB_CHECKSUM_SHA256);

	start_first(fixture, a, &share);
	write_rows(fixture, a, 0, PART);
	end_part(a);
	host_drive(fixture->http, is_idle, a);
	assert_error(ob_upload_error(a), OB_EPROTO, "no place for a part");
	assert_string_equal(ob_upload_error(a)->what,
						"could not upload \"s3://b/dir/key\"");
	abort_first(fixture, a);
	ob_upload_free(a);
}

/* Numbers are shared, so other processes may have used them up. */
static void
no_numbers_left(void **state)
{
	Fixture *fixture = *state;
	Shared shared = {.taken = OB_PARTS_MAX - 1};
	ObUploadShare share = share_of(&shared);
	ObUpload *a = new_process(fixture, OB_CHECKSUM_SHA256);
	ObError error;

	start_first(fixture, a, &share);
	shared.taken = OB_PARTS_MAX;
	write_rows(fixture, a, 0, PART);
	ob_error_clear(&error);
	assert_int_equal(ob_upload_end_part(a, &error), OB_ELIMIT);
	assert_error(ob_upload_error(a), OB_ELIMIT,
				 "would need more than 10000 parts");
	abort_first(fixture, a);
	ob_upload_free(a);
}

static void
create_is_refused(void **state)
{
	Fixture *fixture = *state;
	Shared shared = {0};
	ObUploadShare share = share_of(&shared);
	ObUpload *a = new_process(fixture, OB_CHECKSUM_SHA256);

	server_rule(fixture->server,
				(ServerRule){.method = "POST",
							 .status = 403,
							 .body = XML_ERROR("AccessDenied")});
	begin_shared(a, &share, NULL);
	host_drive(fixture->http, has_id, a);
	assert_error(ob_upload_error(a), OB_EDENIED, "AccessDenied");
	assert_string_equal(ob_upload_id(a), "");
	abort_first(fixture, a);
	ob_upload_free(a);
}

/* One HEAD, by the first process, looks for an object that must not be
 * replaced. */
static void
object_exists(void **state)
{
	Fixture *fixture = *state;

	for (int i = 0; i < 2; i++)
	{
		Shared shared = {0};
		ObUploadShare share = share_of(&shared);
		ObUploadOptions options;
		ObUpload *a;
		ObUpload *b;
		ObError error;

		renew(fixture);
		if (i == 1)
			server_rule(fixture->server,
						(ServerRule){.method = "HEAD", .status = 200});
		options = usual_options(fixture);
		options.keep_existing = true;
		ob_error_clear(&error);
		a = ob_upload_new(&options, &error);
		begin_shared(a, &share, NULL);
		host_drive(fixture->http, has_id, a);
		assert_int_equal(count(fixture, "HEAD", NULL), 1);
		assert_int_equal(count(fixture, "POST", "uploads="), i == 0);
		if (i == 1)
		{
			assert_error(ob_upload_error(a), OB_EEXISTS, "exists already");
			ob_upload_free(a);
			break;
		}
		b = ob_upload_new(&options, &error);
		begin_shared(b, &share, ob_upload_id(a));
		write_rows(fixture, b, 0, PART);
		end_part(b);
		host_drive(fixture->http, is_idle, b);
		assert_int_equal(shared.landed, 1);
		finish_shared(fixture, a, &shared, bytes_of(a) + bytes_of(b));
		assert_true(ob_upload_done(a));
		assert_int_equal(count(fixture, "HEAD", NULL), 1);
		ob_upload_free(b);
		ob_upload_free(a);
	}
}

static void
calls_at_the_wrong_time(void **state)
{
	Fixture *fixture = *state;
	Shared shared = {0};
	ObUploadShare share = share_of(&shared);
	ObUpload *a = new_process(fixture, OB_CHECKSUM_SHA256);
	ObError error;
	size_t avail;

	/* before it is shared */
	ob_error_clear(&error);
	assert_non_null(ob_upload_window(a, &avail, &error));
	assert_int_equal(ob_upload_end_part(a, &error), OB_EINVAL);
	ob_error_clear(&error);
	assert_int_equal(ob_upload_finish_shared(a, shared.parts, 0, 0, &error),
					 OB_EINVAL);
	/* after the first byte */
	ob_error_clear(&error);
	assert_int_equal(
		ob_upload_begin_shared(a, &share, NULL, 64 * MIB, 2, &error),
		OB_EINVAL);
	assert_error(&error, OB_EINVAL, "has begun already");
	ob_upload_free(a);

	a = new_process(fixture, OB_CHECKSUM_SHA256);
	start_first(fixture, a, &share);
	/* a missing part, and then one that was not ended */
	ob_error_clear(&error);
	assert_int_equal(ob_upload_end_part(a, &error), OB_EINVAL);
	assert_error(&error, OB_EINVAL, "there is no part to end");
	write_rows(fixture, a, 0, 10);
	ob_error_clear(&error);
	assert_int_equal(ob_upload_finish_shared(a, shared.parts, 0, 0, &error),
					 OB_EINVAL);
	assert_null(ob_upload_error(a));
	abort_first(fixture, a);
	ob_upload_free(a);
}

/* Parts of one size cannot end at row boundaries. */
static void
not_with_parts_of_one_size(void **state)
{
	Fixture *fixture = *state;
	ObUploadOptions options = usual_options(fixture);
	Shared shared = {0};
	ObUploadShare share = share_of(&shared);
	ObError error;

	ob_error_clear(&error);
	options.equal_parts = true;
	begin_with(fixture, &options);
	assert_int_equal(ob_upload_begin_shared(fixture->upload, &share, NULL,
											options.memory, 2, &error),
					 OB_EINVAL);
	assert_int_equal(count(fixture, NULL, NULL), 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(not_with_parts_of_one_size),
		TEST(two_processes),
		TEST(pieces),
		TEST(only_a_head),
		TEST(long_row),
		TEST(idle_and_room),
		TEST(bytes_are_missing),
		TEST(crc_is_wrong),
		TEST(part_has_no_place),
		TEST(no_numbers_left),
		TEST(create_is_refused),
		TEST(object_exists),
		TEST(calls_at_the_wrong_time),
	};

	return cmocka_run_group_tests(tests, setup_data, free_data);
}
