#!/usr/bin/env bash
# All tests with other versions of PostgreSQL than the machine's: each in the
# Debian release that has it, in a folder (chroot), with that release's Ceph,
# libcurl and compiler.  The last line is the sum: "N passed, N failed".
#
#   test/versions.sh [NN[:SUITE] ...] [-- command]
#
#   test/versions.sh 18                                     one version
#   test/versions.sh 18 -- test/system.sh -k parallel -x    one test there
#
# The default command is test/check.sh; for another command, the extension is
# built and installed first.  The script needs root, or sudo, and a gigabyte or
# two for each version.
#
#   ONBOARD_VERSIONS  the folder of the releases; default build/versions
#   ONBOARD_MIRROR    a mirror of Debian; default: apt's, or debootstrap's own
#   COPT              additional compiler flags; default -Werror
#
# All of it runs in namespaces of its own, so its mounts and its processes end
# with it in any case.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

# No release of Debian has 16; 15 is Debian 12's.
known="17:trixie 18:sid"

arguments=("$@")
versions=()
command=(bash test/check.sh)
while [ $# -gt 0 ]; do
    case $1 in
        --)
            shift
            command=(bash -c 'bash test/install.sh test &&
                bash test/build.sh && exec bash "$@"' _ "$@")
            break
            ;;
        [0-9]*:?*) versions+=("$1") ;;
        15) versions+=(15:bookworm) ;;
        [0-9]*)
            [[ " $known " =~ " $1:"([a-z]+)" " ]] || {
                echo "test/versions.sh: no release is known that has $1:" \
                    "say $1:SUITE" >&2
                exit 2
            }
            versions+=("$1:${BASH_REMATCH[1]}")
            ;;
        *)
            echo "usage: test/versions.sh [NN[:SUITE] ...] [-- command]" >&2
            exit 2
            ;;
    esac
    shift
done
[ ${#versions[@]} -gt 0 ] || read -ra versions <<<"$known"

cache=${ONBOARD_VERSIONS:-$PWD/build/versions}

# The machine's own mirror, from apt's sources.
mirror() {
    [ -z "${ONBOARD_MIRROR:-}" ] || { echo "$ONBOARD_MIRROR"; return; }
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
        'Origin: Debian' 'Label: Debian' 2>/dev/null | head -n 1
}

# ---- inside of the namespaces ----

# The release is moved into place when it is complete, so an incomplete one is
# never used.
make_root() {
    local root=$1 suite=$2 log=$1.log from
    [ ! -d "$root" ] || return 0
    mapfile -t from < <(mirror)
    echo "Making $root of Debian $suite"
    rm -rf "$root.new"
    if ! debootstrap --variant=minbase "$suite" "$root.new" "${from[@]}" \
        >"$log" 2>&1; then
        tail -n 20 "$log"
        return 1
    fi
    # A mirror's index may have expired; debootstrap accepts it, too.
    echo 'Acquire::Check-Valid-Until "false";' \
        >"$root.new/etc/apt/apt.conf.d/50onboard"
    # Packages that are installed there must not start a service.
    printf '#!/bin/sh\nexit 101\n' >"$root.new/usr/sbin/policy-rc.d"
    chmod 755 "$root.new/usr/sbin/policy-rc.d"
    mv "$root.new" "$root"
}

mount_into() {
    local root=$1
    mount -t proc proc "$root/proc" && mount --rbind /sys "$root/sys" &&
        mount --rbind /dev "$root/dev" &&
        mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm" &&
        mount -t tmpfs -o mode=755 tmpfs "$root/run" &&
        cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
}

copy_tree() {
    local root=$1
    find "$root/tmp" -mindepth 1 -delete
    rm -rf "$root/onboard"
    mkdir "$root/onboard"
    # The objects of the machine's own version are not copied.
    tar -c --exclude=./build --exclude=./.git --exclude=node_modules \
        --exclude='*.o' --exclude='*.so' --exclude=./sql/onboard--?.?.?.sql . |
        tar -x --no-same-owner -C "$root/onboard"
    # npm's registry may be unreachable there.
    [ ! -d test/readers/node_modules ] ||
        cp -rL test/readers/node_modules "$root/onboard/test/readers/"
}

run_in() {
    local root=$1 major=$2
    shift 2
    # The last run may have ended in the middle of an installation.
    chroot "$root" dpkg --configure -a >/dev/null 2>&1
    chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        ONBOARD_POSTGRES="$major" COPT="${COPT--Werror}" \
        ${ONBOARD_LONG:+ONBOARD_LONG="$ONBOARD_LONG"} \
        sh -c 'cd /onboard && exec "$@"' _ "$@"
}

passed=0 failed=0 skipped=0 log=

# Adds the numbers in the log's last line.
add_up() {
    local line p f s
    line=$(tail -n 1 "$log" |
        grep -aE '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$')
    read -r p f s < <(tr -cd '0-9 \n' <<<"$line")
    p=${p:-0} f=${f:-0} s=${s:-0}
    if [ "$1" != 0 ] && [ "$f" = 0 ] || [ "$p$f" = 00 ]; then
        f=1
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

run_version() {
    local major=${1%%:*} suite=${1#*:}
    local root=$cache/$major
    printf '\n==== PostgreSQL %s, Debian %s\n' "$major" "$suite"
    : >"$log"
    # Only one run at a time uses a release.
    exec 9>"$root.lock"
    flock 9
    make_root "$root" "$suite" && mount_into "$root" && copy_tree "$root" &&
        run_in "$root" "$major" "${command[@]}" 2>&1 | tee "$log"
    add_up $?
}

inside() {
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    mkdir -p "$cache"
    local version line
    for version in "${versions[@]}"; do
        run_version "$version"
    done
    line="$passed passed, $failed failed"
    [ "$skipped" = 0 ] || line="$line, $skipped skipped"
    printf '\n%s\n' "$line"
    [ "$failed" = 0 ]
}

# ---- outside ----

if [ -n "${ONBOARD_INSIDE:-}" ]; then
    inside
    exit
fi

if [ "$(id -u)" != 0 ]; then
    exec sudo env ONBOARD_VERSIONS="$cache" ONBOARD_LONG="${ONBOARD_LONG:-}" \
        ONBOARD_MIRROR="${ONBOARD_MIRROR:-}" COPT="${COPT--Werror}" \
        bash test/versions.sh "${arguments[@]}"
fi
bash test/install.sh versions || { echo "0 passed, 1 failed"; exit 1; }
ONBOARD_INSIDE=1 unshare --mount --pid --fork --kill-child \
    bash test/versions.sh "${arguments[@]}" &
# The first process of a namespace receives only signals for which it has a
# handler.
trap 'kill -KILL $! 2>/dev/null' EXIT
trap 'exit 1' INT TERM HUP
wait $!
