"""Faults of the database's own host: rows 28, 29 and 42 to 44 of
docs/faults.md.

The preloaded library test/lib/faulty.c causes them, in libc and libcurl.
"""

import contextlib
import os
import pathlib
import shutil
import time

import pytest

from conftest import Server
from faults import ABORT, CREATE, PARTS, SMALL, Export
from lib import process
from lib.exports import (
    no_trace, no_upload_left, rows, select, wait_for_network, warnings,
)
from lib.postgres import Cluster

LIBRARY = pathlib.Path(__file__).parent.parent / "lib" / "faulty.c"
BIG = rows(12)
BOTH = pytest.mark.parametrize("query", [SMALL, BIG], ids=["small", "big"])
CHECK_ENDPOINT = "Check the server's endpoint"
PROMPT = 3  # seconds: much less than any time-out that could end it


class Faults:
    """Turns faults of faulty.c on and off."""

    def __init__(self, folder):
        self.folder = folder

    def on(self, name, number=0):
        os.symlink(str(number), os.path.join(self.folder, name))

    def off(self):
        for name in os.listdir(self.folder):
            os.unlink(os.path.join(self.folder, name))


@pytest.fixture(scope="module")
def faulty_cluster(tmp_path_factory, canaries):
    library = str(tmp_path_factory.mktemp("faulty") / "faulty.so")
    process.run([
        "cc", "-O2", "-std=c11", "-fno-builtin", "-shared", "-fPIC", "-o",
        library, str(LIBRARY), "-ldl",
    ])
    cluster = Cluster()
    cluster.create()
    # Both must be in a folder that PostgreSQL's OS user can read.
    faults = os.path.join(cluster.folder, "faults")
    os.mkdir(faults)
    os.chmod(faults, 0o755)
    preload = shutil.copy(library, cluster.folder)
    cluster.env = {"LD_PRELOAD": preload, "ONBOARD_FAULTS": faults}
    with contextlib.closing(cluster.start()):
        cluster.psql("CREATE EXTENSION onboard")
        cluster.faults = Faults(faults)
        yield cluster


@pytest.fixture
def faults(faulty_cluster):
    """All faults are off before and after each test."""
    faulty_cluster.faults.off()
    yield faulty_cluster.faults
    faulty_cluster.faults.off()


@pytest.fixture
def make(faulty_cluster, canaries):
    """Makes a foreign server in the faulty cluster."""
    servers = Server(faulty_cluster, canaries)
    yield lambda *arguments, **options: servers(
        *arguments, dbname="postgres", **options
    )
    servers.drop()


@pytest.fixture
def session(faulty_cluster):
    connection = faulty_cluster.connect()
    yield connection
    connection.close()


@pytest.fixture
def export(faults, make, session, rgw, s3, bucket, proxy):
    server = make(proxy.endpoint, rgw.access_key, rgw.secret_key)
    return Export(session, rgw, s3, bucket, proxy, server)


# Host names as faulty.c resolves them
UNKNOWN, FAILS_TWICE, HANGS, DEAD = (f"300.0.0.{n}" for n in range(1, 5))


@pytest.fixture
def named(make, proxy, rgw):
    """Makes a server with the proxy's endpoint under another host name."""
    return lambda name: make(
        proxy.endpoint.replace("127.0.0.1", name), rgw.access_key,
        rgw.secret_key,
    )


# Names and addresses


def test_28_no_such_host(export, named, proxy):
    export.set(retry_deadline="300ms")
    error = export.fails("08001", SMALL, server=named(UNKNOWN))
    assert CHECK_ENDPOINT in error.diag.message_hint
    assert UNKNOWN in error.diag.message_detail
    assert proxy.connections == 0


def test_28_name_server_fails_twice(export, named, proxy):
    export.lands(server=named(FAILS_TWICE))
    assert len(proxy.requests()) == 5


@BOTH
def test_28_name_server_hangs(export, named, rgw, faulty_cluster, query):
    """A cancel does not wait for the name server."""
    observer = faulty_cluster.connect()
    with export.running(query, server=named(HANGS)) as landing:
        wait_for_network(observer, landing.pid)
        started = time.monotonic()
        select(observer, "SELECT pg_cancel_backend(%s)", (landing.pid,))
        assert landing.error().pgcode == "57014"
        assert time.monotonic() - started < PROMPT
    observer.close()
    no_trace(rgw, export.bucket)
    export.lands(SMALL)


