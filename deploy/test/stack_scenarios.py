"""The properties of the deployment: it comes up, scales, survives, rolls forward and back, and goes. Each function's first line says what must hold."""

import json
import re
import subprocess
import sys
import time

from engine import ROOT, WORK, Failed, docker, run, until
from fleet import EDGE, ask, edge_sees, fetch, leftovers, replicas, scale, scraped, script, settled, tasks, update_state, values
from load import ANSWER, BODY, Load
from verdicts import unharmed, updated


def comes_up(variables, **_):
    """deploy/up.sh gives a first answer within 60 seconds, and once more changes nothing"""
    said = script("up.sh", **variables)
    first, whole = re.search(r"(\d+) s: the first answer", said)[1], re.search(r"up after (\d+) s", said)[1]
    answer = fetch(EDGE, "/predict", BODY)
    if int(first) > 60 or json.loads(answer) != ANSWER:
        raise Failed(f"{ANSWER} within 60 s is wanted, {answer} came after {first} s; see what up.sh waited for:\n{said}")
    before = tasks()
    script("up.sh", **variables)
    if tasks() != before:
        raise Failed(f"the second up.sh replaced replicas, so something in stack.yaml differs from one run to the next: {before} became {tasks()}")
    status = script("status.sh", **variables)
    if "(200," not in status:
        raise Failed(f"status.sh gets no 200 from the edge: {status}")
    return f"the first answer after {first} s, everything after {whole} s"


def scales(**_):
    """1 → 6 → 2 replicas under load: no request fails, and Prometheus and the edge see all of them"""
    scale(1)
    edge_sees(1)
    with Load(EDGE) as load:
        time.sleep(2)
        scale(6)
        edge_sees(6)
        scraped(6)
        time.sleep(5)
        shares = [float(value) for value in values('increase(modelgate_requests_total{outcome="success"}[10s])')]
        scale(2)
        edge_sees(2)
        time.sleep(2)
    scraped(2)
    if sum(share > 0 for share in shares) != 6:
        raise Failed(f"not every replica answered, so the edge or the DNS name leaves some out; requests of each in 10 s: {shares}")
    return unharmed(load)


def survives_a_kill(**_):
    """SIGKILL of one of 3 replicas under load: no request fails, and it is replaced"""
    scale(3)
    edge_sees(3)
    with Load(EDGE) as load:
        time.sleep(2)
        for _ in range(3):
            victim = replicas()[0]
            docker("kill", "--signal", "KILL", victim)
            until("the killed replica is gone", lambda: victim not in docker("ps", "-q"), 30)
            settled(3)
            edge_sees(3)
        time.sleep(2)
    retries = values('sum(haproxy_backend_retry_warnings_total{proxy="gateway"})')
    return f"{unharmed(load)}; the edge asked again {retries[0] if retries else '?'} times"


def reconfigures(variables, **_):
    """A change of gateway.toml replaces every replica and nothing else, and is kept: no request fails"""
    edges = tasks("modelgate_edge")
    before = tasks()
    changed = WORK / "gateway.toml"
    changed.write_text((ROOT / "deploy/gateway.toml").read_text().replace('max_body = "16MiB"', 'max_body = "8MiB"'))
    with Load(EDGE) as load:
        time.sleep(2)
        script("up.sh", **{**variables, "MODELGATE_CONFIG_FILE": changed})
        updated()
        settled(len(before))
        time.sleep(2)
    after = tasks()
    # What is not said again stays as it is.
    script("up.sh", **{name: value for name, value in variables.items() if name not in ("MODELGATE_IMAGE", "MODELGATE_REPLICAS")})
    if set(before) & set(after) or tasks() != after or tasks("modelgate_edge") != edges:
        raise Failed(
            "a new configuration is to replace every replica once and nothing else, and up.sh without it to keep it: "
            f"{before}, {edges} became {after}, then {tasks()}, {tasks('modelgate_edge')}"
        )
    return unharmed(load)


