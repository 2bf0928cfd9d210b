"""SELECT onboard_all(): a row as each table ends, and callers that stop early.
"""

import json
import socket
import struct

import pytest

from lib import process
from lib.exports import (
    SLEEPS, Running, failure, key_of, keys, land, no_upload_left, register,
    select, value, wait_for_sleep, wait_for_worker, warnings,
)

SERIAL, WORKERS = 0, 4

NAMES = "SELECT (onboard_all(options => %s)).name"
ENDED = "the run was ended before its last table"


@pytest.fixture(params=[SERIAL, WORKERS], ids=["serial", "workers"])
def workers(request):
    """Whether the session runs the tables, or workers do."""
    return request.param


@pytest.fixture
def session(pg, workers):
    connection = pg.connect("onboard")
    select(connection, f"SET onboard.parallel_tables = {workers}")
    yield connection
    connection.close()


def declare(session, options="{}", kind=""):
    select(session, "BEGIN")
    select(session, f"DECLARE c CURSOR {kind} FOR " + NAMES, (options,))


def fetch(session, count="1"):
    """Fetches the next rows; returns the names of their tables."""
    return [row["name"] for row in select(session, f"FETCH {count} FROM c")]


def count_workers(observer):
    sql = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'onboard worker'"
    )
    return value(observer, sql)


def has_ended_early(session):
    return ENDED in "".join(session.notices)


# Rows come one by one


class Wire:
    """A client that sees the server's messages as they arrive."""

    def __init__(self, pg, user="postgres", database="onboard"):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(f"{pg.folder}/.s.PGSQL.{pg.settings['port']}")
        words = ["user", user, "database", database]
        body = struct.pack("!I", 3 << 16)
        body += b"".join(word.encode() + b"\0" for word in words) + b"\0"
        self._socket.sendall(struct.pack("!I", len(body) + 4) + body)
        self.until(b"Z")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._socket.close()

    def query(self, sql):
        body = sql.encode() + b"\0"
        self._socket.sendall(b"Q" + struct.pack("!I", len(body) + 4) + body)

    def until(self, kind):
        """Reads messages up to one of that kind; returns its body, and the
        kinds of all."""
        kinds = b""
        while True:
            head = self._read(5)
            body = self._read(struct.unpack("!I", head[1:])[0] - 4)
            assert head[:1] != b"E" or kind == b"E", body
            kinds += head[:1]
            if head[:1] == kind:
                return body, kinds

    def column(self):
        """The first column of the next row."""
        body, _ = self.until(b"D")
        length = struct.unpack("!I", body[2:6])[0]
        return body[6 : 6 + length].decode()

    def _read(self, length):
        data = b""
        while len(data) < length:
            piece = self._socket.recv(length - len(data))
            assert piece, "the server has closed the connection"
            data += piece
        return data


def test_a_row_reaches_the_client_as_each_table_ends(
    pg, db, s3, registry, workers, bucket, proxied, proxy
):
    """The next table is still running, in one plain statement."""
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    rule = proxy.rule("PUT", "/b_data", hold=True, when="request")
    options = json.dumps({"server": proxied})
    with Wire(pg) as wire:
        wire.query(f"SET onboard.parallel_tables = {workers}")
        wire.until(b"Z")
        wire.query(NAMES % f"'{options}'")
        assert wire.column() == "a"
        rule.wait()
        assert keys(s3, bucket) == [key_of("a")]
        rule.release()
        assert wire.column() == "b"
        _, kinds = wire.until(b"Z")
        assert b"D" not in kinds and kinds.endswith(b"CZ")
    assert keys(s3, bucket) == [key_of("a"), key_of("b")]


def test_cursor(db, s3, registry, session, bucket, proxied, proxy):
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n",
             c="SELECT 3 AS n WHERE false")
    rule = proxy.rule("PUT", "/b_data", hold=True, when="request")
    select(session, "SET client_min_messages = debug1")
    declare(session, json.dumps({"server": proxied, "manifest": True}))
    first = fetch(session)
    assert len(first) == 1 and first[0] in "ac"
    rule.release()
    rest = fetch(session) + fetch(session)
    assert sorted(first + rest) == ["a", "b", "c"]
    # The run is closed with its last table.
    assert len(keys(s3, bucket)) == 4
    assert fetch(session) == []
    select(session, "COMMIT")
    assert not has_ended_early(session)
    assert "export of 3 tables (2 done, 1 empty)" in "".join(session.notices)


