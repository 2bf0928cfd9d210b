/*
 * workers_main.c
 *		Several tables at a time: a worker.
 *
 * src/pg/workers/workers_main.c
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "pg/workers/worker_limits.h"
#include "pg/workers/workers_intern.h"
#include "pg/base/errors.h"
#include "pg/base/wait.h"
#include "pg/workers/table_worker.h"

extern PGDLLEXPORT void onboard_workers_main(Datum main_arg);

/* The time between two checks whether the worker is to end. */
#define LOOK_MS 1000

typedef struct Worker
{
	ObWorkersShared *shared;
	dsa_area *area;
	List *waiting; /* a list of PendingTable * that wait for the verdict */
} Worker;

typedef struct PendingTable
{
	ObWorkerExport work;
	ObWorkerSlot *slot;
	const Worker *worker;
} PendingTable;

/* The manifest lacks the details if there is no memory for them. */
static void
write_details(const Worker *worker, ObWorkerSlot *slot, const char *details)
{
	Size size;

	if (!details)
		return;
	size = strlen(details) + 1;
	slot->details = dsa_allocate_extended(worker->area, size,
										  DSA_ALLOC_HUGE | DSA_ALLOC_NO_OOM);
	if (DsaPointerIsValid(slot->details))
		memcpy(dsa_get_address(worker->area, slot->details), details, size);
}

/* Hands the upload to the leader: the callback of an export. */
static void
hand_over(void *arg, const ObUploadHeld *held)
{
	PendingTable *pending = arg;
	ObWorkerSlot *slot = pending->slot;
	dsa_area *area = pending->worker->area;

	slot->held_parts =
		dsa_allocate(area, sizeof(ObUploadPart) * (Size) (held->nparts + 1));
	ob_held_note(&slot->held, dsa_get_address(area, slot->held_parts),
				 &pending->work.task.export, held);
}

/* Writes the state of the history's row, and of the watermark. */
static void
write_end(ObWorkerSlot *slot, const ObWorkerExport *work)
{
	slot->unwritten = work->unwritten;
	ob_report_copy(slot->left, sizeof(slot->left),
				   work->unwritten ? NULL : work->left);
}

/* Writes the outcome of a table. */
static void
write_slot(ObWorkerSlot *slot, const ObWorkerExport *work)
{
	const ErrorData *error = work->error;
	const ObHistoryRow *row = &work->task.row;

	ob_workers_write_outcome(slot, row);
	slot->started = row->started;
	slot->ended = row->ended;
	write_end(slot, work);
	if (row->error)
		slot->fate = work->task.fate;
	ob_report_copy(slot->hint, sizeof(slot->hint), error ? error->hint : NULL);
}

static void
set_state(ObWorkersShared *shared, ObWorkerSlot *slot, ObWorkerState state)
{
	pg_write_barrier();
	pg_atomic_write_u32(&slot->state, state);
	ob_wait_wake(shared->leader);
}

/* Exports a table.  Returns true if it has landed, and waits for the verdict.
 */
static bool
run_table(Worker *worker, ObWorkerSlot *slot)
{
	ObWorkersShared *shared = worker->shared;
	PendingTable *pending = palloc0(sizeof(PendingTable));
	ObWorkerExport *work = &pending->work;

	pending->slot = slot;
	pending->worker = worker;
	work->session = ob_workers_session(shared);
	work->snapshot = true;
	work->registered = true;
	work->waits = shared->together;
	work->request = ob_workers_request(shared, slot);
	work->task.export.fate = &slot->fate;
	work->task.export.fate_shared = true;
	if (shared->together)
	{
		work->task.export.held = hand_over;
		work->task.export.held_arg = pending;
	}
	slot->started = GetCurrentTimestamp();
	slot->pid = MyProcPid;
	pg_write_barrier();
	pg_atomic_write_u32(&slot->state, OB_WORKER_RUNNING);
	ob_work_run(work);
	write_details(worker, slot, work->task.details);
	write_slot(slot, work);
	if (!work->waits || work->task.row.figures.files == 0)
	{
		set_state(shared, slot, OB_WORKER_ENDED);
		return false;
	}
	worker->waiting = lappend(worker->waiting, pending);
	set_state(shared, slot, OB_WORKER_LANDED);
	return true;
}

