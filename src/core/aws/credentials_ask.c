/*
 * credentials_ask.c
 *		A question for credentials: its tries, time-outs and errors.
 *
 * src/core/aws/credentials_ask.c
 *
 * Time-outs go by the clock of the host's driving, so that a query which
 * computes meanwhile does not make a service look dead.
 */
#include "core/aws/credentials_intern.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <string.h>

#define ATTEMPTS 3
/* With less time left there is no use in another try. */
#define TRY_MIN_MS 200

double
ob_ask_random(void)
{
	uint32_t value = 0;

	if (RAND_bytes((unsigned char *) &value, sizeof(value)) != 1)
	{
		ERR_clear_error(); /* the host's queue as well */
		value = UINT32_MAX / 2;
	}
	return (double) value / ((double) UINT32_MAX + 1.0);
}

static void
wipe_answer(ObAsk *ask)
{
	ob_buf_wipe(&ask->request.response);
	ob_buf_wipe(&ask->request.headers);
}

static void
finish(ObAsk *ask, const ObError *failure)
{
	ObError error;

	ob_error_clear(&error);
	if (failure->code == OB_ENOMEM)
		ob_error_set(&error, OB_ENOMEM, "%s", failure->cause);
	else if (failure->code != OB_OK && ask->retry.attempts > 1)
		ob_error_set(&error, OB_ECREDS, "%s: %s (after %d attempts)",
					 ask->whom, failure->cause, ask->retry.attempts);
	else if (failure->code != OB_OK)
		ob_error_set(&error, OB_ECREDS, "%s: %s", ask->whom, failure->cause);
	ask->done(ask, &error);
}

/* Starts a try after the delay, if there is time for it. */
static bool
start_try(ObAsk *ask, int64_t delay_ms)
{
	int64_t left = ask->give_up_at - ob_http_clock_ms(ask->http) - delay_ms;

	if (left < TRY_MIN_MS)
		return false;
	ask->request.timeout_ms = left < ask->try_ms ? (int) left : ask->try_ms;
	ob_http_start(ask->http, &ask->request, delay_ms);
	return true;
}

static void
retry(ObAsk *ask, ObRetryClass class, const ObError *failure)
{
	const ObRetryPolicy policy = {.max_attempts = ATTEMPTS};
	int64_t delay;

	if (!ob_retry_next(&policy, &ask->retry, class,
					   ob_http_clock_ms(ask->http), -1, ob_ask_random(),
					   &delay) ||
		!start_try(ask, delay))
		finish(ask, failure);
}

static void
on_answer(ObHttpRequest *request)
{
	ObAsk *ask = request->arg;
	ObRetryClass class = OB_RETRY_FINAL;
	ObError error = request->error;

	if (error.code == OB_OK)
		ask->read(ask, &class, &error);
	else if (!request->final)
		class = ob_retry_transport_class(error.code, true);
	wipe_answer(ask);
	ob_fetch_hide_secrets(ask->arg, &error);
	if (error.code != OB_OK)
		retry(ask, class, &error);
	else
		finish(ask, &error);
}

static ObCode
on_prepare(ObHttpRequest *request, ObError *error)
{
	ObAsk *ask = request->arg;

	return ask->prepare(ask, error);
}

void
ob_ask_init(ObAsk *ask, ObHttp *http, void *arg)
{
	memset(ask, 0, sizeof(*ask));
	ob_http_request_init(&ask->request);
	ask->http = http;
	ask->arg = arg;
	ask->request.arg = ask;
	ask->request.prepare = on_prepare;
	ask->request.done = on_answer;
	ask->request.response_max = OB_ANSWER_MAX;
	ask->request.system_ca = true;
}

void
ob_ask_start(ObAsk *ask)
{
	ObError error;

	memset(&ask->retry, 0, sizeof(ask->retry));
	if (start_try(ask, 0))
		return;
	ob_error_clear(&error);
	ob_error_set(&error, OB_ETIMEOUT, "it takes too long");
	finish(ask, &error);
}

void
ob_ask_free(ObAsk *ask)
{
	wipe_answer(ask);
	ob_http_request_free(&ask->request);
}
