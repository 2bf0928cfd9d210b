/*
 * testing.h
 *		Shared code of the unit tests: cmocka, and some assertions.
 *
 * test/core/testing.h
 *
 * A program whose head contains
 *
 *		 * link: -Wl,--wrap=malloc
 *
 * and that defines TESTING_MALLOC gets a malloc that fails on demand, in
 * src/core and in the test itself.
 */
#ifndef OB_TESTING_H
#define OB_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/error.h"

/* cmocka 2 replaces this by two others, and cmocka 1 has only this. */
#undef assert_in_range
#define assert_in_range(value, minimum, maximum) \
	assert_in_range_at(value, minimum, maximum, __FILE__, __LINE__)

static inline void
assert_in_range_at(uintmax_t value, uintmax_t minimum, uintmax_t maximum,
				   const char *file, int line)
{
	if (value >= minimum && value <= maximum)
		return;
	print_error("%ju is not in the range from %ju to %ju\n", value, minimum,
				maximum);
	_fail(file, line);
}

static uint64_t random_state = 88172645463325252u;

/* xorshift64: the same numbers in every run. */
static inline uint64_t
next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The code is this one, and the cause contains that text. */
#define assert_error(error, code_, part) \
	assert_error_at(error, code_, part, __FILE__, __LINE__)

static inline void
assert_error_at(const ObError *error, ObCode code, const char *part,
				const char *file, int line)
{
	if (error->code == code && strstr(error->cause, part) != NULL)
		return;
	print_error("code %s instead of %s, cause \"%s\", wanted \"%s\"\n",
				ob_code_name(error->code), ob_code_name(code), error->cause,
				part);
	_fail(file, line);
}

/* An assertion for tables, which prints the row that failed. */
#define assert_row(row, condition)                        \
	do                                                    \
	{                                                     \
		if (!(condition))                                 \
		{                                                 \
			print_error("row %s: %s\n", row, #condition); \
			_fail(__FILE__, __LINE__);                    \
		}                                                 \
	} while (0)

#ifdef TESTING_MALLOC

/* The number of calls that succeed from now on; negative: all. */
static long malloc_budget = -1;

extern void *__real_malloc(size_t size);
extern void *__wrap_malloc(size_t size);

void *
__wrap_malloc(size_t size)
{
	if (malloc_budget == 0)
		return NULL;
	if (malloc_budget > 0)
		malloc_budget--;
	return __real_malloc(size);
}

#endif

#endif
