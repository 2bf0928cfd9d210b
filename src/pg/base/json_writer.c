/*
 * json_writer.c
 *		JSON of our own: notifications and manifests.
 *
 * src/pg/base/json_writer.c
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "pg/base/json_writer.h"

/* Writes the comma and the key before a value.  No value ends like the
 * beginning of an object or array, not even a text, which ends with its quote.
 */
static void
put_key(StringInfo json, const char *key)
{
	char last = json->len > 0 ? json->data[json->len - 1] : '{';

	if (last != '{' && last != '[')
		appendStringInfoChar(json, ',');
	if (!key)
		return;
	escape_json(json, key);
	appendStringInfoChar(json, ':');
}

void
ob_json_open(StringInfo json, const char *key, char bracket)
{
	put_key(json, key);
	appendStringInfoChar(json, bracket);
}

void
ob_json_close(StringInfo json, char bracket)
{
	appendStringInfoChar(json, bracket);
}

void
ob_json_put_text(StringInfo json, const char *key, const char *text)
{
	put_key(json, key);
	if (text)
		escape_json(json, text);
	else
		appendStringInfoString(json, "null");
}

void
ob_json_put_bool(StringInfo json, const char *key, bool value)
{
	put_key(json, key);
	appendStringInfoString(json, value ? "true" : "false");
}

void
ob_json_put_number(StringInfo json, const char *key, uint64 number)
{
	put_key(json, key);
	appendStringInfo(json, UINT64_FORMAT, number);
}

void
ob_json_put_uuid(StringInfo json, const char *key, const pg_uuid_t *uuid)
{
	ob_json_put_text(
		json, key,
		DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid))));
}

void
ob_json_put_time(StringInfo json, const char *key, TimestampTz time, bool utc)
{
	char text[MAXDATELEN + 1];
	int offset = 0;

	JsonEncodeDateTime(text, TimestampTzGetDatum(time), TIMESTAMPTZOID,
					   utc ? &offset : NULL);
	ob_json_put_text(json, key, text);
}

void
ob_json_put_members(StringInfo json, const char *object)
{
	int len = (int) strlen(object) - 2; /* length without its brackets */

	if (len <= 0)
		return;
	put_key(json, NULL);
	appendBinaryStringInfo(json, object + 1, len);
}

char *
ob_json_lay_out(char *json)
{
	Jsonb *document =
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
	char *text =
		psprintf("%s\n", JsonbToCStringIndent(NULL, &document->root, 0));

	return pg_server_to_any(text, strlen(text), PG_UTF8);
}
