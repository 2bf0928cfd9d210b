"""Increments of every type that has an order: if the first one lands, the next
ones land greater values; otherwise nothing lands at all."""

import contextlib
import os
import random
import secrets

import psycopg2
import pytest

import zoo
from lib.exports import body, land_all, select
from test_watermark import register

SEED = int(os.environ.get("ONBOARD_SEED", secrets.randbelow(10**9)))
# Types in addition to those of the zoo.
MORE = {
    "date": ["5874897-12-30", "4713-01-02 BC", "294277-01-01", "1999-12-31"],
    "timestamp": ["294276-12-31 23:59:59", "4713-01-01 00:00:01 BC",
                  "2000-02-29 00:00:00"],
    "timestamptz": ["4713-01-01 00:00:00+00 BC", "4713-01-01 00:00:01+00 BC",
                    "294276-12-31 23:59:59+00"],
    "numeric": ["-9e131071", "9e131071", "-1e-16383"],
    "float4": ["-3.4028235e38", "1e-45"],
    "float8": ["-1.7976931348623157e308", "1e-320"],
    "interval": ["-178956970 years -8 mons", "178956970 years 7 mons",
                 "-1 mons", "30 days", "720:00:00"],
    "time": ["23:59:60"],
    "timetz": ["24:00:00-15:59", "24:00:00+15:59"],
    "char": ["\\377", "z"],
    "jsonb": ['{"a": 1.50}', "[]", '"\\u00e9"'],
    "mood": ["sad", "so, so", 'quo"te'],
    "pair": ["(1,)", "(,a)", "(,)", '(1,"a b")'],
    "feeling": ["sad", "so, so", 'quo"te'],
    "spot": ["(1,)", "(2,x)"],
    "textrange": ["[a,b)", "(,c]", "empty"],
    "textmultirange": ["{[a,b)}", "{}"],
}
OWN = """
    CREATE TYPE mood AS ENUM ('sad', 'so, so', 'quo"te');
    CREATE DOMAIN feeling AS mood;
    CREATE TYPE pair AS (number int, "a, name" text);
    CREATE DOMAIN spot AS pair;
    CREATE TYPE textrange AS RANGE (
        subtype = text, multirange_type_name = textmultirange);
"""
FOUND = """
    SELECT t.typname AS name, t.oid::regtype::text AS type, t.typdelim,
        t.typarray <> 0 AS has_array
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE n.nspname IN ('pg_catalog', 'information_schema', 'public')
        AND t.typtype <> 'p' AND t.typname = ANY (%s) ORDER BY 1
"""
# Errors for which an increment may be refused; then nothing lands.
REFUSED = (
    'column "v" of "trial" cannot be a watermark',
    'column "v" of "trial" has the value ',
)


@pytest.fixture
def types(db, registry):
    select(db, OWN)
    select(db, "CREATE TABLE trial (n int, v int); SET timezone = 'UTC';"
           "SET onboard.parallel_tables = 0")
    yield
    select(db, "DROP TABLE trial; DROP DOMAIN spot, feeling;"
           "DROP TYPE pair, mood, textrange")


def samples(db):
    """(type, some of its values), including arrays."""
    values = {
        name: zoo.VALUES.get(name, []) + MORE.get(name, [])
        for name in {**zoo.VALUES, **MORE}
    }
    for row in select(db, FOUND, (list(values),)):
        some = values[row["name"]]
        yield row["type"], some
        if row["has_array"]:
            yield row["type"] + "[]", ["{}"] + [
                zoo.array_of(part, row["typdelim"])
                for part in (some[:1], some[-1:], some)
            ]


def become(db, type_):
    select(db, "TRUNCATE trial;"
           f"ALTER TABLE trial DROP v; ALTER TABLE trial ADD v {type_}")


def in_order(db, type_, values):
    """These values in the type's order, without equal ones; none if the type
    has no order."""
    become(db, type_)
    for n, text in enumerate(values):
        with contextlib.suppress(psycopg2.DataError):
            select(db, "INSERT INTO trial VALUES (%s, %s)", (n, text))
    sql = (
        "SELECT n FROM (SELECT DISTINCT ON (v) n, v FROM trial"
        " WHERE v IS DISTINCT FROM NULL ORDER BY v) AS x ORDER BY v"
    )
    try:
        return [values[row["n"]] for row in select(db, sql)]
    except psycopg2.errors.UndefinedFunction:
        return []


