/*
 * sink_file.c
 *		A terminal that writes a local file.
 *
 * test/core/sink_file.c
 *
 * If its chain fails, the file keeps the bytes written so far.
 */
#include "sinks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct ObFileSink
{
	ObSink base;
	int fd; /* -1: not open */
	size_t filled;
	char buffer[OB_SINK_WINDOW_MAX];
	char path[];
} ObFileSink;

static ObCode file_open(ObSink *sink, ObError *error);
static char *file_window(ObSink *sink, size_t *avail, ObError *error);
static ObCode file_advance(ObSink *sink, size_t len, ObError *error);
static ObCode file_close(ObSink *sink, ObError *error);
static void file_release(ObSink *sink);

static const ObSinkOps file_ops = {
	.name = "file",
	.open = file_open,
	.window = file_window,
	.advance = file_advance,
	.close = file_close,
	.release = file_release,
};

static ObCode
file_fail(const ObFileSink *file, const char *verb, int number, ObError *error)
{
	ob_error_what(error, "could not %s file \"%s\"", verb, file->path);
	return ob_error_set(error, OB_EIO, "%s", strerror(number));
}

ObSink *
ob_sink_file_new(const char *path, ObError *error)
{
	size_t size = strlen(path) + 1;
	ObFileSink *file = calloc(1, sizeof(*file) + size);

	if (file == NULL)
	{
		ob_error_what(error, "could not open file \"%s\"", path);
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	file->base.ops = &file_ops;
	file->fd = -1;
	memcpy(file->path, path, size);
	return &file->base;
}

static ObCode
file_open(ObSink *sink, ObError *error)
{
	ObFileSink *file = (ObFileSink *) sink;

	do
		file->fd =
			open(file->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	while (file->fd < 0 && errno == EINTR);
	return file->fd < 0 ? file_fail(file, "open", errno, error) : OB_OK;
}

static ObCode
file_flush(ObFileSink *file, ObError *error)
{
	size_t done = 0;

	while (done < file->filled)
	{
		ssize_t n = write(file->fd, file->buffer + done, file->filled - done);

		if (n < 0 && errno == EINTR)
			continue;
		/* A device that accepts no bytes without reporting an error is
		 * full. */
		if (n <= 0)
			return file_fail(file, "write", n < 0 ? errno : ENOSPC, error);
		done += n;
	}
	file->filled = 0;
	return OB_OK;
}

static char *
file_window(ObSink *sink, size_t *avail, ObError *error)
{
	ObFileSink *file = (ObFileSink *) sink;

	if (sizeof(file->buffer) - file->filled < OB_SINK_WINDOW_MIN &&
		file_flush(file, error) != OB_OK)
		return NULL;
	*avail = sizeof(file->buffer) - file->filled;
	return file->buffer + file->filled;
}

static ObCode
file_advance(ObSink *sink, size_t len, ObError *error)
{
	ObFileSink *file = (ObFileSink *) sink;

	file->filled += len;
	return OB_OK;
}

static ObCode
file_close(ObSink *sink, ObError *error)
{
	ObFileSink *file = (ObFileSink *) sink;
	ObCode code = file_flush(file, error);
	int status;

	if (code != OB_OK)
		return code;

	/* The descriptor is closed even if close() fails (on Linux; so EINTR is no
	 * failure, and a second close could hit another file). */
	status = close(file->fd);
	file->fd = -1;
	if (status != 0 && errno != EINTR)
		return file_fail(file, "close", errno, error);
	return OB_OK;
}

static void
file_release(ObSink *sink)
{
	ObFileSink *file = (ObFileSink *) sink;

	if (file->fd >= 0)
		(void) close(file->fd);
	free(file);
}
