/*
 * put.c
 *		Small objects of our own, beside those that are exported.
 *
 * src/pg/put.c
 */
#include "postgres.h"

#include "storage/ipc.h"
#include "utils/memutils.h"

#include "pg/put.h"
#include "pg/report.h"

typedef struct Put
{
	ObExport export;
	ObOptions options;
	ObStream *stream;
	char *place; /* for messages */
} Put;

static void
give_up(int code, Datum arg)
{
	Put *put = (Put *) DatumGetPointer(arg);

	if (put->stream)
		ob_stream_abort(put->stream, put->place);
}

static void
fill(Put *put, const ObExport *like, const char *key, const char *type)
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
}

void
ob_put_object(const ObExport *like, const char *key, const char *type,
			  const char *data, size_t len)
{
	MemoryContext context = AllocSetContextCreate(
		CurTransactionContext, "onboard object", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	Put *put = palloc0(sizeof(Put));

	fill(put, like, key, type);
	put->place = psprintf("s3://%s/%s", like->bucket, ob_report_text(key));
	PG_ENSURE_ERROR_CLEANUP(give_up, PointerGetDatum(put));
	{
		put->stream = ob_export_open(&put->export);
		if (len > 0)
			ob_out_write(&put->stream->out, data, len);
		ob_stream_finish(put->stream);
	}
	PG_END_ENSURE_ERROR_CLEANUP(give_up, PointerGetDatum(put));
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
}
