/*
 * watermark_intern.h
 *		What the watermark*.c files have in common.
 *
 * src/pg/watermark_intern.h
 *
 *	   watermark.c		  the table onboard_watermarks
 *	   watermark_bound.c  the increment's bounds
 *	   watermark_origin.c what a watermark is made from
 *	   watermark_type.c	  values: as texts, less an overlap, without an end
 *	   watermark_warn.c	  what lets rows come late
 */
#ifndef OB_WATERMARK_INTERN_H
#define OB_WATERMARK_INTERN_H

#include "nodes/parsenodes.h"

#include "pg/watermark.h"

/* A row of onboard_watermarks.  What is NULL of the origin is not known, and
 * fits everything. */
typedef struct ObWatermarkKept
{
	char *column;
	char *type;
	char *value;
	pg_uuid_t run_id; /* who has written it */
	char *table_id;
	char *query;
	char *relations;
	char *destination;
	char *row_security;
	char *system;
} ObWatermarkKept;

/* Raises if what is kept was made from something else, as far as is known by
 * now: what the origin has as NULL is not compared yet. */
extern void ob_watermark_check_origin(const ObWatermark *mark);

/* Fills the origin's relations and row security, of a query as it was written.
 * Holds the locks that analysing it takes. */
extern void ob_watermark_find_origin(ObWatermark *mark, const char *query);

/* The query, analysed and rewritten; errors say that they are about it. */
extern Query *ob_watermark_analyse(const char *query);

/* A value as it is kept, and back: the same in every session. */
extern char *ob_watermark_text(Oid type, Datum value);
extern Datum ob_watermark_value(Oid type, const char *text);

/* The type's name, likewise. */
extern char *ob_watermark_type(Oid type);

/* From here to AtEOXact_GUC(true, level), texts are the same in each session,
 * and names outside of pg_catalog have their schema. */
extern int ob_watermark_fix_settings(void);

/* An overlap: an interval or a numeric; for types without differences, only
 * "0".  Raises if it is something else. */
extern Datum ob_watermark_overlap(Oid type, const char *overlap);

/* A value that is not above value less the overlap, and as near as the type
 * lets it be.  False: the type has nothing so small. */
extern bool ob_watermark_subtract(Oid type, Datum value, Datum overlap,
								  Datum *result);

/* Whether many rows can be expected to have one value. */
extern bool ob_watermark_is_coarse(Oid type, int32 typmod, Oid collation);

/* Whether nothing can ever be greater: infinity, NaN. */
extern bool ob_watermark_is_last(Oid type, Datum value);

#endif
