/*
 * kept_lock.h
 *		Advisory locks that a worker keeps until it ends.
 *
 * src/pg/catalog/kept_lock.h
 *
 * A lock of the session goes when a query of the transaction calls
 * pg_advisory_unlock_all(), whatever its class; one of the transaction stays
 * until the transaction ends.  So a worker holds both, and takes the session's
 * again while it still holds the transaction's.
 */
#ifndef OB_KEPT_LOCK_H
#define OB_KEPT_LOCK_H

#include "storage/lock.h"

/* Takes the lock.  Returns false if another process has it.  A worker may keep
 * three. */
extern bool ob_kept_lock_take(const LOCKTAG *tag);

/* Takes the locks for the transaction, too.  Each transaction of a worker
 * begins with this call. */
extern void ob_kept_lock_begin(void);

#endif
