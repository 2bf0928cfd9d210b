"""What a manifest says of Parquet files: row groups, and statistics of columns.

It is compared with the file's footer, as lib/parquet_file.py reads it, and with
what SQL says of the rows.
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
    """The file, and what the manifest says of it."""
    found = land(db, "t", query, bucket, manifest=True, format="parquet",
                 **options)
    (table,) = manifest(s3, bucket, found["run_id"])["tables"]
    return opened(s3, bucket, "t"), table["parquet"]


def opened(s3, bucket, name):
    return ParquetFile(body(s3, bucket, key_of(name, "parquet")))


# ---- what the footer says ----


def text(leaf, data):
    """A bound as the manifest has it: as to_json() writes it."""
    bound = leaf.bound(data)
    found = leaf_text(leaf, bound)
    if leaf.kind() == "bool":
        return str(bound).lower()
    if leaf.kind() in ("timestamp", "timestamptz"):
        found = found.replace(" ", "T", 1)
    return found + ":00" if leaf.kind() == "timestamptz" else found


def widest(leaf, found, at, exact_at, choose):
    """The bound of all row groups, and whether it is exact."""
    bound = choose(found, key=lambda stats: leaf.order(leaf.bound(stats[at])))
    exact = any(
        stats[exact_at] for stats in found if stats[at] == bound[at]
    )
    return text(leaf, bound[at]), exact


def of_leaf(leaf, chunks):
    said = {
        "field_id": leaf.field_id, "path": leaf.path,
        "values": sum(chunk[5] for chunk in chunks),
        "nulls": sum(chunk[12][3] for chunk in chunks),
        "bytes": sum(chunk[7] for chunk in chunks),
    }
    found = [chunk[12] for chunk in chunks if 5 in chunk[12]]
    bare = [c for c in chunks if 5 not in c[12] and c[5] > c[12][3]]
    if found and not bare:
        said["min"], said["min_exact"] = widest(leaf, found, 6, 8, min)
        said["max"], said["max_exact"] = widest(leaf, found, 5, 7, max)
    return said


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


def assert_as_footer(file, said):
    wanted = footer(file)
    assert said["row_groups"] == wanted["row_groups"]
    assert said["columns"] == wanted["columns"]


# ---- what SQL says ----

# Bounds are compared as the file orders them.
AS_BYTES = {"text": '{}::text COLLATE "C"', "uuid": "uuid_send({})",
            "bytea": "{}", "bool": "{}::int"}


def assert_as_sql(db, said):
    """Of the table pq_all."""
    for column in said["columns"]:
        (name,), type = column["path"], FILTERED[column["path"][0]][0]
        order = AS_BYTES.get(type, "{}").format(name)
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
            # no text is greater that is not longer
            assert greatest.startswith(("\U0010ffff" * 16, "\\x" + "ff" * 64)), name
            continue
        for bound, wanted in (("min", least), ("max", greatest)):
            assert_bound(column[bound], column[bound + "_exact"], bound, wanted)


def assert_bound(said, exact, bound, value):
    if exact:
        assert said == value
        return
    assert len(value.encode()) > 64 and 61 <= len(said.encode()) <= 64
    if bound == "min":
        assert value.startswith(said)
    else:
        assert said.encode() > value.encode()


@pytest.mark.parametrize("rows", [500, 8000])
def test_types(db, s3, bucket, rows):
    """In a session whose settings would write values in another way."""
    execute(db, f"CREATE TEMP TABLE pq_all AS {filtered_query(9)}")
    execute(db, "SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo';"
            " SET bytea_output = 'escape'; SET extra_float_digits = -3")
    file, said = land_one(db, s3, bucket, "TABLE pq_all", row_group_rows=rows)
    assert len(file.groups) == 8000 // rows
    assert len(said["columns"]) == len(FILTERED)
    assert_as_footer(file, said)
    execute(db, "RESET ALL; SET TimeZone = 'UTC'")
    assert_as_sql(db, said)


def test_columns_without_values(db, s3, bucket):
    file, said = land_one(
        db, s3, bucket, "SELECT NULL::int AS a, CASE WHEN g > 5 THEN g END"
        " AS b FROM generate_series(1, 8) g", row_group_rows=4,
    )
    assert_as_footer(file, said)
    assert "min" not in said["columns"][0]
    assert (said["columns"][1]["min"], said["columns"][1]["max"]) == ("6", "8")


def test_groups(db, s3, bucket):
    """Leaves of lists and rows, by the ids of their fields."""
    execute(db, "CREATE TYPE pq_pair AS (x int, \"Größe\" text[])")
    try:
        file, said = land_one(
            db, s3, bucket, "SELECT array_fill(g, ARRAY[g % 3]) AS a,"
            " ROW(-g, ARRAY['ä' || g])::pq_pair AS p, 'x' AS \"ö\""
            " FROM generate_series(1, 9) g", row_group_rows=4,
        )
    finally:
        execute(db, "DROP TYPE pq_pair")
    assert_as_footer(file, said)
    assert [(c["field_id"], c["path"]) for c in said["columns"]] == [
        (2, ["a", "list", "element"]), (4, ["p", "x"]),
        (6, ["p", "Größe", "list", "element"]), (7, ["ö"]),
    ]
    assert said["columns"][0]["nulls"] == 3
    assert said["columns"][2]["max"] == "ä9"


def test_special_values(db, s3, bucket):
    """Bounds of signs, infinities, and years that have more than four digits."""
    file, said = land_one(
        db, s3, bucket, "SELECT (ARRAY['-0', '0'])[g]::float8 AS zero,"
        " (ARRAY['-Infinity', 'Infinity'])[g]::float4 AS infinite,"
        " (ARRAY['0044-03-15 BC', '20000-01-01'])[g]::date AS d,"
        " (ARRAY['-99999999999999999999999999999999999.999',"
        " '0.001'])[g]::numeric(38,3) AS n,"
        " (ARRAY[-0.05, 0.5])[g]::numeric(3,2) AS small"
        " FROM generate_series(1, 2) g",
    )
    assert [(c["min"], c["max"]) for c in said["columns"]] == [
        ("-0", "0"), ("-Infinity", "Infinity"),
        ("0044-03-15 BC", "20000-01-01"),
        ("-99999999999999999999999999999999999.999", "0.001"),
        ("-0.05", "0.50"),
    ]


@pytest.fixture
def latin1(pg):
    """A database whose encoding is not that of Parquet's texts."""
    pg.psql("CREATE DATABASE pq_latin1 ENCODING 'LATIN1' TEMPLATE template0")
    pg.psql("CREATE EXTENSION onboard", "pq_latin1")
    yield "pq_latin1"
    pg.psql("DROP DATABASE pq_latin1 WITH (FORCE)")


