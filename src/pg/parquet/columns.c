/*
 * columns.c
 *		The schema of a query's result, and the values of its groups.
 *
 * src/pg/parquet/columns.c
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
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
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "pg/base/errors.h"
#include "pg/parquet/columns.h"

/* The greatest depth of the schema; a list has three levels. */
#define DEPTH_MAX 48
/* The greatest number of nodes, which nested composite types multiply. */
#define NODES_MAX 16384
StaticAssertDecl(OB_LISTS_MAX >= DEPTH_MAX / 2 + 2, "contexts of lists");
#define UNNAMED "?column?"

/* ---- the schema ---- */

/* Adds a node, and returns its index, since the array may move later. */
static int
add_node(ObParquetColumns *columns, const char *name,
		 ObPqRepetition repetition)
{
	CHECK_FOR_INTERRUPTS();
	if (columns->nnodes == NODES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("the query's result has too many columns for Parquet"),
				 errdetail("With the fields of composite types, and with "
						   "lists, there can be at most %d.",
						   NODES_MAX),
				 errhint("Cast columns of composite types to text.")));
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
		column->children[i].columns = column->columns;
		column->children[i].name = column->name;
	}
	return column->children;
}

static void
build_list(ObParquetColumn *column, int node, int32 typmod, int depth,
		   int lists)
{
	ObParquetColumns *columns = column->columns;

	column->group = OB_GROUP_LIST;
	column->repetition = lists + 1;
	get_typlenbyvalalign(column->elements.element_type,
						 &column->elements.typlen, &column->elements.typbyval,
						 &column->elements.typalign);
	columns->nodes[node].logical_type = OB_PQ_LIST;
	columns->nodes[node].nchildren = 1;
	node = add_node(columns, "list", OB_PQ_REPEATED);
	columns->nodes[node].nchildren = 1;
	build(new_children(column, 1), "element", column->elements.element_type,
		  typmod, OB_PQ_OPTIONAL, depth + 2, lists + 1);
}

static const char *
in_utf8(const char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

/* Returns false if the type has no fields: a group must have a child. */
static bool
build_struct(ObParquetColumn *column, int node, Oid type, int depth, int lists)
{
	ObParquetColumns *columns = column->columns;
	TypeCacheEntry *cached = lookup_type_cache(type, TYPECACHE_TUPDESC);
	int n = 0;

	column->desc = CreateTupleDescCopyConstr(cached->tupDesc);
	column->identifier = cached->tupDesc_identifier;
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
	ObParquetColumns *columns = column->columns;
	ObParquetColumn *children;

	column->group = OB_GROUP_MAP;
	column->repetition = lists + 1;
	columns->nodes[node].logical_type = OB_PQ_MAP;
	columns->nodes[node].nchildren = 1;
	node = add_node(columns, "key_value", OB_PQ_REPEATED);
	columns->nodes[node].nchildren = 2;
	children = new_children(column, 2);
	build(&children[0], "key", TEXTOID, -1, OB_PQ_REQUIRED, depth + 2,
		  lists + 1);
	build(&children[1], "value", TEXTOID, -1, OB_PQ_OPTIONAL, depth + 2,
		  lists + 1);
}

/* Returns hstore_to_array() if the type is hstore.  Type and function must
 * belong to the extension, since their names alone prove nothing. */
static Oid
hstore_function(Oid type)
{
	Oid extension;
	HeapTuple tuple;
	oidvector *arguments;
	Oid schema;
	Oid function;

	/* skip the search for built-in types */
	if (type < FirstNormalObjectId)
		return InvalidOid;
	extension = get_extension_oid("hstore", true);
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
	ObParquetColumns *columns = column->columns;
	int node = add_node(columns, name, repetition);
	Oid base = getBaseTypeAndTypmod(type, &typmod);
	Oid function;

	check_stack_depth();
	if (depth > DEPTH_MAX)
		ereport(ERROR, (errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
						errmsg("column \"%s\" has too many levels for Parquet",
							   column->name),
						errhint("Cast a part of it to text or json.")));
	/* the repeated group of a list or map has no field id */
	columns->nodes[node].field_id = ++columns->fields;
	/* int2vector and oidvector are texts, since their lower bound is 0 */
	column->elements.element_type =
		base == INT2VECTOROID || base == OIDVECTOROID ? InvalidOid
													  : get_element_type(base);
	if (OidIsValid(column->elements.element_type))
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
contains_name(const List *names, const char *name)
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
		   (options->dictionary == NIL ||
			contains_name(options->dictionary, name));
}

/*
 * Readers look up the bytes of a value in the filter.  They would miss rows
 * with floating-point numbers, where NaN and zero have several bit patterns.
 * DuckDB 1.5 also misses bytea, because it looks up its text form.
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
			return node->logical_type != OB_PQ_UNANNOTATED;
		default:
			return true;
	}
}

static bool
wants_filter(const ObParquetColumn *column, const ObPqNode *node, Oid type)
{
	if (!contains_name(column->columns->options->bloom_filter, column->name))
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
						errdetail("Readers find columns by their names."),
						errhint("Name the column with AS.")));
	for (int i = 0; i < columns->n; i++)
	{
		if (strcmp(columns->columns[i].name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column name \"%s\" appears more than once", name),
					 errdetail("Readers find columns by their names."),
					 errhint("Rename one of the columns with AS.")));
	}
}

/* Warns of names that readers which ignore case confuse or reject. */
static void
warn_of_case(const ObParquetColumns *columns)
{
	for (int i = 0; i < columns->n; i++)
	{
		const char *name = columns->columns[i].name;

		for (int j = 0; j < i; j++)
		{
			const char *other = columns->columns[j].name;

			if (pg_strcasecmp(name, other) != 0)
				continue;
			ereport(
				WARNING,
				(errmsg("columns \"%s\" and \"%s\" differ only in case",
						ob_report_client_text(other),
						ob_report_client_text(name)),
				 errdetail("Most readers of Parquet cannot distinguish such "
						   "names."),
				 errhint("Rename one of the columns with AS.")));
			return;
		}
	}
}

void
ob_columns_warn(const ObParquetColumns *columns)
{
	StringInfoData names;

	warn_of_case(columns);
	initStringInfo(&names);
	for (int i = 0; i < columns->n; i++)
	{
		const char *name = columns->columns[i].name;

		if (strpbrk(name, OB_SEPARATORS))
			appendStringInfo(&names, "%s\"%s\"", names.len ? ", " : "", name);
	}
	if (names.len > 0)
		ereport(
			WARNING,
			(errmsg("Spark and Athena refuse column names with white space "
					"or any of ,;{}()="),
			 errdetail("Columns: %s.", ob_report_client_text(names.data)),
			 errhint("For such readers, rename the columns with AS.")));
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
		column->columns = columns;
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
						errdetail("A Parquet file needs at least one.")));
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

	columns->writer = writer;
	for (int i = 0; i < columns->n; i++)
		bind_leaves(&columns->columns[i], writer, &leaf);
}

