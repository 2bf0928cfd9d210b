/*
 * uri.c
 *		Endpoints, bucket names, and the encoding of keys.
 *
 * src/core/text/uri.c
 *
 * Everything here is compared byte by byte in ASCII. <ctype.h> follows the
 * locale, and a database may run in one with other rules.
 */
#include "core/text/uri.h"

#include <arpa/inet.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PATTERN_MAX 255

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool
is_alnum(char c)
{
	return is_digit(c) || is_lower(c) || (c >= 'A' && c <= 'Z');
}

static bool
is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Works like strchr, but the terminating NUL is in no set. */
static bool
is_one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

void
ob_uri_encode(ObBuf *out, const char *text, size_t len, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (is_alnum(text[i]) || is_one_of(text[i], "-_.~") ||
			(keep_slash && c == '/'))
			ob_buf_addc(out, text[i]);
		else
		{
			char code[3] = {'%', digits[c >> 4], digits[c & 15]};

			ob_buf_add(out, code, sizeof(code));
		}
	}
}

/* ---- Endpoints ----
 *
 * The parsing functions return the fault, or NULL.  No fault repeats a piece
 * of the URL, since any piece may be part of a password
 * ("https://user:pass/word@host" has the port "pass"). */

/* Finds faults that need no parsing.  An "@" is refused anywhere, since a
 * password may contain the characters that would end it. */
static const char *
url_fault(const char *url)
{
	for (const char *c = url; *c != '\0'; c++)
		if ((unsigned char) *c <= 0x20 || *c == 0x7F)
			return "the endpoint contains a blank or a control character";
	if (strchr(url, '@') != NULL)
		return "the endpoint contains user information (\"...@\"), which "
			   "belongs in the user mapping";
	if (strstr(url, "://") == NULL || url[0] == ':')
		return "the endpoint has no scheme: it begins with https:// or "
			   "http://";
	if (strchr(url, '?') != NULL)
		return "the endpoint contains a query string (\"?...\")";
	if (strchr(url, '#') != NULL)
		return "the endpoint contains a fragment (\"#...\")";
	return NULL;
}

static const char *
parse_scheme(ObEndpoint *endpoint, const char **url)
{
	endpoint->https = strncasecmp(*url, "https://", 8) == 0;
	if (!endpoint->https && strncasecmp(*url, "http://", 7) != 0)
		return "the endpoint's scheme is neither https nor http";
	*url += endpoint->https ? 8 : 7;
	return NULL;
}

static const char *
parse_port(ObEndpoint *endpoint, const char *text, size_t len)
{
	bool valid = len >= 1 && len <= 5;

	for (size_t i = 0; i < len && valid; i++)
	{
		valid = is_digit(text[i]);
		endpoint->port = endpoint->port * 10 + (text[i] - '0');
	}
	if (!valid || endpoint->port < 1 || endpoint->port > 65535)
		return "the endpoint's port is not a number from 1 to 65535";
	return NULL;
}

/* Checks "[...]" of len bytes, brackets included. */
static bool
is_ipv6_literal(const char *text, size_t len)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr parsed;

	if (len < 2 || len - 2 >= sizeof(address) || text[len - 1] != ']')
		return false;
	memcpy(address, text + 1, len - 2);
	address[len - 2] = '\0';
	return inet_pton(AF_INET6, address, &parsed) == 1;
}

static const char *
parse_host(ObEndpoint *endpoint, const char *text, size_t len)
{
	if (len == 0)
		return "the endpoint has an empty host";
	if (len >= sizeof(endpoint->host))
		return "the endpoint's host is too long";
	if (text[0] == '[')
	{
		if (!is_ipv6_literal(text, len))
			return "the endpoint's host is not an IPv6 address in brackets";
	}
	else
		for (size_t i = 0; i < len; i++)
			if (!is_alnum(text[i]) && !is_one_of(text[i], "-_."))
				return "the endpoint's host contains a character that host "
					   "names do not have";
	memcpy(endpoint->host, text, len);
	endpoint->host[len] = '\0';
	return NULL;
}

static const char *
parse_authority(ObEndpoint *endpoint, const char **url)
{
	const char *text = *url;
	size_t len = strcspn(text, "/");
	size_t host_len = 0;
	const char *fault;

	/* the colons inside of brackets do not begin a port */
	if (text[0] == '[')
		host_len = strcspn(text, "]/");
	host_len += strcspn(text + host_len, ":/");
	*url += len;
	fault = parse_host(endpoint, text, host_len);
	if (fault == NULL && host_len < len)
		fault = parse_port(endpoint, text + host_len + 1, len - host_len - 1);
	return fault;
}

static const char *
parse_base(ObEndpoint *endpoint, const char *text)
{
	size_t len = strlen(text);

	while (len > 0 && text[len - 1] == '/')
		len--;
	if (len >= sizeof(endpoint->base))
		return "the endpoint's path is too long";
	for (size_t i = 0; i < len; i++)
	{
		bool escape = text[i] == '%' && i + 2 < len && is_hex(text[i + 1]) &&
					  is_hex(text[i + 2]);

		if (!escape && !is_alnum(text[i]) &&
			!is_one_of(text[i], "/-._~!$&'()*+,;=:"))
			return "the endpoint's path contains a character that must be "
				   "percent-encoded";
	}
	memcpy(endpoint->base, text, len);
	endpoint->base[len] = '\0';
	return NULL;
}

