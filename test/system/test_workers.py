"""State that workers and jobs take over from their session, and their ends."""

import datetime
import json
import uuid

import pytest

from lib import process
from lib.exports import (
    SLEEPS, Running, body, failure, key_of, keys, no_upload_left, run_pid,
    select, statuses, value, wait_for_event, wait_for_sleep,
)

RUN = "SELECT * FROM onboard_all(options => %s) ORDER BY name"
LOST = "the history does not say how the export of"


@pytest.fixture
def register(registry, bucket):
    """Registers tables of the run in the test's bucket: register(name=query,
    ...)."""

    def several(**queries):
        for name, query in queries.items():
            registry(name, query, bucket)

    return several


def run(db, **options):
    return select(db, RUN, (json.dumps(options),))


def history(db, run_id):
    return {
        row["name"]: (row["status"], row["sqlstate"])
        for row in select(
            db, "SELECT name, status, sqlstate FROM onboard_runs"
            " WHERE run_id = %s", (run_id,)
        )
    }


def wait(db, run_id):
    (row,) = select(db, "SELECT * FROM onboard_wait(%s, '60 s')", (run_id,))
    return row["status"]


def submit_all(db, **options):
    return value(
        db, "SELECT onboard_submit_all(NULL, %s)", (json.dumps(options),)
    )


# One time

CLOCKS = ("SELECT now(), statement_timestamp(), current_date AS day,"
          " pg_backend_pid() AS pid")


def clocks(s3, bucket, names):
    """The distinct times in the tables, without their processes."""
    return {
        tuple(body(s3, bucket, key_of(name)).decode().split("\n")[1]
              .split(",")[:3])
        for name in names
    }


@pytest.mark.parametrize("workers", [0, 4])
@pytest.mark.parametrize("publish", ["each", "together"])
def test_now_is_the_callers(db, s3, register, bucket, workers, publish):
    names = [f"t{n}" for n in range(8)]
    register(**dict.fromkeys(names, CLOCKS))
    select(db, f"SET onboard.parallel_tables = {workers}; BEGIN")
    select(db, "SELECT pg_sleep(0.01)")  # the two times must differ
    rows = select(
        db, "SELECT now()::text, statement_timestamp()::text AS statement,"
        " current_date::text AS day, a.status FROM onboard_all(options => %s)"
        " a", (json.dumps({"publish": publish}),),
    )
    select(db, "COMMIT")
    assert {row["status"] for row in rows} == {"done"}
    (row, *_) = rows
    assert row["now"] != row["statement"]
    assert clocks(s3, bucket, names) == {
        (row["now"], row["statement"], row["day"])
    }


@pytest.mark.parametrize("workers", [0, 4])
def test_now_is_one_in_a_job(db, s3, register, bucket, workers):
    """now() is the time of the submission, which is also that of the keys."""
    names = [f"t{n}" for n in range(8)]
    register(**dict.fromkeys(names, CLOCKS))
    select(db, f"SET onboard.parallel_tables = {workers}")
    clock = "SELECT clock_timestamp()"
    before = value(db, clock)
    run_id = submit_all(db, key="{date}T{time}/{name}.csv")
    after = value(db, clock)
    assert wait(db, run_id) == "done"
    found = keys(s3, bucket)
    assert len(found) == 8
    lines = {
        tuple(body(s3, bucket, key).decode().split("\n")[1].split(",")[:2])
        for key in found
    }
    ((now, statement),) = lines
    assert now == statement
    now = value(db, "SELECT %s::timestamptz", (now,))
    assert before <= now <= after
    utc = now.astimezone(datetime.timezone.utc)
    assert found[0].startswith(utc.strftime("%Y-%m-%dT%H%M%S/"))


