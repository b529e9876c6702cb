"""Our forest against ONNX Runtime: CPU time per call, one thread each, by turns in one run.

    pip install -r gateway/tests/data/requirements.txt
    python gateway/benches/forest.py [--model M.onnx --rows ROWS.f32] [--rounds 5]

Without a model it fits one: 80 trees of depth 12 on 54 features and 7 classes, like the demo's. Prints the medians over
the rounds and their ratio; exits with 1 if a ratio is over the limit.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMITS = {"1": 0.5, "64": 0.6, "1024": 0.7}


def make(model, rows):
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(0)
    n = 40_000
    x = np.zeros((n, 54), np.float32)
    x[:, :10] = rng.random((n, 10))
    x[np.arange(n), 10 + rng.integers(0, 4, n)] = 1
    x[np.arange(n), 14 + rng.integers(0, 40, n)] = 1
    margin = x @ rng.normal(size=(54, 7)) + np.sin(x[:, :10] * 9) @ rng.normal(size=(10, 7))
    y = (margin + rng.normal(size=(n, 7)) * 0.7).argmax(1)
    forest = RandomForestClassifier(80, max_depth=12, n_jobs=-1, random_state=0).fit(x, y)
    onx = to_onnx(forest, x[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(onx.SerializeToString())
    x[:8192].tofile(rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, default=ROOT / "target/bench-data/forest.onnx")
    parser.add_argument("--rows", type=Path, default=ROOT / "target/bench-data/forest.f32")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if not args.model.exists():
        make(args.model, args.rows)
    build = ["cargo", "bench", "--bench", "forest", "--no-run", "--message-format=json"]
    lines = subprocess.run(build, cwd=ROOT / "gateway", check=True, capture_output=True, text=True).stdout.splitlines()
    built = (message for message in map(json.loads, lines) if message.get("executable"))
    ours_path = next(message["executable"] for message in built if message["target"]["kind"] == ["bench"])
    env = os.environ | {"FOREST_MODEL": str(args.model), "FOREST_ROWS": str(args.rows)}
    theirs_path = str(Path(__file__).with_name("forest_ort.py"))

    def run(command):
        return json.loads(subprocess.run(command, env=env, check=True, capture_output=True).stdout)

    ours, theirs = [], []
    for _ in range(args.rounds):
        ours.append(run([ours_path]))
        theirs.append(run([sys.executable, theirs_path, str(args.model), str(args.rows)]))

    def median(runs, key):
        return statistics.median(run[key] for run in runs)

    print(f"load: {median(ours, 'load_ms'):.1f} ms, ONNX Runtime {median(theirs, 'load_ms'):.1f} ms")
    failed = False
    for size, limit in LIMITS.items():
        one, other = median(ours, size), median(theirs, size)
        failed |= one / other > limit
        print(f"{size:>5} rows: {one:9.2f} µs, ONNX Runtime {other:9.2f} µs, ratio {one / other:.3f} (limit {limit})")
    return failed


if __name__ == "__main__":
    sys.exit(main())
