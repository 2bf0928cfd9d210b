#!/usr/bin/env bash
# make demo: installs missing packages, builds, and demonstrates onboard.
# KEEP=1 keeps the servers running.
set -euo pipefail
cd "$(dirname "$0")/.."
bash test/install.sh demo
echo "Building and installing the extension."
bash test/build.sh
export PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 test/demo.py
