"""Faults of the network and of the store that an export survives, or not.

Judged by the object that RGW has, by what the proxy in front of it saw, and by
what SQL says.
"""

import datetime
import time

import pytest

from lib.exports import (
    body, copy, failure, key_of, keys, land, no_trace, no_upload_left, rows,
)
from lib.proxy import Answer, s3_error

QUERY = rows(20)  # three parts
SMALL = "SELECT 1 AS one"

CREATE = ("POST", r"\?uploads")
PART = ("PUT", "partNumber=2")
COMPLETE = ("POST", "uploadId=")
ABORT = ("DELETE", "uploadId=")
OBJECT = ("PUT", "_data.csv$")
HEAD = ("HEAD", "_data.csv$")
LIST_PARTS = ("GET", "uploadId=")

HTML = Answer(
    502, b"<html><body>Bad Gateway</body></html>",
    {"Content-Type": "text/html"},
)
XML = '<?xml version="1.0" encoding="UTF-8"?>'
ERROR_IN_200 = XML + "<Error><Code>{}</Code><Message>m</Message></Error>"
CUT_XML = XML + "<CompleteMultipartUploadResult><Location>http://"


def ok_with(text, **headers):
    return Answer(200, text.encode(), headers)


def is_whole(db, s3, bucket, query=QUERY):
    assert keys(s3, bucket) == [key_of("t")]
    assert body(s3, bucket, key_of("t")) == copy(db, query)


def statuses(proxy, request):
    return [r.status for r in proxy.requests(*request)]


# Faults that pass: request, what happens to it, what the client is answered

PASSING = {
    "create-500": (
        CREATE, dict(answer=s3_error(500, "InternalError")), [500, 200]
    ),
    "create-lost": (CREATE, dict(drop="before"), [None, 200]),
    "create-not-xml": (CREATE, dict(answer=ok_with("")), [200, 200]),
    "create-error-in-200": (
        CREATE, dict(answer=ok_with(ERROR_IN_200.format("InternalError"))),
        [200, 200],
    ),
    "part-500-twice": (
        PART, dict(answer=s3_error(500, "InternalError"), times=2),
        [500, 500, 200],
    ),
    "part-503-twice": (
        PART, dict(answer=s3_error(503, "SlowDown"), times=2),
        [503, 503, 200],
    ),
    "part-429": (PART, dict(answer=Answer(429)), [429, 200]),
    "part-502-html": (PART, dict(answer=HTML), [502, 200]),
    "part-400-timeout": (
        PART, dict(answer=s3_error(400, "RequestTimeout")), [400, 200]
    ),
    "part-bad-digest": (
        PART, dict(answer=s3_error(400, "BadDigest"), times=2),
        [400, 400, 200],
    ),
    "part-reset": (PART, dict(drop="during"), [None, 200]),
    "part-lost-before": (PART, dict(drop="before"), [None, 200]),
    "part-answer-lost": (PART, dict(drop="after"), [None, 200]),
    "part-no-etag": (PART, dict(answer=Answer(200)), [200, 200]),
    "object-500": (
        OBJECT, dict(answer=s3_error(500, "InternalError")), [500, 200]
    ),
    "object-reset": (OBJECT, dict(drop="before"), [None, 200]),
    "object-answer-lost": (OBJECT, dict(drop="after"), [None, 200]),
    "complete-500-twice": (
        COMPLETE, dict(answer=s3_error(500, "InternalError"), times=2),
        [500, 500, 200],
    ),
    "complete-error-in-200": (
        COMPLETE, dict(answer=ok_with(ERROR_IN_200.format("InternalError"))),
        [200, 200],
    ),
}


@pytest.mark.parametrize("fault", list(PASSING))
def test_fault_passes(db, rgw, s3, bucket, proxy, proxied, fault):
    request, action, expected = PASSING[fault]
    query = SMALL if request is OBJECT else QUERY
    proxy.rule(*request, **action)
    found = land(db, "t", query, bucket, server=proxied)
    assert (found["status"], found["bytes"]) == ("done", len(copy(db, query)))
    assert statuses(proxy, request) == expected
    # Nothing else was asked twice, or beyond Create, three parts, Complete.
    others = len(proxy.requests()) - len(expected)
    assert others == (0 if request is OBJECT else 4)
    is_whole(db, s3, bucket, query)
    assert rgw.unfinished(bucket) == []


