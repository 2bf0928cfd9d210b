"""Random tables land as COPY writes them.

Types, values, shapes of tables and queries, settings and options are drawn by
lib/randomdata.py, anew in each run.  A failure says how to see it again:

    ONBOARD_SEED=123 make check-system            all tables of a run
    ONBOARD_SEED=123/45 test/system.sh -k random  its table 45 alone

The judge is COPY, and for jsonl row_to_json(), in the same session.
"""

import os
import secrets
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from landing import copy, execute, landed
from lib.randomdata import Draw
from lib.randomvalues import SCHEMA, TYPES

TABLES = 200
THREADS = 2
# More of them would say no more.
FAILURES = 3
# So many bytes before and after the first that differs.
SHOWN = 1000

# Without these, rows could come in another order when a query is run again.
SESSION = """
    RESET ALL;
    SET max_parallel_workers_per_gather = 0;
    SET synchronize_seqscans = off;
    SET client_min_messages = warning;
    SET jit = off
"""


@pytest.fixture
def types(pg):
    """What the tables are made of."""
    connection = pg.connect("onboard")
    execute(connection, TYPES)
    yield
    execute(connection, SESSION)
    execute(connection, f"DROP SCHEMA {SCHEMA} CASCADE")
    connection.close()


def chosen():
    """The seed, and the numbers of the tables to draw with it."""
    seed, _, number = os.environ.get("ONBOARD_SEED", "").partition("/")
    seed = seed or str(secrets.randbelow(10**9))
    return seed, [int(number)] if number else list(range(TABLES))


def test_random_tables(pg, s3, bucket, types, capsys):
    seed, numbers = chosen()
    with capsys.disabled():
        print(f"\nONBOARD_SEED={seed}")
    failures = []

    def work(thread):
        db = pg.connect("onboard")
        for number in numbers[thread::THREADS]:
            if len(failures) < FAILURES:
                failures.extend(check(db, s3, bucket, seed, number))
        db.close()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert not failures, "\n\n".join(failures)


def check(db, s3, bucket, seed, number):
    """The first failure of a table: [] or one text."""
    draw = Draw(seed, number)
    export = "(none: making it failed)"
    try:
        execute(db, SESSION)
        for statement in draw.script:
            execute(db, statement)
        for export in draw.exports:
            execute(db, export.set_statements())
            wrong = compare(db, s3, bucket, f"table_{number}", export)
            if wrong:
                return [report(seed, number, draw, export, wrong)]
        execute(db, f"{SESSION}; {draw.cleanup}")
    except (psycopg2.Error, AssertionError) as error:
        return [report(seed, number, draw, export, str(error))]
    return []


def report(seed, number, draw, export, what):
    script = ";\n".join(draw.script)
    return (
        f"ONBOARD_SEED={seed}/{number}\n{what}\n{export}\n"
        f"-- table, with the types of lib/randomvalues.py:\n{script};"
    )


def compare(db, s3, bucket, key, export):
    """What is wrong with the object that an export lands, or None."""
    expected = asked_of_copy(db, export)
    got = landed(
        db, s3, export.query, bucket, key=key, empty="write", **export.options
    )
    return difference(got, expected, export.options)


def asked_of_copy(db, export):
    if export.options["format"] != "jsonl":
        return copy(db, export.query, **export.options)
    # The raw line breaks of type json are white space, and become blanks.  No
    # other control character is in a line, so csv will not quote it.
    return copy(
        db,
        r"SELECT translate(row_to_json(q)::text, E'\r\n', '  ')"
        f" FROM ({export.query}) q",
        format="csv", header=False, delimiter="\x01", quote="\x02",
        encoding="UTF8",
    )


def difference(got, expected, options):
    """The first lines that differ, or None.

    Parallel workers land their rows in any order; then it is the sorted lines
    that must be the same.
    """
    if got == expected:
        return None
    got = lines(got, options["format"])
    expected = lines(expected, options["format"])
    if options.get("parallel", "off") != "off":
        got.sort()
        expected.sort()
        if got == expected:
            return None
    row = first_difference(got, expected)
    mine, theirs = b"".join(got[row:row + 1]), b"".join(expected[row:row + 1])
    at = first_difference(mine, theirs)
    shown = slice(max(0, at - SHOWN), at + SHOWN)
    return (
        f"line {row + 1} of {len(got)} landed and {len(expected)} expected"
        f" differs, from its byte {at} on:\n"
        f"  landed   {mine[shown]!r}\n  expected {theirs[shown]!r}"
    )


def first_difference(a, b):
    shorter = min(len(a), len(b))
    return next((i for i in range(shorter) if a[i] != b[i]), shorter)


def lines(data, format):
    """Those of format binary are its tuples; the signature is the first."""
    if format != "binary":
        return data.split(b"\n")
    found, start, at = [], 0, 19
    while at <= len(data):
        found.append(data[start:at])
        start = at
        fields = number_at(data, at, 2)
        at += 2
        for _ in range(fields):
            at += 4 + max(number_at(data, at, 4), 0)
    return found + [data[start:]]


def number_at(data, at, size):
    return int.from_bytes(data[at:at + size], "big", signed=True)
