/*
 * dictionary.c
 *		Dictionaries: the distinct values of a column chunk.
 *
 * src/core/parquet/dictionary.c
 *
 * A hash table with open addressing maps values to their indices.  A slot has
 * half of the value's hash beside the index, so that a search hardly ever
 * compares different values.
 */
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/parquet/parquet_intern.h"

#define FIRST_SLOTS 32
#define ONE_BYTE_TEXTS 256
/* The slot of a number is prefetched into the cache this many values ahead. */
#define PREFETCH_DISTANCE 16
#define NO_INDEX UINT32_MAX

static uint64_t
hash_number(uint64_t value)
{
	value *= UINT64_C(0x9E3779B97F4A7C15);
	return value ^ value >> 32;
}

/* ---- memory ---- */

static bool
new_slots(ObPqDictionary *dictionary, uint32_t n)
{
	uint64_t *slots =
		ob_pq_resize(dictionary->memory, NULL, 0, n * sizeof(uint64_t));

	if (!slots)
		return false;
	memset(slots, 0, n * sizeof(uint64_t));
	dictionary->slots = slots;
	dictionary->mask = n - 1;
	return true;
}

bool
ob_pq_dictionary_init(ObPqDictionary *dictionary, ObPqMemory *memory, int size)
{
	dictionary->memory = memory;
	dictionary->size = size;
	return new_slots(dictionary, FIRST_SLOTS);
}

void
ob_pq_dictionary_reset(ObPqDictionary *dictionary)
{
	memset(dictionary->slots, 0, (dictionary->mask + 1) * sizeof(uint64_t));
	if (dictionary->one_byte)
		memset(dictionary->one_byte, 0, ONE_BYTE_TEXTS * sizeof(uint32_t));
	dictionary->n = 0;
	dictionary->plain.len = 0;
	dictionary->starts.len = 0;
	dictionary->seen.len = 0;
}

bool
ob_pq_dictionary_shrink(ObPqDictionary *dictionary)
{
	ObPqMemory *memory = dictionary->memory;
	int size = dictionary->size;

	ob_pq_dictionary_free(dictionary);
	memset(dictionary, 0, sizeof(*dictionary));
	return ob_pq_dictionary_init(dictionary, memory, size);
}

void
ob_pq_dictionary_free(ObPqDictionary *dictionary)
{
	if (!dictionary->memory)
		return;
	ob_pq_release(dictionary->memory, dictionary->slots,
				  ((size_t) dictionary->mask + 1) * sizeof(uint64_t));
	ob_pq_release(dictionary->memory, dictionary->one_byte,
				  ONE_BYTE_TEXTS * sizeof(uint32_t));
	ob_pq_bytes_free(dictionary->memory, &dictionary->plain);
	ob_pq_bytes_free(dictionary->memory, &dictionary->starts);
	ob_pq_bytes_free(dictionary->memory, &dictionary->seen);
}

/* Doubles the number of slots.  The half of the hash that a slot has is enough
 * to find its new place, since there are always fewer than 2^32 slots. */
static bool
grow(ObPqDictionary *dictionary)
{
	uint64_t *old = dictionary->slots;
	uint32_t n = dictionary->mask + 1;

	if (!new_slots(dictionary, n * 2))
		return false;
	for (uint32_t i = 0; i < n; i++)
	{
		uint32_t at = (uint32_t) (old[i] >> 32) & dictionary->mask;

		if (old[i] == 0)
			continue;
		while (dictionary->slots[at] != 0)
			at = (at + 1) & dictionary->mask;
		dictionary->slots[at] = old[i];
	}
	ob_pq_release(dictionary->memory, old, n * sizeof(uint64_t));
	return true;
}

/* ---- values ---- */

/* Compares short values by overlapping loads, which is faster than memcmp().
 */
