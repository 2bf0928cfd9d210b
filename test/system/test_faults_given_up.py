"""Exports that are given up at the moment in which the store completes the
object: rows 70 to 72 and 76 of docs/faults.md.

The proxy holds the last request before the store receives it, or its response.
Every message about the object must be true.
"""

import json
import time
import uuid

import pytest

from faults import html
from lib import process
from lib.exports import (
    Running, body, call, copy, failure, key_of, keys, land, network_event,
    no_upload_left, register, rows, select, value, wait_for_event,
    wait_for_worker, warnings,
)
from lib.proxy import Response, s3_error

SMALL = "SELECT 1 AS one"
BIG = rows(12)  # three parts
OBJECT = ("PUT", "inbox")
COMPLETE = ("POST", "uploadId=")
ABORT = ("DELETE", "uploadId=")
HEAD = ("HEAD", "inbox")

LAST = {"object": (SMALL, OBJECT), "complete": (BIG, COMPLETE)}
WRITTEN = "was written nevertheless"
PERHAPS = "may have been written"

# Longer than a cancel waits during Complete, and within its limit.
BOUND = 5.5


@pytest.fixture(params=list(LAST))
def last(request):
    """A query, and the request that makes its object."""
    return LAST[request.param]


def end(observer, how, pid):
    select(observer, f"SELECT pg_{how}_backend(%s)", (pid,))


# The response arrives in time

TIMED_OUT = """
    SELECT clock_timestamp() - query_start > '3.2 s' FROM pg_stat_activity
    WHERE pid = %s
"""


@pytest.mark.parametrize("how", ["cancel", "timeout", "terminate"])
def test_70_response_in_time(
    pg, rgw, s3, bucket, proxy, proxied, observer, last, how
):
    """The response is awaited, and no other request or message is sent."""
    query, request = last
    rule = proxy.rule(*request, hold=True)
    session = pg.connect("onboard")
    if how == "timeout":
        select(session, "SET statement_timeout = '3s'")
    before = len(pg.log_text())
    with Running(session, *call("late", query, bucket, server=proxied)) as run:
        rule.wait()
        if how == "timeout":
            process.wait_until(
                lambda: value(observer, TIMED_OUT, (run.pid,)), 30, "3 s passed"
            )
        else:
            end(observer, how, run.pid)
        # The first wait leaves the latch to the clean-up's own wait.
        wait_for_event(observer, run.pid, None)
        rule.release()
        error = run.error()
    if how == "terminate":
        process.wait_until(
            lambda: WRITTEN in pg.log_text()[before:], 10, "the log says so"
        )
    else:
        assert error.pgcode == "57014"
        (warning,) = warnings(session)
        assert WRITTEN in warning and key_of("late") in warning
    session.close()
    assert proxy.requests(*ABORT) == proxy.requests(*HEAD) == []
    no_upload_left(rgw, bucket)
    with pg.connect("onboard") as other:
        assert body(s3, bucket, key_of("late")) == copy(other, query)
    other.close()


def test_70_refused_in_time(
    db, rgw, s3, bucket, proxy, proxied, observer
):
    """Then there is no object, and no message says that there may be one."""
    rule = proxy.rule(*COMPLETE, hold=True,
                      response=s3_error(403, "AccessDenied"))
    with Running(db, *call("late", BIG, bucket, server=proxied)) as run:
        rule.wait()
        end(observer, "cancel", run.pid)
        wait_for_event(observer, run.pid, None)
        rule.release()
        assert run.error().pgcode == "57014"
    assert warnings(db) == []
    assert len(proxy.requests(*ABORT)) == 1
    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == []


# The response does not arrive in time


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_71_an_abort_that_proves_nothing(
    pg, rgw, s3, bucket, proxy, proxied, observer, how
):
    """The store responds to the Abort with success, and has the object."""
    rule = proxy.rule(*COMPLETE, hold=True)
    proxy.rule(*ABORT, times=None, response=Response(204))
    session = pg.connect("onboard")
    before = len(pg.log_text())
    started = time.monotonic()
    with Running(session, *call("late", BIG, bucket, server=proxied)) as run:
        rule.wait()
        end(observer, how, run.pid)
        run.error()
    assert time.monotonic() - started < 30
    process.wait_until(
        lambda: WRITTEN in pg.log_text()[before:], 10, "the log says so"
    )
    if how == "cancel":
        assert WRITTEN in "".join(session.notices)
    session.close()
    assert [r.status for r in proxy.requests(*HEAD)] == [200]
    assert keys(s3, bucket) == [key_of("late")]


