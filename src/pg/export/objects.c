/*
 * objects.c
 *		What the history says of the objects of an export.
 *
 * src/pg/export/objects.c
 */
#include "postgres.h"

#include "core/base/hash.h"
#include "pg/base/json_writer.h"
#include "pg/export/objects.h"

static void
add_description(StringInfo json, const ObUploadObject *object, uint64 rows)
{
	char crc32[OB_CRC32_TEXT];

	ob_json_put_number(json, "bytes", object->bytes);
	ob_json_put_number(json, "rows", rows);
	if (object->etag[0] != '\0')
		ob_json_put_text(json, "etag", object->etag);
	ob_crc32_text(object->crc32, crc32);
	ob_json_put_text(json, "crc32", crc32);
}

char *
ob_objects_text(const char *uri, const ObUploadObject *object, uint64 rows)
{
	StringInfoData json;

	initStringInfo(&json);
	ob_json_open(&json, NULL, '[');
	ob_json_open(&json, NULL, '{');
	ob_json_put_text(&json, "uri", uri);
	if (object)
		add_description(&json, object, rows);
	ob_json_close(&json, '}');
	ob_json_close(&json, ']');
	return json.data;
}
