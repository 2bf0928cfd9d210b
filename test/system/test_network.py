"""The network goes away in mid-upload, and comes back: row 54 of docs/faults.md.

By default for a few seconds, with time-outs to match; with ONBOARD_LONG=1 for
45 s with the settings that onboard has by default.
"""

import os
import time

import pytest

from conftest import Server
from lib.exports import (
    Running, assert_same_rows, body, call, copy, key_of, no_upload_left,
    select, value,
)
from lib.network import Network
from lib.postgres import Cluster

LONG = os.environ.get("ONBOARD_LONG") == "1"
CUT = 45 if LONG else 3
TIMEOUTS = "" if LONG else """
    SET onboard.stall_timeout = '1s';
    SET onboard.connect_timeout = '500ms';
"""
# The length of the cut, and twice the longest pause between two attempts.
LIMIT = CUT + 2 * 20

SETTINGS = {
    # With these settings, small tables get parallel workers.
    "parallel_setup_cost": "0", "min_parallel_table_scan_size": "0",
}
TABLE = """
    CREATE TABLE wide AS
        SELECT g, repeat(md5(g::text), 30) AS text
        FROM generate_series(1, 60000) g;
    ANALYZE wide;
"""
QUERY = "SELECT * FROM wide"


@pytest.fixture(scope="module")
def network():
    with Network() as made:
        yield made


@pytest.fixture(scope="module")
def remote(network, canaries):
    """A cluster at the near end of the network."""
    with Cluster(SETTINGS, within=network.within) as made:
        made.psql("CREATE EXTENSION onboard;" + TABLE)
        yield made


# far: packets are lost.  near: the host has no route to the store any more.
CASES = [("far", "off"), ("near", 2)]
if LONG:
    CASES += [("far", 2), ("near", "off")]


@pytest.mark.parametrize("end, parallel", CASES)
def test_54_network_cut(
    network, remote, rgw, proxy, s3, bucket, canaries, show, end, parallel
):
    name = f"s3_{end}_{parallel}"
    Server(remote, canaries)(
        network.lead_to(proxy.endpoint), rgw.access_key, rgw.secret_key,
        name=name, dbname="postgres",
    )
    db = remote.connect()
    select(db, "LOAD 'onboard'; " + TIMEOUTS)
    part = proxy.rule("PUT", "partNumber=3", hold=True, when="request")
    sql = call("cut", QUERY, bucket, server=name, parallel=parallel)
    with Running(db, *sql) as export:
        part.wait()
        network.cut(end)
        started = time.monotonic()
        part.release()
        # This sleep is not a wait: it is the fault.
        time.sleep(CUT)
        export.assert_running()
        network.mend(end)
        (row,) = export.rows(LIMIT)
        elapsed = time.monotonic() - started
    tries = len(proxy.requests("PUT", "partNumber="))
    show(f"{end}, parallel {parallel}: cut for {CUT} s, done after"
         f" {elapsed:.1f} s, {tries} requests for parts")
    assert row["rows"] == value(db, f"SELECT count(*) FROM ({QUERY}) q")
    assert_same_rows(
        body(s3, bucket, key_of("cut")), copy(db, QUERY),
        ordered=parallel == "off",
    )
    no_upload_left(rgw, bucket)
    db.close()
