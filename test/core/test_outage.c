/*
 * test_outage.c
 *		A store that goes away in the middle of an upload, and comes back.
 *
 * test/core/test_outage.c
 *
 * Outages of minutes take seconds: the client's clock runs faster than the
 * real one, which the server and libcurl use.
 *
 * link: -Wl,--wrap=clock_gettime
 */
#include "uploads.h"

#include <limits.h>
#include <poll.h>
#include <time.h>

#include "core/s3/upload_intern.h"

#define BAD_GATEWAY "<html><body><h1>Bad Gateway</h1></body></html>"
#define SPEED 200
#define DEADLINE_MS 600000
#define STALL_MS 20000

/* ---- the clock ---- */

/* The clock of this thread; the server's threads use the real one. */
static __thread int64_t speed;
static __thread int64_t real_start;
static __thread int64_t fast_start;

extern int __real_clock_gettime(clockid_t id, struct timespec *now);
extern int __wrap_clock_gettime(clockid_t id, struct timespec *now);

static int64_t
real_ns(void)
{
	struct timespec now;

	__real_clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

int
__wrap_clock_gettime(clockid_t id, struct timespec *now)
{
	int64_t ns;

	if (id != CLOCK_MONOTONIC || speed == 0)
		return __real_clock_gettime(id, now);
	ns = fast_start + (real_ns() - real_start) * speed;
	now->tv_sec = ns / 1000000000;
	now->tv_nsec = ns % 1000000000;
	return 0;
}

/* The clock goes on from its current value. */
static void
set_speed(int64_t new_speed)
{
	int64_t real = real_ns();

	if (speed == 0)
		fast_start = real;
	else
		fast_start += (real - real_start) * speed;
	real_start = real;
	speed = new_speed;
}

/* Drives until the condition holds, or for this many ms of the clock. */
static bool
drive_fast(Fixture *fixture, bool (*condition)(void *arg), int64_t ms)
{
	int64_t end = ob_http_now_ms() + ms;

	while (!condition(fixture))
	{
		struct pollfd fd = {ob_http_fd(fixture->http), POLLIN, 0};
		ObError error;

		if (ob_http_now_ms() >= end)
			return false;
		poll(&fd, 1, ob_http_timeout_ms(fixture->http) > 0 ? 1 : 0);
		ob_error_clear(&error);
		assert_int_equal(ob_http_drive(fixture->http, &error), OB_OK);
	}
	return true;
}

/* ---- an upload, and the store's outage ---- */

static ObS3Options
patient_options(void)
{
	ObS3Options options = s3_options();

	options.retry_deadline_ms = DEADLINE_MS;
	options.http.stall_timeout_ms = STALL_MS;
	return options;
}

/* A new server, and a client whose deadline is long enough. */
static void
patient_s3(Fixture *fixture, Where where)
{
	renew_with(fixture, where, patient_options());
}

static bool
has_landed_some(void *arg)
{
	ObUploadStats stats;

	ob_upload_stats(((Fixture *) arg)->upload, &stats);
	return stats.parts >= 1 || ob_upload_error(((Fixture *) arg)->upload);
}

static bool
has_failed(void *arg)
{
	return ob_upload_error(((Fixture *) arg)->upload) != NULL;
}

static bool
has_ended(void *arg)
{
	return is_ended(arg);
}

/* One part has landed, and three more are to be sent. */
static void
get_into_the_middle(Fixture *fixture)
{
	ObUploadOptions options = usual_options(fixture);

	options.memory = 8 * (PART + SLACK);
	begin_with(fixture, &options);
	write_all(fixture, PART + 200000);
	host_watch(fixture->http, has_landed_some, fixture);
	ob_upload_want_room(fixture->upload);
}

static void
write_three_more(Fixture *fixture)
{
	ObError error;

	ob_error_clear(&error);
	while (fixture->written < 4 * PART + 400000)
		assert_int_equal(
			write_some(fixture, 4 * PART + 400000, 131072, &error), OB_OK);
}

typedef enum Kind
{
	GATEWAY_502,
	GATEWAY_503,
	GATEWAY_504,
	REFUSED,
	TLS_CUT,
	SILENT,
	LOST,
	NKINDS
} Kind;

static const char *const kinds[NKINDS] = {
	"502", "503", "504", "refused", "TLS cut", "silent", "lost"};

static const ServerRule rules[NKINDS] = {
	[GATEWAY_502] = {.status = 502, .body = BAD_GATEWAY},
	[GATEWAY_503] = {.status = 503, .body = BAD_GATEWAY},
	[GATEWAY_504] = {.status = 504, .body = BAD_GATEWAY},
	[SILENT] = {.status = 503, .act = SERVER_HOLD},
	[LOST] = {.act = SERVER_DROP},
};

static void
go_away(Fixture *fixture, Kind kind)
{
	server_reset(fixture->server);
	if (kind == REFUSED)
		server_refuse(fixture->server);
	else if (kind == TLS_CUT)
		server_break(fixture->server, INT_MAX);
	else
		server_rule(fixture->server, rules[kind]);
}

static void
come_back(Fixture *fixture, Kind kind)
{
	if (kind == REFUSED)
		server_listen(fixture->server);
	else if (kind == TLS_CUT)
		server_break(fixture->server, 0);
	else
		server_reset(fixture->server);
	if (kind == SILENT)
		server_disconnect(fixture->server);
}

/* The store is back: the upload ends, however slow this machine is. */
static bool
drive_on(Fixture *fixture)
{
	set_speed(20);
	return drive_fast(fixture, has_ended, 20 * 100000);
}

/* ---- the tests ---- */

/* The upload succeeds after any kind and length of outage, and sends only
 * occasional probes. */
static void
outages(void **state)
{
	static const int64_t seconds[] = {5, 60, 300};
	Fixture *fixture = *state;

	for (Kind kind = 0; kind < NKINDS; kind++)
		for (size_t i = 0; i < COUNT_OF(seconds); i++)
		{
			char row[40];
			int connections;

			snprintf(row, sizeof(row), "%s for %d s", kinds[kind],
					 (int) seconds[i]);
			set_speed(1);
			patient_s3(fixture, kind == TLS_CUT ? TLS : PLAIN);
			get_into_the_middle(fixture);
			go_away(fixture, kind);
			write_three_more(fixture);
			connections = server_accepted(fixture->server);
			set_speed(SPEED);
			assert_row(row,
					   !drive_fast(fixture, has_ended, seconds[i] * 1000));
			/* the first failures were counted, since it was not an outage
			 * yet */
			assert_in_range(fixture->upload->quota.tokens, 470, 500);
			/* libcurl itself repeats requests on reused connections */
			assert_in_range(count(fixture, NULL, NULL), 0, 100);
			assert_in_range(server_accepted(fixture->server) - connections, 0,
							100);
			come_back(fixture, kind);
			finish(fixture);
			assert_row(row, drive_on(fixture));
			assert_landed(fixture);
			set_speed(1);
		}
}

/* ---- two processes ---- */

typedef struct Shared
{
	int taken;
	ObUploadPart parts[10];
} Shared;

static int
take_number(void *arg, const ObRaw *raw)
{
	return ++((Shared *) arg)->taken;
}

static ObCode
landed(void *arg, int number, const ObUploadPart *part, ObError *error)
{
	Shared *shared = arg;

	shared->parts[number - 1] = *part;
	return OB_OK;
}

static bool
has_id(void *arg)
{
	return ob_upload_id(((Fixture *) arg)->upload)[0] != '\0';
}

static bool
is_idle(void *arg)
{
	return ob_upload_idle(((Fixture *) arg)->upload) || has_failed(arg);
}

/* Each process writes a part of its own. */
static void
write_shared(Fixture *fixture, int parts)
{
	ObError error;

	ob_error_clear(&error);
	for (int i = 0; i < parts; i++)
	{
		fixture->written = 0;
		while (fixture->written < PART)
			assert_int_equal(write_some(fixture, PART, 131072, &error), OB_OK);
		assert_int_equal(ob_upload_end_part(fixture->upload, &error), OB_OK);
	}
}

/* Drives both until neither has a running request, or the time is over. */
static bool
drive_both(Fixture *processes, int64_t ms)
{
	int64_t end = ob_http_now_ms() + ms;

	while (ob_http_now_ms() < end)
		if (drive_fast(&processes[0], is_idle, 300) &
			drive_fast(&processes[1], is_idle, 300))
			return true;
	return false;
}

/* The second process, a parallel worker, has not even reached the store when
 * the outage begins. */
static void
outage_of_two_processes(void **state)
{
	static const Kind rows[] = {GATEWAY_503, REFUSED, LOST};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Shared shared = {0};
		ObUploadShare share = {.take_number = take_number,
							   .landed = landed,
							   .arg = &shared,
							   .head = {.data = ""}};
		Fixture processes[2];
		ObUploadOptions options;
		ObError error;

		ob_error_clear(&error);
		set_speed(1);
		patient_s3(fixture, PLAIN);
		processes[0] = processes[1] = *fixture;
		new_s3_with(&processes[1], PLAIN, patient_options());
		for (int n = 0; n < 2; n++)
		{
			options = usual_options(&processes[n]);
			begin_with(&processes[n], &options);
			assert_int_equal(
				ob_upload_begin_shared(
					processes[n].upload, &share,
					n == 0 ? NULL : ob_upload_id(processes[0].upload),
					options.memory, 3, &error),
				OB_OK);
			if (n == 0)
				host_drive(processes[0].http, has_id, &processes[0]);
		}
		go_away(fixture, rows[i]);
		write_shared(&processes[0], 2);
		write_shared(&processes[1], 2);
		set_speed(SPEED);
		assert_row(kinds[rows[i]], !drive_both(processes, 300000));
		assert_row(kinds[rows[i]], !has_failed(&processes[0]));
		assert_row(kinds[rows[i]], !has_failed(&processes[1]));
		come_back(fixture, rows[i]);
		set_speed(20);
		assert_row(kinds[rows[i]], drive_both(processes, 20 * 100000));
		assert_int_equal(ob_upload_finish_shared(processes[0].upload,
												 shared.parts, shared.taken,
												 4 * PART, &error),
						 OB_OK);
		assert_row(kinds[rows[i]],
				   drive_fast(&processes[0], has_ended, 20 * 100000));
		assert_true(ob_upload_done(processes[0].upload));
		set_speed(1);
		for (int n = 0; n < 2; n++)
			ob_upload_free(processes[n].upload);
		ob_s3_free(processes[1].s3);
	}
}

