"""The rig itself: properties on which the other tests rely."""

import http.client
import os
import pathlib
import re
import signal
import time
import urllib.parse

import boto3
import botocore.config
import botocore.exceptions
import botocore.utils
import pytest

from lib import postgres, process
from lib.identity import CONTAINER, METADATA, ROLE_ARN
from storm import Export
from test_storm import compare, grown

MB = 1024 * 1024


def code_of(error):
    return error.value.response["Error"]["Code"]


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


def test_table_of_faults():
    """docs/faults.md names each test of a fault, and no test that does not
    exist."""
    here = pathlib.Path(__file__).parent
    docs = (here.parent.parent / "docs" / "faults.md").read_text()
    table = set(re.findall(r"`(test_\w+)`", docs))
    tests = set()
    for file in here.glob("test_*.py"):
        tests.update(re.findall(r"^def (test_\w+)", file.read_text(), re.M))
    rows = re.findall(r"^\| (\d+) ", docs, re.M)
    assert len(rows) == len(set(rows)) >= 58
    row = "test_(" + "|".join(f"{int(number):02}" for number in rows) + ")_"
    of_rows = {name for name in tests if re.match(row, name)}
    assert (table - tests, of_rows - table) == (set(), set())


# Credentials


def through_sts(rgw, access_key, secret_key, session_token):
    return boto3.client(
        "s3", endpoint_url=rgw.sts, region_name="us-east-1",
        aws_access_key_id=access_key, aws_secret_access_key=secret_key,
        aws_session_token=session_token,
        config=botocore.config.Config(s3={"addressing_style": "path"}),
    )


def test_rgw_verifies_session_tokens(rgw, s3, bucket, identity):
    access_key, secret_key, token = rgw.temporary()
    client = through_sts(rgw, access_key, secret_key, token)
    client.put_object(Bucket=bucket, Key="k", Body=b"x")
    for wrong in ("x" + token, rgw.temporary()[2], None):
        client = through_sts(rgw, access_key, secret_key, wrong)
        with pytest.raises(botocore.exceptions.ClientError):
            client.put_object(Bucket=bucket, Key="k", Body=b"more")
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 1


def test_identity_gives_credentials(rgw, bucket, identity):
    """botocore's own readers accept the credentials, and RGW accepts what they
    read."""
    instance = botocore.utils.InstanceMetadataFetcher(
        base_url=identity.endpoint + "/"
    ).retrieve_iam_role_credentials()
    container = botocore.utils.ContainerMetadataFetcher().retrieve_full_uri(
        identity.endpoint + CONTAINER
    )
    assert instance["role_name"] == "lander"
    assert identity.issued == [
        instance["access_key"], container["AccessKeyId"]
    ]
    through_sts(
        rgw, instance["access_key"], instance["secret_key"], instance["token"]
    ).put_object(Bucket=bucket, Key="k", Body=b"x")


def test_identity_requires_tokens(identity):
    identity.authorization = "right"
    parts = urllib.parse.urlsplit(identity.endpoint)
    connection = http.client.HTTPConnection(parts.netloc)
    for path, header, value, status in (
        (CONTAINER, "Authorization", "right", 200),
        (CONTAINER, "Authorization", "wrong", 403),
        (CONTAINER, "Accept", "application/json", 403),
        (METADATA, "x-aws-ec2-metadata-token", "wrong", 401),
        (METADATA, "Accept", "text/plain", 401),
    ):
        connection.request("GET", path, headers={header: value})
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.close()


def sts_of(identity, rgw, **options):
    options = {
        "aws_access_key_id": rgw.access_key,
        "aws_secret_access_key": rgw.secret_key, **options,
    }
    return boto3.client(
        "sts", endpoint_url=identity.endpoint, region_name="eu-west-1",
        **options,
    )


def test_identity_verifies_signatures(identity, rgw):
    role = {"RoleArn": ROLE_ARN, "RoleSessionName": "someone"}
    found = sts_of(identity, rgw).assume_role(**role)["Credentials"]
    assert identity.issued == [found["AccessKeyId"]]
    assert identity.requests()[0].scope.endswith("/eu-west-1/sts/aws4_request")
    # The credentials from it may assume a role in turn.
    sts_of(
        identity, rgw, aws_access_key_id=found["AccessKeyId"],
        aws_secret_access_key=found["SecretAccessKey"],
        aws_session_token=found["SessionToken"],
    ).assume_role(**role)
    for options, code in (
        ({"aws_secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"aws_access_key_id": "NOBODY"}, "InvalidClientTokenId"),
        ({"aws_session_token": "wrong"}, "InvalidClientTokenId"),
    ):
        with pytest.raises(botocore.exceptions.ClientError) as error:
            sts_of(identity, rgw, **options).assume_role(**role)
        assert code_of(error) == code
    identity.external_id = "secret-handshake"
    with pytest.raises(botocore.exceptions.ClientError) as error:
        sts_of(identity, rgw).assume_role(**role)
    assert code_of(error) == "AccessDenied"


def test_identity_knows_web_identities(identity, rgw):
    role = {"RoleArn": ROLE_ARN, "RoleSessionName": "someone"}
    client = sts_of(identity, rgw)
    client.assume_role_with_web_identity(
        WebIdentityToken=identity.web_identity_token, **role
    )
    with pytest.raises(botocore.exceptions.ClientError) as error:
        client.assume_role_with_web_identity(WebIdentityToken="wrong", **role)
    assert code_of(error) == "InvalidIdentityToken"


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


def test_crashes_are_seen(canaries):
    """A process that dies of a signal is reported, unless the rig sent the
    signal."""
    with postgres.Cluster() as other:
        for kill, seen in ((process.kill, 0), (os.kill, 1)):
            connection = other.connect()
            pid = connection.info.backend_pid
            kill(pid, signal.SIGKILL)
            process.wait_until(
                lambda: other.log_text().count("was terminated by signal")
                == seen + 1, 10, "the postmaster notices",
            )
            process.wait_until(
                lambda: other.log_text().count("ready to accept") == seen + 2,
                30, "it recovers",
            )
            connection.close()
            found = postgres.crashes(other.log_text())
            assert len(found) == seen
            process.killed.add((pid, signal.SIGKILL))


@pytest.mark.parametrize("line", [
    "==17==ERROR: AddressSanitizer: heap-use-after-free on address 0x1",
    "x.c:1:2: runtime error: load of misaligned address",
    'TRAP: FailedAssertion("false", File: "x.c", Line: 1, PID: 1)',
    "2026-01-01 00:00:00 UTC [1] PANIC:  could not write",
])
def test_reports_are_seen(line):
    assert postgres.crashes(f"LOG:  fine\n{line}\nLOG:  fine") == [line]


def test_a_storm_detects_differences():
    """It detects objects that COPY would not have made, and sessions that grow.
    """
    export = Export("x", "SELECT id, txt FROM t q ORDER BY id",
                    {"format": "csv"})
    assert compare(b"a\n1\n2\n", b"a\n1\n2\n", export) is None
    assert compare(b"a\n2\n1\n", b"a\n1\n2\n", export)
    export.query = "TABLE t"
    assert compare(b"a\n2\n1\n", b"a\n1\n2\n", export) is None
    assert compare(b"a\n2\n2\n", b"a\n1\n2\n", export)
    flat = [{"descriptors": 3, "mappings": 90, "memory": 1 << 20}] * 30
    assert grown(flat) == []
    more = [{**one, "descriptors": n} for n, one in enumerate(flat)]
    assert len(grown(more)) == 1
