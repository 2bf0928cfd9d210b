"""Servers that echo requests in their responses: no secret is passed on.

Stores, security token services and sources of a machine's credentials may quote
requests in an error, or be behind a proxy that does.
"""

import base64
import contextlib
import json
import os
import re
import secrets
from urllib.parse import quote
from xml.sax.saxutils import escape

import psycopg2
import pytest

from conftest import Server
from lib.exports import select
from lib.identity import CONTAINER, METADATA, ROLE_ARN
from lib.postgres import Cluster
from lib.script import Script
from lib.wire import Response

FORMS = {
    "plain": str,
    "percent": lambda text: quote(quote(text, safe=""), safe=""),
    "xml": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    # long enough that the limit of shown texts falls inside the canary
    "cut": lambda text: ("-" * 430 + text),
}


UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def canary():
    """A secret with the characters that encodings change."""
    return "Can+/" + secrets.token_urlsafe(30) + "/+" + secrets.token_hex(12)


def pieces(secret):
    """Pieces of a secret, without those characters, that no text may contain:
    {length: pieces}."""
    found = {8: set()}
    for text in [secret] + [
        base64.b64encode(b"x" * at + secret.encode()).decode()[4:-4]
        for at in range(3)
    ]:
        found[8] |= windows(text, 8)
    found[16] = windows(secret.encode().hex(), 16)
    return found


def windows(text, size):
    text = re.sub("[^A-Za-z0-9]", "", text)
    return {text[i:i + size] for i in range(len(text) - size + 1)}


class Echo(Script):
    """Echoes requests; form: the format of responses, status: their status."""

    def __init__(self):
        super().__init__()
        self.form, self.status = str, 400
        self.token = None  # the token of EC2's metadata service
        self.signatures = set()  # signatures of the requests

    def respond(self, request, headers):
        if request.path == "/latest/api/token":
            return Response(200, self.token.encode())
        signed = headers.get("authorization", "")
        self.signatures |= set(re.findall("Signature=(.*)", signed))
        names = (
            "x-amz-security-token", "authorization",
            "x-aws-ec2-metadata-token",
        )
        sent = " ".join(headers[name] for name in names if name in headers)
        text = self.form(sent + request.body.decode("latin-1"))
        more = {
            name: text[:60].replace(" ", "-") for name in
            ("x-amz-request-id", "x-amz-bucket-region", "Server")
        }
        more["Location"] = f"http://127.0.0.1:1/{quote(text[:500])}"
        if request.path.startswith((CONTAINER, METADATA)):
            return self._json(text, more)
        return self._xml(request, escape(text), more)

    def _json(self, text, more):
        if self.status == 200 and self.form is str:
            return Response(200, text.encode(), more)  # a role's name
        document = {"Code": text[:60], "code": text[:60], "message": text}
        return Response(self.status, json.dumps(document).encode(), more)

    def _xml(self, request, text, more):
        error = (
            f"<Error><Code>{text[:60]}</Code><Message>{text}</Message>"
            f"<Region>{text[:60]}</Region><RequestId>{text[:120]}</RequestId>"
            "</Error>"
        )
        body = error
        if "Action=" in request.body.decode("latin-1"):
            body = f"<ErrorResponse>{error}</ErrorResponse>"
        elif self.status == 200 and request.method == "GET":
            body = (
                "<ListMultipartUploadsResult><Upload>"
                f"<Key>{text[:1000]}</Key><UploadId>{text[:500]}</UploadId>"
                "<Initiated>2020-01-01T00:00:00.000Z</Initiated></Upload>"
                "</ListMultipartUploadsResult>"
            )
            if request.query == "encryption=":
                body = (
                    "<ServerSideEncryptionConfiguration><Rule>"
                    "<ApplyServerSideEncryptionByDefault>"
                    f"<SSEAlgorithm>{text[:60]}</SSEAlgorithm>"
                    f"<KMSMasterKeyID>{text[:500]}</KMSMasterKeyID>"
                    "</ApplyServerSideEncryptionByDefault></Rule>"
                    "</ServerSideEncryptionConfiguration>"
                )
        elif self.status == 200 and request.query == "uploads=":
            body = (
                "<InitiateMultipartUploadResult>"
                f"<UploadId>{text[:500]}</UploadId>"
                "</InitiateMultipartUploadResult>"
            )
        return Response(self.status, body.encode(), more)


@pytest.fixture(scope="module")
def echo():
    with Echo() as server:
        yield server


@pytest.fixture(scope="module")
def issued():
    """Secrets that the servers receive, by name."""
    names = ("token", "web", "container", "instance", "secret", "key")
    return {name: canary() for name in names}


@pytest.fixture(scope="module")
def host(echo, issued, canaries):
    canaries.update(issued.values())
    echo.token = issued["instance"]
    cluster = Cluster()
    cluster.create()
    path = os.path.join(cluster.folder, "web-identity")
    with open(path, "w") as file:
        file.write(issued["web"])
    cluster.env = {
        "AWS_ROLE_ARN": ROLE_ARN,
        "AWS_WEB_IDENTITY_TOKEN_FILE": path,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": echo.endpoint + CONTAINER,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": issued["container"],
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": echo.endpoint,
        "AWS_ENDPOINT_URL_STS": echo.endpoint,
    }
    with contextlib.closing(cluster.start()):
        cluster.psql("CREATE EXTENSION onboard")
        yield cluster


