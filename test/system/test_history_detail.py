"""The DETAIL of a failed export's error, in the history.

A job has no client, and no user reads the warnings of a scheduled run, so the
history has S3's response.  (Texts that are clipped between processes:
test_texts.py.)
"""

import json
import re

import pytest

from faults import html
from lib.exports import key_of, land_all, select, value
from lib.proxy import s3_error

RUNS = (
    "SELECT name, status, error, detail, sqlstate FROM onboard_runs"
    " WHERE run_id = %s ORDER BY name"
)
ALL = "SELECT DISTINCT run_id FROM onboard_all(NULL, %s)"
# Ways to run tables: (onboard.parallel_tables, statement).
WAYS = {
    "session": (0, ALL),
    "workers": (4, ALL),
    "job": (0, "SELECT onboard_submit('a', NULL, NULL, %s)"),
    "job-of-all": (0, "SELECT onboard_submit_all(NULL, %s)"),
    "job-with-workers": (4, "SELECT onboard_submit_all(NULL, %s)"),
}


@pytest.fixture
def two(registry, bucket):
    registry("a", "SELECT 1 AS n", bucket)
    registry("b", "SELECT 2 AS n", bucket)


@pytest.fixture(params=list(WAYS))
def run(request, pg, db, observer, two):
    """Exports the tables in one of the ways; returns rows of the history as
    other sessions see them."""
    tables, sql = WAYS[request.param]

    def run(**options):
        select(db, f"SET onboard.parallel_tables = {tables}")
        run_id = value(db, sql, (json.dumps(options),))
        select(observer, "SELECT onboard_wait(%s, '60s')", (run_id,))
        return select(observer, RUNS, (run_id,))

    return run


@pytest.fixture(params=[0, 4], ids=["session", "workers"])
def parallel(request, db):
    select(db, f"SET onboard.parallel_tables = {request.param}")


def test_a_wrong_secret(run, make_server, rgw):
    """The real store gives each request an id."""
    secret = "wrong-secret-canary"
    server = make_server(rgw.endpoint, rgw.access_key, secret)
    found = run(server=server)
    for row in found:
        assert (row["status"], row["sqlstate"]) == ("failed", "28000")
        assert re.fullmatch(
            r"S3 answered HTTP 403 SignatureDoesNotMatch.*"
            r" \(request id tx[-\w]+\)\.", row["detail"],
        ), row["detail"]
    assert found
    assert "canary" not in str(found)


def test_denied(run, proxy, proxied):
    proxy.rule("PUT", response=s3_error(403, "AccessDenied"), times=None)
    found = run(server=proxied)
    for row in found:
        assert (row["status"], row["sqlstate"]) == ("failed", "42501")
        assert row["error"].startswith('could not upload "s3://')
        assert "HTTP 403 AccessDenied" in row["detail"]
        assert "(request id scripted)" in row["detail"]
    assert found


def test_a_gateway_that_has_no_store(run, db, proxy, proxied):
    select(db, "SET onboard.retry_deadline = '300ms'")
    proxy.rule("PUT", response=html(504), times=None)
    found = run(server=proxied)
    for row in found:
        assert "HTTP 504" in row["detail"]
    assert found


def test_what_has_none(run, db, bucket):
    """An error without a DETAIL, and a table without an error."""
    select(db, "UPDATE onboard_tables SET query = 'SELECT 1 / 0'"
               " WHERE name = 'a'")
    found = run()
    assert (found[0]["name"], found[0]["error"]) == ("a", "division by zero")
    for row in found:
        assert row["detail"] is None


def test_in_the_result(db, observer, two, parallel, proxy, proxied):
    """Both functions return it."""
    proxy.rule("PUT", key_of("a"), times=None,
               response=s3_error(403, "AccessDenied"))
    streamed = select(
        db, "SELECT (onboard_all(NULL, %s)).*",
        (json.dumps({"server": proxied}),),
    )
    for found in (land_all(db, server=proxied), streamed):
        found.sort(key=lambda row: row["name"])
        kept = select(observer, RUNS, (found[0]["run_id"],))
        assert [row["detail"] for row in found] == [
            row["detail"] for row in kept
        ]
        assert "AccessDenied" in found[0]["detail"]
        assert found[1]["detail"] is None
        assert list(found[0])[-2:] == ["error", "detail"]


def test_published_together(db, observer, two, parallel, proxy, proxied):
    """The leader of the run has seen the error; a worker writes its table's
    row."""
    proxy.rule("POST", f"{key_of('a')}.*uploadId=", times=None,
               response=s3_error(403, "AccessDenied"))
    found = land_all(db, publish="together", server=proxied, connections=1)
    a, b = select(observer, RUNS, (found[0]["run_id"],))
    assert (a["status"], b["status"]) == ("failed", "withheld")
    assert "AccessDenied" in a["detail"]
    assert "(request id scripted)" in a["detail"]
    assert b["detail"] is None
    assert [row["detail"] for row in found] == [a["detail"], None]


def test_of_a_run_itself(db, observer, two, proxy, proxied):
    """The tables have landed, but the manifest has not."""
    proxy.rule("PUT", r"/manifest\.json", response=s3_error(403, "AccessDenied"),
               times=None)
    run_id = value(
        db, "SELECT onboard_submit_all(NULL, %s)",
        (json.dumps({"server": proxied, "manifest": True}),),
    )
    select(observer, "SELECT onboard_wait(%s, '60s')", (run_id,))
    itself, *tables = select(observer, RUNS, (run_id,))
    assert (itself["name"], itself["status"]) == ("", "failed")
    assert "AccessDenied" in itself["detail"]
    assert [(row["status"], row["detail"]) for row in tables] == [
        ("done", None)
    ] * 2


def test_a_repetition_replaces_it(db, observer, two, parallel, proxy, proxied):
    rule = proxy.rule("PUT", response=s3_error(403, "AccessDenied"), times=2)
    sql = "SELECT * FROM onboard_all(NULL, %s, %s)"
    options = json.dumps({"server": proxied})
    first = select(db, sql, (options, None))
    run_id = first[0]["run_id"]
    assert rule.used == 2
    assert all(row["detail"] for row in select(observer, RUNS, (run_id,)))
    select(db, sql, (options, run_id))
    assert [
        (row["status"], row["detail"])
        for row in select(observer, RUNS, (run_id,))
    ] == [("done", None)] * 2
