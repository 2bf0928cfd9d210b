"""SQL expressions for random values of each type.

An expression is over the row's number g, and its value depends only on g and
the seeds that are drawn for it.  Common values are mixed with special ones: the
ends of a type's range, lengths around a power of two, characters that a format
must escape.
"""

SCHEMA = "drawn"

TYPES = rf"""
    CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public;
    CREATE SCHEMA {SCHEMA};
    SET search_path = {SCHEMA}, public;
    CREATE TYPE mood AS ENUM ('sad', 'so, so', 'quo"te', '\.', '', '1', 't');
    CREATE TYPE pair AS (number int, "a, name" text);
    CREATE TYPE nest AS (p pair, j json, m mood, t timestamptz, n numeric);
    CREATE DOMAIN whole AS int;
    CREATE DOMAIN negative AS whole CHECK (VALUE < 0);
    CREATE DOMAIN truth AS bool;
    CREATE DOMAIN amount AS numeric(12,2);
    CREATE DOMAIN real_number AS float8;
    CREATE DOMAIN word AS text;
    CREATE DOMAIN short_word AS varchar(20);
    CREATE DOMAIN moment AS timestamptz;
    CREATE DOMAIN day AS date;
    CREATE DOMAIN bytes AS bytea;
    CREATE DOMAIN document AS json;
    CREATE DOMAIN feeling AS mood;
    CREATE DOMAIN couple AS pair;
    CREATE DOMAIN wholes AS int[];
    CREATE DOMAIN couples AS pair[];
    CREATE TYPE deep AS (n nest, ns nest[], map hstore, r int4range, d couple,
        ds couples, days day[], m mood[], amount numeric(12,2));
"""

_MOODS = ["sad", "so, so", 'quo"te', "\\.", "", "1", "t"]

# Characters that are special in formats, in JSON, or for their readers.
_ASCII = ",;|\t\n\r\"'\\.N \x01\b\v\f\x1b\x1f\x7f{}()[]:-+01aetx/~&<>%"
_WORDS = [
    "", "\\.", "\\N", "\\\\.", ".", "NULL", "null", "0", "1", "t", "-1", " ",
    "a b", '"', '""', "'", "\\", "\n", "\r", "\r\n", "\t", ",", "x\\", "x\n",
    "{}", "{\"a\": 1}", "()", "\x7f", "--", " x ",
]
_LENGTHS = [0, 1, 3, 7, 8, 9, 15, 16, 17, 23, 24, 31, 32, 33, 63, 64, 100]
_LONG_LENGTHS = [2000, 4095, 4096, 4097, 8192, 65536]


def literal(text):
    """An SQL string literal."""
    return "E'" + "".join(map(_escape, text)) + "'"


def _escape(char):
    if char.isascii() and (char.isalnum() or char in " ,.:+-/{}[]()<>_"):
        return char
    return f"\\x{ord(char):02x}" if char.isascii() else f"\\U{ord(char):08x}"


