/*
 * increment_value.c
 *		Values of watermarks: as texts, less an overlap, without an end.
 *
 * src/pg/increment/increment_value.c
 */
#include "postgres.h"

#include <math.h>

#include "access/nbtree.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "pg/base/compat.h"
#include "pg/increment/watermark_intern.h"

/* ---- texts ---- */

/* The output and input of some types depend on these settings, and so does SQL
 * that is made from views and policies. */
int
ob_watermark_fix_settings(void)
{
	static const char *const settings[][2] = {
		{"datestyle", "ISO, YMD"},
		{"intervalstyle", "postgres"},
		{"timezone", "UTC"},
		{"extra_float_digits", "3"},
		{"bytea_output", "hex"},
		{"lc_monetary", "C"},
		{"search_path", "pg_catalog"},
		{"quote_all_identifiers", "off"},
		{"standard_conforming_strings", "on"}};
	int level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	return level;
}

char *
ob_watermark_text(Oid type, Datum value)
{
	int level = ob_watermark_fix_settings();
	Oid function;
	bool is_varlena;
	char *text;

	getTypeOutputInfo(type, &function, &is_varlena);
	text = OidOutputFunctionCall(function, value);
	AtEOXact_GUC(true, level);
	return text;
}

Datum
ob_watermark_value(Oid type, const char *text)
{
	int level = ob_watermark_fix_settings();
	Oid function;
	Oid parameter;
	Datum value;

	getTypeInputInfo(type, &function, &parameter);
	value = OidInputFunctionCall(function, unconstify(char *, text), parameter,
								 -1);
	AtEOXact_GUC(true, level);
	return value;
}

char *
ob_watermark_type(Oid type)
{
	int level = ob_watermark_fix_settings();
	char *text = format_type_be(type);

	AtEOXact_GUC(true, level);
	return text;
}

/* ---- overlaps ---- */

static _Noreturn void
fail_overlap(const char *overlap, const char *why, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid overlap \"%s\" in option \"watermark\"", overlap),
			 errdetail("%s", why), errhint("%s", hint)));
}

#define NOT_NEGATIVE "It must not be negative."
#define INTERVAL_HINT "For example: \"5 minutes\"."
#define NUMBER_HINT "For example: 1000."

