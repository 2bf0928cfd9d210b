/*
 * clickhouse.c
 *		ClickHouse: a table of the engine S3.
 *
 * src/pg/ddl/clickhouse.c
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "core/base/buf.h"
#include "core/text/uri.h"
#include "pg/ddl/ddl_intern.h"

/* Delimiters of csv that ClickHouse refuses. */
#define BAD_DELIMITERS " \t\"'.UL"

static void
put_name(StringInfo to, const char *name)
{
	ob_ddl_identifier(to, &ob_quoting_c, name);
}

#define COMMON_NAMES                                                         \
	[OB_TYPE_BOOL] = "Bool", [OB_TYPE_INT2] = "Int16",                       \
	[OB_TYPE_INT4] = "Int32", [OB_TYPE_INT8] = "Int64",                      \
	[OB_TYPE_FLOAT4] = "Float32", [OB_TYPE_FLOAT8] = "Float64",              \
	[OB_TYPE_DECIMAL] = "Decimal", [OB_TYPE_TEXT] = "String",                \
	[OB_TYPE_BYTES] = "String", [OB_TYPE_DATE] = "Date32",                   \
	[OB_TYPE_TIMESTAMP] = "DateTime64(6, 'UTC')",                            \
	[OB_TYPE_TIMESTAMPTZ] = "DateTime64(6, 'UTC')", [OB_TYPE_UUID] = "UUID", \
	[OB_TYPE_JSON] = "String"

#define PARTS                                                              \
	.list = {"Array(", ")"}, .structure = {"Tuple(", ")"}, .between = " ", \
	.map = {"Map(", ")"}, .nullable = {"Nullable(", ")"},                  \
	.identifier = put_name

static const ObTypeNames parquet = {
	.names = {COMMON_NAMES, [OB_TYPE_TIME] = "Time64(6)"},
	PARTS,
};

static const ObTypeNames texts = {
	.names = {COMMON_NAMES, [OB_TYPE_TIME] = "String",
			  [OB_TYPE_NUMERIC] = "String"},
	PARTS,
};

static void
copy_text(StringInfo to, const char *text)
{
	appendStringInfoString(to, text);
}

/* Characters that ClickHouse takes as they are in a URL with a wildcard "?",
 * in which it decodes none. */
#define PLAIN_CHARS \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~/="

/* What has a meaning in patterns cannot be quoted there. */
static void
check_key(const ObDdl *ddl, const char *text, bool wildcards)
{
	if (strpbrk(text, "*?{}"))
		ob_ddl_refuse(ddl,
					  "The key has one of *?{}, which stand for other texts "
					  "there.",
					  "Take them out of option \"key\" or the server's "
					  "prefix.");
	if (wildcards && text[strspn(text, PLAIN_CHARS)] != '\0')
		ob_ddl_refuse(ddl,
					  "The key has characters that its URL with wildcards "
					  "cannot have.",
					  "Take blanks, % and the like out of option \"key\" and "
					  "the name, or fields of the run, such as {run_id}, out "
					  "of what follows the last slash.");
}

/* A key is percent-encoded in a URL, but not if the URL has wildcards. */
static void
put_key(StringInfo url, const char *key)
{
	const char *utf8;
	ObBuf encoded;
	size_t len;

	if (strchr(key, '?'))
	{
		appendStringInfoString(url, key);
		return;
	}
	utf8 = pg_server_to_any(key, strlen(key), PG_UTF8);
	len = strlen(utf8);
	enlargeStringInfo(url, 3 * len);
	ob_buf_init(&encoded, 3 * len + 1);
	ob_uri_encode(&encoded, utf8, len, true);
	if (!encoded.failed)
		appendBinaryStringInfo(url, encoded.data, encoded.len);
	ob_buf_free(&encoded);
}

static char *
url_of(const ObDdl *ddl)
{
	const ObServer *server = ddl->landing->server;
	const ObEndpoint *endpoint = &server->endpoint;
	const char *bucket = ddl->landing->bucket;
	const char *files = ob_ddl_file_pattern(ddl, copy_text, "?", "*");
	bool in_host = server->addressing == OB_ADDRESSING_VIRTUAL ||
				   (server->addressing == OB_ADDRESSING_AUTO &&
					endpoint->aws && !strchr(bucket, '.'));
	StringInfoData url;

	check_key(ddl, ddl->place.directory, strchr(files, '?'));
	check_key(ddl, ob_ddl_file_pattern(ddl, copy_text, "", ""),
			  strchr(files, '?'));
	initStringInfo(&url);
	appendStringInfo(&url, "%s://", endpoint->https ? "https" : "http");
	if (in_host)
		appendStringInfo(&url, "%s.", bucket);
	appendStringInfoString(&url, endpoint->host);
	if (endpoint->port != 0)
		appendStringInfo(&url, ":%d", endpoint->port);
	appendStringInfo(&url, "%s/", endpoint->base);
	if (!in_host)
		appendStringInfo(&url, "%s/", bucket);
	put_key(&url, psprintf("%s%s", ddl->place.directory, files));
	return url.data;
}

