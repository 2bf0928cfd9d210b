"""A storm: sessions that do anything at once, and are cancelled at any moment.

storm.py draws their statements from a seed.  These conditions always hold:

- the server goes on: there is no crash, no failed assertion, and no sanitizer's
  report, and no session ends that was not terminated;
- no error is an internal one (SQLSTATE XX000);
- each object equals COPY's output for its query, in whatever way the statement
  was run and has ended; and objects that were reported as done exist;
- no upload is left; sessions do not accumulate memory, mappings or descriptors.

A failure prints the statements of its session, and how to repeat it:

    test/system.sh test/system/test_storm.py, with in its environment
    ONBOARD_SEED=123                the storm of that seed
    ONBOARD_SEED=123/2/45           only one episode of it
    ONBOARD_STORM_SECONDS=3600      for this time
    ONBOARD_STORM_WITHOUT=backup    goes on after a known fault

Without ONBOARD_STORM_SECONDS it is a short one with a constant seed.  The seed
does not determine which statements are cancelled when: that depends on timing.
"""

import contextlib
import gzip
import json
import os
import pathlib
import random
import re
import secrets
import subprocess
import tempfile
import threading
import time

import psycopg2
import pytest

from conftest import QUIET, Server
from landing import Parquet, copy, execute, first_other, sort_rows
from lib import process
from lib.exports import no_upload_left
from lib.parquet import ReaderError, Readers, available, copied
from lib.parquet_file import ParquetFile
from lib.postgres import Cluster, crashes, descriptors, pg_config
from storm import SCHEMA, Draw, registered
from test_random import difference, from_copy

SHORT = 25
SESSIONS = 5
# Python takes seconds to check a Parquet file with more values.
MANY_VALUES = 50_000
# An export of some MB under a sanitizer takes a second or two; on a busy
# machine, functions of the storm that sleep and run queries for each row take
# minutes.
LONGEST = 600
SETTINGS = {
    "max_connections": "60",
    "max_worker_processes": "24",
    "max_parallel_workers": "12",
    "max_prepared_transactions": "8",
    "deadlock_timeout": "200ms",
    "statement_timeout": "30s",
    "shared_buffers": "64MB",
    # The first crash must be visible, not later ones.
    "restart_after_crash": "off",
    "log_line_prefix": "%m [%p] %e %q%u@%d ",
    "log_min_messages": "warning",
}
LIBRARY = pathlib.Path(__file__).parent.parent / "lib" / "storm.c"
# Internal errors that are allowed, each with its reason.
INTERNAL = re.compile(
    # This is documented: the worker was terminated before it could begin.
    "background worker could not begin"
    # PostgreSQL raises it when a parallel plan in a command that writes runs a
    # volatile function: all functions of the storm are labelled as safe.
    "|cannot start commands during a parallel operation"
    # pg_notify() raises it in a function that is labelled as safe.
    "|cannot send notifications from a parallel worker"
)
# Functions of the storm raise it when a query returned wrong rows.
WRONG_ROWS = "ZZ001"


class Storm:
    """The state that all threads share."""

    def __init__(self, cluster, s3, bucket, seed, readers, folder):
        self.cluster = cluster
        self.readers = readers  # readers of Parquet; None without npm
        self.folder = folder
        self.s3 = s3
        self.bucket = bucket
        self.seed = seed
        self.stop = threading.Event()
        self.failures = []
        self.exports = {}  # by name
        self.judged = set()  # keys
        self.ended = set()  # pids of sessions that were terminated
        self.sessions = []
        self.counts = {}

    def fail(self, what):
        if len(self.failures) < 3:
            self.failures.append(what)
        self.stop.set()

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1


