/*
 * object_headers.c
 *		An export's options as headers of its requests.
 *
 * src/pg/store/object_headers.c
 */
#include "postgres.h"

#include "core/text/uri.h"
#include "pg/store/object_headers.h"
#include "pg/base/errors.h"

#define SSE "x-amz-server-side-encryption"

/* Returns the tags as "k=v&k2=v2", percent-encoded. */
static char *
tagging(const ObPairList *tags)
{
	ObBuf buf;
	ObError error;
	char *text = NULL;

	ob_error_clear(&error);
	ob_buf_init(&buf, 64 * 1024);
	for (int i = 0; i < tags->n; i++)
	{
		if (i > 0)
			ob_buf_addc(&buf, '&');
		ob_uri_encode(&buf, tags->names[i], strlen(tags->names[i]), false);
		ob_buf_addc(&buf, '=');
		ob_uri_encode(&buf, tags->values[i], strlen(tags->values[i]), false);
	}
	if (ob_buf_check(&buf, &error) == OB_OK)
		text = pstrdup(buf.data);
	ob_buf_free(&buf);
	if (!text)
		ob_report(&error);
	return text;
}

static int
encryption_headers(const ObOptions *options, ObPair *headers)
{
	int n = 0;

	if (options->sse)
		headers[n++] = (ObPair){SSE, options->sse};
	if (options->kms_key_id)
		headers[n++] = (ObPair){SSE "-aws-kms-key-id", options->kms_key_id};
	if (options->has_bucket_key)
		headers[n++] = (ObPair){SSE "-bucket-key-enabled",
								options->bucket_key ? "true" : "false"};
	return n;
}

int
ob_headers_of_object(const ObOptions *options, ObPair *headers)
{
	int n = 0;
	char *type = options->content_type;

	/* A compressed object is no csv any more.  It is not marked as encoded
	 * either, because clients that decode transparently would store it
	 * decoded. */
	if (!type && options->codec->create)
		type = "application/octet-stream";
	headers[n++] = (ObPair){"Content-Type",
							type ? type : options->copy.format->content_type};
	if (options->storage_class)
		headers[n++] = (ObPair){"x-amz-storage-class", options->storage_class};
	if (options->acl)
		headers[n++] = (ObPair){"x-amz-acl", options->acl};
	if (options->tags.n > 0)
		headers[n++] = (ObPair){"x-amz-tagging", tagging(&options->tags)};
	n += encryption_headers(options, &headers[n]);
	for (int i = 0; i < options->metadata.n && n < OB_OBJECT_HEADERS_MAX; i++)
		headers[n++] =
			(ObPair){psprintf("x-amz-meta-%s", options->metadata.names[i]),
					 options->metadata.values[i]};
	return n;
}

int
ob_headers_of_small_object(const ObOptions *options, const char *content_type,
						   ObPair *headers)
{
	int n = 0;

	headers[n++] = (ObPair){"Content-Type", content_type};
	if (options->acl)
		headers[n++] = (ObPair){"x-amz-acl", options->acl};
	return n + encryption_headers(options, &headers[n]);
}

int
ob_headers_common(const ObOptions *options, ObPair *headers)
{
	int n = 0;

	if (options->expected_bucket_owner)
		headers[n++] = (ObPair){"x-amz-expected-bucket-owner",
								options->expected_bucket_owner};
	if (options->requester_pays)
		headers[n++] = (ObPair){"x-amz-request-payer", "requester"};
	return n;
}
