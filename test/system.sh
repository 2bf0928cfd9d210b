#!/usr/bin/env bash
# The system layer: pytest with a real PostgreSQL and a real S3 server.
#
#   test/system.sh [pytest's arguments]     e.g. test/system.sh -k cancel -x
set -uo pipefail
cd "$(dirname "$0")/.." || exit
# The arguments may name files or tests; otherwise all run, two files at a time,
# each process with servers of its own.  The storm is random, and PostgreSQL's
# own tests need its source: both belong to "make check-assert".
what=(--numprocesses 2 --dist loadfile --ignore test/system/test_storm.py
    --ignore test/system/test_regression.py test/system)
for argument in "$@"; do
    [ ! -e "${argument%%::*}" ] || what=()
done
# If npm fails, the tests that need the readers are skipped.
sh test/readers/install.sh
exec bash test/pytest.sh "${what[@]}" "$@"
