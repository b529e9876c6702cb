"""The properties of models that come and go, and of an update from version 0.1. Each function's first line says what must hold."""

import hashlib
import json
import re
import shutil
import time

from engine import ROOT, WORK, Failed, docker, until
from fleet import EDGE, ask, edge_sees, fetch, replicas, scale, script, settled, signed_as, tasks, values
from load import Load
from stack_scenarios import quietly
from verdicts import logs, unharmed, updated


IRIS = json.dumps({"sepal_length": 6.1, "sepal_width": 2.9, "petal_length": 4.7, "petal_width": 1.4, "model": "iris_like"}).encode()


IRIS_ANSWER = {"prediction": "versicolor"}


def push(image, version, break_it=False):
    """Puts a version of a small bundle into the bucket, from within the network, as its users would."""
    folder = WORK / "iris"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "gateway/tests/data/bundles/iris_like", folder)
    manifest = (folder / "bundle.toml").read_text().replace('version = "1"', f'version = "{version}"')
    if break_it:
        # Golden examples that the model does not answer so.
        golden = (folder / "golden.json").read_text().replace("versicolor", "setosa")
        (folder / "golden.json").write_text(golden)
        head, tail = manifest.split("[golden]")
        digest = hashlib.sha256(golden.encode()).hexdigest()
        manifest = head + "[golden]" + re.sub('sha256 = ".*"', f'sha256 = "{digest}"', tail)
    (folder / "bundle.toml").write_text(manifest)
    docker("run", "--rm", *signed_as("publisher"), "--volume", f"{folder}:/bundle:ro", image, "push", "/bundle", "s3://models/bundles")


def everywhere(version, seconds=60):
    """Waits until so many replicas as there are answer with this version, and Prometheus says so."""
    live = f'count(modelgate_generation_info{{model="iris_like",version="{version}"}})'
    until(f"version {version} is live on all replicas", lambda: values(live) == [str(len(tasks()))], seconds)


def swaps(image, **_):
    """A bundle pushed to S3 is live on all replicas, a newer one replaces it under load, and a bad one is refused: no request fails"""
    push(image, 1)
    everywhere(1)
    with Load(EDGE, body=IRIS, answer=IRIS_ANSWER) as load:
        time.sleep(2)
        begun = time.monotonic()
        push(image, 2)
        everywhere(2)
        took = time.monotonic() - begun
        push(image, 3, break_it=True)
        refused = 'sum(modelgate_releases_total{model="iris_like",outcome="rejected"})'
        until("all replicas refused it", lambda: values(refused) and float(values(refused)[0]) >= len(tasks()), 60)
        everywhere(2)
        time.sleep(2)
    until("an alert tells of it", lambda: values('ALERTS{alertname="ModelgateReleaseRefused",alertstate="firing"}'), 30)
    return f"{took:.0f} s from the push to all replicas (looking every 5 s, scraped every 5 s); {unharmed(load)}"


def train(variables, seed):
    """The training step of those who use the registry, in a container of the network. Gives the version, rows and answers."""
    said = docker(
        "run", "--rm", "--interactive", *signed_as("publisher"), "--volume", f"{ROOT}/gateway/tests/py/registry.py:/registry.py:ro",
        "--env", "MLFLOW_TRACKING_URI=http://mlflow:5000", "--env", "GIT_PYTHON_REFRESH=quiet",
        "--entrypoint", "/bin/sh", variables["MLFLOW_IMAGE"], "-c",
        f"echo 'search modelo_covertype_vf --seed {seed} --stage Production --experiment e' | python3 /registry.py"
        " | sed -n 's/^= //p' | { read -r version file; echo $version; cat $file; }",
        timeout=300,
    )
    version, known = said.split("\n", 1)
    return version, json.loads(known)


