/*
 * job_main.c
 *		Jobs: the worker.
 *
 * src/pg/run/job_main.c
 *
 * The request is copied before the submitter learns that the worker has begun,
 * since its memory may go then.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/run/job_intern.h"
#include "pg/base/errors.h"
#include "pg/run/run.h"
#include "pg/catalog/run_lock.h"
#include "pg/catalog/notify.h"
#include "pg/base/wait.h"
#include "pg/workers/table_worker.h"

extern PGDLLEXPORT void onboard_job_main(Datum main_arg);

typedef struct JobState
{
	ObJobRequest wanted; /* a copy, like the session */
	const ObSession *session;
	ObExportRequest common;
	List *names; /* names of the tables in the history's first rows */
	bool none;   /* there were no tables: the run has a row of its own */
	bool known;
	ObRun *run; /* NULL: it has not begun */
	List *left; /* of ObLeftObject *, if the run has failed */
} JobState;

static ObJobShared *
attach(Datum main_arg, dsm_segment **segment)
{
	ObJobShared *shared;

	*segment = dsm_attach(DatumGetUInt32(main_arg));
	/* the submitter has given up */
	if (*segment == NULL)
		proc_exit(0);
	shared = dsm_segment_address(*segment);
	if (shared->magic != OB_JOB_MAGIC)
		elog(FATAL, "unknown contents of dynamic shared memory");
	return shared;
}

static void
set_state(ObJobShared *shared, ObJobState state)
{
	pg_write_barrier();
	pg_atomic_write_u32(&shared->state, state);
	ob_wait_wake(shared->submitter);
}

/* ---- the first rows of the history ---- */

/* The name in the row of the run itself, which there is if no table's row has
 * its status.  No table has that name. */
#define RUN_ITSELF ""

static ObHistoryRow
first_row(const JobState *job, const char *name)
{
	return (ObHistoryRow){
		.run_id = job->wanted.run_id,
		.name = name,
		.status = OB_STATUS_QUEUED,
		.source = job->wanted.source,
		.started = GetCurrentTimestamp(),
	};
}

static void
write_queued(void *arg)
{
	JobState *job = arg;
	const ObJobRequest *wanted = &job->wanted;
	MemoryContext before = CurrentMemoryContext;
	ListCell *cell;

	/* ob_work_write() may call this twice */
	job->names = NIL;
	job->known = ob_history_knows(wanted->schema, &wanted->run_id);
	if (job->known)
		return;
	MemoryContextSwitchTo(TopMemoryContext);
	if (!wanted->all)
		job->names = list_make1(unconstify(char *, wanted->name));
	else
	{
		foreach (cell, ob_registry_list(wanted->schema, wanted->name))
			job->names = lappend(job->names, ((ObEntry *) lfirst(cell))->name);
		job->none = job->names == NIL;
		if (job->none)
			job->names = list_make1(RUN_ITSELF);
	}
	MemoryContextSwitchTo(before);
	foreach (cell, job->names)
	{
		ObHistoryRow row = first_row(job, lfirst(cell));

		ob_history_write(wanted->schema, &row);
	}
}

/* ---- one table ---- */

static void
run_one(const JobState *job)
{
	const ObJobRequest *wanted = &job->wanted;
	ObWorkerExport *work = palloc0(sizeof(ObWorkerExport));

	work->session = job->session;
	work->request = job->common;
	work->request.name = wanted->name;
	work->request.query = wanted->query;
	work->request.bucket = wanted->bucket;
	work->request.options = wanted->options;
	work->request.options_for = OB_OPTIONS_TABLE;
	ob_work_run(work);
}

/* ---- all tables ---- */

/* Listeners are notified of tables, but not of the run's own row. */
static void
write_run_itself(const JobState *job, const char *status,
				 const ErrorData *error)
{
	ObHistoryRow row = first_row(job, RUN_ITSELF);

	row.status = status;
	row.ended = row.started;
	if (error)
	{
		row.error = error->message;
		row.detail = error->detail;
		row.sqlstate = error->sqlerrcode;
	}
	ob_history_write(job->wanted.schema, &row);
}

static void
run_entries(JobState *job)
{
	const ObJobRequest *wanted = &job->wanted;
	ObExportRequest common = job->common;

	ob_session_begin(job->session);
	common.lsn = ob_task_lsn();
	job->run = ob_run_begin(ob_registry_list(wanted->schema, wanted->name),
							wanted->options, &common);
	while (ob_run_next(job->run) != NULL)
		continue;
	if (job->none)
		write_run_itself(job, OB_STATUS_EMPTY, NULL);
	ob_session_commit();
}

typedef struct Failure
{
	const JobState *job;
	const ErrorData *error;
} Failure;

