"""Fixtures of the system tests: a real PostgreSQL and a real S3 server.

The two servers live for the whole session; connections and buckets are fresh
for each test.  Three conditions are asserted after every test without any code
in the test: its bucket contains no pending upload, no other bucket contains one
at the end, and no server log contains a secret.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import secrets
import sys

import psycopg2.extensions
import psycopg2.sql
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from faults import Export  # noqa: E402
from landing import Parquet, execute  # noqa: E402
from lib.exports import select  # noqa: E402
from lib.identity import Identity  # noqa: E402
from lib.parquet import UNAVAILABLE, Readers, available  # noqa: E402
from lib.postgres import Cluster, crashes  # noqa: E402
from lib.proxy import Proxy  # noqa: E402
from lib.rgw import Rgw  # noqa: E402
from lib.roles import Role  # noqa: E402
from lib.tls import Authority  # noqa: E402

DATABASE = "onboard"

# Settings for statements that contain a secret: they keep the statement out of
# the log, even if it fails.
QUIET = (
    "SET log_statement = none; SET log_min_error_statement = panic; "
    "SET log_min_duration_statement = -1"
)


@pytest.fixture(scope="session")
def canaries(request):
    """A set of secrets; at the end, no server log may contain any of them.

    A test that uses another secret adds it here.  The logs must not report a
    crash, a failed assertion or a sanitizer's finding, either.
    """
    found = set()
    yield found
    for cluster in list(Cluster.open_clusters):
        cluster.close()
    broken = [
        f"{folder}: {line}"
        for folder, text in Cluster.old_logs
        for line in crashes(text)
    ]
    if broken:
        pytest.fail("a server crashed:\n" + "\n".join(broken), pytrace=False)
    leaks = []
    for folder, text in Cluster.old_logs:
        for line in text.splitlines():
            shown = line
            for secret in found:
                shown = shown.replace(secret, "<SECRET>")
            if shown != line:
                leaks.append(f"{folder}: {shown}")
    if leaks:
        pytest.fail(
            "secrets in server logs:\n" + "\n".join(leaks), pytrace=False
        )


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.stats.get("skipped", ()):
        terminalreporter.write_line("skipped: " + report.nodeid)


@pytest.fixture(scope="session")
def readers():
    """Three readers of Parquet; without npm, tests that need them are skipped.
    """
    if not available():
        pytest.skip(UNAVAILABLE)
    with Readers() as found:
        yield found


@pytest.fixture
def parquet(db, s3, bucket, readers, tmp_path):
    """Exports as Parquet and compares the results of all readers; see
    landing.py."""
    execute(db, "SET TimeZone = 'UTC'; SET search_path = public")
    return Parquet(db, s3, bucket, readers, tmp_path)


@pytest.fixture
def observer(pg):
    """Another session, for queries while the session under test is busy."""
    connection = pg.connect("onboard")
    yield connection
    connection.close()


@pytest.fixture
def show(capsys):
    """Prints a line on stderr, which the processes of pytest-xdist pass on."""
    def write(text):
        with capsys.disabled():
            print(f"\n{text}", file=sys.stderr, flush=True)

    return write


@pytest.fixture(scope="session")
def rgw(canaries):
    with Rgw() as server:
        canaries.add(server.secret_key)
        yield server
        left = {name: server.unfinished(name) for name in server.buckets()}
        left = {name: uploads for name, uploads in left.items() if uploads}
        assert not left, f"unfinished uploads: {left}"


@pytest.fixture(scope="session")
def cluster(canaries):
    """A running cluster without the extension."""
    server = Cluster(
        settings={
            "log_connections": "off",
            "max_connections": "50",
            "max_prepared_transactions": "4",
            # This is enough for any test; if a test hangs, its statement is
            # shown.
            "statement_timeout": "300s",
        }
    )
    with server:
        yield server


class Server:
    """Makes foreign servers of the wrapper onboard, and user mappings."""

    def __init__(self, cluster, canaries):
        self._cluster = cluster
        self._canaries = canaries
        self._made = []

    def __call__(
        self, endpoint, access_key=None, secret_key=None, session_token=None,
        name=None, user="CURRENT_USER", dbname=DATABASE, **options,
    ):
        """CREATE SERVER and, with a key, USER MAPPING; the server's name.

        Further keyword arguments are options of the server.
        """
        name = name or "s3_" + secrets.token_hex(4)
        options = {"endpoint": endpoint, "region": "us-east-1", **options}
        mapping = {
            "access_key_id": access_key,
            "secret_access_key": secret_key,
            "session_token": session_token,
        }
        self._canaries.update(filter(None, (secret_key, session_token)))
        with self._connect(dbname) as connection:
            cursor = connection.cursor()
            cursor.execute(
                f"CREATE SERVER {name} FOREIGN DATA WRAPPER onboard"
                + self._options(options, connection)
            )
            self._made.append((dbname, name))
            if access_key:
                cursor.execute(
                    f"CREATE USER MAPPING FOR {user} SERVER {name}"
                    + self._options(mapping, connection)
                )
        return name

    def drop(self):
        for dbname, name in self._made:
            with self._connect(dbname) as connection:
                connection.cursor().execute(
                    f"DROP SERVER IF EXISTS {name} CASCADE"
                )
        self._made = []

    def _connect(self, dbname):
        connection = self._cluster.connect(dbname)
        connection.cursor().execute(QUIET)
        return _Closing(connection)

    @staticmethod
    def _options(options, connection):
        """An OPTIONS clause; a value of None leaves the option out."""
        pairs = []
        for name, value in options.items():
            if value is not None:
                literal = psycopg2.extensions.adapt(str(value))
                literal.prepare(connection)
                pairs.append(f"{name} {literal.getquoted().decode()}")
        return f" OPTIONS ({', '.join(pairs)})" if pairs else ""


class _Closing:
    def __init__(self, connection):
        self._connection = connection

    def __enter__(self):
        return self._connection

    def __exit__(self, *exception):
        self._connection.close()


@pytest.fixture(scope="session")
def pg(cluster, rgw, canaries):
    """The cluster with database "onboard": extension and server s3 made."""
    cluster.psql(f"CREATE DATABASE {DATABASE}")
    cluster.psql("CREATE EXTENSION onboard", DATABASE)
    Server(cluster, canaries)(
        rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3"
    )
    return cluster


@pytest.fixture
def db(pg):
    """A fresh connection to database "onboard", autocommit, as superuser."""
    connection = pg.connect(DATABASE)
    yield connection
    connection.close()


@pytest.fixture
def make_server(pg, canaries):
    """Makes foreign servers that are dropped after the test; see Server."""
    servers = Server(pg, canaries)
    yield servers
    servers.drop()


@pytest.fixture(scope="module")
def other_database(pg, rgw):
    """Makes databases with the extension; drops them after the module."""
    made = []

    def make(encoding):
        name = f"in_{encoding.lower()}"
        if name not in made:
            pg.psql(
                f"CREATE DATABASE {name} ENCODING '{encoding}'"
                " TEMPLATE template0"
            )
            made.append(name)
            pg.psql("CREATE EXTENSION onboard", name)
        return name

    yield make
    for name in made:
        pg.psql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def connect_other(pg, rgw, make_server, other_database):
    """Connects to a database of a given encoding."""
    opened = []

    def connect(encoding):
        name = other_database(encoding)
        make_server(
            rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3",
            dbname=name,
        )
        opened.append(pg.connect(name))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture(scope="session")
def s3(rgw):
    """A boto3 client of RGW."""
    return rgw.s3


@pytest.fixture
def bucket(request, rgw, s3):
    """The name of a fresh bucket; a test must not leave a pending upload in it.
    """
    test = re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    name = f"{test[:50]}-{secrets.token_hex(4)}"
    s3.create_bucket(Bucket=name)
    yield name
    unfinished = rgw.unfinished(name)
    for upload in unfinished:
        s3.abort_multipart_upload(
            Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"]
        )
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        found = [{"Key": item["Key"]} for item in page.get("Contents", [])]
        if found:
            s3.delete_objects(Bucket=name, Delete={"Objects": found})
    s3.delete_bucket(Bucket=name)
    assert not unfinished, f"the test left uploads: {unfinished}"


@pytest.fixture(scope="module")
def gigabytes():
    """A lock: of the modules that need gigabytes, only one runs at a time, even
    with several pytest processes."""
    with open(__file__) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def proxy(rgw):
    """A proxy in front of RGW that injects faults on request."""
    with Proxy(rgw.endpoint) as server:
        yield server


@pytest.fixture
def proxied(make_server, proxy, rgw):
    """The name of a foreign server whose requests go through the proxy."""
    return make_server(proxy.endpoint, rgw.access_key, rgw.secret_key)


@pytest.fixture(scope="session")
def authority(pg):
    """A certificate authority, whose ca_file PostgreSQL can read."""
    folder = os.path.join(pg.folder, "authority")
    os.mkdir(folder)
    os.chmod(folder, 0o755)
    return Authority(folder)


@pytest.fixture(scope="session")
def identity_server(rgw, canaries):

    def issue():
        found = rgw.temporary()
        canaries.update(found[1:])
        return found

    assert rgw.sts  # started by this thread
    with Identity(issue) as server:
        yield server


@pytest.fixture
def identity(identity_server, rgw):
    """AWS's sources of credentials, which issue credentials that are valid at
    rgw.sts."""
    identity_server.reset()
    identity_server.trust(rgw.access_key, rgw.secret_key)
    yield identity_server
    identity_server.reset()


@pytest.fixture
def tls_proxy(rgw, authority):
    """Makes proxies that speak TLS, with a certificate of a given kind."""
    with contextlib.ExitStack() as proxies:
        yield lambda kind="good": proxies.enter_context(
            Proxy(rgw.endpoint, tls=authority.context(kind))
        )


@pytest.fixture
def export(db, rgw, s3, bucket, proxy, proxied):
    """Exports through the proxy, and asserts the state that must follow."""
    return Export(db, rgw, s3, bucket, proxy, proxied)


@pytest.fixture
def make_role(pg, db):
    roles = []

    def make(attributes=""):
        roles.append(Role(pg, db, attributes))
        return roles[-1]

    yield make
    for role in roles:
        role.drop()


@pytest.fixture
def alice(make_role, make_server, rgw):
    """A role that exports to a server of its own: alice.server."""
    role = make_role()
    role.server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, user=role.name
    )
    role.may(f"USAGE ON FOREIGN SERVER {role.server}")
    return role


@pytest.fixture
def bob(make_role):
    """A role without any privilege."""
    return make_role()


@pytest.fixture
def registry(db):
    """An empty onboard_tables; returns what registers a table."""
    select(db, "DELETE FROM onboard_tables")

    def register(name, query, bucket, **options):
        select(
            db, "INSERT INTO onboard_tables (name, query, bucket, options)"
            " VALUES (%s, %s, %s, %s)",
            (name, query, bucket, json.dumps(options)),
        )

    yield register
    select(db, "DELETE FROM onboard_tables")
