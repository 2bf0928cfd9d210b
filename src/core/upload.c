/*
 * upload.c
 *		One object, uploaded while it is being produced.
 *
 * src/core/upload.c
 *
 * Parts and their buffers are part.c's.  A buffer has some bytes beyond the
 * part's size.  Upstream may write past the end of the part into them; cut()
 *then moves these few bytes into the next buffer.  So every part but the last
 *has exactly its size, whatever upstream writes.
 */
#include "upload.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "part.h"

#define COMPLETE_TRIES 3
#define ALLOWED_AT_FIRST 2
#define MARKER_BYTES 16

typedef enum UploadState
{
	UPLOAD_FILLING,
	UPLOAD_FINISHING,   /* all bytes are here, parts are under way */
	UPLOAD_COMPLETING,  /* the last request: Complete, or the PutObject */
	UPLOAD_RECONCILING, /* finding out what an unclear Complete did */
	UPLOAD_DONE,
	UPLOAD_FAILED,
	UPLOAD_ABORTING,
	UPLOAD_ABORTED
} UploadState;

struct ObUpload
{
	ObS3 *s3;
	char *bucket;
	char *key;
	ObPair *headers; /* copies; the marker is the last */
	int nheaders;
	size_t part_size;
	size_t largest_part;
	int connections;
	int allowed; /* parts in flight now: see ob_upload_want_room() */
	int max_parts;

	UploadState state;
	ObParts parts;
	ObPart *filling; /* NULL before the first byte and after the last */
	int sending;
	int nparts;       /* full so far */
	int last_number;  /* of them; the same unless others share the upload */
	int acknowledged; /* of them */
	uint64_t bytes;
	uint64_t acknowledged_bytes;
	char **etags; /* by part number - 1 */
	int etags_cap;

	ObS3Call control; /* Create, Complete, HEAD, ListParts, Abort */
	char id[OB_UPLOAD_ID_MAX];
	char marker[MARKER_BYTES * 2 + 1];
	int complete_tries;
	bool last_sent; /* the last request was started */
	bool multipart;
	const ObUploadShare *share; /* NULL: this is the only process */
	bool abort_again;           /* parts were in flight at the first Abort */
	ObError error;
	ObError abort_error;
};

static void advance_state(ObUpload *upload);
static void on_part(ObS3Call *call);
static void on_control(ObS3Call *call);

/* ---- making and freeing ---- */

size_t
ob_upload_part_size(size_t base, size_t largest, int max_parts, int n)
{
	int step = max_parts / 10 > 0 ? max_parts / 10 : 1;
	size_t size = base;

	for (int i = (n - 1) / step; i > 0 && size < largest; i--)
		size *= 2;
	return size < largest ? size : largest;
}

static bool
make_marker(ObUpload *upload)
{
	unsigned char bytes[MARKER_BYTES];

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	for (int i = 0; i < MARKER_BYTES; i++)
		snprintf(upload->marker + 2 * i, 3, "%02x", bytes[i]);
	return true;
}

static bool
copy_headers(ObUpload *upload, const ObPair *headers, int n)
{
	upload->headers = calloc((size_t) n + 1, sizeof(ObPair));
	if (!upload->headers)
		return false;
	for (int i = 0; i <= n; i++)
	{
		const char *name = i < n ? headers[i].name : OB_S3_MARKER;
		const char *value = i < n ? headers[i].value : upload->marker;

		upload->headers[i].name = strdup(name);
		upload->headers[i].value = strdup(value);
		upload->nheaders++;
		if (!upload->headers[i].name || !upload->headers[i].value)
			return false;
	}
	return true;
}

