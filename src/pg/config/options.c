/*
 * options.c
 *		The options of an export: jsonb in, a checked struct out.
 *
 * src/pg/config/options.c
 *
 * One table names the options, each with the function that reads it; a new
 * option is one line there and one function.  A reader checks the value of its
 * own option; ob_options_finish() checks the conflicts between options.
 * Messages are our own even if the rule is COPY's, so that they name the
 * option and stay the same over PostgreSQL's versions.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"

#include "core/sink/sink.h"
#include "pg/encode/encode.h"
#include "pg/config/key.h"
#include "pg/config/options_intern.h"
#include "pg/base/errors.h"

#define PART_SIZE_MIN (INT64CONST(5) * 1024 * 1024)
#define PART_SIZE_MAX (INT64CONST(5) * 1024 * 1024 * 1024)
#define CONNECTIONS_MAX 64
/* The fields may be longer than their values; a key has 1,024 bytes. */
#define TEMPLATE_MAX 2048
#define NULL_TEXT_MAX 8192

#define FOR(who) (1u << (who))
#define EXPORTS \
	(FOR(OB_OPTIONS_TABLE) | FOR(OB_OPTIONS_ALL) | FOR(OB_OPTIONS_REGISTRY))
#define CALLS (FOR(OB_OPTIONS_TABLE) | FOR(OB_OPTIONS_ALL))
#define READERS (EXPORTS | FOR(OB_OPTIONS_VERIFY))
#define EVERYBODY (READERS | FOR(OB_OPTIONS_ABORT))

typedef struct OptionSpec
{
	const char *name;
	void (*read)(ObOptionReader *reader);
	unsigned who; /* sources that may give it: FOR(OB_OPTIONS_...) */
} OptionSpec;

char *onboard_server;
int onboard_part_size;
int onboard_upload_memory;
int onboard_connections;
int onboard_parallel_tables;
int onboard_connect_timeout;
int onboard_stall_timeout;
int onboard_retry_deadline;

/* ---- COPY's options ---- */

static void
read_format(ObOptionReader *reader)
{
	char *text = ob_option_string(reader);
	const ObFormat *format = ob_format_lookup(text);

	if (format == NULL)
	{
		StringInfoData hint;

		initStringInfo(&hint);
		for (format = ob_formats(); format->name; format++)
			appendStringInfo(&hint, "%s%s", hint.len ? ", " : "",
							 format->name);
		ob_option_fail_value(reader, text,
							 psprintf("Allowed values: %s.", hint.data));
	}
	reader->options->format_name = format->name;
}

static void
read_header(ObOptionReader *reader)
{
	reader->options->copy.header = ob_option_boolean(reader);
	reader->options->has_header = true;
}

static void
read_delimiter(ObOptionReader *reader)
{
	char c = ob_option_character(reader);

	if (c == '\n' || c == '\r')
		ob_option_fail_value(reader, c == '\n' ? "\\n" : "\\r",
							 "A newline or carriage return ends a row.");
	reader->options->copy.delimiter = c;
	reader->options->has_delimiter = true;
}

static void
read_null(ObOptionReader *reader)
{
	char *text = ob_option_string(reader);

	ob_option_check_length(reader, strlen(text), NULL_TEXT_MAX);
	if (strpbrk(text, "\r\n") != NULL)
		ob_option_fail_value(
			reader, text, "It must not contain a newline or carriage return.");
	reader->options->copy.null_text = text;
	reader->options->has_null = true;
}

static void
read_quote(ObOptionReader *reader)
{
	reader->options->copy.quote = ob_option_character(reader);
	reader->options->has_quote = true;
}

static void
read_escape(ObOptionReader *reader)
{
	reader->options->copy.escape = ob_option_character(reader);
	reader->options->has_escape = true;
}