static bool
is_held(void *arg)
{
	return ob_upload_held(((Fixture *) arg)->upload);
}

/* A publisher completes uploads of other clients.  Its own client has not even
 * reached the store when the outage begins, and must look for the object of a
 * Complete whose outcome is unclear. */
static void
outage_while_published(void **state)
{
	static const Kind rows[] = {GATEWAY_503, REFUSED, TLS_CUT, LOST};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Where where = rows[i] == TLS_CUT ? TLS : PLAIN;
		ObUploadOptions options;
		ObUploadHeld held;
		Fixture publisher;
		ObError error;

		ob_error_clear(&error);
		set_speed(1);
		patient_s3(fixture, where);
		options = usual_options(fixture);
		options.hold = true;
		begin_with(fixture, &options);
		write_all(fixture, PART + 1);
		finish(fixture);
		host_drive(fixture->http, is_held, fixture);
		ob_upload_hand_over(fixture->upload, &held);
		publisher = *fixture;
		new_s3_with(&publisher, where, patient_options());
		options = usual_options(&publisher);
		begin_with(&publisher, &options);
		publisher.written = fixture->written;
		assert_int_equal(ob_upload_adopt(publisher.upload, &held, &error),
						 OB_OK);
		go_away(fixture, rows[i]);
		ob_upload_publish(publisher.upload);
		set_speed(SPEED);
		assert_row(kinds[rows[i]], !drive_fast(&publisher, has_ended, 300000));
		come_back(fixture, rows[i]);
		assert_row(kinds[rows[i]], drive_on(&publisher));
		assert_landed(&publisher);
		set_speed(1);
		ob_upload_free(publisher.upload);
		ob_s3_free(publisher.s3);
	}
}

