/*
 * spark.c
 *		Spark and Databricks: a table USING a data source.
 *
 * src/pg/ddl/spark.c
 */
#include "postgres.h"

#include "pg/ddl/ddl_intern.h"

static const ObQuoting quoting = {
	.quote = '`',
	.backslash = true,
	.control = "\\u%04x",
};

static void
put_name(StringInfo to, const char *name)
{
	ob_ddl_identifier(to, &quoting, name);
}

#define COMMON_NAMES                                            \
	[OB_TYPE_INT2] = "SMALLINT", [OB_TYPE_INT4] = "INT",        \
	[OB_TYPE_INT8] = "BIGINT", [OB_TYPE_FLOAT4] = "FLOAT",      \
	[OB_TYPE_FLOAT8] = "DOUBLE", [OB_TYPE_DECIMAL] = "DECIMAL", \
	[OB_TYPE_TEXT] = "STRING", [OB_TYPE_DATE] = "DATE",         \
	[OB_TYPE_TIMESTAMP] = "TIMESTAMP_NTZ",                      \
	[OB_TYPE_TIMESTAMPTZ] = "TIMESTAMP", [OB_TYPE_JSON] = "STRING"

#define MORE_TEXTS [OB_TYPE_TIME] = "STRING", [OB_TYPE_UUID] = "STRING"

#define PARTS                                                                \
	.list = {"ARRAY<", ">"}, .structure = {"STRUCT<", ">"}, .between = ": ", \
	.map = {"MAP<", ">"}, .identifier = put_name

static const ObTypeNames parquet = {
	.names =
		{COMMON_NAMES, [OB_TYPE_BOOL] = "BOOLEAN", [OB_TYPE_BYTES] = "BINARY"},
	PARTS,
};

/* COPY writes t and f, which are no booleans of Spark. */
static const ObTypeNames csv = {
	.names =
		{COMMON_NAMES,
		 MORE_TEXTS, [OB_TYPE_BOOL] = "STRING", [OB_TYPE_NUMERIC] = "STRING"},
};

static const ObTypeNames json = {
	.names = {COMMON_NAMES, MORE_TEXTS, [OB_TYPE_BOOL] = "BOOLEAN"},
	PARTS,
};

static void
put_option(ObDdl *ddl, const char *name, const char *value)
{
	appendStringInfo(ddl->out, ",\n    '%s' = ", name);
	ob_ddl_literal(ddl->out, &quoting, value);
}

static void
put_csv(ObDdl *ddl)
{
	const ObCopyOptions *copy = ddl->copy;

	ob_ddl_require_empty_null(ddl);
	appendStringInfo(ddl->out, "OPTIONS (\n    'header' = '%s'",
					 copy->header ? "true" : "false");
	put_option(ddl, "sep", ob_ddl_char(copy->delimiter));
	put_option(ddl, "quote", ob_ddl_char(copy->quote));
	put_option(ddl, "escape", ob_ddl_char(copy->escape));
	put_option(ddl, "nullValue", "");
	put_option(ddl, "emptyValue", "");
	put_option(ddl, "positiveInf", "Infinity");
	put_option(ddl, "negativeInf", "-Infinity");
	put_option(ddl, "multiLine", "true");
	put_option(ddl, "timestampFormat", "yyyy-MM-dd HH:mm:ss[.SSSSSS][XXX][x]");
	put_option(ddl, "timestampNTZFormat", "yyyy-MM-dd HH:mm:ss[.SSSSSS]");
	put_option(ddl, "mode", "FAILFAST");
	appendStringInfoString(ddl->out, ")\n");
}

static void
put_json(ObDdl *ddl)
{
	appendStringInfoString(ddl->out, "OPTIONS (\n    'mode' = 'FAILFAST'");
	put_option(ddl, "timestampFormat", "yyyy-MM-dd'T'HH:mm:ss[.SSSSSS]XXX");
	put_option(ddl, "timestampNTZFormat", "yyyy-MM-dd'T'HH:mm:ss[.SSSSSS]");
	appendStringInfoString(ddl->out, ")\n");
}

static void
write_table(ObDdl *ddl)
{
	bool is_csv = ddl->format == OB_FORMAT_CSV;
	bool is_json = ddl->format == OB_FORMAT_JSONL;

	appendStringInfoString(ddl->out, "CREATE TABLE ");
	put_name(ddl->out, ob_ddl_plain_name(ddl->landing->name));
	appendStringInfoString(ddl->out, " (\n");
	ob_ddl_columns(ddl, &quoting);
	appendStringInfo(ddl->out, ")\nUSING %s\n",
					 is_csv    ? "csv"
					 : is_json ? "json"
							   : "parquet");
	if (is_csv)
		put_csv(ddl);
	if (is_json)
		put_json(ddl);
	appendStringInfoString(ddl->out, "LOCATION ");
	ob_ddl_literal(ddl->out, &quoting, ob_ddl_directory(ddl, "s3a"));
	appendStringInfoString(ddl->out, ";\n");
}

const ObDialect ob_dialect_spark = {
	.name = "spark",
	.engine = "Spark",
	.csv = &csv,
	.json = &json,
	.parquet = &parquet,
	.codecs = "none gzip",
	.parquet_codecs = "none snappy gzip zstd lz4",
	.names = OB_NAMES_NO_SEPARATORS,
	.folds = true,
	.by_extension = true,
	.whole = true,
	.hidden_first = "_.",
	.scale_max = 38,
	.write = write_table,
};
