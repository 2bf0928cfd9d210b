/*
 * json.c
 *		Rows as JSON objects, equal to what row_to_json() makes of them.
 *
 * src/pg/encode/json.c
 *
 * Values fall into the categories of the server's json_categorize_type(); for
 * those that nest or have a cast to json, the server's own to_json() does the
 * work.
 *
 * The one difference to row_to_json(): a raw line break inside of a value of
 * type json becomes a blank, so that an object stays one line.  It can only
 * be white space between tokens, since the type admits no raw control
 * character in a string.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

#include "pg/encode/fast_types.h"
#include "pg/encode/values.h"
#include "pg/encode/fast_stored.h"

/* The state of all columns. */
typedef struct JsonState
{
	ObValueState base; /* writes a string */
	ObScan escaped;    /* marked with what follows the backslash */
	ObScan breaks;     /* LF and CR */
} JsonState;

/* ---- strings and ready-made JSON ---- */

static void
put_escape(ObOut *out, uint8 escape, uint8 byte)
{
	static const char digits[] = "0123456789abcdef";
	char *room = ob_out_reserve(out, 6);

	*room++ = '\\';
	*room++ = (char) escape;
	if (escape == 'u')
	{
		*room++ = '0';
		*room++ = '0';
		*room++ = digits[byte >> 4];
		*room++ = digits[byte & 15];
	}
	out->ptr = room;
}

static void
put_string(ObEncoder *encoder, ObColumn *column, const char *data, size_t len)
{
	const JsonState *state = column->state;
	ObOut *out = encoder->out;
	size_t done = 0;

	data = ob_value_convert(encoder, data, &len);
	ob_out_char(out, '"');
	for (;;)
	{
		size_t next = ob_scan(&state->escaped, data, done, len);
		uint8 byte;

		ob_out_write(out, data + done, next - done);
		if (next == len)
			break;
		byte = (uint8) data[next];
		put_escape(out, state->escaped.set[byte], byte);
		done = next + 1;
	}
	ob_out_char(out, '"');
}

static void
put_json(ObEncoder *encoder, ObColumn *column, const char *data, size_t len)
{
	const JsonState *state = column->state;
	ObOut *out = encoder->out;
	size_t done = 0;

	data = ob_value_convert(encoder, data, &len);
	for (;;)
	{
		size_t next = ob_scan(&state->breaks, data, done, len);

		ob_out_write(out, data + done, next - done);
		if (next == len)
			break;
		ob_out_char(out, ' ');
		done = next + 1;
	}
}

/* ---- write functions ---- */

static void
write_bool(ObEncoder *encoder, ObColumn *column, Datum value)
{
	if (DatumGetBool(value))
		ob_out_write(encoder->out, "true", 4);
	else
		ob_out_write(encoder->out, "false", 5);
}

static void
write_number(ObEncoder *encoder, ObColumn *column, Datum value)
{
	const char *number = OutputFunctionCall(&column->output, value);
	size_t len = strlen(number);

	/* NaN and the infinities become strings. */
	if (IsValidJsonNumber(number, len))
		ob_out_write(encoder->out, number, len);
	else
		put_string(encoder, column, number, len);
}

static void
put_datetime(ObOut *out, Datum value, Oid type)
{
	char *room = ob_out_reserve(out, MAXDATELEN + 3);
	size_t len;

	room[0] = '"';
	JsonEncodeDateTime(room + 1, value, type, NULL);
	len = 1 + strlen(room + 1);
	room[len++] = '"';
	out->ptr += len;
}

static void
write_date(ObEncoder *encoder, ObColumn *column, Datum value)
{
	put_datetime(encoder->out, value, DATEOID);
}

static void
write_timestamp(ObEncoder *encoder, ObColumn *column, Datum value)
{
	put_datetime(encoder->out, value, TIMESTAMPOID);
}

static void
write_timestamptz(ObEncoder *encoder, ObColumn *column, Datum value)
{
	put_datetime(encoder->out, value, TIMESTAMPTZOID);
}

