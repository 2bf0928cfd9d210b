/*
 * run_status.h
 *		The status of a run, from its rows and its process.
 *
 * src/pg/catalog/run_status.h
 *
 * Rows are read with the caller's rights, and with a new snapshot: the first
 * one of a REPEATABLE READ or SERIALIZABLE transaction does not show later
 * ends.  The process is looked up before the rows are read: an open row
 * without a process is lost.
 */
#ifndef OB_RUN_STATUS_H
#define OB_RUN_STATUS_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#define OB_STATUS_LOST "lost"

typedef struct ObRunStatus
{
	const char *status; /* NULL: there is no such run */
	int64 tables;
	int64 done;
	int64 empty;
	int64 failed;
	int64 rows;
	int64 bytes;
	TimestampTz started;
	TimestampTz ended; /* 0: not all tables have ended */
} ObRunStatus;

/*
 * Finds the role whose run of that id is meant: the caller, if it has such a
 * run; else a role that the caller is a member of.  Returns false if there is
 * no such run.  Raises if there are several.
 */
extern bool ob_run_find_role(Oid schema, const pg_uuid_t *run_id, Oid *role);

extern void ob_run_status(Oid schema, const pg_uuid_t *run_id, Oid role,
						  ObRunStatus *status);

/* Whether that is the status of a table that is yet to end. */
extern bool ob_status_is_open(const char *status);

/* Whether an open row is one that no process works on any more. */
extern bool ob_run_is_lost(Oid schema, const pg_uuid_t *run_id, Oid role,
						   const char *name);

#endif
