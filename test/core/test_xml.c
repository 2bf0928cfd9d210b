/*
 * test_xml.c
 *		Reading S3's documents, real and hostile ones.
 *
 * test/core/test_xml.c
 *
 * The parser uses an allocator that fails on demand, and counts its blocks.
 *
 * link: -Wl,--wrap=XML_ParserCreate
 */
#include "testing.h"

#include <expat.h>

#include "core/s3/s3_documents.h"

#define DECLARATION "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define XMLNS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

/* ---- The parser's memory ---- */

static long parser_budget = -1; /* allocations that succeed; negative: all */
static long parser_blocks;      /* not freed */

static bool
parser_memory_fails(void)
{
	if (parser_budget == 0)
		return true;
	if (parser_budget > 0)
		parser_budget--;
	return false;
}

static void *
parser_malloc(size_t size)
{
	if (parser_memory_fails())
		return NULL;
	parser_blocks++;
	return malloc(size);
}

static void *
parser_realloc(void *old, size_t size)
{
	if (parser_memory_fails())
		return NULL;
	if (old == NULL)
		parser_blocks++;
	return realloc(old, size);
}

static void
parser_free(void *old)
{
	if (old != NULL)
		parser_blocks--;
	free(old);
}

extern XML_Parser __wrap_XML_ParserCreate(const XML_Char *encoding);

XML_Parser
__wrap_XML_ParserCreate(const XML_Char *encoding)
{
	static const XML_Memory_Handling_Suite suite = {
		parser_malloc, parser_realloc, parser_free};

	return XML_ParserCreate_MM(encoding, &suite, NULL);
}

static int
teardown(void **state)
{
	parser_budget = -1;
	return parser_blocks == 0 ? 0 : -1;
}

/* ---- Documents ---- */

static const char aws_error[] =
	DECLARATION "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The "
				"region 'us-east-1' is wrong; expecting 'eu-west-1'</Message>"
				"<Region>eu-west-1</Region><RequestId>4442587FB7D0A2F9"
				"</RequestId><HostId>abc/def=</HostId></Error>";

static const char rgw_error[] = DECLARATION
	"<Error><Code>NoSuchBucket</Code><Message></Message>"
	"<BucketName>lake</BucketName><RequestId>tx00000a-1</RequestId>"
	"<HostId>1059-default-default</HostId></Error>";

static const char aws_create[] = DECLARATION
	"<InitiateMultipartUploadResult" XMLNS "><Bucket>lake</Bucket><Key>a/b"
	"</Key><UploadId>VXBsb2FkIElEIGZvciA2aWWpbmcncyBteS1tb3ZpZS5tMnRzIHVwbG9h"
	"ZA</UploadId></InitiateMultipartUploadResult>";

static const char aws_complete[] = DECLARATION
	"\n   \n<CompleteMultipartUploadResult" XMLNS
	"><Location>http://lake.s3.amazonaws.com/a</Location><Bucket>lake</Bucket>"
	"<Key>a</Key><ETag>&quot;3858f62230ac3c915f300c664312c11f-9&quot;</ETag>"
	"</CompleteMultipartUploadResult>";

static const char rgw_complete[] =
	"<CompleteMultipartUploadResult" XMLNS
	"><Location>http://127.0.0.1:7480/lake/a</Location><Bucket>lake</Bucket>"
	"<Key>a</Key><ETag></ETag></CompleteMultipartUploadResult>";

static const char moto_complete[] = DECLARATION
	"<CompleteMultipartUploadResponse" XMLNS
	"><Location>http://lake.s3.amazonaws.com/a</Location><Bucket>lake</Bucket>"
	"<Key>a</Key><ETag>\"abc-1\"</ETag></CompleteMultipartUploadResponse>";

static const char error_in_200[] = DECLARATION
	"\n\n<Error><Code>InternalError</Code><Message>We encountered an internal "
	"error. Please try again.</Message><RequestId>656c76696e6727</RequestId>"
	"</Error>";

static const char aws_uploads[] = DECLARATION
	"<ListMultipartUploadsResult" XMLNS "><Bucket>lake</Bucket><KeyMarker/>"
	"<UploadIdMarker/><NextKeyMarker>b%2Fnext+key</NextKeyMarker>"
	"<NextUploadIdMarker>id%2B2</NextUploadIdMarker><EncodingType>url"
	"</EncodingType><MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated>"
	"<Upload><Key>a%2Bb/100%25+%C3%BC</Key><UploadId>id%2B1</UploadId>"
	"<Initiator><ID>arn:aws:iam::111122223333:user/u</ID><DisplayName>u"
	"</DisplayName></Initiator><Owner><ID>1</ID><Key>not this</Key></Owner>"
	"<StorageClass>STANDARD</StorageClass><Initiated>2010-11-10T20:48:33.000Z"
	"</Initiated></Upload><Upload><Key>b</Key><UploadId>id2</UploadId>"
	"<Initiated>2010-11-10T20:48:34Z</Initiated></Upload>"
	"<CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>"
	"</ListMultipartUploadsResult>";

static const char aws_parts[] = DECLARATION
	"<ListPartsResult" XMLNS "><Bucket>lake</Bucket><Key>a</Key><UploadId>id"
	"</UploadId><PartNumberMarker>1</PartNumberMarker><NextPartNumberMarker>3"
	"</NextPartNumberMarker><MaxParts>2</MaxParts><IsTruncated>true"
	"</IsTruncated><Part><PartNumber>2</PartNumber><LastModified>"
	"2010-11-10T20:48:34.000Z</LastModified><ETag>\"77\"</ETag><Size>10485760"
	"</Size></Part><Part><PartNumber>3</PartNumber><Size>1</Size></Part>"
	"</ListPartsResult>";

static const char *const documents[] = {
	aws_error,     rgw_error,    aws_create,  aws_complete, rgw_complete,
	moto_complete, error_in_200, aws_uploads, aws_parts,
};

/* ---- All readers on one text ---- */

static ObCode
ignore_upload(void *arg, const ObXmlUpload *upload)
{
	assert_true(strlen(upload->key) > 0 && strlen(upload->upload_id) > 0);
	return OB_OK;
}

typedef enum Kind
{
	KIND_NONE, /* all readers refuse it */
	KIND_ERROR,
	KIND_CREATE,
	KIND_COMPLETE,
	KIND_UPLOADS,
	KIND_PARTS
} Kind;