static void
write_json(ObEncoder *encoder, ObColumn *column, Datum value)
{
	struct varlena *json = PG_DETOAST_DATUM_PACKED(value);

	put_json(encoder, column, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
}

static void
write_jsonb(ObEncoder *encoder, ObColumn *column, Datum value)
{
	const char *json = OutputFunctionCall(&column->output, value);

	put_json(encoder, column, json, strlen(json));
}

static void
write_to_json(ObEncoder *encoder, ObColumn *column, Datum value)
{
	write_json(encoder, column, FunctionCall1(&column->output, value));
}

/* ---- their choice ---- */

/* Whether the server writes values of that type: arrays, rows, and types with
 * a cast to json. */
static bool
needs_to_json(Oid base_type)
{
	Oid cast;

	if (OidIsValid(get_element_type(base_type)) || base_type == ANYARRAYOID ||
		type_is_rowtype(base_type))
		return true;

	/* Like the server, do not look for casts of built-in types. */
	return base_type >= FirstNormalObjectId &&
		   find_coercion_pathway(JSONOID, base_type, COERCION_EXPLICIT,
								 &cast) == COERCION_PATH_FUNC;
}

/* to_json() takes the type of its argument from the call's expression. */
static void
use_to_json(ObColumn *column)
{
	Const *null = makeNullConst(column->attribute->atttypid, -1, InvalidOid);
	FuncExpr *call =
		makeFuncExpr(F_TO_JSON, JSONOID, list_make1(null), InvalidOid,
					 InvalidOid, COERCE_EXPLICIT_CALL);

	column->output_oid = F_TO_JSON;
	fmgr_info(F_TO_JSON, &column->output);
	fmgr_info_set_expr((Node *) call, &column->output);
	column->write = write_to_json;
}

/* No byte of a short value has a meaning in a string. */
static bool
means_nothing(const ObEncoder *encoder, const void *state, const char *bytes)
{
	return false;
}

static void
choose_string(ObColumn *column, const ObEncoder *encoder)
{
	ob_value_choose(column, means_nothing, encoder);
	column->quote_short = true;
}

/* Settings change the form of dates in other formats, but not in JSON. */
static void
choose_datetime(ObColumn *column, Oid type, ObValueWrite write)
{
	column->write_fast = ob_fast_json_datetime(type);
	column->quote_short = true;
	column->write = write;
}

static void
choose_write(ObColumn *column, const ObEncoder *encoder)
{
	Oid base_type = getBaseType(column->attribute->atttypid);

	switch (base_type)
	{
		case BOOLOID:
			column->write = write_bool;
			break;
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			ob_value_choose(column, means_nothing, encoder);
			column->write = write_number;
			break;
		case DATEOID:
			choose_datetime(column, base_type, write_date);
			break;
		case TIMESTAMPOID:
			choose_datetime(column, base_type, write_timestamp);
			break;
		case TIMESTAMPTZOID:
			choose_datetime(column, base_type, write_timestamptz);
			break;
		case JSONOID:
			column->write = write_json;
			break;
		case JSONBOID:
			column->write = write_jsonb;
			break;
		default:
			if (needs_to_json(base_type))
				use_to_json(column);
			else
				choose_string(column, encoder);
			break;
	}
}

/* A reader would keep one of two members of the same name, without a warning.
 */
static void
refuse_duplicate_names(const ObEncoder *encoder)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < encoder->ncolumns; i++)
	{
		const char *name = NameStr(encoder->columns[i].attribute->attname);
		int earlier = 0;

		for (int j = 0; j < i; j++)
		{
			if (strcmp(NameStr(encoder->columns[j].attribute->attname),
					   name) == 0)
				earlier++;
		}
		/* Name it once, however often it occurs. */
		if (earlier == 1)
			appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? ", " : "",
							 name);
	}
	if (names.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("duplicate column names in format \"%s\": %s",
						encoder->options->format->name, names.data),
				 errhint("Give each column a name of its own with AS.")));
	pfree(names.data);
}

static void
make_key(const ObEncoder *encoder, ObColumn *column)
{
	StringInfoData key;
	const char *converted;

	initStringInfo(&key);
	escape_json(&key, NameStr(column->attribute->attname));
	appendStringInfoChar(&key, ':');
	column->key_len = key.len;
	converted = ob_value_convert(encoder, key.data, &column->key_len);
	column->key = pnstrdup(converted, column->key_len);
	pfree(key.data);
}

static void
fill_escapes(ObScan *escaped)
{
	escaped->controls = true;
	for (uint8 control = 0; control < ' '; control++)
		ob_scan_add(escaped, control, 'u');
	ob_scan_add(escaped, '\b', 'b');
	ob_scan_add(escaped, '\f', 'f');
	ob_scan_add(escaped, '\n', 'n');
	ob_scan_add(escaped, '\r', 'r');
	ob_scan_add(escaped, '\t', 't');
	ob_scan_add(escaped, '"', '"');
	ob_scan_add(escaped, '\\', '\\');
}

