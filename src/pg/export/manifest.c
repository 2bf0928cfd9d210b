/*
 * manifest.c
 *		What a run has landed, for those who read it.
 *
 * src/pg/export/manifest.c
 *
 * A failure's message is not in it, only its SQLSTATE: messages may quote
 * data, and who reads the bucket need not be allowed to see that.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "core/base/hash.h"
#include "pg/base/compat.h"
#include "pg/config/key.h"
#include "pg/export/manifest.h"
#include "pg/store/put_object.h"

#define VERSION 1

typedef ObJsonb Json;

/* ---- building it ---- */

static void
push(Json *json, JsonbIteratorToken token)
{
	ob_jsonb_push(json, token, NULL);
}

static void
add_key(Json *json, const char *key)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	ob_jsonb_push(json, WJB_KEY, &value);
}

static void
add_value(Json *json, const char *key, JsonbValue *value)
{
	add_key(json, key);
	ob_jsonb_push(json, WJB_VALUE, value);
}

/* NULL is JSON's null. */
static void
add_text(Json *json, const char *key, const char *text)
{
	JsonbValue value = {.type = text ? jbvString : jbvNull};

	if (text)
	{
		/* it is looked at only in the end */
		value.val.string.val = pstrdup(text);
		value.val.string.len = strlen(text);
	}
	add_value(json, key, &value);
}

static void
add_char(Json *json, const char *key, char c)
{
	add_text(json, key, psprintf("%c", c));
}

static void
add_bool(Json *json, const char *key, bool is)
{
	JsonbValue value = {.type = jbvBool};

	value.val.boolean = is;
	add_value(json, key, &value);
}

static void
add_number(Json *json, const char *key, uint64 number)
{
	JsonbValue value = {.type = jbvNumeric};

	value.val.numeric = DatumGetNumeric(
		DirectFunctionCall1(int8_numeric, Int64GetDatum((int64) number)));
	add_value(json, key, &value);
}

static void
add_time(Json *json, const char *key, TimestampTz time)
{
	char text[MAXDATELEN + 1];
	int utc = 0;

	if (time != 0)
		JsonEncodeDateTime(text, TimestampTzGetDatum(time), TIMESTAMPTZOID,
						   &utc);
	add_text(json, key, time != 0 ? text : NULL);
}

/* All pairs of another object. */
static void
add_all(Json *json, Jsonb *other)
{
	JsonbIterator *it = JsonbIteratorInit(&other->root);
	JsonbIteratorToken token;
	JsonbValue item;

	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY || token == WJB_VALUE)
			ob_jsonb_push(json, token, &item);
	}
}

static Jsonb *
end_object(Json *json)
{
	push(json, WJB_END_OBJECT);
	return JsonbValueToJsonb(json->result);
}

/* ---- a table ---- */

static void
add_columns(Json *json, TupleDesc desc)
{
	add_key(json, "columns");
	push(json, WJB_BEGIN_ARRAY);
	for (int i = 0; i < desc->natts; i++)
	{
		const FormData_pg_attribute *attribute = TupleDescAttr(desc, i);

		push(json, WJB_BEGIN_OBJECT);
		add_text(json, "name", NameStr(attribute->attname));
		add_text(json, "type",
				 format_type_with_typemod(attribute->atttypid,
										  attribute->atttypmod));
		push(json, WJB_END_OBJECT);
	}
	push(json, WJB_END_ARRAY);
}

static void
add_format(Json *json, const ObOptions *options)
{
	const ObCopyOptions *copy = &options->copy;
	ObFormatKind kind = copy->format->kind;

	add_key(json, "format");
	push(json, WJB_BEGIN_OBJECT);
	add_text(json, "name", copy->format->name);
	add_text(json, "compression", options->codec->name);
	if (kind != OB_FORMAT_BINARY)
		add_text(json, "encoding", pg_encoding_to_char(copy->encoding));
	if (kind == OB_FORMAT_CSV || kind == OB_FORMAT_TEXT)
	{
		add_bool(json, "header", copy->header);
		add_char(json, "delimiter", copy->delimiter);
		add_text(json, "null", copy->null_text);
	}
	if (kind == OB_FORMAT_CSV)
	{
		add_char(json, "quote", copy->quote);
		add_char(json, "escape", copy->escape);
	}
	push(json, WJB_END_OBJECT);
}

static void
add_watermark(Json *json, const ObWatermark *mark)
{
	add_key(json, "watermark");
	push(json, WJB_BEGIN_OBJECT);
	add_text(json, "column", mark->column);
	add_text(json, "type", mark->type);
	add_text(json, "above", mark->inclusive ? NULL : mark->from);
	add_text(json, "from", mark->inclusive ? mark->from : NULL);
	add_text(json, "up_to", mark->to);
	push(json, WJB_END_OBJECT);
}

Jsonb *
ob_manifest_details(const ObTableExport *task, TupleDesc columns,
					const ObExportResult *result)
{
	Json json = {NULL};
	char crc32[OB_CRC32_TEXT];

	ob_crc32_text(result->crc32, crc32);
	push(&json, WJB_BEGIN_OBJECT);
	add_text(&json, "crc32", result->figures.files == 0 ? NULL : crc32);
	add_format(&json, task->export.options);
	add_columns(&json, columns);
	if (task->watermark)
		add_watermark(&json, task->watermark);
	return end_object(&json);
}

