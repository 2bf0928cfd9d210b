/*
 * columns.c
 *		The schema of a query's result, and values of groups.
 *
 * src/pg/parquet/columns.c
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "pg/base/errors.h"
#include "pg/parquet/columns.h"

/* Levels of nodes; a list takes three. */
#define DEPTH_MAX 48
/* Bytes in names that Spark and Athena do not take. */
#define REFUSED_BYTES " ,;{}()\n\t="
#define UNNAMED "?column?"

/* ---- the schema ---- */

/* The index of a new node: the array may move. */
static int
add_node(ObParquetColumns *columns, const char *name,
		 ObPqRepetition repetition)
{
	if (columns->nnodes == columns->nodes_max)
	{
		columns->nodes_max *= 2;
		columns->nodes = repalloc_huge(columns->nodes,
									   sizeof(ObPqNode) * columns->nodes_max);
	}
	columns->nodes[columns->nnodes] =
		(ObPqNode){.name = name, .repetition = repetition};
	return columns->nnodes++;
}

/* Field ids are those of the result's columns and of what is below them, in
 * the order of the schema; the repeated group of a list or map has none. */
static int
next_field_id(ObParquetColumns *columns)
{
	int id = 1;

	for (int i = 0; i < columns->nnodes; i++)
		id += columns->nodes[i].field_id > 0;
	return id;
}

static void build(ObParquetColumn *column, const char *name, Oid type,
				  int32 typmod, ObPqRepetition repetition, int depth,
				  int lists);

static ObParquetColumn *
new_children(ObParquetColumn *column, int n)
{
	column->nchildren = n;
	column->children = palloc0(sizeof(ObParquetColumn) * n);
	for (int i = 0; i < n; i++)
	{
		column->children[i].whole = column->whole;
		column->children[i].name = column->name;
	}
	return column->children;
}

static void
build_list(ObParquetColumn *column, int node, int32 typmod, int depth,
		   int lists)
{
	ObParquetColumns *columns = column->whole;

	column->group = OB_GROUP_LIST;
	column->repetition = lists + 1;
	get_typlenbyvalalign(column->element, &column->typlen, &column->typbyval,
						 &column->typalign);
	columns->nodes[node].meaning = OB_PQ_LIST;
	columns->nodes[node].nchildren = 1;
	node = add_node(columns, "list", OB_PQ_REPEATED);
	columns->nodes[node].nchildren = 1;
	build(new_children(column, 1), "element", column->element, typmod,
		  OB_PQ_OPTIONAL, depth + 2, lists + 1);
}

static const char *
in_utf8(const char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

/* False: the type has no fields, which no group can be without. */
static bool
build_struct(ObParquetColumn *column, int node, Oid type, int depth, int lists)
{
	ObParquetColumns *columns = column->whole;
	int n = 0;

	column->desc = lookup_rowtype_tupdesc_copy(type, -1);
	column->fields = palloc(sizeof(int) * column->desc->natts);
	for (int i = 0; i < column->desc->natts; i++)
	{
		if (!TupleDescAttr(column->desc, i)->attisdropped)
			column->fields[n++] = i;
	}
	if (n == 0)
		return false;
	column->group = OB_GROUP_STRUCT;
	columns->nodes[node].nchildren = n;
	new_children(column, n);
	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute field =
			TupleDescAttr(column->desc, column->fields[i]);

		build(&column->children[i], in_utf8(NameStr(field->attname)),
			  field->atttypid, field->atttypmod, OB_PQ_OPTIONAL, depth + 1,
			  lists);
	}
	return true;
}

static void
build_map(ObParquetColumn *column, int node, int depth, int lists)
{
	ObParquetColumns *columns = column->whole;
	ObParquetColumn *children;

	column->group = OB_GROUP_MAP;
	column->repetition = lists + 1;
	columns->nodes[node].meaning = OB_PQ_MAP;
	columns->nodes[node].nchildren = 1;
	node = add_node(columns, "key_value", OB_PQ_REPEATED);
	columns->nodes[node].nchildren = 2;
	children = new_children(column, 2);
	build(&children[0], "key", TEXTOID, -1, OB_PQ_REQUIRED, depth + 2,
		  lists + 1);
	build(&children[1], "value", TEXTOID, -1, OB_PQ_OPTIONAL, depth + 2,
		  lists + 1);
}

