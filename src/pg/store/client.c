/*
 * client.c
 *		The core's S3 client and its calls, owned by a memory context.
 *
 * src/pg/store/client.c
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#include "pg/store/client.h"
#include "pg/config/options.h"
#include "pg/base/errors.h"
#include "pg/base/wait.h"

typedef struct Client
{
	ObS3 *s3;
	int descriptors; /* number of those announced to PostgreSQL's accounting */
	MemoryContextCallback callback;
} Client;

/* The client that the session keeps. */
static ObS3 *kept_s3 = NULL;
static int kept_descriptors = 0;

/* OIDs of servers about whose clock the session was warned. */
static List *warned_of = NIL;

void
ob_client_hold_descriptors(int *held, int n)
{
	while (*held < n)
	{
		if (!AcquireExternalFD())
			ereport(
				ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("too many open files for %d connections to S3", n - 2),
				 errhint("Use fewer connections, or raise "
						 "max_files_per_process.")));
		(*held)++;
	}
}

void
ob_client_release_descriptors(int *held)
{
	for (; *held > 0; (*held)--)
		ReleaseExternalFD();
}

static void
drop_kept(void)
{
	ob_s3_free(kept_s3);
	kept_s3 = NULL;
	ob_client_release_descriptors(&kept_descriptors);
}

/* Keeps the client, which is idle, instead of the one kept before. */
static void
free_client(void *arg)
{
	Client *client = arg;

	if (client->s3)
	{
		drop_kept();
		kept_s3 = client->s3;
		kept_descriptors = client->descriptors;
		client->descriptors = 0;
	}
	else
		ob_client_release_descriptors(&client->descriptors);
	client->s3 = NULL;
}

void
ob_client_http_options(const ObServer *server, int connections,
					   ObHttpOptions *options)
{
	*options = (ObHttpOptions){
		.user_agent = "onboard/" ONBOARD_VERSION " PostgreSQL/" PG_VERSION,
		.ca_file = server->ca_file,
		.proxy = server->proxy,
		.connect_timeout_ms = onboard_connect_timeout,
		.stall_timeout_ms = onboard_stall_timeout,
		.max_connections = connections,
	};
}

static void
fill_options(const ObServer *server, int connections, ObS3Options *options)
{
	*options = (ObS3Options){
		.endpoint = server->endpoint,
		.addressing = server->addressing,
		.region = server->region,
		.credentials = server->credentials,
		.retry_deadline_ms = onboard_retry_deadline,
		.content_md5 = server->content_md5,
	};
	/* one more, since Create and Abort run beside the parts */
	ob_client_http_options(server, connections + 1, &options->http);
}

bool
ob_client_matches(const ObS3 *s3, const ObServer *server, int connections)
{
	ObS3Options options;

	fill_options(server, connections, &options);
	return ob_s3_matches(s3, &options);
}

ObS3 *
ob_client_new(const ObServer *server, int connections)
{
	Client *client = palloc0(sizeof(Client));
	ObS3Options options;
	ObError error;

	fill_options(server, connections, &options);
	client->callback.func = free_client;
	client->callback.arg = client;
	MemoryContextRegisterResetCallback(CurrentMemoryContext,
									   &client->callback);
	if (kept_s3 && ob_s3_matches(kept_s3, &options))
	{
		client->s3 = kept_s3;
		client->descriptors = kept_descriptors;
		kept_s3 = NULL;
		kept_descriptors = 0;
		ob_s3_reset(client->s3);
		return client->s3;
	}
	drop_kept();
	/* the epoll set, and a socket for each connection */
	ob_client_hold_descriptors(&client->descriptors, connections + 2);
	ob_error_clear(&error);
	client->s3 = ob_s3_new(&options, &error);
	if (!client->s3)
		ob_report(&error);
	return client->s3;
}

void
ob_client_wait_credentials(ObS3 *s3, const ObServer *server)
{
	ObProvider *provider = ob_s3_provider(s3);

	for (;;)
	{
		ObError error;

		ob_error_clear(&error);
		switch (ob_provider_poll(provider, &error))
		{
			case OB_PROVIDER_READY:
				return;
			case OB_PROVIDER_BUSY:
				ob_wait(ob_s3_http(s3));
				break;
			case OB_PROVIDER_FAILED:
				ob_error_what(&error,
							  "could not get credentials for server \"%s\"",
							  server->name);
				ob_report(&error);
		}
	}
}

void
ob_client_warn_of_clock(const ObS3 *s3, const ObServer *server)
{
	int64 offset = ob_s3_clock_offset(s3);
	MemoryContext before;

	if (offset == 0 || list_member_oid(warned_of, server->serverid))
		return;
	before = MemoryContextSwitchTo(TopMemoryContext);
	warned_of = lappend_oid(warned_of, server->serverid);
	MemoryContextSwitchTo(before);
	ereport(WARNING,
			(errmsg("the clock of the database server is " INT64_FORMAT
					" seconds %s that of \"%s\"",
					offset > 0 ? offset : -offset,
					offset > 0 ? "behind" : "ahead of",
					ob_report_client_text(server->name)),
			 errdetail("Requests are signed with the time of S3."),
			 errhint("Synchronize the clock of the database server: S3 allows "
					 "a difference of 15 minutes.")));
}

/* ---- single calls ---- */

static void
free_call(void *arg)
{
	ob_s3_call_free(&((ObCall *) arg)->core);
}

static void
on_done(ObS3Call *core)
{
	((ObCall *) core->arg)->done = true;
}

ObCall *
ob_call_new(ObS3 *s3, const ObPair *common, int ncommon)
{
	ObCall *call = palloc0(sizeof(ObCall));

	ob_s3_call_init(&call->core, s3, on_done, call);
	call->core.common = common;
	call->core.ncommon = ncommon;
	/* registered after the client's, so it runs before it */
	call->callback.func = free_call;
	call->callback.arg = call;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &call->callback);
	return call;
}

void
ob_call_wait(ObCall *call)
{
	while (!call->done)
		ob_wait(ob_s3_http(call->core.s3));
	call->done = false;
}
