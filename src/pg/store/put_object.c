/*
 * put_object.c
 *		Small objects of our own, beside those that are exported.
 *
 * src/pg/store/put_object.c
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "pg/store/put_object.h"
#include "pg/base/errors.h"
#include "pg/store/stream.h"
#include "pg/base/unwind.h"

typedef struct Put
{
	ObExportSpec export;
	ObOptions options;
	MemoryContext core; /* of the stream and its client */
	ObStream *stream;
	const char *data;
	size_t len;
	bool served; /* the run, by the store */
	char *place; /* for messages */
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

static void
send(void *arg)
{
	Put *put = arg;

	MemoryContextSwitchTo(put->core);
	put->stream = ob_stream_open(&put->export);
	/* the client has forgotten it, or was never used by the run */
	if (put->served)
		ob_s3_note_served(put->stream->s3);
	if (put->len > 0)
		ob_out_write(&put->stream->out, put->data, put->len);
	ob_stream_finish(put->stream);
}

static void
fill(Put *put, const ObExportSpec *like, const char *key, const char *type)
{
	put->options = *like->options;
	put->options.content_type = unconstify(char *, type);
	put->options.codec = ob_codec_lookup("none");
	put->options.storage_class = NULL;
	put->options.tags.n = 0;
	put->options.metadata.n = 0;
	put->options.keep_existing = false;
	put->options.manifest = false;
	put->export = *like;
	put->export.options = &put->options;
	put->export.key = key;
	put->export.held = NULL;
	put->export.fate = NULL;
}

void
ob_put_object(const ObExportSpec *like, const char *key, const char *type,
			  const char *data, size_t len, bool served)
{
	MemoryContext context = AllocSetContextCreate(
		CurTransactionContext, "onboard object", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	Put *put = palloc0(sizeof(Put));

	fill(put, like, key, type);
	put->place = psprintf("s3://%s/%s", like->bucket, ob_report_text(key));
	put->core =
		AllocSetContextCreate(context, "onboard stream", ALLOCSET_SMALL_SIZES);
	put->data = data;
	put->len = len;
	put->served = served;
	ob_unwind(send, give_up, put);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
}