def test_activity_shows_that_time(db, observer, register):
    """xact_start of workers is now(), as in PostgreSQL's parallel workers."""
    register(a="SELECT pg_advisory_xact_lock_shared(61) IS NULL, 1 AS n",
             b="SELECT pg_advisory_xact_lock_shared(61) IS NULL, 2 AS n")
    sql = (
        "SELECT backend_type AS kind, xact_start FROM pg_stat_activity"
        " WHERE wait_event = 'advisory' AND backend_type LIKE 'onboard%'"
    )
    select(observer, "SELECT pg_advisory_lock(61)")
    try:
        with Running(db, RUN, ("{}",)) as session:
            process.wait_until(
                lambda: len(select(observer, sql)) == 2, 30, "workers wait"
            )
            started = {row["xact_start"] for row in select(observer, sql)}
            assert started == {value(
                observer, "SELECT xact_start FROM pg_stat_activity"
                " WHERE pid = %s", (session.pid,)
            )}
            select(observer, "SELECT pg_advisory_unlock(61)")
            assert statuses(session.rows()) == {"a": "done", "b": "done"}
    finally:
        select(observer, "SELECT pg_advisory_unlock_all()")


def test_a_new_transaction_has_a_new_time(db, observer, s3, bucket):
    """Transactions of the history have their own start, not the process's."""
    run_id = str(uuid.uuid4())
    query = "SELECT pg_advisory_xact_lock(62) IS NULL AS x"
    select(observer, "SELECT pg_advisory_lock(62)")
    try:
        value(db, "SELECT onboard_submit('job', %s, %s, '{}', %s)",
              (query, bucket, run_id))
        pid = run_pid(db, run_id)
        wait_for_event(db, pid, "advisory")
        select(observer, "BEGIN")
        # The export has read the history, since its id was given.
        select(observer, "LOCK TABLE onboard_history IN EXCLUSIVE MODE")
        locked = value(observer, "SELECT clock_timestamp()")
        select(observer, "SELECT pg_advisory_unlock(62)")
        wait_for_event(db, pid, "relation")
        assert value(db, "SELECT xact_start FROM pg_stat_activity"
                     " WHERE pid = %s", (pid,)) > locked
    finally:
        select(observer, "COMMIT")
    assert wait(db, run_id) == "done"


# Errors with the codes of interrupts

@pytest.fixture
def raises(db):
    select(db, """
        CREATE FUNCTION raises(code text) RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'not ours' USING ERRCODE = code;
        END $$
    """)
    yield
    select(db, "DROP FUNCTION raises(text)")


CODES = {"b": "57014", "c": "57P01", "d": "57P03", "e": "57000"}


@pytest.mark.parametrize("workers", [0, 4])
def test_codes_of_interrupts(db, raises, register, workers):
    """An error of a query belongs to its table, whatever its code."""
    register(a="SELECT 1", z="SELECT 2", **{
        name: f"SELECT raises('{code}')" for name, code in CODES.items()
    })
    select(db, f"SET onboard.parallel_tables = {workers}")
    rows = run(db)
    wanted = {"a": ("done", None), "z": ("done", None)}
    wanted.update({name: ("failed", code) for name, code in CODES.items()})
    assert history(db, rows[0]["run_id"]) == wanted
    run_id = submit_all(db)
    assert wait(db, run_id) == "failed"
    assert history(db, run_id) == wanted


@pytest.mark.parametrize("workers", [0, 4])
def test_codes_of_interrupts_together(db, raises, register, s3, bucket,
                                      workers):
    register(a="SELECT 1", b="SELECT raises('57014')")
    select(db, f"SET onboard.parallel_tables = {workers}")
    rows = run(db, publish="together")
    assert statuses(rows)["b"] == "failed"
    assert keys(s3, bucket) == []


def test_codes_of_interrupts_while_planning(db, observer, s3, register,
                                            bucket):
    """The planner, which runs immutable functions, estimates the sizes."""
    select(db, """
        CREATE FUNCTION folds() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN
            RAISE EXCEPTION 'not ours' USING ERRCODE = '57014';
        END $$
    """)
    try:
        register(a="SELECT 1", b="SELECT folds()")
        rows = run(db)
        assert history(db, rows[0]["run_id"]) == {
            "a": ("done", None), "b": ("failed", "57014")
        }
    finally:
        select(db, "DROP FUNCTION folds()")


