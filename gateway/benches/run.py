"""Measures what docs/benchmarks.md quotes: each figure in one run with what it is compared to.

`make bench` sets up what it needs and runs this; `run.py NAME ...` runs some of: chain, throughput, protocols, operators,
startup, memory, connections, swap, preprocess, activation, many, release, fairness. Load goes to 127.0.0.1 only, bounded in count
and time. Figures of one machine are worth little by themselves, so trust the ratios. Exits with 1 if a figure misses its
limit.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import fairness
import models
import operators_models
import release

HERE = Path(__file__).resolve().parent
GATEWAY = HERE.parent
ROOT = GATEWAY.parent
MISSED = []


def report(what, value, limit, good, unit=""):
    """One line for a figure, and whether it keeps its limit."""
    if not good:
        MISSED.append(what)
    print(f"  {what:<62} {value:>10.3f} {unit:<4} {limit:<10} {'ok' if good else 'MISSED'}", flush=True)


def at_least(what, value, limit, unit=""):
    report(what, value, f"≥ {limit}", value >= limit, unit)


def at_most(what, value, limit, unit=""):
    report(what, value, f"≤ {limit}", value <= limit, unit)


def build():
    """Everything in release, once; gives the executables by name."""
    command = ["cargo", "build", "--release", "--locked", "--package", "modelgate", "--bins", "--benches"]
    print("Building in release; the first time takes a while.", flush=True)
    subprocess.run(command, cwd=ROOT, check=True)
    command += ["--message-format=json", "--quiet"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    messages = [json.loads(line) for line in lines]
    return {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def bodies():
    data = json.loads((GATEWAY / "tests/data/covertype_1000.json").read_text())
    return [json.dumps(dict(zip(data["columns"], row))) for row in data["rows"]], data["predictions"]


def predict(address, body):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{address}/predict", body.encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


@contextlib.contextmanager
def running(command, _address=None, cwd=GATEWAY, env=None):
    """A process in a group of its own, ended at the end. In this session, so that the kernel shares the cores among threads
    and not first among sessions."""
    process = subprocess.Popen(
        command, cwd=cwd, env=os.environ | (env or {}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def serving(command, address, cwd=GATEWAY, env=None):
    """A server, checked for right answers before anything is measured."""
    with running(command, address, cwd, env) as process:
        rows, labels = bodies()
        deadline = time.monotonic() + 60
        while True:
            try:
                predict(address, rows[0])
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{command} does not answer") from None
                time.sleep(0.02)
        for body, label in list(zip(rows, labels))[:50]:
            answer = predict(address, body)
            assert answer == {"prediction": label}, (command, body, answer, label)
        yield process


def wrk(address, body_file, connections=32, seconds=4, script="predict.lua", env=None, may_fail=False):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(HERE / script), f"http://{address}"]
    output = subprocess.run(command, env=os.environ | {"BODIES": str(body_file)} | (env or {}), check=True, stdout=subprocess.PIPE, text=True).stdout
    result = json.loads(next(line for line in output.splitlines() if line.startswith("RESULT "))[7:])
    assert may_fail or result["failed"] == 0, result
    return result


def rss_mib(pid, what="VmRSS"):
    """Resident memory; with VmHWM, at its highest."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"no {what}")


def chain(executables, _scratch):
    print("One row through two stages, in process, one thread (medians):", flush=True)
    result = json.loads(subprocess.run([executables["chain"]], cwd=GATEWAY, check=True, stdout=subprocess.PIPE).stdout)
    print(f"  native {result['native_us']:.2f} µs, worker {result['worker_us']:.2f} µs, request {result['request_us']:.2f} µs")
    at_most("time the wasm chain adds, isolation = worker", result["worker_adds_us"], 4, "µs")
    at_most("time the wasm chain adds, isolation = request", result["request_adds_us"], 25, "µs")


