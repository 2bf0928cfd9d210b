/*
 * test_sigv4.c
 *		Signature Version 4 against AWS's own examples and vectors.
 *
 * test/core/test_sigv4.c
 *
 * Expected values come from the worked examples of
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 * and from botocore: for other keys and queries, and for requests of all kinds
 * in sigv4_botocore.json, which sigv4_botocore.py has made.
 *
 * The test suite of aws-c-auth is not part of this repository.  A copy of it
 * is run by OB_SIGV4_SUITE=FOLDER build/core/test_sigv4.
 *
 * link: -Wl,--wrap=malloc -Wl,--wrap=HMAC -Wl,--wrap=EVP_Digest
 */
#define TESTING_MALLOC
#include "testing.h"

#include <dirent.h>
#include <jansson.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "core/aws/sigv4.h"
#include "core/text/uri.h"

#define ACCESS_KEY "AKIAIOSFODNN7EXAMPLE"
#define SECRET_KEY "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define WHEN 1369353600 /* 2013-05-24T00:00:00Z */

static const ObCredentials example = {ACCESS_KEY, SECRET_KEY, NULL};

/* ---- libcrypto, counted and made to fail ---- */

static int hmac_calls;
static int crypto_budget = -1; /* calls that succeed; negative: all */

extern unsigned char *__real_HMAC(const EVP_MD *md, const void *key, int len,
								  const unsigned char *data, size_t data_len,
								  unsigned char *out, unsigned *out_len);
extern unsigned char *__wrap_HMAC(const EVP_MD *md, const void *key, int len,
								  const unsigned char *data, size_t data_len,
								  unsigned char *out, unsigned *out_len);
extern int __real_EVP_Digest(const void *data, size_t len, unsigned char *out,
							 unsigned *out_len, const EVP_MD *md, ENGINE *e);
extern int __wrap_EVP_Digest(const void *data, size_t len, unsigned char *out,
							 unsigned *out_len, const EVP_MD *md, ENGINE *e);

/* A failure leaves an entry in the error queue, as those of libcrypto do. */
static bool
crypto_fails(void)
{
	if (crypto_budget == 0)
	{
		ERR_raise(ERR_LIB_EVP, ERR_R_MALLOC_FAILURE);
		return true;
	}
	if (crypto_budget > 0)
		crypto_budget--;
	return false;
}

unsigned char *
__wrap_HMAC(const EVP_MD *md, const void *key, int len,
			const unsigned char *data, size_t data_len, unsigned char *out,
			unsigned *out_len)
{
	hmac_calls++;
	if (crypto_fails())
		return NULL;
	return __real_HMAC(md, key, len, data, data_len, out, out_len);
}

int
__wrap_EVP_Digest(const void *data, size_t len, unsigned char *out,
				  unsigned *out_len, const EVP_MD *md, ENGINE *e)
{
	if (crypto_fails())
		return 0;
	return __real_EVP_Digest(data, len, out, out_len, md, e);
}

static int
teardown(void **state)
{
	malloc_budget = -1;
	crypto_budget = -1;
	return 0;
}

/* ---- Signing, with all the texts kept ---- */

typedef struct Signed
{
	ObBuf canonical;
	ObBuf to_sign;
	ObBuf authorization;
} Signed;

static void
signed_init(Signed *texts)
{
	ob_buf_init(&texts->canonical, 100000);
	ob_buf_init(&texts->to_sign, 100000);
	ob_buf_init(&texts->authorization, 100000);
}

static void
signed_free(Signed *texts)
{
	ob_buf_free(&texts->canonical);
	ob_buf_free(&texts->to_sign);
	ob_buf_free(&texts->authorization);
}

static void
sign_into(Signed *texts, ObSigningKey *cache, const ObCredentials *credentials,
		  const ObSignRequest *request)
{
	ObError error = {0};

	assert_int_equal(ob_sigv4_sign(cache, credentials, request,
								   &texts->canonical, &texts->to_sign,
								   &texts->authorization, &error),
					 OB_OK);
	assert_int_equal(error.code, OB_OK);
	assert_null(strstr(texts->canonical.data, credentials->secret_access_key));
	assert_null(strstr(texts->to_sign.data, credentials->secret_access_key));
	assert_null(
		strstr(texts->authorization.data, credentials->secret_access_key));
}

static const char *
signature_of(const ObBuf *authorization)
{
	const char *found = strstr(authorization->data, ", Signature=");

	assert_non_null(found);
	return found + strlen(", Signature=");
}

/* GET / of the documentation's bucket, for tests that change one detail. */
static ObSignRequest
plain_request(void)
{
	static const ObPair headers[] = {
		{"Host", "examplebucket.s3.amazonaws.com"},
		{"x-amz-date", "20130524T000000Z"},
	};

	return (ObSignRequest){.method = "GET",
						   .path = "/",
						   .query = "",
						   .headers = headers,
						   .nheaders = COUNT_OF(headers),
						   .payload_hash = OB_SHA256_EMPTY,
						   .region = "us-east-1",
						   .service = "s3",
						   .when = WHEN};
}

