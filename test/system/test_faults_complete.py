"""Faults of Create, Complete and Abort: rows 10, 12 to 17, 31, 35 and 48 of
docs/faults.md.

If a request on a reused connection receives no byte of a response, libcurl
itself sends it again; onboard does not notice, but the proxy does.
"""

import xml.etree.ElementTree

import pytest

from faults import (
    ABORT, COMPLETE, CREATE, ERROR_IN_200, HEAD, LIST_PARTS, PART, PARTS,
    XML, html, ok_with,
)
from lib.exports import (
    body, copy, failure, key_of, keys, land, no_trace, no_upload_left, rows,
    select, warnings,
)
from lib.proxy import Response, s3_error

MB = 1024 * 1024
DENIED = s3_error(403, "AccessDenied")
INTERNAL_ERROR = s3_error(500, "InternalError")
GONE = s3_error(404, "NoSuchUpload")
CUT_XML = XML + "<CompleteMultipartUploadResult><Location>http://"


def nothing_else(export, *requests):
    """Asserts that no request but these was repeated: Create, three parts,
    Complete."""
    kinds = {CREATE: 1, PARTS: 3, COMPLETE: 1}
    assert export.others(*requests) == sum(
        count for kind, count in kinds.items() if kind not in requests
    )


# Create

CREATE_FAULTS = {
    "500": (dict(response=INTERNAL_ERROR), 500),
    "error-in-200": (
        dict(response=ok_with(ERROR_IN_200.format("InternalError"))), 200
    ),
    "empty": (dict(response=Response(200)), 200),
    "lost": (dict(drop="before"), None),
}


@pytest.mark.parametrize("fault", list(CREATE_FAULTS))
def test_create_fails_once(export, proxy, fault):
    action, status = CREATE_FAULTS[fault]
    proxy.rule(*CREATE, **action)
    export.lands()
    assert export.statuses(CREATE) == [status, 200]
    nothing_else(export, CREATE)


@pytest.mark.parametrize("at", [40, None], ids=["head", "body"])
def test_10_create_is_cut(export, proxy, db, rgw, bucket, at):
    """S3 has begun an upload whose id no process knows: the sweep finds it."""
    proxy.rule(*CREATE, drop="response", at=at, reset=True)
    with export.running() as landing:
        landing.rows()
    export.is_whole()
    assert len(proxy.requests(*CREATE)) == 2
    nothing_else(export, CREATE)
    (orphan,) = rgw.unfinished(bucket)
    swept = select(
        db, "SELECT * FROM onboard_abort_uploads(%s, older_than => '0')",
        (bucket,),
    )
    assert [row["upload_id"] for row in swept] == [orphan["UploadId"]]
    assert rgw.unfinished(bucket) == []


# Complete


def test_complete_internal_error_twice(export, proxy):
    proxy.rule(*COMPLETE, response=INTERNAL_ERROR, times=2)
    export.lands()
    assert export.statuses(COMPLETE) == [500, 500, 200]
    nothing_else(export, COMPLETE)


def test_12_internal_error_in_200(export, proxy):
    response = ok_with(ERROR_IN_200.format("InternalError"))
    proxy.rule(*COMPLETE, response=response)
    export.lands()
    assert export.statuses(COMPLETE) == [200, 200]
    first, second = proxy.requests(*COMPLETE)
    assert first.body == second.body
    nothing_else(export, COMPLETE)


@pytest.mark.parametrize(
    "code, sqlstate", [("AccessDenied", "42501"), ("InvalidPart", "58030")]
)
def test_13_refusal_in_200(export, proxy, db, code, sqlstate):
    proxy.rule(*COMPLETE, response=ok_with(ERROR_IN_200.format(code)))
    error = export.fails(sqlstate)
    assert f"S3 answered HTTP 200 {code}" in error.diag.message_detail
    assert export.statuses(COMPLETE) == [200]
    assert export.statuses(ABORT) == [204]
    assert not warnings(db)


NOT_DONE = {
    "cut-xml": dict(response=ok_with(CUT_XML)),
    "empty": dict(response=Response(200)),
    "blanks": dict(response=Response(
        200, b" " * 20, {"Content-Length": None, "Connection": "close"}
    )),
    "html": dict(response=ok_with("<html></html>")),
    "gateway": dict(response=html(502)),
}


