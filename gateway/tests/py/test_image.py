"""The Dockerfile copies what the gateway is built from. CI does not compile a second time in an image, so this reads it."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def stages(text):
    """The paths that each stage copies from the checkout before it compiles."""
    found, compiled = {}, False
    for line in text.splitlines():
        if match := re.match(r"FROM \S+(?: AS (\S+))?", line):
            copied, compiled = found.setdefault(match[1], []), False
        elif "cargo build" in line:
            compiled = True
        elif (match := re.match(r"COPY (?!--from)(.+) \S+$", line)) and not compiled:
            copied += map(Path, match[1].split())
    return found


def manifests():
    """The manifests that cargo reads for the workspace: of its members, and of what they take by a path from
    elsewhere."""
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]
    members = [manifest for member in workspace["members"] for manifest in sorted(ROOT.glob(f"{member}/Cargo.toml"))]
    found = set(members)
    for manifest in members:
        tables = [tomllib.loads(manifest.read_text())]
        for table in (tables[0], workspace):
            for kind in ("dependencies", "dev-dependencies", "build-dependencies"):
                for dependency in table.get(kind, {}).values():
                    if isinstance(dependency, dict) and "path" in dependency:
                        base = ROOT if table is workspace else manifest.parent
                        found.add((base / dependency["path"] / "Cargo.toml").resolve())
    return {manifest.relative_to(ROOT) for manifest in found}


def missing(dockerfile):
    """Sentences about files that are compiled and that this Dockerfile does not copy."""
    copied = stages(dockerfile)
    early = copied["dependencies"]
    for manifest in sorted(manifests()):
        if not any(manifest.is_relative_to(source) for source in early):
            yield f"the stage `dependencies` does not copy {manifest}"
    late = [*early, *copied["gateway"]]
    ignored = [Path(line) for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] not in "#*!"]
    for file in sorted(path.relative_to(ROOT) for path in ROOT.glob("gateway/**/*.rs")):
        if any(file.is_relative_to(part) for part in ignored) or "tests" in file.parts:
            continue
        code = (ROOT / file).read_text().split("#[cfg(test)]")[0]
        for name in re.findall(r'include_(?:str|bytes)!\(\s*(?:concat!\(\s*)?"([^"]+)"', code):
            included = ((ROOT / file).parent / name).resolve().relative_to(ROOT)
            # The modules are compiled in a stage of their own.
            if included.is_relative_to("modules/dist"):
                continue
            if any(included.is_relative_to(part) for part in ignored):
                yield f".dockerignore leaves out {included}, which {file} includes"
            elif not any(included.is_relative_to(source) for source in late):
                yield f"the stage `gateway` does not copy {included}, which {file} includes"


def test_the_image_is_built_from_all_that_is_compiled():
    assert list(missing((ROOT / "Dockerfile").read_text())) == []


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("COPY gateway/crates/onnx/Cargo.toml gateway/crates/onnx/", "does not copy gateway/crates/onnx/Cargo.toml"),
        ("COPY modules/columns modules/columns", "does not copy modules/columns/Cargo.toml"),
        ("COPY modules/templates modules/templates", "does not copy modules/templates"),
    ],
)
def test_a_missing_part_is_named(line, sentence):
    text = (ROOT / "Dockerfile").read_text()
    assert line in text
    assert any(sentence in problem for problem in missing(text.replace(line + "\n", "")))
