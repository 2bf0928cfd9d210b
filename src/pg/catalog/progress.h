/*
 * progress.h
 *		The progress of the exports of this database.
 *
 * src/pg/catalog/progress.h
 *
 * Each process reports in its own PgBackendStatus, as COPY and VACUUM do.
 * Every server has that memory, so nothing needs to be preloaded; reporting
 * takes no lock; and PostgreSQL clears it when the transaction or the process
 * ends, in whatever way.  The command is COPY TO, so exports are also in
 * pg_stat_progress_copy; our own data is in parameters that COPY does not use.
 *
 * A backend has room for one command.  An export within another command (a
 * COPY whose query calls onboard_table()) takes its place, and gives it back
 * when it has ended.
 */
#ifndef OB_PROGRESS_H
#define OB_PROGRESS_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

#include "pg/base/figures.h"

typedef enum ObPhase
{
	OB_PHASE_QUERY,   /* rows come */
	OB_PHASE_UPLOAD,  /* no more rows come; the rest is sent */
	OB_PHASE_COMPLETE /* S3 puts the parts together */
} ObPhase;

/* The constant part of a process's progress.  Borrowed. */
typedef struct ObProgressLabel
{
	pg_uuid_t run_id;
	const char *name;
	int leader; /* pid under which the work of this process is shown */
	TimestampTz started;
} ObProgressLabel;

typedef struct ObProgress ObProgress;

/* Allocates in the current memory context.  A caller that fails need not end
 * it: the end of the (sub)transaction does. */
extern ObProgress *ob_progress_begin(const ObProgressLabel *label);

/* Publishes the figures; cheap, but not meant for each row.  in_flight counts
 * parts.  With progress NULL, nothing is published. */
extern void ob_progress_show(ObProgress *progress, ObPhase phase,
							 const ObFigures *figures, int in_flight);

/* The estimate is shown from the next ob_progress_show() on. */
extern void ob_progress_estimate(ObProgress *progress, double bytes);

extern void ob_progress_end(ObProgress *progress);

/* ---- reading ---- */

typedef struct ObProgressRow
{
	int pid;
	pg_uuid_t run_id;
	const char *name; /* beginning of the name */
	int name_len;     /* length of the whole name; at most PG_UINT16_MAX */
	ObPhase phase;
	/* sums over all processes */
	ObFigures figures;
	int in_flight;
	int64 estimated_bytes;
	TimestampTz started;
} ObProgressRow;

extern const char *ob_phase_name(ObPhase phase);

/* Returns a list of ObProgressRow *, palloc'd, that the current role may see.
 */
extern List *ob_progress_list(void);

#endif
