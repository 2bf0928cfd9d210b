"""Connections and their bytes: rows 45, 47 and 53 of docs/faults.md."""

import pytest

from faults import CREATE, OBJECT, PARTS, SMALL, ok_with
from lib.exports import rows, select
from lib.proxy import Response

MB = 1024 * 1024
NOT_S3 = "Is the endpoint an S3 server?"
BIG = rows(12)
BOTH = pytest.mark.parametrize("query", [SMALL, BIG], ids=["small", "big"])


def swept(export):
    return select(
        export.db,
        "SELECT * FROM onboard_abort_uploads(%s, older_than => '0')",
        (export.bucket,),
    )


def once_each(export, query):
    """Asserts that no request was sent twice."""
    assert len(export.proxy.requests()) == (1 if query == SMALL else 5)
    assert all(r.status == 200 for r in export.proxy.requests())


@BOTH
def test_45_idle_connections_are_closed(export, proxy, query):
    """Connections are closed between exports, which is no error, and repeats no
    request."""
    for _ in range(3):
        before = proxy.connections
        export.lands(query)
        once_each(export, query)
        assert proxy.connections > before
        proxy.hang_up()
        proxy.clear()


def test_45_connections_are_used_again(export, proxy):
    export.lands(SMALL)
    export.lands(SMALL)
    assert proxy.connections == 1


@BOTH
@pytest.mark.parametrize("drop", ["before", "after"])
def test_45_a_kept_connection_dies(export, proxy, drop, query):
    """The dead connection is noticed only after a request was sent on it."""
    export.lands(SMALL)
    proxy.clear()
    proxy.rule(drop=drop, reset=True)
    with export.running(query) as landing:
        landing.rows()
    export.is_whole(query)
    first, second, *others = proxy.requests()
    assert (first.status, second.status) == (None, 200)
    assert first.target == second.target
    assert second.connection > first.connection
    # A Create that succeeded unnoticed leaves an upload to the sweep: row 10.
    orphans = 1 if (query, drop) == (BIG, "after") else 0
    assert len(swept(export)) == orphans


# Responses that are not HTTP, or too long


@BOTH
@pytest.mark.parametrize(
    "action",
    [
        dict(before=b"HTTP/1.1 100 Continue\r\n\r\n"),
        dict(before=b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        dict(chunked=True),
    ],
    ids=["100", "103", "chunked"],
)
def test_53_odd_http(export, proxy, query, action):
    proxy.rule(times=None, **action)
    for _ in range(2):
        export.lands(query)
    assert len(proxy.requests()) == (2 if query == SMALL else 10)


@pytest.mark.parametrize("request_", [PARTS, OBJECT], ids=["part", "object"])
def test_53_stray_bytes(export, proxy, request_):
    """The bytes follow a response, and arrive before the next request or after
    it; they are not taken for its response."""
    proxy.rule(*request_, times=None, after=b"stray bytes\r\n\r\n")
    for _ in range(3):
        export.lands(SMALL if request_ is OBJECT else BIG)


def raw(data):
    """Replaces the response from its first byte."""
    return dict(response=Response(200), before=data)


HOSTILE = {
    "long-body": dict(response=ok_with("<a>" * (10 * MB // 3))),
    "long-error": dict(response=Response(404, b"x" * 10 * MB)),
    "many-headers": raw(b"HTTP/1.1 200 OK\r\n" + b"X-More: 1\r\n" * MB),
    "long-header": raw(b"HTTP/1.1 200 OK\r\nX-More: " + b"x" * 10 * MB),
    "nul-in-header": raw(b"HTTP/1.1 200 OK\r\nX-\0More: 1\r\n\r\n"),
    "nul-in-body": dict(response=Response(404, b"<Error>\0<Code>a</Code>")),
    "entities": dict(response=Response(
        404, b'<!DOCTYPE a [<!ENTITY a "&b;&b;"><!ENTITY b "ha">]><Error>'
        b"<Code>&a;</Code></Error>",
    )),
    "deep": dict(response=Response(404, b"<a>" * 10000)),
}


@BOTH
@pytest.mark.parametrize("fault", list(HOSTILE))
def test_47_hostile_response(export, proxy, db, fault, query):
    """The response ends the export, not the session, and the request is not
    retried."""
    proxy.rule(OBJECT[0] if query == SMALL else CREATE[0], times=None,
               **HOSTILE[fault])
    export.set(retry_deadline="300ms")
    error = export.failure(query)
    assert error.pgcode in ("08P01", "58P01"), error
    text = f"{error} {error.diag.message_detail}"
    assert len(text) < 2000
    assert "haha" not in text
    assert select(db, "SELECT 1 AS one") == [{"one": 1}]


@BOTH
def test_47_web_site(export, proxy, query):
    proxy.rule(times=None, response=ok_with("<html>Welcome</html>"))
    export.set(retry_deadline="300ms")
    error = export.failure(query)
    assert error.pgcode == "08P01"
    assert error.diag.message_hint == NOT_S3


@BOTH
def test_47_no_http(export, proxy, query):
    proxy.rule(times=None, **raw(b"SSH-2.0-OpenSSH_9.2\r\n" * 10))
    error = export.failure(query)
    assert error.pgcode == "08P01"
    assert error.diag.message_hint == NOT_S3
