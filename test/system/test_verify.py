"""onboard_verify(), onboard_verify_manifest(): objects that have landed are
looked at again, and whatever became of one of them is in its row.
"""

import base64
import concurrent.futures
import json
import secrets
import uuid
import zlib

import pytest

from lib import process
from lib.exports import (
    Running, body, failure, key_of, land, land_all, register, rows, select,
    value, wait_for_network,
)
from lib.postgres import PeakMemory
from lib.proxy import Response, s3_error

SMALL, BIG = rows(1), rows(6)  # one PutObject, and two parts
KEY = key_of("t")


def verify(connection, run_id, deep=False, **options):
    return select(
        connection, "SELECT * FROM onboard_verify(%s, %s, %s)",
        (run_id, deep, json.dumps(options)),
    )


def verify_manifest(connection, uri, deep=False, **options):
    return select(
        connection, "SELECT * FROM onboard_verify_manifest(%s, %s, %s)",
        (uri, deep, json.dumps(options)),
    )


def detail_of(found):
    """The detail of the only object, which must not be all right."""
    (row,) = found
    assert row["ok"] is False
    return row["detail"]


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def arrived(proxy, method, count):
    """Waits until so many requests have come to the proxy."""
    process.wait_until(
        lambda: len(proxy.requests(method)) >= count, 30,
        f"{count} requests have come",
    )


@pytest.fixture
def run_id(db, bucket):
    return land(db, "t", SMALL, bucket)["run_id"]


# Objects that are all right


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("query", [SMALL, BIG])
@pytest.mark.parametrize("checksum", ["auto", "crc32"])
def test_an_object(db, bucket, query, deep, checksum):
    run = land(db, "t", query, bucket, part_size="5MB", checksum=checksum)
    assert verify(db, run["run_id"], deep) == [
        {"name": "t", "uri": run["uri"], "ok": True, "detail": None}
    ]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("publish", ["each", "together"])
def test_tables(db, bucket, registry, deep, publish):
    register(
        db, bucket, a=SMALL, b=BIG, none="SELECT 1 WHERE false",
        bad="SELECT 1 / 0" if publish == "each" else "SELECT 1",
    )
    run_id = land_all(db, publish=publish)[0]["run_id"]
    names = ["a", "b"] if publish == "each" else ["a", "b", "bad"]
    assert [
        (row["name"], row["ok"]) for row in verify(db, run_id, deep)
    ] == [(name, True) for name in names]


@pytest.mark.parametrize("options", [
    {"format": "parquet"}, {"compression": "gzip"}, {"empty": "write"},
], ids=str)
def test_formats(db, bucket, options):
    query = "SELECT 1 AS n" + (" WHERE false" if "empty" in options else "")
    run = land(db, "t", query, bucket, **options)
    (row,) = verify(db, run["run_id"], deep=True)
    assert row["ok"]


@pytest.mark.parametrize("name", ["a b", 'a+b%2B?#&;\'"<>\\', "\u00e9/\u65e5"])
def test_keys(db, bucket, name):
    run = land(db, "t", SMALL, bucket, key="odd/" + name)
    (row,) = verify(db, run["run_id"], deep=True)
    assert row["uri"] == f"s3://{bucket}/odd/{name}"
    assert row["ok"]


def test_a_run_without_objects(db, bucket):
    run = land(db, "t", "SELECT 1 WHERE false", bucket)
    assert verify(db, run["run_id"]) == []


# Objects that are not


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("how", ["truncated", "longer", "empty"])
def test_another_size(db, s3, bucket, run_id, how, deep):
    data = body(s3, bucket, KEY)
    other = {"truncated": data[:-1], "longer": data + b"x", "empty": b""}[how]
    s3.put_object(Bucket=bucket, Key=KEY, Body=other)
    assert detail_of(verify(db, run_id, deep)) == (
        f"it has {len(other)} bytes instead of {len(data)}"
    )


