/*
 * parquet_files.c
 *		Parquet files of random schemas and values, with their values as JSON.
 *
 * test/fuzz/parquet_files.c
 *
 *		parquet_files SEED COUNT FOLDER
 *
 * The program writes FOLDER/N.parquet and FOLDER/N.json for each N less than
 * COUNT.  Values have the form of test/readers/read.mjs;
 * test/system/test_parquet_files.py compares them with those that the readers
 * find.  A file that exceeds its memory limit is left out.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/parquet/parquet.h"

#define NODES_MAX 60
#define NODES_ENOUGH 40
#define COLUMNS_MAX 6
#define DEPTH_MAX 4
#define NAME_MAX_LEN 8
#define BUFFER_MAX ((size_t) 256 * 1024 * 1024)
#define CREATED_BY "onboard version 0.0.0 (build fuzz)"
#define USECS_PER_DAY INT64_C(86400000000)

#define require(condition) ((condition) ? (void) 0 : abort())

/* Kinds of value sequences, which lead to different encodings. */
typedef enum Habit
{
	HABIT_ANY,
	HABIT_FEW,
	HABIT_NEAR, /* each value is near the one before it */
	HABIT_LATE, /* few values at first, then any */
	HABITS
} Habit;

typedef struct Random
{
	uint64_t state;
} Random;

typedef struct File
{
	Random random;
	ObPqNode nodes[NODES_MAX];
	char names[NODES_MAX][NAME_MAX_LEN];
	Habit habit[NODES_MAX];
	int nulls[NODES_MAX]; /* one null in this number; 0: none, 1: all */
	uint64_t last[NODES_MAX];
	int leaf[NODES_MAX];
	int nnodes;
	int nleaves;
	int ids;
	ObParquet *writer;
	ObBuf columns[COLUMNS_MAX]; /* the values, as JSON */
	int roots[COLUMNS_MAX];
	int ncolumns;
	int row;
	int most_items; /* greatest length of a list */
	FILE *out;
	int64_t written;
	ObPqFooter *footer;
	ObBuf records[4096];
	int nrecords;
	int64_t offsets[4096];
} File;

