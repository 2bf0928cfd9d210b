"""Properties of a landed object in S3, and in onboard's result."""

import base64
import datetime
import json
import urllib.parse
import zlib

import pytest

from landing import copy, execute, land, query_of_size
from lib.exports import Running, body, call, failure, key_of, keys
from lib.proxy import s3_error
from lib.rgw import KMS_KEY, OWNER, release

# One PUT, and a multipart upload, whose Create has the headers.
SIZES = [1024, 6 * 1024 * 1024]


def land_of_size(db, bucket, size, **options):
    return land(
        db, query_of_size(size), bucket, key="k", format="text",
        part_size="5MB", **options,
    )


def head_of(s3, bucket, size):
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ContentLength"] == size
    assert ("-" in head["ETag"]) == (size > 5 * 1024 * 1024)
    return head


# Options


@pytest.mark.parametrize(
    "format, expected",
    [
        ("csv", "text/csv"),
        ("text", "text/plain"),
        ("binary", "application/octet-stream"),
        ("jsonl", "application/x-ndjson"),
        ("json", "application/json"),
    ],
)
def test_content_type_of_formats(db, s3, bucket, format, expected):
    land(db, "SELECT 1 AS a", bucket, key="k", format=format)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ContentType"] == expected


@pytest.mark.parametrize("size", SIZES)
def test_content_type(db, s3, bucket, size):
    own = 'text/plain; charset="utf-8"'
    land_of_size(db, bucket, size, content_type=own)
    assert head_of(s3, bucket, size)["ContentType"] == own


@pytest.mark.parametrize("size", SIZES)
def test_metadata(db, s3, bucket, size):
    # RGW converts an underscore of a name to a hyphen, so there is none.
    metadata = {
        "source": "orders", "x-y.1": "a,b; c=d  e", "UPPER": '"quoted" %41'
    }
    land_of_size(db, bucket, size, metadata=metadata)
    found = head_of(s3, bucket, size)["Metadata"]
    marker = found.pop("onboard-upload")
    # Header names are case-insensitive.
    assert {name.lower(): value for name, value in found.items()} == {
        name.lower(): value for name, value in metadata.items()
    }
    assert len(marker) == 32
    int(marker, 16)


@pytest.mark.parametrize("size", SIZES)
def test_marker_is_new_each_time(db, s3, bucket, size):
    markers = set()
    for _ in range(2):
        land_of_size(db, bucket, size)
        head = head_of(s3, bucket, size)
        markers.add(head["Metadata"]["onboard-upload"])
    assert len(markers) == 2


TAGS = {
    "team": "data", "empty": "", "a b+c": "d&e=f", "%41": "/?#",
    "\u00e9\u8868": "\U0001f600", "x" * 128: "y" * 256,
}


def test_tags(db, s3, bucket):
    land(db, "SELECT 1", bucket, key="k", tags=TAGS)
    found = s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in found} == TAGS


def test_tags_of_multipart(db, proxy, proxied, bucket):
    """RGW 16 loses them (boto3's, too), so the test checks the request."""
    land_of_size(db, bucket, SIZES[-1], server=proxied, tags=TAGS)
    (create,) = proxy.requests("POST", "uploads")
    found = urllib.parse.parse_qsl(
        create.headers["x-amz-tagging"], keep_blank_values=True
    )
    assert dict(found) == TAGS


