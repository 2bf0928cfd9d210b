"""Formats jsonl and json.

A line of jsonl equals row_to_json() of the row, with one difference: a raw line
break inside a value of type json, which can only be white space, becomes a
blank, so that an object stays one line.  json is one document, {"Results":
[{...}, ...]}, which Python's parser reads.
"""

import decimal
import json

import psycopg2
import pytest

import zoo
from landing import assert_same, execute, land, landed
from lib.exports import keys


@pytest.fixture(scope="module")
def tables(pg):
    """The zoo in a schema of its own."""
    connection = pg.connect("onboard")
    execute(connection, "CREATE SCHEMA zoo; SET search_path = zoo, public")
    zoo.create(connection)
    yield
    execute(connection, "DROP SCHEMA zoo CASCADE")
    connection.close()


@pytest.fixture
def session(tables, db):
    """A connection whose search_path has the zoo."""
    execute(db, "SET search_path = zoo, public; SET client_encoding = 'UTF8'")
    return db


def rows_as_json(db, query):
    """row_to_json() of all rows, as UTF-8 under any client_encoding."""
    rows = execute(
        db,
        "SELECT convert_to(row_to_json(q)::text, 'UTF8')"
        f" FROM ({query}) q",
    )
    return [bytes(row[0]) for row in rows]


def as_lines(rows):
    """Replaces raw line breaks.  Other types escape all control characters."""
    return b"".join(
        row.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n" for row in rows
    )


def parse(data, **options):
    """Parses JSON with numbers as decimals: none is rounded, none is too long.

    With object_pairs_hook=list, members with equal names are kept.
    """
    return json.loads(
        data, parse_float=decimal.Decimal, parse_int=decimal.Decimal, **options
    )


def assert_as_row_to_json(db, s3, query, bucket):
    expected = rows_as_json(db, query)
    got = landed(db, s3, query, bucket, format="jsonl", empty="write")
    assert_same(got, as_lines(expected), f"jsonl of {query[:200]}")
    got = landed(db, s3, query, bucket, format="json", empty="write")
    assert parse(got, object_pairs_hook=list) == [
        ("Results", [parse(row, object_pairs_hook=list) for row in expected])
    ]


# Types and shapes


def test_types(session, s3, bucket):
    assert_as_row_to_json(session, s3, "TABLE zoo", bucket)


@pytest.mark.parametrize("name", zoo.QUERIES)
def test_shapes(session, s3, bucket, name):
    assert_as_row_to_json(session, s3, zoo.QUERIES[name], bucket)


def test_casts_to_json(session, s3, bucket):
    """row_to_json() uses a cast to json if the type is not built in."""
    execute(
        session,
        """
        CREATE TYPE zoo.level AS ENUM ('low', 'high');
        CREATE FUNCTION zoo.level_json(zoo.level) RETURNS json LANGUAGE sql
            AS $$ SELECT json_build_object(E'a\\nlevel', $1::text) $$;
        CREATE CAST (zoo.level AS json) WITH FUNCTION zoo.level_json;
        CREATE DOMAIN zoo.height AS zoo.level;
        CREATE EXTENSION IF NOT EXISTS hstore SCHEMA zoo;
        """,
    )
    for query in (
        "SELECT 'low'::level AS a, '{high,NULL}'::level[] AS b",
        "SELECT 'low'::height AS a, '{high}'::height[] AS b",
        "SELECT 'a=>1, b=>NULL, \"c d\"=>\"e\"'::hstore AS h,"
        " ARRAY['a=>1'::hstore] AS hs",
    ):
        assert_as_row_to_json(session, s3, query, bucket)


def test_each_character(session, s3, bucket):
    """The rows have all of ASCII, the ends of UTF-8's ranges, and their
    neighbours."""
    points = [*range(1, 256), 0x7FF, 0x800, 0x2028, 0x2029, 0xFFFD, 0xFFFF]
    points += [0x10000, 0x1F600, 0x10FFFF]
    execute(
        session,
        "CREATE TEMP TABLE points AS"
        " SELECT chr(p) AS c, 'a' || chr(p) || chr(p) || 'b' AS s,"
        " chr(p)::name AS n, ARRAY[chr(p)] AS a, to_json(chr(p)) AS j,"
        " to_jsonb(chr(p)) AS b FROM unnest(%s) p",
        [points],
    )
    assert_as_row_to_json(session, s3, "TABLE points", bucket)


def test_line_breaks_in_json(session, s3, bucket):
    query = (
        r"""SELECT E'{"a":\n\r\n [1,\n2]}'::json AS a,"""
        r""" ARRAY[E'[\n]'::json] AS b, E'\n"x\\n"'::json AS c"""
    )
    got = landed(session, s3, query, bucket, format="jsonl")
    assert got == rb'{"a":{"a":    [1, 2]},"b":[[ ]],"c": "x\n"}' + b"\n"


# Settings

