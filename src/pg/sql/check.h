/*
 * check.h
 *		The preflight: a row for each thing that an export needs.
 *
 * src/pg/sql/check.h
 */
#ifndef OB_CHECK_H
#define OB_CHECK_H

#include "utils/uuid.h"

#include "pg/config/options.h"

typedef enum ObVerdict
{
	OB_CHECK_FAILED,
	OB_CHECK_OK,
	OB_CHECK_UNKNOWN /* it could not be checked, or the store does not say */
} ObVerdict;

typedef struct ObFinding
{
	const char *item;
	ObVerdict verdict;
	const char *detail;
} ObFinding;

/*
 * Checks everything that exports with these options to a bucket (NULL: the
 * server's own) need, and calls "found" for each thing.  Writes no object.
 * Faults of servers, network and store are findings; raises only for wrong
 * arguments.  The caller's memory context should be a temporary one.
 */
extern void ob_check(const char *bucket, Jsonb *options,
					 const pg_uuid_t *run_id,
					 void (*found)(const ObFinding *finding, void *arg),
					 void *arg);

#endif
