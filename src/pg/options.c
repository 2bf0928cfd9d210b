/*
 * options.c
 *		The options of an export: jsonb in, a checked struct out.
 *
 * src/pg/options.c
 *
 * One table names the options, each with the function that reads it; a new
 * option is one line there and one function.  What an option's own value
 * shows is checked by its reader, what only several together show by
 * ob_options_finish().  Messages are our own also where the rule is COPY's, so
 * that they name the option and stay the same over PostgreSQL's versions.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"

#include "core/sink.h"
#include "pg/encode.h"
#include "pg/key.h"
#include "pg/options.h"

#define PART_SIZE_MIN (INT64CONST(5) * 1024 * 1024)
#define PART_SIZE_MAX (INT64CONST(5) * 1024 * 1024 * 1024)
#define CONNECTIONS_MAX 64

/* S3's limits.  It counts 2,048 bytes of metadata; ours (the upload's marker)
 * need some of them. */
#define TAGS_MAX 10
#define TAG_KEY_CHARS_MAX 128
#define TAG_VALUE_CHARS_MAX 256
#define METADATA_BYTES_MAX (2048 - 80)
#define METADATA_MAX 50
#define METADATA_RESERVED "onboard-upload"

#define TOKEN_CHARS             \
	"!#$%&'*+-.^_`|~0123456789" \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

typedef struct OptionReader
{
	ObOptions *options;
	ObOptionsFor what;
	const char *name; /* of the option that is being read */
	const JsonbValue *value;
} OptionReader;

typedef struct OptionSpec
{
	const char *name;
	void (*read)(OptionReader *reader); /* NULL: not supported yet */
} OptionSpec;

/*
 * Errors about one value
 */

static const char *
type_name(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return "null";
		case jbvString:
			return "a string";
		case jbvNumeric:
			return "a number";
		case jbvBool:
			return "a boolean";
		default:
			return JsonContainerIsArray(value->val.binary.data) ? "an array"
																: "an object";
	}
}

static _Noreturn void
fail_type(const OptionReader *reader, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("option \"%s\" must be %s", reader->name, what),
					errhint("It is %s here.", type_name(reader->value))));
}

static _Noreturn void
fail_value(const OptionReader *reader, const char *value, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid value \"%s\" for option \"%s\"", value,
						   reader->name),
					errhint("%s", hint)));
}

/*
 * JSON types
 */

static bool
is_boolean(const OptionReader *reader, bool value)
{
	return reader->value->type == jbvBool &&
		   reader->value->val.boolean == value;
}

static bool
read_boolean(const OptionReader *reader)
{
	if (reader->value->type != jbvBool)
		fail_type(reader, "a boolean");
	return reader->value->val.boolean;
}

