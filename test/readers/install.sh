#!/bin/sh
# Installs the readers of Parquet that package-lock.json names, from npm, into
# node_modules beside this script; quiet when they are there.
#
#   sh test/readers/install.sh
#
# Where npm's registry gives nothing, it says so; the tests that need the
# readers are then skipped.
cd "$(dirname "$0")" || exit 1
done=node_modules/.installed
cmp -s package-lock.json "$done" && exit 0
# ours alone: a link is somebody else's folder
[ -L node_modules ] || rm -rf node_modules
if command -v npm >/dev/null && npm ci --silent --no-audit --no-fund \
    --fetch-retries 1 >/dev/null 2>&1; then
    cp package-lock.json "$done"
else
    echo "npm gives no readers of Parquet: see what is skipped"
fi
