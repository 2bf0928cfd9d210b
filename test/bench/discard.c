/*
 * discard.c
 *		An S3 server that discards its input, for benchmarks.
 *
 * test/bench/discard.c
 *
 * A benchmark of an uploader on one machine measures the server as well,
 * unless the server costs next to nothing.  This one implements just enough of
 * S3 (path style: PutObject, multipart uploads, HeadObject, an empty
 * ListMultipartUploads) for an export to succeed, on loopback, without TLS.
 * One thread serves all connections through epoll.  The bytes of an object are
 * dropped inside the kernel by recv(MSG_TRUNC): they are never copied to us.
 *
 * A fast uploader is worth nothing if it is wrong, so the server checks
 * everything that costs nothing: lengths, the form of x-amz-content-sha256,
 * part numbers, part sizes, and that Complete names known parts in order.  A
 * request that S3 would refuse is refused with S3's error and counted as a
 * violation, which is reported on stderr and in GET /-/stats, as JSON.  With
 * --sample K the content of every Kth object body is also read and its SHA-256
 * compared with the announced one; that costs CPU, so it is not for timing.
 * Signatures are not checked.
 *
 * The first line on stdout is "port N".  SIGTERM and SIGINT end it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#define HEAD_MAX 16384
#define OUT_MAX 16384
#define PATH_SIZE 4096 /* a key of 1,024 bytes, each of them encoded */
#define META_SIZE 4096 /* S3 allows 2 KB in all */
#define ID_SIZE 33     /* 32 hexadecimal digits: upload ids and ETags */
#define SHA_SIZE 65
#define SCRATCH_SIZE (256 * 1024)
#define COMPLETE_MAX (4 * 1024 * 1024) /* 10,000 parts take about 1 MB */
#define LENGTH_MAX (INT64_C(5) << 40)
#define PART_MAX 10000
#define PART_MIN_BYTES (5 * 1024 * 1024)
#define OBJECTS_KEPT 256
#define EVENTS_MAX 64
#define VIOLATIONS_REPORTED 20

#define XML_HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define XML_NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define XML_TYPE "Content-Type: application/xml\r\n"
#define NO_LENGTH (-1)

typedef enum Kind
{
	KIND_PUT,
	KIND_CREATE,
	KIND_PART,
	KIND_COMPLETE,
	KIND_ABORT,
	KIND_HEAD,
	KIND_LIST,
	KIND_OTHER,
	KIND_STATS /* not a request of S3: the last one, which is not counted */
} Kind;

static const char *const kind_names[] = {"put",   "create", "part", "complete",
										 "abort", "head",   "list", "other"};

/* The use of a request body's bytes. */
typedef enum BodyMode
{
	BODY_DISCARD,
	BODY_HASH,
	BODY_KEEP
} BodyMode;

/* An error response; NULL code: none. */
typedef struct Refusal
{
	int status;
	const char *code;
} Refusal;

typedef struct Request
{
	Kind kind;
	char path[PATH_SIZE];    /* as sent, without the query */
	char upload_id[ID_SIZE]; /* "" if missing or unknown */
	char sha256[SHA_SIZE];   /* "" if missing or malformed */
	char meta[META_SIZE];    /* x-amz-meta-* header lines */
	size_t meta_len;
	int64_t length;
	long part_number;
	bool expect;
	bool chunked;
	Refusal refusal; /* found in the head, sent after the body */
} Request;

typedef struct Conn
{
	int fd;
	bool in_body;
	bool closing; /* close once "out" is sent */
	bool writing; /* epoll watches for room, not for requests */
	char head[HEAD_MAX + 1];
	size_t head_len;
	char out[OUT_MAX];
	size_t out_len;
	size_t out_sent;
	Request request;
	BodyMode body_mode;
	int64_t body_left;
	char *body; /* only with BODY_KEEP */
	size_t body_len;
	EVP_MD_CTX *digest; /* only with BODY_HASH */
} Conn;

