/*
 * fuzz_response.c
 *		Responses of a server to S3's verbs, and the attempts that follow.
 *
 * test/fuzz/fuzz_response.c
 *
 * The input is a byte for the verb (the highest bit: to AWS's own endpoint),
 * one for the status, the headers up to an empty line, and the body.  Each
 * attempt of the call gets that response.  Whatever it is, the next attempt
 * goes to the same place as the first one, or stays with AWS, and the call
 * ends.
 */
#include "fuzz.h"

#include "core/s3/s3_intern.h"

#define NVERBS (OB_S3_GET_ENCRYPTION + 1)
#define AWS 0x80
/* The attempts of a Complete, the verb with the most, plus corrections. */
#define TRIES_MAX 16

static const int statuses[] = {200, 200, 200, 204, 301, 307, 400,
							   401, 403, 404, 409, 412, 500, 503};

static bool ended;

static void
on_done(ObS3Call *call)
{
	promise(!ended);
	ended = true;
}

static ObS3 *
make_client(bool aws)
{
	ObS3Options options = {
		.region = "eu-central-1",
		.credentials = {.source = OB_CREDENTIALS_KEYS,
						.keys = {"AKIA", "secret", "token"}},
		.retry_deadline_ms = 1000000,
		.http = {.user_agent = "fuzz",
				 .connect_timeout_ms = 1000,
				 .stall_timeout_ms = 1000,
				 .max_connections = 2}};
	ObError error;
	ObS3 *s3;

	ob_error_clear(&error);
	promise((aws ? ob_endpoint_aws(&options.endpoint, options.region, &error)
				 : ob_endpoint_parse(&options.endpoint, "http://store:9000/s3",
									 &error)) == OB_OK);
	s3 = ob_s3_new(&options, &error);
	promise(s3 != NULL);
	return s3;
}

static void
start(ObS3Call *call, ObS3Verb verb)
{
	static const ObUploadPart parts[] = {{.etag = "\"a\""}, {.etag = "\"b\""}};

	switch (verb)
	{
		case OB_S3_PUT_OBJECT:
			ob_s3_put_object(call, "lake", "k", NULL, 0, "body", 4, NULL);
			break;
		case OB_S3_CREATE:
			ob_s3_create(call, "lake", "k", NULL, 0);
			break;
		case OB_S3_UPLOAD_PART:
			ob_s3_upload_part(call, "lake", "k", "id", 1, "body", 4, NULL);
			break;
		case OB_S3_COMPLETE:
			ob_s3_complete(call, "lake", "k", "id", parts, 2);
			break;
		case OB_S3_ABORT:
			ob_s3_abort(call, "lake", "k", "id");
			break;
		case OB_S3_HEAD:
			ob_s3_head(call, "lake", "k");
			break;
		case OB_S3_LIST_PARTS:
			ob_s3_list_parts(call, "lake", "k", "id");
			break;
		case OB_S3_GET_OBJECT:
			ob_s3_get_object(call, "lake", "k");
			break;
		case OB_S3_SUM_OBJECT:
			ob_s3_sum_object(call, "lake", "k");
			break;
		case OB_S3_DELETE_OBJECT:
			ob_s3_delete_object(call, "lake", "k");
			break;
		case OB_S3_LIST_UPLOADS:
			ob_s3_list_uploads(call, "lake", NULL, NULL, NULL, false);
			break;
		case OB_S3_HEAD_BUCKET:
			ob_s3_head_bucket(call, "lake");
			break;
		case OB_S3_GET_ENCRYPTION:
			ob_s3_get_encryption(call, "lake");
			break;
	}
}

/* Builds the request, and checks that its destination is unchanged. */
static void
check_try(ObS3Call *call, bool aws)
{
	ObHttpRequest *request = &call->request;
	const char *host = request->url.data;
	ObError error;
	size_t len;

	ob_error_clear(&error);
	ob_buf_reset(&request->url);
	promise(request->prepare(request, &error) == OB_OK);
	host = strstr(request->url.data, "://") + 3;
	len = strcspn(host, "/");
	if (!aws)
	{
		promise(len == strlen("store:9000"));
		promise(strncmp(host, "store:9000", len) == 0);
		return;
	}
	promise(strncmp(request->url.data, "https://", 8) == 0);
	if (memmem(host, len, ".cn", 3) != NULL)
		len -= strlen(".cn");
	promise(len > strlen("lake.s3..amazonaws.com"));
	promise(strncmp(host, "lake.s3.", strlen("lake.s3.")) == 0);
	promise(strncmp(host + len - strlen(".amazonaws.com"), ".amazonaws.com",
					strlen(".amazonaws.com")) == 0);
}

static void
response(ObS3Call *call, int status, const uint8_t *data, size_t size)
{
	ObHttpRequest *request = &call->request;
	const uint8_t *body = memmem(data, size, "\n\n", 2);
	size_t head = body != NULL ? (size_t) (body - data) + 1 : size;

	ob_http_cancel(call->s3->http, request);
	request->status = status;
	request->sent = true;
	ob_buf_reset(&request->headers);
	ob_buf_add(&request->headers, data, head);
	ob_buf_reset(&request->response);
	if (body != NULL)
		ob_buf_add(&request->response, body + 2, size - head - 1);
	request->done(request);
}

static void
check_end(const ObS3Call *call)
{
	const ObError *error = &call->error;

	promise(ended && !ob_http_running(&call->request));
	promise((error->code == OB_OK) == (error->what[0] == '\0'));
	promise(fuzz_is_printable(error->s3_code));
	promise(fuzz_is_printable(error->request_id));
	promise(fuzz_is_printable(error->region));
	promise(fuzz_is_printable(call->etag) && fuzz_is_printable(call->marker));
	promise(fuzz_is_printable(call->new_id));
	if (error->code == OB_OK && call->verb == OB_S3_CREATE)
		promise(call->new_id[0] != '\0');
	if (error->code == OB_OK && call->verb == OB_S3_UPLOAD_PART)
		promise(call->etag[0] != '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ObS3 *s3;
	ObS3Call call;
	bool aws;

	if (size < 2)
		return 0;
	aws = (data[0] & AWS) != 0;
	s3 = make_client(aws);
	ended = false;
	ob_s3_call_init(&call, s3, on_done, NULL);
	start(&call, (ObS3Verb) ((data[0] & ~AWS) % NVERBS));
	for (int tries = 0; !ended; tries++)
	{
		/* only the deadline ends an outage, so it is reached now */
		if (tries == TRIES_MAX && s3->outage.probe == &call)
			s3->retry_deadline_ms = 1;
		else
			promise(tries < TRIES_MAX);
		check_try(&call, aws);
		response(&call,
				 statuses[data[1] % (sizeof(statuses) / sizeof(statuses[0]))],
				 data + 2, size - 2);
	}
	check_end(&call);
	ob_s3_call_free(&call);
	ob_s3_free(s3);
	return 0;
}
