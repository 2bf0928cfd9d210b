"""PostgreSQL's types in Parquet, at their limits, with all readers.

A table has a column for each type, with the values of a list and nulls.  Files are
checked against the specification, and the text of each value is compared with
COPY's.
"""

import csv
import io
import json

import pytest

from landing import execute
from lib.parquet_file import (
    COMPATIBLE, DELTA, DELTA_LENGTH, PLAIN, RLE_DICTIONARY, SPLIT,
)

ROWS = 300

TEXTS = [
    "", "a", " ", "\\", "\n", "\t", "NULL", "\\N", "\x01", "\x7f", "e\u0301",
    "\u20ac", "\U0001f600", "\U0010ffff", "x" * 63, "x" * 64, "x" * 65,
    "x" * 200, "\u00e9" * 32, "\u00e9" * 33, "x" + "\u00e9" * 40,
    "\U0010ffff" * 20, "\x7f" * 70, "\ud7ff" * 30, "\uffff" * 30,
    "x" * 61 + "\U0001f600", "~" * 5000,
]
DATES = [
    "1970-01-01", "1969-12-31", "1970-01-02", "2000-02-29", "1900-03-01",
    "0001-01-01", "0001-12-31 BC", "4713-01-01 BC", "9999-12-31",
    "10000-01-01", "5874897-12-31", "1582-10-10",
]
TIMES = ["00:00:00", "23:59:59.999999", "00:00:00.000001", "12:30:00.5"]
TIMESTAMPS = [
    "1970-01-01 00:00:00", "1969-12-31 23:59:59.999999",
    "1970-01-01 00:00:00.000001", "0001-01-01 00:00:00",
    "0001-12-31 23:59:59.999999 BC", "4713-11-24 00:00:00 BC",
    "9999-12-31 23:59:59.999999", "10000-01-01 00:00:00",
    "294246-12-31 23:59:59.999999", "2024-02-29 12:00:00.1",
    "1582-10-10 01:02:03",
]


def integers(bits):
    top = 2 ** (bits - 1)
    return [0, 1, -1, 9, -10, top - 1, -top, top - 2, -top + 1]