def test_the_same_as_in_from(db, s3, registry, session, bucket):
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 1 / 0",
             c="SELECT 3 AS n WHERE false")
    columns = "name, status, uri, files, rows, bytes, error"
    wanted = select(
        session, f"SELECT {columns} FROM onboard_all() ORDER BY name"
    )
    assert [row["status"] for row in wanted] == ["done", "failed", "empty"]
    found = select(
        session, f"SELECT {columns} FROM (SELECT (onboard_all()).*) AS rows"
        " ORDER BY name"
    )
    assert found == wanted
    # Both functions have warned.
    assert len(warnings(session)) == 2


def test_no_table(session, registry):
    assert select(session, "SELECT onboard_all('nothing')") == []
    assert "no enabled table" in session.notices[-1]


def test_once_for_all_columns(db, observer, s3, registry, session, bucket):
    """(f()).* calls a function for each column: it must not export nine times.
    """
    register(db, bucket, a="SELECT 1 AS n")
    before = value(observer, "SELECT count(DISTINCT run_id) FROM onboard_runs")
    (row,) = select(session, "SELECT (onboard_all()).*")
    assert row["name"] == "a" and row["rows"] == 1
    after = value(observer, "SELECT count(DISTINCT run_id) FROM onboard_runs")
    assert after == before + 1


def test_loop_of_plpgsql(db, s3, registry, session, bucket):
    register(db, bucket, a="SELECT 1", b="SELECT 1 / 0", c="SELECT 1")
    select(session, """
        CREATE FUNCTION pg_temp.nightly() RETURNS text LANGUAGE plpgsql AS $$
        DECLARE
            found record;
            text text := '';
        BEGIN
            FOR found IN SELECT (onboard_all()).* LOOP
                text := text || found.name || ':' || found.status || ' ';
            END LOOP;
            RETURN text;
        END $$
    """)
    for _ in range(2):
        found = value(session, "SELECT pg_temp.nightly()")
        assert sorted(found.split()) == ["a:done", "b:failed", "c:done"]


def test_published_together(db, s3, registry, session, bucket):
    """No row comes before all objects are visible."""
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    declare(session, '{"publish": "together"}')
    assert len(fetch(session)) == 1
    landed = keys(s3, bucket)
    assert len(landed) == 4 and key_of("a") in landed and key_of("b") in landed
    select(session, "CLOSE c")
    select(session, "COMMIT")
    assert keys(s3, bucket) == landed


def test_together_fails(db, s3, registry, session, bucket):
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 1 / 0")
    declare(session, '{"publish": "together"}')
    assert sorted(fetch(session, "ALL")) == ["a", "b"]
    select(session, "COMMIT")
    assert keys(s3, bucket) == []


def test_on_error_raise(db, observer, s3, registry, session, workers, bucket):
    """Rows of the other tables come before the error of the last one."""
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 1 / 0", c="SELECT 1 AS n")
    declare(session, '{"on_error": "raise"}')
    assert len(fetch(session)) == 1
    if workers:
        # The other tables have ended together when the client asks for them.
        ended = (
            "SELECT count(*) FROM onboard_runs WHERE run_id = (SELECT run_id"
            f" FROM onboard_runs WHERE uri LIKE 's3://{bucket}/%' LIMIT 1)"
            " AND ended IS NOT NULL"
        )
        process.wait_until(
            lambda: value(observer, ended) == 3, 30, "all tables end"
        )
    assert len(fetch(session)) == 1
    error = failure(fetch, session)
    assert error.pgcode == "38000"
    assert error.diag.message_primary == (
        "1 of 3 tables could not be exported; the first error was that of"
        ' "b": division by zero'
    )
    assert 'These failed: "b".' in error.diag.message_detail
    assert count_workers(observer) == 0
    select(session, "ROLLBACK")
    assert keys(s3, bucket) == [key_of("a"), key_of("c")]


def test_two_at_once(db, s3, registry, session, bucket):
    register(db, bucket, **{f"{c}{n}": f"SELECT {n}" for c in "ab"
                            for n in range(3)})
    select(session, "BEGIN")
    for c in "ab":
        select(session, f"DECLARE {c} CURSOR FOR"
                        f" SELECT (onboard_all('{c}%')).name")
    found = [select(session, f"FETCH {c}")[0]["name"] for c in "ababab"]
    assert sorted(found) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    select(session, "COMMIT")
    assert len(keys(s3, bucket)) == 6 and not has_ended_early(session)


