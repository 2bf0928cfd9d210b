/*
 * chunk.c
 *		Column chunks: from batches of values to pages.
 *
 * src/core/parquet/chunk.c
 *
 * A page has either dictionary indices or the values themselves.  A chunk
 * begins with a dictionary, and abandons it as soon as the values so far
 * indicate that it is not worthwhile.  Pages that were written before keep
 * their dictionary indices.
 *
 * The dictionaries of all columns share a limit.  A dictionary may grow up to
 * OB_PQ_DICTIONARY_MAX as long as there is room below that limit, but each
 * column has a reserved share.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/parquet/parquet_intern.h"

/* After this number of values, we check whether the dictionary is worthwhile.
 * An earlier check is made before the first page is written. */
#define CHECK_VALUES 262144
/* The estimated size of the dictionary may exceed its limit by this factor. */
#define ESTIMATE_TOLERANCE 1.25
/* The number of chunks without a dictionary after one that abandoned it. */
#define PAUSED_CHUNKS 8
/* Dictionary and indices must be smaller than the values by this factor. */
#define SIZE_RATIO_MAX 0.9
/* If the current page's values would fill more pages than this, they remain
 * dictionary indices. */
#define PLAIN_PAGES_MAX 2
#define LEVELS_PREFIX 4 /* bytes for the length of levels */
#define BYTES_LEAST 48  /* initial capacity for values of a BYTE_ARRAY */
/* An empty buffer of a greater capacity is freed. */
#define KEPT_MAX ((size_t) 1024 * 1024)

int
ob_pq_leaf_size(const ObPqLeaf *leaf)
{
	switch (leaf->type)
	{
		case OB_PQ_INT32:
		case OB_PQ_FLOAT:
			return 4;
		case OB_PQ_INT64:
		case OB_PQ_DOUBLE:
			return 8;
		case OB_PQ_FIXED:
			return leaf->length;
		case OB_PQ_BOOLEAN:
			return 1;
		default:
			return 0;
	}
}

static bool
is_text(const ObPqChunk *chunk)
{
	return chunk->leaf.type == OB_PQ_BYTE_ARRAY &&
		   chunk->node->logical_type != OB_PQ_UNANNOTATED;
}

ObPqEncoding
ob_pq_chunk_encoding(const ObPqChunk *chunk)
{
	if (!chunk->options->delta)
		return OB_PQ_ENC_PLAIN;
	switch (chunk->leaf.type)
	{
		case OB_PQ_INT32:
		case OB_PQ_INT64:
			return OB_PQ_ENC_DELTA_BINARY_PACKED;
		case OB_PQ_FLOAT:
		case OB_PQ_DOUBLE:
			return OB_PQ_ENC_BYTE_STREAM_SPLIT;
		case OB_PQ_BYTE_ARRAY:
			return OB_PQ_ENC_DELTA_LENGTH;
		default:
			return OB_PQ_ENC_PLAIN;
	}
}

/* ---- memory ---- */

static bool
grow_array(ObPqMemory *memory, void **array, size_t size, int old, int new)
{
	void *to = ob_pq_resize(memory, *array, size * old, size * new);

	if (to)
		*array = to;
	return to != NULL;
}

size_t
ob_pq_value_size(const ObPqLeaf *leaf)
{
	int size = ob_pq_leaf_size(leaf);

	return size ? size : sizeof(size_t);
}

bool
ob_pq_more_values(ObPqLeaf *leaf)
{
	ObPqChunk *chunk = (ObPqChunk *) leaf;
	int capacity = leaf->capacity ? leaf->capacity * 2 : 8;
	void *array = leaf->values.fixed;

	if (!grow_array(chunk->memory, &array, ob_pq_value_size(leaf),
					leaf->capacity, capacity))
	{
		leaf->writer->failed = true;
		return false;
	}
	leaf->values.fixed = array;
	leaf->capacity = capacity;
	return true;
}

bool
ob_pq_more_bytes(ObPqLeaf *leaf, size_t len)
{
	ObPqChunk *chunk = (ObPqChunk *) leaf;
	ObPqBytes bytes = {(uint8_t *) leaf->bytes, leaf->nbytes,
					   leaf->bytes_capacity};

	if (!ob_pq_more(chunk->memory, &bytes, len + OB_PQ_BYTES_SLACK))
	{
		leaf->writer->failed = true;
		return false;
	}
	leaf->bytes = (char *) bytes.data;
	leaf->bytes_capacity = bytes.capacity;
	return true;
}

