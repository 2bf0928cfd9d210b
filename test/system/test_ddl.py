"""onboard_ddl(): its statements, run by DuckDB and ClickHouse as they are.

ClickHouse reads the objects from the store; DuckDB cannot without an extension
that has to be downloaded, so it reads copies of them, in a folder that stands
for the bucket.
"""

import decimal
import json
import re

import psycopg2.errors
import pytest

from landing import copy, execute, land
from lib import clickhouse as engine
from lib.parquet import array_text, copied, row_text

SCHEMA = """
    CREATE TYPE ddl_mood AS ENUM ('sad', 'so, so', 'quo"te');
    CREATE TYPE ddl_pair AS (number int, "a, name" text);
    CREATE DOMAIN ddl_amount AS numeric(12,2);
    CREATE TABLE ddl_zoo (
        i2 smallint, i4 int, i8 bigint, o oid, f4 real, f8 double precision,
        n numeric(12,3), amount ddl_amount, b boolean, t text, v varchar(40),
        mood ddl_mood, d date, tm time, ts timestamp, tz timestamptz, u uuid,
        by bytea, j jsonb, span interval, texts text[], numbers int[],
        pair ddl_pair);
    INSERT INTO ddl_zoo VALUES (
        -32768, 2147483647, -9223372036854775808, 4294967295, 1.5, -0.1,
        123456789.001, 12.50, true, 'a "quoted", text', 'x', 'so, so',
        '2026-01-31', '23:59:59.999999', '2026-01-31 12:00:00.5',
        '2026-01-31 12:00:00+02', '00000000-0000-0000-0000-00000000000f',
        '\\x00ff', '{"a": [1, null], "b": "x"}', '1 day 02:03:04',
        '{a,NULL,"b, c",""}', '{1,NULL,3}', '(1,"a ""b"" c")');
    INSERT INTO ddl_zoo (i4, t, v, b, n, texts, pair) VALUES
        (0, '', E'line\\nbreak', false, 0, '{}', '(,)'),
        (1, ' ', '\\N', NULL, -0.5, '{x}', NULL),
        (2, E'tab\\tand \\\\', E'\\u20ac \\U0001F600', true, NULL, NULL, NULL),
        (3, '\\', '\\.', true, NULL, NULL, NULL),
        (4, '''', '`', true, NULL, NULL, NULL);
    INSERT INTO ddl_zoo (i4) VALUES (NULL);
"""
DROPPED = """
    DROP TABLE ddl_zoo; DROP DOMAIN ddl_amount; DROP TYPE ddl_pair, ddl_mood
"""


@pytest.fixture(scope="module", autouse=True)
def zoo(pg):
    connection = pg.connect("onboard")
    execute(connection, SCHEMA)
    yield
    execute(connection, DROPPED)
    connection.close()


def ddl(db, query, bucket, dialect, name="t", **options):
    return execute(
        db, "SELECT onboard_ddl(%s, %s, %s, %s, %s)",
        (name, query, bucket, json.dumps(options), dialect))[0][0]


def expected(db, query):
    return copied(copy(db, query, format="text", encoding="UTF8"))


def text_of(value):
    """A value of JSON without white space, so that two writers agree."""
    return None if value is None else json.dumps(json.loads(value))


# ---- DuckDB ----


