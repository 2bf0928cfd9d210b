/*
 * increment_bound.c
 *		Increments: the bounds of their rows.
 *
 * src/pg/increment/increment_bound.c
 *
 * The registered query becomes a subquery, its column compared by the
 * operators of its type's btree order, named with their schema.  The bounds
 * are parameters, so there is no text in which something could hide.
 *
 * A row that is committed below the watermark is missed.  An overlap moves the
 * lower bound down for such rows, but its user has to know how far.  A column
 * of transaction ids needs none: all transactions below the snapshot's xmin
 * have ended, so an increment that ends below xmin has all rows up to its end.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/xid8.h"

#include "pg/base/subtransaction.h"
#include "pg/base/query.h"
#include "pg/increment/watermark_intern.h"

#define ALIAS "onboard_increment"

typedef struct Bound
{
	bool given;
	Datum value;
} Bound;

typedef struct Bounding
{
	ObWatermark *mark;
	const char *query; /* the registered query, as a subquery */
	ObWatermarkQuery analysed;
	ObWatermarkColumn found;
	char *column; /* ALIAS.column, without a domain's type */
	Oid type;     /* the type of found */
	const TypeCacheEntry *cache;
	char *greater; /* OPERATOR(schema.>) */
	char *not_less;
	char *not_greater;
	Datum overlap; /* set if the watermark has an overlap */
	Bound kept;    /* the end of the last increment */
	Bound from;
	Bound to;
} Bounding;

/* ---- the column ---- */

static void
find_column(Bounding *b)
{
	const ObWatermark *mark = b->mark;
	int n = ob_watermark_find_column(&b->analysed, mark->column, &b->found);

	if (n > 1)
		ereport(ERROR, (errcode(ERRCODE_AMBIGUOUS_COLUMN),
						errmsg("the query of \"%s\" has two columns \"%s\"",
							   mark->name, mark->column),
						errhint("Option \"watermark\" needs one: give them "
								"names.")));
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the query of \"%s\" has no column \"%s\"", mark->name,
						mark->column),
				 errhint("The column of option \"watermark\" must be one of "
						 "its result's; case matters.")));
}

static void
check_source(const Bounding *b)
{
	const ObWatermark *mark = b->mark;

	if (b->found.limited)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the query of \"%s\" has a LIMIT, OFFSET or FETCH",
					mark->name),
			 errdetail("It is applied before the increment is selected, so "
					   "increments would lack rows."),
			 errhint("Remove it, or remove option \"watermark\".")));
	if (b->found.sampled)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the query of \"%s\" has a TABLESAMPLE without "
						"REPEATABLE",
						mark->name),
				 errdetail("It is another sample each time, so increments "
						   "would lack rows."),
				 errhint("Add REPEATABLE, or remove option \"watermark\".")));
	if (b->found.changing)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" of \"%s\" is made by a volatile "
						"function",
						mark->column, mark->name),
				 errdetail("It may have other values each time that the query "
						   "runs, so increments would lack rows."),
				 errhint("Take a column that is stored. A function that "
						 "gives the same value each time can be declared "
						 "STABLE or IMMUTABLE.")));
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

/* Casts a domain to its base type, since the operators of enums do not take
 * domains over them. */
static char *
cast_to_base(const char *column, Oid type)
{
	return psprintf("CAST(%s AS %s)", column,
					format_type_extended(type, -1,
										 FORMAT_TYPE_TYPEMOD_GIVEN |
											 FORMAT_TYPE_FORCE_QUALIFY));
}

static void
prepare_column(Bounding *b)
{
	find_column(b);
	check_source(b);
	b->type = b->found.type;
	b->column = psprintf(ALIAS ".%s", quote_identifier(b->mark->column));
	if (b->found.is_domain)
		b->column = cast_to_base(b->column, b->type);
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
	b->not_less = operator_of(b, BTGreaterEqualStrategyNumber);
	b->not_greater = operator_of(b, BTLessEqualStrategyNumber);
	b->mark->type = ob_watermark_type(b->type);
}

