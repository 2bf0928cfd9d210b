/*
 * server.c
 *		Where exports go and as whom: foreign servers and user mappings.
 *
 * src/pg/server.c
 *
 * The options in the catalogs went through the validator, but they are parsed
 * here with the same care: a superuser can take the validator off, and a value
 * may come from an older version of it.
 *
 * Secrets: what we copy is wiped.  The system caches hold the user mapping's
 * row as well, as they do for every wrapper, so this keeps secrets out of our
 * memory, not out of the process.
 */
#include "postgres.h"

#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "core/uri.h"
#include "pg/compat.h"
#include "pg/server.h"

#define WRAPPER_NAME "onboard"
#define REGION_MAX 63

bool
ob_server_parse_addressing(const char *value, ObAddressing *addressing)
{
	if (strcmp(value, "auto") == 0)
		*addressing = OB_ADDRESSING_AUTO;
	else if (strcmp(value, "path") == 0)
		*addressing = OB_ADDRESSING_PATH;
	else if (strcmp(value, "virtual") == 0)
		*addressing = OB_ADDRESSING_VIRTUAL;
	else
		return false;
	return true;
}

bool
ob_server_parse_max_parts(const char *value, int *max_parts)
{
	size_t len = strlen(value);

	if (len < 1 || len > 5 || strspn(value, "0123456789") != len)
		return false;
	*max_parts = atoi(value);
	return *max_parts >= 1 && *max_parts <= OB_PARTS_MAX;
}

bool
ob_server_region_ok(const char *value)
{
	size_t len = strlen(value);

	return len >= 1 && len <= REGION_MAX &&
		   strspn(value, "abcdefghijklmnopqrstuvwxyz"
						 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == len;
}

bool
ob_server_credential_ok(const char *value)
{
	const char *p;

	for (p = value; *p != '\0'; p++)
	{
		if (*p <= ' ' || *p > '~')
			return false;
	}
	return p != value;
}

char *
ob_server_fault(const ObError *error)
{
	char *text = psprintf("%s.", error->cause);

	text[0] = pg_toupper((unsigned char) text[0]);
	return text;
}

const char *
ob_server_find_option(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0)
			return defGetString(option);
	}
	return NULL;
}

static _Noreturn void
fail_option(const ObServer *server, const char *option)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("invalid value for option \"%s\" of server \"%s\"", option,
					server->name),
			 errhint("Set it anew: ALTER SERVER %s OPTIONS (SET %s '...');",
					 quote_identifier(server->name), option)));
}

/* The row's server, after the checks of what it is and who may use it. */
static ForeignServer *
look_up(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, true);
	const char *quoted = quote_identifier(name);

	if (server == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("server \"%s\" does not exist", name),
				 errhint("Create it with CREATE SERVER %s FOREIGN DATA "
						 "WRAPPER " WRAPPER_NAME " OPTIONS (region '...'), or "
						 "name another one in option \"server\" or the "
						 "setting onboard.server.",
						 quoted)));
	if (strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, WRAPPER_NAME) !=
		0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("server \"%s\" is not of the foreign-data wrapper "
						"\"" WRAPPER_NAME "\"",
						name),
				 errhint("Name a server that CREATE SERVER ... FOREIGN DATA "
						 "WRAPPER " WRAPPER_NAME " made.")));
	if (ob_server_aclcheck(server->serverid, GetUserId(), ACL_USAGE) !=
		ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for foreign server %s", name),
				 errhint("GRANT USAGE ON FOREIGN SERVER %s TO %s;", quoted,
						 quote_identifier(
							 GetUserNameFromId(GetUserId(), false)))));
	return server;
}

static char *
copy_option(List *options, const char *name)
{
	const char *value = ob_server_find_option(options, name);

	return value ? pstrdup(value) : NULL;
}

/* Without an endpoint the region makes it; with one it is only signed, and
 * other stores than AWS mostly do not care. */
static void
fill_endpoint(ObServer *server, List *options)
{
	const char *url = ob_server_find_option(options, "endpoint");
	ObError error;

	ob_error_clear(&error);
	server->region = copy_option(options, "region");
	if (server->region && !ob_server_region_ok(server->region))
		fail_option(server, "region");
	if (url != NULL)
	{
		if (ob_endpoint_parse(&server->endpoint, url, &error) != OB_OK)
			fail_option(server, "endpoint");
		if (server->region == NULL)
			server->region = pstrdup("us-east-1");
		return;
	}
	if (server->region == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("server \"%s\" has no region", server->name),
						errhint("ALTER SERVER %s OPTIONS (ADD region "
								"'eu-central-1');",
								quote_identifier(server->name))));
	if (ob_endpoint_aws(&server->endpoint, server->region, &error) != OB_OK)
		fail_option(server, "region");
}

static void
fill_options(ObServer *server, List *options)
{
	const char *value;

	fill_endpoint(server, options);
	server->bucket = copy_option(options, "bucket");
	server->buckets = copy_option(options, "buckets");
	server->prefix = copy_option(options, "prefix");
	if (server->prefix == NULL)
		server->prefix = pstrdup("");
	server->ca_file = copy_option(options, "ca_file");
	server->addressing = OB_ADDRESSING_AUTO;
	value = ob_server_find_option(options, "addressing");
	if (value && !ob_server_parse_addressing(value, &server->addressing))
		fail_option(server, "addressing");
	server->max_parts = OB_PARTS_MAX;
	value = ob_server_find_option(options, "max_parts");
	if (value && !ob_server_parse_max_parts(value, &server->max_parts))
		fail_option(server, "max_parts");
}

