/*
 * landed.c
 *		What is known of objects that have landed: by the history, or by a
 *		manifest.
 *
 * src/pg/verify/landed.c
 *
 * Both are read by a query, whose rows have the columns of enum Column.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "core/text/json.h"
#include "pg/base/errors.h"
#include "pg/base/own_query.h"
#include "pg/base/subtransaction.h"
#include "pg/verify/landed.h"

enum Column
{
	NAME = 1,
	URI,
	BYTES,
	CRC32,
	ETAG
};

/*
 * The members of an object.  Each text is cut, but never to a valid one: the
 * limits are above those of S3's URIs, 64-bit integers, and CRC-32 as a text.
 */
#define MEMBERS                                                      \
	"left(o.value ->> 'uri', 2000), left(o.value ->> 'bytes', 20), " \
	"left(o.value ->> 'crc32', 9), "
#define BYTES_DIGITS 19

typedef struct Reading
{
	const char *sql;
	ObParameters parameters;
	MemoryContext context; /* of the list */
	uint64 rows;
	ObLandedList list;
} Reading;

/* ---- the rows ---- */

/* Reads a number as this extension writes it: digits alone. */
static int64
read_bytes(const char *text)
{
	int64 bytes = 0;

	if (!text || *text == '\0' || strlen(text) > BYTES_DIGITS)
		return -1;
	for (; *text != '\0'; text++)
	{
		if (*text < '0' || *text > '9' || bytes > (PG_INT64_MAX - 9) / 10)
			return -1;
		bytes = bytes * 10 + (*text - '0');
	}
	return bytes;
}

static void
read_row(uint64 row, ObLanded *object)
{
	char *name = ob_own_text(row, NAME);
	char *crc32 = ob_own_text(row, CRC32);

	object->name = name ? name : "";
	object->uri = ob_own_text(row, URI);
	object->bytes = read_bytes(ob_own_text(row, BYTES));
	object->etag = ob_own_text(row, ETAG);
	object->has_crc32 = crc32 && ob_crc32_parse(crc32, &object->crc32);
}

static void
read_rows(Oid schema, void *arg)
{
	Reading *reading = arg;
	const ObOwnQuery query = {
		.sql = reading->sql,
		.parameters = &reading->parameters,
		.result = SPI_OK_SELECT,
	};
	MemoryContext before;

	reading->rows = ob_own_query(schema, &query);
	before = MemoryContextSwitchTo(reading->context);
	reading->list.objects = MemoryContextAllocExtended(
		reading->context, sizeof(ObLanded) * Max(reading->rows, 1),
		MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint64 i = 0; i < reading->rows; i++)
	{
		ObLanded *object = &reading->list.objects[reading->list.n];

		read_row(i, object);
		if (object->uri)
			reading->list.n++;
	}
	MemoryContextSwitchTo(before);
}

/* ---- the history ---- */

ObLandedList
ob_landed_of_run(Oid schema, const pg_uuid_t *run_id)
{
	Reading reading = {
		.sql = "SELECT h.name, " MEMBERS "o.value ->> 'etag' "
			   "FROM %s.onboard_history h "
			   "LEFT JOIN LATERAL jsonb_array_elements(h.objects) "
			   "WITH ORDINALITY AS o (value, number) ON true "
			   "WHERE h.run_id = $1 ORDER BY h.name, h.key, o.number",
		.context = CurrentMemoryContext,
	};

	ob_parameter_uuid(&reading.parameters, run_id);
	ob_as_caller(schema, read_rows, &reading);
	if (reading.rows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("run %s does not exist",
						DatumGetCString(DirectFunctionCall1(
							uuid_out, UUIDPGetDatum(run_id)))),
				 errhint("onboard_runs shows the runs that you may see, until "
						 "onboard_prune() deletes them.")));
	return reading.list;
}

/* ---- a manifest ---- */

typedef struct Document
{
	Oid schema;
	const char *text; /* UTF-8 */
	Reading reading;
} Document;

/* In a subtransaction, since errors would quote the document. */
static void
read_document(void *arg)
{
	Document *document = arg;
	Reading *reading = &document->reading;
	char *text =
		pg_any_to_server(document->text, strlen(document->text), PG_UTF8);
	Datum json = DirectFunctionCall1(json_in, CStringGetDatum(text));

	ob_parameter_add(&reading->parameters, JSONOID, json, true);
	ob_as_caller(document->schema, read_rows, reading);
}

