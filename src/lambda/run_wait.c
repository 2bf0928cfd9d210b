/*
 * run_wait.c
 *		Mode wait: a connection for each table at a time, all in one loop.
 *
 * src/lambda/run_wait.c
 *
 * A lane is a connection that exports one table after another.  Lanes are
 * spread over the databases of all secrets, primary and standbys.  When the
 * time is nearly up, what runs is cancelled, and the tables are told as such.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lambda/log.h"
#include "lambda/run.h"

#define TRIES 3
#define DRAIN_MS 1000

/*
 * A table is exported unless another delivery of the same event has done so or
 * is at it.  The lock, which goes with the transaction, is taken by a
 * statement of its own: the next one's snapshot then shows what whoever had it
 * before has committed.  A single statement would look with a snapshot that is
 * older than its lock.
 */
static const char begin[] = "BEGIN ISOLATION LEVEL READ COMMITTED";
static const char lock_table[] =
	"SELECT pg_catalog.pg_try_advisory_xact_lock("
	"pg_catalog.hashtextextended($2 || '/' || $1, 0))";
static const char export_if_new[] =
	"WITH before AS (SELECT status, rows, bytes FROM onboard_runs"
	" WHERE run_id = $5::uuid AND role = current_user AND name = $1"
	" AND status IN ('done', 'empty'))"
	" SELECT status, rows, bytes, true FROM before"
	" UNION ALL SELECT e.status, e.rows, e.bytes, false"
	" FROM onboard_table($1, $2, $3, $4::jsonb, $5::uuid) e"
	" WHERE NOT EXISTS (SELECT FROM before)";
static const char commit[] = "COMMIT"; /* a rollback, after an error */

typedef enum LaneState
{
	LANE_CLOSED,
	LANE_CONNECTING,
	LANE_BEGINNING,
	LANE_LOCKING,
	LANE_EXPORTING,
	LANE_COMMITTING,
	LANE_PAUSING, /* before another try */
	LANE_ENDED
} LaneState;

typedef struct Lane
{
	struct Lanes *lanes;
	OblConnection connection;
	OblSecret *secret;
	LaneState state;
	bool refused;              /* the password was, once */
	char version[OBL_VERSION]; /* of the secret that was logged in with */
	int64_t open_at_ms;        /* of LANE_PAUSING */
	OblTable *table;           /* NULL: none */
} Lane;

typedef struct Lanes
{
	OblRun *run;
	Lane *lanes;
	int n;
	int open; /* lanes that have not ended */
	bool cancelled;
} Lanes;

static OblTable *
next_table(Lanes *lanes)
{
	OblResult *result = &lanes->run->result;

	for (int i = 0; i < result->ntables; i++)
	{
		if (result->tables[i].state == OBL_TABLE_WAITING)
			return &result->tables[i];
	}
	return NULL;
}

static void
end_lane(Lane *lane)
{
	if (lane->connection.conn)
		obl_connection_close(&lane->connection);
	lane->state = LANE_ENDED;
	lane->lanes->open--;
}

static void
send(Lane *lane, LaneState state, const char *sql, int n,
	 const char *const *values)
{
	lane->state = state;
	obl_connection_send(&lane->connection, sql, n, values);
}

static void
begin_table(Lane *lane)
{
	OblTable *table = next_table(lane->lanes);

	if (!table || lane->lanes->cancelled)
	{
		end_lane(lane);
		return;
	}
	table->state = OBL_TABLE_RUNNING;
	table->attempts++;
	lane->table = table;
	send(lane, LANE_BEGINNING, begin, 0, NULL);
}

static void
lock(Lane *lane)
{
	const char *values[] = {lane->table->name,
							lane->lanes->run->result.run_id};

	send(lane, LANE_LOCKING, lock_table, 2, values);
}

static void
export_table(Lane *lane)
{
	const OblRun *run = lane->lanes->run;
	const char *values[] = {lane->table->name, lane->table->query,
							run->config->bucket, run->options,
							run->result.run_id};

	send(lane, LANE_EXPORTING, export_if_new, 5, values);
}

/* ---- how a table ended ---- */

static bool
is_true(const PGresult *result, int column)
{
	return PQntuples(result) == 1 &&
		   strcmp(PQgetvalue(result, 0, column), "t") == 0;
}

static void
read_landed(OblTable *table, const PGresult *result)
{
	obl_table_read_row(table, PQgetvalue(result, 0, 0),
					   PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2), "",
					   "");
	table->landed_before = is_true(result, 3);
}

static bool
has_another_try(const Lane *lane)
{
	return lane->table->attempts < TRIES && !lane->lanes->cancelled;
}

