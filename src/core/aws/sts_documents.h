/*
 * sts_documents.h
 *		The XML documents of AWS's Security Token Service.
 *
 * src/core/aws/sts_documents.h
 */
#ifndef OB_STS_DOCUMENTS_H
#define OB_STS_DOCUMENTS_H

#include <time.h>

#include "core/text/xml_error.h"

/* What STS gives for a role, of AssumeRole and AssumeRoleWithWebIdentity. */
typedef struct ObXmlRole
{
	char access_key_id[256];
	char secret_access_key[1024];
	char session_token[16 * 1024];
	time_t expires;
} ObXmlRole;

/* OB_OK if all four are there; else *out is empty.  The caller wipes it. */
extern ObCode ob_xml_read_role(const char *data, size_t len, ObXmlRole *out,
							   ObError *error) OB_MUST_CHECK;

/* <ErrorResponse><Error> of AWS's, or <Error> of others: OB_OK if the document
 * is one with a code. */
extern ObCode ob_xml_read_sts_error(const char *data, size_t len,
									ObXmlError *out,
									ObError *error) OB_MUST_CHECK;

#endif
