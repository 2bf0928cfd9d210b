/*
 * parquet_intern.h
 *		What the files of the Parquet writer have in common.
 *
 * src/core/parquet/parquet_intern.h
 */
#ifndef OB_PARQUET_INTERN_H
#define OB_PARQUET_INTERN_H

#include "core/parquet/parquet.h"

/* ---- memory that is counted ---- */

typedef struct ObPqMemory
{
	size_t used;
	size_t limit; /* an allocation beyond it fails */
	bool over;    /* one has failed because of the limit, not of malloc */
} ObPqMemory;

/* As realloc() and free(), with the old size; NULL on error. */
extern void *ob_pq_resize(ObPqMemory *memory, void *old, size_t old_size,
						  size_t size);
extern void ob_pq_release(ObPqMemory *memory, void *old, size_t size);

/* Sets OB_ENOMEM or OB_ELIMIT. */
extern ObCode ob_pq_no_memory(const ObPqMemory *memory, ObError *error);

/* A buffer that grows. */
typedef struct ObPqBytes
{
	uint8_t *data;
	size_t len;
	size_t capacity;
} ObPqBytes;

/* Room for n more bytes behind its len, which the caller advances; NULL on
 * error. */
extern uint8_t *ob_pq_more(ObPqMemory *memory, ObPqBytes *bytes, size_t n);

static inline uint8_t *
ob_pq_reserve(ObPqMemory *memory, ObPqBytes *bytes, size_t n)
{
	if (bytes->data && bytes->capacity - bytes->len >= n)
		return bytes->data + bytes->len;
	return ob_pq_more(memory, bytes, n);
}

extern void ob_pq_bytes_free(ObPqMemory *memory, ObPqBytes *bytes);

/* ---- encodings; the numbers are the format's ---- */

typedef enum ObPqEncoding
{
	OB_PQ_ENC_PLAIN = 0,
	OB_PQ_ENC_RLE = 3,
	OB_PQ_ENC_DELTA = 5,      /* DELTA_BINARY_PACKED */
	OB_PQ_ENC_LENGTHS = 6,    /* DELTA_LENGTH_BYTE_ARRAY */
	OB_PQ_ENC_DICTIONARY = 8, /* RLE_DICTIONARY */
	OB_PQ_ENC_SPLIT = 9       /* BYTE_STREAM_SPLIT */
} ObPqEncoding;

/* The bits that values up to this one need; 0 for 0. */
extern int ob_pq_width(uint64_t value);

/* Bytes that ob_pq_pack() touches, for n values of that width. */
#define OB_PQ_PACK_SLACK 8

/* Packs n values of width bits each, 0 to 64, from the lowest bit on, and
 * returns the end: n * width / 8 bytes, rounded up. */
extern uint8_t *ob_pq_pack(uint8_t *to, const uint64_t *values, size_t n,
						   int width);

extern uint8_t *ob_pq_varint(uint8_t *to, uint64_t value);

/* The hybrid of runs and bit packing.  At most ob_pq_rle_max() bytes are
 * touched. */
extern size_t ob_pq_rle_max(size_t n, int width);
extern uint8_t *ob_pq_rle(uint8_t *to, const uint32_t *values, size_t n,
						  int width);
extern uint8_t *ob_pq_rle_levels(uint8_t *to, const uint8_t *levels, size_t n,
								 int width);
/* A single run. */
extern uint8_t *ob_pq_rle_run(uint8_t *to, uint32_t value, size_t n,
							  int width);

/* DELTA_BINARY_PACKED.  At most ob_pq_delta_max() bytes are touched. */
extern size_t ob_pq_delta_max(size_t n, int size);
extern uint8_t *ob_pq_delta32(uint8_t *to, const int32_t *values, size_t n);
extern uint8_t *ob_pq_delta64(uint8_t *to, const int64_t *values, size_t n);

/* BYTE_STREAM_SPLIT of n values of size bytes each; exactly n * size. */
extern void ob_pq_split(uint8_t *to, const uint8_t *values, size_t n,
						int size);

/* ---- compression of pages ---- */

typedef struct ObPqCompressor ObPqCompressor;

/* NULL: out of memory. */
extern ObPqCompressor *ob_pq_compressor_new(ObPqCodec codec, int level);
extern void ob_pq_compressor_free(ObPqCompressor *compressor);

/* An upper bound of what len bytes become. */
extern size_t ob_pq_compressor_max(const ObPqCompressor *compressor,
								   size_t len);

/* Returns the length, of at most "room" bytes; 0: out of memory. */
extern size_t ob_pq_compress(ObPqCompressor *compressor, const void *data,
							 size_t len, void *to, size_t room);

/* ---- statistics ---- */

/* How values are compared. */
typedef enum ObPqOrder
{
	OB_PQ_ORDER_BOOLEAN,
	OB_PQ_ORDER_INT32,
	OB_PQ_ORDER_INT64,
	OB_PQ_ORDER_FLOAT,
	OB_PQ_ORDER_DOUBLE,
	OB_PQ_ORDER_BYTES,  /* of any length, unsigned */
	OB_PQ_ORDER_FIXED,  /* unsigned */
	OB_PQ_ORDER_DECIMAL /* FIXED, signed, big-endian */
} ObPqOrder;

