/*
 * test_uri.c
 *		Endpoints, bucket names, and the encoding of keys.
 *
 * test/core/test_uri.c
 */
#include "testing.h"

#include <time.h>

#include "core/text/uri.h"

/* ---- Encoding ---- */

static void
encoding(void **state)
{
	static const struct
	{
		const char *text;
		bool keep_slash;
		const char *encoded;
	} rows[] = {
		{"", true, ""},
		{"AZaz09-_.~", true, "AZaz09-_.~"},
		{"a b", true, "a%20b"},
		{"a+b", true, "a%2Bb"},
		{"100%", true, "100%25"},
		{"%20", true,
		 "%2520"}, /* encoded once, whatever the text looks like */
		{"/a//b/", true, "/a//b/"},
		{"/a//b/", false, "%2Fa%2F%2Fb%2F"},
		{"./../.", true, "./../."}, /* nothing is normalised */
		{"?#&=;:@!$'()*,[]", true,
		 "%3F%23%26%3D%3B%3A%40%21%24%27%28%29%2A%2C%5B%5D"},
		{"\"<>\\^`{|}", true, "%22%3C%3E%5C%5E%60%7B%7C%7D"},
		{"\t\r\n\x7f", true, "%09%0D%0A%7F"},
		{"\xe1\x88\xb4", true, "%E1%88%B4"},
		{"\x80\xff", true, "%80%FF"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObBuf out;

		ob_buf_init(&out, 1000);
		ob_uri_encode(&out, rows[i].text, strlen(rows[i].text),
					  rows[i].keep_slash);
		assert_string_equal(out.data, rows[i].encoded);
		ob_buf_free(&out);
	}
}

static void
encoding_covers_every_byte(void **state)
{
	ObBuf out;
	char expected[4];

	ob_buf_init(&out, 3);
	for (int c = 0; c < 256; c++)
	{
		char byte = (char) c;

		if (c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ"
							 "abcdefghijklmnopqrstuvwxyz"
							 "0123456789-_.~",
							 c) != NULL)
			snprintf(expected, sizeof(expected), "%c", c);
		else
			snprintf(expected, sizeof(expected), "%%%02X", (unsigned) c);
		ob_buf_reset(&out);
		ob_uri_encode(&out, &byte, 1, false);
		assert_string_equal(out.data, expected);
	}
	ob_buf_free(&out);
}

static void
encoding_respects_the_maximum(void **state)
{
	ObBuf out;

	ob_buf_init(&out, 5);
	ob_uri_encode(&out, "ab cd", 5, true);
	assert_string_equal(out.data, "ab%20"); /* never half an escape */
	assert_true(out.full);
	ob_buf_free(&out);
}

/* ---- Endpoints ---- */

