/*
 * watermark_order.c
 *		Increments: the order that the watermark's column has.
 *
 * src/pg/increment/watermark_order.c
 *
 * The rows above a watermark depend on how the column's values compare: on a
 * collation and its library's version, on the labels of an enum, on the
 * precision of a timestamp.  If that changes, rows that have never landed may
 * come to lie below the watermark.  So the order is described as a text, which
 * is stored beside the value.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_database.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "pg/base/compat.h"
#include "pg/increment/watermark_intern.h"

/* ---- collations ---- */

/* Returns NULL for a null, and for a column that this version of PostgreSQL
 * does not have. */
static char *
text_of(int cache, HeapTuple tuple, AttrNumber attribute)
{
	bool isnull;
	Datum value;

	if (attribute == InvalidAttrNumber)
		return NULL;
	value = SysCacheGetAttr(cache, tuple, attribute, &isnull);
	return isnull ? NULL : TextDatumGetCString(value);
}

/* Returns the present version of the library, or NULL if it has none. */
static char *
actual_version(PGFunction function, Oid oid)
{
	LOCAL_FCINFO(call, 1);
	Datum version;

	InitFunctionCallInfoData(*call, NULL, 1, InvalidOid, NULL, NULL);
	call->args[0].value = ObjectIdGetDatum(oid);
	call->args[0].isnull = false;
	version = function(call);
	return call->isnull ? NULL : TextDatumGetCString(version);
}

typedef struct Locale
{
	char provider;
	char *name;
	char *rules;
	char *version;
} Locale;

static Locale
locale_of_database(void)
{
	HeapTuple tuple =
		SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	Locale locale;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "database %u is missing", MyDatabaseId);
	locale.provider = ((Form_pg_database) GETSTRUCT(tuple))->datlocprovider;
	locale.name = text_of(DATABASEOID, tuple,
						  locale.provider == COLLPROVIDER_LIBC
							  ? Anum_pg_database_datcollate
							  : OB_DATABASE_LOCALE);
	locale.rules = text_of(DATABASEOID, tuple, OB_DATABASE_RULES);
	locale.version =
		actual_version(pg_database_collation_actual_version, MyDatabaseId);
	ReleaseSysCache(tuple);
	return locale;
}

static Locale
locale_of(Oid collation, HeapTuple tuple)
{
	Locale locale;

	locale.provider = ((Form_pg_collation) GETSTRUCT(tuple))->collprovider;
	if (locale.provider == COLLPROVIDER_DEFAULT)
		return locale_of_database();
	locale.name = text_of(COLLOID, tuple,
						  locale.provider == COLLPROVIDER_LIBC
							  ? Anum_pg_collation_collcollate
							  : OB_COLLATION_LOCALE);
	locale.rules = text_of(COLLOID, tuple, OB_COLLATION_RULES);
	locale.version = actual_version(pg_collation_actual_version, collation);
	return locale;
}

static const char *
name_of_provider(char provider)
{
	switch (provider)
	{
		case COLLPROVIDER_LIBC:
			return "libc";
		case COLLPROVIDER_ICU:
			return "icu";
		default:
			return "builtin";
	}
}

static void
add_collation(StringInfo text, Oid collation)
{
	HeapTuple tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Locale locale;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "collation %u is missing", collation);
	locale = locale_of(collation, tuple);
	appendStringInfo(text, " COLLATE %s (%s",
					 DatumGetCString(DirectFunctionCall1(
						 regcollationout, ObjectIdGetDatum(collation))),
					 name_of_provider(locale.provider));
	if (locale.name)
		appendStringInfo(text, ", %s", locale.name);
	if (locale.rules)
		appendStringInfo(text, ", rules %s", quote_literal_cstr(locale.rules));
	if (!((Form_pg_collation) GETSTRUCT(tuple))->collisdeterministic)
		appendStringInfoString(text, ", not deterministic");
	if (locale.version)
		appendStringInfo(text, ", version %s", locale.version);
	appendStringInfoChar(text, ')');
	ReleaseSysCache(tuple);
}

/* ---- enums ---- */

typedef struct Label
{
	float4 order;
	char *name;
} Label;

static int
compare_labels(const ListCell *a, const ListCell *b)
{
	float4 x = ((const Label *) lfirst(a))->order;
	float4 y = ((const Label *) lfirst(b))->order;

	return x < y ? -1 : x > y;
}

