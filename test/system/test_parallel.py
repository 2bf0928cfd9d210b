"""One query that several processes export: the sink under Gather.

The expected rows are those of COPY of the same query; as in any parallel plan,
their order is undefined, so lines are compared as a multiset.
"""

import io
import json
import subprocess
import zlib

import lz4.frame
import pytest
import zstandard

from landing import assert_same
from lib.exports import (
    ABORT_BOUND, EAGER, Running, body, call, copy, failure, keys, land, select,
    value,
)
from lib.process import wait_until

TABLES = """
    CREATE TABLE big AS
        SELECT g, g % 1000 AS k, 'row ' || g AS t, g * 1.01 AS n,
            CASE WHEN g % 7 = 0 THEN NULL ELSE repeat('x', g % 90) END AS x,
            timestamptz '2026-01-01' + g * interval '1 second' AS at
        FROM generate_series(1, 300000) g;
    CREATE TABLE keys AS
        SELECT g AS k, 'key ' || g AS name FROM generate_series(0, 1500) g;
    CREATE TABLE parts (k int, t text) PARTITION BY RANGE (k);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (50000);
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (50000) TO (90000);
    CREATE TABLE parts_3 PARTITION OF parts DEFAULT;
    INSERT INTO parts SELECT g, 'p' || g FROM generate_series(1, 120000) g;
    -- as if it could run anywhere, which no statement can that may write
    CREATE FUNCTION unsafe(i int) RETURNS int LANGUAGE plpgsql
        PARALLEL SAFE AS $$
        BEGIN
            IF i % 1000 = 0 THEN DELETE FROM parts WHERE false; END IF;
            RETURN i;
        END $$;
    CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql
        PARALLEL SAFE AS $$
        BEGIN
            IF i % 20000 = 0 THEN PERFORM pg_sleep(2); END IF;
            RETURN i;
        END $$;
    ANALYZE;
"""

QUERIES = {
    "scan": "SELECT * FROM big",
    "filter": "SELECT t, g FROM big WHERE g % 3 = 0",
    "expressions": "SELECT g + 1 AS a, upper(t) AS b, n / 7 AS c FROM big",
    "hash join": "SELECT b.g, b.x, k.name FROM big b JOIN keys k USING (k)",
    "semi-join":
        "SELECT g, t FROM big b WHERE EXISTS"
        " (SELECT FROM keys k WHERE k.k = b.k AND k.k % 2 = 0)",
    "partitions": "SELECT * FROM parts",
    "union all": "SELECT k, t FROM parts UNION ALL SELECT g, t FROM big",
    "scalar subquery":
        "SELECT g, t FROM big WHERE g > (SELECT avg(k) FROM keys)",
    "nulls and long rows": "SELECT x, repeat(t, 50) AS r, x FROM big",
    "one row": "SELECT * FROM big WHERE g = 4711",
}


@pytest.fixture(scope="module", autouse=True)
def tables(pg):
    pg.psql(TABLES, "onboard")
    yield
    pg.psql(
        "DROP TABLE big, keys, parts; DROP FUNCTION unsafe; DROP FUNCTION slow",
        "onboard",
    )


@pytest.fixture
def eager(db):
    db.cursor().execute(EAGER)
    return db


def has_sink(db, query, **options):
    """Whether onboard_explain() reports that workers export the query."""
    lines = select(
        db, "SELECT line FROM onboard_explain(%s, %s) line",
        (query, json.dumps(options)),
    )
    return lines[0]["line"].startswith("Sink: below Gather")


def test_why_there_is_no_room_for_workers(eager):
    eager.cursor().execute("SET onboard.upload_memory = '10MB'")
    lines = select(
        eager, "SELECT line FROM onboard_explain('SELECT * FROM big',"
        """ '{"parallel": 2, "part_size": "5MB"}') line""",
    )
    assert "onboard.upload_memory" in lines[0]["line"]


def assert_same_lines(landed, expected, header=True):
    landed, expected = landed.split(b"\n"), expected.split(b"\n")
    assert landed[-1] == expected[-1] == b""
    if header:
        assert landed[0] == expected[0]
    assert len(landed) == len(expected)
    assert sorted(landed) == sorted(expected)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
