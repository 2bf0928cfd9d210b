/*
 * memory.c
 *		Memory of the Parquet writer, with a limit.
 *
 * src/core/parquet/memory.c
 */
#include <stdlib.h>
#include <string.h>

#include "core/parquet/parquet_intern.h"

#define FIRST_CAPACITY 256
/* Buffers up to this size are doubled; larger ones grow by a quarter, so that
 * a value of many megabytes does not take twice its size. */
#define DOUBLING_MAX (1024 * 1024)

/* Takes the first spare segment. */
static ObPqSegment *
take_spare(ObPqMemory *memory)
{
	ObPqSegment *segment = memory->spare;

	memory->spare = segment->next;
	memory->spare_size -= sizeof(*segment);
	return segment;
}

/* Frees spare segments as long as they and "size" more bytes exceed the memory
 * that may be kept. */
static void
make_room(ObPqMemory *memory, size_t size)
{
	while (memory->spare &&
		   memory->used + memory->spare_size + size > memory->kept)
		free(take_spare(memory));
}

void *
ob_pq_resize(ObPqMemory *memory, void *old, size_t old_size, size_t size)
{
	void *new;

	if (size > old_size)
		make_room(memory, size - old_size);
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

/* ---- segments ---- */

static ObPqSegment *
new_segment(ObPqMemory *memory)
{
	if (!memory->spare)
		return ob_pq_resize(memory, NULL, 0, sizeof(ObPqSegment));
	memory->used += sizeof(ObPqSegment);
	return take_spare(memory);
}

static bool
add_segment(ObPqMemory *memory, ObPqSegments *segments)
{
	ObPqSegment *segment = new_segment(memory);

	if (!segment)
		return false;
	segment->next = NULL;
	if (segments->first)
		segments->last->next = segment;
	else
		segments->first = segment;
	segments->last = segment;
	segments->len = 0;
	return true;
}

bool
ob_pq_append(ObPqMemory *memory, ObPqSegments *segments, const void *data,
			 size_t len, ObPqExtent *extent)
{
	const char *from = data;

	while (len > 0)
	{
		size_t n = OB_PQ_SEGMENT_BYTES - segments->len;

		if (!segments->first || n == 0)
		{
			if (!add_segment(memory, segments))
				return false;
			n = OB_PQ_SEGMENT_BYTES;
		}
		if (n > len)
			n = len;
		if (extent->len == 0)
		{
			extent->segment = segments->last;
			extent->offset = segments->len;
		}
		memcpy(segments->last->data + segments->len, from, n);
		segments->len += n;
		extent->len += n;
		from += n;
		len -= n;
	}
	return true;
}

void
ob_pq_segments_reset(ObPqMemory *memory, ObPqSegments *segments)
{
	ObPqSegment *segment = segments->first;

	while (segment)
	{
		ObPqSegment *next = segment->next;

		memory->used -= sizeof(*segment);
		memory->spare_size += sizeof(*segment);
		segment->next = memory->spare;
		memory->spare = segment;
		segment = next;
	}
	*segments = (ObPqSegments){NULL, NULL, 0};
	make_room(memory, 0);
}

void
ob_pq_free_spare(ObPqMemory *memory)
{
	while (memory->spare)
		free(take_spare(memory));
}
