/*
 * credentials_plan.c
 *		Which source is configured here, and what it says.
 *
 * src/core/aws/credentials_plan.c
 *
 * See
 *https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
 */
#include "core/aws/credentials_intern.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

ObCode
ob_plan_add_role(ObPlan *plan, const ObRole *role, ObError *error)
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

ObCode
ob_plan_environment(ObPlan *plan, ObError *error)
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
	return ob_plan_add_role(plan, &role, error);
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

/* ---- the chain ---- */

static ObCode
plan_chain(ObPlan *plan, const ObCredentialsOptions *options, ObError *error)
{
	bool skipped;
	ObCode code;

	if (ob_env("AWS_ACCESS_KEY_ID") || ob_env("AWS_SECRET_ACCESS_KEY"))
		return ob_plan_environment(plan, error);
	code = ob_plan_profile(plan, options->profile, &skipped, error);
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
			return ob_plan_environment(plan, error);
		case OB_CREDENTIALS_PROFILE:
			return ob_plan_profile(plan, options->profile, NULL, error);
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

/* The options' endpoint, the environment's, or the profile's, which is set. */
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
		code = ob_plan_add_role(plan, &role, error);
	if (code == OB_OK)
		code = choose_sts_endpoint(plan, options, error);
	if (code != OB_OK)
		ob_plan_wipe(plan);
	return code;
}
