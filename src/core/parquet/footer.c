/*
 * footer.c
 *		The end of a Parquet file: page indexes and the file's metadata.
 *
 * src/core/parquet/footer.c
 *
 * As in files of the reference implementations, the column indexes of all row
 * groups come first, then their offset indexes, the metadata, its length and
 * the magic.  Bloom filters follow the pages of their row group.
 */
#include <stdlib.h>
#include <string.h>

#include "core/parquet/parquet_intern.h"
#include "core/parquet/thrift.h"

#define METADATA_MAX ((size_t) 1024 * 1024 * 1024)
#define FORMAT_VERSION 1
#define PATH_MAX_DEPTH 64

/* Field ids of FileMetaData, SchemaElement, RowGroup, ColumnChunk,
 * ColumnMetaData and Statistics. */
enum
{
	FILE_VERSION = 1,
	FILE_SCHEMA = 2,
	FILE_ROWS = 3,
	FILE_GROUPS = 4,
	FILE_PROPERTIES = 5,
	FILE_CREATED_BY = 6,
	FILE_ORDERS = 7,

	ELEMENT_TYPE = 1,
	ELEMENT_LENGTH = 2,
	ELEMENT_REPETITION = 3,
	ELEMENT_NAME = 4,
	ELEMENT_CHILDREN = 5,
	ELEMENT_CONVERTED = 6,
	ELEMENT_SCALE = 7,
	ELEMENT_PRECISION = 8,
	ELEMENT_FIELD_ID = 9,
	ELEMENT_LOGICAL = 10,

	GROUP_COLUMNS = 1,
	GROUP_BYTES = 2,
	GROUP_ROWS = 3,
	GROUP_SORTING = 4,
	GROUP_COMPRESSED = 6,

	CHUNK_OFFSET = 2,
	CHUNK_METADATA = 3,
	CHUNK_OFFSET_INDEX_AT = 4,
	CHUNK_OFFSET_INDEX_LEN = 5,
	CHUNK_COLUMN_INDEX_AT = 6,
	CHUNK_COLUMN_INDEX_LEN = 7,

	COLUMN_TYPE = 1,
	COLUMN_ENCODINGS = 2,
	COLUMN_PATH = 3,
	COLUMN_CODEC = 4,
	COLUMN_VALUES = 5,
	COLUMN_UNCOMPRESSED = 6,
	COLUMN_COMPRESSED = 7,
	COLUMN_DATA_AT = 9,
	COLUMN_DICTIONARY_AT = 11,
	COLUMN_STATISTICS = 12,
	COLUMN_ENCODING_STATS = 13,
	COLUMN_FILTER_AT = 14,
	COLUMN_FILTER_LEN = 15,

	STATS_NULLS = 3,
	STATS_MAX = 5,
	STATS_MIN = 6,
	STATS_MAX_EXACT = 7,
	STATS_MIN_EXACT = 8
};

/* LogicalType is a union, whose field id tells the type. */
enum
{
	LOGICAL_STRING = 1,
	LOGICAL_MAP = 2,
	LOGICAL_LIST = 3,
	LOGICAL_ENUM = 4,
	LOGICAL_DECIMAL = 5,
	LOGICAL_DATE = 6,
	LOGICAL_TIME = 7,
	LOGICAL_TIMESTAMP = 8,
	LOGICAL_INTEGER = 10,
	LOGICAL_JSON = 12,
	LOGICAL_UUID = 14
};

/* ConvertedType, for readers that do not know LogicalType. */
enum
{
	CONVERTED_NONE = -1,
	CONVERTED_UTF8 = 0,
	CONVERTED_MAP = 1,
	CONVERTED_LIST = 3,
	CONVERTED_ENUM = 4,
	CONVERTED_DECIMAL = 5,
	CONVERTED_DATE = 6,
	CONVERTED_TIMESTAMP_MICROS = 10,
	CONVERTED_INT_16 = 16,
	CONVERTED_JSON = 19
};

enum
{
	UNIT_MICROS = 2,
	PAGE_TYPE_DATA = 0,
	PAGE_TYPE_DICTIONARY = 2,
	TYPE_ORDER = 1
};