@pytest.mark.parametrize("parallel", ["auto", 1])
def test_same_lines(eager, s3, bucket, query, parallel):
    assert has_sink(eager, query, parallel=parallel)
    result = land(
        eager, "t", query, bucket, parallel=parallel, part_size="5MB"
    )
    landed = body(s3, bucket, keys(s3, bucket)[0])
    assert_same_lines(landed, copy(eager, query))
    assert result["bytes"] == len(landed)
    assert result["rows"] == value(eager, f"SELECT count(*) FROM ({query}) q")


CODECS = ["gzip", "zstd", "lz4"]


def frames(compression, data):
    """The data that a reader has at the end of each frame or member."""
    found = []
    while data:
        if compression == "gzip":
            reader = zlib.decompressobj(31)
        elif compression == "zstd":
            reader = zstandard.ZstdDecompressor().decompressobj()
        else:
            reader = lz4.frame.LZ4FrameDecompressor()
        found.append(reader.decompress(data))
        assert reader.eof
        data = reader.unused_data or b""
    return found


def by_tool(compression, data):
    tested = subprocess.run(
        [compression, "-t"], input=data, capture_output=True
    )
    assert tested.returncode == 0, tested.stderr
    return subprocess.run(
        [compression, "-dc"], input=data, stdout=subprocess.PIPE, check=True
    ).stdout


def land_frames(db, s3, bucket, query, **options):
    """Returns the object decompressed by the tool, its frames, and the number
    of parts."""
    compression = options["compression"]
    assert has_sink(db, query, **options)
    result = land(db, "t", query, bucket, key="k", part_size="5MB", **options)
    data = body(s3, bucket, "k")
    assert result["bytes"] == len(data)
    plain = by_tool(compression, data)
    found = frames(compression, data)
    assert b"".join(found) == plain
    tag = s3.head_object(Bucket=bucket, Key="k")["ETag"].strip('"')
    return plain, found, int(tag.rpartition("-")[2]) if "-" in tag else 0


MANY = "SELECT *, md5(t) AS m, md5(g::text) AS n2 FROM big"


@pytest.mark.parametrize("compression, level, workers", [
    ("gzip", 1, 1), ("gzip", 1, 4), ("gzip", 3, 2), ("gzip", 5, 2),
    ("zstd", 1, 1), ("zstd", 1, 4), ("zstd", 5, 2),
    ("lz4", 0, 1), ("lz4", 0, 4), ("lz4", 5, 2),
])
def test_compressed(eager, s3, bucket, compression, level, workers):
    """The processes together make one valid file.  gzip and lz4 make one member
    or frame, so that a reader that stops at its end has all rows; zstd makes at
    most as many frames as there are parts and tails, each with rows."""
    plain, found, parts = land_frames(
        eager, s3, bucket, MANY, compression=compression,
        compression_level=level, parallel=workers,
    )
    assert_same_lines(plain, copy(eager, MANY))
    assert parts > 1
    if compression != "zstd":
        assert len(found) == 1
        return
    assert 1 < len(found) <= parts + workers
    for number, frame in enumerate(found):
        assert frame.endswith(b"\n")
        assert frame.count(b"\n") > (100 if number == 0 else 0)


@pytest.mark.parametrize("format", [
    "csv", "csv without header", "text", "jsonl", "binary"
])
@pytest.mark.parametrize("compression", CODECS)
def test_first_frame_has_rows(eager, s3, bucket, compression, format):
    """This holds even if no process has enough rows for a part: then all rows
    are in the last one."""
    options = {"format": format}
    if format == "csv without header":
        options = {"format": "csv", "header": False}
    for rows in "g = 4711", "g % 100 = 0":
        query = f"SELECT g, t, md5(t) FROM big WHERE {rows}"
        land(eager, "t", query, bucket, key="plain", parallel="off", **options)
        expected = body(s3, bucket, "plain")
        plain, found, parts = land_frames(
            eager, s3, bucket, query, compression=compression, parallel=2,
            **options
        )
        assert parts == 1
        assert len(plain) == len(expected)
        # Rows of binary have no order, either, and no line ends by which to
        # split them.
        if rows == "g = 4711" or format != "binary":
            assert sorted(plain.split(b"\n")) == sorted(expected.split(b"\n"))
        head = b"PGCOPY" if format == "binary" else b"g,t"
        assert found[0].startswith(head) == (format in ("csv", "binary"))
        assert b"row " in found[0]
        assert len(found) == 1 or compression == "zstd"


