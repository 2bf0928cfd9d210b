/*
 * s3_documents.h
 *		The handful of S3 documents that we read and write, over libexpat.
 *
 * src/core/s3/s3_documents.h
 *
 * Reading functions fill fixed-size fields, and return OB_EPROTO with a cause
 * for a document that is malformed, truncated or of another kind.
 */
#ifndef OB_S3_DOCUMENTS_H
#define OB_S3_DOCUMENTS_H

#include <stdint.h>
#include <time.h>

#include "core/base/buf.h"
#include "core/text/uri.h"
#include "core/text/xml.h"

#define OB_UPLOAD_ID_MAX 1024
#define OB_ETAG_MAX 256

/* Reads <InitiateMultipartUploadResult>/<UploadId>; an id that is empty or not
 * printable ASCII is OB_EPROTO. */
extern ObCode ob_xml_read_create(const char *data, size_t len, char *upload_id,
								 size_t size, ObError *error) OB_MUST_CHECK;

/*
 * The outcome of CompleteMultipartUpload according to the body of a 200, a
 * status which S3 sends before it has finished: only a complete document whose
 * root begins with "CompleteMultipartUpload" means success.  An ETag is not
 * required, since RGW 16 sends an empty one.
 */
typedef enum ObCompleteOutcome
{
	OB_COMPLETE_DONE,   /* etag is filled, if the document has one */
	OB_COMPLETE_ERROR,  /* *out is filled */
	OB_COMPLETE_UNCLEAR /* empty, cut, or anything else */
} ObCompleteOutcome;

/* etag has OB_ETAG_MAX bytes; "" unless the outcome is OB_COMPLETE_DONE. */
extern ObCompleteOutcome ob_xml_read_complete(const char *data, size_t len,
											  char *etag, ObXmlError *out);

/* One <Upload> of ListMultipartUploads. */
typedef struct ObXmlUpload
{
	char key[OB_KEY_MAX * 3 + 1];     /* as in the document */
	char upload_id[OB_UPLOAD_ID_MAX]; /* printable ASCII */
	time_t initiated;                 /* UTC; 0 if unreadable */
} ObXmlUpload;

typedef struct ObXmlUploadsPage
{
	bool truncated;
	bool url_encoded; /* its EncodingType is "url": keys are decoded */
	char next_key[OB_KEY_MAX * 3 + 1];
	char next_upload_id[OB_UPLOAD_ID_MAX];
} ObXmlUploadsPage;

/* Calls each(arg, upload) for each <Upload>; a code other than OB_OK from it
 * stops the reader, and is returned.  EncodingType "url" is decoded, and
 * control characters are read even where XML does not allow them. */
extern ObCode ob_xml_read_uploads(const char *data, size_t len,
								  ObCode (*each)(void *arg,
												 const ObXmlUpload *upload),
								  void *arg, ObXmlUploadsPage *page,
								  ObError *error) OB_MUST_CHECK;

/* Reads a page of ListParts: the number of its <Part> elements, and whether
 * more follow. */
extern ObCode ob_xml_read_parts(const char *data, size_t len, int *nparts,
								bool *truncated, ObError *error) OB_MUST_CHECK;

/* A part that has landed.  It contains no pointers, so it can be in shared
 * memory. */
typedef struct ObUploadPart
{
	uint64_t len;
	uint32_t crc32;
	char etag[OB_ETAG_MAX];
} ObUploadPart;

/* A bucket's default encryption. */
typedef struct ObXmlEncryption
{
	char algorithm[64];
	char kms_key_id[512]; /* "": the account's own */
	bool bucket_key;
} ObXmlEncryption;

/* Reads <ServerSideEncryptionConfiguration>; OB_EPROTO without an
 * algorithm. */
extern ObCode ob_xml_read_encryption(const char *data, size_t len,
									 ObXmlEncryption *out,
									 ObError *error) OB_MUST_CHECK;

/*
 * Writes <CompleteMultipartUpload> with parts 1 to n; parts[i] has number i +
 * 1, and its ETag is written as the server gave it, quotes included (escaped
 * for XML).
 */
extern void ob_xml_write_complete(ObBuf *out, const ObUploadPart *parts,
								  int n);

#endif
