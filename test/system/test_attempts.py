"""Runs that are repeated under their id, and the files of earlier attempts.

Row 73 of docs/faults.md is here, too.  A _SUCCESS exists only beside a manifest
of the same attempt, and beside complete objects.
"""

import json

import pytest

from lib import process
from lib.exports import (
    Running, body, failure, key_of, keys, network_event, select,
    wait_for_event,
)
from lib.proxy import Response, s3_error

SERIAL, WORKERS = 0, 4
R1 = "4ae3d5f2-1c10-4a4f-8d3a-000000000001"
FOLDER = f"_onboard/{R1}/"
SUCCESS, MANIFEST = FOLDER + "_SUCCESS", FOLDER + "manifest.json"
BOTH = [SUCCESS, MANIFEST]
DENIED = s3_error(403, "AccessDenied")


@pytest.fixture(autouse=True)
def unknown(db):
    """Removes the id from the history."""
    select(db, "DELETE FROM onboard_history WHERE run_id = %s", (R1,))


@pytest.fixture(params=[SERIAL, WORKERS], ids=["serial", "workers"])
def workers(request, db):
    select(db, f"SET onboard.parallel_tables = {request.param}")
    return request.param


@pytest.fixture
def two(db, registry, bucket):
    """Two registered tables, a and b."""
    select(
        db, "INSERT INTO onboard_tables (name, query, bucket) VALUES"
        " ('a', 'SELECT 1 AS n', %s), ('b', 'SELECT 2 AS n', %s)",
        (bucket, bucket),
    )


def run_all(connection, pattern=None, **options):
    """Calls onboard_all() under the run id."""
    options.setdefault("manifest", True)
    return select(
        connection, "SELECT * FROM onboard_all(%s, %s, %s) ORDER BY name",
        (pattern, json.dumps(options), R1),
    )


def run_table(connection, bucket, name, **options):
    """Calls onboard_table() under the run id."""
    options.setdefault("manifest", True)
    return select(
        connection, "SELECT * FROM onboard_table(%s, 'SELECT 1 AS n', %s, %s,"
        " %s)", (name, bucket, json.dumps(options), R1),
    )


def change(db, name, query):
    select(db, "UPDATE onboard_tables SET query = %s WHERE name = %s",
           (query, name))


def files(s3, bucket):
    return [key for key in keys(s3, bucket) if key.startswith(FOLDER)]


def manifest(s3, bucket):
    return json.loads(body(s3, bucket, MANIFEST))


def statuses(found):
    return [row["status"] for row in found]


# A repeated run


def test_a_repeated_run_that_fails(db, s3, two, workers, bucket):
    """The _SUCCESS of the first attempt must not remain for the second one."""
    assert statuses(run_all(db)) == ["done", "done"]
    assert files(s3, bucket) == BOTH
    change(db, "b", "SELECT 1 / 0 AS n")
    assert statuses(run_all(db)) == ["done", "failed"]
    assert files(s3, bucket) == [MANIFEST]
    assert not manifest(s3, bucket)["success"]
    change(db, "b", "SELECT 3 AS n")
    assert statuses(run_all(db)) == ["done", "done"]
    assert files(s3, bucket) == BOTH
    assert manifest(s3, bucket)["success"]


def test_a_repeated_run_in_part(
    db, s3, two, workers, proxied, proxy, bucket
):
    """Object a is new, b is not; no manifest or _SUCCESS claims otherwise."""
    run_all(db, publish="together", server=proxied, connections=1)
    assert files(s3, bucket) == BOTH
    change(db, "a", "SELECT 7 AS n")
    proxy.rule("POST", key_of("b") + ".*uploadId=", times=None, response=DENIED)
    error = failure(run_all, db, publish="together", server=proxied,
                    connections=1)
    assert "the run was published in part" in str(error)
    assert body(s3, bucket, key_of("a")) == b"n\n7\n"
    assert files(s3, bucket) == []


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_a_repeated_run_is_ended(
    pg, db, observer, s3, two, bucket, proxied, proxy, how
):
    """The _SUCCESS of the first attempt never exists beside an object of the
    second one: it is deleted before the first byte is sent."""
    run_all(db, server=proxied)
    session = pg.connect("onboard")
    select(session, "SET onboard.parallel_tables = 0")
    proxy.clear()
    rule = proxy.rule("PUT", key_of("a"), hold=True, when="request")
    with Running(
        session, "SELECT * FROM onboard_all(NULL, %s, %s)",
        (json.dumps({"manifest": True, "server": proxied}), R1),
    ) as run:
        rule.wait()
        assert files(s3, bucket) == []
        select(observer, f"SELECT pg_{how}_backend(%s)", (run.pid,))
        run.error()
    session.close()
    assert files(s3, bucket) == []
    (first, second), others = (
        proxy.requests("DELETE", FOLDER), proxy.requests("PUT")
    )
    assert first.target.endswith(SUCCESS)
    assert second.target.endswith(MANIFEST)
    assert first.ended <= second.started
    assert second.ended <= min(request.started for request in others)