@pytest.mark.parametrize("setting", [
    "max_parallel_workers = 0", "parallel_leader_participation = off",
])
@pytest.mark.parametrize("compression", CODECS)
def test_compressed_by_session_or_worker(
    eager, s3, bucket, compression, setting
):
    """Only the session exports, or only the worker, which leaves the session a
    tail."""
    eager.cursor().execute("SET " + setting)
    plain, found, parts = land_frames(
        eager, s3, bucket, MANY, compression=compression, parallel=1
    )
    assert_same_lines(plain, copy(eager, MANY))
    assert parts > 1
    assert len(found) == (parts if compression == "zstd" else 1)


@pytest.mark.parametrize("compression", CODECS)
def test_compressed_without_rows(eager, s3, bucket, compression):
    query = "SELECT * FROM big WHERE g < 0"
    plain, found, parts = land_frames(
        eager, s3, bucket, query, compression=compression, empty="write"
    )
    assert plain == copy(eager, query)
    assert len(found) == 1


@pytest.mark.parametrize("format", ["text", "jsonl"])
def test_formats(eager, s3, bucket, format):
    query = "SELECT * FROM big"
    assert has_sink(eager, query, format=format)
    land(eager, "t", query, bucket, format=format, parallel=2)
    landed = body(s3, bucket, keys(s3, bucket)[0])
    if format == "jsonl":
        rows = select(
            eager, f"SELECT row_to_json(q)::text AS line FROM ({query}) q"
        )
        expected = "".join(row["line"] + "\n" for row in rows).encode()
    else:
        expected = copy(eager, query, "FORMAT text")
    assert_same_lines(landed, expected, header=False)


def test_binary(eager, s3, bucket):
    """COPY FROM reads the same rows back."""
    query = "SELECT g, t, n FROM big"
    assert has_sink(eager, query, format="binary")
    land(eager, "t", query, bucket, format="binary", parallel=2)
    landed = body(s3, bucket, keys(s3, bucket)[0])
    assert len(landed) == len(copy(eager, query, "FORMAT binary"))
    with eager.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE back (g int, t text, n numeric)")
        cursor.copy_expert(
            "COPY back FROM STDIN (FORMAT binary)", io.BytesIO(landed)
        )
        cursor.execute(
            f"SELECT count(*) FROM ({query} EXCEPT ALL SELECT * FROM back) d"
        )
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM back")
        assert cursor.fetchone() == (300000,)


def test_binary_in_another_encoding(eager, s3, bucket):
    """Send functions convert to the client's encoding, which workers do not
    know, so the session exports alone."""
    query = "SELECT g, t || U&'\\00e9' AS e, to_jsonb(t) AS j FROM big"
    assert has_sink(eager, query, format="binary")
    eager.cursor().execute("SET client_encoding = 'LATIN1'")
    assert not has_sink(eager, query, format="binary")
    assert has_sink(eager, query, format="text")
    for format in "binary", "text":
        land(eager, "t", query, bucket, parallel=2, format=format, key=format)
    landed = body(s3, bucket, "binary")
    assert b"\xe9" in landed
    assert_same(landed, copy(eager, query, "FORMAT binary"))
    landed = body(s3, bucket, "text")
    assert_same_lines(landed, copy(eager, query, "FORMAT text"), header=False)
    eager.cursor().execute("SET client_encoding = 'SQL_ASCII'")
    assert has_sink(eager, query, format="binary")


def test_no_header(eager, s3, bucket):
    query = "SELECT g FROM big"
    land(eager, "t", query, bucket, header=False, parallel=2)
    landed = body(s3, bucket, keys(s3, bucket)[0])
    expected = copy(eager, query, "FORMAT csv")
    assert_same_lines(landed, expected, header=False)


