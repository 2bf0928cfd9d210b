/*
 * run_intern.h
 *		What the run_*.c files have in common.
 *
 * src/pg/run_intern.h
 *
 *	   run_all.c		every registered table, each for itself
 *	   run_together.c	the same, published together
 */
#ifndef OB_RUN_INTERN_H
#define OB_RUN_INTERN_H

#include "pg/crew.h"
#include "pg/publish.h"
#include "pg/run_all.h"
#include "pg/tell.h"

typedef struct ObRunAll ObRunAll;

typedef struct ObRunTable
{
	ObRunAll *all;
	ObRequest request;
	ObTask task;
	ErrorData *error;           /* of its preparation */
	double size;                /* estimated, in bytes */
	bool here;                  /* run by this session, not by a worker */
	bool told;                  /* to all->ended */
	bool failed;                /* and warned of */
	ObPublication *publication; /* NULL: it is published for itself */
} ObRunTable;

struct ObRunAll
{
	Oid schema;
	Jsonb *options; /* of the call; NULL: none */
	const ObRequest *common;
	const ObOptions *checked; /* those that are of the call alone */
	TimestampTz started;
	ObRunTable *tables;
	int n;
	int failed;
	ObTotals totals;       /* of tables that were told */
	const ObExport *where; /* of the manifest; NULL: there is none */
	ObTableEnded ended;
	void *arg;

	/* of one whose objects are published together */
	MemoryContext context;
	ObPublisher *publisher; /* NULL: each for itself */
	bool published;         /* all, with the manifest */
	bool warned;            /* of what is visible nevertheless */
};

/* Runs a table in this session; it is told then, unless it is held. */
extern void ob_run_here(ObRunTable *table);

/* Tells of a table that was run here, and writes the history. */
extern void ob_run_end_here(ObRunTable *table);

/* A table has failed: counts it, and warns. */
extern void ob_run_failed(ObRunTable *table, const ErrorData *error);

/* Lets workers run the tables, if there can be any; what they leave has no
 * status.  settle and abandon: see ObCrewJob. */
extern bool ob_run_by_crew(ObRunAll *all, bool (*settle)(void *arg),
						   void (*abandon)(void *arg));

extern void ob_run_manifest(const ObRunAll *all, bool success);

/* All tables, of which one at least could be prepared. */
extern void ob_run_together(ObRunAll *all);

#endif
