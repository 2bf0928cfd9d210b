"""Sources of a server's credentials: the extension's side.

RGW's own STS issues the credentials, so RGW verifies how they are used.
Details and failures of each source are tested in test/core.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile

import pytest

from conftest import Server
from lib import process
from lib.exports import (
    EAGER, Running, body, call, copy, failure, key_of, keys, land, no_trace,
    select, value,
)
from lib.identity import CONTAINER, ROLE_ARN
from lib.postgres import Cluster
from lib.proxy import Proxy, Response
from lib.rgw import OWNER

SMALL = "SELECT 1 AS a"
# A query with a parallel plan and several parts.
BIG = "SELECT g, repeat(t, 40) AS r FROM big"
TABLES = """
    CREATE TABLE big AS
        SELECT g, 'row ' || g AS t FROM generate_series(1, 100000) g;
    ANALYZE big;
"""


@pytest.fixture(scope="module")
def issue(rgw, canaries):
    """Issues temporary credentials, which no log may contain."""
    assert rgw.sts

    def new():
        found = rgw.temporary()
        canaries.update(found[1:])
        return found

    return new


class Host:
    """A machine with an identity: a cluster that is started with its
    environment."""

    def __init__(self, cluster, make):
        self.cluster = cluster
        self.make = make
        self._sessions = []

    def session(self, **options):
        session = self.cluster.connect(**options)
        self._sessions.append(session)
        return session

    def close(self):
        for session in self._sessions:
            session.close()


@pytest.fixture
def host(canaries):
    """Makes machines; see Host."""
    with contextlib.ExitStack() as stack:

        def new(settings=None, **env):
            # No host has a metadata service unless the test configures one.
            env.setdefault("AWS_EC2_METADATA_DISABLED", "true")
            cluster = stack.enter_context(Cluster(settings, env))
            cluster.psql("CREATE EXTENSION onboard")
            servers = Server(cluster, canaries)

            def make(endpoint, *arguments, **options):
                return servers(
                    endpoint, *arguments, name="s3", dbname="postgres",
                    **options,
                )

            machine = Host(cluster, make)
            stack.callback(machine.close)
            return machine

        yield new


def detail(session, bucket, item="credentials"):
    rows = select(session, "SELECT * FROM onboard_check(%s)", (bucket,))
    (row,) = [row for row in rows if row["item"] == item]
    return row["ok"], row["detail"]


UNTIL = r", until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00"


# Each source


def test_environment(host, rgw, issue, bucket, s3):
    """The environment may also have a session token."""
    access_key, secret_key, token = issue()
    machine = host(
        AWS_ACCESS_KEY_ID=access_key, AWS_SECRET_ACCESS_KEY=secret_key,
        AWS_SESSION_TOKEN=token,
    )
    machine.make(rgw.sts, credentials="environment")
    session = machine.session()
    assert detail(session, bucket) == (
        True, "from environment; they do not expire"
    )
    assert land(session, "t", SMALL, bucket)["status"] == "done"
    assert keys(s3, bucket) == [key_of("t")]


def profiles(folder, **found):
    """Writes a credentials file; found: access key, secret and token by
    profile."""
    text = ""
    for name, (access_key, secret_key, *token) in found.items():
        text += (
            f"[{name}]\naws_access_key_id = {access_key}\n"
            f"aws_secret_access_key={secret_key}\n"
        )
        text += "".join(f"aws_session_token={item}\n" for item in token)
    path = os.path.join(folder, "credentials")
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o644)
    return path


@pytest.fixture
def folder():
    """A folder that PostgreSQL's OS user can read."""
    path = tempfile.mkdtemp(prefix="onboard-aws-", dir="/tmp")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