/*
 * Adds the values of a leaf's batch.  numbers is NULL, or their numbers in a
 * dictionary: then a value that this page, from 1 on, has already is not
 * looked at again.
 */
extern void ob_pq_stats_add(ObPqStats *stats, ObPqOrder order,
							const ObPqLeaf *leaf, const uint32_t *numbers,
							uint32_t *seen, uint32_t page);

/* Adds those of a page to those of its chunk. */
extern void ob_pq_stats_merge(ObPqStats *stats, ObPqOrder order, int length,
							  const ObPqStats *other);

/* Adds those of a chunk to those of its file, as they were written: rounded,
 * if they were cut. */
extern void ob_pq_stats_widen(ObPqStats *stats, ObPqOrder order, int length,
							  const ObPqStats *other);

/*
 * Makes the maximum of a text that was cut one that is not below the text
 * itself, which remains UTF-8 if utf8.  False: there is none.
 */
extern bool ob_pq_bound_up(ObPqBound *bound, bool utf8);

/* Makes the minimum of a text that was cut whole characters. */
extern void ob_pq_bound_down(ObPqBound *bound, bool utf8);

/* How a leaf's values are compared. */
extern ObPqOrder ob_pq_order_of(const ObPqNode *node);

/* Compares bounds as they are written; length is that of OB_PQ_FIXED. */
extern int ob_pq_bound_compare(ObPqOrder order, int length, const ObPqBound *a,
							   const ObPqBound *b);

/* ---- dictionaries ---- */

typedef struct ObPqDictionary
{
	ObPqMemory *memory;
	int size; /* bytes of a value; 0: of any length */
	uint32_t n;
	ObPqBytes plain;  /* the values, in PLAIN encoding */
	ObPqBytes starts; /* of texts: uint32_t offsets into plain, and the end */
	ObPqBytes seen;   /* uint32_t: the last page that has it; 0: none */
	uint64_t *slots;  /* hash << 32 | number + 1 */
	uint32_t mask;
	uint32_t *one_byte; /* number + 1 of texts of one byte; NULL: none yet */
} ObPqDictionary;

extern bool ob_pq_dictionary_init(ObPqDictionary *dictionary,
								  ObPqMemory *memory, int size);
extern void ob_pq_dictionary_reset(ObPqDictionary *dictionary);

/* Empties it, and frees its memory; false: not even the least is left. */
extern bool ob_pq_dictionary_shrink(ObPqDictionary *dictionary);
extern void ob_pq_dictionary_free(ObPqDictionary *dictionary);

/* Writes the numbers of a leaf's batch of values; false: out of memory. */
extern bool ob_pq_dictionary_add(ObPqDictionary *dictionary,
								 const ObPqLeaf *leaf, uint32_t *numbers);

/* ---- chunks: a leaf's part of a row group ---- */

/* Bytes that belong to the row group, in the order of the file. */
typedef struct ObPqBlock
{
	struct ObPqBlock *next;
	size_t size; /* allocated */
	size_t start;
	size_t len;
	char data[];
} ObPqBlock;

typedef struct ObPqPage
{
	int64_t first_row; /* of the row group */
	int32_t size;      /* in the file, with its header */
	int64_t nulls;
	bool all_null;
	ObPqStats stats;
} ObPqPage;

#define OB_PQ_DICTIONARY_MAX ((size_t) 1024 * 1024)

typedef struct ObPqChunk
{
	/* the leaf comes first, so a leaf is its chunk */
	ObPqLeaf leaf;
	const ObPqNode *node;
	ObPqMemory *memory;
	ObPqCompressor *compressor;
	const ObParquetOptions *options;
	ObPqOrder order;
	size_t page_limit;
	size_t dictionary_share; /* bytes that other columns cannot take from it */
	size_t filter_limit;     /* bytes of a Bloom filter; 0: none is wanted */

	/* dictionary: in use, or given up for the rest of the chunk, and for some
	 * chunks after it */
	bool dictionary_on;
	int dictionary_pause;
	bool looked; /* at LOOK values */
	ObPqDictionary dictionary;
	size_t dictionary_counted; /* its part of ObParquet.dictionaries */

	/* the page that is being filled */
	uint32_t page; /* counts all pages, from 1 */
	int64_t page_rows;
	int64_t page_values; /* nulls among them */
	int64_t page_nulls;
	ObPqStats page_stats;
	ObPqBytes numbers;     /* uint32_t, of values in the dictionary */
	ObPqBytes plain;       /* values, else; of texts with delta their bytes */
	ObPqBytes lengths;     /* of these: int32_t */
	ObPqBytes definitions; /* a byte each; empty: all are the greatest */
	ObPqBytes repetitions;

	/* the chunk */
	int64_t rows;
	int64_t values;
	int64_t nulls;
	int64_t uncompressed; /* headers included */
	int64_t compressed;
	ObPqStats stats;
	ObPqBytes pages;      /* of ObPqPage */
	int dictionary_pages; /* data pages by encoding */
	int plain_pages;
	int delta_pages; /* of ob_pq_chunk_encoding() */
	ObPqBlock *dictionary_block;
	ObPqBlock *first;
	ObPqBlock **last;
	bool filter_on;
	ObPqBlock *filter; /* NULL: there is none yet, or none at all */
	uint32_t filter_blocks;
} ObPqChunk;

