/*
 * writer.c
 *		The Parquet writer: rows, batches and row groups.
 *
 * src/core/parquet/writer.c
 */
#include <stdlib.h>
#include <string.h>

#include "core/parquet/parquet_intern.h"

/* Limits of a batch's rows; the more columns, the fewer rows. */
#define BATCH_MAX 1024
#define BATCH_MIN 16
#define BATCH_BYTES_MIN ((size_t) 64 * 1024)
/* The memory is divided by these numbers to get the shares of batches, current
 * pages, dictionaries and Bloom filters.  The hash tables of dictionaries take
 * about three times as much again. */
#define BATCH_SHARE 16
#define PAGE_SHARE 4
#define DICTIONARY_SHARE 16
#define FILTER_SHARE 8
/* After a row group, buffers are freed if they take more than this share. */
#define KEPT_SHARE 2
#define PAGE_LEAST 1024 /* bytes, also for a dictionary and a filter */
/* The reference implementations do not read larger Bloom filters. */
#define FILTER_MAX ((size_t) 128 * 1024 * 1024)
/* A single row may exceed the memory at which a row group ends by this share.
 */
#define SLACK_SHARE 2
#define VALUE_BYTES 16 /* assumed size of a value in a batch */
/* The greatest number of copies of a batch's values at one time: in the batch,
 * in the current page, in the page's body, and compressed. */
#define BATCH_COPIES 4

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
clamp(size_t value, size_t least, size_t most)
{
	if (value < least)
		return least;
	return value > most ? most : value;
}

/* Creates the chunks of the leaves below a node.  Returns the node after that
 * subtree. */
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
	made->page_limit = clamp(options->memory / PAGE_SHARE / writer->nchunks,
							 PAGE_LEAST, options->page_size);
	made->dictionary_share =
		clamp(writer->dictionaries_limit / writer->nchunks, PAGE_LEAST,
			  OB_PQ_DICTIONARY_MAX);
	if (it->filter && it->type != OB_PQ_BOOLEAN)
		made->filter_limit =
			clamp(options->memory / FILTER_SHARE / writer->nfilters,
				  PAGE_LEAST, FILTER_MAX);
	if (!ob_pq_chunk_init(made, writer, it, definition, repetition,
						  writer->batch_rows))
		*failed = true;
	if (it->type == OB_PQ_BYTE_ARRAY || repetition > 0)
		writer->varying[writer->nvarying++] = &made->leaf;
	return node;
}

static ObCode
build(ObParquet *writer, ObError *error)
{
	size_t share = writer->options.memory / BATCH_SHARE / writer->nchunks;
	bool failed = false;
	int chunk = 0;

	writer->dictionaries_limit = writer->options.memory / DICTIONARY_SHARE;
	writer->batch_rows = clamp(share / VALUE_BYTES, BATCH_MIN, BATCH_MAX);
	/* pages consist of whole batches, and must not become much larger than
	 * page_size */
	writer->batch_bytes =
		clamp(share * writer->nchunks, BATCH_BYTES_MIN,
			  clamp(writer->options.page_size, BATCH_BYTES_MIN, SIZE_MAX));
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

	/* PLAIN values are copied from memory, so they must be little-endian */
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
		writer->memory.kept = options->memory;
		writer->nnodes = nnodes;
		writer->nodes = malloc(nnodes * sizeof(ObPqNode));
		writer->chunks = calloc(nleaves, sizeof(ObPqChunk));
		writer->varying = calloc(nleaves, sizeof(ObPqLeaf *));
		writer->memory.used = nleaves * sizeof(ObPqChunk);
		writer->compressor =
			ob_pq_compressor_new(options->codec, options->level);
	}
	if (!writer || !writer->nodes || !writer->chunks || !writer->varying ||
		!writer->compressor)
	{
		ob_parquet_free(writer);
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	memcpy(writer->nodes, nodes, nnodes * sizeof(ObPqNode));
	writer->nchunks = writer->step_chunk = nleaves;
	writer->take_next = 2 * nleaves;
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
	ob_pq_segments_reset(&writer->memory, &writer->pages);
	ob_pq_free_spare(&writer->memory);
	ob_pq_bytes_free(&writer->memory, &writer->scratch);
	ob_pq_bytes_free(&writer->memory, &writer->compressed);
	ob_pq_compressor_free(writer->compressor);
	free(writer->chunks);
	free(writer->varying);
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

/* Returns the bytes of the batch in leaves of varying size. */
static size_t
varying_bytes(const ObParquet *writer)
{
	size_t bytes = 0;

	for (int i = 0; i < writer->nvarying; i++)
	{
		const ObPqLeaf *leaf = writer->varying[i];

		bytes += leaf->nbytes + leaf->nlevels;
		if (leaf->nlevels > 0)
			bytes += leaf->nvalues * ob_pq_value_size(leaf);
	}
	return bytes;
}

static void
start_steps(ObParquet *writer)
{
	writer->last_bytes = varying_bytes(writer);
	writer->step_chunk = 0;
	writer->size_so_far = 0;
}

bool
ob_parquet_is_busy(const ObParquet *writer)
{
	return writer->step_chunk < writer->nchunks;
}

/* Empties the batch after all chunks have taken its rows, and estimates how
 * many rows the row group will have. */
static void
end_batch(ObParquet *writer)
{
	double rows = writer->options.row_group_rows;

	writer->row = 0;
	writer->size = writer->size_so_far;
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
	ObPqChunk *chunk = &writer->chunks[writer->step_chunk];

	if (writer->row > 0 && !ob_pq_chunk_drain(chunk, writer->row))
		return ob_pq_no_memory(&writer->memory, error);
	writer->size_so_far += ob_pq_chunk_size(chunk);
	if (writer->record && !ob_pq_chunk_end(chunk))
		return ob_pq_no_memory(&writer->memory, error);
	if (++writer->step_chunk < writer->nchunks)
		return OB_OK;
	end_batch(writer);
	if (!writer->record)
		return OB_OK;
	writer->take_next = 0;
	writer->take_page = -1;
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
		varying_bytes(writer) < writer->batch_bytes)
		return OB_OK;
	start_steps(writer);
	return OB_OK;
}

