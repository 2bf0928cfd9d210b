#!/usr/bin/env bash
# The system layer: pytest with a real PostgreSQL and a real S3 server.
#
#   test/system.sh [pytest's arguments]     e.g. test/system.sh -k cancel -x
set -uo pipefail
cd "$(dirname "$0")/.." || exit

# The memory of the machine, or of the control group that limits it, in MB.
memory() {
    local path bytes
    while IFS=: read -r _ controllers path; do
        case $controllers in
            memory) cat "/sys/fs/cgroup/memory$path/memory.limit_in_bytes" ;;
            "") cat "/sys/fs/cgroup$path/memory.max" ;;
        esac
    done </proc/self/cgroup 2>/dev/null | {
        awk '/^MemTotal:/ { printf "%.0f\n", $2 * 1024 }' /proc/meminfo
        grep '^[0-9]'
    } | sort -n | { read -r bytes && echo $((bytes / 1024 / 1024)); }
}

# The arguments may name files or tests; otherwise all run, two files at a time
# if there is enough memory, each process with servers of its own.  The storm is
# random, and PostgreSQL's own tests need its source: both belong to "make
# check-assert".
processes=2
if [ "$(memory)" -lt 8000 ]; then
    processes=1
    export ONBOARD_TEST_SECONDS=5400 ONBOARD_LITTLE_MEMORY=1
fi
what=(--numprocesses "$processes" --dist loadfile
    --ignore test/system/test_storm.py
    --ignore test/system/test_regression.py test/system)
for argument in "$@"; do
    [ ! -e "${argument%%::*}" ] || what=()
done
# If npm fails, the tests that need the readers, or ClickHouse, are skipped.
sh test/readers/install.sh
sh test/readers/install.sh test/bench/engines
exec bash test/pytest.sh "${what[@]}" "$@"
