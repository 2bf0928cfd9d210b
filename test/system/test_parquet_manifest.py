"""Statistics of Parquet files in the manifest: row groups and columns.

They are compared with the file's footer, as lib/parquet_file.py reads it, and with
the results of SQL.
"""

import json
import uuid

import pytest

from landing import execute
from lib.exports import (
    EAGER, body, key_of, land, land_all, register, select, value,
)
from lib.parquet import leaf_text
from lib.parquet_file import ParquetFile
from test_publish import manifest, file_of
from test_parquet import FILTERED, filtered_query

SUMMARY_MAX = 2 ** 20
RUN_MAX = 16 * SUMMARY_MAX
DATA = "SELECT g AS id, 'k' || g % 7 AS k FROM generate_series(1, {}) g"


@pytest.fixture(autouse=True)
def schema(db):
    execute(db, "SET search_path = public")


@pytest.fixture(params=[1, 4])
def workers(request, db):
    select(db, f"SET onboard.parallel_tables = {request.param}")
    return request.param


def land_one(db, s3, bucket, query, **options):
    """Exports a query; returns the file and its member "parquet" of the manifest."""
    found = land(db, "t", query, bucket, manifest=True, format="parquet",
                 **options)
    (table,) = manifest(s3, bucket, found["run_id"])["tables"]
    return opened(s3, bucket, "t"), table["parquet"]


def opened(s3, bucket, name):
    return ParquetFile(body(s3, bucket, key_of(name, "parquet")))


# ---- comparison with the footer ----


def text(leaf, data):
    """A bound in the form of the manifest, which is that of to_json()."""
    bound = leaf.bound(data)
    found = leaf_text(leaf, bound)
    if leaf.kind() == "bool":
        return str(bound).lower()
    if leaf.kind() in ("timestamp", "timestamptz"):
        found = found.replace(" ", "T", 1)
    return found + ":00" if leaf.kind() == "timestamptz" else found


def widened(leaf, found, at, exact_at, choose):
    """The bound of the whole file, and whether it is exact."""
    bound = choose(found, key=lambda stats: leaf.order(leaf.bound(stats[at])))
    exact = any(
        stats[exact_at] for stats in found if stats[at] == bound[at]
    )
    return text(leaf, bound[at]), exact


def of_leaf(leaf, chunks):
    summary = {
        "field_id": leaf.field_id, "path": leaf.path,
        "values": sum(chunk[5] for chunk in chunks),
        "nulls": sum(chunk[12][3] for chunk in chunks),
        "bytes": sum(chunk[7] for chunk in chunks),
    }
    found = [chunk[12] for chunk in chunks if 5 in chunk[12]]
    unbounded = [c for c in chunks if 5 not in c[12] and c[5] > c[12][3]]
    if found and not unbounded:
        summary["min"], summary["min_exact"] = widened(leaf, found, 6, 8, min)
        summary["max"], summary["max_exact"] = widened(leaf, found, 5, 7, max)
    return summary


def footer(file):
    return {
        "row_groups": {
            "offsets": [
                min(c[3].get(11, c[3][9]) for c in g[1]) for g in file.groups
            ],
            "bytes": [group[6] for group in file.groups],
            "rows": [group[3] for group in file.groups],
        },
        "columns": [
            of_leaf(leaf, [group[1][i][3] for group in file.groups])
            for i, leaf in enumerate(file.leaves)
        ],
    }


def assert_same_as_footer(file, summary):
    wanted = footer(file)
    assert summary["row_groups"] == wanted["row_groups"]
    assert summary["columns"] == wanted["columns"]


# ---- comparison with SQL ----

# Expressions in Parquet's order.
ORDERED = {"text": '{}::text COLLATE "C"', "uuid": "uuid_send({})",
           "bytea": "{}", "bool": "{}::int"}


