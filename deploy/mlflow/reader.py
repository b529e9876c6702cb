"""Makes the account `reader`, which the replicas and the converter have, once the registry answers."""

import base64
import json
import sys
import time
import urllib.error
import urllib.request

SECRETS = "/run/secrets/"
PATIENCE = 120


def secret(name):
    with open(SECRETS + name) as file:
        return file.read().strip()


def call(path, body=None):
    request = urllib.request.Request(f"http://127.0.0.1:5000{path}", data=body and json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    login = f"admin:{secret('mlflow_admin_password')}"
    request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


deadline = time.monotonic() + PATIENCE
while True:
    try:
        call("/health")
        break
    except OSError:
        if time.monotonic() > deadline:
            sys.exit(f"the registry did not answer within {PATIENCE} s: the account `reader` is not made")
        time.sleep(0.5)
try:
    call("/api/2.0/mlflow/users/create", {"username": "reader", "password": secret("mlflow_reader_password")})
except urllib.error.HTTPError as error:
    # It was made at an earlier start.
    said = error.read().decode()
    if "RESOURCE_ALREADY_EXISTS" not in said:
        sys.exit(f"the account `reader` cannot be made: {error.code} {said[:300]}")
