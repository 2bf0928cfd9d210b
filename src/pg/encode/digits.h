/*
 * digits.h
 *		Numbers and dates as digits: what most columns of most tables are.
 *
 * src/pg/encode/digits.h
 *
 * Inline, because a call for each value costs as much as its digits.  Each
 * function writes from "to" on and returns where the text ends; up to seven
 * bytes after that may be overwritten, too.  How long a text is differs from
 * row to row, and a wrong guess of the processor's takes longer than all the
 * digits: so the common cases are made without branches.
 */
#ifndef OB_DIGITS_H
#define OB_DIGITS_H

#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"

#include "pg/base/compat.h"

/* ---- integers ---- */

static const char ob_digit_pairs[] = "00010203040506070809"
									 "10111213141516171819"
									 "20212223242526272829"
									 "30313233343536373839"
									 "40414243444546474849"
									 "50515253545556575859"
									 "60616263646566676869"
									 "70717273747576777879"
									 "80818283848586878889"
									 "90919293949596979899";

static inline char *
ob_put_two(char *to, uint32 value)
{
	memcpy(to, ob_digit_pairs + 2 * value, 2);
	return to + 2;
}

#define OB_EIGHT_DIGITS 100000000

/*
 * Returns the eight digits of a value below OB_EIGHT_DIGITS, one in each byte,
 * the first one in the highest.  All are made at a time: each step cuts all
 * pieces in two, quotient and remainder, which is value + quotient * (where
 * the quotient goes - divisor).
 */
static inline uint64
ob_eight_digits(uint32 value)
{
	uint64 fours = value + value / 10000 * (UINT64CONST(0x100000000) - 10000);
	uint64 hundreds = fours * 5243 >> 19 & UINT64CONST(0x7F0000007F);
	uint64 twos = fours + hundreds * (0x10000 - 100);
	uint64 tens = twos * 103 >> 10 & UINT64CONST(0x000F000F000F000F);

	return twos + tens * (0x100 - 10);
}

/* Writes the last half of that: the four digits of a value below 10,000; for a
 * greater one, which broken data may hold, it writes four characters. */
static inline char *
ob_put_four(char *to, uint32 value)
{
	uint32 hundreds = value * 5243 >> 19 & 0x7F;
	uint32 twos = value + hundreds * (0x10000 - 100);
	uint32 tens = twos * 103 >> 10 & 0x000F000F;
	uint32 digits = twos + tens * (0x100 - 10);

	digits = pg_hton32(digits | 0x30303030);
	memcpy(to, &digits, sizeof(digits));
	return to + 4;
}

/* Writes a value below OB_EIGHT_DIGITS. */
static inline char *
ob_put_small(char *to, uint32 value)
{
	uint64 digits;
	int zeros; /* number of bits before the first digit */

	if (value < 100)
	{
		bool two = value >= 10;

		/* the second write goes over the first where there is one digit */
		to[0] = ob_digit_pairs[2 * value];
		to[two] = ob_digit_pairs[2 * value + 1];
		return to + 1 + two;
	}
	digits = ob_eight_digits(value);
	/* it is 0 only in broken data */
	zeros = (63 - pg_leftmost_one_pos64(digits | 1)) & ~7;
	digits |= UINT64CONST(0x3030303030303030);
	digits = pg_hton64(digits << zeros);
	memcpy(to, &digits, sizeof(digits));
	return to + 8 - zeros / 8;
}

static inline char *
ob_put_unsigned(char *to, uint64 value)
{
	if (value < OB_EIGHT_DIGITS)
		return ob_put_small(to, (uint32) value);
	return to + pg_ulltoa_n(value, to);
}

static inline char *
ob_put_signed(char *to, int64 value)
{
	if (value >= 0)
		return ob_put_unsigned(to, (uint64) value);
	*to++ = '-';
	return ob_put_unsigned(to, 0 - (uint64) value);
}

/*
 * ---- numeric: numeric_out ----
 *
 * The stored form is not in PostgreSQL's headers, but it is on disk, so it
 * cannot change.  A header of 2 bytes, or of 4; then digits of base 10,000,
 * the first of them worth 10,000 to the power of the weight.
 */

typedef struct ObStoredNumeric
{
	const char *digits; /* not aligned */
	int ndigits;
	int weight;
	int dscale; /* number of digits to show after the point */
	bool negative;
} ObStoredNumeric;

/* Numerics with more digits of base 10,000 on either side of the point are not
 * written here. */
#define OB_NUMERIC_GROUPS_MAX 10

