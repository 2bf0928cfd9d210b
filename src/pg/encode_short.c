/*
 * encode_short.c
 *		Values whose text is short: the fast paths by type.
 *
 * src/pg/encode_short.c
 *
 * Each function writes what the type's output function would, at most
 * OB_SHORT_MAX bytes, straight into the window; or returns -1, and the output
 * function is called after all.  That is the way out for what is rare
 * (infinity, years before Christ, long numerics) and for settings that change
 * an output.  Settings are looked at for each value, because a query may
 * change them while it runs.
 *
 * The functions of PostgreSQL that they imitate are named with each.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/encode_short.h"

#define DIGITS "0123456789"

/* ---- digits ---- */

static const char pairs[] = "00010203040506070809"
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
put_two(char *to, int value)
{
	memcpy(to, pairs + 2 * value, 2);
	return to + 2;
}

static inline char *
put_four(char *to, int value)
{
	return put_two(put_two(to, value / 100), value % 100);
}

#define EIGHT_DIGITS 100000000

/*
 * The eight digits of a value below EIGHT_DIGITS, a byte each, the first one
 * in the highest.  All are made at a time, by multiplication: how many there
 * are is different from row to row, and a wrong guess of the processor's would
 * take longer than all of this.
 */
static inline uint64
eight_digits(uint32 value)
{
	uint64 fours = (uint64) (value / 10000) << 32 | value % 10000;
	uint64 hundreds = fours * 5243 >> 19 & UINT64CONST(0x7F0000007F);
	uint64 twos = hundreds << 16 | (fours - 100 * hundreds);
	uint64 tens = twos * 103 >> 10 & UINT64CONST(0x000F000F000F000F);

	return tens << 8 | (twos - 10 * tens);
}

/* Writes eight bytes, of which the digits come first; returns their end. */
static inline char *
put_small(char *to, uint32 value)
{
	uint64 digits = eight_digits(value);
	int zeros = (63 - pg_leftmost_one_pos64(digits | 1)) / 8;

	digits |= UINT64CONST(0x3030303030303030);
	digits = pg_hton64(digits << 8 * zeros);
	memcpy(to, &digits, sizeof(digits));
	return to + 8 - zeros;
}

static inline char *
put_unsigned(char *to, uint64 value)
{
	if (value < EIGHT_DIGITS)
		return put_small(to, (uint32) value);
	return to + pg_ulltoa_n(value, to);
}

static inline char *
put_signed(char *to, int64 value)
{
	if (value >= 0)
		return put_unsigned(to, (uint64) value);
	*to++ = '-';
	return put_unsigned(to, 0 - (uint64) value);
}

/* ---- integers and booleans ---- */

static int
write_int2(const ObColumn *column, Datum value, char *to)
{
	return put_signed(to, DatumGetInt16(value)) - to;
}

static int
write_int4(const ObColumn *column, Datum value, char *to)
{
	return put_signed(to, DatumGetInt32(value)) - to;
}

static int
write_int8(const ObColumn *column, Datum value, char *to)
{
	return put_signed(to, DatumGetInt64(value)) - to;
}

static int
write_oid(const ObColumn *column, Datum value, char *to)
{
	return put_unsigned(to, DatumGetObjectId(value)) - to;
}

static int
write_bool(const ObColumn *column, Datum value, char *to)
{
	*to = DatumGetBool(value) ? 't' : 'f';
	return 1;
}

/* ---- floating point: float4out, float8out_internal ---- */

static int
write_float4(const ObColumn *column, Datum value, char *to)
{
	float4 number = DatumGetFloat4(value);

	if (extra_float_digits <= 0 || !isfinite(number))
		return -1;
	return float_to_shortest_decimal_bufn(number, to);
}

static int
write_float8(const ObColumn *column, Datum value, char *to)
{
	float8 number = DatumGetFloat8(value);

	if (extra_float_digits <= 0 || !isfinite(number))
		return -1;
	return double_to_shortest_decimal_bufn(number, to);
}

/*
 * ---- numeric: numeric_out ----
 *
 * The stored form is not in PostgreSQL's headers, but it is on disk, so it
 * cannot change.  A header of 2 bytes, or of 4; then digits of base 10,000,
 * the first of them worth 10,000 to the power of the weight.
 */

typedef struct StoredNumeric
{
	const char *digits; /* not aligned */
	int ndigits;
	int weight;
	int dscale; /* digits to show after the point */
	bool negative;
} StoredNumeric;

/* At most so many digits of base 10,000 on either side of the point. */
#define NUMERIC_GROUPS_MAX 10

static bool
read_numeric(const struct varlena *packed, StoredNumeric *numeric)
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
	return numeric->weight < NUMERIC_GROUPS_MAX &&
		   numeric->dscale <= 4 * NUMERIC_GROUPS_MAX;
}

static inline int
numeric_digit(const StoredNumeric *numeric, int i)
{
	int16 digit;

	if (i < 0 || i >= numeric->ndigits)
		return 0;
	memcpy(&digit, numeric->digits + 2 * i, sizeof(digit));
	return digit;
}

