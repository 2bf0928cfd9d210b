"""Objects of an earlier attempt of a run stay known in later attempts that have
not replaced them: row 74 of docs/faults.md.

The later attempt has the id of the earlier one, and fails.
"""

import json

import pytest

from lib import process
from lib.exports import (
    Running, body, failure, key_of, keys, rows, select,
)
from lib.proxy import Response

SERIAL, WORKERS = 0, 4
R1 = "4ae3d5f2-1c10-4a4f-8d3a-000000000074"
MANIFEST, SUCCESS = f"_onboard/{R1}/manifest.json", f"_onboard/{R1}/_SUCCESS"
EARLIER = "(an object of an earlier attempt may be there)"
# A query that fails, but only after the lock is released.
HELD = (
    "SELECT 1 / CASE WHEN pg_advisory_xact_lock(48) IS NULL THEN 1 ELSE 0 END"
    " AS n"
)
SELECT_NOTHING = "SELECT 1 AS n WHERE false"


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
    registry("a", "SELECT 1 AS n", bucket)
    registry("b", "SELECT 2 AS n", bucket)


def change(db, name, query):
    select(db, "UPDATE onboard_tables SET query = %s WHERE name = %s",
           (query, name))


def run_all(connection, **options):
    """Calls onboard_all() under the run id; returns its rows by name."""
    found = select(
        connection, "SELECT * FROM onboard_all(NULL, %s, %s)",
        (json.dumps(options), R1),
    )
    return {row["name"]: row for row in found}


def kept(observer, name):
    """The row of the history."""
    (row,) = select(
        observer, "SELECT * FROM onboard_runs WHERE run_id = %s AND name = %s",
        (R1, name),
    )
    return row


def uri_of(bucket, name):
    return f"s3://{bucket}/{key_of(name)}"


def table_of(s3, bucket, name):
    """The table's entry in the manifest."""
    manifest = json.loads(body(s3, bucket, MANIFEST))
    (table,) = (one for one in manifest["tables"] if one["name"] == name)
    return table


def is_kept(observer, s3, bucket, row):
    """Asserts that result, history and manifest name the earlier attempt's
    object."""
    uri = uri_of(bucket, row["name"])
    for one in (row, kept(observer, row["name"])):
        assert (one["status"], one["uri"]) == ("failed", uri)
        assert (one["files"], one["rows"], one["bytes"]) == (0, 0, 0)
        assert one["error"].endswith(EARLIER)
        assert one["error"].count(EARLIER) == 1
    if SUCCESS not in keys(s3, bucket) and MANIFEST in keys(s3, bucket):
        table = table_of(s3, bucket, row["name"])
        assert (table["status"], table["uri"], table["object"]) == (
            "failed", uri, "earlier"
        )


@pytest.mark.parametrize(
    "how", ["query", "not to be replaced", "no SELECT", "not registered"]
)
def test_74_a_table_that_had_landed(
    db, observer, s3, two, workers, bucket, how
):
    """The object is still there, whatever keeps later attempts from replacing
    it."""
    assert run_all(db, manifest=True)["b"]["status"] == "done"
    options = {"manifest": True}
    if how == "not to be replaced":
        options["overwrite"] = "error"
    else:
        change(db, "b", {
            "query": "SELECT 1 / 0 AS n", "no SELECT": "DELETE FROM missing",
            "not registered": "SELECT * FROM missing",
        }[how])
    for _ in range(2):
        is_kept(observer, s3, bucket, run_all(db, **options)["b"])
        assert body(s3, bucket, key_of("b")) == b"n\n2\n"
    change(db, "b", "SELECT 3 AS n")
    found = run_all(db, manifest=True)["b"]
    for one in (found, kept(observer, "b"), table_of(s3, bucket, "b")):
        assert (one["status"], one["uri"]) == ("done", uri_of(bucket, "b"))
    assert kept(observer, "b")["error"] is None


def test_74_a_table_of_unknown_fate(
    db, observer, s3, two, workers, bucket, proxied, proxy
):
    """No request has shown that the object does not exist."""
    select(db, "SET onboard.retry_deadline = '100ms'")
    change(db, "b", rows(6))
    proxy.rule("POST", "uploadId=", drop="response")
    proxy.rule("HEAD", times=None, response=Response(403))
    found = run_all(db, server=proxied, part_size="5MB", manifest=True)["b"]
    assert found["error"].endswith("(the object may have been written)")
    assert key_of("b") in keys(s3, bucket)
    proxy.clear()
    change(db, "b", "SELECT 1 / 0 AS n")
    is_kept(observer, s3, bucket, run_all(db, manifest=True)["b"])


