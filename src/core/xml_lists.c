/*
 * xml_lists.c
 *		The XML documents that list unfinished uploads, and parts.
 *
 * src/core/xml_lists.c
 */
#include "xml_intern.h"

#include <openssl/crypto.h>
#include <string.h>

#include "timestamp.h"

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
		high = OPENSSL_hexchar2int((unsigned char) from[1]);
		low = high < 0 ? -1 : OPENSSL_hexchar2int((unsigned char) from[2]);
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