List *
ob_option_names(const ObOptionReader *reader, const char *what)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;
	List *names = NIL;

	if (reader->value->type != jbvBinary ||
		!JsonContainerIsArray(reader->value->val.binary.data))
		ob_option_fail_type(reader, what);
	it = JsonbIteratorInit(reader->value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (item.type != jbvString)
			break;
		names = lappend(names, ob_option_item(reader, &item, NAMEDATALEN - 1));
	}
	if (token != WJB_DONE || names == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be %s", reader->name, what),
				 errhint("The array must have one name at least, each of them "
						 "a string.")));
	return names;
}

static void
read_force_quote(ObOptionReader *reader)
{
	ObCopyOptions *copy = &reader->options->copy;
	const JsonbValue *value = reader->value;

	copy->force_quote = NIL;
	copy->force_quote_all =
		ob_option_is_boolean(reader, true) ||
		(value->type == jbvString && strcmp(ob_option_copy(value), "*") == 0);
	reader->options->has_force_quote = !ob_option_is_boolean(reader, false);
	if (!copy->force_quote_all && reader->options->has_force_quote)
		copy->force_quote = ob_option_names(
			reader, "a boolean, \"*\" or an array of column names");
}

static void
read_encoding(ObOptionReader *reader)
{
	char *text = ob_option_string(reader);
	/* pg_char_to_encoding() raises an error of its own for longer names */
	int encoding = strlen(text) < NAMEDATALEN ? pg_char_to_encoding(text) : -1;

	if (encoding < 0)
		ob_option_fail_value(
			reader, text, "Give one of PostgreSQL's encodings, such as UTF8.");
	reader->options->copy.encoding = encoding;
	reader->options->has_encoding = true;
}

/* ---- the object and its upload ---- */

static void
read_compression(ObOptionReader *reader)
{
	char *text = ob_option_string(reader);

	/* Parquet has one more than objects as a whole */
	if (!ob_codec_lookup(text) && strcmp(text, "snappy") != 0)
	{
		StringInfoData hint;

		initStringInfo(&hint);
		for (const ObCodec *codec = ob_codecs(); codec->name; codec++)
			appendStringInfo(&hint, "%s%s", hint.len ? ", " : "", codec->name);
		ob_option_fail_value(reader, text,
							 psprintf("Allowed values: %s; with format "
									  "parquet, also snappy.",
									  hint.data));
	}
	reader->options->compression = text;
}

/* Its range depends on the codec, which a later layer may change. */
static void
read_compression_level(ObOptionReader *reader)
{
	reader->options->compression_level = ob_option_integer(
		reader, PG_INT32_MIN, PG_INT32_MAX,
		"It must be an integer in the range of the compression.");
	reader->options->has_level = true;
}

static void
read_server(ObOptionReader *reader)
{
	reader->options->server = ob_option_nonempty(reader, NAMEDATALEN - 1);
}

static void
read_key(ObOptionReader *reader)
{
	char *text = ob_option_nonempty(reader, TEMPLATE_MAX);

	ob_key_check(text);
	reader->options->key = text;
}

static void
read_part_size(ObOptionReader *reader)
{
	const char *hint = "Allowed values: 5 MB to 5 GB, as a number of bytes or "
					   "with a unit, such as \"16MB\".";
	char *text;
	double size;

	if (reader->value->type == jbvNumeric)
		reader->options->part_size =
			ob_option_integer(reader, PART_SIZE_MIN, PART_SIZE_MAX, hint);
	else if (reader->value->type == jbvString)
	{
		text = ob_option_copy(reader->value);
		if (!parse_real(text, &size, GUC_UNIT_BYTE, NULL) ||
			!(size >= PART_SIZE_MIN && size <= PART_SIZE_MAX))
			ob_option_fail_value(reader, text, hint);
		reader->options->part_size = (int64) size;
	}
	else
		ob_option_fail_type(reader, "an integer or a string with a unit");
}

static void
read_connections(ObOptionReader *reader)
{
	reader->options->connections = ob_option_integer(
		reader, 1, CONNECTIONS_MAX,
		psprintf("Allowed values: integers from 1 to %d.", CONNECTIONS_MAX));
}

