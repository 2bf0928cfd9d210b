/*
 * credentials_config.c
 *		Making a plan: which source of credentials is configured.
 *
 * src/core/aws/credentials_config.c
 *
 * A plan is made from the options, the environment, and AWS's config and
 * credentials files.  See
 * https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
 *
 * A profile may name a role and where the credentials to assume it come from,
 * often another profile.  A profile whose credentials would come from a source
 * that we do not support is an error, and is not passed over: the next source
 * would give another identity.
 */
#include "core/aws/credentials_intern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/aws/profile.h"
#include "core/base/text.h"

#define FILE_MAX ((size_t) 1024 * 1024)
#define PATH_LEN 1024
#define DURATION_MIN_S 900
#define DURATION_MAX_S 43200

static void
free_role(ObRole *role)
{
	free(role->arn);
	free(role->external_id);
	free(role->session_name);
	free(role->token_file);
	memset(role, 0, sizeof(*role));
}

void
ob_plan_wipe(ObPlan *plan)
{
	ob_keys_wipe(&plan->keys);
	for (int i = 0; i < plan->nroles; i++)
		free_role(&plan->roles[i]);
	free(plan->sts_endpoint);
	memset(plan, 0, sizeof(*plan));
}

static ObCode
add_role(ObPlan *plan, const ObRole *role, ObError *error)
{
	ObRole *own = &plan->roles[plan->nroles];
	ObCode code;

	if (!role->arn || !ob_is_plain(role->arn))
		return ob_error_set(error, OB_ECREDS,
							"the role's ARN is not of printable ASCII "
							"characters without blanks");
	if (plan->nroles == OB_ROLES_MAX)
		return ob_error_set(error, OB_ECREDS,
							"more than %d roles would have to be assumed, "
							"one after the other",
							OB_ROLES_MAX);
	plan->nroles++;
	own->duration_s = role->duration_s;
	code = ob_text_copy(&own->arn, role->arn, error);
	if (code == OB_OK)
		code = ob_text_copy(&own->external_id, role->external_id, error);
	if (code == OB_OK)
		code = ob_text_copy(&own->session_name, role->session_name, error);
	if (code == OB_OK)
		code = ob_text_copy(&own->token_file, role->token_file, error);
	return code;
}

/* ---- the environment ---- */

static ObCode
plan_environment(ObPlan *plan, ObError *error)
{
	ObCredentials found = {ob_env("AWS_ACCESS_KEY_ID"),
						   ob_env("AWS_SECRET_ACCESS_KEY"),
						   ob_env("AWS_SESSION_TOKEN")};

	if (!found.access_key_id || !found.secret_access_key)
		return ob_error_set(
			error, OB_ECREDS, "the environment has no %s",
			found.access_key_id ? "AWS_SECRET_ACCESS_KEY"
			: found.secret_access_key
				? "AWS_ACCESS_KEY_ID"
				: "AWS_ACCESS_KEY_ID and no AWS_SECRET_ACCESS_KEY");
	plan->base = OB_CREDENTIALS_KEYS;
	ob_origin_set(plan->origin, "environment");
	return ob_keys_set(&plan->keys, &found, 0, "the environment's", error);
}

static ObCode
plan_web_identity(ObPlan *plan, ObError *error)
{
	const char *arn = ob_env("AWS_ROLE_ARN");
	const char *file = ob_env("AWS_WEB_IDENTITY_TOKEN_FILE");
	/* they are copied */
	ObRole role = {.arn = (char *) arn,
				   .session_name = (char *) ob_env("AWS_ROLE_SESSION_NAME"),
				   .token_file = (char *) file};

	if (!arn || !file)
		return ob_error_set(
			error, OB_ECREDS, "for a web identity, the environment has no %s",
			file ? "AWS_ROLE_ARN" : "AWS_WEB_IDENTITY_TOKEN_FILE");
	plan->base = OB_CREDENTIALS_WEB_IDENTITY;
	ob_origin_set(plan->origin, "web identity");
	return add_role(plan, &role, error);
}

static bool
has_container(void)
{
	return ob_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") ||
		   ob_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
}

