/*
 * manifest.c
 *		The manifest of a run: a list of its objects, for their readers.
 *
 * src/pg/export/manifest.c
 *
 * Of a failure it only has the SQLSTATE: messages may quote data, which not
 * every reader of the bucket may see.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "core/base/hash.h"
#include "pg/base/json_writer.h"
#include "pg/config/key.h"
#include "pg/export/manifest.h"
#include "pg/store/put_object.h"

#define VERSION 1

/* What formats say of their objects, before the document is laid out: of all
 * tables, of one, and the least that is of use.  The shares of the tables are
 * equal, since their exporting processes do not know of one another. */
#define SUMMARY_RUN_MAX ((Size) 16 * 1024 * 1024)
#define SUMMARY_MAX ((Size) 1024 * 1024)
#define SUMMARY_MIN ((Size) 1024)

/* A time that is not known is 0. */
static void
put_time(StringInfo json, const char *key, TimestampTz time)
{
	if (time != 0)
		ob_json_put_time(json, key, time, true);
	else
		ob_json_put_text(json, key, NULL);
}

/* ---- a table ---- */

static void
add_watermark(StringInfo json, const ObWatermark *mark)
{
	ob_json_open(json, "watermark", '{');
	ob_json_put_text(json, "column", mark->column);
	ob_json_put_text(json, "type", mark->type);
	ob_json_put_text(json, "above", mark->inclusive ? NULL : mark->from);
	ob_json_put_text(json, "from", mark->inclusive ? mark->from : NULL);
	ob_json_put_text(json, "up_to", mark->to);
	ob_json_close(json, '}');
}

Size
ob_manifest_share(int tables)
{
	Size share = Min(SUMMARY_MAX, SUMMARY_RUN_MAX / Max(tables, 1));

	return share < SUMMARY_MIN ? 0 : share;
}

char *
ob_manifest_details(const ObTableExport *task, const char *schema,
					const ObExportResult *result)
{
	StringInfoData json;
	char crc32[OB_CRC32_TEXT];

	ob_crc32_text(result->object.crc32, crc32);
	initStringInfo(&json);
	ob_json_open(&json, NULL, '{');
	ob_json_put_text(&json, "crc32",
					 result->figures.files == 0 ? NULL : crc32);
	ob_json_put_members(&json, schema);
	if (task->watermark)
		add_watermark(&json, task->watermark);
	if (result->summary)
		ob_json_put_members(&json, result->summary);
	ob_json_close(&json, '}');
	return json.data;
}

/* Adds what exists of the object of a table that failed. */
static void
add_object(StringInfo json, ObFate fate)
{
	switch (fate)
	{
		case OB_FATE_NONE:
			break;
		case OB_FATE_EARLIER:
			ob_json_put_text(json, "object", "earlier");
			break;
		case OB_FATE_UNKNOWN:
			ob_json_put_text(json, "object", "unknown");
			break;
		case OB_FATE_WRITTEN:
			ob_json_put_text(json, "object", "written");
			break;
	}
}

static void
add_table(StringInfo json, const ObTableExport *task)
{
	const ObHistoryRow *row = &task->row;

	ob_json_open(json, NULL, '{');
	ob_json_put_text(json, "name", row->name);
	ob_json_put_text(json, "status", row->status);
	ob_json_put_text(json, "uri", row->uri);
	ob_json_put_number(json, "rows", row->figures.rows);
	ob_json_put_number(json, "bytes", row->figures.bytes);
	put_time(json, "started", row->started);
	put_time(json, "ended", row->ended);
	if (row->error)
	{
		ob_json_put_text(json, "sqlstate", unpack_sql_state(row->sqlstate));
		add_object(json, task->fate);
	}
	if (task->details)
		ob_json_put_members(json, task->details);
	ob_json_close(json, '}');
}

/* ---- the run ---- */

char *
ob_manifest_run_text(const pg_uuid_t *run_id)
{
	return DatumGetCString(
		DirectFunctionCall1(uuid_out, UUIDPGetDatum(run_id)));
}

static void
add_origin(StringInfo json)
{
	ob_json_put_text(json, "database", get_database_name(MyDatabaseId));
	ob_json_put_text(json, "role", GetUserNameFromId(GetUserId(), false));
	/* a number of 64 bits is too long for some readers of JSON */
	ob_json_put_text(json, "system_identifier",
					 psprintf(UINT64_FORMAT, GetSystemIdentifier()));
	ob_json_put_text(json, "postgresql",
					 GetConfigOption("server_version", false, false));
	ob_json_put_text(json, "onboard", ONBOARD_VERSION);
}

/* The LSN is the same for all tables that have one. */
static void
add_lsn(StringInfo json, const ObTableExport *const *tasks, int n)
{
	XLogRecPtr lsn = 0;

	for (int i = 0; i < n && lsn == 0; i++)
		lsn = tasks[i]->row.lsn;
	ob_json_put_text(json, "lsn",
					 lsn == 0 ? NULL
							  : DatumGetCString(DirectFunctionCall1(
									pg_lsn_out, LSNGetDatum(lsn))));
}

static char *
build(const ObManifest *manifest, const ObTableExport *const *tasks, int n)
{
	StringInfoData json;

	initStringInfo(&json);
	ob_json_open(&json, NULL, '{');
	ob_json_put_number(&json, "version", VERSION);
	ob_json_put_uuid(&json, "run_id", &manifest->run_id);
	ob_json_put_bool(&json, "success", manifest->success);
	ob_json_put_text(&json, "publish",
					 manifest->together ? "together" : "each");
	put_time(&json, "started", manifest->started);
	put_time(&json, "ended", GetCurrentTimestamp());
	add_origin(&json);
	add_lsn(&json, tasks, n);
	ob_json_open(&json, "tables", '[');
	for (int i = 0; i < n; i++)
		add_table(&json, tasks[i]);
	ob_json_close(&json, ']');
	ob_json_close(&json, '}');
	return json.data;
}

/* The key is in UTF-8, as all keys are. */
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

/* Whether the store has an object of the run, and so was available.  If it was
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
	text = ob_json_lay_out(build(manifest, tasks, n));
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
