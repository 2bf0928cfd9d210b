/*
 * fuzz_uri.c
 *		Endpoints, regions, bucket names and patterns, and the requests with
 *		them.
 *
 * test/fuzz/fuzz_uri.c
 *
 * The input's lines are: endpoint, region, bucket, patterns; the rest is a
 * key.  No line break, blank or control character of them may get into a
 * request's first lines.
 */
#include "fuzz.h"

#include "core/text/uri.h"

/* Returns the next line, NUL-terminated in place. */
static char *
next_line(char **rest)
{
	char *line = *rest;

	*rest += strcspn(line, "\n");
	if (**rest == '\n')
		*(*rest)++ = '\0';
	return line;
}

static bool
is_graphic(const char *text)
{
	return fuzz_is_printable(text) && strchr(text, ' ') == NULL;
}

static void
check_target(const ObEndpoint *endpoint, ObAddressing addressing,
			 const char *bucket, const char *key)
{
	ObBuf host;
	ObBuf path;

	ob_buf_init(&host, 64 * 1024);
	ob_buf_init(&path, 256 * 1024);
	ob_uri_target(endpoint, addressing, bucket, key, &host, &path);
	if (!host.failed && !path.failed)
	{
		promise(is_graphic(host.data) && is_graphic(path.data));
		promise(strpbrk(host.data, "/?#@") == NULL);
		promise(path.data[0] == '/');
		promise(strpbrk(path.data, "?#") == NULL);
		/* whatever is before it, the request goes to the endpoint */
		promise(strstr(host.data, endpoint->host) != NULL);
	}
	ob_buf_free(&host);
	ob_buf_free(&path);
}

static void
check_endpoint(const ObEndpoint *endpoint, const char *bucket, const char *key)
{
	promise(fuzz_ends(endpoint->host, sizeof(endpoint->host)));
	promise(fuzz_ends(endpoint->base, sizeof(endpoint->base)));
	promise(endpoint->host[0] != '\0');
	promise(endpoint->port >= 0 && endpoint->port <= 65535);
	check_target(endpoint, OB_ADDRESSING_AUTO, bucket, key);
	check_target(endpoint, OB_ADDRESSING_PATH, bucket, key);
	check_target(endpoint, OB_ADDRESSING_VIRTUAL, bucket, key);
	check_target(endpoint, OB_ADDRESSING_AUTO, bucket, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *input = fuzz_text(data, size);
	char *rest = input;
	const char *url = next_line(&rest);
	const char *region = next_line(&rest);
	const char *bucket = next_line(&rest);
	const char *patterns = next_line(&rest);
	ObEndpoint endpoint;
	ObError error;

	ob_error_clear(&error);
	fuzz_check_error(ob_endpoint_parse(&endpoint, url, &error), &error);
	if (error.code == OB_OK)
		check_endpoint(&endpoint, bucket, rest);
	ob_error_clear(&error);
	fuzz_check_error(ob_endpoint_aws(&endpoint, region, &error), &error);
	if (error.code == OB_OK)
		check_endpoint(&endpoint, bucket, rest);
	ob_error_clear(&error);
	fuzz_check_error(ob_bucket_check(bucket, &error), &error);
	(void) ob_bucket_matches(patterns, bucket);
	free(input);
	return 0;
}
