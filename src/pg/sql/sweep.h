/*
 * sweep.h
 *		Aborting multipart uploads that no export will complete.
 *
 * src/pg/sql/sweep.h
 */
#ifndef OB_SWEEP_H
#define OB_SWEEP_H

#include "datatype/timestamp.h"

#include "pg/config/options.h"
#include "pg/config/server.h"

typedef struct ObSwept
{
	char *key;       /* UTF-8 */
	char *upload_id; /* ASCII */
	TimestampTz initiated;
} ObSwept;

/*
 * Aborts the unfinished uploads below a prefix that began before a time, with
 * the options' headers on all requests, and calls "swept" for each one; its
 * argument is freed soon after.  Raises at the first failure; uploads that
 * were aborted until then stay aborted.
 */
extern void ob_sweep(const ObServer *server, const char *bucket,
					 const char *prefix, TimestampTz before,
					 const ObOptions *options,
					 void (*swept)(const ObSwept *one, void *arg), void *arg);

#endif
