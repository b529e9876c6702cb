"""Checks the documents against the tree and against the binary.

    python3 gateway/tests/py/documents.py links                     links, headings, paths, variables, metrics
    python3 gateway/tests/py/documents.py flags --gateway BINARY    every `--flag`, and docs/settings.md
    python3 gateway/tests/py/documents.py run --gateway BINARY      the commands, as printed
    python3 gateway/tests/py/documents.py settings --gateway BINARY writes docs/settings.md

`make lint` does the first, `make test` the next two. Python's standard library is enough; blocks in Python and commands of
the exporter need `--python`, an interpreter that has it, and are left out without.

A block runs if an HTML comment stands above its fence:

    <!-- run -->              in the document's scratch folder, after the blocks before it
    <!-- run: demo -->        with `modelgate serve --demo` running
    <!-- run: until -->       again and again, for 30 seconds at most, until it prints what the document says

A line that starts with `modelgate serve` starts a gateway, and the next line waits until it is ready; it replaces the one
before. The gateway listens on a free port in place of 8080, and `modelgate/` is the repository. What a block prints last is compared with the `json` or `text`
block behind it, if there is one: values of JSON, and for text each line, where `…` stands for anything.
"""

import argparse
import http.client
import json
import math
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SKIPPED = {"target", "node_modules", "dist", ".git", "__pycache__", ".venv", ".pytest_cache", ".ruff_cache", ".hypothesis"}
# Documents that tell what was: their names and paths may be of another day.
HISTORY = {"CHANGELOG.md"}
# A path in a document may be relative to any of these.
BASES = (
    ".", "gateway", "gateway/src", "gateway/tests", "gateway/benches", "gateway/crates/onnx", "gateway/crates/onnx/src", "gateway/crates/onnx/differential",
    "modules", "modules/exporter", "modules/python", "deploy", "docs",
)
SUFFIXES = "rs|py|md|toml|sh|yaml|yml|wit|lua|html|proto|cfg|service|ipynb"
# Files that the documents tell a reader to make.
MADE = re.compile(r"(?:^|/)(?:churn|out|mine|bundle|BUNDLE|OUT|DIR)/|^modules/(?:mine|terrain)\.wasm|/NAME\.")
# What other programs are told: flags of these are not looked up.
FOREIGN = {
    "docker", "cargo", "rustup", "pip", "npm", "kubectl", "locust", "curl", "git", "ulimit", "sysctl", "pytest", "promtool",
    "localedef", "uv", "gdb", "perf", "strace", "python3", "python", "node", "apt-get", "jupyter", "wasm-tools", "make",
}

# Cargo's, where a document names them alone.
CARGO = {"--workspace", "--release", "--lib", "--test"}


def documents():
    """Markdown files of the tree, by their path from the root."""
    for path in sorted(ROOT.rglob("*.md")):
        parts = path.relative_to(ROOT).parts
        if not SKIPPED & set(parts) and not any(part.endswith("venv") for part in parts):
            yield str(path.relative_to(ROOT)), path.read_text()


def fences(text):
    """`(language, mark, line, body)` of each fenced block; the mark is the comment above it."""
    pattern = r"(?:^[ \t]*<!-- (run[^>]*?) -->\n)?^([ \t]*)```(\w*)\n(.*?)^\2```"
    for found in re.finditer(pattern, text, re.M | re.S):
        yield found.group(3), found.group(1), text.count("\n", 0, found.start(4)) + 1, found.group(4)


def without_fences(text):
    """The text with its fenced blocks blanked, so that lines keep their numbers."""
    blank = lambda found: "\n" * found.group(0).count("\n")
    return re.sub(r"^[ \t]*```.*?^[ \t]*```", blank, text, flags=re.M | re.S)


