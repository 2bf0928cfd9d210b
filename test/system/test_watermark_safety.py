"""Increments lose no rows silently: rows 60 to 69 of docs/faults.md."""

import contextlib
import json
import os
import pathlib
import re
import signal
import threading
import uuid

import psycopg2
import pytest

from lib import process
from lib.exports import (
    Running, body, failure, keys, land_all, select, value, wait_for_event,
    warnings,
)
from test_watermark import increment, mark, register, role, table

__all__ = ["role", "table"]  # fixtures

LEFT = 'the watermark of "increments" is left as it is'
DOCS = pathlib.Path(__file__).parents[2] / "docs"
# A query that waits while hold() holds the lock.
HELD = (
    "SELECT id FROM increments, (SELECT pg_advisory_xact_lock_shared(47))"
    " AS held OFFSET 0"
)


@pytest.fixture(params=[0, 4], ids=["session", "workers"])
def workers(request, db, registry):
    """Runs in the session itself, and in workers, which needs two tables."""
    select(db, f"SET onboard.parallel_tables = {request.param}")
    return request.param


@pytest.fixture
def other(pg):
    session = pg.connect("onboard")
    yield session
    session.close()


@contextlib.contextmanager
def hold(session):
    """Makes queries with HELD wait while the block runs."""
    select(session, "SELECT pg_advisory_lock(47)")
    try:
        yield
    finally:
        select(session, "SELECT pg_advisory_unlock(47)")


def beside(db, bucket):
    """A second table, so that a run has workers."""
    register(db, "whole", bucket, "id", query="SELECT 7 AS id")
    select(db, "UPDATE onboard_tables SET options = options - 'watermark'"
           " WHERE name = 'whole'")


def land_run(db, run_id=None, **options):
    """Calls onboard_all(); returns its row for "increments"."""
    sql = "SELECT * FROM onboard_all(NULL, %s, %s)"
    found = select(db, sql, (json.dumps(options), run_id))
    (row,) = (row for row in found if row["name"] == "increments")
    return row


def union(s3, bucket, name="increments"):
    """All landed rows of a table, each line as often as it has landed."""
    return sorted(
        line for key in keys(s3, bucket) if key.startswith(name + "/")
        for line in body(s3, bucket, key).decode().splitlines()
    )


def refused(db, s3, bucket, error, name="increments"):
    """Asserts that the next increment fails before a byte is sent, with a hint
    how to go on."""
    before = keys(s3, bucket)
    del db.notices[:]
    (found,) = land_all(db, name)
    assert found["status"] == "failed", found
    assert error in found["error"]
    assert keys(s3, bucket) == before
    notices = "".join(db.notices)
    assert f"onboard_reset_watermark('{name}')" in notices
    assert f"onboard_reset_watermark('{name}', keep => true)" in notices
    sql = "SELECT sqlstate FROM onboard_runs WHERE run_id = %s"
    assert value(db, sql, (found["run_id"],)) == "55000"


# Existing objects


@pytest.mark.parametrize("key", [
    None, "{name}.{ext}", "{{run_id}}-{part}", "{name}/{date}.{ext}",
    "{name}/{date}T{time}.{ext}",
])
def test_60_keys_that_two_runs_may_share(db, s3, registry, bucket, key):
    register(db, "t", bucket, "id", query="SELECT 1 AS id", key=key)
    if key is None:
        select(db, "UPDATE onboard_tables SET options = options - 'key'")
    (found,) = land_all(db)
    assert found["error"] == (
        'option "watermark" needs a key that no other run has'
    )
    assert "Put {run_id} into" in "".join(db.notices)
    assert keys(s3, bucket) == []
    (found,) = land_all(db, key="{name}-{run_id}")
    assert found["status"] == "done"


def test_60_two_runs_at_once(db, other, observer, s3, table, workers, bucket):
    """The run that began first ends after the other one."""
    table("id int")
    register(db, "increments", bucket, "id", query=HELD)
    beside(db, bucket)
    select(db, "INSERT INTO increments SELECT generate_series(1, 10)")
    select(other, "BEGIN ISOLATION LEVEL REPEATABLE READ;"
           "SELECT count(*) FROM increments")
    with hold(observer):
        with Running(db, "SELECT * FROM onboard_all()") as first:
            sql = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            process.wait_until(lambda: value(observer, sql), 30, "it waits")
            select(observer, "INSERT INTO increments"
                   " SELECT generate_series(11, 20)")
            select(observer, "SELECT pg_advisory_unlock(47)")
            assert increment(observer, s3, bucket) == sorted(
                str(n) for n in range(1, 21)
            )
            first.rows()
            select(observer, "SELECT pg_advisory_lock(47)")
    assert mark(db) in ("10", "20")
    # With an older snapshot, no race is needed.
    assert land_run(other)["status"] == "done"
    select(other, "COMMIT")
    land_run(db)
    found = union(s3, bucket)
    assert set(found) == {str(n) for n in range(1, 21)}


@pytest.mark.parametrize("overwrite", ["replace", None])
def test_60_an_object_that_is_there(
    db, s3, table, workers, bucket, overwrite
):
    """The object is not replaced, whatever made it, and whatever the options
    are."""
    table("id int")
    options = {"overwrite": overwrite} if overwrite else {}
    register(db, "increments", bucket, "id", **options)
    beside(db, bucket)
    select(db, "INSERT INTO increments VALUES (1)")
    run_id = str(uuid.uuid4())
    key = f"increments/{run_id}.csv"
    s3.put_object(Bucket=bucket, Key=key, Body=b"other\n")
    found = land_run(db, run_id, **options)
    assert (found["status"], mark(db)) == ("failed", None)
    sql = (
        "SELECT sqlstate FROM onboard_runs WHERE run_id = %s"
        " AND name = 'increments'"
    )
    assert value(db, sql, (run_id,)) == "58P02"
    assert "give another run_id" in "".join(db.notices)
    assert body(s3, bucket, key) == b"other\n"
    assert increment(db, s3, bucket) == ["1"]


# Repeated runs


