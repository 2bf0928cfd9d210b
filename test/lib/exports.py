"""Helpers of system tests for exports."""

import io
import json
import threading

import psycopg2
import psycopg2.extras

from . import process

# Abort has a time limit of 5 s of its own, and S3 may show its effect slightly
# later.
ABORT_BOUND = 7


def rows(megabytes, column="repeat('x', 1000)"):
    """A query whose csv has about this many MB: each row has a KB."""
    return f"SELECT g, {column} FROM generate_series(1, {megabytes}000) g"


# A query that stops in the middle of an upload, until it is cancelled.
SLEEPS = rows(
    20, "CASE g WHEN 18000 THEN pg_sleep(300)::text ELSE repeat('x', 1000) END"
)


# With these settings, the planner uses workers for small tables.
EAGER = """
    SET min_parallel_table_scan_size = 0;
    SET parallel_setup_cost = 0;
    SET max_parallel_workers_per_gather = 2;
"""


def wait_for_sleep(observer):
    """Waits until a table sleeps; returns the pid of the process that exports
    it."""
    sql = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    return process.wait_until(
        lambda: select(observer, sql), 30, "a table sleeps"
    )[0]["pid"]


def call(name, query, bucket, **options):
    """The (sql, parameters) of a call of onboard_table()."""
    return (
        "SELECT * FROM onboard_table(%s, %s, %s, %s)",
        (name, query, bucket, json.dumps(options)),
    )


def land(connection, name, query, bucket, **options):
    """Exports a query; returns the row of onboard_table() as a dict."""
    with _cursor(connection) as cursor:
        cursor.execute(*call(name, query, bucket, **options))
        return dict(cursor.fetchone())


def land_all(connection, pattern=None, **options):
    """Calls onboard_all(); returns a list of dicts.  Workers end tables in any
    order."""
    sql = "SELECT * FROM onboard_all(%s, %s) ORDER BY name"
    return select(connection, sql, (pattern, json.dumps(options)))


def register(db, bucket, **queries):
    """Inserts rows into onboard_tables: register(db, bucket, name=query, ...).
    """
    for name, query in queries.items():
        select(
            db, "INSERT INTO onboard_tables (name, query, bucket)"
            " VALUES (%s, %s, %s)", (name, query, bucket),
        )


def statuses(found):
    """Each table's status, from rows of onboard_all() or onboard_runs."""
    return {row["name"]: row["status"] for row in found}


def select(connection, sql, parameters=None):
    """All rows of a statement as dicts; [] if it returns none."""
    with _cursor(connection) as cursor:
        cursor.execute(sql, parameters)
        return [dict(row) for row in cursor] if cursor.description else []


def value(connection, sql, parameters=None):
    """The first column of the first row."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()[0]


def run_pid(connection, run_id):
    """The pid of the process that works on a run, or None; needs a superuser.
    """
    return value(connection, "SELECT onboard_internal.run_pid(%s)", (run_id,))


def warnings(connection):
    """The session's messages; a successful export causes none."""
    return list(connection.notices)


def failure(do, *arguments, **options):
    """The psycopg2.Error that do(...) raises."""
    try:
        result = do(*arguments, **options)
    except psycopg2.Error as error:
        return error
    raise AssertionError(f"no error, but {result!r}")


def assert_same_rows(landed, expected, ordered):
    """Compares the lines of two csv files, in any order unless they are
    ordered."""
    landed, expected = landed.split(b"\n"), expected.split(b"\n")
    if not ordered:
        landed.sort()
        expected.sort()
    assert landed == expected


def copy(connection, query, options="FORMAT csv, HEADER true"):
    """The bytes of COPY (query) TO STDOUT."""
    out = io.BytesIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY ({query}) TO STDOUT ({options})", out)
    return out.getvalue()


