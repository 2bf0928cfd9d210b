/*
 * upload.c
 *		One object, uploaded while it is being produced.
 *
 * src/core/s3/upload.c
 *
 * Part buffers belong to part.c.  A buffer has some bytes beyond the part's
 * size.  Upstream may write past the end of the part into them; split_part()
 * then moves these few bytes into the next buffer.  So every part but the last
 * has exactly its size, whatever upstream writes.
 *
 * The states of an upload, and what leads from one to the next:
 *
 *	   FILLING      ob_upload_finish()                   FINISHING
 *	                ob_upload_finish_shared()            COMPLETING, or HELD
 *	                ob_upload_adopt()                    HELD
 *	   FINISHING    send_object(), one part or less      COMPLETING
 *	                complete(), all parts have landed    COMPLETING, or HELD
 *	   HELD         ob_upload_publish()                  FINISHING
 *	   COMPLETING   success                              DONE
 *	                reconcile(): the outcome is unclear   RECONCILING
 *	   RECONCILING  the object is ours                   DONE
 *	                the parts are still there            COMPLETING
 *	                anything else                        FAILED
 *	   any of these, fail(): the first failure           FAILED
 *	   any but DONE, ob_upload_abort()                   ABORTING
 *	   DONE         ob_upload_abort()                    ABORTED
 *	   ABORTING     end_abort()                          ABORTED
 *
 * Three flags refine a state.  While "checking" is set, a HEAD looks whether
 * the name is free, and nothing else is sent.  "multipart" is set from the
 * first numbered part on; without it, the object is one PutObject.  "hold"
 * turns completion into HELD.  With "share", several processes feed the
 * upload, and the host completes it when all of them are idle.
 *
 * Giving up: the last request, a Complete or a PutObject, may be under way.
 * Then an Abort proves nothing: Ceph RGW 16 reports success for it, and for
 * the Complete as well, and has the object.  Only the response to the last
 * request is certain, so the upload waits for it before it sends anything
 * else, as long as the host has patience.  After that a HEAD recognises our
 * object by its marker.  A HEAD that finds none does not prove that there will
 * be none.
 */
#include "core/s3/upload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "core/s3/upload_intern.h"

#define COMPLETE_TRIES 3
#define ALLOWED_AT_FIRST 2
/* The number of parts that must land without throttling before one more part
 * may be in flight. */
#define UNTHROTTLED 16

static void advance_state(ObUpload *upload);
static void on_part(ObS3Call *call);
static void on_throttled(ObS3Call *call);
static void on_control(ObS3Call *call);
static void on_closing(ObS3Call *call);
static void on_last_response(ObUpload *upload, ObS3Call *call);

/* ---- failing ---- */

/* Rewords the error for a caller who set keep_existing. */
static void
reword_existing(const ObUpload *upload, ObError *error)
{
	if (error->code != OB_EEXISTS || !upload->keep_existing)
		return;
	snprintf(error->cause, sizeof(error->cause), "%s",
			 error->http_status == 409
				 ? "another request was writing an object of that name"
				 : "an object of that name exists already");
}

static void
fail(ObUpload *upload, const ObError *error)
{
	if (upload->state >= OB_UPLOAD_DONE)
		return;
	upload->error = *error;
	reword_existing(upload, &upload->error);
	upload->state = OB_UPLOAD_FAILED;
	/* a refusal is certain, unless an earlier Complete was unclear */
	upload->last_sent = upload->response_lost =
		error->code == OB_EUNKNOWN || upload->complete_tries > 1;
}

/* Fails the upload after its last request, which may have been carried out. */
static void
fail_last(ObUpload *upload, const ObS3Call *call)
{
	fail(upload, &call->error);
	if (call->uncertain)
		upload->response_lost = true;
	if (call->uncertain || call->doubtful)
		upload->last_sent = true;
}

static ObCode
fail_memory(ObUpload *upload, ObError *error)
{
	ObError failure;

	ob_error_clear(&failure);
	ob_error_set(&failure, OB_ENOMEM, "out of memory");
	ob_error_what(&failure, "could not upload \"s3://%s/%s\"", upload->bucket,
				  upload->key);
	fail(upload, &failure);
	if (error)
		*error = upload->error;
	return OB_ENOMEM;
}

/* Returns the error of a call that the state does not allow: the failure that
 * led to the state, if any, or the caller's mistake. */
static ObCode
refuse_call(const ObUpload *upload, const char *mistake, ObError *error)
{
	*error = upload->error;
	return ob_error_set(error, OB_EINVAL, "%s", mistake);
}

/* ---- the name of the object ---- */

static void
check_name(ObUpload *upload)
{
	upload->checking = true;
	ob_s3_head(&upload->control, upload->bucket, upload->key);
}

