/*
 * event.c
 *		The event of an invocation, read strictly.
 *
 * src/lambda/base/event.c
 */
#include "lambda/base/event.h"

#include <ctype.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* PostgreSQL's names have up to 63 bytes each, and may be qualified. */
#define NAME_MAX_LEN 200

/* ---- UUIDs ---- */

static bool
is_uuid(const char *text)
{
	if (strlen(text) != OBL_UUID - 1)
		return false;
	for (int i = 0; text[i]; i++)
	{
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !isxdigit((unsigned char) text[i]))
			return false;
	}
	return true;
}

static void
copy_uuid(char *to, const char *text)
{
	for (int i = 0; i < OBL_UUID; i++)
		to[i] = (char) tolower((unsigned char) text[i]);
}

/* RFC 9562, section 5.5; the namespace is our own. */
static void
uuid5(const char *first, const char *second, char *out)
{
	static const unsigned char space[16] = {0x6f, 0x6e, 0x62, 0x6f, 0x61, 0x72,
											0x64, 0x4c, 0x8d, 0x61, 0x6d, 0x62,
											0x64, 0x61, 0x2d, 0x31};
	unsigned char hash[EVP_MAX_MD_SIZE] = {0};
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (context && EVP_DigestInit_ex(context, EVP_sha1(), NULL) &&
		EVP_DigestUpdate(context, space, sizeof(space)) &&
		EVP_DigestUpdate(context, first, strlen(first) + 1) &&
		EVP_DigestUpdate(context, second, strlen(second)))
		EVP_DigestFinal_ex(context, hash, NULL);
	EVP_MD_CTX_free(context);
	hash[6] = (hash[6] & 0x0f) | 0x50;
	hash[8] = (hash[8] & 0x3f) | 0x80;
	for (int i = 0, n = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			out[n++] = '-';
		n += snprintf(out + n, OBL_UUID - n, "%02x", hash[i]);
	}
}

void
obl_uuid5(const char *run_id, const char *name, char *out)
{
	uuid5(run_id, name, out);
}

/* Makes a run id of the request id, which is a UUID in Lambda, but need not be
 * in tests and other runtimes. */
static void
run_of_request(OblEvent *event, const char *request_id)
{
	if (is_uuid(request_id))
		copy_uuid(event->run_id, request_id);
	else
		uuid5("request", request_id, event->run_id);
}

/* ---- reading ---- */

static ObCode
refuse(ObError *error, const char *why)
{
	ob_error_what(error, "could not read the event");
	return ob_error_set(error, OB_EINVAL, "%s", why);
}

