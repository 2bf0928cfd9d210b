/*
 * upload_end.c
 *		The end of an upload: completing it, and finding out what became of it.
 *
 * src/core/s3/upload_end.c
 */
#include "core/s3/upload_intern.h"

#include <stdio.h>
#include <string.h>

#define COMPLETE_TRIES 3

/* ---- is the name free? ---- */

void
ob_upload_check_name(ObUpload *upload)
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
	ob_upload_fail(upload, &error);
}

static void
on_checked(ObUpload *upload, const ObS3Call *call)
{
	upload->checking = false;
	if (call->error.code == OB_OK)
		fail_existing(upload);
	else if (call->error.http_status == 404)
		ob_upload_advance_state(upload);
	else
		ob_upload_fail(upload, &call->error);
}

/* ---- completing ---- */

static void
send_complete(ObUpload *upload)
{
	ObS3Call *call = &upload->control;

	upload->state = OB_UPLOAD_COMPLETING;
	upload->last_sent = true;
	upload->complete_tries++;
	call->crc32 = ob_upload_crc32(upload);
	call->object_size = ob_s3_endpoint(upload->s3)->aws ? upload->bytes : 0;
	ob_s3_complete(call, upload->bucket, upload->key, upload->id,
				   upload->etags, upload->nparts);
}

void
ob_upload_complete(ObUpload *upload)
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
	ob_upload_fail(upload, &error);
}

/* ---- what became of the last request ---- */

bool
ob_upload_is_ours(const ObUpload *upload, const ObS3Call *head)
{
	return head->error.code == OB_OK &&
		   strcmp(head->marker, upload->marker) == 0 &&
		   (head->content_length < 0 ||
			(uint64_t) head->content_length == upload->bytes);
}

static void
land(ObUpload *upload)
{
	ob_error_clear(&upload->error);
	upload->state = OB_UPLOAD_DONE;
}

/* With the error that was kept when the question arose. */
static void
stay_failed(ObUpload *upload, bool may_exist)
{
	upload->state = OB_UPLOAD_FAILED;
	upload->last_sent = may_exist;
}

bool
ob_upload_found_object(const ObUpload *upload, const ObError *error)
{
	return upload->keep_existing &&
		   (error->http_status == 412 ||
			strcmp(error->s3_code, "PreconditionFailed") == 0);
}

void
ob_upload_find_out(ObUpload *upload, const ObError *error)
{
	upload->state = OB_UPLOAD_RECONCILING;
	/* what is reported if it is not ours, or we cannot find out */
	upload->error = *error;
	if (ob_upload_found_object(upload, error))
		upload->error.code = OB_EEXISTS;
	ob_upload_explain(upload, &upload->error);
	ob_s3_head(&upload->control, upload->bucket, upload->key);
}

/* After a PutObject that found an object. */
static void
reconcile_object(ObUpload *upload, const ObS3Call *head)
{
	if (ob_upload_is_ours(upload, head))
	{
		upload->acknowledged++;
		upload->landed_bytes += upload->bytes;
		land(upload);
	}
	else if (head->error.code == OB_OK || head->error.http_status == 404)
		stay_failed(upload, false);
	else
		/* libcurl may have sent it twice, without a word */
		stay_failed(upload, true);
}

/* After a Complete with an unclear outcome, or one that found an object. */
static void
reconcile_complete(ObUpload *upload, ObS3Call *call)
{
	bool found = upload->error.code == OB_EEXISTS;

	if (call->verb == OB_S3_HEAD)
	{
		if (ob_upload_is_ours(upload, call))
			land(upload);
		else if (call->error.code == OB_OK && found)
			stay_failed(upload, false);
		else if (call->error.code == OB_OK || call->error.http_status == 404)
			ob_s3_list_parts(call, upload->bucket, upload->key, upload->id);
		else
			stay_failed(upload, true);
		return;
	}
	/* ListParts: the upload is still there, so Complete was not done */
	if (call->error.code == OB_OK && upload->complete_tries < COMPLETE_TRIES)
	{
		ob_error_clear(&upload->error);
		send_complete(upload);
	}
	else
		stay_failed(upload, true);
}

/* ---- the control call ---- */

void
ob_upload_on_control(ObS3Call *call)
{
	ObUpload *upload = call->arg;

	if (upload->state == OB_UPLOAD_ABORTING && call->verb == OB_S3_CREATE)
		ob_upload_created_late(upload, call);
	else if (upload->state == OB_UPLOAD_ABORTING)
		ob_upload_last_answered(upload, call);
	else if (upload->checking)
		on_checked(upload, call);
	else if (upload->state == OB_UPLOAD_RECONCILING && !upload->multipart)
		reconcile_object(upload, call);
	else if (upload->state == OB_UPLOAD_RECONCILING)
		reconcile_complete(upload, call);
	else if (call->verb == OB_S3_COMPLETE && call->error.code == OB_EUNKNOWN)
		ob_upload_find_out(upload, &call->error);
	else if (call->error.code != OB_OK)
		ob_upload_fail(upload, &call->error);
	else if (call->verb == OB_S3_COMPLETE)
		upload->state = OB_UPLOAD_DONE;
	else
	{
		snprintf(upload->id, sizeof(upload->id), "%s", call->new_id);
		ob_upload_advance_state(upload);
	}
}
