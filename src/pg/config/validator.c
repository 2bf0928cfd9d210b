/*
 * validator.c
 *		Checks the options of servers and user mappings when they are set.
 *
 * src/pg/config/validator.c
 *
 * PostgreSQL calls the validator with all options an object will have, also
 * when there are none.  No message repeats a value that may be a secret, and
 * all keep the statement, which may have one elsewhere, out of the server log.
 * They have no context, either: within a function or a DO block, that would be
 * the statement once more, for the client as well.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "core/s3/upload.h"
#include "core/text/uri.h"
#include "pg/base/errors.h"
#include "pg/config/server.h"

#define PREFIX_MAX 900 /* a key has 1,024 bytes */
#define PATTERNS_MAX 8192
/* The limits are above those of AWS's keys, for the sake of other stores. */
#define KEY_ID_MAX 128
#define SECRET_MAX 1024
#define TOKEN_MAX (16 * 1024)

#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define UPPER_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

PG_FUNCTION_INFO_V1(onboard_fdw_validator);

typedef struct ValidOption
{
	const char *name;
	Oid catalog;
	size_t max; /* bytes; 0: the check function limits it */
	void (*check)(const char *name, const char *value);
} ValidOption;

static _Noreturn void
fail_value(const char *name, const char *value, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
					errmsg("invalid value \"%s\" for option \"%s\"",
						   ob_report_clip(value), name),
					errhint("%s", hint), errhidestmt(true)));
}

/* The URL may contain a password, so the error does not repeat it. */
static _Noreturn void
fail_url(const char *name, const ObError *error, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
					errmsg("invalid value for option \"%s\"", name),
					errdetail("%s", ob_server_fault(error)),
					errhint("%s", hint), errhidestmt(true)));
}

/* The endpoints of the store and of its security token service. */
static void
check_endpoint(const char *name, const char *value)
{
	ObEndpoint endpoint;
	ObError error;

	ob_error_clear(&error);
	if (ob_endpoint_parse(&endpoint, value, &error) != OB_OK)
		fail_url(name, &error, "Write it as http[s]://host[:port][/path].");
}

static void
check_proxy(const char *name, const char *value)
{
	ObError error;

	ob_error_clear(&error);
	if (!ob_server_proxy_ok(value, &error))
		fail_url(name, &error, "Write it as http[s]://host[:port].");
}

/* AWS's regions have stricter rules, which hold only without an endpoint. */
static void
check_region(const char *name, const char *value)
{
	if (!ob_region_is_valid(value))
		fail_value(name, value,
				   "A region consists of letters, digits, hyphens, "
				   "underscores and dots, such as eu-central-1.");
}

static void
check_addressing(const char *name, const char *value)
{
	ObAddressing addressing;

	if (!ob_server_parse_addressing(value, &addressing))
		fail_value(name, value, "Allowed values: auto, path, virtual.");
}

static void
check_bucket(const char *name, const char *value)
{
	ObError error;

	ob_error_clear(&error);
	if (ob_bucket_check(value, &error) != OB_OK)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("invalid value \"%s\" for option \"%s\"",
							   ob_report_clip(value), name),
						errdetail("%s", ob_server_fault(&error)),
						errhint(OB_BUCKET_RULE), errhidestmt(true)));
}

/* A pattern that matches no name of a bucket is a mistake that would show only
 * later, as a refusal. */
static void
check_buckets(const char *name, const char *value)
{
	size_t len = strlen(value);

	if (strspn(value, ", ") == len ||
		strspn(value, LETTERS DIGITS ".-*?[]!^, ") != len)
		fail_value(name, value,
				   "Give bucket names or patterns with * ? [...], separated "
				   "by commas, such as \"lake-*, archive\".");
}

static void
check_prefix(const char *name, const char *value)
{
	for (const char *p = value; *p != '\0'; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			fail_value(name, value, "It must not contain control characters.");
	}
}

static void
check_credentials(const char *name, const char *value)
{
	ObCredentialsSource source;

	if (!ob_server_parse_source(value, &source))
		fail_value(name, value,
				   "Allowed values: mapping, environment, profile, "
				   "web_identity, container, instance, chain.");
}

static void
check_profile(const char *name, const char *value)
{
	if (!ob_server_profile_ok(value))
		fail_value(name, value,
				   "It is the name of a profile in the AWS configuration "
				   "files of the operating system user that runs PostgreSQL.");
}

static void
check_role_arn(const char *name, const char *value)
{
	if (!ob_server_role_arn_ok(value))
		fail_value(name, value,
				   "Write it as arn:aws:iam::111122223333:role/name.");
}

static void
check_external_id(const char *name, const char *value)
{
	if (!ob_server_external_id_ok(value))
		fail_value(name, value,
				   "It has 2 to 1,224 letters, digits and characters of "
				   "\"_+=,.@:/-\".");
}

