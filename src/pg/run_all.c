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

#include "pg/attempt.h"
#include "pg/crew.h"
#include "pg/query.h"
#include "pg/run_all.h"

typedef struct Run Run;

typedef struct Attempt
{
	ObRequest request;
	ObTask task;
	ErrorData *error; /* of its preparation */
	double size;      /* estimated, in bytes */
	Run *all;
} Attempt;

/*
 * Planning takes locks, and a worker that wants one would wait behind whoever
 * waits for ours: so they are let go at once, by an error.
 */
static void
guess_size(void *arg)
{
	Attempt *attempt = arg;

	attempt->size = ob_query_size(attempt->task.export.query);
	ereport(ERROR, (errcode(ERRCODE_SUCCESSFUL_COMPLETION), errmsg("done")));
}

static void
prepare(void *arg)
{
	Attempt *attempt = arg;

	ob_task_prepare(&attempt->request, &attempt->task);
}

static void
run(void *arg)
{
	Attempt *attempt = arg;

	ob_task_run(&attempt->task);
}

static int
compare_targets(const void *a, const void *b)
{
	const ObExport *x = &(*(Attempt *const *) a)->task.export;
	const ObExport *y = &(*(Attempt *const *) b)->task.export;
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
check_keys(Attempt *attempts, int n)
{
	Attempt **sorted = palloc(sizeof(Attempt *) * (n + 1));
	int prepared = 0;

	for (int i = 0; i < n; i++)
	{
		if (!attempts[i].error)
			sorted[prepared++] = &attempts[i];
	}
	qsort(sorted, prepared, sizeof(Attempt *), compare_targets);
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

static void
warn(const Attempt *attempt, const ErrorData *error)
{
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("could not export \"%s\": %s", attempt->request.name,
					error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 error->hint ? errhint("%s", error->hint) : 0));
}

static Attempt *
prepare_all(List *entries, Jsonb *options, const ObRequest *common)
{
	Attempt *attempts = palloc0(sizeof(Attempt) * (list_length(entries) + 1));
	Attempt *attempt = attempts;
	ListCell *cell;

	foreach (cell, entries)
	{
		const ObEntry *entry = lfirst(cell);

		attempt->request = *common;
		attempt->request.name = entry->name;
		attempt->request.entry = entry;
		attempt->request.options = options;
		attempt->request.options_for = OB_OPTIONS_ALL;
		attempt->task.run.run_id = common->run_id;
		attempt->task.run.name = entry->name;
		attempt->task.run.source = common->source;
		attempt->error = ob_attempt(prepare, attempt);
		attempt++;
	}
	return attempts;
}

/* ---- running ---- */

struct Run
{
	Oid schema;
	int failed;
	ObTableEnded ended;
	void *arg;
};

static void
table_ended(Run *all, Attempt *attempt)
{
	all->ended(&attempt->task.run, all->arg);
}

static void
table_failed(Run *all, Attempt *attempt, const ErrorData *error)
{
	all->failed++;
	ob_task_fail(&attempt->task, error);
	warn(attempt, error);
}

/* By this session. */
static void
run_here(Run *all, Attempt *attempt)
{
	ErrorData *error = attempt->error;

	if (!error)
		error = ob_attempt(run, attempt);
	if (error)
		table_failed(all, attempt, error);
	ob_task_end(all->schema, &attempt->task);
	table_ended(all, attempt);
}

/* By a worker, which has written the history's row. */
static void
ended_elsewhere(ObCrewTable *table)
{
	Attempt *attempt = table->arg;
	const ObRun *run = &attempt->task.run;

	if (run->error)
	{
		ErrorData error = {
			.sqlerrcode = run->sqlstate,
			.message = unconstify(char *, run->error),
			.detail = unconstify(char *, table->detail),
			.hint = unconstify(char *, table->hint),
		};

		attempt->all->failed++;
		warn(attempt, &error);
	}
	table_ended(attempt->all, attempt);
}

/* The largest first, so that no long one is left to the end. */
static int
compare_sizes(const void *a, const void *b)
{
	double x = ((const Attempt *) ((const ObCrewTable *) a)->arg)->size;
	double y = ((const Attempt *) ((const ObCrewTable *) b)->arg)->size;

	return x < y ? 1 : x > y ? -1 : 0;
}

static void
run_by_crew(Run *all, Attempt *attempts, int n, Jsonb *options,
			const ObRequest *common)
{
	ObCrewJob job = {
		.schema = all->schema,
		.run_id = common->run_id,
		.when = common->when,
		.lsn = common->lsn,
		.source = common->source ? common->source : ob_history_source(),
		.options = options,
		.workers = onboard_parallel_tables,
		.tables = palloc0(sizeof(ObCrewTable) * n),
		.ended = ended_elsewhere,
	};

	for (int i = 0; i < n; i++)
	{
		ObCrewTable *table = &job.tables[job.ntables];

		attempts[i].all = all;
		if (attempts[i].error)
			continue;
		table->name = attempts[i].request.name;
		table->run = &attempts[i].task.run;
		table->arg = &attempts[i];
		(void) ob_attempt(guess_size, &attempts[i]);
		job.ntables++;
	}
	qsort(job.tables, job.ntables, sizeof(ObCrewTable), compare_sizes);
	ob_crew_run(&job);
}

void
ob_run_all(List *entries, Jsonb *options, const ObRequest *common, Oid schema,
		   ObTableEnded ended, void *arg)
{
	int n = list_length(entries);
	Run all = {schema, 0, ended, arg};
	ObOptions *checked = ob_options_new();
	Attempt *attempts;

	/* what is wrong with the call itself is not each table's failure */
	if (options)
		ob_options_read(checked, options, OB_OPTIONS_ALL, "options");
	attempts = prepare_all(entries, options, common);
	check_keys(attempts, n);
	if (n > 1 && onboard_parallel_tables > 1 && ob_crew_possible())
		run_by_crew(&all, attempts, n, options, common);
	/* all of them, or what the crew has left */
	for (int i = 0; i < n; i++)
	{
		if (!attempts[i].task.run.status)
			run_here(&all, &attempts[i]);
	}
	if (all.failed > 0 && checked->raise_errors)
		ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
						errmsg("%d of %d tables could not be exported",
							   all.failed, n),
						errdetail("Each of them was reported in a warning.")));
}
