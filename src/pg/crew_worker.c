/*
 * crew_worker.c
 *		Several tables at a time: a worker.
 *
 * src/pg/crew_worker.c
 *
 * For each table three transactions: one commits that it has begun, one, with
 * the leader's snapshot, exports, and one commits how it ended.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"

#include "pg/crew_intern.h"
#include "pg/wait.h"

extern PGDLLEXPORT void onboard_crew_main(Datum main_arg);

static const ObSession *
session(ObCrewShared *shared)
{
	return ob_crew_at(shared, shared->session);
}

static void
copy_text(char *to, Size size, const char *text)
{
	if (text)
		strlcpy(to, text, size);
	else
		to[0] = '\0';
}

/* ---- one table ---- */

typedef struct Work
{
	ObCrewShared *shared;
	ObCrewSlot *slot;
	const char *name;
	ObRequest request;
	ObTask task;
} Work;

static void
export_table(Work *work)
{
	ObCrewShared *shared = work->shared;

	ob_session_begin_with_snapshot(session(shared));
	work->request.entry = ob_registry_find(shared->schema, work->name);
	if (!work->request.entry)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("\"%s\" is not registered any more", work->name)));
	ob_task_prepare(&work->request, &work->task);
	ob_task_run(&work->task);
	ob_session_commit();
}

/* Ends the transaction that failed; what is to tell is kept in context. */
static ErrorData *
recover(MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	EmitErrorReport();
	FlushErrorState();
	ob_session_abort();
	MemoryContextSwitchTo(context);
	return error;
}

/* Writes down how it ended, before anybody is told. */
static void
note(Work *work, const ErrorData *error)
{
	ObCrewSlot *slot = work->slot;
	ObRun *run = &work->task.run;

	if (error)
		ob_task_fail(&work->task, error);
	copy_text(slot->status, sizeof(slot->status), run->status);
	slot->files = run->files;
	slot->rows = run->rows;
	slot->bytes = run->bytes;
	slot->started = run->started;
	slot->ended = run->ended;
	slot->sqlstate = run->sqlstate;
	copy_text(slot->uri, sizeof(slot->uri), run->uri);
	copy_text(slot->error, sizeof(slot->error), run->error);
	copy_text(slot->detail, sizeof(slot->detail),
			  error ? error->detail : NULL);
	copy_text(slot->hint, sizeof(slot->hint), error ? error->hint : NULL);
}

/* The history's rows.  That one could not be written is no reason to land
 * nothing: the server log says so. */
static void
write_history(Work *work, void (*write)(Oid schema, const ObRun *run),
			  MemoryContext context)
{
	PG_TRY();
	{
		ob_session_begin(session(work->shared));
		write(work->shared->schema, &work->task.run);
		ob_session_commit();
	}
	PG_CATCH();
	{
		(void) recover(context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}

static void
run_table(ObCrewShared *shared, int number, MemoryContext context)
{
	Work *work = palloc0(sizeof(Work));
	ErrorData *volatile error = NULL;

	work->shared = shared;
	work->slot = &shared->slots[number];
	work->name = ob_crew_at(shared, work->slot->name);
	work->request.name = work->name;
	work->request.when = shared->when;
	work->request.run_id = shared->run_id;
	work->request.options_for = OB_OPTIONS_ALL;
	if (shared->options)
		work->request.options = ob_crew_at(shared, shared->options);
	work->task.run.run_id = shared->run_id;
	work->task.run.name = work->name;
	work->task.run.source = ob_crew_at(shared, shared->source);
	work->task.run.status = OB_STATUS_RUNNING;
	work->task.run.started = GetCurrentTimestamp();
	work->slot->started = work->task.run.started;
	work->slot->pid = MyProcPid;
	pg_write_barrier();
	pg_atomic_write_u32(&work->slot->state, OB_CREW_RUNNING);

	pgstat_report_activity(STATE_RUNNING,
						   psprintf("onboard: export of \"%s\"", work->name));
	write_history(work, ob_history_begin, context);
	PG_TRY();
	{
		export_table(work);
	}
	PG_CATCH();
	{
		error = recover(context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	note(work, error);
	write_history(work, ob_history_end, context);
	pgstat_report_activity(STATE_IDLE, NULL);
	pg_write_barrier();
	pg_atomic_write_u32(&work->slot->state, OB_CREW_ENDED);
	ob_wait_wake(shared->leader);
}

static ObCrewShared *
attach(Datum main_arg)
{
	dsm_segment *segment = dsm_attach(DatumGetUInt32(main_arg));
	ObCrewShared *shared;

	/* the leader is gone already */
	if (segment == NULL)
		proc_exit(0);
	shared = dsm_segment_address(segment);
	if (shared->magic != OB_CREW_MAGIC)
		elog(FATAL, "unknown contents of dynamic shared memory");
	return shared;
}

void
onboard_crew_main(Datum main_arg)
{
	ObCrewShared *shared;
	MemoryContext context;
	int number;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, StatementCancelHandler);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	shared = attach(main_arg);
	ob_session_restore(session(shared));
	context = AllocSetContextCreate(TopMemoryContext, "onboard table",
									ALLOCSET_DEFAULT_SIZES);
	while ((number = ob_crew_take(shared)) >= 0)
	{
		MemoryContextSwitchTo(context);
		run_table(shared, number, context);
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextReset(context);
	}
}
