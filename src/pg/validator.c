/*
 * validator.c
 *		Checks the options of servers and user mappings when they are set.
 *
 * src/pg/validator.c
 *
 * PostgreSQL calls the validator with all options an object will have, also
 * when there are none.  No message repeats a value that may be a secret, and
 * all keep the statement, which may have one elsewhere, out of the server log.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "lib/stringinfo.h"

#include "core/uri.h"
#include "pg/server.h"

#define PREFIX_MAX 900 /* of a key's 1,024 bytes */

#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define UPPER_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

PG_FUNCTION_INFO_V1(onboard_fdw_validator);

typedef struct ValidOption
{
	const char *name;
	Oid catalog;
	void (*check)(const char *name, const char *value);
} ValidOption;

static _Noreturn void
fail_value(const char *name, const char *value, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("invalid value \"%s\" for option \"%s\"", value, name),
			 errhint("%s", hint), errhidestmt(true)));
}

static _Noreturn void
fail_not_supported(const char *name)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("option \"%s\" is not supported yet", name),
					errhint("Leave it out."), errhidestmt(true)));
}

/* An endpoint may have a password in it. */
static void
check_endpoint(const char *name, const char *value)
{
	ObEndpoint endpoint;
	ObError error;

	ob_error_clear(&error);
	if (ob_endpoint_parse(&endpoint, value, &error) != OB_OK)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("invalid value for option \"%s\"", name),
						errdetail("%s", ob_server_fault(&error)),
						errhint("Write it as http[s]://host[:port][/path]."),
						errhidestmt(true)));
}

/* AWS's regions have stricter rules, which hold only without an endpoint. */
static void
check_region(const char *name, const char *value)
{
	if (!ob_server_region_ok(value))
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
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("invalid value \"%s\" for option \"%s\"", value, name),
				 errdetail("%s", ob_server_fault(&error)),
				 errhint("A bucket name has 3 to 63 lower-case letters, "
						 "digits, dots and hyphens."),
				 errhidestmt(true)));
}

/* What no bucket's name can match is a mistake that would only show as a
 * refusal later. */
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
	if (strlen(value) > PREFIX_MAX)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("value for option \"%s\" has %zu bytes", name,
							   strlen(value)),
						errhint("It may have at most %d.", PREFIX_MAX),
						errhidestmt(true)));
	for (const char *p = value; *p != '\0'; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			fail_value(name, value, "It must not contain control characters.");
	}
}

static void
check_credentials(const char *name, const char *value)
{
	static const char *const later[] = {"profile", "web_identity", "container",
										"instance", "chain"};

	for (int i = 0; i < lengthof(later); i++)
	{
		if (strcmp(value, later[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("value \"%s\" of option \"%s\" is not supported "
							"yet",
							value, name),
					 errhint("Allowed values: mapping, environment."),
					 errhidestmt(true)));
	}
	if (strcmp(value, "mapping") != 0 && strcmp(value, "environment") != 0)
		fail_value(name, value, "Allowed values: mapping, environment.");
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

/* Sorted: the hint lists them in this order.  No check: not supported yet. */
static const ValidOption valid_options[] = {
	{"addressing", ForeignServerRelationId, check_addressing},
	{"bucket", ForeignServerRelationId, check_bucket},
	{"buckets", ForeignServerRelationId, check_buckets},
	{"ca_file", ForeignServerRelationId, check_ca_file},
	{"credentials", ForeignServerRelationId, check_credentials},
	{"endpoint", ForeignServerRelationId, check_endpoint},
	{"external_id", ForeignServerRelationId, NULL},
	{"max_parts", ForeignServerRelationId, check_max_parts},
	{"prefix", ForeignServerRelationId, check_prefix},
	{"region", ForeignServerRelationId, check_region},
	{"role_arn", ForeignServerRelationId, NULL},
	{"access_key_id", UserMappingRelationId, check_credential},
	{"secret_access_key", UserMappingRelationId, check_credential},
	{"session_token", UserMappingRelationId, check_credential},
};

/* The names that a catalog's objects may have, or where a misplaced one
 * belongs: keys on the server are the commonest mistake. */
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
		if (valid_options[i].catalog == catalog && valid_options[i].check)
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
check_option(Oid catalog, const DefElem *option)
{
	for (int i = 0; i < lengthof(valid_options); i++)
	{
		const ValidOption *valid = &valid_options[i];

		if (valid->catalog != catalog ||
			strcmp(valid->name, option->defname) != 0)
			continue;
		if (valid->check == NULL)
			fail_not_supported(valid->name);
		valid->check(valid->name, defGetString(unconstify(DefElem *, option)));
		return;
	}
	fail_name(catalog, option->defname);
}

/* Half a key pair is of no use, and neither is a default bucket that is not
 * allowed, or a region that cannot be part of AWS's host names when no
 * endpoint is given. */
static void
check_together(Oid catalog, List *options)
{
	const char *region = ob_server_find_option(options, "region");
	const char *bucket = ob_server_find_option(options, "bucket");
	const char *buckets = ob_server_find_option(options, "buckets");

	if (catalog == UserMappingRelationId &&
		(ob_server_find_option(options, "access_key_id") == NULL ||
		 ob_server_find_option(options, "secret_access_key") == NULL))
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
						errmsg("a user mapping needs both \"access_key_id\" "
							   "and \"secret_access_key\""),
						errhint("OPTIONS (access_key_id '...', "
								"secret_access_key '...')"),
						errhidestmt(true)));
	if (bucket != NULL && buckets != NULL &&
		!ob_bucket_matches(buckets, bucket))
		fail_value("bucket", bucket, "Option \"buckets\" does not allow it.");
	if (catalog == ForeignServerRelationId && region != NULL &&
		ob_server_find_option(options, "endpoint") == NULL)
	{
		ObEndpoint endpoint;
		ObError error;

		ob_error_clear(&error);
		if (ob_endpoint_aws(&endpoint, region, &error) != OB_OK)
			fail_value("region", region,
					   "AWS's regions consist of lower-case letters, digits "
					   "and hyphens; other stores need option \"endpoint\".");
	}
}

Datum
onboard_fdw_validator(PG_FUNCTION_ARGS)
{
	List *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid catalog = PG_GETARG_OID(1);
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
	check_together(catalog, options);
	PG_RETURN_VOID();
}
