"""Requirements of stores other than AWS's: rows 56 and 57 of docs/faults.md."""

import pytest

from faults import CREATE, OBJECT, PART, PARTS, PART_SIZE, SMALL
from lib.exports import body, copy, key_of, land, rows, select
from lib.proxy import s3_error

MB = 1024 * 1024
EAGER = """
    SET min_parallel_table_scan_size = 0;
    SET parallel_setup_cost = 0;
"""
QUERY = "SELECT * FROM odd"
# The rows have many lengths, so that parts that end at row boundaries do, too;
# and no codec can compress them.
TABLE = """
    CREATE TABLE odd AS
        SELECT g, (SELECT string_agg(md5(g::text || h), '')
                   FROM generate_series(1, 20 + g % 37) h) AS text
        FROM generate_series(1, 30000) g;
    ANALYZE odd;
"""


@pytest.fixture(scope="module", autouse=True)
def odd(pg):
    pg.psql(TABLE, "onboard")
    yield
    pg.psql("DROP TABLE odd", "onboard")


@pytest.fixture
def equal(make_server, proxy, rgw):
    """A server whose store requires parts of one size, as Cloudflare's R2 does.
    """
    return make_server(
        proxy.endpoint, rgw.access_key, rgw.secret_key, parts="equal"
    )


def sizes(proxy):
    """The sizes of the parts, in their order."""
    found = {}
    for request in proxy.requests(*PARTS):
        number = int(request.query.split("partNumber=")[1].split("&")[0])
        found[number] = int(request.headers["content-length"])
    return [found[number] for number in sorted(found)]


def test_56_parts_of_workers_end_with_rows(db, bucket, proxy, proxied):
    """Without the option, sizes differ: the next test relies on that."""
    select(db, EAGER)
    land(db, "t", QUERY, bucket, server=proxied, part_size=PART_SIZE,
         parallel=2)
    assert len(set(sizes(proxy)[:-1])) > 1


@pytest.mark.parametrize("codec", ["none", "gzip", "zstd", "lz4"])
def test_56_parts_of_one_size(db, s3, bucket, proxy, equal, codec):
    """Parts are of one size with parallel workers and with any codec."""
    select(db, EAGER)
    found = land(
        db, "t", QUERY, bucket, server=equal, part_size=PART_SIZE, parallel=2,
        compression=codec,
    )
    *most, last = sizes(proxy)
    assert len(most) >= 2
    assert set(most) == {5 * MB}
    assert 0 < last <= 5 * MB
    assert found["bytes"] == sum(most) + last
    if codec == "none":
        landed = body(s3, bucket, key_of("t")).split(b"\n")
        assert sorted(landed) == sorted(copy(db, QUERY).split(b"\n"))


def test_56_parts_do_not_grow(db, bucket, make_server, proxy, rgw):
    """With at most 10 parts in an upload, the second one would grow."""
    server = make_server(
        proxy.endpoint, rgw.access_key, rgw.secret_key, parts="equal",
        max_parts="10",
    )
    land(db, "t", QUERY, bucket, server=server, part_size=PART_SIZE)
    assert set(sizes(proxy)[:-1]) == {5 * MB}


def test_56_is_reported(db, bucket, equal):
    """onboard_explain() and onboard_check() report it."""
    select(db, EAGER)
    explain = ("SELECT line FROM onboard_explain(%s, jsonb_build_object("
               "'parallel', 2, 'server', %s)) line")
    first = select(db, explain, (QUERY, equal))[0]["line"]
    assert first == "Sink: in the session (the server wants parts of one size)"
    rows_ = select(
        db, "SELECT * FROM onboard_check(%s, jsonb_build_object('server', %s))",
        (bucket, equal),
    )
    (server,) = [row for row in rows_ if row["item"] == "server"]
    assert "all parts of an upload have one size" in server["detail"]


def test_56_r2_by_its_name(db, make_server):
    """The endpoint's name implies it, unless an option of the server says
    otherwise."""
    select(db, EAGER)
    endpoint = "https://0a1b.eu.r2.cloudflarestorage.com"
    explain = ("SELECT line FROM onboard_explain(%s, jsonb_build_object("
               "'parallel', 2, 'server', %s)) line")
    for options, reported in (({}, True), ({"parts": "any"}, False)):
        server = make_server(endpoint, "key", "secret-of-none", **options)
        line = select(db, explain, (QUERY, server))[0]["line"]
        assert ("one size" in line) == reported, line


# Content-MD5

WANTS_MD5 = s3_error(
    400, "InvalidRequest",
    "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object/"
    "Part requests with Object Lock parameters",
)


def has_md5(requests):
    return ["content-md5" in request.headers for request in requests]


@pytest.mark.parametrize("request_", [PART, OBJECT], ids=["part", "object"])
def test_57_md5_is_required(export, proxy, request_):
    """S3 requires it for locked objects; RGW verifies the header.  The session
    remembers the requirement."""
    query = SMALL if request_ is OBJECT else rows(12)
    proxy.rule(*request_, response=WANTS_MD5)
    export.lands(query)
    first, second = proxy.requests(*request_)
    assert has_md5([first, second]) == [False, True]
    assert second.server_status == 200
    assert not any(has_md5(proxy.requests(*CREATE)))
    proxy.clear()
    export.lands(query)
    assert all(has_md5(proxy.requests("PUT")))


def test_57_workers_know_it(export, db, bucket, proxy, proxied):
    select(db, EAGER)
    proxy.rule(*OBJECT, response=WANTS_MD5)
    export.lands(SMALL)
    proxy.clear()
    land(db, "t", QUERY, bucket, server=proxied, part_size=PART_SIZE,
         parallel=2)
    parts = proxy.requests(*PARTS)
    assert len({request.connection for request in parts}) > 1
    assert all(has_md5(parts))
    assert all(request.server_status == 200 for request in parts)


def test_57_md5_does_not_help(export, proxy):
    """It is sent once; the second refusal is final."""
    proxy.rule(*PART, response=WANTS_MD5, times=None)
    error = export.fails("38000")
    assert "Content-MD5" in error.diag.message_detail
    assert export.statuses(PART) == [400] * 2


def test_57_md5_from_the_start(
    db, s3, bucket, tls_proxy, make_server, rgw, authority
):
    """With TLS, no other checksum is computed; the store detects a damaged
    part."""
    proxy = tls_proxy()
    server = make_server(
        proxy.endpoint, rgw.access_key, rgw.secret_key,
        ca_file=authority.ca_file,
    )
    proxy.rule(*PART, flip=1000)
    land(db, "t", rows(12), bucket, server=server, part_size=PART_SIZE,
         checksum="md5")
    assert body(s3, bucket, key_of("t")) == copy(db, rows(12))
    parts = proxy.requests(*PARTS)
    assert all(has_md5(parts))
    assert {request.headers["x-amz-content-sha256"] for request in parts} == {
        "UNSIGNED-PAYLOAD"
    }
    assert [r.status for r in proxy.requests(*PART)] == [400, 200]
