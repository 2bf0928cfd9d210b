/*
 * credentials_util.c
 *		Keys, files and texts for the credentials provider.
 *
 * src/core/aws/credentials_util.c
 */
#include "core/aws/credentials_intern.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/text.h"

const char *
ob_env(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] != '\0' ? value : NULL;
}

void
ob_secret_free(char *secret)
{
	if (secret)
		OPENSSL_cleanse(secret, strlen(secret));
	free(secret);
}

bool
ob_is_plain(const char *value)
{
	const char *c;

	for (c = value; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return c != value;
}

/* ---- files ---- */

static ObCode
read_all(int fd, const char *path, size_t max, ObBuf *content, ObError *error)
{
	char piece[4096];
	ssize_t n;

	ob_buf_init(content, max);
	while ((n = read(fd, piece, sizeof(piece))) != 0)
	{
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		ob_buf_add(content, piece, (size_t) n);
		if (content->failed)
			break;
	}
	OPENSSL_cleanse(piece, sizeof(piece));
	if (content->full)
		return ob_error_set(error, OB_ECREDS,
							"file \"%s\" is longer than %zu bytes", path, max);
	if (content->failed)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	if (n < 0)
		return ob_error_set(error, OB_ECREDS, "could not read file \"%s\": %s",
							path, strerror(errno));
	if (content->len > 0 && memchr(content->data, '\0', content->len))
		return ob_error_set(error, OB_ECREDS, "file \"%s\" has a NUL byte",
							path);
	return OB_OK;
}

static bool
is_null_device(const struct stat *info)
{
	struct stat null;

	return S_ISCHR(info->st_mode) && stat("/dev/null", &null) == 0 &&
		   info->st_rdev == null.st_rdev;
}

ObCode
ob_file_read(const char *path, size_t max, ObBuf *content, bool *missing,
			 ObError *error)
{
	/* without O_NONBLOCK, opening a pipe waits for its other end */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct stat info;
	ObCode code;

	ob_buf_init(content, max);
	if (missing)
	{
		*missing = fd < 0 && (errno == ENOENT || errno == ENOTDIR);
		if (*missing)
			return OB_OK;
	}
	if (fd < 0)
		return ob_error_set(error, OB_ECREDS, "could not open file \"%s\": %s",
							path, strerror(errno));
	if (fstat(fd, &info) != 0)
		code = ob_error_set(error, OB_ECREDS, "could not read file \"%s\": %s",
							path, strerror(errno));
	else if (missing && is_null_device(&info))
	{
		*missing = true;
		code = OB_OK;
	}
	else if (!S_ISREG(info.st_mode))
		code = ob_error_set(error, OB_ECREDS, "\"%s\" is not a regular file",
							path);
	else
		code = read_all(fd, path, max, content, error);
	if (code == OB_OK && !missing && content->len == 0)
		code = ob_error_set(error, OB_ECREDS, "file \"%s\" is empty", path);
	close(fd);
	if (code != OB_OK)
		ob_buf_wipe(content);
	return code;
}

/* ---- texts ---- */

void
ob_endpoint_name(const ObEndpoint *endpoint, char *name, size_t size)
{
	char port[16] = "";

	if (endpoint->port != 0)
		snprintf(port, sizeof(port), ":%d", endpoint->port);
	snprintf(name, size, "%s://%s%s", endpoint->https ? "https" : "http",
			 endpoint->host, port);
}

void
ob_origin_set(char *origin, const char *format, ...)
{
	char text[OB_ORIGIN_MAX];
	ObError error;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ob_error_clear(&error);
	ob_error_set(&error, OB_EINVAL, "%s", text);
	memcpy(origin, error.cause, OB_ORIGIN_MAX);
}

/* ---- keys ---- */

void
ob_keys_wipe(ObKeys *keys)
{
	ob_secret_free(keys->access_key_id);
	ob_secret_free(keys->secret_access_key);
	ob_secret_free(keys->session_token);
	memset(keys, 0, sizeof(*keys));
}

void
ob_keys_move(ObKeys *to, ObKeys *from)
{
	ob_keys_wipe(to);
	*to = *from;
	memset(from, 0, sizeof(*from));
}

static ObCode
copy_key(char **to, const char *from, const char *whose, const char *name,
		 ObError *error)
{
	if (!from || from[0] == '\0')
		return ob_error_set(error, OB_ECREDS, "%s %s is missing", whose, name);
	if (!ob_is_plain(from))
		return ob_error_set(error, OB_ECREDS,
							"%s %s is not of printable ASCII characters "
							"without blanks",
							whose, name);
	return ob_text_copy(to, from, error);
}

ObCode
ob_keys_set(ObKeys *keys, const ObCredentials *from, int64_t expires,
			const char *whose, ObError *error)
{
	ObCode code;

	ob_keys_wipe(keys);
	keys->expires = expires;
	code = copy_key(&keys->access_key_id, from->access_key_id, whose,
					"access key id", error);
	if (code == OB_OK)
		code = copy_key(&keys->secret_access_key, from->secret_access_key,
						whose, "secret access key", error);
	if (code == OB_OK && from->session_token)
		code = copy_key(&keys->session_token, from->session_token, whose,
						"session token", error);
	if (code != OB_OK)
		ob_keys_wipe(keys);
	return code;
}
