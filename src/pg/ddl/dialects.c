/*
 * dialects.c
 *		The dialects, and what is checked for all of them.
 *
 * src/pg/ddl/dialects.c
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "pg/base/errors.h"
#include "pg/ddl/ddl_intern.h"
#include "pg/parquet/columns.h"

static const ObDialect *const dialects[] = {
	&ob_dialect_athena,   &ob_dialect_bigquery,  &ob_dialect_clickhouse,
	&ob_dialect_duckdb,   &ob_dialect_glue,      &ob_dialect_redshift,
	&ob_dialect_spectrum, &ob_dialect_snowflake, &ob_dialect_spark,
};

static const char *
list_dialects(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(dialects); i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", dialects[i]->name);
	return list.data;
}

static const ObDialect *
find_dialect(const char *name)
{
	if (!name)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("dialect must not be null"),
						errhint("Dialects: %s.", list_dialects())));
	for (int i = 0; i < lengthof(dialects); i++)
	{
		if (strcmp(dialects[i]->name, name) == 0)
			return dialects[i];
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unknown dialect \"%s\"", ob_report_clip(name)),
					errhint("Dialects: %s.", list_dialects())));
}

void
ob_ddl_refuse(const ObDdl *ddl, const char *why, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("%s cannot read what would be landed",
						   ddl->dialect->engine),
					errdetail("%s", why), errhint("%s", hint)));
}

/* ---- formats and options ---- */

static const ObTypeNames *
types_of_format(const ObDialect *dialect, ObFormatKind format)
{
	switch (format)
	{
		case OB_FORMAT_CSV:
			return dialect->csv;
		case OB_FORMAT_TEXT:
			return dialect->text;
		case OB_FORMAT_JSONL:
			return dialect->json;
		case OB_FORMAT_PARQUET:
			return dialect->parquet;
		default:
			return NULL;
	}
}

/* Whether a list of words, with blanks between them, has the word. */
static bool
has_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = words; (at = strstr(at, word)) != NULL; at += len)
	{
		if ((at == words || at[-1] == ' ') &&
			(at[len] == ' ' || at[len] == '\0'))
			return true;
	}
	return false;
}

static void
check_codec(const ObDdl *ddl)
{
	const ObDialect *dialect = ddl->dialect;
	const ObOptions *options = ddl->landing->options;
	const char *codecs = ddl->format == OB_FORMAT_PARQUET
							 ? dialect->parquet_codecs
							 : dialect->codecs;
	const char *codec = options->codec->extension;
	char *head;
	char *tail;
	bool fields;

	if (!has_word(codecs, options->compression))
		ob_ddl_refuse(
			ddl,
			psprintf("It does not read compression \"%s\" of format "
					 "\"%s\".",
					 options->compression, ddl->copy->format->name),
			psprintf("Set option \"compression\" to one of these: %s.",
					 codecs));
	ob_ddl_file_ends(ddl, &head, &tail, &fields);
	if (fields)
		head = tail;
	if (dialect->by_extension && strlen(codec) > 0 &&
		(strlen(head) < strlen(codec) ||
		 strcmp(head + strlen(head) - strlen(codec), codec) != 0))
		ob_ddl_refuse(ddl,
					  psprintf("It knows compressed objects by their names, "
							   "which must end with \"%s\".",
							   codec),
					  "End option \"key\" with {ext}.");
}

