"""The documents, their parts, and the words of the binary about itself."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SKIPPED = {"target", "node_modules", "dist", ".git", "__pycache__", ".venv", ".pytest_cache", ".ruff_cache", ".hypothesis"}


def documents():
    """Markdown files of the tree, by their path from the root."""
    for path in sorted(ROOT.rglob("*.md")):
        parts = path.relative_to(ROOT).parts
        if not SKIPPED & set(parts) and not any(part.endswith("venv") for part in parts):
            yield str(path.relative_to(ROOT)), path.read_text()


def fences(text):
    """`(language, mark, line, body)` of each fenced block; the mark is the comment above it."""
    pattern = r"(?:^[ \t]*<!-- (run[^>]*?) -->\n)?^([ \t]*)```(\w*)\n(.*?)^\2```"
    for found in re.finditer(pattern, text, re.M | re.S):
        yield found.group(3), found.group(1), text.count("\n", 0, found.start(4)) + 1, found.group(4)


def without_fences(text):
    """The text with its fenced blocks blanked, so that lines keep their numbers."""
    blank = lambda found: "\n" * found.group(0).count("\n")
    return re.sub(r"^[ \t]*```.*?^[ \t]*```", blank, text, flags=re.M | re.S)


def anchors(text):
    """The anchors that GitHub makes of the headings."""
    seen = {}
    for heading in re.findall(r"^#{1,6} (.*)$", without_fences(text), re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        seen[slug] = seen.get(slug, -1) + 1
        yield slug if not seen[slug] else f"{slug}-{seen[slug]}"


def sources(suffixes, *folders):
    """The text of the tree's files with one of the suffixes, as one string."""
    texts = []
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in suffixes and path.is_file() and not SKIPPED & set(path.relative_to(ROOT).parts):
                texts.append(path.read_text(errors="replace"))
    return "\n".join(texts)


def help_text(gateway, *command):
    done = subprocess.run([gateway, *command, "--help"], capture_output=True, text=True, check=True)
    return done.stdout
