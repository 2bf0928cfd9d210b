/*
 * run_lock.h
 *		The lock that shows which process works on a run.
 *
 * src/pg/catalog/run_lock.h
 *
 * A run is a role's: the same id given by another role is another run.  Its
 * process holds an advisory lock, which goes when the process does, however it
 * ends.  The lock's key is a cryptographic hash of database, role and id, so
 * that no role can hold the lock of another role's run.
 */
#ifndef OB_RUN_LOCK_H
#define OB_RUN_LOCK_H

#include "utils/uuid.h"

/*
 * Marks the run as one that this process works on, until its transaction ends,
 * or until the process does: a "queued" or "running" row is valid only while a
 * process holds this lock (see the view onboard_runs).  Returns false if
 * another process has it.  A transaction that has marked a run cannot be
 * prepared.
 */
extern bool ob_run_lock(Oid role, const pg_uuid_t *run_id);
extern bool ob_run_lock_session(Oid role, const pg_uuid_t *run_id);

/* Locks one table of a run until the transaction ends, regardless of which
 * process holds the run itself.  Returns false if another process has locked
 * that table. */
extern bool ob_run_lock_table(Oid role, const pg_uuid_t *run_id,
							  const char *name);

/* Returns the pid of the process that works on the run, perhaps this one, or
 * 0.  The check does not take the lock, so it never keeps a process from it.
 */
extern int ob_run_pid(Oid role, const pg_uuid_t *run_id);

/* Whether another process works on the run. */
extern bool ob_run_is_locked(Oid role, const pg_uuid_t *run_id);

/* Whether any process works on any run of this database. */
extern bool ob_run_any_is_locked(void);

/* Returns the key of the row of that table in that run. */
extern pg_uuid_t ob_run_key(Oid role, const pg_uuid_t *run_id,
							const char *name);

#endif
