/*
 * history.h
 *		The table onboard_runs: what was exported, and how it ended.
 *
 * src/pg/history.h
 */
#ifndef OB_HISTORY_H
#define OB_HISTORY_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#define OB_STATUS_DONE "done"
#define OB_STATUS_EMPTY "empty"
#define OB_STATUS_FAILED "failed"

typedef struct ObRun
{
	pg_uuid_t run_id;
	const char *name;
	const char *status;
	const char *uri; /* in the database's encoding; NULL: none */
	int files;
	uint64 rows;
	uint64 bytes;
	TimestampTz started;
	TimestampTz ended;
	const char *error; /* NULL unless failed */
	int sqlstate;
} ObRun;

/*
 * Adds a row in the caller's transaction, as the table's owner.  Where nothing
 * can be written (a standby, a read-only transaction) it is a LOG line.
 */
extern void ob_history_add(Oid schema, const ObRun *run);

#endif
