/*
 * run_all.h
 *		Exporting every registered table.
 *
 * src/pg/run_all.h
 */
#ifndef OB_RUN_ALL_H
#define OB_RUN_ALL_H

#include "pg/task.h"

/* Called as each table ends. */
typedef void (*ObTableEnded)(const ObRun *run, void *arg);

/*
 * Exports the entries: a table's failure is told to "ended" and as a WARNING,
 * and touches no other.  common has what all requests have in common: run id
 * and time.  Raises before the first one if two of them would land on one key,
 * and in the end, if the options say so, if any has failed.  A cancel is
 * passed on.
 */
extern void ob_run_all(List *entries, Jsonb *options, const ObRequest *common,
					   Oid schema, ObTableEnded ended, void *arg);

#endif
