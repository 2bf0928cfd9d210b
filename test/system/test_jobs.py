"""onboard_submit() and related functions: exports that outlive the session."""

import contextlib
import json
import threading
import uuid

import pytest
from conftest import Server

from lib import process
from lib.exports import (
    SLEEPS, Running, body, copy, failure, key_of, keys, no_upload_left,
    register, rows, run_pid, select, value, wait_for_event,
)
from lib.proxy import s3_error
from lib.roles import Role, may_land


def submit(db, name, query, bucket, run_id=None):
    return value(
        db, "SELECT onboard_submit(%s, %s, %s, '{}', %s)",
        (name, query, bucket, run_id),
    )


def submit_all(db, pattern=None, run_id=None):
    return value(
        db, "SELECT onboard_submit_all(%s, '{}', %s)", (pattern, run_id)
    )


def wait(db, run_id, timeout="60s"):
    (row,) = select(
        db, "SELECT * FROM onboard_wait(%s, %s)", (run_id, timeout)
    )
    return row


def history(db, run_id):
    sql = (
        "SELECT name, status, sqlstate FROM onboard_runs WHERE run_id = %s"
        " ORDER BY name"
    )
    return [tuple(row.values()) for row in select(db, sql, (run_id,))]


def test_submit(db, s3, bucket):
    query = rows(20)
    run_id = submit(db, "job", query, bucket)
    row = wait(db, run_id)
    assert (row["status"], row["tables"], row["done"], row["rows"]) == (
        "done", 1, 1, 20000
    )
    wanted = copy(db, query)
    assert row["bytes"] == len(wanted)
    assert row["started"] <= row["ended"]
    assert body(s3, bucket, key_of("job")) == wanted
    assert history(db, run_id) == [("job", "done", None)]
    assert run_pid(db, run_id) is None


def test_submit_all(db, s3, registry, bucket):
    register(
        db, bucket, a="SELECT 1 AS a", b="SELECT 1 / 0",
        c="SELECT 1 WHERE false", d=rows(9),
    )
    run_id = submit_all(db)
    row = wait(db, run_id)
    counts = [row[key] for key in ("status", "tables", "done", "empty",
                                   "failed")]
    assert counts == ["failed", 4, 2, 1, 1]
    assert history(db, run_id) == [
        ("a", "done", None), ("b", "failed", "22012"), ("c", "empty", None),
        ("d", "done", None),
    ]
    assert body(s3, bucket, key_of("d")) == copy(db, rows(9))


def test_submit_all_by_itself(db, s3, registry, bucket):
    """Without workers, the job exports one table after another."""
    register(db, bucket, a="SELECT 1 AS a", b="SELECT 1 / 0")
    select(db, "SET onboard.parallel_tables = 0")
    run_id = submit_all(db)
    assert wait(db, run_id)["status"] == "failed"
    assert history(db, run_id) == [
        ("a", "done", None), ("b", "failed", "22012")
    ]


def test_it_outlives_the_session(pg, db, s3, bucket):
    session = pg.connect("onboard")
    query = "SELECT pg_advisory_xact_lock(77) IS NULL AS x"
    select(db, "SELECT pg_advisory_lock(77)")
    try:
        run_id = submit(session, "job", query, bucket)
        assert value(db, "SELECT status FROM onboard_status(%s)",
                     (run_id,)) == "running"
        wait_for_event(db, run_pid(db, run_id), "advisory")
        session.close()
    finally:
        select(db, "SELECT pg_advisory_unlock(77)")
    assert wait(db, run_id)["status"] == "done"
    assert body(s3, bucket, key_of("job")) == b"x\nf\n"


def test_it_outlives_a_rollback(db, s3, bucket):
    select(db, "BEGIN")
    run_id = submit(db, "job", "SELECT 1 AS one", bucket)
    select(db, "ROLLBACK")
    assert wait(db, run_id)["status"] == "done"
    assert body(s3, bucket, key_of("job")) == b"one\n1\n"


def test_a_run_id_given_twice(db, s3, bucket):
    """A second submission of the id is the same run, while it runs and
    afterwards."""
    run_id = str(uuid.uuid4())
    query = "SELECT pg_advisory_xact_lock(78) IS NULL AS x"
    select(db, "SELECT pg_advisory_lock(78)")
    try:
        assert submit(db, "job", query, bucket, run_id) == run_id
        wait_for_event(db, run_pid(db, run_id), "advisory")
        assert submit(db, "other", "SELECT 1", bucket, run_id) == run_id
    finally:
        select(db, "SELECT pg_advisory_unlock(78)")
    assert wait(db, run_id)["tables"] == 1
    assert submit(db, "other", "SELECT 1", bucket, run_id) == run_id
    assert submit_all(db, run_id=run_id) == run_id
    assert wait(db, run_id)["tables"] == 1
    assert keys(s3, bucket) == [key_of("job")]


