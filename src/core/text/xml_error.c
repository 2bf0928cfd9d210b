/*
 * xml_error.c
 *		The XML document that S3, and services like it, report an error with.
 *
 * src/core/text/xml_error.c
 */
#include "core/text/xml_error.h"

#include <string.h>

#include "core/text/timestamp.h"
#include "core/text/xml_reader.h"

ObCode
ob_xml_error_element(void *arg, const char *path, const char *text,
					 ObError *error)
{
	ObXmlError *out = arg;
	size_t len = strlen(text);

	if (strcmp(path, "/Error/Code") == 0)
		ob_error_copy(out->code, sizeof(out->code), text, len);
	else if (strcmp(path, "/Error/Message") == 0)
		ob_error_copy(out->message, sizeof(out->message), text, len);
	else if (strcmp(path, "/Error/Region") == 0)
		ob_error_copy(out->region, sizeof(out->region), text, len);
	else if (strcmp(path, "/Error/RequestId") == 0)
		ob_error_copy(out->request_id, sizeof(out->request_id), text, len);
	else if (strcmp(path, "/Error/ServerTime") == 0)
		out->server_time = ob_timestamp_parse(text);
	return OB_OK;
}

ObCode
ob_xml_read_error(const char *data, size_t len, ObXmlError *out,
				  ObError *error)
{
	ObXmlReader reader = {.root = "Error",
						  .element = ob_xml_error_element,
						  .arg = out,
						  .error = error};
	ObCode code;

	memset(out, 0, sizeof(*out));
	code = ob_xml_read_document(&reader, data, len);
	if (code != OB_OK)
		memset(out, 0, sizeof(*out));
	return code;
}

/* ---- STS ---- */

/* Returns whether the path, without its root, is "rest". */
static bool
is_below_root(const char *path, const char *rest)
{
	const char *below = strchr(path + 1, '/');

	return below != NULL && strcmp(below, rest) == 0;
}

static ObCode
sts_error_element(void *arg, const char *path, const char *text,
				  ObError *error)
{
	ObXmlError *out = arg;
	size_t len = strlen(text);

	if (is_below_root(path, "/Error/Code"))
		ob_error_copy(out->code, sizeof(out->code), text, len);
	else if (is_below_root(path, "/Error/Message"))
		ob_error_copy(out->message, sizeof(out->message), text, len);
	else if (is_below_root(path, "/RequestId"))
		ob_error_copy(out->request_id, sizeof(out->request_id), text, len);
	return ob_xml_error_element(out, path, text, error);
}

ObCode
ob_xml_read_sts_error(const char *data, size_t len, ObXmlError *out,
					  ObError *error)
{
	ObXmlReader reader = {
		.element = sts_error_element, .arg = out, .error = error};
	ObCode code;

	memset(out, 0, sizeof(*out));
	code = ob_xml_read_document(&reader, data, len);
	if (code == OB_OK && out->code[0] == '\0')
		code =
			ob_error_set(error, OB_EPROTO, "the XML response is not an error");
	if (code != OB_OK)
		memset(out, 0, sizeof(*out));
	return code;
}
