/*
 * values.c
 *		Conversion of PostgreSQL's values into those of Parquet's leaves.
 *
 * src/pg/parquet/values.c
 *
 * Values of types that Parquet does not have become strings, as their output
 * functions write them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/base/compat.h"
#include "pg/encode/digits.h"
#include "pg/parquet/columns.h"

StaticAssertDecl(OB_EPOCH_DAYS == POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE,
				 "days from 1970 to 2000");
#define DECIMAL_MAX 38    /* the greatest precision */
#define DIGITS_OF_GROUP 4 /* decimal digits in a NumericDigit */

/* ---- texts ---- */

static void
value_error_context(void *arg)
{
	const ObParquetColumn *column = arg;

	errcontext("row " INT64_FORMAT ", column \"%s\"",
			   column->columns->rows + 1, column->name);
}

/* Converts a text into UTF-8, or raises an error if that is impossible. */
static const char *
convert(ObParquetColumn *column, const char *data, size_t *len)
{
	ErrorContextCallback context = {error_context_stack, value_error_context,
									column};
	char *converted;

	error_context_stack = &context;
	converted = pg_server_to_any(data, *len, PG_UTF8);
	/* SQL_ASCII: the text was not converted, and may be invalid */
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		pg_verify_mbstr(PG_UTF8, converted, *len, false);
	error_context_stack = context.previous;
	if (converted != data)
		*len = strlen(converted);
	return converted;
}

/* Frees a detoasted or converted copy of a value.  The row's memory context
 * would be too late, since an array may have many large values. */
static void
free_copy(const void *copy, const void *of)
{
	if (copy != of)
		pfree(unconstify(void *, copy));
}

static bool
append_text(ObParquetColumn *column, const char *data, size_t len)
{
	const char *text = data;
	char *to;

	if (column->columns->convert)
		text = convert(column, data, &len);
	to = ob_pq_bytes(column->leaf, len);
	if (to)
		memcpy(to, text, len);
	free_copy(text, data);
	return true;
}

