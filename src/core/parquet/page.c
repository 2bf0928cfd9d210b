/*
 * page.c
 *		Pages as they are in the file: header and compressed body.
 *
 * src/core/parquet/page.c
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/parquet/parquet_intern.h"
#include "core/parquet/thrift.h"

/* Field ids of PageHeader, DataPageHeader and DictionaryPageHeader. */
enum
{
	PAGE_TYPE = 1,
	PAGE_UNCOMPRESSED = 2,
	PAGE_COMPRESSED = 3,
	PAGE_CRC = 4,
	PAGE_DATA = 5,
	PAGE_DICTIONARY = 7,
	DATA_VALUES = 1,
	DATA_ENCODING = 2,
	DATA_DEFINITIONS = 3,
	DATA_REPETITIONS = 4,
	DICTIONARY_VALUES = 1,
	DICTIONARY_ENCODING = 2
};

enum
{
	TYPE_DATA = 0,
	TYPE_DICTIONARY = 2
};

/* The greatest size of a header. */
#define HEADER_MAX 128

static void
write_header(const ObPqChunk *chunk, size_t uncompressed, size_t compressed,
			 uint32_t crc, ObPqEncoding encoding, bool data, ObBuf *out)
{
	ObThrift thrift;

	ob_thrift_begin(&thrift, out);
	ob_thrift_i32(&thrift, PAGE_TYPE, data ? TYPE_DATA : TYPE_DICTIONARY);
	ob_thrift_i32(&thrift, PAGE_UNCOMPRESSED, uncompressed);
	ob_thrift_i32(&thrift, PAGE_COMPRESSED, compressed);
	ob_thrift_i32(&thrift, PAGE_CRC, (int32_t) crc);
	if (data)
	{
		ob_thrift_struct(&thrift, PAGE_DATA);
		ob_thrift_i32(&thrift, DATA_VALUES, chunk->page_values);
		ob_thrift_i32(&thrift, DATA_ENCODING, encoding);
		ob_thrift_i32(&thrift, DATA_DEFINITIONS, OB_PQ_ENC_RLE);
		ob_thrift_i32(&thrift, DATA_REPETITIONS, OB_PQ_ENC_RLE);
	}
	else
	{
		ob_thrift_struct(&thrift, PAGE_DICTIONARY);
		ob_thrift_i32(&thrift, DICTIONARY_VALUES, chunk->dictionary.n);
		ob_thrift_i32(&thrift, DICTIONARY_ENCODING, encoding);
	}
	ob_thrift_end(&thrift);
	ob_thrift_end(&thrift);
}

/* Returns the compressed body in the writer's buffer; NULL on error. */
static const uint8_t *
compress(ObPqChunk *chunk, const uint8_t *body, size_t len, size_t *compressed)
{
	ObPqBytes *buffer = &chunk->leaf.writer->compressed;
	size_t room = ob_pq_compressor_max(chunk->compressor, len);
	uint8_t *to;

	if (room > INT32_MAX)
	{
		chunk->memory->over = true;
		return NULL;
	}
	if (room < len)
		return NULL;
	buffer->len = 0;
	to = ob_pq_reserve(chunk->memory, buffer, room);
	if (!to)
		return NULL;
	*compressed = ob_pq_compress(chunk->compressor, body, len, to, room);
	return *compressed > 0 ? to : NULL;
}

/* Writes a header and a body, which is compressed. */
static bool
write_page(ObPqChunk *chunk, const ObBuf *header, const uint8_t *body,
		   size_t len, ObPqPage *page)
{
	ObParquet *writer = chunk->leaf.writer;
	ObPqExtent *bytes = page ? &page->bytes : &chunk->dictionary_page;

	if (header->failed ||
		!ob_pq_append(chunk->memory, &writer->pages, header->data, header->len,
					  bytes) ||
		!ob_pq_append(chunk->memory, &writer->pages, body, len, bytes))
		return false;
	if (page)
		page->size = bytes->len;
	chunk->compressed += bytes->len;
	return true;
}

bool
ob_pq_page_write(ObPqChunk *chunk, const uint8_t *body, size_t len,
				 ObPqEncoding encoding, ObPqPage *page)
{
	ObParquet *writer = chunk->leaf.writer;
	size_t compressed = len;
	ObBuf header;
	bool done;

	/* a page header has sizes of 32 bits */
	if (len > INT32_MAX)
	{
		chunk->memory->over = true;
		return false;
	}
	if (len > 0 && chunk->options->codec != OB_PQ_NONE)
	{
		bool scratch = body == writer->scratch.data;

		body = compress(chunk, body, len, &compressed);
		if (!body)
			return false;
		if (scratch)
			ob_pq_chunk_release(chunk, &writer->scratch);
	}
	ob_buf_init(&header, HEADER_MAX);
	write_header(chunk, len, compressed, ob_crc32(0, body, compressed),
				 encoding, page != NULL, &header);
	done = write_page(chunk, &header, body, compressed, page);
	chunk->uncompressed += header.len + len;
	ob_buf_free(&header);
	ob_pq_chunk_release(chunk, &writer->compressed);
	return done;
}
