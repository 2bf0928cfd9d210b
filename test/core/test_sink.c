/*
 * test_sink.c
 *		The sink chain, its codecs and its terminals.
 *
 * test/core/test_sink.c
 *
 * The real gzip, zstd and lz4 read the output of codecs, in a private
 * temporary folder.
 */
#include "core/sink/sink.h"
#include "sinks.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "testing.h"

#define KIB ((size_t) 1024)
#define MIB (1024 * KIB)

/* The room that the codecs need in fact for 128 KiB of input, a cut and the
 * end; sink.h requires only OB_SINK_ROOM. */
#define CODEC_ROOM (400 * KIB)

static char folder[] = "/tmp/onboard_test_sink_XXXXXX";

/* ---------- data ---------- */

static void
fill_random(char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (char) (next_random() >> 32);
}

static void
fill_zeros(char *data, size_t len)
{
	memset(data, 0, len);
}

/* Lines like those of an exported table. */
static void
fill_text(char *data, size_t len)
{
	static const char *const words[] = {
		"furiously", "final",  "deposits", "across", "the",  "carefully",
		"ironic",    "theory", "sleeps",   "quick",  "over", "packages"};
	size_t done = 0;

	while (done < len)
	{
		char line[160];
		uint64_t r = next_random();
		size_t n = (size_t) snprintf(
			line, sizeof(line), "%u,%s %s %s,%u.%02u,2024-%02u-%02u,\"%s\"\n",
			(unsigned) (r % 6000000), words[r >> 8 & 7], words[r >> 12 & 7],
			words[r >> 16 & 7], (unsigned) (r >> 20 & 0xffff),
			(unsigned) (r >> 36) % 100, (unsigned) (r >> 40) % 12 + 1,
			(unsigned) (r >> 44) % 28 + 1, words[4 + (r >> 50 & 7)]);

		if (n > len - done)
			n = len - done;
		memcpy(data + done, line, n);
		done += n;
	}
}

/* Runs of each kind: output of an easy run that a codec held back comes in the
 * middle of a hard one. */
static void
fill_mixed(char *data, size_t len)
{
	static void (*const fill[])(char *, size_t) = {fill_random, fill_zeros,
												   fill_text};
	size_t done = 0;

	while (done < len)
	{
		size_t n = next_random() % (300 * KIB) + 1;

		if (n > len - done)
			n = len - done;
		fill[next_random() % 3](data + done, n);
		done += n;
	}
}

typedef struct DataCase
{
	const char *name;
	void (*fill)(char *data, size_t len);
	size_t len;
	char *data;
} DataCase;

static DataCase cases[] = {
	/* used for slow levels, too */
	{"empty", fill_text, 0, NULL},
	{"one", fill_text, 1, NULL},
	{"300k-mixed", fill_mixed, 300 * KIB, NULL},
	/* small */
	{"8k-1", fill_text, 8 * KIB - 1, NULL},
	{"8k", fill_text, 8 * KIB, NULL},
	{"8k+1", fill_text, 8 * KIB + 1, NULL},
	{"64k-1", fill_random, 64 * KIB - 1, NULL},
	{"64k", fill_random, 64 * KIB, NULL},
	{"64k+1", fill_random, 64 * KIB + 1, NULL},
	{"128k-1", fill_text, 128 * KIB - 1, NULL},
	{"128k", fill_text, 128 * KIB, NULL},
	{"128k+1", fill_text, 128 * KIB + 1, NULL},
	/* large */
	{"random", fill_random, 2 * MIB, NULL},
	{"zeros", fill_zeros, 2 * MIB, NULL},
	{"text", fill_text, 2 * MIB, NULL},
};

#define NCASES (sizeof(cases) / sizeof(cases[0]))
#define NSMALL (NCASES - 3)
#define NFEW 3
#define KIND(i) ((i) < NFEW ? "few" : (i) < NSMALL ? "small" : "large")

/* One level of each class: of each library, of each size of window, the first
 * and the last. */
typedef struct LevelCase
{
	const char *codec;
	int level;
	bool slow;
} LevelCase;

static const LevelCase levels[] = {
	{"gzip", 1, false}, {"gzip", 2, false}, {"gzip", 3, false},
	{"gzip", 4, false}, {"gzip", 8, true},  {"gzip", 9, true},
	{"zstd", 1, false}, {"zstd", 12, true}, {"zstd", 13, true},
	{"zstd", 19, true}, {"lz4", 0, false},  {"lz4", 3, true},
	{"lz4", 11, true},
};

#define NLEVELS (sizeof(levels) / sizeof(levels[0]))

static void *
must_malloc(size_t size)
{
	void *p = malloc(size > 0 ? size : 1);

	assert_non_null(p);
	return p;
}

/* ---------- driving a chain ---------- */

static void
assert_ok(ObCode code, const ObError *error)
{
	if (code != OB_OK)
		fail_msg("%s: %s", error->what, error->cause);
}

