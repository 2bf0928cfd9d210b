/*
 * fast_types.h
 *		Values whose text is short: the fast paths by type.
 *
 * src/pg/encode/fast_types.h
 */
#ifndef OB_FAST_TYPES_H
#define OB_FAST_TYPES_H

#include "pg/encode/encode.h"
#include "pg/encode/tuple_walk.h"

typedef struct ObFastPath
{
	Oid output; /* the output function that this one replaces */
	ObFastWrite write;
	const char *bytes;   /* all bytes that it can ever write */
	ObStoredKind stored; /* form in which it is encoded from a stored row */
} ObFastPath;

/* Returns the fast path of an output function, or NULL. */
extern const ObFastPath *ob_fast_path_lookup(Oid output_oid);

/* Returns the function that writes a date or timestamp as JSON has it: with a
 * T, without quotes. */
extern ObFastWrite ob_fast_json_datetime(Oid type);

/* Writes the hexadecimal digits of a bytea of any length, without the "\x". */
extern void ob_fast_hex(ObOut *out, const char *data, size_t len);

#endif