def alter(s3, bucket, at):
    """Changes a bit of the object; returns the CRCs before and after."""
    data = body(s3, bucket, KEY)
    other = bytearray(data)
    other[at] ^= 1
    s3.put_object(Bucket=bucket, Key=KEY, Body=bytes(other))
    return crc32(data), crc32(other)


@pytest.mark.parametrize("at", [0, 500000, -1])
def test_altered(db, s3, bucket, run_id, at):
    """Its size is the same."""
    old, new = alter(s3, bucket, at)
    assert detail_of(verify(db, run_id, deep=True)) == (
        f"its CRC-32 is {new} instead of {old}"
    )
    assert "its ETag is" in detail_of(verify(db, run_id))


def test_altered_without_an_etag(db, s3, bucket):
    """RGW 16 reports no ETag when it completes a multipart upload, so only the
    bytes show it."""
    run = land(db, "t", BIG, bucket, part_size="5MB")
    old, new = alter(s3, bucket, 5500000)
    assert detail_of(verify(db, run["run_id"], deep=True)) == (
        f"its CRC-32 is {new} instead of {old}"
    )


def test_copied(db, s3, bucket):
    """The bytes are the same, but the ETag is not."""
    run = land(db, "t", SMALL, bucket)
    data = body(s3, bucket, KEY)
    upload = s3.create_multipart_upload(Bucket=bucket, Key=KEY)["UploadId"]
    part = s3.upload_part(
        Bucket=bucket, Key=KEY, UploadId=upload, PartNumber=1, Body=data
    )
    s3.complete_multipart_upload(
        Bucket=bucket, Key=KEY, UploadId=upload, MultipartUpload={
            "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]
        }
    )
    assert "its ETag is" in detail_of(verify(db, run["run_id"]))
    (row,) = verify(db, run["run_id"], deep=True)
    assert row["ok"]


@pytest.mark.parametrize("deep", [False, True])
def test_deleted(db, s3, bucket, registry, deep):
    register(db, bucket, a=SMALL, t=SMALL)
    run_id = land_all(db)[0]["run_id"]
    s3.delete_object(Bucket=bucket, Key=KEY)
    good, bad = verify(db, run_id, deep)
    assert good["ok"] and good["name"] == "a"
    detail = detail_of([bad])
    assert "HTTP 404 NoSuchKey" in detail
    assert "request id tx" in detail


@pytest.mark.parametrize("deep", [False, True])
def test_denied(db, rgw, bucket, run_id, make_server, deep):
    keys = rgw.add_user("u" + uuid.uuid4().hex)
    server = make_server(rgw.endpoint, *keys)
    detail = detail_of(verify(db, run_id, deep, server=server))
    assert "HTTP 403 AccessDenied" in detail
    assert "request id tx" in detail


def test_no_such_bucket(db, s3, bucket, run_id):
    s3.delete_object(Bucket=bucket, Key=KEY)
    s3.delete_bucket(Bucket=bucket)
    try:
        assert "NoSuchBucket" in detail_of(verify(db, run_id))
    finally:
        s3.create_bucket(Bucket=bucket)


def test_a_bucket_that_is_not_allowed(db, rgw, bucket, run_id, make_server):
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, buckets="lake-*"
    )
    assert detail_of(verify(db, run_id, server=server)) == (
        f'its bucket is not allowed by server "{server}"'
    )


def test_nothing_was_recorded(db, bucket, run_id):
    """As of an export whose worker was terminated at its end."""
    set_objects(db, run_id, [{"uri": f"s3://{bucket}/{KEY}"}])
    (row,) = verify(db, run_id)
    assert row["ok"] is None
    assert "neither its size nor its ETag" in row["detail"]
    (row,) = verify(db, run_id, deep=True)
    assert row["ok"] is None
    assert "its CRC-32 was not recorded" in row["detail"]


def set_objects(db, run_id, objects):
    select(
        db, "UPDATE onboard_history SET objects = %s WHERE run_id = %s",
        (json.dumps(objects), run_id),
    )


# A store with faults


