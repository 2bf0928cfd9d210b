"""What S3 knows about a landed object, and what onboard says about it."""

import datetime
import urllib.parse

import pytest

from landing import execute, land, query_of_size
from lib.exports import body, keys

# One PUT, and a multipart upload, which says it all when it is created.
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
    # RGW takes an underscore of a name for a hyphen, so there is none.
    metadata = {
        "source": "orders", "x-y.1": "a,b; c=d  e", "UPPER": '"quoted" %41'
    }
    land_of_size(db, bucket, size, metadata=metadata)
    found = head_of(s3, bucket, size)["Metadata"]
    marker = found.pop("onboard-upload")
    # Header names have no case.
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
    """RGW 16 forgets them (also boto3's), so the request has to do."""
    land_of_size(db, bucket, SIZES[-1], server=proxied, tags=TAGS)
    (create,) = proxy.requests("POST", "uploads")
    found = urllib.parse.parse_qsl(
        create.headers["x-amz-tagging"], keep_blank_values=True
    )
    assert dict(found) == TAGS


@pytest.mark.parametrize("size", SIZES)
def test_storage_class(db, s3, proxy, proxied, bucket, size):
    """The only one that RGW has is what it takes if nothing is said."""
    land_of_size(db, bucket, size, server=proxied, storage_class="STANDARD")
    (item,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert (item["Size"], item["StorageClass"]) == (size, "STANDARD")
    first = proxy.requests()[0]
    assert first.headers["x-amz-storage-class"] == "STANDARD"


@pytest.mark.parametrize("size", SIZES)
def test_what_is_not_asked_for_is_not_sent(db, proxy, proxied, bucket, size):
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


# The row that is returned, and the one in the history


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("size", SIZES)
def test_result(db, s3, bucket, size, compression):
    result = land_of_size(db, bucket, size, compression=compression)
    (item,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert (result.name, result.status, result.files) == ("t", "done", 1)
    assert result.uri == f"s3://{bucket}/{item['Key']}"
    assert result.rows == size // 1024
    # What is stored, not what went into the codec.
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


# What was there before


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


# Where it goes


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
    """onboard.server names the server; the option comes first."""
    execute(db, "SELECT set_config('onboard.server', %s, false)", [proxied])
    land(db, "SELECT 1", bucket, key="a")
    assert len(proxy.requests("PUT", "/a$")) == 1
    land(db, "SELECT 1", bucket, key="b", server="s3")
    assert proxy.requests("PUT", "/b$") == []
    assert keys(s3, bucket) == ["a", "b"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("addressing", ["path", "virtual", "auto"])
def test_addressing(db, s3, bucket, make_server, proxy, rgw, addressing, size):
    # RGW knows buckets as subdomains of localhost.
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
