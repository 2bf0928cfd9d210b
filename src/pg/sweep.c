/*
 * sweep.c
 *		Removing multipart uploads that nobody will finish.
 *
 * src/pg/sweep.c
 *
 * A backend that is killed outright, or a machine that loses its power, cannot
 * abort its upload.  S3 keeps the parts, invisible and charged for, until
 * somebody does.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "pg/call.h"
#include "pg/client.h"
#include "pg/headers.h"
#include "pg/report.h"
#include "pg/sweep.h"

/* All in one memory context with the client, which is freed before it. */
typedef struct Sweep
{
	ObCall *call;
	const char *bucket;
	TimestampTz before;
	List *found; /* of ObSwept; allocated outside of libcurl's callbacks */
	ObPair common[OB_COMMON_HEADERS_MAX];
} Sweep;

/* Waits for the call that was just started. */
static void
finish(Sweep *sweep)
{
	ob_call_wait(sweep->call);
	if (sweep->call->core.error.code != OB_OK)
		ob_report(&sweep->call->core.error);
}

/*
 * Remembers an upload that is old enough.  The reader of XML is C code of the
 * core's with expat below it: palloc could jump out of it, so this mallocs.
 */
typedef struct UploadPage
{
	TimestampTz before;
	ObXmlUpload *uploads;
	int n;
	int cap;
} UploadPage;

static ObCode
collect(void *arg, const ObXmlUpload *upload)
{
	UploadPage *page = arg;

	/* one whose age cannot be told is left alone */
	if (upload->initiated == 0 ||
		time_t_to_timestamptz(upload->initiated) >= page->before)
		return OB_OK;
	if (page->n == page->cap)
	{
		int cap = page->cap > 0 ? page->cap * 2 : 16;
		ObXmlUpload *uploads =
			realloc(page->uploads, (size_t) cap * sizeof(ObXmlUpload));

		if (!uploads)
			return OB_ENOMEM;
		page->uploads = uploads;
		page->cap = cap;
	}
	page->uploads[page->n++] = *upload;
	return OB_OK;
}

static void
keep(Sweep *sweep, const UploadPage *page)
{
	for (int i = 0; i < page->n; i++)
	{
		ObSwept *swept = palloc(sizeof(ObSwept));

		swept->key = pstrdup(page->uploads[i].key);
		swept->upload_id = pstrdup(page->uploads[i].upload_id);
		swept->initiated = time_t_to_timestamptz(page->uploads[i].initiated);
		sweep->found = lappend(sweep->found, swept);
	}
}

static void
read_page(Sweep *sweep, ObXmlUploadsPage *next)
{
	const ObBuf *response = &sweep->call->core.request.response;
	UploadPage page = {.before = sweep->before};
	ObError error;
	ObCode code;

	ob_error_clear(&error);
	code = ob_xml_read_uploads(response->data, response->len, collect, &page,
							   next, &error);
	PG_TRY();
	{
		if (code == OB_OK)
			keep(sweep, &page);
	}
	PG_FINALLY();
	{
		free(page.uploads);
	}
	PG_END_TRY();
	if (code == OB_OK)
		return;
	ob_error_set(&error, code, "out of memory");
	ob_error_what(&error,
				  "could not list the unfinished uploads of \"s3://%s\"",
				  sweep->bucket);
	ob_report(&error);
}

static void
list_all(Sweep *sweep, const char *prefix)
{
	ObXmlUploadsPage *pages = palloc0(2 * sizeof(ObXmlUploadsPage));
	int current = 0;

	for (bool first = true; first || pages[current].truncated; first = false)
	{
		const ObXmlUploadsPage *last = &pages[current];

		ob_s3_list_uploads(&sweep->call->core, sweep->bucket, prefix,
						   first ? NULL : last->next_key,
						   first ? NULL : last->next_upload_id);
		finish(sweep);
		current = 1 - current;
		read_page(sweep, &pages[current]);
		/* a server that stays on the same page would keep us forever */
		if (!first && strcmp(pages[0].next_key, pages[1].next_key) == 0 &&
			strcmp(pages[0].next_upload_id, pages[1].next_upload_id) == 0)
			break;
	}
	pfree(pages);
}

static void
abort_all(Sweep *sweep)
{
	ListCell *cell;

	foreach (cell, sweep->found)
	{
		const ObSwept *swept = lfirst(cell);

		ob_s3_abort(&sweep->call->core, sweep->bucket, swept->key,
					swept->upload_id);
		finish(sweep);
	}
}

List *
ob_sweep(const ObServer *server, const char *bucket, const char *prefix,
		 TimestampTz before, const ObOptions *options)
{
	Sweep *sweep = palloc0(sizeof(Sweep));
	ObS3 *s3 = ob_client_new(server, 1);

	sweep->bucket = bucket;
	sweep->before = before;
	sweep->call = ob_call_new(s3, sweep->common,
							  ob_headers_common(options, sweep->common));
	ob_client_wait_credentials(s3, server);
	list_all(sweep, prefix);
	abort_all(sweep);
	ob_client_warn_of_clock(s3, server);
	return sweep->found;
}
