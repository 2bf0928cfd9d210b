"""A whole server under valgrind: no memory error and no leak.

Debian's PostgreSQL is built without support for valgrind, so inside palloc's
blocks valgrind detects neither overruns nor leaks; core uses malloc, which
valgrind checks completely.  (Part buffers are mapped: ASan checks their ends,
in the tests of core.)
"""

import pathlib
import shlex

import pytest

from conftest import Server
from lib import process
from lib.exports import (
    Running, body, call, copy, failure, key_of, land, no_upload_left,
    value, wait_for_event,
)
from lib.postgres import Cluster

KNOWN = pathlib.Path(__file__).parent.parent / "lib" / "valgrind.supp"
FLAGS = [
    "--leak-check=full", "--show-leak-kinds=definite",
    "--errors-for-leak-kinds=definite", "--num-callers=60",
]
VERDICT = "ERROR SUMMARY:"
SETTINGS = {
    "autovacuum": "off",
    "max_connections": "20",
    "shared_buffers": "16MB",
    # With these settings, small tables get parallel workers.
    "parallel_setup_cost": "0", "min_parallel_table_scan_size": "0",
}
# 12 MB as csv: two parts, or one and the tails of parallel workers.
TABLE = """
    CREATE TABLE wide AS
        SELECT g, g * 1.5 AS n, timestamptz '2026-01-01' AS at,
            repeat(md5(g::text), 30) AS text
        FROM generate_series(1, 12000) g;
    ANALYZE wide;
"""
QUERY = "SELECT * FROM wide"
SLEEP = "SELECT *, CASE g WHEN 11000 THEN pg_sleep(300)::text END FROM wide"
BAD = "SELECT *, 1 / (g - 11000) FROM wide"


@pytest.fixture
def cluster():
    """A cluster each of whose processes writes a log of valgrind's findings."""
    with Cluster(SETTINGS) as made:
        made.psql("CREATE EXTENSION onboard;" + TABLE)
        folder = pathlib.Path(made.folder)
        (folder / "known").write_text(KNOWN.read_text())
        flags = [
            *FLAGS, f"--suppressions={folder}/known",
            f"--log-file={folder}/%p.valgrind",
        ]
        command = shlex.join(["valgrind", *flags, f"{made.bindir}/postgres"])
        program = folder / "postgres"
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o755)
        yield made.restart(program=str(program))


def verdicts(cluster):
    """valgrind's summary for each process, when all have ended."""
    cluster.stop()
    logs = list(pathlib.Path(cluster.folder).glob("*.valgrind"))

    def all_written():
        texts = [log.read_text() for log in logs]
        return texts if all(VERDICT in text for text in texts) else None

    # The server's last lines come before those of valgrind.
    texts = process.wait_until(all_written, 60, "valgrind's verdicts")
    return {int(log.stem): text for log, text in zip(logs, texts)}


def full(db, s3, bucket):
    """Successful exports of all kinds."""
    kinds = [
        {"parallel": "off"},
        {"parallel": 2, "compression": "zstd"},
        {"format": "binary", "compression": "gzip", "parallel": "off"},
        {"format": "jsonl", "compression": "lz4", "parallel": "off"},
        {"format": "text", "parallel": 2},
    ]
    for kind in kinds:
        assert land(db, "full", QUERY, bucket, **kind)["rows"] == 12000
    assert land(db, "small", "SELECT 1", bucket)["rows"] == 1
    land(db, "whole", QUERY, bucket, parallel="off")
    assert body(s3, bucket, key_of("whole")) == copy(db, QUERY)


def cancelled(db, observer, bucket, **options):
    """The export is cancelled after the first part was sent."""
    with Running(db, *call("bad", SLEEP, bucket, **options)) as export:
        wait_for_event(observer, export.pid, "PgSleep")
        value(observer, "SELECT pg_cancel_backend(%s)", (export.pid,))
        assert export.error().pgcode == "57014"


def test_valgrind(cluster, rgw, s3, bucket, canaries):
    Server(cluster, canaries)(
        rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3",
        dbname="postgres",
    )
    observer = cluster.connect()
    sessions = [cluster.connect() for _ in range(3)]
    full(sessions[0], s3, bucket)
    cancelled(sessions[1], observer, bucket, parallel="off")
    error = failure(land, sessions[2], "bad", BAD, bucket)
    assert error.pgcode == "22012"
    no_upload_left(rgw, bucket)
    pids = {session.info.backend_pid for session in sessions}
    for session in [observer, *sessions]:
        session.close()
    said = verdicts(cluster)
    # There is also at least one worker for each parallel export.
    assert len(said) > len(pids) and pids <= set(said)
    wrong = [
        text for text in said.values() if VERDICT + " 0 errors" not in text
    ]
    if wrong:
        pytest.fail("\n\n".join(wrong), pytrace=False)
