/*
 * manifest_withdraw.c
 *		The removal of the manifest of an earlier attempt of a run.
 *
 * src/pg/export/manifest_withdraw.c
 *
 * The manifest is read first: if it says that the attempt has failed, a caller
 * without the right to delete does not need it.  _SUCCESS goes before the
 * manifest, so it never stands there alone.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "core/text/json.h"
#include "pg/catalog/history.h"
#include "pg/store/client.h"
#include "pg/store/object_headers.h"
#include "pg/export/manifest.h"
#include "pg/base/errors.h"
#include "pg/export/manifest_withdraw.h"

#define OTHERS_HINT                                                         \
	"Give another run_id, or none; or export all tables of the run by one " \
	"call of onboard_all()."

typedef struct Withdrawal
{
	const ObExportSpec *where;
	const char **names; /* in UTF-8, sorted */
	int n;
	ObPair common[OB_COMMON_HEADERS_MAX];
	ObCall *call;
	/* properties of the manifest that exists */
	bool foreign; /* it names a table that is not one of them */
	bool readable;
	bool success;
} Withdrawal;

static const char *
run_text(const Withdrawal *this)
{
	return ob_manifest_run_text(&this->where->run_id);
}

static const ObError *
finish(Withdrawal *this)
{
	ob_call_wait(this->call);
	return &this->call->core.error;
}

/* ---- what the history has ---- */

/* An attempt that was ended may have deleted the manifest, and written none.
 */
static void
refuse_others(Oid schema, const ObExportSpec *where, const char *const *names,
			  int n)
{
	const char *other = ob_history_other(schema, &where->run_id, names, n);

	if (!other)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("run %s has tables that are not exported now",
					ob_manifest_run_text(&where->run_id)),
			 errdetail("The manifest would not name \"%s\", although the "
					   "history has it.",
					   other),
			 errhint("%s", OTHERS_HINT)));
}

/* ---- the manifest that is there ---- */

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static bool
is_ours(void *arg, const char *name)
{
	Withdrawal *this = arg;

	this->foreign = bsearch(&name, this->names, this->n, sizeof(char *),
							compare_names) == NULL;
	return !this->foreign;
}

/* No message shows anything of the document, which may be any. */
static void
read_manifest(Withdrawal *this)
{
	const ObBuf *document = &this->call->core.request.response;
	ObJsonList list = {.flag = "success",
					   .list = "tables",
					   .name = "name",
					   .found = is_ours,
					   .arg = this};
	ObError ignored;

	ob_error_clear(&ignored);
	if (ob_json_read_list(document->data, document->len, &list, &ignored) !=
		OB_OK)
		return;
	if (this->foreign)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the manifest of run %s names tables that are not "
					"exported now",
					run_text(this)),
			 errdetail("The new one would not name them, although an earlier "
					   "attempt has landed them."),
			 errhint("%s", OTHERS_HINT)));
	this->readable = list.has_flag;
	this->success = list.flag_value;
}

/* Reads the manifest.  Returns false if there is none. */
static bool
look(Withdrawal *this)
{
	const ObExportSpec *where = this->where;
	const ObError *error;

	ob_s3_get_object(&this->call->core, where->bucket,
					 ob_manifest_key(where, OB_MANIFEST_FILE));
	error = finish(this);
	if (error->http_status == 404 && strcmp(error->s3_code, "NoSuchBucket"))
		return false;
	if (error->code == OB_OK)
		read_manifest(this);
	/* a manifest that is too long to be read exists, too */
	else if (error->code != OB_EDENIED && error->code != OB_EPROTO)
		ob_report(error);
	return true;
}

/* ---- taking it back ---- */

static bool
is_absent(Withdrawal *this, const char *key)
{
	ob_s3_head(&this->call->core, this->where->bucket, key);
	return finish(this)->http_status == 404;
}

static void
fail(const Withdrawal *this, const char *key)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 this->readable
			 ? errmsg("what an earlier attempt of run %s has written cannot "
					  "be deleted",
					  run_text(this))
			 : errmsg("it cannot be known whether run %s has a _SUCCESS",
					  run_text(this)),
		 errdetail("S3 does not let these credentials delete \"s3://%s/%s\".",
				   this->where->bucket, ob_report_text(key)),
		 errhint("Allow s3:DeleteObject below \"_onboard/\", or give another "
				 "run_id, or none.")));
}

/* Deletes a file.  Returns false if that is not allowed. */
static bool
remove_file(Withdrawal *this, const char *key)
{
	const ObError *error;

	ob_s3_delete_object(&this->call->core, this->where->bucket, key);
	error = finish(this);
	if (error->code != OB_OK && error->code != OB_EDENIED)
		ob_report(error);
	return error->code == OB_OK;
}

static void
take_back(Withdrawal *this)
{
	const char *success = ob_manifest_key(this->where, OB_SUCCESS_FILE);
	const char *manifest = ob_manifest_key(this->where, OB_MANIFEST_FILE);
	/* no later request changes that */
	bool may_stay = this->readable && !this->success;

	if (!remove_file(this, success) && !(may_stay && is_absent(this, success)))
		fail(this, success);
	if (!remove_file(this, manifest) && !may_stay)
		fail(this, manifest);
}

void
ob_withdraw(Oid schema, const ObExportSpec *where, const char *const *names,
			int n)
{
	/* the context also holds the client, which ends before this returns */
	MemoryContext context = AllocSetContextCreate(
		CurTransactionContext, "onboard withdrawal", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	Withdrawal this = {.where = where, .n = n};
	ObS3 *s3;

	refuse_others(schema, where, names, n);
	s3 = ob_client_new(where->server, 1);
	this.names = palloc(sizeof(char *) * n);
	for (int i = 0; i < n; i++)
		this.names[i] = pg_server_to_any(names[i], strlen(names[i]), PG_UTF8);
	qsort(this.names, n, sizeof(char *), compare_names);
	this.call = ob_call_new(s3, this.common,
							ob_headers_common(where->options, this.common));
	ob_client_wait_credentials(s3, where->server);
	if (look(&this))
		take_back(&this);
	ob_client_warn_of_clock(s3, where->server);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
}
