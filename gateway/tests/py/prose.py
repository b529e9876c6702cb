"""Finds the worst habits of prose in comments, docstrings and documents.

A reader at three in the morning needs the subject of a sentence. This lint refuses

- a doc comment or a docstring that begins with a bare pronoun (`It`, `These`, `What`, ...),
- a sentence in a document that begins with one,
- "let go" and "whoever", which hide the subject and the verb.

Run from anywhere: `python3 gateway/tests/py/prose.py`. A question in a heading is fine. `NOT_DONE` may name folders whose
files are not mended yet.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

PRONOUNS = "It|These|Those|Which|How|What|Whatever|Who|Whoever|Nobody"
BEGINS = re.compile(rf"(?:{PRONOUNS})\b")
# A sentence within a paragraph; a colon may go before it, an abbreviation may not.
SENTENCE = re.compile(rf"(?<=[.!?]\s)(?:{PRONOUNS})\b[^.!?]*")
WORDS = re.compile(r"\b(?:let|lets|letting) (?:it |them )?go\b|\b[Ww]hoever\b")

# Folders and files whose prose is still to be mended.
NOT_DONE = ()

SKIPPED = {"target", "node_modules", "dist", ".git", "__pycache__", ".venv", ".pytest_cache", ".ruff_cache", ".hypothesis"}


def files(suffix):
    """Files of the tree with a suffix, without what was built or fetched."""
    for path in sorted(ROOT.rglob(f"*{suffix}")):
        name = path.relative_to(ROOT)
        if not SKIPPED & set(name.parts) and not any(part.endswith("venv") for part in name.parts):
            yield path, str(name)


def rust(text):
    """`(line, comment, starts)` for each comment; `starts` where a doc comment begins."""
    before = ""
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r"\s*(//[/!]?)(?!/)\s?(.*)", line)
        kind = found.group(1) if found else ""
        if found:
            yield number, found.group(2), kind in ("///", "//!") and before != kind
        elif trailing := re.search(r"\s//\s(.*)", line):
            yield number, trailing.group(1), False
        before = kind


def python(text):
    """The same for comments and docstrings."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# "), False
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if ast.get_docstring(node):
            literal = node.body[0].value
            for offset, line in enumerate(literal.value.splitlines()):
                yield literal.lineno + offset, line.strip(), offset == 0


def document(text):
    """`(line, text, starts)` for the lines of a document outside of fenced blocks; `starts` where a paragraph, an item or a
    cell begins."""
    fenced, blank = False, True
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced, blank = not fenced, True
            continue
        if fenced or line.startswith("#"):
            blank = True
            continue
        if not line.strip():
            blank = True
            continue
        if line.startswith("|"):
            continue
        item = re.match(r"\s*(?:[-*]|\d+\.)\s+", line)
        yield number, line[item.end() :] if item else line.strip(), blank or bool(item)
        blank = False


def findings():
    """Each finding as `(file, line, words)`."""
    for suffix, reader in ((".rs", rust), (".py", python), (".md", document)):
        for path, name in files(suffix):
            for number, text, starts in reader(path.read_text()):
                if starts and BEGINS.match(text):
                    yield name, number, text
                elif suffix == ".md" and (sentence := SENTENCE.search(text)):
                    yield name, number, sentence.group(0)
                if words := WORDS.search(re.sub(r'`[^`]*`|"[^"]*"', "", text)):
                    yield name, number, f"... {words.group(0)} ..."


def main():
    parser = argparse.ArgumentParser(description="Find the worst habits of prose.")
    parser.add_argument("--all", action="store_true", help="also in files that are not done yet")
    parser.add_argument("--count", action="store_true", help="count the findings of each file")
    options = parser.parse_args()
    found = [
        finding for finding in findings() if options.all or not finding[0].startswith(NOT_DONE or ("\0",))
    ]
    if options.count:
        names = [name for name, _, _ in found]
        for name in sorted(set(names), key=names.count, reverse=True):
            print(f"{names.count(name):4} {name}")
    else:
        for name, number, words in found:
            print(f"{name}:{number}: {words[:100]}")
    if found:
        sys.exit(f"{len(found)} sentences without a subject: say who does what")


if __name__ == "__main__":
    main()
