"""Manifests, and runs whose objects become visible together."""

import base64
import datetime
import gzip
import json
import pathlib
import re
import zlib

import pytest

from lib import process
from lib.exports import (
    SLEEPS, Running, body, copy, failure, key_of, keys, land, land_all,
    no_upload_left, register, rows, select, statuses, value, wait_for_sleep,
)
from lib.proxy import s3_error

SERIAL, WORKERS = 0, 4

TOGETHER = "SELECT * FROM onboard_all(NULL, %s)"


@pytest.fixture(params=[SERIAL, WORKERS], ids=["serial", "workers"])
def workers(request, db):
    """Whether the session runs the tables, or workers do."""
    select(db, f"SET onboard.parallel_tables = {request.param}")
    return request.param


@pytest.fixture
def patient(db):
    """Failing requests are retried only for a short time."""
    select(db, "SET onboard.retry_deadline = '100ms'")


def history(observer, run_id):
    """The history that other sessions see: committed, or of their own
    transaction."""
    sql = "SELECT name, status FROM onboard_runs WHERE run_id = %s"
    return statuses(select(observer, sql, (run_id,)))


def last_history(observer):
    sql = "SELECT run_id FROM onboard_history ORDER BY started DESC LIMIT 1"
    return history(observer, value(observer, sql))


def no_worker_left(observer):
    sql = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'onboard worker'"
    )
    process.wait_until(lambda: value(observer, sql) == 0, 10, "no worker left")


def file_of(run_id, name, prefix=""):
    return f"{prefix}_onboard/{run_id}/{name}"


def manifest(s3, bucket, run_id, prefix=""):
    found = s3.get_object(
        Bucket=bucket, Key=file_of(run_id, "manifest.json", prefix)
    )
    assert found["ContentType"] == "application/json"
    return json.loads(found["Body"].read())


def utc(time):
    """A time in PostgreSQL's format, without trailing zeros."""
    text = time.astimezone(datetime.timezone.utc).isoformat()
    text, zone = text[:-6], text[-6:]
    return (text.rstrip("0") if "." in text else text) + zone


def files(s3, bucket, run_id):
    """Those of the run's own files that exist."""
    prefix = file_of(run_id, "")
    return [
        key[len(prefix):] for key in keys(s3, bucket) if key.startswith(prefix)
    ]


def objects(s3, bucket):
    """All objects except these files."""
    return [key for key in keys(s3, bucket) if not key.startswith("_onboard/")]


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


# Manifests


def test_of_one_table(db, s3, bucket):
    select(db, "SET timezone = 'Asia/Tokyo'")
    found = land(
        db, "orders",
        "SELECT 1 AS id, 1.50::numeric(10,2) AS \"Price\", now() AS at,"
        " 'x'::varchar(5) AS v, ARRAY['a'] AS tags",
        bucket, manifest=True, compression="gzip", delimiter=";",
    )
    assert files(s3, bucket, found["run_id"]) == ["_SUCCESS", "manifest.json"]
    assert body(s3, bucket, file_of(found["run_id"], "_SUCCESS")) == b""
    content = manifest(s3, bucket, found["run_id"])
    landed = body(s3, bucket, key_of("orders", "csv.gz"))
    (history_row,) = select(
        db, "SELECT * FROM onboard_runs WHERE run_id = %s", (found["run_id"],)
    )
    for time in ("started", "ended"):
        for what in (content, content["tables"][0]):
            assert what[time].endswith("+00:00")
        assert content["tables"][0].pop(time) == utc(history_row[time])
    assert content.pop("started") < content.pop("ended")
    assert content == {
        "version": 1,
        "run_id": found["run_id"],
        "success": True,
        "publish": "each",
        "database": "onboard",
        "role": "postgres",
        "system_identifier": str(
            value(db, "SELECT system_identifier FROM pg_control_system()")
        ),
        "postgresql": value(db, "SHOW server_version"),
        "onboard": value(
            db, "SELECT extversion FROM pg_extension WHERE extname = 'onboard'"
        ),
        "lsn": history_row["lsn"],
        "tables": [
            {
                "name": "orders",
                "status": "done",
                "uri": found["uri"],
                "rows": 1,
                "bytes": len(landed),
                "crc32": crc32(landed),
                "format": {
                    "name": "csv",
                    "compression": "gzip",
                    "encoding": "UTF8",
                    "header": True,
                    "delimiter": ";",
                    "null": "",
                    "quote": '"',
                    "escape": '"',
                },
                "columns": [
                    {"name": "id", "type": "integer"},
                    {"name": "Price", "type": "numeric(10,2)"},
                    {"name": "at", "type": "timestamp with time zone"},
                    {"name": "v", "type": "character varying(5)"},
                    {"name": "tags", "type": "text[]"},
                ],
            }
        ],
    }


@pytest.mark.parametrize(
    "format_, extra",
    [
        ("text", {"encoding": "UTF8", "header": False, "delimiter": "\t",
                  "null": "\\N"}),
        ("binary", {}),
        ("jsonl", {"encoding": "UTF8"}),
        ("json", {"encoding": "UTF8"}),
    ],
)
def test_formats(db, s3, bucket, format_, extra):
    found = land(db, "t", "SELECT 1 AS a", bucket, manifest=True,
                 format=format_)
    (table,) = manifest(s3, bucket, found["run_id"])["tables"]
    assert table["format"] == {
        "name": format_, "compression": "none", **extra
    }
    landed = body(s3, bucket, found["uri"].split("/", 3)[3])
    assert table["crc32"] == crc32(landed)


def test_names_that_are_not_ascii(db, s3, bucket):
    db.set_client_encoding("LATIN1")
    found = land(db, "t", "SELECT 1 AS \"Größe\"", bucket, manifest=True,
                 null="ä")
    (table,) = manifest(s3, bucket, found["run_id"])["tables"]
    assert table["columns"] == [{"name": "Größe", "type": "integer"}]
    assert table["format"]["null"] == "ä"
    assert table["format"]["encoding"] == "LATIN1"


