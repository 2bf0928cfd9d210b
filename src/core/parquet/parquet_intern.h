/*
 * parquet_intern.h
 *		Declarations that the files of the Parquet writer share.
 *
 * src/core/parquet/parquet_intern.h
 */
#ifndef OB_PARQUET_INTERN_H
#define OB_PARQUET_INTERN_H

#include "core/parquet/parquet.h"

/* ---- memory ---- */

typedef struct ObPqSegment ObPqSegment;

typedef struct ObPqMemory
{
	size_t used;  /* without the spare segments */
	size_t limit; /* an allocation beyond it fails */
	size_t kept;  /* spare segments beyond this total are freed */
	bool over;    /* an allocation failed because of the limit */
	ObPqSegment *spare;
	size_t spare_size; /* bytes of the spare segments */
} ObPqMemory;

/* Like realloc() and free(), but the caller passes the old size.  Return NULL
 * on error. */
extern void *ob_pq_resize(ObPqMemory *memory, void *old, size_t old_size,
						  size_t size);
extern void ob_pq_release(ObPqMemory *memory, void *old, size_t size);

/* Sets the error of a failed allocation: OB_ENOMEM, or OB_ELIMIT if the limit
 * was the reason. */
extern ObCode ob_pq_no_memory(const ObPqMemory *memory, ObError *error);

/* A buffer that grows. */
typedef struct ObPqBytes
{
	uint8_t *data;
	size_t len;
	size_t capacity;
} ObPqBytes;

/* Makes room for n more bytes, and returns their address; the caller adds to
 * len what it has written.  NULL on error. */
extern uint8_t *ob_pq_more(ObPqMemory *memory, ObPqBytes *bytes, size_t n);

static inline uint8_t *
ob_pq_reserve(ObPqMemory *memory, ObPqBytes *bytes, size_t n)
{
	if (bytes->data && bytes->capacity - bytes->len >= n)
		return bytes->data + bytes->len;
	return ob_pq_more(memory, bytes, n);
}

extern void ob_pq_bytes_free(ObPqMemory *memory, ObPqBytes *bytes);

/* ---- memory for pages ---- */

/*
 * The pages of a row group are written to a list of segments, which are reused
 * for the next row group: otherwise, the kernel would have to provide and
 * clear all of that memory again.
 */
#define OB_PQ_SEGMENT_BYTES (64 * 1024 - sizeof(ObPqSegment *))

struct ObPqSegment
{
	ObPqSegment *next;
	char data[OB_PQ_SEGMENT_BYTES];
};

typedef struct ObPqSegments
{
	ObPqSegment *first; /* NULL: none */
	ObPqSegment *last;
	size_t len; /* bytes in the last segment */
} ObPqSegments;

/* A sequence of bytes, which begins at an offset of a segment, and may
 * continue in the segments after it. */
typedef struct ObPqExtent
{
	const ObPqSegment *segment;
	size_t offset;
	size_t len;
} ObPqExtent;

/* Appends bytes to the segments and to an extent.  The extent is either empty,
 * or has what was appended last.  Returns false on error. */
extern bool ob_pq_append(ObPqMemory *memory, ObPqSegments *segments,
						 const void *data, size_t len, ObPqExtent *extent);

/* Makes the segments spare. */
extern void ob_pq_segments_reset(ObPqMemory *memory, ObPqSegments *segments);

/* Frees all spare segments. */
extern void ob_pq_free_spare(ObPqMemory *memory);

/* ---- encodings ---- */

/* Encodings, by their numbers in the format. */
typedef enum ObPqEncoding
{
	OB_PQ_ENC_PLAIN = 0,
	OB_PQ_ENC_RLE = 3,
	OB_PQ_ENC_DELTA_BINARY_PACKED = 5,
	OB_PQ_ENC_DELTA_LENGTH = 6, /* DELTA_LENGTH_BYTE_ARRAY */
	OB_PQ_ENC_DICTIONARY = 8,   /* RLE_DICTIONARY */
	OB_PQ_ENC_BYTE_STREAM_SPLIT = 9
} ObPqEncoding;

/* Returns the bit width of a value; 0 for 0. */
extern int ob_pq_width(uint64_t value);

/* ob_pq_pack() may overwrite this many bytes after its result. */
#define OB_PQ_PACK_SLACK 8

/* Bit-packs n values of width bits each, 0 to 64, beginning with the least
 * significant bit.  Returns the end of the result, which has n * width / 8
 * bytes, rounded up. */
extern uint8_t *ob_pq_pack(uint8_t *to, const uint64_t *values, size_t n,
						   int width);

extern uint8_t *ob_pq_varint(uint8_t *to, uint64_t value);

/* The RLE/bit-packing hybrid.  Each function writes at most ob_pq_rle_max()
 * bytes, and returns the end of its result. */