/* ---- Worked examples ---- */

typedef struct Example
{
	const char *name;
	const char *method;
	const char *path;
	const char *query;
	ObPair headers[8];
	const char *payload_hash;
	const char *region;
	const char *signed_headers;
	const char *signature;
} Example;

#define DOC_HOST                                 \
	{                                            \
		"Host", "examplebucket.s3.amazonaws.com" \
	}
#define DOC_DATE                         \
	{                                    \
		"x-amz-date", "20130524T000000Z" \
	}
#define DOC_EMPTY                               \
	{                                           \
		"x-amz-content-sha256", OB_SHA256_EMPTY \
	}
#define PUT_HASH \
	"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"

static void
run_examples(const Example *examples, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		const Example *e = &examples[i];
		ObSigningKey cache = {0};
		ObSignRequest request = {.method = e->method,
								 .path = e->path,
								 .query = e->query,
								 .headers = e->headers,
								 .payload_hash = e->payload_hash,
								 .region = e->region,
								 .service = "s3",
								 .when = WHEN};
		char expected[1000];
		Signed texts;

		while (e->headers[request.nheaders].name != NULL)
			request.nheaders++;
		snprintf(expected, sizeof(expected),
				 "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY
				 "/20130524/%s/s3/aws4_request, SignedHeaders=%s, "
				 "Signature=%s",
				 e->region, e->signed_headers, e->signature);
		signed_init(&texts);
		sign_into(&texts, &cache, &example, &request);
		assert_row(e->name, strcmp(texts.authorization.data, expected) == 0);
		signed_free(&texts);
	}
}