def rolls_forward(variables, next_, **_):
    """A new image by up.sh replaces every replica under load: no request fails"""
    scale(3)
    edge_sees(3)
    with Load(EDGE) as load:
        time.sleep(2)
        script("up.sh", **{**variables, "MODELGATE_IMAGE": next_})
        settled(3)
        updated(next_)
        time.sleep(2)
    return unharmed(load)


def rolls_back(variables, next_, bad, **_):
    """An image that never becomes ready is taken back by itself, and up.sh says so: no request fails"""
    with Load(EDGE) as load:
        time.sleep(2)
        try:
            script("up.sh", **{**variables, "MODELGATE_IMAGE": bad})
            raise Failed("up.sh took an image for good whose replicas never become ready: see the healthcheck and failure_action in stack.yaml")
        except Failed as error:
            if "taken back" not in str(error):
                raise
        if update_state() != "rollback_completed":
            raise Failed(f"the update is {update_state() or 'none'}, not rollback_completed: see failure_action and monitor in stack.yaml")
        settled(3)
        time.sleep(2)
    if set(tasks().values()) != {next_}:
        raise Failed(f"the release before, {next_}, is to run again on all replicas: {tasks()}")
    return unharmed(load)


def goes_down(**_):
    """deploy/down.sh leaves nothing behind"""
    script("down.sh", "--yes")
    left = leftovers()
    if left:
        raise Failed(f"down.sh left {left}: remove it there, by its label")
    return ""


def composes(image, variables, **_):
    """deploy/compose.yaml on one machine: three replicas answer, Prometheus sees them, and the SIGKILL of one fails no request"""
    command = ["docker", "compose"] if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0 else ["docker-compose"]
    command += ["--project-name", "modelgate", "--file", str(ROOT / "deploy/compose.yaml")]
    env = {
        **variables, "MODELGATE_IMAGE": image, "EDGE_PORT": str(EDGE),
    }
    ours = lambda: docker("ps", "-q", "--filter", "label=com.docker.compose.service=gateway").split()
    seen = lambda: json.loads(fetch(9090, "/api/v1/query?query=sum(up{job%3D%22modelgate%22})"))["data"]["result"]
    try:
        # Named one by one: Grafana's image is not had here, and would be pulled even for none of it.
        run(*command, "up", "--detach", "--no-build", "--scale", "gateway=3", "edge", "gateway", "s3", "mlflow", "prometheus", env=env)
        until("the edge answers", lambda: quietly(lambda: json.loads(fetch(EDGE, "/predict", BODY)) == ANSWER), 60)
        until("Prometheus sees three", lambda: quietly(lambda: seen()[0]["value"][1] == "3"), 60)
        limits = json.loads(docker("inspect", ours()[0]))[0]["HostConfig"]
        if (limits["NanoCpus"], limits["Memory"]) != (500_000_000, 256 << 20) or not limits["ReadonlyRootfs"]:
            raise Failed(
                "a replica is to have half a core, 256 MiB and a read-only root (deploy/compose.yaml); it has "
                f"{limits['NanoCpus']} billionths of a core, {limits['Memory']} bytes, read-only {limits['ReadonlyRootfs']}"
            )
        with Load(EDGE) as load:
            time.sleep(2)
            docker("kill", "--signal", "KILL", ours()[0])
            time.sleep(6)
        return unharmed(load)
    finally:
        run(*command, "down", "--volumes", env=env, check=False)


def quietly(ask):
    """Whether it is so; what cannot be asked yet is not."""
    try:
        return ask()
    except (OSError, ValueError, LookupError):
        return False


def several_nodes(image, variables, **_):
    """A Swarm of three engines survives the drain and the loss of a node, and takes it back"""
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy/test/nodes.py"), image, variables["HAPROXY_IMAGE"]], capture_output=True, text=True, timeout=1200
    )
    if done.returncode != 0:
        raise Failed(f"see the lines that begin with FAIL, and the engines' logs below them:\n{done.stdout}{done.stderr}")
    return done.stdout.rsplit("\n", 2)[0].replace("\n", "\n       ")