def test_a_store_that_is_away(db, bucket, run_id, make_server):
    server = make_server("http://127.0.0.1:1", "key", secrets.token_hex(20))
    objects = [{"uri": f"s3://{bucket}/{n}", "bytes": 1} for n in range(50)]
    set_objects(db, run_id, objects)
    found = verify(db, run_id, server=server, connections=4)
    assert len(found) == 50
    for row in found:
        assert row["ok"] is False
        assert "127.0.0.1 port 1" in row["detail"]
    # Only the first ones are asked for more than once.
    assert sum("after 8 attempts" in row["detail"] for row in found) == 4


@pytest.mark.parametrize("fault", [
    {"response": s3_error(503, "SlowDown")},
    {"response": s3_error(500, "InternalError")},
    {"drop": "before"},
    {"drop": "response", "at": 20},
    {"drop": "response", "at": 20, "reset": True},
], ids=str)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_faults(db, bucket, run_id, proxy, proxied, method, fault):
    """They are repeated; what had come of the object counts no more."""
    proxy.rule(method, KEY, times=2, **fault)
    (row,) = verify(db, run_id, deep=True, server=proxied)
    assert row["ok"], row
    assert len(proxy.requests(method, KEY)) >= 3


@pytest.mark.parametrize("at", [None, 1000, 1000000])
def test_a_read_that_breaks_off(db, bucket, run_id, proxy, proxied, at):
    proxy.rule("GET", KEY, times=2, drop="response", at=at)
    (row,) = verify(db, run_id, deep=True, server=proxied)
    assert row["ok"], row
    assert len(proxy.requests("GET", KEY)) == 3


def test_refused_heads(db, bucket, run_id, proxy, proxied):
    """A gateway refuses HEAD; the object is read instead."""
    proxy.rule("HEAD", times=None, response=Response(405, b""))
    (row,) = verify(db, run_id, server=proxied)
    assert row["ok"]


def test_a_head_without_a_size(db, run_id, proxy, proxied):
    """It says nothing of the object."""
    proxy.rule("HEAD", times=None, response=Response(
        200, b"", {"Content-Length": None}
    ))
    (row,) = verify(db, run_id, server=proxied)
    assert row["ok"] is None
    assert "could be compared" in row["detail"]


@pytest.mark.parametrize("etag", ['"a b"', 'W/"x"', '""', '"'])
def test_an_etag_that_cannot_be_compared(db, run_id, proxy, proxied, etag):
    """Nothing else is known, either."""
    proxy.rule("HEAD", times=None, response=Response(
        200, b"", {"Content-Length": None, "ETag": etag}
    ))
    (row,) = verify(db, run_id, server=proxied)
    assert row["ok"] is None
    assert "could be compared" in row["detail"]


def test_after_a_longer_object(db, s3, bucket, proxy, proxied):
    """The store has answered, so the next object is asked for again."""
    for key in "ab":
        s3.put_object(Bucket=bucket, Key=key, Body=b"123")
    uri = put_manifest(s3, bucket, {"tables": [
        {"uri": f"s3://{bucket}/{key}", "bytes": 3, "crc32": crc32(b"123")}
        for key in "ab"
    ]})
    proxy.rule("GET", "/a", response=Response(200, b"x" * 1000000))
    proxy.rule("HEAD", "/b", response=s3_error(503, "SlowDown"))
    longer, good = verify_manifest(
        db, uri, deep=True, server=proxied, connections=1
    )
    assert "longer than 3 bytes" in detail_of([longer])
    assert good["ok"], good


def test_a_longer_object(db, bucket, run_id, proxy, proxied):
    """HEAD has said another length."""
    proxy.rule("GET", KEY, response=Response(200, b"x" * 5000000))
    detail = detail_of(verify(db, run_id, deep=True, server=proxied))
    assert "the response is longer than" in detail
    assert len(proxy.requests("GET", KEY)) == 1


