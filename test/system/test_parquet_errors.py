"""Exports as Parquet that fail, and Parquet with other features.

Invalid options and columns are reported before the first request to the store,
which the proxy would see.
"""

import contextlib
import json
import time

import pytest

from landing import execute
from lib import process
from lib.exports import (
    EAGER, Running, call, failure, keys, land, no_trace, select, value,
    wait_for_network, wait_for_sleep,
)

INVALID, MISMATCH = "22023", "42804"


def land_failure(db, query, bucket, server, options):
    error = failure(
        land, db, "t", query, bucket, server=server,
        **{"format": "parquet", **options},
    )
    return error.pgcode, error.diag


# options, SQLSTATE, message, hint
OPTIONS = {
    "level of snappy": (
        {"compression": "snappy", "compression_level": 1}, INVALID,
        'option "compression_level" cannot be used with compression "snappy"'
        ' and format "parquet"', "It has no levels.",
    ),
    "level of lz4": (
        {"compression": "lz4", "compression_level": 1}, INVALID,
        'option "compression_level" cannot be used with compression "lz4"'
        ' and format "parquet"', "It has no levels.",
    ),
    "level of zstd": (
        {"compression_level": 23}, INVALID,
        'invalid value "23" for option "compression_level"',
        "Allowed values for zstd: 1 to 19.",
    ),
    "level of gzip": (
        {"compression": "gzip", "compression_level": 0}, INVALID,
        'invalid value "0" for option "compression_level"',
        "Allowed values for gzip: 1 to 9.",
    ),
    "codec": (
        {"compression": "brotli"}, INVALID,
        'invalid value "brotli" for option "compression"', "also snappy",
    ),
    "snappy elsewhere": (
        {"compression": "snappy", "format": "csv"}, INVALID,
        'compression "snappy" cannot be used with format "csv"',
        "It is for format parquet.",
    ),
    "encoding": (
        {"encoding": "LATIN1"}, INVALID,
        'encoding "LATIN1" cannot be used with format "parquet"',
        "It is always written in UTF8.",
    ),
    "encodings": (
        {"encodings": "plain"}, INVALID,
        'invalid value "plain" for option "encodings"', "compatible",
    ),
    "row groups of no rows": (
        {"row_group_rows": 0}, INVALID,
        'invalid value "0" for option "row_group_rows"',
        "Allowed values: integers from 1 to 1000000000.",
    ),
    "small row groups": (
        {"row_group_size": "10kB"}, INVALID,
        'invalid value "10kB" for option "row_group_size"', "1 MB to 2047 MB",
    ),
    "large row groups": (
        {"row_group_size": "1GB"}, INVALID,
        "row group size of 1073741824 bytes is more than half of"
        " onboard.upload_memory",
        'Lower "row_group_size" to at most 33554432 bytes, or raise'
        " onboard.upload_memory.",
    ),
    "pages": (
        {"page_size": 10}, INVALID, 'invalid value "10" for option "page_size"',
        "4 kB to 8 MB",
    ),
    "numeric": (
        {"numeric": "float"}, INVALID,
        'invalid value "float" for option "numeric"', "decimal(p,s)",
    ),
    "decimal": (
        {"numeric": "decimal(39,0)"}, INVALID,
        'invalid value "decimal(39,0)" for option "numeric"', "38 digits",
    ),
    "decimal's scale": (
        {"numeric": "decimal(3,4)"}, INVALID,
        'invalid value "decimal(3,4)" for option "numeric"', "38 digits",
    ),
    "decimal's end": (
        {"numeric": "decimal(3,2)x"}, INVALID,
        'invalid value "decimal(3,2)x" for option "numeric"', "38 digits",
    ),
    "uuid": (
        {"uuid": "string"}, INVALID,
        'invalid value "string" for option "uuid"', "",
    ),
    "unrepresentable": (
        {"unrepresentable": "clamp"}, INVALID,
        'invalid value "clamp" for option "unrepresentable"', "",
    ),
    "dictionary of no column": (
        {"dictionary": ["a", "nix"]}, "42703",
        'column "nix" of option "dictionary" does not exist',
        "Name columns of the query's result.",
    ),
    "filter of no column": (
        {"bloom_filter": ["a", "nix"]}, "42703",
        'column "nix" of option "bloom_filter" does not exist',
        "Name columns of the query's result.",
    ),
    "filter of all columns": (
        {"bloom_filter": True}, INVALID,
        'option "bloom_filter" must be an array of column names', "",
    ),
    **{f"csv's {name}": (
        {name: setting}, INVALID,
        f'option "{name}" cannot be used with format "parquet"', "It is for",
    ) for name, setting in {
        "delimiter": ";", "quote": "'", "escape": "\\", "null": "x",
        "header": True, "force_quote": "*",
    }.items()},
    **{f"{name} for csv": (
        {name: setting, "format": "csv"}, INVALID,
        f'option "{name}" cannot be used with format "csv"',
        "It is for format parquet.",
    ) for name, setting in {
        "encodings": "delta", "row_group_rows": 1000, "page_size": "1MB",
        "row_group_size": "8MB", "numeric": "text", "uuid": "text",
        "unrepresentable": "null", "dictionary": True, "bloom_filter": ["a"],
    }.items()},
}