class DuckDB:
    def __init__(self, db, s3, bucket, readers, folder):
        self.db, self.s3, self.bucket = db, s3, bucket
        self.readers, self.folder = readers, folder

    def download(self):
        for item in self.s3.list_objects_v2(Bucket=self.bucket)["Contents"]:
            path = self.folder / item["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            self.s3.download_file(self.bucket, item["Key"], str(path))

    def read(self, query, name="t", **options):
        """The columns that the statement finds."""
        assert land(self.db, query, self.bucket, name, **options).status == "done"
        self.download()
        statement = ddl(self.db, query, self.bucket, "duckdb", name, **options)
        place = f"'s3://{self.bucket}/"
        assert statement.count(place) == 1
        self.readers.query(statement.replace(place, f"'{self.folder}/"))
        view = '"' + name.replace('"', '""') + '"'
        found = self.readers.columns(f"SELECT * FROM {view}")
        self.readers.query(f"DROP VIEW {view}")
        return found

    def check(self, query, json_columns=(), **options):
        """The statement must give COPY's rows; returns the kinds."""
        columns = self.read(query, **options)
        found = [column.texts for column in columns]
        rows = [list(row) for row in zip(*found)]
        wanted = expected(self.db, query)
        for i, column in enumerate(columns):
            if column.name in json_columns:
                for row in (*rows, *wanted):
                    row[i] = text_of(row[i])
        assert sorted(rows, key=repr) == sorted(wanted, key=repr)
        return {column.name: column.kind for column in columns}


@pytest.fixture
def duckdb(db, s3, bucket, readers, tmp_path):
    return DuckDB(db, s3, bucket, readers, tmp_path)


KINDS = {
    "i2": "int", "i4": "int", "i8": "int", "o": "int", "f4": "float4",
    "f8": "float8", "n": "decimal(12,3)", "amount": "decimal(12,2)", "b": "bool",
    "t": "text", "v": "text", "mood": "text", "d": "date", "tm": "time",
    "ts": "timestamp", "tz": "timestamptz", "u": "uuid", "j": "text",
    "span": "text",
}


@pytest.mark.parametrize("options", [
    {"compression": "none"}, {"compression": "gzip", "header": False},
    {"compression": "zstd", "delimiter": ";", "null": "\\N", "quote": "'"},
    {"delimiter": "\t", "escape": "\\", "force_quote": "*", "null": "NULL"},
    {"delimiter": "\x01", "quote": "\x02", "null": "it's \\ null"},
], ids=lambda options: "-".join(options))
def test_duckdb_csv(duckdb, options):
    kinds = duckdb.check("SELECT * FROM ddl_zoo", **options)
    assert kinds == {**KINDS, "by": "text", "texts": "text", "numbers": "text",
                     "pair": "text"}


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_duckdb_jsonl(duckdb, compression):
    kinds = duckdb.check("SELECT * FROM ddl_zoo", json_columns=["j"],
                         format="jsonl", compression=compression)
    assert kinds == {
        **KINDS, "by": "text", "texts": {"list": "text"},
        "numbers": {"list": "int"},
        "pair": {"row": [["number", "int"], ["a, name", "text"]]}}


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4"])
def test_duckdb_parquet(duckdb, compression):
    kinds = duckdb.check("SELECT * FROM ddl_zoo", format="parquet",
                         encodings="delta", compression=compression)
    assert kinds == {
        **KINDS, "by": "bytes", "texts": {"list": "text"},
        "numbers": {"list": "int"},
        "pair": {"row": [["number", "int"], ["a, name", "text"]]}}


# ---- ClickHouse ----


@pytest.fixture(scope="module")
def clickhouse(rgw):
    if not engine.available():
        pytest.skip(engine.UNAVAILABLE)
    with engine.ClickHouse(rgw.access_key, rgw.secret_key) as process:
        yield process


TYPES = {
    "i2": "Int16", "i4": "Int32", "i8": "Int64", "o": "Int64", "f4": "Float32",
    "f8": "Float64", "n": "Decimal(12, 3)", "amount": "Decimal(12, 2)",
    "b": "Bool", "t": "String", "v": "String", "mood": "String", "d": "Date32",
    "tm": "String", "ts": "DateTime64(6, 'UTC')", "tz": "DateTime64(6, 'UTC')",
    "u": "UUID", "by": "String", "j": "String", "span": "String",
}
FLAT = {**TYPES, "texts": "String", "numbers": "String", "pair": "String"}
NESTED = {
    "texts": "Array(Nullable(String))", "numbers": "Array(Nullable(Int32))",
    "pair": "Tuple(number Nullable(Int32), `a, name` Nullable(String))",
}


def nullable(types):
    return {name: type if type in NESTED.values() else f"Nullable({type})"
            for name, type in types.items()}


def as_copy(name, type, value):
    """A value of ClickHouse as COPY writes it."""
    if value is None:
        return None
    if type.startswith("Array"):
        return array_text("text", [v if v is None else str(v) for v in value])
    if type.startswith("Tuple"):
        return row_text({"row": [["", "text"]] * len(value)},
                        [v if v is None else str(v) for v in value])
    if "Decimal" in type:
        scale = int(re.search(r", (\d+)\)", type)[1])
        return f"{decimal.Decimal(value):.{scale}f}"
    if "DateTime64" in type:
        value = value.rstrip("0").rstrip(".")
        return value + "+00" if name == "tz" else value
    return {True: "t", False: "f"}[value] if type == "Nullable(Bool)" else str(value)


class Clicks:
    def __init__(self, clickhouse, db, bucket):
        self.clickhouse, self.db, self.bucket = clickhouse, db, bucket

    def read(self, query, name="t", select="*", **options):
        """Names, types and rows that the statement finds."""
        assert land(self.db, query, self.bucket, name, **options).status == "done"
        self.clickhouse.run(
            ddl(self.db, query, self.bucket, "clickhouse", name, **options))
        quoted = "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
        try:
            return self.clickhouse.rows(f"SELECT {select} FROM {quoted}")
        finally:
            self.clickhouse.run(f"DROP TABLE {quoted}")

    def check(self, query, types, instead_of_null=(), changed=(), **options):
        """The statement must give COPY's rows and these types."""
        names, found_types, found = self.read(query, **options)
        assert dict(zip(names, found_types)) == nullable(types)
        rows = [[as_copy(*value) for value in zip(names, found_types, row)]
                for row in found]
        wanted = expected(self.db, query)
        for i, name in enumerate(names):
            for row in wanted:
                if row[i] is None:
                    row[i] = dict(instead_of_null).get(name)
            if name in changed:
                for row in (*rows, *wanted):
                    row[i] = changed[name](row[i])
        assert sorted(rows, key=repr) == sorted(wanted, key=repr)


@pytest.fixture
def clicks(clickhouse, db, bucket):
    return Clicks(clickhouse, db, bucket)


@pytest.mark.parametrize("options", [
    {"compression": "none"}, {"compression": "gzip", "header": False},
    {"compression": "zstd", "delimiter": ";", "force_quote": ["t", "i4", "d"]},
    {"compression": "lz4", "delimiter": "\x01"},
    {"format": "text"}, {"format": "text", "null": "it's \\\\", "header": True},
], ids=lambda options: "-".join(options))
def test_clickhouse_csv(clicks, options):
    query, types = "SELECT * FROM ddl_zoo", FLAT
    if "force_quote" in options:  # a boolean in quotes is refused
        query = "SELECT t, i4, d FROM ddl_zoo"
        types = {name: FLAT[name] for name in ("t", "i4", "d")}
    clicks.check(query, types, **options)


# ClickHouse has no nulls of these types.
NO_NULLS = {"texts": "{}", "numbers": "{}", "pair": "(,)"}


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "lz4"])
def test_clickhouse_jsonl(clicks, compression):
    clicks.check("SELECT * FROM ddl_zoo", {**TYPES, **NESTED}, NO_NULLS,
                 changed={"j": text_of}, format="jsonl", compression=compression)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4"])
