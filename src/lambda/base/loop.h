/*
 * loop.h
 *		The one place that waits: HTTP requests and database sockets together.
 *
 * src/lambda/base/loop.h
 *
 * One process, one thread, one poll(2).  Nothing else in the program blocks,
 * except for reads of small files.
 */
#ifndef OBL_LOOP_H
#define OBL_LOOP_H

#include <poll.h>

#include "core/http/http.h"

#define OBL_SOCKETS_MAX 80

typedef struct OblLoop OblLoop;
typedef struct OblSocket OblSocket;

/* A descriptor with a callback; the owner's memory. */
struct OblSocket
{
	int fd;
	short events;    /* POLLIN, POLLOUT; may be changed at any time */
	int64_t wake_at; /* ob_http_now_ms(); -1: never */
	void (*ready)(OblSocket *socket, short revents); /* 0: wake_at has come */
	void *arg;
};

struct OblLoop
{
	ObHttp *http;
	OblSocket *sockets[OBL_SOCKETS_MAX];
	int nsockets;
};

extern bool obl_loop_add(OblLoop *loop, OblSocket *socket);
extern void obl_loop_remove(OblLoop *loop, OblSocket *socket);

/* Waits for an event, at most until until_ms (-1: for ever), and handles all
 * pending events.  Returns false only if waiting itself fails. */
extern bool obl_loop_step(OblLoop *loop, int64_t until_ms, ObError *error);

#endif
