/*
 * profile.c
 *		AWS's config and credentials files, as texts.
 *
 * src/core/aws/profile.c
 *
 * A text is copied once, and split into lines, names and values in place, so
 * that only one block of memory must be wiped.  The entries point into it, in
 * the order of the file.
 */
#include "core/aws/profile.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 20000
#define VALUE_MAX (16 * 1024) /* a value may have several lines */

typedef enum SectionKind
{
	SECTION_OTHER,
	SECTION_DEFAULT, /* "[default]" */
	SECTION_PROFILE,
	SECTION_SERVICES
} SectionKind;

/* A key in its section; a section also has an entry of its own, without
 * key. */
typedef struct Entry
{
	SectionKind kind;
	const char *section; /* the name of the profile or the services section */
	const char *parent;  /* the key that a nested key is under; else NULL */
	const char *key;
	char *value;
} Entry;

typedef struct Text
{
	char *data; /* NULL: not read */
	size_t len;
	Entry *entries;
	int nentries;
	int capacity;
} Text;

struct ObProfiles
{
	Text texts[OB_PROFILE_ANY];
};

/* The state of the parser. */
typedef struct Reading
{
	Text *text;
	ObProfileFile file;
	int line;
	SectionKind kind;
	const char *section;
	bool in_section;
	int last;   /* the key that lines belong to which are indented more */
	int indent; /* than it is; last -1: none */
	ObError *error;
} Reading;

ObProfiles *
ob_profiles_new(void)
{
	return calloc(1, sizeof(ObProfiles));
}

void
ob_profiles_free(ObProfiles *profiles)
{
	if (!profiles)
		return;
	for (int i = 0; i < OB_PROFILE_ANY; i++)
	{
		if (profiles->texts[i].data)
			OPENSSL_cleanse(profiles->texts[i].data, profiles->texts[i].len);
		free(profiles->texts[i].data);
		free(profiles->texts[i].entries);
	}
	free(profiles);
}

/* ---- reading ---- */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Removes the blanks at both ends, in place. */
static char *
trim(char *text)
{
	size_t len;

	while (is_blank(*text))
		text++;
	len = strlen(text);
	while (len > 0 && is_blank(text[len - 1]))
		len--;
	text[len] = '\0';
	return text;
}

/* Cuts off a comment at the end of a line: a blank, then # or ;. */
static void
cut_comment(char *text)
{
	for (char *c = text; *c != '\0'; c++)
		if ((*c == '#' || *c == ';') && c > text && is_blank(c[-1]))
		{
			*c = '\0';
			return;
		}
}

static ObCode
syntax_error(const Reading *reading, const char *what)
{
	return ob_error_set(reading->error, OB_ECREDS, "line %d %s", reading->line,
						what);
}

static ObCode
add_entry(Reading *reading, const char *parent, const char *key, char *value)
{
	Text *text = reading->text;

	if (text->nentries == ENTRIES_MAX)
		return syntax_error(reading, "exceeds the maximum number of lines");
	if (text->nentries == text->capacity)
	{
		int capacity = text->capacity > 0 ? text->capacity * 2 : 32;
		Entry *entries =
			realloc(text->entries, (size_t) capacity * sizeof(Entry));

		if (!entries)
			return ob_error_set(reading->error, OB_ENOMEM, "out of memory");
		text->entries = entries;
		text->capacity = capacity;
	}
	text->entries[text->nentries++] =
		(Entry){reading->kind, reading->section, parent, key, value};
	return OB_OK;
}

/* Returns the rest of the text after its first word, without blanks and quotes
 * around it; NULL if it begins with another word. */
static char *
skip_word(char *name, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(name, word, len) != 0 || !is_blank(name[len]))
		return NULL;
	name = trim(name + len);
	len = strlen(name);
	if (len >= 2 && (name[0] == '"' || name[0] == '\'') &&
		name[len - 1] == name[0])
	{
		name[len - 1] = '\0';
		name++;
	}
	return name;
}

/* Begins the section that "[name]" stands for in this file. */
static void
set_section(Reading *reading, char *name)
{
	char *rest;

	reading->kind = SECTION_OTHER;
	reading->section = name;
	if (reading->file == OB_PROFILE_CREDENTIALS)
		reading->kind = SECTION_PROFILE;
	else if (strcmp(name, "default") == 0)
		reading->kind = SECTION_DEFAULT;
	else if ((rest = skip_word(name, "profile")) != NULL)
	{
		reading->kind = SECTION_PROFILE;
		reading->section = rest;
	}
	else if ((rest = skip_word(name, "services")) != NULL)
	{
		reading->kind = SECTION_SERVICES;
		reading->section = rest;
	}
}

static ObCode
read_section(Reading *reading, char *line)
{
	char *end = strchr(line, ']');
	char *name;

	if (!end)
		return syntax_error(reading, "has a \"[\" without its \"]\"");
	name = trim(end + 1);
	if (name[0] != '\0' && name[0] != '#' && name[0] != ';')
		return syntax_error(reading, "has text after its \"]\"");
	*end = '\0';
	name = trim(line + 1);
	if (name[0] == '\0')
		return syntax_error(reading, "has no section name");
	set_section(reading, name);
	reading->in_section = true;
	reading->last = -1;
	return add_entry(reading, NULL, NULL, NULL);
}

/* Splits "key = value" in place. */
static ObCode
split_pair(const Reading *reading, char *line, char **key, char **value)
{
	char *equals = strchr(line, '=');

	if (!equals)
		return syntax_error(reading,
							"is neither a section nor \"key = value\"");
	*equals = '\0';
	*key = trim(line);
	cut_comment(equals + 1);
	*value = trim(equals + 1);
	if ((*key)[0] == '\0')
		return syntax_error(reading, "has no key before its \"=\"");
	return OB_OK;
}

