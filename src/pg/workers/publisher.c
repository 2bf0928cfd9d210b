/*
 * publisher.c
 *		The publication of objects that become visible together.
 *
 * src/pg/workers/publisher.c
 *
 * One client completes the uploads, as many at a time as it has connections.
 * A slot is one of these: an upload that has adopted a held one.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "pg/store/client.h"
#include "pg/store/object_headers.h"
#include "pg/workers/publisher.h"
#include "pg/base/errors.h"
#include "pg/base/wait.h"

#define DISCARD_MS 5000

typedef struct Slot
{
	ObUpload *upload; /* NULL: free */
	ObPublication *item;
} Slot;

struct ObPublisher
{
	const ObServer *server;
	ObS3 *s3;
	int n;
	ObPublication *items;
	int nslots;
	Slot *slots;
	int next;  /* the item to look at next */
	bool stop; /* no other object is published */
	/* uploads that could not be discarded */
	int left;
	ObError left_error; /* error of the first one */
	const char *left_place;
	MemoryContext context;
	MemoryContextCallback callbacks[2]; /* run before those of clients */
	int nclients;
};

/* ---- what is held ---- */

void
ob_held_note(ObHeld *held, ObUploadPart *parts, const ObExportSpec *export,
			 const ObUploadHeld *upload)
{
	if (upload->nparts > 0)
		memcpy(parts, upload->parts,
			   sizeof(ObUploadPart) * (Size) upload->nparts);
	held->bytes = upload->bytes;
	held->nparts = upload->nparts;
	strlcpy(held->id, upload->id, sizeof(held->id));
	strlcpy(held->marker, upload->marker, sizeof(held->marker));
	strlcpy(held->bucket, export->bucket, sizeof(held->bucket));
	strlcpy(held->key, export->key, sizeof(held->key));
	pg_write_barrier();
	held->valid = true;
}

/* ---- making it ---- */

static void
free_uploads(void *arg)
{
	ObPublisher *publisher = arg;

	for (int i = 0; i < publisher->nslots; i++)
	{
		ob_upload_free(publisher->slots[i].upload);
		publisher->slots[i].upload = NULL;
	}
}

/* Makes the client for what follows.  No upload is under way. */
static void
make_client(ObPublisher *publisher)
{
	MemoryContextCallback *callback =
		&publisher->callbacks[publisher->nclients];

	publisher->s3 = ob_client_new(publisher->server, publisher->nslots);
	/* registered after the client's, so it runs before it */
	callback->func = free_uploads;
	callback->arg = publisher;
	MemoryContextRegisterResetCallback(publisher->context, callback);
	publisher->nclients++;
}

ObPublisher *
ob_publisher_new(const ObExportSpec *any, int n)
{
	ObPublisher *publisher = palloc0(sizeof(ObPublisher));

	publisher->server = any->server;
	publisher->n = n;
	publisher->items = palloc0(sizeof(ObPublication) * n);
	publisher->nslots = any->options->connections;
	publisher->slots = palloc0(sizeof(Slot) * publisher->nslots);
	publisher->context = CurrentMemoryContext;
	make_client(publisher);
	return publisher;
}

void
ob_publisher_renew(ObPublisher *publisher)
{
	MemoryContext before;

	ob_server_renew_keys(publisher->server);
	if (publisher->nclients == lengthof(publisher->callbacks) ||
		ob_client_matches(publisher->s3, publisher->server, publisher->nslots))
		return;
	before = MemoryContextSwitchTo(publisher->context);
	make_client(publisher);
	MemoryContextSwitchTo(before);
}

ObPublication *
ob_publisher_item(ObPublisher *publisher, int i)
{
	return &publisher->items[i];
}

static bool
is_held(const ObPublication *item)
{
	return item->held.valid && item->state == OB_PUBLISHED_NOT;
}

/* Makes an upload that has adopted a held one.  Returns NULL on failure; error
 * says why. */
