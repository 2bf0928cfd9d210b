/*
 * run.h
 *		A run: from an event and a deadline to a result, in each mode.
 *
 * src/lambda/run/run.h
 *
 *		run.c         from an event to a mode, and to a result
 *		run_wait.c    mode wait
 *		run_submit.c  mode submit, and the status of such a run
 *		run_fanout.c  mode fanout
 *		tables.c      the list of tables, and which of them have landed
 *		primary.c     statements on the connection to the primary
 */
#ifndef OBL_RUN_H
#define OBL_RUN_H

#include "lambda/services/database.h"
#include "lambda/base/event.h"
#include "lambda/report/result.h"
#include "lambda/services/secret.h"

typedef struct OblRun
{
	const OblConfig *config;
	OblAws aws;
	OblSecret *secrets; /* an array of config->nsecrets, kept between
						 * events */
	const OblEvent *event;
	const char *request_id;
	const char *function_arn;
	const char *trace_id;
	int64_t deadline_ms; /* on ob_http_now_ms()'s clock: work ends here, a
						  * margin before the invocation does */
	char *options; /* jsonb for every table: ONBOARD_OPTIONS and the key */
	OblConnection *primary; /* for obl_run_query(); NULL: not open */
	OblResult result;
} OblRun;

/* Fills run->result.  An error concerns the run as a whole: no secret, no
 * database, no tables. */
extern ObCode obl_run(OblRun *run, ObError *error) OB_MUST_CHECK;
extern void obl_run_free(OblRun *run);

/* Returns the deadline of the work: before the invocation's deadline by 5% of
 * the remaining time, at least 2 s and at most 15 s. */
extern int64_t obl_run_deadline(int64_t deadline_unix_ms);

extern ObCode obl_run_wait(OblRun *run, ObError *error);
extern ObCode obl_run_submit(OblRun *run, ObError *error);
extern ObCode obl_run_status(OblRun *run, ObError *error);

/* Invokes a child for each table, or for several, so that there are at most
 * 1,000 children.  Tables become OBL_TABLE_QUEUED (accepted with 202) or
 * OBL_TABLE_FAILED (refused). */
extern ObCode obl_run_fanout(OblRun *run, ObError *error);

/*
 * Waits for a statement on the connection to the primary, which is opened when
 * it is first needed; the secret is fetched again once after a refused login.
 * The caller clears the result.  Failures that are likely to pass are retried,
 * three tries in all.
 */
extern ObCode obl_run_query(OblRun *run, const char *sql, int nparams,
							const char *const *values, PGresult **result,
							ObError *error) OB_MUST_CHECK;

/* Closes that connection, if it is open. */
extern void obl_run_disconnect(OblRun *run);

/* Lists the event's tables, or all of them, from the registry (enabled ones,
 * with pg_class's estimate of their rows) or from the file.  Tables that have
 * landed in this run already are DONE or EMPTY. */
extern ObCode obl_run_tables(OblRun *run, ObError *error) OB_MUST_CHECK;

/* Returns the delay before try n (from 1), with full jitter, in ms. */
extern int64_t obl_run_delay(int n);

#endif