/* ---- values of groups ---- */

/* Appends levels to a leaf.  The definition level is the number of optional
 * and repeated nodes on the leaf's path that are present. */
static void
append_levels(ObParquetColumn *column, int repetition, int definition)
{
	ObPqLeaf *leaf = column->leaf;

	if (leaf->max_repetition > 0)
		ob_pq_levels(leaf, repetition, definition);
	else if (definition < leaf->max_definition)
		ob_pq_null(leaf, column->columns->row, definition);
}

static void
append_null(ObParquetColumn *column, int repetition, int definition)
{
	if (column->group == OB_GROUP_NONE)
		append_levels(column, repetition, definition);
	for (int i = 0; i < column->nchildren; i++)
		append_null(&column->children[i], repetition, definition);
}

static void append_value(ObParquetColumn *column, Datum value, bool isnull,
						 int repetition, int definition);

static bool
can_be_list(const ObParquetColumn *column, const ArrayType *array)
{
	if (ARR_NDIM(array) > 1)
		return ob_column_refuse(column, "the value is an array of more than "
										"one dimension");
	if (ARR_NDIM(array) == 1 && ARR_LBOUND(array)[0] != 1)
		return ob_column_refuse(column, "the value is an array whose lower "
										"bound is not 1");
	return true;
}

/* Checks for interrupts within a list, which may have many elements.  Returns
 * false if memory has run out; the end of the row raises the error. */
static bool
may_continue(const ObParquetColumn *column)
{
	CHECK_FOR_INTERRUPTS();
	return !ob_parquet_has_failed(column->columns->writer);
}

/* Switches to the memory context of a list's elements, which is reset after
 * each element. */
static MemoryContext
enter_elements(ObParquetColumn *column)
{
	MemoryContext *context = &column->columns->elements[column->repetition];

	if (!*context)
		*context =
			AllocSetContextCreate(GetMemoryChunkContext(column->columns),
								  "onboard element", ALLOCSET_SMALL_SIZES);
	return MemoryContextSwitchTo(*context);
}

static void
leave_element(void)
{
	if (!CurrentMemoryContext->isReset || CurrentMemoryContext->firstchild)
		MemoryContextReset(CurrentMemoryContext);
}

static void
append_list(ObParquetColumn *column, Datum value, int repetition,
			int definition)
{
	ArrayType *array = DatumGetArrayTypeP(value);
	ArrayIterator elements;
	MemoryContext before;
	bool isnull;

	if (ARR_ELEMTYPE(array) != column->elements.element_type)
		elog(ERROR, "column \"%s\" has an array of another type",
			 column->name);
	if (!can_be_list(column, array))
	{
		append_null(column, repetition, definition - 1);
		return;
	}
	if (ARR_NDIM(array) == 0)
		append_null(column->children, repetition, definition);
	elements = array_create_iterator(array, 0, &column->elements);
	before = enter_elements(column);
	while (may_continue(column) && array_iterate(elements, &value, &isnull))
	{
		append_value(column->children, value, isnull, repetition,
					 definition + 1);
		repetition = column->repetition;
		leave_element();
	}
	MemoryContextSwitchTo(before);
}

/* Appends a pair of a map.  The key is required, so its definition level is
 * that of the pair. */
