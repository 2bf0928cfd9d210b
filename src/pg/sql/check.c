/*
 * check.c
 *		The preflight: a row for each thing that an export needs.
 *
 * src/pg/sql/check.c
 *
 * Each item is a step of its own; an error that it raises is its finding, and
 * items that need it are not tried.  A step may also report a fault that does
 * not stop an export; then the others go on.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/base/subtransaction.h"
#include "pg/sql/check.h"
#include "pg/store/client.h"
#include "pg/store/object_headers.h"
#include "pg/base/errors.h"
#include "pg/base/wait.h"
#include "pg/export/export.h"
#include "pg/export/task.h"

/* The {name} of the key for which the check asks: an export of that name would
 * land there. */
#define NAME "onboard_check"

/* A user waits for the result, so requests are retried only briefly. */
#define ATTEMPTS 3

/* S3 refuses requests whose time is further off. */
#define SKEW_MAX_S (15 * 60)

#define URL_MAX 4096

#define NO_ENCRYPTION "ServerSideEncryptionConfigurationNotFoundError"

typedef enum CheckItem
{
	ITEM_SERVER,
	ITEM_BUCKET,
	ITEM_KEY,
	ITEM_ENDPOINT,
	ITEM_CREDENTIALS,
	ITEM_REGION,
	ITEM_CLOCK,
	ITEM_LIST,
	ITEM_READ,
	ITEM_ENCRYPTION,
	ITEM_PUT,
	NITEMS
} CheckItem;

/* The texts of the rows. */
static const char *const item_names[NITEMS] = {
	[ITEM_SERVER] = "server",
	[ITEM_BUCKET] = "bucket",
	[ITEM_KEY] = "key",
	[ITEM_ENDPOINT] = "endpoint",
	[ITEM_CREDENTIALS] = "credentials",
	[ITEM_REGION] = "region",
	[ITEM_CLOCK] = "clock",
	[ITEM_LIST] = "list",
	[ITEM_READ] = "read",
	[ITEM_ENCRYPTION] = "encryption",
	[ITEM_PUT] = "put",
};

typedef struct Check
{
	const char *given_bucket;
	const ObOptions *options;
	const pg_uuid_t *run_id;

	/* set by the items, in their order */
	ObServer *server;
	char *bucket;
	char *key;         /* UTF-8 */
	char *told_region; /* NULL: no response said it */
	MemoryContext requests;
	ObS3 *s3; /* in that context, like the call */
	ObCall *call;
	ObPair common[OB_COMMON_HEADERS_MAX];
	ObError list_error; /* error of the call that tried the credentials */

	/* result of the current item */
	ObVerdict verdict;
	StringInfoData detail;

	/* The item that prevents the check of this one.  An item that has failed
	 * is its own, and prevents others.  NITEMS: none. */
	CheckItem stopped_by[NITEMS];
} Check;

static void say(Check *check, const char *format, ...)
	pg_attribute_printf(2, 3);

static void
say(Check *check, const char *format, ...)
{
	for (;;)
	{
		va_list args;
		int needed;

		va_start(args, format);
		needed = appendStringInfoVA(&check->detail, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&check->detail, needed);
	}
}

static bool
is_stopped(const Check *check, CheckItem item)
{
	return check->stopped_by[item] != NITEMS;
}

static void
raise_if_any(const ObError *error)
{
	if (error->code != OB_OK)
		ob_report(error);
}

/* ---- destination and user ---- */

static void
say_endpoint(Check *check)
{
	const ObEndpoint *endpoint = &check->server->endpoint;

	say(check, "%s://%s", endpoint->https ? "https" : "http", endpoint->host);
	if (endpoint->port > 0)
		say(check, ":%d", endpoint->port);
	say(check, "%s", endpoint->base);
}

static void
check_server(Check *check)
{
	check->server = ob_server_find(check->options->server);
	say(check, "role \"%s\" may use server \"%s\": ",
		GetUserNameFromId(GetUserId(), false), check->server->name);
	say_endpoint(check);
	if (check->server->equal_parts)
		say(check, "; all parts of an upload have one size, so one process "
				   "writes each object");
}