static void
read_failure(Lane *lane)
{
	const OblConnection *connection = &lane->connection;
	OblTable *table = lane->table;

	if (connection->class == OBL_CLASS_CANCEL && lane->lanes->cancelled)
		table->state = OBL_TABLE_DEADLINE;
	else if (connection->class == OBL_CLASS_AGAIN && has_another_try(lane))
		table->state = OBL_TABLE_WAITING;
	else
		obl_table_fail(table, connection->sqlstate, connection->message);
}

static void
log_table(const OblTable *table)
{
	char rows[32];

	snprintf(rows, sizeof(rows), "%lld", (long long) table->rows);
	if (table->state == OBL_TABLE_FAILED)
		obl_log(OBL_ERROR, "table failed", "table", table->name, "sqlstate",
				table->sqlstate, "message", table->message, NULL);
	else if (table->state == OBL_TABLE_SKIPPED)
		obl_log(OBL_INFO, "table skipped", "table", table->name, NULL);
	else if (table->landed_before)
		obl_log(OBL_INFO, "table landed before", "table", table->name, NULL);
	else if (table->state == OBL_TABLE_DONE || table->state == OBL_TABLE_EMPTY)
		obl_log(OBL_INFO, "table exported", "table", table->name, "rows", rows,
				NULL);
}

static void
pause_lane(Lane *lane, int try)
{
	obl_connection_close(&lane->connection);
	lane->state = LANE_PAUSING;
	lane->open_at_ms = ob_http_now_ms() + obl_run_delay(try);
}

/* Nothing of it is open any more, but perhaps the transaction. */
static void
leave_table(Lane *lane)
{
	log_table(lane->table);
	lane->table = NULL;
}

static void
statement_failed(Lane *lane)
{
	const char *sqlstate = lane->connection.sqlstate;
	bool lost =
		strncmp(sqlstate, "08", 2) == 0 || strncmp(sqlstate, "57P", 3) == 0;
	int attempts = lane->table ? lane->table->attempts : 1;

	if (lane->table)
	{
		read_failure(lane);
		leave_table(lane);
	}
	if (lost)
		pause_lane(lane, attempts);
	else if (lane->state == LANE_COMMITTING)
		begin_table(lane);
	else
		send(lane, LANE_COMMITTING, commit, 0, NULL);
}

static void
lock_ended(Lane *lane, bool mine)
{
	if (mine && !lane->lanes->cancelled)
	{
		export_table(lane);
		return;
	}
	lane->table->state = mine ? OBL_TABLE_DEADLINE : OBL_TABLE_SKIPPED;
	leave_table(lane);
	send(lane, LANE_COMMITTING, commit, 0, NULL);
}

static void
statement_done(Lane *lane, const PGresult *result)
{
	switch (lane->state)
	{
		case LANE_BEGINNING:
			lock(lane);
			break;
		case LANE_LOCKING:
			lock_ended(lane, is_true(result, 0));
			break;
		case LANE_EXPORTING:
			read_landed(lane->table, result);
			send(lane, LANE_COMMITTING, commit, 0, NULL);
			break;
		default:
			if (lane->table)
				leave_table(lane);
			begin_table(lane);
	}
}

/* ---- connecting ---- */

/* Every table that is left fails with what a lane says, if no lane is left to
 * take it. */
static void
fail_rest(Lanes *lanes, const char *sqlstate, const char *message)
{
	OblTable *table;

	if (lanes->open > 0)
		return;
	while ((table = next_table(lanes)) != NULL)
	{
		table->attempts++;
		obl_table_fail(table, sqlstate, message);
	}
}

static void
give_up(Lane *lane)
{
	const OblConnection *connection = &lane->connection;

	obl_log(OBL_WARN, "no connection", "sqlstate", connection->sqlstate,
			"message", connection->message, NULL);
	end_lane(lane);
	fail_rest(lane->lanes, connection->sqlstate, connection->message);
}

static void
not_connected(Lane *lane)
{
	OblConnection *connection = &lane->connection;
	Lanes *lanes = lane->lanes;

	if (connection->class == OBL_CLASS_LOGIN && !lane->refused)
	{
		lane->refused = true;
		pause_lane(lane, 1);
		return;
	}
	if ((connection->class == OBL_CLASS_AGAIN ||
		 (connection->class == OBL_CLASS_FULL && lanes->open == 1)) &&
		++lane->connection.tries < TRIES)
	{
		pause_lane(lane, lane->connection.tries);
		return;
	}
	/* too many connections: fewer lanes */
	give_up(lane);
}

static void
on_done(OblConnection *connection, PGresult *result)
{
	Lane *lane = connection->arg;

	if (lane->state == LANE_CONNECTING)
	{
		if (connection->class == OBL_CLASS_OK)
			begin_table(lane);
		else
			not_connected(lane);
	}
	else if (connection->class == OBL_CLASS_OK)
		statement_done(lane, result);
	else
		statement_failed(lane);
}