/* BoundaryOrder of a column index. */
enum
{
	BOUNDARY_UNORDERED = 0,
	BOUNDARY_ASCENDING = 1,
	BOUNDARY_DESCENDING = 2
};

typedef struct Group
{
	const void *record;
	size_t len;
	int64_t offset;
} Group;

/* The places of a chunk's page indexes in the file. */
typedef struct ChunkIndexes
{
	int64_t column_index_at;
	int32_t column_index_len; /* 0: none */
	int64_t offset_index_at;
	int32_t offset_index_len;
} ChunkIndexes;

typedef enum Stage
{
	STAGE_COLUMN_INDEX,
	STAGE_OFFSET_INDEX,
	STAGE_METADATA,
	STAGE_END
} Stage;

struct ObPqFooter
{
	const ObPqNode *nodes;
	int nnodes;
	int nleaves;
	ObPqFooterOptions options;
	Group *groups;
	size_t ngroups;
	size_t capacity;
	ChunkIndexes *indexes; /* all chunks, by row group */
	Stage stage;
	size_t group; /* next row group of the stage */
};

ObPqFooter *
ob_pq_footer_new(const ObPqNode *nodes, int nnodes,
				 const ObPqFooterOptions *options, ObError *error)
{
	ObPqFooter *footer = calloc(1, sizeof(ObPqFooter));

	if (!footer)
	{
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	footer->nodes = nodes;
	footer->nnodes = nnodes;
	for (int i = 0; i < nnodes; i++)
		footer->nleaves += nodes[i].nchildren == 0;
	footer->options = *options;
	return footer;
}

void
ob_pq_footer_free(ObPqFooter *footer)
{
	if (!footer)
		return;
	free(footer->groups);
	free(footer->indexes);
	free(footer);
}

ObCode
ob_pq_footer_add(ObPqFooter *footer, const void *record, size_t len,
				 int64_t offset, ObError *error)
{
	ObPqRecord reader;
	ObPqRecordGroup group;

	ob_pq_record_begin(&reader, record, len, &group);
	if (reader.failed || group.nchunks != footer->nleaves)
		return ob_error_set(error, OB_EPROTO, "invalid record of a row group");
	if (footer->ngroups == footer->capacity)
	{
		size_t capacity = footer->capacity ? footer->capacity * 2 : 16;
		Group *groups = realloc(footer->groups, capacity * sizeof(Group));

		if (!groups)
			return ob_error_set(error, OB_ENOMEM, "out of memory");
		footer->groups = groups;
		footer->capacity = capacity;
	}
	footer->groups[footer->ngroups++] = (Group){record, len, offset};
	return OB_OK;
}

/* ---- page indexes ---- */

/* Returns whether each page has bounds or only nulls, as a column index
 * requires. */
static bool
can_have_column_index(ObPqRecord record, int npages)
{
	for (int i = 0; i < npages; i++)
	{
		ObPqPage page;

		ob_pq_record_page(&record, &page);
		if (record.failed || (!page.all_null && !page.stats.valid))
			return false;
	}
	return true;
}

static void
write_bound(ObThrift *thrift, const ObPqPage *page, const ObPqBound *bound)
{
	if (page->all_null)
		ob_thrift_element_binary(thrift, "", 0);
	else
		ob_thrift_element_binary(thrift, bound->data, bound->len);
}

/* Returns the order of the pages' bounds, without pages that have only nulls.
 * Bounds that are both ascending and descending are called ascending. */
static int
boundary_order(const ObPqNode *node, ObPqRecord record, int npages)
{
	ObPqOrder order = ob_pq_order_of(node);
	bool ascending = true;
	bool descending = true;
	bool first = true;
	ObPqStats last;

	for (int i = 0; i < npages; i++)
	{
		ObPqPage page;
		int min;
		int max;

		ob_pq_record_page(&record, &page);
		if (page.all_null)
			continue;
		if (!first)
		{
			min = ob_pq_bound_compare(order, node->length, &last.min,
									  &page.stats.min);
			max = ob_pq_bound_compare(order, node->length, &last.max,
									  &page.stats.max);
			ascending = ascending && min <= 0 && max <= 0;
			descending = descending && min >= 0 && max >= 0;
		}
		last = page.stats;
		first = false;
	}
	if (ascending)
		return BOUNDARY_ASCENDING;
	return descending ? BOUNDARY_DESCENDING : BOUNDARY_UNORDERED;
}

/* Writes a ColumnIndex, which has a list for each field of a page.  Each list
 * reads all pages again, from a copy of the reader. */
static void
write_column_index(const ObPqNode *node, ObPqRecord record, int npages,
				   ObBuf *out)
{
	ObThrift thrift;

	ob_thrift_begin(&thrift, out);
	for (int list = 1; list <= 5; list++)
	{
		ObPqRecord pages = record;
		ObPqPage page;

		if (list == 4)
		{
			ob_thrift_i32(&thrift, 4, boundary_order(node, record, npages));
			continue;
		}
		ob_thrift_list(&thrift, list,
					   list == 1   ? OB_THRIFT_TRUE
					   : list == 5 ? OB_THRIFT_I64
								   : OB_THRIFT_BINARY,
					   npages);
		for (int i = 0; i < npages; i++)
		{
			ob_pq_record_page(&pages, &page);
			if (list == 1)
				ob_thrift_element_bool(&thrift, page.all_null);
			else if (list == 2)
				write_bound(&thrift, &page, &page.stats.min);
			else if (list == 3)
				write_bound(&thrift, &page, &page.stats.max);
			else
				ob_thrift_element_int(&thrift, page.nulls);
		}
	}
	ob_thrift_end(&thrift);
}

static void
write_offset_index(ObPqRecord *record, const ObPqRecordChunk *chunk,
				   int64_t base, ObBuf *out)
{
	int64_t offset = base + chunk->offset + chunk->dictionary_size;
	ObThrift thrift;

	ob_thrift_begin(&thrift, out);
	ob_thrift_list(&thrift, 1, OB_THRIFT_STRUCT, chunk->npages);
	for (int i = 0; i < chunk->npages; i++)
	{
		ObPqPage page;

		ob_pq_record_page(record, &page);
		ob_thrift_element_struct(&thrift);
		ob_thrift_i64(&thrift, 1, offset);
		ob_thrift_i32(&thrift, 2, page.size);
		ob_thrift_i64(&thrift, 3, page.first_row);
		ob_thrift_end(&thrift);
		offset += page.size;
	}
	ob_thrift_end(&thrift);
}

static void
skip_pages(ObPqRecord *record, int npages)
{
	ObPqPage page;

	for (int i = 0; i < npages && !record->failed; i++)
		ob_pq_record_page(record, &page);
}

/* Writes the column indexes, or the offset indexes, of the next row group. */
static ObCode
write_indexes(ObPqFooter *footer, int64_t at, ObBuf *out, ObError *error)
{
	const Group *group = &footer->groups[footer->group];
	ChunkIndexes *index = &footer->indexes[footer->group * footer->nleaves];
	const ObPqNode *node = footer->nodes;
	ObPqRecord record;
	ObPqRecordGroup header;

	ob_pq_record_begin(&record, group->record, group->len, &header);
	for (int i = 0; i < footer->nleaves; i++, index++, node++)
	{
		ObPqRecordChunk chunk;
		size_t before = out->len;

		while (node->nchildren > 0)
			node++;

		ob_pq_record_chunk(&record, &chunk);
		if (record.failed)
			break;
		if (footer->stage == STAGE_OFFSET_INDEX)
		{
			write_offset_index(&record, &chunk, group->offset, out);
			index->offset_index_at = at + before;
			index->offset_index_len = out->len - before;
			continue;
		}
		if (can_have_column_index(record, chunk.npages))
			write_column_index(node, record, chunk.npages, out);
		index->column_index_at = at + before;
		index->column_index_len = out->len - before;
		skip_pages(&record, chunk.npages);
	}
	if (record.failed)
		return ob_error_set(error, OB_EPROTO, "invalid record of a row group");
	return ob_buf_check(out, error);
}

/* ---- the schema ---- */

static int
converted_type_id(const ObPqNode *node)
{
	switch (node->logical_type)
	{
		case OB_PQ_STRING:
			return CONVERTED_UTF8;
		case OB_PQ_ENUM:
			return CONVERTED_ENUM;
		case OB_PQ_JSON:
			return CONVERTED_JSON;
		case OB_PQ_INT16:
			return CONVERTED_INT_16;
		case OB_PQ_DATE:
			return CONVERTED_DATE;
		case OB_PQ_TIMESTAMPTZ:
			return CONVERTED_TIMESTAMP_MICROS;
		case OB_PQ_DECIMAL:
			return CONVERTED_DECIMAL;
		case OB_PQ_LIST:
			return CONVERTED_LIST;
		case OB_PQ_MAP:
			return CONVERTED_MAP;
		default:
			/* the converted types of times mean UTC, so ours have none */
			return CONVERTED_NONE;
	}
}

static int
logical_type_id(const ObPqNode *node)
{
	switch (node->logical_type)
	{
		case OB_PQ_STRING:
			return LOGICAL_STRING;
		case OB_PQ_ENUM:
			return LOGICAL_ENUM;
		case OB_PQ_JSON:
			return LOGICAL_JSON;
		case OB_PQ_UUID:
			return LOGICAL_UUID;
		case OB_PQ_INT16:
			return LOGICAL_INTEGER;
		case OB_PQ_DATE:
			return LOGICAL_DATE;
		case OB_PQ_TIME:
			return LOGICAL_TIME;
		case OB_PQ_TIMESTAMP:
		case OB_PQ_TIMESTAMPTZ:
			return LOGICAL_TIMESTAMP;
		case OB_PQ_DECIMAL:
			return LOGICAL_DECIMAL;
		case OB_PQ_LIST:
			return LOGICAL_LIST;
		case OB_PQ_MAP:
			return LOGICAL_MAP;
		default:
			return 0;
	}
}

static void
write_logical(ObThrift *thrift, const ObPqNode *node)
{
	int logical = logical_type_id(node);

	if (logical == 0)
		return;
	ob_thrift_struct(thrift, ELEMENT_LOGICAL);
	ob_thrift_struct(thrift, logical);
	if (logical == LOGICAL_DECIMAL)
	{
		ob_thrift_i32(thrift, 1, node->scale);
		ob_thrift_i32(thrift, 2, node->precision);
	}
	else if (logical == LOGICAL_INTEGER)
	{
		ob_thrift_i8(thrift, 1, 16);
		ob_thrift_bool(thrift, 2, true); /* signed */
	}
	else if (logical == LOGICAL_TIME || logical == LOGICAL_TIMESTAMP)
	{
		ob_thrift_bool(thrift, 1, node->logical_type == OB_PQ_TIMESTAMPTZ);
		ob_thrift_struct(thrift, 2);
		ob_thrift_struct(thrift, UNIT_MICROS);
		ob_thrift_end(thrift);
		ob_thrift_end(thrift);
	}
	ob_thrift_end(thrift);
	ob_thrift_end(thrift);
}

static void
write_node(ObThrift *thrift, const ObPqNode *node)
{
	int converted = converted_type_id(node);

	ob_thrift_element_struct(thrift);
	if (node->nchildren == 0)
		ob_thrift_i32(thrift, ELEMENT_TYPE, node->type);
	if (node->nchildren == 0 && node->type == OB_PQ_FIXED)
		ob_thrift_i32(thrift, ELEMENT_LENGTH, node->length);
	ob_thrift_i32(thrift, ELEMENT_REPETITION, node->repetition);
	ob_thrift_text(thrift, ELEMENT_NAME, node->name);
	if (node->nchildren > 0)
		ob_thrift_i32(thrift, ELEMENT_CHILDREN, node->nchildren);
	if (converted != CONVERTED_NONE)
		ob_thrift_i32(thrift, ELEMENT_CONVERTED, converted);
	if (node->logical_type == OB_PQ_DECIMAL)
	{
		ob_thrift_i32(thrift, ELEMENT_SCALE, node->scale);
		ob_thrift_i32(thrift, ELEMENT_PRECISION, node->precision);
	}
	if (node->field_id > 0)
		ob_thrift_i32(thrift, ELEMENT_FIELD_ID, node->field_id);
	write_logical(thrift, node);
	ob_thrift_end(thrift);
}

/* Returns the number of nodes in the subtree of a node. */
static int
span(const ObPqNode *nodes, int node)
{
	int next = node + 1;

	for (int i = 0; i < nodes[node].nchildren; i++)
		next += span(nodes, next);
	return next - node;
}

static void
write_schema(ObThrift *thrift, const ObPqFooter *footer)
{
	int top = 0;

	for (int i = 0; i < footer->nnodes; i += span(footer->nodes, i))
		top++;
	ob_thrift_list(thrift, FILE_SCHEMA, OB_THRIFT_STRUCT, footer->nnodes + 1);
	ob_thrift_element_struct(thrift);
	ob_thrift_text(thrift, ELEMENT_NAME, "schema");
	ob_thrift_i32(thrift, ELEMENT_CHILDREN, top);
	ob_thrift_end(thrift);
	for (int i = 0; i < footer->nnodes; i++)
		write_node(thrift, &footer->nodes[i]);
}

/* ---- column chunks ---- */

static void
write_encodings(ObThrift *thrift, const ObPqRecordChunk *chunk)
{
	int32_t encodings[4];
	int n = 0;

	encodings[n++] = OB_PQ_ENC_RLE; /* levels */
	if (chunk->dictionary_pages > 0)
		encodings[n++] = OB_PQ_ENC_DICTIONARY;
	if (chunk->plain_pages > 0 || chunk->dictionary_pages > 0)
		encodings[n++] = OB_PQ_ENC_PLAIN;
	if (chunk->delta_pages > 0)
		encodings[n++] = chunk->delta_encoding;
	ob_thrift_list(thrift, COLUMN_ENCODINGS, OB_THRIFT_I32, n);
	for (int i = 0; i < n; i++)
		ob_thrift_element_int(thrift, encodings[i]);
}

static void
write_encoding_stats(ObThrift *thrift, const ObPqRecordChunk *chunk)
{
	const int32_t stats[][3] = {
		{PAGE_TYPE_DICTIONARY, OB_PQ_ENC_PLAIN, chunk->dictionary_size > 0},
		{PAGE_TYPE_DATA, OB_PQ_ENC_DICTIONARY, chunk->dictionary_pages},
		{PAGE_TYPE_DATA, OB_PQ_ENC_PLAIN, chunk->plain_pages},
		{PAGE_TYPE_DATA, chunk->delta_encoding, chunk->delta_pages},
	};
	int nstats = sizeof(stats) / sizeof(stats[0]);
	int n = 0;

	for (int i = 0; i < nstats; i++)
		n += stats[i][2] > 0;
	ob_thrift_list(thrift, COLUMN_ENCODING_STATS, OB_THRIFT_STRUCT, n);
	for (int i = 0; i < nstats; i++)
	{
		if (stats[i][2] == 0)
			continue;
		ob_thrift_element_struct(thrift);
		for (int field = 0; field < 3; field++)
			ob_thrift_i32(thrift, field + 1, stats[i][field]);
		ob_thrift_end(thrift);
	}
}

static void
write_statistics(ObThrift *thrift, const ObPqRecordChunk *chunk)
{
	const ObPqStats *stats = &chunk->stats;

	ob_thrift_struct(thrift, COLUMN_STATISTICS);
	ob_thrift_i64(thrift, STATS_NULLS, chunk->nulls);
	if (stats->valid)
	{
		ob_thrift_binary(thrift, STATS_MAX, stats->max.data, stats->max.len);
		ob_thrift_binary(thrift, STATS_MIN, stats->min.data, stats->min.len);
		ob_thrift_bool(thrift, STATS_MAX_EXACT, !stats->max.truncated);
		ob_thrift_bool(thrift, STATS_MIN_EXACT, !stats->min.truncated);
	}
	ob_thrift_end(thrift);
}

typedef struct Path
{
	const char *names[PATH_MAX_DEPTH];
	int depth;
} Path;

static void
write_chunk(ObThrift *thrift, const ObPqNode *node, const Path *path,
			const ObPqRecordChunk *chunk, int64_t base,
			const ChunkIndexes *index)
{
	int64_t begin = base + chunk->offset;

	ob_thrift_element_struct(thrift);
	ob_thrift_i64(thrift, CHUNK_OFFSET, 0);
	ob_thrift_struct(thrift, CHUNK_METADATA);
	ob_thrift_i32(thrift, COLUMN_TYPE, node->type);
	write_encodings(thrift, chunk);
	ob_thrift_list(thrift, COLUMN_PATH, OB_THRIFT_BINARY, path->depth);
	for (int i = 0; i < path->depth; i++)
		ob_thrift_element_binary(thrift, path->names[i],
								 strlen(path->names[i]));
	ob_thrift_i32(thrift, COLUMN_CODEC, chunk->codec);
	ob_thrift_i64(thrift, COLUMN_VALUES, chunk->values);
	ob_thrift_i64(thrift, COLUMN_UNCOMPRESSED, chunk->uncompressed);
	ob_thrift_i64(thrift, COLUMN_COMPRESSED, chunk->compressed);
	ob_thrift_i64(thrift, COLUMN_DATA_AT, begin + chunk->dictionary_size);
	if (chunk->dictionary_size > 0)
		ob_thrift_i64(thrift, COLUMN_DICTIONARY_AT, begin);
	write_statistics(thrift, chunk);
	write_encoding_stats(thrift, chunk);
	if (chunk->filter_size > 0)
	{
		ob_thrift_i64(thrift, COLUMN_FILTER_AT, base + chunk->filter_offset);
		ob_thrift_i32(thrift, COLUMN_FILTER_LEN, chunk->filter_size);
	}
	ob_thrift_end(thrift);
	ob_thrift_i64(thrift, CHUNK_OFFSET_INDEX_AT, index->offset_index_at);
	ob_thrift_i32(thrift, CHUNK_OFFSET_INDEX_LEN, index->offset_index_len);
	if (index->column_index_len > 0)
	{
		ob_thrift_i64(thrift, CHUNK_COLUMN_INDEX_AT, index->column_index_at);
		ob_thrift_i32(thrift, CHUNK_COLUMN_INDEX_LEN, index->column_index_len);
	}
	ob_thrift_end(thrift);
}

typedef struct ChunkWriter
{
	const ObPqFooter *footer;
	ObPqRecord record;
	int64_t base;
	const ChunkIndexes *index; /* the next chunk's */
	Path path;
} ChunkWriter;

/* Writes the chunks of the leaves below a node.  Returns the node after that
 * subtree. */
static int
write_chunks(ObThrift *thrift, ChunkWriter *chunks, int at)
{
	const ObPqNode *node = &chunks->footer->nodes[at++];
	ObPqRecordChunk chunk;

	chunks->path.names[chunks->path.depth++] = node->name;
	for (int i = 0; i < node->nchildren; i++)
		at = write_chunks(thrift, chunks, at);
	if (node->nchildren == 0)
	{
		ob_pq_record_chunk(&chunks->record, &chunk);
		write_chunk(thrift, node, &chunks->path, &chunk, chunks->base,
					chunks->index++);
		skip_pages(&chunks->record, chunk.npages);
	}
	chunks->path.depth--;
	return at;
}

static void
write_sorting(ObThrift *thrift, const ObPqFooterOptions *options)
{
	if (options->nsorting == 0)
		return;
	ob_thrift_list(thrift, GROUP_SORTING, OB_THRIFT_STRUCT, options->nsorting);
	for (int i = 0; i < options->nsorting; i++)
	{
		ob_thrift_element_struct(thrift);
		ob_thrift_i32(thrift, 1, options->sorting[i].leaf);
		ob_thrift_bool(thrift, 2, options->sorting[i].descending);
		ob_thrift_bool(thrift, 3, options->sorting[i].nulls_first);
		ob_thrift_end(thrift);
	}
}

static int64_t
write_group(ObThrift *thrift, const ObPqFooter *footer, size_t number)
{
	const Group *group = &footer->groups[number];
	ObPqRecordGroup header;
	ChunkWriter chunks = {
		.footer = footer,
		.base = group->offset,
		.index = &footer->indexes[number * footer->nleaves],
	};

	ob_pq_record_begin(&chunks.record, group->record, group->len, &header);
	ob_thrift_element_struct(thrift);
	ob_thrift_list(thrift, GROUP_COLUMNS, OB_THRIFT_STRUCT, footer->nleaves);
	for (int node = 0; node < footer->nnodes;)
		node = write_chunks(thrift, &chunks, node);
	ob_thrift_i64(thrift, GROUP_BYTES, header.uncompressed);
	ob_thrift_i64(thrift, GROUP_ROWS, header.rows);
	write_sorting(thrift, &footer->options);
	ob_thrift_i64(thrift, GROUP_COMPRESSED, header.bytes);
	ob_thrift_end(thrift);
	return header.rows;
}

/* ---- the file ---- */

static int64_t
count_rows(const ObPqFooter *footer)
{
	int64_t rows = 0;

	for (size_t i = 0; i < footer->ngroups; i++)
	{
		ObPqRecord record;
		ObPqRecordGroup group;

		ob_pq_record_begin(&record, footer->groups[i].record,
						   footer->groups[i].len, &group);
		rows += group.rows;
	}
	return rows;
}

static void
write_properties(ObThrift *thrift, const ObPqFooterOptions *options)
{
	if (options->nproperties == 0)
		return;
	ob_thrift_list(thrift, FILE_PROPERTIES, OB_THRIFT_STRUCT,
				   options->nproperties);
	for (int i = 0; i < options->nproperties; i++)
	{
		ob_thrift_element_struct(thrift);
		ob_thrift_text(thrift, 1, options->properties[i].key);
		ob_thrift_text(thrift, 2, options->properties[i].value);
		ob_thrift_end(thrift);
	}
}

/* Writes the column orders: each type's own order. */
static void
write_orders(ObThrift *thrift, int nleaves)
{
	ob_thrift_list(thrift, FILE_ORDERS, OB_THRIFT_STRUCT, nleaves);
	for (int i = 0; i < nleaves; i++)
	{
		ob_thrift_element_struct(thrift);
		ob_thrift_struct(thrift, TYPE_ORDER);
		ob_thrift_end(thrift);
		ob_thrift_end(thrift);
	}
}

static ObCode
write_metadata(const ObPqFooter *footer, ObBuf *out, ObError *error)
{
	const ObPqFooterOptions *options = &footer->options;
	ObThrift thrift;
	uint32_t len;

	ob_thrift_begin(&thrift, out);
	ob_thrift_i32(&thrift, FILE_VERSION, FORMAT_VERSION);
	write_schema(&thrift, footer);
	ob_thrift_i64(&thrift, FILE_ROWS, count_rows(footer));
	ob_thrift_list(&thrift, FILE_GROUPS, OB_THRIFT_STRUCT, footer->ngroups);
	for (size_t i = 0; i < footer->ngroups; i++)
		write_group(&thrift, footer, i);
	write_properties(&thrift, options);
	if (options->created_by)
		ob_thrift_text(&thrift, FILE_CREATED_BY, options->created_by);
	write_orders(&thrift, footer->nleaves);
	ob_thrift_end(&thrift);
	len = out->len;
	ob_buf_add(out, &len, sizeof(len));
	ob_buf_adds(out, OB_PQ_MAGIC);
	return ob_buf_check(out, error);
}

static ObCode
begin(ObPqFooter *footer, ObError *error)
{
	if (footer->indexes || footer->ngroups == 0)
		return OB_OK;
	footer->indexes =
		calloc(footer->ngroups * footer->nleaves, sizeof(ChunkIndexes));
	if (!footer->indexes)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	return OB_OK;
}

ObCode
ob_pq_footer_next(ObPqFooter *footer, int64_t offset, ObBuf *out,
				  ObError *error)
{
	if (begin(footer, error) != OB_OK)
		return error->code;
	ob_buf_reset(out);
	while (footer->stage < STAGE_METADATA && out->len == 0)
	{
		if (footer->group == footer->ngroups)
		{
			footer->stage++;
			footer->group = 0;
			continue;
		}
		if (write_indexes(footer, offset, out, error) != OB_OK)
			return error->code;
		footer->group++;
	}
	if (out->len > 0 || footer->stage == STAGE_END)
		return OB_OK;
	footer->stage = STAGE_END;
	return write_metadata(footer, out, error);
}
