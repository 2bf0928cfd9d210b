/*
 * sweep.c
 *		Aborting multipart uploads that no export will complete.
 *
 * src/pg/sql/sweep.c
 *
 * A backend that is killed outright, or a machine that loses its power, cannot
 * abort its upload.  S3 keeps the parts, invisible and charged for, until the
 * upload is aborted.
 *
 * The list of a server may have no end, so its uploads are aborted page by
 * page, and only the end of each page is kept.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/store/client.h"
#include "pg/store/object_headers.h"
#include "pg/base/errors.h"
#include "pg/sql/sweep.h"

/* All is in one memory context, whose client is freed before the memory. */
typedef struct Sweep
{
	ObCall *call;
	const char *bucket;
	const char *prefix;
	TimestampTz before;
	bool encoded; /* keys are requested in encoded form */
	MemoryContext page_context;
	ObXmlUploadsPage page; /* the last page: the next one begins at its end */
	/* a marker to which the list must not come back: see check_progress() */
	ObXmlUploadsPage *landmark;
	uint64 steps;
	uint64 stride;
	ObPair common[OB_COMMON_HEADERS_MAX];
} Sweep;

/* Waits for the call that was just started. */
static void
finish(Sweep *sweep)
{
	CHECK_FOR_INTERRUPTS();
	ob_call_wait(sweep->call);
	if (sweep->call->core.error.code != OB_OK)
		ob_report(&sweep->call->core.error);
}

static _Noreturn void
fail_list(const Sweep *sweep, const ObError *fault)
{
	ObError error = *fault;

	ob_error_what(&error,
				  "could not list the unfinished uploads of \"s3://%s\"",
				  sweep->bucket);
	if (error.code == OB_EPROTO)
		ob_report_hint(&error,
					   "Give a prefix that leaves out what the store lists "
					   "so, and abort that by the store's own tools.");
	ob_report(&error);
}

/*
 * The uploads that are old enough.  The XML reader is C code of the core with
 * expat below it, and palloc could jump out of it.  So the callback writes
 * into a buffer of the core's, in which each upload has its time, its key and
 * its id.
 */
typedef struct UploadList
{
	TimestampTz before;
	ObBuf packed;
} UploadList;

static ObCode
collect(void *arg, const ObXmlUpload *upload)
{
	UploadList *list = arg;
	TimestampTz initiated = time_t_to_timestamptz(upload->initiated);

	/* an upload of unknown age is left alone */
	if (upload->initiated == 0 || initiated >= list->before)
		return OB_OK;
	ob_buf_add(&list->packed, &initiated, sizeof(initiated));
	ob_buf_add(&list->packed, upload->key, strlen(upload->key) + 1);
	ob_buf_add(&list->packed, upload->upload_id,
			   strlen(upload->upload_id) + 1);
	return list->packed.failed ? OB_ENOMEM : OB_OK;
}

/* Copies the list into the page's memory, since memory of the core is not
 * freed on an error. */
static char *
read_page(Sweep *sweep, Size *len)
{
	const ObBuf *response = &sweep->call->core.request.response;
	UploadList list = {.before = sweep->before};
	ObError error;
	ObCode code;
	char *packed;

	ob_error_clear(&error);
	/* an element is longer than the part of it that is kept */
	ob_buf_init(&list.packed, response->len + 1024);
	code = ob_xml_read_uploads(response->data, response->len, collect, &list,
							   &sweep->page, &error);
	*len = list.packed.len;
	packed = MemoryContextAllocExtended(sweep->page_context, *len + 1,
										MCXT_ALLOC_NO_OOM);
	if (packed != NULL)
		memcpy(packed, list.packed.data, *len);
	else
		code = OB_ENOMEM;
	ob_buf_free(&list.packed);
	if (code == OB_OK)
		return packed;
	ob_error_set(&error, code, "out of memory");
	fail_list(sweep, &error);
}

static void
fail_repeated(const Sweep *sweep, const char *cause)
{
	ObError error;

	ob_error_clear(&error);
	ob_error_set(&error, OB_EPROTO, "%s", cause);
	fail_list(sweep, &error);
}

static bool
same_place(const ObXmlUploadsPage *a, const ObXmlUploadsPage *b)
{
	return strcmp(a->next_key, b->next_key) == 0 &&
		   strcmp(a->next_upload_id, b->next_upload_id) == 0;
}

