"""An export acts on its own query, whatever else is planned or run meanwhile.

Parse analysis calls the input functions of literals, and these call the CHECKs
of domains, which may run queries; planning folds constants, which may run
queries, too.  None of these queries is the export's, and none may keep any
state of it.
"""

import time

import psycopg2
import pytest

from lib.exports import (
    ABORT_BOUND, EAGER, Running, body, copy, failure, key_of, keys, land,
    no_trace, no_upload_left, rows, select, value, wait_for_sleep,
)
from lib.postgres import backend_rss
from lib.process import wait_until

# Tables that the planner scans in parallel, a function that reads one of them,
# and types whose literals call that function.
SETUP = """
    CREATE TABLE own AS
        SELECT g AS a, 'row ' || g AS t FROM generate_series(1, 100000) g;
    CREATE TABLE other AS
        SELECT 'secret ' || g AS s FROM generate_series(1, 100000) g;
    CREATE FUNCTION looks(x int) RETURNS bool STABLE LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM s FROM other;
            RETURN FOUND AND 100000 = (SELECT count(*) FROM other);
        END $$;
    CREATE FUNCTION folds(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql
        PARALLEL SAFE AS $$ BEGIN PERFORM s FROM other; RETURN x; END $$;
    CREATE FUNCTION sets(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql
        PARALLEL SAFE AS $$
        BEGIN
            PERFORM set_config('parallel_tuple_cost', '7', true);
            RETURN x;
        END $$;
    CREATE FUNCTION refuses(x int) RETURNS bool STABLE LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM s FROM other;
            RETURN x > 1 / (x - x);
        END $$;
    CREATE FUNCTION process(x int) RETURNS int LANGUAGE plpgsql PARALLEL SAFE
        AS $$ BEGIN RETURN pg_backend_pid(); END $$;
    CREATE DOMAIN looked AS int CHECK (looks(VALUE));
    CREATE DOMAIN refused AS int CHECK (refuses(VALUE));
    CREATE TYPE holder AS (a looked, b text);
    CREATE TYPE span AS RANGE (SUBTYPE = looked);
    ANALYZE own, other;
"""
DROP = """
    DROP TABLE own, other;
    DROP TYPE holder, span;
    DROP DOMAIN looked, refused;
    DROP FUNCTION looks, folds, sets, refuses, process;
"""

QUERIES = {
    "number first": "SELECT 5 AS a, '{1}'::looked[] AS b",
    "text first": "SELECT 'hello' AS h WHERE 1 = ANY ('{1}'::looked[])",
    "null first": "SELECT NULL::bytea AS n, '{1}'::looked[] AS b",
    "bytea alone": r"SELECT '\xdead'::bytea AS b WHERE '{1}'::looked[] <> '{}'",
    "row": "SELECT 7 AS a, '(1,x)'::holder AS h",
    "array of rows": """SELECT 7 AS a, '{"(1,x)"}'::holder[] AS h""",
    "range": "SELECT 7 AS a, '[1,2)'::span AS r",
    "multirange": "SELECT 7 AS a, '{[1,2)}'::span_multirange AS r",
    "own table": "SELECT a, t FROM own WHERE a = ANY ('{7,8,9}'::looked[])",
    "folded": "SELECT a, t FROM own WHERE a % folds(1000) = 0",
    "sets": "SELECT a, t FROM own WHERE a % sets(1000) = 0",
    "both": "SELECT t FROM own WHERE a % folds(1000) = ANY ('{7}'::looked[])",
}


@pytest.fixture(scope="module", autouse=True)
def objects(pg):
    pg.psql(SETUP, "onboard")
    yield
    pg.psql(DROP, "onboard")


@pytest.fixture
def eager(db):
    select(db, EAGER)
    return db


@pytest.fixture
def started(pg):
    """Fails the test if the server has restarted."""
    def start_time():
        with pg.connect("onboard") as connection:
            return value(connection, "SELECT pg_postmaster_start_time()")

    def restarts():
        return pg.log_text().count("all server processes terminated")

    before = start_time(), restarts()
    yield
    assert (start_time(), restarts()) == before


def assert_lands(db, s3, bucket, query, **options):
    result = land(db, "t", query, bucket, **options)
    lines = body(s3, bucket, key_of("t")).splitlines()
    want = copy(db, query).splitlines()
    assert lines[0] == want[0]
    assert sorted(lines[1:]) == sorted(want[1:])
    assert result["rows"] == len(want) - 1


