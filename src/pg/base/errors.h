/*
 * errors.h
 *		From the core's ObError to PostgreSQL's ereport.
 *
 * src/pg/base/errors.h
 */
#ifndef OB_ERRORS_H
#define OB_ERRORS_H

#include "core/base/error.h"

/* Raises it: SQLSTATE by code, detail with S3's answer, a hint. */
extern _Noreturn void ob_report(const ObError *error);

/* The same with another hint; NULL: none. */
extern _Noreturn void ob_report_hint(const ObError *error, const char *help);

/* Says in a WARNING that an upload was not aborted: place is "s3://b/k", in
 * the database's encoding.  Does not raise it, nor look into catalogs. */
extern void ob_report_not_aborted(const ObError *error, const char *place);

/*
 * A text of the core, which is UTF-8, in the database's encoding; palloc'd.
 * What that does not have becomes "?": an error about the conversion would
 * take the place of the one that is reported.
 */
extern char *ob_report_text(const char *text);

/*
 * A text in the database's encoding as it can be said to the client: with "?"
 * for what is beyond ASCII if the client's encoding does not have all of it.
 * For notices and warnings: PostgreSQL would raise an error instead.
 */
extern const char *ob_report_client_text(const char *text);

/* The same without a look into catalogs, on the way to a transaction's abort.
 */
extern const char *ob_report_plain_text(const char *text);

/* Copies a text in the database's encoding into a field, cut between two
 * characters where it is too long; NULL becomes "". */
extern void ob_report_copy(char *field, Size size, const char *text);

/* The beginning of a text in the database's encoding, for a message that
 * repeats the user's input. */
extern const char *ob_report_clip(const char *text);

#endif