static void
check_bucket(Check *check)
{
	check->bucket = ob_server_bucket(check->server, check->given_bucket);
	say(check,
		"\"%s\", which the server allows; item \"region\" shows whether it "
		"exists",
		check->bucket);
}

static void
check_key(Check *check)
{
	ObExportRequest request = {
		.name = NAME, .run_id = *check->run_id, .when = GetCurrentTimestamp()};

	check->key = ob_task_key(&request, check->options, check->server);
	say(check, "an export named \"" NAME "\" lands at \"s3://%s/%s\"",
		check->bucket, ob_report_text(check->key));
}

typedef struct Reach
{
	const ObServer *server;
	const char *bucket;
	ObHttp *http;
	ObHttpRequest request;
	bool done;
	int descriptors;
	MemoryContextCallback callback;
} Reach;

static void
free_reach(void *arg)
{
	Reach *reach = arg;

	ob_http_request_free(&reach->request);
	ob_http_free(reach->http);
	ob_client_release_descriptors(&reach->descriptors);
}

static void
on_reached(ObHttpRequest *request)
{
	((Reach *) request->arg)->done = true;
}

static ObCode
prepare_reach(ObHttpRequest *request, ObError *error)
{
	const Reach *reach = request->arg;
	const ObServer *server = reach->server;
	ObBuf host;
	ObBuf path;
	ObCode code;

	ob_buf_init(&host, URL_MAX);
	ob_buf_init(&path, URL_MAX);
	ob_uri_target(&server->endpoint, server->addressing, reach->bucket, NULL,
				  &host, &path);
	code = ob_buf_check(&host, error);
	if (code == OB_OK)
		code = ob_buf_check(&path, error);
	if (code == OB_OK)
		ob_buf_addf(&request->url, "%s://%s%s",
					server->endpoint.https ? "https" : "http", host.data,
					path.data);
	ob_buf_free(&host);
	ob_buf_free(&path);
	return code;
}

static Reach *
start_reach(const ObServer *server, const char *bucket)
{
	Reach *reach = palloc0(sizeof(Reach));
	ObHttpOptions options;
	ObError error;

	reach->server = server;
	reach->bucket = bucket;
	ob_http_request_init(&reach->request, prepare_reach, on_reached, reach);
	reach->callback.func = free_reach;
	reach->callback.arg = reach;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &reach->callback);
	ob_client_hold_descriptors(&reach->descriptors, 3);
	ob_client_http_options(server, 1, &options);
	ob_error_clear(&error);
	reach->http = ob_http_new(&options, &error);
	if (!reach->http)
		ob_report(&error);
	reach->request.method = "HEAD";
	ob_http_start(reach->http, &reach->request, 0);
	return reach;
}

/*
 * Sends one request for a bucket, without credentials: it is not signed, so
 * that an unreachable network can be distinguished from missing credentials.
 * Raises unless an HTTP server responds, in whatever way.  Returns the region
 * that the response has for the bucket, palloc'd, or NULL.
 */
static char *
reach(const ObServer *server, const char *bucket)
{
	Reach *state = start_reach(server, bucket);
	char region[OB_REGION_MAX + 1];

	while (!state->done)
		ob_wait(state->http);
	if (state->request.error.code != OB_OK)
	{
		char port[16] = "";

		if (server->endpoint.port)
			snprintf(port, sizeof(port), ":%d", server->endpoint.port);
		ob_error_what(&state->request.error, "could not reach \"%s://%s%s\"",
					  server->endpoint.https ? "https" : "http",
					  server->endpoint.host, port);
		ob_report(&state->request.error);
	}
	if (!ob_http_response_header(&state->request, "x-amz-bucket-region",
								 region, sizeof(region)))
		return NULL;
	/* the response of a server may hold anything */
	return ob_region_is_valid(region) ? pstrdup(region) : NULL;
}

static void
check_endpoint(Check *check)
{
	check->told_region = reach(check->server, check->bucket);
	say_endpoint(check);
	say(check, " answers");
	if (check->server->proxy)
		say(check, ", through %s", check->server->proxy);
}

