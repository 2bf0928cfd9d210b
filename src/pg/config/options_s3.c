/*
 * options_s3.c
 *		S3's options of an export: the object's headers, and how it is written.
 *
 * src/pg/config/options_s3.c
 *
 * The effect of most of these options depends on the store, so values are only
 * checked for what no store could accept, and for contradictions.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "pg/config/options_intern.h"
#include "pg/base/errors.h"

/* The limits of S3.  It counts 2,048 bytes of metadata; ours (the upload's
 * marker) need some of them. */
#define TAGS_MAX 10
#define TAG_KEY_CHARS_MAX 128
#define TAG_VALUE_CHARS_MAX 256
#define METADATA_BYTES_MAX (2048 - 80)
#define METADATA_MAX 50
#define METADATA_RESERVED "onboard-upload"
#define SSE_KMS "aws:kms"
#define SSE_KMS_TWICE "aws:kms:dsse"
#define KMS_KEY_ID_MAX 2048
/* S3 takes 8 kB of headers altogether. */
#define CONTENT_TYPE_MAX 1024
#define WORD_MAX 128
#define ACCOUNT_DIGITS 12

#define TOKEN_CHARS             \
	"!#$%&'*+-.^_`|~0123456789" \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* The options of the object.  All but the tags become header lines without
 * changes, so they may not have anything that could end a line. */

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
read_header_value(const ObOptionReader *reader, size_t max)
{
	char *text = ob_option_nonempty(reader, max);

	if (!is_printable_ascii(text))
		ob_option_fail_value(reader, text,
							 "It must consist of printable ASCII characters.");
	return text;
}

void
ob_read_content_type(ObOptionReader *reader)
{
	reader->options->content_type =
		read_header_value(reader, CONTENT_TYPE_MAX);
}

void
ob_read_storage_class(ObOptionReader *reader)
{
	reader->options->storage_class = read_header_value(reader, WORD_MAX);
}

void
ob_read_acl(ObOptionReader *reader)
{
	reader->options->acl = read_header_value(reader, WORD_MAX);
}

static void
read_pairs(const ObOptionReader *reader, ObPairList *pairs, int max)
{
	const char *what = "an object of strings";
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;

	if (reader->value->type != jbvBinary ||
		!JsonContainerIsObject(reader->value->val.binary.data))
		ob_option_fail_type(reader, what);
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
			pairs->names[pairs->n] = ob_option_copy(&item);
		else if (token == WJB_VALUE)
		{
			if (item.type != jbvString)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("entry \"%s\" of option \"%s\" must be a "
								"string",
								ob_report_clip(pairs->names[pairs->n]),
								reader->name),
						 errhint("The option is %s.", what)));
			pairs->values[pairs->n++] = ob_option_copy(&item);
		}
	}
}

static _Noreturn void
fail_entry(const ObOptionReader *reader, const char *name, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid entry \"%s\" in option \"%s\"",
						   ob_report_clip(name), reader->name),
					errhint("%s", hint)));
}

/* Tags are percent-encoded in one header, so they may be any text; they are
 * kept in UTF-8. */
static char *
tag_text(const ObOptionReader *reader, const char *name, const char *text,
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

void
ob_read_tags(ObOptionReader *reader)
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
check_metadata_name(const ObOptionReader *reader, int i)
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

void
ob_read_metadata(ObOptionReader *reader)
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

/* ---- encryption ---- */

void
ob_read_sse(ObOptionReader *reader)
{
	char *text = ob_option_string(reader);

	if (strcmp(text, "AES256") != 0 && strcmp(text, SSE_KMS) != 0 &&
		strcmp(text, SSE_KMS_TWICE) != 0)
		ob_option_fail_value(reader, text,
							 "Allowed values: AES256, " SSE_KMS
							 ", " SSE_KMS_TWICE ".");
	reader->options->sse = text;
}

/* An id, an ARN or an alias, all without blanks. */
void
ob_read_kms_key_id(ObOptionReader *reader)
{
	char *text = read_header_value(reader, KMS_KEY_ID_MAX);

	if (strchr(text, ' ') != NULL)
		ob_option_fail_value(reader, text,
							 "Give the key's id, its ARN, or its alias.");
	reader->options->kms_key_id = text;
}

void
ob_read_bucket_key(ObOptionReader *reader)
{
	reader->options->bucket_key = ob_option_boolean(reader);
	reader->options->has_bucket_key = true;
}

/* ---- the owner of the bucket, and the payer of requests ---- */

void
ob_read_expected_bucket_owner(ObOptionReader *reader)
{
	char *text = ob_option_string(reader);

	if (strlen(text) != ACCOUNT_DIGITS ||
		strspn(text, "0123456789") != ACCOUNT_DIGITS)
		ob_option_fail_value(reader, text,
							 "Give the 12 digits of an AWS account.");
	reader->options->expected_bucket_owner = text;
}

void
ob_read_requester_pays(ObOptionReader *reader)
{
	reader->options->requester_pays = ob_option_boolean(reader);
}

/* ---- the write ---- */

void
ob_read_overwrite(ObOptionReader *reader)
{
	reader->options->keep_existing =
		ob_option_either(reader, "replace", "error");
}

void
ob_read_checksum(ObOptionReader *reader)
{
	char *text = ob_option_string(reader);

	if (!ob_checksum_parse(text, &reader->options->checksum))
		ob_option_fail_value(
			reader, text, "Allowed values: auto, sha256, crc32, md5, none.");
}

/* ---- conflicts ---- */

void
ob_options_check_s3(const ObOptions *options)
{
	bool kms = options->sse && strcmp(options->sse, SSE_KMS) == 0;
	bool twice = options->sse && strcmp(options->sse, SSE_KMS_TWICE) == 0;

	if (options->kms_key_id && !kms && !twice)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"kms_key_id\" needs option \"sse\" "
							   "with the value " SSE_KMS " or " SSE_KMS_TWICE),
						errhint("For example: {\"sse\": \"" SSE_KMS
								"\", \"kms_key_id\": \"%s\"}.",
								options->kms_key_id)));
	if (options->has_bucket_key && !kms)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"bucket_key\" needs option \"sse\" "
							   "with the value " SSE_KMS),
						errhint("Other encryption has no bucket keys.")));
}
