"""Objects are stored under exactly the given name.

boto3 reads the names back: from a listing, which shows how the server has
decoded the name, and by a GET of that name.
"""

import urllib.parse

import pytest

from landing import execute, land, landed, query_of_size
from lib.exports import body, keys

KEYS = [
    "a b",
    " a ",
    "a+b",
    "a%b",
    "a%20b",
    "a%2Fb",
    "%",
    "a//b",
    "//a",
    "/a",
    "a/",
    "/",
    "a/./b",
    "./a",
    ".",
    "..",
    "...",
    "a/../b",
    "../a",
    "a/..",
    "a?b",
    "a?uploads",
    "a?partNumber=1&uploadId=x",
    "a#b",
    "a&b=c;d",
    "=",
    "a~b",
    "a*b",
    "a(b)[c]<d>{{e}}",
    "it's",
    'a"b',
    "a\\b",
    "a|b^c`d",
    "a:b@c,d$e!",
    "\u00e9",
    "e\u0301",
    "\u8868",
    "\U0001f600",
    "\u00a0\u2028",
    "".join(chr(code) for code in range(33, 127) if chr(code) not in "{}"),
    "&lt;&amp;<a>]]>",
]


@pytest.mark.parametrize("key", KEYS)
def test_51_odd_keys(db, s3, bucket, key):
    # Braces are doubled in a template.
    stored = key.replace("{{", "{").replace("}}", "}")
    result = land(db, "SELECT 1 AS a", bucket, key=key)
    assert keys(s3, bucket) == [stored]
    assert result.uri == f"s3://{bucket}/{stored}"
    assert body(s3, bucket, stored) == b"a\n1\n"


def test_all_at_once(db, s3, bucket):
    """No two of these names are the same object."""
    for number, key in enumerate(KEYS):
        land(db, f"SELECT {number}", bucket, key=key, header=False)
    stored = [key.replace("{{", "{").replace("}}", "}") for key in KEYS]
    assert sorted(keys(s3, bucket)) == sorted(stored)
    for number, key in enumerate(stored):
        assert body(s3, bucket, key) == b"%d\n" % number


MULTIPART_KEYS = [
    "a b+c%d//e/./f/../g?h#i&j=k;l~m'n\"o<p>q",
    "../\u00e9/\u8868/\U0001f600",
    "a?uploads&uploadId=x",
    "/",
]


@pytest.mark.parametrize("key", MULTIPART_KEYS)
def test_51_odd_keys_of_multipart(db, s3, bucket, key):
    query = query_of_size(11 * 1024 * 1024)
    data = landed(
        db, s3, query, bucket, key=key, format="text", part_size="5MB"
    )
    assert keys(s3, bucket) == [key]
    assert len(data) == 11 * 1024 * 1024
    assert s3.head_object(Bucket=bucket, Key=key)["ETag"].endswith('-3"')


@pytest.mark.parametrize(
    "letter", ["k", "+", "\u00e9", "\u8868", "\U0001f600"]
)
@pytest.mark.parametrize("size", [1, 6 * 1024 * 1024])
def test_51_1024_bytes(db, s3, bucket, letter, size):
    length = len(letter.encode())
    key = letter * (1024 // length) + "k" * (1024 % length)
    assert len(key.encode()) == 1024
    land(
        db, query_of_size(size), bucket, key=key, format="text",
        part_size="5MB",
    )
    assert keys(s3, bucket) == [key]
    assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == size


# Fields of the template

NAMES = [
    "orders",
    "Sales.Orders 2024",
    "a/b",
    "../a",
    "a%2Fb",
    "a+b?c#d&e=f",
    "a-b_c.d~e",
    "quo\"te'",
    "\u00e9\u8868\U0001f600",
    "{name}",
    "tab\tline\n",
]


@pytest.mark.parametrize("name", NAMES)
def test_name_is_encoded(db, s3, bucket, name):
    """The name is one segment of the key, whatever it contains."""
    encoded = urllib.parse.quote(name, safe="-_.~")
    result = land(db, "SELECT 1 AS a", bucket, name=name)
    assert result.name == name
    assert keys(s3, bucket) == [f"{encoded}/data/inbox/{encoded}_data.csv"]


def test_fields(db, s3, bucket, make_server, rgw):
    """Dates and times are UTC, at the transaction's start."""
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, prefix="raw/a b/"
    )
    # The clock goes on to another second.
    execute(db, "SET TimeZone = 'Asia/Tokyo'; BEGIN; SELECT pg_sleep(1.1)")
    result = land(
        db, "SELECT 1 AS a", bucket, name="n m", server=server,
        format="jsonl", compression="gzip",
        key="{prefix}|{name}|{database}|{date}|{time}|{run_id}|{part}|{ext}|"
        "{{x}}|{name}",
    )
    now = execute(
        db,
        "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD|HH24MISS')",
    )[0][0]
    execute(db, "COMMIT")
    assert keys(s3, bucket) == [
        f"raw/a b/|n%20m|onboard|{now}|{result.run_id}|0|jsonl.gz|{{x}}|n%20m"
    ]


@pytest.mark.parametrize(
    "format, ext",
    [
        ("csv", "csv"), ("text", "txt"), ("binary", "bin"),
        ("jsonl", "jsonl"), ("json", "json"),
    ],
)
def test_default_key(db, s3, bucket, format, ext):
    land(db, "SELECT 1 AS a", bucket, name="orders", format=format)
    assert keys(s3, bucket) == [f"orders/data/inbox/orders_data.{ext}"]


@pytest.mark.parametrize("prefix", ["raw/", "raw", "a+b/%/\u00e9 ", "/", ""])
def test_prefix(db, s3, bucket, make_server, rgw, prefix):
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, prefix=prefix
    )
    land(db, "SELECT 1", bucket, server=server)
    assert keys(s3, bucket) == [f"{prefix}t/data/inbox/t_data.csv"]


def test_template_without_prefix(db, s3, bucket, make_server, rgw):
    server = make_server(
        rgw.endpoint, rgw.access_key, rgw.secret_key, prefix="raw/"
    )
    land(db, "SELECT 1", bucket, server=server, key="{name}.{ext}")
    assert keys(s3, bucket) == ["t.csv"]


@pytest.mark.parametrize("client", ["UTF8", "LATIN1", "SJIS"])
def test_key_does_not_depend_on_the_client(db, s3, bucket, client):
    """The statements are ASCII: JSON and U& escape all other characters."""
    execute(db, f"SET client_encoding = '{client}'")
    execute(
        db,
        "SELECT status FROM onboard_table(U&'\\00E9', 'SELECT 1', %s, %s)",
        (bucket, r'{"key": "\u8868/{name}"}'),
    )
    assert keys(s3, bucket) == ["\u8868/%C3%A9"]
