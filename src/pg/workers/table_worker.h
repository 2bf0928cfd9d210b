/*
 * table_worker.h
 *		One table, exported by a background worker for a session.
 *
 * src/pg/workers/table_worker.h
 *
 * Three transactions: one commits that it has begun, one exports, and one
 * commits how it ended.  So the history is right, whatever becomes of
 * the session.
 */
#ifndef OB_TABLE_WORKER_H
#define OB_TABLE_WORKER_H

#include "pg/workers/session.h"
#include "pg/export/task.h"

typedef struct ObWorkerExport
{
	const ObSession *session;
	bool snapshot;           /* see what the session saw */
	bool registered;         /* the entry must be there */
	ObExportRequest request; /* with the session's source */
	bool waits;              /* if it lands, ob_work_end() sets the outcome */

	/* the outcome, in this context */
	MemoryContext context;
	ObTableExport task; /* task.row is complete, whatever happened */
	const ErrorData *error;
	bool unwritten; /* the history does not say how it ended */
	/* why the watermark is left as it is, which the server's log says, too;
	 * NULL: it is not, or there is none */
	const char *left;
	bool logged;
} ObWorkerExport;

/* First of all in a background worker: it can be cancelled and terminated. */
extern void ob_work_signals(void);

/* Called in no transaction; raises nothing but on the way to the process's
 * end.  The outcome is in the current memory context. */
extern void ob_work_run(ObWorkerExport *work);

/* The last of the three transactions; ob_work_run() does it for those that do
 * not wait.  A cancel that comes now is too late. */
extern void ob_work_end(ObWorkerExport *work);

/*
 * step(arg) in a transaction of the session's current role, in which it may
 * write; NULL, or why it failed.  It must bear to be tried again: a cancel
 * ends its waits for locks, but then it gets another chance, and the cancel is
 * for what comes next.  No wait for a lock lasts longer than a minute.
 */
extern const ErrorData *ob_work_write(const ObSession *session,
									  void (*step)(void *arg), void *arg);

/* Ends, in PG_CATCH, the transaction that failed; returns the error, logged
 * and copied into context. */
extern ErrorData *ob_work_recover(MemoryContext context);

#endif