static void
read_parallel(ObOptionReader *reader)
{
	const char *hint = psprintf("Allowed values: off, auto, or a number of "
								"workers from 0 to %d.",
								OB_PARALLEL_MAX);

	reader->options->has_parallel = true;
	if (reader->value->type == jbvNumeric)
		reader->options->parallel =
			ob_option_integer(reader, 0, OB_PARALLEL_MAX, hint);
	else if (reader->value->type == jbvString)
	{
		char *text = ob_option_copy(reader->value);

		if (strcmp(text, "off") != 0 && strcmp(text, "auto") != 0)
			ob_option_fail_value(reader, text, hint);
		reader->options->parallel =
			strcmp(text, "off") == 0 ? 0 : OB_PARALLEL_AUTO;
	}
	else
		ob_option_fail_type(reader, "off, auto or a number");
}

static void
read_empty(ObOptionReader *reader)
{
	reader->options->write_empty = ob_option_either(reader, "skip", "write");
}

static void
read_schema(ObOptionReader *reader)
{
	reader->options->schema = ob_option_boolean(reader);
}

static void
read_on_error(ObOptionReader *reader)
{
	reader->options->raise_errors =
		ob_option_either(reader, "continue", "raise");
}

/* ---- reading a layer ---- */

/* Sorted: the hint lists them in this order. */
static const OptionSpec specs[] = {
	{"acl", ob_read_acl, EXPORTS},
	{"as_of", ob_read_as_of, CALLS},
	{"bloom_filter", ob_read_bloom_filter, EXPORTS},
	{"bucket_key", ob_read_bucket_key, EXPORTS},
	{"checksum", ob_read_checksum, EXPORTS},
	{"compression", read_compression, EXPORTS},
	{"compression_level", read_compression_level, EXPORTS},
	{"connections", read_connections, READERS},
	{"content_type", ob_read_content_type, EXPORTS},
	{"delimiter", read_delimiter, EXPORTS},
	{"dictionary", ob_read_dictionary, EXPORTS},
	{"empty", read_empty, EXPORTS},
	{"encoding", read_encoding, EXPORTS},
	{"encodings", ob_read_encodings, EXPORTS},
	{"escape", read_escape, EXPORTS},
	{"expected_bucket_owner", ob_read_expected_bucket_owner, EVERYBODY},
	{"force_quote", read_force_quote, EXPORTS},
	{"format", read_format, EXPORTS},
	{"header", read_header, EXPORTS},
	{"key", read_key, EXPORTS},
	{"kms_key_id", ob_read_kms_key_id, EXPORTS},
	{"manifest", ob_read_manifest, CALLS},
	{"metadata", ob_read_metadata, EXPORTS},
	{"null", read_null, EXPORTS},
	{"numeric", ob_read_numeric, EXPORTS},
	{"on_error", read_on_error, FOR(OB_OPTIONS_ALL)},
	{"overwrite", ob_read_overwrite, EXPORTS},
	{"page_size", ob_read_page_size, EXPORTS},
	{"parallel", read_parallel, EXPORTS},
	{"part_size", read_part_size, EXPORTS},
	{"publish", ob_read_publish, FOR(OB_OPTIONS_ALL)},
	{"quote", read_quote, EXPORTS},
	{"requester_pays", ob_read_requester_pays, EVERYBODY},
	{"row_group_rows", ob_read_row_group_rows, EXPORTS},
	{"row_group_size", ob_read_row_group_size, EXPORTS},
	{"schema", read_schema, EXPORTS},
	{"server", read_server, READERS},
	{"sse", ob_read_sse, EXPORTS},
	{"storage_class", ob_read_storage_class, EXPORTS},
	{"tags", ob_read_tags, EXPORTS},
	{"timezone", ob_read_timezone, EXPORTS},
	{"unrepresentable", ob_read_unrepresentable, EXPORTS},
	{"uuid", ob_read_uuid, EXPORTS},
	{"watermark", ob_read_watermark, FOR(OB_OPTIONS_REGISTRY)},
};