@pytest.mark.parametrize("id_", [
    "00000000-0000-0000-0000-00000000000{}",
    "0000000{}-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-fffffffffff{}",
])
def test_run_ids_in_order(db, s3, bucket, id_):
    """Ids that are nearly equal are separate runs."""
    ids = [id_.format(n) for n in (1, 2)]
    select(db, "SELECT pg_advisory_lock(85)")
    try:
        for n, run_id in enumerate(ids):
            query = "SELECT pg_advisory_xact_lock_shared(85) IS NULL AS x"
            submit(db, f"job{n}", query, bucket, run_id)
        pids = [run_pid(db, run_id) for run_id in ids]
        assert None not in pids and len(set(pids)) == 2
        for pid in pids:
            wait_for_event(db, pid, "advisory")
    finally:
        select(db, "SELECT pg_advisory_unlock(85)")
    for n, run_id in enumerate(ids):
        assert wait(db, run_id)["status"] == "done"
        assert history(db, run_id) == [(f"job{n}", "done", None)]
    select(db, "DELETE FROM onboard_history WHERE run_id = ANY (%s::uuid[])",
           (ids,))


def test_wait_times_out(db, bucket):
    select(db, "SELECT pg_advisory_lock(79)")
    try:
        run_id = submit(
            db, "job", "SELECT pg_advisory_xact_lock(79) IS NULL", bucket
        )
        row = wait(db, run_id, "100ms")
        assert (row["status"], row["ended"]) == ("running", None)
    finally:
        select(db, "SELECT pg_advisory_unlock(79)")
    assert wait(db, run_id)["status"] == "done"


@pytest.mark.parametrize("tables", ["one", "all"])
def test_cancel(db, rgw, s3, registry, bucket, tables):
    if tables == "one":
        run_id = submit(db, "job", SLEEPS, bucket)
        wait_for_event(db, run_pid(db, run_id), "PgSleep")
    else:
        register(db, bucket, job=SLEEPS, other=SLEEPS)
        run_id = submit_all(db)
        process.wait_until(
            lambda: value(
                db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event ="
                " 'PgSleep' AND backend_type = 'onboard worker'") == 2,
            30, "both tables are under way",
        )
    assert value(db, "SELECT onboard_cancel(%s)", (run_id,)) is True
    assert wait(db, run_id)["status"] == "failed"
    assert {row[1:] for row in history(db, run_id)} == {("failed", "57014")}
    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == []
    assert value(db, "SELECT onboard_cancel(%s)", (run_id,)) is False


def test_cancel_while_it_is_prepared(pg, db, observer, registry, bucket):
    """The history's row quotes the query, whose memory belonged to the
    transaction."""
    query = f"SELECT 1 AS id /* {'x' * 2_000_000} */"
    options = json.dumps(
        {"watermark": {"column": "id"}, "key": "{name}/{run_id}.{ext}"}
    )
    select(
        db, "INSERT INTO onboard_tables (name, query, bucket, options)"
        " VALUES ('long', %s, %s, %s)", (query, bucket, options),
    )
    with contextlib.closing(pg.connect("onboard")) as locker:
        locker.autocommit = False
        select(locker, "LOCK TABLE onboard_watermarks")
        run_id = value(db, "SELECT onboard_submit('long')")
        wait_for_event(observer, run_pid(db, run_id), "relation")
        assert value(db, "SELECT onboard_cancel(%s)", (run_id,)) is True
        assert wait(db, run_id)["status"] == "failed"
        locker.rollback()
    (row,) = select(
        db, "SELECT status, sqlstate, query FROM onboard_runs"
        " WHERE run_id = %s AND name = 'long'", (run_id,)
    )
    assert (row["status"], row["sqlstate"]) == ("failed", "57014")
    assert row["query"] == query


def test_terminated(db, rgw, s3, bucket):
    """A run without a live process is reported as lost, never as running."""
    run_id = submit(db, "job", SLEEPS, bucket)
    pid = run_pid(db, run_id)
    wait_for_event(db, pid, "PgSleep")
    assert history(db, run_id) == [("job", "running", None)]
    select(db, "SELECT pg_terminate_backend(%s, 10000)", (pid,))
    row = wait(db, run_id)
    assert row["status"] == "lost"
    assert history(db, run_id) == [("job", "lost", None)]
    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == []


def test_a_query_that_is_wrong(db, bucket):
    """The error is the run's, not the submission's."""
    run_id = submit(db, "job", "SELEC 1", bucket)
    assert wait(db, run_id)["status"] == "failed"
    assert history(db, run_id) == [("job", "failed", "42601")]


def test_nothing_is_registered(db, s3, registry, bucket):
    """A run without tables is done; its row represents the run itself."""
    run_id = submit_all(db)
    row = wait(db, run_id)
    assert [row[key] for key in ("status", "tables", "done", "empty",
                                 "failed", "rows")] == ["done", 0, 0, 0, 0, 0]
    assert row["started"] <= row["ended"]
    assert history(db, run_id) == [("", "empty", None)]
    # the same id is still the same run, whatever is registered now
    register(db, bucket, a="SELECT 1")
    assert submit_all(db, run_id=run_id) == run_id
    assert wait(db, run_id) == row
    assert keys(s3, bucket) == []