static char *
put_integer_part(const StoredNumeric *numeric, char *to)
{
	uint32 first = 0;
	int i = 0;

	/* up to two of them at once */
	for (; i <= numeric->weight && i < 2; i++)
		first = 10000 * first + (uint32) numeric_digit(numeric, i);
	to = put_small(to, first);
	for (; i <= numeric->weight; i++)
		to = put_four(to, numeric_digit(numeric, i));
	return to;
}

static int
write_numeric(const ObColumn *column, Datum value, char *to)
{
	struct varlena *packed = (struct varlena *) DatumGetPointer(value);
	StoredNumeric numeric;
	char *start = to;
	char *end;

	if (VARATT_IS_EXTERNAL(packed) || VARATT_IS_COMPRESSED(packed))
		return -1;
	if (!read_numeric(packed, &numeric))
		return -1;
	if (numeric.negative)
		*to++ = '-';
	to = put_integer_part(&numeric, to);
	if (numeric.dscale == 0)
		return to - start;
	*to++ = '.';
	end = to + numeric.dscale;
	/* (may write up to three digits too many, which are then cut) */
	for (int i = numeric.weight + 1; to < end; i++)
		to = put_four(to, numeric_digit(&numeric, i));
	return end - start;
}

/*
 * ---- dates and times: date_out, timestamp_out, timestamptz_out, time_out
 * ----
 *
 * Only for the ISO style, and for years 1 to 9999, which have four digits.
 */

static char *
put_date(char *to, int year, int month, int day)
{
	to = put_four(to, year);
	*to++ = '-';
	to = put_two(to, month);
	*to++ = '-';
	return put_two(to, day);
}

/* Days since 2000-01-01 of the first and the last date with such a year. */
#define FIRST_DAY (-730119)
#define LAST_DAY 2921939

/* Days from 0000-03-01, when a year of this reckoning begins, to 2000-01-01 */
#define DAYS_BEFORE 730425

/*
 * The date of a day from FIRST_DAY to LAST_DAY: what j2date() does, in half
 * the time.  Cassio Neri and Lorenz Schneider, "Euclidean affine functions and
 * their application to calendar algorithms" (2022), with years that begin in
 * March, so that a leap day is a year's last.
 */
static char *
put_day(char *to, int32 date)
{
	uint32 days = 4 * (uint32) (date + DAYS_BEFORE) + 3;
	uint32 century = days / 146097;
	uint32 of_century = days % 146097 | 3;
	uint64 product = UINT64CONST(2939745) * of_century;
	uint32 year = 100 * century + (uint32) (product >> 32);
	uint32 of_year = (uint32) product / 2939745 / 4;
	uint32 affine = 2141 * of_year + 197913;
	uint32 month = affine >> 16;
	uint32 day = (affine & 0xFFFF) / 2141 + 1;
	uint32 next = of_year >= 306; /* January and February */

	return put_date(to, year + next, month - 12 * next, day);
}

/* HH:MM:SS and the fraction without its trailing zeros. */
static char *
put_time(char *to, int hour, int minute, int second, int fraction)
{
	to = put_two(to, hour);
	*to++ = ':';
	to = put_two(to, minute);
	*to++ = ':';
	to = put_two(to, second);
	if (fraction == 0)
		return to;
	*to++ = '.';
	to = put_two(to, fraction / 10000);
	to = put_four(to, fraction % 10000);
	while (to[-1] == '0')
		to--;
	return to;
}

static char *
put_time_of_day(char *to, int64 usecs)
{
	int seconds = (int) (usecs / USECS_PER_SEC);

	return put_time(to, seconds / 3600, seconds / 60 % 60, seconds % 60,
					(int) (usecs % USECS_PER_SEC));
}

/* EncodeTimezone; zone is in seconds west of Greenwich. */
static char *
put_zone(char *to, int zone, bool minutes_always)
{
	int seconds = abs(zone);

	*to++ = zone <= 0 ? '+' : '-';
	to = put_two(to, seconds / 3600);
	if (seconds % 3600 == 0 && !minutes_always)
		return to;
	*to++ = ':';
	to = put_two(to, seconds / 60 % 60);
	if (seconds % 60 == 0)
		return to;
	*to++ = ':';
	return put_two(to, seconds % 60);
}

static int
format_date(DateADT date, char *to)
{
	if (date < FIRST_DAY || date > LAST_DAY)
		return -1; /* the infinities, too */
	return put_day(to, date) - to;
}

static int
format_timestamp(Timestamp stamp, char separator, char *to)
{
	char *start = to;
	int64 days = stamp / USECS_PER_DAY;
	int64 usecs = stamp % USECS_PER_DAY;

	if (usecs < 0)
	{
		usecs += USECS_PER_DAY;
		days--;
	}
	if (days < FIRST_DAY || days > LAST_DAY)
		return -1; /* the infinities, too */
	to = put_day(to, (int32) days);
	*to++ = separator;
	return put_time_of_day(to, usecs) - start;
}