def decimals(precision, scale):
    """The limits of numeric(p,s), on both sides of zero."""
    top = 10 ** precision - 1
    found = {0, 1, 9, 10, top, top - 1, 10 ** (precision - 1), top // 2}
    found |= {2 ** bits for bits in range(6, 127, 8) if 2 ** bits <= top}
    return [f"{sign}{number}e{-scale}"
            for number in sorted(found) if number <= top
            for sign in ("", "-")]


FLOATS = ["0", "-0", "1", "-1", "NaN", "Infinity", "-Infinity", "0.1", "1e15",
          "1e-5", "123456", "1234567", "0.0001", "-99.5"]

DECIMALS = [(1, 0), (4, 4), (9, 0), (9, 9), (10, 0), (12, 2), (18, 0),
            (18, 18), (19, 0), (19, 5), (21, 7), (24, 0), (26, 3), (28, 10),
            (31, 1), (33, 33), (36, 0), (38, 0), (38, 9), (38, 38), (5, -2),
            (3, 5)]

ARRAYS = ["{}", "{NULL}", "{1}", "{1,NULL,2}", "{NULL,NULL}", "{-1,0,1,2,3}"]

SCHEMA = """
    CREATE TYPE pq_mood AS ENUM ('sad', 'so, so', 'quo"te', '', 'glad');
    CREATE TYPE pq_pair AS (number int, "a, name" text);
    CREATE TYPE pq_nest AS (p pq_pair, days date[], n numeric(20,3), ps pq_pair[]);
    CREATE DOMAIN pq_whole AS int;
    CREATE DOMAIN pq_negative AS pq_whole CHECK (VALUE < 0);
    CREATE DOMAIN pq_amount AS numeric(12,2);
    CREATE DOMAIN pq_word AS text;
    CREATE DOMAIN pq_couple AS pq_pair;
    CREATE DOMAIN pq_wholes AS int[];
    CREATE EXTENSION IF NOT EXISTS hstore;
"""
DROP_SCHEMA = """
    DROP TABLE pq_types;
    DROP DOMAIN pq_negative, pq_whole, pq_amount, pq_word, pq_couple, pq_wholes;
    DROP TYPE pq_nest, pq_pair, pq_mood;
"""

PAIRS = ['(1,a)', '(,)', '(,"")', '(-1,"a ""quoted"", text")', '(0,"\\\\")']
NESTS = [
    '("(1,a)","{2024-01-01,NULL}",1.5,"{""(1,a)"",NULL,""(,)""}")',
    '(,,,)', '("(,)",{},,{})', '(,{NULL},-0.001,{NULL})',
    '("(2,)",,99999999999999999.999,"{""(,)""}")',
]
MAPS = ['', '"a"=>"1"', '"a"=>NULL', '"a"=>"", "bb"=>"x", "c"=>NULL',
        '"k\\"ey"=>"v\\\\al"', '"e"=>"\u20ac"']

# name: type and values
COLUMNS = {
    "boolean": ("bool", ["t", "f", "t", "t", "f"]),
    "int2": ("int2", integers(16)),
    "int4": ("int4", integers(32)),
    "int8": ("int8", integers(64)),
    "oid": ("oid", [0, 1, 2 ** 31, 2 ** 32 - 1]),
    "float4": ("float4", FLOATS + ["1e-45", "3.4028235e38", "1.1754944e-38",
                                   "16777216"]),
    "float8": ("float8", FLOATS + ["5e-324", "1.7976931348623157e308",
                                   "2.2250738585072014e-308",
                                   "9007199254740993", "0.30000000000000004"]),
    "nan4": ("float4", ["NaN"]),
    "nan8": ("float8", ["NaN"]),
    "zero4": ("float4", ["-0", "0"]),
    "zero8": ("float8", ["0"]),
    "negative_zero": ("float8", ["-0"]),
    **{f"numeric_{p}_{s}": (f"numeric({p},{s})", decimals(p, s))
       for p, s in DECIMALS},
    "text": ("text", TEXTS),
    "empty_texts": ("text", [""]),
    "cannot_be_greater": ("text", ["\U0010ffff" * 20]),
    "varchar": ("varchar(70)", [text[:70] for text in TEXTS]),
    "bpchar": ("char(5)", ["", "a", "abcde", "\u20ac"]),
    "name": ("name", ["", "a", "x" * 63]),
    "char": ('"char"', ["a", "", "\\"]),
    "json": ("json", ["null", '"x"', ' {"a" : [1, 2]} ', '"' + "y" * 90 + '"']),
    "jsonb": ("jsonb", ["null", "1", '{"b": 1, "a": null}', "[]"]),
    "bytea": ("bytea", ["", "\\x00", "\\xff", "\\x" + "ff" * 70,
                        "\\x" + "ff" * 64, "\\x" + "ab" * 65]),
    "all_ff": ("bytea", ["\\x" + "ff" * 65]),
    "uuid": ("uuid", ["00000000-0000-0000-0000-000000000000", "f" * 32,
                      "80000000-0000-0000-0000-000000000000",
                      "7fffffff-ffff-4fff-bfff-ffffffffffff"]),
    "date": ("date", DATES),
    "time": ("time", TIMES),
    "timestamp": ("timestamp", TIMESTAMPS),
    "timestamptz": ("timestamptz", TIMESTAMPS),
    "interval": ("interval", ["0", "1 mon -2 days 00:00:01.5", "-1 year"]),
    "timetz": ("timetz", ["00:00+00", "24:00:00-15:59"]),
    "money": ("money", ["0", "-12.34"]),
    "inet": ("inet", ["10.0.0.1", "::1/64"]),
    "macaddr": ("macaddr", ["08:00:2b:01:02:03"]),
    "range": ("int4range", ["empty", "[1,5)", "(,)"]),
    "multirange": ("int4multirange", ["{}", "{[1,2),[3,4)}"]),
    "bits": ("bit(9)", ["0" * 9, "1" * 9]),
    "varbit": ("varbit", ["", "101"]),
    "point": ("point", ["(1,2)", "(-0.5,1e20)"]),
    "tsvector": ("tsvector", ["", "'a':1 'b':2"]),
    "lsn": ("pg_lsn", ["0/0", "16/B374D848"]),
    "regtype": ("regtype", ["integer", "text"]),
    "enum": ("pq_mood", ["sad", "so, so", 'quo"te', "", "glad"]),
    "domain": ("pq_negative", [-1, -2 ** 31]),
    "domain_numeric": ("pq_amount", decimals(12, 2)),
    "domain_text": ("pq_word", ["", "x"]),
    "domain_row": ("pq_couple", PAIRS),
    "domain_array": ("pq_wholes", ARRAYS),
    "int_array": ("int[]", ARRAYS),
    "empty_arrays": ("int[]", ["{}"]),
    "null_arrays": ("int[]", ["{NULL}"]),
    "long_array": ("int8[]", ["{" + ",".join(map(str, range(99))) + "}", "{}"]),
    "text_array": ("text[]", ["{}", '{""}', '{a,NULL,"NULL","x y","q\\"",\\\\}']),
    "bool_array": ("bool[]", ["{t,f,NULL}", "{}", "{f}"]),
    "float_array": ("float8[]", ["{NaN,-0,Infinity}", "{NULL,1.5}"]),
    "date_array": ("date[]", ["{1969-12-31,NULL}", "{}"]),
    "timestamp_array": ("timestamptz[]", ['{"1969-12-31 23:59:59.999999+00"}']),
    "numeric_array": ("numeric(24,4)[]", ["{-1.5,NULL,0}", "{}"]),
    "uuid_array": ("uuid[]", ["{" + "f" * 32 + ",NULL}", "{}"]),
    "enum_array": ("pq_mood[]", ['{sad,"so, so",NULL}', "{}"]),
    "row": ("pq_pair", PAIRS),
    "nested_row": ("pq_nest", NESTS),
    "row_array": ("pq_pair[]", ["{}", "{NULL}", '{"(1,a)",NULL,"(,)"}']),
    "nest_array": ("pq_nest[]", ["{}", "{NULL}", '{NULL,"(,,,)"}',
                                 '{"(\\"(1,a)\\",{},1.0,{NULL})"}']),
    "domain_element": ("pq_negative[]", ["{-1,NULL}", "{}"]),
    "map": ("hstore", MAPS),
    "map_array": ("hstore[]", ["{}", "{NULL}", '{"\\"a\\"=>NULL",""}']),
}

FLOAT = {"FLOAT", "DOUBLE"}


@pytest.fixture(scope="module")
def all_types(pg):
    """A query that returns stored tuples."""
    db = pg.connect("onboard")
    execute(db, SCHEMA)
    columns = ", ".join(f'"{name}" {type}' for name, (type, _) in COLUMNS.items())
    execute(db, f"CREATE TABLE pq_types (id int4 NOT NULL, {columns})")
    rows = io.StringIO()
    writer = csv.writer(rows, quoting=csv.QUOTE_ALL)
    for number in range(ROWS):
        row = [number]
        for i, (_, values) in enumerate(COLUMNS.values()):
            # the period of values and nulls differs between columns
            at = number % (len(values) + 1 + i % 3)
            row.append(values[at] if at < len(values) else "a null")
        writer.writerow(row)
    rows.seek(0)
    with db.cursor() as cursor:
        names = ", ".join(f'"{name}"' for name in COLUMNS)
        cursor.copy_expert(
            "COPY pq_types FROM STDIN (FORMAT csv, NULL 'a null',"
            f" FORCE_NULL ({names}))", rows,
        )
    yield "TABLE pq_types"
    execute(db, DROP_SCHEMA)
    db.close()


@pytest.mark.parametrize("options", [
    {},
    {"encodings": "delta"},
    {"dictionary": False},
    {"dictionary": False, "encodings": "delta", "compression": "none"},
    {"dictionary": ["text", "int8"], "compression": "none"},
    {"compression": "snappy", "encodings": "delta"},
    {"compression": "gzip", "compression_level": 9},
    {"compression": "lz4"},
    {"compression": "zstd", "compression_level": 19, "row_group_rows": 97},
], ids=str)
def test_all_types(parquet, all_types, options):
    file = parquet.check(all_types, **options)
    assert file.codecs == {options.get("compression", "zstd")}
    groups = -(-ROWS // options.get("row_group_rows", ROWS))
    assert len(file.groups) == groups
    for leaf in file.leaves:
        encodings = file.encodings[".".join(leaf.path)]
        if options.get("encodings") == "delta":
            assert encodings <= {
                PLAIN, RLE_DICTIONARY, DELTA, DELTA_LENGTH, SPLIT
            }
        else:
            assert encodings <= COMPATIBLE
        if options.get("dictionary") is False:
            assert RLE_DICTIONARY not in encodings
    if options.get("dictionary") is False and "encodings" in options:
        assert file.encodings["int8"] == {DELTA}
        assert file.encodings["text"] == {DELTA_LENGTH}
        assert file.encodings["float4"] == {SPLIT}
    if isinstance(options.get("dictionary"), list):
        assert file.encodings["text"] == {RLE_DICTIONARY}
        assert file.encodings["int4"] == {PLAIN}


def test_rows_that_are_no_stored_tuples(parquet, all_types):
    """Sorted rows and computed rows, which are no stored tuples."""
    parquet.check(f"{all_types} ORDER BY id")
    parquet.check("SELECT (q).* FROM (SELECT z AS q FROM pq_types z ORDER BY id"
                  " OFFSET 0) q")


def test_types(parquet, all_types):
    """The types are those of docs/parquet.md."""
    kinds = dict(parquet.land(all_types).kinds())
    assert kinds["boolean"] == "bool"
    assert kinds["int2"] == kinds["int4"] == kinds["oid"] == "int"
    assert kinds["numeric_12_2"] == kinds["domain_numeric"] == "decimal(12,2)"
    assert kinds["numeric_5_-2"] == "decimal(7,0)"
    assert kinds["numeric_3_5"] == "decimal(5,5)"
    assert kinds["enum"] == kinds["json"] == kinds["interval"] == "text"
    assert kinds["bytea"] == "bytes"
    assert kinds["timestamp"] == "timestamp"
    assert kinds["timestamptz"] == "timestamptz"
    assert kinds["domain_array"] == {"list": "int"}
    assert kinds["row_array"] == {
        "list": {"row": [["number", "int"], ["a, name", "text"]]}
    }
    assert kinds["map"] == {"map": ["text", "text"]}


def test_types_of_postgresql(parquet, all_types):
    """The key-value metadata has PostgreSQL's types."""
    file = parquet.land(all_types)
    sql = (
        "SELECT json_object_agg(attname, format_type(atttypid, atttypmod))"
        " FROM pg_attribute WHERE attrelid = 'pq_types'::regclass AND attnum > 0"
    )
    found = json.loads(file.properties()["onboard.postgresql_types"])
    assert found == execute(parquet.db, sql)[0][0]


def test_null_patterns(parquet):
    """Nulls at the beginning or the end, alternating, in runs, and only nulls."""
    file = parquet.check(
        "SELECT CASE WHEN g > 1500 THEN g END AS late,"
        " CASE WHEN g < 1500 THEN g END AS early,"
        " CASE WHEN g % 2 = 0 THEN g END AS even,"
        " CASE WHEN g % 8 < 4 THEN g::text END AS fours,"
        " CASE WHEN (g / 9) % 2 = 0 THEN g % 2 = 0 END AS nines,"
        " CASE WHEN g = 2000 THEN 1.5::float8 END AS one,"
        " CASE WHEN g <> 2000 THEN g::bigint END AS hole,"
        " NULL::int AS n, NULL::text AS t, NULL::bool AS b,"
        " NULL::numeric(38,2) AS d, NULL::int[] AS a"
        " FROM generate_series(1, 3000) g",
    )
    for name in ("n", "t", "b", "d"):
        (chunk,) = file.chunks(name)
        assert chunk[12] == {3: 3000}


def test_booleans_of_odd_lengths(parquet):
    for rows in (1, 7, 8, 9, 63, 65, 1023, 1025):
        parquet.check(
            "SELECT g % 3 = 0 AS a, CASE WHEN g % 5 > 0 THEN g % 2 = 0 END AS b"
            f" FROM generate_series(1, {rows}) g",
        )


def test_uuid_as_text(parquet):
    query = "SELECT md5(g::text)::uuid AS u FROM generate_series(1, 9) g"
    assert parquet.check(query).kinds() == [["u", "uuid"]]
    assert parquet.check(query, uuid="text").kinds() == [["u", "text"]]


NUMBERS = """
    SELECT n::numeric AS n FROM unnest('{0,-0.00,1,-1.5,12345678.123456789,
    99999999999999999999999999999.999999999,0.000000001,NULL}'::numeric[]) n
"""


def test_numeric_as_text(parquet):
    query = (
        NUMBERS + " UNION ALL SELECT unnest('{NaN,Infinity,-Infinity,1e-30,"
        "1e200}'::numeric[])"
    )
    assert parquet.check(query, numeric="text").kinds() == [["n", "text"]]


def test_numeric_as_double(parquet):
    query = (
        f"SELECT n FROM ({NUMBERS} UNION ALL VALUES ('NaN'::numeric),"
        " ('Infinity'), ('1e300')) q"
    )
    expected = f"SELECT n::float8 FROM ({query}) q"
    file = parquet.check(query, expected, numeric="double")
    assert file.kinds() == [["n", "float8"]]


def test_numeric_as_decimal(parquet):
    expected = f"SELECT n::numeric(38,9) FROM ({NUMBERS}) q"
    file = parquet.check(NUMBERS, expected, numeric="decimal(38,9)")
    assert file.kinds() == [["n", "decimal(38,9)"]]


def test_numeric_option_with_precision(parquet):
    """The option has no effect on a numeric with a precision."""
    query = "SELECT 1.5::numeric(9,2) AS a, 2.5::numeric AS b, 3::numeric(60,1) AS c"
    file = parquet.check(query, numeric="text")
    assert file.kinds() == [["a", "decimal(9,2)"], ["b", "text"], ["c", "text"]]


# Values that Parquet cannot represent.
UNREPRESENTABLE = {
    "date": "'infinity'", "timestamp": "'-infinity'",
    "timestamptz": "'infinity'", "time": "'24:00'", "numeric(9,2)": "'NaN'",
    "int[]": "'{{1,2},{3,4}}'", "int2[]": "'[0:1]={1,2}'",
    "date[]": "'{infinity,2000-01-01}'", "timestamp ": "'294276-01-01'",
}


@pytest.mark.parametrize("type", UNREPRESENTABLE)
def test_unrepresentable_is_null(parquet, type):
    type, constant = type.strip(), UNREPRESENTABLE[type]
    null = "'{NULL,2000-01-01}'" if type == "date[]" else "NULL"
    usual = f"SELECT NULL::{type} AS v UNION ALL SELECT {{}}::{type}"
    file = parquet.check(
        usual.format(constant), usual.format(null), unrepresentable="null"
    )
    assert file.rows == 2


def test_overflowing_differences(parquet):
    """Differences between the least and the greatest integers overflow."""
    query = (
        "SELECT CASE g % 3 WHEN 0 THEN -2147483648 WHEN 1 THEN 2147483647"
        " ELSE g END AS a, CASE g % 2 WHEN 0 THEN -9223372036854775808"
        " ELSE 9223372036854775807 END AS b,"
        " (CASE g % 2 WHEN 0 THEN -32768 ELSE 32767 END)::int2 AS c"
        " FROM generate_series(1, 1000) g"
    )
    for encodings in ("compatible", "delta"):
        parquet.check(query, encodings=encodings, dictionary=False)


def test_other_type_named_hstore(parquet):
    """A type named hstore that does not belong to the extension is a text."""
    execute(parquet.db, "CREATE SCHEMA pq_other; CREATE TYPE pq_other.hstore"
            " AS ENUM ('a')")
    try:
        file = parquet.check("SELECT 'a'::pq_other.hstore AS h")
        assert file.kinds() == [["h", "text"]]
    finally:
        execute(parquet.db, "DROP SCHEMA pq_other CASCADE")


def test_types_without_fields(parquet):
    """Composite types without fields are texts, since a group must have a field."""
    db = parquet.db
    execute(db, "CREATE TYPE pq_nothing AS (); CREATE TABLE pq_void (a pq_nothing,"
            " b int, c pq_nothing[]); INSERT INTO pq_void VALUES (ROW(), 1, NULL),"
            " (NULL, 2, ARRAY[ROW(), NULL]::pq_nothing[])")
    try:
        file = parquet.check("SELECT * FROM pq_void")
        assert file.kinds() == [["a", "text"], ["b", "int"], ["c", {"list": "text"}]]
    finally:
        execute(db, "DROP TABLE pq_void; DROP TYPE pq_nothing")


def test_rows_of_an_altered_type(parquet):
    """Rows that were stored before their type was altered."""
    db = parquet.db
    execute(db, """
        CREATE TYPE pq_old AS (a int, b text, c int);
        CREATE TABLE pq_altered AS
            SELECT g AS id, ROW(g, 'x', -g)::pq_old AS r FROM generate_series(1, 3) g;
    """)
    try:
        execute(db, "ALTER TYPE pq_old ADD ATTRIBUTE d date CASCADE")
        query = "SELECT * FROM pq_altered ORDER BY id"
        parquet.check(query)
        execute(db, "ALTER TYPE pq_old DROP ATTRIBUTE b CASCADE")
        file = parquet.check(query)
        assert file.kinds()[1][1] == {
            "row": [["a", "int"], ["c", "int"], ["d", "date"]]
        }
    finally:
        execute(db, "DROP TABLE pq_altered; DROP TYPE pq_old")
