/*
 * fuzz_profile.c
 *		AWS's config and credentials files.
 *
 * test/fuzz/fuzz_profile.c
 *
 * The part of the input before the first NUL is the credentials file, the rest
 * the config file.
 */
#include "fuzz.h"

#include "core/aws/profile.h"

static void
read_file(ObProfiles *profiles, ObProfileFile file, const char *text,
		  size_t len)
{
	ObError error;

	ob_error_clear(&error);
	fuzz_check_error(ob_profiles_read(profiles, file, text, len, &error),
					 &error);
	/* no message contains a piece of a file */
	promise(strlen(error.cause) < 80);
}

static void
ask(const ObProfiles *profiles, const char *profile)
{
	static const char *const keys[] = {"aws_access_key_id", "role_arn",
									   "source_profile", "services"};

	for (int file = 0; file <= OB_PROFILE_ANY; file++)
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		{
			const char *value = ob_profiles_get(profiles, (ObProfileFile) file,
												profile, keys[i]);

			promise(value == NULL || value[0] != '\0');
			promise(value == NULL || ob_profiles_has(profiles, profile));
		}
	(void) ob_profiles_get_service(profiles, profile, "sts", "endpoint_url");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	size_t first = strlen(text);
	size_t rest = first < size ? first + 1 : first;
	ObProfiles *profiles = ob_profiles_new();

	promise(profiles != NULL);
	read_file(profiles, OB_PROFILE_CREDENTIALS, text, first);
	read_file(profiles, OB_PROFILE_CONFIG, text + rest, size - rest);
	ask(profiles, "default");
	ask(profiles, "x");
	ask(profiles, "");
	ob_profiles_free(profiles);
	free(text);
	return 0;
}
