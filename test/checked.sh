#!/usr/bin/env bash
# Tests with servers of PostgreSQL that check themselves, built from Debian's
# source package.  The last line is the sum: "N passed, N failed".
#
#   test/checked.sh [assert|asan ...] [-- command]
#
#   test/checked.sh asan                                    one of them
#   test/checked.sh -- test/system.sh test/system/test_rows.py -x
#   ONBOARD_STORM_SECONDS=3600 test/checked.sh asan -- \
#       test/system.sh test/system/test_storm.py            a long storm
#
# "assert" has --enable-cassert, which also overwrites freed memory.  "asan" has
# the sanitizers of addresses and of undefined behaviour in addition.  The
# extension is built with the flags of the server, and installed, before the
# command runs; the default command runs the files in "layers" below.
#
#   ONBOARD_CHECKED        the folder of the servers; default build/checked
#   ONBOARD_STORM_SECONDS  the duration of test_storm.py, 600 by default
#   COPT                   additional compiler flags; default -Werror
#
# Each run has a copy of the server and of the tree, so it affects neither
# another run nor the installed PostgreSQL.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

known=(assert asan)
flags="-O1 -g -fno-omit-frame-pointer"
declare -A cflags=(
    [assert]="$flags"
    [asan]="$flags -fsanitize=address,undefined
        -fno-sanitize-recover=undefined"
)

# The tested files of the system layer: those on rows, memory and processes.
# Left out are files that need programs which these servers lack (pg_cron and
# mysql_fdw of the recipes), that measure memory or time, that use a checker of
# their own (valgrind), and that test only S3 and HTTP.
system=(bytes rows json objects random parallel run_workers jobs publish progress
    roles parquet parquet_types parquet_errors parquet_files storm)

usage() {
    echo "usage: test/checked.sh [assert|asan ...] [-- command]" >&2
    exit 2
}

servers=()
command=()
while [ $# -gt 0 ]; do
    case $1 in
        assert | asan) servers+=("$1") ;;
        --)
            shift
            [ $# -gt 0 ] || usage
            command=("$@")
            break
            ;;
        *) usage ;;
    esac
    shift
