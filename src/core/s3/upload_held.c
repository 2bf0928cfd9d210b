/*
 * upload_held.c
 *		An upload whose parts land now and that is completed later: see
 *		ObUploadHeld in upload.h.
 *
 * src/core/s3/upload_held.c
 */
#include "core/s3/upload_intern.h"

#include <stdio.h>

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
}

ObUploadPart
ob_upload_held_part(const ObUpload *upload, int number)
{
	const ObLanded *landed = &upload->landed[number - 1];

	return (ObUploadPart){upload->etags[number - 1], landed->len,
						  landed->crc32};
}

static ObCode
copy_parts(ObUpload *upload, const ObUploadPart *parts, int nparts)
{
	upload->acknowledged_bytes = 0;
	for (int i = 0; i < nparts; i++)
	{
		upload->acknowledged_bytes += parts[i].len;
		if (!ob_upload_note_landed(upload, i + 1, &parts[i]))
			return OB_ENOMEM;
	}
	return OB_OK;
}

ObCode
ob_upload_adopt(ObUpload *upload, const ObUploadHeld *held,
				const ObUploadPart *parts, ObError *error)
{
	if (upload->state != OB_UPLOAD_FILLING || upload->filling ||
		upload->id[0] != '\0')
		return ob_error_set(error, OB_EINVAL, "the upload has begun already");
	snprintf(upload->id, sizeof(upload->id), "%s", held->id);
	snprintf(upload->marker, sizeof(upload->marker), "%s", held->marker);
	upload->bytes = held->bytes;
	upload->nparts = upload->acknowledged = held->nparts;
	upload->multipart = held->nparts > 0;
	if (copy_parts(upload, parts, held->nparts) != OB_OK)
		return ob_upload_fail_memory(upload, error);
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
	/* nothing was ever sent of an empty object: it is written now */
	if (!upload->multipart && !ob_upload_window(upload, &avail, &error))
		return;
	upload->state = OB_UPLOAD_FINISHING;
	ob_upload_advance_state(upload);
}
