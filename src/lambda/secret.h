/*
 * secret.h
 *		The database's address and password, from Secrets Manager.
 *
 * src/lambda/secret.h
 *
 * Kept for five minutes, wiped when dropped.  The JSON is that of RDS's
 * secrets: username, password, host, port (number or text), dbname or
 * database, engine ("postgres..." if there), and of ours sslmode (default
 * verify-full) and sslrootcert.
 */
#ifndef OBL_SECRET_H
#define OBL_SECRET_H

#include "core/aws/credentials.h"
#include "lambda/config.h"
#include "lambda/loop.h"

#define OBL_VERSION 65

typedef struct OblSecret
{
	char *id; /* borrowed from the config */
	char version[OBL_VERSION];
	int64_t fetched_ms; /* 0: not fetched */
	/* malloc'd; NULL if not given */
	char *host, *port, *user, *password, *dbname, *sslmode, *sslrootcert;
} OblSecret;

typedef struct OblAws /* what all calls to AWS need */
{
	OblLoop *loop;
	ObProvider *provider;
	const OblConfig *config;
	int64_t deadline_ms;
} OblAws;

/* Waits until the secret is there; refresh: not from the cache. *changed (may
 * be NULL) is set if it is another version than the cached one.  OB_ECREDS,
 * OB_EDENIED, OB_EMISSING, OB_EPROTO for a secret that is not as above, ... */
extern ObCode obl_secret_get(OblSecret *secret, const OblAws *aws,
							 bool refresh, bool *changed,
							 ObError *error) OB_MUST_CHECK;
extern void obl_secret_wipe(OblSecret *secret);

#endif