def test_71_not_done_yet(db, rgw, s3, bucket, proxy, proxied, observer, last):
    """There is no object, but the store may be working on it: its fate is
    unknown."""
    query, request = last
    rule = proxy.rule(*request, hold=True, when="request")
    with Running(db, *call("late", query, bucket, server=proxied)) as run:
        rule.wait()
        started = time.monotonic()
        end(observer, "cancel", run.pid)
        assert run.error().pgcode == "57014"
        assert time.monotonic() - started < BOUND
    (warning,) = warnings(db)
    assert PERHAPS in warning and key_of("late") in warning
    assert [r.status for r in proxy.requests(*HEAD)] == [404]
    # The held request reaches the store at last, which makes the object.
    rule.release()
    if request is OBJECT:
        process.wait_until(
            lambda: keys(s3, bucket) == [key_of("late")], 10, "it is there"
        )
    no_upload_left(rgw, bucket)


def test_71_head_is_denied(
    db, rgw, s3, bucket, proxy, proxied, observer, last
):
    """The role has no s3:GetObject."""
    query, request = last
    rule = proxy.rule(*request, hold=True)
    proxy.rule(*HEAD, times=None, response=Response(403))
    with Running(db, *call("late", query, bucket, server=proxied)) as run:
        rule.wait()
        end(observer, "cancel", run.pid)
        assert run.error().pgcode == "57014"
    assert PERHAPS in "".join(db.notices)
    no_upload_left(rgw, bucket)


def test_71_another_object_is_there(
    db, rgw, s3, bucket, proxy, proxied, observer, last
):
    """An earlier export made the object of that name."""
    query, request = last
    land(db, "late", query, bucket)
    rule = proxy.rule(*request, hold=True, when="request", drop="before")
    with Running(db, *call("late", query, bucket, server=proxied)) as run:
        rule.wait()
        end(observer, "cancel", run.pid)
        assert run.error().pgcode == "57014"
    assert PERHAPS in "".join(db.notices)
    assert WRITTEN not in "".join(db.notices)
    no_upload_left(rgw, bucket)


def test_71_no_response_at_all(db, rgw, bucket, proxy, proxied, observer):
    """The last request and the Abort get no response: both WARNINGs come, in
    time."""
    rule = proxy.rule(*COMPLETE, hold=True)
    proxy.rule(*ABORT, times=None, hold=True, when="request", drop="before")
    with Running(db, *call("late", BIG, bucket, server=proxied)) as run:
        rule.wait()
        started = time.monotonic()
        end(observer, "cancel", run.pid)
        assert run.error().pgcode == "57014"
        assert time.monotonic() - started < 7
    text = "".join(warnings(db))
    assert "could not abort the upload" in text
    assert PERHAPS in text


def test_71_only_the_head_has_no_response(
    db, rgw, s3, bucket, proxy, proxied, observer
):
    """Then the upload was aborted in time, and no message says otherwise."""
    rule = proxy.rule(*COMPLETE, hold=True, when="request", drop="before")
    proxy.rule(*HEAD, times=None, hold=True, when="request", drop="before")
    with Running(db, *call("late", BIG, bucket, server=proxied)) as run:
        rule.wait()
        started = time.monotonic()
        end(observer, "cancel", run.pid)
        assert run.error().pgcode == "57014"
        assert time.monotonic() - started < 7
    (warning,) = warnings(db)
    assert PERHAPS in warning
    no_upload_left(rgw, bucket)


