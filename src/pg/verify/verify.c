/*
 * verify.c
 *		Objects that have landed are looked at again.
 *
 * src/pg/verify/verify.c
 *
 * Several objects are looked at concurrently, each by one call in a slot:
 *
 *	   HEAD -> its size is wrong, or a deep look is not wanted -> verdict
 *	     \___ its size is right, or it was refused -> GET -> verdict
 *
 * A HEAD that was refused is followed by a GET, whose response has a document
 * with S3's code in it.  A GET keeps nothing of the object but its length and
 * CRC-32, so memory does not depend on sizes.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "pg/base/errors.h"
#include "pg/base/wait.h"
#include "pg/store/object_headers.h"
#include "pg/verify/verify.h"

#define SCHEME "s3://"

struct Verify;

typedef struct Slot
{
	struct Verify *verify;
	ObCall *call;
	ObVerified *verified; /* NULL: the slot is free */
	bool reading;         /* GET; else HEAD */
	MemoryContext context;
	char *bucket; /* of the object, in that context */
	char *key;    /* UTF-8 */
} Slot;

typedef struct Verify
{
	const ObVerification *wanted;
	ObServer *server;
	ObS3 *s3;
	ObPair common[OB_COMMON_HEADERS_MAX];
	int ncommon;
	int connections;
	MemoryContext context;
	ObVerified *results;
	int n;
	int next; /* the first object that was not begun */
	/* The store did not answer the last request, with all its retries; so
	 * others are not repeated until it answers one. */
	bool away;
} Verify;

/* ---- verdicts ---- */

static void
conclude(Slot *slot, bool known, bool ok, char *detail)
{
	slot->verified->known = known;
	slot->verified->ok = ok;
	slot->verified->detail = detail;
	slot->verified = NULL;
}

static void
refuse(Slot *slot, char *detail)
{
	conclude(slot, true, false, detail);
}

static bool
has_other_size(Slot *slot)
{
	int64 wanted = slot->verified->object->bytes;
	int64 found = slot->call->core.content_length;

	if (wanted < 0 || found < 0 || wanted == found)
		return false;
	refuse(slot,
		   psprintf("it has " INT64_FORMAT " bytes instead of " INT64_FORMAT,
					found, wanted));
	return true;
}

static bool
has_other_crc32(Slot *slot)
{
	const ObLanded *object = slot->verified->object;
	char wanted[OB_CRC32_TEXT];
	char found[OB_CRC32_TEXT];

	if (!object->has_crc32 || object->crc32 == slot->call->core.crc32)
		return false;
	ob_crc32_text(object->crc32, wanted);
	ob_crc32_text(slot->call->core.crc32, found);
	refuse(slot, psprintf("its CRC-32 is %s instead of %s", found, wanted));
	return true;
}

/* Writes the object's ETag; returns whether it can be compared.  One that is
 * not known, or cannot be shown, is not. */
static bool
find_etag(Slot *slot, char *found)
{
	ob_s3_plain_etag(&slot->call->core, found);
	return slot->verified->object->etag && found[0] != '\0';
}

static bool
has_other_etag(Slot *slot)
{
	const char *wanted = slot->verified->object->etag;
	char found[OB_ETAG_MAX];

	if (!find_etag(slot, found) || strcmp(wanted, found) == 0)
		return false;
	refuse(slot,
		   psprintf("its ETag is \"%s\" instead of \"%s\"", found, wanted));
	return true;
}

/* Concludes for an object of which only the head was looked at, and whose size
 * is right as far as it is known. */
static void
conclude_head(Slot *slot)
{
	const ObLanded *object = slot->verified->object;
	char etag[OB_ETAG_MAX];

	if (has_other_etag(slot))
		return;
	if ((object->bytes >= 0 && slot->call->core.content_length >= 0) ||
		find_etag(slot, etag))
		conclude(slot, true, true, NULL);
	else
		conclude(slot, false, false,
				 pstrdup("it exists, but neither its size nor its ETag could "
						 "be compared"));
}

/* Concludes for an object that was read.  What it contains says more than its
 * ETag, which also changes when an object is copied. */
static void
conclude_read(Slot *slot)
{
	if (has_other_size(slot) || has_other_crc32(slot))
		return;
	if (slot->verified->object->has_crc32)
		conclude(slot, true, true, NULL);
	else if (!has_other_etag(slot))
		conclude(slot, false, false,
				 pstrdup("it can be read, but its CRC-32 was not recorded"));
}

/* ---- requests ---- */

/* A user waits, so a store that is away is not waited for at each object. */
static void
limit_tries(Slot *slot)
{
	slot->call->core.no_outage_wait = slot->verify->away;
	if (slot->verify->away)
		slot->call->core.max_attempts = 1;
}

static void
read_object(Slot *slot)
{
	ObS3Call *core = &slot->call->core;
	int64 wanted = slot->verified->object->bytes;

	slot->reading = true;
	/* more than that is wrong, and would have no end */
	core->sum_max = wanted >= 0 ? (uint64) wanted : PG_INT64_MAX;
	ob_s3_sum_object(core, slot->bucket, slot->key);
	limit_tries(slot);
}

/* Notes whether the store answers, if only by a response that is not valid.
 * Raises what concerns all objects. */
static void
note_outcome(Verify *verify, const ObError *error)
{
	if (error->code == OB_OK || error->code == OB_EPROTO ||
		error->http_status > 0)
		verify->away = false;
	else if (error->code == OB_ENOMEM || error->code == OB_ECREDS)
		ob_report(error);
	else
		verify->away = true;
}

