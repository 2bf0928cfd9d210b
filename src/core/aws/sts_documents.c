/*
 * sts_documents.c
 *		The XML documents of AWS's Security Token Service.
 *
 * src/core/aws/sts_documents.c
 *
 * The root's name differs between its actions, and its error documents differ
 * between AWS and others.
 */
#include "core/aws/sts_documents.h"

#include <openssl/crypto.h>
#include <string.h>

#include "core/text/timestamp.h"
#include "core/text/xml_reader.h"

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
		return ob_xml_copy_whole(out->access_key_id,
								 sizeof(out->access_key_id), text, error);
	if (strcmp(below, "/Credentials/SecretAccessKey") == 0)
		return ob_xml_copy_whole(out->secret_access_key,
								 sizeof(out->secret_access_key), text, error);
	if (strcmp(below, "/Credentials/SessionToken") == 0)
		return ob_xml_copy_whole(out->session_token,
								 sizeof(out->session_token), text, error);
	if (strcmp(below, "/Credentials/Expiration") == 0)
		out->expires = ob_timestamp_parse(text);
	return OB_OK;
}

ObCode
ob_xml_read_role(const char *data, size_t len, ObXmlRole *out, ObError *error)
{
	ObXmlReader reader = {.element = role_element, .arg = out, .error = error};
	ObCode code;

	memset(out, 0, sizeof(*out));
	code = ob_xml_read_document(&reader, data, len);
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
		code = ob_error_set(error, OB_EPROTO, "the XML answer is no error");
	if (code != OB_OK)
		memset(out, 0, sizeof(*out));
	return code;
}
