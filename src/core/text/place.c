/*
 * place.c
 *		Whether two objects would be one.
 *
 * src/core/text/place.c
 */
#include "core/text/place.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define AWS_DOMAIN "amazonaws."

/* Copies the host in lower case, without a trailing dot.  Only ASCII letters
 * change, whatever the locale. */
static void
copy_host(char *to, const char *host)
{
	size_t len = strlen(host);

	while (len > 1 && host[len - 1] == '.')
		len--;
	for (size_t i = 0; i < len; i++)
		to[i] =
			host[i] >= 'A' && host[i] <= 'Z' ? (char) (host[i] + 32) : host[i];
	to[len] = '\0';
}

/* Returns whether the host is an IP address, which is then rewritten in its
 * canonical form. */
static bool
write_address(char *host, size_t size)
{
	struct in_addr v4;
	struct in6_addr v6;
	size_t len = strlen(host);
	char inner[256];

	if (host[0] == '[')
	{
		snprintf(inner, sizeof(inner), "%.*s", (int) len - 2, host + 1);
		if (inet_pton(AF_INET6, inner, &v6) != 1)
			return false;
		if (!IN6_IS_ADDR_V4MAPPED(&v6))
		{
			inet_ntop(AF_INET6, &v6, host, (socklen_t) size);
			return true;
		}
		memcpy(&v4, v6.s6_addr + 12, sizeof(v4));
	}
	/* inet_aton() takes 127.1 and 0x7f000001, too, as libcurl does */
	else if (inet_aton(host, &v4) == 0)
		return false;
	inet_ntop(AF_INET, &v4, host, (socklen_t) size);
	return true;
}

/* Returns whether the endpoint is AWS's, even if it is written with a trailing
 * dot. */
static bool
is_aws(const ObEndpoint *endpoint, const char *host)
{
	ObEndpoint plain;
	ObError ignored;
	char url[300];

	ob_error_clear(&ignored);
	snprintf(url, sizeof(url), "https://%s", host);
	return endpoint->aws ||
		   (ob_endpoint_parse(&plain, url, &ignored) == OB_OK && plain.aws);
}

void
ob_place(const ObEndpoint *endpoint, const char *bucket, const char *key,
		 ObBuf *out)
{
	char host[sizeof(endpoint->host)];
	const char *domain = NULL;
	ObBuf unused;
	int port = endpoint->https ? 443 : 80;

	if (endpoint->port != 0)
		port = endpoint->port;
	copy_host(host, endpoint->host);
	if (write_address(host, sizeof(host)))
	{
		if (strcmp(host, "127.0.0.1") == 0 || strcmp(host, "::1") == 0)
			strcpy(host, "localhost");
	}
	else if (is_aws(endpoint, host))
		domain = strstr(host, AWS_DOMAIN);
	if (domain)
		/* the partition, within which bucket names are unique */
		ob_buf_adds(out, domain);
	else
		ob_buf_addf(out, "%s:%d", host, port);
	ob_buf_init(&unused, 2 * sizeof(host));
	ob_uri_target(endpoint, OB_ADDRESSING_PATH, bucket, key, &unused, out);
	ob_buf_free(&unused);
}
