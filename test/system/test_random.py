"""Random tables land as COPY writes them.

lib/randomdata.py draws types, values, shapes of tables and queries, settings
and options, with a new seed in each run.  A failure prints how to repeat it:

    ONBOARD_SEED=123 make check-system            all tables of a run
    ONBOARD_SEED=123/45 test/system.sh -k random  only its table 45

The expected rows are those of COPY, and for jsonl of row_to_json(), in the same
session.  Each export runs in one process.  One export of each table runs again
with one or two workers, if they can take part in it; then the order of rows is
undefined.
"""

import json
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
# More failures would give no more information.
FAILURES = 3
# The number of bytes shown before and after the first difference.
SHOWN = 1000

# Parallel workers could change the order of rows when a query is run again.
SOLE = "SET max_parallel_workers_per_gather = 0"
SESSION = f"""
    RESET ALL;
    {SOLE};
    SET client_min_messages = warning;
    SET jit = off
"""

# With the default settings, the planner uses no workers for small tables.
EAGER = """
    SET max_parallel_workers_per_gather = 2;
    SET min_parallel_table_scan_size = 0;
    SET parallel_setup_cost = 0
"""


@pytest.fixture
def types(pg):
    """The types of the tables."""
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


def test_random_tables(pg, s3, bucket, types, show):
    seed, numbers = chosen()
    show(f"ONBOARD_SEED={seed}")
    failures, shared = [], []

    def work(thread):
        db = pg.connect("onboard")
        for number in numbers[thread::THREADS]:
            if len(failures) < FAILURES:
                failures.extend(check(db, s3, bucket, seed, number, shared))
        db.close()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert not failures, "\n\n".join(failures)
    # Most tables have an export in which workers take part.
    assert len(numbers) < TABLES or len(shared) > TABLES / 2


def check(db, s3, bucket, seed, number, shared):
    """The first failure of a table: an empty list, or one text.

    The number is added to shared if workers took part in an export.
    """
    draw = Draw(seed, number)
    export = "(none: making it failed)"
    try:
        execute(db, SESSION)
        for statement in draw.script:
            execute(db, statement)
        for export in draw.exports:
            execute(db, export.set_statements())
            expected = from_copy(db, export)
            landing = (db, s3, bucket, f"table_{number}", export, expected)
            wrong = compare(*landing)
            if not wrong and number not in shared:
                execute(db, EAGER)
                if shares(db, export):
                    shared.append(number)
                    wrong = compare(*landing, parallel=1 + number % 2)
                execute(db, SOLE)
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


def shares(db, export):
    """Whether workers would take part in the export."""
    # Only a boolean is fetched: the plan may have characters that psycopg2
    # cannot decode.
    return execute(
        db,
        "SELECT line LIKE 'Sink: below Gather%%' FROM"
        " onboard_explain(%s, %s) line LIMIT 1",
        (export.query, json.dumps(export.options)),
    )[0][0]


def compare(db, s3, bucket, key, export, expected, **more):
    """The error in the object that an export lands, or None."""
    options = {**export.options, **more}
    got = landed(
        db, s3, export.query, bucket, key=key, empty="write", **options
    )
    wrong = difference(got, expected, options)
    return wrong and f"{more or ''} {wrong}"


def from_copy(db, export):
    if export.options["format"] != "jsonl":
        return copy(db, export.query, **export.options)
    # The raw line breaks of type json are white space, and become blanks.  No
    # other control character is in a line, so csv does not quote the line.
    return copy(
        db,
        r"SELECT translate(row_to_json(q)::text, E'\r\n', '  ')"
        f" FROM ({export.query}) q",
        format="csv", header=False, delimiter="\x01", quote="\x02",
        encoding="UTF8",
    )


def difference(got, expected, options):
    """The first lines that differ, or None.

    Parallel workers land rows in any order; then the sorted lines must be
    equal, after the object's beginning.
    """
    if got == expected:
        return None
    got = lines(got, options["format"])
    expected = lines(expected, options["format"])
    if options.get("parallel", "off") != "off":
        begins = header_lines(options)
        got[begins:] = sorted(got[begins:])
        expected[begins:] = sorted(expected[begins:])
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


def header_lines(options):
    """The number of lines before the rows; a column's name may add some."""
    if options["format"] == "binary":
        return 1
    return int(options.get("header", options["format"] == "csv"))


def first_difference(a, b):
    shorter = min(len(a), len(b))
    return next((i for i in range(shorter) if a[i] != b[i]), shorter)


def lines(data, format):
    """The lines; those of format binary are its tuples, after the signature."""
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