# 30 MB that no codec compresses below half.
NOISE = """
    CREATE TABLE big AS SELECT g, (
            SELECT string_agg(md5(g::text || ' ' || i), '')
            FROM generate_series(1, 30) i
        ) AS t FROM generate_series(1, 30000) g;
    ANALYZE big;
    SET min_parallel_table_scan_size = 0;
    SET parallel_setup_cost = 0;
"""


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "lz4"])
@pytest.mark.parametrize("parallel", [0, 2])
def test_checksum_of_many_parts(db, s3, bucket, parallel, compression):
    select(db, NOISE)
    try:
        found = land(db, "big", "SELECT * FROM big", bucket, manifest=True,
                     parallel=parallel, part_size="5MB",
                     compression=compression, key="big")
    finally:
        select(db, "DROP TABLE big")
    (table,) = manifest(s3, bucket, found["run_id"])["tables"]
    landed = body(s3, bucket, "big")
    assert len(landed) == table["bytes"] == found["bytes"] > 5 * 2**20
    assert table["crc32"] == crc32(landed)
    assert table["rows"] == 30000


def test_key_of_the_manifest(db, rgw, make_server, s3, bucket):
    """The key is below the server's prefix, which is taken literally."""
    server = make_server(rgw.endpoint, rgw.access_key, rgw.secret_key,
                         prefix="räw/")
    found = land(db, "t", "SELECT 1 AS a", bucket, manifest=True,
                 server=server)
    assert manifest(s3, bucket, found["run_id"], "räw/")["success"]


def test_objects_options_are_not_its(db, s3, bucket):
    """Tags, metadata and other options apply to the table's object, not to the
    manifest."""
    found = land(
        db, "t", "SELECT 1 AS a", bucket, manifest=True,
        metadata={"who": "me"}, tags={"a": "b"}, content_type="text/x",
    )
    head = s3.head_object(
        Bucket=bucket, Key=file_of(found["run_id"], "manifest.json")
    )
    assert "who" not in head["Metadata"]
    assert head["ContentType"] == "application/json"


def test_of_a_run(db, observer, s3, registry, workers, bucket):
    register(
        db, bucket,
        a="SELECT 1 AS one", b=rows(12), c="SELECT 1 AS n WHERE false",
    )
    found = land_all(db, manifest=True)
    (run_id,) = {row["run_id"] for row in found}
    content = manifest(s3, bucket, run_id)
    assert content["success"] and content["publish"] == "each"
    assert content["lsn"] is not None
    assert files(s3, bucket, run_id) == ["_SUCCESS", "manifest.json"]
    tables = {table["name"]: table for table in content["tables"]}
    for row in found:
        table = tables[row["name"]]
        for column in ("status", "uri", "rows", "bytes"):
            assert table[column] == row[column]
    for name in "ab":
        assert tables[name]["crc32"] == crc32(body(s3, bucket, key_of(name)))
    assert tables["c"]["crc32"] is None
    assert tables["c"]["columns"] == [{"name": "n", "type": "integer"}]


def test_of_a_run_that_failed(db, s3, registry, workers, bucket):
    """The manifest has the failure, but no error text, which may quote data."""
    register(
        db, bucket,
        a="SELECT 1 AS one", b="SELECT 'secret'::int", c="SELEC 1",
    )
    found = land_all(db, manifest=True)
    assert statuses(found) == {"a": "done", "b": "failed", "c": "failed"}
    run_id = found[0]["run_id"]
    assert files(s3, bucket, run_id) == ["manifest.json"]
    content = manifest(s3, bucket, run_id)
    assert not content["success"]
    assert [
        (table["status"], table["uri"], table.get("sqlstate"))
        for table in content["tables"]
    ] == [
        ("done", found[0]["uri"], None), ("failed", None, "22P02"),
        ("failed", None, "42601"),
    ]
    assert "secret" not in json.dumps(content)


def test_nowhere_to_put_it(db, s3, registry, bucket):
    """No table could be prepared, so the bucket is unknown."""
    register(db, bucket, a="SELEC 1")
    found = land_all(db, manifest=True)
    assert statuses(found) == {"a": "failed"}
    assert "the run has no manifest" in "".join(db.notices)
    assert land_all(db, "none", manifest=True) == []


def test_two_destinations(db, rgw, make_server, s3, registry, bucket):
    register(db, bucket, a="SELECT 1 AS one", b="SELECT 2 AS two")
    server = make_server(rgw.endpoint, rgw.access_key, rgw.secret_key)
    for change in (
        "bucket = 'other-bucket'",
        f"""options = '{{"server": "{server}"}}', bucket = '{bucket}'""",
    ):
        select(db, f"UPDATE onboard_tables SET {change} WHERE name = 'b'")
        for options in ({"manifest": True}, {"publish": "together"}):
            error = failure(land_all, db, **options)
            assert error.pgcode == "22023"
            assert "must have one destination" in str(error)
    assert keys(s3, bucket) == []


def test_an_earlier_destination(db, s3, registry, bucket):
    """A repeated run would name objects in another bucket than its manifest's."""
    register(db, bucket, a="SELECT 1 AS one", b="SELECT 2 AS two")
    run_id = land_all(db)[0]["run_id"]
    other = bucket + "-2"
    s3.create_bucket(Bucket=other)
    try:
        select(db, "UPDATE onboard_tables SET bucket = %s", (other,))
        error = failure(
            select, db, "SELECT * FROM onboard_all(NULL, %s, %s)",
            ('{"manifest": true}', run_id),
        )
        assert error.pgcode == "22023"
        assert "must have one destination" in str(error)
        assert f's3://{bucket}/{key_of("a")}' in error.diag.message_detail
        assert keys(s3, other) == []
        land_all(db, manifest=True)
        for item in s3.list_objects_v2(Bucket=other)["Contents"]:
            s3.delete_object(Bucket=other, Key=item["Key"])
    finally:
        s3.delete_bucket(Bucket=other)