def test_a_repeated_table(db, s3, bucket):
    run_table(db, bucket, "t")
    assert files(s3, bucket) == BOTH
    error = failure(
        select, db, "SELECT * FROM onboard_table('t', 'SELECT 1 / 0', %s, %s,"
        " %s)", (bucket, '{"manifest": true}', R1),
    )
    assert error.pgcode == "22012"
    assert files(s3, bucket) == []
    run_table(db, bucket, "t")
    assert files(s3, bucket) == BOTH


def test_a_repeated_job(db, s3, two, bucket):
    """The history was pruned, so the job finds no earlier attempt there."""
    run_all(db)
    select(db, "DELETE FROM onboard_history")
    change(db, "b", "SELECT 1 / 0 AS n")
    select(db, "SELECT onboard_submit_all(NULL, %s, %s)",
           ('{"manifest": true}', R1))
    (status,) = select(db, "SELECT * FROM onboard_wait(%s, '60s')", (R1,))
    assert status["status"] == "failed"
    assert files(s3, bucket) == [MANIFEST]
    assert not manifest(s3, bucket)["success"]


def test_the_requests_of_a_new_id(db, s3, two, proxied, proxy, bucket):
    """No request looks for a manifest if onboard made the id; one does if the
    caller gave it."""
    select(db, "SELECT * FROM onboard_all(NULL, %s)",
           (json.dumps({"manifest": True, "server": proxied}),))
    assert len(proxy.requests()) == 4
    assert {request.method for request in proxy.requests()} == {"PUT"}
    proxy.clear()
    run_all(db, server=proxied)
    assert len(proxy.requests()) == 5
    assert len(proxy.requests("GET", MANIFEST)) == 1


def test_without_a_manifest(db, s3, two, proxied, proxy, bucket):
    """Without a manifest, no request looks for an earlier one."""
    run_all(db, server=proxied, manifest=False)
    assert len(proxy.requests()) == 2


def test_below_the_prefix(db, rgw, make_server, s3, two, bucket):
    server = make_server(rgw.endpoint, rgw.access_key, rgw.secret_key,
                         prefix="räw/")
    run_all(db, server=server)
    change(db, "b", "SELECT 1 / 0 AS n")
    run_all(db, server=server)
    found = [key for key in keys(s3, bucket) if "_onboard" in key]
    assert found == ["räw/" + MANIFEST]


# A run that cannot begin deletes nothing


@pytest.mark.parametrize("publish", ["together", "each"])
def test_75_no_table_can_be_prepared(
    db, s3, two, workers, proxied, proxy, bucket, publish
):
    """With publish together, one table that cannot be prepared suffices:
    nothing is sent."""
    options = {"publish": publish, "server": proxied}
    run_all(db, **options)
    before = {key: body(s3, bucket, key) for key in keys(s3, bucket)}
    change(db, "b", "DELETE FROM missing")
    if publish == "each":
        change(db, "a", "DELETE FROM missing")
    proxy.clear()
    found = run_all(db, **options)
    assert statuses(found) == [
        "withheld" if publish == "together" else "failed", "failed"
    ]
    assert proxy.requests() == []
    assert before == {key: body(s3, bucket, key) for key in keys(s3, bucket)}
    # A later call for only one of them still sees that the run has two tables.
    assert failure(run_table, db, bucket, "a").pgcode == "55000"


