"""onboard_files(): what the history knows of the objects of a run."""

import base64
import json
import uuid
import zlib

import pytest

from lib.exports import (
    EAGER, Running, body, call, failure, key_of, land, land_all, register,
    rows, select, value,
)
from lib.proxy import Response, s3_error

SERIAL, WORKERS = 0, 4
SMALL, BIG = rows(1), rows(6)  # one PutObject, and two parts
NOTHING = "SELECT 1 AS n WHERE false"


@pytest.fixture(params=[SERIAL, WORKERS], ids=["serial", "workers"])
def workers(request, db):
    select(db, f"SET onboard.parallel_tables = {request.param}")


def files(connection, run_id):
    return select(connection, "SELECT * FROM onboard_files(%s)", (run_id,))


def objects(connection, run_id, name):
    """The column of the history."""
    return value(
        connection, "SELECT objects FROM onboard_history"
        " WHERE run_id = %s AND name = %s", (run_id, name),
    )


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


class OrNone(str):
    """A text that equals None, too: RGW 16 reports no ETag when it completes a
    multipart upload, while RGW 18 does."""

    def __eq__(self, other):
        return other is None or str.__eq__(self, other)

    __hash__ = str.__hash__


def expected(s3, bucket, name, nrows):
    """The row of an object, as S3 shows it."""
    key = key_of(name)
    data = body(s3, bucket, key)
    etag = s3.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
    return {
        "name": name, "uri": f"s3://{bucket}/{key}", "bytes": len(data),
        "rows": nrows, "etag": OrNone(etag) if "-" in etag else etag,
        "checksum": crc32(data), "partition": None,
    }


# How they are exported


@pytest.mark.parametrize("checksum", ["crc32", "sha256", "md5"])
@pytest.mark.parametrize("query, nrows", [(SMALL, 1000), (BIG, 6000)])
def test_of_a_table(db, s3, bucket, query, nrows, checksum):
    run = land(db, "t", query, bucket, part_size="5MB", checksum=checksum)
    wanted = expected(s3, bucket, "t", nrows)
    found = files(db, run["run_id"])
    assert found == [wanted]
    wanted["etag"] = found[0]["etag"]
    (element,) = objects(db, run["run_id"], "t")
    assert element.pop("crc32", None) == wanted["checksum"]
    assert element == {
        key: wanted[key] for key in ("uri", "bytes", "rows", "etag")
        if wanted[key] is not None
    }


def test_etag_of_a_multipart_upload(db, bucket, proxy, proxied):
    """AWS and RGW from 17 on report it."""
    proxy.rule("POST", "uploadId=", instead=Response(200, (
        b"<CompleteMultipartUploadResult><ETag>&quot;a-2&quot;</ETag>"
        b"</CompleteMultipartUploadResult>"
    )))
    run = land(db, "t", BIG, bucket, part_size="5MB", server=proxied)
    assert files(db, run["run_id"])[0]["etag"] == "a-2"


def test_of_an_object_that_was_found(db, s3, bucket, proxy, proxied):
    """The response to the Complete is lost, and a HEAD finds the object."""
    proxy.rule("POST", "uploadId=", drop="response")
    run = land(db, "t", BIG, bucket, part_size="5MB", server=proxied)
    etag = s3.head_object(Bucket=bucket, Key=key_of("t"))["ETag"].strip('"')
    assert etag.endswith("-2")
    wanted = {**expected(s3, bucket, "t", 6000), "etag": etag}
    assert files(db, run["run_id"]) == [wanted]


def test_of_parallel_workers(db, s3, bucket):
    select(db, EAGER + f"CREATE TABLE wide AS {BIG}; ANALYZE wide")
    run = land(db, "wide", None, bucket, part_size="5MB")
    select(db, "DROP TABLE wide")
    assert files(db, run["run_id"]) == [expected(s3, bucket, "wide", 6000)]


