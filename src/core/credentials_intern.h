/*
 * credentials_intern.h
 *		What the files of the credentials' providers share.
 *
 * src/core/credentials_intern.h
 *
 * A plan says how a source's credentials are had: as keys that are known, or
 * by asking somebody; and which roles are then to be assumed, one with the
 * other's credentials.  It is made anew from the environment and the files
 * for each fetch, which carries it out.
 */
#ifndef OB_CREDENTIALS_INTERN_H
#define OB_CREDENTIALS_INTERN_H

#include "credentials.h"

#define OB_ORIGIN_MAX 512

/* Credentials in memory of their own.  access_key_id NULL: none. */
typedef struct ObKeys
{
	char *access_key_id;
	char *secret_access_key;
	char *session_token; /* may be NULL */
	int64_t expires;     /* Unix time, 0: never */
} ObKeys;

/*
 * Copies them.  OB_ECREDS if one cannot go into a header; "whose" names them
 * in the error ("the environment's").
 */
extern ObCode ob_keys_set(ObKeys *keys, const ObCredentials *from,
						  int64_t expires, const char *whose,
						  ObError *error) OB_MUST_CHECK;
extern void ob_keys_wipe(ObKeys *keys);

/* Moves them; "to" is wiped before. */
extern void ob_keys_move(ObKeys *to, ObKeys *from);

typedef struct ObPlan
{
	ObKeys keys;
	char origin[OB_ORIGIN_MAX]; /* of what it begins with */
} ObPlan;

/* Wipes what is in the plan, and makes it anew.  OB_ECREDS and a cause that
 * names the source if that is not configured, or wrongly. */
extern ObCode ob_plan_make(ObPlan *plan, const ObCredentialsOptions *options,
						   ObError *error) OB_MUST_CHECK;
extern void ob_plan_wipe(ObPlan *plan);

/* A variable of the environment; NULL if it is not set, or empty. */
extern const char *ob_env(const char *name);

/* Wipes and frees a text; NULL is allowed. */
extern void ob_secret_free(char *secret);

typedef struct ObFetch ObFetch;
struct ObFetch
{
	/* set by the owner */
	ObHttp *http;
	const ObCredentialsOptions *options;
	int64_t clock_offset; /* may change while it runs */
	void (*done)(ObFetch *fetch);
	void *arg;

	/* the outcome, for "done" */
	ObError error; /* OB_OK: keys and origin are set */
	ObKeys keys;
	char origin[OB_ORIGIN_MAX];

	bool running;
	bool renewal; /* the owner's: it has others that live */

	/* private */
	ObPlan plan;
};

/* "done" may be called before it returns. */
extern void ob_fetch_start(ObFetch *fetch);

/* Stops it if it runs, without "done", and wipes everything. */
extern void ob_fetch_free(ObFetch *fetch);

#endif
