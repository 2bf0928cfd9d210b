/*
 * upload_shared.c
 *		An upload that several processes feed: see ObUploadShare in upload.h.
 *
 * src/core/s3/upload_shared.c
 */
#include "core/s3/upload_intern.h"

#include <stdio.h>

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
	ob_upload_set_memory(upload, memory);
	if (connections < upload->connections)
		upload->limit = upload->connections = connections;
	if (id)
	{
		snprintf(upload->id, sizeof(upload->id), "%s", id);
		/* whether the name is free is the first one's business */
		ob_s3_call_cancel(&upload->control);
		upload->checking = false;
	}
	ob_upload_advance_state(upload);
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
	{
		*error = upload->error;
		return ob_error_set(error, OB_EINVAL, "there is no part to end");
	}
	if (ob_upload_number_part(upload, upload->filling, error) != OB_OK)
		return error->code;
	upload->filling = NULL;
	ob_upload_advance_state(upload);
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

	if (upload->state != OB_UPLOAD_FILLING || !upload->share ||
		upload->filling)
	{
		*error = upload->error;
		return ob_error_set(error, OB_EINVAL,
							"the upload takes no more bytes");
	}
	for (int i = 0; i < nparts; i++)
	{
		sum += parts[i].len;
		if (!ob_upload_note_landed(upload, i + 1, &parts[i]))
			return ob_upload_fail_memory(upload, error);
	}
	upload->nparts = nparts;
	upload->bytes = bytes;
	upload->acknowledged_bytes = sum;
	ob_upload_complete(upload);
	return OB_OK;
}
