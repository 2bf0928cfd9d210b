"""onboard_all() by workers: several tables at a time, under one snapshot."""

import uuid

import pytest

from conftest import Server
from lib import process
from lib.exports import (
    SLEEPS, Running, body, copy, failure, key_of, keys, land_all,
    no_upload_left, own_event, register, rows, run_pid, select, statuses,
    value, wait_for_event, wait_for_worker,
)
from lib.postgres import Cluster


def history(observer, run_id=None):
    sql = (
        "SELECT name, status, sqlstate FROM onboard_runs"
        " WHERE run_id = coalesce(%s, (SELECT run_id FROM onboard_runs"
        " ORDER BY started DESC LIMIT 1)) ORDER BY name"
    )
    return {
        row["name"]: (row["status"], row["sqlstate"])
        for row in select(observer, sql, (run_id,))
    }


def no_worker_left(observer):
    sql = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'onboard worker'"
    )
    assert value(observer, sql) == 0


def test_workers_do_it(db, observer, s3, registry, bucket):
    """Workers export the tables, not the session: each row has the pid of its
    process."""
    register(
        db, bucket,
        **{f"t{n}": f"SELECT {n} AS n, pg_backend_pid() AS pid"
           for n in range(12)},
    )
    found = land_all(db)
    assert {row["status"] for row in found} == {"done"}
    pids = set()
    for n in range(12):
        lines = body(s3, bucket, key_of(f"t{n}")).decode().split()
        assert lines[0] == "n,pid" and lines[1].startswith(f"{n},")
        pids.add(lines[1].split(",")[1])
    assert str(db.info.backend_pid) not in pids
    assert 1 <= len(pids) <= 4
    assert set(history(observer, found[0]["run_id"]).values()) == {
        ("done", None)
    }
    no_worker_left(observer)


def test_settings_and_role(pg, db, s3, registry, bucket):
    """Workers have the caller's settings and role."""
    select(db, "CREATE ROLE run_reader")
    select(db, "GRANT USAGE ON FOREIGN SERVER s3 TO run_reader")
    select(db, "GRANT SELECT ON onboard_tables TO run_reader")
    query = (
        "SELECT current_user AS u, session_user AS s, DATE '2024-02-01' AS d,"
        " TIMESTAMPTZ '2024-02-01 00:00Z' AS t, 1.1::float8 / 3 AS f,"
        " '\\x01'::bytea AS b, current_setting('search_path') AS p"
    )
    register(db, bucket, a=query, b=query)
    mapping = (
        "CREATE USER MAPPING FOR run_reader SERVER s3 OPTIONS"
        " (access_key_id 'x', secret_access_key 'x')"
    )
    try:
        select(
            db, "SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo';"
            " SET extra_float_digits = -3; SET bytea_output = 'escape';"
            " SET search_path = public, pg_catalog"
        )
        land_all(db)
        wanted = copy(db, query)
        assert body(s3, bucket, key_of("a")) == wanted
        assert body(s3, bucket, key_of("b")) == wanted
        select(db, "SET log_statement = none; " + mapping)
        select(db, "SET ROLE run_reader")
        found = land_all(db)
        # Its keys are wrong, which shows that a worker used its mapping.
        assert {row["status"] for row in found} == {"failed"}
        assert "InvalidAccessKeyId" in "".join(db.notices)
    finally:
        select(db, "RESET ROLE")
        select(db, "DROP USER MAPPING IF EXISTS FOR"
                   " run_reader SERVER s3; DROP OWNED BY run_reader;"
                   " DROP ROLE run_reader")


@pytest.mark.parametrize("why", ["written", "temporary"])
def test_what_workers_would_not_see(db, s3, registry, bucket, why):
    """The session exports the tables itself, and says so."""
    register(db, bucket, a="SELECT count(*) FROM seen", b="SELECT 1 AS one")
    temporary = "TEMPORARY" if why == "temporary" else ""
    select(db, "BEGIN")
    select(db, f"CREATE {temporary} TABLE seen AS SELECT 1 AS n")
    if why == "temporary":
        select(db, "COMMIT")
    try:
        found = land_all(db)
    finally:
        select(db, "COMMIT" if why == "written" else "BEGIN")
        select(db, "DROP TABLE seen; COMMIT" if why != "written"
               else "DROP TABLE seen")
    assert statuses(found) == {"a": "done", "b": "done"}
    assert body(s3, bucket, key_of("a")) == b"count\n1\n"
    assert "one after another" in "".join(db.notices)


