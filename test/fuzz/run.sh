#!/bin/sh
# Builds the fuzz targets and runs each of them for a while.
#
#   sh test/fuzz/run.sh [target...]
#
# One libFuzzer program for each test/fuzz/fuzz_*.c, linked with src/core under
# ASan and UBSan.  FUZZ_SECONDS is how long each runs (default 60).  Inputs
# that were found on the way are kept in the build folder (OB_BUILD, default
# build/fuzz) and used again; the seeds in corpus/ are only read.  The last
# line is "N passed, N failed"; an input that makes a target fail is kept in
# the build folder's found/ and named.

cd "$(dirname "$0")/../.." || exit 1
build=${OB_BUILD:-build/fuzz}
seconds=${FUZZ_SECONDS:-60}
cc=${FUZZ_CC:-clang}
packages="libcurl libcrypto expat zlib libisal libzstd liblz4 snappy libxxhash"
cflags="-std=c11 -D_GNU_SOURCE -g -O1 -fsanitize=address,undefined
    -fno-sanitize-recover=all -fno-omit-frame-pointer
    -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare ${COPT:-}
    -Wno-missing-field-initializers
    -Isrc -Itest/fuzz $(pkg-config --cflags $packages)" || exit 1
libs="-Wl,--as-needed $(pkg-config --libs $packages) -lm" || exit 1

# object SOURCE: where it is compiled to; two folders may have one name
object() {
    echo "$build/${1%.c}.o"
}

core=$(find src/core -name '*.c' | sort)

# Compiles a source if it, a header or this script is newer than its object.
compile() {
    object=$(object "$1")
    if [ -f "$object" ] && [ -z "$(find "$1" test/fuzz/run.sh src/core \
            test/fuzz \
            \( -path "$1" -o -path test/fuzz/run.sh -o -name '*.h' \) \
            -newer "$object" 2>&1)" ]; then
        return 0
    fi
    rm -f "$object"
    mkdir -p "${object%/*}" || return 1
    $cc $cflags -fsanitize=fuzzer-no-link -c "$1" -o "$object"
}

# Links and runs one target.
run() {
    objects=
    for source in $core test/fuzz/$1.c; do
        objects="$objects $(object "$source")"
    done
    dict=
    [ ! -f "test/fuzz/$1.dict" ] || dict=-dict=test/fuzz/$1.dict
    mkdir -p "$build/corpus/$1" "$build/found" || return 1
    $cc -fsanitize=fuzzer,address,undefined -o "$build/$1" $objects $libs ||
        return 1
    # inputs of more than 64 KiB, or of more than 10 s, are not needed
    timeout $((seconds + 120)) "$build/$1" -max_total_time="$seconds" \
        -max_len=65536 -timeout=10 -print_final_stats=1 $dict \
        -artifact_prefix="$build/found/$1-" \
        "$build/corpus/$1" "test/fuzz/corpus/$1" >"$build/$1.out" 2>&1
}

# xargs calls the script with one source or target at a time
case $1 in
    --compile)
        compile "$2"
        exit
        ;;
    --run)
        if run "$2"; then
            runs=$(sed -n 's/^stat::number_of_executed_units: *//p' \
                "$build/$2.out")
            echo "ok      $2: $runs inputs"
            touch "$build/$2.ok"
        else
            tail -n 60 "$build/$2.out" 2>/dev/null
            echo "failed  $2"
        fi
        exit 0
        ;;
esac

if [ $# -eq 0 ]; then
    for source in test/fuzz/fuzz_*.c; do
        set -- "$@" "$(basename "$source" .c)"
    done
fi
mkdir -p "$build" || exit 1
rm -f "$build"/*.ok "$build"/*.out
printf '%s\n' $core test/fuzz/fuzz_*.c |
    xargs -P "$(getconf _NPROCESSORS_ONLN)" -I{} \
        sh test/fuzz/run.sh --compile {} || exit 1
printf '%s\n' "$@" |
    xargs -P "$(getconf _NPROCESSORS_ONLN)" -I{} sh test/fuzz/run.sh --run {}

passed=0
for name in "$@"; do
    [ ! -f "$build/$name.ok" ] || passed=$((passed + 1))
done
echo "$passed passed, $(($# - passed)) failed"
[ "$passed" -eq $# ]
