"""The properties that must hold of the stack, each a function whose first line says it. They run in order, on one deployment."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time

import queries
from engine import ROOT, WORK, Failed, docker, is_ours, run, until
from fleet import (
    EDGE, GATEWAY, SECRETS, ask, edge_sees, fetch, leftovers, memory, replicas, scale, scraped, script, settled, signed_as, tasks,
    update_state, values,
)
from load import ANSWER, BODY, Load


def unharmed(load):
    """No request failed, and there were enough for that to mean something."""
    if load.failures:
        raise Failed(f"requests failed; see what the edge and the replicas logged at that time (`docker service logs`, with --keep): {load.summary()}")
    if load.answered < 500:
        raise Failed(f"too few requests for a verdict: the machine is too slow or too busy, run this alone: {load.summary()}")
    return load.summary()


def updated(image=None):
    """The last rolling update of the gateway came to its end, and all replicas run this image."""
    if update_state() != "completed":
        raise Failed(f"the update is {update_state() or 'none'}, not completed: see why the new replicas did not stay (`docker service ps --no-trunc {GATEWAY}`)")
    if image and set(tasks().values()) != {image}:
        raise Failed(f"the update is completed, but not all replicas run {image}: see the image of each in {tasks()}")


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


def version_of(image):
    return docker("image", "inspect", image, "--format", '{{index .Config.Labels "org.opencontainers.image.version"}}')


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


# Each line of what `keys_are_least` asks: the call, and what it is to end with.
OPERATIONS = """
import json, sys, boto3, botocore
s3 = boto3.client("s3", config=botocore.config.Config(retries={"max_attempts": 1}))
def attempt(call):
    try:
        call()
        return "allowed"
    except botocore.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        return "denied" if code in ("AccessDenied", "403", "Forbidden") else "allowed" if code in ("NoSuchKey", "404") else code
said = {}
for bucket in ("models", "others"):
    said[f"list {bucket}"] = attempt(lambda: s3.list_objects_v2(Bucket=bucket))
for key in ("models/bundles/x", "models/mlflow/x", "models/modelgate/converted/x", "others/x"):
    bucket, name = key.split("/", 1)
    said[f"read {key}"] = attempt(lambda: s3.get_object(Bucket=bucket, Key=name))
    said[f"write {key}"] = attempt(lambda: s3.put_object(Bucket=bucket, Key=name, Body=b"x"))
    said[f"delete {key}"] = attempt(lambda: s3.delete_object(Bucket=bucket, Key=name))
said["make a bucket"] = attempt(lambda: s3.create_bucket(Bucket="mine"))
print(json.dumps(said))
"""
BUNDLES, RUNS, CONVERTED = "models/bundles/x", "models/mlflow/x", "models/modelgate/converted/x"
ALLOWED = {
    "gateway": {"list models", *(f"read {key}" for key in (BUNDLES, RUNS, CONVERTED))},
    "mlflow": {"list models", *(f"{what} {RUNS}" for what in ("read", "write", "delete"))},
    "converter": {"list models", f"read {RUNS}", *(f"{what} {CONVERTED}" for what in ("read", "write", "delete"))},
    "publisher": {
        "list models", *(f"read {key}" for key in (BUNDLES, RUNS, CONVERTED)),
        *(f"{what} {key}" for key in (BUNDLES, RUNS) for what in ("write", "delete")),
    },
}


# An identity that may do everything, offered to the store's gRPC port without the key that this port asks for.
INTRUDER = """
import sys, grpc
field = lambda number, value: bytes([number << 3 | 2, len(value)]) + value
keys = field(1, b"intruder") + field(2, b"intruders-secret")
offered = field(1, field(1, b"intruder") + field(2, keys) + field(3, b"Admin"))
call = grpc.insecure_channel("s3:19000").unary_unary("/messaging_pb.SeaweedS3IamCache/PutIdentity")
try:
    call(offered, timeout=20)
    print("ACCEPTED")
except grpc.RpcError as error:
    print(error.code().name)