@pytest.mark.parametrize("alone", [False, True])
def test_61_a_run_id_again(db, s3, table, workers, bucket, alone):
    """The result has the object that has landed, and no more."""
    table("id int")
    register(db, "increments", bucket, "id")
    beside(db, bucket)
    one, two = str(uuid.uuid4()), str(uuid.uuid4())

    def run(run_id):
        if not alone:
            return land_run(db, run_id)
        sql = "SELECT * FROM onboard_table('increments', run_id => %s)"
        return select(db, sql, (run_id,))[0]

    select(db, "INSERT INTO increments SELECT generate_series(1, 10)")
    first = run(one)
    select(db, "INSERT INTO increments SELECT generate_series(11, 20)")
    run(two)
    select(db, "INSERT INTO increments SELECT generate_series(21, 30)")
    history = "SELECT * FROM onboard_runs WHERE name = 'increments'"
    before = select(db, history)
    again = run(one)
    for column in ("run_id", "status", "uri", "rows", "bytes", "elapsed"):
        assert again[column] == first[column], column
    assert "has landed an increment of \"increments\" before" in "".join(
        db.notices
    )
    assert select(db, history) == before
    assert mark(db) == "20"
    run(str(uuid.uuid4()))
    assert union(s3, bucket) == sorted(str(n) for n in range(1, 31))


def test_61_a_run_id_at_once(db, other, observer, s3, table, bucket):
    """The later run was prepared before the earlier one ends."""
    table("id int")
    run_id = str(uuid.uuid4())
    register(db, "first", bucket, "id", query=(
        "SELECT 7 AS id, (SELECT pg_advisory_xact_lock_shared(48)) IS NULL AS no"
    ))
    select(db, "UPDATE onboard_tables SET options = options - 'watermark'"
           " WHERE name = 'first'")
    register(db, "increments", bucket, "id", query=HELD)
    select(db, "INSERT INTO increments VALUES (1)")
    select(other, "SET onboard.parallel_tables = 0")
    sql = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND objid = %s AND NOT granted"
    )
    alone = "SELECT * FROM onboard_table('increments', run_id => %s)"
    both = "SELECT * FROM onboard_all(NULL, %s, %s)"
    options = '{"key": "other/{run_id}/{name}.{ext}"}'
    select(observer, "SELECT pg_advisory_lock(47), pg_advisory_lock(48)")
    try:
        with Running(db, alone, (run_id,)) as earlier:
            process.wait_until(
                lambda: value(observer, sql, (47,)), 30, "it waits"
            )
            with Running(other, both, (options, run_id)) as later:
                process.wait_until(
                    lambda: value(observer, sql, (48,)), 30, "it waits"
                )
                select(observer, "SELECT pg_advisory_unlock(47)")
                (landed,) = earlier.rows()
                select(observer, "SELECT pg_advisory_unlock(48)")
                found = {row["name"]: row for row in later.rows()}
    finally:
        select(observer, "SELECT pg_advisory_unlock_all()")
    assert landed["status"] == "done"
    assert found["first"]["status"] == "done"
    assert found["increments"]["error"] == (
        'another process has landed that run\'s increment of "increments"'
    )
    history = (
        "SELECT uri FROM onboard_runs WHERE run_id = %s"
        " AND name = 'increments'"
    )
    assert value(db, history, (run_id,)) == landed["uri"]
    assert len(union(s3, bucket, "other")) == 1
    again = land_run(db, run_id)
    assert (again["status"], again["uri"]) == ("done", landed["uri"])


def test_61_a_part_of_a_run_again(db, s3, table, workers, bucket):
    """Failed tables land with the rest, and the manifest has all of them."""
    table("id int")
    register(db, "increments", bucket, "id")
    beside(db, bucket)
    select(db, "INSERT INTO increments VALUES (1);"
           "UPDATE onboard_tables SET query = 'SELECT 1 / 0'"
           " WHERE name = 'whole'")
    run_id = str(uuid.uuid4())
    first = land_run(db, run_id, manifest=True)
    assert first["status"] == "done"
    select(db, "INSERT INTO increments VALUES (2);"
           "UPDATE onboard_tables SET query = 'SELECT 7 AS id'"
           " WHERE name = 'whole'")
    again = land_run(db, run_id, manifest=True)
    assert (again["status"], again["rows"]) == ("done", 1)
    manifest = json.loads(
        body(s3, bucket, f"_onboard/{run_id}/manifest.json")
    )
    assert manifest["success"]
    tables = {one["name"]: one for one in manifest["tables"]}
    assert tables["increments"]["uri"] == first["uri"]
    assert tables["increments"]["rows"] == 1
    assert tables["whole"]["status"] == "done"
    status = "SELECT status FROM onboard_status(%s)"
    assert value(db, status, (run_id,)) == "done"
    assert increment(db, s3, bucket) == ["2"]


def test_61_again_and_together(db, s3, table, workers, bucket):
    """Visible objects cannot be published together with others."""
    table("id int")
    register(db, "increments", bucket, "id")
    beside(db, bucket)
    select(db, "INSERT INTO increments VALUES (1)")
    run_id = str(uuid.uuid4())
    assert land_run(db, run_id, publish="together")["status"] == "done"
    before = s3.get_object(Bucket=bucket, Key=f"increments/{run_id}.csv")
    select(db, "INSERT INTO increments VALUES (2)")
    found = land_run(db, run_id, publish="together")
    assert found["status"] == "failed"
    assert found["error"].startswith("the run has landed an increment of")
    after = s3.get_object(Bucket=bucket, Key=f"increments/{run_id}.csv")
    assert after["LastModified"] == before["LastModified"]
    assert land_run(db, publish="together")["rows"] == 1
    assert union(s3, bucket) == ["1", "2"]


@pytest.mark.parametrize(
    "options", [{"publish": "together"}, {"key": "{name}/{date}.{ext}"}],
    ids=["together", "key"],
)
def test_61_a_repetition_that_fails(db, s3, table, workers, bucket, options):
    """The existing object remains known."""
    table("id int")
    register(db, "increments", bucket, "id")
    select(db, "INSERT INTO increments VALUES (1)")
    run_id = str(uuid.uuid4())
    first = land_run(db, run_id)
    history = "SELECT * FROM onboard_runs WHERE run_id = %s"
    before = select(db, history, (run_id,))
    assert [row["status"] for row in before] == ["done"]
    select(db, "INSERT INTO increments VALUES (2)")
    again = land_run(db, run_id, **options)
    assert (again["status"], again["uri"]) == ("failed", first["uri"])
    assert select(db, history, (run_id,)) == before
    third = land_run(db, run_id)
    assert (third["status"], third["uri"]) == ("done", first["uri"])
    assert increment(db, s3, bucket) == ["2"]