@pytest.mark.parametrize("size", SIZES)
def test_storage_class(db, s3, proxy, proxied, bucket, size):
    """RGW has only one class, which is its default."""
    land_of_size(db, bucket, size, server=proxied, storage_class="STANDARD")
    (item,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert (item["Size"], item["StorageClass"]) == (size, "STANDARD")
    first = proxy.requests()[0]
    assert first.headers["x-amz-storage-class"] == "STANDARD"


@pytest.mark.parametrize("size", SIZES)
def test_no_headers_without_options(db, proxy, proxied, bucket, size):
    land_of_size(db, bucket, size, server=proxied)
    sent = set(proxy.requests()[0].headers)
    assert not sent & {"x-amz-storage-class", "x-amz-acl", "x-amz-tagging"}
    assert [name for name in sent if name.startswith("x-amz-meta-")] == [
        "x-amz-meta-onboard-upload"
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "acl, grants", [(None, 1), ("private", 1), ("public-read", 2)]
)
def test_acl(db, s3, bucket, size, acl, grants):
    land_of_size(db, bucket, size, **({"acl": acl} if acl else {}))
    found = s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]
    assert len(found) == grants
    public = [
        grant["Permission"] for grant in found
        if grant["Grantee"].get("URI", "").endswith("/AllUsers")
    ]
    assert public == ["READ"] * (grants - 1)


@pytest.mark.parametrize("size", SIZES)
def test_all_options(db, s3, bucket, size):
    land_of_size(
        db, bucket, size, content_type="x/y", metadata={"a": "b"},
        storage_class="STANDARD", acl="public-read",
    )
    head = head_of(s3, bucket, size)
    assert (head["ContentType"], head["Metadata"]["a"]) == ("x/y", "b")
    acl = s3.get_object_acl(Bucket=bucket, Key="k")
    assert len(acl["Grants"]) == 2


def test_all_options_and_much_metadata(db, s3, bucket, proxy, proxied):
    """All options, with as much metadata as is allowed, fit in one request."""
    metadata = {f"n{i}": "v" for i in range(50)}
    for size in SIZES:
        land_of_size(
            db, bucket, size, server=proxied, content_type="x/y", acl="private",
            tags=TAGS, storage_class="STANDARD", metadata=metadata,
            sse="aws:kms", kms_key_id=KMS_KEY, bucket_key=True,
            expected_bucket_owner=OWNER, requester_pays=True,
            overwrite="error", checksum="crc32",
        )
        found = head_of(s3, bucket, size)["Metadata"]
        assert set(metadata) <= set(found)
        s3.delete_object(Bucket=bucket, Key="k")


# Encryption


SSE = "x-amz-server-side-encryption"


def makes_object(request):
    """Whether the request is the one to which the object's headers belong."""
    return request.method == "PUT" and not request.query or (
        request.method == "POST" and "uploads" in request.query
    )


def check_headers(proxy, expected, common=False):
    """Asserts which requests have the headers: all (common), or only the one
    that makes the object."""
    for request in proxy.requests():
        here = {name: request.headers.get(name) for name in expected}
        if common or makes_object(request):
            assert here == expected, request.target
        else:
            assert set(here.values()) == {None}, request.target


@pytest.mark.parametrize("size", SIZES)
def test_sse_kms(db, s3, bucket, size):
    land_of_size(db, bucket, size, sse="aws:kms", kms_key_id=KMS_KEY)
    head = head_of(s3, bucket, size)
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["SSEKMSKeyId"] == KMS_KEY
    expected = copy(db, query_of_size(size), format="text")
    assert body(s3, bucket, "k") == expected


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options, headers", [
    ({"sse": "AES256"}, {SSE: "AES256"}),
    (
        {"sse": "aws:kms", "kms_key_id": KMS_KEY, "bucket_key": True},
        {SSE: "aws:kms", SSE + "-aws-kms-key-id": KMS_KEY,
         SSE + "-bucket-key-enabled": "true"},
    ),
    (
        {"sse": "aws:kms", "kms_key_id": KMS_KEY, "bucket_key": False},
        {SSE + "-bucket-key-enabled": "false"},
    ),
])
def test_encryption_headers(db, proxy, proxied, bucket, size, options, headers):
    if options["sse"] == "AES256" and release() > 16:
        # RGW 16 accepts the option as given, later ones have no keys for it
        # here.
        error = failure(land_of_size, db, bucket, size, server=proxied, **options)
        assert "InvalidArgument" in error.diag.message_detail
    else:
        land_of_size(db, bucket, size, server=proxied, **options)
    check_headers(proxy, headers)


