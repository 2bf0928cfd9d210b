/*
 * hive.c
 *		Tables of Hive's kind: Athena, Glue, Redshift Spectrum.
 *
 * src/pg/ddl/hive.c
 *
 * A SerDe reads the rows.  Of csv, LazySimpleSerDe knows no quotes, and
 * OpenCSVSerde knows no nulls, no types, and a backslash as the only escape:
 * each is right for some of COPY's options.
 */
#include "postgres.h"

#include "pg/base/json_writer.h"
#include "pg/ddl/ddl_intern.h"

#define LAZY_SIMPLE "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe"
#define OPEN_CSV "org.apache.hadoop.hive.serde2.OpenCSVSerde"
#define OPENX_JSON "org.openx.data.jsonserde.JsonSerDe"
#define PARQUET "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
#define TEXT_INPUT "org.apache.hadoop.mapred.TextInputFormat"
#define TEXT_OUTPUT \
	"org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"
#define PARQUET_INPUT \
	"org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
#define PARQUET_OUTPUT \
	"org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"

/* ---- types ---- */

static void
put_plain(StringInfo to, const char *name)
{
	appendStringInfoString(to, name);
}

#define HIVE_NUMBERS                                            \
	[OB_TYPE_INT2] = "smallint", [OB_TYPE_INT4] = "int",        \
	[OB_TYPE_INT8] = "bigint", [OB_TYPE_FLOAT4] = "float",      \
	[OB_TYPE_FLOAT8] = "double", [OB_TYPE_DECIMAL] = "decimal", \
	[OB_TYPE_DATE] = "date"

/* It has dates in text, Parquet and ORC, but not in JSON. */
#define SPECTRUM_NUMBERS                                     \
	[OB_TYPE_INT2] = "smallint", [OB_TYPE_INT4] = "integer", \
	[OB_TYPE_INT8] = "bigint", [OB_TYPE_FLOAT4] = "real",    \
	[OB_TYPE_FLOAT8] = "double precision", [OB_TYPE_DECIMAL] = "decimal"

#define TEXTS(string) [OB_TYPE_TEXT] = string, [OB_TYPE_JSON] = string

/* What only Parquet has as more than a text. */
#define MORE_TEXTS(string)                               \
	[OB_TYPE_NUMERIC] = string, [OB_TYPE_TIME] = string, \
	[OB_TYPE_TIMESTAMPTZ] = string, [OB_TYPE_UUID] = string

#define PARTS                                                               \
	.list = {"array<", ">"}, .structure = {"struct<", ">"}, .between = ":", \
	.comma = ",", .map = {"map<", ">"}, .identifier = put_plain

#define SPECTRUM_STRING "varchar(65535)"

static const ObTypeNames hive_parquet = {
	.names = {HIVE_NUMBERS, TEXTS("string"), [OB_TYPE_BOOL] = "boolean",
			  [OB_TYPE_BYTES] = "binary", [OB_TYPE_TIMESTAMP] = "timestamp",
			  [OB_TYPE_TIMESTAMPTZ] = "timestamp"},
	PARTS,
};

/* COPY writes t and f, which are no booleans of Hive. */
static const ObTypeNames hive_csv = {
	.names = {HIVE_NUMBERS, TEXTS("string"), MORE_TEXTS("string"),
			  [OB_TYPE_BOOL] = "string", [OB_TYPE_TIMESTAMP] = "timestamp"},
};

/* Timestamps of JSON have a T, and a time zone, which the SerDe may not read.
 */
static const ObTypeNames hive_json = {
	.names = {HIVE_NUMBERS, TEXTS("string"), MORE_TEXTS("string"),
			  [OB_TYPE_BOOL] = "boolean", [OB_TYPE_TIMESTAMP] = "string"},
	PARTS,
};

static const ObTypeNames spectrum_parquet = {
	.names = {SPECTRUM_NUMBERS, TEXTS(SPECTRUM_STRING),
			  [OB_TYPE_BOOL] = "boolean", [OB_TYPE_BYTES] = "varbyte",
			  [OB_TYPE_DATE] = "date", [OB_TYPE_TIMESTAMP] = "timestamp",
			  [OB_TYPE_TIMESTAMPTZ] = "timestamp"},
	PARTS,
};

/* A timestamp must have six digits after the point there. */
static const ObTypeNames spectrum_csv = {
	.names = {SPECTRUM_NUMBERS, TEXTS(SPECTRUM_STRING),
			  MORE_TEXTS(SPECTRUM_STRING), [OB_TYPE_BOOL] = SPECTRUM_STRING,
			  [OB_TYPE_DATE] = "date", [OB_TYPE_TIMESTAMP] = SPECTRUM_STRING},
};

