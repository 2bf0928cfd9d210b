/*
 * task.h
 *		The task of one table: from a caller's request to its outcome.
 *
 * src/pg/export/task.h
 */
#ifndef OB_TASK_H
#define OB_TASK_H

#include "pg/catalog/registry.h"
#include "pg/config/server.h"
#include "pg/export/table_export.h"

/* The arguments of a call.  A field is NULL if the caller has not given it. */
typedef struct ObExportRequest
{
	const char *name;
	const char *query;
	const char *bucket;
	Jsonb *options;
	ObOptionsFor options_for;
	int tables;           /* of the run; 0: this one alone */
	const ObEntry *entry; /* the registry's row of that name */
	Oid schema;           /* the extension's schema */
	pg_uuid_t run_id;
	bool given_id;      /* the caller gave the id, so the run may be a retry */
	TimestampTz when;   /* date and time in keys */
	const char *source; /* ob_history_source() of the calling session; NULL:
						 * this session */
	bool in_worker;     /* the leader has prepared it, too */
	/* NULL, or the server as the leader has read it */
	const ObServerRow *server;
	/* NULL, or the servers that the run has read so far: each is read once */
	List **servers;
	XLogRecPtr lsn; /* ob_task_lsn() when the run began; 0: now */
} ObExportRequest;

/* Returns the end of the log (on a standby, of what was replayed).  All that
 * an earlier snapshot shows was written before it. */
extern XLogRecPtr ob_task_lsn(void);

/*
 * Reads from the history, before anything else, what an earlier attempt of the
 * run has left at this name.  A failure of this attempt does not forget that,
 * even if it comes before ob_task_prepare().  Allocates in the current memory
 * context.
 */
extern void ob_task_recall(const ObExportRequest *request,
						   ObTableExport *task);

/* Fills what the request decides of an export: its query, options, server,
 * bucket and key.  Raises as ob_task_prepare() does. */
extern void ob_task_aim(const ObExportRequest *request, ObExportSpec *export);

/*
 * Fills a task in the current memory context: options are merged and checked;
 * server, bucket and key are found.  Nothing is sent.  Raises all errors that
 * can be known now.
 */
extern void ob_task_prepare(const ObExportRequest *request,
							ObTableExport *task);

/*
 * Raises if one of the tasks, which are prepared and all of that run, is not
 * an increment and would replace, under another name, the object of an
 * increment that the run has landed.
 */
extern void ob_task_spare_increments(const ObExportRequest *request,
									 ObTableExport *const *tasks, int n);

/* Returns the key at which the request's name and run id land. */
extern char *ob_task_key(const ObExportRequest *request,
						 const ObOptions *options, const ObServer *server);

/* Returns the pieces of that key, of ObKeyPiece *. */
extern List *ob_task_key_pieces(const ObExportRequest *request,
								const ObOptions *options,
								const ObServer *server);

/* Returns a text that is the same for two objects that are known to be one
 * (see core/text/place.h).  With an empty key, it stands for the store and the
 * bucket. */
extern char *ob_task_place(const ObExportSpec *export, const char *key);

/* Runs the export and fills task->row; raises on failure.  If task->landed is
 * set, it only reports that. */
extern void ob_task_run(ObTableExport *task);

/* Fills task->row for an export that failed.  Its object, or that of an
 * earlier attempt, may exist nevertheless (task->fate): then the row has a
 * URI, and its error says so. */
extern void ob_task_fail(ObTableExport *task, const ErrorData *error);

/* Does the same for an object that may be visible.  Does not palloc. */
extern void ob_task_doubt(ObTableExport *task);

/* Fills task->row for an export that has landed but is not shown, because
 * something else of its run has failed.  If the row has a URI, it is that of
 * an earlier attempt.  Does not raise. */
extern void ob_task_withhold(ObTableExport *task);

/* Notes, in task->row, what is known of the object of an export that was held,
 * and is visible now. */
extern void ob_task_published(ObTableExport *task,
							  const ObUploadObject *object);

/* Returns what the history says of the task's object, which exists although
 * the export or its run has failed; palloc'd. */
extern char *ob_task_objects(const ObTableExport *task);

/*
 * Writes the outcome into the history, and, if an increment has landed, its
 * watermark, in a transaction that may write.  Returns why the watermark was
 * not written, palloc'd, or NULL.
 */
extern const char *ob_task_end(Oid schema, const ObTableExport *task);

/*
 * Does the same in a session's transaction, which may have other work in it: a
 * failure to write is a WARNING, which says what has landed.  Raises a cancel
 * and its like, after that warning.
 */
extern void ob_task_end_or_warn(Oid schema, const ObTableExport *task);

#endif