def test_manifest_cannot_be_written(
    db, observer, s3, registry, workers, patient, proxied, proxy, bucket
):
    """The objects stay, and the error says so."""
    register(db, bucket, a="SELECT 1 AS one", b="SELECT 2 AS two")
    proxy.rule("PUT", r"/manifest\.json", response=s3_error(403, "AccessDenied"),
               times=None)
    error = failure(land_all, db, manifest=True, server=proxied)
    assert error.pgcode == "42501"
    assert "whose objects are visible" in error.diag.context
    assert keys(s3, bucket) == [key_of("a"), key_of("b")]
    if workers == WORKERS:
        assert last_history(observer) == {"a": "done", "b": "done"}
    error = failure(land, db, "one", "SELECT 1 AS one", bucket, manifest=True,
                    server=proxied)
    assert error.pgcode == "42501"


def test_of_a_job(db, s3, bucket):
    run_id = value(
        db, "SELECT onboard_submit('t', 'SELECT 1 AS a', %s,"
        """ '{"manifest": true}')""", (bucket,),
    )
    (row,) = select(db, "SELECT * FROM onboard_wait(%s, '60s')", (run_id,))
    assert row["status"] == "done"
    assert manifest(s3, bucket, run_id)["tables"][0]["rows"] == 1
    assert files(s3, bucket, run_id) == ["_SUCCESS", "manifest.json"]


def test_of_increments(db, s3, registry, workers, bucket):
    select(db, "CREATE TABLE increments AS SELECT 1 AS id")
    try:
        register(db, bucket, increments=None, other="SELECT 1 AS a")
        select(
            db, """UPDATE onboard_tables SET options = '{"key":
            "{name}/{run_id}", "watermark": {"column": "id", "overlap": 1}}'
            WHERE name = 'increments'"""
        )
        for expected in (
            {"above": None, "from": None, "up_to": "1"},
            {"above": None, "from": "0", "up_to": "2"},
        ):
            run_id = land_all(db, manifest=True)[0]["run_id"]
            table, other = manifest(s3, bucket, run_id)["tables"]
            assert table["watermark"] == {
                "column": "id", "type": "integer", **expected
            }
            assert table["columns"] == [{"name": "id", "type": "integer"}]
            assert "watermark" not in other
            select(db, "INSERT INTO increments VALUES (2)")
    finally:
        select(db, "DROP TABLE increments")


# Publish together


def test_together(
    db, observer, s3, registry, workers, proxied, proxy, bucket
):
    """All parts come first, then all Completes, then the manifest, then
    _SUCCESS."""
    register(
        db, bucket,
        a="SELECT 1 AS one", b=rows(12), c="SELECT 1 AS n WHERE false",
        d=rows(6, "'d'"), e="SELECT 5 AS five",
    )
    found = land_all(db, publish="together", server=proxied)
    assert statuses(found) == {
        "a": "done", "b": "done", "c": "empty", "d": "done", "e": "done"
    }
    run_id = found[0]["run_id"]
    for name, query in (("a", "SELECT 1 AS one"), ("b", rows(12))):
        assert body(s3, bucket, key_of(name)) == copy(db, query)
    content = manifest(s3, bucket, run_id)
    assert (content["success"], content["publish"]) == (True, "together")
    for table in content["tables"]:
        if table["uri"]:
            landed = body(s3, bucket, key_of(table["name"]))
            assert table["crc32"] == crc32(landed)
            assert table["bytes"] == len(landed)
    assert history(observer, run_id) == statuses(found)

    def when(method, pattern):
        found = proxy.requests(method, pattern)
        return [r.started for r in found], [r.ended for r in found]

    parts, completes = when("PUT", "partNumber"), when("POST", "uploadId=")
    files = when("PUT", "_onboard/")
    assert len(completes[0]) == 4 and len(files[0]) == 2
    assert max(parts[1]) <= min(completes[0])
    assert max(completes[1]) <= min(files[0])
    assert files[1][0] <= files[0][1]
    assert "_SUCCESS" in proxy.requests("PUT", "_onboard/")[1].target


def test_nothing_to_see_before(
    pg, db, observer, s3, registry, workers, bucket
):
    """No object is visible before the last query has ended."""
    register(
        db, bucket,
        a="SELECT 1 AS one",
        b="SELECT pg_advisory_xact_lock(42) IS NULL AS locked",
        c=rows(6),
    )
    session = pg.connect("onboard")
    select(session, f"SET onboard.parallel_tables = {workers}")
    select(observer, "SELECT pg_advisory_lock(42)")
    try:
        with Running(
            session,
            """SELECT * FROM onboard_all(NULL, '{"publish": "together"}')""",
        ) as run:
            # The last table waits until all others that can have landed.
            sql = (
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE wait_event = 'advisory'"
            )
            process.wait_until(
                lambda: value(observer, sql) == 1, 30, "a table waits"
            )
            assert keys(s3, bucket) == []
            select(observer, "SELECT pg_advisory_unlock(42)")
            assert set(statuses(run.rows()).values()) == {"done"}
        assert len(objects(s3, bucket)) == 3
    finally:
        session.close()


@pytest.mark.parametrize(
    "format_, expected", [("text", b""), ("csv", b"n\n"), ("jsonl", b"")]
)
def test_empty_objects(db, s3, registry, workers, bucket, format_, expected):
    """A part must not be empty, so an empty object is written at the end."""
    register(db, bucket, a="SELECT 1 AS n WHERE false", b="SELECT 2 AS n")
    select(db, """UPDATE onboard_tables SET options = '{"tags": {"x": "y"}}'""")
    found = land_all(db, publish="together", empty="write", format=format_,
                     key="{name}")
    assert statuses(found) == {"a": "done", "b": "done"}
    assert body(s3, bucket, "a") == expected
    assert body(s3, bucket, "b") != expected
    tables = manifest(s3, bucket, found[0]["run_id"])["tables"]
    assert tables[0]["crc32"] == crc32(expected)
    if expected == b"":  # RGW 16 loses them for multipart uploads
        tags = s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"]
        assert tags == [{"Key": "x", "Value": "y"}]


