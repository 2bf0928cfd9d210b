/*
 * xml_reader.h
 *		Reading a small XML document of a server that is not trusted.
 *
 * src/core/text/xml_reader.h
 *
 * A hostile server may send anything: documents are parsed by libexpat with no
 * DTD (a <!DOCTYPE> is an error, so there are no entities but the five), a
 * depth of at most 16 and element texts of at most 16 KiB.  Namespaces and
 * prefixes are ignored: names are compared by their local part.
 */
#ifndef OB_XML_READER_H
#define OB_XML_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

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

#endif
