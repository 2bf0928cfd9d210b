/*
 * schema.c
 *		The schema of an object: its format and columns, as JSON.
 *
 * src/pg/ddl/schema.c
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/comment.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "pg/base/compat.h"
#include "pg/base/json_writer.h"
#include "pg/base/query.h"
#include "pg/ddl/ddl_intern.h"
#include "pg/ddl/schema.h"

/* ---- the columns' types in the object ---- */

static void
put_name(StringInfo to, const char *name)
{
	ob_ddl_identifier(to, &ob_quoting_standard, name);
}

static const ObTypeNames parquet_names = {
	.names = {[OB_TYPE_BOOL] = "BOOLEAN",
			  [OB_TYPE_INT2] = "INT(16,true)",
			  [OB_TYPE_INT4] = "INT32",
			  [OB_TYPE_INT8] = "INT64",
			  [OB_TYPE_FLOAT4] = "FLOAT",
			  [OB_TYPE_FLOAT8] = "DOUBLE",
			  [OB_TYPE_DECIMAL] = "DECIMAL",
			  [OB_TYPE_TEXT] = "STRING",
			  [OB_TYPE_BYTES] = "BYTE_ARRAY",
			  [OB_TYPE_DATE] = "DATE",
			  [OB_TYPE_TIME] = "TIME(false,MICROS)",
			  [OB_TYPE_TIMESTAMP] = "TIMESTAMP(false,MICROS)",
			  [OB_TYPE_TIMESTAMPTZ] = "TIMESTAMP(true,MICROS)",
			  [OB_TYPE_UUID] = "UUID",
			  [OB_TYPE_JSON] = "JSON"},
	.list = {"LIST<", ">"},
	.structure = {"STRUCT<", ">"},
	.between = ": ",
	.map = {"MAP<", ">"},
	.identifier = put_name,
};

static const ObTypeNames json_names = {
	.names = {[OB_TYPE_BOOL] = "boolean",
			  [OB_TYPE_INT2... OB_TYPE_NUMERIC] = "number",
			  [OB_TYPE_TEXT... OB_TYPE_UUID] = "string",
			  [OB_TYPE_JSON] = "any",
			  [OB_TYPE_LIST] = "array",
			  [OB_TYPE_STRUCT... OB_TYPE_MAP] = "object"},
	.decimal_plain = true,
};

/* csv, text and binary have PostgreSQL's types alone. */
static const ObTypeNames *
names_of(ObFormatKind format, const char **member)
{
	switch (format)
	{
		case OB_FORMAT_PARQUET:
			*member = "parquet_type";
			return &parquet_names;
		case OB_FORMAT_JSONL:
		case OB_FORMAT_JSON:
			*member = "json_type";
			return &json_names;
		default:
			return NULL;
	}
}

/* ---- the columns of tables that they come from ---- */

/* Whether the query reads one table and nothing else: a join or a set of
 * groups can make nulls of a column that has none. */
static bool
is_of_one_table(const Query *query)
{
	return list_length(query->rtable) == 1 && !query->groupingSets &&
		   !query->setOperations &&
		   linitial_node(RangeTblEntry, query->rtable)->rtekind ==
			   RTE_RELATION;
}

/*
 * Whether the rows of the table may be in other tables, too, that do not have
 * its constraints: children need not have them, and those of foreign tables
 * are not enforced.
 */
static bool
is_loose(Relation relation, bool with_children)
{
	bool loose = false;
	List *tables;
	ListCell *cell;

	if (relation->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
		return true;
	if (!with_children || !relation->rd_rel->relhassubclass)
		return false;
	if (relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return true;
	tables =
		find_all_inheritors(RelationGetRelid(relation), AccessShareLock, NULL);
	foreach (cell, tables)
		loose = loose ||
				get_rel_relkind(lfirst_oid(cell)) == RELKIND_FOREIGN_TABLE;
	list_free(tables);
	return loose;
}

static bool
is_not_null(const Query *query, const TargetEntry *entry)
{
	Relation relation;
	bool found;

	if (!is_of_one_table(query) || !IsA(entry->expr, Var) ||
		entry->resorigcol <= 0)
		return false;
	relation = relation_open(entry->resorigtbl, AccessShareLock);
	found =
		ob_column_is_not_null(relation, entry->resorigcol) &&
		!is_loose(relation, linitial_node(RangeTblEntry, query->rtable)->inh);
	relation_close(relation, NoLock);
	return found;
}

static void
add_origin(StringInfo json, const Query *query, int column)
{
	const TargetEntry *entry = list_nth(query->targetList, column);
	char *comment = NULL;

	if (OidIsValid(entry->resorigtbl) && entry->resorigcol > 0)
		comment = GetComment(entry->resorigtbl, RelationRelationId,
							 entry->resorigcol);
	ob_json_put_bool(json, "nullable", !is_not_null(query, entry));
	ob_json_put_text(json, "comment", comment);
}

/* ---- the members ---- */

static void
add_columns(StringInfo json, const char *query, TupleDesc desc,
			const ObOptions *options)
{
	const char *member = NULL;
	const ObTypeNames *names = names_of(options->copy.format->kind, &member);
	const Query *parsed = options->schema ? ob_query_parse(query) : NULL;
	ObType *types = NULL;
	int n;

	if (parsed && names && desc->natts > 0)
		types = ob_types_of(desc, &options->copy, &n);
	ob_json_open(json, "columns", '[');
	for (int i = 0; i < desc->natts; i++)
	{
		const FormData_pg_attribute *attribute = TupleDescAttr(desc, i);

		ob_json_open(json, NULL, '{');
		ob_json_put_text(json, "name", NameStr(attribute->attname));
		ob_json_put_text(json, "type",
						 format_type_with_typemod(attribute->atttypid,
												  attribute->atttypmod));
		if (types)
		{
			StringInfoData type;

			initStringInfo(&type);
			(void) ob_type_put(&type, names, &types[i]);
			ob_json_put_text(json, member, type.data);
		}
		if (parsed)
			add_origin(json, parsed, i);
		ob_json_close(json, '}');
	}
	ob_json_close(json, ']');
}

static void
add_format(StringInfo json, const ObOptions *options)
{
	const ObCopyOptions *copy = &options->copy;
	ObFormatKind kind = copy->format->kind;

	ob_json_open(json, "format", '{');
	ob_json_put_text(json, "name", copy->format->name);
	ob_json_put_text(json, "compression", options->compression);
	if (kind != OB_FORMAT_BINARY)
		ob_json_put_text(json, "encoding",
						 pg_encoding_to_char(copy->encoding));
	if (kind == OB_FORMAT_CSV || kind == OB_FORMAT_TEXT)
	{
		ob_json_put_bool(json, "header", copy->header);
		ob_json_put_text(json, "delimiter", psprintf("%c", copy->delimiter));
		ob_json_put_text(json, "null", copy->null_text);
	}
	if (kind == OB_FORMAT_CSV)
	{
		ob_json_put_text(json, "quote", psprintf("%c", copy->quote));
		ob_json_put_text(json, "escape", psprintf("%c", copy->escape));
	}
	ob_json_close(json, '}');
}

char *
ob_schema_members(const char *query, TupleDesc columns,
				  const ObOptions *options)
{
	StringInfoData json;

	initStringInfo(&json);
	ob_json_open(&json, NULL, '{');
	add_format(&json, options);
	add_columns(&json, query, columns, options);
	ob_json_close(&json, '}');
	return json.data;
}