@BOTH
def test_29_connection_refused(export, make, rgw, query):
    (port,) = process.free_ports(1)
    server = make(f"http://127.0.0.1:{port}", rgw.access_key, rgw.secret_key)
    export.set(retry_deadline="300ms")
    error = export.fails("08001", query, server=server)
    assert CHECK_ENDPOINT in error.diag.message_hint
    assert "Failed to connect" in error.diag.message_detail
    assert "attempts" in error.diag.message_detail


def test_29_dead_addresses(export, named, proxy):
    """One more address of the host works."""
    export.lands(SMALL, server=named(DEAD))
    assert len(proxy.requests()) == 1


# Memory


@pytest.mark.parametrize("allowed", [0, 1])
def test_42_no_memory_for_a_part(export, faults, proxy, session, allowed):
    """Memory lacks for the first part, or for one after Create."""
    faults.on("memory", allowed)
    error = export.fails("53200")
    assert error.diag.message_detail.lower() == "out of memory."
    assert len(proxy.requests(*CREATE)) == len(proxy.requests(*ABORT))
    assert not warnings(session)
    faults.off()
    export.lands()


@BOTH
def test_42_no_memory_in_libcurl(export, faults, proxy, query):
    faults.on("easy")
    error = export.fails("53200", query)
    assert "libcurl could not be set up" in str(error)
    assert proxy.requests() == []
    faults.off()
    export.lands(query)


def test_42_no_memory_in_libcurl_for_parts(export, faults, proxy, session):
    """There is enough memory for one request at a time, and so for the Abort.
    """
    held = proxy.rule(*CREATE, hold=True)
    proxy.rule(*PARTS, times=None, hold=True)
    with export.running() as landing:
        held.wait()
        faults.on("easy")
        held.release()
        error = landing.error()
    assert error.pgcode == "53200"
    assert "could not set up a request" in error.diag.message_detail
    assert export.statuses(ABORT)[0] == 204
    assert not warnings(session)
    no_trace(export.rgw, export.bucket)


# Descriptors


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("more", [3, 4, 5, 8])
def test_43_no_more_descriptors(export, faults, session, proxy, more):
    """Descriptors lack for libcurl or for PostgreSQL's own wait; the error says
    so."""
    pid = session.info.backend_pid
    fewest = descriptors(pid)
    for _ in range(2):
        export.lands(connections=1)
    before = descriptors(pid)
    # The pauses make all connections necessary.
    proxy.rule(*PARTS, times=None, hold=True)
    faults.on("files", fewest + more)
    for _ in range(2):
        error = export.failure(rows(60), connections=8)
        assert "Too many open files" in f"{error} {error.diag.message_detail}"
        no_upload_left(export.rgw, export.bucket)
    faults.off()
    proxy.clear()
    export.lands(connections=1)
    assert descriptors(pid) <= before


# Processes


def test_58_worker_runs_before_its_pid_is_known(faults, session, make, rgw,
                                                bucket):
    """The postmaster has started the worker, but not yet recorded its pid."""
    make(rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3")
    query = "SELECT 1 AS a FROM pg_sleep(0.05)"
    select(session, "INSERT INTO onboard_tables (name, query, bucket)"
           " SELECT 't' || g, %s, %s FROM generate_series(1, 8) g",
           (query, bucket))
    faults.on("fork", 400)
    try:
        select(session, "SET onboard.parallel_tables = 2")
        found = select(session, "SELECT name, status, error FROM onboard_all()")
        assert [(row["name"], row["status"], row["error"]) for row in found] \
            == [(row["name"], "done", None) for row in found]
        assert len(found) == 8
    finally:
        faults.off()
        select(session, "DELETE FROM onboard_tables")


# Disk


def test_44_disk_full_in_the_query(export, faults, proxy, session):
    """The disk is full after the first parts were sent."""
    select(session, "SET work_mem = '1MB'")
    query = (
        f"{BIG} UNION ALL SELECT * FROM (SELECT g, repeat('y', 50)"
        " FROM generate_series(1, 100000) g ORDER BY md5(g::text)) sorted"
    )
    faults.on("disk")
    error = export.fails("53100", query)
    assert "No space left on device" in str(error)
    assert export.statuses(ABORT)[0] == 204
    faults.off()
    export.lands()
