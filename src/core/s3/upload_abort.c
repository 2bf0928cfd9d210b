/*
 * upload_abort.c
 *		Giving an upload up, and what has become of its object then.
 *
 * src/core/s3/upload_abort.c
 *
 * The last request, a Complete or a PutObject, may be under way.  Then an
 * Abort proves nothing: Ceph RGW 16 answers it with success, and the Complete
 * as well, and has the object.  Only the answer to the last request tells for
 * certain, so that is waited for before anything else is sent, as long as the
 * host has patience.  After that a HEAD tells our object by its marker.  That
 * there is none yet does not prove that there will be none.
 */
#include "core/s3/upload_intern.h"

#include <stdio.h>

static void
end(ObUpload *upload)
{
	ob_s3_call_cancel(&upload->closing);
	if (upload->out)
		ob_s3_call_cancel(upload->out);
	upload->out = NULL;
	upload->state = OB_UPLOAD_ABORTED;
}

static void
found(ObUpload *upload)
{
	upload->exists = true;
	upload->last_sent = true;
	end(upload);
}

/* ---- what is said to the store ---- */

/* An abort is tried again even when nothing else is any more. */
static void
send_abort(ObUpload *upload, int delay_ms)
{
	upload->closing.delay_ms = delay_ms;
	ob_s3_abort(&upload->closing, upload->bucket, upload->key, upload->id);
}

static void
look(ObUpload *upload, int delay_ms)
{
	if (!upload->doubtful && !upload->out)
	{
		upload->last_sent = false;
		end(upload);
		return;
	}
	upload->closing.delay_ms = delay_ms;
	ob_s3_head(&upload->closing, upload->bucket, upload->key);
	/* a store that cannot be reached must not keep the Abort from counting */
	upload->closing.max_attempts = 1;
}

static void
give_up(ObUpload *upload, int delay_ms)
{
	if (upload->id[0] != '\0')
		send_abort(upload, delay_ms);
	else
		look(upload, delay_ms);
}

/* ---- what it answers ---- */

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
	look(upload, 0);
}

/* What is not there now may come, if something is still under way. */
static void
on_looked(ObUpload *upload, const ObS3Call *call)
{
	if (ob_upload_is_ours(upload, call))
	{
		found(upload);
		return;
	}
	if (call->error.code == OB_OK || call->error.http_status == 404)
		upload->last_sent = upload->lost || upload->out;
	else
		upload->last_sent = true;
	end(upload);
}

void
ob_upload_on_closing(ObS3Call *call)
{
	ObUpload *upload = call->arg;

	if (call->verb == OB_S3_HEAD)
		on_looked(upload, call);
	else
		on_aborted(upload, call);
}

/* Nothing was written: what the store says of a request that it refuses. */
static bool
is_refusal(const ObUpload *upload, const ObS3Call *call)
{
	return call->error.code != OB_EUNKNOWN && call->retry.attempts <= 1 &&
		   call->error.http_status >= 400 && call->error.http_status < 500 &&
		   !ob_upload_found_object(upload, &call->error);
}

void
ob_upload_last_answered(ObUpload *upload, ObS3Call *call)
{
	upload->out = NULL;
	if (call->error.code == OB_OK)
	{
		found(upload);
		return;
	}
	if (call->uncertain || call->error.code == OB_EUNKNOWN)
		upload->lost = true;
	upload->doubtful = upload->lost || !is_refusal(upload, call);
	/* what waits for this answer need not wait any more */
	if (!ob_http_sent(&upload->closing.request))
	{
		ob_s3_call_cancel(&upload->closing);
		give_up(upload, 0);
	}
}

/* Its answer names what must be aborted. */
void
ob_upload_created_late(ObUpload *upload, const ObS3Call *call)
{
	if (call->error.code == OB_OK)
		snprintf(upload->id, sizeof(upload->id), "%s", call->new_id);
	give_up(upload, 0);
}

/* ---- how it begins ---- */

/* What is known of the object at this moment. */
static void
take_stock(ObUpload *upload)
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
				upload->out = last;
			upload->lost = last->uncertain || upload->complete_tries > 1;
			upload->doubtful = upload->lost || last->retry.attempts > 0;
			break;
		case OB_UPLOAD_RECONCILING:
			upload->lost = upload->error.code != OB_EEXISTS;
			upload->doubtful = true;
			break;
		default:
			upload->lost = upload->doubtful = upload->last_sent;
			break;
	}
	upload->last_sent = upload->doubtful || upload->out;
}

void
ob_upload_abort(ObUpload *upload, int patience_ms)
{
	if (upload->state >= OB_UPLOAD_ABORTING)
		return;
	if (upload->state == OB_UPLOAD_DONE)
	{
		found(upload);
		return;
	}
	take_stock(upload);
	upload->abort_again = upload->sending > 0;
	upload->state = OB_UPLOAD_ABORTING;
	if (!upload->out || upload->multipart)
		ob_parts_cancel(&upload->parts);
	upload->sending = 0;
	/* an answer to Create that is under way is waited for; one that S3 has not
	 * seen, or another try, would only make something new */
	if (upload->control.verb == OB_S3_CREATE &&
		ob_s3_call_running(&upload->control) &&
		ob_http_sent(&upload->control.request))
	{
		upload->control.max_attempts = 1;
		return;
	}
	if (upload->out != &upload->control)
		ob_s3_call_cancel(&upload->control);
	if (upload->out)
		ob_s3_call_last_try(upload->out);
	give_up(upload, upload->out ? patience_ms : 0);
}