def assert_same_as_sql(db, summary):
    """Compares the statistics with those of the table pq_all."""
    for column in summary["columns"]:
        (name,), type = column["path"], FILTERED[column["path"][0]][0]
        order = ORDERED.get(type, "{}").format(name)
        nulls, values, least, greatest = execute(
            db, f"SELECT count(*) - count({name}), count(*),"
            f" (array_agg(to_json({name}) #>> '{{}}' ORDER BY {order}))[1],"
            f" (array_agg(to_json({name}) #>> '{{}}' ORDER BY {order} DESC"
            " NULLS LAST))[1] FROM pq_all"
        )[0]
        assert (column["nulls"], column["values"]) == (nulls, values), name
        if greatest == "NaN":
            assert "min" not in column and "max" not in column
            continue
        if "max" not in column:
            # the prefix cannot be rounded up
            assert greatest.startswith(("\U0010ffff" * 16, "\\x" + "ff" * 64)), name
            continue
        for bound, wanted in (("min", least), ("max", greatest)):
            assert_bound(column[bound], column[bound + "_exact"], bound, wanted)


def assert_bound(summary, exact, bound, value):
    if exact:
        assert summary == value
        return
    assert len(value.encode()) > 64 and 61 <= len(summary.encode()) <= 64
    if bound == "min":
        assert value.startswith(summary)
    else:
        assert summary.encode() > value.encode()


@pytest.mark.parametrize("rows", [500, 8000])
def test_types(db, s3, bucket, rows):
    """The session's settings of output formats have no effect."""
    execute(db, f"CREATE TEMP TABLE pq_all AS {filtered_query(9)}")
    execute(db, "SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo';"
            " SET bytea_output = 'escape'; SET extra_float_digits = -3")
    file, summary = land_one(db, s3, bucket, "TABLE pq_all", row_group_rows=rows)
    assert len(file.groups) == 8000 // rows
    assert len(summary["columns"]) == len(FILTERED)
    assert_same_as_footer(file, summary)
    execute(db, "RESET ALL; SET TimeZone = 'UTC'")
    assert_same_as_sql(db, summary)


def test_columns_without_values(db, s3, bucket):
    file, summary = land_one(
        db, s3, bucket, "SELECT NULL::int AS a, CASE WHEN g > 5 THEN g END"
        " AS b FROM generate_series(1, 8) g", row_group_rows=4,
    )
    assert_same_as_footer(file, summary)
    assert "min" not in summary["columns"][0]
    assert (summary["columns"][1]["min"], summary["columns"][1]["max"]) == ("6", "8")


def test_groups(db, s3, bucket):
    """Leaves of lists and composite types have field ids and paths."""
    execute(db, "CREATE TYPE pq_pair AS (x int, \"Größe\" text[])")
    try:
        file, summary = land_one(
            db, s3, bucket, "SELECT array_fill(g, ARRAY[g % 3]) AS a,"
            " ROW(-g, ARRAY['ä' || g])::pq_pair AS p, 'x' AS \"ö\""
            " FROM generate_series(1, 9) g", row_group_rows=4,
        )
    finally:
        execute(db, "DROP TYPE pq_pair")
    assert_same_as_footer(file, summary)
    assert [(c["field_id"], c["path"]) for c in summary["columns"]] == [
        (2, ["a", "list", "element"]), (4, ["p", "x"]),
        (6, ["p", "Größe", "list", "element"]), (7, ["ö"]),
    ]
    assert summary["columns"][0]["nulls"] == 3
    assert summary["columns"][2]["max"] == "ä9"


def test_special_values(db, s3, bucket):
    """Bounds that are signed zeros, infinities, BC dates and long years."""
    file, summary = land_one(
        db, s3, bucket, "SELECT (ARRAY['-0', '0'])[g]::float8 AS zero,"
        " (ARRAY['-Infinity', 'Infinity'])[g]::float4 AS infinite,"
        " (ARRAY['0044-03-15 BC', '20000-01-01'])[g]::date AS d,"
        " (ARRAY['-99999999999999999999999999999999999.999',"
        " '0.001'])[g]::numeric(38,3) AS n,"
        " (ARRAY[-0.05, 0.5])[g]::numeric(3,2) AS small"
        " FROM generate_series(1, 2) g",
    )
    assert [(c["min"], c["max"]) for c in summary["columns"]] == [
        ("-0", "0"), ("-Infinity", "Infinity"),
        ("0044-03-15 BC", "20000-01-01"),
        ("-99999999999999999999999999999999999.999", "0.001"),
        ("-0.05", "0.50"),
    ]


@pytest.fixture
def latin1(pg):
    """A database whose encoding is LATIN1."""
    pg.psql("CREATE DATABASE pq_latin1 ENCODING 'LATIN1' TEMPLATE template0")
    pg.psql("CREATE EXTENSION onboard", "pq_latin1")
    yield "pq_latin1"
    pg.psql("DROP DATABASE pq_latin1 WITH (FORCE)")