def test_sse_twice(db, proxy, proxied, bucket):
    """RGW does not support it, so the test checks the request."""
    error = failure(
        land_of_size, db, bucket, SIZES[0], server=proxied, sse="aws:kms:dsse"
    )
    assert error.pgcode == "38000"
    check_headers(proxy, {SSE: "aws:kms:dsse"})


DENIED = (
    "User: arn:aws:iam::111122223333:user/lake is not authorized to perform:"
    " kms:GenerateDataKey on resource: arn:aws:kms:eu-central-1:1:key/2"
)


@pytest.mark.parametrize("response, sqlstate, hint", [
    (s3_error(403, "AccessDenied", DENIED), "42501",
     "kms:GenerateDataKey and kms:Decrypt"),
    (s3_error(400, "KMS.DisabledException", "key/2 is disabled"), "38000",
     "it must be enabled, and in the bucket's region."),
])
@pytest.mark.parametrize("size", SIZES)
def test_key_refused(db, proxy, proxied, bucket, response, sqlstate, hint, size):
    proxy.rule(None, "/k", response=response)
    error = failure(
        land_of_size, db, bucket, size, server=proxied, sse="aws:kms",
        kms_key_id="k",
    )
    assert error.pgcode == sqlstate
    assert hint in error.diag.message_hint


# Headers of all requests: the bucket's owner, and the payer


COMMON = {
    "x-amz-expected-bucket-owner": OWNER,
    "x-amz-request-payer": "requester",
}
COMMON_OPTIONS = {
    "expected_bucket_owner": OWNER, "requester_pays": True
}


@pytest.mark.parametrize("size", SIZES)
def test_headers_of_all_requests(db, proxy, proxied, bucket, size):
    land_of_size(
        db, bucket, size, server=proxied, overwrite="error", **COMMON_OPTIONS
    )
    assert {r.method for r in proxy.requests()} >= {"HEAD", "PUT"}
    check_headers(proxy, COMMON, common=True)


def test_headers_of_an_abort(db, proxy, proxied, bucket):
    proxy.rule("PUT", "partNumber=1", response=s3_error(403, "AccessDenied"))
    error = failure(
        land_of_size, db, bucket, SIZES[1], server=proxied, **COMMON_OPTIONS
    )
    assert error.pgcode == "42501"
    assert "DELETE" in {r.method for r in proxy.requests()}
    check_headers(proxy, COMMON, common=True)


def test_headers_of_a_reconciliation(db, proxy, proxied, bucket):
    proxy.rule("POST", "uploadId=", drop="response")
    land_of_size(db, bucket, SIZES[1], server=proxied, **COMMON_OPTIONS)
    assert "HEAD" in {r.method for r in proxy.requests()}
    check_headers(proxy, COMMON, common=True)


def test_headers_of_a_sweep(db, s3, proxy, proxied, bucket):
    s3.create_multipart_upload(Bucket=bucket, Key="k")
    swept = execute(
        db, "SELECT key FROM onboard_abort_uploads(%s, '', '0', %s, %s)",
        [bucket, proxied, json.dumps(COMMON_OPTIONS)],
    )
    assert swept == [("k",)]
    # RGW does not say that it encodes keys, so the listing is repeated
    methods = [r.method for r in proxy.requests()]
    assert methods == ["GET", "GET", "DELETE"]
    check_headers(proxy, COMMON, common=True)


def test_requester_does_not_pay(db, proxy, proxied, bucket):
    land_of_size(db, bucket, SIZES[1], server=proxied, requester_pays=False)
    check_headers(proxy, dict.fromkeys(COMMON), common=True)


# Checksums


def checksum_headers(request):
    return {
        name: value for name, value in request.headers.items()
        if name.startswith(("x-amz-checksum", "x-amz-content"))
    }


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("checksum", [None, "auto", "sha256", "none"])
def test_signed_hashes(db, s3, proxy, proxied, bucket, size, checksum):
    """Without TLS, every request has a signed hash of its body."""
    options = {"checksum": checksum} if checksum else {}
    land_of_size(db, bucket, size, server=proxied, **options)
    for request in proxy.requests():
        found = checksum_headers(request)
        assert found.keys() == {"x-amz-content-sha256"}
        int(found["x-amz-content-sha256"], 16)
    head_of(s3, bucket, size)


