/*
 * run.c
 *		Exporting every registered table.
 *
 * src/pg/run/run.c
 *
 * All tables are read with the snapshot of the calling statement, so they show
 * the same instant: by workers, several at a time (workers.h), or by the
 * session itself, one after another, each in a subtransaction.
 *
 * If they are published together, no object is completed before every table
 * has ended without an error.  Then all are, several at a time: what can fail
 * there is little, but if it does, those that are visible stay, and the error
 * says which.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/base/errors.h"
#include "pg/base/query.h"
#include "pg/base/subtransaction.h"
#include "pg/base/unwind.h"
#include "pg/catalog/notify.h"
#include "pg/export/manifest.h"
#include "pg/export/manifest_withdraw.h"
#include "pg/run/run.h"
#include "pg/workers/publisher.h"
#include "pg/workers/workers.h"

typedef struct RunTable
{
	ObRunAll *all;
	ObExportRequest request;
	ObTableExport task;
	ErrorData *error;           /* of its preparation */
	char *where;                /* it lands: see core/text/place.h */
	double size;                /* estimated, in bytes */
	bool here;                  /* run by this session, not by a worker */
	bool reported;              /* in all->ended */
	bool failed;                /* and warned of */
	ObPublication *publication; /* NULL: it is published for itself */
} RunTable;

struct ObRunAll
{
	ObExportRequest common;   /* what all requests have in common */
	List *servers;            /* of the tables, each once */
	const ObOptions *checked; /* those that are of the call alone */
	TimestampTz started;
	RunTable *tables;
	int n;
	int failed;
	ObTotals totals;           /* of tables that were reported */
	const ObExportSpec *where; /* of the manifest; NULL: there is none */

	MemoryContext context; /* of all this */
	ObWorkers *workers;    /* of one that is not together; NULL: none */
	bool begun;            /* all is prepared; workers, if any, run */
	bool closed;           /* everything is reported */
	int next;              /* the table that the session looks at next */
	RunTable **ended;      /* in the order in which they have */
	int nended;
	int given; /* of them, by ob_run_next() */

	/* of one whose objects are published together */
	MemoryContext publication;
	ObPublisher *publisher; /* NULL: each for itself */
	MemoryContextCallback callback;
	bool visible;   /* all objects */
	bool published; /* all, with the manifest */
	bool warned;    /* of what is visible nevertheless */
};

/* ---- preparing them ---- */

static void
prepare(void *arg)
{
	RunTable *table = arg;

	ob_task_recall(&table->request, &table->task);
	ob_task_prepare(&table->request, &table->task);
}

static int
compare_places(const void *a, const void *b)
{
	return strcmp((*(RunTable *const *) a)->where,
				  (*(RunTable *const *) b)->where);
}

/* Two tables on one key would silently leave only the later one. */
static void
check_keys(const ObRunAll *all)
{
	RunTable **sorted = palloc(sizeof(RunTable *) * (all->n + 1));
	int prepared = 0;

	for (int i = 0; i < all->n; i++)
	{
		RunTable *table = &all->tables[i];

		if (table->error)
			continue;
		table->where =
			ob_task_place(&table->task.export, table->task.export.key);
		sorted[prepared++] = table;
	}
	qsort(sorted, prepared, sizeof(RunTable *), compare_places);
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
	ObTableExport **tasks = palloc(sizeof(ObTableExport *) * (all->n + 1));
	int prepared = 0;

	for (int i = 0; i < all->n; i++)
	{
		if (!all->tables[i].error)
			tasks[prepared++] = &all->tables[i].task;
	}
	ob_task_spare_increments(&all->common, tasks, prepared);
	pfree(tasks);
}

