"""The parts of run.py about models that come, change and go: swap, preprocess, activation, many.

Each takes run.py itself as `bench`, for its helpers.
"""

import contextlib
import hashlib
import http.client
import itertools
import json
import os
import random
import statistics
import threading
import time
from pathlib import Path

DEMO = Path(__file__).resolve().parent.parent / "demo"

# Of one who waits for a version, between two looks.
PAUSE = 0.002


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Bundle:
    """The demo, or something made of it."""

    def __init__(self, name="demo", version="1", labels=None):
        self.version = version
        self.digests = {}
        self.files = {file.name: file.read_bytes() for file in DEMO.iterdir() if file.is_file()}
        self.edit("bundle.toml", 'name = "modelo_covertype_vf"', f'name = "{name}"')
        self.edit("bundle.toml", 'version = "1"', f'version = "{version}"')
        if labels:
            outputs = [
                {"name": "prediction", "from": "probabilities", "pick": "argmax", "classes": labels},
                {"name": "probabilities", "from": "probabilities"},
            ]
            self.replace("predict.json", json.dumps({"outputs": outputs}).encode())
            golden = json.loads(self.files["golden.json"])
            for example in golden["examples"]:
                example["output"]["prediction"] = labels[example["output"]["prediction"] - 1]
            self.replace("golden.json", json.dumps(golden).encode())

    def edit(self, file, old, new):
        text = self.files[file].decode()
        assert old in text, (file, old)
        self.files[file] = text.replace(old, new).encode()
        self.digests.pop(file, None)

    def replace(self, file, data):
        old, self.digests[file] = self.digest(file), sha256(data)
        self.edit("bundle.toml", old, self.digests[file])
        self.files[file] = data

    def other_model(self, mark):
        """The same graph in another file: a documentation string after it."""
        mark = mark.encode()
        self.replace("model.onnx", self.files["model.onnx"] + b"\x32" + bytes([len(mark)]) + mark)
        return self

    def without_golden(self):
        text = self.files["bundle.toml"].decode()
        self.files["bundle.toml"] = text[: text.index("[golden]")].encode()
        return self

    def write(self, folder, ready=None):
        """Every file in one step, the manifest last. What `ready`, a folder, has from an earlier time is not written but
        linked: millions of bytes a swap would take more from the server beside it than the swap does."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in sorted(self.files.items(), key=lambda item: item[0] == "bundle.toml"):
            path = folder / name
            new = folder / f".{name}.new"
            if ready:
                kept = ready / self.digest(name)
                if not kept.exists():
                    kept.write_bytes(data)
                if path.exists() and path.samefile(kept):
                    continue
                os.link(kept, new)
            elif path.exists() and path.read_bytes() == data:
                continue
            else:
                new.write_bytes(data)
            os.replace(new, path)

    def digest(self, name):
        if name not in self.digests:
            self.digests[name] = sha256(self.files[name])
        return self.digests[name]


class Client:
    """One keep-alive connection."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=30)

    def predict(self, row):
        self.connection.request("POST", "/predict", json.dumps(row), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def becomes_ready(self, patience=30):
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self.connection.request("GET", "/v2/health/ready")
                answer = self.connection.getresponse()
                answer.read()
                if answer.status == 200:
                    return
            self.connection.close()
            time.sleep(0.05)
        raise SystemExit("it does not become ready")

    def metric(self, series):
        self.connection.request("GET", "/metrics")
        for line in self.connection.getresponse().read().decode().splitlines():
            if line.startswith(series + " "):
                return float(line.rsplit(" ", 1)[1])
        return None


def golden_row():
    example = json.loads((DEMO / "golden.json").read_text())["examples"][0]
    return example["input"], example["output"]["prediction"]


def serve(bench, executables, scratch, *options):
    address = f"127.0.0.1:{bench.free_port()}"
    command = [executables["modelgate"], "serve", "--listen", address, "--workers", "2", "--bundle-cache", str(scratch / "cache"), *options]
    return address, bench.running(command, address)


def live(client, row, version, generation=None, patience=30):
    """Waits until this version, in another generation, answers; gives that generation."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            status, headers, _ = client.predict(row)
        except OSError:
            status, headers = 0, {}
            client.connection.close()
        now = headers.get("x-modelgate-generation")
        if status == 200 and headers["x-modelgate-version"] == version and now != generation:
            return now
        time.sleep(PAUSE)
    raise SystemExit(f"version {version} does not answer")


# Of a turn: a model that is new is loaded at leisure, so that 200 of them take a minute.
SECONDS = {"steady": 3, "known": 3, "fresh": 10}


def swap(bench, executables, scratch, rounds=7):
    print("Swap after swap at full load, 32 connections, two versions with different answers, by turns with none:", flush=True)
    row, label = golden_row()
    labels = list(range(1, 8))
    both = [{"version": "1", "labels": labels}, {"version": "2", "labels": [100 + label for label in labels]}]
    # Two that replace each other, and some of which each has a model that was never there before.
    known = itertools.cycle([Bundle(**both[0]), Bundle(**both[1]).other_model("another")])
    fresh = iter([Bundle(**both[turn % 2]).other_model(f"fresh {turn}") for turn in range(rounds * 80)])
    folder, ready = scratch / "swap" / "demo", scratch / "ready"
    ready.mkdir()
    next(known).write(folder, ready)
    body = scratch / "row.jsonl"
    body.write_text(json.dumps(row) + "\n")
    expected = {"ROW_1": json.dumps({"prediction": label}, separators=(",", ":")),
                "ROW_2": json.dumps({"prediction": 100 + label}, separators=(",", ":"))}
    address, running = serve(bench, executables, scratch, "--source", str(scratch / "swap"))
    took, results, rss = {"known": [], "fresh": []}, {"steady": [], "known": [], "fresh": []}, {}
    with running as process:
        live(Client(address), row, "1")
        bench.wrk(address, body, seconds=2)
        stop = threading.Event()

        def ask():
            """Asks as often as one who waits for a version, so that nothing but the swaps tells the turns apart."""
            client = Client(address)
            while not stop.is_set():
                client.predict(row)
                time.sleep(PAUSE)

        def keep_swapping(kind, bundles):
            client, generation = Client(address), None
            for bundle in bundles:
                start = time.perf_counter()
                bundle.write(folder, ready if kind == "known" else None)
                generation = live(client, row, bundle.version, generation)
                took[kind].append(time.perf_counter() - start)
                if kind == "known" and len(took[kind]) == 5:
                    rss["early"] = bench.rss_mib(process.pid)
                if stop.is_set():
                    break

        def turn(kind, target, *args):
            stop.clear()
            thread = threading.Thread(target=target, args=args)
            thread.start()
            results[kind].append(bench.wrk(address, body, seconds=SECONDS[kind], script="swap.lua", env=expected, may_fail=True))
            stop.set()
            thread.join()

        for _ in range(rounds):
            turn("steady", ask)
            turn("known", keep_swapping, "known", known)
        time.sleep(0.3)
        rss["late"] = bench.rss_mib(process.pid)
        for _ in range(rounds):
            turn("fresh", keep_swapping, "fresh", fresh)
    requests, failed = (sum(result[what] for turns in results.values() for result in turns) for what in ("requests", "failed"))
    p99 = {kind: statistics.median(result["p99_us"] for result in turns) for kind, turns in results.items()}
    millis = {kind: statistics.median(times) * 1e3 for kind, times in took.items()}
    print(f"  {requests} requests; {len(took['known'])} swaps between two, {millis['known']:.0f} ms in the middle; p99 "
          f"{p99['known'] / 1e3:.2f} ms, steady {p99['steady'] / 1e3:.2f} ms; {rss['early']:.1f} MiB, then {rss['late']:.1f}")
    print(f"  {len(took['fresh'])} swaps to models that were never there before, {millis['fresh']:.0f} ms in the middle; "
          f"p99 {p99['fresh'] / 1e3:.2f} ms")
    for kind, times in took.items():
        bench.at_least(f"swaps, {kind} models", len(times), 200)
    bench.at_most("failed or wrong answers", failed, 0)
    bench.at_most("p99 while swapping between two ÷ steady", p99["known"] / p99["steady"], 2)
    bench.at_most("p99 while swapping to new models ÷ steady", p99["fresh"] / p99["steady"], 2)
    bench.at_most("resident memory after all ÷ after 5", rss["late"] / rss["early"], 1.15)


def preprocess(bench, executables, scratch, rounds=9):
    print("Time to live of a change to the preprocessing alone ÷ of everything, 8 MB forest (medians):", flush=True)
    row, _ = golden_row()
    bundle = Bundle().without_golden()
    bundle.replace("model.onnx", large_forest())
    print(f"  the forest's file has {len(bundle.files['model.onnx']) / 1e6:.1f} MB")
    folder = scratch / "preprocess" / "demo"
    bundle.write(folder)
    address, running = serve(bench, executables, scratch, "--source", str(scratch / "preprocess"))
    with running:
        client = Client(address)
        generation = live(client, row, "1")
        took = {"preprocessing": [], "everything": []}
        for number in range(rounds):
            for what in took:
                bundle.replace("preprocess.json", bundle.files["preprocess.json"] + b"\n")
                if what == "everything":
                    bundle.other_model(f"round {number}")
                start = time.perf_counter()
                bundle.write(folder)
                generation = live(client, row, "1", generation)
                took[what].append(time.perf_counter() - start)
    medians = {what: statistics.median(times) for what, times in took.items()}
    print(f"  preprocessing {medians['preprocessing'] * 1e3:.0f} ms, everything {medians['everything'] * 1e3:.0f} ms")
    bench.at_most("preprocessing ÷ everything", medians["preprocessing"] / medians["everything"], 0.5)


def large_forest():
    """Over the demo's 54 columns, with its outputs."""
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(1)
    rows = rng.random((6000, 54)).astype(np.float32)
    labels = rng.integers(1, 8, 6000)
    forest = RandomForestClassifier(220, max_depth=11, random_state=1).fit(rows, labels)
    graph = to_onnx(forest, rows[:1], options={"zipmap": False})
    names = {"output_label": "label", "output_probability": "probabilities"}
    for node in graph.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
        node.input[:] = [names.get(name, name) for name in node.input]
    for output in graph.graph.output:
        output.name = names.get(output.name, output.name)
    return graph.SerializeToString()


def activation(bench, executables, scratch, rounds=21):
    print("First request to a demo-sized bundle that is known but not resident:", flush=True)
    row, label = golden_row()
    Bundle().write(scratch / "activation" / "demo")
    address, running = serve(
        bench, executables, scratch, "--source", str(scratch / "activation"), "--lazy-load", "--idle-unload", "0.2"
    )
    with running:
        client = Client(address)
        live(client, row, "1")
        took = []
        for _ in range(rounds):
            while client.metric("modelgate_resident_generations") != 0:
                time.sleep(0.02)
            time.sleep(0.05)
            start = time.perf_counter()
            status, _, body = client.predict(row)
            took.append(time.perf_counter() - start)
            assert status == 200 and json.loads(body) == {"prediction": label}, (status, body)
    bench.at_most("first request, median", statistics.median(took) * 1e3, 50, "ms")


def many(bench, executables, scratch, known=500, resident=20, seconds=60):
    print(f"{known} bundles known, memory for about {resident}, requests by a Zipf law for {seconds} s:", flush=True)
    row, label = golden_row()
    folder = scratch / "many"
    for number in range(known):
        Bundle(name=f"m{number}").other_model(f"model {number}").write(folder / f"m{number}")
    # The budget is what so many take without one, loaded one after another, at the height of a load; in a gateway in which
    # all have been resident once, as they will have been.
    address, running = serve(
        bench, executables, scratch, "--source", str(folder), "--lazy-load", "--idle-unload", "2", "--access-log", "0"
    )
    with running as process:
        client = Client(address)
        client.becomes_ready(patience=180)
        for number in range(known):
            live(client, {**row, "model": f"m{number}"}, "1")
        while client.metric("modelgate_resident_generations") != 0:
            time.sleep(0.05)
        empty = bench.rss_mib(process.pid)
        # Linux: forget the peak so far.
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")
        for number in range(resident):
            live(client, {**row, "model": f"m{number}"}, "1")
        full = bench.rss_mib(process.pid)
        budget = int(bench.rss_mib(process.pid, "VmHWM"))
    print(f"  {known} known: {empty:.0f} MiB; {resident} of them resident: {full:.0f} MiB; budget, the height of their "
          f"loads: {budget} MiB")
    address, running = serve(
        bench, executables, scratch, "--source", str(folder), "--memory-budget", f"{budget}MiB", "--access-log", "0"
    )
    with running as process:
        client = Client(address)
        # All are known, and their files are in the local cache.
        client.becomes_ready(patience=180)
        live(client, {**row, "model": "m0"}, "1")
        weights = [1 / (rank + 1) for rank in range(known)]
        failures, counts, peak, resident_now = [], [0] * 4, 0, []
        end = time.monotonic() + seconds

        def ask(thread):
            mine, chance = Client(address), random.Random(thread)
            while time.monotonic() < end:
                model = f"m{chance.choices(range(known), weights)[0]}"
                try:
                    status, _, body = mine.predict({**row, "model": model})
                    if status != 200 or json.loads(body) != {"prediction": label}:
                        failures.append((model, status, body))
                except OSError as error:
                    failures.append((model, error))
                    mine = Client(address)
                counts[thread] += 1

        threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(len(counts))]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            peak = max(peak, bench.rss_mib(process.pid))
            resident_now.append(client.metric("modelgate_resident_generations"))
            time.sleep(0.05)
        activations = client.metric('modelgate_activations_total{outcome="success"}')
    print(f"  {sum(counts)} requests, {activations:.0f} activations, {statistics.median(resident_now):.0f} resident in the "
          f"middle; {failures[:2]}")
    bench.at_most("failures", len(failures), 0)
    bench.at_most("peak of resident memory ÷ budget", peak / budget, 1.1)
