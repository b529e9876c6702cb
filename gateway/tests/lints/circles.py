"""Fails where files of a crate import each other in a circle.

    python3 gateway/tests/lints/circles.py [--list]

Read from the text: `use` and paths that begin with `crate::`, `super::` or `self::`. A file that only declares another as
its module does not import it; what a parent re-exports is imported from the file that has it. Code under `#[cfg(test)]` is
left out. KNOWN has for each crate how many of its files are in circles today: none may rise.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
KNOWN = {}
PATH = re.compile(r"\b((?:crate|super|self)\b(?:::(?:super|\w+))*)(::\{)?")


def without_tests(text):
    """The text without its modules of tests, comments and who may see what."""
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r"\bpub\([^)]*\)", "pub", text)
    while (found := re.search(r"#\[cfg\(test\)\]\s*(?:pub\s+)?mod\s+\w+\s*\{", text)):
        depth, at = 1, found.end()
        while depth and at < len(text):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        text = text[:found.start()] + text[at:]
    return re.sub(r"#\[cfg\(test\)\]\s*(?:pub\s+)?(?:mod|use)\s[^;]*;", "", text)


def braces(text, at):
    """The text in the braces that begin at a place."""
    depth, end = 1, at
    while depth and end < len(text):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    return text[at:end - 1]


def leaves(prefix, text):
    """The paths of a `use` with braces."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and not depth:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    for part in (part.strip() for part in parts):
        if "{" in part:
            head, inner = part.split("{", 1)
            yield from leaves(prefix + [name.strip() for name in head.split("::") if name.strip()], inner.rsplit("}", 1)[0])
        elif part:
            yield prefix + [name.strip() for name in part.split(" as ")[0].split("::") if name.strip()]


class Crate:
    def __init__(self, source):
        self.files = {}
        for path in source.rglob("*.rs"):
            parts = path.relative_to(source).with_suffix("").parts
            self.files[() if parts in (("lib",), ("main",)) else parts] = without_tests(path.read_text())
        self.exports = {module: dict(self.reexports(module)) for module in self.files}

    def absolute(self, module, names):
        """A path from the crate's root."""
        base = list(module)
        if names[0] == "crate":
            return tuple(names[1:])
        while names and names[0] in ("self", "super"):
            if names[0] == "super":
                base = base[:-1]
            names = names[1:]
        return tuple(base + names)

    def paths(self, module, text):
        for found in PATH.finditer(text):
            names = found[1].split("::")
            every = leaves(names, braces(text, found.end())) if found[2] else [names]
            for each in every:
                yield self.absolute(module, list(each))

    def reexports(self, module):
        text = self.files[module]
        for found in re.finditer(r"\bpub\s+use\s+([^;]+);", text):
            for path in self.paths(module, found[1]):
                if path and path[-1] != "self":
                    yield path[-1], path

    def target(self, path, seen=()):
        """The file that has what a path names."""
        path = tuple(name for name in path if name != "self")
        for length in range(len(path), -1, -1):
            module = path[:length]
            if module in self.files:
                rest = path[length:]
                other = self.exports[module].get(rest[0]) if rest else None
                if other and other not in seen and other != path:
                    return self.target((*other, *rest[1:]), (*seen, other))
                return module
        return None

    def imports(self):
        found = {}
        for module, text in self.files.items():
            # What a file re-exports it wires, and does not use.
            own = re.sub(r"\bpub\s+use\s+[^;]+;", "", text)
            targets = {self.target(path) for path in self.paths(module, own)}
            found[module] = {target for target in targets if target is not None and target != module}
        return found


def circles(edges):
    """Sets of files that reach each other, by Tarjan's algorithm."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = []
            while not group or group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    sys.setrecursionlimit(10_000)
    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


def main():
    failed = False
    crates = [ROOT / "gateway", *sorted(path.parent for path in (ROOT / "gateway/crates").glob("*/Cargo.toml"))]
    for crate in crates:
        edges = Crate(crate / "src").imports()
        found = circles(edges)
        count, known = sum(map(len, found)), KNOWN.get(crate.name, 0)
        if "--list" in sys.argv[1:]:
            for group in found:
                print(f"{crate.name}: {len(group)} files: {', '.join('/'.join(module) or 'lib' for module in group)}")
                for module in group:
                    others = sorted("/".join(other) or "lib" for other in edges[module] if other in group)
                    print(f"    {'/'.join(module) or 'lib'} -> {', '.join(others)}")
        if count > known:
            failed = True
            print(f"{crate.name}: {count} files are in circles of imports, {known} are known; --list tells which")
        elif count < known:
            print(f"{crate.name}: {count} files are in circles of imports, KNOWN says {known}: write down the new figure")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