def test_profile(host, rgw, issue, bucket, folder):
    """The server names the profile, which is read again for each export."""
    path = os.path.join(folder, "credentials")
    machine = host(AWS_SHARED_CREDENTIALS_FILE=path, AWS_CONFIG_FILE="/none")
    machine.make(rgw.sts, credentials="profile", profile="lake")
    session = machine.session()
    error = failure(land, session, "t", SMALL, bucket)
    assert error.pgcode == "28000"
    assert error.diag.message_primary == (
        'could not get credentials for server "s3"'
    )
    assert 'Profile "lake"' in error.diag.message_detail
    assert 'option "credentials"' in error.diag.message_hint
    profiles(folder, lake=issue(), default=("nobody", "not-a-secret"))
    assert land(session, "t", SMALL, bucket)["status"] == "done"
    assert detail(session, bucket) == (
        True, 'from profile "lake"; they do not expire'
    )
    profiles(folder, lake=("nobody", "not-a-secret"))
    # This is the only response of RGW's STS gateway
    assert failure(land, session, "t", SMALL, bucket).pgcode == "42501"
    profiles(folder, lake=issue())
    assert land(session, "t", SMALL, bucket)["status"] == "done"


def test_instance(host, identity, rgw, bucket):
    machine = host(
        AWS_EC2_METADATA_SERVICE_ENDPOINT=identity.endpoint,
        AWS_EC2_METADATA_DISABLED="false",
    )
    machine.make(rgw.sts, credentials="instance")
    session = machine.session()
    for name in ("a", "b"):
        assert land(session, name, SMALL, bucket)["status"] == "done"
    ok, text = detail(session, bucket)
    assert ok
    assert re.fullmatch(
        r"from instance metadata \(role lander\)" + UNTIL, text
    )
    # The credentials live longer than the whole test.
    assert len(identity.issued) == 1


def test_container(host, identity, rgw, bucket):
    identity.authorization = "a-token-of-the-container"
    machine = host(
        AWS_CONTAINER_CREDENTIALS_FULL_URI=identity.endpoint + CONTAINER,
        AWS_CONTAINER_AUTHORIZATION_TOKEN=identity.authorization,
    )
    machine.make(rgw.sts, credentials="container")
    session = machine.session()
    assert land(session, "t", SMALL, bucket)["status"] == "done"
    ok, text = detail(session, bucket)
    assert ok and re.fullmatch("from container.*" + UNTIL, text)


def test_web_identity(host, identity, rgw, bucket, folder):
    path = os.path.join(folder, "token")
    with open(path, "w") as file:
        file.write(identity.web_identity_token)
    os.chmod(path, 0o644)
    machine = host(
        AWS_ROLE_ARN=ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE=path
    )
    machine.make(
        rgw.sts, credentials="web_identity", sts_endpoint=identity.endpoint
    )
    session = machine.session()
    assert land(session, "t", SMALL, bucket)["status"] == "done"
    ok, text = detail(session, bucket)
    assert ok and ROLE_ARN in text and "web identity" in text


def test_chain(host, identity, rgw, bucket):
    machine = host(
        AWS_EC2_METADATA_SERVICE_ENDPOINT=identity.endpoint,
        AWS_EC2_METADATA_DISABLED="false", AWS_CONFIG_FILE="/none",
        AWS_SHARED_CREDENTIALS_FILE="/none",
    )
    machine.make(rgw.sts, credentials="chain")
    session = machine.session()
    assert land(session, "t", SMALL, bucket)["status"] == "done"
    assert "instance metadata" in detail(session, bucket)[1]


@pytest.fixture
def assumed(pg, make_server, identity, rgw):
    """A server whose users assume a role with the keys of their mapping."""
    identity.external_id = "lake-1"

    def make(**options):
        return make_server(
            rgw.sts, rgw.access_key, rgw.secret_key, role_arn=ROLE_ARN,
            sts_endpoint=identity.endpoint, **options,
        )

    return make