static const ObTypeNames spectrum_json = {
	.names = {SPECTRUM_NUMBERS, TEXTS(SPECTRUM_STRING),
			  MORE_TEXTS(SPECTRUM_STRING), [OB_TYPE_BOOL] = "boolean",
			  [OB_TYPE_DATE] = SPECTRUM_STRING,
			  [OB_TYPE_TIMESTAMP] = SPECTRUM_STRING},
	PARTS,
};

static const ObTypeNames strings = {
	.names = {[OB_TYPE_BOOL... OB_TYPE_JSON] = "string"},
	.decimal_plain = true,
};

static const ObTypeNames spectrum_strings = {
	.names = {[OB_TYPE_BOOL... OB_TYPE_JSON] = SPECTRUM_STRING},
	.decimal_plain = true,
};

/* ---- SerDes ---- */

#define PROPERTIES_MAX 4

typedef struct Reader
{
	const char *serde;
	const char *input;
	const char *output;
	int n; /* of its properties */
	const char *names[PROPERTIES_MAX];
	const char *values[PROPERTIES_MAX];
} Reader;

static void
add_property(Reader *reader, const char *name, const char *value)
{
	reader->names[reader->n] = name;
	reader->values[reader->n++] = value;
}

/* Without quotes, a null is what the option says, and nothing else is. */
static void
use_lazy_simple(const ObDdl *ddl, Reader *reader)
{
	const char *delimiter = ob_ddl_char(ddl->copy->delimiter);

	reader->serde = LAZY_SIMPLE;
	add_property(reader, "field.delim", delimiter);
	add_property(reader, "serialization.format", delimiter);
	add_property(reader, "serialization.null.format", ddl->copy->null_text);
}

/*
 * It drops a backslash that is not in quotes, so each value must have them;
 * then only nulls have none.
 */
static void
use_open_csv(ObDdl *ddl, Reader *reader, const ObTypeNames *types)
{
	const ObCopyOptions *copy = ddl->copy;

	if (copy->escape != '\\' || !copy->force_quote_all ||
		copy->null_text[0] == '\0' || strpbrk(copy->null_text, "\\"))
		ob_ddl_refuse(
			ddl,
			"Its SerDe for quoted values tells no null from an empty text, "
			"and takes a backslash for an escape.",
			"Use \"format\": \"parquet\" or \"jsonl\"; or set \"escape\" to a "
			"backslash, \"force_quote\" to \"*\", and \"null\" to a text that "
			"no value has.");
	reader->serde = OPEN_CSV;
	add_property(reader, "separatorChar", ob_ddl_char(copy->delimiter));
	add_property(reader, "quoteChar", ob_ddl_char(copy->quote));
	add_property(reader, "escapeChar", "\\");
	ddl->types = types;
}

/* Whether a value may have members of any name. */
static bool
has_free_names(const ObType *type)
{
	bool found = type->kind == OB_TYPE_MAP || type->kind == OB_TYPE_JSON;

	for (int i = 0; i < type->nchildren && !found; i++)
		found = has_free_names(&type->children[i]);
	return found;
}

static bool
is_lower(const ObType *type)
{
	bool lower = true;

	for (const char *p = type->name; p && *p; p++)
		lower = lower && !(*p >= 'A' && *p <= 'Z');
	for (int i = 0; i < type->nchildren; i++)
		lower = lower && is_lower(&type->children[i]);
	return lower;
}

/* The SerDe converts all names to lower case, including those in maps and
 * JSON, unless its property case.insensitive is off, for which all names of
 * columns must be in lower case. */
static void
use_openx_json(const ObDdl *ddl, Reader *reader)
{
	bool lower = true;
	bool free_names = false;

	reader->serde = OPENX_JSON;
	for (int i = 0; i < ddl->ncolumns; i++)
	{
		lower = lower && is_lower(&ddl->columns[i]);
		free_names = free_names || has_free_names(&ddl->columns[i]);
	}
	if (!free_names)
		return;
	if (!lower)
		ob_ddl_refuse(ddl,
					  "Its SerDe tells upper from lower case either in values "
					  "of JSON and maps, or not in names of columns.",
					  "Give all columns and fields names in lower case by AS, "
					  "or use \"format\": \"parquet\".");
	add_property(reader, "case.insensitive", "FALSE");
}

