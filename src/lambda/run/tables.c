/*
 * tables.c
 *		The list of tables: from the registry or the file, less what has
 * landed.
 *
 * src/lambda/run/tables.c
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "lambda/run/run.h"

/* The parameter is the event's list of names, as JSON; NULL: all tables. */
static const char registered[] =
	"SELECT t.name, coalesce(c.reltuples, 0)::float8"
	" FROM onboard_tables t LEFT JOIN pg_catalog.pg_class c"
	" ON t.query IS NULL AND c.oid = pg_catalog.to_regclass(t.name)"
	" WHERE CASE WHEN $1::text IS NULL THEN t.enabled ELSE t.name IN"
	" (SELECT pg_catalog.jsonb_array_elements_text($1::jsonb)) END"
	" ORDER BY t.name";

static const char landed[] =
	"SELECT name, status, rows, bytes FROM onboard_runs"
	" WHERE run_id = $1::uuid AND role = current_user"
	" AND status IN ('done', 'empty', 'queued', 'running')";

/* ---- the registry ---- */

static char *
names_as_json(const OblEvent *event)
{
	json_t *names = json_array();
	char *text;

	for (int i = 0; i < event->ntables; i++)
		json_array_append_new(names, json_string(event->tables[i]));
	text = json_dumps(names, JSON_COMPACT);
	json_decref(names);
	return text;
}

static ObCode
read_registry(OblRun *run, ObError *error)
{
	char *names = run->event->tables ? names_as_json(run->event) : NULL;
	const char *values[] = {names};
	PGresult *rows = NULL;
	ObCode code = obl_run_query(run, registered, 1, values, &rows, error);

	free(names);
	for (int i = 0; code == OB_OK && i < PQntuples(rows); i++)
	{
		if (!obl_result_add(&run->result, PQgetvalue(rows, i, 0), NULL,
							atof(PQgetvalue(rows, i, 1))))
			code = ob_error_set(error, OB_ENOMEM, "out of memory");
	}
	PQclear(rows);
	return code;
}

/* ---- the file ---- */

static bool
is_wanted(const OblEvent *event, const char *name)
{
	if (!event->tables)
		return true;
	for (int i = 0; i < event->ntables; i++)
	{
		if (strcmp(event->tables[i], name) == 0)
			return true;
	}
	return false;
}

static ObCode
refuse(ObError *error, size_t number, const char *why)
{
	return ob_error_set(error, OB_EINVAL, "entry %zu %s", number + 1, why);
}

static ObCode
read_entry(OblRun *run, const json_t *entry, size_t number, ObError *error)
{
	const char *name = json_string_value(json_object_get(entry, "table_name"));
	const char *query = json_string_value(json_object_get(entry, "sql_query"));

	if (!name || !name[0])
		return refuse(error, number, "has no table_name");
	if (!query || !query[0])
		return refuse(error, number, "has no sql_query");
	if (json_object_size(entry) != 2)
		return refuse(error, number, "has an unknown key");
	if (obl_result_find(&run->result, name))
		return refuse(error, number, "has a duplicate table_name");
	if (is_wanted(run->event, name) &&
		!obl_result_add(&run->result, name, query, 0))
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	return OB_OK;
}

static ObCode
read_file(OblRun *run, ObError *error)
{
	json_error_t where;
	json_t *root =
		json_load_file(run->config->file, JSON_REJECT_DUPLICATES, &where);
	const json_t *tables = json_object_get(root, "Tables");

	ob_error_what(error, "could not read the tables of \"%s\"",
				  run->config->file);
	if (!root)
		ob_error_set(error, OB_EINVAL, "line %d: %s", where.line, where.text);
	else if (!json_is_array(tables) || json_object_size(root) != 1)
		ob_error_set(error, OB_EINVAL,
					 "it is not {\"Tables\": [{\"table_name\": ..., "
					 "\"sql_query\": ...}]}");
	for (size_t i = 0; error->code == OB_OK && i < json_array_size(tables);
		 i++)
		(void) read_entry(run, json_array_get(tables, i), i, error);
	json_decref(root);
	return error->code;
}

/* ---- both ---- */

static ObCode
add_unknown(OblRun *run, ObError *error)
{
	for (int i = 0; i < run->event->ntables; i++)
	{
		const char *name = run->event->tables[i];

		if (obl_result_find(&run->result, name))
			continue;
		if (!obl_result_add(&run->result, name, NULL, 0))
			return ob_error_set(error, OB_ENOMEM, "out of memory");
		obl_table_fail(obl_result_find(&run->result, name), "42704",
					   "it is not registered", NULL);
	}
	return OB_OK;
}

/* Marks the tables that an earlier or concurrent delivery has exported. */
static ObCode
mark_landed(OblRun *run, ObError *error)
{
	const char *values[] = {run->result.run_id};
	PGresult *rows = NULL;

	if (obl_run_query(run, landed, 1, values, &rows, error) != OB_OK)
		return error->code;
	for (int i = 0; i < PQntuples(rows); i++)
	{
		OblTable *table =
			obl_result_find(&run->result, PQgetvalue(rows, i, 0));

		if (!table)
			continue;
		obl_table_read_row(table, PQgetvalue(rows, i, 1),
						   PQgetvalue(rows, i, 2), PQgetvalue(rows, i, 3), "",
						   "", "");
		table->landed_before = true;
	}
	PQclear(rows);
	return OB_OK;
}

ObCode
obl_run_tables(OblRun *run, ObError *error)
{
	ObCode code = run->config->tables_in_file ? read_file(run, error)
											  : read_registry(run, error);

	if (code == OB_OK)
		code = add_unknown(run, error);
	if (code == OB_OK)
		code = mark_landed(run, error);
	return code;
}
