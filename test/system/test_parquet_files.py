"""Random Parquet files, read by several readers that share no code.

test/fuzz/parquet_files.c writes files of random schemas, options and values, under
ASan and UBSan; groups, lists and maps are nested.  The message of a failure has the
seed that reproduces it:

    ONBOARD_SEED=123          the files of that seed
    ONBOARD_FUZZ_SECONDS=600  files of random seeds, for that time
"""

import json
import math
import os
import pathlib
import secrets
import shutil
import struct
import subprocess
import time

import pytest

from lib import process
from lib.parquet import READERS
from lib.parquet_file import ParquetFile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PACKAGES = ["libcrypto", "zlib", "libisal", "libzstd", "liblz4", "snappy",
            "libxxhash"]
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-fno-omit-frame-pointer",
         "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Isrc"]
FILES = 40
# lib/parquet_file.py takes a second to check a file of this size.
SMALL = 30_000


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    program = tmp_path_factory.mktemp("generator") / "parquet_files"
    sources = sorted(
        source for folder in ("parquet", "base")
        for source in ROOT.glob(f"src/core/{folder}/*.c")
    )
    flags = process.run(
        ["pkg-config", "--cflags", "--libs", *PACKAGES]
    ).split()
    process.run(
        ["cc", *FLAGS, "-o", program, "test/fuzz/parquet_files.c", *sources,
         *flags, "-lm"], cwd=ROOT, timeout=600,
    )
    return program


def test_random_files(generator, readers, tmp_path, show):
    seconds = int(os.environ.get("ONBOARD_FUZZ_SECONDS", 0))
    seed = int(os.environ.get("ONBOARD_SEED") or secrets.randbelow(10 ** 9))
    end = time.monotonic() + seconds
    made, values = 0, 0
    while True:
        folder = tmp_path / str(seed)
        folder.mkdir()
        ended = subprocess.run(
            [generator, str(seed), str(FILES), folder], stderr=subprocess.PIPE,
            encoding="utf-8", errors="replace",
        )
        assert ended.returncode == 0, f"ONBOARD_SEED={seed}\n{ended.stderr}"
        for path in sorted(folder.glob("*.json")):
            try:
                values += check(readers, path)
            except Exception as error:
                raise AssertionError(
                    f"ONBOARD_SEED={seed}, {path.stem}: {error}"
                ) from error
            made += 1
        shutil.rmtree(folder)
        if time.monotonic() > end:
            break
        seed = secrets.randbelow(10 ** 9)
    show(f"{made} files with {values} values, the last by ONBOARD_SEED={seed}")
    # Files that exceed their memory limit are left out.
    assert made > FILES * 0.7


def check(readers, path):
    """Compares a file with its values; returns their number."""
    wanted = json.loads(path.read_text())
    parquet = path.with_suffix(".parquet")
    file = ParquetFile(parquet.read_bytes())
    if len(file.data) < SMALL:
        file.check()
    assert file.rows == len(wanted[0][1])
    kinds = file.kinds()
    for reader in READERS:
        found = readers.read(reader, parquet)
        assert len(found) == len(wanted)
        for column, (name, values), (_, kind) in zip(found, wanted, kinds):
            assert column.name == name
            column.adopt(kind)
            compare(f"{reader}: {name}", column, values)
    return len(wanted) * file.rows


def compare(what, column, values):
    assert len(column.values) == len(values), f"{what}: rows"
    for row, (found, wanted) in enumerate(zip(column.values, values)):
        if not is_same(column.kind, found, wanted):
            raise AssertionError(
                f"{what} {column.kind}, row {row}:"
                f" {str(found)[:500]}, not {str(wanted)[:500]}"
            )


def is_same(kind, found, wanted):
    if found is None or wanted is None:
        return found is wanted
    if isinstance(kind, dict):
        if len(found) != len(wanted):
            return False
        ((what, inner),) = kind.items()
        if what == "list":
            return all(is_same(inner, *pair) for pair in zip(found, wanted))
        if what == "map":
            # JavaScript may change the order of the keys
            return all(
                one[0] == other[0] and is_same(inner[1], one[1], other[1])
                for one, other in zip(sorted(found, key=key), sorted(wanted, key=key))
            )
        return all(
            is_same(below, *pair)
            for (_, below), *pair in zip(inner, found, wanted)
        )
    if kind in ("float4", "float8"):
        return bits(kind, found) == bits(kind, wanted)
    if kind == "text as bytes":
        return bytes.fromhex(found).decode() == wanted
    if kind == "uuid as bytes":
        return found == wanted.replace("-", "")
    return found == wanted


def key(pair):
    return pair[0]


def bits(kind, text):
    """The bits of a floating-point number; all NaNs are the same."""
    value = float(text)
    if math.isnan(value):
        return "NaN"
    return struct.pack("<f" if kind == "float4" else "<d", value)