def test_71_nested(pg, db, bucket, proxy, proxied, observer):
    """The exports around it are given up without a time limit of their own."""
    rule = proxy.rule("POST", "inner.*uploadId=", hold=True)
    proxy.rule("DELETE", "inner.*uploadId=", times=None, hold=True,
               when="request", drop="before")
    select(
        db, """
        CREATE FUNCTION pg_temp.inner(bucket text, query text, options jsonb)
        RETURNS bigint LANGUAGE sql VOLATILE AS $$
            SELECT rows FROM onboard_table('inner', query, bucket, options)
        $$"""
    )
    options = json.dumps({"server": proxied, "part_size": "5MB"})
    query = (
        "SELECT CASE g WHEN 11000 THEN pg_temp.inner(%s, %s, %s) END,"
        " repeat('x', 1000) FROM generate_series(1, 12000) g"
    )
    with db.cursor() as cursor:
        query = cursor.mogrify(query, (bucket, BIG, options)).decode()
    with Running(
        db, "SELECT * FROM onboard_table('outer', %s, %s, %s)",
        (query, bucket, options),
    ) as run:
        rule.wait()
        started = time.monotonic()
        end(observer, "cancel", run.pid)
        assert run.error().pgcode == "57014"
        assert time.monotonic() - started < 7
    assert PERHAPS in "".join(db.notices)


def test_71_the_truth_in_a_race(
    pg, rgw, s3, bucket, proxy, proxied, observer, last
):
    """The request reaches the store as the cancel arrives: an object that
    exists must have been reported, and one that does not must not have been."""
    query, request = last
    for n in range(8):
        session = pg.connect("onboard")
        proxy.clear()
        name = f"race{n}"
        rule = proxy.rule(*request, hold=True, when="request")
        with Running(
            session, *call(name, query, bucket, server=proxied)
        ) as run:
            rule.wait()
            if n % 2:
                rule.release()
            end(observer, "cancel", run.pid)
            rule.release()
            try:
                run.rows()
                ended = True
            except Exception:
                ended = False
        text = "".join(warnings(session))
        session.close()
        there = key_of(name) in keys(s3, bucket)
        assert there or not ended
        assert WRITTEN not in text or there
        # If the cancel comes after the export, the log at least has it.
        done = f'export of "{name}" by "postgres" to' in pg.log_text()
        assert not there or done or WRITTEN in text or PERHAPS in text
    no_upload_left(rgw, bucket)


# The response to the last request reports a failure


GATEWAY = html(504)
FAILURES = {
    "gateway": GATEWAY,
    "internal": s3_error(500, "InternalError"),
    "slow-down": s3_error(503, "SlowDown"),
    "no-etag": Response(200),
    "cut": Response(200, b"x", {"Content-Length": 100, "ETag": '"x"',
                                "Connection": "close"}),
}
OF_THE_STORE = ("internal", "slow-down")


@pytest.mark.parametrize("response", list(FAILURES))
@pytest.mark.parametrize("done", [True, False], ids=["done", "not-done"])
def test_76_failure_is_reported(db, s3, bucket, proxy, proxied, response,
                                done):
    """The failure repeats.  A failure that the store itself reports can be
    verified by a HEAD; if a gateway reports it, the store may still be at work.
    """
    select(db, "SET onboard.retry_deadline = '300ms'")
    how = "instead" if done else "response"
    proxy.rule(*OBJECT, times=None, **{how: FAILURES[response]})
    del db.notices[:]
    failure(select, db, *call("late", SMALL, bucket, server=proxied))
    text = "".join(warnings(db))
    assert (WRITTEN in text) == done
    assert (PERHAPS in text) == (not done and response not in OF_THE_STORE)
    assert keys(s3, bucket) == ([key_of("late")] if done else [])
    assert [r.status for r in proxy.requests(*HEAD)] == [200 if done else 404]


def test_76_complete_reports_failure(db, rgw, s3, bucket, proxy, proxied):
    select(db, "SET onboard.retry_deadline = '300ms'")
    proxy.rule(*COMPLETE, times=None,
               instead=s3_error(500, "InternalError"))
    failure(select, db, *call("late", BIG, bucket, server=proxied))
    assert WRITTEN in "".join(warnings(db))
    assert keys(s3, bucket) == [key_of("late")]
    no_upload_left(rgw, bucket)