def test_several_parts_fail_at_once(db, rgw, s3, bucket, proxy, proxied):
    """Each is sent again, with whatever is in it, under its own number."""
    query = rows(60, "md5(g::text) || repeat('x', 968)")
    proxy.rule("PUT", r"partNumber=[1-7]&", times=12, drop="during")
    land(db, "t", query, bucket, server=proxied)
    assert len(proxy.requests("PUT", "partNumber=")) == 8 + 12
    is_whole(db, s3, bucket, query)
    assert rgw.unfinished(bucket) == []


def test_a_retry_is_signed_anew(db, s3, bucket, proxy, proxied):
    """After the time that the server asked for."""
    answer = s3_error(503, "SlowDown", headers={"Retry-After": "2"})
    proxy.rule(*PART, answer=answer)
    land(db, "t", QUERY, bucket, server=proxied)
    first, second = proxy.requests(*PART)
    assert second.started - first.ended >= 1.9
    dates = [
        datetime.datetime.strptime(r.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        for r in (first, second)
    ]
    assert dates[1] > dates[0]
    hashes = {r.headers["x-amz-content-sha256"] for r in (first, second)}
    assert len(hashes) == 1 and len(hashes.pop()) == 64
    # RGW has verified the second one's signature.
    assert second.server_status == 200
    is_whole(db, s3, bucket)


# Complete, when it is unclear what the store did.
#
# A request that gets no byte of an answer on a connection that was used before
# is sent again by libcurl itself, unseen by us.


@pytest.mark.parametrize(
    "action",
    [dict(drop="answer"), dict(drop="after", times=None)],
    ids=["cut", "lost"],
)
def test_complete_done_but_answer_lost(
    db, rgw, s3, bucket, proxy, proxied, action
):
    proxy.rule(*COMPLETE, **action)
    assert land(db, "t", QUERY, bucket, server=proxied)["status"] == "done"
    assert statuses(proxy, HEAD) == [200]
    assert statuses(proxy, ABORT) == []
    is_whole(db, s3, bucket)
    assert rgw.unfinished(bucket) == []


@pytest.mark.parametrize("drop", ["before", "after"])
def test_complete_lost_once(db, rgw, s3, bucket, proxy, proxied, drop):
    proxy.rule(*COMPLETE, drop=drop)
    assert land(db, "t", QUERY, bucket, server=proxied)["status"] == "done"
    assert statuses(proxy, COMPLETE) in ([None, 200], [None])
    is_whole(db, s3, bucket)
    assert rgw.unfinished(bucket) == []


def test_complete_lost_and_forgotten(db, rgw, s3, bucket, proxy, proxied):
    """Some stores know nothing of an upload once it is complete."""
    proxy.rule(*COMPLETE, drop="after")
    gone = s3_error(404, "NoSuchUpload")
    proxy.rule("POST", "uploadId=", nth=2, answer=gone, times=None)
    assert land(db, "t", QUERY, bucket, server=proxied)["status"] == "done"
    assert statuses(proxy, HEAD) == [200]
    is_whole(db, s3, bucket)
    assert rgw.unfinished(bucket) == []


def test_complete_knows_no_upload(db, rgw, bucket, proxy, proxied):
    """Asked again, the store does know it, but will not complete it."""
    gone = s3_error(404, "NoSuchUpload")
    proxy.rule(*COMPLETE, answer=gone, times=None)
    error = failure(land, db, "t", QUERY, bucket, server=proxied)
    assert error.pgcode == "08007"
    assert "NoSuchUpload" in error.diag.message_detail
    assert statuses(proxy, COMPLETE) == [404] * 3
    no_trace(rgw, bucket)


UNCLEAR = {
    "cut-xml": dict(answer=ok_with(CUT_XML)),
    "empty": dict(answer=Answer(200)),
    "html": dict(answer=ok_with("<html></html>")),
    "502": dict(answer=HTML),
}


@pytest.mark.parametrize("fault", list(UNCLEAR))
@pytest.mark.parametrize("other", [False, True], ids=["", "over-another"])
def test_complete_was_not_done(
    db, rgw, s3, bucket, proxy, proxied, fault, other
):
    """Whether or not another object of that name and size is there."""
    if other:
        land(db, "t", rows(20, "repeat('y', 1000) AS repeat"), bucket)
    proxy.rule(*COMPLETE, **UNCLEAR[fault])
    assert land(db, "t", QUERY, bucket, server=proxied)["status"] == "done"
    assert len(statuses(proxy, COMPLETE)) == 2
    assert statuses(proxy, HEAD) == [200 if other else 404]
    assert statuses(proxy, LIST_PARTS) == [200]
    is_whole(db, s3, bucket)
    assert rgw.unfinished(bucket) == []


def test_complete_stays_unclear(db, rgw, s3, bucket, proxy, proxied):
    """It can be done but not looked for: nobody may say that it failed."""
    proxy.rule(*COMPLETE, drop="answer")
    proxy.rule(*HEAD, answer=Answer(403), times=None)
    error = failure(land, db, "t", QUERY, bucket, server=proxied)
    assert error.pgcode == "08007"
    assert "could not complete the upload" in str(error)
    assert "it may have been written" in error.diag.message_hint
    no_upload_left(rgw, bucket)
    is_whole(db, s3, bucket)


def test_object_put_but_answer_lost(
    db, rgw, s3, bucket, proxy, proxied
):
    """Each time, until we give up: then it says what may be there."""
    proxy.rule(*OBJECT, drop="after", times=None)
    db.cursor().execute("SET onboard.retry_deadline = '300ms'")
    error = failure(land, db, "t", SMALL, bucket, server=proxied)
    assert error.pgcode == "08001"
    assert "may have been written" in "".join(db.notices)
    is_whole(db, s3, bucket, SMALL)


def test_complete_refused(db, rgw, bucket, proxy, proxied):
    answer = ok_with(ERROR_IN_200.format("AccessDenied"))
    proxy.rule(*COMPLETE, answer=answer)
    error = failure(land, db, "t", QUERY, bucket, server=proxied)
    assert error.pgcode == "42501"
    assert "AccessDenied" in error.diag.message_detail
    assert statuses(proxy, COMPLETE) == [200]
    assert statuses(proxy, ABORT) == [204]
    no_trace(rgw, bucket)
    assert not db.notices


# Faults that stay

FINAL = {
    "create-403": (CREATE, s3_error(403, "AccessDenied"), "42501"),
    "part-403": (PART, s3_error(403, "AccessDenied"), "42501"),
    "part-token": (PART, s3_error(400, "ExpiredToken"), "28000"),
    "part-too-large": (PART, s3_error(400, "EntityTooLarge"), "54000"),
    "part-argument": (PART, s3_error(400, "InvalidArgument"), "38000"),
    "part-not-implemented": (PART, s3_error(501, "NotImplemented"), "58030"),
    "part-gone": (PART, s3_error(404, "NoSuchUpload"), "58P01"),
    "part-redirect": (
        PART,
        s3_error(301, "PermanentRedirect",
                 headers={"Location": "http://127.0.0.1:1/"}),
        "22023",
    ),
    "complete-403": (COMPLETE, s3_error(403, "AccessDenied"), "42501"),
    "complete-invalid": (COMPLETE, s3_error(400, "InvalidPart"), "38000"),
    "complete-exists": (
        COMPLETE, s3_error(412, "PreconditionFailed"), "58P02"
    ),
}


@pytest.mark.parametrize("fault", list(FINAL))
def test_fault_is_final(db, rgw, bucket, proxy, proxied, fault):
    request, answer, sqlstate = FINAL[fault]
    proxy.rule(*request, answer=answer, times=None)
    error = failure(land, db, "t", QUERY, bucket, server=proxied)
    assert error.pgcode == sqlstate
    assert f"S3 answered HTTP {answer.status}" in error.diag.message_detail
    assert "request id scripted" in error.diag.message_detail
    assert statuses(proxy, request) == [answer.status]
    assert bool(statuses(proxy, ABORT)) == (request is not CREATE)
    no_trace(rgw, bucket)
    assert not db.notices


def test_wrong_region_is_named(db, bucket, proxy, proxied):
    answer = s3_error(
        400, "AuthorizationHeaderMalformed",
        extra="<Region>eu-north-1</Region>",
    )
    proxy.rule(*OBJECT, answer=answer)
    error = failure(land, db, "t", SMALL, bucket, server=proxied)
    assert error.pgcode == "22023"
    assert '"eu-north-1"' in error.diag.message_hint


def test_eight_attempts(db, rgw, bucket, proxy, proxied):
    answer = s3_error(500, "InternalError")
    proxy.rule(*PART, answer=answer, times=None)
    error = failure(land, db, "t", QUERY, bucket, server=proxied)
    assert error.pgcode == "58030"
    assert "could not upload part 2 of" in str(error)
    assert "after 8 attempts" in error.diag.message_detail
    assert statuses(proxy, PART) == [500] * 8
    assert statuses(proxy, ABORT)[0] == 204
    no_trace(rgw, bucket)


def test_damaged_three_times(db, rgw, bucket, proxy, proxied):
    """The wire was unlucky twice; then it is something else."""
    answer = s3_error(400, "XAmzContentSHA256Mismatch")
    proxy.rule(*PART, answer=answer, times=None)
    error = failure(land, db, "t", QUERY, bucket, server=proxied)
    assert error.pgcode == "38000"
    assert statuses(proxy, PART) == [400] * 3
    no_trace(rgw, bucket)


def test_no_etag_ever(db, rgw, bucket, proxy, proxied):
    proxy.rule(*PART, answer=Answer(200), times=None)
    error = failure(land, db, "t", QUERY, bucket, server=proxied)
    assert error.pgcode == "08P01"
    assert "no ETag" in error.diag.message_detail
    no_trace(rgw, bucket)


@pytest.mark.parametrize("request_", [CREATE, PART, COMPLETE, OBJECT])
def test_retry_deadline(db, rgw, bucket, proxy, proxied, request_):
    """However long the server says that one should wait."""
    answer = s3_error(503, "SlowDown", headers={"Retry-After": "1"})
    proxy.rule(*request_, answer=answer, times=None)
    query = SMALL if request_ is OBJECT else QUERY
    db.cursor().execute("SET onboard.retry_deadline = '1500ms'")
    started = time.monotonic()
    error = failure(land, db, "t", query, bucket, server=proxied)
    assert error.pgcode == "53000"
    assert len(statuses(proxy, request_)) == 2
    assert time.monotonic() - started < 1.5 + 2
    no_trace(rgw, bucket)


def test_stalled_part_is_sent_again(db, rgw, s3, bucket, proxy, proxied):
    proxy.rule(*PART, hold=True, when="request", drop="before")
    db.cursor().execute("SET onboard.stall_timeout = '500ms'")
    land(db, "t", QUERY, bucket, server=proxied)
    assert len(proxy.requests(*PART)) == 2
    is_whole(db, s3, bucket)
    assert rgw.unfinished(bucket) == []


def test_slow_query_stalls_nothing(db, rgw, s3, bucket, proxy, proxied):
    """Time in which the query computes is not the server's."""
    query = rows(
        20, "repeat('x', 1000) || CASE WHEN g IN (9000, 18000)"
        " THEN pg_sleep(1)::text ELSE '' END AS text"
    )
    db.cursor().execute("SET onboard.stall_timeout = '500ms'")
    proxy.rule("PUT", "partNumber=", times=None, delay=0.1)
    land(db, "t", query, bucket, server=proxied)
    assert len(proxy.requests("PUT", "partNumber=")) == 3
    is_whole(db, s3, bucket, rows(20, "repeat('x', 1000) AS text"))


def test_abort_fails(db, rgw, bucket, proxy, proxied):
    """The error is the first one; the warning says what is left where."""
    proxy.rule(*PART, answer=s3_error(403, "AccessDenied"))
    proxy.rule(*ABORT, answer=s3_error(500, "InternalError"), times=None)
    error = failure(land, db, "t", QUERY, bucket, server=proxied)
    assert error.pgcode == "42501"
    assert len(statuses(proxy, ABORT)) == 2
    (warning,) = db.notices
    assert "could not abort the upload of" in warning
    assert "onboard_abort_uploads()" in warning
    (upload,) = rgw.unfinished(bucket)
    with db.cursor() as cursor:
        cursor.execute(
            "SELECT upload_id FROM onboard_abort_uploads(%s,"
            " older_than => '0')", (bucket,),
        )
        assert cursor.fetchall() == [(upload["UploadId"],)]
    no_trace(rgw, bucket)


def test_abort_needs_two_tries(db, rgw, bucket, proxy, proxied):
    proxy.rule(*PART, answer=s3_error(403, "AccessDenied"))
    proxy.rule(*ABORT, answer=s3_error(503, "SlowDown"))
    error = failure(land, db, "t", QUERY, bucket, server=proxied)
    assert error.pgcode == "42501"
    assert 204 in statuses(proxy, ABORT)
    no_trace(rgw, bucket)
    assert not db.notices