"""


def the_store():
    """The container of the store."""
    return docker("ps", "-q", "--filter", "label=com.docker.swarm.service.name=modelgate_s3").split()[0]


def keys_are_least(variables, **_):
    """Each role's key reads and writes what s3/identities.json gives it, and nothing else; a wrong secret does nothing"""
    # A bucket to be kept out of.
    made = docker("exec", the_store(), "sh", "-c", "cd /tmp && echo 's3.bucket.create -name others' | weed shell -master=127.0.0.1:9333 2>&1", timeout=120)
    if "created bucket" not in made:
        raise Failed(f"a second bucket cannot be made from within the store's container: {made}")
    asked = lambda role, *more: json.loads(docker(
        "run", "--rm", *signed_as(role), *more, "--entrypoint", "python3", variables["MLFLOW_IMAGE"], "-c", OPERATIONS, timeout=120
    ))
    for role, allowed in ALLOWED.items():
        said = asked(role)
        may = {operation for operation, answer in said.items() if answer == "allowed"}
        other = {operation: answer for operation, answer in said.items() if answer not in ("allowed", "denied")}
        if other:
            raise Failed(f"the store answers the key of {role} with errors of another kind; see `docker service logs modelgate_s3`: {other}")
        if may != allowed:
            raise Failed(
                f"the key of {role} may do {sorted(may - allowed)} beside what it should, and may not do {sorted(allowed - may)}: "
                "see its actions in deploy/s3/identities.json"
            )
    forged = asked("publisher", "--env", "AWS_SECRET_ACCESS_KEY=forged")
    if "allowed" in forged.values():
        raise Failed(f"a wrong secret is taken, so the store checks no signatures: {forged}")
    answer = docker("run", "--rm", "--network", "store_net", "--entrypoint", "python3", variables["S3_IMAGE"], "-c", INTRUDER)
    if answer != "UNAUTHENTICATED":
        raise Failed(f"the store's gRPC port answers one who brings no key {answer}, UNAUTHENTICATED is wanted: see the signing key in s3/seaweedfs.sh")
    return f"{len(said)} operations with each key of {', '.join(ALLOWED)}; an identity offered over gRPC is refused"


# Whether a container reaches HOST:PORT, and is answered by whom it looks for: beyond the engine's networks, a proxy of the
# machine may answer for every address.
PROBE = """
import socket, sys
for asked in sys.argv[1:]:
    place, words = asked.split("=")
    host, port = place.split(":")
    try:
        with socket.create_connection((host, int(port)), 3) as connection:
            connection.sendall(b"GET / HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n")
            said = b"".join(iter(lambda: connection.recv(4096), b""))
        print(place, "reached" if words.encode() in said else "not", said[:60])
    except OSError as error:
        print(place, "not", error)
"""


def is_confined(variables, **_):
    """Every container has a read-only root, few capabilities, limits, and no secret in its settings or log; only its users reach the store"""
    known = {file.name: file.read_text() for file in SECRETS.iterdir() if file.name != "s3_identities" and not file.name.endswith("access_key")}
    containers = json.loads(docker("inspect", *docker("ps", "-q", "--filter", "label=com.docker.stack.namespace=modelgate").split()))
    wrong = []
    for container in containers:
        name, host = container["Config"]["Labels"]["com.docker.swarm.service.name"], container["HostConfig"]
        status = open(f"/proc/{container['State']['Pid']}/status").read()
        wrong += [f"{name}: {what}" for what, bad in {
            "its root can be written to (read_only)": not host["ReadonlyRootfs"],
            "it keeps the default capabilities (cap_drop)": "ALL" not in (host["CapDrop"] or []),
            "it has no limit on memory (resources.limits.memory)": not host["Memory"],
            "it has no limit on processes (resources.limits.pids)": not host["PidsLimit"],
            "its process can gain privileges (no-new-privileges of the engine)": is_ours() and "NoNewPrivs:\t1" not in status,
            "a secret is in what `docker inspect` shows": any(value in json.dumps(container) for value in known.values()),
        }.items() if bad]
    for service in docker("service", "ls", "--format", "{{.Name}}").splitlines():
        done = subprocess.run(["docker", "service", "logs", "--raw", service], capture_output=True, text=True)
        wrong += [f"{service}: its log shows {secret}" for secret, value in known.items() if value in done.stdout + done.stderr]
    if wrong:
        raise Failed(f"mend these services in deploy/stack.yaml: {'; '.join(wrong)}")
    probe = lambda network, *places: docker(
        "run", "--rm", "--network", network, "--entrypoint", "python3", variables["MLFLOW_IMAGE"], "-c", PROBE, *places, timeout=120
    )
    (store,) = json.loads(docker("inspect", the_store()))
    address = store["NetworkSettings"]["Networks"]["store_net"]["IPAddress"]
    ports = [f"s3:{port}=HTTP/" for port in (8080, 8888, 9333)]
    inside = probe("store_net", "s3:9000=AccessDenied", "mlflow:5000=HTTP/", *ports)
    if [line.split()[1] for line in inside.splitlines()] != ["reached", "reached", "not", "not", "not"]:
        raise Failed(
            "from store_net the store's S3 port and the registry are to be reached, and the store's ports that ask for no key are not: "
            f"see the networks in deploy/stack.yaml, and s3/seaweedfs.sh: {inside}"
        )
    outside = probe("internal_net", "s3:9000=AccessDenied", f"{address}:9000=AccessDenied", "mlflow:5000=HTTP/", "edge:8080=HTTP/")
    if [line.split()[1] for line in outside.splitlines()] != ["not", "not", "not", "reached"]:
        raise Failed(f"of these only the edge is to be reached from internal_net: see the networks in deploy/stack.yaml: {outside}")
    away = probe("store_net", "edge:8080=HTTP/", "1.1.1.1:80=HTTP/")
    if "reached" in away:
        raise Failed(f"store_net is to lead nowhere else: up.sh makes it with --internal; {away}")
    return f"{len(containers)} containers; {len(known)} secrets looked for"


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