static ObCode
read_pair(Reading *reading, char *line)
{
	char *key;
	char *value;
	ObCode code;

	if (!reading->in_section)
		return syntax_error(reading, "is before the first section");
	code = split_pair(reading, line, &key, &value);
	if (code == OB_OK)
		code = add_entry(reading, NULL, key, value);
	reading->last = reading->text->nentries - 1;
	return code;
}

/* Reads a nested key, under an empty value, or the next line of a value.  The
 * line is moved to the end of the value, over text that has been read
 * already. */
static ObCode
read_indented(Reading *reading, char *line)
{
	const Entry *owner = &reading->text->entries[reading->last];
	char *key;
	char *value;
	ObCode code;

	if (owner->value[0] != '\0')
	{
		size_t len = strlen(owner->value);

		if (len > VALUE_MAX)
			return syntax_error(reading, "makes a value too long");
		line = trim(line);
		owner->value[len] = '\n';
		memmove(owner->value + len + 1, line, strlen(line) + 1);
		return OB_OK;
	}
	code = split_pair(reading, line, &key, &value);
	if (code == OB_OK)
		code = add_entry(reading, owner->key, key, value);
	return code;
}

/* A line belongs to the previous key if it is indented more than that key, so
 * whole sections may be indented, as AWS's own tools allow. */
static ObCode
read_line(Reading *reading, char *line)
{
	char *first = line;
	size_t len = strlen(line);

	if (len > 0 && line[len - 1] == '\r')
		line[len - 1] = '\0';
	while (is_blank(*first))
		first++;
	if (*first == '\0' || *first == '#' || *first == ';')
		return OB_OK;
	if (reading->last >= 0 && first - line > reading->indent)
		return read_indented(reading, line);
	reading->indent = (int) (first - line);
	if (*first == '[')
		return read_section(reading, first);
	return read_pair(reading, first);
}

ObCode
ob_profiles_read(ObProfiles *profiles, ObProfileFile file, const char *data,
				 size_t len, ObError *error)
{
	Text *text = &profiles->texts[file];
	Reading reading = {.text = text, .file = file, .last = -1, .error = error};
	char *line;
	ObCode code = OB_OK;

	if (memchr(data, '\0', len))
		return ob_error_set(error, OB_ECREDS, "it has a NUL byte");
	text->data = malloc(len + 1);
	if (!text->data)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	memcpy(text->data, data, len);
	text->data[len] = '\0';
	text->len = len;
	line = text->data;
	if (strncmp(line, "\xEF\xBB\xBF", 3) == 0)
		line += 3; /* some editors write a byte order mark before UTF-8 */
	while (line && code == OB_OK)
	{
		char *end =
			memchr(line, '\n', (size_t) (text->data + text->len - line));

		if (end)
			*end = '\0';
		reading.line++;
		code = read_line(&reading, line);
		line = end ? end + 1 : NULL;
	}
	return code;
}

/* ---- looking up ---- */

/* ASCII only: strcasecmp() follows the locale. */
static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

static bool
same_key(const char *a, const char *b)
{
	if (!a || !b)
		return a == b;
	while (*a != '\0' && lower(*a) == lower(*b))
	{
		a++;
		b++;
	}
	return *a == '\0' && *b == '\0';
}

/* Returns the last entry of that name; if key is NULL, any entry of the
 * section. */
static const Entry *
find(const Text *text, SectionKind kind, const char *section,
	 const char *parent, const char *key)
{
	for (int i = text->nentries - 1; i >= 0; i--)
	{
		const Entry *entry = &text->entries[i];

		if (entry->kind == kind && strcmp(entry->section, section) == 0 &&
			(!key ||
			 (same_key(entry->parent, parent) && same_key(entry->key, key))))
			return entry;
	}
	return NULL;
}

/* "[default]" does not count where there is a "[profile default]". */
static const Entry *
find_in_profile(const Text *text, const char *profile, const char *key)
{
	SectionKind kind = SECTION_PROFILE;

	if (!find(text, SECTION_PROFILE, profile, NULL, NULL))
		kind = SECTION_DEFAULT;
	return find(text, kind, profile, NULL, key);
}

bool
ob_profiles_has(const ObProfiles *profiles, const char *profile)
{
	for (int i = 0; i < OB_PROFILE_ANY; i++)
		if (find_in_profile(&profiles->texts[i], profile, NULL))
			return true;
	return false;
}

const char *
ob_profiles_get(const ObProfiles *profiles, ObProfileFile file,
				const char *profile, const char *key)
{
	for (int i = 0; i < OB_PROFILE_ANY; i++)
	{
		const Entry *entry;

		if (file != OB_PROFILE_ANY && (int) file != i)
			continue;
		entry = find_in_profile(&profiles->texts[i], profile, key);
		if (entry && entry->value[0] != '\0')
			return entry->value;
	}
	return NULL;
}

const char *
ob_profiles_get_service(const ObProfiles *profiles, const char *profile,
						const char *service, const char *key)
{
	const char *services =
		ob_profiles_get(profiles, OB_PROFILE_CONFIG, profile, "services");
	const Entry *entry = NULL;

	if (services)
		entry = find(&profiles->texts[OB_PROFILE_CONFIG], SECTION_SERVICES,
					 services, service, key);
	return entry && entry->value[0] != '\0' ? entry->value : NULL;
}