def test_role(db, assumed, identity, bucket):
    server = assumed(external_id="lake-1")
    for name in ("a", "b"):
        found = land(db, name, SMALL, bucket, server=server)
        assert found["status"] == "done"
    (form,) = identity.assumed
    assert (form["RoleArn"], form["ExternalId"]) == (ROLE_ARN, "lake-1")
    rows = select(
        db, "SELECT * FROM onboard_check(%s, %s) WHERE item = 'credentials'",
        (bucket, json.dumps({"server": server})),
    )
    assert re.fullmatch(
        f"from role {ROLE_ARN} assumed with user mapping" + UNTIL,
        rows[0]["detail"],
    )


def test_role_is_refused(db, assumed, identity, bucket):
    """The error comes before the query runs, and each time again."""
    server = assumed(external_id="lake-2")
    for _ in range(2):
        error = failure(land, db, "t", "SELECT 1 / 0", bucket, server=server)
        assert error.pgcode == "28000"
        assert "AccessDenied" in error.diag.message_detail
        assert ROLE_ARN in error.diag.message_detail
    rows = select(
        db, "SELECT * FROM onboard_check(%s, %s)",
        (bucket, json.dumps({"server": server})),
    )
    verdicts = {row["item"]: row["ok"] for row in rows}
    assert verdicts["endpoint"] is True
    assert verdicts["credentials"] is False
    assert verdicts["put"] is None


def test_cancel_during_a_credential_request(pg, db, assumed, identity, bucket):
    server = assumed(external_id="lake-1")
    rule = identity.rule("POST", hold=True)
    observer = pg.connect("onboard")
    with Running(db, *call("t", SMALL, bucket, server=server)) as export:
        rule.wait()
        assert value(observer, "SELECT pg_cancel_backend(%s)", (export.pid,))
        assert export.error().pgcode == "57014"
    rule.release()
    observer.close()
    assert land(db, "t", SMALL, bucket, server=server)["status"] == "done"


def test_keys_need_no_network(db, make_server, bucket, rgw):
    """An export that lands nothing sends no request for credentials."""
    (port,) = process.free_ports(1)
    server = make_server(
        f"http://127.0.0.1:{port}", rgw.access_key, rgw.secret_key
    )
    result = land(db, "t", "SELECT 1 WHERE false", bucket, server=server)
    assert result["status"] == "empty"


# Privileges for the machine's identity


def test_usage_is_all_that_a_role_needs(host, identity, rgw, bucket):
    """The role may neither create such a server, nor redirect the identity."""
    machine = host(
        AWS_EC2_METADATA_SERVICE_ENDPOINT=identity.endpoint,
        AWS_EC2_METADATA_DISABLED="false",
    )
    machine.make(rgw.sts, credentials="instance")
    machine.cluster.psql(
        "CREATE ROLE carol LOGIN;"
        "GRANT USAGE ON FOREIGN SERVER s3 TO carol;"
        "GRANT USAGE ON FOREIGN DATA WRAPPER onboard TO carol;"
    )
    carol = machine.session(user="carol")
    assert land(carol, "t", SMALL, bucket)["status"] == "done"
    for sql in (
        "CREATE SERVER x FOREIGN DATA WRAPPER onboard"
        " OPTIONS (region 'eu', credentials 'instance')",
        "ALTER SERVER s3 OPTIONS (SET endpoint 'http://127.0.0.1:1')",
    ):
        assert failure(select, carol, sql).pgcode == "42501"


# Workers


@pytest.fixture
def landing(host, identity, rgw):
    """A machine with an instance's identity, a table, and a planner that
    prefers workers."""

    def make(settings=None):
        machine = host(
            settings,
            AWS_EC2_METADATA_SERVICE_ENDPOINT=identity.endpoint,
            AWS_EC2_METADATA_DISABLED="false",
        )
        machine.make(rgw.sts, credentials="instance")
        machine.cluster.psql(TABLES)
        session = machine.session()
        session.cursor().execute(EAGER)
        return machine, session

    return make


def lines(text):
    return sorted(text.split(b"\n"))


