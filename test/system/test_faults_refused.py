"""Requests that the store refuses for good: rows 24, 25 and 30 of
docs/faults.md.

Each refusal has its SQLSTATE and hint, the request is not retried, and no
message contains more than the user may know.
"""

import json

import pytest

from faults import (
    ABORT, COMPLETE, CREATE, OBJECT, PART, PARTS, SMALL, html,
)
from lib.exports import (
    Running, key_of, keys, no_upload_left, rows, warnings,
)
from lib.process import wait_until
from lib.proxy import Proxy, Response, redirect, s3_error

BIG = rows(12)
BOTH = pytest.mark.parametrize("query", [SMALL, BIG], ids=["small", "big"])

# A word of each hint.
CHECK_KEYS = "Check the access key id, the secret access key"
CHECK_BUCKET = "Check the name of the bucket"
CHECK_POLICY = "s3:PutObject"
SET_REGION = "server's option region"


@pytest.fixture
def refused(export, db, proxy, rgw):
    """Asserts that an export is refused at its only request; returns the
    DETAIL."""

    def check(sqlstate, hint, query, bucket=None, **options):
        error = export.failure(query, bucket=bucket, **options)
        assert error.pgcode == sqlstate, error
        what = "upload" if query == SMALL else "start the upload of"
        bucket = bucket or export.bucket
        assert error.diag.message_primary == (
            f'could not {what} "s3://{bucket}/{key_of("t")}"'
        )
        assert hint in error.diag.message_hint
        text = f"{error} {error.diag.message_detail}"
        assert rgw.secret_key not in text
        assert len(proxy.requests()) == 1
        assert not warnings(db)
        return error.diag.message_detail

    return check


@BOTH
def test_30_no_such_bucket(refused, query):
    detail = refused("58P01", CHECK_BUCKET, query, "no-such-bucket-here")
    assert "S3 answered HTTP 404 NoSuchBucket" in detail
    assert "request id tx" in detail


@BOTH
def test_30_wrong_secret(refused, proxy, rgw, make_server, query):
    secret = "wrong-secret-canary"
    server = make_server(proxy.endpoint, rgw.access_key, secret)
    detail = refused("28000", CHECK_KEYS, query, server=server)
    assert "S3 answered HTTP 403 SignatureDoesNotMatch" in detail
    assert secret not in detail


def test_30_unknown_access_key(refused, proxy, rgw, make_server):
    server = make_server(proxy.endpoint, "NOBODY", rgw.secret_key)
    detail = refused("28000", CHECK_KEYS, SMALL, server=server)
    assert "S3 answered HTTP 403 InvalidAccessKeyId" in detail


@BOTH
def test_30_bucket_of_another(refused, proxy, rgw, make_server, query):
    """The credentials are not those of the bucket's owner."""
    name = "stranger-" + ("small" if query == SMALL else "big")
    server = make_server(proxy.endpoint, *rgw.add_user(name))
    detail = refused("42501", CHECK_POLICY, query, server=server)
    assert "S3 answered HTTP 403 AccessDenied" in detail


# Responses that RGW does not send here, to each request

FINAL = {
    "create-403": (CREATE, s3_error(403, "AccessDenied"), "42501"),
    "part-403": (PART, s3_error(403, "AccessDenied"), "42501"),
    "part-account": (PART, s3_error(403, "AccountProblem"), "42501"),
    "part-too-large": (PART, s3_error(400, "EntityTooLarge"), "54000"),
    "part-argument": (PART, s3_error(400, "InvalidArgument"), "38000"),
    "part-not-implemented": (PART, s3_error(501, "NotImplemented"), "58030"),
    "part-gone": (PART, s3_error(404, "NoSuchUpload"), "58P01"),
    "complete-403": (COMPLETE, s3_error(403, "AccessDenied"), "42501"),
    "complete-invalid": (COMPLETE, s3_error(400, "InvalidPart"), "38000"),
}


@pytest.mark.parametrize("fault", list(FINAL))
def test_30_other_refusals(export, proxy, db, fault):
    request, response, sqlstate = FINAL[fault]
    proxy.rule(*request, response=response, times=None)
    error = export.fails(sqlstate)
    assert f"S3 answered HTTP {response.status}" in error.diag.message_detail
    assert "request id scripted" in error.diag.message_detail
    assert export.statuses(request) == [response.status]
    assert bool(export.statuses(ABORT)) == (request is not CREATE)
    assert not warnings(db)


# Redirects


ELSEWHERE = {
    "301": s3_error(
        301, "PermanentRedirect",
        headers={"x-amz-bucket-region": "eu-north-1"},
    ),
    "400": s3_error(
        400, "AuthorizationHeaderMalformed",
        extra="<Region>eu-north-1</Region>",
    ),
}


