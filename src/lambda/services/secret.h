/*
 * secret.h
 *		The database's address and password, from Secrets Manager.
 *
 * src/lambda/services/secret.h
 *
 * A secret is cached for five minutes, and wiped when it is dropped.  Its JSON
 * is that of RDS's secrets: username, password, host, port (number or text),
 * dbname or database, engine ("postgres..." if there), and of ours sslmode
 * (default verify-full) and sslrootcert.
 */
#ifndef OBL_SECRET_H
#define OBL_SECRET_H

#include "core/aws/credentials.h"
#include "lambda/base/config.h"
#include "lambda/base/loop.h"

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

/* Fetches the secret and waits for it, unless it is cached and refresh is
 * false.  *changed (may be NULL) is set if the version differs from the cached
 * one.  Errors are OB_ECREDS, OB_EDENIED, OB_EMISSING, OB_EPROTO for a secret
 * that is not as above, and others */
extern ObCode obl_secret_get(OblSecret *secret, const OblAws *aws,
							 bool refresh, bool *changed,
							 ObError *error) OB_MUST_CHECK;
extern void obl_secret_wipe(OblSecret *secret);

#endif
