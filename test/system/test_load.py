"""Many exports at once, and many one after another in one session.

The numbers can be changed for a longer run or a smaller machine:

    ONBOARD_BACKENDS=200 ONBOARD_BACKEND_MB=20 ONBOARD_SOAK=5000 \\
        test/system.sh test/system/test_load.py
"""

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import Server
from landing import assert_same
from lib import process
from lib.exports import (
    Running, body, call, copy, failure, key_of, land, land_all, select, value,
    wait_for_event,
)
from lib.postgres import Cluster, backend_rss, descriptors

MB = 1024 * 1024
SMALL = "SELECT 1 AS one, 'two' AS two"

# The limit of a session's memory beyond onboard.upload_memory: buffers of the
# encoder and libcurl, libraries, PostgreSQL's own memory for a query.
ALLOWANCE = 4 * MB


def held(pid, folder):
    """Resources that a backend holds, except tables' files, which PostgreSQL
    keeps open."""
    return {
        name: count
        for name, count in descriptors(pid).items()
        if not name.startswith(folder + "/data/")
    }


# Concurrent sessions.  Each takes 10 MB in its backend, 5 in RGW, and 6 in the
# OSD: 200 of them would need most of the memory that the README requires.

BACKENDS = int(os.environ.get("ONBOARD_BACKENDS", 120))
SIZE = int(os.environ.get("ONBOARD_BACKEND_MB", 6))
MEMORY = 10  # MB of parts, the minimum
TOKEN = "session-%04d"  # is in each of its rows
GATE = 4711

LEAST = f"""
    LOAD 'onboard';
    SET onboard.upload_memory = '{MEMORY}MB';
    SET onboard.part_size = '5MB';
"""


@pytest.fixture(scope="module")
def crowd(gigabytes, rgw, canaries):
    """A cluster with that many sessions, each of which has made an export.

    The first export allocates the memory that a session keeps: caches, and a
    client.
    """
    settings = {"max_connections": str(BACKENDS + 10)}
    with Cluster(settings) as cluster, contextlib.ExitStack() as stack:
        cluster.psql("CREATE EXTENSION onboard")
        Server(cluster, canaries)(
            rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3",
            dbname="postgres",
        )
        sessions = [cluster.connect() for _ in range(BACKENDS)]
        for session in sessions:
            stack.callback(session.close)
        yield cluster, sessions


def together(do, items):
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(do, items))


class Watch(process.Background):
    """The anonymous memory of processes, each by itself and all together."""

    def __init__(self, pids):
        super().__init__()
        self._before = {pid: backend_rss(pid)["anon"] for pid in pids}
        self._peak = dict(self._before)
        self._peak_of_all = 0

    def growth(self):
        """The growth of the process that grew most, and the greatest sum at any
        time."""
        each = [self._peak[pid] - self._before[pid] for pid in self._peak]
        return max(each), self._peak_of_all - sum(self._before.values())

    def left(self):
        """The growth that is left now in the process that keeps most."""
        return max(
            backend_rss(pid)["anon"] - before
            for pid, before in self._before.items()
        )

    def _run(self):
        while not self._stop.wait(0.05):
            now = {pid: backend_rss(pid)["anon"] for pid in self._before}
            self._peak_of_all = max(self._peak_of_all, sum(now.values()))
            for pid, size in now.items():
                self._peak[pid] = max(self._peak[pid], size)


def session_query(number):
    """Rows that no other session exports; they come after the gate opens."""
    return (
        f"SELECT g, '{TOKEN % number}' AS session,"
        " CASE g % 3 WHEN 0 THEN NULL ELSE repeat(chr(60 + g % 60), 1480) END"
        f" FROM generate_series(1, {SIZE}000) g"
        f" WHERE (SELECT pg_advisory_lock_shared({GATE})) IS NOT NULL"
    )


