/*
 * parquet.h
 *		A writer of Apache Parquet files.
 *
 * src/core/parquet/parquet.h
 *
 * The caller describes the schema as a list of nodes, appends the values of
 * each row to the leaves, and ends the row.  Values are collected in a batch
 * of rows for each leaf, batches become pages, and pages stay in memory,
 * encoded and compressed, until their row group ends: a column's pages must be
 * contiguous in the file.  The caller then takes the bytes of the row group
 * piece by piece, writes them, and begins the next one.
 *
 *		leaf: batch -> dictionary or values -> page -> column chunk
 *		all leaves' column chunks, their Bloom filters -> row group
 *		row group -> bytes and a record
 *		all records -> footer: page indexes and the file's metadata
 *
 * A record describes a row group with offsets from its own beginning, so row
 * groups can be made by several processes, in any order; the process that
 * knows where each of them is in the file makes the footer.
 *
 * The writer waits for nothing, logs nothing and reads no clock.  Its memory
 * comes from malloc and is counted, at its capacity, against
 * ObParquetOptions.memory.  After an error, a writer can only be freed.
 *
 * Format: github.com/apache/parquet-format, version 2.11.  Data pages are of
 * version 1.
 */
#ifndef OB_PARQUET_H
#define OB_PARQUET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/error.h"

/* Physical types; the numbers are the format's. */
typedef enum ObPqType
{
	OB_PQ_BOOLEAN = 0,
	OB_PQ_INT32 = 1,
	OB_PQ_INT64 = 2,
	OB_PQ_FLOAT = 4,
	OB_PQ_DOUBLE = 5,
	OB_PQ_BYTE_ARRAY = 6,
	OB_PQ_FIXED = 7 /* FIXED_LEN_BYTE_ARRAY */
} ObPqType;

/* What the values mean. */
typedef enum ObPqMeaning
{
	OB_PQ_PLAIN, /* the physical type's own */
	OB_PQ_STRING,
	OB_PQ_ENUM,
	OB_PQ_JSON,
	OB_PQ_UUID,    /* FIXED of 16 bytes */
	OB_PQ_INT16,   /* INT32 */
	OB_PQ_DATE,    /* INT32, days since 1970 */
	OB_PQ_TIME,    /* INT64, microseconds since midnight */
	OB_PQ_LOCAL,   /* INT64, microseconds since 1970, of no time zone */
	OB_PQ_INSTANT, /* the same, in UTC */
	OB_PQ_DECIMAL, /* INT32, INT64, or FIXED: two's complement, big-endian */
	OB_PQ_LIST,    /* of a group */
	OB_PQ_MAP      /* of a group */
} ObPqMeaning;

/* The numbers are the format's. */
typedef enum ObPqRepetition
{
	OB_PQ_REQUIRED = 0,
	OB_PQ_OPTIONAL = 1,
	OB_PQ_REPEATED = 2
} ObPqRepetition;

/* A node of the schema.  The schema is the list of its nodes, each followed by
 * its children; the root is left out. */
typedef struct ObPqNode
{
	const char *name; /* UTF-8; borrowed until the footer is made */
	ObPqRepetition repetition;
	int nchildren; /* 0: a leaf */
	ObPqType type; /* of a leaf */
	int length;    /* bytes of OB_PQ_FIXED */
	ObPqMeaning meaning;
	int precision; /* of OB_PQ_DECIMAL */
	int scale;
	int field_id; /* 0: none */
	/* of a leaf: whether its values may be written through a dictionary, and
	 * whether its chunks get Bloom filters, as far as there is memory for
	 * them; those of booleans never do */
	bool dictionary;
	bool filter;
} ObPqNode;

/* The numbers are the format's. */
typedef enum ObPqCodec
{
	OB_PQ_NONE = 0,
	OB_PQ_SNAPPY = 1,
	OB_PQ_GZIP = 2,
	OB_PQ_ZSTD = 6,
	OB_PQ_LZ4 = 7 /* LZ4_RAW */
} ObPqCodec;

typedef struct ObParquetOptions
{
	ObPqCodec codec;
	int level;  /* of gzip and zstd */
	bool delta; /* DELTA_* and BYTE_STREAM_SPLIT instead of PLAIN */
	int64_t row_group_rows;
	size_t row_group_size; /* of the bytes that are written */
	size_t page_size;      /* before compression */
	size_t memory;         /* at which a row group ends */
} ObParquetOptions;

typedef struct ObParquet ObParquet;

/* A leaf.  Its fields are the writer's; they are here for the inline functions
 * below. */
