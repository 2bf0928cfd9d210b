/*
 * s3_documents.c
 *		The XML documents of S3 that we read and write.
 *
 * src/core/s3/s3_documents.c
 *
 * For each kind of document, xml.c calls a function with each element.
 */
#include "core/s3/s3_documents.h"

#include <openssl/crypto.h>
#include <string.h>

#include "core/text/timestamp.h"
#include "core/text/xml.h"

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
	return ob_xml_copy_id(reading->upload_id, reading->size, text, error);
}

ObCode
ob_xml_read_create(const char *data, size_t len, char *upload_id, size_t size,
				   ObError *error)
{
	CreateReading reading = {upload_id, size};
	ObXmlReader reader = {.root = "InitiateMultipartUploadResult",
						  .element = create_element,
						  .arg = &reading,
						  .error = error};
	ObCode code;

	upload_id[0] = '\0';
	code = ob_xml_read_document(&reader, data, len);
	if (code == OB_OK && upload_id[0] == '\0')
		code = ob_error_set(error, OB_EPROTO,
							"the XML response has no upload id");
	if (code != OB_OK)
		upload_id[0] = '\0';
	return code;
}

/* ---- CompleteMultipartUpload ---- */

typedef struct CompleteReading
{
	ObXmlError *out;
	char *etag;
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
	{
		reading->has_result = true;
		path += strcspn(path + 1, "/") + 1;
		if (strcmp(path, "/ETag") == 0 && strlen(text) < OB_ETAG_MAX)
			ob_error_copy(reading->etag, OB_ETAG_MAX, text, strlen(text));
	}
	return ob_xml_error_element(reading->out, path, text, error);
}

ObCompleteOutcome
ob_xml_read_complete(const char *data, size_t len, char *etag, ObXmlError *out)
{
	ObError error = {0}; /* the cause of an unclear outcome is not used */
	CompleteReading reading = {.out = out, .etag = etag};
	ObXmlReader reader = {
		.element = complete_element, .arg = &reading, .error = &error};

	etag[0] = '\0';
	memset(out, 0, sizeof(*out));
	if (ob_xml_read_document(&reader, data, len) == OB_OK)
	{
		if (reading.has_error)
		{
			etag[0] = '\0';
			return OB_COMPLETE_ERROR;
		}
		if (reading.has_result)
			return OB_COMPLETE_DONE;
	}
	etag[0] = '\0';
	memset(out, 0, sizeof(*out));
	return OB_COMPLETE_UNCLEAR;
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
		out->bucket_key = ob_xml_is_true(text);
	return OB_OK;
}

ObCode
ob_xml_read_encryption(const char *data, size_t len, ObXmlEncryption *out,
					   ObError *error)
{
	ObXmlReader reader = {.root = "ServerSideEncryptionConfiguration",
						  .element = encryption_element,
						  .arg = out,
						  .error = error};
	ObCode code;

	memset(out, 0, sizeof(*out));
	code = ob_xml_read_document(&reader, data, len);
	if (code == OB_OK && out->algorithm[0] == '\0')
		code = ob_error_set(error, OB_EPROTO,
							"the XML response has no algorithm");
	if (code != OB_OK)
		memset(out, 0, sizeof(*out));
	return code;
}

/* ---- ListMultipartUploads ----
 *
 * A page is read twice.  The first time shows whether it is complete, what
 * follows it and how its keys are encoded (the standard does not say where
 * <EncodingType> stands); the second time hands out the uploads.
 *
 * A key may have control characters, which XML 1.0 has no way to write.  That
 * is what the encoding is for; but servers that do not know it write a
 * reference (&#x1;) or the byte itself.  So those are read as characters of
 * Unicode's private use, U+E001 for U+0001, and become what they were
 * again. */

typedef struct UploadsReading
{
	ObXmlUploadsPage *page;
	bool url_encoded;
	bool stands_in; /* characters of private use replace control characters */
	ObXmlUpload upload;
	ObCode (*each)(void *arg, const ObXmlUpload *upload); /* NULL at first */
	void *each_arg;
} UploadsReading;

