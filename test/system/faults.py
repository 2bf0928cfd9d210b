"""Shared code of the tests of faults: an export, and the state that must
follow.

Tests are named after the rows of docs/faults.md.
"""

from landing import assert_same
from lib.exports import (
    Running, body, call, copy, failure, key_of, keys, land, no_trace, rows,
    select,
)
from lib.proxy import Response

# Three parts: 5 MB, 5 MB and the rest.
QUERY = rows(12)
PART_SIZE = "5MB"
SMALL = "SELECT 1 AS one"

CREATE = ("POST", r"\?uploads")
PART = ("PUT", "partNumber=2")
PARTS = ("PUT", "partNumber=")
COMPLETE = ("POST", "uploadId=")
ABORT = ("DELETE", "uploadId=")
OBJECT = ("PUT", "_data.csv$")
HEAD = ("HEAD", "_data.csv$")
LIST_PARTS = ("GET", "uploadId=")

XML = '<?xml version="1.0" encoding="UTF-8"?>'
ERROR_IN_200 = XML + "<Error><Code>{}</Code><Message>m</Message></Error>"


def ok_with(text, **headers):
    return Response(200, text.encode(), headers)


def html(status):
    """A response of a gateway, which is HTML instead of S3's XML."""
    page = b"<html><body>Bad Gateway</body></html>"
    return Response(status, page, {"Content-Type": "text/html"})


class Export:
    """Exports of one session through a proxy into one bucket."""

    def __init__(self, db, rgw, s3, bucket, proxy, server):
        self.db = db
        self.rgw = rgw
        self.s3 = s3
        self.bucket = bucket
        self.proxy = proxy
        self.server = server

    def set(self, **settings):
        """Sets settings of onboard in this session."""
        for name, value in settings.items():
            select(self.db, f"SET onboard.{name} = '{value}'")

    def lands(self, query=QUERY, same_as=None, **options):
        """Exports the query; its bytes must land, and nothing else.

        same_as: a faster query that returns the same bytes.
        """
        with self.running(query, **options) as export:
            (found,) = export.rows(120)
        self.has_landed(found, same_as or query)

    def running(self, query=QUERY, **options):
        """Starts the same export as lands(); the test calls has_landed()
        afterwards."""
        options = {"server": self.server, "part_size": PART_SIZE, **options}
        return Running(self.db, *call("t", query, self.bucket, **options))

    def has_landed(self, found, query=QUERY):
        """Asserts the state that must follow a successful export."""
        assert found["status"] == "done"
        self.is_whole(query)
        size = self.s3.head_object(Bucket=self.bucket, Key=key_of("t"))
        assert found["bytes"] == size["ContentLength"]
        assert self.rgw.unfinished(self.bucket) == []

    def fails(self, sqlstate, query=QUERY, **options):
        """Exports the query, which must fail and leave nothing in S3."""
        error = self.failure(query, **options)
        assert error.pgcode == sqlstate, error
        no_trace(self.rgw, self.bucket)
        return error

    def failure(self, query=QUERY, bucket=None, **options):
        """The error with which the export fails; leftovers in S3 are not
        checked."""
        options = {"server": self.server, "part_size": PART_SIZE, **options}
        bucket = bucket or self.bucket
        return failure(land, self.db, "t", query, bucket, **options)

    def is_whole(self, query=QUERY):
        assert keys(self.s3, self.bucket) == [key_of("t")]
        landed = body(self.s3, self.bucket, key_of("t"))
        assert_same(landed, copy(self.db, query), "the object")

    def statuses(self, request):
        """The status that the client received for each request of this kind."""
        return [r.status for r in self.proxy.requests(*request)]

    def others(self, *requests):
        """The number of requests that are of none of these kinds."""
        listed = sum(len(self.proxy.requests(*one)) for one in requests)
        return len(self.proxy.requests()) - listed
