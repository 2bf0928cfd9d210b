/*
 * writer.c
 *		The life of a Parquet writer: rows, batches, row groups.
 *
 * src/core/parquet/writer.c
 */
#include <stdlib.h>
#include <string.h>

#include "core/parquet/parquet_intern.h"

/* Rows of a batch: fewer where there are many columns. */
#define BATCH_MAX 1024
#define BATCH_MIN 16
#define BATCH_BYTES_MIN ((size_t) 64 * 1024)
/* Of the memory, one part in so many is for batches, for pages that are being
 * filled, and for all dictionaries.  A dictionary's hash table takes three
 * times as much again. */
#define BATCH_SHARE 16
#define PAGE_SHARE 4
#define DICTIONARY_SHARE 16
#define FILTER_SHARE 8
/* Buffers that take more than such a part are freed after a row group. */
#define KEPT_SHARE 2
#define PAGE_LEAST 1024
/* The reference implementations read no larger Bloom filter. */
#define FILTER_MAX ((size_t) 128 * 1024 * 1024)
/* What a single row may take beyond the memory at which a row group ends. */
#define SLACK_SHARE 2
#define VALUE_BYTES 16
/* A batch of texts exists so often at once: as a batch, as the values of a
 * page, as its body, and compressed. */
#define NEXT_BATCH 4

static int
count_leaves(const ObPqNode *nodes, int nnodes)
{
	int n = 0;

	for (int i = 0; i < nnodes; i++)
		n += nodes[i].nchildren == 0;
	return n;
}

static int
count_filters(const ObPqNode *nodes, int nnodes)
{
	int n = 0;

	for (int i = 0; i < nnodes; i++)
		n += nodes[i].filter;
	return n;
}

static size_t
between(size_t value, size_t least, size_t most)
{
	if (value < least)
		return least;
	return value > most ? most : value;
}

/* Makes the chunks of a node's leaves; returns the node after it. */
static int
add_chunks(ObParquet *writer, int node, int definition, int repetition,
		   int *chunk, bool *failed)
{
	const ObPqNode *it = &writer->nodes[node++];
	const ObParquetOptions *options = &writer->options;
	ObPqChunk *made;

	definition += it->repetition != OB_PQ_REQUIRED;
	repetition += it->repetition == OB_PQ_REPEATED;
	for (int i = 0; i < it->nchildren; i++)
		node = add_chunks(writer, node, definition, repetition, chunk, failed);
	if (it->nchildren > 0 || *failed)
		return node;
	made = &writer->chunks[(*chunk)++];
	made->page_limit = between(options->memory / PAGE_SHARE / writer->nchunks,
							   PAGE_LEAST, options->page_size);
	made->dictionary_share =
		between(writer->dictionaries_limit / writer->nchunks, PAGE_LEAST,
				OB_PQ_DICTIONARY_MAX);
	if (it->filter && it->type != OB_PQ_BOOLEAN)
		made->filter_limit =
			between(options->memory / FILTER_SHARE / writer->nfilters,
					PAGE_LEAST, FILTER_MAX);
	if (!ob_pq_chunk_init(made, writer, it, definition, repetition,
						  writer->batch_rows))
		*failed = true;
	if (it->type == OB_PQ_BYTE_ARRAY || repetition > 0)
		writer->wide[writer->nwide++] = &made->leaf;
	return node;
}

static ObCode
build(ObParquet *writer, ObError *error)
{
	size_t share = writer->options.memory / BATCH_SHARE / writer->nchunks;
	bool failed = false;
	int chunk = 0;

	writer->dictionaries_limit = writer->options.memory / DICTIONARY_SHARE;
	writer->batch_rows = between(share / VALUE_BYTES, BATCH_MIN, BATCH_MAX);
	/* a page has whole batches, and is not to be much larger than asked */
	writer->batch_bytes =
		between(share * writer->nchunks, BATCH_BYTES_MIN,
				between(writer->options.page_size, BATCH_BYTES_MIN, SIZE_MAX));
	for (int node = 0; node < writer->nnodes;)
		node = add_chunks(writer, node, 0, 0, &chunk, &failed);
	if (failed)
		return ob_pq_no_memory(&writer->memory, error);
	return OB_OK;
}

