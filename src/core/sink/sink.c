/*
 * sink.c
 *		What all sinks share: the walkers, the copying write.
 *
 * src/core/sink/sink.c
 */
#include "core/sink/sink.h"

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
