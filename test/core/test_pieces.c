/*
 * test_pieces.c
 *		Compressed objects that several chains write in pieces.
 *
 * test/core/test_pieces.c
 *
 * zlib, liblz4 and libzstd read the assembled objects, frame by frame; then
 * gzip, lz4 and zstd do.
 */
#include "testing.h"

#include "core/sink/sink.h"

#include <lz4frame.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define KIB ((size_t) 1024)
#define CHAINS 3
#define ROUNDS 4
#define PIECES (CHAINS * ROUNDS)
#define PIECE_MAX (300 * KIB)
#define DATA_SIZE (PIECES * PIECE_MAX)

static char folder[] = "/tmp/onboard_test_pieces_XXXXXX";
static char *data;
static char *head_line; /* the longest one */

#define HEAD_MAX (300 * KIB) /* several blocks of zstd */

/* Repeated rows, so that a codec refers far back and repeats its last
 * distances; noise; and one letter, whose run a codec would encode with its
 * assumptions for a frame's beginning. */
static void
fill(char *to, size_t len)
{
	size_t done = 0;

	while (done < len)
	{
		size_t n = next_random() % 20000 + 1;
		uint64_t kind = next_random() % 4;

		if (n > len - done)
			n = len - done;
		if (kind == 0)
			for (size_t i = 0; i < n; i++)
				to[done + i] = (char) (next_random() >> 32);
		else if (kind == 1 || done < 40000)
			memset(to + done, 'a' + (int) (next_random() % 4), n);
		else
			memmove(to + done, to + done - 1 - next_random() % 30000, n);
		done += n;
	}
}

typedef struct Piece
{
	const char *raw;
	size_t raw_len;
	size_t from; /* offset in the output of its chain */
	size_t len;
	int chain;
} Piece;

typedef struct Case
{
	const ObCodec *codec;
	int level;
	ObBuf made[CHAINS];
	Piece pieces[PIECES];
	ObBuf object;
	ObBuf plain;
	size_t first_plain; /* the head, and the first piece in the object */
} Case;

static void
assert_ok(ObCode code, const ObError *error)
{
	if (code != OB_OK)
		fail_msg("%s: %s", error->what, error->cause);
}

/* The length of a piece: as short as one byte, or longer than a window or a
 * block. */
static size_t
piece_len(int n)
{
	static const size_t some[] = {1, 40, PIECE_MAX, 70 * KIB};

	return n < 4 ? some[n] : next_random() % PIECE_MAX + 1;
}

/* A chain makes its pieces one after another; its output between two checks of
 * the terminal's room must fit. */
static void
make_pieces(Case *c, int chain)
{
	ObBuf *made = &c->made[chain];
	ObError error;
	ObSink *buf;
	ObSink *first;

	ob_error_clear(&error);
	buf = ob_sink_buf_new(made, &error);
	assert_non_null(buf);
	first = c->codec->create(buf, c->level, &error);
	assert_non_null(first);
	assert_ok(ob_chain_open(first, &error), &error);
	assert_ok(ob_chain_in_pieces(first, &error), &error);
	for (int i = 0; i < ROUNDS; i++)
	{
		int n = i * CHAINS + chain;
		Piece *piece = &c->pieces[n];
		size_t done = 0;
		size_t before = made->len;

		*piece = (Piece){.raw = data + n * PIECE_MAX,
						 .raw_len = piece_len(n),
						 .from = made->len,
						 .chain = chain};
		while (done < piece->raw_len)
		{
			size_t len = piece->raw_len - done;

			if (len > OB_SINK_WINDOW_MAX)
				len = OB_SINK_WINDOW_MAX;
			before = made->len;
			assert_ok(ob_sink_write(first, piece->raw + done, len, &error),
					  &error);
			done += len;
		}
		assert_ok(ob_chain_cut(first, &error), &error);
		assert_true(made->len - before <= OB_SINK_ROOM);
		/* without new input, nothing is cut */
		before = made->len;
		assert_ok(ob_chain_cut(first, &error), &error);
		assert_int_equal(made->len, before);
		piece->len = made->len - piece->from;
		assert_true(piece->len > 0);
	}
	ob_chain_release(first);
}

static void
add_raw(ObRaw *raw, const char *bytes, size_t len)
{
	ObRaw next = {len, ob_crc32(0, bytes, len)};

	ob_raw_add(raw, &next);
}

