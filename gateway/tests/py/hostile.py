"""`make soak`: hostile clients of every kind beside well-behaved ones, under a limit of memory.

    python gateway/tests/py/hostile.py GATEWAY [--minutes 10] [--memory 256] [--rate 200] [--only KIND ...]

GATEWAY is the executable of a release build. It serves the demo, and a module that misbehaves when it is told to, in a
control group of its own with so many MiB (needs root). Well-behaved clients send `--rate` rows a second over connections
that are kept; each answer is compared. For the first half minute they are alone; then every kind of hostile client joins.
Exits with 1 if the process ends, a well-behaved request fails, their p99 is above three times the quiet one, or health
takes longer than 100 ms. Only the standard library.
"""

import argparse
import functools
import gzip
import hashlib
import http.client
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

GATEWAY = Path(__file__).resolve().parents[2]
ROOTS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
MODEL = "modelo_covertype_vf"
JSON = {"Content-Type": "application/json"}
QUIET_SECONDS = 30


class Group:
    """A control group with a limit of memory, of either version."""

    def __init__(self, limit):
        first = ROOTS[0].is_dir()
        self.folder = (ROOTS[0] if first else ROOTS[1]) / f"modelgate-hostile-{os.getpid()}"
        try:
            self.folder.mkdir()
            (self.folder / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit))
        except OSError as error:
            raise SystemExit(f"cannot make a control group in {self.folder.parent}: {error}: run this as root") from error
        self.peak_file = self.folder / ("memory.max_usage_in_bytes" if first else "memory.peak")

    def join(self):
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def peak_mib(self):
        return int(self.peak_file.read_text()) / 2**20

    def remove(self):
        for _ in range(100):
            try:
                return self.folder.rmdir()
            except OSError:
                time.sleep(0.05)


def unruly(folder):
    """A bundle of the tests' module that loops, traps and allocates when a request tells it to."""
    folder.mkdir()
    wasm = (GATEWAY.parent / "modules/dist/unruly.wasm").read_bytes()
    (folder / "module.wasm").write_bytes(wasm)
    (folder / "config.json").write_text('{"do":"by-row"}')
    digest = lambda name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "bundle.toml").write_text(
        'format = 1\nname = "unruly"\nversion = "1"\n[[stage]]\nname = "only"\n'
        f'module = "module.wasm"\nsha256 = "{digest("module.wasm")}"\n'
        f'config = "config.json"\nconfig_sha256 = "{digest("config.json")}"\n'
        '[limits]\nmemory = "16MiB"\ndeadline_ms = 300\n'
    )
    return folder


def ask(port, method, path, body=None, headers=JSON, timeout=30):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# Well-behaved clients.