def test_only_empty_tables(db, s3, registry, workers, bucket):
    register(db, bucket, a="SELECT 1 AS n WHERE false",
             b="SELECT 1 AS n WHERE false")
    found = land_all(db, publish="together")
    assert statuses(found) == {"a": "empty", "b": "empty"}
    assert objects(s3, bucket) == []
    assert files(s3, bucket, found[0]["run_id"]) == [
        "_SUCCESS", "manifest.json"
    ]


def test_options_of_objects(db, s3, registry, workers, bucket):
    """The headers belong to the upload's Create, not to its Complete."""
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    land_all(db, publish="together", metadata={"who": "me"},
             compression="gzip", content_type="text/x")
    found = s3.get_object(Bucket=bucket, Key=key_of("a", "csv.gz"))
    assert found["Metadata"]["who"] == "me"
    assert found["ContentType"] == "text/x"
    assert gzip.decompress(found["Body"].read()) == b"n\n1\n"


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_in_parallel(db, s3, registry, workers, bucket, compression):
    """A table's own parallel workers may upload its parts, too."""
    extension = "csv" if compression == "none" else "csv.gz"

    def landed(name):
        data = body(s3, bucket, key_of(name, extension))
        return data if compression == "none" else zlib.decompress(data, 31)

    select(db, NOISE)
    try:
        register(db, bucket, big="SELECT * FROM big", none="SELECT * FROM big"
                 " WHERE g < 0", small="SELECT 1 AS n")
        found = land_all(db, publish="together", parallel=2, part_size="5MB",
                         empty="write", compression=compression)
        assert set(statuses(found).values()) == {"done"}
        expected = copy(db, "SELECT * FROM big").splitlines()
        assert sorted(landed("big").splitlines()) == sorted(expected)
        assert landed("none") == b"g,t\n"
        tables = manifest(s3, bucket, found[0]["run_id"])["tables"]
        assert tables[0]["crc32"] == crc32(
            body(s3, bucket, key_of("big", extension))
        )
    finally:
        select(db, "DROP TABLE big")


# Withheld objects


def test_a_failure_withholds_all(
    db, observer, rgw, s3, registry, workers, bucket
):
    register(
        db, bucket,
        a="SELECT 1 AS one", b=rows(12), c="SELECT 1 AS n WHERE false",
        d=rows(20, "1 / (g - 18000), repeat('x', 1000)"),
    )
    found = land_all(db, publish="together")
    assert statuses(found) | {"a": None, "b": None, "c": None} == {
        "a": None, "b": None, "c": None, "d": "failed"
    }
    # These tables had begun; no other table begins any more.
    for row in found:
        assert row["status"] in ("withheld", "empty", "failed")
        assert (row["uri"], row["files"], row["rows"], row["bytes"]) == (
            None, 0, 0, 0
        )
        assert (row["error"] is None) == (row["name"] != "d")
    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == []
    assert history(observer, found[0]["run_id"]) == statuses(found)
    text = "".join(db.notices)
    assert "nothing of the run was published" in text
    assert "1 of 4 tables failed" in text
    no_worker_left(observer)


def test_no_table_is_begun_after_a_failure(
    pg, db, observer, rgw, s3, registry, workers, bucket
):
    """Tables that are under way continue to their end."""
    register(
        db, bucket,
        # The largest table is the first.
        a="SELECT 1 / (pg_advisory_xact_lock(43) IS NULL)::int AS n"
          " FROM generate_series(1, 100000) g",
        **{f"t{n:02}": "SELECT pg_advisory_xact_lock(42) IS NULL AS n"
           for n in range(30)},
    )
    select(observer, "SELECT pg_advisory_lock(42), pg_advisory_lock(43)")
    session = pg.connect("onboard")
    select(session, f"SET onboard.parallel_tables = {2 if workers else 0}")
    options = json.dumps({"publish": "together"})
    sql = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND NOT granted AND objid = %s"
    )
    with Running(session, TOGETHER, (options,)) as run:
        process.wait_until(
            lambda: value(observer, sql, (43,)) == 1
            and (not workers or value(observer, sql, (42,)) == 1),
            30, "all workers wait"
        )
        select(observer, "SELECT pg_advisory_unlock(43)")
        process.wait_until(
            lambda: value(observer, sql, (43,)) == 0, 30, "it fails"
        )
        select(observer, "SELECT pg_advisory_unlock(42)")
        found = run.rows()
    session.close()
    others = statuses(found)
    assert others.pop("a") == "failed"
    assert set(others.values()) == {"withheld"}
    begun = [row for row in found if row["elapsed"].total_seconds() > 0]
    assert len(begun) < 30
    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == []


def test_what_cannot_be_prepared_withholds_all(
    db, observer, s3, registry, workers, proxied, proxy, bucket
):
    """Nothing is sent then."""
    register(db, bucket, a="SELECT 1 AS one", b="SELEC 1", c="SELECT 1 AS n")
    found = land_all(db, publish="together", server=proxied)
    assert statuses(found) == {
        "a": "withheld", "b": "failed", "c": "withheld"
    }
    assert proxy.requests() == []
    assert history(observer, found[0]["run_id"]) == statuses(found)


def test_raise(db, observer, rgw, s3, registry, workers, bucket):
    register(db, bucket, a="SELECT 1 AS one", b="SELECT 1 / 0 AS n")
    error = failure(land_all, db, publish="together", on_error="raise")
    assert error.pgcode == "38000"
    assert "1 of 2 tables could not be exported" in str(error)
    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == []


def test_raise_without_a_failure(db, s3, registry, workers, bucket):
    register(db, bucket, a="SELECT 1 AS one", b="SELECT 2 AS two")
    found = land_all(db, publish="together", on_error="raise")
    assert statuses(found) == {"a": "done", "b": "done"}


