/*
 * options_run.c
 *		The options of a whole run, of the time that its keys show, and of
 *		increments.
 *
 * src/pg/config/options_run.c
 *
 * PostgreSQL's own input functions do not read that time: their results depend
 * on DateStyle and TimeZone, while a key must not depend on the session, and
 * they accept "yesterday", whose meaning would change until a job or a worker
 * reads it.
 */
#include "postgres.h"

#include <ctype.h>

#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "pg/config/key.h"
#include "pg/config/options_intern.h"
#include "pg/base/errors.h"

#define OVERLAP_MAX 255
#define MOMENT_MAX 64

#define ZONE_HINT                                                       \
	"Give a name from pg_timezone_names, such as \"Europe/Berlin\" or " \
	"\"UTC\"."
#define MOMENT_HINT                                                       \
	"Give a date or a timestamp in ISO 8601, such as \"2026-01-31\" or "  \
	"\"2026-01-31T02:00:00+01:00\"; without an offset it is in the time " \
	"zone of option \"timezone\"."

#define WATERMARK_HINT                                            \
	"For example: {\"column\": \"updated_at\", \"overlap\": \"5 " \
	"minutes\"}; the overlap may be left out."

static _Noreturn void
fail(const char *message, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("%s", message), errhint("%s", hint)));
}

/* Both are options of a call, so there is no later layer. */
static void
check_manifest(const ObOptions *options)
{
	if (options->together && options->has_manifest && !options->manifest)
		fail("objects that are published together have a manifest",
			 "Leave option \"manifest\" out.");
}

void
ob_read_manifest(ObOptionReader *reader)
{
	ObOptions *options = reader->options;

	options->manifest = ob_option_boolean(reader);
	options->has_manifest = true;
	check_manifest(options);
}

void
ob_read_publish(ObOptionReader *reader)
{
	ObOptions *options = reader->options;

	options->together = ob_option_either(reader, "each", "together");
	check_manifest(options);
	if (options->together)
		options->manifest = true;
}

static char *
read_overlap(const ObOptionReader *reader, const JsonbValue *value)
{
	if (value->type == jbvNumeric)
		return DatumGetCString(DirectFunctionCall1(
			numeric_out, NumericGetDatum(value->val.numeric)));
	if (value->type != jbvString || value->val.string.len == 0)
		fail("\"overlap\" of option \"watermark\" must be a string or a "
			 "number",
			 WATERMARK_HINT);
	return ob_option_item(reader, value, OVERLAP_MAX);
}

static void
read_entry(const ObOptionReader *reader, const char *key,
		   const JsonbValue *value)
{
	ObOptions *options = reader->options;

	if (strcmp(key, "overlap") == 0)
		options->overlap = read_overlap(reader, value);
	else if (strcmp(key, "column") != 0)
		fail(psprintf("unknown entry \"%s\" in option \"watermark\"",
					  ob_report_clip(key)),
			 WATERMARK_HINT);
	else if (value->type != jbvString || value->val.string.len == 0)
		fail("\"column\" of option \"watermark\" must be the name of a column",
			 WATERMARK_HINT);
	else
		options->watermark = ob_option_item(reader, value, NAMEDATALEN - 1);
}

void
ob_read_watermark(ObOptionReader *reader)
{
	const JsonbValue *value = reader->value;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;
	char *key = NULL;

	if (value->type != jbvBinary ||
		!JsonContainerIsObject(value->val.binary.data))
		ob_option_fail_type(reader, "an object");
	reader->options->watermark = NULL;
	reader->options->overlap = NULL;
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = ob_option_copy(&item);
		else if (token == WJB_VALUE)
			read_entry(reader, key, &item);
	}
	if (!reader->options->watermark)
		fail("option \"watermark\" has no \"column\"", WATERMARK_HINT);
}

/* The watermark counts the rows of earlier increments as landed, so no
 * increment may replace the object of another one. */
void
ob_options_finish_run(ObOptions *options)
{
	if (!options->watermark)
		return;
	if (!ob_key_is_of_run(options->key))
		fail("option \"watermark\" needs a key that no other run has",
			 "Put {run_id} into option \"key\": two runs can have the same "
			 "date and time.");
	options->keep_existing = true;
}

/* ---- the time that keys show ---- */

/* Whether it is the name of a zone of a fixed offset, such as "Etc/GMT-2". */
static bool
is_fixed(const char *name)
{
	const char *offset = name + strlen("Etc/GMT");
	bool west;
	size_t digits;

	if (pg_strncasecmp(name, "Etc/GMT", strlen("Etc/GMT")) != 0)
		return false;
	west = *offset == '+';
	offset += west || *offset == '-';
	digits = strspn(offset, "0123456789");
	return offset[digits] == '\0' && (digits == 1 || offset[0] == '1') &&
		   digits <= 2 && atoi(offset) <= (west ? 12 : 14);
}