/* The outage lasts: only the deadline ends the upload. */
static void
deadline_of_an_outage(void **state)
{
	static const Kind rows[] = {GATEWAY_503, REFUSED, TLS_CUT};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		int64_t begin;

		set_speed(1);
		patient_s3(fixture, rows[i] == TLS_CUT ? TLS : PLAIN);
		get_into_the_middle(fixture);
		go_away(fixture, rows[i]);
		write_three_more(fixture);
		set_speed(SPEED);
		begin = ob_http_now_ms();
		assert_row(kinds[rows[i]],
				   drive_fast(fixture, has_failed, 20 * DEADLINE_MS));
		assert_row(kinds[rows[i]], ob_http_now_ms() - begin >= DEADLINE_MS);
		assert_null(
			strstr(ob_upload_error(fixture->upload)->cause, "too many"));
		set_speed(1);
		come_back(fixture, rows[i]);
		abort_and_wait(fixture);
		assert_nothing_landed(fixture);
	}
}

/* The last part lands, and the outage begins with its response, or even before
 * that response. */
static void
finish_without_it(Fixture *fixture, Kind kind)
{
	static const char *const methods[] = {"POST", "HEAD", "GET"};

	if (kind == REFUSED || kind == TLS_CUT)
	{
		server_rule(fixture->server, (ServerRule){.target = "partNumber=2&",
												  .act = SERVER_HOLD,
												  .store = true});
		finish(fixture);
		wait_for_request(fixture, "PUT", "partNumber=2&", 1);
		go_away(fixture, kind);
		return;
	}
	server_reset(fixture->server);
	for (size_t i = 0; i < COUNT_OF(methods); i++)
	{
		ServerRule rule = rules[kind];

		rule.method = methods[i];
		server_rule(fixture->server, rule);
	}
	finish(fixture);
	wait_for_request(fixture, "POST", "uploadId=", 1);
}