void
ob_json_prepare(ObEncoder *encoder)
{
	JsonState *state = palloc0(sizeof(JsonState));

	Assert(encoder->options->encoding == PG_UTF8);
	refuse_duplicate_names(encoder);

	state->base.put = put_string;
	state->base.hex_prefix = "\"\\\\x";
	state->base.hex_suffix = "\"";
	ob_value_scan_init(encoder, &state->escaped);
	fill_escapes(&state->escaped);
	ob_value_set_plain(encoder, &state->base, &state->escaped, SIZE_MAX);
	ob_value_scan_init(encoder, &state->breaks);
	ob_scan_add(&state->breaks, '\n', 1);
	ob_scan_add(&state->breaks, '\r', 1);

	for (int i = 0; i < encoder->ncolumns; i++)
	{
		ObColumn *column = &encoder->columns[i];

		ob_value_output(column);
		column->state = state;
		make_key(encoder, column);
		choose_write(column, encoder);
	}
}

/* ---- rows and the document around them ---- */

static inline void
put_key(ObOut *out, const ObColumn *column, bool first)
{
	if (!first)
		ob_out_char(out, ',');
	ob_out_write(out, column->key, column->key_len);
}

/* Writes a value that has no short form, or one that cannot be used here. */
static void
put_long(ObEncoder *encoder, ObColumn *column, Datum value, bool isnull)
{
	if (isnull)
		ob_out_write(encoder->out, "null", 4);
	else
		column->write(encoder, column, value);
}

static void
put_value(ObEncoder *encoder, ObColumn *column, Datum value, bool isnull)
{
	ObOut *out = encoder->out;
	int quote = column->quote_short ? 1 : 0;
	int len = -1;

	if (!isnull && column->write_fast)
	{
		char *to = ob_out_reserve(out, OB_FAST_MAX + 2);

		len = column->write_fast(column, value, to + quote);
		if (len >= 0 && quote)
			to[0] = to[len + 1] = '"';
	}
	if (len < 0)
		put_long(encoder, column, value, isnull);
	else
		out->ptr += len + 2 * quote;
}

static bool
put_stored(ObOut *out, const ObColumn *column, ObWalk *walk, int i)
{
	int quote = column->quote_short ? 1 : 0;
	char *to = ob_out_reserve(out, OB_FAST_MAX + 2);
	char *end = ob_stored_put(walk, i, to + quote);

	if (end == NULL)
		return false;
	if (quote)
	{
		*to = '"';
		*end++ = '"';
	}
	out->ptr = end;
	return true;
}

static void
put_stored_members(ObEncoder *encoder)
{
	ObWalk walk =
		*encoder->walk; /* a copy, which the compiler can keep in registers */

	for (int i = 0; i < encoder->ncolumns; i++)
	{
		ObColumn *column = &encoder->columns[i];
		bool isnull;
		Datum value;

		put_key(encoder->out, column, i == 0);
		if (put_stored(encoder->out, column, &walk, i))
			continue;
		value = ob_walk_next(&walk, i, &isnull);
		if (ob_stored_any(&walk, i))
			put_long(encoder, column, value, isnull);
		else
			put_value(encoder, column, value, isnull);
	}
}

static void
put_deformed_members(ObEncoder *encoder, TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	for (int i = 0; i < encoder->ncolumns; i++)
	{
		ObColumn *column = &encoder->columns[i];
		int number = column->attribute->attnum - 1;

		put_key(encoder->out, column, i == 0);
		put_value(encoder, column, slot->tts_values[number],
				  slot->tts_isnull[number]);
	}
}

static void
put_object(ObEncoder *encoder, TupleTableSlot *slot)
{
	ob_out_char(encoder->out, '{');
	if (ob_walk_begin(encoder->walk, slot))
		put_stored_members(encoder);
	else
		put_deformed_members(encoder, slot);
	ob_out_char(encoder->out, '}');
}

void
ob_jsonl_row(ObEncoder *encoder, TupleTableSlot *slot)
{
	put_object(encoder, slot);
	ob_out_char(encoder->out, '\n');
}

void
ob_json_start(ObEncoder *encoder)
{
	ob_out_write(encoder->out, "{\"Results\": [\n", 14);
}

void
ob_json_row(ObEncoder *encoder, TupleTableSlot *slot)
{
	if (encoder->rows > 0)
		ob_out_write(encoder->out, ",\n", 2);
	put_object(encoder, slot);
}

void
ob_json_end(ObEncoder *encoder)
{
	if (encoder->rows > 0)
		ob_out_char(encoder->out, '\n');
	ob_out_write(encoder->out, "]}\n", 3);
}
