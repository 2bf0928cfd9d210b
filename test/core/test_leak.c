/*
 * test_leak.c
 *		Texts that repeat a secret, in all known forms.
 *
 * test/core/test_leak.c
 */
#include "testing.h"

#include "core/base/leak.h"

/* A secret with the letters and signs of a session token. */
#define SECRET "IQoJb3JpZ2luX2VjEPr+/wEaCXVzLWVhc3QtMSJHMEUCIQDx/9Kq+7hT"

static void
assert_leaks(const char *text)
{
	if (!ob_secret_leaks(text, SECRET))
		fail_msg("it is not seen in: %s", text);
}

static void
forms_of_a_secret(void **state)
{
	assert_leaks("x-amz-security-token: " SECRET);
	assert_leaks("told " SECRET ", and more");
	/* percent-encoded, once and twice, and in every character */
	assert_leaks("t=IQoJb3Jp%5A2luX2V%6AEPr%2B%2FwEa");
	assert_leaks("t=IQoJb%2533Jp");
	assert_leaks("%49%51%6F%4A%62%33%4A%70%5A");
	/* escaped for XML and JSON */
	assert_leaks("VjEPr&#43;&#x2f;wEaCXV");
	assert_leaks("VjEPr&amp;#43;&amp;#x2f;wEaCXV");
	assert_leaks("VjEPr+\\/wEaCXV");
	assert_leaks("VjEPr\\u002b\\u002FwEaCXV");
	/* as loggers and scripts format it */
	assert_leaks("\\x49\\x51\\x6f\\x4A\\x62\\x33\\x4a\\x70\\x5a");
	assert_leaks("\\111\\121\\157\\112\\142\\063\\112\\160\\132");
	assert_leaks("%u0049%u0051%u006f%u004A%u0062%u0033%u004a%u0070%u005A");
	/* broken into lines */
	assert_leaks("IQoJ\r\n b3Jp\r\n Z2lu");
	/* in hexadecimal */
	assert_leaks("49516f4a62334a70");
	assert_leaks("0x49516F4A62334A70");
	assert_leaks("bytes: 49 51 6f 4a 62 33 4a 70 5a 32 6c 75");
	/* truncated */
	assert_leaks("...QoJb3JpZ");
	assert_leaks("IQoJb3Jp");
}

/* Base64 of "x: " and the secret, with the secret at each offset. */
static void
base64_at_each_place(void **state)
{
	/* base64 of SECRET after "", "x", "xy"; the last in the alphabet of URLs
	 */
	assert_leaks("SVFvSmIzSnBaMmx1WDJWakVQcisvd0VhQ1hWekxXVmhjM1F0TVNK");
	assert_leaks("eElRb0piM0pwWjJsdVgyVmpFUHIrL3dFYUNYVnpMV1ZoYzNRdE1T");
	assert_leaks("eHlJUW9KYjNKcFoybHVYMlZqRVByKy93RWFDWFZ6TFdWaGMzUXRN");
	assert_leaks("eHlJUW9KYjNK\ncFoybHVYMlZqRVByKy93RWFDWFZ6");
}

static void
texts_without_a_secret(void **state)
{
	assert_false(ob_secret_leaks("", SECRET));
	assert_false(ob_secret_leaks("S3 answered HTTP 403 AccessDenied: User: "
								 "arn:aws:iam::123456789012:user/x is not "
								 "authorized to perform: s3:PutObject",
								 SECRET));
	/* words that a token could contain, too */
	assert_false(
		ob_secret_leaks("InvalidIdentityToken", "another-identity-token"));
	/* only seven characters of the secret */
	assert_false(ob_secret_leaks("IQoJb3J IQoJb3J", "IQoJb3JpZ2luX2Vj"));
	assert_false(ob_secret_leaks("anything", NULL));
	assert_false(ob_secret_leaks("anything", ""));
	/* broken encodings are plain text */
	assert_false(
		ob_secret_leaks("100% &#; &#x; &#99999999999999; \\u00 %", SECRET));
	assert_false(ob_secret_leaks("\\x4 \\12 \\ %u0 %u00", SECRET));
	assert_false(ob_secret_leaks("\\", SECRET));
}

static void
short_and_odd_secrets(void **state)
{
	assert_true(ob_secret_leaks("the key is pass1!", "pass1!"));
	assert_true(ob_secret_leaks("the key is pass1%21", "pass1!"));
	assert_false(ob_secret_leaks("the key is pass1", "pass1!"));
	/* without letters */
	assert_true(ob_secret_leaks("see ..//++==--__ there", "..//++==--__"));
	assert_false(ob_secret_leaks("see ..//++ there", "..//++==--__"));
}

static void
several_secrets(void **state)
{
	ObLeaks leaks = {0};

	assert_false(ob_leaks_found(&leaks, "anything at all"));
	ob_leaks_add(&leaks, "first-secret");
	ob_leaks_add(&leaks, NULL);
	ob_leaks_add(&leaks, SECRET);
	ob_leaks_add(&leaks, "abc");
	assert_true(ob_leaks_found(&leaks, "firstsecret"));
	assert_true(ob_leaks_found(&leaks, SECRET));
	/* a word is no secret */
	assert_false(ob_leaks_found(&leaks, "abc"));
	assert_false(ob_leaks_found(&leaks, "second-one"));
	ob_leaks_add(&leaks, "second-one");
	assert_true(ob_leaks_found(&leaks, "second-one"));
	ob_leaks_free(&leaks);
	assert_false(ob_leaks_found(&leaks, SECRET));
	ob_leaks_free(&leaks);
}

/* Each piece is found, wherever the text is cut. */
static void
every_piece(void **state)
{
	char piece[9] = "";

	for (size_t i = 0; i + 8 <= strlen(SECRET); i++)
	{
		memcpy(piece, SECRET + i, 8);
		if (strpbrk(piece, "+/") == NULL)
			assert_leaks(piece);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms_of_a_secret),
		cmocka_unit_test(base64_at_each_place),
		cmocka_unit_test(texts_without_a_secret),
		cmocka_unit_test(short_and_odd_secrets),
		cmocka_unit_test(several_secrets),
		cmocka_unit_test(every_piece),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
