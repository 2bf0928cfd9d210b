#!/usr/bin/python3
"""Checks which files may include which, and code that only one file may have.

    test/layers.py [folder with src/ in it]

Prints each violation as file:line, with the reason and advice; exits 1 if there
was one.  The rules are those of docs/design.md; comments and string constants
do not count.
"""

import pathlib
import re
import sys

# Headers of PostgreSQL's server that could be included with angle brackets;
# with quotes, core may include only its own files anyway.
POSTGRES = re.compile(
    r"^(postgres(_fe|_ext)?|c|fmgr|miscadmin|funcapi|pgstat|port|pgtime|"
    r"pg_config\w*|pg_getopt|varatt|libpq-\w+)\.h$|"
    r"^(access|bootstrap|catalog|commands|common|datatype|executor|foreign|"
    r"jit|lib|libpq|mb|nodes|optimizer|parser|partitioning|portability|"
    r"postmaster|regex|replication|rewrite|server|snowball|statistics|"
    r"storage|tcop|tsearch|utils)/"
)

# header pattern, files that may include it, advice otherwise
HEADERS = [
    (r"curl/", r"src/core/http/http\.c", "use core/http/http.h"),
    (r"expat", r"src/core/text/xml\.c", "use core/text/xml.h"),
    (
        r"jansson\.h", r"src/lambda/.*",
        "use core/text/json.h: the symbols of JSON libraries clash in a backend",
    ),
    (
        r"(zlib|zconf)\.h",
        r"src/core/(sink/sink_zlib|base/hash|parquet/compress)\.c",
        "use the gzip sink, or core/base/hash.h",
    ),
    (
        r"(isa-l/.*|isa-l\.h|igzip_lib\.h)",
        r"src/core/(sink/sink_igzip|base/hash)\.c",
        "use the gzip sink, or core/base/hash.h",
    ),
    (
        r"zstd\w*\.h", r"src/core/(sink/sink_zstd|parquet/compress)\.c",
        "use the zstd sink",
    ),
    (
        r"lz4\w*\.h", r"src/core/(sink/sink_lz4|parquet/compress)\.c",
        "use the lz4 sink",
    ),
    (
        r"snappy[\w-]*\.h", r"src/core/parquet/compress\.c",
        "snappy is a codec of Parquet's pages alone",
    ),
    (
        r"xxhash\.h", r"src/core/parquet/(bloom|dictionary)\.c",
        "a hash of another kind is in core/base/hash.h",
    ),
    (
        r"storage/latch\.h|storage/waiteventset\.h", r"src/pg/base/wait\.c",
        "wait through pg/base/wait.h, so that interrupts are always served",
    ),
]

# text pattern, files where it is checked, files that may contain it, advice
# otherwise
TEXTS = [
    (
        r"\b(WaitLatch\w*|ResetLatch|WaitEventSetWait|"
        r"\w+WaitEvent(ToSet|Set)?)\s*\(",
        r"src/pg/.*", r"src/pg/base/wait\.c",
        "wait through pg/base/wait.h, so that interrupts are always served",
    ),
    (
        r"\bcase\s+OB_E[A-Z]+\s*:|\bERRCODE_\w+.*\bOB_E[A-Z]+\b"
        r"|\bOB_E[A-Z]+\b.*\bERRCODE_\w+",
        r"src/pg/.*", r"src/pg/base/errors\.c",
        "report an ObError through pg/base/errors.h, the one place that maps it",
    ),
    (
        r"\bPG_VERSION_NUM\b", r"src/.*", r"src/pg/base/compat\.h",
        "put what differs between versions in src/pg/base/compat.h",
    ),
    (
        r"\b(SPI_exec\w*|get_namespace_name\w*)\s*\(", r"src/pg/.*",
        r"src/pg/(base/own_query|increment/increment_bound)\.c",
        "query our tables through pg/base/own_query.h: names of schemas change",
    ),
]

LAYERS = ("core", "pg", "lambda")

# The folders of a layer.  A file includes only files of its own folder and of
# those before it; a file beside the folders may include all of them.
ROOMS = {
    "core": ("base", "text", "sink", "parquet", "http", "aws", "s3"),
    "pg": (
        "base", "encode", "parquet", "config", "catalog", "store", "parallel",
        "increment", "ddl", "export", "workers", "run", "verify", "sql",
    ),
    "lambda": ("base", "services", "report", "run"),
}
# Files that stand beside the folders of their layer.
BESIDE = ("src/pg/module.c", "src/lambda/main.c")
FILES_MAX = 16

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CONDITION = re.compile(r"^\s*#\s*(if|ifdef|ifndef|elif)\b\s*(.*)")
OPTIONAL = re.compile(r"\b(HAVE|USE)_\w+|\b__x86_64__\b")
LITERAL = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S
)


