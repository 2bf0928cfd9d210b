/*
 * run.h
 *		Runs: the export of all registered tables.
 *
 * src/pg/run/run.h
 */
#ifndef OB_RUN_H
#define OB_RUN_H

#include "pg/export/task.h"

typedef struct ObRun ObRun;

/*
 * Prepares the export of the entries, in a memory context below the current
 * one; entries and options are borrowed.  common is the part that all requests
 * share: schema, run id, time.  Raises, before a byte is sent, for errors in
 * the call, and if two tables would land on one key.
 */
extern ObRun *ob_run_begin(List *entries, Jsonb *options,
						   const ObExportRequest *common);

/*
 * Runs until one more table has ended, and returns its row, or NULL if there
 * is none.  A table's failure is also reported as a WARNING, and touches no
 * other table.  The end of the run comes before its last table is returned:
 * the manifest, the notifications, and, if the options say so, an error if any
 * table has failed.  A cancel is raised.  Between two calls the workers go on;
 * see ob_workers_start().  The active snapshot and the role must be the same
 * at each call.
 */
extern const ObHistoryRow *ob_run_next(ObRun *run);

/* Ends the run early, and undoes what is under way.  Returns how many tables
 * were not returned because of it.  Does not raise. */
extern int ob_run_stop(ObRun *run);

/* The object of a table whose run has failed. */
typedef struct ObLeftObject
{
	const char *name; /* name of the table */
	const char *uri;
	const char *objects; /* as in ObHistoryRow */
	ObFate fate;         /* not OB_FATE_NONE */
} ObLeftObject;

/*
 * Returns the objects that exist, or may exist, of the tables that this
 * process has run: a list of ObLeftObject *, allocated in the current memory
 * context.  A failed run rolls their rows of the history back.  Does not look
 * at the store.
 */
extern List *ob_run_left_objects(const ObRun *run);

#endif
