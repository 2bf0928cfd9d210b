/*
 * hash.c
 *		Checksums and hashes, and which of them an upload sends.
 *
 * src/core/base/hash.c
 */
#include "core/base/hash.h"

#include <isa-l/crc.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

static const struct
{
	const char *name;
	ObChecksum checksum;
} names[] = {
	{"auto", OB_CHECKSUM_AUTO},   {"sha256", OB_CHECKSUM_SHA256},
	{"crc32", OB_CHECKSUM_CRC32}, {"md5", OB_CHECKSUM_MD5},
	{"none", OB_CHECKSUM_NONE},
};

bool
ob_checksum_parse(const char *name, ObChecksum *checksum)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i].name, name) == 0)
		{
			*checksum = names[i].checksum;
			return true;
		}
	return false;
}

bool
ob_checksum_is_signed(ObChecksum checksum, bool https)
{
	return !https || checksum == OB_CHECKSUM_SHA256;
}

/* ---- hexadecimal ---- */

void
ob_hex(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *bytes = data;

	for (size_t i = 0; i < len; i++)
	{
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
	*out = '\0';
}

/* ---- CRC-32 ---- */

#ifdef __x86_64__
__attribute__((target("avx"))) static void
clear_upper_halves(void)
{
	_mm256_zeroupper();
}
#endif

void
ob_isal_end(void)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx"))
		clear_upper_halves();
#endif
}

uint32_t
ob_crc32(uint32_t crc, const void *data, size_t len)
{
	crc = crc32_gzip_refl(crc, data, len);
	ob_isal_end();
	return crc;
}

uint32_t
ob_crc32_combine(uint32_t a, uint32_t b, uint64_t len)
{
	return (uint32_t) crc32_combine(a, b, (z_off_t) len);
}

void
ob_raw_add(ObRaw *raw, const ObRaw *next)
{
	raw->crc32 = ob_crc32_combine(raw->crc32, next->crc32, next->len);
	raw->len += next->len;
}

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
ob_crc32_text(uint32_t crc, char *text)
{
	/* 32 bits, and 4 more of zeros, make 6 digits */
	uint64_t bits = (uint64_t) crc << 4;

	for (int i = 5; i >= 0; i--)
	{
		text[i] = base64_digits[bits & 63];
		bits >>= 6;
	}
	strcpy(text + 6, "==");
}

bool
ob_crc32_parse(const char *text, uint32_t *crc)
{
	uint64_t bits = 0;

	for (int i = 0; i < 6; i++)
	{
		const char *digit =
			text[i] != '\0' ? strchr(base64_digits, text[i]) : NULL;

		if (!digit)
			return false;
		bits = bits << 6 | (uint64_t) (digit - base64_digits);
	}
	*crc = (uint32_t) (bits >> 4);
	return (bits & 15) == 0 && strcmp(text + 6, "==") == 0;
}

/* ---- MD5 ---- */

bool
ob_md5_text(const void *data, size_t len, char *text)
{
	unsigned char digest[16];

	if (EVP_Q_digest(NULL, "MD5", NULL, data, len, digest, NULL) != 1)
	{
		ERR_clear_error(); /* the host shares this queue */
		return false;
	}
	EVP_EncodeBlock((unsigned char *) text, digest, sizeof(digest));
	return true;
}

/* ---- SHA-256 ---- */

/* The host shares libcrypto's error queue.  It would report an error that we
 * leave there as the cause of its next TLS error. */
static ObCode
crypto_failure(ObError *error)
{
	ERR_clear_error();
	return ob_error_set(error, OB_ENOMEM,
						"libcrypto could not compute a hash");
}

ObCode
ob_sha256(const void *data, size_t len, unsigned char *out, ObError *error)
{
	if (EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) != 1)
		return crypto_failure(error);
	return OB_OK;
}

ObCode
ob_sha256_hex(const void *data, size_t len, char *out, ObError *error)
{
	unsigned char hash[OB_SHA256_LEN];
	ObCode code = ob_sha256(data, len, hash, error);

	out[0] = '\0';
	if (code == OB_OK)
		ob_hex(hash, sizeof(hash), out);
	return code;
}

ObCode
ob_hmac_sha256(const unsigned char *key, size_t key_len, const void *data,
			   size_t len, unsigned char *out, ObError *error)
{
	if (HMAC(EVP_sha256(), key, (int) key_len, data, len, out, NULL) == NULL)
		return crypto_failure(error);
	return OB_OK;
}

/* Fetching the algorithm is slow in OpenSSL 3, so each object does it once. */
struct ObSha256
{
	EVP_MD *algorithm;
	EVP_MD_CTX *context;
};

static bool
done(int result)
{
	if (result != 1)
		ERR_clear_error();
	return result == 1;
}

ObSha256 *
ob_sha256_new(void)
{
	ObSha256 *sha = calloc(1, sizeof(ObSha256));

	if (!sha)
		return NULL;
	sha->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
	sha->context = EVP_MD_CTX_new();
	if (sha->algorithm && sha->context)
		return sha;
	ob_sha256_free(sha);
	(void) done(0);
	return NULL;
}

void
ob_sha256_free(ObSha256 *sha)
{
	if (!sha)
		return;
	EVP_MD_CTX_free(sha->context);
	EVP_MD_free(sha->algorithm);
	free(sha);
}

bool
ob_sha256_begin(ObSha256 *sha)
{
	return done(EVP_DigestInit_ex2(sha->context, sha->algorithm, NULL));
}

bool
ob_sha256_add(ObSha256 *sha, const void *data, size_t len)
{
	return done(EVP_DigestUpdate(sha->context, data, len));
}

bool
ob_sha256_end(ObSha256 *sha, char *hex)
{
	unsigned char digest[OB_SHA256_LEN];

	if (!done(EVP_DigestFinal_ex(sha->context, digest, NULL)))
		return false;
	ob_hex(digest, sizeof(digest), hex);
	return true;
}