static bool
mapping_exists(Oid userid, Oid serverid)
{
	return SearchSysCacheExists2(USERMAPPINGUSERSERVER,
								 ObjectIdGetDatum(userid),
								 ObjectIdGetDatum(serverid));
}

/* The option's own string, which becomes the server's. */
static const char *
mapping_option(const ObServer *server, List *options, const char *name,
			   bool required)
{
	const char *value = ob_server_find_option(options, name);

	if (value == NULL && !required)
		return NULL;
	if (value == NULL || !ob_server_credential_ok(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("user mapping for server \"%s\" has no valid "
						"\"%s\"",
						server->name, name),
				 errhint("ALTER USER MAPPING FOR ... SERVER %s OPTIONS (SET "
						 "%s '...');",
						 quote_identifier(server->name), name)));
	return value;
}

static void
fill_from_mapping(ObServer *server)
{
	Oid userid = GetUserId();
	ObCredentials *credentials = &server->credentials;
	List *options;

	if (!mapping_exists(userid, server->serverid) &&
		!mapping_exists(InvalidOid, server->serverid))
	{
		char *role = GetUserNameFromId(userid, false);

		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("no user mapping for role \"%s\" on server \"%s\"", role,
					server->name),
			 errhint("CREATE USER MAPPING FOR %s SERVER %s OPTIONS "
					 "(access_key_id '...', secret_access_key '...');",
					 quote_identifier(role), quote_identifier(server->name))));
	}
	options = GetUserMapping(userid, server->serverid)->options;
	credentials->secret_access_key =
		mapping_option(server, options, "secret_access_key", true);
	credentials->access_key_id =
		mapping_option(server, options, "access_key_id", true);
	credentials->session_token =
		mapping_option(server, options, "session_token", false);
}

static const char *
environment_variable(const ObServer *server, const char *name, bool required)
{
	const char *value = getenv(name);

	if (value != NULL && *value == '\0')
		value = NULL;
	if (value == NULL && !required)
		return NULL;
	if (value == NULL || !ob_server_credential_ok(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 value == NULL
					 ? errmsg("environment variable %s is not set", name)
					 : errmsg("environment variable %s contains a blank or "
							  "control character",
							  name),
				 errdetail("Server \"%s\" takes its credentials from the "
						   "environment of the PostgreSQL server process.",
						   server->name),
				 errhint("Set it where PostgreSQL is started and restart, or "
						 "use a user mapping: ALTER SERVER %s OPTIONS (SET "
						 "credentials 'mapping');",
						 quote_identifier(server->name))));
	return pstrdup(value);
}

static void
fill_from_environment(ObServer *server)
{
	ObCredentials *credentials = &server->credentials;

	credentials->access_key_id =
		environment_variable(server, "AWS_ACCESS_KEY_ID", true);
	credentials->secret_access_key =
		environment_variable(server, "AWS_SECRET_ACCESS_KEY", true);
	credentials->session_token =
		environment_variable(server, "AWS_SESSION_TOKEN", false);
}

static void
fill_credentials(ObServer *server, List *options)
{
	const char *from = ob_server_find_option(options, "credentials");

	if (from == NULL || strcmp(from, "mapping") == 0)
		fill_from_mapping(server);
	else if (strcmp(from, "environment") == 0)
		fill_from_environment(server);
	else
		fail_option(server, "credentials");
}

static void
wipe_string(const char *text)
{
	if (text != NULL)
		explicit_bzero(unconstify(char *, text), strlen(text));
}

void
ob_server_wipe(ObServer *server)
{
	wipe_string(server->credentials.access_key_id);
	wipe_string(server->credentials.secret_access_key);
	wipe_string(server->credentials.session_token);
}

static void
wipe_on_reset(void *arg)
{
	ob_server_wipe(arg);
}

ObServer *
ob_server_get(const char *name)
{
	ForeignServer *row = look_up(name);
	ObServer *server = palloc0(sizeof(ObServer));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	server->serverid = row->serverid;
	server->name = pstrdup(name);
	fill_options(server, row->options);

	/* before there is a secret, since what follows may raise */
	callback->func = wipe_on_reset;
	callback->arg = server;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	fill_credentials(server, row->options);
	return server;
}

void
ob_server_check_bucket(const char *bucket)
{
	ObError error;

	ob_error_clear(&error);
	if (ob_bucket_check(bucket, &error) != OB_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid bucket name \"%s\"", bucket),
						errdetail("%s", ob_server_fault(&error)),
						errhint("A bucket name has 3 to 63 lower-case "
								"letters, digits, dots and hyphens.")));
}

char *
ob_server_bucket(const ObServer *server, const char *bucket)
{
	if (bucket == NULL)
		bucket = server->bucket;
	if (bucket == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no bucket is given, and server \"%s\" has no default "
						"one",
						server->name),
				 errhint("Name the bucket in the call, or ALTER SERVER %s "
						 "OPTIONS (ADD bucket '...');",
						 quote_identifier(server->name))));
	ob_server_check_bucket(bucket);
	if (server->buckets && !ob_bucket_matches(server->buckets, bucket))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("bucket \"%s\" is not allowed by server \"%s\"",
						bucket, server->name),
				 errhint("The server's option \"buckets\" lists the patterns "
						 "of those that are.")));
	return pstrdup(bucket);
}
