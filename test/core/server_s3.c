/*
 * server_s3.c
 *		The test server's own little S3: one bucket, in memory.
 *
 * test/core/server_s3.c
 *
 * It refuses the same requests as S3, as far as the tests can cause them: a
 * body that does not match its hash or checksum, a body without a hash and
 * without TLS, parts that do not belong to their upload, and an object that
 * must not be replaced.  It computes checksums with zlib and OpenSSL, unlike
 * the client, which uses ISA-L.
 */
#include "testing.h"

#include "server_intern.h"

#include <openssl/evp.h>
#include <zlib.h>

#define PART_MIN ((size_t) 5 * 1024 * 1024)

void
stored_free(Stored *list)
{
	while (list)
	{
		Stored *next = list->next;

		stored_free(list->parts);
		free(list->key);
		free(list->marker);
		free(list->content.data);
		free(list);
		list = next;
	}
}

Stored *
stored_find(Stored *list, const char *key)
{
	while (list && strcmp(list->key, key) != 0)
		list = list->next;
	return list;
}

static Stored *
find_number(Stored *list, int number)
{
	while (list && list->number != number)
		list = list->next;
	return list;
}

static void
remove_stored(Stored **list, Stored *one)
{
	while (*list && *list != one)
		list = &(*list)->next;
	if (!*list)
		return;
	*list = one->next;
	one->next = NULL;
	stored_free(one);
}

Stored *
stored_add(Stored **list, const char *key)
{
	Stored *one = server_must(calloc(1, sizeof(Stored)));

	one->key = server_must(strdup(key));
	one->next = *list;
	*list = one;
	return one;
}

static void
respond_error(Response *response, int status, const char *code)
{
	response->status = status;
	response->body = response->text;
	response->body_len = (size_t) snprintf(
		response->text, sizeof(response->text),
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code>"
		"<Message>little S3</Message><RequestId>tx1</RequestId></Error>",
		code);
}

static void
respond_text(Response *response, int status, const char *text)
{
	response->status = status;
	snprintf(response->text, sizeof(response->text), "%s", text);
	response->body = response->text;
	response->body_len = strlen(response->text);
}

/* Writes the value of x-amz-checksum-crc32 for these bytes. */
static void
crc32_text(Bytes content, char *text)
{
	uint32_t crc = (uint32_t) crc32_z(0, (const unsigned char *) content.data,
									  content.len);
	const unsigned char bytes[4] = {crc >> 24, crc >> 16, crc >> 8, crc};

	EVP_EncodeBlock((unsigned char *) text, bytes, sizeof(bytes));
}

static bool
has_header(const ServerRequest *request, const char *name, const char *want)
{
	char value[100];

	return server_header(request, name, value, sizeof(value)) == 1 &&
		   strcmp(value, want) == 0;
}

/* Returns whether the request has a CRC-32, and another one than these
 * bytes. */
static bool
has_wrong_crc32(const ServerRequest *request, Bytes content)
{
	char value[100];
	char want[16];

	if (server_header(request, "x-amz-checksum-crc32", value, sizeof(value)) ==
		0)
		return false;
	crc32_text(content, want);
	return strcmp(value, want) != 0;
}

/* Returns the same for Content-MD5. */
static bool
has_wrong_md5(const ServerRequest *request, Bytes content)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char value[100];
	char want[32];

	if (server_header(request, "Content-MD5", value, sizeof(value)) == 0)
		return false;
	EVP_Digest(content.data, content.len, digest, NULL, EVP_md5(), NULL);
	EVP_EncodeBlock((unsigned char *) want, digest, 16);
	return strcmp(value, want) != 0;
}

static void
respond_stored(Response *response, const ServerRequest *request)
{
	char value[100];

	response->status = 200;
	snprintf(response->headers, sizeof(response->headers),
			 "ETag: \"%.32s\"\r\nx-amz-request-id: tx2\r\n", request->sha256);
	if (server_header(request, "x-amz-checksum-crc32", value, sizeof(value)) >
		0)
		snprintf(response->headers + strlen(response->headers),
				 sizeof(response->headers) - strlen(response->headers),
				 "x-amz-checksum-crc32: %s\r\n", value);
}

