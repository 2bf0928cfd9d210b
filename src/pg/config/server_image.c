/*
 * server_image.c
 *		A server as a run's leader has read it, for the workers of the run.
 *
 * src/pg/config/server_image.c
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "nodes/makefuncs.h"

#include "pg/config/server_image.h"

Size
ob_server_image_size(const ObServer *server)
{
	Size size = offsetof(ObServerImage, texts) + strlen(server->name) + 1;
	ListCell *cell;

	foreach (cell, server->options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		size += strlen(option->defname) + 1;
		size += strlen(defGetString(option)) + 1;
	}
	return size;
}

static char *
put(char *at, const char *text)
{
	Size len = strlen(text) + 1;

	memcpy(at, text, len);
	return at + len;
}

void
ob_server_image_save(const ObServer *server, ObServerImage *image)
{
	char *at = put(image->texts, server->name);
	ListCell *cell;

	image->serverid = server->serverid;
	image->n = list_length(server->options);
	foreach (cell, server->options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		at = put(at, option->defname);
		at = put(at, defGetString(option));
	}
}

static const char *
next(const char *text)
{
	return text + strlen(text) + 1;
}

ObServer *
ob_server_image_get(const ObServerImage *image)
{
	const char *at = next(image->texts);
	List *options = NIL;
	ObServer *server;

	for (int i = 0; i < image->n; i++)
	{
		const char *name = at;
		const char *value = next(name);

		options = lappend(
			options, makeDefElem(pstrdup(name),
								 (Node *) makeString(pstrdup(value)), -1));
		at = next(value);
	}
	server = ob_server_make(image->serverid, image->texts, options);
	ob_server_require_usage(server);
	ob_server_fill_keys(server);
	return server;
}