bool
ob_parquet_is_full(const ObParquet *writer)
{
	if (writer->row > 0)
		return false;
	return writer->rows >= writer->options.row_group_rows ||
		   writer->size >= writer->options.row_group_size ||
		   writer->memory.used + BATCH_COPIES * writer->last_bytes >=
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
	start_steps(writer);
	return OB_OK;
}

static void
begin_group(ObParquet *writer)
{
	bool shrink;

	for (int i = 0; i < writer->nchunks; i++)
		ob_pq_chunk_reset(&writer->chunks[i]);
	ob_pq_segments_reset(&writer->memory, &writer->pages);
	/* otherwise, the next row group would soon be full */
	shrink = writer->memory.used > writer->options.memory / KEPT_SHARE;
	for (int i = 0; shrink && i < writer->nchunks; i++)
	{
		if (!ob_pq_chunk_shrink(&writer->chunks[i]))
			writer->failed = true;
	}
	writer->rows = 0;
	writer->size = 0;
}

/* Moves on to the next page of the row group.  Returns false if there are no
 * more. */
static bool
next_page(ObParquet *writer)
{
	for (; writer->take_next < writer->nchunks; writer->take_next++)
	{
		const ObPqChunk *chunk = &writer->chunks[writer->take_next];
		const ObPqPage *pages = (const ObPqPage *) chunk->pages.data;
		int npages = chunk->pages.len / sizeof(ObPqPage);

		if (writer->take_page < 0)
		{
			writer->take_page = 0;
			writer->taking = chunk->dictionary_page;
			if (writer->taking.len > 0)
				return true;
		}
		if (writer->take_page < npages)
		{
			writer->taking = pages[writer->take_page++].bytes;
			return true;
		}
		writer->take_page = -1;
	}
	return false;
}

/* Returns the next bytes of the current page. */
static void
take_bytes(ObPqExtent *taking, const char **data, size_t *len)
{
	size_t room = OB_PQ_SEGMENT_BYTES - taking->offset;

	*data = taking->segment->data + taking->offset;
	*len = taking->len < room ? taking->len : room;
	taking->segment = taking->segment->next;
	taking->offset = 0;
	taking->len -= *len;
}

/* Removes the next Bloom filter from its chunk.  Begins the next row group,
 * and returns NULL, if there are no more. */
static ObPqFilter *
next_filter(ObParquet *writer)
{
	int n = writer->nchunks;

	while (writer->take_next < 2 * n)
	{
		ObPqChunk *chunk = &writer->chunks[writer->take_next - n];
		ObPqFilter *filter = chunk->filter;

		chunk->filter = NULL;
		if (filter)
			return filter;
		if (++writer->take_next == 2 * n)
			begin_group(writer);
	}
	return NULL;
}

bool
ob_parquet_take(ObParquet *writer, const char **data, size_t *len)
{
	if (writer->taking.len > 0 || next_page(writer))
	{
		take_bytes(&writer->taking, data, len);
		return true;
	}
	if (writer->taken)
		ob_pq_release(&writer->memory, writer->taken, writer->taken->size);
	writer->taken = next_filter(writer);
	if (!writer->taken)
		return false;
	*data = writer->taken->data + writer->taken->start;
	*len = writer->taken->len;
	return true;
}
