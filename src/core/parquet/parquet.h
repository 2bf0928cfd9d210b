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
 *		leaf: batch -> dictionary indices or values -> page -> column chunk
 *		column chunks and Bloom filters of all leaves -> row group
 *		row group -> bytes and a record
 *		all records -> footer: page indexes and the file's metadata
 *
 * A record describes a row group, with offsets that are relative to its first
 * byte.  Several processes can therefore write row groups of one file, in any
 * order; the process that knows the place of each of them writes the footer.
 *
 * The writer never waits, logs or reads a clock.  Its memory comes from
 * malloc, and the capacity of its buffers counts towards
 * ObParquetOptions.memory.  After an error, a writer can only be freed.
 *
 * Format: github.com/apache/parquet-format, version 2.11, with data pages of
 * version 1.
 */
#ifndef OB_PARQUET_H
#define OB_PARQUET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/error.h"

/* Physical types, by their numbers in the format. */
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

/* Logical types. */
typedef enum ObPqLogicalType
{
	OB_PQ_UNANNOTATED, /* the physical type alone */
	OB_PQ_STRING,
	OB_PQ_ENUM,
	OB_PQ_JSON,
	OB_PQ_UUID,      /* FIXED of 16 bytes */
	OB_PQ_INT16,     /* INT32 */
	OB_PQ_DATE,      /* INT32, days since 1970 */
	OB_PQ_TIME,      /* INT64, microseconds since midnight */
	OB_PQ_TIMESTAMP, /* INT64, microseconds since 1970, not adjusted to UTC */
	OB_PQ_TIMESTAMPTZ, /* the same, adjusted to UTC */
	OB_PQ_DECIMAL, /* INT32, INT64, or FIXED: two's complement, big-endian */
	OB_PQ_LIST,    /* a group */
	OB_PQ_MAP      /* a group */
} ObPqLogicalType;

/* Repetition types, by their numbers in the format. */
typedef enum ObPqRepetition
{
	OB_PQ_REQUIRED = 0,
	OB_PQ_OPTIONAL = 1,
	OB_PQ_REPEATED = 2
} ObPqRepetition;

/* A node of the schema.  A schema is an array of nodes in depth-first order:
 * each node is followed by its children.  The root is left out. */
typedef struct ObPqNode
{
	const char *name; /* UTF-8; borrowed until the footer is made */
	ObPqRepetition repetition;
	int nchildren; /* 0: a leaf */
	ObPqType type; /* physical type of a leaf */
	int length;    /* bytes of an OB_PQ_FIXED */
	ObPqLogicalType logical_type;
	int precision;   /* OB_PQ_DECIMAL only */
	int scale;       /* OB_PQ_DECIMAL only */
	int field_id;    /* 0: none */
	bool dictionary; /* leaf: dictionary encoding is allowed */
	bool filter;     /* leaf: its chunks get Bloom filters, as far as memory
					  * allows; ignored for booleans */
} ObPqNode;

/* Compression codecs, by their numbers in the format. */
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
	int level;  /* gzip and zstd only */
	bool delta; /* DELTA_* and BYTE_STREAM_SPLIT instead of PLAIN */

	/* a row group ends when it reaches the first of these limits */
	int64_t row_group_rows;
	size_t row_group_size; /* bytes in the file */
	size_t memory;         /* bytes that the writer has allocated */

	size_t page_size; /* bytes before compression */
} ObParquetOptions;

typedef struct ObParquet ObParquet;

/* A leaf and its batch.  The fields belong to the writer, and are public only
 * for the inline functions below. */
typedef struct ObPqLeaf
{
	ObParquet *writer;
	ObPqType type;
	uint16_t length; /* bytes of an OB_PQ_FIXED */
	uint8_t max_definition;
	uint8_t max_repetition;

	/* the batch's values that are not null, without gaps */
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
		size_t *ends; /* BYTE_ARRAY: offsets of the values' ends in bytes */
	} values;
	char *bytes;
	size_t nbytes;
	size_t bytes_capacity;

	/* the batch's levels; without repetition, there is one entry for each row,
	 * which is max_definition unless it was set */
	bool has_nulls;
	int nlevels;
	int levels_capacity;
	uint8_t *definitions;
	uint8_t *repetitions;
} ObPqLeaf;

/*
 * Creates a writer, which copies the nodes, but not their names.  Returns NULL
 * on error: OB_ENOMEM, OB_ELIMIT, or OB_EINVAL for a schema without columns.
 */
extern ObParquet *ob_parquet_new(const ObPqNode *nodes, int nnodes,
								 const ObParquetOptions *options,
								 ObError *error);
extern void ob_parquet_free(ObParquet *writer); /* NULL is allowed */

/* Returns a leaf, by its position among the schema's leaves.  It belongs to
 * the writer. */
extern ObPqLeaf *ob_parquet_leaf(ObParquet *writer, int number);

/* ---- values of a row ---- */

/* Make room for more.  Return false on error, which ob_parquet_end_row()
 * reports. */
extern bool ob_pq_more_values(ObPqLeaf *leaf);
extern bool ob_pq_more_bytes(ObPqLeaf *leaf, size_t len);
extern bool ob_pq_more_levels(ObPqLeaf *leaf);

/* Sets a leaf without repetition to null in one row of the batch. */
static inline void
ob_pq_null(ObPqLeaf *leaf, int row, int definition)
{
	leaf->has_nulls = true;
	leaf->definitions[row] = definition;
}

