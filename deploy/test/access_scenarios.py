"""The properties of keys, networks and containers: nobody may do more than their part needs. Each function's first line says what must hold."""

import json
import subprocess

from engine import Failed, docker, is_ours
from fleet import SECRETS, signed_as


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