/* What there is of the object of a table that failed. */
static void
add_object(Json *json, ObFate fate)
{
	switch (fate)
	{
		case OB_FATE_NONE:
			break;
		case OB_FATE_EARLIER:
			add_text(json, "object", "earlier");
			break;
		case OB_FATE_UNKNOWN:
			add_text(json, "object", "unknown");
			break;
		case OB_FATE_WRITTEN:
			add_text(json, "object", "written");
			break;
	}
}

static void
add_table(Json *json, const ObTableExport *task)
{
	const ObHistoryRow *row = &task->row;

	push(json, WJB_BEGIN_OBJECT);
	add_text(json, "name", row->name);
	add_text(json, "status", row->status);
	add_text(json, "uri", row->uri);
	add_number(json, "rows", row->figures.rows);
	add_number(json, "bytes", row->figures.bytes);
	add_time(json, "started", row->started);
	add_time(json, "ended", row->ended);
	if (row->error)
	{
		add_text(json, "sqlstate", unpack_sql_state(row->sqlstate));
		add_object(json, task->fate);
	}
	if (task->details)
		add_all(json, task->details);
	push(json, WJB_END_OBJECT);
}

/* ---- the run ---- */

char *
ob_manifest_run_text(const pg_uuid_t *run_id)
{
	return DatumGetCString(
		DirectFunctionCall1(uuid_out, UUIDPGetDatum(run_id)));
}

static void
add_origin(Json *json)
{
	add_text(json, "database", get_database_name(MyDatabaseId));
	add_text(json, "role", GetUserNameFromId(GetUserId(), false));
	/* a number of 64 bits is too long for some readers of JSON */
	add_text(json, "system_identifier",
			 psprintf(UINT64_FORMAT, GetSystemIdentifier()));
	add_text(json, "postgresql",
			 GetConfigOption("server_version", false, false));
	add_text(json, "onboard", ONBOARD_VERSION);
}

/* The LSN is the same for all tables that have one. */
static void
add_lsn(Json *json, const ObTableExport *const *tasks, int n)
{
	XLogRecPtr lsn = 0;

	for (int i = 0; i < n && lsn == 0; i++)
		lsn = tasks[i]->row.lsn;
	add_text(json, "lsn",
			 lsn == 0 ? NULL
					  : DatumGetCString(DirectFunctionCall1(
							pg_lsn_out, LSNGetDatum(lsn))));
}

static Jsonb *
build(const ObManifest *manifest, const ObTableExport *const *tasks, int n)
{
	Json json = {NULL};

	push(&json, WJB_BEGIN_OBJECT);
	add_number(&json, "version", VERSION);
	add_text(&json, "run_id", ob_manifest_run_text(&manifest->run_id));
	add_bool(&json, "success", manifest->success);
	add_text(&json, "publish", manifest->together ? "together" : "each");
	add_time(&json, "started", manifest->started);
	add_time(&json, "ended", GetCurrentTimestamp());
	add_origin(&json);
	add_lsn(&json, tasks, n);
	add_key(&json, "tables");
	push(&json, WJB_BEGIN_ARRAY);
	for (int i = 0; i < n; i++)
		add_table(&json, tasks[i]);
	push(&json, WJB_END_ARRAY);
	return end_object(&json);
}

/* UTF-8, as keys are. */
char *
ob_manifest_key(const ObExportSpec *where, const char *file)
{
	char *key = psprintf("%s" OB_KEY_OWN_FOLDER "%s/%s", where->server->prefix,
						 ob_manifest_run_text(&where->run_id), file);

	return pg_server_to_any(key, strlen(key), PG_UTF8);
}

static void
say_run(void *arg)
{
	errcontext("writing the manifest of run %s, whose objects are visible",
			   (const char *) arg);
}

/* Whether the store has an object of the run, and so was there.  If it was
 * away from the beginning, it is not waited for once more. */
static bool
was_served(const ObTableExport *const *tasks, int n)
{
	for (int i = 0; i < n; i++)
		if (!tasks[i]->landed && tasks[i]->row.figures.files > 0)
			return true;
	return false;
}

static void
put_file(const ObManifest *manifest, const char *file, const char *type,
		 const char *data, bool served)
{
	const ObExportSpec *where = manifest->where;

	ob_put_object(&(ObSmallObject){
		.server = where->server,
		.bucket = where->bucket,
		.key = ob_manifest_key(where, file),
		.content_type = type,
		.data = data,
		.len = strlen(data),
		.options = where->options,
		.served = served,
	});
}

void
ob_manifest_write(const ObManifest *manifest,
				  const ObTableExport *const *tasks, int n)
{
	ErrorContextCallback context = {error_context_stack, say_run,
									ob_manifest_run_text(&manifest->run_id)};
	char *text;

	error_context_stack = &context;
	ob_server_renew_keys(manifest->where->server);
	text = JsonbToCStringIndent(NULL, &build(manifest, tasks, n)->root, 0);
	text = psprintf("%s\n", text);
	text = pg_server_to_any(text, strlen(text), PG_UTF8);
	put_file(manifest, OB_MANIFEST_FILE, "application/json", text,
			 was_served(tasks, n));
	if (manifest->success)
		put_file(manifest, OB_SUCCESS_FILE, "application/octet-stream", "",
				 true);
	error_context_stack = context.previous;
}

void
ob_manifest_write_one(const ObTableExport *task)
{
	const ObManifest manifest = {
		.run_id = task->row.run_id,
		.started = task->row.started,
		.success = true,
		.where = &task->export,
	};

	ob_manifest_write(&manifest, &task, 1);
}
