/*
 * progress.c
 *		The progress of the exports of this database.
 *
 * src/pg/catalog/progress.c
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "commands/progress.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/acl.h"

#include "pg/base/compat.h"
#include "pg/catalog/progress.h"

/* The parameters after those that COPY uses, up to PostgreSQL 18.  Small
 * numbers share one. */
#define OURS 7       /* MAGIC, and the pid of the leader */
#define RUN_ID 8     /* and 9 */
#define COUNTERS 10  /* phase 8 bits, in flight 8, parts 16, retries 32 */
#define ROLE 11      /* 32 bits, and 16 of the name's length */
#define ESTIMATED 12 /* bytes */
#define STARTED 13
#define BYTES 14
#define NAME 15 /* as many as are left */
#define NPARAMS PGSTAT_NUM_PROGRESS_PARAM
#define NAME_MAX_LEN ((NPARAMS - NAME) * (int) sizeof(int64))

#define MAGIC 0x6f6e7072

struct ObProgress
{
	int64 params[NPARAMS];
	/* the command that this export is a part of */
	ProgressCommandType outer;
	Oid outer_target;
	int64 outer_params[NPARAMS];
};

static int64
pair(uint32 high, uint32 low)
{
	return (int64) ((uint64) high << 32 | low);
}

static void
set_all(ProgressCommandType command, Oid target, const int64 *params)
{
	int numbers[NPARAMS];

	for (int i = 0; i < NPARAMS; i++)
		numbers[i] = i;
	pgstat_progress_start_command(command, target);
	pgstat_progress_update_multi_param(NPARAMS, numbers, params);
}

static void
set_label(int64 *params, const ObProgressLabel *label)
{
	int len = (int) strlen(label->name);

	params[PROGRESS_COPY_COMMAND] = PROGRESS_COPY_COMMAND_TO;
	params[PROGRESS_COPY_TYPE] = PROGRESS_COPY_TYPE_CALLBACK;
	params[OURS] = pair(MAGIC, (uint32) label->leader);
	memcpy(&params[RUN_ID], label->run_id.data, UUID_LEN);
	params[ROLE] = pair(GetUserId(), (uint32) Min(len, PG_UINT16_MAX));
	params[STARTED] = label->started;
	memcpy(&params[NAME], label->name,
		   pg_mbcliplen(label->name, len, NAME_MAX_LEN));
}

ObProgress *
ob_progress_begin(const ObProgressLabel *label)
{
	ObProgress *progress = palloc0(sizeof(ObProgress));

	StaticAssertStmt(UUID_LEN == 2 * sizeof(int64), "a uuid fits");
	if (MyBEEntry)
	{
		progress->outer = MyBEEntry->st_progress_command;
		progress->outer_target = MyBEEntry->st_progress_command_target;
		memcpy(progress->outer_params, MyBEEntry->st_progress_param,
			   sizeof(progress->outer_params));
	}
	set_label(progress->params, label);
	set_all(PROGRESS_COMMAND_COPY, InvalidOid, progress->params);
	return progress;
}

/* Whether the export is still shown.  A command within the query takes its
 * place: the COPY of a function, or an error that it catches. */
static bool
is_shown(const ObProgress *progress)
{
	return MyBEEntry &&
		   MyBEEntry->st_progress_command == PROGRESS_COMMAND_COPY &&
		   memcmp(&MyBEEntry->st_progress_param[OURS], &progress->params[OURS],
				  (COUNTERS - OURS) * sizeof(int64)) == 0;
}

void
ob_progress_show(ObProgress *progress, ObPhase phase, const ObFigures *figures,
				 int in_flight)
{
	static const int changing[] = {PROGRESS_COPY_BYTES_PROCESSED,
								   PROGRESS_COPY_TUPLES_PROCESSED, COUNTERS,
								   ESTIMATED, BYTES};
	int64 values[lengthof(changing)];
	int64 *params;

	if (!progress)
		return;
	params = progress->params;
	params[PROGRESS_COPY_BYTES_PROCESSED] = (int64) figures->raw_bytes;
	params[PROGRESS_COPY_TUPLES_PROCESSED] = (int64) figures->rows;
	params[COUNTERS] =
		pair((uint32) (phase << 24 | Min(in_flight, 255) << 16 |
					   (int) Min(figures->parts, PG_UINT16_MAX)),
			 (uint32) figures->retries);
	params[BYTES] = (int64) figures->bytes;
	if (!is_shown(progress))
	{
		set_all(PROGRESS_COMMAND_COPY, InvalidOid, params);
		return;
	}
	for (int i = 0; i < lengthof(changing); i++)
		values[i] = params[changing[i]];
	pgstat_progress_update_multi_param(lengthof(changing), changing, values);
}

