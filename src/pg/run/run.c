/*
 * run.c
 *		Runs: the export of all registered tables.
 *
 * src/pg/run/run.c
 *
 * All tables are read with the snapshot of the calling statement, so they show
 * the same instant: by workers, several at a time (workers.h), or by the
 * session itself, one after another, each in a subtransaction.
 *
 * If they are published together, no object is completed before every table
 * has ended without an error.  Then all are completed, several at a time.
 * Little can fail there; if something does, the visible objects stay, and the
 * error names them.
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
#include "pg/export/schema_file.h"
#include "pg/run/run.h"
#include "pg/workers/publisher.h"
#include "pg/workers/workers.h"

typedef struct RunTable
{
	ObRun *run;
	ObExportRequest request;
	ObTableExport task;
	ErrorData *error;           /* error of its preparation */
	double size;                /* estimated size, in bytes */
	bool here;                  /* run by this session, not by a worker */
	bool reported;              /* it is in run->ended */
	bool failed;                /* and a WARNING was raised */
	ObPublication *publication; /* NULL: it is published by itself */
} RunTable;

struct ObRun
{
	ObExportRequest common;   /* the part that all requests share */
	List *servers;            /* servers of the tables, each once */
	const ObOptions *checked; /* the options of the call alone */
	TimestampTz started;
	RunTable *tables;
	int n;
	int failed;
	ObTotals totals;           /* sums over the tables that were reported */
	const ObExportSpec *where; /* manifest's destination; NULL: none */

	MemoryContext context; /* context of all this */
	ObWorkers *workers;    /* NULL: none, or published together */
	bool begun;            /* all tables are prepared; workers, if any, run */
	bool closed;           /* everything is reported */
	int next;              /* the table that the session looks at next */
	RunTable **ended;      /* in the order of their ends */
	int nended;
	int given; /* number of those that ob_run_next() has returned */

	/* set if the objects are published together */
	MemoryContext publication;
	ObPublisher *publisher; /* NULL: each is published by itself */
	MemoryContextCallback callback;
	bool visible;   /* all objects are visible */
	bool published; /* the manifest is written, too */
	bool warned;    /* a WARNING has named visible objects of a failed run */
};

/* ---- preparing them ---- */

static void
prepare(void *arg)
{
	RunTable *table = arg;

	ob_task_recall(&table->request, &table->task);
	ob_task_prepare(&table->request, &table->task);
}

/* An object of a table, at a place where no other may be. */
typedef struct Place
{
	const char *where; /* see core/text/place.h */
	const RunTable *table;
	bool schema; /* it is the schema of the table's object */
} Place;

static int
compare_places(const void *a, const void *b)
{
	return strcmp(((const Place *) a)->where, ((const Place *) b)->where);
}

/* Adds the places of a table's objects; returns their number. */
static int
add_places(const RunTable *table, Place *to)
{
	const ObExportSpec *export = &table->task.export;
	int n = 0;

	to[n++] = (Place){ob_task_place(export, export->key), table, false};
	if (export->options->schema)
		to[n++] = (Place){ob_task_place(export, ob_schema_file_key(export)),
						  table, true};
	return n;
}

static _Noreturn void
refuse_place(const Place *a, const Place *b)
{
	if (!a->schema && !b->schema)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("tables \"%s\" and \"%s\" would both land at \"%s\"",
						a->table->request.name, b->table->request.name,
						b->table->task.uri),
				 errhint("Use {name} in option \"key\".")));
	ereport(
		ERROR,
		(errcode(ERRCODE_DUPLICATE_OBJECT),
		 errmsg("tables \"%s\" and \"%s\" would both land at \"%s\"",
				a->table->request.name, b->table->request.name,
				psprintf("s3://%s/%s", b->table->task.export.bucket,
						 ob_report_text(ob_schema_file_key(
							 a->schema ? &a->table->task.export
									   : &b->table->task.export)))),
		 errdetail("With option \"schema\", a directory has the objects of "
				   "one table."),
		 errhint("Use {name} before the last slash of option \"key\".")));
}

/* Raises if two tables have one key, where only the later object would be
 * left. */
