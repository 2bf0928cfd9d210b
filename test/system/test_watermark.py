"""Increments: option "watermark" of registered tables."""

import datetime
import json
import pathlib
import re

import pytest

from lib import process
from lib.exports import (
    Running, body, failure, keys, land, land_all, select, value,
    wait_for_event,
)
from lib.roles import may_land

KEY = "{name}/{run_id}.{ext}"


@pytest.fixture
def table(db, registry):
    """Makes a table with the given columns, which is dropped after the test."""
    made = []

    def make(columns, name="increments"):
        select(db, f"CREATE TABLE {name} ({columns})")
        made.append(name)
        return name

    yield make
    for name in made:
        select(db, f"DROP TABLE {name}")


def register(db, name, bucket, column, overlap=None, query=None, **options):
    watermark = {"column": column}
    if overlap is not None:
        watermark["overlap"] = overlap
    options = {"key": KEY, "header": False, "watermark": watermark, **options}
    select(
        db, "INSERT INTO onboard_tables VALUES (%s, %s, %s, %s)",
        (name, query, bucket, json.dumps(options)),
    )


def increment(db, s3, bucket, name="increments"):
    """Runs an increment; returns its sorted lines, or None if nothing lands."""
    (found,) = land_all(db, name)
    assert found["error"] is None
    if found["status"] == "empty":
        assert found["uri"] is None
        return None
    assert found["status"] == "done"
    landed = body(s3, bucket, found["uri"].split("/", 3)[3]).decode()
    lines = landed.splitlines()
    assert len(lines) == found["rows"]
    return sorted(lines)


def mark(db, name="increments"):
    sql = "SELECT value FROM onboard_watermarks WHERE name = %s"
    found = select(db, sql, (name,))
    return found[0]["value"] if found else None


# Basic behaviour of increments


def test_increments(db, s3, table, bucket):
    """The first increment has all rows; the next only greater values, or
    nothing; NULL never lands."""
    table("id int, at timestamptz")
    register(db, "increments", bucket, "at", query="SELECT id, at FROM increments")
    assert increment(db, s3, bucket) is None
    assert mark(db) is None
    select(
        db, "INSERT INTO increments VALUES (1, '2026-01-01 00:00+00'),"
        " (2, '2026-01-02 00:00+00'), (3, NULL)"
    )
    assert increment(db, s3, bucket) == [
        "1,2026-01-01 00:00:00+00", "2,2026-01-02 00:00:00+00"
    ]
    assert mark(db) == "2026-01-02 00:00:00+00"
    assert increment(db, s3, bucket) is None
    assert mark(db) == "2026-01-02 00:00:00+00"
    select(
        db, "INSERT INTO increments VALUES (4, '2026-01-02 00:00:00.000001+00'),"
        " (5, '2026-01-01 12:00+00'), (6, NULL)"
    )
    assert increment(db, s3, bucket) == ["4,2026-01-02 00:00:00.000001+00"]
    assert increment(db, s3, bucket) is None
    assert len(keys(s3, bucket)) == 2


def test_what_is_kept(db, rgw, s3, table, bucket):
    table("id int")
    register(db, "increments", bucket, "id")
    registered = value(db, "SELECT id FROM onboard_tables")
    select(db, "INSERT INTO increments VALUES (1), (2)")
    (first,) = land_all(db)
    (kept,) = select(db, "TABLE onboard_watermarks")
    age = datetime.datetime.now(datetime.timezone.utc) - kept.pop("landed")
    assert datetime.timedelta() <= age < datetime.timedelta(minutes=5)
    assert kept.pop("key")
    sql = "SELECT oid::bigint FROM pg_roles WHERE rolname = current_user"
    assert kept.pop("role_id") == value(db, sql)
    assert kept == {
        "name": "increments", "role": "postgres", "column_name": "id",
        "type": "integer", "value": "2", "uri": first["uri"],
        "run_id": first["run_id"], "table_id": registered,
        "query": "TABLE increments", "relations": "public.increments",
        "destination": f"localhost:{rgw.endpoint.rsplit(':', 1)[1]}/{bucket}",
        "row_security": "", "system_identifier": None, "ordering": "integer",
    }
    # The history has the registered query, not the bounded one.
    sql = "SELECT query FROM onboard_runs WHERE run_id = %s"
    assert value(db, sql, (first["run_id"],)) == "TABLE increments"


