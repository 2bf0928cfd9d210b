/*
 * run_together.c
 *		Exporting every registered table, published together.
 *
 * src/pg/run/run_together.c
 *
 * No object is completed before every table has ended without an error.  Then
 * all are, several at a time: what can fail there is little, but if it does,
 * those that are visible stay, and the error says which.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/base/subtransaction.h"
#include "pg/base/errors.h"
#include "pg/run/run_intern.h"
#include "pg/base/unwind.h"

/* ---- what is held ---- */

/* The callback of an export in this session. */
static void
hold_here(void *arg, const ObUploadHeld *held)
{
	ObRunTable *table = arg;
	ObPublication *publication = table->publication;

	publication->parts = MemoryContextAllocHuge(table->all->publication,
												sizeof(ObUploadPart) *
													(Size) (held->nparts + 1));
	ob_held_note(&publication->held, publication->parts, &table->task.export,
				 held);
}

static void
make_publications(ObRunAll *all)
{
	all->publisher = ob_publisher_new(all->where, all->n);
	for (int i = 0; i < all->n; i++)
	{
		ObRunTable *table = &all->tables[i];

		table->publication = ob_publisher_item(all->publisher, i);
		table->publication->export = &table->task.export;
		table->publication->place = table->task.uri;
		table->task.export.held = hold_here;
		table->task.export.held_arg = table;
	}
}

/* What has landed, but is not visible, is withheld, unless nobody knows.  Must
 * not raise. */
static void
mark(ObRunAll *all)
{
	for (int i = 0; i < all->n; i++)
	{
		ObRunTable *table = &all->tables[i];

		if (table->task.run.figures.files == 0 ||
			table->publication->state == OB_PUBLISHED_DONE)
			continue;
		if (table->publication->state == OB_PUBLISHED_UNKNOWN)
			ob_task_doubt(&table->task);
		else
			ob_task_withhold(&table->task);
	}
}

/* ---- what is visible nevertheless ---- */

static int
count(const ObRunAll *all, ObPublished state)
{
	int n = 0;

	for (int i = 0; i < all->n; i++)
		n += all->tables[i].publication->state == state;
	return n;
}

static void
append_names(StringInfo text, const ObRunAll *all, ObPublished state,
			 const char *what)
{
	int n = 0;

	for (int i = 0; i < all->n; i++)
	{
		const ObRunTable *table = &all->tables[i];

		if (table->publication->state == state)
			appendStringInfo(text, "%s\"%s\"", n++ > 0 ? ", " : what,
							 table->request.name);
	}
	if (n > 0)
		appendStringInfoString(text, ". ");
}

static char *
say_what_is_visible(const ObRunAll *all)
{
	StringInfoData text;

	initStringInfo(&text);
	append_names(&text, all, OB_PUBLISHED_DONE, "Visible: ");
	append_names(&text, all, OB_PUBLISHED_UNKNOWN, "Perhaps visible: ");
	append_names(&text, all, OB_PUBLISHED_DISCARDED, "Not visible: ");
	text.data[--text.len] = '\0';
	return text.data;
}

static void
report_part(const ObRunAll *all, int level)
{
	ereport(level,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("the run was published in part"),
			 errdetail_internal("%s", say_what_is_visible(all)),
			 errhint("It has no _SUCCESS, so who waits for that does not see "
					 "it. Run it again.")));
}

/* All that there is, with nothing to say so. */
static void
warn_of_all(void)
{
	ereport(WARNING,
			(errmsg("all objects of the run are visible, but it has no "
					"manifest"),
			 errhint("It has no _SUCCESS, so who waits for that does not see "
					 "it. Run it again.")));
}

static bool
is_in_part(const ObRunAll *all)
{
	int visible = count(all, OB_PUBLISHED_DONE);
	int unknown = count(all, OB_PUBLISHED_UNKNOWN);

	return unknown > 0 ||
		   (visible > 0 && count(all, OB_PUBLISHED_DISCARDED) > 0);
}

/* ---- settling it ---- */

