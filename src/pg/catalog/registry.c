/*
 * registry.c
 *		The table onboard_tables: what onboard_all() exports.
 *
 * src/pg/catalog/registry.c
 *
 * It is read and written as the calling role, with that role's privileges:
 * a role that may write it chooses SQL that others will run.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "pg/config/options.h"
#include "pg/base/own_query.h"
#include "pg/base/query.h"
#include "pg/catalog/registry.h"
#include "pg/config/server.h"

/* ---- reading ---- */

static ObEntry *
read_entry(uint64 row, MemoryContext context)
{
	MemoryContext before = MemoryContextSwitchTo(context);
	ObEntry *entry = palloc0(sizeof(ObEntry));
	bool isnull;
	Datum options = ob_own_column(row, 4, &isnull);

	entry->name = ob_own_text(row, 1);
	entry->query = ob_own_text(row, 2);
	entry->bucket = ob_own_text(row, 3);
	if (!isnull)
		entry->options = DatumGetJsonbPCopy(options);
	entry->id = *DatumGetUUIDP(ob_own_column(row, 5, &isnull));
	MemoryContextSwitchTo(before);
	return entry;
}

/* Returns the rows that a condition with one text parameter selects. */
static List *
select_entries(Oid schema, const char *condition, const char *value)
{
	MemoryContext context = CurrentMemoryContext;
	ObParameters parameters = {0};
	const ObOwnQuery query = {
		.sql = psprintf("SELECT name, query, bucket, options, id "
						"FROM %%s.onboard_tables WHERE %s ORDER BY name",
						condition),
		.parameters = &parameters,
		.result = SPI_OK_SELECT,
	};
	List *entries = NIL;
	uint64 n;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	ob_parameter_text(&parameters, value);
	n = ob_own_query(schema, &query);
	for (uint64 i = 0; i < n; i++)
	{
		ObEntry *entry = read_entry(i, context);
		MemoryContext before = MemoryContextSwitchTo(context);

		entries = lappend(entries, entry);
		MemoryContextSwitchTo(before);
	}
	SPI_finish();
	return entries;
}

ObEntry *
ob_registry_find(Oid schema, const char *name)
{
	Oid table = get_relname_relid("onboard_tables", schema);
	List *entries;

	if (!OidIsValid(table) ||
		pg_class_aclcheck(table, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		return NULL;
	entries = select_entries(schema, "name OPERATOR(pg_catalog.=) $1", name);
	return entries ? linitial(entries) : NULL;
}

List *
ob_registry_list(Oid schema, const char *pattern)
{
	return select_entries(
		schema, "enabled AND ($1 IS NULL OR name OPERATOR(pg_catalog.~~) $1)",
		pattern);
}

/* ---- loading ---- */

typedef struct LoadEntry
{
	char *name;
	char *query;
	char *bucket;
	Jsonb *options;
	bool enabled;
	bool has_query, has_bucket, has_enabled;
} LoadEntry;

static _Noreturn void
refuse(const char *message, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message),
			 detail ? errdetail_internal("%s", detail) : 0,
			 errhint("The format is {\"Tables\": [{\"table_name\": "
					 "\"...\", \"sql_query\": \"...\"}]}; an entry may "
					 "also have bucket, options and enabled.")));
}