def lands_in_parallel(session, s3, bucket, name="t"):
    (plan,) = select(
        session, "SELECT onboard_explain(%s) AS line LIMIT 1", (BIG,)
    )
    assert plan["line"].startswith("Sink: below Gather")
    land(session, name, BIG, bucket, parallel=2, part_size="5MB")
    landed = body(s3, bucket, key_of(name))
    assert lines(landed) == lines(copy(session, BIG))


def test_workers_get_the_leader_s_credentials(landing, identity, s3, bucket):
    _, session = landing()
    lands_in_parallel(session, s3, bucket)
    assert len(identity.issued) == 1
    lands_in_parallel(session, s3, bucket, "u")
    assert len(identity.issued) == 1


def test_workers_renew_themselves(landing, identity, s3, bucket):
    """Any process renews credentials that are about to expire."""
    identity.lifetime = 200
    _, session = landing()
    land(session, "small", SMALL, bucket)
    before = identity.connections
    lands_in_parallel(session, s3, bucket)
    assert identity.connections > before


def test_workers_carry_all_options(db, pg, proxy, proxied, bucket, s3):
    """Workers send the headers of all requests and the checksum as the leader
    does."""
    pg.psql(TABLES, "onboard")
    try:
        db.cursor().execute(EAGER)
        land(
            db, "t", BIG, bucket, server=proxied, parallel=2,
            part_size="5MB", checksum="crc32", requester_pays=True,
            expected_bucket_owner=OWNER, overwrite="error",
        )
    finally:
        pg.psql("DROP TABLE big", "onboard")
    # The workers together have more connections than the leader alone.
    parts = proxy.requests("PUT", "partNumber")
    assert len({request.connection for request in parts}) > 1
    for request in proxy.requests():
        assert request.headers["x-amz-request-payer"] == "requester"
        owner = request.headers["x-amz-expected-bucket-owner"]
        assert owner == OWNER
    for request in parts:
        assert "x-amz-checksum-crc32" in request.headers
    (last,) = proxy.requests("POST", "uploadId=")
    assert last.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert len(body(s3, bucket, key_of("t"))) > 5 * 1024 * 1024


# Traces of secrets


def secrets_of(identity):
    """All secrets that the identity server has issued."""
    return [
        secret for access_key in identity.issued
        for secret in identity._trusted[access_key]
    ]


def shared_memory(pid):
    """The bytes of a process's shared mappings that belong to PostgreSQL."""
    found = []
    with open(f"/proc/{pid}/maps") as maps:
        mappings = [line.split(maxsplit=5) for line in maps]
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for mapping in mappings:
            if "s" not in mapping[1] or "r" not in mapping[1]:
                continue
            start, end = (int(part, 16) for part in mapping[0].split("-"))
            memory.seek(start)
            found.append(memory.read(end - start))
    return b"".join(found)


@pytest.mark.parametrize("how", ["well", "badly", "cancelled"])
def test_shared_memory_is_wiped(landing, identity, rgw, s3, bucket, how):
    """Secrets are wiped even after an error, and even from main shared memory,
    which stays mapped."""
    machine, session = landing({"min_dynamic_shared_memory": "64MB"})
    observer = machine.session()
    postmaster = int(
        open(os.path.join(machine.cluster.datadir, "postmaster.pid"))
        .readline()
    )
    if how == "well":
        lands_in_parallel(session, s3, bucket)
    elif how == "badly":
        query = f"SELECT *, 1 / (g - 99000) FROM ({BIG}) AS q"
        error = failure(
            land, session, "t", query, bucket, parallel=2, part_size="5MB"
        )
        assert error.pgcode == "22012"
    else:
        with Proxy(rgw.sts) as proxy:
            machine.cluster.psql(
                f"ALTER SERVER s3 OPTIONS (SET endpoint '{proxy.endpoint}')"
            )
            rule = proxy.rule("PUT", "partNumber=2", hold=True)
            export = call("t", BIG, bucket, parallel=2, part_size="5MB")
            with Running(session, *export) as running:
                rule.wait()
                # During the export, they are there.
                memory = shared_memory(postmaster)
                assert secrets_of(identity)[0].encode() in memory
                select(
                    observer, "SELECT pg_cancel_backend(%s)", (running.pid,)
                )
                assert running.error().pgcode == "57014"
    memory = shared_memory(postmaster)
    assert len(memory) > 64 * 1024 * 1024
    assert secrets_of(identity)
    for secret in secrets_of(identity):
        assert secret.encode() not in memory
    if how != "well":
        no_trace(rgw, bucket)


