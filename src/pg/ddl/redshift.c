/*
 * redshift.c
 *		Redshift: a table, and the COPY that loads it.
 *
 * src/pg/ddl/redshift.c
 *
 * Redshift Spectrum, which reads the objects where they are, is in hive.c.
 */
#include "postgres.h"

#include "pg/ddl/ddl_intern.h"

#define COMMON_NAMES                                                  \
	[OB_TYPE_BOOL] = "BOOLEAN", [OB_TYPE_INT2] = "SMALLINT",          \
	[OB_TYPE_INT4] = "INTEGER", [OB_TYPE_INT8] = "BIGINT",            \
	[OB_TYPE_FLOAT4] = "REAL", [OB_TYPE_FLOAT8] = "DOUBLE PRECISION", \
	[OB_TYPE_DECIMAL] = "DECIMAL", [OB_TYPE_TEXT] = "VARCHAR(65535)", \
	[OB_TYPE_JSON] = "VARCHAR(65535)", [OB_TYPE_DATE] = "DATE",       \
	[OB_TYPE_TIMESTAMP] = "TIMESTAMP"

/* Lists and structs become SUPER by SERIALIZETOJSON. */
static const ObTypeNames parquet = {
	.names = {COMMON_NAMES, [OB_TYPE_TIMESTAMPTZ] = "TIMESTAMPTZ",
			  [OB_TYPE_BYTES] = "VARBYTE(1024000)",
			  [OB_TYPE_LIST... OB_TYPE_MAP] = "SUPER"},
};

static const ObTypeNames texts = {
	.names = {COMMON_NAMES, [OB_TYPE_TIMESTAMPTZ] = "TIMESTAMPTZ",
			  [OB_TYPE_TIME] = "TIME", [OB_TYPE_UUID] = "VARCHAR(36)",
			  [OB_TYPE_NUMERIC] = "VARCHAR(65535)",
			  [OB_TYPE_LIST... OB_TYPE_MAP] = "SUPER"},
};

static void
put_csv(ObDdl *ddl)
{
	const ObCopyOptions *copy = ddl->copy;

	ob_ddl_require_doubled_quotes(ddl);
	ob_ddl_require_null(ddl);
	appendStringInfoString(ddl->out, "FORMAT AS CSV\nQUOTE AS ");
	ob_ddl_literal(ddl->out, &ob_quoting_redshift, ob_ddl_char(copy->quote));
	appendStringInfoString(ddl->out, "\nDELIMITER AS ");
	ob_ddl_literal(ddl->out, &ob_quoting_redshift,
				   ob_ddl_char(copy->delimiter));
	appendStringInfoString(ddl->out, "\nNULL AS ");
	ob_ddl_literal(ddl->out, &ob_quoting_redshift, copy->null_text);
	if (copy->header)
		appendStringInfoString(ddl->out, "\nIGNOREHEADER AS 1");
}

static void
put_format(ObDdl *ddl)
{
	const char *codec = ddl->landing->options->compression;
	bool nested = false;

	if (ddl->format == OB_FORMAT_PARQUET)
	{
		for (int i = 0; i < ddl->ncolumns; i++)
			nested = nested || ddl->columns[i].nchildren > 0;
		appendStringInfo(ddl->out, "FORMAT AS PARQUET%s",
						 nested ? " SERIALIZETOJSON" : "");
		return;
	}
	if (ddl->format == OB_FORMAT_CSV)
		put_csv(ddl);
	else
		appendStringInfoString(ddl->out, "FORMAT AS JSON 'auto ignorecase'");
	appendStringInfoString(ddl->out,
						   "\nDATEFORMAT AS 'auto'\nTIMEFORMAT AS 'auto'");
	if (strcmp(codec, "gzip") == 0)
		appendStringInfoString(ddl->out, "\nGZIP");
	if (strcmp(codec, "zstd") == 0)
		appendStringInfoString(ddl->out, "\nZSTD");
}

static void
write_copy(ObDdl *ddl)
{
	const char *directory = ob_ddl_directory(ddl, "s3");
	char *head;
	char *tail;
	bool fields;

	ob_ddl_file_ends(ddl, &head, &tail, &fields);
	if (*head == '\0' && ddl->landing->options->schema)
		ob_ddl_refuse(ddl,
					  "It loads all objects whose keys begin alike, "
					  "_schema.json among them.",
					  "Begin the part of option \"key\" after its last slash "
					  "with {name}, or leave out option \"schema\".");
	appendStringInfoString(ddl->out, "CREATE TABLE ");
	ob_ddl_identifier(ddl->out, &ob_quoting_redshift, ddl->landing->name);
	appendStringInfoString(ddl->out, " (\n");
	ob_ddl_columns(ddl, &ob_quoting_redshift);
	appendStringInfoString(ddl->out, ");\nCOPY ");
	ob_ddl_identifier(ddl->out, &ob_quoting_redshift, ddl->landing->name);
	appendStringInfoString(ddl->out, "\nFROM ");
	ob_ddl_literal(ddl->out, &ob_quoting_redshift,
				   psprintf("%s%s", directory, head));
	appendStringInfoString(ddl->out, "\nIAM_ROLE default\n");
	put_format(ddl);
	appendStringInfoString(ddl->out, ";\n");
}

const ObDialect ob_dialect_redshift = {
	.name = "redshift",
	.engine = "Redshift",
	.csv = &texts,
	.json = &texts,
	.parquet = &parquet,
	.codecs = "none gzip zstd",
	.parquet_codecs = "none snappy gzip zstd",
	.folds = true,
	.by_line = true,
	.rounds_json = true,
	.scale_max = 37,
	.write = write_copy,
};