def test_a_time_out_of_another_server(pg, db, register):
    """postgres_fdw raises errors with the code of the other server."""
    select(db, "CREATE EXTENSION postgres_fdw")
    try:
        select(
            db, "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS"
            f" (host '{pg.folder}', port '{pg.settings['port']}',"
            " dbname 'onboard', options '-c statement_timeout=100')")
        select(db, "CREATE USER MAPPING FOR postgres SERVER far"
                   " OPTIONS (user 'postgres')")
        select(db, "CREATE VIEW slow AS SELECT pg_sleep(300)::text AS x")
        select(db, "CREATE FOREIGN TABLE far_slow (x text) SERVER far"
                   " OPTIONS (table_name 'slow')")
        register(a="TABLE far_slow", b="SELECT 1")
        select(db, "SET onboard.parallel_tables = 0")
        rows = run(db)
        assert history(db, rows[0]["run_id"]) == {
            "a": ("failed", "57014"), "b": ("done", None)
        }
    finally:
        select(db, "DROP EXTENSION postgres_fdw CASCADE;"
                   " DROP VIEW IF EXISTS slow")


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_an_interrupt_of_the_session(db, observer, s3, rgw, register, bucket,
                                     how):
    """It ends the whole run, even if the session exports the tables itself."""
    register(a="SELECT 1", b=SLEEPS, c="SELECT 1")
    select(db, "SET onboard.parallel_tables = 0")
    if how == "timeout":
        select(db, "SET statement_timeout = '3s'")
    with Running(db, RUN, ("{}",)) as session:
        wait_for_sleep(observer)
        if how == "cancel":
            select(observer, "SELECT pg_cancel_backend(%s)", (session.pid,))
        assert session.error().pgcode == "57014"
    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == [key_of("a")]


def test_an_interrupt_that_is_passed_on(db, observer, register):
    """PL/pgSQL may catch a cancel and raise it again: it remains a cancel."""
    select(db, """
        CREATE FUNCTION passes_on() RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_sleep(300);
            RETURN 1;
        EXCEPTION WHEN query_canceled THEN RAISE;
        END $$
    """)
    try:
        register(a="SELECT passes_on()", b="SELECT 1")
        select(db, "SET onboard.parallel_tables = 0")
        with Running(db, RUN, ("{}",)) as session:
            wait_for_sleep(observer)
            select(observer, "SELECT pg_cancel_backend(%s)", (session.pid,))
            assert session.error().pgcode == "57014"
    finally:
        select(db, "DROP FUNCTION passes_on()")


def test_a_lock_time_out_is_the_tables(db, observer, register):
    register(a="SELECT pg_advisory_xact_lock(63) IS NULL AS x", b="SELECT 1")
    select(db, "SET onboard.parallel_tables = 0; SET lock_timeout = '200ms'")
    select(observer, "SELECT pg_advisory_lock(63)")
    try:
        rows = run(db)
    finally:
        select(observer, "SELECT pg_advisory_unlock(63)")
    assert history(db, rows[0]["run_id"]) == {
        "a": ("failed", "55P03"), "b": ("done", None)
    }


# Terminated workers