static Datum
interval_of(const char *overlap)
{
	Datum interval =
		DirectFunctionCall3(interval_in, CStringGetDatum(overlap),
							ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	Interval zero = {0};

	if (ob_interval_is_infinite(DatumGetIntervalP(interval)))
		fail_overlap(overlap, "It must be finite.", INTERVAL_HINT);
	if (DatumGetBool(DirectFunctionCall2(interval_lt, interval,
										 IntervalPGetDatum(&zero))))
		fail_overlap(overlap, NOT_NEGATIVE, INTERVAL_HINT);
	return interval;
}

static Datum
numeric_of(const char *overlap)
{
	Datum number =
		DirectFunctionCall3(numeric_in, CStringGetDatum(overlap),
							ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	Datum zero = DirectFunctionCall1(int4_numeric, Int32GetDatum(0));

	if (numeric_is_nan(DatumGetNumeric(number)) ||
		numeric_is_inf(DatumGetNumeric(number)))
		fail_overlap(overlap, "It must be a finite number.", NUMBER_HINT);
	if (DatumGetBool(DirectFunctionCall2(numeric_lt, number, zero)))
		fail_overlap(overlap, NOT_NEGATIVE, NUMBER_HINT);
	return number;
}

/* Returns the type of an overlap: INTERVALOID, NUMERICOID, or InvalidOid. */
static Oid
type_of_difference(Oid type)
{
	switch (type)
	{
		case TIMESTAMPTZOID:
		case TIMESTAMPOID:
		case DATEOID:
			return INTERVALOID;
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case FLOAT4OID:
		case FLOAT8OID:
			return NUMERICOID;
		default:
			return InvalidOid;
	}
}

static Datum
parse_overlap(Oid type, const char *overlap)
{
	switch (type_of_difference(type))
	{
		case INTERVALOID:
			return interval_of(overlap);
		case NUMERICOID:
			return numeric_of(overlap);
		default:
			if (strcmp(overlap, "0") == 0)
				return (Datum) 0;
			fail_overlap(
				overlap,
				psprintf("The column is of type %s.", format_type_be(type)),
				"Overlaps are for dates, timestamps and numbers; other types "
				"may have 0, which lands the rows at the watermark again.");
	}
}

static void
say_overlap(void *arg)
{
	errcontext("reading the overlap of a watermark");
}

Datum
ob_watermark_overlap(Oid type, const char *overlap)
{
	ErrorContextCallback context = {error_context_stack, say_overlap, NULL};
	Datum value;

	error_context_stack = &context;
	value = parse_overlap(type, overlap);
	error_context_stack = context.previous;
	return value;
}

/* Reads the overlap as an integer.  It is rounded up, since a larger overlap
 * does no harm. */
static bool
subtract_integer(int64 value, int64 min, Datum overlap, int64 *result)
{
	Datum number = DirectFunctionCall1(numeric_ceil, overlap);
	Datum limit =
		DirectFunctionCall1(int8_numeric, Int64GetDatum(PG_INT64_MAX));

	*result = 0;
	if (DatumGetBool(DirectFunctionCall2(numeric_gt, number, limit)))
		return false;
	return !pg_sub_s64_overflow(
			   value, DatumGetInt64(DirectFunctionCall1(numeric_int8, number)),
			   result) &&
		   *result >= min;
}

/* A number that is too large becomes infinity, and one that is too small
 * becomes zero. */
static double
double_of(Datum overlap)
{
	return DatumGetFloat8(
		DirectFunctionCall1(numeric_float8_no_overflow, overlap));
}

/*
 * Subtracts floats so that the result is not too great: 0.8 - 0.1 is greater
 * than 0.7.  The overlap and the difference are each off by half a step at
 * most, so two steps down are enough to include all that the overlap covers.
 */
static float8
subtract_float8(float8 value, double overlap)
{
	double lower = value - overlap;

	if (overlap == 0)
		return value;
	return nextafter(nextafter(lower, -INFINITY), -INFINITY);
}

static float4
subtract_float4(float4 value, double overlap)
{
	float lower = (float) ((double) value - overlap);

	if (overlap == 0)
		return value;
	return nextafterf(nextafterf(lower, -INFINITY), -INFINITY);
}

/* Goes back by months; days count from 2000-01-01.  As in PostgreSQL, the day
 * is the last of the month if the month is too short. */
static bool
subtract_months(int64 *days, int32 months)
{
	int year;
	int month;
	int day;
	int64 all;

	j2date((int) *days + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	all = (int64) year * MONTHS_PER_YEAR + (month - 1) - months;
	if (all < (int64) JULIAN_MINYEAR * MONTHS_PER_YEAR ||
		all >= (int64) JULIAN_MAXYEAR * MONTHS_PER_YEAR)
		return false;
	/* a division that rounds down */
	year = (int) ((all - JULIAN_MINYEAR * MONTHS_PER_YEAR) / MONTHS_PER_YEAR) +
		   JULIAN_MINYEAR;
	month = (int) (all - (int64) year * MONTHS_PER_YEAR) + 1;
	day = Min(day, day_tab[isleap(year)][month - 1]);
	*days = (int64) date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
	return true;
}

/*
 * Subtracts an interval, or returns false if the overlap has no lower end.
 * PostgreSQL's own operators raise if the result is out of range, and for a
 * date that no timestamp can have.  An overlap like "1 month -29 days" must
 * not lead above the value.
 */
static bool
subtract_from_timestamp(Timestamp value, const Interval *span,
						Timestamp *result)
{
	int64 days = value / USECS_PER_DAY;
	int64 time = value % USECS_PER_DAY;

	*result = value;
	if (TIMESTAMP_NOT_FINITE(value))
		return true;
	if (time < 0)
	{
		time += USECS_PER_DAY;
		days--;
	}
	if (span->month != 0 && !subtract_months(&days, span->month))
		return false;
	if (pg_mul_s64_overflow(days - span->day, USECS_PER_DAY, result) ||
		pg_add_s64_overflow(*result, time, result) ||
		pg_sub_s64_overflow(*result, span->time, result) ||
		!IS_VALID_TIMESTAMP(*result))
		return false;
	*result = Min(*result, value);
	return true;
}

/* Subtracts an interval and returns the day of the result, so that the overlap
 * is never too small. */
static bool
subtract_from_date(DateADT value, const Interval *span, DateADT *result)
{
	int64 days = value;

	*result = value;
	if (DATE_NOT_FINITE(value))
		return true;
	if (span->month != 0 && !subtract_months(&days, span->month))
		return false;
	days -= span->day;
	days -= span->time / USECS_PER_DAY + (span->time % USECS_PER_DAY > 0);
	if (!IS_VALID_DATE(days))
		return false;
	*result = (DateADT) Min(days, value);
	return true;
}

bool
ob_watermark_subtract(Oid type, Datum value, Datum overlap, Datum *result)
{
	Timestamp timestamp;
	DateADT date;
	int64 integer;
	bool fits = true;

	switch (type)
	{
		case TIMESTAMPTZOID:
			/* UTC, where a day has 24 hours */
		case TIMESTAMPOID:
			fits = subtract_from_timestamp(DatumGetTimestamp(value),
										   DatumGetIntervalP(overlap),
										   &timestamp);
			*result = TimestampGetDatum(timestamp);
			break;
		case DATEOID:
			fits = subtract_from_date(DatumGetDateADT(value),
									  DatumGetIntervalP(overlap), &date);
			*result = DateADTGetDatum(date);
			break;
		case INT2OID:
			fits = subtract_integer(DatumGetInt16(value), PG_INT16_MIN,
									overlap, &integer);
			*result = Int16GetDatum((int16) integer);
			break;
		case INT4OID:
			fits = subtract_integer(DatumGetInt32(value), PG_INT32_MIN,
									overlap, &integer);
			*result = Int32GetDatum((int32) integer);
			break;
		case INT8OID:
			fits = subtract_integer(DatumGetInt64(value), PG_INT64_MIN,
									overlap, &integer);
			*result = Int64GetDatum(integer);
			break;
		case FLOAT4OID:
			*result = Float4GetDatum(
				subtract_float4(DatumGetFloat4(value), double_of(overlap)));
			break;
		case FLOAT8OID:
			*result = Float8GetDatum(
				subtract_float8(DatumGetFloat8(value), double_of(overlap)));
			break;
		case NUMERICOID:
			*result = DirectFunctionCall2(numeric_sub, value, overlap);
			break;
		default: /* the overlap is 0 */
			*result = value;
			break;
	}
	return fits;
}

/* ---- ties ---- */

/*
 * Whether values can be equal without being identical, as in citext, or in a
 * collation that ignores case.  Btree's support function for deduplication
 * returns that.  character(n) has none because of trailing blanks, which do
 * not matter here.
 */
static bool
has_equal_spellings(Oid type, Oid collation)
{
	const TypeCacheEntry *cache =
		lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY);

	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		return true;
	return type != BPCHAROID && !OidIsValid(get_opfamily_proc(
									cache->btree_opf, cache->btree_opintype,
									cache->btree_opintype, BTEQUALIMAGE_PROC));
}

bool
ob_watermark_is_coarse(Oid type, int32 typmod, Oid collation)
{
	char category;
	bool preferred;

	switch (type)
	{
		case BOOLOID:
		case CHAROID:
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
			return true;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return typmod >= 0 && typmod < MAX_TIMESTAMP_PRECISION;
		default:
			get_type_category_preferred(type, &category, &preferred);
			return category == TYPCATEGORY_ENUM ||
				   (category == TYPCATEGORY_STRING &&
					has_equal_spellings(type, collation));
	}
}

/* ---- ends ---- */

bool
ob_watermark_is_last(Oid type, Datum value)
{
	switch (type)
	{
		case TIMESTAMPTZOID:
		case TIMESTAMPOID:
			return TIMESTAMP_IS_NOEND(DatumGetTimestamp(value));
		case DATEOID:
			return DATE_IS_NOEND(DatumGetDateADT(value));
		case FLOAT4OID:
			return isnan(DatumGetFloat4(value)) ||
				   isinf(DatumGetFloat4(value)) > 0;
		case FLOAT8OID:
			return isnan(DatumGetFloat8(value)) ||
				   isinf(DatumGetFloat8(value)) > 0;
		case INTERVALOID:
			return ob_interval_is_infinite(DatumGetIntervalP(value)) &&
				   DatumGetIntervalP(value)->month > 0;
		case NUMERICOID:
			return numeric_is_nan(DatumGetNumeric(value)) ||
				   (numeric_is_inf(DatumGetNumeric(value)) &&
					DatumGetBool(DirectFunctionCall2(
						numeric_gt, value,
						DirectFunctionCall1(int4_numeric, Int32GetDatum(0)))));
		default:
			return false;
	}
}