def throughput(executables, scratch, rounds=7):
    print("Requests per second, one row each, 32 keep-alive connections, client on the same cores (medians):", flush=True)
    body_file = scratch / "bodies.jsonl"
    body_file.write_text("\n".join(bodies()[0]) + "\n")
    # By turns, and each alone on the machine: others, even idle ones, take caches and timer ticks.
    names = ["plain", "native", "worker", "native-alone", "request", "fastapi"]
    rates = {name: [] for name in names}
    latencies = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            address = f"127.0.0.1:{free_port()}"
            command, cwd = [executables["server"], name, address], GATEWAY
            if name == "fastapi":
                command = [sys.executable, "-m", "uvicorn", "app:app", "--workers", "2", "--log-level", "warning",
                           "--no-access-log", "--host", "127.0.0.1", "--port", address.split(":")[1]]
                cwd = HERE / "fastapi_app"
            with serving(command, address, cwd=cwd):
                wrk(address, body_file, seconds=1)
                result = wrk(address, body_file)
            rates[name].append(result["requests"] / result["seconds"])
            latencies[name].append(result["p99_us"])
    for name, values in rates.items():
        print(f"  {name:<12} {statistics.median(values):>10.0f} /s   p99 {statistics.median(latencies[name]) / 1e3:.2f} ms")
    ratio = lambda a, b: statistics.median(x / y for x, y in zip(rates[a], rates[b]))
    at_least("wasm chain ÷ native chain, same gateway, isolation = worker", ratio("worker", "native"), 0.93)
    at_least("wasm chain ÷ native chain, same gateway, isolation = request", ratio("request", "native-alone"), 0.50)
    at_least("gateway with wasm chain ÷ plainest axum handler", ratio("worker", "plain"), 0.80)
    at_least("gateway ÷ FastAPI + onnxruntime, 2 processes", ratio("worker", "fastapi"), 7)


def startup(executables, scratch, runs=9):
    print("Process start to first right answer (medians):", flush=True)
    rows, labels = bodies()

    def once(cache):
        address = f"127.0.0.1:{free_port()}"
        command = [executables["modelgate"], "serve", "--demo", "--listen", address, "--code-cache", str(cache)]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    answer = predict(address, rows[0])
                    break
                except OSError:
                    assert process.poll() is None and time.perf_counter() - start < 30
                    time.sleep(0.001)
            took = time.perf_counter() - start
            assert answer == {"prediction": labels[0]}
            return took
        finally:
            process.terminate()
            process.wait()

    cold = [once("off") for _ in range(runs)]
    cache = scratch / "code"
    once(cache)
    warm = [once(cache) for _ in range(runs)]
    at_most("with the code cache", statistics.median(warm), 0.1, "s")
    at_most("without", statistics.median(cold), 1.5, "s")


def loads(executables, scratch, runs=9):
    print("Start to ready, in turns: the bundle loaded in a child process first, and in the gateway alone (medians):", flush=True)
    graph, _ = operators_models.made("forest", ROOT / "target/bench-data")
    forest = scratch / "forest"
    subprocess.run([executables["modelgate"], "wrap", str(graph), str(forest)], check=True, stdout=subprocess.DEVNULL)
    for name, bundle in {"demo": GATEWAY / "demo", "forest of 80 trees of depth 12": forest}.items():

        def once(cache, isolation, served=bundle):
            address = f"127.0.0.1:{free_port()}"
            command = [executables["modelgate"], "serve", "--bundle", str(served), "--listen", address,
                       "--code-cache", str(cache), "--load-isolation", isolation]
            start = time.perf_counter()
            with running(command) as process:
                while True:
                    try:
                        with urllib.request.urlopen(f"http://{address}/v2/health/ready", timeout=10):
                            return time.perf_counter() - start
                    except OSError:
                        assert process.poll() is None and time.perf_counter() - start < 60
                        time.sleep(0.001)

        took = {}
        for number in range(runs):
            for isolation in ("process", "none"):
                cache = scratch / f"loads-{bundle.name}-{isolation}-{number}"
                # The gateway's own modules are compiled already, as in the image.
                once(cache, isolation, GATEWAY / "tests/data/bundles/iris_like")
                for when in ("first", "again"):
                    took.setdefault((when, isolation), []).append(once(cache, isolation))
        median = {key: statistics.median(times) for key, times in took.items()}
        print(f"  {name}: {median['first', 'none']:.3f} s in the gateway alone, {median['again', 'none']:.3f} s again")
        at_most("first load, beyond twice that", median["first", "process"] - 2 * median["first", "none"], 0.05, "s")
        at_most("with a report ÷ in the gateway alone", median["again", "process"] / median["again", "none"], 1.05)


