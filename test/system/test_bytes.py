"""Landed objects are byte for byte what COPY writes.

The tests cover formats csv, text and binary, with every built-in type and every
shape of a table, each option that COPY has as well, settings that change how
values look, and databases of other encodings.  The expected bytes are always
those of COPY (query) TO STDOUT in the same session.
"""

import psycopg2
import pytest

import zoo
from landing import FORMATS, assert_as_copy, copy, execute, land
from lib.exports import keys

MB = 1024 * 1024


@pytest.fixture(scope="module")
def bucket(rgw, s3):
    """One bucket for all tests, which saves a third of the time."""
    name = "bytes"
    s3.create_bucket(Bucket=name)
    yield name
    for key in keys(s3, name):
        s3.delete_object(Bucket=name, Key=key)
    s3.delete_bucket(Bucket=name)


@pytest.fixture(scope="module")
def tables(pg):
    """The zoo in a schema of its own; returns the columns that have a binary
    form."""
    connection = pg.connect("onboard")
    execute(connection, "CREATE SCHEMA zoo; SET search_path = zoo, public")
    yield zoo.create(connection)
    execute(connection, "DROP SCHEMA zoo CASCADE")
    connection.close()


@pytest.fixture
def session(tables, db):
    """A connection whose search_path has the zoo."""
    execute(db, "SET search_path = zoo, public")
    return db


def query_of_zoo(tables, format):
    """Types without a send function have no binary form."""
    if format == "binary":
        return f"SELECT {', '.join(tables)} FROM zoo"
    return "TABLE zoo"


# Types and shapes


def test_no_type_is_missing(db):
    names = [row[0] for row in execute(db, zoo.BUILT_IN)]
    shown = [set(zoo.VALUES), zoo.FOUND, set(zoo.LEFT_OUT)]
    assert set(names) == set.union(*shown)
    assert len(names) == sum(len(part) for part in shown)


@pytest.mark.parametrize("format", FORMATS)
def test_types(session, s3, bucket, tables, format):
    assert_as_copy(
        session, s3, query_of_zoo(tables, format), bucket, format=format
    )


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", zoo.QUERIES)
def test_shapes(session, s3, bucket, name, format):
    query = zoo.QUERIES[name]
    assert_as_copy(session, s3, query, bucket, format=format)
    if format != "binary":
        for header in (True, False):
            assert_as_copy(
                session, s3, query, bucket, format=format, header=header
            )


def test_binary_needs_a_send_function(session, s3, bucket):
    query = "SELECT c_aclitem FROM zoo"
    with pytest.raises(psycopg2.Error) as of_copy:
        copy(session, query, format="binary")
    with pytest.raises(psycopg2.Error) as ours:
        land(session, query, bucket, key="aclitem", format="binary")
    assert ours.value.pgcode == of_copy.value.pgcode
    assert "aclitem" not in keys(s3, bucket)


BIG = {
    # EXTERNAL: out of line and uncompressed; MAIN: compressed.
    "external": "big text STORAGE EXTERNAL",
    "compressed": "big text STORAGE MAIN",
    "lz4": "big text STORAGE EXTENDED COMPRESSION lz4",
    "bytea": "big bytea",
    "array": "big text[]",
    "json": "big json",
    "jsonb": "big jsonb",
    "composite": "big big_pair",
}
# Sixteen characters.
BIG_TEXT = r"repeat(E'ten MB, \"\"\\\\.\n\t\'', 655360)"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", BIG)
def test_big_values(db, s3, bucket, kind, format):
    value = {
        "bytea": f"convert_to({BIG_TEXT}, 'UTF8')",
        "array": f"ARRAY['', {BIG_TEXT}, NULL]",
        "json": f"to_json({BIG_TEXT})",
        "jsonb": f"to_jsonb({BIG_TEXT})",
        "composite": f"ROW(1, {BIG_TEXT})::big_pair",
    }.get(kind, BIG_TEXT)
    execute(db, "CREATE TYPE pg_temp.big_pair AS (number int, text text)")
    execute(db, "SET search_path = pg_temp, public")
    # The storage is set by ALTER, since only PostgreSQL 16 has STORAGE in
    # CREATE TABLE.
    column, _, storage = BIG[kind].partition(" STORAGE ")
    storage, _, compression = storage.partition(" COMPRESSION ")
    execute(db, f"CREATE TEMP TABLE t (a int, {column}, z int)")
    if storage:
        execute(db, f"ALTER TABLE t ALTER big SET STORAGE {storage}")
    if compression:
        execute(db, f"ALTER TABLE t ALTER big SET COMPRESSION {compression}")
    execute(db, f"INSERT INTO t VALUES (1, {value}, 2), (3, NULL, 4)")
    assert len(copy(db, "TABLE t", format=format)) > 9 * MB
    execute(db, "SET onboard.part_size = '5MB'")
    assert_as_copy(db, s3, "TABLE t", bucket, format=format)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("storage", ["external", "main", "plain"])
