"""Readers of Parquet that Debian sid packages: pyarrow and DuckDB's program.

    for name in available():
        columns = read(name, path)      [[name, kind, values], ...]

Kinds and values are those of test/readers/read.mjs.  The packages are
python3-pyarrow and duckdb; a reader is available if its package is installed.
"""

import decimal
import functools
import importlib.util
import json
import re
import shutil
import subprocess

# A decimal of Arrow has at most 76 digits.
EXACT = decimal.Context(prec=100)


def available():
    found = {
        "pyarrow": importlib.util.find_spec("pyarrow"),
        "duckdb program": shutil.which("duckdb"),
    }
    return tuple(name for name in found if found[name])


def read(reader, path):
    return {"pyarrow": _read_pyarrow, "duckdb program": _read_duckdb}[reader](path)


# ---- pyarrow ----


def _read_pyarrow(path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    columns = []
    for field, column in zip(table.schema, table.columns):
        kind = _arrow_kind(field.type)
        values = []
        for chunk in column.chunks:
            values += _arrow_values(kind, chunk)
        columns.append([field.name, kind, values])
    return columns


def _arrow_kind(type):
    from pyarrow import types

    if types.is_list(type):
        return {"list": _arrow_kind(type.value_type)}
    if types.is_map(type):
        return {"map": [_arrow_kind(type.key_type), _arrow_kind(type.item_type)]}
    if types.is_struct(type):
        return {"row": [[field.name, _arrow_kind(field.type)] for field in type]}
    if types.is_decimal(type):
        return f"decimal({type.precision},{type.scale})"
    if types.is_timestamp(type):
        return "timestamptz" if type.tz else "timestamp"
    name = re.sub(r"^extension<arrow\.(\w+).*>$", r"\1", str(type))
    return _ARROW_KINDS.get(name, name)


_ARROW_KINDS = {
    "int16": "int", "int32": "int", "int64": "int", "float": "float4",
    "double": "float8", "string": "text", "json": "text", "binary": "bytes",
    "date32[day]": "date", "time64[us]": "time",
}


def _arrow_values(kind, array):
    """The values of an array, without rounding."""
    import pyarrow

    if isinstance(array, pyarrow.ExtensionArray):
        array = array.storage
    valid = array.is_valid().to_pylist()
    if isinstance(kind, dict):
        found = _arrow_nested(kind, array)
    elif kind in ("date", "time", "timestamp", "timestamptz"):
        # Python's dates end with the year 9999.
        whole = pyarrow.int32() if kind == "date" else pyarrow.int64()
        found = map(str, array.cast(whole).to_pylist())
    else:
        # to_pylist() returns exact decimals of any precision.
        found = map(functools.partial(_arrow_text, kind), array.to_pylist())
    return [value if is_valid else None for value, is_valid in zip(found, valid)]


def _arrow_nested(kind, array):
    if "row" in kind:
        return map(list, zip(*(
            _arrow_values(inner, array.field(i))
            for i, (_, inner) in enumerate(kind["row"])
        )))
    if "list" in kind:
        items = _arrow_values(kind["list"], array.values)
    else:
        key, item = kind["map"]
        items = list(map(list, zip(
            _arrow_values(key, array.keys), _arrow_values(item, array.items)
        )))
    offsets = array.offsets.to_pylist()
    return (items[begin:end] for begin, end in zip(offsets, offsets[1:]))


def _arrow_text(kind, value):
    if value is None:
        return None
    if kind == "bool":
        return str(value).lower()
    if kind in ("bytes", "uuid"):
        return _dashes(value.hex()) if kind == "uuid" else value.hex()
    if kind.startswith("decimal"):
        scale = int(kind[:-1].split(",")[1])
        return str(int(value.scaleb(scale, EXACT)))
    return str(value)


def _dashes(digits):
    return re.sub(r"^(.{8})(.{4})(.{4})(.{4})", r"\1-\2-\3-\4-", digits)


# ---- DuckDB, which converts the values into JSON ----


def _duckdb(statement):
    program = ["duckdb", ":memory:", "-batch", "-json", "-c", statement]
    done = subprocess.run(program, capture_output=True, encoding="utf-8")
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"DuckDB: {done.stderr}")
    return json.loads(done.stdout or "[]")


