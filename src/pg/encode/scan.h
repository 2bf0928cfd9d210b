/*
 * scan.h
 *		The search for bytes that a format must quote or escape.
 *
 * src/pg/encode/scan.h
 *
 * Most values have no such byte, so the first question is only whether there
 * is one.  Values are searched in blocks, the last of which overlaps the one
 * before, so that no byte is left over: a block is a hit if it has one of up
 * to four given bytes, or one below a blank, where control characters matter.
 * Only then is the byte looked up.
 *
 * The blocks are GCC's vector types, so the code is the same on each
 * processor.
 */
#ifndef OB_SCAN_H
#define OB_SCAN_H

#include "mb/pg_wchar.h"

#define OB_SCAN_BYTES 4

typedef struct ObScan
{
	uint8 set[256]; /* not 0 for bytes that are looked for */
	/* The bytes that blocks are searched for, at least all of the set: each
	 * sixteen times. */
	uint8 bytes[OB_SCAN_BYTES][16];
	bool controls; /* all bytes below a blank are looked for, too */
	int nbytes;
	int encoding; /* -1, or an encoding whose characters may hold ASCII bytes
				   */
} ObScan;

typedef uint8 ObBlock16 __attribute__((vector_size(16)));
typedef uint64 ObBlock2x8 __attribute__((vector_size(16)));

/* Adds a byte to the set, with its mark. */
extern void ob_scan_add(ObScan *scan, uint8 byte, uint8 mark);

/* Sets all bits of those bytes of a block that are hits. */
static inline ObBlock16
ob_scan_mask(const ObScan *scan, ObBlock16 block)
{
	ObBlock16 bytes[OB_SCAN_BYTES];
	ObBlock16 hit;

	memcpy(bytes, scan->bytes, sizeof(bytes));
	hit = (ObBlock16) (block == bytes[0]) | (ObBlock16) (block == bytes[1]) |
		  (ObBlock16) (block == bytes[2]) | (ObBlock16) (block == bytes[3]);
	if (scan->controls)
		hit |= (ObBlock16) (block < ' ');
	return hit;
}

static inline bool
ob_scan_any(ObBlock16 mask)
{
	uint64 halves[2];

	memcpy(halves, &mask, sizeof(mask));
	return (halves[0] | halves[1]) != 0;
}

static inline bool
ob_scan_block(const ObScan *scan, ObBlock16 block)
{
	return ob_scan_any(ob_scan_mask(scan, block));
}

static inline bool
ob_scan_block16(const ObScan *scan, const char *data)
{
	ObBlock16 block;

	memcpy(&block, data, sizeof(block));
	return ob_scan_block(scan, block);
}

/* Searches 8 to 15 bytes, as two pieces that overlap. */
static inline bool
ob_scan_block8(const ObScan *scan, const char *data, size_t len)
{
	uint64 pieces[2];

	memcpy(&pieces[0], data, 8);
	memcpy(&pieces[1], data + len - 8, 8);
	return ob_scan_block(scan, (ObBlock16) (ObBlock2x8){pieces[0], pieces[1]});
}

/* Searches 4 to 7 bytes, likewise. */
static inline bool
ob_scan_block4(const ObScan *scan, const char *data, size_t len)
{
	uint32 pieces[2];
	uint64 both;

	memcpy(&pieces[0], data, 4);
	memcpy(&pieces[1], data + len - 4, 4);
	both = (uint64) pieces[0] << 32 | pieces[1];
	return ob_scan_block(scan, (ObBlock16) (ObBlock2x8){both, both});
}

/* Whether a block of data has a hit, which may be a false one. */
static inline bool
ob_scan_hits(const ObScan *scan, const char *data, size_t len)
{
	if (len >= 16)
	{
		const char *last = data + len - 16;

		for (; data < last; data += 16)
		{
			if (ob_scan_block16(scan, data))
				return true;
		}
		return ob_scan_block16(scan, last);
	}
	if (len >= 8)
		return ob_scan_block8(scan, data, len);
	if (len >= 4)
		return ob_scan_block4(scan, data, len);
	for (size_t i = 0; i < len; i++)
	{
		if (scan->set[(uint8) data[i]] != 0)
			return true;
	}
	return false;
}

