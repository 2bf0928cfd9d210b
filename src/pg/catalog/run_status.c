/*
 * run_status.c
 *		The status of a run, from its rows and its process.
 *
 * src/pg/catalog/run_status.c
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "pg/catalog/history.h"
#include "pg/base/own_query.h"
#include "pg/catalog/run_lock.h"
#include "pg/catalog/run_status.h"

/* ---- asking ---- */

typedef struct Question
{
	const char *sql; /* may have a %s for the schema */
	ObParameters parameters;
	void (*answer)(void *arg); /* reads SPI_tuptable */
	void *arg;
} Question;

static void
run_question(Oid schema, void *arg)
{
	Question *question = arg;
	const ObOwnQuery query = {
		.sql = question->sql,
		.parameters = &question->parameters,
		.result = SPI_OK_SELECT,
	};

	/* PostgreSQL takes no new snapshot in a parallel operation */
	if (IsInParallelMode())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot look up a run during a parallel operation"),
				 errhint("Mark the function that does it PARALLEL UNSAFE.")));
	PushActiveSnapshot(GetLatestSnapshot());
	ob_own_query(schema, &query);
	question->answer(question->arg);
	PopActiveSnapshot();
}

/* ---- whose run it is ---- */

typedef struct Owners
{
	const pg_uuid_t *run_id;
	bool working; /* only roles whose process works on it */
	bool own;
	int n; /* number of other roles */
	Oid other;
} Owners;

static void
add_owner(Owners *owners, Oid role)
{
	if (role == GetUserId())
		owners->own = true;
	else if (owners->n == 0 || role != owners->other)
	{
		owners->other = role;
		owners->n++;
	}
}

static void
read_owners(void *arg)
{
	Owners *owners = arg;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		Oid role = DatumGetObjectId(ob_own_column(i, 1, &isnull));

		if (!owners->working || ob_run_pid(role, owners->run_id) != 0)
			add_owner(owners, role);
	}
}

static bool
may_read(Oid schema)
{
	Oid table = get_relname_relid("onboard_history", schema);

	return OidIsValid(table) &&
		   pg_class_aclcheck(table, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

/* A run has rows, or none yet but a process that works on it. */
static void
find_owners(Oid schema, Owners *owners)
{
	Question rows = {
		.sql = "SELECT DISTINCT role_id FROM %s.onboard_history WHERE run_id "
			   "= $1",
		.answer = read_owners,
		.arg = owners,
	};
	Question roles = {
		.sql = "SELECT oid FROM pg_catalog.pg_roles WHERE pg_has_role(oid, "
			   "'MEMBER')",
		.answer = read_owners,
		.arg = owners,
	};

	owners->own = ob_run_pid(GetUserId(), owners->run_id) != 0;
	ob_parameter_uuid(&rows.parameters, owners->run_id);
	if (!owners->own && may_read(schema))
		ob_as_caller(schema, run_question, &rows);
	owners->working = true;
	if (!owners->own && owners->n == 0 && ob_run_any_is_locked())
		ob_as_caller(schema, run_question, &roles);
}

bool
ob_run_find_role(Oid schema, const pg_uuid_t *run_id, Oid *role)
{
	Owners owners = {.run_id = run_id};

	find_owners(schema, &owners);
	if (!owners.own && owners.n > 1)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_PARAMETER),
				 errmsg("several roles have a run of that id"),
				 errhint("SET ROLE to the one that is meant: onboard_runs "
						 "shows them.")));
	*role = owners.own ? GetUserId() : owners.other;
	return owners.own || owners.n > 0;
}

/* ---- how far it is ---- */

typedef struct Reading
{
	bool held;
	int64 open;
	int64 bad;
	int64 seen;
	ObRunStatus *status;
} Reading;

bool
ob_status_is_open(const char *status)
{
	return strcmp(status, OB_STATUS_QUEUED) == 0 ||
		   strcmp(status, OB_STATUS_RUNNING) == 0;
}

/* A row without a name is the run's own. */
static void
count(Reading *reading, const char *name, const char *status)
{
	ObRunStatus *to = reading->status;
	bool open = ob_status_is_open(status);
	bool done = strcmp(status, OB_STATUS_DONE) == 0;
	bool empty = strcmp(status, OB_STATUS_EMPTY) == 0;
	bool table = name[0] != '\0';

	reading->seen++;
	reading->open += open;
	reading->bad += !open && !done && !empty;
	to->tables += table;
	to->done += table && done;
	to->empty += table && empty;
	to->failed += table && !done && !empty && !(open && reading->held);
}

static void
read_rows(void *arg)
{
	Reading *reading = arg;
	ObRunStatus *to = reading->status;
	bool all_ended = true;
	bool isnull;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		TimestampTz started =
			DatumGetTimestampTz(ob_own_column(i, 5, &isnull));
		TimestampTz ended = DatumGetTimestampTz(ob_own_column(i, 6, &isnull));

		all_ended = all_ended && !isnull;
		if (!isnull)
			to->ended = Max(to->ended, ended);
		if (i == 0 || started < to->started)
			to->started = started;
		to->rows += DatumGetInt64(ob_own_column(i, 3, &isnull));
		to->bytes += DatumGetInt64(ob_own_column(i, 4, &isnull));
		count(reading, ob_own_text(i, 1), ob_own_text(i, 2));
	}
	if (!all_ended)
		to->ended = 0;
}

void
ob_run_status(Oid schema, const pg_uuid_t *run_id, Oid role,
			  ObRunStatus *status)
{
	int pid = ob_run_pid(role, run_id);
	Reading reading = {.held = pid != 0, .status = status};
	Question question = {
		.sql = "SELECT name, status, rows, bytes, started, ended "
			   "FROM %s.onboard_history WHERE run_id = $1 AND role_id = $2",
		.answer = read_rows,
		.arg = &reading,
	};

	memset(status, 0, sizeof(*status));
	ob_parameter_uuid(&question.parameters, run_id);
	ob_parameter_oid(&question.parameters, role);
	ob_as_caller(schema, run_question, &question);
	/* the manifest may come after the last table */
	if ((pid != 0 && pid != MyProcPid) || (reading.held && reading.open > 0))
		status->status = OB_STATUS_RUNNING;
	else if (reading.seen == 0)
		status->status = NULL;
	else if (reading.open > 0)
		status->status = OB_STATUS_LOST;
	else
		status->status = reading.bad > 0 ? OB_STATUS_FAILED : OB_STATUS_DONE;
}

/* ---- one row ---- */

static void
read_whether(void *arg)
{
	*(bool *) arg = SPI_processed > 0;
}

bool
ob_run_is_lost(Oid schema, const pg_uuid_t *run_id, Oid role, const char *name)
{
	bool open = false;
	Question question = {
		.sql = "SELECT FROM %s.onboard_history WHERE run_id = $1 AND "
			   "role_id = $2 AND name = $3 AND ended IS NULL",
		.answer = read_whether,
		.arg = &open,
	};

	if (ob_run_pid(role, run_id) != 0)
		return false;
	ob_parameter_uuid(&question.parameters, run_id);
	ob_parameter_oid(&question.parameters, role);
	ob_parameter_text(&question.parameters, name);
	ob_as_caller(schema, run_question, &question);
	return open;
}
