/*
 * sweep.h
 *		Removing multipart uploads that nobody will finish.
 *
 * src/pg/sweep.h
 */
#ifndef OB_SWEEP_H
#define OB_SWEEP_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "pg/options.h"
#include "pg/server.h"

typedef struct ObSwept
{
	char *key;       /* UTF-8 */
	char *upload_id; /* ASCII */
	TimestampTz initiated;
} ObSwept;

/*
 * Aborts the unfinished uploads below a prefix that began before a time, with
 * the options' headers on all requests; returns a list of ObSwept, palloc'd.
 * Raises at the first failure; what was aborted until then stays so.
 */
extern List *ob_sweep(const ObServer *server, const char *bucket,
					  const char *prefix, TimestampTz before,
					  const ObOptions *options);

#endif
