/*
 * fuzz_json.c
 *		Responses of metadata services, and manifests.
 *
 * test/fuzz/fuzz_json.c
 */
#include "fuzz.h"

#include "core/text/json.h"
#include "core/text/timestamp.h"

static bool
found(void *arg, const char *name)
{
	promise(strlen(name) < *(size_t *) arg);
	return true;
}

static void
read_list(const char *text, size_t size)
{
	ObJsonList list = {
		.flag = "success",
		.list = "tables",
		.name = "name",
		.found = found,
		.arg = &size,
	};
	ObError error;

	ob_error_clear(&error);
	fuzz_check_error(ob_json_read_list(text, size, &list, &error), &error);
	promise(list.has_flag || !list.flag_value);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ObJsonField fields[] = {{.name = "AccessKeyId"},
							{.name = "SecretAccessKey"},
							{.name = "Token"},
							{.name = "Expiration"},
							{.name = ""}};
	int n = sizeof(fields) / sizeof(fields[0]);
	char *text = malloc(size > 0 ? size : 1);
	ObError error;

	promise(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	ob_error_clear(&error);
	fuzz_check_error(ob_json_read(text, size, fields, n, &error), &error);
	for (int i = 0; i < n; i++)
	{
		/* no escape makes a text longer */
		promise(fields[i].value == NULL || strlen(fields[i].value) < size);
		promise(fields[i].value == NULL || error.code == OB_OK);
	}
	if (fields[3].value != NULL)
		promise(ob_timestamp_parse(fields[3].value) >= 0);
	ob_json_free(fields, n);
	read_list(text, size);
	free(text);
	return 0;
}
