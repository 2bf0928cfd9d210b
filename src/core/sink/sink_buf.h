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

#endif
