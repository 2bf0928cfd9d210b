"""onboard_progress: exports under way, stopped in each phase by the proxy."""

import json
import pathlib
import re

import pytest

from lib.exports import (
    EAGER, Running, call, copy, failure, land, network_event, rows, run_pid,
    select, value,
)
from lib.process import wait_until
from lib.proxy import s3_error

COLUMNS = [
    "pid", "run_id", "name", "phase", "rows", "raw_bytes", "bytes", "parts",
    "in_flight", "retries", "bytes_per_second", "estimated_bytes", "started",
]

# This limit has room for two parts of the minimum size.
SMALL = dict(parallel="off")
MEMORY = "SET onboard.upload_memory = '10.5MB'; SET onboard.part_size = '5MB'"
PART = 5 << 20


@pytest.fixture
def session(pg):
    """The exporting session; db observes it."""
    connection = pg.connect("onboard")
    select(connection, MEMORY)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def table(pg):
    pg.psql(
        "CREATE TABLE watched AS SELECT g, repeat('row ' || g, 30) AS t"
        " FROM generate_series(1, 150000) g; ANALYZE watched",
        "onboard",
    )
    yield "watched"
    pg.psql("DROP TABLE watched", "onboard")


def progress(db):
    return select(db, "SELECT * FROM onboard_progress")


def seen(db, **wanted):
    """The only running export, once its row has the given values."""
    found = []

    def shows():
        found[:] = progress(db)
        return len(found) == 1 and all(
            found[0][key] == it for key, it in wanted.items()
        )

    wait_until(shows, 30, lambda: f"{wanted} is shown: {found}")
    return found[0]


def seen_blocked(db, pid):
    """The export's row, once it waits for the network and has produced rows."""
    found = {}

    def waits():
        # Both come from one read of the server's memory.
        sql = (
            "SELECT p.*, a.wait_event_type AS event FROM onboard_progress p"
            " JOIN pg_stat_activity a USING (pid)"
        )
        found.clear()
        for row in select(db, sql):
            found.update(row)
        return (
            found.get("event") == "Extension" and found["rows"] > 0
            and found["pid"] == pid
        )

    wait_until(waits, 30, lambda: f"{pid} waits: {found}")
    return found


def nothing_left(db):
    wait_until(lambda: progress(db) == [], 10, "no export is shown")


def test_query(db, session, bucket, proxy, proxied):
    """The query returns rows; the store does not respond."""
    held = proxy.rule("POST", "uploads", hold=True)
    before = value(db, "SELECT clock_timestamp()")
    query = rows(30)
    with Running(session, *call("t", query, bucket, server=proxied, **SMALL)
                 ) as run:
        held.wait()
        row = seen_blocked(db, run.pid)
        assert list(row)[:-1] == COLUMNS
        assert row["phase"] == "query"
        assert (row["pid"], row["name"]) == (run.pid, "t")
        assert before <= row["started"] <= value(
            db, "SELECT clock_timestamp()"
        )
        assert 0 < row["rows"] < 30000
        # A row has slightly more than 1 KB, and some rows are in the encoder's
        # window.
        assert 0 < row["raw_bytes"] <= 2.1 * PART
        assert row["raw_bytes"] >= row["rows"] * 1000 - 128 * 1024
        figures = ("bytes", "parts", "in_flight", "retries")
        assert [row[key] for key in figures] == [0] * 4
        held.release()
        (found,) = run.rows()
    assert found["run_id"] == row["run_id"]
    nothing_left(db)


def test_upload(db, session, bucket, proxy, proxied):
    """The query has ended; the last part has not landed."""
    proxy.rule("PUT", "partNumber=1", response=s3_error(500, "InternalError"))
    held = proxy.rule("PUT", "partNumber=3", hold=True)
    query = rows(12)
    size = len(copy(db, query))
    with Running(session, *call("t", query, bucket, server=proxied, **SMALL)
                 ) as run:
        held.wait()
        row = seen(db, phase="upload", parts=2, in_flight=1)
        assert row["rows"] == 12000
        assert row["raw_bytes"] == size
        assert row["bytes"] == 2 * PART
        assert row["retries"] == 1
        held.release()
        run.rows()
    nothing_left(db)


