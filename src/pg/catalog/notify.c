/*
 * notify.c
 *		Notifications that an export or a run has ended.
 *
 * src/pg/catalog/notify.c
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/async.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/timestamp.h"

#include "pg/base/errors.h"
#include "pg/base/json_writer.h"
#include "pg/catalog/notify.h"

/* The headers of GSS may not be installed and nothing here needs them.  libpq-
 * be.h keeps the offsets of its struct the same without them. */
#undef ENABLE_GSS
#include "libpq/libpq.h"

#define CHANNEL "onboard"

/* Names are cut: a payload has less than 8,000 bytes, JSON makes up to six
 * bytes of one, and a key has 1,024 bytes at most, without control characters.
 */
#define NAME_MAX_LEN 400
#define PAYLOAD_MAX 8000

static double
seconds(TimestampTz started, TimestampTz ended)
{
	return (double) (ended - started) / USECS_PER_SEC;
}

/* ---- the log ---- */

/* Messages name increments as such, since their rows are not all rows. */
static const char *
kind_of(const ObHistoryRow *row)
{
	return row->increment ? "an increment of " : "";
}

void
ob_notify_log(const ObHistoryRow *row)
{
	char *to = row->figures.files > 0 ? psprintf(" to \"%s\"", row->uri) : "";

	if (row->logged && *row->logged)
		return;
	if (row->logged)
		*row->logged = true;
	if (row->error)
		ereport(LOG, (errmsg("export of %s\"%s\" by \"%s\" failed: %s",
							 kind_of(row), row->name, ob_history_role(),
							 row->error),
					  errhidestmt(true), errhidecontext(true)));
	else
		ereport(LOG,
				(errmsg("export of %s\"%s\" by \"%s\"%s: %s, %llu rows, "
						"%llu bytes, %.3f seconds",
						kind_of(row), row->name, ob_history_role(), to,
						row->status, (unsigned long long) row->figures.rows,
						(unsigned long long) row->figures.bytes,
						seconds(row->started, row->ended)),
				 errhidestmt(true), errhidecontext(true)));
}

/* ---- listeners ---- */

static void
begin(StringInfo line, const char *event, const pg_uuid_t *run_id)
{
	initStringInfo(line);
	ob_json_open(line, NULL, '{');
	ob_json_put_text(line, "event", event);
	ob_json_put_uuid(line, "run_id", run_id);
}

static void
end(StringInfo line)
{
	ob_json_close(line, '}');
	Assert(line->len < PAYLOAD_MAX);
	if (line->len < PAYLOAD_MAX)
		Async_Notify(CHANNEL, line->data);
}

static char *
clipped(const char *name)
{
	int len = (int) strlen(name);

	return pnstrdup(name, pg_mbcliplen(name, len, NAME_MAX_LEN));
}

void
ob_notify_table(const ObHistoryRow *row)
{
	StringInfoData line;

	if (RecoveryInProgress())
		return;
	begin(&line, "table", &row->run_id);
	ob_json_put_text(&line, "name", clipped(row->name));
	ob_json_put_text(&line, "role", ob_history_role());
	ob_json_put_text(&line, "status", row->status);
	ob_json_put_text(&line, "uri", row->uri);
	ob_json_put_number(&line, "rows", row->figures.rows);
	ob_json_put_number(&line, "raw_bytes", row->figures.raw_bytes);
	ob_json_put_number(&line, "bytes", row->figures.bytes);
	ob_json_put_number(&line, "parts", row->figures.parts);
	ob_json_put_number(&line, "retries", row->figures.retries);
	ob_json_put_time(&line, "started", row->started, false);
	ob_json_put_time(&line, "ended", row->ended, false);
	ob_json_put_text(&line, "sqlstate",
					 row->error ? unpack_sql_state(row->sqlstate) : NULL);
	end(&line);
}

static const char *
status_of(const ObTotals *totals)
{
	return totals->failed > 0 || totals->run_failed ? OB_STATUS_FAILED
													: OB_STATUS_DONE;
}

void
ob_notify_run(const ObTotals *totals)
{
	StringInfoData line;

	if (RecoveryInProgress())
		return;
	begin(&line, "run", &totals->run_id);
	ob_json_put_text(&line, "role", ob_history_role());
	ob_json_put_text(&line, "status", status_of(totals));
	ob_json_put_number(&line, "tables", totals->tables);
	ob_json_put_number(&line, "done", totals->done);
	ob_json_put_number(&line, "empty", totals->empty);
	ob_json_put_number(&line, "failed", totals->failed);
	ob_json_put_number(&line, "rows", totals->figures.rows);
	ob_json_put_number(&line, "raw_bytes", totals->figures.raw_bytes);
	ob_json_put_number(&line, "bytes", totals->figures.bytes);
	ob_json_put_time(&line, "started", totals->started, false);
	ob_json_put_time(&line, "ended", totals->ended, false);
	end(&line);
}

void
ob_notify_end(Oid schema, const ObHistoryRow *row)
{
	ob_notify_log(row);
	ob_history_write(schema, row);
	ob_notify_table(row);
}

/* ---- the client ---- */

static char *
counted(int64 n, const char *what)
{
	return psprintf("%lld %s%s", (long long) n, what, n == 1 ? "" : "s");
}

/* "3 done, 1 empty" */
static char *
outcomes(const ObTotals *totals)
{
	const struct
	{
		int64 n;
		const char *what;
	} all[] = {{totals->done, OB_STATUS_DONE},
			   {totals->empty, OB_STATUS_EMPTY},
			   {totals->failed, OB_STATUS_FAILED}};
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < lengthof(all); i++)
	{
		if (all[i].n > 0)
			appendStringInfo(&text, "%s%lld %s", text.len > 0 ? ", " : "",
							 (long long) all[i].n, all[i].what);
	}
	return text.data;
}

void
ob_notify_client(const ObTotals *totals, const ObHistoryRow *table)
{
	char *what;
	char *figures = table ? "no rows, nothing landed" : "nothing landed";

	if (MyBackendType == B_BG_WORKER || totals->tables == 0 ||
		!message_level_is_interesting(DEBUG1))
		return;
	what = table ? psprintf("%s\"%s\"", kind_of(table),
							ob_report_client_text(table->name))
				 : psprintf("%s (%s)", counted(totals->tables, "table"),
							outcomes(totals));
	if (totals->figures.files > 0)
		figures = psprintf("%s, %s in %s, %.1f seconds",
						   counted(totals->figures.rows, "row"),
						   counted(totals->figures.bytes, "byte"),
						   counted(totals->figures.files, "object"),
						   seconds(totals->started, totals->ended));
	ereport(DEBUG1, (errmsg_internal("export of %s: %s", what, figures)));
}

void
ob_notify_flush(void)
{
	if (whereToSendOutput == DestRemote)
		(void) pq_flush_if_writable();
}
