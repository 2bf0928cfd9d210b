/*
 * workers.c
 *		Several tables at a time: the leader's side.
 *
 * src/pg/workers/workers.c
 *
 * Workers must be gone before the leader's snapshot is.  A crew may outlive
 * the call that has started it (rows of onboard_all() are given one by one),
 * so three things see to it: the error handler of a step; the memory context
 * that the crew is in, which goes when its query does; and the resource owner
 * of that query, since after an error memory may be kept until ROLLBACK.
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
#include "pg/config/image.h"
#include "pg/workers/worker_limits.h"
#include "pg/workers/workers_intern.h"
#include "pg/workers/deadlock.h"
#include "pg/base/errors.h"
#include "pg/base/unwind.h"
#include "pg/base/wait.h"

/*
 * Ending workers: how often they are looked at, how long they have to abort
 * their uploads (see ABORT_MS of stream.c), and how long they are waited for.
 */
#define LOOK_MS 20
#define CANCEL_MS 6000
#define END_MS 8000

struct ObCrew
{
	ObCrewJob job;
	MemoryContext context; /* of its own */
	MemoryContextCallback callback;
	ResourceOwner owner;  /* of the query that it works for */
	dlist_node node;      /* in crews */
	dsm_segment *segment; /* NULL: not yet, or not any more */
	ObCrewShared *shared;
	dsa_area *area; /* NULL: none */
	int nworkers;
	BackgroundWorkerHandle **handles;
	int taken; /* no table from this one on is taken any more */
	int ntold;
	bool *told;   /* by table */
	bool *landed; /* likewise */
	bool settling;
	bool more; /* than the last step has told */
};

/* Those of this process. */
static dlist_head crews = DLIST_STATIC_INIT(crews);

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
ob_crew_possible(void)
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

/* ---- what is shared ---- */

OB_IMAGE_KNOWS(ObRequest, 120);

static void
image_of_common(ObImage *image, ObRequest *common)
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

ObRequest
ob_crew_request(const ObCrewShared *shared, const ObCrewSlot *slot)
{
	ObImage common = ob_image_read((const char *) shared + shared->common);
	ObImage table = ob_image_read((const char *) shared + slot->request);
	ObServerRow *server = palloc(sizeof(ObServerRow));
	ObRequest request;

	image_of_common(&common, &request);
	image_of_table(&table, &request.name, server);
	request.server = server;
	request.query = NULL;
	request.bucket = NULL;
	request.entry = NULL;
	request.servers = NULL;
	return request;
}

/* Writes all images behind the slots, whose offsets are noted; with shared
 * NULL, only counts.  Returns where they end. */
static Size
lay_out(ObCrewShared *shared, const ObCrewJob *job)
{
	Size begin = MAXALIGN(offsetof(ObCrewShared, slots) +
						  sizeof(ObCrewSlot) * job->ntables);
	ObImage image =
		shared ? ob_image_write((char *) shared + begin) : ob_image_count();
	ObRequest common = *job->common;

	if (shared)
		shared->common = begin;
	image_of_common(&image, &common);
	for (int i = 0; i < job->ntables; i++)
	{
		const char *name = job->tables[i].name;
		ObServerRow server = ob_server_row(job->tables[i].task->export.server);

		if (shared)
			shared->slots[i].request = begin + image.size;
		image_of_table(&image, &name, &server);
	}
	return begin + image.size;
}

static Size
estimate(const ObCrewJob *job, Size *session)
{
	*session = ob_session_estimate(true);
	return lay_out(NULL, job) + *session;
}

static void
fill(ObCrewShared *shared, const ObCrewJob *job, Size session)
{
	memset(shared, 0,
		   offsetof(ObCrewShared, slots) + sizeof(ObCrewSlot) * job->ntables);
	shared->magic = OB_CREW_MAGIC;
	pg_atomic_init_u32(&shared->next, 0);
	pg_atomic_init_u32(&shared->stop, 0);
	pg_atomic_init_u32(&shared->verdict, OB_CREW_NO_VERDICT);
	shared->together = job->settle != NULL;
	shared->area = DSM_HANDLE_INVALID;
	shared->leader = MyProc;
	shared->nslots = job->ntables;
	for (int i = 0; i < job->ntables; i++)
		pg_atomic_init_u32(&shared->slots[i].state, OB_CREW_WAITING);
	shared->session = lay_out(shared, job);
	ob_session_save((ObSession *) ((char *) shared + shared->session), session,
					true);
}