def test_existing_objects_stay(db, s3, registry, workers, bucket):
    """The objects are those of an earlier run: no subset of them is replaced.
    """
    register(db, bucket, a="SELECT 1 AS one", b="SELECT 2 AS two")
    land_all(db, publish="together")
    select(db, "UPDATE onboard_tables SET query = CASE name"
           " WHEN 'a' THEN 'SELECT 3 AS three' ELSE 'SELECT 1 / 0' END")
    land_all(db, publish="together")
    assert body(s3, bucket, key_of("a")) == b"one\n1\n"
    assert body(s3, bucket, key_of("b")) == b"two\n2\n"


# Failures during publication


def complete_of(name):
    """The pattern of the Complete of a table's object, as a request's target.
    """
    return f"{key_of(name)}.*uploadId="


@pytest.mark.parametrize("connections", [1, 8])
def test_the_third_complete_is_refused(
    db, observer, rgw, s3, registry, workers, proxied, proxy, bucket,
    connections,
):
    """Objects that are visible by then stay; the error names them."""
    names = ["a", "b", "c", "d", "e"]
    register(db, bucket, **{n: f"SELECT '{n}' AS name" for n in names})
    proxy.rule("POST", complete_of("c"), times=None,
               response=s3_error(403, "AccessDenied"))
    if connections > 1:
        # Concurrent Completes have not ended when this one fails.
        slow = [proxy.rule("POST", complete_of(n), hold=True) for n in "de"]
    with Running(
        db, "SELECT * FROM onboard_all(NULL, %s)",
        (json.dumps({"publish": "together", "server": proxied,
                     "connections": connections}),),
    ) as run:
        if connections > 1:
            proxy.wait_for("POST", complete_of("c"))
            for rule in slow:
                rule.release()
        error = run.error()
    assert error.pgcode == "38000"
    assert "the run was published in part" in str(error)
    visible = sorted(set(names) - {"c"}) if connections > 1 else ["a", "b"]
    listed = ", ".join(f'"{name}"' for name in visible)
    hidden = ", ".join(f'"{n}"' for n in names if n not in visible)
    assert error.diag.message_detail == (
        f"Visible: {listed}. Not visible: {hidden}."
    )
    assert "_SUCCESS" in error.diag.message_hint
    assert 'could not export "c"' in "".join(db.notices)
    assert objects(s3, bucket) == [key_of(name) for name in visible]
    assert len(keys(s3, bucket)) == len(visible)
    no_upload_left(rgw, bucket)
    if workers == WORKERS:
        expected = {name: "withheld" for name in names}
        expected |= {name: "done" for name in visible} | {"c": "failed"}
        assert last_history(observer) == expected
    no_worker_left(observer)


def test_the_first_complete_is_refused(
    db, observer, rgw, s3, registry, workers, proxied, proxy, bucket
):
    """The result is the same as if a table had failed before."""
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    proxy.rule("POST", complete_of("a"), times=None,
               response=s3_error(403, "AccessDenied"))
    found = land_all(db, publish="together", server=proxied, connections=1)
    assert statuses(found) == {"a": "failed", "b": "withheld"}
    assert "AccessDenied" in "".join(db.notices)
    assert found[0]["error"].startswith("could not complete the upload of")
    assert keys(s3, bucket) == []
    no_upload_left(rgw, bucket)
    assert history(observer, found[0]["run_id"]) == statuses(found)


def test_a_lost_response(db, s3, registry, workers, proxied, proxy, bucket):
    """The marker of the upload shows that the object is the run's."""
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    proxy.rule("POST", complete_of("b"), drop="after")
    found = land_all(db, publish="together", server=proxied)
    assert statuses(found) == {"a": "done", "b": "done"}
    assert len(proxy.requests("HEAD", key_of("b"))) == 1
    assert manifest(s3, bucket, found[0]["run_id"])["success"]


def test_an_upload_that_is_gone(
    db, rgw, s3, registry, workers, proxied, proxy, bucket
):
    """Another client has aborted it while others landed: its fate is unknown.
    """
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    proxy.rule("POST", complete_of("a"), times=None,
               response=s3_error(404, "NoSuchUpload"))
    proxy.rule("GET", "uploadId=", times=None,
               response=s3_error(404, "NoSuchUpload"))
    proxy.rule("DELETE", f"{key_of('a')}.*uploadId=", times=None,
               response=s3_error(404, "NoSuchUpload"))
    error = failure(land_all, db, publish="together", server=proxied,
                    connections=1)
    assert error.pgcode == "38000"
    assert error.diag.message_detail == (
        'Perhaps visible: "a". Not visible: "b".'
    )
    for upload in rgw.unfinished(bucket):
        s3.abort_multipart_upload(
            Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
        )
    assert keys(s3, bucket) == []


@pytest.mark.parametrize("file", ["manifest.json", "_SUCCESS"])
def test_the_manifest_is_refused(
    db, observer, s3, registry, workers, patient, proxied, proxy, bucket, file
):
    """All objects are visible then; without _SUCCESS, the run does not count.
    """
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    proxy.rule("PUT", f"/{file}$", times=None, response=s3_error(403, "AccessDenied"))
    error = failure(land_all, db, publish="together", server=proxied)
    assert error.pgcode == "42501"
    assert "whose objects are visible" in error.diag.context
    assert objects(s3, bucket) == [key_of("a"), key_of("b")]
    assert not any("_SUCCESS" in key for key in keys(s3, bucket))
    if workers == WORKERS:
        assert last_history(observer) == {"a": "done", "b": "done"}
    no_worker_left(observer)