@pytest.mark.parametrize("workers", [0, 4])
def test_each_table_has_its_own(db, s3, table, bucket, workers):
    """Increments work in workers and in the session itself, beside whole
    tables."""
    names = [table("id int", f"t{n}") for n in range(6)]
    for n, name in enumerate(names):
        select(db, f"INSERT INTO {name} SELECT generate_series(1, {n + 1})")
        register(db, name, bucket, "id")
    register(db, "whole", bucket, "id", query="SELECT 7 AS id")
    select(db, "UPDATE onboard_tables SET options = options - 'watermark'"
           " WHERE name = 'whole'")
    select(db, f"SET onboard.parallel_tables = {workers}")
    found = {row["name"]: row["rows"] for row in land_all(db)}
    assert found == {f"t{n}": n + 1 for n in range(6)} | {"whole": 1}
    for n, name in enumerate(names):
        assert mark(db, name) == str(n + 1)
        select(db, f"INSERT INTO {name} VALUES ({n + 2})")
    found = {row["name"]: row["rows"] for row in land_all(db)}
    assert found == {f"t{n}": 1 for n in range(6)} | {"whole": 1}
    assert mark(db, "whole") is None


def test_onboard_table(db, s3, table, bucket):
    table("id int")
    register(db, "increments", bucket, "id")
    select(db, "INSERT INTO increments VALUES (1)")
    assert land(db, "increments", None, None)["rows"] == 1
    assert land(db, "increments", None, None)["status"] == "empty"
    assert mark(db) == "1"


def test_empty_is_written_on_request(db, s3, table, bucket):
    table("id int")
    register(db, "increments", bucket, "id", empty="write", header=True)
    (found,) = land_all(db)
    assert (found["status"], found["rows"]) == ("done", 0)
    assert mark(db) is None
    select(db, "INSERT INTO increments VALUES (1)")
    assert land_all(db)[0]["rows"] == 1
    (found,) = land_all(db)
    assert (found["status"], found["rows"], mark(db)) == ("done", 0, "1")
    assert body(s3, bucket, found["uri"].split("/", 3)[3]) == b"id\n"


def test_in_parallel(db, s3, table, bucket):
    """This also holds with the sink under Gather."""
    table("id int, pad text")
    select(
        db, "INSERT INTO increments"
        " SELECT g, repeat('x', 100) FROM generate_series(1, 200000) g"
    )
    select(db, "ANALYZE increments; SET min_parallel_table_scan_size = 0;"
           "SET parallel_setup_cost = 0")
    register(db, "increments", bucket, "id", query="SELECT id FROM increments",
             parallel=2)
    assert land_all(db)[0]["rows"] == 200000
    select(db, "INSERT INTO increments"
           " SELECT g, 'y' FROM generate_series(200001, 210000) g")
    assert len(increment(db, s3, bucket)) == 10000
    assert mark(db) == "210000"


QUERIES = {
    "semicolon": "SELECT id FROM increments ; ",
    "comment": "SELECT id FROM increments -- the end",
    "block": "SELECT id FROM increments /* ; */ ; -- ;",
    "table": "TABLE increments",
    "with": "WITH x AS (TABLE increments) SELECT * FROM x",
    "union": "SELECT id FROM increments UNION ALL SELECT 0 WHERE false",
    "order": "SELECT id FROM increments ORDER BY id DESC",
    "values": "SELECT column1 AS id FROM (VALUES (1), (2), (3)) v",
    "alias": "SELECT i.id FROM increments onboard_increment, increments i"
             " WHERE i.id = onboard_increment.id",
}


@pytest.mark.parametrize("form", QUERIES)
def test_queries(db, s3, table, bucket, form):
    """Any query that can be exported can be bounded."""
    table("id int")
    select(db, "INSERT INTO increments VALUES (1), (2), (3)")
    register(db, "increments", bucket, "id", query=QUERIES[form])
    assert increment(db, s3, bucket) == ["1", "2", "3"]
    assert increment(db, s3, bucket) is None


def test_odd_names(db, s3, table, bucket):
    """Names and values are quoted, or passed as parameters."""
    column = 'a"b\'); DROP TABLE increments; --'
    table('"{}" text'.format(column.replace('"', '""')))
    values = ["a'b", 'a"b', "a\\b", "$1", "'; DROP TABLE increments; --", "ä"]
    register(db, "increments", bucket, column, format="text")
    for text in sorted(values):
        select(db, "INSERT INTO increments VALUES (%s)", (text,))
        assert increment(db, s3, bucket) == [text.replace("\\", "\\\\")]
        assert mark(db) == text
    assert value(db, "SELECT count(*) FROM increments") == len(values)


# Types: the first, second and third value in their order

