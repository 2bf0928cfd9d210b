/*
 * fuzz_parquet.c
 *		The Parquet writer with any schema and any values.
 *
 * test/fuzz/fuzz_parquet.c
 *
 * The input is read byte by byte: options and a schema, then values until its
 * end.  The writer must end with a file, or with OB_ENOMEM or OB_ELIMIT.  A
 * truncated record must be recognized.
 */
#include "fuzz.h"

#include "core/parquet/parquet.h"

#define NODES_MAX 24
#define LEAVES_MAX 24
#define LEVELS_MAX 6

typedef struct Input
{
	const uint8_t *at;
	const uint8_t *end;
	const uint8_t *last; /* the last bytes are for put_footer() */
} Input;

/* A schema, with the greatest levels of each leaf. */
typedef struct Shape
{
	ObPqNode nodes[NODES_MAX];
	int nnodes;
	int nleaves;
	int definition[LEAVES_MAX];
	int repetition[LEAVES_MAX];
} Shape;

static uint8_t
take(Input *input)
{
	return input->at < input->end ? *input->at++ : 0;
}

static uint64_t
take_number(Input *input)
{
	uint64_t value = 0;

	for (int n = take(input) % 9; n > 0; n--)
		value = value << 8 | take(input);
	return value;
}

static void
take_leaf(Input *input, ObPqNode *node)
{
	static const ObPqType types[] = {
		OB_PQ_BOOLEAN, OB_PQ_INT32,      OB_PQ_INT64,      OB_PQ_FLOAT,
		OB_PQ_DOUBLE,  OB_PQ_BYTE_ARRAY, OB_PQ_BYTE_ARRAY, OB_PQ_FIXED};
	uint8_t byte = take(input);

	node->type = types[byte & 7];
	node->dictionary = byte & 8;
	node->filter = byte & 32;
	if (node->type == OB_PQ_BYTE_ARRAY && byte & 16)
		node->logical_type = OB_PQ_STRING;
	if (node->type != OB_PQ_FIXED)
		return;
	node->length = 1 + take(input) % 16;
	if (byte & 16)
	{
		node->logical_type = OB_PQ_DECIMAL;
		node->precision = 38;
	}
}

static void
take_node(Input *input, Shape *shape, int depth, int definition,
		  int repetition)
{
	ObPqNode *node = &shape->nodes[shape->nnodes++];
	uint8_t byte = take(input);
	int children = depth < 5 ? (byte >> 2) % 4 : 0;

	*node = (ObPqNode){.name = "n", .repetition = byte % 3};
	definition += node->repetition != OB_PQ_REQUIRED;
	repetition += node->repetition == OB_PQ_REPEATED;
	/* leave room for one child on each level */
	for (int i = 0; i < children && shape->nnodes + 6 < NODES_MAX; i++)
	{
		node->nchildren++;
		take_node(input, shape, depth + 1, definition, repetition);
	}
	if (node->nchildren > 0)
		return;
	take_leaf(input, node);
	shape->definition[shape->nleaves] = definition;
	shape->repetition[shape->nleaves++] = repetition;
}

static void
put_value(Input *input, ObPqLeaf *leaf)
{
	uint64_t value = take_number(input);
	double real;
	char *text;
	uint8_t *fixed;

	memcpy(&real, &value, sizeof(real));
	switch (leaf->type)
	{
		case OB_PQ_BOOLEAN:
			ob_pq_boolean(leaf, value & 1);
			break;
		case OB_PQ_INT32:
			ob_pq_int32(leaf, (int32_t) value);
			break;
		case OB_PQ_INT64:
			ob_pq_int64(leaf, (int64_t) value);
			break;
		case OB_PQ_FLOAT:
			ob_pq_float(leaf, (float) (int32_t) value);
			break;
		case OB_PQ_DOUBLE:
			ob_pq_double(leaf, real);
			break;
		case OB_PQ_FIXED:
			fixed = ob_pq_fixed(leaf);
			for (int i = 0; fixed && i < leaf->length; i++)
				fixed[i] = (uint8_t) (value >> i % 8 * 8);
			break;
		case OB_PQ_BYTE_ARRAY:
			value %= value & 0x80 ? 300 : 3;
			text = ob_pq_bytes(leaf, value);
			for (uint64_t i = 0; text && i < value; i++)
				text[i] = (char) ('a' + i % 3);
			break;
	}
}

static void
put_leaf(Input *input, const Shape *shape, ObParquet *writer, int i)
{
	ObPqLeaf *leaf = ob_parquet_leaf(writer, i);
	int most = shape->definition[i];
	int entries = shape->repetition[i] ? 1 + take(input) % LEVELS_MAX : 1;

	for (int entry = 0; entry < entries; entry++)
	{
		int definition = most ? take(input) % (most + 2) : 0;

		definition = definition > most ? most : definition;
		if (shape->repetition[i])
			ob_pq_levels(leaf,
						 entry ? 1 + take(input) % shape->repetition[i] : 0,
						 definition);
		else if (definition < most)
			ob_pq_null(leaf, ob_parquet_row(writer), definition);
		if (definition == most)
			put_value(input, leaf);
	}
}