static void
choose_reader(ObDdl *ddl, Reader *reader, const ObTypeNames *all_strings)
{
	*reader = (Reader){.input = TEXT_INPUT, .output = TEXT_OUTPUT};
	if (ddl->format == OB_FORMAT_JSONL)
		use_openx_json(ddl, reader);
	else if (ddl->format == OB_FORMAT_CSV && ob_ddl_may_quote(ddl))
		use_open_csv(ddl, reader, all_strings);
	else if (ddl->format == OB_FORMAT_CSV)
		use_lazy_simple(ddl, reader);
	else
		*reader = (Reader){.serde = PARQUET,
						   .input = PARQUET_INPUT,
						   .output = PARQUET_OUTPUT};
}

static bool
has_header(const ObDdl *ddl)
{
	return ddl->format == OB_FORMAT_CSV && ddl->copy->header;
}

/* ---- SQL ---- */

static void
put_reader(ObDdl *ddl, const ObQuoting *quoting, const Reader *reader)
{
	appendStringInfo(ddl->out, "ROW FORMAT SERDE '%s'\n", reader->serde);
	for (int i = 0; i < reader->n; i++)
	{
		appendStringInfo(ddl->out, "%s    '%s' = ",
						 i == 0 ? "WITH SERDEPROPERTIES (\n" : ",\n",
						 reader->names[i]);
		ob_ddl_literal(ddl->out, quoting, reader->values[i]);
	}
	if (reader->n > 0)
		appendStringInfoString(ddl->out, ")\n");
	appendStringInfo(ddl->out,
					 "STORED AS INPUTFORMAT '%s'\nOUTPUTFORMAT '%s'\n"
					 "LOCATION ",
					 reader->input, reader->output);
	ob_ddl_literal(ddl->out, quoting, ob_ddl_directory(ddl, "s3"));
}

static void
say_of_strings(ObDdl *ddl, const Reader *reader)
{
	if (strcmp(reader->serde, OPEN_CSV) == 0)
		appendStringInfoString(ddl->out,
							   "-- All values are strings; a null is the text "
							   "of option \"null\".\n");
}

static void
write_athena(ObDdl *ddl)
{
	Reader reader;

	choose_reader(ddl, &reader, &strings);
	say_of_strings(ddl, &reader);
	appendStringInfoString(ddl->out, "CREATE EXTERNAL TABLE ");
	ob_ddl_identifier(ddl->out, &ob_quoting_hive,
					  ob_ddl_plain_name(ddl->landing->name));
	appendStringInfoString(ddl->out, " (\n");
	ob_ddl_columns(ddl, &ob_quoting_hive);
	appendStringInfoString(ddl->out, ")\n");
	put_reader(ddl, &ob_quoting_hive, &reader);
	if (has_header(ddl))
		appendStringInfoString(
			ddl->out, "\nTBLPROPERTIES ('skip.header.line.count' = '1')");
	appendStringInfoString(ddl->out, ";\n");
}

/* Its documentation names no SerDe for values without quotes and Parquet. */
static void
put_spectrum_reader(ObDdl *ddl, const Reader *reader)
{
	const ObQuoting *quoting = &ob_quoting_redshift;
	StringInfo out = ddl->out;

	if (strcmp(reader->serde, PARQUET) == 0)
		appendStringInfoString(out, "STORED AS PARQUET\nLOCATION ");
	else if (strcmp(reader->serde, LAZY_SIMPLE) == 0)
	{
		appendStringInfoString(out,
							   "ROW FORMAT DELIMITED FIELDS TERMINATED BY ");
		ob_ddl_literal(out, quoting, ob_ddl_char(ddl->copy->delimiter));
		appendStringInfoString(out, "\nSTORED AS TEXTFILE\nLOCATION ");
	}
	else
	{
		put_reader(ddl, quoting, reader);
		return;
	}
	ob_ddl_literal(out, quoting, ob_ddl_directory(ddl, "s3"));
}

static void
put_spectrum_properties(ObDdl *ddl, const Reader *reader)
{
	bool lazy = strcmp(reader->serde, LAZY_SIMPLE) == 0;

	if (!lazy && !has_header(ddl))
		return;
	appendStringInfoString(ddl->out, "\nTABLE PROPERTIES (");
	if (lazy)
	{
		appendStringInfoString(ddl->out, "'serialization.null.format' = ");
		ob_ddl_literal(ddl->out, &ob_quoting_redshift, ddl->copy->null_text);
	}
	if (has_header(ddl))
		appendStringInfo(ddl->out, "%s'skip.header.line.count' = '1'",
						 lazy ? ", " : "");
	appendStringInfoChar(ddl->out, ')');
}

