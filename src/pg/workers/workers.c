/*
 * workers.c
 *		Several tables at a time: the leader's side.
 *
 * src/pg/workers/workers.c
 *
 * Workers must be gone before the leader's snapshot is.  They may outlive the
 * call that has started them (rows of onboard_all() are returned one by one),
 * so three things make sure of it: the error handler of a step; the memory
 * context that an ObWorkers is in, which goes when its query does; and the
 * resource owner of that query, since after an error memory may be kept until
 * ROLLBACK.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "pg/base/subtransaction.h"
#include "pg/catalog/notify.h"
#include "pg/config/image.h"
#include "pg/workers/worker_limits.h"
#include "pg/workers/workers_intern.h"
#include "pg/workers/deadlock.h"
#include "pg/base/errors.h"
#include "pg/base/unwind.h"
#include "pg/base/wait.h"

/*
 * The time between two checks of workers that end, the time that they have to
 * abort their uploads (see ABORT_MS of stream.c), and the time for which they
 * are waited for.
 */
#define LOOK_MS 20
#define CANCEL_MS 6000
#define END_MS 8000

struct ObWorkers
{
	ObWorkersSpec spec;
	MemoryContext context; /* the memory context of this struct */
	MemoryContextCallback callback;
	ResourceOwner owner;  /* owner of the query that it works for */
	dlist_node node;      /* node in all_workers */
	dsm_segment *segment; /* NULL: not made yet, or gone */
	ObWorkersShared *shared;
	dsa_area *area; /* NULL: none */
	int nworkers;
	BackgroundWorkerHandle **handles;
	int taken; /* no table from this one on is taken any more */
	int nreported;
	bool *reported; /* index: number of the table */
	bool *landed;   /* likewise */
	bool finishing;
	bool more; /* more tables have ended than the last step has returned */
};

/* The ObWorkers of this process. */
static dlist_head all_workers = DLIST_STATIC_INIT(all_workers);

static void
say_why(const char *why)
{
	ereport(NOTICE, (errmsg("tables are exported one after another"),
					 errdetail("%s", why)));
}

static bool
has_temporary_tables(void)
{
	Oid schema = DatumGetObjectId(DirectFunctionCall1(pg_my_temp_schema, 0));

	return OidIsValid(schema);
}

bool
ob_workers_possible(void)
{
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		say_why("This transaction has written, which workers would not see.");
	else if (has_temporary_tables())
		say_why("This session has temporary tables, which workers would not "
				"see.");
	else if (InSecurityRestrictedOperation())
		say_why("Within a security-restricted operation no workers are "
				"started.");
	else
		return true;
	return false;
}

/* ---- shared memory ---- */

OB_IMAGE_KNOWS(ObExportRequest, 120);

static void
image_of_common(ObImage *image, ObExportRequest *common)
{
	ob_image_struct(image, common, sizeof(*common));
	ob_image_text(image, &common->source);
	ob_image_jsonb(image, &common->options);
}

static void
image_of_table(ObImage *image, const char **name, ObServerRow *server)
{
	ob_image_text(image, name);
	ob_image_server(image, server);
}

ObExportRequest
ob_workers_request(const ObWorkersShared *shared, const ObWorkerSlot *slot)
{
	ObImage common = ob_image_read((const char *) shared + shared->common);
	ObImage table = ob_image_read((const char *) shared + slot->request);
	ObServerRow *server = palloc(sizeof(ObServerRow));
	ObExportRequest request;

	image_of_common(&common, &request);
	image_of_table(&table, &request.name, server);
	/* the other pointers are those of the leader */
	request.server = server;
	request.query = NULL;
	request.bucket = NULL;
	request.entry = NULL;
	request.servers = NULL;
	return request;
}

/* Writes all images behind the slots, and notes their offsets; with shared
 * NULL, only counts.  Returns where they end. */
