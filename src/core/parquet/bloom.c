/*
 * bloom.c
 *		Bloom filters of column chunks.
 *
 * src/core/parquet/bloom.c
 *
 * A split block Bloom filter consists of blocks of eight words.  The upper
 * half of a value's hash selects a block, and the lower half one bit in each
 * of its words.  We use a power of two as the number of blocks, so that the
 * uppermost bits of the hash are the block number, and a filter can be folded:
 * each pair of adjacent blocks becomes one block that contains the values of
 * both.
 *
 * The number of distinct values of a chunk is only known at its end.  A filter
 * therefore begins with a size for the expected number of values, and is
 * folded at the end as long as the rate of false positives permits.  That rate
 * is computed from the bits that are set, so it does not depend on an
 * estimate.
 */
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/parquet/parquet_intern.h"
#include "core/parquet/thrift.h"

#define WORDS 8 /* words in a block */
#define BLOCK_BYTES (WORDS * sizeof(uint32_t))
#define BLOCK_BITS (BLOCK_BYTES * 8)
/* The aim for the rate of false positives, and the bits for each distinct
 * value that it needs, according to the format. */
#define RATE 0.01
#define VALUE_BITS 10.5
/* A filter with more false positives than this is not worth reading. */
#define RATE_MAX 0.1
/* The number of rows is an estimate; the filter has room for this multiple. */
#define ROWS_FACTOR 4
/* The greatest size of a header. */
#define HEADER_MAX 32

/* Field ids of BloomFilterHeader.  The last three are unions, which have only
 * field 1 so far: split blocks, xxHash, uncompressed. */
enum
{
	FILTER_BYTES = 1,
	FILTER_ALGORITHM = 2,
	FILTER_HASH = 3,
	FILTER_COMPRESSION = 4
};

static uint32_t *
words_of(const ObPqChunk *chunk)
{
	return (uint32_t *) (chunk->filter->data + HEADER_MAX);
}

static size_t
block_size(size_t nblocks)
{
	return sizeof(ObPqFilter) + HEADER_MAX + nblocks * BLOCK_BYTES;
}

/* Allocates a filter for a number of values.  If that would exceed the memory
 * limit, the chunk remains without a filter, which is no error. */
static bool
begin(ObPqChunk *chunk, double values)
{
	uint32_t nblocks = 1;

	while (nblocks * BLOCK_BITS < values * VALUE_BITS &&
		   nblocks * 2 * BLOCK_BYTES <= chunk->filter_limit)
		nblocks *= 2;
	chunk->filter = ob_pq_resize(chunk->memory, NULL, 0, block_size(nblocks));
	if (!chunk->filter)
	{
		chunk->filter_on = false;
		if (!chunk->memory->over)
			return false;
		chunk->memory->over = false;
		return true;
	}
	chunk->filter->size = block_size(nblocks);
	chunk->filter_blocks = nblocks;
	memset(words_of(chunk), 0, nblocks * BLOCK_BYTES);
	return true;
}

/* Returns the number of values for which a filter should have room. */
static double
expected_values(const ObPqChunk *chunk)
{
	double most = chunk->options->row_group_rows;
	double rows = (double) chunk->leaf.writer->expected_rows * ROWS_FACTOR;

	return rows < most ? rows : most;
}

static void
add(ObPqChunk *chunk, const void *value, size_t len)
{
	static const uint32_t salts[WORDS] = {
		0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d,
		0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31,
	};
	uint64_t hash = XXH64(value, len, 0);
	uint32_t low = (uint32_t) hash;
	uint32_t *block =
		words_of(chunk) + ((hash >> 32) * chunk->filter_blocks >> 32) * WORDS;

	for (int i = 0; i < WORDS; i++)
		block[i] |= UINT32_C(1) << (low * salts[i] >> 27);
}

static void
add_bytes(ObPqChunk *chunk)
{
	const ObPqLeaf *leaf = &chunk->leaf;
	size_t start = 0;

	for (int i = 0; i < leaf->nvalues; i++)
	{
		add(chunk, leaf->bytes + start, leaf->values.ends[i] - start);
		start = leaf->values.ends[i];
	}
}