def test_50_all_at_once(crowd, s3, bucket, show):
    cluster, sessions = crowd
    observer = cluster.connect()
    pids = [session.info.backend_pid for session in sessions]

    def settle(session):
        select(session, LEAST)
        assert land(session, "settled", SMALL, bucket)["status"] == "done"

    together(settle, sessions)
    before = [held(pid, cluster.folder) for pid in pids]
    value(observer, f"SELECT pg_advisory_lock({GATE})")
    with contextlib.ExitStack() as stack:
        exports = [
            stack.enter_context(Running(
                session, *call(TOKEN % number, session_query(number), bucket)
            ))
            for number, session in enumerate(sessions)
        ]
        waiting = (
            "SELECT count(*) FROM pg_locks"
            " WHERE locktype = 'advisory' AND NOT granted"
        )
        process.wait_until(
            lambda: value(observer, waiting) == BACKENDS, 60, "all wait"
        )
        with Watch(pids) as memory:
            value(observer, f"SELECT pg_advisory_unlock({GATE})")
            results = [export.rows(240)[0] for export in exports]
    assert {row["status"] for row in results} == {"done"}
    assert min(row["bytes"] for row in results) > 5 * MB  # two parts

    one, all_ = memory.growth()
    show(f"{BACKENDS} backends: {one / MB:.1f} MB in one,"
         f" {all_ / MB:.0f} MB in all, {memory.left() / MB:.1f} MB left")
    assert one <= MEMORY * MB + ALLOWANCE
    assert all_ <= BACKENDS * (MEMORY * MB + ALLOWANCE)
    # No memory of parts was kept.
    assert memory.left() < ALLOWANCE

    template = copy(observer, session_query(0))
    observer.close()

    def compare(number):
        token = TOKEN % number
        expected = template.replace((TOKEN % 0).encode(), token.encode())
        assert_same(body(s3, bucket, key_of(token)), expected, token)

    together(compare, range(BACKENDS))

    # A session keeps its client with idle connections; with another time-out,
    # it makes a new client.  Nothing of the old one may remain.
    def renew(session):
        select(session, "SET onboard.stall_timeout = '29s'")
        land(session, "settled", SMALL, bucket)

    together(renew, sessions)
    assert [held(pid, cluster.folder) for pid in pids] == before


# Many exports in one session

SOAK = int(os.environ.get("ONBOARD_SOAK", 500))
WARM = 50
CYCLE = 25

TABLES = """
    CREATE TABLE soak AS
        SELECT g, md5(g::text) AS a, repeat(md5((-g)::text), 5) AS b
        FROM generate_series(1, 30000) g;
    ANALYZE soak;
    CREATE FUNCTION soak_caught(query text, bucket text) RETURNS text
    LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM onboard_table('bad', query, bucket);
        RETURN 'no error';
    EXCEPTION WHEN division_by_zero THEN
        PERFORM onboard_table('good', 'SELECT 1 AS one', bucket);
        RETURN 'caught';
    END $$;
    INSERT INTO onboard_tables (name, query, bucket) VALUES
        ('soak_1', 'SELECT 1 AS one', '{bucket}'),
        ('soak_2', 'SELECT 1 / 0 AS one', '{bucket}'),
        ('soak_3', 'SELECT * FROM soak LIMIT 9', '{bucket}');
"""
UNDO = """
    DELETE FROM onboard_tables WHERE name LIKE 'soak_%';
    DROP TABLE soak;
    DROP FUNCTION soak_caught;
"""
SESSION = """
    LOAD 'onboard';
    SET onboard.part_size = '5MB';
    SET min_parallel_table_scan_size = 0;
    SET parallel_setup_cost = 0;
    SET client_min_messages = error;
"""
BIG = "SELECT * FROM soak"  # 6 MB: two parts
FEW = "SELECT * FROM soak LIMIT 100"
NONE = "SELECT * FROM soak WHERE g < 0"
BAD = "SELECT *, 1 / (g - {}) FROM soak"
SLEEP = "SELECT *, CASE g WHEN {} THEN pg_sleep(300)::text END FROM soak"
EARLY, LATE = 10, 29990