def training(variables, **_):
    """A version that the training step registers is served with nothing run between, and the next day's version replaces it: no request fails"""
    changed = WORK / "training.toml"
    text = (ROOT / "deploy/gateway.toml").read_text()
    wanted = 'source = ["s3://models/bundles"'
    if wanted not in text:
        raise Failed(f"deploy/gateway.toml has no {wanted}: change `wanted` here to the line that names its sources")
    changed.write_text(text.replace(wanted, wanted + ', "models:/modelo_covertype_vf/production"'))
    version, first = train(variables, 1)
    begun = time.monotonic()
    script("up.sh", **{**variables, "MODELGATE_CONFIG_FILE": changed})

    def row(known):
        return json.dumps({**known["rows"][0], "model": "modelo_covertype_vf"}).encode()

    def right(known):
        rows = [{**row, "model": "modelo_covertype_vf"} for row in known["rows"][:50]]
        return all(
            json.loads(fetch(EDGE, "/predict", json.dumps(row).encode())) == {"prediction": said}
            for row, said in zip(rows, known["said"])
        )

    until("the first version answers", lambda: quietly(lambda: right(first)), 120, every=1)
    took = time.monotonic() - begun
    with Load(EDGE, body=row(first), answer=None) as load:
        version, second = train(variables, 2)
        begun = time.monotonic()
        live = f'count(modelgate_generation_info{{model="modelo_covertype_vf",version="{version}"}})'
        until(f"version {version} is live on all replicas", lambda: values(live) == [str(len(tasks()))], 120)
        swapped = time.monotonic() - begun
        time.sleep(2)
    if not right(second):
        raise Failed(
            "the second version is live, and does not answer as its pipeline: compare its bundle below modelgate/converted with "
            "`modelgate-export models:/modelo_covertype_vf/production`"
        )
    held = ask("modelgate_converter_confined")
    told = ", ".join(f"{series['metric']['by']} {series['value'][1]}" for series in held)
    # What comes after has the configuration as it was.
    script("up.sh", **{**variables, "MODELGATE_CONFIG_FILE": ROOT / "deploy/gateway.toml"})
    return f"{took:.0f} s to the first version with the gateway's update, {swapped:.0f} s to the next; {unharmed(load)}; confined by: {told}"


def upgrade(variables, image, old, **_):
    """Replicas of version 0.1 are updated to this one and back under load with their cache, state and configuration: no request fails, nothing is forgotten"""
    # As 0.1 shipped it: this release reads it too, under whatever names its settings have now.
    kept = {**variables, "MODELGATE_CONFIG_FILE": ROOT / "deploy/test/gateway-0.1.toml"}
    script("up.sh", **{**kept, "MODELGATE_IMAGE": old})
    scale(3)
    edge_sees(3)
    push(old, 11)
    everywhere(11)
    push(old, 12)
    everywhere(12)
    # A state that only the cache's volume knows: the source still offers 12.
    for replica in replicas():
        docker("exec", replica, "/usr/local/bin/modelgate", "rollback", "iris_like")
    everywhere(11)
    told = []
    for name, to in (("to this release", image), ("back", old)):
        with Load(EDGE, connections=24) as load, Load(EDGE, connections=24, body=IRIS, answer=IRIS_ANSWER) as rolled_back:
            time.sleep(2)
            script("up.sh", **{**kept, "MODELGATE_IMAGE": to})
            settled(3)
            updated(to)
            time.sleep(2)
        everywhere(11)
        if set(rolled_back.versions) != {"11"}:
            raise Failed(
                f"{name}: a replica forgot that version 12 was rolled back to 11 (compare what both releases keep in `sources` of the "
                f"cache's volume); answers by version: {dict(rolled_back.versions)}"
            )
        complaints = [line for replica in replicas() for line in logs(replica).splitlines() if '"ERROR"' in line or '"WARN"' in line]
        told.append(f"{name}: {unharmed(load)}; of the version rolled back to: {unharmed(rolled_back)}")
        if complaints:
            told.append(f"    its replicas log {len(complaints)} warnings and errors, the first one: {complaints[0][:300]}")
    # The state of both serves a start without the source.
    docker("service", "scale", "--detach", "modelgate_s3=0")
    until("S3 is gone", lambda: not tasks("modelgate_s3"), 60)
    victim = replicas()[0]
    docker("kill", "--signal", "KILL", victim)
    until("the killed replica is gone", lambda: victim not in replicas(), 30)
    settled(3)
    edge_sees(3)
    everywhere(11)
    docker("service", "scale", "--detach", "modelgate_s3=1")
    until("S3 is back", lambda: tasks("modelgate_s3"), 90)
    return "\n       ".join([*told, "a replica of 0.1 that starts without S3 afterwards serves the same"])


def stays_up_alone(**_):
    """S3 and the registry stop: requests are answered, and a replica that restarts serves what it had"""
    with Load(EDGE, body=IRIS, answer=IRIS_ANSWER) as load:
        docker("service", "scale", "--detach", "modelgate_s3=0", "modelgate_mlflow=0")
        until("S3 and the registry are gone", lambda: not tasks("modelgate_s3") and not tasks("modelgate_mlflow"), 60)
        victim = replicas()[0]
        docker("kill", "--signal", "KILL", victim)
        until("the killed replica is gone", lambda: victim not in docker("ps", "-q"), 30)
        settled(3)
        edge_sees(3)
        time.sleep(2)
        docker("service", "scale", "--detach", "modelgate_s3=1", "modelgate_mlflow=1")
        until("S3 and the registry are back", lambda: tasks("modelgate_s3") and tasks("modelgate_mlflow"), 90)
    return unharmed(load)
