/*
 * parallel_shared.c
 *		The state that the processes of an export share.
 *
 * src/pg/parallel/parallel_shared.c
 *
 * The leader passes its data to the workers as one image (config/image.h).
 * The server is made again from its options, so a new option needs nothing
 * here.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "pg/parallel/parallel_intern.h"

/* ---- counters and parts ---- */

ObUploadPart *
ob_shared_parts(const ObShared *shared)
{
	return (ObUploadPart *) ((char *) shared + MAXALIGN(sizeof(ObShared)));
}

ObRaw *
ob_shared_raw(const ObShared *shared)
{
	return (ObRaw *) (ob_shared_parts(shared) + shared->max_parts);
}

/* arg points to the pointer to the state, which moves from the leader's memory
 * to dynamic shared memory and back. */
int
ob_shared_take_number(void *arg, const ObRaw *raw)
{
	ObShared *shared = *(ObShared **) arg;
	int number = (int) pg_atomic_add_fetch_u32(&shared->parts, 1);

	if (number <= shared->max_parts)
		ob_shared_raw(shared)[number - 1] = *raw;
	return number;
}

ObCode
ob_shared_landed(void *arg, int number, const ObUploadPart *part,
				 ObError *error)
{
	ObShared *shared = *(ObShared **) arg;

	if (number > shared->max_parts)
		return ob_error_set(error, OB_ELIMIT, "part %d is one too many",
							number);
	ob_shared_parts(shared)[number - 1] = *part;
	return OB_OK;
}

void
ob_shared_add(ObShared *shared, const ObFigures *figures)
{
	SpinLockAcquire(&shared->mutex);
	ob_figures_add(&shared->ended, figures);
	SpinLockRelease(&shared->mutex);
}

void
ob_shared_add_others(ObFigures *figures, void *arg)
{
	ObShared *shared = *(ObShared **) arg;
	ObFigures ended;

	SpinLockAcquire(&shared->mutex);
	ended = shared->ended;
	SpinLockRelease(&shared->mutex);
	ob_figures_add(figures, &ended);
}

/* ---- the view of a worker ---- */

OB_IMAGE_KNOWS(ObSharedView, 880);
OB_IMAGE_KNOWS(ObCredentials, 24);
OB_IMAGE_KNOWS(ObStreamOptions, 104);
OB_IMAGE_KNOWS(ObCopyOptions, 128);

static void
image_of_keys(ObImage *image, ObCredentials *keys)
{
	ob_image_text(image, &keys->access_key_id);
	ob_image_text(image, &keys->secret_access_key);
	ob_image_text(image, &keys->session_token);
}

/* Describes the secrets, which come first, so that ob_shared_wipe() need not
 * read the rest. */
static void
image_of_secrets(ObImage *image, ObSharedView *view)
{
	ob_image_struct(image, view, sizeof(*view));
	image_of_keys(image, &view->keys);
	image_of_keys(image, &view->known);
}

static void
image_of_stream(ObImage *image, ObStreamOptions *stream)
{
	const char *codec = image->reading ? NULL : stream->codec->name;

	stream->server = NULL;
	stream->headers = NULL;
	ob_image_text(image, &stream->bucket);
	ob_image_text(image, &stream->key);
	ob_image_pairs(image, &stream->common, stream->ncommon);
	ob_image_text(image, &codec);
	stream->codec = ob_codec_lookup(codec);
}

static void
image_of_copy(ObImage *image, ObCopyOptions *copy)
{
	const char *format = image->reading ? NULL : copy->format->name;

	ob_image_text(image, &format);
	copy->format = ob_format_lookup(format);
	ob_image_text(image, &copy->null_text);
	ob_image_texts(image, &copy->force_quote);
	ob_image_texts(image, &copy->parquet.dictionary);
	ob_image_texts(image, &copy->parquet.bloom_filter);
}

static void
image_of_view(ObImage *image, ObSharedView *view)
{
	image_of_secrets(image, view);
	ob_image_server(image, &view->server);
	ob_image_text(image, &view->region);
	image_of_stream(image, &view->stream);
	ob_image_text(image, &view->upload_id);
	image_of_copy(image, &view->copy);
	ob_image_bytes(image, &view->head, &view->head_len);
}

