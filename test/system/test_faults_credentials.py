"""Temporary credentials, and the clock: rows 18 to 23 of docs/faults.md.

lib/identity.py plays AWS's sources of credentials; the credentials are real
ones of RGW's own STS, so RGW verifies how the export uses them.
"""

import contextlib
import os
import time

import pytest

from conftest import Server
from faults import ABORT, COMPLETE, CREATE, PART, PARTS, SMALL, Export
from lib.exports import no_trace, rows, select, warnings
from lib.identity import CONTAINER, METADATA, ROLE, ROLE_ARN
from lib.postgres import Cluster, faketime
from lib.process import wait_until
from lib.proxy import Proxy, Response, s3_error

BIG = rows(12)
PROMPT = 3  # seconds: less than any time-out that could end it, too
TOKEN = ("PUT", "/latest/api/token")
ROLE_NAME = ("GET", METADATA + "$")
INSTANCE = ("GET", METADATA + ROLE)
CONTAINERS = ("GET", CONTAINER)
STS = ("POST", "^/$")
EXPIRED = s3_error(400, "ExpiredToken")
PROFILES = """
[default]
region = eu-central-1
[profile keys]
aws_access_key_id = {access_key}
aws_secret_access_key = {secret_key}
[profile role]
role_arn = {role}
source_profile = keys
external_id = handshake
[profile of-instance]
role_arn = {role}
credential_source = Ec2InstanceMetadata
[profile loop]
role_arn = {role}
source_profile = loop2
[profile loop2]
role_arn = {role}
source_profile = loop
[profile process]
credential_process = sh -c 'echo ran >> {ran}'
[profile sso]
sso_start_url = https://example.awsapps.com/start
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = lander
"""


class Files:
    """The files to which the environment of the database server refers."""

    def __init__(self, folder, canaries):
        self.folder = folder
        self._canaries = canaries
        os.mkdir(folder)
        os.chmod(folder, 0o755)

    def path(self, name):
        return os.path.join(self.folder, name)

    def set_clock(self, minutes):
        self.write("clock", f"{minutes:+d}m\n")

    def write(self, name, text, secret=False):
        if secret:
            self._canaries.add(text)
        with open(self.path(name) + ".new", "w") as file:
            file.write(text)
        os.rename(self.path(name) + ".new", self.path(name))


@pytest.fixture(scope="module")
def aws_cluster(identity_server, canaries):
    """A database server whose environment configures all sources, and whose
    clock the tests can set."""
    cluster = Cluster()
    cluster.create()
    cluster.files = Files(os.path.join(cluster.folder, "aws"), canaries)
    cluster.files.set_clock(0)
    path = cluster.files.path
    cluster.env = {
        **faketime(file=path("clock")),
        "AWS_CONFIG_FILE": path("config"),
        "AWS_SHARED_CREDENTIALS_FILE": path("credentials"),
        "AWS_ROLE_ARN": ROLE_ARN,
        "AWS_WEB_IDENTITY_TOKEN_FILE": path("web-identity"),
        "AWS_CONTAINER_CREDENTIALS_FULL_URI":
            identity_server.endpoint + CONTAINER,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": path("container"),
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": identity_server.endpoint,
        "AWS_ENDPOINT_URL_STS": identity_server.endpoint,
    }
    with contextlib.closing(cluster.start()):
        cluster.psql("CREATE EXTENSION onboard")
        yield cluster


@pytest.fixture
def files(aws_cluster, identity, rgw):
    files = aws_cluster.files
    files.set_clock(0)
    files.write("config", PROFILES.format(
        access_key=rgw.access_key, secret_key=rgw.secret_key, role=ROLE_ARN,
        ran=files.path("ran"),
    ))
    files.write("web-identity", identity.web_identity_token, secret=True)
    identity.authorization = "container-authorization"
    files.write("container", identity.authorization, secret=True)
    return files


@pytest.fixture
def environment(aws_cluster):
    """Restarts the database server with another environment."""
    before = dict(aws_cluster.env)

    def change(remove=(), **more):
        env = {n: v for n, v in before.items() if n not in remove}
        aws_cluster.restart(env={**env, **more})

    yield change
    aws_cluster.restart(env=before)


@pytest.fixture
def make(aws_cluster, canaries):
    """Makes a foreign server in that cluster."""
    servers = Server(aws_cluster, canaries)
    yield lambda *arguments, **options: servers(
        *arguments, dbname="postgres", **options
    )
    servers.drop()