/*
 * Whether the text can be meant as the name of a time zone.  PostgreSQL takes
 * an unknown name with a digit for a specification in POSIX form, where
 * "UTC+2" is two hours west, so nearly all of them are mistakes, and so is
 * "Etc/UTC+2".
 */
static bool
is_name(const char *name)
{
	for (const char *p = name; *p != '\0'; p++)
	{
		if (!isalnum((unsigned char) *p) && strchr("/_+-", *p) == NULL)
			return false;
	}
	return strpbrk(name, "0123456789") == NULL || is_fixed(name);
}

void
ob_read_timezone(ObOptionReader *reader)
{
	char *name = ob_option_nonempty(reader, TZ_STRLEN_MAX);
	pg_tz *zone = is_name(name) ? pg_tzset(name) : NULL;

	if (!zone || !pg_tz_acceptable(zone))
		ob_option_fail_value(reader, name, ZONE_HINT);
	reader->options->timezone = zone;
}

/* Reads a number of so many digits.  Returns false if there is none, or none
 * from min to max. */
static bool
read_number(const char **rest, int digits, int min, int max, int *number)
{
	*number = 0;
	for (int i = 0; i < digits; i++)
	{
		if (!isdigit((unsigned char) **rest))
			return false;
		*number = *number * 10 + (*(*rest)++ - '0');
	}
	return *number >= min && *number <= max;
}

static bool
read_character(const char **rest, char c)
{
	if (**rest != c)
		return false;
	(*rest)++;
	return true;
}

static bool
read_date(const char **rest, struct pg_tm *tm)
{
	return read_number(rest, 4, 1, 9999, &tm->tm_year) &&
		   read_character(rest, '-') &&
		   read_number(rest, 2, 1, 12, &tm->tm_mon) &&
		   read_character(rest, '-') &&
		   read_number(rest, 2, 1,
					   day_tab[isleap(tm->tm_year)][tm->tm_mon - 1],
					   &tm->tm_mday);
}

/* Reads a time of day.  Seconds may be missing; their fraction is skipped,
 * since no field of a key shows it. */
static bool
read_time(const char **rest, struct pg_tm *tm)
{
	if (!read_number(rest, 2, 0, 23, &tm->tm_hour) ||
		!read_character(rest, ':') ||
		!read_number(rest, 2, 0, 59, &tm->tm_min))
		return false;
	if (!read_character(rest, ':'))
		return true;
	if (!read_number(rest, 2, 0, 59, &tm->tm_sec))
		return false;
	if (!read_character(rest, '.'))
		return true;
	if (!isdigit((unsigned char) **rest))
		return false;
	while (isdigit((unsigned char) **rest))
		(*rest)++;
	return true;
}

/* Reads "Z", "+01", "+01:00" or "+0100" as seconds west of UTC, as PostgreSQL
 * counts them. */
static bool
read_offset(const char **rest, int *west)
{
	bool east = **rest == '+';
	int hours;
	int minutes = 0;

	*west = 0;
	if (read_character(rest, 'Z'))
		return true;
	if (!read_character(rest, '+') && !read_character(rest, '-'))
		return false;
	if (!read_number(rest, 2, 0, MAX_TZDISP_HOUR, &hours))
		return false;
	if ((read_character(rest, ':') || **rest != '\0') &&
		!read_number(rest, 2, 0, 59, &minutes))
		return false;
	*west = (hours * MINS_PER_HOUR + minutes) * SECS_PER_MINUTE;
	if (east)
		*west = -*west;
	return true;
}

/* Reads the whole text, in that time zone unless it has an offset.  zone NULL
 * stands for UTC. */
static bool
read_moment(const char *text, pg_tz *zone, TimestampTz *moment)
{
	struct pg_tm tm = {.tm_isdst = -1};
	int west = 0;
	bool given = false;

	if (!read_date(&text, &tm))
		return false;
	if (*text != '\0')
	{
		if (!read_character(&text, 'T') && !read_character(&text, ' '))
			return false;
		if (!read_time(&text, &tm))
			return false;
		given = *text != '\0';
		if (given && !read_offset(&text, &west))
			return false;
	}
	if (!given && zone)
		west = DetermineTimeZoneOffset(&tm, zone);
	return *text == '\0' && tm2timestamp(&tm, 0, &west, moment) == 0;
}

/* The time zone may come from another layer, so the moment is computed when
 * all of them are read. */
void
ob_read_as_of(ObOptionReader *reader)
{
	char *text = ob_option_nonempty(reader, MOMENT_MAX);
	TimestampTz moment;

	if (!read_moment(text, NULL, &moment))
		ob_option_fail_value(reader, text, MOMENT_HINT);
	reader->options->as_of = text;
}

void
ob_options_finish_time(ObOptions *options)
{
	const ObOptionReader reader = {options, "as_of", NULL};

	if (options->as_of &&
		!read_moment(options->as_of, options->timezone, &options->moment))
		ob_option_fail_value(&reader, options->as_of, MOMENT_HINT);
}
