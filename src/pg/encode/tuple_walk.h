/*
 * tuple_walk.h
 *		A walk over the columns of a stored row, as they are encoded.
 *
 * src/pg/encode/tuple_walk.h
 *
 * A slot that holds a tuple as it is stored must be deformed into arrays of
 * values before they can be read.  When all columns are wanted, in their
 * order, and once, it is quicker to walk over the tuple's bytes while
 * encoding.  That is the usual case: SELECT * or TABLE of one table.
 */
#ifndef OB_TUPLE_WALK_H
#define OB_TUPLE_WALK_H

#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "executor/tuptable.h"

/* The form in which a column is stored and written, if fast_stored.h does both
 * in one step. */
typedef enum ObStoredKind
{
	OB_STORED_NONE,
	OB_STORED_TEXT,
	OB_STORED_NUMERIC,
	OB_STORED_DATE,
	OB_STORED_INT4,
	OB_STORED_INT8
} ObStoredKind;

typedef struct ObWalkColumn
{
	int16 len;     /* attlen */
	uint8 padding; /* alignment - 1 */
	bool byval;
	ObStoredKind stored;
} ObWalkColumn;

typedef struct ObWalk
{
	ObWalkColumn *columns;
	int ncolumns;
	TupleDesc checked; /* the descriptor of slots that was compared last */
	bool matches;      /* it has exactly the columns of the result */

	/* the field of ObValueState, for OB_STORED_TEXT */
	const struct ObScan *plain;
	size_t special_len;

	/* the current row; nulls is NULL if it has none */
	const char *data;
	const char *end; /* end of the row */
	const uint8 *nulls;
	size_t offset;
} ObWalk;

/* Makes a walk in the current memory context. */
extern ObWalk *ob_walk_new(TupleDesc desc);

/* Whether the slot's row can be walked over; if so, it becomes the current
 * row. */
extern bool ob_walk_begin(ObWalk *walk, TupleTableSlot *slot);

/* Returns the value of column i.  It must be called for each i in order. */
static inline Datum
ob_walk_next(ObWalk *walk, int i, bool *isnull)
{
	const ObWalkColumn *column = &walk->columns[i];
	const char *at;

	if (walk->nulls && att_isnull(i, walk->nulls))
	{
		*isnull = true;
		return (Datum) 0;
	}
	*isnull = false;
	/* a varlena with a short header is not aligned: its first byte is never 0,
	 * as padding is */
	if (column->len != -1 || walk->data[walk->offset] == 0)
		walk->offset =
			(walk->offset + column->padding) & ~(size_t) column->padding;
	at = walk->data + walk->offset;
	if (column->len == -1)
	{
		walk->offset += VARSIZE_ANY(at);
		return PointerGetDatum(at);
	}
	walk->offset += column->len;
	if (!column->byval)
		return PointerGetDatum(at);
	return fetch_att(at, true, column->len);
}

#endif