TYPES = {
    "smallint": ("-3", "0", "32767"),
    "integer": ("-3", "9", "10"),
    "bigint": ("-3", "9", "9223372036854775807"),
    "numeric": ("-0.5", "9.00000000000000000001", "10"),
    "numeric(10,2)": ("-0.50", "9.01", "10.00"),
    "real": ("-0.1", "0.1", "1e+30"),
    "double precision": ("-0.1", "0.1", "0.30000000000000004"),
    "date": ("0044-03-15 BC", "2026-02-01", "2026-10-01"),
    "timestamp": ("2026-02-01 00:00:00", "2026-02-01 00:00:00.000001",
                  "2026-10-01 00:00:00"),
    "timestamptz": ("2026-02-01 00:00:00+00", "2026-02-01 00:00:00.000001+00",
                    "294276-01-01 00:00:00+00"),
    "time": ("01:02:03", "01:02:03.5", "24:00:00"),
    "timetz": ("01:02:03+02", "01:02:03+00", "04:00:00-08"),
    "interval": ("-1 days", "1 day -00:00:01", "1 mon"),
    "text": ("", "A", "a"),
    "varchar(5)": ("A", "a", "b"),
    "character(3)": ("A  ", "a  ", "b  "),
    '"char"': ("A", "B", "a"),
    "name": ("A", "a", "b"),
    "bytea": ("\\x", "\\x00", "\\xff"),
    "uuid": ("00000000-0000-0000-0000-000000000000",
             "00000000-0000-0000-0000-00000000000f",
             "f0000000-0000-0000-0000-000000000000"),
    "boolean": ("f", "t", None),
    "oid": ("1", "9", "4294967295"),
    "inet": ("10.0.0.1", "10.0.0.9", "10.0.0.10"),
    "macaddr": ("08:00:2b:01:02:03", "08:00:2b:01:02:04", None),
    "bit(3)": ("001", "010", "111"),
    "bit varying": ("", "01", "1"),
    "money": ("-$1.00", "$9.00", "$1,000.00"),
    "pg_lsn": ("0/1", "0/9", "1/0"),
    "xid8": ("1", "9", "10"),
    "tsvector": ("'a'", "'a' 'b'", None),
    "jsonb": ('"a"', "1", "true"),
    "integer[]": ("{1}", "{1,2}", "{2}"),
    "int4range": ("empty", "[1,2)", "[1,3)"),
    "mood": ("sad", "ok", "happy"),
    "short": ("a", "b", "c"),
    "feeling": ("sad", "ok", "happy"),
    "pair": ("(1,)", '(2,"b c")', "(2,)"),
}
# Types whose values many rows share, so that ties must land again.
COARSE = {
    "date", "time", "timetz", '"char"', "boolean", "mood", "feeling",
}


@pytest.fixture
def types(db):
    select(
        db, "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');"
        "CREATE DOMAIN short AS varchar(3) COLLATE \"C\" CHECK (VALUE <> '');"
        "CREATE DOMAIN feeling AS mood;"
        "CREATE TYPE pair AS (a int, b text)"
    )
    yield
    select(db, "DROP DOMAIN short, feeling; DROP TYPE mood, pair")


# Settings of the reading session that change a value's text.
SETTINGS = (
    "SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Kolkata';"
    "SET intervalstyle = 'sql_standard'; SET extra_float_digits = -3;"
    "SET bytea_output = 'escape'; SET search_path = pg_catalog, public"
)


@pytest.mark.parametrize("type_", TYPES)
def test_types(pg, db, s3, types, table, bucket, type_):
    """All types that btree can sort: values are kept as text, and read back
    unchanged."""
    table(f"id int, v {type_}")
    coarse = type_ in COARSE
    register(db, "increments", bucket, "v", 0 if coarse else None,
             query="SELECT id, v FROM public.increments")
    other = pg.connect("onboard")
    select(other, SETTINGS)
    try:
        for n, text in enumerate(TYPES[type_]):
            if text is None:
                continue
            select(db, "INSERT INTO increments VALUES (%s, %s)", (n, text))
            session = other if n % 2 else db
            *again, line = increment(session, s3, bucket)
            assert line.startswith(f"{n},")
            assert len(again) == (coarse and n > 0)
            assert mark(db) == text
            for session in (db, other):
                found = increment(session, s3, bucket)
                assert [one[0] for one in found or []] == [str(n)] * coarse
    finally:
        other.close()


@pytest.mark.parametrize("type_", ["json", "point", "xml"])
def test_a_type_without_order(db, s3, table, bucket, type_):
    table(f"v {type_}")
    register(db, "increments", bucket, "v")
    (found,) = land_all(db)
    assert found["error"] == (
        'column "v" of "increments" cannot be a watermark'
    )
    assert f"Its type, {type_}, has no order." in "".join(db.notices)


