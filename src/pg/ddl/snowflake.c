/*
 * snowflake.c
 *		Snowflake: a table, and the COPY INTO that loads it.
 *
 * src/pg/ddl/snowflake.c
 */
#include "postgres.h"

#include "pg/ddl/ddl_intern.h"

static const ObQuoting quoting = {
	.quote = '"',
	.backslash = true,
	.control = "\\u%04x",
};

#define COMMON_NAMES                                          \
	[OB_TYPE_BOOL] = "BOOLEAN", [OB_TYPE_INT2] = "SMALLINT",  \
	[OB_TYPE_INT4] = "INTEGER", [OB_TYPE_INT8] = "BIGINT",    \
	[OB_TYPE_FLOAT4] = "FLOAT", [OB_TYPE_FLOAT8] = "FLOAT",   \
	[OB_TYPE_DECIMAL] = "NUMBER", [OB_TYPE_TEXT] = "VARCHAR", \
	[OB_TYPE_DATE] = "DATE", [OB_TYPE_TIME] = "TIME",         \
	[OB_TYPE_TIMESTAMP] = "TIMESTAMP_NTZ"

#define PARTS                                              \
	[OB_TYPE_LIST] = "ARRAY", [OB_TYPE_STRUCT] = "OBJECT", \
	[OB_TYPE_MAP] = "OBJECT"

static const ObTypeNames parquet = {
	.names = {COMMON_NAMES, PARTS, [OB_TYPE_TIMESTAMPTZ] = "TIMESTAMP_TZ",
			  [OB_TYPE_BYTES] = "BINARY", [OB_TYPE_JSON] = "VARCHAR"},
};

static const ObTypeNames csv = {
	.names = {COMMON_NAMES, [OB_TYPE_TIMESTAMPTZ] = "TIMESTAMP_TZ",
			  [OB_TYPE_NUMERIC] = "VARCHAR", [OB_TYPE_UUID] = "VARCHAR",
			  [OB_TYPE_JSON] = "VARCHAR"},
};

static const ObTypeNames json = {
	.names = {COMMON_NAMES, PARTS, [OB_TYPE_TIMESTAMPTZ] = "TIMESTAMP_TZ",
			  [OB_TYPE_NUMERIC] = "VARCHAR", [OB_TYPE_UUID] = "VARCHAR",
			  [OB_TYPE_JSON] = "VARIANT"},
};

/* A regular expression that the whole key matches. */
static void
escape_pattern(StringInfo to, const char *text)
{
	for (const char *p = text; *p; p++)
	{
		if (strchr("[]^\\", *p))
			appendStringInfoChar(to, '\\');
		if (strchr(".*+?(){}|$", *p))
			appendStringInfo(to, "[%c]", *p);
		else
			appendStringInfoChar(to, *p);
	}
}

static void
put_csv(ObDdl *ddl)
{
	const ObCopyOptions *copy = ddl->copy;

	ob_ddl_require_quote(ddl, "\"'");
	ob_ddl_require_empty_null(ddl);
	appendStringInfoString(ddl->out, "TYPE = CSV\n    FIELD_DELIMITER = ");
	ob_ddl_literal(ddl->out, &quoting, ob_ddl_char(copy->delimiter));
	appendStringInfoString(ddl->out, "\n    FIELD_OPTIONALLY_ENCLOSED_BY = ");
	ob_ddl_literal(ddl->out, &quoting, ob_ddl_char(copy->quote));
	if (copy->escape != copy->quote)
	{
		appendStringInfoString(ddl->out, "\n    ESCAPE = ");
		ob_ddl_literal(ddl->out, &quoting, ob_ddl_char(copy->escape));
	}
	appendStringInfo(ddl->out,
					 "\n    ESCAPE_UNENCLOSED_FIELD = NONE"
					 "\n    EMPTY_FIELD_AS_NULL = TRUE"
					 "\n    MULTI_LINE = TRUE"
					 "\n    SKIP_HEADER = %d",
					 copy->header ? 1 : 0);
}

static const char *
codec_of(const ObDdl *ddl)
{
	const char *codec = ddl->landing->options->compression;

	if (ddl->format == OB_FORMAT_PARQUET)
		return "AUTO";
	return strcmp(codec, "gzip") == 0   ? "GZIP"
		   : strcmp(codec, "zstd") == 0 ? "ZSTD"
										: "NONE";
}

static void
put_format(ObDdl *ddl)
{
	appendStringInfoString(ddl->out, "FILE_FORMAT = (\n    ");
	if (ddl->format == OB_FORMAT_CSV)
		put_csv(ddl);
	else
		appendStringInfoString(
			ddl->out, ddl->format == OB_FORMAT_JSONL
						  ? "TYPE = JSON"
						  : "TYPE = PARQUET\n    BINARY_AS_TEXT = FALSE\n    "
							"USE_LOGICAL_TYPE = TRUE");
	/* otherwise \N is a null in all formats */
	appendStringInfo(ddl->out, "\n    NULL_IF = ()\n    COMPRESSION = %s)",
					 codec_of(ddl));
	if (ddl->format != OB_FORMAT_CSV)
		appendStringInfoString(ddl->out,
							   "\nMATCH_BY_COLUMN_NAME = CASE_SENSITIVE");
}

static void
write_copy(ObDdl *ddl)
{
	appendStringInfoString(ddl->out, "CREATE TABLE ");
	ob_ddl_identifier(ddl->out, &quoting, ddl->landing->name);
	appendStringInfoString(ddl->out, " (\n");
	ob_ddl_columns(ddl, &quoting);
	appendStringInfoString(
		ddl->out, ");\n-- Name your own storage integration.\nCOPY INTO ");
	ob_ddl_identifier(ddl->out, &quoting, ddl->landing->name);
	appendStringInfoString(ddl->out, "\nFROM ");
	ob_ddl_literal(ddl->out, &quoting, ob_ddl_directory(ddl, "s3"));
	appendStringInfoString(ddl->out,
						   "\nSTORAGE_INTEGRATION = onboard\nPATTERN = ");
	ob_ddl_literal(
		ddl->out, &quoting,
		psprintf("(.*/)?%s",
				 ob_ddl_file_pattern(ddl, escape_pattern, ".", "[0-9]*")));
	appendStringInfoChar(ddl->out, '\n');
	put_format(ddl);
	appendStringInfoString(ddl->out, ";\n");
}

const ObDialect ob_dialect_snowflake = {
	.name = "snowflake",
	.engine = "Snowflake",
	.csv = &csv,
	.json = &json,
	.parquet = &parquet,
	.codecs = "none gzip zstd",
	.parquet_codecs = "none snappy gzip zstd",
	.by_line = true,
	.scale_max = 37,
	.write = write_copy,
};
