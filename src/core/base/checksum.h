/*
 * checksum.h
 *		What proves to the store that a part came as it was sent.
 *
 * src/core/base/checksum.h
 *
 * SHA-256 goes into the signature, which every store verifies.  A CRC travels
 * in x-amz-checksum-crc32, is far cheaper, and AWS combines those of the parts
 * to one of the whole object; then the payload need not be hashed for the
 * signature, provided that TLS protects it.  Over http the payload is always
 * hashed.  The CRC is that of gzip, by ISA-L; zlib combines.
 *
 * MD5 travels in Content-MD5, which S3 has had from its beginning: stores that
 * know no CRC take it, and some ask for it where objects are locked.  See
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
 */
#ifndef OB_CHECKSUM_H
#define OB_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ObChecksum
{
	OB_CHECKSUM_AUTO,   /* over https CRC32 on AWS, MD5 at Backblaze; else
						 * SHA256 */
	OB_CHECKSUM_SHA256, /* signed */
	OB_CHECKSUM_CRC32,
	OB_CHECKSUM_MD5,
	OB_CHECKSUM_NONE /* over https; over http as SHA256 */
} ObChecksum;

/* The text of x-amz-checksum-crc32: base64 of 4 bytes, and a NUL. */
#define OB_CRC32_TEXT 9

/* Whether the body's SHA-256 is signed; else it is UNSIGNED-PAYLOAD.  Not for
 * AUTO. */
extern bool ob_checksum_is_signed(ObChecksum checksum, bool https);

/* Goes on from that of the bytes before, 0 at first. */
extern uint32_t ob_crc32(uint32_t crc, const void *data, size_t len);

/* Of a followed by b, which has len bytes. */
extern uint32_t ob_crc32_combine(uint32_t a, uint32_t b, uint64_t len);

/* How long bytes are before they are compressed, and their CRC-32, which is
 * computed where a codec asks for it. */
typedef struct ObRaw
{
	uint64_t len;
	uint32_t crc32;
} ObRaw;

/* Makes it that of its bytes followed by the others. */
extern void ob_raw_add(ObRaw *raw, const ObRaw *next);

/* As x-amz-checksum-crc32 has it: OB_CRC32_TEXT bytes. */
extern void ob_crc32_text(uint32_t crc, char *text);

/* The text of Content-MD5: base64 of 16 bytes, and a NUL. */
#define OB_MD5_TEXT 25

/* False if there is no MD5: OpenSSL has none where it is FIPS's. */
extern bool ob_md5_text(const void *data, size_t len, char *text);

/* By an option's name: "auto", "sha256", "crc32", "md5", "none". */
extern bool ob_checksum_parse(const char *name, ObChecksum *checksum);

#endif
