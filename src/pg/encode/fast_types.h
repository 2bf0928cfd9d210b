/*
 * fast_types.h
 *		Values whose text is short: the fast paths by type.
 *
 * src/pg/encode/fast_types.h
 */
#ifndef OB_ENCODE_SHORT_H
#define OB_ENCODE_SHORT_H

#include "pg/encode/encode.h"
#include "pg/encode/tuple_walk.h"

typedef struct ObShort
{
	Oid output; /* the output function that it stands in for */
	ObShortWrite write;
	const char *bytes; /* all that it can ever write */
	ObStored stored;   /* as which it is encoded from a stored row */
} ObShort;

/* The fast path of an output function, or NULL. */
extern const ObShort *ob_short_lookup(Oid output_oid);

/* A date or timestamp as JSON has it: with a T, without quotes. */
extern ObShortWrite ob_short_json_datetime(Oid type);

/* Of any length: bytea's hexadecimal digits, without the "\x". */
extern void ob_short_hex(ObOut *out, const char *data, size_t len);

#endif
