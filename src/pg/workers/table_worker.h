/*
 * table_worker.h
 *		One table, exported by a background worker for a session.
 *
 * src/pg/workers/table_worker.h
 *
 * There are three transactions: the first commits that the table has begun,
 * the second exports it, and the third commits the outcome.  So the history is
 * right even if the session ends.
 */
#ifndef OB_TABLE_WORKER_H
#define OB_TABLE_WORKER_H

#include "pg/workers/session.h"
#include "pg/export/task.h"

typedef struct ObWorkerExport
{
	const ObSession *session;
	bool snapshot;           /* the session's snapshot is used */
	bool registered;         /* the registered table must exist */
	ObExportRequest request; /* has the source of the session */
	bool waits; /* if the export lands, ob_work_end() sets the outcome */

	/* the outcome, in this context */
	MemoryContext context;
	ObTableExport task; /* task.row is complete in any case */
	const ErrorData *error;
	bool unwritten; /* the history lacks the outcome */
	/* why the watermark was left as it was, which the server's log says, too;
	 * NULL: it was not, or there is none */
	const char *left;
	bool logged;
} ObWorkerExport;

/* Lets a background worker be cancelled and terminated; called before anything
 * else. */
extern void ob_work_signals(void);

/* Runs the export; called outside of a transaction.  Raises only on the way to
 * the process's end.  The outcome is in the current memory context. */
extern void ob_work_run(ObWorkerExport *work);

/* Runs the last of the three transactions.  ob_work_run() does so itself for
 * exports that do not wait.  A cancel that comes now is too late. */
extern void ob_work_end(ObWorkerExport *work);

/*
 * Calls step(arg) in a transaction of the session's current role, in which it
 * may write.  Returns NULL, or why it failed.  The step may be called twice: a
 * cancel ends its waits for locks, but then it gets another chance, and the
 * cancel is for what comes next.  No wait for a lock lasts longer than a
 * minute.
 */
extern const ErrorData *ob_work_write(const ObSession *session,
									  void (*step)(void *arg), void *arg);

/* Aborts, in PG_CATCH, the transaction that failed.  Returns the error, logged
 * and copied into context. */
extern ErrorData *ob_work_recover(MemoryContext context);

#endif
