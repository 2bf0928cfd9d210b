/*
 * owner.c
 *		Acting with the rights of a table's owner.
 *
 * src/pg/owner.c
 */
#include "postgres.h"

#include "access/table.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "pg/owner.h"

static Oid
owner_of(Oid schema, const char *name)
{
	Oid table = get_relname_relid(name, schema);
	Relation relation;
	Oid owner;

	if (!OidIsValid(table))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table \"%s\" does not exist", name),
						errhint("Create the extension onboard anew.")));
	relation = table_open(table, AccessShareLock);
	owner = relation->rd_rel->relowner;
	table_close(relation, NoLock);
	return owner;
}

/* What the caller has in his search_path must not run as the owner. */
static int
fix_search_path(void)
{
	int level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void
ob_as_owner(Oid schema, const char *table, void (*step)(Oid schema, void *arg),
			void *arg)
{
	Oid user;
	int context;
	int settings = fix_search_path();

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner_of(schema, table),
						   context | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_NOFORCE_RLS);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	step(schema, arg);
	SPI_finish();
	SetUserIdAndSecContext(user, context);
	AtEOXact_GUC(true, settings);
}
