/*
 * server_intern.h
 *		Declarations shared by the server*.c files.
 *
 * test/core/server_intern.h
 */
#ifndef OB_TEST_SERVER_INTERN_H
#define OB_TEST_SERVER_INTERN_H

#include <openssl/ssl.h>

#include "server.h"

typedef struct Bytes
{
	char *data;
	size_t len;
} Bytes;

/* An object, an upload, or a part of one. */
typedef struct Stored
{
	struct Stored *next;
	char *key;
	char *marker; /* for objects and uploads */
	int number;   /* for uploads and parts */
	bool crc32;   /* for uploads: the algorithm in their Create */
	Bytes content;
	struct Stored *parts;
} Stored;

typedef struct LittleS3
{
	bool on;
	Stored *objects;
	Stored *uploads;
	int nuploads; /* ever created */
} LittleS3;

typedef struct Response
{
	int status;
	char headers[1024];
	const char *body;
	size_t body_len;
	char text[4096]; /* for bodies of responses made here */
} Response;

/* Fails without memory, since tests cannot go on. */
extern void *server_must(void *memory);
extern Bytes server_copy_bytes(const char *data, size_t len);
extern void server_sha256(const char *data, size_t len, char *hex);

/* ---- server_s3.c ---- */

extern Stored *stored_add(Stored **list, const char *key);
extern Stored *stored_find(Stored *list, const char *key);
extern void stored_free(Stored *list);

/* Processes the request, under the server's lock. */
extern void little_s3_respond(LittleS3 *s3, const ServerRequest *request,
							  Response *response);

/* ---- server_tls.c ---- */

/* Makes a certificate, and writes it to a temporary file of that name. */
extern SSL_CTX *server_tls_new(char *file, size_t size);

#endif