/* The manifest stands in the bucket of the objects that it names. */
static void
find_destination(ObRunAll *all)
{
	const RunTable *first = NULL;

	for (int i = 0; i < all->n; i++)
	{
		const RunTable *table = &all->tables[i];
		const ObExportSpec *export = &table->task.export;

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
	RunTable *table;
	ListCell *cell;

	all->n = list_length(entries);
	table = all->tables = palloc0(sizeof(RunTable) * (all->n + 1));
	all->ended = palloc0(sizeof(RunTable *) * (all->n + 1));
	foreach (cell, entries)
	{
		const ObEntry *entry = lfirst(cell);

		table->all = all;
		table->request = all->common;
		table->request.name = entry->name;
		table->request.entry = entry;
		table->task.row.run_id = all->common.run_id;
		table->task.row.name = entry->name;
		table->task.row.source = all->common.source;
		table->error = ob_attempt(prepare, table);
		table++;
	}
}

/* ---- one table ---- */

static void
add_ended(RunTable *table)
{
	ObRunAll *all = table->all;

	table->reported = true;
	ob_totals_add(&all->totals, &table->task.row);
	all->ended[all->nended++] = table;
}

static void
warn_of_table(RunTable *table, const ErrorData *error)
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

static void
fail_table(RunTable *table, const ErrorData *error)
{
	ob_task_fail(&table->task, error);
	warn_of_table(table, error);
}

static void
end_in_session(RunTable *table)
{
	ob_task_end_or_warn(table->all->common.schema, &table->task);
	add_ended(table);
}

static void
run(void *arg)
{
	RunTable *table = arg;

	ob_task_run(&table->task);
}

static void
run_in_session(RunTable *table)
{
	ErrorData *error = table->error;

	table->here = true;
	if (!error)
		error = ob_attempt(run, table);
	if (error)
		fail_table(table, error);
	if (!table->publication || table->task.row.figures.files == 0)
		end_in_session(table);
}

/* ---- by workers ---- */

/*
 * Planning takes locks, and a worker that needs one would queue behind any
 * process that waits for ours.  So they are released at once, by an error.
 */
static void
guess_size(void *arg)
{
	RunTable *table = arg;
	ObTableExport *task = &table->task;

	/* The session warns, because workers have no client. */
	if (task->watermark)
		ob_watermark_warn(table->all->common.schema, task->watermark,
						  task->export.query);
	table->size = ob_query_size(task->export.query);
	ereport(ERROR, (errcode(ERRCODE_SUCCESSFUL_COMPLETION), errmsg("done")));
}

/* A worker has ended the table, and written the history's row. */
static void
ended_elsewhere(ObWorkerTable *worker_table)
{
	RunTable *table = worker_table->arg;
	const ObHistoryRow *row = &table->task.row;

	if (row->error && !table->failed)
	{
		ErrorData error = {
			.sqlerrcode = row->sqlstate,
			.message = unconstify(char *, row->error),
			.detail = unconstify(char *, row->detail),
			.hint = unconstify(char *, worker_table->hint),
		};

		warn_of_table(table, &error);
	}
	add_ended(table);
}

/* The largest first, so that no long one is left to the end. */
static int
compare_sizes(const void *a, const void *b)
{
	double x = ((const RunTable *) ((const ObWorkerTable *) a)->arg)->size;
	double y = ((const RunTable *) ((const ObWorkerTable *) b)->arg)->size;

	return x < y ? 1 : x > y ? -1 : 0;
}

static ObWorkers *
start_workers(ObRunAll *all, bool (*finish_run)(void *arg),
			  void (*abort_run)(void *arg))
{
	ObExportRequest *common = palloc(sizeof(ObExportRequest));
	ObWorkersSpec spec = {
		.common = common,
		.details = all->checked->manifest,
		.workers = onboard_parallel_tables,
		.ended = ended_elsewhere,
		.finish = finish_run,
		.abort = abort_run,
		.arg = all,
	};

	if (all->n <= 1 || onboard_parallel_tables <= 1 || !ob_workers_possible())
		return NULL;
	*common = all->common;
	if (!common->source)
		common->source = ob_history_source();
	spec.tables = palloc0(sizeof(ObWorkerTable) * all->n);
	for (int i = 0; i < all->n; i++)
	{
		RunTable *table = &all->tables[i];
		ObWorkerTable *worker_table = &spec.tables[spec.ntables];

		if (table->error || table->task.landed)
			continue;
		worker_table->name = table->request.name;
		worker_table->task = &table->task;
		worker_table->publication = table->publication;
		worker_table->arg = table;
		(void) ob_attempt(guess_size, table);
		spec.ntables++;
	}
	qsort(spec.tables, spec.ntables, sizeof(ObWorkerTable), compare_sizes);
	return ob_workers_start(&spec);
}

/* ---- the manifest ---- */

static void
write_manifest(const ObRunAll *all, bool success)
{
	const ObManifest manifest = {
		.run_id = all->common.run_id,
		.started = all->started,
		.together = all->checked->together,
		.success = success,
		.where = all->where,
	};
	const ObTableExport **tasks = palloc(sizeof(ObTableExport *) * all->n);

	for (int i = 0; i < all->n; i++)
		tasks[i] = &all->tables[i].task;
	ob_manifest_write(&manifest, tasks, all->n);
}

/* ---- published together: what is held ---- */

/* The callback of an export in this session. */
static void
hold_here(void *arg, const ObUploadHeld *held)
{
	RunTable *table = arg;
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
		RunTable *table = &all->tables[i];

		table->publication = ob_publisher_item(all->publisher, i);
		table->publication->export = &table->task.export;
		table->publication->place = table->task.uri;
		table->task.export.held = hold_here;
		table->task.export.held_arg = table;
	}
}