static void
fail_existing(ObUpload *upload)
{
	ObError error;

	ob_error_clear(&error);
	error.code = OB_EEXISTS;
	ob_error_what(&error, "could not upload \"s3://%s/%s\"", upload->bucket,
				  upload->key);
	fail(upload, &error);
}

static void
on_checked(ObUpload *upload, const ObS3Call *call)
{
	upload->checking = false;
	if (call->error.code == OB_OK)
		fail_existing(upload);
	else if (call->error.http_status == 404)
		advance_state(upload);
	else
		fail(upload, &call->error);
}

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
	unsigned char bytes[OB_UPLOAD_MARKER_BYTES];

	if (!ob_random_bytes(bytes, sizeof(bytes)))
		return false;
	ob_hex(bytes, sizeof(bytes), upload->marker);
	return true;
}

static bool
add_pair(ObPairs *pairs, const char *name, const char *value)
{
	ObPair *pair = &pairs->pairs[pairs->n++];

	pair->name = strdup(name);
	pair->value = strdup(value);
	return pair->name && pair->value;
}

/* Copies n pairs, with room for one more. */
static bool
copy_pairs(ObPairs *copy, const ObPair *pairs, int n)
{
	copy->pairs = calloc((size_t) n + 1, sizeof(ObPair));
	if (!copy->pairs)
		return false;
	for (int i = 0; i < n; i++)
		if (!add_pair(copy, pairs[i].name, pairs[i].value))
			return false;
	return true;
}

static void
free_pairs(ObPairs *pairs)
{
	for (int i = 0; i < pairs->n; i++)
	{
		free((char *) pairs->pairs[i].name);
		free((char *) pairs->pairs[i].value);
	}
	free(pairs->pairs);
}

static ObChecksum
resolve_checksum(ObChecksum checksum, const ObEndpoint *endpoint)
{
	if (checksum != OB_CHECKSUM_AUTO)
		return checksum;
	if (endpoint->aws && endpoint->https)
		return OB_CHECKSUM_CRC32;
	return ob_endpoint_wants_md5(endpoint) && endpoint->https
			   ? OB_CHECKSUM_MD5
			   : OB_CHECKSUM_SHA256;
}

static void
set_memory(ObUpload *upload, size_t memory)
{
	upload->parts.memory = memory;
	/* one part is filled while at least one other is being sent */
	upload->largest_part = memory / 2 - OB_PART_SLACK;
	if (upload->largest_part > OB_PART_MAX)
		upload->largest_part = OB_PART_MAX;
	if (upload->largest_part < upload->part_size || upload->equal_parts)
		upload->largest_part = upload->part_size;
}

static bool
copy_options(ObUpload *upload, const ObUploadOptions *options)
{
	upload->bucket = strdup(options->bucket);
	upload->key = strdup(options->key);
	return upload->bucket && upload->key && make_marker(upload) &&
		   copy_pairs(&upload->headers, options->headers, options->nheaders) &&
		   add_pair(&upload->headers, OB_S3_MARKER, upload->marker) &&
		   copy_pairs(&upload->common, options->common, options->ncommon);
}

/* Sets what all calls of the upload have in common. */
static void
set_up_call(ObUpload *upload, ObS3Call *call)
{
	call->common = upload->common.pairs;
	call->ncommon = upload->common.n;
	call->quota = &upload->quota;
	call->checksum = upload->checksum;
	call->if_none_match = upload->keep_existing;
}

static bool
make_parts(ObUpload *upload)
{
	if (!ob_parts_init(&upload->parts, upload->connections + 1, upload->s3,
					   upload->checksum, on_part, upload))
		return false;
	for (int i = 0; i < upload->parts.n; i++)
	{
		ObPart *part = &upload->parts.parts[i];
		ObS3Call *call = &part->call;

		set_up_call(upload, call);
		call->throttled = on_throttled;
	}
	return true;
}

