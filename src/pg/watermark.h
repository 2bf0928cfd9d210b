/*
 * watermark.h
 *		Increments: what of a registered table was not landed before.
 *
 * src/pg/watermark.h
 *
 * The greatest value of a column that has landed is kept, for each table and
 * role, in the table onboard_watermarks.  The next increment is what lies
 * above it, up to the greatest value that the run's snapshot shows.
 *
 * That value says something only about what it was made from: the registered
 * row and its query, the tables and views that this reads, the destination,
 *and the row security that applied.  All of it is kept beside the value, and
 *an increment of anything else is refused.
 */
#ifndef OB_WATERMARK_H
#define OB_WATERMARK_H

#include "utils/uuid.h"

#include "pg/export.h"
#include "pg/history.h"

/* What a watermark is made from. */
typedef struct ObWatermarkOrigin
{
	pg_uuid_t table_id;      /* the registered row's own */
	const char *query;       /* its text */
	const char *destination; /* the store and the bucket */

	/* set by ob_watermark_bound() */
	const char *relations;    /* tables, and views as SQL */
	const char *row_security; /* the policies that apply */
	const char *system; /* of transaction ids: which cluster's; or NULL */
} ObWatermarkOrigin;

typedef struct ObWatermark
{
	const char *name;    /* the registered table's */
	const char *column;  /* of the query's result */
	const char *overlap; /* NULL: none */
	ObWatermarkOrigin origin;

	/* as it is kept; NULL: nothing has landed yet */
	struct ObWatermarkKept *kept;
	char *resets;   /* onboard_reset() that could have forgotten it; or NULL */
	bool in_worker; /* whose leader warns */
	bool warned;    /* of what may get lost nevertheless */

	/* of this increment, as they are kept; set by ob_watermark_bound() */
	char *type;
	char *from;     /* NULL: from the beginning */
	bool inclusive; /* from is */
	char *to;       /* inclusive; NULL: there is nothing to land */
} ObWatermark;

/* A registered table whose increment is asked for. */
typedef struct ObWatermarkRequest
{
	const char *name;
	pg_uuid_t run_id;
	const ObOptions *options;
	ObWatermarkOrigin origin; /* but for what ob_watermark_bound() sets */
	bool in_worker;           /* whose leader has asked before */
} ObWatermarkRequest;

/*
 * The watermark of the registered table, for the current user, in the current
 * memory context.  Raises where none can be kept, as on a standby (a worker
 * whose own transaction only reads asks after its leader did), if the one that
 * is kept was made from something else, and if it is that very run's.
 */
extern ObWatermark *ob_watermark_get(Oid schema,
									 const ObWatermarkRequest *request);

/* All of it, in the current memory context. */
extern ObWatermark *ob_watermark_copy(const ObWatermark *mark);

/*
 * Bounds the export's query to the increment; runs under the active snapshot.
 * False if there is nothing to land; the query then gives no rows.  Raises if
 * the watermark that is kept was made from something else, or if the column
 * could lose rows that can be known to.
 */
extern bool ob_watermark_bound(Oid schema, ObWatermark *mark,
							   ObExport *export);

/*
 * Warns, once, of what lets rows come below the watermark later, as far as
 * PostgreSQL knows: sequences, time zones, prepared transactions.  Takes the
 * locks that analysing the query takes.
 */
extern void ob_watermark_warn(Oid schema, ObWatermark *mark,
							  const char *query);

/*
 * The increment has landed: from now on, the next one begins at its end, if it
 * had rows.  In the caller's transaction, with the rights of the table's
 * owner.  If somebody else has changed the watermark meanwhile, or it cannot
 * be written, it stays as it is, with a WARNING.
 */
extern void ob_watermark_keep(Oid schema, const ObWatermark *mark,
							  const ObRun *run);

/*
 * Forgets the watermarks of that table that roles have that the current user
 * is a member of; or, with keep, only what they were made from, so that the
 * next increment goes on from there, whatever has changed.  Returns how many.
 */
extern int ob_watermark_reset(Oid schema, const char *name, bool keep);

#endif