/* Returns a string, or NULL for JSON's null. */
static char *
string_value(const JsonbValue *value, const char *key, const char *entry)
{
	if (value->type == jbvNull)
		return NULL;
	if (value->type != jbvString)
		refuse(psprintf("\"%s\" must be a string", key), entry);
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static void
read_field(LoadEntry *load, const char *key, JsonbValue *value,
		   const char *where)
{
	if (strcmp(key, "table_name") == 0)
		load->name = string_value(value, key, where);
	else if (strcmp(key, "sql_query") == 0)
	{
		load->query = string_value(value, key, where);
		load->has_query = true;
	}
	else if (strcmp(key, "bucket") == 0)
	{
		load->bucket = string_value(value, key, where);
		load->has_bucket = true;
	}
	else if (strcmp(key, "options") == 0)
	{
		if (value->type != jbvBinary)
			refuse("\"options\" must be an object", where);
		load->options = JsonbValueToJsonb(value);
	}
	else if (strcmp(key, "enabled") == 0)
	{
		if (value->type != jbvBool)
			refuse("\"enabled\" must be true or false", where);
		load->enabled = value->val.boolean;
		load->has_enabled = true;
	}
	else
		refuse(psprintf("unknown key \"%s\"", key), where);
}

/* The errors of a query do not say which entry it belongs to. */
static void
say_entry(void *arg)
{
	const LoadEntry *load = arg;

	errcontext("checking the query of table \"%s\"", load->name);
}

static void
check_query(LoadEntry *load)
{
	ErrorContextCallback context = {error_context_stack, say_entry, load};

	error_context_stack = &context;
	ob_query_check(load->query);
	error_context_stack = context.previous;
}

static LoadEntry *
read_load_entry(JsonbValue *element, int number)
{
	LoadEntry *load = palloc0(sizeof(LoadEntry));
	char *where = psprintf("In entry %d of \"Tables\".", number);
	JsonbIterator *iterator;
	JsonbValue key;
	JsonbValue value;

	if (element->type != jbvBinary ||
		!JsonContainerIsObject(element->val.binary.data))
		refuse("an entry of \"Tables\" must be an object", where);
	iterator = JsonbIteratorInit(element->val.binary.data);
	(void) JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&iterator, &value, true);
		read_field(load, pnstrdup(key.val.string.val, key.val.string.len),
				   &value, where);
	}
	if (!load->name || !load->name[0])
		refuse("\"table_name\" is missing or empty", where);
	if (load->query)
		check_query(load);
	if (load->bucket)
		ob_server_check_bucket(load->bucket);
	if (load->options)
	{
		ob_options_read(ob_options_new(), load->options, OB_OPTIONS_REGISTRY,
						psprintf("options of table \"%s\"", load->name));
	}
	return load;
}

static List *
read_config(Jsonb *config)
{
	JsonbValue *tables = NULL;
	JsonbIterator *iterator;
	JsonbValue element;
	List *loads = NIL;
	int number = 0;

	if (JB_ROOT_IS_OBJECT(config))
		tables =
			getKeyJsonValueFromContainer(&config->root, "Tables", 6, NULL);
	if (!tables || tables->type != jbvBinary ||
		!JsonContainerIsArray(tables->val.binary.data))
		refuse("the configuration has no array \"Tables\"", NULL);
	iterator = JsonbIteratorInit(tables->val.binary.data);
	(void) JsonbIteratorNext(&iterator, &element, true);
	while (JsonbIteratorNext(&iterator, &element, true) == WJB_ELEM)
	{
		LoadEntry *load = read_load_entry(&element, ++number);
		ListCell *cell;

		CHECK_FOR_INTERRUPTS();
		foreach (cell, loads)
		{
			if (strcmp(((LoadEntry *) lfirst(cell))->name, load->name) == 0)
				refuse(psprintf("table \"%s\" occurs twice", load->name),
					   NULL);
		}
		loads = lappend(loads, load);
	}
	return loads;
}

static void
upsert(Oid schema, const LoadEntry *load)
{
	ObParameters parameters = {0};
	const char *sql =
		psprintf("INSERT INTO %%s.onboard_tables AS t "
				 "(name, query, bucket, options, enabled) "
				 "VALUES ($1, $2, $3, COALESCE($4, '{}'), COALESCE($5, true)) "
				 "ON CONFLICT (name) DO UPDATE SET query = %s, bucket = %s, "
				 "options = COALESCE($4, t.options), "
				 "enabled = COALESCE($5, t.enabled)",
				 load->has_query ? "$2" : "t.query",
				 load->has_bucket ? "$3" : "t.bucket");
	const ObOwnQuery query = {
		.sql = sql,
		.parameters = &parameters,
		.writes = true,
		.result = SPI_OK_INSERT,
	};

	ob_parameter_text(&parameters, load->name);
	ob_parameter_text(&parameters, load->query);
	ob_parameter_text(&parameters, load->bucket);
	ob_parameter_add(&parameters, JSONBOID, JsonbPGetDatum(load->options),
					 load->options != NULL);
	ob_parameter_add(&parameters, BOOLOID, BoolGetDatum(load->enabled),
					 load->has_enabled);
	ob_own_query(schema, &query);
}

int
ob_registry_load(Oid schema, Jsonb *config)
{
	List *loads = read_config(config);
	ListCell *cell;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	foreach (cell, loads)
		upsert(schema, lfirst(cell));
	SPI_finish();
	return list_length(loads);
}
