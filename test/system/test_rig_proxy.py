"""The fault proxy, tested with clients that are not ours."""

import concurrent.futures
import http.client
import os
import socket
import ssl
import time
import urllib.parse

import botocore.exceptions
import pytest

from lib.proxy import Response, s3_error
from lib.rgw import release

MB = 1024 * 1024
BROKEN = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
)


def code_of(error):
    return error.value.response["Error"]["Code"]


@pytest.fixture
def through(rgw, proxy):
    """A boto3 client whose requests go through the proxy."""
    return rgw.client(endpoint=proxy.endpoint)


def test_proxy_passes_through(through, proxy, bucket):
    body = os.urandom(20 * MB)
    through.put_object(Bucket=bucket, Key="k", Body=body)
    assert through.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    assert through.head_object(Bucket=bucket, Key="k")["ContentLength"]
    put, get, head = proxy.wait_for(count=3)
    assert (put.method, put.path, put.status) == ("PUT", f"/{bucket}/k", 200)
    assert put.body_bytes == len(body)
    assert put.headers["authorization"] == "***"
    assert (get.status, head.status) == (200, 200)
    # One connection serves all requests.
    assert put.connection == get.connection == head.connection


def test_proxy_takes_chunked_bodies(proxy, rgw, bucket):
    url = rgw.client(endpoint=proxy.endpoint).generate_presigned_url(
        "put_object", Params={"Bucket": bucket, "Key": "k"}
    )
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request(
        "PUT", f"{parts.path}?{parts.query}", body=iter([b"ab", b"cd"]),
        encode_chunked=True, headers={"Transfer-Encoding": "chunked"},
    )
    # RGW 16 does not support such a body, but it received and refused it.
    assert connection.getresponse().status == (200 if release() > 16 else 411)
    connection.close()
    (request,) = proxy.wait_for("PUT")
    assert request.body_bytes == len("2\r\nab\r\n" * 2 + "0\r\n\r\n")


def test_proxy_carries_many_at_once(rgw, proxy, bucket):
    def put(number):
        client = rgw.client(endpoint=proxy.endpoint)
        client.put_object(Bucket=bucket, Key=str(number), Body=b"x" * MB)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(16)))
    assert len(proxy.wait_for("PUT", count=16)) == 16


def test_proxy_responds_to_the_nth(through, proxy, bucket):
    rule = proxy.rule(
        "PUT", "/k", nth=2, response=s3_error(503, "SlowDown")
    )
    through.put_object(Bucket=bucket, Key="k", Body=b"1")
    with pytest.raises(botocore.exceptions.ClientError) as error:
        through.put_object(Bucket=bucket, Key="k", Body=b"2")
    through.put_object(Bucket=bucket, Key="k", Body=b"3")
    assert code_of(error) == "SlowDown"
    assert (rule.matched, rule.used) == (3, 1)
    requests = proxy.wait_for("PUT", count=3)
    assert [r.status for r in requests] == [200, 503, 200]
    assert requests[1].server_status is None


def test_proxy_responds_to_a_head(through, proxy, bucket):
    proxy.rule("HEAD", response=Response(500, b"not sent"), times=None)
    for _ in range(2):
        with pytest.raises(botocore.exceptions.ClientError):
            through.head_object(Bucket=bucket, Key="k")


@pytest.mark.parametrize("drop", ["before", "during"])
def test_proxy_drops_before_the_server_acts(s3, through, proxy, bucket, drop):
    proxy.rule("PUT", drop=drop)
    with pytest.raises(BROKEN):
        through.put_object(Bucket=bucket, Key="k", Body=b"x" * MB)
    proxy.wait_for("PUT")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_proxy_drops_after_the_server_acted(s3, through, proxy, bucket):
    proxy.rule("PUT", drop="after")
    with pytest.raises(BROKEN):
        through.put_object(Bucket=bucket, Key="k", Body=b"x" * MB)
    (request,) = proxy.wait_for("PUT")
    assert (request.status, request.server_status) == (None, 200)
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == MB


