/*
 * session.h
 *		A session's state, for a background worker that acts in its name.
 *
 * src/pg/workers/session.h
 *
 * A worker of ours gets the same as a parallel worker of PostgreSQL: the
 * database, the roles, the loaded libraries, the settings, and, if it is to
 * see the same as the session, its snapshot.  Unlike a parallel worker it runs
 * transactions of its own, so it can write, but does not see what the
 * session's transaction has written.
 */
#ifndef OB_SESSION_H
#define OB_SESSION_H

#include "datatype/timestamp.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"

typedef struct ObSession ObSession; /* in dynamic shared memory */

/* The state has the active snapshot, and the time that now() gives in the
 * session; or it has no snapshot, and the present time. */
extern Size ob_session_estimate(bool snapshot);
extern void ob_session_save(ObSession *session, Size size, bool snapshot);

/* Returns what now() is in the transactions of such a worker. */
extern TimestampTz ob_session_now(const ObSession *session);

/* Fills the fields that all such workers have in common: the library, and the
 * segment to attach to.  The caller adds function, names and start time. */
extern void ob_session_init_worker(BackgroundWorker *worker,
								   dsm_segment *segment);

/* Connects a worker that has attached to the memory; called once. */
extern void ob_session_restore(const ObSession *session);

/*
 * Begin and end transactions of such a worker, as the session's current role.
 * ob_session_begin() sets the session's time.  A transaction for the history
 * has its own time; it may write and sees what is committed, whatever the
 * session's defaults are.  A transaction with the snapshot sees what the
 * session saw, and only reads; the session must still exist.  No transaction
 * waits for a deferrable snapshot.
 */
extern void ob_session_begin(const ObSession *session);
extern void ob_session_begin_for_history(const ObSession *session);
extern void ob_session_begin_with_snapshot(const ObSession *session);
extern void ob_session_commit(void);
extern void ob_session_abort(void);

#endif
