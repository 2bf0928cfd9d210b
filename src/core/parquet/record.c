/*
 * record.c
 *		Records, which describe row groups to the process that writes the
 *		footer.
 *
 * src/core/parquet/record.c
 *
 * Integers have the byte order of the machine, which records never leave.
 */
#include <string.h>

#include "core/parquet/parquet_intern.h"

#define MAGIC 0x0B9A7C01

static void
put(ObBuf *out, const void *data, size_t len)
{
	ob_buf_add(out, data, len);
}

static void
put32(ObBuf *out, int32_t value)
{
	put(out, &value, sizeof(value));
}

static void
put64(ObBuf *out, int64_t value)
{
	put(out, &value, sizeof(value));
}

static void
put_bound(ObBuf *out, const ObPqBound *bound)
{
	ob_buf_addc(out, (char) bound->len);
	ob_buf_addc(out, (char) bound->truncated);
	put(out, bound->data, bound->len);
}

static void
put_stats(ObBuf *out, const ObPqStats *stats)
{
	ob_buf_addc(out, (char) stats->valid);
	if (!stats->valid)
		return;
	put_bound(out, &stats->min);
	put_bound(out, &stats->max);
}

static size_t
filter_size(const ObPqChunk *chunk)
{
	return chunk->filter ? chunk->filter->len : 0;
}

static void
put_chunk(const ObPqChunk *chunk, int64_t offset, int64_t filter_offset,
		  ObBuf *out)
{
	const ObPqPage *pages = (const ObPqPage *) chunk->pages.data;
	int npages = chunk->pages.len / sizeof(ObPqPage);

	put64(out, offset);
	put64(out, chunk->values);
	put64(out, chunk->nulls);
	put64(out, chunk->uncompressed);
	put64(out, chunk->compressed);
	put32(out, (int32_t) chunk->dictionary_page.len);
	put64(out, filter_offset);
	put32(out, filter_size(chunk));
	put32(out, chunk->options->codec);
	put32(out, ob_pq_chunk_encoding(chunk));
	put32(out, chunk->dictionary_pages);
	put32(out, chunk->plain_pages);
	put32(out, chunk->delta_pages);
	put32(out, npages);
	put_stats(out, &chunk->stats);
	for (int i = 0; i < npages; i++)
	{
		put64(out, pages[i].first_row);
		put64(out, pages[i].nulls);
		put32(out, pages[i].size);
		ob_buf_addc(out, (char) pages[i].all_null);
		put_stats(out, &pages[i].stats);
	}
}

ObCode
ob_pq_record_write(const ObParquet *writer, ObBuf *out, ObError *error)
{
	int64_t bytes = 0;
	int64_t uncompressed = 0;
	int64_t filters = 0;
	int64_t offset = 0;
	int64_t filter_offset;

	for (int i = 0; i < writer->nchunks; i++)
	{
		bytes += writer->chunks[i].compressed;
		uncompressed += writer->chunks[i].uncompressed;
		filters += filter_size(&writer->chunks[i]);
	}
	filter_offset = bytes;
	put32(out, MAGIC);
	put32(out, writer->nchunks);
	put64(out, writer->rows);
	put64(out, bytes);
	put64(out, uncompressed);
	put64(out, filters);
	for (int i = 0; i < writer->nchunks; i++)
	{
		put_chunk(&writer->chunks[i], offset, filter_offset, out);
		offset += writer->chunks[i].compressed;
		filter_offset += filter_size(&writer->chunks[i]);
	}
	return ob_buf_check(out, error);
}

/* ---- reading ---- */

static void
get(ObPqRecord *record, void *to, size_t len)
{
	if ((size_t) (record->end - record->at) < len)
		record->failed = true;
	if (record->failed)
		memset(to, 0, len);
	else
	{
		memcpy(to, record->at, len);
		record->at += len;
	}
}

static uint8_t
get8(ObPqRecord *record)
{
	uint8_t value;

	get(record, &value, sizeof(value));
	return value;
}

static int32_t
get32(ObPqRecord *record)
{
	int32_t value;

	get(record, &value, sizeof(value));
	return value;
}