def test_nothing_is_registered_and_wrong(db, registry):
    """An error in the call is reported even if there are no tables."""
    run_id = value(
        db, """SELECT onboard_submit_all(NULL, '{"on_error": "nonsense"}')"""
    )
    row = wait(db, run_id)
    assert (row["status"], row["tables"]) == ("failed", 0)
    assert history(db, run_id) == [("", "failed", "22023")]


def test_no_such_run(db):
    row = wait(db, str(uuid.uuid4()))
    assert (row["status"], row["tables"]) == (None, 0)


@pytest.mark.parametrize("workers", [0, 4])
def test_a_run_that_fails_when_all_have_landed(
    db, s3, registry, bucket, proxy, proxied, workers
):
    """The manifest fails; the run's own row has the error."""
    register(db, bucket, a="SELECT 1 AS a", b="SELECT 2 AS b")
    proxy.rule("PUT", r"/manifest\.json", response=s3_error(403, "AccessDenied"),
               times=None)
    select(db, f"SET onboard.parallel_tables = {workers}")
    options = json.dumps({"manifest": True, "server": proxied})
    run_id = value(db, "SELECT onboard_submit_all(NULL, %s)", (options,))
    row = wait(db, run_id)
    assert row["status"] == "failed"
    assert keys(s3, bucket) == [key_of("a"), key_of("b")]
    if workers:
        assert history(db, run_id) == [
            ("", "failed", "42501"), ("a", "done", None), ("b", "done", None)
        ]
        assert (row["tables"], row["done"], row["failed"]) == (2, 2, 0)
    else:
        # the rows were in the transaction that failed
        assert history(db, run_id) == [
            ("a", "failed", "42501"), ("b", "failed", "42501")
        ]
        for row in left(db, run_id):
            assert row["uri"].endswith(key_of(row["name"]))
            assert row["error"].endswith("(the object was written)")


def left(db, run_id):
    return select(db, "SELECT name, uri, error FROM onboard_runs WHERE run_id"
                  " = %s ORDER BY name", (run_id,))


@pytest.mark.parametrize("together", [False, True])
def test_cancel_after_a_table_has_landed(
    db, rgw, s3, registry, bucket, together
):
    """Without workers the rows of earlier tables are rolled back; the failure
    says that an object is there, unless it is not visible yet."""
    register(db, bucket, a="SELECT 1 AS a", b=SLEEPS)
    select(db, "SET onboard.parallel_tables = 0")
    options = json.dumps({"publish": "together"} if together else {})
    run_id = value(db, "SELECT onboard_submit_all(NULL, %s)", (options,))
    process.wait_until(
        lambda: value(
            db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event ="
            " 'PgSleep' AND backend_type = 'onboard job'") == 1,
        30, "the second table is under way",
    )
    assert value(db, "SELECT onboard_cancel(%s)", (run_id,)) is True
    assert wait(db, run_id)["status"] == "failed"
    assert history(db, run_id) == [
        ("a", "failed", "57014"), ("b", "failed", "57014")
    ]
    first, second = left(db, run_id)
    assert second["uri"] is None
    assert "written" not in second["error"]
    if together:
        assert first["uri"] is None and keys(s3, bucket) == []
    else:
        assert first["uri"] == f"s3://{bucket}/{key_of('a')}"
        assert first["error"].endswith("(the object was written)")
        assert keys(s3, bucket) == [key_of("a")]
    no_upload_left(rgw, bucket)


def test_one_table_whose_manifest_cannot_be_written(
    db, s3, bucket, proxy, proxied
):
    """The table has landed, but its row says that it failed."""
    proxy.rule("PUT", r"/manifest\.json", response=s3_error(403, "AccessDenied"),
               times=None)
    run_id = value(
        db, "SELECT onboard_submit('one', 'SELECT 1 AS a', %s, %s)",
        (bucket, json.dumps({"manifest": True, "server": proxied})),
    )
    assert wait(db, run_id)["status"] == "failed"
    (row,) = select(
        db, "SELECT status, sqlstate, uri, files, rows, raw_bytes, bytes, parts"
        " FROM onboard_runs WHERE run_id = %s", (run_id,),
    )
    assert row == {
        "status": "failed", "sqlstate": "42501",
        "uri": f"s3://{bucket}/{key_of('one')}", "files": 0,
        "rows": 0, "raw_bytes": 0, "bytes": 0, "parts": 0,
    }
    assert keys(s3, bucket) == [key_of("one")]