static bool
grow_levels(ObPqLeaf *leaf, int capacity)
{
	ObPqMemory *memory = ((ObPqChunk *) leaf)->memory;
	void *definitions = leaf->definitions;
	void *repetitions = leaf->repetitions;
	bool done =
		grow_array(memory, &definitions, 1, leaf->levels_capacity, capacity) &&
		(leaf->max_repetition == 0 ||
		 grow_array(memory, &repetitions, 1, leaf->levels_capacity, capacity));

	leaf->definitions = definitions;
	leaf->repetitions = repetitions;
	if (done)
		leaf->levels_capacity = capacity;
	return done;
}

bool
ob_pq_more_levels(ObPqLeaf *leaf)
{
	int capacity = leaf->levels_capacity ? leaf->levels_capacity * 2 : 64;

	if (grow_levels(leaf, capacity))
		return true;
	leaf->writer->failed = true;
	return false;
}

static void
reset_batch(ObPqLeaf *leaf)
{
	leaf->nvalues = 0;
	leaf->nbytes = 0;
	leaf->nlevels = 0;
	leaf->has_nulls = leaf->max_repetition > 0;
}

bool
ob_pq_chunk_init(ObPqChunk *chunk, ObParquet *writer, const ObPqNode *node,
				 int max_definition, int max_repetition, int capacity)
{
	ObPqLeaf *leaf = &chunk->leaf;

	leaf->writer = writer;
	leaf->type = node->type;
	leaf->length = node->length;
	leaf->max_definition = max_definition;
	leaf->max_repetition = max_repetition;
	chunk->node = node;
	chunk->memory = &writer->memory;
	chunk->compressor = writer->compressor;
	chunk->options = &writer->options;
	chunk->order = ob_pq_order_of(node);
	reset_batch(leaf);
	if (max_repetition == 0 && max_definition > 0)
	{
		if (!grow_levels(leaf, capacity))
			return false;
		memset(leaf->definitions, max_definition, capacity);
	}
	if (leaf->type == OB_PQ_BYTE_ARRAY && !ob_pq_more_bytes(leaf, BYTES_LEAST))
		return false;
	while (leaf->capacity < capacity)
	{
		if (!ob_pq_more_values(leaf))
			return false;
	}
	if (node->dictionary && leaf->type != OB_PQ_BOOLEAN &&
		!ob_pq_dictionary_init(&chunk->dictionary, chunk->memory,
							   ob_pq_leaf_size(leaf)))
		return false;
	ob_pq_chunk_reset(chunk);
	return true;
}

/* Frees the buffers of the current page, and the array of pages. */
static void
free_buffers(ObPqChunk *chunk)
{
	ObPqMemory *memory = chunk->memory;

	ob_pq_bytes_free(memory, &chunk->indices);
	ob_pq_bytes_free(memory, &chunk->plain);
	ob_pq_bytes_free(memory, &chunk->lengths);
	ob_pq_bytes_free(memory, &chunk->definitions);
	ob_pq_bytes_free(memory, &chunk->repetitions);
	ob_pq_bytes_free(memory, &chunk->pages);
}

void
ob_pq_chunk_free(ObPqChunk *chunk)
{
	ObPqLeaf *leaf = &chunk->leaf;
	ObPqMemory *memory = chunk->memory;

	if (!memory)
		return;
	if (chunk->filter)
		ob_pq_release(memory, chunk->filter, chunk->filter->size);
	ob_pq_release(memory, leaf->values.fixed,
				  ob_pq_value_size(leaf) * leaf->capacity);
	ob_pq_release(memory, leaf->bytes, leaf->bytes_capacity);
	ob_pq_release(memory, leaf->definitions, leaf->levels_capacity);
	ob_pq_release(memory, leaf->repetitions, leaf->levels_capacity);
	ob_pq_dictionary_free(&chunk->dictionary);
	free_buffers(chunk);
}

