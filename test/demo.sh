#!/usr/bin/env bash
# make demo: installs what is missing, builds, and shows onboard at work.
# KEEP=1 leaves the servers up.
set -euo pipefail
cd "$(dirname "$0")/.."
bash test/install.sh demo
echo "Building and installing the extension."
bash test/build.sh
export PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 test/demo.py
