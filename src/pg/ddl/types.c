/*
 * types.c
 *		The types of a result's columns, as the readers of its object see them.
 *
 * src/pg/ddl/types.c
 *
 * They are those of the columns that the result would have in Parquet.  The
 * other formats write some of them as texts.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"

#include "pg/ddl/types.h"
#include "pg/parquet/columns.h"

/* ---- from PostgreSQL's types ---- */

static ObTypeKind
kind_of_leaf(const ObParquetColumn *column, const ObPqNode *node)
{
	switch (node->logical_type)
	{
		case OB_PQ_STRING:
			return column->function.fn_oid == F_NUMERIC_OUT ? OB_TYPE_NUMERIC
															: OB_TYPE_TEXT;
		case OB_PQ_ENUM:
			return OB_TYPE_TEXT;
		case OB_PQ_JSON:
			return OB_TYPE_JSON;
		case OB_PQ_UUID:
			return OB_TYPE_UUID;
		case OB_PQ_INT16:
			return OB_TYPE_INT2;
		case OB_PQ_DATE:
			return OB_TYPE_DATE;
		case OB_PQ_TIME:
			return OB_TYPE_TIME;
		case OB_PQ_TIMESTAMP:
			return OB_TYPE_TIMESTAMP;
		case OB_PQ_TIMESTAMPTZ:
			return OB_TYPE_TIMESTAMPTZ;
		case OB_PQ_DECIMAL:
			return OB_TYPE_DECIMAL;
		default:
			break;
	}
	switch (node->type)
	{
		case OB_PQ_BOOLEAN:
			return OB_TYPE_BOOL;
		case OB_PQ_INT32:
			return OB_TYPE_INT4;
		case OB_PQ_INT64:
			return OB_TYPE_INT8;
		case OB_PQ_FLOAT:
			return OB_TYPE_FLOAT4;
		case OB_PQ_DOUBLE:
			return OB_TYPE_FLOAT8;
		default:
			return OB_TYPE_BYTES;
	}
}

static void
convert(ObType *type, const ObParquetColumn *column, const ObPqNode **node)
{
	const ObPqNode *own = (*node)++;

	type->nchildren = column->nchildren;
	type->children = palloc0(sizeof(ObType) * (column->nchildren + 1));
	switch (column->group)
	{
		case OB_GROUP_NONE:
			type->kind = kind_of_leaf(column, own);
			type->precision = own->precision;
			type->scale = own->scale;
			break;
		case OB_GROUP_LIST:
			type->kind = OB_TYPE_LIST;
			break;
		case OB_GROUP_STRUCT:
			type->kind = OB_TYPE_STRUCT;
			break;
		case OB_GROUP_MAP:
			type->kind = OB_TYPE_MAP;
			break;
	}
	/* the repeated group between a list or map and its elements */
	if (type->kind == OB_TYPE_LIST || type->kind == OB_TYPE_MAP)
		(*node)++;
	for (int i = 0; i < column->nchildren; i++)
	{
		ObType *child = &type->children[i];

		if (column->group == OB_GROUP_STRUCT)
			child->name = NameStr(
				TupleDescAttr(column->desc, column->fields[i])->attname);
		convert(child, &column->children[i], node);
	}
}

/* Parquet has such a number as a text, as the others have bytes; csv and text
 * have no parts of values. */
static void
flatten(ObType *type, ObFormatKind format)
{
	bool parquet = format == OB_FORMAT_PARQUET;
	bool json = format == OB_FORMAT_JSONL || format == OB_FORMAT_JSON;

	if (type->kind == (parquet ? OB_TYPE_NUMERIC : OB_TYPE_BYTES) ||
		(!parquet && !json && type->nchildren > 0))
	{
		type->kind = OB_TYPE_TEXT;
		type->nchildren = 0;
	}
	for (int i = 0; i < type->nchildren; i++)
		flatten(&type->children[i], format);
}

ObType *
ob_types_of(TupleDesc desc, const ObCopyOptions *copy, int *n)
{
	ObFormatKind format = copy->format->kind;
	ObParquetChoices texts = {.numeric = OB_NUMERIC_TEXT};
	const ObPqNode *node;
	ObParquetColumns *columns;
	ObType *types;

	columns = ob_columns_new(desc, format == OB_FORMAT_PARQUET ? &copy->parquet
															   : &texts);
	types = palloc0(sizeof(ObType) * columns->n);
	node = columns->nodes;
	for (int i = 0; i < columns->n; i++)
	{
		types[i].name = columns->columns[i].name;
		convert(&types[i], &columns->columns[i], &node);
		flatten(&types[i], format);
	}
	*n = columns->n;
	return types;
}

/* ---- names ---- */

static const ObType *put(StringInfo to, const ObTypeNames *names,
						 const ObType *type, bool required);

static const ObType *
put_parts(StringInfo to, const ObTypeNames *names, const ObType *type,
		  const char *const *around)
{
	if (!around[0])
		return type;
	appendStringInfoString(to, around[0]);
	for (int i = 0; i < type->nchildren; i++)
	{
		const ObType *child = &type->children[i];
		bool key = type->kind == OB_TYPE_MAP && i == 0;
		const ObType *refused;

		if (i > 0)
			appendStringInfoString(to, names->comma ? names->comma : ", ");
		if (child->name)
		{
			names->identifier(to, child->name);
			appendStringInfoString(to, names->between);
		}
		refused = put(to, names, child, key);
		if (refused)
			return refused;
	}
	appendStringInfoString(to, around[1]);
	return NULL;
}

static const ObType *
put(StringInfo to, const ObTypeNames *names, const ObType *type, bool required)
{
	const char *name = names->names[type->kind];
	bool wrapped = names->nullable[0] && !required;

	check_stack_depth();
	if (!name)
	{
		switch (type->kind)
		{
			case OB_TYPE_LIST:
				return put_parts(to, names, type, names->list);
			case OB_TYPE_STRUCT:
				return put_parts(to, names, type, names->structure);
			case OB_TYPE_MAP:
				return put_parts(to, names, type, names->map);
			default:
				return type;
		}
	}
	if (wrapped)
		appendStringInfoString(to, names->nullable[0]);
	appendStringInfoString(to, name);
	if (type->kind == OB_TYPE_DECIMAL && !names->decimal_plain)
		appendStringInfo(to, "(%d,%d)", type->precision, type->scale);
	if (wrapped)
		appendStringInfoString(to, names->nullable[1]);
	return NULL;
}

const ObType *
ob_type_put(StringInfo to, const ObTypeNames *names, const ObType *type)
{
	return put(to, names, type, false);
}

const char *
ob_type_say(const ObType *type)
{
	static const char *const names[OB_TYPE_KINDS] = {
		"booleans",
		"integers of 16 bits",
		"integers of 32 bits",
		"integers of 64 bits",
		"floating-point numbers of 32 bits",
		"floating-point numbers of 64 bits",
		"decimals",
		"numbers of any precision",
		"texts",
		"binary data",
		"dates",
		"times",
		"timestamps",
		"timestamps with a time zone",
		"UUIDs",
		"JSON",
		"lists",
		"structs",
		"maps",
	};

	return names[type->kind];
}