def land(db, s3, bucket):
    """Runs an increment; returns the numbers of its rows, or its error."""
    (found,) = land_all(db, "trial")
    if found["error"]:
        assert found["uri"] is None
        return None, found["error"]
    if found["status"] == "empty":
        return [], None
    landed = body(s3, bucket, found["uri"].split("/", 3)[3])
    return sorted(int(line.split(b"\t")[0]) for line in landed.splitlines()), None


def one_after_another(db, s3, bucket, type_, overlap, values, expected=None):
    """Adds rows with increasing values, with a run after each.  Returns the
    number of rows that have landed."""
    become(db, type_)
    select(db, "DELETE FROM onboard_tables")
    register(db, "trial", bucket, "v", overlap, format="text",
             query="SELECT n, v FROM trial")
    (found,) = land_all(db, "trial")
    if found["error"] and "is too coarse" in found["error"]:
        return one_after_another(db, s3, bucket, type_, 0, values)
    landed = []
    for n, text in enumerate(values):
        context = (SEED, type_, overlap, values[: n + 1])
        select(db, "INSERT INTO trial VALUES (%s, %s)", (n, text))
        numbers, error = land(db, s3, bucket)
        if error:
            assert error.startswith(REFUSED), (context, error)
            select(db, "DELETE FROM trial WHERE n = %s", (n,))
            continue
        if overlap is None or not landed:
            assert numbers == [n], context
        else:
            assert {landed[-1], n} <= set(numbers), context
            if expected:
                found = expected(db, overlap, landed[-1])
                assert found in (None, numbers), context
        landed.append(n)
    if landed:
        numbers, error = land(db, s3, bucket)
        assert error is None, (context, error)
        found = landed[-1] in numbers if overlap is not None else not numbers
        assert found, context
    return len(landed)


def test_every_type(db, s3, types, bucket):
    """The values are drawn at random; ONBOARD_SEED repeats them."""
    draw = random.Random(SEED)
    counts = {}
    for type_, values in samples(db):
        ordered = in_order(db, type_, values)
        # Increments of xid8 must end at existing ids; an array is sorted as its
        # elements are.
        if ordered and type_ != "xid8" and (
            type_[-2:] != "[]" or draw.random() < 0.3
        ):
            some = set(draw.sample(range(len(ordered)), min(3, len(ordered))))
            counts[type_] = one_after_another(
                db, s3, bucket, type_, None,
                [one for n, one in enumerate(ordered) if n in some],
            )
    print(SEED, counts)
    assert len(counts) > 70


SPANS = [
    0, "1 microsecond", "1 day", "1 mon", "1 year -1 days", "11 mons 40 days",
    "1 month -29 days", "24 hours", "36:00:01", "-1 month 40 days 1 second",
    "294276 years", "178000000 years", "2147483647 days", "2562047788 hours",
]
NUMBERS = [0, 1, 0.5, "1e-400", "1e1000", "1e131071", "9e-16000", 2**31, 2**63]


def reached(db, overlap, kept):
    """The rows that the overlap reaches, by PostgreSQL's own operators; None if
    these fail, even if the sum of an interval's parts would not."""
    sql = (
        "SELECT n FROM trial WHERE v >= (SELECT least(v, v - %s::interval)"
        " FROM trial WHERE n = %s) ORDER BY n"
    )
    try:
        return [row["n"] for row in select(db, sql, (str(overlap), kept))]
    except psycopg2.DataError:
        return None


@pytest.mark.parametrize("type_", [
    "date", "timestamp", "timestamptz",
    "int2", "int4", "int8", "numeric", "float4", "float8",
])
def test_every_overlap(db, s3, types, bucket, type_):
    """An overlap that is accepted for the first increment does not fail a later
    one."""
    draw = random.Random(SEED)
    ordered = in_order(db, type_, zoo.VALUES[type_] + MORE.get(type_, []))
    spanned = type_ in ("date", "timestamp", "timestamptz")
    for overlap in SPANS if spanned else NUMBERS:
        some = [one for one in ordered if draw.random() < 0.4]
        expected = reached if spanned and type_ != "date" else None
        one_after_another(
            db, s3, bucket, type_, overlap, some, expected
        )
