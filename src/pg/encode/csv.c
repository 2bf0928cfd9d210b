/*
 * csv.c
 *		Rows as COPY's csv format writes them.
 *
 * src/pg/encode/csv.c
 *
 * Whether a value is quoted because it equals the null text is decided before
 * conversion, and everything else after it, as COPY does (its
 * CopyAttributeOutCSV is the reference).
 */
#include "postgres.h"

#include "pg/encode/values.h"

/* The state of all columns. */
typedef struct CsvState
{
	ObValueState base;
	ObScan quoted;  /* bytes that force quotes around the value */
	ObScan escaped; /* bytes that get an escape within quotes; marked by 1 */
	size_t null_len;
} CsvState;

/* Writes a value in an encoding in which a byte may be a part of a character.
 */
static void
escape_characters(ObEncoder *encoder, const ObScan *escaped, const char *data,
				  size_t len)
{
	ObOut *out = encoder->out;
	size_t done = 0;
	size_t next = ob_scan(escaped, data, 0, len);

	while (next < len)
	{
		ob_out_write(out, data + done, next - done);
		ob_out_char(out, encoder->options->escape);
		done = next; /* the byte itself goes with the next run */
		next += ob_scan_step(escaped, data + next, len - next);
		next = ob_scan(escaped, data, next, len);
	}
	ob_out_write(out, data + done, len - done);
}

/*
 * Writes a value in an encoding in which a byte is a character of its own.  An
 * escape is written before each byte, and overwritten by it if none is needed:
 * values with quotes often have many (jsonb), at distances that no processor
 * can predict.
 */
static void
escape_bytes(ObEncoder *encoder, const ObScan *escaped, const char *data,
			 size_t len)
{
	const char escape = encoder->options->escape;

	while (len > 0)
	{
		size_t now = Min(len, OB_OUT_RESERVE / 2);
		char *to = ob_out_reserve(encoder->out, 2 * now);

		for (size_t i = 0; i < now; i++)
		{
			*to = escape;
			to += escaped->set[(uint8) data[i]];
			*to++ = data[i];
		}
		encoder->out->ptr = to;
		data += now;
		len -= now;
	}
}

static void
put_quoted(ObEncoder *encoder, const CsvState *state, const char *data,
		   size_t len)
{
	const ObScan *escaped = &state->escaped;

	ob_out_char(encoder->out, encoder->options->quote);
	if (!ob_scan_found(escaped, data, len))
		ob_out_write(encoder->out, data, len);
	else if (escaped->encoding >= 0)
		escape_characters(encoder, escaped, data, len);
	else
		escape_bytes(encoder, escaped, data, len);
	ob_out_char(encoder->out, encoder->options->quote);
}

/* A lone \. would end the data for older readers. */
static bool
is_end_marker(const ObEncoder *encoder, const char *data, size_t len)
{
	return encoder->ncolumns == 1 && len == 2 && data[0] == '\\' &&
		   data[1] == '.';
}

static void
put_field(ObEncoder *encoder, const CsvState *state, const char *data,
		  size_t len, bool force)
{
	if (len == state->null_len &&
		memcmp(data, encoder->options->null_text, len) == 0)
		force = true;

	data = ob_value_convert(encoder, data, &len);

	if (force || is_end_marker(encoder, data, len) ||
		ob_scan_found(&state->quoted, data, len))
		put_quoted(encoder, state, data, len);
	else
		ob_out_write(encoder->out, data, len);
}

static void
put_value(ObEncoder *encoder, ObColumn *column, const char *data, size_t len)
{
	put_field(encoder, column->state, data, len, column->force_quote);
}

/* Whether a value made of these bytes may have to be quoted. */
static bool
may_be_special(const ObEncoder *encoder, const void *arg, const char *bytes)
{
	const CsvState *state = arg;
	const char *null_text = encoder->options->null_text;

	for (const char *p = bytes; *p != '\0'; p++)
	{
		if (state->quoted.set[(uint8) *p])
			return true;
	}
	/* or be mistaken for the null text */
	return *null_text != '\0' && null_text[strspn(null_text, bytes)] == '\0';
}

static bool
always_quoted(const ObEncoder *encoder, const void *arg, const char *bytes)
{
	return true;
}

static CsvState *
make_state(const ObEncoder *encoder)
{
	const ObCopyOptions *options = encoder->options;
	CsvState *state = palloc0(sizeof(CsvState));

	state->base.put = put_value;
	state->null_len = strlen(options->null_text);
	ob_value_scan_init(encoder, &state->quoted);
	ob_scan_add(&state->quoted, (uint8) options->delimiter, 1);
	ob_scan_add(&state->quoted, (uint8) options->quote, 1);
	ob_scan_add(&state->quoted, '\n', 1);
	ob_scan_add(&state->quoted, '\r', 1);
	ob_value_scan_init(encoder, &state->escaped);
	ob_scan_add(&state->escaped, (uint8) options->quote, 1);
	ob_scan_add(&state->escaped, (uint8) options->escape, 1);
	return state;
}

void
ob_csv_prepare(ObEncoder *encoder)
{
	CsvState *plain = make_state(encoder);
	CsvState *forced = make_state(encoder);

	/* a lone column may hold an end marker */
	if (encoder->ncolumns > 1)
		ob_value_set_plain(encoder, &plain->base, &plain->quoted,
						   plain->null_len);
	if (!may_be_special(encoder, plain, OB_VALUE_HEX_BYTES))
	{
		plain->base.hex_prefix = "\\x";
		plain->base.hex_suffix = "";
	}
	for (int i = 0; i < encoder->ncolumns; i++)
	{
		ObColumn *column = &encoder->columns[i];

		ob_value_output(column);
		column->state = column->force_quote ? forced : plain;
		ob_value_choose(column,
						column->force_quote ? always_quoted : may_be_special,
						encoder);
	}
}

void
ob_csv_start(ObEncoder *encoder)
{
	if (!encoder->options->header)
		return;

	for (int i = 0; i < encoder->ncolumns; i++)
	{
		const ObColumn *column = &encoder->columns[i];
		const char *name = NameStr(column->attribute->attname);

		if (i > 0)
			ob_out_char(encoder->out, encoder->options->delimiter);
		put_field(encoder, column->state, name, strlen(name), false);
	}
	ob_out_char(encoder->out, '\n');
}

void
ob_csv_row(ObEncoder *encoder, TupleTableSlot *slot)
{
	ob_value_row(encoder, slot);
}
