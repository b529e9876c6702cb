"""The edge's own rules, with HAProxy itself before replicas made of a few lines: no Docker engine is needed.

    python3 deploy/test/edge.py
"""

import http.client
import http.server
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CONFIG = Path(__file__).resolve().parent.parent / "haproxy" / "haproxy.cfg"
REPLICAS = 6


class Replica(http.server.ThreadingHTTPServer):
    """Answers readiness and predictions. `fate` decides what a posted body does to it: `True` closes the connection
    without an answer, as the end of the process would."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, fate):
        self.fate, self.asked = fate, 0
        super().__init__(("127.0.0.1", 0), Handler)
        # The edge ends its checks with a reset.
        self.handle_error = lambda *_: None
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(b'{"ready":true}')

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked += 1
        if self.server.fate(body):
            self.close_connection = True
            return
        self.answer(b'{"prediction":2}')


class Edge:
    """HAProxy with the stack's configuration, its replicas found at fixed addresses instead of by DNS."""

    def __init__(self, replicas):
        program = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
        if program is None:
            raise SystemExit("haproxy is missing: install it (Debian: apt-get install haproxy)")
        self.folder = tempfile.TemporaryDirectory(prefix="modelgate-edge-")
        with socket_of_a_free_port() as port:
            self.port = port
        lines = []
        for line in CONFIG.read_text().splitlines():
            if line.strip().startswith("server-template"):
                lines += [f"    server replica{n} 127.0.0.1:{r.server_port}" for n, r in enumerate(replicas)]
            elif line.strip() == "bind :8080":
                lines.append(f"    bind 127.0.0.1:{self.port}")
            elif line.strip() == "bind :8404":
                lines.append(f"    bind unix@{self.folder.name}/status")
            else:
                lines.append(line)
        config = Path(self.folder.name) / "haproxy.cfg"
        config.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen([program, "-db", "-f", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        deadline = time.monotonic() + 20
        while True:
            try:
                if self.post(b"{}") == 200:
                    return self
            except OSError:
                pass
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.__exit__()
                raise AssertionError("the edge gives no answer within 20 s")
            time.sleep(0.02)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        self.folder.cleanup()

    def post(self, body, path="/predict"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()


class socket_of_a_free_port:
    """A port that was free a moment ago."""

    def __enter__(self):
        import socket

        self.socket = socket.create_server(("127.0.0.1", 0))
        return self.socket.getsockname()[1]

    def __exit__(self, *_):
        self.socket.close()


def a_poisonous_request_reaches_two_replicas():
    """A request that ends every replica that reads it is asked of two of them, no more"""
    replicas = [Replica(lambda body: b"poison" in body) for _ in range(REPLICAS)]
    with Edge(replicas) as edge:
        before = sum(replica.asked for replica in replicas)
        status = edge.post(b'{"poison": 1}')
        asked = sum(replica.asked for replica in replicas) - before
        assert asked == 2, f"{asked} of {REPLICAS} replicas were asked"
        assert status in (502, 503), status
        assert edge.post(b"{}") == 200
    return f"{asked} of {REPLICAS} replicas asked, then {status}"


def a_lost_request_is_answered_by_another():
    """A request whose replica went away is answered by another one"""
    replicas = [Replica(lambda _: False) for _ in range(REPLICAS)]
    with Edge(replicas) as edge:
        lost = [0]

        def once(_):
            lost[0] += 1
            return lost[0] == 1

        for replica in replicas:
            replica.fate = once
        assert edge.post(b"{}") == 200
        assert lost[0] == 2, lost
        # A call that changes what is served is never asked again.
        lost[0] = 0
        status = edge.post(b"", "/v2/repository/models/demo/load")
        assert lost[0] == 1 and status in (502, 503), (lost, status)
    return "one lost prediction answered by another replica; a lost load is not asked again"


ALL = [a_poisonous_request_reaches_two_replicas, a_lost_request_is_answered_by_another]


def main():
    failed = 0
    for check in ALL:
        try:
            print(f"ok   {check.__doc__.strip()}: {check()}")
        except AssertionError as error:
            failed += 1
            print(f"FAIL {check.__doc__.strip()}: {error}")
    print(f"{len(ALL) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
