/*
 * errors.c
 *		An ObError of the core as an ereport of PostgreSQL.
 *
 * src/pg/base/errors.c
 *
 * The only place where an ObCode becomes a SQLSTATE; docs/reference.md has the
 * same table for users.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "common/string.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "pg/base/errors.h"

#define CLIP_MAX 300

typedef struct CodeInfo
{
	int sqlstate;
	const char *hint; /* NULL: none */
} CodeInfo;

static CodeInfo
code_info(ObCode code)
{
	switch (code)
	{
		case OB_EINVAL:
			return (CodeInfo){ERRCODE_INVALID_PARAMETER_VALUE, NULL};
		case OB_ENOMEM:
			return (CodeInfo){ERRCODE_OUT_OF_MEMORY, NULL};
		case OB_ECREDS:
			return (CodeInfo){
				ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
				"Check the access key id, the secret access key and, for "
				"temporary credentials, the session token and its expiry."};
		case OB_EDENIED:
			return (CodeInfo){ERRCODE_INSUFFICIENT_PRIVILEGE,
							  "The policy of these credentials must allow it: "
							  "s3:PutObject and s3:AbortMultipartUpload to "
							  "export, s3:ListBucketMultipartUploads to find "
							  "unfinished uploads."};
		case OB_EMISSING:
			return (CodeInfo){ERRCODE_UNDEFINED_FILE,
							  "Check the name of the bucket, and the server's "
							  "endpoint and region."};
		case OB_EEXISTS:
			return (CodeInfo){ERRCODE_DUPLICATE_FILE,
							  "Remove the object, choose another key, or set "
							  "\"overwrite\" to \"replace\"."};
		case OB_EREGION:
			return (CodeInfo){ERRCODE_INVALID_PARAMETER_VALUE,
							  "Set the server's option region to the bucket's "
							  "region."};
		case OB_ESKEW:
			return (CodeInfo){ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
							  "Synchronize the clock of the database server: "
							  "S3 allows a difference of 15 minutes."};
		case OB_ECONNECT:
			return (CodeInfo){
				ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
				"Check the server's endpoint, and that the "
				"database server may connect to it."};
		case OB_ETLS:
			return (CodeInfo){
				ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
				"If the endpoint's certificate comes from a private "
				"authority, the server's option ca_file must name a readable "
				"file with that authority's certificate."};
		case OB_ETIMEOUT:
			return (CodeInfo){ERRCODE_CONNECTION_FAILURE,
							  "See the settings onboard.connect_timeout and "
							  "onboard.stall_timeout."};
		case OB_ETHROTTLE:
			return (CodeInfo){ERRCODE_INSUFFICIENT_RESOURCES,
							  "The store asks for fewer requests: use fewer "
							  "connections, or export fewer tables at once."};
		case OB_ESERVER:
			return (CodeInfo){ERRCODE_IO_ERROR, NULL};
		case OB_EREQUEST:
			return (CodeInfo){ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, NULL};
		case OB_ELIMIT:
			return (CodeInfo){ERRCODE_PROGRAM_LIMIT_EXCEEDED,
							  "Use a larger part_size, and set "
							  "onboard.upload_memory to at least twice that."};
		case OB_EPROTO:
			return (CodeInfo){ERRCODE_PROTOCOL_VIOLATION,
							  "Is the endpoint an S3 server?"};
		case OB_EUNKNOWN:
			return (CodeInfo){
				ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN,
				"Look for the object: it may have been written."};
		case OB_EIO:
			return (CodeInfo){ERRCODE_IO_ERROR, NULL};
		case OB_OK:
			break;
	}
	return (CodeInfo){ERRCODE_INTERNAL_ERROR, NULL};
}

/* A 503 without a code of S3 comes from a load balancer without a backend:
 * fewer requests would not help. */
static bool
is_out_of_service(const ObError *error)
{
	return error->code == OB_ETHROTTLE && error->http_status == 503 &&
		   error->s3_code[0] == '\0';
}

/* The hint depends on the source of the refusal: no request was sent, a HEAD
 * was refused, a KMS key was involved, or S3 has named the bucket's region. */
static const char *
hint(const ObError *error)
{
	if (is_out_of_service(error))
		return "The store, or a balancer in front of it, is out of service: "
			   "try again later.";
	if (error->code == OB_EDENIED && error->read_only)
		return "The policy of these credentials must allow s3:GetObject, and "
			   "s3:ListBucket for an object that is not there.";
	if (error->code == OB_ECREDS && error->http_status == 0)
		return "The server's option \"credentials\" says where they come "
			   "from.";
	if (error->code == OB_EREGION && error->region[0])
		return psprintf("The bucket is in region \"%s\": set the server's "
						"option region to it.",
						error->region);
	if (error->code == OB_EDENIED && strstr(error->cause, "kms:"))
		return "The policy of these credentials, and that of the key, must "
			   "allow kms:GenerateDataKey and kms:Decrypt.";
	/* OpenSSL's error for plain HTTP */
	if (error->code == OB_ETLS && strstr(error->cause, "wrong version number"))
		return "What answers there does not speak TLS: check the port of the "
			   "endpoint, and whether it begins with http:// instead.";
	if (strncmp(error->s3_code, "KMS.", 4) == 0 && error->code != OB_ETHROTTLE)
		return "Check the key of option \"kms_key_id\", or the bucket's: it "
			   "must be enabled, and in the bucket's region.";
	return code_info(error->code).hint;
}

/* ---- texts of the core ---- */

static bool
is_utf8(const char *text)
{
	return pg_verify_mbstr(PG_UTF8, text, strlen(text), true);
}

/* Whether the text is valid in the database's encoding. */
static bool
needs_no_conversion(const char *text)
{
	return pg_is_ascii(text) || GetDatabaseEncoding() == PG_SQL_ASCII ||
		   (GetDatabaseEncoding() == PG_UTF8 && is_utf8(text));
}