@pytest.mark.parametrize("workers", [0, 4])
def test_76_a_run_again(
    db, observer, s3, registry, bucket, proxy, proxied, workers
):
    """The repeated run replaces an object of the first attempt, which is no
    longer named as an earlier one in result, history and manifest."""
    select(db, f"SET onboard.parallel_tables = {workers}")
    select(db, "SET onboard.retry_deadline = '300ms'")
    register(db, bucket, a="SELECT 'first'", b="SELECT 'b'")
    run_id = str(uuid.uuid4())
    sql = "SELECT * FROM onboard_all(NULL, %s, %s) ORDER BY name"
    options = json.dumps({"server": proxied, "manifest": True})
    select(db, sql, (options, run_id))
    select(db, "UPDATE onboard_tables SET query = $$SELECT 'second'$$"
           " WHERE name = 'a'")
    proxy.rule("PUT", key_of("a"), times=None, instead=GATEWAY)
    a, b = select(db, sql, (options, run_id))
    assert b"second" in body(s3, bucket, key_of("a"))
    uri = f"s3://{bucket}/{key_of('a')}"
    assert (a["status"], a["uri"]) == ("failed", uri)
    assert a["error"].endswith("(the object was written)")
    kept = row_of(observer, "a")
    assert (kept["uri"], kept["error"]) == (uri, a["error"])
    manifest = json.loads(body(s3, bucket, f"_onboard/{run_id}/manifest.json"))
    assert manifest["tables"][0]["object"] == "written"


def test_76_success_reports_failure(
    db, s3, registry, bucket, proxy, proxied
):
    """The call fails, and names the file that exists."""
    select(db, "SET onboard.retry_deadline = '300ms'")
    register(db, bucket, a="SELECT 1 AS n")
    proxy.rule("PUT", "_SUCCESS", times=None, instead=GATEWAY)
    options = json.dumps({"server": proxied, "publish": "together"})
    del db.notices[:]
    failure(select, db, ALL, (options,))
    text = "".join(warnings(db))
    assert "_SUCCESS" in text and WRITTEN in text
    assert [k for k in keys(s3, bucket) if k.endswith("/_SUCCESS")]


# Workers


ALL = "SELECT * FROM onboard_all(NULL, %s)"


def row_of(observer, name):
    (row,) = select(
        observer, "SELECT * FROM onboard_runs WHERE name = %s"
        " ORDER BY started DESC LIMIT 1", (name,),
    )
    return row


def ended_alone(observer, name):
    """Ends the table's worker, the last one, when it waits for the network."""
    process.wait_until(
        lambda: value(observer, "SELECT count(*) FROM onboard_progress") == 1,
        30, "the others have ended",
    )
    return wait_for_worker(observer, network_event(observer))


