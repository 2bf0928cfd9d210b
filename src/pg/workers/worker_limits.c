/*
 * worker_limits.c
 *		The limits of how many background workers roles may use.
 *
 * src/pg/workers/worker_limits.c
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"

#include "core/http/http.h"
#include "pg/workers/worker_limits.h"
#include "pg/catalog/kept_lock.h"
#include "pg/base/wait.h"

/* Advisory locks of classes of their own (run_lock.c uses 3), in no database.
 */
#define CLASS_JOB 4    /* a role, and the number of one of its jobs */
#define CLASS_DOOR 5   /* a role */
#define CLASS_WORKER 6 /* the number of a worker of any role */

/* A job that has ended in the history may still be about to exit. */
#define GRACE_MS 1000
#define POLL_MS 20

int onboard_max_jobs_per_role;
int onboard_reserved_workers;

static LOCKTAG
lock_tag(uint16 class, Oid role, int number)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, InvalidOid, role, number, class);
	return tag;
}

static bool
is_bound(void)
{
	MemoryContext context = CurrentMemoryContext;
	bool in_transaction = IsTransactionState();
	bool bound;

	if (!in_transaction)
		StartTransactionCommand();
	bound = !superuser_arg(GetAuthenticatedUserId());
	if (!in_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return bound;
}

static int
max_jobs(void)
{
	if (onboard_max_jobs_per_role >= 0)
		return onboard_max_jobs_per_role;
	return Max(max_worker_processes / 2, 1);
}

static int
max_workers(void)
{
	return max_worker_processes - onboard_reserved_workers;
}

/* Whether no process holds the lock; a lock of this process counts as held. */
static bool
is_free(const LOCKTAG *tag)
{
	LockAcquireResult result = LockAcquire(tag, ExclusiveLock, false, true);

	if (result == LOCKACQUIRE_NOT_AVAIL)
		return false;
	LockRelease(tag, ExclusiveLock, false);
	return result == LOCKACQUIRE_OK;
}

/* Finds a lock that no process holds.  Takes it if the process is to keep it.
 * Returns false if there is none. */
static bool
take(uint16 class, Oid role, int n, bool for_good)
{
	for (int i = 0; i < n; i++)
	{
		LOCKTAG tag = lock_tag(class, role, i);

		if (for_good ? ob_kept_lock_take(&tag) : is_free(&tag))
			return true;
	}
	return false;
}

static ObBound
find_bound(bool for_good)
{
	if (!is_bound())
		return OB_BOUND_NONE;
	if (!take(CLASS_JOB, GetAuthenticatedUserId(), max_jobs(), for_good))
		return OB_BOUND_JOBS;
	if (!take(CLASS_WORKER, InvalidOid, max_workers(), for_good))
		return OB_BOUND_WORKERS;
	return OB_BOUND_NONE;
}

void
ob_bounds_enter(void)
{
	LOCKTAG tag = lock_tag(CLASS_DOOR, GetAuthenticatedUserId(), 0);
	int64 end;
	ObBound bound;

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	end = ob_http_now_ms() + GRACE_MS;
	while ((bound = find_bound(false)) != OB_BOUND_NONE &&
		   ob_http_now_ms() < end)
	{
		ob_wait_latch(POLL_MS);
		CHECK_FOR_INTERRUPTS();
	}
	if (bound != OB_BOUND_NONE)
		ob_bounds_refuse(bound);
}

void
ob_bounds_leave(void)
{
	LOCKTAG tag = lock_tag(CLASS_DOOR, GetAuthenticatedUserId(), 0);

	LockRelease(&tag, ExclusiveLock, false);
}

ObBound
ob_bounds_take_job(void)
{
	return find_bound(true);
}

ObBound
ob_bounds_take_worker(void)
{
	if (is_bound() && !take(CLASS_WORKER, InvalidOid, max_workers(), true))
		return OB_BOUND_WORKERS;
	return OB_BOUND_NONE;
}

int
ob_bounds_workers(int wanted)
{
	int n = 0;

	if (!is_bound())
		return wanted;
	for (int i = 0; i < max_workers() && n < wanted; i++)
	{
		LOCKTAG tag = lock_tag(CLASS_WORKER, InvalidOid, i);

		n += is_free(&tag);
	}
	return n;
}

void
ob_bounds_refuse(ObBound bound)
{
	const char *role = GetUserNameFromId(GetAuthenticatedUserId(), true);

	if (bound == OB_BOUND_JOBS)
		ereport(
			ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("role \"%s\" has as many jobs as it may have",
					role ? role : "?"),
			 errdetail("%d at a time, by onboard.max_jobs_per_role.",
					   max_jobs()),
			 errhint("Wait until one of them has ended, or ask a "
					 "superuser: ALTER ROLE %s SET "
					 "onboard.max_jobs_per_role = %d;",
					 role ? quote_identifier(role) : "...", max_jobs() + 1)));
	ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					errmsg("no background worker is free for another job"),
					errdetail("Of max_worker_processes (%d), jobs and their "
							  "workers leave %d free, by "
							  "onboard.reserved_workers.",
							  max_worker_processes, onboard_reserved_workers),
					errhint("Try again later, or raise "
							"max_worker_processes.")));
}
