/*
 * encode.h
 *		Rows as bytes: the format table, and what encoders share.
 *
 * src/pg/encode/encode.h
 *
 * An encoder writes each row straight into the memory of the sink chain,
 * through an ObOut: the free space of the current window.  When it runs out,
 * refill() hands the written bytes on and gets the next window; it is the only
 * place where an export waits for the network, so it may be called from
 * anywhere in an encoder, also in the middle of a value, and may raise.  After
 * it the window is another one, at any address: what was kept of the one
 * before, a pointer into it or where it ends, is void.
 *
 * A column is written by a function that is chosen once per export by the
 * type (ObColumn.write), so a fast path for a type is one more function in
 * values.c and one more line where it is chosen.
 */
#ifndef OB_ENCODE_H
#define OB_ENCODE_H

#include "access/tupdesc.h"
#include "access/xlogdefs.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

#include "core/parquet/parquet.h"

/* refill() leaves at least this many contiguous bytes. */
#define OB_OUT_RESERVE 4096

typedef struct ObOut ObOut;
struct ObOut
{
	char *ptr; /* next byte to write */
	char *end; /* one past the last that may be written */
	void (*refill)(ObOut *out);
};

/* Returns room for n bytes (n <= OB_OUT_RESERVE).  The caller advances
 * out->ptr by what it writes. */
static inline char *
ob_out_reserve(ObOut *out, size_t n)
{
	Assert(n <= OB_OUT_RESERVE && out->ptr <= out->end);
	if (unlikely(out->end - out->ptr < (ptrdiff_t) n))
		out->refill(out);
	Assert(out->end - out->ptr >= (ptrdiff_t) n);
	return out->ptr;
}

static inline void
ob_out_char(ObOut *out, char c)
{
	*ob_out_reserve(out, 1) = c;
	out->ptr++;
}

extern void ob_out_write_long(ObOut *out, const char *data, size_t len);

/* Writes data of any length, in as many windows as it needs.  Before the first
 * window there is no memory at all, not even for zero bytes. */
static inline void
ob_out_write(ObOut *out, const char *data, size_t len)
{
	Assert(out->ptr <= out->end);
	if (likely(out->end - out->ptr > (ptrdiff_t) len))
	{
		memcpy(out->ptr, data, len);
		out->ptr += len;
	}
	else
		ob_out_write_long(out, data, len);
}

typedef enum ObFormatKind
{
	OB_FORMAT_CSV,
	OB_FORMAT_TEXT,
	OB_FORMAT_BINARY,
	OB_FORMAT_JSONL,
	OB_FORMAT_JSON,
	OB_FORMAT_PARQUET
} ObFormatKind;

typedef struct ObEncoder ObEncoder;
typedef struct ObColumn ObColumn;

/*
 * An object that several processes write consists of parts, which are at
 * places that no process knows while it writes.  A format whose end needs to
 * know where its rows are gets, from each process, a description of what that
 * process has written, and, once all parts are there, the places.
 */
typedef struct ObDescription
{
	const char *data; /* as ObFormat.describe has made it */
	size_t len;
	/* where bytes are that were in no part when the process ended: the part's
	 * number, 0 for the last part, and the offset in it */
	int part;
	uint64 offset;
} ObDescription;

typedef struct ObPlaces
{
	List *descriptions;   /* of ObDescription * */
	const uint64 *starts; /* of the parts, by number - 1 */
	uint64 last;          /* where the last part begins */
	uint64 length;        /* of the object so far */
} ObPlaces;

/* What the end of an object may say of its rows. */
typedef struct ObOrigin
{
	pg_uuid_t run_id;
	XLogRecPtr lsn; /* LSN of the snapshot; 0: not known */
	List *order;    /* of ObSortKey *: the order in which rows come */
} ObOrigin;

typedef struct ObFormat
{
	ObFormatKind kind;
	const char *name;         /* the option's value */
	const char *extension;    /* without a dot: csv txt bin jsonl json */
	const char *content_type; /* type of the uncompressed object */
	/* Chooses each column's write function; may raise. */
	void (*prepare)(ObEncoder *encoder);
	/* Writes what precedes the first row: a header line, a signature. */
	void (*start)(ObEncoder *encoder);
	void (*row)(ObEncoder *encoder, TupleTableSlot *slot);
	/* Writes what follows the last row. */
	void (*end)(ObEncoder *encoder);
	/* Of a format that needs ObPlaces; else NULL, all of them.  Writes the
	 * rows of this process that were held back; */
	void (*flush)(ObEncoder *encoder);
	/* notes that a part has ended with what was written so far; */
	void (*part_ended)(ObEncoder *encoder, int number);
	/* appends the description of what this process has written. */
	void (*describe)(ObEncoder *encoder, StringInfo to);
	/* NULL, or adds to a JSON object what a manifest says of the object, of at
	 * most max bytes, after its end. */
	void (*summarize)(const ObEncoder *encoder, StringInfo json, Size max);
} ObFormat;

/* Returns the format of that name, or NULL. */
extern const ObFormat *ob_format_lookup(const char *name);
/* Returns all formats, ended by an entry whose name is NULL. */
extern const ObFormat *ob_formats(void);

/* What becomes of a numeric without a precision. */
typedef enum ObNumericAs
{
	OB_NUMERIC_ERROR,
	OB_NUMERIC_TEXT,
	OB_NUMERIC_DOUBLE,
	OB_NUMERIC_DECIMAL
} ObNumericAs;