class Values:
    """Expressions over g for values of each type."""

    def __init__(self, rng, charset):
        self.rng = rng
        self.charset = charset
        self.g = "g"

    # Variation of values from row to row

    def hash(self):
        """A random int8."""
        return f"hashint8extended({self.g}, {self.rng.getrandbits(62)})"

    def _hex(self):
        """The text of 32 hexadecimal digits."""
        return (
            f"encode(int8send({self.hash()}) || int8send({self.hash()}),"
            " 'hex')"
        )

    def below(self, limit):
        """A random int4 from 0 to limit - 1."""
        return f"(({self.hash()} & 1073741823)::int % {limit})"

    def pick(self, type, values):
        """One of these values."""
        literals = ", ".join(literal(str(value)) for value in values)
        index = self.below(len(values))
        return f"(ARRAY[{literals}]::{type}[])[1 + {index}]"

    def mix(self, usual, *rare, often=None):
        """The usual expression, but each of the others in a small part of the
        rows."""
        scale = often or self.rng.choice([7, 15, 63])
        whens = "".join(
            f" WHEN {i} THEN {value}" for i, value in enumerate(rare)
        )
        return f"CASE {self.hash()} & {scale}{whens} ELSE {usual} END"

    # Numbers

    def _integer(self, bits):
        type = f"int{bits // 8}"
        top = 2 ** (bits - 1)
        h = self.hash()
        usual = self.rng.choice([
            f"({h} >> {64 - bits})::{type}",
            f"({h} % 1000)::{type}",
            f"({h} >> ({64 - bits} + {self.below(bits)}))::{type}",
        ])
        edges = [0, -1, 9, 10, -10, 99, 100, 9999, 10000, top - 1, -top]
        return type, self.mix(usual, self.pick(type, edges))

    def int2(self):
        return self._integer(16)

    def int4(self):
        return self._integer(32)

    def int8(self):
        return self._integer(64)

    def oid(self):
        return "oid", f"(({self.hash()} >> 32) & 4294967295)::oid"

    def bool(self):
        return "bool", f"({self.hash()} & 1) = 0"

    def _float(self, type, mantissa, exponent, edges):
        h = self.hash()
        usual = self.rng.choice([
            # any bits
            f"((1 + ({h} & {mantissa})::float8 / {mantissa + 1})"
            f" * 2::float8 ^ ({self.below(2 * exponent)} - {exponent - 1}))"
            f"::{type}",
            f"(({h} % 1000000)::float8 / 100)::{type}",
            f"({h} % 1000)::{type}",
            f"('1e' || {self.below(70)} - 35)::{type}",
        ])
        return type, self.mix(
            f"(CASE {h} & 1 WHEN 0 THEN 1 ELSE -1 END * {usual})::{type}",
            self.pick(type, edges),
            # denormal
            f"(({self.hash()} & {mantissa} | 1)::{type} * '{edges[0]}'"
            f"::{type})",
        )

    def float4(self):
        return self._float("float4", 2**23 - 1, 126, [
            "1e-45", "0", "-0", "NaN", "Infinity", "-Infinity", "3.4028235e38",
            "1.1754944e-38", "16777216", "1e6", "1e15", "1e-4", "1e-5", "0.1",
        ])

    def float8(self):
        return self._float("float8", 2**52 - 1, 1022, [
            "5e-324", "0", "-0", "NaN", "Infinity", "-Infinity",
            "1.7976931348623157e308", "2.2250738585072014e-308",
            "9007199254740993", "1e14", "1e15", "1e16", "1e-4", "1e-5",
            "0.1", "0.30000000000000004",
        ])

    def _digits(self, most):
        """The text of 1 to most (at most 32) digits."""
        return (
            f"left(({self.hash()} & {2**63 - 1})::text"
            f" || ({self.hash()} & {2**63 - 1})::text, 1 + {self.below(most)})"
        )

    def numeric(self):
        sign = f"(CASE {self.hash()} & 1 WHEN 0 THEN '' ELSE '-' END"
        zeros = f"repeat('0', {self.below(60)})"
        usual = self.rng.choice([
            f"({self.hash()} % 100000) * 0.01",
            f"({self.hash()} % 10000000000) * 0.0000001",
            f"{self.hash()}::numeric",
            f"{sign} || {self._digits(32)} || '.' || {self._digits(32)})"
            "::numeric",
            f"{sign} || {self._digits(8)} || '.' || {self._digits(8)})"
            "::numeric",
            f"{sign} || '0.' || {zeros} || {self._digits(9)})::numeric",
            f"{sign} || {self._digits(9)} || {zeros})::numeric",
            f"{sign} || {self._digits(5)} || {zeros} || '.' || {zeros}"
            f" || {self._digits(5)})::numeric",
        ])
        long = f"repeat({self._digits(32)}, {self.below(31)})"
        edges = [
            0, "0.0", "0.000000", "-0.00", "NaN", "Infinity", "-Infinity",
            "1e1000", "1e-1000", "9999", "10000", "-0.0001", "0." + 63 * "0",
            "1e40", "1e39", "9.9e36", "1." + 40 * "0", "1." + 41 * "0",
            "1e255", "1e256", "1e-70",
        ]
        return "numeric", self.mix(
            usual, self.pick("numeric", edges),
            self.mix(
                f"({sign} || 1 || {long} || '.' || {long} || 0)::numeric)",
                "1e20000::numeric", often=511,
            ),
            often=self.rng.choice([15, 255]),
        )

    def numeric_typmod(self):
        precision, scale = self.rng.choice([
            (1, 0), (4, 4), (5, 2), (9, 0), (12, 2), (18, 6), (38, 10),
            (60, 40), (60, 41), (8, -2),
        ])
        digits = min(32, precision - scale)
        usual = f"({self._digits(32)} || 'e-{32 - digits}')::numeric"
        # The scale has as many digits as the value, so that rounding never
        # overflows.
        usual = f"trunc({usual}, {max(scale, 0)})"
        if scale < 0:
            usual = f"{self.below(99999999)}::numeric"
        return f"numeric({precision},{scale})", self.mix(
            usual, f"-{usual}", self.pick("numeric", [0, "NaN", "-0.0"]),
            often=3,
        )

    def money(self):
        return "money", f"({self.hash()} % 1000000000000)::numeric::money"

    # Characters and bytes

    def odd_text(self, length):
        """Random characters, some of them special."""
        plain = "abcdefghijklmnopqrstuvwxyz0123456789"
        odd = _ASCII + 4 * self.charset
        part = self.rng.choice([0, 0.05, 0.2, 0.5, 1])
        return "".join(
            self.rng.choice(odd if self.rng.random() < part else plain)
            for _ in range(length)
        )

    def text_of(self, long=True):
        odd = literal(self.odd_text(256))
        words = _WORDS + list(self.charset)
        first = self.below(200)
        usual = self.rng.choice([
            f"substr({odd}, {first}, {self.below(33)})",
            f"substr({odd}, {first}, {self.below(4)})",
            f"substr({odd}, {first}, {self.pick('int', _LENGTHS)})",
            # a special character somewhere in a plain text
            f"repeat('x', {self.below(35)}) || substr({odd}, {first},"
            f" {self.below(3)}) || repeat('y', {self.below(35)})",
            self.pick("text", words),
        ])
        rare = [self.pick("text", words)]
        if long:
            rare.append(self.mix(
                odd,
                f"left(repeat({odd}, 300),"
                f" {self.pick('int', _LONG_LENGTHS)})",
                often=127,
            ))
        return self.mix(usual, *rare)

    def text(self):
        return "text", self.text_of()

    def varchar(self):
        limit = self.rng.choice([1, 7, 20, 5000])
        return f"varchar({limit})", f"left({self.text_of()}, {limit})"

    def bpchar(self):
        limit = self.rng.choice([1, 2, 8, 17, 40])
        return f"char({limit})", f"left({self.text_of(False)}, {limit})"

    def name(self):
        return "name", f"({self.text_of(False)})::name"

    def single_char(self):
        values = list("a,\"\\\n\t1t'") + [""]
        return '"char"', self.pick('"char"', values)

    def bytea(self):
        bytes = f"int8send({self.hash()}) || int8send({self.hash()})"
        long = f"decode(repeat({self._hex()}, 1 + {{}}), 'hex')"
        return "bytea", self.mix(
            f"substr({bytes}, 1, {self.below(17)})",
            self.mix(
                long.format(self.below(3)), long.format(self.below(5000)),
                often=127,
            ),
            self.pick("bytea", ["", "\\x00", "\\x5c", "\\x0a0d222c"]),
        )

    def uuid(self):
        return "uuid", f"{self._hex()}::uuid"

    def bit(self):
        return "bit(13)", f"{self.hash()}::bit(13)"

    def varbit(self):
        return "varbit", (
            f"substring({self.hash()}::bit(64), 1, {self.below(65)})"
        )

    def inet(self):
        version4 = f"'10.0.0.0'::inet + ({self.hash()} & 4294967)"
        version6 = f"'8000::'::inet + {self.hash()}"
        return "inet", self.mix(
            f"set_masklen({version4}, {self.below(33)})", version4, version6,
            f"set_masklen({version6}, {self.below(129)})", often=7,
        )

    def macaddr(self):
        return "macaddr", f"left({self._hex()}, 12)::macaddr"

    # Dates and times

    def date(self):
        h = self.hash()
        usual = self.rng.choice([
            f"'2000-01-01'::date + ({h} % 20000)::int",
            f"'2000-01-01'::date + ({h} % 2451507)::int",
            f"'2000-01-01'::date + {self.below(900000000)} * 2",
            f"'0001-01-01'::date + ({h} % 800)::int",
            f"'9999-12-31'::date + ({h} % 800)::int",
        ])
        edges = [
            "infinity", "-infinity", "0001-01-01", "0001-12-31 BC",
            "4713-01-01 BC", "9999-12-31", "10000-01-01", "5874897-12-31",
            "2000-02-29", "1900-03-01", "1999-12-31", "1970-01-01",
        ]
        return "date", self.mix(usual, self.pick("date", edges))

    def _microseconds(self, range):
        """A random interval of at most that many microseconds, of either sign.
        """
        step = self.rng.choice([1, 1, 10, 100000, 1000000, 60000000])
        count = max(range // step, 1)
        return f"({self.hash()} % {count}) * interval '{step} us'"

    def _timestamp(self, type):
        base, range = self.rng.choice([
            ("2000-01-01", 3 * 10**15), ("2000-01-01", 2 * 10**17),
            ("1900-01-01", 2 * 10**15), ("1850-01-01", 10**15),
            ("0001-01-01", 10**14), ("9999-12-31", 10**14),
            ("147000-01-01", 4 * 10**18), ("2000-01-01", 10**7),
        ])
        edges = [
            "infinity", "-infinity", "0001-01-01 00:00:00",
            "0001-12-31 23:59:59.999999 BC", "4713-01-02 00:00:00 BC",
            "9999-12-31 23:59:59.999999", "10000-01-01 00:00:00",
            "294276-12-31 00:00:00", "2000-01-01 00:00:00",
            "1999-12-31 23:59:59.999999", "2024-02-29 12:00:00.1",
            "1900-01-01 00:00:00.000001",
        ]
        return type, self.mix(
            f"'{base}'::{type} + {self._microseconds(range)}",
            self.pick(type, edges),
        )

    def timestamp(self):
        return self._timestamp("timestamp")

    def timestamptz(self):
        return self._timestamp("timestamptz")

    def time(self):
        edges = ["24:00:00", "00:00:00", "23:59:59.999999", "12:00:00.5"]
        return "time", self.mix(
            f"'00:00'::time + {self._microseconds(86400 * 10**6)}",
            self.pick("time", edges),
        )

    def timetz(self):
        zones = ["+00", "-08", "+05:30", "+15:59:59", "-15:59:59", "-00:00:01"]
        return "timetz", (
            f"(({self.time()[1]})::text || {self.pick('text', zones)})::timetz"
        )

    def interval(self):
        edges = [
            "0", "-1 mon +1 day -00:00:01", "178000000 years", "1 year",
            "-178000000 years", "2147483647 days", "-2147483648 days",
            "-0.000001 s", "2562047788:00:54.775807", "-1 year -2 mon +3 days",
        ]
        return "interval", self.mix(
            f"make_interval(months => ({self.hash()} % 50)::int)"
            f" + make_interval(days => ({self.hash()} % 100)::int)"
            f" + {self._microseconds(10**12)}",
            self._microseconds(10**15),
            self.pick("interval", edges),
        )

    # Types that are made of other types

    def scalar(self):
        """A value of any type above."""
        return self.rng.choice(_SCALARS)(self)

    def json(self):
        raw = (
            "(E'{{\\r\\n \"a\": ' || to_json({0}) || E',\\n\\t\"b\" : [' || {1}"
            " || E'\\n]}}\\n')::json"
        ).format(self.text_of(False), self.below(99))
        edges = [
            "null", "1", '"x"', " {} ", "[\n]", "{\"a\": 1e400, \"a\": -0}",
            '"\\u0000\\u00e9\\ud83d\\ude00"', '"\\\\n\\n"', "\r\n1\r\n",
        ]
        return "json", self.mix(
            self.rng.choice([raw, f"to_json({self.text_of()})"]),
            self.pick("json", edges),
        )

    def jsonb(self):
        edges = ["null", "1.50", '"x"', "{}", "[]", '"\\\\n\\n"', "1e400"]
        return "jsonb", self.mix(
            f"jsonb_build_object('k', {self.text_of(False)},"
            f" {literal(self.odd_text(9))}, {self.below(99)} - 50)",
            self.pick("jsonb", edges),
        )

    def array(self):
        type, value = self.scalar()
        type = type.partition("(")[0]
        # Plain char would be char(1).
        type = {"char": "bpchar"}.get(type, type)
        value = f"({value})::{type}"
        return f"{type}[]", self.mix(
            f"ARRAY[{value}, NULL, {value}]",
            f"ARRAY[{value}]",
            f"ARRAY[ARRAY[{value}], ARRAY[{value}]]",
            f"'{{}}'::{type}[]",
            f"array_fill({value}, ARRAY[2, 1, 2], ARRAY[-1, 0, 5])",
            often=7,
        )

    def enum(self):
        return "mood", self.pick("mood", _MOODS)

    def pair(self):
        text = self.text_of(False)
        return "pair", self.mix(
            f"ROW({self.int4()[1]}, {text})::pair", "ROW(NULL, NULL)::pair",
            f"ROW(NULL, {text})::pair",
        )

    def pairs(self):
        value = self.pair()[1]
        return "pair[]", f"ARRAY[{value}, NULL, {value}]"

    def nest(self):
        parts = (self.pair, self.json, self.enum, self.timestamptz,
                 self.numeric)
        values = ", ".join(part()[1] for part in parts)
        return "nest", f"ROW({values})::nest"

    def nests(self):
        value = self.nest()[1]
        return "nest[]", self.mix(
            f"ARRAY[{value}, NULL, {value}]", "'{}'::nest[]",
            "ARRAY[NULL]::nest[]", often=3,
        )

    def map(self):
        key, other = self.text_of(False), self.pick("text", _WORDS)
        return "hstore", self.mix(
            f"hstore(ARRAY[{key}, {other}], ARRAY[{self.text_of()}, NULL])",
            "''::hstore", f"hstore({key}, NULL)", often=7,
        )

    def deep(self):
        days = f"ARRAY[NULL, {self.date()[1]}]::day[]"
        return "deep", self.mix(
            f"ROW({self.nest()[1]}, {self.nests()[1]}, {self.map()[1]},"
            f" {self.mix(self._int4range(), 'NULL', often=7)}, {self.pair()[1]},"
            f" {self.pairs()[1]}, {days}, ARRAY[{self.enum()[1]}, NULL],"
            f" {self.below(1000000)} * 0.01)::deep",
            "ROW(NULL, '{}', '', 'empty', NULL, '{}', NULL, '{}', 'NaN')::deep",
            often=7,
        )

    def _int4range(self):
        return f"int4range({self.below(9)}, 9 + {self.below(9)})"

    def range(self):
        make, part = self.rng.choice([
            ("int4range", self.int4), ("numrange", self.numeric),
            ("daterange", self.date), ("tstzrange", self.timestamptz),
            ("tsrange", self.timestamp), ("int8range", self.int8),
        ])
        a, b = part()[1], part()[1]
        bounds = "'[)'"  # other bounds may be out of range in their canonical form
        if part in (self.numeric, self.timestamp, self.timestamptz):
            bounds = self.pick("text", ["[)", "()", "(]", "[]"])
        value = self.mix(
            f"{make}(least({a}, {b}), greatest({a}, {b}), {bounds})",
            f"{make}({a}, NULL)", f"'empty'::{make}", often=7,
        )
        if self.rng.randrange(3) == 0:
            return make.replace("range", "multirange"), f"multirange({value})"
        return make, value

    def domain(self):
        return self.rng.choice([
            lambda: ("whole", self.int4()[1]),
            lambda: ("negative", f"-1 - {self.below(1000000000)}"),
            lambda: ("truth", self.bool()[1]),
            lambda: ("amount", f"({self.hash()} % 10000000) * 0.01"),
            lambda: ("real_number", self.float8()[1]),
            lambda: ("word", self.text_of()),
            lambda: ("short_word", f"left({self.text_of()}, 20)"),
            lambda: ("moment", self.timestamptz()[1]),
            lambda: ("day", self.date()[1]),
            lambda: ("bytes", self.bytea()[1]),
            lambda: ("document", self.json()[1]),
            lambda: ("feeling", self.enum()[1]),
            lambda: ("couple", self.pair()[1]),
            lambda: ("wholes", f"ARRAY[{self.int4()[1]}, NULL]"),
            lambda: ("couples", self.pairs()[1]),
        ])()


_SCALARS = [
    Values.int2, Values.int4, Values.int8, Values.oid, Values.bool,
    Values.float4, Values.float8, Values.numeric, Values.numeric_typmod,
    Values.text, Values.varchar, Values.bpchar, Values.name, Values.date,
    Values.timestamp, Values.timestamptz, Values.time, Values.timetz,
    Values.interval, Values.uuid, Values.bytea, Values.inet,
]
_OTHERS = [
    Values.money, Values.single_char, Values.bit, Values.varbit,
    Values.macaddr, Values.json, Values.jsonb, Values.array, Values.array,
    Values.enum, Values.pair, Values.pairs, Values.nest, Values.nests,
    Values.deep, Values.map, Values.range,
    Values.domain, Values.domain, Values.domain,
]
# Types with the most code come more often.
KINDS = 2 * _SCALARS + 2 * [Values.text, Values.numeric] + _OTHERS
