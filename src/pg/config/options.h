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
	/* flags of COPY's options that were given, to find conflicts */
	const char *format_name; /* NULL: csv */
	bool has_header, has_delimiter, has_null, has_quote, has_escape;
	bool has_force_quote, has_encoding;

	const char
		*parquet_option; /* one of Parquet's that was given; NULL: none */

	const char *compression; /* as given; NULL: the format's default */
	const ObCodec *codec;    /* of the object as a whole */
	int compression_level;   /* the codec's default if not given */
	bool has_level;

	char *server;       /* NULL: the setting onboard.server */
	char *key;          /* key template; NULL: the default one */
	pg_tz *timezone;    /* time zone of the fields of keys; NULL: UTC */
	char *as_of;        /* moment that they show; NULL: the time of the run */
	TimestampTz moment; /* the same moment, once all options are read */
	int64 part_size;    /* bytes; the setting if not given */
	int connections;    /* the setting if not given */
	bool write_empty;   /* "empty": "write" */
	bool schema;        /* a _schema.json stands beside the object */
	bool raise_errors;  /* "on_error": "raise"; onboard_all only */
	int parallel; /* number of workers; 0: off; OB_PARALLEL_AUTO: the planner
				   * decides */
	bool has_parallel;

	/* options of the run: see options_run.c */
	bool manifest; /* always set if together */
	bool has_manifest;
	bool together;   /* "publish": "together" */
	char *watermark; /* name of its column; NULL: all rows */
	char *overlap;   /* NULL: none */

	/* headers of the object; NULL: not sent */
	char *content_type; /* NULL: that of the format or codec */
	char *storage_class;
	char *acl;
	ObPairList tags;
	ObPairList metadata;
	char *sse;
	char *kms_key_id;
	bool bucket_key;
	bool has_bucket_key;

	/* headers of all requests; NULL and false: not sent */
	char *expected_bucket_owner;
	bool requester_pays;

	ObChecksum checksum;
	bool keep_existing; /* set by "overwrite": "error", and for each increment
						 */
} ObOptions;

/* The source of a layer, which decides what options it may have. */
typedef enum ObOptionsFor
{
	OB_OPTIONS_TABLE,
	OB_OPTIONS_ALL, /* has on_error, too */
	OB_OPTIONS_REGISTRY,
	OB_OPTIONS_ABORT, /* only those that all requests carry */
	OB_OPTIONS_VERIFY /* also where the requests go, and how many at once */
} ObOptionsFor;

/* Returns options that are all zero, in the current memory context. */
extern ObOptions *ob_options_new(void);

/*
 * Reads one layer over the values so far.  where names the layer in error
 * messages, for instance "options of registered table \"orders\"" or
 * "options".  Values are copied into the current memory context.
 */
extern void ob_options_read(ObOptions *options, Jsonb *layer, ObOptionsFor who,
							const char *where);

/* Checks the options as a whole, and fills the defaults (also from the
 * settings). */
extern void ob_options_finish(ObOptions *options);

/* The settings, which module.c defines as GUCs.  Sizes are in kB and times in
 * ms, as the units of their GUCs say. */
extern char *onboard_server;
extern int onboard_part_size;     /* kB */
extern int onboard_upload_memory; /* kB */
extern int onboard_connections;
extern int onboard_parallel_tables; /* number of workers of onboard_all() */
extern int onboard_connect_timeout; /* ms */
extern int onboard_stall_timeout;   /* ms */
extern int onboard_retry_deadline;  /* ms */

#endif
