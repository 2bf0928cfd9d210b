"""The demo: tables of a real database land in a real S3 server, by SQL.

demo.sh, which installs and builds first, runs it.  It starts a private
PostgreSQL and a private S3 server (Ceph RGW) on loopback, fills pgbench's
tables, exports them, and one more as Parquet, and compares tables and objects.
With KEEP=1 in the environment the servers keep running.
"""

import csv
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

from lib import process
from lib.parquet import copied, leaf_text
from lib.parquet_file import ParquetFile
from lib.postgres import Cluster
from lib.rgw import Rgw

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLE = "examples/table_sql.json"
SHOP = "examples/shop.sql"
DATABASE = "demo"
BUCKET = "my-lake"
LANDING = "{name}/data/inbox/{name}_data.csv"
PARQUET = "orders"
STARTED = time.monotonic()


def heading(text):
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    seconds = time.monotonic() - STARTED
    print(f"\n{bold}{text}{plain}  ({seconds:.0f} s)\n", flush=True)


def sql(cluster, text, variables=None):
    """Shows a command as one would type it, and psql's output.

    Variables are psql's, and set without being shown: so no secret is on the
    screen or in the list of processes.
    """
    prompt = f"{DATABASE}=# "
    for line in text.splitlines():
        print(prompt + line)
        prompt = f"{DATABASE}-# " if not line.startswith("\\") else prompt
    sys.stdout.flush()
    settings = "".join(
        f"\\set {name} '{value}'\n"
        for name, value in (variables or {}).items()
    )
    width = shutil.get_terminal_size((80, 24)).columns
    command = cluster.psql_command(DATABASE) + [
        "-v", "ON_ERROR_STOP=1", "-P", "expanded=auto", "-P",
        f"columns={width}", "-P", "pager=off",
    ]
    done = subprocess.run(
        command, input=settings + text + "\n", stdout=subprocess.PIPE,
        text=True, cwd=ROOT, env=process.clean_env(), timeout=120,
    )
    print(done.stdout.strip("\n") + "\n", flush=True)
    if done.returncode != 0:
        sys.exit("The demo failed: psql reported the error above.")


def fill(cluster, scale):
    cluster.psql(f"CREATE DATABASE {DATABASE}")
    print(f"$ pgbench -i -s {scale} {DATABASE}", flush=True)
    process.run(
        [
            os.path.join(cluster.bindir, "pgbench"), "-i", "-s", str(scale),
            "-q", "-h", cluster.folder, "-U", "postgres", DATABASE,
        ],
        timeout=120,
    )
    print(f"$ psql -f {SHOP} {DATABASE}", flush=True)
    cluster.psql((ROOT / SHOP).read_text(), DATABASE)


def land(cluster, rgw):
    sql(cluster, "CREATE EXTENSION onboard;")
    sql(
        cluster,
        "CREATE SERVER s3 FOREIGN DATA WRAPPER onboard\n"
        f"    OPTIONS (endpoint '{rgw.endpoint}',\n"
        f"             region 'us-east-1', bucket '{BUCKET}');",
    )
    sql(
        cluster,
        "CREATE USER MAPPING FOR CURRENT_USER SERVER s3\n"
        "    OPTIONS (access_key_id :'key', secret_access_key :'secret');",
        {"key": rgw.access_key, "secret": rgw.secret_key},
    )
    sql(
        cluster,
        f"\\set config `cat {EXAMPLE}`\nSELECT onboard_register(:'config');",
    )
    sql(cluster, "SELECT * FROM onboard_all();")


def show_bucket(client):
    """Lists the bucket; returns the keys."""
    keys = []
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    for page in pages:
        for item in page.get("Contents", []):
            print(f"{item['Size']:>13,} bytes  s3://{BUCKET}/{item['Key']}")
            keys.append(item["Key"])
    return keys


def show_lines(client, key, count=5):
    print(f"\nThe first lines of s3://{BUCKET}/{key}:\n")
    body = client.get_object(Bucket=BUCKET, Key=key)["Body"]
    for number, line in enumerate(body.iter_lines()):
        if number == count:
            break
        print("    " + line.decode())