static inline bool
ob_read_numeric(const struct varlena *packed, ObStoredNumeric *numeric)
{
	const char *data = VARDATA_ANY(packed);
	int len = (int) VARSIZE_ANY_EXHDR(packed);
	uint16 header;
	int header_len = 2;

	memcpy(&header, data, sizeof(header));
	if ((header & 0xC000) == 0xC000) /* NaN or infinity */
		return false;
	if (header & 0x8000)
	{
		numeric->negative = (header & 0x2000) != 0;
		numeric->dscale = (header & 0x1F80) >> 7;
		numeric->weight = (header & 0x3F) - (header & 0x40);
	}
	else
	{
		int16 weight;

		header_len = 4;
		memcpy(&weight, data + 2, sizeof(weight));
		numeric->negative = (header & 0xC000) == 0x4000;
		numeric->dscale = header & 0x3FFF;
		numeric->weight = weight;
	}
	numeric->digits = data + header_len;
	numeric->ndigits = (len - header_len) / 2;
	return numeric->weight < OB_NUMERIC_GROUPS_MAX &&
		   numeric->dscale <= 4 * OB_NUMERIC_GROUPS_MAX;
}

/* Returns 0 for digits that are not stored.  A part of the header is read
 * instead of them, so that nothing depends on the result. */
static inline uint32
ob_numeric_digit(const ObStoredNumeric *numeric, int i)
{
	bool stored = (unsigned int) i < (unsigned int) numeric->ndigits;
	uint16 digit;

	memcpy(&digit, numeric->digits + 2 * (stored ? i : -1), sizeof(digit));
	return digit & -(uint32) stored;
}

static inline char *
ob_put_long_numeric(const ObStoredNumeric *numeric, char *to)
{
	uint32 first = 0;
	int i = 0;
	char *end;

	*to = '-';
	to += numeric->negative;
	/* up to two digits at once */
	for (; i <= numeric->weight && i < 2; i++)
		first = 10000 * first + ob_numeric_digit(numeric, i);
	to = ob_put_small(to, first);
	for (; i <= numeric->weight; i++)
		to = ob_put_four(to, ob_numeric_digit(numeric, i));
	if (numeric->dscale == 0)
		return to;
	*to++ = '.';
	end = to + numeric->dscale;
	/* this may write up to three digits too many, which are then cut */
	for (i = numeric->weight + 1; to < end; i++)
		to = ob_put_four(to, ob_numeric_digit(numeric, i));
	return end;
}

/* Writes an integer part below OB_EIGHT_DIGITS, and dscale of four decimals.
 */
static inline char *
ob_put_fixed(char *to, bool negative, uint32 integer, uint32 decimals,
			 uint32 dscale)
{
	*to = '-';
	to = ob_put_small(to + negative, integer);
	*to = '.';
	ob_put_four(to + 1, decimals);
	return to + dscale + (dscale != 0);
}

/* Writes a numeric that is neither compressed nor stored apart.  Returns NULL
 * if it has no digits, or too many. */
static inline char *
ob_put_numeric(const struct varlena *packed, char *to)
{
	ObStoredNumeric numeric;
	int weight;

	if (!ob_read_numeric(packed, &numeric))
		return NULL;
	weight = numeric.weight;
	if (weight > 1 || numeric.dscale > 4)
		return ob_put_long_numeric(&numeric, to);
	return ob_put_fixed(to, numeric.negative,
						10000 * ob_numeric_digit(&numeric, weight - 1) +
							ob_numeric_digit(&numeric, weight),
						ob_numeric_digit(&numeric, weight + 1),
						numeric.dscale);
}

/* ---- dates, in years 1 to 9999, which have four digits ---- */

static inline char *
ob_put_date(char *to, uint32 year, uint32 month, uint32 day)
{
	to = ob_put_four(to, year);
	*to++ = '-';
	to = ob_put_two(to, month);
	*to++ = '-';
	return ob_put_two(to, day);
}

/* The first and the last date with such a year, as days since 2000-01-01. */
#define OB_FIRST_DAY (-730119)
#define OB_LAST_DAY 2921939

/* The number of days from 0000-03-01, when a year of this reckoning begins, to
 * 2000-01-01. */
#define OB_DAYS_BEFORE 730425

/*
 * Writes the date of a day from OB_FIRST_DAY to OB_LAST_DAY: what j2date()
 * does, in half the time.  The algorithm is that of Cassio Neri and Lorenz
 * Schneider, "Euclidean affine functions and their application to calendar
 * algorithms" (2022), with years that begin in March, so that a leap day is
 * the last of its year.
 */
static inline char *
ob_put_day(char *to, int32 date)
{
	uint32 days = 4 * (uint32) (date + OB_DAYS_BEFORE) + 3;
	uint32 century = days / 146097;
	uint32 of_century = days % 146097 | 3;
	uint64 product = UINT64CONST(2939745) * of_century;
	uint32 year = 100 * century + (uint32) (product >> 32);
	uint32 of_year = (uint32) product / 2939745 / 4;
	uint32 affine = 2141 * of_year + 197913;
	uint32 month = affine >> 16;
	uint32 day = (affine & 0xFFFF) / 2141 + 1;
	uint32 next = of_year >= 306; /* January or February */

	return ob_put_date(to, year + next, month - 12 * next, day);
}

#endif
