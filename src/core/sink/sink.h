/*
 * sink.h
 *		The chain that encoded bytes go through: compression, then a terminal.
 *
 * src/core/sink/sink.h
 *
 * A chain is encoder -> [gzip | zstd | lz4] -> upload (or file, or null).  The
 * upstream writes straight into the memory of the next sink: it gets a window,
 * writes, and calls advance with the length.  A codec's own output goes into
 * the window of its successor in the same way, so bytes are copied only where
 * a codec transforms them.
 *
 * Rules:
 * - Nodes never forward open, cut, close or release: the ob_chain_* walkers do
 *   (open from the last to the first, cut and close from the first to the
 *   last, then release), and only they call these.
 * - Sinks never wait and never fail for lack of room.  Back-pressure is at the
 *   top: before it advances, the host makes sure that the terminal has room
 *   for OB_SINK_ROOM more bytes, and then advances at most OB_SINK_WINDOW_MAX
 *   bytes, and cuts at most once, until it looks again.  A codec's output for
 *   that much input, with a cut anywhere in it, and what it still holds at
 *   close, must fit in OB_SINK_ROOM.
 * - Nothing can be cancelled inside a call, so a codec whose slow levels would
 *   need long for a window of 64 KiB hands out smaller ones.
 * - release works at any time, also after an error or without open, cannot
 *   fail and does no input or output.  It frees the node.
 */
#ifndef OB_SINK_H
#define OB_SINK_H

#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/hash.h"
#include "core/base/error.h"

#define OB_SINK_WINDOW_MIN 8192         /* a window is at least this */
#define OB_SINK_WINDOW_MAX (128 * 1024) /* and at most this */
#define OB_SINK_ROOM (1024 * 1024)

typedef struct ObSink ObSink;

typedef struct ObSinkOps
{
	const char *name;

	/* Called before the first window.  NULL: nothing to do. */
	ObCode (*open)(ObSink *sink, ObError *error);

	/* Called after open and before the first window, if the chain writes
	 * pieces of an object: see ob_chain_in_pieces().  NULL: nothing to do. */
	ObCode (*in_pieces)(ObSink *sink, ObError *error);

	/* Where upstream may write; *avail is OB_SINK_WINDOW_MIN to
	 * OB_SINK_WINDOW_MAX.  NULL on error.  Valid until the next call. */
	char *(*window)(ObSink *sink, size_t *avail, ObError *error);

	/* Upstream wrote len bytes at the start of the window (0 is allowed). */
	ObCode (*advance)(ObSink *sink, size_t len, ObError *error);

	/* Makes the input so far decodable by itself: a codec ends its member,
	 * frame or piece and flushes it into the next sink; the next input begins
	 * another one.  Called only if something was advanced since the last cut
	 * or the beginning.  NULL: nothing to do (terminals). */
	ObCode (*cut)(ObSink *sink, ObError *error);

	/* No more input: flush into the next sink.  Not called where a cut left
	 * nothing to flush.  NULL: nothing to do. */
	ObCode (*close)(ObSink *sink, ObError *error);

	/* Frees everything, the node included. */
	void (*release)(ObSink *sink);
} ObSinkOps;

/* Each sink embeds this struct as its first member. */
struct ObSink
{
	const ObSinkOps *ops;
	ObSink *next;    /* NULL for a terminal */
	uint64_t bytes;  /* accepted so far; counted by ob_sink_advance */
	uint64_t cut_at; /* bytes at the last cut; by ob_chain_cut */
};

static inline char *
ob_sink_window(ObSink *sink, size_t *avail, ObError *error)
{
	return sink->ops->window(sink, avail, error);
}

static inline OB_MUST_CHECK ObCode
ob_sink_advance(ObSink *sink, size_t len, ObError *error)
{
	sink->bytes += len;
	return sink->ops->advance(sink, len, error);
}

/* Copies bytes into the sink: for codecs' headers, tests and small texts. */
extern ObCode ob_sink_write(ObSink *sink, const void *data, size_t len,
							ObError *error) OB_MUST_CHECK;

extern ObCode ob_chain_open(ObSink *first, ObError *error) OB_MUST_CHECK;

/*
 * Makes the input so far decodable by itself.  Writes nothing if nothing was
 * advanced since the last cut or the beginning.  Members of gzip and frames of
 * zstd and lz4 may follow each other: the tools read them as one.  A close
 * after a cut, with no input between, adds nothing; a close without any input
 * at all makes one empty member or frame.
 */
extern ObCode ob_chain_cut(ObSink *first, ObError *error) OB_MUST_CHECK;

extern ObCode ob_chain_close(ObSink *first, ObError *error) OB_MUST_CHECK;
extern void ob_chain_release(ObSink *first); /* NULL is allowed */

