"""onboard_abort_uploads(): uploads that no process will finish are found and
aborted.

Uploads of a killed backend are in test_faults_server.py.
"""

import concurrent.futures
import contextlib
import itertools
from urllib.parse import quote_plus

import botocore.exceptions
import botocore.parsers
import pytest

from lib.exports import Running, failure, key_of, keys, land, select, value
from lib.postgres import PeakMemory
from lib.proxy import Response, s3_error
from lib.rgw import release
from lib.script import Script

SWEEP = (
    "SELECT * FROM onboard_abort_uploads(%(bucket)s, prefix => %(prefix)s,"
    " older_than => %(older_than)s, server => %(server)s)"
)
NOW = "0"


def sweep(db, bucket, prefix=None, older_than=NOW, server=None):
    parameters = {
        "bucket": bucket,
        "prefix": prefix,
        "older_than": older_than,
        "server": server,
    }
    return select(db, SWEEP, parameters)


def begin(s3, bucket, *names):
    """Starts uploads that stay pending; returns their ids."""
    return [
        s3.create_multipart_upload(Bucket=bucket, Key=name)["UploadId"]
        for name in names
    ]


def found(uploads):
    return sorted((row["key"], row["upload_id"]) for row in uploads)


def left(rgw, bucket):
    return sorted(upload["Key"] for upload in rgw.unfinished(bucket))


def test_older_than(db, rgw, s3, bucket):
    begin(s3, bucket, "young")
    assert sweep(db, bucket, older_than="1 day") == []
    assert sweep(db, bucket, older_than="1 minute") == []
    assert left(rgw, bucket) == ["young"]
    assert [row["key"] for row in sweep(db, bucket)] == ["young"]
    assert left(rgw, bucket) == []


def test_prefix(db, rgw, s3, bucket, make_server):
    begin(s3, bucket, "a/1", "a/2", "ab", "b/1", "a")
    assert [row["key"] for row in sweep(db, bucket, "a/")] == ["a/1", "a/2"]
    assert left(rgw, bucket) == ["a", "ab", "b/1"]
    # Without a prefix in the call, the server's own prefix limits the sweep.
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, prefix="b/",
        bucket=bucket,
    )
    assert [row["key"] for row in sweep(db, None, server=server)] == ["b/1"]
    assert sweep(db, bucket, "nonesuch") == []
    assert len(sweep(db, bucket, "")) == 2
    assert left(rgw, bucket) == []


def test_more_than_a_page(db, rgw, s3, bucket):
    """S3 lists a thousand uploads at a time."""
    count = 1050
    names = [f"k{number:04}" for number in range(count)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda name: begin(s3, bucket, name)[0], names))
    swept = sweep(db, bucket)
    assert found(swept) == sorted(zip(names, ids))
    assert rgw.unfinished(bucket) == []


ODD = [
    "a b", "a+b", "a%20b", "a%2Bb", "a//b", "./a", "a/../b", "a?b", "a#b",
    "a&b=c", "a;b", "a'b", 'a"b', "a<b>", "a&amp;b", "a\\b", "é/日本/😀",
    " ", "*", "{a}", "a" * 1024,
]


def test_odd_keys(db, rgw, s3, bucket):
    ids = begin(s3, bucket, *ODD)
    assert found(sweep(db, bucket)) == sorted(zip(ODD, ids))
    assert left(rgw, bucket) == []


def test_odd_prefix(db, rgw, s3, bucket):
    begin(s3, bucket, *ODD)
    for name in ODD:
        if name != "a" * 1024:
            taken = [row["key"] for row in sweep(db, bucket, name)]
            assert taken == [name]
    sweep(db, bucket)


def test_two_uploads_of_one_key(db, rgw, s3, bucket):
    ids = begin(s3, bucket, "k", "k", "k")
    assert found(sweep(db, bucket)) == sorted(("k", one) for one in ids)
    assert left(rgw, bucket) == []


def test_objects_and_parts(db, rgw, s3, bucket):
    """Parts are removed with their upload; objects stay."""
    land(db, "t", "SELECT 1 AS one", bucket)
    (upload_id,) = begin(s3, bucket, key_of("t"))
    s3.upload_part(
        Bucket=bucket, Key=key_of("t"), UploadId=upload_id, PartNumber=1,
        Body=b"x" * 1000,
    )
    assert len(sweep(db, bucket)) == 1
    assert keys(s3, bucket) == [key_of("t")]