@pytest.mark.parametrize("what", ["option", "row", "name", "option and key"])
def test_61_no_increment_any_more(
    db, s3, table, workers, bucket, what
):
    """The whole table must not replace the increment that the run has landed.
    """
    table("id int")
    register(db, "increments", bucket, "id")
    beside(db, bucket)
    select(db, "INSERT INTO increments VALUES (1)")
    run_id = str(uuid.uuid4())
    assert land_run(db, run_id)["status"] == "done"
    history = (
        "SELECT * FROM onboard_runs WHERE run_id = %s AND name = 'increments'"
    )
    before = select(db, history, (run_id,))
    select(db, "INSERT INTO increments VALUES (2);"
           "UPDATE onboard_tables SET options = options - 'watermark'"
           " WHERE name = 'increments'")
    name, options = "increments", {}
    if what == "row":
        select(db, "DELETE FROM onboard_tables WHERE name = 'increments'")
        register(db, "increments", bucket, "id")
        select(db, "UPDATE onboard_tables SET options = options - 'watermark'")
    elif what == "name":
        select(db, "UPDATE onboard_tables SET query = 'TABLE increments',"
               " options = options || %s, name = 'renamed'"
               " WHERE name = 'increments'",
               (json.dumps({"key": "increments/{run_id}.{ext}"}),))
        name = "renamed"
    elif what == "option and key":
        options = {"key": "{name}/elsewhere-{run_id}.csv"}
    error = failure(
        select, db, "SELECT * FROM onboard_table(%s, NULL, NULL, %s, %s)",
        (name, json.dumps(options), run_id),
    )
    refusal = 'the run has landed an increment of "increments" before'
    assert (error.pgcode, error.diag.message_primary) == ("42710", refusal)
    everything = "SELECT * FROM onboard_all(NULL, %s, %s)"
    arguments = json.dumps(options), run_id
    if what == "name":
        # The other table's key is the same.
        error = failure(select, db, everything, arguments)
        assert (error.pgcode, error.diag.message_primary) == ("42710", refusal)
    else:
        found = select(db, everything, arguments)
        (row,) = (row for row in found if row["name"] == name)
        assert row["status"] == "failed"
        assert row["error"].startswith(refusal)
    assert select(db, history, (run_id,)) == before
    assert body(s3, bucket, f"increments/{run_id}.csv") == b"1\n"
    # Another run exports the registered tables as they are now.
    sql = "SELECT * FROM onboard_table(%s)"
    assert select(db, sql, (name,))[0]["rows"] == 2


def test_61_an_increment_that_was_written(
    db, observer, s3, table, bucket, proxy, proxied
):
    """The attempt that wrote the object has failed, but the object stays known,
    and another run lands its rows."""
    table("id int")
    register(db, "increments", bucket, "id")
    beside(db, bucket)
    select(db, "INSERT INTO increments VALUES (1);"
           "SET onboard.parallel_tables = 4")
    run_id = str(uuid.uuid4())
    rule = proxy.rule("PUT", "increments/", hold=True)
    options = json.dumps({"server": proxied})
    with Running(
        db, "SELECT * FROM onboard_all(NULL, %s, %s)", (options, run_id)
    ) as run:
        rule.wait()
        (one,) = process.wait_until(
            lambda: select(
                observer, "SELECT pid FROM onboard_progress"
                " WHERE name = 'increments'"
            ), 30, "it runs",
        )
        select(observer, "SELECT pg_cancel_backend(%s)", (one["pid"],))
        run.rows()
    history = "SELECT * FROM onboard_runs WHERE run_id = %s AND name = %s"
    (row,) = select(db, history, (run_id, "increments"))
    assert row["error"].endswith("(the object was written)")
    uri = row["uri"]
    assert mark(db) is None
    for _ in range(2):
        found = land_run(db, run_id)
        (row,) = select(db, history, (run_id, "increments"))
        for state in (found, row):
            assert (state["status"], state["uri"]) == ("failed", uri)
            assert state["error"].endswith(
                "(an object of an earlier attempt may be there)"
            )
        assert row["sqlstate"] == "58P02"
    assert increment(db, s3, bucket) == ["1"]


def test_61_again_when_the_history_is_pruned(db, s3, table, workers, bucket):
    table("id int")
    register(db, "increments", bucket, "id")
    beside(db, bucket)
    select(db, "INSERT INTO increments VALUES (1)")
    run_id = str(uuid.uuid4())
    land_run(db, run_id)
    select(db, "SELECT onboard_prune('0')")
    select(db, "INSERT INTO increments VALUES (2)")
    found = land_run(db, run_id)
    assert found["status"] == "failed"
    assert found["error"].startswith("the run has landed an increment of")
    assert increment(db, s3, bucket) == ["2"]
    # Its watermark is that of another run now, but its object exists.
    select(db, "SELECT onboard_prune('0'); INSERT INTO increments VALUES (3)")
    assert land_run(db, run_id)["status"] == "failed"
    assert increment(db, s3, bucket) == ["3"]
    assert union(s3, bucket) == ["1", "2", "3"]


def test_61_a_run_of_two_roles(db, s3, table, role, bucket):
    """A role that sees fewer rows does not replace objects of another role."""
    table("id int")
    register(db, "increments", bucket, "id")
    select(
        db, "INSERT INTO increments SELECT generate_series(1, 10);"
        "GRANT SELECT ON increments TO lander;"
        "ALTER TABLE increments ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY partly ON increments TO lander USING (id > 5)"
    )
    run_id = str(uuid.uuid4())
    land_run(db, run_id)
    sql = "SELECT onboard_table('increments', run_id => %s)"
    assert failure(select, role, sql, (run_id,)).pgcode == "42501"
    assert len(increment(role, s3, bucket)) == 5
    assert set(union(s3, bucket)) == {str(n) for n in range(1, 11)}


# Changes of the increments' definition


@pytest.fixture
def landed(db, s3, table, bucket):
    """Rows 1 to 10 of "increments" have landed."""
    table("id int, tenant varchar DEFAULT 'a'")
    register(db, "increments", bucket, "id", query="TABLE increments")
    select(db, "INSERT INTO increments SELECT generate_series(1, 10)")
    assert len(increment(db, s3, bucket)) == 10