@pytest.mark.parametrize("fault", list(NOT_DONE))
@pytest.mark.parametrize("other", [False, True], ids=["", "over-another"])
def test_14_unclear_and_not_done(export, proxy, db, bucket, fault, other):
    """This does not depend on another object of that name and size."""
    if other:
        land(db, "t", rows(12, "repeat('y', 1000) AS repeat"), bucket)
    proxy.rule(*COMPLETE, **NOT_DONE[fault])
    export.lands()
    assert len(export.statuses(COMPLETE)) == 2
    assert export.statuses(HEAD) == [200 if other else 404]
    assert export.statuses(LIST_PARTS) == [200]


DONE = {
    "cut-in-body": dict(drop="response"),
    "cut-in-head": dict(drop="response", at=40),
    "reset": dict(drop="response", reset=True),
    "blanks": dict(dribble=0.02, delay=0.1, drop="after"),
    "empty": dict(instead=Response(200)),
    "html": dict(instead=ok_with("<html></html>")),
    "gateway": dict(instead=html(504)),
}


@pytest.mark.parametrize("fault", list(DONE))
def test_14_unclear_but_done(export, proxy, fault):
    proxy.rule(*COMPLETE, **DONE[fault])
    export.lands()
    assert len(export.statuses(COMPLETE)) == 1
    assert export.statuses(HEAD) == [200]
    assert export.statuses(LIST_PARTS) == []
    assert export.statuses(ABORT) == []


def test_14_stays_unclear(export, proxy):
    """The Complete can succeed but the object cannot be checked: the error must
    not claim a failure."""
    proxy.rule(*COMPLETE, drop="response")
    proxy.rule(*HEAD, response=Response(403), times=None)
    error = export.failure()
    assert error.pgcode == "08007"
    assert "could not complete the upload" in str(error)
    assert "it may have been written" in error.diag.message_hint
    no_upload_left(export.rgw, export.bucket)
    export.is_whole()


@pytest.mark.parametrize("drop", ["before", "after"])
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
def test_15_response_is_lost(export, proxy, drop, times):
    proxy.rule(*COMPLETE, drop=drop, times=times)
    if (drop, times) == ("before", None):
        assert export.fails("08007")
        return
    export.lands()
    assert export.statuses(ABORT) == []
    if times is None:
        assert export.statuses(HEAD) == [200]


def test_15_response_is_lost_and_upload_forgotten(export, proxy):
    """Some stores forget an upload once it is completed."""
    proxy.rule(*COMPLETE, drop="after")
    proxy.rule("POST", "uploadId=", nth=2, response=GONE, times=None)
    export.lands()
    assert export.statuses(HEAD) == [200]
    assert export.statuses(ABORT) == []


def test_15_another_object_is_there(export, proxy, db, s3, bucket):
    """It has the same name and size, but not our marker."""
    other = rows(12, "repeat('y', 1000) AS repeat")
    land(db, "t", other, bucket)
    proxy.rule(*COMPLETE, response=GONE, times=None)
    proxy.rule(*LIST_PARTS, response=GONE, times=None)
    error = export.failure()
    assert error.pgcode == "08007"
    assert export.statuses(HEAD) == [200, 200]
    no_upload_left(export.rgw, bucket)
    assert body(s3, bucket, key_of("t")) == copy(db, other)


def test_15_upload_is_there_but_not_completed(export, proxy):
    """In response to the retry, the store knows the upload, but refuses to
    complete it."""
    proxy.rule(*COMPLETE, response=GONE, times=None)
    error = export.fails("08007")
    assert "NoSuchUpload" in error.diag.message_detail
    assert export.statuses(COMPLETE) == [404] * 3


@pytest.mark.parametrize(
    "dribble", [None, 0.02], ids=["in-silence", "with-blanks"]
)
def test_16_complete_takes_long(export, proxy, dribble):
    """The Complete may stall for longer than any other request."""
    rule = proxy.rule(*COMPLETE, delay=1.5, dribble=dribble)
    export.set(stall_timeout="1s")
    export.lands()
    assert rule.used == 1
    assert export.statuses(COMPLETE) == [200]
    assert export.statuses(HEAD) == []
    assert not dribble or rule.blanks > 5


RESULTS = {
    "no-etag": (
        '<CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/'
        '2006-03-01/"><ETag></ETag></CompleteMultipartUploadResult>'
    ),
    "blanks-before": "  \n" + XML + "<CompleteMultipartUploadResult/>",
    "other-root": (
        "<CompleteMultipartUploadResponse><ETag>x</ETag>"
        "</CompleteMultipartUploadResponse>"
    ),
    "prefix": '<a:CompleteMultipartUploadResult xmlns:a="urn:a"/>',
}


