"""Several engines on one machine as the nodes of a Swarm: each in a network namespace of its own, on one bridge.

    python3 deploy/test/nodes.py IMAGE HAPROXY_IMAGE

IMAGE and HAPROXY_IMAGE are copied from the engine that `make deploy-test` uses (DOCKER_HOST). Three managers; under load one
is drained and comes back, then one is cut off and comes back. Needs root, iproute2 and util-linux.
"""

import os
import shutil
import subprocess
import sys
import time

from engine import ROOT, SOCKETS, WORK, Failed, run, say, until
from fleet import keys
from load import Load

BRIDGE = "mg-test0"
PORT = 18080


class Node:
    """An engine in a network namespace."""

    def __init__(self, number):
        self.name, self.address = f"node{number}", f"10.77.0.{number}"
        self.space = f"mg-test{number}"
        self.home = WORK / "nodes" / self.name
        self.run = SOCKETS / self.name
        self.socket = f"unix://{self.run}.sock"

    def start(self):
        self.home.mkdir(parents=True)
        SOCKETS.mkdir(parents=True, exist_ok=True)
        run("ip", "netns", "add", self.space)
        run("ip", "link", "add", f"{self.space}v", "type", "veth", "peer", "name", "eth0", "netns", self.space)
        run("ip", "link", "set", f"{self.space}v", "master", BRIDGE, "up")
        inside = ["ip", "-n", self.space]
        run(*inside, "address", "add", f"{self.address}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "link", "set", "lo", "up")
        # Swarm asks for a default route to choose addresses by.
        run(*inside, "route", "add", "default", "via", "10.77.0.254")
        self.log = open(self.home / "log", "w")
        self.process = subprocess.Popen(
            # Not `ip netns exec`: it would hide the control groups.
            ["nsenter", f"--net=/run/netns/{self.space}", "unshare", "--uts", "sh", "-c", f'hostname {self.name}; exec "$@"', "sh",
             "dockerd", f"--data-root={self.home}/data", f"--exec-root={self.run}", f"--pidfile={self.home}/pid",
             f"--host={self.socket}", "--userland-proxy=false"],
            stdout=self.log, stderr=self.log, start_new_session=True,
        )
        until(f"{self.name} answers", lambda: self._answers(), 60)

    def _answers(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name}: dockerd ended: {(self.home / 'log').read_text()[-800:]}")
        return subprocess.run(["docker", "--host", self.socket, "info"], capture_output=True).returncode == 0

    def docker(self, *arguments, **options):
        return run("docker", "--host", self.socket, *arguments, **options)

    def link(self, state):
        run("ip", "link", "set", f"{self.space}v", state)

    def stop(self):
        process = getattr(self, "process", None)
        if process:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        subprocess.run(["ip", "netns", "delete", self.space], capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)


def ready(node, replicas):
    """The distribution of the replicas over the nodes, once so many run."""

    def so():
        lines = node.docker(
            "service", "ps", "modelgate_gateway", "--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}"
        ).splitlines()
        running = sorted(line.split()[0] for line in lines if line.split()[1] == "Running")
        return running if len(running) == len(lines) == replicas else None

    return so


def scenarios(nodes):
    first, second, third = nodes
    replicas = 6
    spread = until("six replicas run", ready(first, replicas), 120)
    yield "six replicas spread over three nodes", set(spread) == {"node1", "node2", "node3"}, str(spread)

    with Load(PORT, host=first.address) as load:
        time.sleep(2)
        first.docker("node", "update", "--availability", "drain", second.name)
        moved = until("they left node2", lambda: (found := ready(first, replicas)()) and "node2" not in found and found, 120)
        time.sleep(5)
    yield "a node is drained under load: no request fails", not load.failures and load.answered > 500, f"{moved}; {load.summary()}"

    first.docker("node", "update", "--availability", "active", second.name)
    # An update by `--force` would not do: Swarm counts replicas that are about to go, and may leave another node with none.
    with Load(PORT, host=first.address) as load:
        first.docker("service", "scale", "--detach", f"modelgate_gateway={replicas * 3 // 2}")
        until("half as many again run", ready(first, replicas * 3 // 2), 180)
        first.docker("service", "scale", "--detach", f"modelgate_gateway={replicas}")
        back = until("they are on all nodes", lambda: (found := ready(first, replicas)()) and len(set(found)) == 3 and found, 120)
    yield "it comes back, and takes its share again: no request fails", not load.failures, f"{back}; {load.summary()}"

    with Load(PORT, host=first.address) as load:
        time.sleep(2)
        cut = time.monotonic()
        third.link("down")
        moved = until(
            "their replacements run on the others",
            lambda: first.docker("node", "ls", "--filter", f"name={third.name}", "--format", "{{.Status}}") == "Down"
            and (found := ready(first, replicas)()) and "node3" not in found and found, 180,
        )
        took = time.monotonic() - cut
        time.sleep(3)
    # What was on its way to the node that vanished is lost without a word; whatever comes later must not be.
    late = [when for when, _ in load.failures if when > 2 + 10]
    yield (
        "a node is cut off under load: nothing fails but what it held, for ten seconds at most",
        not late and len(load.failures) <= load.connections and load.answered > 500,
        f"replaced after {took:.0f} s; {load.summary()}",
    )

    third.link("up")
    with Load(PORT, host=first.address) as load:
        until("it is a node again", lambda: first.docker("node", "ls", "--filter", f"name={third.name}", "--format", "{{.Status}}") == "Ready", 120)
        until("its old replicas are gone", lambda: third.docker("ps", "-q", "--filter", "label=com.docker.swarm.service.name=modelgate_gateway") == "", 120)
        time.sleep(3)
    yield "it is connected again: no request fails", not load.failures and load.answered > 500, load.summary()


def state(nodes):
    """The knowledge of the engines, to find out why something did not come about."""
    asked = [
        ("node", "ls"),
        ("service", "ps", "modelgate_gateway", "--no-trunc", "--format", "{{.Node}} {{.DesiredState}} {{.CurrentState}} {{.Error}}"),
        ("service", "inspect", "modelgate_gateway", "--format", "{{json .UpdateStatus}}"),
    ]
    told = [f"{' '.join(question[:2])}:\n{nodes[0].docker(*question, check=False)}" for question in asked]
    for node in nodes:
        told.append(f"{node.name} runs:\n{node.docker('ps', '--format', '{{.Names}} {{.Status}}', check=False)}")
        log = node.home / "log"
        told.append(f"{node.name} said last:\n{log.read_text()[-3000:] if log.exists() else 'nothing'}")
    return "\n".join(told)


def encrypts():
    """Whether this kernel can encrypt between nodes (ESP). Tried in our own network namespace."""
    state = ["src", "10.77.0.1", "dst", "10.77.0.2", "proto", "esp", "spi", "1", "mode", "transport"]
    key = ["aead", "rfc4106(gcm(aes))", "0x" + "01" * 20, "128"]
    return subprocess.run(["ip", "xfrm", "state", "add", *state, *key], capture_output=True).returncode == 0


def main(image, haproxy):
    counts = {True: 0, False: 0}
    encrypted = encrypts()
    say(f"the nodes' network is {'' if encrypted else 'not '}encrypted{'' if encrypted else ': this kernel has no ESP'}")
    nodes = [Node(number) for number in (1, 2, 3)]
    shutil.rmtree(WORK / "nodes", ignore_errors=True)
    try:
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", "10.77.0.254/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        for node in nodes:
            node.start()
        say("three engines run; copying the images to them")
        archive = WORK / "nodes/images.tar"
        run("docker", "save", "--output", str(archive), image, haproxy)
        for node in nodes:
            node.docker("load", "--quiet", "--input", str(archive))
        archive.unlink()
        nodes[0].docker("swarm", "init", "--advertise-addr", nodes[0].address)
        token = nodes[0].docker("swarm", "join-token", "--quiet", "manager")
        for node in nodes[1:]:
            node.docker("swarm", "join", "--advertise-addr", node.address, "--token", token, f"{nodes[0].address}:2377")
        variables = {
            "DOCKER_HOST": nodes[0].socket, "MODELGATE_IMAGE": image, "HAPROXY_IMAGE": haproxy, "MLFLOW_IMAGE": haproxy,
            # Not started, so any image will do.
            "S3_IMAGE": haproxy, "PROMETHEUS_IMAGE": haproxy,
            "EDGE_PORT": str(PORT), "MODELGATE_REPLICAS": "6", "GRAFANA_REPLICAS": "0", "CONVERTER_REPLICAS": "0",
            "STACK_FILES": "test/nodes.yaml",
            # Every node has the images, but no registry agrees on their digests.
            "RESOLVE_IMAGE": "never",
            "OVERLAY_ENCRYPTED": "yes" if encrypted else "no", "SECRETS_DIR": keys(),
        }
        run("nsenter", f"--net=/run/netns/{nodes[0].space}", str(ROOT / "deploy/up.sh"), env=variables)
        for what, good, detail in scenarios(nodes):
            counts[good] += 1
            say(f"{'ok  ' if good else 'FAIL'} {what}\n       {detail}")
    except Failed as error:
        counts[False] += 1
        say(f"FAIL {error}\n{state(nodes)}")
    finally:
        for node in nodes:
            node.stop()
    say(f"{counts[True]} passed, {counts[False]} failed")
    return 1 if counts[False] else 0


if __name__ == "__main__":
    # In a network namespace of its own, so that no firewall of the machine's comes between the nodes.
    if "MODELGATE_TEST_INSIDE" not in os.environ:
        os.environ["MODELGATE_TEST_INSIDE"] = "yes"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    sys.exit(main(*sys.argv[1:3]))