ObCode
ob_endpoint_parse(ObEndpoint *endpoint, const char *url, ObError *error)
{
	const char *fault;

	memset(endpoint, 0, sizeof(*endpoint));
	fault = url_fault(url);
	if (fault == NULL)
		fault = parse_scheme(endpoint, &url);
	if (fault == NULL)
		fault = parse_authority(endpoint, &url);
	if (fault == NULL)
		fault = parse_base(endpoint, url);
	if (fault != NULL)
		return ob_error_set(error, OB_EINVAL, "%s", fault);
	endpoint->aws = ob_host_is_aws(endpoint->host, "s3");
	return OB_OK;
}

static bool
ends_with(const char *text, const char *end)
{
	size_t len = strlen(text);
	size_t n = strlen(end);

	return len > n && strcasecmp(text + len - n, end) == 0;
}

bool
ob_endpoint_wants_equal_parts(const ObEndpoint *endpoint)
{
	return ends_with(endpoint->host, ".r2.cloudflarestorage.com");
}

bool
ob_endpoint_wants_md5(const ObEndpoint *endpoint)
{
	return ends_with(endpoint->host, ".backblazeb2.com");
}

/* ---- Regions ---- */

_Static_assert(sizeof(((ObError *) NULL)->region) > OB_REGION_MAX,
			   "an error has room for a region");

bool
ob_region_is_valid(const char *region)
{
	size_t len = strspn(region, "abcdefghijklmnopqrstuvwxyz"
								"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	return len > 0 && len <= OB_REGION_MAX && region[len] == '\0';
}

/* ---- Buckets ---- */

static const char *
bucket_fault(const char *bucket)
{
	size_t len = strlen(bucket);
	struct in_addr parsed;

	if (strncasecmp(bucket, "s3:", 3) == 0)
		return "give the bare bucket name, without \"s3://\" and key";
	if (strncasecmp(bucket, "arn:", 4) == 0)
		return "give the bare bucket name, not an ARN";
	for (size_t i = 0; i < len; i++)
		if (!is_lower(bucket[i]) && !is_digit(bucket[i]) &&
			!is_one_of(bucket[i], "-."))
			return "a bucket name has only lower-case letters, digits, \".\" "
				   "and \"-\"";
	if (len < 3 || len > OB_BUCKET_MAX)
		return "a bucket name has 3 to 63 characters";
	if (is_one_of(bucket[0], "-.") || is_one_of(bucket[len - 1], "-."))
		return "a bucket name begins and ends with a letter or a digit";
	if (strstr(bucket, "..") != NULL)
		return "a bucket name has no two dots in a row";
	if (inet_pton(AF_INET, bucket, &parsed) == 1)
		return "a bucket name is not an IP address";
	if (ends_with(bucket, "--x-s3"))
		return "a directory bucket (S3 Express One Zone) needs sessions of "
			   "its own, which onboard does not have";
	if (ends_with(bucket, ".mrap"))
		return "a multi-Region access point needs signatures of another kind, "
			   "which onboard does not have";
	return NULL;
}

ObCode
ob_bucket_check(const char *bucket, ObError *error)
{
	const char *fault = bucket_fault(bucket);

	if (fault != NULL)
		return ob_error_set(error, OB_EINVAL, "%s", fault);
	return OB_OK;
}

bool
ob_bucket_matches(const char *patterns, const char *bucket)
{
	while (*patterns != '\0')
	{
		const char *start = patterns + strspn(patterns, " \t\r\n");
		size_t len = strcspn(patterns, ",");
		const char *end = patterns + len;
		char pattern[PATTERN_MAX + 1];

		patterns = *end == ',' ? end + 1 : end;
		while (end > start && is_one_of(end[-1], " \t\r\n"))
			end--;
		/* a pattern that is too long matches no bucket name */
		if (end <= start || (size_t) (end - start) > PATTERN_MAX)
			continue;
		memcpy(pattern, start, (size_t) (end - start));
		pattern[end - start] = '\0';
		if (fnmatch(pattern, bucket, FNM_NOESCAPE) == 0)
			return true;
	}
	return false;
}

/* ---- Targets ---- */

static bool
is_virtual_hosted(const ObEndpoint *endpoint, ObAddressing addressing,
				  const char *bucket)
{
	if (addressing != OB_ADDRESSING_AUTO)
		return addressing == OB_ADDRESSING_VIRTUAL;
	return endpoint->aws && !(endpoint->https && strchr(bucket, '.') != NULL);
}

/* A valid bucket name is encoded as itself.  Encoding it keeps an unchecked
 * one from changing the host, the path or the request's framing. */
void
ob_uri_target(const ObEndpoint *endpoint, ObAddressing addressing,
			  const char *bucket, const char *key, ObBuf *host, ObBuf *path)
{
	bool virtual = is_virtual_hosted(endpoint, addressing, bucket);
	bool has_key = key != NULL && key[0] != '\0';
	int default_port = endpoint->https ? 443 : 80;

	if (virtual)
	{
		ob_uri_encode(host, bucket, strlen(bucket), false);
		ob_buf_addc(host, '.');
	}
	ob_buf_adds(host, endpoint->host);
	if (endpoint->port != 0 && endpoint->port != default_port)
		ob_buf_addf(host, ":%d", endpoint->port);

	ob_buf_adds(path, endpoint->base);
	if (!virtual)
	{
		ob_buf_addc(path, '/');
		ob_uri_encode(path, bucket, strlen(bucket), false);
	}
	if (virtual || has_key)
		ob_buf_addc(path, '/');
	if (has_key)
		ob_uri_encode(path, key, strlen(key), true);
}