static void
check_keys(const ObRun *run)
{
	Place *places = palloc(sizeof(Place) * (2 * run->n + 1));
	int n = 0;

	for (int i = 0; i < run->n; i++)
	{
		if (!run->tables[i].error)
			n += add_places(&run->tables[i], &places[n]);
	}
	qsort(places, n, sizeof(Place), compare_places);
	for (int i = 1; i < n; i++)
	{
		if (compare_places(&places[i - 1], &places[i]) == 0)
			refuse_place(&places[i - 1], &places[i]);
	}
	pfree(places);
}

static void
spare_increments(const ObRun *run)
{
	ObTableExport **tasks = palloc(sizeof(ObTableExport *) * (run->n + 1));
	int prepared = 0;

	for (int i = 0; i < run->n; i++)
	{
		if (!run->tables[i].error)
			tasks[prepared++] = &run->tables[i].task;
	}
	ob_task_spare_increments(&run->common, tasks, prepared);
	pfree(tasks);
}

/* The bucket of a table can have changed since an earlier attempt of the run,
 * whose object the manifest would name. */
static void
require_earlier_there(const RunTable *table)
{
	const ObHistoryRow *earlier = table->task.earlier;
	const char *bucket = table->task.export.bucket;
	char *place;

	if (!earlier || !earlier->uri ||
		strcmp(earlier->status, OB_STATUS_DONE) != 0)
		return;
	place = psprintf("s3://%s/", bucket);
	if (strncmp(earlier->uri, place, strlen(place)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a run with a manifest must have one destination"),
				 errdetail("The run has exported table \"%s\" to \"%s\" "
						   "before; now it goes to bucket \"%s\".",
						   table->request.name, earlier->uri, bucket),
				 errhint("Give another run_id, or none.")));
	pfree(place);
}

/* Finds the destination of the manifest, which is the bucket of the objects
 * that it names. */
static void
find_destination(ObRun *run)
{
	const RunTable *first = NULL;

	for (int i = 0; i < run->n; i++)
	{
		const RunTable *table = &run->tables[i];
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
		require_earlier_there(table);
	}
	run->where = first ? &first->task.export : NULL;
}

static void
prepare_all(ObRun *run, List *entries)
{
	RunTable *table;
	ListCell *cell;

	run->n = list_length(entries);
	run->common.tables = run->n;
	table = run->tables = palloc0(sizeof(RunTable) * (run->n + 1));
	run->ended = palloc0(sizeof(RunTable *) * (run->n + 1));
	foreach (cell, entries)
	{
		const ObEntry *entry = lfirst(cell);

		table->run = run;
		table->request = run->common;
		table->request.name = entry->name;
		table->request.entry = entry;
		table->task.row.run_id = run->common.run_id;
		table->task.row.name = entry->name;
		table->task.row.source = run->common.source;
		table->error = ob_attempt(prepare, table);
		table++;
	}
}

/* ---- one table ---- */

static void
add_ended(RunTable *table)
{
	ObRun *run = table->run;

	table->reported = true;
	ob_totals_add(&run->totals, &table->task.row);
	run->ended[run->nended++] = table;
}

static void
warn_of_table(RunTable *table, const ErrorData *error)
{
	table->failed = true;
	table->run->failed++;
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
	ob_task_end_or_warn(table->run->common.schema, &table->task);
	add_ended(table);
}

static void
run_table(void *arg)
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
		error = ob_attempt(run_table, table);
	if (error)
		fail_table(table, error);
	if (!table->publication || table->task.row.figures.files == 0)
		end_in_session(table);
}

/* ---- by workers ---- */

/* Planning takes locks, and a worker that needs one would queue behind a
 * process that waits for ours.  So they are released at once, by an error. */
static void
guess_size(void *arg)
{
	RunTable *table = arg;
	ObTableExport *task = &table->task;

	/* The session warns, because workers have no client. */
	if (task->watermark)
		ob_watermark_warn(table->run->common.schema, task->watermark,
						  task->export.query);
	table->size = ob_query_size(task->export.query);
	ereport(ERROR, (errcode(ERRCODE_SUCCESSFUL_COMPLETION), errmsg("done")));
}