static void
reset_page(ObPqChunk *chunk)
{
	chunk->page++;
	chunk->page_rows = 0;
	chunk->page_values = 0;
	chunk->page_nulls = 0;
	chunk->page_stats.valid = chunk->page_stats.unbounded = false;
	chunk->indices.len = 0;
	chunk->plain.len = 0;
	chunk->lengths.len = 0;
	chunk->definitions.len = 0;
	chunk->repetitions.len = 0;
}

/* Updates the total size of all dictionaries. */
static void
count_dictionary(ObPqChunk *chunk)
{
	ObParquet *writer = chunk->leaf.writer;

	writer->dictionaries += chunk->dictionary.plain.len;
	writer->dictionaries -= chunk->dictionary_counted;
	chunk->dictionary_counted = chunk->dictionary.plain.len;
}

bool
ob_pq_chunk_shrink(ObPqChunk *chunk)
{
	free_buffers(chunk);
	return !chunk->dictionary.memory ||
		   ob_pq_dictionary_shrink(&chunk->dictionary);
}

void
ob_pq_chunk_reset(ObPqChunk *chunk)
{
	reset_page(chunk);
	chunk->rows = 0;
	chunk->values = 0;
	chunk->nulls = 0;
	chunk->uncompressed = 0;
	chunk->compressed = 0;
	chunk->stats.valid = chunk->stats.unbounded = false;
	chunk->pages.len = 0;
	chunk->dictionary_pages = 0;
	chunk->plain_pages = 0;
	chunk->delta_pages = 0;
	chunk->dictionary_page.len = 0;
	chunk->filter_on = chunk->filter_limit > 0;
	chunk->filter = NULL;
	chunk->dictionary_checked = false;
	chunk->dictionary_on = false;
	if (!chunk->dictionary.memory)
		return;
	if (chunk->dictionary.n > 0)
		ob_pq_dictionary_reset(&chunk->dictionary);
	count_dictionary(chunk);
	if (chunk->dictionary_pause > 0)
		chunk->dictionary_pause--;
	else
		chunk->dictionary_on = true;
}

/* ---- pages ---- */

/* Writes levels and, before them, their size. */
static bool
write_levels(ObPqChunk *chunk, ObPqBytes *body, const ObPqBytes *levels,
			 int max)
{
	int width = ob_pq_width(max);
	size_t n = chunk->page_values;
	uint8_t *begin;
	uint8_t *end;
	uint32_t len;

	if (max == 0)
		return true;
	begin = ob_pq_reserve(chunk->memory, body,
						  LEVELS_PREFIX + ob_pq_rle_max(n, width));
	if (!begin)
		return false;
	if (levels->len == 0)
		end = ob_pq_rle_run(begin + LEVELS_PREFIX, max, n, width);
	else
		end = ob_pq_rle_levels(begin + LEVELS_PREFIX, levels->data, n, width);
	len = end - begin - LEVELS_PREFIX;
	memcpy(begin, &len, sizeof(len));
	body->len += end - begin;
	return true;
}

static bool
write_indices(ObPqChunk *chunk, ObPqBytes *body)
{
	size_t n = chunk->indices.len / sizeof(uint32_t);
	int width =
		ob_pq_width(chunk->dictionary.n > 1 ? chunk->dictionary.n - 1 : 1);
	uint8_t *to =
		ob_pq_reserve(chunk->memory, body, 1 + ob_pq_rle_max(n, width));
	uint8_t *end;

	if (!to)
		return false;
	to[0] = width;
	end = ob_pq_rle(to + 1, (const uint32_t *) chunk->indices.data, n, width);
	body->len += end - to;
	return true;
}

static bool
write_plain(ObPqChunk *chunk, ObPqBytes *body)
{
	uint8_t *to = ob_pq_reserve(chunk->memory, body, chunk->plain.len);

	if (!to)
		return false;
	if (chunk->plain.len > 0)
		memcpy(to, chunk->plain.data, chunk->plain.len);
	body->len += chunk->plain.len;
	return true;
}

static bool
write_booleans(ObPqChunk *chunk, ObPqBytes *body)
{
	size_t n = chunk->plain.len;
	uint8_t *to = ob_pq_reserve(chunk->memory, body, (n + 7) / 8);

	if (!to)
		return false;
	memset(to, 0, (n + 7) / 8);
	for (size_t i = 0; i < n; i++)
		to[i / 8] |= chunk->plain.data[i] << i % 8;
	body->len += (n + 7) / 8;
	return true;
}

