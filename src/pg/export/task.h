/*
 * task.h
 *		From what a caller asked for to an export that is ready to run.
 *
 * src/pg/export/task.h
 */
#ifndef OB_TASK_H
#define OB_TASK_H

#include "pg/catalog/registry.h"
#include "pg/config/server.h"
#include "pg/export/table_export.h"

/* What was asked for; NULL where nothing was said. */
typedef struct ObExportRequest
{
	const char *name;
	const char *query;
	const char *bucket;
	Jsonb *options;
	ObOptionsFor options_for;
	const ObEntry *entry; /* the registry's row of that name */
	Oid schema;           /* the extension's */
	pg_uuid_t run_id;
	bool given_id;      /* by the caller, so it may have run before */
	TimestampTz when;   /* the date and time in keys */
	const char *source; /* ob_history_source() of who asked; NULL: here */
	bool in_worker;     /* of a run, whose leader has prepared it, too */
	/* NULL, or the server as that leader has read it */
	const ObServerRow *server;
	/* NULL, or those that the run has read so far: each is read once */
	List **servers;
	XLogRecPtr lsn; /* ob_task_lsn() when the run began; 0: now */
} ObExportRequest;

/*
 * Where the log ends (on a standby: how far it is replayed).  What a snapshot
 * that was taken before shows was written before it.
 */
extern XLogRecPtr ob_task_lsn(void);

/*
 * Asks the history, before all else, what an earlier attempt of the run has
 * left at this name.  What is there is not forgotten when this one fails,
 * whether or not it comes to ob_task_prepare().  Allocates in the current
 * memory context.
 */
extern void ob_task_recall(const ObExportRequest *request,
						   ObTableExport *task);

/*
 * Fills a task in the current memory context: options merged and checked,
 * server, bucket and key found.  Nothing is sent.  Raises for all that can be
 * known to be wrong.
 */
extern void ob_task_prepare(const ObExportRequest *request,
							ObTableExport *task);

/*
 * Raises if one of the tasks, which are prepared and all of that run, is no
 * increment and would replace the object of an increment that the run has
 * landed, under another name.
 */
extern void ob_task_spare_increments(const ObExportRequest *request,
									 ObTableExport *const *tasks, int n);

/* The key that the request's name and run id land at. */
extern char *ob_task_key(const ObExportRequest *request,
						 const ObOptions *options, const ObServer *server);

/* A text that is the same for two objects that are known to be one (see
 * core/text/place.h); with an empty key, it tells the store and the bucket. */
extern char *ob_task_place(const ObExportSpec *export, const char *key);

/* Runs the export and fills task->row; raises on failure.  If task->landed is
 * set, only reports that. */
extern void ob_task_run(ObTableExport *task);

/* Fills task->row for one that failed.  Its object may be there nevertheless,
 * or that of an earlier attempt (task->fate): then it has a URI, and its error
 * says so. */
extern void ob_task_fail(ObTableExport *task, const ErrorData *error);

/* The same of one that is not known to be visible.  Allocates nothing. */
extern void ob_task_doubt(ObTableExport *task);

/* Fills task->row for one that has landed, but is not to be seen, because
 * something else of its run has failed.  If it has a URI, that is an earlier
 * attempt's.  Does not raise. */
extern void ob_task_withhold(ObTableExport *task);

/*
 * Writes into the history how it ended, and, if an increment has landed, where
 * the next one begins, in a transaction that may write.  Returns why that is
 * not kept, palloc'd; NULL: it is, or there is none.
 */
extern const char *ob_task_end(Oid schema, const ObTableExport *task);

/*
 * The same in a session's transaction, of which other things may be a part:
 * that it cannot be written is a WARNING, which says what has landed.  Raises
 * a cancel and its like, after that warning.
 */
extern void ob_task_end_or_warn(Oid schema, const ObTableExport *task);

#endif
