/*
 * upload_sink.h
 *		The terminal of an export's chain: an upload.
 *
 * src/core/s3/upload_sink.h
 */
#ifndef OB_SINK_UPLOAD_H
#define OB_SINK_UPLOAD_H

#include "core/sink/sink.h"
#include "core/s3/upload.h"

/* Borrows the upload, which must outlive the sink; NULL on error.  Its close
 * finishes the upload, but does not wait for its end. */
extern ObSink *ob_sink_upload_new(ObUpload *upload, ObError *error);

#endif
