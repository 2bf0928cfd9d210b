"""The contestants: COPY, onboard, and the other ways to S3.

Each of the others is in its best known form.
"""

import json
import os
import pathlib
import shlex
import shutil
import sys

from lib import parquet as readers
from lib import process
from measure import Contestant
from stores import BUCKET

_HERE = os.path.dirname(os.path.abspath(__file__))
ENGINES = pathlib.Path(_HERE, "engines")
KEY = "peer"

COPY = {
    "csv": "COPY {table} TO {{}} (format csv)",
    "text": "COPY {table} TO {{}} (format text)",
    "binary": "COPY {table} TO {{}} (format binary)",
    "row_to_json": "COPY (SELECT row_to_json(t) FROM {table} t) TO {{}}",
}
COPY_HEADER = "COPY {table} TO {{}} (format csv, header)"

# The COPY with which an export of a format is compared.
BASELINE = {
    "csv": "csv",
    "text": "csv",
    "binary": "binary",
    "jsonl": "row_to_json",
    "json": "row_to_json",
}

# The form of the extension postgres-aws-s3, which reads the file once more to
# count its lines; this one gets their number from COPY.
SPOOL_AND_UPLOAD = """
CREATE FUNCTION spool_and_upload(query text, options text, endpoint text,
    access_key text, secret_key text, bucket text, key text) RETURNS bigint
LANGUAGE plpython3u AS $$
import tempfile
import boto3

s3 = boto3.client(
    "s3", region_name="us-east-1", endpoint_url=endpoint,
    aws_access_key_id=access_key, aws_secret_access_key=secret_key,
)
with tempfile.NamedTemporaryFile() as spool:
    name = plpy.quote_literal(spool.name)
    done = plpy.execute(f"COPY ({query}) TO {name} ({options})")
    s3.upload_fileobj(spool, bucket, key)
    return done.nrows()
$$
"""


def _label(words, table):
    """The label does not mention the usual table."""
    return words if table == "lineitem" else f"{words}, {table}"


def copy_label(form, table="lineitem"):
    return _label(f"COPY {form}", table)


def copy(form, table="lineitem"):
    """COPY to nowhere: the time that PostgreSQL itself needs for the bytes."""
    statement = COPY[form].format(table=table).format("'/dev/null'")
    return Contestant(
        copy_label(form, table), table, sql=statement, lands=False
    )


def onboard_label(form, compression="none", parallel="off", table="lineitem"):
    words = f"onboard {form}"
    if compression != "none":
        words += f" {compression}"
    if parallel != "off":
        words += f", parallel {parallel}"
    return _label(words, table)


def onboard(
    form, compression="none", parallel="off", table="lineitem", store="s3"
):
    options = {"format": form, "server": store}
    if compression != "none":
        options["compression"] = compression
    options["parallel"] = int(parallel) if parallel.isdigit() else parallel
    same = ""
    if compression == "none" and form in ("csv", "text", "binary"):
        same = COPY_HEADER if form == "csv" else COPY[form]
    return Contestant(
        onboard_label(form, compression, parallel, table),
        table,
        baseline=copy_label(BASELINE[form], table),
        sql=f"SELECT * FROM onboard_table('{table}', NULL, '{BUCKET}',"
        f" '{json.dumps(options)}')",
        copy=same.format(table=table),
    )


def parquet_label(
    compression, encodings="compatible", parallel="off", table="lineitem",
    group_rows=None,
):
    words = f"onboard parquet {compression} {encodings}"
    if group_rows:
        words += f", row groups of {group_rows:,}"
    if parallel != "off":
        words += f", parallel {parallel}"
    return _label(words, table)


def parquet(
    compression, encodings="compatible", parallel="off", table="lineitem",
    group_rows=None,
):
    """An export as Parquet, compared with COPY in csv."""
    options = {
        "format": "parquet", "server": "s3", "compression": compression,
        "encodings": encodings,
        "parallel": int(parallel) if parallel.isdigit() else parallel,
    }
    if group_rows:
        # With the greatest size, only the number of rows ends a row group.
        options |= {"row_group_rows": group_rows, "row_group_size": "64MB"}
    label = parquet_label(compression, encodings, parallel, table, group_rows)
    return Contestant(
        label, table, baseline=copy_label("csv", table),
        sql=f"SELECT * FROM onboard_table('{table}', NULL, '{BUCKET}',"
        f" '{json.dumps(options)}')",
    )


REGISTER_FORTY = f"""
    DELETE FROM onboard_tables;
    INSERT INTO onboard_tables (name, query, bucket)
        SELECT 'forty_' || n, 'SELECT * FROM forty WHERE a % 40 = ' || n,
            '{BUCKET}'
        FROM generate_series(0, 39) n
"""


def all_label(workers):
    return f"onboard_all, {workers} at a time"


def all_tables(workers, store):
    """An export of forty small tables."""
    return Contestant(
        all_label(workers), "forty",
        baseline=all_label(1) if workers > 1 else "",
        prepare=REGISTER_FORTY,
        sql=f"SET onboard.parallel_tables = {workers};"
        " SELECT sum(rows)::bigint AS rows, sum(bytes)::bigint AS bytes"
        f" FROM onboard_all('forty%', '{{\"server\": \"{store.name}\"}}')",
    )


# Peers that write Parquet; DuckDB's default for the rows of a row group.
DUCKDB = "psql | DuckDB, aws"
CLICKHOUSE = "ClickHouse, postgresql() to s3()"
DUCKDB_ROWS = 122880
_DUCKDB_CODECS = {
    "none": "CODEC uncompressed",
    "snappy": "CODEC snappy",
    "zstd": "CODEC zstd, COMPRESSION_LEVEL 1",
}