/* Decodes a key in place.  AWS writes a blank as "+" here, and "+" as "%2B".
 * A NUL is refused, since it would hide the rest of the key. */
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
		high = OPENSSL_hexchar2int((unsigned char) from[1]);
		low = high < 0 ? -1 : OPENSSL_hexchar2int((unsigned char) from[2]);
		if (low < 0 || (high == 0 && low == 0))
			return ob_error_set(
				error, OB_EPROTO,
				"the XML response has an incorrectly encoded key");
		*to++ = (char) (high * 16 + low);
		from += 2;
	}
	*to = '\0';
	return OB_OK;
}

/* Returns whether XML cannot represent the character. */
static bool
is_control(long c)
{
	return c > 0 && c < 0x20 && c != '\t' && c != '\n' && c != '\r';
}

/* Returns the length of a control character, or of a reference to one, at
 * "text"; 0 if there is none. */
static size_t
read_control(const char *text, const char *end, unsigned char *control)
{
	size_t at = 2;
	int base = 10;
	long number = 0;

	*control = (unsigned char) text[0];
	if (is_control(*control))
		return 1;
	if (end - text < 4 || text[0] != '&' || text[1] != '#')
		return 0;
	if (text[at] == 'x')
	{
		base = 16;
		at++;
	}
	for (; text + at < end && text[at] != ';' && number < 0x20; at++)
	{
		int digit = OPENSSL_hexchar2int((unsigned char) text[at]);

		if (digit < 0 || digit >= base)
			return 0;
		number = number * base + digit;
	}
	*control = (unsigned char) number;
	return text + at < end && text[at] == ';' && is_control(number) ? at + 1
																	: 0;
}

/* Copies a document with replaced control characters; sets *found if there
 * were any. */
static void
encode_controls(ObBuf *out, const char *data, size_t len, bool *found)
{
	const char *end = data + len;
	const char *kept = data;
	unsigned char control;

	*found = false;
	for (const char *at = data; at < end;)
	{
		size_t n = read_control(at, end, &control);

		if (n > 0)
		{
			*found = true;
			ob_buf_add(out, kept, (size_t) (at - kept));
			ob_buf_add(out, "\xEE\x80", 2);
			ob_buf_addc(out, (char) (0x80 | control));
			kept = at + n;
		}
		at += n > 0 ? n : 1;
	}
	if (*found)
		ob_buf_add(out, kept, (size_t) (end - kept));
}

/* Restores the control characters in place. */
static void
decode_controls(char *text)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; from++)
	{
		unsigned char last =
			strncmp(from, "\xEE\x80", 2) == 0 ? (unsigned char) from[2] : 0;

		if (last >= 0x80 && is_control(last & 0x7F))
		{
			*to++ = (char) (last & 0x7F);
			from += 2;
		}
		else
			*to++ = *from;
	}
	*to = '\0';
}

static ObCode
read_key(const UploadsReading *reading, char *key, ObError *error)
{
	if (reading->stands_in)
		decode_controls(key);
	return reading->url_encoded ? decode_key(key, error) : OB_OK;
}

