"""A text that matches a regular expression, for those that people write into JSON Schemas."""

from dataclasses import dataclass
from typing import Final

_SHORTHANDS: Final = {
    "d": "7",
    "w": "a",
    "s": " ",
    "D": "x",
    "W": "-",
    "S": "x",
    "n": "\n",
    "t": "\t",
}
_REPEAT_MAX: Final = 200


def matching(pattern: str, salt: int = 0) -> str:
    """Return a text for *pattern*: best effort, the caller looks whether it matches."""
    return _Reader(pattern, salt).alternatives()


@dataclass(slots=True)
class _Reader:
    """Reads a pattern once, from left to right, writing as it goes."""

    pattern: str
    salt: int
    at: int = 0

    def alternatives(self) -> str:
        ways = [self._sequence()]
        while self._take("|"):
            ways.append(self._sequence())
        return ways[self.salt % len(ways)]

    def _take(self, text: str) -> bool:
        if self.pattern.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def _next(self) -> str:
        char = self.pattern[self.at : self.at + 1]
        self.at += 1
        return char

    def _sequence(self) -> str:
        made = ""
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            made += self._atom() * self._times()
        return made

    def _atom(self) -> str:
        match char := self._next():
            case "^" | "$":
                return ""
            case ".":
                return "a"
            case "\\":
                return self._escape(outside=True)
            case "[":
                return self._set()
            case "(":
                return self._group()
            case _:
                return char

    def _group(self) -> str:
        unseen = False
        if self._take("?"):
            if self._take("P<") or (self._take("<") and self.pattern[self.at] not in "=!"):
                self.at = self.pattern.find(">", self.at) + 1
            elif not self._take(":"):  # looking ahead or behind: writes nothing
                unseen = True
                self.at += 1
        made = self.alternatives()
        self._take(")")
        return "" if unseen else made

    def _escape(self, *, outside: bool) -> str:
        char = self._next()
        if char in "bB" and outside:
            return ""
        if char in "pP" and self._take("{"):
            self.at = self.pattern.find("}", self.at) + 1
            return "a"
        return _SHORTHANDS.get(char, char)

    def _set(self) -> str:
        """Return one character of `[...]`; of `[^...]` one that is not in it."""
        inverse = self._take("^")
        first, chars = True, ""
        while self.at < len(self.pattern) and (first or self.pattern[self.at] != "]"):
            first = False
            char = self._next()
            if char == "\\":
                char = self._escape(outside=False)
            if self._take("-"):
                if self.pattern[self.at : self.at + 1] == "]":
                    chars += char + "-"
                    continue
                last = self._next()
                chars += "".join(map(chr, range(ord(char), min(ord(last), ord(char) + 40) + 1)))
            else:
                chars += char
        self.at += 1
        if inverse:
            return next((c for c in "aB7-_ xyz" if c not in chars), "~")
        return chars[self.salt % len(chars)] if chars else ""

    def _times(self) -> int:
        low = 1
        if self._take("*") or self._take("?"):
            low = 0
        elif self._take("+"):
            low = 1
        elif self.pattern[self.at : self.at + 2].removeprefix("{")[:1].isdigit() and self._take(
            "{"
        ):
            end = self.pattern.find("}", self.at)
            low = int(self.pattern[self.at : end].split(",")[0])
            self.at = end + 1
        self._take("?")  # however greedy
        return min(low, _REPEAT_MAX)