/* Returns whether the object exists although the request forbids that. */
static bool
is_taken(const LittleS3 *s3, const ServerRequest *request, const char *key)
{
	return has_header(request, "If-None-Match", "*") &&
		   stored_find(s3->objects, key) != NULL;
}

/* The upload that the query names; its id is "2~up/load+NUMBER", encoded. */
static Stored *
named_upload(LittleS3 *s3, const char *target)
{
	static const char prefix[] = "uploadId=2~up%2Fload%2B";
	const char *at = strstr(target, prefix);

	if (!at)
		return NULL;
	return find_number(s3->uploads, atoi(at + strlen(prefix)));
}

/* Concatenates the parts that the document lists; returns an S3 code if it is
 * wrong. */
static const char *
assemble(const Stored *upload, const char *document, Bytes *whole)
{
	const char *at = document;
	int last = 0;

	*whole = (Bytes){server_must(malloc(1)), 0};
	while ((at = strstr(at, "<PartNumber>")) != NULL)
	{
		const char *etag = strstr(at, "<ETag>");
		int number = atoi(at + strlen("<PartNumber>"));
		const Stored *part = find_number(upload->parts, number);
		char want[100] = "";
		char hex[65];

		if (part)
		{
			server_sha256(part->content.data, part->content.len, hex);
			snprintf(want, sizeof(want), "<ETag>\"%.32s\"</ETag>", hex);
		}
		if (!part || !etag || strncmp(etag, want, strlen(want)) != 0)
			return "InvalidPart";
		if (number != last + 1)
			return "InvalidPartOrder";
		last = number;
		at = etag;
		if (part->content.len < PART_MIN && strstr(at, "<PartNumber>"))
			return "EntityTooSmall";
		whole->data = server_must(
			realloc(whole->data, whole->len + part->content.len + 1));
		memcpy(whole->data + whole->len, part->content.data,
			   part->content.len);
		whole->len += part->content.len;
	}
	return last > 0 ? NULL : "MalformedXML";
}

static void
put_whole(LittleS3 *s3, const char *key, const char *marker, Bytes content)
{
	Stored *object = stored_find(s3->objects, key);

	if (!object)
		object = stored_add(&s3->objects, key);
	free(object->content.data);
	free(object->marker);
	object->content = content;
	object->marker = server_must(strdup(marker));
}

/* Returns an S3 code if the request and the object do not match. */
static const char *
complete_fault(const Stored *upload, const ServerRequest *request, Bytes whole)
{
	char size[32];

	if (server_header(request, "x-amz-mp-object-size", size, sizeof(size)) >
			0 &&
		strtoull(size, NULL, 10) != whole.len)
		return "InvalidRequest";
	if (upload->crc32 !=
		has_header(request, "x-amz-checksum-type", "FULL_OBJECT"))
		return "InvalidRequest";
	return has_wrong_crc32(request, whole) ? "BadDigest" : NULL;
}

static void
s3_complete(LittleS3 *s3, Stored *upload, const ServerRequest *request,
			Response *response)
{
	Bytes whole;
	const char *wrong = assemble(upload, request->body, &whole);

	if (!wrong)
		wrong = complete_fault(upload, request, whole);
	if (wrong || is_taken(s3, request, upload->key))
	{
		free(whole.data);
		respond_error(response, wrong ? 400 : 412,
					  wrong ? wrong : "PreconditionFailed");
		return;
	}
	put_whole(s3, upload->key, upload->marker, whole);
	remove_stored(&s3->uploads, upload);
	respond_text(response, 200,
				 "<?xml version=\"1.0\"?>\n<CompleteMultipartUploadResult>"
				 "<ETag>&quot;whole-2&quot;</ETag>"
				 "</CompleteMultipartUploadResult>");
}

static void
s3_part(Stored *upload, int number, const ServerRequest *request,
		Response *response)
{
	Stored *part = find_number(upload->parts, number);
	char value[100];

	if (upload->crc32 != (server_header(request, "x-amz-checksum-crc32", value,
										sizeof(value)) > 0))
	{
		respond_error(response, 400, "InvalidRequest");
		return;
	}
	if (!part)
		part = stored_add(&upload->parts, "");
	part->number = number;
	free(part->content.data);
	part->content = server_copy_bytes(request->body, request->body_len);
	respond_stored(response, request);
}