/* Chooses how much of a window to use next. */
typedef size_t (*ChooseLen)(size_t avail);

static size_t
choose_all(size_t avail)
{
	return avail;
}

/* Often little, sometimes nothing, sometimes everything. */
static size_t
choose_any(size_t avail)
{
	uint64_t r = next_random();

	switch (r & 7)
	{
		case 0:
			return 0;
		case 1:
			return avail;
		case 2:
			return (r >> 8) % 16;
		default:
			return (r >> 8) % (avail + 1);
	}
}

static ObCode
feed(ObSink *first, const char *data, size_t len, ChooseLen choose,
	 ObError *error)
{
	size_t done = 0;

	while (done < len)
	{
		size_t avail = 0;
		char *window = ob_sink_window(first, &avail, error);
		size_t n;
		ObCode code;

		if (window == NULL)
			return error->code;
		assert_in_range(avail, OB_SINK_WINDOW_MIN, OB_SINK_WINDOW_MAX);
		n = choose(avail);
		if (n > len - done)
			n = len - done;
		memcpy(window, data + done, n);
		code = ob_sink_advance(first, n, error);
		if (code != OB_OK)
			return code;
		done += n;
	}
	return OB_OK;
}

static ObCode
run_chain(ObSink *first, const char *data, size_t len, ChooseLen choose,
		  ObError *error)
{
	ObCode code = ob_chain_open(first, error);

	if (code == OB_OK)
		code = feed(first, data, len, choose, error);
	if (code == OB_OK)
		code = ob_chain_close(first, error);
	return code;
}

static void
must_cut(ObSink *first)
{
	ObError error;

	ob_error_clear(&error);
	assert_ok(ob_chain_cut(first, &error), &error);
}

static ObSink *
new_codec(const ObCodec *codec, ObSink *next, int level)
{
	ObError error;
	ObSink *sink;

	ob_error_clear(&error);
	sink = codec->create(next, level, &error);
	if (sink == NULL)
		fail_msg("%s: %s", error.what, error.cause);
	return sink;
}

/* ---------- a terminal that checks its callers ---------- */

typedef struct ProbeSink
{
	ObSink base;
	size_t window_size;
	char *window; /* the current window, NULL: none */
	char *data;   /* all bytes received */
	size_t len;
	size_t cap;
	int calls;   /* calls of window and of advance, for fail_at */
	int fail_at; /* 0: never */
	size_t since_look;
	size_t peak; /* the most bytes since_look */
} ProbeSink;

static ObCode
probe_count(ProbeSink *probe, ObError *error)
{
	if (++probe->calls == probe->fail_at)
		return ob_error_set(error, OB_ECONNECT, "call %d fails", probe->calls);
	return OB_OK;
}

/* Each window is new memory of the exact size, which the next call frees, so
 * the sanitizer detects any use of an old one and any byte too many. */
static char *
probe_window(ObSink *sink, size_t *avail, ObError *error)
{
	ProbeSink *probe = (ProbeSink *) sink;

	free(probe->window);
	probe->window = NULL;
	if (probe_count(probe, error) != OB_OK)
		return NULL;
	probe->window = must_malloc(probe->window_size);
	*avail = probe->window_size;
	return probe->window;
}

static ObCode
probe_advance(ObSink *sink, size_t len, ObError *error)
{
	ProbeSink *probe = (ProbeSink *) sink;
	ObCode code = probe_count(probe, error);

	if (code != OB_OK)
		return code;
	assert_non_null(probe->window);
	assert_true(len <= probe->window_size);
	if (probe->len + len > probe->cap)
	{
		probe->cap = (probe->len + len) * 2;
		probe->data = realloc(probe->data, probe->cap);
		assert_non_null(probe->data);
	}
	if (len > 0)
		memcpy(probe->data + probe->len, probe->window, len);
	probe->len += len;
	free(probe->window);
	probe->window = NULL;

	probe->since_look += len;
	if (probe->since_look > probe->peak)
		probe->peak = probe->since_look;
	assert_true(probe->since_look <= OB_SINK_ROOM);
	return OB_OK;
}

static void
probe_release(ObSink *sink)
{
	ProbeSink *probe = (ProbeSink *) sink;

	free(probe->window);
	free(probe->data);
	free(probe);
}

static const ObSinkOps probe_ops = {
	.name = "probe",
	.window = probe_window,
	.advance = probe_advance,
	.release = probe_release,
};

static ProbeSink *
new_probe(size_t window_size)
{
	ProbeSink *probe = must_malloc(sizeof(*probe));

	memset(probe, 0, sizeof(*probe));
	probe->base.ops = &probe_ops;
	probe->window_size = window_size;
	return probe;
}

/* Like a host: never more than OB_SINK_WINDOW_MAX bytes, and one cut, between
 * two checks of the terminal's room, and no check before close.  With cuts,
 * there is about one between every other two checks. */
