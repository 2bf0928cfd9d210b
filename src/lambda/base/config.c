/*
 * config.c
 *		The configuration in the function's environment.
 *
 * src/lambda/base/config.c
 */
#include "lambda/base/config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/text.h"

#define CONCURRENCY 4
#define CONCURRENCY_MAX 64

/* Returns the first of the two variables that is set and not empty. */
static const char *
variable(const char *name, const char *other)
{
	const char *value = getenv(name);

	if ((!value || !value[0]) && other)
		value = getenv(other);
	return value && value[0] ? value : NULL;
}

static char *
copy(const char *text, ObError *error)
{
	char *result;

	return ob_text_copy(&result, text, error) == OB_OK ? result : NULL;
}

/* Returns the index of the value among the choices; 0 if the variable is
 * unset. */
static int
choice(const char *name, const char *const *choices, ObError *error)
{
	const char *value = variable(name, NULL);
	char list[128] = "";

	if (!value)
		return 0;
	for (int i = 0; choices[i]; i++)
	{
		if (strcmp(value, choices[i]) == 0)
			return i;
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
				 i ? ", " : "", choices[i]);
	}
	ob_error_set(error, OB_EINVAL, "the variable %s must be one of: %s", name,
				 list);
	return 0;
}

static int
read_concurrency(ObError *error)
{
	const char *value = variable("ONBOARD_CONCURRENCY", NULL);
	char *end;
	long number;

	if (!value)
		return CONCURRENCY;
	number = strtol(value, &end, 10);
	if (*end != '\0' || number < 1 || number > CONCURRENCY_MAX)
		ob_error_set(error, OB_EINVAL,
					 "the variable ONBOARD_CONCURRENCY must be a number from "
					 "1 to %d",
					 CONCURRENCY_MAX);
	return (int) number;
}

static void
read_secrets(OblConfig *config, ObError *error)
{
	const char *value = variable("ONBOARD_SECRETS", "DBsecret");
	char *list = copy(value, error);
	char *rest = list;
	char *name;

	if (!value)
		ob_error_set(error, OB_EINVAL,
					 "the variable ONBOARD_SECRETS must name the secret of "
					 "the database");
	while (list && (name = strsep(&rest, ",")) != NULL)
	{
		name += strspn(name, " ");
		name[strcspn(name, " ")] = '\0';
		if (name[0] == '\0')
			continue;
		if (config->nsecrets == OBL_SECRETS_MAX)
			ob_error_set(error, OB_EINVAL,
						 "the variable ONBOARD_SECRETS has more than %d names",
						 OBL_SECRETS_MAX);
		else
			config->secrets[config->nsecrets++] = copy(name, error);
	}
	free(list);
	if (config->nsecrets == 0)
		ob_error_set(error, OB_EINVAL,
					 "the variable ONBOARD_SECRETS names no secret");
}

static void
read_options(OblConfig *config, ObError *error)
{
	const char *value = variable("ONBOARD_OPTIONS", NULL);
	json_t *object = value ? json_loads(value, 0, NULL) : NULL;

	if (value && !json_is_object(object))
		ob_error_set(error, OB_EINVAL,
					 "the variable ONBOARD_OPTIONS must be a JSON object");
	json_decref(object);
	config->options = copy(value, error);
}

/* Finds the folder of the deployed package. */
static bool
package_folder(char *path, size_t size, ObError *error)
{
	const char *root = variable("LAMBDA_TASK_ROOT", NULL);
	ssize_t len;

	if (root && strlen(root) < size)
	{
		strcpy(path, root);
		return true;
	}
	len = readlink("/proc/self/exe", path, size - 1);
	if (len <= 0)
	{
		ob_error_set(error, OB_EIO, "could not determine the program's path");
		return false;
	}
	path[len] = '\0';
	*strrchr(path, '/') = '\0';
	return true;
}

static char *
file_path(const char *name, ObError *error)
{
	char folder[4096];
	char *result = NULL;

	if (package_folder(folder, sizeof(folder), error) &&
		asprintf(&result, "%s/%s", folder, name) < 0)
	{
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	return result;
}

/* Returns the path of the package's bundle; NULL if there is none, as in the
 * build folder. */
static char *
bundled_ca_file(ObError *error)
{
	char *path = file_path("ca.pem", error);

	if (path && access(path, R_OK) != 0)
	{
		free(path);
		path = NULL;
	}
	return path;
}

ObCode
obl_config_read(OblConfig *config, ObError *error)
{
	static const char *const modes[] = {"wait", "submit", "fanout", NULL};
	static const char *const tables[] = {"database", "file", NULL};
	static const char *const fail_on[] = {"any", "all", "never", NULL};

	memset(config, 0, sizeof(*config));
	ob_error_what(error, "could not read the function's environment");
	config->mode = choice("ONBOARD_MODE", modes, error);
	config->concurrency = read_concurrency(error);
	config->tables_in_file = choice("ONBOARD_TABLES", tables, error) == 1;
	config->fail_on = choice("ONBOARD_FAIL_ON", fail_on, error);
	config->file = file_path("config/table_sql.json", error);
	read_secrets(config, error);
	read_options(config, error);
	config->bucket = copy(variable("ONBOARD_BUCKET", "targetS3Bucket"), error);
	config->as_predecessor =
		!variable("ONBOARD_BUCKET", NULL) && config->bucket;
	config->prefix = copy(variable("TargetLoc", NULL), error);
	if (config->prefix && strpbrk(config->prefix, "{}"))
		ob_error_set(error, OB_EINVAL,
					 "the variable TargetLoc must not have braces");
	config->topic = copy(variable("ONBOARD_TOPIC_ARN", NULL), error);
	config->region = copy(variable("AWS_REGION", "AWS_DEFAULT_REGION"), error);
	config->function_name =
		copy(variable("AWS_LAMBDA_FUNCTION_NAME", NULL), error);
	if (config->mode == OBL_MODE_FANOUT && !config->function_name)
		ob_error_set(error, OB_EINVAL,
					 "the variable AWS_LAMBDA_FUNCTION_NAME is not set");
	config->runtime_api =
		copy(variable("AWS_LAMBDA_RUNTIME_API", NULL), error);
	config->ca_file = copy(variable("ONBOARD_CA_FILE", NULL), error);
	if (!config->ca_file)
		config->ca_file = bundled_ca_file(error);
	if (!config->region)
		ob_error_set(error, OB_EINVAL, "the variable AWS_REGION is not set");
	if (!config->runtime_api)
		ob_error_set(error, OB_EINVAL,
					 "the variable AWS_LAMBDA_RUNTIME_API is not set");
	return error->code;
}

void
obl_config_free(OblConfig *config)
{
	for (int i = 0; i < config->nsecrets; i++)
		free(config->secrets[i]);
	free(config->file);
	free(config->bucket);
	free(config->prefix);
	free(config->options);
	free(config->topic);
	free(config->region);
	free(config->function_name);
	free(config->runtime_api);
	free(config->ca_file);
	memset(config, 0, sizeof(*config));
}
