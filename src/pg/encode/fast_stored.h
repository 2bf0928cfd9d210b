/*
 * fast_stored.h
 *		Values that are encoded as they lie in a stored row.
 *
 * src/pg/encode/fast_stored.h
 *
 * The commonest types need neither a Datum nor a call: while a row is walked
 * over (tuple_walk.h), their bytes become characters in one step, whose code
 * is all in the loop over the columns.  What is unusual about a value leaves
 * it to the column's functions.
 */
#ifndef OB_FAST_STORED_H
#define OB_FAST_STORED_H

#include "miscadmin.h"

#include "pg/encode/digits.h"
#include "pg/encode/scan.h"
#include "pg/encode/tuple_walk.h"

/* Whether the type is stored as bytes after one byte with their number. */
static inline bool
ob_stored_short(const char *at)
{
	return VARATT_IS_1B(at) && !VARATT_IS_1B_E(at);
}

/* Whether so many bytes may be read, even if they are not the row's. */
static inline bool
ob_stored_within(const ObWalk *walk, const char *at, ptrdiff_t nbytes)
{
	return walk->end - at >= nbytes;
}

/*
 * Writes a short text.  Up to 16 bytes are copied as one block: bytes after
 * the text are overwritten by what follows.  So the block must not end after
 * the row.
 */
static inline char *
ob_stored_text(ObWalk *walk, char *to)
{
	const char *at = walk->data + walk->offset;
	size_t len;
	bool hit;

	if (!ob_stored_short(at))
		return NULL;
	len = VARSIZE_1B(at) - VARHDRSZ_SHORT;
	at = VARDATA_1B(at);
	if (len <= sizeof(ObBlock16) &&
		ob_stored_within(walk, at, sizeof(ObBlock16)))
		hit = ob_scan_copy_block(walk->plain, to, at, len);
	else
		hit = ob_scan_copy(walk->plain, to, at, len);
	if (hit || len == walk->special_len)
		return NULL;
	walk->offset += len + VARHDRSZ_SHORT;
	return to + len;
}

#define OB_LITTLE_ENDIAN_WORDS (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
#define OB_NUMERIC_WORD 8 /* size of a header and three digits */

/*
 * Writes most numerics that are meant for money and measures: those with up to
 * two digits of base 10,000 before the point, and up to four decimals.  Header
 * and digits (digits.h) are read as one word, whose bytes after the value are
 * cut off; but the word must not end after the row.  (Where the first byte of
 * a word is its highest, all shifts go the other way.)
 */
static inline char *
ob_stored_fixed(const char *at, char *to)
{
	uint32 ndigits = (VARSIZE_1B(at) - VARHDRSZ_SHORT - 2) / 2;
	uint64 word;
	uint32 header;
	uint32 weight; /* the weight plus one; that of the first digit is 0 to 2 */
	uint32 dscale;

	memcpy(&word, VARDATA_1B(at), sizeof(word));
	header = (uint32) (word & 0xFFFF);
	weight = (header + 1) & 0x7F;
	dscale = header >> 7 & 0x3F;
	if ((header & 0xC000) != 0x8000 || weight > 2 || dscale > 4 || ndigits > 3)
		return NULL;
	word = word >> 16 & ~(UINT64_MAX << 16 * ndigits);
	word <<= 16 * (2 - weight);
	return ob_put_fixed(to, (header & 0x2000) != 0,
						(word & 0xFFFF) * 10000 + (word >> 16 & 0xFFFF),
						word >> 32 & 0xFFFF, dscale);
}

static inline char *
ob_stored_numeric(ObWalk *walk, char *to)
{
	const char *at = walk->data + walk->offset;
	char *end = NULL;

	if (!ob_stored_short(at))
		return NULL;
	if (OB_LITTLE_ENDIAN_WORDS &&
		ob_stored_within(walk, VARDATA_1B(at), OB_NUMERIC_WORD))
		end = ob_stored_fixed(at, to);
	if (end == NULL)
		end = ob_put_numeric((const struct varlena *) at, to);
	if (end != NULL)
		walk->offset += VARSIZE_1B(at);
	return end;
}

static inline char *
ob_stored_date(ObWalk *walk, char *to)
{
	size_t offset = TYPEALIGN(ALIGNOF_INT, walk->offset);
	int32 date = *(const int32 *) (walk->data + offset);

	if (DateStyle != USE_ISO_DATES || date < OB_FIRST_DAY ||
		date > OB_LAST_DAY)
		return NULL;
	walk->offset = offset + sizeof(int32);
	return ob_put_day(to, date);
}

static inline char *
ob_stored_int4(ObWalk *walk, char *to)
{
	size_t offset = TYPEALIGN(ALIGNOF_INT, walk->offset);

	walk->offset = offset + sizeof(int32);
	return ob_put_signed(to, *(const int32 *) (walk->data + offset));
}

static inline char *
ob_stored_int8(ObWalk *walk, char *to)
{
	size_t offset = TYPEALIGN(ALIGNOF_DOUBLE, walk->offset);

	walk->offset = offset + sizeof(int64);
	return ob_put_signed(to, *(const int64 *) (walk->data + offset));
}

/* Whether column i has such a form. */
static inline bool
ob_stored_any(const ObWalk *walk, int i)
{
	return walk->columns[i].stored != OB_STORED_NONE;
}

/*
 * Writes the value of column i, which must be the next of the walk, and
 * returns where its text ends; at most OB_FAST_MAX bytes are touched.  Returns
 * NULL if it could not, and ob_walk_next() is still to be called.
 */
static inline char *
ob_stored_put(ObWalk *walk, int i, char *to)
{
	ObStoredKind stored = walk->columns[i].stored;

	if (stored == OB_STORED_NONE ||
		(walk->nulls && att_isnull(i, walk->nulls)))
		return NULL;
	switch (stored)
	{
		case OB_STORED_TEXT:
			return ob_stored_text(walk, to);
		case OB_STORED_NUMERIC:
			return ob_stored_numeric(walk, to);
		case OB_STORED_DATE:
			return ob_stored_date(walk, to);
		case OB_STORED_INT4:
			return ob_stored_int4(walk, to);
		case OB_STORED_INT8:
			return ob_stored_int8(walk, to);
		default:
			return NULL;
	}
}

#endif
