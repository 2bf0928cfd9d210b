/*
 * watermark.h
 *		Increments: what of a registered table was not landed before.
 *
 * src/pg/watermark.h
 *
 * The greatest value of a column that has landed is kept, for each table and
 * role, in the table onboard_watermarks.  The next increment is what lies
 * above it, up to the greatest value that the run's snapshot shows.
 */
#ifndef OB_WATERMARK_H
#define OB_WATERMARK_H

#include "utils/uuid.h"

#include "pg/export.h"
#include "pg/history.h"

typedef struct ObWatermark
{
	const char *name;    /* the registered table's */
	const char *column;  /* of the query's result */
	const char *overlap; /* NULL: none */

	/* as it is kept; NULL: nothing has landed yet */
	struct ObWatermarkKept *kept;

	/* of this increment, as they are kept; set by ob_watermark_bound() */
	char *type;
	char *from; /* exclusive; NULL: from the beginning */
	char *to;   /* inclusive; NULL: there is nothing to land */
} ObWatermark;

/*
 * The watermark of the registered table, for the current user, in the current
 * memory context.  Raises where none can be kept, as on a standby (a worker
 * whose own transaction only reads asks after its leader did), and if the
 * increment would land where the one before did.
 */
extern ObWatermark *ob_watermark_get(Oid schema, const char *name,
									 const ObOptions *options, const char *uri,
									 bool in_worker);

/* All of it, in the current memory context. */
extern ObWatermark *ob_watermark_copy(const ObWatermark *mark);

/*
 * Bounds the export's query to the increment; runs under the active snapshot.
 * False if there is nothing to land; the query then gives no rows.
 */
extern bool ob_watermark_bound(ObWatermark *mark, ObExport *export);

/*
 * The increment has landed: from now on, the next one begins at its end, if it
 * had rows.  In the caller's transaction, with the rights of the table's
 * owner.  If somebody else has changed the watermark meanwhile, it stays as it
 * is, with a WARNING.
 */
extern void ob_watermark_keep(Oid schema, const ObWatermark *mark,
							  const ObRun *run);

/* Forgets the watermarks of that table that roles have that the current user
 * is a member of; returns how many. */
extern int ob_watermark_reset(Oid schema, const char *name);

#endif
