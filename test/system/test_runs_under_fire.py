"""Runs while other sessions write, drop, revoke, kill and restart."""

import json
import threading

import pytest
from conftest import Server

from lib import process
from lib.exports import (
    SLEEPS, Running, body, failure, key_of, keys, land_all, no_upload_left,
    register, rows, run_pid, select, statuses, value, wait_for_worker,
)
from lib.postgres import Cluster

LOCK = "SELECT pg_advisory_xact_lock_shared(5) IS NULL AS x"


# One snapshot

TABLES = 200
# Money moves between accounts of all tables, so the total never changes.
MAKE = """
DO $$
BEGIN
    FOR n IN 1 .. 200 LOOP
        EXECUTE format('CREATE TABLE account_%s AS SELECT g AS id, 100 AS'
            ' amount, repeat(''x'', 50) AS note FROM generate_series(1, %s) g',
            n, CASE WHEN n % 50 = 0 THEN 20000 ELSE 20 END);
    END LOOP;
END $$
"""
MOVE = """
DO $$
DECLARE
    source int := 1 + random() * 199;
    target int := 1 + random() * 199;
    amount int := 1 + random() * 50;
BEGIN
    EXECUTE format('UPDATE account_%s SET amount = amount - %s WHERE id = %s',
        source, amount, 1 + (random() * 19)::int);
    EXECUTE format('UPDATE account_%s SET amount = amount + %s WHERE id = %s',
        target, amount, 1 + (random() * 19)::int);
END $$
"""


class Writers:
    """Sessions that move money until they are stopped."""

    def __init__(self, pg, count):
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(pg,), daemon=True)
            for _ in range(count)
        ]
        self.moves = 0

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _write(self, pg):
        connection = pg.connect("onboard")
        while not self._stop.is_set():
            try:
                select(connection, MOVE)
                self.moves += 1
            except Exception as error:
                if getattr(error, "pgcode", None) != "40P01":
                    raise
        connection.close()


def test_200_tables_show_one_instant(pg, db, s3, registry, bucket):
    select(db, MAKE)
    try:
        select(
            db, "INSERT INTO onboard_tables (name, bucket) SELECT 'account_'"
            f" || n, '{bucket}' FROM generate_series(1, {TABLES}) n"
        )
        total = value(
            db, "SELECT 100 * (196 * 20 + 4 * 20000)"
        )
        select(db, "SET onboard.parallel_tables = 4")
        with Writers(pg, 2) as writers:
            process.wait_until(lambda: writers.moves > 20, 30, "writers write")
            before = writers.moves
            found = land_all(db)
            assert writers.moves > before
        assert len(found) == TABLES
        assert {row["status"] for row in found} == {"done"}
        landed = 0
        for n in range(1, TABLES + 1):
            lines = body(s3, bucket, key_of(f"account_{n}")).splitlines()
            landed += sum(int(line.split(b",")[1]) for line in lines[1:])
        assert landed == total
    finally:
        select(
            db, "DO $$ BEGIN FOR n IN 1 .. 200 LOOP EXECUTE"
            " format('DROP TABLE account_%s', n); END LOOP; END $$"
        )


def test_tables_are_uploaded_at_the_same_time(
    db, s3, registry, bucket, make_server, proxy, rgw
):
    """Tables are uploaded concurrently, one by each worker, while the store is
    slow."""
    name = make_server(proxy.endpoint, rgw.access_key, rgw.secret_key)
    register(db, bucket, **{f"t{n:02}": "SELECT 1 AS n" for n in range(12)})
    select(db, "SET onboard.parallel_tables = 4")
    proxy.rule("PUT", "", delay=0.1, times=None)
    found = land_all(db, server=name)
    assert {row["status"] for row in found} == {"done"}
    puts = proxy.requests("PUT")
    most = max(
        sum(other.started <= put.started < other.ended for other in puts)
        for put in puts
    )
    assert most == 4


# Changes during a run


@pytest.fixture
def held(db, observer):
    """A lock for which HELD waits until release()."""
    select(observer, "SELECT pg_advisory_lock(5)")

    def release():
        select(observer, "SELECT pg_advisory_unlock_all()")

    yield release
    release()


def test_a_table_is_dropped(pg, db, observer, s3, registry, bucket, held):
    """Its row reports it, and no other table is affected."""
    select(db, "CREATE TABLE dropped AS SELECT 1 AS n")
    select(db, "SET onboard.parallel_tables = 2")
    register(
        db, bucket, a=LOCK, b=LOCK, dropped="SELECT * FROM dropped LIMIT 1",
        other="SELECT 1 AS one",
    )
    # The tables that wait are larger, so they are exported first.
    select(db, "UPDATE onboard_tables SET query = query ||"
               " ' FROM generate_series(1, 100)' WHERE name IN ('a', 'b')")
    with Running(db, "SELECT * FROM onboard_all()") as run:
        wait_for_worker(observer, "advisory")
        other = pg.connect("onboard")
        select(other, "DROP TABLE dropped")
        other.close()
        held()
        found = run.rows()
    assert statuses(found) == {
        "a": "done", "b": "done", "dropped": "failed", "other": "done"
    }
    (error,) = [row["error"] for row in found if row["name"] == "dropped"]
    assert 'relation "dropped" does not exist' in error