@pytest.mark.parametrize(
    "type_, text",
    [
        ("timestamptz", "infinity"), ("timestamp", "infinity"),
        ("date", "infinity"), ("numeric", "NaN"), ("numeric", "Infinity"),
        ("real", "Infinity"), ("float8", "NaN"),
    ],
)
def test_a_value_that_would_be_the_last(db, s3, table, bucket, type_, text):
    table(f"v {type_}")
    register(db, "increments", bucket, "v", 0 if type_ in COARSE else None)
    select(db, "INSERT INTO increments VALUES (%s)", (text,))
    (found,) = land_all(db)
    assert found["error"] == f'column "v" of "increments" has the value {text}'
    assert mark(db) is None
    assert keys(s3, bucket) == []


# Overlap

OVERLAPS = [
    # type, overlap, kept, at the lower bound, below it
    ("timestamptz", "5 minutes", "2026-03-29 03:00+02", "2026-03-29 00:55+00",
     "2026-03-29 00:54:59+00"),
    # The value is in a time zone where that day had 23 hours.
    ("timestamptz", "1 day", "2026-03-29 12:00+00", "2026-03-28 12:00+00",
     "2026-03-28 11:59:59+00"),
    ("timestamp", "1 hour", "2026-01-01 00:00", "2025-12-31 23:00",
     "2025-12-31 22:59:59"),
    ("date", "1 day", "2026-01-03", "2026-01-02", "2026-01-01"),
    ("date", "1 hour", "2026-01-03", "2026-01-02", "2026-01-01"),
    ("date", 0, "2026-01-03", "2026-01-03", "2026-01-02"),
    ("smallint", 5, "10", "5", "4"),
    ("integer", 4.5, "10", "5", "4"),
    ("bigint", "5", "10", "5", "4"),
    ("bigint", 0, "10", "10", "9"),
    ("numeric", "0.5", "10", "9.5", "9.4999"),
    ("real", 0.5, "10", "9.5", "9.4999"),
    ("double precision", 0.5, "10", "9.5", "9.4999"),
    ("uuid", 0, "f0000000-0000-0000-0000-000000000000",
     "f0000000-0000-0000-0000-000000000000",
     "a0000000-0000-0000-0000-000000000000"),
]


@pytest.mark.parametrize("type_, overlap, kept, at, below", OVERLAPS)
def test_overlap(db, s3, table, bucket, type_, overlap, kept, at, below):
    """Rows that arrive late within the overlap land, lower ones do not."""
    table(f"id int, v {type_}")
    select(db, "SET timezone = 'Europe/Berlin'")
    register(db, "increments", bucket, "v", overlap,
             query="SELECT id, v FROM increments")
    select(db, "INSERT INTO increments VALUES (1, %s)", (kept,))
    assert [line[0] for line in increment(db, s3, bucket)] == ["1"]
    before = mark(db)
    select(db, "INSERT INTO increments VALUES (2, %s), (3, %s)", (at, below))
    landed = increment(db, s3, bucket)
    assert [line[0] for line in landed] == ["1", "2"]
    # The watermark does not decrease, even if its row is deleted.
    assert mark(db) == before
    select(db, "DELETE FROM increments WHERE id = 1")
    increment(db, s3, bucket)
    assert mark(db) == before


@pytest.mark.parametrize(
    "type_, lowest",
    [("smallint", -(2**15)), ("integer", -(2**31)), ("bigint", -(2**63))],
)
def test_overlap_below_the_type(db, s3, table, bucket, type_, lowest):
    """Then the query has no lower bound."""
    table(f"v {type_}")
    register(db, "increments", bucket, "v", 10**30)
    select(db, "INSERT INTO increments VALUES (0)")
    assert increment(db, s3, bucket) == ["0"]
    select(db, "INSERT INTO increments VALUES (%s)", (lowest,))
    assert increment(db, s3, bucket) == [str(lowest), "0"]


@pytest.mark.parametrize(
    "type_, overlap, message, state",
    [
        ("text", "a", 'invalid overlap "a"', "22023"),
        ("uuid", 1, 'invalid overlap "1"', "22023"),
        ("time", "1 minute", 'invalid overlap "1 minute"', "22023"),
        ("interval", "1 day", 'invalid overlap "1 day"', "22023"),
        ("date", "-1 day", 'invalid overlap "-1 day"', "22023"),
        ("int", -1, 'invalid overlap "-1"', "22023"),
        ("int", "NaN", 'invalid overlap "NaN"', "22023"),
        ("int", "1 day", "invalid input syntax for type numeric", "22P02"),
        ("date", "soon", "invalid input syntax for type interval", "22007"),
    ],
)
def test_overlap_refused(db, s3, table, bucket, type_, overlap, message, state):
    """The option is refused before anything lands, even without a watermark."""
    table(f"v {type_}")
    register(db, "increments", bucket, "v", overlap)
    (found,) = land_all(db)
    assert message in found["error"]
    sql = "SELECT sqlstate FROM onboard_runs WHERE run_id = %s"
    assert value(db, sql, (found["run_id"],)) == state