static char *
copy_string(const JsonbValue *value)
{
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static char *
read_string(const OptionReader *reader)
{
	if (reader->value->type != jbvString)
		fail_type(reader, "a string");
	return copy_string(reader->value);
}

static char *
read_nonempty(const OptionReader *reader)
{
	char *text = read_string(reader);

	if (text[0] == '\0')
		fail_value(reader, text, "It must not be empty.");
	return text;
}

static char *
number_text(const OptionReader *reader)
{
	return DatumGetCString(DirectFunctionCall1(
		numeric_out, NumericGetDatum(reader->value->val.numeric)));
}

/* A whole number; hint says what is allowed. */
static int64
read_integer(const OptionReader *reader, int64 min, int64 max,
			 const char *hint)
{
	char *text;
	char *end;
	int64 number;

	if (reader->value->type != jbvNumeric)
		fail_type(reader, "an integer");
	text = number_text(reader);
	errno = 0;
	number = strtoll(text, &end, 10);
	if (*end != '\0' || errno != 0 || number < min || number > max)
		fail_value(reader, text, hint);
	return number;
}

/* One of two words; true: the second. */
static bool
read_either(const OptionReader *reader, const char *no, const char *yes)
{
	char *text = read_string(reader);

	if (strcmp(text, no) != 0 && strcmp(text, yes) != 0)
		fail_value(reader, text, psprintf("Allowed values: %s, %s.", no, yes));
	return strcmp(text, yes) == 0;
}

static char
read_character(const OptionReader *reader)
{
	char *text = read_string(reader);

	if (strlen(text) != 1)
		fail_value(reader, text, "It must be a single one-byte character.");
	return text[0];
}

/*
 * COPY's options
 */

static void
read_format(OptionReader *reader)
{
	char *text = read_string(reader);
	const ObFormat *format = ob_format_lookup(text);

	if (format == NULL)
	{
		StringInfoData hint;

		initStringInfo(&hint);
		for (format = ob_formats(); format->name; format++)
			appendStringInfo(&hint, "%s%s", hint.len ? ", " : "",
							 format->name);
		fail_value(reader, text, psprintf("Allowed values: %s.", hint.data));
	}
	reader->options->format_name = format->name;
}

static void
read_header(OptionReader *reader)
{
	reader->options->copy.header = read_boolean(reader);
	reader->options->has_header = true;
}

static void
read_delimiter(OptionReader *reader)
{
	char c = read_character(reader);

	if (c == '\n' || c == '\r')
		fail_value(reader, c == '\n' ? "\\n" : "\\r",
				   "A newline or carriage return ends a row.");
	reader->options->copy.delimiter = c;
	reader->options->has_delimiter = true;
}

static void
read_null(OptionReader *reader)
{
	char *text = read_string(reader);

	if (strpbrk(text, "\r\n") != NULL)
		fail_value(reader, text,
				   "It must not contain a newline or carriage return.");
	reader->options->copy.null_text = text;
	reader->options->has_null = true;
}

static void
read_quote(OptionReader *reader)
{
	reader->options->copy.quote = read_character(reader);
	reader->options->has_quote = true;
}

static void
read_escape(OptionReader *reader)
{
	reader->options->copy.escape = read_character(reader);
	reader->options->has_escape = true;
}

static List *
read_names(const OptionReader *reader, const char *what)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;
	List *names = NIL;

	if (reader->value->type != jbvBinary ||
		!JsonContainerIsArray(reader->value->val.binary.data))
		fail_type(reader, what);
	it = JsonbIteratorInit(reader->value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (item.type != jbvString)
			break;
		names = lappend(names, copy_string(&item));
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
read_force_quote(OptionReader *reader)
{
	ObCopyOptions *copy = &reader->options->copy;
	const JsonbValue *value = reader->value;

	copy->force_quote = NIL;
	copy->force_quote_all =
		is_boolean(reader, true) ||
		(value->type == jbvString && strcmp(copy_string(value), "*") == 0);
	reader->options->has_force_quote = !is_boolean(reader, false);
	if (!copy->force_quote_all && reader->options->has_force_quote)
		copy->force_quote =
			read_names(reader, "a boolean, \"*\" or an array of column names");
}

static void
read_encoding(OptionReader *reader)
{
	char *text = read_string(reader);
	int encoding = pg_char_to_encoding(text);

	if (encoding < 0)
		fail_value(reader, text,
				   "Give one of PostgreSQL's encodings, such as UTF8.");
	reader->options->copy.encoding = encoding;
	reader->options->has_encoding = true;
}

/*
 * How it is made and sent
 */

static void
read_compression(OptionReader *reader)
{
	char *text = read_string(reader);
	const ObCodec *codec = ob_codec_lookup(text);

	if (codec == NULL)
	{
		StringInfoData hint;

		initStringInfo(&hint);
		for (codec = ob_codecs(); codec->name; codec++)
			appendStringInfo(&hint, "%s%s", hint.len ? ", " : "", codec->name);
		fail_value(reader, text, psprintf("Allowed values: %s.", hint.data));
	}
	reader->options->codec = codec;
}

/* Its range depends on the codec, which a later layer may change. */
static void
read_compression_level(OptionReader *reader)
{
	reader->options->compression_level =
		read_integer(reader, PG_INT32_MIN, PG_INT32_MAX,
					 "It must be an integer in the range of the compression.");
	reader->options->has_level = true;
}

static void
read_server(OptionReader *reader)
{
	reader->options->server = read_nonempty(reader);
}

static void
read_key(OptionReader *reader)
{
	char *text = read_nonempty(reader);

	ob_key_check(text);
	reader->options->key = text;
}

static void
read_part_size(OptionReader *reader)
{
	const char *hint = "Allowed values: 5 MB to 5 GB, as a number of bytes or "
					   "with a unit, such as \"16MB\".";
	char *text;
	double size;

	if (reader->value->type == jbvNumeric)
		reader->options->part_size =
			read_integer(reader, PART_SIZE_MIN, PART_SIZE_MAX, hint);
	else if (reader->value->type == jbvString)
	{
		text = copy_string(reader->value);
		if (!parse_real(text, &size, GUC_UNIT_BYTE, NULL) ||
			!(size >= PART_SIZE_MIN && size <= PART_SIZE_MAX))
			fail_value(reader, text, hint);
		reader->options->part_size = (int64) size;
	}
	else
		fail_type(reader, "an integer or a string with a unit");
}

static void
read_connections(OptionReader *reader)
{
	reader->options->connections = read_integer(
		reader, 1, CONNECTIONS_MAX,
		psprintf("Allowed values: integers from 1 to %d.", CONNECTIONS_MAX));
}

static void
read_parallel(OptionReader *reader)
{
	const char *hint = psprintf("Allowed values: off, auto, or a number of "
								"workers from 0 to %d.",
								OB_PARALLEL_MAX);

	reader->options->has_parallel = true;
	if (reader->value->type == jbvNumeric)
		reader->options->parallel =
			read_integer(reader, 0, OB_PARALLEL_MAX, hint);
	else if (reader->value->type == jbvString)
	{
		char *text = copy_string(reader->value);

		if (strcmp(text, "off") != 0 && strcmp(text, "auto") != 0)
			fail_value(reader, text, hint);
		reader->options->parallel =
			strcmp(text, "off") == 0 ? 0 : OB_PARALLEL_AUTO;
	}
	else
		fail_type(reader, "off, auto or a number");
}

static void
read_empty(OptionReader *reader)
{
	reader->options->write_empty = read_either(reader, "skip", "write");
}

static void
read_on_error(OptionReader *reader)
{
	if (reader->what != OB_OPTIONS_ALL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"on_error\" is not allowed here"),
						errhint("It is an option of onboard_all() alone.")));
	reader->options->raise_errors = read_either(reader, "continue", "raise");
}

