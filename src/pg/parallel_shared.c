/*
 * parallel_shared.c
 *		What the processes of one export share, in dynamic shared memory.
 *
 * src/pg/parallel_shared.c
 *
 * Texts follow the fixed fields and the ETags, each as a length and its bytes
 * with a NUL; length -1 stands for NULL.  They are written and read in one
 * order, by write_texts() and ob_shared_read().
 */
#include "postgres.h"

#include "pg/parallel_intern.h"

/* ---- counters and ETags ---- */

static char *
etags(const ObShared *shared)
{
	return (char *) shared + MAXALIGN(sizeof(ObShared));
}

char *
ob_shared_etag(const ObShared *shared, int number)
{
	return etags(shared) + (Size) (number - 1) * OB_SHARED_ETAG;
}

/* (arg is where a pointer to the shared memory stands: it moves from the
 * leader's memory to dynamic shared memory and back) */
int
ob_shared_take_number(void *arg)
{
	ObShared *shared = *(ObShared **) arg;

	return (int) pg_atomic_add_fetch_u32(&shared->parts, 1);
}

ObCode
ob_shared_landed(void *arg, int number, const char *etag, size_t len,
				 ObError *error)
{
	ObShared *shared = *(ObShared **) arg;

	if (number > shared->max_parts)
		return ob_error_set(error, OB_ELIMIT, "part %d is one too many",
							number);
	if (strlen(etag) >= OB_SHARED_ETAG)
		return ob_error_set(error, OB_EPROTO,
							"the part's ETag is longer than %d bytes",
							OB_SHARED_ETAG - 1);
	strcpy(ob_shared_etag(shared, number), etag);
	pg_atomic_fetch_add_u64(&shared->bytes, (int64) len);
	return OB_OK;
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

static void
write_texts(TextWriter *writer, const ObParallel *parallel,
			const char *upload_id)
{
	const ObServer *server = parallel->export->server;
	const ObCopyOptions *copy = &parallel->options->copy;
	ListCell *cell;

	write_text(writer, server->name);
	write_text(writer, server->region);
	write_text(writer, server->ca_file);
	write_text(writer, server->credentials.access_key_id);
	write_text(writer, server->credentials.secret_access_key);
	write_text(writer, server->credentials.session_token);
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
}

void
ob_shared_read(const ObShared *shared, ObSharedView *view)
{
	const char *from = (const char *) shared + shared->texts;
	ObCredentials *credentials = &view->server.credentials;
	const char *name;
	int len;

	memset(view, 0, sizeof(*view));
	view->server.name = unconstify(char *, read_text(&from));
	view->server.region = unconstify(char *, read_text(&from));
	view->server.ca_file = unconstify(char *, read_text(&from));
	credentials->access_key_id = read_text(&from);
	credentials->secret_access_key = read_text(&from);
	credentials->session_token = read_text(&from);
	view->bucket = read_text(&from);
	view->key = read_text(&from);
	view->upload_id = read_text(&from);
	view->codec = ob_codec_lookup(read_text(&from));
	view->copy.format = ob_format_lookup(read_text(&from));
	view->copy.null_text = read_text(&from);
	view->head = read_bytes(&from, &len);
	view->head_len = len;
	while ((name = read_text(&from)) != NULL)
		view->copy.force_quote =
			lappend(view->copy.force_quote, unconstify(char *, name));

	view->server.endpoint = shared->endpoint;
	view->server.addressing = shared->addressing;
	view->server.max_parts = shared->max_parts;
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
	return MAXALIGN(sizeof(ObShared)) + (Size) max_parts * OB_SHARED_ETAG;
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
	shared->endpoint = parallel->export->server->endpoint;
	shared->addressing = parallel->export->server->addressing;
}

ObShared *
ob_shared_new(const ObParallel *parallel)
{
	int max_parts = parallel->export->server->max_parts;
	Size size = fixed_size(max_parts);
	ObShared *shared = palloc0(size);

	pg_atomic_init_u32(&shared->parts, 0);
	pg_atomic_init_u64(&shared->rows, 0);
	pg_atomic_init_u64(&shared->bytes, 0);
	shared->max_parts = max_parts;
	shared->size = shared->texts = size;
	fill_shares(shared, parallel);
	fill_options(shared, parallel);
	return shared;
}

Size
ob_shared_estimate(const ObParallel *parallel)
{
	TextWriter writer = {NULL, 0};

	write_texts(&writer, parallel, "");
	/* the id is not known yet */
	return fixed_size(parallel->export->server->max_parts) + writer.len +
		   OB_UPLOAD_ID_MAX;
}

void
ob_shared_fill(ObShared *shared, const ObParallel *parallel,
			   const char *upload_id)
{
	const ObShared *own = parallel->shared;
	TextWriter writer;

	memcpy(shared, own, own->size);
	pg_atomic_init_u32(&shared->parts, pg_atomic_read_u32(unconstify(
										   pg_atomic_uint32 *, &own->parts)));
	pg_atomic_init_u64(&shared->rows, 0);
	pg_atomic_init_u64(&shared->bytes, pg_atomic_read_u64(unconstify(
										   pg_atomic_uint64 *, &own->bytes)));
	writer.to = (char *) shared + shared->texts;
	writer.len = 0;
	write_texts(&writer, parallel, upload_id);
	shared->size = shared->texts + writer.len;
}

void
ob_shared_wipe(ObShared *shared)
{
	explicit_bzero((char *) shared + shared->texts,
				   shared->size - shared->texts);
}
