/*
 * sinks.h
 *		Terminals of sink chains that only tests use.
 *
 * test/core/sinks.h
 */
#ifndef OB_TEST_SINKS_H
#define OB_TEST_SINKS_H

#include "core/sink/sink.h"

/* Writes a local file; one whose chain fails keeps what was written. */
extern ObSink *ob_sink_file_new(const char *path, ObError *error);

/* Discards what is written. */
extern ObSink *ob_sink_null_new(ObError *error);

#endif
