/*
 * profile.h
 *		AWS's config and credentials files, as texts.
 *
 * src/core/aws/profile.h
 *
 * Pure: nothing here opens a file.  The format is that of
 * https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html: sections
 * in brackets, "key = value" lines, indented lines that continue a value or
 * hold nested keys, comments with # or ;. Names of sections are compared as
 * they are, keys without regard to case.  A section that occurs twice is one,
 * and the later of two values counts; but "[default]" does not count where
 * there is a "[profile default]".  Sections that we do not know are skipped.
 */
#ifndef OB_PROFILE_H
#define OB_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

typedef enum ObProfileFile
{
	OB_PROFILE_CREDENTIALS, /* [name] */
	OB_PROFILE_CONFIG,      /* [default], [profile name], [services name] */
	OB_PROFILE_ANY          /* the credentials file, then the config file */
} ObProfileFile;

typedef struct ObProfiles ObProfiles;

/* NULL if out of memory. */
extern ObProfiles *ob_profiles_new(void);

/* Wipes all texts; NULL is allowed. */
extern void ob_profiles_free(ObProfiles *profiles);

/*
 * Reads a file's text, which is copied; each file at most once.  OB_ECREDS and
 * a cause with the line's number, never with its text, for what is neither a
 * section nor a key, for a NUL, and for an unreasonable number of lines.
 */
extern ObCode ob_profiles_read(ObProfiles *profiles, ObProfileFile file,
							   const char *text, size_t len,
							   ObError *error) OB_MUST_CHECK;

extern bool ob_profiles_has(const ObProfiles *profiles, const char *profile);

/* Returns a key's value, borrowed; NULL if the key is missing or empty. */
extern const char *ob_profiles_get(const ObProfiles *profiles,
								   ObProfileFile file, const char *profile,
								   const char *key);

/* Returns a nested key of a service ("sts", "endpoint_url") in the section
 * [services x] that the profile names, borrowed; NULL if the key is missing or
 * empty. */
extern const char *ob_profiles_get_service(const ObProfiles *profiles,
										   const char *profile,
										   const char *service,
										   const char *key);

#endif