@pytest.mark.parametrize("what", OPTIONS)
def test_options(db, bucket, proxy, proxied, what):
    options, sqlstate, message, hint = OPTIONS[what]
    execute(db, "SET onboard.upload_memory = '64MB'")
    code, diag = land_failure(db, "SELECT 1 AS a", bucket, proxied, options)
    assert (code, diag.message_primary) == (sqlstate, message)
    assert hint in (diag.message_hint or "")
    assert proxy.requests() == []


COLUMNS = {
    "no precision": (
        "SELECT 1.5::numeric AS n", MISMATCH,
        'numeric column "n" has no precision', '"decimal(38,9)"',
    ),
    "no precision inside": (
        "SELECT ARRAY[1.5::numeric] AS n", MISMATCH,
        'numeric column "n" has no precision', '"numeric"',
    ),
    "many digits": (
        "SELECT 1.5::numeric(39,1) AS n", MISMATCH,
        'numeric column "n" has more than 38 digits', '"numeric"',
    ),
    "many zeros": (
        "SELECT 1::numeric(30,-20) AS n", MISMATCH,
        'numeric column "n" has more than 38 digits', '"numeric"',
    ),
    "twice": (
        "SELECT 1 AS a, 2 AS b, 3 AS a", "42701",
        'column name "a" appears more than once',
        "Rename one of the columns with AS.",
    ),
    "no name": (
        "SELECT 1 AS a, 2", "42611",
        "a column of the query's result has no name",
        "Name the column with AS.",
    ),
}


@pytest.mark.parametrize("what", COLUMNS)
def test_columns(db, bucket, proxy, proxied, what):
    query, sqlstate, message, hint = COLUMNS[what]
    code, diag = land_failure(db, query, bucket, proxied, {})
    assert (code, diag.message_primary) == (sqlstate, message)
    assert hint in diag.message_hint
    assert proxy.requests() == []


TYPES_WITHOUT_FILTERS = {
    "boolean": "true", "real": "1.5", "double precision": "1.5",
    "bytea": r"'\x00'", "integer[]": "'{1}'", "pg_attribute": "NULL",
}


@pytest.mark.parametrize("type", [*TYPES_WITHOUT_FILTERS, "numeric"])
def test_types_without_bloom_filters(db, bucket, proxy, proxied, type):
    """A numeric that becomes a floating-point number cannot have one either."""
    options = {"numeric": "double", "bloom_filter": ["b", "v"]}
    code, diag = land_failure(
        db, f"SELECT 1 AS b, {TYPES_WITHOUT_FILTERS.get(type, '1')}::{type} AS v",
        bucket, proxied, options,
    )
    assert (code, diag.message_primary) == (
        MISMATCH, f'column "v" of type {type} cannot have a Bloom filter'
    )
    assert "floating-point" in diag.message_detail
    assert diag.message_hint == 'Leave it out of option "bloom_filter".'
    assert proxy.requests() == []


