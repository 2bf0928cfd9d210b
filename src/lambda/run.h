/*
 * run.h
 *		A run: from an event and a deadline to a result, in each mode.
 *
 * src/lambda/run.h
 *
 * run_wait.c, run_submit.c and run_fanout.c each do it in their way; run.c has
 * what they share: connecting (with the secret fetched again once after a
 * refused login), the list of tables, what has landed before.
 */
#ifndef OBL_RUN_H
#define OBL_RUN_H

#include "lambda/database.h"
#include "lambda/event.h"
#include "lambda/result.h"
#include "lambda/secret.h"

typedef struct OblRun
{
	const OblConfig *config;
	OblAws aws;
	OblSecret *secrets; /* config->nsecrets of them, kept between events */
	const OblEvent *event;
	const char *request_id;
	const char *function_arn;
	const char *trace_id;
	int64_t deadline_ms; /* of ob_http_now_ms(): work ends here, a margin
						  * before the invocation does */
	OblResult result;
} OblRun;

/* Fills run->result; an error is one of the run as a whole (no secret, no
 * database, no tables). */
extern ObCode obl_run(OblRun *run, ObError *error) OB_MUST_CHECK;

/* clamp(5 % of what remains, 2 s, 15 s) before the invocation's own. */
extern int64_t obl_run_deadline(int64_t deadline_unix_ms);

extern ObCode obl_run_wait(OblRun *run, ObError *error);
extern ObCode obl_run_submit(OblRun *run, ObError *error);
extern ObCode obl_run_status(OblRun *run, ObError *error);
extern ObCode obl_run_fanout(OblRun *run, ObError *error);

/* Waits for one connection to the primary and one statement: for lists, and
 * the modes that need no more.  The result is the caller's to clear. */
extern ObCode obl_run_query(OblRun *run, const char *sql, int nparams,
							const char *const *values, PGresult **result,
							ObError *error);

/* The event's tables, or all: from the registry (enabled ones, with the rows
 * that pg_class guesses) or the file; without what has landed in this run. */
extern ObCode obl_run_tables(OblRun *run, ObError *error);

#endif