def is_watched(**_):
    """Prometheus evaluates every rule, no alert pages, and every query of the dashboards is answered"""
    with Load(EDGE, connections=16):
        time.sleep(15)
        groups = json.loads(fetch(19090, "/api/v1/rules"))["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        unwell = [rule["name"] for rule in rules if rule["health"] != "ok"]
        paging = [rule["name"] for rule in rules if rule.get("state") == "firing" and rule["labels"].get("severity") == "page"]
        if unwell or paging or len(rules) < 15:
            raise Failed(
                f"{len(rules)} rules, at least 15 are wanted; not evaluated (see their expressions): {unwell}; "
                f"firing, though nothing is wrong (see their thresholds): {paging}"
            )
        empty = [where for where, query in queries.panels() if not ask(query)]
        replica = replicas()[0]
        asked = len(list(queries.panels()))
    if empty:
        raise Failed(f"panels without data (see their queries in grafana/dashboards, and whether the gateway exports what they name): {empty}")
    return f"{len(rules)} rules, {asked} queries; {memory(replica):.0f} MiB resident in a replica"


def ten_thousand_users(**_):
    """10,000 users, 500 more each second, 1 to 2.5 s between their requests, 6 replicas: no request fails, and none takes over 96 MiB"""
    scale(6)
    edge_sees(6)
    manifest = str(ROOT / "Cargo.toml")
    built = run(
        "cargo", "build", "--manifest-path", manifest, "--release", "--locked", "--quiet", "--bench", "connections",
        "--message-format", "json", timeout=1800,
    )
    bench = next(found for line in built.splitlines() if (found := json.loads(line).get("executable")) and "connections" in found)
    (WORK / "row.json").write_bytes(BODY)
    result = json.loads(run(bench, f"127.0.0.1:{EDGE}", str(WORK / "row.json"), "10000", "60", "1-2.5", "500"))
    # Since each began, so also while the load was on.
    largest = max(memory(replica, "VmHWM") for replica in replicas())
    told = f"{json.dumps(result)}; at most {largest:.0f} MiB resident in a replica at any time"
    if result["failed"]:
        raise Failed(f"requests failed; run it alone on two free cores, then see the edge's log (`docker service logs modelgate_edge`): {told}")
    if largest > 96:
        raise Failed(f"a replica took more than 96 MiB; see what grew with the number of connections: {told}")
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


ALL = [
    small_and_harmless, lists_its_parts, starts_soon, publishes, comes_up, keys_are_least, is_confined, scales, survives_a_kill, reconfigures, rolls_forward, rolls_back,
    swaps, stays_up_alone, is_watched, goes_down, composes, several_nodes,
]
# Only where they are named: the first builds one more image, two take both cores for minutes, and the last needs an image of
# version 0.1 and leaves it running.
FIGURES = [training, ten_thousand_users, workshop, upgrade]