static bool
write_delta(ObPqChunk *chunk, ObPqBytes *body, const ObPqBytes *values,
			int size)
{
	size_t n = values->len / size;
	uint8_t *to = ob_pq_reserve(chunk->memory, body, ob_pq_delta_max(n, size));
	uint8_t *end;

	if (!to)
		return false;
	if (size == 4)
		end = ob_pq_delta32(to, (const int32_t *) values->data, n);
	else
		end = ob_pq_delta64(to, (const int64_t *) values->data, n);
	body->len += end - to;
	return true;
}

static bool
write_split(ObPqChunk *chunk, ObPqBytes *body)
{
	int size = ob_pq_leaf_size(&chunk->leaf);
	uint8_t *to = ob_pq_reserve(chunk->memory, body, chunk->plain.len);

	if (!to)
		return false;
	ob_pq_byte_stream_split(to, chunk->plain.data, chunk->plain.len / size,
							size);
	body->len += chunk->plain.len;
	return true;
}

static bool
write_values(ObPqChunk *chunk, ObPqBytes *body, ObPqEncoding encoding)
{
	switch (encoding)
	{
		case OB_PQ_ENC_DICTIONARY:
			return write_indices(chunk, body);
		case OB_PQ_ENC_DELTA_BINARY_PACKED:
			return write_delta(chunk, body, &chunk->plain,
							   ob_pq_leaf_size(&chunk->leaf));
		case OB_PQ_ENC_DELTA_LENGTH:
			return write_delta(chunk, body, &chunk->lengths,
							   sizeof(int32_t)) &&
				   write_plain(chunk, body);
		case OB_PQ_ENC_BYTE_STREAM_SPLIT:
			return write_split(chunk, body);
		default:
			return chunk->leaf.type == OB_PQ_BOOLEAN
					   ? write_booleans(chunk, body)
					   : write_plain(chunk, body);
	}
}

/* Rounds truncated bounds. */
static void
round_bounds(const ObPqChunk *chunk, ObPqStats *stats)
{
	if (!stats->valid)
		return;
	ob_pq_bound_round_down(&stats->min, is_text(chunk));
	if (!ob_pq_bound_round_up(&stats->max, is_text(chunk)))
		stats->valid = false;
}

void
ob_pq_chunk_release(ObPqChunk *chunk, ObPqBytes *bytes)
{
	if (bytes->capacity > KEPT_MAX ||
		chunk->memory->used > chunk->options->memory)
		ob_pq_bytes_free(chunk->memory, bytes);
}

/* A page that has only nulls is PLAIN, since some readers fail to decode zero
 * values in the other encodings. */
static ObPqEncoding
page_encoding(const ObPqChunk *chunk)
{
	if (chunk->page_nulls == chunk->page_values)
		return OB_PQ_ENC_PLAIN;
	if (chunk->dictionary_on)
		return OB_PQ_ENC_DICTIONARY;
	return ob_pq_chunk_encoding(chunk);
}

static bool
end_page(ObPqChunk *chunk)
{
	ObPqBytes *scratch = &chunk->leaf.writer->scratch;
	ObPqEncoding encoding = page_encoding(chunk);
	ObPqPage page = {
		.first_row = chunk->rows - chunk->page_rows,
		.nulls = chunk->page_nulls,
		.all_null = chunk->page_nulls == chunk->page_values,
		.stats = chunk->page_stats,
	};
	uint8_t *to;

	scratch->len = 0;
	if (!write_levels(chunk, scratch, &chunk->repetitions,
					  chunk->leaf.max_repetition) ||
		!write_levels(chunk, scratch, &chunk->definitions,
					  chunk->leaf.max_definition) ||
		!write_values(chunk, scratch, encoding) ||
		!ob_pq_page_write(chunk, scratch->data, scratch->len, encoding, &page))
		return false;
	if (encoding == OB_PQ_ENC_DICTIONARY)
		chunk->dictionary_pages++;
	else if (encoding == OB_PQ_ENC_PLAIN)
		chunk->plain_pages++;
	else
		chunk->delta_pages++;
	ob_pq_stats_merge(&chunk->stats, chunk->order, chunk->leaf.length,
					  &chunk->page_stats);
	round_bounds(chunk, &page.stats);
	to = ob_pq_reserve(chunk->memory, &chunk->pages, sizeof(page));
	if (!to)
		return false;
	memcpy(to, &page, sizeof(page));
	chunk->pages.len += sizeof(page);
	reset_page(chunk);
	ob_pq_chunk_release(chunk, &chunk->indices);
	ob_pq_chunk_release(chunk, &chunk->plain);
	ob_pq_chunk_release(chunk, &chunk->lengths);
	ob_pq_chunk_release(chunk, &chunk->definitions);
	ob_pq_chunk_release(chunk, &chunk->repetitions);
	ob_pq_chunk_release(chunk, scratch);
	return true;
}

