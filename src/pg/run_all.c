/*
 * run_all.c
 *		Exporting every registered table.
 *
 * src/pg/run_all.c
 *
 * All tables are read with the snapshot of the calling statement, so they show
 * the same instant: by workers, several at a time (crew.h), or by the session
 * itself, one after another, each in a subtransaction.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "pg/attempt.h"
#include "pg/manifest.h"
#include "pg/query.h"
#include "pg/report.h"
#include "pg/run_intern.h"

/*
 * Planning takes locks, and a worker that wants one would wait behind whoever
 * waits for ours: so they are let go at once, by an error.
 */
static void
guess_size(void *arg)
{
	ObRunTable *table = arg;

	table->size = ob_query_size(table->task.export.query);
	ereport(ERROR, (errcode(ERRCODE_SUCCESSFUL_COMPLETION), errmsg("done")));
}

static void
prepare(void *arg)
{
	ObRunTable *table = arg;

	ob_task_prepare(&table->request, &table->task);
}

static void
run(void *arg)
{
	ObRunTable *table = arg;

	ob_task_run(&table->task);
}

static int
compare_targets(const void *a, const void *b)
{
	const ObExport *x = &(*(ObRunTable *const *) a)->task.export;
	const ObExport *y = &(*(ObRunTable *const *) b)->task.export;
	const ObEndpoint *here = &x->server->endpoint;
	const ObEndpoint *there = &y->server->endpoint;
	int order = strcmp(here->host, there->host);

	if (order == 0)
		order = here->port - there->port;
	if (order == 0)
		order = strcmp(here->base, there->base);
	if (order == 0)
		order = strcmp(x->bucket, y->bucket);
	if (order == 0)
		order = strcmp(x->key, y->key);
	return order;
}

/* Two tables on one key would silently leave only the later one. */
static void
check_keys(const ObRunAll *all)
{
	ObRunTable **sorted = palloc(sizeof(ObRunTable *) * (all->n + 1));
	int prepared = 0;

	for (int i = 0; i < all->n; i++)
	{
		if (!all->tables[i].error)
			sorted[prepared++] = &all->tables[i];
	}
	qsort(sorted, prepared, sizeof(ObRunTable *), compare_targets);
	for (int i = 1; i < prepared; i++)
	{
		if (compare_targets(&sorted[i - 1], &sorted[i]) == 0)
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
	foreach (cell, entries)
	{
		const ObEntry *entry = lfirst(cell);

		table->all = all;
		table->request = *all->common;
		table->request.name = entry->name;
		table->request.entry = entry;
		table->request.options = all->options;
		table->request.options_for = OB_OPTIONS_ALL;
		table->task.run.run_id = all->common->run_id;
		table->task.run.name = entry->name;
		table->task.run.source = all->common->source;
		table->error = ob_attempt(prepare, table);
		table++;
	}
}

/* ---- one table ---- */

static void
tell(ObRunTable *table)
{
	table->told = true;
	ob_totals_add(&table->all->totals, &table->task.run);
	table->all->ended(&table->task.run, table->all->arg);
}

static void
warn(ObRunTable *table, const ErrorData *error)
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
	warn(table, error);
}

void
ob_run_end_here(ObRunTable *table)
{
	ob_task_end(table->all->schema, &table->task);
	tell(table);
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

/* By a worker, which has written the history's row. */
static void
ended_elsewhere(ObCrewTable *crew_table)
{
	ObRunTable *table = crew_table->arg;
	const ObRun *run = &table->task.run;

	if (run->error && !table->failed)
	{
		ErrorData error = {
			.sqlerrcode = run->sqlstate,
			.message = unconstify(char *, run->error),
			.detail = unconstify(char *, crew_table->detail),
			.hint = unconstify(char *, crew_table->hint),
		};

		warn(table, &error);
	}
	tell(table);
}

/* ---- all tables ---- */

/* The largest first, so that no long one is left to the end. */
static int
compare_sizes(const void *a, const void *b)
{
	double x = ((const ObRunTable *) ((const ObCrewTable *) a)->arg)->size;
	double y = ((const ObRunTable *) ((const ObCrewTable *) b)->arg)->size;

	return x < y ? 1 : x > y ? -1 : 0;
}

bool
ob_run_by_crew(ObRunAll *all, bool (*settle)(void *arg),
			   void (*abandon)(void *arg))
{
	const ObRequest *common = all->common;
	ObCrewJob job = {
		.schema = all->schema,
		.run_id = common->run_id,
		.when = common->when,
		.lsn = common->lsn,
		.source = common->source ? common->source : ob_history_source(),
		.options = all->options,
		.details = all->checked->manifest,
		.workers = onboard_parallel_tables,
		.ended = ended_elsewhere,
		.settle = settle,
		.abandon = abandon,
		.arg = all,
	};

	if (all->n <= 1 || onboard_parallel_tables <= 1 || !ob_crew_possible())
		return false;
	job.tables = palloc0(sizeof(ObCrewTable) * all->n);
	for (int i = 0; i < all->n; i++)
	{
		ObRunTable *table = &all->tables[i];
		ObCrewTable *crew_table = &job.tables[job.ntables];

		if (table->error)
			continue;
		crew_table->name = table->request.name;
		crew_table->task = &table->task;
		crew_table->publication = table->publication;
		crew_table->arg = table;
		(void) ob_attempt(guess_size, table);
		job.ntables++;
	}
	qsort(job.tables, job.ntables, sizeof(ObCrewTable), compare_sizes);
	ob_crew_run(&job);
	return true;
}

void
ob_run_manifest(const ObRunAll *all, bool success)
{
	const ObManifest manifest = {
		.run_id = all->common->run_id,
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

static void
run_each(ObRunAll *all)
{
	(void) ob_run_by_crew(all, NULL, NULL);
	/* all of them, or what the crew has left */
	for (int i = 0; i < all->n; i++)
	{
		if (!all->tables[i].task.run.status)
			ob_run_here(&all->tables[i]);
	}
	if (all->where)
		ob_run_manifest(all, all->failed == 0);
	else if (all->checked->manifest && all->n > 0)
		ereport(WARNING, (errmsg("the run has no manifest"),
						  errdetail("No table could be prepared, so it is not "
									"known where to put it.")));
}

static void
tell_of_all(ObRunAll *all)
{
	ObTotals *totals = &all->totals;

	totals->run_id = all->common->run_id;
	totals->started = all->started;
	totals->ended = GetCurrentTimestamp();
	ob_tell_run(totals);
	ob_tell_client(totals, NULL);
}

void
ob_run_all(List *entries, Jsonb *options, const ObRequest *common, Oid schema,
		   ObTableEnded ended, void *arg)
{
	ObOptions *checked = ob_options_new();
	ObRunAll all = {
		.schema = schema,
		.options = options,
		.common = common,
		.checked = checked,
		.started = GetCurrentTimestamp(),
		.ended = ended,
		.arg = arg,
	};

	/* what is wrong with the call itself is not each table's failure */
	if (options)
		ob_options_read(checked, options, OB_OPTIONS_ALL, "options");
	prepare_all(&all, entries);
	check_keys(&all);
	if (checked->manifest)
		find_destination(&all);
	if (checked->together && all.where)
		ob_run_together(&all);
	else
		run_each(&all);
	tell_of_all(&all);
	if (all.failed > 0 && checked->raise_errors)
		ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
						errmsg("%d of %d tables could not be exported",
							   all.failed, all.n),
						errdetail("Each of them was reported in a warning.")));
}