static void
run_looking(ObSink *first, ProbeSink *probe, const char *data, size_t len,
			ChooseLen choose, bool cuts)
{
	ObError error;
	size_t done = 0;

	ob_error_clear(&error);
	assert_ok(ob_chain_open(first, &error), &error);
	while (done < len)
	{
		size_t n = len - done;
		size_t before_cut;
		bool cut;

		if (n > OB_SINK_WINDOW_MAX)
			n = OB_SINK_WINDOW_MAX;
		cut = cuts && next_random() % 2 == 0;
		before_cut = cut ? next_random() % (n + 1) : n;
		probe->since_look = 0;
		assert_ok(feed(first, data + done, before_cut, choose, &error),
				  &error);
		if (cut)
			must_cut(first);
		assert_ok(feed(first, data + done + before_cut, n - before_cut, choose,
					   &error),
				  &error);
		done += n;
	}
	assert_ok(ob_chain_close(first, &error), &error);
	assert_int_equal(first->bytes, len);
	assert_int_equal(probe->base.bytes, probe->len);
}

/* ---------- files ---------- */

/* Files come in pairs, "name.kind" and the same with a codec's extension. */
static void
make_path(char *path, size_t size, const char *name, const char *kind,
		  const char *extension)
{
	int n = snprintf(path, size, "%s/%s.%s%s", folder, name, kind, extension);

	assert_in_range(n, 1, size - 1);
}

static void
write_file(const char *path, const char *data, size_t len)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static void
read_file(const char *path, char *data, size_t len)
{
	FILE *file = fopen(path, "rb");

	assert_non_null(file);
	assert_int_equal(fread(data, 1, len, file), len);
	assert_int_equal(fgetc(file), EOF);
	assert_int_equal(fclose(file), 0);
}