def test_numerics_stored_apart(db, s3, bucket, storage, format):
    """A numeric's bytes are not taken for a pointer to an out-of-line value."""
    execute(db, "CREATE TEMP TABLE t (n int, big numeric)")
    execute(db, f"ALTER TABLE t ALTER big SET STORAGE {storage}")
    # The sizes are 1,900 to 2,700 bytes, so the low byte of a length has each
    # value.
    execute(
        db,
        "INSERT INTO t SELECT n, repeat('1234567890', 600)::numeric %"
        " (10::numeric ^ n) FROM generate_series(3800, 5400, 4) n",
    )
    assert_as_copy(db, s3, "TABLE t", bucket, format=format)


# Settings

SETTINGS = [
    ("DateStyle", "ISO, DMY"),
    ("DateStyle", "SQL, DMY"),
    ("DateStyle", "Postgres, MDY"),
    ("DateStyle", "German"),
    ("IntervalStyle", "postgres_verbose"),
    ("IntervalStyle", "sql_standard"),
    ("IntervalStyle", "iso_8601"),
    ("bytea_output", "hex"),
    ("bytea_output", "escape"),
    ("bytea_output", "DEFAULT"),
    ("extra_float_digits", "-15"),
    ("extra_float_digits", "0"),
    ("extra_float_digits", "3"),
    ("client_encoding", "LATIN1"),
    ("client_encoding", "SJIS"),
    ("client_encoding", "SQL_ASCII"),
    ("TimeZone", "Asia/Kolkata"),
    ("TimeZone", "America/New_York"),
    ("quote_all_identifiers", "on"),
    ("search_path", "zoo, pg_catalog, public"),
]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("setting, value", SETTINGS)
def test_settings(session, s3, bucket, tables, setting, value, format):
    quoted = value if "zoo" in value or value == "DEFAULT" else f"'{value}'"
    execute(session, f"SET {setting} = {quoted}")
    for query in (
        query_of_zoo(tables, format), "TABLE own", "TABLE dropped",
        zoo.QUERIES["anyarray"],
    ):
        assert_as_copy(session, s3, query, bucket, format=format)


# Encodings.  In those that only clients may have, bytes of ASCII (a backslash,
# a bar, letters, digits) are parts of other characters.

ENCODED = {
    "UTF8": "\u00e9\u20ac\u8868\U0001f600e\u0301",
    "LATIN1": "\u00e9\u00ff\u00a0\u00bd",
    "WIN1252": "\u00e9\u20ac\u0160",
    "KOI8R": "\u0436\u042f\u2502",
    "EUC_JP": "\u8868\u30bd\uff71",
    "SJIS": "\u8868\u30bd\u30dd\u80fd\uff71\u30fc",
    "SHIFT_JIS_2004": "\u8868\u30bd\u30dd",
    "BIG5": "\u529f\u8a31\u84cb\u5c0f",
    "GBK": "\u4e02\u4e0f\u4e29\u6bc8",
    "GB18030": "\u00ff\u4e02\U0001f600\u6bc8",
    "UHC": "\uac02\uac03\ub620",
    "SQL_ASCII": "\u00e9\u8868",
    "JOHAB": "\uac00\uac01\ub098\ub2e4",
}
CLIENT_ONLY = (
    "SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "GB18030", "UHC", "JOHAB"
)


@pytest.fixture
def letters(db, request):
    """A table of the encoding's letters among special characters."""
    text = ENCODED[request.param]
    execute(db, "SET client_encoding = 'UTF8'")
    db.set_client_encoding("UTF8")
    execute(
        db,
        f'CREATE TEMP TABLE letters ("{text}" text, "n" name, c "char")',
    )
    marks = ["", ",", '"', "\\", "\n", "|", "\t", ".", "'", "0", "a"]
    execute(
        db,
        """
        INSERT INTO letters
        SELECT a || l || b || l, a || l || b, 'c'
        FROM unnest(%(marks)s) a, unnest(%(marks)s) b, unnest(%(letters)s) l
        """,
        {"marks": marks, "letters": list(text)},
    )
    execute(db, "INSERT INTO letters VALUES (%s, '', 'd')", [text])
    execute(db, "INSERT INTO letters DEFAULT VALUES")
    return request.param


