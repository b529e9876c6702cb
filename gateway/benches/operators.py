"""Our operators against ONNX Runtime: CPU time per call, one thread each, by turns in one run.

    pip install -r gateway/benches/requirements.txt
    python gateway/benches/operators.py [NAME ...] [--rounds 5] [--executable PATH]

Models are fitted once, into target/bench-data. Prints the medians over the rounds and their ratio, with the limit each
has to keep; exits with 1 if one does not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import operators_models as models

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "target/bench-data"
HERE = Path(__file__).parent

# The largest ratio ours ÷ ONNX Runtime at each number of rows; "memory" of what loading leaves resident.
LIMITS = {
    "forest": {1: 0.5, 64: 0.6, 1024: 0.7, "memory": 0.7},
    "boosted": {1: 0.6, 64: 0.4, 1024: 0.5},
    "boosted_binary": {1: 0.6, 32: 0.8, 1024: 0.8},
    "forest_regressor": {1: 0.6, 32: 0.8, 1024: 0.8},
    "boosted_2000": {1: 0.7, 1024: 0.7},
    "pipeline": {1: 0.6},
    "mlp": {1: 0.8, 64: 1.2},
}


def build():
    command = ["cargo", "bench", "--package", "modelgate", "--bench", "operators", "--no-run", "--message-format=json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    built = (message for message in map(json.loads, lines) if message.get("executable"))
    return next(message["executable"] for message in built if message["target"]["name"] == "operators")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", choices=[[], *LIMITS])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--executable")
    args = parser.parse_args()
    executable = args.executable or build()
    missed = False
    for name in args.names or LIMITS:
        model, rows = models.made(name, DATA)
        limits = LIMITS[name]
        sizes = ",".join(str(size) for size in limits if size != "memory")
        env = os.environ | {"OPERATORS_MODEL": str(model), "OPERATORS_ROWS": str(rows), "OPERATORS_SIZES": sizes}
        # The processor's own kernels, if the workplace holds numpy to others.
        env = {key: value for key, value in env.items() if not key.startswith("OPENBLAS_")}
        run = lambda command: json.loads(subprocess.run(command, env=env, check=True, capture_output=True).stdout)
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(run([executable]))
            theirs.append(run([sys.executable, str(HERE / "operators_ort.py"), str(model), str(rows), sizes]))
        median = lambda runs, key: statistics.median(one[str(key)] for one in runs)
        loads = median(ours, "load_ms"), median(theirs, "load_ms")
        peaks = median(ours, "peak_mib"), median(theirs, "peak_mib")
        print(f"  {name}: load {loads[0]:.1f} ms, ONNX Runtime {loads[1]:.1f} ms; holds {median(ours, 'held_mib'):.2f} MiB; "
              f"most while loading {peaks[0]:.0f} MiB, ONNX Runtime {peaks[1]:.0f} MiB")
        for key, limit in limits.items():
            one, other = (median(runs, "grown_mib" if key == "memory" else key) for runs in (ours, theirs))
            unit, what = ("MiB", "resident") if key == "memory" else ("µs", f"{key} rows")
            kept = one / other <= limit
            missed |= not kept
            print(f"    {what:>10} {one:10.2f} {unit:<3} ONNX Runtime {other:10.2f} {unit:<3} ratio {one / other:.3f} "
                  f"≤ {limit} {'ok' if kept else 'MISSED'}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