/* Marks as withheld what has landed and is not visible; where that is unknown,
 * nothing changes.  Must not raise. */
static void
withhold_unpublished(ObRunAll *all)
{
	for (int i = 0; i < all->n; i++)
	{
		RunTable *table = &all->tables[i];

		if (table->task.row.figures.files == 0 ||
			table->publication->state == OB_PUBLISHED_DONE)
			continue;
		if (table->publication->state == OB_PUBLISHED_UNKNOWN)
			ob_task_doubt(&table->task);
		else
			ob_task_withhold(&table->task);
	}
}

/* ---- published together: what is visible nevertheless ---- */

static int
count(const ObRunAll *all, ObPublished state)
{
	int n = 0;

	for (int i = 0; i < all->n; i++)
		n += all->tables[i].publication->state == state;
	return n;
}

/* A warning may come from the clean-up after an error, which must not raise,
 * and where conversions are out of reach. */
static const char *
shown(const RunTable *table, int level)
{
	return level < ERROR ? ob_report_plain_text(table->request.name)
						 : ob_report_client_text(table->request.name);
}

static void
append_names(StringInfo text, const ObRunAll *all, ObPublished state,
			 const char *what, int level)
{
	int n = 0;

	for (int i = 0; i < all->n; i++)
	{
		const RunTable *table = &all->tables[i];

		if (table->publication->state == state)
			appendStringInfo(text, "%s\"%s\"", n++ > 0 ? ", " : what,
							 shown(table, level));
	}
	if (n > 0)
		appendStringInfoString(text, ". ");
}

static char *
say_what_is_visible(const ObRunAll *all, int level)
{
	StringInfoData text;

	initStringInfo(&text);
	append_names(&text, all, OB_PUBLISHED_DONE, "Visible: ", level);
	append_names(&text, all, OB_PUBLISHED_UNKNOWN, "Perhaps visible: ", level);
	append_names(&text, all, OB_PUBLISHED_DISCARDED, "Not visible: ", level);
	text.data[--text.len] = '\0';
	return text.data;
}

static void
report_part(const ObRunAll *all, int level)
{
	ereport(level,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("the run was published in part"),
			 errdetail_internal("%s", say_what_is_visible(all, level)),
			 errhint("Readers that wait for _SUCCESS ignore this run. Run it "
					 "again.")));
}

/* All that there is, with nothing to say so. */
static void
warn_of_all(void)
{
	ereport(WARNING,
			(errmsg("all objects of the run are visible, but it has no "
					"manifest"),
			 errhint("Readers that wait for _SUCCESS ignore this run. Run it "
					 "again.")));
}