@pytest.mark.parametrize("how", ["missing table", "watermark", "busy"])
def test_75_a_table_that_cannot_begin(
    pg, db, s3, registry, proxied, proxy, bucket, how
):
    """All possible checks are made before anything is deleted."""
    options = {"manifest": True, "server": proxied,
               "key": "{name}/{run_id}.{ext}"}
    sql = "SELECT * FROM onboard_table('t', %s, %s, %s, %s)"
    query = "SELECT 1 AS id"
    select(db, sql, (query, bucket, json.dumps(options), R1))
    assert files(s3, bucket) == BOTH
    session = pg.connect("onboard")
    if how == "missing table":
        query, code = "SELECT * FROM missing", "42P01"
    elif how == "watermark":
        registry("t", "SELECT 'Infinity'::float8 AS id", bucket,
                 watermark={"column": "id"})
        select(db, "DELETE FROM onboard_history")
        query, code = None, "22000"
    else:
        registry("t", query, bucket, watermark={"column": "id"})
        select(db, "DELETE FROM onboard_history")
        proxy.rule("PUT", f"t/{R1}", hold=True, when="request")
        query, code = None, "55006"
    proxy.clear()
    if how == "busy":
        rule = proxy.rule("PUT", f"t/{R1}", hold=True, when="request")
        with Running(
            session, "SELECT * FROM onboard_table('t', NULL, NULL, %s, %s)",
            (json.dumps({**options, "manifest": False,
                         "key": "t/{run_id}-other"}), R1),
        ) as run:
            process.wait_until(
                lambda: rule.reached() or not run.running(), 30, "it is busy"
            )
            error = failure(select, db, sql,
                            (query, bucket, json.dumps(options), R1))
            rule.release()
    else:
        error = failure(select, db, sql,
                        (query, bucket, json.dumps(options), R1))
    session.close()
    assert error.pgcode == code
    assert proxy.requests("DELETE") == []
    assert files(s3, bucket) == BOTH


@pytest.mark.parametrize("attempt", ["ended", "removed"])
def test_75_tables_that_only_the_history_has(
    pg, db, observer, s3, two, workers, bucket, proxied, proxy, attempt
):
    """An attempt that was ended has deleted the manifest without writing a new
    one."""
    run_all(db)
    if attempt == "removed":
        for key in BOTH:
            s3.delete_object(Bucket=bucket, Key=key)
    else:
        rule = proxy.rule("PUT", "inbox", hold=True, when="request")
        with Running(
            db, "SELECT * FROM onboard_all(NULL, %s, %s)",
            (json.dumps({"manifest": True, "server": proxied}), R1),
        ) as run:
            rule.wait()
            select(observer, "SELECT pg_cancel_backend(%s)", (run.pid,))
            run.error()
    assert files(s3, bucket) == []
    for error in (
        failure(run_table, db, bucket, "a"), failure(run_all, db, "a")
    ):
        assert error.pgcode == "55000"
        assert f"run {R1} has tables that are not exported now" in str(error)
        assert '"b"' in error.diag.message_detail
    assert files(s3, bucket) == []
    assert statuses(run_all(db)) == ["done", "done"]
    assert files(s3, bucket) == BOTH
    # A failed table without an object may be left out.
    select(db, "DELETE FROM onboard_history")
    for key in BOTH:
        s3.delete_object(Bucket=bucket, Key=key)
    change(db, "b", "SELECT 1 / 0 AS n")
    assert statuses(run_all(db)) == ["done", "failed"]
    for key in BOTH:
        s3.delete_object(Bucket=bucket, Key=key)
    assert statuses(run_all(db, "a")) == ["done"]


# Missing rights to delete


def test_73_no_right_to_delete(db, s3, two, proxied, proxy, bucket):
    """The run is refused before anything is sent."""
    run_all(db, server=proxied)
    change(db, "a", "SELECT 7 AS n")
    proxy.clear()
    proxy.rule("DELETE", times=None, response=DENIED)
    error = failure(run_all, db, server=proxied)
    assert error.pgcode == "42501"
    assert f"what an earlier attempt of run {R1} has written" in str(error)
    assert f"s3://{bucket}/{SUCCESS}" in error.diag.message_detail
    assert "s3:DeleteObject" in error.diag.message_hint
    assert proxy.requests("PUT") == []
    assert body(s3, bucket, key_of("a")) == b"n\n1\n"
    assert files(s3, bucket) == BOTH
    # A run with a new id succeeds.
    found = select(
        db, "SELECT * FROM onboard_all(NULL, %s)",
        (json.dumps({"manifest": True, "server": proxied}),),
    )
    assert statuses(found) == ["done", "done"]


