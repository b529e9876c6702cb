"""From the training step to the first right answer, timed, with servers and clients of a given MLflow.

    training.py TRAINER_PYTHON

TRAINER_PYTHON is the interpreter of an environment with MLflow, of which both the tracking server and the training step
are. This script's own environment has the S3 server and the converter, and target/debug/modelgate is the gateway. First
with an empty folder of environments, so that the version's packages are installed; then the next day's version.
"""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MODEL = "modelo_covertype_vf"
STARTED = []


def port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def start(*command, **options):
    process = subprocess.Popen(list(map(str, command)), start_new_session=True, **options)
    STARTED.append(process)
    return process


def until(what, holds, seconds):
    """Polls until it gives something, and gives that."""
    begun = time.monotonic()
    while True:
        try:
            if found := holds():
                return found
        except OSError:
            pass
        if time.monotonic() - begun > seconds:
            raise SystemExit(f"{what}: not so after {seconds} s")
        time.sleep(0.1)


def fetch(address, body=None):
    headers = {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def main(trainer):
    here, work = Path(sys.executable).parent, Path(tempfile.mkdtemp(prefix="training-"))
    s3, tracking, gateway, page = port(), port(), port(), port()
    environment = {
        **os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{s3}", "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{tracking}",
        "GIT_PYTHON_REFRESH": "quiet", "UV": str(ROOT / "target/uv/bin/uv"), "PATH": f"{trainer.parent}:{os.environ['PATH']}",
    }
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": work}
    start(here / "moto_server", "-H", "127.0.0.1", "-p", s3, **quiet)
    until("S3", lambda: fetch(f"http://127.0.0.1:{s3}/")[0], 60)
    bucket = urllib.request.Request(f"http://127.0.0.1:{s3}/models", method="PUT")
    urllib.request.urlopen(bucket).close()
    start(
        trainer.parent / "mlflow", "server", "--host", "127.0.0.1", "--port", tracking, "--workers", "1",
        "--backend-store-uri", f"sqlite:///{work}/mlflow.db", "--default-artifact-root", "s3://models/mlflow",
        "--no-serve-artifacts", **quiet,
    )
    until("MLflow", lambda: fetch(f"http://127.0.0.1:{tracking}/health")[0] == 200, 120)
    start(
        here / "python", "-m", "modelgate_exporter", "watch", "--listen", f"127.0.0.1:{page}", "--work", work / "converter",
        env=environment, cwd=work,
    )
    gateway_environment = {**environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}"}
    start(
        Path(os.environ.get("MODELGATE") or ROOT / "target/debug/modelgate"), "serve", "--listen", f"127.0.0.1:{gateway}", "--bundle-cache", work / "cache", "--poll", "5",
        "--source", f"models:/{MODEL}/production", **{**quiet, "env": gateway_environment},
    )
    person = start(
        trainer, ROOT / "gateway/tests/py/registry.py", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        cwd=work, stderr=subprocess.DEVNULL,
    )

    def say(command):
        print(command, file=person.stdin, flush=True)
        for line in person.stdout:
            if line.startswith("= "):
                return line[2:].strip()
        raise SystemExit(f"{command}: the training step ended")

    files = {}
    for day, seconds in ((1, 180), (2, 60)):
        version, file = say(f"search {MODEL} --seed {day} --stage Production").split(" ", 1)
        registered = time.monotonic()
        files[version] = file
        known = json.loads(Path(file).read_text())
        expected = known["said"]
        body = json.dumps(known["rows"]).encode()

        def right(body=body, expected=expected):
            status, answer = fetch(f"http://127.0.0.1:{gateway}/predict", body)
            return status == 200 and json.loads(answer)["predictions"] == expected

        until(f"version {version} is served", right, seconds)
        print(f"version {version}: {len(expected)} right answers {time.monotonic() - registered:.1f} s after the stage was set")
    for version, file in files.items():
        assert say(shlex.join(["consume", MODEL, version, file])) == "unharmed"
    print("mlflow.sklearn and pyfunc load both versions as before")


if __name__ == "__main__":
    try:
        main(Path(os.path.abspath(sys.argv[1])))
    finally:
        for process in STARTED:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
