/*
 * server.h
 *		An HTTP server for tests that does what the test says, and a host.
 *
 * test/core/server.h
 *
 * The server listens on loopback and runs in threads of its own.  Each request
 * takes the first rule that fits it and has not been used up; a rule says what
 * happens.  Without one, the server's own little S3 responds if the test
 *turned it on, else the request counts as unexpected and gets a 599.  All
 *requests are recorded in the order in which their bodies were read.
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
	size_t read; /* act after that many bytes of its body; 0: all of it */
	size_t pace; /* read at most that much each 20 ms; 0: no limit */
	bool store;  /* let the little S3 carry it out first */
	bool flip;   /* damage a byte of the body on its way */

	/* the response; without a status, it is that of the little S3 */
	int status;
	const char *headers; /* lines that end with CRLF, or NULL */
	const char *body;
	size_t body_len; /* 0: strlen(body) */
	size_t cut;
	int delay_ms;
	bool close; /* afterwards */
	bool rude;  /* close at once, though the client may still send */
} ServerRule;

typedef struct ServerRequest
{
	char *method;
	char *target;
	char *head; /* the header lines, each ended by CRLF */
	size_t body_len;
	char *body;
	char sha256[65];
	int connection; /* from 0, in the order of accepting */
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

/* Gives new connections small buffers, as on a slow line. */
extern void server_narrow(Server *server);

/* Appends a rule; its texts are copied. */
extern void server_rule(Server *server, ServerRule rule);

/* Forgets all rules and records, and opens the gate of SERVER_HOLD again. */
extern void server_reset(Server *server);

/* Lets all held requests go on, also those that come later. */
extern void server_release(Server *server);

/* Closes all connections. */
extern void server_disconnect(Server *server);

/* Closes all connections and refuses new ones, until it listens again on the
 * same port. */
extern void server_refuse(Server *server);
extern void server_listen(Server *server);

/* Closes all connections, and new ones as soon as the client says a word, as
 * within a TLS handshake; as many as that, so 0 ends it. */
extern void server_break(Server *server, int connections);

/* Connections accepted so far. */
extern int server_accepted(Server *server);

/* Connections that are open. */
extern int server_connected(Server *server);

/* Requests that nothing fitted. */
extern int server_unexpected(Server *server);

/* Recorded requests; method and target as in rules. */
extern int server_count(Server *server, const char *method,
						const char *target);

/* The nth of them, from 0, NULL if there is none; valid until the next
 * server_reset(). */
extern const ServerRequest *server_request(Server *server, const char *method,
										   const char *target, int n);

/* Copies a header's value, "" if there is none; how many there are. */
extern int server_header(const ServerRequest *request, const char *name,
						 char *value, size_t size);

/* ---- the little S3: one bucket of any name, addressed by path, or through a
 * tunnel by its host; see server_s3.c ---- */

extern void server_s3(Server *server);

/* NULL if there is no such object; valid until it is written again. */
extern const char *server_object(Server *server, const char *key, size_t *len);

/* Unfinished uploads. */
extern int server_uploads(Server *server);

/* ---- the test's side ---- */

/*
 * Drives as a host does until the condition holds, for 10 s at most: then the
 * test fails.  Only the client can make the condition true.
 */
extern void host_drive(ObHttp *http, bool (*condition)(void *arg), void *arg);

/* The same for a condition about the server, which is looked at often. */
extern void host_watch(ObHttp *http, bool (*condition)(void *arg), void *arg);

/* Drives for some milliseconds. */
extern void host_drive_for(ObHttp *http, int ms);

/* Open descriptors of this process. */
extern int host_descriptors(void);

#endif
