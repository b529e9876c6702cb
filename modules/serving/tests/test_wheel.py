"""The wheel, as a newcomer gets it: built, installed into a fresh environment, a pipeline of one's own served."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomllib

from conftest import ROOT

NEWCOMER = """
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelgate_serving import serve

rng = np.random.default_rng(0)
flowers = pd.DataFrame({"petal": rng.normal(4, 2, 500), "sepal": rng.normal(6, 1, 500)})
kinds = np.where(flowers["petal"] > 4, "rose", "daisy")
pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(10, random_state=0)).fit(flowers, kinds)
with serve(pipeline, flowers) as served:
    assert (served.predict(flowers)["prediction"] == pipeline.predict(flowers)).all()
    print("served", served.url)
"""


def uv() -> str:
    found = ROOT / "target/uv/bin/uv"
    if found.exists():
        return str(found)
    if on_path := shutil.which("uv"):
        return on_path
    pytest.fail("uv is not there: `make test-venv` installs it")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheels")
    subprocess.run([uv(), "build", "--quiet", "--wheel", "--out-dir", out, ROOT / "modules/serving"], check=True, timeout=300)
    (made,) = out.glob("*.whl")
    return made


def test_from_the_wheel_to_a_served_pipeline(wheel, tmp_path):
    assert re.search(r"-py3-none-manylinux_2_\d+_(x86_64|aarch64)\.whl$", wheel.name), wheel.name
    begun = time.monotonic()
    fresh = tmp_path / "fresh"
    subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, fresh], check=True, timeout=60)
    python = fresh / "bin/python"
    subprocess.run([uv(), "pip", "install", "--quiet", "--python", python, wheel], check=True, timeout=110)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MODELGATE_", "PYTHON"))}
    done = subprocess.run(
        [python, "-c", NEWCOMER], env=clean, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0 and "served http://127.0.0.1:" in done.stdout, done.stderr[-2000:]
    # The issue's own limit; most of it is the index's.
    assert time.monotonic() - begun < 120
    names = [[fresh / "bin/modelgate"], [fresh / "bin/modelgate-export", "--help"], [python, "-m", "modelgate_serving"]]
    for command in ([*names[0], "--version"], names[1], [*names[2], "--version"]):
        told = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=60, check=True).stdout
        assert "modelgate" in told
    port = demo(fresh / "bin/modelgate", clean, tmp_path)
    assert port


def demo(binary: Path, env: dict, folder: Path) -> int:
    """The demo's port, once it says that it listens."""
    process = subprocess.Popen(
        [binary, "serve", "--demo", "--listen", "127.0.0.1:0", "--bundle-cache", folder / "cache"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        found = re.search(r"listens on http://127\.0\.0\.1:(\d+)", process.stdout.readline())
        return int(found[1]) if found else 0
    finally:
        process.terminate()
        process.wait(30)


def test_what_it_declares():
    own = tomllib.loads((ROOT / "modules/serving/pyproject.toml").read_text())["project"]
    exporter = tomllib.loads((ROOT / "modules/exporter/pyproject.toml").read_text())["project"]
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    assert own["version"] == workspace["version"]
    assert set(exporter["dependencies"]) <= set(own["dependencies"])
    assert exporter["scripts"].items() <= own["scripts"].items()
    extras = own["optional-dependencies"]
    for name in ("mlflow", "registry", "xgboost", "lightgbm", "catboost"):
        assert extras[name] == exporter["optional-dependencies"][name], name
