/*
 * fuzz.h
 *		What the fuzz targets share.
 *
 * test/fuzz/fuzz.h
 *
 * libFuzzer calls LLVMFuzzerTestOneInput() with one input after another, under
 * ASan and UBSan.  A target hands it to the code and checks what that
 * promises: abort() is a finding, as a crash and a leak are.
 */
#ifndef OB_FUZZ_H
#define OB_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define promise(condition) ((condition) ? (void) 0 : abort())

/* The input as a text, up to its first NUL; to be freed. */
static inline char *
fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	promise(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

/* Whether a NUL ends the text within that many bytes. */
static inline bool
fuzz_ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static inline bool
fuzz_is_printable(const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (*text < 0x20 || *text > 0x7E)
			return false;
	}
	return true;
}

/* A call's code and error are of one mind. */
static inline void
fuzz_check_error(ObCode code, const ObError *error)
{
	promise(code == error->code);
	promise(fuzz_ends(error->what, sizeof(error->what)));
	promise(fuzz_ends(error->cause, sizeof(error->cause)));
	promise((code == OB_OK) == (error->cause[0] == '\0'));
}

#endif
