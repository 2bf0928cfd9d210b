/*
 * xml.h
 *		Reading small XML documents of servers that are not trusted, and the
 *		errors that S3, and services like it, report with them.
 *
 * src/core/text/xml.h
 *
 * A hostile server may send anything: documents are parsed by libexpat with no
 * DTD (a <!DOCTYPE> is an error, so there are no entities but the five), a
 * depth of at most 16 and element texts of at most 16 KiB.  Namespaces and
 * prefixes are ignored: names are compared by their local part.
 */
#ifndef OB_XML_H
#define OB_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "core/base/error.h"
#include "core/text/uri.h"

#define OB_XML_DEPTH_MAX 16
#define OB_XML_TEXT_MAX (16 * 1024)
#define OB_XML_NAME_MAX 63 /* longer names are unknown to us */

typedef struct ObXmlReader
{
	const char *root; /* the root element to insist on, or NULL */
	ObCode (*element)(void *arg, const char *path, const char *text,
					  ObError *error);
	void *arg;
	ObError *error;

	struct XML_ParserStruct *parser; /* libexpat's */
	ObCode code; /* if not OB_OK, the parser has been stopped */
	int depth;
	size_t path_len;
	size_t text_len;
	char path[OB_XML_DEPTH_MAX * (OB_XML_NAME_MAX + 1) + 1];
	char text[OB_XML_TEXT_MAX + 1];
} ObXmlReader;

/* Parses a whole document; the caller has set the reader's first four fields
 * and left the others zero. */
extern ObCode ob_xml_read_document(ObXmlReader *reader, const char *data,
								   size_t len);

/* Copies a field that must not be cut, since it would then name something
 * else. */
extern ObCode ob_xml_copy_whole(char *field, size_t size, const char *text,
								ObError *error);

/* Copies an upload's id, which is displayed and sent in requests. */
extern ObCode ob_xml_copy_id(char *field, size_t size, const char *text,
							 ObError *error);

extern bool ob_xml_is_true(const char *text);

/* ---- errors ---- */

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
