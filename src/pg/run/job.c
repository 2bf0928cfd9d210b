/*
 * job.c
 *		Jobs: the submitter.
 *
 * src/pg/run/job.c
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "core/http/http.h"
#include "pg/workers/deadlock.h"
#include "pg/run/job_intern.h"
#include "pg/catalog/run_lock.h"
#include "pg/config/server.h"
#include "pg/base/wait.h"

#define POLL_MS 50

OB_IMAGE_KNOWS(ObJobRequest, 72);

void
ob_job_image(ObImage *image, ObJobRequest *job)
{
	ob_image_struct(image, job, sizeof(*job));
	ob_image_text(image, &job->name);
	ob_image_text(image, &job->query);
	ob_image_text(image, &job->bucket);
	ob_image_jsonb(image, &job->options);
	ob_image_text(image, &job->source);
}

static dsm_segment *
write_down(const ObJobRequest *given)
{
	ObJobRequest job = *given;
	Size session = ob_session_estimate(false);
	Size begin = MAXALIGN(sizeof(ObJobShared));
	ObImage image = ob_image_count();
	dsm_segment *segment;
	ObJobShared *shared;

	job.source = ob_history_source();
	ob_job_image(&image, &job);
	segment = dsm_create(begin + image.size + session, 0);
	shared = dsm_segment_address(segment);
	memset(shared, 0, begin);
	shared->magic = OB_JOB_MAGIC;
	pg_atomic_init_u32(&shared->state, OB_JOB_NEW);
	shared->submitter = MyProc;
	shared->job = begin;
	shared->session = begin + image.size;
	image = ob_image_write((char *) shared + begin);
	ob_job_image(&image, &job);
	ob_session_save((ObSession *) ((char *) shared + shared->session), session,
					false);
	return segment;
}

static BackgroundWorkerHandle *
launch(dsm_segment *segment)
{
	BackgroundWorkerHandle *handle;
	BackgroundWorker worker;

	ob_session_init_worker(&worker, segment);
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	strcpy(worker.bgw_function_name, OB_JOB_MAIN);
	strcpy(worker.bgw_type, "onboard job");
	strcpy(worker.bgw_name, "onboard job");
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("no background worker is free"),
				 errhint("Raise max_worker_processes, or try again later.")));
	return handle;
}

/*
 * Ends a job that waits for a lock of this session.  Otherwise both would
 * wait, for instance the job for the end of this transaction, which has
 * exported under the same id.  The job ends before the error is raised, so
 * that it does not begin when the transaction has ended.
 */
static void
end_deadlocked(BackgroundWorkerHandle *handle)
{
	pid_t pid;

	if (GetBackgroundWorkerPid(handle, &pid) != BGWH_STARTED ||
		!ob_deadlock_with(pid))
		return;
	TerminateBackgroundWorker(handle);
	(void) WaitForBackgroundWorkerShutdown(handle);
	ereport(ERROR, (errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
					errmsg("the job waits for a lock that this session holds"),
					errdetail("It could not begin, and was ended."),
					errhint("Commit before you submit it.")));
}

static void
wait_for_start(ObJobShared *shared, BackgroundWorkerHandle *handle)
{
	pid_t pid;

	for (;;)
	{
		bool stopped = GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED;

		if (pg_atomic_read_u32(&shared->state) != OB_JOB_NEW)
		{
			pg_read_barrier(); /* the state was written after the fields */
			return;
		}
		if (stopped)
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
							errmsg("the background worker could not begin"),
							errhint("See the server log.")));
		if (!ob_wait_latch(OB_DEADLOCK_MS))
			end_deadlocked(handle);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * A role that may export nowhere must not start processes.  The job itself
 * finds out which server it uses, unless the call names one.
 */
static void
require_some_server(const ObJobRequest *job)
{
	JsonbValue *server = NULL;

	if (job->options && JB_ROOT_IS_OBJECT(job->options))
		server = getKeyJsonValueFromContainer(&job->options->root, "server",
											  strlen("server"), NULL);
	ob_server_require_some(
		server && server->type == jbvString
			? pnstrdup(server->val.string.val, server->val.string.len)
			: NULL);
}

void
ob_job_submit(const ObJobRequest *job)
{
	dsm_segment *segment;
	ObJobShared *shared;

	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
						errmsg("jobs cannot be submitted on a standby"),
						errdetail("Their history cannot be written there."),
						errhint("Use onboard_table() or onboard_all().")));
	if (InSecurityRestrictedOperation())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("jobs cannot be submitted within a "
							   "security-restricted operation")));
	require_some_server(job);
	ob_bounds_enter();
	segment = write_down(job);
	shared = dsm_segment_address(segment);
	wait_for_start(shared, launch(segment));
	ob_bounds_leave();
	if (pg_atomic_read_u32(&shared->state) == OB_JOB_REFUSED)
		ob_bounds_refuse(shared->bound);
	if (pg_atomic_read_u32(&shared->state) == OB_JOB_FAILED)
		ereport(ERROR,
				(errcode(shared->sqlstate),
				 errmsg("could not begin the run: %s", shared->error),
				 shared->detail[0] ? errdetail_internal("%s", shared->detail)
								   : 0));
	dsm_detach(segment);
}

/* The job goes on even if this transaction is rolled back. */
static void
refuse_deadlock(const pg_uuid_t *run_id, Oid role)
{
	int pid = ob_deadlock_with_run(role, run_id);

	if (pid != 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
				 errmsg("the run waits for a lock that this session holds"),
				 errdetail("Process %d waits for the lock, and this session "
						   "for the run.",
						   pid),
				 errhint("Commit before you wait for the run.")));
}

bool
ob_job_wait(const pg_uuid_t *run_id, Oid role, int64 timeout_ms)
{
	int64 now = ob_http_now_ms();
	int64 end = now + timeout_ms;
	int64 look = now + OB_DEADLOCK_MS;

	while (ob_run_is_locked(role, run_id))
	{
		now = ob_http_now_ms();
		if (timeout_ms >= 0 && now >= end)
			return false;
		if (now >= look)
		{
			refuse_deadlock(run_id, role);
			look = ob_http_now_ms() + OB_DEADLOCK_MS;
		}
		ob_wait_latch(POLL_MS);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}
