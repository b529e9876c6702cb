"""`make soak`: some seventy hostile bundles, pushed one by one to a gateway that serves, under a limit of memory.

    python gateway/tests/py/hostile_bundles.py GATEWAY [--memory 256] [--only NAME ...] [--load-timeout 4]

GATEWAY is the executable. It follows a folder, in a control group of its own with so many MiB (needs root). Each bundle is
put into the folder; the gateway has to refuse it with a reason, in the index or among the source's problems, and to answer
a row of the demo all the while. Exits with 1 if the process ends, a bundle is not refused, a row fails, or more than 16 MiB,
a thread or a process is left at the end. Only the standard library.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from hostile import GATEWAY, JSON, MODEL, Group, ask
from hostile_graphs import GRAPHS
from hostile_manifests import MANIFESTS, Bundle
from hostile_modules import MODULES

MOST_LEFT = 16 << 20


def kinds():
    """Names and bundles, each made when it is asked for."""
    for name, graph in GRAPHS.items():
        yield f"graph-{name}", lambda name=name, graph=graph: Bundle.of_graph(f"graph-{name}", graph())
    for name, module in MODULES.items():
        yield f"module-{name}", lambda name=name, module=module: module(f"module-{name}")
    for name, manifest in MANIFESTS.items():
        yield f"manifest-{name}", lambda name=name, manifest=manifest: manifest(f"manifest-{name}")


class Serving:
    """The gateway, and what is known of it from outside."""

    def __init__(self, options, scratch, group):
        with socket.socket() as listener, socket.socket() as other:
            listener.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            self.port, self.admin = listener.getsockname()[1], other.getsockname()[1]
        self.source = scratch / "source"
        self.source.mkdir()
        command = [options.gateway.resolve(), "serve", "--demo", "--source", self.source, "--listen", f"127.0.0.1:{self.port}",
                   "--admin-listen", f"127.0.0.1:{self.admin}", "--code-cache", scratch / "code", "--bundle-cache", scratch / "cache", "--poll", "0.2",
                   "--load-timeout", str(options.load_timeout)]
        self.log = scratch / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, preexec_fn=group.join)

    def get(self, path, method="GET"):
        status, text = ask(self.admin, method, path, headers={})
        assert status == 200, (path, status, text[:200])
        return json.loads(text)

    def wait(self, what, holds, seconds):
        """The value of `holds` once it is true."""
        deadline = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"the gateway ended with {self.process.returncode}: {what}\n{self.log.read_text()[-2000:]}")
            try:
                if found := holds():
                    return found
            except (OSError, TimeoutError):
                pass
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)

    def refusal(self, folder):
        """Why what is in a folder is not served, and whether it is."""
        for entry in self.get("/v2/repository/index", "POST"):
            if entry["name"] == folder or entry["reason"].find(folder) >= 0:
                if entry["state"] == "UNAVAILABLE" and entry["reason"]:
                    return entry["reason"]
                if entry["state"] == "READY":
                    return "READY"
        problems = self.get("/v2/repository/sources")["sources"][0].get("problems", [])
        return next((json.dumps(problem) for problem in problems if folder in json.dumps(problem)), None)

    def resident(self):
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096

    def threads(self):
        """The count of each name, but for the pool that reads files, which every look at the folder uses."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        found = Counter(task.joinpath("comm").read_text().strip() for task in tasks)
        del found["tokio-rt-worker"]
        return found

    def children(self):
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [child for task in tasks for child in task.joinpath("children").read_text().split()]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def neighbour(serving, done, failures, latencies):
    """Asks for the demo all the while."""
    data = json.loads((GATEWAY / "tests/data/covertype_1000.json").read_text())
    row, wanted = json.dumps(dict(zip(data["columns"], data["rows"][0]))), data["predictions"][0]
    while not done.is_set():
        begun = time.monotonic()
        try:
            status, text = ask(serving.port, "POST", f"/predict/{MODEL}", row, JSON, 10)
            if status != 200 or json.loads(text) != {"prediction": wanted}:
                failures.append(f"{status} {text[:200]!r}")
        except (OSError, TimeoutError) as error:
            failures.append(repr(error))
        latencies.append(time.monotonic() - begun)
        time.sleep(0.05)


def push(serving, options, name, make):
    """Gives what went wrong, and how long the refusal took."""
    bundle, target = make(), serving.source / name
    bundle.write(serving.source / f".{name}")
    os.rename(serving.source / f".{name}", target)
    begun = time.monotonic()
    reason = serving.wait(name, lambda: serving.refusal(name), 3 * options.load_timeout + 30)
    took = time.monotonic() - begun
    print(f"  {name}: {took:.1f} s: {(reason or 'no reason')[:150]}", flush=True)
    shutil.rmtree(target)
    if reason is None or reason == "READY":
        return f"{name} is not refused: {reason}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gateway", type=Path)
    parser.add_argument("--memory", type=int, default=256, help="MiB")
    parser.add_argument("--load-timeout", type=float, default=4)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="bundles whose name has this")
    options = parser.parse_args()
    scratch, group = Path(tempfile.mkdtemp()), Group(options.memory << 20)
    serving = Serving(options, scratch, group)
    problems, failures, latencies, done = [], [], [], threading.Event()
    try:
        if not serving.wait("the start", lambda: ask(serving.port, "GET", "/v2/health/ready", headers={})[0] == 200, 60):
            raise SystemExit("the gateway does not start")
        client = threading.Thread(target=neighbour, args=(serving, done, failures, latencies))
        client.start()
        chosen = [(name, make) for name, make in kinds() if not options.only or any(part in name for part in options.only)]
        # The first use of each part of the gateway takes memory that stays.
        push(serving, options, *chosen[0])
        serving.wait("a quiet moment", lambda: not serving.children(), 30)
        time.sleep(2)
        before, threads = serving.resident(), serving.threads()
        begun = time.monotonic()
        for name, make in chosen:
            if problem := push(serving, options, name, make):
                problems.append(problem)
        took = time.monotonic() - begun
        left = lambda: serving.resident() - before < MOST_LEFT and serving.threads() == threads and not serving.children()
        is_clean = serving.wait("nothing is left", left, 90)
        done.set()
        client.join()
        print(f"{len(chosen)} bundles in {took:.0f} s; {(serving.resident() - before) / 2**20:+.1f} MiB; "
              f"threads {threads.total()} → {serving.threads().total()}; {len(latencies)} rows beside them, {len(failures)} failed, "
              f"the slowest after {max(latencies) * 1e3:.0f} ms; {group.peak_mib():.0f} MiB at most, children included")
        if not is_clean:
            problems.append(f"left: {(serving.resident() - before) / 2**20:.1f} MiB, children {serving.children()}, "
                            f"threads {serving.threads() - threads}")
        problems += failures[:3]
    finally:
        done.set()
        serving.stop()
        group.remove()
        shutil.rmtree(scratch, ignore_errors=True)
    if problems:
        raise SystemExit("missed:\n  " + "\n  ".join(problems))


if __name__ == "__main__":
    main()
