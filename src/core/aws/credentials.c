/*
 * credentials.c
 *		Credentials from AWS's usual sources: found, fetched, renewed in time.
 *
 * src/core/aws/credentials.c
 *
 * A provider keeps the credentials of its last fetch, and runs one fetch at a
 * time (credentials_fetch.c): in the foreground when it has no valid
 * credentials, or as a renewal while it has.  A renewal that fails is not
 * reported as long as the old credentials are valid; when they have expired,
 * the next poll fetches again, in the foreground.
 */
#include "core/aws/credentials.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "core/aws/credentials_intern.h"
#include "core/base/text.h"

#define RENEW_BEFORE_S 300
#define RENEW_AGAIN_S 30

struct ObProvider
{
	ObCredentialsOptions options; /* its texts are copies */
	ObKeys given;                 /* options.keys point here */
	ObKeys keys;                  /* the credentials of the last fetch */
	ObCredentials view;           /* the same as callers see them */
	bool refused; /* the store refused the keys: only an abort uses them */
	char origin[OB_ORIGIN_MAX];
	bool failed;
	ObError failure;
	int64_t renew_at; /* not before */
	ObFetch fetch;
	ObProviderWait *waits;
	ObProviderWait *waking; /* the callers that are being woken */
};

static const struct
{
	ObCredentialsSource source;
	const char *name;
} source_names[] = {
	{OB_CREDENTIALS_KEYS, "mapping"},
	{OB_CREDENTIALS_ENVIRONMENT, "environment"},
	{OB_CREDENTIALS_PROFILE, "profile"},
	{OB_CREDENTIALS_WEB_IDENTITY, "web_identity"},
	{OB_CREDENTIALS_CONTAINER, "container"},
	{OB_CREDENTIALS_INSTANCE, "instance"},
	{OB_CREDENTIALS_CHAIN, "chain"},
};

static const ObSources sources = {&ob_container_source, &ob_instance_source,
								  &ob_role_source};

#define NSOURCES (sizeof(source_names) / sizeof(source_names[0]))

const char *
ob_credentials_source_name(ObCredentialsSource source)
{
	for (size_t i = 0; i < NSOURCES; i++)
		if (source_names[i].source == source)
			return source_names[i].name;
	return NULL;
}

bool
ob_credentials_source_parse(const char *name, ObCredentialsSource *source)
{
	for (size_t i = 0; i < NSOURCES; i++)
		if (strcmp(source_names[i].name, name) == 0)
		{
			*source = source_names[i].source;
			return true;
		}
	return false;
}

/* ---- making and freeing ---- */

static bool
same_keys(const ObKeys *a, const ObCredentials *b)
{
	return ob_text_equal(a->access_key_id, b->access_key_id) &&
		   ob_text_equal(a->secret_access_key, b->secret_access_key) &&
		   ob_text_equal(a->session_token, b->session_token);
}

bool
ob_provider_matches(const ObProvider *provider,
					const ObCredentialsOptions *options)
{
	const ObCredentialsOptions *own = &provider->options;

	return own->source == options->source &&
		   (own->source != OB_CREDENTIALS_KEYS ||
			same_keys(&provider->given, &options->keys)) &&
		   ob_text_equal(own->profile, options->profile) &&
		   ob_text_equal(own->role_arn, options->role_arn) &&
		   ob_text_equal(own->external_id, options->external_id) &&
		   ob_text_equal(own->region, options->region) &&
		   ob_text_equal(own->sts_endpoint, options->sts_endpoint);
}

static void
set_view(ObProvider *provider)
{
	provider->view = (ObCredentials){provider->keys.access_key_id,
									 provider->keys.secret_access_key,
									 provider->keys.session_token};
}

static ObCode
copy_options(ObProvider *provider, const ObCredentialsOptions *from,
			 ObError *error)
{
	ObCredentialsOptions *own = &provider->options;
	ObCode code = OB_OK;

	own->source = from->source;
	own->variant = from->variant;
	own->store_is_aws = from->store_is_aws;
	if (from->source == OB_CREDENTIALS_KEYS)
	{
		code = ob_keys_set(&provider->given, &from->keys, 0,
						   "the user mapping's", error);
		own->keys = (ObCredentials){provider->given.access_key_id,
									provider->given.secret_access_key,
									provider->given.session_token};
	}
	if (code == OB_OK)
		code = ob_text_copy((char **) &own->profile, from->profile, error);
	if (code == OB_OK)
		code = ob_text_copy((char **) &own->role_arn, from->role_arn, error);
	if (code == OB_OK)
		code = ob_text_copy((char **) &own->external_id, from->external_id,
							error);
	if (code == OB_OK)
		code = ob_text_copy((char **) &own->region, from->region, error);
	if (code == OB_OK)
		code = ob_text_copy((char **) &own->sts_endpoint, from->sts_endpoint,
							error);
	if (code == OB_OK && from->known.access_key_id)
		code = ob_keys_set(&provider->keys, &from->known, from->known_expires,
						   "the leader's", error);
	return code;
}

static void on_fetched(ObFetch *fetch);

