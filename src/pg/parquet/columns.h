/*
 * columns.h
 *		PostgreSQL's types as columns of Parquet.
 *
 * src/pg/parquet/columns.h
 *
 * Each column of a query's result becomes a node of the schema: a leaf, or,
 * for arrays, composite types and hstore, a group with leaves below it.
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

/* Lists and maps within one another. */
#define OB_LISTS_MAX 32

/* Days from 1970 to 2000. */
#define OB_EPOCH_DAYS 10957
/* Microseconds. */
#define OB_EPOCH_USECS (USECS_PER_DAY * OB_EPOCH_DAYS)

typedef struct ObParquetColumn ObParquetColumn;

/* Appends a value that is not null to the column's leaf.  False: it cannot be
 * stored, and is to become null. */
typedef bool (*ObColumnAppend)(ObParquetColumn *column, Datum value);

/* A column of the result, or a part of one. */
struct ObParquetColumn
{
	ObColumnAppend append; /* NULL: a group */
	ObPqLeaf *leaf;        /* NULL: a group */
	ObPqType physical;
	int length; /* bytes of a decimal of OB_PQ_FIXED */
	int precision;
	int scale;
	/* of a value of a stored row that needs no call; OB_STORED_NONE: none */
	ObStoredKind stored;
	int unit;          /* 10 to the power of scale, of at most 4 */
	int part;          /* what four digits after the point are divided by */
	int64 limit;       /* 10 to the power of a precision of at most 18 */
	FmgrInfo function; /* output function, or hstore_to_array() */
	struct ObParquetColumns *whole;
	const char *name; /* of the result's column, for errors */

	/* of a group */
	enum
	{
		OB_GROUP_NONE,
		OB_GROUP_LIST,
		OB_GROUP_STRUCT,
		OB_GROUP_MAP
	} group;
	int nchildren; /* a list has one, a map two */
	ObParquetColumn *children;
	TupleDesc desc;    /* of a struct */
	uint64 identifier; /* of desc, in the cache of types */
	int *fields;       /* of a struct's children: number in desc, from 0 on */
	ArrayMetaState elements; /* of a list: their type */
	int repetition;          /* of a list's or map's second element */
};

typedef struct ObParquetColumns
{
	const ObParquetChoices *options; /* borrowed */
	int n;
	ObParquetColumn *columns;
	ObPqNode *nodes;
	int nnodes;
	int nodes_max;
	int fields; /* nodes that have a field id */
	ObParquet *writer;
	/* of elements of lists, by their repetition level; NULL: none yet */
	MemoryContext elements[OB_LISTS_MAX];
	bool convert; /* texts are not UTF-8, or may not be */
	int64 rows;   /* that were appended, for errors */
	int row;      /* of the writer's batch */
} ObParquetColumns;

/*
 * Makes the columns of a result, in the current memory context.  Raises for
 * what no Parquet file can have: two columns of one name, one without a name,
 * a numeric whose precision is not known.
 */
extern ObParquetColumns *ob_columns_new(TupleDesc desc,
										const ObParquetChoices *options);

/* Warns of names that Spark and Athena refuse, once for each object. */
extern void ob_columns_warn(const ObParquetColumns *columns);

/*
 * sorting.c: finds the leaves by which rows of that order (of ObSortKey *) are
 * sorted in the file, up to the first whose order is another one in Parquet.
 * Returns their number; there is room for each of the order's.
 */
extern int ob_columns_sorting(const ObParquetColumns *columns, TupleDesc desc,
							  const List *order, ObPqSorting *to);

/* Sets the leaves, once there is a writer. */
extern void ob_columns_bind(ObParquetColumns *columns, ObParquet *writer);

/* Appends one value of column i; columns->row must be set. */
extern void ob_columns_add(ObParquetColumns *columns, int i, Datum value,
						   bool isnull);

/* values.c: chooses how the values of a type are appended, and describes the
 * leaf. */
extern void ob_column_choose(ObParquetColumn *column, ObPqNode *node, Oid type,
							 int32 typmod);

/* Raises that a value cannot be stored, or returns false if it is to become
 * null. */
extern bool ob_column_refuse(const ObParquetColumn *column, const char *why);

#endif