/* Waits for a call that the function of its verb has started. */
static const ObError *
finish(Check *check)
{
	check->call->core.max_attempts = ATTEMPTS;
	ob_call_wait(check->call);
	return &check->call->core.error;
}

static void
say_expiry(Check *check, int64 expires)
{
	if (expires == 0)
		say(check, "; they do not expire");
	else
		say(check, ", until %s",
			timestamptz_to_str(time_t_to_timestamptz((pg_time_t) expires)));
}

/* Lists uploads, since that response has a document with the reason of a
 * refusal.  The right to list is another item. */
static void
try_credentials(Check *check)
{
	const char *prefix = check->server->prefix;
	ObError error;

	ob_s3_list_uploads(&check->call->core, check->bucket,
					   pg_server_to_any(prefix, strlen(prefix), PG_UTF8), NULL,
					   NULL, false);
	error = check->list_error = *finish(check);
	if (error.code == OB_ECREDS)
	{
		error.what[0] = '\0';
		ob_error_what(&error, "S3 refused the credentials from %s",
					  ob_provider_origin(ob_s3_provider(check->s3)));
	}
	/* there was no response at all */
	if (error.code == OB_ECREDS || error.http_status == 0)
		raise_if_any(&error);
}

static void
check_credentials(Check *check)
{
	const ObProvider *provider;
	MemoryContext before;

	ob_server_fill_keys(check->server);
	before = MemoryContextSwitchTo(check->requests);
	check->s3 = ob_client_new(check->server, check->options->connections);
	check->call =
		ob_call_new(check->s3, check->common,
					ob_headers_common(check->options, check->common));
	check->call->core.no_outage_wait = true;
	MemoryContextSwitchTo(before);
	ob_client_wait_credentials(check->s3, check->server);
	provider = ob_s3_provider(check->s3);
	say(check, "from %s", ob_report_text(ob_provider_origin(provider)));
	say_expiry(check, ob_provider_expires(provider));
	if (!is_stopped(check, ITEM_ENDPOINT))
	{
		try_credentials(check);
		return;
	}
	say(check, "; not tried, because \"%s\" failed",
		item_names[check->stopped_by[ITEM_ENDPOINT]]);
	check->verdict = OB_CHECK_UNKNOWN;
}

/* ---- the bucket ---- */

/* Returns the region from a response that needs no rights, from one that does,
 * or from a redirect. */
static const char *
true_region(Check *check)
{
	char region[OB_REGION_MAX + 1];

	if (ob_http_response_header(&check->call->core.request,
								"x-amz-bucket-region", region,
								sizeof(region)) &&
		ob_region_is_valid(region) &&
		!ob_s3_repeats_secret(&check->call->core, region))
		return pstrdup(region);
	if (check->told_region)
		return check->told_region;
	if (strcmp(ob_s3_region(check->s3), check->server->region) != 0)
		return pstrdup(ob_s3_region(check->s3));
	return NULL;
}

static void
check_region(Check *check)
{
	const char *given = check->server->region;
	const char *region;
	const ObError *error;

	ob_s3_head_bucket(&check->call->core, check->bucket);
	error = finish(check);
	region = true_region(check);
	if (error->http_status == 404)
	{
		ObError missing = *error;

		missing.what[0] = '\0';
		ob_error_what(&missing, "could not find bucket \"%s\"", check->bucket);
		ob_report(&missing);
	}
	if (error->code != OB_OK && error->http_status != 403)
		ob_report(error);
	if (!region)
		say(check, "\"%s\" is what requests are signed for", given);
	else if (strcmp(region, given) == 0)
		say(check, "the bucket is in \"%s\"", region);
	else
	{
		say(check,
			"the bucket is in \"%s\", not in \"%s\": set the server's option "
			"region to it. Until then each session is redirected",
			region, given);
		check->verdict = OB_CHECK_FAILED;
	}
	if (error->code != OB_OK && !region)
	{
		say(check, "; without s3:ListBucket it is unknown whether the bucket "
				   "exists");
		check->verdict = OB_CHECK_UNKNOWN;
	}
}