static void
run_shell(const char *format, ...)
{
	char command[1024];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	assert_in_range(n, 1, sizeof(command) - 1);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

/* The real tool tests all files of a kind at once, and decompresses them in
 * order: the result must equal the raw files.  The codec's name is the
 * tool's. */
static void
check_by_tool(const ObCodec *codec, const char *kind)
{
	bool lz4 = strcmp(codec->name, "lz4") == 0;

	run_shell("cd '%s' && export LC_ALL=C && set -- %s *.%s%s && "
			  "%s -q -t \"$@\" </dev/null >/dev/null && cat *.%s >all && "
			  "%s -q -dc \"$@\" </dev/null | cmp - all",
			  folder, lz4 ? "-m" : "", kind, codec->extension, codec->name,
			  kind, codec->name);
}

/* ---------- tests: codecs ---------- */

static void
test_table(void **state)
{
	static const char *const names[] = {"none", "gzip", "zstd", "lz4"};
	static const char *const extensions[] = {"", ".gz", ".zst", ".lz4"};
	const ObCodec *codec = ob_codecs();

	for (size_t i = 0; i < 4; i++, codec++)
	{
		assert_string_equal(codec->name, names[i]);
		assert_string_equal(codec->extension, extensions[i]);
		assert_ptr_equal(ob_codec_lookup(names[i]), codec);
		assert_in_range(codec->default_level, codec->min_level,
						codec->max_level);
		assert_int_equal(codec->create == NULL, i == 0);
	}
	assert_null(codec->name);
	assert_int_equal(ob_codec_lookup("gzip")->default_level, 1);
	assert_null(ob_codec_lookup("GZIP"));
	assert_null(ob_codec_lookup("brotli"));
	assert_null(ob_codec_lookup(""));
}

static void
write_case(const ObCodec *codec, int level, size_t i, ChooseLen choose)
{
	const DataCase *data = &cases[i];
	ObError error;
	char path[256];
	ObSink *file;
	ObSink *first;
	struct stat status;

	ob_error_clear(&error);
	make_path(path, sizeof(path), data->name, KIND(i), codec->extension);
	file = ob_sink_file_new(path, &error);
	assert_non_null(file);
	first = new_codec(codec, file, level);
	assert_ok(run_chain(first, data->data, data->len, choose, &error), &error);
	assert_int_equal(first->bytes, data->len);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(file->bytes, status.st_size);
	assert_true(status.st_size > 0);
	ob_chain_release(first);
}

static void
check_cases(const ObCodec *codec, size_t ncases)
{
	check_by_tool(codec, KIND(0));
	if (ncases > NFEW)
		check_by_tool(codec, KIND(NFEW));
	if (ncases > NSMALL)
		check_by_tool(codec, KIND(NSMALL));
}

static void
test_round_trip(void **state)
{
	const ObCodec *codec = ob_codec_lookup(*state);

	for (size_t n = 0; n < NLEVELS; n++)
	{
		const LevelCase *level = &levels[n];
		size_t ncases = level->slow ? NFEW : NCASES;

		if (strcmp(level->codec, codec->name) != 0)
			continue;
		for (size_t i = 0; i < ncases; i++)
			write_case(codec, level->level, i,
					   (n + i) % 2 ? choose_all : choose_any);
		check_cases(codec, ncases);
	}
}

/* Windows have the smallest size that a sink may give. */
static void
test_tiny_windows(void **state)
{
	const ObCodec *codec = ob_codec_lookup(*state);

	for (size_t n = 0; n < NLEVELS; n++)
	{
		size_t ncases = levels[n].slow ? NFEW : NSMALL;

		if (strcmp(levels[n].codec, codec->name) != 0)
			continue;
		for (size_t i = 0; i < ncases; i++)
		{
			ProbeSink *probe = new_probe(OB_SINK_WINDOW_MIN);
			ObSink *first = new_codec(codec, &probe->base, levels[n].level);
			char path[256];

			run_looking(first, probe, cases[i].data, cases[i].len, choose_any,
						false);
			make_path(path, sizeof(path), cases[i].name, KIND(i),
					  codec->extension);
			write_file(path, probe->data, probe->len);
			ob_chain_release(first);
		}
		check_cases(codec, ncases);
	}
}

static void
check_header(const ObCodec *codec, const unsigned char *header)
{
	static const unsigned char gzip_start[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0};
	static const unsigned char zstd_start[] = {0x28, 0xb5, 0x2f, 0xfd};
	static const unsigned char lz4_start[] = {0x04, 0x22, 0x4d, 0x18};

	if (strcmp(codec->name, "gzip") == 0)
	{
		/* No flags, so no name; no time. */
		assert_memory_equal(header, gzip_start, 8);
	}
	else if (strcmp(codec->name, "zstd") == 0)
	{
		/* Checksum, no size; a window of 8 MiB at most. */
		assert_memory_equal(header, zstd_start, 4);
		assert_int_equal(header[4], 0x04);
		assert_in_range(10 + (header[5] >> 3), 19, 23);
		assert_int_equal(header[5] & 7, 0);
	}
	else
	{
		/* Version 1, independent blocks, checksum; blocks of 64 KiB. */
		assert_memory_equal(header, lz4_start, 4);
		assert_int_equal(header[4], 0x40 | 0x20 | 0x04);
		assert_int_equal(header[5], 4 << 4);
	}
}

/* The room that each level needs.  Random data needs the most: its output of
 * three windows comes between two checks of the room. */
static void
test_every_level(void **state)
{
	const ObCodec *codec = ob_codec_lookup(*state);
	size_t nmixed = 3 * OB_SINK_WINDOW_MAX;
	size_t len = 2 * nmixed;
	char *data = must_malloc(len);

	fill_mixed(data, nmixed);
	fill_random(data + nmixed, len - nmixed);
	for (int level = codec->min_level; level <= codec->max_level; level++)
	{
		ProbeSink *probe = new_probe(OB_SINK_WINDOW_MAX);
		ObSink *first = new_codec(codec, &probe->base, level);

		run_looking(first, probe, data, len, choose_all, true);
		assert_in_range(probe->peak, OB_SINK_WINDOW_MAX, CODEC_ROOM);
		check_header(codec, (unsigned char *) probe->data);
		ob_chain_release(first);
	}
	free(data);
}

/* ---------- tests: cuts ---------- */

/* Saves the output of a cut, or all output until then, as a file of the tool's
 * kind. */
static void
save_cut(const ObCodec *codec, const char *kind, int n, const char *raw,
		 size_t raw_len, const char *made, size_t made_len)
{
	char name[16];
	char path[256];

	snprintf(name, sizeof(name), "%06d", n);
	make_path(path, sizeof(path), name, kind, "");
	write_file(path, raw, raw_len);
	make_path(path, sizeof(path), name, kind, codec->extension);
	write_file(path, made, made_len);
}

/* Neither a second cut nor an advance of nothing makes an empty frame. */
static void
assert_nothing_to_cut(ObSink *first, const ProbeSink *probe)
{
	size_t len = probe->len;
	size_t avail;
	ObError error;

	ob_error_clear(&error);
	must_cut(first);
	assert_non_null(ob_sink_window(first, &avail, &error));
	assert_ok(ob_sink_advance(first, 0, &error), &error);
	must_cut(first);
	assert_int_equal(probe->len, len);
}

/*
 * Cuts at random places.  Each piece between two cuts, and each prefix of the
 * object up to a cut, must be complete for the tool.  The close comes right
 * after the last cut, or, with a tail, after more input. *serial numbers the
 * files.
 */
static void
cut_at_random(const ObCodec *codec, int level, const char *data, bool tail,
			  int *serial)
{
	ProbeSink *probe = new_probe(tail ? OB_SINK_WINDOW_MIN : 100 * KIB);
	ObSink *first = new_codec(codec, &probe->base, level);
	size_t done = 0;
	size_t made = 0;
	ObError error;

	ob_error_clear(&error);
	assert_ok(ob_chain_open(first, &error), &error);
	assert_nothing_to_cut(first, probe);
	assert_int_equal(probe->len, 0);
	for (int i = 0; i < 6; i++)
	{
		size_t n = i == 1 ? 1 : next_random() % (80 * KIB) + 1;

		probe->since_look = 0;
		assert_ok(feed(first, data + done, n, choose_any, &error), &error);
		if (i < 5 || !tail)
			must_cut(first);
		else
			assert_ok(ob_chain_close(first, &error), &error);
		assert_true(probe->len > made);
		assert_true(probe->peak <= CODEC_ROOM);
		save_cut(codec, "piece", ++*serial, data + done, n, probe->data + made,
				 probe->len - made);
		done += n;
		made = probe->len;
		save_cut(codec, "start", *serial, data, done, probe->data, made);
		if (i < 5 || !tail)
			assert_nothing_to_cut(first, probe);
	}
	if (!tail)
		assert_ok(ob_chain_close(first, &error), &error);
	assert_int_equal(probe->len, made);
	assert_int_equal(first->bytes, done);
	ob_chain_release(first);
}

static void
test_cut(void **state)
{
	const ObCodec *codec = ob_codec_lookup(*state);
	size_t len = 6 * 80 * KIB;
	char *data = must_malloc(len);
	int serial = 0;

	fill_mixed(data, len);
	for (size_t n = 0; n < NLEVELS; n++)
	{
		if (strcmp(levels[n].codec, codec->name) != 0)
			continue;
		cut_at_random(codec, levels[n].level, data, false, &serial);
		cut_at_random(codec, levels[n].level, data, true, &serial);
	}
	check_by_tool(codec, "piece");
	check_by_tool(codec, "start");
	run_shell("cd '%s' && rm -f *.piece* *.start*", folder);
	free(data);
}

/* Equal input, in equal pieces, gives equal output. */
static void
test_repeatable(void **state)
{
	const DataCase *data = &cases[NFEW - 1];

	for (size_t n = 0; n < NLEVELS; n++)
	{
		const ObCodec *codec = ob_codec_lookup(levels[n].codec);
		ProbeSink *probes[2];
		ObSink *firsts[2];

		if (levels[n].slow)
			continue;
		for (int i = 0; i < 2; i++)
		{
			uint64_t saved = random_state;

			probes[i] = new_probe(OB_SINK_WINDOW_MAX);
			firsts[i] = new_codec(codec, &probes[i]->base, levels[n].level);
			run_looking(firsts[i], probes[i], data->data, data->len,
						choose_any, true);
			if (i == 0)
				random_state = saved;
		}
		assert_int_equal(probes[0]->len, probes[1]->len);
		assert_memory_equal(probes[0]->data, probes[1]->data, probes[0]->len);
		ob_chain_release(firsts[0]);
		ob_chain_release(firsts[1]);
	}
}

/* ---------- tests: errors and the life of a codec ---------- */

static ObCode
run_with_cut(ObSink *first, const char *data, size_t len, ObError *error)
{
	ObCode code = ob_chain_open(first, error);

	if (code == OB_OK)
		code = feed(first, data, len / 2, choose_any, error);
	if (code == OB_OK)
		code = ob_chain_cut(first, error);
	if (code == OB_OK)
		code = feed(first, data + len / 2, len - len / 2, choose_any, error);
	if (code == OB_OK)
		code = ob_chain_close(first, error);
	return code;
}

/* The terminal fails at its first call, at its second, and so on. */
static void
fail_at_each_call(const ObCodec *codec, int level)
{
	const DataCase *data = &cases[NSMALL]; /* random */
	size_t len = 300 * KIB;
	ObCode code;
	int n = 0;

	do
	{
		ProbeSink *probe = new_probe(OB_SINK_WINDOW_MIN);
		ObSink *first = new_codec(codec, &probe->base, level);
		ObError error;

		ob_error_clear(&error);
		probe->fail_at = ++n;
		code = run_with_cut(first, data->data, len, &error);
		if (code != OB_OK)
		{
			char cause[64];

			snprintf(cause, sizeof(cause), "call %d fails", n);
			assert_int_equal(code, OB_ECONNECT);
			assert_int_equal(error.code, OB_ECONNECT);
			assert_string_equal(error.cause, cause);
		}
		else
			assert_true(probe->calls < n);
		ob_chain_release(first);
	} while (code != OB_OK);
	assert_true(n > 2 * (int) (len / OB_SINK_WINDOW_MIN));
}

static void
test_failing_terminal(void **state)
{
	fail_at_each_call(ob_codec_lookup("gzip"), 1);
	fail_at_each_call(ob_codec_lookup("gzip"), 4);
	fail_at_each_call(ob_codec_lookup("zstd"), 1);
	fail_at_each_call(ob_codec_lookup("lz4"), 0);
}

/* A codec is released at each stage of its life. */
static void
test_early_release(void **state)
{
	const DataCase *data = &cases[NFEW - 1];

	for (size_t i = 0; i < 6 * NLEVELS; i++)
	{
		const LevelCase *level = &levels[i / 6];
		int stage = (int) (i % 6);
		ProbeSink *probe;
		ObSink *first;
		ObError error;

		if (level->slow)
			continue;
		probe = new_probe(OB_SINK_WINDOW_MAX);
		first = new_codec(ob_codec_lookup(level->codec), &probe->base,
						  level->level);
		ob_error_clear(&error);
		if (stage > 0)
			assert_ok(ob_chain_open(first, &error), &error);
		if (stage > 1)
			assert_ok(feed(first, data->data, 70 * KIB, choose_all, &error),
					  &error);
		if (stage > 2)
			must_cut(first);
		if (stage > 3)
			assert_ok(feed(first, data->data, 100, choose_all, &error),
					  &error);
		if (stage > 4)
			assert_ok(ob_chain_close(first, &error), &error);
		ob_chain_release(first);
	}
}

/* ---------- tests: the walkers ---------- */

typedef struct RecordSink
{
	ObSink base;
	char name;
	bool fail_open;
	bool fail_cut;
	bool fail_close;
	char *log;
} RecordSink;

static void
record(const ObSink *sink, char verb)
{
	const RecordSink *node = (const RecordSink *) sink;
	size_t len = strlen(node->log);

	node->log[len] = verb;
	node->log[len + 1] = node->name;
	node->log[len + 2] = '\0';
}

static ObCode
record_open(ObSink *sink, ObError *error)
{
	record(sink, '+');
	return ((RecordSink *) sink)->fail_open
			   ? ob_error_set(error, OB_EINVAL, "no")
			   : OB_OK;
}

static ObCode
record_cut(ObSink *sink, ObError *error)
{
	record(sink, '/');
	return ((RecordSink *) sink)->fail_cut ? ob_error_set(error, OB_EIO, "no")
										   : OB_OK;
}

static ObCode
record_close(ObSink *sink, ObError *error)
{
	record(sink, '-');
	return ((RecordSink *) sink)->fail_close
			   ? ob_error_set(error, OB_ETIMEOUT, "no")
			   : OB_OK;
}

static void
record_release(ObSink *sink)
{
	record(sink, '.');
	free(sink);
}

static const ObSinkOps record_ops = {
	.name = "record",
	.open = record_open,
	.cut = record_cut,
	.close = record_close,
	.release = record_release,
};

static const ObSinkOps silent_ops = {
	.name = "silent",
	.release = record_release,
};

static RecordSink *
new_record(char name, ObSink *next, char *log)
{
	RecordSink *node = must_malloc(sizeof(*node));

	memset(node, 0, sizeof(*node));
	node->base.ops = &record_ops;
	node->base.next = next;
	node->name = name;
	node->log = log;
	return node;
}

static void
test_walkers(void **state)
{
	static const char *const logs[] = {
		"+c+b+a-a-b-c.a.b.c", /* no failure */
		"+c+b.a.b.c",         /* b fails to open */
		"+c+b+a-a-b.a.b.c",   /* b fails to close */
		"+c+a-a-c.a.b.c",     /* b has neither */
	};
	static const ObCode codes[] = {OB_OK, OB_EINVAL, OB_ETIMEOUT, OB_OK};

	for (int i = 0; i < 4; i++)
	{
		char log[64] = "";
		RecordSink *c = new_record('c', NULL, log);
		RecordSink *b = new_record('b', &c->base, log);
		RecordSink *a = new_record('a', &b->base, log);
		ObError error;

		ob_error_clear(&error);
		b->fail_open = i == 1;
		b->fail_close = i == 2;
		if (i == 3)
			b->base.ops = &silent_ops;
		assert_int_equal(run_chain(&a->base, "", 0, choose_all, &error),
						 codes[i]);
		assert_int_equal(error.code, codes[i]);
		ob_chain_release(&a->base);
		assert_string_equal(log, logs[i]);
	}
	ob_chain_release(NULL);
}

/* cut calls the sinks that have a callback and received bytes since; close
 * skips sinks whose last call was a cut. */
static void
test_walker_cut(void **state)
{
	char log[64] = "";
	RecordSink *c = new_record('c', NULL, log);
	RecordSink *b = new_record('b', &c->base, log);
	RecordSink *a = new_record('a', &b->base, log);
	ObError error;

	ob_error_clear(&error);
	must_cut(&a->base);
	assert_string_equal(log, "");
	a->base.bytes = b->base.bytes = c->base.bytes = 7;
	must_cut(&a->base);
	must_cut(&a->base);
	assert_string_equal(log, "/a/b/c");
	a->base.bytes = b->base.bytes = c->base.bytes = 9;
	b->fail_cut = true;
	assert_int_equal(ob_chain_cut(&a->base, &error), OB_EIO);
	assert_string_equal(log, "/a/b/c/a/b");
	c->base.ops = &silent_ops;
	b->fail_cut = false;
	must_cut(&a->base);
	assert_string_equal(log, "/a/b/c/a/b/b");
	b->base.bytes = 10;
	c->base.ops = &record_ops;
	assert_ok(ob_chain_close(&a->base, &error), &error);
	assert_string_equal(log, "/a/b/c/a/b/b-b-c");
	ob_chain_release(&a->base);
}

static void
test_write(void **state)
{
	const DataCase *data = &cases[NCASES - 1];
	ProbeSink *probe = new_probe(OB_SINK_WINDOW_MIN);
	ObSink *sink = &probe->base;
	size_t done = 0;
	ObError error;

	ob_error_clear(&error);
	assert_ok(ob_sink_write(sink, NULL, 0, &error), &error);
	assert_int_equal(probe->calls, 0);
	while (done < 500 * KIB)
	{
		size_t len = choose_any(3 * OB_SINK_WINDOW_MIN);

		assert_ok(ob_sink_write(sink, data->data + done, len, &error), &error);
		done += len;
	}
	assert_int_equal(probe->len, done);
	assert_int_equal(sink->bytes, done);
	assert_memory_equal(probe->data, data->data, done);

	for (int i = 1; i <= 2; i++)
	{
		probe->fail_at = probe->calls + i;
		ob_error_clear(&error);
		assert_int_equal(ob_sink_write(sink, "x", 1, &error), OB_ECONNECT);
	}
	ob_chain_release(sink);
}

/* ---------- tests: terminals ---------- */

static void
test_null(void **state)
{
	const DataCase *data = &cases[NCASES - 1];
	ObError error;
	ObSink *sink;

	ob_error_clear(&error);
	sink = ob_sink_null_new(&error);
	assert_non_null(sink);
	assert_ok(run_chain(sink, data->data, data->len, choose_any, &error),
			  &error);
	assert_int_equal(sink->bytes, data->len);
	ob_chain_release(sink);
}

/* The sink appends to the buffer, and stops at the buffer's maximum. */
static void
test_buf(void **state)
{
	const DataCase *data = &cases[NCASES - 1];
	ObError error;
	ObBuf buf;
	ObSink *sink;

	ob_error_clear(&error);
	ob_buf_init(&buf, data->len + 4);
	for (int round = 0; round < 2; round++)
	{
		ob_buf_reset(&buf);
		ob_buf_adds(&buf, "head");
		sink = ob_sink_buf_new(&buf, &error);
		assert_non_null(sink);
		assert_ok(run_chain(sink, data->data, data->len,
							round ? choose_any : choose_all, &error),
				  &error);
		assert_int_equal(sink->bytes, data->len);
		ob_chain_release(sink);
		assert_int_equal(buf.len, data->len + 4);
		assert_memory_equal(buf.data, "head", 4);
		assert_memory_equal(buf.data + 4, data->data, data->len);
	}
	/* it is full: one more byte is an error, and none of it is kept */
	sink = ob_sink_buf_new(&buf, &error);
	assert_int_equal(ob_chain_open(sink, &error), OB_OK);
	assert_int_equal(ob_sink_write(sink, "x", 1, &error), OB_ELIMIT);
	assert_int_equal(error.code, OB_ELIMIT);
	ob_chain_release(sink);
	assert_int_equal(buf.len, data->len + 4);
	ob_buf_free(&buf);
}

/* The sink replaces the file, which no other user may read. */
static void
test_file(void **state)
{
	char *back = must_malloc(2 * MIB);
	ObError error;
	char path[256];

	ob_error_clear(&error);
	snprintf(path, sizeof(path), "%s/plain", folder);
	for (size_t i = NCASES; i-- > 0;)
	{
		const DataCase *data = &cases[i];
		ObSink *sink = ob_sink_file_new(path, &error);
		struct stat status;

		assert_non_null(sink);
		assert_ok(run_chain(sink, data->data, data->len,
							i % 2 ? choose_all : choose_any, &error),
				  &error);
		assert_int_equal(sink->bytes, data->len);
		ob_chain_release(sink);
		assert_int_equal(stat(path, &status), 0);
		assert_int_equal(status.st_size, data->len);
		assert_int_equal(status.st_mode & 0777, 0600);
		read_file(path, back, data->len);
		assert_memory_equal(back, data->data, data->len);
	}
	free(back);
}

static void
test_file_errors(void **state)
{
	const DataCase *data = &cases[NCASES - 1];
	size_t len[] = {10, 500 * KIB}; /* reported by close, and before it */
	ObError error;
	ObSink *sink;

	ob_error_clear(&error);
	sink = ob_sink_file_new("/nowhere/at all", &error);
	assert_non_null(sink);
	assert_int_equal(ob_chain_open(sink, &error), OB_EIO);
	assert_string_equal(error.what, "could not open file \"/nowhere/at all\"");
	assert_string_equal(error.cause, strerror(ENOENT));
	ob_chain_release(sink);

	for (int i = 0; i < 2; i++)
	{
		ob_error_clear(&error);
		sink = ob_sink_file_new("/dev/full", &error);
		assert_non_null(sink);
		assert_int_equal(
			run_chain(sink, data->data, len[i], choose_all, &error), OB_EIO);
		assert_string_equal(error.what, "could not write file \"/dev/full\"");
		assert_string_equal(error.cause, strerror(ENOSPC));
		ob_chain_release(sink);
	}
}

/* The number that the next opened file would get. */
static int
lowest_free_fd(void)
{
	int fd = dup(STDERR_FILENO);

	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	return fd;
}

/* A release without open, after open, with bytes not yet written, after a
 * failed close, and after a successful one: no descriptor is left, nothing is
 * written. */
static void
test_file_release(void **state)
{
	int lowest = lowest_free_fd();

	for (int stage = 0; stage < 5; stage++)
	{
		ObError error;
		char path[256];
		char byte;
		ObSink *sink;

		ob_error_clear(&error);
		snprintf(path, sizeof(path), "%s/released", folder);
		sink = ob_sink_file_new(stage == 3 ? "/dev/full" : path, &error);
		assert_non_null(sink);
		if (stage > 0)
			assert_ok(ob_chain_open(sink, &error), &error);
		if (stage > 1)
			assert_ok(ob_sink_write(sink, "x", 1, &error), &error);
		if (stage > 2)
			assert_int_equal(ob_chain_close(sink, &error),
							 stage == 3 ? OB_EIO : OB_OK);
		ob_chain_release(sink);
		assert_int_equal(lowest_free_fd(), lowest);
		if (stage == 1 || stage == 2)
			read_file(path, &byte, 0);
		if (stage == 4)
			read_file(path, &byte, 1);
	}
}

static volatile sig_atomic_t alarms;

static void
count_alarm(int number)
{
	alarms++;
}

/* The pipe is slower than the writer, and many signals arrive: writes are
 * short or interrupted. */
static void
test_file_interrupted(void **state)
{
	struct sigaction action = {.sa_handler = count_alarm};
	struct itimerval often = {{0, 1000}, {0, 1000}};
	struct itimerval never = {{0, 0}, {0, 0}};
	const DataCase *data = &cases[NSMALL]; /* random */
	size_t len = 256 * KIB;
	char *back = must_malloc(len);
	char fifo[256];
	char copy[256];
	char command[600];
	FILE *reader;
	ObError error;
	ObSink *sink;
	ObCode code;

	ob_error_clear(&error);
	snprintf(fifo, sizeof(fifo), "%s/fifo", folder);
	snprintf(copy, sizeof(copy), "%s/copy", folder);
	snprintf(command, sizeof(command), "dd if='%s' of='%s' bs=16 2>/dev/null",
			 fifo, copy);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	reader = popen(command, "r");
	assert_non_null(reader);
	sink = ob_sink_file_new(fifo, &error);
	assert_non_null(sink);
	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	code = run_chain(sink, data->data, len, choose_all, &error);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_ok(code, &error);
	ob_chain_release(sink);
	assert_int_equal(pclose(reader), 0);
	assert_true(alarms > 0);
	read_file(copy, back, len);
	assert_memory_equal(back, data->data, len);
	free(back);
}

/* ---------- the whole ---------- */

static int
setup(void **state)
{
	if (mkdtemp(folder) == NULL)
		return -1;
	for (size_t i = 0; i < NCASES; i++)
	{
		char path[256];

		cases[i].data = must_malloc(cases[i].len);
		cases[i].fill(cases[i].data, cases[i].len);
		make_path(path, sizeof(path), cases[i].name, KIND(i), "");
		write_file(path, cases[i].data, cases[i].len);
	}
	return 0;
}

static int
teardown(void **state)
{
	for (size_t i = 0; i < NCASES; i++)
		free(cases[i].data);
	run_shell("rm -rf '%s'", folder);
	return 0;
}

/* A test of one codec, named after both. */
#define codec_test(function, codec)                      \
	{                                                    \
#function "_" codec, function, NULL, NULL, codec \
	}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		codec_test(test_round_trip, "gzip"),
		codec_test(test_round_trip, "zstd"),
		codec_test(test_round_trip, "lz4"),
		codec_test(test_tiny_windows, "gzip"),
		codec_test(test_tiny_windows, "zstd"),
		codec_test(test_tiny_windows, "lz4"),
		codec_test(test_every_level, "gzip"),
		codec_test(test_every_level, "zstd"),
		codec_test(test_every_level, "lz4"),
		codec_test(test_cut, "gzip"),
		codec_test(test_cut, "zstd"),
		codec_test(test_cut, "lz4"),
		cmocka_unit_test(test_repeatable),
		cmocka_unit_test(test_failing_terminal),
		cmocka_unit_test(test_early_release),
		cmocka_unit_test(test_walkers),
		cmocka_unit_test(test_walker_cut),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_null),
		cmocka_unit_test(test_buf),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_file_errors),
		cmocka_unit_test(test_file_release),
		cmocka_unit_test(test_file_interrupted),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
