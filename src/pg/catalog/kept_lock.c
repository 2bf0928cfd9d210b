/*
 * kept_lock.c
 *		Advisory locks that a worker keeps until it ends.
 *
 * src/pg/catalog/kept_lock.c
 */
#include "postgres.h"

#include "access/xact.h"

#include "pg/catalog/kept_lock.h"

#define MOST 3 /* locks of a run, a job and a worker */

static LOCKTAG kept[MOST];
static int n;

static void
take_all(bool session)
{
	for (int i = 0; i < n; i++)
		(void) LockAcquire(&kept[i], ExclusiveLock, session, true);
}

/* PostgreSQL calls this before it releases the transaction's locks.  A lock
 * that the process has is only counted up, so nothing here fails. */
static void
end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_ABORT)
		take_all(true);
}

bool
ob_kept_lock_take(const LOCKTAG *tag)
{
	Assert(n < MOST);
	if (LockAcquire(tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	if (n == 0)
		RegisterXactCallback(end, NULL);
	kept[n++] = *tag;
	return true;
}

void
ob_kept_lock_begin(void)
{
	take_all(false);
}
