"""Python's regular expressions as the engines of a graph read them, where both mean the same."""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

from .elementwise import Untraceable

# Python's own parser of patterns, whose name changed with 3.11.
codes: Any = importlib.import_module("re._constants" if sys.version_info >= (3, 11) else "sre_constants")
parser: Any = importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")

SPACE = r"\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
"""The characters that Python takes for white space, inside of a class."""
LETTERS = r"\p{L}\p{N}_"
"""Python's `\\w`, inside of a class. Its `\\d` is `\\p{Nd}`."""

INNER: dict[Any, str] = {
    codes.CATEGORY_DIGIT: r"\p{Nd}", codes.CATEGORY_NOT_DIGIT: r"\P{Nd}", codes.CATEGORY_SPACE: SPACE, codes.CATEGORY_WORD: LETTERS,
}  # fmt: skip
OPPOSITE = {codes.CATEGORY_NOT_SPACE: SPACE, codes.CATEGORY_NOT_WORD: LETTERS}
START = (codes.AT_BEGINNING, codes.AT_BEGINNING_STRING)


class Pattern:
    """A pattern that the graph can match."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        try:
            tree = parser.parse(pattern, flags)
        except re.error as error:
            raise Untraceable(f"its pattern {pattern!r} is wrong ({error})") from error
        self.given = pattern
        self._flags = tree.state.flags
        if self._flags & (re.MULTILINE | re.ASCII | re.LOCALE):
            raise Untraceable(f"its pattern {pattern!r} has flags that have no operator")
        self.empty = tree.getwidth()[0] == 0
        """Whether it matches an empty text: then it matches everywhere."""
        flags_ = "".join(letter for letter, flag in (("i", re.IGNORECASE), ("s", re.DOTALL)) if self._flags & flag)
        self.text = (f"(?{flags_})" if flags_ else "") + self._sequence(tree)
        self.groups = tree.state.groups - 1
        self.alone = r"\A" not in self.text and r"\z" not in self.text
        """Whether what it matches depends on the match alone."""
        self._tree = list(tree)

    def steps(self) -> list[str]:
        """Patterns that, one after the other, leave what its one group matches; none where that is not certain."""
        places = [at for at, (kind, value) in enumerate(self._tree) if kind is codes.SUBPATTERN and value[0] == 1]
        if self.groups != 1 or len(places) != 1:
            return []
        before, (group,), after = self._tree[: places[0]], self._tree[places[0] : places[0] + 1], self._tree[places[0] + 1 :]
        if not before and not after:
            return [self.text]
        inner = list(group[1][3])
        single = all(kind not in (codes.MAX_REPEAT, codes.MIN_REPEAT) for kind, _ in inner[:-1])
        if self._flags & re.IGNORECASE or not inner or not single or inner[-1][0] is codes.MIN_REPEAT or _optional(inner[-1]):
            return []
        # The group begins where its first character can be, and ends before the first one that it cannot have.
        of_group, of_first = _characters(inner), _characters(inner[:1])
        of_before = _characters([part for part in before if not _at(part)])
        of_after = _characters([part for part in after if not _at(part)][:1])
        if of_group is None or of_first is None or of_before is None or of_after is None:
            return []
        if of_before & of_first or of_after & of_group or any(_optional(part) for part in after[:1]):
            return []
        rest = self._sequence([group, *after])
        return [self.text, rf"(?:{rest})", rf"\A(?:{self._sequence([group])})"]

    def _refused(self) -> Untraceable:
        return Untraceable(f"its pattern {self.given!r} has a part that has no operator (anchors of words and lines, lookaround, references)")

    def _sequence(self, tree: Any) -> str:
        return "".join(self._part(kind, value) for kind, value in tree)

    def _part(self, kind: Any, value: Any) -> str:
        if kind is codes.LITERAL:
            return literal(value)
        if kind is codes.NOT_LITERAL:
            return f"[^{literal(value)}]"
        if kind is codes.ANY:
            return "."
        if kind is codes.IN:
            return self._class(value)
        if kind is codes.BRANCH:
            return "(?:" + "|".join(self._sequence(branch) for branch in value[1]) + ")"
        if kind is codes.SUBPATTERN and not value[1] and not value[2]:
            return f"(?:{self._sequence(value[3])})"
        if kind in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            low, high, inner = value
            if low > 1000 or (high is not codes.MAXREPEAT and high > 1000):
                raise self._refused()
            many = f"{{{low},{'' if high is codes.MAXREPEAT else high}}}"
            return f"(?:{self._sequence(inner)}){many}{'?' if kind is codes.MIN_REPEAT else ''}"
        if kind is codes.AT and value in START:
            return r"\A"
        if kind is codes.AT and value is codes.AT_END_STRING:
            return r"\z"
        raise self._refused()

    def _class(self, parts: Any) -> str:
        negated = parts[0][0] is codes.NEGATE
        inner = []
        for kind, value in parts[negated:]:
            if kind is codes.LITERAL:
                inner.append(literal(value))
            elif kind is codes.RANGE:
                inner.append(f"{literal(value[0])}-{literal(value[1])}")
            elif kind is codes.CATEGORY and value in INNER:
                inner.append(INNER[value])
            elif kind is codes.CATEGORY and value in OPPOSITE and len(parts) == 1:
                return f"[^{OPPOSITE[value]}]"
            else:
                raise self._refused()
        return f"[{'^' if negated else ''}{''.join(inner)}]"


ALPHABET = [chr(code) for code in range(0x3000)]
"""Characters of most scripts, and of every category."""


def _at(part: Any) -> bool:
    return part[0] is codes.AT


def _optional(part: Any) -> bool:
    return part[0] in (codes.MAX_REPEAT, codes.MIN_REPEAT) and part[1][0] == 0


def _characters(parts: Any) -> set[str] | None:
    """The characters that single-character parts, repeated or not, can match; `None` for other parts."""
    found: set[str] = set()
    for kind, value in parts:
        if kind in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            inner = _characters(value[2])
        elif kind is codes.LITERAL:
            inner = {chr(value)}
        elif kind in (codes.NOT_LITERAL, codes.ANY, codes.IN):
            inner = {letter for letter in ALPHABET if _matches(kind, value, letter)}
        else:
            return None
        if inner is None:
            return None
        found |= inner
    return found


def _matches(kind: Any, value: Any, letter: str) -> bool:
    if kind is codes.NOT_LITERAL:
        return bool(ord(letter) != value)
    if kind is codes.ANY:
        return letter != "\n"
    negated = value[0][0] is codes.NEGATE
    return bool(negated) != any(_in(part, argument, letter) for part, argument in value[negated:])


def _in(kind: Any, argument: Any, letter: str) -> bool:
    if kind is codes.LITERAL:
        return bool(ord(letter) == argument)
    if kind is codes.RANGE:
        return bool(argument[0] <= ord(letter) <= argument[1])
    tests = {codes.CATEGORY_DIGIT: r"\d", codes.CATEGORY_SPACE: r"\s", codes.CATEGORY_WORD: r"\w",
             codes.CATEGORY_NOT_DIGIT: r"\D", codes.CATEGORY_NOT_SPACE: r"\S", codes.CATEGORY_NOT_WORD: r"\W"}  # fmt: skip
    return re.match(tests[argument], letter) is not None


def literal(code: int) -> str:
    """A character, so that no engine takes it for anything else."""
    text = chr(code)
    return text if text.isascii() and text.isalnum() else f"\\x{{{code:x}}}"


def quoted(text: str) -> str:
    """A text as a pattern of itself."""
    return "".join(literal(ord(each)) for each in text)
