/*
 * options_intern.h
 *		What the options*.c files have in common.
 *
 * src/pg/config/options_intern.h
 *
 *	   options.c		the table of options; layers; the whole
 *	   options_parquet.c	Parquet's
 *	   options_run.c	those of a whole run, and of increments
 *	   options_s3.c		S3's: the object's headers, and how it is written
 *	   options_time.c	the moment that keys show
 *	   options_value.c	one value, by its JSON type
 */
#ifndef OB_OPTIONS_INTERN_H
#define OB_OPTIONS_INTERN_H

#include "pg/config/options.h"

typedef struct ObOptionReader
{
	ObOptions *options;
	const char *name; /* of the option that is being read */
	const JsonbValue *value;
} ObOptionReader;

/* "option ... must be <what>" */
extern _Noreturn void ob_option_fail_type(const ObOptionReader *reader,
										  const char *what);

/* "invalid value ... for option ..." */
extern _Noreturn void ob_option_fail_value(const ObOptionReader *reader,
										   const char *value,
										   const char *hint);

/* Raises if a text of the option's has more bytes. */
extern void ob_option_check_length(const ObOptionReader *reader, size_t len,
								   size_t max);

/* The value, if it is of that type; else an error.  Strings are palloc'd. */
extern bool ob_option_boolean(const ObOptionReader *reader);
extern char *ob_option_string(const ObOptionReader *reader);
/* Not empty, and of so many bytes at most. */
extern char *ob_option_nonempty(const ObOptionReader *reader, size_t max);
extern char ob_option_character(const ObOptionReader *reader);

/* A whole number; hint says what is allowed. */
extern int64 ob_option_integer(const ObOptionReader *reader, int64 min,
							   int64 max, const char *hint);

/* One of two words; true: the second. */
extern bool ob_option_either(const ObOptionReader *reader, const char *no,
							 const char *yes);

/* Whether it is this boolean, and not another one or of another type. */
extern bool ob_option_is_boolean(const ObOptionReader *reader, bool value);

/* A string within the option, of so many bytes at most; palloc'd. */
extern char *ob_option_item(const ObOptionReader *reader,
							const JsonbValue *value, size_t max);

/* An array of names, of one at least, as a list of char *. */
extern List *ob_option_names(const ObOptionReader *reader, const char *what);

/* A JSON string, palloc'd. */
extern char *ob_option_copy(const JsonbValue *value);

/* S3's options */
extern void ob_read_acl(ObOptionReader *reader);
extern void ob_read_bucket_key(ObOptionReader *reader);
extern void ob_read_checksum(ObOptionReader *reader);
extern void ob_read_content_type(ObOptionReader *reader);
extern void ob_read_expected_bucket_owner(ObOptionReader *reader);
extern void ob_read_kms_key_id(ObOptionReader *reader);
extern void ob_read_metadata(ObOptionReader *reader);
extern void ob_read_overwrite(ObOptionReader *reader);
extern void ob_read_requester_pays(ObOptionReader *reader);
extern void ob_read_sse(ObOptionReader *reader);
extern void ob_read_storage_class(ObOptionReader *reader);
extern void ob_read_tags(ObOptionReader *reader);

/* Checks what only several of them show. */
extern void ob_options_check_s3(const ObOptions *options);

/* Those of the moment that keys show */
extern void ob_read_as_of(ObOptionReader *reader);
extern void ob_read_timezone(ObOptionReader *reader);
extern void ob_options_finish_time(ObOptions *options);

/* Those of format "parquet" */
extern void ob_read_dictionary(ObOptionReader *reader);
extern void ob_read_encodings(ObOptionReader *reader);
extern void ob_read_numeric(ObOptionReader *reader);
extern void ob_read_page_size(ObOptionReader *reader);
extern void ob_read_row_group_rows(ObOptionReader *reader);
extern void ob_read_row_group_size(ObOptionReader *reader);
extern void ob_read_unrepresentable(ObOptionReader *reader);
extern void ob_read_uuid(ObOptionReader *reader);
extern void ob_options_finish_parquet(ObOptions *options);

/* Those of a run */
extern void ob_read_manifest(ObOptionReader *reader);
extern void ob_read_publish(ObOptionReader *reader);
extern void ob_read_watermark(ObOptionReader *reader);
extern void ob_options_finish_run(ObOptions *options);

#endif