# name: type, a value that Parquet cannot represent, the reason
VALUES = {
    "NaN": ("numeric(9,2)", "'NaN'", "the value is NaN"),
    "infinite date": ("date", "'infinity'", "the value is an infinite date"),
    "infinite timestamp": (
        "timestamp", "'-infinity'", "the value is an infinite timestamp"
    ),
    "infinite timestamptz": (
        "timestamptz", "'infinity'", "the value is an infinite timestamp"
    ),
    "late timestamp": (
        "timestamp", "'294276-12-31'", "the value is after the year 294246"
    ),
    "24:00": ("time", "'24:00'", "the value is 24:00:00"),
    "dimensions": (
        "int[]", "'{{1},{2}}'", "the value is an array of more than one dimension"
    ),
    "lower bound": (
        "int[]", "'[2:3]={1,2}'", "the value is an array whose lower bound is not 1"
    ),
    "in an array": ("date[]", "'{infinity}'", "the value is an infinite date"),
}


@pytest.mark.parametrize("what", VALUES)
def test_values(db, bucket, rgw, what):
    type, constant, why = VALUES[what]
    query = (
        f"SELECT g AS id, CASE WHEN g = 1234 THEN {constant} END::{type} AS v"
        " FROM generate_series(1, 3000) g"
    )
    error = failure(land, db, "t", query, bucket, format="parquet")
    assert error.pgcode == MISMATCH
    assert error.diag.message_primary == (
        'a value of column "v" cannot be stored in Parquet'
    )
    assert error.diag.message_detail == f"In row 1234, {why}."
    assert '"unrepresentable": "null"' in error.diag.message_hint
    no_trace(rgw, bucket)


@pytest.mark.parametrize("constant,why", [
    ("'Infinity'", "the value is infinite"), ("'NaN'", "the value is NaN"),
    ("1e29", "the value does not fit into decimal(38,9)"),
    ("1e5000", "the value does not fit into decimal(38,9)"),
    ("1e-10", "the value does not fit into decimal(38,9)"),
    ("-1e-5000", "the value does not fit into decimal(38,9)"),
    ("99999999999999999999999999999.9999999999",
     "the value does not fit into decimal(38,9)"),
])
def test_values_of_decimals(db, bucket, rgw, constant, why):
    error = failure(
        land, db, "t", f"SELECT {constant}::numeric AS v", bucket,
        format="parquet", numeric="decimal(38,9)",
    )
    assert error.diag.message_detail == f"In row 1, {why}."
    no_trace(rgw, bucket)


ALTERATIONS = {
    "another type": "ALTER ATTRIBUTE a TYPE int8",
    "another": "ADD ATTRIBUTE b int", "one less": "DROP ATTRIBUTE a",
    "another name": "RENAME ATTRIBUTE a TO b",
}


@pytest.mark.parametrize("column", ["pq_altered", "pq_altered[]"])
@pytest.mark.parametrize("what", ALTERATIONS)
def test_altered_type(db, bucket, rgw, what, column):
    """A function of the query alters the type of the rows that it returns.

    Reading a new row by the old type would expose memory of the backend.
    """
    row = {"one less": "ROW()", "another": "ROW('x', 1)",
           "another type": "ROW(16000)"}.get(what, "ROW('x')")
    wrapped = "ARRAY[{}]" if column.endswith("[]") else "{}"
    first, later = (wrapped.format(f"{value}::pq_altered")
                    for value in ("ROW('x')", row))
    execute(db, f"""
        CREATE TYPE pq_altered AS (a text);
        CREATE FUNCTION pq_alter(g int) RETURNS {column} LANGUAGE plpgsql AS $$
        DECLARE r record;
        BEGIN
            IF g = 2 THEN
                EXECUTE 'ALTER TYPE pq_altered {ALTERATIONS[what]}';
            END IF;
            EXECUTE CASE g WHEN 1 THEN $q$SELECT {first} AS v$q$
                ELSE $q$SELECT {later} AS v$q$ END INTO r;
            RETURN r.v;
        END $$""")
    try:
        error = failure(
            land, db, "t", "SELECT pq_alter(g) AS v FROM generate_series(1, 3) g",
            bucket, format="parquet",
        )
        assert (error.pgcode, error.diag.message_primary) == (
            "55000",
            'type pq_altered of column "v" was altered during the export',
        )
        no_trace(rgw, bucket)
    finally:
        execute(db, "DROP TYPE pq_altered CASCADE")


