/*
 * s3_documents.c
 *		The XML documents about one object, read and written.
 *
 * src/core/s3/s3_documents.c
 *
 * Each is a function that is called for each element: see xml_reader.c.
 */
#include "core/s3/s3_documents.h"

#include <string.h>

#include "core/text/xml_reader.h"

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
	return ob_xml_error_element(reading->out, path, text, error);
}

ObCompleteOutcome
ob_xml_read_complete(const char *data, size_t len, ObXmlError *out)
{
	ObError error = {0}; /* why it is unclear makes no difference */
	CompleteReading reading = {.out = out};
	ObXmlReader reader = {
		.element = complete_element, .arg = &reading, .error = &error};

	memset(out, 0, sizeof(*out));
	if (ob_xml_read_document(&reader, data, len) == OB_OK)
	{
		if (reading.has_error)
			return OB_COMPLETE_ERROR;
		if (reading.has_result)
			return OB_COMPLETE_DONE;
	}
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