def test_aborts_that_are_refused(
    pg, observer, rgw, s3, registry, workers, proxied, proxy, bucket
):
    """A WARNING names the uploads that are left; onboard_abort_uploads() finds
    them."""
    register(
        observer, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n",
        c="SELECT 1 / (pg_advisory_xact_lock(42) IS NULL)::int AS n",
    )
    session = pg.connect("onboard")
    select(session, f"SET onboard.parallel_tables = {workers}")
    select(observer, "SELECT pg_advisory_lock(42)")
    proxy.rule("DELETE", times=None, response=s3_error(403, "AccessDenied"))
    options = json.dumps({"publish": "together", "server": proxied})
    with Running(session, TOGETHER, (options,)) as run:
        process.wait_until(
            lambda: len(rgw.unfinished(bucket)) == 2, 30, "two have landed"
        )
        select(observer, "SELECT pg_advisory_unlock(42)")
        found = run.rows()
    text = "".join(session.notices)
    session.close()
    assert statuses(found) == {
        "a": "withheld", "b": "withheld", "c": "failed"
    }
    assert len(rgw.unfinished(bucket)) == 2
    assert "could not abort the upload" in text
    assert "onboard_abort_uploads() removes" in text
    assert "2 uploads of the run could not be aborted" in text
    swept = select(
        observer, "SELECT * FROM onboard_abort_uploads(%s, '', '0 s')",
        (bucket,),
    )
    assert len(swept) == 2
    assert keys(s3, bucket) == []


def test_many_aborts_take_their_time(
    db, rgw, s3, registry, workers, proxied, proxy, bucket
):
    """The clean-up has no short time limit: the store completes it."""
    names = [f"t{n}" for n in range(6)]
    register(db, bucket, **{name: "SELECT 1 AS n" for name in names})
    register(db, bucket, wrong="SELECT 1 / (pg_sleep(2) IS NULL)::int")
    proxy.rule("DELETE", delay=1.5, times=None)
    found = land_all(db, publish="together", server=proxied, connections=1)
    assert statuses(found) == {
        **dict.fromkeys(names, "withheld"), "wrong": "failed"
    }
    assert rgw.unfinished(bucket) == []
    assert "could not abort" not in "".join(db.notices)


def test_an_object_that_comes_meanwhile(
    pg, db, observer, rgw, s3, registry, workers, bucket
):
    """With "overwrite": "error", an object that appears late is not replaced,
    either."""
    register(
        db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n",
        c="SELECT pg_advisory_xact_lock(42) IS NULL AS n",
    )
    session = pg.connect("onboard")
    select(session, f"SET onboard.parallel_tables = {workers}")
    select(observer, "SELECT pg_advisory_lock(42)")
    options = json.dumps({"publish": "together", "overwrite": "error",
                          "connections": 1})
    waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory'"
    with Running(session, TOGETHER, (options,)) as run:
        process.wait_until(
            lambda: select(observer, waits)
            and len(rgw.unfinished(bucket)) == 2,
            30, "two have landed"
        )
        s3.put_object(Bucket=bucket, Key=key_of("a"), Body=b"mine")
        select(observer, "SELECT pg_advisory_unlock(42)")
        found = run.rows()
    session.close()
    assert statuses(found) == {
        "a": "failed", "b": "withheld", "c": "withheld"
    }
    error = {row["name"]: row["error"] for row in found}["a"]
    assert "an object of that name exists already" in error
    assert body(s3, bucket, key_of("a")) == b"mine"
    assert objects(s3, bucket) == [key_of("a")]
    no_upload_left(rgw, bucket)


def test_overwrite_error(db, rgw, s3, registry, workers, bucket):
    """The check is made before the export, and again at publication."""
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    s3.put_object(Bucket=bucket, Key=key_of("b"), Body=b"mine")
    found = land_all(db, publish="together", overwrite="error")
    assert found[1]["status"] == "failed"
    assert found[0]["status"] == "withheld"
    assert objects(s3, bucket) == [key_of("b")]
    assert body(s3, bucket, key_of("b")) == b"mine"
    no_upload_left(rgw, bucket)


# Cancels and terminations


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_ended_while_tables_are_exported(
    pg, observer, rgw, s3, registry, bucket, db, how, workers
):
    # Tests of jobs leave rows with status lost.
    select(observer, "DELETE FROM onboard_history")
    register(db, bucket, a="SELECT 1 AS n", b=SLEEPS, c="SELECT 3 AS n")
    session = pg.connect("onboard")
    select(session, f"SET onboard.parallel_tables = {workers}")
    with Running(
        session, TOGETHER, (json.dumps({"publish": "together"}),)
    ) as run:
        wait_for_sleep(observer)
        if workers == WORKERS:
            # their history is written once the outcome is known
            process.wait_until(
                lambda: len(rgw.unfinished(bucket)) == 3
                and value(observer, "SELECT count(*) FROM onboard_progress") == 1,
                30, "two have landed"
            )
        select(observer, f"SELECT pg_{how}_backend(%s)", (run.pid,))
        error = run.error()
    assert how == "terminate" or error.pgcode == "57014"
    session.close()
    no_upload_left(rgw, bucket)
    no_worker_left(observer)
    assert keys(s3, bucket) == []
    if workers == WORKERS:
        found = last_history(observer)
        assert found.pop("b") == "failed"
        assert set(found.values()) <= {"withheld"}
    assert value(
        observer, "SELECT count(*) FROM onboard_runs"
        " WHERE status IN ('running', 'lost')"
    ) == 0


def test_terminated_with_temporary_tables(
    pg, observer, rgw, s3, registry, bucket, db
):
    """The callback that removes temporary tables at the backend's end aborts
    the transaction, which frees the query's memory first: the run, whose
    objects are held, must still be aborted."""
    register(db, bucket, a="SELECT 1 AS n", b=SLEEPS)
    session = pg.connect("onboard")
    land(session, "first", "SELECT 1 AS n", bucket)
    select(session, "CREATE TEMPORARY TABLE passing (a int)")
    with Running(
        session, TOGETHER, (json.dumps({"publish": "together"}),)
    ) as run:
        wait_for_sleep(observer)
        assert len(rgw.unfinished(bucket)) == 2
        select(observer, "SELECT pg_terminate_backend(%s)", (run.pid,))
        run.error()
    session.close()
    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == [key_of("first")]


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_ended_while_it_is_published(
    pg, observer, rgw, s3, registry, bucket, db, proxied, proxy, how, workers
):
    """A WARNING names the visible objects."""
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n",
             c="SELECT 3 AS n")
    # S3 has not received it, but onboard cannot know that.
    rule = proxy.rule("POST", complete_of("b"), hold=True, when="request")
    session = pg.connect("onboard")
    select(session, f"SET onboard.parallel_tables = {workers}")
    options = {"publish": "together", "server": proxied, "connections": 1}
    before = len(pg.log_text())
    with Running(session, TOGETHER, (json.dumps(options),)) as run:
        rule.wait()
        select(observer, f"SELECT pg_{how}_backend(%s)", (run.pid,))
        run.error()
    session.close()
    no_worker_left(observer)
    no_upload_left(rgw, bucket)
    assert objects(s3, bucket) == keys(s3, bucket) == [key_of("a")]
    text = pg.log_text()[before:]
    assert "the run was published in part" in text
    assert (
        'Visible: "a". Perhaps visible: "b". Not visible: "c".' in text
    )
    if workers == WORKERS:
        assert last_history(observer) == {
            "a": "done", "b": "failed", "c": "withheld"
        }