static List *
labels_of(Oid type)
{
	CatCList *found =
		SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(type));
	List *labels = NIL;

	for (int i = 0; i < found->n_members; i++)
	{
		Form_pg_enum form =
			(Form_pg_enum) GETSTRUCT(&found->members[i]->tuple);
		Label *label = palloc(sizeof(Label));

		label->order = form->enumsortorder;
		label->name = pstrdup(NameStr(form->enumlabel));
		labels = lappend(labels, label);
	}
	ReleaseCatCacheList(found);
	list_sort(labels, compare_labels);
	return labels;
}

/* The labels after the watermark are left out, since labels may be added
 * there. */
static void
add_labels(StringInfo text, Oid type, const char *last)
{
	const char *separator = " (";
	ListCell *cell;

	foreach (cell, labels_of(type))
	{
		const Label *label = lfirst(cell);

		appendStringInfo(text, "%s%s", separator,
						 quote_literal_cstr(label->name));
		separator = ", ";
		if (last && strcmp(label->name, last) == 0)
			break;
	}
	appendStringInfoChar(text, ')');
}

/* ---- types ---- */

static void describe(StringInfo text, const ObWatermarkColumn *column,
					 const char *last);

/* Whether the type modifier rounds values.  The length of a string has no
 * influence on the order, and is changed often. */
static bool
typmod_counts(Oid type)
{
	char category;
	bool preferred;

	get_type_category_preferred(type, &category, &preferred);
	return category == TYPCATEGORY_DATETIME ||
		   category == TYPCATEGORY_NUMERIC || category == TYPCATEGORY_TIMESPAN;
}

/* Describes the element, subtype or base of another type. */
static void
describe_part(StringInfo text, Oid type, int32 typmod, Oid collation)
{
	ObWatermarkColumn part = {.typmod = typmod, .collation = collation};

	part.type = getBaseTypeAndTypmod(type, &part.typmod);
	describe(text, &part, NULL);
}

/* Describes the types of the columns; their names have no influence. */
static void
describe_attributes(StringInfo text, Oid type)
{
	TupleDesc desc = lookup_rowtype_tupdesc(type, -1);
	const char *separator = " (";

	for (int i = 0; i < desc->natts; i++)
	{
		const FormData_pg_attribute *attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped)
			continue;
		appendStringInfoString(text, separator);
		separator = ", ";
		describe_part(text, attribute->atttypid, attribute->atttypmod,
					  attribute->attcollation);
	}
	appendStringInfoChar(text, ')');
	ReleaseTupleDesc(desc);
}

static void
describe_base(StringInfo text, const ObWatermarkColumn *column)
{
	Oid element = get_element_type(column->type);

	if (OidIsValid(element))
	{
		appendStringInfoString(text, " of ");
		describe_part(text, element, -1, column->collation);
	}
	else if (OidIsValid(column->collation))
		add_collation(text, column->collation);
	else if (column->type == JSONBOID)
		add_collation(text, DEFAULT_COLLATION_OID);
}

static void
describe(StringInfo text, const ObWatermarkColumn *column, const char *last)
{
	Oid type = column->type;

	check_stack_depth();
	appendStringInfoString(
		text, format_type_with_typemod(
				  type, typmod_counts(type) ? column->typmod : -1));
	switch (get_typtype(type))
	{
		case TYPTYPE_ENUM:
			add_labels(text, type, last);
			break;
		case TYPTYPE_COMPOSITE:
			describe_attributes(text, type);
			break;
		case TYPTYPE_RANGE:
			appendStringInfoString(text, " of ");
			describe_part(text, get_range_subtype(type), -1,
						  get_range_collation(type));
			break;
		case TYPTYPE_MULTIRANGE:
			appendStringInfoString(text, " of ");
			describe_part(text, get_multirange_range(type), -1, InvalidOid);
			break;
		default:
			describe_base(text, column);
			break;
	}
}

char *
ob_watermark_ordering(const ObWatermarkColumn *column, const char *value)
{
	int level = ob_watermark_fix_settings();
	StringInfoData text;

	initStringInfo(&text);
	describe(&text, column, value);
	AtEOXact_GUC(true, level);
	return text.data;
}
