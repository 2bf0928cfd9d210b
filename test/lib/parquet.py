"""The values that several readers find in a Parquet file, as PostgreSQL prints them.

    with Readers() as readers:
        for column in readers.read("duckdb", path):
            column.name, column.kind, column.texts    as COPY writes them
        readers.query("SELECT count(*) FROM '/tmp/x.parquet'")

DuckDB, hyparquet and arrow-rs (parquet-wasm) share no code.  They run in one
process of Node, test/readers/read.mjs, which defines the kinds of columns; threads
may share it.  If pyarrow and DuckDB's program are installed, they read the same
files (parquet_debian.py).
"""

import datetime
import fractions
import json
import math
import os
import pathlib
import re
import shutil
import struct
import subprocess
import threading
import uuid

from . import parquet_debian

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "readers"
READERS = ("duckdb", "hyparquet", "arrow", *parquet_debian.available())
UNAVAILABLE = "npm cannot install the readers of Parquet (test/readers/install.sh)"


def available(folder=FOLDER):
    """Whether Node and a folder's packages are installed."""
    return shutil.which("node") and (folder / "node_modules/.installed").exists()


class ReaderError(Exception):
    """A reader cannot read the file."""


class Column:
    def __init__(self, name, kind, values):
        self.name = name
        self.kind = kind
        self.values = values

    @property
    def texts(self):
        """Each value as PostgreSQL prints it; None is null."""
        return [text_of(self.kind, value) for value in self.values]

    def adopt(self, kind):
        """Sets the kind from the schema, where the reader returns bytes instead.

        arrow-rs has neither enums nor UUIDs.
        """
        self.kind = adopted(self.kind, kind)


def adopted(found, kind):
    if isinstance(found, dict) and isinstance(kind, dict):
        assert found.keys() == kind.keys(), (found, kind)
        ((what, inner),) = found.items()
        if what == "list":
            return {what: adopted(inner, kind[what])}
        if what == "map":
            return {what: list(map(adopted, inner, kind[what]))}
        assert [name for name, _ in inner] == [name for name, _ in kind[what]]
        return {what: [[name, adopted(one, other)]
                       for (name, one), (_, other) in zip(inner, kind[what])]}
    if found == "bytes" and kind in ("text", "uuid"):
        return f"{kind} as bytes"
    assert found == kind, (found, kind)
    return kind


# Node cannot free DuckDB's memory, so a process of this size is replaced.
LARGE = 1 << 30


