"""The database server, or one of its processes, ends: rows 38 to 40 of
docs/faults.md.  The tests crash a cluster of their own."""

import concurrent.futures
import os
import signal
import time

import pytest

from conftest import Server
from faults import PART, PARTS
from lib import process
from lib.exports import (
    Running, call, key_of, keys, land, network_event, no_trace, rows,
    select,
)
from lib.postgres import Cluster

BIG = rows(20)
READY = "database system is ready to accept connections"
TERMINATING = "FATAL:  terminating connection due to administrator command"
SWEEP = "SELECT * FROM onboard_abort_uploads(%s, older_than => '0')"


# 30 MB, large enough for workers, too.
SHARED = """
    CREATE TABLE shared AS
        SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 30000) g;
    ANALYZE shared;
"""


@pytest.fixture(scope="module")
def fragile():
    settings = {
        "restart_after_crash": "on", "synchronous_commit": "on",
        # With these settings, small tables get parallel workers.
        "parallel_setup_cost": "0", "min_parallel_table_scan_size": "0",
    }
    with Cluster(settings) as cluster:
        cluster.psql("CREATE EXTENSION onboard;" + SHARED)
        yield cluster


@pytest.fixture
def cluster(fragile, canaries, rgw, proxy):
    """It has server s3, and server held, whose second parts do not land."""
    servers = Server(fragile, canaries)
    for name, endpoint in (("s3", rgw.endpoint), ("held", proxy.endpoint)):
        servers(
            endpoint, rgw.access_key, rgw.secret_key, name=name,
            dbname="postgres",
        )
    yield fragile
    servers.drop()


@pytest.fixture
def held(proxy):
    return proxy.rule(*PART, hold=True, when="request", drop="before")


def ends(pid):
    process.wait_until(
        lambda: not os.path.exists(f"/proc/{pid}"), 10,
        f"backend {pid} ends", interval=0.01,
    )


def logged(cluster, pid, text):
    """Whether the backend wrote such a line into the log."""
    return any(
        f"[{pid}]" in line and text in line
        for line in cluster.log_text().splitlines()
    )


def assert_usable(cluster, s3, bucket):
    """A new session exports, and only its object landed."""
    session = cluster.connect()
    assert land(session, "again", "SELECT 1", bucket)["rows"] == 1
    assert keys(s3, bucket) == [key_of("again")]
    session.close()


def test_38_fast_shutdown(cluster, held, rgw, s3, bucket):
    client = cluster.connect()
    with Running(client, *call("ended", BIG, bucket, server="held")) as export:
        held.wait()
        started = time.monotonic()
        cluster.stop("fast")
        elapsed = time.monotonic() - started
        export.error()
    client.close()
    assert elapsed < 5
    no_trace(rgw, bucket)
    assert logged(cluster, export.pid, TERMINATING)
    assert "was terminated by signal" not in cluster.log_text()
    cluster.start()
    assert_usable(cluster, s3, bucket)


def test_38_smart_shutdown(cluster, held, rgw, s3, bucket):
    """The shutdown waits for the export, which succeeds."""
    client = cluster.connect()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with Running(client, *call("t", BIG, bucket, server="held")) as export:
            held.wait()
            stopping = pool.submit(cluster.stop, "smart")
            process.wait_until(
                lambda: failure_to_connect(cluster), 10, "it shuts down"
            )
            assert not stopping.done()
            held.release()
            (found,) = export.rows()
        assert found["status"] == "done"
        client.close()
        stopping.result(30)
    assert keys(s3, bucket) == [key_of("t")]
    assert rgw.unfinished(bucket) == []
    cluster.start()


def failure_to_connect(cluster):
    try:
        cluster.connect().close()
    except Exception as error:
        return error
    return None


def worker_of(cluster, leader):
    """A parallel worker that waits for its own parts to land."""
    session = cluster.connect()
    found = process.wait_until(
        lambda: select(
            session, "SELECT pid FROM pg_stat_activity"
            " WHERE leader_pid = %s AND wait_event = %s",
            (leader, network_event(session)),
        ), 30, "a worker waits",
    )
    session.close()
    return found[0]["pid"]


# The query, the process that is killed, and the signal (None: a shutdown)
CRASHES = {
    "sigkill": (BIG, "session", signal.SIGKILL),
    "sigquit": (BIG, "session", signal.SIGQUIT),
    "immediate-shutdown": (BIG, None, None),
    "sigkill-worker": ("SELECT * FROM shared", "worker", signal.SIGKILL),
}


@pytest.mark.parametrize("crash", list(CRASHES))
def test_39_crash(cluster, proxy, rgw, s3, bucket, crash):
    """The sweep finds exactly the upload that is left, once."""
    query, victim, signal_ = CRASHES[crash]
    # Only one part lands, so each process has one that does not.
    held = proxy.rule(
        *PARTS, nth=2, times=None, hold=True, when="request", drop="before"
    )
    client = cluster.connect()
    ready = cluster.log_text().count(READY)
    sql = call("t", query, bucket, server="held", part_size="5MB")
    with Running(client, *sql) as export:
        held.wait()
        if victim == "worker":
            process.kill(worker_of(cluster, export.pid), signal_)
        elif victim:
            process.kill(export.pid, signal_)
        else:
            cluster.stop("immediate")
            cluster.start()
        export.error()
    client.close()
    process.wait_until(
        lambda: cluster.log_text().count(READY) == ready + 1, 30,
        "the cluster is back",
    )
    (upload,) = rgw.unfinished(bucket)
    assert keys(s3, bucket) == []
    session = cluster.connect()
    # The upload may belong to a running export, so it is too young.
    assert select(
        session, "SELECT * FROM onboard_abort_uploads(%s)", (bucket,)
    ) == []
    (row,) = select(session, SWEEP, (bucket,))
    assert row["key"] == key_of("t")
    assert row["upload_id"] == upload["UploadId"]
    begun = upload["Initiated"]
    assert abs((row["initiated"] - begun).total_seconds()) <= 1
    assert rgw.unfinished(bucket) == []
    assert select(session, SWEEP, (bucket,)) == []
    session.close()
    assert_usable(cluster, s3, bucket)


def test_40_postmaster_dies(cluster, held, rgw, s3, bucket):
    """The backend ends at once, but takes the time to abort."""
    client = cluster.connect()
    with open(os.path.join(cluster.datadir, "postmaster.pid")) as file:
        postmaster = int(file.readline())
    with Running(client, *call("t", BIG, bucket, server="held")) as export:
        held.wait()
        process.kill(postmaster, signal.SIGKILL)
        ends(export.pid)
        export.error()
    client.close()
    no_trace(rgw, bucket)
    cluster.start()
    assert_usable(cluster, s3, bucket)
