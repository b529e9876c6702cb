#!/usr/bin/env python3
"""Compares a gateway with MLflow's own scoring server over the same fitted pipeline.

    python beside_mlflow.py make FOLDER              # FOLDER/bundle for the gateway, FOLDER/model for MLflow
    python beside_mlflow.py compare FOLDER URL       # the same requests to both: the same statuses and predictions

Needs mlflow, scikit-learn and the exporter.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd


def frame():
    random = np.random.default_rng(7)
    return pd.DataFrame({
        "age": random.uniform(18, 90, 300).round(1),
        "income": random.normal(30_000, 9_000, 300).round(),
        "city": random.choice(["Lugo", "Vigo", "Ferrol"], 300),
    })


def make(folder):
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from modelgate_exporter import export
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    data = frame()
    target = ((data.age > 50).astype(int) + (data.income > 30_000)).to_numpy()
    columns = make_column_transformer(
        (StandardScaler(), ["age", "income"]), (OneHotEncoder(handle_unknown="ignore"), ["city"])
    )
    pipeline = make_pipeline(columns, RandomForestClassifier(20, max_depth=5, random_state=0)).fit(data, target)
    export(pipeline, data, folder / "bundle", name="both", version="1")
    mlflow.sklearn.save_model(pipeline, folder / "model", signature=infer_signature(data, pipeline.predict(data)))


def post(url, kind, body):
    headers = {"Content-Type": kind} if kind else {}
    request = urllib.request.Request(url + "/invocations", body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), error.read()


def requests():
    """Content type and body of each request, good and bad."""
    data = frame().head(30)
    rows = json.loads(data.to_json(orient="records"))
    split = json.loads(data.to_json(orient="split"))
    columns = {name: values.tolist() for name, values in data.items()}
    say = lambda value: json.dumps(value).encode()
    good = "application/json"
    yield good, say({"dataframe_split": split})
    yield good, say({"dataframe_split": {"data": split["data"], "columns": split["columns"]}})
    yield good, say({"dataframe_records": rows})
    yield good, say({"dataframe_records": [row | {"more": 1} for row in rows]})
    yield good, say({"inputs": columns})
    yield good, say({"dataframe_records": rows, "params": {"x": 1}})
    yield good + "; charset=UTF-8", say({"dataframe_records": rows[:1]})
    yield "text/csv", data.to_csv(index=False).encode()
    yield "text/csv; charset=utf-8", data.to_csv().encode()
    yield "text/csv", (data.to_csv(index=False) + "1,2,Lugo,4\n").encode()
    yield "text/csv", data[["age", "city"]].to_csv(index=False).encode()
    yield "text/csv", b"age,income,city\n\xff,1,Lugo\n"
    yield good, b"{"
    yield good, b"[1]"
    yield good, b"3"
    yield good, b"\xff{}"
    yield good, say({"instances": rows, "inputs": columns})
    yield good, say({"rows": rows})
    yield good, say({"dataframe_records": rows[0]})
    yield good, say({"dataframe_split": rows})
    yield good, say({"dataframe_split": {"columns": ["age"]}})
    yield good, say({"dataframe_split": split | {"more": 1}})
    yield good, say({"dataframe_records": [{"age": 1.0}]})
    yield good, say({"dataframe_records": [{"age": "x", "income": 1.0, "city": "Lugo"}]})
    yield "text/plain", b"x"
    yield "application/x-www-form-urlencoded", b"x=1"
    yield good + "; charset=latin-1", say({"dataframe_records": rows})
    yield "text/csv; format=split", b"x"


def compare(folder, url):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    log = open(folder / "mlflow.log", "wb")
    server = subprocess.Popen(
        [Path(sys.executable).parent / "mlflow", "models", "serve", "--model-uri", folder / "model", "--env-manager",
         "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        stdout=log, stderr=log, start_new_session=True,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    theirs = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(theirs + "/ping", timeout=5).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit((folder / "mlflow.log").read_text()[-3000:])
                time.sleep(0.2)
        different = []
        for kind, body in requests():
            (status, form, answer), (expected, their_form, truth) = post(url, kind, body), post(theirs, kind, body)
            about = f"{kind} {body[:90]!r}"
            # Its own statuses for data that no model takes differ by the way in which pandas or the model fails on it.
            if status != expected:
                different.append(f"{about}: {status}, MLflow says {expected}: {answer[:200]!r}, {truth[:300]!r}")
            elif form != their_form:
                different.append(f"{about}: {form}, MLflow says {their_form}")
            elif status == 200 and json.loads(answer) != json.loads(truth):
                different.append(f"{about}: {answer[:200]!r}, MLflow says {truth[:200]!r}")
            elif status == 400 and set(json.loads(answer)) - {"stack_trace"} != set(json.loads(truth)) - {"stack_trace"}:
                different.append(f"{about}: {answer[:200]!r}, MLflow says {truth[:200]!r}")
        if different:
            sys.exit("\n".join(different))
        print(f"{len(list(requests()))} requests: the same statuses and predictions")
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder]:
            make(Path(folder))
        case ["compare", folder, url]:
            compare(Path(folder), url)
        case _:
            sys.exit(__doc__)
