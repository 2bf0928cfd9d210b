/*
 * checksum.c
 *		What proves to the store that a part came as it was sent.
 *
 * src/core/base/checksum.c
 */
#include "core/base/checksum.h"

#include <isa-l/crc.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>
#include <zlib.h>

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

uint32_t
ob_crc32(uint32_t crc, const void *data, size_t len)
{
	return crc32_gzip_refl(crc, data, len);
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

void
ob_crc32_text(uint32_t crc, char *text)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	/* 32 bits, and 4 more of zeros, make 6 digits */
	uint64_t bits = (uint64_t) crc << 4;

	for (int i = 5; i >= 0; i--)
	{
		text[i] = digits[bits & 63];
		bits >>= 6;
	}
	strcpy(text + 6, "==");
}

bool
ob_md5_text(const void *data, size_t len, char *text)
{
	unsigned char digest[16];

	if (EVP_Q_digest(NULL, "MD5", NULL, data, len, digest, NULL) != 1)
	{
		ERR_clear_error(); /* the host's queue as well */
		return false;
	}
	EVP_EncodeBlock((unsigned char *) text, digest, sizeof(digest));
	return true;
}
