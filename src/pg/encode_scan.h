/*
 * encode_scan.h
 *		Finding the bytes that a format must quote or escape.
 *
 * src/pg/encode_scan.h
 *
 * Most values have no such byte, so the search goes in blocks: a block that
 * has none of up to four given bytes (and none below a blank, where control
 * characters matter) is passed over whole; what is left is looked up byte by
 * byte.  The blocks are GCC's vector types, so the code is the same on each
 * processor.
 */
#ifndef OB_ENCODE_SCAN_H
#define OB_ENCODE_SCAN_H

#include "mb/pg_wchar.h"

#define OB_SCAN_BYTES 4

typedef struct ObScan
{
	uint8 set[256]; /* what is looked for; a value other than 0 */
	/* What blocks are searched for: at least all of it. */
	uint8 bytes[OB_SCAN_BYTES];
	bool controls; /* and all bytes below a blank */
	int nbytes;
	int encoding; /* -1, or one whose characters may hold ASCII bytes */
} ObScan;

typedef uint8 ObBlock16 __attribute__((vector_size(16)));
typedef uint8 ObBlock8 __attribute__((vector_size(8)));

/* Looks for byte from now on, and marks it in the set. */
extern void ob_scan_add(ObScan *scan, uint8 byte, uint8 mark);

static inline bool
ob_scan_block16(const ObScan *scan, const char *data)
{
	ObBlock16 block;
	ObBlock16 hit;
	uint64 halves[2];

	memcpy(&block, data, sizeof(block));
	hit = (ObBlock16) (block == scan->bytes[0]) |
		  (ObBlock16) (block == scan->bytes[1]) |
		  (ObBlock16) (block == scan->bytes[2]) |
		  (ObBlock16) (block == scan->bytes[3]);
	if (scan->controls)
		hit |= (ObBlock16) (block < ' ');
	memcpy(halves, &hit, sizeof(hit));
	return (halves[0] | halves[1]) != 0;
}

static inline bool
ob_scan_block8(const ObScan *scan, const char *data)
{
	ObBlock8 block;
	ObBlock8 hit;
	uint64 whole;

	memcpy(&block, data, sizeof(block));
	hit = (ObBlock8) (block == scan->bytes[0]) |
		  (ObBlock8) (block == scan->bytes[1]) |
		  (ObBlock8) (block == scan->bytes[2]) |
		  (ObBlock8) (block == scan->bytes[3]);
	if (scan->controls)
		hit |= (ObBlock8) (block < ' ');
	memcpy(&whole, &hit, sizeof(whole));
	return whole != 0;
}

/* How many bytes the character at data has, when rest bytes are left. */
static inline size_t
ob_scan_step(const ObScan *scan, const char *data, size_t rest)
{
	if (scan->encoding < 0 || !IS_HIGHBIT_SET(*data))
		return 1;
	return Min((size_t) pg_encoding_mblen(scan->encoding, data), rest);
}

/* The index of the first byte from i on that is in the set, or len. */
static inline size_t
ob_scan(const ObScan *scan, const char *data, size_t i, size_t len)
{
	if (scan->encoding >= 0)
	{
		while (i < len && scan->set[(uint8) data[i]] == 0)
			i += ob_scan_step(scan, data + i, len - i);
		return i;
	}
	for (;;)
	{
		size_t end;

		while (i + 16 <= len && !ob_scan_block16(scan, data + i))
			i += 16;
		if (i + 8 <= len && !ob_scan_block8(scan, data + i))
			i += 8;
		/* fewer than eight bytes are left, or there is a hit in the next
		 * sixteen, which may be a false one */
		for (end = Min(len, i + 16); i < end; i++)
		{
			if (scan->set[(uint8) data[i]] != 0)
				return i;
		}
		if (i >= len)
			return len;
	}
}

#endif
