/*
 * fuzz_http.c
 *		The headers of a response, and the numbers in them.
 *
 * test/fuzz/fuzz_http.c
 */
#include "fuzz.h"

#include "core/http/http.h"
#include "core/aws/retry.h"

static void
look_up(const ObHttpRequest *request, const char *name)
{
	char value[64];
	char one[1];

	memset(value, 'x', sizeof(value));
	if (ob_http_response_header(request, name, value, sizeof(value)))
	{
		promise(fuzz_ends(value, sizeof(value)));
		promise(fuzz_is_printable(value));
		promise(ob_http_response_header(request, name, one, sizeof(one)));
		promise(one[0] == '\0');
	}
}

static void
read_seconds(const char *text)
{
	int64_t ms = ob_retry_after(text, 1000);

	promise(ms >= -1);
	promise((ms < 0) == (ob_retry_after(text, 1) < 0));
	promise(ms < 0 || text[strspn(text, "0123456789 \t")] == '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
		"ETag", "Retry-After", "x-amz-bucket-region", "Content-Length",
		"x-amz-meta-onboard-upload"};
	char *text = fuzz_text(data, size);
	ObHttpRequest request;

	ob_http_request_init(&request, NULL, NULL, NULL);
	ob_buf_add(&request.headers, data, size);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		look_up(&request, names[i]);
	read_seconds(text);
	ob_http_request_free(&request);
	free(text);
	return 0;
}