static ObCode
plan_container(ObPlan *plan, ObError *error)
{
	if (!has_container())
		return ob_error_set(error, OB_ECREDS,
							"for a container's credentials, the environment "
							"has no AWS_CONTAINER_CREDENTIALS_RELATIVE_URI "
							"and no AWS_CONTAINER_CREDENTIALS_FULL_URI");
	plan->base = OB_CREDENTIALS_CONTAINER;
	ob_origin_set(plan->origin, "container");
	return OB_OK;
}

static ObCode
plan_instance(ObPlan *plan, ObError *error)
{
	const char *disabled = ob_env("AWS_EC2_METADATA_DISABLED");

	if (disabled && strcasecmp(disabled, "true") == 0)
		return ob_error_set(error, OB_ECREDS,
							"the instance metadata service is switched off "
							"by AWS_EC2_METADATA_DISABLED");
	plan->base = OB_CREDENTIALS_INSTANCE;
	ob_origin_set(plan->origin, "instance metadata");
	return OB_OK;
}

/* ---- AWS's files ---- */

typedef struct Files
{
	ObProfiles *profiles;
	char paths[OB_PROFILE_ANY][PATH_LEN]; /* "": not known */
} Files;

static const struct
{
	const char *variable;
	const char *name; /* its path under the home folder */
} places[OB_PROFILE_ANY] = {
	[OB_PROFILE_CREDENTIALS] = {"AWS_SHARED_CREDENTIALS_FILE",
								"/.aws/credentials"},
	[OB_PROFILE_CONFIG] = {"AWS_CONFIG_FILE", "/.aws/config"},
};

static ObCode
set_path(char *path, const char *variable, const char *name, ObError *error)
{
	const char *home = ob_env("HOME");
	const char *given = ob_env(variable);
	int len;

	path[0] = '\0';
	if (given && strncmp(given, "~/", 2) != 0)
		len = snprintf(path, PATH_LEN, "%s", given);
	else if (home)
		len = snprintf(path, PATH_LEN, "%s%s", home, given ? given + 1 : name);
	else
		return OB_OK;
	if (len < 0 || len >= PATH_LEN)
		return ob_error_set(error, OB_ECREDS,
							"the path of AWS's %s is too "
							"long",
							name + strlen("/.aws/"));
	return OB_OK;
}

static ObCode
read_file(Files *files, ObProfileFile file, ObError *error)
{
	const char *path = files->paths[file];
	ObError fault;
	ObBuf content;
	bool missing;
	ObCode code;

	if (path[0] == '\0')
		return OB_OK;
	code = ob_file_read(path, FILE_MAX, &content, &missing, error);
	if (code == OB_OK && content.len > 0)
	{
		ob_error_clear(&fault);
		code = ob_profiles_read(files->profiles, file, content.data,
								content.len, &fault);
		if (code != OB_OK)
			ob_error_set(error, code, "file \"%s\": %s", path, fault.cause);
	}
	ob_buf_wipe(&content);
	return code;
}

static ObCode
read_files(Files *files, ObError *error)
{
	ObCode code = OB_OK;

	files->profiles = ob_profiles_new();
	if (!files->profiles)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	for (int i = 0; i < OB_PROFILE_ANY && code == OB_OK; i++)
	{
		code = set_path(files->paths[i], places[i].variable, places[i].name,
						error);
		if (code == OB_OK)
			code = read_file(files, (ObProfileFile) i, error);
	}
	return code;
}

/* ---- a profile ---- */

static const char *
get(const Files *files, const char *profile, const char *key)
{
	return ob_profiles_get(files->profiles, OB_PROFILE_ANY, profile, key);
}