def test_62_another_query(db, s3, table, landed, bucket):
    table("id int", "elsewhere")
    select(db, "INSERT INTO elsewhere SELECT generate_series(1, 5);"
           "UPDATE onboard_tables SET query = 'TABLE elsewhere'")
    refused(db, s3, bucket, 'the query of "increments" has changed')
    error = failure(select, db, "SELECT onboard_table('increments')")
    assert error.pgcode == "55000"
    assert value(db, "SELECT onboard_reset_watermark('increments')") == 1
    assert len(increment(db, s3, bucket)) == 5


def test_62_going_on_nevertheless(db, s3, landed, bucket):
    """This is right if no row was missed, as with another column."""
    select(db, "UPDATE onboard_tables SET query ="
           " 'SELECT id, tenant, 1 AS more FROM increments'")
    refused(db, s3, bucket, 'the query of "increments" has changed')
    assert value(db, "SELECT onboard_reset_watermark('increments', true)") == 1
    assert mark(db) == "10"
    assert increment(db, s3, bucket) is None
    select(db, "INSERT INTO increments VALUES (11)")
    assert increment(db, s3, bucket) == ["11,a,1"]
    # From now on, the watermark belongs to that query.
    select(db, "UPDATE onboard_tables SET query = 'TABLE increments'")
    refused(db, s3, bucket, 'the query of "increments" has changed')


def test_62_another_query_after_going_on(db, s3, landed, role, bucket):
    """All kept watermarks may go on, before their next increment has come."""
    select(db, "GRANT SELECT ON increments TO lander")
    assert len(increment(role, s3, bucket)) == 10
    select(db, "UPDATE onboard_tables SET query = 'SELECT id FROM increments'")
    assert value(db, "SELECT onboard_reset_watermark('increments', true)") == 2
    kept = select(db, "SELECT table_id, query, relations FROM"
                  " onboard_watermarks")
    registered = value(db, "SELECT id FROM onboard_tables")
    assert kept == 2 * [{
        "table_id": registered, "query": "SELECT id FROM increments",
        "relations": None,
    }]
    select(db, "UPDATE onboard_tables SET query ="
           " 'SELECT id FROM increments WHERE id > 0'")
    refused(db, s3, bucket, 'the query of "increments" has changed')
    refused(role, s3, bucket, 'the query of "increments" has changed')
    select(db, "UPDATE onboard_tables SET query = NULL")
    assert value(role, "SELECT onboard_reset_watermark('increments', true)") == 1
    assert increment(role, s3, bucket) is None
    # A role that may not read the registry cannot know the query.
    select(db, "REVOKE SELECT ON onboard_tables FROM lander")
    assert value(role, "SELECT onboard_reset_watermark('increments', true)") == 1
    assert select(role, "SELECT query FROM onboard_watermarks") == [
        {"query": None}
    ]


def test_62_another_destination(db, s3, rgw, landed, proxied, bucket):
    """The destination is another bucket, or another store at another address.
    """
    second = bucket + "-2"
    s3.create_bucket(Bucket=second)
    select(db, "UPDATE onboard_tables SET bucket = %s", (second,))
    refused(db, s3, bucket, 'the increments of "increments" have landed in')
    assert keys(s3, second) == []
    select(db, "UPDATE onboard_tables SET bucket = %s", (bucket,))
    (found,) = land_all(db, server=proxied)
    assert "have landed in" in found["error"]
    assert increment(db, s3, bucket) is None


def test_62_another_table_by_the_search_path(db, s3, table, landed, bucket):
    select(db, "CREATE SCHEMA aside; CREATE TABLE aside.increments AS"
           " SELECT 1 AS id, 'b' AS tenant; SET search_path = aside, public")
    try:
        refused(db, s3, bucket, 'what the query of "increments" reads has')
    finally:
        select(db, "RESET search_path; DROP SCHEMA aside CASCADE")
    assert increment(db, s3, bucket) is None


def test_62_another_view(db, s3, table, bucket):
    """The view may also be one that the view reads."""
    table("id int")
    select(
        db, "INSERT INTO increments SELECT generate_series(1, 10);"
        "CREATE VIEW inner_v AS SELECT id FROM increments WHERE id > 5;"
        "CREATE VIEW outer_v AS SELECT id FROM inner_v WHERE id < 100"
    )
    try:
        register(db, "increments", bucket, "id",
                 query="SELECT id FROM outer_v")
        assert len(increment(db, s3, bucket)) == 5
        assert increment(db, s3, bucket) is None
        select(db, "CREATE OR REPLACE VIEW inner_v AS"
               " SELECT id FROM increments WHERE id > 2")
        refused(db, s3, bucket, 'what the query of "increments" reads has')
        select(db, "SELECT onboard_reset_watermark('increments')")
        assert len(increment(db, s3, bucket)) == 8
    finally:
        select(db, "DROP VIEW outer_v, inner_v")


SECURITY = """
    ALTER TABLE increments ENABLE ROW LEVEL SECURITY;
    CREATE POLICY partly ON increments TO lander USING (tenant IN ('a', 'c'));
    GRANT SELECT ON increments TO lander;
    INSERT INTO increments SELECT g, chr(97 + g % 3)
    FROM generate_series(11, 20) g;
"""
CHANGES = {
    "wider": "ALTER POLICY partly ON increments USING (true)",
    "another": "CREATE POLICY more ON increments FOR SELECT TO PUBLIC"
               " USING (tenant = 'b')",
    "restrictive": "CREATE POLICY less ON increments AS RESTRICTIVE"
                   " USING (id <> 3)",
    "off": "ALTER TABLE increments DISABLE ROW LEVEL SECURITY",
    "bypassed": "ALTER ROLE lander BYPASSRLS",
    "membership": "CREATE POLICY more ON increments TO pg_monitor"
                  " USING (true); GRANT pg_monitor TO lander",
    "none": "DROP POLICY partly ON increments",
}
SAME = {
    "renamed": "ALTER POLICY partly ON increments RENAME TO other_name",
    "of others": "CREATE POLICY more ON increments TO pg_monitor"
                 " USING (true)",
    "of writers": "CREATE POLICY more ON increments FOR UPDATE USING (true)",
}


@pytest.mark.parametrize("change", [*CHANGES, *SAME])
def test_62_row_security(db, s3, landed, role, bucket, change):
    """If more or fewer rows are visible than before, not fewer may land."""
    select(db, SECURITY)
    try:
        assert len(increment(role, s3, bucket)) == 17
        assert increment(role, s3, bucket) is None
        select(db, {**CHANGES, **SAME}[change])
        if change in SAME:
            assert increment(role, s3, bucket) is None
        else:
            refused(role, s3, bucket, 'row security for "increments" has')
        # A role that bypasses row security is not affected.
        assert len(increment(db, s3, bucket)) == 10
    finally:
        select(db, "ALTER ROLE lander NOBYPASSRLS;"
               "REVOKE pg_monitor FROM lander")


