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

#define OB_ROLE_ARN_MAX 2048 /* IAM's */
#define OB_PROFILE_MAX 255

typedef struct ObServer
{
	Oid serverid;
	char *name;
	ObEndpoint endpoint;
	ObAddressing addressing;
	char *region;
	char *bucket;  /* the default; NULL: none */
	char *buckets; /* patterns of those allowed; NULL: any */
	char *prefix;  /* "" if none */
	char *ca_file; /* NULL: the system's */
	char *proxy;   /* NULL: none */
	int max_parts;
	bool equal_parts; /* all but the last: one process writes an object */
	bool content_md5; /* so much is known of the store: see core/s3/s3.h */
	ObCredentialsOptions credentials; /* "keys" are the user mapping's */
	List *options;                    /* of all that but "keys": DefElem */
	MemoryContext context;            /* that it is in */
} ObServer;

/*
 * The server of that name, or of the setting onboard.server if NULL, for the
 * current user: raises if there is none, if it is not one of ours, without
 * USAGE on it, without the user mapping that it needs, and if no role
 * that may has chosen it (server_choice.h).  All is allocated in the current
 * memory context; the secrets are wiped before its memory is freed, so nothing
 * of the server may be freed one by one.
 */
extern ObServer *ob_server_get(const char *name);

/* The same in two steps: the server, and the keys of the user mapping, if its
 * credentials are those.  With the same memory context for both. */
extern ObServer *ob_server_find(const char *name);
extern void ob_server_fill_keys(ObServer *server);

/* What a server is made from, as a process has read it at some time. */
typedef struct ObServerRow
{
	Oid serverid;
	const char *name;
	List *options; /* of DefElem */
} ObServerRow;

/* Makes one, without keys, and without a look at who may use it. */
extern ObServer *ob_server_make(const ObServerRow *row);

/* Gives it copies of these keys, which are wiped before their memory is freed.
 */
extern void ob_server_set_keys(ObServer *server, const ObCredentials *keys);

/* What it was made from; borrowed. */
extern ObServerRow ob_server_row(const ObServer *server);

/* The same as ob_server_get(), for a server that another process has read. */
extern ObServer *ob_server_get_row(const ObServerRow *row);

/*
 * Keys may be changed while a run is under way, which all else of its server
 * is not: reads those of the user mapping again, as ob_server_fill_keys().
 */
extern void ob_server_renew_keys(const ObServer *server);

/* Whether exports to the server of that name (NULL: that of the setting) are
 * to have parts of one size.  Raises nothing: without such a server, they are
 * not. */
extern bool ob_server_wants_equal_parts(const char *name);

/* Raises if the current user has no USAGE on it any more. */
extern void ob_server_require_usage(const ObServer *server);

/* Raises if there is no server that the current user may use, or not the one
 * of that name (NULL: any).  A name without a server is not an error here. */
extern void ob_server_require_some(const char *name);

/*
 * The bucket to use, palloc'd: the given one, or the server's own if NULL.
 * Raises if there is none, if it is no bucket's name, and if the server does
 * not allow it.
 */
extern char *ob_server_bucket(const ObServer *server, const char *bucket);

/* Raises unless it is a bucket's name. */
extern void ob_server_check_bucket(const char *bucket);

/* The value among a server's or a mapping's options, borrowed; or NULL. */
extern const char *ob_server_find_option(List *options, const char *name);

/* The values of options; false if they are not valid. */
extern bool ob_server_parse_addressing(const char *value,
									   ObAddressing *addressing);
extern bool ob_server_parse_max_parts(const char *value, int *max_parts);
extern bool ob_server_parse_parts(const char *value, bool *equal);

/* Which of AWS's hosts the options "fips" and "dualstack", or else the
 * environment, ask for.  NULL, or which of them is not valid. */
extern const char *ob_server_variant(List *options, unsigned *variant);
extern bool ob_server_role_arn_ok(const char *value);
extern bool ob_server_external_id_ok(const char *value);
extern bool ob_server_profile_ok(const char *value);

/* A URL without a path; error says what is wrong with it. */
extern bool ob_server_proxy_ok(const char *value, ObError *error);

/* The source that the option "credentials" names; NULL: the user mapping. */
extern bool ob_server_parse_source(const char *value,
								   ObCredentialsSource *source);

/* Whether it can go into a request's header: not empty, printable ASCII
 * without blanks. */
extern bool ob_server_credential_ok(const char *value);

/* The cause as a sentence, for a DETAIL; palloc'd. */
extern char *ob_server_fault(const ObError *error);

#endif
