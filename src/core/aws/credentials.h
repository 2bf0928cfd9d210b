/*
 * credentials.h
 *		Credentials as AWS's users have them: found, fetched, renewed in time.
 *
 * src/core/aws/credentials.h
 *
 * A provider gives the credentials of one source, or of the first source of
 * the chain that is configured here.  Some are just read (keys, environment,
 * profile files), the others are fetched over HTTP, through the ObHttp of
 * their users; so a host that drives its requests drives this as well.  A
 * source that is configured but fails is an error that names it: no export
 * silently runs under another identity.
 *
 * Temporary credentials are renewed 5 minutes before they expire, while the
 * old ones remain in use; a renewal that fails is tried again 30 s later,
 * until they expire.  Those that an instance's metadata service gives are used
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
	OB_CREDENTIALS_KEYS,        /* given; a user mapping has them */
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

	/* A role to assume with what the source gives; NULL: none */
	const char *role_arn;
	const char *external_id; /* NULL: none */
	const char *region;      /* STS's; needed for any role */
	/* NULL: AWS_ENDPOINT_URL_STS's, the profile's, or AWS's own of the region
	 */
	const char *sts_endpoint;
	/* The store: which of AWS's hosts are wanted, and whether it is AWS's.
	 * STS is trusted by the same file of authorities as the store if both are
	 * AWS's, or neither is. */
	unsigned variant;
	bool store_is_aws;

	/*
	 * Credentials that another process of the same export has already got from
	 * such a provider; access_key_id is NULL if there are none. expires: Unix
	 * time, 0: never.
	 */
	ObCredentials known;
	int64_t known_expires;
} ObCredentialsOptions;

typedef struct ObProvider ObProvider;

/* Copies the options; http is borrowed.  Reads and requests nothing.  NULL on
 * error. */
extern ObProvider *ob_provider_new(ObHttp *http,
								   const ObCredentialsOptions *options,
								   ObError *error);

/* Wipes the secrets and cancels the fetch; waiting callers must have been
 * cancelled before.  NULL is allowed. */
extern void ob_provider_free(ObProvider *provider);

/* Whether such options would make the same provider, for the same store
 * ("known" apart). */
extern bool ob_provider_matches(const ObProvider *provider,
								const ObCredentialsOptions *options);

typedef enum ObProviderState
{
	OB_PROVIDER_READY,  /* ob_provider_get() has them */
	OB_PROVIDER_BUSY,   /* they are being fetched: ob_provider_wait() */
	OB_PROVIDER_FAILED, /* error is set, but for "what", its code OB_ECREDS
						 * but for want of memory and the like */
} ObProviderState;

/*
 * Begins what has to be done: reads files, starts requests, including
 * renewals.  A failure is remembered until ob_provider_reset(), so that all
 * calls of an upload fail alike.
 */
extern ObProviderState ob_provider_poll(ObProvider *provider, ObError *error);

/* The credentials that were fetched last, even expired or refused ones; NULL
 * if there are none.  Borrowed until the next drive or call of a provider's
 * function. */
extern const ObCredentials *ob_provider_get(const ObProvider *provider);

/* Unix time at which they expire, 0: never, or there are none. */
extern int64_t ob_provider_expires(const ObProvider *provider);

/* Where they come from, for people: "environment", "profile \"x\"", "instance
 * metadata (role x)", "role arn:... assumed with ...".  "" before the first
 * fetch.  Borrowed for the same time. */
extern const char *ob_provider_origin(const ObProvider *provider);

/* A caller that found the provider busy.  The owner's memory, until woken or
 * cancelled. */
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
 * The store refused credentials as expired or invalid: those with this access
 * key id (others may have been renewed in the meantime) no longer count, and
 * the next poll gets new ones.  False if a new fetch would give the same keys.
 */
extern bool ob_provider_refused(ObProvider *provider,
								const char *access_key_id);

/* Prepares a provider for a new export: forgets a failure, and credentials
 * without an expiry, which are then read again from the environment or a
 * file. */
extern void ob_provider_reset(ObProvider *provider);

/* How far the real time is ahead of our clock, in seconds, as the store has
 * taught us: for the dates of signatures and for expiry.  0 at first. */
extern void ob_provider_set_clock_offset(ObProvider *provider,
										 int64_t seconds);

/* A source's name as a value of the option ("mapping", "environment", ...);
 * NULL if there is no such source. */
extern const char *ob_credentials_source_name(ObCredentialsSource source);
extern bool ob_credentials_source_parse(const char *name,
										ObCredentialsSource *source);

#endif
