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
	Oid output; /* the output function that it stands in for */
	ObFastWrite write;
	const char *bytes;   /* all that it can ever write */
	ObStoredKind stored; /* as which it is encoded from a stored row */
} ObFastPath;

/* The fast path of an output function, or NULL. */
extern const ObFastPath *ob_fast_path_lookup(Oid output_oid);

/* A date or timestamp as JSON has it: with a T, without quotes. */
extern ObFastWrite ob_fast_json_datetime(Oid type);

/* Writes bytea's hexadecimal digits, of any length, without the "\x". */
extern void ob_fast_hex(ObOut *out, const char *data, size_t len);

#endif
