/*
 * wait.c
 *		Waits of a backend for the network.
 *
 * src/pg/base/wait.c
 *
 * Only this file uses latches.  The core has one descriptor and a timeout;
 * interrupts are handled here, between calls into the core, so an error or a
 * cancel never jumps across a frame of libcurl's.
 */
#include "postgres.h"

#include <poll.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"

#include "pg/base/compat.h"
#include "pg/base/errors.h"
#include "pg/base/wait.h"

/* The wait events in pg_stat_activity, where they have names of their own; 0:
 * not registered yet. */
static uint32 s3_event = 0;
static uint32 worker_event = 0;

void
ob_wait_pump(ObHttp *http)
{
	ObError error;

	ob_error_clear(&error);
	if (ob_http_drive(http, &error) != OB_OK)
		ob_report(&error);
}

void
ob_wait(ObHttp *http)
{
	int events = WL_LATCH_SET | WL_SOCKET_READABLE | WL_EXIT_ON_PM_DEATH;
	int timeout = ob_http_timeout_ms(http);
	int happened;

	if (timeout >= 0)
		events |= WL_TIMEOUT;
	if (s3_event == 0)
		s3_event = ob_wait_event("OnboardS3");
	happened = WaitLatchOrSocket(MyLatch, events, ob_http_fd(http), timeout,
								 s3_event);
	if (happened & WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	ob_wait_pump(http);
}

bool
ob_wait_bounded(ObHttp *http, bool (*done)(const void *arg), const void *arg,
				int bound_ms)
{
	int64 end = ob_http_now_ms() + bound_ms;
	ObError error;

	ob_error_clear(&error);
	for (;;)
	{
		struct pollfd fd = {ob_http_fd(http), POLLIN, 0};
		int timeout;
		int64 left;

		if (ob_http_drive(http, &error) != OB_OK)
			return false;
		if (done(arg))
			return true;
		left = end - ob_http_now_ms();
		if (left <= 0)
			return false;
		timeout = ob_http_timeout_ms(http);
		if (timeout < 0 || timeout > left)
			timeout = (int) left;
		/* a signal ends it early, which is as good as an event */
		(void) poll(&fd, 1, timeout);
	}
}

bool
ob_wait_latch(int timeout_ms)
{
	int happened;

	if (worker_event == 0)
		worker_event = ob_wait_event("OnboardWorker");
	happened =
		WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
				  timeout_ms, worker_event);
	if (happened & WL_LATCH_SET)
		ResetLatch(MyLatch);
	return (happened & WL_LATCH_SET) != 0;
}

void
ob_wait_wake(PGPROC *process)
{
	SetLatch(&process->procLatch);
}
