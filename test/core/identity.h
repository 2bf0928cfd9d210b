/*
 * identity.h
 *		Shared code of the tests of credentials.
 *
 * test/core/identity.h
 *
 * The fixture has a server that plays STS, ECS and EC2, an environment without
 * AWS's variables, a home folder of its own, and a provider with a waiting
 * caller.  Each secret of these tests contains "canary", which no error may
 * contain.
 */
#ifndef OB_TEST_IDENTITY_H
#define OB_TEST_IDENTITY_H

#include "testing.h"

#include "core/aws/credentials.h"
#include "server.h"

#define ID "AKIDENTITY"
#define SECRET "canary/secret+1="
#define TOKEN "canary//token+2=="
#define ROLE "arn:aws:iam::123456789012:role/lake"

typedef struct Identity
{
	Server *server;
	char url[64]; /* the server's */
	ObHttp *http;
	char home[64];
	ObProvider *provider;
	ObError error; /* of the last failed poll */
	ObProviderWait wait;
	int woken;
	int descriptors;
} Identity;

extern int identity_setup(void **state);
extern int identity_teardown(void **state);

#define IDENTITY_TEST(name) \
	cmocka_unit_test_setup_teardown(name, identity_setup, identity_teardown)

/* Sets a variable of the environment until the end of the test. */
extern void identity_env(const char *name, const char *format, ...)
	OB_PRINTF(2, 3);

/* Writes a file under the home folder; its path is valid until the next. */
extern const char *identity_file(Identity *identity, const char *name,
								 const char *text);

/* Replaces the client, and frees the provider that uses it. */
extern void identity_use_http(Identity *identity,
							  const ObHttpOptions *options);

/* Makes the provider, which replaces an earlier one. */
extern void identity_use(Identity *identity,
						 const ObCredentialsOptions *options);

/* Makes a provider of a source without other options. */
extern void identity_use_source(Identity *identity,
								ObCredentialsSource source);

/* Polls once. */
extern ObProviderState identity_poll(Identity *identity);

/* Polls, and drives as long as the provider is busy. */
extern ObProviderState identity_wait(Identity *identity);

/* Drives until the server has received n requests in all. */
extern void identity_drive(Identity *identity, int n);

/* A UTC time as AWS writes it, some seconds from now; static. */
extern const char *identity_time(int seconds);

/* These add rules for the server. */
extern void identity_json(Identity *identity, const char *target, int times,
						  const char *id, int expires_in);
extern void identity_sts(Identity *identity, int times, const char *id,
						 int expires_in);
extern void identity_refuse(Identity *identity, const char *target, int times,
							int status, const char *body);

/* ---- assertions ---- */

#define assert_ready(identity, id, secret, token) \
	assert_ready_at(identity, id, secret, token, __FILE__, __LINE__)
extern void assert_ready_at(Identity *identity, const char *id,
							const char *secret, const char *token,
							const char *file, int line);

/* The last poll failed with OB_ECREDS, that text, and no secret. */
#define assert_failed(identity, part) \
	assert_failed_at(identity, part, __FILE__, __LINE__)
extern void assert_failed_at(Identity *identity, const char *part,
							 const char *file, int line);

/* A decoded parameter of a form; "" if it is missing. */
extern const char *identity_form(const ServerRequest *request,
								 const char *name);

/* The nth request is signed for STS with these keys. */
#define assert_signed(identity, n, id, secret, token) \
	assert_signed_at(identity, n, id, secret, token, __FILE__, __LINE__)
extern void assert_signed_at(Identity *identity, int n, const char *id,
							 const char *secret, const char *token,
							 const char *file, int line);

#endif