def test_clickhouse_parquet(clicks, compression):
    clicks.check(
        "SELECT * FROM ddl_zoo", {**TYPES, **NESTED, "tm": "Time64(6)"}, NO_NULLS,
        select="* REPLACE (concat('\\\\x', lower(hex(by))) AS by)", format="parquet",
        encodings="delta", compression=compression)


# ---- names, keys and delimiters of attackers ----

HOSTILE = [
    '"', "'", "`", "\\", "a\nb", "\r", "\t", "\x01", "\x7f", "--", "/* ", ";",
    '"; DROP TABLE victim; --', "'); DROP TABLE victim; --",
    "`) ENGINE = Memory; DROP TABLE victim; --", "\\'); DROP TABLE victim; --",
    "\\\\'", "$$", "%s%n", "\u20ac\U0001f600", "\u00e9" * 31, "x" * 63, "a,b", "a b ",
    " a", "{a: 1}", "a INTEGER, b", "Nullable(x", ":", "=", "*", "?", "\ufeffa", "A",
]


TABLES = ["t", '"', "'", "`", "\\", "a\nb", "\\'); DROP TABLE victim; --", "\u20ac"]


def identifier(name):
    return '"' + name.replace('"', '""') + '"'


def hostile_query():
    columns = ", ".join(
        f"{i} AS {identifier(name)}" for i, name in enumerate(HOSTILE))
    fields = ", ".join(f"{identifier(name)} int" for name in HOSTILE)
    return columns, fields


def json_safe():
    return ", ".join(
        f"{i} AS {identifier(name)}" for i, name in enumerate(HOSTILE)
        if min(name) >= " ")


@pytest.fixture
def hostile(db):
    columns, fields = hostile_query()
    execute(db, f"CREATE TYPE ddl_hostile AS ({fields})")
    yield columns
    execute(db, "DROP TYPE ddl_hostile")