extern size_t ob_pq_rle_max(size_t n, int width);
extern uint8_t *ob_pq_rle(uint8_t *to, const uint32_t *values, size_t n,
						  int width);
extern uint8_t *ob_pq_rle_levels(uint8_t *to, const uint8_t *levels, size_t n,
								 int width);
/* Writes a single RLE run. */
extern uint8_t *ob_pq_rle_run(uint8_t *to, uint32_t value, size_t n,
							  int width);

/* DELTA_BINARY_PACKED.  The functions write at most ob_pq_delta_max() bytes,
 * and return the end of their result. */
extern size_t ob_pq_delta_max(size_t n, int size);
extern uint8_t *ob_pq_delta32(uint8_t *to, const int32_t *values, size_t n);
extern uint8_t *ob_pq_delta64(uint8_t *to, const int64_t *values, size_t n);

/* BYTE_STREAM_SPLIT.  Writes exactly n * size bytes. */
extern void ob_pq_byte_stream_split(uint8_t *to, const uint8_t *values,
									size_t n, int size);

/* ---- compression of pages ---- */

typedef struct ObPqCompressor ObPqCompressor;

/* Returns NULL if memory has run out. */
extern ObPqCompressor *ob_pq_compressor_new(ObPqCodec codec, int level);
extern void ob_pq_compressor_free(ObPqCompressor *compressor);

/* Returns the greatest compressed size of len bytes; less than len if they
 * exceed the codec's maximum. */
extern size_t ob_pq_compressor_max(const ObPqCompressor *compressor,
								   size_t len);

/* Compresses into at most "room" bytes.  Returns the compressed size; 0 on
 * error. */
extern size_t ob_pq_compress(ObPqCompressor *compressor, const void *data,
							 size_t len, void *to, size_t room);

/* ---- statistics ---- */

/* Sort orders of values. */
typedef enum ObPqOrder
{
	OB_PQ_ORDER_BOOLEAN,
	OB_PQ_ORDER_INT32,
	OB_PQ_ORDER_INT64,
	OB_PQ_ORDER_FLOAT,
	OB_PQ_ORDER_DOUBLE,
	OB_PQ_ORDER_BYTES,  /* unsigned bytes */
	OB_PQ_ORDER_FIXED,  /* unsigned bytes of one length */
	OB_PQ_ORDER_DECIMAL /* FIXED: two's complement, big-endian */
} ObPqOrder;

/*
 * Adds the values of a leaf's batch to the statistics of a page.  "indices"
 * has the values' dictionary indices, or is NULL.  With indices, each distinct
 * value is compared only once in a page: "seen" has, by index, the number of
 * the last page with the value.  Page numbers begin at 1.
 */
extern void ob_pq_stats_add(ObPqStats *stats, ObPqOrder order,
							const ObPqLeaf *leaf, const uint32_t *indices,
							uint32_t *seen, uint32_t page);

/* Adds the statistics of a page to those of its chunk. */
extern void ob_pq_stats_merge(ObPqStats *stats, ObPqOrder order, int length,
							  const ObPqStats *other);

/* Adds the statistics of a chunk to those of its file.  Both have rounded
 * bounds, as in the file. */
extern void ob_pq_stats_widen(ObPqStats *stats, ObPqOrder order, int length,
							  const ObPqStats *other);

/*
 * Rounds a truncated maximum up, so that it is greater than the value.  If
 * "utf8" is set, the result is valid UTF-8 provided that the value is. Returns
 * false if there is no such bound.
 */
extern bool ob_pq_bound_round_up(ObPqBound *bound, bool utf8);

/* Rounds a truncated minimum down to whole characters, if "utf8" is set. */
extern void ob_pq_bound_round_down(ObPqBound *bound, bool utf8);

/* Returns the sort order of a leaf's values. */
extern ObPqOrder ob_pq_order_of(const ObPqNode *node);

/* Compares the bytes of two bounds; "length" is that of an OB_PQ_FIXED. */
extern int ob_pq_bound_compare(ObPqOrder order, int length, const ObPqBound *a,
							   const ObPqBound *b);

/* ---- dictionaries ---- */

typedef struct ObPqDictionary
{
	ObPqMemory *memory;
	int size;         /* bytes of each value; 0: BYTE_ARRAY */
	uint32_t n;       /* number of values */
	ObPqBytes plain;  /* the values in PLAIN encoding */
	ObPqBytes starts; /* BYTE_ARRAY: each value's offset in plain, uint32_t */
	ObPqBytes seen;   /* each value's last page, uint32_t; 0: none */
	uint64_t *slots;  /* hash << 32 | index + 1; 0: empty */
	uint32_t mask;    /* number of slots - 1 */
	uint32_t *one_byte; /* values of one byte: index + 1; NULL: none yet */
} ObPqDictionary;