static void
check_clock(Check *check)
{
	int64 skew;

	if (!check->s3 || !ob_s3_clock_skew(check->s3, &skew))
	{
		say(check, "the endpoint's responses have no time");
		check->verdict = OB_CHECK_UNKNOWN;
		return;
	}
	say(check, "the database server's is " INT64_FORMAT " s %s the endpoint's",
		skew < 0 ? -skew : skew, skew < 0 ? "ahead of" : "behind");
	if (skew > SKEW_MAX_S || skew < -SKEW_MAX_S)
	{
		say(check,
			". S3 allows %d minutes: synchronize it. Until then exports sign "
			"with the time of the endpoint, and warn",
			SKEW_MAX_S / 60);
		check->verdict = OB_CHECK_FAILED;
	}
}

static void
check_list(Check *check)
{
	raise_if_any(&check->list_error);
	say(check, "onboard_abort_uploads() may list unfinished uploads");
}

/* A response that the object does not exist shows as well that reading is
 * allowed. */
static void
check_read(Check *check)
{
	const ObError *error;

	ob_s3_head(&check->call->core, check->bucket, check->key);
	error = finish(check);
	if (error->code != OB_OK && error->http_status == 403)
	{
		say(check, "HEAD of an object is not allowed: s3:GetObject, and "
				   "s3:ListBucket for one that is not there. An export needs "
				   "it to find out how an upload ended whose last answer was "
				   "lost, and, where the store is not AWS, for \"overwrite\": "
				   "\"error\"");
		check->verdict = OB_CHECK_FAILED;
		return;
	}
	if (error->code != OB_OK && error->http_status != 404)
		ob_report(error);
	say(check, "whether an object is there can be found out");
}

/* Ceph RGW 16, for one, lists the bucket instead. */
static void
say_unknown_default(Check *check)
{
	say(check, "the store does not return the bucket's default");
	check->verdict = OB_CHECK_UNKNOWN;
}

static void
say_default_encryption(Check *check)
{
	const ObBuf *document = &check->call->core.request.response;
	ObXmlEncryption found;
	ObError error;

	ob_error_clear(&error);
	if (ob_xml_read_encryption(document->data, document->len, &found,
							   &error) != OB_OK)
	{
		say_unknown_default(check);
		return;
	}
	if (ob_s3_repeats_secret(&check->call->core, found.algorithm) ||
		ob_s3_repeats_secret(&check->call->core, found.kms_key_id))
	{
		say(check, "the bucket's default is not shown, because it repeats a "
				   "secret that was sent to the store");
		check->verdict = OB_CHECK_UNKNOWN;
		return;
	}
	say(check, "the bucket's default is \"%s\"", found.algorithm);
	if (found.kms_key_id[0])
		say(check, " with key \"%s\"", found.kms_key_id);
	if (found.bucket_key)
		say(check, " and a bucket key");
}

static void
check_encryption(Check *check)
{
	const ObError *error;

	ob_s3_get_encryption(&check->call->core, check->bucket);
	error = finish(check);
	if (error->code == OB_OK)
		say_default_encryption(check);
	else if (error->code == OB_EPROTO)
		/* a list that is too long to be the response to this request */
		say_unknown_default(check);
	else if (strcmp(error->s3_code, NO_ENCRYPTION) == 0)
		say(check, "the bucket has no default");
	else if (error->http_status == 403)
	{
		say(check, "the bucket's default is unknown without "
				   "s3:GetEncryptionConfiguration, which exports do not need");
		check->verdict = OB_CHECK_UNKNOWN;
	}
	else if (error->http_status == 405 || error->http_status == 501)
	{
		say(check, "the store does not return the bucket's default");
		check->verdict = OB_CHECK_UNKNOWN;
	}
	else
		ob_report(error);
	if (check->options->sse)
		say(check, "; exports ask for \"%s\"", check->options->sse);
}