static bool
is_in_part(const ObRunAll *all)
{
	int visible = count(all, OB_PUBLISHED_DONE);
	int unknown = count(all, OB_PUBLISHED_UNKNOWN);

	return unknown > 0 ||
		   (visible > 0 && count(all, OB_PUBLISHED_DISCARDED) > 0);
}

/* ---- published together: settling it ---- */

static void
discard(ObRunAll *all)
{
	ob_publisher_discard(all->publisher);
	withhold_unpublished(all);
}

/* Called on an error, and when this backend is terminated; perhaps twice. */
static void
abort_run(void *arg)
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
abort_with_memory(void *arg)
{
	if (ob_unwind_forget(arg))
		abort_run(arg);
}

static void
raise_failure(void *arg)
{
	const RunTable *table = arg;

	ob_report(&table->publication->error);
}

/* Objects that could not be published: their tables have failed after all. */
static void
report_failures(ObRunAll *all)
{
	for (int i = 0; i < all->n; i++)
	{
		RunTable *table = &all->tables[i];

		if (table->publication->failed &&
			table->publication->state != OB_PUBLISHED_DONE)
			fail_table(table, ob_attempt(raise_failure, table));
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
			report_failures(all);
			return;
		}
	}
	all->visible = true;
	write_manifest(all, true);
	all->published = true;
}

/* One that is not even begun, because another one has failed. */
static void
skip_table(RunTable *table)
{
	table->here = true;
	table->task.row.started = table->task.row.ended = GetCurrentTimestamp();
	ob_task_withhold(&table->task);
}

/* All that has a status was run by workers. */
static bool
finish_run(void *arg)
{
	ObRunAll *all = arg;

	for (int i = 0; i < all->n; i++)
	{
		RunTable *table = &all->tables[i];

		if (table->task.row.status)
			continue;
		if (all->failed > 0)
			skip_table(table);
		else
			run_in_session(table);
	}
	if (all->failed > 0)
	{
		ob_publisher_drain(all->publisher);
		discard(all);
	}
	else
		publish(all);
	for (int i = 0; i < all->n; i++)
	{
		RunTable *table = &all->tables[i];

		if (!table->here || table->reported)
			continue;
		if (!all->published)
			table->task.watermark = NULL;
		end_in_session(table);
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
			run_in_session(&all->tables[i]);
	}
}

/* Workers run them, or this session does. */
static void
run_all(void *arg)
{
	ObRunAll *all = arg;
	ObWorkers *workers = NULL;

	fail_unprepared(all);
	if (all->failed == 0)
		workers = start_workers(all, finish_run, abort_run);
	if (!workers)
	{
		(void) finish_run(all);
		return;
	}
	while (ob_workers_step(workers))
		continue;
	ob_workers_end(workers);
}

static void
run_together(ObRunAll *all)
{
	MemoryContext before = CurrentMemoryContext;

	all->publication = AllocSetContextCreate(
		CurTransactionContext, "onboard publication", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(all->publication);
	make_publications(all);
	MemoryContextSwitchTo(before);
	all->callback.func = abort_with_memory;
	all->callback.arg = all;
	MemoryContextRegisterResetCallback(all->context, &all->callback);
	ob_unwind(run_all, abort_run, all);
	if (is_in_part(all))
		report_part(all, ERROR);
	if (!all->published)
		ereport(WARNING,
				(errmsg("nothing of the run was published"),
				 errdetail("%d of %d tables failed.", all->failed, all->n)));
}

/* ---- all tables ---- */

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
	ob_withdraw(all->common.schema, all->where, names, all->n);
}

static void
report_run(ObRunAll *all)
{
	ObTotals *totals = &all->totals;

	totals->run_id = all->common.run_id;
	totals->started = all->started;
	totals->ended = GetCurrentTimestamp();
	ob_notify_run(totals);
	ob_notify_client(totals, NULL);
}

