/*
 * object_headers.h
 *		An export's options as headers of its requests.
 *
 * src/pg/store/object_headers.h
 */
#ifndef OB_OBJECT_HEADERS_H
#define OB_OBJECT_HEADERS_H

#include "core/aws/sigv4.h"
#include "pg/config/options.h"

#define OB_OBJECT_HEADERS_MAX 64
#define OB_COMMON_HEADERS_MAX 2

/* Fills the headers that make the object, of PutObject and
 * CreateMultipartUpload.  Returns their number; values are palloc'd or the
 * options' own. */
extern int ob_headers_of_object(const ObOptions *options, ObPair *headers);

/* Fills the headers that make a small object of our own beside an export's,
 * with the same ACL and encryption.  Returns their number; values are
 * borrowed. */
extern int ob_headers_of_small_object(const ObOptions *options,
									  const char *content_type,
									  ObPair *headers);

/* Fills the headers of every request: the owner of the bucket, and the payer
 * of requests.  Returns their number; values are borrowed. */
extern int ob_headers_common(const ObOptions *options, ObPair *headers);

#endif
