"""Parquet files as a whole: row groups, pages, statistics, columns, memory.

What types become is in test_parquet_types.py.  Each file is checked against the
specification, and read by DuckDB, hyparquet and arrow-rs, which share no code.
"""

import json
import os
import random
import re
import secrets

import pytest

from landing import execute
from lib.exports import Running, call
from lib.parquet import text_of
from lib.parquet_file import PLAIN, RLE_DICTIONARY, Broken, ParquetFile
from lib.postgres import PeakMemory
from lib.randomdata import Draw
from lib.randomvalues import SCHEMA, TYPES

MB = 1024 * 1024
# Beyond onboard.upload_memory: encoders, codecs, libcurl, a row.
ALLOWANCE = 32 * MB

SERIES = "SELECT g AS id, 'k' || g % 7 AS k FROM generate_series(1, {}) g"


# ---- row groups and pages ----


@pytest.mark.parametrize("rows", [0, 1, 2, 999, 1000, 1001, 2000, 2001])
def test_row_groups(parquet, rows):
    file = parquet.check(SERIES.format(rows), row_group_rows=1000)
    sizes = [group[3] for group in file.groups]
    assert sizes == [1000] * (rows // 1000) + [rows % 1000] * (rows % 1000 > 0)


def test_a_group_for_each_row(parquet):
    file = parquet.check(SERIES.format(20), row_group_rows=1)
    assert len(file.groups) == 20


@pytest.mark.parametrize("rows", [1023, 1024, 1025, 2047, 2048, 2049])
def test_batches(parquet, rows):
    """The writer takes 1,024 rows at a time."""
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


def test_row_group_size(parquet):
    file = parquet.check(
        "SELECT md5(g::text) || md5((-g)::text) AS t"
        " FROM generate_series(1, 60000) g",
        compression="none", row_group_size="1MB", dictionary=False,
    )
    sizes = [group[6] for group in file.groups]
    assert len(sizes) > 3
    assert all(0.9 * MB < size < 1.2 * MB for size in sizes[:-1]), sizes


def test_fall_back(parquet):
    """Few values at first, then nothing but new ones: pages of both kinds."""
    file = parquet.check(
        "SELECT CASE WHEN g < 15000 THEN 'k' || g % 10 ELSE md5(g::text) ||"
        " md5(g::text) END AS a, CASE WHEN g < 15000 THEN g % 10 ELSE g END"
        " AS b, md5(g::text)::uuid AS c FROM generate_series(1, 40000) g",
        page_size=4096,
    )
    assert file.encodings["a"] == {RLE_DICTIONARY, PLAIN}
    assert PLAIN in file.encodings["c"]


def test_no_rows(parquet):
    """A schema and no row group; nothing at all by default."""
    query = "SELECT 1 AS a, ARRAY['x'] AS b, 1.5::numeric(20,3) AS c LIMIT 0"
    file = parquet.check(query)
    assert file.groups == [] and file.rows == 0
    assert [name for name, _ in file.kinds()] == ["a", "b", "c"]


def test_wide_table(parquet):
    """As many columns as PostgreSQL has."""
    columns = ", ".join(
        f"CASE WHEN g % {1 + i % 5} = 0 THEN g + {i} END AS c{i}"
        if i % 2 else f"'v' || g % {1 + i % 7} AS c{i}" for i in range(1600)
    )
    query = f"SELECT {columns} FROM generate_series(1, 40) g"
    file = parquet.check(query)
    assert len(file.leaves) == 1600 and len(file.groups) == 1


def test_names(parquet):
    """Names of all kinds; those that some readers refuse get a warning."""
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


def test_large_values(parquet):
    """Values of megabytes, beside small ones, of text and bytea."""
    parquet.check(
        "SELECT g AS id, CASE g % 3 WHEN 0 THEN repeat(md5(g::text), 100000)"
        " WHEN 1 THEN 'x' END AS t, CASE WHEN g = 4 THEN"
        " decode(repeat(md5(g::text), 90000), 'hex') END AS b"
        " FROM generate_series(1, 9) g",
    )


def test_metadata_says_no_secret(parquet):
    file = parquet.land("SELECT 'not to be told' AS a")
    assert "SELECT" not in json.dumps(file.properties())
    assert set(file.properties()) >= {"onboard.postgresql_types"}


# ---- statistics ----

# name: type, and an expression over g; rows are not in the order of values
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
def test_filters(parquet, encodings):
    """What DuckDB finds by the statistics is what PostgreSQL finds."""
    db, query = parquet.db, filtered_query(9)
    parquet.land(
        query, row_group_rows=500, page_size=4096, encodings=encodings
    )
    execute(db, f"CREATE TEMP TABLE filtered AS {query}")
    for name, (type, _) in FILTERED.items():
        ours = f'{name} COLLATE "C"' if type == "text" else name
        tests = ["IS NULL", "IS NOT NULL"] + [
            f"{operator} '{constant}'" for constant in some_of(db, name, type, ours)
            for operator in ("=", "<", ">=", "<>")
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


def some_of(db, name, type, ours):
    """Some values of a column, among them the least and the greatest."""
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


def cast(test, type):
    """The same for DuckDB, which else compares some types as texts."""
    if type == "bytea":
        return re.sub(r"'.x(.*)'", r"unhex('\1')", test)
    type = DUCKDB_TYPES.get(type, type.replace("numeric", "decimal"))
    return re.sub("('.*')", rf"CAST(\1 AS {type})", test)


def test_footer_says_what_sql_says(parquet):
    """Minima, maxima and nulls of the whole file, for each column."""
    db, query = parquet.db, filtered_query(7)
    file = parquet.land(query)
    for leaf in file.leaves:
        name, type = leaf.name, FILTERED[leaf.name][0]
        (chunk,) = file.chunks(name)
        stats = chunk[12]
        nulls = execute(
            db, f"SELECT count(*) FROM ({query}) q WHERE {name} IS NULL"
        )[0][0]
        assert stats[3] == nulls
        if type in ("uuid", "bytea", "bool") or not (stats.get(7) and stats.get(8)):
            continue
        collate = ' COLLATE "C"' if type == "text" else ""
        nan = f"WHERE {name} <> 'NaN'" if type.startswith("float") else ""
        want = execute(
            db, f"SELECT min({name}{collate})::text, max({name}{collate})"
            f"::text FROM ({query}) q {nan}"
        )[0]
        assert tuple(bound_text(leaf, stats[i]) for i in (6, 5)) == want, name


def bound_text(leaf, data):
    bound = leaf.order(leaf.bound(data))
    if leaf.kind() == "text":
        return bound.decode()
    return text_of(leaf.kind(), str(bound))


# ---- the checker can fail ----


@pytest.mark.parametrize("what", [
    "statistics", "page", "offset", "encodings", "rows"
])
def test_the_checker_sees(parquet, what):
    """A file that was damaged in one place is refused."""
    data = bytearray()
    parquet.land("SELECT g AS a, g::text AS b FROM generate_series(1, 99) g",
                 compression="none", dictionary=False)
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
    elif what == "encodings":
        file.groups[0][1][0][3][2].append(RLE_DICTIONARY)
    else:
        file.rows += 1
    changed = file if what in ("encodings", "rows") else ParquetFile(bytes(data))
    with pytest.raises(Broken):
        changed.check()


# ---- random tables, and PostgreSQL's own ----

RANDOM_TABLES = 12


def test_random_tables(parquet, pg, tell):
    seed, _, number = os.environ.get("ONBOARD_SEED", "").partition("/")
    seed = seed or str(secrets.randbelow(10 ** 9))
    tell(f"ONBOARD_SEED={seed}")
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
    draw, rng = Draw(seed, number, 0), random.Random(f"{seed}/{number}")
    execute(db, "RESET ALL; SET TimeZone = 'UTC'; SET jit = off;"
            "SET client_min_messages = error;"
            "SET max_parallel_workers_per_gather = 0")
    for statement in draw.script:
        execute(db, statement)
    options = {
        "compression": rng.choice(["none", "snappy", "gzip", "zstd", "lz4"]),
        "encodings": rng.choice(["compatible", "delta"]),
        "dictionary": rng.choice([True, False]),
        "row_group_rows": rng.choice([100, 1000, 1024, 10 ** 6]),
        "page_size": rng.choice([4096, 65536, MB]),
        "numeric": "text", "unrepresentable": "null",
    }
    query = (
        f"SELECT {', '.join(storable(db, draw))} FROM t LIMIT 2000"
    )
    try:
        parquet.check(query, **options)
    except (AssertionError, Exception) as error:
        raise AssertionError(
            f"ONBOARD_SEED={seed}/{number} {options}\n{query}\n{error}"
        ) from error
    execute(db, f"RESET ALL; {draw.cleanup}")


# What has no form in Parquet is null on both sides.
REPLACED = {
    "date": "nullif(nullif({0}, 'infinity'), '-infinity')",
    "timestamp without time zone":
        "CASE WHEN isfinite({0}) AND {0} < '294247-01-01' THEN {0} END",
    "timestamp with time zone":
        "CASE WHEN isfinite({0}) AND {0} < '294247-01-01 00:00+00' THEN {0} END",
    "time without time zone": "nullif({0}, '24:00')",
    "numeric": "nullif({0}, 'NaN')",
}


def storable(db, draw):
    """The columns as expressions; those of composite types and arrays as
    texts, since what is strange may be deep inside."""
    rows = execute(
        db, "SELECT quote_ident(attname), attname, format_type(b.oid, -1),"
        " format_type(b.oid, coalesce(nullif(atttypmod, -1), t.typtypmod)),"
        " b.typtype = 'c' OR b.typelem <> 0 AND b.typlen = -1"
        " FROM pg_attribute JOIN pg_type t ON t.oid = atttypid JOIN pg_type b"
        " ON b.oid = CASE t.typtype WHEN 'd' THEN coalesce((SELECT"
        " nullif(x.typbasetype, 0) FROM pg_type x WHERE x.oid = t.typbasetype"
        " AND x.typtype = 'd'), t.typbasetype) ELSE t.oid END"
        " WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped"
        " ORDER BY attnum"
    )
    for name, _, type, full, nested in rows:
        if nested:
            yield f"{name}::text AS {name}"
        elif type in REPLACED and not (type == "numeric" and full == type):
            value = REPLACED[type].format(name)
            yield f"({value})::{full} AS {name}"
        else:
            yield name


CATALOGS = ["pg_class", "pg_proc", "pg_type", "pg_attribute", "pg_operator",
            "pg_settings", "pg_am", "pg_collation"]


@pytest.mark.parametrize("name", CATALOGS)
def test_catalogs(parquet, name):
    """PostgreSQL's own tables; vectors, whose lower bound is 0, as texts."""
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
    """It stays within the bound, with many columns and with wide rows."""
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


def test_a_row_beyond_the_memory(db, bucket, rgw):
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