/* The function of the extension hstore that makes an array of keys and values
 * of its type; both must be the extension's, whatever their names. */
static Oid
hstore_function(Oid type)
{
	Oid extension = get_extension_oid("hstore", true);
	HeapTuple tuple;
	oidvector *arguments;
	Oid schema;
	Oid function;

	if (!OidIsValid(extension) ||
		getExtensionOfObject(TypeRelationId, type) != extension ||
		get_typtype(type) != TYPTYPE_BASE)
		return InvalidOid;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	schema = ((Form_pg_type) GETSTRUCT(tuple))->typnamespace;
	ReleaseSysCache(tuple);
	arguments = buildoidvector(&type, 1);
	function = GetSysCacheOid3(
		PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("hstore_to_array"),
		PointerGetDatum(arguments), ObjectIdGetDatum(schema));
	if (!OidIsValid(function) ||
		getExtensionOfObject(ProcedureRelationId, function) != extension)
		return InvalidOid;
	return function;
}

static void
build(ObParquetColumn *column, const char *name, Oid type, int32 typmod,
	  ObPqRepetition repetition, int depth, int lists)
{
	ObParquetColumns *columns = column->whole;
	int node = add_node(columns, name, repetition);
	Oid base = getBaseTypeAndTypmod(type, &typmod);
	Oid function;

	check_stack_depth();
	if (depth > DEPTH_MAX)
		ereport(ERROR, (errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
						errmsg("column \"%s\" has too many levels for Parquet",
							   column->name),
						errhint("Cast a part of it to text or json.")));
	columns->nodes[node].field_id = next_field_id(columns);
	/* the arrays of the system catalogs begin at 0 */
	column->element = base == INT2VECTOROID || base == OIDVECTOROID
						  ? InvalidOid
						  : get_element_type(base);
	if (OidIsValid(column->element))
	{
		build_list(column, node, typmod, depth, lists);
		return;
	}
	if (get_typtype(base) == TYPTYPE_COMPOSITE &&
		build_struct(column, node, base, depth, lists))
		return;
	function = hstore_function(base);
	if (OidIsValid(function))
	{
		fmgr_info(function, &column->function);
		build_map(column, node, depth, lists);
		return;
	}
	ob_column_choose(column, &columns->nodes[node], base, typmod);
}

static bool
is_among(const List *names, const char *name)
{
	ListCell *cell;

	foreach (cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

static bool
wants_dictionary(const ObParquetChoices *options, const char *name)
{
	return !options->no_dictionary &&
		   (options->dictionary == NIL || is_among(options->dictionary, name));
}

/*
 * Readers look for the bytes of a value.  A floating-point number has several
 * forms of NaN and of zero, and DuckDB 1.5 looks for the text of binary
 * data: rows would be missed.
 */
static bool
can_have_filter(const ObParquetColumn *column, const ObPqNode *node)
{
	if (column->group != OB_GROUP_NONE)
		return false;
	switch (node->type)
	{
		case OB_PQ_BOOLEAN:
		case OB_PQ_FLOAT:
		case OB_PQ_DOUBLE:
			return false;
		case OB_PQ_BYTE_ARRAY:
			return node->meaning != OB_PQ_PLAIN;
		default:
			return true;
	}
}

static bool
wants_filter(const ObParquetColumn *column, const ObPqNode *node, Oid type)
{
	if (!is_among(column->whole->options->bloom_filter, column->name))
		return false;
	if (!can_have_filter(column, node))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot have a Bloom filter",
						column->name, format_type_be(type)),
				 errdetail("Filters are not written for booleans, "
						   "floating-point numbers, bytea, arrays, composite "
						   "types and hstore."),
				 errhint("Leave it out of option \"bloom_filter\".")));
	return true;
}

static void
check_name(const ObParquetColumns *columns, const char *name)
{
	if (strcmp(name, UNNAMED) == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_COLUMN_DEFINITION),
						errmsg("a column of the query's result has no name"),
						errdetail("A Parquet file needs one for each column."),
						errhint("Add AS and a name.")));
	for (int i = 0; i < columns->n; i++)
	{
		if (strcmp(columns->columns[i].name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" is there twice", name),
					 errdetail("A Parquet file needs a name for each column."),
					 errhint("Give one of them another name by AS.")));
	}
}