static void
check_ties(const Bounding *b)
{
	if (b->mark->overlap ||
		!ob_watermark_is_coarse(b->type, b->found.typmod, b->found.collation))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("column \"%s\" of \"%s\" is too coarse for a watermark "
					"without an overlap",
					b->mark->column, b->mark->name),
			 errdetail("Many rows can share one value of type %s. Rows that "
					   "come later with the value of the watermark would "
					   "never be landed.",
					   format_type_with_typemod(b->type, b->found.typmod)),
			 errhint("Set \"overlap\": 0 in option \"watermark\" to land the "
					 "rows at the watermark again each time, or a longer "
					 "overlap to cover rows that are committed late, too.")));
}

/* ---- transaction ids ---- */

static uint64
xid_of(Datum value)
{
	return U64FromFullTransactionId(DatumGetFullTransactionId(value));
}

/* Returns the greatest id below which no transaction is running. */
static Datum
last_ended(void)
{
	LOCAL_FCINFO(call, 0);
	Datum snapshot;
	Datum oldest;

	InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
	snapshot = pg_current_snapshot(call);
	oldest = DirectFunctionCall1(pg_snapshot_xmin, snapshot);
	return FullTransactionIdGetDatum(
		FullTransactionIdFromU64(xid_of(oldest) - 1));
}

/* The cluster into which a watermark was restored has ids of its own. */
static void
check_xid(const Bounding *b)
{
	uint64 next = U64FromFullTransactionId(ReadNextFullTransactionId());

	if (xid_of(b->kept.value) < next)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the watermark of \"%s\" is a transaction id that this "
					"cluster has not reached",
					b->mark->name),
			 errdetail("It is %s; the next one is " UINT64_FORMAT ".",
					   b->mark->kept->value, next),
			 errhint("onboard_reset_watermark(%s) forgets it, and the next "
					 "increment has all rows.",
					 quote_literal_cstr(b->mark->name))));
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
			 errhint("onboard_reset_watermark(%s) forgets it, and the next "
					 "increment has all rows.",
					 quote_literal_cstr(mark->name))));
}

/* The bounds that a watermark gives to the next increment. */
typedef struct Resuming
{
	const Bounding *b;
	const char *text;
	Bound kept;
	Bound from;
} Resuming;

static void
resume(void *arg)
{
	Resuming *resuming = arg;
	const Bounding *b = resuming->b;

	resuming->kept.given = resuming->from.given = true;
	resuming->kept.value = resuming->from.value =
		ob_watermark_value(b->type, resuming->text);
	if (b->mark->overlap)
		resuming->from.given = ob_watermark_subtract(
			b->type, resuming->kept.value, b->overlap, &resuming->from.value);
}

static void
find_lower(Bounding *b)
{
	const ObWatermark *mark = b->mark;
	Resuming resuming = {.b = b};
	const ErrorData *error;

	if (mark->overlap)
		b->overlap = ob_watermark_overlap(b->type, mark->overlap);
	if (!mark->kept)
		return;
	resuming.text = mark->kept->value;
	error = ob_attempt(resume, &resuming);
	if (error)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the watermark of \"%s\" cannot be used any more",
						mark->name),
				 errdetail("It is %s: %s.", mark->kept->value, error->message),
				 errhint("onboard_reset_watermark(%s) forgets it, and the "
						 "next increment has all rows.",
						 quote_literal_cstr(mark->name))));
	b->kept = resuming.kept;
	b->from = resuming.from;
	if (b->type == XID8OID)
		check_xid(b);
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

/* Makes the parameters.  $1 is the upper bound if that is known; the lower
 * bound comes last. */
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

/* IS NOT NULL would be false for a row value that contains a null. */
static char *
lower_condition(const Bounding *b)
{
	if (!b->from.given)
		return psprintf("%s IS DISTINCT FROM NULL", b->column);
	return psprintf("%s %s $%d", b->column,
					b->mark->overlap ? b->not_less : b->greater,
					b->to.given ? 2 : 1);
}

static char *
conditions(const Bounding *b)
{
	if (!b->to.given)
		return lower_condition(b);
	return psprintf("%s AND %s %s $1", lower_condition(b), b->column,
					b->not_greater);
}

