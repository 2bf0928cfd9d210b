/*
 * as_owner.c
 *		Acting with the rights of a table's owner.
 *
 * src/pg/base/as_owner.c
 */
#include "postgres.h"

#include "access/table.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "pg/base/as_owner.h"

/*
 * What a trigger defers runs when the transaction ends, as the exporter.  The
 * owner need not be trusted by all who export.
 */
static void
refuse_deferrable(const Relation relation)
{
	const TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		if (triggers->triggers[i].tgdeferrable)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("table \"%s\" has a deferrable trigger or "
							"constraint, \"%s\"",
							RelationGetRelationName(relation),
							triggers->triggers[i].tgname),
					 errdetail("It could run with the rights of the role that "
							   "exports."),
					 errhint("Its owner can drop it.")));
	}
}

static Oid
owner_of(Oid schema, const char *name, LOCKMODE unlock)
{
	Oid table = get_relname_relid(name, schema);
	Relation relation;
	Oid owner;

	if (!OidIsValid(table))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" does not exist", name),
				 errhint("Drop the extension onboard, and create it again.")));
	relation = table_open(table, AccessShareLock);
	refuse_deferrable(relation);
	owner = relation->rd_rel->relowner;
	table_close(relation, unlock);
	return owner;
}

static void
fix(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Nothing in the caller's search_path may run with the owner's rights.  With
 * row_security = off, which is meant for exported queries, callers could not
 * look up their own runs.
 */
static int
fix_settings(void)
{
	int level = NewGUCNestLevel();

	fix("search_path", "pg_catalog, pg_temp");
	fix("row_security", "on");
	return level;
}

static void
run(Oid schema, void (*step)(Oid schema, void *arg), void *arg)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	step(schema, arg);
	SPI_finish();
}

void
ob_as_caller(Oid schema, void (*step)(Oid schema, void *arg), void *arg)
{
	int settings = fix_settings();

	run(schema, step, arg);
	AtEOXact_GUC(true, settings);
}

void
ob_owner_require(Oid schema, const char *table)
{
	/* an export may take hours */
	(void) owner_of(schema, table, AccessShareLock);
}

bool
ob_owner_is_caller(Oid schema, const char *table)
{
	return has_privs_of_role(GetUserId(), owner_of(schema, table, NoLock));
}

/* Nothing that the owner has made (triggers, rules, expressions of an index)
 * may defer anything, or leave a setting behind. */
void
ob_as_owner(Oid schema, const char *table, void (*step)(Oid schema, void *arg),
			void *arg)
{
	Oid user;
	int context;
	int settings = fix_settings();

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner_of(schema, table, NoLock),
						   context | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION |
							   SECURITY_NOFORCE_RLS);
	run(schema, step, arg);
	SetUserIdAndSecContext(user, context);
	AtEOXact_GUC(false, settings);
}
