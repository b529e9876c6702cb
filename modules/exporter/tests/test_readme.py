"""The README's example runs as printed and answers as printed."""

import json
import re
from pathlib import Path

import pandas as pd
from conftest import Bundle

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    python, answer = (
        re.search(rf"```{kind}\n(.*?)```", README, re.S).group(1) for kind in ("python", "json")
    )
    request = json.loads(re.search(r"-d '(.*?)'", README).group(1))
    names: dict = {}
    exec(python, names)
    row = pd.DataFrame([request]).astype({"income": float})
    assert names["pipeline"].predict(row)[0] == json.loads(answer)["prediction"]
    bundle = Bundle(Path("out/churn"))
    assert list(bundle.inputs()) == list(request)
    assert bundle.inputs()["income"]["nullable"] is True