# For each format, options that are difficult in some encodings.
ENCODED_OPTIONS = [
    ("csv", {}),
    ("csv", {"delimiter": "|", "quote": "\\", "escape": "@"}),
    ("csv", {"quote": "'", "escape": "\\", "force_quote": ["n"]}),
    ("csv", {"escape": "0", "delimiter": "^"}),
    ("text", {"header": True}),
    ("text", {"delimiter": "|"}),
    ("text", {"delimiter": "A", "null": ""}),
    ("binary", {}),
]


@pytest.mark.parametrize("letters", ENCODED, indirect=True)
def test_client_encodings(db, s3, bucket, letters):
    execute(db, f"SET client_encoding = '{letters}'")
    for format, options in ENCODED_OPTIONS:
        assert_as_copy(
            db, s3, "TABLE letters", bucket, format=format, **options
        )


@pytest.mark.parametrize("letters", ENCODED, indirect=True)
def test_option_encoding(db, s3, bucket, letters):
    """The option overrides the client's encoding, except in binary."""
    for format, options in ENCODED_OPTIONS:
        assert_as_copy(
            db, s3, "TABLE letters", bucket, format=format, encoding=letters,
            **options,
        )
    execute(db, f"SET client_encoding = '{letters}'")
    for format in FORMATS:
        assert_as_copy(
            db, s3, "TABLE letters", bucket, format=format, encoding="UTF8"
        )


@pytest.mark.parametrize("letters", CLIENT_ONLY, indirect=True)
def test_encodings_embed_ascii(db, letters):
    """The two tests above rely on that."""
    found = copy(
        db, "SELECT * FROM letters WHERE c = 'd'", format="text",
        encoding=letters, delimiter="|",
    )
    ascii_bytes = [byte for byte in found.split(b"|")[0] if byte < 0x80]
    assert ascii_bytes, found


@pytest.mark.parametrize("letters", ["SJIS"], indirect=True)
@pytest.mark.parametrize("format", ["csv", "text"])
def test_null_text_is_encoded(db, s3, bucket, letters, format):
    null = ENCODED["SJIS"]
    for encoding in ("UTF8", "SJIS"):
        assert_as_copy(
            db, s3, "TABLE letters", bucket, format=format, null=null,
            encoding=encoding,
        )


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("letters", ["SJIS"], indirect=True)
def test_letters_that_do_not_fit(db, s3, bucket, letters, format):
    execute(db, "SET client_encoding = 'LATIN1'")
    with pytest.raises(psycopg2.Error) as of_copy:
        copy(db, "TABLE letters", format=format)
    with pytest.raises(psycopg2.Error) as ours:
        land(db, "TABLE letters", bucket, key="letters", format=format)
    assert ours.value.pgcode == of_copy.value.pgcode == "22P05"
    assert "letters" not in keys(s3, bucket)


# Options

CSV_OPTIONS = [
    {"header": False},
    {"header": True},
    {"delimiter": ";"},
    {"delimiter": "\t"},
    {"delimiter": "1"},
    {"delimiter": "-"},
    {"delimiter": "t"},
    {"delimiter": "a"},
    {"delimiter": "\\"},
    {"delimiter": "\x01"},
    {"null": "NULL"},
    {"null": "a"},
    {"null": "1"},
    {"null": "-12"},
    {"null": "f"},
    {"null": "s"},
    {"null": " "},
    {"null": "\\."},
    {"null": "\\N", "force_quote": ["s"]},
    {"null": "N", "delimiter": ";", "quote": "'"},
    {"quote": "'"},
    {"quote": "|"},
    {"quote": "1"},
    {"quote": "t"},
    {"quote": "\\"},
    {"quote": " "},
    {"quote": "\n"},
    {"escape": "\\"},
    {"escape": "a"},
    {"escape": ","},
    {"escape": "'", "quote": "'"},
    {"escape": '"', "quote": "'"},
    {"escape": "\n"},
    {"force_quote": True},
    {"force_quote": "*"},
    {"force_quote": ["i"]},
    {"force_quote": ["b", 'quo"te']},
    {"force_quote": ["s"], "quote": "'", "escape": "\\", "header": False},
    {"force_quote": True, "null": "1", "header": False},
    {"encoding": "LATIN1"},
]

