/*
 * table_worker.c
 *		One table, exported by a background worker for a session.
 *
 * src/pg/workers/table_worker.c
 *
 * Errors are caught here because there is no caller above, as in the main loop
 * of postgres.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "pg/base/subtransaction.h"
#include "pg/catalog/notify.h"
#include "pg/base/wait.h"
#include "pg/workers/table_worker.h"

/* The time for which writers of the history wait for a lock: the maximum, and
 * that after a cancel of this process. */
#define LOCK_MS 60000
#define INTERRUPTED_LOCK_MS 1000

static bool interrupted;

void
ob_work_signals(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, StatementCancelHandler);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
}

ErrorData *
ob_work_recover(MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	interrupted = interrupted || ob_attempt_interrupted(error);
	EmitErrorReport();
	FlushErrorState();
	ob_session_abort();
	MemoryContextSwitchTo(context);
	return error;
}

/* ---- the history ---- */

/* Bounds the waits for locks until the transaction ends; a stricter bound of
 * the caller stays. */
static void
bound_lock_waits(int ms)
{
	if (LockTimeout > 0 && LockTimeout <= ms)
		return;
	(void) set_config_option("lock_timeout", psprintf("%d", ms), PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

static ErrorData *
write_once(const ObSession *session, void (*step)(void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		ob_session_begin_for_history(session);
		bound_lock_waits(interrupted ? INTERRUPTED_LOCK_MS : LOCK_MS);
		step(arg);
		ob_session_commit();
	}
	PG_CATCH();
	{
		error = ob_work_recover(context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return error;
}

/* Handles SIGINT by answering lock_timeout only.  A wait that lock_timeout
 * ends gets that signal, too, so cancels cannot be held back by blocking it.
 */
static void
time_out_only(SIGNAL_ARGS)
{
	int kept = errno;

	if (!get_timeout_indicator(LOCK_TIMEOUT, false))
		return;
	InterruptPending = true;
	QueryCancelPending = true;
	ob_wait_wake(MyProc);
	/* a signal handler must restore errno itself before PostgreSQL 17 */
	errno = kept;
}

const ErrorData *
ob_work_write(const ObSession *session, void (*step)(void *arg), void *arg)
{
	const ErrorData *error = write_once(session, step, arg);

	if (!error || !ob_attempt_interrupted(error))
		return error;
	pqsignal(SIGINT, time_out_only);
	QueryCancelPending = false;
	error = write_once(session, step, arg);
	pqsignal(SIGINT, StatementCancelHandler);
	QueryCancelPending = true;
	InterruptPending = true;
	return error;
}

static void
write_begin(void *arg)
{
	const ObWorkerExport *work = arg;

	ob_history_write(work->request.schema, &work->task.row);
}

static void
write_end(void *arg)
{
	ObWorkerExport *work = arg;
	ObTotals totals = {0};
	const char *left = ob_task_end(work->request.schema, &work->task);

	work->left = left ? MemoryContextStrdup(work->context, left) : NULL;
	ob_totals_add(&totals, &work->task.row);
	/* it is the only table of the run */
	if (work->request.options_for == OB_OPTIONS_TABLE)
		ob_notify_run(&totals);
}

/* Copies the results of ob_task_run() that are in the transaction's memory and
 * needed later. */
static void
keep(ObWorkerExport *work, MemoryContext context)
{
	MemoryContext before = MemoryContextSwitchTo(context);

	if (work->task.watermark)
		work->task.watermark = ob_watermark_copy(work->task.watermark);
	if (work->task.details)
		work->task.details = pstrdup(work->task.details);
	if (work->task.row.objects)
		work->task.row.objects = pstrdup(work->task.row.objects);
	MemoryContextSwitchTo(before);
}

static void
export_table(ObWorkerExport *work, MemoryContext context)
{
	ObExportRequest *request = &work->request;
	MemoryContext transaction;

	if (work->snapshot)
		ob_session_begin_with_snapshot(work->session);
	else
		ob_session_begin(work->session);
	transaction = CurrentMemoryContext;
	/* The end of the export is written after this transaction, even if the
	 * preparation fails halfway. */
	MemoryContextSwitchTo(context);
	ob_task_recall(request, &work->task);
	request->entry = ob_registry_find(work->request.schema, request->name);
	if (work->registered && !request->entry)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("\"%s\" is not registered any more", request->name)));
	ob_task_prepare(request, &work->task);
	MemoryContextSwitchTo(transaction);
	/* the leader of a run has checked all tables at once */
	if (!request->in_worker)
		ob_task_spare_increments(request, (ObTableExport *[]){&work->task}, 1);
	ob_task_run(&work->task);
	keep(work, context);
	ob_session_commit();
}

void
ob_work_run(ObWorkerExport *work)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData *volatile error = NULL;
	ObHistoryRow *row = &work->task.row;

	work->context = context;
	work->request.in_worker = work->snapshot;
	row->run_id = work->request.run_id;
	row->name = work->request.name;
	row->source = work->request.source;
	row->lsn = work->request.lsn;
	row->status = OB_STATUS_RUNNING;
	row->started = GetCurrentTimestamp();
	row->logged = &work->logged;
	interrupted = false;
	pgstat_report_activity(STATE_RUNNING,
						   psprintf("onboard: export of \"%s\"", row->name));
	/* a history that cannot be written is reported in the server log, and is
	 * no reason to land nothing */
	(void) ob_work_write(work->session, write_begin, work);
	PG_TRY();
	{
		export_table(work, context);
	}
	PG_CATCH();
	{
		error = ob_work_recover(context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	if (error)
		ob_task_fail(&work->task, error);
	work->error = error;
	if (!work->waits || work->task.row.figures.files == 0)
		ob_work_end(work);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* The warning of a background worker goes to the server log. */
static void
warn_of_unwritten(const ObHistoryRow *row, const ErrorData *error)
{
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("the history does not say how the export of \"%s\" ended",
					row->name),
			 row->figures.files > 0
				 ? errdetail("It has landed at \"%s\": %llu rows, %llu "
							 "bytes. The history: %s",
							 row->uri, (unsigned long long) row->figures.rows,
							 (unsigned long long) row->figures.bytes,
							 error->message)
				 : errdetail("It has ended as \"%s\": %s. The history: %s",
							 row->status, row->error ? row->error : "no rows",
							 error->message)));
}

void
ob_work_end(ObWorkerExport *work)
{
	const ErrorData *error = ob_work_write(work->session, write_end, work);

	QueryCancelPending = false;
	work->unwritten = error != NULL;
	if (error)
		warn_of_unwritten(&work->task.row, error);
	else if (work->left)
		ob_watermark_warn_left(work->task.row.name, work->left);
}