SOURCES = {
    "mapping": {},
    "role": {"role_arn": ROLE_ARN},
    "web_identity": {"credentials": "web_identity"},
    "container": {"credentials": "container"},
    "instance": {"credentials": "instance"},
}
CALLS = (
    "SELECT * FROM onboard_table('t', 'SELECT 1', 'bucket')",
    "SELECT * FROM onboard_table('big', 'SELECT repeat(''x'', 1000) FROM"
    " generate_series(1, 6000)', 'bucket', '{\"part_size\": \"5MB\"}')",
    "SELECT * FROM onboard_all()",
    "SELECT * FROM onboard_abort_uploads('bucket', older_than => '0')",
    "SELECT * FROM onboard_check('bucket')",
    "SELECT * FROM onboard_wait(onboard_submit('job', 'SELECT 1', 'bucket'))",
)


def all_output(cluster, server):
    """All output of all functions: to the client, the log and listeners."""
    session = cluster.connect()
    output = []
    select(session, f"SET onboard.server = '{server}'; LISTEN onboard")
    select(session, "SET onboard.retry_deadline = '500ms'")
    for sql in CALLS:
        try:
            output += [str(row) for row in select(session, sql)]
        except psycopg2.Error as error:
            output += [
                str(getattr(error.diag, name)) for name in dir(error.diag)
                if name.startswith(("message", "context", "internal"))
            ]
    session.poll()
    output += session.notices
    output += [notify.payload for notify in session.notifies]
    output += [str(row) for row in select(session, "TABLE onboard_runs")]
    session.close()
    return output + [cluster.log_text()]


@pytest.mark.parametrize("status", [200, 301, 400])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("form", FORMS)
def test_an_echo_is_not_passed_on(
    host, echo, issued, canaries, form, source, status
):
    echo.form, echo.status = FORMS[form], status
    echo.signatures.clear()
    before = len(echo.requests())
    servers = Server(host, canaries)
    keys = (issued["key"], issued["secret"], issued["token"])
    server = servers(
        echo.endpoint, *(keys if source in ("mapping", "role") else ()),
        dbname="postgres", **SOURCES[source],
    )
    select_all = "DELETE FROM onboard_tables; INSERT INTO onboard_tables" \
        " (name, query, bucket) VALUES ('r', 'SELECT 1', 'bucket')"
    host.psql(select_all)
    try:
        output = all_output(host, server)
    finally:
        servers.drop()
    assert len(echo.requests()) > before
    # Eight digits of a run id could equal part of a signature by chance.
    text = re.sub(UUID, "", "\n".join(output))
    shown = {size: windows(text, size) for size in (8, 16)}
    for name, secret in [*issued.items(), *(("signed", s) for s in echo.signatures)]:
        for size, hidden in pieces(secret).items():
            assert not hidden & shown[size], name


# Statements that contain a secret


@pytest.mark.parametrize("how", ["do", "function", "nested"])
def test_the_statement_of_a_mapping_is_no_context(host, how, canaries):
    """An error of the validator in a function or a DO block must not quote it.
    """
    secret = canary()
    canaries.add(secret)
    bad = (
        "CREATE USER MAPPING FOR CURRENT_USER SERVER contexts OPTIONS"
        f" (access_key_id ''id'', secret_access_key ''{secret}'',"
        " nonsense ''x'')"
    )
    host.psql("DROP SERVER IF EXISTS contexts; CREATE SERVER contexts FOREIGN"
              " DATA WRAPPER onboard OPTIONS (region 'eu-central-1')")
    body = {
        "do": bad.replace("''", "'"),
        "function": f"EXECUTE '{bad}'",
        "nested": f"EXECUTE $x$ DO $y$ BEGIN EXECUTE '{bad}'; END $y$ $x$",
    }[how]
    session = host.connect()
    # the client's own statement is not in the context of its error
    select(session, "SET log_min_error_statement = panic")
    before = len(host.log_text())
    with pytest.raises(psycopg2.Error) as caught:
        select(session, f"DO $z$ BEGIN {body}; END $z$")
    diag = caught.value.diag
    assert caught.value.pgcode == "HV00D"
    assert diag.context is None
    output = [str(getattr(diag, name)) for name in dir(diag)
              if not name.startswith("_")]
    assert not any(secret in text for text in output)
    assert secret not in host.log_text()[before:]
    session.close()
    host.psql("DROP SERVER contexts")


def test_the_statement_of_a_mapping_is_not_logged(host, canaries):
    """A statement in a block is treated like a statement by itself."""
    secret = canary()
    canaries.add(secret)
    host.psql("DROP SERVER IF EXISTS contexts; CREATE SERVER contexts FOREIGN"
              " DATA WRAPPER onboard OPTIONS (region 'eu-central-1')")
    session = host.connect()
    with pytest.raises(psycopg2.Error):
        select(
            session, "DO $z$ BEGIN CREATE USER MAPPING FOR CURRENT_USER"
            " SERVER contexts OPTIONS (access_key_id 'id',"
            f" secret_access_key '{secret}', nonsense 'x'); END $z$",
        )
    session.close()
    assert "nonsense" in host.log_text()
    assert secret not in host.log_text()
    host.psql("DROP SERVER contexts")
