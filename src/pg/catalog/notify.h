/*
 * notify.h
 *		Telling others that an export or a run has ended.
 *
 * src/pg/catalog/notify.h
 *
 * The server's log, for auditors, gets a line for each export.  Listeners to
 * the channel "onboard" get a line of JSON for each table and for each run,
 * when the transaction commits that writes it into the history.  Any role
 * that may connect may listen, so that line has nothing that only readers of
 * the history may see: no text of an error, which may quote data.
 */
#ifndef OB_NOTIFY_H
#define OB_NOTIFY_H

#include "pg/catalog/history.h"

/* The log. */
extern void ob_notify_log(const ObHistoryRow *row);

/* Listeners.  Nothing on a standby, which has none. */
extern void ob_notify_table(const ObHistoryRow *row);
extern void ob_notify_run(const ObTotals *totals);

/* Logs the end of a table, writes its row of the history, and notifies
 * listeners. */
extern void ob_notify_end(Oid schema, const ObHistoryRow *row);

/* The client, at DEBUG1, unless this is a background worker: the row that the
 * call returns says the same, and cron mails what psql writes to stderr.  The
 * table is the run's only one, or NULL for a run of registered tables. */
extern void ob_notify_client(const ObTotals *totals,
							 const ObHistoryRow *table);

/* What the client was sent already leaves the server's buffer, as far as it
 * does without waiting. */
extern void ob_notify_flush(void);

#endif