typedef struct ObPqLeaf
{
	ObParquet *writer;
	ObPqType type;
	uint16_t length; /* of OB_PQ_FIXED */
	uint8_t max_definition;
	uint8_t max_repetition;

	/* the batch: values that are not null, without gaps */
	int nvalues;
	int capacity; /* in values */
	union
	{
		uint8_t *boolean; /* 0 or 1 */
		int32_t *i32;
		int64_t *i64;
		float *f32;
		double *f64;
		uint8_t *fixed;
		size_t *ends; /* of BYTE_ARRAY, in bytes */
	} values;
	char *bytes;
	size_t nbytes;
	size_t bytes_capacity;

	/* levels: those of a leaf without repetition have one entry a row, which
	 * is max_definition unless it was set */
	bool has_nulls;
	int nlevels;
	int levels_capacity;
	uint8_t *definitions;
	uint8_t *repetitions;
} ObPqLeaf;

/*
 * Makes a writer, which copies the nodes but not their names.  NULL on error:
 * OB_ENOMEM, or OB_EINVAL for a schema that cannot be.
 */
extern ObParquet *ob_parquet_new(const ObPqNode *nodes, int nnodes,
								 const ObParquetOptions *options,
								 ObError *error);
extern void ob_parquet_free(ObParquet *writer); /* NULL is allowed */

/* The leaf of that number, in the order of the schema; owned by the writer. */
extern ObPqLeaf *ob_parquet_leaf(ObParquet *writer, int number);

/* ---- a row's values ---- */

/* Room for more; false on error, which ob_parquet_end_row() returns. */
extern bool ob_pq_more_values(ObPqLeaf *leaf);
extern bool ob_pq_more_bytes(ObPqLeaf *leaf, size_t len);
extern bool ob_pq_more_levels(ObPqLeaf *leaf);

/* A null of a leaf without repetition, at that row of the batch. */
static inline void
ob_pq_null(ObPqLeaf *leaf, int row, int definition)
{
	leaf->has_nulls = true;
	leaf->definitions[row] = definition;
}

/* The levels of the next entry of a leaf with repetition, whether a value
 * follows or not. */
static inline void
ob_pq_levels(ObPqLeaf *leaf, int repetition, int definition)
{
	if (leaf->nlevels == leaf->levels_capacity && !ob_pq_more_levels(leaf))
		return;
	leaf->repetitions[leaf->nlevels] = repetition;
	leaf->definitions[leaf->nlevels++] = definition;
}

static inline bool
ob_pq_room(ObPqLeaf *leaf)
{
	return leaf->nvalues < leaf->capacity || ob_pq_more_values(leaf);
}

static inline void
ob_pq_boolean(ObPqLeaf *leaf, bool value)
{
	if (ob_pq_room(leaf))
		leaf->values.boolean[leaf->nvalues++] = value;
}

static inline void
ob_pq_int32(ObPqLeaf *leaf, int32_t value)
{
	if (ob_pq_room(leaf))
		leaf->values.i32[leaf->nvalues++] = value;
}

static inline void
ob_pq_int64(ObPqLeaf *leaf, int64_t value)
{
	if (ob_pq_room(leaf))
		leaf->values.i64[leaf->nvalues++] = value;
}

static inline void
ob_pq_float(ObPqLeaf *leaf, float value)
{
	if (ob_pq_room(leaf))
		leaf->values.f32[leaf->nvalues++] = value;
}

static inline void
ob_pq_double(ObPqLeaf *leaf, double value)
{
	if (ob_pq_room(leaf))
		leaf->values.f64[leaf->nvalues++] = value;
}

/* Where the caller writes the leaf's length of bytes; NULL on error. */
static inline uint8_t *
ob_pq_fixed(ObPqLeaf *leaf)
{
	if (!ob_pq_room(leaf))
		return NULL;
	return leaf->values.fixed + (size_t) leaf->nvalues++ * leaf->length;
}

/* Bytes behind a value that may be overwritten, too. */
#define OB_PQ_BYTES_SLACK 16

/* Where the caller writes len bytes; NULL on error. */
static inline char *
ob_pq_bytes(ObPqLeaf *leaf, size_t len)
{
	char *to;

	if (!ob_pq_room(leaf) ||
		(leaf->bytes_capacity - leaf->nbytes < len + OB_PQ_BYTES_SLACK &&
		 !ob_pq_more_bytes(leaf, len)))
		return NULL;
	to = leaf->bytes + leaf->nbytes;
	leaf->nbytes += len;
	leaf->values.ends[leaf->nvalues++] = leaf->nbytes;
	return to;
}

/* ---- rows and row groups ---- */

/* The row of the batch that is being appended, from 0 on. */
extern int ob_parquet_row(const ObParquet *writer);