@pytest.mark.parametrize("phase", ["HEAD", "GET"])
@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_interrupted(db, observer, bucket, run_id, proxy, proxied, phase, how):
    rule = proxy.rule(phase, KEY, hold=True)
    if how == "timeout":
        select(db, "SET statement_timeout = '2s'")
    sql = "SELECT * FROM onboard_verify(%s, true, %s)"
    options = json.dumps({"server": proxied})
    with Running(db, sql, (run_id, options)) as call:
        rule.wait()
        wait_for_network(observer, call.pid)
        if how == "cancel":
            db.cancel()
        assert call.error(timeout=10).pgcode == "57014"
        rule.release()
    select(db, "SET statement_timeout = '60s'")
    (row,) = verify(db, run_id, deep=True)
    assert row["ok"]


def test_interrupted_while_reading(db, observer, bucket, proxy, proxied):
    run = land(db, "t", BIG, bucket, part_size="5MB")
    proxy.rule("GET", KEY, rate=200000)
    sql = "SELECT * FROM onboard_verify(%s, true, %s)"
    options = json.dumps({"server": proxied})
    with Running(db, sql, (run["run_id"], options)) as call:
        arrived(proxy, "GET", 1)
        db.cancel()
        assert call.error(timeout=10).pgcode == "57014"


def test_memory(db, bucket):
    """It does not depend on the size of the object."""
    run = land(db, "t", rows(200), bucket)
    verify(db, run["run_id"])
    with PeakMemory(db.info.backend_pid) as memory:
        (row,) = verify(db, run["run_id"], deep=True)
    assert row["ok"]
    assert memory.peak - memory.before < 8 * 1024 * 1024


# The call


def test_unknown_run(db):
    assert failure(verify, db, str(uuid.uuid4())).pgcode == "42704"


def test_roles(alice, bob, db, bucket):
    run_id = land(
        alice.session, "t", SMALL, bucket, server=alice.server
    )["run_id"]
    (row,) = verify(alice.session, run_id, server=alice.server)
    assert row["ok"]
    # bob sees no such run, then has no right to the server
    error = failure(verify, bob.session, run_id, server=alice.server)
    assert error.pgcode == "42704"
    bob.may(alice.name)
    select(
        db, f"REVOKE USAGE ON FOREIGN SERVER {alice.server} FROM {alice.name}"
    )
    error = failure(verify, bob.session, run_id, server=alice.server)
    assert error.pgcode == "42501"
    assert alice.server in str(error)
    select(db, "REVOKE SELECT ON onboard_history FROM PUBLIC")
    error = failure(verify, alice.session, run_id, server=alice.server)
    select(db, "GRANT SELECT ON onboard_history TO PUBLIC")
    assert error.pgcode == "42501"
    assert "onboard_history" in str(error)


def test_no_credentials(db, bucket, run_id, rgw, make_server):
    server = make_server(rgw.endpoint)
    error = failure(verify, db, run_id, server=server)
    assert error.pgcode == "42704"
    assert "user mapping" in str(error)


@pytest.mark.parametrize("options", [
    {"format": "csv"}, {"connections": 0}, {"server": "nonesuch"},
], ids=str)
def test_wrong_options(db, run_id, options):
    assert failure(verify, db, run_id, **options).pgcode in ("22023", "42704")


# By a manifest


@pytest.fixture
def landed(db, bucket, registry):
    """The id of a run of two tables and one without rows, with a manifest."""
    register(db, bucket, a=SMALL, t=SMALL, none="SELECT 1 WHERE false")
    return land_all(db, manifest=True)[0]["run_id"]


def manifest_of(bucket, run_id):
    return f"s3://{bucket}/_onboard/{run_id}/manifest.json"


@pytest.mark.parametrize("deep", [False, True])
def test_a_manifest(db, s3, bucket, landed, deep):
    uri = manifest_of(bucket, landed)
    select(db, "DELETE FROM onboard_history WHERE run_id = %s", (landed,))
    found = verify_manifest(db, uri, deep)
    assert [(row["name"], row["ok"]) for row in found] == [
        ("a", True), ("t", True)
    ]
    alter(s3, bucket, 7)
    verdicts = [row["ok"] for row in verify_manifest(db, uri, deep)]
    # The manifest has no ETags.
    assert verdicts == [True, not deep]


