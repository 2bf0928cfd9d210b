/*
 * binary.c
 *		Rows as COPY's binary format writes them.
 *
 * src/pg/encode/binary.c
 *
 * A signature and eight zero bytes (flags, length of the header's extension);
 * for each row the number of its fields, and for each field a length (-1:
 * null) and what the type's send function gives; -1 in the place of a number
 * of fields at the end.  Integers are in network order.  Strings are in
 * client_encoding, because the send functions know of nothing else: COPY's
 * encoding option does not touch them either.
 */
#include "postgres.h"

#include "port/pg_bswap.h"
#include "utils/lsyscache.h"

#include "pg/base/compat.h"
#include "pg/encode/encode.h"

static void
put_int16(ObOut *out, int16 value)
{
	uint16 net = pg_hton16((uint16) value);

	ob_out_write(out, (const char *) &net, sizeof(net));
}

static void
put_int32(ObOut *out, int32 value)
{
	uint32 net = pg_hton32((uint32) value);

	ob_out_write(out, (const char *) &net, sizeof(net));
}

static void
write_value(ObEncoder *encoder, ObColumn *column, Datum value)
{
	bytea *sent = SendFunctionCall(&column->output, value);

	put_int32(encoder->out, VARSIZE(sent) - VARHDRSZ);
	ob_out_write(encoder->out, VARDATA(sent), VARSIZE(sent) - VARHDRSZ);
}

void
ob_binary_prepare(ObEncoder *encoder)
{
	for (int i = 0; i < encoder->ncolumns; i++)
	{
		ObColumn *column = &encoder->columns[i];
		bool is_varlena;

		getTypeBinaryOutputInfo(column->attribute->atttypid,
								&column->output_oid, &is_varlena);
		fmgr_info(column->output_oid, &column->output);
		column->write = write_value;
	}
}

void
ob_binary_start(ObEncoder *encoder)
{
	/* The signature has 11 bytes: the NUL at its end belongs to it. */
	static const char signature[] = "PGCOPY\n\377\r\n";

	ob_out_write(encoder->out, signature, sizeof(signature));
	put_int32(encoder->out, 0);
	put_int32(encoder->out, 0);
}

void
ob_binary_row(ObEncoder *encoder, TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	put_int16(encoder->out, encoder->ncolumns);
	for (int i = 0; i < encoder->ncolumns; i++)
	{
		ObColumn *column = &encoder->columns[i];
		int number = column->attribute->attnum - 1;

		if (slot->tts_isnull[number])
			put_int32(encoder->out, -1);
		else
			column->write(encoder, column, slot->tts_values[number]);
	}
}

void
ob_binary_end(ObEncoder *encoder)
{
	put_int16(encoder->out, -1);
}
