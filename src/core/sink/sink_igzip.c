/*
 * sink_igzip.c
 *		A codec: gzip by Intel's ISA-L, which calls it igzip.
 *
 * src/core/sink/sink_igzip.c
 *
 * ISA-L writes a header with neither a name nor a time.  Its output depends on
 * the input, on how that was cut into advances and windows, and on the vector
 * instructions of the processor, on nothing else.
 *
 * It counts bytes in 32 bits.  That is what a member's trailer wants, and all
 * its own uses of the counters are differences, so a member may be longer.
 *
 * Why the output fits in OB_SINK_ROOM: between two calls, ISA-L holds back at
 * most what level_buf has room for, 64 Ki symbols not yet encoded (48 bits
 * each at most: 384 KiB; level 3 has another 4 Ki of them), and 65 KiB of
 * input.  Each byte of that and of 128 KiB of new input becomes at most 16
 * bits (a literal has at most 15; a match 48, for at least 3 bytes): 386 KiB.
 * So with the headers of blocks all is about 800 KiB, whatever the data.  In
 * fact data that does not compress is stored, and gives a third of that.
 */
#include "core/sink/sink.h"

#include <isa-l/igzip_lib.h>
#include <stdlib.h>

#define IGZIP_WINDOW (128 * 1024) /* takes under 1 ms at any level */

typedef struct ObIgzipSink
{
	ObSink base;
	struct isal_zstream stream;
	bool in_pieces;
	char window[IGZIP_WINDOW];
} ObIgzipSink;

static ObCode igzip_in_pieces(ObSink *sink, ObError *error);
static char *igzip_window(ObSink *sink, size_t *avail, ObError *error);
static ObCode igzip_advance(ObSink *sink, size_t len, ObError *error);
static ObCode igzip_cut(ObSink *sink, ObError *error);
static ObCode igzip_close(ObSink *sink, ObError *error);
static void igzip_release(ObSink *sink);

static const ObSinkOps igzip_ops = {
	.name = "igzip",
	.in_pieces = igzip_in_pieces,
	.window = igzip_window,
	.advance = igzip_advance,
	.cut = igzip_cut,
	.close = igzip_close,
	.release = igzip_release,
};

static ObCode
igzip_fail(ObCode code, const char *cause, ObError *error)
{
	ob_error_what(error, "could not compress with gzip");
	return ob_error_set(error, code, "%s", cause);
}

static uint32_t
igzip_level_buf_size(int level)
{
	if (level <= 1)
		return ISAL_DEF_LVL1_DEFAULT;
	return level == 2 ? ISAL_DEF_LVL2_DEFAULT : ISAL_DEF_LVL3_DEFAULT;
}

ObSink *
ob_sink_igzip_new(ObSink *next, int level, ObError *error)
{
	ObIgzipSink *igzip = calloc(1, sizeof(*igzip));
	uint32_t size = igzip_level_buf_size(level);

	/* The memory is zeroed, since level 3 reads some of it before it writes
	 * there. */
	uint8_t *level_buf = calloc(1, size);

	if (igzip == NULL || level_buf == NULL)
	{
		free(igzip);
		free(level_buf);
		igzip_fail(OB_ENOMEM, "out of memory", error);
		return NULL;
	}
	igzip->base.ops = &igzip_ops;
	igzip->base.next = next;

	isal_deflate_init(&igzip->stream);
	igzip->stream.level = (uint32_t) level;
	igzip->stream.level_buf = level_buf;
	igzip->stream.level_buf_size = size;
	igzip->stream.gzip_flag = IGZIP_GZIP;
	return &igzip->base;
}

static ObCode
igzip_in_pieces(ObSink *sink, ObError *error)
{
	ObIgzipSink *igzip = (ObIgzipSink *) sink;

	igzip->in_pieces = true;
	igzip->stream.gzip_flag = IGZIP_DEFLATE;
	return OB_OK;
}

static char *
igzip_window(ObSink *sink, size_t *avail, ObError *error)
{
	ObIgzipSink *igzip = (ObIgzipSink *) sink;

	*avail = sizeof(igzip->window);
	return igzip->window;
}

/*
 * One call of ISA-L, straight into the window of the next sink.  A call that
 * neither takes input nor gives output cannot be (the one that ends a member
 * gives its trailer, the one that ends a piece an empty block); were it let
 * through, it would loop.
 */
static ObCode
igzip_step(ObIgzipSink *igzip, ObError *error)
{
	struct isal_zstream *stream = &igzip->stream;
	uint32_t before = stream->avail_in;
	size_t avail;
	char *out = ob_sink_window(igzip->base.next, &avail, error);
	int status;

	if (out == NULL)
		return error->code;
	stream->next_out = (uint8_t *) out;
	stream->avail_out = (uint32_t) avail;
	status = isal_deflate(stream);
	ob_isal_end();
	if (status != COMP_OK)
	{
		ob_error_what(error, "could not compress with gzip");
		return ob_error_set(error, OB_EIO, "ISA-L returned status %d", status);
	}
	if (stream->avail_in == before && stream->avail_out == avail)
		return igzip_fail(OB_EIO, "ISA-L makes no progress", error);
	return ob_sink_advance(igzip->base.next, avail - stream->avail_out, error);
}

/* Output that found no room comes with the next call. */
static ObCode
igzip_advance(ObSink *sink, size_t len, ObError *error)
{
	ObIgzipSink *igzip = (ObIgzipSink *) sink;

	igzip->stream.next_in = (uint8_t *) igzip->window;
	igzip->stream.avail_in = (uint32_t) len;
	while (igzip->stream.avail_in > 0)
	{
		ObCode code = igzip_step(igzip, error);

		if (code != OB_OK)
			return code;
	}
	return OB_OK;
}

static ObCode
igzip_cut(ObSink *sink, ObError *error)
{
	ObIgzipSink *igzip = (ObIgzipSink *) sink;
	ObCode code = igzip_close(sink, error);

	/* A reset leaves what the caller set, and ISA-L set gzip_flag to "without
	 * a header" when the header was written. */
	isal_deflate_reset(&igzip->stream);
	igzip->stream.gzip_flag = igzip->in_pieces ? IGZIP_DEFLATE : IGZIP_GZIP;
	igzip->stream.flush = NO_FLUSH;
	igzip->stream.end_of_stream = 0;
	return code;
}

/* Ends a member; of a piece, the last block, at a byte's end. */
static ObCode
igzip_close(ObSink *sink, ObError *error)
{
	ObIgzipSink *igzip = (ObIgzipSink *) sink;

	igzip->stream.next_in = (uint8_t *) igzip->window;
	igzip->stream.avail_in = 0;
	igzip->stream.flush = igzip->in_pieces ? FULL_FLUSH : NO_FLUSH;
	igzip->stream.end_of_stream = !igzip->in_pieces;
	do
	{
		ObCode code = igzip_step(igzip, error);

		if (code != OB_OK)
			return code;
	} while (igzip->stream.internal_state.state !=
			 (igzip->in_pieces ? ZSTATE_NEW_HDR : ZSTATE_END));
	return OB_OK;
}

static void
igzip_release(ObSink *sink)
{
	ObIgzipSink *igzip = (ObIgzipSink *) sink;

	free(igzip->stream.level_buf);
	free(igzip);
}