static void
put_setting(ObDdl *ddl, const char *name, const char *value)
{
	appendStringInfo(ddl->out, ",\n    %s = ", name);
	ob_ddl_literal(ddl->out, &ob_quoting_c, value);
}

static const char *
format_of(const ObDdl *ddl)
{
	switch (ddl->format)
	{
		case OB_FORMAT_CSV:
			return ddl->copy->header ? "CSVWithNames" : "CSV";
		case OB_FORMAT_TEXT:
			return ddl->copy->header ? "TSVWithNames" : "TSV";
		case OB_FORMAT_JSONL:
			return "JSONEachRow";
		default:
			return "Parquet";
	}
}

/* It does not find a member whose name has such a character. */
static void
refuse_control_characters(const ObDdl *ddl, const ObType *type)
{
	for (const char *p = type->name; p && *p; p++)
	{
		if ((unsigned char) *p < ' ')
			ob_ddl_refuse(ddl,
						  "It does not read members of JSON whose names have "
						  "control characters.",
						  "Give the column another name by AS, or use "
						  "\"format\": \"parquet\".");
	}
	for (int i = 0; i < type->nchildren; i++)
		refuse_control_characters(ddl, &type->children[i]);
}

/* It reads other quoted values. */
static void
refuse_quoted_booleans(const ObDdl *ddl)
{
	if (!ddl->copy->force_quote_all && ddl->copy->force_quote == NIL)
		return;
	for (int i = 0; i < ddl->ncolumns; i++)
	{
		if (ddl->columns[i].kind == OB_TYPE_BOOL)
			ob_ddl_refuse(ddl, "It does not read a boolean in quotes.",
						  "Leave out option \"force_quote\".");
	}
}

static void
check_options(const ObDdl *ddl)
{
	if (ddl->format == OB_FORMAT_CSV)
	{
		refuse_quoted_booleans(ddl);
		if (strchr(BAD_DELIMITERS, ddl->copy->delimiter))
			ob_ddl_refuse(ddl, "It does not take that delimiter.",
						  "Set option \"delimiter\" to another one, such as "
						  "a comma.");
		ob_ddl_require_quote(ddl, "\"");
		ob_ddl_require_doubled_quotes(ddl);
		ob_ddl_require_empty_null(ddl);
	}
	for (int i = 0; i < ddl->ncolumns && ddl->format == OB_FORMAT_JSONL; i++)
		refuse_control_characters(ddl, &ddl->columns[i]);
	if (ddl->format == OB_FORMAT_TEXT && ddl->copy->delimiter != '\t')
		ob_ddl_refuse(ddl,
					  "It reads format \"text\" with tabs between values.",
					  "Leave out option \"delimiter\", or use \"format\": "
					  "\"csv\".");
}

static void
write_table(ObDdl *ddl)
{
	const char *codec = ddl->landing->options->compression;
	const ObCopyOptions *copy = ddl->copy;
	char *url = url_of(ddl);

	check_options(ddl);
	appendStringInfoString(ddl->out, "CREATE TABLE ");
	put_name(ddl->out, ddl->landing->name);
	appendStringInfoString(ddl->out, " (\n");
	ob_ddl_columns(ddl, &ob_quoting_c);
	appendStringInfoString(ddl->out, ")\nENGINE = S3(");
	ob_ddl_literal(ddl->out, &ob_quoting_c, url);
	appendStringInfo(ddl->out,
					 ", '%s', '%s')\nSETTINGS\n    "
					 "date_time_input_format = 'best_effort'",
					 format_of(ddl),
					 ddl->format == OB_FORMAT_PARQUET ? "none" : codec);
	if (ddl->format == OB_FORMAT_CSV)
	{
		put_setting(ddl, "format_csv_delimiter", ob_ddl_char(copy->delimiter));
		put_setting(ddl, "format_csv_null_representation", copy->null_text);
		appendStringInfoString(ddl->out,
							   ",\n    input_format_csv_trim_whitespaces = 0");
	}
	if (ddl->format == OB_FORMAT_TEXT)
		put_setting(ddl, "format_tsv_null_representation", copy->null_text);
	appendStringInfoString(ddl->out, ";\n");
}

const ObDialect ob_dialect_clickhouse = {
	.name = "clickhouse",
	.engine = "ClickHouse",
	.csv = &texts,
	.text = &texts,
	.json = &texts,
	.parquet = &parquet,
	.codecs = "none gzip zstd lz4",
	.parquet_codecs = "none snappy gzip zstd lz4",
	.delta = true,
	.blank_lines = true,
	.scale_max = 38,
	.write = write_table,
};
