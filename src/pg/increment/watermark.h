/*
 * watermark.h
 *		Increments: the rows of a registered table that have not landed yet.
 *
 * src/pg/increment/watermark.h
 *
 * The greatest value of a column that has landed is stored, for each table and
 * role, in the table onboard_watermarks.  The next increment has the rows
 * above it, up to the greatest value that the run's snapshot shows.
 *
 * The value is only meaningful together with its origin: the registered row
 * and its query, the tables and views that the query reads, the destination,
 * and the row security that applied.  All of these are stored beside the
 * value, and an increment for which one of them differs is refused.
 */
#ifndef OB_WATERMARK_H
#define OB_WATERMARK_H

#include "utils/uuid.h"

#include "pg/store/export_spec.h"
#include "pg/catalog/history.h"

/* The things that a watermark is made from. */
typedef struct ObWatermarkOrigin
{
	pg_uuid_t table_id;      /* id of the registered row */
	const char *query;       /* text of the query */
	const char *destination; /* the store and the bucket */

	/* set by ob_watermark_bound() */
	const char *relations;    /* tables, and views as SQL */
	const char *row_security; /* the policies that apply */
	const char *system;       /* the system identifier, if xid8; else NULL */
	const char *ordering;     /* describes how the column's values compare */
} ObWatermarkOrigin;

typedef struct ObWatermark
{
	const char *name;    /* name of the registered table */
	const char *column;  /* a column of the query's result */
	const char *overlap; /* NULL: none */
	ObWatermarkOrigin origin;

	/* the stored watermark; NULL: nothing has landed yet */
	struct ObWatermarkKept *kept;
	char *resets;   /* ids of the resets before this increment; or NULL */
	bool in_worker; /* the leader warns instead */
	bool warned;    /* ob_watermark_warn() was called */

	/* bounds of this increment, as they are stored; set by
	 * ob_watermark_bound() */
	char *type;
	char *from;     /* NULL: no lower bound */
	bool inclusive; /* whether from belongs to the increment */
	char *to;       /* inclusive; NULL: there is nothing to land */
} ObWatermark;

/* The increment that a caller asks for. */
typedef struct ObWatermarkRequest
{
	const char *name;
	pg_uuid_t run_id;
	const ObOptions *options;
	/* lacks the fields that ob_watermark_bound() sets */
	ObWatermarkOrigin origin;
	bool in_worker; /* the leader has checked it before */
} ObWatermarkRequest;

/*
 * Reads the watermark of the registered table for the current user, into the
 * current memory context.  Raises if none can be written, as on a standby (but
 * not in a worker, whose own transaction only reads), if the stored watermark
 * was made from something else, and if the same run has written it.
 */
extern ObWatermark *ob_watermark_get(Oid schema,
									 const ObWatermarkRequest *request);

/* Copies a watermark, with all that it points to, into the current memory
 * context. */
extern ObWatermark *ob_watermark_copy(const ObWatermark *mark);

/*
 * Restricts the export's query to the increment, under the active snapshot.
 * Returns false if there is nothing to land; the query then gives no rows.
 * Raises if the stored watermark was made from something else, and if the
 * query or the column's type would make later increments miss rows.
 */
extern bool ob_watermark_bound(Oid schema, ObWatermark *mark,
							   ObExportSpec *export);

/*
 * Warns, once for each ObWatermark, of sequences, time zones and prepared
 * transactions that can let rows come below the watermark later.  Takes the
 * locks that analysing the query takes.
 */
extern void ob_watermark_warn(Oid schema, ObWatermark *mark,
							  const char *query);

/*
 * Writes the watermark of an increment that has landed with rows, in the
 * caller's transaction, with the rights of the table's owner.  Returns NULL,
 * or why it was left as it was, palloc'd: another run or a reset has changed
 * it meanwhile, or the write has failed.
 */
extern const char *ob_watermark_keep(Oid schema, const ObWatermark *mark,
									 const ObHistoryRow *row);

/* Warns that a watermark was left as it was.  The texts must be such that they
 * can be sent to the client: see errors.h. */
extern void ob_watermark_warn_left(const char *name, const char *why);

/*
 * Deletes the watermarks of the table for all roles that the current user is a
 * member of.  With keep, it attaches them to the registered row and query as
 * these are now instead, and only deletes the rest of their origin, so that
 * the next increment continues from there.  Returns their number.
 */
extern int ob_watermark_reset(Oid schema, const char *name, bool keep);

#endif
