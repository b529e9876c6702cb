"""The properties that must hold of the stack, each a function whose first line says it. They run in order, on one deployment."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time

import queries
from engine import ROOT, WORK, Failed, docker, run, until
from fleet import (
    EDGE, GATEWAY, ask, edge_sees, fetch, leftovers, memory, scale, scraped, script, settled, tasks, update_state, values,
)
from load import ANSWER, BODY, Load


def unharmed(load):
    """No request failed, and there were enough for that to mean something."""
    if load.failures or load.answered < 500:
        raise Failed(load.summary())
    return load.summary()


def small_and_harmless(image, **_):
    """The image is at most 64 MB, runs as nobody with a read-only root, and has no shell"""
    about = json.loads(docker("image", "inspect", image))[0]
    megabytes = about["Size"] / 1e6
    if megabytes > 64:
        raise Failed(f"{megabytes:.1f} MB")
    if about["Config"]["User"] in ("", "0", "root") or "Healthcheck" not in about["Config"]:
        raise Failed(f"user {about['Config']['User']!r}, health check {about['Config'].get('Healthcheck')}")
    labels = about["Config"]["Labels"]
    said = docker("run", "--rm", "--read-only", "--network", "none", image, "--version")
    if labels["org.opencontainers.image.version"] not in said:
        raise Failed(f"labelled {labels}, but says {said}")
    shell = docker("run", "--rm", "--entrypoint", "/bin/sh", image, "-c", "true", check=False)
    predicted = docker("run", "--rm", "--interactive", "--read-only", "--cap-drop", "ALL", "--network", "none", image, "check", "demo")
    if shell or "good" not in predicted:
        raise Failed(predicted)
    return f"{megabytes:.1f} MB, {said}"


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

                until("ready", ready, 10, every=0.005)
                times.append((time.monotonic() - started, time.monotonic() - begun))
                docker("stop", "--time", "20", container)
                state = json.loads(docker("inspect", container))[0]["State"]
                if state["ExitCode"] != 0 or "drained" not in docker("logs", container) + logs(container):
                    raise Failed(f"it ended with {state['ExitCode']}: {logs(container)}")
                if '"WARN"' in logs(container):
                    raise Failed(f"it is not content with its image: {logs(container)}")
            finally:
                docker("rm", "--force", container)
    finally:
        docker("volume", "rm", "modelgate-test-cache")
    told = ", ".join(f"{after:.2f} ({whole:.2f})" for after, whole in times)
    if max(after for after, _ in times) > 1:
        raise Failed(told)
    return f"seconds from the container's start (from asking for it), the first one with an empty cache: {told}"


def logs(container):
    """The standard error of a container."""
    return subprocess.run(["docker", "logs", container], capture_output=True, text=True).stderr


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
            raise Failed(said)
        docker("image", "rm", reference, "127.0.0.1:18500/team/modelgate:" + version_of(image))
        docker("pull", reference)
        if docker("image", "inspect", reference, "--format", "{{.Id}}") != identity:
            raise Failed(f"another image came back as {reference}")
        docker("image", "rm", reference)
    finally:
        registry.terminate()
        registry.wait(20)
    return reference


def version_of(image):
    return docker("image", "inspect", image, "--format", '{{index .Config.Labels "org.opencontainers.image.version"}}')


def comes_up(variables, **_):
    """deploy/up.sh gives a first answer within 60 seconds, and once more changes nothing"""
    said = script("up.sh", **variables)
    first, whole = re.search(r"(\d+) s: the first answer", said)[1], re.search(r"up after (\d+) s", said)[1]
    answer = fetch(EDGE, "/predict", BODY)
    if int(first) > 60 or json.loads(answer) != ANSWER:
        raise Failed(f"{answer}\n{said}")
    before = tasks()
    script("up.sh", **variables)
    if tasks() != before:
        raise Failed(f"the second time replaced replicas: {before} became {tasks()}")
    status = script("status.sh", **variables)
    if "(200," not in status:
        raise Failed(status)
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
        raise Failed(f"not every replica answered: {shares}")
    return unharmed(load)


def survives_a_kill(**_):
    """SIGKILL of one of 3 replicas under load: no request fails, and it is replaced"""
    scale(3)
    edge_sees(3)
    with Load(EDGE) as load:
        time.sleep(2)
        for _ in range(3):
            victim = docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={GATEWAY}").split()[0]
            docker("kill", "--signal", "KILL", victim)
            until("it is gone", lambda: victim not in docker("ps", "-q"), 30)
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
        if update_state() != "completed":
            raise Failed(update_state())
        settled(len(before))
        time.sleep(2)
    after = tasks()
    # What is not said again stays as it is.
    script("up.sh", **{name: value for name, value in variables.items() if name not in ("MODELGATE_IMAGE", "MODELGATE_REPLICAS")})
    if set(before) & set(after) or tasks() != after or tasks("modelgate_edge") != edges:
        raise Failed(f"{before}, {edges} became {after}, then {tasks()}, {tasks('modelgate_edge')}")
    return unharmed(load)


def rolls_forward(variables, next_, **_):
    """A new image by up.sh replaces every replica under load: no request fails"""
    scale(3)
    edge_sees(3)
    with Load(EDGE) as load:
        time.sleep(2)
        script("up.sh", **{**variables, "MODELGATE_IMAGE": next_})
        if update_state() != "completed":
            raise Failed(update_state())
        settled(3)
        time.sleep(2)
    if set(tasks().values()) != {next_}:
        raise Failed(f"they run {tasks()}")
    return unharmed(load)


def rolls_back(variables, next_, bad, **_):
    """An image that never becomes ready is taken back by itself, and up.sh says so: no request fails"""
    with Load(EDGE) as load:
        time.sleep(2)
        try:
            script("up.sh", **{**variables, "MODELGATE_IMAGE": bad})
            raise Failed("up.sh took it for good")
        except Failed as error:
            if "taken back" not in str(error):
                raise
        if update_state() != "rollback_completed":
            raise Failed(update_state())
        settled(3)
        time.sleep(2)
    if set(tasks().values()) != {next_}:
        raise Failed(f"they run {tasks()}")
    return unharmed(load)


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
    docker(
        "run", "--rm", "--network", "internal_net", "--volume", f"{folder}:/bundle:ro", "--env", "AWS_ENDPOINT_URL=http://minio:9000",
        "--env", "AWS_ACCESS_KEY_ID=test", "--env", "AWS_SECRET_ACCESS_KEY=test", image, "push", "/bundle", "s3://models/bundles",
    )


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
        refused = 'sum(modelgate_releases_total{model="iris_like",outcome="refused"})'
        until("all replicas refused it", lambda: values(refused) and float(values(refused)[0]) >= len(tasks()), 60)
        everywhere(2)
        time.sleep(2)
    until("an alert tells of it", lambda: values('ALERTS{alertname="ModelgateReleaseRefused",alertstate="firing"}'), 30)
    return f"{took:.0f} s from the push to all replicas (looking every 5 s, scraped every 5 s); {unharmed(load)}"


def train(variables, seed):
    """The training step of those who use the registry, in a container of the network. Gives the version, rows and answers."""
    said = docker(
        "run", "--rm", "--interactive", "--network", "internal_net", "--volume", f"{ROOT}/gateway/tests/py/registry.py:/registry.py:ro",
        "--env", "MLFLOW_TRACKING_URI=http://mlflow:5000", "--env", "MLFLOW_S3_ENDPOINT_URL=http://minio:9000",
        "--env", "AWS_ACCESS_KEY_ID=test", "--env", "AWS_SECRET_ACCESS_KEY=test", "--env", "GIT_PYTHON_REFRESH=quiet",
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
        raise Failed(f"deploy/gateway.toml has no {wanted}")
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
        raise Failed("the second version is live, and does not answer as its pipeline")
    held = ask("modelgate_converter_confined")
    told = ", ".join(f"{series['metric']['by']} {series['value'][1]}" for series in held)
    # What comes after has the configuration as it was.
    script("up.sh", **{**variables, "MODELGATE_CONFIG_FILE": ROOT / "deploy/gateway.toml"})
    return f"{took:.0f} s to the first version with the gateway's update, {swapped:.0f} s to the next; {unharmed(load)}; confined by: {told}"


def stays_up_alone(**_):
    """S3 and the registry stop: requests are answered, and a replica that restarts serves what it had"""
    with Load(EDGE, body=IRIS, answer=IRIS_ANSWER) as load:
        docker("service", "scale", "--detach", "modelgate_minio=0", "modelgate_mlflow=0")
        until("they are gone", lambda: not tasks("modelgate_minio") and not tasks("modelgate_mlflow"), 60)
        victim = docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={GATEWAY}").split()[0]
        docker("kill", "--signal", "KILL", victim)
        until("it is gone", lambda: victim not in docker("ps", "-q"), 30)
        settled(3)
        edge_sees(3)
        time.sleep(2)
        docker("service", "scale", "--detach", "modelgate_minio=1", "modelgate_mlflow=1")
        until("they are back", lambda: tasks("modelgate_minio") and tasks("modelgate_mlflow"), 90)
    return unharmed(load)


def is_watched(**_):
    """Prometheus evaluates every rule, no alert pages, and every query of the dashboards is answered"""
    with Load(EDGE, connections=16):
        time.sleep(15)
        groups = json.loads(fetch(19090, "/api/v1/rules"))["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        unwell = [rule["name"] for rule in rules if rule["health"] != "ok"]
        paging = [rule["name"] for rule in rules if rule.get("state") == "firing" and rule["labels"].get("severity") == "page"]
        if unwell or paging or len(rules) < 15:
            raise Failed(f"{len(rules)} rules; not evaluated: {unwell}; firing: {paging}")
        empty = [where for where, query in queries.panels() if not ask(query)]
        replica = docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={GATEWAY}").split()[0]
        asked = len(list(queries.panels()))
    if empty:
        raise Failed(f"panels without data: {empty}")
    return f"{len(rules)} rules, {asked} queries; {memory(replica):.0f} MiB resident in a replica"


def ten_thousand_users(**_):
    """10,000 users, 500 more each second, 1 to 2.5 s between their requests, 6 replicas: no request fails, and none takes over 96 MiB"""
    scale(6)
    edge_sees(6)
    built = run("cargo", "build", "--release", "--locked", "--quiet", "--bench", "connections", "--message-format", "json", timeout=1800)
    bench = next(found for line in built.splitlines() if (found := json.loads(line).get("executable")) and "connections" in found)
    (WORK / "row.json").write_bytes(BODY)
    result = json.loads(run(bench, f"127.0.0.1:{EDGE}", str(WORK / "row.json"), "10000", "60", "1-2.5", "500"))
    replicas = docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={GATEWAY}").split()
    # Since each began, so also while the load was on.
    largest = max(memory(replica, "VmHWM") for replica in replicas)
    told = f"{json.dumps(result)}; at most {largest:.0f} MiB resident in a replica at any time"
    if result["failed"] or largest > 96:
        raise Failed(told)
    return told


def workshop(variables, **_):
    """The workshop's Locust file, unchanged, and ours with 10,000 users, from within the network: no request fails"""
    scale(6)
    edge_sees(6)
    tables = []
    for file, arguments, environment in (
        ("workshop.py", ["--users", "200", "--spawn-rate", "50", "--run-time", "40s", "--only-summary"], []),
        ("locustfile.py", [], ["--env", "MODELGATE_USERS=1000", "--env", "MODELGATE_HOLD_SECONDS=30", "--env", "MODELGATE_VARIANTS=row,list,batch"]),
        ("locustfile.py", ["--processes", "2"], ["--env", "MODELGATE_VARIANTS=row"]),
    ):
        tables.append(docker(
            "run", "--rm", "--network", "internal_net", "--volume", f"{ROOT}/deploy/locust:/mnt/locust:ro", *environment,
            # As the stack's workers have it.
            "--sysctl", "net.ipv4.tcp_tw_reuse=1", "--sysctl", "net.ipv4.ip_local_port_range=1024 65000",
            variables["LOCUST_IMAGE"], "--locustfile", f"/mnt/locust/{file}", "--host", "http://edge:8080", "--headless",
            *arguments, timeout=300,
        ))
    return "\n".join(tables)


