"""Rows of many short values: a row crosses many windows and buffers.

In builds with PostgreSQL's assertions, a buffer is between two protected pages,
and its address is independent of that of the next one.  The expected rows are
COPY's, and for JSON those of row_to_json().
"""

import gzip

import pytest

from lib.exports import body, copy, land, select


def column(i, length, mixed):
    """Most columns are texts; every fourth has a type of its own."""
    if not mixed or i % 8 < 4:
        return f"repeat(chr(97 + g % 26), {length} - {i} % 5) AS c{i}"
    return (
        f"g * {i} AS c{i}",
        f"g::int8 << {i % 50} AS c{i}",
        f"date '2026-01-01' + g + {i} AS c{i}",
        f"(g * 1.25 + {i})::numeric(12,2) AS c{i}",
    )[i % 4]


def stored(width, length, count, mixed=False):
    """A query whose rows come as they are stored: as minimal tuples of a CTE.
    """
    columns = ", ".join(column(i, length, mixed) for i in range(width))
    return (
        f"WITH x AS MATERIALIZED (SELECT {columns}"
        f" FROM generate_series(1, {count}) g) SELECT * FROM x"
    )


def computed(width, length, count):
    """The same rows as values that were just computed."""
    return stored(width, length, count).replace("AS MATERIALIZED", "AS")


def expected(db, query, format):
    if not format.startswith("json"):
        header = ", HEADER" if format == "csv" else ""
        return copy(db, query, f"FORMAT {format}{header}")
    lines = [
        row["line"] for row in select(
            db, f"SELECT row_to_json(q)::text AS line FROM ({query}) q"
        )
    ]
    if format == "jsonl":
        return "".join(line + "\n" for line in lines).encode()
    return ('{"Results": [\n' + ",\n".join(lines) + "\n]}\n").encode()


def landed(db, s3, bucket, query, format, **options):
    land(db, "w", query, bucket, key="w", format=format, **options)
    return body(s3, bucket, "w")


FORMATS = ("csv", "text", "binary", "jsonl", "json")
PART = {"part_size": "5MB"}

# The rest of a row that crosses windows and buffers: it is larger than a
# window, and its values are copied in three different ways.
LARGE = {
    "1600 of 120": stored(1600, 120, 60),
    "1600 of 120, mixed": stored(1600, 120, 100, mixed=True),
    "1050 of 126": stored(1050, 126, 60),
    "1400 of 255": stored(1400, 255, 24),
    "1600 of 640, a MB": stored(1600, 640, 11),
    "1600 of 120, computed": computed(1600, 120, 60),
}


@pytest.mark.parametrize("query", LARGE.values(), ids=LARGE.keys())
@pytest.mark.parametrize("format", FORMATS)
def test_large(db, s3, bucket, format, query):
    assert landed(db, s3, bucket, query, format, **PART) == expected(
        db, query, format
    )


@pytest.mark.parametrize("format", FORMATS)
def test_compressed(db, s3, bucket, format):
    """The encoder's windows are the codec's, and the codec's are the buffers.
    """
    query = LARGE["1600 of 120"]
    data = landed(
        db, s3, bucket, query, format, compression="gzip", **PART
    )
    assert gzip.decompress(data) == expected(db, query, format)


@pytest.mark.parametrize("format", FORMATS)
def test_every_width(db, s3, bucket, format):
    for width in (*range(1, 1600, 61), 1599, 1600):
        query = stored(width, 120, 3, mixed=width % 2 == 0)
        assert landed(db, s3, bucket, query, format) == expected(
            db, query, format
        ), f"{width} columns"
