/*
 * workers_intern.h
 *		What leader and workers of a run share.
 *
 * src/pg/workers/workers_intern.h
 */
#ifndef OB_CREW_INTERN_H
#define OB_CREW_INTERN_H

#include "port/atomics.h"
#include "storage/proc.h"
#include "utils/dsa.h"

#include "pg/workers/workers.h"
#include "pg/workers/session.h"

#define OB_CREW_MAGIC 0x6f6e6264

/* What a worker's entry point is told. */
#define OB_CREW_LIBRARY "onboard"
#define OB_CREW_MAIN "onboard_crew_main"

typedef enum ObCrewState
{
	OB_CREW_WAITING,
	OB_CREW_RUNNING,
	OB_CREW_LANDED, /* and held: its worker waits for the verdict */
	OB_CREW_ENDED
} ObCrewState;

/* A table as leader and workers see it.  What is below the state belongs to
 * the worker that runs it, and to the leader once it has ended. */
typedef struct ObCrewSlot
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
	dsa_pointer details; /* a jsonb; or none */
	ObHeld held;
	dsa_pointer held_parts; /* ObUploadPart */
} ObCrewSlot;

/* What becomes of a run's held objects; each table's is in its slot. */
typedef enum ObCrewVerdict
{
	OB_CREW_NO_VERDICT,
	OB_CREW_SETTLED,
	OB_CREW_PUBLISHED /* all of it: increments end there */
} ObCrewVerdict;

typedef struct ObCrewShared
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
	ObCrewSlot slots[FLEXIBLE_ARRAY_MEMBER];
} ObCrewShared;

/* The request for a table, in the current memory context; borrowed from the
 * shared memory. */
extern ObRequest ob_crew_request(const ObCrewShared *shared,
								 const ObCrewSlot *slot);

static inline const ObSession *
ob_crew_session(const ObCrewShared *shared)
{
	return (const ObSession *) ((const char *) shared + shared->session);
}

/* How a table has ended, from one process to the other, but for its times. */
extern void ob_crew_write_outcome(ObCrewSlot *slot, const ObRun *run);
extern void ob_crew_read_outcome(const ObCrewSlot *slot, ObRun *run);

/* A text of a slot, palloc'd; NULL: there is none. */
extern char *ob_crew_text(const char *text);

/* The number of a table that nobody has taken, now this process's; -1: none */
extern int ob_crew_take(ObCrewShared *shared);

#endif
