"""Exports that end badly, by an error, a cancel or a time-out: rows 36, 37, 38,
41, 48 and 50 of docs/faults.md.

Each time, nothing is visible in S3, the SQLSTATE is right, the error comes in
time, and the session remains usable.
"""

import os
import socket
import time

import pytest

from landing import assert_same
from lib import process
from lib.exports import (
    Running, body, call, copy, failure, key_of, keys, land, network_event,
    no_trace, no_upload_left, rows, select, value, wait_for_event,
    wait_for_network,
)
from lib.postgres import backend_rss
from lib.proxy import s3_error

MB = 1024 * 1024
SMALL = "SELECT 1 AS one"
BIG = rows(20)  # three parts
SLEEP = "CASE WHEN g = {} THEN pg_sleep(300)::text ELSE repeat('x', 1000) END"
BAD = "1 / (g - {}), repeat('x', 1000)"
SLOW_DOWN = s3_error(503, "SlowDown", headers={"Retry-After": "60"})

PROMPT = 4  # seconds: less than any time-out that could end it, too

EARLY, LATE = 10, 18000  # rows of BIG: before and after parts were sent


@pytest.fixture
def deaf_endpoint():
    """An address that accepts no connection: its queue of pending ones is full.
    """
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    while True:
        client = socket.socket()
        client.settimeout(0.2)
        waiting.append(client)
        try:
            client.connect(listener.getsockname())
        except TimeoutError:
            break
    yield "http://127.0.0.1:%d" % listener.getsockname()[1]
    for sock in [listener, *waiting]:
        sock.close()


