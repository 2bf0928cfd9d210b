/*
 * put_object.h
 *		Small objects of our own, beside those that are exported.
 *
 * src/pg/store/put_object.h
 */
#ifndef OB_PUT_OBJECT_H
#define OB_PUT_OBJECT_H

#include "pg/config/options.h"
#include "pg/config/server.h"

/* All pointers are borrowed. */
typedef struct ObSmallObject
{
	const ObServer *server;
	const char *bucket;
	const char *key; /* UTF-8 */
	const char *content_type;
	const char *data;
	size_t len;
	/* options of the requests, the encryption and the ACL */
	const ObOptions *options;
	/* The store has served the run: if it is away, it is waited for. */
	bool served;
} ObSmallObject;

/* Writes the object, or replaces an earlier one.  Raises on failure; answers
 * interrupts. */
extern void ob_put_object(const ObSmallObject *object);

#endif
