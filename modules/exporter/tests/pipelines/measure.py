"""Exports every pipeline of a file and compares the bundles with the pipelines on fresh rows.

    python measure.py pipelines.py --rows 20000 --gateway ../../../../target/debug/modelgate

The file has `cases()`, which yields names and factories, or a dictionary `C` of them; a factory gives
(pipeline, frame, target). Each bundle is run from its written files: the preprocessing by
`modelgate_exporter.reference`, the graph by ONNX Runtime; with `--gateway` some rows go over HTTP too.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modelgate_exporter import CannotExport, export
from modelgate_exporter.written import Written

TOLERANCE = 1e-5


def factories(file: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The names and factories of a file of pipelines."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    yield from module.cases() if hasattr(module, "cases") else module.C.items()


def fresh(sample: pd.DataFrame, count: int, seed: int = 11) -> pd.DataFrame:
    """Rows that were not in the sample: each column is drawn by itself, missing values included."""
    rng = np.random.default_rng(seed)
    columns = {}
    for name in sample.columns:
        values = sample[name]
        drawn = values.take(rng.integers(0, len(values), count)).reset_index(drop=True)
        kind = values.dtype
        if pd.api.types.is_float_dtype(kind) and isinstance(kind, np.dtype):
            low, high = float(values.min()), float(values.max())
            made = pd.Series(rng.uniform(low, high, count)).astype(kind)
            if (values.dropna() % 1 == 0).all():
                made = made.round()
            drawn = drawn.where(drawn.isna() | (rng.random(count) < 0.3), made)
        elif pd.api.types.is_integer_dtype(kind) and isinstance(kind, np.dtype):
            made = pd.Series(rng.integers(values.min(), values.max() + 1, count)).astype(kind)
            drawn = drawn.where(rng.random(count) < 0.3, made)
        columns[name] = drawn
    return pd.DataFrame(columns, columns=sample.columns)


def difference(ours: Any, theirs: Any) -> tuple[np.ndarray, float]:
    """Per row whether labels differ (or numbers by more than the tolerance), and the largest difference."""
    theirs = np.asarray(theirs)
    ours = np.asarray(ours)
    if theirs.dtype.kind == "f" and ours.dtype.kind in "fiu":
        apart = np.abs(ours.astype(float).reshape(theirs.shape) - theirs) / np.maximum(1, np.abs(theirs))
        apart = np.nan_to_num(apart, nan=np.inf).reshape(len(theirs), -1).max(axis=1)
        return apart > TOLERANCE, float(apart.max())
    if theirs.dtype.kind in "OUT" or ours.dtype.kind in "OUT":
        ours, theirs = ours.astype(str), theirs.astype(str)
    return (ours != theirs).reshape(len(theirs), -1).any(axis=1), 0.0


def compared(pipeline: Any, rows: pd.DataFrame, given: dict[str, Any], X: Any) -> tuple[int, float, int]:
    """Rows that are answered otherwise, the largest difference, ties between classes."""
    if isinstance(X, pd.Series):
        rows = rows.iloc[:, 0]
    elif isinstance(X, list):
        rows = [{name: value for name, value in row.items() if not pd.isna(value)} for row in rows.astype(object).to_dict("records")]
    elif not isinstance(X, pd.DataFrame):
        rows = rows.to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = np.asarray(pipeline.predict(rows))
        wrong, largest = difference(given["prediction"], np.squeeze(said))
        ties = np.zeros(len(wrong), bool)
        if hasattr(pipeline, "predict_proba") and "probabilities" in given:
            likely = np.asarray(pipeline.predict_proba(rows))
            if likely.ndim == 2:
                best = np.sort(likely, axis=1)
                ties = wrong & (best[:, -1] - best[:, -2] <= 2 * TOLERANCE)
            far, apart = difference(given["probabilities"], likely)
            wrong, largest = (wrong & ~ties) | far, max(largest, apart)
    return int(wrong.sum()), largest, int(ties.sum())


class Gateway:
    """A gateway that serves one bundle."""

    def __init__(self, binary: Path, bundle: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = tempfile.TemporaryFile()
        command = [binary, "serve", "--bundle", bundle, "--listen", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.ready()

    def ready(self) -> None:
        # A stage in Python takes some seconds of processor time to compile.
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/health/ready", timeout=5)
                return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError("the gateway does not serve the bundle")

    def predict(self, rows: list[dict[str, Any]], kinds: dict[str, str], flat: bool) -> dict[str, np.ndarray]:
        """All outputs for some rows, over the Open Inference Protocol."""
        types = {"f64": "FP64", "f32": "FP32", "i64": "INT64", "bool": "BOOL", "bytes": "BYTES"}
        shape = [len(rows)] if flat else [len(rows), 1]
        # Where the graph takes the columns themselves, a missing number is NaN.
        lost = None if flat else float("nan")
        inputs = [
            {"name": name, "shape": shape, "datatype": types[kind], "data": [lost if row[name] is None else row[name] for row in rows]}
            for name, kind in kinds.items()
        ]
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v2/models/measured/infer",
            json.dumps({"inputs": inputs}).encode(),
            {"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                outputs = json.loads(answer.read())["outputs"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{error.code}: {error.read()[:300]!r}") from error
        return {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in outputs}

    def stop(self) -> str:
        self.process.terminate()
        self.process.wait()
        self.log.seek(0)
        return self.log.read().decode()[-600:]


def served(binary: Path, bundle: Written, cells: list[dict[str, Any]], given: dict[str, Any]) -> str:
    """The gateway's answers that differ from those of ONNX Runtime."""
    checked = subprocess.run([binary, "check", bundle.folder], capture_output=True, text=True, check=False)
    if checked.returncode:
        return "check: " + " ".join((checked.stderr or checked.stdout).split())[:300]
    gateway = Gateway(binary, bundle.folder)
    try:
        answers = gateway.predict(cells, bundle.datatypes(), bundle.tabular is not None)
    except RuntimeError as error:
        return str(error)
    finally:
        gateway.stop()
    for name in given:
        wrong, _ = difference(answers[name], given[name][: len(cells)])
        if wrong.any():
            row = int(np.argmax(wrong))
            return f"{int(wrong.sum())} rows differ in {name}: {answers[name][row]} for {given[name][row]}"
    return ""