extern bool ob_pq_chunk_init(ObPqChunk *chunk, ObParquet *writer,
							 const ObPqNode *node, int max_definition,
							 int max_repetition, int capacity);
extern void ob_pq_chunk_free(ObPqChunk *chunk);

/* Bytes of each value; 0: of any length. */
extern int ob_pq_leaf_size(const ObPqLeaf *leaf);

/* Bytes of each value in a batch, where a text has its end beside its bytes.
 */
extern size_t ob_pq_value_size(const ObPqLeaf *leaf);

/* The encoding of values that are in no dictionary. */
extern ObPqEncoding ob_pq_chunk_encoding(const ObPqChunk *chunk);

/* Moves the batch into the page, and ends the page if it is full. */
extern bool ob_pq_chunk_drain(ObPqChunk *chunk, int rows);

/* Ends the last page, and makes the dictionary's. */
extern bool ob_pq_chunk_end(ObPqChunk *chunk);

/* Empties it for the next row group; the blocks are gone already. */
extern void ob_pq_chunk_reset(ObPqChunk *chunk);

/* Frees the buffers of an empty chunk, which keeps them else; false: not even
 * the least memory is left. */
extern bool ob_pq_chunk_shrink(ObPqChunk *chunk);

/* About how many bytes the chunk would have if it ended now. */
extern size_t ob_pq_chunk_size(const ObPqChunk *chunk);

/* Appends a page's header and compressed body to the chunk; page NULL: it is
 * the dictionary's. */
extern bool ob_pq_page_add(ObPqChunk *chunk, const uint8_t *body, size_t len,
						   ObPqEncoding encoding, ObPqPage *page);

/* ---- Bloom filters ---- */

/* Both add values to the chunk's filter, if it is to have one: those of the
 * batch, or those of the dictionary, which may be all of the chunk.  False:
 * out of memory. */
extern bool ob_pq_filter_batch(ObPqChunk *chunk);
extern bool ob_pq_filter_dictionary(ObPqChunk *chunk, bool all);

/* Makes it as small as it can be, and writes its header. */
extern bool ob_pq_filter_end(ObPqChunk *chunk);

struct ObParquet
{
	ObParquetOptions options;
	ObPqNode *nodes;
	int nnodes;
	ObPqChunk *chunks;
	int nchunks;
	int nfilters; /* chunks that are to have Bloom filters */
	ObPqMemory memory;
	ObPqCompressor *compressor;
	ObPqBytes scratch;   /* a page's body */
	size_t dictionaries; /* bytes of all dictionaries */
	size_t dictionaries_limit;
	size_t batch_bytes; /* of texts and lists, at which a batch ends */
	size_t last_bytes;  /* of those in the last batch */
	ObPqLeaf **wide;    /* leaves that have them */
	int nwide;
	int batch_rows;
	int row; /* in the batch */
	int64_t rows;
	size_t size;           /* as of the last batch */
	int64_t expected_rows; /* of the row group, as far as one can see */
	bool failed;
	/* the steps */
	int working;    /* the next chunk; nchunks: none */
	size_t drained; /* size of those before it */
	ObBuf *record;  /* of the row group that ends; NULL: it does not */
	/* what is being taken: the pages of a chunk, or, nchunks later, its Bloom
	 * filter; 2 * nchunks: nothing */
	int taking;
	ObPqBlock *taken;
};

/* ---- records ---- */

extern ObCode ob_pq_record_write(const ObParquet *writer, ObBuf *out,
								 ObError *error);

/* A reader of a record, which has a row group, then each of its chunks, each
 * followed by its pages. */
typedef struct ObPqRecord
{
	const uint8_t *at;
	const uint8_t *end;
	bool failed; /* it ends too early, or is none */
} ObPqRecord;

typedef struct ObPqRecordGroup
{
	int64_t rows;
	int64_t bytes; /* of pages */
	int64_t uncompressed;
	int64_t filters; /* bytes of Bloom filters, behind the pages */
	int32_t nchunks;
} ObPqRecordGroup;

typedef struct ObPqRecordChunk
{
	int64_t offset; /* of its first page, in the row group */
	int64_t values; /* nulls among them */
	int64_t nulls;
	int64_t uncompressed;
	int64_t compressed;
	int32_t dictionary_size; /* of the dictionary's page; 0: none */
	int64_t filter_offset;   /* in the row group */
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
