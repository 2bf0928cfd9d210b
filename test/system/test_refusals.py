"""Refusals that need an answer from outside: each has its SQLSTATE and hint.

No message says more than the user may know, and nothing is left behind.
"""

import shutil
import socket
import threading

import pytest

from conftest import Server
from lib import process
from lib.exports import (
    body, failure, key_of, keys, land, no_trace, rows, select,
)
from lib.postgres import Cluster, faketime
from lib.rgw import Rgw

SMALL = "SELECT 1 AS one"
BIG = rows(20)
BOTH = pytest.mark.parametrize("query", [SMALL, BIG], ids=["small", "big"])

# What each hint speaks of.
CHECK_KEYS = "Check the access key id, the secret access key"
CHECK_BUCKET = "Check the name of the bucket"
CHECK_POLICY = "s3:PutObject"
CHECK_CLOCK = "Synchronize the clock of the database server"
CHECK_ENDPOINT = "Check the server's endpoint"
CHECK_CA = "option ca_file"
NOT_S3 = "Is the endpoint an S3 server?"


def refused(db, sqlstate, hint, query, bucket, **options):
    """The error of an export that must fail so; returns its DETAIL."""
    error = failure(land, db, "t", query, bucket, **options)
    assert error.pgcode == sqlstate, error
    what = "upload" if query == SMALL else "start the upload of"
    assert error.diag.message_primary == (
        f'could not {what} "s3://{bucket}/{key_of("t")}"'
    )
    assert hint in error.diag.message_hint
    assert not db.notices
    return error.diag.message_detail


@pytest.fixture
def impatient(db):
    """A session that tries no refused connection for minutes."""
    select(db, "SET onboard.retry_deadline = '300ms'")
    return db


# What the store says


@BOTH
def test_no_such_bucket(db, query):
    bucket = "no-such-bucket-here"
    detail = refused(db, "58P01", CHECK_BUCKET, query, bucket)
    assert "S3 answered HTTP 404 NoSuchBucket" in detail
    assert "request id tx" in detail


@BOTH
def test_wrong_secret(db, rgw, bucket, make_server, query):
    server = make_server(rgw.endpoint, rgw.access_key, "wrong-secret-canary")
    detail = refused(db, "28000", CHECK_KEYS, query, bucket, server=server)
    assert "S3 answered HTTP 403 SignatureDoesNotMatch" in detail
    no_trace(rgw, bucket)


def test_unknown_access_key(db, rgw, bucket, make_server):
    server = make_server(rgw.endpoint, "NOBODY", rgw.secret_key)
    detail = refused(db, "28000", CHECK_KEYS, SMALL, bucket, server=server)
    assert "S3 answered HTTP 403 InvalidAccessKeyId" in detail
    no_trace(rgw, bucket)


@BOTH
def test_bucket_of_another(db, rgw, s3, bucket, make_server, query):
    """Other credentials than those of the bucket's owner."""
    name = "stranger-" + ("small" if query == SMALL else "big")
    server = make_server(rgw.endpoint, *rgw.add_user(name))
    detail = refused(db, "42501", CHECK_POLICY, query, bucket, server=server)
    assert "S3 answered HTTP 403 AccessDenied" in detail
    no_trace(rgw, bucket)


@pytest.mark.parametrize("offset", ["-20m", "+20m"])
def test_clock_skew(rgw, bucket, canaries, offset):
    with Cluster(env=faketime(offset)) as cluster:
        cluster.psql("CREATE EXTENSION onboard")
        Server(cluster, canaries)(
            rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3",
            dbname="postgres",
        )
        session = cluster.connect()
        detail = refused(session, "28000", CHECK_CLOCK, SMALL, bucket)
        assert "S3 answered HTTP 403 RequestTimeTooSkewed" in detail
        session.close()
    no_trace(rgw, bucket)


# What is no store


@BOTH
def test_nobody_listens(impatient, make_server, query):
    (port,) = process.free_ports(1)
    server = make_server(f"http://127.0.0.1:{port}", "key", "secret-of-none")
    detail = refused(
        impatient, "08001", CHECK_ENDPOINT, query, "bucket", server=server
    )
    assert "refused" in detail or "Failed to connect" in detail


def test_unknown_host(impatient, make_server):
    server = make_server("http://nonesuch.invalid", "key", "secret-of-none")
    detail = refused(
        impatient, "08001", CHECK_ENDPOINT, SMALL, "bucket", server=server
    )
    assert "nonesuch.invalid" in detail