def test_no_worker_is_free(pg, db, s3, registry, bucket):
    """max_worker_processes is used up: the session exports the tables itself.
    """
    register(db, bucket, a="SELECT 1 AS a", b="SELECT 2 AS b")
    select(db, "SET max_parallel_workers_per_gather = 0")
    busy = [pg.connect("onboard") for _ in range(2)]
    try:
        runs = []
        for n, session in enumerate(busy):
            select(session, "SET onboard.parallel_tables = 4")
        select(
            db, "INSERT INTO onboard_tables (name, query, bucket)"
            " SELECT 'busy' || n, 'SELECT pg_advisory_xact_lock_shared(7)"
            " IS NULL', %s FROM generate_series(1, 8) n", (bucket,),
        )
        select(db, "SELECT pg_advisory_lock(7)")
        for session in busy:
            run = Running(
                session, "SELECT * FROM onboard_all('busy%',"
                " '{\"key\": \"{run_id}/{name}\"}')"
            )
            run.__enter__()
            runs.append(run)
        for n in range(2):
            wait_for_worker(db, "advisory")
        sql = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event ="
            " 'advisory' AND backend_type = 'onboard worker'"
        )
        # Debian's max_worker_processes is 8, one of which the logical
        # replication launcher uses.
        process.wait_until(lambda: value(db, sql) >= 7, 30, "7 workers wait")
        error = failure(value, db, "SELECT onboard_submit('a')")
        assert (error.pgcode, error.diag.message_primary) == (
            "53000", "no background worker is free"
        )
        found = land_all(db, "_")
        assert statuses(found) == {"a": "done", "b": "done"}
        assert "could be started" in "".join(db.notices)
        assert body(s3, bucket, key_of("b")) == b"b\n2\n"
        select(db, "SELECT pg_advisory_unlock(7)")
        for run in runs:
            assert {row["status"] for row in run.rows()} == {"done"}
    finally:
        select(db, "SELECT pg_advisory_unlock_all()")
        for run in runs:
            run.__exit__()
        for session in busy:
            session.close()


@pytest.mark.parametrize("how", ["cancel", "timeout", "terminate"])
def test_the_caller_is_ended(pg, observer, db, rgw, s3, registry, bucket, how):
    """Its workers and their uploads end; landed objects stay."""
    register(db, bucket, a="SELECT 1", b=SLEEPS, c=SLEEPS, d="SELECT 1")
    session = pg.connect("onboard")
    if how == "timeout":
        select(session, "SET statement_timeout = '3s'")
    with Running(session, "SELECT * FROM onboard_all()") as run:
        wait_for_worker(observer, "PgSleep")
        if how != "timeout":
            select(observer, f"SELECT pg_{how}_backend(%s)", (run.pid,))
        error = run.error()
    if how != "terminate":
        assert error.pgcode == "57014"
        no_worker_left(observer)
    session.close()
    process.wait_until(
        lambda: value(
            observer, "SELECT count(*) FROM pg_stat_activity"
            " WHERE backend_type = 'onboard worker'") == 0,
        10, "no worker is left",
    )
    no_upload_left(rgw, bucket)
    assert set(keys(s3, bucket)) <= {key_of("a"), key_of("d")}
    found = history(observer)
    for name in ("b", "c"):
        assert found.get(name) in (None, ("failed", "57014")), found


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_a_worker_is_ended(observer, db, rgw, s3, registry, bucket, how):
    """Its table fails, and no other."""
    register(db, bucket, a="SELECT 1", b=SLEEPS, c="SELECT 1", d=rows(9))
    with Running(db, "SELECT * FROM onboard_all()") as run:
        pid = wait_for_worker(observer, "PgSleep")
        waiting = own_event(observer, "OnboardWorker")
        wait_for_event(observer, run.pid, waiting)
        select(observer, f"SELECT pg_{how}_backend(%s)", (pid,))
        found = run.rows()
    assert statuses(found) == {
        "a": "done", "b": "failed", "c": "done", "d": "done"
    }
    no_upload_left(rgw, bucket)
    kept = history(observer, found[0]["run_id"])
    assert kept["b"] == (
        ("failed", "57014") if how == "cancel" else ("failed", "57P01")
    )
    assert body(s3, bucket, key_of("d")) == copy(db, rows(9))


