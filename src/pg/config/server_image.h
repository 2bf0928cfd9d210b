/*
 * server_image.h
 *		A server as a run's leader has read it, for the workers of the run.
 *
 * src/pg/config/server_image.h
 *
 * One run has one destination, whatever ALTER SERVER does meanwhile.  Keys of
 * the user mapping are no part of it: those may change at any time.
 */
#ifndef OB_SERVER_IMAGE_H
#define OB_SERVER_IMAGE_H

#include "pg/config/server.h"

/* Fit for shared memory; no pointers. */
typedef struct ObServerImage
{
	Oid serverid;
	int n;                             /* options */
	char texts[FLEXIBLE_ARRAY_MEMBER]; /* the name, then each option's name and
										* value, all with their NUL */
} ObServerImage;

extern Size ob_server_image_size(const ObServer *server);
extern void ob_server_image_save(const ObServer *server, ObServerImage *image);

/* As ob_server_get(), but its options are the image's. */
extern ObServer *ob_server_image_get(const ObServerImage *image);

#endif
