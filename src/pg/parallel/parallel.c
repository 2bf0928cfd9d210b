/*
 * parallel.c
 *		One query exported by several processes: the leader's side.
 *
 * src/pg/parallel/parallel.c
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "core/sink/sink.h"
#include "pg/parallel/parallel_intern.h"
#include "pg/base/errors.h"
#include "pg/base/unwind.h"

#define HEAD_MAX (1024 * 1024)

/* ---- asking for it ---- */

static void
free_head(void *arg)
{
	ObParallel *parallel = arg;

	ob_chain_release(parallel->making);
	parallel->making = NULL;
	ob_buf_free(&parallel->head);
	ob_buf_free(&parallel->raw_head);
}

bool
ob_parallel_unsupported(const ObCopyOptions *copy)
{
	int client = pg_get_client_encoding();

	/* the rows of any two processes need a comma between them */
	if (copy->format->kind == OB_FORMAT_JSON)
		return true;
	/* send functions write in client_encoding, which a parallel worker does
	 * not know: its own is always the database's */
	return copy->format->kind == OB_FORMAT_BINARY &&
		   client != GetDatabaseEncoding() && client != PG_SQL_ASCII;
}

ObParallel *
ob_parallel_new(const ObOptions *options, const ObExportSpec *export,
				ObStream *stream)
{
	ObParallel *parallel = palloc0(sizeof(ObParallel));

	parallel->options = options;
	parallel->export = export;
	parallel->stream = stream;
	parallel->context = CurrentMemoryContext;
	if (export)
	{
		parallel->origin.run_id = export->run_id;
		parallel->origin.lsn = export->lsn;
	}
	parallel->equal = export ? export->server->equal_parts
							 : ob_server_wants_equal_parts(options->server);
	ob_buf_init(&parallel->head, HEAD_MAX);
	ob_buf_init(&parallel->raw_head, HEAD_MAX);
	parallel->callback.func = free_head;
	parallel->callback.arg = parallel;
	MemoryContextRegisterResetCallback(CurrentMemoryContext,
									   &parallel->callback);
	return parallel;
}

bool
ob_parallel_is_pushed_down(const ObParallel *parallel)
{
	return parallel->scan != NULL;
}

bool
ob_parallel_crowded(const ObParallel *parallel)
{
	return parallel->crowded;
}

bool
ob_parallel_equal(const ObParallel *parallel)
{
	return parallel->equal;
}

double
ob_parallel_estimate(const ObParallel *parallel)
{
	return parallel->estimate;
}

int
ob_parallel_workers(const ObParallel *parallel)
{
	return parallel->workers;
}

TupleDesc
ob_parallel_desc(const ObParallel *parallel)
{
	return parallel->desc;
}

const ObOrigin *
ob_parallel_origin(const ObParallel *parallel)
{
	return &parallel->origin;
}

/* ---- the beginning of the object ---- */

typedef struct HeadOut
{
	ObOut out;
	ObParallel *parallel;
	char *window;
} HeadOut;

static void
check(ObCode code, const ObError *error)
{
	if (code != OB_OK)
		ob_report(error);
}

static void
refill_head(ObOut *out)
{
	HeadOut *head = (HeadOut *) out;
	ObSink *chain = head->parallel->making;
	ObError error;
	size_t avail;

	ob_error_clear(&error);
	if (head->window)
		check(ob_sink_advance(chain, out->ptr - head->window, &error), &error);
	head->window = ob_sink_window(chain, &avail, &error);
	if (!head->window)
		ob_report(&error);
	out->ptr = head->window;
	out->end = head->window + avail;
}

/* Makes the header line, or the signature of the binary format. */
static void
make_raw_head(ObParallel *parallel)
{
	HeadOut head = {{NULL, NULL, refill_head}, parallel, NULL};
	ObError error;

	ob_error_clear(&error);
	parallel->making = ob_sink_buf_new(&parallel->raw_head, &error);
	check(error.code, &error);
	ob_encoder_start(
		ob_encoder_new(&parallel->copy, parallel->desc, &head.out));
	if (head.window)
		check(ob_sink_advance(parallel->making, head.out.ptr - head.window,
							  &error),
			  &error);
}

/* Makes the compressed head, which any process may need: the one that will
 * send part 1 is not known yet. */
static void
make_head(ObParallel *parallel)
{
	const ObOptions *options = parallel->options;
	const ObBuf *raw = &parallel->raw_head;
	ObError error;

	make_raw_head(parallel);
	ob_error_clear(&error);
	check(ob_codec_head(options->codec, options->compression_level, raw->data,
						raw->len, &parallel->head, &error),
		  &error);
}

/* ---- running ---- */

/* Each process has its part of the memory that encoders hold rows in, and
 * writes what it holds as one part of the object. */
static void
divide(ObParallel *parallel)
{
	ObParquetChoices *parquet = &parallel->copy.parquet;

	parallel->copy = parallel->options->copy;
	parquet->memory /= parallel->workers + 1;
	parquet->row_group_size =
		Min(parquet->row_group_size,
			Min(parquet->memory, parallel->options->part_size));
}

void
ob_parallel_begin(ObParallel *parallel)
{
	MemoryContext before = MemoryContextSwitchTo(parallel->context);
	ObStreamShare share = {
		.upload = &parallel->share,
		.add_others = ob_shared_add_others,
	};

	divide(parallel);
	make_head(parallel);
	parallel->shared = ob_shared_new(parallel);
	parallel->share.take_number = ob_shared_take_number;
	parallel->share.landed = ob_shared_landed;
	parallel->share.arg = &parallel->shared;
	parallel->share.head = ob_codec_head_of(
		parallel->options->codec, parallel->head.data, parallel->head.len);
	share.head_len = parallel->raw_head.len;
	share.memory = parallel->shared->memory;
	share.connections = parallel->shared->connections;
	ob_stream_share(parallel->stream, &share);
	MemoryContextSwitchTo(before);
}

