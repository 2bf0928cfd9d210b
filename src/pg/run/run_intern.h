/*
 * run_intern.h
 *		What the run_*.c files have in common.
 *
 * src/pg/run/run_intern.h
 *
 *	   run.c		every registered table, each for itself
 *	   run_crew.c		by background workers
 *	   run_together.c	the same, published together
 */
#ifndef OB_RUN_INTERN_H
#define OB_RUN_INTERN_H

#include "pg/workers/workers.h"
#include "pg/workers/publisher.h"
#include "pg/run/run.h"
#include "pg/catalog/notify.h"

typedef struct ObRunTable
{
	ObRunAll *all;
	ObRequest request;
	ObTask task;
	ErrorData *error;           /* of its preparation */
	char *where;                /* it lands: see core/text/place.h */
	double size;                /* estimated, in bytes */
	bool here;                  /* run by this session, not by a worker */
	bool told;                  /* in all->ended */
	bool failed;                /* and warned of */
	ObPublication *publication; /* NULL: it is published for itself */
} ObRunTable;

struct ObRunAll
{
	Oid schema;
	Jsonb *options; /* of the call; NULL: none */
	ObRequest common;
	List *servers;            /* of the tables, each once */
	const ObOptions *checked; /* those that are of the call alone */
	TimestampTz started;
	ObRunTable *tables;
	int n;
	int failed;
	ObTotals totals;       /* of tables that were told */
	const ObExport *where; /* of the manifest; NULL: there is none */

	MemoryContext context; /* of all this */
	ObCrew *crew;          /* of one that is not together; NULL: none */
	bool begun;            /* all is prepared; workers, if any, run */
	bool closed;           /* all is told */
	int next;              /* the table that the session looks at next */
	ObRunTable **ended;    /* in the order in which they have */
	int nended;
	int given; /* of them, by ob_run_next() */

	/* of one whose objects are published together */
	MemoryContext publication;
	ObPublisher *publisher; /* NULL: each for itself */
	MemoryContextCallback callback;
	bool visible;   /* all objects */
	bool published; /* all, with the manifest */
	bool warned;    /* of what is visible nevertheless */
};

/* Runs a table in this session; it is told then, unless it is held. */
extern void ob_run_here(ObRunTable *table);

/* Tells of a table that was run here, and writes the history. */
extern void ob_run_end_here(ObRunTable *table);

/* A table has failed here: counts it, and warns; or elsewhere: the latter. */
extern void ob_run_failed(ObRunTable *table, const ErrorData *error);
extern void ob_run_warn(ObRunTable *table, const ErrorData *error);

/* Puts it at the end of those that have ended. */
extern void ob_run_tell(ObRunTable *table);

/* Workers that run the tables, if there can be any, else NULL; what they leave
 * has no status.  settle and abandon: see ObCrewJob. */
extern ObCrew *ob_run_crew(ObRunAll *all, bool (*settle)(void *arg),
						   void (*abandon)(void *arg));

extern void ob_run_manifest(const ObRunAll *all, bool success);

/* All tables, of which one at least could be prepared. */
extern void ob_run_together(ObRunAll *all);

#endif
