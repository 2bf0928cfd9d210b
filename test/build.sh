#!/usr/bin/env bash
# Builds the extension and installs it into pg_config's directories, which
# belong to root.
set -euo pipefail
cd "$(dirname "$0")/.."
# These exclude the flags of a make that called us: it has no jobs to share.
unset MAKEFLAGS MAKELEVEL
make -s -j"$(nproc)"
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
$as_root make -s install ${PG_CONFIG:+PG_CONFIG="$PG_CONFIG"}
