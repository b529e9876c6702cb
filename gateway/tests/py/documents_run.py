"""Runs the marked blocks of the documents, and compares what they print."""

import http.client
import json
import math
import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from documents_text import ROOT, documents, fences


class Session:
    """A scratch folder with a gateway, in which the blocks of one document run."""

    def __init__(self, gateway, python, scratch):
        self.scratch, self.python, self.server = scratch, python, None
        self.home = scratch / "home"
        tools = scratch / "bin"
        for folder in (self.home, tools, scratch / "work"):
            folder.mkdir()
        (tools / "modelgate").symlink_to(gateway)
        (scratch / "work/modelgate").symlink_to(ROOT)
        path = [str(tools)]
        if python:
            (tools / "python").symlink_to(python)
            path.append(str(python.parent))
            script = tools / "modelgate-export"
            script.write_text(f'#!/bin/sh\nexec "{python}" -m modelgate_exporter "$@"\n')
            script.chmod(0o755)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        keep = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        self.environment = keep | {
            "PATH": os.pathsep.join([*path, os.environ["PATH"]]),
            "HOME": str(self.home),
            "MODELGATE_LISTEN": f"127.0.0.1:{self.port}",
        }

    def block(self, language, mark, body):
        """The output of the block."""
        where = mark.partition(":")[2].strip()
        folder = self.scratch / "work"
        if where == "demo":
            self.serve("modelgate serve --demo", folder)
        body = body.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")
        if language == "python":
            return self.command([str(self.python), "-c", body], folder)
        printed, pending = "", []
        for line in body.splitlines(keepends=True):
            if line.startswith("modelgate serve"):
                printed = self.shell(pending, folder) or printed
                pending = []
                self.serve(line, folder)
            else:
                pending.append(line)
        return self.shell(pending, folder) or printed

    def shell(self, lines, folder):
        if not "".join(lines).strip():
            return ""
        return self.command(["bash", "-euo", "pipefail", "-c", "".join(lines)], folder)

    def command(self, words, folder):
        done = subprocess.run(words, cwd=folder, env=self.environment, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise Failure(f"status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def serve(self, line, folder):
        """Starts a gateway by a line of a document, in place of the one before, and waits until it is ready."""
        self.stop()
        words = shlex.split(line, comments=True)
        words = [word for word in words if word != "&"]
        self.log = (self.scratch / "log").open("w+")
        self.server = subprocess.Popen(
            words, cwd=folder, env=self.environment, stdout=self.log, stderr=self.log, process_group=0
        )
        deadline = time.monotonic() + 60
        while not self.ready():
            if self.server.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                raise Failure(f"the gateway does not get ready: {line}\n{self.log.read()[-3000:]}")
            time.sleep(0.02)

    def ready(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self):
        if self.server and self.server.poll() is None:
            os.killpg(self.server.pid, signal.SIGTERM)
            try:
                self.server.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.server.pid, signal.SIGKILL)
                self.server.wait()
        self.server = None


class Failure(Exception):
    """A block that does not run as printed, or prints something else."""


def close(one, other):
    """Whether two JSON values agree; the last digits of numbers are the processor's."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)
    return one == other


def compare(printed, language, expected):
    """Raises if a block's last output is not what the document says."""
    if language == "json":
        lines = printed.strip().splitlines()
        try:
            got = json.loads(printed) if len(lines) != 1 else json.loads(lines[-1])
        except ValueError:
            got = json.loads(lines[-1]) if lines else None
        if not close(got, json.loads(expected)):
            raise Failure(f"printed  {json.dumps(got)}\nexpected {json.dumps(json.loads(expected))}")
        return
    got = [line.rstrip() for line in printed.strip().splitlines()]
    for line in expected.strip().splitlines():
        pattern = ".*".join(re.escape(part) for part in line.rstrip().split("…"))
        if not any(re.fullmatch(pattern, one) for one in got):
            raise Failure("expected " + line + "\nprinted\n" + "\n".join(got))


def run(gateway, python, only):
    """Runs the marked blocks of every document, and gives how many ran and the failures."""
    ran, failed = 0, []
    for name, text in documents():
        blocks = list(fences(text))
        if not any(mark for _, mark, _, _ in blocks) or (only and name not in only):
            continue
        needs_python = any(mark and language == "python" for language, mark, _, _ in blocks)
        if needs_python and not python:
            print(f"{name}: left out, since it needs --python")
            continue
        with tempfile.TemporaryDirectory() as folder:
            session = Session(gateway, python, Path(folder))
            try:
                for at, (language, mark, line, body) in enumerate(blocks):
                    if not mark:
                        continue
                    try:
                        answer = answer_of(blocks, at, text)
                        run_block(session, language, mark, body, answer)
                        ran += 1
                    except (Failure, subprocess.TimeoutExpired, ValueError) as problem:
                        failed.append(f"{name}:{line}: {problem}")
                        break
            finally:
                session.stop()
        print(f"{name}: done", flush=True)
    return ran, failed


def answer_of(blocks, at, text):
    """The language and the text of the answer that the document has for a block, or nothing."""
    if at + 1 < len(blocks):
        language, mark, _, body = blocks[at + 1]
        if language in {"json", "text"} and not mark and adjacent(text, blocks[at][3], body):
            return language, body
    return None


def run_block(session, language, mark, body, answer):
    """Runs a block, and compares what it prints."""
    deadline = time.monotonic() + (30 if mark == "run: until" else 0)
    while True:
        try:
            printed = session.block(language, mark, body)
            if answer:
                compare(printed, answer[0], answer[1].replace("127.0.0.1:8080", f"127.0.0.1:{session.port}"))
            return
        except Failure:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def adjacent(text, body, answer):
    """Whether an answer's block follows a command's, with a line or two of words between them at most."""
    start = text.index(body) + len(body)
    between = text[start : text.index(answer, start)]
    return between.count("\n") <= 5 and "\n#" not in between