def test_waiting_takes_no_memory(db, bucket):
    """Waiting queries the state repeatedly, for as long as the run takes."""
    run_id = submit(db, "job", "SELECT pg_sleep(300) IS NULL AS a", bucket)
    used = (
        "SELECT onboard_wait(%s, %s), (SELECT sum(used_bytes)::int"
        " FROM pg_backend_memory_contexts) AS used"
    )
    try:
        select(db, used, (run_id, "0s"))
        (at_once,) = select(db, used, (run_id, "0s"))
        (later,) = select(db, used, (run_id, "3s"))
        assert later["used"] - at_once["used"] < 10_000
    finally:
        select(db, "SELECT onboard_cancel(%s)", (run_id,))
        wait(db, run_id)


def test_running_until_the_manifest_is_there(
    db, s3, registry, bucket, proxy, proxied
):
    """All tables have ended, but not the run."""
    register(db, bucket, a="SELECT 1 AS a", b="SELECT 2 AS b")
    held = proxy.rule("PUT", r"/manifest\.json", hold=True)
    options = json.dumps({"manifest": True, "server": proxied})
    run_id = value(db, "SELECT onboard_submit_all(NULL, %s)", (options,))
    held.wait()
    assert {row[1] for row in history(db, run_id)} == {"done"}
    (row,) = select(db, "SELECT * FROM onboard_status(%s)", (run_id,))
    assert (row["status"], row["done"]) == ("running", 2)
    held.release()
    assert wait(db, run_id)["status"] == "done"


def test_a_run_that_ends_meanwhile_is_not_lost(pg, db, observer, bucket):
    """The statement began while the job was running, and reads its state after
    the job's end."""
    select(db, "SELECT pg_advisory_lock(81); SELECT pg_advisory_lock(82)")
    session = pg.connect("onboard")
    try:
        run_id = submit(
            db, "job", "SELECT pg_advisory_xact_lock(81) IS NULL", bucket
        )
        wait_for_event(db, run_pid(db, run_id), "advisory")
        sql = (
            "WITH late AS MATERIALIZED (SELECT pg_advisory_lock_shared(82))"
            " SELECT status FROM late, LATERAL (SELECT status FROM"
            " onboard_runs WHERE run_id = %s AND late IS NOT NULL) r"
        )
        with Running(session, sql, (run_id,)) as run:
            wait_for_event(db, run.pid, "advisory")
            select(db, "SELECT pg_advisory_unlock(81)")
            assert wait(observer, run_id)["status"] == "done"
            select(db, "SELECT pg_advisory_unlock(82)")
            assert run.rows() == [{"status": "running"}]
    finally:
        select(db, "SELECT pg_advisory_unlock_all()")
        session.close()


def test_a_run_id_given_at_the_same_time(pg, db, s3, bucket):
    """Four sessions submit the id in transactions that stay open: one job runs.
    """
    sessions = [pg.connect("onboard") for _ in range(4)]
    barrier = threading.Barrier(len(sessions))
    found = []

    def go(n, run_id):
        select(sessions[n], "BEGIN")
        barrier.wait(30)
        found.append(
            submit(sessions[n], f"{run_id}-{n}", "SELECT 1", bucket, run_id)
        )

    try:
        for _ in range(10):
            run_id = str(uuid.uuid4())
            found.clear()
            threads = [
                threading.Thread(target=go, args=(n, run_id), daemon=True)
                for n in range(len(sessions))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert found == [run_id] * len(sessions)
            row = wait(db, run_id)
            assert (row["status"], row["tables"]) == ("done", 1)
            ((name, *_),) = history(db, run_id)
            assert [key for key in keys(s3, bucket) if run_id in key] == [
                key_of(name)
            ]
            for session in sessions:
                select(session, "COMMIT")
    finally:
        for session in sessions:
            session.close()


def test_the_extension_is_dropped(pg, rgw, s3, bucket, canaries):
    """DROP EXTENSION waits for the export of a table; the rest of the job ends.
    """
    pg.psql("CREATE DATABASE dropped")
    try:
        pg.psql("CREATE EXTENSION onboard", "dropped")
        Server(pg, canaries)(
            rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3",
            dbname="dropped",
        )
        session, dropper = pg.connect("dropped"), pg.connect("dropped")
        start = len(pg.log_text())
        select(session, "SELECT pg_advisory_lock(83)")
        run_id = submit(
            session, "job", "SELECT pg_advisory_xact_lock(83) IS NULL", bucket
        )
        pid = run_pid(session, run_id)
        wait_for_event(session, pid, "advisory")
        with Running(dropper, "DROP EXTENSION onboard CASCADE") as drop:
            wait_for_event(session, drop.pid, "relation")
            select(session, "SELECT pg_advisory_unlock(83)")
            assert drop.rows() == []
        process.wait_until(
            lambda: value(session, "SELECT count(*) FROM pg_stat_activity"
                          " WHERE pid = %s", (pid,)) == 0,
            30, "the job has ended",
        )
        assert keys(s3, bucket) == [key_of("job")]
        log = pg.log_text()[start:]
        assert "terminated by signal" not in log
        # the extension can be created again
        pg.psql("CREATE EXTENSION onboard", "dropped")
        assert value(session, "SELECT count(*) FROM onboard_runs") == 0
        session.close()
        dropper.close()
    finally:
        pg.psql("DROP DATABASE dropped WITH (FORCE)")


def test_the_role_is_dropped(pg, db, rgw, make_server, s3, bucket):
    """The role's export goes on, and is reported; its history stays."""
    leaver = Role(pg, db)
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, user="PUBLIC"
    )
    leaver.may(f"USAGE ON FOREIGN SERVER {server}")
    select(leaver.session, f"SET onboard.server = {server}")
    select(db, "SELECT pg_advisory_lock(84)")
    start = len(pg.log_text())
    try:
        before = submit(leaver.session, "before", "SELECT 1", bucket)
        assert wait(leaver.session, before)["status"] == "done"
        run_id = submit(
            leaver.session, "job",
            "SELECT pg_advisory_xact_lock(84) IS NULL AS x", bucket,
        )
        wait_for_event(db, run_pid(db, run_id), "advisory")
        leaver.drop()
    finally:
        select(db, "SELECT pg_advisory_unlock_all()")
    assert wait(db, run_id)["status"] == "done"
    sql = "SELECT role FROM onboard_runs WHERE run_id = %s"
    assert value(db, sql, (before,)) == leaver.name
    role = value(db, sql, (run_id,))
    assert role.startswith("unknown (OID=")
    assert body(s3, bucket, key_of("job")) == b"x\nf\n"
    assert f'export of "job" by "{role}" to' in pg.log_text()[start:]