def test_upload_in_one_request(db, session, bucket, proxy, proxied):
    held = proxy.rule("PUT", "t_data.csv", hold=True)
    with Running(session, *call("t", "SELECT 1 AS n", bucket, server=proxied)
                 ) as run:
        held.wait()
        row = seen(db, phase="upload", in_flight=1)
        assert (row["rows"], row["raw_bytes"], row["bytes"]) == (1, 4, 0)
        held.release()
        run.rows()


def test_complete(db, session, bucket, proxy, proxied):
    """All parts have landed; S3 assembles the object, which is compressed."""
    held = proxy.rule("POST", "uploadId=", hold=True)
    query = (
        "SELECT g, sha512(g::text::bytea) AS a, sha512((-g)::text::bytea) AS b"
        " FROM generate_series(1, 60000) g"
    )
    size = len(copy(db, query))
    statement = call(
        "t", query, bucket, server=proxied, compression="gzip", **SMALL
    )
    with Running(session, *statement) as run:
        held.wait()
        row = seen(db, phase="complete", in_flight=0)
        held.release()
        (found,) = run.rows()
    assert row["rows"] == 60000
    assert row["raw_bytes"] == size > row["bytes"] == found["bytes"]
    assert row["parts"] == 2


def test_rate(db, session, bucket, proxy, proxied):
    """The rate covers the time from the beginning to the query of the view."""
    held = proxy.rule("POST", "uploads", hold=True)
    with Running(session, *call("t", rows(30), bucket, server=proxied, **SMALL)
                 ) as run:
        held.wait()
        seen_blocked(db, run.pid)
        sql = (
            "SELECT *, extract(epoch FROM statement_timestamp() - started)"
            "::float8 AS least FROM onboard_progress"
        )
        (row,) = select(db, sql)
        most = value(
            db, "SELECT extract(epoch FROM clock_timestamp() - %s)::float8",
            (row["started"],),
        )
        held.release()
        run.rows()
    rate = row["bytes_per_second"]
    assert row["raw_bytes"] / most - 1 <= rate
    assert rate <= row["raw_bytes"] / row["least"] + 1


@pytest.mark.parametrize("format", ["csv", "json"])
@pytest.mark.parametrize("parallel", ["off", 2])
def test_estimate(db, session, bucket, table, proxy, proxied, format,
                  parallel):
    """The estimate is the planner's, with any plan."""
    select(session, EAGER)
    options = {"format": format, "parallel": parallel}
    lines = select(
        session, "SELECT line FROM onboard_explain(%s, %s) line",
        (f"TABLE {table}", json.dumps(options)),
    )
    found = re.search(r"rows=(\d+) width=(\d+)", lines[1]["line"])
    if format == "csv" and parallel:
        # There, the line belongs to the tails.
        found = re.search(
            r"rows=(\d+) width=(\d+)", select(
                session, "SELECT line FROM onboard_explain(%s, %s) line",
                (f"TABLE {table}", '{"parallel": "off"}'),
            )[1]["line"],
        )
    held = proxy.rule("POST", "uploadId=", hold=True)
    statement = call(
        "t", f"TABLE {table}", bucket, server=proxied, **options
    )
    select(session, "RESET onboard.upload_memory")
    with Running(session, *statement) as run:
        held.wait()
        row = seen(db, phase="complete")
        held.release()
        run.rows()
    wanted = int(found[1]) * int(found[2])
    assert row["estimated_bytes"] == pytest.approx(wanted, rel=0.01)