static inline bool
is_same(const uint8_t *a, const uint8_t *b, size_t len)
{
	uint64_t words[4];
	uint32_t halves[4];

	if (len > 16)
		return memcmp(a, b, len) == 0;
	if (len >= 8)
	{
		memcpy(&words[0], a, 8);
		memcpy(&words[1], b, 8);
		memcpy(&words[2], a + len - 8, 8);
		memcpy(&words[3], b + len - 8, 8);
		return words[0] == words[1] && words[2] == words[3];
	}
	if (len >= 4)
	{
		memcpy(&halves[0], a, 4);
		memcpy(&halves[1], b, 4);
		memcpy(&halves[2], a + len - 4, 4);
		memcpy(&halves[3], b + len - 4, 4);
		return halves[0] == halves[1] && halves[2] == halves[3];
	}
	return len == 0 || (a[0] == b[0] && a[len / 2] == b[len / 2] &&
						a[len - 1] == b[len - 1]);
}

static inline __attribute__((always_inline)) bool
is_value(const ObPqDictionary *dictionary, bool fixed, uint32_t index,
		 const void *value, size_t len)
{
	const uint8_t *plain = dictionary->plain.data;
	uint32_t start;
	uint32_t held;

	if (fixed)
		return is_same(plain + (size_t) index * len, value, len);
	start = ((const uint32_t *) dictionary->starts.data)[index];
	memcpy(&held, plain + start, sizeof(held));
	return held == len &&
		   memcmp(plain + start + sizeof(held), value, len) == 0;
}

/* Adds the entry of a new value, which no page has yet, to "seen". */
static bool
add_seen(ObPqDictionary *dictionary)
{
	const uint32_t never = 0;
	uint8_t *to =
		ob_pq_reserve(dictionary->memory, &dictionary->seen, sizeof(never));

	if (!to)
		return false;
	memcpy(to, &never, sizeof(never));
	dictionary->seen.len += sizeof(never);
	return true;
}

static bool
append_value(ObPqDictionary *dictionary, const void *value, size_t len)
{
	ObPqBytes *plain = &dictionary->plain;
	uint32_t start = plain->len;
	uint32_t prefix = len;
	uint8_t *to = ob_pq_reserve(dictionary->memory, plain,
								len + sizeof(prefix) + OB_PQ_BYTES_SLACK);

	if (!to)
		return false;
	if (!dictionary->size)
	{
		ObPqBytes *starts = &dictionary->starts;
		uint8_t *at = ob_pq_reserve(dictionary->memory, starts, sizeof(start));

		if (!at)
			return false;
		memcpy(at, &start, sizeof(start));
		starts->len += sizeof(start);
		memcpy(to, &prefix, sizeof(prefix));
		to += sizeof(prefix);
		plain->len += sizeof(prefix);
	}
	memcpy(to, value, len);
	plain->len += len;
	dictionary->n++;
	return add_seen(dictionary);
}

static inline void
prefetch_slot(const ObPqDictionary *dictionary, uint64_t hash)
{
	__builtin_prefetch(&dictionary->slots[(uint32_t) hash & dictionary->mask]);
}

/* Adds a new value.  Returns its index; NO_INDEX on error. */
static __attribute__((noinline)) uint32_t
add_new(ObPqDictionary *dictionary, uint64_t hash, const void *value,
		size_t len)
{
	uint32_t half = (uint32_t) hash;
	uint32_t at = half & dictionary->mask;

	if (!append_value(dictionary, value, len))
		return NO_INDEX;
	while (dictionary->slots[at] != 0)
		at = (at + 1) & dictionary->mask;
	dictionary->slots[at] = (uint64_t) half << 32 | dictionary->n;
	if (dictionary->n > dictionary->mask / 2 && !grow(dictionary))
		return NO_INDEX;
	return dictionary->n - 1;
}

/* Returns the index of a value, which is added if it is new; NO_INDEX on
 * error.  "fixed" tells whether all values have the same length. */