def test_62_row_security_behind_a_view(db, s3, landed, role, bucket):
    """The policies are those of the view's owner, or in a subquery of a policy.
    """
    select(db, "CREATE TABLE allowed AS SELECT 'a'::text AS tenant;"
           "ALTER TABLE allowed ENABLE ROW LEVEL SECURITY;"
           "CREATE POLICY all_of_it ON allowed USING (true);"
           "GRANT SELECT ON allowed TO lander;"
           "ALTER TABLE increments ENABLE ROW LEVEL SECURITY;"
           "CREATE POLICY partly ON increments TO lander USING (tenant IN"
           " (SELECT tenant FROM allowed));"
           "GRANT SELECT ON increments TO lander;"
           "CREATE VIEW shown WITH (security_invoker) AS"
           " SELECT * FROM increments;"
           "GRANT SELECT ON shown TO lander;"
           "SELECT onboard_reset_watermark('increments');"
           "UPDATE onboard_tables SET query = 'TABLE shown'")
    try:
        assert len(increment(role, s3, bucket)) == 10
        assert increment(role, s3, bucket) is None
        select(db, "ALTER POLICY all_of_it ON allowed USING (tenant <> 'a')")
        refused(role, s3, bucket, 'row security for "increments" has')
    finally:
        select(db, "DROP VIEW shown; DROP TABLE allowed CASCADE")


def test_62_settings_of_a_session(pg, db, s3, landed, role, bucket):
    """The SQL of policies and views is compared independently of these
    settings."""
    select(db, SECURITY)
    select(db, r"CREATE VIEW shown AS SELECT * FROM increments WHERE tenant"
           r" <> 'a\b' AND '2026-01-01 00:00+00'::timestamptz < now();"
           "GRANT SELECT ON shown TO lander;"
           r"ALTER POLICY partly ON increments USING (tenant <> E'c\\d')")
    odd = pg.connect("onboard", user="lander")
    select(odd, "SET quote_all_identifiers = on;"
           "SET standard_conforming_strings = off; SET timezone = 'Asia/Tokyo';"
           "SET datestyle = 'SQL, DMY'; SET search_path = pg_catalog, public")
    try:
        register(db, "shown", bucket, "id", query="TABLE public.shown")
        assert len(increment(role, s3, bucket, "shown")) == 20
        assert increment(odd, s3, bucket, "shown") is None
        select(db, "INSERT INTO increments VALUES (21, 'a')")
        assert increment(odd, s3, bucket, "shown") == ["21,a"]
        assert increment(role, s3, bucket, "shown") is None
    finally:
        odd.close()
        select(db, "DROP VIEW shown")


def test_62_a_restored_database_goes_on(
    pg, rgw, db, s3, landed, role, make_server, bucket
):
    """The restored SQL of policies and views is written differently."""
    select(db, SECURITY)
    select(db, "CREATE VIEW shown AS SELECT * FROM increments"
           " WHERE tenant IN ('a', 'b', 'c');"
           "GRANT SELECT ON shown TO lander")
    try:
        register(db, "shown", bucket, "id", query="TABLE shown")
        assert len(increment(role, s3, bucket)) == 17
        assert len(increment(role, s3, bucket, "shown")) == 20
        dump = process.run(
            [
                os.path.join(pg.bindir, "pg_dump"), "-h", pg.folder, "-p",
                pg.settings["port"], "-U", "postgres", "-e", "onboard",
                "-n", "public", "onboard",
            ]
        )
        pg.psql("CREATE DATABASE restored_marks")
        pg.psql(dump.replace("CREATE SCHEMA public;", ""), "restored_marks")
        make_server(
            rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3",
            user="lander", dbname="restored_marks",
        )
        restored = pg.connect("restored_marks")
        select(restored, "GRANT USAGE ON FOREIGN SERVER s3 TO lander;"
               "INSERT INTO increments VALUES (21, 'a'), (22, 'b')")
        lander = pg.connect("restored_marks", user="lander")
        assert increment(lander, s3, bucket) == ["21,a"]
        assert increment(lander, s3, bucket, "shown") == ["21,a", "22,b"]
        lander.close()
        restored.close()
    finally:
        make_server.drop()
        pg.psql("DROP DATABASE IF EXISTS restored_marks WITH (FORCE)")
        select(db, "DROP VIEW shown")


def test_63_registered_again_meanwhile(db, observer, s3, table, bucket):
    """A first increment is not confused with that of a new table of its name.
    """
    table("id int")
    register(db, "increments", bucket, "id", query=HELD)
    select(db, "INSERT INTO increments SELECT generate_series(1, 10)")
    with hold(observer):
        with Running(db, "SELECT onboard_table('increments')") as run:
            wait_for_event(observer, run.pid, "advisory")
            select(observer, "UPDATE onboard_tables SET id = id;"
                   "DELETE FROM onboard_tables")
            register(observer, "increments", bucket, "id", query=HELD)
            select(observer, "SELECT pg_advisory_unlock(47)")
            run.rows()
            select(observer, "SELECT pg_advisory_lock(47)")
    assert 'watermark of "increments" is left' in "".join(db.notices)
    assert mark(db) is None
    assert len(increment(db, s3, bucket)) == 10


def test_63_reset_during_the_first(db, observer, s3, table, workers, bucket):
    """There is no row yet that the reset could delete."""
    table("id int")
    register(db, "increments", bucket, "id", query=HELD)
    beside(db, bucket)
    select(db, "INSERT INTO increments SELECT generate_series(1, 10)")
    with hold(observer):
        with Running(db, "SELECT * FROM onboard_all()") as run:
            sql = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            process.wait_until(lambda: value(observer, sql), 30, "it waits")
            assert value(observer, "SELECT onboard_reset_watermark('increments')") == 0
            select(observer, "SELECT pg_advisory_unlock(47)")
            run.rows()
            select(observer, "SELECT pg_advisory_lock(47)")
    # The rows land once, in either run.
    assert "".join(db.notices).count(LEFT) == 1
    assert "It was changed or reset while the increment landed" in (
        "".join(db.notices)
    )
    assert mark(db) is None
    assert len(increment(db, s3, bucket)) == 10
    assert mark(db) == "10"