class TooLong(Exception):
    """An export took longer than it may."""


def measured(factory: Callable[[], Any], rows: int, gateway: Path | None, http_rows: int) -> dict[str, Any]:
    """One pipeline's line of the table."""
    pipeline, X, y = factory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(X) if y is None else pipeline.fit(X, y)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as out:
        folder = Path(out) / "bundle"
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                export(pipeline, X, folder, name="measured")
        except CannotExport as error:
            return {"state": "refused", "why": str(error), "seconds": time.monotonic() - began}
        seconds = time.monotonic() - began
        sample = X.to_frame() if isinstance(X, pd.Series) else pd.DataFrame.from_records(X) if isinstance(X, list) else X
        sample = sample if isinstance(sample, pd.DataFrame) else pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
        more = fresh(sample, rows)
        bundle = Written(folder)
        cells = bundle.cells(more)
        given = bundle.answers(cells)
        wrong, largest, ties = compared(pipeline, more, given, X)
        line = {"state": "wrong" if wrong else "exported", "wrong": wrong, "largest": largest, "ties": ties}
        line |= {"seconds": seconds, "route": bundle.route}
        if gateway is not None:
            line["served"] = served(gateway, bundle, cells[:http_rows], given)
            if line["served"]:
                line["state"] = "unserved"
        return line


def main() -> int:
    """Prints the table; fails where an answer is wrong or fewer than 95 of 100 are exported."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--only", default="", help="a part of the names")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--gateway", type=Path, help="the binary, for rows over HTTP")
    parser.add_argument("--http-rows", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=240, help="for one pipeline")
    asked = parser.parse_args()
    states: dict[str, int] = {}

    def late(*_: Any) -> None:
        raise TooLong

    signal.signal(signal.SIGALRM, late)
    print(f"pandas {pd.__version__}")
    for file in asked.files:
        for name, factory in factories(file):
            if asked.only not in name:
                continue
            signal.alarm(asked.seconds)
            try:
                line = measured(factory, asked.rows, asked.gateway, asked.http_rows)
            except TooLong:
                line = {"state": "failed", "why": "took too long"}
            except Exception as error:
                line = {"state": "failed", "why": f"{type(error).__name__}: {str(error)[:400]}"}
            finally:
                signal.alarm(0)
            states[line["state"]] = states.get(line["state"], 0) + 1
            print(f"{line['state']:9} {name:32} {shown(line)}", flush=True)
    print(", ".join(f"{count} {state}" for state, count in sorted(states.items())))
    total = sum(states.values())
    return int(states.get("exported", 0) + states.get("refused", 0) < total or states.get("exported", 0) < 0.95 * total)


def shown(line: dict[str, Any]) -> str:
    """The object behind a name."""
    if line["state"] in ("refused", "failed"):
        return str(line["why"])
    text = f"{line['route']:8} {line['seconds']:5.1f} s  differs by {line['largest']:.1e}"
    text += f", {line['wrong']} wrong" if line["wrong"] else ""
    text += f", {line['ties']} ties" if line["ties"] else ""
    if "served" in line:
        text += f"; gateway: {line['served'] or 'equal'}"
    return text


if __name__ == "__main__":
    sys.exit(main())
