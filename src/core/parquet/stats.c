/*
 * stats.c
 *		Statistics: minima and maxima of pages and column chunks.
 *
 * src/core/parquet/stats.c
 *
 * Readers skip pages and row groups by these bounds, so they would silently
 * miss rows if a bound was wrong.  Values are compared in the order that the
 * format defines for their type: numbers, including decimals, as signed
 * numbers, everything else as unsigned bytes.
 *
 * Values with a NaN among them have no bounds: for some readers, NaN is
 * greater than all numbers, so they would skip it because of a maximum that
 * excludes it.  A minimum of zero is -0.0, and a maximum of zero is +0.0,
 * because the format leaves open which one is greater.
 */
#include <math.h>
#include <string.h>

#include "core/parquet/parquet_intern.h"

ObPqOrder
ob_pq_order_of(const ObPqNode *node)
{
	switch (node->type)
	{
		case OB_PQ_BOOLEAN:
			return OB_PQ_ORDER_BOOLEAN;
		case OB_PQ_INT32:
			return OB_PQ_ORDER_INT32;
		case OB_PQ_INT64:
			return OB_PQ_ORDER_INT64;
		case OB_PQ_FLOAT:
			return OB_PQ_ORDER_FLOAT;
		case OB_PQ_DOUBLE:
			return OB_PQ_ORDER_DOUBLE;
		case OB_PQ_FIXED:
			return node->logical_type == OB_PQ_DECIMAL ? OB_PQ_ORDER_DECIMAL
													   : OB_PQ_ORDER_FIXED;
		default:
			return OB_PQ_ORDER_BYTES;
	}
}

static void
set_bound(ObPqBound *bound, const void *data, size_t len)
{
	bound->truncated = len > OB_PQ_STAT_MAX;
	bound->len = bound->truncated ? OB_PQ_STAT_MAX : len;
	memcpy(bound->data, data, bound->len);
}

static void
set_both(ObPqStats *stats, const void *min, const void *max, size_t len)
{
	set_bound(&stats->min, min, len);
	set_bound(&stats->max, max, len);
	stats->valid = true;
}

/* ---- numbers ---- */

#define ADD_NUMBERS(name, type, field)                              \
	static void name(ObPqStats *stats, const ObPqLeaf *leaf)        \
	{                                                               \
		const type *values = leaf->values.field;                    \
		type least = values[0];                                     \
		type greatest = values[0];                                  \
                                                                    \
		for (int i = 1; i < leaf->nvalues; i++)                     \
		{                                                           \
			least = values[i] < least ? values[i] : least;          \
			greatest = values[i] > greatest ? values[i] : greatest; \
		}                                                           \
		if (stats->valid)                                           \
		{                                                           \
			type held;                                              \
                                                                    \
			memcpy(&held, stats->min.data, sizeof(held));           \
			least = held < least ? held : least;                    \
			memcpy(&held, stats->max.data, sizeof(held));           \
			greatest = held > greatest ? held : greatest;           \
		}                                                           \
		set_both(stats, &least, &greatest, sizeof(type));           \
	}

ADD_NUMBERS(add_boolean, uint8_t, boolean)
ADD_NUMBERS(add_int32, int32_t, i32)
ADD_NUMBERS(add_int64, int64_t, i64)

#define ADD_FLOATS(name, type, field)                                \
	static void name(ObPqStats *stats, const ObPqLeaf *leaf)         \
	{                                                                \
		const type *values = leaf->values.field;                     \
		type least = 0;                                              \
		type greatest = 0;                                           \
                                                                     \
		if (stats->valid)                                            \
		{                                                            \
			memcpy(&least, stats->min.data, sizeof(least));          \
			memcpy(&greatest, stats->max.data, sizeof(greatest));    \
		}                                                            \
		for (int i = 0; i < leaf->nvalues && !stats->unbounded; i++) \
		{                                                            \
			if (isnan(values[i]))                                    \
				stats->unbounded = true;                             \
			if (!stats->valid || values[i] < least)                  \
				least = values[i];                                   \
			if (!stats->valid || values[i] > greatest)               \
				greatest = values[i];                                \
			stats->valid = true;                                     \
		}                                                            \
		if (stats->unbounded)                                        \
		{                                                            \
			stats->valid = false;                                    \
			return;                                                  \
		}                                                            \
		least = least == 0 ? (type) -0.0 : least;                    \
		greatest = greatest == 0 ? (type) 0.0 : greatest;            \
		set_both(stats, &least, &greatest, sizeof(type));            \
	}

ADD_FLOATS(add_float, float, f32)
ADD_FLOATS(add_double, double, f64)

/* ---- bytes ---- */

static uint64_t
first_eight(const uint8_t *data)
{
	uint64_t word;

	memcpy(&word, data, sizeof(word));
	return __builtin_bswap64(word);
}

