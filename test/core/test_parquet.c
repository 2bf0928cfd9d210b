/*
 * test_parquet.c
 *		Tests of the Parquet writer: encodings, bounds, memory, footer.
 *
 * test/core/test_parquet.c
 *
 * The tests decode data with code that was written from the specification; the
 * system tests read whole files with several readers.  Buffers have exactly
 * the size that the encoder requests, so that ASan detects any overrun.
 *
 * link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup
 */
#include "core/parquet/parquet_intern.h"
#include "core/parquet/thrift.h"

#include <math.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "testing.h"
#include "starving.h"

#define MIB ((size_t) 1024 * 1024)

static uint64_t
mask(int width)
{
	return width >= 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
}

/* ---- thrift ---- */

static void
assert_bytes(const ObBuf *buf, const char *bytes, size_t len)
{
	assert_false(buf->failed);
	assert_int_equal(buf->len, len);
	assert_memory_equal(buf->data, bytes, len);
}

static void
thrift_fields(void **state)
{
	static const char wanted[] = "\x15\x02"     /* 1: i32 1 */
								 "\x16\x01"     /* 2: i64 -1 */
								 "\x11"         /* 3: true */
								 "\x22"         /* 5: false */
								 "\xF3\xFE"     /* 20: i8 -2 */
								 "\x08\x48\x02" /* 36: text */
								 "hi"
								 "\x1C\x15\xFE\xFF\xFF\xFF\x0F" /* 37 */
								 "\x00\x00";
	ObBuf buf;
	ObThrift thrift;

	ob_buf_init(&buf, 1000);
	ob_thrift_begin(&thrift, &buf);
	ob_thrift_i32(&thrift, 1, 1);
	ob_thrift_i64(&thrift, 2, -1);
	ob_thrift_bool(&thrift, 3, true);
	ob_thrift_bool(&thrift, 5, false);
	ob_thrift_i8(&thrift, 20, -2);
	ob_thrift_text(&thrift, 36, "hi");
	ob_thrift_struct(&thrift, 37);
	ob_thrift_i32(&thrift, 1, INT32_MAX);
	ob_thrift_end(&thrift);
	ob_thrift_end(&thrift);
	assert_bytes(&buf, wanted, sizeof(wanted) - 1);
	ob_buf_free(&buf);
}

/* The header of a list has lengths up to 14; greater ones follow it. */
static void
thrift_lists(void **state)
{
	static const int lengths[] = {0, 1, 14, 15, 200};

	for (size_t i = 0; i < COUNT_OF(lengths); i++)
	{
		int n = lengths[i];
		size_t head = n < 15 ? 2 : n < 128 ? 3 : 4;
		ObBuf buf;
		ObThrift thrift;

		ob_buf_init(&buf, 1000);
		ob_thrift_begin(&thrift, &buf);
		ob_thrift_list(&thrift, 1, OB_THRIFT_I32, n);
		for (int j = 0; j < n; j++)
			ob_thrift_element_int(&thrift, -j % 60);
		ob_thrift_end(&thrift);
		assert_int_equal(buf.len, head + n + 1);
		assert_int_equal((uint8_t) buf.data[0], 0x19);
		assert_int_equal((uint8_t) buf.data[1],
						 (n < 15 ? n << 4 : 0xF0) | OB_THRIFT_I32);
		ob_buf_free(&buf);
	}
}

/* ---- bit packing ---- */

static uint64_t
unpack(const uint8_t *data, size_t bit, int width)
{
	uint64_t value = 0;

	for (int i = 0; i < width; i++, bit++)
		value |= (uint64_t) (data[bit / 8] >> bit % 8 & 1) << i;
	return value;
}

static void
bit_widths(void **state)
{
	assert_int_equal(ob_pq_width(0), 0);
	for (int bits = 0; bits < 64; bits++)
	{
		assert_int_equal(ob_pq_width(UINT64_C(1) << bits), bits + 1);
		assert_int_equal(ob_pq_width(mask(bits + 1)), bits + 1);
	}
}

static void
pack(int width, size_t n)
{
	size_t bytes = (n * width + 7) / 8;
	uint8_t *to = malloc(bytes + OB_PQ_PACK_SLACK);
	uint64_t *wide = calloc(n + 1, sizeof(uint64_t));

	for (size_t i = 0; i < n; i++)
		wide[i] = i % 5 ? next_random() & mask(width) : mask(width);
	assert_ptr_equal(ob_pq_pack(to, wide, n, width), to + bytes);
	for (size_t i = 0; i < n; i++)
		assert_true(unpack(to, i * width, width) == wide[i]);
	free(wide);
	free(to);
}

static void
bit_packing(void **state)
{
	for (int width = 0; width <= 64; width++)
	{
		for (size_t n = 0; n <= 40; n++)
			pack(width, n);
	}
}

/* ---- RLE/bit-packing hybrid ---- */

static uint64_t
take_varint(const uint8_t **at, const uint8_t *end)
{
	uint64_t value = 0;

	for (int shift = 0;; shift += 7)
	{
		assert_true(*at < end);
		value |= (uint64_t) (**at & 0x7F) << shift;
		if (!(*(*at)++ & 0x80))
			return value;
	}
}

/* Asserts that the bytes consist of runs that have exactly these values. */
static void
assert_hybrid(const uint8_t *at, const uint8_t *end, const uint32_t *values,
			  size_t n, int width)
{
	size_t i = 0;

	while (i < n)
	{
		uint64_t head = take_varint(&at, end);
		uint64_t count = head >> 1;

		assert_true(count > 0);
		if (head & 1)
		{
			assert_true(end - at >= (ptrdiff_t) (count * width));
			assert_true(count * 8 < n - i + 8);
			for (size_t j = 0; j < count * 8; j++, i++)
				assert_true(unpack(at, j * width, width) ==
							(i < n ? values[i] : 0));
			at += count * width;
			continue;
		}
		assert_true(count <= n - i);
		for (size_t j = 0; j < count; j++)
			assert_true(unpack(at, 0, width) == values[i++]);
		at += (width + 7) / 8;
	}
	assert_ptr_equal(at, end);
}

static void
encode_hybrid(const uint32_t *values, size_t n, int width)
{
	size_t max = ob_pq_rle_max(n, width);
	uint8_t *to = malloc(max);
	uint8_t *end = ob_pq_rle(to, values, n, width);

	assert_true(end <= to + max);
	assert_hybrid(to, end, values, n, width);
	if (width <= 8)
	{
		uint8_t *levels = malloc(n + 1);
		uint8_t *other = malloc(max);
		ptrdiff_t len = end - to;

		for (size_t i = 0; i < n; i++)
			levels[i] = values[i];
		assert_int_equal(ob_pq_rle_levels(other, levels, n, width) - other,
						 len);
		assert_memory_equal(other, to, len);
		free(other);
		free(levels);
	}
	free(to);
}

static void
hybrid_of_all_patterns(void **state)
{
	for (size_t n = 0; n <= 14; n++)
	{
		for (uint32_t pattern = 0; pattern < 1u << n; pattern++)
		{
			uint32_t values[14] = {0};

			for (size_t i = 0; i < n; i++)
				values[i] = pattern >> i & 1;
			encode_hybrid(values, n, 1);
		}
	}
}

static void
hybrid_of_all_widths(void **state)
{
	uint32_t values[700];

	for (int width = 1; width <= 32; width++)
	{
		for (int round = 0; round < 60; round++)
		{
			size_t n = next_random() % COUNT_OF(values);
			uint64_t long_runs = next_random() % 30 + 1;

			for (size_t i = 0; i < n; i++)
			{
				if (i > 0 && next_random() % long_runs)
					values[i] = values[i - 1];
				else
					values[i] = next_random() & mask(width);
			}
			encode_hybrid(values, n, width);
		}
	}
}

static void
single_run(void **state)
{
	static const size_t counts[] = {1, 63, 64, 100000};

	for (size_t i = 0; i < COUNT_OF(counts); i++)
	{
		uint8_t *to = malloc(ob_pq_rle_max(1, 3));
		uint8_t *end = ob_pq_rle_run(to, 5, counts[i], 3);
		const uint8_t *at = to;

		assert_true(take_varint(&at, end) == counts[i] * 2);
		assert_int_equal(*at, 5);
		assert_ptr_equal(at + 1, end);
		free(to);
	}
}