/* ---- values that are not in the dictionary ---- */

static bool
append_fixed(ObPqChunk *chunk, const void *values, int n)
{
	size_t len = (size_t) n * ob_pq_leaf_size(&chunk->leaf);
	uint8_t *to = ob_pq_reserve(chunk->memory, &chunk->plain, len);

	if (!to)
		return false;
	memcpy(to, values, len);
	chunk->plain.len += len;
	return true;
}

/* DELTA_LENGTH_BYTE_ARRAY: appends the lengths and the bytes to separate
 * buffers. */
static bool
append_delta_length(ObPqChunk *chunk, const char *bytes, const size_t *ends,
					int n)
{
	size_t len = n > 0 ? ends[n - 1] : 0;
	uint8_t *lengths =
		ob_pq_reserve(chunk->memory, &chunk->lengths, n * sizeof(int32_t));
	uint8_t *to = ob_pq_reserve(chunk->memory, &chunk->plain, len);
	size_t start = 0;

	if (!lengths || !to)
		return false;
	for (int i = 0; i < n; i++)
	{
		int32_t one = ends[i] - start;

		memcpy(lengths + i * sizeof(one), &one, sizeof(one));
		start = ends[i];
	}
	memcpy(to, bytes, len);
	chunk->lengths.len += n * sizeof(int32_t);
	chunk->plain.len += len;
	return true;
}

/* PLAIN: appends each length and then the bytes. */
static bool
append_length_prefixed(ObPqChunk *chunk, const char *bytes, const size_t *ends,
					   int n)
{
	size_t len = (n > 0 ? ends[n - 1] : 0) + (size_t) n * sizeof(uint32_t);
	uint8_t *to =
		ob_pq_reserve(chunk->memory, &chunk->plain, len + OB_PQ_BYTES_SLACK);
	size_t start = 0;

	if (!to)
		return false;
	for (int i = 0; i < n; i++)
	{
		uint32_t one = ends[i] - start;

		memcpy(to, &one, sizeof(one));
		to += sizeof(one);
		/* both buffers have OB_PQ_BYTES_SLACK bytes more */
		if (one <= OB_PQ_BYTES_SLACK)
			memcpy(to, bytes + start, OB_PQ_BYTES_SLACK);
		else
			memcpy(to, bytes + start, one);
		to += one;
		start = ends[i];
	}
	chunk->plain.len += len;
	return true;
}

static bool
append_values(ObPqChunk *chunk)
{
	const ObPqLeaf *leaf = &chunk->leaf;

	if (leaf->type != OB_PQ_BYTE_ARRAY)
		return append_fixed(chunk, leaf->values.fixed, leaf->nvalues);
	if (chunk->options->delta)
		return append_delta_length(chunk, leaf->bytes, leaf->values.ends,
								   leaf->nvalues);
	return append_length_prefixed(chunk, leaf->bytes, leaf->values.ends,
								  leaf->nvalues);
}

/* ---- the dictionary ---- */

/* Returns the size up to which the chunk's dictionary may grow. */
static size_t
dictionary_limit(const ObPqChunk *chunk)
{
	const ObParquet *writer = chunk->leaf.writer;
	size_t others = writer->dictionaries - chunk->dictionary_counted;
	size_t room = writer->dictionaries_limit > others
					  ? writer->dictionaries_limit - others
					  : 0;

	if (room < chunk->dictionary_share)
		return chunk->dictionary_share;
	return room < OB_PQ_DICTIONARY_MAX ? room : OB_PQ_DICTIONARY_MAX;
}