def test_bounds_in_latin1(latin1, make_server, pg, rgw, s3, bucket):
    """A maximum whose last character LATIN1 lacks is missing."""
    make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3", dbname=latin1
    )
    db = pg.connect(latin1)
    try:
        file, summary = land_one(
            db, s3, bucket, "SELECT 'ü' AS \"é\", repeat('ü', 40) AS long,"
            " repeat('ÿ', 40) AS last",
        )
    finally:
        db.close()
    wanted = footer(file)["columns"]
    assert wanted[2].pop("max") == "ÿ" * 31 + "Ā"
    assert wanted[2].pop("max_exact") is False
    assert summary["columns"] == wanted
    assert summary["columns"][1]["max"] == "ü" * 31 + "ý"


# ---- processes that write the file and the manifest ----


@pytest.mark.parametrize("options", [
    {"row_group_rows": 700}, {"row_group_size": "1MB", "part_size": "5MB"}, {},
], ids=str)
def test_parallel(db, s3, bucket, options):
    """Row groups that several processes have written."""
    execute(db, "CREATE TABLE pq_all AS SELECT g AS i4, repeat(md5(g::text),"
            " 64) AS t, (g % 70000 / 4.0)::numeric(9,2) AS d9"
            f" FROM generate_series(1, 9000) g; ANALYZE pq_all; {EAGER}")
    try:
        file, summary = land_one(
            db, s3, bucket, "TABLE pq_all", parallel=2, compression="none",
            dictionary=False, **options,
        )
        # each process that had rows has written a row group
        assert len(file.groups) > 2 or not options
        assert_same_as_footer(file, summary)
        summary["columns"] = [
            c for c in summary["columns"] if c["path"] != ["t"]
        ]
        assert_same_as_sql(db, summary)
    finally:
        execute(db, "DROP TABLE pq_all")


@pytest.mark.parametrize("parallel", [0, 2])
def test_no_rows(db, s3, bucket, parallel):
    execute(db, f"CREATE TABLE pq_none (id int); ANALYZE pq_none; {EAGER}")
    try:
        options = {"parallel": parallel, "format": "parquet", "manifest": True}
        found = land(db, "t", "TABLE pq_none", bucket, **options)
        (table,) = manifest(s3, bucket, found["run_id"])["tables"]
        assert table["status"] == "empty" and "parquet" not in table
        file, summary = land_one(
            db, s3, bucket, "TABLE pq_none", empty="write", parallel=parallel
        )
    finally:
        execute(db, "DROP TABLE pq_none")
    assert summary["row_groups"] == {"offsets": [], "bytes": [], "rows": []}
    assert_same_as_footer(file, summary)


@pytest.mark.parametrize("publish", ["each", "together"])
@pytest.mark.parametrize("job", [False, True])
def test_runs(db, s3, registry, workers, bucket, publish, job):
    """Runs of a session and of a job, with and without workers."""
    register(db, bucket, a=DATA.format(500), b=DATA.format(900),
             c="SELECT 1 AS n", none="SELECT 1 AS n WHERE false")
    select(db, """UPDATE onboard_tables SET options = '{"format": "csv"}'
           WHERE name = 'c'""")
    select(db, """UPDATE onboard_tables SET options = '{"format": "parquet",
           "row_group_rows": 400}' WHERE name <> 'c'""")
    options = {"manifest": True, "publish": publish}
    if job:
        run_id = value(db, "SELECT onboard_submit_all(options => %s)",
                       (json.dumps(options),))
        (row,) = select(db, "SELECT * FROM onboard_wait(%s, '60s')", (run_id,))
        assert row["status"] == "done"
    else:
        run_id = land_all(db, **options)[0]["run_id"]
    summary = {t["name"]: t for t in manifest(s3, bucket, run_id)["tables"]}
    for name, rows in (("a", [400, 100]), ("b", [400, 400, 100])):
        assert summary[name]["parquet"]["row_groups"]["rows"] == rows
        assert_same_as_footer(opened(s3, bucket, name), summary[name]["parquet"])
    assert "parquet" not in summary["c"] and "parquet" not in summary["none"]


