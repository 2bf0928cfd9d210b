/*
 * run.c
 *		Exporting every registered table.
 *
 * src/pg/run/run.c
 *
 * All tables are read with the snapshot of the calling statement, so they show
 * the same instant: by workers, several at a time (workers.h), or by the
 *session itself, one after another, each in a subtransaction.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/base/subtransaction.h"
#include "pg/export/manifest.h"
#include "pg/base/errors.h"
#include "pg/run/run_intern.h"
#include "pg/export/manifest_withdraw.h"

static void
prepare(void *arg)
{
	ObRunTable *table = arg;

	ob_task_recall(&table->request, &table->task);
	ob_task_prepare(&table->request, &table->task);
}

static void
run(void *arg)
{
	ObRunTable *table = arg;

	ob_task_run(&table->task);
}

static int
compare_places(const void *a, const void *b)
{
	return strcmp((*(ObRunTable *const *) a)->where,
				  (*(ObRunTable *const *) b)->where);
}

/* Two tables on one key would silently leave only the later one. */
static void
check_keys(const ObRunAll *all)
{
	ObRunTable **sorted = palloc(sizeof(ObRunTable *) * (all->n + 1));
	int prepared = 0;

	for (int i = 0; i < all->n; i++)
	{
		ObRunTable *table = &all->tables[i];

		if (table->error)
			continue;
		table->where =
			ob_task_place(&table->task.export, table->task.export.key);
		sorted[prepared++] = table;
	}
	qsort(sorted, prepared, sizeof(ObRunTable *), compare_places);
	for (int i = 1; i < prepared; i++)
	{
		if (compare_places(&sorted[i - 1], &sorted[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("tables \"%s\" and \"%s\" would both land at "
							"\"%s\"",
							sorted[i - 1]->request.name,
							sorted[i]->request.name, sorted[i]->task.uri),
					 errhint("Use {name} in option \"key\".")));
	}
	pfree(sorted);
}

static void
spare_increments(const ObRunAll *all)
{
	ObTask **tasks = palloc(sizeof(ObTask *) * (all->n + 1));
	int prepared = 0;

	for (int i = 0; i < all->n; i++)
	{
		if (!all->tables[i].error)
			tasks[prepared++] = &all->tables[i].task;
	}
	ob_task_spare_increments(&all->common, tasks, prepared);
	pfree(tasks);
}

/* The manifest stands beside all objects that it tells of. */
static void
find_destination(ObRunAll *all)
{
	const ObRunTable *first = NULL;

	for (int i = 0; i < all->n; i++)
	{
		const ObRunTable *table = &all->tables[i];
		const ObExport *export = &table->task.export;

		if (table->error)
			continue;
		if (!first)
			first = table;
		if (export->server->serverid != first->task.export.server->serverid ||
			strcmp(export->bucket, first->task.export.bucket) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a run with a manifest must have one destination"),
					 errdetail("Table \"%s\" goes to \"%s\" on server \"%s\", "
							   "\"%s\" to \"%s\" on server \"%s\".",
							   first->request.name, first->task.uri,
							   first->task.export.server->name,
							   table->request.name, table->task.uri,
							   export->server->name),
					 errhint("Call onboard_all() once for each server and "
							 "bucket, with a pattern.")));
	}
	all->where = first ? &first->task.export : NULL;
}

static void
prepare_all(ObRunAll *all, List *entries)
{
	ObRunTable *table;
	ListCell *cell;

	all->n = list_length(entries);
	table = all->tables = palloc0(sizeof(ObRunTable) * (all->n + 1));
	all->ended = palloc0(sizeof(ObRunTable *) * (all->n + 1));
	foreach (cell, entries)
	{
		const ObEntry *entry = lfirst(cell);

		table->all = all;
		table->request = all->common;
		table->request.name = entry->name;
		table->request.entry = entry;
		table->request.options = all->options;
		table->request.options_for = OB_OPTIONS_ALL;
		table->task.run.run_id = all->common.run_id;
		table->task.run.name = entry->name;
		table->task.run.source = all->common.source;
		table->error = ob_attempt(prepare, table);
		table++;
	}
}