static _Noreturn void
fail_manifest(const char *place, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("\"%s\" is not a manifest", place), errdetail("%s", why),
			 errhint("Give the URI of a manifest.json that onboard has "
					 "written.")));
}

/* Checks the text of a document before a parser of PostgreSQL gets it. */
static void
check_text(const ObBuf *data, const char *place)
{
	ObError error;
	ObCode code;

	ob_error_clear(&error);
	code = ob_json_read(data->data, data->len, NULL, 0, &error);
	if (code == OB_ENOMEM)
		ob_report(&error);
	if (code != OB_OK)
		fail_manifest(place, psprintf("%s.", error.cause));
	if (!pg_verify_mbstr(PG_UTF8, data->data, (int) data->len, true))
		fail_manifest(place, "It is not encoded in UTF-8.");
}

/* What is shown of a document must not be a secret of the request for it,
 * which its server knows. */
static void
check_secrets(ObCall *call, const ObLandedList *list, const char *place)
{
	for (int i = 0; i < list->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (ob_s3_repeats_secret(&call->core, list->objects[i].name) ||
			ob_s3_repeats_secret(&call->core, list->objects[i].uri))
			fail_manifest(place, "It repeats a secret that was sent to the "
								 "store.");
	}
}

static void
get_document(ObCall *call, const char *bucket, const char *key)
{
	ob_s3_get_object(&call->core, bucket, key);
	ob_call_wait(call);
	if (call->core.error.code != OB_OK)
		ob_report(&call->core.error);
}

/*
 * A manifest may be made to take as much memory as possible.  So it is a json,
 * whose elements stay texts: as jsonb, "{}" takes hundreds of bytes, and
 * 1e99999 is written out.  A name, which each of the objects of a table
 * repeats, is cut, and "OFFSET 0" lets that happen once for the table.
 *
 * A manifest has no ETags, so none of its texts is compared with one, and
 * shown beside it.
 */
#define MANIFEST_QUERY                                            \
	"SELECT t.name, " MEMBERS "NULL "                             \
	"FROM (SELECT left(value ->> 'name', 400) AS name, number, "  \
	"CASE json_typeof(value -> 'files') WHEN 'array' "            \
	"THEN value -> 'files' ELSE json_build_array(value) END "     \
	"AS files "                                                   \
	"FROM json_array_elements(coalesce($1 -> 'tables', 'null')) " \
	"WITH ORDINALITY AS e (value, number) OFFSET 0) t, "          \
	"LATERAL json_array_elements(t.files) "                       \
	"WITH ORDINALITY AS o (value, number) "                       \
	"WHERE json_typeof(o.value -> 'uri') = 'string' "             \
	"ORDER BY t.number, o.number "                                \
	"LIMIT " CppAsString2(OB_LANDED_MAX) " + 1"

/* Raises an error of read_document() that is not one of the document, and
 * otherwise what is wrong with the document. */
static _Noreturn void
fail_reading(ErrorData *error, const char *place)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
			ReThrowError(error);
	}
	if (error->sqlerrcode == ERRCODE_UNTRANSLATABLE_CHARACTER)
		fail_manifest(place, "It has a character that texts of this database "
							 "cannot have.");
	fail_manifest(place, "It has no list of tables that can be read.");
}

ObLandedList
ob_landed_of_manifest(Oid schema, ObCall *call, const char *bucket,
					  const char *key)
{
	const char *place = psprintf("s3://%s/%s", bucket, ob_report_text(key));
	Document document = {
		.schema = schema,
		.reading =
			{
				.sql = MANIFEST_QUERY,
				.context = CurrentMemoryContext,
			},
	};
	ErrorData *error;

	get_document(call, bucket, key);
	check_text(&call->core.request.response, place);
	document.text = call->core.request.response.data;
	error = ob_attempt(read_document, &document);
	if (error)
		fail_reading(error, place);
	if (document.reading.list.n > OB_LANDED_MAX)
		fail_manifest(
			place, psprintf("It names more than %d objects.", OB_LANDED_MAX));
	check_secrets(call, &document.reading.list, place);
	return document.reading.list;
}
