/*
 * sink_buf.h
 *		A terminal that keeps the bytes: the few that an object begins with.
 *
 * src/core/sink/sink_buf.h
 */
#ifndef OB_SINK_BUF_H
#define OB_SINK_BUF_H

#include "core/base/buf.h"
#include "core/sink/sink.h"

/* Appends to the buffer, which is borrowed and must outlive the sink; NULL on
 * error.  More than the buffer's maximum is an error. */
extern ObSink *ob_sink_buf_new(ObBuf *buf, ObError *error);

/* Compresses a few bytes as one piece of an object (see ob_chain_in_pieces()),
 * and appends it to the buffer. */
extern ObCode ob_codec_piece(ObSink *(*create)(ObSink *next, int level,
											   ObError *error),
							 int level, const void *raw, size_t len,
							 ObBuf *out, ObError *error) OB_MUST_CHECK;

#endif
