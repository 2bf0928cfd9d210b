/*
 * sigv4.h
 *		AWS Signature Version 4, header form.
 *
 * src/core/aws/sigv4.h
 *
 * Pure: request, credentials and time in, an Authorization value out.  See
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 * The path is signed exactly as given: S3 signs it encoded once.  Other
 * services encode it a second time (double_encode).
 */
#ifndef OB_SIGV4_H
#define OB_SIGV4_H

#include <time.h>

#include "core/base/buf.h"
#include "core/base/error.h"
#include "core/base/hash.h"

/* All borrowed; session_token may be NULL. */
typedef struct ObCredentials
{
	const char *access_key_id;
	const char *secret_access_key;
	const char *session_token;
} ObCredentials;

typedef struct ObPair
{
	const char *name;
	const char *value;
} ObPair;

/*
 * The derived key of one (secret, day, region, service), kept because its
 * derivation costs four HMACs.  Zero it before the first use and wipe it with
 * ob_sigv4_forget.
 */
typedef struct ObSigningKey
{
	bool valid;
	char scope[160]; /* yyyymmdd/region/service */
	unsigned char
		secret_hash[OB_SHA256_LEN]; /* SHA-256 of the secret it came from */
	unsigned char key[OB_SHA256_LEN];
} ObSigningKey;

typedef struct ObSignRequest
{
	const char *method;
	const char *path;      /* encoded */
	const char *query;     /* from ob_sigv4_query; "" if none */
	const ObPair *headers; /* all of them are signed; names in any case and
							* order; a name may occur twice */
	int nheaders;
	const char *payload_hash; /* hex SHA-256 or UNSIGNED-PAYLOAD */
	const char *region;
	const char *service; /* "s3", "sts", ... */
	time_t when;
	bool double_encode; /* not for S3 */
} ObSignRequest;

/* Writes encoded pairs sorted by encoded name, then value, joined by "&";
 * a NULL value is written as "name=". */
extern void ob_sigv4_query(ObBuf *out, const ObPair *pairs, int npairs);

/* yyyymmddThhmmssZ into out, which has room for 17 bytes. */
extern void ob_sigv4_timestamp(time_t when, char *out);

/*
 * Writes the value of the Authorization header.  canonical and to_sign, if
 * not NULL, get the two intermediate texts (tests compare them with AWS's
 * vectors; they hold the session token, so nothing may log them).
 */
extern ObCode ob_sigv4_sign(ObSigningKey *cache,
							const ObCredentials *credentials,
							const ObSignRequest *request, ObBuf *canonical,
							ObBuf *to_sign, ObBuf *authorization,
							ObError *error) OB_MUST_CHECK;

extern void ob_sigv4_forget(ObSigningKey *cache);

#endif