NUMBERS = list(range(len(HOSTILE)))


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_hostile_names_in_duckdb(duckdb, hostile, format):
    row = ", ".join(map(str, NUMBERS))
    query = f"SELECT {hostile}, ROW ({row})::ddl_hostile AS whole"
    for name in TABLES:
        *columns, whole = duckdb.read(query, name=name, format=format)
        assert [column.name for column in columns] == HOSTILE
        assert [column.values for column in columns] == [[str(n)] for n in NUMBERS]
        if format == "csv":
            assert whole.kind == "text"
        else:
            assert whole.kind == {"row": [[name, "int"] for name in HOSTILE]}


@pytest.mark.parametrize("format", ["csv", "text", "jsonl", "parquet"])
def test_hostile_names_in_clickhouse(clicks, hostile, format):
    clicks.clickhouse.run("CREATE OR REPLACE TABLE victim (n Int32) ENGINE = Memory")
    row = ", ".join(map(str, NUMBERS))
    query = f"SELECT {hostile}, ROW ({row})::ddl_hostile AS whole"
    if format == "jsonl":
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match="control"):
            clicks.read(query, format=format)
        query = f"SELECT {json_safe()}"
    for name in TABLES:
        names, types, rows = clicks.read(query, name=name, format=format)
        if format == "jsonl":
            assert rows == [[HOSTILE.index(name) for name in names]]
            continue
        assert names == [*HOSTILE, "whole"]
        assert rows[0][:-1] == NUMBERS
        if format == "parquet":
            assert rows[0][-1] == NUMBERS
    assert clicks.clickhouse.run("SELECT count() FROM victim") == "0\n"
    clicks.clickhouse.run("DROP TABLE victim")


KEYS = [
    "{name}/it's \"{name}\"'.{ext}", "a b/%20/%2B+&=#;,/{name}.{ext}",
    "'); DROP TABLE victim; --/{name}", "{name}/\u20ac \U0001f600.{ext}",
    "a-b/dt=~.ext_/{name}_{run_id}.{ext}", "a b/{name}_{run_id}.{ext}",
    "{{a}}/{name}.{ext}", "*/[a-z]/{name}[b]*.{ext}", "[*]/{name}_{run_id}.{ext}",
    "{name}", "~/$(x)/`y`/{name}",
]


@pytest.mark.parametrize("key", KEYS)
def test_hostile_keys(duckdb, clicks, key):
    """Characters of the patterns of ClickHouse are refused."""
    query, options = "SELECT 1 AS a", {"key": key}
    (column,) = duckdb.read(query, **options)
    assert column.texts == ["1"]
    refused = None
    if "*" in key or "{{" in key:
        refused = "one of \\*\\?{}, which"
    elif "run_id" in key and " " in key:
        refused = "characters that its URL with wildcards"
    if refused:
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match=refused):
            clicks.read(query, **options)
    else:
        runs = 2 if "run_id" in key else 1  # DuckDB's, and this one
        assert clicks.read(query, **options)[2] == [[1]] * runs


@pytest.mark.parametrize("key", ["?/{name}", "{name}?s3_endpoint=x", "a\\b/{name}"])
def test_keys_that_duckdb_cannot_read(duckdb, key):
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="DuckDB"):
        duckdb.read("SELECT 1 AS a", key=key)


def test_no_wildcard_begins_parameters(db, bucket):
    """DuckDB's URLs of S3 end at a question mark, unlike paths of files."""
    found = ddl(db, "SELECT 1 AS a", bucket, "duckdb", key="{name}_{date}_{run_id}")
    assert "?" not in found


@pytest.mark.parametrize("delimiter", [";", "|", "'", "\\", "\t", "\x01", "\x7f", " "])
def test_delimiters(duckdb, clicks, delimiter):
    query = "SELECT E'a;|''\\\\\\t\\x01\\x7f \"' AS a, NULL AS b, 'x' AS c"
    wanted = 'a;|\'\\\t\x01\x7f "'
    columns = duckdb.read(query, delimiter=delimiter)
    assert [column.values for column in columns] == [[wanted], [None], ["x"]]
    if delimiter in "'\t ":
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match="delimiter"):
            clicks.read(query, delimiter=delimiter)
    else:
        assert clicks.read(query, delimiter=delimiter)[2] == [[wanted, None, "x"]]