char *
ob_crew_text(const char *text)
{
	return text[0] ? pstrdup(text) : NULL;
}

void
ob_crew_write_outcome(ObCrewSlot *slot, const ObRun *run)
{
	ob_report_copy(slot->status, sizeof(slot->status), run->status);
	slot->figures = run->figures;
	slot->sqlstate = run->sqlstate;
	ob_report_copy(slot->uri, sizeof(slot->uri), run->uri);
	ob_report_copy(slot->error, sizeof(slot->error), run->error);
}

void
ob_crew_read_outcome(const ObCrewSlot *slot, ObRun *run)
{
	run->status = pstrdup(slot->status);
	run->figures = slot->figures;
	run->sqlstate = slot->sqlstate;
	run->uri = ob_crew_text(slot->uri);
	run->error = ob_crew_text(slot->error);
}

int
ob_crew_take(ObCrewShared *shared)
{
	uint32 next;

	if (pg_atomic_read_u32(&shared->stop))
		return -1;
	next = pg_atomic_fetch_add_u32(&shared->next, 1);
	return next < (uint32) shared->nslots ? (int) next : -1;
}

/* ---- workers ---- */

static bool
launch(ObCrew *crew, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(crew->segment));
	worker.bgw_notify_pid = MyProcPid;
	strcpy(worker.bgw_library_name, OB_CREW_LIBRARY);
	strcpy(worker.bgw_function_name, OB_CREW_MAIN);
	strcpy(worker.bgw_type, "onboard worker");
	snprintf(worker.bgw_name, BGW_MAXLEN, "onboard worker for PID %d",
			 MyProcPid);
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

static void
launch_all(void *arg)
{
	ObCrew *crew = arg;
	int wanted = Min(crew->job.workers, crew->job.ntables);
	int allowed = ob_bounds_workers(wanted);

	crew->handles = palloc0(sizeof(BackgroundWorkerHandle *) * wanted);
	while (crew->nworkers < allowed &&
		   launch(crew, &crew->handles[crew->nworkers]))
		crew->nworkers++;
	if (crew->nworkers < wanted)
		ereport(
			NOTICE,
			(errmsg("%d of %d workers could be started", crew->nworkers,
					wanted),
			 crew->nworkers > 0
				 ? errdetail("They share the tables out.")
				 : errdetail("This session exports the tables itself."),
			 errhint("Raise max_worker_processes, or lower "
					 "onboard.parallel_tables%s.",
					 allowed < wanted ? " or onboard.reserved_workers" : "")));
}

/* The worker's pid, or 0 once it has ended (or never was). */
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
all_ended(const ObCrew *crew)
{
	for (int i = 0; i < crew->nworkers; i++)
	{
		if (pid_of(crew->handles[i]) != 0)
			return false;
	}
	return true;
}

/* ---- what became of the tables ---- */

/* What a worker has written down about its table. */
static void
learn(ObCrew *crew, int i)
{
	const ObCrewSlot *slot = &crew->shared->slots[i];
	ObCrewTable *table = &crew->job.tables[i];
	ObRun *run = &table->task->run;

	ob_crew_read_outcome(slot, run);
	run->started = slot->started;
	run->ended = slot->ended;
	table->task->fate = slot->fate;
	table->detail = ob_crew_text(slot->detail);
	table->hint = ob_crew_text(slot->hint);
	if (DsaPointerIsValid(slot->details))
		table->task->details = DatumGetJsonbPCopy(
			PointerGetDatum(dsa_get_address(crew->area, slot->details)));
}

/* One has failed: none shall be published, so no other one is begun. */
static void
take_no_more(ObCrew *crew)
{
	int next = (int) pg_atomic_exchange_u32(&crew->shared->next,
											crew->shared->nslots);

	crew->taken = Min(crew->taken, next);
}

static void
tell(ObCrew *crew, int i)
{
	ObCrewTable *table = &crew->job.tables[i];

	crew->told[i] = true;
	crew->ntold++;
	if (table->task->run.error && crew->job.settle)
		take_no_more(crew);
	crew->job.ended(table);
}

/* Its worker has told how it ended, but could not write it down. */
static void
warn_of_unwritten(const ObRun *run)
{
	const char *name = ob_report_client_text(run->name);

	ereport(WARNING,
			(errmsg("the history does not say how the export of \"%s\" ended",
					name),
			 run->figures.files > 0
				 ? errdetail("It has landed at \"%s\".",
							 ob_report_client_text(run->uri))
				 : 0,
			 errhint("The server log has the reason.")));
}

