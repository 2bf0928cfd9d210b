/*
 * encodings.c
 *		Parquet's encodings of levels, dictionary indices and numbers.
 *
 * src/core/parquet/encodings.c
 *
 * The caller provides enough memory; ob_pq_rle_max() and ob_pq_delta_max()
 * return how much that is.
 *
 * Format: github.com/apache/parquet-format, Encodings.md.
 */
#include <string.h>

#include "core/parquet/parquet_intern.h"

/* A bit-packed run consists of groups of eight values. */
#define GROUP 8
#define VARINT_MAX 10

/* DELTA_BINARY_PACKED: values in a block, and miniblocks in a block. */
#define BLOCK 128
#define MINIBLOCKS 4
#define MINIBLOCK (BLOCK / MINIBLOCKS)

int
ob_pq_width(uint64_t value)
{
	return value ? 64 - __builtin_clzll(value) : 0;
}

uint8_t *
ob_pq_varint(uint8_t *to, uint64_t value)
{
	while (value >= 0x80)
	{
		*to++ = (uint8_t) (value | 0x80);
		value >>= 7;
	}
	*to++ = (uint8_t) value;
	return to;
}

static uint8_t *
put_zigzag(uint8_t *to, int64_t value)
{
	return ob_pq_varint(to, (uint64_t) value << 1 ^ -(uint64_t) (value < 0));
}

/* ---- bit packing ---- */

static inline void
store64(uint8_t *to, uint64_t value)
{
	memcpy(to, &value, sizeof(value));
}

uint8_t *
ob_pq_pack(uint8_t *to, const uint64_t *values, size_t n, int width)
{
	uint64_t held = 0;
	int bits = 0;

	if (width == 0)
		return to;
	for (size_t i = 0; i < n; i++)
	{
		held |= values[i] << bits;
		bits += width;
		if (bits >= 64)
		{
			store64(to, held);
			to += 8;
			bits -= 64;
			/* the bits that did not fit; a shift by 64 would be undefined */
			held = bits ? values[i] >> (width - bits) : 0;
		}
	}
	store64(to, held);
	return to + (bits + 7) / 8;
}

/* ---- RLE/bit-packing hybrid ---- */

size_t
ob_pq_rle_max(size_t n, int width)
{
	size_t groups = (n + GROUP - 1) / GROUP;

	/* Eight values take width bytes in a bit-packed run, and at most 4 bytes
	 * in an RLE run.  There are at most two headers for them: that of an RLE
	 * run, and that of a bit-packed run beside it. */
	return groups * (width + 2 * VARINT_MAX + 4) + 2 * VARINT_MAX + width +
		   OB_PQ_PACK_SLACK;
}

uint8_t *
ob_pq_rle_run(uint8_t *to, uint32_t value, size_t n, int width)
{
	to = ob_pq_varint(to, (uint64_t) n << 1);
	for (int bits = 0; bits < width; bits += 8)
		*to++ = (uint8_t) (value >> bits);
	return to;
}

/* Returns element i of an array whose elements have a size of 1 or 4 bytes. */
static inline __attribute__((always_inline)) uint32_t
element(const void *values, int size, size_t i)
{
	return size == 1 ? ((const uint8_t *) values)[i]
					 : ((const uint32_t *) values)[i];
}

/* Writes the values from "from" up to, but not including, "to" as a bit-packed
 * run.  The last group is padded with zeros. */
static inline __attribute__((always_inline)) uint8_t *
put_packed(uint8_t *out, const void *values, int size, size_t from, size_t to,
		   int width)
{
	size_t groups = (to - from + GROUP - 1) / GROUP;
	uint8_t *begin;
	uint64_t held = 0;
	int bits = 0;

	if (groups == 0)
		return out;
	begin = out = ob_pq_varint(out, (uint64_t) groups << 1 | 1);
	for (size_t i = from; i < to; i++)
	{
		held |= (uint64_t) element(values, size, i) << bits;
		bits += width;
		if (bits >= 32)
		{
			store64(out, held);
			out += 4;
			held >>= 32;
			bits -= 32;
		}
	}
	/* the padding is at most seven values, less than width bytes */
	store64(out, held);
	memset(out + 8, 0, width);
	return begin + groups * width;
}

