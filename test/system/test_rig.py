"""The rig itself: what the other tests take on trust."""

import concurrent.futures
import http.client
import os
import time
import urllib.parse

import botocore.exceptions
import pytest

from lib import postgres, process
from lib.proxy import Answer, s3_error

MB = 1024 * 1024
BROKEN = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
)


def code_of(error):
    return error.value.response["Error"]["Code"]


@pytest.fixture
def through(rgw, proxy):
    """A boto3 client whose requests go through the proxy."""
    return rgw.client(endpoint=proxy.endpoint)


@pytest.fixture
def upload(s3, bucket):
    """An UploadId that is aborted afterwards."""
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    yield {"Bucket": bucket, "Key": "k", "UploadId": upload_id}
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload_id)


# RGW


def test_rgw_keeps_objects(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a b+%/./é", Body=b"x" * MB)
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [(item["Key"], item["Size"]) for item in listed] == [
        ("a b+%/./é", MB)
    ]


def test_rgw_refuses_a_wrong_secret(rgw, bucket):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        rgw.client(secret_key="wrong").list_objects_v2(Bucket=bucket)
    assert code_of(error) == "SignatureDoesNotMatch"


def test_rgw_refuses_another_user(rgw, bucket):
    access_key, secret_key = rgw.add_user("other")
    other = rgw.client(access_key=access_key, secret_key=secret_key)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        other.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert code_of(error) == "AccessDenied"


def test_rgw_refuses_a_damaged_body(rgw, bucket):
    def damage(request, **others):
        request.body = b"y" * 10

    client = rgw.client(s3={"payload_signing_enabled": True})
    client.meta.events.register("before-send.s3.PutObject", damage)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        client.put_object(Bucket=bucket, Key="k", Body=b"x" * 10)
    assert code_of(error) in ("BadDigest", "XAmzContentSHA256Mismatch")


def test_rgw_lists_unfinished_uploads(rgw, upload):
    listed = rgw.unfinished(upload["Bucket"])
    assert [item["UploadId"] for item in listed] == [upload["UploadId"]]


# The proxy


def test_proxy_passes_through(through, proxy, bucket):
    body = os.urandom(20 * MB)
    through.put_object(Bucket=bucket, Key="k", Body=body)
    assert through.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    assert through.head_object(Bucket=bucket, Key="k")["ContentLength"]
    put, get, head = proxy.wait_for(count=3)
    assert (put.method, put.path, put.status) == ("PUT", f"/{bucket}/k", 200)
    assert put.body_bytes == len(body)
    assert put.headers["authorization"] == "***"
    assert (get.status, head.status) == (200, 200)
    # One connection serves them all.
    assert put.connection == get.connection == head.connection


def test_proxy_takes_chunked_bodies(proxy, rgw, bucket):
    url = rgw.client(endpoint=proxy.endpoint).generate_presigned_url(
        "put_object", Params={"Bucket": bucket, "Key": "k"}
    )
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request(
        "PUT", f"{parts.path}?{parts.query}", body=iter([b"ab", b"cd"]),
        encode_chunked=True, headers={"Transfer-Encoding": "chunked"},
    )
    # RGW has no use for such a body, but it got it and said so.
    assert connection.getresponse().status == 411
    connection.close()
    (request,) = proxy.wait_for("PUT")
    assert request.body_bytes == len("2\r\nab\r\n" * 2 + "0\r\n\r\n")


def test_proxy_carries_many_at_once(rgw, proxy, bucket):
    def put(number):
        client = rgw.client(endpoint=proxy.endpoint)
        client.put_object(Bucket=bucket, Key=str(number), Body=b"x" * MB)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(16)))
    assert len(proxy.wait_for("PUT", count=16)) == 16


def test_proxy_answers_the_nth(through, proxy, bucket):
    rule = proxy.rule(
        "PUT", "/k", nth=2, answer=s3_error(503, "SlowDown")
    )
    through.put_object(Bucket=bucket, Key="k", Body=b"1")
    with pytest.raises(botocore.exceptions.ClientError) as error:
        through.put_object(Bucket=bucket, Key="k", Body=b"2")
    through.put_object(Bucket=bucket, Key="k", Body=b"3")
    assert code_of(error) == "SlowDown"
    assert (rule.matched, rule.used) == (3, 1)
    requests = proxy.wait_for("PUT", count=3)
    assert [r.status for r in requests] == [200, 503, 200]
    assert requests[1].server_status is None