static void
assert_verdict(ObCode code, const ObError *error, bool wanted, ObCode failure)
{
	assert_int_equal(code, wanted ? OB_OK : failure);
	assert_int_equal(error->code, code);
	if (code != OB_OK)
		assert_true(strlen(error->cause) > 0);
}

/* Only the reader of that kind accepts the text; the others fail with that
 * code.  A reader that refuses a text leaves its output empty. */
static void
assert_kind(const char *data, size_t len, Kind kind, ObCode failure)
{
	char id[OB_UPLOAD_ID_MAX] = "old";
	char etag[OB_ETAG_MAX] = "old";
	ObXmlError out;
	ObXmlError zero = {0};
	ObXmlUploadsPage page;
	ObError error = {0};
	ObCode code;
	ObCompleteOutcome outcome;
	int nparts = 99;
	bool truncated = true;

	memset(&out, 0xAA, sizeof(out));
	code = ob_xml_read_error(data, len, &out, &error);
	assert_verdict(code, &error, kind == KIND_ERROR, failure);
	if (code != OB_OK)
		assert_memory_equal(&out, &zero, sizeof(out));

	ob_error_clear(&error);
	code = ob_xml_read_create(data, len, id, sizeof(id), &error);
	assert_verdict(code, &error, kind == KIND_CREATE, failure);
	assert_int_equal(id[0] != '\0', code == OB_OK);

	memset(&out, 0xAA, sizeof(out));
	outcome = ob_xml_read_complete(data, len, etag, &out);
	assert_int_equal(outcome, kind == KIND_COMPLETE ? OB_COMPLETE_DONE
							  : kind == KIND_ERROR  ? OB_COMPLETE_ERROR
													: OB_COMPLETE_UNCLEAR);
	if (outcome == OB_COMPLETE_UNCLEAR)
		assert_memory_equal(&out, &zero, sizeof(out));
	if (outcome != OB_COMPLETE_DONE)
		assert_string_equal(etag, "");

	ob_error_clear(&error);
	code = ob_xml_read_uploads(data, len, ignore_upload, NULL, &page, &error);
	assert_verdict(code, &error, kind == KIND_UPLOADS, failure);

	ob_error_clear(&error);
	code = ob_xml_read_parts(data, len, &nparts, &truncated, &error);
	assert_verdict(code, &error, kind == KIND_PARTS, failure);
	if (code != OB_OK)
		assert_true(nparts == 0 && !truncated);
	assert_int_equal(parser_blocks, 0);
}

static void
assert_refused(const char *data, size_t len)
{
	assert_kind(data, len, KIND_NONE, OB_EPROTO);
}

/* ---- <Error> ---- */

static void
errors(void **state)
{
	ObXmlError out;
	ObError error = {0};

	assert_int_equal(
		ob_xml_read_error(aws_error, strlen(aws_error), &out, &error), OB_OK);
	assert_string_equal(out.code, "AuthorizationHeaderMalformed");
	assert_string_equal(out.message, "The region 'us-east-1' is wrong; "
									 "expecting 'eu-west-1'");
	assert_string_equal(out.region, "eu-west-1");
	assert_string_equal(out.request_id, "4442587FB7D0A2F9");

	assert_int_equal(
		ob_xml_read_error(rgw_error, strlen(rgw_error), &out, &error), OB_OK);
	assert_string_equal(out.code, "NoSuchBucket");
	assert_string_equal(out.message, "");
	assert_string_equal(out.region, "");
	assert_string_equal(out.request_id, "tx00000a-1");
}

