/*
 * unwind.c
 *		Steps that leave something behind elsewhere, unless they are ended.
 *
 * src/pg/base/unwind.c
 *
 * PG_ENSURE_ERROR_CLEANUP is made for steps that register nothing that stays,
 * and that do not nest: its callback must be the latest of few.  A query may
 * do both.  So there is one callback for the whole session, and a list of open
 * steps.
 *
 * When a backend exits, callbacks that were registered later run before ours,
 * and one of them may abort the transaction: the one that removes temporary
 * tables does.  The memory of open steps goes with that, so the list is also
 * checked when a (sub)transaction aborts.  It can only have steps then: any
 * other abort comes after PG_CATCH.  Even earlier, the abort frees the memory
 * of queries with their portals; for data in such memory there is
 * ob_unwind_forget().
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/ilist.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "pg/base/unwind.h"

/* A step that is under way.  It is on the stack of ob_unwind(), which still
 * exists when a backend exits. */
typedef struct Open
{
	dlist_node node;
	void (*give_up)(void *arg);
	void *arg;
	int level; /* level of subtransactions */
} Open;

/* The steps that are under way, the innermost first. */
static dlist_head all = DLIST_STATIC_INIT(all);

static bool aborting = false;

bool
ob_unwind_aborting(void)
{
	return aborting;
}

/* Gives up the steps that began at that level of subtransactions, or below it.
 */
static void
give_up_from(int level)
{
	/* the current context may be freed on the way */
	MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

	while (!dlist_is_empty(&all))
	{
		Open *open = dlist_head_element(Open, node, &all);

		if (open->level < level)
			break;
		dlist_delete(&open->node);
		open->give_up(open->arg);
	}
	MemoryContextSwitchTo(before);
}

bool
ob_unwind_forget(const void *arg)
{
	dlist_mutable_iter at;
	bool found = false;

	dlist_foreach_modify(at, &all)
	{
		if (dlist_container(Open, node, at.cur)->arg != arg)
			continue;
		dlist_delete(at.cur);
		found = true;
	}
	/* ob_unwind() would remove it from the list once more */
	Assert(!found || proc_exit_inprogress);
	return found;
}

static void
at_exit(int code, Datum arg)
{
	give_up_from(0);
}

static void
give_up_aborted(int level)
{
	if (!proc_exit_inprogress)
		return;
	aborting = true;
	give_up_from(level);
	aborting = false;
}

static void
at_abort(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
		give_up_aborted(0);
}

static void
at_subabort(SubXactEvent event, SubTransactionId id, SubTransactionId parent,
			void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		give_up_aborted(GetCurrentTransactionNestLevel());
}

static void
register_callbacks(void)
{
	static bool registered = false;

	if (registered)
		return;
	before_shmem_exit(at_exit, (Datum) 0);
	RegisterXactCallback(at_abort, NULL);
	RegisterSubXactCallback(at_subabort, NULL);
	registered = true;
}

void
ob_unwind(void (*step)(void *arg), void (*give_up)(void *arg), void *arg)
{
	Open open = {.give_up = give_up,
				 .arg = arg,
				 .level = GetCurrentTransactionNestLevel()};

	register_callbacks();
	dlist_push_head(&all, &open.node);
	PG_TRY();
	{
		step(arg);
	}
	PG_CATCH();
	{
		dlist_delete(&open.node);
		give_up(arg);
		PG_RE_THROW();
	}
	PG_END_TRY();
	dlist_delete(&open.node);
}