extern bool ob_pq_dictionary_init(ObPqDictionary *dictionary,
								  ObPqMemory *memory, int size);
extern void ob_pq_dictionary_reset(ObPqDictionary *dictionary);

/* Empties a dictionary, and frees its memory except for the initial slots.
 * Returns false if there is no memory for these. */
extern bool ob_pq_dictionary_shrink(ObPqDictionary *dictionary);
extern void ob_pq_dictionary_free(ObPqDictionary *dictionary);

/* Adds the values of a leaf's batch, and writes their indices.  Returns false
 * on error. */
extern bool ob_pq_dictionary_add(ObPqDictionary *dictionary,
								 const ObPqLeaf *leaf, uint32_t *indices);

/* ---- column chunks ---- */

/* A Bloom filter as it is in the file, with its header. */
typedef struct ObPqFilter
{
	size_t size;  /* allocated size of the struct */
	size_t start; /* offset of the header in data */
	size_t len;
	char data[];
} ObPqFilter;

typedef struct ObPqPage
{
	int64_t first_row; /* row number within the row group */
	int32_t size;      /* size in the file, including the header */
	int64_t nulls;
	bool all_null;
	ObPqStats stats;
	ObPqExtent bytes; /* including the header; not in records */
} ObPqPage;

#define OB_PQ_DICTIONARY_MAX ((size_t) 1024 * 1024)

typedef struct ObPqChunk
{
	/* must be first: a pointer to the leaf is cast to its chunk */
	ObPqLeaf leaf;
	const ObPqNode *node;
	ObPqMemory *memory;
	ObPqCompressor *compressor;
	const ObParquetOptions *options;
	ObPqOrder order;
	size_t page_limit;
	size_t dictionary_share; /* bytes that are reserved for its dictionary */
	size_t filter_limit;     /* greatest size of its Bloom filter; 0: none */

	bool dictionary_on;      /* in use, not abandoned or disabled */
	int dictionary_pause;    /* next chunks to write without a dictionary */
	bool dictionary_checked; /* checked after CHECK_VALUES values */
	ObPqDictionary dictionary;
	size_t dictionary_counted; /* its bytes in ObParquet.dictionaries */

	/* the current page */
	uint32_t page; /* number of the page, from 1 on */
	int64_t page_rows;
	int64_t page_values; /* including nulls */
	int64_t page_nulls;
	ObPqStats page_stats;
	ObPqBytes indices; /* dictionary indices, uint32_t */
	ObPqBytes plain;   /* values that are not in the dictionary */
	ObPqBytes lengths; /* DELTA_LENGTH_BYTE_ARRAY: their lengths, int32_t */
	ObPqBytes definitions; /* one byte each; empty: all are max_definition */
	ObPqBytes repetitions;

	/* the chunk */
	int64_t rows;
	int64_t values;
	int64_t nulls;
	int64_t uncompressed; /* bytes, including page headers */
	int64_t compressed;   /* bytes, including page headers */
	ObPqStats stats;
	ObPqBytes pages;      /* array of ObPqPage */
	int dictionary_pages; /* numbers of data pages by encoding */
	int plain_pages;
	int delta_pages;            /* encoding: ob_pq_chunk_encoding() */
	ObPqExtent dictionary_page; /* empty: none */
	bool filter_on;             /* wanted, and there was memory for it */
	ObPqFilter *filter;         /* NULL: none yet */
	uint32_t filter_blocks;
} ObPqChunk;

extern bool ob_pq_chunk_init(ObPqChunk *chunk, ObParquet *writer,
							 const ObPqNode *node, int max_definition,
							 int max_repetition, int capacity);
extern void ob_pq_chunk_free(ObPqChunk *chunk);

/* Returns the bytes of each value; 0 for BYTE_ARRAY. */
extern int ob_pq_leaf_size(const ObPqLeaf *leaf);

/* Returns the bytes of each entry of leaf->values, where a BYTE_ARRAY has only
 * the end of a value. */
extern size_t ob_pq_value_size(const ObPqLeaf *leaf);

/* Returns the encoding of values that are not in the dictionary. */
extern ObPqEncoding ob_pq_chunk_encoding(const ObPqChunk *chunk);

/* Moves the batch into the current page, and ends the page if it is full. */
extern bool ob_pq_chunk_drain(ObPqChunk *chunk, int rows);

/* Ends the last page, and writes the dictionary page and the Bloom filter. */
extern bool ob_pq_chunk_end(ObPqChunk *chunk);

/* Empties a chunk for the next row group, after its filter was taken. */
extern void ob_pq_chunk_reset(ObPqChunk *chunk);

/* Frees the buffers of an empty chunk, which it otherwise reuses.  Returns
 * false on error. */