static void
append_pair(ObParquetColumn *column, ArrayIterator pairs, Datum key,
			int repetition, int definition)
{
	Datum value;
	bool isnull;

	if (!array_iterate(pairs, &value, &isnull))
		elog(ERROR, "hstore_to_array() returned a key without a value");
	column->children[0].append(&column->children[0], key);
	append_levels(&column->children[0], repetition, definition);
	append_value(&column->children[1], value, isnull, repetition, definition);
}

static void
append_map(ObParquetColumn *column, Datum value, int repetition,
		   int definition)
{
	ArrayType *array =
		DatumGetArrayTypeP(FunctionCall1(&column->function, value));
	ArrayIterator pairs;
	MemoryContext before;
	Datum key;
	bool isnull;

	if (ARR_ELEMTYPE(array) != TEXTOID)
		elog(ERROR, "hstore_to_array() returned another type than text[]");
	if (ARR_NDIM(array) == 0)
	{
		append_null(&column->children[0], repetition, definition);
		append_null(&column->children[1], repetition, definition);
	}
	pairs = array_create_iterator(array, 0, NULL);
	before = enter_elements(column);
	while (may_continue(column) && array_iterate(pairs, &key, &isnull))
	{
		append_pair(column, pairs, key, repetition, definition + 1);
		repetition = column->repetition;
		leave_element();
	}
	MemoryContextSwitchTo(before);
}

/* Returns whether both descriptors describe the same row type. */
static bool
is_same_row_type(TupleDesc a, TupleDesc b)
{
	if (a->natts != b->natts)
		return false;
	for (int i = 0; i < a->natts; i++)
	{
		Form_pg_attribute x = TupleDescAttr(a, i);
		Form_pg_attribute y = TupleDescAttr(b, i);

		if (x->attisdropped != y->attisdropped || x->atttypid != y->atttypid ||
			x->atttypmod != y->atttypmod ||
			strcmp(NameStr(x->attname), NameStr(y->attname)) != 0)
			return false;
	}
	return true;
}

/* Raises an error if a function of the query has altered the row type since
 * the schema was made.  Deforming a new row with the old descriptor could read
 * memory outside of the row. */
static void
check_unaltered(ObParquetColumn *column)
{
	Oid type = column->desc->tdtypeid;
	TypeCacheEntry *cached = lookup_type_cache(type, TYPECACHE_TUPDESC);

	if (cached->tupDesc_identifier == column->identifier)
		return;
	if (!cached->tupDesc || !is_same_row_type(cached->tupDesc, column->desc))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("type %s of column \"%s\" was altered during the "
						"export",
						format_type_be(type), column->name),
				 errhint("Repeat the export.")));
	column->identifier = cached->tupDesc_identifier;
}

static void
append_struct(ObParquetColumn *column, Datum value, int repetition,
			  int definition)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	int natts = column->desc->natts;
	Datum *values = palloc(sizeof(Datum) * natts);
	bool *nulls = palloc(sizeof(bool) * natts);
	HeapTupleData tuple;

	/* the descriptor is only valid for rows of its own type */
	if (HeapTupleHeaderGetTypeId(header) != column->desc->tdtypeid)
		ereport(
			ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" has a row of type %s, not %s", column->name,
					format_type_be(HeapTupleHeaderGetTypeId(header)),
					format_type_be(column->desc->tdtypeid))));
	check_unaltered(column);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	heap_deform_tuple(&tuple, column->desc, values, nulls);
	for (int i = 0; i < column->nchildren; i++)
	{
		int field = column->fields[i];

		append_value(&column->children[i], values[field], nulls[field],
					 repetition, definition);
	}
}

/* Appends a value of an optional node.  The levels are those of its parent. */
static void
append_value(ObParquetColumn *column, Datum value, bool isnull, int repetition,
			 int definition)
{
	check_stack_depth();
	if (isnull)
	{
		append_null(column, repetition, definition);
		return;
	}
	definition++;
	switch (column->group)
	{
		case OB_GROUP_LIST:
			append_list(column, value, repetition, definition);
			break;
		case OB_GROUP_STRUCT:
			append_struct(column, value, repetition, definition);
			break;
		case OB_GROUP_MAP:
			append_map(column, value, repetition, definition);
			break;
		case OB_GROUP_NONE:
			if (!column->append(column, value))
				definition--;
			append_levels(column, repetition, definition);
			break;
	}
}

void
ob_columns_add(ObParquetColumns *columns, int i, Datum value, bool isnull)
{
	ObParquetColumn *column = &columns->columns[i];

	if (column->group != OB_GROUP_NONE)
		append_value(column, value, isnull, 0, 0);
	else if (isnull || !column->append(column, value))
		ob_pq_null(column->leaf, columns->row, 0);
}

bool
ob_column_refuse(const ObParquetColumn *column, const char *why)
{
	if (column->columns->options->to_null)
		return false;
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("a value of column \"%s\" cannot be stored in Parquet",
					column->name),
			 errdetail("In row " INT64_FORMAT ", %s.",
					   column->columns->rows + 1, why),
			 errhint("Cast the column to text in the query, or set "
					 "\"unrepresentable\": \"null\".")));
}
