"""Compressed objects, checked by gzip, zstd and lz4 themselves.

The tools accept the object, and decompress it to the bytes of the same export
without compression.
"""

import subprocess
import zlib

import lz4.frame
import pytest
import zstandard

from landing import (
    FORMATS, assert_same, copy, execute, land, landed, query_of_size
)
from lib.exports import body, keys

EXTENSIONS = {"gzip": ".gz", "zstd": ".zst", "lz4": ".lz4"}
# The least level, the default, one in between, and the greatest.
LEVELS = {
    "gzip": (1, None, 6, 9), "zstd": (1, None, 9, 19), "lz4": (0, None, 9, 11)
}
CASES = [
    (compression, level)
    for compression, levels in LEVELS.items() for level in levels
]

# These readers stop at the end of the first member or frame.
READERS = {
    "gzip": lambda data: zlib.decompress(data, 31),
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj()
    .decompress(data),
    "lz4": lambda data: lz4.frame.LZ4FrameDecompressor().decompress(data),
}

# 3 MB of small values, long repetitions and noise.
MIXED = """
    SELECT g, g % 2 = 0 AS b, CASE g % 3
        WHEN 0 THEN repeat('long ', g % 200) WHEN 1 THEN md5(g::text)
        END AS t, g / 7.0 AS n
    FROM generate_series(1, 15000) g
"""
# 18 MB of hexadecimal digits, which compress at best to half: over 5 MB with
# any codec.
NOISE = """
    SELECT md5(g::text) || md5((-g)::text) || sha256(g::text::bytea)::text AS t
    FROM generate_series(1, 140000) g
"""


def decompress(compression, data):
    """The object as the tool decompresses it, after the tool has tested it."""
    tested = subprocess.run(
        [compression, "-t", "-"], input=data, capture_output=True
    )
    assert tested.returncode == 0, tested.stderr
    done = subprocess.run(
        [compression, "-d", "-c"], input=data, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def options_of(compression, level):
    options = {"compression": compression}
    if level is not None:
        options["compression_level"] = level
    return options


@pytest.mark.parametrize("compression, level", CASES)
def test_levels(db, s3, bucket, compression, level):
    options = options_of(compression, level)
    data = landed(db, s3, MIXED, bucket, **options)
    plain = copy(db, MIXED)
    assert len(data) < len(plain) / 2
    assert_same(decompress(compression, data), plain)


@pytest.mark.parametrize("compression", EXTENSIONS)
def test_greater_levels_are_smaller(db, s3, bucket, compression):
    levels = LEVELS[compression]
    sizes = [
        len(landed(db, s3, MIXED, bucket, **options_of(compression, level)))
        for level in (levels[0], levels[-1])
    ]
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize("format", [*FORMATS, "jsonl", "json"])
@pytest.mark.parametrize("compression", EXTENSIONS)
def test_formats(db, s3, bucket, compression, format):
    plain = landed(db, s3, MIXED, bucket, key="plain", format=format)
    data = landed(
        db, s3, MIXED, bucket, format=format, compression=compression
    )
    assert_same(decompress(compression, data), plain)


@pytest.mark.parametrize("compression", EXTENSIONS)
def test_many_parts(db, s3, bucket, compression):
    execute(db, "SET onboard.part_size = '5MB'")
    data = landed(db, s3, NOISE, bucket, compression=compression)
    head = s3.head_object(Bucket=bucket, Key="landed")
    assert "-" in head["ETag"], "not a multipart upload"
    expected = copy(db, NOISE)
    assert_same(decompress(compression, data), expected)
    # The object is one member or frame, to its last byte.
    assert_same(READERS[compression](data), expected)


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 1024 * 1024 + 1])
@pytest.mark.parametrize("compression", EXTENSIONS)
def test_sizes(db, s3, bucket, compression, size):
    """For the tool, an object without data is complete, too."""
    query = query_of_size(size)
    data = landed(
        db, s3, query, bucket, format="text", empty="write",
        compression=compression,
    )
    plain = decompress(compression, data)
    assert len(plain) == size
    assert_same(plain, copy(db, query, format="text"))


@pytest.mark.parametrize("compression", EXTENSIONS)
def test_nothing_lands_of_no_rows(db, s3, bucket, compression):
    result = land(
        db, "SELECT 1 WHERE false", bucket, compression=compression
    )
    assert (result.status, result.files) == ("empty", 0)
    assert keys(s3, bucket) == []


@pytest.mark.parametrize("compression", EXTENSIONS)
def test_name_and_type(db, s3, bucket, compression):
    result = land(db, "SELECT 1 AS a", bucket, compression=compression)
    key = f"t/data/inbox/t_data.csv{EXTENSIONS[compression]}"
    assert keys(s3, bucket) == [key]
    assert result.uri == f"s3://{bucket}/{key}"
    head = s3.head_object(Bucket=bucket, Key=key)
    assert head["ContentType"] == "application/octet-stream"
    # With Content-Encoding, clients that decode by themselves would store
    # decompressed bytes under the compressed name.
    assert "ContentEncoding" not in head
    assert result.bytes == head["ContentLength"]
    assert decompress(compression, body(s3, bucket, key)) == b"a\n1\n"


def test_own_content_type(db, s3, bucket):
    land(
        db, "SELECT 1", bucket, key="k", compression="gzip",
        content_type="application/gzip",
    )
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ContentType"] == "application/gzip"


def test_none(db, s3, bucket):
    land(db, "SELECT 1 AS a", bucket, compression="none")
    assert keys(s3, bucket) == ["t/data/inbox/t_data.csv"]
    assert body(s3, bucket, "t/data/inbox/t_data.csv") == b"a\n1\n"