def test_rights(pg, db, rgw, make_server, s3, bucket):
    """The worker runs as the caller; other roles neither see the job nor cancel
    it."""
    select(db, "CREATE ROLE job_reader; CREATE ROLE job_other")
    select(db, "CREATE TABLE secret_rows AS SELECT 1 AS n")
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, user="PUBLIC"
    )
    select(db, f"GRANT USAGE ON FOREIGN SERVER {server} TO job_reader")
    select(db, f"SET onboard.server = {server}")
    try:
        select(db, "SET ROLE job_reader")
        run_id = submit(db, "job", "TABLE secret_rows", bucket)
        assert wait(db, run_id)["status"] == "failed"
        assert history(db, run_id) == [("job", "failed", "42501")]
        select(db, "SET ROLE job_other")
        assert history(db, run_id) == []
        select(db, "RESET ROLE")
        select(db, "SELECT pg_advisory_lock(80)")
        run_id = submit(
            db, "job", "SELECT pg_advisory_xact_lock(80) IS NULL", bucket
        )
        select(db, "SET ROLE job_other")
        assert value(db, "SELECT onboard_cancel(%s)", (run_id,)) is False
        assert history(db, run_id) == []
    finally:
        select(db, "RESET ROLE")
        select(db, "SELECT pg_advisory_unlock_all()")
        assert wait(db, run_id)["status"] == "done"
        select(db, "DROP OWNED BY job_reader; DROP TABLE secret_rows;"
                   " DROP ROLE job_reader, job_other")


def test_a_run_id_of_ones_own(db, observer, s3, registry, bucket):
    """onboard_table() and onboard_all() accept a run id, too."""
    run_id = str(uuid.uuid4())
    for name in ("one", "two", "two"):
        found = value(
            db, "SELECT run_id FROM onboard_table(%s, 'SELECT 1', %s,"
            " run_id => %s)", (name, bucket, run_id),
        )
        assert found == run_id
    assert history(db, run_id) == [
        ("one", "done", None), ("two", "done", None)
    ]
    register(db, bucket, three="SELECT 3")
    sql = "SELECT run_id FROM onboard_all(run_id => %s)"
    assert value(db, sql, (run_id,)) == run_id
    assert [row[0] for row in history(db, run_id)] == ["one", "three", "two"]
    select(observer, "BEGIN")
    value(observer, sql, (run_id,))
    assert failure(value, db, sql, (run_id,)).pgcode == "55006"
    select(observer, "COMMIT")


@pytest.fixture
def written(db):
    select(db, "CREATE SEQUENCE written")
    yield
    select(db, "DROP SEQUENCE written")