def test_proxy_cuts_a_response(through, proxy, bucket):
    through.put_object(Bucket=bucket, Key="k", Body=b"x" * MB)
    proxy.rule("GET", drop="response")
    with pytest.raises(BROKEN + (botocore.exceptions.IncompleteReadError,)):
        through.get_object(Bucket=bucket, Key="k")["Body"].read()


@pytest.mark.parametrize("when", ["request", "response"])
def test_proxy_holds(s3, through, proxy, bucket, when):
    rule = proxy.rule("PUT", hold=True, when=when)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        put = pool.submit(
            through.put_object, Bucket=bucket, Key="k", Body=b"x"
        )
        rule.wait()
        landed = "Contents" in s3.list_objects_v2(Bucket=bucket)
        assert landed == (when == "response")
        assert not put.done()
        rule.release()
        put.result(30)


def test_proxy_delays(through, proxy, bucket):
    proxy.rule("PUT", delay=0.3)
    started = time.monotonic()
    through.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert time.monotonic() - started >= 0.3


def test_proxy_logs_before_it_responds(through, proxy, bucket):
    """When a client has the response, the log is complete."""
    for number in range(50):
        through.put_object(Bucket=bucket, Key="k", Body=b"x" * 1000)
        request = proxy.requests()[number]
        assert request.ended and request.status == request.server_status == 200
        assert (request.body, request.body_bytes) == (b"x" * 1000, 1000)


@pytest.fixture
def raw(proxy):
    """A connection to the proxy for raw bytes."""
    parts = urllib.parse.urlsplit(proxy.endpoint)
    with socket.create_connection((parts.hostname, parts.port)) as sock:
        sock.settimeout(30)
        yield sock


def all_of(sock):
    data = b""
    while more := sock.recv(65536):
        data += more
    return data


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HELLO = Response(200, b"hello")


@pytest.mark.parametrize("at", [0, 10, len(HELLO.head()) + 3])
def test_proxy_cuts_a_response_anywhere(proxy, raw, at):
    proxy.rule(response=HELLO, drop="response", at=at)
    raw.sendall(GET)
    assert all_of(raw) == (HELLO.head() + HELLO.body)[:at]


@pytest.mark.parametrize("drop", ["before", "during", "after", "response"])
def test_proxy_resets(proxy, raw, drop):
    proxy.rule(response=HELLO, drop=drop, reset=True)
    raw.sendall(GET)
    with pytest.raises(ConnectionResetError):
        all_of(raw)
        all_of(raw)


def put(length):
    return b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length


def test_proxy_resets_at_a_byte(proxy, raw):
    proxy.rule(response=HELLO, drop="during", at=1234, reset=True)
    raw.sendall(put(5000) + b"x" * 5000)
    with pytest.raises(ConnectionResetError):
        all_of(raw)
    assert proxy.requests()[0].body_bytes == 1234


def test_proxy_stalls_at_a_byte(proxy, raw):
    """Bytes that the proxy does not read fill the buffers, so the client must
    stall."""
    rule = proxy.rule(response=HELLO, hold=True, when="body", at=1000)
    raw.sendall(put(64 * MB) + b"x" * 1000)
    rule.wait()
    raw.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while sent < 64 * MB:
            sent += raw.send(b"x" * MB)
    assert proxy.requests()[0].body_bytes == 1000
    rule.release()
    raw.settimeout(30)
    raw.sendall(b"x" * (64 * MB - 1000 - sent))
    assert raw.recv(17) == b"HTTP/1.1 200 Scri"


def test_proxy_is_slow(proxy, raw):
    rule = proxy.rule(response=HELLO, rate=50)
    raw.sendall(put(1000) + b"x" * 1000)
    rule.wait()
    (request,) = proxy.requests()
    assert request.body_bytes < 1000 and not request.ended
    rule.release()
    assert raw.recv(17) == b"HTTP/1.1 200 Scri"
    assert request.body_bytes == 1000