@pytest.mark.parametrize("when", ["response", "request"])
@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_72_a_worker_is_ended(
    db, observer, s3, registry, bucket, proxied, proxy, how, when
):
    """Client, history and manifest report the same."""
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    rule = proxy.rule("PUT", key_of("a"), hold=True, when=when)
    options = json.dumps({"manifest": True, "server": proxied})
    with Running(db, ALL + " ORDER BY name", (options,)) as run:
        rule.wait()
        end(observer, how, ended_alone(observer, "a"))
        a, b = run.rows()
    written = when == "response"
    text = WRITTEN if written else PERHAPS
    uri = f"s3://{bucket}/{key_of('a')}"
    assert [
        warning.splitlines()[0] for warning in warnings(db)
        if "the object \"" in warning
    ] == [f'WARNING:  the object "{uri}" {text}']
    assert (a["status"], b["status"]) == ("failed", "done")
    assert a["uri"] == uri
    ending = "was written)" if written else "may have been written)"
    assert a["error"].endswith(ending)
    kept = row_of(observer, "a")
    for column in ("status", "uri", "error", "files", "rows", "bytes"):
        assert kept[column] == a[column], column
    manifest = json.loads(body(s3, bucket, f"_onboard/{a['run_id']}/manifest.json"))
    assert not manifest["success"]
    table = manifest["tables"][0]
    assert (table["status"], table["uri"]) == ("failed", uri)
    assert table["object"] == ("written" if written else "unknown")
    assert "object" not in manifest["tables"][1]
    assert (key_of("a") in keys(s3, bucket)) == written


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_72_the_session_is_ended(
    pg, observer, s3, registry, bucket, db, proxied, proxy, how
):
    """The session's workers end with it: the session and the history report
    their objects."""
    register(db, bucket, a="SELECT 1 AS n", b="SELECT 2 AS n")
    rule = proxy.rule("PUT", key_of("a"), hold=True)
    session = pg.connect("onboard")
    before = len(pg.log_text())
    with Running(session, ALL, (json.dumps({"server": proxied}),)) as run:
        rule.wait()
        ended_alone(observer, "a")
        end(observer, how, run.pid)
        error = run.error()
    uri = f"s3://{bucket}/{key_of('a')}"
    if how == "cancel":
        assert error.pgcode == "57014"
        assert f'the object "{uri}" {WRITTEN}' in "".join(session.notices)
    session.close()
    process = f'[{run.pid}]'
    assert [
        line for line in pg.log_text()[before:].splitlines()
        if process in line and WRITTEN in line
    ]
    kept = row_of(observer, "a")
    assert (kept["status"], kept["uri"]) == ("failed", uri)
    assert key_of("a") in keys(s3, bucket)


def test_72_a_job_is_cancelled(db, observer, s3, bucket, proxied, proxy):
    rule = proxy.rule("PUT", key_of("job"), hold=True)
    run_id = value(
        db, "SELECT onboard_submit('job', 'SELECT 1 AS n', %s, %s)",
        (bucket, json.dumps({"server": proxied})),
    )
    rule.wait()
    assert value(observer, "SELECT onboard_cancel(%s)", (run_id,))
    (status,) = select(db, "SELECT * FROM onboard_wait(%s, '60s')", (run_id,))
    assert status["status"] == "failed"
    kept = row_of(observer, "job")
    assert kept["uri"] == f"s3://{bucket}/{key_of('job')}"
    assert kept["error"].endswith("(the object was written)")


def test_72_a_table_of_the_session(
    db, observer, s3, registry, bucket, proxied, proxy
):
    """A table fails by itself: its last response is lost, and a HEAD is denied.
    """
    select(db, "SET onboard.parallel_tables = 0")
    select(db, "SET onboard.retry_deadline = '100ms'")
    register(db, bucket, a=rows(6), b="SELECT 2 AS n")
    proxy.rule("POST", "uploadId=", drop="response")
    proxy.rule("HEAD", times=None, response=Response(403))
    options = json.dumps(
        {"manifest": True, "server": proxied, "part_size": "5MB"}
    )
    a, b = select(db, ALL + " ORDER BY name", (options,))
    assert (a["status"], b["status"]) == ("failed", "done")
    assert a["uri"] == f"s3://{bucket}/{key_of('a')}"
    assert PERHAPS in a["error"]
    manifest = json.loads(body(s3, bucket, f"_onboard/{a['run_id']}/manifest.json"))
    assert manifest["tables"][0]["object"] == "unknown"


def test_72_failure_after_landing(db, observer, s3, bucket, proxied,
                                  proxy):
    """The object of a job's table exists, but its manifest does not."""
    proxy.rule(
        "PUT", "/manifest.json", times=None, response=s3_error(403, "AccessDenied")
    )
    run_id = value(
        db, "SELECT onboard_submit('job', 'SELECT 1 AS n', %s, %s)",
        (bucket, json.dumps({"server": proxied, "manifest": True})),
    )
    select(db, "SELECT * FROM onboard_wait(%s, '60s')", (run_id,))
    kept = row_of(observer, "job")
    assert kept["status"] == "failed"
    assert kept["uri"] == f"s3://{bucket}/{key_of('job')}"
    assert kept["error"].endswith("(the object was written)")


# Publish together


SERIAL, WORKERS = 0, 4


@pytest.fixture(params=[SERIAL, WORKERS], ids=["serial", "workers"])
def workers(request):
    return request.param