@pytest.mark.parametrize("how", [
    "SET default_transaction_read_only = on", "BEGIN READ ONLY",
    "SET default_transaction_isolation = serializable",
])
@pytest.mark.parametrize("workers", [0, 4])
def test_read_only_sessions(pg, db, written, registry, bucket, how, workers):
    """The session's read-only settings do not apply to the job's history."""
    register(db, bucket, a="SELECT 1 AS one", b="SELECT 1 / 0",
             c="SELECT nextval('written') AS c")
    session = pg.connect("onboard")
    try:
        select(session, f"SET onboard.parallel_tables = {workers}; {how}")
        run_id = submit(session, "job", "SELECT 1 AS one", bucket)
        all_id = submit_all(session)
        assert wait(db, run_id)["status"] == "done"
    finally:
        session.close()
    assert history(db, run_id) == [("job", "done", None)]
    assert wait(db, all_id)["status"] == "failed"
    found = {row[0]: row[2] for row in history(db, all_id)}
    # but they apply to the job's queries
    read_only = workers or "default_transaction_read_only" in how
    assert found == {
        "a": None, "b": "22012", "c": "25006" if read_only else None
    }


# Run ids and roles


@pytest.fixture
def strangers(pg, db):
    """Two sessions of roles that may only connect, and a third role."""
    names = ["ids_one", "ids_two"]
    sessions = []
    for name in names:
        select(db, f"CREATE ROLE {name} LOGIN")
        sessions.append(pg.connect("onboard", user=name))
    yield sessions
    for session in sessions:
        session.close()
    # The rows of dropped roles remain, for superusers.
    select(db, "DROP ROLE ids_one, ids_two")


@pytest.fixture
def exporters(pg, db, rgw, strangers):
    """The same roles with the right to export to s3."""
    for name in ("ids_one", "ids_two"):
        may_land(pg, rgw, name)
    yield strangers
    select(
        db, "DROP USER MAPPING FOR ids_one SERVER s3;"
        "DROP USER MAPPING FOR ids_two SERVER s3;"
        "DROP OWNED BY ids_one, ids_two"
    )


def test_an_id_that_a_stranger_took_before(db, exporters, s3, registry,
                                           bucket):
    """The other role's run has failed, so the id is free for a new one."""
    stranger = exporters[0]
    for submit_it in (submit, submit_all):
        run_id = str(uuid.uuid4())
        assert submit(stranger, "zz", "SELECT 1 / 0", bucket, run_id) == run_id
        assert wait(stranger, run_id)["status"] == "failed"
        register(db, bucket, **{f"t_{submit_it.__name__}": "SELECT 1 AS one"})
        if submit_it is submit:
            submit(db, "mine", "SELECT 1 AS one", bucket, run_id)
        else:
            submit_all(db, run_id=run_id)
        assert wait(db, run_id)["status"] == "done"
        # Each role sees and receives only its own run.
        assert wait(stranger, run_id)["status"] == "failed"
        assert wait(stranger, run_id)["tables"] == 1
    assert key_of("mine") in keys(s3, bucket)
    assert key_of("t_submit_all") in keys(s3, bucket)


@pytest.mark.parametrize("how", [
    "SELECT status FROM onboard_table('mine', 'SELECT 1 WHERE false',"
    " run_id => %s)",
    "SELECT status FROM onboard_all(run_id => %s)",
    "SELECT onboard_submit('mine', 'SELECT 1 WHERE false', run_id => %s)",
    "SELECT onboard_submit_all(run_id => %s)",
])
def test_an_id_under_which_another_role_has_landed(
    db, exporters, s3, bucket, how
):
    """The run is refused before it changes anything; the object stays."""
    victim, attacker = exporters
    select(db, "GRANT SELECT ON onboard_tables TO ids_two")
    run_id = str(uuid.uuid4())
    land = (
        "SELECT status FROM onboard_table('mine', 'SELECT 1', %s,"
        " run_id => %s)"
    )
    assert value(victim, land, (bucket, run_id)) == "done"
    before = select(db, "SELECT * FROM onboard_runs WHERE run_id = %s",
                    (run_id,))
    try:
        error = failure(select, attacker, how, (run_id,))
        assert error.pgcode == "42501"
        assert "is another role's" in str(error)
        assert select(db, "SELECT * FROM onboard_runs WHERE run_id = %s",
                      (run_id,)) == before
        # The role whose objects have landed goes on.
        assert value(victim, land, (bucket, run_id)) == "done"
    finally:
        select(db, "REVOKE SELECT ON onboard_tables FROM ids_two")


def test_an_open_transaction_under_the_same_id_does_not_block(
    db, pg, exporters, bucket
):
    """Rows of two roles with the same id and name do not conflict."""
    victim, attacker = exporters
    run_id = str(uuid.uuid4())
    select(attacker, "BEGIN")
    select(
        attacker, "SELECT * FROM onboard_table('mine', 'SELECT 1', %s,"
        " '{\"key\": \"elsewhere\"}', %s)", (bucket, run_id),
    )
    try:
        submit(victim, "mine", "SELECT 1 AS one", bucket, run_id)
        assert wait(victim, run_id)["status"] == "done"
        sql = (
            "SELECT status FROM onboard_table('two', 'SELECT 1', %s,"
            " '{\"key\": \"two\"}', %s)"
        )
        assert value(victim, sql, (bucket, run_id)) == "done"
    finally:
        select(attacker, "COMMIT")
    assert history(victim, run_id) == [
        ("mine", "done", None), ("two", "done", None)
    ]
    assert history(attacker, run_id) == [("mine", "done", None)]
    assert wait(attacker, run_id)["tables"] == 1
    # A superuser sees both runs, each with its role, and no sum of the two.
    assert len(history(db, run_id)) == 3
    error = failure(wait, db, run_id)
    assert error.pgcode == "42P08"
    select(db, "SET ROLE ids_one")
    assert wait(db, run_id)["tables"] == 2
    select(db, "RESET ROLE")