def memory(executables, scratch):
    print("Resident memory, demo bundle, 2 workers, 32 connections:", flush=True)
    body_file = scratch / "bodies.jsonl"
    body_file.write_text("\n".join(bodies()[0]) + "\n")
    address = f"127.0.0.1:{free_port()}"
    command = [executables["modelgate"], "serve", "--demo", "--listen", address, "--workers", "2"]
    with serving(command, address) as process:
        def until(total):
            done = 0
            while done < total:
                done += wrk(address, body_file, seconds=1)["requests"]
            return rss_mib(process.pid)

        first = until(100_000)
        second = until(100_000)
    at_most("after 100,000 requests", first, 64, "MiB")
    at_most("after the next 100,000 ÷ before", second / first, 1.05)


def connections(executables, scratch):
    print("10,000 keep-alive connections, a request each 1.75 s, for 60 s:", flush=True)
    body_file = scratch / "body.json"
    body_file.write_text(bodies()[0][0])
    address = f"127.0.0.1:{free_port()}"
    with serving([executables["modelgate"], "serve", "--demo", "--listen", address], address) as process:
        command = [executables["connections"], address, str(body_file), "10000", "60", "1.75"]
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        print(f"  {result['answered']} answered, {result['per_second']:.0f} /s, median {result['median_ms']:.2f} ms, "
              f"p99 {result['p99_ms']:.2f} ms, {rss_mib(process.pid):.0f} MiB")
    at_least("answered", result["answered"], 300_000)
    at_most("failed", result["failed"], 0)


def operators(executables, _scratch):
    print("Our operators against ONNX Runtime, CPU time, one thread each:", flush=True)
    command = [sys.executable, str(HERE / "operators.py"), "--executable", executables["operators"]]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        MISSED.append("operators")


def of_models(name):
    part = {"release": release.release, "fairness": fairness.fairness}.get(name) or getattr(models, name)
    return lambda executables, scratch: part(sys.modules[__name__], executables, scratch)


