"""Faults of parts, and of objects that are one request: rows 1 to 11, 32 to 34
and 46 of docs/faults.md.

The tests check RGW's object, the requests that its proxy has logged, and SQL's
results.
"""

import datetime

import pytest

from faults import (
    ABORT, COMPLETE, CREATE, ERROR_IN_200, OBJECT, PART, PARTS, SMALL, html,
    ok_with,
)
from lib.exports import body, key_of, land, rows, warnings
from lib.process import wait_until
from lib.proxy import Response, s3_error

MB = 1024 * 1024
INTERNAL_ERROR = s3_error(500, "InternalError")
SLOW_DOWN = s3_error(503, "SlowDown")


def only_that_again(export, request=PART):
    """Asserts Create, three parts, Complete, and no other request twice."""
    whole = 1 if request is OBJECT else 5
    assert export.others(request) == whole - 1


def sent_again(export, request):
    """Asserts that the request was repeated after a stall.  On a slow machine,
    others may be, too."""
    statuses = export.statuses(request)
    assert statuses[0] is None
    assert statuses[-1] == 200


@pytest.mark.parametrize("at", [0, 3 * MB, 5 * MB - 1])
def test_01_reset_within_a_part(export, proxy, at):
    proxy.rule(*PART, drop="during", at=at, reset=True)
    export.lands()
    first, second = proxy.requests(*PART)
    assert (first.status, first.body_bytes) == (None, at)
    assert (second.status, second.body_bytes) == (200, 5 * MB)
    assert second.connection != first.connection
    only_that_again(export)


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_02_lost_after_a_part(export, proxy, reset):
    """The store has the part, but the response is lost: the part is sent again.
    """
    proxy.rule(*PART, drop="after", reset=reset)
    export.lands()
    first, second = proxy.requests(*PART)
    assert (first.status, first.server_status) == (None, 200)
    assert second.status == 200
    assert first.target == second.target
    only_that_again(export)


def test_02_several_parts_lost_at_once(export, proxy):
    """Each part is sent again, with its own bytes, under its own number."""
    for number in range(1, 8):
        proxy.rule("PUT", f"partNumber={number}&", times=2, drop="during")
    export.lands(rows(40, "md5(g::text) || repeat('x', 968)"))
    assert len(proxy.requests(*PARTS)) == 8 + 2 * 7


@pytest.mark.parametrize("request_", [PART, OBJECT], ids=["part", "object"])
def test_03_internal_error_three_times(export, proxy, request_):
    proxy.rule(*request_, response=INTERNAL_ERROR, times=3)
    export.lands(SMALL if request_ is OBJECT else rows(12))
    assert export.statuses(request_) == [500] * 3 + [200]
    only_that_again(export, request_)


def test_03_internal_error_always(export, proxy, db):
    proxy.rule(*PART, response=INTERNAL_ERROR, times=None)
    error = export.fails("58030")
    assert "could not upload part 2 of" in str(error)
    assert "S3 answered HTTP 500 InternalError" in error.diag.message_detail
    assert "request id scripted" in error.diag.message_detail
    assert "after 8 attempts" in error.diag.message_detail
    assert export.statuses(PART) == [500] * 8
    assert export.statuses(ABORT)[0] == 204
    assert not warnings(db)


def test_04_slow_down_twice(export, proxy):
    proxy.rule(*PART, response=SLOW_DOWN, times=2)
    export.lands()
    assert export.statuses(PART) == [503, 503, 200]
    only_that_again(export)


def test_04_too_many_requests(export, proxy):
    proxy.rule(*PART, response=Response(429))
    export.lands()
    assert export.statuses(PART) == [429, 200]
    only_that_again(export)