static bool
append_one(ObPqChunk *chunk, uint32_t index)
{
	const ObPqDictionary *dictionary = &chunk->dictionary;
	const uint8_t *plain = dictionary->plain.data;
	uint32_t start;
	uint32_t len;
	size_t end;

	if (dictionary->size)
		return append_fixed(chunk, plain + (size_t) index * dictionary->size,
							1);
	start = ((const uint32_t *) dictionary->starts.data)[index];
	memcpy(&len, plain + start, sizeof(len));
	end = len;
	if (chunk->options->delta)
		return append_delta_length(
			chunk, (const char *) plain + start + sizeof(len), &end, 1);
	return append_length_prefixed(
		chunk, (const char *) plain + start + sizeof(len), &end, 1);
}

/* Returns the size that the current page's values would have in PLAIN. */
static size_t
page_bytes_as_plain(const ObPqChunk *chunk)
{
	const ObPqDictionary *dictionary = &chunk->dictionary;
	const uint32_t *indices = (const uint32_t *) chunk->indices.data;
	const uint32_t *starts = (const uint32_t *) dictionary->starts.data;
	size_t n = chunk->indices.len / sizeof(uint32_t);
	size_t bytes = n * dictionary->size;

	for (size_t i = 0; dictionary->size == 0 && i < n; i++)
	{
		uint32_t len;

		memcpy(&len, dictionary->plain.data + starts[indices[i]], sizeof(len));
		bytes += sizeof(len) + len;
	}
	return bytes;
}

/* Returns whether the dictionary is still needed when it is abandoned: a page
 * has been written with it, or the current page has so many values that
 * without it they would far exceed the page's limit, or even the memory. */
static bool
is_dictionary_needed(const ObPqChunk *chunk)
{
	size_t bytes;

	if (chunk->dictionary_pages > 0)
		return true;
	bytes = page_bytes_as_plain(chunk);
	return bytes > PLAIN_PAGES_MAX * chunk->page_limit &&
		   bytes > chunk->dictionary.plain.len + chunk->indices.len;
}

/* Abandons the dictionary for the rest of the chunk.  If no page needs it, the
 * values of the current page replace their indices. */
static bool
give_up(ObPqChunk *chunk)
{
	const uint32_t *indices = (const uint32_t *) chunk->indices.data;
	size_t n = chunk->indices.len / sizeof(uint32_t);

	if (!ob_pq_filter_dictionary(chunk, false))
		return false;
	chunk->dictionary_pause = PAUSED_CHUNKS;
	if (is_dictionary_needed(chunk))
	{
		if (chunk->page_values > 0 && !end_page(chunk))
			return false;
		chunk->dictionary_on = false;
		return true;
	}
	for (size_t i = 0; i < n; i++)
	{
		if (!append_one(chunk, indices[i]))
			return false;
	}
	chunk->indices.len = 0;
	chunk->dictionary_on = false;
	/* the next chunks will not use its memory */
	if (!ob_pq_dictionary_shrink(&chunk->dictionary))
		return false;
	count_dictionary(chunk);
	return true;
}

/*
 * Estimates the number of distinct values in a population of which a sample of
 * n values has d: the solution "all" of d = all * (1 - exp(-n / all)).
 */
