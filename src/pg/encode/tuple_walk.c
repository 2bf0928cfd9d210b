/*
 * tuple_walk.c
 *		A walk over the columns of a stored row, as they are encoded.
 *
 * src/pg/encode/tuple_walk.c
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "pg/encode/tuple_walk.h"

static uint8
padding(char align)
{
	switch (align)
	{
		case TYPALIGN_SHORT:
			return ALIGNOF_SHORT - 1;
		case TYPALIGN_INT:
			return ALIGNOF_INT - 1;
		case TYPALIGN_DOUBLE:
			return ALIGNOF_DOUBLE - 1;
		default:
			return 0;
	}
}

ObWalk *
ob_walk_new(TupleDesc desc)
{
	ObWalk *walk = palloc0(sizeof(ObWalk));

	walk->ncolumns = desc->natts;
	walk->columns = palloc0(sizeof(ObWalkColumn) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		walk->columns[i].len = attribute->attlen;
		walk->columns[i].byval = attribute->attbyval;
		walk->columns[i].padding = padding(attribute->attalign);
	}
	return walk;
}

/* Whether the rows of the slots have exactly the columns of the result, stored
 * in the same way. */
static bool
compare(const ObWalk *walk, TupleDesc desc)
{
	if (desc->natts != walk->ncolumns)
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped || attribute->attlen < -1 ||
			attribute->attlen != walk->columns[i].len ||
			attribute->attbyval != walk->columns[i].byval ||
			padding(attribute->attalign) != walk->columns[i].padding)
			return false;
	}
	return true;
}

static HeapTuple
stored_tuple(TupleTableSlot *slot)
{
	/* a row that is deformed in part has been read already */
	if (slot->tts_nvalid > 0)
		return NULL;
	if (TTS_IS_HEAPTUPLE(slot) || TTS_IS_BUFFERTUPLE(slot))
		return ((HeapTupleTableSlot *) slot)->tuple;
	if (TTS_IS_MINIMALTUPLE(slot))
		return ((MinimalTupleTableSlot *) slot)->tuple;
	return NULL;
}

bool
ob_walk_begin(ObWalk *walk, TupleTableSlot *slot)
{
	HeapTuple tuple = stored_tuple(slot);
	HeapTupleHeader header;

	if (tuple == NULL)
		return false;
	if (walk->checked != slot->tts_tupleDescriptor)
	{
		walk->checked = slot->tts_tupleDescriptor;
		walk->matches = compare(walk, slot->tts_tupleDescriptor);
	}
	header = tuple->t_data;
	/* columns that were added after it was written are missing */
	if (!walk->matches || HeapTupleHeaderGetNatts(header) < walk->ncolumns)
		return false;
	/* the rows of a page follow one another downwards */
	__builtin_prefetch((const char *) header - 2 * tuple->t_len);
	__builtin_prefetch((const char *) header - 2 * tuple->t_len + 64);
	__builtin_prefetch((const char *) header - 2 * tuple->t_len + 128);
	walk->data = (const char *) header + header->t_hoff;
	walk->end = (const char *) header + tuple->t_len;
	walk->nulls = HeapTupleHasNulls(tuple) ? header->t_bits : NULL;
	walk->offset = 0;
	return true;
}