static ObUpload *
adopt(ObPublisher *publisher, const ObPublication *item,
	  ObUploadOptions *options, const ObUploadPart *parts, ObError *error)
{
	const ObHeld *held = &item->held;
	ObUploadHeld over = {held->id, held->marker, held->bytes,
						 parts ? held->nparts : 0, parts};
	ObPair common[OB_COMMON_HEADERS_MAX];
	ObUpload *upload;

	options->s3 = publisher->s3;
	options->bucket = held->bucket;
	options->key = held->key;
	options->common = common;
	options->ncommon = ob_headers_common(item->export->options, common);
	options->part_size = OB_PART_MIN;
	options->memory = 4 * OB_PART_MIN;
	options->connections = 1;
	options->max_parts = publisher->server->max_parts;
	ob_error_clear(error);
	upload = ob_upload_new(options, error);
	if (upload && ob_upload_adopt(upload, &over, error) != OB_OK)
	{
		ob_upload_free(upload);
		upload = NULL;
	}
	return upload;
}

/* Notes what became of the object, as far as it is known without another
 * request. */
static void
note_state(Slot *slot, ObPublished state)
{
	slot->item->state = state;
	if (state == OB_PUBLISHED_DONE)
		ob_upload_object(slot->upload, &slot->item->object);
}

static void
clear_slot(Slot *slot)
{
	ob_upload_free(slot->upload);
	slot->upload = NULL;
	slot->item = NULL;
}

/* ---- publishing ---- */

static void
begin(ObPublisher *publisher, Slot *slot, ObPublication *item)
{
	ObPair headers[OB_OBJECT_HEADERS_MAX];
	ObUploadOptions options = {
		.headers = headers,
		.nheaders = ob_headers_of_object(item->export->options, headers),
		.checksum = item->export->options->checksum,
		.keep_existing = item->export->options->keep_existing,
	};

	slot->item = item;
	slot->upload = adopt(publisher, item, &options, item->parts, &item->error);
	if (!slot->upload)
		ob_report(&item->error);
	ob_upload_publish(slot->upload);
}

/* Frees a slot whose upload is done.  One that failed keeps its upload, for
 * ob_publisher_discard() to abort. */
static void
look(ObPublisher *publisher, Slot *slot)
{
	ObPublication *item = slot->item;
	const ObError *error = ob_upload_error(slot->upload);

	if (ob_upload_done(slot->upload))
	{
		note_state(slot, OB_PUBLISHED_DONE);
		clear_slot(slot);
	}
	else if (error && !item->failed)
	{
		item->failed = true;
		item->error = *error;
		publisher->stop = true;
	}
}

/* Returns the next held object that has no slot, or NULL. */
static ObPublication *
next_held(ObPublisher *publisher)
{
	while (publisher->next < publisher->n)
	{
		ObPublication *item = &publisher->items[publisher->next++];

		if (is_held(item))
			return item;
	}
	return NULL;
}

/* Returns false when there is nothing to wait for. */
static bool
publish_some(ObPublisher *publisher)
{
	bool busy = false;

	for (int i = 0; i < publisher->nslots; i++)
	{
		Slot *slot = &publisher->slots[i];
		ObPublication *item;

		if (slot->upload)
			look(publisher, slot);
		if (!slot->upload && !publisher->stop &&
			(item = next_held(publisher)) != NULL)
			begin(publisher, slot, item);
		if (slot->upload && !slot->item->failed)
			busy = true;
	}
	return busy;
}

bool
ob_publish(ObPublisher *publisher)
{
	ob_client_wait_credentials(publisher->s3, publisher->server);
	publisher->next = 0;
	while (publish_some(publisher))
		ob_wait(ob_s3_http(publisher->s3));
	ob_client_warn_of_clock(publisher->s3, publisher->server);
	return !publisher->stop;
}

/* ---- discarding ---- */

static void
note_left(ObPublisher *publisher, const ObPublication *item,
		  const ObError *error)
{
	if (publisher->left++ > 0)
		return;
	publisher->left_error = *error;
	publisher->left_place = item->place;
}

/* Returns what is known of the object without another request. */
static ObPublished
state_of(const ObUpload *upload)
{
	switch (ob_fate_of(upload))
	{
		case OB_FATE_WRITTEN:
			return OB_PUBLISHED_DONE;
		case OB_FATE_UNKNOWN:
			return OB_PUBLISHED_UNKNOWN;
		case OB_FATE_NONE:
		case OB_FATE_EARLIER:
			break;
	}
	return OB_PUBLISHED_DISCARDED;
}