def test_proxy_responds_slowly(proxy, raw):
    rule = proxy.rule(response=Response(200, b"x" * 1000), rate=50)
    raw.sendall(GET)
    rule.wait()
    head = Response(200, b"x" * 1000).head()
    got = raw.recv(65536)
    assert len(got) < len(head) + 1000
    rule.release()
    while len(got) < len(head) + 1000:
        got += raw.recv(65536)
    assert got == head + b"x" * 1000


@pytest.mark.parametrize("at", [0, 500])
def test_proxy_responds_early(proxy, raw, at):
    proxy.rule(response=HELLO, early=True, at=at)
    raw.sendall(put(5000) + b"x" * at)
    assert all_of(raw) == HELLO.head() + HELLO.body


def test_proxy_damages_a_byte(through, proxy, bucket):
    proxy.rule("PUT", flip=3)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        through.put_object(Bucket=bucket, Key="k", Body=b"x" * 10)
    assert code_of(error) == "XAmzContentSHA256Mismatch"


def test_proxy_replaces_a_response(s3, through, proxy, bucket):
    proxy.rule("PUT", instead=s3_error(500, "InternalError"))
    with pytest.raises(botocore.exceptions.ClientError) as error:
        through.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert code_of(error) == "InternalError"
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 1


def test_proxy_dribbles(proxy):
    rule = proxy.rule(response=HELLO, hold=True, dribble=0.01)
    connection = http.client.HTTPConnection(
        urllib.parse.urlsplit(proxy.endpoint).netloc, timeout=30
    )
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.read(3) == b"   "
    rule.release()
    rest = response.read()
    assert (rest.strip(b" "), rule.blanks) == (b"hello", 3 + len(rest) - 5)
    connection.close()


def test_proxy_sends_more_than_a_response(proxy, raw):
    proxy.rule(response=HELLO, before=b"before", after=b"after", chunked=True)
    raw.sendall(GET)
    head = HELLO.head().replace(
        b"Content-Length: 5", b"Transfer-Encoding: chunked"
    )
    expected = b"before" + head + b"5\r\nhello\r\n0\r\n\r\nafter"
    got = b""
    while len(got) < len(expected):
        got += raw.recv(65536)
    assert got == expected


def test_proxy_hangs_up(through, proxy, bucket):
    through.list_objects_v2(Bucket=bucket)
    proxy.hang_up()
    through.list_objects_v2(Bucket=bucket)
    first, second = proxy.requests()
    assert (first.connection, second.connection) == (1, 2)


def test_proxy_breaks_connections(through, proxy, bucket):
    proxy.break_connections(1)
    with pytest.raises(BROKEN):
        through.list_objects_v2(Bucket=bucket)
    through.list_objects_v2(Bucket=bucket)
    assert (proxy.connections, len(proxy.requests())) == (2, 1)


def shake_hands(proxy, ca_file):
    """A handshake by Python's ssl; returns its verdict on the certificate."""
    parts = urllib.parse.urlsplit(proxy.endpoint)
    context = ssl.create_default_context(cafile=ca_file)
    with socket.create_connection((parts.hostname, parts.port)) as sock:
        try:
            with context.wrap_socket(sock, server_hostname="127.0.0.1"):
                return "ok"
        except ssl.SSLCertVerificationError as error:
            return error.verify_message


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("good", "ok"),
        ("expired", "certificate has expired"),
        ("self-signed", "self-signed certificate"),
        ("wrong-name", "IP address mismatch, certificate is not valid for"
                       " '127.0.0.1'."),
    ],
)
def test_proxy_has_certificates(tls_proxy, authority, kind, expected):
    assert shake_hands(tls_proxy(kind), authority.ca_file) == expected


def test_proxy_over_tls(rgw, tls_proxy, authority, bucket):
    proxy = tls_proxy()
    client = rgw.client(endpoint=proxy.endpoint, verify=authority.ca_file)
    body = os.urandom(20 * MB)
    client.put_object(Bucket=bucket, Key="k", Body=body)
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    assert [r.status for r in proxy.requests()] == [200, 200]
