/*
 * columns.h
 *		PostgreSQL's types as columns of a Parquet file.
 *
 * src/pg/parquet/columns.h
 *
 * A column of the query's result becomes a node of the file's schema: a leaf,
 * or, for arrays, composite types and hstore, a group with leaves below it.
 */
#ifndef OB_COLUMNS_H
#define OB_COLUMNS_H

#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/array.h"

#include "core/parquet/parquet.h"
#include "pg/encode/encode.h"
#include "pg/encode/tuple_walk.h"

/* An upper bound for the repetition levels of a leaf. */
#define OB_LISTS_MAX 32

/* Characters that Spark and Athena refuse in column names. */
#define OB_SEPARATORS " ,;{}()\n\t="

/* The time between the epochs of Parquet, 1970, and of PostgreSQL, 2000. */
#define OB_EPOCH_DAYS 10957
#define OB_EPOCH_USECS (USECS_PER_DAY * OB_EPOCH_DAYS)

typedef struct ObParquetColumn ObParquetColumn;

/* Appends a value that is not null to the column's leaf.  Returns false if the
 * value cannot be represented and must become null. */
typedef bool (*ObColumnAppend)(ObParquetColumn *column, Datum value);

/* A column of the result, or a part of one: an element, a field, a key. */
struct ObParquetColumn
{
	ObColumnAppend append; /* NULL: a group */
	ObPqLeaf *leaf;        /* NULL: a group */
	ObPqType physical;
	int length; /* bytes of a decimal that is an OB_PQ_FIXED */
	int precision;
	int scale;
	ObStoredKind stored; /* how values of stored rows are appended without a
						  * function call; OB_STORED_NONE: they are not */
	int multiplier;      /* stored decimals: 10 ^ scale */
	uint64 reciprocal;   /* stored decimals: 2^32 / 10 ^ (4 - scale) + 1 */
	int64 limit;         /* decimals: 10 ^ precision, at most 10 ^ 18 */
	FmgrInfo function;   /* output function, or hstore_to_array() */
	struct ObParquetColumns *columns;
	const char *name; /* name of the result's column, for errors */

	/* groups only */
	enum
	{
		OB_GROUP_NONE,
		OB_GROUP_LIST,
		OB_GROUP_STRUCT,
		OB_GROUP_MAP
	} group;
	int nchildren; /* a list has one, a map two */
	ObParquetColumn *children;
	TupleDesc desc;          /* struct: its row type */
	uint64 identifier;       /* struct: tupDesc_identifier of desc */
	int *fields;             /* struct: attribute of each child, from 0 on */
	ArrayMetaState elements; /* list: type of the elements */
	int repetition; /* list and map: level of the second and later elements */
};

typedef struct ObParquetColumns
{
	const ObParquetChoices *options; /* borrowed */
	int n;
	ObParquetColumn *columns;
	ObPqNode *nodes;
	int nnodes;
	int nodes_max;
	int fields; /* number of nodes with a field id */
	ObParquet *writer;
	/* memory for elements of lists, by repetition level; NULL: none yet */
	MemoryContext elements[OB_LISTS_MAX];
	bool convert; /* texts may be other than UTF-8 */
	int64 rows;   /* number of rows before the current one, for errors */
	int row;      /* the current row's number in the writer's batch */
} ObParquetColumns;

/*
 * Creates the columns of a result, in the current memory context.  Raises an
 * error for duplicate and missing column names, for numeric columns without
 * precision, and for options that name columns which do not exist.
 */
extern ObParquetColumns *ob_columns_new(TupleDesc desc,
										const ObParquetChoices *options);

/* Warns of column names that some readers refuse or confuse. */
extern void ob_columns_warn(const ObParquetColumns *columns);

/*
 * sorting.c: finds the sorting columns of rows in an order, a list of
 * ObSortKey *.  They end before the first key whose order differs in Parquet.
 * Returns their number; "to" must have room for all keys.
 */
extern int ob_columns_sorting(const ObParquetColumns *columns, TupleDesc desc,
							  const List *order, ObPqSorting *to);

/* Assigns the writer's leaves to the columns. */
extern void ob_columns_bind(ObParquetColumns *columns, ObParquet *writer);

/* Appends one value of column i; columns->row must be set. */
extern void ob_columns_add(ObParquetColumns *columns, int i, Datum value,
						   bool isnull);

/* values.c: maps a type to a leaf, and sets the function that appends its
 * values. */
extern void ob_column_choose(ObParquetColumn *column, ObPqNode *node, Oid type,
							 int32 typmod);

/* Handles a value that Parquet cannot represent: raises an error, or returns
 * false if such values become null.  "why" is a clause for the message. */
extern bool ob_column_refuse(const ObParquetColumn *column, const char *why);

#endif
