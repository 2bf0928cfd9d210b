#!/usr/bin/python3
"""The time of the orchestrator from its start to its first event.

    test/bench/cold_start.py [rounds]

It is compared, in turns, with a Python handler that imports boto3 and psycopg2.
Both fetch a secret before the first event, from a stand-in on this machine.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "test"), str(ROOT / "test" / "lambda")]

from lib.proxy import Proxy, Response  # noqa: E402
from lib.runtime_api import RuntimeApi  # noqa: E402

SECRET = (
    b'{"VersionId": "1", "SecretString": "{\\"host\\": \\"h\\", \\"username\\":'
    b' \\"u\\", \\"password\\": \\"p\\", \\"dbname\\": \\"d\\"}"}'
)
PYTHON = """
import os, urllib.request
import boto3, psycopg2
boto3.client(
    "secretsmanager", endpoint_url=os.environ["AWS_ENDPOINT_URL"]
).get_secret_value(SecretId="s")
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
urllib.request.urlopen(f"http://{api}/2018-06-01/runtime/invocation/next")
"""


def once(command, aws):
    with RuntimeApi() as api:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            env={
                "AWS_LAMBDA_RUNTIME_API": api.address,
                "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
                "ONBOARD_SECRETS": "s", "PATH": os.environ["PATH"],
                "AWS_ENDPOINT_URL": aws, "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        while not api.requests:
            if process.poll() is not None:
                sys.exit(f"{command[0]} ended with {process.returncode}")
            time.sleep(0.0005)
        took = time.perf_counter() - began
        process.kill()
        process.wait()
        return took


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    program = ROOT / "build" / "lambda" / "bootstrap"
    ways = {
        "onboard": [str(program)],
        "Python, boto3, psycopg2": ["/usr/bin/python3", "-c", PYTHON],
    }
    times = {name: [] for name in ways}
    response = Response(200, SECRET, {"Content-Type": "application/x-amz-json-1.1"})
    with RuntimeApi() as behind, Proxy(f"http://{behind.address}") as aws:
        aws.rule(response=response, times=None)
        for _ in range(rounds):
            for name, command in ways.items():
                times[name].append(once(command, aws.endpoint))
    for name, found in times.items():
        print(f"{name}: {statistics.median(found) * 1000:.0f} ms"
              f" ({min(found) * 1000:.0f} to {max(found) * 1000:.0f})")


if __name__ == "__main__":
    main()