def test_63_reset_of_a_run_together(
    db, observer, s3, table, workers, bucket
):
    """Its workers wait for the others before they end, but also obey the reset.
    """
    table("id int")
    register(db, "increments", bucket, "id", query=HELD)
    beside(db, bucket)
    select(db, "INSERT INTO increments SELECT generate_series(1, 10)")
    with hold(observer):
        with Running(
            db, "SELECT * FROM onboard_all(NULL, %s)",
            (json.dumps({"publish": "together"}),),
        ) as run:
            sql = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            process.wait_until(lambda: value(observer, sql), 30, "it waits")
            assert value(observer, "SELECT onboard_reset_watermark('increments')") == 0
            select(observer, "SELECT pg_advisory_unlock(47)")
            assert {row["status"] for row in run.rows()} == {"done"}
            select(observer, "SELECT pg_advisory_lock(47)")
    assert "".join(db.notices).count(LEFT) == 1
    assert mark(db) is None


def test_63_reset_after_the_worker_has_ended(
    pg, db, observer, s3, table, registry, bucket
):
    """The session is cancelled after the increment's worker has ended."""
    table("id int")
    register(db, "increments", bucket, "id", query=HELD)
    register(db, "slow", bucket, "id", query="SELECT 1 AS id, pg_sleep(300)")
    select(db, "INSERT INTO increments SELECT generate_series(1, 10);"
           "SET onboard.parallel_tables = 4")
    sql = (
        "SELECT status FROM onboard_runs WHERE name = 'increments'"
        " ORDER BY started DESC LIMIT 1"
    )
    with hold(observer):
        # The rows are a cursor's: the second table is not fetched.
        with contextlib.closing(db.cursor()) as cursor:
            cursor.execute("BEGIN; DECLARE c CURSOR FOR SELECT (onboard_all())"
                           ".name")
            with Running(db, "FETCH 1 FROM c") as run:
                waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                process.wait_until(
                    lambda: value(observer, waits), 30, "it waits"
                )
                value(observer, "SELECT onboard_reset_watermark('increments')")
                process.wait_until(
                    lambda: value(observer, sql) == "running", 30, "it runs"
                )
                pid = run.pid
                os.kill(pid, signal.SIGSTOP)
                try:
                    select(observer, "SELECT pg_advisory_unlock(47)")
                    process.wait_until(
                        lambda: value(observer, sql) == "done", 30, "it ends"
                    )
                    select(observer, "SELECT pg_cancel_backend(%s)", (pid,))
                finally:
                    os.kill(pid, signal.SIGCONT)
                run.error()
                select(observer, "SELECT pg_advisory_lock(47)")
            cursor.execute("ROLLBACK")
    assert "".join(db.notices).count(LEFT) == 1
    assert mark(db) is None


def test_63_a_stranger_s_reset_has_no_effect(
    db, observer, s3, table, role, bucket
):
    """A role that could not delete the watermark cannot prevent its change."""
    table("id int")
    register(db, "increments", bucket, "id", query=HELD)
    select(db, "INSERT INTO increments VALUES (1)")
    with hold(observer):
        with Running(db, "SELECT onboard_table('increments')") as run:
            wait_for_event(observer, run.pid, "advisory")
            assert value(role, "SELECT onboard_reset_watermark('increments')") == 0
            select(observer, "SELECT pg_advisory_unlock(47)")
            run.rows()
            select(observer, "SELECT pg_advisory_lock(47)")
    assert mark(db) == "1"
    # An open transaction of the other role blocks no run, either.
    select(role, "BEGIN; SELECT onboard_reset_watermark('increments')")
    select(db, "SET lock_timeout = '5s'; DELETE FROM onboard_tables")
    select(role, "ROLLBACK")


def test_64_an_older_snapshot(db, other, s3, table, workers, bucket):
    """Another run has moved the watermark: that is a WARNING, not an error, and
    the history has the run."""
    table("id int")
    register(db, "increments", bucket, "id")
    beside(db, bucket)
    select(db, "INSERT INTO increments VALUES (1)")
    assert increment(other, s3, bucket) == ["1"]
    select(db, "INSERT INTO increments VALUES (2)")
    select(db, "BEGIN ISOLATION LEVEL REPEATABLE READ;"
           "SELECT count(*) FROM increments")
    select(other, "INSERT INTO increments VALUES (3)")
    assert increment(other, s3, bucket) == ["2", "3"]
    found = land_run(db)
    select(db, "COMMIT")
    assert (found["status"], found["rows"]) == ("done", 1)
    history = "SELECT status FROM onboard_runs WHERE run_id = %s"
    assert {row["status"] for row in select(
        db, history, (found["run_id"],)
    )} == {"done"}
    assert 'watermark of "increments" is left' in "".join(db.notices)
    assert mark(db) == "3"
    assert set(union(s3, bucket)) == {"1", "2", "3"}


# Ties, and rows that commit late


@pytest.fixture
def coarse(db):
    select(
        db, "CREATE COLLATION nocase (provider = icu, locale ="
        " 'und-u-ks-level2', deterministic = false);"
        "CREATE TYPE mood AS ENUM ('sad', 'ok');"
        "CREATE DOMAIN second AS timestamptz(0);"
        "CREATE EXTENSION IF NOT EXISTS citext"
    )
    yield
    select(db, "DROP EXTENSION citext; DROP DOMAIN second; DROP TYPE mood;"
           "DROP COLLATION nocase")


COARSE = {
    "date": "'2026-01-01'",
    "timestamp(0)": "'2026-01-01 00:00:00'",
    "timestamptz(3)": "'2026-01-01 00:00:00'",
    "second": "'2026-01-01 00:00:00'",
    "time": "'12:00'",
    "boolean": "true",
    '"char"': "'a'",
    "mood": "'ok'",
    "text COLLATE nocase": "'A'",
    "citext": "'A'",
}


