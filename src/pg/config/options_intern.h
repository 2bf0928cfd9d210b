/*
 * options_intern.h
 *		Declarations that the options*.c files share.
 *
 * src/pg/config/options_intern.h
 *
 *	   options.c		the table of options; layers; the whole
 *	   options_parquet.c	Parquet's
 *	   options_run.c	those of a run, its time, and increments
 *	   options_s3.c		S3's: the object's headers, and how it is written
 *	   option_reader.c	one value, by its JSON type
 */
#ifndef OB_OPTIONS_INTERN_H
#define OB_OPTIONS_INTERN_H

#include "pg/config/options.h"

typedef struct ObOptionReader
{
	ObOptions *options;
	const char *name; /* name of the option that is being read */
	const JsonbValue *value;
} ObOptionReader;

/* Raises "option ... must be <what>". */
extern _Noreturn void ob_option_fail_type(const ObOptionReader *reader,
										  const char *what);

/* Raises "invalid value ... for option ...". */
extern _Noreturn void ob_option_fail_value(const ObOptionReader *reader,
										   const char *value,
										   const char *hint);

/* Raises if a text of the option is longer. */
extern void ob_option_check_length(const ObOptionReader *reader, size_t len,
								   size_t max);

/* Return the value if it has that type, else raise.  Strings are palloc'd. */
extern bool ob_option_boolean(const ObOptionReader *reader);
extern char *ob_option_string(const ObOptionReader *reader);
/* Returns a string that is not empty, and not longer than max bytes. */
extern char *ob_option_nonempty(const ObOptionReader *reader, size_t max);
extern char ob_option_character(const ObOptionReader *reader);

/* Returns a whole number.  hint lists what is allowed. */
extern int64 ob_option_integer(const ObOptionReader *reader, int64 min,
							   int64 max, const char *hint);

/* Reads one of two words, and returns whether it is the second. */
extern bool ob_option_either(const ObOptionReader *reader, const char *no,
							 const char *yes);

/* Whether the value is that boolean, and not another value or type. */
extern bool ob_option_is_boolean(const ObOptionReader *reader, bool value);

/* Returns a string within the option's value, not longer than max bytes;
 * palloc'd. */
extern char *ob_option_item(const ObOptionReader *reader,
							const JsonbValue *value, size_t max);

/* An array of names, of one at least, as a list of char *. */
extern List *ob_option_names(const ObOptionReader *reader, const char *what);

/* Returns a copy of a JSON string; palloc'd. */
extern char *ob_option_copy(const JsonbValue *value);

/* Options of S3. */
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

/* Raises for conflicts that only several of these options show. */
extern void ob_options_check_s3(const ObOptions *options);

/* Options of the moment that keys show. */
extern void ob_read_as_of(ObOptionReader *reader);
extern void ob_read_timezone(ObOptionReader *reader);
extern void ob_options_finish_time(ObOptions *options);

/* Options of format "parquet". */
extern void ob_read_bloom_filter(ObOptionReader *reader);
extern void ob_read_dictionary(ObOptionReader *reader);
extern void ob_read_encodings(ObOptionReader *reader);
extern void ob_read_numeric(ObOptionReader *reader);
extern void ob_read_page_size(ObOptionReader *reader);
extern void ob_read_row_group_rows(ObOptionReader *reader);
extern void ob_read_row_group_size(ObOptionReader *reader);
extern void ob_read_unrepresentable(ObOptionReader *reader);
extern void ob_read_uuid(ObOptionReader *reader);
extern void ob_options_finish_parquet(ObOptions *options);

/* Options of a run. */
extern void ob_read_manifest(ObOptionReader *reader);
extern void ob_read_publish(ObOptionReader *reader);
extern void ob_read_watermark(ObOptionReader *reader);
extern void ob_options_finish_run(ObOptions *options);

#endif
