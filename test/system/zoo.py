"""Tables to land: every built-in type, and every shape that a table can have.

All data is ASCII, so that it fits in every encoding.  test_bytes.py asserts
that no type is missing.
"""

from landing import execute

DIGITS = "1234567890" * 100

# Texts for the types' input functions.
VALUES = {
    # Numbers
    "bool": ["t", "f"],
    "int2": ["0", "-1", "32767", "-32768"],
    "int4": ["0", "-1", "7", "2147483647", "-2147483648"],
    "int8": ["0", "-10", "9223372036854775807", "-9223372036854775808"],
    "float4": [
        "0", "-0", "0.1", "1e-45", "3.4028235e38", "NaN", "Infinity",
        "-Infinity", "16777217", "1e15", "123456.7",
    ],
    "float8": [
        "0", "-0", "0.1", "5e-324", "1.7976931348623157e308", "NaN",
        "Infinity", "-Infinity", "0.30000000000000004", "1e15", "1e-5", "100",
    ],
    "numeric": [
        "0", "0.00", "-1.50", DIGITS, f"-{DIGITS}.{DIGITS}", f"0.{DIGITS}",
        "NaN", "Infinity", "-Infinity", "1e130000", "1e-1000",
    ],
    "money": ["0", "-1", "92233720368547758.07", "1234567.89"],
    "oid": ["0", "1", "4294967295"],
    "xid": ["0", "4294967295"],
    "xid8": ["0", "18446744073709551615"],
    "cid": ["0", "4294967295"],
    "tid": ["(0,0)", "(4294967295,65535)"],
    "pg_lsn": ["0/0", "FFFFFFFF/FFFFFFFF"],
    "pg_snapshot": ["10:20:10,14,15", "1:1:"],
    "txid_snapshot": ["10:20:10,14,15", "1:1:"],
    "int2vector": ["", "1", "-1 2 3"],
    "oidvector": ["", "1", "1 2 4294967295"],
    # Characters and bytes
    "text": [
        "", " ", "plain", "a,b", 'quo"te', '"', "it's", "\\", "\\.", "\\N",
        "NULL", "new\nline", "re\rturn", "\r\n", "tab\ttab", "\b\f\v", "\x01",
        "\x7f", " blanks ", "a;b|c", "{}", "x" * 100000,
    ],
    "varchar": ["", "a,b", "\\.", "\n"],
    "bpchar": ["", "padded    ", ' "', "\t "],
    "name": ["", "name", 'a "name"', "n" * 63],
    "char": ["", "a", ",", '"', "\\", "\n"],
    "refcursor": ["", "<unnamed portal 1>"],
    "bytea": ["", "\\x00", "\\x0a0d5c22272c7f80ff", "\\x" + "00ff" * 1000],
    "bit": ["", "0", "10110"],
    "varbit": ["", "1", "0" * 100],
    "uuid": [
        "00000000-0000-0000-0000-000000000000",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ],
    # Dates and times
    "date": [
        "2024-02-29", "0044-03-15 BC", "5874897-12-31", "4713-01-01 BC",
        "infinity", "-infinity",
    ],
    "time": ["00:00:00", "24:00:00", "12:34:56.789012", "04:05:06.7"],
    "timetz": ["00:00:00+15:59", "12:34:56.789012-08", "23:59:60+05:30"],
    "timestamp": [
        "2024-12-03 04:05:06.789", "4713-01-01 00:00:00 BC",
        "294276-12-31 23:59:59.999999", "infinity", "-infinity",
    ],
    "timestamptz": [
        "2024-12-03 04:05:06.789+00", "2024-07-01 12:00:00+05:30",
        "0001-01-01 00:00:00+00 BC", "294276-12-31 12:00:00+00", "infinity",
        "-infinity",
    ],
    "interval": [
        "0", "1 year 2 mons -3 days 04:05:06.7", "-1 days +02:03:00",
        "-178000000 years", "2562047788:00:54.775807", "1 mon", "-0.000001 s",
        "1-2 3 4:5:6",
    ],
    # Networks
    "inet": ["192.168.0.1", "10.1.2.3/8", "::1", "2001:db8::1/64"],
    "cidr": ["10.0.0.0/8", "192.168.1.1/32", "2001:db8::/32"],
    "macaddr": ["08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    # Geometry
    "point": ["(0,0)", "(-1.5,1e300)", "(NaN,Infinity)"],
    "line": ["{1,-1,0}", "{0,-1,2.5}"],
    "lseg": ["[(0,0),(1,2)]"],
    "box": ["(2,2),(0,0)", "(1e10,0.1),(-1,-0.3)"],
    "path": ["[(0,0),(1,1),(2,0)]", "((0,0),(1,1),(2,0))"],
    "polygon": ["((0,0),(1,1),(2,0.1))"],
    "circle": ["<(1,2),3>", "<(0.1,0.2),0>"],
    # Documents and search
    "json": [
        "{}", ' {"a": 1,  "a": [null, "x\\ny"]} ', "null", '"\\u00e9"',
        '{\n  "a": 1,\r\n\t"b": [1e400, -0]\n}', "1",
    ],
    "jsonb": [
        "{}", '{"b": 1, "a": [null, "x\\ny", 1.50]}', "null", '"\\\\"', "[]",
        "1e400",
    ],
    "jsonpath": ['$."a"[*] ? (@ > 1)', "strict $.a.b"],
    "xml": ["<a/>", '<a b="c, d">\n<!-- x -->&amp;</a>', "text only", ""],
    "tsvector": ["", "a:1A,2B 'it''s':3 'b\\\\c'", "'x y':7"],
    "tsquery": ["", "'a' & !'b' <-> 'c':*A"],
    # Ranges
    "int4range": ["empty", "[1,10)", "(,5)", "[5,)", "(,)"],
    "int8range": ["empty", "[-1,9223372036854775807)"],
    "numrange": ["[0.10,1.5]", "(NaN,)", "empty"],
    "daterange": ["[2024-01-01,2024-02-01)", "(,infinity]"],
    "tsrange": ["[2024-01-01 00:00,2024-01-02 12:00)", "(,)"],
    "tstzrange": ["[2024-01-01 00:00+00,infinity)", "empty"],
    "int4multirange": ["{}", "{[1,3),[5,8)}"],
    "int8multirange": ["{}", "{(,0),[5,8)}"],
    "nummultirange": ["{[0.5,1.5),(2,3]}"],
    "datemultirange": ["{[2024-01-01,2024-02-01)}", "{}"],
    "tsmultirange": ["{[2024-01-01 00:00,2024-01-02 12:00)}"],
    "tstzmultirange": ["{[2024-01-01 00:00+00,2024-01-02 12:00+00]}"],
    # Names of database objects
    "aclitem": ["=r/postgres", "postgres=arwdDxt/postgres"],
    "regclass": ["-", "pg_class", "information_schema.tables", "4294967294"],
    "regcollation": ['"C"', '"POSIX"'],
    "regconfig": ["simple", "english"],
    "regdictionary": ["simple"],
    "regnamespace": ["pg_catalog", "information_schema"],
    "regoper": ["pg_catalog.|/", "0"],
    "regoperator": ["+(integer,integer)", "-(NONE,bigint)"],
    "regproc": ["now", "-"],
    "regprocedure": ["abs(integer)", "now()"],
    "regrole": ["postgres", "pg_monitor"],
    "regtype": ["integer", "character varying", "text[]"],
    # Domains of the information schema
    "cardinal_number": ["0", "7"],
    "character_data": ["", "a,b"],
    "sql_identifier": ["a", "b c"],
    "time_stamp": ["2024-12-03 04:05:06.78+00"],
    "yes_or_no": ["YES", "NO"],
}

# These types refuse all input; the server has values of them (see QUERIES).
FOUND = {"pg_dependencies", "pg_mcv_list", "pg_ndistinct", "pg_node_tree"}

LEFT_OUT = {
    "gtsvector": "exists only in the pages of GiST indexes",
    "pg_brin_bloom_summary": "exists only in the pages of BRIN indexes",
    "pg_brin_minmax_multi_summary": "exists only in the pages of BRIN indexes",
}

# Composites, enums, domains and ranges of the test's own.
OWN_TYPES = r"""
    CREATE TYPE mood AS ENUM ('sad', 'so, so', 'quo"te', '\.');
    CREATE TYPE pair AS (number int, "a, name" text);
    CREATE TYPE nest AS (p pair, ps pair[], j json, m mood, t timestamptz);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE DOMAIN over_domain AS positive CHECK (VALUE < 1000);
    CREATE DOMAIN word AS varchar(20) NOT NULL DEFAULT '';
    CREATE DOMAIN words AS text[];
    CREATE DOMAIN whole AS nest;
    CREATE DOMAIN feeling AS mood;
    CREATE DOMAIN document AS json;
    CREATE TYPE textrange AS RANGE (
        subtype = text, multirange_type_name = textmultirange);
    CREATE DOMAIN span AS textrange;
    CREATE TABLE own (
        e mood, es mood[], c pair, cs pair[], n nest, p positive,
        o over_domain, os over_domain[], w word, ws words, wh whole, f feeling,
        d document, r textrange, m textmultirange, s span
    );
    INSERT INTO own VALUES (
        'so, so', '{sad,"quo\"te","\\.",NULL}', '(1,"a ""b"", \\c")',
        '{"(1,x)","(,)",NULL}',
        ROW(ROW(2, E'two\nlines')::pair, ARRAY[ROW(3, 'it''s')::pair, NULL],
            E'{"a":\n [1]}', 'sad', '2024-12-03 04:05:06+00'),
        5, 999, '{1,999}', 'word, word', '{a,"b c",NULL,""}',
        ROW(NULL, '{}', 'null', '\.', 'infinity'), 'quo"te', E'[1,\r\n2]',
        '["a,b","c""d")', '{[a,b),[x,)}', '(,"x y"]'
    );
    INSERT INTO own (w) VALUES ('');
"""

STATISTICS = """
    CREATE TABLE counted AS
        SELECT g % 10 AS a, g % 5 AS b, g % 2 AS c
        FROM generate_series(1, 1000) g;
    CREATE STATISTICS counted_ext ON a, b, c FROM counted;
    ANALYZE counted;
"""

# Each string of up to three characters that are special in some format.
SPECIAL = r"""
    CREATE TABLE special AS
        WITH a (c) AS (SELECT unnest(ARRAY[
            '', ',', '"', '''', '\', '.', E'\n', E'\r', E'\t', E'\b', E'\v',
            E'\f', E'\x01', E'\x7f', ' ', ';', '|', 'N', 'a', '1'
        ]))
        SELECT row_number() OVER () - 3000 AS i, x.c < y.c AS b,
            x.c || y.c || z.c AS s, (x.c || y.c || z.c)::name AS "quo""te"
        FROM a x, a y, a z;
"""

SHAPES = r"""
    CREATE TABLE nothing ();
    INSERT INTO nothing SELECT FROM generate_series(1, 3);
    CREATE TABLE single AS SELECT unnest(ARRAY[
        '', '\.', '\N', NULL, 'NULL', '"', 'x', '\\.', '.', E'\n'
    ]) AS only;
    CREATE TABLE dropped (a int, b text, c int, d text, e int);
    INSERT INTO dropped SELECT g, 'b' || g, -g, NULL, g
        FROM generate_series(1, 3) g;
    ALTER TABLE dropped DROP a, DROP c, ADD f text DEFAULT 'added, later',
        ADD g int;
    INSERT INTO dropped VALUES ('b', 5, NULL, 'f', 6);
    CREATE TABLE all_dropped (a int);
    INSERT INTO all_dropped VALUES (1), (2);
    ALTER TABLE all_dropped DROP a;
    CREATE TABLE odd ("a,b" int, "quo""te" int, " " int, "\." int, "a\b" int,
        "UPPER" int, "it's" int, "a|b" int, "
" int, "	" int);
    INSERT INTO odd VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9);
    CREATE TABLE end_marker ("\." text);
    INSERT INTO end_marker VALUES ('\.');
    CREATE TABLE limited (
        n numeric(10, 2), c char(5), v varchar(3), b bit(4), vb varbit(4),
        t timestamp(3), i interval day to second(1), ns numeric(5, 2)[],
        cs char(3)[]
    );
    INSERT INTO limited VALUES (
        1.005, 'ab', 'abc', '1010', '10', '2024-12-03 04:05:06.7891',
        '1 day 00:00:01.26', '{1,2.345}', '{a,"b,",NULL}'
    );
    CREATE FUNCTION grown(n int) RETURNS int[] LANGUAGE plpgsql AS $$
        DECLARE result int[] := '{}';
        BEGIN
            FOR i IN 1..n LOOP result := result || i; END LOOP;
            RETURN result;
        END $$;
    CREATE FUNCTION made(n int) RETURNS pair LANGUAGE plpgsql AS $$
        DECLARE result pair;
        BEGIN
            result.number := n; result."a, name" := 'made "it"';
            RETURN result;
        END $$;
    CREATE TABLE generated (a int, b int GENERATED ALWAYS AS (a * 2) STORED);
    INSERT INTO generated VALUES (1), (2);
    -- Not stored: 18 has such columns.
    DO $$ BEGIN
        EXECUTE 'CREATE TABLE computed (a int, b int GENERATED ALWAYS AS'
            ' (a * 2) ' || CASE
                WHEN current_setting('server_version_num')::int < 180000
                THEN 'STORED' ELSE 'VIRTUAL' END || ', c text)';
    END $$;
    INSERT INTO computed (a, c) VALUES (1, 'x'), (NULL, 'y'), (3, NULL);
    CREATE TABLE parted (k int, v text) PARTITION BY LIST (k);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
    CREATE TABLE parted_2 (v text, gone int, k int);
    ALTER TABLE parted_2 DROP gone;
    ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
    INSERT INTO parted VALUES (2, 'two'), (1, 'one'), (2, NULL);
    CREATE VIEW seen AS SELECT k, upper(v) AS v FROM parted;
    CREATE TABLE parent (a int);
    CREATE TABLE child (b text) INHERITS (parent);
    INSERT INTO parent VALUES (1);
    INSERT INTO child VALUES (2, 'x');
"""

# The name and the query.
QUERIES = {
    "no columns": "TABLE nothing",
    "one column": "TABLE single",
    "one column of nulls": "SELECT NULL::int AS a FROM generate_series(1, 3)",
    "no rows": "SELECT * FROM special WHERE false",
    "no rows, no columns": "SELECT FROM special WHERE false",
    "odd names": "TABLE odd",
    "a name like the end marker": "TABLE end_marker",
    "dropped columns": "TABLE dropped",
    "all columns dropped": "TABLE all_dropped",
    "generated column": "TABLE generated",
    "virtual column": "TABLE computed",
    "partitions": "SELECT * FROM parted",
    "one partition": "TABLE parted_2",
    "view": "TABLE seen",
    "inheritance": "TABLE parent",
    "whole rows": "SELECT parted, parted.* FROM parted",
    "whole row with dropped columns": "SELECT dropped FROM dropped",
    "VALUES": "VALUES (1, 'a', NULL), (2, 'b', 3.50)",
    "WITH": "WITH w AS (SELECT 1 AS a) SELECT a, a + 1 AS b FROM w",
    "WITH RECURSIVE": """
        WITH RECURSIVE w(n) AS (
            SELECT 1 UNION ALL SELECT n + 1 FROM w WHERE n < 5
        ) SELECT n FROM w""",
    "UNION": "SELECT 1 AS a UNION ALL SELECT 2 ORDER BY a DESC",
    "catalog": "SELECT * FROM pg_type ORDER BY oid",
    "untyped literals": "SELECT 'a' AS a, NULL AS b",
    "modifiers": "TABLE limited",
    "expanded values":
        "SELECT grown(n) AS a, made(n) AS p FROM generate_series(0, 3) n",
    "records": "SELECT ROW(1, 'a,b', NULL) AS r, ARRAY[ROW(1), ROW(2)] AS rs",
    "anyarray": """
        SELECT attname, most_common_vals, histogram_bounds FROM pg_stats
        WHERE tablename = 'counted' ORDER BY attname""",
    "statistics objects": """
        SELECT stxdndistinct, stxddependencies, stxdmcv
        FROM pg_statistic_ext_data""",
    "node trees": "SELECT ev_action FROM pg_rewrite ORDER BY oid LIMIT 5",
    "own types": "TABLE own",
    "special characters": "TABLE special",
    "1,600 columns":
        "SELECT " + ", ".join(f"{n} AS c{n}" for n in range(1600)),
    "numbers of each length": """
        SELECT n::int8 AS a, (n % 2147483648)::int4 AS b, (n % 32768)::int2 AS c,
            abs(n % 4294967296)::int8::oid AS d, n AS e, n * 1000 AS f,
            n / 10::numeric ^ scale AS g, round(n / 10::numeric ^ scale, scale) AS h
        FROM generate_series(0, 18) power, (VALUES (1), (-1)) s (sign),
            (VALUES (-1), (0), (1)) t (beside), generate_series(0, 9) scale,
            LATERAL (SELECT sign * (10::numeric ^ power + beside) AS n) u""",
    # Special characters are at the start, at the end, and in between.
    "texts of each length": r"""
        SELECT length, overlay(t placing special from 1) AS a,
            overlay(t placing special from greatest(length, 1)) AS b,
            overlay(t placing special from 1 + length / 2) AS c, t AS d
        FROM generate_series(0, 280) length,
            (VALUES (','), ('"'), (E'\n'), (E'\\'), ('.'), (E'\x01')) s (special),
            LATERAL (SELECT repeat('x', length) AS t) u""",
    "bytes of each length": """
        SELECT n AS a, substring(decode(repeat(md5(n::text), 300), 'hex') FOR n) AS b
        FROM generate_series(0, 4100) n
        WHERE n < 50 OR n BETWEEN 2040 AND 2056 OR n > 4090""",
    "dates of each day":
        "SELECT '1899-12-01'::date + g AS a FROM generate_series(0, 40000) g",
    # Ends of buffers fall on every place in a row.
    "many rows": r"""
        SELECT g, -g AS m, g % 2 = 0 AS b, NULLIF(g % 7, 0) AS n,
            repeat(E'\\"\n', g % 60) AS t, g / 7.0 AS d,
            '2024-12-03'::date + g % 366 AS e, 'x'::"char" AS c
        FROM generate_series(1, 30000) g""",
}

# Stored rows are encoded by another path than those of a query that computes
# them.  Each value is once followed by others, and once a row's last one.
STORED = {
    "numbers of each length": ("numbers", "abcdefgh"),
    "texts of each length": ("texts", "abcd"),
    "bytes of each length": ("bytes", "ab"),
    "dates of each day": ("dates", "a"),
}
for _query, (_table, _columns) in STORED.items():
    QUERIES[f"{_query}, stored"] = f"TABLE {_table}"
    for _column in _columns:
        QUERIES[f"{_query}, stored, {_column} last"] = f"TABLE {_table}_{_column}"

BUILT_IN = """
    SELECT t.typname, quote_ident(n.nspname) || '.' || quote_ident(t.typname),
        t.typdelim, t.typsend <> 0, t.typarray <> 0
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE n.nspname IN ('pg_catalog', 'information_schema')
        AND t.typtype NOT IN ('p', 'c') AND t.typinput <> 'array_in'::regproc
    ORDER BY 1
"""


def array_of(values, delimiter):
    """An array's literal, with a null at its end."""
    quoted = (
        '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for value in values
    )
    return "{" + delimiter.join([*quoted, "NULL"]) + "}"


def create(db):
    """Makes all tables; returns the zoo's columns that have a binary form.

    In table zoo, column c_x has the type x, and a_x an array of it.
    """
    definitions, columns, binary = [], [], []
    for name, full_name, delimiter, has_binary, has_array in execute(
        db, BUILT_IN
    ):
        if name not in VALUES:
            continue
        values = VALUES[name]
        added = [(f"c_{name}", full_name, values)]
        if has_array:
            arrays = [array_of(values, delimiter), "{}"]
            arrays.append(array_of(values[:1], delimiter))
            arrays.append(
                "[0:0][2:3]={"
                + array_of(values[-1:], delimiter)
                + "}"
            )
            added.append((f"a_{name}", full_name + "[]", arrays))
        for column, column_type, column_values in added:
            definitions.append(f"{column} {column_type}")
            columns.append((column, column_values))
            if has_binary:
                binary.append(column)
    execute(db, f"CREATE TABLE zoo ({', '.join(definitions)})")
    # The last row is null throughout.
    count = max(len(values) for _, values in columns)
    names = ", ".join(name for name, _ in columns)
    places = ", ".join(["%s"] * len(columns))
    for row in range(count):
        values = [values[row % len(values)] for _, values in columns]
        execute(db, f"INSERT INTO zoo ({names}) VALUES ({places})", values)
    execute(db, "INSERT INTO zoo DEFAULT VALUES")
    for script in (OWN_TYPES, STATISTICS, SPECIAL, SHAPES):
        execute(db, script)
    for query, (table, columns) in STORED.items():
        execute(db, f"CREATE TABLE {table} AS {QUERIES[query]}")
        for last in columns:
            execute(
                db,
                f"CREATE TABLE {table}_{last} AS"
                f" SELECT a AS first, {last} FROM {table}",
            )
    return binary