/* Lists the options that a source may give. */
static const char *
list_specs(ObOptionsFor who)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(specs); i++)
	{
		if (specs[i].who & FOR(who))
			appendStringInfo(&list, "%s%s",
							 list.len ? ", " : "Options: ", specs[i].name);
	}
	appendStringInfoChar(&list, '.');
	return list.data;
}

static const char *
where_allowed(const OptionSpec *spec, ObOptionsFor who)
{
	switch (spec->who)
	{
		case FOR(OB_OPTIONS_ALL):
			return "It is an option of onboard_all() alone.";
		case FOR(OB_OPTIONS_REGISTRY):
			return "It is an option of registered tables: write it into "
				   "onboard_tables.";
		case CALLS:
			return "It is an option of a call, not of a registered table.";
		default:
			return list_specs(who);
	}
}

static const OptionSpec *
find_spec(const char *name, ObOptionsFor who)
{
	for (int i = 0; i < lengthof(specs); i++)
	{
		if (strcmp(specs[i].name, name) != 0)
			continue;
		if (specs[i].who & FOR(who))
			return &specs[i];
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" is not allowed here", name),
						errhint("%s", where_allowed(&specs[i], who))));
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unknown option \"%s\"", ob_report_clip(name)),
					errhint("%s", list_specs(who))));
}

static void
read_option(ObOptionReader *reader, ObOptionsFor who)
{
	const OptionSpec *spec = find_spec(reader->name, who);

	if (reader->value->type == jbvNull)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" must not be null", reader->name),
						errhint("Leave it out to get its default.")));
	spec->read(reader);
}

static void
say_where(void *arg)
{
	errcontext("reading %s", (const char *) arg);
}

ObOptions *
ob_options_new(void)
{
	return palloc0(sizeof(ObOptions));
}

void
ob_options_read(ObOptions *options, Jsonb *layer, ObOptionsFor who,
				const char *where)
{
	ObOptionReader reader = {options, "", NULL};
	ErrorContextCallback context = {error_context_stack, say_where,
									unconstify(char *, where)};
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;

	error_context_stack = &context;
	if (!JB_ROOT_IS_OBJECT(layer))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options must be a JSON object"),
						errhint("For example: {\"format\": \"csv\"}.")));
	it = JsonbIteratorInit(&layer->root);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			reader.name = ob_option_copy(&item);
		else if (token == WJB_VALUE)
		{
			reader.value = &item;
			read_option(&reader, who);
		}
	}
	error_context_stack = context.previous;
}

/* ---- checking the options as a whole ---- */

static void
check_conflict(const ObOptions *options, bool given, const char *option,
			   const char *formats)
{
	if (given)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" cannot be used with format "
							   "\"%s\"",
							   option, options->copy.format->name),
						errhint("It is for %s.", formats)));
}

/* Formats that have an encoding of their own. */
static bool
is_utf8_format(ObFormatKind kind)
{
	return kind == OB_FORMAT_JSONL || kind == OB_FORMAT_JSON ||
		   kind == OB_FORMAT_PARQUET;
}

static void
check_conflicts(const ObOptions *options)
{
	ObFormatKind kind = options->copy.format->kind;

	if (kind != OB_FORMAT_CSV && kind != OB_FORMAT_TEXT)
	{
		const char *formats = "formats csv and text";

		check_conflict(options, options->has_header, "header", formats);
		check_conflict(options, options->has_delimiter, "delimiter", formats);
		check_conflict(options, options->has_null, "null", formats);
	}
	if (kind != OB_FORMAT_CSV)
	{
		const char *formats = "format csv";

		check_conflict(options, options->has_quote, "quote", formats);
		check_conflict(options, options->has_escape, "escape", formats);
		check_conflict(options, options->has_force_quote, "force_quote",
					   formats);
	}
	if (is_utf8_format(kind) && options->has_encoding &&
		options->copy.encoding != PG_UTF8)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("encoding \"%s\" cannot be used with format "
							   "\"%s\"",
							   pg_encoding_to_char(options->copy.encoding),
							   options->copy.format->name),
						errhint("It is always written in UTF8.")));
}