def test_select_is_revoked(pg, db, observer, s3, registry, bucket, held):
    select(db, "CREATE ROLE fire_reader; CREATE TABLE revoked AS SELECT 1 AS n")
    select(db, "GRANT SELECT ON revoked, onboard_tables TO fire_reader")
    try:
        register(
            db, bucket, a=LOCK + " FROM generate_series(1, 100)",
            b=LOCK + " FROM generate_series(1, 100)",
            revoked="SELECT * FROM revoked LIMIT 1",
        )
        select(db, "GRANT USAGE ON FOREIGN SERVER s3 TO fire_reader;"
                   "SET onboard.parallel_tables = 2; SET ROLE fire_reader")
        # Without a mapping of its own, the table fails, but later than its
        # rights are checked.
        with Running(db, "SELECT * FROM onboard_all()") as run:
            found = run.rows()
        assert set(statuses(found).values()) == {"failed"}
        select(observer, "SET log_statement = none;"
                         " CREATE USER MAPPING FOR fire_reader SERVER s3"
                         " OPTIONS (access_key_id 'a', secret_access_key 'b')")
        with Running(db, "SELECT * FROM onboard_all()") as run:
            wait_for_worker(observer, "advisory")
            select(observer, "REVOKE SELECT ON revoked FROM fire_reader")
            held()
            found = run.rows()
        errors = {row["name"]: row["error"] for row in found}
        assert "permission denied for table revoked" in errors["revoked"]
    finally:
        select(db, "RESET ROLE")
        select(
            db, "DROP USER MAPPING IF EXISTS FOR fire_reader SERVER s3;"
            " DROP TABLE revoked; DROP OWNED BY fire_reader;"
            " DROP ROLE fire_reader"
        )


def test_disabled_and_none(db, observer, s3, registry, bucket):
    register(db, bucket, a="SELECT 1", b="SELECT 2")
    select(db, "UPDATE onboard_tables SET enabled = name = 'a'")
    assert statuses(land_all(db)) == {"a": "done"}
    assert keys(s3, bucket) == [key_of("a")]
    assert land_all(db, "nothing%") == []


def test_a_row_is_deleted(pg, db, observer, s3, registry, bucket, held):
    """The run uses the registry as its snapshot shows it."""
    select(db, "SET onboard.parallel_tables = 2")
    register(
        db, bucket, a=LOCK + " FROM generate_series(1, 100)",
        b=LOCK + " FROM generate_series(1, 100)", c="SELECT 1 AS c",
    )
    with Running(db, "SELECT * FROM onboard_all()") as run:
        wait_for_worker(observer, "advisory")
        other = pg.connect("onboard")
        select(other, "DELETE FROM onboard_tables WHERE name = 'c'")
        other.close()
        held()
        found = run.rows()
    assert statuses(found) == {"a": "done", "b": "done", "c": "done"}


def test_two_runs_at_once(pg, db, observer, s3, registry, bucket, held):
    """Both runs land; of two objects with one key, the later one stays."""
    register(db, bucket, a=LOCK, b="SELECT 1 AS b", c=rows(9))
    second = pg.connect("onboard")
    select(second, "SET onboard.parallel_tables = 2")
    select(db, "SET onboard.parallel_tables = 2")
    with (
        Running(db, "SELECT * FROM onboard_all()") as one,
        Running(second, "SELECT * FROM onboard_all()") as two,
    ):
        wait_for_worker(observer, "advisory")
        held()
        found = [one.rows(), two.rows()]
    for run in found:
        assert statuses(run) == {"a": "done", "b": "done", "c": "done"}
    assert len({row["run_id"] for run in found for row in run}) == 2
    second.close()


# Kills


@pytest.fixture
def doomed(rgw, canaries):
    """A cluster of its own, with a table that hangs in mid-upload."""
    # Committed data must have been flushed before a process is killed.
    settings = {"restart_after_crash": "on", "synchronous_commit": "on"}
    with Cluster(settings) as server:
        server.psql("CREATE EXTENSION onboard")
        Server(server, canaries)(
            rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3",
            dbname="postgres",
        )
        yield server