def test_empty(eager, s3, bucket):
    query = "SELECT * FROM big WHERE g < 0"
    assert has_sink(eager, query)
    assert land(eager, "t", query, bucket)["status"] == "empty"
    assert keys(s3, bucket) == []
    result = land(eager, "t", query, bucket, empty="write")
    assert (result["status"], result["rows"]) == ("done", 0)
    landed = body(s3, bucket, keys(s3, bucket)[0])
    assert landed == copy(eager, query)


def test_order_is_kept(eager, s3, bucket):
    query = "SELECT * FROM big ORDER BY t"
    assert not has_sink(eager, query)
    land(eager, "t", query, bucket, parallel=2)
    assert body(s3, bucket, keys(s3, bucket)[0]) == copy(eager, query)


@pytest.mark.parametrize("setting", [
    "max_parallel_workers = 0", "parallel_leader_participation = off",
])
def test_session_or_workers_alone(eager, s3, bucket, setting):
    """If no worker is available, the session exports alone; or the workers do.
    """
    query = "SELECT * FROM big"
    eager.cursor().execute("SET " + setting)
    assert has_sink(eager, query)
    land(eager, "t", query, bucket, parallel=2)
    assert_same_lines(
        body(s3, bucket, keys(s3, bucket)[0]), copy(eager, query)
    )


def test_uncommitted_rows(eager, s3, bucket):
    """Workers see uncommitted rows of the transaction."""
    with eager.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("CREATE TABLE mine AS SELECT * FROM big")
        cursor.execute("INSERT INTO mine SELECT * FROM big WHERE g < 10")
        cursor.execute("ANALYZE mine")
        assert has_sink(eager, "SELECT * FROM mine")
        result = land(eager, "t", "SELECT * FROM mine", bucket, parallel=2)
        cursor.execute("ROLLBACK")
    assert result["rows"] == 300009


def test_not_overwriting(eager, rgw, s3, bucket):
    query = "SELECT * FROM big"
    options = {"parallel": 2, "overwrite": "error", "key": "k"}
    assert land(eager, "t", query, bucket, **options)["rows"] == 300000
    landed = body(s3, bucket, "k")
    error = failure(land, eager, "t", query, bucket, **options)
    assert error.pgcode == "58P02"
    assert "exists already" in error.diag.message_primary
    assert body(s3, bucket, "k") == landed
    assert rgw.unfinished(bucket) == []
    assert no_workers(eager)


def settled(rgw, bucket):
    """Nothing landed, and S3 forgot the upload."""
    wait_until(
        lambda: not rgw.unfinished(bucket), ABORT_BOUND, "no upload is left"
    )
    assert keys(rgw.s3, bucket) == []


def no_workers(db):
    return 0 == value(
        db,
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'parallel worker'",
    )


@pytest.mark.parametrize("at", [1, 150000, 299999])
def test_error_in_a_worker(eager, rgw, s3, bucket, at):
    query = f"SELECT g, repeat(t, 20), 1 / (g - {at}) FROM big"
    assert has_sink(eager, query)
    error = failure(
        land, eager, "t", query, bucket, parallel=2, part_size="5MB"
    )
    assert error.pgcode == "22012"
    settled(rgw, bucket)
    assert no_workers(eager)
    assert land(eager, "t", "SELECT * FROM big", bucket)["rows"] == 300000


def test_error_caught(eager, rgw, bucket):
    with eager.cursor() as cursor:
        cursor.execute(
            f"""
            DO $$ BEGIN
                PERFORM onboard_table('t', 'SELECT g, repeat(t, 20),
                    1 / (g - 290000) FROM big', '{bucket}',
                    '{{"parallel": 2, "part_size": "5MB"}}');
            EXCEPTION WHEN division_by_zero THEN
                PERFORM onboard_table('u', 'SELECT g FROM big', '{bucket}');
            END $$
            """
        )
    wait_until(
        lambda: not rgw.unfinished(bucket), ABORT_BOUND, "no upload is left"
    )
    assert keys(rgw.s3, bucket) == ["u/data/inbox/u_data.csv"]


SLOW = "SELECT slow(g), repeat(t, 30) FROM big"


