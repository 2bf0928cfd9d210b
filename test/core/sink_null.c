/*
 * sink_null.c
 *		A terminal that discards, for measuring the sinks before it.
 *
 * test/core/sink_null.c
 */
#include "sinks.h"

#include <stdlib.h>

typedef struct ObNullSink
{
	ObSink base;
	char window[OB_SINK_WINDOW_MAX];
} ObNullSink;

static char *null_window(ObSink *sink, size_t *avail, ObError *error);
static ObCode null_advance(ObSink *sink, size_t len, ObError *error);
static void null_release(ObSink *sink);

static const ObSinkOps null_ops = {
	.name = "null",
	.window = null_window,
	.advance = null_advance,
	.release = null_release,
};

ObSink *
ob_sink_null_new(ObError *error)
{
	ObNullSink *null = calloc(1, sizeof(*null));

	if (null == NULL)
	{
		ob_error_what(error, "could not make a sink that discards");
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	null->base.ops = &null_ops;
	return &null->base;
}

static char *
null_window(ObSink *sink, size_t *avail, ObError *error)
{
	ObNullSink *null = (ObNullSink *) sink;

	*avail = sizeof(null->window);
	return null->window;
}

static ObCode
null_advance(ObSink *sink, size_t len, ObError *error)
{
	return OB_OK;
}

static void
null_release(ObSink *sink)
{
	free(sink);
}
