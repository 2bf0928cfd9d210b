"""The exported tables: the same rows every time.

The numbers of rows are for about 500 MB of csv; a scale changes them.
"""

import re
import typing

MB = 1000 * 1000


class Table(typing.NamedTuple):
    name: str
    title: str
    columns: str
    rows: int
    select: str  # one row for each i, a bigint
    copies: int = 1  # how often the same rows are inserted, one after another
    toast: str = ""  # a column that is stored out of line, uncompressed

    def scaled(self, scale):
        return self._replace(rows=max(1, round(self.rows * scale)))

    def types(self):
        """[(column, type), ...]"""
        return re.findall(r"(\w+) (\w+(?:\([\d,]+\))?)", self.columns)


# The rows are as wide as TPC-H's: about 168 bytes of csv.
_LINEITEM = """
    l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber int,
    l_quantity numeric(15,2), l_extendedprice numeric(15,2),
    l_discount numeric(15,2), l_tax numeric(15,2),
    l_returnflag char(1), l_linestatus char(1),
    l_shipdate date, l_commitdate date, l_receiptdate date,
    l_shipinstruct char(25), l_shipmode char(10), l_comment varchar(44)
"""

_LINEITEM_ROWS = """
    i / 4 * 32 + i % 4, 1 + i * 7919 % 20000000, 1 + i * 104729 % 1000000,
    1 + i % 7, 1 + i * 31 % 50,
    (90000 + i * 7919 % 120000) * (1 + i * 31 % 50) / 100.0,
    i % 11 / 100.0, i % 9 / 100.0,
    substr('RAN', 1 + i::int % 3, 1), substr('OF', 1 + i::int % 2, 1),
    date '1992-01-02' + (i * 17 % 2526)::int,
    date '1992-01-31' + (i * 13 % 2466)::int,
    date '1992-01-04' + (i * 19 % 2554)::int,
    (array['DELIVER IN PERSON', 'COLLECT COD', 'NONE',
           'TAKE BACK RETURN'])[1 + i % 4],
    (array['REG AIR', 'AIR', 'RAIL', 'SHIP', 'TRUCK', 'MAIL',
           'FOB'])[1 + i * 3 % 7],
    substr('carefully final packages wake blithely against the quickly '
           'regular deposits, ironic accounts haggle furiously above the '
           'slyly even theodolites', 1 + (i * 7 % 100)::int,
           38 + (i * 3 % 7)::int)
"""

LINEITEM = Table(
    "lineitem", "16 columns like TPC-H's", _LINEITEM, 3000000,
    _LINEITEM_ROWS,
)
# Both tables have the same rows, so only the size differs.
LINEITEM_50MB = Table(
    "lineitem_50mb", "16 columns like TPC-H's", _LINEITEM, 300000,
    _LINEITEM_ROWS,
)
LINEITEM_2GB = Table(
    "lineitem_2gb", "the same rows forty times", _LINEITEM, 300000,
    _LINEITEM_ROWS, copies=40,
)

INTEGERS = Table(
    "integers", "16 columns of smallint, integer and bigint",
    """
    a bigint, b bigint, c bigint, d bigint, e bigint, f bigint,
    g int, h int, j int, k int, l int, m int,
    n smallint, o smallint, p smallint, q smallint
    """,
    4600000,
    """
    i, -i, i * 7919, i * 104729 % 1000000007, i * i, i << 20,
    i % 10, i % 1000, i % 100000, -(i * 31 % 10000000), i * 17 % 2147483647,
    (i * 7919 % 65536)::int, i % 2, i % 100, i % 32768, -(i % 1000)
    """,
)

# Of the ten texts, the last three have characters that csv must quote.
_TEXTS = (
    ["carefully final packages wake blithely against the quickly "] * 5
    + ["Größe und Maß prüfte der Übermüdete häufig am späten Abend "] * 2
    + ["regular deposits, ironic accounts, and even theodolites; "]
    + ['she said "no", and "never again" was what they all heard ']
    + ["first line of the note\\nand here is the second one of it "]
)

# This table is exported as forty tables.
FORTY = INTEGERS._replace(
    name="forty", title="a few rows of integers", rows=4000
)

WIDE_TEXT = Table(
    "wide_text", "10 columns of 80 to 160 characters",
    ", ".join(f"t{n} text" for n in range(len(_TEXTS))),
    400000,
    ", ".join(
        f"substr(repeat(E'{text}', 6), 1 + (i * {7 + 2 * n} % 120)::int,"
        f" 80 + (i * {3 + n} % 81)::int)"
        for n, text in enumerate(_TEXTS)
    ),
)

