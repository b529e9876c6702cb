"""Two builds of the gateway against each other, by processor time, in interleaved pairs of one run.

    python gateway/benches/pairs.py OLD NEW [PART ...] [--pairs 10]

OLD and NEW are folders with the executables of a release build: `modelgate`, and `operators` for the part of that name
(`cargo build --release --bins --benches` makes both; the bench is `target/release/deps/operators-*`). For each part the
median of the pairs' ratios NEW ÷ OLD is printed with the middle half of the ratios; above 1.05 it is MISSED, and so is the
exit code.

Processor time is what the server's process took, per request, while wrk sent it requests for two seconds; for operators,
what the thread took per call. Environment of the Python: `make bench-venv`.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import operators_models as models
import run as bench

HERE = Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
LIMIT = 1.05


def cpu_seconds(pid):
    """Time that a process has spent on processors, user and system, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def served(folder, scratch, requests, arguments):
    """Microseconds of the server's processor time per request, for each kind of request."""
    address = f"127.0.0.1:{bench.free_port()}"
    # A cache for each build: files in it are of one version.
    caches = ["--code-cache", str(scratch / f"code-{folder.name}")]
    command = [str(folder / "modelgate"), "serve", "--listen", address, "--workers", "2", *caches, *arguments]
    took = {}
    with bench.serving(command, address) as process:
        for name, (script, environment) in requests.items():
            environment = os.environ | environment
            load = ["wrk", "-t1", "-c32", "-d2s", "--latency", "-s", str(HERE / script), f"http://{address}"]
            subprocess.run([*load[:3], "-d1s", *load[4:]], env=environment, check=True, stdout=subprocess.DEVNULL)
            before = cpu_seconds(process.pid)
            output = subprocess.run(load, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
            spent = cpu_seconds(process.pid) - before
            result = json.loads(next(line for line in output.splitlines() if line.startswith("RESULT "))[7:])
            assert result["failed"] == 0, (name, result)
            took[name] = spent * 1e6 / result["requests"]
    return took


def request_file(scratch, name, path, body, json_part=0):
    kind = "application/octet-stream" if json_part else "application/json"
    (scratch / name).write_bytes(f"{path}\n{kind}\n{json_part}\n".encode() + body)
    return "request.lua", {"REQUEST": str(scratch / name)}


def serve(old, new, scratch):
    """Requests of several kinds to a running server."""
    import struct

    rows = scratch / "bodies.jsonl"
    rows.write_text("\n".join(bench.bodies()[0]) + "\n")
    row = json.loads(bench.bodies()[0][0])
    network = bench.network(scratch / "network", "network", [512, 512], True)
    blob = struct.pack(f"<{64 * 54}f", *(((index * 37) % 101) / 101 - 0.5 for index in range(64 * 54)))
    head = json.dumps({
        "inputs": [{"name": "x", "shape": [64, 54], "datatype": "FP32", "parameters": {"binary_data_size": len(blob)}}],
        "parameters": {"binary_data_output": True},
    }).encode()
    single = json.dumps({"inputs": [{"name": "x", "shape": [1, 54], "datatype": "FP32", "data": [0.25] * 54}]}).encode()
    features = [
        {"name": name, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP64", "data": [value]}
        for name, value in row.items()
    ]
    oip = json.dumps({"inputs": features, "outputs": [{"name": "prediction"}]}).encode()
    requests = {
        "/predict, one row": ("predict.lua", {"BODIES": str(rows)}),
        "OIP JSON, one row": request_file(scratch, "oip", "/v2/models/modelo_covertype_vf/infer", oip),
        "OIP binary, 64 × 54, network": request_file(scratch, "binary", "/v2/models/network/infer", head + blob, len(head)),
        "OIP JSON, one row, network": request_file(scratch, "single", "/v2/models/network/infer", single),
    }
    # The first is the default model.
    arguments = ["--bundle", str(bench.GATEWAY / "demo"), "--bundle", str(network)]
    return lambda folder: served(folder, scratch, requests, arguments)


def start(old, new, scratch):
    """Processor time, and time, from the start of the process to the first right answer; code in the cache, and not."""
    rows, labels = bench.bodies()

    def once(folder, cache):
        address = f"127.0.0.1:{bench.free_port()}"
        command = [str(folder / "modelgate"), "serve", "--demo", "--listen", address, "--code-cache", cache]
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    answer = bench.predict(address, rows[0])
                    break
                except OSError:
                    assert process.poll() is None and time.perf_counter() - begun < 30
                    time.sleep(0.001)
            elapsed = time.perf_counter() - begun
            assert answer == {"prediction": labels[0]}
            return elapsed * 1e6, schedule(process.pid)
        finally:
            process.terminate()
            process.wait()

    def schedule(pid):
        """Time on processors of all threads, in microseconds; finer than the ticks."""
        files = Path(f"/proc/{pid}/task").glob("*/schedstat")
        return sum(int(file.read_text().split()[0]) for file in files) / 1e3

    for folder in (old, new):
        once(folder, str(scratch / f"start-{folder.name}"))

    def both(folder):
        warm, cold = [once(folder, str(scratch / f"start-{folder.name}")) for _ in range(3)], once(folder, "off")
        middle = lambda index: statistics.median(one[index] for one in warm)
        return {"warm, time": middle(0), "warm, processor time": middle(1), "cold, processor time": cold[1]}

    return both


def operators(old, new, scratch):
    """Models through the operators alone."""
    made = {}
    sizes = {"forest": "1,64,1024", "boosted": "1,64,1024", "boosted_binary": "1,32,1024", "forest_regressor": "1,32,1024",
             "boosted_2000": "1,1024", "pipeline": "1", "mlp": "1,64", "mlp_512": "1,16,64"}
    for name, counts in sizes.items():
        model, rows = models.made(name, bench.ROOT / "target/bench-data")
        made[name] = {"OPERATORS_MODEL": str(model), "OPERATORS_ROWS": str(rows), "OPERATORS_SIZES": counts}

    def all_of(folder):
        took = {}
        for name, environment in made.items():
            command = [str(folder / "operators")]
            output = subprocess.run(command, env=os.environ | environment, check=True, capture_output=True).stdout
            result = json.loads(output)
            took |= {f"{name}, {count} rows": result[count] for count in sizes[name].split(",")}
            took[f"{name}, load"] = result["load_ms"] * 1e3
        return took

    return all_of


PARTS = {part.__name__: part for part in (serve, start, operators)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="what to measure; everything by default")
    parser.add_argument("--pairs", type=int, default=10)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: install it (Debian's package wrk)")
    old, new = options.old.resolve(), options.new.resolve()
    missed = []
    for name in options.parts or PARTS:
        print(f"{PARTS[name].__doc__} Medians, µs:", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            measure = PARTS[name](old, new, Path(scratch))
            pairs = []
            for turn in range(options.pairs):
                # Who goes first takes turns as well.
                order = (old, new) if turn % 2 == 0 else (new, old)
                results = {folder: measure(folder) for folder in order}
                pairs.append((results[old], results[new]))
        for what in pairs[0][0]:
            ratios = sorted(later[what] / earlier[what] for earlier, later in pairs)
            quarter = len(ratios) // 4
            middle = statistics.median(ratios)
            before, after = (statistics.median(pair[index][what] for pair in pairs) for index in (0, 1))
            verdict = "ok" if middle <= LIMIT else "MISSED"
            print(f"  {what:<32} {before:10.2f} → {after:10.2f}   ratio {middle:.3f}  "
                  f"({ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f})  {verdict}", flush=True)
            if verdict != "ok":
                missed.append(what)
    if missed:
        raise SystemExit("missed: " + ", ".join(missed))


if __name__ == "__main__":
    main()