def put_manifest(s3, bucket, content, key="m"):
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    s3.put_object(Bucket=bucket, Key=key, Body=content)
    return f"s3://{bucket}/{key}"


def test_a_manifest_with_files(db, s3, bucket):
    """A table may have several."""
    files = []
    for n in range(3):
        data = b"%d" % n * 1000
        s3.put_object(Bucket=bucket, Key=f"f{n}", Body=data)
        files.append({
            "uri": f"s3://{bucket}/f{n}", "bytes": 1000, "crc32": crc32(data)
        })
    uri = put_manifest(s3, bucket, {
        "version": 2, "tables": [{"name": "t", "uri": None, "files": files}]
    })
    found = verify_manifest(db, uri, deep=True)
    assert [(row["uri"], row["ok"]) for row in found] == [
        (file["uri"], True) for file in files
    ]


def test_many_objects(db, s3, bucket, proxy, proxied):
    """Several are looked at concurrently, and all are in order."""
    count = 1500

    def put(n):
        s3.put_object(Bucket=bucket, Key=f"k{n}", Body=b"x" * n)
        # each seventh is not what it should be
        return {"name": str(n), "uri": f"s3://{bucket}/k{n}",
                "bytes": n + (n % 7 == 0), "crc32": crc32(b"x" * n)}

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(put, range(count)))
    uri = put_manifest(s3, bucket, {"tables": tables})
    for deep in (False, True):
        found = verify_manifest(db, uri, deep)
        assert [(row["name"], row["ok"]) for row in found] == [
            (str(n), n % 7 != 0) for n in range(count)
        ]
    rule = proxy.rule("HEAD", times=None, hold=True)
    sql = "SELECT count(*) AS n FROM onboard_verify_manifest(%s, false, %s)"
    options = json.dumps({"server": proxied, "connections": 6})
    with Running(db, sql, (uri, options)) as call:
        arrived(proxy, "HEAD", 6)
        rule.release()
        assert call.rows(timeout=120) == [{"n": count}]


HOSTILE = {
    "nothing": b"",
    "no JSON": b"<html></html>",
    "truncated": b'{"tables": [{"uri": "s3://b/k"}',
    "an array": b"[]",
    "a scalar": b"17",
    "no tables": b'{"version": 1}',
    "tables are an object": b'{"tables": {"uri": "s3://b/k"}}',
    "a NUL": b'{"tables": [{"uri": "s3://b/k\\u0000"}]}',
    "not UTF-8": b'{"tables": [{"uri": "s3://b/\xff"}]}',
    "deep": b'{"tables": ' + b"[" * 100000 + b"]" * 100000 + b"}",
    "text after it": b'{"tables": []} {"Canary": 1}',
}


@pytest.mark.parametrize("what", HOSTILE)
def test_no_manifest(db, s3, bucket, what):
    uri = put_manifest(s3, bucket, HOSTILE[what])
    error = failure(verify_manifest, db, uri)
    assert error.pgcode == "08P01"
    assert f'"{uri}" is not a manifest' in str(error)
    assert "Canary" not in str(error)
    assert value(db, "SELECT 1") == 1


