/*
 * result.h
 *		The outcome of a run, and its JSON.
 *
 * src/lambda/report/result.h
 */
#ifndef OBL_RESULT_H
#define OBL_RESULT_H

#include <stdint.h>

#include "core/base/error.h"
#include "lambda/base/config.h"
#include "lambda/base/event.h"

typedef enum OblTableState
{
	OBL_TABLE_WAITING,
	OBL_TABLE_RUNNING,
	OBL_TABLE_DONE,
	OBL_TABLE_EMPTY,
	OBL_TABLE_FAILED,
	OBL_TABLE_DEADLINE, /* cancelled or not started at the deadline */
	OBL_TABLE_SKIPPED,  /* another delivery of the event is exporting it */
	OBL_TABLE_QUEUED    /* fanout: a child was invoked; submit: a job in the
						 * database exports it */
} OblTableState;

typedef struct OblTable
{
	char *name;  /* malloc'd */
	char *query; /* from the file; NULL: the table is registered */
	double size; /* estimated rows; the largest first */
	OblTableState state;
	bool landed_before; /* by another delivery of the event */
	char job[OBL_UUID]; /* submit: the table's own job; "": a part of the
						 * run's */
	int attempts;
	int64_t rows;
	int64_t bytes;
	char sqlstate[6]; /* or "" */
	char *message;    /* malloc'd; NULL: none */
	char *detail;     /* the same */
} OblTable;

typedef struct OblResult
{
	char run_id[OBL_UUID];
	OblTable *tables;
	int ntables;
	int64_t started_ms;
	int64_t ended_ms;
} OblResult;

extern void obl_result_init(OblResult *result, const char *run_id);
extern void obl_result_free(OblResult *result);
/* Adds copies; returns false if out of memory. */
extern bool obl_result_add(OblResult *result, const char *name,
						   const char *query, double size);
/* Returns NULL if no table has that name. */
extern OblTable *obl_result_find(OblResult *result, const char *name);
extern void obl_result_sort(OblResult *result); /* by size, descending */
extern int obl_result_count(const OblResult *result, OblTableState state);

/* Sets the failure of a table.  A detail of NULL or "" is none. */
extern void obl_table_fail(OblTable *table, const char *sqlstate,
						   const char *message, const char *detail);

/* Sets a table's state and figures from the texts of a row of the history. */
extern void obl_table_read_row(OblTable *table, const char *status,
							   const char *rows, const char *bytes,
							   const char *sqlstate, const char *message,
							   const char *detail);

/* "done", "running", "partial" or "failed". */
extern const char *obl_result_state(const OblResult *result);
/* Returns whether the invocation must fail, according to fail_on. */
extern bool obl_result_failed(const OblResult *result, OblFailOn fail_on);

/*
 * {"run_id", "state", "tables", "exported", "empty", "landed_before" (of these
 * two), "failed", "unfinished", "running", "rows", "bytes", "failures":
 * [{"table", "sqlstate", "message", "detail" (if there is one), "attempts"}]
 * (50 at most, then "more")}; malloc'd.
 */
extern char *obl_result_json(const OblResult *result);

#endif