def test_altered_storage_parameter(db, bucket):
    """An invalidation of the type cache without a change of the type is no error."""
    execute(db, """
        CREATE TABLE pq_rows (a int, b text);
        CREATE FUNCTION pq_touch(g int) RETURNS pq_rows LANGUAGE plpgsql AS $$
        BEGIN
            IF g % 2 = 0 THEN
                EXECUTE 'ALTER TABLE pq_rows SET (fillfactor = ' || 50 + g || ')';
            END IF;
            RETURN ROW(g, 'x')::pq_rows;
        END $$""")
    try:
        row = land(
            db, "t", "SELECT pq_touch(g) AS v FROM generate_series(1, 9) g",
            bucket, format="parquet",
        )
        assert row["status"] == "done"
    finally:
        execute(db, "DROP TABLE pq_rows CASCADE")


def test_too_many_fields(db, bucket, proxy, proxied):
    """Nested composite types, each of which has twice the fields of the one in it.
    """
    execute(db, """
        CREATE SCHEMA pq_deep;
        CREATE TYPE pq_deep.t0 AS (a int, b int);
        DO $$ BEGIN
            FOR i IN 1..16 LOOP
                EXECUTE format('CREATE TYPE pq_deep.t%1$s AS'
                    ' (a pq_deep.t%2$s, b pq_deep.t%2$s)', i, i - 1);
            END LOOP;
        END $$""")
    try:
        code, diag = land_failure(
            db, "SELECT NULL::pq_deep.t16 AS a", bucket, proxied, {}
        )
        assert (code, diag.message_primary) == (
            "54011", "the query's result has too many columns for Parquet"
        )
        assert "16384" in diag.message_detail
        assert "text" in diag.message_hint
        assert proxy.requests() == []
    finally:
        with db.cursor() as cursor:
            for i in range(16, -1, -1):
                cursor.execute(f"DROP TYPE pq_deep.t{i}")
            cursor.execute("DROP SCHEMA pq_deep")


# ---- databases of other encodings ----


@pytest.fixture
def other(pg, rgw, canaries, request):
    """A session in a database of another encoding."""
    name = f"pq_{request.param.lower()}"
    pg.psql(f"CREATE DATABASE {name} ENCODING {request.param} LOCALE 'C'"
            " TEMPLATE template0")
    pg.psql("CREATE EXTENSION onboard", name)
    from conftest import Server

    Server(pg, canaries)(
        rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3", dbname=name
    )
    connection = pg.connect(name)
    yield connection
    connection.close()
    pg.psql(f"DROP DATABASE {name}")


@pytest.mark.parametrize("other", ["LATIN1"], indirect=True)
def test_latin1(parquet, other):
    parquet.db = other
    execute(other, "CREATE TYPE pq_colour AS ENUM (E'gr\\xfcn', 'rot');"
            "CREATE TABLE pq_words (id int, E text)".replace(" E ", " e "))
    execute(other, r"INSERT INTO pq_words SELECT g, repeat(chr(224 + g), 40)"
            " FROM generate_series(1, 30) g")
    file = parquet.check(
        "SELECT id, e, e::varchar(9) AS v, e::name AS n, to_json(e) AS j,"
        " ARRAY[e] AS a, enum_last(NULL::pq_colour) AS last,"
        " enum_first(NULL::pq_colour) AS \"f\u00fcr\" FROM pq_words ORDER BY id",
    )
    assert file.kinds()[-1] == ["f\u00fcr", "text"]