JSONB = Table(
    "documents", "a key and a jsonb document of about 430 characters",
    "id bigint, document jsonb",
    1060000,
    """
    i, jsonb_build_object(
        'id', i, 'active', i % 3 = 0, 'score', i * 7919 % 100000 / 100.0,
        'customer', jsonb_build_object(
            'name', 'Customer#' || lpad(i::text, 9, '0'),
            'email', 'customer' || i || '@example.com',
            'address', jsonb_build_object(
                'street', i % 400 || ' Main Street', 'city', 'Springfield',
                'zip', lpad((i % 99999)::text, 5, '0'), 'unit', NULL)),
        'tags', jsonb_build_array('a' || i % 7, 'b' || i % 11, 'c' || i % 13),
        'items', jsonb_build_array(
            jsonb_build_object('sku', i * 31 % 9973, 'count', i % 5),
            jsonb_build_object('sku', i * 37 % 9973, 'count', i % 3)),
        'note', 'packages wake "blithely" against the slyly even deposits')
    """,
)

NUMERIC = Table(
    "numerics", "a key and 15 numeric columns of 2 to 34 digits",
    "id bigint, "
    + ", ".join(f"s{n} numeric(10,2)" for n in range(5))
    + ", "
    + ", ".join(f"m{n} numeric(18,6)" for n in range(5))
    + ", "
    + ", ".join(f"w{n} numeric" for n in range(5)),
    2500000,
    """
    i, i % 100 / 100.0, i * 31 % 100000 / 100.0, -(i * 7919 % 9999999) / 100.0,
    0, i % 1000, i / 7.0, -i / 1000000.0, i * 104729 / 1000.0,
    i * 7919 % 1000000 / 1000000.0, i % 90000, i / 3.0,
    i::numeric * 1000000007 * 1000003, i::numeric * 1e12 + 0.000000000001,
    -i::numeric * 123456789012345, i * 0.0001
    """,
)

BYTEA = Table(
    "files", "a key, a name and a bytea of 64 KiB stored apart (TOAST)",
    "id bigint, name text, body bytea",
    3800,
    """
    i, 'file-' || i || '.bin',
    (SELECT string_agg(sha512(int8send(i * 1024 + n)), ''::bytea)
     FROM generate_series(1, 1024) n)
    """,
    toast="body",
)

EXTENSIONS = ("pg_prewarm", "pg_buffercache")

_RELATIONS = """
    SELECT c.oid FROM pg_class c, pg_class t
    WHERE t.oid = %(table)s::regclass
      AND (c.oid IN (t.oid, t.reltoastrelid)
           OR c.oid IN (SELECT indexrelid FROM pg_index
                        WHERE indrelid = t.reltoastrelid))
"""


def create(cursor, table):
    """Makes and fills a table."""
    cursor.execute("BEGIN")
    cursor.execute(f"CREATE TABLE {table.name} ({table.columns})")
    if table.toast:
        cursor.execute(
            f"ALTER TABLE {table.name}"
            f" ALTER {table.toast} SET STORAGE EXTERNAL"
        )
    # Rows that are inserted in the table's own transaction are not logged.
    # Each copy has a statement of its own, so that equal rows are far apart.
    for _ in range(table.copies):
        cursor.execute(
            f"INSERT INTO {table.name} SELECT {table.select}"
            f" FROM (SELECT i::bigint FROM generate_series(1, {table.rows}) i)"
            " AS n(i)"
        )
    cursor.execute("COMMIT")
    cursor.execute(f"VACUUM (ANALYZE, FREEZE) {table.name}")


def warm(cursor, table):
    # A scan would not suffice: it keeps a large table out of the buffers.
    cursor.execute(
        f"SELECT sum(pg_prewarm(oid)) FROM ({_RELATIONS}) r(oid)",
        {"table": table.name},
    )


def size(cursor, table):
    """The size of the table in bytes, and its share that is in shared buffers.
    """
    cursor.execute(
        f"""
        WITH r AS ({_RELATIONS})
        SELECT (SELECT sum(pg_relation_size(oid)) FROM r)::bigint,
               (SELECT count(*) * 8192 FROM pg_buffercache b
                WHERE relforknumber = 0 AND relfilenode IN
                      (SELECT pg_relation_filenode(oid) FROM r))
        """,
        {"table": table.name},
    )
    total, cached = cursor.fetchone()
    return total, cached / max(total, 1)
