/*
 * workers.h
 *		Several tables at a time: background workers that share out a run.
 *
 * src/pg/workers/workers.h
 *
 * The leader, a session that calls onboard_all(), writes down what is to do in
 * dynamic shared memory and starts workers.  Each takes the next table,
 * exports it under the leader's snapshot in a transaction of its own, commits
 * its row of the history, and writes down how it ended; until none is left.
 * The leader waits, and tells its caller.  It holds the snapshot, so it must
 * outlive them: when it ends for whatever reason, it ends them first.
 */
#ifndef OB_WORKERS_H
#define OB_WORKERS_H

#include "pg/workers/publisher.h"
#include "pg/export/task.h"

/* One table of a run.  The caller's; in the order in which they are taken. */
typedef struct ObWorkerTable
{
	const char *name;
	ObTableExport *task; /* its row and details are filled when it has ended */
	const char *hint;    /* of its error; NULL: none */
	void *arg;           /* the caller's own */
	/* of a run that is published together: filled when it has landed */
	ObPublication *publication;
} ObWorkerTable;

/* What workers are started for. */
typedef struct ObWorkersSpec
{
	const ObExportRequest *common; /* of all tables; with a source */
	bool details;                  /* are wanted, for a manifest */
	int workers;                   /* at most */
	ObWorkerTable *tables;
	int ntables;
	/* Called as each ends, in no order. */
	void (*ended)(ObWorkerTable *table);

	/*
	 * NULL, unless the run is published together.  finish is called once
	 * all tables have landed, failed, or are left to the caller, and workers
	 * wait.  It publishes or discards, and sets each landed table's row to
	 * what became of it; true: increments end there.  After the first failure
	 * no other table is begun.  abort, if finish does not return, does the
	 * latter without raising.
	 */
	bool (*finish)(void *arg);
	void (*abort)(void *arg);
	void *arg;
} ObWorkersSpec;

/* Whether workers would see and may do what this session does; if not, says
 * why in a NOTICE.  (It has written, say.) */
extern bool ob_workers_possible(void);

/*
 * Starts workers, as many as there are: perhaps none.  The tables, names and
 * tasks of the spec are borrowed.  The result is in a memory context below the
 * current one, and the workers end with it, or with the current resource
 * owner, whichever goes first: so they may go on when the caller returns rows
 * of its query.
 */
typedef struct ObWorkers ObWorkers;
extern ObWorkers *ob_workers_start(const ObWorkersSpec *spec);

/*
 * Waits until "ended" has been called for another table, or for some; false:
 * every table has ended but those that no worker could take, because none was
 * free or the last one died: they are left to the caller, who finds them by
 * row.status, which is NULL.  Answers interrupts; an error ends the workers
 * first, and their uploads, but those that were held already: they are noted
 * in the publications.  What became of the tables is in the current memory
 * context.
 */
extern bool ob_workers_step(ObWorkers *workers);

/* Comes after the last step. */
extern void ob_workers_end(ObWorkers *workers);

/* Ends the workers and their uploads before that.  Does not raise. */
extern void ob_workers_stop(ObWorkers *workers);

#endif
