"""onboard_check(): a row for each requirement of an export, satisfied or not.
"""

import json

import pytest

from conftest import Server
from lib import process
from lib.exports import (
    Running, failure, keys, land, no_trace, select, value, wait_for_network,
    warnings,
)
from lib.postgres import Cluster, faketime
from lib.proxy import Response, s3_error
from lib.rgw import KMS_KEY, OWNER, release

ITEMS = [
    "server", "bucket", "key", "endpoint", "credentials", "region", "clock",
    "list", "read", "encryption", "put",
]
# RGW 16 cannot report a bucket's encryption.
GOOD_ENCRYPTION = True if release() > 16 else None
KEY = "onboard_check/data/inbox/onboard_check_data.csv"


def check(db, bucket=None, **options):
    """The rows by item: (ok, detail)."""
    rows = select(
        db, "SELECT * FROM onboard_check(%s, %s)",
        (bucket, json.dumps(options)),
    )
    assert [row["item"] for row in rows] == ITEMS
    for row in rows:
        assert row["detail"]
    return {row["item"]: (row["ok"], row["detail"]) for row in rows}


def verdicts(found):
    return {item: ok for item, (ok, _) in found.items()}


def failed_alone(found, item, *unknown):
    """Asserts that only this item failed, and that those in unknown are
    unknown."""
    expected = dict.fromkeys(ITEMS, True)
    expected["encryption"] = GOOD_ENCRYPTION
    expected.update(dict.fromkeys(unknown))
    expected[item] = False
    assert verdicts(found) == expected, found
    for name in unknown:
        assert f'because "{item}" failed' in found[name][1]
    return found[item][1]


def test_a_bucket_in_use(db, s3, bucket):
    """RGW returns a listing to the request for the bucket's encryption, which
    gets long."""
    for n in range(250):
        s3.put_object(Bucket=bucket, Key=f"a/name/of/some/length/{n:080}")
    assert verdicts(check(db, bucket)) == {
        **dict.fromkeys(ITEMS, True), "encryption": GOOD_ENCRYPTION
    }


def test_good(db, rgw, s3, bucket):
    found = check(db, bucket)
    assert verdicts(found) == {
        **dict.fromkeys(ITEMS, True), "encryption": GOOD_ENCRYPTION
    }
    assert found["server"][1] == (
        f'role "postgres" may use server "s3": {rgw.endpoint}'
    )
    assert found["endpoint"][1] == f"{rgw.endpoint} answers"
    assert found["credentials"][1] == "from user mapping; they do not expire"
    assert '"us-east-1"' in found["region"][1]
    assert f"s3://{bucket}/{KEY}" in found["key"][1]
    assert found["put"][1] == (
        f'began and aborted an upload of "s3://{bucket}/{KEY}"'
    )
    assert keys(s3, bucket) == [] and rgw.unfinished(bucket) == []
    assert not warnings(db)


def test_requests_of_a_check(db, proxy, proxied, bucket):
    """No request could write an object, and the first one has no credentials.
    """
    check(db, bucket, server=proxied)
    requests = proxy.requests()
    assert [(r.method, r.target) for r in requests[:-1]] == [
        ("HEAD", f"/{bucket}"),
        ("GET", f"/{bucket}?uploads="),
        ("HEAD", f"/{bucket}"),
        ("HEAD", f"/{bucket}/{KEY}"),
        ("GET", f"/{bucket}?encryption="),
        ("POST", f"/{bucket}/{KEY}?uploads="),
    ]
    assert requests[-1].method == "DELETE"
    assert "authorization" not in requests[0].headers
    for request in requests[1:]:
        assert "authorization" in request.headers


