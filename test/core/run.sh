#!/bin/sh
# Builds and runs the unit tests of src/core, under ASan and UBSan.
#
#   sh test/core/run.sh              all of them
#   sh test/core/run.sh http upload  test_http.c and test_upload.c
#
# One program for each test/core/test_*.c, linked with all of src/core, the
# orchestrator's calls to AWS and the other files of test/core.  A test that
# needs more of the linker says so in its opening comment:
#
#    * link: -Wl,--wrap=malloc
#
# Pages come from malloc here, since ASan watches its ends (pages.c).
#
# OB_BUILD names the build folder (default build/core); COPT has further flags
# of the compiler, as for the extension: -Werror.  The last line is
# "N passed, N failed[, N skipped]", counted over all programs; one that does
# not compile, crashes or leaks counts as a failure.

cd "$(dirname "$0")/../.." || exit 1
build=${OB_BUILD:-build/core}
cc=${CC:-cc}
packages="libcurl libssl libcrypto expat zlib libisal libzstd liblz4 snappy libxxhash cmocka jansson"
cflags="-std=c11 -D_GNU_SOURCE -g -O1 -fsanitize=address,undefined
    -fno-sanitize-recover=all -fno-omit-frame-pointer
    -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare ${COPT:-}
    -Isrc -Itest/core $(pkg-config --cflags $packages)" || exit 1
libs="-Wl,--as-needed $(pkg-config --libs $packages) -lm" || exit 1
pages="-Wl,--wrap=mmap,--wrap=mremap,--wrap=munmap"

# object SOURCE: where it is compiled to; two folders may have one name
object() {
    echo "$build/${1%.c}.o"
}

# Compiles a source if it, a header or this script is newer than its object.
compile() {
    obj=$(object "$1")
    if [ -f "$obj" ] && [ -z "$(find "$1" test/core/run.sh src/core src/lambda test/core \
            \( -path "$1" -o -path test/core/run.sh -o -name '*.h' \) \
            -newer "$obj" 2>&1)" ]; then
        return 0
    fi
    rm -f "$obj"
    mkdir -p "${obj%/*}" || return 1
    $cc $cflags -c "$1" -o "$obj"
}

# link SOURCE PROGRAM
link() {
    flags=$(sed -n 's/^ \* link: *//p' "$1")
    $cc -fsanitize=address,undefined $pages $flags -o "$2" "$(object "$1")" \
        $shared_objects $libs
}

# The number in the lines of cmocka's summary that begin with "[  $1 ] N test"
count() {
    sed -n "s/^\[ *$1 *\] \([0-9][0-9]*\) test(s).*/\1/p" "$output" |
        awk '{ n += $1 } END { print n + 0 }'
}

# Runs a program and adds its counts to the totals.
run() {
    output=$build/$1.out
    timeout "${OB_TEST_TIMEOUT:-300}" "$build/$1" >"$output" 2>&1
    status=$?
    cat "$output"
    ok=$(count PASSED)
    bad=$(count FAILED)
    skip=$(count SKIPPED)
    if [ $((ok + bad + skip)) -eq 0 ] ||
        { [ $status -ne 0 ] && [ "$bad" -eq 0 ]; }; then
        echo "$1 ended with status $status"
        bad=$((bad + 1))
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    skipped=$((skipped + skip))
}

# xargs calls back here, for one source at a time
if [ "$1" = --compile ]; then
    compile "$2"
    exit
fi

mkdir -p "$build" || exit 1
export ASAN_OPTIONS="detect_leaks=1:strict_string_checks=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"
passed=0
failed=0
skipped=0
shared=$(find src/core src/lambda/services/aws.c test/core -name '*.c' \
    ! -name 'test_*' | sort)
shared_objects=
for source in $shared; do
    shared_objects="$shared_objects $(object "$source")"
done

tests=$(printf 'test/core/test_%s.c ' "$@")
[ $# -gt 0 ] || tests=$(echo test/core/test_*.c)

# a failure to compile is met again, and counted, when the tests are linked
printf '%s\n' $shared $tests |
    xargs -P "$(getconf _NPROCESSORS_ONLN)" -I{} \
        sh test/core/run.sh --compile {}

for source in $tests; do
    name=$(basename "$source" .c)
    echo "== $name"
    if link "$source" "$build/$name"; then
        run "$name"
    else
        echo "$name could not be built"
        failed=$((failed + 1))
    fi
done

summary="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || summary="$summary, $skipped skipped"
echo "$summary"
[ "$failed" -eq 0 ]
