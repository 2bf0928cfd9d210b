"""What the tests of landed objects share: land a query, ask COPY, compare.

Statements consist of ASCII alone, so they work under every client_encoding,
which the tests set by SQL, behind psycopg2's back.
"""

import io
import json

from psycopg2.extras import NamedTupleCursor

from lib.exports import body

FORMATS = ("csv", "text", "binary")


def execute(db, sql, arguments=None):
    """Run a statement; its rows, if it has any."""
    with db.cursor() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall() if cursor.description else None


def land(db, query, bucket, name="t", **options):
    """onboard_table(); the row that it returns."""
    with db.cursor(cursor_factory=NamedTupleCursor) as cursor:
        cursor.execute(
            # psycopg2 does not know each style of intervals.
            "SELECT run_id, name, status, uri, files, rows, bytes,"
            " extract(epoch FROM elapsed)::float8 AS elapsed"
            " FROM onboard_table(%s, %s, %s, %s)",
            (name, query, bucket, json.dumps(options)),
        )
        return cursor.fetchone()


def landed(db, s3, query, bucket, key="landed", **options):
    """The bytes that a query lands as."""
    result = land(db, query, bucket, key=key, **options)
    assert result.status == "done"
    data = body(s3, bucket, key)
    assert result.bytes == len(data)
    return data


def literal(text):
    """An SQL string in ASCII, whatever the text and the encodings."""
    quoted = ""
    for char in text:
        if char in "'\\":
            quoted += char * 2
        elif " " <= char <= "~":
            quoted += char
        else:
            quoted += f"\\+{ord(char):06X}"
    return f"U&'{quoted}'"


def copy_clause(format="csv", **options):
    """COPY's clause for options of an export."""
    if format == "csv":
        # The one default that is not COPY's.
        options.setdefault("header", True)
    clauses = [f"FORMAT {format}"]
    for name, value in options.items():
        if name == "force_quote":
            if value in (True, "*"):
                value = "*"
            else:
                names = (part.replace('"', '""') for part in value)
                value = "(" + ", ".join(f'"{part}"' for part in names) + ")"
        elif name != "header":
            value = literal(value)
        clauses.append(f"{name.upper()} {value}")
    return f"WITH ({', '.join(clauses)})"


def copy(db, query, file=None, **options):
    """COPY TO STDOUT, to a file or as bytes."""
    statement = f"COPY ({query}) TO STDOUT {copy_clause(**options)}"
    target = file or io.BytesIO()
    with db.cursor() as cursor:
        cursor.copy_expert(statement, target)
    return None if file else target.getvalue()


def assert_same(got, expected, what=""):
    """Like assert got == expected, but it can tell megabytes apart."""
    if got == expected:
        return
    at = 0
    shorter = min(len(got), len(expected))
    while at < shorter and got[at] == expected[at]:
        at += 1
    window = slice(max(0, at - 40), at + 40)
    raise AssertionError(
        f"{what} differs at byte {at} of {len(got)} and {len(expected)}:\n"
        f"  landed   {got[window]!r}\n  expected {expected[window]!r}"
    )


def assert_as_copy(db, s3, query, bucket, **options):
    """What lands must be what COPY writes, in this session."""
    expected = copy(db, query, **options)
    got = landed(db, s3, query, bucket, empty="write", **options)
    assert_same(got, expected, f"{query[:200]} {options}")


def query_of_size(size, row=1024):
    """A query whose rows, in format text, have together exactly size bytes.

    No two rows are alike, so parts out of order show.
    """
    rows, rest = divmod(size, row)
    query = (
        "SELECT lpad(g::text, 31, '0')"
        f" || repeat(md5(g::text), {row // 32 - 1}) AS line"
        f" FROM generate_series(1, {rows}) g"
    )
    if rest:
        query += f" UNION ALL SELECT repeat('z', {rest - 1})"
    return query
