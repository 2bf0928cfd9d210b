"""The figures of an export, in the history and in the call's result."""

import gzip
import json

import pytest

from lib.exports import (
    EAGER, body, copy, key_of, land, land_all, rows, select, value,
)
from lib.proxy import s3_error


@pytest.fixture(scope="module", autouse=True)
def table(pg):
    pg.psql(
        "CREATE TABLE figured AS SELECT g, repeat('row ' || g, 30) AS t"
        " FROM generate_series(1, 120000) g; ANALYZE figured",
        "onboard",
    )
    yield
    pg.psql("DROP TABLE figured", "onboard")


def history(db, run_id, name=None):
    sql = (
        "SELECT * FROM onboard_runs WHERE run_id = %s"
        " AND name = coalesce(%s, name)"
    )
    (row,) = select(db, sql, (run_id, name))
    return row


def parts_of(s3, bucket, key):
    """The number of parts in the ETag; None for a single request."""
    etag = s3.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
    return int(etag.partition("-")[2] or 1)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("codec", ["none", "gzip"])
@pytest.mark.parametrize("format", ["csv", "binary"])
def test_figures(db, s3, bucket, format, codec, workers):
    """Sizes before and after compression, and parts, for any number of
    processes."""
    select(db, EAGER)
    # The size is such that even the compressed object has several parts.
    query = (
        "SELECT * FROM figured" if codec == "none" else
        "SELECT g, md5(g::text) || md5(t) || md5(g::text || t) || sha512("
        "t::bytea)::text AS t FROM figured"
    )
    found = land(
        db, "figured", query, bucket, format=format, compression=codec,
        parallel=workers, key="it", part_size="5MB",
    )
    data = body(s3, bucket, "it")
    plain = gzip.decompress(data) if codec == "gzip" else data
    header = ", HEADER true" if format == "csv" else ""
    wanted = copy(db, query, f"FORMAT {format}{header}")
    assert len(plain) == len(wanted)
    row = history(db, found["run_id"])
    assert (row["rows"], row["raw_bytes"], row["bytes"]) == (
        120000, len(plain), len(data)
    )
    assert (found["rows"], found["bytes"]) == (120000, len(data))
    assert row["parts"] == parts_of(s3, bucket, "it") > 1
    assert (row["files"], row["retries"]) == (1, 0)


def test_one_request(db, s3, bucket):
    found = land(db, "one", "SELECT 1 AS one", bucket)
    row = history(db, found["run_id"])
    assert (row["parts"], row["raw_bytes"], row["bytes"]) == (1, 6, 6)


@pytest.mark.parametrize("empty", ["skip", "write"])
def test_no_rows(db, s3, bucket, empty):
    """The figures are right even if an upload was begun in vain."""
    select(db, EAGER)
    found = land(
        db, "none", "SELECT * FROM figured WHERE g < 0", bucket, empty=empty,
        parallel=2,
    )
    row = history(db, found["run_id"])
    size = len(b"g,t\n") if empty == "write" else 0
    assert (row["rows"], row["raw_bytes"], row["bytes"]) == (0, size, size)
    assert row["parts"] == row["files"] == (1 if size else 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_retries(db, bucket, proxy, proxied, workers):
    """Only retries of this export count, not of earlier ones in the session."""
    select(db, EAGER)
    proxy.rule("PUT", "partNumber=1", response=s3_error(500, "InternalError"))
    proxy.rule("PUT", "partNumber=2", response=s3_error(503, "SlowDown"))
    proxy.rule("PUT", "partNumber=3", response=s3_error(500, "InternalError"))
    options = dict(server=proxied, parallel=workers, part_size="5MB")
    found = land(db, "tried", "TABLE figured", bucket, **options)
    assert history(db, found["run_id"])["retries"] == 3
    found = land(db, "again", "TABLE figured", bucket, **options)
    assert history(db, found["run_id"])["retries"] == 0


def test_lsn(db, bucket):
    """The export sees nothing that was written after this position."""
    before = value(db, "SELECT pg_current_wal_insert_lsn()")
    found = land(db, "at", "SELECT 1", bucket)
    select(db, "SELECT pg_logical_emit_message(false, 'x', 'x')")
    sql = (
        "SELECT lsn >= %s AND lsn < pg_current_wal_insert_lsn()"
        " FROM onboard_runs WHERE run_id = %s"
    )
    assert value(db, sql, (before, found["run_id"])) is True


@pytest.mark.parametrize("workers", [0, 4])
def test_all_tables(db, s3, registry, bucket, workers):
    """Workers report their figures to the session; the whole run has one
    position."""
    for name, query in (("a", rows(7)), ("b", "SELECT 1 AS b")):
        select(
            db, "INSERT INTO onboard_tables (name, query, bucket, options)"
            " VALUES (%s, %s, %s, %s)",
            (name, query, bucket, json.dumps({"compression": "gzip"})),
        )
    select(db, f"SET onboard.parallel_tables = {workers}")
    found = {row["name"]: row for row in land_all(db)}
    lsns = set()
    for name, query in (("a", rows(7)), ("b", "SELECT 1 AS b")):
        data = body(s3, bucket, key_of(name, "csv.gz"))
        row = history(db, found[name]["run_id"], name)
        assert row["bytes"] == found[name]["bytes"] == len(data)
        assert row["raw_bytes"] == len(copy(db, query))
        assert row["rows"] == found[name]["rows"]
        assert row["parts"] == 1
        lsns.add(row["lsn"])
    assert len(lsns) == 1 and None not in lsns


def test_a_failure_has_a_position(db, registry, bucket):
    select(
        db, "INSERT INTO onboard_tables (name, query, bucket)"
        " VALUES ('wrong', 'SELECT 1 / 0', %s)", (bucket,),
    )
    (found,) = land_all(db)
    row = history(db, found["run_id"])
    assert row["lsn"] is not None
    figures = [row[key] for key in ("rows", "raw_bytes", "bytes", "parts",
                                    "retries", "files")]
    assert figures == [0] * 6