/* The secret is asked for anew when the one at hand was refused; who has the
 * same password again does not try it again, which may lock the role. */
static ObCode
get_secret(Lane *lane, bool *same, ObError *error)
{
	OblSecret *secret = lane->secret;

	*same = lane->refused && strcmp(lane->version, secret->version) == 0;
	if (obl_secret_get(secret, &lane->lanes->run->aws, *same, NULL, error) !=
		OB_OK)
		return error->code;
	*same = *same && strcmp(lane->version, secret->version) == 0;
	memcpy(lane->version, secret->version, sizeof(lane->version));
	return OB_OK;
}

/* Outside of the loop's callbacks: it may have to ask for the secret. */
static ObCode
open_lane(Lane *lane, ObError *error)
{
	OblRun *run = lane->lanes->run;
	int tries = lane->connection.tries;
	bool same;

	if (get_secret(lane, &same, error) != OB_OK)
		return error->code;
	if (same)
	{
		give_up(lane);
		return OB_OK;
	}
	memset(&lane->connection, 0, sizeof(lane->connection));
	lane->connection.tries = tries;
	lane->connection.loop = run->aws.loop;
	lane->connection.done = on_done;
	lane->connection.arg = lane;
	lane->state = LANE_CONNECTING;
	obl_connection_open(&lane->connection, lane->secret, run->request_id,
						run->deadline_ms);
	return OB_OK;
}

/* ---- the whole ---- */

/* When the first of those that pause goes on; -1: none does. */
static int64_t
next_opening(const Lanes *lanes)
{
	int64_t next = -1;

	for (int i = 0; i < lanes->n; i++)
	{
		const Lane *lane = &lanes->lanes[i];

		if (lane->state == LANE_PAUSING &&
			(next < 0 || lane->open_at_ms < next))
			next = lane->open_at_ms;
	}
	return next;
}

static ObCode
open_lanes(Lanes *lanes, ObError *error)
{
	int64_t now = ob_http_now_ms();

	for (int i = 0; i < lanes->n; i++)
	{
		Lane *lane = &lanes->lanes[i];

		if (lane->state == LANE_PAUSING && lane->open_at_ms <= now)
		{
			if (!next_table(lanes))
				end_lane(lane);
			else if (open_lane(lane, error) != OB_OK)
				return error->code;
		}
	}
	return OB_OK;
}

/* The time is nearly up. */
static void
cancel_all(Lanes *lanes)
{
	OblTable *table;

	lanes->cancelled = true;
	while ((table = next_table(lanes)) != NULL)
		table->state = OBL_TABLE_DEADLINE;
	for (int i = 0; i < lanes->n; i++)
	{
		Lane *lane = &lanes->lanes[i];

		if (lane->state == LANE_EXPORTING)
			obl_connection_cancel(&lane->connection);
		/* (other statements end by themselves) */
		else if (lane->state != LANE_ENDED && !lane->table)
			end_lane(lane);
	}
}

/* Who has not answered the cancel is left alone: the server ends it, since its
 * client is gone. */
static void
abandon(Lanes *lanes)
{
	for (int i = 0; i < lanes->n; i++)
	{
		Lane *lane = &lanes->lanes[i];

		if (lane->state == LANE_ENDED)
			continue;
		if (lane->table)
			lane->table->state = OBL_TABLE_DEADLINE;
		end_lane(lane);
	}
}

static ObCode
go(Lanes *lanes, ObError *error)
{
	int64_t end = lanes->run->deadline_ms;

	while (lanes->open > 0)
	{
		int64_t until = next_opening(lanes);

		if (open_lanes(lanes, error) != OB_OK)
			return error->code;
		if (ob_http_now_ms() >= end)
		{
			if (lanes->cancelled)
				break;
			cancel_all(lanes);
			end += DRAIN_MS;
			continue;
		}
		if (until < 0 || until > end)
			until = end;
		if (lanes->open > 0 &&
			!obl_loop_step(lanes->run->aws.loop, until, error))
			return error->code;
	}
	return OB_OK;
}

ObCode
obl_run_wait(OblRun *run, ObError *error)
{
	Lanes lanes = {.run = run};
	int wanted = obl_result_count(&run->result, OBL_TABLE_WAITING);

	lanes.n =
		wanted < run->config->concurrency ? wanted : run->config->concurrency;
	lanes.open = lanes.n;
	lanes.lanes = calloc(lanes.n + 1, sizeof(Lane));
	if (!lanes.lanes)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	for (int i = 0; i < lanes.n; i++)
	{
		lanes.lanes[i].lanes = &lanes;
		lanes.lanes[i].secret = &run->secrets[i % run->config->nsecrets];
		lanes.lanes[i].state = LANE_PAUSING;
	}
	(void) go(&lanes, error);
	abandon(&lanes);
	free(lanes.lanes);
	return error->code;
}