static bool
append_varlena(ObParquetColumn *column, Datum value)
{
	const struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

	append_text(column, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
	free_copy(text, DatumGetPointer(value));
	return true;
}

static bool
append_bytea(ObParquetColumn *column, Datum value)
{
	const struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value);
	char *to = ob_pq_bytes(column->leaf, VARSIZE_ANY_EXHDR(bytes));

	if (to)
		memcpy(to, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	free_copy(bytes, DatumGetPointer(value));
	return true;
}

static bool
append_name(ObParquetColumn *column, Datum value)
{
	const char *name = NameStr(*DatumGetName(value));

	return append_text(column, name, strlen(name));
}

static bool
append_output(ObParquetColumn *column, Datum value)
{
	char *text = OutputFunctionCall(&column->function, value);

	append_text(column, text, strlen(text));
	pfree(text);
	return true;
}

/* ---- numbers ---- */

static bool
append_bool(ObParquetColumn *column, Datum value)
{
	ob_pq_boolean(column->leaf, DatumGetBool(value));
	return true;
}

static bool
append_int2(ObParquetColumn *column, Datum value)
{
	ob_pq_int32(column->leaf, DatumGetInt16(value));
	return true;
}

static bool
append_int4(ObParquetColumn *column, Datum value)
{
	ob_pq_int32(column->leaf, DatumGetInt32(value));
	return true;
}

static bool
append_int8(ObParquetColumn *column, Datum value)
{
	ob_pq_int64(column->leaf, DatumGetInt64(value));
	return true;
}

static bool
append_oid(ObParquetColumn *column, Datum value)
{
	ob_pq_int64(column->leaf, DatumGetObjectId(value));
	return true;
}

static bool
append_float4(ObParquetColumn *column, Datum value)
{
	ob_pq_float(column->leaf, DatumGetFloat4(value));
	return true;
}

static bool
append_float8(ObParquetColumn *column, Datum value)
{
	ob_pq_double(column->leaf, DatumGetFloat8(value));
	return true;
}

static bool
append_numeric_double(ObParquetColumn *column, Datum value)
{
	ob_pq_double(column->leaf,
				 DatumGetFloat8(DirectFunctionCall1(numeric_float8, value)));
	return true;
}

/* ---- decimals ---- */

static __int128
power_of_ten(int n)
{
	__int128 power = 1;

	while (n-- > 0)
		power *= 10;
	return power;
}

/* Returns a numeric, multiplied by 10 ^ scale, as an integer.  Returns false
 * if it does not fit: more digits than precision, or more decimal places than
 * scale. */
static bool
scale_numeric(const ObStoredNumeric *numeric, int precision, int scale,
			  __int128 *result)
{
	__int128 value = 0;
	int zeros = 0; /* decimal places of the result after the last group */

	for (int i = 0; i < numeric->ndigits; i++)
	{
		uint32 digits = ob_numeric_digit(numeric, i);
		__int128 factor = 10000;

		zeros = scale + DIGITS_OF_GROUP * (numeric->weight - i);
		/* drop decimal places beyond the scale, before they can overflow */
		for (int n = zeros; n < 0; n++)
		{
			if (digits % 10 != 0)
				return false;
			digits /= 10;
			factor = factor > 1 ? factor / 10 : 1;
		}
		if (__builtin_mul_overflow(value, factor, &value) ||
			__builtin_add_overflow(value, (__int128) digits, &value))
			return false;
	}
	for (; zeros > 0 && value != 0; zeros--)
	{
		if (__builtin_mul_overflow(value, (__int128) 10, &value))
			return false;
	}
	if (value >= power_of_ten(precision))
		return false;
	*result = numeric->negative ? -value : value;
	return true;
}

static const int64 powers[] = {
	1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000,
};

/* Does the same in 64 bits.  Returns false for numbers with many digits, and
 * for those that do not fit. */
static inline bool
scale_small(const ObStoredNumeric *numeric, int precision, int scale,
			int64 *result)
{
	int zeros =
		scale + DIGITS_OF_GROUP * (numeric->weight - numeric->ndigits + 1);
	int64 value = 0;

	if ((unsigned int) numeric->ndigits > 4 || precision > 18 || zeros < -3 ||
		zeros > 2)
		return false;
	for (int i = 0; i < numeric->ndigits; i++)
		value = value * 10000 + ob_numeric_digit(numeric, i);
	if (zeros >= 0)
		value *= powers[zeros];
	else
	{
		int64 quotient = zeros == -2   ? value / 100
						 : zeros == -1 ? value / 10
									   : value / 1000;

		if (quotient * powers[-zeros] != value)
			return false;
		value = quotient;
	}
	*result = numeric->negative ? -value : value;
	return true;
}

/* Appends an OB_PQ_FIXED in two's complement, big-endian. */
static void
append_int128(ObParquetColumn *column, __int128 value)
{
	uint8 *to = ob_pq_fixed(column->leaf);

	for (int i = column->length - 1; to && i >= 0; i--)
	{
		to[i] = (uint8) value;
		value >>= 8;
	}
}

static bool
append_decimal(ObParquetColumn *column, Datum value)
{
	const struct varlena *packed = PG_DETOAST_DATUM_PACKED(value);
	ObStoredNumeric numeric = {0};
	__int128 scaled;
	int64 small;

	/* false: a special value, or, with digits set, one with many digits */
	if (!ob_read_numeric(packed, &numeric) && numeric.digits == NULL)
		return ob_column_refuse(
			column, numeric_is_nan((Numeric) PG_DETOAST_DATUM(value))
						? "the value is NaN"
						: "the value is infinite");
	if (scale_small(&numeric, column->precision, column->scale, &small) &&
		(small < 0 ? -small : small) < column->limit)
		scaled = small;
	else if (numeric.ndigits > DECIMAL_MAX / DIGITS_OF_GROUP + 2 ||
			 !scale_numeric(&numeric, column->precision, column->scale,
							&scaled))
		return ob_column_refuse(column,
								psprintf("the value does not fit into "
										 "decimal(%d,%d)",
										 column->precision, column->scale));
	if (column->physical == OB_PQ_INT32)
		ob_pq_int32(column->leaf, (int32) scaled);
	else if (column->physical == OB_PQ_INT64)
		ob_pq_int64(column->leaf, (int64) scaled);
	else
		append_int128(column, scaled);
	return true;
}

/* ---- dates and times ---- */

static bool
append_date(ObParquetColumn *column, Datum value)
{
	DateADT date = DatumGetDateADT(value);

	if (DATE_NOT_FINITE(date))
		return ob_column_refuse(column, "the value is an infinite date");
	ob_pq_int32(column->leaf, date + OB_EPOCH_DAYS);
	return true;
}

static bool
append_time(ObParquetColumn *column, Datum value)
{
	TimeADT time = DatumGetTimeADT(value);

	if (time >= USECS_PER_DAY)
		return ob_column_refuse(column, "the value is 24:00:00");
	ob_pq_int64(column->leaf, time);
	return true;
}

static bool
append_timestamp(ObParquetColumn *column, Datum value)
{
	Timestamp timestamp = DatumGetTimestamp(value);
	int64 usecs;

	if (TIMESTAMP_NOT_FINITE(timestamp))
		return ob_column_refuse(column, "the value is an infinite timestamp");
	if (pg_add_s64_overflow(timestamp, OB_EPOCH_USECS, &usecs))
		return ob_column_refuse(column, "the value is after the year 294246");
	ob_pq_int64(column->leaf, usecs);
	return true;
}

static bool
append_uuid(ObParquetColumn *column, Datum value)
{
	uint8 *to = ob_pq_fixed(column->leaf);

	if (to)
		memcpy(to, DatumGetUUIDP(value)->data, UUID_LEN);
	return true;
}

/* ---- mapping of types ---- */

typedef struct Mapping
{
	Oid type;
	ObColumnAppend append;
	ObPqType physical;
	ObPqLogicalType logical_type;
} Mapping;

static const Mapping mappings[] = {
	{BOOLOID, append_bool, OB_PQ_BOOLEAN, OB_PQ_UNANNOTATED},
	{INT2OID, append_int2, OB_PQ_INT32, OB_PQ_INT16},
	{INT4OID, append_int4, OB_PQ_INT32, OB_PQ_UNANNOTATED},
	{INT8OID, append_int8, OB_PQ_INT64, OB_PQ_UNANNOTATED},
	{OIDOID, append_oid, OB_PQ_INT64, OB_PQ_UNANNOTATED},
	{FLOAT4OID, append_float4, OB_PQ_FLOAT, OB_PQ_UNANNOTATED},
	{FLOAT8OID, append_float8, OB_PQ_DOUBLE, OB_PQ_UNANNOTATED},
	{TEXTOID, append_varlena, OB_PQ_BYTE_ARRAY, OB_PQ_STRING},
	{VARCHAROID, append_varlena, OB_PQ_BYTE_ARRAY, OB_PQ_STRING},
	{BPCHAROID, append_varlena, OB_PQ_BYTE_ARRAY, OB_PQ_STRING},
	{NAMEOID, append_name, OB_PQ_BYTE_ARRAY, OB_PQ_STRING},
	{JSONOID, append_varlena, OB_PQ_BYTE_ARRAY, OB_PQ_JSON},
	{JSONBOID, append_output, OB_PQ_BYTE_ARRAY, OB_PQ_JSON},
	{BYTEAOID, append_bytea, OB_PQ_BYTE_ARRAY, OB_PQ_UNANNOTATED},
	{DATEOID, append_date, OB_PQ_INT32, OB_PQ_DATE},
	{TIMEOID, append_time, OB_PQ_INT64, OB_PQ_TIME},
	{TIMESTAMPOID, append_timestamp, OB_PQ_INT64, OB_PQ_TIMESTAMP},
	{TIMESTAMPTZOID, append_timestamp, OB_PQ_INT64, OB_PQ_TIMESTAMPTZ},
};

/* Returns the number of bytes for a signed number of that many digits. */
static int
bytes_of_digits(int digits)
{
	int bytes = 1;

	while (bytes < 16 &&
		   ((__int128) 1 << (8 * bytes - 1)) < power_of_ten(digits))
		bytes++;
	return bytes;
}

static void
choose_decimal(ObParquetColumn *column, ObPqNode *node, int precision,
			   int scale)
{
	column->append = append_decimal;
	column->precision = node->precision = precision;
	column->scale = node->scale = scale;
	if (scale <= 4 && precision <= 18)
	{
		column->stored = OB_STORED_NUMERIC;
		column->multiplier = (int) power_of_ten(scale);
		/* x * (2^32 / d + 1) / 2^32 equals x / d if x * d is less than 2^32,
		 * and is several times as fast */
		column->reciprocal =
			UINT64_C(0x100000000) / (uint64) power_of_ten(4 - scale) + 1;
	}
	column->limit = (int64) power_of_ten(Min(precision, 18));
	node->logical_type = OB_PQ_DECIMAL;
	node->type = precision <= 9    ? OB_PQ_INT32
				 : precision <= 18 ? OB_PQ_INT64
								   : OB_PQ_FIXED;
	if (node->type == OB_PQ_FIXED)
		column->length = node->length = bytes_of_digits(precision);
}

static void
choose_text(ObParquetColumn *column, ObPqNode *node, Oid type)
{
	bool varlena;
	Oid function;

	getTypeOutputInfo(type, &function, &varlena);
	fmgr_info(function, &column->function);
	column->append = append_output;
	node->type = OB_PQ_BYTE_ARRAY;
	node->logical_type =
		get_typtype(type) == TYPTYPE_ENUM ? OB_PQ_ENUM : OB_PQ_STRING;
}

static void
choose_numeric(ObParquetColumn *column, ObPqNode *node, int32 typmod)
{
	const ObParquetChoices *options = column->columns->options;
	bool bounded =
		ob_numeric_typmod(typmod, &column->precision, &column->scale);

	/* Parquet requires 0 <= scale <= precision */
	if (bounded && column->scale < 0)
	{
		column->precision -= column->scale;
		column->scale = 0;
	}
	if (bounded && column->scale > column->precision)
		column->precision = column->scale;
	if (bounded && column->precision <= DECIMAL_MAX)
	{
		choose_decimal(column, node, column->precision, column->scale);
		return;
	}
	switch (options->numeric)
	{
		case OB_NUMERIC_TEXT:
			choose_text(column, node, NUMERICOID);
			return;
		case OB_NUMERIC_DOUBLE:
			column->append = append_numeric_double;
			node->type = OB_PQ_DOUBLE;
			return;
		case OB_NUMERIC_DECIMAL:
			choose_decimal(column, node, options->precision, options->scale);
			return;
		default:
			break;
	}
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 bounded ? errmsg("numeric column \"%s\" has more than %d digits",
							  column->name, DECIMAL_MAX)
					 : errmsg("numeric column \"%s\" has no precision",
							  column->name),
			 errdetail("Parquet's decimals have at most %d digits, of which a "
					   "fixed number is after the point.",
					   DECIMAL_MAX),
			 errhint("Cast it in the query, or set \"numeric\" to \"text\", "
					 "\"double\", or a type such as \"decimal(38,9)\".")));
}

void
ob_column_choose(ObParquetColumn *column, ObPqNode *node, Oid type,
				 int32 typmod)
{
	if (type == NUMERICOID)
		choose_numeric(column, node, typmod);
	else if (type == UUIDOID && !column->columns->options->uuid_text)
	{
		column->append = append_uuid;
		node->type = OB_PQ_FIXED;
		node->length = UUID_LEN;
		node->logical_type = OB_PQ_UUID;
	}
	else
	{
		const Mapping *found = NULL;

		for (int i = 0; i < lengthof(mappings) && !found; i++)
		{
			if (mappings[i].type == type)
				found = &mappings[i];
		}
		if (!found || found->append == append_output)
			choose_text(column, node, type);
		if (found)
		{
			column->append = found->append;
			node->type = found->physical;
			node->logical_type = found->logical_type;
		}
	}
	column->physical = node->type;
	if (column->append == append_int4)
		column->stored = OB_STORED_INT4;
	else if (column->append == append_int8)
		column->stored = OB_STORED_INT8;
	else if (column->append == append_date)
		column->stored = OB_STORED_DATE;
	else if (column->append == append_bytea ||
			 (column->append == append_varlena && !column->columns->convert))
		column->stored = OB_STORED_TEXT;
}
