#!/usr/bin/env bash
# The pg_regress layer: each sql/test_*.sql against expected/test_*.out, in a
# private cluster.  No S3 server is needed.
#
#   test/sql.sh [name ...]       e.g. test/sql.sh test_options
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 test/sql.py "$@"
