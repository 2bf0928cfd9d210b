/*
 * workers_intern.h
 *		Declarations that the leader and the workers of a run share.
 *
 * src/pg/workers/workers_intern.h
 */
#ifndef OB_WORKERS_INTERN_H
#define OB_WORKERS_INTERN_H

#include "port/atomics.h"
#include "storage/proc.h"
#include "utils/dsa.h"

#include "pg/workers/workers.h"
#include "pg/workers/session.h"

#define OB_WORKERS_MAGIC 0x6f6e6264

/* The entry point of a worker. */
#define OB_WORKERS_MAIN "onboard_workers_main"

typedef enum ObWorkerState
{
	OB_WORKER_WAITING,
	OB_WORKER_RUNNING,
	OB_WORKER_LANDED, /* held; its worker waits for the verdict */
	OB_WORKER_ENDED
} ObWorkerState;

/* A table as leader and workers see it.  The fields after the state belong to
 * the worker that runs it, and to the leader once it has ended. */
typedef struct ObWorkerSlot
{
	Size request; /* offset of the image of this table's own request */
	pg_atomic_uint32 state;
	int pid;     /* pid of the worker, 0 before it runs */
	ObFate fate; /* fate of the object, also if the worker dies */

	char status[16];
	ObFigures figures;
	TimestampTz started;
	TimestampTz ended;
	int sqlstate;
	bool unwritten;    /* the history lacks the outcome */
	char uri[2048];    /* "": none */
	char error[2048];  /* "": none */
	char detail[1024]; /* "": none */
	char hint[512];
	char left[1024]; /* why the watermark was left as it was; "": it was not */
	dsa_pointer details; /* a text, or invalid */
	ObHeld held;
	dsa_pointer held_parts; /* ObUploadPart */
	bool published;        /* the held object is visible; the leader says so */
	ObUploadObject object; /* then: what is known of it */
} ObWorkerSlot;

/* The verdict on the held objects of a run.  That on each table is in its
 * slot. */
typedef enum ObWorkersVerdict
{
	OB_VERDICT_NONE,
	OB_VERDICT_FINISHED,
	OB_VERDICT_PUBLISHED /* all are published: increments end there */
} ObWorkersVerdict;

typedef struct ObWorkersShared
{
	uint32 magic;
	pg_atomic_uint32 next; /* the next table to take */
	pg_atomic_uint32 stop; /* not 0: no more tables are taken */
	pg_atomic_uint32 verdict;
	bool together;   /* objects are held */
	dsa_handle area; /* has data of any size */
	PGPROC *leader;  /* process to wake */
	int nslots;
	Size common;  /* offset of the image of the requests' common part */
	Size session; /* offset of an ObSession */
	ObWorkerSlot slots[FLEXIBLE_ARRAY_MEMBER];
} ObWorkersShared;

/* Returns the request for a table, in the current memory context; borrowed
 * from the shared memory. */
extern ObExportRequest ob_workers_request(const ObWorkersShared *shared,
										  const ObWorkerSlot *slot);

static inline const ObSession *
ob_workers_session(const ObWorkersShared *shared)
{
	return (const ObSession *) ((const char *) shared + shared->session);
}

/* Pass the outcome of a table, without its times, from one process to the
 * other. */
extern void ob_workers_write_outcome(ObWorkerSlot *slot,
									 const ObHistoryRow *row);
extern void ob_workers_read_outcome(const ObWorkerSlot *slot,
									ObHistoryRow *row);

/* Takes a table for this process, and returns its number, or -1 if none is
 * left. */
extern int ob_workers_take(ObWorkersShared *shared);

#endif