static void
write_spectrum(ObDdl *ddl)
{
	Reader reader;

	choose_reader(ddl, &reader, &spectrum_strings);
	if (strcmp(reader.serde, OPEN_CSV) == 0)
		add_property(&reader, "wholeFile", "true");
	say_of_strings(ddl, &reader);
	appendStringInfoString(ddl->out, "CREATE EXTERNAL TABLE spectrum.");
	ob_ddl_identifier(ddl->out, &ob_quoting_redshift, ddl->landing->name);
	appendStringInfoString(ddl->out, " (\n");
	ob_ddl_columns(ddl, &ob_quoting_redshift);
	appendStringInfoString(ddl->out, ")\n");
	put_spectrum_reader(ddl, &reader);
	put_spectrum_properties(ddl, &reader);
	appendStringInfoString(ddl->out, ";\n");
}

/* ---- Glue's TableInput ---- */

static void
put_json_columns(ObDdl *ddl)
{
	ob_json_open(ddl->out, "Columns", '[');
	for (int i = 0; i < ddl->ncolumns; i++)
	{
		StringInfoData type;

		initStringInfo(&type);
		ob_ddl_type(ddl, &type, &ddl->columns[i]);
		ob_json_open(ddl->out, NULL, '{');
		ob_json_put_text(ddl->out, "Name",
						 ob_ddl_plain_name(ddl->columns[i].name));
		ob_json_put_text(ddl->out, "Type", type.data);
		ob_json_close(ddl->out, '}');
	}
	ob_json_close(ddl->out, ']');
}

static void
put_serde_info(ObDdl *ddl, const Reader *reader)
{
	ob_json_open(ddl->out, "SerdeInfo", '{');
	ob_json_put_text(ddl->out, "SerializationLibrary", reader->serde);
	ob_json_open(ddl->out, "Parameters", '{');
	for (int i = 0; i < reader->n; i++)
		ob_json_put_text(ddl->out, reader->names[i], reader->values[i]);
	ob_json_close(ddl->out, '}');
	ob_json_close(ddl->out, '}');
}

static void
write_glue(ObDdl *ddl)
{
	StringInfo out = ddl->out;
	Reader reader;

	choose_reader(ddl, &reader, &strings);
	ob_json_open(out, NULL, '{');
	ob_json_put_text(out, "Name", ob_ddl_plain_name(ddl->landing->name));
	ob_json_put_text(out, "TableType", "EXTERNAL_TABLE");
	/* Athena requires it, even if it is empty */
	ob_json_open(out, "PartitionKeys", '[');
	ob_json_close(out, ']');
	ob_json_open(out, "Parameters", '{');
	ob_json_put_text(out, "EXTERNAL", "TRUE");
	ob_json_put_text(out, "classification",
					 ddl->format == OB_FORMAT_JSONL ? "json"
													: ddl->copy->format->name);
	if (has_header(ddl))
		ob_json_put_text(out, "skip.header.line.count", "1");
	ob_json_close(out, '}');
	ob_json_open(out, "StorageDescriptor", '{');
	put_json_columns(ddl);
	ob_json_put_text(out, "Location", ob_ddl_directory(ddl, "s3"));
	ob_json_put_text(out, "InputFormat", reader.input);
	ob_json_put_text(out, "OutputFormat", reader.output);
	put_serde_info(ddl, &reader);
	ob_json_close(out, '}');
	ob_json_close(out, '}');
}

#define HIVE                                                  \
	.names = OB_NAMES_PLAIN, .folds = true, .by_line = true,  \
	.rounds_json = true, .by_extension = true, .whole = true, \
	.parquet_codecs = "none snappy gzip zstd", .scale_max = 38

const ObDialect ob_dialect_athena = {
	.name = "athena",
	.engine = "Athena",
	.csv = &hive_csv,
	.json = &hive_json,
	.parquet = &hive_parquet,
	.codecs = "none gzip zstd",
	.hidden_first = "_.",
	.write = write_athena,
	HIVE,
};

const ObDialect ob_dialect_glue = {
	.name = "glue",
	.engine = "Glue",
	.csv = &hive_csv,
	.json = &hive_json,
	.parquet = &hive_parquet,
	.codecs = "none gzip zstd",
	.hidden_first = "_.",
	.write = write_glue,
	HIVE,
};

const ObDialect ob_dialect_spectrum = {
	.name = "redshift_spectrum",
	.engine = "Redshift Spectrum",
	.csv = &spectrum_csv,
	.json = &spectrum_json,
	.parquet = &spectrum_parquet,
	.codecs = "none gzip",
	.hidden_first = "_.#",
	.hidden_last = "~",
	.write = write_spectrum,
	HIVE,
};