def keys(s3, bucket):
    """The keys of all objects in a bucket, in order."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def body(s3, bucket, key):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def key_of(name, extension="csv"):
    """The default key of an export."""
    return f"{name}/data/inbox/{name}_data.{extension}"


# The wait event of a row of pg_stat_activity.  "advisory" is a lock for which a
# query waits; onboard's own advisory locks have another fourth field.
EVENT = """
    CASE WHEN wait_event = 'advisory' AND NOT EXISTS (
        SELECT FROM pg_locks AS l
        WHERE l.pid = a.pid AND NOT granted AND objsubid IN (1, 2)
    ) THEN 'onboard lock' ELSE wait_event END
"""


def wait_for_worker(connection, event, timeout=30):
    """The pid of a worker of onboard_all() that waits for this event."""
    sql = (
        "SELECT pid FROM pg_stat_activity AS a"
        f" WHERE backend_type = 'onboard worker' AND {EVENT} = %s"
    )
    found = []

    def waits():
        found[:] = select(connection, sql, (event,))
        return found

    process.wait_until(waits, timeout, f"a worker waits for {event}")
    return found[0]["pid"]


def no_upload_left(rgw, bucket):
    """Asserts that no upload is pending, or none any more after Abort's time
    limit."""
    process.wait_until(
        lambda: not rgw.unfinished(bucket),
        ABORT_BOUND,
        f"no unfinished upload in {bucket}",
    )


def no_trace(rgw, bucket):
    """Asserts that a failed export left neither an object nor a pending upload.
    """
    no_upload_left(rgw, bucket)
    assert keys(rgw.s3, bucket) == []


def map_user(pg, server, access_key, secret_key):
    """Changes the keys of a server, but not in the log."""
    quiet = pg.connect("onboard")
    select(quiet, "SET log_statement = none;"
           "SET log_min_error_statement = panic")
    select(
        quiet, f"ALTER USER MAPPING FOR CURRENT_USER SERVER {server} OPTIONS"
        " (SET access_key_id %s, SET secret_access_key %s)",
        (access_key, secret_key),
    )
    quiet.close()


class Running:
    """A statement that runs in a thread of its own.

    with Running(connection, *call(...)) as export:
        ...
        error = export.error()
    """

    def __init__(self, connection, sql, parameters=None):
        self.connection = connection
        self.pid = connection.info.backend_pid
        self._statement = (sql, parameters)
        self._rows = None
        self._error = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        if self._thread.is_alive():
            self.connection.cancel()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the statement goes on"

    def running(self):
        return self._thread.is_alive()

    def assert_running(self):
        """Raises the statement's error, if it has ended."""
        if not self.running():
            self.rows()
        assert self.running()

    def error(self, timeout=30):
        """The statement's error."""
        self._end(timeout)
        assert self._error is not None, f"no error, but {self._rows}"
        return self._error

    def rows(self, timeout=30):
        self._end(timeout)
        if self._error is not None:
            raise self._error
        return self._rows

    def _end(self, timeout):
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"not ended within {timeout} s"

    def _run(self):
        try:
            self._rows = select(self.connection, *self._statement)
        except psycopg2.Error as error:
            self._error = error


def wait_for_event(observer, pid, event):
    """Waits until pg_stat_activity shows that the backend waits for event."""
    sql = f"SELECT {EVENT} FROM pg_stat_activity AS a WHERE pid = %s"
    process.wait_until(
        lambda: value(observer, sql, (pid,)) == event,
        30,
        f"backend {pid} waits for {event}",
        interval=0.01,
    )


def own_event(connection, name):
    """The name of one of onboard's wait events in pg_stat_activity; before
    PostgreSQL 17, they have a common name."""
    return name if connection.server_version >= 170000 else "Extension"


def network_event(connection):
    """The event of waiting for S3."""
    return own_event(connection, "OnboardS3")


def wait_for_network(observer, pid):
    """Waits until the backend waits for S3."""
    wait_for_event(observer, pid, network_event(observer))


def _cursor(connection):
    return connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
