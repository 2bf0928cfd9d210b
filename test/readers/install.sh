#!/bin/sh
# Installs the packages of a folder's package-lock.json from npm, unless they are
# already installed.
#
#   sh test/readers/install.sh [FOLDER]
#
# The default is the folder of this script, with the readers of Parquet.  If npm
# fails, the script prints a message, and tests that need the packages are skipped.
cd "${1:-$(dirname "$0")}" || exit 1
done=node_modules/.installed
cmp -s package-lock.json "$done" && exit 0
# A symbolic link leads to another tree, whose folder must not be removed.
[ -L node_modules ] || rm -rf node_modules
if command -v npm >/dev/null && npm ci --silent --no-audit --no-fund \
    --fetch-retries 1 >/dev/null 2>&1; then
    cp package-lock.json "$done"
else
    echo "npm cannot install the packages of $PWD: see the skipped tests"
fi
