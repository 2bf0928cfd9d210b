/*
 * run_wait.c
 *		Mode wait: several connections export at a time, all in one loop.
 *
 * src/lambda/run/run_wait.c
 *
 * A slot is a connection that exports one table after another.  Slots are
 * spread over the databases of all secrets, primary and standbys.  Shortly
 * before the deadline, running exports are cancelled, and their tables are
 * reported as unfinished.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lambda/report/log.h"
#include "lambda/run/run.h"

#define TRIES 3
#define DRAIN_MS 1000

/*
 * A table is exported unless another delivery of the same event has done so or
 * is doing so.  The lock, which goes with the transaction, is taken by a
 * statement of its own: the next one's snapshot then shows the rows that the
 * previous holder has committed.  A single statement would use a snapshot that
 * is older than its lock.
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

typedef enum SlotState
{
	SLOT_CLOSED,
	SLOT_CONNECTING,
	SLOT_BEGINNING,
	SLOT_LOCKING,
	SLOT_EXPORTING,
	SLOT_COMMITTING,
	SLOT_PAUSING, /* before another try */
	SLOT_ENDED
} SlotState;

typedef struct Slot
{
	struct Slots *slots;
	OblConnection connection;
	OblSecret *secret;
	SlotState state;
	bool refused;              /* the password was refused once */
	char version[OBL_VERSION]; /* the version of the secret that was used */
	int64_t open_at_ms;        /* of SLOT_PAUSING */
	OblTable *table;           /* NULL: none */
} Slot;

typedef struct Slots
{
	OblRun *run;
	Slot *slots;
	int n;
	int open; /* slots that have not ended */
	bool cancelled;
} Slots;

static OblTable *
next_table(Slots *slots)
{
	OblResult *result = &slots->run->result;

	for (int i = 0; i < result->ntables; i++)
	{
		if (result->tables[i].state == OBL_TABLE_WAITING)
			return &result->tables[i];
	}
	return NULL;
}

static void
end_slot(Slot *slot)
{
	if (slot->connection.conn)
		obl_connection_close(&slot->connection);
	slot->state = SLOT_ENDED;
	slot->slots->open--;
}

static void
send(Slot *slot, SlotState state, const char *sql, int n,
	 const char *const *values)
{
	slot->state = state;
	obl_connection_send(&slot->connection, sql, n, values);
}

static void
begin_table(Slot *slot)
{
	OblTable *table = next_table(slot->slots);

	if (!table || slot->slots->cancelled)
	{
		end_slot(slot);
		return;
	}
	table->state = OBL_TABLE_RUNNING;
	table->attempts++;
	slot->table = table;
	send(slot, SLOT_BEGINNING, begin, 0, NULL);
}

static void
lock(Slot *slot)
{
	const char *values[] = {slot->table->name,
							slot->slots->run->result.run_id};

	send(slot, SLOT_LOCKING, lock_table, 2, values);
}

static void
export_table(Slot *slot)
{
	const OblRun *run = slot->slots->run;
	const char *values[] = {slot->table->name, slot->table->query,
							run->config->bucket, run->options,
							run->result.run_id};

	send(slot, SLOT_EXPORTING, export_if_new, 5, values);
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
					   "", "");
	table->landed_before = is_true(result, 3);
}

static bool
has_another_try(const Slot *slot)
{
	return slot->table->attempts < TRIES && !slot->slots->cancelled;
}