/* Whether memory has run out: the rest of the row need not be appended. */
extern bool ob_parquet_has_failed(const ObParquet *writer);

/* All values of the row were appended.  The batch may be full then: see
 * ob_parquet_step().  OB_OK, or OB_ENOMEM, or OB_ELIMIT if a row does not fit
 * into the memory. */
extern ObCode ob_parquet_end_row(ObParquet *writer,
								 ObError *error) OB_MUST_CHECK;

/*
 * A batch that is full becomes pages, and a row group that ends its last ones,
 * column by column: while the writer is busy, the caller calls
 * ob_parquet_step(), and nothing else.  Between two steps it can look for
 * interrupts: a step compresses a page, or two.
 */
extern bool ob_parquet_is_busy(const ObParquet *writer);
extern ObCode ob_parquet_step(ObParquet *writer, ObError *error) OB_MUST_CHECK;

/* Whether the row group is full: the caller has to end it before another row.
 */
extern bool ob_parquet_is_full(const ObParquet *writer);

/* The rows of the row group that is being made. */
extern int64_t ob_parquet_rows(const ObParquet *writer);

/*
 * Ends the row group, of at least one row, in steps as well.  After the last
 * one its record was appended to "record", which is borrowed until then, and
 * its bytes are taken by ob_parquet_take(), all of them before the next row.
 */
extern ObCode ob_parquet_end_group(ObParquet *writer, ObBuf *record,
								   ObError *error) OB_MUST_CHECK;

/* The next bytes of the row group that was ended, valid until the next call;
 * false: there are no more. */
extern bool ob_parquet_take(ObParquet *writer, const char **data, size_t *len);

/* ---- the file ---- */

#define OB_PQ_MAGIC "PAR1" /* a file's first and last four bytes */

typedef struct ObPqFooter ObPqFooter;

typedef struct ObPqProperty
{
	const char *key;
	const char *value;
} ObPqProperty;

/* A leaf by which the rows of each row group are sorted. */
typedef struct ObPqSorting
{
	int leaf;
	bool descending;
	bool nulls_first;
} ObPqSorting;

typedef struct ObPqFooterOptions
{
	const char *created_by;
	const ObPqProperty *properties; /* key-value metadata */
	int nproperties;
	const ObPqSorting *sorting;
	int nsorting;
} ObPqFooterOptions;

/* All borrowed until it is freed.  NULL: out of memory. */
extern ObPqFooter *ob_pq_footer_new(const ObPqNode *nodes, int nnodes,
									const ObPqFooterOptions *options,
									ObError *error);
extern void ob_pq_footer_free(ObPqFooter *footer); /* NULL is allowed */

/* Adds a row group, in the order of the file: its record, which is borrowed,
 * and where its bytes begin.  OB_EPROTO: it is no record. */
extern ObCode ob_pq_footer_add(ObPqFooter *footer, const void *record,
							   size_t len, int64_t offset,
							   ObError *error) OB_MUST_CHECK;

/*
 * Replaces the content of "out" by the next bytes of the footer, which begins
 * at that offset of the file; len is 0 when all of it was made.  The last
 * bytes are OB_PQ_MAGIC.
 */
extern ObCode ob_pq_footer_next(ObPqFooter *footer, int64_t offset, ObBuf *out,
								ObError *error) OB_MUST_CHECK;

/* ---- what a record says ---- */

/* Longer texts are cut in statistics, which the format allows. */
#define OB_PQ_STAT_MAX 64

typedef struct ObPqGroupStats
{
	int64_t rows;
	int64_t bytes; /* in the file, Bloom filters among them */
} ObPqGroupStats;

typedef struct ObPqBound
{
	uint8_t len;
	bool cut; /* the value goes on: the bound is not exact */
	uint8_t data[OB_PQ_STAT_MAX]; /* in PLAIN encoding, without a length */
} ObPqBound;

typedef struct ObPqStats
{
	bool valid; /* min and max are set */
	bool none;  /* there are none, although there are values */
	ObPqBound min;
	ObPqBound max;
} ObPqStats;

typedef struct ObPqLeafStats
{
	int64_t values; /* nulls among them */
	int64_t nulls;
	int64_t bytes; /* compressed */
	ObPqStats bounds;
} ObPqLeafStats;

/* Returns false for what is no record. */
extern bool ob_pq_record_group(const void *record, size_t len,
							   ObPqGroupStats *stats);

/* Adds a row group to the statistics of a file's first n leaves, which begin
 * as zeros.  Returns false for what is no record of that schema. */
extern bool ob_pq_record_leaves(const void *record, size_t len,
								const ObPqNode *nodes, int nnodes,
								ObPqLeafStats *stats, int n);

#endif
