/*
 * job.h
 *		Jobs: exports by a background worker that outlive the session.
 *
 * src/pg/run/job.h
 *
 * The submitter waits until the worker has written the first rows of the run
 * into the history; from then on they share nothing.  A role that submits an
 * id again gets the same run.
 */
#ifndef OB_JOB_H
#define OB_JOB_H

#include "pg/export/task.h"

typedef struct ObJobRequest
{
	Oid schema; /* the extension's schema */
	Oid role;   /* owner of the run */
	pg_uuid_t run_id;
	bool given_id;      /* the caller gave the id, so the run may be a retry */
	bool all;           /* every registered table; else one */
	const char *name;   /* name of the table; else a pattern, or NULL */
	const char *query;  /* query of the table; may be NULL */
	const char *bucket; /* likewise */
	Jsonb *options;     /* NULL: none */
	const char *source; /* ob_history_source(); set by ob_job_submit() */
} ObJobRequest;

/* Starts the job.  Raises if there is no free worker, or if the worker could
 * not begin; with 40P01 if it could not because of a lock of this session. */
extern void ob_job_submit(const ObJobRequest *job);

/* Waits until no process works on that role's run, or until the time is over
 * (-1: no limit).  Returns false in the latter case.  Answers interrupts, and
 * raises 40P01 if the run waits for a lock of this session. */
extern bool ob_job_wait(const pg_uuid_t *run_id, Oid role, int64 timeout_ms);

#endif