def regions(export):
    """The regions for which requests were signed."""
    return [r.scope.split("/")[1] for r in export.proxy.requests()]


@BOTH
@pytest.mark.parametrize("response", list(ELSEWHERE))
def test_24_another_region(export, proxy, query, response):
    """The region is learnt once, and kept."""
    proxy.rule(response=ELSEWHERE[response])
    export.lands(query)
    first, *others = regions(export)
    assert first == "us-east-1"
    assert others == ["eu-north-1"] * (1 if query == SMALL else 5)
    proxy.clear()
    export.lands(query)
    assert set(regions(export)) == {"eu-north-1"}


def test_24_head_for_the_region(export, proxy):
    """If the redirect does not name the region, a HEAD of the bucket finds it.
    """
    proxy.rule(*OBJECT, response=s3_error(301, "PermanentRedirect"))
    response = Response(200, headers={"x-amz-bucket-region": "eu-north-1"})
    proxy.rule("HEAD", response=response)
    export.lands(SMALL)
    assert [r.method for r in proxy.requests()] == ["PUT", "HEAD", "PUT"]
    assert regions(export)[-1] == "eu-north-1"


def test_24_head_for_the_region_is_retried(export, proxy):
    """The HEAD gets no response at first."""
    proxy.rule(*OBJECT, times=2, response=s3_error(301, "PermanentRedirect"))
    proxy.rule("HEAD", response=html(503))
    response = Response(200, headers={"x-amz-bucket-region": "eu-north-1"})
    proxy.rule("HEAD", nth=2, response=response)
    export.lands(SMALL)
    methods = ["PUT", "HEAD", "PUT", "HEAD", "PUT"]
    assert [r.method for r in proxy.requests()] == methods
    assert regions(export)[-1] == "eu-north-1"


@pytest.mark.parametrize("response", list(ELSEWHERE))
def test_24_not_there_either(export, proxy, response):
    """Circular redirects are not followed."""
    proxy.rule(response=ELSEWHERE[response], times=None)
    error = export.fails("22023", SMALL)
    assert '"eu-north-1"' in error.diag.message_hint
    assert regions(export) == ["us-east-1", "eu-north-1"]


@pytest.mark.parametrize("response", list(ELSEWHERE))
@pytest.mark.parametrize("request_", [COMPLETE, ABORT],
                         ids=["complete", "abort"])
def test_24_several_at_once(
    db, s3, rgw, registry, bucket, proxy, proxied, request_, response
):
    """All requests were signed before the first response."""
    aborted = request_ is ABORT
    for n in range(4):
        registry(f"t{n}", f"SELECT {n} AS one", bucket, key="{name}.{ext}")
    if aborted:
        registry("z", "SELECT 1 / 0 AS one", bucket, key="{name}.{ext}")
    rule = proxy.rule(
        *request_, times=4, hold=True, when="request",
        response=ELSEWHERE[response],
    )
    options = json.dumps({"server": proxied, "publish": "together"})
    sql = "SELECT name, status FROM onboard_all(NULL, %s)"
    with Running(db, sql, (options,)) as run:
        wait_until(lambda: rule.used == 4, 60, "all are under way")
        rule.release()
        found = run.rows(60)
    no_upload_left(rgw, bucket)
    objects = [k for k in keys(s3, bucket) if not k.startswith("_onboard/")]
    if aborted:
        assert objects == []
        assert not [text for text in warnings(db) if "abort" in text]
    else:
        assert {row["status"] for row in found} == {"done"}
        assert objects == [f"t{n}.csv" for n in range(4)]
    signed = [r.scope.split("/")[1] for r in proxy.requests(*request_)]
    assert sorted(signed) == ["eu-north-1"] * 4 + ["us-east-1"] * 4


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    "request_", [OBJECT, CREATE, PART, COMPLETE],
    ids=["object", "create", "part", "complete"],
)
def test_25_redirect_to_a_foreign_host(export, proxy, rgw, status, request_):
    """No connection is made to that host, let alone a request signed for it."""
    with Proxy(rgw.endpoint) as foreign:
        response = redirect(foreign.endpoint + "/elsewhere", status)
        proxy.rule(*request_, response=response, times=None)
        error = export.fails("22023", SMALL if request_ is OBJECT else BIG)
        assert f"S3 answered HTTP {status}" in error.diag.message_detail
        assert foreign.connections == 0
    assert export.statuses(request_) == [status]
    assert len(export.statuses(PARTS)) <= 3
