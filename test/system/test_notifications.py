"""Messages about an export's end: to the client, the log, and listeners."""

import json
import re
import select as sockets

import pytest

from lib.exports import (
    body, copy, failure, key_of, land, land_all, register, rows, select, value,
)

TABLE_KEYS = [
    "event", "run_id", "name", "role", "status", "uri", "rows", "raw_bytes",
    "bytes", "parts", "retries", "started", "ended", "sqlstate",
]
RUN_KEYS = [
    "event", "run_id", "role", "status", "tables", "done", "empty", "failed",
    "rows", "raw_bytes", "bytes", "started", "ended",
]


class Listener:
    def __init__(self, connection):
        self._connection = connection
        select(connection, "LISTEN onboard")

    def received(self, db):
        """All notifications so far: the last one is the test's own."""
        select(db, "NOTIFY onboard, 'end'")
        found = []
        while not found or found[-1] != "end":
            ready, _, _ = sockets.select([self._connection], [], [], 30)
            assert ready, f"no end after {found}"
            self._connection.poll()
            found += [notice.payload for notice in self._connection.notifies]
            del self._connection.notifies[:]
        assert all(len(payload.encode()) < 8000 for payload in found)
        return [json.loads(payload) for payload in found[:-1]]


@pytest.fixture
def listener(pg):
    connection = pg.connect("onboard")
    yield Listener(connection)
    connection.close()


def history(db, run_id):
    """The expected notifications for rows of the history."""
    sql = (
        f"SELECT {', '.join(TABLE_KEYS[1:])} FROM onboard_runs"
        " WHERE run_id = %s ORDER BY name"
    )
    return [as_notified(db, row) for row in select(db, sql, (run_id,))]


def as_notified(db, row):
    """Converts times to the JSON format of PostgreSQL."""
    for key in ("started", "ended"):
        row[key] = value(db, "SELECT to_json(%s)", (row[key],))
    return row


def tables_of(received):
    found = [dict(line) for line in received if line["event"] == "table"]
    for line in found:
        assert list(line) == TABLE_KEYS
        del line["event"]
    return sorted(found, key=lambda line: line["name"])


def run_of(received):
    (line,) = [line for line in received if line["event"] == "run"]
    assert list(line) == RUN_KEYS
    return line


def counts(line):
    return [line[key] for key in ("status", "tables", "done", "empty",
                                  "failed")]


# ---- the client ----


def messages(db):
    """DEBUG messages of the session, without those of PostgreSQL."""
    return [text for text in db.notices if text.startswith("DEBUG:  export of")]


@pytest.mark.parametrize("query, words", [
    (rows(1), r"1000 rows, 1004902 bytes in 1 object, \d+\.\d seconds"),
    ("SELECT 1 AS n", r"1 row, 4 bytes in 1 object, \d+\.\d seconds"),
    ("SELECT 1 WHERE false", "no rows, nothing landed"),
])
def test_client(db, bucket, query, words):
    select(db, "SET client_min_messages = debug1")
    land(db, "t", query, bucket)
    (message,) = messages(db)
    assert re.fullmatch(f'DEBUG:  export of "t": {words}\n', message)


@pytest.mark.parametrize("workers", [0, 4])
def test_client_of_all(db, registry, bucket, workers):
    register(
        db, bucket, a=rows(1), b="SELECT 1 AS n", c="SELECT 1 / 0",
        d="SELECT 1 WHERE false",
    )
    select(db, f"SET onboard.parallel_tables = {workers}")
    select(db, "SET client_min_messages = debug1")
    land_all(db)
    assert any("division by zero" in warning for warning in db.notices)
    (message,) = messages(db)
    assert re.fullmatch(
        r"DEBUG:  export of 4 tables \(2 done, 1 empty, 1 failed\): 1001"
        r" rows, 1004906 bytes in 2 objects, \d+\.\d seconds\n", message
    )


def test_success_is_silent(db, registry, bucket):
    """cron sends mail if psql writes to stderr."""
    register(db, bucket, a="SELECT 1 AS n", d="SELECT 1 WHERE false")
    select(db, "SET client_min_messages = notice")
    land(db, "t", "SELECT 1", bucket)
    land_all(db)
    assert db.notices == []


def test_no_client(db, pg, bucket):
    """A background worker has no client; its log line is written once."""
    select(db, "SET log_min_messages = debug1")
    before = len(pg.log_text())
    land(db, "here", "SELECT 1", bucket)
    run_id = value(
        db, "SELECT onboard_submit('there', 'SELECT 1', %s)", (bucket,)
    )
    value(db, "SELECT onboard_wait(%s, '30s')", (run_id,))
    log = pg.log_text()[before:]
    assert 'DEBUG:  export of "here"' in log
    assert 'LOG:  export of "there"' in log
    assert 'DEBUG:  export of "there"' not in log


# ---- the log ----


def log_of(pg, before, name):
    return [
        line.partition("LOG:  ")[2]
        for line in pg.log_text()[before:].splitlines()
        if f'LOG:  export of "{name}"' in line
    ]