def test_another_encoding(latin1, make_server, pg, rgw, s3, bucket):
    """The character after ÿ is none of LATIN1, so there is no maximum."""
    make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3", dbname=latin1
    )
    db = pg.connect(latin1)
    try:
        file, said = land_one(
            db, s3, bucket, "SELECT 'ü' AS \"é\", repeat('ü', 40) AS long,"
            " repeat('ÿ', 40) AS last",
        )
    finally:
        db.close()
    wanted = footer(file)["columns"]
    assert wanted[2].pop("max") == "ÿ" * 31 + "Ā"
    assert wanted[2].pop("max_exact") is False
    assert said["columns"] == wanted
    assert said["columns"][1]["max"] == "ü" * 31 + "ý"


# ---- who writes the file, and the manifest ----


@pytest.mark.parametrize("options", [
    {"row_group_rows": 700}, {"row_group_size": "1MB", "part_size": "5MB"}, {},
], ids=str)
def test_parallel(db, s3, bucket, options):
    """Row groups of several processes."""
    execute(db, "CREATE TABLE pq_all AS SELECT g AS i4, repeat(md5(g::text),"
            " 64) AS t, (g % 70000 / 4.0)::numeric(9,2) AS d9"
            f" FROM generate_series(1, 9000) g; ANALYZE pq_all; {EAGER}")
    try:
        file, said = land_one(
            db, s3, bucket, "TABLE pq_all", parallel=2, compression="none",
            dictionary=False, **options,
        )
        # a row group of each process at least, if all of them had rows
        assert len(file.groups) > 2 or not options
        assert_as_footer(file, said)
        said["columns"] = [
            c for c in said["columns"] if c["path"] != ["t"]
        ]
        assert_as_sql(db, said)
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
        file, said = land_one(
            db, s3, bucket, "TABLE pq_none", empty="write", parallel=parallel
        )
    finally:
        execute(db, "DROP TABLE pq_none")
    assert said["row_groups"] == {"offsets": [], "bytes": [], "rows": []}
    assert_as_footer(file, said)


