"""Random tables, and random ways to export them.

    draw = Draw(seed, number)
    draw.script     SQL that makes a table t in a schema of its own
    draw.exports    queries, settings and options to export it with
    draw.cleanup    SQL that drops it

The seed and the number determine all of it.  PostgreSQL makes the rows, so a
Draw is only SQL; it needs randomvalues.TYPES, and the settings of a fresh
session.  All SQL is ASCII: its meaning does not depend on client_encoding.
"""

import random

from .randomvalues import KINDS, SCHEMA, Values, literal

ROWS = 10000

# Rows that are written before columns are dropped and added.
_EARLY_ROWS = 9000
_MAX_COLUMNS = 30
# Vacuum could change the plan, and so the order of rows.
_NO_VACUUM = "WITH (autovacuum_enabled = off)"

_LATIN = "\u00e9\u00fc\u00df\u00f1\u00a1\u00ff\u00a7\u00a0"
# In SJIS the second byte of the first four is a backslash or a bar.
_JAPANESE = "\u8868\u30bd\u80fd\u30dd\u3042\uff8e"
_ANY = "\u20ac\u03a9\ud55c\u0080\u0800\u2028\ufeff\uffff\U0001f600\U0010ffff"

# Non-ASCII characters that a table's text may have, and the encodings that have
# them.
_CHARSETS = [
    ("", ["UTF8", "SQL_ASCII", "LATIN1", "WIN1252", "SJIS", "GB18030"]),
    (_LATIN, ["UTF8", "SQL_ASCII", "LATIN1", "WIN1252"]),
    (_JAPANESE, ["UTF8", "SQL_ASCII", "SJIS", "EUC_JP", "GB18030"]),
    (_LATIN + _JAPANESE + _ANY, ["UTF8", "SQL_ASCII"]),
]

_NAMES = [
    "id", "name", "UPPER", "a,b", 'quo"te', " ", "\\.", "a\\b", "it's", "a|b",
    "\n", "tab\t", "1", "t", "select", "a;b", "e", "\x01", "x" * 63,
]

_ZONES = [
    "UTC", "America/New_York", "Asia/Kolkata", "America/St_Johns",
    "Asia/Kathmandu", "Africa/Monrovia", "Australia/Lord_Howe",
    "Pacific/Kiritimati", "Pacific/Apia", "Europe/Amsterdam", "Etc/GMT+12",
    "<x>-15:59", "<+0317>-3:17", "5.5", "99", "150", "-167",
]

_STYLES = ["ISO", "ISO", "ISO", "ISO", "SQL", "German", "Postgres"]
_ORDERS = ["MDY", "DMY", "YMD"]
_INTERVALS = ["postgres", "postgres_verbose", "sql_standard", "iso_8601"]
_FLOAT_DIGITS = ["1", "1", "1", "1", "-15", "-3", "-1", "0", "2", "3"]

_FORMATS = ["csv", "csv", "text", "jsonl", "binary"]
# Characters that are also in numbers, dates and booleans, and others.  Format
# text allows no delimiter that could follow a backslash.
_DELIMITERS = ["-: +", ",;|\t'\"()/\x01\x1f\x7f\bA&~{"]
_CSV_DELIMITERS = ["-: +.e0159tfa", ",;|\t'\"()/\x01\x1f\x7f\bA&~{nx\\"]
_QUOTES = ["-: +.e0159tfa", "'|\\~\x02"]
_ESCAPES = "\\'\"a1,\n.: "
_NULLS = [
    "", "\\N", "NULL", "null", "0", "1", "-1", "t", "f", " ", "\\.", "x",
    "1.5", "NaN", "Infinity", "2000-01-01", "00:00:00", "{}", "e", "abc",
]


def identifier(name):
    """An SQL name, quoted."""
    quoted = "".join(
        char
        if char.isascii() and (char.isalnum() or char in " ,._")
        else f"\\+{ord(char):06x}"
        for char in name
    )
    return f'U&"{quoted}"'