def _read_duckdb(path):
    source = f"read_parquet('{path}')"
    described = _duckdb(f"DESCRIBE SELECT * FROM {source}")
    columns = [
        [column["column_name"], _duckdb_kind(column["column_type"])]
        for column in described
    ]
    values = ", ".join(
        _duckdb_text(kind, _identifier(name)) for name, kind in columns
    )
    rows = _duckdb(f"SELECT json_array({values}) AS row FROM {source}")
    found = [json.loads(row["row"]) if isinstance(row["row"], str) else row["row"]
             for row in rows]
    return [
        [name, kind, [_whole(kind, row[i]) for row in found]]
        for i, (name, kind) in enumerate(columns)
    ]


def _identifier(name):
    return '"' + name.replace('"', '""') + '"'


def _duckdb_kind(type):
    if type.endswith("[]"):
        return {"list": _duckdb_kind(type[:-2])}
    if type.startswith("MAP("):
        return {"map": list(map(_duckdb_kind, _split(type[4:-1])))}
    if type.startswith("STRUCT("):
        return {"row": list(map(_duckdb_field, _split(type[7:-1])))}
    return _DUCKDB_KINDS.get(type, type.lower())


_DUCKDB_KINDS = {
    "BOOLEAN": "bool", "SMALLINT": "int", "INTEGER": "int", "BIGINT": "int",
    "FLOAT": "float4", "DOUBLE": "float8", "VARCHAR": "text", "JSON": "text",
    "BLOB": "bytes", "TIMESTAMP WITH TIME ZONE": "timestamptz",
}


def _split(text):
    """Splits at commas outside of quotes and parentheses."""
    parts = re.findall(r'"(?:[^"]|"")*"|[(),]|[^"(),]+', text)
    found, depth = [""], 0
    for part in parts:
        depth += {"(": 1, ")": -1}.get(part, 0)
        if part == "," and depth == 0:
            found.append("")
        else:
            found[-1] += part
    return [part.strip() for part in found]


def _duckdb_field(text):
    name, type = re.fullmatch(r'("(?:[^"]|"")*"|\w+) (.*)', text, re.S).groups()
    if name.startswith('"'):
        name = name[1:-1].replace('""', '"')
    return [name, _duckdb_kind(type)]


def _duckdb_text(kind, value, depth=0):
    """An SQL expression for a value as text, or as JSON of texts."""
    if isinstance(kind, dict):
        it = f"it{depth}"

        def text(inner, name):
            return _duckdb_text(inner, name, depth + 1)

        if "list" in kind:
            made = f"to_json(list_transform({value}, lambda {it}:" \
                f" {text(kind['list'], it)}))"
        elif "map" in kind:
            key, item = kind["map"]
            made = f"to_json(list_transform(map_entries({value}), lambda {it}:" \
                f" json_array({text(key, it + '.key')}," \
                f" {text(item, it + '.value')})))"
        else:
            fields = ", ".join(
                text(inner, f"{value}.{_identifier(name)}")
                for name, inner in kind["row"]
            )
            made = f"json_array({fields})"
        return f"CASE WHEN {value} IS NOT NULL THEN {made} END"
    if kind == "date":
        value = f"{value} - DATE '1970-01-01'"
    elif kind in ("time", "timestamp", "timestamptz"):
        value = f"epoch_us({value})"
    elif kind == "bytes":
        value = f"lower(hex({value}))"
    return f"CAST({value} AS VARCHAR)"


def _whole(kind, value):
    """Decimals without their decimal point."""
    if value is None:
        return None
    if isinstance(kind, dict):
        if "list" in kind:
            return [_whole(kind["list"], item) for item in value]
        inner = kind["map"] if "map" in kind else [i for _, i in kind["row"]]
        if "row" in kind:
            return list(map(_whole, inner, value))
        return [list(map(_whole, inner, pair)) for pair in value]
    if kind.startswith("decimal"):
        return str(int(value.replace(".", "")))
    return value