def test_of_all_tables(db, s3, bucket, registry, workers):
    register(db, bucket, b=BIG, a=SMALL, none=NOTHING, bad="SELECT 1 / 0")
    run_id = land_all(db)[0]["run_id"]
    assert files(db, run_id) == [
        expected(s3, bucket, "a", 1000), expected(s3, bucket, "b", 6000)
    ]
    assert objects(db, run_id, "none") is None
    assert objects(db, run_id, "bad") is None


def test_of_tables_together(db, s3, bucket, registry, workers):
    register(db, bucket, b=BIG, a=SMALL, none=NOTHING)
    run_id = land_all(db, publish="together")[0]["run_id"]
    # All of them are multipart uploads.
    assert files(db, run_id) == [
        expected(s3, bucket, "a", 1000), expected(s3, bucket, "b", 6000)
    ]


def test_of_tables_withheld(db, bucket, registry, workers):
    register(db, bucket, a=SMALL, bad="SELECT 1 / (g - 500) FROM"
             " generate_series(1, 1000) g")
    run_id = land_all(db, publish="together")[0]["run_id"]
    assert files(db, run_id) == []


@pytest.mark.parametrize("how", ["one", "all"])
def test_of_a_job(db, s3, bucket, registry, how):
    register(db, bucket, a=SMALL)
    submit = "onboard_submit('a')" if how == "one" else "onboard_submit_all()"
    run_id = value(db, "SELECT " + submit)
    select(db, "SELECT onboard_wait(%s)", (run_id,))
    assert files(db, run_id) == [expected(s3, bucket, "a", 1000)]


# Attempts


def attempt(db, run_id, **options):
    (row,) = select(
        db, "SELECT * FROM onboard_all('a', %s, %s)",
        (json.dumps(options), run_id),
    )
    return row


@pytest.mark.parametrize("publish", ["each", "together"])
def test_earlier_attempts(db, s3, bucket, registry, workers, publish):
    """An attempt that keeps the URI of an earlier one keeps what is known of
    its object, and one that lands replaces it."""
    run_id = str(uuid.uuid4())
    options = {"manifest": True, "publish": publish}
    register(db, bucket, a=SMALL)
    assert attempt(db, run_id, **options)["status"] == "done"
    first = expected(s3, bucket, "a", 1000)
    assert files(db, run_id) == [first]
    change = "UPDATE onboard_tables SET query = %s"
    for _ in range(2):
        select(db, change, ("SELECT 1 / 0",))
        assert attempt(db, run_id, **options)["status"] == "failed"
        assert files(db, run_id) == [first]
    select(db, change, ("SELECT 1 AS n",))
    assert attempt(db, run_id, **options)["status"] == "done"
    second = expected(s3, bucket, "a", 1)
    assert files(db, run_id) == [second] != [first]
    select(db, change, (NOTHING,))
    assert attempt(db, run_id, **options)["status"] == "empty"
    assert files(db, run_id) == []


def test_an_earlier_attempt_at_another_place(db, bucket, registry, proxy,
                                             proxied):
    """The object that may be there now is another one."""
    run_id = str(uuid.uuid4())
    select(db, "SET onboard.retry_deadline = '100ms'")
    register(db, bucket, a=SMALL)
    assert attempt(db, run_id, key="first/{name}")["status"] == "done"
    assert len(files(db, run_id)) == 1
    proxy.rule("PUT", "second/a", times=None, drop="after")
    proxy.rule("HEAD", times=None, response=s3_error(403, "AccessDenied"))
    found = attempt(db, run_id, key="second/{name}", server=proxied)
    assert found["status"] == "failed"
    assert found["uri"].endswith("/second/a")
    assert files(db, run_id) == []


def test_increments(db, s3, bucket, registry):
    """A repeated run reports an increment, and keeps what is known of it."""
    run_id = str(uuid.uuid4())
    select(db, "CREATE TABLE events AS SELECT 1 AS id")
    registry(
        "a", "SELECT id FROM events", bucket, watermark={"column": "id"},
        key="{name}/{run_id}"
    )
    attempt(db, run_id)
    first = files(db, run_id)
    assert len(first) == 1
    assert attempt(db, run_id)["status"] == "done"
    assert files(db, run_id) == first
    select(db, "DROP TABLE events")