/* Adds that the table's object exists, or may exist. */
static void
add_left_object(const JobState *job, ObHistoryRow *row)
{
	ListCell *cell;

	foreach (cell, job->left)
	{
		const ObLeftObject *object = lfirst(cell);

		if (strcmp(object->name, row->name) != 0)
			continue;
		row->uri = object->uri;
		row->objects = object->objects;
		row->error = ob_fate_error(object->fate, row->error);
	}
}

/* Marks tables that have not ended as failed, because the run has failed.  The
 * rows of those that this process has exported were rolled back. */
static void
write_failure(void *arg)
{
	const Failure *failure = arg;
	const JobState *job = failure->job;
	Oid schema = job->wanted.schema;
	ObTotals totals = {.run_id = job->wanted.run_id};
	ListCell *cell;

	foreach (cell, job->names)
	{
		ObHistoryRow row = first_row(job, lfirst(cell));

		row.status = OB_STATUS_FAILED;
		row.ended = row.started;
		row.error = failure->error->message;
		row.detail = failure->error->detail;
		row.sqlstate = failure->error->sqlerrcode;
		add_left_object(job, &row);
		if (job->none || !ob_history_write_if_open(schema, &row))
			continue;
		ob_notify_log(&row);
		ob_notify_table(&row);
	}
	ob_history_sum(schema, &totals);
	/* all tables have landed, and yet the run has failed */
	if (totals.failed == 0 || job->none)
		write_run_itself(job, OB_STATUS_FAILED, failure->error);
	totals.run_failed = true;
	totals.ended = GetCurrentTimestamp();
	if (totals.started == 0)
		totals.started = job->common.when;
	ob_notify_run(&totals);
}

/* Keeps what is known of the run's objects beyond its transaction. */
static void
keep_left_objects(JobState *job)
{
	MemoryContext before;

	if (!job->run)
		return;
	before = MemoryContextSwitchTo(TopMemoryContext);
	job->left = ob_run_left_objects(job->run);
	MemoryContextSwitchTo(before);
	job->run = NULL;
}

static void
run_every(JobState *job)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData *volatile error = NULL;
	Failure failure = {job, NULL};

	pgstat_report_activity(STATE_RUNNING, "onboard: export of all tables");
	PG_TRY();
	{
		run_entries(job);
	}
	PG_CATCH();
	{
		keep_left_objects(job);
		error = ob_work_recover(context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	if (!error)
		return;
	failure.error = error;
	(void) ob_work_write(job->session, write_failure, &failure);
}

/* ---- the process ---- */

/* Copies everything that is needed when the submitter has ended. */
static const ObJobShared *
copy(const ObJobShared *shared, dsm_segment *segment)
{
	Size size = dsm_segment_map_length(segment);

	return memcpy(MemoryContextAllocHuge(TopMemoryContext, size), shared,
				  size);
}

void
onboard_job_main(Datum main_arg)
{
	dsm_segment *segment;
	ObJobShared *shared;
	const ObJobShared *own;
	const ErrorData *error;
	ObImage image;
	JobState job;

	ob_work_signals();
	shared = attach(main_arg, &segment);
	ob_session_restore(ob_job_session(shared));
	ob_history_set_background();
	MemoryContextSwitchTo(AllocSetContextCreate(
		TopMemoryContext, "onboard job", ALLOCSET_DEFAULT_SIZES));
	memset(&job, 0, sizeof(job));
	own = copy(shared, segment);
	image = ob_image_read((const char *) own + own->job);
	ob_job_image(&image, &job.wanted);
	job.session = ob_job_session(own);
	job.common.schema = job.wanted.schema;
	job.common.run_id = job.wanted.run_id;
	job.common.given_id = job.wanted.given_id;
	job.common.when = ob_session_now(job.session);
	job.common.source = job.wanted.source;
	shared->bound = ob_bounds_take_job();
	if (shared->bound != OB_BOUND_NONE)
	{
		set_state(shared, OB_JOB_REFUSED);
		return;
	}
	if (!ob_run_lock_session(job.wanted.role, &job.wanted.run_id))
	{
		set_state(shared, OB_JOB_KNOWN);
		return;
	}
	error = ob_work_write(job.session, write_queued, &job);
	if (error)
	{
		shared->sqlstate = error->sqlerrcode;
		ob_report_copy(shared->error, sizeof(shared->error), error->message);
		ob_report_copy(shared->detail, sizeof(shared->detail), error->detail);
		set_state(shared, OB_JOB_FAILED);
		return;
	}
	set_state(shared, job.known ? OB_JOB_KNOWN : OB_JOB_STARTED);
	dsm_detach(segment);
	if (job.known)
		return;
	if (job.wanted.all)
		run_every(&job);
	else
		run_one(&job);
}