/* Copies a value out of SPI's memory, in one piece. */
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

/* Finds the greatest value that the snapshot shows, not above b->to if that is
 * given.  Not every type has max(), and ORDER BY can use an index. */
static void
find_upper(Bounding *b)
{
	MemoryContext context = CurrentMemoryContext;
	SPIExecuteOptions options = {.read_only = true, .tcount = 1};
	const char *sql =
		psprintf("SELECT %s FROM (%s\n) AS " ALIAS
				 " WHERE %s ORDER BY %s USING %s LIMIT 1",
				 b->column, b->query, conditions(b), b->column, b->greater);
	bool isnull;
	Datum value;

	options.params = parameters_of(b);
	b->to.given = false;
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
	return DatumGetInt32(
			   FunctionCall2Coll(&compare, b->found.collation, a, than)) > 0;
}

/* The watermark never goes back, since all below it has landed. */
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
			 errdetail("No later row could have a value above this "
					   "watermark."),
			 errhint("Leave such rows out in the registered query.")));
	if (b->kept.given && !is_greater(b, b->to.value, b->kept.value))
		b->to.value = b->kept.value;
}

/* Some types do not accept every text that they return. */
static void
rehearse(void *arg)
{
	Resuming *resuming = arg;
	const Bounding *b = resuming->b;
	const char *text = ob_watermark_text(b->type, b->to.value);

	(void) pg_verifymbstr(text, (int) strlen(text), false);
	resuming->text = text;
	resume(resuming);
	if (is_greater(b, b->to.value, resuming->kept.value) ||
		is_greater(b, resuming->kept.value, b->to.value))
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("its text stands for another value")));
}

/* Makes sure, before anything lands, that an increment can follow. */
static void
check_next(const Bounding *b)
{
	Resuming resuming = {.b = b};
	const ErrorData *error = ob_attempt(rehearse, &resuming);

	if (error)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("column \"%s\" of \"%s\" cannot be a watermark",
						b->mark->column, b->mark->name),
				 errdetail("No increment could follow its greatest value: %s.",
						   error->message)));
}

/* The origin is compared before the export reads a row. */
static void
find_origin(Bounding *b)
{
	ObWatermark *mark = b->mark;

	ob_watermark_find_origin(mark, &b->analysed);
	if (b->type == XID8OID)
		mark->origin.system = psprintf(UINT64_FORMAT, GetSystemIdentifier());
	if (mark->kept)
	{
		check_kept(b);
		mark->origin.ordering =
			ob_watermark_ordering(&b->found, mark->kept->value);
	}
	ob_watermark_check_origin(mark);
}

static void
find_bounds(Bounding *b, const char *query)
{
	ob_watermark_analyse(&b->analysed, query);
	prepare_column(b);
	find_origin(b);
	find_lower(b);
	check_ties(b);
	if (b->type == XID8OID)
	{
		b->to.given = true;
		b->to.value = last_ended();
	}
	find_upper(b);
}

bool
ob_watermark_bound(Oid schema, ObWatermark *mark, ObExportSpec *export)
{
	Bounding b = {.mark = mark};

	b.query = ob_query_as_subquery(export->query);
	find_bounds(&b, export->query);
	ob_watermark_look(schema, mark, &b.analysed, &b.found);
	mark->inclusive = mark->overlap != NULL;
	if (b.from.given)
		mark->from = ob_watermark_text(b.type, b.from.value);
	if (b.to.given)
	{
		check_upper(&b);
		check_next(&b);
		mark->to = ob_watermark_text(b.type, b.to.value);
		mark->origin.ordering = ob_watermark_ordering(&b.found, mark->to);
		export->query = psprintf("SELECT * FROM (%s\n) AS " ALIAS " WHERE %s",
								 b.query, conditions(&b));
		export->parameters = parameters_of(&b);
	}
	else
		export->query =
			psprintf("SELECT * FROM (%s\n) AS " ALIAS " WHERE false", b.query);
	return b.to.given;
}