def test_another_id_is_another_lock(db, strangers, bucket):
    """This holds even if the same bit differs in both halves."""
    first = "11111111-1111-4111-8111-111111111111"
    twin = "01111111-1111-4111-9111-111111111111"
    select(db, "SELECT pg_advisory_lock(86)")
    query = "SELECT pg_advisory_xact_lock_shared(86) IS NULL AS x"
    try:
        submit(db, "job", query, bucket, first)
        assert run_pid(db, first) is not None
        assert run_pid(db, twin) is None
        sql = "SELECT status FROM onboard_wait(%s, '0 s')"
        assert value(db, sql, (twin,)) is None
        assert value(db, "SELECT onboard_cancel(%s)", (twin,)) is False
        # The other role can neither see, wait for nor cancel this run.
        assert value(strangers[0], sql, (first,)) is None
        sql = "SELECT onboard_cancel(%s)"
        assert value(strangers[0], sql, (first,)) is False
    finally:
        select(db, "SELECT pg_advisory_unlock(86)")
    assert wait(db, first)["status"] == "done"
    select(db, "DELETE FROM onboard_history WHERE run_id = %s", (first,))


# In a target list, the series is not materialized before it is read.
LOOKS = (
    "SELECT count(onboard_wait(%s, '0 s'))"
    " FROM (SELECT generate_series(1, 100000000)) g"
)


@contextlib.contextmanager
def looking(pg, db, run_id):
    """Another session polls the run continuously."""
    active = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s"
    with contextlib.closing(pg.connect("onboard")) as session:
        with Running(session, LOOKS, (run_id,)) as run:
            process.wait_until(
                lambda: value(db, active, (run.pid,)), 30, "it looks"
            )
            yield
            select(db, "SELECT pg_cancel_backend(%s)", (run.pid,))
            assert run.error().pgcode == "57014"


def test_waiting_keeps_no_job_from_running(pg, db, bucket):
    """This holds even if a session polls before the submission: polling takes
    no lock that the job could need at that moment."""
    for _ in range(10):
        run_id = str(uuid.uuid4())
        with looking(pg, db, run_id):
            submit(db, "job", "SELECT 1 WHERE false", bucket, run_id)
            found = wait(db, run_id)
        assert (found["status"], found["empty"]) == ("done", 1)
    taken = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND objsubid = 3"
    )
    with looking(pg, db, run_id):
        assert sum(value(db, taken) for _ in range(500)) == 0


@pytest.mark.parametrize("level", [
    "read committed", "repeatable read", "serializable"
])
def test_wait_in_each_isolation_level(pg, db, bucket, level):
    """The wait returns how the run has ended, not what the transaction saw
    first."""
    select(db, "SELECT pg_advisory_lock(87)")
    session = pg.connect("onboard")
    query = "SELECT pg_advisory_xact_lock(87) IS NULL AS x"
    try:
        run_id = submit(db, "job", query, bucket)
        wait_for_event(db, run_pid(db, run_id), "advisory")
        select(session, f"BEGIN ISOLATION LEVEL {level}")
        assert history(session, run_id) == [("job", "running", None)]
        with Running(
            session, "SELECT status, tables, done FROM onboard_wait(%s)",
            (run_id,),
        ) as run:
            wait_for_event(
                db, run.pid,
                "OnboardWorker" if db.server_version >= 170000 else "Extension"
            )
            select(db, "SELECT pg_advisory_unlock(87)")
            assert run.rows() == [{"status": "done", "tables": 1, "done": 1}]
        sql = "SELECT status FROM onboard_status(%s)"
        assert value(session, sql, (run_id,)) == "done"
        # The view reads a table: it shows what the transaction sees.
        expected = "done" if level == "read committed" else "running"
        assert history(session, run_id) == [("job", expected, None)]
        select(session, "COMMIT")
        select(session, f"SET default_transaction_isolation = '{level}'")
        run_id = submit(session, "job", "SELECT 1 WHERE false", bucket)
        assert wait(session, run_id)["status"] == "done"
    finally:
        select(db, "SELECT pg_advisory_unlock_all()")
        session.close()


# Locks of the waiting session

LOCKED = "SELECT pg_advisory_xact_lock(93) IS NULL AS x"


