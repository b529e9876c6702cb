"""`serve`, as a notebook uses it: from a pipeline to answers, to the next version, to the end."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier

from conftest import customers, gateways, leaves, pipeline
from modelgate_serving import CannotExport, CannotServe, Client, InvalidInput, serve


def test_answers_are_the_pipelines(served, fitted):
    frame = customers(500, seed=7).sample(frac=1, random_state=2)
    answers = served.predict(frame)
    assert (answers.index == frame.index).all()
    assert list(answers.columns) == ["prediction", "probabilities_leaves", "probabilities_stays"]
    assert (answers["prediction"] == fitted.predict(frame)).all()
    proba = served.predict_proba(frame)
    assert list(proba.columns) == ["leaves", "stays"]
    np.testing.assert_allclose(proba, fitted.predict_proba(frame), atol=1e-5)


def test_a_large_frame(served, fitted):
    frame = customers(100_000, seed=3)
    assert (served.predict(frame)["prediction"].to_numpy() == fitted.predict(frame)).all()


def test_the_next_version_takes_over_under_load(fitted):
    frame = customers()
    other = pipeline().fit(frame, np.where(leaves(frame) == "leaves", "goes", "keeps"))
    with serve(fitted, frame, name="churn") as handle:
        stop, seen, failed = threading.Event(), set(), []

        def ask():
            with Client(handle.url) as client:
                while not stop.is_set():
                    try:
                        seen.update(client.predict(frame)["prediction"])
                    except Exception as error:
                        failed.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            assert handle.swap(other, frame) is handle
            assert handle.version == "2" and handle.report.compared.sample == len(frame)
            answers = handle.predict(frame)
            assert set(answers["prediction"]) == {"goes", "keeps"}
            assert list(answers.columns[1:]) == ["probabilities_goes", "probabilities_keeps"]
        finally:
            stop.set()
            asking.join()
        assert not failed
        assert {"leaves", "stays"} <= seen


def test_other_columns_after_a_swap(fitted):
    frame = customers()
    with serve(fitted, frame) as handle, Client(handle.url) as client:
        client.predict(frame.head())
        tree = DecisionTreeClassifier(max_depth=3).fit(frame[["age"]], leaves(frame))
        handle.swap(tree, frame[["age"]])
        # The client knows the columns of the version before.
        assert (client.predict(frame[["age"]])["prediction"] == tree.predict(frame[["age"]])).all()


def test_a_refused_version_changes_nothing(fitted):
    frame = customers()
    with serve(fitted, frame) as handle:
        with pytest.raises(NotFittedError):
            handle.swap(DecisionTreeClassifier(), frame)
        with pytest.raises(CannotServe, match="memory"):
            handle.swap(fitted, frame, limits={"memory": "100KiB"})
        assert handle.version == "1"
        assert len(handle.predict(frame.head())) == 5
        handle.swap(fitted, frame)
        assert len(handle.predict(frame.head())) == 5


def test_two_handles_do_not_meet(fitted):
    frame = customers()
    numbers = frame[["age"]].astype(float)
    line = LinearRegression().fit(numbers, numbers["age"] * 2)
    with serve(fitted, frame) as one, serve(line, numbers) as two:
        assert one.url != two.url
        assert (one.predict(frame)["prediction"] == fitted.predict(frame)).all()
        np.testing.assert_allclose(two.predict(numbers)["prediction"], line.predict(numbers), rtol=1e-5)
        assert two.predict(numbers.to_numpy()).shape == (len(numbers),)


def test_what_cannot_be_served_starts_nothing(fitted):
    before = set(gateways("modelgate-"))
    with pytest.raises(NotFittedError, match="not fitted"):
        serve(DecisionTreeClassifier(), customers())
    with pytest.raises(ValueError, match="lacks columns of the fit: plan"):
        serve(fitted, customers().drop(columns="plan"))
    with pytest.raises(CannotServe, match="needs a sample"):
        serve(fitted)
    with pytest.raises(CannotServe, match=r"joblib\.load"):
        serve("model.pkl")
    with pytest.raises(CannotExport):
        serve(fitted, customers().assign(age="old"))
    with pytest.raises(CannotServe, match="--no-such"):
        serve(fitted, customers(), options={"no_such": 1})
    assert set(gateways("modelgate-")) <= before


def test_what_a_notebook_shows(fitted):
    with serve(fitted, customers(), name="churn") as handle:
        assert repr(handle) == f"<modelgate: 'churn' version 1 at {handle.url}>"
        html = handle._repr_html_()
        for told in (f"{handle.url}/docs", "number, or missing", "leaves, stays", "compared on 600 rows", "curl "):
            assert told in html
        # The request to copy is answered as it stands.
        (curl,) = re.findall(r"<code[^>]*>(curl .*?)</code>", html, re.S)
        told = subprocess.run(
            ["sh", "-c", unescape(curl)], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        assert json.loads(told)["prediction"] in ("leaves", "stays")
    assert repr(handle) == "<modelgate: 'churn' version 1, stopped>"
    assert "stopped" in handle._repr_html_()
    with pytest.raises(CannotServe, match="was stopped"):
        handle.predict(customers())
    handle.stop()


def test_a_port_in_use_is_told(served, fitted):
    with pytest.raises(CannotServe, match="in use"):
        serve(fitted, customers(), port=int(served.url.rpartition(":")[2]))


def test_a_folder_that_others_may_write_to(fitted, tmp_path, monkeypatch):
    tmp_path.chmod(0o777)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(CannotServe, match="set TMPDIR to a folder that nobody else can write to"):
        serve(fitted, customers())
    assert not list(tmp_path.iterdir())
    with serve(fitted, customers(), options={"trust_cache": True}) as handle:
        assert len(handle.predict(customers())) == 600


def test_settings_for_another_gateway_are_left_alone(fitted, monkeypatch):
    monkeypatch.setenv("MODELGATE_LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("MODELGATE_SOURCE", "models:/other@champion")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with serve(fitted, customers(), options={"workers": 1}) as handle:
        assert len(handle.predict(customers())) == 600


def test_a_handle_that_nobody_holds_ends(fitted):
    handle = serve(fitted, customers())
    folder = str(handle._gateway.folder)
    assert gateways(folder)
    del handle
    assert not gateways(folder)
    assert not Path(folder).exists()


SCRIPT = """
import os, sys, time
from modelgate_serving import serve
handle = serve({bundle!r})
print(handle._gateway.folder, flush=True)
{then}
"""


@pytest.fixture(scope="session")
def bundle(fitted, tmp_path_factory):
    from modelgate_serving import export

    folder = tmp_path_factory.mktemp("exported") / "churn"
    export(fitted, customers(), folder, version="7", quiet=True)
    return folder


def run(bundle: Path, then: str) -> subprocess.Popen:
    script = SCRIPT.format(bundle=str(bundle), then=then)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def test_a_bundle_that_is_there(fitted, bundle):
    with serve(bundle) as handle:
        assert handle.name == "churn" and handle.version == "1"
        handle.swap(str(bundle))
        assert handle.version == "2"
        assert (handle.predict(customers())["prediction"] == fitted.predict(customers())).all()


def test_killing_python_leaves_nothing(bundle):
    # A fork of it holds the other end of the gateway's standard input, and goes on.
    process = run(bundle, "pid = os.fork()\nif pid: print(pid, flush=True)\ntime.sleep(60)")
    folder = process.stdout.readline().strip()
    fork = int(process.stdout.readline())
    assert gateways(folder)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    try:
        ended(folder)
    finally:
        os.kill(fork, signal.SIGKILL)


def test_killing_the_supervisor_leaves_no_gateway(bundle):
    handle = serve(bundle)
    folder = str(handle._gateway.folder)
    handle._gateway._process.kill()
    deadline = time.monotonic() + 20
    while gateways(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not gateways(folder)
    with pytest.raises(CannotServe, match="was stopped"):
        handle.predict(customers())
    handle.stop()
    assert not Path(folder).exists()


def test_the_end_of_python_is_the_gateways(bundle):
    process = run(bundle, "sys.exit(3)")
    folder = process.stdout.readline().strip()
    assert process.wait(30) == 3
    ended(folder)


def ended(folder: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not gateways(folder) and not Path(folder).exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"still there: {gateways(folder)}, {Path(folder).exists()}")


def test_a_fork_does_not_end_it(fitted):
    with serve(fitted, customers()) as handle:
        fork = multiprocessing.get_context("fork").Process(target=handle.stop)
        fork.start()
        fork.join(30)
        assert len(handle.predict(customers())) == 600


def test_rows_that_are_wrong_say_so(served):
    frame = customers(10)
    with pytest.raises(InvalidInput, match=r"lack column 'plan' of model 'churn' \(is 'plam' meant to be 'plan'\?\)"):
        served.predict(frame.rename(columns={"plan": "plam"}))
    with pytest.raises(InvalidInput, match=r"'age' takes whole numbers \(INT64\); row 3 has 'x' \(str\)"):
        served.predict(frame.astype({"age": object}).assign(age=[1, 2, 3, "x", 5, 6, 7, 8, 9, 10]))
    with pytest.raises(InvalidInput, match="the model takes 3 columns"):
        served.predict(np.zeros((2, 2)))
    with pytest.raises(InvalidInput, match="there are no rows"):
        served.predict(frame.head(0))
    with pytest.raises(InvalidInput, match="not int"):
        served.predict(3)
