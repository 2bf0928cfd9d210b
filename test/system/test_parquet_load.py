"""Parquet files with PostgreSQL's greatest values.

The tests take gigabytes of memory, in the session and in the reader; on a
machine that does not have them, the values are smaller.
"""

import os

import pytest

from landing import execute, land
from lib.exports import failure, no_trace
from lib.parquet_file import ParquetFile

# PostgreSQL's greatest allocation, less the header of a varlena.
LONGEST = 1024 ** 3 - 1 - 4
if "ONBOARD_LITTLE_MEMORY" in os.environ:
    LONGEST //= 4
TYPES = {
    "text": f"repeat('x', {LONGEST})",
    "bytea": f"convert_to(repeat('x', {LONGEST}), 'UTF8')",
}


@pytest.mark.parametrize("type,compression", [("text", "zstd"), ("bytea", "none")])
def test_greatest_value(
    gigabytes, db, s3, bucket, readers, tmp_path, type, compression
):
    """A value of a gigabyte between two small ones."""
    value = TYPES[type]
    query = (
        f"SELECT g AS id, CASE g WHEN 2 THEN {value} ELSE 'y' END AS v"
        " FROM generate_series(1, 3) g"
    )
    execute(db, "SET onboard.upload_memory = '6GB'")
    land(db, query, bucket, key="k", format="parquet", compression=compression)
    execute(db, "RESET onboard.upload_memory")
    path = tmp_path / "a.parquet"
    s3.download_file(bucket, "k", str(path))
    assert (path.stat().st_size > LONGEST) == (compression == "none")
    if compression == "zstd":
        assert ParquetFile(path.read_bytes()).check().rows == 3
    size = "octet_length" if type == "bytea" else "length"
    found = readers.query(
        f"SELECT id, {size}(v), md5(v) FROM '{path}' ORDER BY id"
    )
    path.unlink()
    wanted = execute(
        db, "SELECT g, length(v), md5(v) FROM"
        f" (VALUES (1, 'y'), (2, {value}), (3, 'y')) q(g, v)"
    )
    assert found == [list(map(str, row)) for row in wanted]


@pytest.mark.parametrize("type", TYPES)
def test_greatest_value_beyond_memory(gigabytes, db, rgw, bucket, type):
    execute(db, f"SET onboard.upload_memory = '{2 * LONGEST // 1024}kB'")
    error = failure(
        land, db, f"SELECT 1 AS id, {TYPES[type]} AS v", bucket, format="parquet"
    )
    assert error.pgcode == "54000"
    assert error.diag.message_primary == (
        "a row does not fit into the memory of an export"
    )
    assert error.diag.message_hint == "Raise onboard.upload_memory."
    no_trace(rgw, bucket)