/* A worker's own warning is in the server log alone. */
static void
warn_of_object(const ObCrew *crew, int i)
{
	ObTask *task = crew->job.tables[i].task;

	ob_fate_warn(crew->shared->slots[i].fate, task->uri);
}

static void
tell_of_worker(ObCrew *crew, int i)
{
	const ObCrewSlot *slot = &crew->shared->slots[i];
	const ObRun *run = &crew->job.tables[i].task->run;

	if (slot->unwritten)
		warn_of_unwritten(run);
	if (slot->left[0])
		ob_watermark_warn_left(ob_report_client_text(run->name),
							   ob_report_client_text(slot->left));
	if (run->error)
		warn_of_object(crew, i);
	tell(crew, i);
}

typedef struct Ending
{
	Oid schema;
	const ObRun *run;
} Ending;

static void
write_ending(void *arg)
{
	const Ending *ending = arg;

	ob_history_end(ending->schema, ending->run);
}

/*
 * The row of a table whose worker is gone.  It may fail, since the worker's
 * own row is not to be seen where this transaction's snapshot is older; that
 * is no reason to end the others.
 */
static void
write_for_worker(const ObCrew *crew, const ObRun *run)
{
	Ending ending = {crew->job.common->schema, run};
	const ErrorData *error = ob_attempt(write_ending, &ending);

	if (error)
		ereport(
			WARNING,
			(errmsg("the history does not say how the export of \"%s\" "
					"ended",
					ob_report_client_text(run->name)),
			 errdetail_internal("%s", ob_report_client_text(error->message)),
			 errhint("onboard_runs shows it as lost.")));
}

/* Its worker is gone without a word: terminated, or it could not begin. */
static void
tell_lost(ObCrew *crew, int i)
{
	ObCrewSlot *slot = &crew->shared->slots[i];
	ObCrewTable *table = &crew->job.tables[i];
	ObRun *run = &table->task->run;
	ErrorData error = {.sqlerrcode = ERRCODE_ADMIN_SHUTDOWN};

	error.message = pstrdup("the worker that exported it was terminated");
	run->started = slot->started;
	*table->task->export.fate = slot->fate;
	ob_task_fail(table->task, &error);
	warn_of_object(crew, i);
	table->hint = "See the server log.";
	write_for_worker(crew, run);
	tell(crew, i);
}

/* What a worker has handed over, and, if it is to be published, its parts. */
static void
take_over(ObCrew *crew, int i, bool with_parts)
{
	const ObCrewSlot *slot = &crew->shared->slots[i];
	ObPublication *publication = crew->job.tables[i].publication;
	Size size = sizeof(ObUploadPart) * (Size) slot->held.nparts;

	if (!slot->held.there || publication->held.there)
		return;
	pg_read_barrier();
	if (with_parts)
	{
		publication->parts =
			MemoryContextAllocHuge(CurrentMemoryContext, size + 1);
		memcpy(publication->parts,
			   dsa_get_address(crew->area, slot->held_parts), size);
	}
	publication->held = slot->held;
}

/* A worker can be running a table before the postmaster has recorded its pid;
 * while any worker's pid is unknown, none is taken for dead. */
static bool
is_alive(const ObCrew *crew, int pid)
{
	for (int i = 0; i < crew->nworkers; i++)
	{
		int other = pid_of(crew->handles[i]);

		if (other == pid || other < 0)
			return true;
	}
	return false;
}

/* Whether it runs in a process that is gone, unless it has ended since. */
static bool
is_gone(const ObCrew *crew, ObCrewSlot *slot)
{
	bool gone = false;

	if (pg_atomic_read_u32(&slot->state) == OB_CREW_RUNNING)
	{
		pg_read_barrier(); /* its pid was written before */
		gone = !is_alive(crew, slot->pid);
	}
	pg_memory_barrier();
	return gone;
}

/* How many tables are neither ended nor landed yet. */
static int
collect(ObCrew *crew)
{
	int left = 0;

	for (int i = 0; i < crew->taken; i++)
	{
		ObCrewSlot *slot = &crew->shared->slots[i];
		bool gone;
		uint32 state;

		if (crew->told[i] || crew->landed[i])
			continue;
		/* before the state: a worker may end in between */
		gone = is_gone(crew, slot);
		state = pg_atomic_read_u32(&slot->state);
		pg_read_barrier(); /* before what belongs to it */
		if (state == OB_CREW_ENDED)
		{
			learn(crew, i);
			if (crew->job.settle)
				take_over(crew, i, false); /* it failed after that */
			tell_of_worker(crew, i);
		}
		else if (state == OB_CREW_LANDED)
		{
			learn(crew, i);
			take_over(crew, i, true);
			crew->landed[i] = true;
		}
		else if (gone)
		{
			if (crew->job.settle)
				take_over(crew, i, false);
			tell_lost(crew, i);
		}
		else
			left++;
	}
	return left;
}