ObProvider *
ob_provider_new(ObHttp *http, const ObCredentialsOptions *options,
				ObError *error)
{
	ObProvider *provider = calloc(1, sizeof(ObProvider));

	if (!provider)
	{
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	provider->fetch.http = http;
	provider->fetch.options = &provider->options;
	provider->fetch.sources = &sources;
	provider->fetch.done = on_fetched;
	provider->fetch.arg = provider;
	ob_fetch_init(&provider->fetch);
	if (copy_options(provider, options, error) != OB_OK)
	{
		ob_provider_free(provider);
		return NULL;
	}
	if (provider->keys.access_key_id)
		ob_origin_set(provider->origin, "%s",
					  ob_credentials_source_name(options->source));
	set_view(provider);
	return provider;
}

void
ob_provider_free(ObProvider *provider)
{
	if (!provider)
		return;
	ob_fetch_free(&provider->fetch);
	ob_keys_wipe(&provider->given);
	ob_keys_wipe(&provider->keys);
	free((char *) provider->options.profile);
	free((char *) provider->options.role_arn);
	free((char *) provider->options.external_id);
	free((char *) provider->options.region);
	free((char *) provider->options.sts_endpoint);
	free(provider);
}

/* ---- waiting callers ---- */

/* A callback may cancel other waits, and may begin to wait again. */
static void
wake_all(ObProvider *provider)
{
	ObProviderWait **end = &provider->waking;

	while (*end)
		end = &(*end)->next;
	*end = provider->waits;
	provider->waits = NULL;
	while (provider->waking)
	{
		ObProviderWait *wait = provider->waking;

		provider->waking = wait->next;
		wait->next = NULL;
		wait->waiting = false;
		wait->wake(wait);
	}
}

void
ob_provider_wait(ObProvider *provider, ObProviderWait *wait)
{
	ObProviderWait **link = &provider->waits;

	while (*link)
		link = &(*link)->next;
	*link = wait;
	wait->next = NULL;
	wait->waiting = true;
}

void
ob_provider_cancel(ObProvider *provider, ObProviderWait *wait)
{
	ObProviderWait **lists[] = {&provider->waits, &provider->waking};

	if (!wait->waiting)
		return;
	for (int i = 0; i < 2; i++)
		for (ObProviderWait **link = lists[i]; *link; link = &(*link)->next)
			if (*link == wait)
			{
				*link = wait->next;
				break;
			}
	wait->next = NULL;
	wait->waiting = false;
}

/* ---- the credentials ---- */

static bool
is_alive(const ObProvider *provider)
{
	return provider->keys.access_key_id != NULL && !provider->refused &&
		   (provider->keys.expires == 0 ||
			ob_fetch_now(&provider->fetch) < provider->keys.expires);
}

/* Returns whether a renewal should begin.  If the clock was set back, that
 * must not delay the renewal. */
static bool
is_due(const ObProvider *provider)
{
	int64_t t = ob_fetch_now(&provider->fetch);

	return provider->keys.expires != 0 &&
		   t >= provider->keys.expires - RENEW_BEFORE_S &&
		   (t >= provider->renew_at || provider->renew_at > t + RENEW_AGAIN_S);
}

static void
drop_keys(ObProvider *provider)
{
	ob_keys_wipe(&provider->keys);
	provider->origin[0] = '\0';
	set_view(provider);
}

static void
on_fetched(ObFetch *fetch)
{
	ObProvider *provider = fetch->arg;

	if (fetch->error.code == OB_OK)
	{
		ob_keys_move(&provider->keys, &fetch->keys);
		memcpy(provider->origin, fetch->origin, sizeof(provider->origin));
		set_view(provider);
		provider->refused = false;
	}
	else if (!fetch->renewal)
	{
		provider->failed = true;
		provider->failure = fetch->error;
	}
	/* even after a success, since the source may have returned the same
	 * credentials */
	provider->renew_at = ob_fetch_now(&provider->fetch) + RENEW_AGAIN_S;
	wake_all(provider);
}

ObProviderState
ob_provider_poll(ObProvider *provider, ObError *error)
{
	bool alive = is_alive(provider);

	if (!provider->failed && !provider->fetch.running &&
		(!alive || is_due(provider)))
	{
		provider->fetch.renewal = alive;
		ob_fetch_start(&provider->fetch);
	}
	if (provider->failed)
	{
		*error = provider->failure;
		return OB_PROVIDER_FAILED;
	}
	return provider->fetch.running && !is_alive(provider) ? OB_PROVIDER_BUSY
														  : OB_PROVIDER_READY;
}

const ObCredentials *
ob_provider_get(const ObProvider *provider)
{
	return provider->view.access_key_id ? &provider->view : NULL;
}

int64_t
ob_provider_expires(const ObProvider *provider)
{
	return provider->keys.expires;
}

const char *
ob_provider_origin(const ObProvider *provider)
{
	return provider->origin;
}

/* Returns whether a new fetch would give the same keys: those of a user
 * mapping, or keys that the environment or the files still have. */
static bool
source_has_same_keys(const ObProvider *provider)
{
	ObCredentials same = provider->view;
	ObPlan plan = {0};
	ObError error;
	bool result;

	ob_error_clear(&error);
	result = ob_plan_make(&plan, &provider->options, &error) == OB_OK &&
			 plan.base == OB_CREDENTIALS_KEYS && plan.nroles == 0 &&
			 same_keys(&plan.keys, &same);
	ob_plan_wipe(&plan);
	return result;
}

bool
ob_provider_refused(ObProvider *provider, const char *access_key_id)
{
	if (!ob_text_equal(provider->keys.access_key_id, access_key_id))
		return true;
	if (source_has_same_keys(provider))
		return false;
	provider->refused = true;
	return true;
}

void
ob_provider_reset(ObProvider *provider)
{
	provider->failed = false;
	ob_error_clear(&provider->failure);
	if (provider->keys.expires == 0)
		drop_keys(provider);
}

void
ob_provider_set_clock_offset(ObProvider *provider, int64_t seconds)
{
	provider->fetch.clock_offset = seconds;
}