def deadlock(session, *statement):
    """The error of a wait that would be endless; its hint says what to do."""
    select(session, "SET statement_timeout = '30s'")
    error = failure(select, session, *statement)
    assert error.pgcode == "40P01"
    assert "Commit before" in error.diag.message_hint
    return error


@pytest.fixture
def lock(pg):
    """A session that holds a lock in its transaction until it is closed."""
    with contextlib.closing(pg.connect("onboard")) as session:
        select(session, "BEGIN")
        select(session, "SELECT pg_advisory_xact_lock(93)")
        yield session


def test_waiting_for_a_job_that_waits_for_the_session(pg, db, s3, bucket):
    """The session's transaction holds a lock; the job itself goes on."""
    select(db, "CREATE TABLE held AS SELECT 1 AS n")
    run_id = str(uuid.uuid4())
    try:
        with contextlib.closing(pg.connect("onboard")) as session:
            select(session, "BEGIN")
            select(session, "LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
            error = deadlock(
                session, "SELECT onboard_wait(onboard_submit("
                "'held', NULL, %s, '{}', %s))", (bucket, run_id)
            )
            assert error.diag.message_primary == (
                "the run waits for a lock that this session holds"
            )
            select(session, "ROLLBACK")
        assert wait(db, run_id)["status"] == "done"
        # The job may have ended before a query could return its pid.
        pid = value(
            db, "SELECT pid FROM onboard_history WHERE run_id = %s", (run_id,)
        )
        assert f"Process {pid} waits for the lock" in error.diag.message_detail
        assert body(s3, bucket, key_of("held")) == b"n\n1\n"
    finally:
        select(db, "DROP TABLE held")


def test_waiting_for_a_job_whose_workers_wait_for_the_session(
    pg, db, registry, bucket, lock
):
    """The job's own process waits for no lock."""
    register(db, bucket, a=LOCKED, b=LOCKED)
    run_id = submit_all(db)
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND backend_type = 'onboard worker'"
    )
    process.wait_until(lambda: value(db, waiting) == 2, 60, "both wait")
    error = deadlock(lock, "SELECT onboard_wait(%s)", (run_id,))
    worker = value(
        db, "SELECT %s = ANY (SELECT 'process ' || pid FROM pg_stat_activity"
        " WHERE backend_type = 'onboard worker')",
        (" ".join(error.diag.message_detail.lower().split()[:2]),),
    )
    select(lock, "ROLLBACK")
    assert worker
    assert wait(db, run_id)["status"] == "done"


def test_waiting_for_a_session_that_waits_for_this_one(
    db, registry, bucket, lock
):
    """The other session exports in the foreground; the wait has a time limit,
    too."""
    register(db, bucket, a=LOCKED)
    run_id = str(uuid.uuid4())
    select(db, "SET onboard.parallel_tables = 0")
    with Running(
        db, "SELECT * FROM onboard_all(NULL, '{}', %s)", (run_id,)
    ) as run:
        wait_for_event(lock, run.pid, "advisory")
        deadlock(lock, "SELECT onboard_wait(%s, '25s')", (run_id,))
        select(lock, "ROLLBACK")
        assert [row["status"] for row in run.rows()] == ["done"]


def test_waiting_for_a_job_that_waits_for_another(pg, db, bucket, lock):
    """This is no deadlock."""
    run_id = submit(db, "job", LOCKED, bucket)
    wait_for_event(db, run_pid(db, run_id), "advisory")
    with contextlib.closing(pg.connect("onboard")) as session:
        assert wait(session, run_id, "3s")["status"] == "running"
    select(lock, "ROLLBACK")
    assert wait(db, run_id)["status"] == "done"


def test_submitting_what_the_transaction_has_exported(pg, db, s3, bucket):
    """The job would wait for the transaction's end; it does not begin
    afterwards, either."""
    run_id = str(uuid.uuid4())
    place = ("job", "SELECT 1 AS a", bucket, run_id)
    with contextlib.closing(pg.connect("onboard")) as session:
        select(session, "BEGIN")
        select(session, "SELECT onboard_table(%s, %s, %s, '{}', %s)", place)
        error = deadlock(
            session, "SELECT onboard_submit(%s, %s, %s, '{}', %s)", place
        )
        assert error.diag.message_primary == (
            "the job waits for a lock that this session holds"
        )
        jobs = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE backend_type = 'onboard job'"
        )
        assert value(db, jobs) == 0
        select(session, "ROLLBACK")
    assert history(db, run_id) == []
    assert submit(db, *place) == run_id
    assert wait(db, run_id)["status"] == "done"


def test_submitting_behind_a_lock_on_the_history(db, s3, bucket):
    """This holds for any lock; other sessions' submissions do not wait for
    long."""
    select(db, "BEGIN")
    select(db, "LOCK TABLE onboard_history IN EXCLUSIVE MODE")
    deadlock(db, "SELECT onboard_submit('job', 'SELECT 1', %s)", (bucket,))
    select(db, "ROLLBACK")
    assert keys(s3, bucket) == []
