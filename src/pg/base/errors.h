/*
 * errors.h
 *		An ObError of the core as an ereport of PostgreSQL.
 *
 * src/pg/base/errors.h
 */
#ifndef OB_ERRORS_H
#define OB_ERRORS_H

#include "core/base/error.h"

/* Raises the error: SQLSTATE by its code, the store's response as DETAIL, and
 * a hint. */
extern _Noreturn void ob_report(const ObError *error);

/* Does the same with the caller's hint, or without a hint if that is NULL. */
extern _Noreturn void ob_report_hint(const ObError *error, const char *help);

/* Returns why it failed, with the store's request id, for a row of a result;
 * palloc'd. */
extern char *ob_report_cause(const ObError *error);

/* Says in a WARNING that an upload was not aborted.  place is
 * "s3://bucket/key", in the database's encoding.  Does not raise the error,
 * and reads no catalogs. */
extern void ob_report_not_aborted(const ObError *error, const char *place);

/*
 * Returns a text of the core, which is UTF-8, in the database's encoding;
 * palloc'd.  Characters that this encoding lacks become "?": an error about
 * the conversion would hide the one that is reported.
 */
extern char *ob_report_text(const char *text);

/*
 * Returns a text in the database's encoding such that it can be sent to the
 * client: if the client's encoding lacks a character of it, all beyond ASCII
 * becomes "?".  Notices and warnings need this, because PostgreSQL would raise
 * an error instead.
 */
extern const char *ob_report_client_text(const char *text);

/* Does the same without reading catalogs, for code that runs while a
 * transaction aborts. */
extern const char *ob_report_plain_text(const char *text);

/* Copies a text in the database's encoding into a field, cut between two
 * characters if it is too long.  NULL becomes "". */
extern void ob_report_copy(char *field, Size size, const char *text);

/* Returns the beginning of a text in the database's encoding, for a message
 * that repeats the user's input. */
extern const char *ob_report_clip(const char *text);

#endif
