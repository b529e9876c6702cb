"""The part of run.py about releases in real stores: how long until what was published answers.

An S3 server and an MLflow server from the tests' environment (`gateway/tests/setup.sh bench` makes it); the gateway looks
at each once a second.
"""

import contextlib
import json
import os
import random
import statistics
import subprocess
import time
import urllib.request
from pathlib import Path

from models import Bundle, Client, golden_row, live, serve

GATEWAY = Path(__file__).resolve().parent.parent
PROGRAMS = GATEWAY.parent / "target/source-venv/bin"
POLL = 1


def program(name):
    path = PROGRAMS / name
    if not path.exists():
        raise SystemExit(f"{path} is missing: run gateway/tests/setup.sh bench")
    return str(path)


def until_it_answers(url):
    deadline = time.monotonic() + 120
    while True:
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(f"nobody answers at {url}") from None
            time.sleep(0.05)


def put(url, data=b""):
    request = urllib.request.Request(url, data, {"Content-Type": "application/octet-stream"}, method="PUT")
    urllib.request.urlopen(request, timeout=30).read()


@contextlib.contextmanager
def person(environment):
    """The person who trains models and moves aliases: a function that takes a command of registry.py and gives its answer."""
    process = subprocess.Popen(
        [program("python"), str(GATEWAY / "tests/py/registry.py")], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )

    def say(command):
        process.stdin.write(command + "\n")
        process.stdin.flush()
        for line in process.stdout:
            if line.startswith("= "):
                return line[2:].strip()
        raise SystemExit(f"{command}: it ended")

    try:
        yield say
    finally:
        process.stdin.close()
        process.wait(30)


def release(bench, executables, scratch, moves=9):
    print(f"Publication to the first answer of the new version, looked for every {POLL} s ({moves} times each):", flush=True)
    s3, mlflow = (f"127.0.0.1:{bench.free_port()}" for _ in range(2))
    settings = {
        "AWS_ENDPOINT_URL": f"http://{s3}", "MLFLOW_S3_ENDPOINT_URL": f"http://{s3}", "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_DEFAULT_REGION": "us-east-1", "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"http://{mlflow}", "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    (scratch / "mlflow").mkdir()
    server = [program("mlflow"), "server", "--host", "127.0.0.1", "--port", mlflow.split(":")[1], "--workers", "1",
              "--serve-artifacts", "--artifacts-destination", "s3://models/proxied",
              "--backend-store-uri", f"sqlite:///{scratch}/mlflow/mlflow.db"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(bench.running([program("moto_server"), "-H", "127.0.0.1", "-p", s3.split(":")[1]]))
        stack.enter_context(bench.running(server, cwd=scratch / "mlflow", env=settings))
        until_it_answers(f"http://{s3}/")
        put(f"http://{s3}/models")
        # Objects are written below without credentials.
        everybody = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::models", "arn:aws:s3:::models/*"]}
        ]}
        put(f"http://{s3}/models?policy", json.dumps(everybody).encode())
        until_it_answers(f"http://{mlflow}/health")
        say = stack.enter_context(person(os.environ | settings))
        say("train churn a --alias champion")
        bundles = {str(number): Bundle(version=str(number)).other_model(f"model {number}") for number in range(1, moves + 2)}

        def publish(bundle):
            for name, data in sorted(bundle.files.items(), key=lambda item: item[0] == "bundle.toml"):
                start = time.perf_counter()
                put(f"http://{s3}/models/live/demo/{name}", data)
            return start

        publish(bundles.pop("1"))
        os.environ |= settings
        address, running = serve(
            bench, executables, scratch, "--source", "s3://models/live", "--source", "models:/churn@champion",
            "--poll", str(POLL),
        )
        stack.enter_context(running)
        client = Client(address)
        rows = {"S3": golden_row()[0] | {"model": "demo"},
                "MLflow": {"age": 30, "plan": "basic", "model": "churn"}}
        live(client, rows["S3"], "1")
        live(client, rows["MLflow"], "1")
        versions = [say(f"train churn {chr(ord('b') + number)}") for number in range(moves)]
        took = {name: [] for name in rows}
        for (number, bundle), version in zip(bundles.items(), versions):
            # So that looks and publications meet at any phase.
            time.sleep(random.random() * POLL)
            start = publish(bundle)
            live(client, rows["S3"], number)
            took["S3"].append(time.perf_counter() - start)
            time.sleep(random.random() * POLL)
            start = time.perf_counter()
            say(f"alias churn champion {version}")
            live(client, rows["MLflow"], version)
            took["MLflow"].append(time.perf_counter() - start)
    for name, what in (("S3", "manifest written to S3"), ("MLflow", "alias moved in MLflow")):
        print(f"  {what}: {statistics.median(took[name]):.2f} s in the middle")
        bench.at_most(f"{what} to first answer, worst, less the poll interval", max(took[name]) - POLL, 1, "s")
