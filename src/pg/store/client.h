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
 * Makes a client for the server, with its credentials, in the current memory
 * context.  It is freed, without any network traffic, when that context is
 * reset or deleted.  Its users must be freed before; a reset callback that is
 * registered later on the same context runs earlier.  Raises.
 *
 * The session keeps one client, with its connections, for the next call of
 * this function with the same arguments.
 */
extern ObS3 *ob_client_new(const ObServer *server, int connections);

/* Whether ob_client_new() would make the same client now, since keys may have
 * changed. */
extern bool ob_client_matches(const ObS3 *s3, const ObServer *server,
							  int connections);

/* Fills the options of the client's HTTP; all borrowed from the server. */
extern void ob_client_http_options(const ObServer *server, int connections,
								   ObHttpOptions *options);

/* Announce descriptors to PostgreSQL's accounting until n are held, raising if
 * there are too many, and give them back. */
extern void ob_client_hold_descriptors(int *held, int n);
extern void ob_client_release_descriptors(int *held);

/* Waits until its credentials are available; raises if it cannot get any.  So
 * an export without credentials fails before its query runs. */
extern void ob_client_wait_credentials(ObS3 *s3, const ObServer *server);

/* Warns, once for each session and server, if the store has corrected the
 * client's clock. */
extern void ob_client_warn_of_clock(const ObS3 *s3, const ObServer *server);

/* ---- single calls ---- */

/* The caller starts core, as often as it likes. */
typedef struct ObCall
{
	ObS3Call core;
	bool done;
	MemoryContextCallback callback;
} ObCall;

/*
 * Makes a call in the current memory context, in which the client must have
 * been made before; the call ends with the context.  common has headers of
 * each call; borrowed.
 */
extern ObCall *ob_call_new(ObS3 *s3, const ObPair *common, int ncommon);

/* Waits until the call that was started is done; its outcome is in core.error.
 * Answers interrupts, so it may raise. */
extern void ob_call_wait(ObCall *call);

#endif