@pytest.mark.parametrize("isolation", [
    "read committed", "repeatable read", "serializable"
])
@pytest.mark.parametrize("how", ["session", "job"])
def test_a_worker_is_terminated(db, observer, s3, rgw, register, bucket, how,
                                isolation):
    """Its table fails, and no other, whatever the caller's snapshot is."""
    register(a="SELECT 1", b=SLEEPS, c="SELECT 1")
    select(db, f"SET default_transaction_isolation = '{isolation}'")
    if how == "session":
        with Running(db, RUN, ("{}",)) as session:
            pid = wait_for_sleep(observer)
            select(observer, "SELECT pg_terminate_backend(%s)", (pid,))
            found = statuses(session.rows())
        notices = "".join(db.notices)
        assert "the worker that exported it was terminated" in notices
        assert (LOST in notices) == (isolation != "read committed")
    else:
        run_id = submit_all(db)
        pid = wait_for_sleep(observer)
        select(observer, "SELECT pg_terminate_backend(%s)", (pid,))
        row = (("failed", "57P01") if isolation == "read committed"
               else ("lost", None))
        assert wait(observer, run_id) == row[0]
        kept = history(observer, run_id)
        assert kept["b"] == row
        found = {name: status for name, (status, _) in kept.items()}
        found["b"] = "failed"
    assert found == {"a": "done", "b": "failed", "c": "done"}
    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == [key_of("a"), key_of("c")]


# Locked histories

@pytest.fixture
def locker(pg):
    """Locks the history, and keeps the query of job 64 from its end."""
    connection = pg.connect("onboard")
    yield connection
    connection.close()


HELD = "SELECT pg_advisory_xact_lock_shared(64) IS NULL AS x"


def submit_held(db, locker, bucket):
    """A job whose query has ended, and which waits for the history."""
    select(locker, "SELECT pg_advisory_lock(64)")
    run_id = value(db, "SELECT onboard_submit('job', %s, %s)", (HELD, bucket))
    pid = run_pid(db, run_id)
    wait_for_event(db, pid, "advisory")
    select(locker, "BEGIN")
    select(locker, "LOCK TABLE onboard_history")
    select(locker, "SELECT pg_advisory_unlock(64)")
    return run_id, pid


def gone(observer, pid):
    process.wait_until(
        lambda: value(observer, "SELECT count(*) FROM pg_stat_activity"
                      " WHERE pid = %s", (pid,)) == 0,
        30, "the process has ended",
    )


@pytest.mark.parametrize("how", [
    "onboard_cancel", "pg_cancel_backend", "lock_timeout"
])
def test_the_history_is_locked(pg, db, observer, locker, s3, bucket, how):
    """The wait ends, and the log has the row that the history lacks."""
    start = len(pg.log_text())
    if how == "lock_timeout":
        select(db, "SET lock_timeout = '300ms'")
    run_id, pid = submit_held(db, locker, bucket)
    try:
        if how != "lock_timeout":
            wait_for_event(observer, pid, "relation")
            argument = run_id if how == "onboard_cancel" else pid
            assert value(observer, f"SELECT {how}(%s)", (argument,)) is True
        gone(observer, pid)
    finally:
        select(locker, "COMMIT")
    assert body(s3, bucket, key_of("job")) == b"x\nf\n"
    assert history(db, run_id) == {"job": ("lost", None)}
    log = pg.log_text()[start:]
    assert f'WARNING:  {LOST} "job" ended' in log
    assert f'It has landed at "s3://{bucket}/{key_of("job")}": 1 rows' in log
    # it is logged once, although it was tried twice
    assert log.count('LOG:  export of "job" by "postgres" to') == 1


def test_the_history_is_locked_for_a_moment(db, observer, locker, s3, bucket):
    """Then the row is written, without a cancel."""
    run_id, pid = submit_held(db, locker, bucket)
    wait_for_event(observer, pid, "relation")
    select(locker, "COMMIT")
    assert wait(db, run_id) == "done"


def test_a_cancel_while_it_is_free_again(db, observer, locker, s3, bucket):
    """The second attempt finds it unlocked: the cancel comes too late, and
    nothing is lost."""
    run_id, pid = submit_held(db, locker, bucket)
    wait_for_event(observer, pid, "relation")
    assert value(observer, "SELECT pg_cancel_backend(%s)", (pid,))
    select(locker, "COMMIT")
    assert wait(db, run_id) == "done"
    assert history(db, run_id) == {"job": ("done", None)}