static uint64_t
next(Random *random)
{
	uint64_t z = random->state += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

static uint64_t
below(File *file, uint64_t limit)
{
	return next(&file->random) % limit;
}

#define pick(file, values) \
	((values)[below(file, sizeof(values) / sizeof((values)[0]))])

/* ---- the schema ---- */

static ObPqNode *
add_node(File *file, const char *name, ObPqRepetition repetition)
{
	ObPqNode *node = &file->nodes[file->nnodes];
	int i = file->nnodes++;

	if (!name)
	{
		snprintf(file->names[i], NAME_MAX_LEN, "f%d", i);
		name = file->names[i];
	}
	*node = (ObPqNode){.name = name, .repetition = repetition};
	if (repetition != OB_PQ_REPEATED)
		node->field_id = ++file->ids;
	return node;
}

static int
bytes_of_digits(int digits)
{
	int bytes = 9;

	/* the number's bits and a sign */
	while (8 * bytes - 1 < (int) ceil(digits * log2(10)))
		bytes++;
	return bytes;
}

static void
choose_type(File *file, ObPqNode *node)
{
	static const struct
	{
		ObPqType type;
		ObPqLogicalType logical_type;
	} kinds[] = {
		{OB_PQ_BOOLEAN, OB_PQ_UNANNOTATED},
		{OB_PQ_INT32, OB_PQ_UNANNOTATED},
		{OB_PQ_INT32, OB_PQ_INT16},
		{OB_PQ_INT32, OB_PQ_DATE},
		{OB_PQ_INT32, OB_PQ_DECIMAL},
		{OB_PQ_INT64, OB_PQ_UNANNOTATED},
		{OB_PQ_INT64, OB_PQ_TIME},
		{OB_PQ_INT64, OB_PQ_TIMESTAMP},
		{OB_PQ_INT64, OB_PQ_TIMESTAMPTZ},
		{OB_PQ_INT64, OB_PQ_DECIMAL},
		{OB_PQ_FLOAT, OB_PQ_UNANNOTATED},
		{OB_PQ_DOUBLE, OB_PQ_UNANNOTATED},
		{OB_PQ_BYTE_ARRAY, OB_PQ_UNANNOTATED},
		{OB_PQ_BYTE_ARRAY, OB_PQ_STRING},
		{OB_PQ_BYTE_ARRAY, OB_PQ_STRING},
		{OB_PQ_BYTE_ARRAY, OB_PQ_ENUM},
		{OB_PQ_FIXED, OB_PQ_UUID},
		{OB_PQ_FIXED, OB_PQ_DECIMAL},
	};
	int i = (int) below(file, sizeof(kinds) / sizeof(kinds[0]));

	node->type = kinds[i].type;
	node->logical_type = kinds[i].logical_type;
	node->dictionary = below(file, 3) > 0;
	if (node->logical_type == OB_PQ_UUID)
		node->length = 16;
	if (node->logical_type != OB_PQ_DECIMAL)
		return;
	node->precision = node->type == OB_PQ_INT32   ? 1 + below(file, 9)
					  : node->type == OB_PQ_INT64 ? 10 + below(file, 9)
												  : 19 + below(file, 20);
	node->scale = below(file, node->precision + 1);
	if (node->type == OB_PQ_FIXED)
		node->length = bytes_of_digits(node->precision);
}

/* Returns whether the extension writes filters for such a column. */
static bool
can_have_filter(const ObPqNode *node)
{
	switch (node->type)
	{
		case OB_PQ_BOOLEAN:
		case OB_PQ_FLOAT:
		case OB_PQ_DOUBLE:
			return false;
		default:
			return node->logical_type != OB_PQ_UNANNOTATED ||
				   node->type != OB_PQ_BYTE_ARRAY;
	}
}

/* Draws a node of any kind, and the nodes below it. */
static void
draw_node(File *file, const char *name, ObPqRepetition repetition, int depth)
{
	static const int nulls[] = {0, 0, 1, 2, 3, 10, 1000};
	int at = file->nnodes;
	ObPqNode *node = add_node(file, name, repetition);
	int kind = depth < DEPTH_MAX && file->nnodes < NODES_ENOUGH
				   ? (int) below(file, 8)
				   : 7;

	file->habit[at] = below(file, HABITS);
	file->nulls[at] = pick(file, nulls);
	if (kind == 0) /* a group */
	{
		node->nchildren = 1 + below(file, 3);
		for (int i = node->nchildren; i > 0; i--)
			draw_node(file, NULL,
					  below(file, 4) ? OB_PQ_OPTIONAL : OB_PQ_REQUIRED,
					  depth + 1);
	}
	else if (kind <= 2)
	{
		node->logical_type = OB_PQ_LIST;
		node->nchildren = 1;
		add_node(file, "list", OB_PQ_REPEATED)->nchildren = 1;
		draw_node(file, "element",
				  below(file, 4) ? OB_PQ_OPTIONAL : OB_PQ_REQUIRED, depth + 1);
	}
	else if (kind == 3)
	{
		node->logical_type = OB_PQ_MAP;
		node->nchildren = 1;
		add_node(file, "key_value", OB_PQ_REPEATED)->nchildren = 2;
		file->leaf[file->nnodes] = file->nleaves++;
		node = add_node(file, "key", OB_PQ_REQUIRED);
		node->type = OB_PQ_BYTE_ARRAY;
		node->logical_type = OB_PQ_STRING;
		node->dictionary = below(file, 2);
		draw_node(file, "value", OB_PQ_OPTIONAL, depth + 1);
	}
	else
	{
		file->leaf[at] = file->nleaves++;
		choose_type(file, node);
		node->filter = depth == 0 && can_have_filter(node) && below(file, 2);
	}
}

/* ---- values ---- */

/* Draws the bits of a value, by the column's habit. */
static uint64_t
draw_bits(File *file, int node)
{
	static const uint64_t edges[] = {
		0,          1,
		UINT64_MAX, INT64_MAX,
		INT64_MIN,  INT32_MAX,
		INT32_MIN,  UINT32_MAX,
		INT16_MAX,  UINT64_C(0x7FF8000000000000),
		0x7FC00000, UINT64_C(0x7FF0000000000000),
		0x7F800000, UINT64_C(0x8000000000000000),
		0x80000000, UINT64_C(0xFFF0000000000000),
	};
	Habit habit = file->habit[node];
	uint64_t bits = next(&file->random);

	if (habit == HABIT_LATE)
		habit = file->row < 5000 ? HABIT_FEW : HABIT_ANY;
	if (habit == HABIT_FEW)
	{
		Random again = {bits % 20 + node};

		bits = next(&again);
	}
	else if (habit == HABIT_NEAR)
		bits = file->last[node] + bits % 100 - 30;
	else if (bits % 5 == 0)
		bits = pick(file, edges);
	file->last[node] = bits;
	return bits;
}

/* Writes a character in UTF-8, of any length. */
static int
put_character(char *to, uint64_t bits)
{
	static const uint32_t some[] = {'a',    'z',    ' ',    '"',     '\\',
									1,      0x7F,   0x80,   0x7FF,   0x800,
									0xD7FF, 0xE000, 0xFEFF, 0xFFFF,  0x10000,
									'\n',   0xE9,   0x20AC, 0x1F600, 0x10FFFF};
	uint32_t code = some[bits % (sizeof(some) / sizeof(some[0]))];
	int len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	if (len == 1)
	{
		to[0] = (char) code;
		return 1;
	}
	for (int i = len - 1; i > 0; i--, code >>= 6)
		to[i] = (char) (0x80 | (code & 0x3F));
	to[0] = (char) (0xF0 << (4 - len) | code);
	return len;
}

#define TEXT_MAX 2000

/* Draws texts with long common prefixes, often about as long as a bound. */
static size_t
draw_text(uint64_t bits, char *to)
{
	static const int lengths[] = {0,  1,  3,  8,  15, 16, 17, 40,
								  60, 62, 63, 64, 65, 66, 90, TEXT_MAX - 8};
	Random random = {bits >> 8};
	size_t len = lengths[bits % 16];
	bool plain = bits & 16;
	size_t n = 0;

	if (len > 100 && bits % 37)
		len = 70;
	while (n < len)
	{
		/* most texts differ only at their end */
		uint64_t which = bits & 32 || n + 4 > len ? next(&random) : 19;

		if (plain)
			to[n++] = (char) ('a' + which % 20);
		else
			n += put_character(to + n, which);
	}
	return n;
}

static void
show_text(ObBuf *out, const char *text, size_t len)
{
	ob_buf_addc(out, '"');
	for (size_t i = 0; i < len; i++)
	{
		uint8_t byte = (uint8_t) text[i];

		if (byte < ' ' || byte == '"' || byte == '\\')
			ob_buf_addf(out, "\\u%04x", byte);
		else
			ob_buf_addc(out, text[i]);
	}
	ob_buf_addc(out, '"');
}

static void
show_hex(ObBuf *out, const uint8_t *data, size_t len)
{
	ob_buf_addc(out, '"');
	for (size_t i = 0; i < len; i++)
		ob_buf_addf(out, "%02x", data[i]);
	ob_buf_addc(out, '"');
}

static void
show_real(ObBuf *out, double value)
{
	if (isnan(value))
		ob_buf_adds(out, "\"NaN\"");
	else if (isinf(value))
		ob_buf_adds(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
	else
		ob_buf_addf(out, "\"%.17g\"", value);
}

static int64_t
power_of_ten(int n)
{
	int64_t power = 1;

	while (n-- > 0)
		power *= 10;
	return power;
}

/* Draws an integer in the range that readers accept for the logical type. */
static int64_t
draw_integer(const ObPqNode *node, uint64_t bits)
{
	if (node->type != OB_PQ_INT32 && node->type != OB_PQ_INT64)
		return 0;
	switch (node->logical_type)
	{
		case OB_PQ_INT16:
			return (int16_t) bits;
		case OB_PQ_DATE:
			return (int32_t) bits % 1000000;
		case OB_PQ_TIME:
			return (int64_t) (bits % USECS_PER_DAY);
		case OB_PQ_TIMESTAMP:
		case OB_PQ_TIMESTAMPTZ:
			return (int64_t) bits / 2;
		case OB_PQ_DECIMAL:
			return (int64_t) bits % power_of_ten(node->precision);
		default:
			return node->type == OB_PQ_INT32 ? (int32_t) bits : (int64_t) bits;
	}
}

static void
put_bytes(const ObPqNode *node, ObPqLeaf *leaf, uint64_t bits, ObBuf *out)
{
	char text[TEXT_MAX + 8];
	size_t len = draw_text(bits, text);
	char *to = ob_pq_bytes(leaf, len);

	if (to && len > 0)
		memcpy(to, text, len);
	if (node->logical_type == OB_PQ_UNANNOTATED)
	{
		/* make bytes that are invalid UTF-8 */
		for (size_t i = 0; to && i < len; i++)
			to[i] = text[i] = (char) (text[i] == 'a' ? 0xFF : text[i] ^ 0xC0);
		show_hex(out, (uint8_t *) text, len);
	}
	else
		show_text(out, text, len);
}

static void
show_int128(ObBuf *out, __int128 value)
{
	char digits[40];
	int at = sizeof(digits);
	bool negative = value < 0;

	do
	{
		int digit = (int) (value % 10);

		digits[--at] = (char) ('0' + abs(digit));
		value /= 10;
	} while (value != 0);
	ob_buf_adds(out, negative ? "\"-" : "\"");
	ob_buf_add(out, digits + at, sizeof(digits) - at);
	ob_buf_addc(out, '"');
}

/* Appends a decimal, in two's complement, big-endian. */
static void
put_decimal(const ObPqNode *node, ObPqLeaf *leaf, uint64_t bits, ObBuf *out)
{
	uint8_t *to = ob_pq_fixed(leaf);
	Random random = {bits};
	__int128 value = bits & 2 ? (__int128) bits >> 30
							  : (__int128) (next(&random) << 1) << 63 | bits;
	__int128 top = 1;

	for (int i = 0; i < node->precision; i++)
		top *= 10;
	value %= top;
	value = bits & 1 ? -value : value;
	show_int128(out, value);
	for (int i = node->length - 1; to && i >= 0; i--, value >>= 8)
		to[i] = (uint8_t) value;
}

static void
put_uuid(ObPqLeaf *leaf, uint64_t bits, ObBuf *out)
{
	static const int groups[] = {4, 2, 2, 2, 6};
	uint8_t *to = ob_pq_fixed(leaf);
	uint8_t bytes[16];
	int at = 0;

	for (int i = 0; i < 16; i++)
		bytes[i] = (uint8_t) (bits >> 8 * (i % 8));
	if (to)
		memcpy(to, bytes, sizeof(bytes));
	ob_buf_addc(out, '"');
	for (int group = 0; group < 5; group++)
	{
		ob_buf_adds(out, group ? "-" : "");
		for (int i = 0; i < groups[group]; i++)
			ob_buf_addf(out, "%02x", bytes[at++]);
	}
	ob_buf_addc(out, '"');
}

static void
put_leaf(File *file, int i, int repetition, int definition, ObBuf *out)
{
	const ObPqNode *node = &file->nodes[i];
	ObPqLeaf *leaf = ob_parquet_leaf(file->writer, file->leaf[i]);
	uint64_t bits = draw_bits(file, i);
	int64_t integer = draw_integer(node, bits);
	uint32_t low = (uint32_t) bits;
	double real;
	float small;

	memcpy(&real, &bits, sizeof(real));
	memcpy(&small, &low, sizeof(small));
	if (leaf->max_repetition > 0)
		ob_pq_levels(leaf, repetition, definition);
	switch (node->type)
	{
		case OB_PQ_BOOLEAN:
			ob_pq_boolean(leaf, bits & 1);
			ob_buf_adds(out, bits & 1 ? "\"true\"" : "\"false\"");
			break;
		case OB_PQ_INT32:
			ob_pq_int32(leaf, (int32_t) integer);
			ob_buf_addf(out, "\"%" PRId64 "\"", integer);
			break;
		case OB_PQ_INT64:
			ob_pq_int64(leaf, integer);
			ob_buf_addf(out, "\"%" PRId64 "\"", integer);
			break;
		case OB_PQ_FLOAT:
			ob_pq_float(leaf, small);
			show_real(out, small);
			break;
		case OB_PQ_DOUBLE:
			ob_pq_double(leaf, real);
			show_real(out, real);
			break;
		case OB_PQ_BYTE_ARRAY:
			put_bytes(node, leaf, bits, out);
			break;
		case OB_PQ_FIXED:
			if (node->logical_type == OB_PQ_UUID)
				put_uuid(leaf, bits, out);
			else
				put_decimal(node, leaf, bits, out);
			break;
	}
}

/* Appends a null to all leaves below a node.  Returns the node after that
 * subtree. */
static int
put_null(File *file, int i, int repetition, int definition)
{
	const ObPqNode *node = &file->nodes[i];
	ObPqLeaf *leaf;
	int next_node = i + 1;

	for (int child = 0; child < node->nchildren; child++)
		next_node = put_null(file, next_node, repetition, definition);
	if (node->nchildren > 0)
		return next_node;
	leaf = ob_parquet_leaf(file->writer, file->leaf[i]);
	if (leaf->max_repetition > 0)
		ob_pq_levels(leaf, repetition, definition);
	else if (definition < leaf->max_definition)
		ob_pq_null(leaf, ob_parquet_row(file->writer), definition);
	return next_node;
}

static int put_node(File *file, int i, int repetition, int definition,
					int lists, ObBuf *out);

static void
put_key(File *file, int i, int number, int repetition, int definition,
		ObBuf *out)
{
	ObPqLeaf *leaf = ob_parquet_leaf(file->writer, file->leaf[i]);
	char text[32];
	int len =
		snprintf(text, sizeof(text), "k%d.%d", number, (int) below(file, 50));
	char *to = ob_pq_bytes(leaf, len);

	if (to)
		memcpy(to, text, len);
	ob_pq_levels(leaf, repetition, definition);
	show_text(out, text, len);
}

/* Appends the elements of a list, or the pairs of a map. */
static int
put_items(File *file, int i, int repetition, int definition, int lists,
		  ObBuf *out)
{
	bool map = file->nodes[i].logical_type == OB_PQ_MAP;
	int n = (int) below(file, file->most_items + 1);
	int first = i + 2; /* the child of the repeated group */
	int next_node = 0;

	ob_buf_addc(out, '[');
	if (n == 0)
		next_node = put_null(file, i + 1, repetition, definition);
	for (int item = 0; item < n; item++)
	{
		int level = item ? lists + 1 : repetition;

		if (item)
			ob_buf_addc(out, ',');
		if (map)
		{
			ob_buf_addc(out, '[');
			put_key(file, first, item, level, definition + 1, out);
			ob_buf_addc(out, ',');
		}
		next_node =
			put_node(file, first + map, level, definition + 1, lists + 1, out);
		if (map)
			ob_buf_addc(out, ']');
	}
	ob_buf_addc(out, ']');
	return next_node;
}

/* Appends a value of a node.  Returns the node after its subtree. */
static int
put_node(File *file, int i, int repetition, int definition, int lists,
		 ObBuf *out)
{
	const ObPqNode *node = &file->nodes[i];
	int next_node = i + 1;

	if (node->repetition == OB_PQ_OPTIONAL)
	{
		if (file->nulls[i] && below(file, file->nulls[i]) == 0)
		{
			ob_buf_adds(out, "null");
			return put_null(file, i, repetition, definition);
		}
		definition++;
	}
	if (node->logical_type == OB_PQ_LIST || node->logical_type == OB_PQ_MAP)
		return put_items(file, i, repetition, definition, lists, out);
	if (node->nchildren == 0)
	{
		put_leaf(file, i, repetition, definition, out);
		return next_node;
	}
	for (int child = 0; child < node->nchildren; child++)
	{
		ob_buf_addc(out, child ? ',' : '[');
		next_node =
			put_node(file, next_node, repetition, definition, lists, out);
	}
	ob_buf_addc(out, ']');
	return next_node;
}

/* ---- the file ---- */

static void
put_out(File *file, const char *data, size_t len)
{
	require(fwrite(data, 1, len, file->out) == len);
	file->written += (int64_t) len;
}

static bool
work(File *file, ObError *error)
{
	while (ob_parquet_is_busy(file->writer))
	{
		if (ob_parquet_step(file->writer, error) != OB_OK)
			return false;
	}
	return true;
}

static bool
end_group(File *file, ObError *error)
{
	ObBuf *record = &file->records[file->nrecords];
	const char *data;
	size_t len;

	require(file->nrecords < 4096);
	ob_buf_init(record, BUFFER_MAX);
	file->offsets[file->nrecords++] = file->written;
	if (ob_parquet_end_group(file->writer, record, error) != OB_OK ||
		!work(file, error))
		return false;
	while (ob_parquet_take(file->writer, &data, &len))
		put_out(file, data, len);
	return true;
}

static void
put_footer(File *file, ObError *error)
{
	ObPqFooterOptions options = {.created_by = CREATED_BY};
	ObBuf out;

	ob_buf_init(&out, BUFFER_MAX);
	file->footer =
		ob_pq_footer_new(file->nodes, file->nnodes, &options, error);
	require(file->footer);
	for (int i = 0; i < file->nrecords; i++)
		require(ob_pq_footer_add(file->footer, file->records[i].data,
								 file->records[i].len, file->offsets[i],
								 error) == OB_OK);
	for (;;)
	{
		require(ob_pq_footer_next(file->footer, file->written, &out, error) ==
				OB_OK);
		if (out.len == 0)
			break;
		put_out(file, out.data, out.len);
	}
	ob_pq_footer_free(file->footer);
	ob_buf_free(&out);
}

static void
draw_options(File *file, ObParquetOptions *options)
{
	static const ObPqCodec codecs[] = {OB_PQ_NONE, OB_PQ_SNAPPY, OB_PQ_GZIP,
									   OB_PQ_ZSTD, OB_PQ_LZ4};
	static const int rows[] = {1, 7, 100, 1000, 1023, 1024, 1025, 1 << 20};
	static const size_t pages[] = {64, 500, 4096, 65536, 1 << 20};
	static const size_t memory[] = {1 << 16, 1 << 17, 1 << 18,
									1 << 19, 1 << 21, 1 << 24};

	*options = (ObParquetOptions){
		.codec = pick(file, codecs),
		.level = 1 + below(file, 5),
		.delta = below(file, 2),
		.row_group_rows = pick(file, rows),
		.row_group_size = 1 << (14 + below(file, 8)),
		.page_size = pick(file, pages),
		.memory = pick(file, memory),
	};
}

/* Appends all rows.  Returns false if they exceed the memory limit. */
static bool
put_rows(File *file, int rows, ObError *error)
{
	for (file->row = 0; file->row < rows; file->row++)
	{
		for (int i = 0; i < file->ncolumns; i++)
		{
			ob_buf_adds(&file->columns[i], file->row ? "," : "");
			put_node(file, file->roots[i], 0, 0, 0, &file->columns[i]);
		}
		if (ob_parquet_end_row(file->writer, error) != OB_OK ||
			!work(file, error))
			return false;
		if (ob_parquet_is_full(file->writer) && !end_group(file, error))
			return false;
	}
	return ob_parquet_rows(file->writer) == 0 || end_group(file, error);
}

static void
write_values(File *file, const char *path)
{
	FILE *out = fopen(path, "w");

	require(out);
	for (int i = 0; i < file->ncolumns; i++)
	{
		ObBuf *values = &file->columns[i];

		require(!values->failed);
		fprintf(out, "%s[\"%s\",[", i ? ",\n" : "[",
				file->nodes[file->roots[i]].name);
		require(fwrite(values->data, 1, values->len, out) == values->len);
		fputs("]]", out);
	}
	fputs("]\n", out);
	require(fclose(out) == 0);
}

static void
draw_schema(File *file)
{
	int columns = 1 + (int) below(file, COLUMNS_MAX);

	while (file->ncolumns < columns && file->nnodes < NODES_ENOUGH)
	{
		ob_buf_init(&file->columns[file->ncolumns], BUFFER_MAX);
		file->roots[file->ncolumns++] = file->nnodes;
		draw_node(file, NULL, below(file, 4) ? OB_PQ_OPTIONAL : OB_PQ_REQUIRED,
				  0);
	}
}

static void
make_file(uint64_t seed, int number, const char *folder)
{
	static const int sizes[] = {0, 1, 2, 9, 100, 999, 1025, 3000, 9000};
	File *file = calloc(1, sizeof(File));
	ObParquetOptions options;
	ObError error;
	char path[4096];
	bool done;
	int rows;

	require(file);
	file->random.state = seed * UINT64_C(1000003) + (uint64_t) number;
	draw_schema(file);
	draw_options(file, &options);
	file->most_items = 1 + (int) below(file, 4);
	ob_error_clear(&error);
	snprintf(path, sizeof(path), "%s/%d.parquet", folder, number);
	require(file->out = fopen(path, "wb"));
	put_out(file, OB_PQ_MAGIC, strlen(OB_PQ_MAGIC));
	file->writer = ob_parquet_new(file->nodes, file->nnodes, &options, &error);
	rows = pick(file, sizes);
	if (rows > options.row_group_rows * 200)
		rows = (int) options.row_group_rows * 200;
	done = file->writer && put_rows(file, rows, &error);
	if (done)
		put_footer(file, &error);
	else
		require(error.code == OB_ELIMIT);
	require(fclose(file->out) == 0);
	if (!done)
		remove(path);
	snprintf(path, sizeof(path), "%s/%d.json", folder, number);
	if (done)
		write_values(file, path);
	ob_parquet_free(file->writer);
	for (int i = 0; i < file->nrecords; i++)
		ob_buf_free(&file->records[i]);
	for (int i = 0; i < file->ncolumns; i++)
		ob_buf_free(&file->columns[i]);
	free(file);
}

int
main(int argc, char **argv)
{
	require(argc == 4);
	for (int number = 0; number < atoi(argv[2]); number++)
		make_file(strtoull(argv[1], NULL, 10), number, argv[3]);
	return 0;
}