static bool
check(ObCode code, const ObError *error)
{
	fuzz_check_error(code, error);
	promise(code == OB_OK || code == OB_ENOMEM || code == OB_ELIMIT);
	return code == OB_OK;
}

/* Does the remaining steps of a call. */
static ObCode
work(ObParquet *writer, ObCode code, ObError *error)
{
	while (code == OB_OK && ob_parquet_is_busy(writer))
		code = ob_parquet_step(writer, error);
	return code;
}

static size_t
end_group(ObParquet *writer, ObBuf *record, bool *done, ObError *error)
{
	int64_t rows = ob_parquet_rows(writer);
	const char *data;
	size_t len;
	size_t bytes = 0;
	ObPqGroupStats group;

	*done =
		check(work(writer, ob_parquet_end_group(writer, record, error), error),
			  error);
	if (!*done)
		return 0;
	while (ob_parquet_take(writer, &data, &len))
		bytes += len;
	promise(ob_pq_record_group(record->data, record->len, &group));
	promise(group.rows == rows && group.bytes == (int64_t) bytes);
	promise(ob_parquet_rows(writer) == 0);
	return bytes;
}

/* Writes the footer of one row group, whose record the input may truncate. */
static void
put_footer(Input *input, const Shape *shape, const ObBuf *record)
{
	const ObPqSorting sorting = {shape->nleaves - 1, take(input) & 1,
								 take(input) & 1};
	ObPqFooterOptions options = {
		.created_by = "fuzz", .sorting = &sorting, .nsorting = 1};
	size_t len = record->len;
	char *copy = malloc(len ? len : 1);
	ObError error;
	ObPqFooter *footer;
	ObPqLeafStats leaves[LEAVES_MAX] = {0};
	ObBuf out;
	ObCode code;
	bool damaged = take(input) & 1;

	promise(copy != NULL);
	memcpy(copy, record->data, len);
	if (damaged)
		len = take_number(input) % (len + 1);
	ob_error_clear(&error);
	ob_buf_init(&out, 1 << 24);
	footer = ob_pq_footer_new(shape->nodes, shape->nnodes, &options, &error);
	promise(footer != NULL);
	code = ob_pq_footer_add(footer, copy, len, 4, &error);
	for (int64_t at = 4; code == OB_OK; at += (int64_t) out.len)
	{
		code = ob_pq_footer_next(footer, at, &out, &error);
		if (code != OB_OK || out.len == 0)
			break;
	}
	promise(code == (len < record->len ? OB_EPROTO : OB_OK));
	promise(ob_pq_record_leaves(copy, len, shape->nodes, shape->nnodes, leaves,
								shape->nleaves) == (len == record->len));
	ob_pq_footer_free(footer);
	ob_buf_free(&out);
	free(copy);
}

static void
take_options(Input *input, ObParquetOptions *options)
{
	static const ObPqCodec codecs[] = {OB_PQ_NONE, OB_PQ_NONE, OB_PQ_SNAPPY,
									   OB_PQ_GZIP, OB_PQ_ZSTD, OB_PQ_LZ4};
	uint8_t byte = take(input);

	*options = (ObParquetOptions){
		.codec = codecs[byte % 6],
		.level = 1,
		.delta = byte & 64,
		.row_group_rows = 1 + take(input) * 16,
		.row_group_size = 1 << 20,
		.page_size = 64 << take(input) % 8,
		.memory = (size_t) (1 + take(input)) << 14,
	};
}

static void
put_rows(Input *input, const Shape *shape, ObParquet *writer)
{
	ObBuf record;
	ObError error;
	bool done = true;

	ob_error_clear(&error);
	ob_buf_init(&record, 1 << 24);
	while (done && input->at < input->end)
	{
		for (int i = 0; i < shape->nleaves; i++)
			put_leaf(input, shape, writer, i);
		done = check(work(writer, ob_parquet_end_row(writer, &error), &error),
					 &error);
		if (done && ob_parquet_is_full(writer))
		{
			ob_buf_reset(&record);
			end_group(writer, &record, &done, &error);
		}
	}
	if (done && ob_parquet_rows(writer) > 0)
	{
		ob_buf_reset(&record);
		end_group(writer, &record, &done, &error);
		input->end = input->last;
		if (done)
			put_footer(input, shape, &record);
	}
	ob_buf_free(&record);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t tail = size < 4 ? size : 4;
	Input input = {data, data + size - tail, data + size};
	Shape shape = {.nnodes = 0};
	ObParquetOptions options;
	ObParquet *writer;
	ObError error;

	take_options(&input, &options);
	for (int columns = 1 + take(&input) % 4;
		 columns > 0 && shape.nnodes + 6 < NODES_MAX; columns--)
		take_node(&input, &shape, 0, 0, 0);
	ob_error_clear(&error);
	writer = ob_parquet_new(shape.nodes, shape.nnodes, &options, &error);
	if (!writer)
	{
		promise(error.code == OB_ENOMEM || error.code == OB_ELIMIT);
		return 0;
	}
	put_rows(&input, &shape, writer);
	ob_parquet_free(writer);
	return 0;
}