class Soak:
    """A session that exports in every way, repeatedly."""

    def __init__(self, db, observer, bucket, servers):
        self.db = db
        self.observer = observer
        self.bucket = bucket
        self.wrong, self.named = servers
        self.exports = 0

    def cycle(self):
        """Runs each kind of export once."""
        before = self.exports
        for format, compression in [
            ("csv", "none"), ("text", "gzip"), ("binary", "zstd"),
            ("json", "lz4"), ("jsonl", "none"),
        ]:
            self.done(FEW, format=format, compression=compression)
        for format, compression in [("csv", "none"), ("jsonl", "lz4")]:
            options = {"format": format, "compression": compression}
            self.done(BIG, parallel="off", **options)
        self.done(BIG, parallel=2)
        self.done(BIG, parallel=2, compression="zstd", format="text")
        self.done(NONE, empty="write")
        self.export("empty", NONE, status="empty", compression="gzip")
        self.fails("22012", BAD.format(EARLY), parallel="off")
        self.fails("22012", BAD.format(LATE), parallel="off")
        self.fails("58P01", FEW, bucket="no-such-bucket-here")
        self.fails("28000", FEW, server=self.wrong)
        self.savepoint()
        self.caught()
        self.cancelled(EARLY)
        self.cancelled(LATE)
        self.all_tables()
        # Another server makes the session create another client: one socket.
        self.done(SMALL, server=self.named)
        assert self.exports - before == CYCLE

    def export(self, name, query, status, **options):
        self.exports += 1
        row = land(self.db, name, query, self.bucket, **options)
        assert row["status"] == status

    def done(self, query, **options):
        self.export("done", query, "done", **options)

    def fails(self, sqlstate, query, bucket=None, **options):
        self.exports += 1
        error = failure(
            land, self.db, "bad", query, bucket or self.bucket, **options
        )
        assert error.pgcode == sqlstate

    def savepoint(self):
        select(self.db, "BEGIN; SAVEPOINT before")
        self.fails("22012", BAD.format(LATE), parallel="off")
        select(self.db, "ROLLBACK TO before")
        self.done(SMALL)
        select(self.db, "COMMIT")

    def caught(self):
        self.exports += 2
        arguments = (BAD.format(EARLY), self.bucket)
        sql = "SELECT soak_caught(%s, %s)"
        assert value(self.db, sql, arguments) == "caught"

    def cancelled(self, row):
        self.exports += 1
        sql = call("bad", SLEEP.format(row), self.bucket, parallel="off")
        with Running(self.db, *sql) as export:
            wait_for_event(self.observer, export.pid, "PgSleep")
            value(self.observer, "SELECT pg_cancel_backend(%s)", (export.pid,))
            assert export.error().pgcode == "57014"

    def all_tables(self):
        found = land_all(self.db, "soak_%")
        self.exports += len(found)
        assert [row["status"] for row in found] == ["done", "failed", "done"]


def test_soak(pg, db, rgw, bucket, make_server, show):
    pg.psql(TABLES.format(bucket=bucket), "onboard")
    observer = pg.connect("onboard")
    servers = (
        make_server(rgw.endpoint, rgw.access_key, "not-the-secret-key"),
        # The endpoint is a host name, so libcurl's resolver with its thread is
        # used.
        make_server(
            rgw.endpoint.replace("127.0.0.1", "localhost"), rgw.access_key,
            rgw.secret_key,
        ),
    )
    select(db, SESSION)
    soak = Soak(db, observer, bucket, servers)
    pid = db.info.backend_pid

    def now():
        sql = "SELECT sum(total_bytes)::int8 FROM pg_backend_memory_contexts"
        palloced = value(db, sql)
        return backend_rss(pid)["anon"], palloced, held(pid, pg.folder)

    seen = []
    try:
        while soak.exports < SOAK:
            soak.cycle()
            seen.append(now())
    finally:
        observer.close()
        pg.psql(UNDO, "onboard")
    seen = seen[WARM // CYCLE - 1:]
    rss, palloced, files = zip(*seen)
    show(f"{soak.exports} exports: {rss[0] / MB:.1f} MB after {WARM},"
         f" {rss[-1] / MB:.1f} MB in the end")
    # malloc's heap grows by occasional steps, a leak steadily.
    assert rss[-1] - rss[0] <= 2 * ALLOWANCE
    assert sum(b > a for a, b in zip(rss, rss[1:])) <= len(rss) / 2
    assert palloced[-1] - palloced[0] <= MB / 8
    assert files[-1] == files[0]