typedef struct Upload
{
	struct Upload *next;
	char id[ID_SIZE];
	char *path;
	char *meta;
	int64_t size[PART_MAX + 1];
	uint64_t etag[PART_MAX + 1]; /* 0: no such part */
} Upload;

typedef struct Object
{
	char *path;
	char *meta;
	int64_t size;
	uint64_t etag;
} Object;

static struct
{
	int epoll;
	int listener;
	int signals;
	long sample;
	Upload *uploads;
	Object objects[OBJECTS_KEPT]; /* a ring: the newest replace the oldest */
	uint64_t object_next;
	uint64_t serial; /* for request ids, upload ids and ETags */
	uint64_t requests[KIND_STATS];
	uint64_t bodies;
	uint64_t bytes_received;
	uint64_t bytes_stored;
	uint64_t objects_stored;
	uint64_t uploads_open;
	uint64_t verified;
	uint64_t violations;
	char first_violation[256];
	char scratch[SCRATCH_SIZE];
} server;

/* Ends the process: the benchmark cannot go on without this server. */
static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *format, ...)
{
	va_list args;

	fputs("discard: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void *
need(void *memory)
{
	if (memory == NULL)
		die("out of memory");
	return memory;
}

/* Counts a violation; its text must be safe inside a JSON string. */
static void __attribute__((format(printf, 1, 2)))
violation(const char *format, ...)
{
	char text[sizeof(server.first_violation)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *p = text; *p != '\0'; p++)
		if (*p < ' ' || *p > '~' || *p == '"' || *p == '\\')
			*p = '?';
	if (server.violations++ == 0)
		memcpy(server.first_violation, text, sizeof(text));
	if (server.violations <= VIOLATIONS_REPORTED)
		fprintf(stderr, "discard: violation: %s\n", text);
}

/*
 * Responses
 */

static void __attribute__((format(printf, 2, 3)))
out_add(Conn *conn, const char *format, ...)
{
	size_t room = sizeof(conn->out) - conn->out_len;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(conn->out + conn->out_len, room, format, args);
	va_end(args);
	if (len < 0 || (size_t) len >= room)
		die("an answer is longer than %zu bytes", sizeof(conn->out));
	conn->out_len += len;
}

static const char *
status_text(int status)
{
	switch (status)
	{
		case 200:
			return "OK";
		case 204:
			return "No Content";
		case 400:
			return "Bad Request";
		case 404:
			return "Not Found";
		case 411:
			return "Length Required";
		case 501:
			return "Not Implemented";
	}
	return "Error";
}

/* headers: whole lines, or "".  body: NULL if the headers have its length. */
static void
reply(Conn *conn, int status, const char *headers, const char *body)
{
	time_t now = time(NULL);
	struct tm tm;
	char date[64];

	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	out_add(conn, "HTTP/1.1 %d %s\r\nDate: %s\r\nServer: discard\r\n", status,
			status_text(status), date);
	out_add(conn, "x-amz-request-id: %016" PRIX64 "\r\n%s", ++server.serial,
			headers);
	if (conn->closing)
		out_add(conn, "Connection: close\r\n");
	if (body != NULL)
		out_add(conn, "Content-Length: %zu\r\n", strlen(body));
	out_add(conn, "\r\n%s", body != NULL ? body : "");
}

static void
reply_refusal(Conn *conn, Refusal refusal)
{
	char body[256];

	/* A response to HEAD has no body, whatever its status is. */
	if (conn->request.kind == KIND_HEAD)
	{
		reply(conn, refusal.status, "", "");
		return;
	}
	snprintf(body, sizeof(body),
			 XML_HEAD "<Error><Code>%s</Code><Message>%s</Message></Error>",
			 refusal.code, refusal.code);
	reply(conn, refusal.status, XML_TYPE, body);
}

/* Responds to a request after which the connection cannot be parsed any
 * more. */
static void
reply_last(Conn *conn, int status, const char *code)
{
	conn->closing = true;
	reply_refusal(conn, (Refusal){status, code});
}

/*
 * Uploads and objects
 */

static Upload *
upload_find(const char *id)
{
	for (Upload *upload = server.uploads; upload; upload = upload->next)
		if (strcmp(upload->id, id) == 0)
			return upload;
	return NULL;
}

static Upload *
upload_new(const Request *request)
{
	Upload *upload = need(calloc(1, sizeof(Upload)));

	snprintf(upload->id, sizeof(upload->id), "%032" PRIx64, ++server.serial);
	upload->path = need(strdup(request->path));
	upload->meta = need(strdup(request->meta));
	upload->next = server.uploads;
	server.uploads = upload;
	server.uploads_open++;
	return upload;
}

static void
upload_free(Upload *upload)
{
	Upload **link = &server.uploads;

	while (*link != upload)
		link = &(*link)->next;
	*link = upload->next;
	server.uploads_open--;
	free(upload->path);
	free(upload->meta);
	free(upload);
}

/* The newest object of that name, or NULL. */
static Object *
object_find(const char *path)
{
	for (uint64_t back = 1; back <= OBJECTS_KEPT; back++)
	{
		Object *object;

		if (back > server.object_next)
			return NULL;
		object = &server.objects[(server.object_next - back) % OBJECTS_KEPT];
		if (strcmp(object->path, path) == 0)
			return object;
	}
	return NULL;
}

static uint64_t
object_add(const char *path, const char *meta, int64_t size)
{
	Object *object = &server.objects[server.object_next++ % OBJECTS_KEPT];

	free(object->path);
	free(object->meta);
	object->path = need(strdup(path));
	object->meta = need(strdup(meta));
	object->size = size;
	object->etag = ++server.serial;
	server.objects_stored++;
	server.bytes_stored += size;
	return object->etag;
}

/*
 * The requests, each called when its body has arrived
 */

static void
reply_etag(Conn *conn, uint64_t etag)
{
	char header[64];

	snprintf(header, sizeof(header), "ETag: \"%032" PRIx64 "\"\r\n", etag);
	reply(conn, 200, header, "");
}

static void
serve_part(Conn *conn, Upload *upload)
{
	const Request *request = &conn->request;

	upload->size[request->part_number] = request->length;
	upload->etag[request->part_number] = ++server.serial;
	reply_etag(conn, upload->etag[request->part_number]);
}

static void
serve_create(Conn *conn)
{
	const Upload *upload = upload_new(&conn->request);
	char body[512];

	snprintf(body, sizeof(body),
			 XML_HEAD "<InitiateMultipartUploadResult" XML_NS ">"
					  "<UploadId>%s</UploadId>"
					  "</InitiateMultipartUploadResult>",
			 upload->id);
	reply(conn, 200, XML_TYPE, body);
}

/* Returns the text after tag, which must occur before end, or NULL. */
static const char *
xml_text(const char *from, const char *end, const char *tag)
{
	const char *found = strstr(from, tag);

	return found != NULL && found < end ? found + strlen(tag) : NULL;
}

/* Returns whether text, with or without quotes, is that ETag. */
static bool
etag_matches(const char *text, uint64_t etag)
{
	static const char *const quotes[] = {"\"", "&quot;", "&#34;"};
	char expected[ID_SIZE];

	for (size_t i = 0; i < sizeof(quotes) / sizeof(quotes[0]); i++)
	{
		size_t len = strlen(quotes[i]);

		if (strncmp(text, quotes[i], len) == 0)
		{
			text += len;
			break;
		}
	}
	snprintf(expected, sizeof(expected), "%032" PRIx64, etag);
	return strncmp(text, expected, sizeof(expected) - 1) == 0;
}

/*
 * Adds up the parts that a Complete names.  Returns NULL, or the code of the
 * error.  The XML is searched, not parsed: its writer is known to be
 * well-behaved.
 */
static const char *
complete_parts(const Upload *upload, const char *xml, int64_t *size)
{
	long last = 0;
	const char *part = xml;

	*size = 0;
	while ((part = strstr(part, "<Part>")) != NULL)
	{
		const char *end = strstr(part, "</Part>");
		const char *digits = end ? xml_text(part, end, "<PartNumber>") : NULL;
		const char *etag = end ? xml_text(part, end, "<ETag>") : NULL;
		long number;

		if (digits == NULL || etag == NULL)
			return "MalformedXML";
		number = strtol(digits, NULL, 10);
		if (number < 1 || number > PART_MAX || upload->etag[number] == 0 ||
			!etag_matches(etag, upload->etag[number]))
			return "InvalidPart";
		if (number <= last)
			return "InvalidPartOrder";
		if (last != 0 && upload->size[last] < PART_MIN_BYTES)
			return "EntityTooSmall";
		*size += upload->size[number];
		last = number;
		part = end;
	}
	return last == 0 ? "MalformedXML" : NULL;
}

static void
serve_complete(Conn *conn, Upload *upload)
{
	int64_t size;
	uint64_t etag;
	const char *code = complete_parts(upload, conn->body, &size);
	char body[512];

	if (code != NULL)
	{
		violation("Complete of %s: %s", upload->path, code);
		reply_refusal(conn, (Refusal){400, code});
		return;
	}
	etag = object_add(upload->path, upload->meta, size);
	upload_free(upload);
	snprintf(body, sizeof(body),
			 XML_HEAD "<CompleteMultipartUploadResult" XML_NS ">"
					  "<ETag>&quot;%032" PRIx64 "&quot;</ETag>"
					  "</CompleteMultipartUploadResult>",
			 etag);
	reply(conn, 200, XML_TYPE, body);
}

static void
serve_head(Conn *conn)
{
	const Object *object = object_find(conn->request.path);
	char headers[META_SIZE + 128];

	if (object == NULL)
	{
		reply_refusal(conn, (Refusal){404, "NoSuchKey"});
		return;
	}
	snprintf(headers, sizeof(headers),
			 "ETag: \"%032" PRIx64 "\"\r\nContent-Length: %" PRId64 "\r\n%s",
			 object->etag, object->size, object->meta);
	reply(conn, 200, headers, NULL);
}

static void
serve_stats(Conn *conn)
{
	char body[2048];
	int len = 0;

	len += snprintf(body, sizeof(body), "{\"requests\": {");
	for (int kind = 0; kind < KIND_STATS; kind++)
		len += snprintf(body + len, sizeof(body) - len, "%s\"%s\": %" PRIu64,
						kind > 0 ? ", " : "", kind_names[kind],
						server.requests[kind]);
	snprintf(body + len, sizeof(body) - len,
			 "}, \"bytes_received\": %" PRIu64 ", \"bytes_stored\": %" PRIu64
			 ", \"objects\": %" PRIu64 ", \"uploads_open\": %" PRIu64
			 ", \"verified\": %" PRIu64 ", \"violations\": %" PRIu64
			 ", \"first_violation\": \"%s\"}\n",
			 server.bytes_received, server.bytes_stored, server.objects_stored,
			 server.uploads_open, server.verified, server.violations,
			 server.first_violation);
	reply(conn, 200, "Content-Type: application/json\r\n", body);
}

/* Serves Part, Complete and Abort: the requests that name an upload. */
static void
serve_upload(Conn *conn)
{
	Upload *upload = upload_find(conn->request.upload_id);

	if (upload == NULL || strcmp(upload->path, conn->request.path) != 0)
		reply_refusal(conn, (Refusal){404, "NoSuchUpload"});
	else if (conn->request.kind == KIND_PART)
		serve_part(conn, upload);
	else if (conn->request.kind == KIND_COMPLETE)
		serve_complete(conn, upload);
	else
	{
		upload_free(upload);
		reply(conn, 204, "", NULL);
	}
}

static void
serve(Conn *conn)
{
	const Request *request = &conn->request;

	if (request->refusal.code != NULL)
	{
		reply_refusal(conn, request->refusal);
		return;
	}
	switch (request->kind)
	{
		case KIND_PUT:
			reply_etag(conn, object_add(request->path, request->meta,
										request->length));
			break;
		case KIND_CREATE:
			serve_create(conn);
			break;
		case KIND_PART:
		case KIND_COMPLETE:
		case KIND_ABORT:
			serve_upload(conn);
			break;
		case KIND_HEAD:
			serve_head(conn);
			break;
		case KIND_LIST:
			reply(conn, 200, XML_TYPE,
				  XML_HEAD "<ListMultipartUploadsResult" XML_NS ">"
						   "<IsTruncated>false</IsTruncated>"
						   "</ListMultipartUploadsResult>");
			break;
		case KIND_STATS:
			serve_stats(conn);
			break;
		case KIND_OTHER:
			reply_refusal(conn, (Refusal){501, "NotImplemented"});
			break;
	}
}

/*
 * Heads
 */

/* Records an error in a head; the first one wins. */
static void
refuse(Request *request, const char *code, const char *why)
{
	violation("%s: %s", request->path, why);
	if (request->refusal.code == NULL)
		request->refusal = (Refusal){400, code};
}

static void
parse_query(Request *request, char *query, bool *uploads, bool *part)
{
	char *rest = query;
	char *item;

	*uploads = *part = false;
	while ((item = strsep(&rest, "&")) != NULL)
	{
		char *value = item;
		const char *name = strsep(&value, "=");
		char *end;

		if (strcmp(name, "uploads") == 0)
			*uploads = true;
		else if (strcmp(name, "uploadId") == 0 && value != NULL)
			snprintf(request->upload_id, sizeof(request->upload_id), "%.32s",
					 strlen(value) == ID_SIZE - 1 ? value : "unknown");
		else if (strcmp(name, "partNumber") == 0)
		{
			*part = true;
			request->part_number = value ? strtol(value, &end, 10) : 0;
			if (value == NULL || *value == '\0' || *end != '\0')
				request->part_number = 0;
		}
	}
}

static Kind
classify(const Request *request, const char *method, bool uploads, bool part)
{
	bool id = request->upload_id[0] != '\0';

	if (strcmp(method, "PUT") == 0 && !uploads && part == id)
		return id ? KIND_PART : KIND_PUT;
	if (strcmp(method, "POST") == 0 && !part && uploads != id)
		return id ? KIND_COMPLETE : KIND_CREATE;
	if (strcmp(method, "DELETE") == 0 && id)
		return KIND_ABORT;
	if (strcmp(method, "HEAD") == 0)
		return KIND_HEAD;
	if (strcmp(method, "GET") == 0 && uploads)
		return KIND_LIST;
	if (strcmp(method, "GET") == 0 && strcmp(request->path, "/-/stats") == 0)
		return KIND_STATS;
	return KIND_OTHER;
}

static bool
parse_request_line(Request *request, char *line)
{
	char *rest = line;
	const char *method = strsep(&rest, " ");
	char *path = strsep(&rest, " ");
	char *query = path;
	bool uploads, part;

	if (rest == NULL || strcmp(rest, "HTTP/1.1") != 0 || path[0] != '/' ||
		strlen(path) >= PATH_SIZE)
		return false;
	strsep(&query, "?");
	strcpy(request->path, path);
	parse_query(request, query, &uploads, &part);
	request->kind = classify(request, method, uploads, part);
	return true;
}

static bool
parse_length(Request *request, const char *value)
{
	char *end;

	if (value[0] < '0' || value[0] > '9')
		return false;
	errno = 0;
	request->length = strtoll(value, &end, 10);
	return *end == '\0' && errno == 0 && request->length <= LENGTH_MAX;
}

static bool
is_sha256(const char *value)
{
	if (strcmp(value, "UNSIGNED-PAYLOAD") == 0)
		return true;
	return strlen(value) == SHA_SIZE - 1 &&
		   strspn(value, "0123456789abcdef") == SHA_SIZE - 1;
}

/* Returns false if the request cannot be parsed. */
static bool
parse_header(Conn *conn, char *line)
{
	Request *request = &conn->request;
	char *value = line;
	char *name = strsep(&value, ":");
	size_t room = sizeof(request->meta) - request->meta_len;

	if (value == NULL)
		return false;
	value += strspn(value, " \t");
	for (size_t n = strlen(value); n > 0 && strchr(" \t", value[n - 1]); n--)
		value[n - 1] = '\0';
	if (strcasecmp(name, "Content-Length") == 0)
		return parse_length(request, value);
	if (strcasecmp(name, "Transfer-Encoding") == 0)
		request->chunked = true;
	else if (strcasecmp(name, "Expect") == 0)
		request->expect = strcasecmp(value, "100-continue") == 0;
	else if (strcasecmp(name, "Connection") == 0)
		conn->closing = strcasecmp(value, "close") == 0;
	else if (strcasecmp(name, "x-amz-content-sha256") == 0 && is_sha256(value))
		strcpy(request->sha256, value);
	else if (strncasecmp(name, "x-amz-meta-", 11) == 0)
	{
		int len = snprintf(request->meta + request->meta_len, room,
						   "%s: %s\r\n", name, value);

		if (len < 0 || (size_t) len >= room)
			return false;
		request->meta_len += len;
	}
	return true;
}

/* Splits the head, a string, in place. */
static bool
parse_head(Conn *conn, char *head)
{
	char *rest = head;
	char *line = strsep(&rest, "\n");

	memset(&conn->request, 0, sizeof(conn->request));
	conn->request.kind = KIND_OTHER;
	conn->request.length = NO_LENGTH;
	line[strcspn(line, "\r")] = '\0';
	if (!parse_request_line(&conn->request, line))
		return false;
	while ((line = strsep(&rest, "\n")) != NULL)
	{
		line[strcspn(line, "\r")] = '\0';
		if (line[0] != '\0' && !parse_header(conn, line))
			return false;
	}
	return true;
}

/*
 * Bodies
 */

/* Decides the use of the body, now that its head is known. */
static void
body_start(Conn *conn)
{
	const Request *request = &conn->request;
	bool hashable = request->kind == KIND_PUT || request->kind == KIND_PART;

	if (request->refusal.code != NULL || request->sha256[0] == 'U')
		hashable = false;

	conn->in_body = true;
	conn->body_left = request->length;
	conn->body_len = 0;
	conn->body_mode = BODY_DISCARD;
	if (request->kind == KIND_COMPLETE)
	{
		conn->body_mode = BODY_KEEP;
		conn->body = need(malloc(request->length + 1));
	}
	else if (hashable && server.sample > 0 &&
			 server.bodies++ % server.sample == 0)
	{
		conn->body_mode = BODY_HASH;
		conn->digest = need(EVP_MD_CTX_new());
		if (!EVP_DigestInit_ex(conn->digest, EVP_sha256(), NULL))
			die("no SHA-256");
	}
	if (request->expect && request->length > 0)
		out_add(conn, "HTTP/1.1 100 Continue\r\n\r\n");
}

static void
body_take(Conn *conn, const char *data, size_t len)
{
	if (conn->body_mode == BODY_KEEP)
		memcpy(conn->body + conn->body_len, data, len);
	else if (conn->body_mode == BODY_HASH &&
			 !EVP_DigestUpdate(conn->digest, data, len))
		die("SHA-256 failed");
	conn->body_len += len;
	conn->body_left -= len;
}

static void
body_verify(Conn *conn)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	unsigned int len;

	if (!EVP_DigestFinal_ex(conn->digest, hash, &len))
		die("SHA-256 failed");
	for (unsigned int i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	if (strcmp(hex, conn->request.sha256) == 0)
		server.verified++;
	else
		refuse(&conn->request, "XAmzContentSHA256Mismatch",
			   "the body is not what x-amz-content-sha256 says");
}

static void
body_free(Conn *conn)
{
	EVP_MD_CTX_free(conn->digest);
	conn->digest = NULL;
	free(conn->body);
	conn->body = NULL;
}

static void
body_end(Conn *conn)
{
	Kind kind = conn->request.kind;

	if (conn->body_mode == BODY_HASH)
		body_verify(conn);
	else if (conn->body_mode == BODY_KEEP)
		conn->body[conn->body_len] = '\0';
	if (kind != KIND_STATS)
		server.requests[kind]++;
	if (kind == KIND_PUT || kind == KIND_PART)
		server.bytes_received += conn->request.length;
	serve(conn);
	body_free(conn);
	conn->in_body = false;
}

/* Checks the rules that a head can violate. */
static void
check_head(Conn *conn)
{
	Request *request = &conn->request;
	bool bodied = request->kind <= KIND_COMPLETE;

	if (request->chunked)
	{
		violation("%s: Transfer-Encoding", request->path);
		reply_last(conn, 501, "NotImplemented");
		return;
	}
	if (request->length == NO_LENGTH && bodied)
	{
		violation("%s: no Content-Length", request->path);
		reply_last(conn, 411, "MissingContentLength");
		return;
	}
	if (request->kind == KIND_COMPLETE && request->length > COMPLETE_MAX)
	{
		violation("%s: Complete of %" PRId64 " bytes", request->path,
				  request->length);
		reply_last(conn, 400, "MalformedXML");
		return;
	}
	if (request->length == NO_LENGTH)
		request->length = 0;
	if (request->sha256[0] == '\0' && request->kind != KIND_STATS)
		refuse(request, "InvalidRequest", "no valid x-amz-content-sha256");
	if (request->kind == KIND_PART &&
		(request->part_number < 1 || request->part_number > PART_MAX))
		refuse(request, "InvalidArgument", "part number not in 1..10000");
	body_start(conn);
	if (conn->body_left == 0)
		body_end(conn);
}

/*
 * Connections
 */

/* Drops used bytes from the front of the buffer. */
static void
conn_used(Conn *conn, size_t len)
{
	conn->head_len -= len;
	memmove(conn->head, conn->head + len, conn->head_len);
}

/* Processes buffered bytes; returns false if more are needed. */
static bool
conn_feed(Conn *conn)
{
	char *end;

	if (conn->head_len == 0)
		return false;
	if (conn->in_body)
	{
		size_t len = conn->head_len;

		if ((int64_t) len > conn->body_left)
			len = conn->body_left;
		body_take(conn, conn->head, len);
		conn_used(conn, len);
		if (conn->body_left == 0)
			body_end(conn);
		return true;
	}
	end = memmem(conn->head, conn->head_len, "\r\n\r\n", 4);
	if (end == NULL && conn->head_len < HEAD_MAX)
		return false;
	if (end != NULL)
		*end = '\0';
	if (end == NULL || !parse_head(conn, conn->head))
	{
		violation("a head that cannot be understood");
		reply_last(conn, 400, "InvalidRequest");
		return true;
	}
	conn_used(conn, end + 4 - conn->head);
	check_head(conn);
	return true;
}

/* Like recv; sets "more" if there may be more to read. */
static ssize_t
conn_read(Conn *conn, bool *more)
{
	size_t want = HEAD_MAX - conn->head_len;
	ssize_t got;

	if (conn->in_body)
	{
		want = sizeof(server.scratch);
		if ((int64_t) want > conn->body_left)
			want = conn->body_left;
		got = recv(conn->fd, server.scratch, want,
				   conn->body_mode == BODY_DISCARD ? MSG_TRUNC : 0);
		if (got > 0)
			body_take(conn, server.scratch, got);
		if (got > 0 && conn->body_left == 0)
			body_end(conn);
	}
	else
	{
		got = recv(conn->fd, conn->head + conn->head_len, want, 0);
		if (got > 0)
			conn->head_len += got;
	}
	*more = got == (ssize_t) want;
	return got;
}

/* Returns false if the connection is lost. */
static bool
conn_flush(Conn *conn)
{
	while (conn->out_sent < conn->out_len)
	{
		ssize_t sent = send(conn->fd, conn->out + conn->out_sent,
							conn->out_len - conn->out_sent, MSG_NOSIGNAL);

		if (sent < 0)
			return errno == EAGAIN || errno == EINTR;
		conn->out_sent += sent;
	}
	conn->out_len = conn->out_sent = 0;
	return true;
}

/*
 * Serves until there is nothing to read, or the peer does not read.  Returns
 * false when the connection has ended.
 */
static bool
conn_serve(Conn *conn)
{
	bool more = true;

	for (;;)
	{
		ssize_t got;

		if (!conn_flush(conn))
			return false;
		if (conn->out_len > 0)
			return true;
		if (conn->closing && !conn->in_body)
			return false;
		if (conn_feed(conn))
			continue;
		if (!more)
			return true;
		got = conn_read(conn, &more);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (got <= 0)
		{
			if (conn->in_body || conn->head_len > 0)
				violation("a connection that ended in mid request");
			return false;
		}
	}
}

static void
watch(int operation, int fd, uint32_t events, void *ptr)
{
	struct epoll_event event = {.events = events, .data.ptr = ptr};

	if (epoll_ctl(server.epoll, operation, fd, &event) != 0)
		die("epoll_ctl: %s", strerror(errno));
}

static void
conn_event(Conn *conn)
{
	if (!conn_serve(conn))
	{
		close(conn->fd);
		body_free(conn);
		free(conn);
	}
	else if (conn->writing != (conn->out_len > 0))
	{
		conn->writing = !conn->writing;
		watch(EPOLL_CTL_MOD, conn->fd, conn->writing ? EPOLLOUT : EPOLLIN,
			  conn);
	}
}

static void
conn_accept(void)
{
	int one = 1;
	int fd =
		accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	Conn *conn;

	if (fd < 0)
	{
		/* The peer may be gone already; a lack of descriptors is fatal. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			die("accept: %s", strerror(errno));
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	conn = need(calloc(1, sizeof(Conn)));
	conn->fd = fd;
	watch(EPOLL_CTL_ADD, fd, EPOLLIN, conn);
}

/*
 * The process
 */

static int
listen_on(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
								  .sin_port = htons(port),
								  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int one = 1;

	server.listener =
		socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (server.listener < 0)
		die("socket: %s", strerror(errno));
	setsockopt(server.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(server.listener, (struct sockaddr *) &address, len) != 0 ||
		listen(server.listener, SOMAXCONN) != 0 ||
		getsockname(server.listener, (struct sockaddr *) &address, &len) != 0)
		die("port %d: %s", port, strerror(errno));
	return ntohs(address.sin_port);
}

static void
watch_all(void)
{
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	if (sigprocmask(SIG_BLOCK, &ends, NULL) != 0)
		die("sigprocmask: %s", strerror(errno));
	server.signals = signalfd(-1, &ends, SFD_CLOEXEC);
	server.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (server.signals < 0 || server.epoll < 0)
		die("signalfd or epoll: %s", strerror(errno));
	watch(EPOLL_CTL_ADD, server.signals, EPOLLIN, &server.signals);
	watch(EPOLL_CTL_ADD, server.listener, EPOLLIN, &server.listener);
}

static void
run(void)
{
	struct epoll_event events[EVENTS_MAX];

	for (;;)
	{
		int n = epoll_wait(server.epoll, events, EVENTS_MAX, -1);

		if (n < 0 && errno != EINTR)
			die("epoll_wait: %s", strerror(errno));
		for (int i = 0; i < n; i++)
		{
			if (events[i].data.ptr == &server.signals)
				return;
			if (events[i].data.ptr == &server.listener)
				conn_accept();
			else
				conn_event(events[i].data.ptr);
		}
	}
}

static long
number_option(const char *name, const char *value, long max)
{
	char *end;
	long number = strtol(value, &end, 10);

	if (*value == '\0' || *end != '\0' || number < 0 || number > max)
		die("--%s takes a number from 0 to %ld", name, max);
	return number;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'},
		{"sample", required_argument, NULL, 's'},
		{NULL, 0, NULL, 0}};
	int port = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
	{
		if (option == 'p')
			port = number_option("port", optarg, 65535);
		else if (option == 's')
			server.sample = number_option("sample", optarg, INT32_MAX);
		else
			return 2;
	}
	if (optind < argc)
		die("usage: discard [--port N] [--sample K]");
	port = listen_on(port);
	watch_all();
	printf("port %d\n", port);
	fflush(stdout);
	run();
	return 0;
}
