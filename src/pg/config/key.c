/*
 * key.c
 *		The key of an export: its template and its fields.
 *
 * src/pg/config/key.c
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "core/text/template.h"
#include "core/text/uri.h"
#include "pg/config/key.h"

#define DEFAULT_TEMPLATE "{prefix}{name}/data/inbox/{name}_data.{ext}"

#define TEMPLATE_HINT                                                      \
	"Fields: {database}, {date}, {day}, {ext}, {hour}, {month}, {name}, "  \
	"{part}, {prefix}, {run_id}, {time}, {year}. Write {{ and }} for the " \
	"braces themselves."

/* Appends text percent-encoded, so that it is one segment of the key. */
static void
append_encoded(StringInfo out, const char *text)
{
	ObBuf buf;
	ObError error;
	const char *utf8;
	size_t len;
	size_t max;

	if (text == NULL || *text == '\0')
		return;
	utf8 = pg_server_to_any(text, strlen(text), PG_UTF8);
	len = strlen(utf8);
	if (len > MaxAllocSize / 3 - 1)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("name is too long for a key")));

	/* Everything that may raise comes before the buffer, which an error would
	 * not free. */
	max = 3 * len;
	enlargeStringInfo(out, max);
	ob_error_clear(&error);
	ob_buf_init(&buf, max);
	ob_uri_encode(&buf, utf8, len, false);
	if (ob_buf_check(&buf, &error) == OB_OK)
		appendBinaryStringInfo(out, buf.data, buf.len);
	ob_buf_free(&buf);
	if (error.code != OB_OK)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
				 errdetail("%s", error.cause)));
}

/* The session's TimeZone has no influence, so that a key does not depend on
 * the exporter. */
static struct pg_tm
local_time(const ObKeyFields *fields)
{
	struct pg_tm tm;
	fsec_t fsec;
	int offset;

	if (timestamp2tm(fields->when, fields->zone ? &offset : NULL, &tm, &fsec,
					 NULL, fields->zone) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("timestamp out of range")));
	return tm;
}

/* Returns false if the field is none of those that show the moment.  Each of
 * these is padded with zeros, so that keys sort as their moments do. */
static bool
append_moment(StringInfo out, const char *name, const ObKeyFields *fields)
{
	const struct pg_tm tm = local_time(fields);

	if (strcmp(name, "date") == 0)
		appendStringInfo(out, "%04d-%02d-%02d", tm.tm_year, tm.tm_mon,
						 tm.tm_mday);
	else if (strcmp(name, "time") == 0)
		appendStringInfo(out, "%02d%02d%02d", tm.tm_hour, tm.tm_min,
						 tm.tm_sec);
	else if (strcmp(name, "year") == 0)
		appendStringInfo(out, "%04d", tm.tm_year);
	else if (strcmp(name, "month") == 0)
		appendStringInfo(out, "%02d", tm.tm_mon);
	else if (strcmp(name, "day") == 0)
		appendStringInfo(out, "%02d", tm.tm_mday);
	else if (strcmp(name, "hour") == 0)
		appendStringInfo(out, "%02d", tm.tm_hour);
	else
		return false;
	return true;
}

static void
append_plain(StringInfo out, const char *text)
{
	if (text != NULL)
		appendStringInfoString(out, text);
}

static void
append_field(StringInfo out, const char *name, const ObKeyFields *fields)
{
	if (strcmp(name, "prefix") == 0)
		append_plain(out, fields->prefix);
	else if (strcmp(name, "name") == 0)
		append_encoded(out, fields->name);
	else if (strcmp(name, "database") == 0)
		append_encoded(out, fields->database);
	else if (strcmp(name, "run_id") == 0)
		append_plain(out, fields->run_id);
	else if (strcmp(name, "part") == 0)
		appendStringInfo(out, "%d", fields->part);
	else if (strcmp(name, "ext") == 0)
		append_plain(out, fields->ext);
	else if (!append_moment(out, name, fields))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown field \"{%s}\" in option \"key\"", name),
				 errhint(TEMPLATE_HINT)));
}

static _Noreturn void
fail_template(const char *fault)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s in option \"key\"", fault), errhint(TEMPLATE_HINT)));
}

static ObKeyPiece *
make_piece(const ObTemplatePiece *from, const ObKeyFields *fields)
{
	ObKeyPiece *piece = palloc0(sizeof(ObKeyPiece));
	char *text = pnstrdup(from->text, from->len);
	StringInfoData out;

	piece->text = text;
	if (from->kind == OB_TEMPLATE_TEXT)
		return piece;
	initStringInfo(&out);
	append_field(&out, text, fields);
	piece->field = text;
	piece->text = out.data;
	return piece;
}

