/*
 * s3_outage.c
 *		Outages of the store: which call probes it, and how often.
 *
 * src/core/s3/s3_outage.c
 *
 * An outage begins when a store that has served this client fails every try: a
 * balancer without a backend, a gateway that restarts, a network that is cut.
 * Such tries fail so fast that their number means nothing.  So none is counted
 * during an outage, and nothing is taken from the quota; only
 * onboard.retry_deadline ends it.
 *
 * One call at a time is tried, the probe, with longer and longer pauses.  All
 * others are held, and each takes its turn as the probe, so that one request
 * which always fails does not decide for all.  A response that only the store
 * can give, to any call, ends the outage, and all calls continue.
 *
 * Failures between successes are not an outage: they are counted as usual.
 */
#include "core/s3/s3_intern.h"

#include <string.h>

#include "core/base/random.h"

/* The number of consecutive failed tries after which an outage begins. */
#define SURE 3
/* The calls continue within this time after an outage, rather than all at
 * once. */
#define SPREAD_MS 1000

/* Returns whether the call may wait for the store.  An Abort does not wait,
 * nor does a call whose owner has set max_attempts to 1. */
static bool
may_wait(const ObS3Call *call)
{
	return call->s3->retry_deadline_ms > 0 && call->verb != OB_S3_ABORT &&
		   call->max_attempts > 1 && !call->no_outage_wait;
}

/* A call that has the id of an upload, such as a part's, shows that the store
 * was reached before, perhaps by the leader of a parallel worker. */
static bool
has_upload(const ObS3Call *call)
{
	return call->upload_id != NULL;
}

bool
ob_outage_reached(const ObS3Call *call)
{
	return call->s3->outage.reached || has_upload(call);
}

bool
ob_outage_failed(ObS3Call *call)
{
	const ObHttpRequest *request = &call->request;
	ObOutage *outage = &call->s3->outage;
	bool away;

	outage->failures++;
	if (!request->sent && request->status == 0)
		away = ob_outage_reached(
			call); /* a try that did not reach the store costs it nothing */
	else
		away =
			outage->failures >= SURE && (outage->served || has_upload(call));
	if (!away || !may_wait(call))
		return false;
	if (!outage->probe || outage->probe == call)
		outage->probes++;
	return true;
}

/* ---- the queue of held calls ---- */

static void
enqueue(ObS3Call *call)
{
	ObS3Call **link = &call->s3->outage.held;

	while (*link)
		link = &(*link)->next_held;
	*link = call;
	call->next_held = NULL;
	call->held = true;
}

static void
dequeue(ObS3Call *call)
{
	ObS3Call **link = &call->s3->outage.held;

	while (*link != call)
		link = &(*link)->next_held;
	*link = call->next_held;
	call->next_held = NULL;
	call->held = false;
}

/* The first call in the queue is tried after the delay. */
static void
probe_next(ObS3 *s3, int64_t delay_ms)
{
	ObS3Call *call = s3->outage.held;

	s3->outage.probe = call;
	if (!call)
		return;
	dequeue(call);
	ob_s3_try(call, delay_ms);
}

void
ob_outage_wait(ObS3Call *call, int64_t delay_ms)
{
	ObOutage *outage = &call->s3->outage;

	enqueue(call);
	if (!outage->probe || outage->probe == call)
		probe_next(call->s3, delay_ms);
}

bool
ob_outage_holds(ObS3Call *call)
{
	const ObOutage *outage = &call->s3->outage;

	if (!outage->probe || outage->probe == call || !may_wait(call))
		return false;
	enqueue(call);
	return true;
}

void
ob_outage_leave(ObS3Call *call)
{
	ObOutage *outage = &call->s3->outage;

	if (call->held)
		dequeue(call);
	if (outage->probe == call)
		probe_next(call->s3, 0);
}

/* ---- its end ---- */

static void
resume(ObS3Call *call)
{
	ob_s3_try(call, (int64_t) (ob_random_fraction() * SPREAD_MS));
}

void
ob_outage_over(ObS3 *s3)
{
	ObOutage *outage = &s3->outage;
	ObS3Call *probe = outage->probe;

	outage->served = true;
	outage->failures = outage->probes = 0;
	outage->probe = NULL;
	/* a response to another call ended the outage, while the probe may still
	 * have to pause for long */
	if (probe && ob_http_running(&probe->request) &&
		!ob_http_sent(&probe->request))
	{
		ob_http_cancel(s3->http, &probe->request);
		resume(probe);
	}
	while (outage->held)
	{
		ObS3Call *call = outage->held;

		dequeue(call);
		resume(call);
	}
}

void
ob_s3_note_served(ObS3 *s3)
{
	s3->outage.reached = s3->outage.served = true;
}

void
ob_outage_forget(ObS3 *s3)
{
	memset(&s3->outage, 0, sizeof(s3->outage));
}
