/*
 * http_intern.h
 *		What the http*.c files have in common.
 *
 * src/core/http/http_intern.h
 *
 *	   http.c          libcurl: its handles and callbacks, driving it
 *	   http_request.c  requests, as their owners see them
 *	   http_bytes.c    what goes out and comes in
 *	   http_time.c     when transfers start, and when they take too long
 *	   http_address.c  addresses where metadata services are
 *
 * Only http.c knows libcurl, so its handles are void pointers here.
 */
#ifndef OB_HTTP_INTERN_H
#define OB_HTTP_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/http/http.h"

#define OB_HTTP_HEADERS_MAX (64 * 1024)
/* A gap between two drives counts at most this much towards a time-out. */
#define OB_HTTP_PUMP_GAP_MS 250
#define OB_HTTP_TEXT_SIZE 256 /* CURL_ERROR_SIZE */

typedef struct ObTransfer ObTransfer;

/* Our side of a request, from ob_http_start() until its end. */
struct ObTransfer
{
	ObTransfer *next;
	ObHttp *http;
	ObHttpRequest *request;
	void *easy; /* libcurl's handle; NULL until started */
	struct curl_slist *headers;
	int64_t start_ms;    /* when to start */
	int64_t begun_at;    /* of the pump clock */
	int64_t progress_at; /* likewise, when a byte last moved */
	long connect_ms;     /* libcurl's time-out */
	size_t sent;         /* given to libcurl */
	int64_t uploaded;    /* of them, given to the network */
	size_t overflow;     /* the answer is longer than that; 0: it is not */
	size_t head_bytes;   /* of all heads of the answer */
	bool headed;         /* the head is whole */
	bool refused;        /* an address was, as link-local */
	char text[OB_HTTP_TEXT_SIZE]; /* libcurl's, of an error */
};

struct ObHttp
{
	void *multi; /* libcurl's */
	int epoll;
	int64_t timer_at; /* curl's deadline, -1: none */
	int64_t driven_at;
	int64_t pumped_ms; /* the pump clock: time in which the host drove */
	ObTransfer *transfers;
	void **idle; /* easy handles to reuse */
	int nidle;
	int max_connections;
	int connect_timeout_ms;
	int stall_timeout_ms;
	char *user_agent;
	char *ca_file;
	char *proxy;
};

/* ---- http.c ---- */

/* Takes the transfer away from libcurl and from its request, and frees it. */
extern void ob_transfer_end(ObTransfer *transfer);

/* The same, and tells the request's owner. */
extern void ob_transfer_finish(ObTransfer *transfer);

/* Hands it to libcurl; it may end at once. */
extern void ob_transfer_begin(ObTransfer *transfer);

/* Whether the request could be written, so that the server may have it. */
extern bool ob_transfer_is_connected(const ObTransfer *transfer);

/* Sets "progress_at" if something of the body has gone out. */
extern void ob_transfer_note_upload(ObTransfer *transfer);

/* ---- http_bytes.c: what libcurl calls; "arg" is the transfer ---- */

extern size_t ob_transfer_read(char *to, size_t size, size_t n, void *arg);
extern size_t ob_transfer_write(char *data, size_t size, size_t n, void *arg);
extern size_t ob_transfer_header(char *line, size_t size, size_t n, void *arg);

/* ---- http_time.c ---- */

extern int ob_transfer_connect_timeout(const ObTransfer *transfer);

/* Begins the transfers whose time has come. */
extern void ob_http_start_due(ObHttp *http, int64_t now);

/* Ends those that take too long. */
extern void ob_http_fail_overdue(ObHttp *http);

/* ---- http_address.c ---- */

struct sockaddr;

/* Whether it is link-local, or another of a metadata service. */
extern bool ob_address_is_link_local(const struct sockaddr *address);

/* The same of a URL's host, as far as that needs no resolver: for those that a
 * proxy connects to. */
extern bool ob_url_is_link_local(const char *url);

#endif
