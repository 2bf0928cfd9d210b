/*
 * fuzz_xml.c
 *		The documents of a server, each reader on each input.
 *
 * test/fuzz/fuzz_xml.c
 */
#include "fuzz.h"

#include "core/aws/credentials_intern.h"
#include "core/s3/s3_documents.h"

static void
check_xml_error(const ObXmlError *xml)
{
	promise(fuzz_ends(xml->code, sizeof(xml->code)));
	promise(fuzz_ends(xml->message, sizeof(xml->message)));
	promise(fuzz_ends(xml->region, sizeof(xml->region)));
	promise(fuzz_ends(xml->request_id, sizeof(xml->request_id)));
	/* they are shown in messages and hints */
	promise(fuzz_is_printable(xml->code));
	promise(fuzz_is_printable(xml->message));
	promise(fuzz_is_printable(xml->region));
	promise(fuzz_is_printable(xml->request_id));
}

static void
read_error(const char *data, size_t size)
{
	char etag[OB_ETAG_MAX];
	ObXmlError xml;
	ObError error;

	ob_error_clear(&error);
	fuzz_check_error(ob_xml_read_error(data, size, &xml, &error), &error);
	check_xml_error(&xml);
	(void) ob_xml_read_complete(data, size, etag, &xml);
	check_xml_error(&xml);
	promise(fuzz_ends(etag, sizeof(etag)));
}

static void
read_create(const char *data, size_t size)
{
	char id[OB_UPLOAD_ID_MAX];
	ObError error;

	ob_error_clear(&error);
	fuzz_check_error(ob_xml_read_create(data, size, id, sizeof(id), &error),
					 &error);
	promise(fuzz_ends(id, sizeof(id)));
	promise((error.code == OB_OK) == (id[0] != '\0'));
	promise(fuzz_is_printable(id));
}

static ObCode
each_upload(void *arg, const ObXmlUpload *upload)
{
	promise(fuzz_ends(upload->key, sizeof(upload->key)));
	promise(fuzz_ends(upload->upload_id, sizeof(upload->upload_id)));
	promise(upload->key[0] != '\0' && upload->upload_id[0] != '\0');
	promise(fuzz_is_printable(upload->upload_id));
	promise(upload->initiated >= 0);
	++*(int *) arg;
	return OB_OK;
}

static void
read_lists(const char *data, size_t size)
{
	ObXmlUploadsPage page;
	ObError error;
	int n = 0;
	bool truncated;

	ob_error_clear(&error);
	fuzz_check_error(
		ob_xml_read_uploads(data, size, each_upload, &n, &page, &error),
		&error);
	/* the next page can be requested */
	if (error.code == OB_OK && page.truncated)
		promise(page.next_key[0] != '\0');
	promise(fuzz_ends(page.next_key, sizeof(page.next_key)));
	promise(fuzz_ends(page.next_upload_id, sizeof(page.next_upload_id)));
	ob_error_clear(&error);
	fuzz_check_error(ob_xml_read_parts(data, size, &n, &truncated, &error),
					 &error);
	promise(n >= 0);
}

static void
read_sts(const char *data, size_t size)
{
	ObXmlRole role;
	ObXmlError xml;
	ObError error;

	ob_error_clear(&error);
	fuzz_check_error(ob_xml_read_role(data, size, &role, &error), &error);
	promise(fuzz_ends(role.access_key_id, sizeof(role.access_key_id)));
	promise(fuzz_ends(role.secret_access_key, sizeof(role.secret_access_key)));
	promise(fuzz_ends(role.session_token, sizeof(role.session_token)));
	promise((error.code == OB_OK) == (role.access_key_id[0] != '\0'));
	promise((error.code == OB_OK) == (role.secret_access_key[0] != '\0'));
	promise((error.code == OB_OK) == (role.session_token[0] != '\0'));
	promise((error.code == OB_OK) == (role.expires > 0));
	ob_error_clear(&error);
	fuzz_check_error(ob_xml_read_sts_error(data, size, &xml, &error), &error);
	promise((error.code == OB_OK) == (xml.code[0] != '\0'));
	check_xml_error(&xml);
}

static void
read_encryption(const char *data, size_t size)
{
	ObXmlEncryption encryption;
	ObError error;

	ob_error_clear(&error);
	fuzz_check_error(ob_xml_read_encryption(data, size, &encryption, &error),
					 &error);
	promise(fuzz_ends(encryption.algorithm, sizeof(encryption.algorithm)));
	promise(fuzz_ends(encryption.kms_key_id, sizeof(encryption.kms_key_id)));
	promise((error.code == OB_OK) == (encryption.algorithm[0] != '\0'));
	promise(fuzz_is_printable(encryption.algorithm));
	promise(fuzz_is_printable(encryption.kms_key_id));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* its own memory, so that a byte read too many is seen */
	char *text = malloc(size > 0 ? size : 1);

	promise(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	read_error(text, size);
	read_create(text, size);
	read_lists(text, size);
	read_sts(text, size);
	read_encryption(text, size);
	free(text);
	return 0;
}