/* ---- DELTA_BINARY_PACKED, BYTE_STREAM_SPLIT ---- */

static int64_t
take_zigzag(const uint8_t **at, const uint8_t *end)
{
	uint64_t value = take_varint(at, end);

	return (int64_t) (value >> 1 ^ -(value & 1));
}

static void
assert_delta(const uint8_t *at, const uint8_t *end, const int64_t *values,
			 size_t n, int bits)
{
	uint64_t value;
	size_t i = 1;

	assert_true(take_varint(&at, end) == 128);
	assert_true(take_varint(&at, end) == 4);
	assert_true(take_varint(&at, end) == n);
	value = take_zigzag(&at, end);
	if (n > 0)
		assert_true((int64_t) value == values[0]);
	while (i < n)
	{
		uint64_t least = take_zigzag(&at, end);
		const uint8_t *each = at;

		at += 4;
		for (int mini = 0; mini < 4 && i < n; mini++)
		{
			assert_true(each[mini] <= bits);
			assert_true(end - at >= each[mini] * 4);
			for (int j = 0; j < 32 && i < n; j++)
			{
				value += least + unpack(at, j * each[mini], each[mini]);
				if (bits == 32)
					value = (uint64_t) (int64_t) (int32_t) value;
				assert_true((int64_t) value == values[i++]);
			}
			at += each[mini] * 4;
		}
	}
	assert_ptr_equal(at, end);
}

static void
encode_delta(const int64_t *values, size_t n)
{
	size_t max = ob_pq_delta_max(n, 8);
	uint8_t *to = malloc(max);
	int32_t *narrow = malloc((n + 1) * sizeof(int32_t));
	int64_t *same = malloc((n + 1) * sizeof(int64_t));
	uint8_t *end = ob_pq_delta64(to, values, n);

	assert_true(end <= to + max);
	assert_delta(to, end, values, n, 64);
	free(to);
	for (size_t i = 0; i < n; i++)
		same[i] = narrow[i] = (int32_t) values[i];
	to = malloc(ob_pq_delta_max(n, 4));
	end = ob_pq_delta32(to, narrow, n);
	assert_true(end <= to + ob_pq_delta_max(n, 4));
	assert_delta(to, end, same, n, 32);
	free(to);
	free(same);
	free(narrow);
}

static void
delta_binary_packed(void **state)
{
	static const int64_t edges[] = {
		INT64_MIN, INT64_MAX, INT32_MIN, INT32_MAX, 0, -1, 1, INT64_MIN};
	int64_t values[400];

	for (int round = 0; round < 600; round++)
	{
		size_t n = round < 300 ? round : next_random() % COUNT_OF(values);
		int width = next_random() % 65;

		for (size_t i = 0; i < n; i++)
		{
			uint64_t drawn = next_random();

			if (round % 4 == 0)
				values[i] = edges[drawn % COUNT_OF(edges)];
			else if (round % 4 == 1)
				values[i] = i * 7;
			else
				values[i] = drawn & mask(width);
		}
		encode_delta(values, n);
	}
}

static void
byte_stream_split(void **state)
{
	uint8_t values[8 * 9];
	uint8_t to[8 * 9];

	for (size_t i = 0; i < sizeof(values); i++)
		values[i] = i;
	for (int size = 4; size <= 8; size += 4)
	{
		ob_pq_byte_stream_split(to, values, 9, size);
		for (int i = 0; i < 9 * size; i++)
			assert_int_equal(to[i], values[i % 9 * size + i / 9]);
	}
}

/* ---- bounds of texts ---- */

typedef struct Bound
{
	const char *name;
	const char *end; /* end of 64 bytes; the bytes before it are "a" */
	bool utf8;
	const char *up;   /* end of the rounded maximum */
	const char *down; /* end of the rounded minimum */
} Bound;

static const Bound bounds[] = {
	{"letter", "b", true, "c", "b"},
	{"letter, bytes", "b", false, "c", "b"},
	{"last of one byte", "b\x7F", true, "c", "b\x7F"},
	{"two bytes", "\xC3\xA9", true, "\xC3\xAA", "\xC3\xA9"},
	{"last of two bytes", "b\xDF\xBF", true, "c", "b\xDF\xBF"},
	{"before surrogates", "\xED\x9F\xBF", true, "\xEE\x80\x80",
	 "\xED\x9F\xBF"},
	{"last of three bytes", "b\xEF\xBF\xBF", true, "c", "b\xEF\xBF\xBF"},
	{"four bytes", "\xF0\x9F\x98\x80", true, "\xF0\x9F\x98\x81",
	 "\xF0\x9F\x98\x80"},
	{"carry in a character", "\xF0\x9F\x98\xBF", true, "\xF0\x9F\x99\x80",
	 "\xF0\x9F\x98\xBF"},
	{"last of all", "b\xF4\x8F\xBF\xBF", true, "c", "b\xF4\x8F\xBF\xBF"},
	{"one byte of two", "b\xC3", true, "c", "b"},
	{"two bytes of three", "b\xE2\x82", true, "c", "b"},
	{"three bytes of four", "b\xF0\x9F\x98", true, "c", "b"},
	{"no first byte", "b\xF8\x80\x80\x80", true, "c", "b\xF8\x80\x80\x80"},
	{"many other bytes", "ab\x80\xBF\x80\xBF\x80\xBF", true, "b",
	 "ab\x80\xBF\x80\xBF\x80\xBF"},
	{"greatest byte", "b\xFF", false, "c", "b\xFF"},
	{"half a character, bytes", "b\xC3", false, "b\xC4", "b\xC3"},
};

static void
fill_bound(ObPqBound *bound, const char *end)
{
	size_t len = strlen(end);

	memset(bound->data, 'a', OB_PQ_STAT_MAX);
	memcpy(bound->data + OB_PQ_STAT_MAX - len, end, len);
	bound->len = OB_PQ_STAT_MAX;
	bound->truncated = true;
}

static void
truncated_texts(void **state)
{
	for (size_t i = 0; i < COUNT_OF(bounds); i++)
	{
		const Bound *row = &bounds[i];
		size_t before = OB_PQ_STAT_MAX - strlen(row->end);
		ObPqBound bound;

		fill_bound(&bound, row->end);
		assert_row(row->name, ob_pq_bound_round_up(&bound, row->utf8));
		assert_row(row->name, bound.len == before + strlen(row->up));
		assert_row(row->name,
				   memcmp(bound.data + before, row->up, strlen(row->up)) == 0);
		fill_bound(&bound, row->end);
		ob_pq_bound_round_down(&bound, row->utf8);
		assert_row(row->name, bound.len == before + strlen(row->down));
		assert_row(row->name, memcmp(bound.data + before, row->down,
									 strlen(row->down)) == 0);
	}
}

static void
texts_without_upper_bound(void **state)
{
	ObPqBound bound = {.len = OB_PQ_STAT_MAX, .truncated = true};

	memset(bound.data, 0xFF, sizeof(bound.data));
	assert_false(ob_pq_bound_round_up(&bound, false));
	bound.len = OB_PQ_STAT_MAX;
	for (int i = 0; i < OB_PQ_STAT_MAX; i += 4)
		memcpy(bound.data + i, "\xF4\x8F\xBF\xBF", 4);
	assert_false(ob_pq_bound_round_up(&bound, true));
	/* a text that is invalid UTF-8 throughout */
	bound.len = OB_PQ_STAT_MAX;
	memset(bound.data, 0x80, sizeof(bound.data));
	assert_false(ob_pq_bound_round_up(&bound, true));
	/* a text that was not truncated is unchanged */
	bound = (ObPqBound){.len = 1, .data = {0xFF}};
	assert_true(ob_pq_bound_round_up(&bound, false));
	ob_pq_bound_round_down(&bound, true);
	assert_int_equal(bound.len, 1);
	assert_int_equal(bound.data[0], 0xFF);
}

