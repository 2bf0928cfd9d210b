/*
 * history.c
 *		The table onboard_runs: what was exported, and how it ended.
 *
 * src/pg/history.c
 *
 * Nobody but its owner may write the history, so that it can be trusted.  Rows
 * are inserted under the owner's id, as foreign key triggers do it; there is
 * no SECURITY DEFINER function that somebody could call with rows of his own.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "pg/history.h"

#define COLUMNS 12

/* Also the check that the table is still there. */
static Oid
owner_of_runs(Oid schema)
{
	Oid table = get_relname_relid("onboard_runs", schema);
	Relation relation;
	Oid owner;

	if (!OidIsValid(table))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table \"onboard_runs\" does not exist"),
						errhint("Create the extension onboard anew.")));
	relation = table_open(table, AccessShareLock);
	owner = relation->rd_rel->relowner;
	table_close(relation, NoLock);
	return owner;
}

static void
log_run(const ObRun *run)
{
	char *role = GetUserNameFromId(GetUserId(), false);

	if (run->error)
		ereport(LOG, (errmsg("export of \"%s\" by \"%s\" failed: %s",
							 run->name, role, run->error),
					  errhidestmt(true)));
	else
		ereport(LOG, (errmsg("export of \"%s\" by \"%s\" to \"%s\": %s, "
							 "%llu rows, %llu bytes",
							 run->name, role, run->uri ? run->uri : "",
							 run->status, (unsigned long long) run->rows,
							 (unsigned long long) run->bytes),
					  errhidestmt(true)));
}

static void
insert(Oid schema, const ObRun *run, const char *role)
{
	Oid types[COLUMNS] = {UUIDOID,        TEXTOID,        TEXTOID, TEXTOID,
						  TEXTOID,        INT4OID,        INT8OID, INT8OID,
						  TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	Datum values[COLUMNS];
	char nulls[COLUMNS + 1] = "            ";
	char *sql = psprintf(
		"INSERT INTO %s.onboard_runs (run_id, name, role, status, uri, "
		"files, rows, bytes, started, ended, error, sqlstate) VALUES "
		"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
		quote_identifier(get_namespace_name(schema)));

#define TEXT_OR_NULL(i, text)                                       \
	do                                                              \
	{                                                               \
		const char *text_ = (text);                                 \
		nulls[i] = text_ ? ' ' : 'n';                               \
		values[i] = text_ ? CStringGetTextDatum(text_) : (Datum) 0; \
	} while (0)
	values[0] = UUIDPGetDatum(&run->run_id);
	TEXT_OR_NULL(1, run->name);
	TEXT_OR_NULL(2, role);
	TEXT_OR_NULL(3, run->status);
	TEXT_OR_NULL(4, run->uri);
	values[5] = Int32GetDatum(run->files);
	values[6] = Int64GetDatum((int64) run->rows);
	values[7] = Int64GetDatum((int64) run->bytes);
	values[8] = TimestampTzGetDatum(run->started);
	values[9] = TimestampTzGetDatum(run->ended);
	TEXT_OR_NULL(10, run->error);
	TEXT_OR_NULL(11, run->error ? unpack_sql_state(run->sqlstate) : NULL);
#undef TEXT_OR_NULL
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(sql, COLUMNS, types, values, nulls, false, 0) !=
		SPI_OK_INSERT)
		elog(ERROR, "could not insert into onboard_runs");
	SPI_finish();
}

void
ob_history_add(Oid schema, const ObRun *run)
{
	Oid user;
	int context;
	char *role;

	if (RecoveryInProgress() || XactReadOnly)
	{
		log_run(run);
		return;
	}
	role = GetUserNameFromId(GetUserId(), false);
	GetUserIdAndSecContext(&user, &context);
	/* an error in between restores both at the (sub)transaction's abort */
	SetUserIdAndSecContext(owner_of_runs(schema),
						   context | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_NOFORCE_RLS);
	insert(schema, run, role);
	SetUserIdAndSecContext(user, context);
}
