/*
 * random.h
 *		Random numbers of libcrypto's generator.
 *
 * src/core/base/random.h
 */
#ifndef OB_RANDOM_H
#define OB_RANDOM_H

#include <stdbool.h>
#include <stddef.h>

/* Fills the memory; returns false if libcrypto has no random numbers. */
extern bool ob_random_bytes(void *data, size_t len);

/* Returns a number in [0, 1) for delays, so that retries of many processes
 * spread; 0.5 if libcrypto has no random numbers. */
extern double ob_random_fraction(void);

#endif
