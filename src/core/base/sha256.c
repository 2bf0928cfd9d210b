/*
 * sha256.c
 *		SHA-256 of bytes that come piece by piece.
 *
 * src/core/base/sha256.c
 *
 * Fetching the algorithm is slow in OpenSSL 3, so each object does it once.
 */
#include "core/base/sha256.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define DIGEST_LEN 32

struct ObSha256
{
	EVP_MD *algorithm;
	EVP_MD_CTX *context;
};

/* The host shares OpenSSL's queue of errors, and would find ours in it. */
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
	static const char digits[] = "0123456789abcdef";
	unsigned char digest[DIGEST_LEN];

	if (!done(EVP_DigestFinal_ex(sha->context, digest, NULL)))
		return false;
	for (int i = 0; i < DIGEST_LEN; i++)
	{
		hex[2 * i] = digits[digest[i] >> 4];
		hex[2 * i + 1] = digits[digest[i] & 15];
	}
	hex[2 * DIGEST_LEN] = '\0';
	return true;
}