/* Handles the end of an <Upload>. */
static ObCode
finish_upload(UploadsReading *reading, ObError *error)
{
	ObXmlUpload *upload = &reading->upload;
	ObCode code = OB_OK;

	if (upload->key[0] == '\0' || upload->upload_id[0] == '\0')
		return ob_error_set(
			error, OB_EPROTO,
			"the XML response has an upload without key or id");
	if (reading->each != NULL)
	{
		code = read_key(reading, upload->key, error);
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
		return ob_xml_copy_whole(upload->key, sizeof(upload->key), text,
								 error);
	if (strcmp(path, "/Upload/UploadId") == 0)
		return ob_xml_copy_id(upload->upload_id, sizeof(upload->upload_id),
							  text, error);
	if (strcmp(path, "/Upload/Initiated") == 0)
		upload->initiated = ob_timestamp_parse(text);
	else if (strcmp(path, "/Upload") == 0)
		return finish_upload(reading, error);
	else if (strcmp(path, "/NextKeyMarker") == 0)
		return ob_xml_copy_whole(page->next_key, sizeof(page->next_key), text,
								 error);
	else if (strcmp(path, "/NextUploadIdMarker") == 0)
		return ob_xml_copy_whole(page->next_upload_id,
								 sizeof(page->next_upload_id), text, error);
	else if (strcmp(path, "/IsTruncated") == 0)
		page->truncated = ob_xml_is_true(text);
	else if (strcmp(path, "/EncodingType") == 0)
		reading->url_encoded = strcmp(text, "url") == 0;
	return OB_OK;
}

static ObCode
read_uploads(UploadsReading *reading, const char *data, size_t len,
			 ObError *error)
{
	ObXmlReader reader = {.root = "ListMultipartUploadsResult",
						  .element = uploads_element,
						  .arg = reading,
						  .error = error};

	memset(reading->page, 0, sizeof(*reading->page));
	return ob_xml_read_document(&reader, data, len);
}

static ObCode
read_twice(UploadsReading *reading, const char *data, size_t len,
		   ObCode (*each)(void *arg, const ObXmlUpload *upload), void *arg,
		   ObError *error)
{
	ObXmlUploadsPage *page = reading->page;
	ObCode code = read_uploads(reading, data, len, error);

	/* without a marker, the caller would read the first page for ever */
	if (code == OB_OK && page->truncated && page->next_key[0] == '\0')
		code =
			ob_error_set(error, OB_EPROTO,
						 "the XML response is a page without a next marker");
	if (code != OB_OK)
		return code;

	reading->each = each;
	reading->each_arg = arg;
	code = read_uploads(reading, data, len, error);
	if (code == OB_OK)
		code = read_key(reading, page->next_key, error);
	page->url_encoded = reading->url_encoded;
	return code;
}

ObCode
ob_xml_read_uploads(const char *data, size_t len,
					ObCode (*each)(void *arg, const ObXmlUpload *upload),
					void *arg, ObXmlUploadsPage *page, ObError *error)
{
	UploadsReading reading = {.page = page};
	ObBuf copy;
	ObCode code = OB_OK;

	ob_buf_init(&copy, len * 3 + 1);
	encode_controls(&copy, data, len, &reading.stands_in);
	if (reading.stands_in)
		code = ob_buf_check(&copy, error);
	if (code == OB_OK && reading.stands_in)
		code = read_twice(&reading, copy.data, copy.len, each, arg, error);
	else if (code == OB_OK)
		code = read_twice(&reading, data, len, each, arg, error);
	ob_buf_free(&copy);
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
		reading->truncated = ob_xml_is_true(text);
	return OB_OK;
}

ObCode
ob_xml_read_parts(const char *data, size_t len, int *nparts, bool *truncated,
				  ObError *error)
{
	PartsReading reading = {0};
	ObXmlReader reader = {.root = "ListPartsResult",
						  .element = parts_element,
						  .arg = &reading,
						  .error = error};
	ObCode code = ob_xml_read_document(&reader, data, len);

	*nparts = code == OB_OK ? reading.nparts : 0;
	*truncated = code == OB_OK && reading.truncated;
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
ob_xml_write_complete(ObBuf *out, const ObUploadPart *parts, int n)
{
	ob_buf_adds(out, "<CompleteMultipartUpload "
					 "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (int i = 0; i < n; i++)
	{
		ob_buf_addf(out, "<Part><PartNumber>%d</PartNumber><ETag>", i + 1);
		add_escaped(out, parts[i].etag);
		ob_buf_adds(out, "</ETag></Part>");
	}
	ob_buf_adds(out, "</CompleteMultipartUpload>");
}
