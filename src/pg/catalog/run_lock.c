/*
 * run_lock.c
 *		The lock that shows which process works on a run.
 *
 * src/pg/catalog/run_lock.c
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lock.h"

#include "core/base/hash.h"
#include "pg/catalog/kept_lock.h"
#include "pg/catalog/run_lock.h"

/* Advisory locks of a class of their own; those of users have 1 and 2. */
#define LOCK_CLASS 3
#define TABLE_LOCK_CLASS 7 /* worker_limits.c uses 4 to 6 */

/* The first bytes of a SHA-256.  The core's implementation needs no resource
 * owner, which a worker lacks between its transactions. */
static void
digest(Oid role, const pg_uuid_t *run_id, const char *name, uint8 *bytes,
	   int len)
{
	const Oid oids[] = {MyDatabaseId, role};
	unsigned char hash[OB_SHA256_LEN];
	StringInfoData text;
	ObError error;

	initStringInfo(&text);
	appendBinaryStringInfo(&text, (const char *) oids, sizeof(oids));
	appendBinaryStringInfo(&text, (const char *) run_id->data, UUID_LEN);
	appendStringInfoString(&text, name);
	ob_error_clear(&error);
	if (ob_sha256(text.data, text.len, hash, &error) != OB_OK)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY),
						errmsg("could not compute the key of a run")));
	pfree(text.data);
	memcpy(bytes, hash, len);
}

pg_uuid_t
ob_run_key(Oid role, const pg_uuid_t *run_id, const char *name)
{
	pg_uuid_t key = {{0}};

	digest(role, run_id, name, key.data, UUID_LEN);
	return key;
}

static LOCKTAG
lock_tag(Oid role, const pg_uuid_t *run_id)
{
	uint32 halves[2];
	LOCKTAG tag;

	digest(role, run_id, "", (uint8 *) halves, sizeof(halves));
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, halves[0], halves[1], LOCK_CLASS);
	return tag;
}

static bool
is_holder(const LockInstanceData *lock)
{
	return lock->locktag.locktag_type == LOCKTAG_ADVISORY &&
		   lock->locktag.locktag_field1 == MyDatabaseId &&
		   lock->locktag.locktag_field4 == LOCK_CLASS &&
		   (lock->holdMask & LOCKBIT_ON(ExclusiveLock)) != 0;
}

/* Whether the process pid works on a run, or, if that is 0, any process. */
static bool
any_is_held(int pid)
{
	LockData *locks = GetLockStatusData();
	bool held = false;

	for (int i = 0; i < locks->nelements && !held; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];

		held = is_holder(lock) && (pid == 0 || lock->pid == pid);
	}
	pfree(locks->locks);
	pfree(locks);
	return held;
}

/* The run would go on for as long as the prepared transaction exists, without
 * a process that could be found. */
static void
refuse_prepare(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_PREPARE && any_is_held(MyProcPid))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot PREPARE a transaction that has called "
							   "onboard_all()"),
						errdetail("What has landed stays."),
						errhint("Export in a transaction of its own, or by "
								"onboard_submit_all().")));
}

bool
ob_run_lock(Oid role, const pg_uuid_t *run_id)
{
	static bool registered = false;
	LOCKTAG tag = lock_tag(role, run_id);

	if (!registered)
		RegisterXactCallback(refuse_prepare, NULL);
	registered = true;
	return LockAcquire(&tag, ExclusiveLock, false, true) !=
		   LOCKACQUIRE_NOT_AVAIL;
}

bool
ob_run_lock_table(Oid role, const pg_uuid_t *run_id, const char *name)
{
	uint32 halves[2];
	LOCKTAG tag;

	digest(role, run_id, name, (uint8 *) halves, sizeof(halves));
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, halves[0], halves[1],
						 TABLE_LOCK_CLASS);
	return LockAcquire(&tag, ExclusiveLock, false, true) !=
		   LOCKACQUIRE_NOT_AVAIL;
}

bool
ob_run_lock_session(Oid role, const pg_uuid_t *run_id)
{
	LOCKTAG tag = lock_tag(role, run_id);

	return ob_kept_lock_take(&tag);
}

int
ob_run_pid(Oid role, const pg_uuid_t *run_id)
{
	LOCKTAG tag = lock_tag(role, run_id);
	LockData *locks = GetLockStatusData();
	int pid = 0;

	for (int i = 0; i < locks->nelements && pid == 0; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];

		if (is_holder(lock) && memcmp(&lock->locktag, &tag, sizeof(tag)) == 0)
			pid = lock->pid;
	}
	pfree(locks->locks);
	pfree(locks);
	return pid;
}

bool
ob_run_any_is_locked(void)
{
	return any_is_held(0);
}

/* GetLockConflicts() is cheap, but does not see a process between two
 * transactions, as jobs are now and then. */
bool
ob_run_is_locked(Oid role, const pg_uuid_t *run_id)
{
	LOCKTAG tag = lock_tag(role, run_id);
	int n;
	int pid;

	/* onboard_wait() may call this for hours */
	pfree(GetLockConflicts(&tag, ShareLock, &n));
	if (n > 0)
		return true;
	pid = ob_run_pid(role, run_id);
	return pid != 0 && pid != MyProcPid;
}
