"""A Docker engine to test on: the one that runs, or one of our own that is ended with the test."""

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target/deploy-test"
# Of this checkout's engines. Short: the path of a socket has at most 107 bytes, wherever the checkout is.
SOCKETS = Path("/run/modelgate-test") / hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]

# What a Debian machine needs to have an engine and to make base images where no registry answers.
PACKAGES = {
    "dockerd": "docker.io", "docker": "docker.io", "debootstrap": "debootstrap", "iptables": "iptables",
    "ip": "iproute2", "curl": "curl", "promtool": "prometheus", "haproxy": "haproxy",
    "docker-registry": "docker-registry", "docker-compose": "docker-compose", "systemd-analyze": "systemd",
}


class Failed(Exception):
    """A check that did not hold; the message is for the reader of the run."""


def say(text):
    print(text, flush=True)


def run(*command, input=None, check=True, timeout=600, env=None):
    """The command's output; its errors come with the exception."""
    done = subprocess.run(
        command, input=input, capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})}
    )
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))[:300]}\n  exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def docker(*arguments, **options):
    return run("docker", *arguments, **options)


def until(what, condition, seconds=60, every=0.2):
    """Polls until the condition holds, and gives what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not so after {seconds} s; run it again with --keep, and see `docker service ps --no-trunc` and `docker service logs`")
        time.sleep(every)


def install():
    """Debian packages for whatever is missing. Their services are not started."""
    missing = sorted({package for command, package in PACKAGES.items() if not shutil.which(command)})
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Failed(f"install these Debian packages, then try again: {' '.join(missing)}")
    say(f"installing the Debian packages {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    run("apt-get", "update", "-q", env=quiet)
    run("apt-get", "install", "-y", "-q", "--no-install-recommends", *missing, env=quiet)


def answers():
    return subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def is_ours():
    """Whether this is an engine that the test started, with the settings below."""
    return os.environ.get("DOCKER_HOST") == f"unix://{SOCKETS}/docker.sock"


def unused():
    """The test deploys under the names that users deploy under, and removes all of it in the end: never what is not its own."""
    for label in ("com.docker.stack.namespace=modelgate", "com.docker.compose.project=modelgate"):
        for kind in ("container", "volume", "network"):
            if docker(kind, "ls", "--quiet", "--filter", f"label={label}", *(["--all"] if kind == "container" else [])):
                raise Failed(f"this engine has a {kind} with the label {label}: the test would end and remove it; use another engine (DOCKER_HOST)")


class Engine:
    """Use with `with`: an engine answers inside."""

    def __init__(self, keep=False):
        self.keep = keep
        self.process = None
        self.before = None

    def __enter__(self):
        install()
        if answers() and not is_ours():
            say("using the Docker engine that runs")
            unused()
            return self
        if os.geteuid() != 0:
            raise Failed("no Docker engine answers; start one, or run this as root, which starts one of its own")
        home = WORK / "engine"
        home.mkdir(parents=True, exist_ok=True)
        SOCKETS.mkdir(parents=True, exist_ok=True)
        os.environ["DOCKER_HOST"] = f"unix://{SOCKETS}/docker.sock"
        if answers():
            say("using the engine that an earlier run kept")
            return self
        (home / "pid").unlink(missing_ok=True)
        log = open(home / "log", "w")
        self.before = Network()
        self.process = subprocess.Popen(
            [
                "dockerd", f"--data-root={home}/data", f"--exec-root={SOCKETS}/run", f"--pidfile={home}/pid",
                f"--host={os.environ['DOCKER_HOST']}",
                # Published ports without a process that copies every byte.
                "--userland-proxy=false",
                # As deploy/README.md says that an engine for the stack should have it.
                "--no-new-privileges",
            ],
            stdout=log, stderr=log, start_new_session=True,
        )

        def up():
            if self.process.poll() is not None:
                raise Failed(f"dockerd ended: see {home}/log\n{(home / 'log').read_text()[-1000:]}")
            return answers()

        until("the engine answers", up)
        say(f"started an engine of our own: {docker('version', '--format', '{{.Server.Version}}')}")
        return self

    def __exit__(self, *_):
        if self.process is None or self.keep:
            return
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.before.restore()
        say("ended our engine")


class Network:
    """Traces that an engine leaves behind when it ends: rules of the firewall, bridges, forwarding. Taken before, put back after."""

    FAMILIES = ("iptables", "ip6tables")
    FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")

    def __init__(self):
        # Without the counters, and with an empty table for each that has no rules yet: else what is there stays.
        self.rules = {family: self.saved(family) for family in self.FAMILIES if shutil.which(f"{family}-save")}
        self.links = self.bridges()
        self.forwarding = self.FORWARDING.read_text()

    @staticmethod
    def saved(family):
        empty = {
            "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
            "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
            "filter": ("INPUT", "FORWARD", "OUTPUT"),
        }
        saved = subprocess.run([f"{family}-save"], capture_output=True, text=True).stdout
        for table, chains in empty.items():
            if f"*{table}\n" not in saved:
                saved += "\n".join([f"*{table}", *(f":{chain} ACCEPT [0:0]" for chain in chains), "COMMIT", ""])
        return saved

    @staticmethod
    def bridges():
        found = run("ip", "-o", "link", "show", "type", "bridge", check=False).splitlines()
        return {line.split(":")[1].strip().split("@")[0] for line in found}

    def restore(self):
        for family, rules in self.rules.items():
            run(f"{family}-restore", input=rules, check=False)
        for link in sorted(self.bridges() - self.links):
            run("ip", "link", "delete", link, check=False)
        self.FORWARDING.write_text(self.forwarding)