@pytest.mark.parametrize("result", list(RESULTS))
def test_17_odd_success(export, proxy, result):
    """RGW's first response has no ETag, moto's has another root element."""
    proxy.rule(*COMPLETE, instead=ok_with(RESULTS[result]))
    export.lands()
    nothing_else(export)


CONFLICTS = {
    412: s3_error(412, "PreconditionFailed"),
    409: s3_error(409, "ConditionalRequestConflict"),
}


@pytest.mark.parametrize("status", list(CONFLICTS))
def test_31_conflict_at_complete(export, proxy, status):
    proxy.rule(*COMPLETE, response=CONFLICTS[status], times=None)
    error = export.fails("58P02")
    assert f"S3 answered HTTP {status} " in error.diag.message_detail
    assert export.statuses(COMPLETE) == [status]
    assert export.statuses(ABORT) == [204]


def test_35_parts_are_in_order_and_large(export, proxy):
    """S3 would respond EntityTooSmall or InvalidPartOrder otherwise."""
    proxy.rule(*PART, response=INTERNAL_ERROR)  # so parts land out of order
    export.lands(rows(40))
    (complete,) = proxy.requests(*COMPLETE)
    root = xml.etree.ElementTree.fromstring(complete.body)
    numbers = [
        int(element.text)
        for element in root.iter()
        if element.tag.endswith("}PartNumber")
    ]
    assert numbers == list(range(1, 9))
    sizes = {
        int(r.query.split("partNumber=")[1].split("&")[0]): r.body_bytes
        for r in proxy.requests(*PARTS)
        if r.status == 200
    }
    assert sorted(sizes) == numbers
    assert all(sizes[number] == 5 * MB for number in numbers[:-1])
    assert 0 < sizes[8] <= 5 * MB


# Abort


def test_48_abort_fails(export, proxy, db, rgw, bucket):
    """The first error is raised; a WARNING names the upload that is left."""
    proxy.rule(*PART, response=DENIED)
    proxy.rule(*ABORT, response=INTERNAL_ERROR, times=None)
    error = export.failure()
    assert error.pgcode == "42501"
    assert "could not upload part 2 of" in str(error)
    assert len(export.statuses(ABORT)) == 2
    (warning,) = warnings(db)
    assert "could not abort the upload of" in warning
    assert "onboard_abort_uploads()" in warning
    (upload,) = rgw.unfinished(bucket)
    swept = select(
        db, "SELECT * FROM onboard_abort_uploads(%s, older_than => '0')",
        (bucket,),
    )
    assert [row["upload_id"] for row in swept] == [upload["UploadId"]]
    no_trace(rgw, bucket)


def test_48_abort_fails_at_a_key_that_the_client_cannot_read(
    export, proxy, db, rgw, bucket
):
    """The query's own error is the statement's error."""
    query = rows(12, "1 / (11500 - g), repeat('x', 1000)")
    proxy.rule("DELETE", times=None, response=DENIED)
    db.set_client_encoding("LATIN1")
    key = "convert_from('\\xe8a1a8', 'UTF8')"
    error = failure(
        select, db, "SELECT * FROM onboard_table('t', %s, %s,"
        f" jsonb_build_object('server', %s::text, 'key', {key}))",
        (query, bucket, export.server),
    )
    assert error.pgcode == "22012"
    assert f'could not abort the upload of "s3://{bucket}/?"' in db.notices[0]
    for left in rgw.unfinished(bucket):
        rgw.s3.abort_multipart_upload(
            Bucket=bucket, Key=left["Key"], UploadId=left["UploadId"]
        )


def test_48_abort_fails_once(export, proxy, db):
    proxy.rule(*PART, response=DENIED)
    proxy.rule(*ABORT, response=s3_error(503, "SlowDown"))
    export.fails("42501")
    assert 204 in export.statuses(ABORT)
    assert not warnings(db)


def test_a_part_of_an_aborted_upload(export, proxy, db, s3, bucket):
    """Another client has aborted it."""
    held = proxy.rule(*PART, hold=True, when="request")
    with export.running() as landing:
        held.wait()
        (upload,) = export.rgw.unfinished(bucket)
        s3.abort_multipart_upload(
            Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
        )
        held.release()
        error = landing.error()
    assert error.pgcode == "58P01"
    assert "NoSuchUpload" in error.diag.message_detail
    assert keys(s3, bucket) == []
    no_trace(export.rgw, bucket)