def goes_down(**_):
    """deploy/down.sh leaves nothing behind"""
    script("down.sh", "--yes")
    left = leftovers()
    if left:
        raise Failed(f"left: {left}")
    return ""


def composes(image, variables, **_):
    """deploy/compose.yaml on one machine: three replicas answer, Prometheus sees them, and the SIGKILL of one fails no request"""
    command = ["docker", "compose"] if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0 else ["docker-compose"]
    files = [ROOT / "deploy/compose.yaml", ROOT / "deploy/test/compose.yaml"]
    command += ["--project-name", "modelgate", *(part for file in files for part in ("--file", str(file)))]
    env = {
        **variables, "MODELGATE_IMAGE": image, "EDGE_PORT": str(EDGE), "S3_ACCESS_KEY": "test", "S3_SECRET_KEY": "test-secret",
        "GRAFANA_PASSWORD": "test-password",
    }
    replicas = lambda: docker("ps", "-q", "--filter", "label=com.docker.compose.service=gateway").split()
    seen = lambda: json.loads(fetch(9090, "/api/v1/query?query=sum(up{job%3D%22modelgate%22})"))["data"]["result"]
    try:
        # Named one by one: Grafana's image is not had here, and would be pulled even for none of it.
        run(*command, "up", "--detach", "--no-build", "--scale", "gateway=3", "edge", "gateway", "minio", "mlflow", "prometheus", env=env)
        until("it answers", lambda: quietly(lambda: json.loads(fetch(EDGE, "/predict", BODY)) == ANSWER), 60)
        until("Prometheus sees three", lambda: quietly(lambda: seen()[0]["value"][1] == "3"), 60)
        limits = json.loads(docker("inspect", replicas()[0]))[0]["HostConfig"]
        if (limits["NanoCpus"], limits["Memory"]) != (500_000_000, 256 << 20) or not limits["ReadonlyRootfs"]:
            raise Failed(f"a replica has {limits['NanoCpus']} billionths of a core and {limits['Memory']} bytes")
        with Load(EDGE) as load:
            time.sleep(2)
            docker("kill", "--signal", "KILL", replicas()[0])
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
        raise Failed(done.stdout + done.stderr)
    return done.stdout.rsplit("\n", 2)[0].replace("\n", "\n       ")


ALL = [
    small_and_harmless, starts_soon, publishes, comes_up, scales, survives_a_kill, reconfigures, rolls_forward, rolls_back,
    swaps, stays_up_alone, is_watched, goes_down, composes, several_nodes,
]
# Only where they are named: the first builds one more image, the others take both cores for minutes.
FIGURES = [training, ten_thousand_users, workshop]
