/*
 * columns.c
 *		The schema of a query's result, and values of groups.
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

/* Levels of nodes; a list takes three. */
#define DEPTH_MAX 48
/* Of all columns: types within types could make any number of them. */
#define NODES_MAX 16384
StaticAssertDecl(OB_LISTS_MAX >= DEPTH_MAX / 2 + 2, "contexts of lists");
/* Bytes in names that Spark and Athena do not take. */
#define REFUSED_BYTES " ,;{}()\n\t="
#define UNNAMED "?column?"

/* ---- the schema ---- */

/* The index of a new node: the array may move. */
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
						   "lists, there may be %d at most.",
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
	get_typlenbyvalalign(column->elements.element_type,
						 &column->elements.typlen, &column->elements.typbyval,
						 &column->elements.typalign);
	columns->nodes[node].meaning = OB_PQ_LIST;
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

/* False: the type has no fields, which no group can be without. */
static bool
build_struct(ObParquetColumn *column, int node, Oid type, int depth, int lists)
{
	ObParquetColumns *columns = column->whole;
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
	Oid extension;
	HeapTuple tuple;
	oidvector *arguments;
	Oid schema;
	Oid function;

	/* the search takes a while, and there may be many columns */
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
	/* the repeated group of a list or map has none */
	columns->nodes[node].field_id = ++columns->fields;
	/* the arrays of the system catalogs begin at 0 */
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

/* Readers that ignore case take one for the other, or fail. */
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
			ereport(WARNING,
					(errmsg("columns \"%s\" and \"%s\" differ only in case",
							ob_report_client_text(other),
							ob_report_client_text(name)),
					 errdetail("Most readers of Parquet do not tell such "
							   "names apart."),
					 errhint("Give one of them another name by AS.")));
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

	columns->writer = writer;
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

/* Whether to go on with a list, which may have a great number of elements: if
 * memory has run out, the end of the row raises that. */
static bool
goes_on(const ObParquetColumn *column)
{
	CHECK_FOR_INTERRUPTS();
	return !ob_parquet_has_failed(column->whole->writer);
}

/* Enters the memory of a list's elements, each of which leaves it empty. */
static MemoryContext
enter_elements(ObParquetColumn *column)
{
	MemoryContext *context = &column->whole->elements[column->repetition];

	if (!*context)
		*context =
			AllocSetContextCreate(GetMemoryChunkContext(column->whole),
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
put_list(ObParquetColumn *column, Datum value, int repetition, int definition)
{
	ArrayType *array = DatumGetArrayTypeP(value);
	ArrayIterator elements;
	MemoryContext before;
	bool isnull;

	if (ARR_ELEMTYPE(array) != column->elements.element_type)
		elog(ERROR, "column \"%s\" has an array of another type",
			 column->name);
	if (!is_list(column, array))
	{
		put_null(column, repetition, definition - 1);
		return;
	}
	if (ARR_NDIM(array) == 0)
		put_null(column->children, repetition, definition);
	elements = array_create_iterator(array, 0, &column->elements);
	before = enter_elements(column);
	while (goes_on(column) && array_iterate(elements, &value, &isnull))
	{
		put(column->children, value, isnull, repetition, definition + 1);
		repetition = column->repetition;
		leave_element();
	}
	MemoryContextSwitchTo(before);
}

/* A key is required, so its level is that of the pair. */
static void
put_pair(ObParquetColumn *column, ArrayIterator pairs, Datum key,
		 int repetition, int definition)
{
	Datum value;
	bool isnull;

	if (!array_iterate(pairs, &value, &isnull))
		elog(ERROR, "hstore_to_array() has returned half a pair");
	column->children[0].append(&column->children[0], key);
	put_levels(&column->children[0], repetition, definition);
	put(&column->children[1], value, isnull, repetition, definition);
}

static void
put_map(ObParquetColumn *column, Datum value, int repetition, int definition)
{
	ArrayType *array =
		DatumGetArrayTypeP(FunctionCall1(&column->function, value));
	ArrayIterator pairs;
	MemoryContext before;
	Datum key;
	bool isnull;

	if (ARR_ELEMTYPE(array) != TEXTOID)
		elog(ERROR, "hstore_to_array() has returned another type");
	if (ARR_NDIM(array) == 0)
	{
		put_null(&column->children[0], repetition, definition);
		put_null(&column->children[1], repetition, definition);
	}
	pairs = array_create_iterator(array, 0, NULL);
	before = enter_elements(column);
	while (goes_on(column) && array_iterate(pairs, &key, &isnull))
	{
		put_pair(column, pairs, key, repetition, definition + 1);
		repetition = column->repetition;
		leave_element();
	}
	MemoryContextSwitchTo(before);
}

/* Whether rows are read alike by both descriptions. */
static bool
is_same_row(TupleDesc a, TupleDesc b)
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

/* A function of the query may have altered the type since the schema was made:
 * rows that are read by the old description would show other memory. */
static void
check_unaltered(ObParquetColumn *column)
{
	Oid type = column->desc->tdtypeid;
	TypeCacheEntry *cached = lookup_type_cache(type, TYPECACHE_TUPDESC);

	if (cached->tupDesc_identifier == column->identifier)
		return;
	if (!cached->tupDesc || !is_same_row(cached->tupDesc, column->desc))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("type %s of column \"%s\" was altered during the "
						"export",
						format_type_be(type), column->name),
				 errhint("Export it again.")));
	column->identifier = cached->tupDesc_identifier;
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
	check_unaltered(column);
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
