/*
 * job.h
 *		Exports that outlive the session: a background worker does them.
 *
 * src/pg/run/job.h
 *
 * The submitter waits until the worker has written into the history what it is
 * going to do; from then on the two have nothing in common.  A role that
 * submits an id again gets the same run.
 */
#ifndef OB_JOB_H
#define OB_JOB_H

#include "pg/export/task.h"

typedef struct ObJobRequest
{
	Oid schema; /* the extension's */
	Oid role;   /* whose run it is */
	pg_uuid_t run_id;
	bool given_id;      /* by the caller, so it may have run before */
	bool all;           /* every registered table; else one */
	const char *name;   /* of the one; else a pattern, or NULL */
	const char *query;  /* the one's; may be NULL */
	const char *bucket; /* likewise */
	Jsonb *options;     /* NULL: none */
	const char *source; /* ob_history_source(); set by ob_job_submit() */
} ObJobRequest;

/* Starts it.  Raises if no worker can be had, or if it could not begin; with
 * 40P01 if it could not because of a lock of this session. */
extern void ob_job_submit(const ObJobRequest *job);

/* Waits until no process works on that role's run, or for so long (-1: for
 * ever); false if the time was not enough.  Answers interrupts, and raises
 * 40P01 if the run waits for a lock of this session. */
extern bool ob_job_wait(const pg_uuid_t *run_id, Oid role, int64 timeout_ms);

#endif
