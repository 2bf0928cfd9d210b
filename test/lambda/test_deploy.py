"""The deployment: the template, the state machine, and a sanitized build."""

import json
import os
import re

import pytest
from conftest import ROOT, program

from lib import process
from lib.invoke_api import InvokeApi
from lib.runtime_api import Function, FunctionError, RuntimeApi

DEPLOY = ROOT / "deploy"


def test_the_template():
    process.run([program("cfn-lint"), str(DEPLOY / "template.yaml")],
                timeout=120)


def test_rights():
    """The template grants no right in S3, and "*" only where AWS has no other
    resource."""
    text = (DEPLOY / "template.yaml").read_text()
    role = text.split("\n  Role:\n")[1].split("\n  LogGroup:\n")[0]
    assert "s3:" not in role
    for statement in role.split("- Effect: Allow")[1:]:
        actions = re.findall(r"[a-z0-9]+:[A-Z]\w+", statement)
        if 'Resource: "*"' in statement:
            assert {action.split(":")[0] for action in actions} == {"ec2"}


def test_the_state_machine(db, api, start):
    """Its events are valid for the function."""
    machine = json.loads((DEPLOY / "statemachine.asl.json").read_text())
    item = machine["States"]["Tables"]["ItemSelector"]["onboard"]
    assert set(item) == {"action", "run_id.$", "depth", "tables.$"}
    start()
    event = {"onboard": {
        "action": item["action"], "depth": item["depth"], "tables": ["a"],
        "run_id": "6ed95f13-96b0-4f06-9fc2-9ad71165c7e3",
    }}
    with pytest.raises(FunctionError) as error:
        api.invoke(event).result()
    # The event was valid: the error is that the table does not exist.
    assert "it is not registered" in error.value.message


@pytest.fixture
def lam(moto):
    with InvokeApi(moto.access_key, moto.secret_key) as server:
        yield server


def test_sanitized(db, lam, moto, aws, secret, bucket):
    """ASan and UBSan report no error and no leak."""
    folder = ROOT / "build" / "lambda-asan"
    process.run(
        ["/usr/bin/python3", str(DEPLOY / "package.py"), "build",
         str(folder)],
        timeout=300,
        env={**os.environ, "ONBOARD_LAMBDA_CFLAGS":
             "-fsanitize=address,undefined -fno-sanitize-recover=all"
             " -O0 -g1 -U_FORTIFY_SOURCE"},
    )
    with db.cursor() as cursor:
        cursor.execute(
            "INSERT INTO onboard_tables (name, query) VALUES"
            " ('a', 'SELECT 1 AS a'), ('wrong', 'SELECT 1 / 0')"
        )
    for mode in ("wait", "submit", "fanout"):
        env = {
            "ONBOARD_SECRETS": secret, "ONBOARD_BUCKET": bucket,
            "ONBOARD_MODE": mode,
            "AWS_ACCESS_KEY_ID": moto.access_key,
            "AWS_SECRET_ACCESS_KEY": moto.secret_key,
            "AWS_ENDPOINT_URL": aws.endpoint,
            "AWS_ENDPOINT_URL_LAMBDA": lam.endpoint,
        }
        api = RuntimeApi()
        with api, Function(api, [str(folder / "bootstrap")], env) as function:
            for event in (
                {"onboard": {"action": "run", "tables": ["a"]}},
                {"onboard": {"action": "run", "tables": ["a", "wrong"]}},
                {"onboard": {"action": "nonsense"}},
            ):
                invocation = api.invoke(event)
                assert invocation.ended.wait(60), function.lines
            # An invalid event ends it, and leaks are reported then.
            api.next_statuses = [500]
            api.invoke({"x": 1})
            status = function.wait(60)
            text = "".join(function.lines)
            assert "Sanitizer" not in text and "runtime error" not in text, (
                text
            )
            assert status == 1
