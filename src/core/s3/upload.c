/*
 * upload.c
 *		One object, uploaded while it is being produced.
 *
 * src/core/s3/upload.c
 *
 * Parts and their buffers are part.c's.  A buffer has some bytes beyond the
 * part's size.  Upstream may write past the end of the part into them; cut()
 * then moves these few bytes into the next buffer.  So every part but the last
 * has exactly its size, whatever upstream writes.
 */
#include "core/s3/upload.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/s3/upload_intern.h"

#define ALLOWED_AT_FIRST 2
/* One more part may be in flight after so many have landed unthrottled. */
#define UNTHROTTLED 16

static void on_part(ObS3Call *call);
static void on_throttled(ObS3Call *call);

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

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	for (int i = 0; i < OB_UPLOAD_MARKER_BYTES; i++)
		snprintf(upload->marker + 2 * i, 3, "%02x", bytes[i]);
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

void
ob_upload_set_memory(ObUpload *upload, size_t memory)
{
	upload->parts.memory = memory;
	/* one part is filled while at least one other is on its way */
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

/* What all calls of the upload have in common. */
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
make_parts(ObUpload *upload, bool crc32)
{
	if (!ob_parts_init(&upload->parts, upload->connections + 1, upload->s3,
					   upload->checksum, on_part, upload))
		return false;
	for (int i = 0; i < upload->parts.n; i++)
	{
		ObPart *part = &upload->parts.parts[i];
		ObS3Call *call = &part->call;

		if (crc32)
			part->has_crc32 = true;
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
	ob_upload_set_memory(upload, options->memory);
	upload->connections = options->connections;
	upload->limit = options->connections;
	upload->allowed = ALLOWED_AT_FIRST;
	upload->max_parts = options->max_parts;
	upload->retries_before = ob_s3_retries(upload->s3);
	ob_retry_quota_init(&upload->quota);
	ob_s3_call_init(&upload->control, upload->s3, ob_upload_on_control,
					upload);
	ob_s3_call_init(&upload->closing, upload->s3, ob_upload_on_closing,
					upload);
	if (!copy_options(upload, options) || !make_parts(upload, options->crc32))
	{
		ob_error_set(error, OB_ENOMEM, "out of memory");
		ob_upload_free(upload);
		return NULL;
	}
	set_up_call(upload, &upload->control);
	set_up_call(upload, &upload->closing);
	upload->closing.quota = NULL;
	if (upload->keep_existing && !endpoint->aws)
		ob_upload_check_name(upload);
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
	for (int i = 0; i < upload->landed_cap; i++)
		free(upload->etags[i]);
	free(upload->etags);
	free(upload->landed);
	free(upload->bucket);
	free(upload->key);
	free(upload);
}

/* Says it as whoever asked not to replace an object understands it. */
void
ob_upload_explain(const ObUpload *upload, ObError *error)
{
	if (error->code != OB_EEXISTS || !upload->keep_existing)
		return;
	snprintf(error->cause, sizeof(error->cause), "%s",
			 error->http_status == 409
				 ? "another request was writing an object of that name"
				 : "an object of that name exists already");
}

void
ob_upload_fail(ObUpload *upload, const ObError *error)
{
	if (upload->state >= OB_UPLOAD_DONE)
		return;
	upload->error = *error;
	ob_upload_explain(upload, &upload->error);
	upload->state = OB_UPLOAD_FAILED;
	/* a refusal is certain, unless an earlier Complete was unclear */
	upload->last_sent =
		error->code == OB_EUNKNOWN || upload->complete_tries > 1;
}

ObCode
ob_upload_fail_memory(ObUpload *upload, ObError *error)
{
	ObError failure;

	ob_error_clear(&failure);
	ob_error_set(&failure, OB_ENOMEM, "out of memory");
	ob_error_what(&failure, "could not upload \"s3://%s/%s\"", upload->bucket,
				  upload->key);
	ob_upload_fail(upload, &failure);
	if (error)
		*error = upload->error;
	return OB_ENOMEM;
}

/* ---- parts ---- */

static size_t
next_part_size(const ObUpload *upload)
{
	/* the part that is being filled has no number yet, but will take one */
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

/* Room in the arrays of parts that have landed. */
static bool
grow_landed(ObUpload *upload, int number)
{
	int cap = upload->landed_cap > 0 ? upload->landed_cap : 64;
	size_t more;
	char **etags;
	ObLanded *landed;

	if (number <= upload->landed_cap)
		return true;
	while (cap < number)
		cap *= 2;
	etags = realloc(upload->etags, (size_t) cap * sizeof(char *));
	if (!etags)
		return false;
	upload->etags = etags;
	landed = realloc(upload->landed, (size_t) cap * sizeof(ObLanded));
	if (!landed)
		return false;
	upload->landed = landed;
	more = (size_t) (cap - upload->landed_cap);
	memset(etags + upload->landed_cap, 0, more * sizeof(char *));
	memset(landed + upload->landed_cap, 0, more * sizeof(ObLanded));
	upload->landed_cap = cap;
	return true;
}

bool
ob_upload_note_landed(ObUpload *upload, int number, const ObUploadPart *part)
{
	if (!grow_landed(upload, number))
		return false;
	upload->landed[number - 1] = (ObLanded){part->len, part->crc32};
	upload->etags[number - 1] = strdup(part->etag);
	return upload->etags[number - 1] != NULL;
}

static ObCode
fail_limit(ObUpload *upload, ObError *error)
{
	ob_error_set(error, OB_ELIMIT, "the object would need more than %d parts",
				 upload->max_parts);
	ob_error_what(error, "could not upload \"s3://%s/%s\"", upload->bucket,
				  upload->key);
	ob_upload_fail(upload, error);
	return OB_ELIMIT;
}

ObCode
ob_upload_number_part(ObUpload *upload, ObPart *part, ObError *error)
{
	const ObUploadShare *share = upload->share;
	int number = share ? share->take_number(share->arg, &part->raw)
					   : upload->nparts + 1;
	size_t own = part->len;

	if (number > upload->max_parts)
		return fail_limit(upload, error);
	if (share && number == 1 && !ob_part_add_head(part, &share->head))
		return ob_upload_fail_memory(upload, error);
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
cut(ObUpload *upload, ObError *error)
{
	ObPart *full = upload->filling;
	size_t extra = full->len - full->size;

	if (upload->nparts >= upload->max_parts - 1)
		return fail_limit(upload, error);
	if (!begin_part(upload))
		return ob_upload_fail_memory(upload, error);
	memcpy(upload->filling->data, full->data + full->size, extra);
	upload->filling->len = extra;
	full->len = full->size;
	if (ob_upload_number_part(upload, full, error) != OB_OK)
		return error->code;
	ob_upload_advance_state(upload);
	return OB_OK;
}

/* ---- writing ---- */

char *
ob_upload_window(ObUpload *upload, size_t *avail, ObError *error)
{
	char *window;

	if (upload->state != OB_UPLOAD_FILLING)
	{
		*error = upload->error;
		ob_error_set(error, OB_EINVAL, "the upload takes no more bytes");
		return NULL;
	}
	if (!upload->filling && !begin_part(upload))
	{
		ob_upload_fail_memory(upload, error);
		return NULL;
	}
	if (!upload->share && upload->filling->len > upload->filling->size &&
		cut(upload, error) != OB_OK)
		return NULL;
	/* a row may be longer than what is left, and shared parts end where rows
	 * do */
	window = ob_part_window(&upload->parts, upload->filling,
							upload->share != NULL, avail);
	if (!window)
		ob_upload_fail_memory(upload, error);
	return window;
}

ObCode
ob_upload_advance(ObUpload *upload, size_t len, ObError *error)
{
	ObPart *part = upload->filling;

	if (upload->state != OB_UPLOAD_FILLING || !upload->filling)
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
		return ob_upload_fail_memory(upload, error);
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
		ob_upload_advance_state(upload);
	}
}

ObCode
ob_upload_finish(ObUpload *upload, ObError *error)
{
	size_t avail;

	if (upload->state != OB_UPLOAD_FILLING ||
		!ob_upload_window(upload, &avail, error))
	{
		*error = upload->error;
		return ob_error_set(error, OB_EINVAL,
							"the upload takes no more bytes");
	}
	if ((upload->multipart || (upload->hold && upload->filling->len > 0)) &&
		ob_upload_number_part(upload, upload->filling, error) != OB_OK)
		return error->code;
	upload->state = OB_UPLOAD_FINISHING;
	ob_upload_advance_state(upload);
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
	{
		part->call.crc32 = part->crc32;
		return true;
	}
	ob_upload_fail_memory(upload, NULL);
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

/* Full parts go out in the order of their numbers. */
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

void
ob_upload_advance_state(ObUpload *upload)
{
	if (upload->checking || (upload->state != OB_UPLOAD_FILLING &&
							 upload->state != OB_UPLOAD_FINISHING))
		return;
	if (!upload->multipart)
	{
		/* S3 takes no part without a byte, so one that is held waits */
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
		ob_upload_complete(upload);
}

/* False: that failed the upload. */
static bool
record_part(ObUpload *upload, const ObPart *part, const char *etag)
{
	const ObUploadShare *share = upload->share;
	ObUploadPart landed = {etag, part->len, part->crc32};
	ObError error;

	ob_error_clear(&error);
	if (!share)
	{
		if (ob_upload_note_landed(upload, part->number, &landed))
			return true;
		ob_upload_fail_memory(upload, &error);
		return false;
	}
	if (share->landed(share->arg, part->number, &landed, &error) == OB_OK)
		return true;
	ob_error_what(&error, "could not upload \"s3://%s/%s\"", upload->bucket,
				  upload->key);
	ob_upload_fail(upload, &error);
	return false;
}

/* The store asks for fewer requests: half as many parts at a time. */
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
	if (!upload->multipart && ob_upload_found_object(upload, &call->error))
	{
		ob_upload_find_out(upload, &call->error);
		return;
	}
	ob_upload_fail(upload, &call->error);
	/* the answer to a PutObject may have been lost on its way */
	if (!upload->multipart && call->uncertain)
		upload->last_sent = true;
}

static void
on_part(ObS3Call *call)
{
	ObPart *part = call->arg;
	ObUpload *upload = part->owner;

	if (upload->state == OB_UPLOAD_ABORTING)
	{
		ob_upload_last_answered(upload, call);
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
		upload->state = OB_UPLOAD_DONE;
		return;
	}
	if (!record_part(upload, part, call->etag))
		return;
	ob_upload_advance_state(upload);
}

/* ---- asking ---- */

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
	/* an upload that was completed has no parts any more */
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

uint32_t
ob_upload_crc32(const ObUpload *upload)
{
	const ObLanded *landed = upload->landed;
	uint32_t crc32 = 0;

	if (!upload->multipart)
		return upload->crc32;
	for (int i = 0; i < upload->nparts; i++)
		crc32 = ob_crc32_combine(crc32, landed[i].crc32, landed[i].len);
	return crc32;
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