@pytest.mark.parametrize("how", ["cancel", "terminate"])
@pytest.mark.parametrize("when", ["response", "request"])
def test_72_together(
    pg, db, observer, rgw, s3, registry, bucket, proxied, proxy, workers, how,
    when,
):
    """k1 is being completed, and its Abort gets a success."""
    register(db, bucket, k1="SELECT 1 AS n", k2="SELECT 2 AS n")
    rule = proxy.rule("POST", key_of("k1") + ".*uploadId=", hold=True,
                      when=when)
    if when == "response":
        proxy.rule("DELETE", key_of("k1"), times=None, response=Response(204))
    session = pg.connect("onboard")
    select(session, f"SET onboard.parallel_tables = {workers}")
    before = len(pg.log_text())
    options = {"publish": "together", "server": proxied, "connections": 1}
    with Running(session, ALL, (json.dumps(options),)) as run:
        rule.wait()
        end(observer, how, run.pid)
        run.error()
    visible = when == "response"
    detail = ('Visible: "k1". Not visible: "k2".' if visible
              else 'Perhaps visible: "k1". Not visible: "k2".')
    process.wait_until(
        lambda: detail in pg.log_text()[before:], 10, "the log says so"
    )
    if how == "cancel":
        text = "".join(session.notices)
        assert "the run was published in part" in text and detail in text
    session.close()
    assert keys(s3, bucket) == ([key_of("k1")] if visible else [])
    if workers == WORKERS:
        k1, k2 = row_of(observer, "k1"), row_of(observer, "k2")
        assert (k2["status"], k2["uri"]) == ("withheld", None)
        assert k1["status"] == ("done" if visible else "failed")
        assert k1["uri"] == f"s3://{bucket}/{key_of('k1')}"
        assert k1["sqlstate"] == (None if visible else "08007")
    no_upload_left(rgw, bucket)


def test_72_all_objects_are_visible(
    pg, db, observer, s3, registry, bucket, proxied, proxy, workers
):
    """The last Complete has succeeded when the run is cancelled, without a
    manifest."""
    register(db, bucket, k1="SELECT 1 AS n", k2="SELECT 2 AS n")
    rule = proxy.rule("POST", key_of("k2") + ".*uploadId=", hold=True)
    select(db, f"SET onboard.parallel_tables = {workers};"
           "SET log_error_verbosity = verbose")
    options = {"publish": "together", "server": proxied, "connections": 1}
    before = len(pg.log_text())
    with Running(db, ALL, (json.dumps(options),)) as run:
        rule.wait()
        end(observer, "cancel", run.pid)
        wait_for_event(observer, run.pid, None)
        rule.release()
        assert run.error().pgcode == "57014"
    text = "all objects of the run are visible, but it has no manifest"
    assert text in "".join(db.notices)
    assert f"WARNING:  01000: {text}" in pg.log_text()[before:]
    assert keys(s3, bucket) == [key_of("k1"), key_of("k2")]
    if workers == WORKERS:
        for name in ("k1", "k2"):
            assert row_of(observer, name)["status"] == "done"


def test_72_unclear_and_done_after_all(
    db, observer, s3, registry, bucket, proxied, proxy, workers
):
    """The HEAD fails when the response is lost, but succeeds when the upload is
    given up: then the run is complete."""
    register(db, bucket, k1="SELECT 1 AS n", k2="SELECT 2 AS n")
    select(db, f"SET onboard.parallel_tables = {workers}")
    proxy.rule("POST", key_of("k2") + ".*uploadId=", drop="response")
    proxy.rule("HEAD", key_of("k2"), response=Response(403))
    options = {"publish": "together", "server": proxied, "connections": 1}
    found = select(db, ALL + " ORDER BY name", (json.dumps(options),))
    assert [row["status"] for row in found] == ["done", "done"]
    run = f"_onboard/{found[0]['run_id']}/"
    assert keys(s3, bucket) == [
        run + "_SUCCESS", run + "manifest.json", key_of("k1"), key_of("k2"),
    ]
    assert json.loads(body(s3, bucket, run + "manifest.json"))["success"]
