/*
 * test_place.c
 *		Whether two destinations are the same object.
 *
 * test/core/test_place.c
 */
#include "testing.h"

#include "core/text/place.h"

typedef struct Row
{
	const char *url;
	const char *bucket;
	const char *key;
	const char *other_url;
	const char *other_bucket; /* "": the same as bucket */
	const char *other_key;
} Row;

static void
place_of(const char *url, const char *bucket, const char *key, ObBuf *out)
{
	ObEndpoint endpoint;
	ObError error;

	ob_error_clear(&error);
	ob_buf_init(out, 8192);
	assert_int_equal(ob_endpoint_parse(&endpoint, url, &error), OB_OK);
	ob_place(&endpoint, bucket, key, out);
	assert_false(out->failed);
}

static bool
is_one(const Row *row)
{
	ObBuf one;
	ObBuf other;
	bool same;

	place_of(row->url, row->bucket, row->key, &one);
	place_of(row->other_url,
			 row->other_bucket[0] ? row->other_bucket : row->bucket,
			 row->other_key[0] ? row->other_key : row->key, &other);
	same = strcmp(one.data, other.data) == 0;
	ob_buf_free(&one);
	ob_buf_free(&other);
	return same;
}

static void
one_object(void **state)
{
	static const Row rows[] = {
		{"http://s3.example:9000", "b", "k", "http://s3.example:9000", "", ""},
		{"http://s3.example:9000", "b", "k", "http://S3.Example:9000", "", ""},
		{"http://s3.example:9000", "b", "k", "http://s3.example.:9000", "",
		 ""},
		{"http://s3.example", "b", "k", "http://s3.example:80/", "", ""},
		{"https://s3.example", "b", "k", "HTTPS://s3.example:443", "", ""},
		{"http://s3.example:443", "b", "k", "https://s3.example", "", ""},
		{"http://localhost:7480", "b", "k", "http://127.0.0.1:7480", "", ""},
		{"http://localhost:7480", "b", "k", "http://LOCALHOST.:7480", "", ""},
		{"http://localhost:7480", "b", "k", "http://[::1]:7480", "", ""},
		{"http://localhost:7480", "b", "k", "http://127.1:7480", "", ""},
		{"http://localhost:7480", "b", "k", "http://2130706433:7480", "", ""},
		{"http://localhost:7480", "b", "k", "http://[::ffff:127.0.0.1]:7480",
		 "", ""},
		{"http://[2001:DB8::1]", "b", "k", "http://[2001:db8:0:0:0:0:0:1]", "",
		 ""},
		{"http://10.0.0.1", "b", "k", "http://0x0a000001", "", ""},
		/* the bucket, or a part of the key, is in another place */
		{"http://h/lake", "bbb", "k", "http://h", "lake", "bbb/k"},
		{"https://s3.amazonaws.com", "b", "k",
		 "https://s3.eu-central-1.amazonaws.com", "", ""},
		{"https://s3.amazonaws.com", "b", "k",
		 "http://S3.dualstack.eu-west-1.AmazonAWS.com.", "", ""},
		{"https://s3.cn-north-1.amazonaws.com.cn", "b", "k",
		 "https://s3.cn-northwest-1.amazonaws.com.cn", "", ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_row(rows[i].other_url, is_one(&rows[i]));
}

static void
two_objects(void **state)
{
	static const Row rows[] = {
		{"http://s3.example", "b", "k", "http://s3.example", "c", ""},
		{"http://s3.example", "b", "k", "http://s3.example", "", "K"},
		{"http://s3.example", "b", "k", "http://s4.example", "", ""},
		{"http://s3.example", "b", "k", "https://s3.example", "", ""},
		{"http://s3.example", "b", "k", "http://s3.example:8080", "", ""},
		{"http://s3.example", "b", "k", "http://s3.example/base", "", ""},
		{"http://s3.example/a", "b", "k", "http://s3.example/A", "", ""},
		{"http://127.0.0.1", "b", "k", "http://127.0.0.2", "", ""},
		{"https://s3.amazonaws.com", "b", "k",
		 "https://s3.cn-north-1.amazonaws.com.cn", "", ""},
		/* another server on AWS's machines, and S3 itself */
		{"https://s3.amazonaws.com", "b", "k",
		 "https://ec2-1-2-3-4.compute.amazonaws.com", "", ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_row(rows[i].other_url, !is_one(&rows[i]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_object),
		cmocka_unit_test(two_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