@pytest.mark.parametrize("other", ["SQL_ASCII"], indirect=True)
def test_sql_ascii(parquet, other, rgw):
    """Valid UTF-8 is exported unchanged; every other text is an error."""
    execute(other, "SET client_encoding = SQL_ASCII")
    parquet.db = other
    file = parquet.land(r"SELECT 1 AS id, E'\303\274 \342\202\254' AS t, 'x' AS u")
    assert file.leaves[1].values == ["\u00fc \u20ac".encode()]
    error = failure(
        land, other, "t", r"SELECT g AS id, CASE WHEN g = 7 THEN E'a\374'"
        " ELSE 'x' END AS t FROM generate_series(1, 9) g",
        parquet.bucket, format="parquet", key="k",
    )
    assert error.pgcode == "22021"
    assert 'row 7, column "t"' in error.diag.context
    assert "k" not in keys(rgw.s3, parquet.bucket)


# ---- errors, cancel and termination during an export ----

# Rows that fill several row groups and parts, with a value to be chosen.
ROWS = (
    "SELECT g AS id, md5(g::text) || md5((-g)::text) || repeat('x', g % 9) AS t,"
    " {} AS v FROM generate_series(1, 300000) g"
)
SMALL = {
    "format": "parquet", "compression": "none", "dictionary": False,
    "row_group_size": "1MB", "part_size": "5MB",
}


def test_error_at_a_row(db, bucket, rgw):
    query = ROWS.format("1 / (g - 250000)")
    error = failure(land, db, "t", query, bucket, **SMALL)
    assert error.pgcode == "22012"
    no_trace(rgw, bucket)


@pytest.mark.parametrize("function", ["pg_cancel_backend", "pg_terminate_backend"])
@pytest.mark.parametrize("where", ["query", "upload"])
def test_cancel_and_terminate(
    pg, db, observer, bucket, rgw, proxy, proxied, function, where
):
    victim = pg.connect("onboard")
    if where == "query":
        query = ROWS.format(
            "CASE g WHEN 250000 THEN pg_sleep(300)::text END"
        )
        rule = None
    else:
        query = ROWS.format("1")
        rule = proxy.rule("PUT", "partNumber=2", hold=True, when="request")
    statement = call("t", query, bucket, server=proxied, **SMALL)
    with Running(victim, *statement) as export:
        if rule:
            rule.wait()
            wait_for_network(observer, export.pid)
        else:
            wait_for_sleep(observer)
        select(observer, f"SELECT {function}({export.pid})")
        error = export.error()
        if rule:
            rule.release()
    assert error.pgcode in ("57014", "57P01", None)
    no_trace(rgw, bucket)
    victim.close()


# Compression at level 19 takes more than ten seconds.
SLOW = {
    "format": "parquet", "compression_level": 19, "part_size": "5MB",
    "row_group_size": "1MB",
}


@pytest.fixture(scope="module")
def slow_table(pg):
    pg.psql("CREATE TABLE pq_slow AS SELECT md5(g::text) || md5((-g)::text) AS t"
            " FROM generate_series(1, 500000) g; ANALYZE pq_slow", "onboard")
    yield "TABLE pq_slow"
    pg.psql("DROP TABLE pq_slow", "onboard")


WORKERS = "SELECT pid FROM pg_stat_activity WHERE leader_pid = %s AND pid <> %s"


@pytest.mark.parametrize("function,workers,target", [
    ("pg_cancel_backend", 0, "leader"),
    ("pg_terminate_backend", 0, "leader"),
    ("pg_cancel_backend", 2, "leader"),
    ("pg_terminate_backend", 2, "leader"),
    ("pg_terminate_backend", 2, "worker"),
])
def test_cancel_and_terminate_while_compressing(
    pg, observer, bucket, rgw, slow_table, show, function, workers, target
):
    """After the first part, at the slowest level."""
    victim = pg.connect("onboard")
    execute(victim, EAGER)
    statement = call("t", slow_table, bucket, parallel=workers or "off", **SLOW)
    with Running(victim, *statement) as export:
        process.wait_until(lambda: rgw.unfinished(bucket), 120, "an upload")
        pid = export.pid
        if workers:
            found = process.wait_until(
                lambda: select(observer, WORKERS, (pid, pid)), 30, "workers run"
            )
            pid = found[0]["pid"] if target == "worker" else pid
        export.assert_running()
        begin = time.monotonic()
        select(observer, f"SELECT {function}({pid})")
        error = export.error()
        show(f"{function}, {workers} workers: {time.monotonic() - begin:.2f} s")
    assert error.pgcode in ("57014", "57P01", None)
    no_trace(rgw, bucket)
    process.wait_until(
        lambda: not select(observer, WORKERS, (export.pid, export.pid)), 30,
        "no worker is left",
    )
    victim.close()


