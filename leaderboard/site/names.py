"""File names for whatever tasks and models are called: names come from records, and are never trusted."""

from __future__ import annotations

import hashlib
import re

_PLAIN = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*(@[a-z0-9]+([-_][a-z0-9]+)*)?")
_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d|index")
_LONGEST = 80


def file_name(name: str) -> str:
    """Return a name as that of a file, without ending: ASCII, no path, distinct for distinct names.

    What registers under the house's rule for names stays as it is, with ``.`` for ``@``; any other name is cut down
    to letters and digits, and the hash behind ``--`` tells it from its like.

    >>> file_name("litcoin-relations@random"), file_name("../x")
    ('litcoin-relations.random', 'x--d6b96a97d1')
    """
    if _PLAIN.fullmatch(name) and len(name) <= _LONGEST and not _RESERVED.fullmatch(name):
        return name.replace("@", ".")
    words = "-".join(re.findall(r"[a-z0-9]+", name.lower()))[:40].strip("-")
    return f"{words or 'x'}--{hashlib.sha256(name.encode()).hexdigest()[:10]}"