@pytest.fixture
def proxy(rgw):
    """A proxy in front of the gateway that takes temporary credentials."""
    with Proxy(rgw.sts) as server:
        yield server


@pytest.fixture
def exporter(aws_cluster, files, make, rgw, s3, bucket, proxy):
    """Makes an Export that takes its credentials from a given source."""
    sessions = []

    def start(source, *keys, **options):
        session = aws_cluster.connect()
        sessions.append(session)
        server = make(proxy.endpoint, *keys, credentials=source, **options)
        return Export(session, rgw, s3, bucket, proxy, server)

    yield start
    for session in sessions:
        session.close()


# Sources work (each one by itself: test_credentials.py)

ROLES = {
    "of-profile": ("profile", {"profile": "role"}, [STS]),
    "of-instance": (
        "profile", {"profile": "of-instance"},
        [TOKEN, ROLE_NAME, INSTANCE, STS],
    ),
    "on-container": (
        "container", {"role_arn": ROLE_ARN, "external_id": "handshake"},
        [CONTAINERS, STS],
    ),
}


@pytest.mark.parametrize("role", list(ROLES))
def test_role(exporter, identity, role):
    """The role is assumed once in a session, by requests in their order."""
    source, options, patterns = ROLES[role]
    identity.external_id = None if role == "of-instance" else "handshake"
    export = exporter(source, **options)
    export.lands(BIG)
    export.lands(SMALL)
    requests = identity.requests()
    assert len(requests) == len(patterns)
    for pattern, request in zip(patterns, requests):
        assert request in identity.requests(*pattern)
        assert request.status == 200
    assert all(r.status == 200 for r in export.proxy.requests())


def test_role_of_a_real_sts(exporter, rgw):
    """RGW's own STS issues credentials that RGW then accepts."""
    export = exporter(
        "mapping", rgw.access_key, rgw.secret_key, role_arn=rgw.role,
        sts_endpoint=rgw.sts,
    )
    export.lands(BIG)
    headers = export.proxy.requests()[0].headers
    assert headers["x-amz-security-token"] == "***"


# Expiry


@pytest.mark.parametrize("source", ["instance", "container", "web_identity"])
@pytest.mark.parametrize(
    "request_", [CREATE, PART, COMPLETE], ids=["create", "part", "complete"]
)
def test_18_expired_token(exporter, identity, proxy, source, request_):
    """The token expires in the middle of an upload, which goes on with new
    credentials."""
    proxy.rule(*request_, response=EXPIRED)
    export = exporter(source)
    export.lands(BIG)
    assert export.statuses(request_) == [400, 200]
    assert len(identity.issued) == 2
    assert export.others(request_) == (2 if request_ is PARTS else 4)


def test_18_several_parts_at_once(exporter, identity, proxy):
    """One part fetches new credentials, the others wait for it."""
    held = proxy.rule(*PARTS, times=4, hold=True, response=EXPIRED)
    export = exporter("instance")
    with export.running(rows(60), connections=4) as landing:
        wait_until(lambda: held.used == 4, 30, "four parts are under way")
        held.release()
        (found,) = landing.rows()
    export.has_landed(found, rows(60))
    assert len(identity.issued) == 2


@pytest.mark.parametrize(
    "fault", [Response(500), Response(404)], ids=["500", "404"]
)
def test_18_no_new_credentials(exporter, identity, proxy, rgw, bucket, fault):
    """The error names the source that failed; the Abort uses the old
    credentials."""
    identity.rule(*INSTANCE, nth=2, times=None, response=fault)
    proxy.rule(*PART, response=EXPIRED)
    export = exporter("instance")
    error = export.failure(BIG)
    assert error.pgcode == "28000"
    assert "could not upload part 2 of" in str(error)
    assert "instance metadata" in error.diag.message_detail
    assert export.statuses(PART) == [400]
    assert export.statuses(ABORT)[0] == 204
    no_trace(rgw, bucket)


def test_18_keys_that_were_given(exporter, proxy, rgw, bucket):
    """A mapping has no other credentials."""
    access_key, secret_key, token = rgw.temporary()
    export = exporter("mapping", access_key, secret_key, token)
    proxy.rule(*PART, response=EXPIRED, times=None)
    error = export.fails("28000", BIG)
    assert "ExpiredToken" in error.diag.message_detail
    assert export.statuses(PART) == [400]
    assert export.statuses(ABORT)[0] == 204