static void
read_failure(Slot *slot)
{
	const OblConnection *connection = &slot->connection;
	OblTable *table = slot->table;

	if (connection->class == OBL_CLASS_CANCEL && slot->slots->cancelled)
		table->state = OBL_TABLE_DEADLINE;
	else if (connection->class == OBL_CLASS_AGAIN && has_another_try(slot))
		table->state = OBL_TABLE_WAITING;
	else
		obl_table_fail(table, connection->sqlstate, connection->message,
					   connection->detail);
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
pause_slot(Slot *slot, int try)
{
	obl_connection_close(&slot->connection);
	slot->state = SLOT_PAUSING;
	slot->open_at_ms = ob_http_now_ms() + obl_run_delay(try);
}

/* Ends the work on a table, whose transaction may still be open. */
static void
finish_table(Slot *slot)
{
	log_table(slot->table);
	slot->table = NULL;
}

static void
statement_failed(Slot *slot)
{
	const char *sqlstate = slot->connection.sqlstate;
	bool lost =
		strncmp(sqlstate, "08", 2) == 0 || strncmp(sqlstate, "57P", 3) == 0;
	int attempts = slot->table ? slot->table->attempts : 1;

	if (slot->table)
	{
		read_failure(slot);
		finish_table(slot);
	}
	if (lost)
		pause_slot(slot, attempts);
	else if (slot->state == SLOT_COMMITTING)
		begin_table(slot);
	else
		send(slot, SLOT_COMMITTING, commit, 0, NULL);
}

static void
lock_ended(Slot *slot, bool acquired)
{
	if (acquired && !slot->slots->cancelled)
	{
		export_table(slot);
		return;
	}
	slot->table->state = acquired ? OBL_TABLE_DEADLINE : OBL_TABLE_SKIPPED;
	finish_table(slot);
	send(slot, SLOT_COMMITTING, commit, 0, NULL);
}

static void
statement_done(Slot *slot, const PGresult *result)
{
	switch (slot->state)
	{
		case SLOT_BEGINNING:
			lock(slot);
			break;
		case SLOT_LOCKING:
			lock_ended(slot, is_true(result, 0));
			break;
		case SLOT_EXPORTING:
			read_landed(slot->table, result);
			send(slot, SLOT_COMMITTING, commit, 0, NULL);
			break;
		default:
			if (slot->table)
				finish_table(slot);
			begin_table(slot);
	}
}

/* ---- connecting ---- */

/* Fails all remaining tables with the error of a slot, if no slot is left to
 * take them. */
static void
fail_remaining(Slots *slots, const char *sqlstate, const char *message)
{
	OblTable *table;

	if (slots->open > 0)
		return;
	while ((table = next_table(slots)) != NULL)
	{
		table->attempts++;
		obl_table_fail(table, sqlstate, message, NULL);
	}
}

static void
give_up(Slot *slot)
{
	const OblConnection *connection = &slot->connection;

	obl_log(OBL_WARN, "no connection", "sqlstate", connection->sqlstate,
			"message", connection->message, NULL);
	end_slot(slot);
	fail_remaining(slot->slots, connection->sqlstate, connection->message);
}

static void
not_connected(Slot *slot)
{
	OblConnection *connection = &slot->connection;
	Slots *slots = slot->slots;

	if (connection->class == OBL_CLASS_LOGIN && !slot->refused)
	{
		slot->refused = true;
		pause_slot(slot, 1);
		return;
	}
	if ((connection->class == OBL_CLASS_AGAIN ||
		 (connection->class == OBL_CLASS_FULL && slots->open == 1)) &&
		++slot->connection.tries < TRIES)
	{
		pause_slot(slot, slot->connection.tries);
		return;
	}
	/* there are too many connections, so this slot is given up */
	give_up(slot);
}

static void
on_done(OblConnection *connection, PGresult *result)
{
	Slot *slot = connection->arg;

	if (slot->state == SLOT_CONNECTING)
	{
		if (connection->class == OBL_CLASS_OK)
			begin_table(slot);
		else
			not_connected(slot);
	}
	else if (connection->class == OBL_CLASS_OK)
		statement_done(slot, result);
	else
		statement_failed(slot);
}

/* Fetches the secret again if the cached one was refused.  The same password
 * is not tried a second time, which might lock the role. */
static ObCode
get_secret(Slot *slot, bool *same, ObError *error)
{
	OblSecret *secret = slot->secret;

	*same = slot->refused && strcmp(slot->version, secret->version) == 0;
	if (obl_secret_get(secret, &slot->slots->run->aws, *same, NULL, error) !=
		OB_OK)
		return error->code;
	*same = *same && strcmp(slot->version, secret->version) == 0;
	memcpy(slot->version, secret->version, sizeof(slot->version));
	return OB_OK;
}

/* Opens a slot's connection; called outside of the loop's callbacks, since it
 * may have to fetch the secret. */
static ObCode
open_slot(Slot *slot, ObError *error)
{
	OblRun *run = slot->slots->run;
	int tries = slot->connection.tries;
	bool same;

	if (get_secret(slot, &same, error) != OB_OK)
		return error->code;
	if (same)
	{
		give_up(slot);
		return OB_OK;
	}
	memset(&slot->connection, 0, sizeof(slot->connection));
	slot->connection.tries = tries;
	slot->connection.loop = run->aws.loop;
	slot->connection.done = on_done;
	slot->connection.arg = slot;
	slot->state = SLOT_CONNECTING;
	obl_connection_open(&slot->connection, slot->secret, run->request_id,
						run->deadline_ms);
	return OB_OK;
}

/* ---- the whole ---- */

/* Returns the time at which the first pausing slot continues; -1: no slot is
 * pausing. */
static int64_t
next_opening(const Slots *slots)
{
	int64_t next = -1;

	for (int i = 0; i < slots->n; i++)
	{
		const Slot *slot = &slots->slots[i];

		if (slot->state == SLOT_PAUSING &&
			(next < 0 || slot->open_at_ms < next))
			next = slot->open_at_ms;
	}
	return next;
}

static ObCode
open_slots(Slots *slots, ObError *error)
{
	int64_t now = ob_http_now_ms();

	for (int i = 0; i < slots->n; i++)
	{
		Slot *slot = &slots->slots[i];

		if (slot->state == SLOT_PAUSING && slot->open_at_ms <= now)
		{
			if (!next_table(slots))
				end_slot(slot);
			else if (open_slot(slot, error) != OB_OK)
				return error->code;
		}
	}
	return OB_OK;
}

/* Cancels all exports shortly before the deadline. */
static void
cancel_all(Slots *slots)
{
	OblTable *table;

	slots->cancelled = true;
	while ((table = next_table(slots)) != NULL)
		table->state = OBL_TABLE_DEADLINE;
	for (int i = 0; i < slots->n; i++)
	{
		Slot *slot = &slots->slots[i];

		if (slot->state == SLOT_EXPORTING)
			obl_connection_cancel(&slot->connection);
		/* other statements end by themselves */
		else if (slot->state != SLOT_ENDED && !slot->table)
			end_slot(slot);
	}
}

/* Closes the slots that have not responded to the cancel: the server ends
 * their sessions, since the client is gone. */
static void
close_slots(Slots *slots)
{
	for (int i = 0; i < slots->n; i++)
	{
		Slot *slot = &slots->slots[i];

		if (slot->state == SLOT_ENDED)
			continue;
		if (slot->table)
			slot->table->state = OBL_TABLE_DEADLINE;
		end_slot(slot);
	}
}

static ObCode
run_slots(Slots *slots, ObError *error)
{
	int64_t end = slots->run->deadline_ms;

	while (slots->open > 0)
	{
		int64_t until = next_opening(slots);

		if (open_slots(slots, error) != OB_OK)
			return error->code;
		if (ob_http_now_ms() >= end)
		{
			if (slots->cancelled)
				break;
			cancel_all(slots);
			end += DRAIN_MS;
			continue;
		}
		if (until < 0 || until > end)
			until = end;
		if (slots->open > 0 &&
			!obl_loop_step(slots->run->aws.loop, until, error))
			return error->code;
	}
	return OB_OK;
}

ObCode
obl_run_wait(OblRun *run, ObError *error)
{
	Slots slots = {.run = run};
	int wanted = obl_result_count(&run->result, OBL_TABLE_WAITING);

	slots.n =
		wanted < run->config->concurrency ? wanted : run->config->concurrency;
	slots.open = slots.n;
	slots.slots = calloc(slots.n + 1, sizeof(Slot));
	if (!slots.slots)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	for (int i = 0; i < slots.n; i++)
	{
		slots.slots[i].slots = &slots;
		slots.slots[i].secret = &run->secrets[i % run->config->nsecrets];
		slots.slots[i].state = SLOT_PAUSING;
	}
	(void) run_slots(&slots, error);
	close_slots(&slots);
	free(slots.slots);
	return error->code;
}