def test_04_retry_after(export, proxy):
    """The retry is signed again."""
    response = s3_error(503, "SlowDown", headers={"Retry-After": "1"})
    proxy.rule(*PART, response=response)
    export.lands()
    first, second = proxy.requests(*PART)
    assert second.started - first.ended >= 0.9
    dates = [
        datetime.datetime.strptime(r.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        for r in (first, second)
    ]
    assert dates[1] > dates[0]
    hashes = {r.headers["x-amz-content-sha256"] for r in (first, second)}
    assert len(hashes) == 1 and len(hashes.pop()) == 64
    # RGW has verified the second request's signature.
    assert second.server_status == 200


def part_number(request):
    return int(request.query.split("partNumber=")[1].split("&")[0])


def test_04_slow_down_burst(export, proxy):
    """Four parts at a time, then one, and two after a long series of successes.
    """
    burst = proxy.rule(*PARTS, times=4, hold=True, response=SLOW_DOWN)
    later = proxy.rule("PUT", "partNumber=20&", hold=True)
    with export.running(rows(125), connections=4) as landing:
        wait_until(lambda: burst.used == 4, 30, "four parts are under way")
        burst.release()
        later.wait()
        proxy.wait_for("PUT", "partNumber=2[12]&")
        later.release()
        (found,) = landing.rows()
    export.has_landed(found, rows(125))
    requests = proxy.requests(*PARTS)
    assert [r.status for r in requests[:4]] == [503] * 4
    assert all(r.status == 200 for r in requests[4:])
    alone = [r for r in requests if 4 < part_number(r) < 16]
    assert len(alone) == 11
    for first, second in zip(alone, alone[1:]):
        assert first.ended <= second.started


@pytest.mark.parametrize(
    "request_", [CREATE, PART, COMPLETE, OBJECT],
    ids=["create", "part", "complete", "object"],
)
def test_05_slow_down_for_ever(export, proxy, request_):
    """A long Retry-After does not change that."""
    response = s3_error(503, "SlowDown", headers={"Retry-After": "1"})
    proxy.rule(*request_, response=response, times=None)
    export.set(retry_deadline="1500ms")
    export.fails("53000", SMALL if request_ is OBJECT else rows(12))
    assert export.statuses(request_) == [503] * 2


def test_05_too_many_failures(export, proxy):
    """All requests of an upload share one retry budget."""
    proxy.rule(*PARTS, response=INTERNAL_ERROR, times=None)
    error = export.fails("58030", rows(130), connections=24)
    assert "too many requests of this upload" in error.diag.message_detail
    parts = proxy.requests(*PARTS)
    assert len(parts) <= 50 + len({part_number(part) for part in parts})


@pytest.mark.parametrize("status", [502, 504])
def test_06_html_of_a_gateway(export, proxy, status):
    proxy.rule(*PART, response=html(status), times=2)
    export.lands()
    assert export.statuses(PART) == [status, status, 200]
    only_that_again(export)


@pytest.mark.parametrize("when", ["request", "body"])
def test_07_server_stops_reading(export, proxy, when):
    """The server stops at the part's first byte, or in the middle."""
    proxy.rule(*PART, hold=True, when=when, drop="during")
    export.set(stall_timeout="1s")
    export.lands()
    sent_again(export, PART)


def test_07_time_of_the_query_is_no_stall(export, proxy):
    """Only the time in which the export drives its transfers counts."""
    query = rows(
        12, "repeat('x', 1000) || CASE WHEN g = 11000"
        " THEN pg_sleep(3)::text ELSE '' END AS text"
    )
    export.set(stall_timeout="2s")
    proxy.rule(*PARTS, times=None, delay=0.1)
    export.lands(query, same_as=rows(12, "repeat('x', 1000) AS text"))
    assert export.statuses(PARTS) == [200] * 3


def test_08_one_slow_connection(export, proxy):
    """Other parts go on; and a transfer that moves, however slowly, has not
    stalled."""
    slow = proxy.rule(*PART, rate=10000)
    with export.running() as landing:
        slow.wait()
        proxy.wait_for("PUT", "partNumber=[13]&", count=2)
        assert not proxy.requests(*PART)[0].ended
        slow.release()
        (found,) = landing.rows()
    export.has_landed(found)
    assert export.statuses(PART) == [200]


def test_09_response_is_late(export, proxy):
    """The response is awaited for as long as stall_timeout allows."""
    rule = proxy.rule(*PART, delay=0.5)
    export.lands()
    assert rule.used == 1
    assert export.statuses(PART) == [200]
    only_that_again(export)


@pytest.mark.parametrize("request_", [PART, OBJECT], ids=["part", "object"])
def test_09_response_never_comes(export, proxy, request_):
    """The store has acted; after stall_timeout, the request is repeated."""
    proxy.rule(*request_, hold=True)
    export.set(stall_timeout="1s")
    export.lands(SMALL if request_ is OBJECT else rows(12))
    sent_again(export, request_)


def test_11_no_etag_once(export, proxy):
    proxy.rule(*PART, response=Response(200))
    export.lands()
    assert export.statuses(PART) == [200, 200]
    only_that_again(export)


def test_11_no_etag_ever(export, proxy):
    proxy.rule(*PART, response=Response(200), times=None)
    error = export.fails("08P01")
    assert "response has no ETag" in error.diag.message_detail
    assert error.diag.message_hint == "Is the endpoint an S3 server?"
    assert export.statuses(PART) == [200] * 3


@pytest.mark.parametrize("request_", [PART, OBJECT], ids=["part", "object"])
def test_11_error_in_200_with_an_etag(export, proxy, request_):
    """The store has no part, whatever the response's headers say."""
    query = SMALL if request_ is OBJECT else rows(12)
    slow_down = ok_with(ERROR_IN_200.format("SlowDown"), ETag='"x"')
    proxy.rule(*request_, response=slow_down)
    export.lands(query)
    assert export.statuses(request_) == [200, 200]
    export.s3.delete_object(Bucket=export.bucket, Key=key_of("t"))
    proxy.clear()
    refusal = ok_with(ERROR_IN_200.format("AccessDenied"), ETag='"x"')
    proxy.rule(*request_, response=refusal, times=None)
    error = export.fails("42501", query)
    assert "S3 answered HTTP 200 AccessDenied" in error.diag.message_detail
    assert export.statuses(request_) == [200]


@pytest.mark.parametrize("status", [202, 204])
@pytest.mark.parametrize("request_", [PART, OBJECT], ids=["part", "object"])
def test_11_another_success(export, proxy, request_, status):
    """Data that a gateway may have queued has not landed."""
    query = SMALL if request_ is OBJECT else rows(12)
    response = Response(status, b"", {"ETag": '"x"'})
    proxy.rule(*request_, response=response)
    export.lands(query)
    assert export.statuses(request_) == [status, 200]
    export.s3.delete_object(Bucket=export.bucket, Key=key_of("t"))
    proxy.clear()
    proxy.rule(*request_, response=response, times=None)
    error = export.fails("08P01", query)
    assert "response's status is not 200" in error.diag.message_detail
    assert export.statuses(request_) == [status] * 3


DIGESTS = ["BadDigest", "XAmzContentSHA256Mismatch"]


@pytest.mark.parametrize("code", DIGESTS)
def test_32_bad_digest_twice(export, proxy, code):
    proxy.rule(*PART, response=s3_error(400, code), times=2)
    export.lands()
    assert export.statuses(PART) == [400, 400, 200]
    only_that_again(export)


@pytest.mark.parametrize("code", DIGESTS)
def test_32_bad_digest_always(export, proxy, code):
    """Two failures may be corruption on the way; more are another error."""
    proxy.rule(*PART, response=s3_error(400, code), times=None)
    error = export.fails("38000")
    assert f"S3 answered HTTP 400 {code}" in error.diag.message_detail
    assert export.statuses(PART) == [400] * 3


@pytest.mark.parametrize("at", [0, 4 * MB, 5 * MB - 1])
def test_33_flipped_bit(export, proxy, at):
    """RGW itself detects it, by the hash in the signature."""
    proxy.rule(*PART, flip=at)
    export.lands()
    first, second = proxy.requests(*PART)
    assert (first.status, first.server_status) == (400, 400)
    assert second.status == 200
    only_that_again(export)


def test_33_flipped_bit_always(export, proxy):
    proxy.rule(*PART, flip=1000, times=None)
    error = export.fails("38000")
    assert "XAmzContentSHA256Mismatch" in error.diag.message_detail
    assert export.statuses(PART) == [400] * 3


def test_33_flipped_bit_without_checksum(
    export, tls_proxy, make_server, rgw, authority, s3, bucket
):
    """Only TLS protects the part then, but not if TLS ends before the store, as
    here."""
    proxy = tls_proxy()
    server = make_server(
        proxy.endpoint, rgw.access_key, rgw.secret_key,
        ca_file=authority.ca_file,
    )
    proxy.rule(*OBJECT, flip=0)
    land(export.db, "t", SMALL, bucket, server=server, checksum="none")
    assert body(s3, bucket, key_of("t")) == b"nne\n1\n"


def test_34_request_timeout(export, proxy):
    """S3 sends this to a part that has stalled for 20 s."""
    proxy.rule(*PART, response=s3_error(400, "RequestTimeout"))
    export.lands()
    assert export.statuses(PART) == [400, 200]
    only_that_again(export)


@pytest.mark.parametrize("at", [0, MB])
def test_46_early_refusal(export, proxy, at):
    """The status counts, even though the rest of the body could not be sent."""
    response = s3_error(403, "AccessDenied", headers={"Connection": "close"})
    proxy.rule(*PART, response=response, early=True, at=at, times=None)
    error = export.fails("42501")
    assert "S3 answered HTTP 403 AccessDenied" in error.diag.message_detail
    (request,) = proxy.requests(*PART)
    assert request.body_bytes < 5 * MB


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_46_early_slow_down(export, proxy, reset):
    response = s3_error(503, "SlowDown", headers={"Connection": "close"})
    proxy.rule(*PART, response=response, early=True, reset=reset)
    export.lands()
    first, second = proxy.requests(*PART)
    assert first.body_bytes < second.body_bytes == 5 * MB
    only_that_again(export)


def test_46_early_refusal_and_reset(export, proxy):
    """The response may be lost with the connection; then the request is
    repeated."""
    response = s3_error(403, "AccessDenied", headers={"Connection": "close"})
    proxy.rule(
        *PART, response=response, early=True, reset=True, at=MB, times=None
    )
    export.fails("42501")


@pytest.mark.parametrize(
    "request_", [OBJECT, CREATE, PART, COMPLETE],
    ids=["object", "create", "part", "complete"],
)
def test_46_refusal_that_is_cut(export, proxy, request_):
    """The connection ends within the error document."""
    response = s3_error(403, "AccessDenied", headers={"Connection": "close"})
    response.headers["Content-Length"] = len(response.body) + 50
    proxy.rule(*request_, response=response, times=None)
    error = export.fails("42501", SMALL if request_ is OBJECT else rows(12))
    assert "S3 answered HTTP 403" in error.diag.message_detail
    assert export.statuses(request_) == [403]


@pytest.mark.parametrize(
    "action", [dict(drop="before"), dict(drop="after")],
    ids=["before", "after"],
)
def test_object_lost_once(export, proxy, action):
    proxy.rule(*OBJECT, **action)
    export.lands(SMALL)
    assert export.statuses(OBJECT) == [None, 200]
    only_that_again(export, OBJECT)


def test_object_put_but_response_lost(export, proxy, db):
    """Each response is lost until the export fails: then a HEAD shows whether
    the object exists."""
    proxy.rule(*OBJECT, drop="after", times=None)
    export.set(retry_deadline="300ms")
    error = export.failure(SMALL)
    assert error.pgcode == "08001"
    assert "was written nevertheless" in "".join(db.notices)
    export.is_whole(SMALL)


def test_object_success_that_is_none(export, proxy):
    proxy.rule(*OBJECT, response=ok_with("<html></html>"))
    export.lands(SMALL)
    assert export.statuses(OBJECT) == [200, 200]
