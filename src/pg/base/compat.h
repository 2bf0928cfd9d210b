/*
 * compat.h
 *		The differences between PostgreSQL's versions.
 *
 * src/pg/base/compat.h
 *
 * PG_VERSION_NUM is tested here and nowhere else.  What differs gets a
 * wrapper that is named and works the same over all supported versions.
 */
#ifndef OB_COMPAT_H
#define OB_COMPAT_H

#include "access/tupdesc.h"
#include "catalog/pg_foreign_server.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "parser/analyze.h"
#include "parser/parse_relation.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc_tables.h"
#include "utils/pg_locale.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "onboard needs PostgreSQL 15 or later"
#endif

/* PostgreSQL 16 moved VARDATA_ANY() and its like out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* PostgreSQL 18 moved ExplainPropertyText() and its like. */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/* PostgreSQL 18 shows the module's name and version in
 * pg_get_loaded_modules(). */
#if PG_VERSION_NUM >= 180000
#define OB_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "onboard", .version = ONBOARD_VERSION)
#else
#define OB_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* The type of the last argument of post_parse_analyze_hook, which is const in
 * some versions. */
typedef __typeof__(_Generic(
	post_parse_analyze_hook,
	void (*)(ParseState *, Query *, const JumbleState *)
	: (const JumbleState *) NULL, default
	: (JumbleState *) NULL)) ObJumbleState;

/* PostgreSQL 16 replaced the functions for each kind of object by one for all
 * kinds. */
static inline AclResult
ob_server_aclcheck(Oid serverid, Oid roleid, AclMode mode)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ForeignServerRelationId, serverid, roleid, mode);
#else
	return pg_foreign_server_aclcheck(serverid, roleid, mode);
#endif
}

/* Returns what is known of a setting beside its value, or NULL if there is no
 * such setting.  PostgreSQL 16 exports the function that finds it. */
static inline const struct config_generic *
ob_setting(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, true, ERROR);
#else
	struct config_generic **settings = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
		if (strcmp(settings[i]->name, name) == 0)
			return settings[i];
	return NULL;
#endif
}

/* Returns entry n (from 1) of pgstat_fetch_stat_numbackends(), as this
 * transaction has copied it; may be NULL. */
static inline const PgBackendStatus *
ob_backend_status(int n)
{
#if PG_VERSION_NUM >= 160000
	const LocalPgBackendStatus *status = pgstat_get_local_beentry_by_index(n);
#else
	const LocalPgBackendStatus *status = pgstat_fetch_stat_local_beentry(n);
#endif

	return status ? &status->backendStatus : NULL;
}

/* The role whose rights count for a relation of the query; InvalidOid means
 * the current user.  PostgreSQL 16 moved it out of the range table. */
static inline Oid
ob_rte_user(const Query *query, const RangeTblEntry *entry)
{
#if PG_VERSION_NUM >= 160000
	if (entry->perminfoindex == 0)
		return InvalidOid;
	return getRTEPermissionInfo(query->rteperminfos,
								unconstify(RangeTblEntry *, entry))
		->checkAsUser;
#else
	return entry->checkAsUser;
#endif
}

/* Returns the expressions that the query groups by, if the entry stands for
 * them.  PostgreSQL 18 made an entry of them. */
static inline List *
ob_rte_group_expressions(const RangeTblEntry *entry)
{
#if PG_VERSION_NUM >= 180000
	return entry->rtekind == RTE_GROUP ? entry->groupexprs : NIL;
#else
	return NIL;
#endif
}

/* The columns of pg_collation and pg_database that have the locale of any
 * provider but libc, which PostgreSQL 17 renamed, and the columns with their
 * rules, which came with 16. */
#if PG_VERSION_NUM >= 170000
#define OB_COLLATION_LOCALE Anum_pg_collation_colllocale
#define OB_DATABASE_LOCALE Anum_pg_database_datlocale
#else
#define OB_COLLATION_LOCALE Anum_pg_collation_colliculocale
#define OB_DATABASE_LOCALE Anum_pg_database_daticulocale
#endif
#if PG_VERSION_NUM >= 160000
#define OB_COLLATION_RULES Anum_pg_collation_collicurules
#define OB_DATABASE_RULES Anum_pg_database_daticurules
#else
#define OB_COLLATION_RULES InvalidAttrNumber
#define OB_DATABASE_RULES InvalidAttrNumber
#endif

/* PostgreSQL 17 has infinite intervals. */
static inline bool
ob_interval_is_infinite(const Interval *interval)
{
#if PG_VERSION_NUM >= 170000
	return INTERVAL_NOT_FINITE(interval);
#else
	return false;
#endif
}

/* Whether texts of a collation are ordered by their bytes.  PostgreSQL 18 has
 * no function for it. */
static inline bool
ob_collation_is_c(Oid collation)
{
	if (!OidIsValid(collation))
		return false;
#if PG_VERSION_NUM >= 180000
	return pg_newlocale_from_collation(collation)->collate_is_c;
#else
	return lc_collate_is_c(collation);
#endif
}

/* The descriptor has its last column.  PostgreSQL 19 wants a call for that,
 * and asserts that it was made. */
static inline void
ob_tuple_desc_end(TupleDesc desc)
{
#if PG_VERSION_NUM >= 190000
	TupleDescFinalize(desc);
#endif
}

/* PostgreSQL 19 lets EXPLAIN take part in planning. */
static inline PlannedStmt *
ob_plan_query(Query *query, const char *text, int options,
			  ParamListInfo parameters)
{
#if PG_VERSION_NUM >= 190000
	return pg_plan_query(query, text, options, parameters, NULL);
#else
	return pg_plan_query(query, text, options, parameters);
#endif
}

/* Runs the query to its end.  PostgreSQL 18 has no argument any more for a
 * query that goes on later. */
static inline void
ob_executor_run(QueryDesc *query)
{
#if PG_VERSION_NUM >= 180000
	ExecutorRun(query, ForwardScanDirection, 0);
#else
	ExecutorRun(query, ForwardScanDirection, 0, true);
#endif
}

/* PostgreSQL 17 counts the memory that planning takes. */
static inline void
ob_explain_plan(PlannedStmt *plan, ExplainState *state, const char *text)
{
#if PG_VERSION_NUM >= 170000
	ExplainOnePlan(plan, NULL, state, text, NULL, NULL, NULL, NULL, NULL);
#else
	ExplainOnePlan(plan, NULL, state, text, NULL, NULL, NULL, NULL);
#endif
}

/* Returns the number of a wait event.  PostgreSQL 17 lets extensions name
 * theirs. */
static inline uint32
ob_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* The digits that a numeric's type modifier allows; false: any. */
static inline bool
ob_numeric_typmod(int32 typmod, int *precision, int *scale)
{
	if (typmod < (int32) VARHDRSZ)
		return false;
	typmod -= VARHDRSZ;
	*precision = (typmod >> 16) & 0xffff;
	/* 11 bits with a sign */
	*scale = ((typmod & 0x7ff) ^ 1024) - 1024;
	return true;
}

/*
 * Whether no row of the relation has a null in the column.  Since PostgreSQL
 * 18, a constraint NOT NULL may be NOT VALID, and has not been checked then.
 */
static inline bool
ob_column_is_not_null(Relation relation, int number)
{
#if PG_VERSION_NUM >= 180000
	return TupleDescCompactAttr(RelationGetDescr(relation), number - 1)
			   ->attnullability == ATTNULLABLE_VALID;
#else
	return TupleDescAttr(RelationGetDescr(relation), number - 1)->attnotnull;
#endif
}

#endif