/* ---- the verdict ---- */

/* A leader that ends without a verdict has discarded what was held. */
static ObWorkersVerdict
wait_for_verdict(ObWorkersShared *shared)
{
	bool stop;

	HOLD_CANCEL_INTERRUPTS();
	do
	{
		stop = pg_atomic_read_u32(&shared->stop) != 0;
		pg_memory_barrier();
		if (pg_atomic_read_u32(&shared->verdict) != OB_VERDICT_NONE)
			break;
		if (!stop)
			ob_wait_latch(LOOK_MS);
		CHECK_FOR_INTERRUPTS();
	} while (!stop);
	RESUME_CANCEL_INTERRUPTS();
	pg_memory_barrier();
	return pg_atomic_read_u32(&shared->verdict);
}

static void
end_table(PendingTable *pending, ObWorkersVerdict verdict)
{
	ObTableExport *task = &pending->work.task;

	if (verdict == OB_VERDICT_NONE)
		ob_task_withhold(task);
	else
		ob_workers_read_outcome(pending->slot, &task->row);
	if (pending->slot->published)
		ob_task_published(task, &pending->slot->object);
	if (verdict != OB_VERDICT_PUBLISHED)
		task->watermark = NULL;
	ob_work_end(&pending->work);
	write_end(pending->slot, &pending->work);
	set_state(pending->worker->shared, pending->slot, OB_WORKER_ENDED);
}

static void
end_waiting(Worker *worker)
{
	ObWorkersVerdict verdict;
	ListCell *cell;

	if (worker->waiting == NIL)
		return;
	verdict = wait_for_verdict(worker->shared);
	foreach (cell, worker->waiting)
		end_table(lfirst(cell), verdict);
}

/* ---- the process ---- */

static ObWorkersShared *
attach(Datum main_arg)
{
	dsm_segment *segment = dsm_attach(DatumGetUInt32(main_arg));
	ObWorkersShared *shared;

	/* the leader has ended already */
	if (segment == NULL)
		proc_exit(0);
	shared = dsm_segment_address(segment);
	if (shared->magic != OB_WORKERS_MAGIC)
		elog(FATAL, "unknown contents of dynamic shared memory");
	return shared;
}

/* Attaches to the area.  If that is gone, so is the leader, which is not an
 * error here. */
static dsa_area *
attach_area(dsa_handle handle)
{
	dsa_area *volatile area = NULL;

	PG_TRY();
	{
		area = dsa_attach(handle);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
			PG_RE_THROW();
		FlushErrorState();
		proc_exit(0);
	}
	PG_END_TRY();
	dsa_pin_mapping(area);
	return area;
}

void
onboard_workers_main(Datum main_arg)
{
	Worker worker = {NULL, NULL, NIL};
	int number;

	ob_work_signals();
	worker.shared = attach(main_arg);
	ob_session_restore(ob_workers_session(worker.shared));
	if (ob_bounds_take_worker() != OB_BOUND_NONE)
		return;
	MemoryContextSwitchTo(TopMemoryContext);
	if (worker.shared->area != DSM_HANDLE_INVALID)
		worker.area = attach_area(worker.shared->area);
	while ((number = ob_workers_take(worker.shared)) >= 0)
	{
		MemoryContext context = AllocSetContextCreate(
			TopMemoryContext, "onboard table", ALLOCSET_DEFAULT_SIZES);

		MemoryContextSwitchTo(context);
		if (!run_table(&worker, &worker.shared->slots[number]))
		{
			MemoryContextSwitchTo(TopMemoryContext);
			MemoryContextDelete(context);
		}
	}
	end_waiting(&worker);
}