/* Else it would wait for ever. */
static void
end_deadlocked(const ObCrew *crew)
{
	for (int i = 0; i < crew->nworkers; i++)
	{
		int pid = pid_of(crew->handles[i]);

		if (pid > 0 && ob_deadlock_with(pid))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
					 errmsg("a worker waits for a lock that this session "
							"holds"),
					 errhint("Commit before, or set "
							 "onboard.parallel_tables to 0.")));
	}
}

/* Until another one has ended; false: none will. */
static bool
wait_for_one(ObCrew *crew)
{
	int before = crew->ntold;

	for (;;)
	{
		bool gone = all_ended(crew);
		int left = collect(crew);

		if (crew->ntold > before)
			return true;
		if (left == 0 || gone)
			return false;
		if (!ob_wait_latch(OB_DEADLOCK_MS))
			end_deadlocked(crew);
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- a run that is published together ---- */

/* Tells the workers that wait what has become of their tables. */
static void
judge(ObCrew *crew, ObCrewVerdict verdict)
{
	for (int i = 0; i < crew->job.ntables; i++)
	{
		if (crew->landed[i])
			ob_crew_write_outcome(&crew->shared->slots[i],
								  &crew->job.tables[i].task->run);
	}
	pg_write_barrier();
	pg_atomic_write_u32(&crew->shared->verdict, verdict);
	for (int i = 0; i < crew->nworkers; i++)
	{
		int pid = pid_of(crew->handles[i]);
		PGPROC *process = pid > 0 ? BackendPidGetProc(pid) : NULL;

		if (process)
			ob_wait_wake(process);
	}
}

/* Its worker has gone while it waited: the history is ours to write. */
static void
end_orphan(ObCrew *crew, int i, ObCrewVerdict verdict)
{
	ObTask *task = crew->job.tables[i].task;

	write_for_worker(crew, &task->run);
	if (task->watermark && verdict == OB_CREW_PUBLISHED)
		ob_watermark_warn_left(ob_report_client_text(task->run.name),
							   "The worker that has landed the increment was "
							   "terminated.");
	tell(crew, i);
}

/* How many workers have tables to end. */
static int
collect_ends(ObCrew *crew, ObCrewVerdict verdict)
{
	int left = 0;

	for (int i = 0; i < crew->job.ntables; i++)
	{
		ObCrewSlot *slot = &crew->shared->slots[i];
		bool gone = !is_alive(crew, slot->pid);

		if (!crew->landed[i] || crew->told[i])
			continue;
		pg_memory_barrier();
		if (pg_atomic_read_u32(&slot->state) == OB_CREW_ENDED)
		{
			pg_read_barrier();
			tell_of_worker(crew, i);
		}
		else if (gone)
			end_orphan(crew, i, verdict);
		else
			left++;
	}
	return left;
}

static void
settle(ObCrew *crew)
{
	ObCrewVerdict verdict;

	crew->settling = true;
	verdict =
		crew->job.settle(crew->job.arg) ? OB_CREW_PUBLISHED : OB_CREW_SETTLED;
	crew->settling = false;
	judge(crew, verdict);
	while (collect_ends(crew, verdict) > 0)
	{
		ob_wait_latch(OB_DEADLOCK_MS);
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- ending ---- */

/* Nobody will ask any more how it ended. */
static void
warn_if_untold(ObCrew *crew, int i)
{
	ObCrewSlot *slot = &crew->shared->slots[i];
	bool ended = pg_atomic_read_u32(&slot->state) == OB_CREW_ENDED;

	pg_read_barrier();
	if (!crew->told[i] && (!ended || slot->error[0] != '\0'))
		warn_of_object(crew, i);
	if (!crew->told[i] && ended && slot->left[0] != '\0')
		ob_watermark_warn_left(ob_report_plain_text(crew->job.tables[i].name),
							   ob_report_plain_text(slot->left));
	crew->told[i] = true;
}

/*
 * On an error, when this backend is terminated, and when nobody wants to know
 * more.  Workers are cancelled, so that they abort their uploads and write
 * into the history what became of their tables; who has not ended then is
 * terminated.  Only then may our snapshot go.  Must not raise; perhaps more
 * than once.
 */
static void
end_workers(void *arg)
{
	ObCrew *crew = arg;

	if (crew->segment == NULL)
		return;
	HOLD_INTERRUPTS();
	if (crew->settling)
	{
		crew->settling = false;
		crew->job.abandon(crew->job.arg);
		judge(crew, OB_CREW_SETTLED);
	}
	pg_atomic_write_u32(&crew->shared->stop, 1);
	for (int waited = 0; waited < END_MS && !all_ended(crew);
		 waited += LOOK_MS)
	{
		for (int i = 0; i < crew->nworkers; i++)
		{
			int pid = pid_of(crew->handles[i]);

			if (waited >= CANCEL_MS)
				TerminateBackgroundWorker(crew->handles[i]);
			else if (pid > 0)
				kill(pid, SIGINT);
		}
		ob_wait_latch(LOOK_MS);
	}
	for (int i = 0; crew->job.settle && i < crew->job.ntables; i++)
		take_over(crew, i, false);
	for (int i = 0; i < crew->job.ntables; i++)
		warn_if_untold(crew, i);
	RESUME_INTERRUPTS();
}

static void
detach(ObCrew *crew)
{
	if (crew->segment == NULL)
		return;
	dlist_delete(&crew->node);
	if (crew->area)
		dsa_detach(crew->area);
	dsm_detach(crew->segment);
	crew->segment = NULL;
}

static void
give_up(void *arg)
{
	(void) ob_unwind_forget(arg);
	end_workers(arg);
	detach(arg);
}

/* PostgreSQL calls this for every owner that it releases. */
static void
end_those_of_owner(ResourceReleasePhase phase, bool is_commit,
				   bool is_top_level, void *arg)
{
	dlist_mutable_iter at;

	if (phase != RESOURCE_RELEASE_BEFORE_LOCKS)
		return;
	dlist_foreach_modify(at, &crews)
	{
		ObCrew *crew = dlist_container(ObCrew, node, at.cur);

		if (crew->owner == CurrentResourceOwner)
			give_up(crew);
	}
}

/* ---- running ---- */

static ObCrew *
make(const ObCrewJob *job)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "onboard crew", ALLOCSET_DEFAULT_SIZES);
	ObCrew *crew = MemoryContextAllocZero(context, sizeof(ObCrew));

	crew->context = context;
	crew->job = *job;
	crew->owner = CurrentResourceOwner;
	crew->taken = job->ntables;
	crew->told = MemoryContextAllocZero(context, sizeof(bool) * job->ntables);
	crew->landed =
		MemoryContextAllocZero(context, sizeof(bool) * job->ntables);
	crew->callback.func = give_up;
	crew->callback.arg = crew;
	MemoryContextRegisterResetCallback(context, &crew->callback);
	return crew;
}

/* Its mappings are the crew's, not those of a resource owner, which would let
 * go of them before it tells that it is released. */
static void
share(ObCrew *crew)
{
	static bool registered = false;
	const ObCrewJob *job = &crew->job;
	Size session;
	Size size = estimate(job, &session);

	if (!registered)
		RegisterResourceReleaseCallback(end_those_of_owner, NULL);
	registered = true;
	crew->segment = dsm_create(size, 0);
	dsm_pin_mapping(crew->segment);
	dlist_push_tail(&crews, &crew->node);
	crew->shared = dsm_segment_address(crew->segment);
	fill(crew->shared, job, session);
	if (job->details || job->settle)
	{
		crew->area = dsa_create(LWTRANCHE_PARALLEL_QUERY_DSA);
		dsa_pin_mapping(crew->area);
		crew->shared->area = dsa_get_handle(crew->area);
	}
}

ObCrew *
ob_crew_start(const ObCrewJob *job)
{
	ObCrew *crew = make(job);
	MemoryContext before = MemoryContextSwitchTo(crew->context);

	share(crew);
	ob_unwind(launch_all, end_workers, crew);
	MemoryContextSwitchTo(before);
	return crew;
}

static void
step(void *arg)
{
	ObCrew *crew = arg;

	crew->more = wait_for_one(crew);
	if (!crew->more && crew->job.settle)
		settle(crew);
}

bool
ob_crew_step(ObCrew *crew)
{
	ob_unwind(step, end_workers, crew);
	return crew->more;
}

void
ob_crew_end(ObCrew *crew)
{
	detach(crew);
	MemoryContextDelete(crew->context);
}

void
ob_crew_stop(ObCrew *crew)
{
	MemoryContextDelete(crew->context);
}