static void
read_overwrite(OptionReader *reader)
{
	char *text = read_string(reader);

	if (strcmp(text, "error") == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("value \"error\" of option \"overwrite\" is "
							   "not supported yet"),
						errhint("Allowed values: replace.")));
	if (strcmp(text, "replace") != 0)
		fail_value(reader, text, "Allowed values: replace.");
}

/*
 * S3's object options.  All but the tags become header lines as they are, so
 * nothing that could end a line may be in them.
 */

static bool
is_printable_ascii(const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (*text < 0x20 || *text > 0x7e)
			return false;
	}
	return true;
}

static char *
read_header_value(const OptionReader *reader)
{
	char *text = read_nonempty(reader);

	if (!is_printable_ascii(text))
		fail_value(reader, text,
				   "It must consist of printable ASCII characters.");
	return text;
}

static void
read_content_type(OptionReader *reader)
{
	reader->options->content_type = read_header_value(reader);
}

static void
read_storage_class(OptionReader *reader)
{
	reader->options->storage_class = read_header_value(reader);
}

static void
read_acl(OptionReader *reader)
{
	reader->options->acl = read_header_value(reader);
}

static void
read_pairs(const OptionReader *reader, ObPairList *pairs, int max)
{
	const char *what = "an object of strings";
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;

	if (reader->value->type != jbvBinary ||
		!JsonContainerIsObject(reader->value->val.binary.data))
		fail_type(reader, what);
	if (JsonContainerSize(reader->value->val.binary.data) > max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("too many entries in option \"%s\"", reader->name),
				 errhint("There may be at most %d.", max)));
	pairs->n = 0;
	pairs->names = palloc0(max * sizeof(char *));
	pairs->values = palloc0(max * sizeof(char *));
	it = JsonbIteratorInit(reader->value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			pairs->names[pairs->n] = copy_string(&item);
		else if (token == WJB_VALUE)
		{
			if (item.type != jbvString)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("entry \"%s\" of option \"%s\" must be a "
								"string",
								pairs->names[pairs->n], reader->name),
						 errhint("The option is %s.", what)));
			pairs->values[pairs->n++] = copy_string(&item);
		}
	}
}

static _Noreturn void
fail_entry(const OptionReader *reader, const char *name, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid entry \"%s\" in option \"%s\"", name,
						   reader->name),
					errhint("%s", hint)));
}

/* Tags travel percent-encoded in one header, so they may be any text; they
 * are kept in UTF-8. */
static char *
tag_text(const OptionReader *reader, const char *name, const char *text,
		 int max)
{
	for (const char *p = text; *p != '\0'; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			fail_entry(reader, name,
					   "A tag must not contain control characters.");
	}
	if (pg_mbstrlen(text) > max)
		fail_entry(reader, name,
				   psprintf("A tag's key may have %d characters, its value "
							"%d.",
							TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX));
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

static void
read_tags(OptionReader *reader)
{
	ObPairList *tags = &reader->options->tags;

	read_pairs(reader, tags, TAGS_MAX);
	for (int i = 0; i < tags->n; i++)
	{
		char *name = tags->names[i];

		if (name[0] == '\0')
			fail_entry(reader, name, "A tag's key must not be empty.");
		tags->names[i] = tag_text(reader, name, name, TAG_KEY_CHARS_MAX);
		tags->values[i] =
			tag_text(reader, name, tags->values[i], TAG_VALUE_CHARS_MAX);
	}
}

/* Names are parts of header names, which have no case. */
static void
check_metadata_name(const OptionReader *reader, int i)
{
	const ObPairList *metadata = &reader->options->metadata;
	const char *name = metadata->names[i];

	if (name[0] == '\0' || name[strspn(name, TOKEN_CHARS)] != '\0')
		fail_entry(reader, name,
				   "A name consists of letters, digits and "
				   "\"!#$%&'*+-.^_`|~\".");
	if (pg_strcasecmp(name, METADATA_RESERVED) == 0)
		fail_entry(reader, name, "The name is reserved.");
	for (int j = 0; j < i; j++)
	{
		if (pg_strcasecmp(name, metadata->names[j]) == 0)
			fail_entry(reader, name,
					   "Names that differ only in case are the same.");
	}
}

static void
read_metadata(OptionReader *reader)
{
	ObPairList *metadata = &reader->options->metadata;
	size_t bytes = 0;

	read_pairs(reader, metadata, METADATA_MAX);
	for (int i = 0; i < metadata->n; i++)
	{
		check_metadata_name(reader, i);
		if (!is_printable_ascii(metadata->values[i]))
			fail_entry(reader, metadata->names[i],
					   "A value consists of printable ASCII characters.");
		bytes += strlen(metadata->names[i]) + strlen(metadata->values[i]);
	}
	if (bytes > METADATA_BYTES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"metadata\" has %zu bytes, more than the %d "
						"that fit",
						bytes, METADATA_BYTES_MAX),
				 errhint("S3 allows 2,048 bytes of names and values, of which "
						 "%d are kept for onboard's own.",
						 2048 - METADATA_BYTES_MAX)));
}

