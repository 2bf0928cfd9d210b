#!/bin/sh
# Installs the packages that a folder's package-lock.json names, from npm, into
# its node_modules; quiet when they are there.
#
#   sh test/readers/install.sh [FOLDER]
#
# Without a folder it is this one, the readers of Parquet.  Where npm's registry
# gives nothing, it says so; the tests that need the readers are then skipped.
cd "${1:-$(dirname "$0")}" || exit 1
done=node_modules/.installed
cmp -s package-lock.json "$done" && exit 0
# ours alone: a link is somebody else's folder
[ -L node_modules ] || rm -rf node_modules
if command -v npm >/dev/null && npm ci --silent --no-audit --no-fund \
    --fetch-retries 1 >/dev/null 2>&1; then
    cp package-lock.json "$done"
else
    echo "npm gives nothing for $PWD: see what is skipped or left out"
fi