static void
check_ca_file(const char *name, const char *value)
{
	if (!is_absolute_path(value))
		fail_value(name, value,
				   "Give the absolute path of a PEM file on the database "
				   "server.");
}

static void
check_boolean(const char *name, const char *value)
{
	bool ignored;

	if (!parse_bool(value, &ignored))
		fail_value(name, value, "Allowed values: on, off.");
}

static void
check_parts(const char *name, const char *value)
{
	bool equal;

	if (!ob_server_parse_parts(value, &equal))
		fail_value(name, value, "Allowed values: any, equal.");
}

static void
check_max_parts(const char *name, const char *value)
{
	int max_parts;

	if (!ob_server_parse_max_parts(value, &max_parts))
		fail_value(name, value,
				   psprintf("Allowed values: 1 to %d.", OB_PARTS_MAX));
}

static void
check_credential(const char *name, const char *value)
{
	if (!ob_server_credential_ok(value))
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("invalid value for option \"%s\"", name),
						errhint("It must not be empty and must consist of "
								"printable ASCII characters without blanks."),
						errhidestmt(true)));
}

/* Sorted: the hint lists them in this order. */
static const ValidOption valid_options[] = {
	{"addressing", ForeignServerRelationId, 0, check_addressing},
	{"bucket", ForeignServerRelationId, 0, check_bucket},
	{"buckets", ForeignServerRelationId, PATTERNS_MAX, check_buckets},
	{"ca_file", ForeignServerRelationId, MAXPGPATH - 1, check_ca_file},
	{"credentials", ForeignServerRelationId, 0, check_credentials},
	{"dualstack", ForeignServerRelationId, 0, check_boolean},
	{"endpoint", ForeignServerRelationId, 0, check_endpoint},
	{"external_id", ForeignServerRelationId, 0, check_external_id},
	{"fips", ForeignServerRelationId, 0, check_boolean},
	{"max_parts", ForeignServerRelationId, 0, check_max_parts},
	{"parts", ForeignServerRelationId, 0, check_parts},
	{"prefix", ForeignServerRelationId, PREFIX_MAX, check_prefix},
	{"profile", ForeignServerRelationId, OB_PROFILE_MAX, check_profile},
	{"proxy", ForeignServerRelationId, 0, check_proxy},
	{"region", ForeignServerRelationId, OB_REGION_MAX, check_region},
	{"role_arn", ForeignServerRelationId, OB_ROLE_ARN_MAX, check_role_arn},
	{"sts_endpoint", ForeignServerRelationId, 0, check_endpoint},
	{"access_key_id", UserMappingRelationId, KEY_ID_MAX, check_credential},
	{"secret_access_key", UserMappingRelationId, SECRET_MAX, check_credential},
	{"session_token", UserMappingRelationId, TOKEN_MAX, check_credential},
};

/* Lists the names that an object of this catalog may have, or names the right
 * place of a misplaced one: keys on the server are the commonest mistake. */
static const char *
name_hint(Oid catalog, const char *name)
{
	StringInfoData hint;

	for (int i = 0; i < lengthof(valid_options); i++)
	{
		if (strcmp(valid_options[i].name, name) == 0)
			return psprintf("It is an option of %s.",
							valid_options[i].catalog == UserMappingRelationId
								? "user mappings"
								: "servers");
	}
	initStringInfo(&hint);
	for (int i = 0; i < lengthof(valid_options); i++)
	{
		if (valid_options[i].catalog == catalog)
			appendStringInfo(&hint, "%s%s", hint.len ? ", " : "Options: ",
							 valid_options[i].name);
	}
	if (hint.len == 0)
		return "The foreign-data wrapper itself has no options; its servers "
			   "do.";
	appendStringInfoChar(&hint, '.');
	return hint.data;
}

static _Noreturn void
fail_name(Oid catalog, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("unknown option \"%s\"", name),
			 errhint("%s", name_hint(catalog, name)), errhidestmt(true)));
}

static void
check_length(const ValidOption *valid, const char *value)
{
	if (valid->max > 0 && strlen(value) > valid->max)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("value for option \"%s\" has %zu bytes",
							   valid->name, strlen(value)),
						errhint("It may have at most %zu.", valid->max),
						errhidestmt(true)));
}

static void
check_option(Oid catalog, const DefElem *option)
{
	for (int i = 0; i < lengthof(valid_options); i++)
	{
		const ValidOption *valid = &valid_options[i];
		const char *value;

		if (valid->catalog != catalog ||
			strcmp(valid->name, option->defname) != 0)
			continue;
		value = defGetString(unconstify(DefElem *, option));
		check_length(valid, value);
		valid->check(valid->name, value);
		return;
	}
	fail_name(catalog, option->defname);
}