def copy_of(cluster, query):
    """COPY's output for a query, as bytes."""
    copy = f"COPY ({query}) TO STDOUT WITH (FORMAT csv, HEADER)"
    return subprocess.run(
        cluster.psql_command(DATABASE) + ["-c", copy],
        stdout=subprocess.PIPE, env=process.clean_env(), timeout=120,
        check=True,
    ).stdout


def count_rows(data):
    """The number of rows in a CSV text, without its header."""
    lines = csv.reader(io.TextIOWrapper(io.BytesIO(data), newline=""))
    return max(sum(1 for _ in lines) - 1, 0)


def digest(data):
    """A hash of the header and the sorted rows: the order of rows is undefined.
    """
    header, _, rows = data.partition(b"\n")
    lines = sorted(rows.split(b"\n"))
    return hashlib.sha256(b"\n".join([header, *lines])).hexdigest()


def compare(cluster, client, name, query):
    """Prints one line of the comparison; returns whether table and object are
    equal."""
    expected = copy_of(cluster, query)
    rows = count_rows(expected)
    listed = client.list_objects_v2(
        Bucket=BUCKET, Prefix=LANDING.format(name=name)
    )
    if rows == 0:
        same = "Contents" not in listed
        detail = "no rows, no object"
    elif "Contents" not in listed:
        same, detail = False, "no object"
    else:
        landed = client.get_object(
            Bucket=BUCKET, Key=LANDING.format(name=name)
        )["Body"].read()
        same = (count_rows(landed), digest(landed)) == (rows, digest(expected))
        detail = f"sha256 {digest(landed)[:16]}..."
    verdict = "equal" if same else "DIFFERENT"
    print(f"{name:<20} {rows:>9,} rows   {detail:<26} {verdict}", flush=True)
    return same


# ---- Parquet ----


def describe(leaf):
    """The physical and the logical type of a column."""
    meaning = leaf.logical or ""
    if meaning == "DECIMAL":
        meaning = leaf.kind().upper()
    elif leaf.kind() == "timestamptz":
        meaning = "TIMESTAMP in UTC"
    return f"{leaf.type:<10}  {meaning}".rstrip()


def bound(leaf, data):
    text = leaf_text(leaf, leaf.bound(data))
    return f"'{text}'" if leaf.kind() == "text" else text


def show_schema(file):
    width = max(len(leaf.name) for leaf in file.leaves)
    for leaf in file.leaves:
        print(f"    {leaf.name:<{width}}  {describe(leaf)}")


def show_groups(file):
    """The statistics by which readers skip row groups."""
    width = max(len(leaf.name) for leaf in file.leaves)
    for number, group in enumerate(file.groups, 1):
        print(f"\nRow group {number}: {group[3]:,} rows, {group[6]:,} bytes\n")
        for leaf, chunk in zip(file.leaves, group[1]):
            stats = chunk[3][12]
            print(f"    {leaf.name:<{width}}  {stats[3]:>5,} nulls, "
                  f"{bound(leaf, stats[6])} to {bound(leaf, stats[5])}")


def compare_parquet(cluster, file):
    """Whether the values are those of COPY, in any order."""
    columns = [
        [leaf_text(leaf, value) for value in leaf.values]
        for leaf in file.leaves
    ]
    found = sorted(map(repr, zip(*columns)))
    copy = subprocess.run(
        cluster.psql_command(DATABASE) + ["-c", f"COPY {PARQUET} TO STDOUT"],
        stdout=subprocess.PIPE, timeout=120, check=True,
        env={**process.clean_env(), "PGTZ": "UTC"},
    ).stdout
    same = found == sorted(repr(tuple(row)) for row in copied(copy))
    verdict = "equal" if same else "DIFFERENT"
    print(f"\nIts {len(found):,} rows and those of COPY {PARQUET}: {verdict}")
    return same


def demonstrate_parquet(cluster, client):
    sql(
        cluster,
        f"SELECT uri, rows, bytes FROM onboard_table('{PARQUET}', options =>\n"
        "    '{\"format\": \"parquet\", \"row_group_rows\": 500}');",
    )
    key = LANDING.format(name=PARQUET).replace(".csv", ".parquet")
    data = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    file = ParquetFile(data).check()
    print("What test/lib/parquet_file.py, which shares nothing with the writer,"
          " reads there:\n")
    show_schema(file)
    show_groups(file)
    if not compare_parquet(cluster, file):
        sys.exit("\nThe demo failed: the Parquet file differs from its table.")


