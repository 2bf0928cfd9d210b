/*
 * server_intern.h
 *		What the server*.c files have in common.
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
	char *marker; /* of objects and uploads */
	int number;   /* of uploads and parts */
	bool crc32;   /* of uploads: the algorithm that they named */
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
	char text[4096]; /* for bodies made here */
} Response;

/* Tests cannot go on without memory. */
extern void *server_must(void *memory);
extern Bytes server_copy_bytes(const char *data, size_t len);
extern void server_sha256(const char *data, size_t len, char *hex);

/* ---- server_s3.c ---- */

extern Stored *stored_add(Stored **list, const char *key);
extern Stored *stored_find(Stored *list, const char *key);
extern void stored_free(Stored *list);

/* Carries the request out, under the server's lock. */
extern void little_s3_respond(LittleS3 *s3, const ServerRequest *request,
							  Response *response);

/* ---- server_tls.c ---- */

/* Makes a certificate, and writes it to a temporary file of that name. */
extern SSL_CTX *server_tls_new(char *file, size_t size);

#endif