# ---- beside the other features ----


@contextlib.contextmanager
def table(db, name, definition):
    execute(db, f"CREATE TABLE {name} {definition}; ANALYZE {name}")
    try:
        yield
    finally:
        execute(db, f"DROP TABLE {name}")


def test_publish_together(db, s3, registry, bucket, parquet):
    """A run of two formats that is published together, with a manifest."""
    for name, options in (("a", {}), ("b", {"format": "csv"})):
        registry(
            name, f"SELECT g AS id, '{name}' AS t FROM generate_series(1, 9) g",
            bucket, **{"format": "parquet", **options},
        )
    found = select(
        db, "SELECT * FROM onboard_all(NULL, %s) ORDER BY name",
        (json.dumps({"publish": "together", "manifest": True}),),
    )
    assert [row["status"] for row in found] == ["done", "done"]
    assert found[0]["uri"].endswith("/a_data.parquet")
    key = found[0]["uri"].split("/", 3)[3]
    head = s3.head_object(Bucket=bucket, Key=key)
    assert head["ContentType"] == "application/vnd.apache.parquet"
    file = parquet.landed(found[0]["uri"])
    parquet.compare(file, "SELECT g AS id, 'a' AS t FROM generate_series(1, 9) g")
    manifest = json.loads(s3.get_object(
        Bucket=bucket, Key=f"_onboard/{found[0]['run_id']}/manifest.json"
    )["Body"].read())
    (table,) = [t for t in manifest["tables"] if t["name"] == "a"]
    assert "parquet" in json.dumps(table)
    properties = file.properties()
    assert (properties["onboard.run_id"], properties["onboard.lsn"]) == (
        manifest["run_id"], manifest["lsn"]
    )


@pytest.mark.parametrize("tables", [0, 2], ids=["serial", "workers"])
def test_tables(db, registry, bucket, parquet, tables):
    execute(db, f"SET onboard.parallel_tables = {tables}")
    queries = {
        name: f"SELECT g AS id, '{name}' || g AS t, ARRAY[g, NULL] AS a"
        f" FROM generate_series(1, {rows}) g"
        for name, rows in (("a", 10), ("b", 5000), ("c", 100))
    }
    for name, query in queries.items():
        registry(name, query, bucket, format="parquet", row_group_rows=1000)
    for row in select(db, "SELECT * FROM onboard_all()"):
        assert row["status"] == "done", row
        parquet.compare(parquet.landed(row["uri"]), queries[row["name"]])


def test_job(db, bucket, parquet):
    query = "SELECT g AS id, g::numeric(20,2) / 2 AS n FROM generate_series(1, 99) g"
    query = f"SELECT id, n::numeric(20,2) AS n FROM ({query}) q"
    run_id = value(
        db, "SELECT onboard_submit('job', %s, %s, %s)",
        (query, bucket, json.dumps({"format": "parquet"})),
    )
    (row,) = select(db, "SELECT * FROM onboard_wait(%s, '60s')", (run_id,))
    assert row["status"] == "done"
    (key,) = keys(parquet.s3, bucket)
    parquet.compare(parquet.landed(f"s3://{bucket}/{key}"), query)


def test_increments(db, registry, bucket, parquet):
    options = {
        "format": "parquet", "key": "{name}/{run_id}.{ext}",
        "watermark": {"column": "id"},
    }
    with table(db, "pq_growing", "(id int, at timestamptz)"):
        select(
            db, "INSERT INTO onboard_tables VALUES (%s, NULL, %s, %s)",
            ("pq_growing", bucket, json.dumps(options)),
        )
        for first in (1, 101, 201):
            execute(db, "INSERT INTO pq_growing SELECT g, '2024-01-01 00:00+00'"
                    f" FROM generate_series({first}, {first + 99}) g")
            (row,) = select(db, "SELECT * FROM onboard_all()")
            assert (row["status"], row["rows"]) == ("done", 100)
            parquet.compare(
                parquet.landed(row["uri"]),
                f"SELECT * FROM pq_growing WHERE id >= {first}", in_order=False,
            )
        (row,) = select(db, "SELECT * FROM onboard_all()")
        assert row["status"] == "empty"