def test_73_only_the_manifest_stays(db, s3, two, proxied, proxy, bucket):
    """A manifest that reports success must not remain, either."""
    run_all(db, server=proxied)
    proxy.rule("DELETE", MANIFEST, times=None, response=DENIED)
    error = failure(run_all, db, server=proxied)
    assert error.pgcode == "42501"
    assert f"s3://{bucket}/{MANIFEST}" in error.diag.message_detail
    # The files are still correct: they are those of the first attempt.
    assert files(s3, bucket) == [MANIFEST]


def test_73_no_right_to_delete_after_a_failure(
    db, s3, two, proxied, proxy, bucket
):
    """Repeating a failed run needs no right to delete: runs are repeated for
    that."""
    change(db, "b", "SELECT 1 / 0 AS n")
    run_all(db, server=proxied)
    assert files(s3, bucket) == [MANIFEST]
    change(db, "b", "SELECT 2 AS n")
    proxy.rule("DELETE", times=None, response=DENIED)
    assert statuses(run_all(db, server=proxied)) == ["done", "done"]
    assert files(s3, bucket) == BOTH


def test_73_no_right_to_look_or_delete(db, s3, two, proxied, proxy, bucket):
    proxy.rule("GET", times=None, response=DENIED)
    denied = proxy.rule("DELETE", times=2, response=DENIED)
    for call in (run_all, lambda *a, **o: run_table(db, bucket, "t", **o)):
        error = failure(call, db, server=proxied)
        assert error.pgcode == "42501"
        assert "cannot be known whether run" in str(error)
        assert proxy.requests("PUT") == []
    assert denied.used == 2
    # One of the two rights is enough.
    assert statuses(run_all(db, server=proxied)) == ["done", "done"]
    assert files(s3, bucket) == BOTH


def test_73_a_lost_response(db, s3, two, proxied, proxy, bucket):
    """The request is retried."""
    run_all(db, server=proxied)
    proxy.rule("DELETE", SUCCESS, drop="after")
    proxy.rule("DELETE", MANIFEST, response=s3_error(503, "SlowDown"))
    proxy.rule("GET", MANIFEST, response=Response(500))
    change(db, "b", "SELECT 1 / 0 AS n")
    run_all(db, server=proxied)
    assert files(s3, bucket) == [MANIFEST]
    assert not manifest(s3, bucket)["success"]


def test_73_cancelled_while_it_is_deleted(
    db, observer, s3, two, proxied, proxy, bucket
):
    run_all(db, server=proxied)
    before = {name: body(s3, bucket, key_of(name)) for name in "ab"}
    change(db, "a", "SELECT 7 AS n")
    rule = proxy.rule("DELETE", MANIFEST, hold=True, when="request")
    with Running(
        db, "SELECT * FROM onboard_all(NULL, %s, %s)",
        (json.dumps({"manifest": True, "server": proxied}), R1),
    ) as run:
        rule.wait()
        wait_for_event(observer, run.pid, network_event(observer))
        select(observer, "SELECT pg_cancel_backend(%s)", (run.pid,))
        assert run.error().pgcode == "57014"
    assert SUCCESS not in keys(s3, bucket)
    assert before == {name: body(s3, bucket, key_of(name)) for name in "ab"}


@pytest.mark.parametrize(
    "junk", [b"", b"no JSON", b"[]", b'{"tables": [1, {"name": 2}]}',
             b"\xff\xfe\0", b"[" * 100000, b" " * (17 * 2**20)],
    ids=["empty", "text", "array", "odd", "bytes", "deep", "long"],
)
def test_73_invalid_manifest(db, s3, two, proxied, proxy, bucket, junk):
    """It is deleted; a role that may not delete it cannot go on."""
    for key in BOTH:
        s3.put_object(Bucket=bucket, Key=key, Body=junk)
    proxy.rule("DELETE", response=DENIED)
    assert failure(run_all, db, server=proxied).pgcode == "42501"
    assert files(s3, bucket) == BOTH
    assert statuses(run_all(db, server=proxied)) == ["done", "done"]
    assert manifest(s3, bucket)["success"]


