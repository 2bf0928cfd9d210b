/*
 * config.h
 *		The configuration in the function's environment.
 *
 * src/lambda/base/config.h
 *
 * The configuration is read once, at the start; an invalid value is an init
 * error that names the variable.  Variables of the program that onboard
 * replaces are used where ours are unset.
 */
#ifndef OBL_CONFIG_H
#define OBL_CONFIG_H

#include "core/base/error.h"

#define OBL_SECRETS_MAX 8

typedef enum OblMode
{
	OBL_MODE_WAIT,
	OBL_MODE_SUBMIT,
	OBL_MODE_FANOUT
} OblMode;

typedef enum OblFailOn
{
	OBL_FAIL_ON_ANY, /* a failed table makes the invocation fail */
	OBL_FAIL_ON_ALL, /* only if no table has landed */
	OBL_FAIL_ON_NEVER
} OblFailOn;

typedef struct OblConfig
{
	OblMode mode;        /* ONBOARD_MODE: wait, submit, fanout */
	int concurrency;     /* ONBOARD_CONCURRENCY: 4; 1 to 64 */
	bool tables_in_file; /* ONBOARD_TABLES: database (default), file */
	char *file;          /* config/table_sql.json in LAMBDA_TASK_ROOT, or
						  * beside the program */
	int nsecrets;        /* ONBOARD_SECRETS, a comma-separated list of names or
						  * ARNs: the primary first, then standbys; else
						  * DBsecret */
	char *secrets[OBL_SECRETS_MAX];
	char *bucket;  /* ONBOARD_BUCKET, else targetS3Bucket; NULL: the
					* database's own */
	char *prefix;  /* TargetLoc: "{TargetLoc}{name}/data/inbox/..." as the
					* key; NULL: the database's template */
	char *options; /* ONBOARD_OPTIONS, a JSON object; NULL: none */
	bool as_predecessor; /* targetS3Bucket names the bucket, so the format is
						  * json unless ONBOARD_OPTIONS sets another */
	OblFailOn fail_on;   /* ONBOARD_FAIL_ON: any, all, never */
	char *topic;         /* ONBOARD_TOPIC_ARN; NULL: none */
	char *region;        /* AWS_REGION, AWS_DEFAULT_REGION */
	char *function_name; /* AWS_LAMBDA_FUNCTION_NAME */
	char *runtime_api;   /* AWS_LAMBDA_RUNTIME_API */
	char *ca_file;       /* ONBOARD_CA_FILE; NULL: the bundle of the package */
} OblConfig;

/* Fills config from the environment; its texts are malloc'd. */
extern ObCode obl_config_read(OblConfig *config, ObError *error) OB_MUST_CHECK;
extern void obl_config_free(OblConfig *config);

#endif