TEXT_OPTIONS = [
    {"header": True},
    {"header": False},
    {"delimiter": "|"},
    {"delimiter": ","},
    {"delimiter": "-"},
    {"delimiter": "N", "null": ""},
    {"delimiter": "'"},
    {"delimiter": "\b"},
    {"delimiter": "\f"},
    {"delimiter": "\v"},
    {"delimiter": "\x7f"},
    {"delimiter": " ", "header": True},
    {"null": ""},
    {"null": "a"},
    {"null": "1"},
    {"null": "t"},
    {"null": "\\."},
    {"null": "a\\b 'c' \"d\""},
    {"null": "\\N", "delimiter": "\t", "header": True},
    {"encoding": "SJIS", "delimiter": "^"},
]


def show(options):
    return " ".join(f"{name}={value!r}" for name, value in options.items())


@pytest.mark.parametrize("options", CSV_OPTIONS, ids=show)
def test_csv_options(session, s3, bucket, options):
    check_options(session, s3, bucket, "csv", options)


@pytest.mark.parametrize("options", TEXT_OPTIONS, ids=show)
def test_text_options(session, s3, bucket, options):
    check_options(session, s3, bucket, "text", options)


def check_options(session, s3, bucket, format, options):
    """Exports the exhaustive table, and nulls, with these options."""
    for query in (
        "TABLE special",
        "SELECT NULLIF(i, 1) AS i, NULLIF(b, true) AS b, NULLIF(s, '') AS s,"
        ' NULL AS "quo""te" FROM special WHERE i % 10 = 1',
    ):
        assert_as_copy(session, s3, query, bucket, format=format, **options)
    if "force_quote" not in options:
        query = "SELECT NULLIF(s, 'a') AS only FROM special"
        assert_as_copy(session, s3, query, bucket, format=format, **options)


# Databases in other encodings


HIGH_BYTES = """
    CREATE TEMP TABLE t AS
        SELECT decode(to_hex(g), 'hex') AS b, g AS i,
            convert_from(decode(to_hex(g), 'hex'), 'LATIN1') || ',"' AS s
        FROM generate_series(33, 255) g WHERE g NOT BETWEEN 127 AND 159
"""


@pytest.mark.parametrize("client", ["LATIN1", "UTF8", "SQL_ASCII"])
def test_latin1_database(s3, bucket, connect_other, client):
    db = connect_other("LATIN1")
    execute(db, f"SET client_encoding = '{client}'")
    execute(db, HIGH_BYTES)
    for format in FORMATS:
        assert_as_copy(db, s3, "TABLE t", bucket, format=format)
        assert_as_copy(
            db, s3, "TABLE t", bucket, format=format, encoding="UTF8"
        )
    # The character is one byte in this database.
    for options in (
        {"delimiter": "\u00a7"}, {"null": "\u00e9"}, {"quote": "\u00ab"},
        {"escape": "\u00e9"},
    ):
        assert_as_copy(db, s3, "TABLE t", bucket, **options)


def test_sql_ascii_database(s3, bucket, connect_other):
    db = connect_other("SQL_ASCII")
    execute(db, "SET client_encoding = 'SQL_ASCII'")
    execute(
        db,
        """
        CREATE TEMP TABLE t AS SELECT g AS i, s FROM unnest(ARRAY[
            E'\\xe9,"', E'\\xc3\\xa9', E'\\x95\\x5c\\xff', 'plain', NULL
        ]) WITH ORDINALITY u (s, g)
        """,
    )
    for format in FORMATS:
        assert_as_copy(db, s3, "TABLE t", bucket, format=format)
    # A conversion from SQL_ASCII only verifies the bytes.
    good = "SELECT * FROM t WHERE i IN (2, 4, 5)"
    for format in FORMATS:
        assert_as_copy(db, s3, good, bucket, format=format, encoding="UTF8")
    with pytest.raises(psycopg2.Error) as of_copy:
        copy(db, "TABLE t", encoding="UTF8")
    with pytest.raises(psycopg2.Error) as ours:
        land(db, "TABLE t", bucket, key="bad", encoding="UTF8")
    assert ours.value.pgcode == of_copy.value.pgcode
    assert "bad" not in keys(s3, bucket)
