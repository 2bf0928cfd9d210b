/*
 * sink_gzip.c
 *		A codec: gzip, by the library that suits the level.
 *
 * src/core/sink/sink_gzip.c
 *
 * Levels 1 to 3 are ISA-L's, 4 to 9 zlib's.  Level 1 is the default: it is
 * 18 times as fast as zlib's usual 6 and makes 16 to 22% more bytes of tables
 * like TPC-H's lineitem, so that compressing is no longer what an export
 * waits for.
 */
#include "core/sink/sink.h"

#define ISAL_MAX_LEVEL 3

ObSink *
ob_sink_gzip_new(ObSink *next, int level, ObError *error)
{
	return level <= ISAL_MAX_LEVEL ? ob_sink_igzip_new(next, level, error)
								   : ob_sink_zlib_new(next, level, error);
}

/* ---- a member in pieces ---- */

/* The same header as pigz writes: no name, no time, an unknown system. */
static const char header[] = "\x1f\x8b\x08\0\0\0\0\0\0\xff";

ObCode
ob_gzip_head(int level, const void *raw, size_t len, ObBuf *out,
			 ObError *error)
{
	ob_buf_add(out, header, sizeof(header) - 1);
	if (len > 0)
		return ob_codec_piece(ob_sink_gzip_new, level, raw, len, out, error);
	return ob_buf_check(out, error);
}

static char *
put_little_endian(char *out, uint32_t number)
{
	for (int i = 0; i < 4; i++)
		*out++ = (char) (number >> (8 * i));
	return out;
}

size_t
ob_gzip_end(const ObRaw *raw, char *out)
{
	char *to = out;

	/* A last block of fixed codes that has nothing but its end. */
	*to++ = 0x03;
	*to++ = 0x00;
	to = put_little_endian(to, raw->crc32);
	to = put_little_endian(to, (uint32_t) raw->len);
	return (size_t) (to - out);
}
