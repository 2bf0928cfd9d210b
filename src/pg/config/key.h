/*
 * key.h
 *		Where an export lands: the key template and its fields.
 *
 * src/pg/config/key.h
 *
 * A template is a text with fields in braces: "{prefix}{name}.{ext}".  "{{"
 * and "}}" stand for the braces themselves.  Names are percent-encoded, so
 * that no table's name can make a folder of its own; all other text is taken
 * as it is.
 */
#ifndef OB_KEY_H
#define OB_KEY_H

#include "datatype/timestamp.h"
#include "pgtime.h"

/* Below the server's prefix: what onboard writes itself, of each run in a
 * folder of its own.  No export lands there. */
#define OB_KEY_OWN_FOLDER "_onboard/"

/* Texts are in the database's encoding; NULL counts as "". */
typedef struct ObKeyFields
{
	const char *prefix;   /* the server's */
	const char *name;     /* of the table or export; encoded here */
	const char *database; /* encoded here */
	TimestampTz when;     /* {date}, {time}, {year} and so on show it */
	pg_tz *zone;          /* in this time zone; NULL: UTC */
	const char *run_id;
	int part;        /* the file's number within the run */
	const char *ext; /* the format's and the codec's: "csv.gz" */
} ObKeyFields;

/*
 * The key in UTF-8, palloc'd.  template NULL is the default template.  Raises
 * for a bad template, and for a key that is empty, too long or a URI, or has
 * control characters.
 */
extern char *ob_key_expand(const char *template, const ObKeyFields *fields);

/* Raises if an export must not land there: in a folder for what onboard writes
 * of runs, of this server's prefix or of any other.  key is UTF-8. */
extern void ob_key_check_own(const char *key, const char *prefix);

/* Raises for a bad template, before there is anything to fill it with. */
extern void ob_key_check(const char *template);

/* Whether the template has {run_id}, so that no two runs share a key.  No
 * field of dates and times counts: concurrent runs can have the same ones, and
 * so can those to which the caller gives one moment. */
extern bool ob_key_is_of_run(const char *template);

#endif