static int
compare_bytes(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	int order;

	/* the first eight bytes usually differ */
	if (a_len >= 8 && b_len >= 8)
	{
		uint64_t x = first_eight(a);
		uint64_t y = first_eight(b);

		if (x != y)
			return x < y ? -1 : 1;
	}
	order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

/* Compares big-endian numbers in two's complement, whose first byte has the
 * sign. */
static int
compare_decimal(const uint8_t *a, const uint8_t *b, size_t len)
{
	uint8_t first_a = a[0] ^ 0x80;
	uint8_t first_b = b[0] ^ 0x80;

	if (first_a != first_b)
		return first_a < first_b ? -1 : 1;
	return memcmp(a + 1, b + 1, len - 1);
}

/*
 * Returns whether a value is less than a minimum.  A truncated minimum is
 * compared with a prefix of the value that has the same length.  If they are
 * equal, the value is less only if it ends there; otherwise both values would
 * give the same bound.
 */
static bool
is_below(const uint8_t *value, size_t len, const ObPqBound *bound)
{
	size_t kept = bound->truncated && len > bound->len ? bound->len : len;
	int order = compare_bytes(value, kept, bound->data, bound->len);

	return order < 0 || (order == 0 && bound->truncated && len == kept);
}

/* Returns whether a value is greater than a maximum, up to the length at which
 * bounds are truncated. */
static bool
is_above(const uint8_t *value, size_t len, const ObPqBound *bound)
{
	int order;

	if (len > OB_PQ_STAT_MAX)
		order = compare_bytes(value, OB_PQ_STAT_MAX, bound->data, bound->len);
	else
		order = compare_bytes(value, len, bound->data, bound->len);
	if (order == 0)
		return len > OB_PQ_STAT_MAX && !bound->truncated;
	return order > 0;
}

/* Returns whether the page already has the value, and notes that it has. */
static inline bool
is_known(const uint32_t *indices, uint32_t *seen, uint32_t page, int i)
{
	bool known;

	if (!indices)
		return false;
	known = seen[indices[i]] == page;
	seen[indices[i]] = page;
	return known;
}

static void
add_bytes(ObPqStats *stats, const ObPqLeaf *leaf, const uint32_t *indices,
		  uint32_t *seen, uint32_t page)
{
	size_t start = 0;

	for (int i = 0; i < leaf->nvalues; i++)
	{
		const uint8_t *value = (const uint8_t *) leaf->bytes + start;
		size_t len = leaf->values.ends[i] - start;

		start = leaf->values.ends[i];
		if (is_known(indices, seen, page, i))
			continue;
		if (!stats->valid)
			set_both(stats, value, value, len);
		else if (is_below(value, len, &stats->min))
			set_bound(&stats->min, value, len);
		else if (is_above(value, len, &stats->max))
			set_bound(&stats->max, value, len);
	}
}

static int
compare_fixed(ObPqOrder order, const uint8_t *a, const uint8_t *b, size_t len)
{
	return order == OB_PQ_ORDER_DECIMAL ? compare_decimal(a, b, len)
										: memcmp(a, b, len);
}

static void
add_fixed(ObPqStats *stats, ObPqOrder order, const ObPqLeaf *leaf,
		  const uint32_t *indices, uint32_t *seen, uint32_t page)
{
	for (int i = 0; i < leaf->nvalues; i++)
	{
		const uint8_t *value = leaf->values.fixed + (size_t) i * leaf->length;

		if (is_known(indices, seen, page, i))
			continue;
		if (!stats->valid)
			set_both(stats, value, value, leaf->length);
		else if (compare_fixed(order, value, stats->min.data, leaf->length) <
				 0)
			set_bound(&stats->min, value, leaf->length);
		else if (compare_fixed(order, value, stats->max.data, leaf->length) >
				 0)
			set_bound(&stats->max, value, leaf->length);
	}
}

void
ob_pq_stats_add(ObPqStats *stats, ObPqOrder order, const ObPqLeaf *leaf,
				const uint32_t *indices, uint32_t *seen, uint32_t page)
{
	if (leaf->nvalues == 0)
		return;
	switch (order)
	{
		case OB_PQ_ORDER_BOOLEAN:
			add_boolean(stats, leaf);
			break;
		case OB_PQ_ORDER_INT32:
			add_int32(stats, leaf);
			break;
		case OB_PQ_ORDER_INT64:
			add_int64(stats, leaf);
			break;
		case OB_PQ_ORDER_FLOAT:
			add_float(stats, leaf);
			break;
		case OB_PQ_ORDER_DOUBLE:
			add_double(stats, leaf);
			break;
		case OB_PQ_ORDER_BYTES:
			add_bytes(stats, leaf, indices, seen, page);
			break;
		case OB_PQ_ORDER_FIXED:
		case OB_PQ_ORDER_DECIMAL:
			add_fixed(stats, order, leaf, indices, seen, page);
			break;
	}
}

/* ---- merging ---- */

#define COMPARE(type, a, b)               \
	do                                    \
	{                                     \
		type x;                           \
		type y;                           \
                                          \
		memcpy(&x, (a)->data, sizeof(x)); \
		memcpy(&y, (b)->data, sizeof(y)); \
		return (x > y) - (x < y);         \
	} while (0)

int
ob_pq_bound_compare(ObPqOrder order, int length, const ObPqBound *a,
					const ObPqBound *b)
{
	switch (order)
	{
		case OB_PQ_ORDER_BOOLEAN:
			COMPARE(uint8_t, a, b);
		case OB_PQ_ORDER_INT32:
			COMPARE(int32_t, a, b);
		case OB_PQ_ORDER_INT64:
			COMPARE(int64_t, a, b);
		case OB_PQ_ORDER_FLOAT:
			COMPARE(float, a, b);
		case OB_PQ_ORDER_DOUBLE:
			COMPARE(double, a, b);
		case OB_PQ_ORDER_FIXED:
		case OB_PQ_ORDER_DECIMAL:
			return compare_fixed(order, a->data, b->data, length);
		default:
			return compare_bytes(a->data, a->len, b->data, b->len);
	}
}

/* Compares bounds that were not rounded yet: a truncated value is greater than
 * its prefix. */
static int
compare_cut(ObPqOrder order, int length, const ObPqBound *a,
			const ObPqBound *b)
{
	int found = ob_pq_bound_compare(order, length, a, b);

	return found ? found : (int) a->truncated - (int) b->truncated;
}

void
ob_pq_stats_merge(ObPqStats *stats, ObPqOrder order, int length,
				  const ObPqStats *other)
{
	stats->unbounded = stats->unbounded || other->unbounded;
	if (stats->unbounded)
		stats->valid = false;
	if (!other->valid || stats->unbounded)
		return;
	if (!stats->valid)
	{
		*stats = *other;
		return;
	}
	if (compare_cut(order, length, &other->min, &stats->min) < 0)
		stats->min = other->min;
	if (compare_cut(order, length, &other->max, &stats->max) > 0)
		stats->max = other->max;
}

/* Replaces a bound by another one that lies beyond it (beyond > 0), or that is
 * equal (beyond = 0) and exact. */
static void
widen(ObPqBound *bound, const ObPqBound *other, int beyond)
{
	if (beyond > 0 || (beyond == 0 && !other->truncated))
		*bound = *other;
}

void
ob_pq_stats_widen(ObPqStats *stats, ObPqOrder order, int length,
				  const ObPqStats *other)
{
	if (!stats->valid)
	{
		*stats = *other;
		return;
	}
	widen(&stats->min, &other->min,
		  ob_pq_bound_compare(order, length, &stats->min, &other->min));
	widen(&stats->max, &other->max,
		  ob_pq_bound_compare(order, length, &other->max, &stats->max));
}

/* ---- truncated texts ---- */

static bool
is_continuation(uint8_t byte)
{
	return (byte & 0xC0) == 0x80;
}

/* Returns the offset of the last character. */
static int
last_character(const ObPqBound *bound)
{
	int at = bound->len - 1;

	while (at > 0 && is_continuation(bound->data[at]))
		at--;
	return at;
}

/* Returns the length of a character from its first byte; 0 if the byte begins
 * no character, since the text may be invalid UTF-8. */
static int
character_length(uint8_t first)
{
	if (first < 0x80)
		return 1;
	if (is_continuation(first) || first > 0xF4)
		return 0;
	if (first < 0xE0)
		return 2;
	return first < 0xF0 ? 3 : 4;
}

void
ob_pq_bound_round_down(ObPqBound *bound, bool utf8)
{
	int at;

	if (!bound->truncated || !utf8 || bound->len == 0)
		return;
	at = last_character(bound);
	if (at + character_length(bound->data[at]) > bound->len)
		bound->len = at;
}

/* Replaces a character by the next one of the same number of bytes.  Returns
 * false if there is none. */
static bool
next_character(uint8_t *data, int len)
{
	uint32_t code;
	uint32_t last;

	if (character_length(data[0]) != len)
		return false;
	switch (len)
	{
		case 1:
			return data[0] < 0x7F && ++data[0];
		case 2:
			code = (data[0] & 0x1Fu) << 6 | (data[1] & 0x3Fu);
			last = 0x7FF;
			break;
		case 3:
			code = (data[0] & 0x0Fu) << 12 | (data[1] & 0x3Fu) << 6 |
				   (data[2] & 0x3Fu);
			last = 0xFFFF;
			break;
		default:
			code = (data[0] & 0x07u) << 18 | (data[1] & 0x3Fu) << 12 |
				   (data[2] & 0x3Fu) << 6 | (data[3] & 0x3Fu);
			last = 0x10FFFF;
			break;
	}
	if (code >= last)
		return false;
	/* skip surrogates, which are no characters */
	code = code == 0xD7FF ? 0xE000 : code + 1;
	for (int i = len - 1; i > 0; i--)
	{
		data[i] = 0x80 | (code & 0x3F);
		code >>= 6;
	}
	data[0] = (uint8_t) (0xF0 << (4 - len)) | code;
	return true;
}

bool
ob_pq_bound_round_up(ObPqBound *bound, bool utf8)
{
	if (!bound->truncated)
		return true;
	ob_pq_bound_round_down(bound, utf8);
	while (bound->len > 0)
	{
		int at = utf8 ? last_character(bound) : bound->len - 1;

		if (utf8 ? next_character(bound->data + at, bound->len - at)
				 : ++bound->data[at] != 0)
			return true;
		bound->len = at;
	}
	return false;
}