class Judge:
    """Compares objects with COPY's output, in a session of its own."""

    def __init__(self, storm):
        self.storm = storm
        self.db = storm.cluster.connect("onboard")
        execute(
            self.db, "SET max_parallel_workers_per_gather = 0; SET jit = off;"
            # The export may have had more of the machine than COPY has now.
            " SET statement_timeout = '600s'"
        )
        self.known = {}
        self.parquet = storm.readers and Parquet(
            self.db, storm.s3, storm.bucket, storm.readers,
            pathlib.Path(tempfile.mkdtemp(dir=storm.folder)),
        )

    def judge(self, folder):
        """Returns the errors in the objects of a folder, and removes the
        objects."""
        s3, bucket = self.storm.s3, self.storm.bucket
        pages = s3.get_paginator("list_objects_v2")
        wrong = []
        for page in pages.paginate(Bucket=bucket, Prefix=folder):
            found = [item["Key"] for item in page.get("Contents", [])]
            for key in found:
                if key in self.storm.judged:
                    continue
                found_wrong = self._wrong(key)
                self.storm.judged.add(key)
                self.storm.count("objects")
                if found_wrong:
                    wrong.append(f"{key}: {found_wrong}")
            if found:
                s3.delete_objects(
                    Bucket=bucket,
                    Delete={"Objects": [{"Key": key} for key in found]},
                )
        return wrong

    def _wrong(self, key):
        s3, bucket = self.storm.s3, self.storm.bucket
        if key.startswith("_onboard/"):
            return None
        data = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        name = re.split("[/.]", key)[1]
        export = self.storm.exports[name]
        try:
            if export.options["format"] == "parquet":
                wrong = self._wrong_parquet(data, export)
                return wrong and f"{wrong}\n{export}"
            data = plain(data, key)
            expected = self._expected(export)
        except psycopg2.Error as error:
            return f"an object, but COPY says {error}\n{export}"
        except (OSError, EOFError, process.RigError, AssertionError,
                ReaderError) as error:
            return f"{type(error).__name__}: {error}\n{export}"
        wrong = compare(data, expected, export)
        return wrong and f"{wrong}\n{export}"

    def _wrong_parquet(self, data, export):
        """Checks the file against the specification, and DuckDB's values
        against COPY's."""
        file = ParquetFile(data)
        if file.rows * len(file.leaves) < MANY_VALUES:
            file.check()
        self.storm.count("parquet")
        if not self.parquet:
            return None
        path = self.parquet.save(data)
        found = self.parquet.texts("duckdb", file)
        path.unlink()
        rows = copied(self._expected(export))
        for number, (_, kind) in enumerate(file.kinds()):
            if str(kind).startswith(("float8", "decimal")):
                for row in (*found, *rows):
                    row[number] = row[number] and str(float(row[number]))
        if not export.ordered:
            found, rows = sort_rows(found), sort_rows(rows)
        return None if found == rows else first_other(found, rows)

    def _expected(self, export):
        options = {
            name: value
            for name, value in export.options.items()
            if name in ("format", "header", "null", "delimiter", "force_quote")
        }
        key = (export.query, json.dumps(options))
        if key not in self.known:
            if len(self.known) > 30:
                self.known.clear()
            if options["format"] == "parquet":
                options = {"format": "text", "encoding": "UTF8"}
            if options["format"] in ("json", "jsonl"):
                as_lines = _AsLines(export.query, {"format": "jsonl"})
                self.known[key] = from_copy(self.db, as_lines)
            else:
                self.known[key] = copy(self.db, export.query, **options)
        return self.known[key]


class _AsLines:
    def __init__(self, query, options):
        self.query = query
        self.options = options


def plain(data, key):
    if key.endswith(".gz"):
        return gzip.decompress(data)
    programs = {".zst": "zstd", ".lz4": "lz4"}
    program = programs.get(key[-4:])
    if not program:
        return data
    done = subprocess.run(
        [program, "-dc"], input=data, capture_output=True, timeout=600
    )
    if done.returncode:
        raise process.RigError(done.stderr.decode())
    return done.stdout


def compare(data, expected, export):
    """The difference, or None."""
    options = {
        **export.options, "parallel": "off" if export.ordered else "auto"
    }
    if options["format"] == "json":
        rows = [json.loads(line) for line in expected.splitlines()]
        got = json.loads(data)["Results"]
        same = sorted(map(json.dumps, got)) == sorted(map(json.dumps, rows))
        return None if same else f"{data[:500]!r}, not {expected[:500]!r}"
    if "watermark" in options:
        # An increment has some of the rows, each once.
        lines = data.splitlines()
        if len(lines) == len(set(lines)) and (
            set(lines) <= set(expected.splitlines())
        ):
            return None
    return difference(data, expected, options)