def network(folder, name, hidden, batching):
    """A bundle of a random network from 54 numbers to 7 classes, invoked as it is."""
    import hashlib

    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random, sizes, nodes, weights, last = np.random.default_rng(7), [54, *hidden, 7], [], [], "x"
    for place, (wide, narrow) in enumerate(zip(sizes, sizes[1:])):
        layer = random.normal(0, wide**-0.5, (wide, narrow)).astype(np.float32)
        weights += [numpy_helper.from_array(layer, f"w{place}"), numpy_helper.from_array(np.zeros(narrow, np.float32), f"b{place}")]
        nodes.append(helper.make_node("Gemm", [last, f"w{place}", f"b{place}"], [f"g{place}"]))
        nodes.append(helper.make_node("Relu", [f"g{place}"], [last := f"r{place}"]))
    nodes[-1] = helper.make_node("Softmax", nodes[-1].input, ["y"], axis=-1)
    column = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
    graph = helper.make_graph(nodes, name, [column("x", 54)], [column("y", 7)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model)
    (folder / "bundle.toml").write_text(
        f'format = 1\nname = "{name}"\nversion = "1"\n[model]\nfile = "model.onnx"\n'
        f'sha256 = "{hashlib.sha256(model).hexdigest()}"\n[[stage]]\nname = "predict"\nmodule = "builtin:predict"\n'
        f"[batching]\nenabled = {str(batching).lower()}\n"
    )
    return folder


def protocols(executables, scratch, rounds=5, seconds=2):
    print("Protocols, 32 keep-alive connections, client on the same cores (medians):", flush=True)
    import struct

    bundles = [
        network(scratch / "small", "small", [32], True),
        network(scratch / "together", "together", [512, 512], True),
        network(scratch / "alone", "alone", [512, 512], False),
    ]
    forest = scratch / "forest"
    shutil.copytree(GATEWAY / "demo", forest)
    manifest = (forest / "bundle.toml").read_text().replace('name = "modelo_covertype_vf"', 'name = "forest"', 1)
    (forest / "bundle.toml").write_text(manifest + "\n[batching]\nenabled = false\n")
    address = f"127.0.0.1:{free_port()}"
    command = [executables["modelgate"], "serve", "--demo", "--listen", address, "--workers", "2"]
    command += [part for bundle in [forest, *bundles] for part in ("--bundle", str(bundle))]

    def file(name, path, body, json_part=0):
        kind = "application/octet-stream" if json_part else "application/json"
        (scratch / name).write_bytes(f"{path}\n{kind}\n{json_part}\n".encode() + body)
        return scratch / name

    def tensor(name, model, rows, binary):
        values = [((place * 37) % 101) / 101 - 0.5 for place in range(rows * 54)]
        blob = struct.pack(f"<{len(values)}f", *values)
        values = [float(f"{value:.7g}") for value in struct.unpack(f"<{len(values)}f", blob)]
        tensor = {"name": "x", "shape": [rows, 54], "datatype": "FP32"}
        tensor |= {"parameters": {"binary_data_size": len(blob)}} if binary else {"data": values}
        # As the public clients ask: all binary, or all JSON.
        asked = {"parameters": {"binary_data_output": True}} if binary else {}
        head = json.dumps({"inputs": [tensor]} | asked).encode()
        path = f"/v2/models/{model}/infer"
        return file(name, path, head + blob, len(head)) if binary else file(name, path, head)

    row = bodies()[0][0]
    features = [
        {"name": name, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP64", "data": [value]}
        for name, value in json.loads(row).items()
    ]
    only = {"inputs": features, "outputs": [{"name": "prediction"}]}
    demo = "modelo_covertype_vf"
    requests = {
        "binary": tensor("binary", "small", 64, True),
        "json": tensor("json", "small", 64, False),
        "oip": file("oip", f"/v2/models/{demo}/infer", json.dumps(only).encode()),
        "predict": file("predict", "/predict", json.dumps(json.loads(row) | {"model": demo}).encode()),
        "mlp_together": tensor("mlp_together", "together", 1, True),
        "mlp_alone": tensor("mlp_alone", "alone", 1, True),
        "forest_alone": file("forest_alone", "/predict", json.dumps(json.loads(row) | {"model": "forest"}).encode()),
    }

    def load(name):
        script = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", "-s", str(HERE / "request.lua"), f"http://{address}"]
        output = subprocess.run(
            script, env=os.environ | {"REQUEST": str(requests[name])}, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        result = json.loads(next(line for line in output.splitlines() if line.startswith("RESULT "))[7:])
        assert result["failed"] == 0, (name, result)
        return result["requests"] / result["seconds"]

    def copied():
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith("modelgate_copied_bytes_total"))

    # The first bundle is the default model, and the same forest; the demo is named in every request.
    with serving(command, address):
        rates = {name: [] for name in requests}
        for _ in range(rounds):
            for name in requests:
                rates[name].append(load(name))
        before, rows = copied(), 10_000
        blob = bytes(rows * 54 * 4)
        head = json.dumps({"inputs": [
            {"name": "x", "shape": [rows, 54], "datatype": "FP32", "parameters": {"binary_data_size": len(blob)}}
        ]}).encode()
        request = urllib.request.Request(
            f"http://{address}/v2/models/small/infer", head + blob, {"Inference-Header-Content-Length": str(len(head))}
        )
        urllib.request.urlopen(request, timeout=30).read()
        ratio_copied = (copied() - before) / len(blob)
    for name, values in rates.items():
        print(f"  {name:<14} {statistics.median(values):>10.0f} /s")
    ratio = lambda a, b: statistics.median(x / y for x, y in zip(rates[a], rates[b]))
    at_least("binary 64×54 ÷ JSON 64×54, rows per second", ratio("binary", "json"), 3)
    at_least("one row by OIP JSON ÷ by /predict", ratio("oip", "predict"), 0.9)
    at_least("network 54-512-512-7, one row each: with micro-batching ÷ without", ratio("mlp_together", "mlp_alone"), 1.5)
    at_least("forest, one row each: with micro-batching ÷ without", ratio("predict", "forest_alone"), 1.0)
    at_most("bytes copied per byte of a binary tensor", ratio_copied, 2.0)


PARTS = {part.__name__: part for part in (chain, operators, throughput, protocols, startup, loads, memory, connections)}
PARTS |= {name: of_models(name) for name in ("swap", "preprocess", "activation", "many", "release", "fairness")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="what to measure; everything by default")
    chosen = parser.parse_args().parts or list(PARTS)
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: install it (Debian's package wrk)")
    executables = build()
    with tempfile.TemporaryDirectory() as scratch:
        for name in chosen:
            PARTS[name](executables, Path(scratch))
    if MISSED:
        raise SystemExit("missed: " + ", ".join(MISSED))


if __name__ == "__main__":
    main()
