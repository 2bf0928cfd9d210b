/*
 * report.h
 *		From the core's ObError to PostgreSQL's ereport.
 *
 * src/pg/report.h
 */
#ifndef OB_REPORT_H
#define OB_REPORT_H

#include "core/error.h"

/* Raises it: SQLSTATE by code, detail with S3's answer, a hint. */
extern _Noreturn void ob_report(const ObError *error);

/* The same as a WARNING, for what cannot be helped any more. */
extern void ob_report_warning(const ObError *error, const char *hint);

#endif