class Column:
    """type: the declared type; value: an expression over g."""

    def __init__(self, name, type, value, is_key=False):
        self.name = name
        self.sql = identifier(name)
        self.type = type
        self.value = value
        self.is_key = is_key

    def storage(self, rng):
        """A random storage that the type allows."""
        type, _, limit = self.type.partition("(")
        if type in ("text", "varchar", "bytea", "json", "jsonb"):
            return rng.choice(["EXTERNAL", "MAIN", "EXTENDED"])
        if type in ("numeric", "char", "inet", "varbit"):
            return rng.choice(["MAIN", "PLAIN"])
        return None


class Export:
    """A query under settings, with the options of an export."""

    def __init__(self, query, settings, options):
        self.query = query
        self.settings = settings
        self.options = options

    def set_statements(self):
        return "; ".join(
            f"SET {name} = {literal(value)}"
            for name, value in self.settings.items()
        )

    def __str__(self):
        return (
            f"-- settings:\n{self.set_statements()};\n"
            f"-- query:\n{self.query}\n-- options:\n{self.options!r}"
        )


class Draw:
    """A table; columns are those that are left in the end."""

    def __init__(self, seed, number, exports=3):
        self.rng = random.Random(f"{seed}/{number}")
        self.charset, self.encodings = self.rng.choice(_CHARSETS)
        self._values = Values(self.rng, self.charset)
        self._names = _NAMES + list(self.charset)
        self.rng.shuffle(self._names)
        self._named = 0
        schema = f"{SCHEMA}_{number}"
        self.script = [
            f"CREATE SCHEMA {schema}",
            f"SET search_path = {schema}, {SCHEMA}, public",
        ]
        self.cleanup = f"DROP SCHEMA IF EXISTS {schema} CASCADE"
        self.columns = []
        self._make_table()
        self.exports = [self._export() for _ in range(exports)]

    def chance(self, of):
        """True in one of that many cases."""
        return self.rng.randrange(of) == 0

    @property
    def names(self):
        return [column.name for column in self.columns]

    @property
    def key(self):
        """A column of distinct values, or None."""
        return next((c for c in self.columns if c.is_key), None)

    # The table

    def _new_name(self):
        if self._names and self.chance(2):
            return self._names.pop()
        self._named += 1
        return f"c{self._named}"

    def _new_column(self):
        type, value = self.rng.choice(KINDS)(self._values)
        nulls = self.rng.choice([0, 0, 2, 10, 100, 1])
        if nulls:
            value = (
                f"CASE {self._values.below(nulls)} WHEN 0 THEN NULL"
                f" ELSE {value} END"
            )
        return Column(self._new_name(), type, value)

    def _new_key(self):
        """Its values are distinct, but not always in the order of the rows."""
        type = self.rng.choice(["int4", "int8", "numeric"])
        factor = self.rng.choice([1, -1, 7919])
        value = f"(g * {factor} % 1000003)::{type}"
        return Column(self._new_name(), type, value, is_key=True)

    def _make_table(self):
        # A small number is more likely than a large one.
        count = 1 + int(_MAX_COLUMNS * self.rng.random() ** 2)
        self.columns = [self._new_column() for _ in range(count)]
        if self.chance(2):
            self.columns[self.rng.randrange(count)] = self._new_key()
        columns = ", ".join(f"{c.sql} {c.type}" for c in self.columns)
        self.script.append(f"CREATE UNLOGGED TABLE t ({columns}) {_NO_VACUUM}")
        for column in self.columns:
            storage = column.storage(self.rng)
            if storage and self.chance(3):
                self.script.append(
                    f"ALTER TABLE t ALTER {column.sql} SET STORAGE {storage}"
                )
        self._insert(1, _EARLY_ROWS)
        if self.chance(2):
            self._drop_columns()
            self._add_columns()
        self._insert(_EARLY_ROWS + 1, ROWS)
        if self.chance(3):
            self._update()

    def _insert(self, first, last):
        columns = ", ".join(c.sql for c in self.columns)
        values = ",\n  ".join(f"({c.value})::{c.type}" for c in self.columns)
        self.script.append(
            f"INSERT INTO t ({columns}) SELECT\n  {values}\n"
            f"  FROM generate_series({first}::int8, {last}) g"
        )

    def _drop_columns(self):
        for column in list(self.columns):
            if len(self.columns) > 1 and self.chance(4):
                self.columns.remove(column)
                self.script.append(f"ALTER TABLE t DROP {column.sql}")

    def _add_columns(self):
        """Adds columns that existing rows do not have."""
        for _ in range(self.rng.randint(0, 3)):
            if len(self.columns) == _MAX_COLUMNS:
                break
            # The default is a value that the column has in some row.
            self._values.g = "7::int8"
            column = self._new_column()
            self._values.g = "g"
            default = f" DEFAULT ({column.value})" if self.chance(2) else ""
            self.columns.append(column)
            self.script.append(
                f"ALTER TABLE t ADD {column.sql} {column.type}{default}"
            )

    def _update(self):
        """Updates move some rows, and some are deleted."""
        column = self.rng.choice(self.columns)
        value = "NULL" if self.chance(2) and not column.is_key else column.sql
        self.script.append(
            f"UPDATE t SET {column.sql} = {value} WHERE hashtid(ctid) % 11 = 0"
        )
        if self.chance(2):
            self.script.append("DELETE FROM t WHERE hashtid(ctid) % 13 = 0")

    # Queries, as SQL and the names of the result's columns.  Their order of
    # rows is that of the heap or of distinct values.

    def _query(self):
        shapes = [
            self._part, self._part, self._expressions, self._join,
            self._union, self._view, self._sort, self._inherited,
        ]
        if self.key:
            shapes.append(self._partitioned)
        if self.chance(2):
            shapes = [self._all]
        return self.rng.choice(shapes)()

    def _all(self):
        limit = self.rng.randint(0, 5000)
        offset = self.rng.randint(0, 3000)
        return self.rng.choice([
            "TABLE t",
            "SELECT * FROM t",
            "SELECT * FROM t OFFSET 0",
            f"SELECT * FROM t LIMIT {limit} OFFSET {offset}",
            # The rows come from a tuplestore.
            "WITH w AS MATERIALIZED (SELECT * FROM t) SELECT * FROM w",
        ]), self.names

    def _some_columns(self):
        count = self.rng.randint(1, len(self.columns))
        return self.rng.sample(self.columns, count)

    def _part(self):
        some = self._some_columns()
        columns = ", ".join(c.sql for c in some)
        return f"SELECT {columns} FROM t", [c.name for c in some]

    def _expressions(self, row_cast=""):
        parts = []
        for i, column in enumerate(self._some_columns()[:12]):
            c = f"t.{column.sql}"
            part = self.rng.choice([
                c, f"{c}::text", f"ARRAY[{c}]", f"{c} IS NULL",
                f"ROW({c}, NULL, 1){row_cast}", f"to_json({c})",
                f"length({c}::text)", f"coalesce({c}::text, E'a \\\\ \"b\"')",
                "NULL", "'const,ant'", "row_number() OVER ()",
                f"NULLIF({c}::text, '0')", f"{c}::text || ','",
            ])
            parts.append(f"{part} AS e{i}")
        names = [f"e{i}" for i in range(len(parts))]
        if self.chance(4):
            parts.append('t AS "whole row"')
            names.append("whole row")
        return f"SELECT {', '.join(parts)} FROM t", names

    def _view(self):
        view = self._other("v")
        # Views have no anonymous rows.
        query, names = self._expressions(row_cast="::text")
        self.script.append(f"CREATE VIEW {view} AS {query}")
        return f"TABLE {view}", names

    def _join(self):
        some = self._some_columns()
        columns = ", ".join(f"t.{c.sql}" for c in some)
        join = self.rng.choice(["JOIN", "LEFT JOIN"])
        return (
            f"SELECT {columns}, v.v1, v.v2 FROM t {join}"
            " (VALUES (0, 'nought'), (1, NULL), (1, 'o\"ne')) v (v1, v2)"
            " ON abs(hashtid(t.ctid) % 3) = v1 ORDER BY t.ctid, v2"
        ), [*(c.name for c in some), "v1", "v2"]

    def _sort(self):
        """Sorted by a column of the result, rows are minimal tuples."""
        order = self.key.sql if self.key else "ctid"
        direction = self.rng.choice(["", " DESC"])
        limit = self.rng.choice(["", "", f" LIMIT {self.rng.randint(1, 99)}"])
        query = f"SELECT * FROM t ORDER BY {order}{direction}{limit}"
        return query, self.names

    def _other(self, prefix):
        """The name of another table or view."""
        return f"{prefix}{len(self.script)}"

    def _alike(self, name):
        """A table with the columns of t, but with other storage."""
        self.script += [
            f"CREATE UNLOGGED TABLE {name} (gone text, LIKE t, too int)"
            f" {_NO_VACUUM}",
            f"ALTER TABLE {name} DROP gone, DROP too",
        ]

    def _union(self):
        """Rows of differently stored tables, one after the other."""
        other = self._other("u")
        self._alike(other)
        self.script.append(f"INSERT INTO {other} SELECT * FROM t LIMIT 1000")
        if self.chance(2):
            query = f"TABLE {other} UNION ALL TABLE t UNION ALL TABLE {other}"
            return query, self.names
        part, names = self._part()
        return f"{part} UNION ALL {part[:-1]}{other}", names

    def _inherited(self):
        parent = self._other("i")
        self._alike(parent)
        self.script += [
            f"INSERT INTO {parent} SELECT * FROM t LIMIT 1000",
            f"CREATE UNLOGGED TABLE {parent}_child (more text)"
            f" INHERITS ({parent}) {_NO_VACUUM}",
            f"INSERT INTO {parent}_child SELECT *, 'more' FROM t",
        ]
        return f"SELECT * FROM {parent}", self.names

    def _partitioned(self):
        parent = self._other("p")
        part = "FOR VALUES WITH (MODULUS 2, REMAINDER"
        self.script += [
            f"CREATE TABLE {parent} (LIKE t)"
            f" PARTITION BY HASH ({self.key.sql})",
            f"CREATE UNLOGGED TABLE {parent}_0 PARTITION OF {parent}"
            f" {part} 0) {_NO_VACUUM}",
        ]
        self._alike(f"{parent}_1")
        self.script += [
            f"ALTER TABLE {parent} ATTACH PARTITION {parent}_1 {part} 1)",
            f"INSERT INTO {parent} SELECT * FROM t",
        ]
        return f"TABLE {parent}", self.names

    # Settings and options

    def _export(self):
        query, names = self._query()
        choice = self.rng.choice
        settings = {
            "DateStyle": f"{choice(_STYLES)}, {choice(_ORDERS)}",
            "IntervalStyle": choice(_INTERVALS),
            "TimeZone": choice(_ZONES),
            "extra_float_digits": choice(_FLOAT_DIGITS),
            "bytea_output": choice(["hex", "hex", "escape"]),
            "client_encoding": choice(["UTF8", choice(self.encodings)]),
        }
        options = {"format": choice(_FORMATS)}
        if options["format"] == "csv":
            self._csv_options(options, names)
        elif options["format"] == "text":
            self._text_options(options)
        return Export(query, settings, options)

    def _csv_options(self, options, names):
        choice = self.rng.choice
        if self.chance(2):
            options["delimiter"] = choice(choice(_CSV_DELIMITERS))
        delimiter = options.get("delimiter", ",")
        if self.chance(2) or delimiter == '"':
            options["quote"] = choice(choice(_QUOTES).replace(delimiter, ""))
        if self.chance(3):
            options["escape"] = choice(_ESCAPES)
        if self.chance(4):
            options["force_quote"] = self._force_quote(names)
        # The default always follows COPY's rules: it is empty.
        if self.chance(2):
            quote = options.get("quote", '"')
            options["null"] = self._null(delimiter + quote)
        self._common_options(options)

    def _text_options(self, options):
        if self.chance(2):
            options["delimiter"] = self.rng.choice(self.rng.choice(_DELIMITERS))
        if self.chance(2):
            options["null"] = self._null(options.get("delimiter", "\t"))
        self._common_options(options)

    def _common_options(self, options):
        if self.chance(2):
            options["header"] = self.chance(2)
        if self.chance(4):
            options["encoding"] = self.rng.choice(self.encodings)

    def _null(self, without):
        nulls = _NULLS + list(self.charset)
        nulls = [null for null in nulls if not set(null) & set(without)]
        return self.rng.choice(nulls)

    def _force_quote(self, names):
        # The clause for COPY must be ASCII.
        names = [name for name in names if name.isascii()]
        if not names or self.chance(3):
            return "*"
        return self.rng.sample(names, self.rng.randint(1, len(names)))