def test_workers(db, session, bucket, table, proxy, proxied):
    """Each process of an export reports its own figures; the view has their
    sum."""
    select(session, EAGER + "SET onboard.upload_memory = '32MB'")
    held = proxy.rule("PUT", "partNumber=", times=None, hold=True)
    query = f"SELECT t, t AS u, t AS v FROM {table}"
    statement = call("t", query, bucket, server=proxied, parallel=2)
    size = len(copy(db, query))
    with Running(session, *statement) as run:
        held.wait()
        wait_until(
            lambda: len(select(
                db, "SELECT pid FROM pg_stat_progress_copy"
                " WHERE tuples_processed > 0")) == 3,
            30, "three processes export",
        )
        select(db, "BEGIN")
        parts = select(db, "SELECT * FROM pg_stat_progress_copy")
        (row,) = progress(db)
        select(db, "COMMIT")
        assert row["pid"] == run.pid
        assert len(parts) == 3
        assert row["rows"] == sum(part["tuples_processed"] for part in parts)
        assert row["raw_bytes"] == sum(
            part["bytes_processed"] for part in parts
        )
        # Each process has two parts, since there is no room for a third.
        assert seen(db, in_flight=6)["parts"] == 0
        complete = proxy.rule("POST", "uploadId=", hold=True)
        held.release()
        complete.wait()
        row = seen(db, phase="complete")
        assert (row["rows"], row["raw_bytes"]) == (150000, size)
        assert (row["bytes"], row["in_flight"]) == (size, 0)
        complete.release()
        (found,) = run.rows()
    runs = select(
        db, "SELECT parts FROM onboard_runs WHERE run_id = %s",
        (found["run_id"],),
    )
    assert row["parts"] == runs[0]["parts"] > 3
    nothing_left(db)


def test_as_copy(db, session, bucket, proxy, proxied):
    """PostgreSQL's own view shows the export, too."""
    held = proxy.rule("POST", "uploadId=", hold=True)
    query = rows(12)
    size = len(copy(db, query))
    with Running(session, *call("t", query, bucket, server=proxied, **SMALL)
                 ) as run:
        held.wait()
        seen(db, phase="complete")
        (row,) = select(db, "SELECT * FROM pg_stat_progress_copy")
        held.release()
        run.rows()
    assert (row["pid"], row["command"], row["type"]) == (
        run.pid, "COPY TO", "CALLBACK"
    )
    assert (row["bytes_processed"], row["bytes_total"]) == (size, 0)
    assert (row["tuples_processed"], row["tuples_excluded"]) == (12000, 0)


def test_within_copy(db, session, bucket, proxy, proxied):
    """An export that COPY's query calls replaces COPY's progress while it runs.
    """
    held = proxy.rule("PUT", "t_data.csv", hold=True)
    select(db, "SELECT pg_advisory_lock(55)")
    sql, arguments = call("t", "SELECT 1 AS n", bucket, server=proxied)
    export = session.cursor().mogrify(
        sql.replace("SELECT *", "SELECT status"), arguments
    ).decode()
    copies = (
        f"CREATE TEMPORARY TABLE copied AS SELECT g FROM"
        f" generate_series(1, 5) g; COPY (SELECT g, CASE g WHEN 3 THEN"
        f" ({export}) WHEN 5 THEN pg_advisory_xact_lock(55)::text END"
        " FROM copied) TO '/dev/null'"
    )
    try:
        with Running(session, copies) as run:
            held.wait()
            row = seen(db, phase="upload", in_flight=1)
            assert row["rows"] == 1
            held.release()
            wait_until(
                lambda: value(
                    db, "SELECT wait_event FROM pg_stat_activity"
                    " WHERE pid = %s", (run.pid,)) == "advisory",
                30, "COPY goes on",
            )
            assert progress(db) == []
            (row,) = select(db, "SELECT * FROM pg_stat_progress_copy")
            assert (row["pid"], row["type"]) == (run.pid, "FILE")
            assert row["tuples_processed"] == 4
            select(db, "SELECT pg_advisory_unlock(55)")
            run.rows()
    finally:
        select(db, "SELECT pg_advisory_unlock_all()")