/* The outage begins while the upload is completed. */
static void
outage_at_the_end(void **state)
{
	Fixture *fixture = *state;

	for (Kind kind = 0; kind < NKINDS; kind++)
	{
		set_speed(1);
		patient_s3(fixture, kind == TLS_CUT ? TLS : PLAIN);
		get_into_the_middle(fixture);
		finish_without_it(fixture, kind);
		set_speed(SPEED);
		assert_row(kinds[kind], !drive_fast(fixture, has_ended, 60000));
		come_back(fixture, kind);
		assert_row(kinds[kind], drive_on(fixture));
		assert_landed(fixture);
		set_speed(1);
	}
}

/* During the outage, one request at a time is sent. */
static void
one_probe(void **state)
{
	Fixture *fixture = *state;

	patient_s3(fixture, PLAIN);
	get_into_the_middle(fixture);
	server_reset(fixture->server);
	server_rule(fixture->server, (ServerRule){.target = "partNumber",
											  .times = 8,
											  .status = 503,
											  .body = BAD_GATEWAY});
	server_rule(fixture->server,
				(ServerRule){.act = SERVER_HOLD, .store = true});
	write_three_more(fixture);
	wait_for_request(fixture, "PUT", "partNumber", 9);
	host_drive_for(fixture->http, 2500);
	assert_int_equal(count(fixture, NULL, NULL), 9);
	/* the probe gets a response, and all requests continue */
	server_release(fixture->server);
	finish_and_land(fixture);
}

static bool
have_landed_two_more(void *arg)
{
	return ((Fixture *) arg)->upload->acknowledged >= 3;
}

/* A part that always fails does not keep the others from landing. */
static void
others_take_their_turn(void **state)
{
	Fixture *fixture = *state;

	patient_s3(fixture, PLAIN);
	get_into_the_middle(fixture);
	server_reset(fixture->server);
	/* its third failure makes it the probe */
	server_rule(fixture->server, (ServerRule){.target = "partNumber=2&",
											  .status = 503,
											  .delay_ms = 50});
	for (int part = 3; part <= 4; part++)
	{
		char target[32];

		snprintf(target, sizeof(target), "partNumber=%d&", part);
		server_rule(fixture->server,
					(ServerRule){.target = target,
								 .times = 1,
								 .status = 503,
								 .headers = "x-amz-retry-after: 2000\r\n"});
	}
	write_three_more(fixture);
	wait_for_request(fixture, "PUT", "partNumber=2&", 3);
	set_speed(20);
	assert_true(drive_fast(fixture, have_landed_two_more, 20 * DEADLINE_MS));
	assert_null(ob_upload_error(fixture->upload));
	server_reset(fixture->server);
	set_speed(20);
	finish(fixture);
	assert_true(drive_on(fixture));
	assert_landed(fixture);
}

