/*
 * watermark_bound.c
 *		Increments: which rows are one.
 *
 * src/pg/watermark_bound.c
 *
 * The registered query becomes a subquery, its column compared by the
 * operators of its type's btree order, named with their schema.  The bounds
 * are parameters, so there is no text in which something could hide.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_operator.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "pg/query.h"
#include "pg/watermark_intern.h"

#define ALIAS "onboard_increment"

typedef struct Bound
{
	bool given;
	Datum value;
} Bound;

typedef struct Bounding
{
	ObWatermark *mark;
	const char *query; /* the registered one, fit for a subquery */
	char *column;      /* ALIAS.column */
	Oid type;          /* not a domain */
	Oid collation;     /* the column's */
	const TypeCacheEntry *cache;
	char *greater; /* OPERATOR(schema.>) */
	char *not_greater;
	Bound kept; /* where the last one ended */
	Bound from;
	Bound to;
} Bounding;

/* ---- the column ---- */

static const FormData_pg_attribute *
find_column(const ObWatermark *mark, TupleDesc desc)
{
	const FormData_pg_attribute *found = NULL;

	for (int i = 0; i < desc->natts; i++)
	{
		const FormData_pg_attribute *attribute = TupleDescAttr(desc, i);

		if (strcmp(NameStr(attribute->attname), mark->column) != 0)
			continue;
		if (found)
			ereport(ERROR,
					(errcode(ERRCODE_AMBIGUOUS_COLUMN),
					 errmsg("the query of \"%s\" has two columns \"%s\"",
							mark->name, mark->column),
					 errhint("Option \"watermark\" needs one: give them "
							 "names.")));
		found = attribute;
	}
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the query of \"%s\" has no column \"%s\"", mark->name,
						mark->column),
				 errhint("The column of option \"watermark\" must be one of "
						 "its result's; case matters.")));
	return found;
}

static char *
operator_of(const Bounding *b, StrategyNumber strategy)
{
	Oid oid =
		get_opfamily_member(b->cache->btree_opf, b->cache->btree_opintype,
							b->cache->btree_opintype, strategy);
	HeapTuple tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(oid));
	const FormData_pg_operator *form;
	char *text;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "operator %u is missing", oid);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	text = psprintf("OPERATOR(%s.%s)",
					quote_identifier(get_namespace_name(form->oprnamespace)),
					NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return text;
}

static void
learn_column(Bounding *b)
{
	const FormData_pg_attribute *attribute =
		find_column(b->mark, ob_query_describe(b->query));

	b->type = getBaseType(attribute->atttypid);
	b->collation = attribute->attcollation;
	b->column =
		psprintf(ALIAS ".%s", quote_identifier(NameStr(attribute->attname)));
	b->cache = lookup_type_cache(b->type, TYPECACHE_BTREE_OPFAMILY |
											  TYPECACHE_GT_OPR |
											  TYPECACHE_CMP_PROC_FINFO);
	if (!OidIsValid(b->cache->gt_opr) || !OidIsValid(b->cache->cmp_proc))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("column \"%s\" of \"%s\" cannot be a watermark",
							   b->mark->column, b->mark->name),
						errdetail("Its type, %s, has no order.",
								  format_type_be(b->type))));
	b->greater = operator_of(b, BTGreaterStrategyNumber);
	b->not_greater = operator_of(b, BTLessEqualStrategyNumber);
	b->mark->type = ob_watermark_type(b->type);
}

/* ---- the bounds ---- */

static void
check_kept(const Bounding *b)
{
	const ObWatermark *mark = b->mark;
	const ObWatermarkKept *kept = mark->kept;

	if (strcmp(kept->column, mark->column) == 0 &&
		strcmp(kept->type, mark->type) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the watermark of \"%s\" is one of column \"%s\" of type "
					"%s, not of \"%s\" of type %s",
					mark->name, kept->column, kept->type, mark->column,
					mark->type),
			 errhint("onboard_reset(%s) forgets it, and the next increment "
					 "has all rows.",
					 quote_literal_cstr(mark->name))));
}

static void
find_lower(Bounding *b)
{
	const ObWatermark *mark = b->mark;
	Datum overlap = 0;

	if (mark->overlap)
		overlap = ob_watermark_overlap(b->type, mark->overlap);
	if (!mark->kept)
		return;
	check_kept(b);
	b->kept.given = b->from.given = true;
	b->kept.value = b->from.value =
		ob_watermark_value(b->type, mark->kept->value);
	if (mark->overlap)
		b->from.given = ob_watermark_subtract(b->type, b->kept.value, overlap,
											  &b->from.value);
}

