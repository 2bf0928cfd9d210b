/*
 * key.h
 *		Where an export lands: the key template and its fields.
 *
 * src/pg/key.h
 *
 * A template is a text with fields in braces: "{prefix}{name}.{ext}".  "{{"
 * and "}}" stand for the braces themselves.  Names are percent-encoded, so
 * that no table's name can make a folder of its own; all other text is taken
 * as it is.
 */
#ifndef OB_KEY_H
#define OB_KEY_H

#include "datatype/timestamp.h"

/* Texts are in the database's encoding; NULL counts as "". */
typedef struct ObKeyFields
{
	const char *prefix;   /* the server's */
	const char *name;     /* of the table or export; encoded here */
	const char *database; /* encoded here */
	TimestampTz when;     /* {date} YYYY-MM-DD and {time} HHMMSS, in UTC */
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

/* Raises for a bad template, before there is anything to fill it with. */
extern void ob_key_check(const char *template);

/* Whether keys of that template differ from run to run: by date, time or
 * run_id. */
extern bool ob_key_varies(const char *template);

#endif
