/*
 * client.h
 *		The core's S3 client, owned by a memory context.
 *
 * src/pg/client.h
 */
#ifndef OB_CLIENT_H
#define OB_CLIENT_H

#include "core/s3.h"
#include "pg/server.h"

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

#endif
