/*
 * part.c
 *		The parts of an upload: their buffers, checksums and memory.
 *
 * src/core/s3/part.c
 */
#include "core/s3/part.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef USE_GUARD_PAGES
#include <unistd.h>
#endif

/* ---- buffers ---- */

#ifdef USE_GUARD_PAGES

/*
 * In test builds, a buffer ends at the end of its pages, with an inaccessible
 * page on either side, at an unpredictable address, and moves whenever it
 * grows.  So code that writes beyond a window's buffer, or into an old one,
 * crashes.
 */
static size_t
pages(size_t cap)
{
	size_t page = (size_t) sysconf(_SC_PAGESIZE);

	return (cap + page - 1) / page * page;
}

/* Returns pseudo-random numbers, the same in each run, so that addresses go up
 * and down. */
static unsigned
scramble(void)
{
	static unsigned state = 1;

	state = state * 1103515245 + 12345;
	return state >> 16 & 0x7FFF;
}

static char *
alloc_buffer(size_t cap)
{
	size_t page = pages(1);
	size_t inside = pages(cap);
	char *near = (char *) 0x200000000000 + ((size_t) scramble() << 28);
	char *data = mmap(near, inside + 2 * page, PROT_NONE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (data == MAP_FAILED ||
		mprotect(data + page, inside, PROT_READ | PROT_WRITE) != 0)
		return NULL;
	return data + page + inside - cap;
}

static void
free_buffer(char *data, size_t cap)
{
	size_t page = pages(1);

	if (data)
		(void) munmap(data + cap - pages(cap) - page, pages(cap) + 2 * page);
}

static char *
resize_buffer(char *data, size_t old_cap, size_t cap)
{
	char *resized = alloc_buffer(cap);

	if (!resized)
		return NULL;
	memcpy(resized, data, old_cap);
	free_buffer(data, old_cap);
	return resized;
}

#else

/*
 * Buffers have pages of their own, which return to the system after the
 * export.  Memory that is freed through malloc may stay with the process, at
 * least the size of two parts, and there may be hundreds of sessions that
 * exported once.
 */
static char *
alloc_buffer(size_t cap)
{
	char *data = mmap(NULL, cap, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return data == MAP_FAILED ? NULL : data;
}

static char *
resize_buffer(char *data, size_t old_cap, size_t cap)
{
	data = mremap(data, old_cap, cap, MREMAP_MAYMOVE);
	return data == MAP_FAILED ? NULL : data;
}

static void
free_buffer(char *data, size_t cap)
{
	if (data)
		(void) munmap(data, cap);
}

#endif

/* ---- the pool ---- */

bool
ob_parts_init(ObParts *parts, int n, ObS3 *s3, ObChecksum checksum,
			  void (*done)(ObS3Call *call), void *owner)
{
	bool hashed = ob_checksum_is_signed(checksum, ob_s3_endpoint(s3)->https);
	bool ok = true;

	parts->used = 0;
	parts->n = 0;
	parts->parts = calloc((size_t) n, sizeof(ObPart));
	if (!parts->parts)
		return false;
	parts->n = n;
	for (int i = 0; i < n; i++)
	{
		ObPart *part = &parts->parts[i];

		part->owner = owner;
		ob_s3_call_init(&part->call, s3, done, part);
		part->call.checksum = checksum;
		if (hashed && !(part->sha = ob_sha256_new()))
			ok = false;
	}
	return ok;
}

void
ob_parts_free(ObParts *parts)
{
	for (int i = 0; i < parts->n; i++)
	{
		ob_s3_call_free(&parts->parts[i].call);
		ob_sha256_free(parts->parts[i].sha);
		free_buffer(parts->parts[i].data, parts->parts[i].cap);
	}
	free(parts->parts);
	parts->parts = NULL;
	parts->n = 0;
}

void
ob_parts_cancel(ObParts *parts)
{
	for (int i = 0; i < parts->n; i++)
		ob_s3_call_cancel(&parts->parts[i].call);
}

/* ---- memory ---- */

/*
 * Finds an empty part for a buffer of cap bytes: preferably one that has such
 * a buffer, else one that may get one within the memory allowed.  Two buffers
 * are always allowed, since an upload makes no progress with fewer.
 */
static ObPart *
find_part(const ObParts *parts, size_t cap)
{
	ObPart *candidate = NULL;
	size_t idle =
		0; /* bytes in the buffers of empty parts, which can be freed */
	int busy = 0;

	for (int i = 0; i < parts->n; i++)
	{
		ObPart *part = &parts->parts[i];

		if (part->state != OB_PART_EMPTY)
		{
			busy++;
			continue;
		}
		if (part->cap == cap)
			return part;
		candidate = part;
		idle += part->cap;
	}
	if (busy < 2 || parts->used - idle + cap <= parts->memory)
		return candidate;
	return NULL;
}

/* Frees the buffers of empty parts, except those of the size to keep. */
static void
free_idle_buffers(ObParts *parts, size_t keep)
{
	for (int i = 0; i < parts->n; i++)
	{
		ObPart *part = &parts->parts[i];

		if (part->state != OB_PART_EMPTY || part->cap == keep)
			continue;
		parts->used -= part->cap;
		free_buffer(part->data, part->cap);
		part->data = NULL;
		part->cap = 0;
	}
}

static bool
begin_checksums(ObPart *part)
{
	part->hashed = 0;
	part->crc32 = 0;
	return !part->sha || ob_sha256_begin(part->sha);
}

bool
ob_parts_has_room(const ObParts *parts, size_t size, size_t head_len)
{
	return find_part(parts, head_len + size + OB_PART_SLACK) != NULL;
}

ObPart *
ob_parts_begin(ObParts *parts, size_t size, size_t head_len)
{
	size_t cap = head_len + size + OB_PART_SLACK;
	ObPart *part = find_part(parts, cap);

	if (!part)
		return NULL;
	/* other buffers may have grown for a long row */
	if (part->cap != cap || parts->used > parts->memory)
		free_idle_buffers(parts, cap);
	if (part->cap != cap)
	{
		part->data = alloc_buffer(cap);
		if (!part->data)
			return NULL;
		part->cap = cap;
		parts->used += cap;
	}
	part->size = size;
	part->start = head_len;
	part->len = 0;
	part->first = 0;
	part->raw = (ObRaw){0, 0};
	part->number = 0;
	part->state = OB_PART_FILLING;
	return begin_checksums(part) ? part : NULL;
}

ObPart *
ob_parts_next_full(const ObParts *parts)
{
	ObPart *next = NULL;

	for (int i = 0; i < parts->n; i++)
	{
		ObPart *part = &parts->parts[i];

		if (part->state == OB_PART_FULL &&
			(!next || part->number < next->number))
			next = part;
	}
	return next;
}

/* ---- one part ---- */

static bool
grow(ObParts *parts, ObPart *part)
{
	size_t cap = part->cap + part->cap / 2;
	char *data = resize_buffer(part->data, part->cap, cap);

	if (!data)
		return false;
	parts->used += cap - part->cap;
	part->data = data;
	part->cap = cap;
	return true;
}

char *
ob_part_window(ObParts *parts, ObPart *part, bool may_grow, size_t *avail)
{
	*avail = part->cap - part->start - part->len;
	if (*avail < OB_SINK_WINDOW_MIN && may_grow)
	{
		if (!grow(parts, part))
			return NULL;
		*avail = part->cap - part->start - part->len;
	}
	if (*avail > OB_SINK_WINDOW_MAX)
		*avail = OB_SINK_WINDOW_MAX;
	return part->data + part->start + part->len;
}

bool
ob_part_hash(ObPart *part, size_t len)
{
	const char *from = part->data + part->start + part->hashed;
	size_t more;

	if (len <= part->hashed)
		return true;
	more = len - part->hashed;
	part->hashed = len;
	part->crc32 = ob_crc32(part->crc32, from, more);
	return !part->sha || ob_sha256_add(part->sha, from, more);
}

/* Removes bytes at the beginning and the end of the first piece. */
static void
trim_first(ObPart *part, size_t skip, size_t drop)
{
	char *end = part->data + part->start + part->first;

	memmove(end - drop, end, part->len - part->first);
	part->start += skip;
	part->len -= skip + drop;
	part->first -= skip + drop;
}

bool
ob_part_add_head(ObPart *part, const ObHead *head)
{
	if (part->first >= head->skip + head->drop)
		trim_first(part, head->skip, head->drop);
	part->start -= head->len;
	memcpy(part->data + part->start, head->data, head->len);
	part->len += head->len;
	part->first += head->len;
	/* the head precedes bytes that were hashed already; this happens once per
	 * export */
	return begin_checksums(part);
}

bool
ob_part_seal(ObPart *part, char *sha256)
{
	sha256[0] = '\0';
	return ob_part_hash(part, part->len) &&
		   (!part->sha || ob_sha256_end(part->sha, sha256));
}
