/*
 * options_parquet.c
 *		The options of format "parquet".
 *
 * src/pg/config/options_parquet.c
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/guc.h"
#include "utils/jsonb.h"

#include "pg/config/options_intern.h"

#define ROW_GROUP_ROWS 1048576
#define ROW_GROUP_ROWS_MAX INT64CONST(1000000000)
#define ROW_GROUP_SIZE (INT64CONST(32) * 1024 * 1024)
#define ROW_GROUP_SIZE_MIN (INT64CONST(1024) * 1024)
#define ROW_GROUP_SIZE_MAX (INT64CONST(2047) * 1024 * 1024)
#define PAGE_SIZE (INT64CONST(1024) * 1024)
#define PAGE_SIZE_MIN (INT64CONST(4) * 1024)
#define PAGE_SIZE_MAX (INT64CONST(8) * 1024 * 1024)
/* A page is compressed in one call, which nothing can cancel: see
 * core/sink/sink_zstd.c. */
#define SLOW_LEVEL 13
#define SLOW_PAGE_SIZE (INT64CONST(256) * 1024)
#define DECIMAL_DIGITS 38

typedef struct Compression
{
	const char *name;
	ObPqCodec codec;
	int min_level;
	int max_level; /* 0: it has no levels */
	int default_level;
} Compression;

static const Compression compressions[] = {
	{"none", OB_PQ_NONE, 0, 0, 0}, {"snappy", OB_PQ_SNAPPY, 0, 0, 0},
	{"gzip", OB_PQ_GZIP, 1, 9, 6}, {"zstd", OB_PQ_ZSTD, 1, 19, 1},
	{"lz4", OB_PQ_LZ4, 0, 0, 0},
};
#define DEFAULT_COMPRESSION "zstd"

static ObParquetChoices *
choices(const ObOptionReader *reader)
{
	reader->options->parquet_option = reader->name;
	return &reader->options->copy.parquet;
}

/* A number of bytes, or a text with a unit. */
static int64
read_bytes(ObOptionReader *reader, int64 min, int64 max, const char *hint)
{
	char *text;
	double size;

	if (reader->value->type == jbvNumeric)
		return ob_option_integer(reader, min, max, hint);
	if (reader->value->type != jbvString)
		ob_option_fail_type(reader, "an integer or a string with a unit");
	text = ob_option_copy(reader->value);
	if (!parse_real(text, &size, GUC_UNIT_BYTE, NULL) ||
		!(size >= min && size <= max))
		ob_option_fail_value(reader, text, hint);
	return (int64) size;
}

void
ob_read_row_group_rows(ObOptionReader *reader)
{
	choices(reader)->row_group_rows =
		ob_option_integer(reader, 1, ROW_GROUP_ROWS_MAX,
						  "Allowed values: integers from 1 to 1000000000.");
}

void
ob_read_row_group_size(ObOptionReader *reader)
{
	choices(reader)->row_group_size = read_bytes(
		reader, ROW_GROUP_SIZE_MIN, ROW_GROUP_SIZE_MAX,
		"Allowed values: 1 MB to 2047 MB, as a number of bytes or with a "
		"unit, such as \"64MB\".");
}

void
ob_read_page_size(ObOptionReader *reader)
{
	choices(reader)->page_size =
		read_bytes(reader, PAGE_SIZE_MIN, PAGE_SIZE_MAX,
				   "Allowed values: 4 kB to 8 MB, as a number of bytes or "
				   "with a unit, such as \"1MB\".");
}

void
ob_read_bloom_filter(ObOptionReader *reader)
{
	choices(reader)->bloom_filter =
		ob_option_names(reader, "an array of column names");
}

void
ob_read_dictionary(ObOptionReader *reader)
{
	ObParquetChoices *to = choices(reader);

	to->no_dictionary = ob_option_is_boolean(reader, false);
	to->dictionary = NIL;
	if (!to->no_dictionary && !ob_option_is_boolean(reader, true))
		to->dictionary =
			ob_option_names(reader, "a boolean or an array of column names");
}

void
ob_read_encodings(ObOptionReader *reader)
{
	choices(reader)->delta = ob_option_either(reader, "compatible", "delta");
}