@pytest.mark.parametrize("type_", COARSE)
def test_65_coarse_columns(db, s3, coarse, table, bucket, type_):
    table(f"id int, v {type_}")
    try:
        register(db, "increments", bucket, "v")
        text = COARSE[type_]
        select(db, f"INSERT INTO increments VALUES (1, {text})")
        (found,) = land_all(db)
        assert found["error"] == (
            'column "v" of "increments" is too coarse for a watermark without'
            " an overlap"
        )
        assert '"overlap": 0' in "".join(db.notices)
        assert keys(s3, bucket) == []
        select(db, "DELETE FROM onboard_tables")
        register(db, "increments", bucket, "v", 0,
                 query="SELECT v, id FROM increments")
        assert len(increment(db, s3, bucket)) == 1
        select(db, f"INSERT INTO increments VALUES (2, lower({text}::text)::"
               + type_.replace("COLLATE nocase", "") + ")")
        found = increment(db, s3, bucket)
        assert {line.rsplit(",", 1)[1] for line in found} == {"1", "2"}
    finally:
        select(db, "DROP TABLE increments; CREATE TABLE increments ()")


@pytest.mark.parametrize("type_", [
    "timestamptz", "timestamptz(6)", "text", 'text COLLATE "C"', "varchar",
    "name", "uuid", "numeric", "int8", "xid8",
])
def test_65_columns_that_are_fine_enough(db, s3, table, bucket, type_):
    table(f"v {type_}")
    register(db, "increments", bucket, "v")
    assert increment(db, s3, bucket) is None


@pytest.mark.parametrize("type_, overlap, last, late", [
    ("float8", 1, "9007199254740996", "9007199254740995"),
    ("float4", 1, "16777220", "16777219"),
    ("float8", "0.1", "0.8", "0.7"),
    ("float4", "0.1", "0.3", "0.2"),
])
def test_66_an_overlap_below_a_float_s_precision(
    db, s3, table, bucket, type_, overlap, last, late
):
    """It reaches exactly as far as written, even if the type would round it."""
    table(f"id int, v {type_}")
    register(db, "increments", bucket, "v", overlap,
             query="SELECT id, v FROM increments")
    select(db, f"INSERT INTO increments VALUES (1, {last})")
    assert len(increment(db, s3, bucket)) == 1
    select(db, f"INSERT INTO increments VALUES (2, {late})")
    found = increment(db, s3, bucket)
    assert {line[0] for line in found} == {"1", "2"}


@pytest.mark.parametrize("column", [
    "bigserial", "bigint GENERATED ALWAYS AS IDENTITY", "int DEFAULT nextval('s')",
])
def test_67_a_cached_sequence(db, s3, table, workers, bucket, column):
    select(db, "CREATE SEQUENCE s")
    table(f"id {column}, v text")
    try:
        register(db, "increments", bucket, "id",
                 query="WITH x AS (TABLE increments) SELECT i.id FROM x AS i"
                 " JOIN x AS j ON i.id = j.id")
        beside(db, bucket)
        select(db, "INSERT INTO increments (v) VALUES ('a')")
        assert increment(db, s3, bucket) == ["1"]
        assert warnings(db) == []
        sequence = value(
            db, "SELECT coalesce(pg_get_serial_sequence('increments', 'id'),"
            " 's')"
        )
        select(db, f"ALTER SEQUENCE {sequence} CACHE 50")
        del db.notices[:]
        land_run(db)
        (notices,) = warnings(db)
        assert "from a sequence with a cache" in notices
        assert "takes 50 numbers" in notices and "CACHE 1" in notices
    finally:
        select(db, "ALTER TABLE increments DROP COLUMN id;"
               "DROP SEQUENCE s")


def test_67_a_sequence_that_was_restarted(db, s3, table, bucket):
    table("id bigserial, v text")
    register(db, "increments", bucket, "id")
    sql = "INSERT INTO increments (v) SELECT 'a' FROM generate_series(1, 10)"
    select(db, sql)
    assert len(increment(db, s3, bucket)) == 10
    assert increment(db, s3, bucket) is None
    assert warnings(db) == []
    select(db, "TRUNCATE increments RESTART IDENTITY;"
           "INSERT INTO increments (v) VALUES ('b')")
    assert increment(db, s3, bucket) is None
    (notices,) = warnings(db)
    assert "is below the watermark" in notices
    assert "is at 1, the watermark at 10" in notices
    select(db, "SELECT onboard_reset_watermark('increments')")
    del db.notices[:]
    assert increment(db, s3, bucket) == ["1,b"]
    assert warnings(db) == []


@pytest.mark.parametrize("query", [
    "SELECT id FROM increments LIMIT 5",
    "SELECT id FROM increments ORDER BY id FETCH FIRST 5 ROWS ONLY",
    "SELECT id FROM increments OFFSET 1",
    "(SELECT id FROM increments) UNION ALL SELECT 0 LIMIT 1",
])
def test_67_a_limit(db, s3, table, bucket, query):
    table("id int")
    select(db, "INSERT INTO increments SELECT generate_series(1, 10)")
    register(db, "increments", bucket, "id", query=query)
    (found,) = land_all(db)
    assert found["error"] == (
        'the query of "increments" has a LIMIT, OFFSET or FETCH'
    )
    assert keys(s3, bucket) == []


@pytest.mark.parametrize("zone, overlap, warned", [
    ("Europe/Berlin", None, "60 minutes"),
    ("Europe/Berlin", "5 minutes", "60 minutes"),
    ("Europe/Berlin", "65 minutes", None),
    ("Australia/Lord_Howe", "20 minutes", "30 minutes"),
    ("UTC", "5 minutes", None),
    ("Asia/Kolkata", "5 minutes", None),
])
def test_68_an_hour_that_comes_twice(
    db, s3, table, bucket, zone, overlap, warned
):
    table("at timestamp")
    select(db, f"SET timezone = '{zone}'")
    register(db, "increments", bucket, "at", overlap)
    assert increment(db, s3, bucket) is None
    notices = "".join(warnings(db))
    assert (f"go back by {warned}" in notices) == (warned is not None)
    assert warned or notices == ""


def test_69_a_prepared_transaction(db, other, s3, table, workers, bucket):
    """The transaction wrote to a table that the query reads; the documented
    query shows it, too."""
    table("id int, at timestamptz DEFAULT now()")
    select(db, "CREATE TABLE part () INHERITS (increments);"
           "CREATE TABLE unread (id int)")
    try:
        register(db, "increments", bucket, "at", "5 minutes")
        beside(db, bucket)
        select(other, "BEGIN; INSERT INTO unread VALUES (1);"
               "PREPARE TRANSACTION 'unread'")
        select(db, "INSERT INTO increments VALUES (1)")
        assert land_run(db)["rows"] == 1
        assert warnings(db) == []
        select(other, "BEGIN; INSERT INTO part VALUES (2);"
               "PREPARE TRANSACTION 'late'")
        land_run(db)
        (notices,) = warnings(db)
        assert "a prepared transaction may have written rows of" in notices
        assert '"late"' in notices
        section = (DOCS / "operations.md").read_text()
        section = section.split("## Incremental loads\n")[1]
        (oldest,) = (
            block for block in re.findall(r"```sql\n(.*?)```", section, re.S)
            if "pg_prepared_xacts" in block
        )
        assert value(db, oldest) is not None
    finally:
        for gid in ("unread", "late"):
            with contextlib.suppress(psycopg2.Error):
                select(other, f"ROLLBACK PREPARED '{gid}'")
        select(db, "DROP TABLE part, unread")