static void
on_done(ObS3Call *call)
{
	*(bool *) call->arg = true;
}

static bool
is_set(void *arg)
{
	return *(bool *) arg;
}

/* Some requests fail and others succeed: this is no outage, and failures
 * count. */
static void
mixed_failures_count(void **state)
{
	Fixture *fixture = *state;
	ObRetryQuota quota = {500};
	bool failed = false;
	ObS3Call part;

	patient_s3(fixture, PLAIN);
	/* this leaves time for another request between two attempts */
	server_rule(fixture->server,
				(ServerRule){.target = "partNumber",
							 .status = 503,
							 .headers = "x-amz-retry-after: 6000\r\n",
							 .body = BAD_GATEWAY});
	ob_s3_call_init(&part, fixture->s3, on_done, &failed);
	part.quota = &quota;
	ob_s3_upload_part(&part, "b", "k", "id", 7, "part", 4, NULL);
	set_speed(10);
	while (!failed)
	{
		int failures = count(fixture, "PUT", NULL);
		bool looked = false;
		ObS3Call head;

		ob_s3_call_init(&head, fixture->s3, on_done, &looked);
		ob_s3_head(&head, "b", "other");
		host_watch(fixture->http, is_set, &looked);
		assert_int_equal(head.error.http_status, 404);
		ob_s3_call_free(&head);
		while (!failed && count(fixture, "PUT", NULL) == failures)
			host_drive_for(fixture->http, 10);
	}
	assert_int_equal(part.error.http_status, 503);
	assert_int_equal(part.error.attempts, 8);
	assert_int_equal(quota.tokens, 500 - 7 * 10);
	ob_s3_call_free(&part);
	set_speed(1);
}

/* The upload is given up in the middle of an outage, at once and
 * completely. */
static void
aborted_in_an_outage(void **state)
{
	static const Kind rows[] = {GATEWAY_503, REFUSED};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		set_speed(1);
		patient_s3(fixture, PLAIN);
		get_into_the_middle(fixture);
		go_away(fixture, rows[i]);
		write_three_more(fixture);
		set_speed(SPEED);
		assert_false(drive_fast(fixture, has_ended, 60000));
		come_back(fixture, rows[i]);
		set_speed(1);
		abort_and_wait(fixture);
		assert_nothing_landed(fixture);
	}
	/* the fixture's end frees a waiting one */
	patient_s3(fixture, PLAIN);
	get_into_the_middle(fixture);
	go_away(fixture, REFUSED);
	write_three_more(fixture);
	set_speed(SPEED);
	assert_false(drive_fast(fixture, has_ended, 60000));
	set_speed(1);
	ob_upload_free(fixture->upload);
	fixture->upload = NULL;
	come_back(fixture, REFUSED);
}

/* A store that was never reached is not waited for. */
static void
never_there(void **state)
{
	static const Kind rows[] = {GATEWAY_503, REFUSED};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		set_speed(1);
		patient_s3(fixture, PLAIN);
		go_away(fixture, rows[i]);
		begin(fixture);
		finish(fixture);
		set_speed(SPEED);
		assert_row(kinds[rows[i]],
				   drive_fast(fixture, has_failed, 20 * DEADLINE_MS));
		assert_int_equal(ob_upload_error(fixture->upload)->attempts, 8);
		set_speed(1);
		come_back(fixture, rows[i]);
	}
}

static int
set_up(void **state)
{
	int result = setup(state);

	set_speed(1);
	alarm(250);
	return result;
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, teardown)
	const struct CMUnitTest tests[] = {
		TEST(outages),
		TEST(outage_of_two_processes),
		TEST(outage_while_published),
		TEST(deadline_of_an_outage),
		TEST(outage_at_the_end),
		TEST(one_probe),
		TEST(others_take_their_turn),
		TEST(mixed_failures_count),
		TEST(aborted_in_an_outage),
		TEST(never_there),
	};

	return cmocka_run_group_tests(tests, setup_data, free_data);
}
