/*
 * run_all.c
 *		Exporting every registered table.
 *
 * src/pg/run_all.c
 *
 * All tables are read with the snapshot of the calling statement, so they show
 * the same instant.
 */
#include "postgres.h"

#include "pg/attempt.h"
#include "pg/run_all.h"

typedef struct Attempt
{
	ObRequest request;
	ObTask task;
	ErrorData *error; /* of its preparation */
} Attempt;

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
prepare_all(List *entries, Jsonb *options, const pg_uuid_t *run_id)
{
	Attempt *attempts = palloc0(sizeof(Attempt) * (list_length(entries) + 1));
	Attempt *attempt = attempts;
	ListCell *cell;

	foreach (cell, entries)
	{
		const ObEntry *entry = lfirst(cell);

		attempt->request.name = entry->name;
		attempt->request.entry = entry;
		attempt->request.options = options;
		attempt->request.options_for = OB_OPTIONS_ALL;
		attempt->request.run_id = *run_id;
		attempt->task.run.run_id = *run_id;
		attempt->task.run.name = entry->name;
		attempt->error = ob_attempt(prepare, attempt);
		attempt++;
	}
	return attempts;
}

void
ob_run_all(List *entries, Jsonb *options, const pg_uuid_t *run_id, Oid schema,
		   ObTableEnded ended, void *arg)
{
	int n = list_length(entries);
	int failed = 0;
	ObOptions *checked = ob_options_new();
	Attempt *attempts;

	/* what is wrong with the call itself is not each table's failure */
	if (options)
		ob_options_read(checked, options, OB_OPTIONS_ALL, "options");
	attempts = prepare_all(entries, options, run_id);
	check_keys(attempts, n);
	for (int i = 0; i < n; i++)
	{
		Attempt *attempt = &attempts[i];
		ErrorData *error = attempt->error;

		if (!error)
			error = ob_attempt(run, attempt);
		if (error)
		{
			failed++;
			ob_task_fail(&attempt->task, error);
			warn(attempt, error);
		}
		ob_history_add(schema, &attempt->task.run);
		ended(&attempt->task.run, arg);
	}
	if (failed > 0 && checked->raise_errors)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("%d of %d tables could not be exported", failed, n),
				 errdetail("Each of them was reported in a warning.")));
}
