"""Objects of all sizes: their requests and their content.

Up to one part, an export is one PUT; beyond that, it is a multipart upload
whose parts all have their exact size, except for the last.  The proxy's log has
the requests, boto3 reads the objects, and their bytes must be COPY's.
"""

import concurrent.futures
import hashlib
import urllib.parse

import psycopg2
import pytest

from landing import assert_same, copy, execute, land, query_of_size
from lib.exports import body, keys

MB = 1024 * 1024
GB = 1024 * MB
PART = 5 * MB


def plan(proxy):
    """The requests in the order of their start: (kind, part number, bytes)."""
    found = []
    for request in proxy.requests():
        query = dict(
            urllib.parse.parse_qsl(request.query, keep_blank_values=True)
        )
        what = {
            ("PUT", ()): "put",
            ("POST", ("uploads",)): "create",
            ("PUT", ("partNumber", "uploadId")): "part",
            ("POST", ("uploadId",)): "complete",
            ("DELETE", ("uploadId",)): "abort",
        }.get((request.method, tuple(sorted(query))), request.target)
        assert request.status in (200, 204), request
        number = int(query.get("partNumber", 0))
        size = request.body_bytes if what in ("put", "part") else None
        found.append((what, number, size))
    return found


def multipart(sizes):
    parts = [("part", n, size) for n, size in enumerate(sizes, 1)]
    return [("create", 0, None), *parts, ("complete", 0, None)]


def check(db, s3, proxy, bucket, server, size, sizes, **options):
    """Exports that many bytes; sizes are those of the parts, or None for one
    PUT."""
    query = query_of_size(size)
    result = land(
        db, query, bucket, key="k", format="text", server=server, **options
    )
    expected = copy(db, query, format="text")
    assert len(expected) == size
    assert_same(body(s3, bucket, "k"), expected)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ContentLength"] == result.bytes == size
    requests = plan(proxy)
    etag = head["ETag"].strip('"')
    if sizes is None:
        assert requests == [("put", 0, size)]
        assert etag == hashlib.md5(expected).hexdigest()
    else:
        assert sum(sizes) == size
        # Parts start in the order in which connections become free.
        assert requests[0] == ("create", 0, None)
        assert requests[-1] == ("complete", 0, None)
        assert sorted(requests[1:-1]) == multipart(sizes)[1:-1]
        assert etag.endswith(f"-{len(sizes)}")