@pytest.fixture
def speaker(request):
    """A server that answers each connection's first bytes with some others."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=32)
    listener.settimeout(60)
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                try:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        data = client.recv(65536)
                        if not data:
                            break
                        head += data
                    client.sendall(request.param)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(1 << 20):
                        pass
                except OSError:
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield "http://127.0.0.1:%d" % listener.getsockname()[1]
    stop.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


HTML = b"<html><body>Welcome</body></html>"
WEB_SITE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n" % len(HTML)
) + HTML


@BOTH
@pytest.mark.parametrize("speaker", [WEB_SITE], ids=[""], indirect=True)
def test_web_site(impatient, make_server, speaker, query):
    server = make_server(speaker, "key", "secret-of-none")
    refused(impatient, "08P01", NOT_S3, query, "bucket", server=server)


@pytest.mark.parametrize(
    "speaker", [b"SSH-2.0-OpenSSH_9.2\r\n" * 10], ids=[""], indirect=True
)
def test_no_http(impatient, make_server, speaker):
    server = make_server(speaker, "key", "secret-of-none")
    refused(impatient, "08P01", NOT_S3, BIG, "bucket", server=server)


@pytest.mark.parametrize(
    "speaker",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n"
        b"Connection: close\r\n\r\n" + b"<a>" * 100000,
        b"HTTP/1.1 200 OK\r\n" + b"X-More: 1\r\n" * 100000 + b"\r\n",
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"
        b'<!DOCTYPE a [<!ENTITY a "&b;&b;"><!ENTITY b "ha">]><Error>'
        b"<Code>&a;</Code></Error>",
    ],
    ids=["long-body", "many-headers", "entities"],
    indirect=True,
)
def test_hostile_answer(impatient, make_server, speaker):
    """It ends the export, not the session."""
    server = make_server(speaker, "key", "secret-of-none")
    error = failure(land, impatient, "t", BIG, "bucket", server=server)
    assert error.pgcode in ("08P01", "58P01")
    assert select(impatient, "SELECT 1 AS one") == [{"one": 1}]


# TLS


@pytest.fixture(scope="module")
def tls(pg, canaries):
    """An S3 server with a certificate of its own authority."""
    with Rgw(memory_gb=1, tls=True) as server:
        canaries.add(server.secret_key)
        server.client().create_bucket(Bucket="over-tls")
        # The rig's own folder is closed to the OS user of PostgreSQL.
        server.readable_ca = shutil.copy(server.ca_file, pg.folder + "/ca.pem")
        yield server


def test_unknown_authority(db, tls, make_server):
    server = make_server(tls.tls_endpoint, tls.access_key, tls.secret_key)
    detail = refused(db, "08001", CHECK_CA, SMALL, "over-tls", server=server)
    assert "certificate" in detail
    # A certificate stays what it is.
    assert "attempts" not in detail
    assert keys(tls.client(), "over-tls") == []


def test_wrong_authority(db, tls, make_server):
    """ca_file replaces the system's authorities."""
    server = make_server(
        tls.tls_endpoint, tls.access_key, tls.secret_key,
        ca_file="/etc/ssl/certs/ca-certificates.crt",
    )
    refused(db, "08001", CHECK_CA, SMALL, "over-tls", server=server)


def test_ca_file_is_missing(db, tls, make_server):
    server = make_server(
        tls.tls_endpoint, tls.access_key, tls.secret_key,
        ca_file="/nonesuch/ca.pem",
    )
    detail = refused(db, "08001", CHECK_CA, SMALL, "over-tls", server=server)
    assert "/nonesuch/ca.pem" in detail


def test_wrong_host_name(db, tls, make_server):
    """The certificate is for 127.0.0.1 and localhost."""
    with socket.create_server(("127.0.0.2", 0)) as bridge:
        threading.Thread(
            target=bridge_once, args=(bridge, tls.tls_endpoint), daemon=True
        ).start()
        server = make_server(
            "https://127.0.0.2:%d" % bridge.getsockname()[1],
            tls.access_key, tls.secret_key, ca_file=tls.readable_ca,
        )
        detail = refused(
            db, "08001", CHECK_CA, SMALL, "over-tls", server=server
        )
    assert "127.0.0.2" in detail


def bridge_once(listener, endpoint):
    """Carries the bytes of one TLS handshake to another address."""
    port = int(endpoint.rpartition(":")[2])
    client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        client.settimeout(10)
        server.settimeout(10)
        try:
            while data := client.recv(65536):
                server.sendall(data)
                client.sendall(server.recv(65536))
        except OSError:
            pass


def test_right_authority(db, tls, make_server):
    server = make_server(
        tls.tls_endpoint, tls.access_key, tls.secret_key,
        ca_file=tls.readable_ca,
    )
    s3 = tls.client()
    for query in (SMALL, BIG):
        found = land(db, "t", query, "over-tls", server=server)
        assert found["status"] == "done"
        assert len(body(s3, "over-tls", key_of("t"))) == found["bytes"]
    assert tls.unfinished("over-tls") == []


def test_tls_to_a_plain_server(impatient, rgw, make_server):
    endpoint = rgw.endpoint.replace("http:", "https:")
    server = make_server(endpoint, rgw.access_key, rgw.secret_key)
    refused(impatient, "08001", CHECK_CA, SMALL, "bucket", server=server)


# What the data does not admit


@pytest.mark.parametrize("row", [10, 18000], ids=["early", "late"])
def test_encoding_cannot_hold_a_character(db, rgw, s3, bucket, row):
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
