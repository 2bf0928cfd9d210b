/*
 * http_bytes.c
 *		What goes out and comes in.
 *
 * src/core/http/http_bytes.c
 *
 * libcurl calls this, so it only copies bytes and sets flags.
 */
#include "core/http/http_intern.h"

#include <string.h>

/* Of all heads of an answer: there may be any number of 100 Continue.  (Some
 * releases of libcurl have a limit of 300 KiB, and say that receiving failed.)
 */
#define HEADS_MAX ((size_t) 256 * 1024)

size_t
ob_transfer_read(char *to, size_t size, size_t n, void *arg)
{
	ObTransfer *transfer = arg;
	const ObHttpRequest *request = transfer->request;
	size_t left = request->body_len - transfer->sent;
	size_t take = size * n < left ? size * n : left;

	if (take > 0)
		memcpy(to, request->body + transfer->sent, take);
	transfer->sent += take;
	return take;
}

size_t
ob_transfer_write(char *data, size_t size, size_t n, void *arg)
{
	ObTransfer *transfer = arg;

	transfer->progress_at = transfer->http->pumped_ms;
	ob_buf_add(&transfer->request->response, data, size * n);
	if (!transfer->request->response.failed)
		return size * n;
	if (transfer->request->response.full)
		transfer->overflow = transfer->request->response_max;
	return 0;
}

size_t
ob_transfer_header(char *line, size_t size, size_t n, void *arg)
{
	ObTransfer *transfer = arg;
	ObBuf *headers = &transfer->request->headers;
	size_t len = size * n;

	transfer->progress_at = transfer->http->pumped_ms;
	/* a status line begins the next answer: after 100 Continue, say */
	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)
	{
		ob_buf_reset(headers);
		transfer->headed = false;
	}
	transfer->head_bytes += len;
	while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == '\n'))
		len--;
	ob_buf_add(headers, line, len);
	if (len == 0)
		transfer->headed = true;
	ob_buf_addc(headers, '\n');
	if (headers->full)
		transfer->overflow = OB_HTTP_HEADERS_MAX;
	else if (transfer->head_bytes > HEADS_MAX)
		transfer->overflow = HEADS_MAX;
	else if (!headers->failed)
		return size * n;
	return 0;
}