/* ---- whole row groups ---- */

#define LEAVES 9

static const ObPqNode nodes[] = {
	{"flag", OB_PQ_OPTIONAL, 0, OB_PQ_BOOLEAN, 0, OB_PQ_UNANNOTATED, 0, 0, 1,
	 true, true},
	{"i", OB_PQ_REQUIRED, 0, OB_PQ_INT32, 0, OB_PQ_UNANNOTATED, 0, 0, 2, true,
	 true},
	{"l", OB_PQ_OPTIONAL, 0, OB_PQ_INT64, 0, OB_PQ_TIMESTAMPTZ, 0, 0, 3, false,
	 true},
	{"f", OB_PQ_OPTIONAL, 0, OB_PQ_FLOAT, 0, OB_PQ_UNANNOTATED, 0, 0, 4, true,
	 true},
	{"d", OB_PQ_OPTIONAL, 0, OB_PQ_DOUBLE, 0, OB_PQ_UNANNOTATED, 0, 0, 5,
	 false, true},
	{"t", OB_PQ_OPTIONAL, 0, OB_PQ_BYTE_ARRAY, 0, OB_PQ_STRING, 0, 0, 6, true,
	 true},
	{"n", OB_PQ_OPTIONAL, 0, OB_PQ_FIXED, 9, OB_PQ_DECIMAL, 20, 2, 7, true,
	 true},
	{"array", OB_PQ_OPTIONAL, 1, 0, 0, OB_PQ_LIST, 0, 0, 8, false, false},
	{"list", OB_PQ_REPEATED, 1, 0, 0, OB_PQ_UNANNOTATED, 0, 0, 0, false,
	 false},
	{"element", OB_PQ_OPTIONAL, 0, OB_PQ_INT32, 0, OB_PQ_UNANNOTATED, 0, 0, 9,
	 true, true},
	{"b", OB_PQ_OPTIONAL, 0, OB_PQ_BYTE_ARRAY, 0, OB_PQ_UNANNOTATED, 0, 0, 10,
	 false, true},
};

static const ObParquetOptions usual = {
	.codec = OB_PQ_ZSTD,
	.level = 1,
	.row_group_rows = 1000000,
	.row_group_size = 32 * MIB,
	.page_size = 4096,
	.memory = 16 * MIB,
};

static void
put_bytes(ObPqLeaf *leaf, const char *text, size_t len)
{
	char *to = ob_pq_bytes(leaf, len);

	if (to && len > 0)
		memcpy(to, text, len);
}

static void
put_list(ObPqLeaf *leaf, int row)
{
	int n = row % 5;

	if (n < 2)
		ob_pq_levels(leaf, 0, n);
	for (int i = 0; i < n && n >= 2; i++)
	{
		bool null = i % 2;

		ob_pq_levels(leaf, i > 0, null ? 2 : 3);
		if (!null)
			ob_pq_int32(leaf, row);
	}
}

/* Does the remaining steps of a call. */
static ObCode
work(ObParquet *writer, ObCode code, ObError *error)
{
	while (code == OB_OK && ob_parquet_is_busy(writer))
		code = ob_parquet_step(writer, error);
	return code;
}

static ObCode
put_row(ObParquet *writer, int row, ObError *error)
{
	ObPqLeaf *leaves[LEAVES];
	char text[100];
	int at = ob_parquet_row(writer);
	int len = snprintf(text, sizeof(text), "text %d", row % 700);
	uint8_t *fixed;

	for (int i = 0; i < LEAVES; i++)
	{
		leaves[i] = ob_parquet_leaf(writer, i);
		if (i != 1 && i != 7 && (row + i) % 11 == 0)
			ob_pq_null(leaves[i], at, 0);
	}
	if (row % 11 != 0)
		ob_pq_boolean(leaves[0], row % 3);
	ob_pq_int32(leaves[1], row % 50);
	if ((row + 2) % 11 != 0)
		ob_pq_int64(leaves[2], row * INT64_C(1000003));
	if ((row + 3) % 11 != 0)
		ob_pq_float(leaves[3], row % 9 - 4);
	if ((row + 4) % 11 != 0)
		ob_pq_double(leaves[4], row / 3.0);
	if ((row + 5) % 11 != 0)
		put_bytes(leaves[5], text, row % 13 ? len : 0);
	if ((row + 6) % 11 != 0 && (fixed = ob_pq_fixed(leaves[6])) != NULL)
	{
		memset(fixed, row % 2 ? 0xFF : 0, 9);
		fixed[8] = row;
	}
	put_list(leaves[7], row);
	if ((row + 8) % 11 != 0)
		put_bytes(leaves[8], text, row % 7);
	return work(writer, ob_parquet_end_row(writer, error), error);
}

/* Writes rows as a row group, whose bytes are appended to "out". */
static ObCode
write_group(ObParquet *writer, int first, int rows, ObBuf *record, ObBuf *out,
			ObError *error)
{
	const char *data;
	size_t len;

	for (int row = first; row < first + rows; row++)
	{
		if (put_row(writer, row, error) != OB_OK)
			return error->code;
	}
	if (work(writer, ob_parquet_end_group(writer, record, error), error) !=
		OB_OK)
		return error->code;
	while (ob_parquet_take(writer, &data, &len))
		ob_buf_add(out, data, len);
	return ob_buf_check(out, error);
}

static ObCode
write_footer(const ObBuf *records, const int64_t *offsets, int n, ObBuf *out,
			 ObError *error)
{
	ObPqFooterOptions options = {.created_by = "a version 1.0.0 (build b)"};
	ObPqFooter *footer =
		ob_pq_footer_new(nodes, COUNT_OF(nodes), &options, error);
	ObBuf some;

	if (!footer)
		return error->code;
	ob_buf_init(&some, 64 * MIB);
	for (int i = 0; i < n && error->code == OB_OK; i++)
		(void) !ob_pq_footer_add(footer, records[i].data, records[i].len,
								 offsets[i], error);
	while (error->code == OB_OK &&
		   ob_pq_footer_next(footer, out->len, &some, error) == OB_OK &&
		   some.len > 0)
		ob_buf_add(out, some.data, some.len);
	ob_buf_free(&some);
	ob_pq_footer_free(footer);
	if (error->code == OB_OK)
		(void) !ob_buf_check(out, error);
	return error->code;
}

/* Writes a file of two row groups. */
static ObCode
write_file(const ObParquetOptions *options, ObBuf *out, ObError *error)
{
	ObBuf records[2];
	int64_t offsets[2];
	ObParquet *writer;

	ob_error_clear(error);
	ob_buf_init(&records[0], MIB);
	ob_buf_init(&records[1], MIB);
	writer = ob_parquet_new(nodes, COUNT_OF(nodes), options, error);
	ob_buf_adds(out, OB_PQ_MAGIC);
	for (int i = 0; writer && i < 2 && error->code == OB_OK; i++)
	{
		offsets[i] = out->len;
		(void) !write_group(writer, i * 1500, i ? 300 : 1500, &records[i], out,
							error);
	}
	ob_parquet_free(writer);
	if (error->code == OB_OK)
		(void) !write_footer(records, offsets, 2, out, error);
	ob_buf_free(&records[0]);
	ob_buf_free(&records[1]);
	return error->code;
}

static void
all_codecs(void **state)
{
	static const ObPqCodec codecs[] = {OB_PQ_NONE, OB_PQ_SNAPPY, OB_PQ_GZIP,
									   OB_PQ_ZSTD, OB_PQ_LZ4};
	size_t plain = 0;

	for (size_t i = 0; i < COUNT_OF(codecs) * 2; i++)
	{
		ObParquetOptions options = usual;
		ObBuf out;
		ObError error;
		uint32_t len;

		options.codec = codecs[i / 2];
		options.delta = i % 2;
		ob_buf_init(&out, 8 * MIB);
		assert_int_equal(write_file(&options, &out, &error), OB_OK);
		assert_memory_equal(out.data, OB_PQ_MAGIC, 4);
		assert_memory_equal(out.data + out.len - 4, OB_PQ_MAGIC, 4);
		memcpy(&len, out.data + out.len - 8, sizeof(len));
		assert_in_range(len, 100, out.len - 12);
		if (i == 0)
			plain = out.len;
		else if (codecs[i / 2] != OB_PQ_NONE)
			assert_true(out.len < plain);
		ob_buf_free(&out);
	}
}

