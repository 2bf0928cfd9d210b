/*
 * credentials.h
 *		Credentials from AWS's usual sources: found, fetched, renewed in time.
 *
 * src/core/aws/credentials.h
 *
 * A provider gives the credentials of one source, or of the first configured
 * source of the chain.  Some sources are just read (keys, environment, profile
 * files); the others are fetched over HTTP, through the ObHttp of their users,
 * so a host that drives its requests drives these fetches as well.  A source
 * that is configured but fails is an error that names it: no export silently
 * runs under another identity.
 *
 * Temporary credentials are renewed 5 minutes before they expire, while the
 * old ones remain in use; a renewal that fails is tried again 30 s later,
 * until they expire.  Credentials from an instance's metadata service are used
 * even if they have expired, for 5 to 10 minutes each time.
 *
 * A command (credential_process) is never run: it would run as the host's
 * user.  See https://docs.aws.amazon.com/sdkref/latest/guide/
 */
#ifndef OB_CREDENTIALS_H
#define OB_CREDENTIALS_H

#include "core/http/http.h"
#include "core/aws/sigv4.h"

typedef enum ObCredentialsSource
{
	OB_CREDENTIALS_KEYS,        /* keys in the options, from a user mapping */
	OB_CREDENTIALS_ENVIRONMENT, /* AWS_ACCESS_KEY_ID and so on */
	OB_CREDENTIALS_PROFILE,     /* ~/.aws/credentials and ~/.aws/config */
	OB_CREDENTIALS_WEB_IDENTITY,
	OB_CREDENTIALS_CONTAINER, /* ECS, EKS Pod Identity */
	OB_CREDENTIALS_INSTANCE,  /* EC2's metadata service, version 2 */
	/* environment, profile, web identity, container, else instance */
	OB_CREDENTIALS_CHAIN
} ObCredentialsSource;

typedef struct ObCredentialsOptions
{
	ObCredentialsSource source;
	ObCredentials keys;  /* OB_CREDENTIALS_KEYS only */
	const char *profile; /* NULL: AWS_PROFILE's, or "default" */

	/* A role to assume with the source's credentials; NULL: none */
	const char *role_arn;
	const char *external_id; /* NULL: none */
	const char *region;      /* STS's region; needed for any role */
	/* NULL: AWS_ENDPOINT_URL_STS's, the profile's, or AWS's own of the
	 * region */
	const char *sts_endpoint;
	/* Properties of the store: the variant of AWS's hosts, and whether it is
	 * AWS's.  ca_file verifies STS, too, if both STS and the store are AWS's,
	 * or neither is. */
	unsigned variant;
	bool store_is_aws;

	/*
	 * Credentials that another process of the same export has already fetched
	 * with these options; access_key_id is NULL if there are none.
	 * known_expires is a Unix time; 0: never.
	 */
	ObCredentials known;
	int64_t known_expires;
} ObCredentialsOptions;

typedef struct ObProvider ObProvider;

/* Copies the options; http is borrowed.  Reads no files and sends no requests
 * yet.  Returns NULL on error. */
extern ObProvider *ob_provider_new(ObHttp *http,
								   const ObCredentialsOptions *options,
								   ObError *error);

/* Wipes the secrets and cancels the fetch; waiting callers must have been
 * cancelled before.  NULL is allowed. */
extern void ob_provider_free(ObProvider *provider);

/* Returns whether the provider was made from equal options, for the same store
 * ("known" is not compared). */
extern bool ob_provider_matches(const ObProvider *provider,
								const ObCredentialsOptions *options);

typedef enum ObProviderState
{
	OB_PROVIDER_READY,  /* ob_provider_get() has them */
	OB_PROVIDER_BUSY,   /* a fetch is running: ob_provider_wait() */
	OB_PROVIDER_FAILED, /* the error is set except for "what"; its code is
						 * OB_ECREDS, unless memory or the like ran out */
} ObProviderState;

/*
 * Returns the state, and starts what is needed: reads files, starts requests,
 * including renewals.  A failure is remembered until ob_provider_reset(), so
 * that all calls of an upload fail alike.
 */
extern ObProviderState ob_provider_poll(ObProvider *provider, ObError *error);

/* Returns the credentials of the last fetch, even expired or refused ones;
 * NULL if there are none.  Borrowed until the next drive or call of a
 * provider's function. */
extern const ObCredentials *ob_provider_get(const ObProvider *provider);

/* Returns the Unix time at which the credentials expire; 0: never, or there
 * are none. */
extern int64_t ob_provider_expires(const ObProvider *provider);

/* Returns where the credentials come from, for display: "environment",
 * "profile \"x\"", "instance metadata (role x)", "role arn:... assumed with
 * ...".  "" before the first fetch.  Borrowed for the same time. */
extern const char *ob_provider_origin(const ObProvider *provider);

/* A caller that found the provider busy.  The struct is the caller's; it must
 * stay in place until woken or cancelled. */
typedef struct ObProviderWait
{
	/* Called inside ob_http_drive(), to poll again.  It may start requests,
	 * and may begin to wait again. */
	void (*wake)(struct ObProviderWait *wait);
	void *arg;
	struct ObProviderWait *next; /* private */
	bool waiting;                /* private */
} ObProviderWait;

extern void ob_provider_wait(ObProvider *provider, ObProviderWait *wait);
extern void ob_provider_cancel(ObProvider *provider, ObProviderWait *wait);

/*
 * Reports that the store refused credentials as expired or invalid.  The
 * credentials with this access key id (they may have been renewed in the
 * meantime) no longer count, and the next poll fetches new ones.  Returns
 * false if a new fetch would give the same keys.
 */
extern bool ob_provider_refused(ObProvider *provider,
								const char *access_key_id);

/* Prepares a provider for a new export: forgets a failure, and credentials
 * without an expiry, which are then read again from the environment or a
 * file. */
extern void ob_provider_reset(ObProvider *provider);

/* Sets how far the real time is ahead of our clock, in seconds, as the store's
 * responses show: for the dates of signatures and for expiry.  0 at first. */
extern void ob_provider_set_clock_offset(ObProvider *provider,
										 int64_t seconds);

/* Returns a source's name as a value of the option ("mapping", "environment",
 * ...); NULL if there is no such source. */
extern const char *ob_credentials_source_name(ObCredentialsSource source);
extern bool ob_credentials_source_parse(const char *name,
										ObCredentialsSource *source);

#endif
