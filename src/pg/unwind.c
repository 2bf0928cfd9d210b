/*
 * unwind.c
 *		Steps that leave something behind elsewhere, unless they are ended.
 *
 * src/pg/unwind.c
 *
 * PG_ENSURE_ERROR_CLEANUP is made for steps that register nothing that stays,
 * and that do not nest: its callback must be the latest of few.  A query may
 * do both.  So there is one callback for the whole session, and a list of what
 * is open.
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "pg/unwind.h"

/* On the stack of ob_unwind(), which is still there when a backend exits. */
typedef struct Open
{
	dlist_node node;
	void (*give_up)(void *arg);
	void *arg;
} Open;

/* The innermost first. */
static dlist_head all = DLIST_STATIC_INIT(all);

static void
give_up_all(int code, Datum arg)
{
	/* what was current may be freed on the way */
	MemoryContextSwitchTo(TopMemoryContext);
	while (!dlist_is_empty(&all))
	{
		Open *open = dlist_container(Open, node, dlist_pop_head_node(&all));

		open->give_up(open->arg);
	}
}

void
ob_unwind(void (*step)(void *arg), void (*give_up)(void *arg), void *arg)
{
	static bool registered = false;
	Open open = {.give_up = give_up, .arg = arg};

	if (!registered)
		before_shmem_exit(give_up_all, (Datum) 0);
	registered = true;
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