/* Copies less than 16 bytes, as pieces that overlap. */
static inline void
ob_scan_copy_short(char *to, const char *data, size_t len)
{
	uint64 first;
	uint64 last;

	if (len >= 8)
	{
		memcpy(&first, data, 8);
		memcpy(&last, data + len - 8, 8);
		memcpy(to, &first, 8);
		memcpy(to + len - 8, &last, 8);
	}
	else if (len >= 4)
	{
		memcpy(&first, data, 4);
		memcpy(&last, data + len - 4, 4);
		memcpy(to, &first, 4);
		memcpy(to + len - 4, &last, 4);
	}
	else
	{
		for (size_t i = 0; i < len; i++)
			to[i] = data[i];
	}
}

static inline ObBlock16
ob_scan_copy16(const ObScan *scan, char *to, const char *data)
{
	ObBlock16 block;

	memcpy(&block, data, sizeof(block));
	memcpy(to, &block, sizeof(block));
	return ob_scan_mask(scan, block);
}

/*
 * Copies a whole block, and returns whether its first len bytes have a hit.
 */
static inline bool
ob_scan_copy_block(const ObScan *scan, char *to, const char *data, size_t len)
{
	static const ObBlock16 index = {0, 1, 2,  3,  4,  5,  6,  7,
									8, 9, 10, 11, 12, 13, 14, 15};
	ObBlock16 hits = ob_scan_copy16(scan, to, data);

	return ob_scan_any(hits & (ObBlock16) (index < (uint8) len));
}

/* Copies data, and returns whether it has a hit.  Most texts have none, and
 * are done then. */
static inline bool
ob_scan_copy(const ObScan *scan, char *to, const char *data, size_t len)
{
	ObBlock16 hits = {0};
	size_t last;

	if (len < 16)
	{
		ob_scan_copy_short(to, data, len);
		return ob_scan_hits(scan, data, len);
	}
	last = len - 16;
	/* always three blocks, if that is enough: their number is hard to predict,
	 * unlike that of longer texts */
	if (len <= 48)
	{
		size_t middle = Min(last, 16);

		hits = ob_scan_copy16(scan, to, data);
		hits |= ob_scan_copy16(scan, to + middle, data + middle);
	}
	else
	{
		for (size_t i = 0; i < last; i += 16)
			hits |= ob_scan_copy16(scan, to + i, data + i);
	}
	return ob_scan_any(hits | ob_scan_copy16(scan, to + last, data + last));
}

/* Returns how many bytes the character at data has, when rest bytes are left.
 */
static inline size_t
ob_scan_step(const ObScan *scan, const char *data, size_t rest)
{
	if (scan->encoding < 0 || !IS_HIGHBIT_SET(*data))
		return 1;
	return Min((size_t) pg_encoding_mblen(scan->encoding, data), rest);
}

/* Returns the index of the first byte from i on that is in the set, or len. */
static inline size_t
ob_scan(const ObScan *scan, const char *data, size_t i, size_t len)
{
	if (scan->encoding >= 0)
	{
		while (i < len && scan->set[(uint8) data[i]] == 0)
			i += ob_scan_step(scan, data + i, len - i);
		return i;
	}
	if (!ob_scan_hits(scan, data + i, len - i))
		return len;
	while (i < len)
	{
		size_t end;

		while (i + 16 <= len && !ob_scan_block16(scan, data + i))
			i += 16;
		for (end = Min(len, i + 16); i < end; i++)
		{
			if (scan->set[(uint8) data[i]] != 0)
				return i;
		}
	}
	return len;
}

/* Whether the data has a byte of the set. */
static inline bool
ob_scan_found(const ObScan *scan, const char *data, size_t len)
{
	if (scan->encoding < 0 && !scan->controls)
		return ob_scan_hits(scan, data, len);
	return ob_scan(scan, data, 0, len) < len;
}

#endif