static Size
lay_out(ObWorkersShared *shared, const ObWorkersSpec *spec)
{
	Size begin = MAXALIGN(offsetof(ObWorkersShared, slots) +
						  sizeof(ObWorkerSlot) * spec->ntables);
	ObImage image =
		shared ? ob_image_write((char *) shared + begin) : ob_image_count();
	ObExportRequest common = *spec->common;

	if (shared)
		shared->common = begin;
	image_of_common(&image, &common);
	for (int i = 0; i < spec->ntables; i++)
	{
		const char *name = spec->tables[i].name;
		ObServerRow server =
			ob_server_row(spec->tables[i].task->export.server);

		if (shared)
			shared->slots[i].request = begin + image.size;
		image_of_table(&image, &name, &server);
	}
	return begin + image.size;
}

static Size
estimate(const ObWorkersSpec *spec, Size *session)
{
	*session = ob_session_estimate(true);
	return lay_out(NULL, spec) + *session;
}

static void
fill(ObWorkersShared *shared, const ObWorkersSpec *spec, Size session)
{
	memset(shared, 0,
		   offsetof(ObWorkersShared, slots) +
			   sizeof(ObWorkerSlot) * spec->ntables);
	shared->magic = OB_WORKERS_MAGIC;
	pg_atomic_init_u32(&shared->next, 0);
	pg_atomic_init_u32(&shared->stop, 0);
	pg_atomic_init_u32(&shared->verdict, OB_VERDICT_NONE);
	shared->together = spec->finish != NULL;
	shared->area = DSM_HANDLE_INVALID;
	shared->leader = MyProc;
	shared->nslots = spec->ntables;
	for (int i = 0; i < spec->ntables; i++)
		pg_atomic_init_u32(&shared->slots[i].state, OB_WORKER_WAITING);
	shared->session = lay_out(shared, spec);
	ob_session_save((ObSession *) ((char *) shared + shared->session), session,
					true);
}

static char *
text_or_null(const char *text)
{
	return text[0] ? pstrdup(text) : NULL;
}

void
ob_workers_write_outcome(ObWorkerSlot *slot, const ObHistoryRow *row)
{
	ob_report_copy(slot->status, sizeof(slot->status), row->status);
	slot->figures = row->figures;
	slot->sqlstate = row->sqlstate;
	ob_report_copy(slot->uri, sizeof(slot->uri), row->uri);
	ob_report_copy(slot->error, sizeof(slot->error), row->error);
	ob_report_copy(slot->detail, sizeof(slot->detail), row->detail);
}

void
ob_workers_read_outcome(const ObWorkerSlot *slot, ObHistoryRow *row)
{
	row->status = pstrdup(slot->status);
	row->figures = slot->figures;
	row->sqlstate = slot->sqlstate;
	row->uri = text_or_null(slot->uri);
	row->error = text_or_null(slot->error);
	row->detail = text_or_null(slot->detail);
}

int
ob_workers_take(ObWorkersShared *shared)
{
	uint32 next;

	if (pg_atomic_read_u32(&shared->stop))
		return -1;
	next = pg_atomic_fetch_add_u32(&shared->next, 1);
	return next < (uint32) shared->nslots ? (int) next : -1;
}

/* ---- workers ---- */

