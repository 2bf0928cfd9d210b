/*
 * values.h
 *		Values, conversion and rows for the formats made of characters.
 *
 * src/pg/encode/values.h
 *
 * A value reaches the output in one of three ways.  The short fast path puts a
 * few bytes straight into the window: ASCII that is not looked at
 * (fast_types.h; a format picks it only where none of those bytes means
 * anything to it), or a text that has nothing to quote or escape and needs no
 * conversion.  For the commonest types, and rows as they are stored, the same
 * is done without a call (fast_stored.h).  All other values become a run of
 * characters in the database's encoding, which the format's put function
 * converts, quotes and escapes.
 */
#ifndef OB_VALUES_H
#define OB_VALUES_H

#include "pg/encode/encode.h"
#include "pg/encode/scan.h"

typedef void (*ObValueWrite)(ObEncoder *encoder, ObColumn *column,
							 Datum value);

/* The head of the state of each column of csv, text, jsonl and json. */
typedef struct ObValueState
{
	/* Writes one value of len bytes, not NUL-terminated. */
	void (*put)(ObEncoder *encoder, ObColumn *column, const char *data,
				size_t len);
	/* The text before and after the hexadecimal digits of a bytea; NULL if
	 * these digits may have a meaning. */
	const char *hex_prefix;
	const char *hex_suffix;
	/* A text is written without changes if it has none of these bytes and not
	 * this length.  NULL: put has to look at each text. */
	const ObScan *plain;
	size_t special_len;
} ObValueState;

/*
 * Chooses write and write_fast by the column's output function.
 * is_special(state, bytes) returns whether one of these bytes has a meaning in
 * the format.
 */
extern void ob_value_choose(ObColumn *column,
							bool (*is_special)(const ObEncoder *encoder,
											   const void *state,
											   const char *bytes),
							const ObEncoder *encoder);

/* Looks up the column's output function. */
extern void ob_value_output(ObColumn *column);

/* Sets plain for all columns whose texts can be written so, if they need no
 * conversion.  special_len is SIZE_MAX for none. */
extern void ob_value_set_plain(const ObEncoder *encoder, ObValueState *state,
							   const ObScan *scan, size_t special_len);

/* Makes the set empty, for the target encoding of the encoder. */
extern void ob_value_scan_init(const ObEncoder *encoder, ObScan *scan);

/* The bytes that the text of a bytea consists of. */
#define OB_VALUE_HEX_BYTES "\\x0123456789abcdef"

extern const char *ob_value_transcode(const ObEncoder *encoder,
									  const char *data, size_t *len);

/*
 * Converts from the database's encoding into the target encoding.  Returns
 * data itself if that takes no change, else a palloc'd copy.  Raises if a
 * character cannot be represented.
 */
static inline const char *
ob_value_convert(const ObEncoder *encoder, const char *data, size_t *len)
{
	return encoder->transcode ? ob_value_transcode(encoder, data, len) : data;
}

/* Writes one row of csv or text: values, delimiters and the line end. */
extern void ob_value_row(ObEncoder *encoder, TupleTableSlot *slot);

#endif
