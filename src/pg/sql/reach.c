/*
 * reach.c
 *		Whether a server's endpoint answers at all.
 *
 * src/pg/sql/reach.c
 *
 * The request is not signed, so that an unreachable network can be told apart
 * from missing credentials.
 */
#include "postgres.h"

#include "pg/store/client.h"
#include "pg/sql/reach.h"
#include "pg/base/errors.h"
#include "pg/base/wait.h"

#define URL_MAX 4096

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
on_done(ObHttpRequest *request)
{
	((Reach *) request->arg)->done = true;
}

static ObCode
prepare(ObHttpRequest *request, ObError *error)
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
start(const ObServer *server, const char *bucket)
{
	Reach *reach = palloc0(sizeof(Reach));
	ObHttpOptions options;
	ObError error;

	reach->server = server;
	reach->bucket = bucket;
	ob_http_request_init(&reach->request);
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
	reach->request.arg = reach;
	reach->request.prepare = prepare;
	reach->request.done = on_done;
	ob_http_start(reach->http, &reach->request, 0);
	return reach;
}

char *
ob_reach(const ObServer *server, const char *bucket)
{
	Reach *reach = start(server, bucket);
	char region[OB_REGION_MAX + 1];

	while (!reach->done)
		ob_wait(reach->http);
	if (reach->request.error.code != OB_OK)
	{
		char port[16] = "";

		if (server->endpoint.port)
			snprintf(port, sizeof(port), ":%d", server->endpoint.port);
		ob_error_what(&reach->request.error, "could not reach \"%s://%s%s\"",
					  server->endpoint.https ? "https" : "http",
					  server->endpoint.host, port);
		ob_report(&reach->request.error);
	}
	if (!ob_http_response_header(&reach->request, "x-amz-bucket-region",
								 region, sizeof(region)))
		return NULL;
	/* a server's text may hold anything */
	return ob_region_is_valid(region) ? pstrdup(region) : NULL;
}
