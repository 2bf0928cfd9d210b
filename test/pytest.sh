#!/usr/bin/env bash
# pytest with the rig; the last line is "N passed, N failed[, N skipped]".
#
#   test/pytest.sh [pytest's arguments]
#
# ONBOARD_TEST_SECONDS is the limit of the whole run, 45 minutes by default.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PYTHONDONTWRITEBYTECODE=1

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# A hanging test must not hang the machine: SIGINT makes pytest stop and end the
# servers.
seconds=${ONBOARD_TEST_SECONDS:-2700}
seconds=$((seconds + ${ONBOARD_STORM_SECONDS:-0}))
seconds=$((seconds + ${ONBOARD_INCREMENT_STEPS:-0} / 2))
timeout --foreground --signal=INT --kill-after=60 $seconds \
    /usr/bin/python3 -m pytest -q -p no:cacheprovider --color=no "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

# "2 failed, 30 passed, 1 skipped, 1 error in 9.81s"
summary=$(grep -aE '^(=+ )?[0-9]+ [a-z]+.* in [0-9.]+s' "$log" | tail -n 1)
count() {
    local sum=0 number
    for number in $(grep -oE "[0-9]+ ($1)\b" <<<"$summary" | cut -d' ' -f1); do
        sum=$((sum + number))
    done
    echo "$sum"
}
passed=$(count 'passed')
failed=$(count 'failed|errors?|xpassed')
skipped=$(count 'skipped|xfailed')
# If pytest was stopped, or collected nothing, that is no success, whatever was
# counted.
[ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1

line="$passed passed, $failed failed"
[ "$skipped" = 0 ] || line="$line, $skipped skipped"
echo "$line"
[ "$failed" = 0 ]