class Readers:
    def __enter__(self):
        self._lock = threading.Lock()
        self._start()
        return self

    def __exit__(self, *exception):
        self._end()

    def _start(self):
        self._process = subprocess.Popen(
            ["node", "--max-old-space-size=4096", "read.mjs"], cwd=FOLDER,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
        )

    def _end(self):
        self._process.stdin.close()
        self._process.wait(30)

    def _is_large(self):
        with open(f"/proc/{self._process.pid}/statm") as file:
            pages = int(file.read().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") > LARGE

    def read(self, reader, path):
        """The columns of a file."""
        if reader in parquet_debian.available():
            found = parquet_debian.read(reader, path)
        else:
            found = self._request(reader=reader, file=os.fspath(path))["columns"]
        return [Column(*column) for column in found]

    def columns(self, sql):
        """The columns of a query in DuckDB."""
        found = self._request(reader="duckdb", query=sql)["columns"]
        return [Column(*column) for column in found]

    def query(self, sql):
        """The rows of a query in DuckDB, as lists of texts."""
        return self._request(sql=sql)["rows"]

    def _request(self, **request):
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            if line and self._is_large():
                self._end()
                self._start()
        if not line:
            raise ReaderError(f"Node ended, during {request}")
        response = json.loads(line)
        if "error" in response:
            raise ReaderError(f"{request}: {response['error']}")
        return response


# ---- values, as PostgreSQL's output functions print them ----


def text_of(kind, value):
    if value is None:
        return None
    if isinstance(kind, dict):
        if "list" in kind:
            return array_text(kind["list"], value)
        return map_text(value) if "map" in kind else row_text(kind, value)
    if kind.startswith("decimal"):
        return decimal_text(value, int(kind[:-1].split(",")[1]))
    return _TEXTS.get(kind, str)(value)


def leaf_text(leaf, value):
    """The text of a value of a ParquetFile's leaf (parquet_file.py)."""
    if value is None:
        return None
    if leaf.kind() == "text":
        return value.decode()
    if leaf.kind() == "bytes":
        return text_of("bytes", value.hex())
    if leaf.kind() == "uuid":
        return text_of("uuid as bytes", value.hex())
    if leaf.kind() == "bool":
        return text_of("bool", str(value).lower())
    return text_of(leaf.kind(), str(leaf.order(value)))


def _bool(value):
    return {"true": "t", "false": "f"}[value]


def decimal_text(value, scale):
    negative, digits = value.startswith("-"), value.lstrip("-")
    if scale:
        digits = digits.zfill(scale + 1)
        digits = f"{digits[:-scale]}.{digits[-scale:]}"
    return "-" + digits if negative else digits


# From this value on, Python cannot pack floats of four bytes.
FLOAT4_MAX = 3.4028235677973366e38 * (1 - 2 ** -53)


def _shortest(value, most, code, whole):
    """The shortest digits that identify the value among its neighbours."""
    bits = struct.pack(code, value)
    for precision in range(most):
        found = f"{value:.{precision}e}"
        if code == "<f" and abs(float(found)) > FLOAT4_MAX:
            continue
        if struct.pack(code, float(found)) == bits:
            if precision == most - 1 or not _is_tie(value, found, code, whole):
                return found
    return found


def _is_tie(value, found, code, whole):
    value, found = abs(value), abs(fractions.Fraction(found))
    (bits,) = struct.unpack(whole, struct.pack(code, value))
    far = abs(found - fractions.Fraction(value))
    for other in (bits - 1, bits + 1):
        if far and other >= 0:
            (near,) = struct.unpack(code, struct.pack(whole, other))
            if math.isfinite(near) and far * 2 == abs(
                fractions.Fraction(near) - fractions.Fraction(value)
            ):
                return True
    return False


def _floating(text, single):
    """The shortest digits, in scientific notation where C's %g would use it."""
    value = float(text)
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    digits = _shortest(value, *((9, "<f", "<i") if single else (17, "<d", "<q")))
    mantissa, exponent = digits.split("e")
    exponent = int(exponent)
    if value and not -4 <= exponent < (6 if single else 15):
        return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    places = len(mantissa.partition(".")[2]) - exponent
    found = f"{value:.{max(places, 0)}f}"
    return found if value or found[0] != "-" else "-0"


def _civil(days):
    """Year, month and day of a day number since 1970; the year 0 is 1 BC."""
    # A period of 400 years always has the same number of days.
    eras, rest = divmod(days + 719468, 146097)
    date = datetime.date(1970, 1, 1) + datetime.timedelta(rest - 719468 + 146097 * 3)
    return date.year + 400 * (eras - 3), date.month, date.day


def date_text(days):
    year, month, day = _civil(int(days))
    era = ""
    if year <= 0:
        year, era = 1 - year, " BC"
    return f"{year:04}-{month:02}-{day:02}{era}"


def time_text(micros):
    seconds, micros = divmod(int(micros), 10**6)
    hours, rest = divmod(seconds, 3600)
    text = f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
    return text + f".{micros:06}".rstrip("0") if micros else text


def timestamp_text(micros, zone=""):
    days, rest = divmod(int(micros), 86400 * 10**6)
    date, _, era = date_text(days).partition(" ")
    return f"{date} {time_text(rest)}{zone}{' BC' if era else ''}"


_TEXTS = {
    "bool": _bool,
    "float4": lambda value: _floating(value, True),
    "float8": lambda value: _floating(value, False),
    "bytes": lambda value: "\\x" + value,
    "date": date_text,
    "time": time_text,
    "timestamp": timestamp_text,
    "text as bytes": lambda value: bytes.fromhex(value).decode(),
    "uuid as bytes": lambda value: str(uuid.UUID(value)),
    "timestamptz": lambda value: timestamp_text(value, "+00"),
}


def _array_item(text):
    if text is None:
        return "NULL"
    if text == "" or text.upper() == "NULL" or re.search(
        r'[{},"\\ \t\n\r\v\f]', text
    ):
        return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
    return text


def array_text(kind, values):
    def item(value):
        return _array_item(text_of(kind, value))

    return "{" + ",".join(map(item, values)) + "}"


def _field(text):
    if text is None:
        return ""
    if text == "" or re.search(r'[(),"\\ \t\n\r\v\f]', text):
        return '"' + re.sub(r'(["\\])', r"\1\1", text) + '"'
    return text


def row_text(kind, values):
    fields = [text_of(inner, value)
              for (_, inner), value in zip(kind["row"], values)]
    return "(" + ",".join(map(_field, fields)) + ")"


def map_text(pairs):
    """The pairs as hstore prints them, with the shortest keys first."""

    def quoted(text):
        if text is None:
            return "NULL"
        return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'

    pairs = sorted(pairs, key=lambda pair: (len(pair[0].encode()), pair[0].encode()))
    return ", ".join(f"{quoted(key)}=>{quoted(item)}" for key, item in pairs)


# ---- COPY's text ----

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def copied(data):
    """The rows of COPY's text format, as lists of texts and None."""
    rows = []
    for line in data.decode().split("\n")[:-1]:
        rows.append([
            None if field == "\\N" else re.sub(
                r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), field,
                flags=re.S,
            ) if "\\" in field else field
            for field in line.split("\t")
        ])
    return rows