def test_69_a_catalog_that_is_closed(db, s3, table, role, bucket):
    """Then the warning says that this could not be checked; the rows land."""
    table("id bigserial")
    register(db, "increments", bucket, "id")
    select(db, "INSERT INTO increments DEFAULT VALUES;"
           "GRANT SELECT ON increments TO lander;"
           "REVOKE SELECT ON pg_sequence FROM PUBLIC")
    try:
        assert increment(role, s3, bucket) == ["1"]
        (notices,) = warnings(role)
        assert "could not check whether rows of" in notices
    finally:
        select(db, "GRANT SELECT ON pg_sequence TO PUBLIC")


# Transaction ids: no row is late


XIDS = """
    CREATE FUNCTION note_xid() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN NEW.xid := pg_current_xact_id(); RETURN NEW; END $$;
    CREATE TRIGGER note_xid BEFORE INSERT OR UPDATE ON increments
    FOR EACH ROW EXECUTE FUNCTION note_xid();
"""


@pytest.fixture
def by_xid(db, other, table, bucket):
    table("id int, xid xid8")
    select(db, XIDS)
    register(db, "increments", bucket, "xid",
             query="SELECT xid, id FROM increments")
    yield
    for session in (db, other):
        select(session, "ROLLBACK")
    for row in select(db, "SELECT gid FROM pg_prepared_xacts"):
        select(db, f"ROLLBACK PREPARED '{row['gid']}'")
    select(db, "DROP FUNCTION note_xid CASCADE")


def ids(landed):
    return [int(line.split(",")[1]) for line in landed or []]


def test_69_transaction_ids(pg, db, other, s3, by_xid, bucket):
    """Running and prepared transactions limit the upper bound; their rows land
    once they have ended, without an overlap."""
    select(db, "INSERT INTO increments VALUES (1)")
    assert ids(increment(db, s3, bucket)) == [1]
    select(other, "BEGIN; INSERT INTO increments VALUES (2)")
    select(db, "INSERT INTO increments VALUES (3)")
    assert ids(increment(db, s3, bucket)) == []
    select(other, "PREPARE TRANSACTION 'waits'")
    assert ids(increment(db, s3, bucket)) == []
    assert warnings(db) == []
    select(other, "COMMIT PREPARED 'waits'")
    assert sorted(ids(increment(db, s3, bucket))) == [2, 3]
    select(db, "UPDATE increments SET id = 4 WHERE id = 1")
    assert ids(increment(db, s3, bucket)) == [4]
    # Rows of the exporting transaction belong to the next increment.
    select(db, "BEGIN; INSERT INTO increments VALUES (5)")
    assert ids(increment(db, s3, bucket)) == []
    select(db, "COMMIT")
    assert ids(increment(db, s3, bucket)) == [5]
    assert increment(db, s3, bucket) is None


def test_69_transaction_ids_of_many_writers(pg, db, s3, by_xid, bucket):
    """Each row lands once, in any order of commits and runs."""
    writers = [pg.connect("onboard") for _ in range(4)]
    written = []

    def write(number, session):
        for n in range(30):
            one = number * 100 + n
            end = "ROLLBACK" if n % 5 == 0 else "COMMIT"
            select(
                session, f"BEGIN; INSERT INTO increments VALUES ({one});"
                f"SELECT pg_sleep(random() * 0.02); {end}"
            )
            if n % 5:
                written.append(one)

    threads = [
        threading.Thread(target=write, args=pair, daemon=True)
        for pair in enumerate(writers, 1)
    ]
    landed = []
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            landed += ids(increment(db, s3, bucket))
    finally:
        for thread in threads:
            thread.join(60)
        for writer in writers:
            writer.close()
    landed += ids(increment(db, s3, bucket))
    assert len(written) == 4 * 24
    assert sorted(landed) == sorted(written)


def test_69_transaction_ids_of_another_cluster(db, s3, by_xid, bucket):
    """A restored watermark is of no use there, whatever ids the cluster has."""
    select(db, "INSERT INTO increments VALUES (1)")
    assert ids(increment(db, s3, bucket)) == [1]
    select(db, "UPDATE onboard_watermarks SET system_identifier = '1'")
    refused(db, s3, bucket, "is a transaction id of another cluster")
    assert value(db, "SELECT onboard_reset_watermark('increments', keep => true)") == 1
    assert increment(db, s3, bucket) is None
    select(db, "UPDATE onboard_watermarks SET value = '4294967296000'")
    (found,) = land_all(db)
    assert "a transaction id that this cluster has not reached" in (
        found["error"]
    )
    assert "onboard_reset_watermark('increments')" in "".join(db.notices)
    select(db, "SELECT onboard_reset_watermark('increments')")
    assert ids(increment(db, s3, bucket)) == [1]


# The documentation


def test_the_recipe_of_transaction_ids(db, s3, table, bucket):
    section = (DOCS / "recipes.md").read_text()
    section = section.split("## Increments that miss nothing\n")[1]
    section = section.split("\n## ")[0]
    blocks = re.findall(r"```sql\n(.*?)```", section, re.S)
    assert len(blocks) == 2
    table("id int PRIMARY KEY, total numeric", "orders")
    select(db, "INSERT INTO orders VALUES (1, 10), (2, 20)")
    try:
        for block in blocks:
            select(db, block.replace("my-lake", bucket))
        (found,) = land_all(db)
        assert (found["status"], found["rows"]) == ("done", 2)
        select(db, "UPDATE orders SET total = 30 WHERE id = 2")
        assert land_all(db)[0]["rows"] == 1
        assert land_all(db)[0]["status"] == "empty"
    finally:
        select(db, "DROP FUNCTION IF EXISTS note_xid CASCADE")
