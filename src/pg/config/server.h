/*
 * server.h
 *		Where exports go and as whom: foreign servers and user mappings.
 *
 * src/pg/config/server.h
 */
#ifndef OB_SERVER_H
#define OB_SERVER_H

#include "nodes/pg_list.h"

#include "core/aws/credentials.h"
#include "core/text/uri.h"

#define OB_ROLE_ARN_MAX 2048 /* the limit of IAM */
#define OB_PROFILE_MAX 255

typedef struct ObServer
{
	Oid serverid;
	char *name;
	ObEndpoint endpoint;
	ObAddressing addressing;
	char *region;
	char *bucket;  /* default bucket; NULL: none */
	char *buckets; /* patterns of allowed buckets; NULL: any */
	char *prefix;  /* "" if there is none */
	char *ca_file; /* NULL: the system's certificates */
	char *proxy;   /* NULL: no proxy */
	int max_parts;
	bool equal_parts; /* parts of one size, but the last: one process writes an
					   * object */
	bool content_md5; /* as far as the store is known: see core/s3/s3.h */
	ObCredentialsOptions credentials; /* "keys" are the mapping's */
	List *options;                    /* DefElem nodes: the server's options */
	MemoryContext context;            /* the memory context of the server */
} ObServer;

/*
 * Returns the server of that name, or of the setting onboard.server if that is
 * NULL, for the current user.  Raises if there is none, if it is not a server
 * of this extension, if the user lacks USAGE on it or the user mapping that it
 * needs, or if a role has chosen it that must not (server_choice.h).  All is
 * allocated in the current memory context; the secrets are wiped before its
 * memory is freed, so nothing of the server may be freed one by one.
 */
extern ObServer *ob_server_get(const char *name);

/* Do the same in two steps: find the server, and read the keys of the user
 * mapping, if its credentials are keys.  Both need the same memory context. */
extern ObServer *ob_server_find(const char *name);
extern void ob_server_fill_keys(ObServer *server);

/* The row of pg_foreign_server that a server is made from, as a process has
 * read it at some time. */
typedef struct ObServerRow
{
	Oid serverid;
	const char *name;
	List *options; /* DefElem nodes */
} ObServerRow;

/* Makes a server without keys, and without a check of privileges. */
extern ObServer *ob_server_make(const ObServerRow *row);

/* Gives the server copies of these keys, which are wiped before their memory
 * is freed. */
extern void ob_server_set_keys(ObServer *server, const ObCredentials *keys);

/* Returns the row that the server was made from; borrowed. */
extern ObServerRow ob_server_row(const ObServer *server);

/* Does the same as ob_server_get() for a server that another process has read.
 */
extern ObServer *ob_server_get_row(const ObServerRow *row);

/*
 * Reads the keys of the user mapping again, as ob_server_fill_keys() does.
 * Keys may be changed while a run is under way; nothing else of its server
 * may.
 */
extern void ob_server_renew_keys(const ObServer *server);

/* Whether the server of that name (NULL: of the setting) wants parts of one
 * size.  Raises nothing: without such a server, the result is false. */
extern bool ob_server_wants_equal_parts(const char *name);

/* Raises if the current user has no USAGE on it any more. */
extern void ob_server_require_usage(const ObServer *server);

/* Raises if there is no server that the current user may use, or if the server
 * of that name (NULL: any) is none of them.  A name without a server is not an
 * error here. */
extern void ob_server_require_some(const char *name);

/*
 * Returns the bucket to use, palloc'd: the given one, or the server's own if
 * that is NULL.  Raises if there is none, if it is not a valid name of a
 * bucket, or if the server does not allow it.
 */
extern char *ob_server_bucket(const ObServer *server, const char *bucket);

/* Raises unless it is a valid name of a bucket. */
extern void ob_server_check_bucket(const char *bucket);

/* Returns the value of an option of a server or mapping, borrowed, or NULL. */
extern const char *ob_server_find_option(List *options, const char *name);

/* Each of these reads the value of an option; false: it is not valid. */
extern bool ob_server_parse_addressing(const char *value,
									   ObAddressing *addressing);
extern bool ob_server_parse_max_parts(const char *value, int *max_parts);
extern bool ob_server_parse_parts(const char *value, bool *equal);

/* Sets which variant of AWS's hosts the options "fips" and "dualstack", or
 * else the environment, select.  Returns NULL, or the name of the one that is
 * not valid. */
extern const char *ob_server_variant(List *options, unsigned *variant);
extern bool ob_server_role_arn_ok(const char *value);
extern bool ob_server_external_id_ok(const char *value);
extern bool ob_server_profile_ok(const char *value);

/* Whether it is a URL without a path; if not, error says why. */
extern bool ob_server_proxy_ok(const char *value, ObError *error);

/* Reads the source of credentials that the option "credentials" names; NULL is
 * the user mapping. */
extern bool ob_server_parse_source(const char *value,
								   ObCredentialsSource *source);

/* Whether the value can go into the header of a request: not empty, printable
 * ASCII without blanks. */
extern bool ob_server_credential_ok(const char *value);

/* Returns the error's cause as a sentence, for a DETAIL; palloc'd. */
extern char *ob_server_fault(const ObError *error);

#endif
