"""The card that a notebook shows for a served model."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .schema import Column
    from .serving import Served

SHOWN = 12
"""Columns that are listed; the page at `docs` has all."""

STYLE = (
    "border:1px solid color-mix(in srgb, currentColor 25%, transparent);border-radius:8px;padding:12px 16px;"
    "max-width:640px;font-family:system-ui,sans-serif;font-size:13px;line-height:1.5"
)
CELL = "text-align:left;padding:2px 14px 2px 0;border:0;background:none"
CODE = (
    "display:block;overflow-x:auto;white-space:pre;padding:8px 10px;border-radius:6px;margin-top:4px;font-size:12px;"
    "background:color-mix(in srgb, currentColor 7%, transparent)"
)
MUTED = "opacity:.65"


def html(served: Served) -> str:
    """The model, where it answers, what it takes and gives, what was compared, and a request to copy."""
    if not served.running:
        return (
            f'<div style="{STYLE}"><span style="color:#b3261e">●</span> <b>{escape(served.name)}</b> '
            f'<span style="{MUTED}">version {escape(served.version)}, stopped</span></div>'
        )
    model = served.signature
    inputs = "".join(_row(column.name, _kind(column)) for column in model.inputs[:SHOWN])
    if len(model.inputs) > SHOWN:
        inputs += _row(f"and {len(model.inputs) - SHOWN} more", "")
    outputs = "".join(_row(column.name, _kind(column)) for column in model.outputs)
    if model.classes:
        outputs += _row("classes", ", ".join(str(value) for value in model.classes[:SHOWN]))
    compared = ""
    if served.report is not None:
        compared = f'<div style="{MUTED};margin-top:8px">{escape(str(served.report.compared))}</div>'
    url = escape(served.url)
    return (
        f'<div style="{STYLE}">'
        f'<div><span style="color:#1b873f">●</span> <b>{escape(served.name)}</b> '
        f'<span style="{MUTED}">version {escape(served.version)}</span> &nbsp; '
        f'<a href="{url}/docs" target="_blank">docs</a> · <a href="{url}/metrics" target="_blank">metrics</a> · '
        f"<code>{url}</code></div>"
        '<div style="display:flex;gap:40px;flex-wrap:wrap;align-items:flex-start;margin-top:8px">'
        f"{_table('takes', inputs)}{_table('gives', outputs)}</div>"
        f"{compared}"
        '<details style="margin-top:8px"><summary>From elsewhere</summary>'
        f'<code style="{CODE}">{escape(_python(served))}</code>'
        f'<code style="{CODE}">{escape(_curl(served))}</code></details>'
        "</div>"
    )


def _table(head: str, rows: str) -> str:
    title = f'<tr><th colspan="2" style="{CELL};{MUTED};font-weight:400">{head}</th></tr>'
    return f'<table style="border:0;margin:0;font-size:inherit">{title}{rows}</table>'


def _row(name: str, kind: str) -> str:
    cells = f'<td style="{CELL}">{escape(name)}</td><td style="{CELL};{MUTED}">{escape(kind)}</td>'
    return f'<tr style="background:none">{cells}</tr>'


def _kind(column: Column) -> str:
    many = column.shape[1:]
    names = {"BYTES": "text", "BOOL": "true or false", "FP64": "number", "FP32": "number", "INT64": "whole number"}
    told = names.get(column.datatype, column.datatype.lower())
    if many:
        sizes = " by ".join(str(size) if size >= 0 else "any" for size in many)
        told = f"{sizes} {told}s" if told.endswith(("number", "text")) else f"{sizes} {told}"
    return f"{told}, or missing" if column.optional else told


def _python(served: Served) -> str:
    return f'from modelgate_serving import Client\nClient("{served.url}", model="{served.name}").predict(frame)'


def _curl(served: Served) -> str:
    row = json.dumps(served.example, ensure_ascii=False).replace("'", "'\\''")
    return f"curl {served.url}/predict/{served.name} -H 'content-type: application/json' \\\n  -d '{row}'"
