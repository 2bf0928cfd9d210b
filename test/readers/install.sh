#!/bin/sh
# Installs the packages in a folder's package-lock.json, from npm, into its
# node_modules; quiet if they are installed.
#
#   sh test/readers/install.sh [FOLDER]
#
# The default folder is this one, with the readers of Parquet.  If npm fails, the
# script prints a message; the tests that need the readers are then skipped.
cd "${1:-$(dirname "$0")}" || exit 1
done=node_modules/.installed
cmp -s package-lock.json "$done" && exit 0
# only our own folder is replaced: a link leads to the folder of another tree
[ -L node_modules ] || rm -rf node_modules
if command -v npm >/dev/null && npm ci --silent --no-audit --no-fund \
    --fetch-retries 1 >/dev/null 2>&1; then
    cp package-lock.json "$done"
else
    echo "npm cannot install the packages of $PWD: see the skipped tests"
fi
