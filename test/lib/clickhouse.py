"""ClickHouse, which runs statements in a process of Node.

    with ClickHouse(rgw.access_key, rgw.secret_key) as clickhouse:
        clickhouse.run("CREATE TABLE ...")
        clickhouse.rows("SELECT * FROM t")      types, and rows of texts
"""

import json
import os
import pathlib
import subprocess

from .parquet import FOLDER, available as installed

ENGINES = pathlib.Path(FOLDER).parent / "bench/engines"
# Numbers are texts, since those of JSON are rounded.
EXACT = (
    "output_format_json_quote_64bit_integers = 1,"
    " output_format_json_quote_decimals = 1,"
    " output_format_json_quote_denormals = 1,"
    " output_format_json_named_tuples_as_objects = 0"
)
UNAVAILABLE = "npm cannot install ClickHouse (test/bench/engines)"


def available():
    return installed(ENGINES)


class ClickHouseError(Exception):
    """ClickHouse refuses a statement."""


class ClickHouse:
    """The keys are those of the store that its tables are in."""

    def __init__(self, access_key, secret_key):
        self._environment = {
            **os.environ, "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
        }

    def __enter__(self):
        self._process = subprocess.Popen(
            ["node", "clickhouse.mjs"], cwd=FOLDER, env=self._environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
        )
        return self

    def __exit__(self, *exception):
        self._process.stdin.close()
        self._process.wait(30)

    def run(self, sql, format="TSV"):
        self._process.stdin.write(json.dumps({"sql": sql, "format": format}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise ClickHouseError(f"Node ended, during {sql}")
        response = json.loads(line)
        if "error" in response:
            raise ClickHouseError(f"{sql}: {response['error']}")
        return response["text"]

    def rows(self, sql):
        """Names, types and rows, whose values are those of JSON."""
        text = self.run(f"{sql} SETTINGS {EXACT}",
                        "JSONCompactEachRowWithNamesAndTypes")
        names, types, *rows = map(json.loads, text.splitlines())
        return names, types, rows