static void
check_format(const ObDdl *ddl)
{
	const ObCopyOptions *copy = ddl->copy;

	if (!ddl->types)
		ob_ddl_refuse(
			ddl,
			psprintf("It does not read format \"%s\".", copy->format->name),
			"Use \"format\": \"parquet\", \"jsonl\" or \"csv\".");
	check_codec(ddl);
	if (ddl->format != OB_FORMAT_PARQUET && copy->encoding != PG_UTF8)
		ob_ddl_refuse(ddl,
					  psprintf("Texts would be in encoding %s, not UTF8.",
							   pg_encoding_to_char(copy->encoding)),
					  "Set option \"encoding\" to UTF8.");
	if ((ddl->format == OB_FORMAT_CSV || ddl->format == OB_FORMAT_TEXT) &&
		(IS_HIGHBIT_SET(copy->delimiter) || IS_HIGHBIT_SET(copy->quote) ||
		 IS_HIGHBIT_SET(copy->escape)))
		ob_ddl_refuse(ddl,
					  "Options \"delimiter\", \"quote\" and \"escape\" are "
					  "bytes, and one of them is none of ASCII.",
					  "Set it to a character of ASCII.");
	if (ddl->format == OB_FORMAT_PARQUET && copy->parquet.delta &&
		!ddl->dialect->delta)
		ob_ddl_refuse(ddl, "It does not read encodings \"delta\".",
					  "Leave out option \"encodings\".");
}

/* A null that is alone in its row, and an empty text, is an empty line. */
static void
check_blank_lines(const ObDdl *ddl)
{
	if (ddl->format == OB_FORMAT_CSV && ddl->ncolumns == 1 &&
		ddl->copy->null_text[0] == '\0' && !ddl->dialect->blank_lines)
		ob_ddl_refuse(
			ddl,
			"There is one column, whose nulls are empty lines, which "
			"it may skip.",
			"Use \"format\": \"parquet\" or \"jsonl\", or add a "
			"column.");
}

/* Dates of csv and text are written by DateStyle. */
static void
check_date_style(const ObDdl *ddl)
{
	if (DateStyle == USE_ISO_DATES ||
		(ddl->format != OB_FORMAT_CSV && ddl->format != OB_FORMAT_TEXT))
		return;
	for (int i = 0; i < ddl->ncolumns; i++)
	{
		ObTypeKind kind = ddl->columns[i].kind;

		if (kind == OB_TYPE_DATE || kind == OB_TYPE_TIMESTAMP ||
			kind == OB_TYPE_TIMESTAMPTZ)
			ob_ddl_refuse(ddl,
						  psprintf("Column \"%s\" has dates, which this "
								   "session does not write in ISO 8601.",
								   ddl->columns[i].name),
						  "SET DateStyle TO ISO, here and where it is "
						  "exported.");
	}
}

/* ---- options of csv ---- */

/* The characters of numbers, dates, times, UUIDs and booleans. */
static bool
is_of_numbers(char c)
{
	return c != '\0' && (isalnum((unsigned char) c) || strchr("+-.: ", c));
}

static bool
is_text(const ObType *type)
{
	return type->kind == OB_TYPE_TEXT || type->kind == OB_TYPE_JSON;
}

bool
ob_ddl_may_quote(const ObDdl *ddl)
{
	const ObCopyOptions *copy = ddl->copy;
	const char *null = copy->null_text;

	if (copy->force_quote_all || copy->force_quote != NIL ||
		is_of_numbers(copy->delimiter) || is_of_numbers(copy->quote))
		return true;
	for (int i = 0; i < ddl->ncolumns; i++)
	{
		if (is_text(&ddl->columns[i]))
			return true;
	}
	/* a value that looks like a null is quoted */
	if (*null == '\0')
		return false;
	while (is_of_numbers(*null))
		null++;
	return *null == '\0';
}

void
ob_ddl_require_doubled_quotes(const ObDdl *ddl)
{
	if (ddl->copy->escape != ddl->copy->quote)
		ob_ddl_refuse(ddl, "It takes no other escape than the quote, twice.",
					  "Leave out option \"escape\".");
}

void
ob_ddl_require_quote(const ObDdl *ddl, const char *allowed)
{
	if (!strchr(allowed, ddl->copy->quote))
		ob_ddl_refuse(ddl, "It does not take that quote.",
					  "Leave out option \"quote\".");
}

