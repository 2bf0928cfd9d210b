/*
 * text.c
 *		Rows as COPY's text format writes them.
 *
 * src/pg/encode/text.c
 *
 * The reference is COPY's CopyAttributeOutText.
 */
#include "postgres.h"

#include "pg/encode/values.h"

/* The state of all columns. */
typedef struct TextState
{
	ObValueState base;
	ObScan escaped; /* marked with what follows the backslash */
} TextState;

static void
put_value(ObEncoder *encoder, ObColumn *column, const char *data, size_t len)
{
	const TextState *state = column->state;
	ObOut *out = encoder->out;
	size_t done = 0;

	data = ob_value_convert(encoder, data, &len);
	for (;;)
	{
		size_t next = ob_scan(&state->escaped, data, done, len);

		ob_out_write(out, data + done, next - done);
		if (next == len)
			break;
		ob_out_char(out, '\\');
		ob_out_char(out, (char) state->escaped.set[(uint8) data[next]]);
		done = next + 1;
	}
}

static void
fill_escapes(ObScan *escaped, char delimiter)
{
	escaped->controls = true;
	ob_scan_add(escaped, (uint8) delimiter, (uint8) delimiter);
	ob_scan_add(escaped, '\\', '\\');
	/* The delimiter comes first: a tab is written as \t even if it is the
	 * delimiter. */
	ob_scan_add(escaped, '\b', 'b');
	ob_scan_add(escaped, '\f', 'f');
	ob_scan_add(escaped, '\n', 'n');
	ob_scan_add(escaped, '\r', 'r');
	ob_scan_add(escaped, '\t', 't');
	ob_scan_add(escaped, '\v', 'v');
}

static bool
may_be_special(const ObEncoder *encoder, const void *arg, const char *bytes)
{
	const TextState *state = arg;

	for (const char *p = bytes; *p != '\0'; p++)
	{
		if (state->escaped.set[(uint8) *p])
			return true;
	}
	return false;
}

void
ob_text_prepare(ObEncoder *encoder)
{
	TextState *state = palloc0(sizeof(TextState));

	state->base.put = put_value;
	ob_value_scan_init(encoder, &state->escaped);
	fill_escapes(&state->escaped, encoder->options->delimiter);
	ob_value_set_plain(encoder, &state->base, &state->escaped, SIZE_MAX);
	/* no digit can be the delimiter, which is none of a-z and 0-9 */
	state->base.hex_prefix = "\\\\x";
	state->base.hex_suffix = "";

	for (int i = 0; i < encoder->ncolumns; i++)
	{
		ObColumn *column = &encoder->columns[i];

		ob_value_output(column);
		column->state = state;
		ob_value_choose(column, may_be_special, encoder);
	}
}

void
ob_text_start(ObEncoder *encoder)
{
	if (!encoder->options->header)
		return;

	for (int i = 0; i < encoder->ncolumns; i++)
	{
		ObColumn *column = &encoder->columns[i];
		const char *name = NameStr(column->attribute->attname);

		if (i > 0)
			ob_out_char(encoder->out, encoder->options->delimiter);
		put_value(encoder, column, name, strlen(name));
	}
	ob_out_char(encoder->out, '\n');
}

void
ob_text_row(ObEncoder *encoder, TupleTableSlot *slot)
{
	ob_value_row(encoder, slot);
}