/* Assembles the pieces as an upload does. */
static void
assemble(Case *c, size_t head_len, const int *order, int n)
{
	ObRaw raw = {0, 0};
	ObError error;
	ObBuf framed;
	ObHead head;
	char end[OB_CODEC_END_MAX];

	ob_error_clear(&error);
	ob_buf_init(&framed, 2 * HEAD_MAX);
	ob_buf_reset(&c->object);
	ob_buf_reset(&c->plain);
	assert_ok(ob_codec_head(c->codec, c->level, head_line, head_len, &framed,
							&error),
			  &error);
	head = ob_codec_head_of(c->codec, framed.data, framed.len);
	ob_buf_add(&c->object, head.data, head.len);
	ob_buf_add(&c->plain, head_line, head_len);
	add_raw(&raw, head_line, head_len);
	for (int i = 0; i < n; i++)
	{
		const Piece *piece = &c->pieces[order[i]];
		size_t skip = i == 0 ? head.skip : 0;
		size_t drop = i == 0 ? head.drop : 0;

		ob_buf_add(&c->object, c->made[piece->chain].data + piece->from + skip,
				   piece->len - skip - drop);
		ob_buf_add(&c->plain, piece->raw, piece->raw_len);
		add_raw(&raw, piece->raw, piece->raw_len);
		if (i == 0)
			c->first_plain = c->plain.len;
	}
	ob_buf_add(&c->object, end, ob_codec_end(c->codec, &raw, end));
	assert_ok(ob_buf_check(&c->object, &error), &error);
	assert_ok(ob_buf_check(&c->plain, &error), &error);
	ob_buf_free(&framed);
}

/* ---- readers ---- */

/* Reads one member, to its last byte. */
static void
read_gzip(const Case *c, char *back)
{
	z_stream stream = {.next_in = (Bytef *) c->object.data,
					   .avail_in = (uInt) c->object.len,
					   .next_out = (Bytef *) back,
					   .avail_out = (uInt) DATA_SIZE};

	assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
	assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
	assert_int_equal(stream.avail_in, 0);
	assert_int_equal(stream.total_out, c->plain.len);
	assert_int_equal(inflateEnd(&stream), Z_OK);
}

/* Reads one frame, to its last byte. */
static void
read_lz4(const Case *c, char *back)
{
	LZ4F_dctx *context;
	size_t in = 0;
	size_t out = 0;
	size_t hint = 1;

	assert_false(
		LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)));
	while (hint > 0)
	{
		size_t n = c->object.len - in;
		size_t room = DATA_SIZE - out;

		hint = LZ4F_decompress(context, back + out, &room, c->object.data + in,
							   &n, NULL);
		if (LZ4F_isError(hint))
			fail_msg("%s", LZ4F_getErrorName(hint));
		assert_true(n > 0 || room > 0);
		in += n;
		out += room;
	}
	assert_int_equal(in, c->object.len);
	assert_int_equal(out, c->plain.len);
	assert_int_equal(LZ4F_freeDecompressionContext(context), 0);
}

/* Reads a frame for each piece, with the head in the first one, which has no
 * checksum then. */
static void
read_zstd(const Case *c, char *back, size_t head_len, int n)
{
	size_t in = 0;
	size_t out = 0;

	for (int i = 0; i < n; i++)
	{
		const char *frame = c->object.data + in;
		size_t len = ZSTD_findFrameCompressedSize(frame, c->object.len - in);
		size_t got;

		assert_false(ZSTD_isError(len));
		assert_int_equal(frame[4], i == 0 && head_len > 0 ? 0 : 4);
		got = ZSTD_decompress(back + out, DATA_SIZE - out, frame, len);
		if (ZSTD_isError(got))
			fail_msg("frame %d: %s", i, ZSTD_getErrorName(got));
		in += len;
		out += got;
		if (i == 0)
			assert_int_equal(out, c->first_plain);
	}
	assert_int_equal(in, c->object.len);
	assert_int_equal(out, c->plain.len);
}

static void
write_file(const char *name, const ObBuf *buf)
{
	char path[100];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(buf->data, 1, buf->len, file), buf->len);
	assert_int_equal(fclose(file), 0);
}

static void
read_by_tool(const Case *c)
{
	const char *tool = c->codec->name;
	char command[300];

	write_file("object", &c->object);
	write_file("plain", &c->plain);
	snprintf(command, sizeof(command),
			 "cd '%s' && %s -t <object && %s -dc <object | cmp - plain",
			 folder, tool, tool);
	assert_int_equal(system(command), 0);
}

static void
read_back(const Case *c, size_t head_len, int n)
{
	char *back = malloc(DATA_SIZE);

	assert_non_null(back);
	if (strcmp(c->codec->name, "gzip") == 0)
		read_gzip(c, back);
	else if (strcmp(c->codec->name, "lz4") == 0)
		read_lz4(c, back);
	else
		read_zstd(c, back, head_len, n);
	assert_memory_equal(back, c->plain.data, c->plain.len);
	free(back);
}

/* ---- tests ---- */

static void
shuffle(int *order)
{
	for (int i = 0; i < PIECES; i++)
		order[i] = i;
	for (int i = PIECES - 1; i > 0; i--)
	{
		int j = (int) (next_random() % (uint64_t) (i + 1));
		int other = order[i];

		order[i] = order[j];
		order[j] = other;
	}
}

static void
begin_case(Case *c, const ObCodec *codec, int level)
{
	c->codec = codec;
	c->level = level;
	ob_buf_init(&c->object, 2 * DATA_SIZE);
	ob_buf_init(&c->plain, DATA_SIZE + HEAD_MAX);
	for (int i = 0; i < CHAINS; i++)
	{
		ob_buf_init(&c->made[i], 2 * DATA_SIZE);
		make_pieces(c, i);
	}
}