def test_as_an_export_would(db, proxy, proxied, bucket):
    """The requests have an export's key, its headers of objects, and its
    headers of all requests."""
    found = check(
        db, bucket, server=proxied, key="raw/{name}.{ext}", format="jsonl",
        compression="gzip", sse="aws:kms", kms_key_id=KMS_KEY,
        tags={"a": "b"}, metadata={"c": "d"}, overwrite="error",
        expected_bucket_owner=OWNER, requester_pays=True,
    )
    assert found["put"][0] is True
    (create,) = proxy.requests("POST")
    assert create.path == f"/{bucket}/raw/onboard_check.jsonl.gz"
    assert create.headers["x-amz-server-side-encryption"] == "aws:kms"
    assert create.headers["x-amz-tagging"] == "a=b"
    assert create.headers["x-amz-meta-c"] == "d"
    for request in proxy.requests()[1:]:
        owner = request.headers["x-amz-expected-bucket-owner"]
        assert owner == OWNER
        assert request.headers["x-amz-request-payer"] == "requester"
    assert 'exports ask for "aws:kms"' in found["encryption"][1]


def test_default_bucket(db, bucket, make_server, rgw):
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, bucket=bucket
    )
    found = check(db, server=server)
    assert found["put"][0] is True


# Each item fails once; failures without a network are in sql/test_check.sql


def test_bucket_is_not_allowed(db, bucket, make_server, rgw):
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, buckets="lake-*"
    )
    detail = failed_alone(
        check(db, bucket, server=server), "bucket", "key", "endpoint",
        "credentials", "clock", "region", "list", "read", "encryption", "put",
    )
    assert '"buckets"' in detail


BEHIND_ENDPOINT = (
    "credentials", "clock", "region", "list", "read", "encryption", "put"
)


def test_connection_refused(db, make_server):
    (port,) = process.free_ports(1)
    server = make_server(f"http://127.0.0.1:{port}", "key", "secret-of-none")
    detail = failed_alone(
        check(db, "bucket", server=server), "endpoint", *BEHIND_ENDPOINT
    )
    assert f'could not reach "http://127.0.0.1:{port}"' in detail
    assert "that the database server may connect to it" in detail


@pytest.mark.parametrize("trusted", [False, True])
def test_certificate(
    db, rgw, bucket, make_server, authority, tls_proxy, trusted
):
    server = make_server(
        tls_proxy().endpoint, rgw.access_key, rgw.secret_key,
        ca_file=authority.ca_file if trusted else None,
    )
    found = check(db, bucket, server=server)
    if trusted:
        assert found["put"][0] is True
        return
    detail = failed_alone(found, "endpoint", *BEHIND_ENDPOINT)
    assert "certificate" in detail and "ca_file" in detail


BEHIND_CREDENTIALS = ("region", "list", "read", "encryption", "put")


def test_wrong_secret(db, bucket, make_server, rgw):
    server = make_server(rgw.endpoint, rgw.access_key, "wrong-secret-canary")
    detail = failed_alone(
        check(db, bucket, server=server), "credentials", *BEHIND_CREDENTIALS
    )
    assert "S3 refused the credentials from user mapping" in detail
    assert "SignatureDoesNotMatch" in detail
    assert "Check the access key id" in detail
    assert "canary" not in detail


def test_no_mapping(db, bucket, make_server, rgw):
    server = make_server(rgw.endpoint)
    found = check(db, bucket, server=server)
    assert found["credentials"][0] is False
    assert "CREATE USER MAPPING" in found["credentials"][1]
    assert found["endpoint"][0] is True


def test_no_response_to_the_first_signed_request(db, bucket, proxy, proxied):
    """The failure is found once, and not repeated by each further item."""
    proxy.rule("GET", "uploads", times=None, drop="before")
    found = check(db, bucket, server=proxied)
    assert found["credentials"][0] is False
    assert "could not list" in found["credentials"][1]
    assert found["put"][0] is None


@pytest.mark.parametrize("offset", ["-20m", "+20m"])
def test_clock(rgw, bucket, canaries, offset):
    """Exports correct the clock and warn, once for each session and server."""
    with Cluster(env=faketime(offset)) as cluster:
        cluster.psql("CREATE EXTENSION onboard")
        make = Server(cluster, canaries)
        for name in ("s3", "s4"):
            make(rgw.endpoint, rgw.access_key, rgw.secret_key, name=name,
                 dbname="postgres")
        session = cluster.connect()
        detail = failed_alone(check(session, bucket), "clock")
        assert "synchronize it" in detail
        side = "behind" if offset[0] == "-" else "ahead of"
        assert f" s {side} the endpoint's" in detail
        seconds = int(detail.split(" s ")[0].rpartition(" ")[2])
        assert abs(seconds - 1200) < 60
        (warning,) = warnings(session)
        assert f'seconds {side} that of "s3"' in warning
        assert "HINT:  Synchronize the clock" in warning
        del session.notices[:]
        land(session, "t", "SELECT 1 AS a", bucket)
        assert not warnings(session)
        land(session, "t", "SELECT 1 AS a", bucket, server="s4")
        land(session, "t", "SELECT 1 AS a", bucket, server="s4")
        assert [
            'that of "s4"' in notice for notice in warnings(session)
        ] == [True]
        session.close()
    no_upload = rgw.unfinished(bucket)
    assert no_upload == []


