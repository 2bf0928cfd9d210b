/*
 * sinks.h
 *		Terminals of sink chains that only tests use.
 *
 * test/core/sinks.h
 */
#ifndef OB_TEST_SINKS_H
#define OB_TEST_SINKS_H

#include "core/sink/sink.h"

/* Writes a local file; if its chain fails, it keeps the bytes written so
 * far. */
extern ObSink *ob_sink_file_new(const char *path, ObError *error);

/* Discards everything. */
extern ObSink *ob_sink_null_new(ObError *error);

#endif
