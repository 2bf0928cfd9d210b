/*
 * duckdb.c
 *		DuckDB: a view over the files.
 *
 * src/pg/ddl/duckdb.c
 */
#include "postgres.h"

#include "pg/ddl/ddl_intern.h"

static void
put_name(StringInfo to, const char *name)
{
	ob_ddl_identifier(to, &ob_quoting_standard, name);
}

#define COMMON_NAMES                                            \
	[OB_TYPE_BOOL] = "BOOLEAN", [OB_TYPE_INT2] = "SMALLINT",    \
	[OB_TYPE_INT4] = "INTEGER", [OB_TYPE_INT8] = "BIGINT",      \
	[OB_TYPE_FLOAT4] = "REAL", [OB_TYPE_FLOAT8] = "DOUBLE",     \
	[OB_TYPE_TEXT] = "VARCHAR", [OB_TYPE_DATE] = "DATE",        \
	[OB_TYPE_TIME] = "TIME", [OB_TYPE_TIMESTAMP] = "TIMESTAMP", \
	[OB_TYPE_TIMESTAMPTZ] = "TIMESTAMP WITH TIME ZONE",         \
	[OB_TYPE_UUID] = "UUID", [OB_TYPE_JSON] = "JSON"

#define PARTS                                                          \
	.list = {"", "[]"}, .structure = {"STRUCT(", ")"}, .between = " ", \
	.map = {"MAP(", ")"}, .identifier = put_name

static const ObTypeNames parquet = {
	.names = {COMMON_NAMES, [OB_TYPE_DECIMAL] = "DECIMAL",
			  [OB_TYPE_BYTES] = "BLOB"},
	PARTS,
};

static const ObTypeNames csv = {
	.names = {COMMON_NAMES, [OB_TYPE_DECIMAL] = "DECIMAL",
			  [OB_TYPE_NUMERIC] = "VARCHAR"},
};

static const ObTypeNames json = {
	.names = {COMMON_NAMES, [OB_TYPE_DECIMAL] = "DECIMAL"},
	PARTS,
};

/* In URLs of S3, a ? begins parameters, such as another endpoint, so it is no
 * wildcard there. */
#define ANY_CHARACTER "[!*]"

static void
escape_glob(StringInfo to, const char *text)
{
	for (const char *p = text; *p; p++)
	{
		if (strchr("*[", *p))
			appendStringInfo(to, "[%c]", *p);
		else
			appendStringInfoChar(to, *p);
	}
}

static void
put_option(ObDdl *ddl, const char *name, const char *value)
{
	appendStringInfo(ddl->out, ",\n    %s = ", name);
	ob_ddl_literal(ddl->out, &ob_quoting_standard, value);
}

static void
put_types(ObDdl *ddl)
{
	appendStringInfoString(ddl->out, ",\n    columns = {");
	for (int i = 0; i < ddl->ncolumns; i++)
	{
		StringInfoData type;

		initStringInfo(&type);
		ob_ddl_type(ddl, &type, &ddl->columns[i]);
		appendStringInfoString(ddl->out, i > 0 ? ",\n        " : "\n        ");
		ob_ddl_literal(ddl->out, &ob_quoting_standard, ddl->columns[i].name);
		appendStringInfoString(ddl->out, ": ");
		ob_ddl_literal(ddl->out, &ob_quoting_standard, type.data);
	}
	appendStringInfoString(ddl->out, "}");
}

static void
put_csv(ObDdl *ddl)
{
	const ObCopyOptions *copy = ddl->copy;

	appendStringInfoString(ddl->out, ",\n    auto_detect = false");
	put_option(ddl, "delim", ob_ddl_char(copy->delimiter));
	put_option(ddl, "quote", ob_ddl_char(copy->quote));
	put_option(ddl, "escape", ob_ddl_char(copy->escape));
	put_option(ddl, "nullstr", copy->null_text);
	appendStringInfo(ddl->out,
					 ",\n    allow_quoted_nulls = false,\n    header = %s",
					 copy->header ? "true" : "false");
	put_option(ddl, "encoding", "utf-8");
}

static void
write_view(ObDdl *ddl)
{
	const char *codec = ddl->landing->options->compression;
	bool is_csv = ddl->format == OB_FORMAT_CSV;
	bool is_json = ddl->format == OB_FORMAT_JSONL;
	StringInfoData files;

	initStringInfo(&files);
	escape_glob(&files, ob_ddl_directory(ddl, "s3"));
	appendStringInfoString(
		&files, ob_ddl_file_pattern(ddl, escape_glob, ANY_CHARACTER, "*"));
	if (strpbrk(files.data, "?\\"))
		ob_ddl_refuse(
			ddl,
			"The key has a ?, which begins parameters in its URLs, or "
			"a backslash, which quotes in its patterns.",
			"Take them out of option \"key\" or the server's "
			"prefix.");
	appendStringInfoString(ddl->out, "CREATE OR REPLACE VIEW ");
	put_name(ddl->out, ddl->landing->name);
	appendStringInfo(ddl->out, " AS SELECT * FROM %s(\n    ",
					 is_csv    ? "read_csv"
					 : is_json ? "read_json"
							   : "read_parquet");
	ob_ddl_literal(ddl->out, &ob_quoting_standard, files.data);
	appendStringInfoString(ddl->out, ",\n    hive_partitioning = false");
	if (is_csv)
		put_csv(ddl);
	if (is_json)
		put_option(ddl, "format", "newline_delimited");
	if (is_csv || is_json)
	{
		if (strcmp(codec, "none") == 0)
			codec = is_csv ? "none" : "uncompressed";
		put_option(ddl, "compression", codec);
		put_types(ddl);
	}
	appendStringInfoString(ddl->out, ");\n");
}

const ObDialect ob_dialect_duckdb = {
	.name = "duckdb",
	.engine = "DuckDB",
	.csv = &csv,
	.json = &json,
	.parquet = &parquet,
	.codecs = "none gzip zstd",
	.parquet_codecs = "none snappy gzip zstd lz4",
	.delta = true,
	.blank_lines = true,
	.folds = true,
	.rounds_json = true,
	.scale_max = 38,
	.write = write_view,
};