static void
check_put(Check *check)
{
	ObExportSpec export = {
		.name = NAME,
		.options = check->options,
		.server = check->server,
		.bucket = check->bucket,
		.key = check->key,
	};

	/* the client becomes that of the upload, with all that it has learnt */
	MemoryContextDelete(check->requests);
	check->requests = NULL;
	ob_export_rehearse(&export);
	say(check, "began and aborted an upload of \"s3://%s/%s\"", check->bucket,
		ob_report_text(check->key));
}

/* ---- the whole check ---- */

#define NEEDS(item) (1u << (item))

static const struct
{
	unsigned needs;
	void (*run)(Check *check);
} items[NITEMS] = {
	[ITEM_SERVER] = {0, check_server},
	[ITEM_BUCKET] = {NEEDS(ITEM_SERVER), check_bucket},
	[ITEM_KEY] = {NEEDS(ITEM_BUCKET), check_key},
	[ITEM_ENDPOINT] = {NEEDS(ITEM_BUCKET), check_endpoint},
	[ITEM_CREDENTIALS] = {NEEDS(ITEM_SERVER), check_credentials},
	[ITEM_REGION] = {NEEDS(ITEM_ENDPOINT) | NEEDS(ITEM_CREDENTIALS),
					 check_region},
	[ITEM_CLOCK] = {NEEDS(ITEM_ENDPOINT), check_clock},
	[ITEM_LIST] = {NEEDS(ITEM_REGION), check_list},
	[ITEM_READ] = {NEEDS(ITEM_REGION) | NEEDS(ITEM_KEY), check_read},
	[ITEM_ENCRYPTION] = {NEEDS(ITEM_REGION), check_encryption},
	[ITEM_PUT] = {NEEDS(ITEM_REGION) | NEEDS(ITEM_KEY), check_put},
};

/* Formats message, detail and hint into one text, since the row is all that
 * the user sees. */
static void
say_failure(Check *check, const ErrorData *error)
{
	resetStringInfo(&check->detail);
	say(check, "%s.", error->message);
	if (error->detail)
		say(check, " %s", error->detail);
	if (error->hint)
		say(check, " %s", error->hint);
	check->verdict = OB_CHECK_FAILED;
}

typedef struct Step
{
	Check *check;
	CheckItem item;
} Step;

static void
run_step(void *arg)
{
	Step *step = arg;

	items[step->item].run(step->check);
}

/* Returns the item that prevents the check of this one, or NITEMS. */
static CheckItem
what_stops(const Check *check, CheckItem item)
{
	for (int i = 0; i < NITEMS; i++)
		if ((items[item].needs & NEEDS(i)) && is_stopped(check, i))
			return check->stopped_by[i];
	return NITEMS;
}

static void
run_item(Check *check, CheckItem item)
{
	Step step = {check, item};
	CheckItem stopped_by = what_stops(check, item);
	ErrorData *error;

	resetStringInfo(&check->detail);
	check->verdict = OB_CHECK_OK;
	check->stopped_by[item] = stopped_by;
	if (stopped_by != NITEMS)
	{
		say(check, "not checked, because \"%s\" failed",
			item_names[stopped_by]);
		check->verdict = OB_CHECK_UNKNOWN;
		return;
	}
	error = ob_attempt(run_step, &step);
	if (error)
	{
		say_failure(check, error);
		check->stopped_by[item] = item;
	}
}

void
ob_check(const char *bucket, Jsonb *options, const pg_uuid_t *run_id,
		 void (*found)(const ObFinding *finding, void *arg), void *arg)
{
	Check check = {.given_bucket = bucket, .run_id = run_id};
	ObOptions *read = ob_options_new();

	if (bucket)
		ob_server_check_bucket(bucket);
	if (options)
		ob_options_read(read, options, OB_OPTIONS_TABLE, "options");
	ob_options_finish(read);
	check.options = read;
	check.requests = AllocSetContextCreate(
		CurrentMemoryContext, "onboard requests", ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&check.detail);
	for (int i = 0; i < NITEMS; i++)
		check.stopped_by[i] = NITEMS;
	for (int i = 0; i < NITEMS; i++)
	{
		ObFinding finding;

		run_item(&check, i);
		finding = (ObFinding){item_names[i], check.verdict, check.detail.data};
		found(&finding, arg);
	}
}
