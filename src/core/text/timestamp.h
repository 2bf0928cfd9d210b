/*
 * timestamp.h
 *		Times as web services write them.
 *
 * src/core/text/timestamp.h
 */
#ifndef OB_TIMESTAMP_H
#define OB_TIMESTAMP_H

#include <time.h>

/* "2006-03-01T12:00:00Z", the seconds with a fraction or without, or with
 * "+00:00" instead of the "Z"; 0 for anything else. */
extern time_t ob_timestamp_parse(const char *text);

/* "Sun, 06 Nov 1994 08:49:37 GMT", whatever the locale; 0 for anything else,
 * including HTTP's two obsolete forms. */
extern time_t ob_timestamp_parse_http(const char *text);

#endif