def test_ended_with_names_that_the_client_cannot_read(
    pg, observer, rgw, s3, registry, bucket, db, proxied, proxy, workers
):
    """The WARNING cannot be converted, but that raises no error, so the history
    has the visible objects."""
    names = ["\u8868a", "\u8868b", "\u8868c"]
    register(db, bucket, **{name: "SELECT 1 AS n" for name in names})
    rule = proxy.rule("POST", "A8b_data.*uploadId=", hold=True, when="request")
    session = pg.connect("onboard")
    select(session, f"SET onboard.parallel_tables = {workers}")
    session.set_client_encoding("LATIN1")
    options = {"publish": "together", "server": proxied, "connections": 1}
    with Running(session, TOGETHER, (json.dumps(options),)) as run:
        rule.wait()
        select(observer, f"SELECT pg_cancel_backend({run.pid})")
        assert run.error().pgcode == "57014"
    (warning,) = session.notices
    assert 'Visible: "?a". Perhaps visible: "?b". Not visible: "?c".' in warning
    session.close()
    no_worker_left(observer)
    no_upload_left(rgw, bucket)
    if workers == WORKERS:
        assert last_history(observer) == dict(
            zip(names, ["done", "failed", "withheld"])
        )


def test_published_in_part_with_names_that_the_client_cannot_read(
    db, registry, workers, proxied, proxy, bucket
):
    names = ["\u8868a", "\u8868b"]
    register(db, bucket, **{name: "SELECT 1 AS n" for name in names})
    proxy.rule("POST", "A8b_data.*uploadId=", times=None,
               response=s3_error(403, "AccessDenied"))
    db.set_client_encoding("LATIN1")
    options = {"publish": "together", "server": proxied, "connections": 1}
    error = failure(land_all, db, **options)
    assert error.pgcode == "38000"
    assert error.diag.message_detail == 'Visible: "?a". Not visible: "?b".'


def test_a_worker_is_terminated(
    db, observer, rgw, s3, registry, bucket
):
    """The worker is terminated in the middle of its table, which fails."""
    register(db, bucket, a="SELECT 1 AS n", b=SLEEPS, c="SELECT 3 AS n")
    with Running(db, TOGETHER, (json.dumps({"publish": "together"}),)) as run:
        pid = wait_for_sleep(observer)
        select(observer, "SELECT pg_terminate_backend(%s)", (pid,))
        found = run.rows()
    assert statuses(found)["b"] == "failed"
    assert set(statuses(found).values()) == {"failed", "withheld"}
    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == []
    assert history(observer, found[0]["run_id"]) == statuses(found)


def test_waiting_workers_are_terminated(
    db, observer, s3, registry, bucket
):
    """Their held uploads belong to the leader, which publishes them."""
    register(
        db, bucket, a="SELECT 1 AS n", b=rows(7),
        c="SELECT pg_advisory_xact_lock(42) IS NULL AS n",
    )
    select(observer, "SELECT pg_advisory_lock(42)")
    waiting = (
        "SELECT pid FROM pg_stat_activity"
        " WHERE backend_type = 'onboard worker' AND state = 'idle'"
    )
    with Running(db, TOGETHER, (json.dumps({"publish": "together"}),)) as run:
        process.wait_until(
            lambda: len(select(observer, waiting)) == 2, 30, "two wait"
        )
        for row in select(observer, waiting):
            select(observer, "SELECT pg_terminate_backend(%s)", (row["pid"],))
        process.wait_until(
            lambda: len(select(observer, waiting)) == 0, 30, "they are gone"
        )
        select(observer, "SELECT pg_advisory_unlock(42)")
        found = run.rows()
    assert set(statuses(found).values()) == {"done"}
    assert body(s3, bucket, key_of("b")) == copy(db, rows(7))
    assert manifest(s3, bucket, found[0]["run_id"])["success"]
    assert history(observer, found[0]["run_id"]) == statuses(found)


def test_the_callers_rollback(db, observer, s3, registry, bucket):
    """Visible objects stay visible, and the history says so."""
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    select(db, "BEGIN")
    found = land_all(db, publish="together")
    select(db, "ROLLBACK")
    assert history(observer, found[0]["run_id"]) == {"a": "done", "b": "done"}
    assert len(objects(s3, bucket)) == 2


def test_more_tables_than_workers(db, observer, s3, registry, bucket):
    """There are also more tables than Completes at a time."""
    register(db, bucket, **{f"t{n}": f"SELECT {n} AS n" for n in range(40)})
    found = land_all(db, publish="together", connections=3)
    assert set(statuses(found).values()) == {"done"}
    for n in range(40):
        assert body(s3, bucket, key_of(f"t{n}")) == b"n\n%d\n" % n
    assert history(observer, found[0]["run_id"]) == statuses(found)


def test_no_worker_is_free(pg, db, s3, registry, bucket):
    """The session exports the tables itself."""
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    select(db, "BEGIN; CREATE TABLE written AS SELECT 1")
    found = land_all(db, publish="together")
    select(db, "ROLLBACK")
    assert set(statuses(found).values()) == {"done"}
    assert len(objects(s3, bucket)) == 2


