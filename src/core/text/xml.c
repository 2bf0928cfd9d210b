/*
 * xml.c
 *		The one reader of all XML documents, over libexpat.
 *
 * src/core/text/xml.c
 *
 * It keeps the path of local names down to the current element ("/Error/Code")
 * and that element's own text, and calls the document's function at the end of
 * each element; the function compares the path.  All other elements are parsed
 * and dropped.
 *
 * libexpat may call handlers once more after XML_StopParser, so each of them
 * looks at the reader's code first.
 */
#include "core/text/xml.h"

#include <expat.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/text/timestamp.h"

/* ---- documents ---- */

static void
stop(ObXmlReader *reader, ObCode code)
{
	reader->code = code;
	XML_StopParser(reader->parser, XML_FALSE);
}

static void
reject(ObXmlReader *reader, const char *why)
{
	stop(reader,
		 ob_error_set(reader->error, OB_EPROTO, "the XML response %s", why));
}

static void
on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
		   const XML_Char *public_id, int has_internal_subset)
{
	ObXmlReader *reader = arg;

	if (reader->code == OB_OK)
		reject(reader, "has a document type declaration");
}

static void
on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	ObXmlReader *reader = arg;
	const char *colon = strrchr(name, ':');

	if (reader->code != OB_OK)
		return;
	if (reader->depth == OB_XML_DEPTH_MAX)
	{
		reject(reader, "is nested too deeply");
		return;
	}
	if (colon != NULL)
		name = colon + 1;
	if (strlen(name) > OB_XML_NAME_MAX)
		name = "?"; /* in no real name */
	if (reader->depth == 0 && reader->root != NULL &&
		strcmp(name, reader->root) != 0)
	{
		stop(reader, ob_error_set(reader->error, OB_EPROTO,
								  "the XML response is <%s> instead of <%s>",
								  name, reader->root));
		return;
	}
	reader->path_len += (size_t) snprintf(
		reader->path + reader->path_len,
		sizeof(reader->path) - reader->path_len, "/%s", name);
	reader->depth++;
	reader->text_len = 0;
}

static void
on_text(void *arg, const XML_Char *text, int len)
{
	ObXmlReader *reader = arg;

	if (reader->code != OB_OK)
		return;
	if ((size_t) len > OB_XML_TEXT_MAX - reader->text_len)
	{
		reject(reader, "has an element whose text is too long");
		return;
	}
	memcpy(reader->text + reader->text_len, text, (size_t) len);
	reader->text_len += (size_t) len;
}

static void
on_end(void *arg, const XML_Char *name)
{
	ObXmlReader *reader = arg;
	ObCode code;

	if (reader->code != OB_OK)
		return;
	reader->text[reader->text_len] = '\0';
	code = reader->element(reader->arg, reader->path, reader->text,
						   reader->error);
	if (code != OB_OK)
	{
		stop(reader, code);
		return;
	}
	reader->path_len = (size_t) (strrchr(reader->path, '/') - reader->path);
	reader->path[reader->path_len] = '\0';
	reader->depth--;
	reader->text_len = 0;
}

static ObCode
parse_failure(XML_Parser parser, ObError *error)
{
	enum XML_Error reason = XML_GetErrorCode(parser);

	if (reason == XML_ERROR_NO_MEMORY)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	return ob_error_set(error, OB_EPROTO, "the XML response is malformed: %s",
						XML_ErrorString(reason));
}

ObCode
ob_xml_read_document(ObXmlReader *reader, const char *data, size_t len)
{
	/* Servers send blanks to keep the connection alive while
	 * CompleteMultipartUpload runs; before an XML declaration they are not
	 * XML. */
	while (len > 0 &&
		   (*data == ' ' || *data == '\t' || *data == '\r' || *data == '\n'))
	{
		data++;
		len--;
	}
	if (len == 0)
		return ob_error_set(reader->error, OB_EPROTO, "the response is empty");
	if (len > INT_MAX)
		return ob_error_set(reader->error, OB_EPROTO,
							"the XML response is too long");
	reader->parser = XML_ParserCreate(NULL);
	if (reader->parser == NULL)
		return ob_error_set(reader->error, OB_ENOMEM, "out of memory");
	XML_SetUserData(reader->parser, reader);
	XML_SetStartDoctypeDeclHandler(reader->parser, on_doctype);
	XML_SetElementHandler(reader->parser, on_start, on_end);
	XML_SetCharacterDataHandler(reader->parser, on_text);
	if (XML_Parse(reader->parser, data, (int) len, XML_TRUE) !=
			XML_STATUS_OK &&
		reader->code == OB_OK)
		reader->code = parse_failure(reader->parser, reader->error);
	XML_ParserFree(reader->parser);
	return reader->code;
}

ObCode
ob_xml_copy_whole(char *field, size_t size, const char *text, ObError *error)
{
	size_t len = strlen(text);

	if (len >= size)
		return ob_error_set(error, OB_EPROTO,
							"the XML response has a text that is too long");
	memcpy(field, text, len + 1);
	return OB_OK;
}

ObCode
ob_xml_copy_id(char *field, size_t size, const char *text, ObError *error)
{
	for (const char *c = text; *c != '\0'; c++)
		if (*c < 0x20 || *c > 0x7E)
			return ob_error_set(
				error, OB_EPROTO,
				"the XML response has an upload id that is not "
				"of printable ASCII characters");
	return ob_xml_copy_whole(field, size, text, error);
}

bool
ob_xml_is_true(const char *text)
{
	return strcasecmp(text, "true") == 0;
}

/* ---- errors ---- */

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
