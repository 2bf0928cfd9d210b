/*
 * notify.h
 *		Telling others that an export or a run has ended.
 *
 * src/pg/catalog/notify.h
 *
 * The server's log, for auditors, gets a line for each export.  Listeners to
 * the channel "onboard" get a line of JSON for each table and for each run,
 * when the transaction commits that writes it into the history.  Whoever may
 * connect may listen, so that line has nothing that only the history's readers
 * may see: no text of an error, which may quote data.
 */
#ifndef OB_TELL_H
#define OB_TELL_H

#include "pg/catalog/history.h"

/* Of a run. */
typedef struct ObTotals
{
	pg_uuid_t run_id;
	int64 tables;
	int64 done;
	int64 empty;
	int64 failed;
	bool run_failed; /* whatever its tables did */
	int64 files;
	uint64 rows;
	uint64 raw_bytes;
	uint64 bytes;
	TimestampTz started;
	TimestampTz ended;
} ObTotals;

/* Adds a table that has ended. */
extern void ob_totals_add(ObTotals *totals, const ObRun *run);

/* The log. */
extern void ob_tell_log(const ObRun *run);

/* Listeners.  Nothing on a standby, which has none. */
extern void ob_tell_table(const ObRun *run);
extern void ob_tell_run(const ObTotals *totals);

/* The client, at DEBUG1, unless this is a background worker: the row that the
 * call returns says the same, and cron mails what psql writes to stderr.  The
 * table is the run's only one, or NULL for a run of registered tables. */
extern void ob_tell_client(const ObTotals *totals, const ObRun *table);

/* What the client was sent already leaves the server's buffer, as far as it
 * does without waiting. */
extern void ob_tell_flush(void);

#endif
