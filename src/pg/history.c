/*
 * history.c
 *		The table onboard_history: what was exported, and how it ended.
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
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "pg/history.h"

#define COLUMNS 19

/* Also the check that the table is still there. */
static Oid
owner_of_runs(Oid schema)
{
	Oid table = get_relname_relid("onboard_history", schema);
	Relation relation;
	Oid owner;

	if (!OidIsValid(table))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table \"onboard_history\" does not exist"),
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

char *
ob_history_source(void)
{
	LOCAL_FCINFO(call, 0);
	Datum address;
	const char *host = "local";

	InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
	address = inet_client_addr(call);
	if (!call->isnull)
		host = TextDatumGetCString(DirectFunctionCall1(network_host, address));
	if (application_name && application_name[0])
		return psprintf("%s %s", host, application_name);
	return pstrdup(host);
}

typedef struct Row
{
	int n;
	Oid types[COLUMNS];
	Datum values[COLUMNS];
	char nulls[COLUMNS + 1];
} Row;

static void
add(Row *row, Oid type, Datum value, bool given)
{
	row->types[row->n] = type;
	row->values[row->n] = value;
	row->nulls[row->n++] = given ? ' ' : 'n';
}

static void
add_text(Row *row, const char *text)
{
	add(row, TEXTOID, text ? CStringGetTextDatum(text) : (Datum) 0,
		text != NULL);
}

static void
add_time(Row *row, TimestampTz time)
{
	add(row, TIMESTAMPTZOID, TimestampTzGetDatum(time), time != 0);
}

static void
add_number(Row *row, uint64 number)
{
	add(row, INT8OID, Int64GetDatum((int64) number), true);
}

/* In the order of the columns that insert() names. */
static void
make_row(Row *row, const ObRun *run, const char *role)
{
	memset(row, 0, sizeof(*row));
	add(row, UUIDOID, UUIDPGetDatum(&run->run_id), true);
	add_text(row, run->name);
	add_text(row, role);
	add_text(row, run->source ? run->source : ob_history_source());
	add_text(row, run->query);
	add_text(row, run->status);
	add_text(row, run->uri);
	add_number(row, run->files);
	add_number(row, run->rows);
	add_number(row, run->raw_bytes);
	add_number(row, run->bytes);
	add_number(row, run->parts);
	add_number(row, run->retries);
	add_time(row, run->started);
	add_time(row, run->ended);
	add(row, LSNOID, LSNGetDatum(run->lsn), run->lsn != 0);
	add_number(row, MyProcPid);
	add_text(row, run->error);
	add_text(row, run->error ? unpack_sql_state(run->sqlstate) : NULL);
	Assert(row->n == COLUMNS);
}

static void
execute(const char *sql, int n, Row *row, int expected)
{
	if (SPI_execute_with_args(sql, n, row->types, row->values, row->nulls,
							  false, 0) != expected)
		elog(ERROR, "could not write into onboard_history");
}

/* Instead of the row that says that it has begun. */
static void
insert(Oid schema, const ObRun *run, const char *role)
{
	const char *quoted = quote_identifier(get_namespace_name(schema));
	Row row;

	make_row(&row, run, role);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	execute(psprintf("DELETE FROM %s.onboard_history WHERE run_id = $1 AND "
					 "name = $2",
					 quoted),
			2, &row, SPI_OK_DELETE);
	execute(psprintf("INSERT INTO %s.onboard_history (run_id, name, role, "
					 "source, query, status, uri, files, rows, raw_bytes, "
					 "bytes, parts, retries, started, ended, lsn, pid, error, "
					 "sqlstate) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, "
					 "$10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
					 quoted),
			COLUMNS, &row, SPI_OK_INSERT);
	SPI_finish();
}

static void
write_row(Oid schema, const ObRun *run)
{
	char *role = GetUserNameFromId(GetUserId(), false);
	Oid user;
	int context;

	GetUserIdAndSecContext(&user, &context);
	/* an error in between restores both at the (sub)transaction's abort */
	SetUserIdAndSecContext(owner_of_runs(schema),
						   context | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_NOFORCE_RLS);
	insert(schema, run, role);
	SetUserIdAndSecContext(user, context);
}

static bool
can_write(void)
{
	return !RecoveryInProgress() && !XactReadOnly;
}

void
ob_history_begin(Oid schema, const ObRun *run)
{
	if (can_write())
		write_row(schema, run);
}

void
ob_history_end(Oid schema, const ObRun *run)
{
	if (can_write())
		write_row(schema, run);
	else
		log_run(run);
}

/* An advisory lock of a class of its own; users' have 1 and 2. */
#define LOCK_CLASS 3

bool
ob_history_hold(const pg_uuid_t *run_id)
{
	const unsigned char *bytes = run_id->data;
	uint32 halves[2] = {0, 0};
	LOCKTAG tag;

	for (int i = 0; i < 8; i++)
		halves[i / 4] = halves[i / 4] << 8 | bytes[i];
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, halves[0], halves[1], LOCK_CLASS);
	return LockAcquire(&tag, ExclusiveLock, false, true) !=
		   LOCKACQUIRE_NOT_AVAIL;
}
