/*
 * starving.h
 *		Memory that runs out after so many allocations.
 *
 * test/core/starving.h
 *
 * A test that includes it is linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup
 */
#ifndef STARVING_H
#define STARVING_H

#include <stdbool.h>
#include <stddef.h>

static long budget = -1; /* allocations that succeed; negative: all */

static bool
is_spent(void)
{
	if (budget == 0)
		return true;
	if (budget > 0)
		budget--;
	return false;
}

extern void *__real_malloc(size_t size);
extern void *__real_calloc(size_t n, size_t size);
extern void *__real_realloc(void *old, size_t size);
extern char *__real_strdup(const char *text);
extern void *__wrap_malloc(size_t size);
extern void *__wrap_calloc(size_t n, size_t size);
extern void *__wrap_realloc(void *old, size_t size);
extern char *__wrap_strdup(const char *text);

void *
__wrap_malloc(size_t size)
{
	return is_spent() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return is_spent() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *old, size_t size)
{
	return is_spent() ? NULL : __real_realloc(old, size);
}

char *
__wrap_strdup(const char *text)
{
	return is_spent() ? NULL : __real_strdup(text);
}

#endif