static void
fill_copy_defaults(ObOptions *options)
{
	ObCopyOptions *copy = &options->copy;
	bool csv = copy->format->kind == OB_FORMAT_CSV;

	if (!options->has_header)
		copy->header = csv;
	if (!options->has_delimiter)
		copy->delimiter = csv ? ',' : '\t';
	if (!options->has_null)
		copy->null_text = csv ? "" : "\\N";
	if (!options->has_quote)
		copy->quote = '"';
	if (!options->has_escape)
		copy->escape = copy->quote;
	if (is_utf8_format(copy->format->kind))
		copy->encoding = PG_UTF8;
	else if (!options->has_encoding)
		copy->encoding = pg_get_client_encoding();
}

/* Applies COPY's rules for its characters; a file that breaks them could not
 * be read back. */
static void
check_characters(const ObCopyOptions *copy)
{
	bool csv = copy->format->kind == OB_FORMAT_CSV;

	if (!csv && strchr("\\.abcdefghijklmnopqrstuvwxyz0123456789",
					   copy->delimiter) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value \"%c\" for option \"delimiter\" with "
						"format \"text\"",
						copy->delimiter),
				 errhint("It must not be a lower-case letter, a digit, a dot "
						 "or a backslash.")));
	if (csv && copy->delimiter == copy->quote)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options \"delimiter\" and \"quote\" must be "
							   "different"),
						errhint("Both are \"%c\".", copy->quote)));
	if (strchr(copy->null_text, copy->delimiter) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"null\" must not contain the delimiter"),
				 errhint("The delimiter is \"%c\".", copy->delimiter)));
	if (csv && strchr(copy->null_text, copy->quote) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"null\" must not contain the quote "
						"character"),
				 errhint("The quote character is \"%c\".", copy->quote)));
}

static void
finish_compression(ObOptions *options)
{
	if (!options->compression)
		options->compression = "none";
	options->codec = ob_codec_lookup(options->compression);
	if (!options->has_level)
		options->compression_level = options->codec->default_level;
	else if (options->codec->create == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"compression_level\" cannot be used "
							   "with compression \"%s\"",
							   options->codec->name),
						errhint("Set option \"compression\", too.")));
	else if (options->compression_level < options->codec->min_level ||
			 options->compression_level > options->codec->max_level)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value \"%d\" for option "
					"\"compression_level\"",
					options->compression_level),
			 errhint("Allowed values for %s: %d to %d.", options->codec->name,
					 options->codec->min_level, options->codec->max_level)));
}

/* One part is filled while another is sent, so two must fit. */
static void
finish_upload(ObOptions *options)
{
	int64 max = (int64) onboard_upload_memory * 1024 / 2;

	if (!options->has_parallel)
		options->parallel = OB_PARALLEL_AUTO;
	if (options->connections == 0)
		options->connections = onboard_connections;
	if (options->part_size == 0)
		options->part_size = (int64) onboard_part_size * 1024;
	if (options->part_size > max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("part size of " INT64_FORMAT
						" bytes is more than half of onboard.upload_memory",
						options->part_size),
				 errhint("Lower \"part_size\" to at most " INT64_FORMAT
						 " bytes, or raise onboard.upload_memory.",
						 max)));
}

void
ob_options_finish(ObOptions *options)
{
	ObFormatKind kind;

	if (options->format_name == NULL)
		options->format_name = "csv";
	options->copy.format = ob_format_lookup(options->format_name);
	kind = options->copy.format->kind;
	check_conflicts(options);
	fill_copy_defaults(options);
	if (kind == OB_FORMAT_CSV || kind == OB_FORMAT_TEXT)
		check_characters(&options->copy);
	ob_options_check_s3(options);
	ob_options_finish_parquet(options);
	if (kind != OB_FORMAT_PARQUET)
		finish_compression(options);
	finish_upload(options);
	ob_options_finish_time(options);
	ob_options_finish_run(options);
}