/* Whichever allocation fails, the error is OB_ENOMEM, and nothing leaks. */
static void
failing_allocations(void **state)
{
	long n = 0;
	ObCode code = OB_ENOMEM;

	for (; code != OB_OK; n += n < 150 ? 1 : 7)
	{
		ObBuf out;
		ObError error;

		ob_buf_init(&out, 8 * MIB);
		budget = n;
		code = write_file(&usual, &out, &error);
		budget = -1;
		ob_buf_free(&out);
		if (code != OB_OK)
			assert_int_equal(code, OB_ENOMEM);
	}
	assert_true(n > 100);
}

/* With any memory limit, the rows are written, or the error is OB_ELIMIT. */
static void
memory_limits(void **state)
{
	for (size_t memory = 1; memory < 8 * MIB; memory += memory / 3 + 1000)
	{
		ObParquetOptions options = usual;
		ObBuf out;
		ObError error;
		ObCode code;

		options.memory = memory;
		ob_buf_init(&out, 8 * MIB);
		code = write_file(&options, &out, &error);
		ob_buf_free(&out);
		if (code != OB_OK)
			assert_error(&error, OB_ELIMIT, "bytes of memory");
		if (memory < 10000)
			assert_int_equal(code, OB_ELIMIT);
		if (memory > 4 * MIB)
			assert_int_equal(code, OB_OK);
	}
}

/* A row group ends as soon as its memory is used up; only the last batch may
 * exceed it. */
static void
group_ends_at_memory_limit(void **state)
{
	ObParquetOptions options = usual;
	ObError error;
	ObParquet *writer;
	int rows = 0;

	options.codec = OB_PQ_NONE;
	options.memory = MIB;
	ob_error_clear(&error);
	writer = ob_parquet_new(nodes, COUNT_OF(nodes), &options, &error);
	assert_non_null(writer);
	while (!ob_parquet_is_full(writer) && rows < 1000000)
		assert_int_equal(put_row(writer, rows++, &error), OB_OK);
	assert_in_range(rows, 1000, 100000);
	assert_int_equal(ob_parquet_rows(writer), rows);
	assert_true(writer->memory.used <= MIB + MIB / 2);
	ob_parquet_free(writer);
}

#define WIDE 700

/* The buffers of all columns double, and become pages, in the same batch; the
 * memory must suffice nevertheless. */
static void
many_columns_in_little_memory(void **state)
{
	ObPqNode columns[WIDE];
	ObParquetOptions options = usual;
	ObError error;
	ObParquet *writer;

	for (int i = 0; i < WIDE; i++)
		columns[i] = (ObPqNode){
			"c", OB_PQ_OPTIONAL, 0,   OB_PQ_INT64, 0, OB_PQ_UNANNOTATED, 0, 0,
			1,   true,           true};
	options.page_size = MIB;
	options.memory = 5 * MIB;
	ob_error_clear(&error);
	writer = ob_parquet_new(columns, WIDE, &options, &error);
	assert_non_null(writer);
	for (int row = 0; !ob_parquet_is_full(writer); row++)
	{
		for (int i = 0; i < WIDE; i++)
			ob_pq_int64(ob_parquet_leaf(writer, i), next_random());
		assert_int_equal(
			work(writer, ob_parquet_end_row(writer, &error), &error), OB_OK);
	}
	assert_in_range(ob_parquet_rows(writer), 100, 1000);
	ob_parquet_free(writer);
}

static const ObPqNode list[] = {
	{"array", OB_PQ_OPTIONAL, 1, 0, 0, OB_PQ_LIST, 0, 0, 1, false, false},
	{"list", OB_PQ_REPEATED, 1, 0, 0, OB_PQ_UNANNOTATED, 0, 0, 0, false,
	 false},
	{"element", OB_PQ_OPTIONAL, 0, OB_PQ_INT64, 0, OB_PQ_UNANNOTATED, 0, 0, 2,
	 false, false},
};

static void
put_long_list(ObPqLeaf *leaf, int n)
{
	for (int i = 0; i < n; i++)
	{
		ob_pq_levels(leaf, i > 0, 3);
		ob_pq_int64(leaf, next_random());
	}
}

/* The values of lists count towards the size of a batch, and not only their
 * levels; otherwise, a page could exceed the memory. */
static void
long_lists(void **state)
{
	ObParquetOptions options = usual;
	ObError error;
	ObParquet *writer;
	int row = 0;

	options.codec = OB_PQ_NONE;
	options.page_size = MIB;
	options.memory = 5 * MIB;
	ob_error_clear(&error);
	writer = ob_parquet_new(list, COUNT_OF(list), &options, &error);
	assert_non_null(writer);
	for (; !ob_parquet_is_full(writer); row++)
	{
		put_long_list(ob_parquet_leaf(writer, 0), 1000);
		assert_int_equal(
			work(writer, ob_parquet_end_row(writer, &error), &error), OB_OK);
	}
	/* pages take most of the memory */
	assert_in_range(row, 300, 700);
	ob_parquet_free(writer);
}

/* The host can process interrupts after each column. */
static void
one_step_per_column(void **state)
{
	ObError error;
	ObParquet *writer;
	ObBuf record;
	int n = 0;

	ob_error_clear(&error);
	ob_buf_init(&record, MIB);
	writer = ob_parquet_new(nodes, COUNT_OF(nodes), &usual, &error);
	assert_int_equal(put_row(writer, 1, &error), OB_OK);
	assert_false(ob_parquet_is_busy(writer));
	assert_int_equal(ob_parquet_end_group(writer, &record, &error), OB_OK);
	for (; ob_parquet_is_busy(writer); n++)
	{
		assert_int_equal(record.len, 0);
		assert_int_equal(ob_parquet_step(writer, &error), OB_OK);
	}
	assert_int_equal(n, LEAVES);
	assert_true(record.len > 0);
	ob_buf_free(&record);
	ob_parquet_free(writer);
}

static size_t
zstd_size(int level, const char *data, size_t len)
{
	ObPqCompressor *compressor = ob_pq_compressor_new(OB_PQ_ZSTD, level);
	size_t room = ob_pq_compressor_max(compressor, len);
	char *to = malloc(room);
	size_t size = ob_pq_compress(compressor, data, len, to, room);

	free(to);
	ob_pq_compressor_free(compressor);
	return size;
}

/* Pages above the usual size are compressed with a lower level, since their
 * compression cannot be cancelled. */
static void
slow_levels_of_large_pages(void **state)
{
	size_t len = 2 * MIB;
	char *data = malloc(len);
	uint32_t seed = 1;

	for (size_t i = 0; i < len; i++)
	{
		seed = seed * 1103515245 + 12345;
		data[i] = "etaoin shrdlu"[seed >> 16 & 7] + (seed >> 30);
	}
	assert_int_equal(zstd_size(19, data, len), zstd_size(9, data, len));
	assert_int_not_equal(zstd_size(19, data, MIB), zstd_size(9, data, MIB));
	free(data);
}

static void
row_too_large(void **state)
{
	ObError error;
	ObParquet *writer;
	char *text = malloc(30 * MIB);

	memset(text, 'x', 30 * MIB);
	ob_error_clear(&error);
	writer = ob_parquet_new(nodes, COUNT_OF(nodes), &usual, &error);
	assert_int_equal(put_row(writer, 1, &error), OB_OK);
	put_bytes(ob_parquet_leaf(writer, 5), text, 30 * MIB);
	assert_int_equal(work(writer, ob_parquet_end_row(writer, &error), &error),
					 OB_ELIMIT);
	assert_error(&error, OB_ELIMIT, "a row");
	ob_parquet_free(writer);
	free(text);
}

static void
schema_without_columns(void **state)
{
	ObError error;

	ob_error_clear(&error);
	assert_null(ob_parquet_new(nodes, 0, &usual, &error));
	assert_error(&error, OB_EINVAL, "needs a column");
}