/* Replaces each character beyond ASCII by "?". */
static char *
mask(const char *text)
{
	StringInfoData out;

	initStringInfo(&out);
	for (; *text != '\0'; text++)
	{
		if (!IS_HIGHBIT_SET(*text))
			appendStringInfoChar(&out, *text);
		else if (((unsigned char) *text & 0xC0) != 0x80) /* its first byte */
			appendStringInfoChar(&out, '?');
	}
	return out.data;
}

/* Whether the client takes the text as it is.  Texts of a database in
 * SQL_ASCII are not converted, but must be valid in the client's encoding. */
static bool
is_readable(const char *text, int here, int there)
{
	if (pg_is_ascii(text) || here == there || there == PG_SQL_ASCII)
		return true;
	return here == PG_SQL_ASCII &&
		   pg_verify_mbstr(there, text, (int) strlen(text), true);
}

const char *
ob_report_client_text(const char *text)
{
	int here = GetDatabaseEncoding();
	int there = pg_get_client_encoding();
	int len = strlen(text);
	int size = (len + 2) * MAX_CONVERSION_GROWTH;
	unsigned char *piece;
	Oid conversion;

	if (is_readable(text, here, there))
		return text;
	conversion = FindDefaultConversionProc(here, there);
	if (!OidIsValid(conversion))
		return mask(text);
	piece = palloc(size);
	if (pg_do_encoding_conversion_buf(conversion, here, there,
									  (unsigned char *) text, len, piece, size,
									  true) < len)
		return mask(text);
	return text;
}

const char *
ob_report_plain_text(const char *text)
{
	if (is_readable(text, GetDatabaseEncoding(), pg_get_client_encoding()))
		return text;
	return mask(text);
}

const char *
ob_report_clip(const char *text)
{
	int len = strlen(text);

	if (len <= CLIP_MAX)
		return text;
	return psprintf("%.*s...", pg_mbcliplen(text, len, CLIP_MAX), text);
}

char *
ob_report_text(const char *text)
{
	int encoding = GetDatabaseEncoding();
	int size = strlen(text) * MAX_CONVERSION_GROWTH + 1;
	StringInfoData out;
	unsigned char *piece;
	Oid conversion;

	if (needs_no_conversion(text))
		return pstrdup(text);
	conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	if (!OidIsValid(conversion) || !is_utf8(text))
		return mask(text);
	initStringInfo(&out);
	piece = palloc(size);
	while (*text != '\0')
	{
		text += pg_do_encoding_conversion_buf(conversion, PG_UTF8, encoding,
											  (unsigned char *) text,
											  strlen(text), piece, size, true);
		appendStringInfoString(&out, (char *) piece);
		if (*text == '\0')
			break;
		appendStringInfoChar(&out, '?');
		text += pg_utf_mblen((const unsigned char *) text);
	}
	pfree(piece);
	return out.data;
}

void
ob_report_copy(char *field, Size size, const char *text)
{
	int len = text ? (int) strlen(text) : 0;

	if ((Size) len >= size)
		len = pg_mbcliplen(text, len, (int) size - 1);
	if (len > 0)
		memcpy(field, text, len);
	field[len] = '\0';
}

/* ---- reporting ---- */

static char *
describe(const ObError *error, const char *cause)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, cause);
	if (error->request_id[0])
		appendStringInfo(&text, " (request id %s)", error->request_id);
	if (error->attempts > 1)
		appendStringInfo(&text, ", after %d attempts", error->attempts);
	return text.data;
}

char *
ob_report_cause(const ObError *error)
{
	return describe(error, ob_report_text(error->cause));
}

static char *
detail(const ObError *error, const char *cause)
{
	char *text = psprintf("%s.", describe(error, cause));

	text[0] = pg_toupper((unsigned char) text[0]);
	return text;
}

/* The existence of an object is the whole error, so the message says it: log
 * lines of tables have no DETAIL. */
static _Noreturn void
report_existing(const ObError *error)
{
	ereport(ERROR, (errcode(code_info(error->code).sqlstate),
					errmsg("%s: %s", ob_report_text(error->what),
						   ob_report_text(error->cause)),
					error->request_id[0]
						? errdetail("S3 answered HTTP %d (request id %s).",
									error->http_status, error->request_id)
						: 0,
					errhint("%s", hint(error))));
}

void
ob_report(const ObError *error)
{
	ob_report_hint(error, hint(error));
}

void
ob_report_hint(const ObError *error, const char *help)
{
	int sqlstate = code_info(error->code).sqlstate;

	if (error->what[0] == '\0')
		ereport(ERROR,
				(errcode(sqlstate), errmsg("%s", ob_report_text(error->cause)),
				 help ? errhint("%s", help) : 0));
	if (error->code == OB_EEXISTS)
		report_existing(error);
	ereport(
		ERROR,
		(errcode(sqlstate), errmsg("%s", ob_report_text(error->what)),
		 errdetail_internal("%s", detail(error, ob_report_text(error->cause))),
		 help ? errhint("%s", help) : 0));
	pg_unreachable();
}

/* Neither catalogs nor conversions can be used while a transaction aborts. */
void
ob_report_not_aborted(const ObError *error, const char *place)
{
	const char *cause = error->cause;

	if (!needs_no_conversion(cause))
		cause = mask(cause);
	ereport(WARNING, (errcode(code_info(error->code).sqlstate),
					  errmsg("could not abort the upload of \"%s\"",
							 ob_report_plain_text(place)),
					  errdetail_internal(
						  "%s", detail(error, ob_report_plain_text(cause))),
					  errhint("onboard_abort_uploads() removes it.")));
}
