"""The part of run.py about models beside each other: one gets four times the requests that it can answer, another a tenth.

Takes run.py itself as `bench`, for its helpers.
"""

import json
import statistics
import struct
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROUNDS = 5
SECONDS = 4

# Rows of a request of the flood. More than are put together, so that each is a run of its own.
ROWS = 256

# Connections of the flood: many times what may wait, so that those that are refused make up for those that wait.
FLOOD = 512
QUEUE = 64
# The rate of the flood, in times of what the gateway can answer of it.
OFFERED = 4
# Tries to find the pause between two requests of a connection that gives this rate.
TRIES = 6


def request_file(folder, name, path, body, json_part=0):
    kind = "application/octet-stream" if json_part else "application/json"
    (folder / name).write_bytes(f"{path}\n{kind}\n{json_part}\n".encode() + body)
    return folder / name


def flood_body():
    blob = struct.pack(f"<{ROWS * 54}f", *(((place * 37) % 101) / 101 - 0.5 for place in range(ROWS * 54)))
    tensor = {"name": "x", "shape": [ROWS, 54], "datatype": "FP32", "parameters": {"binary_data_size": len(blob)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head + blob, len(head)


def fairness(bench, executables, scratch):
    print("A flood of one model at 4 × capacity, another model at 10 % (medians):", flush=True)
    address = f"127.0.0.1:{bench.free_port()}"
    network = bench.network(scratch / "flood", "flood", [512, 512], True)
    command = [executables["modelgate"], "serve", "--demo", "--bundle", str(network), "--listen", address]
    command += ["--workers", "2", "--queue", str(QUEUE), "--default-model", "modelo_covertype_vf"]
    row = json.loads(bench.bodies()[0][0])
    body, head = flood_body()
    flood = request_file(scratch, "flood.request", "/v2/models/flood/infer", body, head)
    others = {
        "one row, on I/O threads": request_file(scratch, "one.request", "/predict", json.dumps(row).encode()),
        "1,100 rows, by workers": request_file(scratch, "many.request", "/predict", json.dumps([row] * 1_100).encode()),
    }

    def load(file, connections, delay=None, may_fail=False):
        env = {"REQUEST": str(file), "REQUEST_SCRIPT": str(HERE / "request.lua"), "DELAY": str(delay)}
        script = "request.lua" if delay is None else "fairness.lua"
        return bench.wrk(address, file, connections, SECONDS, script, env, may_fail)

    def per_second(file, connections):
        result = load(file, connections)
        return result["requests"] / result["seconds"]

    def beside_flood(delay, measure):
        results = {}
        thread = threading.Thread(target=lambda: results.update(load(flood, FLOOD, delay, may_fail=True)))
        thread.start()
        measured = measure()
        thread.join()
        return measured, results["requests"] / results["seconds"]

    with bench.serving(command, address):
        capacity = per_second(flood, 8)
        for name, file in others.items():
            connections = 16 if "one row" in name else 2
            tenth = per_second(file, connections) / 10
            delay = max(round(1_000 * connections / tenth), 1)
            pause = 1_000 * FLOOD / (OFFERED * capacity)
            for _ in range(TRIES):
                _, rate = beside_flood(round(pause), lambda: load(file, connections, delay, may_fail=True))
                if rate >= OFFERED * capacity:
                    break
                pause *= rate / (1.05 * OFFERED * capacity)
            alone, beside, offered = [], [], []
            for _ in range(ROUNDS):
                alone.append(load(file, connections, delay))
                result, rate = beside_flood(round(pause), lambda: load(file, connections, delay, may_fail=True))
                beside.append(result)
                offered.append(rate / capacity)
            p99 = [statistics.median(result["p99_us"] for result in results) / 1e3 for results in (alone, beside)]
            rates = [statistics.median(result["requests"] / result["seconds"] for result in results) for results in (alone, beside)]
            print(
                f"  {name}: {rates[0]:.0f} /s alone, {rates[1]:.0f} /s beside a flood of {statistics.median(offered):.1f} × "
                f"capacity ({capacity:.0f} /s); p99 {p99[0]:.2f} ms and {p99[1]:.2f} ms"
            )
            bench.at_least(f"{name}: the flood's rate ÷ capacity", statistics.median(offered), OFFERED)
            bench.at_most(f"{name}: failed", sum(result["failed"] for result in beside), 0)
            bench.at_most(f"{name}: p99 beside the flood ÷ alone", p99[1] / p99[0], 2)
