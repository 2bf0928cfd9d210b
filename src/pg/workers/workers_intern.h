/*
 * workers_intern.h
 *		What leader and workers of a run share.
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
	OB_WORKER_LANDED, /* and held: its worker waits for the verdict */
	OB_WORKER_ENDED
} ObWorkerState;

/* A table as leader and workers see it.  What is below the state belongs to
 * the worker that runs it, and to the leader once it has ended. */
typedef struct ObWorkerSlot
{
	Size request; /* offset: an image of what is this table's */
	pg_atomic_uint32 state;
	int pid;     /* the worker's, 0 before it runs */
	ObFate fate; /* of the object; also of a worker that dies */

	char status[16];
	ObFigures figures;
	TimestampTz started;
	TimestampTz ended;
	int sqlstate;
	bool unwritten;    /* the history does not say how it ended */
	char uri[2048];    /* "": none */
	char error[2048];  /* "": none */
	char detail[1024]; /* likewise */
	char hint[512];
	char left[1024]; /* why the watermark is left as it is; "": it is not */
	dsa_pointer details; /* a text; or none */
	ObHeld held;
	dsa_pointer held_parts; /* ObUploadPart */
} ObWorkerSlot;

/* What becomes of a run's held objects; each table's is in its slot. */
typedef enum ObWorkersVerdict
{
	OB_VERDICT_NONE,
	OB_VERDICT_FINISHED,
	OB_VERDICT_PUBLISHED /* all of it: increments end there */
} ObWorkersVerdict;

typedef struct ObWorkersShared
{
	uint32 magic;
	pg_atomic_uint32 next; /* the table to be taken next */
	pg_atomic_uint32 stop; /* not 0: take no more */
	pg_atomic_uint32 verdict;
	bool together;   /* objects are held */
	dsa_handle area; /* for what has no bounds */
	PGPROC *leader;  /* to wake */
	int nslots;
	Size common;  /* offset: an image of what all requests have in common */
	Size session; /* offset */
	ObWorkerSlot slots[FLEXIBLE_ARRAY_MEMBER];
} ObWorkersShared;

/* The request for a table, in the current memory context; borrowed from the
 * shared memory. */
extern ObExportRequest ob_workers_request(const ObWorkersShared *shared,
										  const ObWorkerSlot *slot);

static inline const ObSession *
ob_workers_session(const ObWorkersShared *shared)
{
	return (const ObSession *) ((const char *) shared + shared->session);
}

/* How a table has ended, from one process to the other, but for its times. */
extern void ob_workers_write_outcome(ObWorkerSlot *slot,
									 const ObHistoryRow *row);
extern void ob_workers_read_outcome(const ObWorkerSlot *slot,
									ObHistoryRow *row);

/* Takes a table for this process, and returns its number; -1: none is left */
extern int ob_workers_take(ObWorkersShared *shared);

#endif
