/*
 * job_intern.h
 *		What a submitter and its worker share.
 *
 * src/pg/run/job_intern.h
 */
#ifndef OB_JOB_INTERN_H
#define OB_JOB_INTERN_H

#include "port/atomics.h"
#include "storage/proc.h"

#include "pg/workers/worker_limits.h"
#include "pg/run/job.h"
#include "pg/workers/session.h"

#define OB_JOB_MAGIC 0x6f6e6a62
#define OB_JOB_LIBRARY "onboard"
#define OB_JOB_MAIN "onboard_job_main"

typedef enum ObJobState
{
	OB_JOB_NEW,
	OB_JOB_STARTED, /* the history says so */
	OB_JOB_KNOWN,   /* the role has such a run already */
	OB_JOB_REFUSED, /* there are as many as there may be */
	OB_JOB_FAILED
} ObJobState;

/* Until the state is told; then the submitter, and with it this, may go. */
typedef struct ObJobShared
{
	uint32 magic;
	pg_atomic_uint32 state;
	PGPROC *submitter;
	Oid schema;
	Oid role; /* whose run it is */
	pg_uuid_t run_id;
	bool given_id;
	TimestampTz when;
	bool all;
	/* offsets; 0: none */
	Size name;
	Size query;
	Size bucket;
	Size options;
	Size source;
	Size session;
	ObBound bound; /* of OB_JOB_REFUSED */
	int sqlstate;  /* of OB_JOB_FAILED */
	char error[1024];
} ObJobShared;

static inline void *
ob_job_at(const ObJobShared *shared, Size offset)
{
	return offset ? (char *) shared + offset : NULL;
}

#endif
