/*
 * watermark_intern.h
 *		Declarations that the watermark*.c and increment*.c files share.
 *
 * src/pg/increment/watermark_intern.h
 *
 *	   watermark.c		  the table onboard_watermarks
 *	   increment_bound.c  the increment's bounds
 *	   watermark_order.c  the order that the column has
 *	   watermark_origin.c what a watermark is made from
 *	   watermark_query.c  the registered query, and its column
 *	   increment_value.c	  values: as texts, less an overlap, without an end
 *	   watermark_warn.c	  what lets rows come late
 */
#ifndef OB_WATERMARK_INTERN_H
#define OB_WATERMARK_INTERN_H

#include "nodes/parsenodes.h"

#include "pg/increment/watermark.h"

/* A row of onboard_watermarks.  A column of the origin that is NULL matches
 * anything. */
typedef struct ObWatermarkKept
{
	char *column;
	char *type;
	char *value;
	pg_uuid_t run_id; /* the run that has written it */
	char *table_id;
	char *query;
	char *relations;
	char *destination;
	char *row_security;
	char *system;
	char *ordering;
} ObWatermarkKept;

/* The registered query, as ob_watermark_analyse() returns it. */
typedef struct ObWatermarkQuery
{
	Query *parsed;    /* views are relations */
	Query *rewritten; /* views are subqueries */
	/* OIDs of all relations that are read, also by views, and for each of them
	 * the Query of a view, or NULL. */
	List *relations;
	List *views;
} ObWatermarkQuery;

/* The watermark's column of the query's result. */
typedef struct ObWatermarkColumn
{
	Oid type;       /* not a domain */
	bool is_domain; /* a domain over that type */
	int32 typmod;
	Oid collation;
	/* the column of a table that it is, if it is one */
	Oid relation;
	AttrNumber attribute;
	/* steps of the query that its values pass */
	bool limited;  /* a LIMIT, OFFSET or FETCH */
	bool sampled;  /* another sample of a table each time */
	bool changing; /* a volatile function */
} ObWatermarkColumn;

/* Raises if the stored watermark was made from something else.  Fields of the
 * origin that are NULL are not known yet, and not compared. */
extern void ob_watermark_check_origin(const ObWatermark *mark);

/* Fills the origin's relations and row security from the registered query. */
extern void ob_watermark_find_origin(ObWatermark *mark,
									 const ObWatermarkQuery *query);

/* Analyses and rewrites the query; both keep the locks that they take.  Errors
 * have the query as their context. */
extern void ob_watermark_analyse(ObWatermarkQuery *query, const char *text);

/* Finds the first column of that name in the query's result.  Returns how many
 * there are. */
extern int ob_watermark_find_column(const ObWatermarkQuery *query,
									const char *name,
									ObWatermarkColumn *column);

/* Describes how the column's values compare.  For an enum, the description has
 * the labels up to value, which is the text of one. */
extern char *ob_watermark_ordering(const ObWatermarkColumn *column,
								   const char *value);

/* Warns as ob_watermark_warn() does. */
extern void ob_watermark_look(Oid schema, ObWatermark *mark,
							  const ObWatermarkQuery *query,
							  const ObWatermarkColumn *column);

/* Convert a value to the text that is stored, and back: the same in every
 * session. */
extern char *ob_watermark_text(Oid type, Datum value);
extern Datum ob_watermark_value(Oid type, const char *text);

/* Returns the type's name, likewise. */
extern char *ob_watermark_type(Oid type);

/* Makes texts independent of the session, and lets names outside of pg_catalog
 * have their schema, until AtEOXact_GUC(true, level). */
extern int ob_watermark_fix_settings(void);

/* Parses an overlap into an interval or a numeric, by the column's type.
 * Types without differences only accept "0". */
extern Datum ob_watermark_overlap(Oid type, const char *overlap);

/* Computes value less the overlap, rounded down.  Returns false if the type
 * has no value so small. */
extern bool ob_watermark_subtract(Oid type, Datum value, Datum overlap,
								  Datum *result);

/* Whether many rows usually share one value of that type. */
extern bool ob_watermark_is_coarse(Oid type, int32 typmod, Oid collation);

/* Whether no value can be greater: infinity, NaN. */
extern bool ob_watermark_is_last(Oid type, Datum value);

#endif
