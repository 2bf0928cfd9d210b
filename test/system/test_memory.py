"""The memory of a backend that exports gigabytes.

The store is bench/discard.c, which costs almost nothing and checks lengths,
part sizes and part numbers; it keeps no object, so gigabytes are cheap.
"""

import contextlib
import json
import pathlib
import subprocess
import urllib.request

import pytest

from lib import process
from lib.exports import (
    Running, call, network_event, select, value, wait_for_network,
)
from lib.postgres import PeakMemory, backend_rss
from lib.proxy import Proxy

MB = 1024 * 1024
GB = 10**9
SOURCE = pathlib.Path(__file__).parent.parent / "bench" / "discard.c"

# The limit beyond onboard.upload_memory: encoders, codecs, libcurl, TLS, a row.
ALLOWANCE = 32 * MB


class Discard:
    """A running discard; see its source."""

    def __init__(self, folder):
        program = str(folder / "discard")
        flags = ["-O2", "-std=c11", "-D_GNU_SOURCE"]
        process.run(["cc", *flags, "-o", program, str(SOURCE), "-lcrypto"])
        self._server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", program],
            stdout=subprocess.PIPE, text=True,
        )
        port = self._server.stdout.readline().split()[1]
        self.endpoint = f"http://127.0.0.1:{port}"

    def stats(self):
        with urllib.request.urlopen(self.endpoint + "/-/stats") as response:
            return json.load(response)

    def stop(self):
        self._server.terminate()
        self._server.wait(10)
        self._server.stdout.close()