static void
errors_in_odd_forms(void **state)
{
	static const struct
	{
		const char *document;
		const char *code;
		const char *message;
	} rows[] = {
		{"<Error/>", "", ""},
		{"<Error></Error>", "", ""},
		{"<Error><Code/></Error>", "", ""},
		{"<s3:Error xmlns:s3=\"x\"><s3:Code>A</s3:Code></s3:Error>", "A", ""},
		{"<Error" XMLNS "><Code a=\"b\">A</Code></Error>", "A", ""},
		{"<Error><Message>m</Message><Code>A</Code></Error>", "A", "m"},
		{"<Error><Code><![CDATA[A&B]]></Code></Error>", "A&B", ""},
		{"<Error><Code>A<!-- c -->B</Code></Error>", "AB", ""},
		{"<Error><Code>&lt;&amp;&gt;&quot;&apos;&#65;</Code></Error>",
		 "<&>\"'A", ""},
		{"<!-- c --><?pi x?><Error><Code>A</Code></Error><!-- c -->\n", "A",
		 ""},
		/* other elements of these names do not count */
		{"<Error><X><Code>A</Code></X></Error>", "", ""},
		{"<Error><Code>A<Code>B</Code></Code></Error>", "", ""},
		{"<Error><code>A</code></Error>", "", ""},
		/* characters that a terminal would obey are masked */
		{"<Error><Message>a&#10;b\xc2\x9b\xc3\xbc</Message></Error>", "",
		 "a?b????"},
		{" \r\n\t<Error><Code>A</Code></Error>", "A", ""},
		{"\n" DECLARATION "<Error><Code>A</Code></Error>", "A", ""},
		{"\xef\xbb\xbf<Error><Code>A</Code></Error>", "A", ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObXmlError out;
		ObError error = {0};

		assert_row(rows[i].document,
				   ob_xml_read_error(rows[i].document,
									 strlen(rows[i].document), &out,
									 &error) == OB_OK);
		assert_string_equal(out.code, rows[i].code);
		assert_string_equal(out.message, rows[i].message);
	}
}

static void
long_error_texts_are_cut(void **state)
{
	ObXmlError out;
	ObError error = {0};
	char document[6000];

	snprintf(document, sizeof(document),
			 "<Error><Code>%0100d</Code><Message>%04096d</Message>"
			 "<RequestId>%0200d</RequestId></Error>",
			 0, 0, 0);
	assert_int_equal(
		ob_xml_read_error(document, strlen(document), &out, &error), OB_OK);
	assert_int_equal(strlen(out.code), sizeof(out.code) - 1);
	assert_int_equal(strlen(out.message), sizeof(out.message) - 1);
	assert_int_equal(strlen(out.request_id), sizeof(out.request_id) - 1);
}

/* ---- CreateMultipartUpload ---- */

static void
creates(void **state)
{
	char id[OB_UPLOAD_ID_MAX];
	ObError error = {0};

	assert_int_equal(ob_xml_read_create(aws_create, strlen(aws_create), id,
										sizeof(id), &error),
					 OB_OK);
	assert_string_equal(id, "VXBsb2FkIElEIGZvciA2aWWpbmcncyBteS1tb3ZpZS5tMnRz"
							"IHVwbG9hZA");
}

static void
upload_ids_are_never_cut(void **state)
{
	for (int len = 0; len < 20; len++)
	{
		char document[200];
		char id[10] = "old";
		ObError error = {0};
		ObCode code;

		snprintf(document, sizeof(document),
				 "<InitiateMultipartUploadResult><UploadId>%.*s</UploadId>"
				 "</InitiateMultipartUploadResult>",
				 len, "01234567890123456789");
		code = ob_xml_read_create(document, strlen(document), id, sizeof(id),
								  &error);
		if (len >= 1 && len <= 9)
		{
			assert_int_equal(code, OB_OK);
			assert_int_equal(strlen(id), len);
			continue;
		}
		assert_error(&error, OB_EPROTO,
					 len == 0 ? "no upload id" : "too long");
		assert_int_equal(code, OB_EPROTO);
		assert_string_equal(id, "");
	}
}

static void
creates_without_an_id(void **state)
{
	static const char *const rows[] = {
		"<InitiateMultipartUploadResult/>",
		"<InitiateMultipartUploadResult><UploadId/>"
		"</InitiateMultipartUploadResult>",
		"<InitiateMultipartUploadResult><X><UploadId>a</UploadId></X>"
		"</InitiateMultipartUploadResult>",
		"<UploadId>a</UploadId>",
		"<Result><UploadId>a</UploadId></Result>",
		"<InitiateMultipartUploadResultX><UploadId>a</UploadId>"
		"</InitiateMultipartUploadResultX>",
		/* the id is shown to users */
		"<InitiateMultipartUploadResult><UploadId>a\xc3\xbc</UploadId>"
		"</InitiateMultipartUploadResult>",
		"<InitiateMultipartUploadResult><UploadId>a\nb</UploadId>"
		"</InitiateMultipartUploadResult>",
		/* the id was read, but the document is incomplete */
		"<InitiateMultipartUploadResult><UploadId>a</UploadId>",
		"<InitiateMultipartUploadResult><UploadId>a</UploadId>"
		"</InitiateMultipartUploadResult>x",
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		char id[OB_UPLOAD_ID_MAX];
		ObError error = {0};

		assert_row(rows[i],
				   ob_xml_read_create(rows[i], strlen(rows[i]), id, sizeof(id),
									  &error) == OB_EPROTO);
		assert_string_equal(id, "");
	}
}

/* ---- GetBucketEncryption ---- */

#define ENCRYPTION "ServerSideEncryptionConfiguration"

static void
encryptions(void **state)
{
	static const char aws[] = DECLARATION
		"<" ENCRYPTION XMLNS "><Rule><ApplyServerSideEncryptionByDefault>"
		"<SSEAlgorithm>aws:kms</SSEAlgorithm>"
		"<KMSMasterKeyID>arn:aws:kms:eu-central-1:1:key/2</KMSMasterKeyID>"
		"</ApplyServerSideEncryptionByDefault>"
		"<BucketKeyEnabled>true</BucketKeyEnabled></Rule></" ENCRYPTION ">";
	static const char plain[] =
		"<" ENCRYPTION "><Rule><ApplyServerSideEncryptionByDefault>"
		"<SSEAlgorithm>AES256</SSEAlgorithm>"
		"</ApplyServerSideEncryptionByDefault></Rule></" ENCRYPTION ">";
	ObXmlEncryption out;
	ObError error = {0};

	assert_int_equal(ob_xml_read_encryption(aws, strlen(aws), &out, &error),
					 OB_OK);
	assert_string_equal(out.algorithm, "aws:kms");
	assert_string_equal(out.kms_key_id, "arn:aws:kms:eu-central-1:1:key/2");
	assert_true(out.bucket_key);
	assert_int_equal(
		ob_xml_read_encryption(plain, strlen(plain), &out, &error), OB_OK);
	assert_string_equal(out.algorithm, "AES256");
	assert_string_equal(out.kms_key_id, "");
	assert_false(out.bucket_key);
}

static void
encryptions_without_an_algorithm(void **state)
{
	static const char *const rows[] = {
		"<" ENCRYPTION "/>",
		"<" ENCRYPTION "><Rule><ApplyServerSideEncryptionByDefault>"
		"<SSEAlgorithm/></ApplyServerSideEncryptionByDefault></Rule>"
		"</" ENCRYPTION ">",
		"<" ENCRYPTION "><SSEAlgorithm>AES256</SSEAlgorithm></" ENCRYPTION ">",
		"<" ENCRYPTION "><Rule><ApplyServerSideEncryptionByDefault>"
		"<SSEAlgorithm>AES256</SSEAlgorithm>",
		"<Error><Code>NoSuchBucket</Code></Error>",
		"",
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObXmlEncryption out;
		ObError error = {0};

		assert_row(rows[i], ob_xml_read_encryption(rows[i], strlen(rows[i]),
												   &out, &error) == OB_EPROTO);
		assert_string_equal(out.algorithm, "");
	}
}

/* ---- CompleteMultipartUpload ---- */

static void
completes(void **state)
{
	static const struct
	{
		const char *document;
		ObCompleteOutcome outcome;
	} rows[] = {
		{aws_complete, OB_COMPLETE_DONE},
		{rgw_complete, OB_COMPLETE_DONE},
		{moto_complete, OB_COMPLETE_DONE},
		{"<CompleteMultipartUploadResult/>", OB_COMPLETE_DONE},
		{"<a:CompleteMultipartUploadResult/>", OB_COMPLETE_DONE},
		{error_in_200, OB_COMPLETE_ERROR},
		{"  \n \n" DECLARATION "<Error><Code>X</Code></Error>",
		 OB_COMPLETE_ERROR},
		{"<Error/>", OB_COMPLETE_ERROR},
		{"", OB_COMPLETE_UNCLEAR},
		{" ", OB_COMPLETE_UNCLEAR},
		{"   \r\n\t  ", OB_COMPLETE_UNCLEAR},
		{DECLARATION, OB_COMPLETE_UNCLEAR},
		{DECLARATION "   \n\n   ", OB_COMPLETE_UNCLEAR},
		{"<html><body>502 Bad Gateway</body></html>", OB_COMPLETE_UNCLEAR},
		{"<CompleteMultipart/>", OB_COMPLETE_UNCLEAR},
		{"<completemultipartuploadresult/>", OB_COMPLETE_UNCLEAR},
		{"<XCompleteMultipartUploadResult/>", OB_COMPLETE_UNCLEAR},
		{"<X><CompleteMultipartUploadResult/></X>", OB_COMPLETE_UNCLEAR},
		{"<X><Error/></X>", OB_COMPLETE_UNCLEAR},
		{"<Errors/>", OB_COMPLETE_UNCLEAR},
		{"<CompleteMultipartUploadResult>", OB_COMPLETE_UNCLEAR},
		{"<CompleteMultipartUploadResult/><X/>", OB_COMPLETE_UNCLEAR},
		{"<CompleteMultipartUploadResult/><Error/>", OB_COMPLETE_UNCLEAR},
		{"{\"Location\": \"x\"}", OB_COMPLETE_UNCLEAR},
		{"OK", OB_COMPLETE_UNCLEAR},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		char etag[OB_ETAG_MAX];
		ObXmlError out;

		assert_row(rows[i].document,
				   ob_xml_read_complete(rows[i].document,
										strlen(rows[i].document), etag,
										&out) == rows[i].outcome);
	}
}

static void
etag_of_a_complete(void **state)
{
	static const struct
	{
		const char *document;
		const char *etag;
	} rows[] = {
		{aws_complete, "\"3858f62230ac3c915f300c664312c11f-9\""},
		{rgw_complete, ""},
		{moto_complete, "\"abc-1\""},
		{"<CompleteMultipartUploadResult/>", ""},
		{"<CompleteMultipartUploadResult><X><ETag>e</ETag></X>"
		 "</CompleteMultipartUploadResult>",
		 ""},
		{"<Error><ETag>e</ETag></Error>", ""},
		{"<CompleteMultipartUploadResult><ETag>e</ETag>", ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		char etag[OB_ETAG_MAX] = "old";
		ObXmlError out;

		(void) ob_xml_read_complete(rows[i].document, strlen(rows[i].document),
									etag, &out);
		assert_string_equal(etag, rows[i].etag);
	}
}

/* An ETag that is too long is none. */
static void
long_etags(void **state)
{
	static const size_t lengths[] = {OB_ETAG_MAX - 1, OB_ETAG_MAX, 4000};

	for (size_t i = 0; i < COUNT_OF(lengths); i++)
	{
		char document[4200];
		char etag[OB_ETAG_MAX];
		ObXmlError out;

		snprintf(document, sizeof(document),
				 "<CompleteMultipartUploadResult><ETag>%0*d</ETag>"
				 "</CompleteMultipartUploadResult>",
				 (int) lengths[i], 7);
		assert_int_equal(
			ob_xml_read_complete(document, strlen(document), etag, &out),
			OB_COMPLETE_DONE);
		assert_int_equal(strlen(etag), i == 0 ? lengths[i] : 0);
	}
}

static void
completes_report_the_error(void **state)
{
	char etag[OB_ETAG_MAX];
	ObXmlError out;

	assert_int_equal(
		ob_xml_read_complete(error_in_200, strlen(error_in_200), etag, &out),
		OB_COMPLETE_ERROR);
	assert_string_equal(out.code, "InternalError");
	assert_string_equal(out.request_id, "656c76696e6727");
	assert_non_null(strstr(out.message, "try again"));
}

/* Three minutes of keep-alive blanks. */
static void
blanks_before_the_document(void **state)
{
	size_t blanks = 1000000;
	char *data = test_malloc(blanks + sizeof(aws_complete));
	char etag[OB_ETAG_MAX];
	ObXmlError out;

	memset(data, ' ', blanks);
	memcpy(data + blanks, aws_complete, sizeof(aws_complete));
	assert_int_equal(
		ob_xml_read_complete(data, blanks + strlen(aws_complete), etag, &out),
		OB_COMPLETE_DONE);
	assert_int_equal(ob_xml_read_complete(data, blanks, etag, &out),
					 OB_COMPLETE_UNCLEAR);

	/* AWS sends them behind the declaration */
	memcpy(data, DECLARATION, strlen(DECLARATION));
	memcpy(data + blanks, rgw_complete, sizeof(rgw_complete));
	assert_int_equal(
		ob_xml_read_complete(data, blanks + strlen(rgw_complete), etag, &out),
		OB_COMPLETE_DONE);
	assert_int_equal(ob_xml_read_complete(data, blanks, etag, &out),
					 OB_COMPLETE_UNCLEAR);
	test_free(data);
}

/* ---- ListMultipartUploads ---- */

typedef struct Seen
{
	int n;
	ObXmlUpload uploads[3];
	int stop_at; /* -1: never */
} Seen;

static ObCode
see_upload(void *arg, const ObXmlUpload *upload)
{
	Seen *seen = arg;

	assert_true(seen->n < 3);
	seen->uploads[seen->n++] = *upload;
	return seen->n == seen->stop_at ? OB_EDENIED : OB_OK;
}

static ObCode
read_uploads(const char *document, Seen *seen, ObXmlUploadsPage *page,
			 ObError *error)
{
	memset(seen, 0, sizeof(*seen));
	memset(page, 0xAA, sizeof(*page));
	ob_error_clear(error);
	seen->stop_at = -1;
	return ob_xml_read_uploads(document, strlen(document), see_upload, seen,
							   page, error);
}

static void
uploads(void **state)
{
	Seen seen;
	ObXmlUploadsPage page;
	ObError error;

	assert_int_equal(read_uploads(aws_uploads, &seen, &page, &error), OB_OK);
	assert_int_equal(seen.n, 2);
	assert_string_equal(seen.uploads[0].key, "a+b/100% \xc3\xbc");
	assert_string_equal(seen.uploads[0].upload_id,
						"id%2B1"); /* ids are not encoded */
	assert_int_equal(seen.uploads[0].initiated, 1289422113);
	assert_string_equal(seen.uploads[1].key, "b");
	assert_string_equal(seen.uploads[1].upload_id, "id2");
	assert_int_equal(seen.uploads[1].initiated, 1289422114);
	assert_true(page.truncated);
	assert_string_equal(page.next_key, "b/next key");
	assert_string_equal(page.next_upload_id, "id%2B2");
}

#define UPLOAD(key) "<Upload><Key>" key "</Key><UploadId>i</UploadId></Upload>"
#define PAGE(inner) \
	"<ListMultipartUploadsResult>" inner "</ListMultipartUploadsResult>"

static void
uploads_without_encoding(void **state)
{
	Seen seen;
	ObXmlUploadsPage page;
	ObError error;

	assert_int_equal(
		read_uploads(PAGE(UPLOAD("a%2B+%zz")), &seen, &page, &error), OB_OK);
	assert_int_equal(seen.n, 1);
	assert_string_equal(seen.uploads[0].key, "a%2B+%zz");
	assert_int_equal(seen.uploads[0].initiated, 0);
	assert_false(page.truncated);
	assert_string_equal(page.next_key, "");
	assert_string_equal(page.next_upload_id, "");

	assert_int_equal(read_uploads(PAGE(""), &seen, &page, &error), OB_OK);
	assert_int_equal(seen.n, 0);
	assert_false(page.truncated);

	assert_int_equal(
		read_uploads(PAGE("<IsTruncated>false</IsTruncated><EncodingType/>"),
					 &seen, &page, &error),
		OB_OK);
	assert_false(page.truncated);
}

/* Servers differ in where they put it. */
static void
encoding_may_follow_the_uploads(void **state)
{
	Seen seen;
	ObXmlUploadsPage page;
	ObError error;

	assert_int_equal(
		read_uploads(PAGE(UPLOAD("a%2bb") UPLOAD("c+d") "<NextKeyMarker>%41"
														"</NextKeyMarker>"
														"<EncodingType>url"
														"</EncodingType>"),
					 &seen, &page, &error),
		OB_OK);
	assert_int_equal(seen.n, 2);
	assert_string_equal(seen.uploads[0].key, "a+b");
	assert_string_equal(seen.uploads[1].key, "c d");
	assert_string_equal(page.next_key, "A");
}

#define URL "<EncodingType>url</EncodingType>"

static void
bad_uploads(void **state)
{
	static const struct
	{
		const char *document;
		const char *cause;
	} rows[] = {
		{PAGE(URL UPLOAD("a%")), "encoded"},
		{PAGE(URL UPLOAD("a%4")), "encoded"},
		{PAGE(URL UPLOAD("a%zz")), "encoded"},
		{PAGE(URL UPLOAD("a%4z")), "encoded"},
		{PAGE(URL UPLOAD("a%%41")), "encoded"},
		{PAGE(URL UPLOAD("a% 4")), "encoded"},
		{PAGE(URL UPLOAD("a%-1")), "encoded"},
		{PAGE(URL UPLOAD("a%00b")), "encoded"},
		{PAGE(URL "<NextKeyMarker>%</NextKeyMarker>"), "encoded"},
		{PAGE("<Upload/>"), "without key or id"},
		{PAGE("<Upload><Key>a</Key></Upload>"), "without key or id"},
		{PAGE("<Upload><UploadId>a</UploadId></Upload>"), "without key or id"},
		{PAGE("<Upload><Key>a</Key><UploadId>\xc2\x9b</UploadId></Upload>"),
		 "printable ASCII"},
		/* nothing of the previous upload remains */
		{PAGE(UPLOAD("a") "<Upload><Key>b</Key></Upload>"),
		 "without key or id"},
		{PAGE("<IsTruncated>true</IsTruncated>"), "next marker"},
		{PAGE("<IsTruncated>TRUE</IsTruncated>"), "next marker"},
		{"<ListBucketResult/>", "instead of"},
		{"<Upload><Key>a</Key><UploadId>i</UploadId></Upload>", "instead of"},
		{"<ListMultipartUploadsResult>" UPLOAD("a"), "malformed"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Seen seen;
		ObXmlUploadsPage page;
		ObError error;

		assert_row(rows[i].document, read_uploads(rows[i].document, &seen,
												  &page, &error) == OB_EPROTO);
		assert_row(rows[i].document,
				   strstr(error.cause, rows[i].cause) != NULL);
		assert_int_equal(seen.n, 0);
	}
}

static void
uploads_can_be_stopped(void **state)
{
	Seen seen = {.stop_at = 1};
	ObXmlUploadsPage page;
	ObError error = {0};

	assert_int_equal(ob_xml_read_uploads(aws_uploads, strlen(aws_uploads),
										 see_upload, &seen, &page, &error),
					 OB_EDENIED);
	assert_int_equal(seen.n, 1);
}

static void
keys_are_never_cut(void **state)
{
	char document[8000];
	char key[OB_KEY_MAX * 3 + 2];
	Seen seen;
	ObXmlUploadsPage page;
	ObError error;

	/* the longest possible key, with each byte encoded */
	for (int i = 0; i < OB_KEY_MAX; i++)
		memcpy(key + 3 * i, "%2B", 3);
	key[OB_KEY_MAX * 3] = '\0';
	snprintf(document, sizeof(document),
			 PAGE(URL UPLOAD("%s") "<NextKeyMarker>%s</NextKeyMarker>"), key,
			 key);
	assert_int_equal(read_uploads(document, &seen, &page, &error), OB_OK);
	assert_int_equal(strlen(seen.uploads[0].key), OB_KEY_MAX);
	assert_int_equal(strspn(seen.uploads[0].key, "+"), OB_KEY_MAX);
	assert_int_equal(strlen(page.next_key), OB_KEY_MAX);

	strcat(key, "x");
	snprintf(document, sizeof(document), PAGE(URL UPLOAD("%s")), key);
	assert_int_equal(read_uploads(document, &seen, &page, &error), OB_EPROTO);
	assert_error(&error, OB_EPROTO, "too long");
	snprintf(document, sizeof(document),
			 PAGE("<NextKeyMarker>%s</NextKeyMarker>"), key);
	assert_int_equal(read_uploads(document, &seen, &page, &error), OB_EPROTO);
	assert_error(&error, OB_EPROTO, "too long");
}

static void
times(void **state)
{
	static const struct
	{
		const char *text;
		int64_t when;
	} rows[] = {
		{"2010-11-10T20:48:33.000Z", 1289422113},
		{"2010-11-10T20:48:33Z", 1289422113},
		{"2010-11-10T20:48:33.123456789Z", 1289422113},
		{"2024-02-29T00:00:00Z", 1709164800},
		{"1970-01-01T00:00:01Z", 1},
		{"9999-12-31T23:59:59Z", INT64_C(253402300799)},
		{"2023-02-29T00:00:00Z", 0},
		{"2023-00-10T00:00:00Z", 0},
		{"2023-13-10T00:00:00Z", 0},
		{"2023-01-00T00:00:00Z", 0},
		{"2023-01-32T00:00:00Z", 0},
		{"2023-04-31T00:00:00Z", 0},
		{"2023-01-01T24:00:00Z", 0},
		{"2023-01-01T00:60:00Z", 0},
		{"2023-01-01T00:00:60Z", 0},
		{"1969-12-31T23:59:59Z", 0},
		{"0000-00-00T00:00:00Z", 0},
		{"2010-11-10T20:48:33", 0},
		{"2010-11-10T20:48:33+01:00", 0},
		{"2010-11-10T20:48:33.000", 0},
		{"2010-11-10T20:48:33.000Zx", 0},
		{"2010-11-10 20:48:33Z", 0},
		{"+010-11-10T20:48:33Z", 0},
		{"2010-11-10T-1:48:33Z", 0},
		{" 2010-11-10T20:48:33Z", 0},
		{"2010-11-10T20:48:3", 0},
		{"2010-11-10T20:48:3Z", 0},
		{"1289422113", 0},
		{"Wed, 10 Nov 2010 20:48:33 GMT", 0},
		{"", 0},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		char document[400];
		Seen seen;
		ObXmlUploadsPage page;
		ObError error;

		snprintf(document, sizeof(document),
				 PAGE("<Upload><Initiated>%s</Initiated><Key>a</Key>"
					  "<UploadId>i</UploadId></Upload>"),
				 rows[i].text);
		assert_row(rows[i].text,
				   read_uploads(document, &seen, &page, &error) == OB_OK);
		assert_row(rows[i].text, seen.uploads[0].initiated == rows[i].when);
	}
}

/* ---- ListParts ---- */

static void
parts(void **state)
{
	static const struct
	{
		const char *document;
		int nparts;
		bool truncated;
	} rows[] = {
		{aws_parts, 2, true},
		{"<ListPartsResult/>", 0, false},
		{"<ListPartsResult><IsTruncated>false</IsTruncated><Part/>"
		 "</ListPartsResult>",
		 1, false},
		{"<ListPartsResult><Part/><X><Part/></X><Part><Part/></Part>"
		 "<Parts/></ListPartsResult>",
		 2, false},
		{"<ListPartsResult><X><IsTruncated>true</IsTruncated></X>"
		 "</ListPartsResult>",
		 0, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		int nparts;
		bool truncated;
		ObError error = {0};

		assert_row(rows[i].document,
				   ob_xml_read_parts(rows[i].document,
									 strlen(rows[i].document), &nparts,
									 &truncated, &error) == OB_OK);
		assert_row(rows[i].document, nparts == rows[i].nparts);
		assert_row(rows[i].document, truncated == rows[i].truncated);
	}
}

/* ---- Hostile and broken documents ---- */

static void
each_reader_takes_its_own_kind(void **state)
{
	static const Kind kinds[] = {
		KIND_ERROR,    KIND_ERROR, KIND_CREATE,  KIND_COMPLETE, KIND_COMPLETE,
		KIND_COMPLETE, KIND_ERROR, KIND_UPLOADS, KIND_PARTS,
	};

	for (size_t i = 0; i < COUNT_OF(documents); i++)
		assert_kind(documents[i], strlen(documents[i]), kinds[i], OB_EPROTO);
}

static void
truncation_anywhere_is_noticed(void **state)
{
	for (size_t i = 0; i < COUNT_OF(documents); i++)
		for (size_t len = 0; len < strlen(documents[i]); len++)
		{
			/* memory of exactly this size, so that ASan detects reads beyond
			 * it */
			char *data = malloc(len > 0 ? len : 1);

			memcpy(data, documents[i], len);
			assert_refused(data, len);
			free(data);
		}
}

/* There is no crash, no leak, and an error that agrees with the return
 * value. */
static void
survive(const char *data, size_t len)
{
	char id[OB_UPLOAD_ID_MAX];
	ObXmlError out;
	ObXmlUploadsPage page;
	ObXmlEncryption encryption;
	ObError error = {0};
	ObCode code;
	int nparts;
	bool truncated;

	code = ob_xml_read_error(data, len, &out, &error);
	assert_int_equal(code, error.code);
	ob_error_clear(&error);
	code = ob_xml_read_create(data, len, id, sizeof(id), &error);
	assert_int_equal(code, error.code);
	ob_error_clear(&error);
	code = ob_xml_read_uploads(data, len, ignore_upload, NULL, &page, &error);
	assert_int_equal(code, error.code);
	ob_error_clear(&error);
	code = ob_xml_read_parts(data, len, &nparts, &truncated, &error);
	assert_int_equal(code, error.code);
	ob_error_clear(&error);
	code = ob_xml_read_encryption(data, len, &encryption, &error);
	assert_int_equal(code, error.code);
	assert_int_equal(parser_blocks, 0);
}

/* Any byte is replaced by any of these. */
static void
damage_anywhere_is_survived(void **state)
{
	static const char bytes[] = {'\0', '<',    '>',    '&',
								 '/',  '\x80', '\xff', ':'};

	for (size_t i = 0; i < COUNT_OF(documents); i++)
	{
		size_t len = strlen(documents[i]);
		char *data = malloc(len);

		memcpy(data, documents[i], len);
		for (size_t at = 0; at < len; at++)
			for (size_t b = 0; b < sizeof(bytes); b++)
			{
				data[at] = bytes[b];
				survive(data, len);
				data[at] = documents[i][at];
			}
		free(data);
	}
}

static void
doctypes_are_refused(void **state)
{
	static const char *const rows[] = {
		"<!DOCTYPE Error><Error/>",
		"<!DOCTYPE Error []><Error/>",
		"<!DOCTYPE Error SYSTEM \"file:///etc/passwd\"><Error/>",
		"<!DOCTYPE Error PUBLIC \"x\" \"http://127.0.0.1/x\"><Error/>",
		DECLARATION "<!DOCTYPE Error [<!ENTITY a \"b\">]><Error><Code>&a;"
					"</Code></Error>",
		"<!DOCTYPE Error [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>"
		"<Error><Code>&x;</Code></Error>",
		"<!DOCTYPE Error [<!ENTITY % p SYSTEM \"http://127.0.0.1/\">%p;]>"
		"<Error/>",
		/* the billion laughs */
		"<!DOCTYPE Error [<!ENTITY a \"ha\">"
		"<!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">"
		"<!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\">"
		"<!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;\">"
		"<!ENTITY e \"&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;\">"
		"<!ENTITY f \"&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;\">"
		"<!ENTITY g \"&f;&f;&f;&f;&f;&f;&f;&f;&f;&f;\">"
		"<!ENTITY h \"&g;&g;&g;&g;&g;&g;&g;&g;&g;&g;\">"
		"<!ENTITY i \"&h;&h;&h;&h;&h;&h;&h;&h;&h;&h;\">]>"
		"<Error><Code>&i;</Code></Error>",
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObXmlError out;
		ObError error = {0};

		assert_row(rows[i], ob_xml_read_error(rows[i], strlen(rows[i]), &out,
											  &error) == OB_EPROTO);
		assert_error(&error, OB_EPROTO, "document type declaration");
		assert_refused(rows[i], strlen(rows[i]));
	}
}

static void
broken_documents_are_refused(void **state)
{
	static const char *const rows[] = {
		"",
		" ",
		"x",
		"<",
		"<>",
		"</Error>",
		"<Error",
		"<Error>",
		"<Error></error>",
		"<Error><Code>A</Error></Code>",
		"<Error/>x",
		"<Error/><Error/>",
		"<Error a=b/>",
		"<Error a=\"1\" a=\"2\"/>",
		"<Error>&nbsp;</Error>",
		"<Error>&#0;</Error>",
		"<Error>&#x1;</Error>",
		"<Error>&amp</Error>",
		"<Error>\x01</Error>",
		"<Error>\xff</Error>",
		"<Error>\xc3</Error>",
		"<Error>\xed\xa0\x80</Error>",
		"<Error><![CDATA[x</Error>",
		"<Error><!-- x</Error>",
		"<?xml version=\"1.0\"?><?xml version=\"1.0\"?><Error/>",
		"<!-- x --> <?xml version=\"1.0\"?><Error/>",
		"<html>\n<head><title>502 Bad Gateway</title></head><body><hr>"
		"</body></html>",
		"{\"error\": \"x\"}",
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_refused(rows[i], strlen(rows[i]));
}

static void
nul_bytes_are_refused(void **state)
{
	static const char in_text[] = "<Error><Code>A\0B</Code></Error>";
	static const char in_name[] = "<Error\0></Error\0>";
	static const char behind[] = "<Error/>\0";
	static const char only[] = "\0\0\0\0";
	static const char first[] = "\0<Error/>";

	assert_refused(in_text, sizeof(in_text) - 1);
	assert_refused(in_name, sizeof(in_name) - 1);
	assert_refused(behind, sizeof(behind) - 1);
	assert_refused(only, sizeof(only) - 1);
	assert_refused(first, sizeof(first) - 1);
}

static void
declared_encodings_are_read(void **state)
{
	static const char utf16[] = "\xff\xfe<\0E\0r\0r\0o\0r\0/\0>\0";
	static const char latin1[] =
		"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>" PAGE(
			UPLOAD("b\xfc"));
	static const char unknown[] =
		"<?xml version=\"1.0\" encoding=\"x-unknown\"?><Error/>";
	Seen seen;
	ObXmlUploadsPage page;
	ObError error;

	assert_kind(utf16, sizeof(utf16) - 1, KIND_ERROR, OB_EPROTO);
	assert_refused(utf16, sizeof(utf16) - 2);
	assert_int_equal(read_uploads(latin1, &seen, &page, &error), OB_OK);
	assert_string_equal(seen.uploads[0].key, "b\xc3\xbc");
	assert_refused(unknown, sizeof(unknown) - 1);
}

static void
depth_is_limited(void **state)
{
	char document[10000];

	for (int depth = 1; depth <= 40; depth++)
	{
		size_t len;
		ObXmlError out;
		ObError error = {0};

		strcpy(document, "<Error>");
		for (int i = 1; i < depth; i++)
			strcat(document, "<a>");
		for (int i = 1; i < depth; i++)
			strcat(document, "</a>");
		strcat(document, "</Error>");
		len = strlen(document);
		assert_int_equal(ob_xml_read_error(document, len, &out, &error),
						 depth <= 16 ? OB_OK : OB_EPROTO);
		if (depth > 16)
			assert_error(&error, OB_EPROTO, "nested too deeply");
	}
}

static void
depth_bomb(void **state)
{
	size_t depth = 1000000;
	char *data = test_malloc(depth * 3);

	for (size_t i = 0; i < depth; i++)
		memcpy(data + 3 * i, "<a>", 3);
	assert_refused(data, depth * 3);
	memcpy(data, "<Error>", 7);
	memcpy(data + 7, "<b>", 3);
	assert_refused(data, depth * 3);
	test_free(data);
}

static void
longest_names_at_the_greatest_depth(void **state)
{
	char name[200];
	char *document = test_calloc(1, 100000);
	ObXmlError out;
	ObError error = {0};

	for (size_t len = 60; len < sizeof(name) - 1; len += len < 66 ? 1 : 50)
	{
		memset(name, 'n', len);
		name[len] = '\0';
		strcpy(document, "<Error>");
		for (int i = 1; i < 16; i++)
			sprintf(document + strlen(document), "<%s>", name);
		for (int i = 1; i < 16; i++)
			sprintf(document + strlen(document), "</%s>", name);
		strcat(document, "<Code>A</Code></Error>");
		assert_int_equal(
			ob_xml_read_error(document, strlen(document), &out, &error),
			OB_OK);
		assert_string_equal(out.code, "A");
	}
	test_free(document);
}

static void
text_is_limited(void **state)
{
	char document[17000];

	for (int len = 16380; len <= 16390; len++)
	{
		ObXmlError out;
		ObError error = {0};

		snprintf(document, sizeof(document),
				 "<Error><Message>%0*d</Message><Code>A</Code></Error>", len,
				 0);
		assert_int_equal(
			ob_xml_read_error(document, strlen(document), &out, &error),
			len <= 16384 ? OB_OK : OB_EPROTO);
		if (len > 16384)
			assert_error(&error, OB_EPROTO, "text is too long");
	}
}

static void
ten_megabytes_of_text(void **state)
{
	size_t size = 10 * 1024 * 1024;
	char *data = test_malloc(size);
	const char *end = "</Message></Error>";

	memset(data, 'x', size);
	memcpy(data, "<Error><Message>", 16);
	memcpy(data + size - strlen(end), end, strlen(end));
	assert_refused(data, size);

	/* in many pieces, one for each character reference */
	for (size_t i = 16; i + 5 < size - strlen(end); i += 5)
		memcpy(data + i, "&#65;", 5);
	assert_refused(data, size);

	/* as a name, and as an attribute */
	memset(data, 'x', size);
	data[0] = '<';
	memcpy(data + size - 2, "/>", 2);
	assert_refused(data, size);
	memcpy(data, "<Error a=\"", 10);
	memcpy(data + size - 3, "\"/>", 3);
	assert_kind(data, size, KIND_ERROR, OB_EPROTO);
	test_free(data);
}

static void
more_than_an_int_holds(void **state)
{
	ObXmlError out;
	ObError error = {0};

	/* it is refused before it is parsed */
	assert_int_equal(
		ob_xml_read_error("<Error/>", (size_t) 3 << 30, &out, &error),
		OB_EPROTO);
	assert_error(&error, OB_EPROTO, "too long");
}

/* Every allocation of the parser fails in turn. */
static void
lack_of_memory(void **state)
{
	for (size_t i = 0; i < COUNT_OF(documents); i++)
		for (long n = 0; n < 200; n++)
		{
			size_t len = strlen(documents[i]);
			char etag[OB_ETAG_MAX];
			ObXmlError out;
			ObXmlUploadsPage page;
			ObError error = {0};
			ObCode code;

			parser_budget = n;
			code = ob_xml_read_error(documents[i], len, &out, &error);
			assert_true(code == OB_OK || code == OB_ENOMEM ||
						code == OB_EPROTO);
			assert_int_equal(code, error.code);
			if (n == 0)
				assert_int_equal(code, OB_ENOMEM);
			assert_int_equal(parser_blocks, 0);

			ob_error_clear(&error);
			parser_budget = n;
			code = ob_xml_read_uploads(documents[i], len, ignore_upload, NULL,
									   &page, &error);
			assert_int_equal(code, error.code);
			if (n == 0)
				assert_int_equal(code, OB_ENOMEM);
			assert_int_equal(parser_blocks, 0);

			parser_budget = n;
			if (n == 0)
				assert_int_equal(
					ob_xml_read_complete(documents[i], len, etag, &out),
					OB_COMPLETE_UNCLEAR);
		}
}

static void
first_error_is_kept(void **state)
{
	ObXmlError out;
	ObError error = {0};

	ob_error_set(&error, OB_EIO, "first");
	assert_int_equal(ob_xml_read_error("<x", 2, &out, &error), OB_EIO);
	assert_error(&error, OB_EIO, "first");
}

/* ---- Writing ---- */

static void
writing(void **state)
{
	static const ObUploadPart parts[] = {
		{.etag = "\"9b2cf535f27731c974343645a3985328\""},
		{.etag = "a&b<c>d'"},
		{.etag = ""}};
	ObBuf out;

	ob_buf_init(&out, 10000);
	ob_xml_write_complete(&out, parts, 3);
	assert_string_equal(
		out.data,
		"<CompleteMultipartUpload" XMLNS "><Part><PartNumber>1</PartNumber>"
		"<ETag>\"9b2cf535f27731c974343645a3985328\"</ETag></Part>"
		"<Part><PartNumber>2</PartNumber><ETag>a&amp;b&lt;c&gt;d'</ETag>"
		"</Part><Part><PartNumber>3</PartNumber><ETag></ETag></Part>"
		"</CompleteMultipartUpload>");
	ob_buf_reset(&out);
	ob_xml_write_complete(&out, parts, 0);
	assert_string_equal(out.data, "<CompleteMultipartUpload" XMLNS
								  "></CompleteMultipartUpload>");
	ob_buf_free(&out);
}

/* The document of the largest upload is well-formed for another parser. */
static void
writing_ten_thousand_parts(void **state)
{
	ObUploadPart *parts = test_calloc(10000, sizeof(ObUploadPart));
	XML_Parser parser = XML_ParserCreate_MM(NULL, NULL, NULL);
	ObBuf out;
	ObError error = {0};

	for (int i = 0; i < 10000; i++)
		strcpy(parts[i].etag, "\"9b2cf535f27731c974343645a3985328\"");
	ob_buf_init(&out, 1024 * 1024);
	ob_xml_write_complete(&out, parts, 10000);
	assert_int_equal(ob_buf_check(&out, &error), OB_OK);
	assert_non_null(strstr(out.data, "<PartNumber>10000</PartNumber>"));
	assert_int_equal(XML_Parse(parser, out.data, (int) out.len, XML_TRUE),
					 XML_STATUS_OK);
	XML_ParserFree(parser);
	ob_buf_free(&out);
	test_free(parts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors),
		cmocka_unit_test(errors_in_odd_forms),
		cmocka_unit_test(long_error_texts_are_cut),
		cmocka_unit_test(creates),
		cmocka_unit_test(upload_ids_are_never_cut),
		cmocka_unit_test(creates_without_an_id),
		cmocka_unit_test(encryptions),
		cmocka_unit_test(encryptions_without_an_algorithm),
		cmocka_unit_test(completes),
		cmocka_unit_test(etag_of_a_complete),
		cmocka_unit_test(long_etags),
		cmocka_unit_test(completes_report_the_error),
		cmocka_unit_test(blanks_before_the_document),
		cmocka_unit_test(uploads),
		cmocka_unit_test(uploads_without_encoding),
		cmocka_unit_test(encoding_may_follow_the_uploads),
		cmocka_unit_test(bad_uploads),
		cmocka_unit_test(uploads_can_be_stopped),
		cmocka_unit_test(keys_are_never_cut),
		cmocka_unit_test(times),
		cmocka_unit_test(parts),
		cmocka_unit_test(each_reader_takes_its_own_kind),
		cmocka_unit_test(truncation_anywhere_is_noticed),
		cmocka_unit_test(damage_anywhere_is_survived),
		cmocka_unit_test(doctypes_are_refused),
		cmocka_unit_test(broken_documents_are_refused),
		cmocka_unit_test(nul_bytes_are_refused),
		cmocka_unit_test(declared_encodings_are_read),
		cmocka_unit_test(depth_is_limited),
		cmocka_unit_test(depth_bomb),
		cmocka_unit_test(longest_names_at_the_greatest_depth),
		cmocka_unit_test(text_is_limited),
		cmocka_unit_test(ten_megabytes_of_text),
		cmocka_unit_test(more_than_an_int_holds),
		cmocka_unit_test_teardown(lack_of_memory, teardown),
		cmocka_unit_test(first_error_is_kept),
		cmocka_unit_test(writing),
		cmocka_unit_test(writing_ten_thousand_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