ObParquet *
ob_parquet_new(const ObPqNode *nodes, int nnodes,
			   const ObParquetOptions *options, ObError *error)
{
	ObParquet *writer = calloc(1, sizeof(ObParquet));
	int nleaves = count_leaves(nodes, nnodes);

	/* values are written as the processor has them */
	if (nleaves == 0 || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
	{
		free(writer);
		ob_error_set(error, OB_EINVAL,
					 nleaves == 0 ? "a Parquet file needs a column"
								  : "Parquet files are not written on "
									"big-endian processors");
		return NULL;
	}
	if (writer)
	{
		writer->options = *options;
		writer->memory.limit = options->memory + options->memory / SLACK_SHARE;
		writer->nnodes = nnodes;
		writer->nodes = malloc(nnodes * sizeof(ObPqNode));
		writer->chunks = calloc(nleaves, sizeof(ObPqChunk));
		writer->wide = calloc(nleaves, sizeof(ObPqLeaf *));
		writer->memory.used = nleaves * sizeof(ObPqChunk);
		writer->compressor =
			ob_pq_compressor_new(options->codec, options->level);
	}
	if (!writer || !writer->nodes || !writer->chunks || !writer->wide ||
		!writer->compressor)
	{
		ob_parquet_free(writer);
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	memcpy(writer->nodes, nodes, nnodes * sizeof(ObPqNode));
	writer->nchunks = writer->working = nleaves;
	writer->taking = 2 * nleaves;
	writer->nfilters = count_filters(nodes, nnodes);
	writer->expected_rows = options->row_group_rows;
	if (build(writer, error) != OB_OK)
	{
		ob_parquet_free(writer);
		return NULL;
	}
	return writer;
}

void
ob_parquet_free(ObParquet *writer)
{
	if (!writer)
		return;
	for (int i = 0; writer->chunks && i < writer->nchunks; i++)
		ob_pq_chunk_free(&writer->chunks[i]);
	if (writer->taken)
		ob_pq_release(&writer->memory, writer->taken, writer->taken->size);
	ob_pq_bytes_free(&writer->memory, &writer->scratch);
	ob_pq_compressor_free(writer->compressor);
	free(writer->chunks);
	free(writer->wide);
	free(writer->nodes);
	free(writer);
}

ObPqLeaf *
ob_parquet_leaf(ObParquet *writer, int number)
{
	return &writer->chunks[number].leaf;
}

/* ---- rows ---- */

int
ob_parquet_row(const ObParquet *writer)
{
	return writer->row;
}

/* The bytes of the batch's texts and lists. */
static size_t
wide_bytes(const ObParquet *writer)
{
	size_t bytes = 0;

	for (int i = 0; i < writer->nwide; i++)
	{
		const ObPqLeaf *leaf = writer->wide[i];

		bytes += leaf->nbytes + leaf->nlevels;
		if (leaf->nlevels > 0)
			bytes += leaf->nvalues * ob_pq_value_size(leaf);
	}
	return bytes;
}

static void
start_work(ObParquet *writer)
{
	writer->last_bytes = wide_bytes(writer);
	writer->working = 0;
	writer->drained = 0;
}

bool
ob_parquet_is_busy(const ObParquet *writer)
{
	return writer->working < writer->nchunks;
}

/* All chunks have the batch's rows in them. */
static void
end_batch(ObParquet *writer)
{
	double rows = writer->options.row_group_rows;

	writer->row = 0;
	writer->size = writer->drained;
	if (writer->size > 0)
		rows = (double) writer->rows * writer->options.row_group_size /
			   writer->size;
	writer->expected_rows = rows < writer->options.row_group_rows
								? rows
								: writer->options.row_group_rows;
}

ObCode
ob_parquet_step(ObParquet *writer, ObError *error)
{
	ObPqChunk *chunk = &writer->chunks[writer->working];

	if (writer->row > 0 && !ob_pq_chunk_drain(chunk, writer->row))
		return ob_pq_no_memory(&writer->memory, error);
	writer->drained += ob_pq_chunk_size(chunk);
	if (writer->record && !ob_pq_chunk_end(chunk))
		return ob_pq_no_memory(&writer->memory, error);
	if (++writer->working < writer->nchunks)
		return OB_OK;
	end_batch(writer);
	if (!writer->record)
		return OB_OK;
	writer->taking = 0;
	(void) ob_pq_record_write(writer, writer->record, error);
	writer->record = NULL;
	return error->code;
}

bool
ob_parquet_has_failed(const ObParquet *writer)
{
	return writer->failed;
}

ObCode
ob_parquet_end_row(ObParquet *writer, ObError *error)
{
	if (writer->failed)
		return ob_pq_no_memory(&writer->memory, error);
	writer->row++;
	writer->rows++;
	if (writer->row < writer->batch_rows &&
		writer->rows < writer->options.row_group_rows &&
		wide_bytes(writer) < writer->batch_bytes)
		return OB_OK;
	start_work(writer);
	return OB_OK;
}

bool
ob_parquet_is_full(const ObParquet *writer)
{
	if (writer->row > 0)
		return false;
	return writer->rows >= writer->options.row_group_rows ||
		   writer->size >= writer->options.row_group_size ||
		   writer->memory.used + NEXT_BATCH * writer->last_bytes >=
			   writer->options.memory;
}

int64_t
ob_parquet_rows(const ObParquet *writer)
{
	return writer->rows;
}

/* ---- row groups ---- */

ObCode
ob_parquet_end_group(ObParquet *writer, ObBuf *record, ObError *error)
{
	if (writer->failed)
		return ob_pq_no_memory(&writer->memory, error);
	writer->record = record;
	start_work(writer);
	return OB_OK;
}

static void
begin_group(ObParquet *writer)
{
	bool shrink;

	for (int i = 0; i < writer->nchunks; i++)
		ob_pq_chunk_reset(&writer->chunks[i]);
	/* The row group would be full soon if they were kept. */
	shrink = writer->memory.used > writer->options.memory / KEPT_SHARE;
	for (int i = 0; shrink && i < writer->nchunks; i++)
	{
		if (!ob_pq_chunk_shrink(&writer->chunks[i]))
			writer->failed = true;
	}
	writer->rows = 0;
	writer->size = 0;
}

/* A page, which leaves its chunk; NULL: there is none left. */
static ObPqBlock *
take_page(ObPqChunk *chunk)
{
	ObPqBlock *block = chunk->dictionary_block;

	if (block)
		chunk->dictionary_block = NULL;
	else
	{
		block = chunk->first;
		if (block)
			chunk->first = block->next;
	}
	return block;
}

static ObPqBlock *
take_filter(ObPqChunk *chunk)
{
	ObPqBlock *block = chunk->filter;

	chunk->filter = NULL;
	return block;
}

/* The next block: the pages of all chunks, then their Bloom filters. */
static ObPqBlock *
next_block(ObParquet *writer)
{
	int n = writer->nchunks;

	while (writer->taking < 2 * n)
	{
		ObPqChunk *chunk = &writer->chunks[writer->taking % n];
		ObPqBlock *block =
			writer->taking < n ? take_page(chunk) : take_filter(chunk);

		if (block)
			return block;
		if (++writer->taking == 2 * n)
			begin_group(writer);
	}
	return NULL;
}

bool
ob_parquet_take(ObParquet *writer, const char **data, size_t *len)
{
	if (writer->taken)
		ob_pq_release(&writer->memory, writer->taken, writer->taken->size);
	writer->taken = next_block(writer);
	if (!writer->taken)
		return false;
	*data = writer->taken->data + writer->taken->start;
	*len = writer->taken->len;
	return true;
}