static int64_t
get64(ObPqRecord *record)
{
	int64_t value;

	get(record, &value, sizeof(value));
	return value;
}

static void
get_bound(ObPqRecord *record, ObPqBound *bound)
{
	bound->len = get8(record);
	bound->truncated = get8(record) != 0;
	if (bound->len > OB_PQ_STAT_MAX)
		record->failed = true;
	else
		get(record, bound->data, bound->len);
}

static void
get_stats(ObPqRecord *record, ObPqStats *stats)
{
	stats->valid = get8(record) != 0;
	stats->unbounded = false;
	if (!stats->valid)
		return;
	get_bound(record, &stats->min);
	get_bound(record, &stats->max);
}

void
ob_pq_record_begin(ObPqRecord *record, const void *data, size_t len,
				   ObPqRecordGroup *group)
{
	record->at = data;
	record->end = record->at + len;
	record->failed = false;
	if (get32(record) != MAGIC)
		record->failed = true;
	group->nchunks = get32(record);
	group->rows = get64(record);
	group->bytes = get64(record);
	group->uncompressed = get64(record);
	group->filters = get64(record);
}

void
ob_pq_record_chunk(ObPqRecord *record, ObPqRecordChunk *chunk)
{
	chunk->offset = get64(record);
	chunk->values = get64(record);
	chunk->nulls = get64(record);
	chunk->uncompressed = get64(record);
	chunk->compressed = get64(record);
	chunk->dictionary_size = get32(record);
	chunk->filter_offset = get64(record);
	chunk->filter_size = get32(record);
	chunk->codec = get32(record);
	chunk->delta_encoding = get32(record);
	chunk->dictionary_pages = get32(record);
	chunk->plain_pages = get32(record);
	chunk->delta_pages = get32(record);
	chunk->npages = get32(record);
	get_stats(record, &chunk->stats);
}

void
ob_pq_record_page(ObPqRecord *record, ObPqPage *page)
{
	page->first_row = get64(record);
	page->nulls = get64(record);
	page->size = get32(record);
	page->all_null = get8(record) != 0;
	get_stats(record, &page->stats);
}

bool
ob_pq_record_group(const void *data, size_t len, ObPqGroupStats *stats)
{
	ObPqRecord record;
	ObPqRecordGroup group;

	ob_pq_record_begin(&record, data, len, &group);
	stats->rows = group.rows;
	stats->bytes = group.bytes + group.filters;
	return !record.failed;
}

/* Adds a chunk to the statistics of a leaf.  If a chunk has values but no
 * bounds, the leaf has no bounds either. */
static void
add_chunk(ObPqLeafStats *stats, const ObPqNode *node,
		  const ObPqRecordChunk *chunk)
{
	ObPqStats *bounds = &stats->bounds;

	stats->values += chunk->values;
	stats->nulls += chunk->nulls;
	stats->bytes += chunk->compressed;
	if (!chunk->stats.valid && chunk->values > chunk->nulls)
		bounds->unbounded = true;
	if (bounds->unbounded)
		bounds->valid = false;
	else if (chunk->stats.valid)
		ob_pq_stats_widen(bounds, ob_pq_order_of(node), node->length,
						  &chunk->stats);
}

bool
ob_pq_record_leaves(const void *data, size_t len, const ObPqNode *nodes,
					int nnodes, ObPqLeafStats *stats, int n)
{
	ObPqRecord record;
	ObPqRecordGroup group;
	ObPqRecordChunk chunk;
	ObPqPage page;
	int leaf = 0;

	ob_pq_record_begin(&record, data, len, &group);
	for (int node = 0; node < nnodes && leaf < n; node++)
	{
		if (nodes[node].nchildren > 0)
			continue;
		ob_pq_record_chunk(&record, &chunk);
		for (int i = 0; i < chunk.npages && !record.failed; i++)
			ob_pq_record_page(&record, &page);
		if (record.failed)
			return false;
		add_chunk(&stats[leaf++], &nodes[node], &chunk);
	}
	return !record.failed && leaf <= group.nchunks;
}