/* ---- one table ---- */

void
ob_run_tell(ObRunTable *table)
{
	ObRunAll *all = table->all;

	table->told = true;
	ob_totals_add(&all->totals, &table->task.run);
	all->ended[all->nended++] = table;
}

void
ob_run_warn(ObRunTable *table, const ErrorData *error)
{
	table->failed = true;
	table->all->failed++;
	ereport(
		WARNING,
		(errcode(error->sqlerrcode),
		 errmsg("could not export \"%s\": %s",
				ob_report_client_text(table->request.name),
				ob_report_client_text(error->message)),
		 error->detail
			 ? errdetail_internal("%s", ob_report_client_text(error->detail))
			 : 0,
		 error->hint ? errhint("%s", ob_report_client_text(error->hint)) : 0));
}

void
ob_run_failed(ObRunTable *table, const ErrorData *error)
{
	ob_task_fail(&table->task, error);
	ob_run_warn(table, error);
}

void
ob_run_end_here(ObRunTable *table)
{
	ob_task_end_or_warn(table->all->schema, &table->task);
	ob_run_tell(table);
}

void
ob_run_here(ObRunTable *table)
{
	ErrorData *error = table->error;

	table->here = true;
	if (!error)
		error = ob_attempt(run, table);
	if (error)
		ob_run_failed(table, error);
	if (!table->publication || table->task.run.files == 0)
		ob_run_end_here(table);
}

/* ---- all tables ---- */

void
ob_run_manifest(const ObRunAll *all, bool success)
{
	const ObManifest manifest = {
		.run_id = all->common.run_id,
		.started = all->started,
		.together = all->checked->together,
		.success = success,
		.where = all->where,
	};
	const ObTask **tasks = palloc(sizeof(ObTask *) * all->n);

	for (int i = 0; i < all->n; i++)
		tasks[i] = &all->tables[i].task;
	ob_manifest_write(&manifest, tasks, all->n);
}

static bool
all_prepared(const ObRunAll *all)
{
	for (int i = 0; i < all->n; i++)
	{
		if (all->tables[i].error)
			return false;
	}
	return true;
}

/* What an earlier attempt has said of the run goes before anything is sent, if
 * something will be. */
static void
withdraw(const ObRunAll *all)
{
	const char **names;

	if (!all->where || !all->common.given_id ||
		(all->checked->together && !all_prepared(all)))
		return;
	names = palloc(sizeof(char *) * all->n);
	for (int i = 0; i < all->n; i++)
		names[i] = all->tables[i].request.name;
	ob_withdraw(all->schema, all->where, names, all->n);
}

static void
tell_of_all(ObRunAll *all)
{
	ObTotals *totals = &all->totals;

	totals->run_id = all->common.run_id;
	totals->started = all->started;
	totals->ended = GetCurrentTimestamp();
	ob_tell_run(totals);
	ob_tell_client(totals, NULL);
}

/* Every table has ended. */
static void
close_run(ObRunAll *all)
{
	all->closed = true;
	if (all->crew)
		ob_crew_end(all->crew);
	all->crew = NULL;
	if (all->publication)
		MemoryContextDelete(all->publication);
	else if (all->where)
		ob_run_manifest(all, all->failed == 0);
	else if (all->checked->manifest && all->n > 0)
		ereport(WARNING, (errmsg("the run has no manifest"),
						  errdetail("No table could be prepared, so it is not "
									"known where to put it.")));
	tell_of_all(all);
}

/* A run may have thousands of tables, and all may fail for one reason. */
#define NAMES_MAX 20

