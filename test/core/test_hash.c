/*
 * test_hash.c
 *		CRC-32 against zlib's, and SHA-256 against OpenSSL's in one piece.
 *
 * test/core/test_hash.c
 */
#include "testing.h"

#include "core/base/hash.h"
#include "core/aws/sigv4.h"

#include <openssl/evp.h>
#include <zlib.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif

#define SIZE ((size_t) 1024 * 1024)

/* Two of them begin at odd addresses, where vector code tends to have
 * errors. */
static unsigned char *data;

static int
setup_data(void **state)
{
	data = test_malloc(SIZE);
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (unsigned char) next_random();
	return 0;
}

static int
free_data(void **state)
{
	test_free(data);
	return 0;
}

static void
crc32_equals_zlibs(void **state)
{
	static const size_t lengths[] = {0,  1,  2,   3,   7,    8,     15,   16,
									 31, 63, 127, 128, 1000, 65537, 99999};

	assert_int_equal(ob_crc32(0, "123456789", 9), 0xCBF43926);
	for (size_t offset = 0; offset < 33; offset++)
		for (size_t i = 0; i < COUNT_OF(lengths); i++)
			assert_int_equal(ob_crc32(0, data + offset, lengths[i]),
							 crc32_z(0, data + offset, lengths[i]));
	assert_int_equal(ob_crc32(0, data, SIZE), crc32_z(0, data, SIZE));
	/* a NULL without bytes changes nothing */
	assert_int_equal(ob_crc32(0x12345678, NULL, 0), 0x12345678);
}

#ifdef __x86_64__
/* Whether the processor regards the upper halves of the vector registers as
 * used: bit 2 of XINUSE. */
static bool
are_upper_halves_used(void)
{
	uint32_t low;
	uint32_t high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
	return (low & 4) != 0;
}

/* XGETBV can read XINUSE, and AVX is there. */
static bool
has_xinuse(void)
{
	uint32_t eax;
	uint32_t ebx;
	uint32_t ecx;
	uint32_t edx;

	return __builtin_cpu_supports("avx") &&
		   __get_cpuid_count(13, 1, &eax, &ebx, &ecx, &edx) && (eax & 4) != 0;
}

/* Upper halves that stay in use make the SSE instructions after them slow. */
static void
crc32_leaves_no_upper_halves(void **state)
{
	if (!has_xinuse())
		return;
	__asm__ volatile("vzeroupper");
	if (are_upper_halves_used())
		return; /* a processor that does not look */
	__asm__ volatile("vpcmpeqd %%xmm0, %%xmm0, %%xmm0\n\t"
					 "vinsertf128 $1, %%xmm0, %%ymm0, %%ymm0" ::
						 : "xmm0");
	assert_true(are_upper_halves_used());
	ob_isal_end();
	assert_false(are_upper_halves_used());
	ob_crc32(0, data, SIZE);
	assert_false(are_upper_halves_used());
}
#endif

static void
crc32_goes_on(void **state)
{
	static const size_t steps[] = {1, 3, 17, 4096, 100003};
	uint32_t whole = ob_crc32(0, data, SIZE);

	for (size_t i = 0; i < COUNT_OF(steps); i++)
	{
		uint32_t crc = 0;

		for (size_t at = 0; at < SIZE; at += steps[i])
			crc = ob_crc32(crc, data + at,
						   SIZE - at < steps[i] ? SIZE - at : steps[i]);
		assert_int_equal(crc, whole);
	}
}

/* The CRCs of parts of any number and size are combined in order. */
static void
crc32_combines(void **state)
{
	static const size_t cuts[] = {0, 0, 1, 2, 5, 4096, 500000, SIZE, SIZE};
	uint32_t crc = 0;

	for (size_t i = 1; i < COUNT_OF(cuts); i++)
	{
		size_t len = cuts[i] - cuts[i - 1];

		crc = ob_crc32_combine(crc, ob_crc32(0, data + cuts[i - 1], len), len);
		assert_int_equal(crc, crc32_z(0, data, cuts[i]));
	}
	/* lengths of parts do not fit in 32 bits: 5 GiB of zeros, by doubling */
	{
		static const unsigned char zeros[65536];
		uint64_t len = sizeof(zeros);
		uint32_t twice = ob_crc32(0, zeros, sizeof(zeros));
		uint32_t five;
		uint64_t gib = UINT64_C(1) << 30;

		for (; len < gib; len *= 2)
			twice = ob_crc32_combine(twice, twice, len);
		five = twice;
		for (int i = 1; i < 5; i++)
			five = ob_crc32_combine(five, twice, gib);
		/* the reverse order: a long piece after a short one */
		assert_int_equal(
			ob_crc32_combine(
				twice,
				ob_crc32_combine(ob_crc32_combine(twice, twice, gib),
								 ob_crc32_combine(twice, twice, gib), 2 * gib),
				4 * gib),
			five);
	}
}

static void
crc32_texts(void **state)
{
	static const uint32_t values[] = {0,          1,          0xCBF43926,
									  0xFFFFFFFF, 0x00FF00FF, 0x80000000};

	for (size_t i = 0; i < COUNT_OF(values); i++)
	{
		uint32_t v = values[i];
		const unsigned char bytes[4] = {v >> 24, v >> 16, v >> 8, v};
		char want[16];
		char text[OB_CRC32_TEXT];
		uint32_t parsed;

		EVP_EncodeBlock((unsigned char *) want, bytes, 4);
		ob_crc32_text(v, text);
		assert_string_equal(text, want);
		assert_true(ob_crc32_parse(text, &parsed));
		assert_int_equal(parsed, v);
	}
}

