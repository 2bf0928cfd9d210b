/*
 * key.h
 *		The key of an export: its template and its fields.
 *
 * src/pg/config/key.h
 *
 * A template is a text with fields in braces: "{prefix}{name}.{ext}".  "{{"
 * and "}}" stand for the braces themselves.  Names are percent-encoded, so
 * that no table's name can make a folder of its own; all other text stays as
 * it is.
 */
#ifndef OB_KEY_H
#define OB_KEY_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "pgtime.h"

/* The folder, below the server's prefix, of onboard's own objects; each run
 * has a folder in it.  No export lands there. */
#define OB_KEY_OWN_FOLDER "_onboard/"

/* The values of a template's fields.  Texts are in the database's encoding;
 * NULL counts as "". */
typedef struct ObKeyFields
{
	const char *prefix;   /* the server's prefix */
	const char *name;     /* name of the export; encoded here */
	const char *database; /* encoded by ob_key_expand() */
	TimestampTz when; /* moment that {date}, {time}, {year} and so on show */
	pg_tz *zone;      /* time zone in which they show it; NULL: UTC */
	const char *run_id;
	int part;        /* number of the file within the run */
	const char *ext; /* extensions of format and codec: "csv.gz" */
} ObKeyFields;

/*
 * Returns the key in UTF-8, palloc'd.  template NULL is the default template.
 * Raises for a bad template, and for a key that is empty, too long or a URI,
 * or has control characters.
 */
extern char *ob_key_expand(const char *template, const ObKeyFields *fields);

/* A piece of a template. */
typedef struct ObKeyPiece
{
	const char *field; /* NULL: text of the template */
	const char *text; /* what the key has for it, in the database's encoding */
} ObKeyPiece;

/* Returns the pieces of a template, of ObKeyPiece *, which together are the
 * key.  template NULL is the default template. */
extern List *ob_key_pieces(const char *template, const ObKeyFields *fields);

/* Raises if no export may land at that key, because it is in onboard's own
 * folder below this server's prefix or below any other.  key is UTF-8. */
extern void ob_key_check_own(const char *key, const char *prefix);

/* Raises for a bad template, before there are values for its fields. */
extern void ob_key_check(const char *template);

/* Whether the template has {run_id}, so that no two runs share a key.  No
 * field of dates and times counts: concurrent runs can have the same ones, and
 * so can those to which the caller gives one moment. */
extern bool ob_key_is_of_run(const char *template);

#endif
