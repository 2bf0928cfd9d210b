/*
 * server.c
 *		Where exports go and as whom: foreign servers and user mappings.
 *
 * src/pg/config/server.c
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

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "core/s3/upload.h"
#include "core/text/uri.h"
#include "pg/base/compat.h"
#include "pg/config/options.h"
#include "pg/base/errors.h"
#include "pg/config/server.h"
#include "pg/config/server_choice.h"

#define WRAPPER_NAME "onboard"
/* the limit of IAM */
#define EXTERNAL_ID_MAX 1224

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
ob_server_parse_parts(const char *value, bool *equal)
{
	*equal = strcmp(value, "equal") == 0;
	return *equal || strcmp(value, "any") == 0;
}

const char *
ob_server_variant(List *options, unsigned *variant)
{
	static const struct
	{
		const char *name;
		unsigned bit;
	} parts[] = {{"fips", OB_AWS_FIPS}, {"dualstack", OB_AWS_DUALSTACK}};

	*variant = ob_aws_variant();
	for (int i = 0; i < lengthof(parts); i++)
	{
		const char *value = ob_server_find_option(options, parts[i].name);
		bool wanted;

		if (value == NULL)
			continue;
		if (!parse_bool(value, &wanted))
			return parts[i].name;
		*variant &= ~parts[i].bit;
		if (wanted)
			*variant |= parts[i].bit;
	}
	return NULL;
}

/* Whether the text is not empty, and all of it is printable ASCII from "first"
 * on. */
static bool
is_ascii(const char *value, char first, size_t max)
{
	const char *p;

	for (p = value; *p != '\0'; p++)
	{
		if (*p < first || *p > '~')
			return false;
	}
	return p != value && (size_t) (p - value) <= max;
}

bool
ob_server_credential_ok(const char *value)
{
	return is_ascii(value, '!', SIZE_MAX);
}

/* Stores other than AWS have other texts after "arn:". */
bool
ob_server_role_arn_ok(const char *value)
{
	return is_ascii(value, '!', OB_ROLE_ARN_MAX) &&
		   strncmp(value, "arn:", 4) == 0;
}

bool
ob_server_external_id_ok(const char *value)
{
	size_t len = strlen(value);

	return len >= 2 && len <= EXTERNAL_ID_MAX &&
		   strspn(value,
				  "abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@:/-") == len;
}

bool
ob_server_profile_ok(const char *value)
{
	return is_ascii(value, ' ', OB_PROFILE_MAX) &&
		   strpbrk(value, "[]") == NULL;
}

bool
ob_server_proxy_ok(const char *value, ObError *error)
{
	ObEndpoint endpoint;

	if (ob_endpoint_parse(&endpoint, value, error) != OB_OK)
		return false;
	if (endpoint.base[0] == '\0')
		return true;
	ob_error_set(error, OB_EINVAL, "a proxy's URL has no path");
	return false;
}

bool
ob_server_parse_source(const char *value, ObCredentialsSource *source)
{
	*source = OB_CREDENTIALS_KEYS;
	return value == NULL || ob_credentials_source_parse(value, source);
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
			 errhint("Set it again: ALTER SERVER %s OPTIONS (SET %s '...');",
					 quote_identifier(server->name), option)));
}

static void
require_usage(Oid serverid, const char *name)
{
	if (ob_server_aclcheck(serverid, GetUserId(), ACL_USAGE) == ACLCHECK_OK)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("permission denied for foreign server %s", name),
		 errhint("GRANT USAGE ON FOREIGN SERVER %s TO %s;",
				 quote_identifier(name),
				 quote_identifier(GetUserNameFromId(GetUserId(), false)))));
}

/* Finds the foreign server, and checks its wrapper and the privileges on it.
 */
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
	require_usage(server->serverid, name);
	return server;
}

static char *
copy_text(const char *text)
{
	return text ? pstrdup(text) : NULL;
}

static char *
copy_option(List *options, const char *name)
{
	return copy_text(ob_server_find_option(options, name));
}

/* The region selects the endpoint if none is given; otherwise it is only
 * signed, and most stores other than AWS ignore it. */