def assert_session_is_clean(db):
    """Asserts that queries planned meanwhile run without any trace of the
    export."""
    assert value(db, "SELECT looks(1)") is True
    assert value(db, "SELECT folds(3)") == 3
    assert value(db, "SHOW parallel_tuple_cost") == "0.1"
    assert value(db, "SHOW max_parallel_workers_per_gather") == "2"
    plan = select(db, "EXPLAIN SELECT s FROM other")
    assert "OnboardSink" not in str(plan)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
@pytest.mark.parametrize("parallel", ["auto", 2, "off"])
def test_lands_its_own_rows(eager, s3, bucket, started, query, parallel):
    assert_lands(eager, s3, bucket, query, parallel=parallel)
    assert_session_is_clean(eager)


def test_cached_plans_stay_clean(eager, s3, bucket, started):
    """A function whose plan was first made within an export still works."""
    for parallel in ("auto", "off", 2):
        assert_lands(
            eager, s3, bucket, QUERIES["own table"], parallel=parallel
        )
        assert_lands(
            eager, s3, bucket, "SELECT a FROM own WHERE looks(a) LIMIT 3",
            parallel=parallel,
        )
    assert_session_is_clean(eager)


def test_off_is_off(eager, s3, bucket):
    """This holds for the query's own scan, whatever was planned before."""
    query = (
        "SELECT process(a) AS p FROM own WHERE 1 = ANY ('{1}'::looked[])"
    )
    land(eager, "t", query, bucket, parallel="off")
    lines = set(body(s3, bucket, key_of("t")).split()[1:])
    assert lines == {str(eager.info.backend_pid).encode()}
    # The leader could have exported every row before a worker has started.
    select(eager, "SET parallel_leader_participation = off")
    land(eager, "t", query, bucket, parallel=2)
    others = set(body(s3, bucket, key_of("t")).split()[1:])
    assert others and lines.isdisjoint(others)


@pytest.mark.parametrize("query", [
    "SELECT 5 AS a, '{1}'::refused[] AS b",
    "SELECT a FROM own WHERE a = ANY ('{1}'::refused[])",
], ids=["alone", "table"])
def test_error_in_a_check(eager, rgw, s3, bucket, started, query):
    for _ in range(2):
        error = failure(land, eager, "t", query, bucket)
        assert error.pgcode == "22012"
        assert 'export of "t"' in error.diag.context
    no_trace(rgw, bucket)
    assert_session_is_clean(eager)
    assert_lands(eager, s3, bucket, "SELECT a, t FROM own", parallel=2)


def test_caught_and_gone_on(eager, s3, bucket, started):
    """In one statement, an export fails, the error is caught, and another one
    lands."""
    select(eager, f"""DO $do$ BEGIN
        BEGIN
            PERFORM onboard_table('t', $$SELECT '{{1}}'::refused[]$$,
                '{bucket}');
        EXCEPTION WHEN division_by_zero THEN NULL;
        END;
        PERFORM s FROM other;
        PERFORM onboard_table('t', $$SELECT a, t FROM own$$, '{bucket}');
    END $do$""")
    landed = body(s3, bucket, key_of("t")).splitlines()
    want = copy(eager, "SELECT a, t FROM own").splitlines()
    assert sorted(landed) == sorted(want)
    assert_session_is_clean(eager)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_explain(eager, started, query):
    """onboard_explain() plans only the query, and leaves nothing behind."""
    lines = [
        row["line"] for row in
        select(eager, "SELECT line FROM onboard_explain(%s) line", (query,))
    ]
    own = "FROM own" in query and "sets" not in query
    assert lines[0].startswith("Sink: below Gather") == own
    assert ("OnboardSink" in "\n".join(lines)) == own
    assert_session_is_clean(eager)


def test_explain_equals_postgresql_s(eager):
    query = "SELECT t, count(*) FROM own GROUP BY t ORDER BY 2"
    lines = [
        row["line"] for row in
        select(eager, "SELECT line FROM onboard_explain(%s) line", (query,))
    ]
    plan = select(eager, f"EXPLAIN {query}")
    assert lines[1:] == [row["QUERY PLAN"] for row in plan]


def test_rows_that_a_view_locks_are_refused(eager, rgw, bucket):
    """As in SPI, the query is read-only."""
    select(eager, "CREATE VIEW locks AS SELECT a FROM own FOR UPDATE")
    error = failure(land, eager, "t", "SELECT * FROM locks", bucket)
    select(eager, "DROP VIEW locks")
    assert error.pgcode == "0A000"
    assert "not allowed in a non-volatile function" in str(error)
    no_trace(rgw, bucket)