/* Returns whether the profile has any key about credentials. */
static bool
has_credentials(const Files *files, const char *profile)
{
	static const char *const keys[] = {
		"aws_access_key_id", "aws_secret_access_key",   "role_arn",
		"source_profile",    "web_identity_token_file", "credential_process",
		"sso_session",       "sso_start_url",           "credential_source",
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (get(files, profile, keys[i]))
			return true;
	return false;
}

static bool
has_keys(const Files *files, const char *profile)
{
	return get(files, profile, "aws_access_key_id") ||
		   get(files, profile, "aws_secret_access_key");
}

/* The id, the secret and the token belong together, so they come from one
 * file. */
static ObCode
plan_keys(ObPlan *plan, const Files *files, const char *profile,
		  ObError *error)
{
	ObProfileFile file = OB_PROFILE_CREDENTIALS;
	ObCredentials found;
	ObError fault;

	if (!ob_profiles_get(files->profiles, file, profile,
						 "aws_access_key_id") &&
		!ob_profiles_get(files->profiles, file, profile,
						 "aws_secret_access_key"))
		file = OB_PROFILE_CONFIG;
	found = (ObCredentials){
		ob_profiles_get(files->profiles, file, profile, "aws_access_key_id"),
		ob_profiles_get(files->profiles, file, profile,
						"aws_secret_access_key"),
		ob_profiles_get(files->profiles, file, profile, "aws_session_token")};
	plan->base = OB_CREDENTIALS_KEYS;
	ob_origin_set(plan->origin, "profile \"%s\"", profile);
	ob_error_clear(&fault);
	if (ob_keys_set(&plan->keys, &found, 0, "its", &fault) != OB_OK)
		ob_error_set(error, fault.code, "profile \"%s\": %s", profile,
					 fault.cause);
	return fault.code;
}

/* Refuses profiles whose source of credentials is not supported. */
static ObCode
refuse_unsupported(const Files *files, const char *profile, ObError *error)
{
	if (get(files, profile, "sso_session") ||
		get(files, profile, "sso_start_url"))
		return ob_error_set(error, OB_ECREDS,
							"profile \"%s\" uses SSO (sso_*), which "
							"onboard does not support",
							profile);
	if (get(files, profile, "credential_process") &&
		!ob_profiles_get(files->profiles, OB_PROFILE_CREDENTIALS, profile,
						 "aws_access_key_id"))
		return ob_error_set(error, OB_ECREDS,
							"profile \"%s\" has a credential_process, which "
							"onboard does not run",
							profile);
	return OB_OK;
}

static ObCode
read_duration(const Files *files, const char *profile, int *seconds,
			  ObError *error)
{
	const char *text = get(files, profile, "duration_seconds");

	*seconds = 0;
	if (!text)
		return OB_OK;
	if (strlen(text) <= 5 && strspn(text, "0123456789") == strlen(text))
		*seconds = atoi(text);
	if (*seconds < DURATION_MIN_S || *seconds > DURATION_MAX_S)
		return ob_error_set(error, OB_ECREDS,
							"profile \"%s\": duration_seconds is not a number "
							"from %d to %d",
							profile, DURATION_MIN_S, DURATION_MAX_S);
	return OB_OK;
}

/* ---- roles ---- */

/* The profiles that source_profile links, and the end of that chain. */
typedef struct Chain
{
	const char *profiles[OB_ROLES_MAX]; /* profiles with a role, from the first
										 * one named */
	int n;
	const char *keys;   /* the profile that has keys; or */
	const char *source; /* a credential_source; if both are NULL, the last role
						 * is assumed with a web identity */
} Chain;

/* Adds a profile with a role to the chain. */
static ObCode
add_link(Chain *chain, const Files *files, const char *profile, ObError *error)
{
	for (int i = 0; i < chain->n; i++)
		if (strcmp(chain->profiles[i], profile) == 0)
			return ob_error_set(error, OB_ECREDS,
								"profile \"%s\" refers to itself through "
								"source_profile",
								profile);
	if (chain->n == OB_ROLES_MAX)
		return ob_error_set(error, OB_ECREDS,
							"profile \"%s\" leads to more than %d roles",
							chain->profiles[0], OB_ROLES_MAX);
	if (get(files, profile, "mfa_serial"))
		return ob_error_set(error, OB_ECREDS,
							"profile \"%s\" requires a second factor "
							"(mfa_serial), which a server cannot provide",
							profile);
	chain->profiles[chain->n++] = profile;
	return OB_OK;
}

/* Checks that exactly one of the three keys names the credentials that a role
 * is assumed with. */
static ObCode
check_credential_keys(const Files *files, const char *profile, ObError *error)
{
	int n = (get(files, profile, "source_profile") != NULL) +
			(get(files, profile, "credential_source") != NULL) +
			(get(files, profile, "web_identity_token_file") != NULL);

	if (n == 1)
		return OB_OK;
	return ob_error_set(error, OB_ECREDS,
						"profile \"%s\" has a role_arn and %s of "
						"source_profile, credential_source and "
						"web_identity_token_file",
						profile, n == 0 ? "none" : "more than one");
}

/* The keys of a source profile take precedence over its role, so a profile may
 * name itself. */
static ObCode
follow_chain(Chain *chain, const Files *files, const char *profile,
			 ObError *error)
{
	for (;;)
	{
		const char *next;

		if (!get(files, profile, "role_arn") ||
			(chain->n > 0 && has_keys(files, profile)))
		{
			chain->keys = profile;
			return OB_OK;
		}
		if (add_link(chain, files, profile, error) != OB_OK ||
			check_credential_keys(files, profile, error) != OB_OK)
			return error->code;
		if (get(files, profile, "web_identity_token_file"))
			return OB_OK;
		chain->source = get(files, profile, "credential_source");
		if (chain->source)
			return OB_OK;
		next = get(files, profile, "source_profile");
		if (!ob_profiles_has(files->profiles, next))
			return ob_error_set(error, OB_ECREDS,
								"the source_profile \"%s\" of profile "
								"\"%s\" does not exist",
								next, profile);
		profile = next;
	}
}

static ObCode
plan_named_source(ObPlan *plan, const Chain *chain, ObError *error)
{
	ObCredentialsOptions options = {.source = OB_CREDENTIALS_ENVIRONMENT};

	if (strcmp(chain->source, "Ec2InstanceMetadata") == 0)
		options.source = OB_CREDENTIALS_INSTANCE;
	else if (strcmp(chain->source, "EcsContainer") == 0)
		options.source = OB_CREDENTIALS_CONTAINER;
	else if (strcmp(chain->source, "Environment") != 0)
		return ob_error_set(error, OB_ECREDS,
							"the credential_source of profile \"%s\" is not "
							"one of Environment, Ec2InstanceMetadata, "
							"EcsContainer",
							chain->profiles[chain->n - 1]);
	return ob_plan_make(plan, &options, error);
}

static ObCode
plan_base(ObPlan *plan, const Files *files, const Chain *chain, ObError *error)
{
	if (chain->source)
		return plan_named_source(plan, chain, error);
	if (chain->keys)
	{
		if (refuse_unsupported(files, chain->keys, error) != OB_OK)
			return error->code;
		if (!has_keys(files, chain->keys))
			return ob_error_set(error, OB_ECREDS,
								"profile \"%s\" has no credentials",
								chain->keys);
		return plan_keys(plan, files, chain->keys, error);
	}
	plan->base = OB_CREDENTIALS_WEB_IDENTITY;
	ob_origin_set(plan->origin, "web identity");
	return OB_OK;
}

static ObCode
plan_role(ObPlan *plan, const Files *files, const char *profile,
		  ObError *error)
{
	/* they are copied */
	ObRole role = {
		.arn = (char *) get(files, profile, "role_arn"),
		.external_id = (char *) get(files, profile, "external_id"),
		.session_name = (char *) get(files, profile, "role_session_name"),
		.token_file = (char *) get(files, profile, "web_identity_token_file")};

	if (read_duration(files, profile, &role.duration_s, error) != OB_OK)
		return error->code;
	return add_role(plan, &role, error);
}

static ObCode
plan_named(ObPlan *plan, const Files *files, const char *profile,
		   ObError *error)
{
	Chain chain = {.n = 0};
	ObCode code = follow_chain(&chain, files, profile, error);

	if (code == OB_OK)
		code = plan_base(plan, files, &chain, error);
	for (int i = chain.n - 1; i >= 0 && code == OB_OK; i--)
		code = plan_role(plan, files, chain.profiles[i], error);
	if (code == OB_OK)
	{
		free(plan->sts_endpoint);
		code = ob_text_copy(&plan->sts_endpoint,
							ob_profiles_get_service(files->profiles, profile,
													"sts", "endpoint_url"),
							error);
	}
	return code;
}

static ObCode
no_such_profile(const Files *files, const char *profile, ObError *error)
{
	const char *credentials = files->paths[OB_PROFILE_CREDENTIALS];
	const char *config = files->paths[OB_PROFILE_CONFIG];

	if (credentials[0] == '\0' && config[0] == '\0')
		return ob_error_set(error, OB_ECREDS,
							"there are no files for profile \"%s\": the "
							"environment has no HOME",
							profile);
	return ob_error_set(error, OB_ECREDS,
						"profile \"%s\" is neither in \"%s\" nor in \"%s\"",
						profile, credentials, config);
}

static ObCode
plan_profile(ObPlan *plan, const char *profile, bool *skipped, ObError *error)
{
	bool requested = profile || ob_env("AWS_PROFILE");
	Files files = {NULL};
	ObCode code;

	if (!profile)
		profile = requested ? ob_env("AWS_PROFILE") : "default";
	code = read_files(&files, error);
	if (skipped)
		*skipped =
			code == OB_OK && !requested && !has_credentials(&files, profile);
	if (code == OB_OK && !(skipped && *skipped))
	{
		if (ob_profiles_has(files.profiles, profile))
			code = plan_named(plan, &files, profile, error);
		else
			code = no_such_profile(&files, profile, error);
	}
	ob_profiles_free(files.profiles);
	return code;
}

/* ---- the chain ---- */

static ObCode
plan_chain(ObPlan *plan, const ObCredentialsOptions *options, ObError *error)
{
	bool skipped;
	ObCode code;

	if (ob_env("AWS_ACCESS_KEY_ID") || ob_env("AWS_SECRET_ACCESS_KEY"))
		return plan_environment(plan, error);
	code = plan_profile(plan, options->profile, &skipped, error);
	if (code != OB_OK || !skipped)
		return code;
	if (ob_env("AWS_WEB_IDENTITY_TOKEN_FILE"))
		return plan_web_identity(plan, error);
	if (has_container())
		return plan_container(plan, error);
	return plan_instance(plan, error);
}

static ObCode
plan_source(ObPlan *plan, const ObCredentialsOptions *options, ObError *error)
{
	switch (options->source)
	{
		case OB_CREDENTIALS_KEYS:
			plan->base = OB_CREDENTIALS_KEYS;
			ob_origin_set(plan->origin, "user mapping");
			return ob_keys_set(&plan->keys, &options->keys, 0,
							   "the user mapping's", error);
		case OB_CREDENTIALS_ENVIRONMENT:
			return plan_environment(plan, error);
		case OB_CREDENTIALS_PROFILE:
			return plan_profile(plan, options->profile, NULL, error);
		case OB_CREDENTIALS_WEB_IDENTITY:
			return plan_web_identity(plan, error);
		case OB_CREDENTIALS_CONTAINER:
			return plan_container(plan, error);
		case OB_CREDENTIALS_INSTANCE:
			return plan_instance(plan, error);
		case OB_CREDENTIALS_CHAIN:
			return plan_chain(plan, options, error);
	}
	return ob_error_set(error, OB_EINVAL, "there is no such source");
}

/* Chooses the endpoint of the options, else of the environment, else of the
 * profile. */
static ObCode
choose_sts_endpoint(ObPlan *plan, const ObCredentialsOptions *options,
					ObError *error)
{
	const char *ignored = ob_env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
	bool ignore = ignored && strcasecmp(ignored, "true") == 0;
	const char *chosen = options->sts_endpoint;

	if (!chosen && !ignore)
		chosen = ob_env("AWS_ENDPOINT_URL_STS");
	if (!chosen && !ignore)
		return OB_OK;
	free(plan->sts_endpoint);
	return ob_text_copy(&plan->sts_endpoint, chosen, error);
}

ObCode
ob_plan_make(ObPlan *plan, const ObCredentialsOptions *options, ObError *error)
{
	ObRole role = {.arn = (char *) options->role_arn,
				   .external_id = (char *) options->external_id};
	ObCode code;

	ob_plan_wipe(plan);
	code = plan_source(plan, options, error);
	if (code == OB_OK && options->role_arn)
		code = add_role(plan, &role, error);
	if (code == OB_OK)
		code = choose_sts_endpoint(plan, options, error);
	if (code != OB_OK)
		ob_plan_wipe(plan);
	return code;
}