void
ob_progress_estimate(ObProgress *progress, double bytes)
{
	if (progress)
		progress->params[ESTIMATED] = (int64) Min(bytes, 1e18);
}

void
ob_progress_end(ObProgress *progress)
{
	if (progress->outer == PROGRESS_COMMAND_INVALID)
		pgstat_progress_end_command();
	else
		set_all(progress->outer, progress->outer_target,
				progress->outer_params);
}

/* ---- reading ---- */

const char *
ob_phase_name(ObPhase phase)
{
	static const char *const names[] = {
		[OB_PHASE_QUERY] = "query",
		[OB_PHASE_UPLOAD] = "upload",
		[OB_PHASE_COMPLETE] = "complete",
	};

	return phase < lengthof(names) ? names[phase] : "unknown";
}

/* Returns NULL if the backend runs another command, or a COPY that is not an
 * export. */
static const PgBackendStatus *
status_of_export(int number)
{
	const PgBackendStatus *status = ob_backend_status(number);

	if (!status || status->st_procpid <= 0 ||
		status->st_databaseid != MyDatabaseId ||
		status->st_progress_command != PROGRESS_COMMAND_COPY ||
		(uint64) status->st_progress_param[OURS] >> 32 != MAGIC)
		return NULL;
	return status;
}

/* Whether the current user may see it: by the rule of the view onboard_runs,
 * as the session's own user, or as a monitor. */
static bool
may_see(const PgBackendStatus *status)
{
	Oid role = (Oid) ((uint64) status->st_progress_param[ROLE] >> 32);

	return is_member_of_role(GetUserId(), role) ||
		   has_privs_of_role(GetUserId(), status->st_userid) ||
		   has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
}

static ObPhase
read_figures(const int64 *params, ObFigures *figures, int *in_flight)
{
	uint32 counters = (uint32) ((uint64) params[COUNTERS] >> 32);

	figures->rows = (uint64) params[PROGRESS_COPY_TUPLES_PROCESSED];
	figures->raw_bytes = (uint64) params[PROGRESS_COPY_BYTES_PROCESSED];
	figures->bytes = (uint64) params[BYTES];
	figures->parts = counters & 0xffff;
	figures->retries = (int) params[COUNTERS];
	*in_flight = counters >> 16 & 0xff;
	return (ObPhase) (counters >> 24);
}

static ObProgressRow *
read_row(const PgBackendStatus *status)
{
	const int64 *params = status->st_progress_param;
	ObProgressRow *row = palloc0(sizeof(ObProgressRow));

	row->pid = status->st_procpid;
	memcpy(row->run_id.data, &params[RUN_ID], UUID_LEN);
	row->name = pnstrdup((const char *) &params[NAME], NAME_MAX_LEN);
	row->name_len = (int) (params[ROLE] & PG_UINT16_MAX);
	row->phase = read_figures(params, &row->figures, &row->in_flight);
	row->estimated_bytes = params[ESTIMATED];
	row->started = params[STARTED];
	return row;
}

static int
leader_of(const PgBackendStatus *status)
{
	return (int) (uint32) status->st_progress_param[OURS];
}

/* The work of a parallel worker is shown as its leader's. */
static void
add_worker(List *rows, const PgBackendStatus *status)
{
	ListCell *cell;

	foreach (cell, rows)
	{
		ObProgressRow *row = lfirst(cell);
		ObFigures figures = {0};
		int in_flight;

		if (row->pid != leader_of(status) ||
			memcmp(row->run_id.data, &status->st_progress_param[RUN_ID],
				   UUID_LEN) != 0)
			continue;
		(void) read_figures(status->st_progress_param, &figures, &in_flight);
		ob_figures_add(&row->figures, &figures);
		row->in_flight += in_flight;
	}
}

List *
ob_progress_list(void)
{
	int n = pgstat_fetch_stat_numbackends();
	List *rows = NIL;

	for (int i = 1; i <= n; i++)
	{
		const PgBackendStatus *status = status_of_export(i);

		if (status && leader_of(status) == status->st_procpid &&
			may_see(status))
			rows = lappend(rows, read_row(status));
	}
	for (int i = 1; i <= n; i++)
	{
		const PgBackendStatus *status = status_of_export(i);

		if (status && leader_of(status) != status->st_procpid)
			add_worker(rows, status);
	}
	return rows;
}