void
ob_columns_warn(const ObParquetColumns *columns)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < columns->n; i++)
	{
		const char *name = columns->columns[i].name;

		if (strpbrk(name, REFUSED_BYTES))
			appendStringInfo(&names, "%s\"%s\"", names.len ? ", " : "", name);
	}
	if (names.len > 0)
		ereport(WARNING,
				(errmsg("Spark and Athena refuse names of columns with blanks "
						"or any of ,;{}()="),
				 errdetail("Columns: %s.", ob_report_client_text(names.data)),
				 errhint("Give them other names by AS, if such a reader "
						 "matters.")));
}

static void
require_names(const ObParquetColumns *columns, List *names, const char *option)
{
	ListCell *cell;

	foreach (cell, names)
	{
		int i = 0;

		while (i < columns->n &&
			   strcmp(columns->columns[i].name, lfirst(cell)) != 0)
			i++;
		if (i == columns->n)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of option \"%s\" does not exist",
							(const char *) lfirst(cell), option),
					 errhint("Name columns of the query's result.")));
	}
}

ObParquetColumns *
ob_columns_new(TupleDesc desc, const ObParquetChoices *options)
{
	ObParquetColumns *columns = palloc0(sizeof(ObParquetColumns));

	columns->options = options;
	columns->convert = GetDatabaseEncoding() != PG_UTF8;
	columns->columns = palloc0(sizeof(ObParquetColumn) * desc->natts);
	columns->nodes_max = Max(desc->natts, 8);
	columns->nodes = palloc(sizeof(ObPqNode) * columns->nodes_max);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		ObParquetColumn *column = &columns->columns[columns->n];
		char *name = NameStr(attribute->attname);
		int first = columns->nnodes;
		bool dictionary = wants_dictionary(options, name);

		if (attribute->attisdropped)
			continue;
		check_name(columns, name);
		column->whole = columns;
		column->name = name;
		build(column, in_utf8(name), attribute->atttypid, attribute->atttypmod,
			  OB_PQ_OPTIONAL, 1, 0);
		for (int node = first; node < columns->nnodes; node++)
			columns->nodes[node].dictionary = dictionary;
		columns->nodes[first].filter =
			wants_filter(column, &columns->nodes[first], attribute->atttypid);
		columns->n++;
	}
	if (columns->n == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_COLUMN_DEFINITION),
						errmsg("the query's result has no columns"),
						errdetail("A Parquet file needs one at least.")));
	require_names(columns, options->dictionary, "dictionary");
	require_names(columns, options->bloom_filter, "bloom_filter");
	return columns;
}

static void
bind_leaves(ObParquetColumn *column, ObParquet *writer, int *leaf)
{
	if (column->group == OB_GROUP_NONE)
		column->leaf = ob_parquet_leaf(writer, (*leaf)++);
	for (int i = 0; i < column->nchildren; i++)
		bind_leaves(&column->children[i], writer, leaf);
}

void
ob_columns_bind(ObParquetColumns *columns, ObParquet *writer)
{
	int leaf = 0;

	for (int i = 0; i < columns->n; i++)
		bind_leaves(&columns->columns[i], writer, &leaf);
}

/* ---- values of groups ---- */

/* Levels of a value that is there are one more for each optional and each
 * repeated node around it. */
static void
put_levels(ObParquetColumn *column, int repetition, int definition)
{
	ObPqLeaf *leaf = column->leaf;

	if (leaf->max_repetition > 0)
		ob_pq_levels(leaf, repetition, definition);
	else if (definition < leaf->max_definition)
		ob_pq_null(leaf, column->whole->row, definition);
}

static void
put_null(ObParquetColumn *column, int repetition, int definition)
{
	if (column->group == OB_GROUP_NONE)
		put_levels(column, repetition, definition);
	for (int i = 0; i < column->nchildren; i++)
		put_null(&column->children[i], repetition, definition);
}

static void put(ObParquetColumn *column, Datum value, bool isnull,
				int repetition, int definition);

static bool
is_list(const ObParquetColumn *column, const ArrayType *array)
{
	if (ARR_NDIM(array) > 1)
		return ob_column_refuse(column, "it is an array of more than one "
										"dimension");
	if (ARR_NDIM(array) == 1 && ARR_LBOUND(array)[0] != 1)
		return ob_column_refuse(column, "it is an array whose lower bound is "
										"not 1");
	return true;
}