/* Ends the row group, and returns the chunk of a leaf. */
static ObPqRecordChunk
chunk_of(ObParquet *writer, int leaf, ObBuf *record)
{
	ObPqRecord reader;
	ObPqRecordGroup group;
	ObPqRecordChunk chunk;
	ObPqPage page;
	const char *data;
	size_t len;
	ObError error;

	ob_error_clear(&error);
	assert_int_equal(
		work(writer, ob_parquet_end_group(writer, record, &error), &error),
		OB_OK);
	while (ob_parquet_take(writer, &data, &len))
		;
	ob_pq_record_begin(&reader, record->data, record->len, &group);
	for (int i = 0;; i++)
	{
		ob_pq_record_chunk(&reader, &chunk);
		assert_false(reader.failed);
		if (i == leaf)
			return chunk;
		for (int j = 0; j < chunk.npages; j++)
			ob_pq_record_page(&reader, &page);
	}
}

/* The memory of a row group's pages is reused for the next one.  What is not
 * reused yet is freed as soon as anything else needs it. */
static void
memory_of_pages(void **state)
{
	ObParquetOptions options = usual;
	ObError error;
	ObParquet *writer;
	ObPqMemory *memory;
	ObPqSegment *spare = NULL;
	ObBuf record;
	void *other;

	options.codec = OB_PQ_NONE;
	options.memory = 4 * MIB;
	ob_error_clear(&error);
	ob_buf_init(&record, MIB);
	writer = ob_parquet_new(nodes, COUNT_OF(nodes), &options, &error);
	assert_non_null(writer);
	memory = &writer->memory;
	for (int group = 0; group < 3; group++)
	{
		for (int row = 0; !ob_parquet_is_full(writer); row++)
			assert_int_equal(put_row(writer, row, &error), OB_OK);
		assert_true(memory->used + memory->spare_size <
					options.memory + MIB / 2);
		if (group > 0)
			assert_ptr_equal(writer->pages.first, spare);
		ob_buf_reset(&record);
		chunk_of(writer, 0, &record);
		spare = memory->spare;
		assert_in_range(memory->spare_size, MIB, 4 * MIB);
	}
	other = ob_pq_resize(memory, NULL, 0, 4 * MIB);
	assert_non_null(other);
	assert_null(memory->spare);
	assert_int_equal(memory->spare_size, 0);
	ob_pq_release(memory, other, 4 * MIB);
	ob_buf_free(&record);
	ob_parquet_free(writer);
}

/* Memory that a single large row has taken is freed after its row group. */
static void
memory_after_long_list(void **state)
{
	ObParquetOptions options = usual;
	ObError error;
	ObParquet *writer;
	ObBuf record;

	options.codec = OB_PQ_NONE;
	ob_error_clear(&error);
	ob_buf_init(&record, MIB);
	writer = ob_parquet_new(list, COUNT_OF(list), &options, &error);
	assert_non_null(writer);
	put_long_list(ob_parquet_leaf(writer, 0), 500 * 1024);
	assert_int_equal(work(writer, ob_parquet_end_row(writer, &error), &error),
					 OB_OK);
	chunk_of(writer, 0, &record);
	assert_true(writer->memory.used < options.memory / 4);
	put_long_list(ob_parquet_leaf(writer, 0), 10);
	assert_int_equal(work(writer, ob_parquet_end_row(writer, &error), &error),
					 OB_OK);
	assert_false(ob_parquet_is_full(writer));
	ob_buf_free(&record);
	ob_parquet_free(writer);
}

/* ---- Bloom filters ---- */

/* Looks up a value as a reader would. */
static bool
filter_contains(const uint8_t *words, size_t size, const void *value,
				size_t len)
{
	static const uint32_t salts[] = {0x47b6137b, 0x44974d91, 0x8824ad5b,
									 0xa2b7289d, 0x705495c7, 0x2df1424b,
									 0x9efc4947, 0x5c6bfb31};
	uint64_t hash = XXH64(value, len, 0);
	size_t block = (hash >> 32) * (size / 32) >> 32;

	for (size_t i = 0; i < 8; i++)
	{
		uint32_t bit = (uint32_t) hash * salts[i] >> 27;
		uint32_t word;

		memcpy(&word, words + block * 32 + i * 4, sizeof(word));
		if (!(word >> bit & 1))
			return false;
	}
	return true;
}

/* Ends the row group of a writer with a single INT64 leaf, and returns the
 * size of its filter; 0 if there is none.  Asserts that the filter has all
 * values, and measures its rate of false positives. */
static size_t
end_group_with_filter(ObParquet *writer, int rows, int64_t (*value)(int),
					  double *rate)
{
	static const char head[] = "\x1C\x1C\x00\x00\x1C\x1C\x00\x00\x1C\x1C"
							   "\x00\x00";
	ObBuf record;
	ObBuf bytes;
	ObPqRecord reader;
	ObPqRecordGroup group;
	ObPqRecordChunk chunk;
	ObError error;
	const char *data;
	const uint8_t *words;
	size_t len;
	size_t size = 0;
	int found = 0;

	ob_error_clear(&error);
	ob_buf_init(&record, MIB);
	ob_buf_init(&bytes, 64 * MIB);
	assert_int_equal(
		work(writer, ob_parquet_end_group(writer, &record, &error), &error),
		OB_OK);
	while (ob_parquet_take(writer, &data, &len))
		ob_buf_add(&bytes, data, len);
	ob_pq_record_begin(&reader, record.data, record.len, &group);
	ob_pq_record_chunk(&reader, &chunk);
	assert_int_equal(group.bytes + group.filters, bytes.len);
	assert_int_equal(group.filters, chunk.filter_size);
	if (chunk.filter_size > 0)
	{
		assert_int_equal(chunk.filter_offset, group.bytes);
		words = (const uint8_t *) bytes.data + chunk.filter_offset;
		assert_int_equal(*words++, 0x15);
		size = take_zigzag(&words, words + 5);
		assert_memory_equal(words, head, sizeof(head));
		words += sizeof(head);
		assert_ptr_equal(words + size, bytes.data + bytes.len);
		for (int row = 0; row < rows; row++)
		{
			int64_t one = value(row);

			assert_true(filter_contains(words, size, &one, sizeof(one)));
		}
		for (int64_t other = 0; other < 100000; other++)
		{
			int64_t none = INT64_C(0x123456789) * (other + 1) + 1;

			found += filter_contains(words, size, &none, sizeof(none));
		}
		*rate = found / 100000.0;
	}
	ob_buf_free(&record);
	ob_buf_free(&bytes);
	return size;
}

static size_t
filter_of(int rows, int64_t (*value)(int), bool dictionary, size_t memory,
		  double *rate)
{
	const ObPqNode node = {"c", OB_PQ_REQUIRED,    0,   OB_PQ_INT64,
						   0,   OB_PQ_UNANNOTATED, 0,   0,
						   1,   dictionary,        true};
	ObParquetOptions options = usual;
	ObError error;
	ObParquet *writer;
	size_t size = 0;

	options.memory = memory;
	ob_error_clear(&error);
	writer = ob_parquet_new(&node, 1, &options, &error);
	assert_non_null(writer);
	/* the second row group is the same as the first one */
	for (int group = 0; group < 2; group++)
	{
		for (int row = 0; row < rows; row++)
		{
			ob_pq_int64(ob_parquet_leaf(writer, 0), value(row));
			assert_int_equal(
				work(writer, ob_parquet_end_row(writer, &error), &error),
				OB_OK);
		}
		size = end_group_with_filter(writer, rows, value, rate);
	}
	ob_parquet_free(writer);
	return size;
}

typedef struct Filtered
{
	const char *name;
	int rows;
	int64_t (*value)(int);
	bool dictionary;
	size_t memory;
	size_t size; /* 0: there is no filter */
	double rate; /* the greatest rate of false positives */
} Filtered;

static int64_t few(int row);
static int64_t distinct(int row);
static int64_t few_at_first(int row);

