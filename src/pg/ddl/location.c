/*
 * location.c
 *		The directory of an export, and the names of the files in it.
 *
 * src/pg/ddl/location.c
 *
 * The directory is that of the export's key.  Of the key after it, the fields
 * that change from one run to the next stand for any text.
 */
#include "postgres.h"

#include "pg/config/key.h"
#include "pg/ddl/ddl_intern.h"

/* Fields of keys whose text is the same in all runs. */
static bool
is_fixed(const ObKeyPiece *piece)
{
	static const char *const fixed[] = {"prefix", "name", "database", "ext"};

	for (int i = 0; piece->field && i < lengthof(fixed); i++)
	{
		if (strcmp(piece->field, fixed[i]) == 0)
			return true;
	}
	return piece->field == NULL;
}

static bool
is_field(const ObKeyPiece *piece, const char *field)
{
	return piece->field && strcmp(piece->field, field) == 0;
}

static void
add_to_directory(ObDdl *ddl, StringInfo directory, const ObKeyPiece *piece)
{
	appendStringInfoString(directory, piece->text);
	if (is_field(piece, "name"))
		ddl->place.own = true;
	if (is_field(piece, "run_id") || is_field(piece, "part"))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no directory has the objects of this export"),
				 errdetail("Option \"key\" has {%s} before its last slash, so "
						   "each run has a directory of its own.",
						   piece->field),
				 errhint("Move {%s} behind the last slash.", piece->field)));
}

static int
find_last_slash(const List *key)
{
	int last = -1;

	for (int i = 0; i < list_length(key); i++)
	{
		const ObKeyPiece *piece = list_nth(key, i);

		if (strchr(piece->text, '/'))
			last = i;
	}
	return last;
}

static ObKeyPiece *
part_of(const ObKeyPiece *piece, const char *text)
{
	ObKeyPiece *part = palloc(sizeof(ObKeyPiece));

	*part = (ObKeyPiece){piece->field, text};
	return part;
}

/* ---- what engines do not find ---- */

/*
 * Hadoop's paths, which Spark and Hive have, are patterns without empty
 * segments, "." and "..".  Athena, too, wants none of these.  Spark replaces
 * ${env:NAME} and the like before it parses a statement, and so even in
 * literals.
 */
static void
check_directory(const ObDdl *ddl)
{
	const char *directory = ddl->place.directory;

	if (strpbrk(directory, "*?[]{}\\"))
		ob_ddl_refuse(ddl,
					  "The key's directory has one of *?[]{}\\, which have a "
					  "meaning in its locations.",
					  "Take them out of option \"key\" or the server's "
					  "prefix.");
	directory = psprintf("/%s", directory);
	if (strstr(directory, "//") || strstr(directory, "/./") ||
		strstr(directory, "/../"))
		ob_ddl_refuse(ddl,
					  "The key has an empty segment, \".\" or \"..\", which "
					  "its locations leave out.",
					  "Take them out of option \"key\" or the server's "
					  "prefix.");
}

static void
check_file(const ObDdl *ddl)
{
	const ObDialect *dialect = ddl->dialect;
	StringInfoData name;
	ListCell *cell;

	initStringInfo(&name);
	foreach (cell, ddl->place.file)
		appendStringInfoString(&name,
							   ((const ObKeyPiece *) lfirst(cell))->text);
	if (name.len == 0)
		ob_ddl_refuse(ddl,
					  "It takes an object whose key ends with a slash for a "
					  "directory.",
					  "End option \"key\" with {name}.{ext}.");
	if (strchr(dialect->hidden_first, name.data[0]) ||
		(dialect->hidden_last &&
		 strchr(dialect->hidden_last, name.data[name.len - 1])))
		ob_ddl_refuse(
			ddl,
			psprintf("It ignores an object of the name \"%s\".", name.data),
			"Begin what follows the last slash of option \"key\" "
			"with another text, and end it with {ext}.");
}

void
ob_ddl_find_place(ObDdl *ddl)
{
	const List *key = ddl->landing->key;
	int last = find_last_slash(key);
	StringInfoData directory;
	List *file = NIL;

	initStringInfo(&directory);
	for (int i = 0; i < list_length(key); i++)
	{
		const ObKeyPiece *piece = list_nth(key, i);
		const char *slash = i == last ? strrchr(piece->text, '/') : NULL;

		if (i < last)
			add_to_directory(ddl, &directory, piece);
		else if (slash)
		{
			add_to_directory(
				ddl, &directory,
				part_of(piece,
						pnstrdup(piece->text, slash + 1 - piece->text)));
			file = lappend(file, part_of(piece, slash + 1));
		}
		else
			file = lappend(file, unconstify(ObKeyPiece *, piece));
	}
	ddl->place.directory = directory.data;
	ddl->place.file = file;
	if (ddl->dialect->whole)
	{
		check_directory(ddl);
		check_file(ddl);
	}
}

char *
ob_ddl_directory(const ObDdl *ddl, const char *scheme)
{
	return psprintf("%s://%s/%s", scheme, ddl->landing->bucket,
					ddl->place.directory);
}

char *
ob_ddl_file_pattern(const ObDdl *ddl,
					void (*escape)(StringInfo to, const char *text),
					const char *any, const char *all)
{
	StringInfoData pattern;
	ListCell *cell;

	initStringInfo(&pattern);
	foreach (cell, ddl->place.file)
	{
		const ObKeyPiece *piece = lfirst(cell);

		if (is_fixed(piece))
			escape(&pattern, piece->text);
		else if (is_field(piece, "part"))
			appendStringInfoString(&pattern, all);
		else
		{
			for (size_t i = 0; i < strlen(piece->text); i++)
				appendStringInfoString(&pattern, any);
		}
	}
	return pattern.data;
}

void
ob_ddl_file_ends(const ObDdl *ddl, char **head, char **tail, bool *fields)
{
	StringInfoData text[2];
	ListCell *cell;

	*fields = false;
	initStringInfo(&text[0]);
	initStringInfo(&text[1]);
	foreach (cell, ddl->place.file)
	{
		const ObKeyPiece *piece = lfirst(cell);

		if (is_fixed(piece))
		{
			appendStringInfoString(&text[*fields], piece->text);
			continue;
		}
		*fields = true;
		resetStringInfo(&text[1]);
	}
	*head = text[0].data;
	*tail = text[1].data;
}