def anchors(text):
    """The anchors that GitHub makes of the headings."""
    seen = {}
    for heading in re.findall(r"^#{1,6} (.*)$", without_fences(text), re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        seen[slug] = seen.get(slug, -1) + 1
        yield slug if not seen[slug] else f"{slug}-{seen[slug]}"


def sources(suffixes, *folders):
    """The text of the tree's files with one of the suffixes, as one string."""
    texts = []
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in suffixes and path.is_file() and not SKIPPED & set(path.relative_to(ROOT).parts):
                texts.append(path.read_text(errors="replace"))
    return "\n".join(texts)


def check_links():
    """Problems with links, headings, paths, variables and metrics, one line each."""
    texts = dict(documents())
    code = sources({".rs", ".py", ".sh", ".yaml", ".yml", ".toml", "", ".lua"}, "gateway", "deploy", "modules", ".ci")
    code += "".join((ROOT / name).read_text() for name in ("Makefile", "Dockerfile"))
    for name, text in texts.items():
        folder, prose = (ROOT / name).parent, without_fences(text)
        for line, content in enumerate(prose.splitlines(), 1):
            where = f"{name}:{line}"
            for words, link in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", content):
                yield from check_link(where, words, link, name, folder, texts)
            if name in HISTORY:
                continue
            for span in re.findall(r"`([^`]+)`", content):
                yield from check_span(where, span, folder, code)


def check_link(where, words, link, name, folder, texts):
    if re.match(r"[a-z]+:", link):
        return
    target, _, anchor = link.partition("#")
    path = (folder / target).resolve() if target else ROOT / name
    if not path.exists():
        yield f"{where}: no such file: {link}"
    elif anchor and path.suffix == ".md":
        if anchor not in set(anchors(texts.get(str(path.relative_to(ROOT)), path.read_text()))):
            yield f"{where}: no such heading: {link}"
    elif path.suffix in {".rs", ".py"} and (item := re.fullmatch(r"`([A-Za-z_]\w*)(?:::(\w+))?(?:\(\))?`", words)):
        # A link whose words are a name promises that the file defines it.
        defined = rf"\b(?:fn|struct|enum|trait|type|mod|const|static|def|class|macro_rules!) {item[2] or item[1]}\b"
        if not re.search(defined, path.read_text()):
            yield f"{where}: {target} does not define {item[2] or item[1]}"


def check_span(where, span, folder, code):
    if re.fullmatch(rf"[\w.*-]+(?:/[\w.*-]+)+\.(?:{SUFFIXES})(?::\d+)?", span) and not MADE.search(span):
        if "*" not in span and not any((ROOT / base / span).exists() for base in BASES) and not (folder / span).exists():
            yield f"{where}: no such file: {span}"
    for variable in re.findall(r"\bMODELGATE_[A-Z_]+\b", span):
        if variable not in code:
            yield f"{where}: nothing reads the variable {variable}"
    for metric in re.findall(r"\bmodelgate_[a-z_]+\b", span):
        stem = re.sub(r"_(bucket|sum|count|total)$", "", metric)
        if f'"{metric}' not in code and stem not in code:
            yield f"{where}: nothing exports the metric {metric}"


def help_text(gateway, *command):
    done = subprocess.run([gateway, *command, "--help"], capture_output=True, text=True, check=True)
    return done.stdout


def commands(gateway, *above):
    """The flags of each command of the binary, by its words."""
    text = help_text(gateway, *above)
    found = {above: set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))}
    listed = re.search(r"^Commands:\n(.*?)(?:\n\n|\Z)", text, re.M | re.S)
    for name in re.findall(r"^  ([a-z][a-z-]*) ", listed.group(1) if listed else "", re.M):
        if name != "help":
            found |= commands(gateway, *above, name)
    return found


def check_flags(gateway):
    """Problems with flags in documents: unknown ones, and ones of another command."""
    known = commands(gateway)
    ours = set.union(*known.values())
    code = sources({".py", ".sh", ".js", ".rs"}, "modules", "deploy", "gateway/tests", "gateway/benches", "gateway/crates/onnx")
    other = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code))
    # The exporter adds some of its flags by their names alone.
    exporter = (ROOT / "modules/exporter/src/modelgate_exporter/__main__.py").read_text()
    other |= {f"--{name}" for name in re.findall(r'"([a-z][a-z-]*)"', exporter)}
    for name, text in documents():
        if name in HISTORY:
            continue
        blocks = [(line + i, row) for language, _, line, body in fences(text) if language in {"sh", ""}
                  for i, row in enumerate(body.replace("\\\n", "  ").splitlines())]
        spans = [(line, span) for line, row in enumerate(without_fences(text).splitlines(), 1)
                 for span in re.findall(r"`([^`]+)`", row)]
        for line, command in blocks + spans:
            command = re.sub(r"\s#\s.*", "", command)
            for part in re.split(r"[|;]|&&", command):
                yield from check_command(f"{name}:{line}", part, known, ours, other)
    expected, path = settings(gateway), ROOT / "docs/settings.md"
    if not path.exists() or path.read_text() != expected:
        yield "docs/settings.md: not what `modelgate serve --help` says; write it by `documents.py settings --gateway BINARY`"


def check_command(where, command, known, ours, other):
    words = command.split()
    while words and re.fullmatch(r"\w+=\S*|\$|exec|sudo", words[0]):
        words.pop(0)
    if not words:
        return
    program = words[0].rsplit("/", 1)[-1]
    flags = re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", command)
    if program in FOREIGN:
        at = [i for i, word in enumerate(words) if word.endswith("modelgate")]
        if not at or program not in {"docker", "kubectl"}:
            return
        words, program = words[at[-1]:], "modelgate"
        flags = [flag for word in words for flag in re.findall(r"^--[a-z][a-z0-9-]*", word)]
    if program == "modelgate":
        chosen = max((above for above in known if tuple(words[1 : 1 + len(above)]) == above), key=len)
        if len(words) > 1 and not chosen and not words[1].startswith("-") and re.fullmatch("[a-z]+", words[1]):
            yield f"{where}: modelgate has no command {words[1]}"
            return
        for flag in flags:
            if chosen and flag not in known[chosen]:
                yield f"{where}: modelgate {' '.join(chosen)} takes no {flag}"
        return
    for flag in flags:
        if flag not in ours and flag not in other and flag not in CARGO:
            yield f"{where}: nothing takes the flag {flag}"


