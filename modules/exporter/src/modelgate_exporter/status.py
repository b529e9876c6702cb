"""The converter's page and metrics."""

from __future__ import annotations

import html
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import __version__
from .watch import Watcher

MOST = 1000
"""Versions on the page and in the metrics."""

STATES = ("waiting", "converting", "converted", "not needed", "refused", "failed")


def metrics(watcher: Watcher) -> str:
    """In Prometheus' format."""
    figures, known = watcher.figures, list(watcher.known.values())
    lines: list[str] = []

    def series(name: str, kind: str, help_: str, values: list[tuple[str, float]]) -> None:
        lines.append(f"# HELP {name} {help_}")
        lines.append(f"# TYPE {name} {kind}")
        lines.extend(f"{name}{labels} {value:g}" for labels, value in values)

    prefix = "modelgate_converter"
    series(f"{prefix}_info", "gauge", "The version.", [(f'{{version="{__version__}"}}', 1)])
    series(
        f"{prefix}_registry_up",
        "gauge",
        "Whether the last look at the registry went well.",
        [("", figures.registry_up)],
    )
    series(
        f"{prefix}_last_look_timestamp_seconds",
        "gauge",
        "When a look went well last.",
        [("", figures.last_look)],
    )
    series(
        f"{prefix}_versions",
        "gauge",
        "Versions that are followed, by state.",
        [(f'{{state="{s}"}}', sum(k.state == s for k in known)) for s in STATES],
    )
    series(
        f"{prefix}_conversions_total",
        "counter",
        "Conversions that ended, by outcome.",
        [
            (f'{{outcome="{s}"}}', figures.outcomes.get(s, 0))
            for s in ("converted", "refused", "failed")
        ],
    )
    series(
        f"{prefix}_conversion_seconds",
        "summary",
        "What conversions took, installing included.",
        [("_sum", figures.seconds), ("_count", figures.conversions)],
    )
    series(
        f"{prefix}_confined",
        "gauge",
        "What kept the last conversion's process in.",
        [(f'{{by="{by}"}}', held) for by, held in sorted(figures.held.items())],
    )
    series(
        f"{prefix}_version_state",
        "gauge",
        "1 for the state that a version is in.",
        [
            (
                f'{{model="{_label(k.version.name)}",version="{_label(k.version.version)}",state="{k.state}"}}',
                1,
            )
            for k in known[:MOST]
        ],
    )
    series(
        f"{prefix}_disk_free_bytes",
        "gauge",
        "Left where environments are kept.",
        [("", shutil.disk_usage(watcher.environments.folder).free)],
    )
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def page(watcher: Watcher) -> str:
    """For people."""
    figures, now = watcher.figures, time.time()
    rows = "".join(
        f"<tr><td>{html.escape(k.version.name)}<td>{html.escape(k.version.version)}"
        f"<td>{html.escape(', '.join((*k.version.aliases, *([k.version.stage] if k.version.stage != 'None' else []))))}"
        f"<td class={k.state.replace(' ', '-')}>{k.state}<td>{html.escape(k.reason)}"
        f"<td>{f'in {k.due - now:.0f} s' if k.state in ('failed', 'refused') else ''}</tr>"
        for k in list(watcher.known.values())[:MOST]
    )
    held = ", ".join(
        f"{by}: {'yes' if held else 'no'}" for by, held in sorted(figures.held.items())
    )
    registry = "answers" if figures.registry_up else html.escape(figures.error or "not asked yet")
    return f"""<!doctype html><html lang=en><meta charset=utf-8><title>modelgate converter</title>
<meta http-equiv=refresh content=5>
<style>body{{font:16px system-ui;margin:2em}}td,th{{padding:.3em 1em .3em 0;text-align:left;vertical-align:top}}
.refused,.failed{{color:#a00}}.converted{{color:#070}}</style>
<h1>Converter</h1><p>The registry {html.escape(watcher.registry.address)}: {registry}.
Conversions are kept in by: {held or "none was run yet"}.</p>
<table><tr><th>model<th>version<th>named by<th>state<th>reason<th>tried again</tr>{rows}</table>
"""


def serve(watcher: Watcher, listen: str) -> ThreadingHTTPServer:
    """Answers `/`, `/metrics` and `/healthz` from now on, on threads of its own."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            kind, status = "text/plain; charset=utf-8", 200
            if self.path == "/":
                text, kind = page(watcher), "text/html; charset=utf-8"
            elif self.path == "/metrics":
                text, kind = metrics(watcher), "text/plain; version=0.0.4; charset=utf-8"
            elif self.path == "/healthz":
                text = "ok\n"
            else:
                text, status = "not found\n", 404
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """No line for each request."""

    host, _, port = listen.rpartition(":")
    server = ThreadingHTTPServer((host.strip("[]") or "0.0.0.0", int(port)), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