extern bool ob_pq_chunk_shrink(ObPqChunk *chunk);

/* Estimates the size of the chunk in the file if it ended now. */
extern size_t ob_pq_chunk_size(const ObPqChunk *chunk);

/* Compresses the body of a page, and writes the page to the writer's segments.
 * "page" is NULL for the dictionary page.  Returns false on error. */
extern bool ob_pq_page_write(ObPqChunk *chunk, const uint8_t *body, size_t len,
							 ObPqEncoding encoding, ObPqPage *page);

/* Frees an empty buffer if it is large or memory is short: the buffers and
 * pages of many columns may grow in the same batch. */
extern void ob_pq_chunk_release(ObPqChunk *chunk, ObPqBytes *bytes);

/* ---- Bloom filters ---- */

/* Add the values of the batch, or of the dictionary, to the filter of a chunk
 * that is to have one; "all" tells that the dictionary has all values of the
 * chunk.  Return false on error; a filter that does not fit into the memory is
 * left out, which is no error. */
extern bool ob_pq_filter_batch(ObPqChunk *chunk);
extern bool ob_pq_filter_dictionary(ObPqChunk *chunk, bool all);

/* Folds the filter as far as possible, and writes its header. */
extern bool ob_pq_filter_end(ObPqChunk *chunk);

struct ObParquet
{
	ObParquetOptions options;
	ObPqNode *nodes;
	int nnodes;
	ObPqChunk *chunks;
	int nchunks;
	int nfilters; /* number of chunks with Bloom filters */
	ObPqMemory memory;
	ObPqCompressor *compressor;
	ObPqBytes scratch;    /* buffer for the uncompressed body of a page */
	ObPqBytes compressed; /* buffer for the compressed body of a page */
	ObPqSegments pages;   /* the pages of the row group */
	size_t dictionaries;  /* bytes of all dictionaries */
	size_t dictionaries_limit;
	ObPqLeaf **varying; /* leaves of varying size: BYTE_ARRAY and lists */
	int nvarying;
	size_t batch_bytes; /* bytes of varying leaves at which a batch ends */
	size_t last_bytes;  /* bytes of varying leaves in the last batch */
	int batch_rows;     /* rows at which a batch ends */
	int row;            /* rows in the batch */
	int64_t rows;       /* rows in the row group */
	size_t size;        /* estimated size of the row group without the batch */
	int64_t expected_rows; /* estimated rows of the complete row group */
	bool failed;

	/* steps, see ob_parquet_step() */
	int step_chunk;     /* chunk of the next step; nchunks: not busy */
	size_t size_so_far; /* estimated size of the chunks before it */
	ObBuf *record;      /* destination if the row group ends; or NULL */

	/* state of ob_parquet_take(): the pages of chunk take_next come next, or
	 * the filter of chunk take_next - nchunks; 2 * nchunks: nothing is left */
	int take_next;
	int take_page;     /* the chunk's next page; -1: the dictionary page */
	ObPqExtent taking; /* the rest of the page before it */
	ObPqFilter *taken; /* the filter that was returned last */
};

/* ---- records ---- */

extern ObCode ob_pq_record_write(const ObParquet *writer, ObBuf *out,
								 ObError *error);

/* A reader of a record.  A record has the row group's header, then for each
 * chunk the chunk and its pages. */
typedef struct ObPqRecord
{
	const uint8_t *at;
	const uint8_t *end;
	bool failed; /* the record is invalid; everything that is read is 0 */
} ObPqRecord;

typedef struct ObPqRecordGroup
{
	int64_t rows;
	int64_t bytes;        /* size of all pages */
	int64_t uncompressed; /* uncompressed size of all pages */
	int64_t filters;      /* size of all Bloom filters */
	int32_t nchunks;
} ObPqRecordGroup;

typedef struct ObPqRecordChunk
{
	int64_t offset; /* offset of its first page in the row group */
	int64_t values; /* including nulls */
	int64_t nulls;
	int64_t uncompressed;
	int64_t compressed;
	int32_t dictionary_size; /* size of the dictionary page; 0: none */
	int64_t filter_offset;   /* offset in the row group */
	int32_t filter_size;     /* 0: none */
	int32_t codec;
	int32_t delta_encoding;
	int32_t dictionary_pages;
	int32_t plain_pages;
	int32_t delta_pages;
	int32_t npages;
	ObPqStats stats;
} ObPqRecordChunk;

extern void ob_pq_record_begin(ObPqRecord *record, const void *data,
							   size_t len, ObPqRecordGroup *group);
extern void ob_pq_record_chunk(ObPqRecord *record, ObPqRecordChunk *chunk);
extern void ob_pq_record_page(ObPqRecord *record, ObPqPage *page);

#endif
