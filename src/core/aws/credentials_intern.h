/*
 * credentials_intern.h
 *		Declarations that the files of the credentials provider share.
 *
 * src/core/aws/credentials_intern.h
 *
 * A plan says how to get a source's credentials: keys that are known, or the
 * service to request them from; and which roles are then to be assumed, one
 * after the other.  It is made again from the environment and the files for
 * each fetch.  A fetch carries it out, with one HTTP request at a time.
 *
 *		credentials.c            the provider: what is cached, and until when
 *		credentials_fetch.c      carries a plan out: requests, tries, errors
 *		credentials_config.c     makes one from the environment and AWS's files
 *		credentials_sts.c        roles
 *		credentials_container.c  ECS, EKS
 *		credentials_instance.c   EC2
 *		credentials_util.c       keys, files, texts
 */
#ifndef OB_CREDENTIALS_INTERN_H
#define OB_CREDENTIALS_INTERN_H

#include "core/aws/credentials.h"
#include "core/text/json.h"
#include "core/base/leak.h"
#include "core/aws/retry.h"
#include "core/text/uri.h"

#define OB_ORIGIN_MAX 512
#define OB_ROLES_MAX 6
#define OB_CREDENTIALS_RESPONSE_MAX ((size_t) 64 * 1024)
#define OB_TOKEN_MAX ((size_t) 64 * 1024)

/* ---- credentials_util.c ---- */

/* Returns an environment variable; NULL if it is unset or empty. */
extern const char *ob_env(const char *name);

/* Wipes and frees a text; NULL is allowed. */
extern void ob_secret_free(char *secret);

/* Returns whether the value is printable ASCII without blanks, and not
 * empty. */
extern bool ob_is_plain(const char *value);

/*
 * Reads a regular file of at most "max" bytes without a NUL; does not block on
 * pipes and devices.  Otherwise, and for an empty file, the error is OB_ECREDS
 * with the path in its cause.  If "missing" is not NULL, the file is optional:
 * it may be empty, and *missing is set if it does not exist or is /dev/null.
 */
extern ObCode ob_file_read(const char *path, size_t max, ObBuf *content,
						   bool *missing, ObError *error) OB_MUST_CHECK;

/* Writes "https://host:port" of an endpoint, without its path. */
extern void ob_endpoint_name(const ObEndpoint *endpoint, char *name,
							 size_t size);

/* Formats an origin, a text for display of OB_ORIGIN_MAX bytes, cut as errors
 * are. */
extern void ob_origin_set(char *origin, const char *format, ...)
	OB_PRINTF(2, 3);

/* Credentials whose texts are owned.  An access_key_id of NULL means none. */
typedef struct ObKeys
{
	char *access_key_id;
	char *secret_access_key;
	char *session_token; /* may be NULL */
	int64_t expires;     /* Unix time, 0: never */
} ObKeys;

/*
 * Copies the credentials.  OB_ECREDS if one cannot be sent in a header;
 * "whose" names them in the error ("the environment's").
 */
extern ObCode ob_keys_set(ObKeys *keys, const ObCredentials *from,
						  int64_t expires, const char *whose,
						  ObError *error) OB_MUST_CHECK;
extern void ob_keys_wipe(ObKeys *keys);

/* Moves credentials; wipes "to" first. */
extern void ob_keys_move(ObKeys *to, ObKeys *from);

/* ---- credentials_config.c ---- */

typedef struct ObRole
{
	char *arn;
	char *external_id;  /* or NULL */
	char *session_name; /* NULL: "onboard" */
	char *token_file; /* the file of a web identity's token; NULL: the request
					   * is signed */
	int duration_s;   /* 0: STS's default */
} ObRole;

typedef struct ObPlan
{
	/* KEYS: the credentials are in "keys".  WEB_IDENTITY: none are needed,
	 * since the first role has a token_file.  CONTAINER, INSTANCE: they are
	 * requested. */
	ObCredentialsSource base;
	ObKeys keys;
	char origin[OB_ORIGIN_MAX]; /* the base's, if it is known yet */
	ObRole roles[OB_ROLES_MAX]; /* the roles to assume, in this order */
	int nroles;
	char *sts_endpoint; /* NULL: AWS's */
} ObPlan;

/* Wipes the plan, and makes it again.  The error is OB_ECREDS, and names the
 * source, if that is not configured, or not correctly. */
extern ObCode ob_plan_make(ObPlan *plan, const ObCredentialsOptions *options,
						   ObError *error) OB_MUST_CHECK;
extern void ob_plan_wipe(ObPlan *plan);

/* ---- credentials_fetch.c ---- */

/* A request for credentials, with its retries and its outcome. */
typedef struct ObCredentialRequest ObCredentialRequest;
struct ObCredentialRequest
{
	ObHttpRequest http_request; /* method, body, direct: set by the source */
	ObHttp *http;
	void *arg; /* the ObFetch */

	/* Sets the URL and the headers of a try. */
	ObCode (*prepare)(ObCredentialRequest *request, ObError *error);
	/* Reads a response of any status.  Sets the class of a failure, which is
	 * FINAL at first, if the request should be tried again. */
	ObCode (*read)(ObCredentialRequest *request, ObRetryClass *class,
				   ObError *error);
	/* Called at the end; the error is OB_OK if a response was read. */
	void (*done)(ObCredentialRequest *request, const ObError *error);
	/* The beginning of error messages: "the container's credentials, from
	 * X". */
	char label[300];
	int try_ms;         /* for one try */
	int64_t give_up_at; /* the end of all tries, on ob_http_clock_ms() */

