"""Parquet files: row groups, pages, statistics, filters, sorting, memory.

test_parquet_types.py tests types.  Each file is checked against the specification,
and read by DuckDB, hyparquet and arrow-rs, which share no code.
"""

import hashlib
import itertools
import json
import os
import random
import re
import secrets
import uuid

import pytest

from landing import execute
from lib.exports import EAGER, Running, call
from lib.parquet import text_of
from lib.parquet_file import PLAIN, RLE_DICTIONARY, Broken, ParquetFile
from lib.postgres import PeakMemory
from lib.randomdata import Draw
from lib.randomvalues import SCHEMA, TYPES
from lib.storable import Storable

MB = 1024 * 1024
# Memory of encoders, codecs, libcurl and a row, beyond onboard.upload_memory.
ALLOWANCE = 32 * MB

SERIES = "SELECT g AS id, 'k' || g % 7 AS k FROM generate_series(1, {}) g"


# ---- row groups and pages ----


@pytest.mark.parametrize("rows", [0, 1, 2, 999, 1000, 1001, 2000, 2001])
def test_row_groups(parquet, rows):
    file = parquet.check(SERIES.format(rows), row_group_rows=1000)
    sizes = [group[3] for group in file.groups]
    assert sizes == [1000] * (rows // 1000) + [rows % 1000] * (rows % 1000 > 0)


def test_row_groups_of_one_row(parquet):
    file = parquet.check(SERIES.format(20), row_group_rows=1)
    assert len(file.groups) == 20


@pytest.mark.parametrize("rows", [1023, 1024, 1025, 2047, 2048, 2049])
def test_batches(parquet, rows):
    """Numbers of rows around 1,024, the size of the writer's batches."""
    parquet.check(
        "SELECT g AS a, CASE WHEN g > 1023 THEN g END AS b,"
        " CASE WHEN g < 1025 THEN array_fill(g, ARRAY[g % 3]) END AS c,"
        f" repeat('x', g % 50) AS d FROM generate_series(1, {rows}) g"
    )


@pytest.mark.parametrize("dictionary", [True, False])
def test_pages(parquet, dictionary):
    file = parquet.check(
        "SELECT g AS a, g % 1000 AS b, md5((g % 3000)::text) AS c,"
        " CASE WHEN g < 3000 OR g % 3 = 0 THEN g::float8 END AS d,"
        " CASE WHEN g % 4 > 0 THEN array_fill(g, ARRAY[g % 4]) END AS e,"
        " CASE WHEN g > 5000 AND g < 15000 THEN NULL ELSE g END AS f"
        " FROM generate_series(1, 20000) g",
        page_size=4096, dictionary=dictionary,
    )
    assert all(pages > 3 for name, pages in file.pages.items() if name != "b")
    assert (file.encodings["b"] == {RLE_DICTIONARY}) == dictionary


def test_pages_of_long_texts(parquet):
    """Pages consist of whole batches, so a batch of long texts has fewer rows."""
    file = parquet.check(
        "SELECT repeat(md5(g::text), 128) AS t FROM generate_series(1, 2000) g",
        page_size="256kB", dictionary=False, compression="snappy",
    )
    assert file.pages["t"] >= 16


def test_row_group_size(parquet):
    file = parquet.check(
        "SELECT md5(g::text) || md5((-g)::text) AS t"
        " FROM generate_series(1, 60000) g",
        compression="none", row_group_size="1MB", dictionary=False,
    )
    sizes = [group[6] for group in file.groups]
    assert len(sizes) > 3
    assert all(0.9 * MB < size < 1.2 * MB for size in sizes[:-1]), sizes


def test_columns_of_few_values(parquet):
    """Pages of few distinct values are small, so they must not fill the memory."""
    execute(parquet.db, "SET onboard.upload_memory = '16MB'")
    columns = ", ".join(f"(g / {i + 1} % 2)::int AS c{i}" for i in range(40))
    file = parquet.land(
        f"SELECT {columns} FROM generate_series(1, 200000) g",
        row_group_size="8MB",
    )
    assert [group[3] for group in file.groups] == [200000]


def test_dictionary_of_values_that_repeat_late(parquet):
    """A dictionary is kept if values repeat only after many others."""
    file = parquet.land(
        "SELECT (g % 100000)::bigint AS a, g AS b FROM generate_series(1, 400000) g"
    )
    assert file.encodings["a"] == {RLE_DICTIONARY}
    assert file.encodings["b"] == {PLAIN}


def test_dictionary_fallback(parquet):
    """Few distinct values, and then only new ones: the chunk has pages of both
    encodings."""
    file = parquet.check(
        "SELECT CASE WHEN g < 15000 THEN 'k' || g % 10 ELSE md5(g::text) ||"
        " md5(g::text) END AS a, CASE WHEN g < 15000 THEN g % 10 ELSE g END"
        " AS b, md5(g::text)::uuid AS c FROM generate_series(1, 40000) g",
        page_size=4096,
    )
    assert file.encodings["a"] == {RLE_DICTIONARY, PLAIN}
    assert PLAIN in file.encodings["c"]


def test_no_rows(parquet):
    """With "empty": "write", the file has a schema and no row group."""
    query = "SELECT 1 AS a, ARRAY['x'] AS b, 1.5::numeric(20,3) AS c LIMIT 0"
    file = parquet.check(query)
    assert file.groups == [] and file.rows == 0
    assert [name for name, _ in file.kinds()] == ["a", "b", "c"]


def test_wide_table(parquet):
    """PostgreSQL's greatest number of columns in a table."""
    columns = ", ".join(
        f"CASE WHEN g % {1 + i % 5} = 0 THEN g + {i} END AS c{i}"
        if i % 2 else f"'v' || g % {1 + i % 7} AS c{i}" for i in range(1600)
    )
    query = f"SELECT {columns} FROM generate_series(1, 40) g"
    file = parquet.check(query)
    assert len(file.leaves) == 1600 and len(file.groups) == 1


def test_names(parquet):
    """Special names; those that some readers refuse or confuse cause a warning."""
    db = parquet.db
    del db.notices[:]
    file = parquet.check(
        'SELECT 1 AS "a b", 2 AS "c;d", 3 AS "\u20ac", 4 AS "e.f",'
        ' 5 AS "Ok", 6 AS "quo""te"'
    )
    assert len(file.kinds()) == 6
    assert "WARNING:  Spark and Athena refuse" in "".join(db.notices)
    assert 'DETAIL:  Columns: "a b", "c;d".' in "".join(db.notices)
    del db.notices[:]
    parquet.check("SELECT 1 AS a, 2 AS b_2")
    assert db.notices == []
    parquet.land('SELECT 1 AS "name", 2 AS id, 3 AS "Name", 4 AS "ID"')
    (warning,) = db.notices
    assert warning.startswith(
        'WARNING:  columns "name" and "Name" differ only in case\n'
    )


def test_large_values(parquet):
    """Texts and bytea of megabytes beside small ones."""
    parquet.check(
        "SELECT g AS id, CASE g % 3 WHEN 0 THEN repeat(md5(g::text), 100000)"
        " WHEN 1 THEN 'x' END AS t, CASE WHEN g = 4 THEN"
        " decode(repeat(md5(g::text), 90000), 'hex') END AS b"
        " FROM generate_series(1, 9) g",
    )


def test_metadata_without_query_text(parquet):
    file = parquet.land("SELECT 'a secret' AS a")
    assert "SELECT" not in json.dumps(file.properties())
    assert set(file.properties()) == {
        "onboard.postgresql_types", "onboard.run_id", "onboard.lsn"
    }


# ---- statistics ----

# name: type, and an expression over g; most are in no order
FILTERED = {
    "i2": ("int2", "(g * 7919 % 65536 - 32768)::int2"),
    "i4": ("int4", "(g::int8 * 48271 % 4294967296 - 2147483648)::int4"),
    "i8": ("int8", "g::int8 * 922337203685 - 4611686018427387904"),
    "few": ("int4", "g / 1000 - 5"),
    "d9": ("numeric(9,2)", "((g * 7919 % 20000 - 10000) / 100.0)::numeric(9,2)"),
    "d18": ("numeric(18,4)", "((g - 5000) * 12345.6789)::numeric(18,4)"),
    "d30": ("numeric(30,4)", "((g - 5000) * 1e20 / 3)::numeric(30,4)"),
    "d38": ("numeric(38,0)", "((g - 5000) * 1e33 + g)::numeric(38,0)"),
    "f4": ("float4", "CASE g % 500 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0' WHEN 2"
           " THEN '0' ELSE ((g - 5000) / 7.0) END::float4"),
    "f8": ("float8", "CASE WHEN g < 1001 THEN 'NaN' WHEN g % 400 = 0 THEN"
           " 'Infinity' ELSE ((g - 5000) / 3.0) END::float8"),
    "t": ("text", "'k' || md5(g::text)"),
    "long": ("text", "repeat(chr(97 + g / 1000), 70) || g"),
    "utf": ("text", "repeat(chr(230 + g / 100 * 97), 40) || chr(955 + g % 9)"),
    # values that differ only after the length of a bound
    "alike": ("text", "repeat('p', 70) || g * 7919 % 8000"),
    # the greatest character, so a bound cannot be rounded up, or only before it
    "top": ("text", "repeat(chr(97 + g / 2000), g / 1000 % 2) || repeat("
            "chr(1114111), 20) || g % 7"),
    # characters of two to four bytes at the end of a bound
    "across": ("text", "repeat('x', 59 + g / 100 % 7) || chr((ARRAY[955, 2047,"
               " 8364, 55295, 65535, 128512, 1114111])[1 + g % 7]) || g % 5"),
    "ones": ("bytea", "decode(repeat('ff', 60 + g / 400) || md5(g::text), 'hex')"),
    "zeros": ("float8", "CASE g / 1000 % 4 WHEN 0 THEN '-0' WHEN 1 THEN '0'"
              " WHEN 2 THEN -abs(g % 3) ELSE abs(g % 3) END::float8"),
    "minus": ("numeric(19,2)", "-((g * 7919 % 8000) * 1e12 + g)::numeric(19,2)"),
    "d": ("date", "'1970-01-01'::date + (g - 5000) * 11"),
    "ts": ("timestamp", "'1970-01-01'::timestamp + (g - 5000) * interval"
           " '11.000001 hours'"),
    "tz": ("timestamptz", "'1970-01-01 00:00+00'::timestamptz + (g - 5000) *"
           " interval '7.5 hours'"),
    "tm": ("time", "'00:00'::time + g * interval '8.000001 s'"),
    "b": ("bool", "g > 3000"),
    "u": ("uuid", "md5(g::text)::uuid"),
    "bin": ("bytea", "decode(md5(g::text), 'hex')"),
}
DUCKDB_TYPES = {"text": "VARCHAR", "bytea": "BLOB"}


def filtered_query(nulls):
    columns = ", ".join(
        f"(CASE WHEN g % {nulls} > 0 THEN {value} END)::{type} AS {name}"
        for name, (type, value) in FILTERED.items()
    )
    return f"SELECT {columns} FROM generate_series(1, 8000) g"


@pytest.mark.parametrize("encodings", ["compatible", "delta"])
def test_conditions_on_statistics(parquet, encodings):
    """DuckDB, which skips row groups by statistics, finds the rows that PostgreSQL
    finds."""
    db, query = parquet.db, filtered_query(9)
    parquet.land(
        query, row_group_rows=500, page_size=4096, encodings=encodings
    )
    execute(db, f"CREATE TEMP TABLE filtered AS {query}")
    for name, (type, _) in FILTERED.items():
        ours = f'{name} COLLATE "C"' if type == "text" else name
        constants = sample(db, name, type, ours) + absent_constants(type)
        tests = ["IS NULL", "IS NOT NULL", "IN ('" + "', '".join(constants) + "')"]
        tests += [
            f"{operator} '{constant}'" for constant in constants
            for operator in ("=", "<", "<=", ">", ">=", "<>")
        ]
        wanted = execute(db, " UNION ALL ".join(
            f"SELECT {i}, count(*) FROM filtered WHERE {ours} {test}"
            for i, test in enumerate(tests)
        ))
        found = parquet.query(" UNION ALL ".join(
            f"SELECT {i}, count(*) FROM %s WHERE {name} {cast(test, type)}"
            for i, test in enumerate(tests)
        ))
        found = {tests[int(i)]: int(n) for i, n in found}
        assert found == {tests[i]: n for i, n in wanted}, name


def sample(db, name, type, ours):
    """Some values of a column, including the least and the greatest one."""
    drawn = execute(
        db, f"SELECT DISTINCT {name}::text FROM filtered WHERE {name}"
        " IS NOT NULL ORDER BY 1 LIMIT 3"
    )
    found = [constant for (constant,) in drawn]
    if type not in ("bool", "uuid", "bytea"):
        found += execute(
            db, "SELECT (percentile_disc(ARRAY[0, 0.01, 0.5, 0.99, 1])"
            f" WITHIN GROUP (ORDER BY {ours}))::text[] FROM filtered"
        )[0][0]
    return sorted(set(found))


# Constants between, below and above the values, some as long as truncated
# bounds, some longer.
ABSENT = {
    "text": ["", "p" * 64, "p" * 70, "p" * 70 + "~", "\U0010ffff" * 16,
             "a" + "\U0010ffff" * 30, "x" * 63 + "\u07ff", "x" * 64, "~"],
    "bytea": ["\\x", "\\x" + "ff" * 64, "\\x" + "ff" * 99],
    "float4": ["NaN", "-0", "Infinity", "-Infinity"],
    "float8": ["NaN", "-0", "0.5", "-Infinity"],
    "uuid": ["00000000-0000-0000-0000-000000000000"],
    "date": ["1969-12-30", "9999-12-31"],
}


def absent_constants(type):
    numbers = ["0", "1", "-1"] if type.startswith(("int", "numeric")) else []
    return ABSENT.get(type, numbers)


def cast(test, type):
    """A condition for DuckDB, which would compare some types as texts."""
    if type == "bytea":
        return re.sub(r"'.x([^']*)'", r"unhex('\1')", test)
    type = DUCKDB_TYPES.get(type, type.replace("numeric", "decimal"))
    return re.sub("('[^']*')", rf"CAST(\1 AS {type})", test)


# Expressions in Parquet's order, for types that have no min() in PostgreSQL.
COMPARED = {"text": '{} COLLATE "C"', "uuid": "{}::text COLLATE \"C\"",
            "bytea": "encode({}, 'hex') COLLATE \"C\"", "bool": "{}::int"}


@pytest.mark.parametrize("rows", [1000, 10 ** 6])
def test_footer_statistics(parquet, rows):
    """The minima, maxima and null counts of each row group and column."""
    db, query = parquet.db, filtered_query(7)
    file = parquet.land(query, row_group_rows=rows)
    execute(db, "CREATE TEMP TABLE grouped AS SELECT (row_number() OVER () - 1)"
            f" / {rows} AS group, * FROM ({query}) q")
    for leaf in file.leaves:
        name, type = leaf.name, FILTERED[leaf.name][0]
        compared = COMPARED.get(type, "{}").format(name)
        nan = f"{name} = 'NaN'" if type.startswith("float") else "false"
        wanted = execute(
            db, f"SELECT count(*) FILTER (WHERE {name} IS NULL), count(*) FILTER"
            f" (WHERE {nan}), min({compared})::text, max({compared})::text"
            ' FROM grouped GROUP BY "group" ORDER BY "group"'
        )
        chunks = list(file.chunks(name))
        assert len(chunks) == len(wanted) == -(-8000 // rows)
        for chunk, (nulls, nans, least, most) in zip(chunks, wanted):
            check_chunk_statistics(leaf, type, chunk[12], nulls, nans, least, most)


def check_chunk_statistics(leaf, type, stats, nulls, nans, least, most):
    assert stats[3] == nulls, leaf.name
    if nans:
        assert set(stats) == {3}, leaf.name
        return
    if 5 not in stats:
        # the prefix cannot be rounded up
        assert most.startswith(("\U0010ffff" * 16, "ff" * 64)), leaf.name
        return
    low, high = bound_text(leaf, type, stats[6]), bound_text(leaf, type, stats[5])
    if type == "float8" and not float(least):
        assert low == "-0"
        low = least
    if type == "float8" and not float(most):
        assert high == "0"
        high = most
    assert low == least if stats[8] else least.startswith(low), leaf.name
    assert high == most if stats[7] else high.encode() > most.encode(), leaf.name


def bound_text(leaf, type, data):
    bound = leaf.order(leaf.bound(data))
    if leaf.kind() == "text":
        return bound.decode()
    if type == "bytea":
        return bound.hex()
    if type == "uuid":
        return str(uuid.UUID(bytes=bound))
    if type == "bool":
        return str(int(bound))
    return text_of(leaf.kind(), str(bound))


# ---- Bloom filters ----

TYPES_WITHOUT_FILTERS = ("bool", "bytea", "float4", "float8")
FILTERABLE = [name for name, (type, _) in FILTERED.items()
              if type not in TYPES_WITHOUT_FILTERS]


@pytest.mark.parametrize("dictionary", [True, False])
def test_bloom_filters(parquet, dictionary):
    """The checker finds every value of each type in its chunk's filter, and DuckDB
    finds rows by it."""
    db, query = parquet.db, filtered_query(9)
    file = parquet.check(
        query, row_group_rows=3000, dictionary=dictionary,
        bloom_filter=FILTERABLE,
    )
    assert set(file.filters) == set(FILTERABLE)
    assert all(len(found) == 3 for found in file.filters.values())
    execute(db, f"CREATE TEMP TABLE filtered AS {query}")
    for name in FILTERABLE:
        type = FILTERED[name][0]
        drawn = [text for (text,) in execute(
            db, f"SELECT DISTINCT {name}::text FROM filtered WHERE {name} IS"
            " NOT NULL ORDER BY 1 LIMIT 20"
        )]
        tests = [f"= '{constant}'" for constant in drawn]
        wanted = execute(db, " UNION ALL ".join(
            f"SELECT count(*) FROM filtered WHERE {name} {test}"
            for test in tests
        ))
        found = parquet.query(" UNION ALL ".join(
            f"SELECT count(*) FROM %s WHERE {name} {cast(test, type)}"
            for test in tests
        ))
        assert [int(n) for (n,) in found] == [n for (n,) in wanted], name


def test_bloom_filter_probe(parquet):
    """DuckDB's probe of the filters finds the row group that has a value."""
    file = parquet.land(
        "SELECT g AS id, md5(g::text) AS t FROM generate_series(1, 40000) g",
        row_group_rows=10000, bloom_filter=["id", "t"],
    )
    # 10,000 values take 10.5 bits each, rounded up to a power of two
    assert [len(found) for found in file.filters.values()] == [4, 4]
    assert all(one.size == 16384 for found in file.filters.values()
               for one in found)
    text = hashlib.md5(b"25000").hexdigest()
    for name, constant in (("id", "25000"), ("t", f"'{text}'")):
        probed = parquet.query(
            "SELECT bloom_filter_excludes FROM parquet_bloom_probe(%s,"
            f" '{name}', {constant})"
        )
        assert probed[2][0] == "false"
    rates = [one.rate for found in file.filters.values() for one in found]
    assert sum(rates) / len(rates) < 0.015


def test_bloom_filters_without_values(parquet):
    """A chunk without values has no filter; few distinct values have a small one."""
    file = parquet.check(
        "SELECT NULL::int AS a, CASE g WHEN 5 THEN '' END AS b, g % 20 AS c"
        " FROM generate_series(1, 5000) g", bloom_filter=["a", "b", "c"],
    )
    assert {name: [one.size for one in found]
            for name, found in file.filters.items()} == {"b": [32], "c": [32]}
    file = parquet.check("SELECT 1 AS a LIMIT 0", bloom_filter=["a"])
    assert file.filters == {}


def test_bloom_filters_are_optional(parquet):
    assert parquet.land(SERIES.format(100)).filters == {}


def test_bloom_filters_within_memory(parquet):
    """Filters of many columns are limited to their share of the memory."""
    execute(parquet.db, "SET onboard.upload_memory = '16MB'")
    columns = [f"c{i}" for i in range(40)]
    query = (
        "SELECT " + ", ".join(f"md5((g * {i + 1})::text) AS c{i}"
                              for i in range(40))
        + " FROM generate_series(1, 9000) g"
    )
    file = parquet.check(
        query, readers=("duckdb",), bloom_filter=columns, dictionary=False
    )
    sizes = [one.size for found in file.filters.values() for one in found]
    assert sizes and max(sizes) <= 8 * MB // 8 // 40


# ---- boundary orders ----


def test_boundary_orders(parquet):
    """The checker verifies them; pages that have only nulls do not count."""
    file = parquet.land(
        "SELECT g AS up, -g AS down, 7 AS same, g * 7919 % 20011 AS mixed,"
        " CASE WHEN g < 5000 OR g > 10000 THEN g END AS gap,"
        " (-g)::numeric(30,2) AS low, 'k' || lpad(g::text, 9, '0') AS t,"
        " repeat('x', 80) || lpad((99999 - g)::text, 9, '0') AS cut,"
        " (g / 7.0)::float8 AS f, NULL::int AS none"
        " FROM generate_series(1, 20000) g",
        page_size=4096, dictionary=False,
    )
    assert {name: order for name, (order,) in file.boundaries.items()} == {
        "up": "ascending", "down": "descending", "same": "ascending",
        "mixed": "unordered", "gap": "ascending", "low": "descending",
        "t": "ascending", "cut": "ascending", "f": "ascending",
        "none": "ascending",
    }


# ---- sorting columns ----

SORTED = """
    SELECT * FROM (SELECT g % 3 > 0 AS b, (g % 5)::int2 AS i2, g % 7 AS i4,
        g::int8 % 11 AS i8, (g % 13)::oid AS o, 'k' || g % 17 AS t,
        ('v' || g % 19)::varchar(9) AS v,
        ('n' || g % 23)::name AS n, decode(lpad(to_hex(g % 256), 2, '0'), 'hex')
        AS bin, md5((g % 29)::text)::uuid AS u, '2000-01-01'::date + (g % 31) AS d,
        '1:00'::time + g % 37 * interval '1 s' AS tm,
        '2000-01-01'::timestamp - g % 41 * interval '1 h' AS ts,
        '2000-01-01 00:00+00'::timestamptz + g % 43 * interval '1 h' AS tz,
        (g % 47 - 20)::numeric(9,2) AS d9, (g % 53 - 20)::numeric(30,4) AS d30,
        (g % 59)::float8 AS f8, (g % 61)::numeric AS dec, ('c' || g % 67)::char(9)
        AS c, ARRAY[g, g] AS a, g AS id, ARRAY['1 day'::interval] AS w,
        nullif(g % 10, 3) AS x
    FROM generate_series(1, 500) g) q ORDER BY """

# ORDER BY: sorting columns of the file.
ORDERS = {
    "b, i2 DESC, id": ["b", "i2 desc", "id"],
    "i4, i8, o DESC NULLS LAST, id": ["i4", "i8", "o desc last", "id"],
    't COLLATE "C", id': [],  # the sort key is not the column
    "bin, u DESC, d, id": ["bin", "u desc", "d", "id"],
    "tm, ts DESC, tz, id": ["tm", "ts desc", "tz", "id"],
    "d9 DESC, d30, id": ["d9 desc", "d30", "id"],
    "x NULLS FIRST, id DESC": ["x first", "id desc"],
    "x DESC, id": ["x desc", "id"],
    "x DESC NULLS LAST, id": ["x desc last", "id"],
    "n, id": ["n", "id"],
    "w, id": [], "a, id": [], "f8, id": [], "c, id": [],
    "i4, f8, id": ["i4"],
    "i4, i4 + id % 9, id": ["i4"],
    "dec, id": ["dec", "id"],
    "x USING >, id": ["x desc", "id"],
}


def sorting_of(file):
    """The sorting columns, which must be the same in all row groups."""
    found = {
        json.dumps([
            file.leaves[key[1]].path[0] + (" desc" if key[2] else "")
            # PostgreSQL's default place of nulls is left out
            + ("" if key[3] == key[2] else " first" if key[3] else " last")
            for key in group.get(4, [])
        ])
        for group in file.groups
    }
    (one,) = found
    return json.loads(one)


@pytest.mark.parametrize("order", ORDERS)
def test_sorting_columns(parquet, order):
    """The checker verifies that rows are sorted; columns are numbered by leaf."""
    file = parquet.land(
        SORTED + order, row_group_rows=123, numeric="decimal(38,9)"
    )
    assert sorting_of(file) == ORDERS[order]


@pytest.mark.parametrize("what", ["t", "v", "n"])
@pytest.mark.parametrize("collation", ["C", "POSIX", "en-x-icu"])
def test_sorting_columns_of_texts(parquet, collation, what):
    """Texts qualify only in collations that compare bytes."""
    query = (
        f"SELECT {what} COLLATE \"{collation}\" AS {what}, id FROM"
        f" ({SORTED} id) q ORDER BY 1, 2"
    )
    file = parquet.check(query)
    assert sorting_of(file) == ([] if "icu" in collation else [what, "id"])


@pytest.mark.parametrize("query,names", [
    ("SELECT g AS id FROM generate_series(1, 9) g", []),
    ("SELECT id FROM (SELECT g AS id FROM generate_series(1, 9) g ORDER BY g)"
     " q", []),
    ("SELECT g AS id, 9 - g AS x FROM generate_series(1, 9) g ORDER BY -g, g",
     []),
    ("SELECT 1 AS id UNION ALL SELECT 2 ORDER BY id DESC", ["id desc"]),
    ("VALUES (2), (3), (1) ORDER BY column1", ["column1"]),
    ("SELECT DISTINCT ON (id) g % 4 AS id, g FROM generate_series(1, 9) g"
     " ORDER BY id, g", ["id", "g"]),
    ("SELECT g % 4 AS id, count(*) AS n FROM generate_series(1, 9) g GROUP BY 1"
     " ORDER BY n DESC, id", ["n desc", "id"]),
    ("WITH x AS (SELECT g AS id FROM generate_series(1, 9) g) TABLE x ORDER BY"
     " 1 LIMIT 5 OFFSET 2", ["id"]),
    ("SELECT g % 3 AS id, generate_series(1, 3) AS s FROM generate_series(1, 9)"
     " g ORDER BY id", ["id"]),
    ("SELECT g AS id FROM generate_series(1, 9) g WHERE g = 3 ORDER BY g",
     ["id"]),
], ids=str)
def test_sorting_columns_of_queries(parquet, query, names):
    """Sort keys of the outermost ORDER BY qualify if they are in the result."""
    assert sorting_of(parquet.check(query)) == names


def test_sorting_columns_beside_replaced_values(parquet):
    """A value that becomes null is not at the place of nulls."""
    query = (
        "SELECT id, CASE id WHEN 9 THEN 'infinity' ELSE '2000-01-01'::date + id"
        " END::date AS d FROM generate_series(1, 9) id ORDER BY {}"
    )
    for order, names in (("d, id", []), ("id, d", ["id"])):
        file = parquet.land(query.format(order), unrepresentable="null")
        assert sorting_of(file) == names


def test_sorting_columns_in_parallel(parquet):
    """Only a plan that keeps the order, such as Gather Merge, has sorting columns.
    """
    db = parquet.db
    execute(db, "CREATE TABLE pq_sorted AS SELECT g AS id, g % 9 AS k, md5("
            "g::text) AS t FROM generate_series(1, 12000) g; ANALYZE pq_sorted;"
            "SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0;"
            "SET parallel_tuple_cost = 0; SET max_parallel_workers_per_gather"
            " = 2")
    try:
        for query, top, names in (
            ("TABLE pq_sorted ORDER BY k, id DESC", "Gather Merge",
             ["k", "id desc"]),
            ("SELECT * FROM pq_sorted WHERE k = 3 ORDER BY k", "Gather", []),
            ("TABLE pq_sorted", "Gather", []),
        ):
            plan = execute(db, f"EXPLAIN {query}")[0][0]
            assert plan.split("  ")[0] == top
            file = parquet.land(query, row_group_rows=1000, parallel=2)
            parquet.compare(file, query, in_order=top != "Gather")
            assert sorting_of(file) == names
    finally:
        execute(db, "DROP TABLE pq_sorted")


# Texts that are shorter, as long as, and longer than a bound.
PREFIXED = ["x" * 63, "x" * 64, "x" * 64 + "a", "x" * 64 + "b", "x" * 63 + "\u00e9"]


def test_bounds_of_common_prefixes(parquet):
    """Bounds do not depend on the order of values with a common prefix."""
    for few in itertools.permutations(PREFIXED, 3):
        values = ", ".join(f"('{text}')" for text in few)
        parquet.check(f"SELECT t FROM (VALUES {values}) v(t)", readers=["duckdb"])


# ---- the checker ----


@pytest.mark.parametrize("what", [
    "statistics", "page", "offset", "encodings", "rows", "filter", "sorting",
    "boundary",
])
def test_checker_detects_damage(parquet, what):
    """The checker rejects a file that was damaged in one place."""
    data = bytearray()
    parquet.land("SELECT g AS a, g::text AS b FROM generate_series(1, 99) g",
                 compression="none", dictionary=False, bloom_filter=["b"])
    data += parquet.path.read_bytes()
    file = ParquetFile(bytes(data))
    (chunk, other) = file.groups[0][1]
    if what == "statistics":
        at = data.index(chunk[3][12][6] + b"\x11", file.footer_at)
        data[at] += 1
    elif what == "page":
        data[other[3][9] + 60] ^= 1
    elif what == "offset":
        data[chunk[4] + 3] ^= 2
    elif what == "filter":
        # one of the eight bits of a value
        at = other[3][14] + other[3][15] - 1
        while data[at] == 0:
            at -= 1
        data[at] &= data[at] - 1
    elif what == "boundary":
        at = data.rindex(b"\x15\x02", chunk[6], chunk[6] + chunk[7])
        data[at + 1] = 4
    elif what == "sorting":
        file.groups[0][4] = [{1: 0, 2: True, 3: False}]
    elif what == "encodings":
        file.groups[0][1][0][3][2].append(RLE_DICTIONARY)
    else:
        file.rows += 1
    if what not in ("encodings", "rows", "sorting"):
        file = ParquetFile(bytes(data))
    with pytest.raises(Broken):
        file.check()


# ---- random tables, and PostgreSQL's own ----

RANDOM_TABLES = 12
SERIAL = "SET max_parallel_workers_per_gather = 0"


def test_random_tables(parquet, pg, show):
    seed, _, number = os.environ.get("ONBOARD_SEED", "").partition("/")
    seed = seed or str(secrets.randbelow(10 ** 9))
    show(f"ONBOARD_SEED={seed}")
    numbers = [int(number)] if number else range(RANDOM_TABLES)
    db = pg.connect("onboard")
    execute(db, TYPES)
    parquet.db = db
    try:
        for number in numbers:
            check_drawn(parquet, db, seed, number)
    finally:
        execute(db, f"RESET ALL; DROP SCHEMA {SCHEMA} CASCADE")
        db.close()


def check_drawn(parquet, db, seed, number):
    """Every other table is exported by parallel workers, in any order."""
    draw, rng = Draw(seed, number, 0), random.Random(f"{seed}/{number}")
    execute(db, f"RESET ALL; SET TimeZone = 'UTC'; SET jit = off;"
            f"SET client_min_messages = error; {EAGER if number % 2 else SERIAL}")
    for statement in draw.script:
        execute(db, statement)
    options = drawn_options(rng, draw.names)
    some = [name for name in filterable(db, "t") if rng.random() < 0.5]
    if some:
        options["bloom_filter"] = some
    columns = ", ".join(
        f"{held} AS {name}" for name, held in Storable(db).columns("t")
    )
    part = "WHERE hashtid(ctid) % 6 = 0"
    expected = f"SELECT {columns} FROM t {part}"
    query = f"SELECT * FROM t {part}"
    try:
        if number % 2:
            options["parallel"] = 2
            assert explained(db, query, options).startswith("Sink: below Gather")
        file = parquet.land(query, **options)
        parquet.compare(file, expected, in_order=not number % 2)
    except Exception as error:
        raise AssertionError(
            f"ONBOARD_SEED={seed}/{number} {options}\n{draw.script}\n{error}"
        ) from error
    execute(db, f"RESET ALL; {draw.cleanup}")


def filterable(db, table):
    """The columns of a table that can have a Bloom filter."""
    types = [FILTERED[name][0] for name in FILTERABLE]
    return [name for (name,) in execute(
        db, "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass"
        " AND attnum > 0 AND NOT attisdropped AND atttypid = ANY(%s::regtype[])"
        " ORDER BY attnum", (table, types),
    )]


def explained(db, query, options):
    """The first line of onboard_explain()."""
    return execute(
        db, "SELECT line FROM onboard_explain(%s, %s) line LIMIT 1",
        (query, json.dumps(options)),
    )[0][0]


def drawn_options(rng, names):
    codec, level = rng.choice([
        ("none", None), ("snappy", None), ("lz4", None), ("gzip", 1),
        ("gzip", 9), ("zstd", 1), ("zstd", 3), ("zstd", 14),
    ])
    some = [name for name in names if len(name.encode()) <= 63 and rng.random() < 0.5]
    return {
        "format": "parquet", "compression": codec,
        **({"compression_level": level} if level else {}),
        "encodings": rng.choice(["compatible", "delta"]),
        "dictionary": rng.choice([True, False, some or True]),
        "row_group_rows": rng.choice([1, 100, 1000, 1023, 1024, 1025, 10 ** 6]),
        "row_group_size": rng.choice(["1MB", "8MB"]),
        "page_size": rng.choice([4096, 65536, MB]),
        "numeric": "text", "unrepresentable": "null",
    }


CATALOGS = ["pg_class", "pg_proc", "pg_type", "pg_attribute", "pg_operator",
            "pg_settings", "pg_am", "pg_collation"]


@pytest.mark.parametrize("name", CATALOGS)
def test_catalogs(parquet, name):
    """Catalogs of PostgreSQL, with vectors, whose lower bound is 0, as texts."""
    columns = execute(
        parquet.db, "SELECT string_agg(CASE WHEN atttypid IN"
        " ('oidvector'::regtype, 'int2vector'::regtype, 'anyarray'::regtype)"
        " THEN format('%%1$I::text AS %%1$I', attname) ELSE quote_ident("
        "attname) END, ', ' ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0", (name,),
    )[0][0]
    execute(parquet.db, f"CREATE TEMP TABLE kept AS SELECT {columns}"
            f" FROM {name} LIMIT 700")
    parquet.check("SELECT * FROM kept", row_group_rows=300)


# ---- memory ----


@pytest.mark.parametrize("what,compression", [
    ("columns", "none"), ("columns", "zstd"), ("values", "none"),
    ("values", "zstd"),
])
def test_memory(db, bucket, what, compression):
    """The peak stays within the limit, with many columns and with wide rows."""
    execute(db, "SET onboard.upload_memory = '64MB'")
    if what == "columns":
        columns = ", ".join(
            f"t || {i} AS c{i}" for i in range(1600)
        )
        query = (
            f"SELECT {columns} FROM (SELECT md5(g::text) || md5((-g)::text)"
            " AS t FROM generate_series(1, 1200) g OFFSET 0) q"
        )
    else:
        execute(db, "CREATE TEMP TABLE wide (t text);"
                "ALTER TABLE wide ALTER t SET STORAGE EXTERNAL;"
                "INSERT INTO wide SELECT string_agg(md5(g::text), '') FROM"
                " generate_series(1, 327680) g")
        query = "SELECT g AS id, t FROM wide, generate_series(1, 20) g"
        execute(db, f"SELECT sum(length(t)) FROM ({query}) q")
    execute(db, f"SELECT count(*) FROM ({query} LIMIT 3) q")
    with PeakMemory(db.info.backend_pid) as peak:
        statement = call(
            "m", query, bucket, format="parquet", compression=compression
        )
        with Running(db, *statement) as export:
            (row,) = export.rows(120)
    assert row["bytes"] > 60 * MB or compression == "zstd"
    assert peak.peak - peak.before <= 64 * MB + ALLOWANCE


def test_row_beyond_memory(db, bucket, rgw):
    from lib.exports import failure, land, no_trace

    execute(db, "SET onboard.upload_memory = '16MB'")
    error = failure(
        land, db, "t", "SELECT repeat('x', 30000000) AS t",
        bucket, format="parquet",
    )
    assert error.pgcode == "54000"
    assert error.diag.message_primary == (
        "a row does not fit into the memory of an export"
    )
    assert "onboard.upload_memory" in error.diag.message_hint
    no_trace(rgw, bucket)


def test_elements_beyond_the_memory(db, bucket, rgw):
    """An array of 20 MB whose elements have 2 GB when they are decompressed."""
    from lib.exports import failure, land, no_trace

    execute(db, "CREATE TYPE pq_pressed AS (id int, t text);"
            "CREATE TABLE pq_arrays (a pq_pressed[]);"
            "CREATE TEMP TABLE texts AS SELECT g AS id, repeat('x', 100000) AS t"
            " FROM generate_series(1, 100) g;"
            "INSERT INTO pq_arrays SELECT array_agg(ROW(id, t)::pq_pressed)"
            " FROM texts, generate_series(1, 200)")
    try:
        with PeakMemory(db.info.backend_pid) as peak:
            error = failure(
                land, db, "t", "TABLE pq_arrays", bucket, format="parquet"
            )
        assert error.pgcode == "54000"
        no_trace(rgw, bucket)
        # there are up to three copies of the array
        assert peak.peak - peak.before <= (128 + 3 * 24) * MB + ALLOWANCE
    finally:
        execute(db, "DROP TABLE pq_arrays; DROP TYPE pq_pressed")