# Exports in exports


DEEP = """
    CREATE FUNCTION deep(n int, bucket text) RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            IF n > 0 THEN
                PERFORM onboard_table('deep' || n,
                    format('SELECT deep(%s, %L)', n - 1, bucket), bucket);
            END IF;
            RETURN n;
        END $$
"""


@pytest.fixture
def deep(db):
    select(db, DEEP)
    yield
    select(db, "DROP FUNCTION deep")


def test_nested_as_deep_as_may_be(db, s3, bucket, started, deep):
    assert value(db, "SELECT deep(8, %s)", (bucket,)) == 8
    assert len(keys(s3, bucket)) == 8
    assert body(s3, bucket, key_of("deep8")) == b"deep\n7\n"


@pytest.mark.parametrize("depth", [9, 17, 30])
def test_nested_too_deep(db, rgw, bucket, started, deep, depth):
    for _ in range(2):
        error = failure(select, db, "SELECT deep(%s, %s)", (depth, bucket))
        assert error.pgcode == "54000"
        assert error.diag.message_primary == "exports are nested too deeply"
    no_trace(rgw, bucket)
    # the count of nested exports is back to zero
    assert value(db, "SELECT deep(8, %s)", (bucket,)) == 8


def test_terminated_while_nested(pg, db, observer, rgw, bucket, started):
    """Each open upload is aborted."""
    slow = rows(
        20, "CASE g WHEN 18000 THEN pg_sleep(300)::text"
        " ELSE repeat('x', 1000) END",
    )
    select(db, f"""
        CREATE FUNCTION inner_export(g int) RETURNS text LANGUAGE plpgsql AS $f$
        BEGIN
            IF g = 18000 THEN
                PERFORM onboard_table('inner', $q${slow}$q$, '{bucket}');
            END IF;
            RETURN repeat('x', 1000);
        END $f$""")
    connection = pg.connect("onboard")
    query = "SELECT inner_export(g) FROM generate_series(1, 20000) g"
    with Running(
        connection, "SELECT onboard_table('outer', %s, %s)", (query, bucket)
    ) as export:
        pid = wait_for_sleep(observer)
        assert len(rgw.unfinished(bucket)) == 2
        select(observer, "SELECT pg_terminate_backend(%s)", (pid,))
        assert isinstance(export.error(), psycopg2.OperationalError)
    no_trace(rgw, bucket)
    select(db, "DROP FUNCTION inner_export")


def test_nested_aborts_share_their_time(
    db, observer, proxy, proxied, rgw, bucket, started
):
    """The store responds to none of the Aborts; they share one time limit."""
    select(db, f"""
        CREATE FUNCTION pg_temp.level(n int) RETURNS text LANGUAGE plpgsql AS $f$
        BEGIN
            IF n = 0 THEN
                PERFORM pg_sleep(300);
            END IF;
            PERFORM onboard_table('level' || n, format('SELECT CASE g WHEN 7000'
                ' THEN pg_temp.level(%s) ELSE repeat(''x'', 1000) END AS t'
                ' FROM generate_series(1, 8000) g', n - 1), '{bucket}',
                '{{"server": "{proxied}", "part_size": "5MB"}}');
            RETURN n;
        END $f$""")
    with Running(db, "SELECT pg_temp.level(4)") as export:
        wait_for_sleep(observer)
        assert len(rgw.unfinished(bucket)) == 4
        proxy.rule(
            "DELETE", times=None, hold=True, when="request", drop="before"
        )
        before = time.monotonic()
        select(
            observer, "SELECT pg_cancel_backend(%s)", (db.info.backend_pid,)
        )
        assert export.error().pgcode == "57014"
        assert time.monotonic() - before < 2 * ABORT_BOUND
    assert len([n for n in db.notices if "could not abort" in n]) == 4
    swept = select(
        db, "SELECT * FROM onboard_abort_uploads(%s, older_than => '0')",
        (bucket,),
    )
    assert len(swept) == 4


# State that a query leaves in the session


