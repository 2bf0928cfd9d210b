"""An outage of the store in mid-upload, for all connections: row 55 of
docs/faults.md.

The outage lasts five seconds; with ONBOARD_LONG=1 sixty, and in all ways with
one process and with several.  Core's test_outage.c has outages of minutes, with
a clock that runs faster.
"""

import json
import os
import re
import time

import pytest

from faults import COMPLETE, PARTS, html
from lib.exports import (
    Running, assert_same_rows, body, call, copy, failure, key_of, keys, land,
    no_upload_left, select, value,
)

LONG = os.environ.get("ONBOARD_LONG") == "1"
AWAY = 60 if LONG else 5
# The longest pause between two attempts, and time for the rest.
LIMIT = 20 + 100

TABLE = """
    CREATE TABLE wide AS
        SELECT g, repeat(md5(g::text), 30) AS text
        FROM generate_series(1, 60000) g;
    ANALYZE wide;
"""
QUERY = "SELECT * FROM wide"
TOGETHER = "SELECT * FROM onboard_all(NULL, %s) ORDER BY name"
SETTINGS = """
    SET min_parallel_table_scan_size = 0;
    SET parallel_setup_cost = 0;
"""


@pytest.fixture(scope="module", autouse=True)
def wide(pg):
    pg.psql(TABLE, "onboard")
    yield
    pg.psql("DROP TABLE wide", "onboard")


class Gateway:
    """A load balancer without a backend."""

    settings = ""

    def __init__(self, proxy):
        self._rule = proxy.rule(times=None, response=html(503))

    def mend(self):
        self._rule.end()


class Silent:
    """Connections are accepted, but requests get no response."""

    settings = "" if LONG else "SET onboard.stall_timeout = '2s';"

    def __init__(self, proxy):
        self._rule = proxy.rule(
            times=None, hold=True, when="request", drop="before"
        )

    def mend(self):
        self._rule.end()
        self._rule.release()


class Refused:
    settings = ""

    def __init__(self, proxy):
        self._proxy = proxy
        proxy.refuse()

    def mend(self):
        self._proxy.listen()


class Cut:
    """TLS handshakes are interrupted, and connections end."""

    settings = ""

    def __init__(self, proxy):
        self._proxy = proxy
        proxy.cut()

    def mend(self):
        self._proxy.mend()


CASES = [(Gateway, "off"), (Gateway, 2), (Cut, 2), (Refused, "off"),
         (Silent, 2)]
if LONG:
    CASES = [(kind, parallel) for kind in (Gateway, Silent, Refused, Cut)
             for parallel in ("off", 2)]


@pytest.fixture
def served(request, proxy, proxied, tls_proxy, make_server, rgw, authority):
    """A proxy, and the server behind it; with TLS if handshakes are to be cut.
    """
    if request.param is not Cut:
        return proxy, proxied
    proxy = tls_proxy()
    return proxy, make_server(
        proxy.endpoint, rgw.access_key, rgw.secret_key,
        ca_file=authority.ca_file,
    )


@pytest.mark.parametrize(
    "served, kind, parallel", [(kind, kind, how) for kind, how in CASES],
    ids=[f"{kind.__name__.lower()}-{how}" for kind, how in CASES],
    indirect=["served"],
)
def test_55_store_is_away(
    db, s3, rgw, bucket, served, kind, parallel, show
):
    proxy, server = served
    select(db, SETTINGS + kind.settings)
    part = proxy.rule("PUT", "partNumber=3", hold=True, when="request")
    sql = call("away", QUERY, bucket, server=server, parallel=parallel)
    with Running(db, *sql) as export:
        part.wait()
        outage = kind(proxy)
        part.release()
        # This sleep is not a wait: it is the fault.
        time.sleep(AWAY)
        export.assert_running()
        during = len(proxy.requests())
        outage.mend()
        began = time.monotonic()
        (row,) = export.rows(LIMIT)
    show(f"{kind.__name__}, parallel {parallel}: away for {AWAY} s, done"
         f" {time.monotonic() - began:.1f} s later, {during} requests by then")
    assert row["status"] == "done"
    assert row["rows"] == value(db, f"SELECT count(*) FROM ({QUERY}) q")
    assert_same_rows(
        body(s3, bucket, key_of("away")), copy(db, QUERY),
        ordered=parallel == "off",
    )
    no_upload_left(rgw, bucket)


# Outages in which requests fail after few attempts unless attempts are not
# counted.
RUNS = [(kind, workers) for kind in ((Gateway, Refused, Cut) if LONG
                                     else (Cut,)) for workers in (0, 4)]
OF_RUNS = pytest.mark.parametrize(
    "served, kind, workers", [(kind, kind, how) for kind, how in RUNS],
    ids=[f"{kind.__name__.lower()}-{how}" for kind, how in RUNS],
    indirect=["served"],
)


def published_in_spite_of(
    db, s3, rgw, registry, bucket, served, kind, workers, request
):
    """The outage begins when the store receives this request of the run's end.
    """
    proxy, server = served
    select(db, f"SET onboard.parallel_tables = {workers}")
    for n in range(3):
        registry(f"t{n}", f"SELECT {n} AS one", bucket, key="{name}.{ext}")
    last = proxy.rule(*request, hold=True, when="request", drop="before")
    options = json.dumps({"server": server, "publish": "together"})
    with Running(db, TOGETHER, (options,)) as run:
        last.wait()
        outage = kind(proxy)
        last.release()
        # This sleep is not a wait: it is the fault.
        time.sleep(AWAY)
        run.assert_running()
        outage.mend()
        found = run.rows(LIMIT)
    assert {row["status"] for row in found} == {"done"}, found
    own = f"_onboard/{found[0]['run_id']}"
    assert keys(s3, bucket) == [
        f"{own}/_SUCCESS", f"{own}/manifest.json",
        "t0.csv", "t1.csv", "t2.csv",
    ]
    no_upload_left(rgw, bucket)


@OF_RUNS
def test_55_while_a_run_is_published(
    db, s3, rgw, registry, bucket, served, kind, workers
):
    published_in_spite_of(
        db, s3, rgw, registry, bucket, served, kind, workers, COMPLETE
    )


@OF_RUNS
@pytest.mark.parametrize("file", ["manifest.json", "_SUCCESS"])
def test_55_when_a_run_is_described(
    db, s3, rgw, registry, bucket, served, kind, workers, file
):
    published_in_spite_of(
        db, s3, rgw, registry, bucket, served, kind, workers,
        ("PUT", re.escape("/" + file)),
    )


def test_55_never_there_for_a_manifest(db, registry, bucket, proxy, proxied):
    """A store that has not served any table of a run is not waited for."""
    registry("t", "SELECT 1 AS one", bucket)
    proxy.refuse()
    options = json.dumps({"server": proxied, "manifest": True})
    began = time.monotonic()
    with Running(db, TOGETHER, (options,)) as run:
        run.error(90)
    assert time.monotonic() - began < 80


def test_55_deadline_ends_it(db, rgw, bucket, proxy, proxied):
    """Neither the number of attempts nor the retry budget ends it."""
    select(db, SETTINGS + "SET onboard.retry_deadline = '8s';")
    proxy.rule(*PARTS, nth=2, times=None, response=html(503))
    began = time.monotonic()
    error = failure(
        land, db, "t", QUERY, bucket, server=proxied, part_size="5MB",
        parallel="off",
    )
    assert time.monotonic() - began >= 8
    assert error.pgcode == "53000"
    assert "too many requests" not in error.diag.message_detail
    no_upload_left(rgw, bucket)