static double
estimate_distinct(double n, double d)
{
	double low = d;
	double high = 1e12;

	if (d >= n * 0.9999)
		return high;
	for (int i = 0; i < 60; i++)
	{
		double middle = sqrt(low * high);

		if (middle * (1 - exp(-n / middle)) < d)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Estimates the number of values of the whole chunk from n values so far. */
static double
expected_values(const ObPqChunk *chunk, int64_t n)
{
	int64_t rows = chunk->leaf.writer->expected_rows;

	return rows > chunk->rows ? (double) n * rows / chunk->rows : n;
}

/* Estimates, after n values, whether the dictionary is worthwhile for the
 * whole chunk: fits into its limit and makes the chunk smaller. */
static bool
is_worthwhile(const ObPqChunk *chunk, int64_t n)
{
	const ObPqDictionary *dictionary = &chunk->dictionary;
	double d = dictionary->n;
	double one = dictionary->plain.len / d;
	double expected = expected_values(chunk, n);
	double all = estimate_distinct(n, d);
	double distinct = all * (1 - exp(-expected / all));
	double index_bytes = expected * ob_pq_width(distinct) / 8;

	if (distinct * one > ESTIMATE_TOLERANCE * dictionary_limit(chunk))
		return false;
	return distinct * one + index_bytes < SIZE_RATIO_MAX * expected * one;
}

/* Returns whether the dictionary makes the chunk, which is complete, smaller.
 */
static bool
was_worthwhile(const ObPqChunk *chunk)
{
	const ObPqDictionary *dictionary = &chunk->dictionary;
	double n = chunk->values - chunk->nulls;
	double index_bytes = n * ob_pq_width(dictionary->n) / 8;
	double one = (double) dictionary->plain.len / dictionary->n;

	return n == 0 ||
		   dictionary->plain.len + index_bytes < SIZE_RATIO_MAX * n * one;
}

static bool
add_indices(ObPqChunk *chunk)
{
	ObPqDictionary *dictionary = &chunk->dictionary;
	int n = chunk->leaf.nvalues;
	uint32_t *to = (uint32_t *) ob_pq_reserve(chunk->memory, &chunk->indices,
											  n * sizeof(uint32_t));

	if (!to || !ob_pq_dictionary_add(dictionary, &chunk->leaf, to))
		return false;
	chunk->indices.len += n * sizeof(uint32_t);
	count_dictionary(chunk);
	ob_pq_stats_add(&chunk->page_stats, chunk->order, &chunk->leaf, to,
					(uint32_t *) dictionary->seen.data, chunk->page);
	return true;
}

static bool
add_values(ObPqChunk *chunk)
{
	ob_pq_stats_add(&chunk->page_stats, chunk->order, &chunk->leaf, NULL, NULL,
					0);
	return append_values(chunk);
}

/* ---- batches ---- */

/* Appends definition levels, unless all levels of the page are the greatest.
 */
static bool
add_definitions(ObPqChunk *chunk, int entries)
{
	ObPqBytes *levels = &chunk->definitions;
	ObPqLeaf *leaf = &chunk->leaf;
	size_t before = levels->len ? 0 : chunk->page_values;
	uint8_t *to;

	if (!leaf->has_nulls && levels->len == 0)
		return true;
	to = ob_pq_reserve(chunk->memory, levels, before + entries);
	if (!to)
		return false;
	memset(to, leaf->max_definition, before);
	memcpy(to + before, leaf->definitions, entries);
	levels->len += before + entries;
	return true;
}

static bool
add_levels(ObPqChunk *chunk, int entries)
{
	ObPqBytes *levels = &chunk->repetitions;
	ObPqLeaf *leaf = &chunk->leaf;
	uint8_t *to;

	if (leaf->max_definition > 0 && !add_definitions(chunk, entries))
		return false;
	if (leaf->max_repetition == 0)
	{
		if (leaf->has_nulls)
			memset(leaf->definitions, leaf->max_definition, entries);
		return true;
	}
	to = ob_pq_reserve(chunk->memory, levels, entries);
	if (!to)
		return false;
	memcpy(to, leaf->repetitions, entries);
	levels->len += entries;
	return true;
}

/* Frees the memory of large values: the page will need as much for its body.
 */
static void
release_batch(ObPqLeaf *leaf)
{
	ObPqMemory *memory = ((ObPqChunk *) leaf)->memory;
	size_t values = ob_pq_value_size(leaf) * leaf->capacity;

	if (leaf->bytes_capacity > KEPT_MAX)
	{
		ob_pq_release(memory, leaf->bytes, leaf->bytes_capacity);
		leaf->bytes = NULL;
		leaf->bytes_capacity = 0;
		(void) ob_pq_more_bytes(leaf, BYTES_LEAST);
	}
	if (values > KEPT_MAX)
	{
		ob_pq_release(memory, leaf->values.fixed, values);
		leaf->values.fixed = NULL;
		leaf->capacity = 0;
	}
	if (leaf->max_repetition > 0 && leaf->levels_capacity > KEPT_MAX)
	{
		ob_pq_release(memory, leaf->definitions, leaf->levels_capacity);
		ob_pq_release(memory, leaf->repetitions, leaf->levels_capacity);
		leaf->definitions = leaf->repetitions = NULL;
		leaf->levels_capacity = 0;
	}
}

static size_t
page_bytes(const ObPqChunk *chunk)
{
	size_t values = chunk->plain.len + chunk->lengths.len;

	if (chunk->dictionary_on)
		values = chunk->indices.len / sizeof(uint32_t) *
				 ob_pq_width(chunk->dictionary.n) / 8;
	if (chunk->leaf.type == OB_PQ_BOOLEAN)
		values /= 8;
	return values + chunk->definitions.len / 8 + chunk->repetitions.len / 8;
}

/* The memory of a page counts here, although indices and levels will take less
 * space in the file. */
static bool
is_page_full(const ObPqChunk *chunk)
{
	return chunk->indices.len + chunk->plain.len + chunk->lengths.len +
			   chunk->definitions.len + chunk->repetitions.len >=
		   chunk->page_limit;
}

/* Abandons a dictionary that exceeds its limit.  Before the first page that
 * would need the dictionary, and after CHECK_VALUES values, abandons it as
 * well unless it is worthwhile. */
static bool
check_dictionary(ObPqChunk *chunk)
{
	int64_t seen = chunk->values - chunk->nulls;
	bool first = chunk->dictionary_pages == 0 && is_page_full(chunk);

	if (chunk->dictionary.plain.len > dictionary_limit(chunk))
		return give_up(chunk);
	if (chunk->dictionary_checked || seen == 0 ||
		(seen < CHECK_VALUES && !first))
		return true;
	chunk->dictionary_checked = seen >= CHECK_VALUES;
	return is_worthwhile(chunk, seen) || give_up(chunk);
}

/* Returns whether the batch has a value that alone exceeds the limit of the
 * dictionary. */
static bool
has_large_value(const ObPqLeaf *leaf, size_t limit)
{
	size_t start = 0;

	for (int i = 0; leaf->nbytes > limit && i < leaf->nvalues; i++)
	{
		if (leaf->values.ends[i] - start > limit)
			return true;
		start = leaf->values.ends[i];
	}
	return false;
}

bool
ob_pq_chunk_drain(ObPqChunk *chunk, int rows)
{
	ObPqLeaf *leaf = &chunk->leaf;
	int entries = leaf->max_repetition > 0 ? leaf->nlevels : rows;
	int nulls = entries - leaf->nvalues;

	if (chunk->dictionary_on &&
		has_large_value(leaf, dictionary_limit(chunk)) && !give_up(chunk))
		return false;
	if (!add_levels(chunk, entries))
		return false;
	if (leaf->nvalues > 0 &&
		!(chunk->dictionary_on ? add_indices(chunk) : add_values(chunk)))
		return false;
	chunk->page_rows += rows;
	chunk->page_values += entries;
	chunk->page_nulls += nulls;
	chunk->rows += rows;
	chunk->values += entries;
	chunk->nulls += nulls;
	if (!chunk->dictionary_on && !ob_pq_filter_batch(chunk))
		return false;
	reset_batch(leaf);
	release_batch(leaf);
	if (chunk->dictionary_on && !check_dictionary(chunk))
		return false;
	return !is_page_full(chunk) || end_page(chunk);
}

bool
ob_pq_chunk_end(ObPqChunk *chunk)
{
	const ObPqDictionary *dictionary = &chunk->dictionary;

	if (chunk->dictionary_on && chunk->dictionary_pages == 0 &&
		!was_worthwhile(chunk) && !give_up(chunk))
		return false;
	if (chunk->page_values > 0 && !end_page(chunk))
		return false;
	round_bounds(chunk, &chunk->stats);
	if ((chunk->dictionary_on && !ob_pq_filter_dictionary(chunk, true)) ||
		!ob_pq_filter_end(chunk))
		return false;
	return chunk->dictionary_pages == 0 ||
		   ob_pq_page_write(chunk, dictionary->plain.data,
							dictionary->plain.len, OB_PQ_ENC_PLAIN, NULL);
}

size_t
ob_pq_chunk_size(const ObPqChunk *chunk)
{
	size_t pending = page_bytes(chunk) + chunk->dictionary.plain.len;

	/* assume the compression ratio of the pages so far */
	if (chunk->uncompressed > 0)
		pending = (double) pending * chunk->compressed / chunk->uncompressed;
	return chunk->compressed + pending;
}
