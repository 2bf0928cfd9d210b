/*
 * sink_buf.c
 *		A terminal that keeps the bytes: the few that an object begins with.
 *
 * src/core/sink/sink_buf.c
 */
#include "core/sink/sink_buf.h"

#include <stdlib.h>

typedef struct BufSink
{
	ObSink base;
	ObBuf *buf;
	char window[OB_SINK_WINDOW_MIN];
} BufSink;

static char *
buf_window(ObSink *sink, size_t *avail, ObError *error)
{
	BufSink *self = (BufSink *) sink;

	(void) error;
	*avail = sizeof(self->window);
	return self->window;
}

static ObCode
buf_advance(ObSink *sink, size_t len, ObError *error)
{
	BufSink *self = (BufSink *) sink;

	ob_buf_add(self->buf, self->window, len);
	return ob_buf_check(self->buf, error);
}

static void
buf_release(ObSink *sink)
{
	free(sink);
}

static const ObSinkOps buf_ops = {
	.name = "buf",
	.window = buf_window,
	.advance = buf_advance,
	.release = buf_release,
};

ObSink *
ob_sink_buf_new(ObBuf *buf, ObError *error)
{
	BufSink *sink = calloc(1, sizeof(BufSink));

	if (!sink)
	{
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	sink->base.ops = &buf_ops;
	sink->buf = buf;
	return &sink->base;
}

/* ---- one piece, kept ---- */

static ObCode
write_piece(ObSink *chain, const void *raw, size_t len, ObError *error)
{
	ObCode code = ob_chain_open(chain, error);

	if (code == OB_OK)
		code = ob_chain_in_pieces(chain, error);
	if (code == OB_OK)
		code = ob_sink_write(chain, raw, len, error);
	return code == OB_OK ? ob_chain_cut(chain, error) : code;
}

ObCode
ob_codec_piece(ObSink *(*create)(ObSink *next, int level, ObError *error),
			   int level, const void *raw, size_t len, ObBuf *out,
			   ObError *error)
{
	ObSink *buf = ob_sink_buf_new(out, error);
	ObSink *chain = buf == NULL ? NULL : create(buf, level, error);
	ObCode code = error->code;

	if (chain != NULL)
		code = write_piece(chain, raw, len, error);
	ob_chain_release(chain != NULL ? chain : buf);
	return code;
}
