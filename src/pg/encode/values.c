/*
 * values.c
 *		Values as characters: fast paths by type, conversion and scans.
 *
 * src/pg/encode/values.c
 *
 * Fast paths are chosen by the output function, not by the type, so a domain
 * has those of its base type, and a type with an output function of its own
 * is never mistaken for another.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "pg/encode/fast_types.h"
#include "pg/encode/fast_stored.h"
#include "pg/encode/values.h"

static inline void
put(ObEncoder *encoder, ObColumn *column, const char *data, size_t len)
{
	((const ObValueState *) column->state)->put(encoder, column, data, len);
}

static void
write_output(ObEncoder *encoder, ObColumn *column, Datum value)
{
	const char *text = OutputFunctionCall(&column->output, value);

	put(encoder, column, text, strlen(text));
}

/* Writes a value of a type whose output is just its bytes, if they need no
 * change. */
static int
write_fast_text(const ObColumn *column, Datum value, char *to)
{
	const ObValueState *state = column->state;
	struct varlena *packed = (struct varlena *) DatumGetPointer(value);
	size_t len;

	if (VARATT_IS_EXTERNAL(packed) || VARATT_IS_COMPRESSED(packed))
		return -1;
	len = VARSIZE_ANY_EXHDR(packed);
	if (len > OB_FAST_MAX || len == state->special_len ||
		ob_scan_copy(state->plain, to, VARDATA_ANY(packed), len))
		return -1;
	return (int) len;
}

