"""Every query of the dashboards: its metrics exist, and Prometheus answers it.

Alone, against a running gateway: `python3 deploy/test/queries.py http://127.0.0.1:8080/metrics` checks that each metric
with the gateway's prefix is exported.
"""

import json
import re
import sys
import urllib.request
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[1]
METRIC = re.compile(r"\b(?:[a-z_]+:)?((?:modelgate|nv_inference|process|haproxy)_[a-z0-9_]+)\b(?!:)")


def panels():
    """Title of each panel, with each of its queries; variables stand for everything."""
    for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids), f"{path.name}: ids of panels are not distinct"
        for panel in board["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24, f"{path.name}: {panel['title']} is too wide"
            assert panel["datasource"]["uid"] == "modelgate", f"{path.name}: {panel['title']} has another data source"
            for target in panel["targets"]:
                query = target["expr"].replace("$__rate_interval", "1m").replace("$model", ".*").replace("$version", ".*")
                assert "$" not in query, f"{path.name}: {panel['title']} has a variable that is not known: {query}"
                yield f"{path.stem}: {panel['title']}", query


def rules():
    """The queries of the recording rules and the alerts."""
    for path in sorted((DEPLOY / "prometheus/rules").glob("*.yml")):
        # Without a YAML parser: every expression is on one line, or in a folded block that is indented deeper.
        for match in re.finditer(r"expr: (?:>\n((?: {10,}.*\n)+)|(.*)\n)", path.read_text()):
            yield path.stem, " ".join((match[1] or match[2]).split())


def metrics(query):
    """The names of the series that a query reads, without those that rules record."""
    without_recorded = re.sub(r"\b[a-z_]+:[a-z_0-9:]+", "", query)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRIC.findall(without_recorded)}


def exported(text):
    return set(re.findall(r"^# TYPE (\S+)", text, re.M))


def missing(text, prefixes=("modelgate_", "nv_", "process_")):
    """Series that the dashboards and rules ask for and a gateway does not export: (where, metric)."""
    names = exported(text)
    asked = {(where, name) for where, query in [*panels(), *rules()] for name in metrics(query)}
    whole = {name for _, name in asked}
    assert len(whole) > 20, f"only {len(whole)} metrics were found in the dashboards: {whole}"
    # A counter may itself end in what a histogram's series end in.
    found = lambda name: name in names or f"{name}_count" in names
    # The converter exports its own.
    of_gateway = lambda name: name.startswith(prefixes) and not name.startswith("modelgate_converter_")
    return sorted((where, name) for where, name in asked if of_gateway(name) and not found(name))


if __name__ == "__main__":
    with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
        gone = missing(answer.read().decode())
    for where, name in gone:
        print(f"{where}: the gateway does not export {name}")
    sys.exit(1 if gone else 0)