void
ob_parallel_tail(ObParallel *parallel, TupleTableSlot *slot)
{
	bool isnull;
	Datum value = slot_getattr(slot, 1, &isnull);
	int last = ob_stream_last_part(parallel->stream);
	struct varlena *bytes;
	const char *data;
	char *description;
	size_t len;
	ObTail tail;
	MemoryContext before;

	if (isnull)
		return;
	bytes = PG_DETOAST_DATUM_PACKED(value);
	if (VARSIZE_ANY_EXHDR(bytes) < sizeof(tail))
		elog(ERROR, "a parallel worker's last bytes are too short");
	data = VARDATA_ANY(bytes);
	len = VARSIZE_ANY_EXHDR(bytes);
	memcpy(&tail, data, sizeof(tail));
	if (tail.described > len - sizeof(tail))
		elog(ERROR, "a parallel worker's description is too short");
	data += sizeof(tail);
	ob_stream_end_piece(parallel->stream);
	before = MemoryContextSwitchTo(parallel->context);
	description = palloc_extended(tail.described + 1, MCXT_ALLOC_HUGE);
	memcpy(description, data, tail.described);
	ob_parallel_describe(parallel, description, tail.described,
						 ob_stream_pending(parallel->stream));
	MemoryContextSwitchTo(before);
	ob_stream_append(parallel->stream, data + tail.described,
					 len - sizeof(tail) - tail.described, &tail.raw);
	if (ob_stream_last_part(parallel->stream) != last)
		ob_parallel_part_ended(parallel,
							   ob_stream_last_part(parallel->stream));
}

void
ob_parallel_describe(ObParallel *parallel, const char *data, size_t len,
					 uint64 offset)
{
	ObDescription *description;

	if (len == 0)
		return;
	description = palloc(sizeof(ObDescription));
	*description = (ObDescription){data, len, 0, offset};
	parallel->descriptions = lappend(parallel->descriptions, description);
}

void
ob_parallel_part_ended(ObParallel *parallel, int number)
{
	ListCell *cell;

	foreach (cell, parallel->descriptions)
	{
		ObDescription *description = lfirst(cell);

		if (description->part == 0)
			description->part = number;
	}
}

/* Adds the end of the object to the last part, whose number no process has
 * taken yet; the numbers and sums of all other parts are known. */
static void
end_object(ObParallel *parallel)
{
	const ObBuf *head = &parallel->raw_head;
	const ObShared *shared = parallel->shared;
	int n = pg_atomic_read_u32(&parallel->shared->parts);
	ObRaw raw = {head->len, ob_crc32(0, head->data, head->len)};

	for (int i = 0; i < n; i++)
		ob_raw_add(&raw, &ob_shared_raw(shared)[i]);
	ob_stream_end_object(parallel->stream, &raw);
}

/* Finds where the parts begin in the object, as far as codecs leave lengths
 * alone: formats that need places have none. */
static ObPlaces *
find_places(ObParallel *parallel)
{
	const ObShared *shared = parallel->shared;
	ObPlaces *places = palloc(sizeof(ObPlaces));
	int n = pg_atomic_read_u32(&parallel->shared->parts);
	uint64 *starts =
		palloc_extended(sizeof(uint64) * Max(n, 1), MCXT_ALLOC_HUGE);
	uint64 at = parallel->raw_head.len;

	for (int i = 0; i < n; i++)
	{
		/* the head belongs to the first part */
		starts[i] = at;
		at += ob_shared_raw(shared)[i].len;
	}
	places->descriptions = parallel->descriptions;
	places->starts = starts;
	places->last = at;
	places->length = at + ob_stream_pending(parallel->stream);
	return places;
}

ObEncoder *
ob_parallel_end(ObParallel *parallel)
{
	ObStream *stream = parallel->stream;
	ObEncoder *encoder =
		ob_encoder_new(&parallel->copy, parallel->desc, ob_stream_out(stream));

	ob_stream_end_piece(stream);
	encoder->places = find_places(parallel);
	encoder->origin = &parallel->origin;
	ob_encoder_end(encoder);
	return encoder;
}

void
ob_parallel_finish(ObParallel *parallel)
{
	ObStream *stream = parallel->stream;
	ObShared *shared = parallel->shared;
	uint64 bytes;
	int n;

	ob_stream_end_piece(stream);
	end_object(parallel);
	/* the rest */
	ob_stream_end_part(stream, 1);
	ob_stream_drain(stream);
	n = pg_atomic_read_u32(&shared->parts);
	bytes = ob_stream_bytes(stream) + pg_atomic_read_u64(&shared->bytes);
	ob_stream_finish_shared(stream, ob_shared_parts(shared), n, bytes);
}

/* Ends the workers before the upload is aborted, which the transaction's abort
 * would do too late, and frees the head, which it would do only at its end. */
void
ob_parallel_end_workers(ObParallel *parallel)
{
	ParallelContext *pcxt = parallel->pcxt;

	parallel->pcxt = NULL;
	free_head(parallel);
	/* the abort of a transaction has ended them, if that comes first */
	if (!pcxt || ob_unwind_aborting())
		return;
	ob_shared_wipe(parallel->shared);
	DestroyParallelContext(pcxt);
}
