/*
 * loop.c
 *		The one place that waits: HTTP requests and database sockets together.
 *
 * src/lambda/base/loop.c
 */
#include "lambda/base/loop.h"

#include <errno.h>
#include <limits.h>

bool
obl_loop_add(OblLoop *loop, OblSocket *socket)
{
	if (loop->nsockets == OBL_SOCKETS_MAX)
		return false;
	loop->sockets[loop->nsockets++] = socket;
	return true;
}

void
obl_loop_remove(OblLoop *loop, OblSocket *socket)
{
	for (int i = 0; i < loop->nsockets; i++)
	{
		if (loop->sockets[i] == socket)
		{
			loop->sockets[i] = loop->sockets[--loop->nsockets];
			return;
		}
	}
}

/* Returns the earlier of two times, where -1 means never. */
static int64_t
earlier(int64_t a, int64_t b)
{
	if (a < 0 || b < 0)
		return a < 0 ? b : a;
	return a < b ? a : b;
}

/* Returns the time-out for poll(), rounded up, so that the loop does not spin
 * for the rest of a millisecond. */
static int
timeout(const OblLoop *loop, int64_t until_ms)
{
	int64_t now = ob_http_now_ms();
	int http = ob_http_timeout_ms(loop->http);
	int64_t wake = earlier(until_ms, http < 0 ? -1 : now + http);

	for (int i = 0; i < loop->nsockets; i++)
		wake = earlier(wake, loop->sockets[i]->wake_at);
	if (wake < 0)
		return -1;
	if (wake <= now)
		return 0;
	return wake - now > INT_MAX ? INT_MAX : (int) (wake - now);
}

static bool
is_registered(const OblLoop *loop, const OblSocket *socket)
{
	for (int i = 0; i < loop->nsockets; i++)
	{
		if (loop->sockets[i] == socket)
			return true;
	}
	return false;
}

bool
obl_loop_step(OblLoop *loop, int64_t until_ms, ObError *error)
{
	struct pollfd fds[OBL_SOCKETS_MAX + 1];
	OblSocket *sockets[OBL_SOCKETS_MAX];
	int n = loop->nsockets;
	int64_t now;

	fds[n] = (struct pollfd){ob_http_fd(loop->http), POLLIN, 0};
	for (int i = 0; i < n; i++)
	{
		sockets[i] = loop->sockets[i];
		fds[i] = (struct pollfd){sockets[i]->fd, sockets[i]->events, 0};
	}
	if (poll(fds, n + 1, timeout(loop, until_ms)) < 0 && errno != EINTR)
	{
		ob_error_set(error, OB_EIO, "poll failed");
		return false;
	}
	now = ob_http_now_ms();
	for (int i = 0; i < n; i++)
	{
		bool due = sockets[i]->wake_at >= 0 && sockets[i]->wake_at <= now;

		/* a callback before this one may have removed it */
		if ((fds[i].revents || due) && is_registered(loop, sockets[i]))
			sockets[i]->ready(sockets[i], fds[i].revents);
	}
	return ob_http_drive(loop->http, error) == OB_OK;
}