def test_a_worker_finds_the_history_locked(pg, db, observer, locker, s3,
                                           register, bucket):
    """The caller still receives the outcome of its table."""
    register(a=HELD, b=HELD + ", 2 AS n")
    start = len(pg.log_text())
    select(db, "SET log_error_verbosity = verbose")
    select(locker, "SELECT pg_advisory_lock(64)")
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"
        " AND backend_type = 'onboard worker'"
    )
    with Running(db, RUN, ("{}",)) as session:
        process.wait_until(
            lambda: value(observer, waiting) == 2, 30, "both wait"
        )
        select(locker, "BEGIN")
        select(locker, "LOCK TABLE onboard_history")
        select(locker, "SELECT pg_advisory_unlock(64)")
        blocked = (
            "SELECT pid FROM pg_stat_activity WHERE wait_event = 'relation'"
            " AND backend_type = 'onboard worker'"
        )
        process.wait_until(
            lambda: len(select(observer, blocked)) == 2, 30,
            "both wait for the history",
        )
        for row in select(observer, blocked):
            select(observer, "SELECT pg_cancel_backend(%s)", (row["pid"],))
        assert statuses(session.rows()) == {"a": "done", "b": "done"}
        select(locker, "COMMIT")
    notices = [notice for notice in db.notices if LOST in notice]
    assert len(notices) == 2
    assert f'It has landed at "s3://{bucket}/' in notices[0]
    assert f"WARNING:  01000: {LOST}" in pg.log_text()[start:]
    assert keys(s3, bucket) == [key_of("a"), key_of("b")]


def test_a_cancel_before_it_has_begun(db, observer, locker, register, s3,
                                      bucket):
    """The history's first row waits for the lock: the cancel ends the export.
    """
    register(a="SELECT 1", b="SELECT 2")
    select(locker, "BEGIN")
    select(locker, "LOCK TABLE onboard_history IN EXCLUSIVE MODE")
    blocked = (
        "SELECT pid FROM pg_stat_activity WHERE wait_event = 'relation'"
        " AND backend_type = 'onboard worker'"
    )
    with Running(db, RUN, ("{}",)) as session:
        process.wait_until(
            lambda: len(select(observer, blocked)) == 2, 30, "both wait"
        )
        for row in select(observer, blocked):
            select(observer, "SELECT pg_cancel_backend(%s)", (row["pid"],))
        found = session.rows()
        select(locker, "COMMIT")
    assert statuses(found) == {"a": "failed", "b": "failed"}
    assert keys(s3, bucket) == []


def test_awaiting_for_no_time(db, observer, bucket):
    """Any positive time-out works, however short."""
    select(observer, "SELECT pg_advisory_lock(64)")
    try:
        run_id = value(db, "SELECT onboard_submit('job', %s, %s)",
                       (HELD, bucket))
        for timeout in ("0 s", "-1 day", "-infinity"):
            if timeout == "-infinity" and db.server_version < 170000:
                continue  # not an interval yet
            assert value(db, "SELECT status FROM onboard_wait(%s, %s)",
                         (run_id, timeout)) == "running"
    finally:
        select(observer, "SELECT pg_advisory_unlock(64)")
    assert wait(db, run_id) == "done"


# Limits

@pytest.fixture
def holds(observer):
    """Keeps the queries of jobs from their end."""
    select(observer, "SELECT pg_advisory_lock(64)")
    yield
    select(observer, "SELECT pg_advisory_unlock_all()")


def submit(session, role, bucket, n=0):
    return value(
        session, "SELECT onboard_submit(%s, %s, %s, %s)",
        (f"job{n}", HELD, bucket, json.dumps({"server": role.server})),
    )


