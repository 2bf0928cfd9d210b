#!/usr/bin/env bash
# The pg_regress layer: each sql/test_*.sql against expected/test_*.out, by "make
# installcheck" on a private server.  No S3 server is needed.
#
#   test/sql.sh [name ...]       e.g. test/sql.sh test_options
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=1
# These exclude the goals of a make that called us.
unset MAKEFLAGS MAKELEVEL
exec /usr/bin/python3 test/sql.py "$@"
