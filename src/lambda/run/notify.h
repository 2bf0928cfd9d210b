/*
 * notify.h
 *		One SNS message for a run that failed.
 *
 * src/lambda/run/notify.h
 */
#ifndef OBL_NOTIFY_H
#define OBL_NOTIFY_H

#include "lambda/run/run.h"

/* A failure is only logged. */
extern void obl_notify(const OblAws *aws, const OblResult *result);

#endif
