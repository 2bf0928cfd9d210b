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
 * The table is exported unless another delivery of the same event has done so
 * or is at it.  The lock goes with the transaction.
 */
static const char export_table[] =
	"SELECT e.status, e.rows, e.bytes FROM ("
	"SELECT pg_catalog.pg_try_advisory_xact_lock("
	"pg_catalog.hashtextextended($5 || '/' || $1, 0)) AS mine) l,"
	" LATERAL onboard_table($1, $2, $3, $4::jsonb, $5::uuid) e"
	" WHERE l.mine AND NOT EXISTS (SELECT FROM onboard_runs r"
	" WHERE r.run_id = $5::uuid AND r.name = $1"
	" AND r.status IN ('done', 'empty'))";

typedef enum LaneState
{
	LANE_CLOSED,
	LANE_CONNECTING,
	LANE_EXPORTING,
	LANE_PAUSING, /* before another try */
	LANE_ENDED
} LaneState;

typedef struct Lane
{
	struct Lanes *lanes;
	OblConnection connection;
	OblSecret *secret;
	LaneState state;
	bool renewed;       /* the secret was fetched again */
	bool renew;         /* it has to be */
	int64_t open_at_ms; /* of LANE_PAUSING */
	OblTable *table;    /* NULL: none */
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
send_table(Lane *lane)
{
	const OblRun *run = lane->lanes->run;
	OblTable *table = next_table(lane->lanes);
	const char *values[5];

	if (!table || lane->lanes->cancelled)
	{
		end_lane(lane);
		return;
	}
	table->state = OBL_TABLE_RUNNING;
	table->attempts++;
	lane->table = table;
	lane->state = LANE_EXPORTING;
	values[0] = table->name;
	values[1] = table->query;
	values[2] = run->config->bucket;
	values[3] = run->options;
	values[4] = run->result.run_id;
	obl_connection_send(&lane->connection, export_table, 5, values);
}

/* ---- how a table ended ---- */

static void
read_landed(OblTable *table, const PGresult *result)
{
	if (PQntuples(result) == 0)
	{
		table->state = OBL_TABLE_SKIPPED;
		return;
	}
	obl_run_read_row(table, PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1),
					 PQgetvalue(result, 0, 2), "", "");
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
		obl_run_fail(table, connection->sqlstate, connection->message);
}

static void
log_table(const OblTable *table)
{
	char rows[32];

	snprintf(rows, sizeof(rows), "%lld", (long long) table->rows);
	if (table->state == OBL_TABLE_FAILED)
		obl_log(OBL_ERROR, "table failed", "table", table->name, "sqlstate",
				table->sqlstate, "message", table->message, NULL);
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

static void
table_ended(Lane *lane, const PGresult *result)
{
	OblConnection *connection = &lane->connection;
	OblTable *table = lane->table;
	int attempts = table->attempts;
	bool lost = strncmp(connection->sqlstate, "08", 2) == 0 ||
				strncmp(connection->sqlstate, "57P", 3) == 0;

	if (connection->class == OBL_CLASS_OK)
		read_landed(table, result);
	else
		read_failure(lane);
	log_table(table);
	lane->table = NULL;
	if (lost)
		pause_lane(lane, attempts);
	else
		send_table(lane);
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
		obl_run_fail(table, sqlstate, message);
	}
}

static void
not_connected(Lane *lane)
{
	OblConnection *connection = &lane->connection;
	Lanes *lanes = lane->lanes;

	if (connection->class == OBL_CLASS_LOGIN && !lane->renewed)
	{
		lane->renew = true;
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
	obl_log(OBL_WARN, "no connection", "sqlstate", connection->sqlstate,
			"message", connection->message, NULL);
	end_lane(lane);
	fail_rest(lanes, connection->sqlstate, connection->message);
}

static void
on_done(OblConnection *connection, PGresult *result)
{
	Lane *lane = connection->arg;

	if (lane->state == LANE_EXPORTING)
		table_ended(lane, result);
	else if (connection->class != OBL_CLASS_OK)
		not_connected(lane);
	else
		send_table(lane);
}

/* Outside of the loop's callbacks: it may have to ask for the secret. */
static ObCode
open_lane(Lane *lane, ObError *error)
{
	OblRun *run = lane->lanes->run;
	int tries = lane->connection.tries;

	if (obl_secret_get(lane->secret, &run->aws, lane->renew, NULL, error) !=
		OB_OK)
		return error->code;
	if (lane->renew)
	{
		lane->renewed = true;
		lane->renew = false;
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
		else if (lane->state != LANE_ENDED)
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
