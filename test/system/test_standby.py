"""Exports from a session of a hot standby."""

import pytest

from lib.exports import (
    Running, body, call, copy, failure, key_of, keys, land, land_all, no_trace,
    rows, select, value,
)
from lib.process import wait_until

RUNS = "SELECT count(*) FROM onboard_runs"


@pytest.fixture(scope="module")
def standby(pg):
    server = pg.standby()
    server.start()
    yield server
    server.close()


@pytest.fixture
def primary(db, pg, standby, bucket):
    """A session of the primary, whose tables are known to the standby."""
    # Unflushed WAL is not replicated.
    select(db, "SET synchronous_commit = on")
    select(
        db,
        """
        CREATE TABLE replicated AS
            SELECT g, 'row ' || g AS text FROM generate_series(1, 1000) g;
        DELETE FROM onboard_tables;
        INSERT INTO onboard_tables (name, query, bucket) VALUES
            ('one', 'TABLE replicated', %(bucket)s),
            ('two', 'SELECT 2 AS two', %(bucket)s),
            ('wrong', 'SELECT 1 / 0', %(bucket)s)
        """,
        {"bucket": bucket},
    )
    standby.wait_for_replay(pg)
    yield db
    select(db, "DROP TABLE replicated; DELETE FROM onboard_tables")


@pytest.fixture
def session(standby, primary):
    connection = standby.connect("onboard")
    assert value(connection, "SELECT pg_is_in_recovery()")
    yield connection
    connection.close()


def new_lines(standby, before, name):
    return [
        line
        for line in standby.log_text()[before:].splitlines()
        if f'LOG:  export of "{name}"' in line
    ]


def test_export(session, standby, primary, s3, bucket):
    before = len(standby.log_text())
    runs = value(primary, RUNS)
    found = land(session, "replicated", None, bucket)
    assert (found["status"], found["rows"]) == ("done", 1000)
    landed = body(s3, bucket, key_of("replicated"))
    assert landed == copy(primary, "TABLE replicated")
    # There is no history row on either server, but a line in the log.
    assert value(session, RUNS) == value(primary, RUNS) == runs
    (line,) = new_lines(standby, before, "replicated")
    assert f'by "postgres" to "{found["uri"]}": done, 1000 rows' in line


def test_multipart_export(session, s3, bucket):
    query = rows(20)
    assert land(session, "big", query, bucket)["rows"] == 20000
    assert body(s3, bucket, key_of("big")) == copy(session, query)


def test_progress(pg, standby, session, make_server, proxy, rgw, bucket):
    """The standby's view has its own exports."""
    server = make_server(proxy.endpoint, rgw.access_key, rgw.secret_key)
    standby.wait_for_replay(pg)
    observer = standby.connect("onboard")
    held = proxy.rule("PUT", hold=True)
    with Running(session, *call("t", "SELECT 1 AS n", bucket, server=server)
                 ) as run:
        held.wait()
        wait_until(
            lambda: [
                (row["pid"], row["phase"], row["rows"], row["in_flight"])
                for row in select(observer, "TABLE onboard_progress")
            ] == [(run.pid, "upload", 1, 1)],
            30, "the export is shown",
        )
        assert pg.psql("TABLE onboard_progress", "onboard") == ""
        held.release()
        run.rows()
    observer.close()


def test_all(session, standby, primary, s3, bucket):
    before = len(standby.log_text())
    runs = value(primary, RUNS)
    found = land_all(session)
    assert [(row["name"], row["status"]) for row in found] == [
        ("one", "done"), ("two", "done"), ("wrong", "failed")
    ]
    assert keys(s3, bucket) == [key_of("one"), key_of("two")]
    landed = body(s3, bucket, key_of("one"))
    assert landed == copy(primary, "TABLE replicated")
    assert value(session, RUNS) == value(primary, RUNS) == runs
    assert len(new_lines(standby, before, "two")) == 1
    (line,) = new_lines(standby, before, "wrong")
    assert "failed: division by zero" in line


def test_all_by_workers(session, standby, primary, pg, s3, bucket):
    """Each table reports its process: none is the session's."""
    select(
        primary, "INSERT INTO onboard_tables (name, query, bucket)"
        " SELECT 'pid' || n, 'SELECT pg_backend_pid(), pg_is_in_recovery(),'"
        " || ' current_setting(''transaction_read_only''), ' || n, %s"
        " FROM generate_series(1, 6) n", (bucket,),
    )
    standby.wait_for_replay(pg)
    before = len(standby.log_text())
    found = land_all(session, "pid%")
    assert [row["status"] for row in found] == ["done"] * 6
    pids = set()
    for n in range(1, 7):
        line = body(s3, bucket, key_of(f"pid{n}")).decode().split("\n")[1]
        pid, *rest = line.split(",")
        assert rest == ["t", "on", str(n)]
        pids.add(int(pid))
    assert session.info.backend_pid not in pids
    assert "FATAL" not in standby.log_text()[before:]


def test_a_failure_ends_cleanly(session, rgw, s3, bucket):
    query = rows(20, "1 / (g - 18000), repeat('x', 1000)")
    assert failure(land, session, "bad", query, bucket).pgcode == "22012"
    no_trace(rgw, bucket)
    assert land(session, "again", "SELECT 1", bucket)["status"] == "done"


def test_read_only_transaction(db, s3, bucket, pg):
    """The same rule applies on a primary."""
    runs = value(db, RUNS)
    before = len(pg.log_text())
    select(db, "BEGIN READ ONLY")
    assert land(db, "read", "SELECT 1", bucket)["status"] == "done"
    select(db, "COMMIT")
    assert keys(s3, bucket) == [key_of("read")]
    assert value(db, RUNS) == runs
    assert len(new_lines(pg, before, "read")) == 1


def test_no_jobs(session, primary):
    """A standby cannot write the history of a job."""
    for sql in ("SELECT onboard_submit('one')", "SELECT onboard_submit_all()"):
        assert failure(value, session, sql).pgcode == "25006"