def test_cursor_that_is_held(db, s3, registry, session, bucket):
    """The commit runs the cursor's query to its end."""
    register(db, bucket, **{f"t{n}": f"SELECT {n}" for n in range(4)})
    declare(session, kind="WITH HOLD")
    found = fetch(session)
    select(session, "COMMIT")
    assert len(keys(s3, bucket)) == 4
    found += fetch(session, "ALL")
    assert sorted(found) == ["t0", "t1", "t2", "t3"]
    select(session, "CLOSE c")
    assert not has_ended_early(session)


def test_commits_in_a_loop(db, s3, registry, session, bucket):
    """The first commit runs the cursor's query to its end."""
    register(db, bucket, **{f"t{n}": f"SELECT {n}" for n in range(4)})
    select(session, "DO $$ DECLARE r record; n int := 0; BEGIN"
                    " FOR r IN SELECT (onboard_all()).* LOOP"
                    " n := n + 1; COMMIT; END LOOP;"
                    " RAISE NOTICE 'seen: %', n; END $$")
    assert "NOTICE:  seen: 4\n" in session.notices
    assert len(keys(s3, bucket)) == 4 and not has_ended_early(session)


def test_savepoint_between(db, observer, s3, registry, session, bucket):
    """The cursor is older than the savepoint, so the run goes on."""
    register(db, bucket, **{f"t{n}": f"SELECT {n}" for n in range(4)})
    declare(session)
    select(session, "SAVEPOINT s")
    found = fetch(session)
    select(session, "ROLLBACK TO s")
    found += fetch(session, "ALL")
    assert sorted(found) == ["t0", "t1", "t2", "t3"]
    select(session, "COMMIT")
    assert len(keys(s3, bucket)) == 4


def test_another_role(db, observer, s3, registry, session, bucket):
    """A run that one role has begun cannot be continued by another."""
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    select(db, "CREATE ROLE rows_reader")
    try:
        declare(session)
        fetch(session)
        select(session, "SET LOCAL ROLE rows_reader")
        error = failure(fetch, session)
        assert error.pgcode == "55000"
        assert count_workers(observer) == 0
        select(session, "ROLLBACK")
    finally:
        select(db, "DROP ROLE rows_reader")


# Callers that stop early

DIVIDES = "SELECT 1 / length(replace((onboard_all()).name, ''a'', ''''))"


def limit(session):
    assert len(select(session, "SELECT onboard_all() LIMIT 1")) == 1
    assert has_ended_early(session)


def into_a_variable(session):
    select(session, "DO $$ DECLARE r record;"
                    " BEGIN SELECT onboard_all() INTO r; END $$")
    assert has_ended_early(session)


def exit_of_a_loop(session):
    select(session, "DO $$ DECLARE r record; BEGIN"
                    " FOR r IN SELECT onboard_all() LOOP EXIT; END LOOP;"
                    " END $$")
    assert has_ended_early(session)


def close(session):
    declare(session)
    assert fetch(session) == ["a"]
    select(session, "CLOSE c")
    assert has_ended_early(session)
    return "COMMIT"


def commit(session):
    declare(session)
    assert fetch(session) == ["a"]
    select(session, "COMMIT")
    assert has_ended_early(session)


def rollback(session):
    declare(session)
    assert fetch(session) == ["a"]
    select(session, "ROLLBACK")


def rollback_to(session):
    select(session, "BEGIN; SAVEPOINT s")
    select(session, "DECLARE c CURSOR FOR " + NAMES, ("{}",))
    assert fetch(session) == ["a"]
    select(session, "ROLLBACK TO s")
    return "COMMIT"


def error_in_the_query(session):
    error = failure(select, session, DIVIDES.replace("''", "'"))
    assert error.pgcode == "22012"


def error_in_the_transaction(session):
    declare(session)
    assert fetch(session) == ["a"]
    assert failure(select, session, "SELECT 1 / 0").pgcode == "22012"
    return "ROLLBACK"


def error_without_a_portal(session):
    """Its memory is kept until ROLLBACK."""
    select(session, "BEGIN")
    error = failure(select, session, f"DO $$ BEGIN EXECUTE '{DIVIDES}';"
                                     " END $$")
    assert error.pgcode == "22012"
    return "ROLLBACK"