/* The options of format "parquet", complete and checked. */
typedef struct ObParquetChoices
{
	ObPqCodec codec;
	int level;
	bool delta; /* "encodings": "delta" */
	int64 row_group_rows;
	int64 row_group_size; /* bytes */
	int64 page_size;      /* bytes */
	int64 memory;         /* bytes, of one process */
	ObNumericAs numeric;
	int precision; /* of OB_NUMERIC_DECIMAL */
	int scale;
	bool uuid_text;
	bool to_null; /* what cannot be stored becomes null; else it is an error */
	bool no_dictionary;
	List *dictionary;   /* of char *, column names; NIL: all columns */
	List *bloom_filter; /* the same; NIL: no column */
} ObParquetChoices;

/* The options of COPY, complete and checked (options.c fills them). */
typedef struct ObCopyOptions
{
	const ObFormat *format;
	bool header;
	char delimiter;
	char quote;
	char escape;
	const char *null_text; /* in the database's encoding */
	bool force_quote_all;
	List *force_quote; /* names of columns, char * */
	int encoding;      /* a pg_enc: client_encoding if not given, as for COPY;
						* PG_UTF8 for JSON and Parquet */
	ObParquetChoices parquet;
} ObCopyOptions;

/*
 * A fast path: writes the text of a value and returns its length; -1 leaves
 * the value to the column's write function.  At most OB_FAST_MAX bytes are
 * touched, which may be more than the text has.
 */
typedef int (*ObFastWrite)(const ObColumn *column, Datum value, char *to);

#define OB_FAST_MAX 256

struct ObColumn
{
	Form_pg_attribute attribute; /* in the encoder's descriptor */
	FmgrInfo output;             /* output or send function */
	Oid output_oid;
	bool force_quote;
	char *key; /* JSON formats: "name": with its quotes and colon, escaped, in
				* UTF-8; the row function adds the comma before it */
	size_t key_len;
	void *state; /* state of the write function, palloc'd by prepare */
	/* The function that is tried first, or NULL.  A column has one only if no
	 * byte that it may write has a meaning in the format. */
	ObFastWrite write_fast;
	bool quote_short; /* JSON: the value is a string */
	/* Writes one value that is not NULL, of any kind and length. */
	void (*write)(ObEncoder *encoder, ObColumn *column, Datum value);
};

struct ObEncoder
{
	const ObCopyOptions *options;
	ObOut *out;
	TupleDesc desc;
	int ncolumns;
	ObColumn *columns;
	MemoryContext row_context; /* reset for each row by ob_encoder_row */
	uint64 rows;
	struct ObWalk *walk;     /* reads rows as they are stored */
	bool transcode;          /* the target encoding needs a conversion */
	bool embeds_ascii;       /* the target encoding has ASCII bytes inside of
							  * characters */
	void *state;             /* of the format */
	uint64 part_start;       /* bytes in the part before the encoder's first */
	const ObPlaces *places;  /* set for the end of an object in parts */
	const ObOrigin *origin;  /* set before the end of an object */
	const char *null_client; /* null_text in the target encoding */
	size_t null_client_len;
};

/*
 * Makes an encoder for rows of desc in the current memory context, as are the
 * copies that it makes; desc and options are borrowed.  Raises for a column of
 * a pseudo-type (record and its array are fine: they have an output function),
 * for a column in force_quote that does not exist, and for duplicate column
 * names in the JSON formats.  Writes nothing yet.
 */
extern ObEncoder *ob_encoder_new(const ObCopyOptions *options, TupleDesc desc,
								 ObOut *out);

/* Each of these must be called exactly once, before the first and after the
 * last row. */
extern void ob_encoder_start(ObEncoder *encoder);
extern void ob_encoder_end(ObEncoder *encoder);

/* Encodes one row in the encoder's row context, and counts it. */
extern void ob_encoder_row(ObEncoder *encoder, TupleTableSlot *slot);

/* The functions of the formats, each in a file of its own. */
extern void ob_csv_prepare(ObEncoder *encoder);
extern void ob_csv_start(ObEncoder *encoder);
extern void ob_csv_row(ObEncoder *encoder, TupleTableSlot *slot);
extern void ob_text_prepare(ObEncoder *encoder);
extern void ob_text_start(ObEncoder *encoder);
extern void ob_text_row(ObEncoder *encoder, TupleTableSlot *slot);
extern void ob_binary_prepare(ObEncoder *encoder);
extern void ob_binary_start(ObEncoder *encoder);
extern void ob_binary_row(ObEncoder *encoder, TupleTableSlot *slot);
extern void ob_binary_end(ObEncoder *encoder);
extern void ob_json_prepare(ObEncoder *encoder);
extern void ob_json_start(ObEncoder *encoder);
extern void ob_jsonl_row(ObEncoder *encoder, TupleTableSlot *slot);
extern void ob_json_row(ObEncoder *encoder, TupleTableSlot *slot);
extern void ob_json_end(ObEncoder *encoder);
/* pg/parquet/format.c */
extern void ob_parquet_prepare(ObEncoder *encoder);
extern void ob_parquet_start(ObEncoder *encoder);
extern void ob_parquet_row_of(ObEncoder *encoder, TupleTableSlot *slot);
extern void ob_parquet_end(ObEncoder *encoder);
extern void ob_parquet_flush(ObEncoder *encoder);
extern void ob_parquet_part_ended(ObEncoder *encoder, int number);
extern void ob_parquet_describe(ObEncoder *encoder, StringInfo to);
extern void ob_parquet_summarize(const ObEncoder *encoder, StringInfo json,
								 Size max);

#endif