@pytest.mark.parametrize("width,options", [
    (1, {"row_group_rows": 1500}),
    (1, {}),
    (1, {"row_group_rows": 1500, "bloom_filter": ["id", "t", "n"]}),
    # parts of several row groups, and row groups of several parts
    (64, {"row_group_size": "1MB", "part_size": "5MB"}),
    (64, {"row_group_size": "1MB", "part_size": "5MB",
          "bloom_filter": ["id", "t", "n"]}),
    (64, {"row_group_size": "7MB", "part_size": "5MB"}),
], ids=str)
@pytest.mark.parametrize("parallel", ["auto", 2])
def test_parallel(db, parquet, width, options, parallel):
    """Parallel workers write whole row groups into one file."""
    with table(
        db, "pq_big", f"AS SELECT g AS id, repeat(md5(g::text), {width}) AS t,"
        " ARRAY[g, NULL] AS a, CASE WHEN g % 3 > 0 THEN g / 4.0"
        " END::numeric(20,2) AS n FROM generate_series(1, 12000) g",
    ):
        execute(db, EAGER)
        sink = value(db, "SELECT line FROM onboard_explain('TABLE pq_big', %s)"
                     " line LIMIT 1", (json.dumps({"format": "parquet"}),))
        assert sink.startswith("Sink: below Gather")
        file = parquet.land(
            "TABLE pq_big", parallel=parallel, compression="none",
            dictionary=False, **options,
        )
        parquet.compare(
            file, "SELECT * FROM pq_big ORDER BY id", in_order=False
        )
        if options:
            assert len(file.groups) > 2
        if "bloom_filter" in options:
            assert {name: len(found) for name, found in file.filters.items()} == {
                name: len(file.groups) for name in options["bloom_filter"]
            }
            (found,) = parquet.query(
                "SELECT count(*) FROM %s WHERE id = 7000 AND n IS NOT NULL"
            )
            assert found == ["1"]
        assert set(file.properties()) >= {"onboard.run_id", "onboard.lsn"}


def test_parallel_without_rows(db, parquet):
    with table(db, "pq_none", "(id int, t text[])"):
        execute(db, EAGER)
        file = parquet.check("TABLE pq_none", parallel=2)
        assert file.groups == []


@pytest.mark.parametrize("where", [1, 15000])
def test_parallel_fails(db, bucket, rgw, where):
    """A worker gets a value that Parquet cannot represent."""
    with table(
        db, "pq_bad", "AS SELECT g AS id, repeat(md5(g::text), 20) AS t,"
        f" CASE g WHEN {where} THEN 'infinity' END::date AS d"
        " FROM generate_series(1, 20000) g",
    ):
        execute(db, EAGER)
        error = failure(
            land, db, "t", "TABLE pq_bad", bucket, parallel=2, **SMALL
        )
    assert error.pgcode == MISMATCH
    assert "the value is an infinite date" in error.diag.message_detail
    no_trace(rgw, bucket)


def test_explain_and_check(db, registry, bucket):
    options = json.dumps({"format": "parquet"})
    lines = select(
        db, "SELECT * FROM onboard_explain('SELECT 1 AS a', %s)", (options,)
    )
    assert lines[0]["onboard_explain"].startswith("Sink: ")
    found = select(
        db, "SELECT * FROM onboard_check(%s, %s)", (bucket, options)
    )
    assert not [row for row in found if row["ok"] is False], found
    error = failure(
        select, db, "SELECT * FROM onboard_check(%s, %s)",
        (bucket, json.dumps({"format": "parquet", "header": True})),
    )
    assert error.diag.message_primary == (
        'option "header" cannot be used with format "parquet"'
    )
