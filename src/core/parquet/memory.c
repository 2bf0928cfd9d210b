/*
 * memory.c
 *		Memory of the Parquet writer, with a limit.
 *
 * src/core/parquet/memory.c
 */
#include <stdlib.h>

#include "core/parquet/parquet_intern.h"

#define FIRST_CAPACITY 256
/* Buffers up to this size are doubled; larger ones grow by a quarter, so that
 * a value of many megabytes does not take twice its size. */
#define DOUBLING_MAX (1024 * 1024)

void *
ob_pq_resize(ObPqMemory *memory, void *old, size_t old_size, size_t size)
{
	void *new;

	if (size > old_size && memory->used + size - old_size > memory->limit)
	{
		memory->over = true;
		return NULL;
	}
	new = realloc(old, size);
	if (new)
		memory->used = memory->used - old_size + size;
	return new;
}

void
ob_pq_release(ObPqMemory *memory, void *old, size_t size)
{
	if (!old)
		return;
	memory->used -= size;
	free(old);
}

ObCode
ob_pq_no_memory(const ObPqMemory *memory, ObError *error)
{
	if (!memory->over)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	return ob_error_set(error, OB_ELIMIT,
						"a row, or the metadata of the columns, needs more "
						"than %zu bytes of memory",
						memory->limit);
}

static size_t
grown(const ObPqBytes *bytes, size_t need)
{
	size_t capacity = bytes->capacity;

	if (capacity < FIRST_CAPACITY)
		capacity = FIRST_CAPACITY;
	else if (capacity < DOUBLING_MAX)
		capacity *= 2;
	else
		capacity += capacity / 4;
	return capacity > need ? capacity : need;
}

uint8_t *
ob_pq_more(ObPqMemory *memory, ObPqBytes *bytes, size_t n)
{
	size_t need = bytes->len + n;
	size_t capacity = grown(bytes, need);
	uint8_t *data =
		ob_pq_resize(memory, bytes->data, bytes->capacity, capacity);

	if (!data && capacity > need)
	{
		memory->over = false;
		capacity = need;
		data = ob_pq_resize(memory, bytes->data, bytes->capacity, capacity);
	}
	if (!data)
		return NULL;
	bytes->data = data;
	bytes->capacity = capacity;
	return data + bytes->len;
}

void
ob_pq_bytes_free(ObPqMemory *memory, ObPqBytes *bytes)
{
	ob_pq_release(memory, bytes->data, bytes->capacity);
	*bytes = (ObPqBytes){NULL, 0, 0};
}
