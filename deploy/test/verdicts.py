"""Verdicts that several scenarios share, and what they ask the engine."""

import subprocess

from engine import Failed, docker
from fleet import GATEWAY, tasks, update_state


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


def logs(container):
    """The standard error of a container."""
    return subprocess.run(["docker", "logs", container], capture_output=True, text=True).stderr


def version_of(image):
    return docker("image", "inspect", image, "--format", '{{index .Config.Labels "org.opencontainers.image.version"}}')