class Session(threading.Thread):
    """A session, or several ones in turn if it is terminated."""

    def __init__(self, storm, number, judge):
        super().__init__(daemon=True)
        self.storm = storm
        self.number = number
        self.judge = judge
        self.pid = None
        self.since = None
        self.statements = []  # the episode's statements with their outcomes
        self.growth = []  # results of held(), for the first session
        self.db = None

    def run(self):
        try:
            episode = 0
            while not self.storm.stop.is_set():
                self.episode(episode)
                episode += 1
        except Exception as error:  # the test must see the error
            self.fail(f"{type(error).__name__}: {error}")

    def fail(self, what):
        statements = "\n".join(
            f"    {statement[:3000]};\n        -- {outcome[:300]}"
            for statement, outcome in self.statements[-40:]
        )
        self.storm.fail(
            f"{what}\nsession {self.number}, process {self.pid};"
            f" its statements:\n{statements}"
        )

    def episode(self, number):
        draw = Draw(self.storm.seed, self.number, number)
        seed = f"{self.storm.seed}/{self.number}/{number}"
        self.statements = [(f"ONBOARD_SEED={seed}", "")]
        done = []
        self.execute(draw.beginning())
        for _ in range(draw.random.randint(5, 25)):
            if self.storm.stop.is_set():
                break
            statement = draw.statement()
            self._remember(draw)
            done += self.execute(statement)
            if self._failed() and draw.random.random() < 0.8:
                self.execute(draw.recovery())
            if self.db is None:
                break
        for end in ("ROLLBACK", f"ROLLBACK PREPARED '{draw.prefix}'",
                    "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL"):
            if self.db:
                self.execute(end)
        if self.number == 0 and self.db:
            with contextlib.suppress(psycopg2.errors.QueryCanceled):
                self.growth.append(held(self))
        elif draw.random.random() < 0.5 and self.db:
            self.execute("DISCARD ALL")
        self.storm.count("episodes")
        for uri in done:
            self._is_there(uri)
        for folder in ("e", "j", "n"):
            for wrong in self.judge.judge(f"{folder}{self.number}/"):
                self.fail(wrong)

    def _remember(self, draw):
        for export in draw.exports:
            self.storm.exports[export.name] = export

    def _is_there(self, uri):
        key = uri.split("/", 3)[3]
        if key not in self.storm.judged:
            try:
                self.storm.s3.head_object(Bucket=self.storm.bucket, Key=key)
            except Exception:
                if key not in self.storm.judged:
                    self.fail(f"{uri} was reported as done, and is not there")

    def _connect(self):
        self.db = self.storm.cluster.connect(
            "onboard",
            options=f"-c storm.session={self.number}"
            f" -c storm.bucket={self.storm.bucket}",
        )
        self.pid = self.db.info.backend_pid

    def _failed(self):
        return self.db and self.db.info.transaction_status == (
            psycopg2.extensions.TRANSACTION_STATUS_INERROR
        )

    def execute(self, statement):
        """Runs it; returns the uris of exports that it reports as done."""
        if self.db is None:
            self._connect()
        if self.db.server_version >= 160000:
            statement = statement.replace(
                "force_parallel_mode", "debug_parallel_query"
            )
        self.statements.append((statement, "did not end"))
        outcome, rows = "ok", []
        self.since = time.monotonic()
        try:
            with self.db.cursor() as cursor:
                cursor.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
        except psycopg2.Error as error:
            outcome = self._error(error)
        self.since = None
        self.statements[-1] = (statement, outcome)
        self.storm.count("statements")
        if outcome != "ok":
            self.storm.count(outcome[:5])
        return [
            cell
            for row in rows if "done" in row
            for cell in row if str(cell).startswith("s3://")
        ]

    def _error(self, error):
        outcome = f"{error.pgcode} {error}".strip()
        self.statements[-1] = (self.statements[-1][0], outcome)
        code = error.pgcode or ""
        if code.startswith("XX") and not INTERNAL.search(str(error)):
            self.fail("an internal error")
        if code == WRONG_ROWS:
            self.fail("a query has wrong rows")
        if self.db.closed:
            # An error that was raised as 57P01 is reported as such, and ends no
            # session.
            with contextlib.suppress(psycopg2.Error):
                self.db.close()
            if self.pid not in self.storm.ended:
                self.fail("the session ended without being terminated")
            self.db = None
        return outcome