def test_18_expired_again(exporter, identity, proxy):
    """If the store refuses the new credentials, too, the export fails."""
    proxy.rule(*PART, response=EXPIRED, times=None)
    export = exporter("instance")
    export.fails("28000", BIG)
    assert export.statuses(PART) == [400] * 2
    assert len(identity.issued) == 2


def test_19_renewed_in_time(exporter, identity, proxy, files):
    """Credentials are renewed when five minutes are left, before the store
    refuses them."""
    identity.lifetime = 6 * 60
    part = proxy.rule(*PART, hold=True)
    # During the renewal, the export goes on with the old credentials.
    renewal = identity.rule(*INSTANCE, nth=2, hold=True)
    export = exporter("instance")
    with export.running(rows(40)) as landing:
        part.wait()
        files.set_clock(2)
        part.release()
        renewal.wait()
        (found,) = landing.rows()
        renewal.release()
    export.has_landed(found, rows(40))
    assert len(identity.issued) == 2
    export.lands(rows(40))
    assert all(r.status == 200 for r in proxy.requests())
    assert len(identity.issued) <= 3


def test_19_renewal_is_not_repeated_at_once(exporter, identity):
    """A source whose credentials do not live longer is not asked again for each
    part."""
    identity.lifetime = 240
    export = exporter("instance")
    export.lands(rows(60))
    assert len(identity.issued) <= 3


def test_19_renewal_fails(exporter, identity, proxy, files):
    """The old credentials are used as long as they are valid."""
    identity.lifetime = 6 * 60
    part = proxy.rule(*PART, hold=True)
    identity.rule(*INSTANCE, nth=2, times=None, response=Response(404))
    export = exporter("instance")
    with export.running(rows(40)) as landing:
        part.wait()
        files.set_clock(2)
        part.release()
        (found,) = landing.rows()
    export.has_landed(found, rows(40))
    assert all(r.status == 200 for r in proxy.requests())
    assert [r.status for r in identity.requests(*INSTANCE)] == [200, 404]


def test_19_dead_on_arrival(exporter, identity, proxy):
    identity.lifetime = -60
    error = exporter("container").fails("28000", SMALL)
    assert "have expired" in str(error) + error.diag.message_detail
    assert proxy.requests() == []


def test_19_expired_ones_of_an_instance(exporter, identity, proxy):
    """In an outage of its own, the metadata service has only expired
    credentials.  They are used as long as the store accepts them."""
    identity.lifetime = -60
    exporter("instance").lands(SMALL)
    assert [r.status for r in proxy.requests()] == [200]


# Failures of sources


def refused(export, *words):
    """Asserts that without credentials no request is sent; returns the whole
    error."""
    error = export.fails("28000", SMALL)
    text = f"{error} {error.diag.message_detail}"
    for word in words:
        assert word.lower() in text.lower()
    assert 'option "credentials"' in error.diag.message_hint
    assert export.proxy.requests() == []
    return text


def test_20_instance_metadata_hangs(exporter, identity):
    identity.rule(*TOKEN, times=None, hold=True, when="request")
    started = time.monotonic()
    refused(exporter("instance"), "instance metadata service")
    # The limit is 5 s, plus the delay of a slow machine.
    assert time.monotonic() - started < 15


def test_20_cancel_while_it_hangs(exporter, identity, aws_cluster, bucket):
    held = identity.rule(*TOKEN, times=None, hold=True, when="request")
    export = exporter("instance")
    observer = aws_cluster.connect()
    with export.running(SMALL) as landing:
        held.wait()
        started = time.monotonic()
        select(observer, "SELECT pg_cancel_backend(%s)", (landing.pid,))
        assert landing.error().pgcode == "57014"
        assert time.monotonic() - started < PROMPT
    observer.close()
    identity.clear()
    export.lands(SMALL)


@pytest.mark.parametrize("pattern", [ROLE_NAME, INSTANCE],
                         ids=["role", "credentials"])
def test_20_instance_token_is_refused_once(exporter, identity, pattern):
    identity.rule(*pattern, response=Response(401))
    exporter("instance").lands(SMALL)
    assert len(identity.requests(*TOKEN)) == 2


