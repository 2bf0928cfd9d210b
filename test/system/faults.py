"""What the tests of faults share: an export, and what must hold after it.

Tests are named after the rows of docs/faults.md.
"""

from landing import assert_same
from lib.exports import (
    Running, body, call, copy, failure, key_of, keys, land, no_trace, rows,
    select,
)
from lib.proxy import Answer

# Three parts of 5 MB, 5 MB and the rest.
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
    return Answer(200, text.encode(), headers)


def html(status):
    """What a gateway says that is no S3."""
    page = b"<html><body>Bad Gateway</body></html>"
    return Answer(status, page, {"Content-Type": "text/html"})


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
        """Settings of onboard, for this session."""
        for name, value in settings.items():
            select(self.db, f"SET onboard.{name} = '{value}'")

    def lands(self, query=QUERY, same_as=None, **options):
        """Export the query: its bytes land, and nothing else.

        same_as: a query that gives the same bytes sooner.
        """
        with self.running(query, **options) as export:
            (found,) = export.rows(120)
        self.has_landed(found, same_as or query)

    def running(self, query=QUERY, **options):
        """The same, while it runs; then has_landed() is for the test."""
        options = {"server": self.server, "part_size": PART_SIZE, **options}
        return Running(self.db, *call("t", query, self.bucket, **options))

    def has_landed(self, found, query=QUERY):
        """What must hold after an export that went well."""
        assert found["status"] == "done"
        self.is_whole(query)
        size = self.s3.head_object(Bucket=self.bucket, Key=key_of("t"))
        assert found["bytes"] == size["ContentLength"]
        assert self.rgw.unfinished(self.bucket) == []

    def fails(self, sqlstate, query=QUERY, **options):
        """Export the query: an error, and nothing is left of it."""
        error = self.failure(query, **options)
        assert error.pgcode == sqlstate, error
        no_trace(self.rgw, self.bucket)
        return error

    def failure(self, query=QUERY, bucket=None, **options):
        """The error that it ends with, whatever is left."""
        options = {"server": self.server, "part_size": PART_SIZE, **options}
        bucket = bucket or self.bucket
        return failure(land, self.db, "t", query, bucket, **options)

    def is_whole(self, query=QUERY):
        assert keys(self.s3, self.bucket) == [key_of("t")]
        landed = body(self.s3, self.bucket, key_of("t"))
        assert_same(landed, copy(self.db, query), "the object")

    def statuses(self, request):
        """What the client got for each of the requests like this one."""
        return [r.status for r in self.proxy.requests(*request)]

    def others(self, *requests):
        """How many requests there were besides these kinds."""
        listed = sum(len(self.proxy.requests(*one)) for one in requests)
        return len(self.proxy.requests()) - listed
