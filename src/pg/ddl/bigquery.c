/*
 * bigquery.c
 *		BigQuery: an external table.
 *
 * src/pg/ddl/bigquery.c
 */
#include "postgres.h"

#include "pg/ddl/ddl_intern.h"

static void
put_name(StringInfo to, const char *name)
{
	ob_ddl_identifier(to, &ob_quoting_c, name);
}

#define COMMON_NAMES                                             \
	[OB_TYPE_BOOL] = "BOOL", [OB_TYPE_INT2] = "INT64",           \
	[OB_TYPE_INT4] = "INT64", [OB_TYPE_INT8] = "INT64",          \
	[OB_TYPE_FLOAT4] = "FLOAT64", [OB_TYPE_FLOAT8] = "FLOAT64",  \
	[OB_TYPE_DECIMAL] = "BIGNUMERIC", [OB_TYPE_TEXT] = "STRING", \
	[OB_TYPE_DATE] = "DATE", [OB_TYPE_TIME] = "TIME",            \
	[OB_TYPE_TIMESTAMP] = "DATETIME", [OB_TYPE_TIMESTAMPTZ] = "TIMESTAMP"

static const ObTypeNames csv = {
	.names = {COMMON_NAMES, [OB_TYPE_NUMERIC] = "STRING",
			  [OB_TYPE_JSON] = "STRING", [OB_TYPE_UUID] = "STRING"},
};

/* Maps are objects, whose members would have to be known. */
static const ObTypeNames json = {
	.names = {COMMON_NAMES, [OB_TYPE_JSON] = "JSON", [OB_TYPE_MAP] = "JSON",
			  [OB_TYPE_UUID] = "STRING"},
	.list = {"ARRAY<", ">"},
	.structure = {"STRUCT<", ">"},
	.between = " ",
	.identifier = put_name,
};

/* The file has the types; these are those that cannot be read from it. */
static const ObTypeNames parquet = {
	.names =
		{COMMON_NAMES, [OB_TYPE_BYTES] = "BYTES", [OB_TYPE_JSON] = "STRING"},
	.list = {"ARRAY<", ">"},
	.structure = {"STRUCT<", ">"},
	.between = " ",
	.map = {"ARRAY<STRUCT<", ">>"},
	.identifier = put_name,
};

static void
put_option(ObDdl *ddl, const char *name, const char *value)
{
	appendStringInfo(ddl->out, ",\n    %s = ", name);
	ob_ddl_literal(ddl->out, &ob_quoting_c, value);
}

/* A URI has one wildcard at most, which also stands for slashes. */
static char *
uri_of(const ObDdl *ddl)
{
	const ObEndpoint *endpoint = &ddl->landing->server->endpoint;
	bool google = strcmp(endpoint->host, "storage.googleapis.com") == 0;
	char *head;
	char *tail;
	bool fields;

	ob_ddl_file_ends(ddl, &head, &tail, &fields);
	if (strchr(ddl->place.directory, '*') || strchr(head, '*') ||
		strchr(tail, '*'))
		ob_ddl_refuse(ddl, "The key has a *, which stands for other texts.",
					  "Take it out of option \"key\" or the server's prefix.");
	if (*head == '\0' && *tail == '\0' && ddl->landing->options->schema)
		ob_ddl_refuse(ddl, "It would take _schema.json for data, too.",
					  "End option \"key\" with {ext}.");
	return psprintf("%s%s%s%s", ob_ddl_directory(ddl, google ? "gs" : "s3"),
					head, fields ? "*" : "", tail);
}

static void
put_csv(ObDdl *ddl)
{
	const ObCopyOptions *copy = ddl->copy;

	ob_ddl_require_doubled_quotes(ddl);
	ob_ddl_require_null(ddl);
	put_option(ddl, "field_delimiter", ob_ddl_char(copy->delimiter));
	put_option(ddl, "quote", ob_ddl_char(copy->quote));
	put_option(ddl, "null_marker", copy->null_text);
	put_option(ddl, "encoding", "UTF-8");
	appendStringInfo(ddl->out,
					 ",\n    allow_quoted_newlines = true,\n    "
					 "skip_leading_rows = %d",
					 copy->header ? 1 : 0);
}

static void
put_columns(ObDdl *ddl)
{
	StringInfo out = ddl->out;
	StringInfoData unused;

	if (ddl->format != OB_FORMAT_PARQUET)
	{
		appendStringInfoString(out, " (\n");
		ob_ddl_columns(ddl, &ob_quoting_c);
		appendStringInfoString(out, ")");
		return;
	}
	initStringInfo(&unused);
	for (int i = 0; i < ddl->ncolumns; i++)
		ob_ddl_type(ddl, &unused, &ddl->columns[i]);
}

static void
write_table(ObDdl *ddl)
{
	const char *format = ddl->format == OB_FORMAT_CSV     ? "CSV"
						 : ddl->format == OB_FORMAT_JSONL ? "JSON"
														  : "PARQUET";
	char *uri = uri_of(ddl);

	if (strncmp(uri, "s3:", 3) == 0)
		appendStringInfoString(
			ddl->out,
			"-- BigQuery reads s3:// by BigQuery Omni alone: add WITH "
			"CONNECTION before\n-- OPTIONS, or copy the objects to Cloud "
			"Storage and write gs://.\n");
	appendStringInfoString(ddl->out, "CREATE EXTERNAL TABLE ");
	put_name(ddl->out,
			 psprintf("onboard.%s", ob_ddl_plain_name(ddl->landing->name)));
	put_columns(ddl);
	appendStringInfo(ddl->out, "\nOPTIONS (\n    format = '%s',\n    uris = [",
					 format);
	ob_ddl_literal(ddl->out, &ob_quoting_c, uri);
	appendStringInfoChar(ddl->out, ']');
	if (ddl->format == OB_FORMAT_CSV)
		put_csv(ddl);
	if (ddl->format == OB_FORMAT_PARQUET)
		appendStringInfoString(
			ddl->out,
			",\n    enable_list_inference = true,\n    enum_as_string = true");
	else if (strcmp(ddl->landing->options->compression, "gzip") == 0)
		put_option(ddl, "compression", "GZIP");
	appendStringInfoString(ddl->out, ");\n");
}

const ObDialect ob_dialect_bigquery = {
	.name = "bigquery",
	.engine = "BigQuery",
	.csv = &csv,
	.json = &json,
	.parquet = &parquet,
	.codecs = "none gzip",
	.parquet_codecs = "none snappy gzip zstd",
	.names = OB_NAMES_BIGQUERY,
	.folds = true,
	.by_line = true,
	.rounds_json = true,
	.scale_max = 38,
	.write = write_table,
};