SETTINGS = [
    ("DateStyle", "German"),
    ("DateStyle", "SQL, DMY"),
    ("IntervalStyle", "iso_8601"),
    ("IntervalStyle", "sql_standard"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("extra_float_digits", "0"),
    ("TimeZone", "Asia/Kolkata"),
    ("client_encoding", "LATIN1"),
    ("client_encoding", "SJIS"),
]


@pytest.mark.parametrize("setting, value", SETTINGS)
def test_settings(session, s3, bucket, setting, value):
    execute(session, f"SET {setting} = '{value}'")
    assert_as_row_to_json(session, s3, "TABLE zoo", bucket)
    assert_as_row_to_json(session, s3, "TABLE own", bucket)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_always_utf8(db, s3, bucket, encoding):
    """The object is UTF-8 even if the client's encoding lacks the characters.
    """
    execute(db, f"SET client_encoding = '{encoding}'")
    query = "SELECT U&'\\8868 \\+01F600' AS \"a\", U&'\\00E9' AS b"
    for format in ("jsonl", "json"):
        got = landed(db, s3, query, bucket, format=format)
        assert '"a":"\u8868 \U0001f600","b":"\u00e9"' in got.decode("utf-8")


@pytest.fixture
def latin1(pg):
    """The name of a database in LATIN1 with the extension."""
    pg.psql("CREATE DATABASE latin1 ENCODING 'LATIN1' TEMPLATE template0")
    pg.psql("CREATE EXTENSION onboard", "latin1")
    yield "latin1"
    pg.psql("DROP DATABASE latin1 WITH (FORCE)")


@pytest.mark.parametrize("client", ["LATIN1", "UTF8", "SQL_ASCII"])
def test_latin1_database(latin1, make_server, pg, rgw, s3, bucket, client):
    make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3", dbname=latin1
    )
    db = pg.connect(latin1)
    execute(db, f"SET client_encoding = '{client}'")
    execute(
        db,
        """
        CREATE TEMP TABLE t AS
            SELECT chr(g) AS U&"\\00E9", chr(g) || '"' || chr(g) AS s,
                to_json(chr(g)) AS j, ARRAY[chr(g)] AS a
            FROM generate_series(1, 255) g
        """,
    )
    assert_as_row_to_json(db, s3, "TABLE t", bucket)
    db.close()


# The document

TYPED = """
    SELECT 1 AS i, -9223372036854775808 AS b, 1.50 AS n, 0.1::float8 AS f,
        'NaN'::float8 AS nan, true AS yes, false AS no, NULL AS nothing,
        NULL::int AS no_number, 'None' AS s, '2024-02-29'::date AS d,
        '2024-02-29 12:00:00.5'::timestamp AS t, ARRAY[1, NULL] AS a,
        '{"k": [1, null]}'::jsonb AS j, ROW(1, 'x') AS r, '{}'::text[] AS e
"""
TYPED_VALUE = {
    "i": 1, "b": -9223372036854775808, "n": decimal.Decimal("1.50"),
    "f": decimal.Decimal("0.1"), "nan": "NaN", "yes": True, "no": False,
    "nothing": None, "no_number": None, "s": "None", "d": "2024-02-29",
    "t": "2024-02-29T12:00:00.5", "a": [1, None], "j": {"k": [1, None]},
    "r": {"f1": 1, "f2": "x"}, "e": [],
}


def test_real_types(db, s3, bucket):
    document = parse(landed(db, s3, TYPED, bucket, format="json"))
    assert document == {"Results": [TYPED_VALUE]}
    assert document["Results"][0]["yes"] is True  # 1 == True in Python
    assert list(document["Results"][0]) == list(TYPED_VALUE)
    line = landed(db, s3, TYPED, bucket, format="jsonl")
    assert parse(line) == TYPED_VALUE


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_document_of_rows(db, s3, bucket, count):
    query = f"SELECT g FROM generate_series(1, {count}) g"
    got = landed(db, s3, query, bucket, format="json", empty="write")
    assert parse(got) == {"Results": [{"g": n + 1} for n in range(count)]}
    got = landed(db, s3, query, bucket, format="jsonl", empty="write")
    assert got.count(b"\n") == count
    assert [parse(line) for line in got.splitlines()] == [
        {"g": n + 1} for n in range(count)
    ]


def test_many_parts(db, s3, bucket):
    execute(db, "SET onboard.part_size = '5MB'")
    query = (
        "SELECT g, repeat(md5(g::text), 30) AS t, NULL AS n"
        " FROM generate_series(1, 20000) g"
    )
    assert_as_row_to_json(db, s3, query, bucket)


@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_duplicate_names_land_nothing(db, s3, bucket, format):
    with pytest.raises(psycopg2.errors.DuplicateColumn):
        land(db, "SELECT 1 AS a, 2 AS a", bucket, format=format)
    assert keys(s3, bucket) == []