/*
 * Reading a layer
 */

/* Sorted: the hint lists them in this order. */
static const OptionSpec specs[] = {
	{"acl", read_acl},
	{"checksum", NULL},
	{"compression", read_compression},
	{"compression_level", read_compression_level},
	{"connections", read_connections},
	{"content_type", read_content_type},
	{"delimiter", read_delimiter},
	{"empty", read_empty},
	{"encoding", read_encoding},
	{"escape", read_escape},
	{"expected_bucket_owner", NULL},
	{"force_quote", read_force_quote},
	{"format", read_format},
	{"header", read_header},
	{"key", read_key},
	{"kms_key_id", NULL},
	{"metadata", read_metadata},
	{"null", read_null},
	{"on_error", read_on_error},
	{"overwrite", read_overwrite},
	{"parallel", read_parallel},
	{"part_size", read_part_size},
	{"quote", read_quote},
	{"server", read_server},
	{"sse", NULL},
	{"storage_class", read_storage_class},
	{"tags", read_tags},
};

static const OptionSpec *
find_spec(const OptionReader *reader)
{
	StringInfoData hint;

	for (int i = 0; i < lengthof(specs); i++)
	{
		if (strcmp(specs[i].name, reader->name) == 0)
			return &specs[i];
	}
	initStringInfo(&hint);
	for (int i = 0; i < lengthof(specs); i++)
	{
		if (specs[i].read == NULL ||
			(specs[i].read == read_on_error && reader->what != OB_OPTIONS_ALL))
			continue;
		appendStringInfo(&hint, "%s%s", hint.len ? ", " : "", specs[i].name);
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unknown option \"%s\"", reader->name),
					errhint("Options: %s.", hint.data)));
}

static void
read_option(OptionReader *reader)
{
	const OptionSpec *spec = find_spec(reader);

	if (spec->read == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("option \"%s\" is not supported yet", reader->name),
				 errhint("Leave it out.")));
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
ob_options_read(ObOptions *options, Jsonb *layer, ObOptionsFor what,
				const char *where)
{
	OptionReader reader = {options, what, "", NULL};
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
			reader.name = copy_string(&item);
		else if (token == WJB_VALUE)
		{
			reader.value = &item;
			read_option(&reader);
		}
	}
	error_context_stack = context.previous;
}

/*
 * Checking the whole
 */

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
	if ((kind == OB_FORMAT_JSONL || kind == OB_FORMAT_JSON) &&
		options->has_encoding && options->copy.encoding != PG_UTF8)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("encoding \"%s\" cannot be used with format "
							   "\"%s\"",
							   pg_encoding_to_char(options->copy.encoding),
							   options->copy.format->name),
						errhint("JSON is always written in UTF8.")));
}

static void
fill_copy_defaults(ObOptions *options)
{
	ObCopyOptions *copy = &options->copy;
	bool csv = copy->format->kind == OB_FORMAT_CSV;
	bool json = copy->format->kind == OB_FORMAT_JSONL ||
				copy->format->kind == OB_FORMAT_JSON;

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
	if (json)
		copy->encoding = PG_UTF8;
	else if (!options->has_encoding)
		copy->encoding = pg_get_client_encoding();
}

/* COPY's rules for its characters; without them nothing could read the file
 * back. */
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
	if (options->codec == NULL)
		options->codec = ob_codec_lookup("none");
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

	if (options->server == NULL)
		options->server = pstrdup(onboard_server);
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
	finish_compression(options);
	finish_upload(options);
}