# ---- docs/settings.md -------------------------------------------------------------------------------------------------

# The order of the headings of `--help` in the document.
HEADINGS = (
    "What is served",
    "Where it listens",
    "Rollouts",
    "Threads",
    "Memory and models on demand",
    "Limits of requests",
    "Limits of connections",
    "Ceilings over bundles",
    "Loading",
    "Logs",
    "Start and end",
)


def options(gateway):
    """The settings of `modelgate serve`, in the order of its help: name, value, text, variable, default, heading."""
    text = help_text(gateway, "serve")
    heading = ""
    for block in re.split(r"\n(?=\S.*:\n)|\n(?= {2,6}(?:-\w, )?--)", text):
        titled = re.match(r"(\S.*):(?:\n|\Z)", block)
        if titled:
            heading, block = titled.group(1), block[titled.end() :]
        found = re.match(r"\s+(?:-\w, )?--([a-z0-9-]+)(?: (\[?<[^>]+>\]?(?:\.\.\.)?))?[ ]*\n(.*)", block, re.S)
        if not found or found.group(1) in {"help", "version"}:
            continue
        name, value, rest = found.groups()
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", rest.strip())]
        words = " ".join(part for part in paragraphs if not part.startswith("Possible values:"))
        variable = re.search(r"\[env: (\w+)=?\]", words)
        default = re.search(r"\[default: ([^\]]*(?:`[^`]*`[^\]]*)*)\]", words)
        plain = re.sub(r"\s*\[(?:env|default|possible values|alias(?:es)?): [^\]]*\]", "", words)
        yield {
            "name": name,
            "value": (value or "").strip("[]<>. "),
            "text": plain.strip(),
            "variable": variable.group(1) if variable else "",
            "default": default.group(1) if default else "",
            "heading": heading,
        }


def settings(gateway):
    """The text of docs/settings.md."""
    groups = {}
    for option in options(gateway):
        groups.setdefault(option["heading"], []).append(option)
    order = [*HEADINGS, *(heading for heading in groups if heading not in HEADINGS)]
    lines = [
        "# Settings",
        "",
        "<!-- Written by `gateway/tests/py/documents.py settings` from `modelgate serve --help`; a test compares. -->",
        "",
        "Every setting of `modelgate serve` is a flag, a variable, or a line in a TOML file that `--config` names: the flag's "
        "name with underscores (`max_body = \"16MiB\"`). A flag wins over a variable, a variable over the file, the file over "
        "the default. [deploy/modelgate.toml](../deploy/modelgate.toml) is a file with comments. Sizes are written `512KiB`, "
        "`64MiB`, `4GiB`.",
        "",
    ]
    for heading in order:
        if heading not in groups:
            continue
        lines += [f"## {heading}", "", "| flag | variable | default | meaning |", "|---|---|---|---|"]
        for option in groups[heading]:
            value = f" {option['value']}" if option["value"] else ""
            cells = [
                f"`--{option['name']}{value}`",
                f"`{option['variable']}`" if option["variable"] else "",
                option["default"],
                option["text"],
            ]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    lines += [
        "## Other variables",
        "",
        "| variable | meaning |",
        "|---|---|",
        "| `MODELGATE_SOURCE` | sources, separated by spaces, as `--source` takes them |",
        "| `MODELGATE_CONVERTED` | where converted versions of a registry are looked for ([sources](sources.md#a-version-that-is-a-scikit-learn-model-alone)) |",
        "| `AWS_…`, `MLFLOW_…` | how S3 and MLflow are reached ([sources](sources.md#sources)); `NAME_FILE` names a file with the value of `NAME` |",
        "",
    ]
    return "\n".join(lines)


# ---- running the blocks ----------------------------------------------------------------------------------------------


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


def main():
    parser = argparse.ArgumentParser(description="Check the documents against the tree and the binary.")
    parser.add_argument("what", choices=["links", "flags", "run", "settings"])
    parser.add_argument("only", nargs="*", help="of `run`: these documents alone")
    parser.add_argument("--gateway", type=Path, help="the binary")
    parser.add_argument("--python", type=Path, help="an interpreter that has the exporter")
    options = parser.parse_intermixed_args()
    gateway = options.gateway.resolve() if options.gateway else None
    # An environment's interpreter is a link, and what it is a link to does not know the environment.
    python = options.python.absolute() if options.python and options.python.exists() else None
    if options.what != "links" and not gateway:
        parser.error("--gateway is needed")
    if options.what == "links":
        problems = list(check_links())
    elif options.what == "flags":
        problems = list(check_flags(gateway))
    elif options.what == "settings":
        (ROOT / "docs/settings.md").write_text(settings(gateway))
        return
    else:
        ran, problems = run(gateway, python, options.only)
        print(f"{ran} blocks ran as printed")
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(f"{len(problems)} problems in the documents")


if __name__ == "__main__":
    main()
