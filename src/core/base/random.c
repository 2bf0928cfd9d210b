/*
 * random.c
 *		Random numbers of libcrypto's generator.
 *
 * src/core/base/random.c
 */
#include "core/base/random.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdint.h>

bool
ob_random_bytes(void *data, size_t len)
{
	if (RAND_bytes(data, (int) len) == 1)
		return true;
	ERR_clear_error(); /* the host shares this queue */
	return false;
}

double
ob_random_fraction(void)
{
	uint32_t value;

	if (!ob_random_bytes(&value, sizeof(value)))
		return 0.5;
	return (double) value / ((double) UINT32_MAX + 1.0);
}