# The allowed growth of a lasting session from its beginning to its end.
GROWTH = {"descriptors": 8, "mappings": 40, "memory": 4 << 20}


def held(session):
    """Resources that a session holds after the clean-up of its episodes."""
    execute(session.db, "DISCARD ALL")
    with open(f"/proc/{session.pid}/maps") as maps:
        mappings = sum(1 for _ in maps)
    opened = descriptors(session.pid)
    memory = execute(
        session.db, "SELECT sum(total_bytes)::bigint"
        " FROM pg_backend_memory_contexts WHERE name <> 'CacheMemoryContext'"
        " AND parent IS DISTINCT FROM 'CacheMemoryContext'"
    )[0][0]
    return {
        # PostgreSQL keeps the files of tables open.
        "descriptors": sum(opened[name] for name in opened if name[0] != "/"),
        "mappings": mappings,
        "memory": memory,
    }


def grown(growth):
    """Resources that have grown: the least of the last against the most of the
    first values."""
    first, last = growth[:len(growth) // 3], growth[-5:]
    if len(first) < 5:
        return []
    return [
        f"{name} of a session grow: {[one[name] for one in growth]}"
        for name, most in GROWTH.items()
        if min(one[name] for one in last)
        > max(one[name] for one in first) + most
    ]


def work(storm, random_, observer):
    """Ends statements and sessions at random moments, and checks that all live.
    """
    time.sleep(random_.choice((0, 0.01, 0.05, 0.2, 0.4)))
    postmaster = os.path.join(storm.cluster.datadir, "postmaster.pid")
    if not os.path.exists(postmaster) or crashes(storm.cluster.log_text()):
        storm.fail("the server crashed")
        return
    for session in storm.sessions:
        since = session.since
        if since and time.monotonic() - since > LONGEST:
            session.fail(f"a statement takes more than {LONGEST} s")
    found = execute(
        observer, "SELECT pid, backend_type FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND (backend_type LIKE 'onboard%%'"
        " OR backend_type IN ('parallel worker', 'client backend'))"
    )
    mine = {session.pid for session in storm.sessions}
    # The first session lasts.
    lasts = storm.sessions[0].pid
    victims = [
        pid for pid, kind in found if pid in mine or kind != "client backend"
    ]
    if not victims:
        return
    victim = random_.choice(sorted(victims))
    if random_.random() < 0.2 and victim != lasts:
        storm.ended.add(victim)
        execute(observer, "SELECT pg_terminate_backend(%s)", (victim,))
        storm.count("terminated")
    else:
        execute(observer, "SELECT pg_cancel_backend(%s)", (victim,))
        storm.count("cancelled")


@pytest.fixture(scope="module")
def stormy(rgw, canaries):
    """A cluster with the storm's schema."""
    cluster = Cluster(settings=SETTINGS)
    cluster.create()
    library = os.path.join(cluster.folder, "storm.so")
    process.run([
        "cc", "-O1", "-shared", "-fPIC", "-o", library, str(LIBRARY),
        "-I" + pg_config("--includedir-server"),
    ])
    os.chmod(library, 0o755)
    with contextlib.closing(cluster.start()):
        cluster.psql("CREATE DATABASE onboard")
        cluster.psql(
            f"\\set library '{library}'\n\\set ON_ERROR_STOP on\n"
            f"CREATE EXTENSION onboard; CREATE ROLE storm_user;"
            f" CREATE ROLE storm_none; {SCHEMA}", "onboard",
        )
        server = Server(cluster, canaries)
        server(rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3")
        cluster.psql(
            f"{QUIET}; GRANT USAGE ON FOREIGN SERVER s3 TO storm_user;"
            " GRANT SELECT ON onboard_tables TO storm_user;"
            " CREATE USER MAPPING FOR storm_user SERVER s3 OPTIONS"
            f" (access_key_id '{rgw.access_key}',"
            f" secret_access_key '{rgw.secret_key}')", "onboard",
        )
        yield cluster


@pytest.fixture
def maybe_readers():
    """Readers of Parquet; without npm, only the structure of files is checked.
    """
    if not available():
        yield None
        return
    with Readers() as found:
        yield found


def chosen():
    """The seed, session and episode (None: all), and the seconds."""
    seconds = float(os.environ.get("ONBOARD_STORM_SECONDS", 0))
    found = os.environ.get("ONBOARD_SEED", "").split("/")
    seed = found[0] or (str(secrets.randbelow(10**9)) if seconds else "1")
    alone = tuple(map(int, found[1:3])) if len(found) == 3 else None
    return seed, alone, seconds or SHORT


def test_storm(stormy, rgw, bucket, maybe_readers, tmp_path, show):
    seed, alone, seconds = chosen()
    show(f"ONBOARD_SEED={seed}")
    # RGW may close a connection that is idle just as a request is sent on it.
    s3 = rgw.client(retries={"total_max_attempts": 5})
    storm = Storm(stormy, s3, bucket, seed, maybe_readers, tmp_path)
    prepare(storm)
    sessions = storm.sessions
    for number in range(SESSIONS):
        sessions.append(Session(storm, number, Judge(storm)))
    if alone:
        sessions[alone[0]].episode(alone[1])
    else:
        blow(storm, seconds)
    settle(storm)
    show(f"storm: {storm.counts}")
    for wrong in unexpected_lines(stormy) + grown(sessions[0].growth):
        storm.fail(wrong)
    if storm.failures:
        # No export may write to the bucket that is removed.
        stormy.stop("immediate")
        pytest.fail(report(storm), pytrace=False)
    no_upload_left(rgw, bucket)


def prepare(storm):
    tables, nested = registered(storm.seed)
    for export in [*tables, *nested]:
        storm.exports[export.name] = export
    db = storm.cluster.connect("onboard")
    execute(db, "DELETE FROM onboard_tables; DELETE FROM storm.nested")
    for export in tables:
        execute(
            db, "INSERT INTO onboard_tables (name, query, bucket, options)"
            " VALUES (%s, %s, %s, %s)",
            (export.name, export.query, storm.bucket,
             json.dumps(export.options)),
        )
    for number, export in enumerate(nested):
        execute(
            db, "INSERT INTO storm.nested VALUES (%s, %s, %s)",
            (number, export.query, json.dumps(export.options)),
        )
    db.close()


def blow(storm, seconds):
    """Runs all sessions until the time is over or an error is found."""
    for session in storm.sessions:
        session.start()
    random_ = random.Random(f"{storm.seed}/chaos")
    observer, judge = storm.cluster.connect("onboard"), Judge(storm)
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end and not storm.stop.is_set():
            work(storm, random_, observer)
            for wrong in judge.judge("a/") + judge.judge("_onboard/"):
                storm.fail(wrong)
    except psycopg2.Error as error:
        storm.fail(f"the observer: {error}")
    storm.stop.set()
    for session in storm.sessions:
        session.join(LONGEST)
        if session.is_alive():
            session.fail(f"a statement takes more than {LONGEST} s")


def settle(storm):
    """Ends jobs, and checks their objects."""
    if storm.failures:
        return
    observer, judge = storm.cluster.connect("onboard"), Judge(storm)

    def gone():
        return not execute(
            observer, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type LIKE 'onboard%%'"
        )

    process.wait_until(gone, 60, "all jobs end", interval=0.5)
    for wrong in judge.judge(""):
        storm.fail(wrong)
    observer.close()


def unexpected_lines(cluster):
    """The lines of the server's log that should not be there."""
    text = cluster.log_text()
    # DETAIL, CONTEXT and STATEMENT lines have the error's SQLSTATE, too.
    internal = re.compile(
        r"^\S+ \S+ \S+ \[\d+\] XX.*(ERROR|FATAL|PANIC|LOG|WARNING):  "
    )
    return crashes(text) + [
        line for line in text.splitlines()
        if internal.search(line) and not INTERNAL.search(line)
    ]


def report(storm):
    """The failures, with the matching part of the server's log."""
    lines = storm.cluster.log_text().splitlines()
    statements = []
    for number, line in enumerate(lines):
        if crashes(line):
            statements += lines[max(0, number - 5):number + 60]
            break
    died = {int(pid) for pid in re.findall(r"PID (\d+)", "\n".join(statements))}
    for session in storm.sessions:
        if session.pid in died:
            session.storm.failures.clear()
            session.fail("its process died")
    return "\n\n".join([
        f"ONBOARD_SEED={storm.seed}", *storm.failures, "\n".join(statements)
    ])