List *
ob_key_pieces(const char *template, const ObKeyFields *fields)
{
	List *pieces = NIL;

	if (!template)
		template = DEFAULT_TEMPLATE;
	for (;;)
	{
		const ObTemplatePiece piece = ob_template_next(&template);

		switch (piece.kind)
		{
			case OB_TEMPLATE_END:
				return pieces;
			case OB_TEMPLATE_TEXT:
			case OB_TEMPLATE_FIELD:
				pieces = lappend(pieces, make_piece(&piece, fields));
				break;
			case OB_TEMPLATE_UNMATCHED:
				fail_template("unmatched \"}\"");
			case OB_TEMPLATE_UNCLOSED:
				fail_template("unclosed \"{\"");
		}
	}
}

/* Expands the template into the database's encoding.  Encoded names are plain
 * ASCII, so the caller can convert the whole. */
static void
expand(StringInfo out, const char *template, const ObKeyFields *fields)
{
	ListCell *cell;

	foreach (cell, ob_key_pieces(template, fields))
	{
		const ObKeyPiece *piece = lfirst(cell);

		appendStringInfoString(out, piece->text);
	}
}

/* Whether the character is U+FFFE or U+FFFF, which XML cannot have, like
 * control characters: a store that lists such a key returns a broken response.
 */
static bool
is_no_character(const char *utf8)
{
	const unsigned char *p = (const unsigned char *) utf8;

	return p[0] == 0xEF && p[1] == 0xBF && (p[2] == 0xBE || p[2] == 0xBF);
}

static void
refuse_uri(const char *key)
{
	if (pg_strncasecmp(key, "s3://", strlen("s3://")) == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("key begins with \"%.5s\"", key),
						errhint("Give the bucket's bare name as the bucket, "
								"and what follows it as option \"key\".")));
}

static void
check_key(const char *key)
{
	size_t len = strlen(key);

	if (len == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("key is empty"),
						errhint("Give option \"key\" some text or a field, "
								"such as \"{name}.{ext}\".")));
	if (len > OB_KEY_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key has %zu bytes, more than the %d that S3 allows",
						len, OB_KEY_MAX),
				 errhint("Shorten the name, the server's prefix or option "
						 "\"key\"; a byte of a name that is not a letter, "
						 "digit or one of \"-_.~\" takes three.")));
	refuse_uri(key);
	for (const char *p = key; *p != '\0'; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("key contains a control character (0x%02x)",
								   (unsigned char) *p),
							errhint("Take it out of option \"key\" or the "
									"server's prefix.")));
		if (is_no_character(p))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("key contains U+FFF%c, which is no "
								   "character",
								   p[2] == '\xBE' ? 'E' : 'F'),
							errhint("Take it out of option \"key\" or the "
									"server's prefix.")));
	}
}

char *
ob_key_expand(const char *template, const ObKeyFields *fields)
{
	StringInfoData key;
	char *utf8;

	initStringInfo(&key);
	expand(&key, template, fields);
	utf8 = pg_server_to_any(key.data, key.len, PG_UTF8);
	check_key(utf8);
	return utf8;
}

/* Whether the key ends as the objects of a run do: a random id, a name. */
static bool
is_of_run(const char *key)
{
	const char *folder = key;

	while ((folder = strstr(folder, OB_KEY_OWN_FOLDER)) != NULL)
	{
		const char *file;

		folder += strlen(OB_KEY_OWN_FOLDER);
		file = strchr(folder, '/');
		if (file && (strcmp(file, "/manifest.json") == 0 ||
					 strcmp(file, "/_SUCCESS") == 0))
			return true;
	}
	return false;
}

void
ob_key_check_own(const char *key, const char *prefix)
{
	const char *utf8 = pg_server_to_any(prefix, strlen(prefix), PG_UTF8);
	size_t len = strlen(utf8);
	bool in_folder =
		strncmp(key, utf8, len) == 0 &&
		strncmp(key + len, OB_KEY_OWN_FOLDER, strlen(OB_KEY_OWN_FOLDER)) == 0;

	if (!in_folder && !is_of_run(key))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("the key is one of those that onboard keeps for itself"),
		 errdetail("Manifests of runs stand in the folder \"%s%s\".", prefix,
				   OB_KEY_OWN_FOLDER),
		 errhint("Take \"%s\" out of option \"key\".", OB_KEY_OWN_FOLDER)));
}

void
ob_key_check(const char *template)
{
	const ObKeyFields probe = {0};
	StringInfoData key;

	initStringInfo(&key);
	expand(&key, template, &probe);
	pfree(key.data);
}

/* The template is expanded for two runs that differ in nothing else. */
bool
ob_key_is_of_run(const char *template)
{
	const ObKeyFields one = {.run_id = "1"};
	const ObKeyFields other = {.run_id = "2"};
	StringInfoData a;
	StringInfoData b;

	initStringInfo(&a);
	initStringInfo(&b);
	expand(&a, template, &one);
	expand(&b, template, &other);
	return strcmp(a.data, b.data) != 0;
}
