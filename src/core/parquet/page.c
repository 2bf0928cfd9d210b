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

/* Compresses the body into a new block, after room for the header, so that the
 * body need not be moved. */
static ObPqBlock *
make_body(ObPqChunk *chunk, const uint8_t *body, size_t len,
		  size_t *compressed)
{
	bool plain = chunk->options->codec == OB_PQ_NONE;
	size_t room = plain ? len : ob_pq_compressor_max(chunk->compressor, len);
	size_t size = sizeof(ObPqBlock) + HEADER_MAX + room;
	ObPqBlock *block;
	ObPqBlock *smaller;

	/* a page header has sizes of 32 bits */
	if (len > INT32_MAX || room > INT32_MAX)
	{
		chunk->memory->over = true;
		return NULL;
	}
	if (room < len && !plain)
		return NULL;
	block = ob_pq_resize(chunk->memory, NULL, 0, size);
	if (!block)
		return NULL;
	block->size = size;
	*compressed = len;
	if (len == 0)
		*compressed = 0;
	else if (plain)
		memcpy(block->data + HEADER_MAX, body, len);
	else
		*compressed = ob_pq_compress(chunk->compressor, body, len,
									 block->data + HEADER_MAX, room);
	if (*compressed == 0 && len > 0)
	{
		ob_pq_release(chunk->memory, block, size);
		return NULL;
	}
	size = sizeof(ObPqBlock) + HEADER_MAX + *compressed;
	smaller = ob_pq_resize(chunk->memory, block, block->size, size);
	if (smaller)
	{
		block = smaller;
		block->size = size;
	}
	return block;
}

static void
append_block(ObPqChunk *chunk, ObPqBlock *block)
{
	block->next = NULL;
	*chunk->last = block;
	chunk->last = &block->next;
}

bool
ob_pq_page_add(ObPqChunk *chunk, const uint8_t *body, size_t len,
			   ObPqEncoding encoding, ObPqPage *page)
{
	size_t compressed;
	ObPqBlock *block = make_body(chunk, body, len, &compressed);
	ObBuf header;
	uint32_t crc;
	bool failed;

	if (!block)
		return false;
	crc = ob_crc32(0, block->data + HEADER_MAX, compressed);
	ob_buf_init(&header, HEADER_MAX);
	write_header(chunk, len, compressed, crc, encoding, page != NULL, &header);
	failed = header.failed;
	if (!failed)
	{
		block->start = HEADER_MAX - header.len;
		block->len = header.len + compressed;
		memcpy(block->data + block->start, header.data, header.len);
		chunk->uncompressed += header.len + len;
		chunk->compressed += block->len;
	}
	ob_buf_free(&header);
	if (failed)
	{
		ob_pq_release(chunk->memory, block, block->size);
		return false;
	}
	if (page)
	{
		page->size = block->len;
		append_block(chunk, block);
	}
	else
		chunk->dictionary_block = block;
	return true;
}