/* Takes over the outcome of a table that a worker has ended, whose row of the
 * history it has written. */
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

/* Orders the largest table first, so that no long one is left to the end. */
static int
compare_sizes(const void *a, const void *b)
{
	double x = ((const RunTable *) ((const ObWorkerTable *) a)->arg)->size;
	double y = ((const RunTable *) ((const ObWorkerTable *) b)->arg)->size;

	return x < y ? 1 : x > y ? -1 : 0;
}

static ObWorkers *
start_workers(ObRun *run, bool (*finish_run)(void *arg),
			  void (*abort_run)(void *arg))
{
	ObExportRequest *common = palloc(sizeof(ObExportRequest));
	ObWorkersSpec spec = {
		.common = common,
		.details = run->checked->manifest,
		.workers = onboard_parallel_tables,
		.ended = ended_elsewhere,
		.finish = finish_run,
		.abort = abort_run,
		.arg = run,
	};

	if (run->n <= 1 || onboard_parallel_tables <= 1 || !ob_workers_possible())
		return NULL;
	*common = run->common;
	if (!common->source)
		common->source = ob_history_source();
	spec.tables = palloc0(sizeof(ObWorkerTable) * run->n);
	for (int i = 0; i < run->n; i++)
	{
		RunTable *table = &run->tables[i];
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
write_manifest(const ObRun *run, bool success)
{
	const ObManifest manifest = {
		.run_id = run->common.run_id,
		.started = run->started,
		.together = run->checked->together,
		.success = success,
		.where = run->where,
	};
	const ObTableExport **tasks = palloc(sizeof(ObTableExport *) * run->n);

	for (int i = 0; i < run->n; i++)
		tasks[i] = &run->tables[i].task;
	ob_manifest_write(&manifest, tasks, run->n);
}

/* ---- published together: what is held ---- */

/* Holds the upload: the callback of an export in this session. */
static void
hold_here(void *arg, const ObUploadHeld *held)
{
	RunTable *table = arg;
	ObPublication *publication = table->publication;

	publication->parts = MemoryContextAllocHuge(table->run->publication,
												sizeof(ObUploadPart) *
													(Size) (held->nparts + 1));
	ob_held_note(&publication->held, publication->parts, &table->task.export,
				 held);
}

static void
make_publications(ObRun *run)
{
	run->publisher = ob_publisher_new(run->where, run->n);
	for (int i = 0; i < run->n; i++)
	{
		RunTable *table = &run->tables[i];

		table->publication = ob_publisher_item(run->publisher, i);
		table->publication->export = &table->task.export;
		table->publication->place = table->task.uri;
		table->task.export.held = hold_here;
		table->task.export.held_arg = table;
	}
}

/* Marks objects that have landed but are not visible as withheld.  If that is
 * unknown, nothing changes.  Must not raise. */
static void
withhold_unpublished(ObRun *run)
{
	for (int i = 0; i < run->n; i++)
	{
		RunTable *table = &run->tables[i];

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
count(const ObRun *run, ObPublished state)
{
	int n = 0;

	for (int i = 0; i < run->n; i++)
		n += run->tables[i].publication->state == state;
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
append_names(StringInfo text, const ObRun *run, ObPublished state,
			 const char *what, int level)
{
	int n = 0;

	for (int i = 0; i < run->n; i++)
	{
		const RunTable *table = &run->tables[i];

		if (table->publication->state == state)
			appendStringInfo(text, "%s\"%s\"", n++ > 0 ? ", " : what,
							 shown(table, level));
	}
	if (n > 0)
		appendStringInfoString(text, ". ");
}

static char *
say_what_is_visible(const ObRun *run, int level)
{
	StringInfoData text;

	initStringInfo(&text);
	append_names(&text, run, OB_PUBLISHED_DONE, "Visible: ", level);
	append_names(&text, run, OB_PUBLISHED_UNKNOWN, "Perhaps visible: ", level);
	append_names(&text, run, OB_PUBLISHED_DISCARDED, "Not visible: ", level);
	text.data[--text.len] = '\0';
	return text.data;
}

static void
report_part(const ObRun *run, int level)
{
	ereport(level,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("the run was published in part"),
			 errdetail_internal("%s", say_what_is_visible(run, level)),
			 errhint("Readers that wait for _SUCCESS ignore this run. Run it "
					 "again.")));
}

/* Reports all objects as visible although the run has failed. */
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
is_in_part(const ObRun *run)
{
	int visible = count(run, OB_PUBLISHED_DONE);
	int unknown = count(run, OB_PUBLISHED_UNKNOWN);

	return unknown > 0 ||
		   (visible > 0 && count(run, OB_PUBLISHED_DISCARDED) > 0);
}

/* ---- published together: settling it ---- */

static void
discard(ObRun *run)
{
	ob_publisher_discard(run->publisher);
	withhold_unpublished(run);
}

/* Discards on an error, and when this backend is terminated; may be called
 * twice. */
static void
abort_run(void *arg)
{
	ObRun *run = arg;

	discard(run);
	if (run->warned || run->visible)
		return;
	run->warned = true;
	if (is_in_part(run))
		report_part(run, WARNING);
	else if (count(run, OB_PUBLISHED_DONE) > 0)
		warn_of_all();
}

/* Aborts the run when its memory goes while objects may be held. */
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

/* Fails the tables whose objects could not be published. */
static void
report_failures(ObRun *run)
{
	for (int i = 0; i < run->n; i++)
	{
		RunTable *table = &run->tables[i];

		if (table->publication->failed &&
			table->publication->state != OB_PUBLISHED_DONE)
			fail_table(table, ob_attempt(raise_failure, table));
	}
}

static void
note_published(ObRun *run)
{
	for (int i = 0; i < run->n; i++)
	{
		RunTable *table = &run->tables[i];

		if (table->publication->state == OB_PUBLISHED_DONE)
			ob_task_published(&table->task, &table->publication->object);
	}
}

static void
write_schemas(const ObRun *run)
{
	for (int i = 0; i < run->n; i++)
	{
		const ObTableExport *task = &run->tables[i].task;

		if (task->export.options->schema && task->row.figures.files > 0)
			ob_schema_file_write(task, task->details);
	}
}

static void
publish(ObRun *run)
{
	ob_publisher_renew(run->publisher);
	if (!ob_publish(run->publisher))
	{
		discard(run);
		/* the state of unclear objects may turn out to be visible after all */
		if (count(run, OB_PUBLISHED_UNKNOWN) > 0 ||
			count(run, OB_PUBLISHED_DISCARDED) > 0)
		{
			note_published(run);
			report_failures(run);
			return;
		}
	}
	run->visible = true;
	note_published(run);
	write_schemas(run);
	write_manifest(run, true);
	run->published = true;
}

/* Withholds a table that is not begun because another one has failed. */
static void
skip_table(RunTable *table)
{
	table->here = true;
	table->task.row.started = table->task.row.ended = GetCurrentTimestamp();
	ob_task_withhold(&table->task);
}

/* Finishes the run.  Tables with a status were run by workers; the others run
 * here. */
static bool
finish_run(void *arg)
{
	ObRun *run = arg;

	for (int i = 0; i < run->n; i++)
	{
		RunTable *table = &run->tables[i];

		if (table->task.row.status)
			continue;
		if (run->failed > 0)
			skip_table(table);
		else
			run_in_session(table);
	}
	if (run->failed > 0)
	{
		ob_publisher_drain(run->publisher);
		discard(run);
	}
	else
		publish(run);
	for (int i = 0; i < run->n; i++)
	{
		RunTable *table = &run->tables[i];

		if (!table->here || table->reported)
			continue;
		if (!run->published)
			table->task.watermark = NULL;
		end_in_session(table);
	}
	return run->published;
}

/* Fails the tables that could not be prepared, before anything is sent. */
static void
fail_unprepared(ObRun *run)
{
	for (int i = 0; i < run->n; i++)
	{
		if (run->tables[i].error)
			run_in_session(&run->tables[i]);
	}
}

/* Runs the tables in workers, or in this session. */
static void
run_all(void *arg)
{
	ObRun *run = arg;
	ObWorkers *workers = NULL;

	fail_unprepared(run);
	if (run->failed == 0)
		workers = start_workers(run, finish_run, abort_run);
	if (!workers)
	{
		(void) finish_run(run);
		return;
	}
	while (ob_workers_step(workers))
		continue;
	ob_workers_end(workers);
}

static void
run_together(ObRun *run)
{
	MemoryContext before = CurrentMemoryContext;

	run->publication = AllocSetContextCreate(
		CurTransactionContext, "onboard publication", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(run->publication);
	make_publications(run);
	MemoryContextSwitchTo(before);
	run->callback.func = abort_with_memory;
	run->callback.arg = run;
	MemoryContextRegisterResetCallback(run->context, &run->callback);
	ob_unwind(run_all, abort_run, run);
	if (is_in_part(run))
		report_part(run, ERROR);
	if (!run->published)
		ereport(WARNING,
				(errmsg("nothing of the run was published"),
				 errdetail("%d of %d tables failed.", run->failed, run->n)));
}

/* ---- all tables ---- */

static bool
all_prepared(const ObRun *run)
{
	for (int i = 0; i < run->n; i++)
	{
		if (run->tables[i].error)
			return false;
	}
	return true;
}

/* Deletes the manifest of an earlier attempt before anything is sent, if
 * something will be. */
static void
withdraw(const ObRun *run)
{
	const char **names;

	if (!run->where || !run->common.given_id ||
		(run->checked->together && !all_prepared(run)))
		return;
	names = palloc(sizeof(char *) * run->n);
	for (int i = 0; i < run->n; i++)
		names[i] = run->tables[i].request.name;
	ob_withdraw(run->common.schema, run->where, names, run->n);
}

static void
report_run(ObRun *run)
{
	ObTotals *totals = &run->totals;

	totals->run_id = run->common.run_id;
	totals->started = run->started;
	totals->ended = GetCurrentTimestamp();
	ob_notify_run(totals);
	ob_notify_client(totals, NULL);
}

/* Closes the run when every table has ended. */
static void
close_run(ObRun *run)
{
	run->closed = true;
	if (run->workers)
		ob_workers_end(run->workers);
	run->workers = NULL;
	if (run->publication)
		MemoryContextDelete(run->publication);
	else if (run->where)
		write_manifest(run, run->failed == 0);
	else if (run->checked->manifest && run->n > 0)
		ereport(WARNING, (errmsg("the run has no manifest"),
						  errdetail("No table could be prepared, so it is not "
									"known where to put it.")));
	report_run(run);
}

/* A run may have thousands of tables, and all may fail for one reason. */
#define NAMES_MAX 20

static char *
names_of_failed(const ObRun *run)
{
	StringInfoData text;
	int n = 0;

	initStringInfo(&text);
	for (int i = 0; i < run->nended && n < NAMES_MAX; i++)
	{
		const RunTable *table = run->ended[i];

		if (table->failed)
			appendStringInfo(&text, "%s\"%s\"", n++ > 0 ? ", " : "",
							 ob_report_client_text(table->request.name));
	}
	if (run->failed > n)
		appendStringInfo(&text, " and %d more", run->failed - n);
	return text.data;
}

static const ObHistoryRow *
first_failed(const ObRun *run)
{
	for (int i = 0; i < run->nended; i++)
	{
		if (run->ended[i]->failed && run->ended[i]->task.row.error)
			return &run->ended[i]->task.row;
	}
	return NULL;
}

/* The message has the first error, since schedulers often store nothing else.
 */
static void
raise_errors(const ObRun *run)
{
	const ObHistoryRow *first;

	if (run->failed == 0 || !run->checked->raise_errors)
		return;
	first = first_failed(run);
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 first ? errmsg("%d of %d tables could not be exported; the "
							"first error was that of \"%s\": %s",
							run->failed, run->n,
							ob_report_client_text(first->name),
							ob_report_client_text(first->error))
				   : errmsg("%d of %d tables could not be exported",
							run->failed, run->n),
			 errdetail("These failed: %s. Each of them was reported in "
					   "a warning.",
					   names_of_failed(run))));
}

/* Runs, in the session, the next table that no worker has run. */
static void
run_next_here(ObRun *run)
{
	while (run->next < run->n)
	{
		RunTable *table = &run->tables[run->next++];

		if (table->task.row.status)
			continue;
		run_in_session(table);
		return;
	}
	elog(ERROR, "not all tables of the run have ended");
}

/* Waits until one more table has ended.  Tables that are published together
 * end at once. */
static void
step(ObRun *run)
{
	if (!run->begun)
	{
		run->begun = true;
		withdraw(run);
		if (run->checked->together && run->where)
			run_together(run);
		else
			run->workers = start_workers(run, NULL, NULL);
	}
	else if (run->workers)
	{
		if (ob_workers_step(run->workers))
			return;
		ob_workers_end(run->workers);
		run->workers = NULL;
	}
	else
		run_next_here(run);
}

static void
prepare_run(ObRun *run, List *entries)
{
	ObOptions *checked = ob_options_new();

	/* an error in the call itself is not the failure of each table */
	if (run->common.options)
		ob_options_read(checked, run->common.options, OB_OPTIONS_ALL,
						"options");
	run->checked = checked;
	prepare_all(run, entries);
	check_keys(run);
	spare_increments(run);
	if (run->checked->manifest)
		find_destination(run);
}

ObRun *
ob_run_begin(List *entries, Jsonb *options, const ObExportRequest *common)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "onboard run", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	ObRun *run = palloc0(sizeof(ObRun));

	run->context = context;
	run->common = *common;
	run->common.options = options;
	run->common.options_for = OB_OPTIONS_ALL;
	run->common.servers = &run->servers;
	run->started = GetCurrentTimestamp();
	prepare_run(run, entries);
	MemoryContextSwitchTo(before);
	return run;
}

const ObHistoryRow *
ob_run_next(ObRun *run)
{
	MemoryContext before = MemoryContextSwitchTo(run->context);

	while (run->nended < run->n && run->given == run->nended)
		step(run);
	/* before the last row is returned: the client may not fetch again after it
	 */
	if (run->nended == run->n && !run->closed)
		close_run(run);
	MemoryContextSwitchTo(before);
	if (run->given == run->nended)
		return NULL;
	/* instead of the last row, since the rows before it may have ended with it
	 */
	if (run->given == run->n - 1)
		raise_errors(run);
	return &run->ended[run->given++]->task.row;
}

int
ob_run_stop(ObRun *run)
{
	if (run->workers)
		ob_workers_stop(run->workers);
	run->workers = NULL;
	return run->n - run->nended;
}

static ObFate
fate_of(const RunTable *table)
{
	const ObHistoryRow *row = &table->task.row;

	/* the publications of a run that is closed are gone */
	if (!table->publication || table->run->closed)
		return row->status && strcmp(row->status, OB_STATUS_DONE) == 0
				   ? OB_FATE_WRITTEN
				   : *table->task.export.fate;
	switch (table->publication->state)
	{
		case OB_PUBLISHED_DONE:
			return OB_FATE_WRITTEN;
		case OB_PUBLISHED_UNKNOWN:
			return OB_FATE_UNKNOWN;
		default:
			return OB_FATE_NONE;
	}
}

List *
ob_run_left_objects(const ObRun *run)
{
	List *found = NIL;

	for (int i = 0; i < run->n; i++)
	{
		const RunTable *table = &run->tables[i];
		ObLeftObject *object;

		if (!table->here || table->error || fate_of(table) == OB_FATE_NONE)
			continue;
		object = palloc(sizeof(ObLeftObject));
		object->name = pstrdup(table->request.name);
		object->uri = pstrdup(table->task.uri);
		object->fate = fate_of(table);
		object->objects = NULL;
		if (object->fate == OB_FATE_WRITTEN)
			object->objects = table->task.row.objects
								  ? pstrdup(table->task.row.objects)
								  : ob_task_objects(&table->task);
		found = lappend(found, object);
	}
	return found;
}
