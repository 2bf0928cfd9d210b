/*
 * server.h
 *		A scripted HTTP server for tests, and a host that drives the client.
 *
 * test/core/server.h
 *
 * The server listens on loopback and runs in threads of its own.  The first
 * rule that matches a request and is not used up determines the response.
 * Without a rule, the server's own little S3 responds if the test has enabled
 * it; otherwise the request counts as unexpected and gets a 599.  All requests
 * are recorded in the order in which their bodies were read.
 *
 * Functions may be called from the test's thread at any time.
 */
#ifndef OB_TEST_SERVER_H
#define OB_TEST_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/http/http.h"

typedef struct Server Server;

typedef enum ServerAct
{
	SERVER_RESPONSE,
	SERVER_RAW,  /* sends "body" as the whole response, then closes */
	SERVER_DROP, /* closes without a response */
	SERVER_CUT,  /* sends the head and "cut" bytes of the body, then closes */
	SERVER_HOLD, /* responds when the test calls server_release() */
	SERVER_HALF  /* sends as SERVER_CUT, and the rest after server_release() */
} ServerAct;

typedef struct ServerRule
{
	const char *method; /* NULL: any */
	const char *target; /* a part of path and query; NULL: any */
	int times;          /* 0: as often as it fits */
	ServerAct act;

	/* the request */
	size_t read; /* act after this many bytes of its body; 0: all of it */
	size_t pace; /* read at most this much each 20 ms; 0: no limit */
	bool store;  /* let the little S3 process it first */
	bool flip;   /* damage a byte of the body */

	/* the response; if the status is 0, it is that of the little S3 */
	int status;
	const char *headers; /* lines that end with CRLF, or NULL */
	const char *body;
	size_t body_len; /* 0: strlen(body) */
	size_t cut;
	int delay_ms;
	bool close; /* close the connection afterwards */
	bool rude;  /* close at once, even if the client is still sending */
} ServerRule;

typedef struct ServerRequest
{
	char *method;
	char *target;
	char *head; /* the header lines, each ended by CRLF */
	size_t body_len;
	char *body;
	char sha256[65];
	int connection; /* numbered from 0, in the order of accepting */
	bool tls;
	char tunnel[256]; /* "host:port" that a proxy's client requested,
					   * or "" */
} ServerRequest;

extern Server *server_new(void);

/* Closes all connections and waits for the threads; NULL is allowed. */
extern void server_free(Server *server);

extern int server_port(const Server *server);

/*
 * Called before the first connection: speaks TLS with clients that begin with
 * it, as 127.0.0.1, localhost and some of AWS's hosts, and is a proxy that
 * opens tunnels, all of which end here.  The file has the certificate to
 * trust.
 */
extern void server_tls(Server *server);
extern const char *server_ca(const Server *server);

/* Gives new connections small buffers, as on a slow network. */
extern void server_narrow(Server *server);

/* Appends a rule; its texts are copied. */
extern void server_rule(Server *server, ServerRule rule);

/* Removes all rules and records, and makes SERVER_HOLD hold requests again. */
extern void server_reset(Server *server);

/* Releases all held requests, and those that would be held later. */
extern void server_release(Server *server);

/* Closes all connections. */
extern void server_disconnect(Server *server);

/* Closes all connections and refuses new ones, until server_listen(), which
 * uses the same port. */
extern void server_refuse(Server *server);
extern void server_listen(Server *server);

/* Closes all connections, and this many new ones as soon as the client has
 * sent a byte, as during a TLS handshake; 0 ends that. */
extern void server_break(Server *server, int connections);

/* Connections accepted so far. */
extern int server_accepted(Server *server);

/* Connections that are open. */
extern int server_connected(Server *server);

/* Requests for which there was no rule. */
extern int server_unexpected(Server *server);

/* The number of recorded requests; method and target as in rules. */
extern int server_count(Server *server, const char *method,
						const char *target);

/* The nth of them, from 0, or NULL if there is none; valid until the next
 * server_reset(). */
extern const ServerRequest *server_request(Server *server, const char *method,
										   const char *target, int n);

/* Copies a header's value, "" if there is none; returns the number of such
 * headers. */
extern int server_header(const ServerRequest *request, const char *name,
						 char *value, size_t size);

/* ---- the little S3: one bucket of any name, addressed by path, or through a
 * tunnel by its host; see server_s3.c ---- */

extern void server_s3(Server *server);

/* Returns NULL if there is no such object; valid until it is written again. */
extern const char *server_object(Server *server, const char *key, size_t *len);

/* The number of pending uploads. */
extern int server_uploads(Server *server);

/* ---- the host, for tests ---- */

/*
 * Drives as a host does until the condition holds, for 10 s at most: then the
 * test fails.  Only the client's progress may make the condition true.
 */
extern void host_drive(ObHttp *http, bool (*condition)(void *arg), void *arg);

/* The same for a condition about the server, which is checked often. */
extern void host_watch(ObHttp *http, bool (*condition)(void *arg), void *arg);

/* Drives for this many milliseconds. */
extern void host_drive_for(ObHttp *http, int ms);

/* The number of open descriptors of this process. */
extern int host_descriptors(void);

#endif
