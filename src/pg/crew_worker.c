/*
 * crew_worker.c
 *		Several tables at a time: a worker.
 *
 * src/pg/crew_worker.c
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "pg/crew_intern.h"
#include "pg/wait.h"
#include "pg/work.h"

extern PGDLLEXPORT void onboard_crew_main(Datum main_arg);

static void
copy_text(char *to, Size size, const char *text)
{
	if (text)
		strlcpy(to, text, size);
	else
		to[0] = '\0';
}

/* Writes down how a table ended. */
static void
note(ObCrewSlot *slot, const ObWork *work)
{
	const ErrorData *error = work->error;
	const ObRun *run = &work->task.run;

	copy_text(slot->status, sizeof(slot->status), run->status);
	slot->files = run->files;
	slot->rows = run->rows;
	slot->raw_bytes = run->raw_bytes;
	slot->bytes = run->bytes;
	slot->parts = run->parts;
	slot->retries = run->retries;
	slot->started = run->started;
	slot->ended = run->ended;
	slot->sqlstate = run->sqlstate;
	copy_text(slot->uri, sizeof(slot->uri), run->uri);
	copy_text(slot->error, sizeof(slot->error), run->error);
	copy_text(slot->detail, sizeof(slot->detail),
			  error ? error->detail : NULL);
	copy_text(slot->hint, sizeof(slot->hint), error ? error->hint : NULL);
}

static void
run_table(ObCrewShared *shared, ObCrewSlot *slot)
{
	ObWork *work = palloc0(sizeof(ObWork));

	work->session = ob_crew_at(shared, shared->session);
	work->snapshot = true;
	work->registered = true;
	work->schema = shared->schema;
	work->source = ob_crew_at(shared, shared->source);
	work->request.name = ob_crew_at(shared, slot->name);
	work->request.when = shared->when;
	work->request.lsn = shared->lsn;
	work->request.run_id = shared->run_id;
	work->request.options_for = OB_OPTIONS_ALL;
	if (shared->options)
		work->request.options = ob_crew_at(shared, shared->options);
	slot->started = GetCurrentTimestamp();
	slot->pid = MyProcPid;
	pg_write_barrier();
	pg_atomic_write_u32(&slot->state, OB_CREW_RUNNING);
	ob_work_run(work);
	note(slot, work);
	pg_write_barrier();
	pg_atomic_write_u32(&slot->state, OB_CREW_ENDED);
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

	ob_work_signals();
	shared = attach(main_arg);
	ob_session_restore(ob_crew_at(shared, shared->session));
	context = AllocSetContextCreate(TopMemoryContext, "onboard table",
									ALLOCSET_DEFAULT_SIZES);
	while ((number = ob_crew_take(shared)) >= 0)
	{
		MemoryContextSwitchTo(context);
		run_table(shared, &shared->slots[number]);
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextReset(context);
	}
}