def test_odd_members(db, s3, bucket):
    """What is not valid is not known; nothing is taken for something else."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"123")
    good = f"s3://{bucket}/k"
    text = json.dumps({"tables": [
        "text", 1, None, [], {}, [{"uri": good}], {"uri": 1}, {"uri": None},
        {"uri": ["s3://b/k"]}, {"uri": good, "files": []},
        {"uri": good, "bytes": "3", "name": {"a": 1}},
        {"uri": good, "bytes": -3},
        {"uri": good, "bytes": 3.0},
        {"uri": good, "bytes": 10 ** 30},
        {"uri": good, "bytes": 17e17},
        {"uri": good, "bytes": 3, "crc32": "AAAAAA"},
        {"uri": good, "bytes": 3, "crc32": crc32(b"123"), "etag": None},
        {"uri": good, "bytes": 4},
        {"uri": ""}, {"uri": "s3://"}, {"uri": f"s3://{bucket}"},
        {"uri": f"s3://{bucket}/"}, {"uri": "http://127.0.0.1/k"},
        {"uri": f"s3://{bucket}/" + "k" * 1025}, {"uri": "s3://UPPER_/k"},
        {"uri": "s3://../k"}, {"uri": f"s3://{bucket}/../../x"},
        {"uri": f"s3://{bucket}/" + "k" * 1024},
    ]}).replace("1.7e+18", "1e999999").encode()
    uri = put_manifest(s3, bucket, text)
    found = verify_manifest(db, uri, deep=True)
    unknown = "it can be read, but its CRC-32 was not recorded"
    no_uri = "that is not the URI of an object"
    assert [(row["ok"], row["detail"]) for row in found[:-2]] == [
        *[(None, unknown)] * 6, (True, None), (False, "it has 3 bytes instead of 4"),
        *[(False, no_uri)] * 8,
    ]
    for row in found[-2:]:
        assert "NoSuchKey" in detail_of([row])
    assert found[0]["name"] == '{"a": 1}'


def test_no_etags(db, s3, bucket):
    """A manifest has none, and what it says instead is not shown."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"123")
    uri = put_manifest(s3, bucket, {"tables": [
        {"uri": f"s3://{bucket}/k", "bytes": 3, "etag": "Canary"}
    ]})
    (row,) = verify_manifest(db, uri)
    assert row["ok"] and row["detail"] is None


LONG = {
    "a name": [{"name": "n" * 200000, "files": [{"uri": "s3://b/"}] * 1000}],
    "a number as name": [{"name": 0, "files": [{"uri": "s3://b/"}] * 1000}],
    "numbers": [{"uri": "s3://b/", "bytes": 0, "crc32": 0}] * 500,
    "a URI": [{"uri": "s3://b/" + "k" * 15000000}],
    "elements": [{"uri": "s3://b/"}] + [{}] * 1000000,
}


@pytest.mark.parametrize("what", LONG)
def test_long_members(db, s3, bucket, what):
    """They are cut, and take no memory for each object."""
    text = json.dumps({"tables": LONG[what]}).replace(": 0", ": 1e131071")
    uri = put_manifest(s3, bucket, text.encode())
    with PeakMemory(db.info.backend_pid) as memory:
        found = verify_manifest(db, uri)
    assert {row["detail"] for row in found} == {
        "that is not the URI of an object"
    }
    assert {len(row["name"]) for row in found} <= {0, 8, 400}
    assert {len(row["uri"]) for row in found} <= {7, 2000}
    if what != "a URI":
        assert memory.peak - memory.before < 48 * 1024 * 1024


def test_numbers_as_texts(db, s3, bucket):
    """They are cut, but not to a valid size."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    uri = put_manifest(s3, bucket, {"tables": [
        {"uri": f"s3://{bucket}/k", "bytes": size}
        for size in ("0" * 19, "0" * 20, "0" * 20 + "1", "0" * 19 + ".5")
    ]})
    found = verify_manifest(db, uri)
    assert [row["ok"] for row in found] == [True, None, None, None]


def test_a_manifest_in_another_encoding(s3, bucket, connect_other):
    """Its characters may be none of the database's."""
    other = connect_other("LATIN1")
    for key in ("\u00e9", "\u65e5"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"123")
    good, bad = (
        put_manifest(s3, bucket, json.dumps(
            {"tables": [{"uri": f"s3://{bucket}/{key}", "bytes": 3}]},
            ensure_ascii=False,
        ).encode(), key=f"manifest {number}")
        for number, key in enumerate(("\u00e9", "\u65e5"))
    )
    (row,) = verify_manifest(other, good)
    assert row["ok"], row
    error = failure(verify_manifest, other, bad)
    assert error.pgcode == "08P01"
    assert "texts of this database cannot have" in str(error)