def well_behaved(port, rate, until, results):
    """Sends rows at a fixed rate over kept connections; latencies count from when a request was due."""
    data = json.loads((GATEWAY / "tests/data/covertype_1000.json").read_text())
    bodies = [json.dumps(dict(zip(data["columns"], row))) for row in data["rows"]]
    labels, threads, lock = data["predictions"], 8, threading.Lock()
    begun = time.monotonic() + 0.2
    latencies, failures = [], []

    def client(index):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        for turn in range(index, 10**9, threads):
            due = begun + turn / rate
            if due > until.value:
                return
            time.sleep(max(0, due - time.monotonic()))
            row = turn % len(bodies)
            try:
                connection.request("POST", f"/predict/{MODEL}", bodies[row], JSON)
                answer = connection.getresponse()
                text = answer.read()
                good = answer.status == 200 and json.loads(text) == {"prediction": labels[row]}
                failure = None if good else f"{answer.status} {text[:200]!r}"
            except Exception as error:
                failure = repr(error)
                connection.close()
            with lock:
                latencies.append(time.monotonic() - due)
                if failure:
                    failures.append(failure)

    clients = [threading.Thread(target=client, args=(index,)) for index in range(threads)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    results.put(("clients", latencies, failures))


def health(port, until, results):
    took = []
    while time.monotonic() < until.value:
        start = time.monotonic()
        try:
            status, _ = ask(port, "GET", "/v2/health/live", headers={}, timeout=10)
            took.append(time.monotonic() - start if status == 200 else 99.0)
        except OSError:
            took.append(99.0)
        time.sleep(0.1)
    results.put(("health", took, []))


# Hostile clients: each function is one attempt, and is called again and again.


def frame(kind, flags, stream, payload=b""):
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers_block(path, *fields):
    """Fields as literals without Huffman codes and without a table."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"), *fields]
    text = lambda value: bytes([len(value)]) + value.encode()
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def http2(port, window=65535):
    wire = socket.create_connection(("127.0.0.1", port), timeout=10)
    wire.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, window)) + frame(4, 1, 0))
    return wire


def read_for(wire, seconds):
    wire.settimeout(0.2)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if not wire.recv(65536):
                return
        except TimeoutError:
            continue


@functools.cache
def bomb(number):
    """A path, a content type, a body that stands for many times its bytes, and the body in gzip."""
    size = 16 << 20
    infer = f"/v2/models/{MODEL}/infer"
    message = b"\x0a\x13" + MODEL.encode() + b"\x2a\0" * (size // 2)
    fill = lambda before, unit, after: (before + unit * ((size - 200) // len(unit)) + after).encode()
    path, body, kind = [
        lambda: ("/predict", fill('{"model":[', "0,", "0]}"), JSON),
        lambda: ("/predict", fill("[", "{},", "{}]"), JSON),
        lambda: ("/predict", fill("{", '"a":1,', '"b":1}'), JSON),
        lambda: ("/predict", b"[" * 1_000_000, JSON),
        lambda: ("/predict", b'{"Slope":1' + b"0" * 1_000_000 + b"}", JSON),
        lambda: ("/invocations", b"," * size, {"Content-Type": "text/csv"}),
        lambda: ("/invocations", fill('{"dataframe_split":{"columns":[', '"",', '""],"data":[]}}'), JSON),
        lambda: (infer, fill('{"inputs":[{"name":"a","datatype":"FP32","data":[],"shape":[', "0,", "0]}]}"), JSON),
        lambda: ("/inference.GRPCInferenceService/ModelInfer", b"\0" + struct.pack(">I", len(message)) + message,
                 {"Content-Type": "application/grpc"}),
    ][number]()
    return path, kind, body, gzip.compress(body, 6)


def bombs(port, turn):
    path, kind, body, packed = bomb(turn % 9)
    if turn // 9 % 2:
        ask(port, "POST", path, body, kind)
    else:
        ask(port, "POST", path, packed, kind | {"Content-Encoding": "gzip"})
    time.sleep(0.2)


def stalled_uploads(port, turn):
    """Bodies of unknown length, and of a known one, that stop."""
    wires = []
    for index in range(8):
        wire = socket.create_connection(("127.0.0.1", port), timeout=10)
        length = b"Transfer-Encoding: chunked\r\n" if index % 2 else b"Content-Length: 16000000\r\n"
        head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + length + b"\r\n"
        wire.sendall(head + (b"5\r\n[{\"a\"\r\n" if index % 2 else b"[{"))
        wires.append(wire)
    time.sleep(8)
    for wire in wires:
        wire.close()


def slow_heads(port, turn):
    wires = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(50)]
    for _ in range(20):
        for wire in wires:
            wire.sendall(b"P")
        time.sleep(0.5)


def idle_connections(port, turn):
    wires = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(300)]
    time.sleep(10)
    for wire in wires:
        wire.close()


def garbage(port, turn):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
            wire.sendall(random.randbytes(2000))
        with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
            wire.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200_000 + b"\r\n\r\n")
    time.sleep(0.5)


def half_requests(port, turn):
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
            wire.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n{\"Slope\":")
    time.sleep(0.3)


def held_streams(port, turn):
    """Streams whose bodies do not end."""
    wire = http2(port)
    for index in range(200):
        stream = 2 * index + 1
        block = headers_block("/predict", ("content-type", "application/json"), ("content-length", "65536"))
        wire.sendall(frame(1, 4, stream, block) + frame(0, 0, stream, b"{" + b" " * 250))
    read_for(wire, 8)
    wire.close()


def unread_answers(port, turn):
    """Answers that nobody takes: a window of no bytes."""
    data = json.loads((GATEWAY / "tests/data/covertype_1000.json").read_text())
    rows = json.dumps([dict(zip(data["columns"], row)) for row in data["rows"][:40]]).encode()
    wire = http2(port, 0)
    for index in range(30):
        stream = 2 * index + 1
        block = headers_block("/predict?outputs=all", ("content-type", "application/json"), ("content-length", str(len(rows))))
        pieces = [rows[start : start + 16384] for start in range(0, len(rows), 16384)]
        wire.sendall(frame(1, 4, stream, block) + b"".join(
            frame(0, number == len(pieces) - 1, stream, piece) for number, piece in enumerate(pieces)))
    time.sleep(8)
    wire.close()


def resets(port, turn):
    wire = http2(port)
    block = headers_block("/predict", ("content-length", "100"))
    for index in range(2000):
        stream = 2 * index + 1
        wire.sendall(frame(1, 4, stream, block) + frame(3, 0, stream, struct.pack(">I", 8)))
    wire.close()


def pings(port, turn):
    wire = http2(port)
    for _ in range(40):
        wire.sendall(frame(6, 0, 0, b"12345678") * 5)
        time.sleep(0.2)
    wire.close()


def loops(port, turn):
    """A module that loops until its deadline, traps, takes memory, recurses."""
    act = ("loop", "trap", "recurse", "hoard")[turn % 4]
    ask(port, "POST", "/predict", json.dumps({"model": "unruly", "x": 1.5, "act": act}))


def many_rows(port, turn):
    data = json.loads((GATEWAY / "tests/data/covertype_1000.json").read_text())
    rows = [dict(zip(data["columns"], row)) for row in data["rows"]] * 4
    ask(port, "POST", "/predict?outputs=all", json.dumps(rows))
    time.sleep(0.5)


def operators(port, turn):
    """Calls that only an operator may make."""
    for path in (f"/v2/repository/models/{MODEL}/unload", f"/v2/repository/models/{MODEL}/load"):
        status, text = ask(port, "POST", path, "{}")
        assert status in (401, 403), (path, status, text)
    time.sleep(0.2)


HOSTILE = [bombs, stalled_uploads, slow_heads, idle_connections, garbage, half_requests, held_streams, unread_answers,
           resets, pings, loops, many_rows, operators]


def hostile(attempt, port, until, results):
    # Such clients are on other machines: what they take of these cores is not what is measured.
    os.nice(10)
    turn, problems = 0, []
    while time.monotonic() < until.value:
        try:
            attempt(port, turn)
        except OSError:
            pass  # The gateway may end a connection.
        except http.client.HTTPException:
            pass
        except AssertionError as error:
            problems.append(f"{attempt.__name__}: {error}")
        turn += 1
        time.sleep(0.05)
    results.put((attempt.__name__, [turn], problems))


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def phase(port, seconds, rate, attempts, process):
    until = multiprocessing.Value("d", time.monotonic() + seconds)
    results = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=well_behaved, args=(port, rate, until, results)),
               multiprocessing.Process(target=health, args=(port, until, results))]
    workers += [multiprocessing.Process(target=hostile, args=(attempt, port, until, results)) for attempt in attempts]
    for worker in workers:
        worker.start()
    begun = told = time.monotonic()
    found = []
    while len(found) < len(workers):
        if process.poll() is not None:
            until.value = 0
            raise SystemExit(f"the gateway ended with {process.returncode} after {time.monotonic() - begun:.0f} s")
        try:
            found.append(results.get(timeout=1))
        except Exception:
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(f"  {told - begun:.0f} s …", flush=True)
            assert time.monotonic() - begun < seconds + 180, "a client does not end"
    for worker in workers:
        worker.join()
    return {name: (values, problems) for name, values, problems in found}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gateway", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--memory", type=int, default=256, help="MiB")
    parser.add_argument("--rate", type=int, default=200, help="well-behaved requests a second")
    names = [one.__name__ for one in HOSTILE]
    parser.add_argument("--only", action="append", choices=names, help="hostile clients of this kind, and no others")
    parser.add_argument("--quiet", type=float, default=QUIET_SECONDS, help="seconds without any")
    options = parser.parse_args()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    scratch, group = Path(tempfile.mkdtemp()), Group(options.memory << 20)
    log = open(scratch / "log", "wb")
    process = subprocess.Popen(
        [options.gateway.resolve(), "serve", "--demo", "--bundle", unruly(scratch / "unruly"), "--listen", f"127.0.0.1:{port}",
         "--code-cache", scratch / "code", "--bundle-cache", scratch / "cache"],
        stdout=subprocess.DEVNULL, stderr=log, preexec_fn=group.join,
    )
    missed = []
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                if ask(port, "GET", "/v2/health/ready", headers={}, timeout=2)[0] == 200:
                    break
            except OSError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the gateway does not start: " + (scratch / "log").read_text()[-2000:])
            time.sleep(0.05)
        threads = lambda: len(os.listdir(f"/proc/{process.pid}/task"))
        quiet = phase(port, options.quiet, options.rate, [], process)
        before = threads()
        print(f"quiet: {len(quiet['clients'][0])} requests, p99 {percentile(quiet['clients'][0], 0.99) * 1e3:.1f} ms", flush=True)
        kinds = [one for one in HOSTILE if not options.only or one.__name__ in options.only]
        loud = phase(port, options.minutes * 60, options.rate, kinds, process)
        latencies, failures = loud["clients"]
        ratio = percentile(latencies, 0.99) / percentile(quiet["clients"][0], 0.99)
        worst = max(loud["health"][0])
        print("attempts: " + ", ".join(f"{one.__name__} {loud[one.__name__][0][0]}" for one in kinds))
        print(f"beside them: {len(latencies)} requests, {len(failures)} failed, median {statistics.median(latencies) * 1e3:.1f} ms, "
              f"p99 {percentile(latencies, 0.99) * 1e3:.1f} ms ({ratio:.2f} × quiet); health at most {worst * 1e3:.0f} ms; "
              f"{group.peak_mib():.0f} MiB at most, file cache included; threads {before} → {threads()}")
        problems = [text for _, texts in loud.values() for text in texts]
        for text in problems[:5]:
            print(f"  {text}")
        missed = [what for what, bad in (("failures", problems), ("p99", ratio > 3), ("health", worst > 0.1)) if bad]
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        group.remove()
        shutil.rmtree(scratch, ignore_errors=True)
    if missed:
        raise SystemExit("missed: " + ", ".join(missed))


if __name__ == "__main__":
    main()