def test_20_instance_token_is_always_refused(exporter, identity):
    identity.rule(*ROLE_NAME, response=Response(401), times=None)
    refused(exporter("instance"), "instance metadata service", "401")
    assert len(identity.requests(*TOKEN)) == 2


def test_20_instance_has_no_role(exporter, identity):
    identity.rule(*ROLE_NAME, response=Response(404), times=None)
    refused(exporter("instance"), "the instance has no role")
    assert len(identity.requests(*ROLE_NAME)) == 1


@pytest.mark.parametrize("status", [403, 404, 405])
def test_20_no_version_2(exporter, identity, status):
    """Version 1, which needs no token, is not used as a fallback."""
    identity.rule(*TOKEN, response=Response(status), times=None)
    refused(exporter("instance"), "instance metadata service", str(status))
    assert identity.requests("GET") == []


@pytest.mark.parametrize("pattern", [TOKEN, ROLE_NAME, INSTANCE],
                         ids=["token", "role", "credentials"])
def test_20_instance_metadata_fails_twice(exporter, identity, pattern):
    identity.rule(*pattern, response=Response(500), times=2)
    exporter("instance").lands(SMALL)
    assert [r.status for r in identity.requests(*pattern)] == [500, 500, 200]


JUNK = {
    "no-json": b"<html>Welcome</html>",
    "empty": b"",
    "failed": b'{"Code": "Failed", "Message": "secret-of-junk"}',
    "no-keys": b'{"Code": "Success"}',
    "no-expiration": (
        b'{"Code": "Success", "AccessKeyId": "a", "Token": "t",'
        b' "SecretAccessKey": "secret-of-junk"}'
    ),
    "line-break": (
        b'{"Code": "Success", "AccessKeyId": "a\\r\\nX-Evil: 1",'
        b' "SecretAccessKey": "secret-of-junk", "Token": "t",'
        b' "Expiration": "2099-01-01T00:00:00Z"}'
    ),
    "10-mb": b'{"Code": "' + b"secret-of-junk" * 750000 + b'"}',
}


@pytest.mark.parametrize("junk", list(JUNK))
def test_20_junk_instead_of_credentials(exporter, identity, canaries, junk):
    canaries.add("secret-of-junk")
    identity.rule(*INSTANCE, response=Response(200, JUNK[junk]), times=None)
    text = refused(exporter("instance"), "instance metadata service")
    assert "secret-of-junk" not in text
    assert len(text) < 2000


def test_21_container_token_is_rotated(exporter, identity, files, proxy):
    """The token's file is read again whenever it is needed, even during an
    upload."""
    held = proxy.rule(*PART, hold=True, response=EXPIRED)
    export = exporter("container")
    with export.running(BIG) as landing:
        held.wait()
        identity.authorization = "container-authorization-2"
        files.write("container", identity.authorization, secret=True)
        held.release()
        (found,) = landing.rows()
    export.has_landed(found, BIG)
    assert [r.status for r in identity.requests(*CONTAINERS)] == [200, 200]


def test_21_container_token_is_wrong(exporter, files):
    files.write("container", "wrong-container-token", secret=True)
    text = refused(exporter("container"), "container's credentials", "403")
    assert "wrong-container-token" not in text


def test_21_container_token_with_a_line_break(exporter, identity, files):
    files.write("container", "one\r\nX-Evil: 1")
    refused(exporter("container"), "line break")
    assert identity.requests() == []


def test_21_container_token_is_missing(exporter, identity, files):
    os.unlink(files.path("container"))
    refused(exporter("container"), files.path("container"))
    assert identity.requests() == []