void
ob_read_uuid(ObOptionReader *reader)
{
	choices(reader)->uuid_text = ob_option_either(reader, "uuid", "text");
}

void
ob_read_unrepresentable(ObOptionReader *reader)
{
	choices(reader)->to_null = ob_option_either(reader, "error", "null");
}

void
ob_read_numeric(ObOptionReader *reader)
{
	ObParquetChoices *to = choices(reader);
	char *text = ob_option_string(reader);
	int end = 0;

	if (strcmp(text, "error") == 0)
		to->numeric = OB_NUMERIC_ERROR;
	else if (strcmp(text, "text") == 0)
		to->numeric = OB_NUMERIC_TEXT;
	else if (strcmp(text, "double") == 0)
		to->numeric = OB_NUMERIC_DOUBLE;
	else
	{
		to->numeric = OB_NUMERIC_DECIMAL;
		if (sscanf(text, "decimal(%2d,%2d)%n", &to->precision, &to->scale,
				   &end) != 2 ||
			end != strlen(text) || to->precision < 1 ||
			to->precision > DECIMAL_DIGITS || to->scale < 0 ||
			to->scale > to->precision)
			ob_option_fail_value(
				reader, text,
				"Allowed values: error, text, double, and decimal(p,s) with "
				"at most 38 digits, of which s are after the point.");
	}
}

static const Compression *
find_compression(const ObOptions *options)
{
	for (int i = 0; i < lengthof(compressions); i++)
	{
		if (strcmp(compressions[i].name, options->compression) == 0)
			return &compressions[i];
	}
	elog(ERROR, "unexpected compression \"%s\"", options->compression);
}

static void
finish_compression(ObOptions *options)
{
	const Compression *compression = find_compression(options);
	ObParquetChoices *to = &options->copy.parquet;

	to->codec = compression->codec;
	to->level = compression->default_level;
	if (!options->has_level)
		return;
	if (compression->max_level == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"compression_level\" cannot be used "
							   "with compression \"%s\" and format "
							   "\"parquet\"",
							   compression->name),
						errhint("It has no levels.")));
	if (options->compression_level < compression->min_level ||
		options->compression_level > compression->max_level)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value \"%d\" for option \"compression_level\"",
					options->compression_level),
			 errhint("Allowed values for %s: %d to %d.", compression->name,
					 compression->min_level, compression->max_level)));
	to->level = options->compression_level;
}

/* Half of the memory is the upload's. */
static void
finish_sizes(ObOptions *options)
{
	ObParquetChoices *to = &options->copy.parquet;
	int64 memory = (int64) onboard_upload_memory * 1024 / 2;

	to->memory = memory;
	if (to->row_group_rows == 0)
		to->row_group_rows = ROW_GROUP_ROWS;
	if (to->page_size == 0)
		to->page_size = PAGE_SIZE;
	if (to->codec == OB_PQ_ZSTD && to->level >= SLOW_LEVEL)
		to->page_size = Min(to->page_size, SLOW_PAGE_SIZE);
	if (to->row_group_size > memory)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("row group size of " INT64_FORMAT
						" bytes is more than half of onboard.upload_memory",
						to->row_group_size),
				 errhint("Lower \"row_group_size\" to at most " INT64_FORMAT
						 " bytes, or raise onboard.upload_memory.",
						 memory)));
	if (to->row_group_size == 0)
		to->row_group_size = Min(ROW_GROUP_SIZE, memory);
}

void
ob_options_finish_parquet(ObOptions *options)
{
	if (options->copy.format->kind == OB_FORMAT_PARQUET)
	{
		if (!options->compression)
			options->compression = DEFAULT_COMPRESSION;
		finish_compression(options);
		finish_sizes(options);
		options->codec = ob_codec_lookup("none");
		return;
	}
	if (options->parquet_option)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" cannot be used with format "
						"\"%s\"",
						options->parquet_option, options->copy.format->name),
				 errhint("It is for format parquet.")));
	if (options->compression && strcmp(options->compression, "snappy") == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("compression \"snappy\" cannot be used with "
							   "format \"%s\"",
							   options->copy.format->name),
						errhint("It is for format parquet.")));
}