static void
s3_upload(LittleS3 *s3, const ServerRequest *request, Response *response)
{
	const char *number = strstr(request->target, "partNumber=");
	Stored *upload = named_upload(s3, request->target);

	if (!upload)
		respond_error(response, 404, "NoSuchUpload");
	else if (number)
		s3_part(upload, atoi(number + strlen("partNumber=")), request,
				response);
	else if (strcmp(request->method, "POST") == 0)
		s3_complete(s3, upload, request, response);
	else if (strcmp(request->method, "DELETE") == 0)
	{
		remove_stored(&s3->uploads, upload);
		response->status = 204;
	}
	else
		respond_text(response, 200, "<ListPartsResult></ListPartsResult>");
}

static void
s3_create(LittleS3 *s3, const ServerRequest *request, const char *key,
		  Response *response)
{
	Stored *upload = stored_add(&s3->uploads, key);
	char marker[100];
	char text[300];

	server_header(request, "x-amz-meta-onboard-upload", marker,
				  sizeof(marker));
	upload->number = ++s3->nuploads;
	upload->marker = server_must(strdup(marker));
	upload->crc32 = has_header(request, "x-amz-checksum-algorithm", "CRC32") &&
					has_header(request, "x-amz-checksum-type", "FULL_OBJECT");
	snprintf(text, sizeof(text),
			 "<InitiateMultipartUploadResult><UploadId>2~up/load+%d"
			 "</UploadId></InitiateMultipartUploadResult>",
			 upload->number);
	respond_text(response, 200, text);
}

static void
s3_put(LittleS3 *s3, const ServerRequest *request, const char *key,
	   Response *response)
{
	char marker[100];

	if (is_taken(s3, request, key))
	{
		respond_error(response, 412, "PreconditionFailed");
		return;
	}
	server_header(request, "x-amz-meta-onboard-upload", marker,
				  sizeof(marker));
	put_whole(s3, key, marker,
			  server_copy_bytes(request->body, request->body_len));
	respond_stored(response, request);
}

static void
s3_object(LittleS3 *s3, const ServerRequest *request, const char *key,
		  Response *response)
{
	const Stored *object = stored_find(s3->objects, key);

	if (strcmp(request->method, "PUT") == 0)
		s3_put(s3, request, key, response);
	else if (strcmp(request->method, "POST") == 0)
		s3_create(s3, request, key, response);
	else if (!object)
		respond_error(response, 404, "NoSuchKey");
	else
	{
		response->status = 200;
		response->body = object->content.data;
		response->body_len = object->content.len;
		snprintf(response->headers, sizeof(response->headers),
				 "X-Amz-Meta-Onboard-Upload: %s\r\nETag: \"found\"\r\n",
				 object->marker);
	}
}

/* Returns whether the body is the one that was signed, or TLS protects it. */
static bool
is_intact(const ServerRequest *request)
{
	return has_header(request, "x-amz-content-sha256", request->sha256) ||
		   (request->tls &&
			has_header(request, "x-amz-content-sha256", "UNSIGNED-PAYLOAD"));
}

void
little_s3_respond(LittleS3 *s3, const ServerRequest *request,
				  Response *response)
{
	/* in a tunnel, the bucket is in the host's name */
	const char *key = request->tunnel[0] ? request->target
										 : strchr(request->target + 1, '/');
	Bytes body = {request->body, request->body_len};
	char path[1024];

	snprintf(path, sizeof(path), "%.*s",
			 (int) strcspn(key ? key + 1 : "", "?"), key ? key + 1 : "");
	if (!is_intact(request))
		respond_error(response, 400, "XAmzContentSHA256Mismatch");
	else if (strcmp(request->method, "PUT") == 0 &&
			 (has_wrong_crc32(request, body) || has_wrong_md5(request, body)))
		respond_error(response, 400, "BadDigest");
	else if (strstr(request->target, "uploadId="))
		s3_upload(s3, request, response);
	else
		s3_object(s3, request, path, response);
}