@pytest.mark.parametrize("first", ["in doubt", "done"])
def test_74_a_table_that_is_left_out(
    db, observer, s3, two, bucket, proxied, proxy, first
):
    """The run was published in part, and is repeated; nothing is sent then."""
    together = {"publish": "together"}
    if first == "done":
        run_all(db, **together)
    else:
        proxy.rule("POST", key_of("b") + ".*uploadId=", drop="response")
        proxy.rule("HEAD", key_of("b"), times=None, response=Response(403))
        error = failure(run_all, db, server=proxied, connections=1, **together)
        assert 'Perhaps visible: "b"' in error.diag.message_detail
        before = kept(observer, "b")
        assert (before["status"], before["sqlstate"]) == ("failed", "08007")
        assert before["uri"] == uri_of(bucket, "b")
    change(db, "a", "DELETE FROM missing")
    for _ in range(2):
        found = run_all(db, **together)
        for one in (found["b"], kept(observer, "b")):
            assert (one["status"], one["uri"], one["error"]) == (
                "withheld", uri_of(bucket, "b"), None
            )
        is_kept(observer, s3, bucket, found["a"])
    # A table whose parts have landed, and which is withheld, reports the same.
    change(db, "a", "SELECT 1 / 0 AS n")
    found = run_all(db, **together)
    for one in (found["b"], kept(observer, "b")):
        assert (one["status"], one["uri"]) == ("withheld", uri_of(bucket, "b"))
    change(db, "a", "SELECT 1 AS n")
    assert {row["status"] for row in run_all(db, **together).values()} == {
        "done"
    }


def test_74_nothing_that_was_withheld(db, observer, s3, two, workers, bucket):
    """If there never was an object, none is named."""
    change(db, "a", "SELECT 1 / 0 AS n")
    for _ in range(2):
        found = run_all(db, publish="together")
        for name, status in (("a", "failed"), ("b", "withheld")):
            for one in (found[name], kept(observer, name)):
                assert (one["status"], one["uri"]) == (status, None)
    assert "earlier" not in found["a"]["error"]


def test_74_no_rows_any_more(db, observer, s3, two, workers, bucket):
    """This is a success, which defines the content of the run."""
    run_all(db, manifest=True)
    change(db, "b", SELECT_NOTHING)
    found = run_all(db, manifest=True)["b"]
    for one in (found, kept(observer, "b"), table_of(s3, bucket, "b")):
        assert (one["status"], one["uri"]) == ("empty", None)


def test_74_while_it_runs(db, observer, s3, two, bucket):
    """The object stays known while the table runs, and when its worker is
    terminated."""
    run_all(db)
    change(db, "b", HELD)
    select(observer, "SELECT pg_advisory_lock(48)")
    waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory'"
    with Running(
        db, "SELECT * FROM onboard_all(run_id => %s)", (R1,)
    ) as run:
        (waiting,) = process.wait_until(
            lambda: select(observer, waits), 30, "it waits"
        )
        running = kept(observer, "b")
        assert (running["status"], running["uri"], running["error"]) == (
            "running", uri_of(bucket, "b"), None
        )
        select(observer, "SELECT pg_terminate_backend(%s)", (waiting["pid"],))
        found = {row["name"]: row for row in run.rows()}
    select(observer, "SELECT pg_advisory_unlock(48)")
    is_kept(observer, s3, bucket, found["b"])


def test_74_landed_meanwhile(pg, db, observer, s3, two, bucket):
    """Another call exports the table after this one has read the history."""
    change(db, "b", HELD)
    select(observer, "SELECT pg_advisory_lock(48)")
    waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory'"
    with Running(
        db, "SELECT * FROM onboard_all(run_id => %s)", (R1,)
    ) as run:
        process.wait_until(lambda: select(observer, waits), 30, "it waits")
        select(observer, "SELECT onboard_table('b', 'SELECT 5 AS n', %s,"
               " run_id => %s)", (bucket, R1))
        assert kept(observer, "b")["status"] == "done"
        select(observer, "SELECT pg_advisory_unlock(48)")
        run.rows()
    row = kept(observer, "b")
    assert (row["status"], row["uri"]) == ("failed", uri_of(bucket, "b"))
    assert row["error"].endswith(EARLIER)


def test_74_an_id_that_is_taken(db, s3, two, alice, workers, bucket):
    """The id stays taken even if the last attempt has failed: another role's
    run would write the same objects."""
    run_all(db)
    change(db, "a", "SELECT 1 / 0 AS n")
    change(db, "b", "SELECT 1 / 0 AS n")
    run_all(db)
    error = failure(
        select, alice.session,
        "SELECT onboard_table('b', 'SELECT 6', %s, %s, %s)",
        (bucket, json.dumps({"server": alice.server}), R1),
    )
    assert error.pgcode == "42501"
    assert "is another role's" in str(error)


def test_74_a_row_that_could_not_be_written(pg, db, observer, s3, two, bucket):
    """The WARNING that replaces the row says the same."""
    run_all(db)
    change(db, "b", "SELECT 1 / 0 AS n")
    session = pg.connect("onboard")
    select(session, "SET onboard.parallel_tables = 0; BEGIN ISOLATION LEVEL"
           " REPEATABLE READ; SELECT count(*) FROM pg_class")
    select(observer, "UPDATE onboard_history SET pid = pid")
    select(session, "SELECT * FROM onboard_all(run_id => %s)", (R1,))
    text = "".join(session.notices)
    session.close()
    assert 'the end of "b" could not be written' in text
    assert f'It is failed; an object may be at "{uri_of(bucket, "b")}".' in text