@pytest.mark.parametrize("who", [
    "worker", "leader", "restart", "job", "restart a job"
])
def test_killed(doomed, rgw, s3, bucket, who):
    """The history is correct, and the sweep finds the leftover upload."""
    db, observer = doomed.connect(), doomed.connect()
    register(db, bucket, a=SLEEPS, b="SELECT 1 AS b", c="SELECT 1 AS c")
    if who in ("job", "restart a job"):
        run_id = value(db, "SELECT onboard_submit('a')")
        pid = run_pid(db, run_id)
        process.wait_until(
            lambda: value(
                db, "SELECT wait_event FROM pg_stat_activity WHERE pid = %s",
                (pid,)) == "PgSleep",
            30, "the job sleeps",
        )
        if who == "job":
            process.kill(pid)
            # until the server has noticed the kill, and ends this session
            failure(value, db, "SELECT pg_sleep(60)")
        else:
            observer.close()
            db.close()
            doomed.restart()
    else:
        with Running(db, "SELECT * FROM onboard_all()") as run:
            worker = wait_for_worker(observer, "PgSleep")
            if who == "restart":
                observer.close()
                doomed.restart()
            else:
                victim = worker if who == "worker" else run.pid
                process.kill(victim)
            run.error()

    def responses():
        try:
            doomed.psql("SELECT 1")
        except process.RigError:
            return False
        return True

    process.wait_until(responses, 60, "the cluster is back")
    db = doomed.connect()
    found = {
        row["name"]: row["status"]
        for row in select(db, "SELECT name, status FROM onboard_runs")
    }
    if who.startswith("restart"):
        # Workers were terminated, with a FATAL error, so the row stays as it
        # was.
        assert found["a"] in ("lost", "failed")
        no_upload_left(rgw, bucket)
    else:
        assert found["a"] == "lost"
        left = rgw.unfinished(bucket)
        assert [upload["Key"] for upload in left] == [key_of("a")]
        swept = select(
            db, "SELECT * FROM onboard_abort_uploads(%s, older_than => '0s')",
            (bucket,),
        )
        assert [row["upload_id"] for row in swept] == [left[0]["UploadId"]]
    assert "running" not in found.values()
    assert set(keys(s3, bucket)) <= {key_of("b"), key_of("c")}
    db.close()


# The request that is held when the leader is killed, before S3 receives it, and
# the objects that are visible then, in the order of the Completes
POINTS = {
    "before the first Complete": (("POST", "/a/.*uploadId="), 0),
    "between the Completes": (("POST", "/b/.*uploadId="), 1),
    "before the manifest": (("PUT", r"/manifest\.json"), 3),
    "before _SUCCESS": (("PUT", "/_SUCCESS"), 3),
}


@pytest.mark.parametrize("how, point", [
    *(("workers", point) for point in POINTS), ("serial", "between the Completes")
])
def test_killed_while_it_is_published(
    doomed, canaries, rgw, s3, bucket, proxy, point, how
):
    """There is never a _SUCCESS; completed objects are visible; a new run lands
    all."""
    names = ["a", "b", "c"]
    server = Server(doomed, canaries)(
        proxy.endpoint, rgw.access_key, rgw.secret_key, dbname="postgres",
    )
    db = doomed.connect()
    select(db, f"SET onboard.parallel_tables = {4 if how == 'workers' else 0}")
    register(db, bucket, **{name: f"SELECT '{name}' AS n" for name in names})
    options = {
        "publish": "together", "manifest": True, "connections": 1,
        "server": server,
    }
    request, visible = POINTS[point]
    held = proxy.rule(*request, hold=True, when="request", drop="before")
    sql = "SELECT * FROM onboard_all(options => %s)"
    with Running(db, sql, (json.dumps(options),)) as run:
        held.wait()
        process.kill(run.pid)
        run.error()
    held.release()

    def responses():
        try:
            doomed.psql("SELECT 1")
        except process.RigError:
            return False
        return True

    process.wait_until(responses, 60, "the cluster is back")
    landed = [key_of(name) for name in names]
    there = keys(s3, bucket)
    assert [key for key in there if key in landed] == landed[:visible]
    assert not [key for key in there if key.endswith("/_SUCCESS")]
    manifests = [key for key in there if key.endswith("/manifest.json")]
    assert len(manifests) == (1 if point == "before _SUCCESS" else 0)
    left = [upload["Key"] for upload in rgw.unfinished(bucket)]
    assert sorted(left) == landed[visible:]
    db = doomed.connect()
    status = {
        row["status"] for row in select(db, "SELECT status FROM onboard_runs")
    }
    # the session's rows went with its transaction; those of workers never ended
    assert status == ({"lost"} if how == "workers" else set())
    found = land_all(db, **options)
    assert statuses(found) == dict.fromkeys(names, "done")
    assert f"_onboard/{found[0]['run_id']}/_SUCCESS" in keys(s3, bucket)
    swept = select(
        db, "SELECT * FROM onboard_abort_uploads(%s, older_than => '0s')",
        (bucket,),
    )
    assert len(swept) == len(left)
    db.close()
