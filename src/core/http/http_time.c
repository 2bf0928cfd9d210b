/*
 * http_time.c
 *		When transfers start, and when they take too long.
 *
 * src/core/http/http_time.c
 */
#include "core/http/http_intern.h"

#include <time.h>

int64_t
ob_http_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t
ob_http_clock_ms(const ObHttp *http)
{
	return http->pumped_ms;
}

int
ob_transfer_connect_timeout(const ObTransfer *transfer)
{
	int own = transfer->request->connect_timeout_ms;

	return own > 0 ? own : transfer->http->connect_timeout_ms;
}

void
ob_http_start_due(ObHttp *http, int64_t now)
{
	bool again = true;

	/* a callback may change the list: begin anew after each one */
	while (again)
	{
		again = false;
		for (ObTransfer *t = http->transfers; t; t = t->next)
		{
			if (!t->easy && t->start_ms <= now)
			{
				ob_transfer_begin(t);
				again = true;
				break;
			}
		}
	}
}

/* Whether a transfer takes too long; sets its error.  (libcurl looks for slow
 * connects, too, but not again after we have extended its time.) */
static bool
is_overdue(const ObHttp *http, ObTransfer *transfer)
{
	ObHttpRequest *request = transfer->request;
	int64_t age = http->pumped_ms - transfer->begun_at;
	int stall = request->stall_timeout_ms > 0 ? request->stall_timeout_ms
											  : http->stall_timeout_ms;
	int total = request->timeout_ms;
	const char *what;
	int limit;

	if (!transfer->easy)
		return false;
	ob_transfer_note_upload(transfer);
	request->sent = true; /* or so it must be taken */
	if (age > (limit = ob_transfer_connect_timeout(transfer)) &&
		!ob_transfer_is_connected(transfer))
	{
		what = "no connection was made within";
		request->sent = false;
	}
	else if (total > 0 && age > (limit = total))
		what = "no whole answer came within";
	else if (http->pumped_ms - transfer->progress_at > (limit = stall))
		what = "no byte moved for";
	else
		return false;
	ob_error_set(&request->error, OB_ETIMEOUT, "%s %g s", what,
				 limit / 1000.0);
	return true;
}

void
ob_http_fail_overdue(ObHttp *http)
{
	bool again = true;

	/* a callback may change the list: begin anew after each one */
	while (again)
	{
		again = false;
		for (ObTransfer *t = http->transfers; t; t = t->next)
		{
			if (is_overdue(http, t))
			{
				ob_transfer_finish(t);
				again = true;
				break;
			}
		}
	}
}

int
ob_http_timeout_ms(const ObHttp *http)
{
	int64_t now = ob_http_now_ms();
	int64_t at = http->timer_at;

	for (const ObTransfer *t = http->transfers; t; t = t->next)
	{
		/* a running transfer needs a look for time-outs now and then */
		int64_t look = t->easy ? now + OB_HTTP_PUMP_GAP_MS : t->start_ms;

		if (at < 0 || look < at)
			at = look;
	}
	if (at < 0)
		return -1;
	return at <= now ? 0 : (int) (at - now);
}