@pytest.mark.parametrize("size", SIZES)
def test_crc32(db, s3, proxy, proxied, bucket, size):
    """Each part has a checksum, and so has the object, whatever its parts are.
    """
    land_of_size(db, bucket, size, server=proxied, checksum="crc32")
    head_of(s3, bucket, size)
    whole = body(s3, bucket, "k")
    text = base64.b64encode(zlib.crc32(whole).to_bytes(4, "big")).decode()
    last = proxy.requests()[-1]
    assert checksum_headers(last)["x-amz-checksum-crc32"] == text
    parts = proxy.requests("PUT", "partNumber")
    assert len(parts) == (2 if size > 5 * 1024 * 1024 else 0)
    for request in parts:
        number = int(request.query.split("partNumber=")[1].split("&")[0])
        start = (number - 1) * 5 * 1024 * 1024
        crc = zlib.crc32(whole[start:start + 5 * 1024 * 1024])
        assert checksum_headers(request)["x-amz-checksum-crc32"] == (
            base64.b64encode(crc.to_bytes(4, "big")).decode()
        )


# The row that is returned, and the one in the history


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("size", SIZES)
def test_result(db, s3, bucket, size, compression):
    result = land_of_size(db, bucket, size, compression=compression)
    (item,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert (result.name, result.status, result.files) == ("t", "done", 1)
    assert result.uri == f"s3://{bucket}/{item['Key']}"
    assert result.rows == size // 1024
    # The size is that of the stored object, not that before compression.
    assert result.bytes == item["Size"]
    assert (item["Size"] < size) == (compression == "zstd")
    assert 0 < result.elapsed < 300


def history(db, run_id):
    rows = execute(
        db,
        "SELECT name, role, status, uri, files, rows, bytes, started, ended,"
        " error, sqlstate FROM onboard_runs WHERE run_id = %s",
        [run_id],
    )
    assert len(rows) == 1
    return rows[0]


def test_history(db, bucket):
    before = datetime.datetime.now(datetime.timezone.utc)
    result = land_of_size(db, bucket, 2048)
    after = datetime.datetime.now(datetime.timezone.utc)
    row = history(db, result.run_id)
    assert row[:7] == ("t", "postgres", *result[2:7])
    started, ended = row[7:9]
    assert before <= started <= ended <= after
    assert (ended - started).total_seconds() == result.elapsed
    assert row[9:] == (None, None)


def test_history_of_an_empty_one(db, bucket):
    result = land(db, "SELECT 1 WHERE false", bucket)
    row = history(db, result.run_id)
    assert row[:7] == ("t", "postgres", "empty", None, 0, 0, 0)


# Existing objects


@pytest.mark.parametrize("before", SIZES)
@pytest.mark.parametrize("after", SIZES)
def test_overwriting(db, s3, bucket, before, after):
    land_of_size(
        db, bucket, before, metadata={"old": "1"}, tags={"old": "1"}
    )
    land_of_size(db, bucket, after, overwrite="replace", metadata={"new": "1"})
    assert keys(s3, bucket) == ["k"]
    head = head_of(s3, bucket, after)
    assert "old" not in head["Metadata"] and "new" in head["Metadata"]
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []


def test_an_empty_result_leaves_it(db, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"yesterday's")
    land(db, "SELECT 1 WHERE false", bucket, key="k")
    assert body(s3, bucket, "k") == b"yesterday's"
    land(db, "SELECT 1 AS a WHERE false", bucket, key="k", empty="write")
    assert body(s3, bucket, "k") == b"a\n"


@pytest.mark.parametrize("size", SIZES)
def test_not_overwriting(db, rgw, s3, bucket, size):
    s3.put_object(Bucket=bucket, Key="k", Body=b"yesterday's")
    error = failure(land_of_size, db, bucket, size, overwrite="error")
    assert error.pgcode == "58P02"
    assert error.diag.message_primary == (
        f'could not upload "s3://{bucket}/k":'
        " an object of that name exists already"
    )
    assert '"overwrite" to "replace"' in error.diag.message_hint
    assert body(s3, bucket, "k") == b"yesterday's"
    assert rgw.unfinished(bucket) == []
    s3.delete_object(Bucket=bucket, Key="k")
    land_of_size(db, bucket, size, overwrite="error")
    head_of(s3, bucket, size)


def test_not_overwriting_a_later_object(db, s3, bucket, proxy, proxied):
    """The HEAD found nothing, so the write itself must be conditional."""
    rule = proxy.rule("HEAD", "/k", hold=True)
    options = {"server": proxied, "key": "k", "overwrite": "error"}
    with Running(db, *call("t", "SELECT 1 AS a", bucket, **options)) as export:
        rule.wait()
        s3.put_object(Bucket=bucket, Key="k", Body=b"somebody's")
        rule.release()
        error = export.error()
    assert error.pgcode == "58P02"
    assert "exists already" in error.diag.message_primary
    assert body(s3, bucket, "k") == b"somebody's"


def test_not_overwriting_one_of_many(db, s3, bucket):
    """The row of onboard_all() reports it, too."""
    execute(
        db,
        "INSERT INTO onboard_tables (name, query, bucket, options) VALUES"
        " ('old', 'SELECT 1 AS a', %s, %s), ('new', 'SELECT 1 AS a', %s, %s)",
        [bucket, '{"overwrite": "error"}'] * 2,
    )
    try:
        s3.put_object(Bucket=bucket, Key=key_of("old"), Body=b"yesterday's")
        rows = sorted(
            execute(db, "SELECT name, status, error FROM onboard_all()")
        )
    finally:
        execute(db, "DELETE FROM onboard_tables")
    assert rows == [
        ("new", "done", None),
        ("old", "failed", f'could not upload "s3://{bucket}/{key_of("old")}":'
         " an object of that name exists already"),
    ]


# Destinations


def test_default_bucket(db, s3, bucket, make_server, rgw):
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, bucket=bucket
    )
    result = land(db, "SELECT 1 AS a", None, key="k", server=server)
    assert result.uri == f"s3://{bucket}/k"
    assert body(s3, bucket, "k") == b"a\n1\n"