def code_only(text):
    """The text with comments and constants blanked, and its lines kept.

    Included names are constants, too, so an #include line stays as it is.
    """

    def blank(match):
        start = text.rfind("\n", 0, match.start()) + 1
        if match.group().startswith('"') and INCLUDE.match(text[start:]):
            return match.group()
        return re.sub(r"[^\n]", " ", match.group())

    return LITERAL.sub(blank, text)


def is_guard(lines, index, name):
    """Whether #ifndef NAME at this line is the header's include guard."""
    before = any(line.strip() for line in lines[:index])
    after = lines[index + 1] if index + 1 < len(lines) else ""
    defined = re.match(rf"\s*#\s*define\s+{re.escape(name)}\s*$", after)
    return not before and defined is not None


def check_room(path, header):
    """Whether an include of our own refers to a later folder, or to none."""
    layer, *inside = path.split("/")[1:]
    other, *target = header.split("/")
    if layer not in ROOMS or other != layer:
        return
    rooms = ROOMS[layer]
    if len(target) != 2 or target[0] not in rooms:
        yield f"a header of {layer} is named {layer}/FOLDER/NAME.h"
    elif len(inside) == 2 and inside[0] in rooms:
        if rooms.index(target[0]) > rooms.index(inside[0]):
            yield (
                f"{layer}/{inside[0]} must not include {layer}/{target[0]}, "
                "which stands after it in ROOMS: move the code"
            )


def check_folder(path):
    """Whether a file of a layer with folders is in an unknown folder."""
    layer, *inside = path.split("/")[1:]
    rooms = ROOMS.get(layer)
    if rooms and path not in BESIDE:
        if len(inside) != 2 or inside[0] not in rooms:
            yield f"stands in none of the folders {', '.join(rooms)}"


def check_sizes(root):
    """The folders that have too many files."""
    for folder in sorted(path for path in root.glob("src/**") if path.is_dir()):
        count = len(list(folder.glob("*.[ch]")))
        if count > FILES_MAX:
            name = folder.relative_to(root).as_posix()
            yield f"{name}: has {count} files; at most {FILES_MAX} are allowed"


def check_include(root, path, quote, header):
    layer = path.split("/")[1]
    yield from check_room(path, header)
    for other in LAYERS:
        inside = header.startswith(f"{other}/") or f"../{other}/" in header
        if inside and other not in (layer, "core"):
            yield f"src/{layer} must not include src/{other}: move the code"
            return
    if layer == "core":
        found = (root / "src" / header).exists()
        if POSTGRES.match(header) or (quote == '"' and not found):
            yield "core knows no header but its own and libraries': move it"
    for pattern, where, advice in HEADERS:
        if re.match(pattern, header) and not re.fullmatch(where, path):
            yield advice


def check_line(root, path, lines, index):
    line = lines[index]
    include = INCLUDE.match(line)
    if include:
        for advice in check_include(root, path, *include.groups()):
            yield f"includes {include.group(2)}; {advice}"
        return
    for pattern, counts, where, advice in TEXTS:
        found = re.search(pattern, line)
        if not found or re.fullmatch(where, path):
            continue
        if re.fullmatch(counts, path):
            yield f"{found.group().strip()}; {advice}"
    condition = CONDITION.match(line)
    if condition and path != "src/pg/base/compat.h":
        kind, test = condition.groups()
        guard = path.endswith(".h") and kind == "ifndef"
        if guard and is_guard(lines, index, test.strip()):
            return
        if not OPTIONAL.search(test):
            yield (
                f"#{kind} {test.strip()}; only include guards and tests for "
                "optional libraries (HAVE_x, USE_x) or for a processor "
                "(__x86_64__) stand outside compat.h"
            )


def check(root):
    yield from check_sizes(root)
    files = []
    for layer in LAYERS:
        files += sorted(root.glob(f"src/{layer}/**/*.[ch]"))
    for file in files:
        path = file.relative_to(root).as_posix()
        for problem in check_folder(path):
            yield f"{path}:1: {problem}"
        lines = code_only(file.read_text()).splitlines()
        for index in range(len(lines)):
            for problem in check_line(root, path, lines, index):
                yield f"{path}:{index + 1}: {problem}"


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here
    problems = list(check(root))
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