/*
 * Several processes can write one object, although none of them knows what
 * comes before its own bytes.  Such an object is a head, then pieces in any
 * order, each of which one chain made between two cuts, and an end.  Frames
 * are as few as the formats allow, since there are readers that stop at the
 * first one, without an error:
 *
 *	   gzip	 one member.  A piece is blocks of deflate that refer to nothing
 *			 before them and end at a byte; the end has the CRC-32 and the
 *			 length of all.
 *	   lz4	 one frame.  A piece is independent blocks.  Their checksums are in
 *			 the place of one of the content, which nobody could compute: XXH32
 *			 of pieces cannot be combined.
 *	   zstd	 a frame a piece.  A block may repeat offsets of the block before
 *			 it, or what a frame begins with, so it cannot be moved into
 * another frame.  The head is put into the first one, as blocks that are not
 *			 compressed, so that this one has rows, too; its checksum goes.
 *
 * A piece must not be empty.  Without compression, all of this is nothing.
 */
extern ObCode ob_chain_in_pieces(ObSink *first, ObError *error) OB_MUST_CHECK;

/* The beginning of an object.  It may replace some bytes at the beginning and
 * the end of the first piece. */
typedef struct ObHead
{
	const char *data;
	size_t len;
	size_t skip; /* bytes that the first piece loses at its beginning */
	size_t drop; /* and at its end */
} ObHead;

/*
 * Codecs.  A constructor returns a node that refers to "next", but does not
 * own it; NULL on error.  The caller has checked that level is in the codec's
 * range.
 */
typedef struct ObCodec
{
	const char *name;      /* the option's value */
	const char *extension; /* ".gz", or "" for none */
	int min_level;
	int max_level;
	int default_level;
	/* NULL for "none": the chain then has no node for it */
	ObSink *(*create)(ObSink *next, int level, ObError *error);

	/* The parts of an object in pieces; see the functions of these names. */
	ObCode (*head)(int level, const void *raw, size_t len, ObBuf *out,
				   ObError *error);
	size_t skip;
	size_t drop;
	size_t (*end)(const ObRaw *raw, char *out);
	bool crc32; /* end needs the CRC-32 of the raw bytes */
} ObCodec;

/* Returns NULL if no codec has that name. */
extern const ObCodec *ob_codec_lookup(const char *name);

/* All codecs, ended by an entry whose name is NULL. */
extern const ObCodec *ob_codecs(void);

/* Appends the head of an object in pieces: "raw" (a header line, or nothing),
 * framed as the pieces are. */
extern ObCode ob_codec_head(const ObCodec *codec, int level, const void *raw,
							size_t len, ObBuf *out,
							ObError *error) OB_MUST_CHECK;

/* Describes that head, once its bytes are in their final place. */
extern ObHead ob_codec_head_of(const ObCodec *codec, const char *data,
							   size_t len);

#define OB_CODEC_END_MAX 16

/* Writes the end of an object in pieces, given its raw bytes with the head's;
 * returns the length. */
extern size_t ob_codec_end(const ObCodec *codec, const ObRaw *raw, char *out);

extern ObCode ob_gzip_head(int level, const void *raw, size_t len, ObBuf *out,
						   ObError *error);
extern ObCode ob_zstd_head(int level, const void *raw, size_t len, ObBuf *out,
						   ObError *error);
extern ObCode ob_lz4_head(int level, const void *raw, size_t len, ObBuf *out,
						  ObError *error);
extern size_t ob_gzip_end(const ObRaw *raw, char *out);
extern size_t ob_lz4_end(const ObRaw *raw, char *out);

extern ObSink *ob_sink_gzip_new(ObSink *next, int level, ObError *error);
extern ObSink *ob_sink_zstd_new(ObSink *next, int level, ObError *error);
extern ObSink *ob_sink_lz4_new(ObSink *next, int level, ObError *error);

/* ob_sink_gzip_new() chooses one of these two codecs: ISA-L's for levels 1 to
 * 3, zlib's for levels 1 to 9. */
extern ObSink *ob_sink_igzip_new(ObSink *next, int level, ObError *error);
extern ObSink *ob_sink_zlib_new(ObSink *next, int level, ObError *error);

/* Makes a terminal that keeps the bytes: the few that an object begins with.
 * It appends to the buffer, which is borrowed and must outlive the sink; NULL
 * on error.  More than the buffer's maximum is an error. */
extern ObSink *ob_sink_buf_new(ObBuf *buf, ObError *error);

/* Compresses a few bytes as one piece of an object (see ob_chain_in_pieces()),
 * and appends it to the buffer. */
extern ObCode ob_codec_piece(ObSink *(*create)(ObSink *next, int level,
											   ObError *error),
							 int level, const void *raw, size_t len,
							 ObBuf *out, ObError *error) OB_MUST_CHECK;

#endif
