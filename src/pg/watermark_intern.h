/*
 * watermark_intern.h
 *		What the watermark*.c files have in common.
 *
 * src/pg/watermark_intern.h
 *
 *	   watermark.c		 the table onboard_watermarks
 *	   watermark_bound.c the increment's bounds
 *	   watermark_type.c	 values: as texts, less an overlap, without an end
 */
#ifndef OB_WATERMARK_INTERN_H
#define OB_WATERMARK_INTERN_H

#include "pg/watermark.h"

/* A row of onboard_watermarks. */
typedef struct ObWatermarkKept
{
	char *column;
	char *type;
	char *value;
	char *uri;
	pg_uuid_t run_id; /* who has written it */
} ObWatermarkKept;

/* A value as it is kept, and back: the same in every session. */
extern char *ob_watermark_text(Oid type, Datum value);
extern Datum ob_watermark_value(Oid type, const char *text);

/* The type's name, likewise. */
extern char *ob_watermark_type(Oid type);

/* An overlap: an interval or a numeric.  Raises if it is not one, and if the
 * type has no differences. */
extern Datum ob_watermark_overlap(Oid type, const char *overlap);

/* value less the overlap.  False: the type has nothing so small. */
extern bool ob_watermark_subtract(Oid type, Datum value, Datum overlap,
								  Datum *result);

/* Whether nothing can ever be greater: infinity, NaN. */
extern bool ob_watermark_is_last(Oid type, Datum value);

#endif