/* Half of a key pair is useless. */
static void
check_mapping(List *options)
{
	if (ob_server_find_option(options, "access_key_id") == NULL ||
		ob_server_find_option(options, "secret_access_key") == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
						errmsg("a user mapping needs both \"access_key_id\" "
							   "and \"secret_access_key\""),
						errhint("OPTIONS (access_key_id '...', "
								"secret_access_key '...')"),
						errhidestmt(true)));
}

/*
 * Properties of the machine, rather than of users of the database, cannot be
 * given away by roles that may create servers.  The check is made whenever the
 * server changes, since another endpoint changes their use.
 */
static void
check_privileges(List *options)
{
	const char *from = ob_server_find_option(options, "credentials");
	ObCredentialsSource source;

	if (ob_server_parse_source(from, &source) &&
		source != OB_CREDENTIALS_KEYS && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only a superuser may create or change a server with "
						"\"credentials\" from \"%s\"",
						from),
				 errdetail("They are those of the machine that PostgreSQL "
						   "runs on."),
				 errhint("Use \"credentials\" from \"mapping\", or let a "
						 "superuser do it."),
				 errhidestmt(true)));
	if (ob_server_find_option(options, "ca_file") != NULL &&
		!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to create or change a server with "
						"\"ca_file\""),
				 errdetail("Only roles with the privileges of "
						   "pg_read_server_files may name a file of the "
						   "database server."),
				 errhidestmt(true)));
}

/* Refuses options that would silently have no effect. */
static void
check_role(List *options)
{
	const char *from = ob_server_find_option(options, "credentials");
	const char *profile = ob_server_find_option(options, "profile");
	const char *id = ob_server_find_option(options, "external_id");

	if (profile != NULL && (from == NULL || (strcmp(from, "profile") != 0 &&
											 strcmp(from, "chain") != 0)))
		fail_value("profile", profile,
				   "It needs option \"credentials\" to be profile or chain.");
	if (id != NULL && ob_server_find_option(options, "role_arn") == NULL)
		fail_value("external_id", id, "It needs option \"role_arn\".");
}

/* These options choose among AWS's own endpoints.  With another endpoint they
 * would have no effect, and the owner would wrongly assume FIPS. */
static void
check_variant(List *options, const char *name)
{
	const char *region = ob_server_find_option(options, "region");
	const char *value = ob_server_find_option(options, name);
	unsigned variant;
	bool wanted;
	ObEndpoint endpoint;
	ObError error;

	ob_error_clear(&error);
	if (value == NULL || !parse_bool(value, &wanted) || !wanted ||
		ob_server_variant(options, &variant) != NULL)
		return;
	if (ob_server_find_option(options, "endpoint") != NULL)
		fail_value(name, value,
				   "It is for AWS's own endpoints: leave out option "
				   "\"endpoint\", or name there the host that you want.");
	if (region != NULL &&
		ob_endpoint_service(&endpoint, "s3", region, variant, &error) != OB_OK)
		fail_value(name, value, ob_server_fault(&error));
}

/* Refuses a default bucket that is not allowed, and a region that cannot be
 * part of AWS's host names if there is no endpoint: they are useless as well.
 */
static void
check_place(List *options)
{
	const char *region = ob_server_find_option(options, "region");
	const char *bucket = ob_server_find_option(options, "bucket");
	const char *buckets = ob_server_find_option(options, "buckets");
	ObEndpoint endpoint;
	ObError error;

	if (bucket != NULL && buckets != NULL &&
		!ob_bucket_matches(buckets, bucket))
		fail_value("bucket", bucket, "Option \"buckets\" does not allow it.");
	ob_error_clear(&error);
	if (region != NULL && ob_server_find_option(options, "endpoint") == NULL &&
		ob_endpoint_aws(&endpoint, region, &error) != OB_OK)
		fail_value("region", region,
				   "AWS's regions consist of lower-case letters, digits "
				   "and hyphens; other stores need option \"endpoint\".");
}

static void
check_all(List *options, Oid catalog)
{
	ListCell *cell;

	if (catalog == ForeignTableRelationId || catalog == AttributeRelationId)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("foreign-data wrapper \"onboard\" has no foreign "
						"tables"),
				 errhint("Its servers are places to export to; see "
						 "onboard_table().")));
	foreach (cell, options)
		check_option(catalog, lfirst_node(DefElem, cell));
	if (catalog == UserMappingRelationId)
		check_mapping(options);
	if (catalog == ForeignServerRelationId)
	{
		check_privileges(options);
		check_role(options);
		check_place(options);
		check_variant(options, "fips");
		check_variant(options, "dualstack");
	}
}

Datum
onboard_fdw_validator(PG_FUNCTION_ARGS)
{
	ErrorContextCallback *context = error_context_stack;

	/* PG_CATCH restores it after an error */
	error_context_stack = NULL;
	check_all(untransformRelOptions(PG_GETARG_DATUM(0)), PG_GETARG_OID(1));
	error_context_stack = context;
	PG_RETURN_VOID();
}