static bool
launch(ObWorkers *workers, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	ob_session_init_worker(&worker, workers->segment);
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	strcpy(worker.bgw_function_name, OB_WORKERS_MAIN);
	strcpy(worker.bgw_type, "onboard worker");
	snprintf(worker.bgw_name, BGW_MAXLEN, "onboard worker for PID %d",
			 MyProcPid);
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

static void
launch_all(void *arg)
{
	ObWorkers *workers = arg;
	int wanted = Min(workers->spec.workers, workers->spec.ntables);
	int allowed = ob_bounds_workers(wanted);

	workers->handles = palloc0(sizeof(BackgroundWorkerHandle *) * wanted);
	while (workers->nworkers < allowed &&
		   launch(workers, &workers->handles[workers->nworkers]))
		workers->nworkers++;
	if (workers->nworkers < wanted)
		ereport(
			NOTICE,
			(errmsg("%d of %d workers could be started", workers->nworkers,
					wanted),
			 workers->nworkers > 0
				 ? errdetail("They share the tables out.")
				 : errdetail("This session exports the tables itself."),
			 errhint("Raise max_worker_processes, or lower "
					 "onboard.parallel_tables%s.",
					 allowed < wanted ? " or onboard.reserved_workers" : "")));
}

/* Returns the worker's pid, 0 once it has ended (or if it never began), or -1
 * if it has not started yet. */
static int
pid_of(BackgroundWorkerHandle *handle)
{
	pid_t pid = 0;
	BgwHandleStatus status = GetBackgroundWorkerPid(handle, &pid);

	if (status == BGWH_NOT_YET_STARTED)
		return -1;
	return status == BGWH_STARTED ? (int) pid : 0;
}

static bool
all_ended(const ObWorkers *workers)
{
	for (int i = 0; i < workers->nworkers; i++)
	{
		if (pid_of(workers->handles[i]) != 0)
			return false;
	}
	return true;
}

/* ---- what became of the tables ---- */

/* Reads what a worker has written about its table. */
static void
read_slot(ObWorkers *workers, int i)
{
	const ObWorkerSlot *slot = &workers->shared->slots[i];
	ObWorkerTable *table = &workers->spec.tables[i];
	ObHistoryRow *row = &table->task->row;

	ob_workers_read_outcome(slot, row);
	row->started = slot->started;
	row->ended = slot->ended;
	table->task->fate = slot->fate;
	table->hint = text_or_null(slot->hint);
	if (DsaPointerIsValid(slot->details))
		table->task->details =
			pstrdup(dsa_get_address(workers->area, slot->details));
}

/* Stops the workers from taking tables after a failure: none will be
 * published. */
static void
take_no_more(ObWorkers *workers)
{
	int next = (int) pg_atomic_exchange_u32(&workers->shared->next,
											workers->shared->nslots);

	workers->taken = Min(workers->taken, next);
}

static void
report(ObWorkers *workers, int i)
{
	ObWorkerTable *table = &workers->spec.tables[i];

	workers->reported[i] = true;
	workers->nreported++;
	if (table->task->row.error && workers->spec.finish)
		take_no_more(workers);
	workers->spec.ended(table);
}

/* Warns that a worker has reported the outcome, but could not write it. */
static void
warn_of_unwritten(const ObHistoryRow *row)
{
	const char *name = ob_report_client_text(row->name);

	ereport(WARNING,
			(errmsg("the history does not say how the export of \"%s\" ended",
					name),
			 row->figures.files > 0
				 ? errdetail("It has landed at \"%s\".",
							 ob_report_client_text(row->uri))
				 : 0,
			 errhint("The server log has the reason.")));
}

/* Warns of an object that may exist, since a worker's own warning is only in
 * the server log. */
static void
warn_of_object(const ObWorkers *workers, int i)
{
	ObTableExport *task = workers->spec.tables[i].task;

	ob_fate_warn(workers->shared->slots[i].fate, task->uri);
}

static void
report_ended(ObWorkers *workers, int i)
{
	const ObWorkerSlot *slot = &workers->shared->slots[i];
	const ObHistoryRow *row = &workers->spec.tables[i].task->row;

	if (slot->unwritten)
		warn_of_unwritten(row);
	if (slot->left[0])
		ob_watermark_warn_left(ob_report_client_text(row->name),
							   ob_report_client_text(slot->left));
	if (row->error)
		warn_of_object(workers, i);
	report(workers, i);
}

typedef struct Ending
{
	Oid schema;
	const ObHistoryRow *row;
} Ending;

static void
write_ending(void *arg)
{
	const Ending *ending = arg;

	ob_notify_end(ending->schema, ending->row);
}

/*
 * Writes the row of a table whose worker has ended.  It may fail, since the
 * worker's own row is not visible if this transaction's snapshot is older;
 * that is no reason to end the others.
 */
static void
write_for_worker(const ObWorkers *workers, const ObHistoryRow *row)
{
	Ending ending = {workers->spec.common->schema, row};
	const ErrorData *error = ob_attempt(write_ending, &ending);

	if (error)
		ereport(
			WARNING,
			(errmsg("the history does not say how the export of \"%s\" "
					"ended",
					ob_report_client_text(row->name)),
			 errdetail_internal("%s", ob_report_client_text(error->message)),
			 errhint("onboard_runs shows it as lost.")));
}

/* Reports a table whose worker has ended without an outcome: it was
 * terminated, or it could not begin. */
static void
report_lost(ObWorkers *workers, int i)
{
	ObWorkerSlot *slot = &workers->shared->slots[i];
	ObWorkerTable *table = &workers->spec.tables[i];
	ObHistoryRow *row = &table->task->row;
	ErrorData error = {.sqlerrcode = ERRCODE_ADMIN_SHUTDOWN};

	error.message = pstrdup("the worker that exported it was terminated");
	row->started = slot->started;
	*table->task->export.fate = slot->fate;
	ob_task_fail(table->task, &error);
	warn_of_object(workers, i);
	table->hint = "See the server log.";
	write_for_worker(workers, row);
	report(workers, i);
}

/* Takes over the upload that a worker has held, and, if it is to be published,
 * its parts. */
static void
adopt_held(ObWorkers *workers, int i, bool with_parts)
{
	const ObWorkerSlot *slot = &workers->shared->slots[i];
	ObPublication *publication = workers->spec.tables[i].publication;
	Size size = sizeof(ObUploadPart) * (Size) slot->held.nparts;

	if (!slot->held.valid || publication->held.valid)
		return;
	pg_read_barrier();
	if (with_parts)
	{
		publication->parts =
			MemoryContextAllocHuge(CurrentMemoryContext, size + 1);
		memcpy(publication->parts,
			   dsa_get_address(workers->area, slot->held_parts), size);
	}
	publication->held = slot->held;
}

/* Whether the worker of that pid may be alive.  A worker can be running a
 * table before the postmaster has recorded its pid; while the pid of any
 * worker is unknown, none counts as dead. */
static bool
is_alive(const ObWorkers *workers, int pid)
{
	for (int i = 0; i < workers->nworkers; i++)
	{
		int other = pid_of(workers->handles[i]);

		if (other == pid || other < 0)
			return true;
	}
	return false;
}

/* Whether the table's worker is dead, unless the table has ended meanwhile. */
static bool
is_gone(const ObWorkers *workers, ObWorkerSlot *slot)
{
	bool gone = false;

	if (pg_atomic_read_u32(&slot->state) == OB_WORKER_RUNNING)
	{
		pg_read_barrier(); /* the pid was written before the state */
		gone = !is_alive(workers, slot->pid);
	}
	pg_memory_barrier();
	return gone;
}

/* Reports tables that have ended.  Returns how many have neither ended nor
 * landed yet. */
static int
collect(ObWorkers *workers)
{
	int left = 0;

	for (int i = 0; i < workers->taken; i++)
	{
		ObWorkerSlot *slot = &workers->shared->slots[i];
		bool gone;
		uint32 state;

		if (workers->reported[i] || workers->landed[i])
			continue;
		/* a worker may end in between, so the state is read later */
		gone = is_gone(workers, slot);
		state = pg_atomic_read_u32(&slot->state);
		pg_read_barrier(); /* the state was written after the fields */
		if (state == OB_WORKER_ENDED)
		{
			read_slot(workers, i);
			if (workers->spec.finish)
				adopt_held(workers, i, false); /* it failed after that */
			report_ended(workers, i);
		}
		else if (state == OB_WORKER_LANDED)
		{
			read_slot(workers, i);
			adopt_held(workers, i, true);
			workers->landed[i] = true;
		}
		else if (gone)
		{
			if (workers->spec.finish)
				adopt_held(workers, i, false);
			report_lost(workers, i);
		}
		else
			left++;
	}
	return left;
}

/* Raises if a worker waits for a lock of this session, since it would wait for
 * ever. */
static void
end_deadlocked(const ObWorkers *workers)
{
	for (int i = 0; i < workers->nworkers; i++)
	{
		int pid = pid_of(workers->handles[i]);

		if (pid > 0 && ob_deadlock_with(pid))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
					 errmsg("a worker waits for a lock that this session "
							"holds"),
					 errhint("Commit before, or set "
							 "onboard.parallel_tables to 0.")));
	}
}

