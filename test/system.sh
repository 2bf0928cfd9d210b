#!/usr/bin/env bash
# The system layer: pytest with a real PostgreSQL and a real S3 server.
#
#   test/system.sh [pytest's arguments]     e.g. test/system.sh -k cancel -x
set -uo pipefail
cd "$(dirname "$0")/.." || exit
# All of them, unless the arguments name files or tests: two files at a time,
# each process with servers of its own.  The storm is chance, and PostgreSQL's
# own tests need its source: both belong to "make check-assert".
what=(--numprocesses 2 --dist loadfile --ignore test/system/test_storm.py
    --ignore test/system/test_regression.py test/system)
for argument in "$@"; do
    [ ! -e "${argument%%::*}" ] || what=()
done
# Where npm gives nothing, the tests that need them are skipped.
sh test/readers/install.sh
exec bash test/pytest.sh "${what[@]}" "$@"