# Changes of the watermark


def test_a_failure_keeps_it(db, rgw, s3, table, proxied, proxy, bucket):
    table("id int")
    register(db, "increments", bucket, "id", server=proxied)
    select(db, "INSERT INTO increments VALUES (1)")
    assert increment(db, s3, bucket) == ["1"]
    select(db, "INSERT INTO increments VALUES (2)")
    select(db, "SET onboard.retry_deadline = '100ms'")
    rule = proxy.rule("PUT", "increments", drop="before", times=None)
    (found,) = land_all(db)
    assert (found["status"], mark(db)) == ("failed", "1")
    assert rule.used > 0
    proxy.clear()
    select(db, "RESET onboard.retry_deadline")
    assert increment(db, s3, bucket) == ["2"]
    assert mark(db) == "2"


def test_rollback_keeps_it(db, s3, table, bucket):
    """This is the session's own work; workers commit theirs."""
    table("id int")
    register(db, "increments", bucket, "id")
    select(db, "INSERT INTO increments VALUES (1)")
    select(db, "BEGIN; SET LOCAL onboard.parallel_tables = 0")
    assert increment(db, s3, bucket) == ["1"]
    assert mark(db) == "1"
    assert increment(db, s3, bucket) is None
    select(db, "ROLLBACK")
    assert mark(db) is None
    assert increment(db, s3, bucket) == ["1"]


def test_writers_meanwhile(pg, db, s3, table, bucket):
    """Every row lands exactly once, in any order of commits and runs."""
    table("id bigserial, writer int")
    register(db, "increments", bucket, "id")
    writers = [pg.connect("onboard") for _ in range(3)]
    sql = (
        "DO $$ BEGIN FOR i IN 1 .. 300 LOOP"
        " PERFORM pg_advisory_xact_lock(43);"
        " INSERT INTO increments (writer) VALUES (%s); COMMIT;"
        " END LOOP; END $$"
    )
    landed = []
    try:
        running = [
            Running(writer, sql % n) for n, writer in enumerate(writers)
        ]
        for one in running:
            one.__enter__()
        for _ in range(10):
            landed += increment(db, s3, bucket) or []
        for one in running:
            one.rows(60)
            one.__exit__()
        landed += increment(db, s3, bucket) or []
    finally:
        for writer in writers:
            writer.close()
    assert len(landed) == len(set(landed)) == 900
    assert increment(db, s3, bucket) is None


def test_late_commits_need_an_overlap(pg, db, s3, table, bucket):
    """Without an overlap, a row that commits below the watermark is lost."""
    for name in ("bare", "overlapping"):
        table("id int, at timestamptz DEFAULT now()", name)
    register(db, "bare", bucket, "at", query="SELECT id, at FROM bare")
    register(db, "overlapping", bucket, "at", "1 hour",
             query="SELECT id, at FROM overlapping")
    late = pg.connect("onboard", autocommit=False)
    try:
        for name in ("bare", "overlapping"):
            select(late, f"INSERT INTO {name} VALUES (1)")
            select(db, f"INSERT INTO {name} VALUES (2)")
        assert {row["rows"] for row in land_all(db)} == {1}
        late.commit()
        assert increment(db, s3, bucket, "bare") is None
        found = increment(db, s3, bucket, "overlapping")
        assert [line[0] for line in found] == ["1", "2"]
    finally:
        late.close()


def test_two_runs_at_once(pg, db, s3, table, bucket):
    """The run that ends later leaves the watermark that the other one has set.
    """
    table("id int")
    register(
        db, "increments", bucket, "id",
        query="SELECT id FROM increments, (SELECT pg_advisory_xact_lock(42))"
        " AS held OFFSET 0",
    )
    select(db, "INSERT INTO increments VALUES (1)")
    holder, slow = pg.connect("onboard"), pg.connect("onboard")
    select(holder, "SELECT pg_advisory_lock(42)")
    select(slow, "SET onboard.parallel_tables = 0")
    select(slow, "SET statement_timeout = '60s'")
    try:
        call = "SELECT * FROM onboard_all()"
        with Running(slow, call) as first:
            wait_for_event(db, first.pid, "advisory")
            # A third run does not wait for that lock.
            select(db, "UPDATE onboard_tables SET query = 'TABLE increments'")
            select(db, "INSERT INTO increments VALUES (2)")
            assert increment(db, s3, bucket) == ["1", "2"]
            select(holder, "SELECT pg_advisory_unlock(42)")
            (found,) = first.rows()
        assert (found["status"], found["rows"]) == ("done", 1)
        assert mark(db) == "2"
        assert 'watermark of "increments" is left as it is' in "".join(
            slow.notices
        )
    finally:
        holder.close()
        slow.close()


