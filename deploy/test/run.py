"""`make deploy-test`: builds the image, deploys the stack on a real Docker engine and runs every scenario under load.

    python3 deploy/test/run.py [--keep] [--image IMAGE | --binary FILE] [--old-image IMAGE | --old-binary FILE] [SCENARIO...]

--keep leaves the engine and the stack as they are at the end. Instead of building the image, which takes minutes, --image
tests one that is on the engine (a run's own engine keeps its images in target/deploy-test), and --binary one that is made of a
release binary in seconds. --old-image and --old-binary name version 0.1 in the same ways, for the scenario `upgrade`:

    python3 deploy/test/run.py --old-binary modelgate-0.1 comes_up upgrade

Scenarios are named as in scenarios.py, which lists them; `comes_up` must be among them for those that need the stack.
"""

import argparse
import os
import subprocess
import sys
import time
import traceback

import edge
import fleet
import images
import scenarios
from engine import ROOT, WORK, Engine, Failed, run, say
from fleet import script


def static_checks():
    """The configurations for the edge, Prometheus, Kubernetes and systemd are valid, and alerts fire when they should"""
    deploy = ROOT / "deploy"
    run("haproxy", "-c", "-f", str(deploy / "haproxy/haproxy.cfg"))
    for rule in edge.ALL:
        say(f"     {rule.__doc__.strip()}: {rule()}")
    run("promtool", "check", "rules", *map(str, (deploy / "prometheus/rules").glob("*.yml")))
    run("promtool", "test", "rules", str(deploy / "prometheus/tests/alerts.yml"))
    run(str(ROOT / "gateway/tests/setup.sh"), "deploy")
    run(str(ROOT / "target/deploy-venv/bin/kubernetes-validate"), "--strict", str(deploy / "kubernetes/modelgate.yaml"))
    unit = WORK / "modelgate.service"
    # It is to be an executable that is there.
    unit.write_text((deploy / "systemd/modelgate.service").read_text().replace("/usr/local/bin/modelgate", "/bin/true"))
    # A directive that it does not know is no error to it, but a line.
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    if done.returncode != 0 or complaints:
        raise Failed(f"mend what systemd-analyze names in deploy/systemd/modelgate.service: {done.stderr}")
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true")
    new = parser.add_mutually_exclusive_group()
    new.add_argument("--image")
    new.add_argument("--binary", metavar="FILE")
    old = parser.add_mutually_exclusive_group()
    old.add_argument("--old-image", metavar="IMAGE")
    old.add_argument("--old-binary", metavar="FILE")
    parser.add_argument("scenario", nargs="*")
    options = parser.parse_args()
    known = {scenario.__name__: scenario for scenario in [*scenarios.ALL[:-3], *scenarios.FIGURES, *scenarios.ALL[-3:]]}
    unknown = set(options.scenario) - set(known)
    if unknown:
        parser.error(f"there is no scenario {', '.join(unknown)}: expected {', '.join(known)}")
    chosen = [known[name] for name in known if name in options.scenario] if options.scenario else scenarios.ALL
    if scenarios.upgrade in chosen and not (options.old_image or options.old_binary):
        parser.error("`upgrade` starts with replicas of version 0.1: name its image (--old-image) or its binary (--old-binary)")
    for binary in filter(None, (options.binary, options.old_binary)):
        if not os.access(binary, os.X_OK):
            parser.error(f"{binary} is no program that can be run here")
    WORK.mkdir(parents=True, exist_ok=True)
    counts = {True: 0, False: 0}

    def check(scenario, **setting):
        begun = time.monotonic()
        what = scenario.__doc__.strip()
        try:
            detail, good = scenario(**setting), True
        except Exception as error:
            detail, good = str(error) if isinstance(error, Failed) else traceback.format_exc(), False
        counts[good] += 1
        say(f"{'ok  ' if good else 'FAIL'} {what} [{time.monotonic() - begun:.0f} s]" + (f"\n       {detail}" if detail else ""))
        return good

    with Engine(options.keep):
        check(static_checks)
        image = options.image or "modelgate-test/gateway:1"
        if options.image:
            images.must_have(image)
        elif options.binary:
            image = "modelgate-test/gateway:binary"
            images.of_binary(image, options.binary, run(options.binary, "--version").split()[-1])
        else:
            images.gateway(image, "0.2.0-test")
        old_image = options.old_image
        if old_image:
            images.must_have(old_image)
        elif options.old_binary:
            old_image = "modelgate-test/gateway:old"
            images.of_binary(old_image, options.old_binary, run(options.old_binary, "--version").split()[-1], bill=False)
        next_, bad = images.variants(image)
        variables = {
            **images.around(converter=scenarios.training in chosen), "MODELGATE_IMAGE": image, "MODELGATE_REPLICAS": "3", "GRAFANA_REPLICAS": "0",
            "STACK_FILES": "test/stack.yaml", "SECRETS_DIR": fleet.keys(),
        }
        deployed = False
        try:
            for scenario in chosen:
                deployed = deployed or scenario is scenarios.comes_up
                if not check(scenario, image=image, next_=next_, bad=bad, old=old_image, variables=variables) and scenario is scenarios.comes_up:
                    say("without the stack there is nothing further to test")
                    break
        finally:
            if deployed and not options.keep:
                script("down.sh", "--yes")
    say(f"{counts[True]} passed, {counts[False]} failed")
    return 1 if counts[False] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"error: {error}")