# ---- afterwards ----


def write_stop_script(cluster, rgw):
    """Writes a script in RGW's folder that ends both servers."""
    path = os.path.join(rgw.folder, "stop.sh")
    pidfile = os.path.join(cluster.datadir, "postmaster.pid")
    with open(path, "w") as script:
        script.write(
            "#!/bin/sh\n"
            "# Only processes that are still what they were.\n"
            'ours() { grep -aqs "$1" "/proc/$2/cmdline"; }\n'
            f"for pid in {' '.join(map(str, rgw.pids))}; do\n"
            f"    ours {rgw.folder} $pid && kill -KILL $pid\n"
            "done\n"
            f"pid=$(head -n 1 {pidfile})\n"
            f"if ours {cluster.folder} $pid; then\n"
            "    kill -INT $pid\n"
            f"    while ours {cluster.folder} $pid; do sleep 0.1; done\n"
            "fi\n"
            f"rm -rf {cluster.folder} {rgw.folder}\n"
        )
    return path


def write_environment(cluster, rgw):
    """Writes a script in RGW's folder that sets a shell's variables for both
    servers."""
    path = os.path.join(rgw.folder, "environment")
    variables = {
        "PATH": f"{cluster.bindir}:$PATH",
        "PGHOST": cluster.folder,
        "PGPORT": cluster.settings["port"],
        "PGUSER": "postgres",
        "PGDATABASE": DATABASE,
        "AWS_ENDPOINT_URL": rgw.endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": rgw.access_key,
        "AWS_SECRET_ACCESS_KEY": rgw.secret_key,
    }
    with open(path, "w", opener=lambda *file: os.open(*file, 0o600)) as script:
        for name, value in variables.items():
            script.write(f'export {name}="{value}"\n')
    return path


def print_connection_help(cluster, rgw):
    print(
        "Both servers are up.  Here, and in any other shell, this lets psql,\n"
        "aws and the examples of README.md and docs/ find them:\n\n"
        f"    . {write_environment(cluster, rgw)}\n"
        "    psql\n"
    )
    if shutil.which("aws"):
        print(
            "    aws --endpoint-url $AWS_ENDPOINT_URL s3 ls --recursive"
            f" s3://{BUCKET}\n"
        )
    print(
        f"S3 is at {rgw.endpoint}.  To end both servers:\n\n"
        f"    sh {write_stop_script(cluster, rgw)}\n"
    )


def demonstrate(cluster, rgw, scale=10):
    heading("1. A PostgreSQL and an S3 server, both private")
    cluster.create().start()
    print("PostgreSQL " + cluster.psql("SHOW server_version").strip())
    rgw.start()
    print(f"Ceph RGW at {rgw.endpoint}")
    client = rgw.client()
    client.create_bucket(Bucket=BUCKET)

    heading("2. A database with something in it")
    fill(cluster, scale)

    heading("3. Its tables land in S3")
    land(cluster, rgw)

    heading("4. What is there now")
    keys = show_bucket(client)
    if LANDING.format(name="pgbench_tellers") in keys:
        show_lines(client, LANDING.format(name="pgbench_tellers"))

    heading("5. Every object against COPY (query) TO STDOUT")
    tables = json.loads((ROOT / EXAMPLE).read_text())["Tables"]
    same = [
        compare(cluster, client, table["table_name"], table["sql_query"])
        for table in tables
    ]
    if not all(same) or not keys:
        sys.exit("\nThe demo failed: an object differs from its table.")

    heading("6. A table as Parquet")
    demonstrate_parquet(cluster, client)


def main():
    keep = os.environ.get("KEEP", "") not in ("", "0")
    cluster = Cluster(settings={"max_wal_size": "4GB"})
    rgw = Rgw(memory_gb=4, keep=keep)
    # Both register their own end, in whatever way this program ends.
    try:
        demonstrate(cluster, rgw)
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
    if keep:
        process.forget(cluster.close)
        process.forget(rgw.stop)
        heading("Done")
        print_connection_help(cluster, rgw)
    else:
        cluster.close()
        rgw.stop()
        heading("Done")
        print("The servers are gone; make demo KEEP=1 leaves them up.")


if __name__ == "__main__":
    main()
