/*
 * options_run.c
 *		The options of a whole run, and of increments.
 *
 * src/pg/config/options_run.c
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "pg/config/key.h"
#include "pg/config/options_intern.h"
#include "pg/base/errors.h"

#define OVERLAP_MAX 255

#define WATERMARK_HINT                                            \
	"For example: {\"column\": \"updated_at\", \"overlap\": \"5 " \
	"minutes\"}; the overlap may be left out."

static _Noreturn void
fail(const char *message, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("%s", message), errhint("%s", hint)));
}

/* Both are options of a call, so there is no later layer. */
static void
check_manifest(const ObOptions *options)
{
	if (options->together && options->has_manifest && !options->manifest)
		fail("objects that are published together have a manifest",
			 "Leave option \"manifest\" out.");
}

void
ob_read_manifest(ObOptionReader *reader)
{
	ObOptions *options = reader->options;

	options->manifest = ob_option_boolean(reader);
	options->has_manifest = true;
	check_manifest(options);
}

void
ob_read_publish(ObOptionReader *reader)
{
	ObOptions *options = reader->options;

	options->together = ob_option_either(reader, "each", "together");
	check_manifest(options);
	if (options->together)
		options->manifest = true;
}

static char *
read_overlap(const ObOptionReader *reader, const JsonbValue *value)
{
	if (value->type == jbvNumeric)
		return DatumGetCString(DirectFunctionCall1(
			numeric_out, NumericGetDatum(value->val.numeric)));
	if (value->type != jbvString || value->val.string.len == 0)
		fail("\"overlap\" of option \"watermark\" must be a string or a "
			 "number",
			 WATERMARK_HINT);
	return ob_option_item(reader, value, OVERLAP_MAX);
}

static void
read_entry(const ObOptionReader *reader, const char *key,
		   const JsonbValue *value)
{
	ObOptions *options = reader->options;

	if (strcmp(key, "overlap") == 0)
		options->overlap = read_overlap(reader, value);
	else if (strcmp(key, "column") != 0)
		fail(psprintf("unknown entry \"%s\" in option \"watermark\"",
					  ob_report_clip(key)),
			 WATERMARK_HINT);
	else if (value->type != jbvString || value->val.string.len == 0)
		fail("\"column\" of option \"watermark\" must be the name of a column",
			 WATERMARK_HINT);
	else
		options->watermark = ob_option_item(reader, value, NAMEDATALEN - 1);
}

void
ob_read_watermark(ObOptionReader *reader)
{
	const JsonbValue *value = reader->value;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;
	char *key = NULL;

	if (value->type != jbvBinary ||
		!JsonContainerIsObject(value->val.binary.data))
		ob_option_fail_type(reader, "an object");
	reader->options->watermark = NULL;
	reader->options->overlap = NULL;
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = ob_option_copy(&item);
		else if (token == WJB_VALUE)
			read_entry(reader, key, &item);
	}
	if (!reader->options->watermark)
		fail("option \"watermark\" has no \"column\"", WATERMARK_HINT);
}

/* The watermark counts the rows of earlier increments as landed, so no
 * increment may replace the object of another one. */
void
ob_options_finish_run(ObOptions *options)
{
	if (!options->watermark)
		return;
	if (!ob_key_is_of_run(options->key))
		fail("option \"watermark\" needs a key that no other run has",
			 "Put {run_id} into option \"key\": two runs can have the same "
			 "date and time.");
	options->keep_existing = true;
}
