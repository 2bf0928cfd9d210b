/*
 * history.h
 *		The table onboard_history: what was exported, and how it ended.
 *
 * src/pg/history.h
 */
#ifndef OB_HISTORY_H
#define OB_HISTORY_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "utils/uuid.h"

#define OB_STATUS_QUEUED "queued"
#define OB_STATUS_RUNNING "running"
#define OB_STATUS_DONE "done"
#define OB_STATUS_EMPTY "empty"
#define OB_STATUS_FAILED "failed"
#define OB_STATUS_WITHHELD "withheld" /* with the run: see publish.h */

typedef struct ObRun
{
	pg_uuid_t run_id;
	const char *name;
	const char *status;
	const char *uri; /* in the database's encoding; NULL: none */
	int files;
	uint64 rows;
	uint64 raw_bytes; /* before compression */
	uint64 bytes;     /* of the object */
	int parts;
	int retries;
	const char *query;
	const char *source; /* NULL: this session */
	TimestampTz started;
	TimestampTz ended; /* 0: not yet */
	XLogRecPtr lsn;    /* of its snapshot; 0: not known */
	const char *error; /* NULL unless failed */
	int sqlstate;
	bool *logged; /* set when its end is in the log; NULL: it is told once */
} ObRun;

/* The current role's name; of one that was dropped meanwhile, what
 * PostgreSQL's views say then: how its export ended is told nonetheless. */
extern const char *ob_history_role(void);

/*
 * Writes a row in the caller's transaction, as the table's owner: that a table
 * has begun, or how it ended, over the row that says that it has begun, if
 * there is one; nothing where nothing can be written (a standby, a read-only
 * transaction).  The end is also told to others: see tell.h.
 */
extern void ob_history_begin(Oid schema, const ObRun *run);
extern void ob_history_end(Oid schema, const ObRun *run);

/* This process is a job, whose transactions are its own: its history is
 * written in those that default_transaction_read_only makes read-only, too. */
extern void ob_history_is_of_job(void);

/* The same, unless the row says that the table has ended. */
extern void ob_history_end_if_open(Oid schema, const ObRun *run);

/* Fills the totals of totals->run_id out of its rows, if it has some. */
struct ObTotals;
extern void ob_history_sum(Oid schema, struct ObTotals *totals);

/* Whether it has rows of that run. */
extern bool ob_history_knows(Oid schema, const pg_uuid_t *run_id);

/*
 * Marks the run as one that this process works on, until its transaction ends,
 * or until the process does: rows that say "queued" or "running" are believed
 * only as long as somebody does; see the view onboard_runs.  False if another
 * process has it.
 */
extern bool ob_history_hold(const pg_uuid_t *run_id);
extern bool ob_history_hold_for_good(const pg_uuid_t *run_id);

/* Whether another process works on it. */
extern bool ob_history_is_held(const pg_uuid_t *run_id);

/* Where a session comes from: its client's address or "local", and its
 * application_name; palloc'd. */
extern char *ob_history_source(void);

#endif