done
[ ${#servers[@]} -gt 0 ] || servers=("${known[@]}")

cache=${ONBOARD_CHECKED:-$PWD/build/checked}
# Leaks are not detected: a backend ends without freeing anything.  Frames stay
# on the real stack, whose depth PostgreSQL measures.
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1
ASAN_OPTIONS+=:detect_stack_use_after_return=0:verify_asan_link_order=0
export ONBOARD_STORM_SECONDS=${ONBOARD_STORM_SECONDS:-600}
export ONBOARD_SOURCE=$cache/source/tree
# These flags are for the extension, not for PostgreSQL.
copt=${COPT--Werror}
unset COPT MAKEFLAGS MAKELEVEL
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

# ---- the source ----

# apt with source packages, in addition to the machine's own settings and lists.
apt_state() {
    local apt=$1
    mkdir -p "$apt/sources.list.d" "$apt/lists/partial" "$apt/cache"
    : >"$apt/sources.list"
    local file
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
        [ -f "$file" ] || continue
        sed -E 's/^deb /deb-src /; s/^(Types:).*/\1 deb-src/' "$file" \
            >"$apt${file#/etc/apt}"
    done
    options=(-o Dir::Etc::SourceList="$apt/sources.list"
        -o Dir::Etc::SourceParts="$apt/sources.list.d"
        -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt/cache"
        -o APT::Sandbox::User="$(id -un)")
    # Failures for suites without source packages are ignored: see
    # newest_source.
    apt-get -q "${options[@]}" update
}

# The newest available version: a mirror's index may be ahead of it.
newest_source() {
    local package=$1 version
    for version in $(apt-cache "${options[@]}" showsrc --only-source \
        "$package" | sed -n 's/^Version: //p' | sort -rVu); do
        rm -rf source.new
        mkdir source.new
        if (cd source.new && apt-get -q "${options[@]}" source \
            --download-only "$package=$version"); then
            echo "$package $version" >source.new/VERSION
            # Debian's patches name /usr/lib/postgresql, whatever the prefix,
            # and would overwrite the machine's own server.
            dpkg-source --skip-patches -x source.new/*.dsc source.new/tree &&
                rm -rf source && mv source.new source
            return
        fi
    done
    echo "no source of $package can be had"
    return 1
}

get_source() {
    cd "$cache" || return
    [ ! -d source ] || return 0
    apt_state "$cache/apt"
    newest_source "postgresql-$(bash "$OLDPWD/test/install.sh" major)"
}

# ---- the servers ----

compile() {
    local name=$1
    local prefix=$cache/$name
    rm -rf "$prefix.build" "$prefix.new"
    mkdir "$prefix.build" && cd "$prefix.build" &&
        "$cache/source/tree/configure" -q --prefix="$prefix" \
            --enable-cassert --enable-debug --with-openssl --with-libxml \
            --with-icu --with-lz4 --with-zstd --with-uuid=e2fs \
            --without-readline CFLAGS="$(echo ${cflags[$name]})" &&
        make -s -j"$(nproc)" && make -s -j"$(nproc)" -C contrib &&
        make -s install DESTDIR="$prefix.new" &&
        make -s -C contrib install DESTDIR="$prefix.new" &&
        cp "$cache/source/VERSION" "$prefix.new$prefix/" &&
        mv "$prefix.new$prefix" "$prefix" &&
        rm -rf "$prefix.build" "$prefix.new"
}

# The server is moved into place when it is complete, so an incomplete one is
# never used.
make_server() {
    local name=$1
    local log=$cache/$name.log
    echo "Building $cache/$name: takes some minutes"
    if ! (get_source) >"$log" 2>&1 ||
        { [ ! -d "$cache/$name" ] && ! (compile "$name") >>"$log" 2>&1; }; then
        tail -n 20 "$log"
        echo "$log has all of it"
        return 1
    fi
}

# Only one run at a time builds.  A test uses the source, too.
have_server() {
    [ ! -d "$cache/$1" ] || [ ! -d "$cache/source" ] || return 0
    (
        flock 9
        make_server "$1"
    ) 9>"$cache/lock"
}

# ---- a run ----

copy_all() {
    local name=$1
    # No process writes into a file of the server: installing replaces files.
    cp -al "$cache/$name" "$run/server" && mkdir "$run/tree" &&
        tar -c --exclude=./build --exclude=./.git --exclude='*.o' \
            --exclude=./onboard.so --exclude=./sql/onboard--?.?.?.sql . |
        tar -x --no-same-owner -C "$run/tree" || return
    # If root starts the rig's servers, they run as that user.
    if [ "$(id -u)" = 0 ] && ! setpriv --reuid=postgres --clear-groups \
        test -x "$run/server/bin/postgres"; then
        echo "The user postgres cannot reach $cache: set ONBOARD_CHECKED"
        return 1
    fi
}

in_tree() {
    (cd "$run/tree" && env COPT="$copt" \
        PG_CONFIG="$run/server/bin/pg_config" \
        PATH="$run/server/bin:$PATH" "$@")
}

layers() {
    local files=("${system[@]/#/test/system/test_}")
    # PostgreSQL's own tests are for the quicker one.
    [ "$name" != assert ] || files+=(test/system/test_regression)
    in_tree bash test/sql.sh
    # Two tests of Parquet measure memory.
    in_tree bash test/system.sh --numprocesses 2 --dist loadfile \
        --deselect test/system/test_parquet.py::test_memory --deselect \
        test/system/test_parquet.py::test_elements_beyond_the_memory \
        "${files[@]/%/.py}"
}

# Adds the numbers in the layers' last lines; any other failure counts as one.
add_up() {
    local status=$1 p f s passes=0 failures=0
    while read -r p f s; do
        passes=$((passes + p)) failures=$((failures + f))
        skipped=$((skipped + ${s:-0}))
    done < <(grep -aE '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' \
        "$run/log" | tr -cd '0-9 \n')
    if [ "$status" != 0 ] && [ "$failures" = 0 ] ||
        [ "$passes$failures" = 00 ]; then
        failures=1
    fi
    passed=$((passed + passes)) failed=$((failed + failures))
}

run_with() {
    local name=$1 status
    printf '\n==== %s: ' "$name"
    cat "$cache/$name/VERSION" 2>/dev/null || echo
    copy_all "$name" && in_tree make -s -j"$(nproc)" &&
        in_tree make -s install || return
    if [ ${#command[@]} -gt 0 ]; then
        in_tree bash "${command[@]}"
    else
        layers
    fi
}

passed=0 failed=0 skipped=0 run=
remove_run() { [ -z "$run" ] || rm -rf "$run"; }
trap remove_run EXIT
trap 'exit 1' INT TERM HUP

bash test/install.sh test && bash test/install.sh checked ||
    { echo "0 passed, 1 failed"; exit 1; }
mkdir -p "$cache"
for name in "${servers[@]}"; do
    run=$(mktemp -d "$cache/run.XXXXXX") && chmod 755 "$run"
    { have_server "$name" && run_with "$name"; } 2>&1 | tee "$run/log"
    add_up "${PIPESTATUS[0]}"
    remove_run
done
line="$passed passed, $failed failed"
[ "$skipped" = 0 ] || line="$line, $skipped skipped"
printf '\n%s\n' "$line"
[ "$failed" = 0 ]