def test_a_job(db, observer, s3, registry, bucket):
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    for query, status in (("SELECT 2 AS n", "done"), ("SELECT 1/0", "failed")):
        select(db, "UPDATE onboard_tables SET query = %s WHERE name = 'b'",
               (query,))
        run_id = value(
            db, "SELECT onboard_submit_all(NULL,"
            """ '{"publish": "together"}')"""
        )
        (row,) = select(db, "SELECT * FROM onboard_wait(%s, '60s')", (run_id,))
        assert row["status"] == status
        done = status == "done"
        assert history(observer, run_id) == (
            {"a": "done", "b": "done"} if done
            else {"a": "withheld", "b": "failed"}
        )
        assert bool(files(s3, bucket, run_id)) == done


# Increments


@pytest.fixture
def increments(db, registry, bucket):
    """Two registered tables with watermarks, and rows 1 and 2."""
    for name in ("i1", "i2"):
        select(
            db, f"CREATE TABLE {name} AS SELECT generate_series(1, 2) AS id"
        )
        select(
            db, "INSERT INTO onboard_tables (name, bucket, options)"
            """ VALUES (%s, %s, '{"key": "{name}/{run_id}",
            "watermark": {"column": "id"}}')""", (name, bucket),
        )
    yield
    select(db, "DROP TABLE i1, i2")


def marks(db):
    sql = "SELECT name, value FROM onboard_watermarks"
    return {row["name"]: row["value"] for row in select(db, sql)}


def test_increments_together(db, s3, increments, workers, bucket):
    found = land_all(db, publish="together")
    assert {row["rows"] for row in found} == {2}
    assert marks(db) == {"i1": "2", "i2": "2"}
    select(db, "INSERT INTO i1 VALUES (3)")
    found = land_all(db, publish="together")
    assert statuses(found) == {"i1": "done", "i2": "empty"}
    assert marks(db) == {"i1": "3", "i2": "2"}


def test_withheld_increments_come_again(db, s3, increments, workers, bucket):
    register(db, bucket, wrong="SELECT 1 / 0 AS n")
    found = land_all(db, publish="together")
    assert "failed" in statuses(found).values()
    assert marks(db) == {}
    select(db, "DELETE FROM onboard_tables WHERE name = 'wrong'")
    assert {row["rows"] for row in land_all(db, publish="together")} == {2}
    assert marks(db) == {"i1": "2", "i2": "2"}


@pytest.mark.parametrize("what", ["complete", "manifest", "success"])
def test_increments_end_with_the_run(
    db, s3, increments, workers, patient, proxied, proxy, bucket, what
):
    """Watermarks do not move before _SUCCESS exists: until then, no reader uses
    the objects."""
    method, pattern = {
        "complete": ("POST", "i2.*uploadId="),
        "manifest": ("PUT", "/manifest.json"),
        "success": ("PUT", "/_SUCCESS"),
    }[what]
    proxy.rule(method, pattern, times=None,
               response=s3_error(403, "AccessDenied"))
    failure(land_all, db, publish="together", server=proxied, connections=1)
    assert marks(db) == {}
    assert {row["rows"] for row in land_all(db, publish="together")} == {2}
    assert marks(db) == {"i1": "2", "i2": "2"}


# The documentation


def recipe(language):
    """The blocks of the section "Atomic runs" in that language."""
    docs = pathlib.Path(__file__).parents[2] / "docs" / "operations.md"
    section = docs.read_text().split("## Atomic runs\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.S)


def test_the_recipe(db, s3, registry, bucket):
    """Its reader sees complete runs, each once, and nothing of others."""
    keys_of_runs, publish, why = recipe("sql")
    (source,) = recipe("python")
    reader = {}
    exec(source, reader)
    seen = set()

    def runs():
        return list(reader["new_runs"](s3, bucket, "", seen))

    register(db, bucket, a="SELECT 1 AS n", b="SELECT 1 AS n WHERE false")
    select(db, keys_of_runs)
    assert runs() == []
    select(db, publish)
    (run,) = runs()
    tables = {table["name"]: table for table in run["tables"]}
    assert reader["read"](s3, tables["a"]) == b"n\n1\n"
    assert reader["read"](s3, tables["b"]) is None
    assert runs() == []

    select(db, "UPDATE onboard_tables SET query = 'SELECT 1 / 0 AS n'"
           " WHERE name = 'b'")
    failure(select, db, publish)
    assert runs() == []
    assert sorted(
            (row["name"], row["status"]) for row in select(db, why)
        ) == [
        ("a", "withheld"), ("b", "failed")
    ]
    select(db, "UPDATE onboard_tables SET query = 'SELECT 2 AS n'")
    select(db, publish)
    (again,) = runs()
    assert again["run_id"] != run["run_id"]
    assert reader["read"](s3, tables["a"]) == b"n\n1\n"
    # A _SUCCESS that came late is beside a manifest that reports the failure.
    for file, text in (("_SUCCESS", b""), ("manifest.json", b'{"success": false}')):
        s3.put_object(Bucket=bucket, Key=file_of("late", file), Body=text)
    assert runs() == []
    # It detects an object that has replaced the landed one.
    bucket_, _, key = again["tables"][0]["uri"][5:].partition("/")
    s3.put_object(Bucket=bucket_, Key=key, Body=b"n\n3\n")
    with pytest.raises(ValueError):
        reader["read"](s3, again["tables"][0])


# Standbys


def test_on_a_standby(pg, db, s3, registry, bucket):
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    select(db, "SET synchronous_commit = on; UPDATE onboard_tables"
           " SET enabled = true")
    standby = pg.standby().start()
    try:
        standby.wait_for_replay(pg)
        session = standby.connect("onboard")
        for count in (SERIAL, WORKERS):
            select(session, f"SET onboard.parallel_tables = {count}")
            found = land_all(session, publish="together")
            assert statuses(found) == {"a": "done", "b": "done"}
            content = manifest(s3, bucket, found[0]["run_id"])
            assert content["success"]
        session.close()
    finally:
        standby.close()