def test_callback_that_stays(pg, s3, bucket, started):
    """pg_backup_start() registers a callback for the backend's end."""
    connection = pg.connect("onboard")
    pid = connection.info.backend_pid
    result = land(
        connection, "t", "SELECT length(pg_backup_start('l', true)::text) > 0"
        " AS started", bucket,
    )
    assert result["status"] == "done"
    assert body(s3, bucket, key_of("t")) == b"started\nt\n"
    # one more export, now that another callback is the latest
    assert land(connection, "u", "SELECT 1 AS a", bucket)["rows"] == 1
    connection.close()
    with pg.connect("onboard") as observer:
        wait_until(
            lambda: not select(
                observer, "SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)
            ), 30, "the session has ended",
        )
    assert keys(s3, bucket) == [key_of("t"), key_of("u")]


@pytest.mark.parametrize("parallel", ['"off"', "2"])
@pytest.mark.parametrize("within", ["transaction", "subtransaction"])
def test_terminated_with_temporary_tables(
    eager, observer, rgw, bucket, started, parallel, within
):
    """The callback that removes temporary tables at the backend's end aborts
    the transaction before the running export is given up."""
    land(eager, "first", "SELECT 1 AS a", bucket)
    select(eager, "CREATE TEMPORARY TABLE passing (a int)")
    call = f"""
        PERFORM onboard_table('t', $$
            SELECT a, repeat(t, 20) AS r, CASE WHEN a = 99000
                THEN pg_sleep(300)::text END AS s FROM own $$, '{bucket}',
            '{{"parallel": {parallel}, "part_size": "5MB"}}');"""
    if within == "subtransaction":
        call = f"BEGIN {call} EXCEPTION WHEN division_by_zero THEN END;"
    with Running(eager, f"DO $do$ BEGIN {call} END $do$") as export:
        wait_for_sleep(observer)
        assert len(rgw.unfinished(bucket)) == 1
        select(
            observer, "SELECT pg_terminate_backend(%s)",
            (eager.info.backend_pid,),
        )
        assert isinstance(export.error(), psycopg2.OperationalError)
    no_upload_left(rgw, bucket)


@pytest.mark.parametrize("parallel", ["off", 2])
def test_buffers_are_freed_before_rollback(eager, rgw, bucket, parallel):
    """A session that waits in a failed transaction holds no buffers of parts.
    """
    good = "SELECT a, repeat(t, 20) AS r FROM own"
    bad = "SELECT a, repeat(t, 20) AS r, 1 / (99000 - a) AS q FROM own"
    options = {"parallel": parallel, "part_size": "5MB"}
    pid = eager.info.backend_pid
    land(eager, "t", good, bucket, **options)
    before = backend_rss(pid)["anon"]
    select(eager, "BEGIN")
    assert failure(land, eager, "u", bad, bucket, **options).pgcode == "22012"
    held = backend_rss(pid)["anon"] - before
    select(eager, "ROLLBACK")
    assert held < 4 * 1024 * 1024
    no_upload_left(rgw, bucket)


# Calls in a parallel worker


CALLS = {
    "table": "SELECT onboard_table('w', 'SELECT 1 AS a', '{bucket}')",
    "all": "SELECT onboard_all()",
    "check": "SELECT onboard_check('{bucket}')",
    "abort": "SELECT onboard_abort_uploads('{bucket}', older_than => '1 day')",
    "submit": "SELECT onboard_submit('w', 'SELECT 1 AS a', '{bucket}')",
    "submit_all": "SELECT onboard_submit_all()",
    "explain": "SELECT onboard_explain('SELECT 1 AS a')",
    "status": "SELECT onboard_status(run_id) FROM onboard_history",
}


@pytest.mark.parametrize("sql", CALLS.values(), ids=CALLS.keys())
def test_refused_in_a_parallel_worker(eager, s3, bucket, proxied, proxy, sql):
    """The call is refused before anything is sent."""
    land(eager, "before", "SELECT 1 AS a", bucket)
    select(eager, f"SET onboard.server = {proxied}")
    statement = sql.format(bucket=bucket).replace("'", "''")
    select(eager, f"""
        CREATE FUNCTION sends(a int) RETURNS int LANGUAGE plpgsql PARALLEL SAFE
        AS $$ BEGIN EXECUTE '{statement}'; RETURN a; END $$""")
    select(eager, "SET parallel_leader_participation = off")
    error = failure(select, eager, "SELECT sends(a) FROM own")
    select(eager, "DROP FUNCTION sends")
    assert error.pgcode == "25000", error
    assert "during a parallel operation" in error.diag.message_primary
    assert "PARALLEL UNSAFE" in error.diag.message_hint
    assert not proxy.requests()
    assert keys(s3, bucket) == [key_of("before")]