static const Filtered filtered[] = {
	{"one value", 1, distinct, true, 16 * MIB, 32, 0.001},
	{"few values", 100000, few, true, 16 * MIB, 32, 0.001},
	{"few values, no dictionary", 100000, few, false, 16 * MIB, 32, 0.001},
	{"many values", 90000, distinct, true, 16 * MIB, 131072, 0.011},
	{"many values, no dictionary", 90000, distinct, false, 16 * MIB, 131072,
	 0.011},
	{"dictionary abandoned late", 190000, few_at_first, true, 16 * MIB, 131072,
	 0.011},
	{"little memory", 120000, distinct, false, 1536 * 1024, 131072, 0.1},
	{"too little memory", 60000, distinct, false, 500 * 1024, 0, 1},
};

static void
filters(void **state)
{
	for (size_t i = 0; i < COUNT_OF(filtered); i++)
	{
		const Filtered *row = &filtered[i];
		double rate = 0;
		size_t size = filter_of(row->rows, row->value, row->dictionary,
								row->memory, &rate);

		if (size != row->size || rate > row->rate)
			fail_msg("%s: %zu bytes, rate %g", row->name, size, rate);
	}
}

/* A filter that does not fit into the memory is left out without an error. */
static void
filter_without_memory(void **state)
{
	const ObPqNode node = {
		"c", OB_PQ_REQUIRED, 0,   OB_PQ_INT64, 0, OB_PQ_UNANNOTATED, 0, 0,
		1,   false,          true};
	ObError error;
	ObParquet *writer;
	double rate;

	ob_error_clear(&error);
	writer = ob_parquet_new(&node, 1, &usual, &error);
	for (int row = 0; row < 100; row++)
	{
		ob_pq_int64(ob_parquet_leaf(writer, 0), row);
		assert_int_equal(
			work(writer, ob_parquet_end_row(writer, &error), &error), OB_OK);
	}
	writer->memory.limit = writer->memory.used + 128 * 1024;
	assert_int_equal(end_group_with_filter(writer, 0, NULL, &rate), 0);
	assert_false(writer->memory.over);
	ob_parquet_free(writer);
}

/* ---- dictionaries ---- */

/* Writes one column, whose values are value(row). */
static ObPqRecordChunk
write_column(int rows, int64_t (*value)(int), bool dictionary, size_t page)
{
	const ObPqNode node = {"c", OB_PQ_REQUIRED,    0,   OB_PQ_INT64,
						   0,   OB_PQ_UNANNOTATED, 0,   0,
						   1,   dictionary,        true};
	ObError error;
	ObParquetOptions options = usual;
	ObParquet *writer;
	ObPqRecordChunk chunk;
	ObBuf record;

	options.page_size = page;
	ob_error_clear(&error);
	ob_buf_init(&record, MIB);
	writer = ob_parquet_new(&node, 1, &options, &error);
	assert_non_null(writer);
	for (int row = 0; row < rows; row++)
	{
		ob_pq_int64(ob_parquet_leaf(writer, 0), value(row));
		assert_int_equal(
			work(writer, ob_parquet_end_row(writer, &error), &error), OB_OK);
	}
	chunk = chunk_of(writer, 0, &record);
	ob_buf_free(&record);
	ob_parquet_free(writer);
	return chunk;
}

static int64_t
few(int row)
{
	return row % 10;
}

static int64_t
distinct(int row)
{
	return row * INT64_C(0x9E3779B97F4A7C15);
}

static int64_t
few_at_first(int row)
{
	return row < 100000 ? row % 10 : distinct(row);
}

static void
dictionaries(void **state)
{
	ObPqRecordChunk chunk = write_column(100000, few, true, MIB);

	assert_true(chunk.dictionary_size > 0 && chunk.dictionary_pages > 0);
	assert_int_equal(chunk.plain_pages, 0);
	chunk = write_column(100000, few, false, MIB);
	assert_true(chunk.dictionary_size == 0 && chunk.plain_pages > 0);
	/* the dictionary is abandoned before a page needs it */
	chunk = write_column(100000, distinct, true, MIB);
	assert_int_equal(chunk.dictionary_size, 0);
	assert_int_equal(chunk.dictionary_pages, 0);
	/* pages that need the dictionary remain if it is abandoned later */
	chunk = write_column(500000, few_at_first, true, 4096);
	assert_true(chunk.dictionary_size > 0 && chunk.dictionary_pages > 0);
	assert_true(chunk.plain_pages > 0);
	assert_int_equal(chunk.values, 500000);
}

/* Writes five distinct texts of this length.  There are seven other columns,
 * so that the share of the dictionary is small. */
static ObPqRecordChunk
write_texts(size_t len)
{
	ObPqNode columns[8];
	ObError error;
	ObParquet *writer;
	ObPqRecordChunk chunk;
	ObBuf record;
	char *text = malloc(len);

	for (int i = 0; i < 8; i++)
		columns[i] = nodes[1];
	columns[0].type = OB_PQ_BYTE_ARRAY;
	ob_error_clear(&error);
	ob_buf_init(&record, MIB);
	writer = ob_parquet_new(columns, 8, &usual, &error);
	assert_non_null(writer);
	for (int row = 0; row < 2000 && !ob_parquet_is_full(writer); row++)
	{
		memset(text, 'a' + row % 5, len);
		put_bytes(ob_parquet_leaf(writer, 0), text, len);
		for (int i = 1; i < 8; i++)
			ob_pq_int32(ob_parquet_leaf(writer, i), row);
		assert_int_equal(
			work(writer, ob_parquet_end_row(writer, &error), &error), OB_OK);
	}
	chunk = chunk_of(writer, 0, &record);
	ob_buf_free(&record);
	ob_parquet_free(writer);
	free(text);
	return chunk;
}

/* Only distinct texts count towards the limit of the dictionary, not all texts
 * of a batch. */
static void
dictionaries_of_long_texts(void **state)
{
	ObPqRecordChunk chunk = write_texts(900);

	assert_true(chunk.dictionary_size > 0 && chunk.dictionary_pages > 0);
	assert_int_equal(chunk.plain_pages, 0);
	chunk = write_texts(500000);
	assert_int_equal(chunk.dictionary_size, 0);
	assert_int_equal(chunk.dictionary_pages, 0);
}

/* Appends a text of 1000 bytes: one of five in the first rows, which in a page
 * without a dictionary would exceed the memory, and then a new one in each
 * row.
 */
static void
put_late_text(ObPqLeaf *leaf, int row)
{
	char text[1000];

	memset(text, 'a', sizeof(text));
	if (row < 60000)
		text[0] += row % 5;
	else
		memcpy(text, &row, sizeof(row));
	put_bytes(leaf, text, sizeof(text));
}

/* If the values of the current page would exceed the memory without the
 * dictionary, the page keeps it when it is abandoned. */
static void
dictionary_abandoned_late(void **state)
{
	const ObPqNode node = {"c", OB_PQ_REQUIRED, 0,   OB_PQ_BYTE_ARRAY,
						   0,   OB_PQ_STRING,   0,   0,
						   1,   true,           true};
	ObParquetOptions options = usual;
	ObError error;
	ObParquet *writer;
	ObPqRecordChunk chunk;
	ObBuf record;

	options.page_size = MIB;
	ob_error_clear(&error);
	ob_buf_init(&record, MIB);
	writer = ob_parquet_new(&node, 1, &options, &error);
	assert_non_null(writer);
	for (int row = 0; row < 62000; row++)
	{
		put_late_text(ob_parquet_leaf(writer, 0), row);
		assert_int_equal(
			work(writer, ob_parquet_end_row(writer, &error), &error), OB_OK);
	}
	chunk = chunk_of(writer, 0, &record);
	assert_true(chunk.dictionary_size > 0 && chunk.dictionary_pages == 1);
	assert_true(chunk.plain_pages > 0);
	assert_int_equal(chunk.values, 62000);
	ob_buf_free(&record);
	ob_parquet_free(writer);
}

/* ---- statistics ---- */

static void
add_doubles(ObPqStats *stats, const double *values, int n)
{
	ObPqLeaf leaf = {.type = OB_PQ_DOUBLE, .nvalues = n};

	leaf.values.f64 = (double *) values;
	ob_pq_stats_add(stats, OB_PQ_ORDER_DOUBLE, &leaf, NULL, NULL, 0);
}