def test_repeated_run_of_increment(db, s3, registry, workers, bucket):
    """A repeated run has no statistics of an increment that had already landed,
    since the history has none."""
    select(db, "CREATE TABLE pq_increments AS SELECT 1 AS id")
    run_id = str(uuid.uuid4())
    options = json.dumps({"manifest": True})
    summary = []
    try:
        register(db, bucket, pq_increments=None, other="SELECT 1 AS a")
        select(
            db, """UPDATE onboard_tables SET options = '{"key":
            "{name}/{run_id}", "format": "parquet"}';
            UPDATE onboard_tables SET options = options ||
            '{"watermark": {"column": "id", "overlap": 1}}'
            WHERE name = 'pq_increments'"""
        )
        for _ in range(2):
            select(db, "SELECT onboard_all(options => %s, run_id => %s)",
                   (options, run_id))
            tables = manifest(s3, bucket, run_id)["tables"]
            summary.append({table["name"]: table for table in tables})
    finally:
        select(db, "DROP TABLE pq_increments")
    first, again = (tables["pq_increments"] for tables in summary)
    assert first["parquet"]["columns"][0]["max"] == "1"
    assert again["status"] == "done" and again["uri"] == first["uri"]
    assert not {"parquet", "columns", "crc32"} & set(again)
    assert summary[1]["other"]["parquet"] == summary[0]["other"]["parquet"]


# ---- limits of the size ----


def size(summary):
    return len(json.dumps(summary, separators=(",", ":"), ensure_ascii=False)
               .encode())


def test_many_row_groups(db, s3, bucket):
    """Too many row groups are left out; the columns have their statistics."""
    file, summary = land_one(
        db, s3, bucket, DATA.format(45000), row_group_rows=1, compression="none"
    )
    assert len(file.groups) == 45000
    assert summary["row_groups"] is None
    assert summary["columns"] == footer(file)["columns"]
    file, summary = land_one(
        db, s3, bucket, DATA.format(25000), row_group_rows=1, compression="none"
    )
    assert_same_as_footer(file, summary)
    assert SUMMARY_MAX / 4 < size(summary) < SUMMARY_MAX


def test_many_columns(db, s3, bucket):
    """If the size exceeds its limit, the statistics of the last columns are left
    out."""
    columns = ", ".join(
        f"repeat(chr(945 + g), 99) AS {'c' * 50}{i}" for i in range(1600)
    )
    query = f"SELECT {columns} FROM generate_series(1, 2) g"
    file, summary = land_one(db, s3, bucket, query, row_group_rows=1)
    assert_same_as_footer(file, summary)
    assert size(summary) < SUMMARY_MAX
    types = ", ".join(f"{'f' * 50}{i} int" for i in range(1600))
    execute(db, f"CREATE TYPE pq_wide AS ({types})")
    try:
        columns = ", ".join(
            f"'({',' * 1599})'::pq_wide AS c{i}" for i in range(10)
        )
        file, summary = land_one(db, s3, bucket, f"SELECT {columns}")
    finally:
        execute(db, "DROP TYPE pq_wide")
    wanted = footer(file)["columns"]
    assert len(wanted) == 16000 > len(summary["columns"])
    assert summary["columns"] == wanted[:len(summary["columns"])]
    assert SUMMARY_MAX - 1000 < size(summary) <= SUMMARY_MAX


def test_many_tables(db, s3, registry, workers, bucket):
    """The statistics of each table are limited to its share of a manifest."""
    columns = ", ".join(f"{i} AS c{i}" for i in range(1500))
    register(db, bucket, a=f"SELECT {columns}")
    select(db, "INSERT INTO onboard_tables (name, query, bucket) SELECT"
           " 't' || g, 'SELECT 1 AS n WHERE false', %s"
           " FROM generate_series(1, 600) g", (bucket,))
    run_id = land_all(db, manifest=True, format="parquet")[0]["run_id"]
    found = s3.get_object(Bucket=bucket, Key=file_of(run_id, "manifest.json"))
    tables = json.loads(found["Body"].read())["tables"]
    (summary,) = [t["parquet"] for t in tables if t["name"] == "a"]
    share = RUN_MAX // 601
    assert share - 200 < size(summary) <= share
    columns = footer(opened(s3, bucket, "a"))["columns"]
    assert summary["columns"] == columns[:len(summary["columns"])]
