/*
 * uri_aws.c
 *		AWS's own hosts: their names, by partition, and whether one is of them.
 *
 * src/core/text/uri_aws.c
 *
 * AWS's SDKs have the same rules as partitions.json and as a set of rules for
 * each service; test_uri.c compares with botocore's results.
 */
#include "core/text/uri.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The regions of a partition share a prefix; the first partition has all
 * regions that match no other one. */
typedef struct Partition
{
	const char *regions;
	const char *suffix;
	const char
		*dual_suffix; /* the suffix of hosts that have both IPv4 and IPv6 */
} Partition;

static const Partition partitions[] = {
	{"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	{"eusc-", "amazonaws.eu", "api.amazonwebservices.eu"},
	{"us-iso-", "c2s.ic.gov", "api.aws.ic.gov"},
	{"us-isob-", "sc2s.sgov.gov", "api.aws.scloud"},
	{"eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
	{"us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
	{"", "amazonaws.com", "api.aws"},
};

#define NPARTITIONS (sizeof(partitions) / sizeof(partitions[0]))

static bool
begins_with(const char *text, const char *begin)
{
	return strncmp(text, begin, strlen(begin)) == 0;
}

static const Partition *
find_partition(const char *region)
{
	const Partition *partition = partitions;

	while (!begins_with(region, partition->regions))
		partition++;
	return partition;
}

/* ---- which of them ---- */

static bool
is_set(const char *variable)
{
	const char *value = getenv(variable);

	return value && strcasecmp(value, "true") == 0;
}

unsigned
ob_aws_variant(void)
{
	return (is_set("AWS_USE_FIPS_ENDPOINT") ? OB_AWS_FIPS : 0) |
		   (is_set("AWS_USE_DUALSTACK_ENDPOINT") ? OB_AWS_DUALSTACK : 0);
}

static bool
is_one_of(const char *service, const char *const *services)
{
	for (; *services; services++)
		if (strcmp(service, *services) == 0)
			return true;
	return false;
}

/* Some hosts in the US government regions are FIPS hosts, but are not named
 * so. */
static bool
has_fips_name(const char *service, const char *region, unsigned variant)
{
	static const char *const always[] = {"sts", "sns", NULL};

	if (!(variant & OB_AWS_FIPS))
		return false;
	return (variant & OB_AWS_DUALSTACK) || !begins_with(region, "us-gov-") ||
		   !is_one_of(service, always);
}

/* Returns the part of the host name after the region. */
static const char *
find_suffix(const char *service, const Partition *partition, unsigned variant)
{
	/* S3 has a separate label for dual-stack hosts; some services have IPv6
	 * under their usual name */
	static const char *const one_name[] = {"secretsmanager", NULL};
	bool old = partition->regions[0] == '\0' && is_one_of(service, one_name);

	if (!(variant & OB_AWS_DUALSTACK) || strcmp(service, "s3") == 0 || old)
		return partition->suffix;
	return partition->dual_suffix;
}

static ObCode
check_region(const char *region, ObError *error)
{
	size_t len = strlen(region);

	if (len == 0)
		return ob_error_set(error, OB_EINVAL, "the region is empty");
	if (len > OB_REGION_MAX)
		return ob_error_set(error, OB_EINVAL,
							"the region is longer than %d characters",
							OB_REGION_MAX);
	if (strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
		return ob_error_set(error, OB_EINVAL,
							"the region \"%s\" is not made of lower-case "
							"letters, digits and \"-\"",
							region);
	return OB_OK;
}

ObCode
ob_endpoint_service(ObEndpoint *endpoint, const char *service,
					const char *region, unsigned variant, ObError *error)
{
	const Partition *partition;
	bool s3 = strcmp(service, "s3") == 0;

	memset(endpoint, 0, sizeof(*endpoint));
	if (check_region(region, error) != OB_OK)
		return error->code;
	partition = find_partition(region);
	if (s3 && (variant & OB_AWS_FIPS) && begins_with(region, "cn-"))
		return ob_error_set(error, OB_EINVAL,
							"in the region \"%s\", S3 has no endpoint for "
							"FIPS",
							region);
	if (snprintf(endpoint->host, sizeof(endpoint->host), "%s%s%s.%s.%s",
				 service,
				 has_fips_name(service, region, variant) ? "-fips" : "",
				 s3 && (variant & OB_AWS_DUALSTACK) ? ".dualstack" : "",
				 region, find_suffix(service, partition, variant)) >=
		(int) sizeof(endpoint->host))
		return ob_error_set(error, OB_EINVAL, "the host's name is too long");
	endpoint->https = true;
	endpoint->aws = s3;
	endpoint->variant = variant;
	return OB_OK;
}

ObCode
ob_endpoint_aws(ObEndpoint *endpoint, const char *region, ObError *error)
{
	return ob_endpoint_service(endpoint, "s3", region, 0, error);
}

/* ---- whether it is one ---- */

/* Returns the host's length without AWS's domain; 0 if it has another
 * domain. */
static size_t
domain_at(const char *host)
{
	size_t len = strlen(host);

	for (size_t i = 0; i < NPARTITIONS; i++)
	{
		const char *const suffixes[] = {partitions[i].suffix,
										partitions[i].dual_suffix};

		for (int j = 0; j < 2; j++)
		{
			size_t n = strlen(suffixes[j]);

			if (len > n + 1 && host[len - n - 1] == '.' &&
				strcasecmp(host + len - n, suffixes[j]) == 0)
				return len - n - 1;
		}
	}
	return 0;
}

static bool
is_label(const char *label, size_t len, const char *name)
{
	return len == strlen(name) && strncasecmp(label, name, len) == 0;
}

/*
 * The domain alone is not enough, since virtual machines and load balancers,
 * which may run any server, have names in it, too.  The hosts of a service
 * have its name, or that of a variant, as a label; S3's oldest hosts are
 * s3-{region}.amazonaws.com.
 */
bool
ob_host_is_aws(const char *host, const char *service)
{
	bool s3 = strcmp(service, "s3") == 0;
	const char *end = host + domain_at(host);
	char fips[64];

	snprintf(fips, sizeof(fips), "%s-fips", service);
	for (const char *label = host; label < end;)
	{
		size_t n = strcspn(label, ".");

		if (is_label(label, n, service) || is_label(label, n, fips) ||
			(s3 && is_label(label, n, "s3-accelerate")))
			return true;
		if (s3 && label + n == end && strncasecmp(label, "s3-", 3) == 0)
			return true;
		label += n + 1;
	}
	return false;
}