static void
discard(ObRunAll *all)
{
	ob_publisher_discard(all->publisher);
	mark(all);
}

/* On an error, and when this backend is terminated; perhaps twice. */
static void
abandon(void *arg)
{
	ObRunAll *all = arg;

	discard(all);
	if (all->warned || all->visible)
		return;
	all->warned = true;
	if (is_in_part(all))
		report_part(all, WARNING);
	else if (count(all, OB_PUBLISHED_DONE) > 0)
		warn_of_all();
}

/* The run's memory goes while objects may be held. */
static void
abandon_with_memory(void *arg)
{
	if (ob_unwind_forget(arg))
		abandon(arg);
}

static void
raise_failure(void *arg)
{
	const ObRunTable *table = arg;

	ob_report(&table->publication->error);
}

/* Objects that could not be published: their tables have failed after all. */
static void
tell_failures(ObRunAll *all)
{
	for (int i = 0; i < all->n; i++)
	{
		ObRunTable *table = &all->tables[i];

		if (table->publication->failed &&
			table->publication->state != OB_PUBLISHED_DONE)
			ob_run_failed(table, ob_attempt(raise_failure, table));
	}
}

static void
publish(ObRunAll *all)
{
	ob_publisher_renew(all->publisher);
	if (!ob_publish(all->publisher))
	{
		discard(all);
		/* what was unclear may turn out to be visible after all */
		if (count(all, OB_PUBLISHED_UNKNOWN) > 0 ||
			count(all, OB_PUBLISHED_DISCARDED) > 0)
		{
			tell_failures(all);
			return;
		}
	}
	all->visible = true;
	ob_run_manifest(all, true);
	all->published = true;
}

/* One that is not even begun, because another one has failed. */
static void
leave_out(ObRunTable *table)
{
	table->here = true;
	table->task.run.started = table->task.run.ended = GetCurrentTimestamp();
	ob_task_withhold(&table->task);
}

/* All that has a status was run by workers. */
static bool
settle(void *arg)
{
	ObRunAll *all = arg;

	for (int i = 0; i < all->n; i++)
	{
		ObRunTable *table = &all->tables[i];

		if (table->task.run.status)
			continue;
		if (all->failed > 0)
			leave_out(table);
		else
			ob_run_here(table);
	}
	if (all->failed > 0)
		discard(all);
	else
		publish(all);
	for (int i = 0; i < all->n; i++)
	{
		ObRunTable *table = &all->tables[i];

		if (!table->here || table->told)
			continue;
		if (!all->published)
			table->task.watermark = NULL;
		ob_run_end_here(table);
	}
	return all->published;
}

/* What is wrong with them is known before anything is sent. */
static void
fail_unprepared(ObRunAll *all)
{
	for (int i = 0; i < all->n; i++)
	{
		if (all->tables[i].error)
			ob_run_here(&all->tables[i]);
	}
}

/* By workers, or here. */
static void
run_all(void *arg)
{
	ObRunAll *all = arg;
	ObCrew *crew = NULL;

	fail_unprepared(all);
	if (all->failed == 0)
		crew = ob_run_crew(all, settle, abandon);
	if (!crew)
	{
		(void) settle(all);
		return;
	}
	while (ob_crew_step(crew))
		continue;
	ob_crew_end(crew);
}

void
ob_run_together(ObRunAll *all)
{
	MemoryContext before = CurrentMemoryContext;

	all->publication = AllocSetContextCreate(
		CurTransactionContext, "onboard publication", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(all->publication);
	make_publications(all);
	MemoryContextSwitchTo(before);
	all->callback.func = abandon_with_memory;
	all->callback.arg = all;
	MemoryContextRegisterResetCallback(all->context, &all->callback);
	ob_unwind(run_all, abandon, all);
	if (is_in_part(all))
		report_part(all, ERROR);
	if (!all->published)
		ereport(WARNING,
				(errmsg("nothing of the run was published"),
				 errdetail("%d of %d tables failed.", all->failed, all->n)));
}