@pytest.mark.parametrize("publish", ["each", "together"])
@pytest.mark.parametrize("job", [False, True])
def test_runs(db, s3, registry, workers, bucket, publish, job):
    """In the session and in workers, of a session and of a job."""
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
    said = {t["name"]: t for t in manifest(s3, bucket, run_id)["tables"]}
    for name, rows in (("a", [400, 100]), ("b", [400, 400, 100])):
        assert said[name]["parquet"]["row_groups"]["rows"] == rows
        assert_as_footer(opened(s3, bucket, name), said[name]["parquet"])
    assert "parquet" not in said["c"] and "parquet" not in said["none"]


def test_an_increment_that_has_landed(db, s3, registry, workers, bucket):
    """A repeated run knows of it what the history has: no statistics."""
    select(db, "CREATE TABLE pq_increments AS SELECT 1 AS id")
    run_id = str(uuid.uuid4())
    options = json.dumps({"manifest": True})
    said = []
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
            said.append({table["name"]: table for table in tables})
    finally:
        select(db, "DROP TABLE pq_increments")
    first, again = (tables["pq_increments"] for tables in said)
    assert first["parquet"]["columns"][0]["max"] == "1"
    assert again["status"] == "done" and again["uri"] == first["uri"]
    assert not {"parquet", "columns", "crc32"} & set(again)
    assert said[1]["other"]["parquet"] == said[0]["other"]["parquet"]


# ---- bounds of its size ----


def size(said):
    return len(json.dumps(said, separators=(",", ":"), ensure_ascii=False)
               .encode())


def test_many_row_groups(db, s3, bucket):
    """They are left out as a whole; the statistics are those of all of them."""
    file, said = land_one(
        db, s3, bucket, DATA.format(45000), row_group_rows=1, compression="none"
    )
    assert len(file.groups) == 45000
    assert said["row_groups"] is None
    assert said["columns"] == footer(file)["columns"]
    file, said = land_one(
        db, s3, bucket, DATA.format(25000), row_group_rows=1, compression="none"
    )
    assert_as_footer(file, said)
    assert SUMMARY_MAX / 4 < size(said) < SUMMARY_MAX


def test_many_columns(db, s3, bucket):
    """Statistics end where there is no more room, the last columns first."""
    columns = ", ".join(
        f"repeat(chr(945 + g), 99) AS {'c' * 50}{i}" for i in range(1600)
    )
    query = f"SELECT {columns} FROM generate_series(1, 2) g"
    file, said = land_one(db, s3, bucket, query, row_group_rows=1)
    assert_as_footer(file, said)
    assert size(said) < SUMMARY_MAX
    types = ", ".join(f"{'f' * 50}{i} int" for i in range(1600))
    execute(db, f"CREATE TYPE pq_wide AS ({types})")
    try:
        columns = ", ".join(
            f"'({',' * 1599})'::pq_wide AS c{i}" for i in range(10)
        )
        file, said = land_one(db, s3, bucket, f"SELECT {columns}")
    finally:
        execute(db, "DROP TYPE pq_wide")
    wanted = footer(file)["columns"]
    assert len(wanted) == 16000 > len(said["columns"])
    assert said["columns"] == wanted[:len(said["columns"])]
    assert SUMMARY_MAX - 1000 < size(said) <= SUMMARY_MAX


def test_many_tables(db, s3, registry, workers, bucket):
    """Each has its share, so a manifest of all of them can be held."""
    columns = ", ".join(f"{i} AS c{i}" for i in range(1500))
    register(db, bucket, a=f"SELECT {columns}")
    select(db, "INSERT INTO onboard_tables (name, query, bucket) SELECT"
           " 't' || g, 'SELECT 1 AS n WHERE false', %s"
           " FROM generate_series(1, 600) g", (bucket,))
    run_id = land_all(db, manifest=True, format="parquet")[0]["run_id"]
    found = s3.get_object(Bucket=bucket, Key=file_of(run_id, "manifest.json"))
    tables = json.loads(found["Body"].read())["tables"]
    (said,) = [t["parquet"] for t in tables if t["name"] == "a"]
    share = RUN_MAX // 601
    assert share - 200 < size(said) <= share
    columns = footer(opened(s3, bucket, "a"))["columns"]
    assert said["columns"] == columns[:len(said["columns"])]
