/*
 * run_crew.c
 *		Exporting every registered table: by background workers.
 *
 * src/pg/run/run_crew.c
 */
#include "postgres.h"

#include "pg/base/subtransaction.h"
#include "pg/base/query.h"
#include "pg/run/run_intern.h"

/*
 * Planning takes locks, and a worker that wants one would wait behind whoever
 * waits for ours: so they are let go at once, by an error.
 */
static void
guess_size(void *arg)
{
	ObRunTable *table = arg;
	ObTask *task = &table->task;

	/* The session warns, because workers have no client. */
	if (task->watermark)
		ob_watermark_warn(table->all->schema, task->watermark,
						  task->export.query);
	table->size = ob_query_size(task->export.query);
	ereport(ERROR, (errcode(ERRCODE_SUCCESSFUL_COMPLETION), errmsg("done")));
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

		ob_run_warn(table, &error);
	}
	ob_run_tell(table);
}

/* The largest first, so that no long one is left to the end. */
static int
compare_sizes(const void *a, const void *b)
{
	double x = ((const ObRunTable *) ((const ObCrewTable *) a)->arg)->size;
	double y = ((const ObRunTable *) ((const ObCrewTable *) b)->arg)->size;

	return x < y ? 1 : x > y ? -1 : 0;
}

ObCrew *
ob_run_crew(ObRunAll *all, bool (*settle)(void *arg),
			void (*abandon)(void *arg))
{
	ObRequest *common = palloc(sizeof(ObRequest));
	ObCrewJob job = {
		.common = common,
		.details = all->checked->manifest,
		.workers = onboard_parallel_tables,
		.ended = ended_elsewhere,
		.settle = settle,
		.abandon = abandon,
		.arg = all,
	};

	if (all->n <= 1 || onboard_parallel_tables <= 1 || !ob_crew_possible())
		return NULL;
	*common = all->common;
	common->options = all->options;
	common->options_for = OB_OPTIONS_ALL;
	if (!common->source)
		common->source = ob_history_source();
	job.tables = palloc0(sizeof(ObCrewTable) * all->n);
	for (int i = 0; i < all->n; i++)
	{
		ObRunTable *table = &all->tables[i];
		ObCrewTable *crew_table = &job.tables[job.ntables];

		if (table->error || table->task.landed)
			continue;
		crew_table->name = table->request.name;
		crew_table->task = &table->task;
		crew_table->publication = table->publication;
		crew_table->arg = table;
		(void) ob_attempt(guess_size, table);
		job.ntables++;
	}
	qsort(job.tables, job.ntables, sizeof(ObCrewTable), compare_sizes);
	return ob_crew_start(&job);
}