static void
fill_endpoint(ObServer *server, List *options)
{
	const char *url = ob_server_find_option(options, "endpoint");
	unsigned variant;
	const char *wrong = ob_server_variant(options, &variant);
	ObError error;

	ob_error_clear(&error);
	if (wrong)
		fail_option(server, wrong);
	server->region = copy_option(options, "region");
	if (server->region && !ob_region_is_valid(server->region))
		fail_option(server, "region");
	if (url != NULL)
	{
		if (ob_endpoint_parse(&server->endpoint, url, &error) != OB_OK)
			fail_option(server, "endpoint");
		server->endpoint.variant = variant;
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
	if (ob_endpoint_service(&server->endpoint, "s3", server->region, variant,
							&error) != OB_OK)
		fail_option(server, "fips");
}

static void
fill_options(ObServer *server, List *options)
{
	const char *value;
	ObError error;

	fill_endpoint(server, options);
	server->bucket = copy_option(options, "bucket");
	server->buckets = copy_option(options, "buckets");
	server->prefix = copy_option(options, "prefix");
	if (server->prefix == NULL)
		server->prefix = pstrdup("");
	server->ca_file = copy_option(options, "ca_file");
	server->proxy = copy_option(options, "proxy");
	ob_error_clear(&error);
	if (server->proxy && !ob_server_proxy_ok(server->proxy, &error))
		fail_option(server, "proxy");
	server->addressing = OB_ADDRESSING_AUTO;
	value = ob_server_find_option(options, "addressing");
	if (value && !ob_server_parse_addressing(value, &server->addressing))
		fail_option(server, "addressing");
	server->max_parts = OB_PARTS_MAX;
	value = ob_server_find_option(options, "max_parts");
	if (value && !ob_server_parse_max_parts(value, &server->max_parts))
		fail_option(server, "max_parts");
	server->equal_parts = ob_endpoint_wants_equal_parts(&server->endpoint);
	value = ob_server_find_option(options, "parts");
	if (value && !ob_server_parse_parts(value, &server->equal_parts))
		fail_option(server, "parts");
}

bool
ob_server_wants_equal_parts(const char *name)
{
	ForeignServer *server =
		GetForeignServerByName(name ? name : onboard_server, true);
	const char *value;
	ObEndpoint endpoint;
	ObError ignored;
	bool equal = false;

	if (server == NULL)
		return false;
	value = ob_server_find_option(server->options, "parts");
	if (value != NULL)
		return ob_server_parse_parts(value, &equal) && equal;
	ob_error_clear(&ignored);
	value = ob_server_find_option(server->options, "endpoint");
	return value != NULL &&
		   ob_endpoint_parse(&endpoint, value, &ignored) == OB_OK &&
		   ob_endpoint_wants_equal_parts(&endpoint);
}

static bool
mapping_exists(Oid userid, Oid serverid)
{
	return SearchSysCacheExists2(USERMAPPINGUSERSERVER,
								 ObjectIdGetDatum(userid),
								 ObjectIdGetDatum(serverid));
}

/* Returns the option's own string, which becomes the server's. */
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

void
ob_server_fill_keys(ObServer *server)
{
	Oid userid = GetUserId();
	ObCredentials *keys = &server->credentials.keys;
	List *options;

	if (server->credentials.source != OB_CREDENTIALS_KEYS)
		return;
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
	keys->secret_access_key =
		mapping_option(server, options, "secret_access_key", true);
	keys->access_key_id =
		mapping_option(server, options, "access_key_id", true);
	keys->session_token =
		mapping_option(server, options, "session_token", false);
}

/* Reads the role to assume, and the service that grants it. */
static void
fill_role(ObServer *server, List *options)
{
	ObCredentialsOptions *credentials = &server->credentials;
	ObEndpoint endpoint;
	ObError error;

	ob_error_clear(&error);
	credentials->role_arn = copy_option(options, "role_arn");
	if (credentials->role_arn && !ob_server_role_arn_ok(credentials->role_arn))
		fail_option(server, "role_arn");
	credentials->external_id = copy_option(options, "external_id");
	if (credentials->external_id &&
		!ob_server_external_id_ok(credentials->external_id))
		fail_option(server, "external_id");
	credentials->region = server->region;
	credentials->sts_endpoint = copy_option(options, "sts_endpoint");
	if (credentials->sts_endpoint &&
		ob_endpoint_parse(&endpoint, credentials->sts_endpoint, &error) !=
			OB_OK)
		fail_option(server, "sts_endpoint");
}

static void
fill_credentials(ObServer *server, List *options)
{
	ObCredentialsOptions *credentials = &server->credentials;

	if (!ob_server_parse_source(ob_server_find_option(options, "credentials"),
								&credentials->source))
		fail_option(server, "credentials");
	credentials->profile = copy_option(options, "profile");
	if (credentials->profile && !ob_server_profile_ok(credentials->profile))
		fail_option(server, "profile");
	fill_role(server, options);
}

static void
wipe_string(const char *text)
{
	if (text != NULL)
		explicit_bzero(unconstify(char *, text), strlen(text));
}

static void
wipe_keys(const ObCredentials *keys)
{
	wipe_string(keys->access_key_id);
	wipe_string(keys->secret_access_key);
	wipe_string(keys->session_token);
}

static void
wipe_on_reset(void *arg)
{
	const ObServer *server = arg;

	wipe_keys(&server->credentials.keys);
}

ObServer *
ob_server_make(const ObServerRow *row)
{
	ObServer *server = palloc0(sizeof(ObServer));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	server->serverid = row->serverid;
	server->name = pstrdup(row->name);
	server->options = row->options;
	server->context = CurrentMemoryContext;
	fill_options(server, row->options);
	fill_credentials(server, row->options);

	/* registered before there is a secret, since what follows may raise */
	callback->func = wipe_on_reset;
	callback->arg = server;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return server;
}

ObServer *
ob_server_find(const char *given)
{
	bool named;
	const char *name = ob_server_choose(given, &named);
	ForeignServer *found = look_up(name);

	if (!named)
		ob_server_check_default(found);
	return ob_server_make(
		&(ObServerRow){found->serverid, name, found->options});
}

void
ob_server_set_keys(ObServer *server, const ObCredentials *keys)
{
	ObCredentials *own = &server->credentials.keys;

	own->access_key_id = copy_text(keys->access_key_id);
	own->secret_access_key = copy_text(keys->secret_access_key);
	own->session_token = copy_text(keys->session_token);
}

ObServerRow
ob_server_row(const ObServer *server)
{
	return (ObServerRow){server->serverid, server->name, server->options};
}

ObServer *
ob_server_get_row(const ObServerRow *row)
{
	ObServer *server = ob_server_make(row);

	ob_server_require_usage(server);
	ob_server_fill_keys(server);
	return server;
}

/* Old keys are wiped even if there are no new ones. */
typedef struct OldKeys
{
	ObCredentials keys;
	MemoryContextCallback callback;
} OldKeys;

static void
wipe_old(void *arg)
{
	wipe_keys(arg);
}

static OldKeys *
keep_keys(const ObCredentials *keys)
{
	OldKeys *old = palloc0(sizeof(OldKeys));

	old->keys = *keys;
	old->callback.func = wipe_old;
	old->callback.arg = &old->keys;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &old->callback);
	return old;
}