def test_an_export_in_an_export(db, session, bucket, proxy, proxied):
    """The inner export is visible first, then the outer one again."""
    inner = proxy.rule("PUT", "inner_data.csv", hold=True)
    outer = proxy.rule("PUT", "outer_data.csv", hold=True)
    sql, arguments = call("inner", "SELECT 1 AS n", bucket, server=proxied)
    query = session.cursor().mogrify(
        sql.replace("SELECT *", "SELECT status"), arguments
    ).decode()
    with Running(session, *call("outer", query, bucket, server=proxied)
                 ) as run:
        inner.wait()
        assert seen(db, in_flight=1)["name"] == "inner"
        inner.release()
        outer.wait()
        row = seen(db, in_flight=1)
        assert (row["name"], row["rows"]) == ("outer", 1)
        outer.release()
        run.rows()


@pytest.mark.parametrize("what", ["error", "copy"])
def test_what_happens_in_the_query(db, session, bucket, proxy, proxied, what):
    """These functions clear the backend's only entry for progress."""
    does = {
        "error": "BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN"
                 " NULL; END",
        "copy": "COPY (SELECT 1) TO '/dev/null'",
    }[what]
    select(
        db, "CREATE FUNCTION clearing(n int) RETURNS int LANGUAGE plpgsql AS"
        f" $$BEGIN IF n = 9000 THEN {does}; END IF; RETURN n; END$$",
    )
    held = proxy.rule("POST", "uploadId=", hold=True)
    try:
        query = rows(12, "clearing(g), repeat('x', 1000)")
        statement = call("t", query, bucket, server=proxied, **SMALL)
        with Running(session, *statement) as run:
            held.wait()
            row = seen(db, phase="complete")
            assert (row["name"], row["rows"]) == ("t", 12000)
            held.release()
            run.rows()
    finally:
        select(db, "DROP FUNCTION clearing")


def test_a_failure_leaves_nothing(db, session, bucket):
    query = rows(12, "1 / (g - 11000), repeat('x', 1000)")
    assert failure(land, session, "t", query, bucket).pgcode == "22012"
    assert progress(db) == []
    assert select(db, "SELECT * FROM pg_stat_progress_copy") == []


def test_without_track_activities(db, session, bucket, proxy, proxied):
    select(session, "SET track_activities = off")
    held = proxy.rule("PUT", "t_data.csv", hold=True)
    with Running(session, *call("t", "SELECT 1 AS n", bucket, server=proxied)
                 ) as run:
        held.wait()
        assert progress(db) == []
        held.release()
        assert run.rows()[0]["status"] == "done"


NAMES = {
    "short": ("orders", "orders"),
    "just": ("x" * 40, "x" * 40),
    "long": ("y" * 41, "y" * 40),
    # A character of two bytes would be clipped in the middle.
    "umlauts": ("x" + "ü" * 30, "x" + "ü" * 19),
}


@pytest.mark.parametrize("which", NAMES)
def test_names(db, session, bucket, proxy, proxied, which):
    """The entry has room for 40 bytes."""
    name, shown = NAMES[which]
    held = proxy.rule("PUT", "", hold=True)
    statement = call(name, "SELECT 1 AS n", bucket, server=proxied, key="k")
    with Running(session, *statement) as run:
        held.wait()
        assert seen(db, in_flight=1)["name"] == shown
        held.release()
        run.rows()


def test_a_job_has_its_whole_name(db, bucket, proxy, proxied):
    """The whole name comes from the history."""
    name = "ü" * 100
    held = proxy.rule("PUT", "", hold=True)
    run_id = value(
        db, "SELECT onboard_submit(%s, 'SELECT 1 AS n', %s, %s)",
        (name, bucket, json.dumps({"server": proxied, "key": "k"})),
    )
    held.wait()
    row = seen(db, in_flight=1)
    assert (row["name"], row["run_id"]) == (name, run_id)
    assert row["pid"] == run_pid(db, run_id)
    held.release()
    assert value(
        db, "SELECT status FROM onboard_wait(%s, '30s')", (run_id,)) == "done"


