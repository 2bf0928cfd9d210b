/*
 * invoke.h
 *		Mode fanout: invoking the function itself for tables of a run.
 *
 * src/lambda/invoke.h
 */
#ifndef OBL_INVOKE_H
#define OBL_INVOKE_H

#include "lambda/run.h"

#define OBL_INVOKE_IN_FLIGHT 16

/* Invokes a child for each table, or for several, so that there are at most
 * 1,000 children.  Tables become OBL_TABLE_QUEUED (accepted with 202) or
 * OBL_TABLE_FAILED (refused). */
extern ObCode obl_invoke_children(OblRun *run, ObError *error);

#endif