/* Writes such a value, whatever its bytes are. */
static void
write_varlena(ObEncoder *encoder, ObColumn *column, Datum value)
{
	struct varlena *packed = PG_DETOAST_DATUM_PACKED(value);

	put(encoder, column, VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
}

static void
write_name(ObEncoder *encoder, ObColumn *column, Datum value)
{
	const char *name = NameStr(*DatumGetName(value));

	put(encoder, column, name, strlen(name));
}

/* Writes a bytea in its usual form, whose digits have no meaning in any
 * format. */
static void
write_bytea(ObEncoder *encoder, ObColumn *column, Datum value)
{
	const ObValueState *state = column->state;
	struct varlena *packed;

	if (bytea_output != BYTEA_OUTPUT_HEX)
	{
		write_output(encoder, column, value);
		return;
	}
	packed = PG_DETOAST_DATUM_PACKED(value);
	ob_out_write(encoder->out, state->hex_prefix, strlen(state->hex_prefix));
	ob_fast_hex(encoder->out, VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
	ob_out_write(encoder->out, state->hex_suffix, strlen(state->hex_suffix));
}

static ObValueWrite
choose_write(Oid output_oid, const ObValueState *state)
{
	switch (output_oid)
	{
		case F_TEXTOUT:
		case F_VARCHAROUT:
		case F_BPCHAROUT:
		case F_JSON_OUT:
			return write_varlena;
		case F_NAMEOUT:
			return write_name;
		case F_BYTEAOUT:
			return state->hex_prefix ? write_bytea : write_output;
		default:
			return write_output;
	}
}

void
ob_value_choose(ObColumn *column,
				bool (*is_special)(const ObEncoder *encoder, const void *state,
								   const char *bytes),
				const ObEncoder *encoder)
{
	const ObFastPath *fast = ob_fast_path_lookup(column->output_oid);
	const ObValueState *state = column->state;
	ObStoredKind stored = OB_STORED_NONE;

	if (fast && !is_special(encoder, state, fast->bytes))
	{
		column->write_fast = fast->write;
		stored = fast->stored;
	}
	column->write = choose_write(column->output_oid, state);
	if (column->write == write_varlena && state->plain)
	{
		column->write_fast = write_fast_text;
		stored = OB_STORED_TEXT;
	}
	encoder->walk->columns[column - encoder->columns].stored = stored;
}

void
ob_value_set_plain(const ObEncoder *encoder, ObValueState *state,
				   const ObScan *scan, size_t special_len)
{
	if (encoder->transcode || scan->encoding >= 0)
		return;
	state->plain = scan;
	state->special_len = special_len;
	encoder->walk->plain = scan;
	encoder->walk->special_len = special_len;
}

void
ob_value_output(ObColumn *column)
{
	bool is_varlena;

	getTypeOutputInfo(column->attribute->atttypid, &column->output_oid,
					  &is_varlena);
	fmgr_info(column->output_oid, &column->output);
}

const char *
ob_value_transcode(const ObEncoder *encoder, const char *data, size_t *len)
{
	const char *converted;

	converted = pg_server_to_any(data, (int) *len, encoder->options->encoding);
	/* a new string ends with a NUL, ours may not */
	if (converted != data)
		*len = strlen(converted);
	return converted;
}

void
ob_value_scan_init(const ObEncoder *encoder, ObScan *scan)
{
	memset(scan, 0, sizeof(*scan));
	scan->encoding = encoder->embeds_ascii ? encoder->options->encoding : -1;
}

void
ob_scan_add(ObScan *scan, uint8 byte, uint8 mark)
{
	scan->set[byte] = mark;
	if (byte < ' ' && scan->controls)
		return;
	if (scan->nbytes == OB_SCAN_BYTES)
		elog(ERROR, "too many bytes to look for");
	/* unused bytes repeat one that is used */
	for (int i = scan->nbytes; i < OB_SCAN_BYTES; i++)
		memset(scan->bytes[i], byte, sizeof(scan->bytes[i]));
	scan->nbytes++;
}

/* Writes a value that has no short form, or one that cannot be used here, and
 * returns where it ends. */
static char *
put_long(ObEncoder *encoder, ObColumn *column, Datum value, bool isnull,
		 char *to)
{
	ObOut *out = encoder->out;

	out->ptr = to;
	if (isnull)
		ob_out_write(out, encoder->null_client, encoder->null_client_len);
	else
		column->write(encoder, column, value);
	return out->ptr;
}

static inline char *
put_value(ObEncoder *encoder, ObColumn *column, Datum value, bool isnull,
		  char *to)
{
	int len;

	if (!isnull && column->write_fast &&
		(len = column->write_fast(column, value, to)) >= 0)
		return to + len;
	return put_long(encoder, column, value, isnull, to);
}

#define ROOM (OB_FAST_MAX + 1) /* a short value and a delimiter */

static char *
reserve(ObOut *out, char *to)
{
	out->ptr = to;
	return ob_out_reserve(out, ROOM);
}

/* Returns the end of the room in the output's present window. */
static inline const char *
limit_of(const ObOut *out)
{
	return out->end - ROOM;
}

/* out->ptr is not kept up to date here and in put_deformed_row(), since that
 * would be a detour through memory from each column to the next. */
static char *
put_stored_row(ObEncoder *encoder, char *to)
{
	ObWalk walk =
		*encoder->walk; /* a copy, which the compiler can keep in registers */
	const char delimiter = encoder->options->delimiter;
	const int ncolumns = encoder->ncolumns;
	const char *limit;

	/* an output that was never refilled has no end to count back from */
	if (encoder->out->end - to < ROOM)
		to = reserve(encoder->out, to);
	limit = limit_of(encoder->out);
	for (int i = 0; i < ncolumns; i++)
	{
		char *end;

		if (unlikely(to > limit))
		{
			to = reserve(encoder->out, to);
			limit = limit_of(encoder->out);
		}
		*to = delimiter;
		to += i > 0;
		end = ob_stored_put(&walk, i, to);
		if (end == NULL)
		{
			ObColumn *column = &encoder->columns[i];
			bool isnull;
			Datum value = ob_walk_next(&walk, i, &isnull);

			end = ob_stored_any(&walk, i)
					  ? put_long(encoder, column, value, isnull, to)
					  : put_value(encoder, column, value, isnull, to);
			limit = limit_of(encoder->out);
		}
		to = end;
	}
	return to;
}

static char *
put_deformed_row(ObEncoder *encoder, TupleTableSlot *slot, char *to)
{
	slot_getallattrs(slot);
	for (int i = 0; i < encoder->ncolumns; i++)
	{
		ObColumn *column = &encoder->columns[i];
		int number = column->attribute->attnum - 1;

		if (unlikely(encoder->out->end - to < ROOM))
			to = reserve(encoder->out, to);
		if (i > 0)
			*to++ = encoder->options->delimiter;
		to = put_value(encoder, column, slot->tts_values[number],
					   slot->tts_isnull[number], to);
	}
	return to;
}

void
ob_value_row(ObEncoder *encoder, TupleTableSlot *slot)
{
	char *to = encoder->out->ptr;

	if (ob_walk_begin(encoder->walk, slot))
		to = put_stored_row(encoder, to);
	else
		to = put_deformed_row(encoder, slot, to);
	encoder->out->ptr = to;
	ob_out_char(encoder->out, '\n');
}