static void
examples_of_the_documentation(void **state)
{
	static const Example examples[] = {
		{"GET Object",
		 "GET",
		 "/test.txt",
		 "",
		 {DOC_HOST, {"Range", "bytes=0-9"}, DOC_EMPTY, DOC_DATE},
		 OB_SHA256_EMPTY,
		 "us-east-1",
		 "host;range;x-amz-content-sha256;x-amz-date",
		 "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{"PUT Object",
		 "PUT",
		 "/test%24file.text",
		 "",
		 {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
		  DOC_HOST,
		  DOC_DATE,
		  {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
		  {"x-amz-content-sha256", PUT_HASH}},
		 PUT_HASH,
		 "us-east-1",
		 "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
		 "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
		{"GET Bucket Lifecycle",
		 "GET",
		 "/",
		 "lifecycle=",
		 {DOC_HOST, DOC_DATE, DOC_EMPTY},
		 OB_SHA256_EMPTY,
		 "us-east-1",
		 "host;x-amz-content-sha256;x-amz-date",
		 "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{"List Objects",
		 "GET",
		 "/",
		 "max-keys=2&prefix=J",
		 {DOC_HOST, DOC_DATE, DOC_EMPTY},
		 OB_SHA256_EMPTY,
		 "us-east-1",
		 "host;x-amz-content-sha256;x-amz-date",
		 "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	};

	run_examples(examples, COUNT_OF(examples));
}

#define EU_HOST                                           \
	{                                                     \
		"host", "my-bucket.s3.eu-central-1.amazonaws.com" \
	}

static void
examples_of_botocore(void **state)
{
	static const Example examples[] = {
		{"a key with all sorts of characters, a session token, metadata",
		 "PUT",
		 "/my-bucket/a%20b%2Bc%25/%C3%A9//./../x~%3F%23%26%3D.txt",
		 "",
		 {{"x-amz-meta-Name", "  two   words "},
		  {"Content-Type", "text/csv"},
		  {"Host", "127.0.0.1:7480"},
		  {"X-Amz-Security-Token", "IQoJb3JpZ2luX2VjEXAMPLETOKEN/+=="},
		  DOC_EMPTY,
		  DOC_DATE},
		 OB_SHA256_EMPTY,
		 "eu-central-1",
		 "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-meta-name;"
		 "x-amz-security-token",
		 "14bf58c35a28828b242b51890c793dc2525a51f8d34e359fdb98e644b670d2f5"},
		{"UploadPart",
		 "PUT",
		 "/k",
		 "partNumber=7&uploadId=2~a%2Bb%2Fc%3D",
		 {EU_HOST, DOC_EMPTY, DOC_DATE},
		 OB_SHA256_EMPTY,
		 "eu-central-1",
		 "host;x-amz-content-sha256;x-amz-date",
		 "0e257174a48c626e8632b51cd093c4493324662e89d7635ae0866b4a349cdce0"},
		{"CreateMultipartUpload",
		 "POST",
		 "/k",
		 "uploads=",
		 {EU_HOST, DOC_EMPTY, DOC_DATE},
		 OB_SHA256_EMPTY,
		 "eu-central-1",
		 "host;x-amz-content-sha256;x-amz-date",
		 "eef4e094b1d1e0c6643f6268ea6654d76e152fd49d0f6e7655b0e1833e4f79ee"},
	};

	run_examples(examples, COUNT_OF(examples));
}

/* The intermediate texts of the documentation's first example. */
static void
texts_of_the_documentation(void **state)
{
	static const ObPair headers[] = {
		DOC_HOST, {"Range", "bytes=0-9"}, DOC_EMPTY, DOC_DATE};
	ObSigningKey cache = {0};
	ObSignRequest request = plain_request();
	Signed texts;

	request.path = "/test.txt";
	request.headers = headers;
	request.nheaders = COUNT_OF(headers);
	signed_init(&texts);
	sign_into(&texts, &cache, &example, &request);
	assert_string_equal(
		texts.canonical.data,
		"GET\n/test.txt\n\n"
		"host:examplebucket.s3.amazonaws.com\n"
		"range:bytes=0-9\n"
		"x-amz-content-sha256:" OB_SHA256_EMPTY "\n"
		"x-amz-date:20130524T000000Z\n\n"
		"host;range;x-amz-content-sha256;x-amz-date\n" OB_SHA256_EMPTY);
	assert_string_equal(texts.to_sign.data,
						"AWS4-HMAC-SHA256\n20130524T000000Z\n"
						"20130524/us-east-1/s3/aws4_request\n"
						"7344ae5b7ee6c3e7e6b0fe0640412a37"
						"625d1fbfff95c48bbb2dc43964946972");
	signed_free(&texts);
}

/* The signing key that the IAM User Guide derives step by step. */
static void
key_of_the_documentation(void **state)
{
	static const unsigned char expected[] = {
		0xf4, 0x78, 0x0e, 0x2d, 0x9f, 0x65, 0xfa, 0x89, 0x5f, 0x9c, 0x67,
		0xb3, 0x2c, 0xe1, 0xba, 0xf0, 0xb0, 0xd8, 0xa4, 0x35, 0x05, 0xa0,
		0x00, 0xa1, 0xa9, 0xe0, 0x90, 0xd4, 0x14, 0xdb, 0x40, 0x4d};
	ObCredentials credentials = {
		"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", NULL};
	ObSigningKey cache = {0};
	ObSignRequest request = plain_request();
	Signed texts;

	request.service = "iam";
	request.when = 1329264000; /* 2012-02-15 */
	signed_init(&texts);
	sign_into(&texts, &cache, &credentials, &request);
	assert_string_equal(cache.scope, "20120215/us-east-1/iam");
	assert_memory_equal(cache.key, expected, sizeof(expected));
	signed_free(&texts);
}

/* ---- The parts of a canonical request ---- */

static void
queries(void **state)
{
	static const struct
	{
		ObPair pairs[6];
		const char *query;
	} rows[] = {
		{{{NULL, NULL}}, ""},
		{{{"uploads", NULL}}, "uploads="},
		{{{"uploads", ""}}, "uploads="},
		{{{"uploadId", "a+b/c=="}, {"partNumber", "10"}},
		 "partNumber=10&uploadId=a%2Bb%2Fc%3D%3D"},
		{{{"b", "2"}, {"a", "3"}, {"c", "1"}}, "a=3&b=2&c=1"},
		/* the order is that of code points, so upper case comes first */
		{{{"a", "1"}, {"B", "2"}, {"A", "3"}, {"_", "4"}, {"~", "5"}},
		 "A=3&B=2&_=4&a=1&~=5"},
		{{{"a", "z"}, {"a", NULL}, {"a", "b"}}, "a=&a=b&a=z"},
		{{{"a", "1"}, {"a", "1"}, {"a", "1"}}, "a=1&a=1&a=1"},
		/* "a-b" sorts after "a", although "=" sorts after "-" */
		{{{"a-b", "1"}, {"a", "2"}}, "a=2&a-b=1"},
		/* sorted as encoded: "%" is below the digits, which are below "A" */
		{{{"a:", "1"}, {"a0", "2"}, {"a~", "3"}, {"a\xc3\xa9", "4"}},
		 "a%3A=1&a%C3%A9=4&a0=2&a~=3"},
		{{{"k", "A"}, {"k", "["}, {"k", "-"}}, "k=%5B&k=-&k=A"},
		{{{"a\xff", "1"}, {"a\x80", "2"}, {"a\x01", "3"}, {"a%", "4"}},
		 "a%01=3&a%25=4&a%80=2&a%FF=1"},
		{{{"prefix", "a b/c&d=e?"}}, "prefix=a%20b%2Fc%26d%3De%3F"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObBuf out;
		int n = 0;

		while (n < 6 && rows[i].pairs[n].name != NULL)
			n++;
		ob_buf_init(&out, 1000);
		ob_sigv4_query(&out, rows[i].pairs, n);
		assert_string_equal(out.data, rows[i].query);
		ob_buf_free(&out);
	}
}

/* The order of any two bytes is that of their encoded forms. */
static void
queries_sort_every_byte_as_encoded(void **state)
{
	for (int a = 1; a < 256; a++)
		for (int b = 1; b < 256; b++)
		{
			char texts[2][2] = {{(char) a, '\0'}, {(char) b, '\0'}};
			ObPair pairs[2] = {{"k", texts[0]}, {"k", texts[1]}};
			ObBuf encoded[2];
			ObBuf out;
			char expected[32];

			for (int i = 0; i < 2; i++)
			{
				ob_buf_init(&encoded[i], 10);
				ob_uri_encode(&encoded[i], texts[i], 1, false);
			}
			if (strcmp(encoded[0].data, encoded[1].data) <= 0)
				snprintf(expected, sizeof(expected), "k=%s&k=%s",
						 encoded[0].data, encoded[1].data);
			else
				snprintf(expected, sizeof(expected), "k=%s&k=%s",
						 encoded[1].data, encoded[0].data);
			ob_buf_init(&out, 100);
			ob_sigv4_query(&out, pairs, 2);
			assert_string_equal(out.data, expected);
			ob_buf_free(&out);
			ob_buf_free(&encoded[0]);
			ob_buf_free(&encoded[1]);
		}
}

static void
canonical_headers(void **state)
{
	static const struct
	{
		ObPair headers[6];
		const char *lines; /* and the names after an empty line */
	} rows[] = {
		{{{"HOST", "h"}}, "host:h\n\nhost\n"},
		{{{"x-b", "2"}, {"X-A", "1"}, {"host", "h"}},
		 "host:h\nx-a:1\nx-b:2\n\nhost;x-a;x-b\n"},
		/* repeated names, in the given order */
		{{{"x-m", "c"}, {"host", "h"}, {"X-M", "a"}, {"x-M", "b"}},
		 "host:h\nx-m:c,a,b\n\nhost;x-m\n"},
		{{{"x-m", "a"}, {"x-m", "a"}}, "x-m:a,a\n\nx-m\n"},
		{{{"x-m", "  a \t b\t"}, {"x-n", " "}, {"x-o", ""}},
		 "x-m:a b\nx-n:\nx-o:\n\nx-m;x-n;x-o\n"},
		{{{"x-m", "\"a   b\""}}, "x-m:\"a b\"\n\nx-m\n"},
		/* a name that begins like another one */
		{{{"x-amz-date", "1"}, {"x-amz", "2"}, {"x-amz-d", "3"}},
		 "x-amz:2\nx-amz-d:3\nx-amz-date:1\n\nx-amz;x-amz-d;x-amz-date\n"},
		{{{"IF-NONE-MATCH", "*"}}, "if-none-match:*\n\nif-none-match\n"},
		{{{"x-m", "gr\xc3\xbc\xc3\x9f"}}, "x-m:gr\xc3\xbc\xc3\x9f\n\nx-m\n"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObSigningKey cache = {0};
		ObSignRequest request = plain_request();
		char expected[1000];
		Signed texts;

		request.headers = rows[i].headers;
		request.nheaders = 0;
		while (rows[i].headers[request.nheaders].name != NULL)
			request.nheaders++;
		request.payload_hash = "UNSIGNED-PAYLOAD";
		snprintf(expected, sizeof(expected), "GET\n/\n\n%sUNSIGNED-PAYLOAD",
				 rows[i].lines);
		signed_init(&texts);
		sign_into(&texts, &cache, &example, &request);
		assert_string_equal(texts.canonical.data, expected);
		signed_free(&texts);
	}
}

static void
paths_are_signed_as_given(void **state)
{
	static const char *const paths[] = {"/",          "//", "/a//b/./../c/",
										"/a%20b%2Bc", "/%", "/~"};

	for (size_t i = 0; i < COUNT_OF(paths); i++)
	{
		ObSigningKey cache = {0};
		ObSignRequest request = plain_request();
		char expected[100];
		Signed texts;

		request.path = paths[i];
		snprintf(expected, sizeof(expected), "GET\n%s\n\nhost:", paths[i]);
		signed_init(&texts);
		sign_into(&texts, &cache, &example, &request);
		assert_memory_equal(texts.canonical.data, expected, strlen(expected));
		signed_free(&texts);
	}
}

static void
other_services_encode_twice(void **state)
{
	ObSigningKey cache = {0};
	ObSignRequest request = plain_request();
	Signed texts;

	request.path = "/a%20b/c";
	request.double_encode = true;
	signed_init(&texts);
	sign_into(&texts, &cache, &example, &request);
	assert_memory_equal(texts.canonical.data, "GET\n/a%2520b/c\n\n", 16);
	signed_free(&texts);
}

static void
timestamps(void **state)
{
	static const struct
	{
		int64_t when;
		const char *text;
	} rows[] = {
		{0, "19700101T000000Z"},
		{WHEN, "20130524T000000Z"},
		{1440938160, "20150830T123600Z"},
		{951782399, "20000228T235959Z"},
		{951782400, "20000229T000000Z"},
		{INT64_C(4102444799), "20991231T235959Z"},
		{INT64_C(253402300799), "99991231T235959Z"},
		/* a text of another length is invalid, whatever the clock is */
		{INT64_C(253402300800), "19700101T000000Z"},
		{INT64_MAX, "19700101T000000Z"},
		{-1, "19700101T000000Z"},
		{INT64_MIN, "19700101T000000Z"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		char text[17];

		ob_sigv4_timestamp((time_t) rows[i].when, text);
		assert_string_equal(text, rows[i].text);
	}
}

static void
hashes(void **state)
{
	char hex[OB_SHA256_HEX];
	ObError error = {0};

	assert_int_equal(ob_sha256_hex("", 0, hex, &error), OB_OK);
	assert_string_equal(hex, OB_SHA256_EMPTY);
	assert_int_equal(ob_sha256_hex(NULL, 0, hex, &error), OB_OK);
	assert_string_equal(hex, OB_SHA256_EMPTY);
	assert_int_equal(ob_sha256_hex("abc", 3, hex, &error), OB_OK);
	assert_string_equal(
		hex,
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(ob_sha256_hex("Welcome to Amazon S3.", 21, hex, &error),
					 OB_OK);
	assert_string_equal(hex, PUT_HASH);
}

/* ---- The key's cache ---- */

static void
key_is_derived_once_a_day(void **state)
{
	static const struct
	{
		const char *secret;
		const char *region;
		const char *service;
		time_t when;
		int derivations;
	} rows[] = {
		{SECRET_KEY, "us-east-1", "s3", WHEN, 1},
		{SECRET_KEY, "us-east-1", "s3", WHEN, 0},
		{SECRET_KEY, "us-east-1", "s3", WHEN + 86399, 0},
		{SECRET_KEY, "us-east-1", "s3", WHEN + 86400, 1},
		{SECRET_KEY, "us-east-1", "s3", WHEN, 1}, /* only one key is kept */
		{SECRET_KEY, "us-east-2", "s3", WHEN, 1},
		{SECRET_KEY, "us-east-2", "sts", WHEN, 1},
		{"another secret", "us-east-2", "sts", WHEN, 1},
		{"another secret", "us-east-2", "sts", WHEN, 0},
		{SECRET_KEY, "us-east-1", "s3", WHEN, 1},
	};
	ObSigningKey cache = {0};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObCredentials credentials = {ACCESS_KEY, rows[i].secret, NULL};
		ObSigningKey fresh = {0};
		ObSignRequest request = plain_request();
		Signed cached_texts;
		Signed fresh_texts;

		request.region = rows[i].region;
		request.service = rows[i].service;
		request.when = rows[i].when;
		signed_init(&cached_texts);
		signed_init(&fresh_texts);
		hmac_calls = 0;
		sign_into(&cached_texts, &cache, &credentials, &request);
		assert_int_equal(hmac_calls, 1 + 4 * rows[i].derivations);
		sign_into(&fresh_texts, &fresh, &credentials, &request);
		assert_string_equal(cached_texts.authorization.data,
							fresh_texts.authorization.data);
		signed_free(&cached_texts);
		signed_free(&fresh_texts);
	}
}

static void
cache_holds_no_secret(void **state)
{
	ObSigningKey cache = {0};
	ObSigningKey zero = {0};
	ObSignRequest request = plain_request();
	Signed texts;

	signed_init(&texts);
	sign_into(&texts, &cache, &example, &request);
	assert_null(memmem(&cache, sizeof(cache), SECRET_KEY, strlen(SECRET_KEY)));
	assert_true(cache.valid);
	ob_sigv4_forget(&cache);
	assert_memory_equal(&cache, &zero, sizeof(cache));

	/* the cache works again */
	hmac_calls = 0;
	sign_into(&texts, &cache, &example, &request);
	assert_int_equal(hmac_calls, 5);
	signed_free(&texts);
}

/* ---- Limits and failures ---- */

static void
secret_lengths(void **state)
{
	char secret[1026];

	for (size_t len = 0; len < sizeof(secret); len++)
	{
		ObCredentials credentials = {ACCESS_KEY, secret, NULL};
		ObSigningKey cache = {0};
		ObSignRequest request = plain_request();
		ObError error = {0};
		ObBuf authorization;
		ObCode code;

		memset(secret, 'x', len);
		secret[len] = '\0';
		ob_buf_init(&authorization, 1000);
		code = ob_sigv4_sign(&cache, &credentials, &request, NULL, NULL,
							 &authorization, &error);
		assert_int_equal(code, len <= 1024 ? OB_OK : OB_EINVAL);
		assert_int_equal(error.code, code);
		assert_null(strstr(error.cause, "xxx"));
		assert_int_equal(cache.valid, code == OB_OK);
		ob_buf_free(&authorization);
	}
}

static void
region_lengths(void **state)
{
	char region[200];

	for (size_t len = 0; len < sizeof(region); len++)
	{
		ObSigningKey cache = {0};
		ObSignRequest request = plain_request();
		ObError error = {0};
		ObBuf authorization;

		memset(region, 'r', len);
		region[len] = '\0';
		request.region = region;
		ob_buf_init(&authorization, 1000);
		assert_int_equal(ob_sigv4_sign(&cache, &example, &request, NULL, NULL,
									   &authorization, &error),
						 len + strlen("20130524//s3") < sizeof(cache.scope)
							 ? OB_OK
							 : OB_EINVAL);
		ob_buf_free(&authorization);
	}
}

static void
too_long_texts_are_refused(void **state)
{
	ObSigningKey cache = {0};
	ObSignRequest request = plain_request();
	ObError error = {0};
	ObBuf authorization;
	char *value = test_malloc(300000);
	ObPair header = {"x-amz-meta-a", value};

	memset(value, 'v', 299999);
	value[299999] = '\0';
	request.headers = &header;
	request.nheaders = 1;
	ob_buf_init(&authorization, 1000);
	assert_int_equal(ob_sigv4_sign(&cache, &example, &request, NULL, NULL,
								   &authorization, &error),
					 OB_ELIMIT);
	assert_int_equal(authorization.len, 0);

	/* the caller's own buffer may be too small */
	ob_error_clear(&error);
	request = plain_request();
	ob_buf_free(&authorization);
	ob_buf_init(&authorization, 50);
	assert_int_equal(ob_sigv4_sign(&cache, &example, &request, NULL, NULL,
								   &authorization, &error),
					 OB_ELIMIT);
	ob_buf_free(&authorization);
	test_free(value);
}

/* Lets the first n calls of malloc or of libcrypto succeed, for every n. */
static void
fail_at_every_call(bool of_crypto)
{
	ObSignRequest request = plain_request();
	ObSigningKey whole_cache = {0};
	char expected[400];
	Signed whole;

	signed_init(&whole);
	sign_into(&whole, &whole_cache, &example, &request);
	snprintf(expected, sizeof(expected), "%s", whole.authorization.data);
	signed_free(&whole);
	for (int n = 0;; n++)
	{
		ObSigningKey cache = {0};
		ObError error = {0};
		Signed texts;
		ObCode code;

		signed_init(&texts);
		if (of_crypto)
			crypto_budget = n;
		else
			malloc_budget = n;
		code = ob_sigv4_sign(&cache, &example, &request, &texts.canonical,
							 &texts.to_sign, &texts.authorization, &error);
		teardown(NULL);
		assert_int_equal(code, error.code);
		assert_int_equal(ERR_peek_error(), 0);
		assert_null(strstr(error.cause, SECRET_KEY));
		signed_free(&texts);
		if (code == OB_OK)
		{
			/* a signature needs seven hashes and at least four buffers */
			assert_true(n >= (of_crypto ? 7 : 4));
			return;
		}
		assert_int_equal(code, OB_ENOMEM);

		/* a failure in between does not leave a wrong key behind */
		signed_init(&texts);
		sign_into(&texts, &cache, &example, &request);
		assert_string_equal(texts.authorization.data, expected);
		signed_free(&texts);
	}
}

static void
lack_of_memory(void **state)
{
	fail_at_every_call(false);
}

static void
failures_of_libcrypto(void **state)
{
	char hex[OB_SHA256_HEX] = "old";
	ObError error = {0};

	fail_at_every_call(true);
	crypto_budget = 0;
	assert_int_equal(ob_sha256_hex("abc", 3, hex, &error), OB_ENOMEM);
	assert_error(&error, OB_ENOMEM, "libcrypto");
	assert_string_equal(hex, "");
	assert_int_equal(ERR_peek_error(), 0);
}

/* ---- Requests as text: botocore's vectors, the suite of aws-c-auth ---- */

#define SUITE_HEADERS_MAX 16

typedef struct SuiteCase
{
	const char *name;
	json_t *vector; /* the object that the json file has for a request */
	json_t *context;
	char *text; /* of request.txt; method, path and headers point into it */
	char *method;
	char *path;
	char *query;
	char *body;
	ObPair headers[SUITE_HEADERS_MAX];
	int nheaders;
	ObPair pairs[SUITE_HEADERS_MAX];
	int npairs;
	char date[17];
	char hash[OB_SHA256_HEX];
	ObBuf encoded_query;
} SuiteCase;

/*
 * S3 never normalises a path, so neither does the signer.  These are the cases
 * in which that makes a difference, and which are left out; each has a twin,
 * whose name ends in "unnormalized", and which is run.
 */
static const char *const normalizing_cases[] = {
	"get-relative-normalized",
	"get-relative-relative-normalized",
	"get-slash-dot-slash-normalized",
	"get-slash-normalized",
	"get-slash-pointless-dot-normalized",
	"get-slashes-normalized",
};

static void
decode_in_place(char *text)
{
	char *to = text;

	for (; *text != '\0'; text++)
		if (*text == '%')
		{
			unsigned byte;

			assert_int_equal(sscanf(text + 1, "%2x", &byte), 1);
			*to++ = (char) byte;
			text += 2;
		}
		else
			*to++ = *text;
	*to = '\0';
}

static void
parse_request_line(SuiteCase *c, char *line)
{
	char *version = strstr(line, " HTTP/1.1");
	char *pair;
	char *save = NULL;

	assert_non_null(version);
	*version = '\0';
	c->method = line;
	c->path = strchr(line, ' '); /* the path itself may have blanks */
	assert_non_null(c->path);
	*c->path++ = '\0';
	c->query = strchr(c->path, '?');
	if (c->query == NULL)
		return;
	*c->query++ = '\0';
	for (pair = strtok_r(c->query, "&", &save); pair != NULL;
		 pair = strtok_r(NULL, "&", &save))
	{
		char *value = strchr(pair, '=');

		assert_true(c->npairs < SUITE_HEADERS_MAX);
		if (value != NULL)
		{
			*value++ = '\0';
			decode_in_place(value);
		}
		decode_in_place(pair);
		c->pairs[c->npairs++] = (ObPair){pair, value};
	}
}

static void
add_header(SuiteCase *c, const char *name, const char *value)
{
	assert_true(c->nheaders < SUITE_HEADERS_MAX);
	c->headers[c->nheaders++] = (ObPair){name, value};
}

static void
parse_request(SuiteCase *c)
{
	char *fold;
	char *line;
	char *save = NULL;

	c->body = strstr(c->text, "\n\n");
	if (c->body != NULL)
	{
		*c->body = '\0';
		c->body += 2;
	}
	else
		c->body = "";
	/* a line that begins with a blank continues the line before */
	while ((fold = strstr(c->text, "\n ")) != NULL)
		*fold = ' ';
	parse_request_line(c, strtok_r(c->text, "\n", &save));
	while ((line = strtok_r(NULL, "\n", &save)) != NULL)
	{
		char *value = strchr(line, ':');

		assert_non_null(value);
		*value++ = '\0';
		add_header(c, line, value);
	}
}

static const char *
context_text(const SuiteCase *c, const char *name)
{
	return json_string_value(json_object_get(c->context, name));
}

static time_t
context_time(const SuiteCase *c)
{
	struct tm tm = {0};
	const char *text = context_text(c, "timestamp");

	assert_non_null(text);
	assert_non_null(strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm));
	return timegm(&tm);
}

static void
assert_vector_equal(const SuiteCase *c, const char *name, const char *text)
{
	const char *expected = json_string_value(json_object_get(c->vector, name));

	assert_non_null(expected);
	if (strcmp(expected, text) != 0)
		print_error("%s: %s\n", c->name, name);
	assert_string_equal(text, expected);
}

static void
sign_case(SuiteCase *c)
{
	json_t *secrets = json_object_get(c->context, "credentials");
	ObCredentials credentials = {
		json_string_value(json_object_get(secrets, "access_key_id")),
		json_string_value(json_object_get(secrets, "secret_access_key")),
		json_string_value(json_object_get(secrets, "token"))};
	ObSigningKey cache = {0};
	ObError error = {0};
	ObSignRequest request = {.method = c->method,
							 .path = c->path,
							 .headers = c->headers,
							 .payload_hash = c->hash,
							 .region = context_text(c, "region"),
							 .service = context_text(c, "service"),
							 .when = context_time(c)};
	Signed texts;

	request.double_encode = strcmp(request.service, "s3") != 0;
	assert_int_equal(ob_sha256_hex(c->body, strlen(c->body), c->hash, &error),
					 OB_OK);
	ob_sigv4_timestamp(request.when, c->date);
	add_header(c, "X-Amz-Date", c->date);
	if (json_is_true(json_object_get(c->context, "sign_body")))
		add_header(c, "x-amz-content-sha256", c->hash);
	if (credentials.session_token != NULL &&
		!json_is_true(json_object_get(c->context, "omit_session_token")))
		add_header(c, "X-Amz-Security-Token", credentials.session_token);
	ob_sigv4_query(&c->encoded_query, c->pairs, c->npairs);
	request.query = c->encoded_query.data;
	request.nheaders = c->nheaders;

	signed_init(&texts);
	sign_into(&texts, &cache, &credentials, &request);
	assert_vector_equal(c, "canonical", texts.canonical.data);
	assert_vector_equal(c, "to_sign", texts.to_sign.data);
	assert_vector_equal(c, "signature", signature_of(&texts.authorization));
	assert_vector_equal(c, "authorization", texts.authorization.data);
	signed_free(&texts);
}

static void
run_vector(json_t *vector)
{
	SuiteCase c = {.vector = vector};
	const char *request =
		json_string_value(json_object_get(vector, "request"));

	c.name = json_string_value(json_object_get(vector, "name"));
	c.context = json_object_get(vector, "context");
	assert_non_null(request);
	c.text = test_malloc(strlen(request) + 1);
	strcpy(c.text, request);
	ob_buf_init(&c.encoded_query, 10000);
	parse_request(&c);
	sign_case(&c);
	ob_buf_free(&c.encoded_query);
	test_free(c.text);
}

static void
vectors_of_botocore(void **state)
{
	json_error_t error;
	json_t *file = json_load_file("test/core/sigv4_botocore.json", 0, &error);
	json_t *vectors = json_object_get(file, "vectors");
	json_t *vector;
	size_t i;

	assert_true(json_array_size(vectors) >= 70);
	json_array_foreach(vectors, i, vector) run_vector(vector);
	json_decref(file);
}

/* Puts the text of a file of the suite into the vector. */
static void
set_from_file(json_t *vector, const char *key, const char *folder,
			  const char *name)
{
	char path[900];
	char text[20000];
	FILE *file;
	size_t len;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "r");
	assert_non_null(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	while (len > 0 && text[len - 1] == '\n')
		len--;
	text[len] = '\0';
	json_object_set_new(vector, key, json_string(text));
}

static void
run_case(const char *suite, const char *name)
{
	json_t *vector = json_object();
	char folder[800];
	char path[900];
	char *authorization;
	json_error_t error;

	snprintf(folder, sizeof(folder), "%s/%s", suite, name);
	snprintf(path, sizeof(path), "%s/context.json", folder);
	json_object_set_new(vector, "name", json_string(name));
	json_object_set_new(vector, "context", json_load_file(path, 0, &error));
	set_from_file(vector, "request", folder, "request.txt");
	set_from_file(vector, "canonical", folder, "header-canonical-request.txt");
	set_from_file(vector, "to_sign", folder, "header-string-to-sign.txt");
	set_from_file(vector, "signature", folder, "header-signature.txt");
	set_from_file(vector, "signed", folder, "header-signed-request.txt");
	authorization =
		strstr(json_string_value(json_object_get(vector, "signed")),
			   "Authorization:");
	assert_non_null(authorization);
	authorization += strlen("Authorization:");
	json_object_set_new(
		vector, "authorization",
		json_stringn(authorization, strcspn(authorization, "\n")));
	run_vector(vector);
	json_decref(vector);
}

static void
vectors_of_the_suite(void **state)
{
	char suite[500];
	DIR *folder;
	struct dirent *entry;
	int ran = 0;
	int left_out = 0;

	snprintf(suite, sizeof(suite), "%s/v4", getenv("OB_SIGV4_SUITE"));
	folder = opendir(suite);
	assert_non_null(folder);
	while ((entry = readdir(folder)) != NULL)
	{
		bool skipped = false;

		if (entry->d_name[0] == '.')
			continue;
		for (size_t i = 0; i < COUNT_OF(normalizing_cases); i++)
			skipped |= strcmp(entry->d_name, normalizing_cases[i]) == 0;
		if (skipped)
		{
			left_out++;
			continue;
		}
		run_case(suite, entry->d_name);
		ran++;
	}
	closedir(folder);
	assert_int_equal(left_out, COUNT_OF(normalizing_cases));
	assert_true(ran >= 32);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples_of_the_documentation),
		cmocka_unit_test(examples_of_botocore),
		cmocka_unit_test(texts_of_the_documentation),
		cmocka_unit_test(key_of_the_documentation),
		cmocka_unit_test(queries),
		cmocka_unit_test(queries_sort_every_byte_as_encoded),
		cmocka_unit_test(canonical_headers),
		cmocka_unit_test(paths_are_signed_as_given),
		cmocka_unit_test(other_services_encode_twice),
		cmocka_unit_test(timestamps),
		cmocka_unit_test(hashes),
		cmocka_unit_test(key_is_derived_once_a_day),
		cmocka_unit_test(cache_holds_no_secret),
		cmocka_unit_test(secret_lengths),
		cmocka_unit_test(region_lengths),
		cmocka_unit_test(too_long_texts_are_refused),
		cmocka_unit_test_teardown(lack_of_memory, teardown),
		cmocka_unit_test_teardown(failures_of_libcrypto, teardown),
		cmocka_unit_test(vectors_of_botocore),
		cmocka_unit_test(vectors_of_the_suite),
	};
	/* the last test needs files from elsewhere */
	size_t left_out = getenv("OB_SIGV4_SUITE") == NULL;

	return _cmocka_run_group_tests("tests", tests, COUNT_OF(tests) - left_out,
								   NULL, NULL);
}