static char *
names_of_failed(const ObRunAll *all)
{
	StringInfoData text;
	int n = 0;

	initStringInfo(&text);
	for (int i = 0; i < all->nended && n < NAMES_MAX; i++)
	{
		const ObRunTable *table = all->ended[i];

		if (table->failed)
			appendStringInfo(&text, "%s\"%s\"", n++ > 0 ? ", " : "",
							 ob_report_client_text(table->request.name));
	}
	if (all->failed > n)
		appendStringInfo(&text, " and %d more", all->failed - n);
	return text.data;
}

static const ObRun *
first_failed(const ObRunAll *all)
{
	for (int i = 0; i < all->nended; i++)
	{
		if (all->ended[i]->failed && all->ended[i]->task.run.error)
			return &all->ended[i]->task.run;
	}
	return NULL;
}

/* The message has the first error, since schedulers often keep nothing else.
 */
static void
raise_errors(const ObRunAll *all)
{
	const ObRun *first;

	if (all->failed == 0 || !all->checked->raise_errors)
		return;
	first = first_failed(all);
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 first ? errmsg("%d of %d tables could not be exported; the "
							"first error was that of \"%s\": %s",
							all->failed, all->n,
							ob_report_client_text(first->name),
							ob_report_client_text(first->error))
				   : errmsg("%d of %d tables could not be exported",
							all->failed, all->n),
			 errdetail("These failed: %s. Each of them was reported in "
					   "a warning.",
					   names_of_failed(all))));
}

/* The session runs the next table that no worker has run. */
static void
run_next_here(ObRunAll *all)
{
	while (all->next < all->n)
	{
		ObRunTable *table = &all->tables[all->next++];

		if (table->task.run.status)
			continue;
		ob_run_here(table);
		return;
	}
	elog(ERROR, "not all tables of the run have ended");
}

/* Until another table has ended; those published together end at once. */
static void
step(ObRunAll *all)
{
	if (!all->begun)
	{
		all->begun = true;
		withdraw(all);
		if (all->checked->together && all->where)
			ob_run_together(all);
		else
			all->crew = ob_run_crew(all, NULL, NULL);
	}
	else if (all->crew)
	{
		if (ob_crew_step(all->crew))
			return;
		ob_crew_end(all->crew);
		all->crew = NULL;
	}
	else
		run_next_here(all);
}

static void
prepare_run(ObRunAll *all, List *entries)
{
	ObOptions *checked = ob_options_new();

	/* what is wrong with the call itself is not each table's failure */
	if (all->options)
		ob_options_read(checked, all->options, OB_OPTIONS_ALL, "options");
	all->checked = checked;
	prepare_all(all, entries);
	check_keys(all);
	spare_increments(all);
	if (all->checked->manifest)
		find_destination(all);
}

ObRunAll *
ob_run_begin(List *entries, Jsonb *options, const ObRequest *common)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "onboard run", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	ObRunAll *all = palloc0(sizeof(ObRunAll));

	all->context = context;
	all->schema = common->schema;
	all->options = options;
	all->common = *common;
	all->common.servers = &all->servers;
	all->started = GetCurrentTimestamp();
	prepare_run(all, entries);
	MemoryContextSwitchTo(before);
	return all;
}

const ObRun *
ob_run_next(ObRunAll *all)
{
	MemoryContext before = MemoryContextSwitchTo(all->context);

	while (all->nended < all->n && all->given == all->nended)
		step(all);
	/* before the last row is given: nobody may ask again after it */
	if (all->nended == all->n && !all->closed)
		close_run(all);
	MemoryContextSwitchTo(before);
	if (all->given == all->nended)
		return NULL;
	/* the last row's place; those before it may have ended with it */
	if (all->given == all->n - 1)
		raise_errors(all);
	return &all->ended[all->given++]->task.run;
}

int
ob_run_stop(ObRunAll *all)
{
	if (all->crew)
		ob_crew_stop(all->crew);
	all->crew = NULL;
	return all->n - all->nended;
}

void
ob_run_all(List *entries, Jsonb *options, const ObRequest *common)
{
	ObRunAll *all = ob_run_begin(entries, options, common);

	while (ob_run_next(all) != NULL)
		continue;
}