def test_reset_meanwhile(pg, db, s3, table, bucket):
    """A run that began before a reset does not undo it."""
    table("id int")
    register(
        db, "increments", bucket, "id",
        query="SELECT id FROM increments, (SELECT pg_advisory_xact_lock(42))"
        " AS held OFFSET 0",
    )
    select(db, "INSERT INTO increments VALUES (1)")
    assert increment(db, s3, bucket) == ["1"]
    select(db, "INSERT INTO increments VALUES (2)")
    holder, slow = pg.connect("onboard"), pg.connect("onboard")
    select(holder, "SELECT pg_advisory_lock(42)")
    select(slow, "SET onboard.parallel_tables = 0")
    try:
        with Running(slow, "SELECT * FROM onboard_all()") as run:
            wait_for_event(db, run.pid, "advisory")
            assert value(db, "SELECT onboard_reset_watermark('increments')") == 1
            select(holder, "SELECT pg_advisory_unlock(42)")
            (found,) = run.rows()
        assert (found["status"], found["rows"]) == ("done", 1)
        assert mark(db) is None
        assert increment(db, s3, bucket) == ["1", "2"]
    finally:
        holder.close()
        slow.close()


def test_reset(db, s3, table, bucket):
    table("id int")
    register(db, "increments", bucket, "id")
    select(db, "INSERT INTO increments VALUES (1)")
    assert value(db, "SELECT onboard_reset_watermark('increments')") == 0
    assert increment(db, s3, bucket) == ["1"]
    assert increment(db, s3, bucket) is None
    assert value(db, "SELECT onboard_reset_watermark('other')") == 0
    assert value(db, "SELECT onboard_reset_watermark('increments')") == 1
    assert increment(db, s3, bucket) == ["1"]
    assert failure(select, db, "SELECT onboard_reset_watermark(NULL)").pgcode == "22004"


def test_it_goes_with_the_registered_table(db, s3, table, bucket):
    table("id int")
    register(db, "increments", bucket, "id")
    select(db, "INSERT INTO increments VALUES (1)")
    assert increment(db, s3, bucket) == ["1"]
    select(db, "UPDATE onboard_tables SET name = 'other',"
           " query = 'TABLE increments'")
    assert mark(db, "other") == "1"
    assert increment(db, s3, bucket, "other") is None
    select(db, "DELETE FROM onboard_tables")
    assert select(db, "TABLE onboard_watermarks") == []


# Refusals


def test_another_column_or_type(db, s3, table, bucket):
    table("id int, other int")
    register(db, "increments", bucket, "id")
    select(db, "INSERT INTO increments VALUES (1, 2)")
    assert increment(db, s3, bucket) == ["1,2"]
    select(db, "UPDATE onboard_tables SET options ="
           """ options || '{"watermark": {"column": "other"}}'""")
    (found,) = land_all(db)
    assert found["error"] == (
        'the watermark of "increments" is one of column "id" of type integer,'
        ' not of "other" of type integer'
    )
    assert "onboard_reset_watermark('increments')" in "".join(db.notices)
    select(db, "UPDATE onboard_tables SET options ="
           """ options || '{"watermark": {"column": "id"}}'""")
    select(db, "ALTER TABLE increments ALTER id TYPE bigint")
    assert "not of \"id\" of type bigint" in land_all(db)[0]["error"]
    assert value(db, "SELECT onboard_reset_watermark('increments')") == 1
    assert increment(db, s3, bucket) == ["1,2"]


@pytest.mark.parametrize(
    "query, error",
    [
        ("SELECT 1 AS other", 'the query of "t" has no column "id"'),
        ('SELECT 1 AS "ID"', 'the query of "t" has no column "id"'),
        ("SELECT 1 AS id, 2 AS id", 'the query of "t" has two columns "id"'),
        ("SELECT $1 AS id", "there is no parameter $1"),
        ("SELECT 1 AS id WHERE 1 = $2", "there is no parameter $2"),
    ],
)
def test_wrong_queries(db, s3, registry, bucket, query, error):
    register(db, "t", bucket, "id", query=query)
    (found,) = land_all(db)
    assert found["error"] == error
    assert keys(s3, bucket) == []


