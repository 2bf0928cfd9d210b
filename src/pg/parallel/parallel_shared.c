/*
 * parallel_shared.c
 *		What the processes of one export share, in dynamic shared memory.
 *
 * src/pg/parallel/parallel_shared.c
 *
 * Texts follow the fixed fields and the parts, each as a length and its bytes
 * with a NUL; length -1 stands for NULL.  They are written and read in one
 * order, by write_texts() and ob_shared_read().
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

/* arg is where a pointer to the shared memory stands: it moves from the
 * leader's memory to dynamic shared memory and back. */
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
ob_shared_add_others(ObFigures *figures, void *others)
{
	ObShared *shared = *(ObShared **) others;
	ObFigures ended;

	SpinLockAcquire(&shared->mutex);
	ended = shared->ended;
	SpinLockRelease(&shared->mutex);
	ob_figures_add(figures, &ended);
}

/* ---- texts ---- */

typedef struct TextWriter
{
	char *to; /* NULL: only count */
	Size len;
} TextWriter;

static void
write_bytes(TextWriter *writer, const char *data, int len)
{
	if (writer->to)
	{
		memcpy(writer->to + writer->len, &len, sizeof(len));
		if (len > 0)
			memcpy(writer->to + writer->len + sizeof(len), data, len);
		if (len >= 0)
			writer->to[writer->len + sizeof(len) + len] = '\0';
	}
	writer->len += sizeof(len) + (len >= 0 ? len + 1 : 0);
}

static void
write_text(TextWriter *writer, const char *text)
{
	write_bytes(writer, text, text ? (int) strlen(text) : -1);
}

static const char *
read_bytes(const char **from, int *len)
{
	const char *data = *from + sizeof(*len);

	memcpy(len, *from, sizeof(*len));
	*from = data + (*len >= 0 ? *len + 1 : 0);
	return *len >= 0 ? data : NULL;
}

static const char *
read_text(const char **from)
{
	int len;

	return read_bytes(from, &len);
}

/* The secrets come first, so that ob_shared_wipe() need not read the rest. */
static void
write_keys(TextWriter *writer, const ObCredentials *keys)
{
	write_text(writer, keys ? keys->access_key_id : NULL);
	write_text(writer, keys ? keys->secret_access_key : NULL);
	write_text(writer, keys ? keys->session_token : NULL);
}

#define SECRETS 6

static void
write_server(TextWriter *writer, const ObParallel *parallel)
{
	const ObServer *server = parallel->export->server;
	const ObCredentialsOptions *credentials = &server->credentials;

	/* what the leader was given, so that a worker can renew, and what it has
	 * got with that */
	write_keys(writer, &credentials->keys);
	write_keys(writer, ob_provider_get(ob_s3_provider(parallel->stream->s3)));
	write_text(writer, credentials->profile);
	write_text(writer, credentials->role_arn);
	write_text(writer, credentials->external_id);
	write_text(writer, credentials->region);
	write_text(writer, credentials->sts_endpoint);
	write_text(writer, server->name);
	/* where the bucket turned out to be */
	write_text(writer, ob_s3_region(parallel->stream->s3));
	write_text(writer, server->ca_file);
	write_text(writer, server->proxy);
}

static void
write_texts(TextWriter *writer, const ObParallel *parallel,
			const char *upload_id)
{
	const ObCopyOptions *copy = &parallel->options->copy;
	ObPair common[OB_COMMON_HEADERS_MAX];
	int ncommon = ob_headers_common(parallel->options, common);
	ListCell *cell;

	write_server(writer, parallel);
	write_text(writer, parallel->export->bucket);
	write_text(writer, parallel->export->key);
	write_text(writer, upload_id);
	write_text(writer, parallel->options->codec->name);
	write_text(writer, copy->format->name);
	write_text(writer, copy->null_text);
	write_bytes(writer, parallel->head.data, (int) parallel->head.len);
	foreach (cell, copy->force_quote)
		write_text(writer, lfirst(cell));
	write_text(writer, NULL);
	for (int i = 0; i < ncommon; i++)
	{
		write_text(writer, common[i].name);
		write_text(writer, common[i].value);
	}
	write_text(writer, NULL);
}

static void
read_keys(const char **from, ObCredentials *keys)
{
	keys->access_key_id = read_text(from);
	keys->secret_access_key = read_text(from);
	keys->session_token = read_text(from);
}

static void
read_server(const ObShared *shared, const char **from, ObServer *server)
{
	ObCredentialsOptions *credentials = &server->credentials;

	read_keys(from, &credentials->keys);
	read_keys(from, &credentials->known);
	credentials->profile = read_text(from);
	credentials->role_arn = read_text(from);
	credentials->external_id = read_text(from);
	credentials->region = read_text(from);
	credentials->sts_endpoint = read_text(from);
	credentials->source = shared->source;
	credentials->known_expires = shared->known_expires;
	server->name = unconstify(char *, read_text(from));
	server->region = unconstify(char *, read_text(from));
	server->ca_file = unconstify(char *, read_text(from));
	server->proxy = unconstify(char *, read_text(from));
	server->endpoint = shared->endpoint;
	server->addressing = shared->addressing;
	server->max_parts = shared->max_parts;
	server->content_md5 = shared->content_md5;
}