def test_too_few_resources(db, s3, bucket):
    """That is no fault of the manifest."""
    uri = put_manifest(s3, bucket, {"tables": [
        {"uri": "s3://b/", "x": "x" * 1000}
    ] * 1000})
    select(db, "SET work_mem = '64kB'")
    select(db, "SET temp_file_limit = 0")
    error = failure(verify_manifest, db, uri)
    assert error.pgcode == "53400"
    assert "temp_file_limit" in str(error)


def test_too_many_objects(db, s3, bucket):
    tables = [{"uri": "s3://b/k"}] * 100001
    error = failure(verify_manifest, db, put_manifest(
        s3, bucket, {"tables": tables}
    ))
    assert error.pgcode == "08P01"
    assert "more than 100000 objects" in str(error)


def test_a_manifest_that_is_too_long(db, s3, bucket):
    uri = put_manifest(s3, bucket, b" " * (16 * 1024 * 1024) + b"{}")
    error = failure(verify_manifest, db, uri)
    assert error.pgcode == "08P01"
    assert "longer than 16777216 bytes" in str(error)


def test_other_buckets(db, rgw, s3, bucket, make_server):
    """A manifest may name any, but the server does not allow them."""
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, buckets=bucket
    )
    uri = put_manifest(s3, bucket, {"tables": [{"uri": "s3://others/k"}]})
    assert "not allowed" in detail_of(
        verify_manifest(db, uri, server=server)
    )
    error = failure(verify_manifest, db, "s3://others/k", server=server)
    assert error.pgcode == "42501"


def test_no_manifest_there(db, bucket):
    error = failure(verify_manifest, db, f"s3://{bucket}/none")
    assert error.pgcode == "58P01"
    assert "NoSuchKey" in str(error)


def test_a_manifest_that_must_not_be_read(db, rgw, bucket, make_server):
    server = make_server(
        rgw.endpoint, *rgw.add_user("u" + uuid.uuid4().hex)
    )
    error = failure(
        verify_manifest, db, f"s3://{bucket}/none", server=server
    )
    assert error.pgcode == "42501"
    assert "s3:GetObject" in error.diag.message_hint


@pytest.mark.parametrize("uri", ["", "m", "s3://b", "s3://b/", "file:///m"])
def test_no_uri(db, uri):
    error = failure(verify_manifest, db, uri)
    assert error.pgcode == "22023"
    assert "is not the URI of a manifest" in str(error)


# Secrets


@pytest.mark.parametrize("what", ["name", "uri"])
@pytest.mark.parametrize("escaped", [False, True])
def test_a_manifest_with_a_secret(
    db, make_server, proxy, what, escaped
):
    """A server may repeat what was sent to it, such as a session token."""
    token = text = secrets.token_urlsafe(60)
    server = make_server(proxy.endpoint, "key", secrets.token_hex(20), token)
    if escaped:
        text = "".join(f"\\u{ord(c):04x}" for c in text)
    content = '{"tables": [{"uri": "s3://lake/k", "%s": "s3://lake/%s"}]}'
    proxy.rule("GET", response=Response(200, (content % (what, text)).encode()))
    error = failure(verify_manifest, db, "s3://lake/m", server=server)
    assert error.pgcode == "08P01"
    assert "repeats a secret" in str(error)
    assert token not in str(error)


def test_an_object_with_a_secret(db, run_id, make_server, proxy):
    """Not even its ETag is shown."""
    secret = secrets.token_urlsafe(60)
    server = make_server(proxy.endpoint, "key", secrets.token_hex(20), secret)
    proxy.rule("HEAD", response=Response(
        200, b"", {"ETag": f'"{secret}"', "Content-Length": "7"}
    ))
    assert "7 bytes" in detail_of(verify(db, run_id, server=server))
    proxy.rule("HEAD", nth=2, times=None, response=Response(400, b""))
    proxy.rule("GET", times=None, response=s3_error(400, "X", secret))
    detail = detail_of(verify(db, run_id, server=server))
    assert secret not in detail
    assert "HTTP 400" in detail