def worker_pids(db, leader):
    rows = select(
        db, "SELECT pid FROM pg_stat_activity WHERE leader_pid = %s", (leader,)
    )
    return [row["pid"] for row in rows if row["pid"] != leader]


ENDS = {
    "cancel": ("pg_cancel_backend", "57014"),
    "terminate a worker": ("pg_terminate_backend", "57P01"),
    "terminate": ("pg_terminate_backend", None),
}


@pytest.mark.parametrize("how", ENDS)
def test_ended_by_another_session(pg, db, rgw, bucket, how):
    function, sqlstate = ENDS[how]
    other = pg.connect("onboard")
    other.cursor().execute(EAGER)
    export = call("t", SLOW, bucket, parallel=2, part_size="5MB")
    with Running(other, *export) as running:
        wait_until(lambda: worker_pids(db, running.pid), 20, "workers run")
        target = running.pid
        if how == "terminate a worker":
            target = worker_pids(db, running.pid)[0]
        assert value(db, f"SELECT {function}(%s)", (target,))
        error = running.error(20)
    # psycopg2 has no SQLSTATE for a lost connection.
    assert error.pgcode in (sqlstate, "57P01")
    settled(rgw, bucket)
    wait_until(lambda: no_workers(db), 10, "no worker is left")
    other.close()


def test_wrongly_safe(eager, rgw, bucket):
    error = failure(
        land, eager, "t", "SELECT unsafe(g) FROM big", bucket, parallel=2
    )
    assert error.pgcode == "25000"
    assert "parallel => off" in error.diag.message_hint
    settled(rgw, bucket)
    result = land(
        eager, "t", "SELECT unsafe(g) FROM big", bucket, parallel="off"
    )
    assert result["rows"] == 300000


def test_secrets_are_not_in_the_plan(eager, bucket, canaries, cluster):
    """Even a log with the plan, also the workers' plan, contains no secret."""
    eager.cursor().execute(
        "SET debug_print_plan = on; SET log_min_messages = log;"
        "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0;"
        "SET auto_explain.log_verbose = on;"
        "SET auto_explain.log_nested_statements = on"
    )
    land(eager, "t", "SELECT * FROM big", bucket, parallel=2)
    log = cluster.log_text()
    assert "OnboardSink" in log
    assert not [secret for secret in canaries if secret in log]


NESTED = """
    CREATE FUNCTION nested(bucket text) RETURNS int
        LANGUAGE plpgsql {} PARALLEL SAFE AS $$
        BEGIN
            PERFORM onboard_explain('SELECT 1');
            PERFORM onboard_table('inner', 'SELECT g FROM big', bucket,
                '{{"parallel": 2}}');
            BEGIN
                PERFORM onboard_table('inner', 'SELECT 1/0', bucket);
            EXCEPTION WHEN division_by_zero THEN NULL;
            END;
            RETURN 50000;
        END $$
"""


@pytest.fixture
def nested(db):
    yield lambda kind: select(db, NESTED.format(kind))
    select(db, "DROP FUNCTION nested")


def test_export_while_another_is_planned(eager, s3, bucket, nested):
    """The planner hook adds the sink only for the export's own query."""
    nested("IMMUTABLE")
    query = f"SELECT * FROM big WHERE g >= nested('{bucket}')"
    result = land(eager, "outer", query, bucket, parallel=2)
    assert result["rows"] == 250001
    assert keys(s3, bucket) == [
        "inner/data/inbox/inner_data.csv",
        "outer/data/inbox/outer_data.csv",
    ]


def test_export_while_another_is_started(eager, rgw, s3, bucket, nested):
    """A function that exports works where it prunes partitions; where workers
    would call it for each row, it is not safe."""
    nested("STABLE")
    query = f"SELECT * FROM parts WHERE k >= nested('{bucket}')"
    error = failure(land, eager, "outer", query, bucket, parallel=2)
    assert error.pgcode == "25000"
    assert "parallel => off" in error.diag.message_hint
    wait_until(
        lambda: not rgw.unfinished(bucket), ABORT_BOUND, "no upload is left"
    )
    assert keys(s3, bucket) == ["inner/data/inbox/inner_data.csv"]