def test_jobs_of_a_role(pg, db, observer, holds, alice, bucket):
    """The setting limits their number; when one has ended, another may begin.
    """
    select(db, f"ALTER ROLE {alice.name} SET onboard.max_jobs_per_role = 2")
    session = pg.connect("onboard", user=alice.name)
    try:
        runs = [submit(session, alice, bucket, n) for n in range(2)]
        error = failure(submit, session, alice, bucket)
        assert error.pgcode == "53400"
        assert error.diag.message_primary == (
            f'role "{alice.name}" has as many jobs as it may have'
        )
        assert "onboard.max_jobs_per_role = 3" in error.diag.message_hint
        # the role itself cannot change the setting
        denied = failure(
            select, session, "SET onboard.max_jobs_per_role = 100"
        )
        assert denied.pgcode == "42501"
        assert failure(submit, session, alice, bucket).pgcode == "53400"
        pid = run_pid(db, runs[0])
        assert value(session, "SELECT onboard_cancel(%s)", (runs[0],))
        gone(observer, pid)
        runs[0] = submit(session, alice, bucket, 3)
        select(observer, "SELECT pg_advisory_unlock(64)")
        assert [wait(session, run_id) for run_id in runs] == ["done"] * 2
    finally:
        session.close()


@pytest.mark.parametrize("fails", [False, True])
def test_a_query_that_unlocks_all(
    pg, db, observer, holds, alice, bucket, fails
):
    """The query cannot release the locks that count jobs and show that one runs.
    """
    select(db, f"ALTER ROLE {alice.name} SET onboard.max_jobs_per_role = 1")
    select(
        db, "CREATE FUNCTION unlock_all(n int) RETURNS int LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_unlock_all();"
        " PERFORM pg_advisory_xact_lock_shared(64); RETURN 1 / n; END $$"
    )
    session = pg.connect("onboard", user=alice.name)
    status = "SELECT status FROM onboard_runs WHERE run_id = %s"
    try:
        run_id = value(
            session, "SELECT onboard_submit('job', %s, %s, %s)",
            (f"SELECT unlock_all({0 if fails else 1}) AS n", bucket,
             json.dumps({"server": alice.server})),
        )
        pid = run_pid(db, run_id)
        wait_for_event(observer, pid, "advisory")
        assert value(session, status, (run_id,)) == "running"
        assert run_pid(db, run_id) == pid
        assert failure(submit, session, alice, bucket).pgcode == "53400"
        select(observer, "SELECT pg_advisory_unlock(64)")
        ended = "failed" if fails else "done"
        assert wait(session, run_id) == ended
    finally:
        session.close()
        select(db, "DROP FUNCTION unlock_all(int)")


def test_jobs_one_after_another(pg, db, alice, bucket):
    """A job whose end was reported may still exist: the next one waits."""
    select(db, f"ALTER ROLE {alice.name} SET onboard.max_jobs_per_role = 1")
    session = pg.connect("onboard", user=alice.name)
    status = "SELECT status FROM onboard_runs WHERE run_id = %s"
    try:
        for n in range(20):
            run_id = value(
                session, "SELECT onboard_submit(%s, 'SELECT 1', %s, %s)",
                (f"job{n}", bucket, json.dumps({"server": alice.server})),
            )
            process.wait_until(
                lambda: value(session, status, (run_id,)) == "done", 30,
                "its end is reported", interval=0.001,
            )
    finally:
        session.close()


def test_jobs_of_a_role_at_the_same_time(pg, db, observer, holds, alice,
                                         bucket):
    """The limit holds for all sessions together."""
    select(db, f"ALTER ROLE {alice.name} SET onboard.max_jobs_per_role = 2")
    sessions = [pg.connect("onboard", user=alice.name) for _ in range(8)]
    running = []
    try:
        for n, session in enumerate(sessions):
            running.append(Running(
                session, "SELECT onboard_submit(%s, %s, %s, %s) AS run_id",
                (f"job{n}", HELD, bucket, json.dumps({"server": alice.server})
                 ),
            ).__enter__())
        outcomes = []
        for one in running:
            one._thread.join(60)
            assert not one.running()
            outcomes.append(one._error.pgcode if one._error else "begun")
        assert sorted(outcomes) == ["53400"] * 6 + ["begun"] * 2
        sql = ("SELECT count(*) FROM pg_stat_activity"
               " WHERE backend_type = 'onboard job'")
        assert value(observer, sql) == 2
        select(observer, "SELECT pg_advisory_unlock(64)")
        for one in running:
            if not one._error:
                assert wait(db, one.rows()[0]["run_id"]) == "done"
    finally:
        for session in sessions:
            session.close()