static const char *
text_of(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* Reads the event of an EventBridge rule, whose id stays the same when it is
 * delivered again. */
static ObCode
read_scheduled(OblEvent *event, const json_t *root, ObError *error)
{
	const char *source = text_of(root, "source");
	const char *id = text_of(root, "id");

	if (json_object_get(root, "onboard"))
		return refuse(error, "it is both a scheduled event and \"onboard\"");
	if (!source || strcmp(source, "aws.events") != 0)
		return refuse(error, "a scheduled event's source must be aws.events");
	if (!id || !is_uuid(id))
		return refuse(error, "a scheduled event's id must be a UUID");
	event->action = OBL_ACTION_RUN;
	copy_uuid(event->run_id, id);
	return OB_OK;
}

static ObCode
read_tables(OblEvent *event, const json_t *tables, ObError *error)
{
	size_t n = json_array_size(tables);

	if (!tables)
		return OB_OK;
	if (!json_is_array(tables) || n == 0 || n > OBL_TABLES_MAX)
		return refuse(error, "tables must be an array of names");
	event->tables = calloc(n, sizeof(char *));
	if (!event->tables)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
	{
		const json_t *item = json_array_get(tables, i);
		const char *name = json_string_value(item);

		if (!name || !name[0] || json_string_length(item) != strlen(name) ||
			strlen(name) > NAME_MAX_LEN)
			return refuse(error, "tables must be an array of names");
		for (size_t j = 0; j < i; j++)
		{
			if (strcmp(event->tables[j], name) == 0)
				return refuse(error, "a table is named twice");
		}
		event->tables[i] = strdup(name);
		if (!event->tables[i])
			return ob_error_set(error, OB_ENOMEM, "out of memory");
		event->ntables++;
	}
	return OB_OK;
}

static ObCode
read_run_id(OblEvent *event, const json_t *request, const char *request_id,
			ObError *error)
{
	const char *run_id = text_of(request, "run_id");
	const char *arn = text_of(request, "schedule_arn");
	const char *time = text_of(request, "scheduled_time");
	bool scheduled = json_object_get(request, "schedule_arn") ||
					 json_object_get(request, "scheduled_time");

	if (scheduled && (!arn || !time || !arn[0] || !time[0]))
		return refuse(error,
					  "schedule_arn and scheduled_time must be strings, "
					  "and given together");

	if (json_object_get(request, "run_id"))
	{
		if (!run_id || !is_uuid(run_id))
			return refuse(error, "run_id must be a UUID");
		copy_uuid(event->run_id, run_id);
	}
	else if (scheduled)
		uuid5(arn, time, event->run_id);
	else
		run_of_request(event, request_id);
	return OB_OK;
}

static ObCode
check_keys(const json_t *request, ObError *error)
{
	static const char *const known[] = {"action",       "run_id",
										"tables",       "depth",
										"schedule_arn", "scheduled_time"};
	const char *key;
	json_t *value;

	json_object_foreach((json_t *) request, key, value)
	{
		bool found = false;

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			found = found || strcmp(key, known[i]) == 0;
		if (!found)
			return refuse(error, "\"onboard\" has an unknown key");
	}
	return OB_OK;
}

static ObCode
read_action(OblEvent *event, const json_t *request, ObError *error)
{
	const char *action = text_of(request, "action");
	const json_t *depth = json_object_get(request, "depth");
	json_int_t number = json_integer_value(depth);

	if (action && strcmp(action, "run") == 0)
		event->action = OBL_ACTION_RUN;
	else if (action && strcmp(action, "table") == 0)
		event->action = OBL_ACTION_TABLE;
	else if (action && strcmp(action, "status") == 0)
		event->action = OBL_ACTION_STATUS;
	else
		return refuse(error, "action must be run, table or status");
	if (depth && !json_is_integer(depth))
		return refuse(error, "depth must be a number");
	if (number < 0 || number > OBL_DEPTH_MAX)
		return refuse(error, "depth is out of range");
	event->depth = (int) number;
	if (event->action == OBL_ACTION_TABLE)
	{
		event->depth = OBL_DEPTH_MAX;
		if (!json_object_get(request, "tables"))
			return refuse(error, "action table requires tables");
	}
	else if (event->depth > 0)
		return refuse(error, "depth requires action table");
	if (event->action != OBL_ACTION_RUN && !json_object_get(request, "run_id"))
		return refuse(error, "this action requires a run_id");
	return OB_OK;
}

static ObCode
read_request(OblEvent *event, const json_t *root, const char *request_id,
			 ObError *error)
{
	const json_t *request = json_object_get(root, "onboard");

	if (!json_is_object(request) || json_object_size(root) != 1)
		return refuse(error,
					  "it is neither a scheduled event of EventBridge nor "
					  "{\"onboard\": {...}}");
	if (check_keys(request, error) != OB_OK ||
		read_action(event, request, error) != OB_OK ||
		read_run_id(event, request, request_id, error) != OB_OK)
		return error->code;
	return read_tables(event, json_object_get(request, "tables"), error);
}

ObCode
obl_event_read(OblEvent *event, const char *text, size_t len,
			   const char *request_id, ObError *error)
{
	json_error_t where;
	json_t *root;
	const char *type;
	ObCode code;

	memset(event, 0, sizeof(*event));
	if (len > OBL_EVENT_MAX)
		return refuse(error, "it is larger than 1 MiB");
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	if (!root)
		return refuse(error, "it is not JSON");
	type = text_of(root, "detail-type");
	if (type && strcmp(type, "Scheduled Event") == 0)
		code = read_scheduled(event, root, error);
	else
		code = read_request(event, root, request_id, error);
	json_decref(root);
	if (code != OB_OK)
		obl_event_free(event);
	return code;
}

void
obl_event_free(OblEvent *event)
{
	for (int i = 0; i < event->ntables; i++)
		free(event->tables[i]);
	free(event->tables);
	memset(event, 0, sizeof(*event));
}

char *
obl_event_child(const char *run_id, char *const *tables, int ntables,
				int depth)
{
	json_t *names = json_array();
	json_t *root;
	char *text;

	for (int i = 0; i < ntables; i++)
		json_array_append_new(names, json_string(tables[i]));
	root = json_pack("{s:{s:s, s:s, s:i, s:o}}", "onboard", "action", "table",
					 "run_id", run_id, "depth", depth, "tables", names);
	if (!root)
		return NULL;
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}