def duckdb_label(compression, group_rows):
    return f"DuckDB parquet {compression}, row groups of {group_rows:,}"


def available(folder):
    """Whether npm can install the packages of a folder's lock file."""
    install = os.path.join(readers.FOLDER, "install.sh")
    print(
        process.run(["sh", install, folder], env=dict(os.environ), timeout=600),
        end="", file=sys.stderr, flush=True,
    )
    return readers.available(folder)


def aws_program():
    """The path of Debian's program, or else the user's own."""
    found = shutil.which("aws", path=process.clean_env()["PATH"])
    found = found or shutil.which("aws")
    if found is None:
        raise process.RigError("found no program aws (Debian: awscli)")
    return found


class Peers:
    """The other ways, for one cluster, server and table."""

    def __init__(self, cluster, store, table="lineitem"):
        self.cluster = cluster
        self.store = store
        self.table = table
        self.env = {
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_SECRET_ACCESS_KEY": store.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
            # Newer versions would add a useless CRC to each part.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        }
        self.csv = COPY_HEADER.format(table=table)

    def _aws(self, source):
        target = f"s3://{BUCKET}/{KEY}"
        return shlex.join(
            [
                aws_program(), "s3", "cp", source, target,
                "--only-show-errors", "--endpoint-url", self.store.endpoint,
            ]
        )

    def _contestant(self, label, copy="", **how):
        return Contestant(
            _label(label, self.table),
            self.table,
            baseline=copy_label("csv", self.table),
            copy=copy,
            **how,
        )

    def psql(self, packer=None):
        """psql

        aws, or psql

        packer

        aws.
        """
        psql = self.cluster.psql_command() + ["-c", self.csv.format("STDOUT")]
        stages = [shlex.join(psql), self._aws("-")]
        if packer:
            stages.insert(1, f"{packer} -c")
        return self._contestant(
            " | ".join(["psql"] + [packer] * bool(packer) + ["aws"]),
            "" if packer else self.csv,
            shell=" | ".join(stages),
            env=self.env,
        )

    def program(self):
        """The server itself pipes into aws."""
        command = ["env", *(f"{k}={v}" for k, v in self.env.items())]
        command = f"{shlex.join(command)} {self._aws('-')}"
        literal = "'" + command.replace("'", "''") + "'"
        return self._contestant(
            "COPY TO PROGRAM aws",
            self.csv,
            sql=self.csv.format(f"PROGRAM {literal}"),
        )

    def plpython(self):
        arguments = (
            f"SELECT * FROM {self.table}", "format csv, header",
            self.store.endpoint, self.store.access_key,
            self.store.secret_key, BUCKET, KEY,
        )
        literals = ", ".join(f"'{argument}'" for argument in arguments)
        return self._contestant(
            "plpython and boto3",
            self.csv,
            sql=f"SELECT spool_and_upload({literals}) AS rows",
        )

    def seed(self):
        url = (
            "postgresql+psycopg2://postgres@/postgres"
            f"?host={self.cluster.folder}"
            f"&port={self.cluster.settings['port']}"
        )
        return self._contestant(
            "SQLAlchemy, json, boto3",
            shell=shlex.join(
                [
                    sys.executable, os.path.join(_HERE, "seed.py"), url,
                    self.table, self.store.endpoint, BUCKET, KEY,
                ]
            ),
            env=self.env,
        )

    def duckdb(
        self, table, compression="zstd", group_rows=DUCKDB_ROWS, label=DUCKDB
    ):
        """psql pipes csv into DuckDB, which knows the types; aws uploads the file."""
        path = os.path.join(self.cluster.folder, "peer.parquet")
        types = ", ".join(f"{name}: '{type}'" for name, type in table.types())
        statement = (
            "COPY (SELECT * FROM read_csv('/dev/stdin', header = true,"
            f" auto_detect = false, columns = {{{types}}})) TO '{path}'"
            f" (FORMAT parquet, ROW_GROUP_SIZE {group_rows},"
            f" {_DUCKDB_CODECS[compression]})"
        )
        psql = self.cluster.psql_command() + ["-c", self.csv.format("STDOUT")]
        duckdb = ["node", ENGINES / "duckdb.mjs", statement, table.rows]
        return self._contestant(
            label,
            shell=f"{shlex.join(psql)} | {shlex.join(map(str, duckdb))}"
            f" && {self._aws(path)}",
            env=self.env,
        )

    def clickhouse(self, table):
        """ClickHouse reads the table, and uploads the file."""
        source = (
            f"127.0.0.1:{self.cluster.settings['port']}', 'postgres',"
            f" '{self.table}', 'postgres', '"
        )
        target = (
            f"{self.store.endpoint}/{BUCKET}/{KEY}', '{self.store.access_key}',"
            f" '{self.store.secret_key}', 'Parquet"
        )
        statement = (
            f"INSERT INTO FUNCTION s3('{target}')"
            f" SELECT * FROM postgresql('{source}')"
            " SETTINGS s3_truncate_on_insert = 1,"
            " output_format_parquet_compression_method = 'zstd',"
            " output_format_compression_level = 1"
        )
        command = ["node", ENGINES / "clickhouse.mjs", statement, table.rows]
        return self._contestant(
            CLICKHOUSE, shell=shlex.join(map(str, command)), env=self.env
        )

    def finished_file(self):
        """Only the upload: COPY has made the file before."""
        path = os.path.join(self.cluster.folder, "finished.csv")
        return self._contestant(
            "aws, the finished csv file",
            self.csv,
            shell=self._aws(path),
            env=self.env,
            prepare=self.csv.format(f"'{path}'"),
        )