def test_another_query_of_the_same_name(db, s3, table, bucket):
    table("id int")
    register(db, "increments", bucket, "id")
    error = failure(land, db, "increments", "SELECT 1 AS id", None)
    assert error.pgcode == "22023"
    assert "are those of its registered query" in str(error)


# Roles


@pytest.fixture
def role(db, pg, rgw, canaries):
    """A role that may export, with a connection."""
    select(
        db, "CREATE ROLE lander LOGIN;"
        "GRANT SELECT ON onboard_tables TO lander"
    )
    may_land(pg, rgw, "lander")
    connection = pg.connect("onboard", user="lander")
    yield connection
    connection.close()
    select(
        db, "DROP USER MAPPING FOR lander SERVER s3;"
        "DROP OWNED BY lander; DROP ROLE lander"
    )


def test_each_role_has_its_own(db, s3, table, role, bucket):
    """A role that sees fewer rows does not move another role's watermark."""
    table("id int")
    register(db, "increments", bucket, "id")
    select(
        db, "INSERT INTO increments VALUES (1), (2);"
        "GRANT SELECT ON increments TO lander;"
        "ALTER TABLE increments ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY odd ON increments TO lander USING (id % 2 = 1)"
    )
    assert increment(role, s3, bucket) == ["1"]
    assert increment(db, s3, bucket) == ["1", "2"]
    select(db, "INSERT INTO increments VALUES (3), (4)")
    assert increment(role, s3, bucket) == ["3"]
    assert increment(db, s3, bucket) == ["3", "4"]
    # A role sees its own watermarks, and can write none.
    marks = "SELECT role, value FROM onboard_watermarks ORDER BY role"
    assert select(role, marks) == [{"role": "lander", "value": "3"}]
    assert [row["role"] for row in select(db, marks)] == ["lander", "postgres"]
    for sql in (
        "UPDATE onboard_watermarks SET value = 'x'",
        "DELETE FROM onboard_watermarks",
        "INSERT INTO onboard_watermarks (name) VALUES ('x')",
    ):
        assert failure(select, role, sql).pgcode == "42501"
    assert value(role, "SELECT onboard_reset_watermark('increments')") == 1
    assert [row["role"] for row in select(db, marks)] == ["postgres"]
    assert increment(role, s3, bucket) == ["1", "3"]
    # A superuser is a member of all roles.
    assert value(db, "SELECT onboard_reset_watermark('increments')") == 2


def test_a_role_that_is_renamed_keeps_its_own(
    pg, rgw, db, s3, table, role, bucket
):
    """A new role with its old name begins with all rows."""
    table("id int")
    register(db, "increments", bucket, "id")
    select(
        db, "INSERT INTO increments VALUES (1);"
        "GRANT SELECT ON increments TO lander"
    )
    assert increment(role, s3, bucket) == ["1"]
    select(
        db, "ALTER ROLE lander RENAME TO lander_old;"
        "CREATE ROLE lander LOGIN;"
        "GRANT SELECT ON onboard_tables, increments TO lander;"
        "INSERT INTO increments VALUES (2)"
    )
    marks = "SELECT role, value FROM onboard_watermarks ORDER BY role"
    newcomer = pg.connect("onboard", user="lander")
    try:
        assert select(newcomer, marks) == []
        assert value(newcomer, "SELECT onboard_reset_watermark('increments')") == 0
        assert increment(role, s3, bucket) == ["2"]
        assert select(role, marks) == [{"role": "lander_old", "value": "2"}]
        may_land(pg, rgw, "lander")
        assert increment(newcomer, s3, bucket) == ["1", "2"]
        assert select(newcomer, marks) == [{"role": "lander", "value": "2"}]
    finally:
        newcomer.close()
        select(
            db, "DROP USER MAPPING IF EXISTS FOR lander SERVER s3;"
            "DROP OWNED BY lander; DROP ROLE lander;"
            "ALTER ROLE lander_old RENAME TO lander"
        )


def test_operators_of_the_caller_are_not_used(db, s3, table, role, bucket):
    """Code with the owner's rights does not follow the caller's search_path."""
    table("id int")
    register(db, "increments", bucket, "id")
    select(
        db, "INSERT INTO increments VALUES (1);"
        "GRANT SELECT ON increments TO lander; CREATE SCHEMA trap;"
        "GRANT ALL ON SCHEMA trap TO lander"
    )
    select(
        role,
        """
        CREATE FUNCTION trap.equal(text, text) RETURNS boolean
            LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'run as %', current_user; END $$;
        CREATE OPERATOR trap.= (
            LEFTARG = text, RIGHTARG = text, FUNCTION = trap.equal);
        CREATE FUNCTION trap.equal(uuid, uuid) RETURNS boolean
            LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'run as %', current_user; END $$;
        CREATE OPERATOR trap.= (
            LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = trap.equal);
        SET search_path = trap, pg_catalog, public
        """,
    )
    try:
        assert increment(role, s3, bucket) == ["1"]
        assert increment(role, s3, bucket) is None
        assert value(role, "SELECT onboard_reset_watermark('increments')") == 1
    finally:
        select(db, "DROP SCHEMA trap CASCADE")