static void
put_list(ObParquetColumn *column, Datum value, int repetition, int definition)
{
	ArrayType *array = DatumGetArrayTypeP(value);
	Datum *elements;
	bool *nulls;
	int n;

	if (ARR_ELEMTYPE(array) != column->element)
		elog(ERROR, "column \"%s\" has an array of another type",
			 column->name);
	if (!is_list(column, array))
	{
		put_null(column, repetition, definition - 1);
		return;
	}
	deconstruct_array(array, column->element, column->typlen, column->typbyval,
					  column->typalign, &elements, &nulls, &n);
	if (n == 0)
		put_null(column->children, repetition, definition);
	for (int i = 0; i < n; i++)
		put(column->children, elements[i], nulls[i],
			i == 0 ? repetition : column->repetition, definition + 1);
}

static void
put_map(ObParquetColumn *column, Datum value, int repetition, int definition)
{
	ArrayType *pairs =
		DatumGetArrayTypeP(FunctionCall1(&column->function, value));
	Datum *elements;
	bool *nulls;
	int n;

	if (ARR_ELEMTYPE(pairs) != TEXTOID)
		elog(ERROR, "hstore_to_array() has returned another type");
	deconstruct_array(pairs, TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	if (n == 0)
	{
		put_null(&column->children[0], repetition, definition);
		put_null(&column->children[1], repetition, definition);
	}
	for (int i = 0; i < n; i++)
	{
		int level = i < 2 ? repetition : column->repetition;

		/* a key is required, so its level is that of the pair */
		if (i % 2 == 0)
		{
			column->children[0].append(&column->children[0], elements[i]);
			put_levels(&column->children[0], level, definition + 1);
		}
		else
			put(&column->children[1], elements[i], nulls[i], level,
				definition + 1);
	}
}

static void
put_struct(ObParquetColumn *column, Datum value, int repetition,
		   int definition)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	int natts = column->desc->natts;
	Datum *values = palloc(sizeof(Datum) * natts);
	bool *nulls = palloc(sizeof(bool) * natts);
	HeapTupleData tuple;

	/* a row says of what type it is; the description is of that one */
	if (HeapTupleHeaderGetTypeId(header) != column->desc->tdtypeid)
		ereport(
			ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" has a row of type %s, not %s", column->name,
					format_type_be(HeapTupleHeaderGetTypeId(header)),
					format_type_be(column->desc->tdtypeid))));
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	heap_deform_tuple(&tuple, column->desc, values, nulls);
	for (int i = 0; i < column->nchildren; i++)
	{
		int field = column->fields[i];

		put(&column->children[i], values[field], nulls[field], repetition,
			definition);
	}
}

/* A value of an optional node, within what has these levels. */
static void
put(ObParquetColumn *column, Datum value, bool isnull, int repetition,
	int definition)
{
	check_stack_depth();
	if (isnull)
	{
		put_null(column, repetition, definition);
		return;
	}
	definition++;
	switch (column->group)
	{
		case OB_GROUP_LIST:
			put_list(column, value, repetition, definition);
			break;
		case OB_GROUP_STRUCT:
			put_struct(column, value, repetition, definition);
			break;
		case OB_GROUP_MAP:
			put_map(column, value, repetition, definition);
			break;
		case OB_GROUP_NONE:
			if (!column->append(column, value))
				definition--;
			put_levels(column, repetition, definition);
			break;
	}
}

void
ob_columns_add(ObParquetColumns *columns, int i, Datum value, bool isnull)
{
	ObParquetColumn *column = &columns->columns[i];

	if (column->group != OB_GROUP_NONE)
		put(column, value, isnull, 0, 0);
	else if (isnull || !column->append(column, value))
		ob_pq_null(column->leaf, columns->row, 0);
}

bool
ob_column_refuse(const ObParquetColumn *column, const char *why)
{
	if (column->whole->options->to_null)
		return false;
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("a value of column \"%s\" cannot be stored in Parquet",
					column->name),
			 errdetail("In row " INT64_FORMAT ", %s.", column->whole->rows + 1,
					   why),
			 errhint("Cast the column to text in the query, or set "
					 "\"unrepresentable\": \"null\".")));
}