/* Appends the levels of the next entry to a leaf with repetition, even if the
 * entry is null or an empty list. */
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

/* Appends a value, and returns the memory into which the caller must write its
 * leaf->length bytes; NULL on error. */
static inline uint8_t *
ob_pq_fixed(ObPqLeaf *leaf)
{
	if (!ob_pq_room(leaf))
		return NULL;
	return leaf->values.fixed + (size_t) leaf->nvalues++ * leaf->length;
}

/* The caller may overwrite this many bytes after a value, so that it can copy
 * short values with a fixed length. */
#define OB_PQ_BYTES_SLACK 16

/* Appends a value, and returns the memory into which the caller must write its
 * len bytes; NULL on error. */
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

/* Returns the number of the current row within the batch, from 0 on. */
extern int ob_parquet_row(const ObParquet *writer);

/* Returns whether memory has run out; the caller can then skip the rest of the
 * row. */
extern bool ob_parquet_has_failed(const ObParquet *writer);

/* Ends a row whose values have all been appended.  If the batch is full, the
 * writer becomes busy, see ob_parquet_step().  Errors: OB_ENOMEM, or OB_ELIMIT
 * if a row does not fit into the memory. */
extern ObCode ob_parquet_end_row(ObParquet *writer,
								 ObError *error) OB_MUST_CHECK;

/*
 * A full batch, and the end of a row group, are processed in steps, one for
 * each leaf.  While the writer is busy, the caller must call
 * ob_parquet_step() and no other function.  A step compresses a few pages at
 * most, so the caller can process interrupts between two steps.
 */
extern bool ob_parquet_is_busy(const ObParquet *writer);
extern ObCode ob_parquet_step(ObParquet *writer, ObError *error) OB_MUST_CHECK;

/* Returns whether the row group is full, so that the caller must end it before
 * it appends another row. */
extern bool ob_parquet_is_full(const ObParquet *writer);

/* Returns the number of rows in the current row group. */
extern int64_t ob_parquet_rows(const ObParquet *writer);

/*
 * Begins to end the row group, which must have a row.  The writer is then
 * busy, and borrows "record" until the last step, which appends the row
 * group's record to it.  Afterwards, the caller must fetch all bytes of the
 * row group with ob_parquet_take() before it appends another row.
 */
extern ObCode ob_parquet_end_group(ObParquet *writer, ObBuf *record,
								   ObError *error) OB_MUST_CHECK;

/* Returns the next bytes of the row group that was ended, which remain valid
 * until the next call; false if there are no more. */
extern bool ob_parquet_take(ObParquet *writer, const char **data, size_t *len);

/* ---- the file ---- */

#define OB_PQ_MAGIC "PAR1" /* a file's first and last four bytes */

typedef struct ObPqFooter ObPqFooter;

typedef struct ObPqProperty
{
	const char *key;
	const char *value;
} ObPqProperty;

/* A sorting column: a leaf by which the rows of each row group are sorted. */
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

/* Creates a footer, which borrows its arguments until it is freed.  Returns
 * NULL if memory has run out. */
extern ObPqFooter *ob_pq_footer_new(const ObPqNode *nodes, int nnodes,
									const ObPqFooterOptions *options,
									ObError *error);
extern void ob_pq_footer_free(ObPqFooter *footer); /* NULL is allowed */

/* Adds the next row group of the file, by its record, which is borrowed, and
 * the offset of its first byte.  OB_EPROTO: the record is invalid. */
extern ObCode ob_pq_footer_add(ObPqFooter *footer, const void *record,
							   size_t len, int64_t offset,
							   ObError *error) OB_MUST_CHECK;

/*
 * Replaces the content of "out" by the next bytes of the footer, which go to
 * the given offset of the file.  A call after the last bytes, which are
 * OB_PQ_MAGIC, leaves "out" empty.
 */
extern ObCode ob_pq_footer_next(ObPqFooter *footer, int64_t offset, ObBuf *out,
								ObError *error) OB_MUST_CHECK;

/* ---- statistics of a record ---- */

/* Statistics have at most this many bytes of a value, as the format allows. */
#define OB_PQ_STAT_MAX 64

typedef struct ObPqGroupStats
{
	int64_t rows;
	int64_t bytes; /* size in the file, including Bloom filters */
} ObPqGroupStats;

typedef struct ObPqBound
{
	uint8_t len;
	bool truncated; /* the value is longer, so the bound is not exact */
	uint8_t data[OB_PQ_STAT_MAX]; /* PLAIN encoding without a length */
} ObPqBound;

typedef struct ObPqStats
{
	bool valid;     /* min and max are set */
	bool unbounded; /* there are values, but no bounds, because of a NaN or of
					 * a maximum that cannot be rounded up */
	ObPqBound min;
	ObPqBound max;
} ObPqStats;

typedef struct ObPqLeafStats
{
	int64_t values; /* including nulls */
	int64_t nulls;
	int64_t bytes; /* size in the file */
	ObPqStats bounds;
} ObPqLeafStats;

/* Reads a row group's figures.  Returns false if the record is invalid. */
extern bool ob_pq_record_group(const void *record, size_t len,
							   ObPqGroupStats *stats);

/* Adds a row group to the statistics of the schema's first n leaves, which the
 * caller initializes to zeros.  Returns false if the record is invalid or has
 * another schema. */
extern bool ob_pq_record_leaves(const void *record, size_t len,
								const ObPqNode *nodes, int nnodes,
								ObPqLeafStats *stats, int n);

#endif