/*
 * Raises if a list comes back to an earlier page, since it would have no end.
 * A landmark that moves on after 1, 2, 4, ... pages is met again in any circle
 * (Brent's algorithm), and takes no memory for the pages.
 */
static void
check_progress(Sweep *sweep)
{
	if (!sweep->page.truncated)
		return;
	if (sweep->stride > 0 && same_place(&sweep->page, sweep->landmark))
		fail_repeated(sweep, "the list goes round in a circle: a page ends "
							 "where an earlier one did");
	if (sweep->steps++ < sweep->stride)
		return;
	*sweep->landmark = sweep->page;
	sweep->stride = sweep->stride > 0 ? sweep->stride * 2 : 1;
	sweep->steps = 0;
}

/*
 * Requests a page, from the end of the last one.  A store that does not say
 * that it encodes keys cannot do so, or, like Ceph RGW 16, does so without
 * saying it: then keys are requested without encoding.
 */
static char *
list_page(Sweep *sweep, bool first, Size *len)
{
	ObXmlUploadsPage from = sweep->page;
	char *packed;

	for (;;)
	{
		ob_s3_list_uploads(&sweep->call->core, sweep->bucket, sweep->prefix,
						   first ? NULL : from.next_key,
						   first ? NULL : from.next_upload_id, sweep->encoded);
		finish(sweep);
		packed = read_page(sweep, len);
		if (!sweep->encoded || sweep->page.url_encoded)
			break;
		sweep->encoded = false;
	}
	check_progress(sweep);
	return packed;
}

/* Keys and ids are shown, and a list may hold anything. */
static void
check_texts(Sweep *sweep, const char *packed, Size len)
{
	const char *end = packed + len;

	for (const char *at = packed; at < end;)
	{
		const char *key = at + sizeof(TimestampTz);
		const char *id = key + strlen(key) + 1;

		CHECK_FOR_INTERRUPTS();
		if (ob_s3_repeats_secret(&sweep->call->core, key) ||
			ob_s3_repeats_secret(&sweep->call->core, id))
			fail_repeated(sweep, "the list repeats a secret that was sent to "
								 "the store");
		at = id + strlen(id) + 1;
	}
}

static void
abort_page(Sweep *sweep, char *packed, Size len,
		   void (*swept)(const ObSwept *one, void *arg), void *arg)
{
	char *end = packed + len;

	for (char *at = packed; at < end;)
	{
		ObSwept one;

		memcpy(&one.initiated, at, sizeof(one.initiated));
		one.key = at + sizeof(one.initiated);
		one.upload_id = one.key + strlen(one.key) + 1;
		ob_s3_abort(&sweep->call->core, sweep->bucket, one.key, one.upload_id);
		finish(sweep);
		swept(&one, arg);
		at = one.upload_id + strlen(one.upload_id) + 1;
	}
}

static void
sweep_all(Sweep *sweep, void (*swept)(const ObSwept *one, void *arg),
		  void *arg)
{
	bool first = true;

	do
	{
		MemoryContext before = MemoryContextSwitchTo(sweep->page_context);
		Size len;
		char *packed = list_page(sweep, first, &len);

		check_texts(sweep, packed, len);
		abort_page(sweep, packed, len, swept, arg);
		MemoryContextSwitchTo(before);
		MemoryContextReset(sweep->page_context);
		first = false;
	} while (sweep->page.truncated);
}

void
ob_sweep(const ObServer *server, const char *bucket, const char *prefix,
		 TimestampTz before, const ObOptions *options,
		 void (*swept)(const ObSwept *one, void *arg), void *arg)
{
	Sweep *sweep = palloc0(sizeof(Sweep));
	ObS3 *s3 = ob_client_new(server, 1);

	sweep->bucket = bucket;
	sweep->prefix = prefix;
	sweep->before = before;
	sweep->encoded = true;
	sweep->landmark = palloc0(sizeof(ObXmlUploadsPage));
	sweep->page_context = AllocSetContextCreate(
		CurrentMemoryContext, "onboard page", ALLOCSET_DEFAULT_SIZES);
	sweep->call = ob_call_new(s3, sweep->common,
							  ob_headers_common(options, sweep->common));
	ob_client_wait_credentials(s3, server);
	sweep_all(sweep, swept, arg);
	ob_client_warn_of_clock(s3, server);
}
