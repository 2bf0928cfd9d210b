/*
 * image.c
 *		Structs in shared memory, for other processes of ours.
 *
 * src/pg/config/image.c
 *
 * A piece is its length, which is -1 for NULL, and its bytes with a NUL behind
 * them.  Both are aligned.
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "nodes/makefuncs.h"

#include "pg/config/image.h"

ObImage
ob_image_count(void)
{
	return (ObImage){false, NULL, 0};
}

ObImage
ob_image_write(void *at)
{
	return (ObImage){false, at, 0};
}

ObImage
ob_image_read(const void *at)
{
	return (ObImage){true, unconstify(void *, at), 0};
}

/* Returns the bytes: the given ones, or those of the image if it is read. */
static const char *
piece(ObImage *image, const void *data, int64 *len)
{
	const Size header = MAXALIGN(sizeof(*len));
	const char *bytes = data;
	Size size;

	if (image->reading)
	{
		memcpy(len, image->at, sizeof(*len));
		bytes = *len < 0 ? NULL : image->at + header;
	}
	else if (image->at)
	{
		memcpy(image->at, len, sizeof(*len));
		if (*len > 0)
			memcpy(image->at + header, data, *len);
		if (*len >= 0)
			image->at[header + *len] = '\0';
	}
	size = header + (*len < 0 ? 0 : MAXALIGN(*len + 1));
	image->size += size;
	if (image->at)
		image->at += size;
	return bytes;
}

void
ob_image_struct(ObImage *image, void *data, Size size)
{
	int64 len = (int64) size;
	const char *bytes = piece(image, data, &len);

	if (!image->reading)
		return;
	if (len != (int64) size)
		elog(ERROR, "unknown contents of shared memory");
	memcpy(data, bytes, size);
}

void
ob_image_bytes(ObImage *image, const char **data, size_t *len)
{
	int64 n = image->reading ? 0 : *data ? (int64) *len : -1;

	*data = piece(image, *data, &n);
	*len = n < 0 ? 0 : (size_t) n;
}

void
ob_image_text(ObImage *image, const char **text)
{
	int64 len = image->reading ? 0 : *text ? (int64) strlen(*text) : -1;

	*text = piece(image, *text, &len);
}

void
ob_image_texts(ObImage *image, List **texts)
{
	List *list = image->reading ? NIL : *texts;
	int n = list_length(list);

	ob_image_struct(image, &n, sizeof(n));
	for (int i = 0; i < n; i++)
	{
		const char *text = image->reading ? NULL : list_nth(list, i);

		ob_image_text(image, &text);
		if (image->reading)
			list = lappend(list, unconstify(char *, text));
	}
	*texts = list;
}

void
ob_image_pairs(ObImage *image, const ObPair **pairs, int n)
{
	ObPair *read = image->reading ? palloc(sizeof(ObPair) * (n + 1)) : NULL;

	for (int i = 0; i < n; i++)
	{
		ObPair pair = {NULL, NULL};

		if (!read)
			pair = (*pairs)[i];
		ob_image_text(image, &pair.name);
		ob_image_text(image, &pair.value);
		if (read)
			read[i] = pair;
	}
	if (read)
		*pairs = read;
}

void
ob_image_jsonb(ObImage *image, Jsonb **jsonb)
{
	int64 len = image->reading ? 0 : *jsonb ? (int64) VARSIZE(*jsonb) : -1;

	*jsonb = (Jsonb *) unconstify(char *, piece(image, *jsonb, &len));
}

OB_IMAGE_KNOWS(ObServerRow, 24);

void
ob_image_server(ObImage *image, ObServerRow *row)
{
	List *names = NIL;
	List *values = NIL;
	ListCell *name;
	ListCell *value;

	if (!image->reading)
	{
		foreach (name, row->options)
		{
			DefElem *option = lfirst_node(DefElem, name);

			names = lappend(names, option->defname);
			values = lappend(values, defGetString(option));
		}
	}
	ob_image_struct(image, row, sizeof(*row));
	ob_image_text(image, &row->name);
	ob_image_texts(image, &names);
	ob_image_texts(image, &values);
	if (!image->reading)
		return;
	row->options = NIL;
	forboth(name, names, value, values)
	{
		Node *text = (Node *) makeString(pstrdup(lfirst(value)));

		row->options = lappend(row->options,
							   makeDefElem(pstrdup(lfirst(name)), text, -1));
	}
}
