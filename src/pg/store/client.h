/*
 * client.h
 *		The core's S3 client and its calls, owned by a memory context.
 *
 * src/pg/store/client.h
 */
#ifndef OB_CLIENT_H
#define OB_CLIENT_H

#include "core/s3/s3.h"
#include "pg/config/server.h"

/*
 * A client for the server with its credentials, in the current memory context:
 * it is freed, without any network traffic, when that context is reset or
 * deleted.  What uses it must be freed before; a reset callback registered
 * later on the same context runs earlier.  Raises.
 *
 * The session keeps one client, with its connections, for the next call of
 * this function that asks for the same.
 */
extern ObS3 *ob_client_new(const ObServer *server, int connections);

/* Whether it is what that function would make now: keys may be others. */
extern bool ob_client_matches(const ObS3 *s3, const ObServer *server,
							  int connections);

/* What its HTTP needs to know; all borrowed from the server. */
extern void ob_client_http_options(const ObServer *server, int connections,
								   ObHttpOptions *options);

/* Announces descriptors to PostgreSQL's accounting, until n are held; raises
 * if there are too many.  And gives them back. */
extern void ob_client_hold_descriptors(int *held, int n);
extern void ob_client_release_descriptors(int *held);

/*
 * Waits until its credentials are available; raises if it cannot get any.  So
 * an export without credentials fails before its query runs, not after.
 */
extern void ob_client_wait_credentials(ObS3 *s3, const ObServer *server);

/* A WARNING if the store has taught the client another time than ours; once a
 * session and server. */
extern void ob_client_warn_of_clock(const ObS3 *s3, const ObServer *server);

/* ---- single calls ---- */

/* core is to be started by the caller, again and again if he likes. */
typedef struct ObCall
{
	ObS3Call core;
	bool done;
	MemoryContextCallback callback;
} ObCall;

/*
 * Makes a call in the current memory context, in which the client must have
 * been made before; it ends with it.  common is borrowed: headers of each
 * call.
 */
extern ObCall *ob_call_new(ObS3 *s3, const ObPair *common, int ncommon);

/* Waits until what was started is done; its outcome is in core.error.  Answers
 * interrupts, so it may raise. */
extern void ob_call_wait(ObCall *call);

#endif