def test_proxy_answers_a_head(through, proxy, bucket):
    proxy.rule("HEAD", answer=Answer(500, b"not sent"), times=None)
    for _ in range(2):
        with pytest.raises(botocore.exceptions.ClientError):
            through.head_object(Bucket=bucket, Key="k")


@pytest.mark.parametrize("drop", ["before", "during"])
def test_proxy_drops_before_the_server_acts(s3, through, proxy, bucket, drop):
    proxy.rule("PUT", drop=drop)
    with pytest.raises(BROKEN):
        through.put_object(Bucket=bucket, Key="k", Body=b"x" * MB)
    proxy.wait_for("PUT")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_proxy_drops_after_the_server_acted(s3, through, proxy, bucket):
    proxy.rule("PUT", drop="after")
    with pytest.raises(BROKEN):
        through.put_object(Bucket=bucket, Key="k", Body=b"x" * MB)
    (request,) = proxy.wait_for("PUT")
    assert (request.status, request.server_status) == (None, 200)
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == MB


def test_proxy_cuts_an_answer(through, proxy, bucket):
    through.put_object(Bucket=bucket, Key="k", Body=b"x" * MB)
    proxy.rule("GET", drop="answer")
    with pytest.raises(BROKEN + (botocore.exceptions.IncompleteReadError,)):
        through.get_object(Bucket=bucket, Key="k")["Body"].read()


@pytest.mark.parametrize("when", ["request", "answer"])
def test_proxy_holds(s3, through, proxy, bucket, when):
    rule = proxy.rule("PUT", hold=True, when=when)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        put = pool.submit(
            through.put_object, Bucket=bucket, Key="k", Body=b"x"
        )
        rule.wait()
        landed = "Contents" in s3.list_objects_v2(Bucket=bucket)
        assert landed == (when == "answer")
        assert not put.done()
        rule.release()
        put.result(30)


def test_proxy_delays(through, proxy, bucket):
    proxy.rule("PUT", delay=0.3)
    started = time.monotonic()
    through.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert time.monotonic() - started >= 0.3


# PostgreSQL


def test_cluster_is_as_tests_expect(cluster):
    shown = cluster.psql(
        "SELECT current_setting('timezone'), current_setting('lc_messages'),"
        " getdatabaseencoding(), datcollate, current_setting('DateStyle')"
        " FROM pg_database WHERE datname = current_database()"
    )
    assert shown == "UTC|C|UTF8|C|ISO, MDY\n"


def test_cluster_gets_environment_and_clock():
    env = {"AWS_ACCESS_KEY_ID": "canary", **postgres.faketime("-20m")}
    with postgres.Cluster(env=env) as other:
        now = float(other.psql("SELECT extract(epoch FROM now())"))
        assert -1260 < now - time.time() < -1140
        shown = other.psql(
            "CREATE TEMP TABLE shown (line text);"
            "COPY shown FROM PROGRAM 'printenv AWS_ACCESS_KEY_ID';"
            "TABLE shown"
        )
        assert shown == "canary\n"
        folder = other.folder
    assert not os.path.exists(folder)


def test_standby_follows(cluster):
    cluster.psql("CREATE TABLE followed AS SELECT 1 AS one")
    standby = cluster.standby()
    try:
        standby.start()
        standby.wait_for_replay(cluster)
        shown = standby.psql("SELECT one, pg_is_in_recovery() FROM followed")
        assert shown == "1|t\n"
    finally:
        standby.close()
        cluster.psql("DROP TABLE followed")


def test_memory_of_a_backend(cluster):
    connection = cluster.connect()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        with postgres.PeakMemory(cursor.fetchone()[0]) as memory:
            cursor.execute("SELECT length(repeat('x', 100000000))")
        assert memory.peak - memory.before > 90 * MB
    connection.close()


def test_psql_reports_errors(cluster):
    with pytest.raises(process.RigError, match="division by zero"):
        cluster.psql("SELECT 1/0")