bool
ob_pq_filter_batch(ObPqChunk *chunk)
{
	const ObPqLeaf *leaf = &chunk->leaf;
	int size = ob_pq_leaf_size(leaf);

	if (!chunk->filter_on || leaf->nvalues == 0)
		return true;
	if (!chunk->filter && !begin(chunk, expected_values(chunk)))
		return false;
	if (!chunk->filter)
		return true;
	if (size == 0)
		add_bytes(chunk);
	for (int i = 0; size > 0 && i < leaf->nvalues; i++)
		add(chunk, leaf->values.fixed + (size_t) i * size, size);
	return true;
}

bool
ob_pq_filter_dictionary(ObPqChunk *chunk, bool all)
{
	const ObPqDictionary *dictionary = &chunk->dictionary;
	const uint8_t *plain = dictionary->plain.data;
	uint32_t len = dictionary->size;

	if (!chunk->filter_on || dictionary->n == 0)
		return true;
	if (!chunk->filter &&
		!begin(chunk, all ? dictionary->n : expected_values(chunk)))
		return false;
	for (uint32_t i = 0; chunk->filter && i < dictionary->n; i++)
	{
		if (dictionary->size == 0)
		{
			memcpy(&len, plain, sizeof(len));
			plain += sizeof(len);
		}
		add(chunk, plain, len);
		plain += len;
	}
	return true;
}

/* ---- the end of a chunk ---- */

/* Returns the rate of false positives, with "step" blocks, 1 or 2, folded into
 * one: the probability that a random bit of each word is set. */
static double
rate_of(const uint32_t *words, uint32_t nblocks, int step)
{
	double sum = 0;

	for (uint32_t i = 0; i < nblocks; i += step)
	{
		double rate = 1;

		for (int j = 0; j < WORDS; j++)
		{
			uint32_t word = words[i * WORDS + j];

			if (step == 2)
				word |= words[(i + 1) * WORDS + j];
			rate *= __builtin_popcount(word) / 32.0;
		}
		sum += rate;
	}
	return sum / (nblocks / step);
}

static void
fold(ObPqChunk *chunk)
{
	uint32_t *words = words_of(chunk);

	chunk->filter_blocks /= 2;
	for (uint32_t i = 0; i < chunk->filter_blocks; i++)
	{
		const uint32_t *pair = words + (size_t) i * 2 * WORDS;

		for (int j = 0; j < WORDS; j++)
			words[i * WORDS + j] = pair[j] | pair[WORDS + j];
	}
}

static void
write_header(int32_t bytes, ObBuf *out)
{
	ObThrift thrift;

	ob_thrift_begin(&thrift, out);
	ob_thrift_i32(&thrift, FILTER_BYTES, bytes);
	for (int id = FILTER_ALGORITHM; id <= FILTER_COMPRESSION; id++)
	{
		ob_thrift_struct(&thrift, id);
		ob_thrift_struct(&thrift, 1);
		ob_thrift_end(&thrift);
		ob_thrift_end(&thrift);
	}
	ob_thrift_end(&thrift);
}

/* Writes the header right before the words. */
static bool
add_header(ObPqChunk *chunk)
{
	ObPqFilter *filter = chunk->filter;
	size_t bytes = chunk->filter_blocks * BLOCK_BYTES;
	ObBuf header;
	bool failed;

	ob_buf_init(&header, HEADER_MAX);
	write_header(bytes, &header);
	failed = header.failed;
	if (!failed)
	{
		filter->start = HEADER_MAX - header.len;
		filter->len = header.len + bytes;
		memcpy(filter->data + filter->start, header.data, header.len);
	}
	ob_buf_free(&header);
	return !failed;
}

bool
ob_pq_filter_end(ObPqChunk *chunk)
{
	ObPqFilter *smaller;
	size_t size;

	if (!chunk->filter)
		return true;
	while (chunk->filter_blocks > 1 &&
		   rate_of(words_of(chunk), chunk->filter_blocks, 2) <= RATE)
		fold(chunk);
	if (rate_of(words_of(chunk), chunk->filter_blocks, 1) > RATE_MAX)
	{
		ob_pq_release(chunk->memory, chunk->filter, chunk->filter->size);
		chunk->filter = NULL;
		return true;
	}
	size = block_size(chunk->filter_blocks);
	smaller =
		ob_pq_resize(chunk->memory, chunk->filter, chunk->filter->size, size);
	if (smaller)
	{
		chunk->filter = smaller;
		chunk->filter->size = size;
	}
	return add_header(chunk);
}
