/*
 * job_intern.h
 *		Declarations that a submitter and its worker share.
 *
 * src/pg/run/job_intern.h
 */
#ifndef OB_JOB_INTERN_H
#define OB_JOB_INTERN_H

#include "port/atomics.h"
#include "storage/proc.h"

#include "pg/config/image.h"
#include "pg/workers/worker_limits.h"
#include "pg/run/job.h"
#include "pg/workers/session.h"

#define OB_JOB_MAGIC 0x6f6e6a62
#define OB_JOB_MAIN "onboard_job_main"

typedef enum ObJobState
{
	OB_JOB_NEW,
	OB_JOB_STARTED, /* the history says so */
	OB_JOB_KNOWN,   /* the role has such a run already */
	OB_JOB_REFUSED, /* a limit is reached */
	OB_JOB_FAILED
} ObJobState;

/* The shared memory exists until the state is set; then the submitter may end,
 * and the memory with it. */
typedef struct ObJobShared
{
	uint32 magic;
	pg_atomic_uint32 state;
	PGPROC *submitter;
	Size job;      /* offset of the image of an ObJobRequest */
	Size session;  /* offset of an ObSession */
	ObBound bound; /* set with OB_JOB_REFUSED */
	int sqlstate;  /* set with OB_JOB_FAILED */
	char error[1024];
	char detail[1024]; /* "": none */
} ObJobShared;

/* Describes the request as an image.  It is read from memory that outlives the
 * ObJobRequest. */
extern void ob_job_image(ObImage *image, ObJobRequest *job);

static inline const ObSession *
ob_job_session(const ObJobShared *shared)
{
	return (const ObSession *) ((const char *) shared + shared->session);
}

#endif
