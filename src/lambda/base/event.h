/*
 * event.h
 *		The event of an invocation, read strictly.
 *
 * src/lambda/base/event.h
 *
 * There are two kinds of events: EventBridge's scheduled event (detail-type
 * and source), and the object {"onboard": {...}} (from EventBridge Scheduler,
 * an operator, or the function itself) with action run, table or status.  All
 * others are refused, so that a caller of the function cannot choose SQL,
 * hosts or keys.
 */
#ifndef OBL_EVENT_H
#define OBL_EVENT_H

#include <stddef.h>

#include "core/base/error.h"

#define OBL_TABLES_MAX 10000
#define OBL_EVENT_MAX (1024 * 1024)
#define OBL_DEPTH_MAX 1
#define OBL_UUID 37 /* with its NUL */

typedef enum OblAction
{
	OBL_ACTION_RUN,   /* all tables, or the named ones */
	OBL_ACTION_TABLE, /* a child's: the named tables, depth >= 1 */
	OBL_ACTION_STATUS
} OblAction;

typedef struct OblEvent
{
	OblAction action;
	char run_id[OBL_UUID]; /* the event's, or made from it so that another
							* delivery of the same event has the same one: a
							* rule's event id; of "scheduled_time" and
							* "schedule_arn" (RFC 9562's version 5); else the
							* invocation's request id */
	char **tables;         /* malloc'd; NULL: all */
	int ntables;
	int depth; /* 0: not a child */
} OblEvent;

/* The error's code is OB_EINVAL, which is reported as Onboard.BadEvent. */
extern ObCode obl_event_read(OblEvent *event, const char *text, size_t len,
							 const char *request_id,
							 ObError *error) OB_MUST_CHECK;
extern void obl_event_free(OblEvent *event);

/* Returns the JSON of a child's event, which only has names; malloc'd, NULL if
 * out of memory. */
extern char *obl_event_child(const char *run_id, char *const *tables,
							 int ntables, int depth);

/* Writes the version 5 UUID of a name within a run, for jobs of single
 * tables. */
extern void obl_uuid5(const char *run_id, const char *name, char *out);

#endif
