/*
 * xml.c
 *		The handful of S3 documents that we read and write, over libexpat.
 *
 * src/core/xml.c
 *
 * One reader serves all documents.  It keeps the path of local names down to
 * the current element ("/Error/Code") and that element's own text, and calls
 * the document's function at the end of each element; the function compares
 * the path.  Whatever is not asked for is parsed and dropped.
 *
 * libexpat may call handlers once more after XML_StopParser, so each of them
 * looks at the reader's code first.
 */
#include "xml.h"

#include <expat.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "timestamp.h"

#define XML_DEPTH_MAX 16
#define XML_TEXT_MAX (16 * 1024)
#define XML_NAME_MAX 63 /* a longer name is none that we know */

typedef struct XmlReader
{
	const char *root; /* the root element to insist on, or NULL */
	ObCode (*element)(void *arg, const char *path, const char *text,
					  ObError *error);
	void *arg;
	ObError *error;

	XML_Parser parser;
	ObCode code; /* other than OB_OK: the parser has been stopped */
	int depth;
	size_t path_len;
	size_t text_len;
	char path[XML_DEPTH_MAX * (XML_NAME_MAX + 1) + 1];
	char text[XML_TEXT_MAX + 1];
} XmlReader;

/* ---- The reader ---- */

static void
stop(XmlReader *reader, ObCode code)
{
	reader->code = code;
	XML_StopParser(reader->parser, XML_FALSE);
}

static void
reject(XmlReader *reader, const char *why)
{
	stop(reader,
		 ob_error_set(reader->error, OB_EPROTO, "the XML answer %s", why));
}

static void
on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
		   const XML_Char *public_id, int has_internal_subset)
{
	XmlReader *reader = arg;

	if (reader->code == OB_OK)
		reject(reader, "has a document type declaration");
}