def test_21_container_at_a_public_host(environment, exporter, proxy):
    """Without TLS, the token would be sent in clear text."""
    environment(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://192.0.2.1/a")
    refused(
        exporter("container"), "AWS_CONTAINER_CREDENTIALS_FULL_URI leads",
    )


@pytest.mark.parametrize("source", ["container", "web_identity"])
def test_21_source_fails_twice(exporter, identity, source):
    identity.rule(response=Response(500), times=2)
    exporter(source).lands(SMALL)
    assert [r.status for r in identity.requests()] == [500, 500, 200]


def test_21_web_identity_is_rotated(exporter, identity, files):
    """The token is rotated after the file was read and before STS verifies it.
    """
    held = identity.rule(*STS, hold=True, when="request")
    export = exporter("web_identity")
    with export.running(SMALL) as landing:
        held.wait()
        identity.web_identity_token = "web-identity-token-2"
        files.write("web-identity", "web-identity-token-2\n", secret=True)
        held.release()
        (found,) = landing.rows()
    export.has_landed(found, SMALL)
    assert [r.status for r in identity.requests(*STS)] == [400, 200]


STS_REFUSALS = {
    "web-identity": ("web_identity", {}, "InvalidIdentityToken"),
    "external-id": (
        "container", {"role_arn": ROLE_ARN, "external_id": "wrong"},
        "AccessDenied",
    ),
    "role": (
        "container", {"role_arn": ROLE_ARN + "-not-ours"}, "AccessDenied"
    ),
}


@pytest.mark.parametrize("refusal", list(STS_REFUSALS))
def test_21_sts_refuses(exporter, identity, files, refusal):
    source, options, code = STS_REFUSALS[refusal]
    files.write("web-identity", "another-identity-token", secret=True)
    text = refused(exporter(source, **options), "role arn:aws:iam::", code)
    assert "another-identity-token" not in text


def test_21_sts_hangs(exporter, identity, aws_cluster):
    """A cancel does not wait for the response."""
    held = identity.rule(*STS, times=None, hold=True, when="request")
    export = exporter("web_identity")
    observer = aws_cluster.connect()
    with export.running(SMALL) as landing:
        held.wait()
        started = time.monotonic()
        select(observer, "SELECT pg_cancel_backend(%s)", (landing.pid,))
        assert landing.error().pgcode == "57014"
        assert time.monotonic() - started < PROMPT
    observer.close()


def test_chain_does_not_fall_through(environment, exporter, identity):
    """If a configured source fails, that is an error: no other identity is
    used."""
    environment(AWS_ACCESS_KEY_ID="AKIAHALF")
    refused(exporter("chain"), "the environment has no AWS_SECRET_ACCESS_KEY")
    environment(AWS_PROFILE="nonesuch")
    refused(exporter("chain"), 'profile "nonesuch" is neither in')
    identity.rule(*STS, response=Response(400), times=None)
    environment()
    refused(exporter("chain"), "role arn:aws:iam::")
    assert identity.requests("GET") == identity.requests("PUT") == []
    identity.rule(*CONTAINERS, response=Response(403), times=None)
    environment(remove=["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"])
    refused(exporter("chain"), "container", "403")
    assert identity.requests("GET") == identity.requests(*CONTAINERS)
    assert identity.requests("PUT") == []


@pytest.mark.parametrize(
    "profile, word",
    [
        ("process", "credential_process, which onboard does not run"),
        ("sso", "SSO"),
        ("loop", "refers to itself"),
        ("nonesuch", "is neither in"),
    ],
)
def test_22_profile_is_refused(exporter, identity, files, profile, word):
    """A command would run as PostgreSQL's OS user."""
    refused(exporter("profile", profile=profile), profile, word)
    assert not os.path.exists(files.path("ran"))
    assert identity.requests() == []


# The clock


@pytest.mark.parametrize("minutes", [-20, 20])
@pytest.mark.parametrize("query", [SMALL, BIG], ids=["small", "big"])
def test_23_clock_is_wrong(exporter, files, proxy, rgw, minutes, query):
    """The store's time is learnt once, and kept for the session."""
    files.set_clock(minutes)
    export = exporter("mapping", rgw.access_key, rgw.secret_key)
    count = 1 if query == SMALL else 5
    for refusals in (1, 0):
        export.lands(query)
        statuses = [r.status for r in proxy.requests()]
        assert statuses == [403] * refusals + [200] * count
        proxy.clear()
    (warning,) = warnings(export.db)
    side = "behind" if minutes < 0 else "ahead of"
    assert f"seconds {side} that of" in warning


def test_23_store_calls_a_right_clock_wrong(exporter, proxy, rgw):
    """If the responses show that the clock is right, the refusal is final."""
    response = s3_error(403, "RequestTimeTooSkewed")
    proxy.rule(response=response, times=None)
    export = exporter("mapping", rgw.access_key, rgw.secret_key)
    error = export.fails("28000", SMALL)
    assert "Synchronize the clock" in error.diag.message_hint
    assert export.statuses(("PUT", "")) == [403]
