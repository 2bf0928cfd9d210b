/*
 * deadlock.h
 *		Deadlocks that PostgreSQL does not see.
 *
 * src/pg/workers/deadlock.h
 *
 * A session that waits for a worker or for a job waits for no lock.  So no
 * deadlock detector notices when that process waits for a lock of the session:
 * each such wait must check that itself, about once a second.  A check keeps
 * no memory, since a wait may last for hours.
 */
#ifndef OB_DEADLOCK_H
#define OB_DEADLOCK_H

#include "utils/uuid.h"

/* The time for which a wait goes on between two checks. */
#define OB_DEADLOCK_MS 1000

/* Whether that process waits for a lock of this one, directly or behind others
 * that do.  Returns false if there is no such process. */
extern bool ob_deadlock_with(int pid);

/* Returns the process that waits for a lock of this one, among those that work
 * on the run: its owner, and the workers that the caller may see in
 * onboard_progress.  0: none does. */
extern int ob_deadlock_with_run(Oid role, const pg_uuid_t *run_id);

#endif