void
ob_ddl_require_empty_null(const ObDdl *ddl)
{
	if (ddl->copy->null_text[0] != '\0')
		ob_ddl_refuse(ddl,
					  "It would take a quoted value that is the text of "
					  "option \"null\" for a null.",
					  "Leave out option \"null\".");
}

void
ob_ddl_require_null(const ObDdl *ddl)
{
	if (ddl->copy->null_text[0] == '\0' && ob_ddl_may_quote(ddl))
		ob_ddl_refuse(ddl, "It does not tell a null from an empty text.",
					  "Set option \"null\" to a text that no value has, or "
					  "use \"format\": \"parquet\".");
}

const char *
ob_ddl_char(char c)
{
	return psprintf("%c", c);
}

/* ---- names ---- */

/* Prefixes of columns that BigQuery keeps for itself. */
static bool
is_reserved(const char *name)
{
	static const char *const prefixes[] = {
		"_TABLE_",        "_FILE_",   "_PARTITION",
		"_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER",
	};

	for (int i = 0; i < lengthof(prefixes); i++)
	{
		if (pg_strncasecmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	}
	return false;
}

static bool
is_taken(const char *name, ObNamesTaken taken)
{
	switch (taken)
	{
		case OB_NAMES_NO_SEPARATORS:
			return strpbrk(name, OB_SEPARATORS) == NULL;
		case OB_NAMES_BIGQUERY:
			if (isdigit((unsigned char) *name) || is_reserved(name))
				return false;
			/* FALLTHROUGH */
		case OB_NAMES_PLAIN:
			for (const char *p = name; *p; p++)
			{
				if (IS_HIGHBIT_SET(*p) ||
					!(isalnum((unsigned char) *p) || *p == '_'))
					return false;
			}
			return true;
		default:
			return true;
	}
}

static void
check_name(const ObDdl *ddl, const ObType *type)
{
	const ObDialect *dialect = ddl->dialect;
	bool header = ddl->format == OB_FORMAT_CSV && ddl->copy->header;

	if (type->name && !is_taken(type->name, dialect->names))
		ob_ddl_refuse(
			ddl, psprintf("It does not take the name \"%s\".", type->name),
			dialect->names == OB_NAMES_NO_SEPARATORS
				? "Give it a name without blanks and any of "
				  ",;{}()= by AS."
			: dialect->names == OB_NAMES_BIGQUERY
				? "Give it a name of letters of ASCII, digits and _ by AS, "
				  "which begins with no digit and no prefix of BigQuery's."
				: "Give it a name of letters of ASCII, digits and _ by AS.");
	if (type->name && dialect->by_line && header &&
		strpbrk(type->name, "\r\n"))
		ob_ddl_refuse(ddl,
					  "It skips the header as a line, but a name in it has a "
					  "line break.",
					  "Give the column another name by AS, or set \"header\" "
					  "to false.");
}

/* Checks the names of columns, or of the fields of one. */
static void
check_names(const ObDdl *ddl, const ObType *types, int n)
{
	check_stack_depth();
	for (int i = 0; i < n; i++)
	{
		check_name(ddl, &types[i]);
		for (int j = 0; j < i && types[i].name && ddl->dialect->folds; j++)
		{
			if (pg_strcasecmp(types[i].name, types[j].name) == 0)
				ob_ddl_refuse(ddl,
							  psprintf("It does not tell \"%s\" from \"%s\".",
									   types[j].name, types[i].name),
							  "Give one of them another name by AS.");
		}
		check_names(ddl, types[i].children, types[i].nchildren);
	}
}

/* Other exports may land there, which the call does not show. */
static void
say_of_others(const ObDdl *ddl)
{
	if (!ddl->dialect->whole || ddl->place.own)
		return;
	ereport(NOTICE,
			(errmsg("%s reads all objects in the directory \"%s\"",
					ddl->dialect->engine,
					ob_report_client_text(ob_ddl_directory(ddl, "s3"))),
			 errhint("If other exports land there, too, use {name} before the "
					 "last slash of option \"key\".")));
}

/* ---- what dialects write ---- */

void
ob_ddl_type(const ObDdl *ddl, StringInfo to, const ObType *type)
{
	const ObType *refused;

	refused = ob_type_put(to, ddl->types, type);
	if (!refused)
		return;
	ob_ddl_refuse(
		ddl,
		psprintf("Column \"%s\" has %s, which it does not read from format "
				 "\"%s\".",
				 type->name, ob_type_say(refused), ddl->copy->format->name),
		refused->kind == OB_TYPE_UUID
			? "Set option \"uuid\" to \"text\"."
			: "Cast the column in the query, to text for example.");
}

/* Digits of a number that a floating-point one keeps. */
#define DOUBLE_DIGITS 15

static void
check_numbers(const ObDdl *ddl, const ObType *column, const ObType *type)
{
	bool decimal = type->kind == OB_TYPE_DECIMAL;

	if (decimal && type->scale > ddl->dialect->scale_max)
		ob_ddl_refuse(ddl,
					  psprintf("Column \"%s\" has %d digits after the point; "
							   "it has %d at most.",
							   column->name, type->scale,
							   ddl->dialect->scale_max),
					  "Cast the column in the query.");
	if (ddl->format == OB_FORMAT_JSONL && ddl->dialect->rounds_json &&
		(type->kind == OB_TYPE_NUMERIC ||
		 (decimal && type->precision > DOUBLE_DIGITS)))
		ob_ddl_refuse(ddl,
					  psprintf("Column \"%s\" may have more than %d digits, "
							   "and numbers of JSON may be rounded there.",
							   column->name, DOUBLE_DIGITS),
					  "Use \"format\": \"parquet\", or cast the column to "
					  "text in the query.");
	for (int i = 0; i < type->nchildren; i++)
		check_numbers(ddl, column, &type->children[i]);
}

void
ob_ddl_columns(ObDdl *ddl, const ObQuoting *quoting)
{
	for (int i = 0; i < ddl->ncolumns; i++)
	{
		appendStringInfoString(ddl->out, i > 0 ? ",\n    " : "    ");
		ob_ddl_identifier(ddl->out, quoting, ddl->columns[i].name);
		appendStringInfoChar(ddl->out, ' ');
		ob_ddl_type(ddl, ddl->out, &ddl->columns[i]);
	}
}

const char *
ob_ddl_plain_name(const char *name)
{
	char *plain = pstrdup(name);
	char *to = plain;

	for (const char *p = name; *p; p += pg_mblen(p))
	{
		bool keep = !IS_HIGHBIT_SET(*p) && isalnum((unsigned char) *p);

		*to++ = keep ? (char) pg_tolower((unsigned char) *p) : '_';
	}
	*to = '\0';
	return plain;
}

char *
ob_ddl(const ObLanding *landing, const char *dialect)
{
	StringInfoData out;
	ObDdl ddl = {
		.dialect = find_dialect(dialect),
		.landing = landing,
		.copy = &landing->options->copy,
		.format = landing->options->copy.format->kind,
		.out = &out,
	};

	initStringInfo(&out);
	ob_ddl_find_place(&ddl);
	ddl.types = types_of_format(ddl.dialect, ddl.format);
	check_format(&ddl);
	if (landing->columns->natts == 0)
		ob_ddl_refuse(&ddl, "The query's result has no columns.",
					  "Add a column to the query.");
	ddl.columns = ob_types_of(landing->columns, ddl.copy, &ddl.ncolumns);
	check_blank_lines(&ddl);
	check_date_style(&ddl);
	check_names(&ddl, ddl.columns, ddl.ncolumns);
	for (int i = 0; i < ddl.ncolumns; i++)
		check_numbers(&ddl, &ddl.columns[i], &ddl.columns[i]);
	ddl.dialect->write(&ddl);
	say_of_others(&ddl);
	return out.data;
}
