"""Errors that a person caused and can mend: one line each, shown without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. The message is one line: what was wrong, where, and what to do. Exit status 2."""


class UnavailableError(Exception):
    """A model cannot run on this machine as it is (weights, a framework or a service are out of reach).

    A builder raises it with the command that would help; the cell's record gets the status ``unavailable``.
    """


def first_line(error: BaseException, most: int = 500) -> str:
    """Return the first line of what an error says, `most` characters at most; "" where it says nothing."""
    try:
        line = next(iter(str(error).splitlines()), "")[:most]
    except Exception:  # an exception of a stranger's may not even have words
        return "(its message cannot be read)"
    return line.encode("utf-8", "replace").decode()


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that nothing answers to, with the nearest known ones.

    >>> str(unknown_name("model", "tfidf-logref", ["tfidf-logreg", "dummy-uniform"]))
    "unknown model 'tfidf-logref': did you mean 'tfidf-logreg'?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.7) or difflib.get_close_matches(
        name, names, n=1, cutoff=0.5
    )
    if near:
        hint = "did you mean " + " or ".join(repr(candidate) for candidate in near) + "?"
    else:
        hint = f"known: {', '.join(names) or 'none'}"
    return UserError(f"unknown {kind} {name!r}: {hint}")