# Sessions that cannot write


def test_read_only_transaction(db, s3, table, bucket):
    table("id int")
    register(db, "increments", bucket, "id")
    select(db, "INSERT INTO increments VALUES (1)")
    select(db, "BEGIN READ ONLY")
    (found,) = land_all(db)
    error = failure(land, db, "increments", None, None)
    select(db, "ROLLBACK")
    assert found["error"] == 'the watermark of "increments" cannot be kept'
    assert error.pgcode == "25006"
    assert error.diag.message_detail == "The transaction is read-only."
    assert keys(s3, bucket) == []


def test_standby(pg, db, s3, table, bucket):
    table("id int")
    register(db, "increments", bucket, "id")
    register(db, "whole", bucket, "id", query="SELECT 7 AS id")
    select(db, "UPDATE onboard_tables SET options = options - 'watermark'"
           " WHERE name = 'whole'")
    select(db, "SET synchronous_commit = on;"
           "INSERT INTO increments VALUES (1)")
    standby = pg.standby().start()
    try:
        standby.wait_for_replay(pg)
        session = standby.connect("onboard")
        found = {row["name"]: row for row in land_all(session)}
        error = failure(land, session, "increments", None, None)
        reset = failure(select, session, "SELECT onboard_reset_watermark('increments')")
        session.close()
    finally:
        standby.close()
    assert found["whole"]["status"] == "done"
    assert found["increments"]["error"] == (
        'the watermark of "increments" cannot be kept'
    )
    assert error.pgcode == reset.pgcode == "25006"
    assert error.diag.message_detail == (
        "Nothing can be written on a standby."
    )


# The documentation


def test_the_recipe(db, s3, table, bucket):
    docs = pathlib.Path(__file__).parents[2] / "docs" / "operations.md"
    section = docs.read_text().split("## Incremental loads\n")[1]
    blocks = re.findall(r"```sql\n(.*?)```", section.split("\n## ")[0], re.S)
    register_it, land_it, marks, reset, oldest, keep = (
        block.replace("my-lake", bucket) for block in blocks
    )
    table("id int, updated_at timestamptz", "orders")
    select(db, register_it)
    select(db, "INSERT INTO orders VALUES (1, '2026-01-01 00:00+00')")
    (found,) = select(db, land_it)
    assert (found["status"], found["rows"]) == ("done", 1)
    select(db, "INSERT INTO orders VALUES (2, '2026-01-01 00:01+00')")
    assert select(db, land_it)[0]["rows"] == 2
    (kept,) = select(db, marks)
    assert kept["value"] == "2026-01-01 00:01:00+00"
    select(db, "DELETE FROM orders WHERE id = 2")
    select(db, reset)
    assert select(db, marks) == []
    assert select(db, land_it)[0]["rows"] == 1
    select(db, "BEGIN; INSERT INTO orders VALUES (3)")
    assert value(db, oldest) > datetime.timedelta()
    select(db, "ROLLBACK")
    select(db, "UPDATE onboard_tables SET query ="
           " 'SELECT *, 1 AS more FROM orders'")
    assert "has changed" in select(db, land_it.replace(
        "status, rows, uri", "error"
    ))[0]["error"]
    assert value(db, keep) == 1
    assert select(db, land_it)[0]["rows"] == 1


# Backups


def test_dump_and_restore(pg, db, s3, table, bucket):
    """The dump has everything that an increment needs to go on."""
    table("id int")
    register(db, "increments", bucket, "id")
    select(db, "INSERT INTO increments VALUES (1)")
    assert increment(db, s3, bucket) == ["1"]
    tables = ("onboard_watermarks", "onboard_tables")
    expected = [select(db, f"TABLE {name}") for name in tables]
    dump = process.run(
        [
            f"{pg.bindir}/pg_dump", "-h", pg.folder, "-p", pg.settings["port"],
            "-U", "postgres", "-e", "onboard", "onboard",
        ]
    )
    pg.psql("CREATE DATABASE restored")
    try:
        pg.psql(dump, "restored")
        restored = pg.connect("restored")
        assert expected == [
            select(restored, f"TABLE {name}") for name in tables
        ]
        restored.close()
    finally:
        pg.psql("DROP DATABASE restored WITH (FORCE)")