static double
as_double(const ObPqBound *bound)
{
	double value;

	assert_int_equal(bound->len, sizeof(value));
	memcpy(&value, bound->data, sizeof(value));
	return value;
}

static void
float_bounds(void **state)
{
	const double zeros[] = {0.0, -0.0};
	const double some[] = {-1.5, 3};
	const double odd[] = {1, NAN};
	ObPqStats stats = {0};
	ObPqStats all = {0};

	add_doubles(&stats, zeros, 2);
	assert_true(stats.valid);
	assert_true(signbit(as_double(&stats.min)));
	assert_false(signbit(as_double(&stats.max)));
	add_doubles(&stats, some, 2);
	assert_true(as_double(&stats.min) == -1.5 && as_double(&stats.max) == 3);
	ob_pq_stats_merge(&all, OB_PQ_ORDER_DOUBLE, 0, &stats);
	assert_true(all.valid);
	/* after a NaN, there are no bounds, even if more values follow */
	add_doubles(&stats, odd, 2);
	assert_false(stats.valid);
	add_doubles(&stats, some, 2);
	assert_false(stats.valid);
	ob_pq_stats_merge(&all, OB_PQ_ORDER_DOUBLE, 0, &stats);
	assert_false(all.valid);
	stats = (ObPqStats){0};
	add_doubles(&stats, some, 2);
	ob_pq_stats_merge(&all, OB_PQ_ORDER_DOUBLE, 0, &stats);
	assert_false(all.valid);
}

/* Decimals are compared as signed numbers, and other values of fixed length as
 * unsigned bytes. */
static void
decimal_bounds(void **state)
{
	uint8_t values[] = {0, 0, 0, 5, 0xFF, 0xFF, 0x80, 0, 0x7F, 0xFF, 0, 1};
	ObPqLeaf leaf = {.type = OB_PQ_FIXED, .length = 2, .nvalues = 6};
	ObPqStats stats = {0};

	leaf.values.fixed = values;
	ob_pq_stats_add(&stats, OB_PQ_ORDER_DECIMAL, &leaf, NULL, NULL, 0);
	assert_memory_equal(stats.min.data, "\x80\x00", 2);
	assert_memory_equal(stats.max.data, "\x7F\xFF", 2);
	stats.valid = false;
	ob_pq_stats_add(&stats, OB_PQ_ORDER_FIXED, &leaf, NULL, NULL, 0);
	assert_memory_equal(stats.min.data, "\x00\x00", 2);
	assert_memory_equal(stats.max.data, "\xFF\xFF", 2);
}

/* ---- boundary orders ---- */

static int64_t
rising(int row)
{
	return row / 3;
}

static int64_t
falling(int row)
{
	return -row / 3;
}

static int64_t
constant(int row)
{
	return 7;
}

/* The maxima rise, but the minima do not. */
static int64_t
spreading(int row)
{
	return row % 2 ? row : -row;
}

/* Returns the boundary order in the column index of a single column, whose
 * third page has only nulls. */
static int
boundary_of(int64_t (*value)(int), size_t *pages)
{
	const ObPqNode node = {
		"c", OB_PQ_OPTIONAL, 0,    OB_PQ_INT64, 0, OB_PQ_UNANNOTATED, 0, 0,
		1,   false,          false};
	ObParquetOptions options = usual;
	ObPqFooterOptions footer_options = {.created_by =
											"a version 1.0.0 (build b)"};
	ObPqFooter *footer;
	ObParquet *writer;
	ObError error;
	ObBuf record;
	ObBuf out;
	const char *data;
	size_t len;
	const uint8_t *at;
	int order;

	options.page_size = 64;
	ob_error_clear(&error);
	ob_buf_init(&record, MIB);
	ob_buf_init(&out, MIB);
	writer = ob_parquet_new(&node, 1, &options, &error);
	for (int row = 0; row < 1024 * 5; row++)
	{
		if (row / 1024 == 2)
			ob_pq_null(ob_parquet_leaf(writer, 0), ob_parquet_row(writer), 0);
		else
			ob_pq_int64(ob_parquet_leaf(writer, 0), value(row));
		assert_int_equal(
			work(writer, ob_parquet_end_row(writer, &error), &error), OB_OK);
	}
	assert_int_equal(
		work(writer, ob_parquet_end_group(writer, &record, &error), &error),
		OB_OK);
	while (ob_parquet_take(writer, &data, &len))
		;
	ob_parquet_free(writer);
	footer = ob_pq_footer_new(&node, 1, &footer_options, &error);
	assert_int_equal(
		ob_pq_footer_add(footer, record.data, record.len, 4, &error), OB_OK);
	assert_int_equal(ob_pq_footer_next(footer, 4, &out, &error), OB_OK);
	/* skip null_pages, min_values and max_values */
	at = (const uint8_t *) out.data;
	assert_int_equal(*at++, 0x19);
	*pages = *at++ >> 4;
	at += *pages;
	for (int list = 0; list < 2; list++)
	{
		at += 2;
		for (size_t i = 0; i < *pages; i++)
			at += *at + 1;
	}
	assert_int_equal(*at++, 0x15);
	order = take_zigzag(&at, at + 1);
	ob_pq_footer_free(footer);
	ob_buf_free(&record);
	ob_buf_free(&out);
	return order;
}

static void
boundary_orders(void **state)
{
	static const struct
	{
		int64_t (*value)(int);
		int order;
	} rows[] = {{rising, 1},
				{falling, 2},
				{constant, 1},
				{spreading, 0},
				{distinct, 0}};
	size_t pages;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		assert_int_equal(boundary_of(rows[i].value, &pages), rows[i].order);
		assert_int_equal(pages, 5);
	}
}

/* ---- records ---- */

/* The order of row groups in the file may differ from the order in which
 * several writers have made them. */
static void
groups_in_any_order(void **state)
{
	ObBuf records[3];
	ObBuf groups[3];
	ObBuf files[2];
	ObError error;

	ob_error_clear(&error);
	for (int i = 0; i < 3; i++)
	{
		ObParquet *writer =
			ob_parquet_new(nodes, COUNT_OF(nodes), &usual, &error);

		ob_buf_init(&records[i], MIB);
		ob_buf_init(&groups[i], MIB);
		assert_int_equal(write_group(writer, i * 100, 100 + i, &records[i],
									 &groups[i], &error),
						 OB_OK);
		ob_parquet_free(writer);
	}
	for (int way = 0; way < 2; way++)
	{
		ObBuf ordered[3];
		int64_t offsets[3];

		ob_buf_init(&files[way], MIB);
		ob_buf_adds(&files[way], OB_PQ_MAGIC);
		for (int i = 0; i < 3; i++)
		{
			int other = way ? (i + 1) % 3 : i;

			ordered[i] = records[other];
			offsets[i] = files[way].len;
			ob_buf_add(&files[way], groups[other].data, groups[other].len);
		}
		assert_int_equal(
			write_footer(ordered, offsets, 3, &files[way], &error), OB_OK);
	}
	/* the files have the same row groups, so their sizes are about the same */
	assert_in_range(files[0].len, files[1].len - 100, files[1].len + 100);
	for (int i = 0; i < 3; i++)
	{
		ObPqGroupStats group;

		assert_true(
			ob_pq_record_group(records[i].data, records[i].len, &group));
		assert_int_equal(group.rows, 100 + i);
		assert_int_equal(group.bytes, groups[i].len);
		ob_buf_free(&records[i]);
		ob_buf_free(&groups[i]);
	}
	ob_buf_free(&files[0]);
	ob_buf_free(&files[1]);
}

/* A schema of doubles and texts. */
static const ObPqNode pair[] = {
	{"d", OB_PQ_OPTIONAL, 0, OB_PQ_DOUBLE, 0, OB_PQ_UNANNOTATED, 0, 0, 1,
	 false, false},
	{"t", OB_PQ_OPTIONAL, 0, OB_PQ_BYTE_ARRAY, 0, OB_PQ_STRING, 0, 0, 2, false,
	 false},
};

