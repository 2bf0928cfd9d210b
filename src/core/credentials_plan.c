/*
 * credentials_plan.c
 *		Which source is configured here, and what it says.
 *
 * src/core/credentials_plan.c
 */
#include "credentials_intern.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

const char *
ob_env(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] != '\0' ? value : NULL;
}

void
ob_secret_free(char *secret)
{
	if (secret)
		OPENSSL_cleanse(secret, strlen(secret));
	free(secret);
}

/* ---- keys ---- */

void
ob_keys_wipe(ObKeys *keys)
{
	ob_secret_free(keys->access_key_id);
	ob_secret_free(keys->secret_access_key);
	ob_secret_free(keys->session_token);
	memset(keys, 0, sizeof(*keys));
}

void
ob_keys_move(ObKeys *to, ObKeys *from)
{
	ob_keys_wipe(to);
	*to = *from;
	memset(from, 0, sizeof(*from));
}

/* Whether it can go into a header as it is. */
static bool
is_plain(const char *value)
{
	const char *c;

	for (c = value; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return c != value;
}

static ObCode
copy_key(char **to, const char *from, const char *whose, const char *name,
		 ObError *error)
{
	if (!from || !is_plain(from))
		return ob_error_set(error, OB_ECREDS,
							"%s %s is empty, or not of printable ASCII "
							"characters without blanks",
							whose, name);
	*to = strdup(from);
	if (!*to)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	return OB_OK;
}

ObCode
ob_keys_set(ObKeys *keys, const ObCredentials *from, int64_t expires,
			const char *whose, ObError *error)
{
	ObCode code;

	ob_keys_wipe(keys);
	keys->expires = expires;
	code = copy_key(&keys->access_key_id, from->access_key_id, whose,
					"access key id", error);
	if (code == OB_OK)
		code = copy_key(&keys->secret_access_key, from->secret_access_key,
						whose, "secret access key", error);
	if (code == OB_OK && from->session_token)
		code = copy_key(&keys->session_token, from->session_token, whose,
						"session token", error);
	if (code != OB_OK)
		ob_keys_wipe(keys);
	return code;
}

/* ---- plans ---- */

void
ob_plan_wipe(ObPlan *plan)
{
	ob_keys_wipe(&plan->keys);
	memset(plan, 0, sizeof(*plan));
}

static void
set_origin(ObPlan *plan, const char *origin)
{
	ob_error_copy(plan->origin, sizeof(plan->origin), origin, strlen(origin));
}

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
	set_origin(plan, "environment");
	return ob_keys_set(&plan->keys, &found, 0, "the environment's", error);
}

ObCode
ob_plan_make(ObPlan *plan, const ObCredentialsOptions *options, ObError *error)
{
	ob_plan_wipe(plan);
	switch (options->source)
	{
		case OB_CREDENTIALS_KEYS:
			set_origin(plan, "user mapping");
			return ob_keys_set(&plan->keys, &options->keys, 0,
							   "the user mapping's", error);
		case OB_CREDENTIALS_ENVIRONMENT:
			return plan_environment(plan, error);
		default:
			return ob_error_set(error, OB_ECREDS,
								"this source is not known yet");
	}
}
