/*
 * history.h
 *		The table onboard_history: what was exported, and how it ended.
 *
 * src/pg/catalog/history.h
 */
#ifndef OB_HISTORY_H
#define OB_HISTORY_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "pg/base/figures.h"

#define OB_STATUS_QUEUED "queued"
#define OB_STATUS_RUNNING "running"
#define OB_STATUS_DONE "done"
#define OB_STATUS_EMPTY "empty"
#define OB_STATUS_FAILED "failed"
#define OB_STATUS_WITHHELD "withheld" /* its run failed: see publisher.h */

typedef struct ObHistoryRow
{
	pg_uuid_t run_id;
	const char *name;
	const char *status;
	/* in the database's encoding; NULL: none.  Unless the status is "done", it
	 * is that of an object that may exist nevertheless */
	const char *uri;
	/* what is known of that object, see pg/export/objects.h; NULL: nothing */
	const char *objects;
	ObFigures figures;
	const char *query;
	const char *source; /* NULL: this session */
	TimestampTz started;
	TimestampTz ended;  /* 0: it has not ended */
	XLogRecPtr lsn;     /* LSN of its snapshot; 0: not known */
	const char *error;  /* NULL unless failed */
	const char *detail; /* DETAIL of the error; NULL: none */
	int sqlstate;
	bool increment; /* the row stays when a repetition of the run fails */
	bool *logged; /* set when its end is in the log; NULL: it is logged once */
} ObHistoryRow;

/* The sums over the tables of a run. */
typedef struct ObTotals
{
	pg_uuid_t run_id;
	int64 tables;
	int64 done;
	int64 empty;
	int64 failed;
	bool run_failed; /* the run has failed, whatever its tables did */
	ObFigures figures;
	TimestampTz started;
	TimestampTz ended;
} ObTotals;

/* Adds a table that has ended to the totals. */
extern void ob_totals_add(ObTotals *totals, const ObHistoryRow *row);

/* Returns the current role's name.  A role that was dropped during its export
 * gets the name that PostgreSQL's views show, so that the outcome is still
 * reported. */
extern const char *ob_history_role(void);

/*
 * Writes a row in the caller's transaction, as the table's owner: the
 * beginning of a table, or its end over the row of its beginning, if there is
 * one.  Writes nothing where nothing can be written (on a standby, in a read-
 * only transaction), nor over the row of an increment that has landed if this
 * one has not.  A row that names an object is replaced only by one that names
 * an object, too, or that says how the run has ended well: see
 * ObHistoryRow.uri.  What the history says of the object goes with its URI.
 */
extern void ob_history_write(Oid schema, const ObHistoryRow *row);

/* Does the same unless the row says that the table has ended; returns whether
 * it has written. */
extern bool ob_history_write_if_open(Oid schema, const ObHistoryRow *row);

/* Raises errors that are known to prevent the write at the end, before
 * anything is sent. */
extern void ob_history_require(Oid schema);

/* Marks this process as a job, whose transactions are its own: the history is
 * also written in those that default_transaction_read_only makes read-only. */
extern void ob_history_set_background(void);

/* Deletes, as the caller, rows that ended before that time, and rows that
 * began before it and that no process works on any more.  Returns their
 * number. */
extern uint64 ob_history_prune(Oid schema, TimestampTz before);

/* Fills the totals of the current role's run totals->run_id from its rows, if
 * it has any. */
extern void ob_history_sum(Oid schema, ObTotals *totals);

/*
 * Whether the current role's row of the table row->name in the run row->run_id
 * names an object.  If so, the rest of *row is filled in the current memory
 * context.
 */
extern bool ob_history_recall(Oid schema, ObHistoryRow *row);

/* Returns the name of an increment that the current role has landed in that
 * run at one of these URIs, palloc'd, or NULL. */
extern char *ob_history_increment(Oid schema, const pg_uuid_t *run_id,
								  const char *const *uris, int n);

/* Returns the name of a table that the current role's run has landed, or found
 * empty, and that is none of these, palloc'd, or NULL. */
extern char *ob_history_other(Oid schema, const pg_uuid_t *run_id,
							  const char *const *names, int n);

/* Whether the history has rows of that run of the current role. */
extern bool ob_history_knows(Oid schema, const pg_uuid_t *run_id);

/*
 * Raises if another role has landed something under that id, and the current
 * one has no row of it.  Rows of both would not conflict, but a role that sees
 * both would take two runs for one.  Failures without an object do not bind an
 * id: they need no right to export, and would let any role claim an id.
 */
extern void ob_history_require_own(Oid schema, const pg_uuid_t *run_id);

/* Returns the origin of the session: its client's address or "local", and its
 * application_name; palloc'd. */
extern char *ob_history_source(void);

#endif