	ObRetryState retry; /* private */
};

extern void ob_credential_request_init(ObCredentialRequest *request,
									   ObHttp *http, void *arg);

/* "done" is called later, except without memory. */
extern void ob_credential_request_start(ObCredentialRequest *request);
extern void ob_credential_request_free(ObCredentialRequest *request);

typedef struct ObFetch ObFetch;

/* How a source sends its requests. */
typedef struct ObSourceOps
{
	const char *method;
	bool local;     /* on the machine's own network, never through a proxy */
	int connect_ms; /* the time-out of a connection */
	int try_ms;     /* the time-out of one try */
	int whole_ms;   /* the time-out of all tries and requests together */

	/* The callbacks of its requests, if all requests have the same ones. */
	ObCode (*prepare)(ObCredentialRequest *request, ObError *error);
	ObCode (*read)(ObCredentialRequest *request, ObRetryClass *class,
				   ObError *error);
	void (*done)(ObCredentialRequest *request, const ObError *error);

	/* Starts the first request.  Sets the fetch's error, or its keys and
	 * origin, now or later, and then calls ob_fetch_continue(). */
	void (*start)(ObFetch *fetch);
} ObSourceOps;

typedef struct ObSources
{
	const ObSourceOps *container;
	const ObSourceOps *instance;
	const ObSourceOps *role; /* assumes the plan's next role */
} ObSources;

extern const ObSourceOps ob_container_source; /* credentials_container.c */
extern const ObSourceOps ob_instance_source;  /* credentials_instance.c */
extern const ObSourceOps ob_role_source;      /* credentials_sts.c */

struct ObFetch
{
	/* set by the owner */
	ObHttp *http;
	const ObCredentialsOptions *options;
	const ObSources *sources;
	int64_t clock_offset; /* may change while it runs */
	void (*done)(ObFetch *fetch);
	void *arg;
	bool renewal; /* set by the owner: valid credentials exist */

	/* the outcome, for "done" */
	ObError error; /* OB_OK: keys and origin are set */
	ObKeys keys;
	char origin[OB_ORIGIN_MAX];

	/* private */
	bool running;
	ObPlan plan;
	int roles_done;
	ObCredentialRequest request;

	/* the source's state between requests */
	ObEndpoint endpoint;
	ObBuf target; /* the path and query, or a name in the path */
	ObBuf body;
	ObBuf sent_secret; /* of the last try */
	bool retried;      /* tried again with another token or time, once */
	bool restart;      /* set by "read" for "done" */
	char *instance_token;
	int64_t instance_token_until; /* the store's time */
	ObSigningKey signing_key;
};

extern void ob_fetch_init(ObFetch *fetch);

/* "done" may be called before it returns. */
extern void ob_fetch_start(ObFetch *fetch);

/* Stops a running fetch, without calling "done", and wipes everything. */
extern void ob_fetch_free(ObFetch *fetch);

/* Returns the real time, corrected by the store's clock. */
extern int64_t ob_fetch_now(const ObFetch *fetch);

/* Continues with the next role, or ends the fetch. */
extern void ob_fetch_continue(ObFetch *fetch);

/* Notes the secret that the try sends to the server: no error may repeat
 * it. */
extern void ob_fetch_note_secret(ObFetch *fetch, const char *secret);

/* Returns whether a server's text repeats that secret, or a key that the fetch
 * has. */
extern bool ob_fetch_repeats_secret(const ObFetch *fetch, const char *text);

/* Replaces the cause of an error that repeats a secret. */
extern void ob_fetch_hide_secrets(const ObFetch *fetch, ObError *error);

/* Sets the error of a response by its status and its code (NULL: none), which
 * is in the error unless it is a secret.  Called by "read". */
extern ObCode ob_fetch_status(const ObFetch *fetch, const char *code,
							  ObRetryClass *class,
							  ObError *error) OB_MUST_CHECK;

/* Reads the credentials in the response of a metadata service.  Called by
 * "read". */
extern ObCode ob_fetch_read_json(ObFetch *fetch, ObError *error) OB_MUST_CHECK;

/* Builds the URL of a container's credentials from its two variables (NULL:
 * not set).  OB_ECREDS for a host that is not allowed. */
extern ObCode ob_container_target(const char *relative, const char *full,
								  ObEndpoint *endpoint, ObBuf *target,
								  ObError *error) OB_MUST_CHECK;

/* Does the same for an instance's credentials. */
extern ObCode ob_instance_endpoint(const char *given, const char *mode,
								   ObEndpoint *endpoint,
								   ObError *error) OB_MUST_CHECK;

/* The credentials in STS's response to AssumeRole and to
 * AssumeRoleWithWebIdentity. */
typedef struct ObXmlRole
{
	char access_key_id[256];
	char secret_access_key[1024];
	char session_token[16 * 1024];
	time_t expires;
} ObXmlRole;

/* Reads such a response.  OB_OK if all four fields are present; else *out is
 * empty.  The caller wipes *out. */
extern ObCode ob_xml_read_role(const char *data, size_t len, ObXmlRole *out,
							   ObError *error) OB_MUST_CHECK;

#endif
