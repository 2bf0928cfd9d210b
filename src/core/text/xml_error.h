/*
 * xml_error.h
 *		The XML document that S3, and services like it, report an error with.
 *
 * src/core/text/xml_error.h
 */
#ifndef OB_XML_ERROR_H
#define OB_XML_ERROR_H

#include <stddef.h>
#include <time.h>

#include "core/base/error.h"
#include "core/text/uri.h"

typedef struct ObXmlError
{
	char code[64];
	char message[512];
	char region[OB_REGION_MAX + 1];
	char request_id[128];
	time_t server_time; /* of RequestTimeTooSkewed; 0: none */
} ObXmlError;

/* Reads an <Error> document; OB_OK if it is complete and well-formed. */
extern ObCode ob_xml_read_error(const char *data, size_t len, ObXmlError *out,
								ObError *error) OB_MUST_CHECK;

/* Reads AWS STS's <ErrorResponse><Error>, or the plain <Error> of other
 * implementations; OB_OK if it has a code. */
extern ObCode ob_xml_read_sts_error(const char *data, size_t len,
									ObXmlError *out,
									ObError *error) OB_MUST_CHECK;

/* Stores an element of <Error> in the ObXmlError that arg points to; for
 * readers of documents that contain an <Error>. */
extern ObCode ob_xml_error_element(void *arg, const char *path,
								   const char *text, ObError *error);

#endif