def test_refusals(db, bucket):
    error = failure(sweep, db, "no-such-bucket-here")
    assert error.pgcode == "58P01"
    assert "could not list the unfinished uploads of" in str(error)
    assert failure(sweep, db, "A_b").pgcode == "22023"
    assert failure(sweep, db, bucket, older_than="-1 day").pgcode == "22023"
    assert failure(sweep, db, bucket, older_than=None).pgcode == "22004"
    assert failure(sweep, db, bucket, server="nonesuch").pgcode == "42704"


def test_an_upload_that_is_gone_is_no_error(db, rgw, s3, bucket, proxy, proxied):
    """An upload that is gone when its turn comes is no error."""
    ids = begin(s3, bucket, "a", "b")
    gone = s3_error(404, "NoSuchUpload")
    proxy.rule("DELETE", f"uploadId={ids[0][:4]}", response=gone)
    assert len(sweep(db, bucket, server=proxied)) == 2
    sweep(db, bucket)


@pytest.mark.parametrize("request_", [("GET", "uploads"), ("DELETE", "")])
def test_cancel(pg, db, rgw, s3, bucket, proxy, proxied, request_):
    begin(s3, bucket, "a", "b")
    rule = proxy.rule(
        *request_, hold=True, when="request", drop="before", times=None
    )
    sql = "SELECT * FROM onboard_abort_uploads(%s, older_than => '0',"
    sql += " server => %s)"
    observer = pg.connect("onboard")
    with Running(db, sql, (bucket, proxied)) as sweeping:
        rule.wait()
        select(observer, "SELECT pg_cancel_backend(%s)", (sweeping.pid,))
        assert sweeping.error().pgcode == "57014"
    observer.close()
    assert value(db, "SELECT 1") == 1
    assert len(sweep(db, bucket)) == 2
    assert left(rgw, bucket) == []


# Contents of listings


CONTROL = ["a\x01b", "\x1f", "tab\tnew\nline\r", "%01", "&#1;", "a+b\x02 c"]


def begin_unread(s3, bucket, *names):
    """Starts uploads where the response, which has the key, is not XML.

    boto3 cannot read it, and RGW 18 begins the upload and responds 500.
    """
    for name in names:
        with contextlib.suppress(
            botocore.parsers.ResponseParserError, botocore.exceptions.ClientError
        ):
            s3.create_multipart_upload(Bucket=bucket, Key=name)


def test_control_characters(db, rgw, s3, bucket):
    """XML cannot represent them: the store encodes the keys, or writes invalid
    XML."""
    begin_unread(s3, bucket, *CONTROL)
    assert len(rgw.unfinished(bucket)) == len(CONTROL)
    assert sorted(row["key"] for row in sweep(db, bucket)) == sorted(CONTROL)
    assert rgw.unfinished(bucket) == []


def test_a_page_that_ends_at_a_control_character(db, rgw, s3, bucket):
    """Its key is where the next page begins, too.

    RGW 18 does not encode that key, and responds 500 instead: there, the keys
    are plain, and test_a_page_that_ends_at_an_encoded_key tests this case.
    """
    count = 1050
    ending = "" if release() >= 18 else "\x01"
    names = [f"k{number:04}{ending}" for number in range(count)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: begin_unread(s3, bucket, name), names))
    assert len(sweep(db, bucket)) == count
    assert rgw.unfinished(bucket) == []


def listing(keys=(), marker=None, encoding=None, key=lambda name: name):
    """A response to ListMultipartUploads."""
    uploads = "".join(
        f"<Upload><Key>{key(name)}</Key><UploadId>id</UploadId>"
        "<Initiated>2020-01-01T00:00:00.000Z</Initiated></Upload>"
        for name in keys
    )
    more = (
        f"<NextKeyMarker>{marker}</NextKeyMarker>"
        "<NextUploadIdMarker>id</NextUploadIdMarker>" if marker else ""
    )
    kind = f"<EncodingType>{encoding}</EncodingType>" if encoding else ""
    return Response(
        200,
        f"<ListMultipartUploadsResult>{kind}{more}<IsTruncated>"
        f"{'true' if marker else 'false'}</IsTruncated>{uploads}"
        "</ListMultipartUploadsResult>".encode(),
        {"Content-Type": "application/xml"},
    )