def test_workers_for_others(pg, db, observer, holds, make_role, make_server,
                            rgw, bucket):
    """The jobs of several roles together leave some places free."""
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, user="PUBLIC"
    )
    most = int(value(db, "SHOW max_worker_processes"))
    roles = [make_role() for _ in range(most)]
    runs = []
    for n, role in enumerate(roles):
        role.server = server
        role.may(f"USAGE ON FOREIGN SERVER {server}")
    for role in roles[:most - 2]:
        runs.append(submit(role.session, role, bucket, len(runs)))
    error = failure(submit, roles[-1].session, roles[-1], bucket)
    assert (error.pgcode, error.diag.message_primary) == (
        "53400", "no background worker is free for another job"
    )
    assert "max_worker_processes" in error.diag.message_hint
    # a superuser may use the rest; the replication launcher has one
    run_id = value(db, "SELECT onboard_submit('mine', %s, %s)", (HELD, bucket))
    select(observer, "SELECT pg_advisory_unlock(64)")
    assert {wait(db, one) for one in [*runs, run_id]} == {"done"}


def test_a_job_does_not_have_its_own_place_for_a_worker(
    pg, db, alice, registry, bucket
):
    """One place is left for all roles, and the job itself occupies it."""
    most = int(value(db, "SHOW max_worker_processes"))
    for setting in (
        f"onboard.reserved_workers = {most - 1}",
        "log_min_messages = notice",
    ):
        select(db, f"ALTER ROLE {alice.name} SET {setting}")
    alice.may("SELECT ON onboard_tables")
    for name in "ab":
        registry(name, "SELECT 1 AS n", bucket)
    session = pg.connect("onboard", user=alice.name)
    before = len(pg.log_text())
    try:
        run_id = submit_all(session, server=alice.server)
        assert wait(session, run_id) == "done"
    finally:
        session.close()
    assert "0 of 2 workers could be started" in pg.log_text()[before:]


def test_a_job_needs_a_server(pg, db, bob, bucket):
    """A role that may export nowhere cannot start a process."""
    start = len(pg.log_text())
    for sql in ("SELECT onboard_submit('t', 'SELECT 1', 'bucket')",
                "SELECT onboard_submit_all()"):
        error = failure(value, bob.session, sql)
        assert error.pgcode == "42501"
        assert f"TO {bob.name};" in error.diag.message_hint
    error = failure(
        value, bob.session, "SELECT onboard_submit('t', options =>"
        " '{\"server\": \"s3\"}')",
    )
    assert (error.pgcode, error.diag.message_primary) == (
        "42501", "permission denied for foreign server s3"
    )
    assert 'export of "t"' not in pg.log_text()[start:]


def test_no_safe_snapshot(pg, db, observer, alice, bucket):
    """A job does not wait for other transactions to get its snapshot."""
    select(observer, "BEGIN ISOLATION LEVEL SERIALIZABLE")
    select(observer, "SELECT txid_current()")
    try:
        select(
            alice.session,
            "SET default_transaction_isolation = serializable;"
            " SET default_transaction_read_only = on",
        )
        run_id = value(
            alice.session, "WITH s AS MATERIALIZED (SELECT set_config("
            "'default_transaction_deferrable', 'on', false))"
            " SELECT onboard_submit('t', 'SELECT 1', %s, %s) FROM s",
            (bucket, json.dumps({"server": alice.server})),
        )
        select(alice.session, "SET default_transaction_deferrable = off")
        assert wait(db, run_id) == "done"
    finally:
        select(observer, "ROLLBACK")