/* Waits until one more table has ended.  Returns false if none will. */
static bool
wait_for_one(ObWorkers *workers)
{
	int before = workers->nreported;

	for (;;)
	{
		bool gone = all_ended(workers);
		int left = collect(workers);

		if (workers->nreported > before)
			return true;
		if (left == 0 || gone)
			return false;
		if (!ob_wait_latch(OB_DEADLOCK_MS))
			end_deadlocked(workers);
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- a run that is published together ---- */

static void
post_outcome(ObWorkerSlot *slot, const ObWorkerTable *table)
{
	const ObPublication *publication = table->publication;

	ob_workers_write_outcome(slot, &table->task->row);
	slot->published = publication->state == OB_PUBLISHED_DONE;
	slot->object = publication->object;
}

/* Sends the outcomes to the workers that wait for them. */
static void
post_verdict(ObWorkers *workers, ObWorkersVerdict verdict)
{
	for (int i = 0; i < workers->spec.ntables; i++)
	{
		if (workers->landed[i])
			post_outcome(&workers->shared->slots[i], &workers->spec.tables[i]);
	}
	pg_write_barrier();
	pg_atomic_write_u32(&workers->shared->verdict, verdict);
	for (int i = 0; i < workers->nworkers; i++)
	{
		int pid = pid_of(workers->handles[i]);
		PGPROC *process = pid > 0 ? BackendPidGetProc(pid) : NULL;

		if (process)
			ob_wait_wake(process);
	}
}

/* Writes the history of a table whose worker has ended while it waited. */
static void
end_orphan(ObWorkers *workers, int i, ObWorkersVerdict verdict)
{
	ObTableExport *task = workers->spec.tables[i].task;

	write_for_worker(workers, &task->row);
	if (task->watermark && verdict == OB_VERDICT_PUBLISHED)
		ob_watermark_warn_left(ob_report_client_text(task->row.name),
							   "The worker that has landed the increment was "
							   "terminated.");
	report(workers, i);
}

/* Reports tables that workers have ended.  Returns how many are left. */
static int
collect_ends(ObWorkers *workers, ObWorkersVerdict verdict)
{
	int left = 0;

	for (int i = 0; i < workers->spec.ntables; i++)
	{
		ObWorkerSlot *slot = &workers->shared->slots[i];
		bool gone = !is_alive(workers, slot->pid);

		if (!workers->landed[i] || workers->reported[i])
			continue;
		pg_memory_barrier();
		if (pg_atomic_read_u32(&slot->state) == OB_WORKER_ENDED)
		{
			pg_read_barrier();
			report_ended(workers, i);
		}
		else if (gone)
			end_orphan(workers, i, verdict);
		else
			left++;
	}
	return left;
}

static void
finish(ObWorkers *workers)
{
	ObWorkersVerdict verdict;

	workers->finishing = true;
	verdict = workers->spec.finish(workers->spec.arg) ? OB_VERDICT_PUBLISHED
													  : OB_VERDICT_FINISHED;
	workers->finishing = false;
	post_verdict(workers, verdict);
	while (collect_ends(workers, verdict) > 0)
	{
		ob_wait_latch(OB_DEADLOCK_MS);
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- ending ---- */

/* Warns of a table whose outcome the caller will not read any more. */
static void
warn_if_unreported(ObWorkers *workers, int i)
{
	ObWorkerSlot *slot = &workers->shared->slots[i];
	bool ended = pg_atomic_read_u32(&slot->state) == OB_WORKER_ENDED;

	pg_read_barrier();
	if (!workers->reported[i] && (!ended || slot->error[0] != '\0'))
		warn_of_object(workers, i);
	if (!workers->reported[i] && ended && slot->left[0] != '\0')
		ob_watermark_warn_left(
			ob_report_plain_text(workers->spec.tables[i].name),
			ob_report_plain_text(slot->left));
	workers->reported[i] = true;
}

/*
 * Ends the workers.  It is called on an error, when this backend is
 * terminated, and when no more rows are fetched.  Workers are cancelled, so
 * that they abort their uploads and write the outcomes into the history; those
 * that have not ended then are terminated.  The snapshot may go only after
 * that.  It must not raise, and may be called more than once.
 */
static void
end_workers(void *arg)
{
	ObWorkers *workers = arg;

	if (workers->segment == NULL)
		return;
	HOLD_INTERRUPTS();
	if (workers->finishing)
	{
		workers->finishing = false;
		workers->spec.abort(workers->spec.arg);
		post_verdict(workers, OB_VERDICT_FINISHED);
	}
	pg_atomic_write_u32(&workers->shared->stop, 1);
	for (int waited = 0; waited < END_MS && !all_ended(workers);
		 waited += LOOK_MS)
	{
		for (int i = 0; i < workers->nworkers; i++)
		{
			int pid = pid_of(workers->handles[i]);

			if (waited >= CANCEL_MS)
				TerminateBackgroundWorker(workers->handles[i]);
			else if (pid > 0)
				kill(pid, SIGINT);
		}
		ob_wait_latch(LOOK_MS);
	}
	for (int i = 0; workers->spec.finish && i < workers->spec.ntables; i++)
		adopt_held(workers, i, false);
	for (int i = 0; i < workers->spec.ntables; i++)
		warn_if_unreported(workers, i);
	RESUME_INTERRUPTS();
}

static void
detach(ObWorkers *workers)
{
	if (workers->segment == NULL)
		return;
	dlist_delete(&workers->node);
	if (workers->area)
		dsa_detach(workers->area);
	dsm_detach(workers->segment);
	workers->segment = NULL;
}

static void
give_up(void *arg)
{
	(void) ob_unwind_forget(arg);
	end_workers(arg);
	detach(arg);
}

/* PostgreSQL calls this for every resource owner that it releases. */
static void
end_those_of_owner(ResourceReleasePhase phase, bool is_commit,
				   bool is_top_level, void *arg)
{
	dlist_mutable_iter at;

	if (phase != RESOURCE_RELEASE_BEFORE_LOCKS)
		return;
	dlist_foreach_modify(at, &all_workers)
	{
		ObWorkers *workers = dlist_container(ObWorkers, node, at.cur);

		if (workers->owner == CurrentResourceOwner)
			give_up(workers);
	}
}

/* ---- running ---- */

static ObWorkers *
make(const ObWorkersSpec *spec)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "onboard workers", ALLOCSET_DEFAULT_SIZES);
	ObWorkers *workers = MemoryContextAllocZero(context, sizeof(ObWorkers));

	workers->context = context;
	workers->spec = *spec;
	workers->owner = CurrentResourceOwner;
	workers->taken = spec->ntables;
	workers->reported =
		MemoryContextAllocZero(context, sizeof(bool) * spec->ntables);
	workers->landed =
		MemoryContextAllocZero(context, sizeof(bool) * spec->ntables);
	workers->callback.func = give_up;
	workers->callback.arg = workers;
	MemoryContextRegisterResetCallback(context, &workers->callback);
	return workers;
}

/* The mappings are pinned: a resource owner would release its own mappings
 * before it calls the callbacks of its release. */
static void
share(ObWorkers *workers)
{
	static bool registered = false;
	const ObWorkersSpec *spec = &workers->spec;
	Size session;
	Size size = estimate(spec, &session);

	if (!registered)
		RegisterResourceReleaseCallback(end_those_of_owner, NULL);
	registered = true;
	workers->segment = dsm_create(size, 0);
	dsm_pin_mapping(workers->segment);
	dlist_push_tail(&all_workers, &workers->node);
	workers->shared = dsm_segment_address(workers->segment);
	fill(workers->shared, spec, session);
	if (spec->details || spec->finish)
	{
		workers->area = dsa_create(LWTRANCHE_PARALLEL_QUERY_DSA);
		dsa_pin_mapping(workers->area);
		workers->shared->area = dsa_get_handle(workers->area);
	}
}

ObWorkers *
ob_workers_start(const ObWorkersSpec *spec)
{
	ObWorkers *workers = make(spec);
	MemoryContext before = MemoryContextSwitchTo(workers->context);

	share(workers);
	ob_unwind(launch_all, end_workers, workers);
	MemoryContextSwitchTo(before);
	return workers;
}

static void
step(void *arg)
{
	ObWorkers *workers = arg;

	workers->more = wait_for_one(workers);
	if (!workers->more && workers->spec.finish)
		finish(workers);
}

bool
ob_workers_step(ObWorkers *workers)
{
	ob_unwind(step, end_workers, workers);
	return workers->more;
}

void
ob_workers_end(ObWorkers *workers)
{
	detach(workers);
	MemoryContextDelete(workers->context);
}

void
ob_workers_stop(ObWorkers *workers)
{
	MemoryContextDelete(workers->context);
}