class Store(Script):
    """Responds to listings by a function of the request, and accepts all
    aborts."""

    def __init__(self, response):
        super().__init__()
        self.response = response
        self.lists = 0

    def respond(self, request, headers):
        if request.method == "DELETE":
            return Response(204)
        self.lists += 1
        return self.response(request)


@pytest.fixture
def store(make_server):
    """Makes a store with such listings, and a server for it."""
    with contextlib.ExitStack() as stores:

        def make(response):
            one = stores.enter_context(Store(response))
            one.server = make_server(one.endpoint, "key", "secret-of-none")
            return one

        yield make


def test_a_store_that_declares_its_encoding(db, store):
    """The listing is one page, with literal percent signs."""

    def response(request):
        assert "encoding-type=url" in request.query
        return listing(
            ["a\x01b", "%41", "é+ "], encoding="url", key=quote_plus
        )

    one = store(response)
    swept = sweep(db, "bucket", server=one.server)
    assert [row["key"] for row in swept] == ["a\x01b", "%41", "é+ "]
    assert one.lists == 1
    aborted = [request.path for request in one.requests("DELETE")]
    assert aborted == ["/bucket/a%01b", "/bucket/%2541", "/bucket/%C3%A9%2B%20"]


def test_a_page_that_ends_at_an_encoded_key(db, store):
    def response(request):
        if "key-marker=a%01b" in request.query:
            return listing(["c"], encoding="url")
        assert "key-marker" not in request.query
        return listing(["a%01b"], marker="a%01b", encoding="url")

    one = store(response)
    swept = sweep(db, "bucket", server=one.server)
    assert [row["key"] for row in swept] == ["a\x01b", "c"]
    assert one.lists == 2


@pytest.mark.parametrize("silent", [True, False])
def test_a_store_that_does_not_declare_its_encoding(db, store, silent):
    """The store encodes without saying so, or ignores the parameter: the
    listing is repeated without encoding."""

    def response(request):
        encodes = silent and "encoding-type=url" in request.query
        return listing(
            ["a&#1;b", "a&#x1F;b", "%41"], key=quote_plus if encodes else str
        )

    one = store(response)
    swept = sweep(db, "bucket", server=one.server)
    assert [row["key"] for row in swept] == ["a\x01b", "a\x1fb", "%41"]
    assert one.lists == 2


def test_a_list_that_cannot_be_read(db, store):
    """The error must not say that the endpoint is wrong."""
    one = store(lambda request: listing(["a\0b"]))
    error = failure(sweep, db, "bucket", server=one.server)
    assert error.pgcode == "08P01"
    assert "malformed" in error.diag.message_detail
    assert "Give a prefix that leaves out" in error.diag.message_hint
    assert "endpoint" not in error.diag.message_hint


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_a_list_that_goes_round_in_a_circle(db, store, length):
    """The circle is found, however long the path before it is."""
    requests = []

    def response(request):
        requests.append(request)
        at = len(requests)
        at = at if at < 10 else 10 + (at - 10) % length
        return listing(marker=f"m{at}", encoding="url")

    one = store(response)
    error = failure(sweep, db, "bucket", server=one.server)
    assert error.pgcode == "08P01"
    assert "in a circle" in error.diag.message_detail
    assert len(requests) < 10 + 4 * 16


def test_a_list_without_end(db, store):
    """Uploads are aborted page by page, so memory is bounded by one page."""
    keys = [f"{number}" + "x" * 900 for number in range(1000)]
    requests = itertools.count()
    one = store(
        lambda request: listing(
            keys, marker=f"m{next(requests)}", encoding="url", key=quote_plus
        )
    )
    select(db, "SET statement_timeout = '8s'")
    with PeakMemory(db.info.backend_pid) as memory:
        error = failure(sweep, db, "bucket", server=one.server)
    assert error.pgcode == "57014"
    assert one.requests("DELETE")
    assert memory.peak - memory.before < 24 * 1024 * 1024
    select(db, "RESET statement_timeout")


def test_prefix_that_no_key_can_have(db, bucket):
    error = failure(sweep, db, bucket, "x" * 1025)
    assert error.pgcode == "22023"
    assert "1025 bytes" in str(error)