/* Makes the record of a row group of one row, whose text may be null. */
static void
put_pair(ObBuf *record, double d, const char *text, size_t len)
{
	ObError error;
	ObParquet *writer;

	ob_error_clear(&error);
	ob_buf_init(record, MIB);
	writer = ob_parquet_new(pair, COUNT_OF(pair), &usual, &error);
	ob_pq_double(ob_parquet_leaf(writer, 0), d);
	if (text)
		put_bytes(ob_parquet_leaf(writer, 1), text, len);
	else
		ob_pq_null(ob_parquet_leaf(writer, 1), 0, 0);
	assert_int_equal(work(writer, ob_parquet_end_row(writer, &error), &error),
					 OB_OK);
	assert_int_equal(
		work(writer, ob_parquet_end_group(writer, record, &error), &error),
		OB_OK);
	ob_parquet_free(writer);
}

static void
add_pair(ObPqLeafStats *stats, const ObBuf *record)
{
	assert_true(ob_pq_record_leaves(record->data, record->len, pair,
									COUNT_OF(pair), stats, COUNT_OF(pair)));
}

static void
assert_bound(const ObPqBound *bound, const char *data, size_t len,
			 bool truncated)
{
	assert_int_equal(bound->len, len);
	assert_memory_equal(bound->data, data, len);
	assert_int_equal(bound->truncated, truncated);
}

/* The statistics of a file do not depend on the order of its row groups. */
static void
leaves_of_a_file(void **state)
{
	char text[100];
	ObBuf records[4];

	memset(text, 'm', sizeof(text));
	put_pair(&records[0], 2, NULL, 0);
	put_pair(&records[1], -1, text, sizeof(text));
	put_pair(&records[2], 5, text, 3);
	put_pair(&records[3], 0, text, OB_PQ_STAT_MAX);
	for (int first = 0; first < 4; first++)
	{
		ObPqLeafStats stats[COUNT_OF(pair)] = {0};

		for (int i = 0; i < 4; i++)
			add_pair(stats, &records[(first + i) % 4]);
		assert_int_equal(stats[0].values, 4);
		assert_int_equal(stats[0].nulls, 0);
		assert_true(stats[0].bytes > 0 && stats[0].bounds.valid);
		assert_true(as_double(&stats[0].bounds.min) == -1);
		assert_true(as_double(&stats[0].bounds.max) == 5);
		assert_int_equal(stats[1].values, 4);
		assert_int_equal(stats[1].nulls, 1);
		assert_true(stats[1].bounds.valid);
		assert_bound(&stats[1].bounds.min, "mmm", 3, false);
		text[OB_PQ_STAT_MAX - 1] = 'n';
		assert_bound(&stats[1].bounds.max, text, OB_PQ_STAT_MAX, true);
		text[OB_PQ_STAT_MAX - 1] = 'm';
	}
	for (int i = 0; i < 4; i++)
		ob_buf_free(&records[i]);
}

/* If the values of one row group have no bounds, the file has none. */
static void
leaves_without_bounds(void **state)
{
	char last[100];
	ObBuf records[2];

	memset(last, 0x7F, sizeof(last));
	for (int i = 0; i + 4 <= (int) sizeof(last); i += 4)
		memcpy(last + i, "\xF4\x8F\xBF\xBF", 4);
	put_pair(&records[0], NAN, last, sizeof(last));
	put_pair(&records[1], 1, "a", 1);
	for (int first = 0; first < 2; first++)
	{
		ObPqLeafStats stats[COUNT_OF(pair)] = {0};

		add_pair(stats, &records[first]);
		add_pair(stats, &records[1 - first]);
		add_pair(stats, &records[1]);
		for (size_t i = 0; i < COUNT_OF(pair); i++)
		{
			assert_int_equal(stats[i].values, 3);
			assert_false(stats[i].bounds.valid);
		}
	}
	for (int i = 0; i < 2; i++)
		ob_buf_free(&records[i]);
}

/* Of two equal bounds, the exact one is kept. */
static void
equal_bounds(void **state)
{
	ObPqStats cut = {.valid = true,
					 .min = {.len = 1, .truncated = true, .data = "a"},
					 .max = {.len = 1, .truncated = true, .data = "z"}};
	ObPqStats exact = {.valid = true,
					   .min = {.len = 1, .data = "a"},
					   .max = {.len = 1, .data = "z"}};

	for (int first = 0; first < 2; first++)
	{
		ObPqStats stats = first ? cut : exact;

		ob_pq_stats_widen(&stats, OB_PQ_ORDER_BYTES, 0, first ? &exact : &cut);
		assert_bound(&stats.min, "a", 1, false);
		assert_bound(&stats.max, "z", 1, false);
	}
	exact.max.data[0] = 'y';
	exact.min.data[0] = 'b';
	ob_pq_stats_widen(&cut, OB_PQ_ORDER_BYTES, 0, &exact);
	assert_bound(&cut.min, "a", 1, true);
	assert_bound(&cut.max, "z", 1, true);
}

/* Each truncated record is invalid. */
static void
broken_records(void **state)
{
	ObBuf record;
	ObBuf group;
	ObError error;
	ObParquet *writer;

	ob_error_clear(&error);
	ob_buf_init(&record, MIB);
	ob_buf_init(&group, MIB);
	writer = ob_parquet_new(nodes, COUNT_OF(nodes), &usual, &error);
	assert_int_equal(write_group(writer, 0, 10, &record, &group, &error),
					 OB_OK);
	ob_parquet_free(writer);
	for (size_t len = 0; len < record.len; len++)
	{
		ObBuf part = {.data = malloc(len + 1), .len = len};
		const int64_t offset = 4;
		ObPqLeafStats leaves[LEAVES] = {0};
		ObBuf out;

		memcpy(part.data, record.data, len);
		part.data = realloc(part.data, len ? len : 1);
		ob_buf_init(&out, MIB);
		ob_error_clear(&error);
		if (write_footer(&part, &offset, 1, &out, &error) != OB_EPROTO)
			fail_msg("%zu bytes of %zu were accepted", len, record.len);
		assert_false(ob_pq_record_leaves(part.data, len, nodes,
										 COUNT_OF(nodes), leaves, LEAVES));
		ob_buf_free(&out);
		free(part.data);
	}
	ob_buf_free(&record);
	ob_buf_free(&group);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thrift_fields),
		cmocka_unit_test(thrift_lists),
		cmocka_unit_test(bit_widths),
		cmocka_unit_test(bit_packing),
		cmocka_unit_test(hybrid_of_all_patterns),
		cmocka_unit_test(hybrid_of_all_widths),
		cmocka_unit_test(single_run),
		cmocka_unit_test(delta_binary_packed),
		cmocka_unit_test(byte_stream_split),
		cmocka_unit_test(truncated_texts),
		cmocka_unit_test(texts_without_upper_bound),
		cmocka_unit_test(all_codecs),
		cmocka_unit_test(failing_allocations),
		cmocka_unit_test(memory_limits),
		cmocka_unit_test(group_ends_at_memory_limit),
		cmocka_unit_test(many_columns_in_little_memory),
		cmocka_unit_test(long_lists),
		cmocka_unit_test(memory_of_pages),
		cmocka_unit_test(memory_after_long_list),
		cmocka_unit_test(slow_levels_of_large_pages),
		cmocka_unit_test(row_too_large),
		cmocka_unit_test(schema_without_columns),
		cmocka_unit_test(dictionaries),
		cmocka_unit_test(dictionaries_of_long_texts),
		cmocka_unit_test(dictionary_abandoned_late),
		cmocka_unit_test(filters),
		cmocka_unit_test(filter_without_memory),
		cmocka_unit_test(boundary_orders),
		cmocka_unit_test(float_bounds),
		cmocka_unit_test(one_step_per_column),
		cmocka_unit_test(decimal_bounds),
		cmocka_unit_test(groups_in_any_order),
		cmocka_unit_test(leaves_of_a_file),
		cmocka_unit_test(leaves_without_bounds),
		cmocka_unit_test(equal_bounds),
		cmocka_unit_test(broken_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
