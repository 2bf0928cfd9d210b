"""Shared code of the tests of landed objects: export a query, run COPY,
compare.

Statements consist of ASCII alone, so they work under every client_encoding,
which the tests set by SQL, unnoticed by psycopg2.
"""

import io
import json

from psycopg2.extras import NamedTupleCursor

from lib.exports import body
from lib.parquet import READERS, copied
from lib.parquet_file import ParquetFile

FORMATS = ("csv", "text", "binary")


def execute(db, sql, arguments=None):
    """Runs a statement; returns its rows, if there are any."""
    with db.cursor() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall() if cursor.description else None


def land(db, query, bucket, name="t", **options):
    """Calls onboard_table(); returns its row."""
    with db.cursor(cursor_factory=NamedTupleCursor) as cursor:
        cursor.execute(
            # psycopg2 cannot parse every style of intervals.
            "SELECT run_id, name, status, uri, files, rows, bytes,"
            " extract(epoch FROM elapsed)::float8 AS elapsed"
            " FROM onboard_table(%s, %s, %s, %s)",
            (name, query, bucket, json.dumps(options)),
        )
        return cursor.fetchone()


def landed(db, s3, query, bucket, key="landed", **options):
    """The bytes of the object that a query's export makes."""
    result = land(db, query, bucket, key=key, **options)
    assert result.status == "done"
    data = body(s3, bucket, key)
    assert result.bytes == len(data)
    return data


def literal(text):
    """An SQL string literal in ASCII, for any text and any encoding."""
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
    """COPY's options that correspond to options of an export."""
    if format == "csv":
        # The only default that differs from COPY's.
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
    """Runs COPY TO STDOUT; into a file, or returns the bytes."""
    statement = f"COPY ({query}) TO STDOUT {copy_clause(**options)}"
    target = file or io.BytesIO()
    with db.cursor() as cursor:
        cursor.copy_expert(statement, target)
    return None if file else target.getvalue()


def assert_same(got, expected, what=""):
    """Like assert got == expected, but with a readable message for megabytes.
    """
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
    """Asserts that the object equals COPY's output in this session."""
    expected = copy(db, query, **options)
    got = landed(db, s3, query, bucket, empty="write", **options)
    assert_same(got, expected, f"{query[:200]} {options}")


def query_of_size(size, row=1024):
    """A query whose rows in format text have exactly size bytes in total.

    No two rows are equal, so parts in the wrong order are detected.
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


class Parquet:
    """Exports queries as Parquet, whose values must equal COPY's.

    Each file is checked against the specification (lib/parquet_file.py), and
    read by all readers, whose values are compared as PostgreSQL's texts.
    """

    def __init__(self, db, s3, bucket, readers, folder):
        self.db, self.s3, self.bucket = db, s3, bucket
        self.readers = readers
        self.folder = folder
        self.number = 0
        self.path = None  # the last file

    def land(self, query, **options):
        """Exports a query; returns the file, checked but not yet compared."""
        self.number += 1
        data = landed(
            self.db, self.s3, query, self.bucket, key=f"file{self.number}",
            **{"format": "parquet", "empty": "write", **options},
        )
        return self.open(data)

    def open(self, data):
        self.save(data)
        return ParquetFile(data).check()

    def landed(self, uri):
        """The file that an export says it has landed."""
        return self.open(body(self.s3, self.bucket, uri.split("/", 3)[3]))

    def save(self, data):
        self.number += 1
        self.path = self.folder / f"{self.number}.parquet"
        self.path.write_bytes(data)
        return self.path

    def check(self, query, expected=None, readers=READERS, **options):
        """Exports a query; returns the file, whose values must be those that
        COPY writes for expected."""
        file = self.land(query, **options)
        self.compare(file, expected or query, readers)
        return file

    def compare(self, file, expected, readers=READERS, in_order=True):
        data = copy(self.db, expected, format="text", encoding="UTF8")
        rows = copied(data)
        assert file.rows == len(rows)
        for reader in readers:
            found = self.texts(reader, file)
            if not in_order:
                found, rows = sort_rows(found), sort_rows(rows)
            if found != rows:
                raise AssertionError(f"{reader}: {first_other(found, rows)}")

    def texts(self, reader, file):
        """The rows that a reader finds in the last file."""
        columns = self.readers.read(reader, self.path)
        kinds = file.kinds()
        assert [c.name for c in columns] == [name for name, _ in kinds]
        for column, (_, kind) in zip(columns, kinds):
            column.adopt(kind)
        return list(map(list, zip(*(column.texts for column in columns))))

    def query(self, sql):
        """The result of a query in DuckDB; %s is the last file."""
        return self.readers.query(sql.replace("%s", f"'{self.path}'"))


def sort_rows(rows):
    return sorted(rows, key=lambda row: [(v is None, v or "") for v in row])


def first_other(found, rows):
    if len(found) != len(rows):
        return f"{len(found)} rows, not {len(rows)}"
    for number, (mine, theirs) in enumerate(zip(found, rows)):
        for column, (one, other) in enumerate(zip(mine, theirs)):
            if one != other:
                return (
                    f"row {number}, column {column}: {str(one)[:300]!r}, not"
                    f" {str(other)[:300]!r}"
                )
    return "the columns"