static void
good_endpoints(void **state)
{
	static const struct
	{
		const char *url;
		bool https;
		bool aws;
		const char *host;
		int port;
		const char *base;
	} rows[] = {
		{"https://s3.eu-central-1.amazonaws.com", true, true,
		 "s3.eu-central-1.amazonaws.com", 0, ""},
		{"http://127.0.0.1:7480", false, false, "127.0.0.1", 7480, ""},
		{"http://localhost:7480/", false, false, "localhost", 7480, ""},
		{"HTTPS://Minio.Example:9000", true, false, "Minio.Example", 9000, ""},
		{"http://h", false, false, "h", 0, ""},
		{"https://h:1", true, false, "h", 1, ""},
		{"https://h:65535", true, false, "h", 65535, ""},
		{"https://h:443", true, false, "h", 443, ""},
		{"http://h:00080/", false, false, "h", 80, ""},
		{"https://h/x/y", true, false, "h", 0, "/x/y"},
		{"https://h/x/y/", true, false, "h", 0, "/x/y"},
		{"https://h:8/x%20y/~a:b", true, false, "h", 8, "/x%20y/~a:b"},
		{"http://[::1]", false, false, "[::1]", 0, ""},
		{"http://[::1]:7480/s3/", false, false, "[::1]", 7480, "/s3"},
		{"http://[2001:db8::192.0.2.1]:1", false, false,
		 "[2001:db8::192.0.2.1]", 1, ""},
		{"http://my_minio", false, false, "my_minio", 0, ""},
		{"https://h.", true, false, "h.", 0, ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObEndpoint endpoint;
		ObError error = {0};

		memset(&endpoint, 0xAA, sizeof(endpoint));
		assert_row(rows[i].url,
				   ob_endpoint_parse(&endpoint, rows[i].url, &error) == OB_OK);
		assert_row(rows[i].url, endpoint.https == rows[i].https);
		assert_row(rows[i].url, endpoint.aws == rows[i].aws);
		assert_row(rows[i].url, endpoint.port == rows[i].port);
		assert_string_equal(endpoint.host, rows[i].host);
		assert_string_equal(endpoint.base, rows[i].base);
	}
}

static void
bad_endpoints(void **state)
{
	static const struct
	{
		const char *url;
		const char *cause;
	} rows[] = {
		{"", "no scheme"},
		{"s3.amazonaws.com", "no scheme"},
		{"localhost:9000", "no scheme"},
		{"//host", "no scheme"},
		{"://host", "no scheme"},
		{"https:/host", "no scheme"},
		{"ftp://host", "scheme is neither"},
		{"file:///etc/passwd", "scheme is neither"},
		{"s3://bucket", "scheme is neither"},
		{"httpss://host", "scheme is neither"},
		{"https://user@host", "user information"},
		{"https://host/a@b", "user information"},
		{"https://host?x=1", "query string"},
		{"https://host/?", "query string"},
		{"https://host#top", "fragment"},
		{"https://host/a#", "fragment"},
		{"https://", "empty host"},
		{"https:///bucket", "empty host"},
		{"https://:443", "empty host"},
		{"https://h:", "port"},
		{"https://h:/x", "port"},
		{"https://h:0", "port"},
		{"https://h:65536", "port"},
		{"https://h:99999999999999999999", "port"},
		{"https://h:-1", "port"},
		{"https://h:+1", "port"},
		{"https://h:1x", "port"},
		{"https://h:80:80", "port"},
		{"https://2001:db8::1", "port"},
		{"https://h\\x", "character"},
		{"https://h%41", "character"},
		{"https://b\xc3\xbc"
		 "cher",
		 "character"},
		{"https://a,b", "character"},
		{"https://[::1", "IPv6"},
		{"https://[]", "IPv6"},
		{"https://[", "IPv6"},
		{"https://[::1]x", "IPv6"},
		{"https://[fe80::1%25eth0]", "IPv6"},
		{"https://[127.0.0.1]", "IPv6"},
		{"https://[1:2:3:4:5:6:7:8:9:1:2:3:4:5:6:7:8:9:0:1:2:3:4:5]", "IPv6"},
		{" https://host", "blank"},
		{"https://host ", "blank"},
		{"https://ho st", "blank"},
		{"https://host\n", "control"},
		{"https://ho\x7fst", "control"},
		{"https://h/a b", "blank"},
		{"https://h/a%2", "percent-encoded"},
		{"https://h/a%", "percent-encoded"},
		{"https://h/a%zz", "percent-encoded"},
		{"https://h/\xc3\xbc", "percent-encoded"},
		{"https://h/a\"b", "percent-encoded"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObEndpoint endpoint;
		ObError error = {0};

		assert_row(rows[i].url, ob_endpoint_parse(&endpoint, rows[i].url,
												  &error) == OB_EINVAL);
		assert_row(rows[i].url, strstr(error.cause, rows[i].cause) != NULL);
	}
}

static void
endpoint_lengths(void **state)
{
	ObEndpoint endpoint;
	char url[1024];

	for (int len = 250; len < 262; len++)
	{
		ObError error = {0};
		char text[300];

		memset(text, 'h', (size_t) len);
		text[len] = '\0';
		snprintf(url, sizeof(url), "https://%s:1/b", text);
		assert_int_equal(ob_endpoint_parse(&endpoint, url, &error),
						 len < 256 ? OB_OK : OB_EINVAL);
		ob_error_clear(&error);
		snprintf(url, sizeof(url), "https://h/%s/", text);
		assert_int_equal(ob_endpoint_parse(&endpoint, url, &error),
						 len + 1 < 256 ? OB_OK : OB_EINVAL);
	}
}

/* This holds for every character in the password. */
static void
password_is_never_repeated(void **state)
{
	ObError error;
	ObEndpoint endpoint;
	char url[100];

	for (int c = 1; c < 256; c++)
	{
		ob_error_clear(&error);
		snprintf(url, sizeof(url), "https://user:CANARY%cCANARY@host/", c);
		assert_int_equal(ob_endpoint_parse(&endpoint, url, &error), OB_EINVAL);
		assert_null(strstr(error.cause, "CANARY"));
		assert_null(strstr(error.what, "CANARY"));
	}
}

static void
amazon_hosts(void **state)
{
	static const struct
	{
		const char *host;
		bool aws;
	} rows[] = {
		{"s3.amazonaws.com", true},
		{"S3.AmazonAWS.com", true},
		{"s3.us-east-1.amazonaws.com", true},
		{"s3-eu-west-1.amazonaws.com", true},
		{"s3.cn-north-1.amazonaws.com.cn", true},
		{"s3.dualstack.eu-west-1.amazonaws.com", true},
		{"s3-fips.us-gov-west-1.amazonaws.com", true},
		{"s3-fips.dualstack.us-gov-west-1.amazonaws.com", true},
		{"s3-accelerate.amazonaws.com", true},
		{"s3-accelerate.dualstack.amazonaws.com", true},
		{"bucket.vpce-1a2b.s3.us-east-1.vpce.amazonaws.com", true},
		{"s3.eusc-de-east-1.amazonaws.eu", true},
		{"bucket.vpce-1a2b.s3.eusc-de-east-1.vpce.amazonaws.eu", true},
		{"s3.us-iso-east-1.c2s.ic.gov", true},
		{"s3-fips.us-isob-east-1.sc2s.sgov.gov", true},
		{"s3.eu-isoe-west-1.cloud.adc-e.uk", true},
		{"s3.us-isof-south-1.csp.hci.ic.gov", true},
		{"s3.amazonaws.eu.evil.example", false},
		{"sts.us-east-1.amazonaws.com", false},
		{"amazonaws.com", false},
		{"s3amazonaws.com", false},
		{"s3.amazonaws.com.evil.example", false},
		{"s3.amazonaws.org", false},
		{"s3.notamazonaws.com", false},
		/* another server on an EC2 machine, or behind a load balancer */
		{"ec2-192-0-2-1.eu-west-1.compute.amazonaws.com", false},
		{"s3-gw-123.elb.eu-west-1.amazonaws.com", false},
		{"s3", false},
		{"..amazonaws.com", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObEndpoint endpoint;
		ObError error = {0};
		char url[200];

		snprintf(url, sizeof(url), "https://%s", rows[i].host);
		assert_row(url, ob_endpoint_parse(&endpoint, url, &error) == OB_OK);
		assert_row(url, endpoint.aws == rows[i].aws);
	}
}

static void
aws_endpoints(void **state)
{
	static const struct
	{
		const char *region;
		const char *host; /* NULL: refused */
	} rows[] = {
		{"us-east-1", "s3.us-east-1.amazonaws.com"},
		{"us-gov-west-1", "s3.us-gov-west-1.amazonaws.com"},
		{"cn-north-1", "s3.cn-north-1.amazonaws.com.cn"},
		{"cnx-1", "s3.cnx-1.amazonaws.com"},
		{"eusc-de-east-1", "s3.eusc-de-east-1.amazonaws.eu"},
		{"us-iso-west-1", "s3.us-iso-west-1.c2s.ic.gov"},
		{"us-isob-east-1", "s3.us-isob-east-1.sc2s.sgov.gov"},
		{"eu-isoe-west-1", "s3.eu-isoe-west-1.cloud.adc-e.uk"},
		{"us-isof-south-1", "s3.us-isof-south-1.csp.hci.ic.gov"},
		{"123456789-123456789-123456789-123456789-123456789-123456789-123",
		 "s3.123456789-123456789-123456789-123456789-123456789-123456789-123"
		 ".amazonaws.com"},
		{"123456789-123456789-123456789-123456789-123456789-123456789-1234",
		 NULL},
		{"", NULL},
		{"US-EAST-1", NULL},
		{"us_east_1", NULL},
		{"us-east-1.evil.example/", NULL},
		{"us east", NULL},
		{"us-east-1\n", NULL},
		{"\xc3\xbc", NULL},
		{"evil.example#", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObEndpoint endpoint;
		ObError error = {0};
		ObCode code;

		memset(&endpoint, 0xAA, sizeof(endpoint));
		code = ob_endpoint_aws(&endpoint, rows[i].region, &error);
		if (rows[i].host == NULL)
		{
			assert_row(rows[i].region, code == OB_EINVAL);
			assert_error(&error, OB_EINVAL, "the region");
			continue;
		}
		assert_row(rows[i].region, code == OB_OK);
		assert_string_equal(endpoint.host, rows[i].host);
		assert_true(endpoint.https && endpoint.aws);
		assert_int_equal(endpoint.port, 0);
		assert_string_equal(endpoint.base, "");
	}
}

/* The hosts are those of botocore 1.43, by its endpoint-rule-set-1.json and
 * partitions.json: first without any variant, then with dual stack, FIPS, and
 * both. */
static void
hosts_of_services(void **state)
{
	static const struct
	{
		const char *service;
		const char *region;
		const char *hosts[4]; /* NULL: there is none */
	} rows[] = {
		{"s3",
		 "eu-central-1",
		 {"s3.eu-central-1.amazonaws.com",
		  "s3-fips.eu-central-1.amazonaws.com",
		  "s3.dualstack.eu-central-1.amazonaws.com",
		  "s3-fips.dualstack.eu-central-1.amazonaws.com"}},
		{"s3",
		 "cn-north-1",
		 {"s3.cn-north-1.amazonaws.com.cn", NULL,
		  "s3.dualstack.cn-north-1.amazonaws.com.cn", NULL}},
		{"s3",
		 "eusc-de-east-1",
		 {"s3.eusc-de-east-1.amazonaws.eu",
		  "s3-fips.eusc-de-east-1.amazonaws.eu",
		  "s3.dualstack.eusc-de-east-1.amazonaws.eu",
		  "s3-fips.dualstack.eusc-de-east-1.amazonaws.eu"}},
		{"sts",
		 "us-east-1",
		 {"sts.us-east-1.amazonaws.com", "sts-fips.us-east-1.amazonaws.com",
		  "sts.us-east-1.api.aws", "sts-fips.us-east-1.api.aws"}},
		{"sts",
		 "us-gov-west-1",
		 {"sts.us-gov-west-1.amazonaws.com", "sts.us-gov-west-1.amazonaws.com",
		  "sts.us-gov-west-1.api.aws", "sts-fips.us-gov-west-1.api.aws"}},
		{"sts",
		 "cn-north-1",
		 {"sts.cn-north-1.amazonaws.com.cn",
		  "sts-fips.cn-north-1.amazonaws.com.cn",
		  "sts.cn-north-1.api.amazonwebservices.com.cn",
		  "sts-fips.cn-north-1.api.amazonwebservices.com.cn"}},
		{"sts",
		 "eusc-de-east-1",
		 {"sts.eusc-de-east-1.amazonaws.eu",
		  "sts-fips.eusc-de-east-1.amazonaws.eu",
		  "sts.eusc-de-east-1.api.amazonwebservices.eu",
		  "sts-fips.eusc-de-east-1.api.amazonwebservices.eu"}},
		{"sts",
		 "us-iso-east-1",
		 {"sts.us-iso-east-1.c2s.ic.gov", "sts-fips.us-iso-east-1.c2s.ic.gov",
		  "sts.us-iso-east-1.api.aws.ic.gov",
		  "sts-fips.us-iso-east-1.api.aws.ic.gov"}},
		{"sts",
		 "us-isob-east-1",
		 {"sts.us-isob-east-1.sc2s.sgov.gov",
		  "sts-fips.us-isob-east-1.sc2s.sgov.gov",
		  "sts.us-isob-east-1.api.aws.scloud",
		  "sts-fips.us-isob-east-1.api.aws.scloud"}},
		{"sts",
		 "eu-isoe-west-1",
		 {"sts.eu-isoe-west-1.cloud.adc-e.uk",
		  "sts-fips.eu-isoe-west-1.cloud.adc-e.uk",
		  "sts.eu-isoe-west-1.api.cloud-aws.adc-e.uk",
		  "sts-fips.eu-isoe-west-1.api.cloud-aws.adc-e.uk"}},
		{"sts",
		 "us-isof-south-1",
		 {"sts.us-isof-south-1.csp.hci.ic.gov",
		  "sts-fips.us-isof-south-1.csp.hci.ic.gov",
		  "sts.us-isof-south-1.api.aws.hci.ic.gov",
		  "sts-fips.us-isof-south-1.api.aws.hci.ic.gov"}},
		{"sns",
		 "us-gov-west-1",
		 {"sns.us-gov-west-1.amazonaws.com", "sns.us-gov-west-1.amazonaws.com",
		  "sns.us-gov-west-1.api.aws", "sns-fips.us-gov-west-1.api.aws"}},
		{"lambda",
		 "us-gov-west-1",
		 {"lambda.us-gov-west-1.amazonaws.com",
		  "lambda-fips.us-gov-west-1.amazonaws.com",
		  "lambda.us-gov-west-1.api.aws",
		  "lambda-fips.us-gov-west-1.api.aws"}},
		{"secretsmanager",
		 "eu-central-1",
		 {"secretsmanager.eu-central-1.amazonaws.com",
		  "secretsmanager-fips.eu-central-1.amazonaws.com",
		  "secretsmanager.eu-central-1.amazonaws.com",
		  "secretsmanager-fips.eu-central-1.amazonaws.com"}},
		{"secretsmanager",
		 "eusc-de-east-1",
		 {"secretsmanager.eusc-de-east-1.amazonaws.eu",
		  "secretsmanager-fips.eusc-de-east-1.amazonaws.eu",
		  "secretsmanager.eusc-de-east-1.api.amazonwebservices.eu",
		  "secretsmanager-fips.eusc-de-east-1.api.amazonwebservices.eu"}},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		for (unsigned variant = 0; variant < 4; variant++)
		{
			ObError error = {0};
			ObEndpoint endpoint;
			ObCode code = ob_endpoint_service(&endpoint, rows[i].service,
											  rows[i].region, variant, &error);

			if (!rows[i].hosts[variant])
			{
				assert_error(&error, OB_EINVAL, "no endpoint for FIPS");
				continue;
			}
			assert_int_equal(code, OB_OK);
			assert_string_equal(endpoint.host, rows[i].hosts[variant]);
			assert_true(endpoint.https);
			assert_int_equal(endpoint.aws, strcmp(rows[i].service, "s3") == 0);
			assert_int_equal(endpoint.variant, variant);
			assert_true(ob_host_is_aws(endpoint.host, rows[i].service));
			assert_false(ob_host_is_aws(endpoint.host, "other"));
		}
	assert_true(ob_host_is_aws("sts.amazonaws.com", "sts"));
	assert_true(
		ob_host_is_aws("vpce-1.sts.us-east-1.vpce.amazonaws.com", "sts"));
	assert_false(ob_host_is_aws("sts.example.com", "sts"));
	assert_false(ob_host_is_aws("stsx.us-east-1.amazonaws.com", "sts"));
	assert_false(ob_host_is_aws("amazonaws.com", "sts"));
	assert_false(ob_host_is_aws("", "sts"));
}

static void
variants_of_the_environment(void **state)
{
	assert_int_equal(ob_aws_variant(), 0);
	setenv("AWS_USE_FIPS_ENDPOINT", "True", 1);
	assert_int_equal(ob_aws_variant(), OB_AWS_FIPS);
	setenv("AWS_USE_DUALSTACK_ENDPOINT", "true", 1);
	assert_int_equal(ob_aws_variant(), OB_AWS_FIPS | OB_AWS_DUALSTACK);
	setenv("AWS_USE_FIPS_ENDPOINT", "false", 1);
	assert_int_equal(ob_aws_variant(), OB_AWS_DUALSTACK);
	unsetenv("AWS_USE_FIPS_ENDPOINT");
	unsetenv("AWS_USE_DUALSTACK_ENDPOINT");
}

static void
requirements_of_other_stores(void **state)
{
	static const struct
	{
		const char *url;
		bool equal_parts;
		bool md5;
	} rows[] = {
		{"https://0a1b.r2.cloudflarestorage.com", true, false},
		{"https://0a1b.eu.r2.cloudflarestorage.com", true, false},
		{"https://0A1B.R2.CloudflareStorage.com", true, false},
		{"https://r2.cloudflarestorage.com.example.com", false, false},
		{"https://xr2.cloudflarestorage.com", false, false},
		{"https://s3.eu-central-003.backblazeb2.com", false, true},
		{"https://backblazeb2.com.example.com", false, false},
		{"https://s3.us-east-1.amazonaws.com", false, false},
		{"http://127.0.0.1:9000", false, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObError error = {0};
		ObEndpoint endpoint;

		assert_int_equal(ob_endpoint_parse(&endpoint, rows[i].url, &error),
						 OB_OK);
		assert_row(rows[i].url, ob_endpoint_wants_equal_parts(&endpoint) ==
									rows[i].equal_parts);
		assert_row(rows[i].url,
				   ob_endpoint_wants_md5(&endpoint) == rows[i].md5);
	}
}

/* ---- Buckets ---- */

#define NAME_63 \
	"a23456789-123456789-123456789-123456789-123456789-123456789-123"

static void
bucket_names(void **state)
{
	static const struct
	{
		const char *bucket;
		const char *cause; /* NULL: it is valid */
	} rows[] = {
		{"lake-raw", NULL},
		{"abc", NULL},
		{"1.2.3", NULL},
		{"123", NULL},
		{"a.b-c.d", NULL},
		{"my.-bucket", NULL},
		{NAME_63, NULL},
		{"1.2.3.4.5", NULL},
		{"256.1.1.1", NULL}, /* not an address */
		{"point-0123456789abcdef-s3alias", NULL},
		{"lake-x-s3", NULL},
		{"lake--euc1-az1--x-s3", "S3 Express"},
		{"mfzwi23gnjvgw.mrap", "multi-Region access point"},
		{"", "3 to 63"},
		{"a", "3 to 63"},
		{"ab", "3 to 63"},
		{NAME_63 "4", "3 to 63"},
		{"A_b", "lower-case"},
		{"a_b", "lower-case"},
		{"Abc", "lower-case"},
		{"a b", "lower-case"},
		{"a/b", "lower-case"},
		{"abc\n", "lower-case"},
		{"b\xc3\xbc"
		 "cher",
		 "lower-case"},
		{"a*c", "lower-case"},
		{"-abc", "begins and ends"},
		{"abc-", "begins and ends"},
		{".abc", "begins and ends"},
		{"abc.", "begins and ends"},
		{"..", "3 to 63"},
		{"...", "begins and ends"},
		{"a..b", "two dots"},
		{"192.168.5.4", "IP address"},
		{"s3://lake", "bare bucket name"},
		{"s3://lake/key", "bare bucket name"},
		{"S3://lake", "bare bucket name"},
		{"arn:aws:s3:::lake", "not an ARN"},
		{"ARN:aws:s3:::lake", "not an ARN"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObError error = {0};
		ObCode code = ob_bucket_check(rows[i].bucket, &error);

		assert_row(rows[i].bucket,
				   code == (rows[i].cause == NULL ? OB_OK : OB_EINVAL));
		assert_row(rows[i].bucket, error.code == code);
		if (rows[i].cause != NULL)
			assert_row(rows[i].bucket,
					   strstr(error.cause, rows[i].cause) != NULL);
	}
}

static void
bucket_patterns(void **state)
{
	static const struct
	{
		const char *patterns;
		const char *bucket;
		bool matches;
	} rows[] = {
		{"lake", "lake", true},
		{"lake", "lakes", false},
		{"lakes", "lake", false},
		{"lake-*", "lake-raw", true},
		{"lake-*", "lake-", true},
		{"lake-*", "lake", false},
		{"lake-*", "my-lake-raw", false},
		{"*", "anything.at-all", true},
		{"l?ke", "lake", true},
		{"l?ke", "lke", false},
		{"lake-[0-9]", "lake-7", true},
		{"lake-[!0-9]", "lake-7", false},
		{"lake-[abc]x", "lake-bx", true},
		{"a,b,lake", "lake", true},
		{" lake ", "lake", true},
		{"a ,\tlake\n, b", "lake", true},
		{"a, ,lake", "lake", true},
		{",,lake", "lake", true},
		{"lake,", "lake", true},
		{"a,b", "lake", false},
		{"", "lake", false},
		{"  ", "lake", false},
		{",", "lake", false},
		{"", "", false},
		{" , ", "", false},
		{"la ke", "lake", false},
		{"LAKE", "lake", false},
		{"la\\ke", "lake", false}, /* a backslash is an ordinary character */
		{"\\lake", "lake", false},
		{"[", "lake", false},
		{"[l", "lake", false},
		{"lake-*,*-raw", "x-raw", true},
		{".*", "lake", false}, /* not a regular expression */
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_row(rows[i].patterns,
				   ob_bucket_matches(rows[i].patterns, rows[i].bucket) ==
					   rows[i].matches);
}

static void
overlong_patterns_match_nothing(void **state)
{
	char patterns[1000];

	memset(patterns, '*', sizeof(patterns));
	patterns[255] = '\0';
	assert_true(ob_bucket_matches(patterns, "lake"));
	patterns[255] = '*';
	patterns[256] = '\0';
	assert_false(ob_bucket_matches(patterns, "lake"));
	memcpy(patterns + 256, ",lake", 6);
	assert_true(ob_bucket_matches(patterns, "lake"));
}

/* Many stars must not take exponential time. */
static void
hard_patterns_are_quick(void **state)
{
	char pattern[256] = "";
	char bucket[OB_BUCKET_MAX + 1];
	clock_t start = clock();

	for (int i = 0; i < 120; i++)
		strcat(pattern, "*a");
	strcat(pattern, "*b");
	memset(bucket, 'a', OB_BUCKET_MAX);
	bucket[OB_BUCKET_MAX] = '\0';
	assert_false(ob_bucket_matches(pattern, bucket));
	pattern[60] = '\0';
	strcat(pattern, "*b");
	assert_false(ob_bucket_matches(pattern, bucket));
	assert_true(clock() - start < 5 * CLOCKS_PER_SEC);
}

/* ---- Targets ---- */

#define AWS "https://s3.eu-west-1.amazonaws.com"
#define RGW "http://127.0.0.1:7480"

static void
targets(void **state)
{
	static const struct
	{
		const char *url;
		ObAddressing addressing;
		const char *bucket;
		const char *key;
		const char *host;
		const char *path;
	} rows[] = {
		{AWS, OB_ADDRESSING_AUTO, "lake", "a/b.csv",
		 "lake.s3.eu-west-1.amazonaws.com", "/a/b.csv"},
		{AWS, OB_ADDRESSING_AUTO, "my.lake", "k", "s3.eu-west-1.amazonaws.com",
		 "/my.lake/k"},
		{"http://s3.eu-west-1.amazonaws.com", OB_ADDRESSING_AUTO, "my.lake",
		 "k", "my.lake.s3.eu-west-1.amazonaws.com", "/k"},
		{AWS, OB_ADDRESSING_PATH, "lake", "k", "s3.eu-west-1.amazonaws.com",
		 "/lake/k"},
		{AWS, OB_ADDRESSING_VIRTUAL, "my.lake", "k",
		 "my.lake.s3.eu-west-1.amazonaws.com", "/k"},
		{AWS, OB_ADDRESSING_AUTO, "lake", NULL,
		 "lake.s3.eu-west-1.amazonaws.com", "/"},
		{AWS, OB_ADDRESSING_AUTO, "lake", "",
		 "lake.s3.eu-west-1.amazonaws.com", "/"},
		{RGW, OB_ADDRESSING_AUTO, "lake", "k", "127.0.0.1:7480", "/lake/k"},
		{RGW, OB_ADDRESSING_AUTO, "lake", NULL, "127.0.0.1:7480", "/lake"},
		{"http://minio:9000", OB_ADDRESSING_VIRTUAL, "lake", "k",
		 "lake.minio:9000", "/k"},
		{"http://[::1]:7480", OB_ADDRESSING_AUTO, "lake", "k", "[::1]:7480",
		 "/lake/k"},
		{"https://h:443", OB_ADDRESSING_AUTO, "lake", "k", "h", "/lake/k"},
		{"https://h:80", OB_ADDRESSING_AUTO, "lake", "k", "h:80", "/lake/k"},
		{"http://h:80", OB_ADDRESSING_AUTO, "lake", "k", "h", "/lake/k"},
		{"http://h:443", OB_ADDRESSING_AUTO, "lake", "k", "h:443", "/lake/k"},
		{"https://h/s3/x/", OB_ADDRESSING_AUTO, "lake", "k", "h",
		 "/s3/x/lake/k"},
		{"https://h/s3", OB_ADDRESSING_AUTO, "lake", NULL, "h", "/s3/lake"},
		{"https://h/s3", OB_ADDRESSING_VIRTUAL, "lake", NULL, "lake.h",
		 "/s3/"},
		/* keys are unchanged */
		{RGW, OB_ADDRESSING_AUTO, "lake", "/k", "127.0.0.1:7480", "/lake//k"},
		{RGW, OB_ADDRESSING_AUTO, "lake", "a//b/./../c/", "127.0.0.1:7480",
		 "/lake/a//b/./../c/"},
		{RGW, OB_ADDRESSING_AUTO, "lake", "a b+c%?#&=\xc3\xbc",
		 "127.0.0.1:7480", "/lake/a%20b%2Bc%25%3F%23%26%3D%C3%BC"},
		/* no bucket changes the host or the path */
		{RGW, OB_ADDRESSING_AUTO, "a/../b\r\nx", "k", "127.0.0.1:7480",
		 "/a%2F..%2Fb%0D%0Ax/k"},
		{RGW, OB_ADDRESSING_VIRTUAL, "evil/\r\n", "k",
		 "evil%2F%0D%0A.127.0.0.1:7480", "/k"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObEndpoint endpoint;
		ObError error = {0};
		ObBuf host;
		ObBuf path;

		ob_buf_init(&host, 1000);
		ob_buf_init(&path, 1000);
		assert_int_equal(ob_endpoint_parse(&endpoint, rows[i].url, &error),
						 OB_OK);
		ob_uri_target(&endpoint, rows[i].addressing, rows[i].bucket,
					  rows[i].key, &host, &path);
		assert_string_equal(host.data, rows[i].host);
		assert_string_equal(path.data, rows[i].path);
		ob_buf_free(&host);
		ob_buf_free(&path);
	}
}

static void
longest_key(void **state)
{
	ObEndpoint endpoint;
	ObError error = {0};
	char key[OB_KEY_MAX + 1];
	ObBuf host;
	ObBuf path;

	memset(key, ' ', OB_KEY_MAX);
	key[OB_KEY_MAX] = '\0';
	ob_buf_init(&host, 1000);
	ob_buf_init(&path, 3 * OB_KEY_MAX + 6);
	assert_int_equal(ob_endpoint_parse(&endpoint, RGW, &error), OB_OK);
	ob_uri_target(&endpoint, OB_ADDRESSING_AUTO, "lake", key, &host, &path);
	assert_int_equal(ob_buf_check(&path, &error), OB_OK);
	assert_int_equal(path.len, 3 * OB_KEY_MAX + 6);
	ob_buf_free(&host);
	ob_buf_free(&path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encoding),
		cmocka_unit_test(encoding_covers_every_byte),
		cmocka_unit_test(encoding_respects_the_maximum),
		cmocka_unit_test(good_endpoints),
		cmocka_unit_test(bad_endpoints),
		cmocka_unit_test(endpoint_lengths),
		cmocka_unit_test(password_is_never_repeated),
		cmocka_unit_test(amazon_hosts),
		cmocka_unit_test(aws_endpoints),
		cmocka_unit_test(hosts_of_services),
		cmocka_unit_test(variants_of_the_environment),
		cmocka_unit_test(requirements_of_other_stores),
		cmocka_unit_test(bucket_names),
		cmocka_unit_test(bucket_patterns),
		cmocka_unit_test(overlong_patterns_match_nothing),
		cmocka_unit_test(hard_patterns_are_quick),
		cmocka_unit_test(targets),
		cmocka_unit_test(longest_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