static inline __attribute__((always_inline)) uint32_t
index_of(ObPqDictionary *dictionary, bool fixed, uint64_t hash,
		 const void *value, size_t len)
{
	const uint64_t *slots = dictionary->slots;
	uint32_t mask = dictionary->mask;
	uint32_t half = (uint32_t) hash;
	uint64_t slot;

	for (uint32_t at = half & mask; (slot = slots[at]) != 0;
		 at = (at + 1) & mask)
	{
		uint32_t index = (uint32_t) slot - 1;

		if ((uint32_t) (slot >> 32) == half &&
			is_value(dictionary, fixed, index, value, len))
			return index;
	}
	return add_new(dictionary, hash, value, len);
}

static inline uint64_t
number(const uint8_t *values, size_t size, int i)
{
	uint64_t value = 0;

	memcpy(&value, values + i * size, size);
	return value;
}

/* Adds numbers of "size" bytes, 4 or 8. */
static inline __attribute__((always_inline)) bool
add_numbers(ObPqDictionary *dictionary, const ObPqLeaf *leaf, size_t size,
			uint32_t *indices)
{
	const uint8_t *values = leaf->values.fixed;
	int n = leaf->nvalues;

	for (int i = 0; i < n; i++)
	{
		uint64_t hash = hash_number(number(values, size, i));

		if (i + PREFETCH_DISTANCE < n)
			prefetch_slot(
				dictionary,
				hash_number(number(values, size, i + PREFETCH_DISTANCE)));
		indices[i] = index_of(dictionary, true, hash, values + i * size, size);
		if (indices[i] == NO_INDEX)
			return false;
	}
	return true;
}

static bool
add_fixed(ObPqDictionary *dictionary, const ObPqLeaf *leaf, uint32_t *indices)
{
	for (int i = 0; i < leaf->nvalues; i++)
	{
		const uint8_t *value = leaf->values.fixed + (size_t) i * leaf->length;

		indices[i] =
			index_of(dictionary, true, XXH3_64bits(value, leaf->length), value,
					 leaf->length);
		if (indices[i] == NO_INDEX)
			return false;
	}
	return true;
}

static bool
note_one_byte_text(ObPqDictionary *dictionary, uint8_t value, uint32_t index)
{
	size_t size = ONE_BYTE_TEXTS * sizeof(uint32_t);

	if (!dictionary->one_byte)
	{
		dictionary->one_byte = ob_pq_resize(dictionary->memory, NULL, 0, size);
		if (!dictionary->one_byte)
			return false;
		memset(dictionary->one_byte, 0, size);
	}
	dictionary->one_byte[value] = index + 1;
	return true;
}

static bool
add_bytes(ObPqDictionary *dictionary, const ObPqLeaf *leaf, uint32_t *indices)
{
	size_t start = 0;

	for (int i = 0; i < leaf->nvalues; i++)
	{
		const uint8_t *value = (const uint8_t *) leaf->bytes + start;
		size_t len = leaf->values.ends[i] - start;

		start = leaf->values.ends[i];
		if (len == 1 && dictionary->one_byte &&
			dictionary->one_byte[value[0]] != 0)
		{
			indices[i] = dictionary->one_byte[value[0]] - 1;
			continue;
		}
		indices[i] =
			index_of(dictionary, false, XXH3_64bits(value, len), value, len);
		if (indices[i] == NO_INDEX)
			return false;
		if (len == 1 && !note_one_byte_text(dictionary, value[0], indices[i]))
			return false;
	}
	return true;
}

bool
ob_pq_dictionary_add(ObPqDictionary *dictionary, const ObPqLeaf *leaf,
					 uint32_t *indices)
{
	switch (leaf->type)
	{
		case OB_PQ_INT32:
		case OB_PQ_FLOAT:
			return add_numbers(dictionary, leaf, 4, indices);
		case OB_PQ_INT64:
		case OB_PQ_DOUBLE:
			return add_numbers(dictionary, leaf, 8, indices);
		case OB_PQ_FIXED:
			return add_fixed(dictionary, leaf, indices);
		default:
			return add_bytes(dictionary, leaf, indices);
	}
}
