"""Runs "make installcheck" with a server of its own; see sql.sh and README.md."""

import pathlib
import re
import subprocess
import sys

from lib import postgres, process

ROOT = pathlib.Path(__file__).resolve().parent.parent

# The line of a test: "test test_key   ... ok   21 ms" until PostgreSQL 15, TAP
# since then.
PASSED = re.compile(r"^(?:test (\w+) +\.\.\. ok\b|ok \d+ +- (\w+))", re.M)


def installcheck(cluster, names):
    """Runs these tests, or all; returns make's status and its output."""
    chosen = [f"REGRESS={' '.join(names)}"] if names else []
    done = subprocess.run(
        [
            "make", "--no-print-directory", "installcheck",
            f"PG_CONFIG={cluster.bindir}/pg_config", *chosen,
        ],
        cwd=ROOT,
        env=process.clean_env({
            "PGHOST": cluster.folder, "PGPORT": cluster.settings["port"],
            "PGUSER": "postgres",
        }),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout


def main():
    wanted = sys.argv[1:]
    names = wanted or [file.stem for file in (ROOT / "sql").glob("test_*.sql")]
    with postgres.Cluster() as cluster:
        status, said = installcheck(cluster, wanted)
    print(said, end="")
    passed = {match[1] or match[2] for match in PASSED.finditer(said)}
    failed = len(set(names) - passed)
    if status != 0 or failed:
        failed = failed or 1
        diffs = ROOT / "regression.diffs"
        print(diffs.read_text() if diffs.exists() else "no differences")
    broken = [line for _, log in postgres.Cluster.old_logs
              for line in postgres.crashes(log)]
    if broken:
        print("a server crashed:", *broken, sep="\n")
        failed += 1
    print(f"{len(passed & set(names))} passed, {failed} failed")
    sys.exit(0 if names and not failed else 1)


if __name__ == "__main__":
    main()