void
ob_shared_read(const ObShared *shared, ObSharedView *view)
{
	const char *from = (const char *) shared + shared->texts;
	const char *name;
	const char *head;
	int len;

	memset(view, 0, sizeof(*view));
	read_server(shared, &from, &view->server);
	view->bucket = read_text(&from);
	view->key = read_text(&from);
	view->upload_id = read_text(&from);
	view->codec = ob_codec_lookup(read_text(&from));
	view->copy.format = ob_format_lookup(read_text(&from));
	view->copy.null_text = read_text(&from);
	head = read_bytes(&from, &len);
	view->head = ob_codec_head_of(view->codec, head, len);
	while ((name = read_text(&from)) != NULL)
		view->copy.force_quote =
			lappend(view->copy.force_quote, unconstify(char *, name));
	while ((name = read_text(&from)) != NULL)
		view->common[view->ncommon++] = (ObPair){name, read_text(&from)};

	view->copy.header = shared->header;
	view->copy.delimiter = shared->delimiter;
	view->copy.quote = shared->quote;
	view->copy.escape = shared->escape;
	view->copy.force_quote_all = shared->force_quote_all;
	view->copy.encoding = shared->encoding;
}

/* ---- making it ---- */

static Size
fixed_size(int max_parts)
{
	return MAXALIGN(sizeof(ObShared)) +
		   (Size) max_parts * (sizeof(ObUploadPart) + sizeof(ObRaw));
}

/* Each process gets its part of what the export may use. */
static void
fill_shares(ObShared *shared, const ObParallel *parallel)
{
	int processes = parallel->workers + 1;
	const ObOptions *options = parallel->options;

	shared->memory = (size_t) onboard_upload_memory * 1024 / processes;
	shared->connections = Max(options->connections / processes, 1);
	shared->part_size = options->part_size;
}

static void
fill_options(ObShared *shared, const ObParallel *parallel)
{
	const ObCopyOptions *copy = &parallel->options->copy;

	shared->compression_level = parallel->options->compression_level;
	shared->header = copy->header;
	shared->force_quote_all = copy->force_quote_all;
	shared->delimiter = copy->delimiter;
	shared->quote = copy->quote;
	shared->escape = copy->escape;
	shared->encoding = copy->encoding;
	shared->checksum = parallel->options->checksum;
	shared->crc32 = parallel->options->manifest;
	shared->source = parallel->export->server->credentials.source;
	shared->addressing = parallel->export->server->addressing;
}

ObShared *
ob_shared_new(const ObParallel *parallel)
{
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
	shared->size = shared->texts = size;
	fill_shares(shared, parallel);
	fill_options(shared, parallel);
	return shared;
}

Size
ob_shared_estimate(const ObParallel *parallel, const char *upload_id)
{
	TextWriter writer = {NULL, 0};

	write_texts(&writer, parallel, upload_id);
	return fixed_size(parallel->export->server->max_parts) + writer.len;
}

void
ob_shared_fill(ObShared *shared, const ObParallel *parallel,
			   const char *upload_id, Size size)
{
	const ObShared *own = parallel->shared;
	ObS3 *s3 = parallel->stream->s3;
	TextWriter writer;

	if (ob_shared_estimate(parallel, upload_id) > size)
		elog(ERROR, "an export's shared memory is too small");
	memcpy(shared, own, own->size);
	pg_atomic_init_u32(&shared->parts, pg_atomic_read_u32(unconstify(
										   pg_atomic_uint32 *, &own->parts)));
	SpinLockInit(&shared->mutex);
	pg_atomic_init_u64(&shared->bytes, 0);
	shared->endpoint = *ob_s3_endpoint(s3);
	shared->content_md5 = ob_s3_content_md5(s3);
	shared->known_expires = ob_provider_expires(ob_s3_provider(s3));
	writer.to = (char *) shared + shared->texts;
	writer.len = 0;
	write_texts(&writer, parallel, upload_id);
	shared->size = shared->texts + writer.len;
}

bool
ob_shared_is_wiped(ObShared *shared)
{
	return pg_atomic_read_u32(&shared->wiped) != 0;
}

/* Lengths stay, so that all can still be read. */
void
ob_shared_wipe(ObShared *shared)
{
	const char *from = (const char *) shared + shared->texts;

	pg_atomic_write_u32(&shared->wiped, 1);
	pg_memory_barrier();
	for (int i = 0; i < SECRETS; i++)
	{
		int len;
		const char *secret = read_bytes(&from, &len);

		if (secret)
			explicit_bzero(unconstify(char *, secret), len);
	}
}
