/*
 * reach.h
 *		Whether a server's endpoint answers at all.
 *
 * src/pg/sql/reach.h
 */
#ifndef OB_REACH_H
#define OB_REACH_H

#include "pg/config/server.h"

/*
 * Asks for a bucket, without credentials, once.  Raises unless an HTTP server
 * answers, whatever it says.  Returns the region in which it says that the
 * bucket is, palloc'd, or NULL if it does not.
 */
extern char *ob_reach(const ObServer *server, const char *bucket);

#endif
