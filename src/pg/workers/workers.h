/*
 * workers.h
 *		Several tables at a time: background workers that share out a run.
 *
 * src/pg/workers/workers.h
 *
 * The leader, a session that calls onboard_all(), writes the tables into
 * dynamic shared memory and starts workers.  Each takes the next table,
 * exports it under the leader's snapshot in a transaction of its own, commits
 * its row of the history, and writes the outcome into the shared memory, until
 * no table is left.  The leader waits, and reports to its caller.  It holds
 * the snapshot, so it must outlive the workers: when it ends, for whatever
 * reason, it ends them first.
 */
#ifndef OB_WORKERS_H
#define OB_WORKERS_H

#include "pg/workers/publisher.h"
#include "pg/export/task.h"

/* One table of a run.  The caller owns it; workers take tables in this order.
 */
typedef struct ObWorkerTable
{
	const char *name;
	ObTableExport *task; /* row and details are filled when it has ended */
	const char *hint;    /* hint of its error; NULL: none */
	void *arg;           /* the caller's own */
	/* for a run that is published together: filled when the table has landed
	 */
	ObPublication *publication;
} ObWorkerTable;

/* The work that workers are started for. */
typedef struct ObWorkersSpec
{
	const ObExportRequest *common; /* shared part, with a source */
	bool details;                  /* details for a manifest are wanted */
	int workers;                   /* number of workers at most */
	ObWorkerTable *tables;
	int ntables;
	/* Called when each table ends, in no order. */
	void (*ended)(ObWorkerTable *table);

	/*
	 * NULL, unless the run is published together.  finish is called once all
	 * tables have landed, failed, or are left to the caller, and workers wait.
	 * It publishes or discards, and sets the row of each landed table to the
	 * outcome; if it returns true, increments end there.  After the first
	 * failure no other table is begun.  abort is called if finish does not
	 * return: it discards, and does not raise.
	 */
	bool (*finish)(void *arg);
	void (*abort)(void *arg);
	void *arg;
} ObWorkersSpec;

/* Whether workers would see and may do the same as this session, which is not
 * so after it has written, for instance.  If not, a NOTICE says why. */
extern bool ob_workers_possible(void);

/*
 * Starts as many workers as there are, perhaps none.  The tables, names and
 * tasks of the spec are borrowed.  The result is in a memory context below the
 * current one, and the workers end with it, or with the current resource
 * owner, whichever goes first: so they may go on while the caller returns rows
 * of its query.
 */
typedef struct ObWorkers ObWorkers;
extern ObWorkers *ob_workers_start(const ObWorkersSpec *spec);

/*
 * Waits until "ended" was called for one more table or several.  Returns false
 * when every table has ended, except those that no worker could take because
 * none was free or the last one died: these are left to the caller, and their
 * row.status is NULL.  Answers interrupts.  An error ends the workers first,
 * and their uploads, except those that were held already: these are noted in
 * the publications.  The outcomes of the tables are in the current memory
 * context.
 */
extern bool ob_workers_step(ObWorkers *workers);

/* Must be called after the last step. */
extern void ob_workers_end(ObWorkers *workers);

/* Ends the workers and their uploads early.  Does not raise. */
extern void ob_workers_stop(ObWorkers *workers);

#endif
