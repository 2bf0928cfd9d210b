/*
 * pages.c
 *		mmap() by malloc(), so that ASan checks the bounds of the memory.
 *
 * test/core/pages.c
 *
 * run.sh links this file into all tests, which use mmap() only for anonymous
 * memory.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "testing.h"

extern void *__wrap_mmap(void *address, size_t len, int protection, int flags,
						 int file, off_t offset);
extern void *__wrap_mremap(void *old, size_t old_len, size_t len, int flags,
						   ...);
extern int __wrap_munmap(void *address, size_t len);

void *
__wrap_mmap(void *address, size_t len, int protection, int flags, int file,
			off_t offset)
{
	void *pages = malloc(len);

	assert_true(flags & MAP_ANONYMOUS);
	if (!pages)
		return MAP_FAILED;
	return pages;
}

void *
__wrap_mremap(void *old, size_t old_len, size_t len, int flags, ...)
{
	void *pages = realloc(old, len);

	if (!pages)
		return MAP_FAILED;
	return pages;
}

int
__wrap_munmap(void *address, size_t len)
{
	free(address);
	return 0;
}
