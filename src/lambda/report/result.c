/*
 * result.c
 *		The outcome of a run, and its JSON.
 *
 * src/lambda/report/result.c
 */
#include "lambda/report/result.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lambda/services/database.h"

#define FAILURES_MAX 50

void
obl_result_init(OblResult *result, const char *run_id)
{
	memset(result, 0, sizeof(*result));
	strncpy(result->run_id, run_id, sizeof(result->run_id) - 1);
}

void
obl_result_free(OblResult *result)
{
	for (int i = 0; i < result->ntables; i++)
	{
		free(result->tables[i].name);
		free(result->tables[i].query);
		free(result->tables[i].message);
		free(result->tables[i].detail);
	}
	free(result->tables);
	memset(result, 0, sizeof(*result));
}

bool
obl_result_add(OblResult *result, const char *name, const char *query,
			   double size)
{
	OblTable *table;

	/* the array doubles at each power of two */
	if ((result->ntables & (result->ntables - 1)) == 0)
	{
		size_t room = result->ntables ? (size_t) result->ntables * 2 : 1;
		OblTable *more = realloc(result->tables, room * sizeof(OblTable));

		if (!more)
			return false;
		result->tables = more;
	}
	table = &result->tables[result->ntables];
	memset(table, 0, sizeof(*table));
	table->name = strdup(name);
	table->query = query ? strdup(query) : NULL;
	table->size = size;
	if (!table->name || (query && !table->query))
	{
		free(table->name);
		free(table->query);
		return false;
	}
	result->ntables++;
	return true;
}

OblTable *
obl_result_find(OblResult *result, const char *name)
{
	for (int i = 0; i < result->ntables; i++)
	{
		if (strcmp(result->tables[i].name, name) == 0)
			return &result->tables[i];
	}
	return NULL;
}

static int
compare_sizes(const void *a, const void *b)
{
	const OblTable *x = a;
	const OblTable *y = b;

	if (x->size != y->size)
		return x->size < y->size ? 1 : -1;
	return strcmp(x->name, y->name);
}

void
obl_result_sort(OblResult *result)
{
	if (result->ntables > 1)
		qsort(result->tables, result->ntables, sizeof(OblTable),
			  compare_sizes);
}

int
obl_result_count(const OblResult *result, OblTableState state)
{
	int n = 0;

	for (int i = 0; i < result->ntables; i++)
		n += result->tables[i].state == state;
	return n;
}

void
obl_table_fail(OblTable *table, const char *sqlstate, const char *message,
			   const char *detail)
{
	char line[OBL_TEXT];

	table->state = OBL_TABLE_FAILED;
	snprintf(table->sqlstate, sizeof(table->sqlstate), "%s", sqlstate);
	free(table->message);
	table->message = strdup(message);
	obl_copy_line(line, sizeof(line), detail);
	free(table->detail);
	table->detail = line[0] ? strdup(line) : NULL;
}

void
obl_table_read_row(OblTable *table, const char *status, const char *rows,
				   const char *bytes, const char *sqlstate,
				   const char *message, const char *detail)
{
	if (strcmp(status, "done") == 0)
		table->state = OBL_TABLE_DONE;
	else if (strcmp(status, "empty") == 0)
		table->state = OBL_TABLE_EMPTY;
	else if (strcmp(status, "queued") == 0 || strcmp(status, "running") == 0)
		table->state = OBL_TABLE_QUEUED;
	else
		obl_table_fail(table, sqlstate[0] ? sqlstate : "",
					   message[0] ? message : status, detail);
	table->rows = strtoll(rows, NULL, 10);
	table->bytes = strtoll(bytes, NULL, 10);
}

static int
landed(const OblResult *result)
{
	return obl_result_count(result, OBL_TABLE_DONE) +
		   obl_result_count(result, OBL_TABLE_EMPTY);
}

/* Counts the landed tables that another delivery of the event has exported. */
static int
landed_before(const OblResult *result)
{
	int n = 0;

	for (int i = 0; i < result->ntables; i++)
	{
		const OblTable *table = &result->tables[i];

		n += table->landed_before && (table->state == OBL_TABLE_DONE ||
									  table->state == OBL_TABLE_EMPTY);
	}
	return n;
}

/* Counts the tables that will not end by themselves. */
static int
unfinished(const OblResult *result)
{
	return obl_result_count(result, OBL_TABLE_DEADLINE) +
		   obl_result_count(result, OBL_TABLE_WAITING);
}

static int
in_progress(const OblResult *result)
{
	return obl_result_count(result, OBL_TABLE_QUEUED) +
		   obl_result_count(result, OBL_TABLE_RUNNING) +
		   obl_result_count(result, OBL_TABLE_SKIPPED);
}

const char *
obl_result_state(const OblResult *result)
{
	int bad = obl_result_count(result, OBL_TABLE_FAILED) + unfinished(result);

	if (bad > 0)
		return landed(result) + in_progress(result) > 0 ? "partial" : "failed";
	return in_progress(result) > 0 ? "running" : "done";
}

bool
obl_result_failed(const OblResult *result, OblFailOn fail_on)
{
	int bad = obl_result_count(result, OBL_TABLE_FAILED) + unfinished(result);

	switch (fail_on)
	{
		case OBL_FAIL_ON_ANY:
			return bad > 0;
		case OBL_FAIL_ON_ALL:
			return bad > 0 && landed(result) + in_progress(result) == 0;
		case OBL_FAIL_ON_NEVER:
			break;
	}
	return false;
}

static json_t *
failure(const OblTable *table)
{
	bool late = table->state != OBL_TABLE_FAILED;
	const char *message = table->message;

	if (!message)
		message = late ? "deadline exceeded" : "";
	return json_pack(
		"{s:s, s:s, s:s, s:s*, s:i}", "table", table->name, "sqlstate",
		table->sqlstate[0] || !late ? table->sqlstate : "deadline", "message",
		message, "detail", table->detail, "attempts", table->attempts);
}

static json_t *
failures(const OblResult *result, int *more)
{
	json_t *list = json_array();

	*more = 0;
	for (int i = 0; i < result->ntables; i++)
	{
		const OblTable *table = &result->tables[i];

		if (table->state != OBL_TABLE_FAILED &&
			table->state != OBL_TABLE_DEADLINE &&
			table->state != OBL_TABLE_WAITING)
			continue;
		if (json_array_size(list) < FAILURES_MAX)
			json_array_append_new(list, failure(table));
		else
			(*more)++;
	}
	return list;
}

char *
obl_result_json(const OblResult *result)
{
	int more;
	json_t *list = failures(result, &more);
	int64_t rows = 0;
	int64_t bytes = 0;
	json_t *object;
	char *text;

	for (int i = 0; i < result->ntables; i++)
	{
		rows += result->tables[i].rows;
		bytes += result->tables[i].bytes;
	}
	object = json_pack(
		"{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:o}",
		"run_id", result->run_id, "state", obl_result_state(result), "tables",
		result->ntables, "exported", obl_result_count(result, OBL_TABLE_DONE),
		"empty", obl_result_count(result, OBL_TABLE_EMPTY), "landed_before",
		landed_before(result), "failed",
		obl_result_count(result, OBL_TABLE_FAILED), "unfinished",
		unfinished(result), "running", in_progress(result), "rows",
		(json_int_t) rows, "bytes", (json_int_t) bytes, "failures", list);
	if (!object)
		return NULL;
	if (more > 0)
		json_object_set_new(object, "more", json_integer(more));
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return text;
}