def test_call_before_default_bucket(db, s3, bucket, make_server, rgw):
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, bucket="elsewhere"
    )
    land(db, "SELECT 1", bucket, key="k", server=server)
    assert keys(s3, bucket) == ["k"]


def test_setting_server(db, s3, bucket, proxy, proxied):
    """The setting onboard.server names the server; the option overrides it."""
    execute(db, "SELECT set_config('onboard.server', %s, false)", [proxied])
    land(db, "SELECT 1", bucket, key="a")
    assert len(proxy.requests("PUT", "/a$")) == 1
    land(db, "SELECT 1", bucket, key="b", server="s3")
    assert proxy.requests("PUT", "/b$") == []
    assert keys(s3, bucket) == ["a", "b"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("addressing", ["path", "virtual", "auto"])
def test_addressing(db, s3, bucket, make_server, proxy, rgw, addressing, size):
    # RGW serves buckets as subdomains of localhost.
    endpoint = proxy.endpoint.replace("127.0.0.1", "localhost")
    server = make_server(
        endpoint, rgw.access_key, rgw.secret_key, addressing=addressing
    )
    land_of_size(db, bucket, size, server=server)
    assert keys(s3, bucket) == ["k"]
    head_of(s3, bucket, size)
    host = endpoint.removeprefix("http://")
    virtual = addressing == "virtual"
    for request in proxy.requests():
        assert request.path == ("/k" if virtual else f"/{bucket}/k")
        assert request.headers["host"] == (
            f"{bucket}.{host}" if virtual else host
        )
