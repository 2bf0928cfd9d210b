/*
 * notify.h
 *		Notifications that an export or a run has ended.
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

/* Writes a line to the server's log. */
extern void ob_notify_log(const ObHistoryRow *row);

/* Notifies listeners.  A standby has none, so there nothing is done. */
extern void ob_notify_table(const ObHistoryRow *row);
extern void ob_notify_run(const ObTotals *totals);

/* Logs the end of a table, writes its row of the history, and notifies
 * listeners. */
extern void ob_notify_end(Oid schema, const ObHistoryRow *row);

/*
 * Reports to the client at DEBUG1, unless this is a background worker: the row
 * that the call returns says the same, and cron mails what psql writes to
 * stderr.  The table is the only one of the run, or NULL for a run of
 * registered tables.
 */
extern void ob_notify_client(const ObTotals *totals,
							 const ObHistoryRow *table);

/* Sends the messages in the server's buffer to the client, as far as that goes
 * without a wait. */
extern void ob_notify_flush(void);

#endif
