#!/usr/bin/env bash
# The orchestrator's layer: pytest drives the real program.
#
#   test/lambda.sh [pytest's arguments]
set -uo pipefail
cd "$(dirname "$0")/.."

# Not in Debian: a virtual environment has them where the machine has not.
if ! command -v moto_server >/dev/null || ! command -v cfn-lint >/dev/null
then
    if [ ! -x build/venv/bin/moto_server ]; then
        python3 -m venv build/venv &&
            build/venv/bin/pip install -q 'moto[server]' cfn-lint || exit 1
    fi
    PATH=$PWD/build/venv/bin:$PATH
fi
python3 deploy/package.py build build/lambda || exit 1
what=()
[ $# -gt 0 ] || what=(test/lambda)
exec bash test/pytest.sh "${what[@]}" "$@"