void
ob_server_renew_keys(const ObServer *server)
{
	MemoryContext before;
	OldKeys *old;

	if (server->credentials.source != OB_CREDENTIALS_KEYS)
		return;
	AcceptInvalidationMessages();
	before = MemoryContextSwitchTo(server->context);
	old = keep_keys(&server->credentials.keys);
	/* all users of the server get its new keys, which is the purpose */
	ob_server_fill_keys(unconstify(ObServer *, server));
	MemoryContextSwitchTo(before);
	wipe_keys(&old->keys);
}

ObServer *
ob_server_get(const char *name)
{
	ObServer *server = ob_server_find(name);

	ob_server_fill_keys(server);
	return server;
}

void
ob_server_require_usage(const ObServer *server)
{
	/* changes that others have committed since the statement began */
	AcceptInvalidationMessages();
	require_usage(server->serverid, server->name);
}

static bool
may_use_some(void)
{
	Oid wrapper = get_foreign_data_wrapper_oid(WRAPPER_NAME, true);
	Relation servers = table_open(ForeignServerRelationId, AccessShareLock);
	SysScanDesc scan =
		systable_beginscan(servers, InvalidOid, false, NULL, 0, NULL);
	bool found = false;
	HeapTuple row;

	while (!found && HeapTupleIsValid(row = systable_getnext(scan)))
	{
		Form_pg_foreign_server server =
			(Form_pg_foreign_server) GETSTRUCT(row);

		found = server->srvfdw == wrapper &&
				ob_server_aclcheck(server->oid, GetUserId(), ACL_USAGE) ==
					ACLCHECK_OK;
	}
	systable_endscan(scan);
	table_close(servers, AccessShareLock);
	return found;
}

void
ob_server_require_some(const char *name)
{
	ForeignServer *server = name ? GetForeignServerByName(name, true) : NULL;

	if (server)
		require_usage(server->serverid, name);
	if (superuser() || may_use_some())
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("permission denied: role \"%s\" may use no server of the "
				"foreign-data wrapper \"" WRAPPER_NAME "\"",
				GetUserNameFromId(GetUserId(), false)),
		 errhint("GRANT USAGE ON FOREIGN SERVER ... TO %s;",
				 quote_identifier(GetUserNameFromId(GetUserId(), false)))));
}

void
ob_server_check_bucket(const char *bucket)
{
	ObError error;

	ob_error_clear(&error);
	if (ob_bucket_check(bucket, &error) != OB_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid bucket name \"%s\"", ob_report_clip(bucket)),
				 errdetail("%s", ob_server_fault(&error)),
				 bucket[0] == '{'
					 ? errhint("Options follow the bucket: write options => "
							   "'...'.")
					 : errhint(OB_BUCKET_RULE)));
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