def test_clock_is_unknown(db, bucket, proxy, proxied):
    proxy.rule("GET", "uploads", response=s3_error(403, "AccessDenied"))
    for method in ("HEAD", "GET"):
        proxy.rule(method, "", times=None, response=Response(403))
    found = check(db, bucket, server=proxied)
    assert found["clock"] == (None, "the endpoint's responses have no time")


def test_no_such_bucket(db):
    detail = failed_alone(
        check(db, "no-such-bucket-here"), "region", "list", "read",
        "encryption", "put",
    )
    assert 'could not find bucket "no-such-bucket-here"' in detail
    assert "HTTP 404" in detail and "Check the name of the bucket" in detail


def test_bucket_in_another_region(db, bucket, proxy, proxied):
    """AWS's response names the region, even to refused requests."""
    header = {"x-amz-bucket-region": "eu-north-1"}
    proxy.rule("HEAD", f"^/{bucket}$", response=Response(403, headers=header))
    detail = failed_alone(check(db, bucket, server=proxied), "region")
    assert detail == (
        'the bucket is in "eu-north-1", not in "us-east-1": set the server\'s'
        " option region to it. Until then each session is redirected"
    )


def test_region_is_reported(db, bucket, proxy, proxied):
    header = {"x-amz-bucket-region": "us-east-1"}
    proxy.rule("HEAD", f"^/{bucket}$", times=2,
               response=Response(403, headers=header))
    found = check(db, bucket, server=proxied)
    assert found["region"] == (True, 'the bucket is in "us-east-1"')


def test_hostile_region(db, bucket, proxy, proxied):
    """The response's region is neither believed nor shown."""
    header = {"x-amz-bucket-region": "evil.example.com/%s%n\x01"}
    proxy.rule("HEAD", f"^/{bucket}$", times=2,
               response=Response(200, headers=header))
    found = check(db, bucket, server=proxied)
    assert found["region"] == (
        True, '"us-east-1" is what requests are signed for'
    )


def test_no_rights(db, bucket, make_server, rgw):
    """Items that cannot be checked without rights are unknown, not failed."""
    server = make_server(rgw.endpoint, *rgw.add_user("checker"))
    found = check(db, bucket, server=server)
    assert verdicts(found) == {
        **dict.fromkeys(ITEMS, True),
        "region": None, "list": False, "read": False, "encryption": None,
        "put": False,
    }
    assert "s3:ListBucket" in found["region"][1]
    assert "s3:ListBucketMultipartUploads" in found["list"][1]
    assert "s3:GetObject" in found["read"][1]
    assert "s3:GetEncryptionConfiguration" in found["encryption"][1]
    assert "s3:PutObject" in found["put"][1]
    assert f"s3://{bucket}/{KEY}" in found["put"][1]


DENIED = s3_error(403, "AccessDenied")


@pytest.mark.parametrize("item, method, pattern", [
    ("list", "GET", r"\?uploads"),
    ("read", "HEAD", KEY),
    ("put", "POST", r"\?uploads"),
    ("put", "DELETE", "uploadId"),
])
def test_one_right_is_missing(
    db, rgw, bucket, proxy, proxied, item, method, pattern
):
    proxy.rule(method, pattern, times=None, response=DENIED)
    detail = failed_alone(check(db, bucket, server=proxied), item)
    assert "s3:" in detail
    if method == "DELETE":
        assert "could not abort the upload" in detail
        (upload,) = rgw.unfinished(bucket)
        # The detail says how to remove the leftovers.
        assert "onboard_abort_uploads()" in warnings(db)[-1]
        value(
            db, "SELECT key FROM onboard_abort_uploads(%s, '', '0')", (bucket,)
        )
    no_trace(rgw, bucket)