def test_log(db, pg, bucket):
    before = len(pg.log_text())
    found = land(db, "logged", rows(1), bucket)
    (line,) = log_of(pg, before, "logged")
    assert re.fullmatch(
        re.escape(f'export of "logged" by "postgres" to "{found["uri"]}": ')
        + r"done, 1000 rows, 1004902 bytes, \d+\.\d{3} seconds", line
    )
    land(db, "nothing", "SELECT 1 WHERE false", bucket)
    (line,) = log_of(pg, before, "nothing")
    assert re.fullmatch(
        'export of "nothing" by "postgres": empty, 0 rows, 0 bytes,'
        r" \d+\.\d{3} seconds", line
    )


@pytest.mark.parametrize("workers", [0, 4])
def test_log_of_all(db, pg, registry, bucket, workers):
    """Each table is logged once, by any process, even if the run is rolled
    back."""
    register(db, bucket, one="SELECT 1 AS n", two="SELECT 1 / 0")
    select(db, f"SET onboard.parallel_tables = {workers}")
    before = len(pg.log_text())
    select(db, "BEGIN")
    land_all(db)
    select(db, "ROLLBACK")
    (line,) = log_of(pg, before, "one")
    assert f'to "s3://{bucket}/{key_of("one")}": done, 1 rows' in line
    assert log_of(pg, before, "two") == [
        'export of "two" by "postgres" failed: division by zero'
    ]


@pytest.mark.parametrize("workers", [0, 4])
def test_increments_are_marked_as_such(db, pg, registry, bucket, workers):
    """Its rows are not the whole table: the log and the result say so."""
    register(db, bucket, whole="SELECT 1 AS n", grows="SELECT 2 AS n")
    select(
        db, "UPDATE onboard_tables SET options = %s WHERE name = 'grows'",
        ('{"watermark": {"column": "n"}, "key": "{name}/{run_id}"}',),
    )
    select(db, f"SET onboard.parallel_tables = {workers}")
    select(db, "SET client_min_messages = debug1")
    before = len(pg.log_text())
    found = select(
        db, "SELECT name, status, increment FROM onboard_all() ORDER BY name"
    )
    assert found == [
        {"name": "grows", "status": "done", "increment": True},
        {"name": "whole", "status": "done", "increment": False},
    ]
    assert log_of(pg, before, "grows") == []
    assert len(log_of(pg, before, "whole")) == 1
    start = 'LOG:  export of an increment of "grows" by "postgres" to "s3://'
    assert pg.log_text()[before:].count(start) == 1
    del db.notices[:]
    assert value(db, "SELECT (onboard_table('grows')).increment") is True
    assert messages(db) == [
        'DEBUG:  export of an increment of "grows": no rows, nothing landed\n'
    ]
    assert value(db, "SELECT increment FROM onboard_table('whole')") is False


def test_log_has_no_statement(db, pg, bucket):
    """The line has no context, either: an auditor's entry is one line."""
    select(
        db, "CREATE FUNCTION lands(bucket text) RETURNS void LANGUAGE plpgsql"
        " AS $$BEGIN PERFORM onboard_table('quiet', 'SELECT 1', bucket); END$$"
    )
    select(db, "SET log_min_messages = warning")
    try:
        before = len(pg.log_text())
        select(db, "SELECT lands(%s)", (bucket,))
        log = pg.log_text()[before:]
    finally:
        select(db, "DROP FUNCTION lands")
    assert 'LOG:  export of "quiet"' in log
    assert "CONTEXT" not in log and "STATEMENT" not in log


# ---- listeners ----


def test_one_table(db, listener, bucket):
    found = land(db, "t", rows(1), bucket, compression="gzip")
    received = listener.received(db)
    assert [line["event"] for line in received] == ["table", "run"]
    (row,) = history(db, found["run_id"])
    assert row["status"] == "done"
    assert tables_of(received) == [row]
    run = run_of(received)
    assert counts(run) == ["done", 1, 1, 0, 0]
    for key in ("run_id", "role", "rows", "raw_bytes", "bytes", "started",
                "ended"):
        assert run[key] == row[key]


def test_an_empty_table(db, listener, bucket):
    land(db, "t", "SELECT 1 WHERE false", bucket)
    received = listener.received(db)
    (row,) = tables_of(received)
    assert (row["status"], row["uri"], row["rows"]) == ("empty", None, 0)
    assert counts(run_of(received)) == ["done", 1, 0, 1, 0]


def test_at_commit(db, listener, bucket):
    """Listeners are notified at commit, and not after a rollback."""
    other = db
    select(db, "BEGIN")
    land(db, "t", "SELECT 1 AS n", bucket)
    select(db, "ROLLBACK")
    assert listener.received(other) == []
    select(db, "BEGIN")
    land(db, "t", "SELECT 1 AS n", bucket)
    select(db, "COMMIT")
    assert [line["event"] for line in listener.received(db)] == ["table", "run"]


def test_a_failure_that_raises(db, listener, bucket):
    failure(land, db, "t", "SELECT 1 / 0", bucket)
    assert listener.received(db) == []


