"""The deployed stack, as its operator sees it."""

import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request

from engine import ROOT, WORK, Failed, docker, run, until

EDGE, PROMETHEUS = 18080, 19090
GATEWAY = "modelgate_gateway"


# The keys and passwords of the stack under test: deploy/secrets.sh makes them up for each run.
SECRETS = WORK / "secrets"
STORE = "http://s3:9000"


def keys():
    """Makes up all keys and passwords, unless a stack that an earlier run kept has them. Gives their folder."""
    if not docker("secret", "ls", "--quiet", "--filter", "name=modelgate_s3_identities", check=False):
        shutil.rmtree(SECRETS, ignore_errors=True)
    run(str(ROOT / "deploy/secrets.sh"), str(SECRETS))
    return str(SECRETS)


def secret(name):
    return (SECRETS / name).read_text()


def signed_as(role):
    """Options of `docker run` for a container that uses the store in this role."""
    variables = {
        "AWS_ENDPOINT_URL": STORE, "MLFLOW_S3_ENDPOINT_URL": STORE, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": secret(f"s3_{role}_access_key"), "AWS_SECRET_ACCESS_KEY": secret(f"s3_{role}_secret_key"),
    }
    return ["--network", "store_net", *(part for name, value in variables.items() for part in ("--env", f"{name}={value}"))]


def fetch(port, path, body=None, timeout=5):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.read().decode()


def script(name, *arguments, **variables):
    """One of deploy/*.sh. Gives what it said."""
    done = subprocess.run(
        [str(ROOT / "deploy" / name), *arguments], capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL,
        env={**os.environ, "EDGE_PORT": str(EDGE), **{key: str(value) for key, value in variables.items()}},
    )
    if done.returncode != 0:
        raise Failed(f"deploy/{name} ended with {done.returncode}; its last line says why:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def tasks(service=GATEWAY):
    """The running tasks: name of the container, image, id of the task."""
    lines = docker("service", "ps", service, "--no-trunc", "--filter", "desired-state=running", "--format", "{{.Name}}.{{.ID}} {{.Image}} {{.CurrentState}}")
    found = [line.split(" ", 2) for line in lines.splitlines()]
    return {name: image for name, image, state in found if state.startswith("Running")}


def replicas():
    """The containers of the gateway's replicas on this node."""
    return docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={GATEWAY}").split()


def update_state():
    return docker("service", "inspect", GATEWAY, "--format", "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}")


def scale(wanted, seconds=90):
    """Waits until just so many run, and no more containers than that are left."""
    docker("service", "scale", "--detach", f"{GATEWAY}={wanted}")
    settled(wanted, seconds)


def settled(wanted, seconds=90):
    """Waits until just so many run, and no more containers than that are left."""

    def so():
        return len(tasks()) == wanted == len(replicas())

    until(f"{wanted} replicas run", so, seconds)


def edge_sees(replicas, seconds=30):
    """Waits until the edge sends requests to so many."""
    query = 'haproxy_backend_active_servers{proxy="gateway"}'
    until(f"the edge sees {replicas} replicas", lambda: [float(value) for value in values(query)] == [replicas], seconds)


def ask(query):
    """Prometheus' answer to a query: a list of series."""
    answer = json.loads(fetch(PROMETHEUS, "/api/v1/query?" + urllib.parse.urlencode({"query": query})))
    if answer["status"] != "success":
        raise Failed(f"Prometheus does not take the query {query}: {answer}")
    return answer["data"]["result"]


def values(query):
    try:
        return [series["value"][1] for series in ask(query)]
    except OSError:
        return []


def scraped(replicas, seconds=30):
    """Waits until Prometheus reaches just so many replicas."""
    until(f"Prometheus reaches {replicas} replicas", lambda: values('count(up{job="modelgate"} == 1)') == [str(replicas)], seconds)


def leftovers():
    """The parts of the stack that are still in the engine."""
    left = []
    for kind in (["ps", "-a"], ["network", "ls"], ["volume", "ls"]):
        left += docker(*kind, "-q", "--filter", "label=com.docker.stack.namespace=modelgate").split()
    if docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "active":
        for kind in ("service", "config", "secret"):
            left += [line for line in docker(kind, "ls", "--format", "{{.Name}}").splitlines() if line.startswith("modelgate_")]
    return left


def memory(container, what="VmRSS"):
    """Resident memory of a container's process, in MiB: now, or the most it ever had (`VmHWM`)."""
    pid = docker("inspect", "--format", "{{.State.Pid}}", container)
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(what)) / 1024