static void
set_parameter(ParamListInfo parameters, const Bounding *b, const Bound *bound)
{
	ParamExternData *parameter = &parameters->params[parameters->numParams++];

	parameter->value = bound->value;
	parameter->isnull = false;
	parameter->pflags = PARAM_FLAG_CONST;
	parameter->ptype = b->type;
}

/* $1 is the upper bound if it is known, the lower one comes last. */
static ParamListInfo
parameters_of(const Bounding *b)
{
	ParamListInfo parameters = makeParamList(2);

	parameters->numParams = 0;
	if (b->to.given)
		set_parameter(parameters, b, &b->to);
	if (b->from.given)
		set_parameter(parameters, b, &b->from);
	return parameters;
}

static char *
lower_condition(const Bounding *b)
{
	if (!b->from.given)
		return psprintf("%s IS NOT NULL", b->column);
	return psprintf("%s %s $%d", b->column, b->greater, b->to.given ? 2 : 1);
}

/* Out of SPI's memory, and in one piece. */
static Datum
take_value(const Bounding *b, Datum value, MemoryContext context)
{
	MemoryContext before = MemoryContextSwitchTo(context);

	if (b->cache->typlen == -1)
		value = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	else
		value = datumCopy(value, b->cache->typbyval, b->cache->typlen);
	MemoryContextSwitchTo(before);
	return value;
}

/*
 * The greatest value that the snapshot shows.  (Not every type has a max();
 * and this way an index is used where there is one.)
 */
static void
find_upper(Bounding *b)
{
	MemoryContext context = CurrentMemoryContext;
	SPIExecuteOptions options = {.read_only = true, .tcount = 1};
	const char *sql = psprintf("SELECT %s FROM (%s\n) AS " ALIAS
							   " WHERE %s ORDER BY %s USING %s LIMIT 1",
							   b->column, b->query, lower_condition(b),
							   b->column, b->greater);
	bool isnull;
	Datum value;

	options.params = parameters_of(b);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_extended(sql, &options) != SPI_OK_SELECT)
		elog(ERROR, "could not look for the end of the increment");
	if (SPI_processed > 0)
	{
		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
							  &isnull);
		b->to.given = !isnull;
		if (!isnull)
			b->to.value = take_value(b, value, context);
	}
	SPI_finish();
}

static bool
is_greater(const Bounding *b, Datum a, Datum than)
{
	FmgrInfo compare;

	fmgr_info_copy(&compare, unconstify(FmgrInfo *, &b->cache->cmp_proc_finfo),
				   CurrentMemoryContext);
	return DatumGetInt32(FunctionCall2Coll(&compare, b->collation, a, than)) >
		   0;
}

/* Never back: what was below it has landed. */
static void
check_upper(Bounding *b)
{
	const ObWatermark *mark = b->mark;

	if (ob_watermark_is_last(b->type, b->to.value))
		ereport(
			ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("column \"%s\" of \"%s\" has the value %s", mark->column,
					mark->name, ob_watermark_text(b->type, b->to.value)),
			 errdetail("It would be the watermark, above which nothing "
					   "would ever lie."),
			 errhint("Leave such rows out in the registered query.")));
	if (b->kept.given && !is_greater(b, b->to.value, b->kept.value))
		b->to.value = b->kept.value;
}

bool
ob_watermark_bound(ObWatermark *mark, ObExport *export)
{
	Bounding b = {.mark = mark};

	b.query = ob_query_as_subquery(export->query);
	learn_column(&b);
	find_lower(&b);
	find_upper(&b);
	if (b.from.given)
		mark->from = ob_watermark_text(b.type, b.from.value);
	if (b.to.given)
	{
		check_upper(&b);
		mark->to = ob_watermark_text(b.type, b.to.value);
		export->query =
			psprintf("SELECT * FROM (%s\n) AS " ALIAS " WHERE %s AND %s %s $1",
					 b.query, lower_condition(&b), b.column, b.not_greater);
		export->parameters = parameters_of(&b);
	}
	else
		export->query =
			psprintf("SELECT * FROM (%s\n) AS " ALIAS " WHERE false", b.query);
	return b.to.given;
}
