/*
 * log.h
 *		One JSON object a line on stdout; metrics in CloudWatch's embedded
 * format.
 *
 * src/lambda/report/log.h
 *
 * Lines never contain payloads, SQL or secrets.
 */
#ifndef OBL_LOG_H
#define OBL_LOG_H

#include "core/base/error.h"

typedef enum OblLevel
{
	OBL_INFO,
	OBL_WARN,
	OBL_ERROR
} OblLevel;

/* Sets the ids that all lines have until the next call; borrowed, NULL:
 * none. */
extern void obl_log_context(const char *request_id, const char *run_id);

/* Logs pairs of name and text, ended by NULL; a NULL text is left out. */
extern void obl_log(OblLevel level, const char *event, ...)
	__attribute__((sentinel));
extern void obl_log_error(OblLevel level, const char *event,
						  const ObError *error);

/* Logs the metrics, once per run; see
 *
 * https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
 */
struct OblResult;
extern void obl_log_metrics(const char *function_name,
							const struct OblResult *result);

#endif
