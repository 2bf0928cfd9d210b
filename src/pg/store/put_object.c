/*
 * put_object.c
 *		Small objects of our own, beside those that are exported.
 *
 * src/pg/store/put_object.c
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "pg/base/errors.h"
#include "pg/base/unwind.h"
#include "pg/store/object_headers.h"
#include "pg/store/put_object.h"
#include "pg/store/stream.h"

typedef struct Put
{
	const ObSmallObject *object;
	MemoryContext core; /* context of the stream and its client */
	ObStream *stream;
	char *place; /* "s3://bucket/key", for messages */
} Put;

static void
give_up(void *arg)
{
	Put *put = arg;

	if (put->stream)
		(void) ob_stream_abort(put->stream, put->place);
	put->stream = NULL;
	MemoryContextDelete(put->core);
}

static ObStream *
open_stream(const ObSmallObject *object)
{
	const ObOptions *wanted = object->options;
	ObPair headers[OB_OBJECT_HEADERS_MAX];
	ObPair common[OB_COMMON_HEADERS_MAX];
	const ObStreamOptions options = {
		.server = object->server,
		.bucket = object->bucket,
		.key = object->key,
		.headers = headers,
		.nheaders =
			ob_headers_of_small_object(wanted, object->content_type, headers),
		.common = common,
		.ncommon = ob_headers_common(wanted, common),
		.checksum = wanted->checksum,
		.codec = ob_codec_lookup("none"),
		.part_size = wanted->part_size,
		.memory = (size_t) onboard_upload_memory * 1024,
		/* the export's number lets its connections be used again */
		.connections = wanted->connections,
		.served = object->served,
	};

	return ob_stream_new(&options, NULL);
}

static void
send(void *arg)
{
	Put *put = arg;
	const ObSmallObject *object = put->object;

	MemoryContextSwitchTo(put->core);
	put->stream = open_stream(object);
	if (object->len > 0)
		ob_out_write(ob_stream_out(put->stream), object->data, object->len);
	ob_stream_finish(put->stream);
}

void
ob_put_object(const ObSmallObject *object)
{
	MemoryContext context = AllocSetContextCreate(
		CurTransactionContext, "onboard object", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	Put *put = palloc0(sizeof(Put));

	put->object = object;
	put->place =
		psprintf("s3://%s/%s", object->bucket, ob_report_text(object->key));
	put->core =
		AllocSetContextCreate(context, "onboard stream", ALLOCSET_SMALL_SIZES);
	ob_unwind(send, give_up, put);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
}