@pytest.fixture
def mute_endpoint():
    """An address that accepts connections and never sends a byte."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield "http://127.0.0.1:%d" % listener.getsockname()[1]


# Stages: points at which an export stays


class Stage:
    """A query and its server, and how to wait until the export is at this
    stage."""

    def __init__(self, query, server, reached, **options):
        self.query = query
        self.options = {"server": server, **options}
        self.reached = reached  # called with the backend's pid


class Stages:
    """Makes a Stage of a given name."""

    def __init__(self, request):
        self._get = request.getfixturevalue
        self.observer = self._get("observer")

    def __call__(self, name):
        method, *arguments = STAGES[name]
        return method(self, *arguments)

    def computing(self, row):
        return Stage(
            rows(20, SLEEP.format(row)), "s3", self._waits("PgSleep")
        )

    def held(self, query, method, pattern, options):
        """The proxy holds a request before the server receives any of it."""
        rule = self._get("proxy").rule(
            method, pattern, times=None, hold=True, when="request",
            drop="before",
        )
        reached = lambda pid: rule.wait()  # noqa: E731
        return Stage(query, self._get("proxied"), reached, **options)

    def unanswered(self, method, pattern):
        """The server has acted, but the proxy holds its response."""
        rule = self._get("proxy").rule(
            method, pattern, times=None, hold=True, when="response"
        )
        return Stage(BIG, self._get("proxied"), lambda pid: rule.wait())

    def backing_off(self, query, method, pattern):
        proxy = self._get("proxy")
        proxy.rule(method, pattern, times=None, response=SLOW_DOWN)

        def reached(pid):
            proxy.wait_for(method, pattern)
            wait_for_network(self.observer, pid)

        return Stage(query, self._get("proxied"), reached)

    def unreachable(self, query, endpoint):
        rgw = self._get("rgw")
        server = self._get("make_server")(
            self._get(endpoint), rgw.access_key, rgw.secret_key
        )
        return Stage(query, server, self._waits(network_event(self.observer)))

    def _waits(self, event):
        return lambda pid: wait_for_event(self.observer, pid, event)


ONE_BY_ONE = {"connections": 1, "part_size": "5MB"}
STAGES = {
    "computing-early": (Stages.computing, EARLY),
    "computing-late": (Stages.computing, LATE),
    "part-stuck": (Stages.held, BIG, "PUT", "partNumber=2", {}),
    "no-room": (Stages.held, rows(300), "PUT", "partNumber=", ONE_BY_ONE),
    "parts-unanswered": (Stages.unanswered, "PUT", "partNumber="),
    "complete-stuck": (Stages.held, BIG, "POST", "uploadId=", {}),
    "object-stuck": (Stages.held, SMALL, "PUT", "inbox", {}),
    "create-backs-off": (Stages.backing_off, BIG, "POST", "uploads"),
    "part-backs-off": (Stages.backing_off, BIG, "PUT", "partNumber=1"),
    "object-backs-off": (Stages.backing_off, SMALL, "PUT", "inbox"),
    "connect-hangs-small": (Stages.unreachable, SMALL, "deaf_endpoint"),
    "connect-hangs-big": (Stages.unreachable, BIG, "deaf_endpoint"),
    "server-mute": (Stages.unreachable, SMALL, "mute_endpoint"),
}


@pytest.fixture
def stages(request):
    return Stages(request)


# libpq only shows the client of a terminated backend that the connection was
# closed.
TERMINATING = "FATAL:  terminating connection due to administrator command"


def logged(cluster, pid, text):
    """Whether the backend wrote such a line into the log."""
    return any(
        f"[{pid}]" in line and text in line
        for line in cluster.log_text().splitlines()
    )


def assert_usable(connection, s3, bucket):
    """Asserts that the session exports at once, and that only this object
    landed."""
    assert land(connection, "again", SMALL, bucket)["status"] == "done"
    assert keys(s3, bucket) == [key_of("again")]
    assert body(s3, bucket, key_of("again")) == b"one\n1\n"


# Errors of the query


@pytest.mark.parametrize("row", [EARLY, LATE])
def test_41_error_in_the_query(db, rgw, s3, bucket, row):
    error = failure(land, db, "bad", rows(20, BAD.format(row)), bucket)
    assert error.pgcode == "22012"
    assert 'export of "bad"' in error.diag.context
    no_trace(rgw, bucket)
    assert_usable(db, s3, bucket)


def test_41_error_before_the_first_row(db, rgw, s3, bucket):
    error = failure(land, db, "bad", "SELECT nonesuch", bucket)
    assert error.pgcode == "42703"
    no_trace(rgw, bucket)
    assert_usable(db, s3, bucket)


@pytest.mark.parametrize("row", [EARLY, LATE])
def test_41_error_is_caught(db, rgw, s3, bucket, row):
    """PL/pgSQL catches the error, and then exports again."""
    select(
        db,
        """
        CREATE FUNCTION pg_temp.caught(query text, bucket text) RETURNS text
        LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM onboard_table('bad', query, bucket);
            RETURN 'no error';
        EXCEPTION WHEN others THEN
            PERFORM onboard_table('again', 'SELECT 1 AS one', bucket);
            RETURN sqlstate;
        END $$
        """,
    )
    sql = "SELECT pg_temp.caught(%s, %s)"
    for _ in range(2):
        state = value(db, sql, (rows(20, BAD.format(row)), bucket))
        assert state == "22012"
        assert rgw.unfinished(bucket) == []
        assert keys(s3, bucket) == [key_of("again")]
    assert_usable(db, s3, bucket)


@pytest.mark.parametrize("row", [EARLY, LATE])
def test_41_error_after_a_savepoint(db, rgw, s3, bucket, row):
    select(db, "BEGIN; SAVEPOINT before")
    error = failure(land, db, "bad", rows(20, BAD.format(row)), bucket)
    assert error.pgcode == "22012"
    select(db, "ROLLBACK TO before")
    no_trace(rgw, bucket)
    assert land(db, "again", SMALL, bucket)["rows"] == 1
    select(db, "COMMIT")
    assert value(
        db, "SELECT count(*) FROM onboard_runs WHERE uri LIKE %s",
        (f"s3://{bucket}/%",),
    ) == 1
    assert_usable(db, s3, bucket)


def test_41_error_of_another_export(db, rgw, s3, bucket):
    """The second of two exports in a statement fails; S3 has no ROLLBACK."""
    sql = "SELECT onboard_table('good', %s, %s), onboard_table('bad', %s, %s)"
    error = failure(
        select, db, sql, (BIG, bucket, rows(20, BAD.format(LATE)), bucket)
    )
    assert error.pgcode == "22012"
    no_upload_left(rgw, bucket)
    assert keys(s3, bucket) == [key_of("good")]
    assert body(s3, bucket, key_of("good")) == copy(db, BIG)


@pytest.mark.parametrize("row", [EARLY, LATE])
def test_41_encoding_cannot_hold_a_character(db, rgw, s3, bucket, row):
    query = rows(
        20, f"CASE g WHEN {row} THEN 'snow \u2603' ELSE repeat('x', 1000) END"
    )
    error = failure(land, db, "t", query, bucket, encoding="LATIN1")
    assert error.pgcode == "22P05"
    assert 'has no equivalent in encoding "LATIN1"' in str(error)
    no_trace(rgw, bucket)
    text = "SELECT '\u00e4' AS text"
    land(db, "t", text, bucket, encoding="LATIN1")
    assert body(s3, bucket, key_of("t")) == b"text\n\xe4\n"


# Interrupts

CANCELLED = list(STAGES)
TERMINATED = [
    "computing-late", "part-stuck", "no-room", "complete-stuck",
    "part-backs-off", "connect-hangs-small", "object-stuck",
]
# The time-out is two seconds: exports reach these stages long before.
TIMED_OUT = ["computing-late", "part-stuck", "part-backs-off"]


@pytest.mark.parametrize("name", CANCELLED)
def test_36_cancel(db, rgw, s3, bucket, stages, observer, name):
    stage = stages(name)
    sql = call("ended", stage.query, bucket, **stage.options)
    with Running(db, *sql) as export:
        stage.reached(export.pid)
        started = time.monotonic()
        select(observer, "SELECT pg_cancel_backend(%s)", (export.pid,))
        error = export.error()
        elapsed = time.monotonic() - started
    assert error.pgcode == "57014"
    assert elapsed < PROMPT
    no_trace(rgw, bucket)
    assert_usable(db, s3, bucket)


@pytest.mark.parametrize("name", TERMINATED)
def test_38_terminate(pg, db, rgw, bucket, stages, observer, name):
    stage = stages(name)
    sql = call("ended", stage.query, bucket, **stage.options)
    with Running(db, *sql) as export:
        stage.reached(export.pid)
        started = time.monotonic()
        select(observer, "SELECT pg_terminate_backend(%s)", (export.pid,))
        export.error()
        process.wait_until(
            lambda: not os.path.exists(f"/proc/{export.pid}"), 10,
            "the backend ends", interval=0.01,
        )
        elapsed = time.monotonic() - started
    assert logged(pg, export.pid, TERMINATING)
    assert elapsed < PROMPT
    no_trace(rgw, bucket)
    # the server did not crash, so the other session is still there
    assert value(observer, "SELECT 1") == 1


@pytest.mark.parametrize("name", TIMED_OUT)
def test_37_statement_timeout(db, rgw, s3, bucket, stages, name):
    stage = stages(name)
    select(db, "SET statement_timeout = '2s'")
    sql = call("ended", stage.query, bucket, **stage.options)
    with Running(db, *sql) as export:
        started = time.monotonic()
        stage.reached(export.pid)
        error = export.error()
        elapsed = time.monotonic() - started
    assert error.pgcode == "57014"
    assert "statement timeout" in str(error)
    assert elapsed < 2 + PROMPT
    no_trace(rgw, bucket)
    assert_usable(db, s3, bucket)


@pytest.mark.parametrize("name", ["computing-late", "part-stuck"])
def test_36_cancel_is_caught(db, rgw, s3, bucket, stages, observer, name):
    """PL/pgSQL's OTHERS does not catch a cancel; a handler that names it can go
    on."""
    select(
        db,
        """
        CREATE FUNCTION pg_temp.caught(query text, bucket text, options jsonb)
        RETURNS text LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM onboard_table('ended', query, bucket, options);
            RETURN 'no error';
        EXCEPTION WHEN query_canceled THEN
            PERFORM onboard_table('again', 'SELECT 1 AS one', bucket);
            RETURN sqlstate;
        END $$
        """,
    )
    stage = stages(name)
    _, arguments = call("", stage.query, bucket, **stage.options)
    sql = "SELECT pg_temp.caught(%s, %s, %s) AS state"
    with Running(db, sql, arguments[1:]) as statement:
        stage.reached(statement.pid)
        select(observer, "SELECT pg_cancel_backend(%s)", (statement.pid,))
        assert statement.rows() == [{"state": "57014"}]
    no_upload_left(rgw, bucket)
    assert_usable(db, s3, bucket)


def test_36_cancel_after_a_savepoint(db, rgw, s3, bucket, stages, observer):
    stage = stages("part-stuck")
    select(db, "BEGIN; SAVEPOINT before")
    sql = call("ended", stage.query, bucket, **stage.options)
    with Running(db, *sql) as export:
        stage.reached(export.pid)
        select(observer, "SELECT pg_cancel_backend(%s)", (export.pid,))
        assert export.error().pgcode == "57014"
    select(db, "ROLLBACK TO before")
    no_trace(rgw, bucket)
    assert_usable(db, s3, bucket)
    select(db, "COMMIT")


def test_36_cancel_before_the_response_to_create(
    db, rgw, s3, bucket, proxy, proxied, observer
):
    """The upload exists before onboard knows its id, so the response is
    awaited."""
    rule = proxy.rule("POST", "uploads", hold=True, when="response")
    sql = call("ended", BIG, bucket, server=proxied)
    with Running(db, *sql) as export:
        rule.wait()
        select(observer, "SELECT pg_cancel_backend(%s)", (export.pid,))
        # The first wait leaves the latch to the clean-up's own wait.
        wait_for_event(observer, export.pid, None)
        assert len(rgw.unfinished(bucket)) == 1
        rule.release()
        assert export.error().pgcode == "57014"
    assert [r.status for r in proxy.requests("DELETE")] == [204]
    no_trace(rgw, bucket)
    assert_usable(db, s3, bucket)


def test_48_no_response_to_abort(
    db, rgw, s3, bucket, proxy, proxied, observer
):
    """A store that does not respond to Abort cannot keep the session."""
    parts = proxy.rule("PUT", "partNumber=2", hold=True, when="request",
                       drop="before")
    proxy.rule("DELETE", times=None, hold=True, when="request", drop="before")
    sql = call("ended", BIG, bucket, server=proxied)
    with Running(db, *sql) as export:
        parts.wait()
        started = time.monotonic()
        select(observer, "SELECT pg_cancel_backend(%s)", (export.pid,))
        assert export.error().pgcode == "57014"
        assert time.monotonic() - started < 7
    (upload,) = rgw.unfinished(bucket)
    warning = "".join(db.notices)
    assert "could not abort the upload" in warning
    assert upload["UploadId"] in warning
    swept = select(
        db, "SELECT * FROM onboard_abort_uploads(%s, older_than => '0')",
        (bucket,),
    )
    assert [row["upload_id"] for row in swept] == [upload["UploadId"]]
    assert_usable(db, s3, bucket)


@pytest.mark.parametrize(
    "query, method, pattern, dribble",
    [
        (SMALL, "PUT", "inbox", None),
        (BIG, "POST", "uploadId=", None),
        (BIG, "POST", "uploadId=", 0.02),
    ],
    ids=["object", "complete", "complete-dribbles"],
)
def test_36_cancel_too_late(
    db, rgw, s3, bucket, proxy, proxied, observer, query, method, pattern,
    dribble,
):
    """The store has the object when the cancel arrives: the object is reported.
    """
    rule = proxy.rule(method, pattern, hold=True, dribble=dribble)
    sql = call("late", query, bucket, server=proxied)
    with Running(db, *sql) as export:
        rule.wait()
        select(observer, "SELECT pg_cancel_backend(%s)", (export.pid,))
        assert export.error().pgcode == "57014"
    assert "was written nevertheless" in "".join(db.notices)
    no_upload_left(rgw, bucket)
    assert body(s3, bucket, key_of("late")) == copy(db, query)


# The session or the whole server ends


@pytest.mark.parametrize("name", ["computing-late", "part-stuck", "no-room"])
def test_37_client_goes_away(pg, rgw, bucket, stages, observer, name):
    stage = stages(name)
    client = pg.connect("onboard")
    select(client, "SET client_connection_check_interval = '100ms'")
    sql = call("ended", stage.query, bucket, **stage.options)
    with Running(client, *sql) as export:
        stage.reached(export.pid)
        link = socket.socket(fileno=os.dup(client.fileno()))
        link.shutdown(socket.SHUT_RDWR)
        link.close()
        process.wait_until(
            lambda: not os.path.exists(f"/proc/{export.pid}"), 10,
            "the backend ends",
        )
        export.error()
    client.close()
    assert logged(pg, export.pid, "FATAL:  connection to client lost")
    no_trace(rgw, bucket)
    assert value(observer, "SELECT 1") == 1


# Calls of several kinds


def test_50_two_in_one_statement(db, s3, bucket):
    sql = (
        "SELECT (onboard_table('one', %s, %s)).bytes AS one,"
        " (onboard_table('two', %s, %s)).bytes AS two"
    )
    (found,) = select(db, sql, (BIG, bucket, SMALL, bucket))
    expected = {"one": copy(db, BIG), "two": copy(db, SMALL)}
    assert found == {name: len(text) for name, text in expected.items()}
    for name, text in expected.items():
        assert body(s3, bucket, key_of(name)) == text


# CASE cannot contain a set-returning function, but a function that calls one.
LANDED = """
    CREATE FUNCTION pg_temp.landed(name text, query text, bucket text)
    RETURNS text LANGUAGE sql AS $$
        SELECT status FROM public.onboard_table(name, query, bucket)
    $$"""


def test_50_two_cursors(db, s3, bucket):
    """The two exports are under way at the same time, independently."""
    select(db, LANDED)
    outer = (
        "SELECT g, CASE WHEN g % 6000 = 0 THEN"
        f" pg_temp.landed('inner' || g, $q${BIG}$q$, '{bucket}')"
        " ELSE repeat('x', 1000) END AS text FROM generate_series(1, 14000) g"
    )
    select(
        db,
        "BEGIN; DECLARE a CURSOR FOR SELECT (onboard_table('a',"
        f" $o${outer}$o$, '{bucket}')).status"
        "; DECLARE b CURSOR FOR SELECT (onboard_table('b',"
        f" $o${BIG}$o$, '{bucket}')).status FROM generate_series(1, 2)",
    )
    for cursor in "bab":
        assert select(db, f"FETCH 1 FROM {cursor}") == [{"status": "done"}]
    select(db, "COMMIT")
    expected = copy(db, BIG)
    for name in ("b", "inner6000", "inner12000"):
        assert_same(body(s3, bucket, key_of(name)), expected, name)
    landed = body(s3, bucket, key_of("a"))
    assert_same(
        landed,
        copy(
            db, "SELECT g, CASE WHEN g % 6000 = 0 THEN 'done' ELSE"
            " repeat('x', 1000) END AS text FROM generate_series(1, 14000) g",
        ),
        "a",
    )


def test_50_one_inside_another(db, s3, bucket):
    select(db, LANDED)
    inner = rows(9, "repeat('y', 1000)")
    outer = (
        "SELECT g, CASE WHEN g = 15000 THEN"
        f" pg_temp.landed('inner', $q${inner}$q$, '{bucket}')"
        " ELSE repeat('x', 1000) END AS text FROM generate_series(1, 20000) g"
    )
    assert land(db, "outer", outer, bucket)["rows"] == 20000
    assert body(s3, bucket, key_of("inner")) == copy(db, inner)
    landed = body(s3, bucket, key_of("outer"))
    assert landed == copy(
        db, "SELECT g, CASE WHEN g = 15000 THEN 'done'"
        " ELSE repeat('x', 1000) END AS text FROM generate_series(1, 20000) g"
    )


def test_from_functions(db, s3, bucket):
    select(
        db,
        f"""
        CREATE FUNCTION pg_temp.in_sql() RETURNS text LANGUAGE sql AS $$
            SELECT (onboard_table('sql', 'SELECT 1 AS one', '{bucket}')).status
        $$;
        CREATE FUNCTION pg_temp.in_plpgsql() RETURNS text LANGUAGE plpgsql
        AS $$
        DECLARE
            landed record;
        BEGIN
            FOR landed IN
                SELECT onboard_table(g::text, 'SELECT 1 AS one', '{bucket}')
                FROM generate_series(1, 3) g
            LOOP
            END LOOP;
            SELECT * INTO landed
                FROM onboard_table('plpgsql', 'SELECT 1 AS one', '{bucket}');
            RETURN landed.status;
        END $$;
        """,
    )
    assert value(db, "SELECT pg_temp.in_sql()") == "done"
    assert value(db, "SELECT pg_temp.in_plpgsql()") == "done"
    assert keys(s3, bucket) == [
        key_of(name) for name in ("1", "2", "3", "plpgsql", "sql")
    ]


def test_cursor(db, rgw, s3, bucket):
    """Rows are exported as they are fetched; the rest never is."""
    select(
        db,
        "BEGIN; DECLARE c CURSOR FOR SELECT"
        " (onboard_table(g::text, 'SELECT 1 / (4 - ' || g || ') AS one',"
        f" '{bucket}')).status FROM generate_series(1, 9) g",
    )
    assert select(db, "FETCH 2 FROM c") == [{"status": "done"}] * 2
    assert keys(s3, bucket) == [key_of("1"), key_of("2")]
    select(db, "SAVEPOINT s")
    assert failure(select, db, "FETCH 2 FROM c").pgcode == "22012"
    select(db, "ROLLBACK TO s")
    assert land(db, "5", SMALL, bucket)["status"] == "done"
    select(db, "CLOSE c; COMMIT")
    assert keys(s3, bucket) == [key_of(name) for name in "1235"]
    assert rgw.unfinished(bucket) == []


# Leaks


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_41_failures_leak_no_descriptors(db, rgw, bucket):
    pid = db.info.backend_pid
    query = rows(10, BAD.format(9900))
    # PostgreSQL keeps the files of the history open.
    assert land(db, "first", SMALL, bucket)["status"] == "done"
    failure(land, db, "bad", query, bucket)
    before = descriptors(pid)
    for _ in range(20):
        assert failure(land, db, "bad", query, bucket).pgcode == "22012"
        assert descriptors(pid) == before
    assert land(db, "last", SMALL, bucket)["status"] == "done"
    assert descriptors(pid) == before
    no_upload_left(rgw, bucket)


def test_41_caught_failures_pile_up_no_memory(db, rgw, bucket):
    """The failures occur in one call of a function, so that its end frees
    nothing."""
    select(
        db,
        """
        CREATE FUNCTION pg_temp.failures(query text, bucket text, times int,
            OUT caught int, OUT bytes bigint, OUT ours int)
        LANGUAGE plpgsql AS $$
        BEGIN
            caught := 0;
            FOR i IN 1..times LOOP
                BEGIN
                    PERFORM onboard_table('bad', query, bucket);
                EXCEPTION WHEN division_by_zero THEN
                    caught := caught + 1;
                END;
            END LOOP;
            SELECT sum(total_bytes), count(*) FILTER (WHERE name ~ 'onboard')
            INTO bytes, ours FROM pg_backend_memory_contexts;
        END $$
        """,
    )
    sql = "SELECT * FROM pg_temp.failures(%s, %s, %s)"
    query = rows(2, BAD.format(1900))

    def fail(times):
        (found,) = select(db, sql, (query, bucket, times))
        assert (found["caught"], found["ours"]) == (times, 0)
        return found["bytes"], backend_rss(db.info.backend_pid)["anon"]

    fail(5)
    few_bytes, few_rss = fail(5)
    many_bytes, many_rss = fail(50)
    # Even half of one part would be visible, let alone 45 parts.
    assert many_bytes - few_bytes < MB
    assert many_rss - few_rss < 4 * MB
    no_trace(rgw, bucket)
