/*
 * timestamp.c
 *		Times as web services write them.
 *
 * src/core/text/timestamp.c
 */
#include "core/text/timestamp.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Reads the first n characters, which are digits. */
static int
number_at(const char *text, int n)
{
	int value = 0;

	while (n-- > 0)
		value = value * 10 + (*text++ - '0');
	return value;
}

time_t
ob_timestamp_parse(const char *text)
{
	static const char shape[] = "0000-00-00T00:00:00";
	struct tm tm = {0};
	struct tm normal;
	time_t when;

	for (size_t i = 0; shape[i] != '\0'; i++)
		if (shape[i] == '0' ? text[i] < '0' || text[i] > '9'
							: text[i] != shape[i])
			return 0;
	tm.tm_year = number_at(text, 4) - 1900;
	tm.tm_mon = number_at(text + 5, 2) - 1;
	tm.tm_mday = number_at(text + 8, 2);
	tm.tm_hour = number_at(text + 11, 2);
	tm.tm_min = number_at(text + 14, 2);
	tm.tm_sec = number_at(text + 17, 2);
	text += strlen(shape);
	if (*text == '.')
		text += 1 + strspn(text + 1, "0123456789");
	if (strcmp(text, "Z") != 0 && strcmp(text, "+00:00") != 0)
		return 0;
	normal = tm;
	when = timegm(&normal); /* timegm() turns February 30 into March 1 or 2 */
	if (when < 0 || normal.tm_mon != tm.tm_mon ||
		normal.tm_mday != tm.tm_mday || normal.tm_hour != tm.tm_hour ||
		normal.tm_min != tm.tm_min || normal.tm_sec != tm.tm_sec)
		return 0;
	return when;
}

time_t
ob_timestamp_parse_http(const char *text)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm = {0};
	char month[4];
	char zone[4];
	const char *at;

	if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d %3s",
			   &tm.tm_mday, month, &tm.tm_year, &tm.tm_hour, &tm.tm_min,
			   &tm.tm_sec, zone) != 7 ||
		strcmp(zone, "GMT") != 0 || strlen(month) != 3)
		return 0;
	at = strstr(months, month);
	if (!at || (at - months) % 3 != 0)
		return 0;
	tm.tm_mon = (int) (at - months) / 3;
	tm.tm_year -= 1900;
	return timegm(&tm);
}
