#!/usr/bin/env bash
# All static checks: layers, length of functions, format, cppcheck, shellcheck,
# flake8, subjects of commits.  Runs all of them, then exits 1 if one failed, or
# is not installed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

failed=0
step() {
    local name=$1
    shift
    if "$@"; then
        echo "lint: $name ok"
    else
        echo "lint: $name failed" >&2
        failed=1
    fi
}

# The body from "{" to "}" in the first column; structs end with "} name;".
check_lengths() {
    awk -v max=100 '
        FNR == 1 { start = 0 }
        /^\{/ { start = FNR }
        /^\}$/ && start {
            if (FNR - start + 1 > max) {
                printf "%s:%d: a function of %d lines; at most %d, " \
                    "cut it up\n", FILENAME, start, FNR - start + 1, max
                bad = 1
            }
            start = 0
        }
        END { exit bad }
    ' "$@"
}

# cppcheck does not get PostgreSQL's headers: it would read them again for each
# file, and complain about them.  cppcheck.cfg lists their functions that do not
# return; unknownMacro and missingInclude replace the rest (PG_FUNCTION_INFO_V1
# and the like).  varFuncNullUB reports a NULL that may not be a pointer, which
# it is on Linux.
check_cpp() {
    cppcheck --quiet --std=c11 --enable=warning,performance,portability \
        --inline-suppr --error-exitcode=1 -Isrc \
        --library=test/cppcheck.cfg --suppress=unknownMacro \
        --suppress=missingInclude --suppress=missingIncludeSystem \
        --suppress=varFuncNullUB "$@"
}

bash test/install.sh lint || exit 1

mapfile -t sources < <(find src -name '*.[ch]' | sort)
mapfile -t scripts < <(find test deploy -name '*.sh' | sort)
mapfile -t all < <(find src test -name node_modules -prune -o \
    -name '*.[ch]' -print | sort)
units=()
for file in "${all[@]}"; do
    [[ $file != *.c ]] || units+=("$file")
done
format=clang-format-14
command -v $format >/dev/null || format=clang-format

step layers python3 test/layers.py
step maps python3 test/maps.py
step lengths check_lengths "${sources[@]}"
step format $format --dry-run --Werror "${all[@]}"
step cppcheck check_cpp "${units[@]}"
# Shellcheck's notes are ignored: lists of words are meant to be split.
step shellcheck shellcheck --severity=warning .ci/run "${scripts[@]}"
step flake8 flake8 deploy test
step commits bash test/commits.sh
exit $failed
