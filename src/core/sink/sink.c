/*
 * sink.c
 *		What all sinks share: the walkers, the copying write.
 *
 * src/core/sink/sink.c
 */
#include "core/sink/sink.h"

#include <stdlib.h>
#include <string.h>

ObCode
ob_sink_write(ObSink *sink, const void *data, size_t len, ObError *error)
{
	const char *from = data;

	while (len > 0)
	{
		size_t avail;
		char *window = ob_sink_window(sink, &avail, error);
		ObCode code;

		if (window == NULL)
			return error->code;
		if (avail > len)
			avail = len;
		memcpy(window, from, avail);
		code = ob_sink_advance(sink, avail, error);
		if (code != OB_OK)
			return code;
		from += avail;
		len -= avail;
	}
	return OB_OK;
}

/* Opens from the last to the first, since a node's open may write into its
 * successor.  A chain has two or three nodes, so the recursion is shallow. */
ObCode
ob_chain_open(ObSink *first, ObError *error)
{
	if (first->next != NULL)
	{
		ObCode code = ob_chain_open(first->next, error);

		if (code != OB_OK)
			return code;
	}
	return first->ops->open == NULL ? OB_OK : first->ops->open(first, error);
}

ObCode
ob_chain_cut(ObSink *first, ObError *error)
{
	ObSink *sink;

	for (sink = first; sink != NULL; sink = sink->next)
	{
		ObCode code;

		if (sink->ops->cut == NULL || sink->bytes == sink->cut_at)
			continue;
		code = sink->ops->cut(sink, error);
		if (code != OB_OK)
			return code;
		sink->cut_at = sink->bytes;
	}
	return OB_OK;
}

ObCode
ob_chain_in_pieces(ObSink *first, ObError *error)
{
	ObSink *sink;

	for (sink = first; sink != NULL; sink = sink->next)
	{
		ObCode code;

		if (sink->ops->in_pieces == NULL)
			continue;
		code = sink->ops->in_pieces(sink, error);
		if (code != OB_OK)
			return code;
	}
	return OB_OK;
}

ObCode
ob_chain_close(ObSink *first, ObError *error)
{
	ObSink *sink;

	for (sink = first; sink != NULL; sink = sink->next)
	{
		ObCode code;

		if (sink->ops->close == NULL)
			continue;
		/* All was cut: another, empty frame would be noise. */
		if (sink->cut_at > 0 && sink->bytes == sink->cut_at)
			continue;
		code = sink->ops->close(sink, error);
		if (code != OB_OK)
			return code;
	}
	return OB_OK;
}

void
ob_chain_release(ObSink *first)
{
	while (first != NULL)
	{
		ObSink *next = first->next;

		first->ops->release(first);
		first = next;
	}
}

/* ---- a terminal that keeps the bytes ---- */

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
