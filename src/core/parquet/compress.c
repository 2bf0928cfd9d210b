/*
 * compress.c
 *		Compression of Parquet's pages.
 *
 * src/core/parquet/compress.c
 *
 * zlib compresses GZIP pages.  An LZ4_RAW page is a single block without a
 * frame.
 */
#include <stdlib.h>

#include <lz4.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "core/parquet/parquet_intern.h"

#define GZIP_WINDOW (15 + 16) /* 16: gzip's header instead of zlib's */
#define GZIP_MEMORY 8
#define GZIP_WRAPPER 18 /* gzip's header and trailer */
/* A page is compressed by one call, which cannot be cancelled.  High levels
 * take seconds for a megabyte, so pages that are larger, because of a large
 * value, are compressed with a lower one. */
#define LARGE_PAGE ((size_t) 1024 * 1024)
#define LARGE_PAGE_LEVEL 9

struct ObPqCompressor
{
	ObPqCodec codec;
	int level;
	ZSTD_CCtx *zstd;
	z_stream gzip;
	bool gzip_open;
	void *lz4;
};

static bool
open_codec(ObPqCompressor *compressor)
{
	switch (compressor->codec)
	{
		case OB_PQ_ZSTD:
			compressor->zstd = ZSTD_createCCtx();
			return compressor->zstd != NULL;
		case OB_PQ_GZIP:
			compressor->gzip_open =
				deflateInit2(&compressor->gzip, compressor->level, Z_DEFLATED,
							 GZIP_WINDOW, GZIP_MEMORY,
							 Z_DEFAULT_STRATEGY) == Z_OK;
			return compressor->gzip_open;
		case OB_PQ_LZ4:
			compressor->lz4 = malloc(LZ4_sizeofState());
			return compressor->lz4 != NULL;
		default:
			return true;
	}
}

ObPqCompressor *
ob_pq_compressor_new(ObPqCodec codec, int level)
{
	ObPqCompressor *compressor = calloc(1, sizeof(ObPqCompressor));

	if (!compressor)
		return NULL;
	compressor->codec = codec;
	compressor->level = level;
	if (!open_codec(compressor))
	{
		ob_pq_compressor_free(compressor);
		return NULL;
	}
	return compressor;
}

void
ob_pq_compressor_free(ObPqCompressor *compressor)
{
	if (!compressor)
		return;
	ZSTD_freeCCtx(compressor->zstd);
	if (compressor->gzip_open)
		deflateEnd(&compressor->gzip);
	free(compressor->lz4);
	free(compressor);
}

size_t
ob_pq_compressor_max(const ObPqCompressor *compressor, size_t len)
{
	switch (compressor->codec)
	{
		case OB_PQ_SNAPPY:
			return snappy_max_compressed_length(len);
		case OB_PQ_GZIP:
			/* from the second page on, deflateBound() counts a shorter wrapper
			 * than gzip's */
			return deflateBound((z_stream *) &compressor->gzip, len) +
				   GZIP_WRAPPER;
		case OB_PQ_ZSTD:
			return ZSTD_compressBound(len);
		case OB_PQ_LZ4:
			/* LZ4 accepts no more than this */
			return len > LZ4_MAX_INPUT_SIZE ? 0 : LZ4_compressBound(len);
		default:
			return len;
	}
}

static size_t
gzip(ObPqCompressor *compressor, const void *data, size_t len, void *to,
	 size_t room)
{
	z_stream *stream = &compressor->gzip;

	if (deflateReset(stream) != Z_OK)
		return 0;
	stream->next_in = (Bytef *) data;
	stream->avail_in = len;
	stream->next_out = to;
	stream->avail_out = room;
	return deflate(stream, Z_FINISH) == Z_STREAM_END ? stream->total_out : 0;
}

static size_t
zstd(ObPqCompressor *compressor, const void *data, size_t len, void *to,
	 size_t room)
{
	int level = compressor->level;
	size_t got;

	if (len > LARGE_PAGE && level > LARGE_PAGE_LEVEL)
		level = LARGE_PAGE_LEVEL;
	got = ZSTD_CCtx_setParameter(compressor->zstd, ZSTD_c_compressionLevel,
								 level);
	if (!ZSTD_isError(got))
		got = ZSTD_compress2(compressor->zstd, to, room, data, len);
	return ZSTD_isError(got) ? 0 : got;
}

size_t
ob_pq_compress(ObPqCompressor *compressor, const void *data, size_t len,
			   void *to, size_t room)
{
	size_t got = room;

	switch (compressor->codec)
	{
		case OB_PQ_SNAPPY:
			return snappy_compress(data, len, to, &got) == SNAPPY_OK ? got : 0;
		case OB_PQ_GZIP:
			return gzip(compressor, data, len, to, room);
		case OB_PQ_ZSTD:
			return zstd(compressor, data, len, to, room);
		case OB_PQ_LZ4:
			return LZ4_compress_fast_extState(compressor->lz4, data, to, len,
											  room, 1);
		default:
			return 0;
	}
}