@pytest.mark.parametrize("workers", [0, 4])
def test_all_tables(db, listener, registry, bucket, workers):
    register(
        db, bucket, a=rows(1), b="SELECT 1 AS n", c="SELECT 1 / 0",
        d="SELECT 1 WHERE false",
    )
    select(db, f"SET onboard.parallel_tables = {workers}")
    (run_id,) = {row["run_id"] for row in land_all(db)}
    received = listener.received(db)
    assert tables_of(received) == history(db, run_id)
    assert received[-1]["event"] == "run"
    run = run_of(received)
    assert counts(run) == ["failed", 4, 2, 1, 1]
    assert (run["run_id"], run["role"]) == (run_id, "postgres")
    assert (run["rows"], run["bytes"]) == (1001, 1004906)
    assert run["raw_bytes"] == run["bytes"]


def test_no_tables(db, listener, registry):
    land_all(db)
    assert counts(run_of(listener.received(db))) == ["done", 0, 0, 0, 0]


def test_workers_notify_before_a_rollback(db, listener, registry, bucket):
    """Workers commit their notifications; that of the run is the caller's."""
    register(db, bucket, a="SELECT 1 AS a", b="SELECT 2 AS b")
    select(db, "BEGIN")
    land_all(db)
    select(db, "ROLLBACK")
    received = listener.received(db)
    assert [line["event"] for line in received] == ["table", "table"]
    assert [row["status"] for row in tables_of(received)] == ["done", "done"]


def test_no_data_in_it(pg, db, listener, registry, bucket):
    """Any role that may connect may listen, and an error may quote data."""
    register(db, bucket, a="SELECT 'top secret'::int", b="SELECT 1")
    (run_id,) = {row["run_id"] for row in land_all(db)}
    assert "top secret" in value(
        db, "SELECT error FROM onboard_runs WHERE run_id = %s AND name = 'a'",
        (run_id,),
    )
    received = listener.received(db)
    assert "secret" not in json.dumps(received)
    assert tables_of(received)[0]["sqlstate"] == "22P02"


def ended(db, run_id):
    sql = "SELECT status FROM onboard_wait(%s, '60s')"
    return value(db, sql, (run_id,))


def test_a_job(db, listener, bucket):
    run_id = value(
        db, "SELECT onboard_submit('job', 'SELECT 1 AS n', %s)", (bucket,)
    )
    assert ended(db, run_id) == "done"
    received = listener.received(db)
    assert tables_of(received) == history(db, run_id)
    assert counts(run_of(received)) == ["done", 1, 1, 0, 0]


def test_a_job_of_all(db, listener, registry, bucket):
    register(db, bucket, a=rows(1), b="SELECT 1 / 0")
    run_id = value(db, "SELECT onboard_submit_all()")
    assert ended(db, run_id) == "failed"
    received = listener.received(db)
    assert tables_of(received) == history(db, run_id)
    assert counts(run_of(received)) == ["failed", 2, 1, 0, 1]


@pytest.mark.parametrize("workers", [0, 4])
def test_a_job_that_raises(db, listener, registry, bucket, workers):
    """Notifications agree with the history."""
    register(db, bucket, a=rows(1), b="SELECT 1 / 0")
    select(db, f"SET onboard.parallel_tables = {workers}")
    run_id = value(
        db, """SELECT onboard_submit_all(NULL, '{"on_error": "raise"}')"""
    )
    assert ended(db, run_id) == "failed"
    received = listener.received(db)
    wanted = history(db, run_id)
    assert tables_of(received) == wanted
    done = [row for row in wanted if row["status"] == "done"]
    assert len(done) == (1 if workers else 0)
    run = run_of(received)
    assert counts(run) == ["failed", 2, len(done), 0, 2 - len(done)]
    assert run["bytes"] == sum(row["bytes"] for row in wanted)
    assert run["started"] == min(row["started"] for row in wanted)


@pytest.mark.parametrize("char", ["x", "ü", '"', "\\", "\x01"])
def test_long_names(db, listener, bucket, char):
    """Names are clipped between characters; the payload is shorter than 8,000
    bytes."""
    name = char * 5000
    key = ("k/" + '"' * 1022) if char == '"' else "k" * 1024
    found = land(db, name, "SELECT 1 AS n", bucket, key=key)
    received = listener.received(db)
    (row,) = tables_of(received)
    assert row["uri"] == found["uri"] == f"s3://{bucket}/{key}"
    assert len(row["name"].encode()) == 400
    assert name.startswith(row["name"])
    assert run_of(received)["run_id"] == found["run_id"]


def test_read_only_transaction(db, listener, s3, bucket):
    """The history cannot be written there, but listeners can be notified."""
    select(db, "BEGIN READ ONLY")
    found = land(db, "t", "SELECT 1 AS n", bucket)
    select(db, "COMMIT")
    assert history(db, found["run_id"]) == []
    received = listener.received(db)
    (row,) = tables_of(received)
    assert (row["run_id"], row["status"]) == (found["run_id"], "done")
    assert run_of(received)["run_id"] == found["run_id"]
    assert body(s3, bucket, key_of("t")) == copy(db, "SELECT 1 AS n")