ObUpload *
ob_upload_new(const ObUploadOptions *options, ObError *error)
{
	ObUpload *upload = calloc(1, sizeof(ObUpload));
	const ObEndpoint *endpoint = ob_s3_endpoint(options->s3);

	if (!upload)
	{
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	upload->s3 = options->s3;
	upload->checksum = resolve_checksum(options->checksum, endpoint);
	upload->keep_existing = options->keep_existing;
	upload->hold = options->hold;
	upload->part_size = options->part_size;
	upload->equal_parts = options->equal_parts;
	set_memory(upload, options->memory);
	upload->connections = options->connections;
	upload->limit = options->connections;
	upload->allowed = ALLOWED_AT_FIRST;
	upload->max_parts = options->max_parts;
	upload->retries_before = ob_s3_retries(upload->s3);
	ob_retry_quota_init(&upload->quota);
	ob_s3_call_init(&upload->control, upload->s3, on_control, upload);
	ob_s3_call_init(&upload->closing, upload->s3, on_closing, upload);
	if (!copy_options(upload, options) || !make_parts(upload))
	{
		ob_error_set(error, OB_ENOMEM, "out of memory");
		ob_upload_free(upload);
		return NULL;
	}
	set_up_call(upload, &upload->control);
	set_up_call(upload, &upload->closing);
	upload->closing.quota = NULL;
	if (upload->keep_existing && !endpoint->aws)
		check_name(upload);
	return upload;
}

void
ob_upload_free(ObUpload *upload)
{
	if (!upload)
		return;
	ob_s3_call_free(&upload->control);
	ob_s3_call_free(&upload->closing);
	ob_parts_free(&upload->parts);
	free_pairs(&upload->headers);
	free_pairs(&upload->common);
	free(upload->landed);
	free(upload->bucket);
	free(upload->key);
	free(upload);
}

/* ---- parts ---- */

static size_t
next_part_size(const ObUpload *upload)
{
	/* the part that is being filled will take the next number */
	int number = upload->last_number + 1 + (upload->filling ? 1 : 0);

	return ob_upload_part_size(upload->part_size, upload->largest_part,
							   upload->max_parts, number);
}

static size_t
head_len(const ObUpload *upload)
{
	return upload->share ? upload->share->head.len : 0;
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

/* Makes room in the array of parts that have landed. */
static bool
grow_landed(ObUpload *upload, int number)
{
	int cap = upload->landed_cap > 0 ? upload->landed_cap : 64;
	size_t more;
	ObUploadPart *landed;

	if (number <= upload->landed_cap)
		return true;
	while (cap < number)
		cap *= 2;
	landed = realloc(upload->landed, (size_t) cap * sizeof(ObUploadPart));
	if (!landed)
		return false;
	upload->landed = landed;
	more = (size_t) (cap - upload->landed_cap);
	memset(landed + upload->landed_cap, 0, more * sizeof(ObUploadPart));
	upload->landed_cap = cap;
	return true;
}

static bool
note_landed(ObUpload *upload, int number, const ObUploadPart *part)
{
	if (!grow_landed(upload, number))
		return false;
	upload->landed[number - 1] = *part;
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

static ObCode
number_part(ObUpload *upload, ObPart *part, ObError *error)
{
	const ObUploadShare *share = upload->share;
	int number = share ? share->take_number(share->arg, &part->raw)
					   : upload->nparts + 1;
	size_t own = part->len;

	if (number > upload->max_parts)
		return fail_limit(upload, error);
	if (share && number == 1 && !ob_part_add_head(part, &share->head))
		return fail_memory(upload, error);
	upload->bytes += part->len - own;
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
split_part(ObUpload *upload, ObError *error)
{
	ObPart *full = upload->filling;
	size_t extra = full->len - full->size;

	if (upload->nparts >= upload->max_parts - 1)
		return fail_limit(upload, error);
	if (!begin_part(upload))
		return fail_memory(upload, error);
	memcpy(upload->filling->data, full->data + full->size, extra);
	upload->filling->len = extra;
	full->len = full->size;
	if (number_part(upload, full, error) != OB_OK)
		return error->code;
	advance_state(upload);
	return OB_OK;
}

/* ---- writing ---- */

char *
ob_upload_window(ObUpload *upload, size_t *avail, ObError *error)
{
	char *window;

	if (upload->state != OB_UPLOAD_FILLING)
	{
		(void) refuse_call(upload, "the upload takes no more bytes", error);
		return NULL;
	}
	if (!upload->filling && !begin_part(upload))
	{
		fail_memory(upload, error);
		return NULL;
	}
	if (!upload->share && upload->filling->len > upload->filling->size &&
		split_part(upload, error) != OB_OK)
		return NULL;
	/* a row may be longer than the rest of the buffer, and shared parts end
	 * where rows do */
	window = ob_part_window(&upload->parts, upload->filling,
							upload->share != NULL, avail);
	if (!window)
		fail_memory(upload, error);
	return window;
}

ObCode
ob_upload_advance(ObUpload *upload, size_t len, ObError *error)
{
	ObPart *part = upload->filling;

	if (upload->state != OB_UPLOAD_FILLING || !upload->filling)
		return refuse_call(upload, "the upload takes no more bytes", error);
	part->len += len;
	upload->bytes += len;
	/* bytes beyond the part's size will be another part's */
	if (!ob_part_hash(part, upload->share || part->len < part->size
								? part->len
								: part->size))
		return fail_memory(upload, error);
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

	if (upload->state != OB_UPLOAD_FILLING ||
		!ob_upload_window(upload, &avail, error))
		return refuse_call(upload, "the upload takes no more bytes", error);
	if ((upload->multipart || (upload->hold && upload->filling->len > 0)) &&
		number_part(upload, upload->filling, error) != OB_OK)
		return error->code;
	upload->state = OB_UPLOAD_FINISHING;
	advance_state(upload);
	return OB_OK;
}

/* ---- completing ---- */

static uint32_t
crc32_of_object(const ObUpload *upload)
{
	const ObUploadPart *landed = upload->landed;
	uint32_t crc32 = 0;

	if (!upload->multipart)
		return upload->crc32;
	for (int i = 0; i < upload->nparts; i++)
		crc32 = ob_crc32_combine(crc32, landed[i].crc32, landed[i].len);
	return crc32;
}

static void
send_complete(ObUpload *upload)
{
	ObS3Call *call = &upload->control;

	upload->state = OB_UPLOAD_COMPLETING;
	upload->last_sent = true;
	upload->complete_tries++;
	call->crc32 = crc32_of_object(upload);
	call->object_size = ob_s3_endpoint(upload->s3)->aws ? upload->bytes : 0;
	ob_s3_complete(call, upload->bucket, upload->key, upload->id,
				   upload->landed, upload->nparts);
}

static void
complete(ObUpload *upload)
{
	ObError error;

	if (upload->acknowledged_bytes == upload->bytes)
	{
		if (upload->hold)
			upload->state = OB_UPLOAD_HELD;
		else
			send_complete(upload);
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

/* ---- what the last request did ---- */

static bool
is_ours(const ObUpload *upload, const ObS3Call *head)
{
	return head->error.code == OB_OK &&
		   strcmp(head->marker, upload->marker) == 0 &&
		   (head->content_length < 0 ||
			(uint64_t) head->content_length == upload->bytes);
}

/* The call has written the object, or found that it is ours. */
static void
succeed(ObUpload *upload, ObS3Call *call)
{
	ob_s3_plain_etag(call, upload->etag);
	ob_error_clear(&upload->error);
	upload->state = OB_UPLOAD_DONE;
}

/* Fails with the error that was kept by reconcile(). */
static void
keep_failure(ObUpload *upload, bool may_exist)
{
	upload->state = OB_UPLOAD_FAILED;
	upload->last_sent = upload->response_lost = may_exist;
}

static bool
found_object(const ObUpload *upload, const ObError *error)
{
	return upload->keep_existing &&
		   (error->http_status == 412 ||
			strcmp(error->s3_code, "PreconditionFailed") == 0);
}

static void
reconcile(ObUpload *upload, const ObError *error)
{
	upload->state = OB_UPLOAD_RECONCILING;
	/* the error to report if the object is not ours, or that cannot be
	 * determined */
	upload->error = *error;
	if (found_object(upload, error))
		upload->error.code = OB_EEXISTS;
	reword_existing(upload, &upload->error);
	ob_s3_head(&upload->control, upload->bucket, upload->key);
}

/* Reads the HEAD after a PutObject that found an object. */
static void
reconcile_object(ObUpload *upload, ObS3Call *head)
{
	if (is_ours(upload, head))
	{
		upload->acknowledged++;
		upload->landed_bytes += upload->bytes;
		succeed(upload, head);
	}
	else if (head->error.code == OB_OK || head->error.http_status == 404)
		keep_failure(upload, false);
	else
		/* libcurl may have sent the request twice without reporting it */
		keep_failure(upload, true);
}

/* Reads the HEAD or ListParts after a Complete with an unclear outcome, or one
 * that found an object. */
static void
reconcile_complete(ObUpload *upload, ObS3Call *call)
{
	bool found = upload->error.code == OB_EEXISTS;

	if (call->verb == OB_S3_HEAD)
	{
		if (is_ours(upload, call))
			succeed(upload, call);
		else if (call->error.code == OB_OK && found)
			keep_failure(upload, false);
		else if (call->error.code == OB_OK || call->error.http_status == 404)
			ob_s3_list_parts(call, upload->bucket, upload->key, upload->id);
		else
			keep_failure(upload, true);
		return;
	}
	/* ListParts: the upload is still there, so Complete was not done */
	if (call->error.code == OB_OK && upload->complete_tries < COMPLETE_TRIES)
	{
		ob_error_clear(&upload->error);
		send_complete(upload);
	}
	else
		keep_failure(upload, true);
}

/* ---- sending ---- */

/* Completes the part and computes its hash.  Returns false if the upload has
 * failed. */
static bool
seal(ObUpload *upload, ObPart *part, char *sha256)
{
	part->state = OB_PART_SENDING;
	upload->sending++;
	if (ob_part_seal(part, sha256))
	{
		part->call.crc32 = part->crc32;
		return true;
	}
	fail_memory(upload, NULL);
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

	upload->state = OB_UPLOAD_COMPLETING;
	upload->last_sent = true;
	if (!seal(upload, part, sha256))
		return;
	upload->crc32 = part->crc32;
	ob_s3_put_object(&part->call, upload->bucket, upload->key,
					 upload->headers.pairs, upload->headers.n,
					 part->data + part->start, part->len, sha256);
}

/* Sends full parts, in the order of their numbers. */
static void
send_parts(ObUpload *upload)
{
	while (upload->sending < upload->limit &&
		   (upload->sending < upload->allowed ||
			upload->state == OB_UPLOAD_FINISHING) &&
		   upload->state < OB_UPLOAD_DONE)
	{
		ObPart *part = ob_parts_next_full(&upload->parts);

		if (!part)
			return;
		send_part(upload, part);
	}
}

static void
advance_state(ObUpload *upload)
{
	if (upload->checking || (upload->state != OB_UPLOAD_FILLING &&
							 upload->state != OB_UPLOAD_FINISHING))
		return;
	if (!upload->multipart)
	{
		/* S3 does not accept empty parts, so an empty held upload sends
		 * nothing yet */
		if (upload->state == OB_UPLOAD_FINISHING && upload->hold)
			upload->state = OB_UPLOAD_HELD;
		else if (upload->state == OB_UPLOAD_FINISHING)
			send_object(upload, upload->filling);
		return;
	}
	if (upload->id[0] == '\0')
	{
		if (!ob_s3_call_running(&upload->control))
			ob_s3_create(&upload->control, upload->bucket, upload->key,
						 upload->headers.pairs, upload->headers.n);
		return;
	}
	send_parts(upload);
	if (upload->state == OB_UPLOAD_FINISHING && !upload->share &&
		upload->acknowledged == upload->nparts)
		complete(upload);
}

/* Returns false if the upload has failed. */
static bool
record_part(ObUpload *upload, const ObPart *part, const char *etag)
{
	const ObUploadShare *share = upload->share;
	ObUploadPart landed = {.len = part->len, .crc32 = part->crc32};
	ObError error;

	snprintf(landed.etag, sizeof(landed.etag), "%s", etag);
	ob_error_clear(&error);
	if (!share)
	{
		if (note_landed(upload, part->number, &landed))
			return true;
		fail_memory(upload, &error);
		return false;
	}
	if (share->landed(share->arg, part->number, &landed, &error) == OB_OK)
		return true;
	ob_error_what(&error, "could not upload \"s3://%s/%s\"", upload->bucket,
				  upload->key);
	fail(upload, &error);
	return false;
}

/* Halves the number of parts in flight, since the store asked for fewer
 * requests. */
static void
on_throttled(ObS3Call *call)
{
	const ObPart *part = call->arg;
	ObUpload *upload = part->owner;

	upload->limit = upload->limit > 1 ? upload->limit / 2 : 1;
	upload->unthrottled = 0;
}

static void
note_unthrottled(ObUpload *upload)
{
	if (upload->limit == upload->connections ||
		++upload->unthrottled < UNTHROTTLED)
		return;
	upload->limit++;
	upload->unthrottled = 0;
}

static void
fail_part(ObUpload *upload, const ObS3Call *call)
{
	if (upload->multipart)
		fail(upload, &call->error);
	else if (found_object(upload, &call->error))
		reconcile(upload, &call->error);
	else
		fail_last(upload, call);
}

static void
on_part(ObS3Call *call)
{
	ObPart *part = call->arg;
	ObUpload *upload = part->owner;

	if (upload->state == OB_UPLOAD_ABORTING)
	{
		on_last_response(upload, call);
		return;
	}
	upload->sending--;
	part->state = OB_PART_EMPTY;
	if (call->error.code != OB_OK)
	{
		fail_part(upload, call);
		return;
	}
	upload->acknowledged++;
	upload->acknowledged_bytes += part->len;
	upload->landed_bytes += part->len;
	note_unthrottled(upload);
	if (!upload->multipart)
	{
		succeed(upload, call);
		return;
	}
	if (!record_part(upload, part, call->etag))
		return;
	advance_state(upload);
}

/* ---- giving up ---- */

static void
end_abort(ObUpload *upload)
{
	ob_s3_call_cancel(&upload->closing);
	if (upload->last)
		ob_s3_call_cancel(upload->last);
	upload->last = NULL;
	upload->state = OB_UPLOAD_ABORTED;
}

/* The call has shown that the object exists; NULL: the upload was done. */
static void
end_with_object(ObUpload *upload, ObS3Call *call)
{
	if (call)
		ob_s3_plain_etag(call, upload->etag);
	upload->exists = true;
	upload->last_sent = true;
	end_abort(upload);
}

/* An abort is tried again even if the quota is used up. */
static void
send_abort(ObUpload *upload, int delay_ms)
{
	upload->closing.delay_ms = delay_ms;
	ob_s3_abort(&upload->closing, upload->bucket, upload->key, upload->id);
}

static void
check_object(ObUpload *upload, int delay_ms)
{
	if (!upload->doubtful && !upload->last)
	{
		upload->last_sent = false;
		end_abort(upload);
		return;
	}
	upload->closing.delay_ms = delay_ms;
	ob_s3_head(&upload->closing, upload->bucket, upload->key);
	/* an unreachable store must not prevent that the Abort counts */
	upload->closing.max_attempts = 1;
}

static void
start_abort(ObUpload *upload, int delay_ms)
{
	if (upload->id[0] != '\0')
		send_abort(upload, delay_ms);
	else
		check_object(upload, delay_ms);
}

static void
on_aborted(ObUpload *upload, const ObS3Call *call)
{
	if (call->error.code != OB_OK)
		upload->abort_error = call->error;
	else if (upload->abort_again && call->error.http_status != 404)
	{
		/* a part in flight at the first Abort may have landed after it */
		upload->abort_again = false;
		send_abort(upload, 0);
		return;
	}
	else
		upload->forgotten = true;
	check_object(upload, 0);
}

/* If a request is still in flight, an object that does not exist now may still
 * appear. */
static void
on_head(ObUpload *upload, ObS3Call *call)
{
	if (is_ours(upload, call))
	{
		end_with_object(upload, call);
		return;
	}
	if (call->error.code == OB_OK || call->error.http_status == 404)
		upload->last_sent = upload->response_lost || upload->last;
	else
		upload->last_sent = true;
	end_abort(upload);
}

static void
on_closing(ObS3Call *call)
{
	ObUpload *upload = call->arg;

	if (call->verb == OB_S3_HEAD)
		on_head(upload, call);
	else
		on_aborted(upload, call);
}

/* Returns whether the store refused the request, and so wrote nothing. */
static bool
is_refusal(const ObUpload *upload, const ObS3Call *call)
{
	return call->error.code != OB_EUNKNOWN && call->retry.attempts <= 1 &&
		   call->error.http_status >= 400 && call->error.http_status < 500 &&
		   !found_object(upload, &call->error);
}

static void
on_last_response(ObUpload *upload, ObS3Call *call)
{
	upload->last = NULL;
	if (call->error.code == OB_OK)
	{
		end_with_object(upload, call);
		return;
	}
	if (call->uncertain || call->error.code == OB_EUNKNOWN)
		upload->response_lost = true;
	upload->doubtful = upload->response_lost || !is_refusal(upload, call);
	/* the closing call waited for this response */
	if (!ob_http_sent(&upload->closing.request))
	{
		ob_s3_call_cancel(&upload->closing);
		start_abort(upload, 0);
	}
}

/* Handles a Create that ends during the abort; its response names the upload
 * that must be aborted. */
static void
on_late_create(ObUpload *upload, const ObS3Call *call)
{
	if (call->error.code == OB_OK)
		snprintf(upload->id, sizeof(upload->id), "%s", call->new_id);
	start_abort(upload, 0);
}

/* Notes what is known about the last request at this moment. */
static void
note_last_request(ObUpload *upload)
{
	ObS3Call *last = upload->multipart ? &upload->control
					 : upload->filling ? &upload->filling->call
									   : NULL;

	switch (upload->state)
	{
		case OB_UPLOAD_COMPLETING:
			if (!last)
				return;
			if (ob_http_sent_whole(&last->request) && !last->locating)
				upload->last = last;
			upload->response_lost =
				last->uncertain || upload->complete_tries > 1;
			upload->doubtful =
				upload->response_lost || last->retry.attempts > 0;
			break;
		case OB_UPLOAD_RECONCILING:
			upload->response_lost = upload->error.code != OB_EEXISTS;
			upload->doubtful = true;
			break;
		default:
			upload->doubtful = upload->last_sent;
			break;
	}
	upload->last_sent = upload->doubtful || upload->last;
}

void
ob_upload_abort(ObUpload *upload, int patience_ms)
{
	if (upload->state >= OB_UPLOAD_ABORTING)
		return;
	if (upload->state == OB_UPLOAD_DONE)
	{
		end_with_object(upload, NULL);
		return;
	}
	note_last_request(upload);
	upload->abort_again = upload->sending > 0;
	upload->state = OB_UPLOAD_ABORTING;
	if (!upload->last || upload->multipart)
		ob_parts_cancel(&upload->parts);
	upload->sending = 0;
	/* the response to a Create in flight is awaited; a Create that has not
	 * been sent, or a retry, would only create another upload */
	if (upload->control.verb == OB_S3_CREATE &&
		ob_s3_call_running(&upload->control) &&
		ob_http_sent(&upload->control.request))
	{
		upload->control.max_attempts = 1;
		return;
	}
	if (upload->last != &upload->control)
		ob_s3_call_cancel(&upload->control);
	if (upload->last)
		ob_s3_call_last_try(upload->last);
	start_abort(upload, upload->last ? patience_ms : 0);
}

/* ---- the control call ---- */

static void
on_control(ObS3Call *call)
{
	ObUpload *upload = call->arg;

	if (upload->state == OB_UPLOAD_ABORTING && call->verb == OB_S3_CREATE)
		on_late_create(upload, call);
	else if (upload->state == OB_UPLOAD_ABORTING)
		on_last_response(upload, call);
	else if (upload->checking)
		on_checked(upload, call);
	else if (upload->state == OB_UPLOAD_RECONCILING && !upload->multipart)
		reconcile_object(upload, call);
	else if (upload->state == OB_UPLOAD_RECONCILING)
		reconcile_complete(upload, call);
	else if (call->verb == OB_S3_COMPLETE && call->error.code == OB_EUNKNOWN)
		reconcile(upload, &call->error);
	else if (call->verb == OB_S3_COMPLETE && call->error.code != OB_OK)
		fail_last(upload, call);
	else if (call->error.code != OB_OK)
		fail(upload, &call->error);
	else if (call->verb == OB_S3_COMPLETE)
		succeed(upload, call);
	else
	{
		snprintf(upload->id, sizeof(upload->id), "%s", call->new_id);
		advance_state(upload);
	}
}

/* ---- an upload of several processes ---- */

ObCode
ob_upload_begin_shared(ObUpload *upload, const ObUploadShare *share,
					   const char *id, size_t memory, int connections,
					   ObError *error)
{
	if (upload->state != OB_UPLOAD_FILLING || upload->filling)
		return ob_error_set(error, OB_EINVAL, "the upload has begun already");
	if (upload->equal_parts)
		return ob_error_set(error, OB_EINVAL,
							"parts of one size cannot end where rows do");
	upload->share = share;
	upload->multipart = true;
	set_memory(upload, memory);
	if (connections < upload->connections)
		upload->limit = upload->connections = connections;
	if (id)
	{
		snprintf(upload->id, sizeof(upload->id), "%s", id);
		/* the first process checks whether the name is free */
		ob_s3_call_cancel(&upload->control);
		upload->checking = false;
	}
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

void
ob_upload_end_piece(ObUpload *upload, const ObRaw *raw)
{
	ObPart *part = upload->filling;

	if (!part)
		return;
	if (part->first == 0)
		part->first = part->len;
	ob_raw_add(&part->raw, raw);
}

int
ob_upload_last_number(const ObUpload *upload)
{
	return upload->last_number;
}

ObRaw
ob_upload_pending_raw(const ObUpload *upload)
{
	return upload->filling ? upload->filling->raw : (ObRaw){0, 0};
}

ObCode
ob_upload_end_part(ObUpload *upload, ObError *error)
{
	if (upload->state != OB_UPLOAD_FILLING || !upload->filling ||
		!upload->share)
		return refuse_call(upload, "there is no part to end", error);
	if (number_part(upload, upload->filling, error) != OB_OK)
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

/* Copies the parts, whose bytes add up to *sum; false if out of memory. */
static bool
copy_parts(ObUpload *upload, const ObUploadPart *parts, int nparts,
		   uint64_t *sum)
{
	*sum = 0;
	for (int i = 0; i < nparts; i++)
	{
		*sum += parts[i].len;
		if (!note_landed(upload, i + 1, &parts[i]))
			return false;
	}
	return true;
}

ObCode
ob_upload_finish_shared(ObUpload *upload, const ObUploadPart *parts,
						int nparts, uint64_t bytes, ObError *error)
{
	uint64_t sum;

	if (upload->state != OB_UPLOAD_FILLING || !upload->share ||
		upload->filling)
		return refuse_call(upload, "the upload takes no more bytes", error);
	if (!copy_parts(upload, parts, nparts, &sum))
		return fail_memory(upload, error);
	upload->nparts = nparts;
	upload->bytes = bytes;
	upload->acknowledged_bytes = sum;
	complete(upload);
	return OB_OK;
}

/* ---- an upload that is completed later ---- */

bool
ob_upload_held(const ObUpload *upload)
{
	return upload->state == OB_UPLOAD_HELD;
}

void
ob_upload_hand_over(const ObUpload *upload, ObUploadHeld *held)
{
	held->id = upload->id;
	held->marker = upload->marker;
	held->bytes = upload->bytes;
	held->nparts = upload->nparts;
	held->parts = upload->landed;
}

ObCode
ob_upload_adopt(ObUpload *upload, const ObUploadHeld *held, ObError *error)
{
	if (upload->state != OB_UPLOAD_FILLING || upload->filling ||
		upload->id[0] != '\0')
		return ob_error_set(error, OB_EINVAL, "the upload has begun already");
	snprintf(upload->id, sizeof(upload->id), "%s", held->id);
	snprintf(upload->marker, sizeof(upload->marker), "%s", held->marker);
	upload->bytes = held->bytes;
	upload->nparts = upload->acknowledged = held->nparts;
	upload->multipart = held->nparts > 0;
	if (!copy_parts(upload, held->parts, held->nparts,
					&upload->acknowledged_bytes))
		return fail_memory(upload, error);
	/* unlike Complete, the HEADs for the object have no upload id to show that
	 * the store was reached */
	if (upload->id[0] != '\0')
		ob_s3_note_served(upload->s3);
	upload->hold = true;
	upload->state = OB_UPLOAD_HELD;
	return OB_OK;
}

void
ob_upload_publish(ObUpload *upload)
{
	ObError error;
	size_t avail;

	if (upload->state != OB_UPLOAD_HELD)
		return;
	ob_error_clear(&error);
	upload->hold = false;
	upload->state = OB_UPLOAD_FILLING;
	/* nothing was sent of an empty object so far */
	if (!upload->multipart && !ob_upload_window(upload, &avail, &error))
		return;
	upload->state = OB_UPLOAD_FINISHING;
	advance_state(upload);
}

/* ---- looking at it ---- */

bool
ob_upload_done(const ObUpload *upload)
{
	return upload->state == OB_UPLOAD_DONE;
}

const ObError *
ob_upload_error(const ObUpload *upload)
{
	return upload->state == OB_UPLOAD_FAILED ? &upload->error : NULL;
}

bool
ob_upload_aborted(const ObUpload *upload)
{
	return upload->state == OB_UPLOAD_ABORTED;
}

const ObError *
ob_upload_abort_error(const ObUpload *upload)
{
	/* a completed upload leaves no parts behind */
	if (upload->exists || upload->abort_error.code == OB_OK)
		return NULL;
	return &upload->abort_error;
}

bool
ob_upload_may_exist(const ObUpload *upload)
{
	return upload->last_sent;
}

bool
ob_upload_forgotten(const ObUpload *upload)
{
	return upload->forgotten || upload->exists ||
		   (!upload->multipart && upload->id[0] == '\0');
}

bool
ob_upload_exists(const ObUpload *upload)
{
	return upload->exists;
}

void
ob_upload_object(const ObUpload *upload, ObUploadObject *object)
{
	object->bytes = upload->bytes;
	memcpy(object->etag, upload->etag, sizeof(object->etag));
	object->crc32 = crc32_of_object(upload);
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
	stats->landed = upload->landed_bytes;
	stats->parts = upload->acknowledged;
	stats->in_flight = upload->sending;
	stats->retries = ob_s3_retries(upload->s3) - upload->retries_before;
	stats->multipart = upload->multipart;
	stats->completing =
		upload->multipart && (upload->state == OB_UPLOAD_COMPLETING ||
							  upload->state == OB_UPLOAD_RECONCILING);
}

/* ---- the terminal of an export's chain ---- */

typedef struct UploadSink
{
	ObSink base;
	ObUpload *upload;
} UploadSink;

static char *
upload_window(ObSink *sink, size_t *avail, ObError *error)
{
	return ob_upload_window(((UploadSink *) sink)->upload, avail, error);
}

static ObCode
upload_advance(ObSink *sink, size_t len, ObError *error)
{
	return ob_upload_advance(((UploadSink *) sink)->upload, len, error);
}

static ObCode
upload_close(ObSink *sink, ObError *error)
{
	return ob_upload_finish(((UploadSink *) sink)->upload, error);
}

static void
upload_release(ObSink *sink)
{
	free(sink);
}

static const ObSinkOps upload_ops = {
	.name = "upload",
	.window = upload_window,
	.advance = upload_advance,
	.close = upload_close,
	.release = upload_release,
};

ObSink *
ob_sink_upload_new(ObUpload *upload, ObError *error)
{
	UploadSink *sink = calloc(1, sizeof(UploadSink));

	if (!sink)
	{
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	sink->base.ops = &upload_ops;
	sink->upload = upload;
	return &sink->base;
}
