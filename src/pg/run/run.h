/*
 * run.h
 *		Exporting every registered table.
 *
 * src/pg/run/run.h
 */
#ifndef OB_RUN_H
#define OB_RUN_H

#include "pg/export/task.h"

typedef struct ObRun ObRun;

/*
 * Prepares the export of the entries, in a memory context below the current
 * one; entries and options are borrowed.  common has what all requests have in
 * common: schema, run id, time.  Raises, before a byte is sent, for what is
 * wrong with the call, and if two of them would land on one key.
 */
extern ObRun *ob_run_begin(List *entries, Jsonb *options,
						   const ObExportRequest *common);

/*
 * Runs until one more table has ended; NULL: there is none.  A table's failure
 * is also told as a WARNING, and touches no other.  What ends the run comes
 * before its last table is returned: the manifest, who is told, and, if the
 * options say so, an error if any table has failed.  A cancel is passed on.
 * In between workers go on, see ob_workers_start() for how long.  The active
 * snapshot must be the same at each call, and the role.
 */
extern const ObHistoryRow *ob_run_next(ObRun *run);

/* Ends the run early; how many tables were not returned because of it.  What
 * is under way is undone.  Does not raise. */
extern int ob_run_stop(ObRun *run);

/* All of it. */
extern void ob_run_all(List *entries, Jsonb *options,
					   const ObExportRequest *common);

#endif
