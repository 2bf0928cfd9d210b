#!/usr/bin/env bash
# The orchestrator's layer: pytest drives the real program.
#
#   test/lambda.sh [pytest's arguments]
set -uo pipefail
cd "$(dirname "$0")/.." || exit

# These programs are not in Debian: if the machine has none, they are installed
# into a virtual environment.  If that fails, the tests that need them are
# skipped.
wanted=test/lambda/requirements.txt
if ! command -v moto_server >/dev/null || ! command -v cfn-lint >/dev/null
then
    if ! cmp -s "$wanted" build/venv/requirements.txt; then
        rm -rf build/venv
        if python3 -m venv build/venv && build/venv/bin/pip install -q \
            --retries 2 -r "$wanted"; then
            cp "$wanted" build/venv/
        else
            echo "PyPI gives no $(paste -sd' ' "$wanted"): see what is skipped"
        fi
    fi
    PATH=$PWD/build/venv/bin:$PATH
fi
python3 deploy/package.py build build/lambda || exit 1
what=()
[ $# -gt 0 ] || what=(test/lambda)
exec bash test/pytest.sh "${what[@]}" "$@"