# Tables that the new manifest would not contain


def test_two_tables_one_by_one(db, s3, bucket):
    """The second manifest would contain only the second table."""
    run_table(db, bucket, "a")
    before = body(s3, bucket, MANIFEST)
    assert failure(run_table, db, bucket, "b").pgcode == "55000"
    # This does not depend on the history.
    select(db, "DELETE FROM onboard_history")
    error = failure(run_table, db, bucket, "b")
    assert error.pgcode == "55000"
    assert f"the manifest of run {R1} names tables that are not exported" in (
        str(error)
    )
    assert keys(s3, bucket) == [SUCCESS, MANIFEST, key_of("a")]
    assert body(s3, bucket, MANIFEST) == before
    # Without manifests, nothing can be wrong.
    run_table(db, bucket, "b", manifest=False)


def test_two_tables_in_one_transaction(db, s3, bucket):
    select(db, "BEGIN")
    run_table(db, bucket, "a")
    assert failure(run_table, db, bucket, "b").pgcode == "55000"
    select(db, "ROLLBACK")
    assert failure(run_table, db, bucket, "b").pgcode == "55000"


def test_two_tables_at_once(pg, db, observer, s3, bucket, proxied, proxy):
    """Neither call would see what the other one is about to write."""
    rule = proxy.rule("PUT", key_of("a"), hold=True, when="request")
    sql = "SELECT * FROM onboard_table(%s, 'SELECT 1 AS n', %s, %s, %s)"
    options = json.dumps({"manifest": True, "server": proxied})
    session = pg.connect("onboard")
    with Running(session, sql, ("a", bucket, options, R1)) as run:
        rule.wait()
        error = failure(select, db, sql, ("b", bucket, options, R1))
        assert error.pgcode == "55006"
        assert "another process works on that run" in str(error)
        rule.release()
        run.rows()
    session.close()
    assert failure(select, db, sql, ("b", bucket, options, R1)).pgcode == (
        "55000"
    )


def test_another_pattern(db, s3, two, workers, bucket):
    run_all(db, "a")
    error = failure(run_all, db, "b")
    assert error.pgcode == "55000"
    assert keys(s3, bucket) == [SUCCESS, MANIFEST, key_of("a")]
    # A pattern that matches more tables is allowed: the manifest has all of
    # them.
    assert statuses(run_all(db)) == ["done", "done"]
    assert [table["name"] for table in manifest(s3, bucket)["tables"]] == [
        "a", "b"
    ]


def test_a_table_of_a_run(db, s3, two, bucket):
    run_all(db)
    assert failure(run_table, db, bucket, "a").pgcode == "55000"
    assert files(s3, bucket) == BOTH


def test_names_of_any_kind(db, s3, bucket):
    name = 'Grö"ße\\ \n'
    for _ in range(2):
        run_table(db, bucket, name, key="k")
    assert manifest(s3, bucket)["tables"][0]["name"] == name
    assert failure(run_table, db, bucket, "other").pgcode == "55000"


def test_on_a_standby(pg, db, s3, two, bucket):
    """A standby has no history of the run."""
    standby = pg.standby().start()
    try:
        standby.wait_for_replay(pg)
        session = standby.connect("onboard")
        run_all(session)
        assert files(s3, bucket) == BOTH
        assert failure(run_table, session, bucket, "b").pgcode == "55000"
        run_all(session)
        assert manifest(s3, bucket)["success"]
        session.close()
    finally:
        standby.close()


# Large manifests


def test_a_manifest_of_many_tables(db, s3, registry, bucket):
    """The manifest is read as a whole, and searching it takes no time."""
    count = 3000
    select(
        db, "INSERT INTO onboard_tables (name, query, bucket)"
        " SELECT 't' || g, 'SELECT 1 AS n WHERE false', %s"
        " FROM generate_series(1, %s) g", (bucket, count),
    )
    for _ in range(2):
        found = run_all(db)
        assert {row["status"] for row in found} == {"empty"}
    assert len(manifest(s3, bucket)["tables"]) == count
    select(db, "DELETE FROM onboard_tables WHERE name = 't77'")
    assert failure(run_all, db).pgcode == "55000"