/* Called when the slot's request is done. */
static void
step(Slot *slot)
{
	const ObError *error = &slot->call->core.error;
	bool refused = error->http_status >= 400 && error->http_status < 500;

	note_outcome(slot->verify, error);
	if (error->code != OB_OK && (slot->reading || !refused))
		refuse(slot, ob_report_cause(error));
	else if (slot->reading)
		conclude_read(slot);
	else if (error->code != OB_OK)
		read_object(slot);
	else if (has_other_size(slot))
		return;
	else if (slot->verify->wanted->deep)
		read_object(slot);
	else
		conclude_head(slot);
}

/* ---- objects ---- */

/* Splits a URI into bucket and key, in the current memory context; returns
 * false if it has not both. */
static bool
split_uri(const char *uri, char **bucket, char **key)
{
	const char *slash;
	char *utf8;

	if (strncmp(uri, SCHEME, strlen(SCHEME)) != 0)
		return false;
	uri += strlen(SCHEME);
	slash = strchr(uri, '/');
	if (!slash || slash[1] == '\0')
		return false;
	*bucket = pnstrdup(uri, slash - uri);
	utf8 = pg_server_to_any(slash + 1, strlen(slash + 1), PG_UTF8);
	*key = pstrdup(utf8);
	return strlen(utf8) <= OB_KEY_MAX;
}

/* Returns what prevents any request for the object, or NULL.  A manifest may
 * name any. */
static char *
find_fault(Slot *slot)
{
	const ObServer *server = slot->verify->server;
	ObError error;

	ob_error_clear(&error);
	if (!split_uri(slot->verified->object->uri, &slot->bucket, &slot->key) ||
		ob_bucket_check(slot->bucket, &error) != OB_OK)
		return pstrdup("that is not the URI of an object");
	if (!server->buckets || ob_bucket_matches(server->buckets, slot->bucket))
		return NULL;
	return psprintf("its bucket is not allowed by server \"%s\"",
					server->name);
}

static void
begin(Slot *slot, ObVerified *verified)
{
	MemoryContext before;
	char *fault;

	MemoryContextReset(slot->context);
	before = MemoryContextSwitchTo(slot->context);
	slot->verified = verified;
	fault = find_fault(slot);
	MemoryContextSwitchTo(before);
	if (fault)
	{
		refuse(slot, pstrdup(fault));
		return;
	}
	slot->reading = false;
	ob_s3_head(&slot->call->core, slot->bucket, slot->key);
	limit_tries(slot);
}

static void
fill(Slot *slot)
{
	Verify *verify = slot->verify;

	while (!slot->verified && verify->next < verify->n)
	{
		CHECK_FOR_INTERRUPTS();
		begin(slot, &verify->results[verify->next++]);
	}
}

static Slot *
make_slots(Verify *verify, int n)
{
	Slot *slots = palloc0(sizeof(Slot) * n);

	for (int i = 0; i < n; i++)
	{
		slots[i].verify = verify;
		slots[i].call =
			ob_call_new(verify->s3, verify->common, verify->ncommon);
		slots[i].context = AllocSetContextCreate(
			CurrentMemoryContext, "onboard object", ALLOCSET_SMALL_SIZES);
	}
	return slots;
}

static void
look_at_all(Verify *verify)
{
	int n = Min(verify->connections, verify->n);
	Slot *slots = make_slots(verify, n);

	for (;;)
	{
		bool busy = false;

		for (int i = 0; i < n; i++)
		{
			if (slots[i].verified && slots[i].call->done)
			{
				slots[i].call->done = false;
				step(&slots[i]);
			}
			fill(&slots[i]);
			busy |= slots[i].verified != NULL;
		}
		if (!busy)
			return;
		ob_wait(ob_s3_http(verify->s3));
	}
}

/* ---- the call ---- */

static Verify *
open_client(const ObVerification *wanted)
{
	const ObOptions *options = wanted->options;
	Verify *verify = palloc0(sizeof(Verify));

	verify->wanted = wanted;
	verify->connections =
		options->connections > 0 ? options->connections : onboard_connections;
	verify->server = ob_server_get(options->server);
	verify->ncommon = ob_headers_common(options, verify->common);
	verify->s3 = ob_client_new(verify->server, verify->connections);
	ob_client_wait_credentials(verify->s3, verify->server);
	return verify;
}

static void
verify_list(Verify *verify, const ObLandedList *list)
{
	const ObVerification *wanted = verify->wanted;

	verify->n = list->n;
	verify->results = MemoryContextAllocExtended(
		CurrentMemoryContext, sizeof(ObVerified) * Max(list->n, 1),
		MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < list->n; i++)
		verify->results[i].object = &list->objects[i];
	look_at_all(verify);
	for (int i = 0; i < list->n; i++)
		wanted->found(&verify->results[i], wanted->arg);
	ob_client_warn_of_clock(verify->s3, verify->server);
}

void
ob_verify_run(const ObVerification *wanted, const pg_uuid_t *run_id)
{
	ObLandedList list = ob_landed_of_run(wanted->schema, run_id);

	verify_list(open_client(wanted), &list);
}

void
ob_verify_manifest(const ObVerification *wanted, const char *uri)
{
	Verify *verify;
	ObCall *call;
	ObLandedList list;
	char *bucket;
	char *key;

	if (!split_uri(uri, &bucket, &key))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is not the URI of a manifest",
							   ob_report_clip(uri)),
						errhint("Give it as \"s3://bucket/key\".")));
	verify = open_client(wanted);
	bucket = ob_server_bucket(verify->server, bucket);
	call = ob_call_new(verify->s3, verify->common, verify->ncommon);
	list = ob_landed_of_manifest(wanted->schema, call, bucket, key);
	verify_list(verify, &list);
}