static void
no_crc32_texts(void **state)
{
	static const char *const texts[] = {
		"",
		"AAAAAA",
		"AAAAAA=",
		"AAAAAA===",
		"AAAAA===",
		"AAAAAAA=",
		"AAAAAAAA",
		"AAAAAB==",
		"AAAAAP==",
		"AAA AA==",
		"AAAA-A==",
		"AAAA_A==",
		" AAAAAA==",
		"AAAAAA== ",
		"\xC3\xA9"
		"AAAA==",
	};

	for (size_t i = 0; i < COUNT_OF(texts); i++)
	{
		uint32_t crc;

		assert_row(texts[i], !ob_crc32_parse(texts[i], &crc));
	}
}

static void
names_of_checksums(void **state)
{
	static const struct
	{
		const char *name;
		ObChecksum checksum;
	} rows[] = {{"auto", OB_CHECKSUM_AUTO},
				{"sha256", OB_CHECKSUM_SHA256},
				{"crc32", OB_CHECKSUM_CRC32},
				{"md5", OB_CHECKSUM_MD5},
				{"none", OB_CHECKSUM_NONE}};
	static const char *const wrong[] = {"",        "SHA256", "crc32c",
										"sha256 ", "sha1",   "crc64nvme"};
	ObChecksum checksum;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		assert_true(ob_checksum_parse(rows[i].name, &checksum));
		assert_int_equal(checksum, rows[i].checksum);
	}
	for (size_t i = 0; i < COUNT_OF(wrong); i++)
		assert_row(wrong[i], !ob_checksum_parse(wrong[i], &checksum));
}

/* Without TLS, the hash is always signed. */
static void
hashes_that_are_signed(void **state)
{
	assert_true(ob_checksum_is_signed(OB_CHECKSUM_SHA256, true));
	assert_false(ob_checksum_is_signed(OB_CHECKSUM_CRC32, true));
	assert_false(ob_checksum_is_signed(OB_CHECKSUM_MD5, true));
	assert_false(ob_checksum_is_signed(OB_CHECKSUM_NONE, true));
	assert_true(ob_checksum_is_signed(OB_CHECKSUM_SHA256, false));
	assert_true(ob_checksum_is_signed(OB_CHECKSUM_CRC32, false));
	assert_true(ob_checksum_is_signed(OB_CHECKSUM_MD5, false));
	assert_true(ob_checksum_is_signed(OB_CHECKSUM_NONE, false));
}

/* The text is that of RFC 1864. */
static void
md5_texts(void **state)
{
	char text[OB_MD5_TEXT];

	assert_true(ob_md5_text("", 0, text));
	assert_string_equal(text, "1B2M2Y8AsgTpgAmY7PhCfg==");
	assert_true(ob_md5_text("abc", 3, text));
	assert_string_equal(text, "kAFQmDzST7DWlj99KOF/cg==");
}

/* ---- SHA-256 ---- */

static void
sha256_piece_by_piece(void **state)
{
	static const size_t steps[] = {1, 63, 64, 65, 131072, SIZE};
	ObSha256 *sha = ob_sha256_new();
	char want[OB_SHA256_HEX];
	char got[OB_SHA256_HEX];
	ObError error;

	ob_error_clear(&error);
	assert_non_null(sha);
	assert_int_equal(ob_sha256_hex(data, SIZE, want, &error), OB_OK);
	/* several hashes in turn with the same object */
	for (size_t i = 0; i < COUNT_OF(steps); i++)
	{
		assert_true(ob_sha256_begin(sha));
		for (size_t at = 0; at < SIZE; at += steps[i])
			assert_true(ob_sha256_add(
				sha, data + at, SIZE - at < steps[i] ? SIZE - at : steps[i]));
		assert_true(ob_sha256_end(sha, got));
		assert_string_equal(got, want);
	}
	ob_sha256_free(sha);
	ob_sha256_free(NULL);
}

static void
sha256_of_little(void **state)
{
	ObSha256 *sha = ob_sha256_new();
	char got[OB_SHA256_HEX];

	assert_true(ob_sha256_begin(sha));
	assert_true(ob_sha256_end(sha, got));
	assert_string_equal(got, OB_SHA256_EMPTY);
	assert_true(ob_sha256_begin(sha));
	assert_true(ob_sha256_add(sha, NULL, 0));
	assert_true(ob_sha256_add(sha, "abc", 3));
	/* starting again discards earlier bytes */
	assert_true(ob_sha256_begin(sha));
	assert_true(ob_sha256_add(sha, "abc", 3));
	assert_true(ob_sha256_end(sha, got));
	assert_string_equal(got, "ba7816bf8f01cfea414140de5dae2223"
							 "b00361a396177a9cb410ff61f20015ad");
	ob_sha256_free(sha);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc32_equals_zlibs),
		cmocka_unit_test(md5_texts),
#ifdef __x86_64__
		cmocka_unit_test(crc32_leaves_no_upper_halves),
#endif
		cmocka_unit_test(crc32_goes_on),
		cmocka_unit_test(crc32_combines),
		cmocka_unit_test(crc32_texts),
		cmocka_unit_test(no_crc32_texts),
		cmocka_unit_test(names_of_checksums),
		cmocka_unit_test(hashes_that_are_signed),
		cmocka_unit_test(sha256_piece_by_piece),
		cmocka_unit_test(sha256_of_little),
	};

	return cmocka_run_group_tests(tests, setup_data, free_data);
}
