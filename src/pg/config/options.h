/*
 * options.h
 *		The options of an export: jsonb in, a checked struct out.
 *
 * src/pg/config/options.h
 *
 * Options come in layers, each a jsonb object: the registry's row first, then
 * the call.  A later layer wins key by key.  Every key and value is checked
 * when its layer is read, and ob_options_finish() checks what only the whole
 * shows (a quote with format text) and fills the defaults.  All errors are
 * ereports that name the option, with a hint that lists what is allowed.
 */
#ifndef OB_OPTIONS_H
#define OB_OPTIONS_H

#include "datatype/timestamp.h"
#include "pgtime.h"
#include "utils/jsonb.h"

#include "core/base/hash.h"
#include "core/sink/sink.h"
#include "pg/encode/encode.h"

typedef struct ObPairList /* names and values, palloc'd */
{
	int n;
	char **names;
	char **values;
} ObPairList;

#define OB_PARALLEL_AUTO (-1)
#define OB_PARALLEL_MAX 64

typedef struct ObOptions
{
	ObCopyOptions copy;
	/* which of COPY's options were given, for the conflicts */
	const char *format_name; /* NULL: csv */
	bool has_header, has_delimiter, has_null, has_quote, has_escape;
	bool has_force_quote, has_encoding;

	const char *parquet_option; /* one of Parquet's that was given; NULL: none */

	const char *compression; /* as given; NULL: the format's default */
	const ObCodec *codec;    /* of the object as a whole */
	int compression_level; /* the codec's default if not given */
	bool has_level;

	char *server;       /* NULL: the setting onboard.server */
	char *key;          /* key template; NULL: the default one */
	pg_tz *timezone;    /* of the fields of keys; NULL: UTC */
	char *as_of;        /* what they show; NULL: the run's own time */
	TimestampTz moment; /* the same, once all options are read */
	int64 part_size;    /* bytes; the setting if not given */
	int connections;    /* the setting if not given */
	bool write_empty;   /* "empty": "write" */
	bool raise_errors;  /* "on_error": "raise"; onboard_all only */
	int parallel; /* workers; OB_PARALLEL_AUTO: as the planner likes; 0: off */
	bool has_parallel;

	/* of the run: see options_run.c */
	bool manifest; /* also if together */
	bool has_manifest;
	bool together;   /* "publish": "together" */
	char *watermark; /* its column; NULL: all rows */
	char *overlap;   /* NULL: none */

	/* S3's object options; NULL: not sent */
	char *content_type; /* NULL: the format's, or the codec's */
	char *storage_class;
	char *acl;
	ObPairList tags;
	ObPairList metadata;
	char *sse;
	char *kms_key_id;
	bool bucket_key;
	bool has_bucket_key;

	/* of all requests; NULL and false: not sent */
	char *expected_bucket_owner;
	bool requester_pays;

	ObChecksum checksum;
	bool keep_existing; /* "overwrite": "error", and each increment */
} ObOptions;

/* Who is asking: not every option is for everybody. */
typedef enum ObOptionsFor
{
	OB_OPTIONS_TABLE,
	OB_OPTIONS_ALL, /* also on_error */
	OB_OPTIONS_REGISTRY,
	OB_OPTIONS_ABORT /* only what all requests carry */
} ObOptionsFor;

/* Zeroes, in the current memory context. */
extern ObOptions *ob_options_new(void);

/*
 * Reads one layer over what is there.  where names it in error messages, e.g.
 * "options of registered table \"orders\"" or "options"; the values are copied
 * into the current memory context.
 */
extern void ob_options_read(ObOptions *options, Jsonb *layer, ObOptionsFor who,
							const char *where);

/* Checks the whole and fills the defaults (also from the settings). */
extern void ob_options_finish(ObOptions *options);

/* The settings, defined in module.c.  Sizes in kB, times in ms, as the units
 * of their GUCs say. */
extern char *onboard_server;
extern int onboard_part_size;     /* kB */
extern int onboard_upload_memory; /* kB */
extern int onboard_connections;
extern int onboard_parallel_tables; /* workers of onboard_all() */
extern int onboard_connect_timeout; /* ms */
extern int onboard_stall_timeout;   /* ms */
extern int onboard_retry_deadline;  /* ms */

#endif
