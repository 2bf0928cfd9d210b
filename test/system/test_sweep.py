"""onboard_abort_uploads(): what nobody will finish is found and ended.

What a killed backend leaves is in test_faults_server.py.
"""

import concurrent.futures

import pytest

from lib.exports import Running, failure, key_of, keys, land, select, value
from lib.proxy import s3_error

SWEEP = (
    "SELECT * FROM onboard_abort_uploads(%(bucket)s, prefix => %(prefix)s,"
    " older_than => %(older_than)s, server => %(server)s)"
)
NOW = "0"


def sweep(db, bucket, prefix=None, older_than=NOW, server=None):
    parameters = {
        "bucket": bucket,
        "prefix": prefix,
        "older_than": older_than,
        "server": server,
    }
    return select(db, SWEEP, parameters)


def begin(s3, bucket, *names):
    """Start uploads that nobody ends; their ids."""
    return [
        s3.create_multipart_upload(Bucket=bucket, Key=name)["UploadId"]
        for name in names
    ]


def found(uploads):
    return sorted((row["key"], row["upload_id"]) for row in uploads)


def left(rgw, bucket):
    return sorted(upload["Key"] for upload in rgw.unfinished(bucket))


def test_older_than(db, rgw, s3, bucket):
    begin(s3, bucket, "young")
    assert sweep(db, bucket, older_than="1 day") == []
    assert sweep(db, bucket, older_than="1 minute") == []
    assert left(rgw, bucket) == ["young"]
    assert [row["key"] for row in sweep(db, bucket)] == ["young"]
    assert left(rgw, bucket) == []


def test_prefix(db, rgw, s3, bucket, make_server):
    begin(s3, bucket, "a/1", "a/2", "ab", "b/1", "a")
    assert [row["key"] for row in sweep(db, bucket, "a/")] == ["a/1", "a/2"]
    assert left(rgw, bucket) == ["a", "ab", "b/1"]
    # A server's own prefix bounds what it sweeps by itself.
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, prefix="b/",
        bucket=bucket,
    )
    assert [row["key"] for row in sweep(db, None, server=server)] == ["b/1"]
    assert sweep(db, bucket, "nonesuch") == []
    assert len(sweep(db, bucket, "")) == 2
    assert left(rgw, bucket) == []


def test_more_than_a_page(db, rgw, s3, bucket):
    """S3 lists a thousand at a time."""
    count = 1050
    names = [f"k{number:04}" for number in range(count)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda name: begin(s3, bucket, name)[0], names))
    swept = sweep(db, bucket)
    assert found(swept) == sorted(zip(names, ids))
    assert rgw.unfinished(bucket) == []


ODD = [
    "a b", "a+b", "a%20b", "a%2Bb", "a//b", "./a", "a/../b", "a?b", "a#b",
    "a&b=c", "a;b", "a'b", 'a"b', "a<b>", "a&amp;b", "a\\b", "é/日本/😀",
    " ", "*", "{a}", "a" * 1024,
]


def test_odd_keys(db, rgw, s3, bucket):
    ids = begin(s3, bucket, *ODD)
    assert found(sweep(db, bucket)) == sorted(zip(ODD, ids))
    assert left(rgw, bucket) == []


def test_odd_prefix(db, rgw, s3, bucket):
    begin(s3, bucket, *ODD)
    for name in ODD:
        if name != "a" * 1024:
            taken = [row["key"] for row in sweep(db, bucket, name)]
            assert taken == [name]
    sweep(db, bucket)


def test_two_uploads_of_one_key(db, rgw, s3, bucket):
    ids = begin(s3, bucket, "k", "k", "k")
    assert found(sweep(db, bucket)) == sorted(("k", one) for one in ids)
    assert left(rgw, bucket) == []


def test_objects_and_parts(db, rgw, s3, bucket):
    """Parts go with their upload; objects stay."""
    land(db, "t", "SELECT 1 AS one", bucket)
    (upload_id,) = begin(s3, bucket, key_of("t"))
    s3.upload_part(
        Bucket=bucket, Key=key_of("t"), UploadId=upload_id, PartNumber=1,
        Body=b"x" * 1000,
    )
    assert len(sweep(db, bucket)) == 1
    assert keys(s3, bucket) == [key_of("t")]


def test_refusals(db, bucket):
    error = failure(sweep, db, "no-such-bucket-here")
    assert error.pgcode == "58P01"
    assert "could not list the unfinished uploads of" in str(error)
    assert failure(sweep, db, "A_b").pgcode == "22023"
    assert failure(sweep, db, bucket, older_than="-1 day").pgcode == "22023"
    assert failure(sweep, db, bucket, older_than=None).pgcode == "22004"
    assert failure(sweep, db, bucket, server="nonesuch").pgcode == "42704"


def test_somebody_else_was_faster(db, rgw, s3, bucket, proxy, proxied):
    """An upload that is gone when its turn comes is no error."""
    ids = begin(s3, bucket, "a", "b")
    gone = s3_error(404, "NoSuchUpload")
    proxy.rule("DELETE", f"uploadId={ids[0][:4]}", answer=gone)
    assert len(sweep(db, bucket, server=proxied)) == 2
    sweep(db, bucket)


@pytest.mark.parametrize("request_", [("GET", "uploads"), ("DELETE", "")])
def test_cancel(pg, db, rgw, s3, bucket, proxy, proxied, request_):
    begin(s3, bucket, "a", "b")
    rule = proxy.rule(
        *request_, hold=True, when="request", drop="before", times=None
    )
    sql = "SELECT * FROM onboard_abort_uploads(%s, older_than => '0',"
    sql += " server => %s)"
    observer = pg.connect("onboard")
    with Running(db, sql, (bucket, proxied)) as sweeping:
        rule.wait()
        select(observer, "SELECT pg_cancel_backend(%s)", (sweeping.pid,))
        assert sweeping.error().pgcode == "57014"
    observer.close()
    assert value(db, "SELECT 1") == 1
    assert len(sweep(db, bucket)) == 2
    assert left(rgw, bucket) == []
