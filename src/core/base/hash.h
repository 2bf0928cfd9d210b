/*
 * hash.h
 *		Checksums and hashes, and which of them an upload sends.
 *
 * src/core/base/hash.h
 *
 * The integrity of a part is proven by a signed SHA-256, which every store
 * verifies, or by a CRC-32.  The CRC travels in x-amz-checksum-crc32, is far
 * cheaper, and AWS combines those of the parts to one of the whole object;
 * then the payload need not be hashed for the signature, provided that TLS
 * protects it.  Over http the payload is always hashed.  The CRC is gzip's.
 * ISA-L computes it; zlib combines two of them.
 *
 * MD5 travels in Content-MD5, which S3 has had from its beginning: stores
 * without CRC support accept it, and some require it for locked objects.  See
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
 */
#ifndef OB_HASH_H
#define OB_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

typedef enum ObChecksum
{
	OB_CHECKSUM_AUTO,   /* over https CRC32 on AWS, MD5 at Backblaze; else
						 * SHA256 */
	OB_CHECKSUM_SHA256, /* signed */
	OB_CHECKSUM_CRC32,
	OB_CHECKSUM_MD5,
	OB_CHECKSUM_NONE /* over https; over http as SHA256 */
} ObChecksum;

/* Reads an option's name: "auto", "sha256", "crc32", "md5", "none". */
extern bool ob_checksum_parse(const char *name, ObChecksum *checksum);

/* Whether the body's SHA-256 is signed; else it is UNSIGNED-PAYLOAD.  The
 * checksum is not AUTO. */
extern bool ob_checksum_is_signed(ObChecksum checksum, bool https);

/* ---- hexadecimal ---- */

/* Writes lower-case digits, two for each byte, and a NUL. */
extern void ob_hex(const void *data, size_t len, char *out);

/* ---- CRC-32 ---- */

/* The text of x-amz-checksum-crc32: base64 of 4 bytes, and a NUL. */
#define OB_CRC32_TEXT 9

/* Continues a CRC, which is 0 before the first byte. */
extern uint32_t ob_crc32(uint32_t crc, const void *data, size_t len);

/* Ends a use of ISA-L, whose AVX-512 code does not clear the upper halves of
 * the vector registers.  Until they are cleared, some processors execute SSE
 * instructions, of which all our code consists, many times slower. */
extern void ob_isal_end(void);

/* Returns the CRC of a followed by b, given b's length. */
extern uint32_t ob_crc32_combine(uint32_t a, uint32_t b, uint64_t len);

/* Writes OB_CRC32_TEXT bytes. */
extern void ob_crc32_text(uint32_t crc, char *text);

/* Reads such a text; returns false if it is none. */
extern bool ob_crc32_parse(const char *text, uint32_t *crc);

/* The length of some bytes before compression, and their CRC-32, which is
 * computed if the codec needs it. */
typedef struct ObRaw
{
	uint64_t len;
	uint32_t crc32;
} ObRaw;

/* Appends the bytes that "next" describes. */
extern void ob_raw_add(ObRaw *raw, const ObRaw *next);

/* ---- MD5 ---- */

/* The text of Content-MD5: base64 of 16 bytes, and a NUL. */
#define OB_MD5_TEXT 25

/* Returns false if MD5 is unavailable, as in OpenSSL's FIPS mode. */
extern bool ob_md5_text(const void *data, size_t len, char *text);

/* ---- SHA-256 ---- */

#define OB_SHA256_LEN 32
#define OB_SHA256_HEX (2 * OB_SHA256_LEN + 1)
#define OB_SHA256_EMPTY \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* Writes OB_SHA256_LEN bytes. */
extern ObCode ob_sha256(const void *data, size_t len, unsigned char *out,
						ObError *error) OB_MUST_CHECK;

/* Writes OB_SHA256_HEX bytes; "" if it fails. */
extern ObCode ob_sha256_hex(const void *data, size_t len, char *out,
							ObError *error) OB_MUST_CHECK;

/* Writes OB_SHA256_LEN bytes, which may take the place of the key. */
extern ObCode ob_hmac_sha256(const unsigned char *key, size_t key_len,
							 const void *data, size_t len, unsigned char *out,
							 ObError *error) OB_MUST_CHECK;

/*
 * SHA-256 of a stream of bytes.  A part is hashed while it is filled, a window
 * at a time, when its bytes are still in the processor's cache, and so its end
 * needs no pause.
 */
typedef struct ObSha256 ObSha256;

/* NULL if out of memory. */
extern ObSha256 *ob_sha256_new(void);
extern void ob_sha256_free(ObSha256 *sha);

/* Starts a new hash; the first call, or one that discards the hash so far. */
extern bool ob_sha256_begin(ObSha256 *sha);
extern bool ob_sha256_add(ObSha256 *sha, const void *data, size_t len);

/* Writes OB_SHA256_HEX bytes. */
extern bool ob_sha256_end(ObSha256 *sha, char *hex);

#endif
