/*
 * test_profile.c
 *		AWS's config and credentials files as AWS's tools read them.
 *
 * test/core/test_profile.c
 */
#include "testing.h"

#include "core/aws/profile.h"

#define CANARY "canary-SECRET"

static ObProfiles *
read_two(const char *credentials, const char *config)
{
	ObProfiles *profiles = ob_profiles_new();
	ObError error;

	ob_error_clear(&error);
	assert_non_null(profiles);
	if (credentials &&
		ob_profiles_read(profiles, OB_PROFILE_CREDENTIALS, credentials,
						 strlen(credentials), &error) != OB_OK)
		fail_msg("%s", error.cause);
	if (config && ob_profiles_read(profiles, OB_PROFILE_CONFIG, config,
								   strlen(config), &error) != OB_OK)
		fail_msg("%s", error.cause);
	return profiles;
}

static void
assert_text(const char *row, const char *is, const char *wanted)
{
	if (is == wanted || (is && wanted && strcmp(is, wanted) == 0))
		return;
	fail_msg("%s: \"%s\" instead of \"%s\"", row, is ? is : "(null)",
			 wanted ? wanted : "(null)");
}

/* Each row has one text and one key. */
static void
config_files(void **state)
{
	static const struct
	{
		const char *text;
		const char *profile;
		const char *key;
		const char *value;
	} rows[] = {
		{"[default]\nregion = eu-west-1\n", "default", "region", "eu-west-1"},
		{"[default]\nregion=eu-west-1", "default", "region", "eu-west-1"},
		{"[default]\r\nregion = eu-west-1\r\n", "default", "region",
		 "eu-west-1"},
		{"\xEF\xBB\xBF[default]\nregion = a\n", "default", "region", "a"},
		{"[profile x]\nregion = a\n", "x", "region", "a"},
		{"[profile  x y ]\nregion = a\n", "x y", "region", "a"},
		{"[profile \"x y\"]\nregion = a\n", "x y", "region", "a"},
		{"[profile 'x']\nregion = a\n", "x", "region", "a"},
		{"[profile\tx]\nregion = a\n", "x", "region", "a"},
		{"  \n[ profile x ]\nregion = a\n", "x", "region", "a"},
		/* keys of other profiles do not count */
		{"[x]\nregion = a\n", "x", "region", NULL},
		{"[profilex]\nregion = a\n", "x", "region", NULL},
		{"[profile x]\nregion = a\n", "y", "region", NULL},
		{"[profile x]\nregion = a\n", "X", "region", NULL},
		{"[sso-session x]\nregion = a\n", "x", "region", NULL},
		{"[services x]\nregion = a\n", "x", "region", NULL},
		/* comments */
		{"# one\n; two\n[default] # three\n#region = b\nregion = a\n",
		 "default", "region", "a"},
		{"[default];three\nregion = a # why\n", "default", "region", "a"},
		{"[default]\nregion = a ; why\n", "default", "region", "a"},
		{"[default]\nregion = a\t#why\n", "default", "region", "a"},
		{"[default]\nregion = a#b;c\n", "default", "region", "a#b;c"},
		{"[default]\nregion = a\n  # indented\nkey = b\n", "default", "region",
		 "a"},
		{"[default]\nregion = # nothing\n", "default", "region", NULL},
		/* values */
		{"[default]\nregion =\n", "default", "region", NULL},
		{"[default]\nkey = a=b=\n", "default", "key", "a=b="},
		{"[default]\nkey =  a b  \n", "default", "key", "a b"},
		{"[default]\nKEY = a\n", "default", "key", "a"},
		{"[default]\nkeys = a\n", "default", "key", NULL},
		{"[default]\nkey = a\n  b \n\n\tc=d\n", "default", "key", "a\nb\nc=d"},
		{"[default]\nkey = a # why\n  b\nnext = 1\n", "default", "key",
		 "a\nb"},
		{"[default]\nkey = a # why\n  b\nnext = 1\n", "default", "next", "1"},
		/* nested keys do not belong to the profile */
		{"[default]\ns3 =\n  region = a\n  max = 5\n", "default", "region",
		 NULL},
		{"[default]\ns3 =\n  max = 5\nregion = a\n", "default", "region", "a"},
		/* keys that occur twice */
		{"[default]\nkey = a\nkey = b\n", "default", "key", "b"},
		{"[profile x]\nkey = a\n[default]\n[profile x]\nother = b\n", "x",
		 "key", "a"},
		{"[profile x]\nkey = a\n[default]\n[profile x]\nkey = b\n", "x", "key",
		 "b"},
		{"[profile default]\nkey = a\n[default]\nkey = b\n", "default", "key",
		 "a"},
		{"[default]\nkey = b\n[profile default]\n", "default", "key", NULL},
		/* the whole section is indented, as Python's configparser allows */
		{"[default]\n  one = a\n  key = b\n", "default", "key", "b"},
		{"[default]\n  one = a\n  key = b\n", "default", "one", "a"},
		{"  [default]\n  key = a\n    more\n  next = b\n", "default", "key",
		 "a\nmore"},
		{"  [default]\n  s3 =\n    max = 5\n  key = a\n", "default", "key",
		 "a"},
		{"  [default]\n  s3 =\n    key = 5\n", "default", "key", NULL},
		{"[default]\n    one = a\n  key = b\nnext = c\n", "default", "key",
		 "b"},
		{"[default]\n    one = a\n  key = b\nnext = c\n", "default", "next",
		 "c"},
		{" [default]\n a = 1\n [profile x]\n key = b\n", "x", "key", "b"},
		{"", "default", "key", NULL},
		{"\n\n \n#\n", "default", "key", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObProfiles *profiles = read_two(NULL, rows[i].text);

		assert_text(rows[i].text,
					ob_profiles_get(profiles, OB_PROFILE_ANY, rows[i].profile,
									rows[i].key),
					rows[i].value);
		ob_profiles_free(profiles);
	}
}

static void
credentials_files(void **state)
{
	ObProfiles *profiles =
		read_two("[default]\nid = 1\n[x y]\nid = 2\n[profile z]\nid = 3\n"
				 "[services s]\nsts =\n  endpoint_url = 4\n",
				 NULL);

	assert_text("default",
				ob_profiles_get(profiles, OB_PROFILE_ANY, "default", "id"),
				"1");
	assert_text("x y", ob_profiles_get(profiles, OB_PROFILE_ANY, "x y", "id"),
				"2");
	assert_text("z", ob_profiles_get(profiles, OB_PROFILE_ANY, "z", "id"),
				NULL);
	assert_true(ob_profiles_has(profiles, "x y"));
	assert_false(ob_profiles_has(profiles, "z"));
	ob_profiles_free(profiles);
}

/* A profile may be in both files; the credentials file has priority. */
static void
two_files(void **state)
{
	ObProfiles *profiles =
		read_two("[x]\nkey = 1\nempty =\n[y]\n",
				 "[profile x]\nkey = 2\nother = 3\nempty = 4\n[profile z]\n");

	assert_text("any", ob_profiles_get(profiles, OB_PROFILE_ANY, "x", "key"),
				"1");
	assert_text("config",
				ob_profiles_get(profiles, OB_PROFILE_CONFIG, "x", "key"), "2");
	assert_text("other",
				ob_profiles_get(profiles, OB_PROFILE_ANY, "x", "other"), "3");
	assert_text(
		"credentials",
		ob_profiles_get(profiles, OB_PROFILE_CREDENTIALS, "x", "other"), NULL);
	assert_text("empty",
				ob_profiles_get(profiles, OB_PROFILE_ANY, "x", "empty"), "4");
	assert_true(ob_profiles_has(profiles, "y"));
	assert_true(ob_profiles_has(profiles, "z"));
	assert_false(ob_profiles_has(profiles, "default"));
	ob_profiles_free(profiles);
}

static void
services(void **state)
{
	ObProfiles *profiles = read_two(
		NULL, "[profile x]\nservices = mine\n[profile y]\nservices = no\n"
			  "[services mine]\nregion = 0\ns3 =\n  endpoint_url = 1\n"
			  "sts =\n  # of the lab\n  endpoint_url = 2 # here\n"
			  "  other=3\nlast =\n");

	assert_text("sts",
				ob_profiles_get_service(profiles, "x", "sts", "endpoint_url"),
				"2");
	assert_text("STS",
				ob_profiles_get_service(profiles, "x", "STS", "Endpoint_URL"),
				"2");
	assert_text("s3",
				ob_profiles_get_service(profiles, "x", "s3", "endpoint_url"),
				"1");
	assert_text("other",
				ob_profiles_get_service(profiles, "x", "sts", "other"), "3");
	assert_text("s3's other",
				ob_profiles_get_service(profiles, "x", "s3", "other"), NULL);
	assert_text("y",
				ob_profiles_get_service(profiles, "y", "sts", "endpoint_url"),
				NULL);
	assert_text("z",
				ob_profiles_get_service(profiles, "z", "sts", "endpoint_url"),
				NULL);
	ob_profiles_free(profiles);
}

/* The error has the line's number, but never its content. */
static void
faulty_files(void **state)
{
	static const struct
	{
		const char *text;
		const char *cause;
	} rows[] = {
		{"[default]\n" CANARY "\n",
		 "line 2 is neither a section nor \"key = value\""},
		{"[default]\n\n\nkey = 1\n\n" CANARY " 2", "line 6 is neither"},
		{"key = " CANARY "\n", "line 1 is before the first section"},
		{"  key = " CANARY "\n", "line 1 is before the first section"},
		{"[default]\n  " CANARY "\n", "line 2 is neither"},
		{"[default\nkey = " CANARY "\n", "line 1 has a \"[\""},
		{"[default] " CANARY "\n", "line 1 has text after"},
		{"[default]" CANARY " = 1\n", "line 1 has text after"},
		{"[]\n", "line 1 has no section name"},
		{"[  ]\n", "line 1 has no section name"},
		{"[default]\n = " CANARY "\n", "line 2 has no key before"},
		{"[default]\n= " CANARY "\n", "line 2 has no key"},
		{"[default]\ns3 =\n  " CANARY "\n", "line 3 is neither"},
		{"[default]\ns3 =\n  = " CANARY "\n", "line 3 has no key"},
	};

	for (int file = OB_PROFILE_CREDENTIALS; file < OB_PROFILE_ANY; file++)
		for (size_t i = 0; i < COUNT_OF(rows); i++)
		{
			ObProfiles *profiles = ob_profiles_new();
			ObError error;

			ob_error_clear(&error);
			assert_row(rows[i].text,
					   ob_profiles_read(profiles, (ObProfileFile) file,
										rows[i].text, strlen(rows[i].text),
										&error) == OB_ECREDS);
			assert_error(&error, OB_ECREDS, rows[i].cause);
			assert_row(rows[i].text, !strstr(error.cause, CANARY));
			ob_profiles_free(profiles);
		}
}

static void
nul_bytes(void **state)
{
	static const char text[] = "[default]\nkey = " CANARY "\0\n";
	ObProfiles *profiles = ob_profiles_new();
	ObError error;

	ob_error_clear(&error);
	assert_int_equal(ob_profiles_read(profiles, OB_PROFILE_CONFIG, text,
									  sizeof(text) - 1, &error),
					 OB_ECREDS);
	assert_error(&error, OB_ECREDS, "NUL");
	ob_profiles_free(profiles);
}

/* No file causes excessive use of time or memory. */
static void
huge_files(void **state)
{
	static const struct
	{
		const char *head;
		const char *line;
		const char *cause;
	} rows[] = {
		{"[default]\n", "k=v\n", "exceeds the maximum number"},
		{"", "[s]\n", "exceeds the maximum number"},
		{"[default]\nkey = a\n", " b\n", "makes a value too long"},
	};
	size_t size = (size_t) 1024 * 1024;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObProfiles *profiles = ob_profiles_new();
		char *text = test_malloc(size + 16);
		size_t len = strlen(rows[i].head);
		ObError error;

		memcpy(text, rows[i].head, len);
		while (len < size)
		{
			memcpy(text + len, rows[i].line, strlen(rows[i].line));
			len += strlen(rows[i].line);
		}
		ob_error_clear(&error);
		assert_int_equal(
			ob_profiles_read(profiles, OB_PROFILE_CONFIG, text, len, &error),
			OB_ECREDS);
		assert_error(&error, OB_ECREDS, rows[i].cause);
		test_free(text);
		ob_profiles_free(profiles);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_files), cmocka_unit_test(credentials_files),
		cmocka_unit_test(two_files),    cmocka_unit_test(services),
		cmocka_unit_test(faulty_files), cmocka_unit_test(nul_bytes),
		cmocka_unit_test(huge_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
