/*
 * deadlock.c
 *		Deadlocks that PostgreSQL does not see.
 *
 * src/pg/workers/deadlock.c
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/backend_status.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "pg/workers/deadlock.h"
#include "pg/catalog/progress.h"
#include "pg/catalog/run_lock.h"

/* The number of processes that may be between that process and this one. */
#define DEPTH 2

/* ---- memory: a check takes more with more max_connections ---- */

typedef struct Look
{
	MemoryContext context;
	MemoryContext before;
} Look;

static Look
begin_look(void)
{
	Look look;

	look.context = AllocSetContextCreate(CurrentMemoryContext, "onboard locks",
										 ALLOCSET_DEFAULT_SIZES);
	look.before = MemoryContextSwitchTo(look.context);
	return look;
}

static void
end_look(const Look *look)
{
	MemoryContextSwitchTo(look->before);
	MemoryContextDelete(look->context);
}

/* ---- checking ---- */

static bool
is_blocked(int pid, int depth)
{
	ArrayType *blockers = DatumGetArrayTypeP(
		DirectFunctionCall1(pg_blocking_pids, Int32GetDatum(pid)));
	const int32 *pids = (const int32 *) ARR_DATA_PTR(blockers);
	int n = ArrayGetNItems(ARR_NDIM(blockers), ARR_DIMS(blockers));

	for (int i = 0; i < n; i++)
	{
		if (pids[i] == MyProcPid ||
			(depth > 0 && pids[i] > 0 && is_blocked(pids[i], depth - 1)))
			return true;
	}
	return false;
}

bool
ob_deadlock_with(int pid)
{
	Look look = begin_look();
	bool found = is_blocked(pid, DEPTH);

	end_look(&look);
	return found;
}

/* A run of several tables waits where its workers do. */
static int
find_blocked_worker(const pg_uuid_t *run_id)
{
	ListCell *cell;
	int pid = 0;

	/* a transaction copies the state of all processes once, and keeps it */
	pgstat_clear_backend_activity_snapshot();
	foreach (cell, ob_progress_list())
	{
		const ObProgressRow *row = lfirst(cell);

		if (pid == 0 && row->pid != MyProcPid &&
			memcmp(row->run_id.data, run_id->data, UUID_LEN) == 0 &&
			is_blocked(row->pid, DEPTH))
			pid = row->pid;
	}
	pgstat_clear_backend_activity_snapshot();
	return pid;
}

int
ob_deadlock_with_run(Oid role, const pg_uuid_t *run_id)
{
	Look look = begin_look();
	int pid = ob_run_pid(role, run_id);

	if (pid == MyProcPid)
		pid = 0;
	else if (pid != 0 && !is_blocked(pid, DEPTH))
		pid = find_blocked_worker(run_id);
	end_look(&look);
	return pid;
}
