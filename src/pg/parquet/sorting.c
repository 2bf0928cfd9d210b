/*
 * sorting.c
 *		Sorting columns, from the ORDER BY of a query.
 *
 * src/pg/parquet/sorting.c
 *
 * A reader that relies on sorting columns would miss rows if it compared
 * values in another order than PostgreSQL.  A column therefore qualifies only
 * if its order is the same in both.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "pg/base/compat.h"
#include "pg/base/query.h"
#include "pg/parquet/columns.h"

static int
count_leaves(const ObParquetColumn *column)
{
	int n = column->group == OB_GROUP_NONE;

	for (int i = 0; i < column->nchildren; i++)
		n += count_leaves(&column->children[i]);
	return n;
}

/* Returns whether values in PostgreSQL's order are in the order that Parquet
 * defines for the column.  With "unrepresentable": "null", some values may
 * become nulls at a place where nulls do not belong. */
static bool
keeps_order(const ObParquetColumn *column, Oid type, Oid collation)
{
	switch (type)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case BYTEAOID:
		case UUIDOID:
			return true;
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return !column->columns->options->to_null;
		case NUMERICOID:
			/* only decimals */
			return !column->columns->options->to_null &&
				   (column->physical == OB_PQ_INT32 ||
					column->physical == OB_PQ_INT64 ||
					column->physical == OB_PQ_FIXED);
		case TEXTOID:
		case VARCHAROID:
		case NAMEOID:
			return !column->columns->convert && ob_collation_is_c(collation);
		default:
			return false;
	}
}

/* Returns the strategy of the sort operator in the type's default operator
 * class, or InvalidStrategy. */
static StrategyNumber
strategy_of(const ObSortKey *key, Oid type)
{
	Oid family;
	Oid operand;
	int16 strategy;

	if (!get_ordering_op_properties(key->operator, & family, &operand,
									&strategy) ||
		family != lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY)->btree_opf)
		return InvalidStrategy;
	return strategy;
}

int
ob_columns_sorting(const ObParquetColumns *columns, TupleDesc desc,
				   const List *order, ObPqSorting *to)
{
	int n = 0;
	ListCell *cell;

	foreach (cell, order)
	{
		const ObSortKey *key = lfirst(cell);
		Form_pg_attribute attribute = TupleDescAttr(desc, key->column);
		Oid type = getBaseType(attribute->atttypid);
		StrategyNumber strategy = strategy_of(key, type);
		int leaf = 0;

		if (strategy == InvalidStrategy ||
			!keeps_order(&columns->columns[key->column], type,
						 attribute->attcollation))
			break;
		for (int i = 0; i < key->column; i++)
			leaf += count_leaves(&columns->columns[i]);
		to[n++] = (ObPqSorting){leaf, strategy == BTGreaterStrategyNumber,
								key->nulls_first};
	}
	return n;
}