def test_the_session_goes_on_without_workers(
    observer, db, s3, registry, bucket
):
    """The last worker of a run is terminated: the session goes on."""
    select(db, "SET onboard.parallel_tables = 2")
    register(db, bucket, b=SLEEPS, c=SLEEPS, d="SELECT 1 AS d")
    select(db, "UPDATE onboard_tables SET enabled = name <> 'c'")
    with Running(db, "SELECT * FROM onboard_all()") as run:
        pid = wait_for_worker(observer, "PgSleep")
        select(observer, "SELECT pg_terminate_backend(%s)", (pid,))
        found = run.rows()
    assert statuses(found) == {"b": "failed", "d": "done"}
    assert body(s3, bucket, key_of("d")) == b"d\n1\n"


def test_a_lock_of_the_session(db, rgw, s3, registry, bucket):
    """Otherwise, a worker would wait for that lock for ever."""
    select(db, "CREATE TABLE locked (n int)")
    register(db, bucket, a="TABLE locked", b="SELECT 1")
    try:
        select(db, "BEGIN")
        # this mode needs no transaction id
        select(db, "SELECT pg_advisory_xact_lock(99)")
        select(
            db, "UPDATE onboard_tables SET query = query"
            " WHERE false"
        )
        select(db, "ROLLBACK")
        register(db, bucket, c="SELECT pg_advisory_xact_lock(99) IS NULL AS x")
        select(db, "BEGIN")
        select(db, "SELECT pg_advisory_xact_lock(99)")
        sql = "SELECT * FROM onboard_all()"
        try:
            select(db, sql)
        except Exception as error:
            assert error.pgcode == "40P01"
            assert "onboard.parallel_tables" in error.diag.message_hint
        else:
            raise AssertionError("no error")
    finally:
        select(db, "ROLLBACK")
        select(db, "DROP TABLE locked")
    no_upload_left(rgw, bucket)


def test_waiting_takes_no_memory(db, registry, bucket):
    """The caller checks for deadlocks repeatedly, as long as workers run."""
    sleeps = "SELECT pg_sleep(4) IS NULL AS n"
    register(db, bucket, a=sleeps, b=sleeps)
    used = select(
        db, "SELECT onboard_all(), (SELECT sum(used_bytes)::int FROM"
        " pg_backend_memory_contexts WHERE name = 'onboard run') AS used"
    )[0]["used"]
    assert 0 < used < 50_000


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_cannot_be_prepared(rgw, s3, bucket, canaries, workers):
    """The prepared transaction would hold the run for as long as it exists."""
    run_id = str(uuid.uuid4())
    with Cluster(settings={"max_prepared_transactions": "2"}) as cluster:
        cluster.psql("CREATE EXTENSION onboard")
        Server(cluster, canaries)(
            rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3",
            dbname="postgres",
        )
        session = cluster.connect()
        register(session, bucket, a="SELECT 1 AS a", b="SELECT 2 AS b")
        select(session, f"SET onboard.parallel_tables = {workers}")
        select(session, "BEGIN")
        run = "SELECT status FROM onboard_all(NULL, '{}', %s)"
        assert select(session, run, (run_id,)) == [{"status": "done"}] * 2
        error = failure(select, session, "PREPARE TRANSACTION 'run'")
        assert error.pgcode == "0A000"
        status = "SELECT status FROM onboard_status(%s)"
        (found,) = select(session, status, (run_id,))
        assert found["status"] == ("done" if workers else None)
        # even if it has left the run, without an error
        select(session, "BEGIN")
        select(session, "DECLARE one CURSOR FOR SELECT (onboard_all("
               "NULL, '{}', %s)).status", (run_id,))
        assert select(session, "FETCH one") == [{"status": "done"}]
        error = failure(select, session, "PREPARE TRANSACTION 'run'")
        assert error.pgcode == "0A000"
        assert "onboard_all" in error.diag.message_primary
        assert "onboard_submit_all" in error.diag.message_hint
        assert run_pid(session, run_id) is None
        # a transaction that has rolled back the run can be prepared
        select(session, "BEGIN")
        select(session, "SAVEPOINT before")
        assert select(session, run, (run_id,)) == [{"status": "done"}] * 2
        select(session, "ROLLBACK TO before")
        select(session, "PREPARE TRANSACTION 'nothing'")
        select(session, "ROLLBACK PREPARED 'nothing'")
    assert keys(s3, bucket) == [key_of("a"), key_of("b")]
