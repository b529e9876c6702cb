"""The properties of the image by itself. Each function's first line says what must hold."""

import json
import re
import shutil
import subprocess
import time

from engine import ROOT, WORK, Failed, docker, run, until
from fleet import fetch, script
from verdicts import logs, version_of


def small_and_harmless(image, **_):
    """The image is at most 64 MB, runs as nobody with a read-only root, and has no shell"""
    about = json.loads(docker("image", "inspect", image))[0]
    megabytes = about["Size"] / 1e6
    if megabytes > 64:
        raise Failed(f"{megabytes:.1f} MB: see what grew with `docker history {image}`, and with cargo bloat in the binary")
    if about["Config"]["User"] in ("", "0", "root") or "Healthcheck" not in about["Config"]:
        raise Failed(
            f"user {about['Config']['User']!r}, health check {about['Config'].get('Healthcheck')}: the Dockerfile's last stage needs USER and HEALTHCHECK"
        )
    labels = about["Config"]["Labels"]
    said = docker("run", "--rm", "--read-only", "--network", "none", image, "--version")
    if labels["org.opencontainers.image.version"] not in said:
        raise Failed(f"labelled {labels}, but says {said}: build the binary and the image with the same --build-arg VERSION")
    shell = docker("run", "--rm", "--entrypoint", "/bin/sh", image, "-c", "true", check=False)
    predicted = docker("run", "--rm", "--interactive", "--read-only", "--cap-drop", "ALL", "--network", "none", image, "check", "demo")
    if shell:
        raise Failed("the image has a shell: its last stage is to begin FROM scratch and take only the files that the binary needs")
    if "good" not in predicted:
        raise Failed(f"`modelgate check demo` in a read-only container without network does not end well: {predicted}")
    return f"{megabytes:.1f} MB, {said}"


# Run by the interpreter that has CycloneDX's own library.
VALID = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
sys.exit(str(JsonStrictValidator(SchemaVersion.V1_5).validate_str(sys.stdin.read()) or "") or 0)
"""


def lists_its_parts(image, **_):
    """The image has a bill of materials, which CycloneDX's schema takes and which names every crate that is compiled into it"""
    container = docker("create", image)
    try:
        docker("cp", f"{container}:/usr/share/doc/modelgate/sbom.cdx.json", str(WORK / "sbom.cdx.json"))
    finally:
        docker("rm", container)
    text = (WORK / "sbom.cdx.json").read_text()
    run(str(ROOT / "gateway/tests/setup.sh"), "deploy")
    run(str(ROOT / "target/deploy-venv/bin/python"), "-c", VALID, input=text)
    listed = {(part["name"], part["version"]) for part in json.loads(text)["components"]}
    missing = set()
    for manifest, package, target in (
        ("Cargo.toml", "modelgate", "x86_64-unknown-linux-gnu"), ("modules/Cargo.toml", "predict", "wasm32-unknown-unknown"),
        ("modules/Cargo.toml", "tabular", "wasm32-unknown-unknown"),
    ):
        lines = run(
            "cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--package", package, "--target", target, "--prefix", "none",
            "--no-dedupe", "--format", "{p}", "--manifest-path", str(ROOT / manifest),
        ).splitlines()
        missing |= {(line.split()[0], line.split()[1].removeprefix("v")) for line in lines if line} - listed
    if missing:
        raise Failed(f"the image's bill of materials leaves out {sorted(missing)}: build the image of this checkout, and see deploy/sbom.py")
    return f"{len(listed)} components"


def starts_soon(image, **_):
    """A container with half a core and 256 MiB is ready within a second, and drains on SIGTERM"""
    docker("volume", "create", "modelgate-test-cache")
    times = []
    try:
        # The first finds an empty cache, as a node's first replica does: its modules' code is in the image.
        for _ in range(4):
            container = docker(
                "create", "--read-only", "--cap-drop", "ALL", "--cpus", "0.5", "--memory", "256m", "--publish", "127.0.0.1:18081:8080",
                "--volume", "modelgate-test-cache:/var/cache/modelgate", "--env", "MODELGATE_DRAIN_DELAY=1", image, "serve", "--demo",
            )
            try:
                begun = time.monotonic()
                docker("start", container)
                started = time.monotonic()

                def ready():
                    try:
                        return fetch(18081, "/v2/health/ready", timeout=0.5)
                    except OSError:
                        return None

                until("the container is ready", ready, 10, every=0.005)
                times.append((time.monotonic() - started, time.monotonic() - begun))
                docker("stop", "--time", "20", container)
                state = json.loads(docker("inspect", container))[0]["State"]
                if state["ExitCode"] != 0 or "drained" not in docker("logs", container) + logs(container):
                    raise Failed(f"SIGTERM is to end it with 0 once it has drained; it ended with {state['ExitCode']}: {logs(container)}")
                if '"WARN"' in logs(container):
                    raise Failed(f"a start in its own image is to log no warning; mend what this one names: {logs(container)}")
            finally:
                docker("rm", "--force", container)
    finally:
        docker("volume", "rm", "modelgate-test-cache")
    told = ", ".join(f"{after:.2f} ({whole:.2f})" for after, whole in times)
    if max(after for after, _ in times) > 1:
        raise Failed(f"ready only after {told} s: see the log's time stamps for what takes long, and whether modules are compiled (MODELGATE_PRECOMPILED_MODULES)")
    return f"seconds from the container's start (from asking for it), the first one with an empty cache: {told}"


def publishes(image, **_):
    """deploy/publish.sh pushes the image to a registry, and what it says to deploy comes back from there the same"""
    folder = WORK / "registry"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    config = folder / "config.yml"
    config.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\nhttp: {{addr: 127.0.0.1:18500}}\n")
    identity = docker("image", "inspect", image, "--format", "{{.Id}}")
    with open(folder / "log", "w") as log:
        registry = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    try:
        def answers():
            try:
                return fetch(18500, "/v2/") is not None
            except OSError:
                return False

        until("the registry answers", answers, 20)
        said = script("publish.sh", "127.0.0.1:18500/team/modelgate", image)
        reference = re.search(r"MODELGATE_IMAGE=(\S+)", said)[1]
        if "@sha256:" not in reference:
            raise Failed(f"publish.sh is to name the image by its digest: {said}")
        docker("image", "rm", reference, "127.0.0.1:18500/team/modelgate:" + version_of(image))
        docker("pull", reference)
        if docker("image", "inspect", reference, "--format", "{{.Id}}") != identity:
            raise Failed(f"another image came back as {reference}: see the registry's log in {folder}/log")
        docker("image", "rm", reference)
    finally:
        registry.terminate()
        registry.wait(20)
    return reference