ONE_PUT = {
    "one byte": 1,
    "one part less 1": PART - 1,
    "one part": PART,
}
MULTIPART = {
    "one part plus 1": [PART, 1],
    "two parts less 1": [PART, PART - 1],
    "two parts": [PART, PART],
    "two parts plus 1": [PART, PART, 1],
    "four parts": [PART] * 4,
    "four and a half": [PART] * 4 + [PART // 2],
}


@pytest.mark.parametrize("name", ONE_PUT)
def test_49_up_to_one_part(db, s3, proxy, proxied, bucket, name):
    check(
        db, s3, proxy, bucket, proxied, ONE_PUT[name], None, part_size="5MB"
    )


@pytest.mark.parametrize("name", MULTIPART)
def test_49_more_than_one_part(db, s3, proxy, proxied, bucket, name):
    sizes = MULTIPART[name]
    check(
        db, s3, proxy, bucket, proxied, sum(sizes), sizes, part_size="5MB"
    )


@pytest.mark.parametrize("connections", [1, 2, 64])
def test_connections(db, s3, proxy, proxied, bucket, connections):
    sizes = [PART] * 6 + [7]
    check(
        db, s3, proxy, bucket, proxied, sum(sizes), sizes, part_size="5MB",
        connections=connections,
    )
    parts = proxy.requests("PUT")
    at_once = max(
        sum(other.started <= part.started < other.ended for other in parts)
        for part in parts
    )
    assert at_once <= connections


def test_sixty_mb(db, s3, proxy, proxied, bucket):
    """With the default settings, parts have 8 MB."""
    sizes = [8 * MB] * 7 + [4 * MB]
    check(db, s3, proxy, bucket, proxied, 60 * MB, sizes)


@pytest.mark.parametrize(
    "part_size, size", [(6 * MB, 6 * MB), ("6MB", 6 * MB), (5242881, 5242881)]
)
def test_part_size(db, s3, proxy, proxied, bucket, part_size, size):
    sizes = [size, 1]
    check(
        db, s3, proxy, bucket, proxied, sum(sizes), sizes, part_size=part_size
    )


def test_one_row_of_many_parts(db, s3, proxy, proxied, bucket):
    query = (
        "SELECT string_agg(md5(g::text), '') FROM generate_series(1, 350000) g"
    )
    land(
        db, query, bucket, key="k", format="text", server=proxied,
        part_size="5MB",
    )
    assert_same(body(s3, bucket, "k"), copy(db, query, format="text"))
    sizes = [PART, PART, 11200001 - 2 * PART]
    assert sorted(plan(proxy)) == sorted(
        multipart(sizes), key=lambda request: request[:2]
    )


# Empty results


def test_49_0_bytes(db, s3, proxy, proxied, bucket):
    result = land(
        db, "SELECT 1 WHERE false", bucket, key="k", server=proxied,
        empty="write", header=False,
    )
    assert (result.status, result.files, result.bytes) == ("done", 1, 0)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ContentLength"], head["ContentType"]) == (0, "text/csv")
    assert plan(proxy) == [("put", 0, 0)]


def test_header_alone(db, s3, proxy, proxied, bucket):
    land(
        db, "SELECT 1 AS a WHERE false", bucket, key="k", server=proxied,
        empty="write",
    )
    assert body(s3, bucket, "k") == b"a\n"
    assert plan(proxy) == [("put", 0, 2)]


@pytest.mark.parametrize(
    "format", ["csv", "text", "binary", "json", "jsonl"]
)
def test_no_rows(db, s3, proxy, proxied, bucket, format):
    result = land(
        db, "SELECT 1 AS a WHERE false", bucket, key="k", server=proxied,
        format=format,
    )
    assert (result.status, result.uri, result.files) == ("empty", None, 0)
    assert (result.rows, result.bytes) == (0, 0)
    assert keys(s3, bucket) == []
    assert plan(proxy) == []


# The greatest number of parts


@pytest.fixture
def few_parts(make_server, rgw, proxy):
    """Makes a server behind the proxy with this maximum number of parts."""

    def make(count):
        return make_server(
            proxy.endpoint, rgw.access_key, rgw.secret_key, max_parts=count
        )

    return make


def test_49_parts_grow(db, s3, proxy, bucket, few_parts):
    """Their size doubles after each tenth of the allowed number."""
    sizes = [5 * MB, 10 * MB, 20 * MB, 40 * MB, 11 * MB]
    check(
        db, s3, proxy, bucket, few_parts(10), sum(sizes), sizes,
        part_size="5MB",
    )
    proxy.clear()
    sizes = [5 * MB, 5 * MB, 10 * MB, 10 * MB, 20 * MB, 1]
    check(
        db, s3, proxy, bucket, few_parts(20), sum(sizes), sizes,
        part_size="5MB",
    )


def test_parts_grow_within_memory(db, s3, proxy, bucket, few_parts):
    """Two parts must fit, minus the room that a window may overshoot."""
    execute(db, "SET onboard.upload_memory = '16MB'")
    largest = 8 * MB - 128 * 1024
    sizes = [5 * MB, largest, largest, 1]
    check(
        db, s3, proxy, bucket, few_parts(10), sum(sizes), sizes,
        part_size="5MB",
    )


def test_49_greatest_number_of_parts(db, s3, proxy, bucket, few_parts):
    sizes = [5 * MB, 10 * MB]
    check(
        db, s3, proxy, bucket, few_parts(2), sum(sizes), sizes,
        part_size="5MB",
    )


@pytest.mark.parametrize("over", [1, 30 * MB])
def test_49_one_part_too_many(rgw, db, s3, proxy, bucket, few_parts, over):
    server = few_parts(2)
    with pytest.raises(psycopg2.errors.ProgramLimitExceeded) as error:
        land(
            db, query_of_size(15 * MB + over), bucket, key="k", format="text",
            server=server, part_size="5MB",
        )
    assert error.value.pgcode == "54000"
    assert "2 parts" in error.value.diag.message_detail
    assert keys(s3, bucket) == []
    assert rgw.unfinished(bucket) == []
    # The session remains usable.
    assert land(db, "SELECT 1", bucket, key="k", server=server).rows == 1


# Two gigabytes


class Hash:
    """A file that keeps only a hash and the length."""

    def __init__(self):
        self._hash = hashlib.sha256()
        self.length = 0

    def write(self, data):
        self._hash.update(data)
        self.length += len(data)

    @property
    def value(self):
        return self._hash.hexdigest()


def hash_of_copy(pg, query):
    connection = pg.connect("onboard")
    found = Hash()
    copy(connection, query, file=found, format="text")
    connection.close()
    return found


def hash_of_object(s3, bucket, key):
    found = Hash()
    body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    for chunk in body.iter_chunks(MB):
        found.write(chunk)
    return found


def test_2_gb(gigabytes, pg, db, s3, bucket):
    """The settings are the defaults."""
    query = query_of_size(2 * GB, row=65536)
    result = land(db, query, bucket, key="k", format="text")
    assert result.bytes == 2 * GB
    assert result.rows == 2 * GB // 65536
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ContentLength"] == 2 * GB
    # The first tenth of 10,000 parts have the configured size, 8 MB.
    assert head["ETag"].strip('"').endswith("-256")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        of_copy = pool.submit(hash_of_copy, pg, query)
        of_object = hash_of_object(s3, bucket, "k")
    assert of_object.length == of_copy.result().length == 2 * GB
    assert of_object.value == of_copy.result().value