def test_a_null_alone_in_its_row(duckdb, clicks):
    """csv has an empty line for it, which some engines skip."""
    query = "SELECT * FROM (VALUES ('x'), (NULL), ('')) v (a)"
    (column,) = duckdb.read(query)
    assert sorted(column.values, key=repr) == ["", "x", None]
    rows = clicks.read(query)[2]
    assert sorted(rows, key=repr) == [[""], ["x"], [None]]


@pytest.fixture
def latin1(pg):
    name = "in_ddl"
    pg.psql(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    pg.psql("CREATE EXTENSION onboard", name)
    yield name
    pg.psql(f"DROP DATABASE {name} WITH (FORCE)")


def test_delimiter_that_is_not_ascii(pg, latin1, rgw, make_server):
    """It is one byte in this database, and in the object, whose other texts
    are in UTF-8."""
    make_server(rgw.endpoint, rgw.access_key, rgw.secret_key, name="s3", dbname=latin1)
    connection = pg.connect(latin1)
    options = {"encoding": "UTF8"}
    for option in ("delimiter", "quote", "escape"):
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match="ASCII"):
            ddl(connection, "SELECT 1 AS a", "lake", "duckdb", **options,
                **{option: "\u00a7"})
    found = ddl(connection, "SELECT 1 AS a", "lake", "duckdb", **options, null="\u00a7")
    assert "nullstr = '\u00a7'" in found
    connection.close()


# ---- which files are read ----


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_files_of_other_exports_are_left_out(duckdb, clicks, format):
    """Files of all runs of the export, and nothing else in the directory."""
    options = {"key": "lake/{name}_{date}_{run_id}.{ext}", "format": format}
    for name in ("u", "t_x", "t"):
        land(duckdb.db, "SELECT 1 AS n", duckdb.bucket, name, **options)
    for key in ("lake/_schema.json", "lake/t_2026-01-01_x.csv"):
        duckdb.s3.put_object(Bucket=duckdb.bucket, Key=key, Body=b"{")
    (column,) = duckdb.read("SELECT 2 AS n", as_of="2026-01-31", **options)
    assert sorted(column.values) == ["1", "2"]
    rows = clicks.read("SELECT 3 AS n", **options)[2]
    assert sorted(rows) == [[1], [2], [3]]


def test_directories_of_dates(duckdb):
    """The statement is that of the moment of its call."""
    for day in ("2026-01-30", "2026-01-31"):
        (column,) = duckdb.read(
            f"SELECT '{day}'::date AS d", key="{name}/dt={date}/{name}.{ext}",
            as_of=day)
        assert column.texts == [day] and column.name == "d"


# ---- errors ----


@pytest.mark.parametrize("code, query, options, dialect", [
    ("0A000", "SELECT 1 AS a", {"format": "binary"}, "duckdb"),
    ("22023", "SELECT 1 AS a", {}, "sqlite"),
    ("22023", "SELECT 1 AS a", {"key": "{run_id}/{name}"}, "duckdb"),
    ("22004", "SELECT 1 AS a", {}, None),
    ("42611", "SELECT 1", {}, "duckdb"),
    ("42701", "SELECT 1 AS a, 2 AS a", {}, "duckdb"),
])
def test_errors(db, bucket, code, query, options, dialect):
    with pytest.raises(psycopg2.Error) as raised:
        ddl(db, query, bucket, dialect, **options)
    assert raised.value.pgcode == code
    assert raised.value.diag.message_hint


def test_of_a_role(db, bucket):
    """It needs the privileges of an export, and shows no credentials."""
    execute(db, "CREATE ROLE ddl_role")
    try:
        execute(db, "SET ROLE ddl_role")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            ddl(db, "SELECT 1 AS a", bucket, "duckdb")
        execute(db, "RESET ROLE; GRANT USAGE ON FOREIGN SERVER s3 TO ddl_role")
        execute(db, "SET ROLE ddl_role")
        with pytest.raises(psycopg2.errors.UndefinedObject):
            ddl(db, "SELECT 1 AS a", bucket, "duckdb")
    finally:
        execute(db, "RESET ROLE; DROP OWNED BY ddl_role; DROP ROLE ddl_role")


@pytest.mark.parametrize("dialect", [
    "athena", "bigquery", "clickhouse", "duckdb", "glue", "redshift",
    "redshift_spectrum", "snowflake", "spark",
])
def test_no_credentials(db, bucket, rgw, dialect):
    found = ddl(db, "SELECT 1 AS a", bucket, dialect, format="parquet")
    assert rgw.access_key not in found and rgw.secret_key not in found
