#!/usr/bin/env bash
# Installs missing packages for one purpose with apt-get; quiet if none is.
#
#   test/install.sh build|demo|test|bench|lambda|lint|fuzz|versions|checked
#   test/install.sh major
#
# The purposes are: build, to compile and install the extension; demo, which
# adds PostgreSQL's and Ceph's servers; test, which adds the programs of the
# test layers; bench, which adds the other contestants to those of demo; lint
# and fuzz, only the programs of "make lint" and "make fuzz"; versions, to
# install other releases of Debian; checked, to build PostgreSQL from source.
# The script is meant for Debian; it works where apt-get knows the names.
# major prints the version of PostgreSQL that would be used.
set -euo pipefail

mode=${1:-}
pg_config=${PG_CONFIG:-pg_config}

as_root=
[ "$(id -u)" = 0 ] || as_root=sudo

# The first version that apt-get knows; a new system may have no lists yet.
available() {
    local version
    for version in 15 16 17 18; do
        if apt-cache show "postgresql-$version" >/dev/null 2>&1; then
            echo "$version"
            return
        fi
    done
    return 1
}

# The order is: the installed PostgreSQL, ONBOARD_POSTGRES, and the release's
# version: Debian 12 has 15, Debian 13 has 17.
major=$("$pg_config" --version 2>/dev/null |
    sed -n 's/^PostgreSQL \(1[5-8]\).*/\1/p' || true)
major=${major:-${ONBOARD_POSTGRES:-}}
if [ -z "$major" ] && command -v apt-get >/dev/null; then
    major=$(available || {
        $as_root apt-get update -q >/dev/null 2>&1
        available
    } || true)
fi
major=${major:-15}
if [ "$mode" = major ]; then
    echo "$major"
    exit
fi

core="gcc libc6-dev make pkg-config libcurl4-openssl-dev libssl-dev
    libexpat1-dev zlib1g-dev libisal-dev libzstd-dev liblz4-dev libsnappy-dev
    libxxhash-dev"
# PostgreSQL's pg_locale.h includes a header of ICU.
build="$core libicu-dev postgresql-$major postgresql-server-dev-$major"
demo="$build ceph-mon ceph-osd radosgw ceph-common openssl python3
    python3-boto3 python3-psycopg2 python3-lz4 python3-zstandard"
# The recipes of docs/recipes.md run with the real servers; the -core packages
# have no service that would be started.
recipes="postgresql-$major-cron postgresql-$major-mysql-fdw mariadb-server-core
    mariadb-client-core"
tests="$demo $recipes libcmocka-dev libjansson-dev libpq-dev python3-pytest
    python3-pytest-xdist lz4 zstd gzip faketime git iproute2 valgrind awscli
    python3-pandas"
# Readers and other writers of Parquet come from npm (readers/install.sh).
npm=
command -v npm >/dev/null || npm="nodejs npm"
tests="$tests $npm"
# These readers of Parquet are in Debian since sid.
for package in python3-pyarrow duckdb; do
    if [ "$mode" = test ] && apt-cache show $package >/dev/null 2>&1; then
        tests="$tests $package"
    fi
done
# Programs that are not in Debian come from PyPI, into a virtual environment
# (lambda.sh).
command -v moto_server >/dev/null && command -v cfn-lint >/dev/null ||
    tests="$tests python3-venv"
bench="$demo awscli python3-sqlalchemy postgresql-plpython3-$major gzip zstd
    gnuplot-nox $npm"
# Neither cppcheck nor the layer check needs PostgreSQL's headers, so lint does
# not install them.
lambda="gcc libc6-dev binutils make pkg-config libcurl4-openssl-dev libssl-dev
    libexpat1-dev zlib1g-dev libisal-dev libjansson-dev libpq-dev ca-certificates
    python3"
lint="clang-format-14 cppcheck flake8 git python3 shellcheck"
fuzz="$core clang libclang-rt-dev"
versions="debootstrap util-linux"
checked="$core bison flex perl dpkg-dev libxml2-dev libicu-dev uuid-dev"

case $mode in
    build) wanted=$build ;;
    demo) wanted=$demo ;;
    test) wanted=$tests ;;
    bench) wanted=$bench ;;
    lambda) wanted=$lambda ;;
    lint) wanted=$lint ;;
    fuzz) wanted=$fuzz ;;
    versions) wanted=$versions ;;
    checked) wanted=$checked ;;
    *)
        echo "usage: test/install.sh" \
            "build|demo|test|bench|lambda|lint|fuzz|versions|checked|major" >&2
        exit 2
        ;;
esac

if ! command -v apt-get >/dev/null; then
    echo "test/install.sh: no apt-get here; install what these Debian" \
        "packages hold, if it is missing:" $wanted >&2
    exit 0
fi

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null ||
        true)
    [ "$status" = installed ] || missing="$missing $package"
done
# If the release has no version 14, its own clang-format is used.
if [[ $missing == *clang-format-14* ]] &&
    ! apt-cache show clang-format-14 >/dev/null 2>&1 &&
    apt-cache show clang-format >/dev/null 2>&1; then
    missing=${missing/clang-format-14/clang-format}
fi
[ -n "$missing" ] || exit 0

if [ -n "$as_root" ] && ! command -v sudo >/dev/null; then
    echo "test/install.sh: run as root (there is no sudo), or install:" \
        "$missing" >&2
    exit 1
fi

log=$(mktemp)
dropin=
finish() {
    rm -f "$log"
    [ -z "$dropin" ] || $as_root rm -f "$dropin"
}
trap finish EXIT

quietly() {
    if ! $as_root env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1; then
        cat "$log" >&2
        echo "test/install.sh: failed: $*" >&2
        exit 1
    fi
}

# Debian's postgresql-NN package makes and starts a cluster "main" when first
# installed.  The tests and the demo use private clusters only, so this one must
# not appear on a user's machine, where it would occupy port 5432: a drop-in
# file prevents that during the installation, and is removed afterwards.  Ceph's
# packages start nothing by themselves (their units are templates).
if [[ $missing == *" postgresql-$major"* ]]; then
    dropin=/etc/postgresql-common/createcluster.d/onboard-install.conf
    $as_root mkdir -p "${dropin%/*}"
    echo "create_main_cluster = false" | $as_root tee "$dropin" >/dev/null
fi

echo "Installing:$missing"
quietly apt-get update -q
size=$(LC_ALL=C $as_root apt-get install --assume-no --no-install-recommends \
    $missing 2>/dev/null | sed -n \
    -e 's/^Need to get \(.*\) of archives.*/\1 to download/p' \
    -e 's/^After this operation, \(.*\) of additional.*/\1 on disk/p' |
    paste -sd'|' | sed 's/|/, /' || true)
echo "(${size:-some packages}: takes a minute or more)"
quietly apt-get install -q -y --no-install-recommends $missing
