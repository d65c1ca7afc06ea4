"""Where a record says something else than what it follows from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST = 60
"""Characters of a value that a finding shows."""


@dataclass(frozen=True)
class Finding:
    """A thing that a record says, what it should say, and what it does say: for people."""

    what: str
    expected: str
    found: str

    @classmethod
    def of(cls, what: str, expected: Any, found: Any) -> Finding:
        """Return the finding of two values."""
        return cls(what, _shown(expected), _shown(found))

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, found {self.found}"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"):
        return f"{value[:12]}…"
    text = f"{value:.9g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def differences(what: str, expected: Any, found: Any, within: float) -> Iterator[Finding]:
    """Yield where two JSON values differ, by the path to each place below `what`.

    Parameters
    ----------
    within
        By how much numbers may differ: as they are up to 1, as a share of the expected one beyond.
    """
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name in [*expected, *(name for name in found if name not in expected)]:
            place = f"{what} {name}"
            if name not in found:
                yield Finding.of(place, expected[name], "nothing")
            elif name not in expected:
                yield Finding.of(place, "nothing", found[name])
            else:
                yield from differences(place, expected[name], found[name], within)
    elif _is_list(expected) and _is_list(found):
        if len(expected) != len(found):
            yield Finding.of(what, f"{len(expected)} values", f"{len(found)} values")
        else:
            for index, pair in enumerate(zip(expected, found, strict=True)):
                yield from differences(f"{what} [{index}]", *pair, within)
    elif not _alike(expected, found, within):
        yield Finding.of(what, expected, found)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _alike(expected: Any, found: Any, within: float) -> bool:
    if isinstance(expected, (int, float)) and isinstance(found, (int, float)):
        return math.isclose(expected, found, rel_tol=within, abs_tol=within)
    return expected == found