static void
make_view(const ObParallel *parallel, const char *upload_id,
		  ObSharedView *view)
{
	const ObServer *server = parallel->export->server;
	ObS3 *s3 = ob_stream_client(parallel->stream);
	const ObCredentials *known = ob_provider_get(ob_s3_provider(s3));

	memset(view, 0, sizeof(*view));
	view->keys = server->credentials.keys;
	if (known)
		view->known = *known;
	view->known_expires = ob_provider_expires(ob_s3_provider(s3));
	view->server = ob_server_row(server);
	view->endpoint = *ob_s3_endpoint(s3);
	view->region = ob_s3_region(s3);
	view->content_md5 = ob_s3_content_md5(s3);
	ob_stream_options(parallel->export, &view->stream);
	/* the leader creates the object, and checks for an earlier one */
	view->stream.nheaders = 0;
	view->stream.keep_existing = false;
	view->stream.hold = false;
	view->stream.memory = parallel->shared->memory;
	view->stream.connections = parallel->shared->connections;
	view->upload_id = upload_id;
	view->copy = parallel->copy;
	view->head = parallel->head.data;
	view->head_len = parallel->head.len;
}

/* Makes the server as the leader has it, with all that it has learnt from the
 * store. */
static ObServer *
make_server(const ObSharedView *view)
{
	ObServer *server = ob_server_make(&view->server);
	ObCredentialsOptions *credentials = &server->credentials;

	ob_server_set_keys(server, &view->keys);
	credentials->known = view->known;
	credentials->known_expires = view->known_expires;
	server->endpoint = view->endpoint;
	server->region = unconstify(char *, view->region);
	server->content_md5 = view->content_md5;
	return server;
}

void
ob_shared_read(const ObShared *shared, ObSharedView *view)
{
	ObImage image = ob_image_read((const char *) shared + shared->image);

	image_of_view(&image, view);
	view->stream.server = make_server(view);
}

/* ---- making the state ---- */

static Size
fixed_size(int max_parts)
{
	return MAXALIGN(MAXALIGN(sizeof(ObShared)) +
					(Size) max_parts * (sizeof(ObUploadPart) + sizeof(ObRaw)));
}

ObShared *
ob_shared_new(const ObParallel *parallel)
{
	int processes = parallel->workers + 1;
	int max_parts = parallel->export->server->max_parts;
	Size size = fixed_size(max_parts);
	ObShared *shared = palloc0(size);

	shared->run_id = parallel->export->run_id;
	shared->leader = MyProcPid;
	pg_atomic_init_u32(&shared->parts, 0);
	pg_atomic_init_u64(&shared->bytes, 0);
	pg_atomic_init_u32(&shared->wiped, 0);
	SpinLockInit(&shared->mutex);
	shared->max_parts = max_parts;
	shared->image = size;
	shared->memory = ((size_t) onboard_upload_memory * 1024 -
					  parallel->options->copy.parquet.memory) /
					 processes;
	shared->connections = Max(parallel->options->connections / processes, 1);
	return shared;
}

Size
ob_shared_estimate(const ObParallel *parallel, const char *upload_id)
{
	ObImage image = ob_image_count();
	ObSharedView view;

	make_view(parallel, upload_id, &view);
	image_of_view(&image, &view);
	return parallel->shared->image + image.size;
}

void
ob_shared_fill(ObShared *shared, const ObParallel *parallel,
			   const char *upload_id, Size size)
{
	const ObShared *own = parallel->shared;
	ObImage image = ob_image_write((char *) shared + own->image);
	ObSharedView view;

	if (ob_shared_estimate(parallel, upload_id) > size)
		elog(ERROR, "an export's shared memory is too small");
	memcpy(shared, own, own->image);
	pg_atomic_init_u32(&shared->parts, pg_atomic_read_u32(unconstify(
										   pg_atomic_uint32 *, &own->parts)));
	SpinLockInit(&shared->mutex);
	pg_atomic_init_u64(&shared->bytes, 0);
	make_view(parallel, upload_id, &view);
	image_of_view(&image, &view);
}

bool
ob_shared_is_wiped(ObShared *shared)
{
	return pg_atomic_read_u32(&shared->wiped) != 0;
}

static void
wipe_keys(const ObCredentials *keys)
{
	const char *const texts[] = {keys->access_key_id, keys->secret_access_key,
								 keys->session_token};

	for (int i = 0; i < lengthof(texts); i++)
	{
		if (texts[i])
			explicit_bzero(unconstify(char *, texts[i]), strlen(texts[i]));
	}
}

/* The secrets keep their lengths, so that the image can still be read. */
void
ob_shared_wipe(ObShared *shared)
{
	ObImage image = ob_image_read((const char *) shared + shared->image);
	ObSharedView view;

	pg_atomic_write_u32(&shared->wiped, 1);
	pg_memory_barrier();
	image_of_secrets(&image, &view);
	wipe_keys(&view.keys);
	wipe_keys(&view.known);
}
