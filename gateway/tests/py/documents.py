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
import re
import sys
from pathlib import Path

from documents_run import run
from documents_settings import options, settings
from documents_text import ROOT, anchors, documents, fences, help_text, sources, without_fences

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


def check_links():
    """Problems with links, headings, paths, variables and metrics, one line each."""
    texts = dict(documents())
    code = sources({".rs", ".py", ".sh", ".yaml", ".yml", ".toml", "", ".lua"}, "gateway", "deploy", "modules", ".ci")
    code += "".join((ROOT / name).read_text() for name in ("Makefile", "Dockerfile"))
    code += " ".join(f"MODELGATE_{name.upper()}" for name in old_names())
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


def old_names():
    """Settings, by their keys, and commands that have another name now, and still work."""
    table = ROOT / "gateway/src/config/renamed.rs"
    text = table.read_text().partition("mod tests")[0] if table.exists() else ""
    return re.findall(r'\("(\w+)", "\w+"\)', text)


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
    other |= {f"--{name.replace('_', '-')}" for name in old_names()}
    known |= {(name,): set() for name in old_names()}
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
