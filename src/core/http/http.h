/*
 * http.h
 *		Asynchronous HTTP requests over libcurl, behind one file descriptor.
 *
 * src/core/http/http.h
 *
 * The host owns the wait.  It watches ob_http_fd() for readability for at most
 * ob_http_timeout_ms() milliseconds and then calls ob_http_drive(), which
 * never blocks; a busy host may also just call ob_http_drive() now and then.
 * All callbacks of requests run inside ob_http_drive(), and outside of
 * libcurl, so they may start and cancel requests; "receive" is the only
 * exception.
 *
 * libcurl resolves names in a thread of its own.  Signals are blocked around
 * each call into it, so that such a thread inherits a full signal mask and
 * never runs a handler of the host's.
 */
#ifndef OB_HTTP_H
#define OB_HTTP_H

#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/error.h"

typedef struct ObHttp ObHttp;
typedef struct ObHttpRequest ObHttpRequest;

typedef struct ObHttpOptions
{
	const char *user_agent;
	const char *ca_file; /* PEM bundle; NULL: the system's */
	const char *proxy;   /* http[s]://host[:port]; NULL: none.  The
						  * environment is ignored */
	int connect_timeout_ms;
	int stall_timeout_ms; /* see ObHttpRequest.stall_timeout_ms */
	int max_connections;
} ObHttpOptions;

/*
 * The owner's memory, which must stay in place from ob_http_start() until
 * "done" is called or ob_http_cancel() returns.  Initialise it with
 * ob_http_request_init() and dispose of it with ob_http_request_free().
 */
struct ObHttpRequest
{
	/* set by ob_http_request_init() */

	/*
	 * Called right before each start, even a delayed one: sets "url" and adds
	 * headers, both empty at that time.  If it fails, the request is done with
	 * that error.
	 */
	ObCode (*prepare)(ObHttpRequest *request, ObError *error);

	/* Called once per start, unless cancelled. */
	void (*done)(ObHttpRequest *request);
	void *arg;

	/* set by the owner before ob_http_start() */
	const char *method; /* GET HEAD PUT POST DELETE; static */
	const char *body;   /* borrowed; may be NULL */
	size_t body_len;
	size_t response_max; /* a longer response is OB_EPROTO */
	/* Called with the bytes of a response of status 2xx, which are then not
	 * kept; more than receive_max of them are OB_EPROTO.  NULL: they are kept
	 * in "response".  It is the only callback that runs inside of libcurl, so
	 * it may only compute. */
	void (*receive)(ObHttpRequest *request, const char *data, size_t len);
	uint64_t receive_max;
	int stall_timeout_ms; /* the longest time without a byte sent or received;
						   * 0: default.  Only time in which the host drives
						   * counts, so a query that computes for a minute does
						   * no harm */
	int connect_timeout_ms; /* 0: default */
	int timeout_ms;         /* from the start to the end, on the same
							 * clock; 0: none */
	bool direct;            /* not through the proxy */
	bool fresh;             /* on a new connection */
	bool link_local;        /* the request may go to metadata services on the
							 * machine's own network, which is otherwise OB_EINVAL;
							 * the connection is not reused */
	bool system_ca;         /* ca_file is not used, since the server
							 * is not the store */

	/* set by prepare */
	ObBuf url;

	/* the outcome, for "done" */
	ObError error;   /* OB_OK if an HTTP response came,
					  * whatever its status */
	bool final;      /* the error is not worth a retry */
	int status;      /* 0: none */
	bool sent;       /* a part of the request went out */
	bool truncated;  /* the status is a refusal, and its response not whole */
	bool unresolved; /* the name of the host (or proxy) is not known */
	ObBuf response;  /* the body */
	ObBuf headers;   /* "Name: value\n" of the final response */

	struct ObTransfer *transfer; /* private */
};

/* Copies the options; NULL on error. */
extern ObHttp *ob_http_new(const ObHttpOptions *options, ObError *error);

/* Cancels all requests; NULL is allowed. */
extern void ob_http_free(ObHttp *http);

extern int ob_http_fd(const ObHttp *http);

/* How long the host may wait, in ms; -1: until the fd is readable. */
extern int ob_http_timeout_ms(const ObHttp *http);

/* Makes all progress that is possible without waiting.  Fails with OB_ENOMEM
 * or OB_EIO only if libcurl or epoll itself fails. */
extern ObCode ob_http_drive(ObHttp *http, ObError *error) OB_MUST_CHECK;

extern void ob_http_request_init(ObHttpRequest *request,
								 ObCode (*prepare)(ObHttpRequest *request,
												   ObError *error),
								 void (*done)(ObHttpRequest *request),
								 void *arg);
extern void ob_http_request_free(ObHttpRequest *request);

/* Adds a header line; only prepare may call it.  A value of "" is sent as
 * such; NULL removes a header that libcurl adds by itself.  A line break in
 * either is OB_EINVAL, since it would begin another header. */
extern ObCode ob_http_header(ObHttpRequest *request, const char *name,
							 const char *value, ObError *error) OB_MUST_CHECK;

/* Starts the request after delay_ms.  All failures are reported by "done". */
extern void ob_http_start(ObHttp *http, ObHttpRequest *request,
						  int64_t delay_ms);

/* Forgets the request, running, delayed or not; "done" is not called. */
extern void ob_http_cancel(ObHttp *http, ObHttpRequest *request);

/* Returns whether the request was started and is not done yet. */
extern bool ob_http_running(const ObHttpRequest *request);

/* Returns whether the server may have seen any of the current try: false
 * during the delay and the connect. */
extern bool ob_http_sent(const ObHttpRequest *request);

/* Returns whether the server may have received the whole request. */
extern bool ob_http_sent_whole(const ObHttpRequest *request);

/* Copies the value of a response's header, cut to size; false if there is
 * none. */
extern bool ob_http_response_header(const ObHttpRequest *request,
									const char *name, char *value,
									size_t size);

/* Milliseconds of a monotonic clock. */
extern int64_t ob_http_now_ms(void);

/* Milliseconds in which the host drove, the clock of the requests'
 * time-outs. */
extern int64_t ob_http_clock_ms(const ObHttp *http);

/* Returns whether the host of a URL is an address of a metadata service, as
 * far as can be seen without resolving names.  A proxy connects to addresses
 * that we do not see, so this checks the URLs of requests through a proxy. */
extern bool ob_url_is_link_local(const char *url);

#endif