static void
begin_abort(ObPublisher *publisher, Slot *slot, ObPublication *item)
{
	ObUploadOptions options = {.checksum = OB_CHECKSUM_NONE};
	ObError error;

	slot->item = item;
	slot->upload = adopt(publisher, item, &options, NULL, &error);
	if (slot->upload)
	{
		ob_upload_abort(slot->upload, 0);
		return;
	}
	item->state = OB_PUBLISHED_DISCARDED;
	note_left(publisher, item, &error);
}

static void
end_abort(ObPublisher *publisher, Slot *slot)
{
	const ObError *error = ob_upload_abort_error(slot->upload);

	note_state(slot, state_of(slot->upload));
	if (error)
		note_left(publisher, slot->item, error);
	clear_slot(slot);
}

/* Starts and ends aborts.  Returns true when none is left.  ob_wait_bounded()
 * calls it with a const pointer. */
static bool
discard_some(const void *arg)
{
	ObPublisher *publisher = unconstify(void *, arg);
	bool busy = false;

	for (int i = 0; i < publisher->nslots; i++)
	{
		Slot *slot = &publisher->slots[i];
		ObPublication *item;

		if (slot->upload && ob_upload_aborted(slot->upload))
			end_abort(publisher, slot);
		while (!slot->upload && (item = next_held(publisher)) != NULL)
			begin_abort(publisher, slot, item);
		if (slot->upload)
			busy = true;
	}
	return !busy;
}

/* Aborts all uploads, except those that are done by now. */
static void
abort_slots(ObPublisher *publisher)
{
	for (int i = 0; i < publisher->nslots; i++)
	{
		Slot *slot = &publisher->slots[i];

		if (slot->upload && ob_upload_done(slot->upload))
		{
			note_state(slot, OB_PUBLISHED_DONE);
			clear_slot(slot);
		}
		else if (slot->upload)
			ob_upload_abort(slot->upload, OB_FATE_PATIENCE_MS);
	}
}

/* Gives up those that have a slot, and those that never got one: they stay
 * behind. */
static void
give_slots_up(ObPublisher *publisher)
{
	ObPublication *item;
	ObError late;

	ob_error_clear(&late);
	ob_error_set(&late, OB_ETIMEOUT, "the time for it was over");
	ob_error_what(&late, "could not abort the uploads of the run");
	for (int i = 0; i < publisher->nslots; i++)
	{
		Slot *slot = &publisher->slots[i];

		if (!slot->upload)
			continue;
		note_state(slot, state_of(slot->upload));
		if (!ob_upload_forgotten(slot->upload))
			note_left(publisher, slot->item, &late);
		clear_slot(slot);
	}
	while ((item = next_held(publisher)) != NULL)
	{
		item->state = OB_PUBLISHED_DISCARDED;
		note_left(publisher, item, &late);
	}
}

static void
warn_of_left(ObPublisher *publisher)
{
	if (publisher->left == 0)
		return;
	ob_report_not_aborted(&publisher->left_error, publisher->left_place);
	if (publisher->left > 1)
		ereport(WARNING, (errcode(ERRCODE_CONNECTION_FAILURE),
						  errmsg("%d uploads of the run could not be aborted",
								 publisher->left)));
	publisher->left = 0;
}

static bool
has_something(ObPublisher *publisher)
{
	for (int i = 0; i < publisher->n; i++)
	{
		if (is_held(&publisher->items[i]))
			return true;
	}
	return false;
}

void
ob_publisher_drain(ObPublisher *publisher)
{
	publisher->next = 0;
	while (publisher->left < publisher->nslots && !discard_some(publisher))
		ob_wait(ob_s3_http(publisher->s3));
}

static void
discard_bounded(ObPublisher *publisher)
{
	abort_slots(publisher);
	/* those that have a slot must not get another one */
	for (int i = 0; i < publisher->nslots; i++)
	{
		if (publisher->slots[i].upload)
			publisher->slots[i].item->held.valid = false;
	}
	publisher->next = 0;
	if (!ob_wait_bounded(ob_s3_http(publisher->s3), discard_some, publisher,
						 DISCARD_MS))
		give_slots_up(publisher);
	for (int i = 0; i < publisher->n; i++)
		publisher->items[i].held.valid = false;
}

void
ob_publisher_discard(ObPublisher *publisher)
{
	HOLD_INTERRUPTS();
	if (has_something(publisher))
		discard_bounded(publisher);
	warn_of_left(publisher);
	RESUME_INTERRUPTS();
}
