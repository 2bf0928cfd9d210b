/*
 * schema_file.c
 *		The file _schema.json, beside an object.
 *
 * src/pg/export/schema_file.c
 *
 * What it says comes from the details that the exporting process has made: the
 * process that publishes several objects together may be another one.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "core/text/uri.h"
#include "pg/base/json_writer.h"
#include "pg/export/schema_file.h"
#include "pg/store/put_object.h"

#define FILE_NAME "_schema.json"
#define VERSION 1

char *
ob_schema_file_key(const ObExportSpec *export)
{
	const char *slash = strrchr(export->key, '/');
	int directory = slash ? (int) (slash + 1 - export->key) : 0;

	return psprintf("%.*s" FILE_NAME, directory, export->key);
}

void
ob_schema_file_check(const ObExportSpec *export)
{
	const char *key = ob_schema_file_key(export);

	if (strcmp(key, export->key) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the key is that of the object's schema"),
				 errhint("Choose another name than \"%s\" in option \"key\", "
						 "or leave out option \"schema\".",
						 FILE_NAME)));
	if (strlen(key) > OB_KEY_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the key of the object's schema has %zu bytes, more "
						"than the %d that S3 allows",
						strlen(key), OB_KEY_MAX),
				 errhint("Shorten option \"key\", or leave out option "
						 "\"schema\".")));
}

/* The value of a member of the details, as JSON. */
static char *
member_of(Datum details, const char *name)
{
	return text_to_cstring(DatumGetTextPP(DirectFunctionCall2(
		jsonb_object_field_text, details, CStringGetTextDatum(name))));
}

static char *
document_of(const ObTableExport *task, const char *text)
{
	Datum details = DirectFunctionCall1(
		jsonb_in, CStringGetDatum(unconstify(char *, text)));
	StringInfoData json;

	initStringInfo(&json);
	ob_json_open(&json, NULL, '{');
	ob_json_put_number(&json, "version", VERSION);
	ob_json_put_text(&json, "name", task->row.name);
	ob_json_put_members(&json, psprintf("{\"format\":%s,\"columns\":%s}",
										member_of(details, "format"),
										member_of(details, "columns")));
	ob_json_close(&json, '}');
	return ob_json_lay_out(json.data);
}

static void
say_table(void *arg)
{
	errcontext("writing the schema of \"%s\", whose object is visible",
			   (const char *) arg);
}

void
ob_schema_file_write(const ObTableExport *task, const char *details)
{
	const ObExportSpec *export = &task->export;
	ErrorContextCallback context = {error_context_stack, say_table,
									unconstify(char *, export->name)};
	const char *text;

	error_context_stack = &context;
	if (!details)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	/* the export may have taken hours */
	ob_server_renew_keys(export->server);
	text = document_of(task, details);
	ob_put_object(&(ObSmallObject){
		.server = export->server,
		.bucket = export->bucket,
		.key = ob_schema_file_key(export),
		.content_type = "application/json",
		.data = text,
		.len = strlen(text),
		.options = export->options,
		.served = true,
	});
	error_context_stack = context.previous;
}
