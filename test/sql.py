"""Runs pg_regress; see sql.sh and README.md.

Each test gets a database of its own, so that it needs and disturbs no other:
pg_regress makes it anew, with the extension in it.
"""

import pathlib
import subprocess
import sys

from lib import postgres, process

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "regress"

# pg_regress gives psql a time zone, date and interval style of its own; the
# tests see PostgreSQL's defaults, and UTC.
LAUNCHER = "env -u PGTZ -u PGDATESTYLE -u PGOPTIONS"


def pg_regress():
    pgxs = pathlib.Path(postgres.pg_config("--pgxs"))
    return pgxs.parent.parent / "test" / "regress" / "pg_regress"


def run_test(cluster, name):
    """Whether it passed; prints what differs if it did not."""
    diffs = OUTPUT / "regression.diffs"
    diffs.unlink(missing_ok=True)
    done = subprocess.run(
        [
            pg_regress(), f"--bindir={cluster.bindir}", f"--inputdir={ROOT}",
            f"--outputdir={OUTPUT}", f"--host={cluster.folder}",
            f"--port={cluster.settings['port']}", "--user=postgres",
            "--dbname=regression", "--encoding=UTF8",
            "--load-extension=onboard", f"--launcher={LAUNCHER}", name,
        ],
        cwd=ROOT,
        env=process.clean_env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    if done.returncode == 0:
        print(f"ok      {name}", flush=True)
        return True
    print(f"FAILED  {name}", flush=True)
    # Without differences the test could not even run.
    found = diffs.read_text() if diffs.exists() else ""
    print(found or done.stdout, flush=True)
    return False


def main():
    files = sorted((ROOT / "sql").glob("test_*.sql"))
    names = sys.argv[1:] or [file.stem for file in files]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with postgres.Cluster() as cluster:
        passed = sum(run_test(cluster, name) for name in names)
    failed = len(names) - passed
    broken = [line for _, log in postgres.Cluster.old_logs
              for line in postgres.crashes(log)]
    if broken:
        print("a server crashed:", *broken, sep="\n")
        failed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(0 if names and not failed else 1)


if __name__ == "__main__":
    main()
