/*
 * text.h
 *		Texts that may be NULL.
 *
 * src/core/base/text.h
 */
#ifndef OB_TEXT_H
#define OB_TEXT_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"

/* Two NULLs are equal. */
static inline bool
ob_text_equal(const char *a, const char *b)
{
	if (!a || !b)
		return a == b;
	return strcmp(a, b) == 0;
}

/* Copies with malloc; NULL stays NULL. */
static inline OB_MUST_CHECK ObCode
ob_text_copy(char **to, const char *text, ObError *error)
{
	size_t size = text ? strlen(text) + 1 : 0;

	*to = NULL;
	if (!text)
		return OB_OK;
	*to = malloc(size);
	if (!*to)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	memcpy(*to, text, size);
	return OB_OK;
}

#endif
