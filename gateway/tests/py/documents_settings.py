"""`docs/settings.md`, made of what `modelgate serve --help` says."""

import re

from documents_text import help_text

# The order of the headings of `--help` in the document.
HEADINGS = (
    "What is served",
    "Where it listens",
    "Rollouts",
    "Threads",
    "Memory and models on demand",
    "Limits of requests",
    "Limits of connections",
    "Ceilings over bundles",
    "Loading",
    "Logs",
    "Start and end",
)


def options(gateway):
    """The settings of `modelgate serve`, in the order of its help: name, value, text, variable, default, heading."""
    text = help_text(gateway, "serve")
    heading = ""
    for block in re.split(r"\n(?=\S.*:\n)|\n(?= {2,6}(?:-\w, )?--)", text):
        titled = re.match(r"(\S.*):(?:\n|\Z)", block)
        if titled:
            heading, block = titled.group(1), block[titled.end() :]
        found = re.match(r"\s+(?:-\w, )?--([a-z0-9-]+)(?: (\[?<[^>]+>\]?(?:\.\.\.)?))?[ ]*\n(.*)", block, re.S)
        if not found or found.group(1) in {"help", "version"}:
            continue
        name, value, rest = found.groups()
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", rest.strip())]
        words = " ".join(part for part in paragraphs if not part.startswith("Possible values:"))
        variable = re.search(r"\[env: (\w+)=?\]", words)
        default = re.search(r"\[default: ([^\]]*(?:`[^`]*`[^\]]*)*)\]", words)
        plain = re.sub(r"\s*\[(?:env|default|possible values|alias(?:es)?): [^\]]*\]", "", words)
        yield {
            "name": name,
            "value": (value or "").strip("[]<>. "),
            "text": plain.strip(),
            "variable": variable.group(1) if variable else "",
            "default": default.group(1) if default else "",
            "heading": heading,
        }


def settings(gateway):
    """The text of docs/settings.md."""
    groups = {}
    for option in options(gateway):
        groups.setdefault(option["heading"], []).append(option)
    order = [*HEADINGS, *(heading for heading in groups if heading not in HEADINGS)]
    lines = [
        "# Settings",
        "",
        "<!-- Written by `gateway/tests/py/documents.py settings` from `modelgate serve --help`; a test compares. -->",
        "",
        "Every setting of `modelgate serve` is a flag, a variable, or a line in a TOML file that `--config` names: the flag's "
        "name with underscores (`max_body = \"16MiB\"`). A flag wins over a variable, a variable over the file, the file over "
        "the default. [deploy/modelgate.toml](../deploy/modelgate.toml) is a file with comments. Sizes are written `512KiB`, "
        "`64MiB`, `4GiB`.",
        "",
    ]
    for heading in order:
        if heading not in groups:
            continue
        lines += [f"## {heading}", "", "| flag | variable | default | meaning |", "|---|---|---|---|"]
        for option in groups[heading]:
            value = f" {option['value']}" if option["value"] else ""
            cells = [
                f"`--{option['name']}{value}`",
                f"`{option['variable']}`" if option["variable"] else "",
                option["default"],
                option["text"],
            ]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    lines += [
        "## Other variables",
        "",
        "| variable | meaning |",
        "|---|---|",
        "| `MODELGATE_SOURCE` | sources, separated by spaces, as `--source` takes them |",
        "| `MODELGATE_CONVERTED` | where converted versions of a registry are looked for ([sources](sources.md#a-version-that-is-a-scikit-learn-model-alone)) |",
        "| `AWS_…`, `MLFLOW_…` | how S3 and MLflow are reached ([sources](sources.md#sources)); `NAME_FILE` names a file with the value of `NAME` |",
        "",
    ]
    return "\n".join(lines)
