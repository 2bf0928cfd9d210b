/*
 * fast_types.c
 *		Values whose text is short: the fast paths by type.
 *
 * src/pg/encode/fast_types.c
 *
 * Each function writes what the type's output function would, at most
 * OB_FAST_MAX bytes, straight into the window; or returns -1, and the output
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
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/encode/digits.h"
#include "pg/encode/fast_types.h"

#define DIGITS "0123456789"

/* ---- integers and booleans ---- */

static int
write_int2(const ObColumn *column, Datum value, char *to)
{
	return ob_put_signed(to, DatumGetInt16(value)) - to;
}

static int
write_int4(const ObColumn *column, Datum value, char *to)
{
	return ob_put_signed(to, DatumGetInt32(value)) - to;
}

static int
write_int8(const ObColumn *column, Datum value, char *to)
{
	return ob_put_signed(to, DatumGetInt64(value)) - to;
}

static int
write_oid(const ObColumn *column, Datum value, char *to)
{
	return ob_put_unsigned(to, DatumGetObjectId(value)) - to;
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

/* ---- numeric ---- */

static int
write_numeric(const ObColumn *column, Datum value, char *to)
{
	struct varlena *packed = (struct varlena *) DatumGetPointer(value);
	char *end;

	if (VARATT_IS_EXTERNAL(packed) || VARATT_IS_COMPRESSED(packed))
		return -1;
	end = ob_put_numeric(packed, to);
	return end ? end - to : -1;
}

/*
 * ---- dates and times: date_out, timestamp_out, timestamptz_out, time_out
 * ----
 *
 * Only for the ISO style, and for years 1 to 9999.
 */

/* Writes HH:MM:SS and the fraction without its trailing zeros. */
static char *
put_time(char *to, int hour, int minute, int second, int fraction)
{
	to = ob_put_two(to, hour);
	*to++ = ':';
	to = ob_put_two(to, minute);
	*to++ = ':';
	to = ob_put_two(to, second);
	if (fraction == 0)
		return to;
	*to++ = '.';
	to = ob_put_two(to, fraction / 10000);
	to = ob_put_four(to, fraction % 10000);
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

/* Does the same as EncodeTimezone(); zone is in seconds west of Greenwich. */
static char *
put_zone(char *to, int zone, bool minutes_always)
{
	int seconds = abs(zone);

	*to++ = zone <= 0 ? '+' : '-';
	to = ob_put_two(to, seconds / 3600);
	if (seconds % 3600 == 0 && !minutes_always)
		return to;
	*to++ = ':';
	to = ob_put_two(to, seconds / 60 % 60);
	if (seconds % 60 == 0)
		return to;
	*to++ = ':';
	return ob_put_two(to, seconds % 60);
}

static int
format_date(DateADT date, char *to)
{
	if (date < OB_FIRST_DAY || date > OB_LAST_DAY)
		return -1; /* the infinities, too */
	return ob_put_day(to, date) - to;
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
	if (days < OB_FIRST_DAY || days > OB_LAST_DAY)
		return -1; /* the infinities, too */
	to = ob_put_day(to, (int32) days);
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
	to = ob_put_date(to, tm.tm_year, tm.tm_mon, tm.tm_mday);
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

/* Writes a date or timestamp for JSON, regardless of DateStyle, as
 * JsonEncodeDateTime() does. */

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

ObFastWrite
ob_fast_json_datetime(Oid type)
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

/* Returns the eight digits of four bytes; the first one is in the highest byte
 * of both. */
static inline uint64
eight_hex_digits(uint32 four)
{
	uint64 twos = (four | (uint64) four << 16) & UINT64CONST(0xFFFF0000FFFF);
	uint64 ones = (twos | twos << 8) & UINT64CONST(0x00FF00FF00FF00FF);
	uint64 halves = (ones << 4 & UINT64CONST(0x0F000F000F000F00)) |
					(ones & UINT64CONST(0x000F000F000F000F));
	uint64 letters = (halves + UINT64CONST(0x0606060606060606)) >> 4 &
					 UINT64CONST(0x0101010101010101);

	return halves + UINT64CONST(0x3030303030303030) +
		   letters * ('a' - '0' - 10);
}

static inline void
put_eight_hex_digits(char *to, uint32 four)
{
	uint64 digits = pg_hton64(eight_hex_digits(pg_ntoh32(four)));

	memcpy(to, &digits, sizeof(digits));
}

/* The room for the digits of len bytes, which are made for four bytes at a
 * time. */
#define HEX_ROOM(len) TYPEALIGN(8, 2 * (len))

static inline char *
put_hex(char *to, const unsigned char *data, size_t len)
{
	uint32 four;
	size_t i;

	for (i = 0; i + sizeof(four) <= len; i += sizeof(four))
	{
		memcpy(&four, data + i, sizeof(four));
		put_eight_hex_digits(to + 2 * i, four);
	}
	if (i < len)
	{
		four = 0;
		memcpy(&four, data + i, len - i);
		put_eight_hex_digits(to + 2 * i, four);
	}
	return to + 2 * len;
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
ob_fast_hex(ObOut *out, const char *data, size_t len)
{
	const size_t slice =
		OB_OUT_RESERVE / 2; /* HEX_ROOM(slice) is OB_OUT_RESERVE */

	while (len > 0)
	{
		size_t now = Min(len, slice);
		char *room = ob_out_reserve(out, HEX_ROOM(now));

		out->ptr = put_hex(room, (const unsigned char *) data, now);
		data += now;
		len -= now;
	}
}

/* ---- the table of types ---- */

static const ObFastPath fast_paths[] = {
	{F_INT2OUT, write_int2, "-" DIGITS, OB_STORED_NONE},
	{F_INT4OUT, write_int4, "-" DIGITS, OB_STORED_INT4},
	{F_INT8OUT, write_int8, "-" DIGITS, OB_STORED_INT8},
	{F_OIDOUT, write_oid, DIGITS, OB_STORED_NONE},
	{F_BOOLOUT, write_bool, "tf", OB_STORED_NONE},
	{F_FLOAT4OUT, write_float4, "+-.e" DIGITS, OB_STORED_NONE},
	{F_FLOAT8OUT, write_float8, "+-.e" DIGITS, OB_STORED_NONE},
	{F_NUMERIC_OUT, write_numeric, "-." DIGITS, OB_STORED_NUMERIC},
	{F_DATE_OUT, write_date, "-" DIGITS, OB_STORED_DATE},
	{F_TIME_OUT, write_time, ":." DIGITS, OB_STORED_NONE},
	{F_TIMESTAMP_OUT, write_timestamp, "-:. " DIGITS, OB_STORED_NONE},
	{F_TIMESTAMPTZ_OUT, write_timestamptz, "+-:. " DIGITS, OB_STORED_NONE},
	{F_UUID_OUT, write_uuid, "-abcdef" DIGITS, OB_STORED_NONE},
};

const ObFastPath *
ob_fast_path_lookup(Oid output_oid)
{
	for (int i = 0; i < lengthof(fast_paths); i++)
	{
		if (fast_paths[i].output == output_oid)
			return &fast_paths[i];
	}
	return NULL;
}
