"""The figures under load, and what watches the stack. Each function's first line says what must hold."""

import json
import time

import queries
from engine import ROOT, WORK, Failed, docker, run
from fleet import EDGE, ask, edge_sees, fetch, memory, replicas, scale
from load import BODY, Load


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
