/*
 * invoke.h
 *		Asking the function itself, asynchronously, for tables of a run.
 *
 * src/lambda/invoke.h
 */
#ifndef OBL_INVOKE_H
#define OBL_INVOKE_H

#include "lambda/run.h"

#define OBL_INVOKE_IN_FLIGHT 16

/* One child for each table, or for so many that there are at most 1,000;
 * tables become OBL_TABLE_QUEUED (asked: 202) or OBL_TABLE_FAILED (refused).
 */
extern ObCode obl_invoke_children(OblRun *run, ObError *error);

#endif
