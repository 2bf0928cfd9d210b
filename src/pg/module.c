/*
 * module.c
 *		The module: magic and settings, nothing else.
 *
 * src/pg/module.c
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"

#include "pg/workers/worker_limits.h"
#include "pg/base/compat.h"
#include "pg/config/options.h"
#include "pg/base/own_query.h"
#include "pg/parallel/parallel.h"

OB_MODULE_MAGIC;

#define WORKERS_MAX 262143 /* the maximum of max_worker_processes */

extern void _PG_init(void);

static void
define_size(const char *name, const char *what, int *variable, int initial,
			int min, int max)
{
	DefineCustomIntVariable(name, what, NULL, variable, initial, min, max,
							PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
}

static void
define_time(const char *name, const char *what, int *variable, int initial)
{
	DefineCustomIntVariable(name, what, NULL, variable, initial, 100, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
}

void
_PG_init(void)
{
	DefineCustomStringVariable(
		"onboard.server", "The foreign server that exports go to.",
		"The option \"server\" of a call comes first.", &onboard_server, "s3",
		PGC_USERSET, 0, NULL, NULL, NULL);
	define_size("onboard.part_size",
				"The size of the first parts of a multipart upload.",
				&onboard_part_size, 8 * 1024, 5 * 1024, 5 * 1024 * 1024);
	define_size("onboard.upload_memory",
				"The memory that one export may use for parts.",
				&onboard_upload_memory, 128 * 1024, 10 * 1024,
				INT_MAX / 1024 * 1024);
	DefineCustomIntVariable("onboard.connections",
							"Parts of one export that are sent at a time.",
							NULL, &onboard_connections, 8, 1, 64, PGC_USERSET,
							0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"onboard.parallel_tables",
		"Tables that onboard_all() exports at a time, by background workers.",
		"With 0 or 1, the session exports them itself.",
		&onboard_parallel_tables, 4, 0, 64, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"onboard.max_jobs_per_role", "Jobs that a role may have at a time.",
		"With -1, half of max_worker_processes. Superusers are not bound.",
		&onboard_max_jobs_per_role, -1, -1, WORKERS_MAX, PGC_SUSET, 0, NULL,
		NULL, NULL);
	DefineCustomIntVariable(
		"onboard.reserved_workers",
		"Background workers that jobs and onboard_all() leave to others.",
		"Out of max_worker_processes. Superusers are not bound.",
		&onboard_reserved_workers, 2, 0, WORKERS_MAX, PGC_SUSET, 0, NULL, NULL,
		NULL);
	define_time("onboard.connect_timeout",
				"How long a connection to S3 may take to be made.",
				&onboard_connect_timeout, 5 * 1000);
	define_time("onboard.stall_timeout",
				"How long a request may make no progress.",
				&onboard_stall_timeout, 30 * 1000);
	define_time("onboard.retry_deadline",
				"How long a failing request is tried again.",
				&onboard_retry_deadline, 10 * 60 * 1000);
	MarkGUCPrefixReserved("onboard");
	ob_parallel_init();
	ob_own_query_init();
}