def test_workers_of_a_run(db, session, bucket, proxy, proxied):
    """Each table of onboard_all() is a row with its worker's pid."""
    names = ["watch_" + letter * 50 for letter in "ab"]
    for name in names:
        select(
            db, "INSERT INTO onboard_tables (name, query, bucket, options)"
            " VALUES (%s, 'SELECT 1 AS n', %s, %s)",
            (name, bucket, json.dumps({"server": proxied})),
        )
    held = proxy.rule("PUT", "", times=None, hold=True)
    try:
        with Running(session, "SELECT * FROM onboard_all('watch%%')") as run:
            wait_until(
                lambda: [row["in_flight"] for row in progress(db)] == [1, 1],
                30, "both tables are sent",
            )
            found = progress(db)
            held.release()
            run.rows()
    finally:
        select(db, "DELETE FROM onboard_tables")
    assert sorted(row["name"] for row in found) == names
    assert len({row["run_id"] for row in found}) == 1
    assert run.pid not in {row["pid"] for row in found}


def test_roles_that_see_it(pg, db, session, bucket, proxy, proxied):
    """The rules are those of onboard_runs; the session's user and members of
    pg_monitor see it, too."""
    select(
        db, f"""
        CREATE ROLE watch_exporter; CREATE ROLE watch_member;
        CREATE ROLE watch_monitor; CREATE ROLE watch_other;
        GRANT watch_exporter TO watch_member;
        GRANT pg_read_all_stats TO watch_monitor;
        GRANT USAGE ON FOREIGN SERVER {proxied} TO watch_exporter;
        """,
    )
    select(
        db, "SET log_statement = none; CREATE USER MAPPING FOR watch_exporter"
        f" SERVER {proxied} OPTIONS (access_key_id 'x', secret_access_key 'x')"
    )
    held = proxy.rule("PUT", "", hold=True)
    select(session, "SET ROLE watch_exporter")
    observer = pg.connect("onboard")
    try:
        statement = call("t", "SELECT 1 AS n", bucket, server=proxied)
        with Running(session, *statement) as run:
            held.wait()
            seen(db, in_flight=1)
            counts = {}
            for who in ("exporter", "member", "monitor", "other"):
                select(observer, f"SET ROLE watch_{who}")
                counts[who] = len(progress(observer))
            held.release()
            assert run.error().pgcode == "28000"
    finally:
        observer.close()
        select(session, "RESET ROLE")
        select(
            db, f"DROP USER MAPPING FOR watch_exporter SERVER {proxied};"
            " DROP OWNED BY watch_exporter; DROP ROLE watch_exporter,"
            " watch_member, watch_monitor, watch_other"
        )
    assert counts == {"exporter": 1, "member": 1, "monitor": 1, "other": 0}


OPERATIONS = (
    pathlib.Path(__file__).parent.parent.parent / "docs" / "operations.md"
)


def test_queries_of_the_documentation(db, session, bucket, table, proxy, proxied):
    """The documentation's queries for monitoring work as printed."""
    section = OPERATIONS.read_text().split("## Monitoring\n")[1].split("\n## ")
    watch, *others = re.findall(r"```sql\n(.*?)```", section[0], re.S)
    held = proxy.rule("POST", "uploadId=", hold=True)
    statement = call("t", f"TABLE {table}", bucket, server=proxied, **SMALL)
    with Running(session, *statement) as run:
        held.wait()
        seen(db, phase="complete")
        (row,) = select(db, watch)
        assert (row["pid"], row["phase"]) == (run.pid, "complete")
        assert 50 < row["percent"] < 200
        assert row["wait_event"] == network_event(db)
        held.release()
        run.rows()
    for query in others:
        select(db, query)
    assert len(others) == 7


def test_another_database(pg, db, session, bucket, proxy, proxied):
    """The view does not show exports of other databases."""
    held = proxy.rule("PUT", "t_data.csv", hold=True)
    pg.psql("CREATE DATABASE elsewhere")
    try:
        pg.psql("CREATE EXTENSION onboard", "elsewhere")
        with Running(session, *call("t", "SELECT 1 AS n", bucket,
                                    server=proxied)) as run:
            held.wait()
            seen(db, in_flight=1)
            assert pg.psql(
                "SELECT count(*) FROM onboard_progress", "elsewhere"
            ).strip() == "0"
            held.release()
            run.rows()
    finally:
        pg.psql("DROP DATABASE elsewhere")