ENCRYPTION = (
    b"<ServerSideEncryptionConfiguration><Rule>"
    b"<ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>"
    b"<KMSMasterKeyID>key/1</KMSMasterKeyID>"
    b"</ApplyServerSideEncryptionByDefault>"
    b"<BucketKeyEnabled>true</BucketKeyEnabled></Rule>"
    b"</ServerSideEncryptionConfiguration>"
)


@pytest.mark.parametrize("response, ok, detail", [
    (Response(200, ENCRYPTION), True,
     'the bucket\'s default is "aws:kms" with key "key/1" and a bucket key'),
    (s3_error(404, "ServerSideEncryptionConfigurationNotFoundError"), True,
     "the bucket has no default"),
    (s3_error(501, "NotImplemented"), None,
     "the store does not return the bucket's default"),
    (Response(200, b"<html>"), None,
     "the store does not return the bucket's default"),
    (s3_error(400, "InvalidRequest", "not so"), False,
     'could not read the encryption of "s3://'),
])
def test_encryption(db, bucket, proxy, proxied, response, ok, detail):
    proxy.rule("GET", r"\?encryption", response=response)
    found = check(db, bucket, server=proxied)
    assert found["encryption"][0] is ok
    assert found["encryption"][1].startswith(detail)
    assert found["put"][0] is True


def test_key_of_encryption_is_refused(db, bucket):
    """Only the store can check this option."""
    detail = failed_alone(check(db, bucket, sse="aws:kms"), "put")
    assert "requires HTTP header x-amz-server-side-encryption" in detail


# Cancels and errors


@pytest.mark.parametrize("method, pattern", [
    ("HEAD", "^/[^/]*$"), ("GET", "uploads"), ("HEAD", KEY),
    ("POST", "uploads"), ("DELETE", "uploadId"),
])
def test_cancel(pg, db, rgw, bucket, proxy, proxied, method, pattern):
    """The check ends at once, and no upload stays."""
    rule = proxy.rule(method, pattern, hold=True)
    observer = pg.connect("onboard")
    sql = "SELECT * FROM onboard_check(%s, %s)"
    options = json.dumps({"server": proxied})
    with Running(db, sql, (bucket, options)) as running:
        rule.wait()
        wait_for_network(observer, running.pid)
        assert value(observer, "SELECT pg_cancel_backend(%s)", (running.pid,))
        if method in ("POST", "DELETE"):
            # Even after a cancel, the response to Create is awaited: it has the
            # id of the upload that must be aborted.
            rule.release()
        assert running.error().pgcode == "57014"
    observer.close()
    no_trace(rgw, bucket)
    assert check(db, bucket)["put"][0] is True


def test_in_a_failed_subtransaction(db, rgw, bucket):
    """A check in a caught error leaves nothing, and exception handlers work."""
    with db.cursor() as cursor:
        cursor.execute(
            f"""
            CREATE TEMP TABLE seen (ok bool);
            DO $$ BEGIN
                INSERT INTO seen SELECT ok FROM onboard_check('{bucket}');
                PERFORM 1 / (SELECT count(*) FROM onboard_check('nowhere')
                             WHERE item = 'x');
            EXCEPTION WHEN division_by_zero THEN
                INSERT INTO seen SELECT ok FROM onboard_check('{bucket}')
                    WHERE item = 'put';
            END $$
            """
        )
    assert select(db, "SELECT * FROM seen") == [{"ok": True}]
    no_trace(rgw, bucket)


def test_standby(pg, rgw, bucket):
    standby = pg.standby()
    try:
        session = standby.start().connect("onboard")
        assert check(session, bucket)["put"][0] is True
        session.close()
    finally:
        standby.close()


def test_bad_arguments_are_errors(db, bucket):
    assert failure(check, db, "No_Bucket").pgcode == "22023"
    assert failure(check, db, bucket, sse="x").pgcode == "22023"