static void
on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	XmlReader *reader = arg;
	const char *colon = strrchr(name, ':');

	if (reader->code != OB_OK)
		return;
	if (reader->depth == XML_DEPTH_MAX)
	{
		reject(reader, "is nested too deeply");
		return;
	}
	if (colon != NULL)
		name = colon + 1;
	if (strlen(name) > XML_NAME_MAX)
		name = "?"; /* in no real name */
	if (reader->depth == 0 && reader->root != NULL &&
		strcmp(name, reader->root) != 0)
	{
		stop(reader, ob_error_set(reader->error, OB_EPROTO,
								  "the XML answer is <%s> instead of <%s>",
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
	XmlReader *reader = arg;

	if (reader->code != OB_OK)
		return;
	if ((size_t) len > XML_TEXT_MAX - reader->text_len)
	{
		reject(reader, "has an element with too long a text");
		return;
	}
	memcpy(reader->text + reader->text_len, text, (size_t) len);
	reader->text_len += (size_t) len;
}

static void
on_end(void *arg, const XML_Char *name)
{
	XmlReader *reader = arg;
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
	return ob_error_set(error, OB_EPROTO, "the XML answer is malformed: %s",
						XML_ErrorString(reason));
}

/* Parses a whole document; the caller has set the reader's first four fields
 * and left the others zero. */
static ObCode
read_document(XmlReader *reader, const char *data, size_t len)
{
	/* While CompleteMultipartUpload runs, servers send blanks to keep the
	 * connection alive; before an XML declaration they are not XML. */
	while (len > 0 &&
		   (*data == ' ' || *data == '\t' || *data == '\r' || *data == '\n'))
	{
		data++;
		len--;
	}
	if (len == 0)
		return ob_error_set(reader->error, OB_EPROTO, "the answer is empty");
	if (len > INT_MAX)
		return ob_error_set(reader->error, OB_EPROTO,
							"the XML answer is too long");
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

/* A field that must not be cut, since it would then name something else. */
static ObCode
copy_whole(char *field, size_t size, const char *text, ObError *error)
{
	size_t len = strlen(text);

	if (len >= size)
		return ob_error_set(error, OB_EPROTO,
							"the XML answer has a text that is too long");
	memcpy(field, text, len + 1);
	return OB_OK;
}

/* An upload's id, which is shown and goes into requests. */
static ObCode
copy_id(char *field, size_t size, const char *text, ObError *error)
{
	for (const char *c = text; *c != '\0'; c++)
		if (*c < 0x20 || *c > 0x7E)
			return ob_error_set(error, OB_EPROTO,
								"the XML answer has an upload id that is not "
								"of printable ASCII characters");
	return copy_whole(field, size, text, error);
}

static bool
is_true(const char *text)
{
	return strcasecmp(text, "true") == 0;
}

/* ---- times ---- */

/* The first n characters, which are digits. */
static int
number_at(const char *text, int n)
{
	int value = 0;

	while (n-- > 0)
		value = value * 10 + (*text++ - '0');
	return value;
}

/* "2006-03-01T12:00:00.000Z", the fraction being optional; 0 for anything
 * else. */
static time_t
parse_time(const char *text)
{
	static const char shape[] = "0000-00-00T00:00:00";
	struct tm tm = {0};
	struct tm normal;
	time_t when;

	for (size_t i = 0; shape[i] != '\0'; i++)
		if (shape[i] == '0' ? text[i] < '0' || text[i] > '9'
							: text[i] != shape[i])
			return 0;
	tm.tm_year = number_at(text, 4) - 1900;
	tm.tm_mon = number_at(text + 5, 2) - 1;
	tm.tm_mday = number_at(text + 8, 2);
	tm.tm_hour = number_at(text + 11, 2);
	tm.tm_min = number_at(text + 14, 2);
	tm.tm_sec = number_at(text + 17, 2);
	text += strlen(shape);
	if (*text == '.')
		text += 1 + strspn(text + 1, "0123456789");
	if (strcmp(text, "Z") != 0)
		return 0;
	normal = tm;
	when = timegm(&normal); /* it turns February 30 into March 1 or 2 */
	if (when < 0 || normal.tm_mon != tm.tm_mon ||
		normal.tm_mday != tm.tm_mday || normal.tm_hour != tm.tm_hour ||
		normal.tm_min != tm.tm_min || normal.tm_sec != tm.tm_sec)
		return 0;
	return when;
}

/* ---- <Error> ---- */

static ObCode
error_element(void *arg, const char *path, const char *text, ObError *error)
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
		out->server_time = parse_time(text);
	return OB_OK;
}

ObCode
ob_xml_read_error(const char *data, size_t len, ObXmlError *out,
				  ObError *error)
{
	XmlReader reader = {
		.root = "Error", .element = error_element, .arg = out, .error = error};
	ObCode code;

	memset(out, 0, sizeof(*out));
	code = read_document(&reader, data, len);
	if (code != OB_OK)
		memset(out, 0, sizeof(*out));
	return code;
}

/* ---- CreateMultipartUpload ---- */

typedef struct CreateReading
{
	char *upload_id;
	size_t size;
} CreateReading;

static ObCode
create_element(void *arg, const char *path, const char *text, ObError *error)
{
	const CreateReading *reading = arg;

	if (strcmp(path, "/InitiateMultipartUploadResult/UploadId") != 0)
		return OB_OK;
	return copy_id(reading->upload_id, reading->size, text, error);
}

ObCode
ob_xml_read_create(const char *data, size_t len, char *upload_id, size_t size,
				   ObError *error)
{
	CreateReading reading = {upload_id, size};
	XmlReader reader = {.root = "InitiateMultipartUploadResult",
						.element = create_element,
						.arg = &reading,
						.error = error};
	ObCode code;

	upload_id[0] = '\0';
	code = read_document(&reader, data, len);
	if (code == OB_OK && upload_id[0] == '\0')
		code =
			ob_error_set(error, OB_EPROTO, "the XML answer has no upload id");
	if (code != OB_OK)
		upload_id[0] = '\0';
	return code;
}

/* ---- CompleteMultipartUpload ---- */

typedef struct CompleteReading
{
	ObXmlError *out;
	bool has_result;
	bool has_error;
} CompleteReading;

static ObCode
complete_element(void *arg, const char *path, const char *text, ObError *error)
{
	static const char root[] = "/CompleteMultipartUpload"; /* ...Result */
	CompleteReading *reading = arg;

	if (strcmp(path, "/Error") == 0)
		reading->has_error = true;
	else if (strncmp(path, root, strlen(root)) == 0)
		reading->has_result = true;
	return error_element(reading->out, path, text, error);
}

ObCompleteOutcome
ob_xml_read_complete(const char *data, size_t len, ObXmlError *out)
{
	ObError error = {0}; /* why it is unclear makes no difference */
	CompleteReading reading = {.out = out};
	XmlReader reader = {
		.element = complete_element, .arg = &reading, .error = &error};

	memset(out, 0, sizeof(*out));
	if (read_document(&reader, data, len) == OB_OK)
	{
		if (reading.has_error)
			return OB_COMPLETE_ERROR;
		if (reading.has_result)
			return OB_COMPLETE_DONE;
	}
	memset(out, 0, sizeof(*out));
	return OB_COMPLETE_UNCLEAR;
}

/* ---- STS ----
 *
 * The root's name differs between its actions, and its error documents differ
 * between AWS and others.
 */

/* Whether the path is that of this element, below the root. */
static bool
is_below_root(const char *path, const char *rest)
{
	const char *below = strchr(path + 1, '/');

	return below != NULL && strcmp(below, rest) == 0;
}

static ObCode
role_element(void *arg, const char *path, const char *text, ObError *error)
{
	ObXmlRole *out = arg;
	const char *below = strchr(path + 1, '/');

	below = below != NULL ? strchr(below + 1, '/') : NULL;
	if (strncmp(path, "/AssumeRole", strlen("/AssumeRole")) != 0 ||
		below == NULL)
		return OB_OK;
	if (strcmp(below, "/Credentials/AccessKeyId") == 0)
		return copy_whole(out->access_key_id, sizeof(out->access_key_id), text,
						  error);
	if (strcmp(below, "/Credentials/SecretAccessKey") == 0)
		return copy_whole(out->secret_access_key,
						  sizeof(out->secret_access_key), text, error);
	if (strcmp(below, "/Credentials/SessionToken") == 0)
		return copy_whole(out->session_token, sizeof(out->session_token), text,
						  error);
	if (strcmp(below, "/Credentials/Expiration") == 0)
		out->expires = ob_timestamp_parse(text);
	return OB_OK;
}

ObCode
ob_xml_read_role(const char *data, size_t len, ObXmlRole *out, ObError *error)
{
	XmlReader reader = {.element = role_element, .arg = out, .error = error};
	ObCode code;

	memset(out, 0, sizeof(*out));
	code = read_document(&reader, data, len);
	OPENSSL_cleanse(reader.text, sizeof(reader.text));
	if (code == OB_OK &&
		(out->access_key_id[0] == '\0' || out->secret_access_key[0] == '\0' ||
		 out->session_token[0] == '\0' || out->expires <= 0))
		code = ob_error_set(error, OB_EPROTO,
							"the XML answer has no credentials, or not all "
							"of what belongs to them");
	if (code != OB_OK)
		OPENSSL_cleanse(out, sizeof(*out));
	return code;
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
	return error_element(out, path, text, error);
}

ObCode
ob_xml_read_sts_error(const char *data, size_t len, ObXmlError *out,
					  ObError *error)
{
	XmlReader reader = {
		.element = sts_error_element, .arg = out, .error = error};
	ObCode code;

	memset(out, 0, sizeof(*out));
	code = read_document(&reader, data, len);
	if (code == OB_OK && out->code[0] == '\0')
		code = ob_error_set(error, OB_EPROTO, "the XML answer is no error");
	if (code != OB_OK)
		memset(out, 0, sizeof(*out));
	return code;
}

/* ---- ListMultipartUploads ----
 *
 * A page is read twice.  The first time shows whether it is whole, what
 * follows it and how its keys are encoded (the standard does not say where
 * <EncodingType> stands); the second time hands out the uploads.
 */

typedef struct UploadsReading
{
	ObXmlUploadsPage *page;
	bool url_encoded;
	ObXmlUpload upload;
	ObCode (*each)(void *arg, const ObXmlUpload *upload); /* NULL at first */
	void *each_arg;
} UploadsReading;

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* In place.  AWS writes a blank as "+" here, and "+" as "%2B".  A NUL is no
 * part of a key: the rest of it would be lost. */
static ObCode
decode_key(char *key, ObError *error)
{
	char *to = key;

	for (const char *from = key; *from != '\0'; from++)
	{
		int high;
		int low;

		if (*from != '%')
		{
			*to++ = *from == '+' ? ' ' : *from;
			continue;
		}
		high = hex_value(from[1]);
		low = high < 0 ? -1 : hex_value(from[2]);
		if (low < 0 || (high == 0 && low == 0))
			return ob_error_set(error, OB_EPROTO,
								"the XML answer has a wrongly encoded key");
		*to++ = (char) (high * 16 + low);
		from += 2;
	}
	*to = '\0';
	return OB_OK;
}

/* At the end of an <Upload>. */
static ObCode
finish_upload(UploadsReading *reading, ObError *error)
{
	ObXmlUpload *upload = &reading->upload;
	ObCode code = OB_OK;

	if (upload->key[0] == '\0' || upload->upload_id[0] == '\0')
		return ob_error_set(error, OB_EPROTO,
							"the XML answer has an upload without key or id");
	if (reading->each != NULL)
	{
		if (reading->url_encoded)
			code = decode_key(upload->key, error);
		if (code == OB_OK)
			code = reading->each(reading->each_arg, upload);
	}
	memset(upload, 0, sizeof(*upload));
	return code;
}

static ObCode
uploads_element(void *arg, const char *path, const char *text, ObError *error)
{
	UploadsReading *reading = arg;
	ObXmlUploadsPage *page = reading->page;
	ObXmlUpload *upload = &reading->upload;

	path += strlen("/ListMultipartUploadsResult");
	if (strcmp(path, "/Upload/Key") == 0)
		return copy_whole(upload->key, sizeof(upload->key), text, error);
	if (strcmp(path, "/Upload/UploadId") == 0)
		return copy_id(upload->upload_id, sizeof(upload->upload_id), text,
					   error);
	if (strcmp(path, "/Upload/Initiated") == 0)
		upload->initiated = ob_timestamp_parse(text);
	else if (strcmp(path, "/Upload") == 0)
		return finish_upload(reading, error);
	else if (strcmp(path, "/NextKeyMarker") == 0)
		return copy_whole(page->next_key, sizeof(page->next_key), text, error);
	else if (strcmp(path, "/NextUploadIdMarker") == 0)
		return copy_whole(page->next_upload_id, sizeof(page->next_upload_id),
						  text, error);
	else if (strcmp(path, "/IsTruncated") == 0)
		page->truncated = is_true(text);
	else if (strcmp(path, "/EncodingType") == 0)
		reading->url_encoded = strcmp(text, "url") == 0;
	return OB_OK;
}

static ObCode
read_uploads(UploadsReading *reading, const char *data, size_t len,
			 ObError *error)
{
	XmlReader reader = {.root = "ListMultipartUploadsResult",
						.element = uploads_element,
						.arg = reading,
						.error = error};

	memset(reading->page, 0, sizeof(*reading->page));
	return read_document(&reader, data, len);
}

ObCode
ob_xml_read_uploads(const char *data, size_t len,
					ObCode (*each)(void *arg, const ObXmlUpload *upload),
					void *arg, ObXmlUploadsPage *page, ObError *error)
{
	UploadsReading reading = {.page = page};
	ObCode code = read_uploads(&reading, data, len, error);

	/* without a place to go on from, the caller would begin anew for ever */
	if (code == OB_OK && page->truncated && page->next_key[0] == '\0')
		code = ob_error_set(error, OB_EPROTO,
							"the XML answer is a page without a next marker");
	if (code != OB_OK)
		return code;

	reading.each = each;
	reading.each_arg = arg;
	code = read_uploads(&reading, data, len, error);
	if (code == OB_OK && reading.url_encoded)
		code = decode_key(page->next_key, error);
	return code;
}

/* ---- ListParts ---- */

typedef struct PartsReading
{
	int nparts;
	bool truncated;
} PartsReading;

static ObCode
parts_element(void *arg, const char *path, const char *text, ObError *error)
{
	PartsReading *reading = arg;

	if (strcmp(path, "/ListPartsResult/Part") == 0)
		reading->nparts++;
	else if (strcmp(path, "/ListPartsResult/IsTruncated") == 0)
		reading->truncated = is_true(text);
	return OB_OK;
}

ObCode
ob_xml_read_parts(const char *data, size_t len, int *nparts, bool *truncated,
				  ObError *error)
{
	PartsReading reading = {0};
	XmlReader reader = {.root = "ListPartsResult",
						.element = parts_element,
						.arg = &reading,
						.error = error};
	ObCode code = read_document(&reader, data, len);

	*nparts = code == OB_OK ? reading.nparts : 0;
	*truncated = code == OB_OK && reading.truncated;
	return code;
}

/* ---- GetBucketEncryption ---- */

static ObCode
encryption_element(void *arg, const char *path, const char *text,
				   ObError *error)
{
	static const char rule[] = "/ServerSideEncryptionConfiguration/Rule/";
	ObXmlEncryption *out = arg;

	if (strncmp(path, rule, strlen(rule)) != 0)
		return OB_OK;
	path += strlen(rule);
	if (strcmp(path, "ApplyServerSideEncryptionByDefault/SSEAlgorithm") == 0)
		ob_error_copy(out->algorithm, sizeof(out->algorithm), text,
					  strlen(text));
	else if (strcmp(path,
					"ApplyServerSideEncryptionByDefault/KMSMasterKeyID") == 0)
		ob_error_copy(out->kms_key_id, sizeof(out->kms_key_id), text,
					  strlen(text));
	else if (strcmp(path, "BucketKeyEnabled") == 0)
		out->bucket_key = is_true(text);
	return OB_OK;
}

ObCode
ob_xml_read_encryption(const char *data, size_t len, ObXmlEncryption *out,
					   ObError *error)
{
	XmlReader reader = {.root = "ServerSideEncryptionConfiguration",
						.element = encryption_element,
						.arg = out,
						.error = error};
	ObCode code;

	memset(out, 0, sizeof(*out));
	code = read_document(&reader, data, len);
	if (code == OB_OK && out->algorithm[0] == '\0')
		code =
			ob_error_set(error, OB_EPROTO, "the XML answer has no algorithm");
	if (code != OB_OK)
		memset(out, 0, sizeof(*out));
	return code;
}

/* ---- Writing ---- */

static void
add_escaped(ObBuf *out, const char *text)
{
	for (; *text != '\0'; text++)
		switch (*text)
		{
			case '&':
				ob_buf_adds(out, "&amp;");
				break;
			case '<':
				ob_buf_adds(out, "&lt;");
				break;
			case '>':
				ob_buf_adds(out, "&gt;");
				break;
			default:
				ob_buf_addc(out, *text);
		}
}

void
ob_xml_write_complete(ObBuf *out, char *const *etags, int n)
{
	ob_buf_adds(out, "<CompleteMultipartUpload "
					 "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (int i = 0; i < n; i++)
	{
		ob_buf_addf(out, "<Part><PartNumber>%d</PartNumber><ETag>", i + 1);
		add_escaped(out, etags[i]);
		ob_buf_adds(out, "</ETag></Part>");
	}
	ob_buf_adds(out, "</CompleteMultipartUpload>");
}