static void
end_case(Case *c)
{
	for (int i = 0; i < CHAINS; i++)
		ob_buf_free(&c->made[i]);
	ob_buf_free(&c->object);
	ob_buf_free(&c->plain);
}

/* The pieces are read in any order, behind heads of any length; and each piece
 * alone, which shows that it refers only to itself. */
static void
check_level(const ObCodec *codec, int level)
{
	static const size_t heads[] = {0, 1, 20, HEAD_MAX};
	Case c;
	int order[PIECES];

	begin_case(&c, codec, level);
	for (size_t i = 0; i < COUNT_OF(heads); i++)
	{
		shuffle(order);
		assemble(&c, heads[i], order, PIECES);
		read_back(&c, heads[i], PIECES);
		read_by_tool(&c);
	}
	for (int i = 0; i < PIECES; i++)
	{
		assemble(&c, i % 2 ? 20 : 0, &i, 1);
		read_back(&c, i % 2 ? 20 : 0, 1);
	}
	end_case(&c);
}

/* The levels are those of each library and of each way in which we call it. */
static void
test_gzip(void **state)
{
	static const int levels[] = {1, 2, 3, 4, 6, 9};

	for (size_t i = 0; i < COUNT_OF(levels); i++)
		check_level(ob_codec_lookup("gzip"), levels[i]);
}

static void
test_lz4(void **state)
{
	static const int levels[] = {0, 3, 11};

	for (size_t i = 0; i < COUNT_OF(levels); i++)
		check_level(ob_codec_lookup("lz4"), levels[i]);
}

static void
test_zstd(void **state)
{
	static const int levels[] = {1, 2, 3, 6, 9, 13, 19};

	for (size_t i = 0; i < COUNT_OF(levels); i++)
		check_level(ob_codec_lookup("zstd"), levels[i]);
}

/* An inverted bit is detected, in the common parts of a frame and in
 * pieces. */
static void
test_damage(void **state)
{
	static const char *const names[] = {"gzip", "lz4"};

	for (size_t i = 0; i < COUNT_OF(names); i++)
	{
		Case c;
		char command[200];
		int order[PIECES];

		begin_case(&c, ob_codec_lookup(names[i]),
				   ob_codec_lookup(names[i])->default_level);
		shuffle(order);
		assemble(&c, 20, order, PIECES);
		snprintf(command, sizeof(command), "%s -t <'%s/object' 2>/dev/null",
				 names[i], folder);
		for (size_t at = c.object.len / 8; at < c.object.len;
			 at += c.object.len / 8)
		{
			c.object.data[at] ^= 1;
			write_file("object", &c.object);
			assert_int_not_equal(system(command), 0);
			c.object.data[at] ^= 1;
		}
		write_file("object", &c.object);
		assert_int_equal(system(command), 0);
		end_case(&c);
	}
}

/* Without compression, there is no framing. */
static void
test_none(void **state)
{
	const ObCodec *none = ob_codec_lookup("none");
	ObRaw raw = {100, 1};
	char end[OB_CODEC_END_MAX];
	ObError error;
	ObBuf out;
	ObHead head;

	ob_error_clear(&error);
	ob_buf_init(&out, 10);
	assert_ok(ob_codec_head(none, 0, "a,b\n", 4, &out, &error), &error);
	head = ob_codec_head_of(none, out.data, out.len);
	assert_int_equal(head.len, 4);
	assert_memory_equal(head.data, "a,b\n", 4);
	assert_int_equal(head.skip + head.drop, 0);
	assert_int_equal(ob_codec_end(none, &raw, end), 0);
	ob_buf_free(&out);
}

/* The trailer of gzip has the length modulo 2^32. */
static void
test_long_member(void **state)
{
	ObRaw raw = {((uint64_t) 5 << 32) + 0x01020304, 0xa1b2c3d4};
	char end[OB_CODEC_END_MAX];

	assert_int_equal(ob_codec_end(ob_codec_lookup("gzip"), &raw, end), 10);
	assert_memory_equal(end, "\x03\0\xd4\xc3\xb2\xa1\4\3\2\1", 10);
}

/* A buffer that is too small for the head causes an error. */
static void
test_no_room(void **state)
{
	for (const ObCodec *codec = ob_codecs(); codec->name != NULL; codec++)
	{
		for (size_t max = 0; max < 12; max++)
		{
			ObError error;
			ObBuf out;

			ob_error_clear(&error);
			ob_buf_init(&out, max);
			assert_int_equal(ob_codec_head(codec, codec->default_level, data,
										   100, &out, &error),
							 OB_ELIMIT);
			ob_buf_free(&out);
		}
	}
}

static int
setup(void **state)
{
	data = malloc(DATA_SIZE);
	head_line = malloc(HEAD_MAX);
	if (!data || !head_line || !mkdtemp(folder))
		return -1;
	fill(data, DATA_SIZE);
	fill(head_line, HEAD_MAX);
	return 0;
}

static int
teardown(void **state)
{
	char command[100];

	free(data);
	free(head_line);
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gzip),    cmocka_unit_test(test_lz4),
		cmocka_unit_test(test_zstd),    cmocka_unit_test(test_damage),
		cmocka_unit_test(test_none),    cmocka_unit_test(test_long_member),
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