/* Every table has ended. */
static void
close_run(ObRunAll *all)
{
	all->closed = true;
	if (all->workers)
		ob_workers_end(all->workers);
	all->workers = NULL;
	if (all->publication)
		MemoryContextDelete(all->publication);
	else if (all->where)
		write_manifest(all, all->failed == 0);
	else if (all->checked->manifest && all->n > 0)
		ereport(WARNING, (errmsg("the run has no manifest"),
						  errdetail("No table could be prepared, so it is not "
									"known where to put it.")));
	report_run(all);
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
		const RunTable *table = all->ended[i];

		if (table->failed)
			appendStringInfo(&text, "%s\"%s\"", n++ > 0 ? ", " : "",
							 ob_report_client_text(table->request.name));
	}
	if (all->failed > n)
		appendStringInfo(&text, " and %d more", all->failed - n);
	return text.data;
}

static const ObHistoryRow *
first_failed(const ObRunAll *all)
{
	for (int i = 0; i < all->nended; i++)
	{
		if (all->ended[i]->failed && all->ended[i]->task.row.error)
			return &all->ended[i]->task.row;
	}
	return NULL;
}

/* The message has the first error, since schedulers often keep nothing else.
 */
static void
raise_errors(const ObRunAll *all)
{
	const ObHistoryRow *first;

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
		RunTable *table = &all->tables[all->next++];

		if (table->task.row.status)
			continue;
		run_in_session(table);
		return;
	}
	elog(ERROR, "not all tables of the run have ended");
}

/* Waits until another table has ended; those published together end at once.
 */
static void
step(ObRunAll *all)
{
	if (!all->begun)
	{
		all->begun = true;
		withdraw(all);
		if (all->checked->together && all->where)
			run_together(all);
		else
			all->workers = start_workers(all, NULL, NULL);
	}
	else if (all->workers)
	{
		if (ob_workers_step(all->workers))
			return;
		ob_workers_end(all->workers);
		all->workers = NULL;
	}
	else
		run_next_here(all);
}

static void
prepare_run(ObRunAll *all, List *entries)
{
	ObOptions *checked = ob_options_new();

	/* what is wrong with the call itself is not each table's failure */
	if (all->common.options)
		ob_options_read(checked, all->common.options, OB_OPTIONS_ALL,
						"options");
	all->checked = checked;
	prepare_all(all, entries);
	check_keys(all);
	spare_increments(all);
	if (all->checked->manifest)
		find_destination(all);
}

ObRunAll *
ob_run_begin(List *entries, Jsonb *options, const ObExportRequest *common)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "onboard run", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	ObRunAll *all = palloc0(sizeof(ObRunAll));

	all->context = context;
	all->common = *common;
	all->common.options = options;
	all->common.options_for = OB_OPTIONS_ALL;
	all->common.servers = &all->servers;
	all->started = GetCurrentTimestamp();
	prepare_run(all, entries);
	MemoryContextSwitchTo(before);
	return all;
}

const ObHistoryRow *
ob_run_next(ObRunAll *all)
{
	MemoryContext before = MemoryContextSwitchTo(all->context);

	while (all->nended < all->n && all->given == all->nended)
		step(all);
	/* before the last row is returned: the client may not fetch again after it
	 */
	if (all->nended == all->n && !all->closed)
		close_run(all);
	MemoryContextSwitchTo(before);
	if (all->given == all->nended)
		return NULL;
	/* the last row's place; those before it may have ended with it */
	if (all->given == all->n - 1)
		raise_errors(all);
	return &all->ended[all->given++]->task.row;
}

int
ob_run_stop(ObRunAll *all)
{
	if (all->workers)
		ob_workers_stop(all->workers);
	all->workers = NULL;
	return all->n - all->nended;
}

void
ob_run_all(List *entries, Jsonb *options, const ObExportRequest *common)
{
	ObRunAll *all = ob_run_begin(entries, options, common);

	while (ob_run_next(all) != NULL)
		continue;
}
