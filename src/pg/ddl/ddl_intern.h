/*
 * ddl_intern.h
 *		What the dialects share.
 *
 * src/pg/ddl/ddl_intern.h
 *
 * Names of tables and columns, keys, delimiters and other texts come from
 * users of the database, who must not be able to write a statement with them:
 * each goes through ob_ddl_identifier() or ob_ddl_literal(), with the quoting
 * of the dialect.  Comments of a statement have nothing of a user's.
 */
#ifndef OB_DDL_INTERN_H
#define OB_DDL_INTERN_H

#include "lib/stringinfo.h"

#include "pg/ddl/ddl.h"
#include "pg/ddl/types.h"

/* How identifiers and literals are quoted. */
typedef struct ObQuoting
{
	char quote;                 /* of identifiers */
	bool backslash_identifiers; /* else a quote is written twice */
	bool backslash;             /* begins an escape in literals */
	bool twice;                 /* a quote in a literal is written twice */
	const char *control;        /* printf's format of a control character in a
								 * literal; NULL: as it is */
} ObQuoting;

/* Backslashes are escapes in the literals of most engines. */
extern const ObQuoting ob_quoting_standard; /* 'it''s \', "a" */
extern const ObQuoting ob_quoting_redshift; /* 'it''s \\', "a" */
extern const ObQuoting ob_quoting_hive;     /* 'it\'s \\', `a` */
extern const ObQuoting ob_quoting_c; /* the same, with C's other escapes */

extern void ob_ddl_identifier(StringInfo to, const ObQuoting *quoting,
							  const char *name);
extern void ob_ddl_literal(StringInfo to, const ObQuoting *quoting,
						   const char *text);

/* Where the objects of an export are. */
typedef struct ObPlaceOf
{
	const char *directory; /* up to and with the last slash; "": the bucket */
	bool own;              /* the directory depends on the export's name */
	const List *file;      /* the rest of the key, of ObKeyPiece * */
} ObPlaceOf;

typedef struct ObDialect ObDialect;

/* What a dialect writes a statement from. */
typedef struct ObDdl
{
	const ObDialect *dialect;
	const ObLanding *landing;
	const ObCopyOptions *copy;
	ObFormatKind format;
	ObPlaceOf place;
	const ObType *columns;
	int ncolumns;
	const ObTypeNames *types;
	StringInfo out;
} ObDdl;

/* The names of columns that an engine takes. */
typedef enum ObNamesTaken
{
	OB_NAMES_ANY,
	OB_NAMES_NO_SEPARATORS, /* no blank, comma, ;{}()= */
	OB_NAMES_PLAIN,         /* ASCII letters, digits and _ */
	OB_NAMES_BIGQUERY       /* these, no digit first, no reserved prefix */
} ObNamesTaken;

struct ObDialect
{
	const char *name;
	const char *engine; /* in messages */
	/* by format; NULL: it cannot be read */
	const ObTypeNames *csv, *text, *json, *parquet;
	const char *codecs;         /* of csv, text and JSON, with blanks */
	const char *parquet_codecs; /* of pages */
	bool delta;                 /* reads "encodings": "delta" */
	ObNamesTaken names;
	bool folds;        /* does not tell case in names apart */
	bool by_line;      /* skips a header as a line, whatever is quoted in it */
	bool blank_lines;  /* reads a null alone in its row of csv */
	bool rounds_json;  /* its numbers of JSON may be floating-point ones */
	bool by_extension; /* knows a codec by the end of the key */
	bool whole;        /* reads all objects of the directory */
	const char *hidden_first; /* but none whose name begins so, */
	const char *hidden_last;  /* or ends so; NULL: however it ends */
	int scale_max;            /* of decimals */
	void (*write)(ObDdl *ddl);
};

/* Raises that the dialect cannot read what would be written.  The hint names
 * what would help. */
extern _Noreturn void ob_ddl_refuse(const ObDdl *ddl, const char *why,
									const char *hint);

/* Appends "name type", with commas and new lines between the columns. */
extern void ob_ddl_columns(ObDdl *ddl, const ObQuoting *quoting);
extern void ob_ddl_type(const ObDdl *ddl, StringInfo to, const ObType *type);

/* Returns the name in lower case, with _ for each character that is neither a
 * letter nor a digit of ASCII; palloc'd. */
extern const char *ob_ddl_plain_name(const char *name);

/* Returns whether some value of csv may have quotes around it: a text, or one
 * that has the delimiter in it. */
extern bool ob_ddl_may_quote(const ObDdl *ddl);

/* These raise for options of csv that the dialect has no words for. */
extern void ob_ddl_require_doubled_quotes(const ObDdl *ddl);
extern void ob_ddl_require_quote(const ObDdl *ddl, const char *allowed);
extern void ob_ddl_require_empty_null(const ObDdl *ddl);
extern void ob_ddl_require_null(const ObDdl *ddl);

/* The character as a text; palloc'd. */
extern const char *ob_ddl_char(char c);

/* location.c: finds the place; raises if there is no one directory, or none
 * that the dialect finds. */
extern void ob_ddl_find_place(ObDdl *ddl);

/* Returns "scheme://bucket/directory", palloc'd. */
extern char *ob_ddl_directory(const ObDdl *ddl, const char *scheme);

/* Returns the pattern of the names of its files: escape writes a piece of
 * text, and any stands for one character of a field, or all for any number. */
extern char *ob_ddl_file_pattern(const ObDdl *ddl,
								 void (*escape)(StringInfo to,
												const char *text),
								 const char *any, const char *all);

/* Returns what all of these names begin with, and end with; an empty pattern
 * in between, if there is any, is of *fields. */
extern void ob_ddl_file_ends(const ObDdl *ddl, char **head, char **tail,
							 bool *fields);

/* The dialects, each in the file of its engine. */
extern const ObDialect ob_dialect_athena;
extern const ObDialect ob_dialect_glue;
extern const ObDialect ob_dialect_spectrum;
extern const ObDialect ob_dialect_redshift;
extern const ObDialect ob_dialect_spark;
extern const ObDialect ob_dialect_duckdb;
extern const ObDialect ob_dialect_snowflake;
extern const ObDialect ob_dialect_bigquery;
extern const ObDialect ob_dialect_clickhouse;

#endif
