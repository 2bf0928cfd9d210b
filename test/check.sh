#!/usr/bin/env bash
# All tests: installs missing packages, builds and installs the extension, and
# runs the layers core, sql, system and lambda.  The last line is the sum of
# theirs.  The last two layers mostly wait for other programs, so they run at the
# same time.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

passed=0 failed=0 skipped=0

finish() {
    echo
    local line="$passed passed, $failed failed"
    [ "$skipped" = 0 ] || line="$line, $skipped skipped"
    echo "$line"
    [ "$failed" = 0 ]
    exit
}

log=$(mktemp) lambda_log=$(mktemp) lambda=
trap '[ -z "$lambda" ] || kill -- "-$lambda" 2>/dev/null
    rm -f "$log" "$lambda_log"' EXIT

# A layer ends with "N passed, N failed[, N skipped]".  A layer without that
# line, or that ran no test, counts as a failure; so does a bad exit status.
layer() {
    local name=$1 status line p f s
    shift
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' \
        "$log" | tail -n 1)
    read -r p f s < <(tr -cd '0-9 \n' <<<"$line")
    p=${p:-0} f=${f:-0} s=${s:-0}
    if [ "$p" = 0 ] && [ "$f" = 0 ]; then
        echo "layer $name ran no tests"
        f=1
    elif [ "$status" != 0 ] && [ "$f" = 0 ]; then
        echo "layer $name ended with status $status"
        f=1
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

if ! bash test/install.sh test || ! bash test/build.sh; then
    failed=1
    finish
fi
layer core sh test/core/run.sh
layer sql bash test/sql.sh
# The group has a process group of its own, so that the trap ends all of it.
setsid bash test/lambda.sh >"$lambda_log" 2>&1 &
lambda=$!
layer system bash test/system.sh
wait "$lambda"
lambda_status=$?
lambda=
show_lambda() {
    cat "$lambda_log"
    return "$lambda_status"
}
layer lambda show_lambda
finish