static int
format_timestamptz(TimestampTz stamp, char separator, bool minutes_always,
				   char *to)
{
	char *start = to;
	struct pg_tm tm;
	fsec_t fraction;
	int zone;

	if (TIMESTAMP_NOT_FINITE(stamp) ||
		timestamp2tm(stamp, &zone, &tm, &fraction, NULL, NULL) != 0 ||
		tm.tm_year < 1 || tm.tm_year > 9999 ||
		abs(zone) >= 100 * SECS_PER_HOUR) /* SET TimeZone = 150 */
		return -1;
	to = put_date(to, tm.tm_year, tm.tm_mon, tm.tm_mday);
	*to++ = separator;
	to = put_time(to, tm.tm_hour, tm.tm_min, tm.tm_sec, fraction);
	return put_zone(to, zone, minutes_always) - start;
}

static int
write_date(const ObColumn *column, Datum value, char *to)
{
	return DateStyle == USE_ISO_DATES ? format_date(DatumGetDateADT(value), to)
									  : -1;
}

static int
write_timestamp(const ObColumn *column, Datum value, char *to)
{
	return DateStyle == USE_ISO_DATES
			   ? format_timestamp(DatumGetTimestamp(value), ' ', to)
			   : -1;
}

static int
write_timestamptz(const ObColumn *column, Datum value, char *to)
{
	return DateStyle == USE_ISO_DATES
			   ? format_timestamptz(DatumGetTimestampTz(value), ' ', false, to)
			   : -1;
}

static int
write_time(const ObColumn *column, Datum value, char *to)
{
	return put_time_of_day(to, DatumGetTimeADT(value)) - to;
}

/* JSON's, whatever the DateStyle: JsonEncodeDateTime. */

static int
write_json_date(const ObColumn *column, Datum value, char *to)
{
	return format_date(DatumGetDateADT(value), to);
}

static int
write_json_timestamp(const ObColumn *column, Datum value, char *to)
{
	return format_timestamp(DatumGetTimestamp(value), 'T', to);
}

static int
write_json_timestamptz(const ObColumn *column, Datum value, char *to)
{
	return format_timestamptz(DatumGetTimestampTz(value), 'T', true, to);
}

ObShortWrite
ob_short_json_datetime(Oid type)
{
	switch (type)
	{
		case DATEOID:
			return write_json_date;
		case TIMESTAMPOID:
			return write_json_timestamp;
		case TIMESTAMPTZOID:
			return write_json_timestamptz;
		default:
			return NULL;
	}
}

/* ---- uuid_out, and bytea's hexadecimal form ---- */

static const char hex_digits[] = "0123456789abcdef";

static inline char *
put_hex(char *to, const unsigned char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		*to++ = hex_digits[data[i] >> 4];
		*to++ = hex_digits[data[i] & 15];
	}
	return to;
}

static int
write_uuid(const ObColumn *column, Datum value, char *to)
{
	static const int lengths[] = {4, 2, 2, 2, 6};
	const unsigned char *data = DatumGetUUIDP(value)->data;
	char *start = to;

	for (int i = 0; i < lengthof(lengths); i++)
	{
		if (i > 0)
			*to++ = '-';
		to = put_hex(to, data, lengths[i]);
		data += lengths[i];
	}
	return to - start;
}

void
ob_short_hex(ObOut *out, const char *data, size_t len)
{
	const size_t slice = OB_OUT_RESERVE / 2;

	while (len > 0)
	{
		size_t now = Min(len, slice);
		char *room = ob_out_reserve(out, 2 * now);

		out->ptr = put_hex(room, (const unsigned char *) data, now);
		data += now;
		len -= now;
	}
}

/* ---- which ---- */

static const ObShort shorts[] = {
	{F_INT2OUT, write_int2, "-" DIGITS},
	{F_INT4OUT, write_int4, "-" DIGITS},
	{F_INT8OUT, write_int8, "-" DIGITS},
	{F_OIDOUT, write_oid, DIGITS},
	{F_BOOLOUT, write_bool, "tf"},
	{F_FLOAT4OUT, write_float4, "+-.e" DIGITS},
	{F_FLOAT8OUT, write_float8, "+-.e" DIGITS},
	{F_NUMERIC_OUT, write_numeric, "-." DIGITS},
	{F_DATE_OUT, write_date, "-" DIGITS},
	{F_TIME_OUT, write_time, ":." DIGITS},
	{F_TIMESTAMP_OUT, write_timestamp, "-:. " DIGITS},
	{F_TIMESTAMPTZ_OUT, write_timestamptz, "+-:. " DIGITS},
	{F_UUID_OUT, write_uuid, "-abcdef" DIGITS},
};

const ObShort *
ob_short_lookup(Oid output_oid)
{
	for (int i = 0; i < lengthof(shorts); i++)
	{
		if (shorts[i].output == output_oid)
			return &shorts[i];
	}
	return NULL;
}