static inline __attribute__((always_inline)) uint8_t *
put_hybrid(uint8_t *out, const void *values, int size, size_t n, int width)
{
	size_t packed = 0; /* the first value that has not been written */
	size_t i = 0;

	while (i < n)
	{
		uint32_t value = element(values, size, i);
		size_t run = 1;

		while (i + run < n && element(values, size, i + run) == value)
			run++;
		if (run < GROUP)
		{
			i += GROUP;
			continue;
		}
		out = put_packed(out, values, size, packed, i, width);
		out = ob_pq_rle_run(out, value, run, width);
		i += run;
		packed = i;
	}
	return put_packed(out, values, size, packed, n, width);
}

uint8_t *
ob_pq_rle(uint8_t *to, const uint32_t *values, size_t n, int width)
{
	return put_hybrid(to, values, sizeof(uint32_t), n, width);
}

uint8_t *
ob_pq_rle_levels(uint8_t *to, const uint8_t *levels, size_t n, int width)
{
	return put_hybrid(to, levels, sizeof(uint8_t), n, width);
}

/* ---- DELTA_BINARY_PACKED, BYTE_STREAM_SPLIT ---- */

size_t
ob_pq_delta_max(size_t n, int size)
{
	size_t blocks = (n + BLOCK - 1) / BLOCK;

	return 4 * VARINT_MAX +
		   blocks * (VARINT_MAX + MINIBLOCKS + (size_t) BLOCK * size) +
		   OB_PQ_PACK_SLACK;
}

static uint8_t *
put_delta_header(uint8_t *to, size_t n, int64_t first)
{
	to = ob_pq_varint(to, BLOCK);
	to = ob_pq_varint(to, MINIBLOCKS);
	to = ob_pq_varint(to, n);
	return put_zigzag(to, first);
}

/* Returns the difference between a value and the one before it.  As the format
 * demands, it is computed modulo 2^32 or 2^64, and may overflow. */
static inline __attribute__((always_inline)) int64_t
difference(const void *values, int size, size_t i)
{
	const uint32_t *narrow = values;
	const uint64_t *wide = values;

	return size == 4 ? (int32_t) (narrow[i] - narrow[i - 1])
					 : (int64_t) (wide[i] - wide[i - 1]);
}

/* Writes the blocks for all values but the first, of 4 or 8 bytes each. */
static inline __attribute__((always_inline)) uint8_t *
put_differences(uint8_t *to, const void *values, int size, size_t n)
{
	for (size_t at = 1; at < n; at += BLOCK)
	{
		size_t now = n - at < BLOCK ? n - at : BLOCK;
		uint64_t deltas[BLOCK] = {0};
		int64_t least = INT64_MAX;
		uint8_t *widths;

		for (size_t i = 0; i < now; i++)
		{
			int64_t delta = difference(values, size, at + i);

			deltas[i] = (uint64_t) delta;
			if (delta < least)
				least = delta;
		}
		for (size_t i = 0; i < now; i++)
			deltas[i] -= (uint64_t) least;
		to = put_zigzag(to, least);
		widths = to;
		to += MINIBLOCKS;
		for (size_t mini = 0; mini < MINIBLOCKS; mini++)
		{
			const uint64_t *values_of = deltas + mini * MINIBLOCK;
			uint64_t all = 0;

			for (size_t i = 0; i < MINIBLOCK; i++)
				all |= values_of[i];
			widths[mini] = ob_pq_width(all);
			if (mini * MINIBLOCK < now)
				to = ob_pq_pack(to, values_of, MINIBLOCK, widths[mini]);
		}
	}
	return to;
}

uint8_t *
ob_pq_delta32(uint8_t *to, const int32_t *values, size_t n)
{
	to = put_delta_header(to, n, n > 0 ? values[0] : 0);
	return put_differences(to, values, sizeof(int32_t), n);
}

uint8_t *
ob_pq_delta64(uint8_t *to, const int64_t *values, size_t n)
{
	to = put_delta_header(to, n, n > 0 ? values[0] : 0);
	return put_differences(to, values, sizeof(int64_t), n);
}

void
ob_pq_byte_stream_split(uint8_t *to, const uint8_t *values, size_t n, int size)
{
	for (int byte = 0; byte < size; byte++)
	{
		for (size_t i = 0; i < n; i++)
			*to++ = values[i * size + byte];
	}
}