def error_of_a_cursor_that_is_older(session):
    """The cursor survives the block, but no FETCH from it succeeds."""
    select(session, "BEGIN")
    text = DIVIDES.replace("''", "'")
    select(session, f"DO $$ DECLARE c refcursor; n int; BEGIN"
                    f" OPEN c FOR {text};"
                    " BEGIN FETCH c INTO n; EXCEPTION"
                    " WHEN division_by_zero THEN END;"
                    " CLOSE c; END $$")
    return "COMMIT"


def error_that_is_caught(session):
    select(session, "BEGIN")
    select(session, f"DO $$ BEGIN EXECUTE '{DIVIDES}';"
                    " EXCEPTION WHEN division_by_zero THEN END $$")
    return "COMMIT"


def begun_again(session):
    """A subquery that runs for each row of another query."""
    found = select(
        session, "SELECT (r).name FROM generate_series(1, 2) AS g, LATERAL"
        " (SELECT onboard_all() AS r OFFSET g * 0 LIMIT 1) AS s"
    )
    assert [row["name"] for row in found] == ["a", "a"]
    assert has_ended_early(session)


STOPS = [
    limit, into_a_variable, exit_of_a_loop, close, commit, rollback,
    rollback_to, error_in_the_query, error_in_the_transaction,
    error_without_a_portal, error_of_a_cursor_that_is_older,
    error_that_is_caught, begun_again,
]


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.__name__)
def test_the_caller_stops(
    db, observer, rgw, s3, registry, session, bucket, stop
):
    """Workers and their uploads end at once; landed objects stay."""
    register(db, bucket, a="SELECT 1 AS n", b=SLEEPS, c=SLEEPS)
    end = stop(session)
    assert count_workers(observer) == 0
    assert not rgw.unfinished(bucket)
    if end:
        select(session, end)
    assert keys(s3, bucket) == [key_of("a")]
    assert land(session, "again", "SELECT 1", bucket)["rows"] == 1


def test_workers_get_the_reason_of_their_end(
    db, observer, rgw, s3, registry, bucket
):
    register(db, bucket, a="SELECT 1 AS n", b=SLEEPS)
    declare(db)
    assert fetch(db) == ["a"]
    wait_for_worker(observer, "PgSleep")
    assert rgw.unfinished(bucket)
    select(db, "CLOSE c")
    assert not rgw.unfinished(bucket)
    select(db, "COMMIT")
    sql = (
        "SELECT name, status, sqlstate FROM onboard_runs WHERE run_id ="
        " (SELECT run_id FROM onboard_runs ORDER BY started DESC LIMIT 1)"
        " ORDER BY name"
    )
    assert [tuple(row.values()) for row in select(observer, sql)] == [
        ("a", "done", None), ("b", "failed", "57014")
    ]


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_ended_in_a_fetch(
    db, observer, rgw, s3, registry, session, bucket, how
):
    register(db, bucket, a="SELECT 1 AS n", b=SLEEPS, c="SELECT 1 AS n")
    declare(session)
    names = fetch(session)
    with Running(session, "FETCH ALL FROM c") as run:
        wait_for_sleep(observer)
        select(observer, f"SELECT pg_{how}_backend(%s)", (run.pid,))
        error = run.error()
    assert names == ["a"] or "b" not in names
    if how == "cancel":
        assert error.pgcode == "57014"
        assert count_workers(observer) == 0
    wait_for_none(observer)
    no_upload_left(rgw, bucket)
    assert key_of("b") not in keys(s3, bucket)


@pytest.mark.parametrize("how", ["terminate", "disconnect"])
def test_ended_between_fetches(
    db, observer, rgw, s3, registry, session, bucket, how
):
    register(db, bucket, a="SELECT 1 AS n", b=SLEEPS)
    declare(session)
    assert fetch(session) == ["a"]
    if how == "terminate":
        select(observer, "SELECT pg_terminate_backend(%s)",
               (session.info.backend_pid,))
    session.close()
    wait_for_none(observer)
    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == [key_of("a")]
    assert value(db, "SELECT 1") == 1


def wait_for_none(observer):
    process.wait_until(
        lambda: count_workers(observer) == 0, 10, "no worker is left"
    )
