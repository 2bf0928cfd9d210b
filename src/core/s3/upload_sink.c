/*
 * upload_sink.c
 *		The terminal of an export's chain: an upload.
 *
 * src/core/s3/upload_sink.c
 */
#include "core/s3/upload_sink.h"

#include <stdlib.h>

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
