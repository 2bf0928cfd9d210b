/*
 * codecs.c
 *		The table of codecs, and functions that use an entry.
 *
 * src/core/sink/codecs.c
 */
#include "core/sink/sink.h"

#include <string.h>

static const ObCodec codecs[] = {
	{.name = "none", .extension = ""},
	{.name = "gzip",
	 .extension = ".gz",
	 .min_level = 1,
	 .max_level = 9,
	 .default_level = 1, /* see sink_gzip.c */
	 .create = ob_sink_gzip_new,
	 .head = ob_gzip_head,
	 .end = ob_gzip_end,
	 .crc32 = true},
	{.name = "zstd",
	 .extension = ".zst",
	 .min_level = 1,
	 .max_level = 19,
	 .default_level = 1,
	 .create = ob_sink_zstd_new,
	 .head = ob_zstd_head,
	 .skip = 6,  /* the header of a frame */
	 .drop = 4}, /* its checksum */
	{.name = "lz4",
	 .extension = ".lz4",
	 .min_level = 0,
	 .max_level = 11,
	 .default_level = 0,
	 .create = ob_sink_lz4_new,
	 .head = ob_lz4_head,
	 .end = ob_lz4_end},
	{.name = NULL},
};

const ObCodec *
ob_codecs(void)
{
	return codecs;
}

const ObCodec *
ob_codec_lookup(const char *name)
{
	const ObCodec *codec;

	for (codec = codecs; codec->name != NULL; codec++)
	{
		if (strcmp(codec->name, name) == 0)
			return codec;
	}
	return NULL;
}

ObCode
ob_codec_head(const ObCodec *codec, int level, const void *raw, size_t len,
			  ObBuf *out, ObError *error)
{
	if (codec->head != NULL)
		return codec->head(level, raw, len, out, error);
	ob_buf_add(out, raw, len);
	return ob_buf_check(out, error);
}

ObHead
ob_codec_head_of(const ObCodec *codec, const char *data, size_t len)
{
	/* The first piece only loses bytes if a head is put into it. */
	if (len == 0)
		return (ObHead){data, 0, 0, 0};
	return (ObHead){data, len, codec->skip, codec->drop};
}

size_t
ob_codec_end(const ObCodec *codec, const ObRaw *raw, char *out)
{
	return codec->end == NULL ? 0 : codec->end(raw, out);
}
