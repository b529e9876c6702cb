"""Writes the software bill of materials of the image, CycloneDX 1.5 in JSON: every crate that is compiled into the binary or
into the modules that come with it, with its version, licence, checksum and dependencies.

    python3 deploy/sbom.py [--version VERSION] [--debian PACKAGE]... OUT.json

`make sbom` runs it; so does the Dockerfile, which also names the Debian packages whose files it copies. `cargo metadata` and
`cargo tree` are its sources, so the list is that of the build. Python's standard library is enough, and nothing has to be
compiled for it.
"""

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
# Workspaces, and those of their packages that go into the image, with the platform that they are compiled for.
HOST = f"{platform.machine()}-unknown-linux-gnu"
SHIPPED = (
    ("Cargo.toml", "Cargo.lock", ("modelgate",), HOST),
    ("modules/Cargo.toml", "modules/Cargo.lock", ("predict", "tabular"), "wasm32-unknown-unknown"),
)


def cargo(command, *arguments):
    return subprocess.run(["cargo", command, "--locked", *arguments], check=True, capture_output=True, text=True).stdout


class Graph:
    """The packages of one workspace as they are compiled for one platform."""

    def __init__(self, manifest, lock, target):
        self.manifest, self.target = ROOT / manifest, target
        told = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", target, "--manifest-path", self.manifest))
        self.packages = {package["id"]: package for package in told["packages"]}
        # Dependencies for tests and for build scripts are not part of what is shipped.
        self.needs = {
            node["id"]: [dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
            for node in told["resolve"]["nodes"]
        }
        locked = tomllib.loads((ROOT / lock).read_text())["package"]
        self.checksums = {(one["name"], one["version"]): one["checksum"] for one in locked if "checksum" in one}

    def runs_in_compiler(self, package):
        """Whether it is a macro: its code is in the compiler and not in the product."""
        return any("proc-macro" in target["kind"] for target in self.packages[package]["targets"])

    def compiled(self, name):
        """Names and versions of the packages in a build of this one alone. The graph is of all of the workspace, where tests
        turn features on that the product has not."""
        lines = cargo(
            "tree", "--edges", "normal", "--package", name, "--target", self.target, "--prefix", "none", "--no-dedupe",
            "--format", "{p}", "--manifest-path", self.manifest,
        ).splitlines()
        return {(line.split()[0], line.split()[1].removeprefix("v")) for line in lines if line}

    def reached(self, name):
        """The packages that are compiled into this one, itself included."""
        compiled = self.compiled(name)
        (start,) = [id for id, package in self.packages.items() if package["name"] == name and package["source"] is None]
        found, open_ = set(), [start]
        while open_:
            package = open_.pop()
            known = self.packages[package]
            if package not in found and not self.runs_in_compiler(package) and (known["name"], known["version"]) in compiled:
                found.add(package)
                open_ += self.needs[package]
        return start, found


def purl(package):
    return f"pkg:cargo/{quote(package['name'])}@{quote(package['version'])}"


def component(package, checksum):
    """A crate as a component."""
    told = {"type": "library", "bom-ref": purl(package), "name": package["name"], "version": package["version"], "purl": purl(package)}
    if package["license"]:
        # Cargo's older form for a choice is a slash.
        told["licenses"] = [{"expression": package["license"].replace("/", " OR ").replace("  ", " ")}]
    if checksum:
        told["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        told["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return told


def debian(name):
    """A Debian package of this system as a component."""
    version, architecture = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Version} ${Architecture}", name], check=True, capture_output=True, text=True
    ).stdout.split(" ")
    address = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}"
    return {"type": "library", "bom-ref": address, "name": name, "version": version, "purl": address}


def bill(version, debian_packages):
    components, dependencies, tops = {}, {}, []
    for manifest, lock, names, target in SHIPPED:
        graph = Graph(manifest, lock, target)
        for name in names:
            start, found = graph.reached(name)
            tops.append(purl(graph.packages[start]))
            for id in found:
                package = graph.packages[id]
                components[purl(package)] = component(package, graph.checksums.get((package["name"], package["version"])))
                # One version of a crate may be in both workspaces, with other features and so other dependencies.
                needs = {purl(graph.packages[need]) for need in graph.needs[id] if need in found}
                dependencies.setdefault(purl(package), set()).update(needs)
    for name in debian_packages:
        one = debian(name)
        components[one["bom-ref"]] = one
        dependencies[one["bom-ref"]] = set()
        tops.append(one["bom-ref"])
    product = {"type": "container", "bom-ref": "modelgate", "name": "modelgate", "licenses": [{"expression": "Apache-2.0"}]}
    if version:
        product["version"] = version
    listed = [components[key] for key in sorted(components)]
    edges = [{"ref": "modelgate", "dependsOn": sorted(tops)}, *({"ref": key, "dependsOn": sorted(dependencies[key])} for key in sorted(dependencies))]
    # Of the contents, so that equal builds have equal bills.
    serial = uuid.UUID(bytes=hashlib.sha256(json.dumps([product, listed, edges]).encode()).digest()[:16], version=4)
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{serial}", "version": 1,
        "metadata": {"component": product}, "components": listed, "dependencies": edges,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", default="")
    parser.add_argument("--debian", action="append", default=[], metavar="PACKAGE")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    try:
        told = bill(options.version, options.debian)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {' '.join(map(str, error.cmd))}\n{error.stderr}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(told, separators=(",", ":")) + "\n")
    print(f"{options.out}: {len(told['components'])} components", file=sys.stderr)


if __name__ == "__main__":
    main()
