/*
 * http_request.c
 *		Requests, as their owners see them.
 *
 * src/core/http/http_request.c
 */
#include "core/http/http_intern.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define URL_MAX (16 * 1024)

void
ob_http_request_init(ObHttpRequest *request)
{
	memset(request, 0, sizeof(*request));
	request->response_max = OB_HTTP_HEADERS_MAX;
	ob_buf_init(&request->url, URL_MAX);
	ob_buf_init(&request->response, OB_HTTP_HEADERS_MAX);
	ob_buf_init(&request->headers, OB_HTTP_HEADERS_MAX);
}

void
ob_http_request_free(ObHttpRequest *request)
{
	if (request->transfer)
		ob_transfer_end(request->transfer);
	ob_buf_free(&request->url);
	ob_buf_free(&request->response);
	ob_buf_free(&request->headers);
}

void
ob_http_start(ObHttp *http, ObHttpRequest *request, int64_t delay_ms)
{
	ObTransfer *transfer = calloc(1, sizeof(ObTransfer));
	ObTransfer **link = &http->transfers;

	ob_error_clear(&request->error);
	request->final = false;
	request->status = 0;
	request->sent = false;
	request->unresolved = false;
	if (!transfer)
	{
		ob_error_set(&request->error, OB_ENOMEM, "out of memory");
		request->final = true;
		request->done(request);
		return;
	}
	transfer->http = http;
	transfer->request = request;
	transfer->start_ms = ob_http_now_ms() + delay_ms;
	request->transfer = transfer;
	while (*link)
		link = &(*link)->next;
	*link = transfer;
}

void
ob_http_cancel(ObHttp *http, ObHttpRequest *request)
{
	if (request->transfer)
		ob_transfer_end(request->transfer);
}

bool
ob_http_running(const ObHttpRequest *request)
{
	return request->transfer != NULL;
}

bool
ob_http_sent(const ObHttpRequest *request)
{
	return ob_http_running(request) && request->transfer->easy &&
		   ob_transfer_is_connected(request->transfer);
}

/* The body of a POST is libcurl's from the beginning. */
bool
ob_http_sent_whole(const ObHttpRequest *request)
{
	return ob_http_sent(request) &&
		   (strcmp(request->method, "PUT") != 0 ||
			request->transfer->sent >= request->body_len);
}

bool
ob_http_response_header(const ObHttpRequest *request, const char *name,
						char *value, size_t size)
{
	size_t len = strlen(name);
	const char *line = request->headers.data;

	while (line && *line)
	{
		const char *end = strchr(line, '\n');

		if (strncasecmp(line, name, len) == 0 && line[len] == ':')
		{
			const char *from = line + len + 1;

			while (*from == ' ' || *from == '\t')
				from++;
			ob_error_copy(value, size, from,
						  end ? (size_t) (end - from) : strlen(from));
			return true;
		}
		line = end ? end + 1 : NULL;
	}
	return false;
}