ObUpload *
ob_upload_new(const ObUploadOptions *options, ObError *error)
{
	ObUpload *upload = calloc(1, sizeof(ObUpload));

	if (!upload)
	{
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	upload->s3 = options->s3;
	upload->part_size = options->part_size;
	/* one part is filled while at least one other is on its way */
	upload->largest_part = options->memory / 2 - OB_PART_SLACK;
	if (upload->largest_part < upload->part_size)
		upload->largest_part = upload->part_size;
	upload->connections = options->connections;
	upload->allowed = ALLOWED_AT_FIRST;
	upload->max_parts = options->max_parts;
	ob_s3_call_init(&upload->control, upload->s3, on_control, upload);
	upload->bucket = strdup(options->bucket);
	upload->key = strdup(options->key);
	if (!upload->bucket || !upload->key || !make_marker(upload) ||
		!copy_headers(upload, options->headers, options->nheaders) ||
		!ob_parts_init(&upload->parts, upload->connections + 1,
					   options->memory, upload->s3, on_part, upload))
	{
		ob_error_set(error, OB_ENOMEM, "out of memory");
		ob_upload_free(upload);
		return NULL;
	}
	return upload;
}

void
ob_upload_free(ObUpload *upload)
{
	if (!upload)
		return;
	ob_s3_call_free(&upload->control);
	ob_parts_free(&upload->parts);
	for (int i = 0; i < upload->nheaders; i++)
	{
		free((char *) upload->headers[i].name);
		free((char *) upload->headers[i].value);
	}
	for (int i = 0; i < upload->etags_cap; i++)
		free(upload->etags[i]);
	free(upload->etags);
	free(upload->headers);
	free(upload->bucket);
	free(upload->key);
	free(upload);
}

static void
fail(ObUpload *upload, const ObError *error)
{
	if (upload->state >= UPLOAD_DONE)
		return;
	upload->error = *error;
	upload->state = UPLOAD_FAILED;
	/* a refusal is certain, unless an earlier Complete was unclear */
	upload->last_sent =
		error->code == OB_EUNKNOWN || upload->complete_tries > 1;
}

static ObCode
fail_memory(ObUpload *upload)
{
	ObError error;

	ob_error_clear(&error);
	ob_error_set(&error, OB_ENOMEM, "out of memory");
	ob_error_what(&error, "could not upload \"s3://%s/%s\"", upload->bucket,
				  upload->key);
	fail(upload, &error);
	return OB_ENOMEM;
}

/* ---- parts ---- */

static size_t
next_part_size(const ObUpload *upload)
{
	/* (the part that is being filled has no number yet, but will take one) */
	int number = upload->last_number + 1 + (upload->filling ? 1 : 0);

	return ob_upload_part_size(upload->part_size, upload->largest_part,
							   upload->max_parts, number);
}

static size_t
head_len(const ObUpload *upload)
{
	return upload->share ? upload->share->head_len : 0;
}

static bool
begin_part(ObUpload *upload)
{
	ObPart *part = ob_parts_begin(&upload->parts, next_part_size(upload),
								  head_len(upload));

	if (!part)
		return false;
	upload->filling = part;
	return true;
}

/* Room in the array of ETags for a part. */
static bool
grow_etags(ObUpload *upload, int number)
{
	int cap = upload->etags_cap > 0 ? upload->etags_cap : 64;
	char **etags;

	if (number <= upload->etags_cap)
		return true;
	while (cap < number)
		cap *= 2;
	etags = realloc(upload->etags, (size_t) cap * sizeof(char *));
	if (!etags)
		return false;
	memset(etags + upload->etags_cap, 0,
		   (size_t) (cap - upload->etags_cap) * sizeof(char *));
	upload->etags = etags;
	upload->etags_cap = cap;
	return true;
}

static ObCode
fail_limit(ObUpload *upload, ObError *error)
{
	ob_error_set(error, OB_ELIMIT, "the object would need more than %d parts",
				 upload->max_parts);
	ob_error_what(error, "could not upload \"s3://%s/%s\"", upload->bucket,
				  upload->key);
	fail(upload, error);
	return OB_ELIMIT;
}

/* The part gets its number, and waits to be sent. */
static ObCode
end_part(ObUpload *upload, ObPart *part, ObError *error)
{
	const ObUploadShare *share = upload->share;
	int number = share ? share->take_number(share->arg) : upload->nparts + 1;

	if (number > upload->max_parts)
		return fail_limit(upload, error);
	if (share && number == 1 &&
		!ob_part_add_head(part, share->head, share->head_len))
	{
		fail_memory(upload);
		*error = upload->error;
		return OB_ENOMEM;
	}
	if (share && number == 1)
		upload->bytes += share->head_len;
	part->number = number;
	part->state = OB_PART_FULL;
	upload->nparts++;
	upload->last_number = number;
	upload->multipart = true;
	return OB_OK;
}

/*
 * The part being filled has bytes beyond its size: it is full, and they begin
 * the next one.
 */
static ObCode
cut(ObUpload *upload, ObError *error)
{
	ObPart *full = upload->filling;
	size_t extra = full->len - full->size;

	if (upload->nparts >= upload->max_parts - 1)
		return fail_limit(upload, error);
	if (!begin_part(upload))
	{
		fail_memory(upload);
		*error = upload->error;
		return OB_ENOMEM;
	}
	memcpy(upload->filling->data, full->data + full->size, extra);
	upload->filling->len = extra;
	full->len = full->size;
	if (end_part(upload, full, error) != OB_OK)
		return error->code;
	advance_state(upload);
	return OB_OK;
}

/* ---- writing ---- */

char *
ob_upload_window(ObUpload *upload, size_t *avail, ObError *error)
{
	char *window;

	if (upload->state != UPLOAD_FILLING)
	{
		*error = upload->error;
		ob_error_set(error, OB_EINVAL, "the upload takes no more bytes");
		return NULL;
	}
	if (!upload->filling && !begin_part(upload))
	{
		fail_memory(upload);
		*error = upload->error;
		return NULL;
	}
	if (!upload->share && upload->filling->len > upload->filling->size &&
		cut(upload, error) != OB_OK)
		return NULL;
	/* (a row may be longer than what is left, and shared parts end where rows
	 * do) */
	window = ob_part_window(&upload->parts, upload->filling,
							upload->share != NULL, avail);
	if (!window)
	{
		fail_memory(upload);
		*error = upload->error;
	}
	return window;
}

ObCode
ob_upload_advance(ObUpload *upload, size_t len, ObError *error)
{
	ObPart *part = upload->filling;

	if (upload->state != UPLOAD_FILLING || !upload->filling)
	{
		*error = upload->error;
		return ob_error_set(error, OB_EINVAL,
							"the upload takes no more bytes");
	}
	part->len += len;
	upload->bytes += len;
	/* bytes beyond the part's size will be another part's */
	if (!ob_part_hash(part, upload->share || part->len < part->size
								? part->len
								: part->size))
	{
		fail_memory(upload);
		*error = upload->error;
		return OB_ENOMEM;
	}
	return OB_OK;
}

bool
ob_upload_has_room(const ObUpload *upload)
{
	const ObPart *part = upload->filling;

	if (part && (upload->share || part->len + OB_SINK_ROOM <= part->size))
		return true;
	return ob_parts_has_room(&upload->parts, next_part_size(upload),
							 head_len(upload));
}

void
ob_upload_want_room(ObUpload *upload)
{
	if (upload->allowed < upload->connections)
	{
		upload->allowed++;
		advance_state(upload);
	}
}

ObCode
ob_upload_finish(ObUpload *upload, ObError *error)
{
	size_t avail;

	if (upload->state != UPLOAD_FILLING ||
		!ob_upload_window(upload, &avail, error))
	{
		*error = upload->error;
		return ob_error_set(error, OB_EINVAL,
							"the upload takes no more bytes");
	}
	if (upload->multipart && end_part(upload, upload->filling, error) != OB_OK)
		return error->code;
	upload->state = UPLOAD_FINISHING;
	advance_state(upload);
	return OB_OK;
}

/* ---- what comes next ---- */

/* The part, whole, and its hash.  False: that failed the upload. */
static bool
seal(ObUpload *upload, ObPart *part, char *sha256)
{
	part->state = OB_PART_SENDING;
	upload->sending++;
	if (ob_part_seal(part, sha256))
		return true;
	fail_memory(upload);
	return false;
}

static void
send_part(ObUpload *upload, ObPart *part)
{
	char sha256[OB_SHA256_HEX];

	if (seal(upload, part, sha256))
		ob_s3_upload_part(&part->call, upload->bucket, upload->key, upload->id,
						  part->number, part->data + part->start, part->len,
						  sha256);
}

static void
send_object(ObUpload *upload, ObPart *part)
{
	char sha256[OB_SHA256_HEX];

	upload->state = UPLOAD_COMPLETING;
	upload->last_sent = true;
	if (seal(upload, part, sha256))
		ob_s3_put_object(&part->call, upload->bucket, upload->key,
						 upload->headers, upload->nheaders,
						 part->data + part->start, part->len, sha256);
}

/* Full parts go out in the order of their numbers. */
static void
send_parts(ObUpload *upload)
{
	while (upload->sending < upload->connections &&
		   (upload->sending < upload->allowed ||
			upload->state == UPLOAD_FINISHING) &&
		   upload->state < UPLOAD_DONE)
	{
		ObPart *part = ob_parts_next_full(&upload->parts);

		if (!part)
			return;
		send_part(upload, part);
	}
}

static void
complete(ObUpload *upload)
{
	upload->state = UPLOAD_COMPLETING;
	upload->last_sent = true;
	upload->complete_tries++;
	ob_s3_complete(&upload->control, upload->bucket, upload->key, upload->id,
				   upload->etags, upload->nparts);
}

/* All parts are acknowledged: a last look at the sums, then Complete. */
static void
finish_multipart(ObUpload *upload)
{
	ObError error;

	if (upload->acknowledged_bytes == upload->bytes)
	{
		complete(upload);
		return;
	}
	ob_error_clear(&error);
	ob_error_set(&error, OB_EPROTO,
				 "%llu bytes were produced, but %llu were uploaded",
				 (unsigned long long) upload->bytes,
				 (unsigned long long) upload->acknowledged_bytes);
	ob_error_what(&error, "could not complete the upload of \"s3://%s/%s\"",
				  upload->bucket, upload->key);
	fail(upload, &error);
}

/* Whatever can be started now is started. */
static void
advance_state(ObUpload *upload)
{
	if (upload->state != UPLOAD_FILLING && upload->state != UPLOAD_FINISHING)
		return;
	if (!upload->multipart)
	{
		if (upload->state == UPLOAD_FINISHING)
			send_object(upload, upload->filling);
		return;
	}
	if (upload->id[0] == '\0')
	{
		if (!ob_s3_call_running(&upload->control))
			ob_s3_create(&upload->control, upload->bucket, upload->key,
						 upload->headers, upload->nheaders);
		return;
	}
	send_parts(upload);
	if (upload->state == UPLOAD_FINISHING && !upload->share &&
		upload->acknowledged == upload->nparts)
		finish_multipart(upload);
}

/* False: that failed the upload. */
static bool
record_part(ObUpload *upload, const ObPart *part, const char *etag)
{
	const ObUploadShare *share = upload->share;

	if (share)
	{
		ObUploadPart landed = {etag, part->len, 0};
		ObError error;

		ob_error_clear(&error);
		if (share->landed(share->arg, part->number, &landed, &error) == OB_OK)
			return true;
		ob_error_what(&error, "could not upload \"s3://%s/%s\"",
					  upload->bucket, upload->key);
		fail(upload, &error);
		return false;
	}
	if (grow_etags(upload, part->number) &&
		(upload->etags[part->number - 1] = strdup(etag)))
		return true;
	fail_memory(upload);
	return false;
}

static void
on_part(ObS3Call *call)
{
	ObPart *part = call->arg;
	ObUpload *upload = part->owner;

	upload->sending--;
	part->state = OB_PART_EMPTY;
	if (call->error.code != OB_OK)
	{
		fail(upload, &call->error);
		/* the answer to a PutObject may have been lost on its way */
		if (!upload->multipart && call->uncertain)
			upload->last_sent = true;
		return;
	}
	upload->acknowledged++;
	upload->acknowledged_bytes += part->len;
	if (!upload->multipart)
	{
		upload->state = UPLOAD_DONE;
		return;
	}
	if (!record_part(upload, part, call->etag))
		return;
	advance_state(upload);
}

/* ---- one of several processes ---- */

ObCode
ob_upload_begin_shared(ObUpload *upload, const ObUploadShare *share,
					   const char *id, size_t memory, int connections,
					   ObError *error)
{
	if (upload->state != UPLOAD_FILLING || upload->filling)
		return ob_error_set(error, OB_EINVAL, "the upload has begun already");
	upload->share = share;
	upload->multipart = true;
	upload->parts.memory = memory;
	upload->largest_part = memory / 2 - OB_PART_SLACK;
	if (upload->largest_part < upload->part_size)
		upload->largest_part = upload->part_size;
	if (connections < upload->connections)
		upload->connections = connections;
	if (id)
		snprintf(upload->id, sizeof(upload->id), "%s", id);
	advance_state(upload);
	return OB_OK;
}

size_t
ob_upload_pending(const ObUpload *upload)
{
	return upload->filling ? upload->filling->len : 0;
}

bool
ob_upload_part_full(const ObUpload *upload)
{
	return upload->filling && upload->filling->len >= upload->filling->size;
}

ObCode
ob_upload_end_part(ObUpload *upload, ObError *error)
{
	if (upload->state != UPLOAD_FILLING || !upload->filling || !upload->share)
	{
		*error = upload->error;
		return ob_error_set(error, OB_EINVAL, "there is no part to end");
	}
	if (end_part(upload, upload->filling, error) != OB_OK)
		return error->code;
	upload->filling = NULL;
	advance_state(upload);
	return OB_OK;
}

const char *
ob_upload_take_tail(ObUpload *upload, size_t *len)
{
	const ObPart *part = upload->filling;

	*len = part ? part->len : 0;
	upload->bytes -= *len;
	return part ? part->data + part->start : NULL;
}

bool
ob_upload_idle(const ObUpload *upload)
{
	return upload->acknowledged == upload->nparts;
}

ObCode
ob_upload_finish_shared(ObUpload *upload, const ObUploadPart *parts,
						int nparts, uint64_t bytes, ObError *error)
{
	uint64_t sum = 0;

	if (upload->state != UPLOAD_FILLING || !upload->share || upload->filling)
	{
		*error = upload->error;
		return ob_error_set(error, OB_EINVAL,
							"the upload takes no more bytes");
	}
	for (int i = 0; i < nparts; i++)
	{
		sum += parts[i].len;
		if (!grow_etags(upload, i + 1) ||
			!(upload->etags[i] = strdup(parts[i].etag)))
		{
			fail_memory(upload);
			*error = upload->error;
			return OB_ENOMEM;
		}
	}
	upload->nparts = nparts;
	upload->bytes = bytes;
	upload->acknowledged_bytes = sum;
	finish_multipart(upload);
	return OB_OK;
}

/* ---- an unclear Complete ---- */

static void
reconcile(ObUpload *upload, ObS3Call *call)
{
	if (call->verb == OB_S3_COMPLETE)
	{
		upload->state = UPLOAD_RECONCILING;
		/* what is reported if we cannot find out */
		upload->error = call->error;
		ob_s3_head(call, upload->bucket, upload->key);
		return;
	}
	if (call->verb == OB_S3_HEAD)
	{
		if (call->error.code == OB_OK &&
			strcmp(call->marker, upload->marker) == 0 &&
			(call->content_length < 0 ||
			 (uint64_t) call->content_length == upload->bytes))
		{
			ob_error_clear(&upload->error);
			upload->state = UPLOAD_DONE;
		}
		else if (call->error.code == OB_OK || call->error.http_status == 404)
			ob_s3_list_parts(call, upload->bucket, upload->key, upload->id);
		else
			upload->state = UPLOAD_FAILED;
		return;
	}
	/* ListParts: the upload is still there, so Complete was not done */
	if (call->error.code == OB_OK && upload->complete_tries < COMPLETE_TRIES)
	{
		ob_error_clear(&upload->error);
		complete(upload);
	}
	else
		upload->state = UPLOAD_FAILED;
}

/* ---- giving up ---- */

static void
send_abort(ObUpload *upload)
{
	ob_s3_abort(&upload->control, upload->bucket, upload->key, upload->id);
}

void
ob_upload_abort(ObUpload *upload)
{
	if (upload->state >= UPLOAD_ABORTING)
		return;
	if (upload->state == UPLOAD_DONE)
	{
		upload->state = UPLOAD_ABORTED;
		return;
	}
	upload->abort_again = upload->sending > 0;
	upload->state = UPLOAD_ABORTING;
	ob_parts_cancel(&upload->parts);
	upload->sending = 0;
	/* an answer to Create that is under way names what must be aborted; one
	 * that S3 has not seen, or another try, would only make something new */
	if (upload->control.verb == OB_S3_CREATE &&
		ob_s3_call_running(&upload->control) &&
		ob_http_sent(&upload->control.request))
	{
		upload->control.max_attempts = 1;
		return;
	}
	ob_s3_call_cancel(&upload->control);
	if (upload->id[0] != '\0')
		send_abort(upload);
	else
		upload->state = UPLOAD_ABORTED;
}

static void
continue_abort(ObUpload *upload, ObS3Call *call)
{
	if (call->verb == OB_S3_CREATE)
	{
		if (call->error.code == OB_OK)
		{
			snprintf(upload->id, sizeof(upload->id), "%s", call->new_id);
			send_abort(upload);
		}
		else
			upload->state = UPLOAD_ABORTED;
		return;
	}
	if (call->error.code != OB_OK)
		upload->abort_error = call->error;
	else if (call->error.http_status != 404)
	{
		upload->last_sent = false; /* aborted, so never completed */
		/* a part in flight at the first Abort may have landed after it */
		if (upload->abort_again)
		{
			upload->abort_again = false;
			send_abort(upload);
			return;
		}
	}
	upload->state = UPLOAD_ABORTED;
}

static void
on_control(ObS3Call *call)
{
	ObUpload *upload = call->arg;

	if (upload->state == UPLOAD_ABORTING)
	{
		continue_abort(upload, call);
		return;
	}
	if (upload->state == UPLOAD_RECONCILING ||
		(call->verb == OB_S3_COMPLETE && call->error.code == OB_EUNKNOWN))
	{
		reconcile(upload, call);
		return;
	}
	if (call->verb == OB_S3_CREATE && call->error.code == OB_OK)
		snprintf(upload->id, sizeof(upload->id), "%s", call->new_id);
	if (call->error.code != OB_OK)
		fail(upload, &call->error);
	else if (call->verb == OB_S3_COMPLETE)
		upload->state = UPLOAD_DONE;
	else
		advance_state(upload);
}

/* ---- asking ---- */

bool
ob_upload_done(const ObUpload *upload)
{
	return upload->state == UPLOAD_DONE;
}

const ObError *
ob_upload_error(const ObUpload *upload)
{
	return upload->state == UPLOAD_FAILED ? &upload->error : NULL;
}

bool
ob_upload_aborted(const ObUpload *upload)
{
	return upload->state == UPLOAD_ABORTED;
}

const ObError *
ob_upload_abort_error(const ObUpload *upload)
{
	return upload->abort_error.code != OB_OK ? &upload->abort_error : NULL;
}

bool
ob_upload_may_exist(const ObUpload *upload)
{
	return upload->last_sent;
}

const char *
ob_upload_id(const ObUpload *upload)
{
	return upload->id;
}

void
ob_upload_stats(const ObUpload *upload, ObUploadStats *stats)
{
	stats->bytes = upload->bytes;
	stats->parts = upload->acknowledged;
	stats->in_flight = upload->sending;
	stats->retries = ob_s3_retries(upload->s3);
	stats->multipart = upload->multipart;
}