@pytest.fixture(scope="module")
def discard(tmp_path_factory):
    server = Discard(tmp_path_factory.mktemp("discard"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def wide(pg):
    """A table of 20 MB in 2,000 rows, which compresses by half."""
    pg.psql(
        """
        CREATE TABLE wide (text text);
        ALTER TABLE wide ALTER text SET STORAGE EXTERNAL;
        INSERT INTO wide
            SELECT string_agg(md5(g || '.' || i), '')
            FROM generate_series(1, 2000) g, generate_series(1, 320) i
            GROUP BY g;
        """,
        "onboard",
    )
    yield "wide"
    pg.psql("DROP TABLE wide", "onboard")


# settings, options, MB allowed, GB exported
CASES = {
    "default": ({}, {}, 128, 2),
    "little": ({"onboard.upload_memory": "32MB"}, {}, 32, 1),
    "zstd": ({}, {"compression": "zstd"}, 128, 1),
}


@pytest.mark.parametrize("case", list(CASES))
def test_gigabytes(db, discard, make_server, wide, case):
    settings, options, memory, size = CASES[case]
    for name, setting in settings.items():
        select(db, f"SET {name} = '{setting}'")
    server = make_server(discard.endpoint, "key", "secret-of-discard")
    query = f"SELECT text FROM {wide}, generate_series(1, {50 * size})"
    # PostgreSQL's own caches are not the export's memory.
    value(db, f"SELECT sum(length(text)) FROM {wide}")
    before = discard.stats()
    statement = call("wide", query, "bucket", server=server, **options)
    with PeakMemory(db.info.backend_pid) as peak:
        with Running(db, *statement) as export:
            (row,) = export.rows(200)
    after = discard.stats()
    assert row["rows"] == 100000 * size
    assert row["bytes"] > (0.4 if "compression" in options else 1) * size * GB
    assert after["bytes_stored"] - before["bytes_stored"] == row["bytes"]
    assert after["violations"] == before["violations"]
    assert peak.peak - peak.before <= memory * MB + ALLOWANCE


@pytest.mark.parametrize("memory", [32, 128])
def test_slow_store(pg, db, discard, make_server, wide, memory):
    """Rows come faster than parts can be sent: all buffers are in use."""
    observer = pg.connect("onboard")
    select(db, f"SET onboard.upload_memory = '{memory}MB'")
    query = f"SELECT text FROM {wide}, generate_series(1, {memory // 4})"
    with Proxy(discard.endpoint) as proxy:
        parts = proxy.rule(
            "PUT", "partNumber=", times=None, hold=True, when="request"
        )
        server = make_server(proxy.endpoint, "key", "secret-of-discard")
        statement = call(
            "wide", query, "bucket", server=server, connections=32
        )
        with PeakMemory(db.info.backend_pid) as peak:
            with Running(db, *statement) as export:
                parts.wait()
                wait_for_network(observer, export.pid)
                held = backend_rss(export.pid)["anon"] - peak.before
                parts.release()
                (row,) = export.rows()
        left = backend_rss(export.pid)["anon"] - peak.before
    observer.close()
    assert row["bytes"] > memory * 4 * MB
    # The memory was really in use, and is released.
    assert held > memory * MB / 2
    assert peak.peak - peak.before <= memory * MB + ALLOWANCE
    assert left < ALLOWANCE


PARALLEL = """
    SET min_parallel_table_scan_size = 0;
    SET parallel_setup_cost = 0;
    SET max_parallel_workers_per_gather = 2;
"""
GROUP = """
    SELECT pid, wait_event FROM pg_stat_activity
    WHERE %s IN (pid, leader_pid) ORDER BY leader_pid NULLS FIRST
"""


def all_wait(observer, leader, count):
    """The processes of a parallel export, the leader first, once all of them
    wait for the network; None before."""
    found = select(observer, GROUP, (leader,))
    if len(found) < count or {row["wait_event"] for row in found} != {
        network_event(observer)
    }:
        return None
    return [row["pid"] for row in found]


# 400 MB; repetitions are too far apart for zstd, which only halves the size.
REPEATED = " UNION ALL ".join(["SELECT text FROM wide"] * 20)


# 300 MB in many columns.
COLUMNS = "SELECT {} FROM short".format(
    ", ".join(f"repeat(t, 8) || {i} AS c{i}" for i in range(200))
)
# query, rows, MB, options; Parquet takes two workers if it has more memory
SHARED = {
    "none": (REPEATED, 40000, 64, {"compression": "none"}),
    "zstd": (REPEATED, 40000, 64, {"compression": "zstd"}),
    "parquet, none": (REPEATED, 40000, 128, {
        "format": "parquet", "compression": "none",
    }),
    "parquet, zstd": (REPEATED, 40000, 128, {"format": "parquet"}),
    "parquet, columns": (COLUMNS, 2400, 128, {
        "format": "parquet", "compression": "none",
    }),
}


@pytest.fixture(scope="module")
def short(pg):
    pg.psql("CREATE TABLE short AS SELECT md5(g::text) || md5((-g)::text) AS t"
            " FROM generate_series(1, 2400) g; ANALYZE short", "onboard")
    yield
    pg.psql("DROP TABLE short", "onboard")


@pytest.mark.parametrize("case", SHARED)
def test_workers_share_the_memory(
    pg, db, discard, make_server, wide, short, show, case
):
    """With a leader and two workers, all buffers are in use."""
    query, count, memory, options = SHARED[case]
    memory *= MB
    select(db, PARALLEL)
    (plan, *_) = select(
        db, "SELECT onboard_explain(%s, %s) AS line", (query, json.dumps(options))
    )
    assert plan["line"].startswith("Sink: below Gather"), plan
    value(db, f"SELECT sum(length(text)) FROM {wide}")
    select(db, f"SET onboard.upload_memory = {memory // 1024}")
    observer = pg.connect("onboard")
    with Proxy(discard.endpoint) as proxy, contextlib.ExitStack() as stack:
        parts = proxy.rule(
            "PUT", "partNumber=", times=None, hold=True, when="request"
        )
        server = make_server(proxy.endpoint, "key", "secret-of-discard")
        before = backend_rss(db.info.backend_pid)["anon"]
        export = stack.enter_context(Running(db, *call(
            "wide", query, "bucket", server=server, connections=48,
            parallel=2, **options,
        )))
        pids = process.wait_until(
            lambda: all_wait(observer, export.pid, 3), 60, "all wait for room"
        )
        held = [backend_rss(pid)["anon"] for pid in pids]
        held[0] -= before
        peaks = [stack.enter_context(PeakMemory(pid)) for pid in pids]
        parts.release()
        (row,) = export.rows(100)
    observer.close()
    assert row["rows"] == count
    grown = [peak.peak for peak in peaks]
    grown[0] -= before
    shown = ", ".join(f"{size / MB:.0f}" for size in [*held, *grown])
    show(f"{case}: {shown} MB in leader and workers, held and at most")
    # The memory was really in use, and no process exceeded its share.
    assert sum(held) > memory / 2
    assert max(grown) <= memory / 3 + ALLOWANCE
    assert sum(grown) <= memory + 3 * ALLOWANCE