# Failures


def test_of_a_failed_export_whose_object_exists(db, s3, bucket, proxy, proxied):
    """The manifest of a job is refused, after its object has landed."""
    select(db, "SET onboard.retry_deadline = '100ms'")
    proxy.rule("PUT", "manifest.json", times=None,
               response=s3_error(403, "AccessDenied"))
    options = {"manifest": True, "server": proxied}
    run_id = value(
        db, "SELECT onboard_submit('a', %s, %s, %s)",
        (SMALL, bucket, json.dumps(options)),
    )
    select(db, "SELECT onboard_wait(%s)", (run_id,))
    (row,) = select(
        db, "SELECT status, error FROM onboard_runs WHERE run_id = %s",
        (run_id,)
    )
    assert row["status"] == "failed"
    assert row["error"].endswith("(the object was written)")
    assert files(db, run_id) == [expected(s3, bucket, "a", 1000)]


@pytest.mark.parametrize("query, nrows", [(SMALL, 1000), (BIG, 6000)])
def test_of_a_job_that_was_cancelled_too_late(
    db, s3, bucket, proxy, proxied, observer, query, nrows
):
    """Its object is complete when the store responds."""
    method = "PUT" if query == SMALL else "POST"
    target = "inbox" if query == SMALL else "uploadId="
    rule = proxy.rule(method, target, hold=True)
    options = {"server": proxied, "part_size": "5MB"}
    run_id = value(
        db, "SELECT onboard_submit('a', %s, %s, %s)",
        (query, bucket, json.dumps(options)),
    )
    rule.wait()
    assert value(db, "SELECT onboard_cancel(%s)", (run_id,))
    rule.release()
    select(db, "SELECT onboard_wait(%s)", (run_id,))
    (row,) = select(
        db, "SELECT status, error FROM onboard_runs WHERE run_id = %s",
        (run_id,)
    )
    assert row["status"] == "failed"
    assert row["error"].endswith("(the object was written)")
    assert files(db, run_id) == [expected(s3, bucket, "a", nrows)]


# Who sees them


def test_privileges(alice, bob, db, bucket):
    run = land(alice.session, "t", SMALL, bucket, server=alice.server)
    wanted = files(alice.session, run["run_id"])
    assert len(wanted) == 1
    assert files(db, run["run_id"]) == wanted
    assert files(bob.session, run["run_id"]) == []
    bob.may(alice.name)
    assert files(bob.session, run["run_id"]) == wanted
    select(db, "REVOKE SELECT ON onboard_history FROM PUBLIC")
    error = failure(files, alice.session, run["run_id"])
    assert error.pgcode == "42501"
    select(db, "GRANT SELECT ON onboard_history TO PUBLIC")


def test_unknown_run(db):
    assert files(db, str(uuid.uuid4())) == []
    assert files(db, None) == []


def test_running_export(db, observer, bucket, proxy, proxied):
    """It has no object yet."""
    rule = proxy.rule("PUT", "inbox", hold=True)
    with Running(db, *call("t", SMALL, bucket, server=proxied)) as run:
        rule.wait()
        sql = "SELECT count(*) FROM onboard_history WHERE objects IS NOT NULL"
        before = value(observer, sql)
        rule.release()
        (row,) = run.rows()
    assert value(observer, sql) == before + 1
    assert len(files(observer, row["run_id"])) == 1


def test_names(db, bucket):
    """The URI is the same in the row and in the object's description."""
    key = 'a "b"\\c/{name}\u00e9'
    run = land(db, "t", SMALL, bucket, key=key)
    (found,) = files(db, run["run_id"])
    wanted = f"s3://{bucket}/" + key.replace("{name}", "t")
    assert found["uri"] == run["uri"] == wanted