LOUD = {
    "log_min_messages": "debug5",
    "log_statement": "all",
    "log_error_verbosity": "verbose",
    "debug_print_parse": "on",
    "debug_print_plan": "on",
    # the planner's output does not show the plan with the sink
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_verbose": "on",
    "auto_explain.log_nested_statements": "on",
}


def test_no_secret_is_shown(landing, identity, s3, bucket):
    """A server that logs as much as it can shows no secret; canaries checks the
    log."""
    shown = []
    machine, session = landing(LOUD)
    lands_in_parallel(session, s3, bucket)
    shown += select(session, "SELECT * FROM onboard_check(%s)", (bucket,))
    shown += select(session, "SELECT * FROM onboard_runs")
    identity.rule(None, "", times=None, response=Response(500))
    again = machine.session()
    error = failure(land, again, "t", SMALL, bucket)
    assert error.pgcode == "28000"
    fields = [name for name in dir(error.diag) if name[0] != "_"]
    shown += [getattr(error.diag, name) for name in fields]
    sql = "SELECT * FROM onboard_wait(onboard_submit('job', %s, %s))"
    select(again, sql, (SMALL, bucket))
    kept = select(again, "SELECT * FROM onboard_runs WHERE detail IS NOT NULL")
    assert len(kept) == 1
    shown += kept + session.notices + again.notices
    shown.append(machine.cluster.log_text())
    assert "OnboardSink" in shown[-1]
    assert secrets_of(identity)
    for text in shown:
        for secret in secrets_of(identity):
            assert secret not in str(text)


# Proxies


class Forward(Proxy):
    """A proxy that takes requests for any host in the form that clients of a
    proxy send."""

    def exchange(self, client, server, head, request, rule):
        first, raw, headers = head
        method, target, version = first.split(" ")
        path = re.sub("^http://[^/]*", "", target)
        assert path != target
        raw = raw.replace(target.encode(), path.encode(), 1)
        head = f"{method} {path} {version}", raw, headers
        return super().exchange(client, server, head, request, rule)


def test_proxy(db, make_server, rgw, s3, bucket):
    """All requests go to the proxy: the endpoint itself is unreachable."""
    (port,) = process.free_ports(1)
    endpoint = f"http://localhost:{port}"
    with Forward(rgw.endpoint) as proxy:
        server = make_server(
            endpoint, rgw.access_key, rgw.secret_key, proxy=proxy.endpoint
        )
        result = land(db, "t", SMALL, bucket, server=server)
        assert result["status"] == "done"
        (put,) = proxy.requests("PUT")
        assert put.target.startswith(endpoint + "/")
        rows = select(
            db, "SELECT * FROM onboard_check(%s, %s) WHERE item = 'endpoint'",
            (bucket, json.dumps({"server": server})),
        )
        assert rows[0]["detail"] == (
            f"{endpoint} answers, through {proxy.endpoint}"
        )
    assert keys(s3, bucket) == [key_of("t")]


def test_proxy_is_gone(db, make_server, rgw, bucket):
    (port,) = process.free_ports(1)
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key,
        proxy=f"http://127.0.0.1:{port}",
    )
    db.cursor().execute("SET onboard.retry_deadline = '300ms'")
    error = failure(land, db, "t", SMALL, bucket, server=server)
    assert error.pgcode == "08001"
